"""The WebSocket wire: bytes in, exchanges out; its own frames are read by other implementations."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websocket import WebSocketBadStatusException
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as TheirRequest
from websockets.server import ServerProtocol

from aquests.errors import AquestsError, Cancelled, PeerClosed, ProtocolError, TooLarge, WebSocketClosed
from aquests.exchange import Exchange
from aquests.protocols import websocket
from aquests.protocols.websocket import FRAGMENT, MAX_UNASKED, MAX_WAITING, WebSocket
from aquests.protocols.wsframes import BINARY, CLOSE, CONT, PING, PONG, TEXT
from tests.conformance import Case, Harness, Turn, check_wire
from tests.helpers import feedings, random_cuts
from tests.wsbytes import answer, binary, bomb, frame, make_exchange, make_wire, said, text

Outcome = tuple[Any, ...]
DEFLATED = bytes.fromhex("f2 48 cd c9 c9 07 00")
"""Hello (RFC 7692 7.2.3.1)."""


def opened(x: Exchange | None = None, data: bytes = b"") -> Harness:
    """A line whose first exchange has opened it, and what came behind the 101."""
    harness = Harness(make_wire())
    harness.open()
    harness.submit(x or make_exchange())
    harness.receive(answer() + data)
    return harness


def ours(harness: Harness) -> list[tuple[int, int, bytes]]:
    """The frames that were sent behind the opening."""
    sent = b"".join(harness.sent)
    return said(sent[sent.index(b"\r\n\r\n") + 4 :])


def outcome(x: Exchange) -> Outcome:
    error = x.error and (type(x.error), str(x.error))
    return (getattr(x.head, "opcode", None), x.data, x.body, error)


def fates(data: bytes, *exchanges: Callable[[], Exchange], eof: bool = False, **options: Any) -> list[Harness]:
    """The same conversation in three cuttings: ``data`` is all that comes, exchanges are submitted as there is room."""
    harnesses = []
    for pieces in feedings(data, len(data)):
        harness = Harness(make_wire(**options))
        harness.open()
        waiting = list(exchanges)
        harness.submit(waiting.pop(0)())
        for piece in pieces:
            if not harness.ended:
                harness.receive(piece)
            if waiting and harness.wire.room:
                harness.submit(waiting.pop(0)())
        if eof and not harness.ended:
            harness.receive_eof()
        harnesses.append(harness)
    return harnesses


def only(data: bytes, exchange: Callable[[], Exchange] = make_exchange, **options: Any) -> tuple[Exchange, Harness]:
    """What became of the one exchange; the same in every cutting."""
    harnesses = fates(data, exchange, **options)
    first = harnesses[0]
    for harness in harnesses:
        assert [outcome(x) for x in harness.done] == [outcome(x) for x in first.done]
        assert b"".join(harness.sent) == b"".join(first.sent)
        assert (harness.wire.room, harness.wire.reusable) == (first.wire.room, first.wire.reusable)
    assert len(first.done) == 1, "not finished"
    harnesses[1].abandon(Cancelled("the line was closed"))
    assert outcome(harnesses[1].done[0]) == outcome(first.done[0]), "changed after it had finished"
    return first.done[0], first


# The opening


def test_the_first_exchange_opens_the_line() -> None:
    wire = make_wire()
    assert (wire.room, wire.outbox) == (0, [])
    wire.opened()
    assert wire.room == 1 and wire.outbox == []
    x = make_exchange(headers=(("Origin", "http://a"),))
    wire.submit(x)
    assert wire.room == 0 and wire.inflight == (x,)
    (sent,) = wire.outbox
    assert sent.startswith(b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\n")
    assert b"\r\nOrigin: http://a\r\n" in sent
    wire.outbox.clear()
    assert wire.receive(answer()) == ()
    assert said(b"".join(wire.outbox)) == [(TEXT, 1, b"hello")]
    assert list(wire.receive(text("world"))) == [x]
    assert (x.data, x.body, wire.room) == ("world", b"world", 1) and not wire.inflight
    head: Any = x.head
    assert (head.status, head.reason, head.version, head.lane) == (101, "Switching Protocols", "13", "WEBSOCKET")
    assert head.headers["upgrade"] == "websocket"


REFUSALS = {
    "length": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403, b"no", True),
    "chunked": (b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 404, b"no", True),
    "closing": (b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 503, b"", False),
    "behind an interim answer": (
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        200,
        b"no",
        True,
    ),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, b"", True),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_an_answer(name: str) -> None:
    data, status, body, kept = REFUSALS[name]
    x, harness = only(data)
    assert x.head is not None and (x.head.status, x.body, x.error) == (status, body, None)
    assert (harness.wire.room, harness.wire.reusable) == (int(kept), kept)
    # The rules of HTTP come first; when they have nothing to do, the codec makes it a refusal.
    assert x.codec is not None
    x.codec.decode(x)
    assert isinstance(x.error, WebSocketBadStatusException)
    assert (x.error.status_code, x.error.resp_body) == (status, body)
    assert str(x.error).startswith(f"the server did not open a WebSocket: {status} ")


def test_a_refusal_until_the_end_of_the_line() -> None:
    for harness in fates(b"HTTP/1.1 500 Oops\r\n\r\nall of it", make_exchange, eof=True):
        (x,) = harness.done
        assert x.head is not None and (x.head.status, x.body, x.error) == (500, b"all of it", None)
        assert x.codec is not None


def test_another_attempt_on_the_same_line() -> None:
    harness = Harness(make_wire())
    harness.open()
    first = make_exchange()
    harness.submit(first)
    harness.receive(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
    again = first.again()
    again.headers = (("Authorization", "Basic eDp5"),)
    assert again.payload.sent is False
    harness.submit(again)
    assert b"Authorization: Basic eDp5" in harness.sent[-1]
    harness.receive(answer() + text("in"))
    assert again.data == "in" and again.codec is None and again.payload.sent


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"HTTP/1.1 101 X\r\n\r\n" + text("x"), ProtocolError, "does not upgrade to websocket"),
        (answer("Sec-WebSocket-Extensions: foo"), ProtocolError, "not offered"),
        (answer(key="x") + text("x"), ProtocolError, "does not answer our key"),
        (b"HTTP/2 101 X\r\n\r\n", ProtocolError, "not an HTTP"),
        (b"\x81\x05Hello" * 3, ProtocolError, "not an HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n", TooLarge, "max_content"),
    ],
)
def test_no_opening(data: bytes, kind: type[AquestsError], says: str) -> None:
    x, harness = only(data)
    assert type(x.error) is kind and says in str(x.error)
    assert (harness.wire.room, harness.wire.reusable) == (0, False)
    assert len(harness.sent) == 1, "no frame is sent to a peer that does not speak WebSocket"


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi", b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nab"])
def test_the_line_ends_within_the_opening(data: bytes) -> None:
    for harness in fates(data, make_exchange, eof=True):
        (x,) = harness.done
        assert type(x.error) is PeerClosed and x.payload.sent is False


def test_cookies_of_the_opening_are_shown_once() -> None:
    harness = opened()
    x = make_exchange()
    harness.receive(text("a"))
    harness.submit(x)
    harness.receive(text("b"))
    assert [done.head.special for done in harness.done] == [False, False]  # type: ignore[union-attr]
    harness = Harness(make_wire())
    harness.open()
    for number in range(3):
        harness.submit(make_exchange())
        harness.receive((answer("Set-Cookie: a=b") if not number else b"") + text("x"))
    assert [done.head.special for done in harness.done] == [True, False, False]  # type: ignore[union-attr]
    assert all(done.head.headers["set-cookie"] == "a=b" for done in harness.done)  # type: ignore[union-attr]


# Replies


@pytest.mark.parametrize(
    ("data", "opcode", "expected"),
    [
        (text("héllo"), TEXT, "héllo"),
        (text(""), TEXT, ""),
        (binary(b"\xff\0"), BINARY, b"\xff\0"),
        (text("x" * 125), TEXT, "x" * 125),
        (text("x" * 126), TEXT, "x" * 126),
        (text("x" * 70_000), TEXT, "x" * 70_000),
        (frame(TEXT, b"h\xc3", fin=False) + frame(CONT, b"\xa9", fin=False) + frame(CONT), TEXT, "hé"),
        (frame(BINARY, fin=False) + frame(PING, b"p") + frame(CONT, b"x"), BINARY, b"x"),
        (frame(PONG, b"unasked") + text("x"), TEXT, "x"),
    ],
)
def test_one_reply(data: bytes, opcode: int, expected: str | bytes) -> None:
    x, harness = only(answer() + data)
    body = expected.encode() if isinstance(expected, str) else expected
    assert outcome(x) == (opcode, expected, body, None)
    assert (harness.wire.room, harness.wire.reusable) == (1, True)


def test_several_replies() -> None:
    x, harness = only(answer() + text("a") + binary(b"b") + text("c"), lambda: make_exchange(replies=3))
    assert outcome(x) == (TEXT, ["a", b"b", "c"], b"abc", None)
    assert harness.wire.room == 1


def test_a_reply_to_nothing_but_listening() -> None:
    x, harness = only(answer() + text("news"), lambda: make_exchange(None))
    assert x.data == "news" and ours(harness) == []


def test_no_reply_is_done_when_it_is_sent() -> None:
    wire = make_wire()
    wire.opened()
    x = make_exchange(replies=0)
    wire.submit(x)
    wire.outbox.clear()
    assert not wire.hungry
    assert wire.receive(answer()) == () and wire.hungry and wire.outbox
    wire.outbox.clear()
    assert wire.produce() == (x,)
    assert outcome(x) == (None, None, b"", None) and x.head is not None and x.head.status == 101
    assert (wire.room, wire.hungry) == (1, False)


def test_what_nobody_asked_for_is_dropped() -> None:
    harness = opened(data=text("answer") + text("late") + frame(BINARY, b"la", fin=False))
    assert [x.data for x in harness.done] == ["answer"]
    harness.receive(frame(PING, b"p") + frame(CONT, b"te") + text("later"))
    x = make_exchange()
    harness.submit(x)
    harness.receive(text("good"))
    assert x.data == "good"


@pytest.mark.parametrize(
    "early", [text("old"), frame(TEXT, b"o", fin=False) + frame(CONT, b"ld"), frame(PING, b"p"), frame(PONG)]
)
def test_what_has_begun_before_is_no_reply(early: bytes) -> None:
    for at in range(1, len(early) + 1):
        harness = opened(data=text("first") + early[:at])
        x = make_exchange()
        harness.submit(x)
        harness.receive(early[at:] + text("new") + text("newer"))
        assert x.data == "new", at


def test_a_flood_of_what_nobody_asked_for_ends_the_line() -> None:
    harness = opened(data=text("answer"))
    push = binary(bytes(1 << 20))
    for _ in range(MAX_UNASKED // len(push)):
        harness.receive(push)
    assert harness.wire.room == 1 and not harness.ended
    harness.receive(push)
    assert harness.ended and ours(harness)[-1][0] == CLOSE


def test_the_flood_is_counted_anew_for_each_exchange() -> None:
    harness = opened(data=text("answer"))
    push = binary(bytes(MAX_UNASKED // 2 + 100))
    for _ in range(4):
        harness.receive(push)
        harness.submit(make_exchange())
        harness.receive(text("good"))
    assert [x.data for x in harness.done] == ["answer", "good", "good", "good", "good"]


# PING and PONG


def test_pings_are_answered_at_any_time() -> None:
    harness = opened(data=frame(PING, b"1"))
    harness.receive(frame(TEXT, b"a", fin=False) + frame(PING, b"2") + frame(CONT, b"b"))
    harness.receive(frame(PING, b"3") + frame(PONG, b"no"))
    assert ours(harness) == [(TEXT, 1, b"hello"), (PONG, 1, b"1"), (PONG, 1, b"2"), (PONG, 1, b"3")]
    assert [x.data for x in harness.done] == ["ab"]


def test_a_flood_of_pings_is_answered_by_the_latest() -> None:
    wire = make_wire()
    wire.opened()
    wire.submit(make_exchange())
    wire.receive(answer())
    for number in range(10_000):
        wire.receive(frame(PING, b"%d" % number))
    assert len(wire.outbox) <= MAX_WAITING + 2
    assert said(wire.outbox[-1]) == [(PONG, 1, b"9999")]


def test_our_pings_are_answered_by_their_pongs() -> None:
    data = answer() + text("news") + frame(PONG, b"x") + frame(PONG, b"a") + frame(PONG, b"b")
    x, harness = only(data, lambda: make_exchange([(PING, b"a"), (PING, b"b")], 2))
    assert outcome(x) == (PONG, [b"a", b"b"], b"ab", None)
    assert ours(harness) == [(PING, 1, b"a"), (PING, 1, b"b")]


def test_pongs_are_no_replies_to_messages() -> None:
    x, _ = only(answer() + frame(PONG, b"a") + text("b"), lambda: make_exchange([(PING, b"a"), "m"]))
    assert x.data == "b"


# CLOSE


@pytest.mark.parametrize(
    ("payload", "code", "reason", "says", "echo"),
    [
        (b"", 1005, "", "without a code", b""),
        (b"\x03\xe8", 1000, "", "1000 normal", b"\x03\xe8"),
        (b"\x03\xf0not you", 1008, "not you", "1008 policy violation (not you)", b"\x03\xf0"),
        (b"\x0f\xa1bye", 4001, "bye", "4001 (bye)", b"\x0f\xa1"),
    ],
)
def test_a_close_before_the_reply(payload: bytes, code: int, reason: str, says: str, echo: bytes) -> None:
    x, harness = only(answer() + frame(CLOSE, payload) + text("behind"))
    assert type(x.error) is WebSocketClosed and x.error.code == 700
    assert (x.error.close_code, x.error.close_reason, x.error.opcode) == (code, reason, -1)
    assert str(x.error) == f"the server closed the WebSocket before the reply: {says}"
    assert x.head is None
    assert ours(harness)[-1] == (CLOSE, 1, echo)
    assert (harness.wire.room, harness.wire.reusable) == (0, False)


def test_replies_before_a_close_are_kept() -> None:
    x, _ = only(answer() + text("a") + frame(CLOSE), lambda: make_exchange(replies=2))
    assert isinstance(x.error, WebSocketClosed) and (x.data, x.body) == (["a"], b"")


def test_a_close_of_an_idle_line() -> None:
    harness = opened(data=text("a") + frame(CLOSE, b"\x03\xe9"))
    assert [x.data for x in harness.done] == ["a"] and harness.ended and harness.wire.error is None
    assert ours(harness)[-1] == (CLOSE, 1, b"\x03\xe9")
    harness.wire.goodbye()
    assert harness.wire.outbox == [], "CLOSE is said once"


def test_the_line_ends_without_a_close() -> None:
    for data in (b"", frame(TEXT, b"half", fin=False), b"\x81"):
        for harness in fates(answer() + data, make_exchange, eof=True):
            (x,) = harness.done
            assert isinstance(x.error, WebSocketClosed) and x.error.close_code == 1006
    harness = opened(data=text("a"))
    assert harness.receive_eof() == () and harness.ended


def test_goodbye() -> None:
    wire = opened(data=text("a")).wire
    assert wire.lingers, "the server closes first"
    wire.goodbye()
    assert said(b"".join(wire.outbox)) == [(CLOSE, 1, b"\x03\xe8")]
    assert (wire.room, wire.reusable) == (0, False)
    assert wire.receive(text("late")) == () and wire.receive(frame(3)) == ()
    fresh = make_wire()
    fresh.opened()
    fresh.goodbye()
    assert fresh.outbox == [], "nothing is said before the line is a WebSocket"


VIOLATIONS = {
    "masked": (frame(TEXT, b"abcdx", masked=True), 1002, ProtocolError),
    "reserved bit": (frame(TEXT, b"x", rsv=4), 1002, ProtocolError),
    "reserved opcode": (frame(3), 1002, ProtocolError),
    "long ping": (frame(PING, b"x" * 126), 1002, ProtocolError),
    "text is not UTF-8": (frame(TEXT, b"a\xff"), 1007, ProtocolError),
    "text ends within a character": (frame(TEXT, b"a", fin=False) + frame(CONT, b"\xc3"), 1007, ProtocolError),
    "text is wrong early": (frame(TEXT, b"\xed\xa0\x80", fin=False), 1007, ProtocolError),
    "half a close code": (frame(CLOSE, b"\x03"), 1002, ProtocolError),
    "close code 1005": (frame(CLOSE, b"\x03\xed"), 1002, ProtocolError),
    "close reason is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007, ProtocolError),
    "too large": (frame(TEXT, b"x" * 1001), 1009, TooLarge),
    "too large, seen by its head": (frame(TEXT, bytes(1 << 20))[:10], 1009, TooLarge),
    "too large in fragments": (frame(TEXT, b"x" * 999, fin=False) + frame(CONT, b"xx"), 1009, TooLarge),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations(name: str) -> None:
    data, code, kind = VIOLATIONS[name]
    x, harness = only(answer() + data + text("behind"), lambda: make_exchange(max_content=1000))
    assert type(x.error) is kind and x.head is None
    (opcode, _, payload) = ours(harness)[-1]
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
    assert payload[2:].decode() == str(x.error)
    assert (harness.wire.room, harness.wire.reusable) == (0, False)


def test_an_answer_before_a_violation_stands() -> None:
    for harness in fates(answer() + text("good") + frame(3), make_exchange):
        assert [x.data for x in harness.done] == ["good"] and harness.ended


def test_the_limit_holds_for_all_replies_together() -> None:
    def exchange() -> Exchange:
        return make_exchange(replies=3, max_content=10)

    x, _ = only(answer() + text("xxxxx") + text("xxxx") + text("x"), exchange)
    assert x.error is None and len(x.body) == 10
    x, _ = only(answer() + text("xxxxx") + text("xxxx") + text("xx"), exchange)
    assert isinstance(x.error, TooLarge) and x.data == ["xxxxx", "xxxx"]


# Compression

AGREED = "Sec-WebSocket-Extensions: permessage-deflate"


def test_compressed_replies() -> None:
    hello = frame(TEXT, DEFLATED, rsv=4)
    fragmented = frame(TEXT, DEFLATED[:3], fin=False, rsv=4) + frame(PING) + frame(CONT, DEFLATED[3:])
    x, _ = only(answer(AGREED) + hello, make_exchange)
    assert outcome(x) == (TEXT, "Hello", b"Hello", None)
    x, _ = only(answer(AGREED) + fragmented, make_exchange)
    assert x.data == "Hello"
    x, _ = only(answer(AGREED) + text("plain"), make_exchange)
    assert x.data == "plain"


def test_what_is_dropped_still_fills_the_window() -> None:
    harness = Harness(make_wire())
    harness.open()
    harness.submit(make_exchange())
    harness.receive(answer(AGREED) + text("first") + frame(TEXT, DEFLATED, rsv=4))
    x = make_exchange()
    harness.submit(x)
    harness.receive(frame(TEXT, bytes.fromhex("f2 00 11 00 00"), rsv=4))
    assert x.data == "Hello"


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (frame(TEXT, b"\xff\xff\xff", rsv=4), ProtocolError, 1002),
        (frame(TEXT, bytes.fromhex("fa ff 03 00"), rsv=4), ProtocolError, 1007),
        (frame(TEXT, DEFLATED, rsv=4), TooLarge, 1009),
    ],
)
def test_bad_compression(data: bytes, kind: type[AquestsError], code: int) -> None:
    x, harness = only(answer(AGREED) + data, lambda: make_exchange(max_content=4))
    assert type(x.error) is kind, x.error
    assert int.from_bytes(ours(harness)[-1][2][:2], "big") == code


def test_a_pushed_bomb_ends_the_line() -> None:
    harness = Harness(make_wire())
    harness.open()
    harness.submit(make_exchange())
    harness.receive(answer(AGREED) + text("first"))
    harness.receive(frame(BINARY, bomb(MAX_UNASKED + 1), rsv=4))
    assert harness.ended and [x.data for x in harness.done] == ["first"]


# The short way of plain messages, and the long one

AGREED_FOR_BOTH = {"plain": answer(), "compressed": answer(AGREED)}


def second(agreed: bytes, message: Any, pieces: list[bytes]) -> tuple[Any, ...]:
    """What becomes of an exchange on a line that has had one, and of the line; at the end, why it failed."""
    harness = Harness(make_wire())
    harness.open()
    harness.submit(make_exchange())
    harness.receive(agreed + text("first"))
    x = make_exchange(message, max_content=1000)
    harness.submit(x)
    sent = len(harness.sent)
    for piece in pieces:
        if not harness.ended:
            harness.receive(piece)
    wire = harness.wire
    state = (x in harness.done, wire.inflight == (x,), wire.room, wire.reusable, wire.hungry)
    *found, error = outcome(x)
    return *found, error is None, *state, (error, said(b"".join(harness.sent[sent:])))


def both_ways(agreed: bytes, data: bytes, faults: int = 1) -> tuple[Any, ...]:
    """The same in any cutting, whether the request went the short way or the long one.

    Where several faults may come, what is cut off may be without the one that is found first.
    """
    outcomes = [
        second(agreed, message, pieces)
        for message in ("x" * 40, ["x" * 40], "x" * 200)
        for pieces in feedings(data, len(data))
    ]
    for other in outcomes[1:]:
        assert other[:-1] == outcomes[0][:-1]
        assert other == outcomes[0] or faults > 1
    return outcomes[0]


BEHIND = {
    "text": text("wörld"),
    "binary": binary(b"\xff\0"),
    "empty text": text(""),
    "empty binary": binary(b""),
    "as long as plain ones may be": text("x" * 125),
    "longer": text("x" * 126),
    "at the limit": binary(bytes(1000)),
    "over the limit": binary(bytes(1001)),
    "a length not in its shortest form": b"\x81\x7e\x00\x05hello",
    "64 bits for a short length": b"\x81\x7f" + bytes(6) + b"\x03\xe8" + bytes(1000),
    "one byte": b"\x81",
    "half": text("hello")[:4],
    "two": text("a") + text("b"),
    "a ping ahead": frame(PING, b"p") + text("a"),
    "a pong ahead": frame(PONG, b"p") + text("a"),
    "a ping alone": frame(PING, b"p"),
    "fragments": frame(TEXT, b"a", fin=False) + frame(CONT, b"b"),
    "an empty ping": frame(PING),
    "a continuation": frame(CONT, b"a"),
    "compressed text": frame(TEXT, DEFLATED, rsv=4),
    "compressed bytes": frame(BINARY, DEFLATED, rsv=4),
    "compressed nothing": frame(TEXT, b"\0", rsv=4),
    "compressed, in a final block": frame(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\0\0", rsv=4),
    "compressed, and no UTF-8": frame(TEXT, bytes.fromhex("fa ff 03 00"), rsv=4),
    "compressed to the limit": frame(BINARY, bomb(1000), rsv=4),
    "compressed, over the limit": frame(BINARY, bomb(1001), rsv=4),
    "compressed, and stored in blocks": frame(TEXT, b"\0\xc8\0\x37\xff" + b"x" * 200 + b"\0", rsv=4),
    "not even compressed": frame(TEXT, b"\xff\xff\xff", rsv=4),
    "masked like a long one": b"\x81\xfe\x00\x80" + bytes(128),
} | {name: data for name, (data, _, _) in VIOLATIONS.items()}


@pytest.mark.parametrize("agreed", AGREED_FOR_BOTH)
@pytest.mark.parametrize("name", BEHIND)
def test_both_ways_lead_to_the_same(name: str, agreed: str) -> None:
    _, data, _, good, done, *_ = both_ways(AGREED_FOR_BOTH[agreed], BEHIND[name])
    waits = name in ("one byte", "half", "a ping alone", "an empty ping")
    assert done is not waits and (data is not None) is (good and not waits)


opcodes = st.sampled_from([TEXT, TEXT, TEXT, BINARY, CONT, PING, PONG, CLOSE, 3, 11])
some_frames = st.builds(
    frame,
    opcodes,
    st.one_of(st.binary(max_size=3), st.text(max_size=60).map(str.encode), st.integers(120, 130).map(bytes)),
    fin=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 4, 2]),
    masked=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=150)
@given(st.sampled_from(list(AGREED_FOR_BOTH.values())), st.lists(some_frames, min_size=1, max_size=3), st.data())
def test_both_ways_lead_to_the_same_whatever_comes(agreed: bytes, found: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(found)
    both_ways(agreed, whole[: data.draw(st.integers(1, len(whole)))], faults=3)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_plain_messages_of_every_size(opcode: int) -> None:
    """They are read by another client, and no key is used twice."""
    wire = WebSocket(make_wire()._opening, random.Random(opcode).randbytes)
    wire.opened()
    wire.submit(make_exchange())
    wire.receive(answer(key=wire._key) + text("first"))
    keys = set()
    for size in [*range(130), *range(130)]:
        wire.outbox.clear()
        x = make_exchange((opcode, b"x" * size))
        wire.submit(x)
        (sent,) = wire.outbox
        assert said(sent) == [(opcode, 1, b"x" * size)] and x.payload.sent and wire.room == 0
        keys.add(sent[2:6] if size < 126 else sent[4:8])
        assert wire.receive(text("yes")) == (x,) and wire.room == 1
    assert len(keys) == 260


def test_only_messages_that_are_worth_it_are_compressed() -> None:
    harness = Harness(make_wire())
    harness.open()
    harness.submit(make_exchange())
    harness.receive(answer(AGREED) + text("first"))
    for size in (0, 1, 62, 63, 64, 65, 125, 126, 1000):
        harness.submit(make_exchange("x" * size))
        assert bool(harness.sent[-1][0] & 0x40) == (size >= 64), size
        harness.receive(text("good"))
    assert len(harness.done) == 10


@pytest.mark.parametrize("message", ["plain", ["long way"]])
def test_nothing_comes_by_the_short_way_at_the_wrong_time(message: Any) -> None:
    harness = opened(data=text("first"))
    harness.receive(text("pushed"))
    harness.receive(frame(BINARY, b"half", fin=False))
    for number in range(3):
        harness.submit(make_exchange(message))
        if not number:
            harness.receive(frame(CONT, b"of it"))
        assert harness.wire.room == 0
        harness.receive(text(f"{number}"))
        harness.receive(text("pushed"))
    assert [x.data for x in harness.done] == ["first", "0", "1", "2"]
    harness.submit(make_exchange(message))
    harness.wire.goodbye()
    assert harness.wire.receive(text("behind our CLOSE")) == () and harness.wire.room == 0


def test_an_attempt_that_was_refused_goes_on_over_a_line_that_is_open() -> None:
    refused = Harness(make_wire())
    refused.open()
    first = make_exchange()
    refused.submit(first)
    refused.receive(REFUSALS["length"][0])
    again = first.again()
    assert again.codec is not None
    harness = opened(data=text("first"))
    harness.submit(again)
    harness.receive(text("welcome"))
    assert again.data == "welcome" and again.codec is None


@pytest.mark.parametrize("pings", [[b"a"], [b"b", b"a"]])
def test_on_an_open_line_only_pongs_answer_pings(pings: list[bytes]) -> None:
    harness = opened(data=text("first"))
    x = make_exchange([(PING, data) for data in pings])
    harness.submit(x)
    harness.receive(text("pushed"))
    harness.receive(frame(PONG, b"other"))
    assert x not in harness.done
    harness.receive(frame(PONG, b"a"))
    assert outcome(x) == (PONG, b"a", b"a", None)


def test_on_an_open_line_several_replies_come_one_by_one() -> None:
    harness = opened(data=text("first"))
    x = make_exchange(replies=3)
    harness.submit(x)
    for reply in (text("a"), binary(b"b"), text("c")):
        assert x not in harness.done
        harness.receive(reply)
    assert outcome(x) == (TEXT, ["a", b"b", "c"], b"abc", None)


# Long requests


def test_long_messages_go_out_in_fragments() -> None:
    wire = make_wire(compression=False)
    wire.opened()
    data = random.Random(3).randbytes(3 * FRAGMENT + 5)
    wire.submit(make_exchange([(BINARY, data), "end"]))
    wire.outbox.clear()
    wire.receive(answer())
    sent = []
    while wire.hungry:
        assert sum(map(len, wire.outbox)) <= FRAGMENT + 50
        sent += wire.outbox
        wire.outbox.clear()
        assert wire.receive(frame(PING, b"now")) == ()  # between fragments
        assert wire.produce() == ()
    sent += wire.outbox
    found = [one for one in said(b"".join(sent)) if one[0] != PONG]
    assert [(opcode, fin) for opcode, fin, _ in found] == [(BINARY, 0), (CONT, 0), (CONT, 0), (CONT, 1), (TEXT, 1)]
    assert b"".join(payload for _, _, payload in found) == data + b"end"
    assert wire.receive(text("done"))[0].data == "done"


@pytest.mark.parametrize("open_already", [False, True])
@pytest.mark.parametrize("behind", [b"", text("dropped")])
def test_a_reply_that_comes_while_we_send_waits_for_the_end(open_already: bool, behind: bytes) -> None:
    wire = make_wire(compression=False)
    wire.opened()
    if open_already:
        wire.submit(make_exchange())
        wire.receive(answer() + text("first"))
    x = make_exchange("y" * (2 * FRAGMENT))
    wire.submit(x)
    replies = text("early") + behind
    assert wire.receive(replies if open_already else answer() + replies) == () and wire.inflight == (x,)
    finished: list[Exchange] = []
    while wire.hungry:
        wire.outbox.clear()
        finished += wire.produce()
    assert finished == [x] and x.data == "early" and wire.room == 1


def test_a_close_while_we_send_stops_the_upload() -> None:
    wire = make_wire(compression=False)
    wire.opened()
    x = make_exchange("y" * (9 * FRAGMENT))
    wire.submit(x)
    wire.receive(answer())
    assert wire.hungry
    assert wire.receive(frame(CLOSE, b"\x03\xf1")) == (x,)
    assert not wire.hungry and wire.produce() == () and isinstance(x.error, WebSocketClosed)


def test_many_small_messages_are_sent_in_bulk() -> None:
    harness = opened(make_exchange([f"{number}" for number in range(20_000)]), data=text("x"))
    found = ours(harness)
    assert [payload for _, _, payload in found] == [b"%d" % number for number in range(20_000)]
    assert len(harness.done) == 1


# The end of the line


def test_abandon_and_cancel() -> None:
    harness = opened()
    (x,) = harness.wire.inflight
    assert harness.wire.cancel(x) is False
    harness.abandon(Cancelled("enough"))
    assert type(x.error) is Cancelled


def test_progress_is_only_of_replies() -> None:
    harness = opened()
    wire, (x,) = harness.wire, harness.wire.inflight
    before = x.progress
    wire.receive(frame(PING, b"x") + frame(PONG))
    assert x.progress == before and wire.begun == []
    wire.receive(frame(TEXT, b"xyz", fin=False))
    assert x.progress > before and wire.begun == [x]
    wire.begun.clear()
    before = x.progress
    wire.receive(frame(CONT, b"x" * 100)[:50])
    assert x.progress > before and wire.begun == []


# The laws of the seam

CASES = [
    Case("two messages", Turn(["a"], answer() + text("A")), Turn(["b"], binary(b"B"))),
    Case("fragments", Turn(["a"], answer() + frame(TEXT, b"A", fin=False) + frame(PING, b"p") + frame(CONT, b"B"))),
    Case("several replies", Turn([("a", 3)], answer() + text("1") + text("2") + text("3")), Turn(["b"], text("4"))),
    Case("no reply", Turn([("a", 0)], answer()), Turn(["b"], text("4"))),
    Case("long", Turn(["x" * 200_000], answer() + text("y" * 1000)), Turn(["b"], text("4"))),
    Case("refused", Turn(["a"], REFUSALS["length"][0]), Turn(["b"], answer() + text("B"))),
    Case("refused to the end", Turn(["a"], b"HTTP/1.1 400 Bad\r\n\r\nbody"), eof=True),
    Case("closed", Turn(["a"], answer() + frame(CLOSE, b"\x03\xe8bye"))),
    Case("cut", Turn(["a"], answer() + b"\x81\x7e\x01"), eof=True),
    Case("compressed", Turn(["a" * 100], answer(AGREED) + frame(TEXT, DEFLATED, rsv=4)), Turn(["b" * 100], text("B"))),
    Case("wrong key", Turn(["a"], answer(key="x"))),
    Case("unasked", Turn(["a"], answer() + text("A") + text("B") + frame(PING) + frame(TEXT, b"C", fin=False))),
]


def law_exchange(ask: Any) -> Exchange:
    message, replies = ask if isinstance(ask, tuple) else (ask, 1)
    return make_exchange(message, replies, max_content=5000)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_laws(case: Case) -> None:
    check_wire(make_wire, law_exchange, [case])


# Another implementation as the server


class Server:
    """The server's end, by the ``websockets`` package, which reads and writes bytes only."""

    def __init__(self, deflate: ServerPerMessageDeflateFactory | None):
        self.protocol = ServerProtocol(extensions=[deflate] if deflate else None, max_size=None)
        self.fragments: list[Frame] = []
        self.messages: list[str | bytes] = []

    def take(self, data: bytes) -> bytes:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, TheirRequest):
                self.protocol.send_response(self.protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self.fragments.append(event)
                if event.fin:
                    whole = b"".join(bytes(one.data) for one in self.fragments)
                    self.messages.append(whole.decode() if self.fragments[0].opcode == Opcode.TEXT else whole)
                    self.fragments = []
        return self.sent()

    def say(self, message: str | bytes, cuts: list[bytes]) -> bytes:
        """The message in fragments, with PINGs between."""
        first = self.protocol.send_text if isinstance(message, str) else self.protocol.send_binary
        for number, piece in enumerate(cuts):
            send: Any = self.protocol.send_continuation if number else first
            send(piece, fin=number == len(cuts) - 1)
            if len(cuts) > 1:
                self.protocol.send_ping(b"still there?")
        return self.sent()

    def sent(self) -> bytes:
        return b"".join(self.protocol.data_to_send())


messages = st.one_of(
    st.text(max_size=300), st.binary(max_size=300), st.integers(60_000, 200_000).map(lambda n: "ab€" * (n // 3))
)


@settings(max_examples=60)
@given(
    exchanges=st.lists(st.tuples(messages, messages), min_size=1, max_size=5),
    compress=st.sampled_from(["off", "on", "no takeover", "small windows"]),
    seed=st.integers(0, 1 << 30),
)
def test_conversations(exchanges: list[tuple[Any, Any]], compress: str, seed: int) -> None:
    """Whatever is sent arrives, whatever is answered belongs to its exchange, in any cutting of both directions."""
    chance = random.Random(seed)
    factories = {
        "off": None,
        "on": ServerPerMessageDeflateFactory(),
        "no takeover": ServerPerMessageDeflateFactory(True, True),
        "small windows": ServerPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9),
    }
    server = Server(factories[compress])
    wire = WebSocket(make_wire()._opening, chance.randbytes)
    wire.opened()
    done: list[Exchange] = []
    whole = False

    def pump(data: bytes) -> None:
        """Deliver ``data`` to the client, and what either side says because of it."""
        while True:
            for piece in [data] if whole else random_cuts(data, chance):
                done.extend(wire.receive(piece))
            data = b"".join(server.take(piece) for out in drained(wire) for piece in random_cuts(out, chance))
            if not data:
                return

    def drained(wire: WebSocket) -> list[bytes]:
        out = list(wire.outbox)
        wire.outbox.clear()
        while wire.hungry:
            done.extend(wire.produce())
            out += wire.outbox
            wire.outbox.clear()
        return out

    for number, (ask, reply) in enumerate(exchanges):
        item = (TEXT, ask.encode()) if isinstance(ask, str) else (BINARY, ask)
        x = make_exchange(item)
        wire.submit(x)
        whole = bool(number) and chance.random() < 0.5
        pump(b"")
        assert server.messages[number] == ask
        body = reply.encode() if isinstance(reply, str) else reply
        pump(server.say(reply, random_cuts(body, chance) if body and chance.random() < 0.5 else [body]))
        assert done[number:] == [x] and x.error is None
        assert (x.data, x.body) == (reply, body)
    wire.goodbye()
    server.take(b"".join(wire.outbox))
    assert server.protocol.close_rcvd is not None and server.protocol.close_rcvd.code == 1000
    assert server.protocol.parser_exc is None


@given(st.lists(st.binary(max_size=50), max_size=8), st.booleans())
def test_any_bytes_are_answers_or_errors(pieces: list[bytes], compressed: bool) -> None:
    harness = Harness(make_wire())
    harness.open()
    harness.submit(make_exchange(replies=2))
    harness.receive(answer(*([AGREED] if compressed else [])))
    harness.feed(piece for piece in pieces if piece)
    for x in harness.done:
        assert x.error is None or isinstance(x.error, AquestsError)


def test_the_factory_of_lines() -> None:
    place = SimpleNamespace(scheme="ws", host_header="example.com", options={})
    make = websocket.lines(place, "", (), None)
    one, other = make(None), make("http/1.1")
    for wire in (one, other):
        wire.opened()
        wire.submit(make_exchange())
    assert one.outbox != other.outbox, "each opening has a key of its own"
