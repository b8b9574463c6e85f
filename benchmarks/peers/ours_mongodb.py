"""aquests against MongoDB: queued, and from a lazy source. Each document is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import aquests
from aquests.mongostub import MongoDB

from ..case import Job, Outcome
from ..child import Tally
from ..mongoserver import COLLECTION, DATABASE, KEY, length


def queued(job: Job) -> Outcome:
    """All operations are queued, then fetched. Queuing is part of the time."""
    tally = Tally(job)
    findone = _stub(job, tally).findone
    with tally:
        for _ in range(job.count):
            findone(COLLECTION, {"_id": KEY})
        aquests.fetchall()
    return tally.outcome()


def fed(job: Job) -> Outcome:
    """A lazy source queues an operation with each step."""

    def source() -> Iterator[None]:
        for _ in range(job.count):
            findone(COLLECTION, {"_id": KEY})
            yield

    tally = Tally(job)
    findone = _stub(job, tally).findone
    with tally:
        aquests.feed(source())
        aquests.fetchall()
    return tally.outcome()


def _stub(job: Job, tally: Tally) -> MongoDB:
    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code, length(response.data["data"][0]) if response.ok else 0)

    aquests.configure(workers=job.lines, callback=on_answer)
    return aquests.mongodb(job.url, DATABASE, **job.options)
