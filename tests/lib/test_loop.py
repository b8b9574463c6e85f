"""The loop: one bounded batch a step, with every poller of this platform and with fakes."""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.lib.loop import Loop
from aquests.lib.poller import READ, WRITE, EpollPoller, KqueuePoller, SelectPoller
from tests.loopback import FakePoller, ManualClock

KINDS: dict[str, type] = {"epoll": EpollPoller, "kqueue": KqueuePoller, "select": SelectPoller}
HERE = [kind for name, kind in KINDS.items() if hasattr(select, name)]


@pytest.fixture(params=HERE, ids=lambda kind: kind.__name__)
def loop(request) -> Iterator[Loop]:
    """A real loop, once with each poller."""
    made = Loop(request.param())
    yield made
    made.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def poller(clock) -> FakePoller:
    return FakePoller(clock)


@pytest.fixture
def fake(poller, clock) -> Iterator[Loop]:
    """A loop whose events and time are made by hand."""
    made = Loop(poller, clock)
    yield made
    made.close()


class Log:
    """A handler that writes down what it gets, and does what it is told."""

    def __init__(self, then: Callable[[int], object] | None = None):
        self.masks: list[int] = []
        self.crashes: list[Exception] = []
        self.then = then

    def handle(self, mask: int) -> None:
        self.masks.append(mask)
        if self.then is not None:
            self.then(mask)

    def crash(self, error: Exception) -> None:
        self.crashes.append(error)


# Descriptors, with real pollers


def test_handlers_get_what_is_ready(loop, pair):
    mine, theirs = pair()
    log = Log(lambda mask: mine.recv(10))
    loop.add(mine.fileno(), READ, log.handle)
    assert loop.step() == 0 and log.masks == []
    theirs.send(b"x")
    assert loop.step(5.0) == 1
    assert len(log.masks) == 1 and log.masks[0] & READ and not log.masks[0] & WRITE
    assert loop.step() == 0


def test_modify_changes_interest_and_handler(loop, pair):
    mine, _ = pair()
    reads, writes = Log(), Log()
    loop.add(mine.fileno(), READ, reads.handle)
    loop.modify(mine.fileno(), WRITE, writes.handle)
    loop.step(5.0)
    loop.modify(mine.fileno(), READ)
    loop.step()
    assert (reads.masks, [mask & WRITE for mask in writes.masks]) == ([], [WRITE])


def test_handle_changes_the_handler_alone(loop, pair):
    mine, theirs = pair()
    first, second = Log(), Log()
    loop.add(mine.fileno(), READ, first.handle)
    loop.handle(mine.fileno(), second.handle)
    theirs.send(b"x")
    loop.step(5.0)
    assert (first.masks, len(second.masks)) == ([], 1)


def test_a_removed_descriptor_gets_nothing_more_even_in_this_batch(loop, pair):
    """Whichever comes first removes the other: one of the two is called, once."""
    (one, one_peer), (two, two_peer) = pair(), pair()
    logs: dict[int, Log] = {}

    def remove(other: socket.socket, mask: int) -> None:
        loop.remove(other.fileno())

    for mine, other in ((one, two), (two, one)):
        log = logs[mine.fileno()] = Log(partial(remove, other))
        loop.add(mine.fileno(), READ, log.handle)
    one_peer.send(b"x")
    two_peer.send(b"x")
    assert loop.step(5.0) == 2
    assert sorted(len(log.masks) for log in logs.values()) == [0, 1]


def test_remove_of_an_unknown_descriptor_is_legal(loop, pair):
    mine, _ = pair()
    loop.remove(mine.fileno())
    loop.add(mine.fileno(), READ, Log().handle)
    loop.remove(mine.fileno())
    loop.remove(mine.fileno())
    loop.add(mine.fileno(), WRITE, Log().handle)
    assert loop.step(5.0) == 1


