"""What goes wrong on a line: exactly one answer, the right kind of error, in bounded time, and the run goes on."""

from __future__ import annotations

import contextlib
import gzip
import random
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from aquests import errors
from aquests.errors import (
    AquestsError,
    ConnectError,
    PeerClosed,
    ProtocolError,
    ReadError,
    RequestError,
    ResolveError,
    TimedOut,
    TlsError,
    TooLarge,
)
from aquests.exchange import Response
from aquests.lib.resolver import Resolver
from tests.certs import Certs
from tests.helpers import until
from tests.peers import (
    Line,
    LineEnded,
    ScriptedPeer,
    cut,
    expect,
    hanging_port,
    http_peer,
    pour,
    refused_port,
    reset,
    say,
    say_slowly,
    stall,
    wait,
)
from tests.rig import Rig, codes

ASKED = expect(b"\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = 0.2
"""Seconds of a timeout that is meant to strike."""
LONGER = 0.5
"""Seconds of a timeout that is not, on a machine that lets a thread wait for a while."""


@pytest.fixture(scope="module")
def good() -> Iterator[str]:
    """The URL of a server without faults."""
    with http_peer(lambda request: (200, [], b"good")) as peer:
        yield peer.url


def fails(answer: Response, kind: type[AquestsError], code: int, words: str, phase: str = "") -> None:
    """``answer`` is a failure of just this kind, and says so in the words that are expected."""
    assert type(answer.error) is kind, repr(answer.error)
    assert (answer.status_code, answer.reason) == (code, errors.REASONS[code])
    assert words in str(answer.error)
    assert answer.error.endpoint and answer.error.endpoint in str(answer.error)
    assert answer.error.phase == phase or not phase
    assert not answer.ok
    with pytest.raises(kind):
        answer.raise_for_status()


def drip(line: Line) -> None:
    """A step: a byte every millisecond, until the other side has had enough."""
    with contextlib.suppress(OSError):
        while not line.peer.stopped.wait(0.001):
            line.send(b"x")
    raise LineEnded


def strike(rig: Rig, url: str, good: str, **ask: Any) -> Response:
    """Ask ``url``, then a good server with the same worker; return the answer to the first."""
    began = monotonic()
    rig.ask(url, **ask)
    rig.ask(good)
    first, second = rig.run(5.0)
    assert second.content == b"good"
    assert first.meta["req_id"] == 0 and first.elapsed <= monotonic() - began
    return first


# -- no line ------------------------------------------------------------------------------------------------------


def test_a_refused_connection(good: str) -> None:
    with refused_port() as port, Rig() as rig:
        answer = strike(rig, f"http://127.0.0.1:{port}/", good)
        fails(answer, ConnectError, 714, "connection refused", "connect")
        assert str(port) in str(answer.error)
        assert isinstance(answer.error.__cause__, ConnectionRefusedError)
        assert (answer.version, answer.lane, answer.content, answer.text) == ("1.1", "HTTP/1.1", b"", "")
        assert not answer.headers and answer.history == []


def test_a_connection_that_hangs(good: str) -> None:
    with hanging_port() as port, Rig(timeout=SHORT) as rig:
        answer = strike(rig, f"http://127.0.0.1:{port}/", good)
        fails(answer, TimedOut, 702, f"no connection in {SHORT} s", "connect")
        assert SHORT <= answer.elapsed < 2.0


def test_a_network_that_cannot_be_reached(good: str) -> None:
    # Multicast addresses take no TCP connection; the system says so at once.
    with Rig() as rig:
        answer = strike(rig, "http://224.0.0.1/", good)
        fails(answer, ConnectError, 714, "unreachable", "connect")


def test_a_name_that_does_not_exist(good: str) -> None:
    asked = []

    def getaddrinfo(name: str, *rest: object, **more: object) -> list[Any]:
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with Rig() as rig:
        rig.engine._resolver = Resolver(rig.engine.loop.soon, getaddrinfo=getaddrinfo)
        fails(strike(rig, "http://no.invalid/", good), ResolveError, 704, "no such host, no.invalid:80", "resolve")
        for _ in range(10):
            rig.ask("http://no.invalid/")
        assert codes(rig.run())[2:] == [704] * 10
        assert asked == ["no.invalid"], "remembered, not asked again"


def test_a_look_up_that_hangs(good: str) -> None:
    release = threading.Event()

    def getaddrinfo(*rest: object, **more: object) -> list[Any]:
        release.wait(5.0)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with Rig(timeout=SHORT) as rig:
        rig.engine._resolver = Resolver(rig.engine.loop.soon, getaddrinfo=getaddrinfo)
        answer = strike(rig, "http://slow.invalid/", good)
        release.set()
        fails(answer, TimedOut, 702, f"no answer from name resolution in {SHORT} s", "resolve")


def test_a_unix_socket_that_is_not_there(good: str, tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    with Rig() as rig:
        answer = strike(rig, "http://localhost/", good, unix=str(path))
        fails(answer, ConnectError, 714, f"no such socket file, {path}", "connect")


def test_a_path_too_long_for_a_unix_socket(good: str) -> None:
    with Rig() as rig:
        answer = strike(rig, "http://localhost/", good, unix="/" + "x" * 200)
        fails(answer, ConnectError, 714, "too long", "connect")


# -- TLS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("wrong_name", "certificate"),
        ("expired", "expired"),
        ("self_signed", "self-signed"),
        ("unknown_ca", "certificate"),
    ],
)
def test_certificates_that_are_not_accepted(certs: Certs, good: str, pair: str, words: str) -> None:
    with ScriptedPeer([ASKED, say(OK)], tls=certs.server_context(getattr(certs, pair))) as peer:
        url = f"https://localhost:{peer.port}/"
        with Rig(ca=certs.ca) as rig:
            fails(strike(rig, url, good), TlsError, 713, words, "tls")
            assert rig.fetch(url, verify=False).content == b"ok"
            assert rig.fetch(url).status_code == 713, "what was accepted unverified is not used by others"


