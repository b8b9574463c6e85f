"""PyMongo for asyncio: one client, as many tasks as lines."""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo import AsyncMongoClient

from ..case import Job, Outcome
from ..child import Tally, loop_factory
from ..mongoserver import COLLECTION, DATABASE, KEY, length


def run(job: Job) -> Outcome:
    factory, tally = loop_factory(job), Tally(job)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_race(job, tally))
    return tally.outcome()


async def _race(job: Job, tally: Tally) -> None:
    async with AsyncMongoClient[dict[str, Any]](job.url, maxPoolSize=job.lines) as client:
        find_one = client[DATABASE][COLLECTION].find_one
        left = iter(range(job.count))

        async def worker() -> None:
            for _ in left:
                tally.check(200, length(await find_one({"_id": KEY})))

        with tally:
            await asyncio.gather(*[worker() for _ in range(job.lines)])
