"""The threaded channel with workers that do as they are told, and the gate of the threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from aquests.errors import AquestsError, Cancelled, ConnectError, TimedOut
from aquests.exchange import Exchange
from aquests.lib import threaded as module
from aquests.lib.loop import Loop
from aquests.lib.threaded import Gate, ThreadedChannel
from tests.helpers import until
from tests.loopback import PLACE, Recorder, exchange

ADDRESS = (1, "/some/where")


class ToldWorker:
    """A payload that is an event is waited for; the outcome is the payload."""

    def __init__(self) -> None:
        self.room = 0
        self.reusable = True
        self.error: AquestsError | None = None
        self.fails: AquestsError | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.interrupted = threading.Event()
        self.threads: set[int] = set()
        self.calls: list[Any] = []
        self.spoils = False
        self.x: Exchange | None = None

    @property
    def inflight(self) -> tuple[Exchange, ...]:
        return () if self.x is None else (self.x,)

    # In the thread

    def connect(self, address: Any, patience: float) -> None:
        self.threads.add(threading.get_ident())
        self.hold.wait(5.0)
        self.calls.append(("connect", address, patience))
        if self.fails is not None:
            raise self.fails

    def perform(self, payload: Any, patience: float) -> Any:
        self.threads.add(threading.get_ident())
        if isinstance(payload, threading.Event):
            payload.wait(5.0)
        self.calls.append(("perform", patience))
        return payload

    def goodbye(self) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append("goodbye")

    # In the loop

    def opened(self) -> None:
        self.room = 1

    def submit(self, x: Exchange) -> None:
        self.x, self.room = x, 0

    def finish(self, outcome: Any) -> Sequence[Exchange]:
        x, self.x = self.x, None
        self.reusable = not self.spoils
        self.room = int(self.reusable)
        if x is None:
            return ()
        x.data = outcome
        return (x,)

    def cancel(self, x: Exchange) -> bool:
        self.x = None
        return not self.spoils

    def interrupt(self) -> None:
        self.interrupted.set()

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        x, self.x, self.room = self.x, None, 0
        if x is None:
            return ()
        x.error = error
        return (x,)


class Stage:
    def __init__(self) -> None:
        self.loop = Loop()
        self.owner = Recorder()
        self.worker = ToldWorker()
        self.channel = ThreadedChannel(self.loop, self.owner, PLACE, lambda alpn: self.worker, 10.0)

    def until(self, condition: Any) -> None:
        until(condition, between=lambda: self.loop.step(0.01))

    def up(self) -> Stage:
        self.channel.open(ADDRESS)
        self.until(lambda: self.owner.told)
        return self

    def ask(self, payload: Any) -> Exchange:
        x = exchange(payload)
        self.channel.submit(x)
        return x


@pytest.fixture(name="stage")
def _stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.channel.close()
    stage.loop.close()


def test_it_opens_in_a_thread_of_its_own_and_reports_by_the_loop(stage: Stage):
    stage.worker.hold.clear()
    stage.channel.open(ADDRESS)
    assert stage.channel.phase == "connect" and stage.channel.deadline == stage.loop.now + 10.0
    assert stage.channel.room == 0
    stage.loop.step(0.0)
    assert stage.owner.told == []
    stage.worker.hold.set()
    stage.until(lambda: stage.owner.told)
    assert stage.owner.kinds == ["room"] and stage.channel.phase == "open" and stage.channel.room == 1
    assert stage.worker.calls == [("connect", ADDRESS, 10.0)]
    assert threading.get_ident() not in stage.worker.threads
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("aquests "))


def test_answers_come_one_by_one(stage: Stage):
    stage.up()
    for number in range(5):
        x = stage.ask(number)
        assert stage.channel.room == 0 and tuple(stage.channel.inflight) == (x,)
        stage.until(lambda x=x: x in stage.owner.finished)
        assert x.data == number and stage.channel.room == 1
    assert len(stage.worker.threads) == 1


def test_what_cannot_be_opened_closes_the_line_and_ends_the_thread(stage: Stage):
    stage.worker.fails = ConnectError("unable to open database file")
    stage.channel.open(ADDRESS)
    stage.until(lambda: stage.owner.told)
    assert stage.owner.error is stage.worker.fails
    until(lambda: stage.worker.calls[-1] == "goodbye")


def test_what_nobody_expected_closes_the_line_as_well(stage: Stage):
    """The library may warn where warnings are errors, for instance."""
    stage.worker.fails = DeprecationWarning("not like this")  # type: ignore[assignment]
    stage.channel.open(ADDRESS)
    stage.until(lambda: stage.owner.kinds == ["closed"])
    assert str(stage.owner.error) == "internal error: DeprecationWarning: not like this, peer:1"
    until(lambda: stage.worker.calls[-1] == "goodbye")


def test_cancelled_work_is_interrupted_and_the_line_goes_on(stage: Stage):
    stage.up()
    busy = threading.Event()
    x = stage.ask(busy)
    assert stage.channel.cancel(x) is True
    assert stage.worker.interrupted.is_set() and stage.channel.room == 0 and stage.channel.inflight == ()
    stage.loop.step(0.0)
    assert stage.owner.kinds == ["room"], "it is not back yet"
    busy.set()
    stage.until(lambda: stage.channel.room)
    assert stage.owner.kinds == ["room", "room"] and x.data is None
    y = stage.ask("next")
    stage.until(lambda: stage.owner.finished)
    assert stage.owner.finished == [y] and y.data == "next"


def test_work_that_does_not_end_costs_the_line(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "GRACE", 0.02)
    stage.up()
    busy = threading.Event()
    x = stage.ask(busy)
    assert stage.channel.cancel(x)
    stage.until(lambda: "closed" in stage.owner.kinds)
    assert isinstance(stage.owner.error, TimedOut) and stage.owner.finished == []
    busy.set()
    until(lambda: stage.worker.calls[-1] == "goodbye")


def test_work_that_comes_back_in_time_stops_the_clock(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "GRACE", 0.05)
    stage.up()
    busy = threading.Event()
    assert stage.channel.cancel(stage.ask(busy))
    busy.set()
    stage.until(lambda: stage.channel.room)
    assert stage.loop.next_deadline() is None and stage.channel.phase == "open"


def test_a_worker_may_refuse_to_survive_a_cancel(stage: Stage):
    stage.up()
    stage.worker.spoils = True
    x = stage.ask("q")
    assert stage.channel.cancel(x) is False


def test_a_worker_that_is_spoiled_is_closed_behind_its_answer(stage: Stage):
    stage.up()
    stage.worker.spoils = True
    x = stage.ask("q")
    stage.until(lambda: "closed" in stage.owner.kinds)
    assert stage.owner.kinds == ["room", "finished", "closed"] and stage.owner.finished == [x]


def test_close_hands_back_at_once_and_lets_the_thread_end(stage: Stage):
    stage.up()
    busy = threading.Event()
    x = stage.ask(busy)
    ended: list[bool] = []
    stage.channel.at_close = lambda: ended.append(True)
    error = Cancelled("the run was stopped")
    stage.channel.close(error)
    stage.channel.close()
    assert stage.owner.kinds == ["room", "finished", "closed"] and x.error is error and stage.owner.error is error
    assert stage.worker.interrupted.is_set() and "goodbye" not in stage.worker.calls and ended == [True]
    busy.set()
    until(lambda: stage.worker.calls[-1] == "goodbye")
    stage.loop.step(0.0)
    assert x.data is None and stage.owner.kinds.count("finished") == 1, "what came too late belongs to nobody"


def test_close_while_it_opens(stage: Stage):
    stage.worker.hold.clear()
    stage.channel.open(ADDRESS)
    stage.channel.close(Cancelled("too late"))
    stage.worker.hold.set()
    until(lambda: "goodbye" in stage.worker.calls)
    stage.loop.step(0.0)
    assert stage.owner.kinds == ["closed"]


def test_a_handler_that_raises_loses_its_line_only(stage: Stage):
    stage.up()
    x = stage.ask(threading.Event())
    stage.channel.crash(ValueError("oops"))
    assert str(x.error) == "internal error: ValueError: oops, peer:1"
    x.payload.set()


# The gate


class Visitor(threading.Thread):
    """Goes in and stays until it is told to leave."""

    def __init__(self, gate: Gate, alone: bool, log: list[str], name: str, timeout: float = 5.0):
        super().__init__(daemon=True)
        self.gate, self.alone, self.log, self.label, self.timeout = gate, alone, log, name, timeout
        self.out = threading.Event()
        self.start()

    def run(self) -> None:
        if not self.gate.enter(self.alone, self.timeout):
            self.log.append(f"{self.label} gave up")
            return
        self.log.append(f"{self.label} in")
        self.out.wait(5.0)
        self.log.append(f"{self.label} out")
        self.gate.leave(self.alone)


def waiting(gate: Gate) -> int:
    return len(gate._waiting)


def test_many_or_one_in_the_order_they_came():
    gate, log = Gate(), list[str]()
    readers = [Visitor(gate, False, log, f"r{n}") for n in range(3)]
    until(lambda: len(log) == 3)
    writer = Visitor(gate, True, log, "w")
    until(lambda: waiting(gate) == 1)
    late = Visitor(gate, False, log, "late")
    until(lambda: waiting(gate) == 2)
    second = Visitor(gate, True, log, "w2")
    until(lambda: waiting(gate) == 3)
    assert sorted(log) == ["r0 in", "r1 in", "r2 in"], "a reader does not overtake a writer that waits"
    for reader in readers:
        reader.out.set()
    until(lambda: "w in" in log)
    assert "late in" not in log
    writer.out.set()
    until(lambda: "late in" in log)
    assert "w2 in" not in log
    late.out.set()
    until(lambda: "w2 in" in log)
    second.out.set()
    until(lambda: "w2 out" in log)
    assert waiting(gate) == 0 and gate.enter(True, 0.0)
    gate.leave(True)


def test_who_gives_up_lets_the_next_one_through():
    gate, log = Gate(), list[str]()
    assert gate.enter(False, 0.0)
    writer = Visitor(gate, True, log, "w", timeout=0.05)
    until(lambda: waiting(gate) == 1)
    reader = Visitor(gate, False, log, "r")
    until(lambda: "r in" in log)
    assert log[0] == "w gave up"
    reader.out.set()
    gate.leave(False)
    for thread in (writer, reader):
        thread.join(5.0)
