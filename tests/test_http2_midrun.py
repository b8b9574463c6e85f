"""HTTP/2 as it is promised: what a server may do in the middle of a run, counted by the server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from typing import Any

import pytest
from h2.events import RequestReceived
from h2.settings import SettingCodes, Settings

from aquests.errors import ConnectionEnded
from aquests.protocols import h2frames as h2
from tests.h2server import Server, ask, echo, rig, serve
from tests.peers import ScriptedPeer
from tests.rig import codes


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused waits for microseconds."""
    monkeypatch.setattr("aquests.retry.REFUSAL_PAUSE", 1e-6)


@pytest.mark.parametrize(("workers", "streams"), [(1, 10), (3, 7), (2, 50), (1, 100)])
@pytest.mark.parametrize("twice", [False, True], ids=["at once", "in two steps"])
def test_goaway_delivers_exactly_once(workers: int, streams: int, twice: bool) -> None:
    """Each line processes five, the last of them is answered behind the GOAWAY; the rest goes elsewhere."""
    processed: Counter[str] = Counter()
    lock = threading.Lock()

    def respond(server: Server, stream: int, count: int) -> None:
        if count > 5:
            return  # above the last stream: not processed
        with lock:
            processed[server.paths[stream]] += 1
        if count == 5:
            for last in (h2.MOST, stream) if twice else (stream,):
                server.goaway(last)
        echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig(workers, streams) as run:
        for number in range(100):
            ask(run, peer, number, "POST", b"x")
        assert {answer.content for answer in run.run()} == {b"/%d" % number for number in range(100)}
        assert set(processed.values()) == {1} and len(processed) == 100


def test_what_goaway_covers_is_not_sent_again() -> None:
    """A stream that is not above the last one may have been processed; then the line ends."""
    seen: Counter[str] = Counter()

    def respond(server: Server, stream: int, count: int) -> None:
        seen[server.paths[stream]] += 1
        if server.line == 1 and count == 2:
            server.goaway(stream)
            server.over = True
        else:
            echo(server, stream, count)

    with ScriptedPeer(serve(respond)) as peer, rig(1, 1) as run:
        for number in range(4):
            ask(run, peer, number, "POST", b"x")
        answers = run.run()
        assert codes(answers) == [200, 720, 200, 200] and seen == dict.fromkeys(["/0", "/1", "/2", "/3"], 1)
        assert isinstance(answers[1].error, ConnectionEnded)


def test_a_limit_that_the_server_changes_in_mid_run() -> None:
    """h2 ends the line where there are more streams than it allows; 100, then 2, then 30."""
    most: Counter[int] = Counter()
    held: list[int] = []

    def respond(server: Server, stream: int, count: int) -> None:
        held.append(stream)
        limit = server.connection.local_settings.max_concurrent_streams
        most[limit] = max(most[limit], server.connection.open_inbound_streams)
        if count in (20, 60):
            server.connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2 if count == 20 else 30})
        if len(held) >= min(limit, 10) or count > 80 or limit == 2:
            for number in held:
                echo(server, number, count)
            held.clear()

    with ScriptedPeer(serve(respond)) as peer, rig(1, 50, timeout=2) as run:
        for number in range(200):
            ask(run, peer, number)
        assert set(codes(run.run())) == {200} and peer.connections == 1
        assert most[2] <= 2 < most[30] <= 30


def test_interim_answers_padding_and_trailers() -> None:
    def respond(server: Server, stream: int, count: int) -> None:
        conn = server.connection
        conn.send_headers(stream, [(":status", "100")])
        conn.send_headers(stream, [(":status", "103"), ("link", "</style.css>; rel=preload")])
        conn.send_headers(stream, [(":status", "200"), ("x-own", "1")])
        conn.send_data(stream, b"abc", pad_length=200)
        conn.send_data(stream, b"", pad_length=20)
        conn.send_data(stream, b"def")
        conn.send_headers(stream, [("x-sum", "6"), ("x-sum", "7")], end_stream=True)

    with ScriptedPeer(serve(respond)) as peer, rig() as run:
        for _ in range(3):
            ask(run, peer)
        for answer in run.run():
            assert (answer.status_code, answer.content, answer.version) == (200, b"abcdef", "2.0")
            assert answer.trailers.get_all("X-Sum") == ["6", "7"] and "link" not in answer.headers
        assert peer.connections == 1


@pytest.mark.parametrize("initial", [0, 1, 25_536, 65_535])
def test_uploads_at_the_edge_of_the_windows(initial: int) -> None:
    """Streams begin with ``initial`` and get 40,000 more: bodies that just fit, and ones that are a byte longer."""

    def respond(server: Server, stream: int, count: int) -> None:
        server.answer(stream, str(server.bodies[stream]).encode())

    def handler(sock: socket.socket, number: int) -> None:
        server = Server(sock, number)
        conn = server.connection
        conn.local_settings = Settings(client=False, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: initial})
        receive = conn.receive_data

        def widen(data: bytes) -> list[Any]:
            events = receive(data)
            for event in events:
                if isinstance(event, RequestReceived):
                    conn.increment_flow_control_window(40_000, event.stream_id)
            return events

        conn.receive_data = widen  # type: ignore[method-assign, assignment]
        with contextlib.suppress(ConnectionError):
            server.run(respond)

    sizes = [0, 1, 16_384, 16_385, 40_000, 40_001, 65_535, 65_536, initial, initial + 40_000, initial + 40_001]
    with ScriptedPeer(handler) as peer, rig(1, 4, timeout=3) as run:
        for size in sizes:
            ask(run, peer, "", "PUT", bytes(size))
            ask(run, peer, "", "PUT", iter([bytes(size // 2), bytes(size - size // 2)]))
        assert sorted(int(answer.content) for answer in run.run()) == sorted(sizes * 2)
        assert peer.connections == 1
