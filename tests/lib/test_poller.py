"""The pollers of this platform do the same: one set of tests for all of them."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from aquests.lib import poller as module
from aquests.lib.poller import BATCH, READ, WRITE, EpollPoller, KqueuePoller, Poller, SelectPoller, best_poller

KINDS: dict[str, type] = {"epoll": EpollPoller, "kqueue": KqueuePoller, "select": SelectPoller}
HERE = [kind for name, kind in KINDS.items() if hasattr(select, name)]


@pytest.fixture(params=HERE, ids=lambda kind: kind.__name__)
def poller(request) -> Iterator[Poller]:
    made = request.param()
    yield made
    made.close()


def ready(poller: Poller, timeout: float | None = 0.0) -> dict[int, int]:
    """Descriptor to what it is ready for, as READ and WRITE; kqueue reports them one by one."""
    told: dict[int, int] = {}
    for fd, mask in poller.poll(timeout):
        told[fd] = told.get(fd, 0) | (READ if mask & READ else 0) | (WRITE if mask & WRITE else 0)
    return told


def fill(sock: socket.socket) -> None:
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        pass


def test_nothing_is_ready(poller, pair):
    assert ready(poller) == {} or isinstance(poller, SelectPoller)
    mine, _ = pair()
    poller.register(mine.fileno(), READ)
    assert ready(poller) == {}


def test_readable(poller, pair):
    mine, theirs = pair()
    poller.register(mine.fileno(), READ)
    theirs.send(b"x")
    assert ready(poller, None) == {mine.fileno(): READ}
    assert ready(poller) == {mine.fileno(): READ}, "readiness is a level, not an edge"
    mine.recv(10)
    assert ready(poller) == {}


def test_writable(poller, pair):
    mine, theirs = pair()
    poller.register(mine.fileno(), WRITE)
    assert ready(poller) == {mine.fileno(): WRITE}
    fill(mine)
    assert ready(poller) == {}
    while select.select([theirs], [], [], 0)[0]:
        theirs.recv(1 << 20)
    assert ready(poller, 5.0) == {mine.fileno(): WRITE}


def test_both(poller, pair):
    mine, theirs = pair()
    poller.register(mine.fileno(), READ | WRITE)
    theirs.send(b"x")
    assert ready(poller) == {mine.fileno(): READ | WRITE}


def test_modify_changes_the_interest(poller, pair):
    mine, theirs = pair()
    fd = mine.fileno()
    theirs.send(b"x")
    poller.register(fd, READ)
    for mask in (WRITE, READ, READ | WRITE, WRITE, READ | WRITE, READ):
        poller.modify(fd, mask)
        assert ready(poller) == {fd: mask}


def test_unregister(poller, pair):
    mine, theirs = pair()
    poller.register(mine.fileno(), READ | WRITE)
    theirs.send(b"x")
    poller.unregister(mine.fileno())
    assert ready(poller) == {}
    poller.register(mine.fileno(), READ)
    assert ready(poller) == {mine.fileno(): READ}


def test_a_peer_that_left_makes_readable(poller, pair):
    mine, theirs = pair()
    poller.register(mine.fileno(), READ)
    theirs.close()
    assert ready(poller) == {mine.fileno(): READ}


@pytest.mark.parametrize("interest", (WRITE, READ | WRITE))
def test_a_refused_connection_is_reported_to_whoever_waits_for_it(poller, interest):
    with socket.socket() as bound, socket.socket() as mine:
        bound.bind(("127.0.0.1", 0))
        mine.setblocking(False)
        mine.connect_ex(bound.getsockname())
        poller.register(mine.fileno(), interest)
        assert mine.fileno() in ready(poller, 5.0)


def test_a_batch_is_bounded(poller, pair):
    if isinstance(poller, SelectPoller):
        assert BATCH * 2 > 1000, "select itself takes no more descriptors"
        return
    writers = [pair()[0] for _ in range(8)]
    for sock in writers:
        poller.register(sock.fileno(), WRITE)
    assert len(poller.poll(0.0)) == 8
    before = module.BATCH
    try:
        module.BATCH = 3  # type: ignore[misc]
        assert len(poller.poll(0.0)) == 3
    finally:
        module.BATCH = before  # type: ignore[misc]


def test_a_descriptor_may_be_swapped_under_its_number(poller, pair):
    """libpq does so between two addresses: the kernel then does not know the number any more."""
    first, _ = pair()
    second, second_peer = pair()
    fd = first.fileno()
    poller.register(fd, READ)
    os.dup2(second.fileno(), fd)
    poller.modify(fd, READ)
    second_peer.send(b"x")
    assert ready(poller, 5.0) == {fd: READ}


def test_a_swapped_descriptor_may_be_unregistered(poller, pair):
    first, _ = pair()
    second, second_peer = pair()
    poller.register(first.fileno(), READ)
    os.dup2(second.fileno(), first.fileno())
    poller.unregister(first.fileno())
    second_peer.send(b"x")
    assert ready(poller) == {}


def test_fileno_can_be_watched_by_another_poller(poller, pair):
    if isinstance(poller, SelectPoller):
        with pytest.raises(OSError, match="has no descriptor of its own"):
            poller.fileno()
        return
    mine, theirs = pair()
    poller.register(mine.fileno(), READ)
    assert not select.select([poller], [], [], 0)[0]
    theirs.send(b"x")
    assert select.select([poller], [], [], 5.0)[0]


def test_close_is_idempotent(poller):
    poller.close()
    poller.close()


@pytest.mark.parametrize(
    "missing, expected",
    (
        ((), EpollPoller),
        (("epoll",), SelectPoller),
    ),
)
def test_the_best_poller_of_a_platform(monkeypatch, missing, expected):
    if not hasattr(select, "epoll"):
        pytest.skip("this is about Linux")
    for name in missing:
        monkeypatch.delattr(select, name)
    made = best_poller()
    assert isinstance(made, expected)
    made.close()


def test_kqueue_is_taken_where_there_is_no_epoll(monkeypatch):
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(select, "kqueue", FakeKqueue, raising=False)
    monkeypatch.setattr(select, "kevent", lambda fd, kind, act: (fd, kind, act), raising=False)
    for name in ("KQ_FILTER_READ", "KQ_FILTER_WRITE", "KQ_EV_ADD", "KQ_EV_DELETE"):
        monkeypatch.setattr(select, name, name, raising=False)
    made = best_poller()
    assert isinstance(made, KqueuePoller)
    made.register(5, READ)
    made.modify(5, READ | WRITE)
    made.modify(5, WRITE)
    made.unregister(5)
    assert made._kqueue.changes == [
        (5, "KQ_FILTER_READ", "KQ_EV_ADD"),
        (5, "KQ_FILTER_WRITE", "KQ_EV_ADD"),
        (5, "KQ_FILTER_READ", "KQ_EV_DELETE"),
        (5, "KQ_FILTER_WRITE", "KQ_EV_DELETE"),
    ]
    made.register(6, WRITE)
    made._kqueue.gone = True
    made.unregister(6)  # it was closed first: its filters went with it
    read, write = SimpleNamespace(ident=7, filter="KQ_FILTER_READ"), SimpleNamespace(ident=7, filter="KQ_FILTER_WRITE")
    made._kqueue.events = [read, write]
    assert made.poll(0.5) == [(7, READ), (7, WRITE)]


class FakeKqueue:
    """Only writes down what it is told to watch: the real one is tested where it exists."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, str, str]] = []
        self.events: list[Any] = []
        self.gone = False

    def control(
        self, changes: list[tuple[int, str, str]] | None, limit: int, timeout: float | None = None
    ) -> list[Any]:
        if changes is None:
            return self.events
        if self.gone:
            raise FileNotFoundError
        self.changes += changes
        return []

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        """Nothing is open."""
