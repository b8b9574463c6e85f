"""A MongoDB server for tests: ``mongod`` if it is on the path, else FerretDB, built by ``.ci/ferretdb``."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import ROOT, until

CACHE = Path.home() / ".cache" / "aquests" / "ferretdb"
HOW = "no mongod on the path and no FerretDB in the cache: install mongod, or run .ci/ferretdb (needs Go)"


def program() -> str | None:
    """The server to start, None if there is none."""
    mongod = shutil.which("mongod")
    if mongod:
        return mongod
    return str(CACHE) if CACHE.is_file() else None


class Server(NamedTuple):
    """``place`` is ``host:port``."""

    place: str


@contextlib.contextmanager
def mongodb_server(directory: Path) -> Iterator[Server]:
    """A server in ``directory``; the test is skipped where there is none."""
    found = program()
    if found is None:
        pytest.skip(HOW)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    if found.endswith("mongod"):
        arguments = ["--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1", "--quiet"]
    else:
        arguments = [
            "--handler=sqlite",
            f"--sqlite-url=file:{directory}/",
            f"--listen-addr=127.0.0.1:{port}",
            f"--state-dir={directory}",
            "--telemetry=disable",
            "--debug-addr=-",
        ]
    process = subprocess.Popen([found, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)

    def answers() -> bool:
        assert process.poll() is None, "the server ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    try:
        until(answers, 30.0)
        yield Server(f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)
