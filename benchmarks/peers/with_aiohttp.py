"""aiohttp: one session whose connector holds all lines, as many tasks that share one source of work."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator

import aiohttp

from ..case import Job, Outcome
from ..child import Tally, loop_factory


def run(job: Job) -> Outcome:
    """With ``uvloop`` in the options on that loop, else on asyncio's."""
    factory, tally = loop_factory(job), Tally(job)
    with tally, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_fetch(job, tally))
    return tally.outcome()


async def _fetch(job: Job, tally: Tally) -> None:
    context = ssl.create_default_context(cafile=job.ca) if job.ca else True
    connector = aiohttp.TCPConnector(limit=job.lines, ssl=context)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        work = iter(range(job.count))
        await asyncio.gather(*(_worker(session, job.url, work, tally) for _ in range(job.lines)))


async def _worker(session: aiohttp.ClientSession, url: str, work: Iterator[int], tally: Tally) -> None:
    for _ in work:
        async with session.get(url) as response:
            body = await response.read()
        tally.check(response.status, len(body))
