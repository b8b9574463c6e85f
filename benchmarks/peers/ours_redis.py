"""aquests against Redis: queued, and from a lazy source; ``pipeline`` in the options is the stub's."""

from __future__ import annotations

from collections.abc import Iterator

import aquests
from aquests.redisstub import Redis

from ..case import Job, Outcome
from ..child import Tally
from ..redisserver import KEY


def queued(job: Job) -> Outcome:
    """All commands are queued, then fetched. Queuing is part of the time."""
    tally = Tally(job)
    get = _stub(job, tally).get
    with tally:
        for _ in range(job.count):
            get(KEY)
        aquests.fetchall()
    return tally.outcome()


def fed(job: Job) -> Outcome:
    """A lazy source queues a command with each step."""

    def source() -> Iterator[None]:
        for _ in range(job.count):
            get(KEY)
            yield

    tally = Tally(job)
    get = _stub(job, tally).get
    with tally:
        aquests.feed(source())
        aquests.fetchall()
    return tally.outcome()


def _stub(job: Job, tally: Tally) -> Redis:
    """Made before the time is taken: redis-py is imported here, as it is elsewhere before the race."""

    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code, len(response.data))

    aquests.configure(workers=job.lines, callback=on_answer)
    return aquests.redis(job.url, **job.options)
