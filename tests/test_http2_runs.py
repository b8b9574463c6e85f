"""HTTP/2 through the engine, against scripted servers: what is sent again, what times out, what ends a line."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from aquests.errors import ConnectionEnded, PeerClosed, StreamReset, TimedOut
from aquests.protocols import h2frames as h2
from aquests.retry import REFUSALS
from tests.certs import Certs
from tests.h2server import Server, ask, echo, rig, serve
from tests.peers import ScriptedPeer, cut, expect, say, stall
from tests.rig import WITHIN, bodies, codes


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused waits for microseconds."""
    monkeypatch.setattr("aquests.retry.REFUSAL_PAUSE", 1e-6)


# What is sent again


def test_goaway_in_the_middle() -> None:
    """Every line takes seven; the rest of what it was sent is sent again, perhaps more than once."""

    def respond(server: Server, stream: int, count: int) -> None:
        if count <= 7:
            echo(server, stream, count)
        if count == 7:
            server.goaway(stream)

    with ScriptedPeer(serve(respond)) as peer, rig(2, 5) as run:
        requests = [ask(run, peer, number, "POST", b"x") for number in range(100)]
        run.run()
        assert [request.response.content for request in requests] == [b"/%d" % number for number in range(100)]
        assert peer.connections >= 100 // 7 and run.engine.stats.retries > 0


def test_a_server_that_always_says_goodbye() -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        if count == 1:
            server.goaway(0)

    with ScriptedPeer(serve(respond)) as peer, rig() as run:
        answer = ask(run, peer) and run.run()[0]
        assert isinstance(answer.error, ConnectionEnded) and answer.status_code == 720 and answer.version == "2.0"
        assert peer.connections == REFUSALS + 1


@pytest.mark.parametrize("refusals", [1, 3, REFUSALS])
def test_refused_streams_are_sent_again(refusals: int) -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        if count <= refusals:
            server.connection.reset_stream(stream, h2.REFUSED_STREAM)
        else:
            echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig() as run:
        ask(run, peer, "a", "POST", b"x")
        (answer,) = run.run()
        assert answer.content == b"/a" and peer.connections == 1
        assert run.engine.stats.retries == refusals


def test_other_resets_are_answers() -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        if count % 2:
            server.connection.reset_stream(stream, h2.CANCEL)
        else:
            echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig() as run:
        for number in range(10):
            ask(run, peer, number)
        answers = run.run()
        assert Counter(codes(answers)) == {200: 5, 721: 5} and peer.connections == 1
        failed = next(answer for answer in answers if not answer.ok)
        assert isinstance(failed.error, StreamReset) and failed.reason == "HTTP/2 Stream Reset"


def test_a_used_line_dies_with_many_in_flight() -> None:
    """All of them share the fresh line, instead of waiting for one each."""

    def respond(server: Server, stream: int, count: int) -> None:
        if server.line == 1 and count > 3:
            server.over = True
        else:
            echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig(1, 10) as run:
        for number in range(30):
            ask(run, peer, number)
        answers = run.run()
        assert sorted(bodies(answers)) == sorted(b"/%d" % number for number in range(30))
        assert peer.connections == 2


def test_what_may_have_been_done_is_not_sent_again() -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        server.over = count == 2
        echo(server, stream, count) if count < 2 else None

    with ScriptedPeer(serve(respond)) as peer, rig(1, 1) as run:
        for _ in range(2):
            ask(run, peer, "", "POST", b"x")
        answers = run.run()
        assert codes(answers) == [200, 700] and isinstance(answers[1].error, PeerClosed)


# Timeouts


def test_one_stream_times_out_and_the_others_go_on() -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        if server.paths[stream] != "/never":
            echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig(1, 2) as run:
        never = ask(run, peer, "never", timeout=0.2)
        asked = 0

        def more(response: Any) -> None:
            nonlocal asked
            if never.response is None or asked < 5:
                asked += 1
                ask(run, peer, asked)

        run.on_answer = more
        ask(run, peer, 0)
        run.run()
        assert isinstance(never.response.error, TimedOut) and never.response.error.phase == "answer"
        assert peer.connections == 1 and Counter(codes(run.answers))[200] == len(run.answers) - 1


