"""WebSocket as a wire (RFC 6455): the line is opened by its first exchange and kept for the next ones.

Decisions, each forced by a protocol that has neither requests nor answers:

- The first exchange carries the opening: its headers go out, and a refusal (401, 404, a redirect …) is its answer, so
  the rules of HTTP hold for openings without a line of code here. Only equal URLs and headers share a line.
- The first message that *begins* after an exchange was submitted is its first reply. What comes while nothing is asked
  is dropped: it never becomes the answer of the next exchange. A line that is flooded with it is given up.
- A message that may have left is not sent a second time, whatever happens to the line: a server counts what it gets.
- A CLOSE, or the end of the line, before the replies are complete is an error that tells code and reason.

What is over ``FRAGMENT`` bytes goes out piece by piece, the next one when the line has taken the one before, so that a
PONG never waits for a gigabyte.
"""

from __future__ import annotations

from base64 import b64encode
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from os import urandom
from typing import TYPE_CHECKING, Any, Final

from websocket import WebSocketBadStatusException

from ..errors import AquestsError, ProtocolError, TooLarge, WebSocketClosed
from .base import NO_EXCHANGES, OneAtATime
from .http1 import Http1
from .wsdeflate import MIN_SIZE, Deflate
from .wsframes import (
    ABNORMAL,
    BAD_PAYLOAD,
    BINARY,
    CLOSE,
    CONT,
    NORMAL,
    PING,
    POLICY,
    PONG,
    TEXT,
    TOO_BIG,
    Frame,
    FrameReader,
    Masks,
    Messages,
    Violation,
    close_payload,
    encode,
    fragments,
    in_words,
    parse_close,
)
from .wsmessage import BITS, MAX_PLAIN, REPEAT, START, Plain
from .wsopening import VERSION, Opening

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs
    from ..headers import Headers
    from .http1head import Head

FRAGMENT: Final = 65536
"""Bytes of a message that go out as one frame, and about what is put into the outbox at a time."""
MAX_UNASKED: Final = 16 * 1024 * 1024
"""Bytes pushed since the last exchange that nobody asked for; then the line is given up."""
MAX_WAITING: Final = 64
"""Frames in the outbox; above that only the latest PING is answered (RFC 6455 5.5.3)."""
_PER_FRAME: Final = 16
_WHOLE_TEXT: Final = 0x81
_WHOLE_BINARY: Final = 0x82
_DEFLATED_TEXT: Final = 0xC1
_DEFLATED_BINARY: Final = 0xC2
"""The first byte of a message in one frame: as it is, and compressed."""
_NOT_UTF8: Final = "a text message is not UTF-8"
_number: Final = int.from_bytes
_Utf8: Final = getincrementaldecoder("utf-8")


def lines(place: Any, prefix: str, extra: Pairs, settings: Any) -> Callable[[str | None], WebSocket]:
    """What makes the wires of lines to ``place``: its options hold ``subprotocols`` and ``compression``."""
    opening = Opening(place)
    return lambda alpn: WebSocket(opening, urandom)


class Reply:
    """The head of an answer: what the opening said, and the ``opcode`` of the last message. Shared, never changed."""

    __slots__ = ("encodings", "headers", "lane", "opcode", "reason", "special", "status", "version")

    def __init__(self, headers: Headers, opcode: int | None, special: bool):
        self.status = 101
        self.reason = "Switching Protocols"
        self.version = VERSION
        self.lane = "WEBSOCKET"
        self.headers = headers
        self.encodings: tuple[str, ...] = ()
        self.opcode = opcode
        self.special = special


class Refusal:
    """The codec of any answer but 101. The rules of HTTP come first: a redirect or a challenge is no refusal yet."""

    def decode(self, x: Exchange) -> None:
        head: Any = x.head
        message = f"the server did not open a WebSocket: {head.status} {head.reason}".rstrip()
        x.error = WebSocketBadStatusException(message, head.status, head.reason, dict(head.headers), x.body)


_REFUSAL: Final = Refusal()


