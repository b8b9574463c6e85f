"""The end of a line whose goodbye the peer answers: it is read until the peer has closed it, for a second at most.

A socket that is closed with bytes unread, or that gets some afterwards, resets the line: the peer may lose our last
words by that, and logs a broken connection in place of a farewell (RFC 6455 7.1.1: the server closes first).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from .poller import READ

if TYPE_CHECKING:
    from .loop import Loop

PATIENCE: Final = 1.0
"""Seconds the peer has to close the line."""
DISCARDED: Final = 65_536
"""Bytes that are read, and dropped, at once."""


class Linger:
    """Takes over a connected socket that no loop watches any more; stands in ``loop.lingering`` until it is closed."""

    __slots__ = ("_fd", "_loop", "_sock", "_timer")

    def __init__(self, loop: Loop, sock: socket.socket):
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._timer = loop.at(loop.now + PATIENCE, self.close)
        loop.add(self._fd, READ, self._on_readable)
        loop.lingering.add(self)

    def _on_readable(self, mask: int) -> None:
        try:
            left = self._sock.recv(DISCARDED)
        except BlockingIOError:
            return
        except OSError:
            left = b""
        if not left:
            self.close()

    def close(self) -> None:
        """The peer has closed the line, or has had its time."""
        self._timer.cancel()
        self._loop.remove(self._fd)
        self._sock.close()
        self._loop.lingering.discard(self)

    def crash(self, error: Exception) -> None:
        """A handler of ours raised."""
        self.close()
