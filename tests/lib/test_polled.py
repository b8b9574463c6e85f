"""The polled channel, with a driver that follows a script: on a poller that is told what is ready, and on real ones."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from aquests.errors import AquestsError, Cancelled, ConnectError, PeerClosed, RequestError
from aquests.exchange import Exchange
from aquests.lib.loop import Loop
from aquests.lib.polled import PolledChannel
from aquests.lib.poller import READ, WRITE, Poller, SelectPoller, best_poller
from tests.helpers import until
from tests.loopback import PLACE, FakePoller, ManualClock, Recorder, exchange

ADDRESS = (socket.AF_INET, ("127.0.0.1", 5432))
FD = 7


class ScriptedDriver:
    """Each ``poll`` takes the next step: what it returns, an error it raises, or a function to call for it."""

    def __init__(self, *steps: Any, fd: int = FD):
        self.steps: deque[Any] = deque(steps)
        self.fd = fd
        self.room = 0
        self.reusable = True
        self.error: AquestsError | None = None
        self.begun: list[Exchange] = []
        self.unsent = False
        self.calls: list[str] = []
        self.fails: AquestsError | None = None
        self.stop: Callable[[], None] | None = None
        self.x: Exchange | None = None

    @property
    def inflight(self) -> tuple[Exchange, ...]:
        return () if self.x is None else (self.x,)

    def connect(self, address: Any) -> None:
        self.calls.append("connect")
        if self.fails is not None:
            raise self.fails

    def fileno(self) -> int:
        return self.fd

    def poll(self) -> int:
        self.calls.append("poll")
        self.unsent = False
        step = self.steps.popleft()
        if callable(step):
            step = step()
        if isinstance(step, Exception):
            raise step
        if step == 0 and self.x is None and self.error is None:
            self.room = 1
        return int(step)

    def submit(self, x: Exchange) -> None:
        if x.payload == "refused":
            raise RequestError("refused")
        self.calls.append("submit")
        self.x, self.room = x, 0
        self.unsent = x.payload == "big"
        if x.payload == "broken":
            self.error = PeerClosed("gone")

    def collect(self) -> Sequence[Exchange]:
        self.calls.append("collect")
        x, self.x = self.x, None
        if x is None:
            return ()
        self.room = 1 if self.reusable else 0
        return (x,)

    def cancel(self, x: Exchange) -> bool:
        return False

    def interrupt(self) -> Callable[[], None] | None:
        self.calls.append("interrupt")
        return self.stop

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        self.calls.append("abandon")
        x, self.x, self.room = self.x, None, 0
        if x is None:
            return ()
        x.error = error
        return (x,)

    def goodbye(self) -> None:
        self.calls.append("goodbye")


class Stage:
    """A channel on a loop whose poller is told what is ready."""

    def __init__(self, *steps: Any):
        self.clock = ManualClock()
        self.poller = FakePoller(self.clock)
        self.loop = Loop(self.poller, self.clock)
        self.owner = Recorder()
        self.driver = ScriptedDriver(*steps)
        self.channel = PolledChannel(self.loop, self.owner, PLACE, lambda alpn: self.driver, 10.0)

    def open(self) -> None:
        self.channel.open(ADDRESS)

    def fire(self, mask: int = READ) -> None:
        self.poller.fire((FD, mask))
        self.loop.step(0.0)
        self.loop.send()

    def up(self) -> Stage:
        self.driver.steps.extendleft([0, 2])
        self.open()
        self.fire(WRITE)
        assert self.owner.kinds == ["room"] and self.channel.phase == "open"
        return self

    @property
    def mask(self) -> int | None:
        return self.poller.masks.get(FD)


@pytest.fixture(name="stage")
def _stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.loop.close()


def soon(stage: Stage) -> None:
    """One step in which nothing is ready."""
    stage.poller.fire()
    stage.loop.step(0.0)


# Making the line


def test_it_waits_for_what_the_driver_wants_until_there_is_room(stage: Stage):
    stage.driver.steps.extend([2, 1, 2, 0])
    stage.open()
    assert stage.mask == WRITE and stage.channel.phase == "connect" and stage.channel.room == 0
    assert stage.channel.deadline == stage.loop.now + 10.0
    stage.fire(WRITE)
    assert stage.mask == READ
    stage.fire()
    assert stage.mask == WRITE
    stage.clock.advance(0.5)
    stage.fire(WRITE)
    assert stage.mask == READ and stage.owner.kinds == ["room"]
    assert stage.channel.phase == "open" and stage.channel.room == 1 and stage.channel.connect_seconds == 0.5
    assert stage.channel.opened_at == stage.loop.now


def test_a_driver_that_is_ready_at_once_is_up_in_the_next_step(stage: Stage):
    stage.driver.steps.extend([0, 0])
    stage.open()
    assert stage.owner.told == []
    stage.fire(WRITE)
    assert stage.owner.kinds == ["room"] and stage.mask == READ


@pytest.mark.parametrize("where", ["connect", "poll"])
def test_what_fails_at_once_is_not_reported_from_inside(stage: Stage, where: str):
    error = ConnectError("connection refused")
    if where == "connect":
        stage.driver.fails = error
    else:
        stage.driver.steps.append(error)
    stage.open()
    assert stage.owner.told == []
    soon(stage)
    assert stage.owner.error is error and FD not in stage.poller.masks


def test_what_fails_later_closes_the_line(stage: Stage):
    error = ConnectError("password authentication failed")
    stage.driver.steps.extend([2, error])
    stage.open()
    stage.fire(WRITE)
    assert stage.owner.error is error and FD not in stage.poller.masks
    assert stage.driver.calls[-2:] == ["abandon", "goodbye"]


def pollers() -> list[Callable[[], Poller]]:
    return [best_poller, SelectPoller]


@pytest.mark.parametrize("make_poller", pollers())
@pytest.mark.parametrize("same_number", [True, False])
def test_the_socket_may_be_swapped_while_connecting(make_poller: Callable[[], Poller], same_number: bool):
    """libpq closes the first socket and opens another one, which mostly gets its number."""
    first, first_peer = socket.socketpair()
    second, second_peer = socket.socketpair()
    loop, owner = Loop(make_poller()), Recorder()
    driver = ScriptedDriver(fd=first.fileno())

    def swap() -> int:
        if same_number:
            os.dup2(second.fileno(), first.fileno())
        else:
            first.close()
            driver.fd = second.fileno()
        return 1

    driver.steps.extend([1, swap, 1, 0])
    channel = PolledChannel(loop, owner, PLACE, lambda alpn: driver, 10.0)
    channel.open(ADDRESS)
    first_peer.send(b"x")
    loop.step(1.0)
    assert loop.step(0.0) == 0, "the new socket has nothing to say yet"
    second_peer.send(b"y")
    loop.step(1.0)
    loop.step(1.0)
    assert owner.kinds == ["room"]
    channel.close()
    assert loop.step(0.0) == 0
    loop.close()
    for sock in (first, first_peer, second, second_peer):
        sock.close()


def test_a_socket_that_the_driver_has_closed_is_forgotten():
    """libpq closes it when the server has ended the line; its number may belong to somebody else soon."""
    mine, peer = socket.socketpair()
    loop, owner = Loop(), Recorder()
    driver = ScriptedDriver(1, fd=mine.fileno())

    def broken() -> Exception:
        mine.close()
        return PeerClosed("terminating connection")

    driver.steps.append(broken)
    channel = PolledChannel(loop, owner, PLACE, lambda alpn: driver, 10.0)
    channel.open(ADDRESS)
    peer.close()
    loop.step(1.0)
    assert str(owner.error) == "terminating connection"
    loop.close()


# Asking


def test_an_answer_is_collected_and_finished(stage: Stage):
    stage.up()
    x = exchange("q")
    stage.channel.submit(x)
    assert stage.channel.room == 0 and tuple(stage.channel.inflight) == (x,)
    changes = len(stage.poller.calls)
    stage.driver.steps.append(0)
    stage.fire()
    assert stage.owner.finished == [x] and stage.channel.room == 1
    assert len(stage.poller.calls) == changes, "a small answer changes no interest"


def test_an_answer_in_pieces_is_stamped_by_its_first(stage: Stage):
    stage.up()
    x = exchange("q")
    stage.channel.submit(x)

    def begin() -> int:
        stage.driver.begun.append(x)
        return 1

    stage.driver.steps.extend([begin, 1, 0])
    stage.clock.advance(1.0)
    stage.fire()
    assert x.first_at == stage.loop.now and stage.driver.begun == []
    first = x.first_at
    stage.clock.advance(1.0)
    stage.fire()
    stage.fire()
    assert x.first_at == first and stage.owner.finished == [x]


def test_a_statement_that_may_not_be_sent_is_polled_at_once_and_written(stage: Stage):
    stage.up()
    x = exchange("big")
    stage.channel.submit(x)
    polls = stage.driver.calls.count("poll")
    stage.driver.steps.extend([2, 2, 1, 0])
    soon(stage)
    assert stage.mask == WRITE and stage.driver.calls.count("poll") == polls + 1
    stage.fire(WRITE)
    stage.fire(WRITE)
    assert stage.mask == READ and stage.owner.finished == []
    stage.fire()
    assert stage.owner.finished == [x]


def test_an_answer_while_still_writing_ends_the_writing(stage: Stage):
    stage.up()
    x = exchange("big")
    stage.channel.submit(x)
    stage.driver.steps.extend([2, 0])
    soon(stage)
    stage.fire(WRITE)
    assert stage.owner.finished == [x] and stage.mask == READ


def test_a_refused_exchange_changes_nothing(stage: Stage):
    stage.up()
    with pytest.raises(RequestError):
        stage.channel.submit(exchange("refused"))
    assert stage.channel.room == 1


def test_a_line_that_breaks_in_submit_reports_soon_and_gives_its_number_back_at_once(stage: Stage):
    stage.up()
    x = exchange("broken")
    stage.channel.submit(x)
    assert stage.owner.kinds == ["room"] and FD not in stage.poller.masks
    polls = stage.driver.calls.count("poll")
    soon(stage)
    assert stage.owner.finished == [x] and str(stage.owner.error) == "gone" and str(x.error) == "gone"
    assert stage.driver.calls.count("poll") == polls, "a broken driver is not asked again: it would say something else"


def test_a_line_that_breaks_while_idle_is_closed(stage: Stage):
    stage.up()
    stage.driver.steps.extend([1, PeerClosed("terminating connection")])
    stage.fire()  # the notice of the end
    assert stage.owner.kinds == ["room"]
    stage.fire()
    assert str(stage.owner.error) == "terminating connection"
    assert "interrupt" not in stage.driver.calls


def test_spurious_readiness_is_legal(stage: Stage):
    stage.up()
    stage.driver.steps.append(0)
    stage.fire()
    assert stage.owner.kinds == ["room"] and stage.channel.phase == "open"


def test_a_driver_that_is_through_is_closed_behind_its_answer(stage: Stage):
    stage.up()
    stage.channel.submit(exchange("begin"))
    stage.driver.reusable = False
    stage.driver.steps.append(0)
    stage.fire()
    assert stage.owner.kinds == ["room", "finished", "closed"] and stage.owner.error is None


def test_a_driver_with_an_error_is_closed_at_the_end_of_the_batch(stage: Stage):
    stage.up()
    stage.channel.submit(exchange("broken"))
    stage.channel.drain()
    assert stage.owner.kinds == ["room", "finished", "closed"]


def test_a_further_page_that_may_not_be_sent_is_polled_soon(stage: Stage):
    stage.up()
    x = exchange("q")
    stage.channel.submit(x)

    def page() -> int:
        stage.driver.unsent = True
        return 1

    polls = stage.driver.calls.count("poll")
    stage.driver.steps.extend([page, 2, 0])
    stage.fire()
    assert stage.driver.calls.count("poll") == polls + 2 and stage.mask == WRITE
    stage.fire(WRITE)
    assert stage.owner.finished == [x]


# The end


def test_close_hands_back_says_goodbye_and_has_the_server_stopped_aside(stage: Stage):
    stage.up()
    stopped = threading.Event()
    stage.driver.stop = stopped.set
    x = exchange("q")
    stage.channel.submit(x)
    assert stage.channel.cancel(x) is False
    error = Cancelled("timed out")
    stage.channel.close(error)
    stage.channel.close(error)
    assert stage.driver.calls[-2:] == ["interrupt", "abandon"]
    assert stage.owner.kinds == ["room", "finished", "closed"] and x.error is error
    assert FD not in stage.poller.masks and stage.channel.room == 0 and stage.channel.phase == "closed"
    until(stopped.is_set)
    assert "goodbye" not in stage.driver.calls, "the call closes the socket"


def test_close_says_goodbye_where_nothing_can_be_stopped(stage: Stage):
    stage.up()
    stage.channel.submit(exchange("q"))
    stage.channel.close(Cancelled("timed out"))
    assert stage.driver.calls[-3:] == ["interrupt", "abandon", "goodbye"]


def test_close_without_work_interrupts_nobody(stage: Stage):
    stage.up()
    ended: list[bool] = []
    stage.channel.at_close = lambda: ended.append(True)
    stage.channel.close()
    assert "interrupt" not in stage.driver.calls and stage.owner.error is None and ended == [True]


def test_close_while_connecting(stage: Stage):
    stage.driver.steps.append(2)
    stage.open()
    stage.channel.close(Cancelled("too late"))
    assert str(stage.owner.error) == "too late" and FD not in stage.poller.masks
    soon(stage)


def test_a_step_that_was_planned_finds_the_line_closed(stage: Stage):
    stage.up()
    stage.channel.submit(exchange("big"))
    stage.channel.close()
    calls = list(stage.driver.calls)
    soon(stage)
    stage.channel.drain()
    assert stage.driver.calls == calls


def test_a_handler_that_raises_loses_its_line_only(stage: Stage):
    stage.up()
    x = exchange("q")
    stage.channel.submit(x)
    stage.driver.steps.append(lambda: 1 / 0)
    stage.fire()
    assert stage.owner.finished == [x] and "internal error: ZeroDivisionError" in str(stage.owner.error)


def test_before_it_is_opened_it_has_no_room():
    stage = Stage()
    assert stage.channel.room == 0 and stage.channel.inflight == ()
    stage.channel.close()
    assert stage.owner.error is None
    stage.loop.close()
