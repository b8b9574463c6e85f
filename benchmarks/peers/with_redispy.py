"""redis-py for asyncio: one pool, as many tasks as lines; ``pipeline`` in the options: commands handed over at once."""

from __future__ import annotations

import asyncio

from redis.asyncio import BlockingConnectionPool, Redis

from ..case import Job, Outcome
from ..child import Tally, loop_factory
from ..redisserver import KEY


def run(job: Job) -> Outcome:
    factory, tally = loop_factory(job), Tally(job)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_race(job, tally))
    return tally.outcome()


async def _race(job: Job, tally: Tally) -> None:
    host, _, port = job.url.partition(":")
    pool = BlockingConnectionPool(host=host, port=int(port), max_connections=job.lines, timeout=None)
    async with Redis(connection_pool=pool) as client:
        size = job.options.get("pipeline", 1)
        left = iter(range(0, job.count, size))

        async def single() -> None:
            for _ in left:
                tally.check(200, len(await client.get(KEY) or b""))

        async def piped() -> None:
            for begin in left:
                pipeline = client.pipeline(transaction=False)
                for _ in range(min(size, job.count - begin)):
                    pipeline.get(KEY)
                for answer in await pipeline.execute():
                    tally.check(200, len(answer))

        with tally:
            await asyncio.gather(*[single() if size == 1 else piped() for _ in range(job.lines)])
    await pool.disconnect()