def test_the_system_does_not_know_our_ca(certs: Certs, good: str) -> None:
    with http_peer(lambda request: (200, [], b"ok"), tls=certs.server_context()) as peer, Rig() as rig:
        fails(strike(rig, f"https://localhost:{peer.port}/", good), TlsError, 713, "certificate", "tls")
        assert rig.fetch(f"https://localhost:{peer.port}/", ca=certs.ca).content == b"ok"


def test_a_server_that_does_not_speak_tls(good: str) -> None:
    with ScriptedPeer([say(b"HTTP/1.1 400 Bad Request\r\n\r\n")]) as peer, Rig() as rig:
        fails(strike(rig, f"https://127.0.0.1:{peer.port}/", good), TlsError, 713, "", "tls")


@pytest.mark.parametrize(
    ("script", "kind", "code", "words"),
    [
        ([cut()], TlsError, 713, "during the TLS handshake"),
        ([expect(b"\x16"), reset()], TlsError, 713, "reset by the peer during the TLS handshake"),
        ([stall()], TimedOut, 702, f"no TLS handshake in {SHORT} s"),
    ],
)
def test_a_handshake_that_ends_early(good: str, script: Any, kind: Any, code: int, words: str) -> None:
    with ScriptedPeer(script) as peer, Rig(timeout=SHORT) as rig:
        fails(strike(rig, f"https://127.0.0.1:{peer.port}/", good), kind, code, words, "tls")


def test_a_client_certificate_is_asked_for(certs: Certs, good: str) -> None:
    with (
        http_peer(lambda request: (200, [], b"known"), tls=certs.server_context(ask_client=True)) as peer,
        Rig(ca=certs.ca) as rig,
    ):
        url = f"https://localhost:{peer.port}/"
        assert strike(rig, url, good).status_code in (700, 713)
        assert rig.fetch(url, cert=(certs.client.cert, certs.client.key)).content == b"known"
        assert len(peer.handshake_failures) >= 1


def test_a_tls_answer_cut_without_goodbye(certs: Certs, good: str) -> None:
    # The body ends with the line, so only close_notify tells the end from a cut.
    script = [ASKED, say(b"HTTP/1.1 200 OK\r\n\r\nhalf"), cut()]
    with ScriptedPeer(script, tls=certs.server_context()) as peer, Rig(ca=certs.ca) as rig:
        answer = strike(rig, f"https://localhost:{peer.port}/", good)
        fails(answer, PeerClosed, 700, "without close_notify", "answer")


