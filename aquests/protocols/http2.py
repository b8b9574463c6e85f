"""HTTP/2 as a wire (RFC 9113): many exchanges on one line, each a stream.

What could go wrong, and what was chosen:

- A peer that breaks the rules ends the line: a ``Fault`` is raised wherever it is noticed, a GOAWAY says why,
  and what is in flight fails with ConnectionEnded. Where only an answer is malformed, only its stream fails.
- Frames of a stream that we have reset are under way for a while. They are read (the header table depends on
  them), counted against both windows, and dropped; the window of the line is given back.
- Frames that carry nothing (PING, SETTINGS, empty DATA …) cost the peer little and us an answer: between two
  finished answers, or half a window of data, ``PATIENCE`` of them are taken.
- A line on which nothing came since a request was sent may be dead without anybody having said so. When that
  request is given up the line takes no new ones: they would all wait as long.
- Requests the peer certainly did not process (GOAWAY below them, REFUSED_STREAM) are ``untouched``: the engine
  sends them again.

A request and its answer, one HEADERS and one DATA, cost about 1.5 µs here, and 70 with the h2 library
(``benchmarks/h2wire.py``). What the hot path uses of ``h2frames`` is imported by name: an attribute of a module
costs 20 ns each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from ..errors import AquestsError, ConnectionEnded, PeerClosed, ProtocolError, StreamReset
from . import h2frames as h2
from .h2frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    LEAST_FRAME,
    MOST,
    PADDED,
    WITH_PRIORITY,
    Fault,
    HeaderBlock,
    unpack_head,
)
from .h2greeting import GREETING, RECEIVE_WINDOW
from .h2head import TRAILERS, UNSAID, Origin, Repeated
from .h2hpack import EMPTY_TABLE, Decoder
from .h2stream import Departed, Stream
from .h2upload import Uploads
from .http1 import BODY_EXPECTED, defaults
from .http1head import CLOSE

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs
    from .h2head import Fields

_HALF: Final = RECEIVE_WINDOW // 2
_ENOUGH: Final = _HALF + LEAST_FRAME
_LAST: Final = END_HEADERS | END_STREAM
PATIENCE: Final = 10_000
"""Frames that carry nothing, taken in succession."""
MAX_RESETS: Final = 1000
"""Streams reset by the peer in succession, without one answer between them."""

_SETTINGS_ACK: Final = h2.frame(h2.SETTINGS, h2.ACK, 0, b"")
_NOTHING: Final[tuple[Exchange, ...]] = ()


def lines(place: Any, extra: Pairs, settings: Any, demote: Callable[[], None] | None) -> Callable[[str | None], Http2]:
    """What makes the wires of lines to ``place`` (an Endpoint), with ``settings.http2_constreams`` streams each."""
    origin = Origin(place.scheme, place.host_header, defaults(place, extra), settings.http2_constreams, demote)
    return lambda alpn: Http2(origin)


class Http2:
    """The client side of one HTTP/2 line."""

    __slots__ = (
        "_block",
        "_credit",
        "_cut",
        "_decoder",
        "_departed",
        "_finished",
        "_fresh",
        "_goodbye",
        "_greeted",
        "_heard",
        "_last",
        "_limit",
        "_most_frame",
        "_next",
        "_origin",
        "_patience",
        "_repeated",
        "_resets",
        "_rest",
        "_streams",
        "_uploads",
        "begun",
        "error",
        "hungry",
        "inflight",
        "outbox",
        "reusable",
        "room",
    )

    def __init__(self, origin: Origin):
        self.outbox: list[bytes] = []
        self.room = 0
        self.reusable = True
        self.error: AquestsError | None = None
        self.hungry = False
        self.begun: list[Exchange] = []
        self.inflight: dict[Exchange, Stream] = {}
        self._streams: dict[int, Stream] = {}
        self._finished: list[Exchange] = []
        self._fresh: list[Exchange] = []
        """Exchanges whose first byte came within this ``receive``."""
        self._origin = origin
        self._decoder = Decoder(origin.fields)
        self._cut: tuple[int, int, int] | None = None
        """A DATA frame of which the end is still to come."""
        self._rest = b""
        """The beginning of a frame that is not all here."""
        self._greeted = False
        self._limit = 1
        """Streams at once. Before the peer's SETTINGS one is certainly not too many."""
        self._next = 1
        self._heard = 1
        """The stream that would have been next when something came last."""
        self._repeated: dict[str, Repeated] = {}
        """The origin's, as soon as a header block was sent."""
        self._most_frame = h2.LEAST_FRAME
        self._credit = RECEIVE_WINDOW
        """What the peer may still send on the line as a whole."""
        self._uploads = Uploads()
        self._block: HeaderBlock | None = None
        """A header block that is not all here."""
        self._departed = Departed()
        self._patience = PATIENCE
        self._resets = 0
        self._last = h2.MOST
        """The last stream the peer will process, by its GOAWAY."""
        self._goodbye = ""
        """What the peer's GOAWAY said."""

    def opened(self) -> None:
        self.outbox.append(GREETING)
        self._count_room()

    def goodbye(self) -> None:
        self.outbox.append(h2.goaway(h2.NO_ERROR))

    def adopt(self, x: Exchange) -> None:
        """Go on with a request that was sent by HTTP/1.1: it is stream 1 (RFC 7540 3.2). Called before ``opened``."""
        self._enter(x)

    # Out

    def submit(self, x: Exchange) -> None:
        """The hot path. A request like one before it is there in bytes, but for the number of its stream."""
        known = self._repeated.get(x.url)
        payload = x.payload
        if known is None or known.method != x.method or known.headers != x.headers:
            self._submit_new(x)
        elif payload is None and known.alone:
            self.outbox.append(known.alone + self._enter(x).number.to_bytes(4) + known.block)
        elif payload.__class__ is bytes and 0 < (size := len(payload)) <= LEAST_FRAME and self._uploads.grant(size):
            ahead, between = known.bodies.get(size) or known.with_body(size)
            stream = self._enter(x)
            stream.window -= size
            number = stream.number.to_bytes(4)
            self.outbox += (ahead, number, between, number, payload)
        else:
            self._submit_body(x, known.block)
        self.room -= 1

    def _submit_new(self, x: Exchange) -> None:
        origin = self._origin
        block = origin.request(x)
        alone = x.method not in BODY_EXPECTED
        origin.repeat(x, block, alone)
        if alone and x.payload is None:
            self.outbox.append(h2.headers(self._led(block), self._enter(x).number, True, self._most_frame))
        else:
            self._submit_body(x, self._led(block))

    def _submit_body(self, x: Exchange, block: bytes) -> None:
        self._uploads.begin(self.outbox, self._enter(x), block, x.payload, self._most_frame)
        self.hungry = self._uploads.hungry()

    def _led(self, block: bytes) -> bytes:
        """The first block of a line begins in its own way."""
        if self._repeated is self._origin.repeated:
            return block
        self._repeated = self._origin.repeated
        return EMPTY_TABLE + block

    def _enter(self, x: Exchange) -> Stream:
        number = self._next
        self._next = number + 2
        stream = self._streams[number] = self.inflight[x] = Stream(number, x, RECEIVE_WINDOW, self._uploads.initial)
        return stream

    def produce(self) -> Sequence[Exchange]:
        for stream, error in self._uploads.produce(self.outbox):
            self._fail(stream, error)
        self.hungry = self._uploads.hungry()
        self._count_room()
        return self._take_finished()

    # In

    def receive(self, data: bytes) -> Sequence[Exchange]:
        """The hot path. Done in place: a header block in one frame, and the body of an answer in one frame."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        streams = self._streams
        plain = self._greeted and self._block is None
        try:
            if self._cut is not None:
                at = self._go_on(self._cut, data)
            while end - at >= HEAD:
                high, low, kind, flags, number = unpack_head(data, at)
                length = high << 16 | low
                start = at + HEAD
                at = start + length
                if plain and at <= end and length <= LEAST_FRAME and (stream := streams.get(number)) is not None:
                    x = stream.x
                    if kind == DATA:
                        if flags == END_STREAM and stream.left == length and not stream.first and not stream.uploading:
                            self._credit -= length
                            if self._credit < _HALF:
                                self._give_credit()
                            x.progress += length
                            x.body = data[start:at]
                            self._resets = 0  # as _answered does
                            self._patience = PATIENCE
                            del streams[number]
                            del self.inflight[x]
                            self._finished.append(x)
                            continue
                        if stream.body is not None and not flags:
                            self._data(0, number, memoryview(data)[start:at])
                            continue
                        if not flags and 0 < length <= stream.left and not stream.first and stream.credit > _ENOUGH:
                            self._credit -= length
                            if self._credit < _HALF:
                                self._give_credit()
                            x.progress += length
                            stream.credit -= length
                            stream.left -= length
                            stream.first = data[start:at]
                            continue
                    elif kind == HEADERS and flags == END_HEADERS:
                        fields = self._decoder.decode(data[start:at])
                        if not x.progress:
                            x.progress = 1
                            self._fresh.append(x)
                        if stream.left < 0 <= fields.length <= x.max_content and x.method != "HEAD":
                            x.head = fields.head
                            stream.left = fields.length
                        elif fields.length == UNSAID and stream.left < 0 and x.method != "HEAD":
                            x.head = fields.head
                            stream.left = x.max_content
                        else:
                            self._take_fields(stream, fields, False)
                        continue
                    elif kind == HEADERS and flags == _LAST and stream.left >= 0:
                        fields = self._decoder.decode(data[start:at])
                        if (
                            fields.length == TRAILERS
                            and stream.body is None
                            and not stream.uploading
                            and (not stream.left or x.head.framing == CLOSE)  # type: ignore[union-attr]
                        ):
                            x.trailers = fields.pairs
                            x.body = stream.first
                            self._answered(stream)
                        else:
                            self._take_fields(stream, fields, True)
                        continue
                if not self._greeted:
                    self._check_greeting(data, kind, flags)
                if length > LEAST_FRAME:
                    raise Fault(h2.FRAME_SIZE_ERROR, f"a frame of {length:,} bytes, {LEAST_FRAME:,} are allowed")
                if at > end:
                    at = start - HEAD
                    stream = streams.get(number) if plain and kind == DATA and flags <= END_STREAM else None
                    if stream is not None and stream.body is not None:
                        self._cut = (flags, number, length)
                        at = start + self._go_on(self._cut, memoryview(data)[start:])
                    break
                if self._block is not None and kind != CONTINUATION:
                    raise Fault(h2.PROTOCOL_ERROR, "another frame within a header block")
                take = _TAKES[kind] if kind < len(_TAKES) else Http2._unknown
                take(self, flags, number & MOST, data[start:at])
                plain = self._block is None
        except Fault as fault:
            return self._end_line(fault)
        self._rest = data[at:]
        self._heard = self._next
        if self._fresh:
            self._note_begun()
        self._count_room()
        return self._take_finished()

    def _go_on(self, cut: tuple[int, int, int], data: bytes | memoryview) -> int:
        """More of a DATA frame: flags, stream, bytes still to come. Returns how many of ``data`` belong to it.

        In a body of many frames one that is not all here is taken as it comes: nothing of it need be kept.
        """
        flags, number, left = cut
        size = min(left, len(data))
        if size < left:
            self._cut = (flags, number, left - size)
            flags = 0
        else:
            self._cut = None
        if size:
            self._data(flags, number, memoryview(data)[:size])
        return size

    def _take_finished(self) -> Sequence[Exchange]:
        finished = self._finished
        if not finished:
            return _NOTHING
        self._finished = []
        return finished

    def _note_begun(self) -> None:
        self.begun += [x for x in self._fresh if x in self.inflight]
        self._fresh.clear()

    def _check_greeting(self, data: bytes, kind: int, flags: int) -> None:
        """The peer speaks first by SETTINGS (3.4)."""
        if kind != h2.SETTINGS or flags & h2.ACK:
            raise Fault(h2.PROTOCOL_ERROR, f"it does not speak HTTP/2 but {data[:HEAD]!r}")

    def _end_line(self, fault: Fault) -> Sequence[Exchange]:
        """The line is dead; the channel will ask for what is in flight by ``abandon``."""
        message = f"the server broke the rules of HTTP/2: {fault.message} ({h2.code_name(fault.code)})"
        self.error = ConnectionEnded(message, phase="answer")
        self.outbox.append(h2.goaway(fault.code, fault.message))
        self._retire()
        self.hungry = False
        self._rest = b""
        self._note_begun()
        return self._take_finished()

    # Frames, one method for each kind

    def _data(self, flags: int, number: int, payload: bytes | memoryview) -> None:
        """6.1. The hot path."""
        length = len(payload)
        self._credit -= length
        if self._credit < _HALF:
            self._give_credit()
        stream = self._streams.get(number)
        if stream is None:
            self._stray(number, flags & END_STREAM, length)
            return
        stream.credit -= length
        if stream.credit < 0:
            raise Fault(h2.FLOW_CONTROL_ERROR, "more data than the window of the stream")
        if flags & PADDED:
            payload = h2.unpad(bytes(payload))
        if payload:
            error = stream.add(payload)
            if error is not None:
                self._fail(stream, error)
                return
            stream.x.progress += length
        if flags & END_STREAM:
            self._finish(stream)
            return
        if not payload:
            self._tolerate("empty DATA")
        if stream.credit < _HALF:
            self.outbox.append(h2.window_update(number, RECEIVE_WINDOW - stream.credit))
            stream.credit = RECEIVE_WINDOW

    def _give_credit(self) -> None:
        """Half of the line's window is used."""
        if self._credit < 0:
            raise Fault(h2.FLOW_CONTROL_ERROR, "more data than the window of the line")
        self.outbox.append(h2.window_update(0, RECEIVE_WINDOW - self._credit))
        self._credit = RECEIVE_WINDOW
        self._patience = PATIENCE

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        """6.2."""
        if flags & (PADDED | WITH_PRIORITY):
            payload = h2.header_fragment(flags, payload)
        if flags & END_HEADERS:
            self._take_block(flags, number, payload)
        else:
            self._block = HeaderBlock(flags, number, payload)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        """6.10."""
        block = self._block
        if block is None:
            raise Fault(h2.PROTOCOL_ERROR, "CONTINUATION of nothing")
        if block.add(flags, number, payload):
            self._block = None
            self._take_block(block.flags, number, block.data)

    def _take_block(self, flags: int, number: int, block: bytes) -> None:
        """A whole header block. It is decoded even if its stream is no more."""
        fields = self._decoder.decode(block)
        stream = self._streams.get(number)
        if stream is None:
            return self._stray(number, flags & END_STREAM)
        x = stream.x
        if not x.progress:
            x.progress = 1
            self._fresh.append(x)
        self._take_fields(stream, fields, flags & END_STREAM != 0)

    def _take_fields(self, stream: Stream, fields: Fields, last: bool) -> None:
        """What a header block says of its stream."""
        error = stream.take(fields, last)
        if error is not None:
            self._fail(stream, error)
        elif last:
            self._finish(stream)

    def _rst_stream(self, flags: int, number: int, payload: bytes) -> None:
        """6.4."""
        code = h2.read_number("RST_STREAM", payload)
        stream = self._streams.get(number)
        if stream is None:
            self._check_number(number)
            self._departed.forget(number)
            self._tolerate("RST_STREAM")
            return
        self._resets += 1
        x = stream.x
        x.untouched = code == h2.REFUSED_STREAM or self._origin.wants_http1(code)
        name = h2.code_name(code)
        x.error = StreamReset(f"the server reset the stream ({name})", h2_name=name, phase="answer")
        self._leave(stream)
        if code == h2.HTTP_1_1_REQUIRED:
            self._retire()
        if self._resets > MAX_RESETS:
            raise Fault(h2.ENHANCE_YOUR_CALM, f"over {MAX_RESETS:,} streams reset in succession")

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        """6.5."""
        h2.check_line("SETTINGS", number)
        self._tolerate("SETTINGS")
        if flags & h2.ACK:
            h2.check_size("SETTINGS with an ACK", payload, 0)
            return
        if not self._greeted:
            self._greeted = True
            self._limit = self._origin.streams
        for name, value in h2.read_settings(payload):
            if name == h2.MAX_CONCURRENT_STREAMS:
                self._limit = min(self._origin.streams, value)
            elif name == h2.INITIAL_WINDOW_SIZE:
                self._uploads.change(value, self._streams.values())
            elif name == h2.MAX_FRAME_SIZE:
                self._most_frame = value
        self.outbox.append(_SETTINGS_ACK)
        self.hungry = self._uploads.hungry()

    def _window_update(self, flags: int, number: int, payload: bytes) -> None:
        """6.9."""
        more = h2.read_number("WINDOW_UPDATE", payload) & h2.MOST
        if not more:
            raise Fault(h2.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        stream = self._streams.get(number)
        if stream is not None or number == 0:
            self._uploads.widen(stream, more)
        else:
            self._check_number(number)
        if self._uploads:
            self.hungry = self._uploads.hungry()
        else:
            self._tolerate("WINDOW_UPDATE")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        """6.7."""
        h2.check_line("PING", number)
        h2.check_size("PING", payload, 8)
        self._tolerate("PING")
        if not flags & h2.ACK:
            self.outbox.append(h2.frame(h2.PING, h2.ACK, 0, payload))

    def _goaway(self, flags: int, number: int, payload: bytes) -> None:
        """6.8. Streams above the last one were not processed; the others go on."""
        h2.check_line("GOAWAY", number)
        last, code, said = h2.read_goaway(payload)
        if last > self._last:
            raise Fault(h2.PROTOCOL_ERROR, f"GOAWAY with stream {last} after {self._last}")
        self._tolerate("GOAWAY")
        self._last = last
        self._origin.wants_http1(code)
        self._goodbye = f"the server ended the connection ({h2.code_name(code)}{f': {said}' if said else ''})"
        self._retire()
        for stream in [stream for stream in self._streams.values() if stream.number > last]:
            stream.x.untouched = True
            stream.x.error = ConnectionEnded(self._goodbye, phase="answer")
            self._leave(stream)

    def _priority(self, flags: int, number: int, payload: bytes) -> None:
        """6.3. Deprecated, and nothing for a client."""
        if not number:
            raise Fault(h2.PROTOCOL_ERROR, "PRIORITY on stream 0")
        h2.check_size("PRIORITY", payload, 5)
        self._tolerate("PRIORITY")

    def _push_promise(self, flags: int, number: int, payload: bytes) -> None:
        """6.6. We have said that we take none."""
        raise Fault(h2.PROTOCOL_ERROR, "PUSH_PROMISE, which was refused")

    def _unknown(self, flags: int, number: int, payload: bytes) -> None:
        """Extensions are ignored (5.5)."""
        self._tolerate("frames of unknown kinds")

    def _tolerate(self, what: str) -> None:
        """A frame that carries nothing."""
        self._patience -= 1
        if self._patience < 0:
            raise Fault(h2.ENHANCE_YOUR_CALM, f"a flood of {what}")

    # Streams that are no more

    def _check_number(self, number: int) -> None:
        """A frame for a stream that is not open: was it ever? (5.1, 5.1.1)"""
        if number % 2 == 0 or number >= self._next:
            raise Fault(h2.PROTOCOL_ERROR, f"a frame for stream {number}, which was never opened")

    def _stray(self, number: int, last: int, length: int = 0) -> None:
        """DATA or HEADERS for a stream that is not open."""
        self._check_number(number)
        self._departed.take(number, last, length)
        if not length:
            self._tolerate("frames for a stream that was reset")

    # The end of an exchange

    def _finish(self, stream: Stream) -> None:
        """All of the answer is here (END_STREAM)."""
        error = stream.end()
        if error is not None:
            self._fail(stream, error)
            return
        if stream.uploading:
            self.outbox.append(h2.rst_stream(stream.number, h2.CANCEL))  # nobody needs the rest of the upload
            self._uploads.remove(stream)
            self.hungry = self._uploads.hungry()
        self._answered(stream)

    def _answered(self, stream: Stream) -> None:
        """The hot path. As ``_leave``, of a stream whose request is all sent."""
        x = stream.x
        self._resets = 0
        self._patience = PATIENCE
        del self._streams[stream.number]
        del self.inflight[x]
        self._finished.append(x)

    def _fail(self, stream: Stream, error: AquestsError) -> None:
        """This exchange has an error; the others go on."""
        stream.x.error = error
        self._send_reset(stream, h2.PROTOCOL_ERROR if isinstance(error, ProtocolError) else h2.CANCEL)
        self._leave(stream)

    def _send_reset(self, stream: Stream, code: int) -> None:
        self.outbox.append(h2.rst_stream(stream.number, code))
        self._departed.remember(stream)

    def _leave(self, stream: Stream) -> None:
        self._drop(stream)
        self._finished.append(stream.x)

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream.number]
        del self.inflight[stream.x]
        if stream.uploading:
            self._uploads.remove(stream)
            self.hungry = self._uploads.hungry()

    def cancel(self, x: Exchange) -> bool:
        """The server is told; the line survives, unless it seems dead: then it takes nothing new."""
        stream = self.inflight.get(x)
        if stream is not None:
            self._send_reset(stream, h2.CANCEL)
            self._drop(stream)
            if stream.number >= self._heard:
                self._retire()
            self._count_room()
        return True

    def receive_eof(self) -> Sequence[Exchange]:
        error: AquestsError
        if self._goodbye:
            error = ConnectionEnded(f"{self._goodbye} and closed the line before the answer", phase="answer")
        else:
            error = PeerClosed("the server closed the line before the end of the answer", phase="answer")
        return self.abandon(error)

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        self._retire()
        self.hungry = False
        self.outbox.clear()
        lost = list(self.inflight)
        for x in lost:
            x.error = copy(error)  # each is told where and after how long it failed
            x.error.__cause__ = error.__cause__
        self.inflight.clear()
        self._streams.clear()
        return lost

    # Room

    def _retire(self) -> None:
        """Nothing new on this line."""
        self.reusable = False
        self.room = 0

    def _count_room(self) -> None:
        if not self.reusable:
            return
        numbers = (MOST - self._next) // 2 + 1
        self.room = max(0, min(self._limit - len(self._streams), numbers))
        if not numbers or (not self._limit and not self._streams):
            # No numbers are left (5.1.1); or the peer allows no streams, and nobody knows for how long.
            self._retire()


_TAKES: Final[tuple[Callable[[Http2, int, int, bytes], None], ...]] = (
    Http2._data,
    Http2._headers,
    Http2._priority,
    Http2._rst_stream,
    Http2._settings,
    Http2._push_promise,
    Http2._ping,
    Http2._goaway,
    Http2._window_update,
    Http2._continuation,
)
"""By the kind of frame."""