def test_a_silent_line_is_left() -> None:
    """Requests that wait behind a dead line do not all time out on it."""

    def respond(server: Server, stream: int, count: int) -> None:
        if server.line > 1 or count == 1:
            echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig(1, 1, timeout=0.2) as run:
        for number in range(5):
            ask(run, peer, number)
        answers = run.run()
        assert codes(answers) == [200, 702, 200, 200, 200] and peer.connections == 2


@pytest.mark.parametrize("first", [[stall()], [expect(b"SM\r\n\r\n"), stall()]])
def test_nobody_answers(first: Any) -> None:
    with ScriptedPeer(first) as peer, rig(timeout=0.2) as run:
        ask(run, peer)
        (answer,) = run.run()
        assert isinstance(answer.error, TimedOut)


# Other ends


def test_a_server_of_another_protocol() -> None:
    with ScriptedPeer([expect(b"SM\r\n\r\n"), say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), cut()]) as peer, rig() as run:
        ask(run, peer)
        (answer,) = run.run()
        assert answer.status_code == 720 and "does not speak HTTP/2" in str(answer.error)


def test_rules_broken() -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        if count == 3:
            server.flush()
            server.sock.sendall(h2.frame(h2.PING, 0, 0, b"short"))
        else:
            echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig(1, 3) as run:
        for number in range(4):
            ask(run, peer, number)
        answers = run.run()
        assert Counter(codes(answers))[720] >= 1
        error = next(answer.error for answer in answers if not answer.ok)
        assert "PING of 5 bytes" in error.message and error.endpoint and error.after > 0


def test_no_streams_at_all() -> None:
    """A server that allows none keeps nobody waiting for ever."""
    greeting = h2.frame(h2.SETTINGS, 0, 0, h2.settings(((h2.MAX_CONCURRENT_STREAMS, 0),)))
    refuse = h2.rst_stream(1, h2.REFUSED_STREAM)
    script = [expect(b"SM\r\n\r\n"), say(greeting + refuse), stall()]
    with ScriptedPeer(script) as peer, rig() as run:
        ask(run, peer)
        (answer,) = run.run()
        assert answer.status_code in (720, 721)


# Uploads


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("size", [10, 300_000, 3_000_000])
def test_uploads_from_files(size: int, used: bool) -> None:
    """Also on a line that stood idle, where nothing but the upload itself wakes it."""

    def respond(server: Server, stream: int, count: int) -> None:
        server.answer(stream, str(server.bodies[stream]).encode())

    with ScriptedPeer(serve(respond)) as peer, rig(timeout=3) as run:
        if used:
            ask(run, peer)
            run.run()
        for _ in range(3):
            ask(run, peer, "", "PUT", io.BytesIO(bytes(size)))
        assert bodies(run.run())[-3:] == [str(size).encode()] * 3
        assert peer.connections == 1


def test_requests_pass_a_long_upload() -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig(1, 2) as run:
        ask(run, peer, "long", "PUT", bytes(4_000_000))
        for number in range(5):
            ask(run, peer, number)
        run.run()
        assert bodies(run.answers)[-1] == b"/long" and len(run.answers) == 6


def test_settings_of_the_run() -> None:
    """More streams from now on: lines made with fewer are not used again."""
    with ScriptedPeer(serve(echo)) as peer, rig(1, 1) as run:
        ask(run, peer)
        run.run()
        run.configure(http2_constreams=5)
        for number in range(20):
            ask(run, peer, number)
        assert set(codes(run.run())) == {200} and peer.connections == 2


# Back to HTTP/1.1


