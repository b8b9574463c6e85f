"""Waking: by eventfd where there is one, by a socket pair elsewhere."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from aquests.lib.wake import Wake

KINDS = ["eventfd", "pair"] if hasattr(os, "eventfd") else ["pair"]


@pytest.fixture(params=KINDS)
def wake(request, monkeypatch) -> Iterator[Wake]:
    if request.param == "pair":
        monkeypatch.delattr(os, "eventfd", raising=False)
    made = Wake()
    yield made
    made.close()


def is_set(wake: Wake, patience: float = 0.0) -> bool:
    return bool(select.select([wake], [], [], patience)[0])


def test_set_and_clear(wake):
    assert not is_set(wake)
    wake.set()
    assert is_set(wake)
    wake.clear()
    assert not is_set(wake)


def test_many_sets_count_as_one(wake):
    for _ in range(5000):  # more than a read takes, less than the pipe holds
        wake.set()
    assert is_set(wake)
    while is_set(wake):
        wake.clear()
    wake.set()
    assert is_set(wake)


def test_setting_never_blocks_however_often(wake, monkeypatch):
    if hasattr(os, "eventfd"):
        os.eventfd_write(wake.fileno(), 2**64 - 2)  # one more would not fit
    else:
        for _ in range(100_000):
            wake.set()
    wake.set()
    assert is_set(wake)


def test_clearing_what_is_not_set_is_legal(wake):
    wake.clear()
    wake.clear()
    assert not is_set(wake)


def test_set_from_another_thread(wake):
    thread = threading.Thread(target=wake.set)
    thread.start()
    assert is_set(wake, 5.0)
    thread.join()


def test_set_from_a_signal_handler(wake):
    old = signal.signal(signal.SIGUSR1, lambda number, frame: wake.set())
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert is_set(wake, 5.0)
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_close_is_idempotent_and_set_is_harmless_then(wake):
    fd = wake.fileno()
    wake.close()
    wake.close()
    wake.set()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_set_while_another_thread_closes(wake, monkeypatch):
    """The closing may come between the look at the ends and the write."""
    if hasattr(os, "eventfd"):
        write = os.eventfd_write

        def late(fd: int, value: int) -> None:
            wake.close()
            write(fd, value)

        monkeypatch.setattr(os, "eventfd_write", late)
    else:

        class Late(socket.socket):
            def send(self, *args: object) -> int:
                wake.close()
                raise OSError(9, "closed meanwhile")

        ends = wake._ends
        late_end = Late(fileno=ends[1].detach())
        wake._ends = (ends[0], late_end)
    wake.set()
    wake.set()
