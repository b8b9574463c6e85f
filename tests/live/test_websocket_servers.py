"""WebSocket against real servers: the ``websockets`` package, granian and hypercorn, in clear and by TLS."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory as Deflate
from websockets.sync.server import ServerConnection, basic_auth, serve

import aquests
from aquests.errors import WebSocketClosed
from aquests.exchange import Response
from aquests.script import script
from aquests.websockets import PING, PONG
from tests import servers
from tests.certs import Certs
from tests.serving import HOST, Server

MESSAGES: list[str | bytes] = [
    "",
    "hello",
    "é€😀" * 50,
    b"",
    random.Random(5).randbytes(1000),
    "x" * 70_000,
    random.Random(6).randbytes(300_000),
]


@pytest.fixture(autouse=True)
def _quiet(certs: Certs) -> Iterator[None]:
    aquests.configure(4, callback=lambda response: None, trust_env=False, ca=certs.ca)
    yield
    script.engine.hang_up()
    aquests.configure()


def talk(url: str, message: Any, **options: Any) -> Response:
    request = aquests.ws(url, message, **options)
    aquests.fetchall()
    assert request.response is not None
    return request.response


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@contextmanager
def served(handler: Callable[[ServerConnection], None] = echo, **options: Any) -> Iterator[str]:
    """``websockets`` in a thread; gives the URL."""
    with serve(handler, HOST, 0, max_size=None, close_timeout=1, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{'wss' if options.get('ssl') else 'ws'}://{HOST}:{server.socket.getsockname()[1]}/chat"
        script.engine.hang_up()
        server.shutdown()
        thread.join()


def takeover(server: bool, client: bool, bits: int | None = None) -> list[Deflate]:
    return [Deflate(not server, not client, bits, bits)]


@pytest.mark.parametrize(
    "options",
    [
        {"compression": None},
        {"compression": "deflate"},
        {"compression": None, "extensions": takeover(True, True)},
        {"compression": None, "extensions": takeover(False, True)},
        {"compression": None, "extensions": takeover(True, False)},
        {"compression": None, "extensions": takeover(False, False)},
        {"compression": None, "extensions": takeover(True, True, 9)},
    ],
    ids=["plain", "default", "both", "client", "server", "none", "window of 512"],
)
@pytest.mark.parametrize(
    "offer", [True, False, "", "server_no_context_takeover; client_no_context_takeover", "client_max_window_bits=10"]
)
def test_messages_come_back(options: dict[str, Any], offer: bool | str) -> None:
    with served(**options) as url:
        requests = [aquests.ws(url, message, compression=offer) for message in MESSAGES * 2]
        aquests.fetchall()
        for request, message in zip(requests, MESSAGES * 2, strict=True):
            assert request.response is not None and request.response.data == message


def test_over_tls(certs: Certs) -> None:
    with served(ssl=certs.server_context()) as url:
        requests = [aquests.wss(url, message) for message in MESSAGES]
        aquests.fetchall()
        assert [request.response and request.response.data for request in requests] == MESSAGES
    with served(ssl=certs.server_context(certs.expired)) as url:
        assert talk(url, "x").status_code == 713


def test_the_same_answers_as_websocket_client() -> None:
    """An independent client at the same server hears the same."""
    with served() as url:
        line = websocket.create_connection(url, timeout=5)
        for message in MESSAGES:
            line.send(message, websocket.ABNF.OPCODE_TEXT if isinstance(message, str) else websocket.ABNF.OPCODE_BINARY)
            opcode, data = line.recv_data()
            ours = talk(url, message)
            assert (ours.opcode, ours.content) == (opcode, data)
        line.close()


def test_closes_as_websocket_client_sees_them() -> None:
    def leave(connection: ServerConnection) -> None:
        connection.recv()
        connection.close(4001, "go away")

    with served(leave) as url:
        line = websocket.create_connection(url, timeout=5)
        line.send("x")
        opcode, data = line.recv_data()
        line.shutdown()
        ours = talk(url, "x")
        assert isinstance(ours.error, WebSocketClosed) and ours.opcode == -1
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        assert data == ours.error.close_code.to_bytes(2, "big") + ours.error.close_reason.encode()


def test_our_goodbye_is_clean() -> None:
    ends: list[Any] = []

    def handler(connection: ServerConnection) -> None:
        echo(connection)  # ends quietly only by a CLOSE 1000 or 1001
        ends.append(connection.protocol.close_rcvd)

    with served(handler) as url:
        assert talk(url, "x").data == "x"
        script.engine.hang_up()
    assert [end.code for end in ends] == [1000]


def test_pings_both_ways() -> None:
    def handler(connection: ServerConnection) -> None:
        for message in connection:
            assert connection.ping("are you there?").wait(5), "no pong"
            connection.send(message)

    with served(handler) as url:
        assert talk(url, "after a ping").data == "after a ping"
        ping = talk(url, (PING, b"and you?"))
        assert (ping.data, ping.opcode) == (b"and you?", PONG)


def test_fragments_from_the_server() -> None:
    def handler(connection: ServerConnection) -> None:
        for message in connection:
            assert isinstance(message, str)
            connection.send(message[at : at + 7] for at in range(0, len(message), 7))

    with served(handler) as url:
        assert talk(url, "é€😀 in pieces" * 20).data == "é€😀 in pieces" * 20


def test_subprotocols_and_authentication() -> None:
    options: dict[str, Any] = {"subprotocols": ["b", "c"], "process_request": basic_auth(credentials=("user", "word"))}
    with served(**options) as url:
        response = talk(url, "x", subprotocols=["a", "b"], auth=("user", "word"))
        assert (response.data, response.headers["sec-websocket-protocol"]) == ("x", "b")
        refused = talk(url, "x", subprotocols=["b"], auth=("user", "wrong"))
        assert (refused.status_code, refused.ok) == (401, False)


def test_ten_thousand_messages_over_a_few_lines() -> None:
    with served() as url:
        heard: list[bool] = []

        def answered(response: Response) -> None:
            heard.append(response.data == response.meta["said"])

        for number in range(10_000):
            aquests.ws(url, f"{number}", callback=answered, meta={"said": f"{number}"})
        report = aquests.fetchall()
        assert report.ok and len(heard) == 10_000 and all(heard)


@pytest.mark.parametrize("start", [servers.granian, servers.hypercorn])
def test_asgi_servers(start: Callable[..., AbstractContextManager[Server]], tmp_path: Path, certs: Certs) -> None:
    for clear in (True, False):
        with start(tmp_path, None if clear else certs) as server:
            url = f"ws://{HOST}:{server.port}/ws" if clear else f"wss://{HOST}:{server.tls_port}/ws"
            requests = [aquests.ws(url, message) for message in MESSAGES]
            aquests.fetchall()
            assert [request.response and request.response.data for request in requests] == MESSAGES, server.log()
            script.engine.hang_up()
