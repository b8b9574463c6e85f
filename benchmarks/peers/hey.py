"""hey, the Go client. It counts statuses and bytes, checks no body and no certificate, and has no callback."""

from __future__ import annotations

import re

from ..case import Job, Outcome
from ..child import race
from .program import run_program


def run(job: Job) -> Outcome:
    words = ["-n", str(job.count), "-c", str(job.lines), "-t", "30", "-disable-compression", "-disable-redirects"]
    text, cpu = run_program("hey", [*words, job.url])
    return outcome(text, cpu, job.size)


def outcome(text: str, cpu: float, size: int) -> Outcome:
    """From hey's summary."""
    statuses = {
        int(status): int(count) for status, count in re.findall(r"^\s+\[(\d{3})\]\s+(\d+) responses", text, re.M)
    }
    count = sum(statuses.values())
    total = re.search(r"^\s+Total data:\s+(\d+) bytes", text, re.M)
    seconds = re.search(r"^\s+Total:\s+([\d.]+) secs", text, re.M)
    if seconds is None:
        raise ValueError(f"not a summary of hey: {text[:200]!r}")
    bad, wrong = count - statuses.get(200, 0), ""
    if "Error distribution" in text:
        bad, wrong = bad + 1, text[text.index("Error distribution") :].strip()[:200]
    elif bad:
        wrong = f"statuses {statuses}"
    elif total is None or int(total[1]) != count * size:
        bad, wrong = 1, f"{total[1] if total else 'no'} bytes in {count} answers"
    return race(count, float(seconds[1]), cpu, bad, wrong)
