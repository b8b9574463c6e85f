"""The scripted peers do what their scripts say, and do not forgive what the scripts do not expect."""

from __future__ import annotations

import errno
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.certs import Certs
from tests.helpers import Leftovers, feedings
from tests.peers import (
    Answer,
    HttpPeer,
    Request,
    ScriptedPeer,
    ScriptError,
    cut,
    expect,
    expect_eof,
    half_close,
    hanging_port,
    http_peer,
    loop,
    pour,
    refused_port,
    relay,
    reset,
    say,
    say_slowly,
    stall,
    start_tls,
    wait,
)


def dial(peer: ScriptedPeer) -> socket.socket:
    if isinstance(peer.address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5.0)
        sock.connect(peer.address)
        return sock
    return socket.create_connection(peer.address, timeout=5.0)


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def talk(peer: ScriptedPeer, *messages: bytes) -> bytes:
    """Send the messages, end sending, and read everything."""
    with dial(peer) as sock:
        for message in messages:
            sock.sendall(message)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


# --- steps that go well --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [b"c d", re.compile(rb"[a-c]+ d"), lambda data: data.find(b"d") + 1, lambda data: len(data) == 7],
    ids=["bytes", "pattern", "count", "all"],
)
def test_expect_finds_what_comes_in_pieces(what: bytes) -> None:
    with ScriptedPeer([expect(what), say(lambda line: b"[" + line.matched + b"]")]) as peer:
        assert talk(peer, b"ab", b"c", b" d e") in (b"[abc d]", b"[abc d e]")
    assert peer.received == [b"abc d e"]


def test_expect_leaves_the_rest_for_the_next_step() -> None:
    with ScriptedPeer([expect(b"one"), expect(b"two"), say(b"ok"), expect_eof()]) as peer:
        assert talk(peer, b"onetwo") == b"ok"


def test_each_connection_gets_its_script_and_the_last_one_repeats() -> None:
    with ScriptedPeer([say(b"first")], [say(b"later")]) as peer:
        assert [talk(peer) for _ in range(3)] == [b"first", b"later", b"later"]
        peer.until(lambda: peer.ended == 3)
        assert peer.connections == 3


def test_received_is_kept_for_each_connection() -> None:
    with ScriptedPeer([expect(b"!"), say(b"ok")]) as peer:
        talk(peer, b"one!")
        talk(peer, b"two!")
    assert peer.received == [b"one!", b"two!"]


