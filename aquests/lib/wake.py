"""Waking a sleeping loop from another thread or from a signal handler."""

from __future__ import annotations

import os
import socket


class Wake:
    """A descriptor that becomes readable by ``set()`` and is emptied by ``clear()``.

    ``set()`` may be called from any thread and from signal handlers; many calls count as one.
    """

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._ends: tuple[int, ...] | tuple[socket.socket, ...] = (fd,)
        else:
            ends = socket.socketpair()
            for end in ends:
                end.setblocking(False)
            self._ends = ends

    def fileno(self) -> int:
        end = self._ends[0]
        return end if isinstance(end, int) else end.fileno()

    def set(self) -> None:
        ends = self._ends
        if not ends:
            return  # closed: nobody sleeps any more
        end = ends[-1]
        try:
            if isinstance(end, int):
                os.eventfd_write(end, 1)
            else:
                end.send(b"\0")
        except OSError:
            pass  # full: it is readable already; or closed at this moment by the thread that would have slept

    def clear(self) -> None:
        end = self._ends[0]
        try:
            if isinstance(end, int):
                os.eventfd_read(end)
            else:
                end.recv(4096)
        except BlockingIOError:
            pass  # spurious readiness is legal

    def close(self) -> None:
        for end in self._ends:
            if isinstance(end, int):
                os.close(end)
            else:
                end.close()
        self._ends = ()
