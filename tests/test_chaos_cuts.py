"""Fast paths look at what came as a whole; so each answer is fed in two pieces, cut at every place there is.

The result must be that of one piece: the same exchange, the same error, the same readiness for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aquests.exchange import Exchange
from aquests.protocols import h2frames as h2
from aquests.protocols.http1 import Http1, Origin
from tests.loopback import exchange
from tests.protocols import rediswire
from tests.protocols.h2peer import Bare, data
from tests.resp import Error, Push, resp

Fate = tuple[Any, ...]


def fate(wire: Any, x: Exchange, finished: Sequence[Exchange]) -> Fate:
    """What became of an exchange and of its line."""
    head: Any = x.head
    error = None if x.error is None else (type(x.error).__name__, str(x.error))
    status = None if head is None else head.status
    return (len(finished), status, x.body, repr(x.data), x.trailers, error, wire.room, wire.reusable, bool(wire.error))


# HTTP/1.1

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "a length": OK + b"Content-Length: 5\r\n\r\nhello",
    "no body": OK + b"Content-Length: 0\r\n\r\n",
    "empty lines in the body": OK + b"Content-Length: 9\r\n\r\n\r\n\r\n\n\n\r\n\n",
    "lone LFs": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "lone LFs, and CRLFs in the body": b"HTTP/1.1 200 OK\nContent-Length: 9\n\nhe\r\n\r\nllo",
    "one lone LF at the end of the head": OK + b"Content-Length: 9\n\r\nhe\r\n\r\nllo",
    "a fold behind lone LFs": b"HTTP/1.1 200 OK\nContent-Length: 9\n\n he: \r\n\r\n",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nA: b\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "1xx": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    "1xx with a length": b"HTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    "closing": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "one byte too much": OK + b"Content-Length: 10\r\n\r\n0123456789",
    "chunks, too much": OK + b"Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a NUL": OK + b"A: \0\r\nContent-Length: 5\r\n\r\nhello",
}
LIMIT = 9
"""``max_content``: what most answers stay within, and some fill."""


def http1(pieces: Sequence[bytes], method: str, warm: bytes) -> tuple[Fate, Fate]:
    """The fate of a request, and of a plain one behind it on the same line if that is still good."""
    origin = Origin("http", (("Host", "peer"),))
    if warm:  # the head is known
        first = Http1(origin)
        first.opened()
        first.submit(exchange(method=method, max_content=LIMIT + 10))
        first.receive(warm)
    wire = Http1(origin)
    wire.opened()
    x = exchange(method=method, max_content=LIMIT)
    wire.submit(x)
    wire.outbox.clear()
    finished: list[Exchange] = []
    for piece in pieces:
        if wire.reusable or wire.inflight:
            finished += wire.receive(piece)
    told = fate(wire, x, finished)
    if not wire.room:
        return told, ()
    y = exchange(max_content=LIMIT)
    wire.submit(y)
    return told, fate(wire, y, wire.receive(ANSWERS["a length"]))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", ANSWERS)
def test_http1(name: str, method: str, known: bool) -> None:
    answer = ANSWERS[name]
    if method == "HEAD" and not name.startswith(("1xx", "204", "304", "two", "a NUL")):
        ends = [
            at + size
            for mark, size in ((b"\r\n\r\n", 4), (b"\n\n", 2), (b"\n\r\n", 3))
            if (at := answer.find(mark)) > 0
        ]
        answer = answer[: min(ends)]
    elif method == "HEAD" and name.startswith("1xx"):
        answer = answer.removesuffix(b"ok")
    warm = answer if known else b""
    whole = http1([answer], method, warm)
    assert whole[0][0] == 1 and (whole[0][5] is not None) == (
        name in FAILING and (method == "GET" or "too" not in name)
    )
    for at in range(1, len(answer)):
        assert http1([answer[:at], answer[at:]], method, warm) == whole, at


FAILING = ("one byte too much", "chunks, too much", "two lengths", "a NUL")


@pytest.mark.parametrize("length", [0, 1, 9])
def test_http1_a_limit_that_is_just_met(length: int) -> None:
    answer = OK + b"Content-Length: %d\r\n\r\n" % length + b"x" * length
    for limit, good in ((length, True), (length - 1, False)):
        if limit < 0:
            continue
        for at in range(len(answer)):
            wire = Http1(Origin("http", (("Host", "peer"),)))
            wire.opened()
            x = exchange(max_content=limit)
            wire.submit(x)
            pieces = [piece for piece in (answer[:at], answer[at:]) if piece]
            finished = [y for piece in pieces if wire.inflight for y in wire.receive(piece)]
            assert finished == [x] and (x.error is None) is good, at


# Redis

REPLIES: dict[str, Callable[[], bytes]] = {
    "a string": lambda: resp(b"hello"),
    "a long string": lambda: resp(b"x" * 200),
    "one that is too long": lambda: resp(b"x" * 201),
    "nothing": lambda: resp(None),
    "a number": lambda: resp(12),
    "a list": lambda: resp([b"a", 1, [None, b"\r\n"]]),
    "an error": lambda: resp(Error("ERR no")),
    "a push before": lambda: resp(Push(("invalidate", "all"))) + resp(b"hello"),
    "garbage": lambda: b"!?\r\n",
}


@pytest.mark.parametrize("several", [1, 2, 3])
@pytest.mark.parametrize("name", REPLIES)
def test_redis(name: str, several: int) -> None:
    answers = REPLIES[name]() * several

    def run(pieces: Sequence[bytes]) -> list[Fate]:
        wire = rediswire.wire()
        asked = rediswire.submit(wire, *[f"GET {number}" for number in range(several)])
        for x in asked:
            x.max_content = 200
        finished: list[Exchange] = []
        for piece in pieces:
            if wire.error is None:
                finished += wire.receive(piece)
        return [fate(wire, x, finished) for x in asked]

    whole = run([answers])
    for at in range(1, len(answers)):
        assert run([answers[:at], answers[at:]]) == whole, at


# HTTP/2


def frames(talk: Bare) -> dict[str, list[bytes]]:
    length = ("content-length", "5")
    cut_up = talk.head(1, length)
    return {
        "head and body": [talk.head(1, length), data(1, b"hello", True)],
        "two pieces": [talk.head(1, length), data(1, b"he"), data(1, b"llo", True)],
        "three, and an end": [talk.head(1), data(1, b"h"), data(1, b"el"), data(1, b"lo"), data(1, b"", True)],
        "padded": [talk.head(1, length), h2.frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\3hello\0\0\0")],
        "trailers": [talk.head(1), data(1, b"hello"), talk.head(1, ("a", "b"), status=None, last=True)],
        "too long": [talk.head(1, length), data(1, b"hello!", True)],
        "too short": [talk.head(1, length), data(1, b"hell", True)],
        "no head": [data(1, b"hello", True)],
        "204": [talk.head(1, length, status="204", last=True)],
        "interim": [talk.head(1, status="103"), talk.head(1, length), data(1, b"hello", True)],
        "continued": [
            h2.frame(h2.HEADERS, 0, 1, cut_up[h2.HEAD : h2.HEAD + 1]),
            h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, cut_up[h2.HEAD + 1 :]),
            data(1, b"hello", True),
        ],
        "a reset": [talk.head(1, length), h2.rst_stream(1, h2.CANCEL)],
        "a ping between": [talk.head(1, length), h2.frame(h2.PING, 0, 0, b"12345678"), data(1, b"hello", True)],
    }


@pytest.mark.parametrize("name", frames(Bare()))
def test_http2(name: str) -> None:
    def run(cut: int | None) -> Fate:
        talk = Bare()
        x, y = talk.ask(), talk.ask()
        answer = b"".join(frames(talk)[name])
        for piece in (answer,) if cut is None else (answer[:cut], answer[cut:]):
            if talk.wire.error is None:
                talk.say(piece)
        if talk.wire.error is None:
            talk.say(talk.head(3, ("content-length", "2")), data(3, b"ok", True))
        return (*fate(talk.wire, x, ()), *fate(talk.wire, y, ()), x in talk.wire.inflight, y in talk.wire.inflight)

    whole = run(None)
    size = len(b"".join(frames(Bare())[name]))
    for at in range(1, size):
        assert run(at) == whole, at
