"""HTTP/2 as a wire (RFC 9113): many exchanges on one line, each a stream. The way of requests and answers.

What the line is as a whole stands in ``h2line``. A request and its answer, one HEADERS and one DATA, cost about
1.5 µs here, and 78 with the h2 library; with a body there and trailers behind the answer, as gRPC has them, 2.3 and
98 (``benchmarks/h2wire.py``). What the hot path uses of other rooms is imported by name: an attribute of a module
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
from .h2line import HALF, Http2Line
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
        """The hot path. Frames that answers are mostly made of go a short way each, all others through ``_take``."""
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
                    if what == _LAST_HEADERS and stream.left >= 0:
                        block = data[start:at]
                        self._trailers(stream, known.get(block) or self._decoder.decode(block))
                        continue
                    if what == _DATA and stream.body is not None:
                        self._data(0, number, memoryview(data)[start:at])
                        continue
                    if what <= _LAST_DATA and self._first_data(stream, what == _LAST_DATA, data[start:at]):
                        continue
                if not self._greeted:
                    self._check_greeting(data, what)
                if length > LEAST_FRAME:
                    raise Fault(h2.FRAME_SIZE_ERROR, f"a frame of {length:,} bytes, {LEAST_FRAME:,} are allowed")
                if at > end:
                    at = start - HEAD
                    stream = streams.get(number) if plain and what <= _LAST_DATA else None
                    if stream is not None and stream.body is not None:
                        self._cut = (what & END_STREAM, number, length)
                        at = start + self._go_on(self._cut, memoryview(data)[start:])
                    break
                self._take(what >> 8, what & 0xFF, number & MOST, data[start:at])
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

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Any frame."""
        if self._block is not None and kind != CONTINUATION:
            raise Fault(h2.PROTOCOL_ERROR, "another frame within a header block")
        take = _TAKES[kind] if kind < len(_TAKES) else Http2._unknown
        take(self, flags, number, payload)

    def _whole_head(self, stream: Stream, fields: Fields, data: bytes, at: int) -> int:
        """A header block in one frame that does not end its stream: mostly the head of an answer with a body.

        ``at`` is where it ends in ``data``. Returns where what was taken ends.
        """
        x = stream.x
        said = fields.length
        plain = said >= UNSAID and stream.left < 0 and x.method != "HEAD"
        if plain and not stream.uploading and (behind := self._short_answer(stream, fields, data, at)):
            return behind
        if not x.progress:
            x.progress = 1
            self._fresh.append(x)
        if plain and said <= x.max_content:
            x.head = fields.head
            stream.left = x.max_content if said == UNSAID else said
        else:
            self._take_fields(stream, fields, False)
        return at

    def _short_answer(self, stream: Stream, fields: Fields, data: bytes, at: int) -> int:
        """If one DATA follows, and ends the answer or has known trailers behind it, all is taken at once. The hot path.

        Returns where the answer ends in ``data``; 0 if it is another one.
        """
        if len(data) - at < HEAD:
            return 0
        x = stream.x
        high, length, what, number = unpack_head(data, at)
        unfit = high or length > LEAST_FRAME or length > x.max_content or length != fields.length != UNSAID
        if unfit or number != stream.number:
            return 0
        start = at + HEAD
        end: int = start + length
        behind = end
        pairs: Pairs = ()
        if what == _DATA and len(data) - end >= HEAD:
            high, size, what, number = unpack_head(data, end)
            behind += HEAD + size
            trailers = self._decoder.own.get(data[end + HEAD : behind])
            if high or what != _LAST_HEADERS or number != stream.number:
                return 0
            if trailers is None or trailers.length != TRAILERS:
                return 0
            pairs = trailers.pairs
        elif what != _LAST_DATA:
            return 0
        if behind > len(data):
            return 0
        self._credit -= length
        if self._credit < HALF:
            self._give_credit()
        x.head = fields.head
        x.body = data[start:end]
        x.trailers = pairs
        x.progress = (x.progress or 1) + length
        self._answered(stream)
        return behind

    def _first_data(self, stream: Stream, last: bool, payload: bytes) -> bool:
        """The first DATA of a body, if it is all of it or can be kept as it is; False if it is not that simple."""
        size = len(payload)
        if stream.first:
            return False
        if last:
            if stream.left != size or stream.uploading:
                return False
            stream.x.body = payload
        else:
            if not 0 < size <= stream.left or stream.credit <= _ENOUGH:
                return False
            stream.credit -= size
            stream.left -= size
            stream.first = payload
        stream.x.progress += size
        self._credit -= size
        if self._credit < HALF:
            self._give_credit()
        if last:
            self._answered(stream)
        return True

    def _trailers(self, stream: Stream, fields: Fields) -> None:
        """The header block that ends an answer."""
        short = fields.length == TRAILERS and stream.body is None and not stream.uploading
        if short and (not stream.left or stream.x.head.framing == CLOSE):  # type: ignore[union-attr]
            stream.x.trailers = fields.pairs
            stream.x.body = stream.first
            self._answered(stream)
        else:
            self._take_fields(stream, fields, True)

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
