"""Running a program that is a peer, and what it took."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence


def run_program(name: str, words: Sequence[str]) -> tuple[str, float]:
    """Run it to its end; returns what it printed and its CPU seconds. CalledProcessError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([name, *words], stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
