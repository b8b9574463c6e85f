"""httpx: its asynchronous client, as many tasks as lines (or streams), which share one source of work.

Its documentation says: one client, for the sake of its pool. That pool looks at all its lines for every
request, so a client for each task is several times faster with many lines; both are measured.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx

from ..case import Job, Outcome
from ..child import Tally


def run(job: Job) -> Outcome:
    """One client for all tasks, as documented; with ``each`` in the options one for each."""
    tally = Tally(job)
    with tally:
        asyncio.run(_fetch(job, 1 if job.options.get("each") else job.lines, tally))
    return tally.outcome()


async def _fetch(job: Job, share: int, tally: Tally) -> None:
    """A client opens ``share`` lines at most, and has a task for each stream of them."""
    streams = job.options.get("streams", 1)
    limits = httpx.Limits(max_connections=share, max_keepalive_connections=share)
    context = ssl.create_default_context(cafile=job.ca or None)
    work = iter(range(job.count))
    async with AsyncExitStack() as stack:
        workers = []
        for number in range(job.lines * streams):
            if number % (share * streams) == 0:
                http2 = streams > 1
                client = httpx.AsyncClient(limits=limits, verify=context, http2=http2, trust_env=False, timeout=60)
                await stack.enter_async_context(client)
            workers.append(_worker(client, job.url, work, tally))
        await asyncio.gather(*workers)


async def _worker(client: httpx.AsyncClient, url: str, work: Iterator[int], tally: Tally) -> None:
    for _ in work:
        response = await client.get(url)
        tally.check(response.status_code, len(response.content))
