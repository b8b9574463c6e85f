"""redis-benchmark with one thread; ``pipeline`` in the options is its -P. It tells errors, and looks at no answer."""

from __future__ import annotations

import csv
import math
from time import perf_counter

from ..case import Job, Outcome
from ..child import race
from ..redisserver import KEY
from .program import run_program


def run(job: Job) -> Outcome:
    host, _, port = job.url.partition(":")
    words = ["-h", host, "-p", port, "-c", str(job.lines), "-P", str(job.options["pipeline"]), "-n", str(job.count)]
    began = perf_counter()
    text, cpu = run_program("redis-benchmark", [*words, "--csv", "-e", "get", KEY])
    return outcome(text, cpu, job.count, perf_counter() - began)


def outcome(text: str, cpu: float, count: int, took: float) -> Outcome:
    """From its CSV: the name of the test and its rate are the first columns of the last row.

    It counts milliseconds: what it did in less has an infinite rate, and then ``took`` counts, with its start.
    """
    wrong = next((line for line in text.splitlines() if "error" in line.lower()), "")
    rate = float(list(csv.reader(text.splitlines()))[-1][1])
    seconds = count / rate if rate > 0 and math.isfinite(rate) else took
    return race(count, seconds, cpu, 1 if wrong else 0, wrong)
