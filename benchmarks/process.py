"""Servers that are programs: free ports, a process on the server's core, the wait until it answers, and its end."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import socket
from typing import IO, Any

from .machine import Absent, pinned

HOST = "127.0.0.1"
START = 15.0
"""Seconds it may take to answer, on a loaded machine."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody had when they were looked for, each another one."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def running(
    command: Sequence[str | Path],
    core: int | None,
    ask: Callable[[], object],
    *,
    refused: type[Exception] = OSError,
    patience: float = START,
    cwd: Path | None = None,
) -> Iterator[None]:
    """Run ``command`` on ``core``, and go on when it answers: when ``ask()`` does not raise ``refused`` any more.

    Absent, with its own words, when it has ended instead, or takes longer than ``patience``.
    """
    with tempfile.TemporaryFile() as output:
        with pinned(core):
            process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            if not _answers(process, ask, refused, patience):
                raise Absent(f"{Path(command[0]).name} does not start: {_end_of(output)}")
            yield
        finally:
            process.terminate()
            reap(process)


def _answers(
    process: subprocess.Popen[bytes], ask: Callable[[], object], refused: type[Exception], patience: float
) -> bool:
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        try:
            ask()
        except refused:
            time.sleep(0.02)
        else:
            return True
    return False


def _end_of(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace").strip()[-200:]


def reap(process: subprocess.Popen[Any]) -> None:
    """Wait for what was asked to end; after ten seconds it is made to."""
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
