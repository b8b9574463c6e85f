"""How fast the machine is at this moment: round trips of a byte between the client's core and the server's.

Virtual machines change their speed under one's feet: the same wrk against the same nginx was seen at 165,000
and at 345,000 answers a second, for seconds each, on a guest that did nothing else. A loop of pure Python
did not notice; a byte that goes from core to core did, and it notices the neighbours' work too. So the
gauge is read before every measurement, and its range is printed with the figures.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from time import perf_counter

STEADY = 1.25
"""Highest to lowest reading above which the machine is called unsteady; in one mode it varies by a tenth."""


def round_trips(client: int | None, server: int | None, seconds: float) -> float:
    """Round trips a second between the two cores, measured for ``seconds``."""
    ours, theirs = socket.socketpair()
    with theirs:
        # A program of its own: a process with threads is not to be forked, and PyMongo has some that watch its server.
        words = [sys.executable, "-I", "-S", __file__, "" if server is None else str(server)]
        # It ends with the socket; Ctrl-C is not for it.
        child = subprocess.Popen(words, stdin=theirs.fileno(), process_group=0)
    before = os.sched_getaffinity(0) if client is not None else set()
    with child, ours:
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


def _trip(sock: socket.socket) -> None:
    sock.send(b"x")
    sock.recv(1)


def _echo(sock: socket.socket, core: str) -> None:
    """The child: send back what comes, until nothing comes any more."""
    if core:
        os.sched_setaffinity(0, {int(core)})
    try:
        while data := sock.recv(1):
            sock.send(data)
    except ConnectionError:
        pass  # the other side was interrupted on a trip


if __name__ == "__main__":
    with socket.socket(fileno=0) as stdin:
        _echo(stdin, sys.argv[1])
