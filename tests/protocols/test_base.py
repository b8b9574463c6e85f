"""What all wires start with, and how they end; what they say is tested with each of them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from aquests.errors import Cancelled, PeerClosed, TransportError
from aquests.exchange import Exchange
from aquests.protocols.base import NO_EXCHANGES, BaseWire, OneAtATime, fail
from tests.loopback import exchange


class Wire(BaseWire):
    """The least there may be."""

    __slots__ = ()


class One(OneAtATime):
    __slots__ = ("__weakref__",)

    def submit(self, x: Exchange) -> None:
        self.outbox.append(b"ask")
        self._x = x
        self.room = 0


def busy(wire: Any) -> Any:
    """In the middle of things."""
    wire.room = 3
    wire.hungry = True
    wire.outbox.append(b"more")
    wire.begun.append(exchange("a"))
    return wire


@pytest.mark.parametrize("make", [Wire, One])
def test_a_new_wire_has_nothing(make):
    wire = make()
    assert (wire.outbox, wire.room, wire.reusable, wire.error, wire.hungry, wire.begun) == (
        [],
        0,
        True,
        None,
        False,
        [],
    )
    assert not wire.produce() and wire.goodbye() is None and wire.outbox == []
    with pytest.raises(AttributeError):
        wire.misspelt = 1  # slots all the way down


def test_each_wire_has_lists_of_its_own():
    one, other = Wire(), Wire()
    assert one.outbox is not other.outbox and one.begun is not other.begun


@pytest.mark.parametrize("make", [Wire, One])
def test_a_retired_line_finishes_what_it_has(make):
    wire = busy(make())
    wire._retire()
    assert (wire.room, wire.reusable, wire.hungry) == (0, False, True)
    assert wire.outbox == [b"more"] and len(wire.begun) == 1 and wire.error is None


@pytest.mark.parametrize("make", [Wire, One])
def test_at_the_end_nothing_is_left_and_the_lists_stay_the_same_ones(make):
    wire = busy(make())
    outbox, begun = wire.outbox, wire.begun
    wire._end()
    assert (wire.room, wire.reusable, wire.hungry) == (0, False, False)
    assert wire.outbox is outbox and wire.begun is begun and not outbox and not begun and wire.error is None


def test_one_at_a_time():
    wire: Any = One()
    assert wire.inflight == ()
    wire.opened()
    assert wire.room == 1 and wire.outbox == []
    x = exchange("a")
    wire.submit(x)
    assert wire.inflight == (x,) and not wire.cancel(x) and wire.inflight == (x,)
    error = PeerClosed("gone", phase="answer")
    assert wire.abandon(error) == (x,) and x.error is error
    assert (wire.inflight, wire.room, wire.reusable, wire.outbox) == ((), 0, False, [])
    assert wire.error is None, "that the line went is not the wire's fault"
    assert wire.abandon(Cancelled("again")) == NO_EXCHANGES and x.error is error


def test_what_is_given_back_is_let_go_of():
    gc.disable()
    try:
        wire, x = One(), exchange("a")
        wire.submit(x)
        wire.abandon(PeerClosed("gone"))
        gone = weakref.ref(wire)
        del wire
        assert gone() is None, "without the collector"
    finally:
        gc.enable()


def test_each_lost_exchange_has_an_error_of_its_own():
    cause = OSError("cut")
    error = TransportError("gone", phase="answer", endpoint="a:1")
    error.__cause__ = cause
    lost = [exchange("a"), exchange("b")]
    assert fail(lost, error) is lost
    for x in lost:
        assert type(x.error) is TransportError and x.error is not error and x.error.__cause__ is cause
        assert str(x.error) == str(error) and (x.error.phase, x.error.endpoint) == ("answer", "a:1")
    assert isinstance(lost[0].error, TransportError) and isinstance(lost[1].error, TransportError)
    lost[0].error.after = 2.0
    assert lost[1].error.after == 0.0
