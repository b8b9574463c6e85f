"""Small things that many tests share."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

    from aquests.bodysource import BodySource

ROOT = Path(__file__).resolve().parent.parent
"""The root of the project."""


def feedings(data: bytes, seed: int | str = 0) -> Iterator[list[bytes]]:
    """The three ways of cutting ``data`` that every read case is fed: whole, byte by byte, random cuts.

    The same seed gives the same cuts. Joining the pieces gives ``data``; no piece is empty.
    """
    yield [data] if data else []
    yield [data[at : at + 1] for at in range(len(data))]
    yield random_cuts(data, random.Random(f"{seed}"))


def random_cuts(data: bytes, chance: random.Random) -> list[bytes]:
    """Cut ``data`` into pieces of very different sizes: most are small, some take half of the rest."""
    pieces = []
    while data:
        size = chance.randint(1, max(1, len(data) // 2 if chance.random() < 0.2 else min(len(data), 12)))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def whole(body: BodySource, n: int = 65536) -> bytes:
    """All of a body, in reads of at most ``n``; the end is final."""
    pieces = list(iter(lambda: body.read(n), b""))
    assert all(0 < len(piece) <= n for piece in pieces)
    assert body.read(n) == b""
    return b"".join(pieces)


def until(condition: Callable[[], object], patience: float = 5.0, between: Callable[[], object] | None = None) -> None:
    """Call ``between`` (by default a millisecond's rest) until the condition holds; fail after ``patience`` seconds.

    For what happens in another process or thread and cannot be waited for. An engine in the same thread is
    driven by ``until(lambda: done, between=lambda: engine.step(0.01))``.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain for {patience} s")
        if between is None:
            time.sleep(0.001)
        else:
            between()


def accepts(port: int) -> bool:
    """Does anybody listen at this port of 127.0.0.1?"""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


class Leftovers:
    """What a test leaves behind: threads, child processes, sockets. Made before the test, asked after it."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._children = set(_children())
        self._sockets = _sockets()

    def find(self, patience: float = 2.0) -> list[str]:
        """Describe what is left. Threads and processes that are about to end get ``patience`` seconds."""
        deadline = time.monotonic() + patience
        for thread in set(threading.enumerate()) - self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        found = [f"thread {thread.name}" for thread in threading.enumerate() if thread not in self._threads]
        while (children := set(_children()) - self._children) and time.monotonic() < deadline:
            time.sleep(0.01)
        found += [f"process {child.pid} {child.name()}" for child in children]
        if extra := _sockets() - self._sockets:
            found.append(f"{len(extra)} open sockets")
        return found


def _children() -> list[psutil.Process]:
    if not _has_children():
        return []
    import psutil

    return list(psutil.Process().children(recursive=True))


def _has_children() -> bool:
    """Ask the kernel directly, since psutil takes milliseconds to look at all processes."""
    try:
        tasks = os.listdir("/proc/self/task")
        return any(Path(f"/proc/self/task/{task}/children").read_text() for task in tasks)
    except OSError:
        return True  # not Linux, or a thread that has just ended: look closely


def _sockets() -> set[str]:
    """The kernel's names of the sockets that are open in this process; empty where there is no /proc."""
    found = set()
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the directory's own descriptor
        if target.startswith("socket:"):
            found.add(target)
    return found
