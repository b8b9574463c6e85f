"""What the servers of ``tests/live`` share: a program that is started, answers, and is ended again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers import ROOT, accepts

HOST = "127.0.0.1"
START = 15.0
"""Seconds a server may take to answer, on a loaded machine."""


@dataclass
class Server:
    """A running server. ``tls_port`` is 0 without certificates; ``path`` is its unix socket, if it has one."""

    process: subprocess.Popen[bytes]
    directory: Path
    port: int
    tls_port: int = 0
    path: str = ""
    root: Path = field(default_factory=Path)

    @property
    def url(self) -> str:
        """``http://host:port``, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def tls_url(self) -> str:
        """``https://localhost:port``, without a slash at the end."""
        return f"https://localhost:{self.tls_port}"

    def log(self) -> str:
        """What the server has printed."""
        return (self.directory / "output").read_text(errors="replace")


@contextlib.contextmanager
def running(
    command: Callable[[int, int], list[str]], directory: Path, *, clear: bool = True, tls: bool = False
) -> Iterator[Server]:
    """Start, wait until all ports accept, and stop.

    Between choosing a port and binding it somebody else may take it: then the server ends, and is started
    again with other ports.
    """
    for _ in range(5):
        port, tls_port = free_ports()
        with (directory / "output").open("wb") as output:
            process = subprocess.Popen(
                command(port, tls_port), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        server = Server(process, directory, port if clear else 0, tls_port if tls else 0)
        try:
            if all([accepting(process, number) for number in (server.port, server.tls_port) if number]):
                yield server
                return
        finally:
            stop(process)
    raise AssertionError(f"{directory.name} does not start: {server.log()}")


def free_ports() -> tuple[int, int]:
    """Two ports that nobody had when they were looked for."""
    with socket.socket() as one, socket.socket() as two:
        one.bind((HOST, 0))
        two.bind((HOST, 0))
        return one.getsockname()[1], two.getsockname()[1]


def accepting(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the port accepts; False when the server has ended instead, or takes too long."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        if accepts(port):
            return process.poll() is None
        time.sleep(0.01)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it; what does not end within ten seconds is killed."""
    process.terminate()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def require_program(name: str) -> str:
    """Its path; the test is skipped where there is none."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    return found or pytest.skip(f"{name} is not installed")


def require_package(name: str) -> None:
    """The test is skipped where it is not installed."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def new_room(directory: Path, name: str) -> Path:
    """A directory of its own for each server, so that one test may start several."""
    number = sum(1 for path in directory.glob(f"{name}*"))
    room = directory / f"{name}{number}"
    room.mkdir(parents=True)
    return room
