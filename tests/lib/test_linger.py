"""The end of a line whose goodbye the peer answers: until it has closed, or its time is over."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from aquests.lib.linger import PATIENCE, Linger
from aquests.lib.loop import Loop
from tests.loopback import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def loop(clock: ManualClock) -> Iterator[Loop]:
    loop = Loop(clock=clock)
    yield loop
    loop.close()


@pytest.fixture
def peer(loop: Loop) -> Iterator[socket.socket]:
    """The other end of a socket that lingers."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    Linger(loop, ours)
    with theirs:
        yield theirs


def test_it_ends_when_the_peer_has_closed(loop: Loop, peer: socket.socket) -> None:
    loop.step(0)
    assert len(loop.lingering) == 1
    peer.sendall(b"what was on its way" * 10_000)
    for _ in range(10):
        loop.step(0)
    assert len(loop.lingering) == 1, "words are read, and change nothing"
    peer.close()
    loop.take_leave()
    assert not loop.lingering and loop.next_deadline() is None


def test_it_ends_when_the_line_breaks(loop: Loop, peer: socket.socket) -> None:
    peer.close()  # with our goodbye unread, or a reset: whatever the system says
    loop.step(0)
    assert not loop.lingering


def test_a_peer_that_does_not_close_has_its_time(loop: Loop, peer: socket.socket, clock: ManualClock) -> None:
    clock.advance(PATIENCE * 0.99)
    loop.step(0)
    assert len(loop.lingering) == 1
    clock.advance(PATIENCE * 0.02)
    loop.step(0)
    assert not loop.lingering and peer.recv(1) == b""


def test_a_loop_that_closes_waits_for_nobody(loop: Loop, peer: socket.socket) -> None:
    loop.close()
    assert not loop.lingering and peer.recv(1) == b""
