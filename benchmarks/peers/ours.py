"""aquests: by the script face, from a lazy source, and as a guest in asyncio's loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import aquests
from aquests.script import script

from ..case import Job, Outcome
from ..child import Tally, loop_factory

if TYPE_CHECKING:
    from aquests.engine import Engine


def queued(job: Job) -> Outcome:
    """All requests are queued, then fetched. Queuing is part of the time."""
    tally = Tally(job)
    with tally:
        _configure(job, tally)
        for _ in range(job.count):
            aquests.get(job.url)
        aquests.fetchall()
    return tally.outcome()


def fed(job: Job) -> Outcome:
    """A lazy source yields the URLs."""
    tally = Tally(job)
    with tally:
        _configure(job, tally)
        aquests.feed(_urls(job))
        aquests.fetchall()
    return tally.outcome()


def _urls(job: Job) -> Iterator[str]:
    for _ in range(job.count):
        yield job.url


def guest(job: Job) -> Outcome:
    """asyncio's loop watches the engine's descriptor and steps it; with ``uvloop`` in the options, that loop."""
    import asyncio

    factory, tally = loop_factory(job), Tally(job)
    with tally, asyncio.Runner(loop_factory=factory) as runner:
        _configure(job, tally)
        for _ in range(job.count):
            aquests.get(job.url)
        runner.run(_host(script.engine))
    return tally.outcome()


async def _host(engine: Engine) -> None:
    """Step the engine whenever it has something to do, until it is idle."""
    import asyncio

    loop = asyncio.get_running_loop()
    done = loop.create_future()
    timer: asyncio.TimerHandle | None = None
    planned: float | None = None

    def tick() -> None:
        nonlocal timer, planned
        engine.step(0.0)
        due = engine.next_deadline()
        if engine.idle:
            if not done.done():
                done.set_result(None)
        elif due != planned:  # rarely: a timer per tick would cost a microsecond each
            if timer is not None:
                timer.cancel()
            timer = None if due is None else loop.call_at(due, wake)
            planned = due

    def wake() -> None:
        nonlocal planned
        planned = None
        tick()

    loop.add_reader(engine.fileno(), tick)
    loop.call_soon(tick)
    try:
        await done
    finally:
        loop.remove_reader(engine.fileno())
        if timer is not None:
            timer.cancel()
        engine.hang_up()


def _configure(job: Job, tally: Tally) -> None:
    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code, len(response.content))

    streams = job.options.get("streams", 1)
    aquests.configure(workers=job.lines, callback=on_answer, ca=job.ca or None, http2_constreams=streams)
