"""wrk with one thread. It runs by time, checks no body and no certificate, and has no callback.

Its own summary is the check: no status beside 2xx and 3xx, no socket error, and at least as many bytes as the
pages have.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from ..case import Job, Outcome
from ..child import race
from .program import run_program

SCRIPT = Path(__file__).with_name("wrk.lua")


def run(job: Job) -> Outcome:
    seconds = max(1, math.ceil(job.seconds))
    words = ["-t1", f"-c{job.lines}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT), job.url]
    text, cpu = run_program("wrk", words)
    return outcome(text, cpu, job.size)


def outcome(text: str, cpu: float, size: int) -> Outcome:
    """From what wrk printed, the last line of which is our script's."""
    summary = json.loads(text.strip().splitlines()[-1])
    count = summary["requests"]
    bad = summary["status"] + summary["socket"]
    wrong = f"{summary['status']} not 2xx or 3xx, {summary['socket']} socket errors" if bad else ""
    if summary["bytes"] < count * size:
        bad, wrong = max(bad, 1), f"{summary['bytes']:,} bytes in {count:,} answers"
    return race(count, summary["microseconds"] / 1e6, cpu, bad, wrong)