def test_a_plain_function_serves_too() -> None:
    def handler(sock: socket.socket, number: int) -> None:
        sock.sendall(b"%d" % number)

    with ScriptedPeer(handler) as peer:
        assert [talk(peer), talk(peer)] == [b"1", b"2"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_say_slowly_says_everything(size: int) -> None:
    with ScriptedPeer([say_slowly(b"0123456789", size)]) as peer:
        assert talk(peer) == b"0123456789"


def test_the_gate_lets_one_piece_through_at_a_time() -> None:
    gate = threading.Semaphore(0)
    with ScriptedPeer([say_slowly(b"abc", gate=gate)]) as peer, dial(peer) as sock:
        for letter in (b"a", b"b", b"c"):
            gate.release()
            assert sock.recv(10) == letter
        assert sock.recv(10) == b""


def test_wait_goes_on_when_the_test_says_so() -> None:
    go = threading.Event()
    with ScriptedPeer([say(b"a"), wait(go), say(b"b")]) as peer, dial(peer) as sock:
        assert sock.recv(10) == b"a"
        go.set()
        assert sock.recv(10) == b"b"


def test_stall_is_silent_and_ends_with_the_peer() -> None:
    with ScriptedPeer([stall()]) as peer, dial(peer) as sock:
        assert select.select([sock], [], [], 0.02)[0] == []
        peer.close()
        assert sock.recv(1) == b""


def test_cut_delivers_what_was_said_even_with_unread_input() -> None:
    with ScriptedPeer([expect(b"a"), say(b"half an ans"), cut()]) as peer, dial(peer) as sock:
        sock.sendall(b"a and more")
        assert read_all(sock) == b"half an ans"


def test_reset_resets() -> None:
    with ScriptedPeer([expect(b"a"), reset()]) as peer, dial(peer) as sock:
        sock.sendall(b"a")
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_half_close_goes_on_reading() -> None:
    with ScriptedPeer([half_close(), expect(b"still here"), expect_eof()]) as peer, dial(peer) as sock:
        assert sock.recv(1) == b""
        sock.sendall(b"still here")


def test_the_end_of_a_script_does_not_reset() -> None:
    with ScriptedPeer([say(b"bye")]) as peer, dial(peer) as sock:
        assert read_all(sock) == b"bye"
        sock.sendall(b"too late")
        sock.shutdown(socket.SHUT_WR)
        peer.until(lambda: peer.ended == 1)
    assert peer.received == [b"too late"]


def test_pour_ends_when_the_other_side_has_enough() -> None:
    with ScriptedPeer([pour(b"x" * 65536)]) as peer:
        with dial(peer) as sock:
            assert sock.recv(1000)
        peer.until(lambda: peer.ended == 1)


def test_pour_ends_with_the_peer() -> None:
    with ScriptedPeer([pour(b"x" * 65536)]) as peer, dial(peer) as sock:
        assert sock.recv(1)
        peer.close()


@pytest.mark.parametrize("times", [None, 3])
def test_loop_repeats(times: int | None) -> None:
    with ScriptedPeer([loop(expect(b"?"), say(b"!"), times=times)]) as peer:
        assert talk(peer, b"???") == b"!!!"


def test_a_loop_that_waits_for_a_round_may_be_closed() -> None:
    with ScriptedPeer([loop(expect(b"?"), say(b"!"))]) as peer, dial(peer) as sock:
        sock.sendall(b"?")
        assert sock.recv(10) == b"!"


def test_a_step_may_be_any_callable() -> None:
    seen: list[int] = []
    with ScriptedPeer([lambda line: seen.append(line.number), say(b"ok")]) as peer:
        assert talk(peer) == b"ok"
    assert seen == [1]


# --- addresses -----------------------------------------------------------------------------------------------


def test_unix_path(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with ScriptedPeer([say(b"unix")], path=path) as peer:
        assert talk(peer) == b"unix"
        assert peer.url == f"http+unix://{str(path).replace('/', '%2F')}/"
    assert not path.exists()


def test_ipv6() -> None:
    with ScriptedPeer([say(b"six")], host="::1") as peer:
        assert talk(peer) == b"six"
        assert peer.url == f"http://[::1]:{peer.port}/"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_refused_port(host: str) -> None:
    with refused_port(host) as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), timeout=5.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_hanging_port(host: str) -> None:
    with hanging_port(host) as port, pytest.raises(TimeoutError):
        socket.create_connection((host, port), timeout=0.1)


# --- TLS and relays ------------------------------------------------------------------------------------------


def secure(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)


def test_tls(certs: Certs) -> None:
    script = [expect(b"hello"), say(b"x" * 1_000_000)]
    with ScriptedPeer(script, tls=certs.server_context(alpn=["h2"])) as peer:
        with secure(dial(peer), certs.client_context(alpn=["h2"])) as line:
            assert line.selected_alpn_protocol() == "h2"
            line.sendall(b"hello")
            assert len(read_all(line)) == 1_000_000  # and then close_notify
    assert peer.received == [b"hello"]
    assert peer.url.startswith("https://")


def test_tls_cut_short_has_no_close_notify(certs: Certs) -> None:
    with ScriptedPeer([say(b"part"), cut()], tls=certs.server_context()) as peer:
        with secure(dial(peer), certs.client_context()) as line:
            assert line.recv(100) == b"part"
            with pytest.raises(ssl.SSLEOFError):
                line.recv(100)


@pytest.mark.parametrize("kind", ["wrong_name", "expired", "self_signed", "unknown_ca"])
def test_bad_certificates_are_refused_and_noted(certs: Certs, kind: str) -> None:
    with ScriptedPeer([stall()], tls=certs.server_context(getattr(certs, kind))) as peer:
        with dial(peer) as sock, pytest.raises(ssl.SSLCertVerificationError):
            secure(sock, certs.client_context())
        peer.until(lambda: peer.ended == 1)
        assert kind == "wrong_name" or peer.handshake_failures  # a wrong name is refused after the handshake


def test_client_certificates(certs: Certs) -> None:
    with ScriptedPeer([say(b"in")], tls=certs.server_context(ask_client=True)) as peer:
        with secure(dial(peer), certs.client_context(certs.client)) as line:
            assert read_all(line) == b"in"
        with dial(peer) as sock, pytest.raises(OSError), secure(sock, certs.client_context()) as line:
            read_all(line)
        peer.until(lambda: peer.ended == 2)
        assert len(peer.handshake_failures) == 1


def test_start_tls_in_mid_script(certs: Certs) -> None:
    script = [expect(b"STARTTLS"), say(b"OK"), start_tls(certs.server_context()), expect(b"secret"), say(b"done")]
    with ScriptedPeer(script) as peer, dial(peer) as sock:
        sock.sendall(b"STARTTLS")
        assert sock.recv(2) == b"OK"
        with secure(sock, certs.client_context()) as line:
            line.sendall(b"secret")
            assert read_all(line) == b"done"


@pytest.mark.parametrize("with_tls", [False, True])
def test_relay_passes_bytes_both_ways(certs: Certs, with_tls: bool) -> None:
    tls = certs.server_context() if with_tls else None
    origin_script = [expect(re.compile(rb"x{200000}")), say(b"y" * 300_000), expect_eof()]
    with ScriptedPeer(origin_script) as origin:
        with ScriptedPeer([expect(b"CONNECT\n"), say(b"OK"), relay(origin.address)], tls=tls) as proxy:
            sock = secure(dial(proxy), certs.client_context()) if with_tls else dial(proxy)
            with sock:
                sock.sendall(b"CONNECT\n")
                assert sock.recv(2) == b"OK"
                sock.sendall(b"x" * 200_000)
                got = 0
                while got < 300_000:
                    got += len(sock.recv(65536))
            origin.until(lambda: origin.ended == 1)


# --- no forgiveness ------------------------------------------------------------------------------------------


def quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except OSError:
        pass


@pytest.mark.parametrize(
    ("script", "message", "complaint"),
    [
        ([expect(b"abc")], b"abd", "the line ended while expecting b'abc'"),
        ([expect_eof()], b"more", "expected the end of the line, got b'more'"),
        ([loop(expect(b"ab"))], b"aba", "the line ended while expecting b'ab'"),
        ([lambda line: 1 / 0], b"", "ZeroDivisionError"),
        ([wait(threading.Event())], b"", "the event was not set"),
        ([say_slowly(b"a", gate=threading.Semaphore(0))], b"", "the gate stayed shut"),
    ],
    ids=["other bytes", "bytes for the end", "half a round", "crash", "event", "gate"],
)
def test_what_goes_wrong_in_a_script_is_raised(script: list, message: bytes, complaint: str) -> None:
    with pytest.raises(ScriptError, match=re.escape(complaint)), ScriptedPeer(script, patience=0.2) as peer:
        quietly(lambda: talk(peer, message))
        peer.until(lambda: peer.ended == 1)


def test_silence_is_a_failure() -> None:
    with (
        pytest.raises(ScriptError, match=re.escape("nothing happened for 0.05 s; pending: b'ab'")),
        ScriptedPeer([expect(b"abc")], patience=0.05) as peer,
        dial(peer) as sock,
    ):
        sock.sendall(b"ab")
        assert sock.recv(1) == b""


def test_a_script_that_stands_half_way_is_a_failure() -> None:
    with pytest.raises(ScriptError, match=r"connection 1: expect\(b'abc'\) was not finished"):
        with ScriptedPeer([say(b"a"), expect(b"abc")]) as peer, dial(peer) as sock:
            assert sock.recv(1) == b"a"
            peer.close()


def test_a_line_broken_while_the_peer_speaks_is_a_failure() -> None:
    with pytest.raises(ScriptError, match=r"say\(.*\): .*(BrokenPipe|ConnectionReset)"):
        with ScriptedPeer([say(b"x" * 50_000_000)]) as peer:
            dial(peer).close()
            peer.until(lambda: peer.ended == 1)


def test_what_a_handler_raises_is_raised() -> None:
    def handler(sock: socket.socket, number: int) -> None:
        raise ValueError("of no value")

    with pytest.raises(ScriptError, match="of no value"), ScriptedPeer(handler) as peer:
        assert talk(peer) == b""


def test_a_handler_that_waits_is_interrupted() -> None:
    def handler(sock: socket.socket, number: int) -> None:
        sock.sendall(b"a")
        sock.recv(1)

    with ScriptedPeer(handler) as peer, dial(peer) as sock:
        assert sock.recv(1) == b"a"
        peer.close()


def test_the_error_of_the_test_comes_before_the_error_of_the_script() -> None:
    with pytest.raises(KeyError) as caught:
        with ScriptedPeer([expect(b"abc")]) as peer:
            talk(peer, b"x")
            peer.until(lambda: peer.ended == 1)
            raise KeyError("mine")
    assert "while expecting b'abc'" in caught.value.__notes__[0]


def test_until_fails_in_vain() -> None:
    with ScriptedPeer(patience=0.01) as peer, pytest.raises(ScriptError, match="in vain: 0 connections"):
        peer.until(lambda: peer.connections)


def test_a_reset_on_a_unix_socket_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="knows no reset"), ScriptedPeer([reset()], path=tmp_path / "s") as peer:
        talk(peer)


