"""Deadlines by sweep: who is looked at when, and that nothing ends the looking but that nothing is in flight."""

from __future__ import annotations

from typing import Any

import pytest

from aquests.lib.loop import Loop
from aquests.sweep import EVERY, FINEST, Sweep
from tests.loopback import FakePoller, ManualClock


class Busy:
    """What the sweep sees of an exchange, and of its line."""

    def __init__(self, deadline: float, patience: float = 1.0, limit: float = 0.0):
        self.deadline, self.patience, self.limit = deadline, patience, limit
        self.progress = self.mark = self.bytes_sent = 0
        self.phase, self.blocked = "open", False
        self.inflight = (self,)


class Stage:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.loop = Loop(FakePoller(self.clock), self.clock)
        self.lines: dict[Any, None] = {}
        self.idle: dict[Any, None] = {}
        self.expired: list[Any] = []
        self.broken: Any = None
        self.sweep = Sweep(self.loop, {}, self.lines, self.idle, self._expire)

    def _expire(self, channel: Any, x: Any, now: float) -> None:
        if x is self.broken:
            raise ZeroDivisionError
        self.expired.append(x)
        del self.lines[channel]

    def add(self, *given: Any, **more: Any) -> Any:
        line = Busy(*given, **more)
        self.lines[line] = None
        self.sweep.begin()
        return line

    def after(self, seconds: float) -> list[Any]:
        self.clock.now += seconds
        self.loop.step(0.0)
        return self.expired


@pytest.fixture
def stage() -> Any:
    made = Stage()
    yield made
    made.loop.close()


def test_what_is_overdue_ends_and_nothing_else(stage: Stage) -> None:
    start = stage.clock.now
    late, early = stage.add(start + 0.1), stage.add(start + 100.0)
    assert stage.after(EVERY) == [late]
    assert early in stage.lines


def test_progress_moves_the_deadline_but_not_beyond_the_limit(stage: Stage) -> None:
    start = stage.clock.now
    free, bound = stage.add(start + 0.2), stage.add(start + 0.2, limit=start + 0.4)
    free.progress = bound.progress = 7
    assert stage.after(EVERY) == []
    assert (free.deadline, bound.deadline) == (stage.clock.now + 1.0, start + 0.4)
    assert stage.after(EVERY) == [bound]


def test_what_a_peer_takes_of_an_upload_is_progress(stage: Stage) -> None:
    line = stage.add(stage.clock.now + 0.1)
    line.blocked, line.bytes_sent = True, 1000
    assert stage.after(EVERY) == []
    line.deadline = 0.0
    assert stage.after(EVERY) == [line]


def test_it_ends_when_all_rest_and_begins_again(stage: Stage) -> None:
    line = stage.add(stage.clock.now + 100.0)
    stage.idle[line] = None
    stage.after(EVERY)
    assert stage.loop.next_deadline() is None
    del stage.idle[line]
    stage.sweep.begin()
    assert stage.loop.next_deadline() == stage.clock.now + EVERY


def test_short_timeouts_are_looked_at_more_often_also_when_a_look_is_planned(stage: Stage) -> None:
    stage.add(stage.clock.now + 0.02)
    stage.sweep.note(0.08)
    assert stage.loop.next_deadline() == pytest.approx(stage.clock.now + 0.01)
    stage.sweep.note(0.0001)
    assert stage.loop.next_deadline() == pytest.approx(stage.clock.now + FINEST)
    stage.sweep.note(60.0)
    assert stage.loop.next_deadline() == pytest.approx(stage.clock.now + FINEST)


def test_a_defect_at_one_line_does_not_end_the_looking(stage: Stage) -> None:
    stage.broken = stage.add(stage.clock.now)
    other = stage.add(stage.clock.now)
    stage.after(EVERY)
    assert stage.expired == []
    del stage.lines[stage.broken]
    assert stage.after(EVERY) == [other]
