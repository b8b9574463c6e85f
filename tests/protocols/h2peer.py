"""A server of HTTP/2 in memory: the h2 library, as the judge of what our wire sends, and frames written by hand.

    talk = Talk()
    x = talk.ask()
    talk.answer(1, body=b"hello")
    assert x.body == b"hello"

Every byte that our wire sends goes through h2, which raises where a rule of RFC 9113 is broken.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import Settings
from hyperframe.frame import Frame

from aquests.exchange import Exchange
from aquests.protocols import SCHEMES
from aquests.protocols import h2frames as h2
from aquests.protocols.h2head import Origin
from aquests.protocols.http2 import Http2
from tests.conformance import Harness
from tests.helpers import random_cuts
from tests.loopback import exchange

SETTINGS = h2.frame(h2.SETTINGS, 0, 0, b"")
"""What a server says first."""
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
"""What it says before that on a line that began with HTTP/1.1."""
ACK = h2.frame(h2.SETTINGS, h2.ACK, 0, b"")
DEFAULTS = (("Host", "peer"), ("Accept", "*/*"))


def origin(streams: int = 10) -> Origin:
    return Origin("http", "peer", DEFAULTS, streams)


def place(scheme: str = "http", **options: Any) -> Any:
    """An endpoint, as much of it as the choice of a wire looks at."""
    return SimpleNamespace(
        scheme=scheme, spec=SCHEMES[scheme], options=options, host_header="peer", lane="HTTP/1.1", version="1.1"
    )


class Asked:
    """A request as the server has it."""

    def __init__(self, fields: Iterable[tuple[str, str]]):
        self.fields = dict(fields)
        self.body = b""
        self.ended = False
        self.reset: int | None = None


class Talk:
    """Our wire and a server that obeys the rules. Bytes are passed to and fro until both are silent.

    ``asked``: the requests by stream. ``credit=False``: the server gives no window back by itself.
    ``settings``: what the server says first.
    """

    def __init__(
        self,
        streams: int = 10,
        settings: dict[int, int] | None = None,
        *,
        credit: bool = True,
        seed: int | None = None,
        place: Origin | None = None,
    ):
        self.wire = Http2(place or origin(streams))
        self.harness = Harness(self.wire)
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        initial: Any = {2: 0} | (settings or {})
        self.server.local_settings = Settings(client=False, initial_values=initial)
        self.asked: dict[int, Asked] = {}
        self.events: list[Event] = []
        self.goaway: ConnectionTerminated | None = None
        self._credit = credit
        self._chance = None if seed is None else random.Random(seed)
        self._waiting: dict[int, tuple[bytes, Any]] = {}
        self.harness.open()
        self.server.initiate_connection()
        self.pump()

    def ask(self, payload: Any = None, **options: Any) -> Exchange:
        """Submit a request, and let the server see it."""
        x = exchange(payload, **options)
        self.harness.submit(x)
        self.pump()
        return x

    def pump(self) -> None:
        """Until nothing is under way."""
        while True:
            ours, self.harness.sent[:] = b"".join(self.harness.sent), []
            if ours:
                for event in self.server.receive_data(ours):
                    self._note(event)
            self._flush()
            theirs = self.server.data_to_send()
            if not ours and not theirs:
                return
            self.harness.feed([theirs] if self._chance is None else random_cuts(theirs, self._chance))

    def _note(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, RequestReceived):
            assert event.headers is not None and event.stream_id is not None
            self.asked[event.stream_id] = Asked((str(name), str(value)) for name, value in event.headers)
        elif isinstance(event, DataReceived):
            assert event.stream_id is not None and event.data is not None
            self.asked[event.stream_id].body += event.data
            if self._credit:
                self.give(event.stream_id, event.flow_controlled_length or 0)
        elif isinstance(event, StreamEnded):
            assert event.stream_id is not None
            self.asked[event.stream_id].ended = True
        elif isinstance(event, StreamReset):
            assert event.stream_id is not None
            self.asked[event.stream_id].reset = int(event.error_code or 0)
            self._waiting.pop(event.stream_id, None)
        elif isinstance(event, ConnectionTerminated):
            self.goaway = event

    def give(self, stream: int, size: int) -> None:
        """Give window back, for a stream that may be over, and for the line."""
        if size:
            self.server.acknowledge_received_data(size, stream)

    def answer(
        self,
        stream: int,
        status: int = 200,
        fields: Iterable[tuple[str, str | bytes]] = (),
        body: bytes = b"",
        trailers: Iterable[tuple[str, str]] = (),
        padding: int | None = None,
    ) -> None:
        """Answer a request, as fast as the windows let it."""
        self.server.send_headers(stream, [(":status", str(status)), *fields], end_stream=not body and not trailers)
        if body or trailers:
            self._waiting[stream] = (body, (list(trailers), padding))
        self.pump()

    def _flush(self) -> None:
        for stream, (body, (trailers, padding)) in list(self._waiting.items()):
            extra = 0 if padding is None else padding + 1
            while body:
                window = self.server.local_flow_control_window(stream)
                size = min(window, self.server.max_outbound_frame_size) - extra
                if size <= 0:
                    break
                last = size >= len(body) and not trailers
                self.server.send_data(stream, body[:size], end_stream=last, pad_length=padding)
                body = body[size:]
            self._waiting[stream] = (body, (trailers, padding))
            if not body:
                if trailers:
                    self.server.send_headers(stream, trailers, end_stream=True)
                del self._waiting[stream]

    def say(self, *frames: bytes) -> None:
        """Bytes that the judge knows nothing of; what our wire answers stays in ``harness.sent``."""
        self.harness.feed([b"".join(frames)] if self._chance is None else random_cuts(b"".join(frames), self._chance))


class Bare:
    """Our wire and frames written by hand; what it sends is taken apart."""

    def __init__(self, streams: int = 10, greet: bool = True, settings: tuple[tuple[int, int], ...] = ()):
        self.wire = Http2(origin(streams))
        self.harness = Harness(self.wire)
        self.encoder = hpack.Encoder()
        self.harness.open()
        if greet:
            self.say(h2.frame(h2.SETTINGS, 0, 0, h2.settings(settings)))
        self.sent()

    def ask(self, payload: Any = None, **options: Any) -> Exchange:
        x = exchange(payload, **options)
        self.harness.submit(x)
        return x

    def say(self, *frames: bytes) -> None:
        self.harness.feed([b"".join(frames)])

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of the frames that were sent since."""
        data, self.harness.sent[:] = b"".join(self.harness.sent).removeprefix(h2.PREFACE), []
        frames = []
        while data:
            high, low, what, number = h2.unpack_head(data, 0)
            end = h2.HEAD + (high << 16 | low)
            frames.append((what >> 8, what & 0xFF, number, data[h2.HEAD : end]))
            data = data[end:]
        return frames

    def goaway(self) -> tuple[int, str]:
        """Code and words of the GOAWAY that was sent last."""
        kind, _, number, payload = self.sent()[-1]
        assert (kind, number) == (h2.GOAWAY, 0)
        last, code, words = h2.read_goaway(payload)
        assert last == 0
        return code, words

    def resets(self) -> dict[int, int]:
        """The streams that were reset since, with their codes."""
        return {number: int.from_bytes(payload) for kind, _, number, payload in self.sent() if kind == h2.RST_STREAM}

    def head(self, stream: int, *fields: tuple[str, str], last: bool = False, status: str | None = "200") -> bytes:
        pairs = [*([(":status", status)] if status is not None else []), *fields]
        flags = h2.END_HEADERS | (h2.END_STREAM if last else 0)
        return h2.frame(h2.HEADERS, flags, stream, self.encoder.encode(pairs))


def parse(data: bytes) -> list[Any]:
    """All frames, by the independent reader."""
    frames = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data)[:9], strict=True)
        frame.parse_body(memoryview(data)[9 : 9 + length])
        frames.append(frame)
        data = data[9 + length :]
    return frames


def answer(stream: int, body: bytes = b"") -> bytes:
    """A whole answer of 200, whatever the header table holds."""
    block = b"\x88\x0f\x0d" + bytes((len(str(len(body))),)) + str(len(body)).encode()
    return h2.headers(block, stream, not body) + (h2.frame(h2.DATA, h2.END_STREAM, stream, body) if body else b"")


def data(stream: int, body: bytes = b"", last: bool = False) -> bytes:
    return h2.frame(h2.DATA, h2.END_STREAM if last else 0, stream, body)


def goaway(last: int, code: int = 0, words: bytes = b"") -> bytes:
    return h2.frame(h2.GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4) + words)