def test_nothing_is_left_behind() -> None:
    before = Leftovers()
    with ScriptedPeer([stall()]) as peer, dial(peer):
        peer.until(lambda: peer.connections == 1)
        found = before.find(0.0)
        assert f"thread peer {peer.address}" in found
        assert "thread line 1" in found
        assert "5 open sockets" in found  # the listener, both ends of the line, and the pair that wakes the threads
    assert before.find() == []


# --- the HTTP peer -------------------------------------------------------------------------------------------


def echo(request: Request) -> Answer:
    return 200, [("X-Method", request.method)], request.body


def test_http_keeps_the_line_and_counts() -> None:
    with http_peer(echo) as peer:
        line = HTTPConnection("127.0.0.1", peer.port)
        for number in range(3):
            line.request("POST", f"/{number}?a=b", body=b"%d" % number)
            response = line.getresponse()
            assert (response.status, response.reason, response.read()) == (200, "OK", b"%d" % number)
        line.close()
        assert (peer.connections, len(peer.requests)) == (1, 3)
        last = peer.requests[-1]
        assert (last.path, last.query, last.header("HOST"), last.connection) == ("/2", "a=b", peer.netloc, 1)


def answers(responder: Callable[[Request], Answer], *requests: bytes) -> bytes:
    with http_peer(responder) as peer:
        return talk(peer, *requests)


