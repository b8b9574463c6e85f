"""The free retry: what died on a reused line before the first byte of an answer is sent once more, if it may be."""

from __future__ import annotations

import errno
import io
import socket
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from aquests.endpoint import Endpoint
from aquests.errors import AquestsError, ConnectError, PeerClosed, ProtocolError, ReadError, TimedOut, WriteError
from aquests.exchange import Exchange, Request
from aquests.queue import Fifo
from aquests.retry import IDEMPOTENT, REFUSAL_PAUSE, REFUSALS, exhausted_descriptors, free_retry, rewound
from aquests.settings import Settings
from tests.peers import ScriptedPeer, cut, expect, reset, say, stall
from tests.rig import Rig, codes

ASKED = expect(b"\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AGAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain"


def once(sock: socket.socket, number: int) -> None:
    """A handler that answers one request and ends the line when the next one comes."""
    sock.settimeout(None)
    if sock.recv(65536):
        sock.sendall(OK)
        sock.recv(65536)


# -- on the line ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "PUT", "POST", "PATCH"])
@pytest.mark.parametrize("end", [cut(), reset()])
def test_a_reused_line_that_dies(method: str, end: Any) -> None:
    """The server closes just as it is asked again: nobody knows whether it has seen the request."""
    fresh = [ASKED, say(b"HTTP/1.1 200 OK\r\nX: again\r\nContent-Length: 0\r\n\r\n"), stall()]
    with ScriptedPeer([ASKED, say(OK), ASKED, end], fresh) as peer, Rig() as rig:
        assert rig.fetch(peer.url).ok
        answer = rig.fetch(peer.url, method, b"body" if method in ("PUT", "POST", "PATCH") else None)
        if method in IDEMPOTENT:
            assert answer.ok and answer.headers["x"] == "again"
            assert (peer.connections, rig.engine.stats.retries) == (2, 1)
        else:
            assert answer.status_code == 700 and isinstance(answer.error, PeerClosed | ReadError | WriteError)
            assert (peer.connections, rig.engine.stats.retries) == (1, 0)


def test_a_line_that_was_closed_while_it_idled() -> None:
    """Seen before it is used: that is no retry, and holds for every method."""
    with ScriptedPeer([ASKED, say(OK), cut()], [ASKED, say(AGAIN), stall()]) as peer, Rig() as rig:
        rig.fetch(peer.url)
        while rig.engine.lines:
            rig.engine.step(1.0)
        assert rig.fetch(peer.url, "POST", b"body").content == b"again"
        assert rig.engine.stats.retries == 0


def test_a_fresh_line_that_dies_is_no_stale_one() -> None:
    with ScriptedPeer([ASKED, cut()]) as peer, Rig() as rig:
        assert rig.fetch(peer.url).status_code == 700
        assert (peer.connections, rig.engine.stats.retries) == (1, 0)


def test_only_once() -> None:
    stale = [ASKED, say(OK), ASKED, cut()]
    with ScriptedPeer(stale, [ASKED, cut()]) as peer, Rig() as rig:
        rig.fetch(peer.url)
        answer = rig.fetch(peer.url)
        assert type(answer.error) is PeerClosed and answer.status_code == 700
        assert (peer.connections, rig.engine.stats.retries) == (2, 1)


def test_on_a_fresh_line_although_another_idles() -> None:
    """Two lines idle, and both are dead: the second try must not meet the other one."""
    with ScriptedPeer(once, once, [ASKED, say(AGAIN), stall()]) as peer, Rig(workers=2) as rig:
        rig.ask(peer.url)
        rig.ask(peer.url)
        rig.run()
        assert peer.connections == 2
        assert rig.fetch(peer.url).content == b"again"
        assert peer.connections == 3 and rig.engine.lines <= 2


@pytest.mark.parametrize(
    "begun",
    [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
)
def test_not_after_the_first_byte(begun: bytes) -> None:
    with ScriptedPeer([ASKED, say(OK), ASKED, say(begun), cut()]) as peer, Rig() as rig:
        rig.fetch(peer.url)
        assert type(rig.fetch(peer.url).error) is PeerClosed
        assert (peer.connections, rig.engine.stats.retries) == (1, 0)


def test_not_after_a_timeout() -> None:
    with ScriptedPeer([ASKED, say(OK), ASKED, stall()]) as peer, Rig(timeout=0.2) as rig:
        rig.fetch(peer.url)
        assert type(rig.fetch(peer.url).error) is TimedOut
        assert peer.connections == 1


@pytest.mark.parametrize("kind", ["bytes", "file", "seekable", "list"])
def test_a_body_is_sent_from_its_beginning(kind: str, tmp_path: Path) -> None:
    body = b"0123456789" * 10_000
    path = tmp_path / "body"
    path.write_bytes(body)

    def whole(pending: bytes) -> int:
        return len(pending) if pending.endswith((body[-10:], b"\r\n0\r\n\r\n")) and len(pending) > len(body) else 0

    scripts = [[ASKED, say(OK), expect(whole), cut()], [expect(whole), say(AGAIN), stall()]]
    with ScriptedPeer(*scripts) as peer, Rig() as rig, path.open("rb") as file:
        rig.fetch(peer.url)
        data = {"bytes": body, "file": file, "seekable": io.BytesIO(body), "list": [body[:7], body[7:]]}[kind]
        assert rig.fetch(peer.url, "PUT", data).content == b"again"
        sent = peer.received[1].partition(b"\r\n\r\n")[2]
        if kind == "list":
            assert sent == b"7\r\n%b\r\n%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
                body[:7], 65536, body[7 : 7 + 65536], len(body) - 7 - 65536, body[7 + 65536 :],
            )  # fmt: skip
        else:
            assert sent == body
        assert rig.engine.stats.retries == 1


def test_a_body_that_cannot_be_read_twice_is_not_sent_again() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"once"

    with ScriptedPeer([ASKED, say(OK), expect(b"0\r\n\r\n"), cut()]) as peer, Rig() as rig:
        rig.fetch(peer.url)
        answer = rig.fetch(peer.url, "PUT", pieces())
        assert isinstance(answer.error, PeerClosed) and peer.connections == 1


def test_a_server_that_closes_after_each_answer_without_saying_so() -> None:
    """The worst case for a pool: nothing is lost, and everything is answered once."""
    with ScriptedPeer([ASKED, say(OK), cut()]) as peer, Rig(workers=5) as rig:
        for _ in range(300):
            rig.ask(peer.url)
        assert codes(rig.run()) == [200] * 300


def test_retries_and_the_limit_of_workers() -> None:
    with ScriptedPeer(once) as peer, Rig(workers=3) as rig:
        lines = []
        rig.on_answer = lambda response: lines.append(rig.engine.lines)
        for _ in range(100):
            rig.ask(peer.url)
        assert codes(rig.run()) == [200] * 100
        assert max(lines) <= 3 and rig.engine.stats.retries > 0
        assert rig.engine.sent == 100 + rig.engine.stats.retries


@pytest.mark.parametrize(
    ("uses", "inflight", "room", "joins"), [(0, 0, 1, True), (1, 0, 1, False), (1, 1, 1, True), (1, 0, 10, True)]
)
def test_what_wants_a_fresh_line_joins_none_that_may_be_stale(uses: int, inflight: int, room: int, joins: bool) -> None:
    """A line that rests after an answer may have been closed meanwhile; one that is at work has not."""

    class Line:
        opened_at, blocked = inf, False

        def __init__(self, endpoint: Any):
            self.endpoint, self.uses, self.inflight, self.room = endpoint, uses, [None] * inflight, room
            self.submitted: list[Any] = []

        def submit(self, x: Any) -> None:
            self.submitted.append(x)
            self.inflight.append(x)

    with Rig() as rig:
        engine = rig.engine
        request = rig.ask("http://127.0.0.1:1/")
        x = engine.queue.take(request.endpoint).begin(0.0, engine.settings)
        line = Line(request.endpoint)
        engine._again.append(x)
        engine._join(line)  # type: ignore[arg-type]
        assert (line.submitted, list(engine._again)) == (([x], []) if joins else ([], [x]))
        engine._again.clear()
        engine.counted = rig.asked = 0


# -- the rule itself -----------------------------------------------------------------------------------------------


def exchange(
    method: str = "GET", error: AquestsError | None = None, payload: Any = None, scheme: str = "http"
) -> Exchange:
    place = Endpoint(scheme, "host", 80, None, {}, Fifo())
    x = Request(method, f"{scheme}://host/", payload, endpoint=place).begin(1.0, Settings())
    x.error = error or PeerClosed("closed")
    return x


@pytest.mark.parametrize("error", [PeerClosed("x"), ReadError("x"), WriteError("x")])
def test_a_broken_line_is_worth_a_retry(error: AquestsError) -> None:
    x = exchange(error=error)
    request = x.request
    again = free_retry(x, 2)
    assert again is not None and again is not x
    assert again.request is request and x.request is None, "the request moves on"
    assert again.error is None and again.trail is not None and again.trail.fresh
    assert again.started_at == x.started_at == 1.0
    again.error = error
    assert free_retry(again, 2) is None


@pytest.mark.parametrize("error", [TimedOut("x"), ProtocolError("x"), ConnectError("x"), AquestsError("x")])
def test_other_errors_are_not(error: AquestsError) -> None:
    assert free_retry(exchange(error=error), 2) is None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_the_peer_certainly_did_not_process(method: str) -> None:
    x = exchange(method, ProtocolError("refused stream"))
    x.untouched = True
    assert free_retry(x, 1) is not None


def test_it_is_sent_again_some_times_and_later_each_time() -> None:
    x: Exchange | None = exchange("POST", ProtocolError("refused stream"))
    delays: list[float] = []
    while x is not None and len(delays) < 100:
        x.untouched = True
        x.error = ProtocolError("refused stream")
        x = free_retry(x, 1)
        if x is not None:
            delays.append(x.delay)
            assert not x.untouched and x.trail is not None and not x.trail.fresh
    assert delays == [0.0, *[REFUSAL_PAUSE * 2**number for number in range(REFUSALS - 1)]]


def test_methods() -> None:
    for method in ("POST", "PATCH", "CONNECT", "PURGE", "get"):
        x = exchange(method)
        assert free_retry(x, 2) is None and x.request is not None


def test_only_http_says_that_its_methods_may_be_repeated() -> None:
    assert free_retry(exchange("DELETE"), 2) is not None
    assert free_retry(exchange("DELETE", scheme="mongodb"), 2) is None


def test_bodies() -> None:
    class Once:
        def rewind(self) -> None:
            from aquests.errors import RequestError

            raise RequestError("once")

    class Often:
        rewinds = 0

        def rewind(self) -> None:
            self.rewinds += 1

    often = Often()
    assert free_retry(exchange("PUT", payload=Once()), 2) is None
    assert free_retry(exchange("PUT", payload=often), 2) is not None and often.rewinds == 1
    assert rewound(None) and rewound(b"x")


def test_exhausted_descriptors_are_known_by_their_cause() -> None:
    def failed(code: int) -> ConnectError:
        error = ConnectError("x")
        error.__cause__ = OSError(code, "x")
        return error

    assert exhausted_descriptors(failed(errno.EMFILE)) and exhausted_descriptors(failed(errno.ENFILE))
    assert not exhausted_descriptors(failed(errno.ECONNREFUSED)) and not exhausted_descriptors(ConnectError("x"))
    error = ConnectError("x")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "x")
    assert not exhausted_descriptors(error)