def test_a_descriptor_may_be_swapped_under_its_number(loop, pair):
    (first, _), (second, second_peer) = pair(), pair()
    fd = first.fileno()
    log = Log()
    loop.add(fd, READ, log.handle)
    os.dup2(second.fileno(), fd)
    loop.modify(fd, READ)
    second_peer.send(b"x")
    loop.step(5.0)
    assert len(log.masks) == 1


def test_a_new_socket_may_have_the_old_ones_number(loop, pair):
    """Law 7: the batch still holds an event of the socket that was closed."""
    trigger, trigger_peer = pair()
    old, old_peer = pair()
    fd = old.fileno()
    replaced: list[socket.socket] = []
    new = Log()

    def replace(mask: int) -> None:
        if not replaced:
            loop.remove(fd)
            old.close()
            replaced.extend(pair())
            assert fd in [sock.fileno() for sock in replaced], "the number was not used again"
            loop.add(fd, READ, new.handle)

    # Both orders in the batch: whoever comes first replaces.
    loop.add(trigger.fileno(), READ, Log(replace).handle)
    loop.add(fd, READ, Log(replace).handle)
    trigger_peer.send(b"x")
    old_peer.send(b"x")
    loop.step(5.0)
    assert replaced and new.masks == [], "the new socket got the old one's event"
    _, theirs = sorted(replaced, key=lambda sock: sock.fileno() != fd)
    theirs.send(b"x")
    loop.step(5.0)
    assert len(new.masks) == 1, "the new socket joined after the batch"


def test_fileno_is_readable_when_something_is_to_do(loop, pair):
    if isinstance(loop._poller, SelectPoller):
        with pytest.raises(OSError, match="no descriptor"):
            loop.fileno()
        return
    mine, theirs = pair()
    log = Log(lambda mask: mine.recv(10))
    loop.add(mine.fileno(), READ, log.handle)
    host = select.poll()
    host.register(loop.fileno(), select.POLLIN)
    assert host.poll(0) == []
    theirs.send(b"x")
    assert host.poll(5000) != []
    loop.step()
    assert host.poll(0) == []
    loop.soon(lambda: None)
    assert host.poll(0) != [], "soon() from outside must be seen by the host"
    loop.step()
    loop.wake()
    assert host.poll(0) != []
    loop.step()
    assert host.poll(0) == []


def test_close_gives_everything_back(loop, pair):
    mine, theirs = pair()
    log = Log()
    loop.add(mine.fileno(), READ, log.handle)
    theirs.send(b"x")
    loop.close()
    loop.close()
    loop.soon(lambda: None)
    loop.wake()
    assert log.masks == []


# Batches, with a fake poller


def test_stale_and_unknown_events_are_ignored(fake, poller):
    fake.add(5, READ, Log().handle)
    fake.remove(5)
    poller.fire((5, READ), (99, READ | WRITE))
    assert fake.step() == 2


def test_newcomers_join_after_the_batch(fake, poller):
    new = Log()
    fake.add(5, READ, Log(lambda mask: fake.add(6, READ, new.handle)).handle)
    poller.fire((5, READ), (6, READ))
    fake.step()
    assert new.masks == []
    poller.fire((6, READ))
    fake.step()
    assert new.masks == [READ]


def test_a_newcomer_may_be_changed_and_removed_before_it_joins(fake, poller):
    first, second = Log(), Log()

    def change(mask: int) -> None:
        fake.add(6, READ, first.handle)
        fake.modify(6, WRITE, second.handle)
        fake.add(7, READ, first.handle)
        fake.remove(7)

    fake.add(5, READ, Log(change).handle)
    poller.fire((5, READ), (6, READ), (7, READ))
    fake.step()
    assert poller.masks == {fake._wake.fileno(): READ, 5: READ, 6: WRITE}
    poller.fire((6, WRITE), (7, READ))
    fake.step()
    assert (first.masks, second.masks) == ([], [WRITE])


def test_a_handler_changed_in_a_batch_counts_at_once(fake, poller):
    first, second = Log(), Log()
    fake.add(6, READ, first.handle)
    fake.add(5, READ, Log(lambda mask: fake.modify(6, READ | WRITE, second.handle)).handle)
    poller.fire((5, READ), (6, READ))
    fake.step()
    assert (first.masks, second.masks) == ([], [READ])


