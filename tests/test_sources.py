"""Lazy sources: advanced until it is enough, dropped when they end or fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from aquests.errors import RequestError
from aquests.queue import Queue
from aquests.sources import Sources


def drawn(
    sources: Sources, most: int, take: Callable[[Any], object] | None = None
) -> tuple[list[Any], list[Exception]]:
    taken: list[Any] = []
    failed: list[Exception] = []
    queue = Queue()

    def queued(item: Any) -> None:
        (take or taken.append)(item)
        queue.size += 1

    sources.draw(queue, most, queued, failed.append)
    return taken, failed


def test_no_more_than_enough_is_drawn() -> None:
    sources = Sources([iter(range(10))])
    assert drawn(sources, 3) == ([0, 1, 2], [])
    assert drawn(sources, 0) == ([], [])
    assert drawn(sources, 2) == ([3, 4], [])
    assert sources


def test_one_after_the_other_until_nothing_is_left() -> None:
    sources = Sources([iter("ab"), iter(""), iter("c")])
    assert drawn(sources, 100) == (["a", "b", "c"], [])
    assert not sources


def test_a_step_may_yield_nothing() -> None:
    assert drawn(Sources([iter([None, 1, None, 2])]), 100) == ([1, 2], [])


def test_a_source_that_raises_is_dropped_and_the_next_one_goes_on() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    taken, failed = drawn(Sources([broken(), iter([2])]), 100)
    assert taken == [1, 2] and [type(error) for error in failed] == [ZeroDivisionError]


def test_what_cannot_be_sent_is_told_and_the_source_goes_on() -> None:
    good: list[int] = []

    def take(item: int) -> None:
        if item % 2:
            raise RequestError(f"{item} is odd")
        good.append(item)

    _, failed = drawn(Sources([iter(range(5))]), 100, take)
    assert good == [0, 2, 4] and [str(error) for error in failed] == ["1 is odd", "3 is odd"]
