"""asyncpg: a pool with as many connections as lines, and as many tasks, each with a connection of its own."""

from __future__ import annotations

import asyncio

import asyncpg

from ..case import Job, Outcome
from ..child import Tally, loop_factory
from ..pgserver import DATABASE, SQL, USER


def run(job: Job) -> Outcome:
    """With ``uvloop`` in the options on that loop, else on asyncio's."""
    factory, tally = loop_factory(job), Tally(job)
    with tally, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_race(job, tally))
    return tally.outcome()


async def _race(job: Job, tally: Tally) -> None:
    host, _, port = job.url.partition(":")
    work = iter(range(job.count))
    async with asyncpg.create_pool(
        host=host, port=int(port), user=USER, database=DATABASE, min_size=job.lines, max_size=job.lines
    ) as pool:

        async def worker() -> None:
            async with pool.acquire() as connection:
                for _ in work:
                    rows = [dict(record) for record in await connection.fetch(SQL)]
                    tally.check(200, sum([len(row["name"]) for row in rows]))

        await asyncio.gather(*(worker() for _ in range(job.lines)))
