"""How fast the machine is at this moment: round trips of a byte between the client's core and the server's.

Virtual machines change their speed under one's feet: the same wrk against the same nginx was seen at 165,000
and at 345,000 answers a second, for seconds each, on a guest that did nothing else. A loop of pure Python
did not notice; a byte that goes from core to core did, and it notices the neighbours' work too. So the
gauge is read before every measurement, and its range is printed with the figures.
"""

from __future__ import annotations

import os
import socket
from time import perf_counter

STEADY = 1.25
"""Highest to lowest reading above which the machine is called unsteady; in one mode it varies by a tenth."""


def round_trips(client: int | None, server: int | None, seconds: float) -> float:
    """Round trips a second between the two cores, measured for ``seconds``."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _echo(theirs, server)
    theirs.close()
    before = os.sched_getaffinity(0) if client is not None else set()
    try:
        if client is not None:
            os.sched_setaffinity(0, {client})
        _trip(ours)  # the child may still be on its way to its core
        trips, started = 0, perf_counter()
        while (passed := perf_counter() - started) < seconds:
            _trip(ours)
            trips += 1
        return trips / passed
    finally:
        if client is not None:
            os.sched_setaffinity(0, before)
        ours.close()
        os.waitpid(child, 0)


def _trip(sock: socket.socket) -> None:
    sock.send(b"x")
    sock.recv(1)


def _echo(sock: socket.socket, core: int | None) -> None:
    """The child: send back what comes, until nothing comes any more."""
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        while data := sock.recv(1):
            sock.send(data)
    finally:
        os._exit(0)
