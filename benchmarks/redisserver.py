"""A Redis of our own on the server's core, with one value in it."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from .case import Site, Wanted
from .machine import Absent
from .process import HOST, START, free_ports, running

KEY = "page"


@contextmanager
def value(wanted: Wanted) -> Iterator[Site]:
    """``wanted.size`` bytes under ``KEY``; the site's ``url`` is ``host:port``."""
    program = shutil.which("redis-server")
    if program is None:
        raise Absent("redis-server is not installed")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        settings = {"bind": HOST, "port": port, "save": "", "appendonly": "no", "dir": name}
        settings["maxclients"] = wanted.lines + 100
        words = [word for setting, said in settings.items() for word in (f"--{setting}", str(said))]
        with running([program, *words], wanted.core, lambda: _ask(port, f"SET {KEY} {'x' * wanted.size}")):
            yield Site(f"{HOST}:{port}", wanted.size, counters=lambda: _counters(port))


def _counters(port: int) -> tuple[int, int]:
    """Connections accepted and commands processed; what asks for them counts as one of each."""
    info = dict(line.split(":", 1) for line in _ask(port, "INFO stats").splitlines() if ":" in line)
    return int(info["total_connections_received"]), int(info["total_commands_processed"])


def _ask(port: int, command: str) -> str:
    """An inline command, and what comes back in one piece."""
    with socket.create_connection((HOST, port), timeout=START) as sock:
        sock.sendall(command.encode() + b"\r\n")
        return sock.recv(65536).decode()
