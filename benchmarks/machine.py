"""The machine: cores, descriptors, memory, and how to name it beside a figure."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The root of the project."""


class Absent(Exception):
    """Something this needs is not on this machine."""


def cores() -> tuple[int | None, int | None]:
    """The client's core and the server's: the last and the first this process may use; None: cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Processes started within run on this core: affinity is inherited."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptors() -> int:
    """Raise the limit of open files as far as it goes; returns it. Children inherit it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS says "unlimited" and means 10,240
            return soft
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def resident() -> int:
    """Bytes of this process in memory now; where there is no /proc, at most until now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes here


def package_version(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, str]:
    """When, where and what: to be kept with the figures."""
    client, server = cores()
    where = "not pinned" if client is None else f"client on core {client}, server on core {server}"
    if client is not None and client == server:
        where += " (there is only one)"
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "processor": f"{_processor()}, {os.cpu_count()} cores; {where}",
        "system": f"{platform.system()} {platform.release()}",
        "python": _python(),
        "aquests": _ours(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _python() -> str:
    """The interpreter, and whether its JIT is on (``PYTHON_JIT=1``)."""
    jit = getattr(sys, "_jit", None)
    return (
        f"{platform.python_implementation()} {platform.python_version()}{', JIT' if jit and jit.is_enabled() else ''}"
    )


def _ours() -> str:
    """Our version, and the commit if this is a checkout."""
    from aquests.version import __version__

    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = " with changes" if _git("status", "--porcelain", "--", "aquests") else ""
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}, commit {commit}{changed}"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
