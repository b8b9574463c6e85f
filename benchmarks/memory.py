"""Memory must not grow with the number of requests that are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import aquests

from .case import Case, Column, Entry, Job, Outcome
from .child import Tally
from .machine import resident
from .nginx import page

BATCH = 100
PART = 10
"""The first look is after one in so many."""


def run(job: Job) -> Outcome:
    """``count`` requests; resident memory after a tenth of them and after all."""
    tally = Tally(job)
    looks: dict[int, int] = {}
    more = _callbacks(job) if job.options["way"] == "callbacks" else lambda done: None

    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code, len(response.content))
        if tally.count in (job.count // PART, job.count):
            looks[tally.count] = resident()
        more(tally.count)

    aquests.configure(workers=job.lines, callback=on_answer)
    if job.options["way"] == "feed":
        aquests.feed(_urls(job))
    else:
        more(0)
    with tally:
        aquests.fetchall()
    first, last = looks[job.count // PART], looks[job.count]
    return {
        **tally.outcome(),
        "first_mb": first / 1e6,
        "last_mb": last / 1e6,
        "flat": last / first,
        "growth": (last - first) / (job.count - job.count // PART),
    }


def _callbacks(job: Job) -> Callable[[int], None]:
    """Whenever all that was queued is answered, queue a hundred more."""
    queued = 0

    def more(done: int) -> None:
        nonlocal queued
        if done == queued:
            for _ in range(min(BATCH, job.count - queued)):
                aquests.get(job.url)
                queued += 1

    return more


def _urls(job: Job) -> Iterator[str]:
    for _ in range(job.count):
        yield job.url


CASE = Case(
    name="memory",
    title="resident memory over {count:,} requests of a page of {size} bytes",
    entries=(
        Entry("100 at a time from callbacks", "memory:run", options={"way": "callbacks"}),
        Entry("from feed()", "memory:run", options={"way": "feed"}),
    ),
    columns=(
        Column("flat", "last / first", "{:.3f}"),
        Column("first_mb", "MB after a tenth", "{:.1f}"),
        Column("last_mb", "MB after all", "{:.1f}"),
        Column("growth", "bytes/request between", "{:.2f}"),
        Column("count", "requests"),
    ),
    count=1_000_000,
    rounds=1,
    size=64,
    server=page,
)