class WebSocket(OneAtATime):
    """The client side of one WebSocket; ``random(n)`` gives n unpredictable bytes, for the opening and the masks."""

    __slots__ = (
        "_binary",
        "_bodies",
        "_compressed",
        "_deflate",
        "_frames",
        "_headers",
        "_heads",
        "_http",
        "_ignored",
        "_keep",
        "_key",
        "_masks",
        "_most",
        "_noted",
        "_opcode",
        "_opened_by",
        "_opening",
        "_parts",
        "_plain",
        "_pong",
        "_random",
        "_reader",
        "_replies",
        "_size",
        "_text",
        "_unasked",
        "_utf8",
        "_wanted",
    )

    lingers = True  # the server answers our CLOSE, and closes the line first (RFC 6455 7.1.1)

    def __init__(self, opening: Opening, random: Callable[[int], bytes]):
        super().__init__()
        self._opening = opening
        self._random = random
        self._http: Http1 | None = Http1(opening.origin)
        """Who speaks until the line is a WebSocket."""
        self._http.outbox, self._http.begun = self.outbox, self.begun
        self._key = ""
        self._masks = Masks(random)
        self._deflate: Deflate | None = None
        self._reader = FrameReader()
        self._opened_by: Head | None = None
        self._headers: Headers
        self._heads: dict[int | None, Reply] = {}
        self._text: Reply
        self._binary: Reply
        self._most = 0
        """Bytes of a plain frame that may be sent by the short way, now."""
        self._plain: Exchange | None = None
        """The exchange, while its only reply may come by the short way: nothing has come since it was submitted."""
        self._frames: Iterator[bytes] | None = None
        """What is still to be sent of a long request."""
        self._pong = b""
        self._wanted = 0
        """Replies that the exchange still waits for."""
        self._replies: list[Any] = []
        self._bodies: list[bytes] = []
        self._size = 0
        self._noted = False
        self._ignored = False
        """A frame or message that had begun before the exchange was submitted: nobody asked for it."""
        self._unasked = 0
        # The message that is being read.
        self._keep = False
        self._opcode = 0
        self._compressed = False
        self._parts: list[bytes] = []
        self._utf8: IncrementalDecoder | None = None

    def opened(self) -> None:
        """The line takes its first exchange, which opens the WebSocket."""
        assert self._http is not None
        self._http.opened()
        self.room = 1

    # Out

    def submit(self, x: Exchange) -> None:
        payload: Plain | Messages = x.payload
        if payload.__class__ is Plain:  # the hot path, inlined
            frame = payload.frame
            size = len(frame)
            if size <= self._most:
                masks = self._masks
                if not masks.keys:
                    masks.draw()
                masked = _number(frame, "little") ^ masks.keys.pop() * REPEAT & BITS[size]
                self.outbox.append(masked.to_bytes(size, "little"))
                payload.sent = True
                x.codec = None  # an attempt before may have been refused
                self._x = self._plain = x
                self.room = 0
                return
        if self._http is None:
            self._begin(x)
        else:
            self._open(self._http, x)

    def _open(self, http: Http1, x: Exchange) -> None:
        """Send the opening; the messages follow when it has been agreed to."""
        self._key = b64encode(self._random(16)).decode()
        http.upgrading = True
        http.ask(x, self._opening.request(x, self._key))
        self._x = x
        self.room = 0

    def _begin(self, x: Exchange) -> None:
        """Send the messages of an exchange, or begin to."""
        payload: Plain | Messages = x.payload
        payload.sent = True
        x.codec = None  # as in submit
        self._x = x
        self.room = 0
        items = payload.items
        if self._most and len(items) == payload.replies == 1 and payload.size <= FRAGMENT and not payload.pings:
            # Longer than a plain frame, or to be compressed; all else is as in submit.
            opcode, data = items[0]
            deflate = self._deflate
            if deflate is not None and deflate.worth(opcode, data):
                frame = encode(opcode, deflate.deflate(data, True), self._masks.next(), rsv1=True)
            else:
                frame = encode(opcode, data, self._masks.next())
            self.outbox.append(frame)
            self._plain = x
            return
        self._unasked = 0
        self._await(payload.replies)
        frames = _outgoing(items, self._deflate, self._masks)
        if payload.size <= FRAGMENT:
            self.outbox.extend(frames)
            self.hungry = not self._wanted  # answered as soon as it has been sent
        else:
            self._frames = frames
            self.hungry = True
        self._weigh()

    def _await(self, replies: int) -> None:
        """Nothing has come of so many replies."""
        self._wanted = replies
        self._size = 0
        self._noted = False
        self._ignored = self._reader.pending

    def _weigh(self) -> None:
        """What may go the short way from here on; after all that did not."""
        self._most = 0
        self._plain = None
        if self._reader.pending or self._opened_by is not None:
            return
        if not self._unasked:
            self._most = START + (MAX_PLAIN if self._deflate is None else MIN_SIZE - 1)
        x = self._x
        if x is not None and self._wanted == x.payload.replies == 1 and not x.payload.pings and self._frames is None:
            self._plain = x

    def produce(self) -> Sequence[Exchange]:
        frames = self._frames
        if frames is not None:
            size = 0
            for frame in frames:
                self.outbox.append(frame)
                size += len(frame)
                if size >= FRAGMENT:
                    return NO_EXCHANGES
            self._frames = None
            return NO_EXCHANGES
        self.hungry = False
        return self._finish() if self._x is not None and not self._wanted else NO_EXCHANGES

    def goodbye(self) -> None:
        self._close(NORMAL)

    def _close(self, code: int, reason: str = "") -> None:
        """Say CLOSE, once; nothing is read or sent behind it."""
        if self._http is None and self.reusable:
            self.outbox.append(encode(CLOSE, close_payload(code, reason), self._masks.next()))
        self._retire()

    def _retire(self) -> None:
        super()._retire()
        self.hungry = False
        self._frames = None
        self._plain = None

    # In

    def receive(self, data: bytes) -> Sequence[Exchange]:
        x = self._plain
        if x is None or len(data) < 2:
            return self._receive_any(data)
        # The hot path, inlined: the only reply, plain and unfragmented, is all that has come.
        size = len(data) - 2
        body = data[2:] if data[1] == size <= MAX_PLAIN else _longer(data)
        first = data[0]
        if body is None or size > x.max_content:
            return self._receive_any(data)
        if first == _WHOLE_TEXT:
            try:
                x.data = body.decode()
            except UnicodeDecodeError:
                return self._receive_any(data)
            x.head = self._text
        elif first == _WHOLE_BINARY:
            x.data = body
            x.head = self._binary
        elif first in (_DEFLATED_TEXT, _DEFLATED_BINARY) and self._deflate is not None:
            return self._receive_deflated(self._deflate, x, body, first == _DEFLATED_TEXT)
        else:
            return self._receive_any(data)
        x.body = body
        self._x = self._plain = None
        self.room = 1
        return (x,)

    def _receive_deflated(self, deflate: Deflate, x: Exchange, body: bytes, text: bool) -> Sequence[Exchange]:
        """As in ``receive``: the only reply, compressed, is all that has come."""
        try:
            x.body = deflate.inflate(body, x.max_content, True)
            x.data = x.body.decode() if text else x.body
        except (Violation, UnicodeDecodeError) as error:
            x.body = b""
            return self._violated(error if isinstance(error, Violation) else Violation(BAD_PAYLOAD, _NOT_UTF8))
        x.head = self._text if text else self._binary
        self._x = self._plain = None
        self.room = 1
        return (x,)

    def _receive_any(self, data: bytes) -> Sequence[Exchange]:
        if self._http is not None:
            return self._receive_opening(self._http, data)
        if not self.reusable:
            return NO_EXCHANGES  # behind a CLOSE
        if self._plain is not None:
            self._await(1)
        return self._receive_frames(data)

    def _receive_frames(self, data: bytes) -> Sequence[Exchange]:
        """Any bytes. At most one exchange finishes: the next one is submitted after this has returned."""
        finished: Sequence[Exchange] = NO_EXCHANGES
        try:
            for frame, piece in self._reader.feed(data):
                finished = self._take(frame, piece) or finished
                if not self.reusable:
                    break
        except Violation as violation:
            finished = self._violated(violation) or finished
        self._weigh()
        return finished

    def _take(self, frame: Frame, piece: bytes) -> Sequence[Exchange]:
        if frame.opcode >= CLOSE:
            return self._control(frame.opcode, piece)
        if frame.first and frame.opcode != CONT:
            self._begin_message(frame)
        last = frame.fin and not frame.left
        if not self._keep:
            self._skip(frame, piece, last)
            return NO_EXCHANGES
        x = self._x
        assert x is not None
        room = x.max_content - self._size
        if frame.left + len(piece) > room and not self._compressed:  # else it is the inflated bytes that count
            raise Violation(TOO_BIG, f"the answer is over max_content={x.max_content:,} bytes")
        x.progress += len(piece) + frame.first
        if not self._noted:
            self._noted = True
            self.begun.append(x)
        if self._compressed and self._deflate is not None:
            piece = self._deflate.inflate(piece, room, last)
        if self._utf8 is not None:
            try:
                self._utf8.decode(piece, last)
            except UnicodeDecodeError:
                raise Violation(BAD_PAYLOAD, _NOT_UTF8) from None
        self._parts.append(piece)
        self._size += len(piece)
        return self._end_message() if last else NO_EXCHANGES

    def _begin_message(self, frame: Frame) -> None:
        x = self._x
        self._opcode = frame.opcode
        self._compressed = frame.rsv1
        self._keep = x is not None and not self._ignored and self._wanted > 0 and not x.payload.pings
        self._utf8 = _Utf8() if self._keep and frame.opcode == TEXT else None

    def _skip(self, frame: Frame, piece: bytes, last: bool) -> None:
        """What nobody asked for; but the window of the decompression must see it."""
        self._unasked += len(piece) + (_PER_FRAME if frame.first else 0)
        if self._compressed and self._deflate is not None:
            self._unasked += len(self._deflate.inflate(piece, MAX_UNASKED, last))
        if self._unasked > MAX_UNASKED:
            raise Violation(POLICY, f"over {MAX_UNASKED:,} bytes were pushed that nobody asked for")
        if last:
            self._ignored = False

    def _end_message(self) -> Sequence[Exchange]:
        body = b"".join(self._parts)
        self._parts = []
        return self._reply(body.decode() if self._opcode == TEXT else body, body)

    def _reply(self, data: Any, body: bytes) -> Sequence[Exchange]:
        self._replies.append(data)
        self._bodies.append(body)
        self._wanted -= 1
        return NO_EXCHANGES if self._wanted or self._frames is not None else self._finish()

    def _control(self, opcode: int, data: bytes) -> Sequence[Exchange]:
        asked = not self._ignored
        if not self._reader.within:
            self._ignored = False
        if opcode == PING:
            self._answer_ping(data)
        elif opcode == CLOSE:
            return self._closed(data)
        elif asked and self._wanted and self._x is not None and data in self._x.payload.pings:
            self._opcode = PONG
            return self._reply(data, data)
        return NO_EXCHANGES

    def _answer_ping(self, data: bytes) -> None:
        pong = encode(PONG, data, self._masks.next())
        if len(self.outbox) > MAX_WAITING and self.outbox[-1] is self._pong:
            self.outbox.pop()
        self._pong = pong
        self.outbox.append(pong)

    def _closed(self, data: bytes) -> Sequence[Exchange]:
        """The peer said CLOSE: the same code goes back (RFC 6455 5.5.1), and whoever waits is told."""
        code, reason = parse_close(data)
        self.outbox.append(encode(CLOSE, data[:2], self._masks.next()))
        self._retire()
        message = f"the server closed the WebSocket before the reply: {in_words(code, reason)}"
        return self._fail(WebSocketClosed(message, close_code=code, close_reason=reason))

    def _violated(self, violation: Violation) -> Sequence[Exchange]:
        words = str(violation)
        self._close(violation.code, words)
        return self._fail(TooLarge(words, phase="answer") if violation.code == TOO_BIG else ProtocolError(words))

    def receive_eof(self) -> Sequence[Exchange]:
        http = self._http
        if http is not None:
            return self._refused(http, http.receive_eof())
        self._retire()
        message = "the server closed the line without a CLOSE, before the reply"
        return self._fail(WebSocketClosed(message, close_code=ABNORMAL))

    # The opening

    def _receive_opening(self, http: Http1, data: bytes) -> Sequence[Exchange]:
        finished = http.receive(data)
        if http.switched is None:
            return self._refused(http, finished)
        head, rest = http.switched
        x = self._x
        assert x is not None
        self._http = None
        try:
            self._deflate = self._opening.agreed(head, self._key)
        except ProtocolError as error:
            self._retire()
            return self._fail(error)
        self._reader = FrameReader(extended=self._deflate is not None)
        self._opened_by = head
        self._begin(x)
        return self.receive(rest) if rest else NO_EXCHANGES

    def _refused(self, http: Http1, finished: Sequence[Exchange]) -> Sequence[Exchange]:
        """Any answer but 101: it goes to the user, who asked for a WebSocket and has none."""
        for x in finished:
            self._x = None
            self.begun.clear()
            if x.error is None:
                x.codec = _REFUSAL
        self.room = http.room
        self.reusable = http.reusable
        return finished

    # The end of an exchange

    def _finish(self) -> Sequence[Exchange]:
        x = self._x
        assert x is not None
        replies = self._replies
        count = x.payload.replies
        x.head = self._head(self._opcode if count else None)
        x.data = replies[0] if count == 1 else replies if count else None
        x.body = self._bodies[0] if count == 1 else b"".join(self._bodies)
        self._forget()
        self.hungry = False
        self.room = 1
        return (x,)

    def _head(self, opcode: int | None) -> Reply:
        opened_by = self._opened_by
        if opened_by is not None:  # the first answer shows what the opening said to the rules: cookies
            self._opened_by = None
            self._headers = opened_by.headers
            self._text = self._heads[TEXT] = Reply(self._headers, TEXT, False)
            self._binary = self._heads[BINARY] = Reply(self._headers, BINARY, False)
            if opened_by.special:
                return Reply(self._headers, opcode, True)
        head = self._heads.get(opcode)
        if head is None:
            head = self._heads[opcode] = Reply(self._headers, opcode, False)
        return head

    def _fail(self, error: AquestsError) -> Sequence[Exchange]:
        x = self._x
        if x is None:
            return NO_EXCHANGES
        x.error = error
        if self._replies:
            x.data = self._replies  # those that came
        self._forget()
        return (x,)

    def _forget(self) -> None:
        self._x = None
        self._wanted = 0
        self._replies = []
        self._bodies = []
        self.begun.clear()

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        self._http = None
        self._end()
        return self._fail(error)


def _longer(data: bytes) -> bytes | None:
    """The payload of a frame with a length of 16 bits, if ``data`` is just that."""
    size = len(data) - 4
    whole = size > MAX_PLAIN and data[1] == 126 and data[2] << 8 | data[3] == size
    return data[4:] if whole else None


def _outgoing(items: Sequence[tuple[int, bytes]], deflate: Deflate | None, masks: Masks) -> Iterator[bytes]:
    """The frames of some messages, made one by one."""
    for opcode, data in items:
        if deflate is not None and deflate.worth(opcode, data):
            yield from fragments(opcode, deflate.pieces(data, FRAGMENT), masks, rsv1=True)
        elif len(data) <= FRAGMENT:
            yield encode(opcode, data, masks.next())
        else:
            pieces = (data[at : at + FRAGMENT] for at in range(0, len(data), FRAGMENT))
            yield from fragments(opcode, pieces, masks)
