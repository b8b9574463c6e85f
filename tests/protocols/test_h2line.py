"""A line of HTTP/2 as a whole: its room, its windows, streams that were given up, floods, and its end."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes

from aquests.errors import (
    AquestsError,
    Cancelled,
    ConnectionEnded,
    PeerClosed,
    TooLarge,
)
from aquests.protocols import h2frames as h2
from aquests.protocols.h2greeting import RECEIVE_WINDOW
from aquests.protocols.h2line import MAX_RESETS, PATIENCE
from aquests.protocols.h2stream import MAX_REMEMBERED
from aquests.protocols.http2 import Http2
from tests.protocols.h2peer import ACK, SETTINGS, Bare, Talk, data, goaway

MIB = 1 << 20


# Room


def test_one_stream_before_the_peer_has_spoken() -> None:
    talk = Bare(streams=5, greet=False)
    assert talk.wire.room == 1
    talk.ask()
    assert talk.wire.room == 0
    talk.say(SETTINGS)
    assert talk.wire.room == 4


@pytest.mark.parametrize(("ours", "theirs", "room"), [(5, None, 5), (5, 3, 3), (5, 100, 5), (1, 100, 1)])
def test_never_more_than_either_allows(ours: int, theirs: int | None, room: int) -> None:
    settings = () if theirs is None else ((h2.MAX_CONCURRENT_STREAMS, theirs),)
    assert Bare(ours, settings=settings).wire.room == room


def test_a_limit_that_changes_in_mid_run() -> None:
    talk = Talk(streams=10)
    asked = [talk.ask() for _ in range(6)]
    talk.server.update_settings({3: 4})
    talk.pump()
    assert talk.wire.room == 0
    for number, room in ((1, 0), (3, 0), (5, 1)):
        talk.answer(number)
        assert talk.wire.room == room
    talk.server.update_settings({3: 100})
    talk.pump()
    assert talk.wire.room == 7 and [x.error for x in asked] == [None] * 6


def test_a_peer_that_allows_nothing_is_left() -> None:
    talk = Talk()
    x = talk.ask()
    talk.server.update_settings({3: 0})
    talk.pump()
    assert talk.wire.reusable and talk.wire.room == 0
    talk.answer(1, body=b"ok")
    assert x.body == b"ok" and not talk.wire.reusable


def test_numbers_come_to_an_end() -> None:
    talk = Bare(streams=1 << 40)
    assert talk.wire.room == 1 << 30
    talk.wire._next = h2.MOST - 2
    talk.say(h2.frame(h2.PING, h2.ACK, 0, bytes(8)))
    assert talk.wire.room == 2
    one, other = talk.ask(), talk.ask()
    assert [number for _, _, number, _ in talk.sent()] == [h2.MOST - 2, h2.MOST] and talk.wire.room == 0
    talk.say(talk.head(h2.MOST - 2, last=True), talk.head(h2.MOST, last=True))
    assert one.error is other.error is None and talk.wire.room == 0 and not talk.wire.reusable


def test_settings_are_acknowledged_and_pings_answered() -> None:
    talk = Bare()
    talk.say(h2.frame(h2.SETTINGS, 0, 0, h2.settings(((h2.HEADER_TABLE_SIZE, 0), (77, 1)))), ACK)
    talk.say(h2.frame(h2.PING, 0, 0, b"12345678"), h2.frame(h2.PING, h2.ACK, 0, b"87654321"))
    assert talk.sent() == [(h2.SETTINGS, h2.ACK, 0, b""), (h2.PING, h2.ACK, 0, b"12345678")]


def test_header_tables_of_any_size() -> None:
    talk = Talk()
    for size in (0, 4096, 100, 65536):
        talk.server.update_settings({1: size})
        talk.pump()
        x = talk.ask(headers=(("cookie", "a=b"), ("x", "y")))
        talk.answer(max(talk.asked), body=b"ok")
        assert x.body == b"ok"


def test_larger_frames_may_be_used_for_headers() -> None:
    talk = Bare(settings=((h2.MAX_FRAME_SIZE, 50_000),))
    talk.ask(headers=(("x", "v" * 40_000),))
    assert [kind for kind, _, _, _ in talk.sent()] == [h2.HEADERS]


def test_windows_are_given_back_by_halves() -> None:
    talk = Bare()
    talk.ask()
    talk.say(talk.head(1))
    talk.sent()
    frame = data(1, bytes(16384))
    updates = []
    for _ in range(4 * RECEIVE_WINDOW // 16384):
        talk.say(frame)
        updates += [(kind, number, int.from_bytes(payload)) for kind, _, number, payload in talk.sent()]
    assert {kind for kind, _, _ in updates} == {h2.WINDOW_UPDATE}
    assert [number for _, number, _ in updates] == [0, 1] * 7
    assert {more for _, _, more in updates} == {RECEIVE_WINDOW // 2 + 16384}


# What was cancelled


def test_cancel() -> None:
    talk = Talk()
    x, other = talk.ask(), talk.ask()
    talk.answer(3, body=b"first")
    assert talk.wire.cancel(x) and talk.wire.room == 10 and talk.wire.reusable
    talk.harness.done.append(x)
    talk.harness._look(())
    talk.pump()
    assert talk.asked[1].reset == ErrorCodes.CANCEL
    assert other.body == b"first" and talk.ask() and talk.wire.room == 9


def test_a_silent_line_takes_nothing_new() -> None:
    """Nothing came since the request was sent: perhaps nobody is there."""
    talk = Bare()
    first = talk.ask()
    talk.say(talk.head(1, last=True))
    x, other = talk.ask(), talk.ask()
    assert talk.wire.cancel(x)
    assert talk.wire.room == 0 and not talk.wire.reusable and list(talk.wire.inflight) == [other]
    talk.harness.done.append(x)
    talk.say(talk.head(5, last=True))
    assert first.error is other.error is None


def test_cancelling_an_upload_lets_the_others_on() -> None:
    talk = Talk(credit=False)
    x, other = talk.ask(bytes(MIB), method="PUT"), talk.ask(bytes(MIB), method="PUT")
    talk.server.ping(b"12345678")
    talk.pump()
    assert talk.wire.cancel(x)
    talk.harness.done.append(x)
    talk.harness._look(())
    talk.server.increment_flow_control_window(2 * MIB)
    talk.server.increment_flow_control_window(MIB, 3)
    talk.pump()
    assert talk.asked[3].ended and other in talk.wire.inflight


def test_cancelling_what_is_through_is_nothing() -> None:
    talk = Bare()
    x = talk.ask()
    talk.say(talk.head(1, last=True))
    talk.sent()
    assert talk.wire.cancel(x) and not talk.sent()


def cancelled(body: bytes = b"") -> Bare:
    """Stream 1 was cancelled while its answer was under way."""
    talk = Bare()
    x, other = talk.ask(), talk.ask()
    talk.say(talk.head(3), *([data(1, body)] if body else []))
    assert talk.wire.cancel(x) and other
    talk.harness.done.append(x)
    talk.harness._look(())
    talk.sent()
    return talk


def test_what_was_under_way_is_dropped() -> None:
    talk = cancelled()
    talk.say(talk.head(1, ("x", "y")), data(1, b"late"), h2.window_update(1, 5), data(1, b"later", last=True))
    talk.say(talk.head(3, ("x", "y"), last=True, status=None))  # the header table was kept
    assert talk.wire.error is None and talk.harness.done[-1].trailers == (("x", "y"),)


def test_its_window_is_given_back() -> None:
    talk = cancelled()
    frames = 0
    while not (sent := talk.sent()):
        talk.say(data(1, bytes(16384)))
        frames += 1
    assert sent == [(h2.WINDOW_UPDATE, 0, 0, (frames * 16384).to_bytes(4))]


def test_but_not_more_than_its_own_window() -> None:
    talk = cancelled()
    while talk.wire.error is None:
        talk.say(data(1, bytes(16384)))
    assert "window of the stream" in str(talk.wire.error)


@pytest.mark.parametrize("last", ["DATA", "RST_STREAM"])
def test_nothing_comes_behind_its_end(last: str) -> None:
    talk = cancelled()
    talk.say(data(1, b"", last=True) if last == "DATA" else h2.rst_stream(1, h2.CANCEL))
    assert talk.wire.error is None
    talk.say(data(1, b"x"))
    assert isinstance(talk.wire.error, ConnectionEnded) and "closed" in str(talk.wire.error)


def test_it_is_not_remembered_for_ever() -> None:
    talk = Bare(streams=1)
    for number in range(MAX_REMEMBERED + 10):
        x = talk.ask(max_content=0)
        talk.say(talk.head(2 * number + 1), data(2 * number + 1, b"x"))
        assert isinstance(x.error, TooLarge)
    assert len(talk.wire._departed) == MAX_REMEMBERED


# The end


def test_goaway() -> None:
    talk = Bare()
    one, two, three = talk.ask(), talk.ask(bytes(200_000), method="PUT"), talk.ask(bytes(200_000), method="PUT")
    talk.say(goaway(3, 11, b"too much"))
    assert talk.wire.room == 0 and not talk.wire.reusable and talk.wire.error is None
    assert talk.harness.done == [three] and three.untouched
    assert isinstance(three.error, ConnectionEnded) and three.error.code == 720
    assert "ENHANCE_YOUR_CALM: too much" in three.error.message
    talk.say(talk.head(1, last=True), goaway(1))
    assert one.error is None and two.untouched
    assert not talk.wire.inflight


def test_goaway_on_an_idle_line() -> None:
    talk = Bare()
    talk.say(goaway(0))
    assert talk.wire.room == 0 and not talk.wire.reusable and talk.wire.error is None


def test_the_line_is_closed_after_goaway() -> None:
    talk = Bare()
    x = talk.ask()
    talk.say(goaway(1))
    talk.harness.receive_eof()
    assert isinstance(x.error, ConnectionEnded) and not x.untouched
    assert "NO_ERROR" in x.error.message and "closed the line" in x.error.message


def test_the_line_is_closed_without_a_word() -> None:
    talk = Bare()
    one, other = talk.ask(), talk.ask()
    talk.say(talk.head(1))
    talk.harness.receive_eof()
    assert type(one.error) is type(other.error) is PeerClosed and one.error is not other.error
    assert one.progress and not other.progress


def test_abandoned() -> None:
    talk = Bare()
    one, other = talk.ask(), talk.ask(bytes(MIB), method="PUT")
    cause = OSError("x")
    error = Cancelled("stopped")
    error.__cause__ = cause
    talk.harness.abandon(error)
    assert one.error is not other.error
    for x in (one, other):
        assert isinstance(x.error, Cancelled) and x.error.message == "stopped" and x.error.__cause__ is cause


def test_goodbye() -> None:
    talk = Talk()
    talk.wire.goodbye()
    talk.harness._look(())
    talk.pump()
    assert talk.goaway is not None and talk.goaway.error_code == ErrorCodes.NO_ERROR


# Floods


def test_rapid_resets() -> None:
    talk = Bare(streams=1)
    for number in range(MAX_RESETS):
        talk.ask()
        talk.say(h2.rst_stream(2 * number + 1, h2.CANCEL))
    assert talk.wire.error is None
    talk.ask()
    talk.say(talk.head(2 * MAX_RESETS + 1, last=True))  # one good answer between them
    for number in range(MAX_RESETS + 1, 2 * MAX_RESETS + 1):
        talk.ask()
        talk.say(h2.rst_stream(2 * number + 1, h2.CANCEL))
    assert talk.wire.error is None
    talk.ask()
    talk.sent()
    talk.say(h2.rst_stream(4 * MAX_RESETS + 3, h2.CANCEL))
    assert "over 1,000 streams reset" in str(talk.wire.error)
    assert talk.goaway()[0] == h2.ENHANCE_YOUR_CALM


def test_pings_of_a_long_life() -> None:
    """Patience is restored by every answer, and by much data."""
    talk = Bare()
    pings = h2.frame(h2.PING, 0, 0, bytes(8)) * (PATIENCE - 1)
    for number in range(3):
        talk.ask()
        talk.say(pings, talk.head(2 * number + 1, last=True))
    talk.ask()
    talk.say(talk.head(7))
    for _ in range(3):
        talk.say(pings, data(7, bytes(16384)) * (RECEIVE_WINDOW // 2 // 16384 + 1))
    assert talk.wire.error is None


# A defect of ours


def test_what_finished_in_a_call_that_did_not_return_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel closes such a line; the good answers before the defect are none the worse for it."""
    talk = Bare()
    good, hit = talk.ask(), talk.ask()

    def broken(*args: object) -> None:
        raise LookupError("nobody expected this")

    monkeypatch.setattr(Http2, "_unknown", broken)
    said = talk.head(1, ("content-length", "2")) + data(1, b"hi", last=True) + h2.frame(99, 0, 0, b"")
    with pytest.raises(LookupError):
        talk.wire.receive(said)
    assert list(talk.wire.abandon(AquestsError("defect"))) == [good, hit]
    assert (good.error, good.body) == (None, b"hi") and str(hit.error) == "defect"
    assert not talk.wire.abandon(AquestsError("again"))
