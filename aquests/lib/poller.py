"""Which descriptors are ready: epoll, kqueue or select behind four methods.

The masks are epoll's own numbers, so that the common poller hands its events on untouched.
Errors and hang-ups arrive as bits of READ: whoever reads next learns from ``recv`` what it was.
"""

from __future__ import annotations

import errno
import select
from typing import Final, Protocol

READ: Final = 0x001 | 0x008 | 0x010  # EPOLLIN, EPOLLERR, EPOLLHUP
WRITE: Final = 0x004  # EPOLLOUT
BATCH: Final = 512
"""Events taken at once: bounds a step, and keeps 5,000 busy lines fair to one another."""


class Poller(Protocol):
    """``register``, ``modify``, ``unregister`` a descriptor, ``poll(timeout)`` for (fd, mask) pairs."""

    def register(self, fd: int, mask: int) -> None: ...

    def modify(self, fd: int, mask: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def poll(self, timeout: float | None) -> list[tuple[int, int]]: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class EpollPoller:
    """Linux. Registered once, changed only when the interest changes."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.fileno = self._epoll.fileno
        self.close = self._epoll.close

    def register(self, fd: int, mask: int) -> None:
        self._epoll.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        # libpq swaps sockets under one number, and the kernel then knows the number no more.
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except OSError as error:
            if not _is_gone(error):
                raise

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        return self._epoll.poll(timeout, BATCH)


class KqueuePoller:
    """BSD and macOS. Read and write interest are two filters of one descriptor."""

    def __init__(self) -> None:
        self._kqueue = select.kqueue()  # type: ignore[attr-defined,unused-ignore]
        self.fileno = self._kqueue.fileno
        self.close = self._kqueue.close
        self._masks: dict[int, int] = {}

    def _change(self, fd: int, mask: int) -> None:
        old = self._masks.get(fd, 0)
        for bit, name in ((READ, "KQ_FILTER_READ"), (WRITE, "KQ_FILTER_WRITE")):
            if (mask ^ old) & bit:
                act = select.KQ_EV_ADD if mask & bit else select.KQ_EV_DELETE  # type: ignore[attr-defined,unused-ignore]
                event = select.kevent(fd, getattr(select, name), act)  # type: ignore[attr-defined,unused-ignore]
                try:
                    self._kqueue.control([event], 0)
                except OSError as error:
                    if not _is_gone(error):
                        raise

    def register(self, fd: int, mask: int) -> None:
        self._masks.pop(fd, None)
        self._change(fd, mask)
        self._masks[fd] = mask

    def modify(self, fd: int, mask: int) -> None:
        self._change(fd, mask)
        self._masks[fd] = mask

    def unregister(self, fd: int) -> None:
        self._change(fd, 0)
        self._masks.pop(fd, None)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        events = self._kqueue.control(None, BATCH, timeout)
        write = select.KQ_FILTER_WRITE  # type: ignore[attr-defined,unused-ignore]
        return [(event.ident, WRITE if event.filter == write else READ) for event in events]


class SelectPoller:
    """Everywhere. Costs by the open descriptors, not the ready ones, and has no pollable fd."""

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def register(self, fd: int, mask: int) -> None:
        self.modify(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        (self._readers.add if mask & READ else self._readers.discard)(fd)
        (self._writers.add if mask & WRITE else self._writers.discard)(fd)

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        # Windows reports a failed connect only in the third set.
        readable, writable, failed = select.select(self._readers, self._writers, self._writers, timeout)
        masks = dict.fromkeys(readable, READ)
        for fd in (*writable, *failed):
            masks[fd] = masks.get(fd, 0) | WRITE
        return list(masks.items())

    def fileno(self) -> int:
        raise OSError("select() has no descriptor of its own: use epoll or kqueue to be stepped from outside")

    def close(self) -> None:
        self._readers.clear()
        self._writers.clear()


def _is_gone(error: OSError) -> bool:
    """Has libpq closed the socket, or swapped it under its number? A closed one leaves epoll and kqueue by itself."""
    return isinstance(error, FileNotFoundError) or error.errno == errno.EBADF


def best_poller() -> Poller:
    """The best of this platform: epoll, else kqueue, else select."""
    if hasattr(select, "epoll"):
        return EpollPoller()
    if hasattr(select, "kqueue"):
        return KqueuePoller()
    return SelectPoller()
