"""A server of HTTP/2 in clear on real sockets: the h2 library, and a function that answers each request.

def respond(server: Server, stream: int, count: int) -> None:
    server.answer(stream, b"hello")

with ScriptedPeer(serve(respond)) as peer, rig(workers=2, streams=5) as run:
    ask(run, peer, "path", "POST", b"body")
    run.run()
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded

from aquests.protocols import h2frames as h2
from tests.peers import ScriptedPeer
from tests.rig import Rig

Respond = Callable[["Server", int, int], object]


class Server:
    """One connection served by h2: ``respond(server, stream, nth)`` is called for each whole request, from 1."""

    def __init__(self, sock: socket.socket, line: int):
        self.sock = sock
        self.line = line
        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.paths: dict[int, str] = {}
        self.bodies: Counter[int] = Counter()
        self.over = False

    def answer(self, stream: int, body: bytes = b"ok") -> None:
        self.connection.send_headers(stream, [(":status", "200"), ("content-length", str(len(body)))])
        self.connection.send_data(stream, body, end_stream=True)

    def goaway(self, last: int) -> None:
        """By hand: h2 would not let the streams finish."""
        self.flush()
        self.sock.sendall(h2.frame(h2.GOAWAY, 0, 0, last.to_bytes(4) + bytes(4)))

    def flush(self) -> None:
        self.sock.sendall(self.connection.data_to_send())

    def run(self, respond: Respond) -> None:
        count = 0
        self.sock.settimeout(None)
        self.connection.initiate_connection()
        self.flush()
        while not self.over and (data := self.sock.recv(65536)):
            events = self.connection.receive_data(data)
            if any(isinstance(event, ConnectionTerminated) for event in events):
                return  # nothing can be sent any more
            for event in events:
                if isinstance(event, RequestReceived):
                    assert event.stream_id is not None and event.headers is not None
                    self.paths[event.stream_id] = dict(event.headers)[":path"]  # type: ignore[assignment, index]
                elif isinstance(event, DataReceived):
                    assert event.stream_id is not None and event.data is not None
                    self.bodies[event.stream_id] += len(event.data)
                    self.connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                elif isinstance(event, StreamEnded):
                    assert event.stream_id is not None
                    count += 1
                    respond(self, event.stream_id, count)
            self.flush()


def serve(respond: Respond) -> Callable[[socket.socket, int], None]:
    def handler(sock: socket.socket, number: int) -> None:
        with contextlib.suppress(ConnectionError):  # the client has gone, with something of ours unread
            Server(sock, number).run(respond)

    return handler


def rig(workers: int = 1, streams: int = 10, **settings: Any) -> Rig:
    return Rig(workers=workers, http2_constreams=streams, **settings)


def ask(run: Rig, peer: ScriptedPeer, path: object = "", method: str = "GET", data: Any = None, **options: Any) -> Any:
    return run.ask(f"{peer.url}{path}", method, data, h2c="prior", **options)


def echo(server: Server, stream: int, count: int) -> None:
    server.answer(stream, server.paths[stream].encode())