class Both:
    """A server behind TLS that would rather speak HTTP/1.1; ``refuse(server, stream)`` says so by HTTP/2, or not.

    Before that ``/warm`` is answered, on so many lines at once. ``heard``: requests that came whole, by ALPN and
    path; ``answered``: those that were answered; ``spoken``: the ALPN of each line.
    """

    def __init__(self, refuse: Callable[[Server, int], bool], lines: int = 1):
        self._refuse = refuse
        self._warm = threading.Barrier(lines, timeout=WITHIN)
        self.heard: Counter[tuple[str, str]] = Counter()
        self.answered: Counter[str] = Counter()
        self.spoken: list[str] = []

    def __call__(self, sock: Any, number: int) -> None:
        protocol = sock.selected_alpn_protocol()
        self.spoken.append(protocol)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if protocol == "h2":
                Server(sock, number).run(self._respond)
            else:
                self._speak_http1(sock)

    def _respond(self, server: Server, stream: int, count: int) -> None:
        path = server.paths[stream]
        if path == "/warm":
            self._warm.wait()
            server.answer(stream)
            return
        self.heard["h2", path] += 1
        if not self._refuse(server, stream):
            self.answered[path] += 1
            server.answer(stream, b"by HTTP/2 " + path.encode())

    def _speak_http1(self, sock: socket.socket) -> None:
        with sock.makefile("rb") as lines:
            while first := lines.readline():
                path = first.split()[1].decode()
                fields = dict(line.lower().rstrip().split(b": ", 1) for line in iter(lines.readline, b"\r\n"))
                body = lines.read(int(fields.get(b"content-length", 0)))
                self.heard["http/1.1", path] += 1
                self.answered[path] += 1
                said = b"by HTTP/1.1 " + path.encode() + body
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))


def reset_it(server: Server, stream: int) -> bool:
    """This request shall come by HTTP/1.1; the others may be answered here."""
    if server.paths[stream] != "/old":
        return False
    server.connection.reset_stream(stream, h2.HTTP_1_1_REQUIRED)
    return True


def end_it(server: Server, stream: int) -> bool:
    """The line ends with the request that shall come by HTTP/1.1: nothing from it on was processed."""
    if server.over or server.paths[stream] == "/old":
        if not server.over:
            server.flush()
            code = h2.HTTP_1_1_REQUIRED
            server.sock.sendall(h2.frame(h2.GOAWAY, 0, 0, max(0, stream - 2).to_bytes(4) + code.to_bytes(4)))
            server.over = True
        return True
    return False


@pytest.mark.parametrize("refuse", [reset_it, end_it])
@pytest.mark.parametrize(("workers", "streams", "old"), [(1, 5, 0), (1, 5, 3), (REFUSALS + 4, 1, 8)])
def test_http1_is_required(certs: Certs, refuse: Any, workers: int, streams: int, old: int) -> None:
    """The request is answered by HTTP/1.1 on a new line, exactly once; so is all that comes later to that place.

    Also where there are many lines of HTTP/2: it is not sent on one after the other of them.
    """
    server = Both(refuse, workers)
    with ScriptedPeer(server, tls=certs.server_context(alpn=["h2", "http/1.1"])) as peer:
        with rig(workers, streams, ca=certs.ca) as run:
            place = peer.url.replace("127.0.0.1", "localhost")
            for _ in range(workers):
                run.ask(f"{place}warm")
            run.run()
            paths = ["old" if number == old else str(number) for number in range(20)]
            for path in paths:
                run.ask(place + path, "POST", b"!", meta={"path": path})
            answers = {answer.meta["path"]: answer for answer in run.run()[workers:]}
            later = run.fetch(place + "later")
    assert answers["old"].content == b"by HTTP/1.1 /old!" and answers["old"].version == "1.1"
    assert later.content == b"by HTTP/1.1 /later" and later.version == "1.1"
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(paths, 200)
    assert server.answered == {f"/{path}": 1 for path in (*paths, "later")}
    assert server.heard["http/1.1", "/old"] == server.heard["h2", "/old"] == 1
    assert server.spoken.count("h2") == workers and run.engine.stats.retries > 0


def test_http1_is_required_where_nothing_but_http2_will_do(certs: Certs) -> None:
    server = Both(reset_it)
    with ScriptedPeer(server, tls=certs.server_context(alpn=["h2", "http/1.1"])) as peer:
        with rig(ca=certs.ca) as run:
            answer = run.fetch(peer.url.replace("127.0.0.1", "localhost") + "old", h2c="prior")
    assert answer.status_code == 721 and "HTTP_1_1_REQUIRED" in str(answer.error)
    assert server.spoken == ["h2"]
