"""aquests against three servers: all in one queue, or one after another."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from time import perf_counter

import aquests
from aquests.exchange import Response

from ..case import Job, Outcome
from ..child import Tally
from ..pgserver import DATABASE, SQL, USER
from ..redisserver import KEY

NAMES = ("http", "redis", "postgresql")
LINES = (100, 50, 16)
"""Workers of each in its own case."""
SIZES = (4096, 64, 64)


class Race:
    """One protocol's part: how its requests are queued, and when each of its answers came."""

    def __init__(self, job: Job, name: str, size: int):
        self.name = name
        self.tally = Tally(replace(job, size=size))
        self.times: list[float] = []
        urls = dict(zip(NAMES, job.url.split(), strict=True))
        self.ask: Callable[[], object]
        if name == "http":
            self.ask = partial(aquests.get, urls[name], callback=self.on_page)
        elif name == "redis":
            stub = aquests.redis(urls[name], callback=self.on_value, max_connections=LINES[1])
            self.ask = partial(stub.get, KEY)
        else:
            options = {"callback": self.on_rows, "max_connections": LINES[2]}
            self.ask = partial(aquests.postgresql(urls[name], DATABASE, USER, **options).execute, SQL)

    def on_page(self, response: Response) -> None:
        self.times.append(perf_counter())
        self.tally.check(response.status_code, len(response.content))

    def on_value(self, response: Response) -> None:
        self.times.append(perf_counter())
        self.tally.check(response.status_code, len(response.data) if response.ok else 0)

    def on_rows(self, response: Response) -> None:
        self.times.append(perf_counter())
        self.tally.check(response.status_code, sum([len(row["name"]) for row in response.data]) if response.ok else 0)


def together(job: Job) -> Outcome:
    """One queue, in turn."""
    whole, races = Tally(job), _races(job)
    with whole:
        aquests.configure(workers=job.lines)
        began = perf_counter()
        for number in range(job.count):
            races[number % 3].ask()
        queued = perf_counter()
        aquests.fetchall()
    half = began + whole.seconds / 2
    outcome = _outcome(whole, races)
    outcome["silence"] = (
        max(after - before for race in races for before, after in pairwise([queued, *race.times])) * 1e3
    )
    for race in races:
        outcome[f"end_{race.name}"] = race.times[-1] - began
        outcome[f"half_{race.name}"] = bisect(race.times, half) / len(race.times)
    return outcome


def alone(job: Job) -> Outcome:
    """The same requests, one protocol after another; the time between counts for nobody."""
    whole, races = Tally(job), _races(job)
    ends = {}
    for at, race in enumerate(races):
        with race.tally:
            aquests.configure(workers=min(LINES[at], job.lines))
            for _ in range(at, job.count, 3):
                race.ask()
            aquests.fetchall()
        ends[f"end_{race.name}"] = race.tally.seconds
        whole.seconds += race.tally.seconds
        whole.cpu += race.tally.cpu
    return _outcome(whole, races) | ends


def _races(job: Job) -> list[Race]:
    return [Race(job, name, size) for name, size in zip(NAMES, SIZES, strict=True)]


def _outcome(whole: Tally, races: list[Race]) -> Outcome:
    for race in races:
        whole.count += race.tally.count
        whole.bad += race.tally.bad
        whole.wrong = whole.wrong or race.tally.wrong
    return whole.outcome() | {"asked": sum(race.tally.count for race in races[:2])}
