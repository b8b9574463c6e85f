"""WebSocket frames (RFC 6455 5): what is sent, and the reading of what comes, in any cutting.

Opcodes and close codes are those of the ``websocket`` package (websocket-client), so that a program may use
either. A server's frames are read piece by piece: a payload of gigabytes is never collected here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from sys import byteorder
from typing import Final

import websocket as vocabulary

from .wsmessage import Once

ABNF: Final = vocabulary.ABNF

CONT: Final[int] = ABNF.OPCODE_CONT
TEXT: Final[int] = ABNF.OPCODE_TEXT
BINARY: Final[int] = ABNF.OPCODE_BINARY
CLOSE: Final[int] = ABNF.OPCODE_CLOSE
PING: Final[int] = ABNF.OPCODE_PING
PONG: Final[int] = ABNF.OPCODE_PONG

NORMAL: Final[int] = vocabulary.STATUS_NORMAL
PROTOCOL_ERROR: Final[int] = vocabulary.STATUS_PROTOCOL_ERROR
NO_STATUS: Final[int] = vocabulary.STATUS_STATUS_NOT_AVAILABLE
ABNORMAL: Final[int] = vocabulary.STATUS_ABNORMAL_CLOSED
BAD_PAYLOAD: Final[int] = vocabulary.STATUS_INVALID_PAYLOAD
POLICY: Final[int] = vocabulary.STATUS_POLICY_VIOLATION
TOO_BIG: Final[int] = vocabulary.STATUS_MESSAGE_TOO_BIG

CODES: Final = {
    value: name.removeprefix("STATUS_").replace("_", " ").lower()
    for name, value in vars(vocabulary).items()
    if name.startswith("STATUS_")
}
"""What the close codes mean, in words."""
MAX_CONTROL: Final = 125
"""Bytes of a control frame's payload (RFC 6455 5.5)."""

_number: Final = int.from_bytes
_NONE: Final[frozenset[bytes]] = frozenset()
_FIN: Final = 0x80
_RSV1: Final = 0x40
_RSV23: Final = 0x30
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_SMALL: Final = tuple([[bytes((_FIN | opcode, _MASKED | size)) for size in range(126)] for opcode in range(16)])
"""By opcode and size: heads of whole small frames."""
_UNSENDABLE: Final = frozenset((NO_STATUS, ABNORMAL, vocabulary.STATUS_TLS_HANDSHAKE_ERROR, 1004))
"""Codes that may not stand in a CLOSE frame (RFC 6455 7.4.1)."""


