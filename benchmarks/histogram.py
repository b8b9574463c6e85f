"""Counting an answer: its latency alone, and all that a run counts of it."""

from __future__ import annotations

from random import Random
from time import perf_counter

from aquests.histogram import Histogram
from aquests.stats import Lane

from .case import Case, Column, Entry, Job, Outcome


def record(job: Job) -> Outcome:
    """``Histogram.record``, with the folding into buckets."""
    durations, histogram = _durations(job.count), Histogram()
    call = histogram.record
    started = perf_counter()
    for seconds in durations:
        call(seconds)
    return _outcome(job, perf_counter() - started, histogram.count)


def settle(job: Job) -> Outcome:
    """``Lane.settle``: status, bytes and latency."""
    durations, lane = _durations(job.count), Lane("HTTP/1.1")
    call = lane.settle
    started = perf_counter()
    for seconds in durations:
        call(200, seconds, 4096)
    return _outcome(job, perf_counter() - started, lane.answers)


def _durations(count: int) -> list[float]:
    """Around a millisecond, with a long tail, the same in every run."""
    chance = Random(1)
    return [chance.lognormvariate(-7.0, 0.7) for _ in range(count)]


def _outcome(job: Job, seconds: float, counted: int) -> Outcome:
    return {"count": counted, "ns": seconds / job.count * 1e9}


CASE = Case(
    name="histogram",
    title="counting an answer",
    entries=(Entry("Histogram.record", "histogram:record"), Entry("Lane.settle", "histogram:settle")),
    columns=(Column("ns", "ns/call"),),
    count=500_000,
)
