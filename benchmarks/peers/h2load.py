"""h2load, nghttp2's client in C. It counts statuses and bytes, checks no certificate, and has no callback."""

from __future__ import annotations

import re

from ..case import Job, Outcome
from ..child import race
from .program import run_program


def run(job: Job) -> Outcome:
    lines, streams = str(job.lines), str(job.options["streams"])
    text, cpu = run_program("h2load", ["-n", str(job.count), "-c", lines, "-m", streams, "-t", "1", job.url])
    return outcome(text, cpu, job.size)


def outcome(text: str, cpu: float, size: int) -> Outcome:
    """From h2load's summary."""
    seconds = re.search(r"^finished in ([\d.]+)(m?s)", text, re.M)
    done = re.search(r"^requests: .* (\d+) done, (\d+) succeeded", text, re.M)
    good = re.search(r"^status codes: (\d+) 2xx", text, re.M)
    data = re.search(r"\((\d+)\) data$", text, re.M)
    if seconds is None or done is None or good is None or data is None:
        raise ValueError(f"not a summary of h2load: {text[:200]!r}")
    count = int(done[1])
    bad, wrong = count - min(int(done[2]), int(good[1])), ""
    if bad:
        wrong = f"{bad} of {count} failed"
    elif int(data[1]) != count * size:
        bad, wrong = 1, f"{data[1]} bytes in {count} answers"
    return race(count, float(seconds[1]) / (1000 if seconds[2] == "ms" else 1), cpu, bad, wrong)
