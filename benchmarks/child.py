"""A measurement's own process: ``python -m benchmarks.child module:function JOB`` prints one JSON line."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from .case import Job, Outcome

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable


class Tally:
    """Counts answers, checks each, and takes wall and CPU time: the same for all peers.

    ::

        with Tally(job) as tally:
            ...  # tally.check(status, length) for every answer
        return tally.outcome()
    """

    __slots__ = ("_cpu", "_size", "_wall", "bad", "count", "cpu", "seconds", "wrong")

    def __init__(self, job: Job):
        self._size = job.size
        self.count = 0
        self.bad = 0
        self.wrong = ""
        """The first answer that was not as expected."""
        self.seconds = 0.0
        self.cpu = 0.0

    def check(self, status: int, length: int) -> None:
        """Count one answer; it must be a 200 with the whole page."""
        self.count += 1
        if status != 200 or length != self._size:
            self.bad += 1
            self.wrong = self.wrong or f"status {status}, {length} bytes"

    def __enter__(self) -> Tally:
        self._cpu = process_time()
        self._wall = perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds = perf_counter() - self._wall
        self.cpu = process_time() - self._cpu

    def outcome(self) -> Outcome:
        """The figures of a race."""
        return race(self.count, self.seconds, self.cpu, self.bad, self.wrong)


def race(count: int, seconds: float, cpu: float, bad: int, wrong: str = "") -> Outcome:
    """The figures of a race: ``count`` answers in ``seconds``, with ``cpu`` seconds of the client."""
    return {
        "count": count,
        "bad": bad,
        "wrong": wrong,
        "seconds": seconds,
        "cpu": cpu,
        "rate": count / seconds if seconds else 0.0,
        "cpu_us": cpu / count * 1e6 if count else 0.0,
        "busy": cpu / seconds if seconds else 0.0,
    }


def loop_factory(job: Job) -> Callable[[], AbstractEventLoop] | None:
    """For ``asyncio.Runner``: uvloop's with ``uvloop`` in the options, else None for asyncio's own.

    To be called before the time is taken: it imports uvloop.
    """
    if not job.options.get("uvloop"):
        return None
    import uvloop

    factory: Callable[[], AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main(function: str, job: str) -> None:
    module, _, name = function.partition(":")
    outcome = getattr(import_module(module), name)(Job(**json.loads(job)))
    print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
