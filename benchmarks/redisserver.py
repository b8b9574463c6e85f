"""A Redis of our own on the server's core, with one value in it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .case import Site, Wanted
from .machine import Absent, pinned

HOST = "127.0.0.1"
KEY = "page"
START = 15.0
"""Seconds it may take to answer, on a loaded machine."""


@contextmanager
def value(wanted: Wanted) -> Iterator[Site]:
    """``wanted.size`` bytes under ``KEY``; the site's ``url`` is ``host:port``."""
    program = shutil.which("redis-server")
    if program is None:
        raise Absent("redis-server is not installed")
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        settings = {"bind": HOST, "port": port, "save": "", "appendonly": "no", "dir": name}
        settings["maxclients"] = wanted.lines + 100
        words = [word for setting, said in settings.items() for word in (f"--{setting}", str(said))]
        with (Path(name) / "output").open("wb") as output, pinned(wanted.core):
            process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _await(process, port, Path(name) / "output")
            _ask(port, f"SET {KEY} {'x' * wanted.size}")
            yield Site(f"{HOST}:{port}", wanted.size, counters=lambda: _counters(port))
        finally:
            process.terminate()
            process.wait()


def _counters(port: int) -> tuple[int, int]:
    """Connections accepted and commands processed; what asks for them counts as one of each."""
    info = dict(line.split(":", 1) for line in _ask(port, "INFO stats").splitlines() if ":" in line)
    return int(info["total_connections_received"]), int(info["total_commands_processed"])


def _ask(port: int, command: str) -> str:
    """An inline command, and what comes back in one piece."""
    with socket.create_connection((HOST, port), timeout=START) as sock:
        sock.sendall(command.encode() + b"\r\n")
        return sock.recv(65536).decode()


def _await(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        try:
            if _ask(port, "PING").startswith("+PONG"):
                return
        except OSError:
            time.sleep(0.01)
    raise Absent(f"redis-server does not start: {output.read_text(errors='replace')[-200:]}")