def test_a_handler_that_raises_loses_its_own_line_only(fake, poller, caplog):
    def fail(mask: int) -> None:
        raise ZeroDivisionError("a defect")

    bad, good = Log(fail), Log()
    fake.add(5, READ, bad.handle)
    fake.add(6, READ, good.handle)
    poller.fire((5, READ), (6, READ))
    with caplog.at_level(logging.ERROR, "aquests"):
        assert fake.step() == 2
    assert [type(error) for error in bad.crashes] == [ZeroDivisionError]
    assert (good.masks, good.crashes) == ([READ], [])


def test_plain_functions_may_raise_too(fake):
    done = []

    def fail() -> None:
        raise ZeroDivisionError

    fake.soon(fail)
    fake.soon(lambda: done.append(1))
    fake.at(fake.now, fail)
    fake.at(fake.now, lambda: done.append(2))
    fake.step()
    assert done == [1, 2]


def test_an_interrupt_passes_and_the_loop_goes_on_afterwards(fake, poller):
    new = Log()

    def interrupt(mask: int) -> None:
        fake.add(6, READ, new.handle)
        raise KeyboardInterrupt

    fake.add(5, READ, Log(interrupt).handle)
    poller.fire((5, READ))
    with pytest.raises(KeyboardInterrupt):
        fake.step()
    poller.fire((6, READ))
    fake.step()
    assert new.masks == [READ], "what was added before the interrupt is not lost"


def test_an_interrupt_loses_no_call(fake, clock):
    done: list[int] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    for plan in (fake.soon, lambda call: fake.at(clock.now, call)):
        plan(lambda: done.append(1))
        plan(interrupt)
        plan(lambda: done.append(2))
        with pytest.raises(KeyboardInterrupt):
            fake.step()
        assert done == [1]
        fake.step()
        assert done == [1, 2]
        done.clear()


def test_step_within_step_raises_at_once(fake, poller):
    told: list[str] = []

    def again(mask: int = 0) -> None:
        with pytest.raises(RuntimeError, match="entered again"):
            fake.step()
        told.append("raised")

    fake.add(5, READ, Log(again).handle)
    fake.soon(again)
    fake.at(fake.now, again)
    poller.fire((5, READ))
    fake.step()
    assert told == ["raised"] * 3
    fake.step()


def test_now_is_read_once_a_step(fake, poller, clock):
    seen: list[float] = []

    def look(mask: int) -> None:
        seen.append(fake.now)
        clock.advance(1.0)

    for fd in (5, 6):
        fake.add(fd, READ, Log(look).handle)
    clock.advance(5.0)
    poller.fire((5, READ), (6, READ))
    fake.step()
    assert seen == [1005.0, 1005.0]
    fake.step()
    assert fake.now == 1007.0


# Soon


def test_soon_runs_in_the_next_step_in_order(fake):
    done: list[int] = []
    for number in range(3):
        fake.soon(lambda number=number: done.append(number))
    assert done == []
    fake.step()
    assert done == [0, 1, 2]
    fake.step()
    assert done == [0, 1, 2]


def test_soon_from_a_handler_runs_behind_the_batch(fake, poller):
    order: list[str] = []
    fake.add(5, READ, Log(lambda mask: fake.soon(lambda: order.append("soon"))).handle)
    fake.add(6, READ, Log(lambda mask: order.append("handler")).handle)
    poller.fire((5, READ), (6, READ))
    fake.step()
    assert order == ["handler", "soon"]


def test_soon_from_soon_waits_for_the_next_step(fake, poller):
    """Law 9: a step is bounded, even if its calls ask for more calls for ever."""
    done: list[int] = []

    def again() -> None:
        done.append(1)
        fake.soon(again)

    fake.soon(again)
    for steps in range(1, 4):
        assert fake.next_deadline() == fake.now, "a host must know that there is something to do"
        fake.step(None)
        assert poller.patience[-1] == 0.0
        assert len(done) == steps


