"""What several tests of ``aquests.lib`` use."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest


@pytest.fixture
def pair() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """``pair()``: two connected sockets that do not block, closed after the test."""
    with ExitStack() as stack:

        def make() -> tuple[socket.socket, socket.socket]:
            ends = socket.socketpair()
            for end in ends:
                stack.enter_context(end)
                end.setblocking(False)
            return ends

        yield make
