"""pgbench with one thread; ``mode`` in the options is its -M. It counts failures, and looks at no row."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from ..case import Job, Outcome
from ..child import race
from ..pgserver import DATABASE, SQL, USER
from .program import run_program


def run(job: Job) -> Outcome:
    host, _, port = job.url.partition(":")
    each = job.count // job.lines
    with tempfile.TemporaryDirectory() as name:
        script = Path(name) / "duo.sql"
        script.write_text(SQL + ";\n")
        words = ["-n", "-M", job.options["mode"], "-f", str(script), "-c", str(job.lines), "-j", "1", "-t", str(each)]
        text, cpu = run_program("pgbench", [*words, "-h", host, "-p", port, "-U", USER, DATABASE])
    return outcome(text, cpu)


def outcome(text: str, cpu: float) -> Outcome:
    """From its summary: how many were processed, how many failed, and the rate without connecting."""
    count = int(_found(r"actually processed: (\d+)", text))
    failed = int(_found(r"failed transactions: (\d+)", text))
    rate = float(_found(r"tps = ([\d.]+) \(without", text))
    return race(count, count / rate, cpu, failed, f"{failed} failed" if failed else "")


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"pgbench said something else: {text[-200:]!r}")
    return found[1]
