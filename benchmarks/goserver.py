"""Servers in Go, built from ``benchmarks/servers`` into the user's cache folder: fast enough to be no brake.

A server is a process on its core that prints its port, and ends with its standard input.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from .machine import ROOT, pinned
from .process import reap

SOURCES = ROOT / "benchmarks" / "servers"
PATIENCE = 300.0
"""Seconds a first build may take: it fetches modules."""


def cache() -> Path:
    """Where programs that were built are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aquests"


def built(name: str) -> Path | None:
    """The program ``name``, built if need be; None, and a word about it, where there is no Go or it cannot build it."""
    sources = [SOURCES / "go.mod", SOURCES / "go.sum", *sorted((SOURCES / name).glob("*.go"))]
    digest = sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    target = cache() / f"{name}-{digest}"
    if target.exists():
        return target
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return None
    print(f"building {name} …", file=sys.stderr, flush=True)
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [go, "build", "-o", str(fresh), f"./{name}"]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    try:
        done = subprocess.run(
            command, cwd=SOURCES, env=environment, capture_output=True, text=True, errors="replace", timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        print(f"{name} was not built in {PATIENCE:.0f} s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{name} cannot be built: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    fresh.replace(target)
    return target


@contextmanager
def serving(command: Sequence[str | Path], core: int | None) -> Iterator[int]:
    """Run a server on ``core``; gives its port."""
    with pinned(core):
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        reap(process)
