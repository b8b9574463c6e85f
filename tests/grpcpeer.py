"""A gRPC peer for tests: the h2 library on a socket, and a function that answers each call."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.settings

Pairs = Iterable[tuple[str, str]]


class Call:
    """What came: ``path``, ``headers`` and the ``messages``, with their flags taken off (none is compressed)."""

    def __init__(self, headers: Any):
        pairs = [(name.decode(), value.decode()) for name, value in headers]
        self.headers = dict(pairs)
        self.path = self.headers[":path"]
        self.body = b""

    @property
    def messages(self) -> list[bytes]:
        messages, rest = [], self.body
        while rest:
            flag, size = struct.unpack_from(">BI", rest)
            assert flag == 0
            messages.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return messages


class Reply:
    """What is answered. ``body`` instead of ``messages`` for what is none; ``reset`` ends the stream by that code."""

    def __init__(
        self,
        *messages: bytes,
        trailers: Pairs = (("grpc-status", "0"),),
        headers: Pairs = ((":status", "200"), ("content-type", "application/grpc")),
        body: bytes | None = None,
        reset: int | None = None,
    ):
        framed = b"".join([struct.pack(">BI", 0, len(message)) + message for message in messages])
        self.body = framed if body is None else body
        self.headers = list(headers)
        self.trailers = list(trailers)
        self.reset = reset


class GrpcPeer:
    """``answer(call)`` gives a Reply, or None: then nothing is said. ``calls`` is what came, in order."""

    def __init__(self, answer: Callable[[Call], Reply | None]):
        self._answer = answer
        self.calls: list[Call] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lines: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.lines = 0

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for line in self._lines:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads[1:]:
            thread.join()
        for line in self._lines:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.lines += 1
            self._lines.append(line)
            thread = threading.Thread(target=self._serve, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, line: socket.socket) -> None:
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        conn.initiate_connection()
        calls: dict[int, Call] = {}
        try:
            line.sendall(conn.data_to_send())
            while data := line.recv(65536):
                for event in conn.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        assert event.stream_id is not None
                        calls[event.stream_id] = Call(event.headers)
                    elif isinstance(event, h2.events.DataReceived):
                        assert event.stream_id is not None and event.data is not None
                        conn.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                        calls[event.stream_id].body += event.data
                    elif isinstance(event, h2.events.StreamEnded):
                        assert event.stream_id is not None
                        self._reply(conn, event.stream_id, calls.pop(event.stream_id))
                line.sendall(conn.data_to_send())
        except OSError:
            return

    def _reply(self, conn: Any, stream: int, call: Call) -> None:
        self.calls.append(call)
        reply = self._answer(call)
        if reply is None:
            return
        if reply.reset is not None:
            conn.reset_stream(stream, reply.reset)
            return
        only = not reply.body and not reply.trailers
        conn.send_headers(stream, reply.headers, end_stream=only)
        if only:
            return
        for at in range(0, len(reply.body), 16384):
            conn.send_data(stream, reply.body[at : at + 16384])
        if reply.trailers:
            conn.send_headers(stream, reply.trailers, end_stream=True)
        else:
            conn.end_stream(stream)
