"""Messages over WebSocket, each answered before the next one on its line: by us and by the clients people use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from itertools import repeat

import aquests

from ..case import Job, Outcome
from ..child import Tally, loop_factory

OK = 200
"""What the tally takes for a good answer: WebSocket has no status."""


def ours(job: Job) -> Outcome:
    """All messages are queued, then fetched."""
    tally, message = _prepared(job)
    with tally:
        for _ in range(job.count):
            aquests.ws(job.url, message)
        aquests.fetchall()
    return tally.outcome()


def fed(job: Job) -> Outcome:
    """A lazy source queues a message with each step."""
    tally, message = _prepared(job)

    def source() -> Iterator[None]:
        for _ in range(job.count):
            aquests.ws(job.url, message)
            yield

    with tally:
        aquests.feed(source())
        aquests.fetchall()
    return tally.outcome()


def _prepared(job: Job) -> tuple[Tally, str]:
    tally, message = Tally(job), "x" * job.size

    def on_answer(response: aquests.Response) -> None:
        reply = response.data
        tally.check(OK if reply == message else response.status_code, len(reply or ""))

    aquests.configure(workers=job.lines, callback=on_answer)
    return tally, message


def with_websockets(job: Job) -> Outcome:
    """``websockets``: a connection and a task for each line."""
    from websockets.asyncio.client import connect

    async def line(work: Iterator[None], tally: Tally) -> None:
        message = "x" * job.size
        async with connect(job.url, compression=None, ping_interval=None) as connection:
            for _ in work:
                await connection.send(message)
                reply = await connection.recv()
                tally.check(OK if reply == message else 0, len(reply))

    return _in_asyncio(job, line)


def with_aiohttp(job: Job) -> Outcome:
    """``aiohttp``: one session, a connection and a task for each line."""
    import aiohttp

    async def line(work: Iterator[None], tally: Tally) -> None:
        message = "x" * job.size
        async with aiohttp.ClientSession() as session, session.ws_connect(job.url) as connection:
            for _ in work:
                await connection.send_str(message)
                reply = await connection.receive_str()
                tally.check(OK if reply == message else 0, len(reply))

    return _in_asyncio(job, line)


def _in_asyncio(job: Job, line: object) -> Outcome:
    assert callable(line)
    factory, tally = loop_factory(job), Tally(job)
    work = iter(repeat(None, job.count))

    async def main() -> None:
        await asyncio.gather(*(line(work, tally) for _ in range(job.lines)))

    with tally, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    return tally.outcome()


def with_websocket_client(job: Job) -> Outcome:
    """``websocket-client``: it blocks, so each line is a thread."""
    import websocket

    message = "x" * job.size
    work = iter(repeat(None, job.count))
    tally = Tally(job)
    lock = threading.Lock()

    def line() -> None:
        connection = websocket.create_connection(job.url)
        for _ in work:
            connection.send(message)
            reply = connection.recv()
            with lock:
                tally.check(OK if reply == message else 0, len(reply))
        connection.close()

    with tally:
        threads = [threading.Thread(target=line) for _ in range(job.lines)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tally.outcome()