def test_soon_from_another_thread_wakes_a_sleeping_loop(loop):
    done: list[str] = []
    thread = threading.Thread(target=lambda: loop.soon(lambda: done.append(threading.current_thread().name)))
    thread.start()
    while not done:
        loop.step(5.0)
    thread.join()
    assert done == [threading.current_thread().name]


def test_soon_from_many_threads_loses_nothing(loop):
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: [loop.soon(lambda: done.append(1)) for _ in range(200)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while len(done) < 800:
        loop.step(5.0)
    for thread in threads:
        thread.join()
    assert len(done) == 800


def test_wake_from_another_thread_ends_a_step(loop):
    thread = threading.Thread(target=loop.wake)
    thread.start()
    assert loop.step(None) == 1
    thread.join()
    assert loop.step() == 0


def test_closing_from_a_call_is_legal(poller, clock):
    loop = Loop(poller, clock)
    done: list[str] = []
    loop.soon(loop.close)
    loop.soon(lambda: done.append("soon"))
    loop.at(clock.now, lambda: done.append("timer"))
    loop.step()
    assert done == [] and poller.closed == 1


# Timers


def test_timers_run_in_the_order_of_their_time(fake, clock):
    done: list[str] = []
    for when, name in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (1.0, "a2")):
        fake.at(1000.0 + when, lambda name=name: done.append(name))
    fake.step()
    assert done == []
    clock.advance(1.0)
    fake.step()
    assert done == ["a", "a2"]
    clock.advance(5.0)
    fake.step()
    assert done == ["a", "a2", "b", "c"]


def test_a_cancelled_timer_is_forgotten(fake, clock):
    done: list[str] = []
    first = fake.at(1001.0, lambda: done.append("first"))
    second = fake.at(1002.0, lambda: done.append("second"))
    fake.at(1002.0, lambda: second.cancel())
    third = fake.at(1002.0, lambda: done.append("third"))
    first.cancel()
    first.cancel()
    assert fake.next_deadline() == 1002.0
    third.cancel()
    clock.advance(2.0)
    fake.step()
    assert done == ["second"]
    assert fake.next_deadline() is None


def test_a_timer_may_cancel_one_of_the_same_moment(fake, clock):
    done: list[str] = []
    later = None
    fake.at(1001.0, lambda: later.cancel())  # type: ignore[attr-defined]
    later = fake.at(1001.0, lambda: done.append("later"))
    clock.advance(1.0)
    fake.step()
    assert done == []


def test_a_timer_that_plans_itself_for_now_runs_once_a_step(fake):
    """Law 9: a step is bounded."""
    done: list[int] = []

    def again() -> None:
        done.append(1)
        if len(done) < 50:
            fake.at(fake.now - len(done), again)

    fake.at(fake.now, again)
    for steps in range(1, 4):
        fake.step()
        assert len(done) == steps


def test_a_timer_shortens_the_wait(fake, poller):
    fake.at(1000.5, lambda: None)
    fake.at(1003.0, lambda: None)
    for timeout, waited in ((None, 0.5), (0.25, 0.25), (9.0, 2.25)):
        fake.step(timeout)
        assert poller.patience[-1] == waited
    fake.step(0.0)
    assert poller.patience[-1] == 0.0


def test_an_overdue_timer_means_no_wait(fake, poller, clock):
    done: list[int] = []
    fake.at(1001.0, lambda: done.append(1))
    clock.advance(10.0)
    fake.step(None)
    assert poller.patience == [0.0] and done == [1]


def test_next_deadline(fake):
    assert fake.next_deadline() is None
    timer = fake.at(1005.0, lambda: None)
    fake.at(1007.0, lambda: None)
    assert fake.next_deadline() == 1005.0
    fake.soon(lambda: None)
    assert fake.next_deadline() == 1000.0
    fake.step()
    timer.cancel()
    assert fake.next_deadline() == 1007.0


