"""``aquests demo``: a server of our own in a child process, and as many requests to it as wanted.

The server is granian (``pip install 'aquests[demo]'``) inside one process, so that there is nothing behind it
that could outlive it. It ends when its standard input does: the system closes that pipe however we end,
killed too. Its port is chosen by the system and held by us, bound but not listening, until it is over;
with SO_REUSEPORT the server may bind it beside us, and nobody else gets it in between.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import repeat
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

from .errors import ConnectError, RequestError
from .exchange import Response
from .lib.console import Brake, Output, Progress, every, is_terminal, say, writing
from .report import Report
from .script import configure, feed, fetchall, script
from .settings import Settings

HOST: Final = "127.0.0.1"
PAGE: Final = b"aquests, a page of the demo's server.\n".ljust(4095, b".") + b"\n"
"""4096 bytes: what every request of the demo is answered with."""
START: Final = 15.0
"""Seconds the server may take to answer, on a loaded machine."""
BACKLOG: Final = 4096
"""Connections that may wait to be accepted: all workers come at once."""


class Stage(NamedTuple):
    """One protocol of the demo: its name in reports, the scheme of its URLs, what granian calls it, and what
    ``configure`` needs beyond the defaults."""

    name: str
    scheme: str
    http: str
    settings: dict[str, Any]


STAGES: Final = (Stage("HTTP/1.1", "http", "1", {"force_http1": True}),)
"""What the demo shows, one after the other."""


@contextmanager
def server(stage: Stage, port: int = 0, wanted: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """Run the server and yield its URL; it is gone when the block is left.

    ``port`` 0 lets the system choose; ``wanted`` is asked while waiting, and ends the wait by returning False.
    Raises RequestError if the port is taken, ConnectError if the server does not answer.
    """
    with _held_port(port) as holder:
        number = holder.getsockname()[1]
        # The child finds what we have found, and nothing that just lies in the working directory.
        command = [sys.executable, "-P", "-m", "aquests.demo", str(number), stage.http]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        with child:  # closes its pipes and waits for it
            try:
                _wait(child, number, wanted)
                yield f"{stage.scheme}://{HOST}:{number}/"
            finally:
                child.kill()  # it holds nothing that would have to be brought to an end


def _held_port(port: int) -> socket.socket:
    """A socket that keeps a port for the server to share; 0 takes any."""
    holder = socket.socket()
    try:
        if port:
            with socket.socket() as alone:  # a server that shares its port as well would let us in beside it
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind((HOST, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((HOST, port))
    except OSError as error:
        holder.close()
        raise RequestError(f"port {port} cannot be used: {error.strerror}") from error
    return holder


def _wait(child: subprocess.Popen[bytes], port: int, wanted: Callable[[], bool]) -> None:
    """Until the server accepts."""
    deadline = monotonic() + START
    while wanted():
        if child.poll() is not None:
            assert child.stderr is not None
            said = child.stderr.read().decode(errors="replace").strip().splitlines()
            raise ConnectError(f"the demo's server ended: {said[-1] if said else f'exit code {child.returncode}'}")
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
            return
        except OSError as error:
            if monotonic() > deadline:
                raise ConnectError(f"the demo's server did not answer within {START:g} s: {error}") from error
            sleep(0.01)


class Visit:
    """A run over one stage: ``requests`` by ``workers``. ``wrong`` counts answers that are not the page."""

    def __init__(self, stage: Stage, requests: int, workers: int, progress: Progress):
        self.wrong = 0
        self._stage = stage
        self._requests = requests
        self._workers = workers
        self._progress = progress

    def run(self, url: str) -> Report:
        configure(self._workers, callback=self._check, trust_env=False, **self._stage.settings)
        every(script.engine.loop, self._progress.draw)
        feed(repeat(url, self._requests))
        return fetchall()

    def _check(self, response: Response) -> None:
        self._progress.done += 1
        if response.status_code != 200 or response.content != PAGE:
            self._progress.failed += 1
            self.wrong += response.error is None


def run_demo(requests: int, workers: int, port: int = 0) -> int:
    """Each stage in turn, on a server of its own, with its report on stdout; returns the exit code.

    Raises RequestError if it cannot be run like this, ConnectError if the server does not start.
    """
    if find_spec("granian") is None:
        raise RequestError("the demo needs granian as its server: pip install 'aquests[demo]'")
    Settings(workers)
    good = True
    with ExitStack() as files, Brake(script.engine.stop) as brake:
        output = Output(writing(None, files), brake.pull)
        for stage in STAGES:
            if not brake.pulled:
                good = _show(stage, requests, workers, port, brake, output) and good
    if brake.signal:
        return 128 + brake.signal
    return 0 if good and output.error is None else 1


def _show(stage: Stage, requests: int, workers: int, port: int, brake: Brake, output: Output) -> bool:
    with server(stage, port, lambda: not brake.pulled) as url:
        with Progress(stage.name, requests, shown=is_terminal(sys.stderr)) as progress:
            visit = Visit(stage, requests, workers, progress)
            report = visit.run(url)
    report.interrupted = bool(brake.signal)
    output.write(f"{report}\n".encode())
    output.flush()
    if visit.wrong:
        say(f"aquests demo: {visit.wrong:,} answers were not the page")
    return report.ok and not visit.wrong


# The child


async def app(scope: Any, protocol: Any) -> None:
    """The server's application (RSGI): the page, whatever is asked."""
    protocol.response_bytes(200, [("content-type", "text/plain")], PAGE)


async def serve(port: int, http: str) -> None:
    """Serve until standard input ends; never returns."""
    import asyncio

    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    asyncio.get_running_loop().add_reader(0, os._exit, 0)  # nothing is ever sent: it is the end
    await Server(
        app,
        address=HOST,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes(http),
        backlog=BACKLOG,
        websockets=False,
        log_enabled=False,
    ).serve()


if __name__ == "__main__":
    from asyncio import run

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; our parent decides
    run(serve(int(sys.argv[1]), sys.argv[2]))
