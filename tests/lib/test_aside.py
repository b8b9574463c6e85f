"""Calls that nobody waits for."""

from __future__ import annotations

import threading

from aquests.lib.aside import MOST, Aside
from tests.helpers import until


def test_calls_are_made_in_other_threads_and_the_threads_end():
    aside = Aside()
    seen: list[int] = []
    before = set(threading.enumerate())
    for _ in range(3 * MOST):
        aside.run(lambda: seen.append(threading.get_ident()))
    until(lambda: len(seen) == 3 * MOST)
    assert threading.get_ident() not in seen
    until(lambda: set(threading.enumerate()) <= before)
    aside.run(lambda: seen.append(0))
    until(lambda: seen[-1] == 0)


def test_threads_are_bounded_and_the_rest_waits():
    aside = Aside()
    go, changed = threading.Event(), threading.Lock()
    inside = [0, 0]

    def call() -> None:
        with changed:
            inside[0] += 1
        go.wait(5.0)
        with changed:
            inside[1] += 1

    for _ in range(MOST + 5):
        aside.run(call)
    until(lambda: inside[0] == MOST)
    assert sum(thread.name == "aquests aside" for thread in threading.enumerate()) == MOST
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "aquests aside")
    go.set()
    until(lambda: inside[1] == MOST + 5)
