"""aquests against PostgreSQL: queued, and from a lazy source. Each row is looked at as a dict."""

from __future__ import annotations

from collections.abc import Iterator

import aquests
from aquests.postgresqlstub import Postgresql

from ..case import Job, Outcome
from ..child import Tally
from ..pgserver import DATABASE, SQL, USER


def queued(job: Job) -> Outcome:
    """All statements are queued, then fetched. Queuing is part of the time."""
    tally = Tally(job)
    execute = _stub(job, tally).execute
    with tally:
        for _ in range(job.count):
            execute(SQL)
        aquests.fetchall()
    return tally.outcome()


def fed(job: Job) -> Outcome:
    """A lazy source queues a statement with each step."""

    def source() -> Iterator[None]:
        for _ in range(job.count):
            execute(SQL)
            yield

    tally = Tally(job)
    execute = _stub(job, tally).execute
    with tally:
        aquests.feed(source())
        aquests.fetchall()
    return tally.outcome()


def _stub(job: Job, tally: Tally) -> Postgresql:
    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code, sum([len(row["name"]) for row in response.data]) if response.ok else 0)

    aquests.configure(workers=job.lines, callback=on_answer)
    return aquests.postgresql(job.url, DATABASE, USER)