class Violation(Exception):
    """The peer broke a rule; ``code`` is what our CLOSE says about it (RFC 6455 7.4.1)."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class Messages(Once):
    """The payload of a request: pairs of opcode and bytes to send, and how many replies are waited for.

    ``size`` is what they take on the line, about. When all are PINGs their PONGs are the replies (``pings``).
    """

    __slots__ = ("items", "pings", "replies", "size")

    def __init__(self, items: Sequence[tuple[int, bytes]], replies: int = 1):
        self.items = items = tuple(items)
        self.replies = replies
        self.sent = False
        self.size = len(items[0][1]) + 14 if len(items) == 1 else sum([len(data) + 14 for _, data in items])
        self.pings = _pings(items) if items and items[0][0] == PING else _NONE


def _pings(items: tuple[tuple[int, bytes], ...]) -> frozenset[bytes]:
    return frozenset([data for _, data in items]) if all([opcode == PING for opcode, _ in items]) else _NONE


class Masks:
    """Masking keys: four unpredictable bytes for each frame (RFC 6455 5.3), drawn by the kilobyte.

    ``keys`` are those at hand, as numbers; ``draw`` when there is none.
    """

    __slots__ = ("_random", "keys")

    def __init__(self, random: Callable[[int], bytes]):
        self._random = random
        self.keys = array("I")

    def draw(self) -> None:
        self.keys.frombytes(self._random(1024))

    def next(self) -> bytes:
        if not self.keys:
            self.draw()
        return self.keys.pop().to_bytes(4, byteorder)


def masked(data: bytes, key: bytes) -> bytes:
    """``data`` XOR the repeated key; as two long numbers, which takes 2 ns a byte."""
    size = len(data)
    stream = (key * ((size >> 2) + 1))[:size]
    return (_number(data, "little") ^ _number(stream, "little")).to_bytes(size, "little")


def encode(opcode: int, data: bytes, key: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """One frame of a client: masked."""
    size = len(data)
    if size < 126 and fin and not rsv1:
        return _SMALL[opcode][size] + key + masked(data, key)
    first = opcode | (_FIN if fin else 0) | (_RSV1 if rsv1 else 0)
    if size < 126:
        head = bytes((first, _MASKED | size))
    elif size < 65536:
        head = bytes((first, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, _MASKED | 127)) + size.to_bytes(8, "big")
    return head + key + masked(data, key)


def fragments(opcode: int, pieces: Iterable[bytes], masks: Masks, *, rsv1: bool = False) -> Iterator[bytes]:
    """The frames of one message that comes in pieces (RFC 6455 5.4)."""
    held = None
    for piece in pieces:
        if held is not None:
            yield encode(opcode, held, masks.next(), fin=False, rsv1=rsv1)
            opcode, rsv1 = CONT, False
        held = piece
    yield encode(opcode, held or b"", masks.next(), rsv1=rsv1)


def close_payload(code: int, reason: str = "") -> bytes:
    """What a CLOSE frame holds; a reason that is too long is cut at a character."""
    text = reason.encode()[: MAX_CONTROL - 2].decode("utf-8", "ignore")
    return code.to_bytes(2, "big") + text.encode()


def parse_close(data: bytes) -> tuple[int, str]:
    """Code and reason of a CLOSE frame; NO_STATUS if it has none. Raises Violation (RFC 6455 5.5.1, 7.4)."""
    if not data:
        return NO_STATUS, ""
    if len(data) == 1:
        raise Violation(PROTOCOL_ERROR, "a CLOSE frame with half a code")
    code = int.from_bytes(data[:2], "big")
    if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _UNSENDABLE:
        raise Violation(PROTOCOL_ERROR, f"a CLOSE frame with the code {code}, which may not be sent")
    try:
        return code, data[2:].decode()
    except UnicodeDecodeError:
        raise Violation(BAD_PAYLOAD, "the reason in a CLOSE frame is not UTF-8") from None


def in_words(code: int, reason: str) -> str:
    """A CLOSE for a message."""
    if code == NO_STATUS:
        return "without a code"
    name = CODES.get(code)
    return f"{code}{f' {name}' if name else ''}{f' ({reason})' if reason else ''}"


class Frame:
    """A frame being read. ``left`` bytes of its payload have not come; ``first``: this is its first piece."""

    __slots__ = ("fin", "first", "left", "length", "opcode", "rsv1")

    def __init__(self, opcode: int, fin: bool, rsv1: bool, length: int):
        self.opcode = opcode
        self.fin = fin
        self.rsv1 = rsv1
        self.length = self.left = length
        self.first = True


class FrameReader:
    """Reads a server's frames. ``extended``: the first frame of a message may have RSV1 (RFC 7692 6)."""

    __slots__ = ("_buffer", "_extended", "_frame", "pending", "within")

    def __init__(self, extended: bool = False):
        self._extended = extended
        self._buffer = b""
        self._frame: Frame | None = None
        self.within = False
        """A message has begun and its last frame has not been read."""
        self.pending = False
        """Some of a frame or of a message has come, but not all of it."""

    def feed(self, data: bytes) -> Iterator[tuple[Frame, bytes]]:
        """Frame and piece of its payload, as they come: control frames whole, of others at once what is there.

        The first piece of a data frame may be empty: it is given as soon as the head is read. Raises Violation.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        self.pending = True
        at = 0
        while True:
            frame = self._frame
            if frame is None:
                frame, size = self._head(data, at)
                if frame is None:
                    self._buffer = data[at:]
                    self.pending = self.within or at < len(data)
                    return
                at += size
                self._frame = frame
            elif at == len(data):
                return
            if frame.opcode >= CLOSE and len(data) - at < frame.left:
                self._buffer = data[at:]
                return
            piece = data[at : at + frame.left]
            at += len(piece)
            frame.left -= len(piece)
            if not frame.left:
                self._frame = None
                if frame.opcode < CLOSE:
                    self.within = not frame.fin
            yield frame, piece
            frame.first = False

    def _head(self, data: bytes, at: int) -> tuple[Frame | None, int]:
        """The frame whose head begins at ``at``, and the size of the head; None if not all of it has come."""
        have = len(data) - at
        if not have:
            return None, 0
        first = data[at]
        opcode = first & _OPCODE
        self._check_first(first, opcode)
        if have == 1:
            return None, 0
        second = data[at + 1]
        if second & _MASKED:
            raise Violation(PROTOCOL_ERROR, "a masked frame from a server")
        if opcode >= CLOSE and second > MAX_CONTROL:
            raise Violation(PROTOCOL_ERROR, f"a control frame over {MAX_CONTROL} bytes")
        size = 2 if second < 126 else 4 if second == 126 else 10
        if have < size:
            return None, 0
        length = second if size == 2 else int.from_bytes(data[at + 2 : at + size], "big")
        if (size == 4 and length < 126) or (size == 10 and length < 65536):
            raise Violation(PROTOCOL_ERROR, "a length that is not written in its shortest form")
        if length >> 63:
            raise Violation(PROTOCOL_ERROR, "a length over 63 bits")
        return Frame(opcode, bool(first & _FIN), bool(first & _RSV1), length), size

    def _check_first(self, first: int, opcode: int) -> None:
        if first & _RSV23 or (first & _RSV1 and (opcode not in (TEXT, BINARY) or not self._extended)):
            raise Violation(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise Violation(PROTOCOL_ERROR, f"the opcode {opcode} is reserved")
            if not first & _FIN:
                raise Violation(PROTOCOL_ERROR, "a control frame in fragments")
        elif opcode > BINARY:
            raise Violation(PROTOCOL_ERROR, f"the opcode {opcode} is reserved")
        elif opcode == CONT and not self.within:
            raise Violation(PROTOCOL_ERROR, "a continuation of nothing")
        elif opcode != CONT and self.within:
            raise Violation(PROTOCOL_ERROR, "a new message within another")
