"""HTTP/1.1 in disorder: a town of servers that answer in every way the RFC knows, and in some that it forbids.

What must hold: each request has exactly one answer, and it is its own; what is not idempotent reaches a server once;
every step leaves nothing unsent; and in the end all books are empty.
"""

from __future__ import annotations

import gc
import random
import select
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from aquests.exchange import Response
from tests.moody import BAD, GOOD, METHODS, Moody, right
from tests.rig import Rig
from tests.town import Town, books_are_closed


class Life:
    """A run: requests of all kinds, and callbacks that ask more, fail, and change their minds."""

    def __init__(self, seed: int, moods: tuple[str, ...], total: int):
        self.chance = random.Random(seed)
        self.moods = moods
        self.total = total
        self.log: Counter[str] = Counter()
        self.asked: dict[int, tuple[str, str]] = {}
        self.seen: set[int] = set()
        self.wrong: list[str] = []
        """What callbacks have found: the engine would only log it."""
        self.raises = True
        self.raised = 0

    def ask(self, rig: Rig, ports: list[int]) -> None:
        chance = self.chance
        number = len(self.asked)
        method = chance.choice(METHODS)
        target = f"/{number}"
        data = b"x" * chance.choice((0, 5, 3000, 300_000)) if method in ("POST", "PUT") else None
        headers = chance.choice((None, None, None, {"Connection": "close"}, {"X-Mine": "yes"}))
        options: dict[str, Any] = chance.choice(({}, {}, {"deadline": 30.0}, {"timeout": 20}, {"auth": ("me", "pw")}))
        request = rig.ask(f"http://127.0.0.1:{chance.choice(ports)}{target}", method, data, headers, **dict(options))
        self.asked[request.req_id] = (method, target)

    def on_answer(self, rig: Rig, ports: list[int], response: Response) -> None:
        chance = self.chance
        number = response.meta["req_id"]
        if number in self.seen:
            self.wrong.append(f"{number} is answered twice")
        self.seen.add(number)
        if not right(response, *self.asked[number]):
            self.wrong.append(
                f"{self.asked[number]}: {response.status_code} {response.error} {response.content[:60]!r}"
            )
        while len(self.asked) < self.total and chance.random() < 0.6:
            self.ask(rig, ports)
        if chance.random() < 0.03:
            workers = chance.choice((1, 2, 5, 20, 50))
            rig.configure(
                workers=workers,
                use_pool=chance.random() < 0.8,
                qrandom=chance.random() < 0.3,
                cookie=chance.random() < 0.3,
            )
        if self.raises and chance.random() < 0.02:
            self.raised += 1
            raise RuntimeError("a callback of a bad programmer")

    def live(self, workers: int, houses: int, *, hosted: bool = False) -> Rig:
        with Town(houses, lambda house: Moody(self.chance, self.log, self.moods), self.chance) as town:
            with Rig(workers=workers, timeout=30) as rig:
                rig.on_answer = lambda response: self.on_answer(rig, town.ports, response)
                while True:
                    for _ in range(min(30, self.total - len(self.asked))):
                        self.ask(rig, town.ports)
                    if rig.engine.idle:
                        break
                    town.run(rig, hosted=hosted)
                assert self.wrong == []
                assert len(rig.answers) == self.total == len(self.seen)
                assert rig.engine.stats.callback_errors == self.raised
                books_are_closed(rig)
        return rig

    def no_write_is_repeated(self) -> None:
        assert {what: times for what, times in self.log.items() if times > 1 and what.startswith("POST")} == {}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Callbacks raise on purpose; handlers of ours never do."""
    yield
    assert [record.message for record in caplog.records if "handler" in record.message] == []


@pytest.mark.parametrize("seed", range(6))
def test_a_town_that_keeps_the_rules(seed: int) -> None:
    life = Life(seed, GOOD, 1200)
    rig = life.live(workers=(1, 2, 5, 50, 10, 30)[seed], houses=(1, 3, 5, 2, 8, 4)[seed])
    failed = [response for response in rig.answers if response.error is not None]
    assert {life.asked[response.meta["req_id"]][0] for response in failed} <= {"POST", "PUT"}, failed[0].error
    life.no_write_is_repeated()


@pytest.mark.parametrize("seed", range(10, 16))
def test_a_town_that_breaks_them(seed: int) -> None:
    life = Life(seed, GOOD + BAD, 1200)
    rig = life.live(workers=(1, 2, 5, 50, 10, 30)[seed - 10], houses=(1, 3, 5, 2, 8, 4)[seed - 10])
    assert any(response.error is not None for response in rig.answers)
    assert sum(response.error is None for response in rig.answers) > 600
    life.no_write_is_repeated()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="select() has no descriptor of its own")
@pytest.mark.parametrize("moods", [GOOD, GOOD + BAD])
def test_a_host_steps_only_when_it_is_asked_to(moods: tuple[str, ...]) -> None:
    life = Life(50, moods, 400)
    life.live(workers=6, houses=3, hosted=True)
    life.no_write_is_repeated()


def test_no_cycle_keeps_an_answer() -> None:
    """What is done is freed at once, without the collector: bodies of megabytes would wait for it."""
    gc.collect()
    gc.disable()
    before = Counter(type(thing).__name__ for thing in gc.get_objects())  # what other tests keep
    try:
        life = Life(99, GOOD + BAD, 1000)
        life.raises = False  # a log record keeps the frames of what raised
        rig = life.live(workers=7, houses=3)
        rig.answers.clear()
        left = Counter(type(thing).__name__ for thing in gc.get_objects()) - before
    finally:
        gc.enable()
    kinds = ("Exchange", "Response", "HttpRequest", "Http1", "Channel", "Dial", "Trail")
    assert {kind: left[kind] for kind in kinds if left[kind]} == {}
