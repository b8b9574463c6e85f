"""WebSocket in bytes, for tests: what a server says, and the reading of what a client says."""

from __future__ import annotations

import contextlib
import re
import zlib
from types import SimpleNamespace
from typing import Any

from websocket import ABNF
from websocket._abnf import frame_buffer

from aquests.exchange import Exchange, Request
from aquests.protocols.websocket import WebSocket
from aquests.protocols.wsframes import BINARY, CLOSE, TEXT, Messages
from aquests.protocols.wsmessage import BINARY_STARTS, MAX_PLAIN, TEXT_STARTS, Plain
from aquests.protocols.wsopening import Opening, accept_for
from aquests.settings import Settings
from tests.steps import Line, LineEnded, ScriptError, Step, expect, loop, say

KEY = "AAECAwQFBgcICQoLDA0ODw=="
"""The key of an opening by ``counted``."""
URL = "ws://example.com/chat?room=1"


def counted(size: int) -> bytes:
    """No luck at all: 0, 1, 2 …"""
    return bytes(number & 255 for number in range(size))


def bomb(size: int) -> bytes:
    """``size`` zeros, as permessage-deflate has them."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(bytes(size)) + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]


def make_wire(**options: Any) -> WebSocket:
    """A wire as the scheme makes it; ``options`` are ``subprotocols`` and ``compression``."""
    place = SimpleNamespace(scheme="ws", host_header="example.com", options=options)
    return WebSocket(Opening(place), counted)


def make_exchange(
    message: Any = "hello", replies: int = 1, *, max_content: int | None = None, headers: Any = (), url: str = URL
) -> Exchange:
    """As ``ws()`` makes it: ``message`` is text, (opcode, data), None, or a list, which goes the long way."""
    several = message if isinstance(message, list) else [] if message is None else [message]
    items = [one if isinstance(one, tuple) else (TEXT, one.encode()) for one in several]
    payload: Plain | Messages = Messages(items, replies)
    if replies == 1 and not isinstance(message, list) and len(items) == 1:
        ((opcode, data),) = items
        if opcode in (TEXT, BINARY) and len(data) <= MAX_PLAIN:
            payload = Plain((TEXT_STARTS if opcode == TEXT else BINARY_STARTS)[len(data)] + data)
    request = Request("GET", url, payload, headers)
    settings = Settings() if max_content is None else Settings(max_content=max_content)
    return request.begin(0.0, settings)


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = False) -> bytes:
    """A server's frame."""
    size = len(data)
    short = size if size < 126 else 126 if size < 65536 else 127
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode, short | (0x80 if masked else 0)))
    return head + (b"" if size < 126 else size.to_bytes(2 if size < 65536 else 8, "big")) + data


def text(words: str) -> bytes:
    return frame(TEXT, words.encode())


def binary(data: bytes) -> bytes:
    return frame(BINARY, data)


def answer(*headers: str, key: str = KEY) -> bytes:
    """A good 101."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_for(key)}",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def frames(sent: bytes) -> list[ABNF]:
    """What a client sent behind its opening, read by ``websocket-client``; every frame must be masked."""
    rest = bytearray(sent)

    def recv(size: int) -> bytes:
        taken = bytes(rest[:size])
        del rest[:size]
        return taken

    found = []
    while rest:
        assert rest[1] & 0x80, "a frame without a mask"
        found.append(frame_buffer(recv, skip_utf8_validation=False).recv_frame())
    return found


def said(sent: bytes) -> list[tuple[int, int, bytes]]:
    """Opcode, FIN and payload of each frame."""
    return [(found.opcode, found.fin, bytes(found.data)) for found in frames(sent)]  # type: ignore[arg-type]


# Steps of a scripted peer


def opens(*headers: str) -> list[Step]:
    """Accept the opening, whatever it offers; ``line.matched`` is its request."""

    def accept(line: Line) -> bytes:
        found = re.search(rb"\r\nSec-WebSocket-Key: ([0-9A-Za-z+/]{22}==)\r\n", line.matched)
        if found is None or line.matched.count(b"Sec-WebSocket-Key") != 1:
            raise ScriptError(f"no opening: {line.matched!r}")
        return answer(*headers, key=found[1].decode())

    return [expect(b"\r\n\r\n"), say(accept)]


def hears(*wanted: tuple[int, bytes]) -> Step:
    """Read the client's next frames, which must be these: opcode and payload."""

    def step(line: Line) -> None:
        for opcode, data in wanted:
            expect(_frame_size)(line)
            if said(line.matched) != [(opcode, 1, data)]:
                raise ScriptError(f"expected {(opcode, data)!r}, got {said(line.matched)!r}")

    return step


def echoes(times: int | None = None) -> Step:
    """Send each frame back, and a CLOSE as well."""

    def step(line: Line) -> None:
        expect(_frame_size)(line)
        ((opcode, fin, data),) = said(line.matched)
        with contextlib.suppress(OSError):  # whoever waits for no reply may be gone
            line.send(frame(opcode, data, fin=bool(fin)))
        if opcode == CLOSE:
            raise LineEnded

    return loop(step, times=times)


def _frame_size(pending: bytes) -> int:
    """Bytes of the client's frame at the beginning; 0 while it is not all there."""
    if len(pending) < 14 and len(pending) < 6 + (pending[1] & 0x7F if len(pending) > 1 else 8):
        return 0
    size = pending[1] & 0x7F
    start = {126: 8, 127: 14}.get(size, 6)
    if size >= 126:
        size = int.from_bytes(pending[2 : start - 4], "big")
    return start + size if len(pending) >= start + size else 0
