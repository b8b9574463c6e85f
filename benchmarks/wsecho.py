"""A WebSocket echo on the server's core: gorilla/websocket, in Go; where it cannot be built, a few lines of Python.

Those lines know just enough: whole small frames of one message each, as all clients here send them. Neither agrees to
an extension.
"""

from __future__ import annotations

import asyncio
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from typing import cast

from .case import Site, Wanted
from .goserver import built, serving
from .machine import package_version
from .process import HOST

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE = 8


@contextmanager
def echo(wanted: Wanted) -> Iterator[Site]:
    """Each message comes back as it was sent."""
    program = built("wsecho")
    command = [sys.executable, "-m", "benchmarks.wsecho"] if program is None else [program]
    said = "our own in Python, as there is no Go: it is the brake" if program is None else "gorilla/websocket in Go"
    with serving(command, wanted.core) as port:
        yield Site(f"ws://{HOST}:{port}/echo", wanted.size, server=said)


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._buffer = b""
        self._opened = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._opened:
            self._open()
            return
        out = []
        while (end := self._frame_end()) <= len(self._buffer):
            out.append(self._echoed(self._buffer[:end]))
            self._buffer = self._buffer[end:]
            if out[-1][0] & 0x0F == _CLOSE:
                self._transport.write(b"".join(out))
                self._transport.close()
                return
        if out:
            self._transport.write(b"".join(out))

    def _open(self) -> None:
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        lines = (line.partition(b":") for line in self._buffer.split(b"\r\n"))
        key = next(value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key")
        accept = b64encode(sha1(key + _GUID).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._transport.write(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self._buffer = b""
        self._opened = True

    def _frame_end(self) -> int:
        """Where the first frame ends; behind the buffer if its head is not there."""
        buffer = self._buffer
        if len(buffer) < 8:
            return 6 + (buffer[1] & 0x7F) if len(buffer) >= 2 and buffer[1] & 0x7F < 126 else 8
        size = buffer[1] & 0x7F
        return 6 + size if size < 126 else 8 + int.from_bytes(buffer[2:4], "big")

    def _echoed(self, frame: bytes) -> bytes:
        start = 2 if frame[1] & 0x7F < 126 else 4
        data = frame[start + 4 :]
        key = (frame[start : start + 4] * (len(data) // 4 + 1))[: len(data)]
        plain = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
        return bytes((frame[0], frame[1] & 0x7F)) + frame[2:start] + plain


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Print the port, and serve until the standard input ends."""
    if package_version("uvloop") is None:
        asyncio.run(_serve())
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