@pytest.mark.parametrize("option", [{"ca": "/nowhere/ca.pem"}, {"cert": "/nowhere/client.pem"}])
def test_tls_files_that_are_not_there(good: str, option: Any) -> None:
    with Rig() as rig:
        answer = strike(rig, "https://127.0.0.1:9/", good, **option)
        assert isinstance(answer.error, AquestsError) and "/nowhere/" in str(answer.error)


# -- the answer ---------------------------------------------------------------------------------------------------

CASES = {
    "never answers": ([ASKED, stall()], TimedOut, 702, f"no answer in {SHORT} s", "answer"),
    "never reads": ([stall()], TimedOut, 702, f"no answer in {SHORT} s", "answer"),
    "silent within the head": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nA:"), stall()],
        TimedOut,
        702,
        f"nothing came for {SHORT} s within the answer",
        "idle",
    ),
    "silent within the body": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), stall()],
        TimedOut,
        702,
        f"nothing came for {SHORT} s within the answer",
        "idle",
    ),
    "silent after 100 Continue": (
        [ASKED, say(b"HTTP/1.1 100 Continue\r\n\r\n"), stall()],
        TimedOut,
        702,
        "nothing came",
        "idle",
    ),
    "closes before the answer": ([ASKED, cut()], PeerClosed, 700, "closed the line before the answer", "answer"),
    "closes within the head": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nA: b\r\n"), cut()],
        PeerClosed,
        700,
        "within the head of the answer",
        "answer",
    ),
    "closes within the body": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"), cut()],
        PeerClosed,
        700,
        "after 3 of 1,000 bytes of the body",
        "answer",
    ),
    "closes within a chunk": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"), cut()],
        PeerClosed,
        700,
        "within the body of the answer",
        "answer",
    ),
    "closes before the last chunk": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), cut()],
        PeerClosed,
        700,
        "within the body of the answer",
        "answer",
    ),
    "resets before the answer": ([ASKED, reset()], ReadError, 700, "connection reset by the peer", "answer"),
    "resets within the body": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), reset()],
        ReadError,
        700,
        "connection reset by the peer",
        "answer",
    ),
    "a header of 100,000 bytes": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\n\r\n")],
        TooLarge,
        719,
        "65,536",
        "answer",
    ),
    "a header without end": ([ASKED, say(b"HTTP/1.1 200 OK\r\nA: "), pour(b"a" * 4096)], TooLarge, 719, "head", ""),
    "10,000 headers": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000 + b"\r\n")],
        TooLarge,
        719,
        "10,000 headers",
        "answer",
    ),
    "another protocol": ([ASKED, say(b"220 mail.example ESMTP\r\n")], ProtocolError, 715, "not an HTTP", "answer"),
    "HTTP/2 without being asked": (
        [ASKED, say(b"\0\0\x12\x04\0\0\0\0\0\0\3\0\0\0\x64\0\4\0\0\xff\xff")],
        ProtocolError,
        715,
        "not an HTTP",
        "answer",
    ),
    "two lengths": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")],
        ProtocolError,
        715,
        "different Content-Lengths",
        "answer",
    ),
    "length and chunks": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")],
        ProtocolError,
        715,
        "both Content-Length and Transfer-Encoding",
        "answer",
    ),
    "a bad chunk": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")],
        ProtocolError,
        715,
        "bad chunk size",
        "answer",
    ),
    "1xx without end": ([ASKED, pour(b"HTTP/1.1 103 Early Hints\r\n\r\n")], ProtocolError, 715, "interim", "answer"),
    "101 without being asked": (
        [ASKED, say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")],
        ProtocolError,
        715,
        "101 Switching Protocols",
        "answer",
    ),
    "gzip that is none": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone")],
        ProtocolError,
        715,
        "gzip",
        "answer",
    ),
    "a coding nobody knows": (
        [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Encoding: rot13\r\nContent-Length: 4\r\n\r\nabar")],
        ProtocolError,
        715,
        "unknown content coding 'rot13'",
        "answer",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_answers_that_go_wrong(good: str, name: str) -> None:
    script, kind, code, words, phase = CASES[name]
    with ScriptedPeer(script) as peer, Rig(timeout=SHORT) as rig:
        answer = strike(rig, peer.url, good)
        fails(answer, kind, code, words, phase)
        assert peer.connections == 1
        assert rig.engine.lines <= 1


@pytest.mark.parametrize("script", [[cut()], [reset()]])
def test_a_line_closed_at_once(good: str, script: Any) -> None:
    # Whether it is seen while sending or while reading is a matter of luck.
    with ScriptedPeer(script) as peer, Rig() as rig:
        answer = strike(rig, peer.url, good)
        assert isinstance(answer.error, errors.TransportError) and answer.status_code in (700, 714)


def test_a_drip_is_alive_but_the_deadline_is_not_moved_by_it(good: str) -> None:
    # Progress at every look: only the deadline ends it.
    script = [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"), drip]
    with ScriptedPeer(script) as peer, Rig(timeout=5.0) as rig:
        answer = strike(rig, peer.url, good, deadline=SHORT)
        fails(answer, TimedOut, 702, f"not answered before the deadline, {SHORT} s", "total")
        assert SHORT <= answer.elapsed < 1.0


def test_a_slow_answer_outlives_its_timeout_as_long_as_something_comes(good: str) -> None:
    # 700 pieces, at least a millisecond apart, take longer than the timeout.
    body = b"x" * 700
    script = [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n"), say_slowly(body)]
    with ScriptedPeer(script) as peer, Rig(timeout=LONGER) as rig:
        answer = strike(rig, peer.url, good)
        assert answer.content == body and answer.elapsed > LONGER


@pytest.mark.parametrize("place", ["hanging", "tls", "answer", "flood"])
def test_the_deadline_holds_in_every_phase(good: str, place: str) -> None:
    script = {"flood": [ASKED, say(b"HTTP/1.1 200 OK\r\n\r\n"), pour(b"x" * 1000)]}.get(place, [stall()])
    with hanging_port() as port, ScriptedPeer(script) as peer, Rig(timeout=30.0) as rig:
        url = f"{'https' if place == 'tls' else 'http'}://127.0.0.1:{port if place == 'hanging' else peer.port}/"
        answer = strike(rig, url, good, deadline=SHORT, max_content=1 << 40)
        fails(answer, TimedOut, 702, f"not answered before the deadline, {SHORT} s", "total")
        assert SHORT <= answer.elapsed < 1.5


def test_the_deadline_of_the_run(good: str) -> None:
    with ScriptedPeer([stall()]) as peer, Rig(timeout=30.0, deadline=SHORT) as rig:
        fails(strike(rig, peer.url, good), TimedOut, 702, "deadline", "total")


# -- more than one answer, or too early ----------------------------------------------------------------------------


def test_a_second_answer_is_never_the_next_ones(good: str) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    with ScriptedPeer([ASKED, say(OK + evil), stall()], [ASKED, say(OK), stall()]) as peer, Rig() as rig:
        rig.ask(peer.url)
        rig.ask(peer.url)
        assert [answer.content for answer in rig.run()] == [b"ok", b"ok"]
        assert peer.connections == 2, "the first line is not trusted any more"


def test_bytes_on_an_idle_line_end_it(good: str) -> None:
    idle = threading.Event()
    with ScriptedPeer([ASKED, say(OK), wait(idle), say(OK), stall()], [ASKED, say(OK), stall()]) as peer, Rig() as rig:
        assert rig.fetch(peer.url).content == b"ok"
        idle.set()
        until(lambda: not rig.engine.lines, between=lambda: rig.engine.step(0.1))
        assert rig.fetch(peer.url).content == b"ok"
        assert peer.connections == 2


def test_an_answer_before_the_request(good: str) -> None:
    with ScriptedPeer([say(OK), ASKED, cut()]) as peer, Rig() as rig:
        assert strike(rig, peer.url, good).content == b"ok"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_before_the_upload_is_sent(good: str, streamed: bool) -> None:
    # The server refuses after the head, keeps the line open and reads no more.
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
    body = b"x" * 16_000_000
    data = iter([body[at : at + 65536] for at in range(0, len(body), 65536)]) if streamed else body
    with ScriptedPeer([ASKED, say(refusal), stall()], [ASKED, say(OK)]) as peer, Rig(timeout=5.0) as rig:
        rig.ask(peer.url, "POST", data)
        rig.ask(peer.url)
        rig.ask(good)
        assert codes(rig.run(3.0)) == [413, 200, 200]
        assert peer.connections == 2, "half a request was on the first line"


def test_a_refusal_and_a_reset_in_the_middle_of_an_upload(good: str) -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with ScriptedPeer([ASKED, say(refusal), cut()]) as peer, Rig(timeout=5.0) as rig:
        answer = strike(rig, peer.url, good, method="POST", data=b"x" * 16_000_000)
        # The reset may overtake the answer in the kernel; never both, never neither.
        assert answer.status_code in (413, 700)


# -- too much ------------------------------------------------------------------------------------------------------


def served(body: bytes, encoding: str) -> list[Any]:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return [ASKED, say(head.encode() + body)]


def test_a_gzip_bomb_by_its_total(good: str) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    with ScriptedPeer(served(bomb, "gzip")) as peer, Rig(max_content=10_000_000) as rig:
        fails(strike(rig, peer.url, good), TooLarge, 719, "10000000 bytes (max_content)", "answer")


def test_a_gzip_bomb_by_its_ratio(good: str) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    with ScriptedPeer(served(bomb, "gzip")) as peer, Rig(max_ratio=100) as rig:
        fails(strike(rig, peer.url, good), TooLarge, 719, "(max_ratio)", "answer")


def test_a_bomb_within_a_bomb(good: str) -> None:
    bomb = gzip.compress(zlib.compress(gzip.compress(bytes(200_000_000), 1)))
    assert len(bomb) < 10_000
    with ScriptedPeer(served(bomb, "gzip, deflate, gzip")) as peer, Rig() as rig:
        fails(strike(rig, peer.url, good), TooLarge, 719, "(max_ratio)", "answer")


def test_an_honest_chain_of_codings(good: str) -> None:
    with ScriptedPeer(served(zlib.compress(gzip.compress(b"plain")), "gzip, deflate")) as peer, Rig() as rig:
        assert strike(rig, peer.url, good).content == b"plain"


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 1001\r\n\r\n" + b"x" * 1001,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"100\r\n" + b"x" * 256 + b"\r\n2ea\r\n",
        b"\r\n" + b"x" * 1001,
    ],
)
def test_a_body_over_the_limit(good: str, answer: bytes) -> None:
    with ScriptedPeer([ASKED, say(b"HTTP/1.1 200 OK\r\n" + answer), stall()]) as peer, Rig(timeout=5.0) as rig:
        answer_ = strike(rig, peer.url, good, max_content=1000)
        fails(answer_, TooLarge, 719, "max_content=1,000", "answer")


def test_a_body_without_end(good: str) -> None:
    script = [ASKED, say(b"HTTP/1.1 200 OK\r\n\r\n"), pour(b"x" * 65536)]
    with ScriptedPeer(script) as peer, Rig(timeout=5.0) as rig:
        fails(strike(rig, peer.url, good, max_content=1_000_000), TooLarge, 719, "max_content", "answer")


# -- bodies that cannot be sent -------------------------------------------------------------------------------------


def test_a_body_iterable_that_raises(good: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("the source is broken")

    with http_peer(lambda request: (200, [], b"ok")) as peer, Rig(timeout=2.0) as rig:
        answer = strike(rig, peer.url, good, method="POST", data=pieces())
        fails(answer, RequestError, 701, "the iterable of the body failed", "send")
        assert "the source is broken" in str(answer.error)
        assert isinstance(answer.error.__cause__, RuntimeError)
        assert peer.requests == [], "half a request is no request"


def test_a_file_that_shrinks_while_it_is_sent(good: str, tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(b"x" * 1_000_000)
    with http_peer(lambda request: (200, [], b"ok")) as peer, Rig(timeout=2.0) as rig, path.open("rb") as file:
        rig.ask(peer.url, "PUT", file)
        path.write_bytes(b"x" * 1000)
        rig.ask(good)
        bad, fine = rig.run()
        fails(bad, RequestError, 701, "became shorter while it was being sent", "send")
        assert fine.ok and peer.requests == []


def test_a_file_that_vanishes_before_it_is_sent(good: str, tmp_path: Path) -> None:
    path = tmp_path / "vanishing"
    path.write_bytes(b"x" * 100)
    with http_peer(lambda request: (200, [], request.body)) as peer, Rig(timeout=2.0) as rig, path.open("rb") as file:
        rig.ask(peer.url, "PUT", file)
        path.unlink()
        assert rig.run()[0].content == b"x" * 100, "it is open, so it is still there"


def test_a_file_closed_before_it_is_sent(good: str, tmp_path: Path) -> None:
    path = tmp_path / "closed"
    path.write_bytes(b"x" * 100)
    with http_peer(lambda request: (200, [], b"ok")) as peer, Rig(timeout=2.0) as rig:
        with path.open("rb") as file:
            rig.ask(peer.url, "PUT", file)
        rig.ask(good)
        bad, fine = rig.run()
        fails(bad, RequestError, 701, "was closed before it was sent", "send")
        assert fine.ok


def test_a_long_upload_outlives_its_timeout_as_long_as_something_is_taken(good: str) -> None:
    """The server takes the body slowly: each piece is progress, although nothing is answered."""
    body = b"x" * 20_000_000

    def slowly(sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        left = len(body)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
        while left:
            pause.wait(0.002)
            left -= len(sock.recv(65536))
        sock.sendall(OK)

    pause = threading.Event()
    with ScriptedPeer(slowly) as peer, Rig(timeout=LONGER) as rig:
        answer = strike(rig, peer.url, good, method="POST", data=body)
        assert answer.content == b"ok" and answer.elapsed > LONGER, answer.error


# -- everything at once --------------------------------------------------------------------------------------------


class Moody:
    """A server of moods, as a handler. Whatever it answers with 200 names the target that was asked."""

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # a client that has had enough
            self.serve(sock, random.Random(self.seed * 1000 + number))

    def serve(self, sock: socket.socket, chance: random.Random) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = sock.recv(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            target = head.split()[1]
            if b"Content-Length: " in head:
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                while len(data) < length:
                    data += sock.recv(65536)
                data = data[length:]
            if not self.answer(sock, target, chance):
                return

    def answer(self, sock: socket.socket, target: bytes, chance: random.Random) -> bool:
        """True: the line goes on."""
        good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target)
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(target), target)
        cut_at = chance.randrange(len(good))
        match chance.choice(["good"] * 12 + ["chunked", "close", "cut", "reset", "stall", "surplus", "junk", "moved"]):
            case "good":
                sock.sendall(good)
            case "chunked":
                sock.sendall(chunked[:cut_at])
                sock.sendall(chunked[cut_at:])
            case "close":
                sock.sendall(good.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
                return False
            case "cut":
                sock.sendall(good[:cut_at])
                return False
            case "reset":
                sock.sendall(good[:cut_at])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case "stall":
                sock.sendall(good[:cut_at])
                while sock.recv(65536):
                    pass
                return False
            case "surplus":
                sock.sendall(good + good)
            case "junk":
                sock.sendall(b"\0" * 100)
                return False
            case "moved":
                sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % target)
        return True


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_each_request_has_its_own_answer(seed: int) -> None:
    chance = random.Random(seed)
    workers = chance.choice([1, 3, 10, 30])
    settings: dict[str, Any] = {"use_pool": chance.random() < 0.7, "qrandom": chance.random() < 0.5}
    with ScriptedPeer(Moody(seed)) as one, ScriptedPeer(Moody(seed + 100)) as two:
        with Rig(workers=workers, timeout=0.1, **settings) as rig:
            for number in range(150 if workers < 10 else 400):
                method = chance.choice(["GET", "GET", "POST", "PUT", "DELETE"])
                data = b"x" * chance.choice([0, 10, 100_000]) if method in ("POST", "PUT") else None
                options: dict[str, Any] = {"deadline": 0.15} if chance.random() < 0.2 else {}
                rig.ask(f"{chance.choice([one, two]).url}{number}", method, data, **options)
            for answer in rig.run(30.0):
                number = answer.meta["req_id"]
                if answer.ok:
                    assert answer.content == b"/%d" % number, "somebody else's answer"
                else:
                    assert answer.status_code in (700, 702, 711, 714, 715), repr(answer.error)
            assert any(answer.ok for answer in rig.answers) and not all(answer.ok for answer in rig.answers)
