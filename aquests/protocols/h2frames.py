"""The grammar of HTTP/2 frames (RFC 9113 4 and 6): numbers, names, what each frame looks like.

A frame is nine bytes (length, kind, flags, stream) and a payload. What is wrong with a frame by itself is
found here and raised as a ``Fault``; what is wrong with it at this moment of a connection is found by ``http2``.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from .http1head import MAX_HEAD

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (3.4)."""

# Kinds of frames (6)
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

# Settings (6.5.2)
HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

# Error codes (7)
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11
HTTP_1_1_REQUIRED: Final = 13
_CODES: Final = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

LEAST_FRAME: Final = 16384
"""Bytes of payload everybody must take, and all that we take: the initial SETTINGS_MAX_FRAME_SIZE."""
MOST_FRAME: Final = (1 << 24) - 1
WINDOW: Final = 65535
"""Bytes of every window at first (6.9.2)."""
MOST: Final = (1 << 31) - 1
"""The largest window, and the largest number of a stream."""

MAX_CONTINUATIONS: Final = 128
"""Frames that continue one header block: of 64 KiB in all, so even frames of 512 bytes fit."""

HEAD: Final = 9
_HEAD: Final = Struct(">BHBBI")
unpack_head: Final = Struct(">BHHI").unpack_from
"""``(length >> 16, length & 0xFFFF, kind << 8 | flags, stream)`` at an offset; the stream with its reserved bit."""
_SETTING: Final = Struct(">HI")
_NUMBER: Final = Struct(">I")
_GOAWAY: Final = Struct(">II")


class Fault(Exception):
    """The peer broke the rules so that the line must end: ``code`` goes into the GOAWAY, the text beside it."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


def code_name(code: int) -> str:
    """``"REFUSED_STREAM"``; unknown codes as they are."""
    return _CODES[code] if code < len(_CODES) else f"error {code:#x}"


# What we send


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview) -> bytes:
    """Any frame; the payload must fit the peer's SETTINGS_MAX_FRAME_SIZE."""
    length = len(payload)
    return _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + payload


def headers(block: bytes, stream: int, last: bool, most: int = LEAST_FRAME) -> bytes:
    """HEADERS, and CONTINUATION for what is over ``most`` bytes (6.2, 6.10)."""
    end = END_STREAM if last else 0
    length = len(block)
    if length <= most:
        return _HEAD.pack(length >> 16, length & 0xFFFF, HEADERS, end | END_HEADERS, stream) + block
    pieces = [block[at : at + most] for at in range(0, length, most)]
    frames = [frame(HEADERS, end, stream, pieces[0])]
    frames += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    frames.append(frame(CONTINUATION, END_HEADERS, stream, pieces[-1]))
    return b"".join(frames)


def head(length: int, kind: int, flags: int) -> bytes:
    """What stands ahead of the number of the stream, in a frame of so many bytes."""
    return length.to_bytes(3) + bytes((kind, flags))


def settings(pairs: tuple[tuple[int, int], ...]) -> bytes:
    """The payload of SETTINGS; without the frame it is also what HTTP2-Settings holds (RFC 7540 3.2.1)."""
    return b"".join(_SETTING.pack(name, value) for name, value in pairs)


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def rst_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(code: int, why: str = "") -> bytes:
    """The last stream is 0: a server opens none, we refuse to be pushed to."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(0, code) + why.encode()[:256])


# What we receive


def check_line(kind: str, number: int) -> None:
    """SETTINGS, PING and GOAWAY are about the line, not about a stream (6.5, 6.7, 6.8)."""
    if number:
        raise Fault(PROTOCOL_ERROR, f"{kind} on stream {number}")


def check_size(kind: str, payload: bytes, size: int) -> None:
    """Some frames have one size only."""
    if len(payload) != size:
        raise Fault(FRAME_SIZE_ERROR, f"{kind} of {len(payload)} bytes")


def unpad(payload: bytes) -> bytes:
    """The payload of a padded frame without its padding (6.1)."""
    length = payload[0] if payload else 0
    if length >= len(payload):
        raise Fault(PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - length]


def header_fragment(flags: int, payload: bytes) -> bytes:
    """What HEADERS carries, without padding and priority (6.2)."""
    if flags & PADDED:
        payload = unpad(payload)
    if flags & WITH_PRIORITY:
        if len(payload) < 5:
            raise Fault(FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        payload = payload[5:]
    return payload


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Names and values, each value within its bounds (6.5.2); unknown names too."""
    if len(payload) % 6:
        raise Fault(FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    pairs = list(_SETTING.iter_unpack(payload))
    for name, value in pairs:
        if name == ENABLE_PUSH and value:
            raise Fault(PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH {value} from a server")
        if name == INITIAL_WINDOW_SIZE and value > MOST:
            raise Fault(FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE {value}")
        if name == MAX_FRAME_SIZE and not LEAST_FRAME <= value <= MOST_FRAME:
            raise Fault(PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE {value}")
    return pairs


def read_number(kind: str, payload: bytes) -> int:
    """The only number in WINDOW_UPDATE (its increment) and RST_STREAM (its code)."""
    check_size(kind, payload, 4)
    return int.from_bytes(payload)


def read_goaway(payload: bytes) -> tuple[int, int, str]:
    """(last stream, code, what the peer says about it) (6.8)."""
    if len(payload) < 8:
        raise Fault(FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
    last, code = _GOAWAY.unpack_from(payload)
    said = payload[8:264].decode("ascii", "replace")
    return last & MOST, code, "".join(char if char.isprintable() else "?" for char in said)


class HeaderBlock:
    """A header block that comes in more than one frame: HEADERS with these ``flags``, then CONTINUATION (6.10)."""

    __slots__ = ("_frames", "data", "flags", "number")

    def __init__(self, flags: int, number: int, data: bytes):
        self.flags = flags
        self.number = number
        self.data = data
        self._frames = 0

    def add(self, flags: int, number: int, data: bytes) -> bool:
        """The next frame; True if the block is complete."""
        if number != self.number:
            raise Fault(PROTOCOL_ERROR, "CONTINUATION of another stream")
        self.data += data
        self._frames += 1
        if len(self.data) > MAX_HEAD:
            raise Fault(ENHANCE_YOUR_CALM, f"a header block over {MAX_HEAD:,} bytes")
        if self._frames > MAX_CONTINUATIONS:
            raise Fault(ENHANCE_YOUR_CALM, f"a header block in over {MAX_CONTINUATIONS} pieces")
        return flags & END_HEADERS != 0