def test_http_bodies_in_chunks_both_ways() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    message = head + b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n"

    def responder(request: Request) -> Answer:
        assert request.trailers == [("T", "v")]
        return 200, [], iter([request.body, b"", b"end"])

    assert answers(responder, message) == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nabc0123456789\r\n3\r\nend\r\n0\r\n\r\n"
    )


def test_http_pipelined_requests_in_any_cutting() -> None:
    data = b"".join(b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d" % (n, n) for n in range(5))
    for pieces in feedings(data, "pipelined"):
        found = re.findall(rb"\r\n\r\n(\d\d)", answers(echo, *pieces))
        assert found == [b"00", b"01", b"02", b"03", b"04"]


@pytest.mark.parametrize(
    ("head", "status", "end"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: a", 200, b"Content-Length: 3\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a", 204, b"204 No Content\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a", 304, b"304 Not Modified\r\nContent-Length: 3\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close", 200, b"Connection: close\r\n\r\nabc"),
        (b"GET / HTTP/1.0", 200, b"Connection: close\r\n\r\nabc"),
        (b"GET http://a/ HTTP/1.1\r\nHost: a", 200, b"Content-Length: 3\r\n\r\nabc"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a", 499, b"499 Unknown\r\nContent-Length: 3\r\n\r\nabc"),
    ],
)
def test_http_ends_answers_by_the_rules(head: bytes, status: int, end: bytes) -> None:
    assert answers(lambda request: (status, [], b"abc"), head + b"\r\n\r\n").endswith(end)


def test_http_asks_for_the_body_that_is_waited_for() -> None:
    with http_peer(echo) as peer, dial(peer) as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert sock.recv(100).endswith(b"\r\n\r\nabc")


def test_http_a_client_may_go_away() -> None:
    with http_peer(echo) as peer:
        for part in (b"", b"GET / HT", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na"):
            talk(peer, part)
        peer.until(lambda: peer.ended == 3)
        assert peer.requests == []


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"GET /a b HTTP/1.1\r\nHost: a", "bad request line"),
        (b"GET /#a HTTP/1.1\r\nHost: a", "bad request line"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a", "bad request line"),
        (b"GET / HTTP/1.1\nHost: a", "bad request line"),
        (b"GET / HTTP/2.0\r\nHost: a", "bad request line"),
        (b"GET a HTTP/1.1\r\nHost: a", "bad target"),
        (b"CONNECT a HTTP/1.1\r\nHost: a", "bad target"),
        (b"GET / HTTP/1.1\r\nX: a", "without Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b", "2 fields host"),
        (b"GET / HTTP/1.1\r\nHost : a", "bad field line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded", "bad field line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nb", "bad field line"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1", "bad Content-Length"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1", "2 fields content-length"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", "both"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip", "bad Transfer-Encoding"),
        (b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked", "bad Transfer-Encoding"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n", "bad chunk line"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "a chunk ends with b'bc'"),
    ],
)
def test_http_bad_requests_fail_the_test(head: bytes, complaint: str) -> None:
    with pytest.raises(ScriptError, match=re.escape(complaint)), http_peer(echo) as peer:
        quietly(lambda: talk(peer, head + b"\r\n\r\n"))
        peer.until(lambda: peer.ended == 1)


def test_http_a_crash_of_the_responder_fails_the_test() -> None:
    with pytest.raises(ScriptError, match="ZeroDivisionError"):
        assert answers(lambda request: (1 // 0, [], b""), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""


def test_http_with_tls_and_unix(certs: Certs, tmp_path: Path) -> None:
    with HttpPeer(echo, tls=certs.server_context(), path=tmp_path / "s") as peer:
        with secure(dial(peer), certs.client_context()) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_all(line).startswith(b"HTTP/1.1 200 OK\r\n")


# --- helpers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"a", b"hello world" * 50])
def test_feedings(data: bytes) -> None:
    cuttings = list(feedings(data, 7))
    assert [b"".join(pieces) for pieces in cuttings] == [data] * 3
    assert all(piece for pieces in cuttings for piece in pieces)
    assert cuttings == list(feedings(data, 7))
    assert len(cuttings[1]) == len(data)
    if len(data) > 1:
        assert len(cuttings[0]) == 1 < len(cuttings[2]) < len(data)
        assert cuttings[2] != list(feedings(data, 8))[2]


def test_a_hanging_port_is_only_in_progress() -> None:
    with hanging_port() as port, socket.socket() as sock:
        sock.setblocking(False)
        assert sock.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
        assert select.select([], [sock], [], 0.05)[1] == []
