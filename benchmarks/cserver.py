"""Servers in C, compiled from ``benchmarks/servers`` into the user's cache folder: no brake to a client."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from .goserver import SOURCES, cache
from .machine import Absent


def compiled(name: str, *libraries: str) -> Path:
    """The program made of ``name.c``. Raises Absent where there is no compiler, or one of the libraries is missing."""
    source = SOURCES / f"{name}.c"
    target = cache() / f"{name}-{sha256(source.read_bytes()).hexdigest()[:12]}"
    if target.exists():
        return target
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Absent(f"there is no C compiler for {source.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    command: list[str | Path] = [compiler, "-O2", "-o", fresh, source, *(f"-l{library}" for library in libraries)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Absent(f"{source.name} cannot be compiled: {done.stderr.strip()[-200:]}")
    return fresh.replace(target)
