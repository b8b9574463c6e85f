"""HTTP/2 without sockets: the wire of ``aquests/protocols/http2.py`` beside the h2 library, in the same role."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from .case import Case, Column, Entry, Job, Outcome

_STREAMS = 10
_BODY = bytes(4096)
_MESSAGE = bytes(1024)
_TRAILERS = [("grpc-status", "0"), ("grpc-message", "")]
_FIELDS = [
    (":status", "200"),
    ("server", "nginx"),
    ("content-type", "text/html"),
    ("content-length", str(len(_BODY))),
]


def ours(job: Job) -> Outcome:
    """Submit ten requests, receive their answers, again and again."""
    from aquests.exchange import Request
    from aquests.protocols.h2head import Origin
    from aquests.protocols.http2 import Http2
    from aquests.settings import Settings

    wire = Http2(Origin("https", "localhost", (("User-Agent", "x"), ("Accept", "*/*")), _STREAMS))
    settings = Settings()
    calls = bool(job.options.get("calls"))
    if calls:
        requests = [Request("POST", "https://localhost/service/method", _MESSAGE) for _ in range(_STREAMS)]
    else:
        requests = [Request("GET", "https://localhost/page") for _ in range(_STREAMS)]
    wire.opened()
    wire.receive(_frame(4, 0, 0, b""))
    answers = _Answers(calls)
    count = 0
    seconds = 0.0
    while count < job.count:
        exchanges = [request.begin(0.0, settings) for request in requests]
        data = answers.next()
        started = perf_counter()
        for x in exchanges:
            wire.submit(x)
        wire.outbox.clear()
        finished = wire.receive(data)
        seconds += perf_counter() - started
        wire.outbox.clear()
        count += sum(x.body == (_MESSAGE if calls else _BODY) for x in finished)
    return {"count": job.count, "us": seconds / count * 1e6}


def library(job: Job) -> Outcome:
    """The same with h2; flow control is its user's duty and done in the same batches."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import DataReceived, StreamEnded

    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    connection.increment_flow_control_window(1 << 24)
    connection.receive_data(_frame(4, 0, 0, b""))
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/page")]
    fields += [("user-agent", "x"), ("accept", "*/*")]
    calls = bool(job.options.get("calls"))
    answers = _Answers(calls)
    count = 0
    seconds = 0.0
    while count < job.count:
        data = answers.next()
        started = perf_counter()
        for _ in range(_STREAMS):
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, fields, end_stream=not calls)
            if calls:
                connection.send_data(stream, _MESSAGE, end_stream=True)
        connection.data_to_send()
        events: list[Any] = connection.receive_data(data)
        for event in events:
            if isinstance(event, DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            count += isinstance(event, StreamEnded)
        connection.data_to_send()
        seconds += perf_counter() - started
    return {"count": job.count, "us": seconds / count * 1e6}


class _Answers:
    """What a server says to the next ten requests: a page each; or a message, with trailers behind it, and the window
    that the requests have used."""

    def __init__(self, calls: bool) -> None:
        from hpack import Encoder

        self._calls = calls
        self._stream = 1
        self._encoder = Encoder()

    def next(self) -> bytes:
        said = _frame(8, 0, 0, (_STREAMS * len(_MESSAGE)).to_bytes(4)) if self._calls else b""
        for _ in range(_STREAMS):
            if self._calls:
                said += _frame(1, 4, self._stream, self._encoder.encode([_FIELDS[0], _FIELDS[2]]))
                said += _frame(0, 0, self._stream, _MESSAGE)
                said += _frame(1, 5, self._stream, self._encoder.encode(_TRAILERS))
            else:
                said += _frame(1, 4, self._stream, self._encoder.encode(_FIELDS)) + _frame(0, 1, self._stream, _BODY)
            self._stream += 2
        return said


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


_CALLS = {"calls": True}

CASE = Case(
    name="h2wire",
    title="HTTP/2 without sockets: requests and answers of 4,096 bytes, ten streams at once",
    entries=(
        Entry("h2", "h2wire:library", package="h2", against=()),
        Entry("aquests", "h2wire:ours", against=("h2",)),
        Entry("h2, calls", "h2wire:library", package="h2", options=_CALLS, against=()),
        Entry("aquests, calls", "h2wire:ours", options=_CALLS, against=("h2, calls",)),
    ),
    columns=(Column("us", "µs/answer", "{:.2f}"),),
    bases=("h2", "h2, calls"),
    count=20_000,
    note="Encoding the request, reading the answer, flow control. One HEADERS and one DATA an answer.\n"
    "Calls are as gRPC has them: a message of 1,024 bytes there and back, and trailers behind the answer.",
)