def test_a_real_timer_is_never_early(loop):
    due: list[float] = []
    when = loop._clock() + 0.02
    loop.at(when, lambda: due.append(loop.now))
    while not due:
        loop.step(None)
    assert due[0] >= when


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=20), st.lists(st.integers(1, 9), max_size=5))
def test_timers_against_a_model(plans, steps):
    clock = ManualClock(0.0)
    loop = Loop(FakePoller(clock), clock)
    try:
        done: list[Any] = []
        model: list[Any] = []
        for number, (when, cancelled) in enumerate(plans):
            timer = loop.at(when, lambda number=number: done.append(number))  # type: ignore[misc]
            if cancelled:
                timer.cancel()
            else:
                heapq.heappush(model, (when, number))
        for seconds in steps:
            clock.advance(seconds)
            loop.step()
            expected = []
            while model and model[0][0] <= clock.now:
                expected.append(heapq.heappop(model)[1])
            assert done == expected
            done.clear()
            assert loop.next_deadline() == (model[0][0] if model else None)
    finally:
        loop.close()


# What handlers want to send


class Sends:
    """Handler and sender in one: asks in its handler to be drained, as a channel does."""

    def __init__(self, loop, notes, name):
        self.loop, self.notes, self.name = loop, notes, name

    def handle(self, mask):
        self.notes.append(f"{self.name} handles")
        self.loop.outgoing.append(self)

    def drain(self):
        self.notes.append(f"{self.name} sends")

    def crash(self, error):
        self.notes.append(f"{self.name} crashed")


def test_sends_come_behind_all_handlers_of_a_batch(loop):
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        for name in "ab":
            here, there = (stack.enter_context(end) for end in socket.socketpair())
            there.send(b"x")
            loop.add(here.fileno(), READ, Sends(loop, notes, name).handle)
            stack.callback(loop.remove, here.fileno())
        loop.soon(lambda: notes.append("soon"))
        loop.step(1.0)
        assert len(notes) == 3, "between the batch and its sends its answers are settled"
        loop.send()
    assert sorted(notes[:2]) == ["a handles", "b handles"]
    assert notes[2] == "soon"
    assert sorted(notes[3:]) == ["a sends", "b sends"]
    assert not loop.outgoing


def test_what_is_asked_for_outside_of_a_batch_is_sent_ahead_of_the_next_poll(loop):
    notes: list[str] = []
    loop.outgoing.append(Sends(loop, notes, "a"))
    assert not notes
    loop.step(0.0)
    assert notes == ["a sends"]


def test_or_at_once_if_somebody_says_so(loop):
    notes: list[str] = []
    loop.outgoing += [Sends(loop, notes, "a"), Sends(loop, notes, "b")]
    loop.send()
    loop.step(0.0)
    assert notes == ["a sends", "b sends"], "and once"


def test_a_sender_that_raises_loses_its_line_only(loop, caplog):
    notes: list[str] = []

    class Broken(Sends):
        def drain(self):
            raise ZeroDivisionError

    with contextlib.ExitStack() as stack:
        for kind, name in ((Broken, "a"), (Sends, "b"), (Broken, "c")):
            here, there = (stack.enter_context(end) for end in socket.socketpair())
            there.send(b"x")
            loop.add(here.fileno(), READ, kind(loop, notes, name).handle)
            stack.callback(loop.remove, here.fileno())
        loop.step(1.0)
        loop.send()
    assert sorted(notes[3:]) == ["a crashed", "b sends", "c crashed"]


def test_an_interrupt_in_a_handler_loses_no_send(loop):
    notes: list[str] = []

    class Interrupted(Sends):
        def handle(self, mask):
            super().handle(mask)
            raise KeyboardInterrupt

    here, there = socket.socketpair()
    with here, there:
        there.send(b"x")
        loop.add(here.fileno(), READ, Interrupted(loop, notes, "a").handle)
        with pytest.raises(KeyboardInterrupt):
            loop.step(1.0)
        assert notes == ["a handles"]
        loop.remove(here.fileno())
        loop.step(0.0)
    assert notes == ["a handles", "a sends"]
