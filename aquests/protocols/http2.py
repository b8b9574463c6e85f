"""HTTP/2 as a wire (RFC 9113): many exchanges on one line, each a stream. The way of requests and answers.

What the line is as a whole stands in ``h2line``. A request and its answer, one HEADERS and one DATA, cost about
1.4 µs here, and 73 with the h2 library; with a body there and trailers behind the answer, as gRPC has them, 2.1 and
92 (``benchmarks/h2wire.py``). What the hot path uses of other rooms is imported by name: an attribute of a module
costs 20 ns each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import AquestsError, ConnectionEnded, PeerClosed
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
from .h2greeting import RECEIVE_WINDOW
from .h2head import TRAILERS, UNSAID, Origin, Repeated
from .h2hpack import EMPTY_TABLE, Decoder
from .h2line import HALF, PATIENCE, Http2Line
from .h2stream import Stream
from .http1 import BODY_EXPECTED, defaults
from .http1head import CLOSE

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs
    from .h2head import Fields

_ENOUGH: Final = HALF + LEAST_FRAME
# Kind and flags of the frames that most answers are made of.
_HEADERS: Final = HEADERS << 8 | END_HEADERS
_DATA: Final = DATA << 8
_LAST_DATA: Final = DATA << 8 | END_STREAM
_LAST_HEADERS: Final = HEADERS << 8 | END_HEADERS | END_STREAM


def lines(place: Any, extra: Pairs, settings: Any, demote: Callable[[], None] | None) -> Callable[[str | None], Http2]:
    """What makes the wires of lines to ``place`` (an Endpoint), with ``settings.http2_constreams`` streams each."""
    origin = Origin(place.scheme, place.host_header, defaults(place, extra), settings.http2_constreams, demote)
    return lambda alpn: Http2(origin)


class Http2(Http2Line):
    """The client side of one HTTP/2 line."""

    __slots__ = ("_block", "_cut", "_decoder", "_fresh", "_repeated", "_rest")

    def __init__(self, origin: Origin):
        super().__init__(origin)
        self._repeated: dict[str, Repeated] = {}
        """The origin's, as soon as a header block was sent."""
        self._decoder = Decoder(origin.fields)
        self._block: HeaderBlock | None = None
        """A header block that is not all here."""
        self._cut: tuple[int, int, int] | None = None
        """A DATA frame of which the end is still to come."""
        self._rest = b""
        """The beginning of a frame that is not all here."""
        self._fresh: list[Exchange] = []
        """Exchanges whose first byte came within this ``receive``."""

    def adopt(self, x: Exchange) -> None:
        """Go on with a request that was sent by HTTP/1.1: it is stream 1 (RFC 7540 3.2). Called before ``opened``."""
        self._enter(x)

    # Out

    def submit(self, x: Exchange) -> None:
        """The hot path. A request like one before it is there in bytes, but for the number of its stream."""
        known = self._repeated.get(x.url)
        payload = x.payload
        headers = x.headers
        if known is None or known.method != x.method or (known.headers is not headers and known.headers != headers):
            self._submit_new(x)
            return
        number = self._next
        window = self._uploads.initial
        if payload is None and known.alone:
            self.outbox.append(known.alone + number.to_bytes(4) + known.block)
        elif payload.__class__ is bytes and 0 < (size := len(payload)) <= LEAST_FRAME and self._uploads.grant(size):
            ahead, between = known.bodies.get(size) or known.with_body(size)
            stream = number.to_bytes(4)
            self.outbox += (ahead, stream, between, stream, payload)
            window -= size
        else:
            self._submit_body(x, known.block)
            return
        self._next = number + 2  # as _enter() does
        self._streams[number] = self.inflight[x] = Stream(number, x, RECEIVE_WINDOW, window)
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
        self.room -= 1
        return stream

    def produce(self) -> Sequence[Exchange]:
        for stream, error in self._uploads.produce(self.outbox):
            self._fail(stream, error)
        self.hungry = self._uploads.hungry()
        self._count_room()
        return self._take_finished()

    # In

    def receive(self, data: bytes) -> Sequence[Exchange]:
        """The hot path, and long for that. In place: frames of bodies, and what mostly ends an answer."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        streams = self._streams
        known = self._decoder.own
        plain = self._greeted and self._block is None
        try:
            if self._cut is not None:
                at = self._go_on(self._cut, data)
            while end - at >= HEAD:
                high, low, what, number = unpack_head(data, at)
                length = high << 16 | low
                start = at + HEAD
                at = start + length
                if plain and at <= end and length <= LEAST_FRAME and (stream := streams.get(number)) is not None:
                    if what == _HEADERS:
                        block = data[start:at]
                        at = self._whole_head(stream, known.get(block) or self._decoder.decode(block), data, at)
                        continue
                    x = stream.x
                    if what == _LAST_DATA:
                        if stream.left == length and not stream.first and not stream.uploading:
                            self._credit -= length
                            if self._credit < HALF:
                                self._give_credit()
                            x.progress += length
                            x.body = data[start:at]
                            self._resets = 0  # as _answered does
                            self._patience = PATIENCE
                            del streams[number]
                            del self.inflight[x]
                            self._finished.append(x)
                            continue
                    elif what == _DATA:
                        if stream.body is not None:
                            self._data(0, number, memoryview(data)[start:at])
                            continue
                        if 0 < length <= stream.left and not stream.first and stream.credit > _ENOUGH:
                            self._credit -= length
                            if self._credit < HALF:
                                self._give_credit()
                            x.progress += length
                            stream.credit -= length
                            stream.left -= length
                            stream.first = data[start:at]
                            continue
                    elif what == _LAST_HEADERS and stream.left >= 0:
                        block = data[start:at]
                        fields = known.get(block) or self._decoder.decode(block)
                        if (
                            fields.length == TRAILERS
                            and stream.body is None
                            and not stream.uploading
                            and (not stream.left or x.head.framing == CLOSE)  # type: ignore[union-attr]
                        ):
                            x.trailers = fields.pairs
                            x.body = stream.first
                            self._resets = 0  # as _answered does
                            self._patience = PATIENCE
                            del streams[number]
                            del self.inflight[x]
                            self._finished.append(x)
                        else:
                            self._take_fields(stream, fields, True)
                        continue
                kind, flags = what >> 8, what & 0xFF
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
            self._broken(fault)
            self._rest = b""
            self._note_begun()
            return self._take_finished()
        self._rest = data[at:]
        self._heard = self._next
        if self._fresh:
            self._note_begun()
        self._count_room()
        return self._take_finished()

    def _whole_head(self, stream: Stream, fields: Fields, data: bytes, at: int) -> int:
        """A header block in one frame that does not end its stream: mostly the head of an answer with a body.

        What follows it is at ``at`` of ``data``: if that is the rest of a short answer, it is taken at once. Returns
        up to where that went. The hot path, and long for that.
        """
        x = stream.x
        said = fields.length
        end = len(data)
        if said >= UNSAID and end - at >= HEAD and stream.left < 0 and not stream.uploading and x.method != "HEAD":
            high, length, what, number = unpack_head(data, at)
            if (
                number == stream.number
                and (length == said or said == UNSAID)
                and length <= x.max_content
                and length <= LEAST_FRAME
                and not high
            ):
                start = at + HEAD
                stop = start + length
                behind = 0
                pairs: Pairs = ()
                if what == _LAST_DATA:
                    behind = stop
                elif what == _DATA and end - stop >= HEAD:
                    high, low, what, number = unpack_head(data, stop)
                    trailers = self._decoder.own.get(data[stop + HEAD : stop + HEAD + low])
                    if what == _LAST_HEADERS and number == stream.number and not high and trailers is not None:
                        if trailers.length == TRAILERS:
                            behind = stop + HEAD + low
                            pairs = trailers.pairs
                if 0 < behind <= end:
                    self._credit -= length
                    if self._credit < HALF:
                        self._give_credit()
                    x.head = fields.head
                    x.body = data[start:stop]
                    x.trailers = pairs
                    x.progress = (x.progress or 1) + length
                    self._resets = 0  # as _answered does
                    self._patience = PATIENCE
                    del self._streams[number]
                    del self.inflight[x]
                    self._finished.append(x)
                    return behind
        if not x.progress:
            x.progress = 1
            self._fresh.append(x)
        if stream.left < 0 <= said <= x.max_content and x.method != "HEAD":
            x.head = fields.head
            stream.left = said
        elif said == UNSAID and stream.left < 0 and x.method != "HEAD":
            x.head = fields.head
            stream.left = x.max_content
        else:
            self._take_fields(stream, fields, False)
        return at

    def receive_eof(self) -> Sequence[Exchange]:
        error: AquestsError
        if self._goodbye:
            error = ConnectionEnded(f"{self._goodbye} and closed the line before the answer", phase="answer")
        elif not self._greeted:
            error = PeerClosed("the server closed the line unheard: does it want TLS, or no HTTP/2?", phase="answer")
        else:
            error = PeerClosed("the server closed the line before the end of the answer", phase="answer")
        return self.abandon(error)

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

    def _note_begun(self) -> None:
        self.begun += [x for x in self._fresh if x in self.inflight]
        self._fresh.clear()

    # Frames that carry answers

    def _data(self, flags: int, number: int, payload: bytes | memoryview) -> None:
        """6.1. The hot path."""
        length = len(payload)
        self._credit -= length
        if self._credit < HALF:
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
        if stream.credit < HALF:
            self.outbox.append(h2.window_update(number, RECEIVE_WINDOW - stream.credit))
            stream.credit = RECEIVE_WINDOW

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
