"""``aquests demo``: servers of our own in a child process, and requests to all of them from one queue.

The servers (demoservers.py; granian comes with ``pip install 'aquests[demo]'``) end when their standard input
does: the system closes that pipe however we end, killed too. Ports are chosen by the system. Granian's are
held by us, bound but not listening, until it is over; with SO_REUSEPORT the server may bind them beside us,
and nobody else gets in between.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import count, islice
from time import monotonic
from typing import Any, Final

from .demodatabases import HOST, Where
from .demostages import STAGES, Ask, Stage, interleaved
from .errors import ConnectError, RequestError
from .exchange import Request, Response
from .lib.console import Brake, Output, Progress, every, is_terminal, say, writing
from .report import Report
from .script import configure, feed, fetchall, script
from .settings import Settings

START: Final = 30.0
"""Seconds all servers may take to answer, on a loaded machine."""
GOODBYE: Final = 10.0
"""Seconds they may take to end."""
STREAMS: Final = 10
"""Requests at once on one line of HTTP/2."""
CHILD: Final = "aquests.demoservers"
NAMES: Final = tuple(stage.name for stage in STAGES)


class Servers:
    """Where the servers are that run, by the name of their stage, and why the others do not."""

    def __init__(self, found: dict[str, Where], absent: dict[str, str]):
        self.found = found
        self.absent = absent


@contextmanager
def servers(
    port: int = 0, wanted: Callable[[], bool] = lambda: True, names: Collection[str] = NAMES
) -> Iterator[Servers]:
    """Run the servers of these stages; they are gone when the block is left.

    ``port`` of the HTTP/1.1 server, 0 lets the system choose; ``wanted`` is asked while waiting, and ends the wait
    by returning False: then there are none. Raises RequestError if the port is taken, ConnectError if granian
    does not answer.
    """
    with _held_port(port) as web, _held_port(0) as tls:
        # The child finds what we have found, and nothing that just lies in the working directory.
        command = [sys.executable, "-P", "-m", CHILD, *(str(holder.getsockname()[1]) for holder in (web, tls)), *names]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            process_group=0,
        )
        with child:  # closes its pipes and waits for it
            try:
                yield _wait(child, wanted)
            finally:
                _end(child)


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


def _wait(child: subprocess.Popen[bytes], wanted: Callable[[], bool]) -> Servers:
    """Until the child has said where its servers are."""
    assert child.stdout is not None and child.stderr is not None
    deadline = monotonic() + START
    line = b""
    while wanted():
        if select.select([child.stdout], [], [], 0.05)[0]:
            piece = os.read(child.stdout.fileno(), 65536)
            line += piece
            if line.endswith(b"\n"):
                return Servers(**json.loads(line))
            if not piece:
                said = child.stderr.read().decode(errors="replace").strip().splitlines()
                raise ConnectError(f"the demo's server ended: {said[-1] if said else 'it said nothing'}")
        elif monotonic() > deadline:
            raise ConnectError(f"the demo's server did not answer within {START:g} s")
    return Servers({}, {})


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let it bring its programs to an end; kill them all if it does not."""
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(GOODBYE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


class Visit:
    """A run over these stages. ``wrong`` counts by stage the answers that are not what was asked for."""

    def __init__(self, stages: Collection[Stage], workers: int, progress: Progress):
        self.wrong: Counter[str] = Counter()
        self._stages = stages
        self._workers = workers
        self._progress = progress
        self._asks: dict[str, Ask] = {}
        self._expected: dict[int, tuple[Stage, Any]] = {}

    def open(self, found: dict[str, Where]) -> Report:
        """Put into the databases what will be asked for."""
        configure(callback=lambda response: None, trust_env=False)
        for stage in self._stages:
            self._asks[stage.name] = stage.open(found[stage.name])
        return fetchall()

    def run(self, requests: int) -> Report:
        """Ask so many times, the stages mixed."""
        configure(self._workers, callback=self._check, trust_env=False, http2_constreams=STREAMS)
        every(script.engine.loop, self._progress.draw)
        feed(islice(self._requests(), requests))
        return fetchall()

    def _requests(self) -> Iterator[Request]:
        numbers = {name: count() for name in self._asks}
        for stage in interleaved(list(self._stages)):
            request, expected = self._asks[stage.name](next(numbers[stage.name]))
            self._expected[request.req_id] = stage, expected
            yield request

    def _check(self, response: Response) -> None:
        stage, expected = self._expected.pop(response.meta["req_id"])
        self._progress.done += 1
        if response.error is None and (response.status_code, stage.value(response.data)) == (stage.status, expected):
            return
        self._progress.failed += 1
        if response.error is None:
            self.wrong[stage.name] += 1


def run_demo(requests: int, workers: int, port: int = 0) -> int:
    """All stages that have a server, in one run, with its report on stdout; returns the exit code.

    Raises RequestError if it cannot be run like this, ConnectError if the servers do not start.
    """
    if find_spec("granian") is None:
        raise RequestError("the demo needs granian as its server: pip install 'aquests[demo]'")
    Settings(workers)
    with ExitStack() as files, Brake(script.engine.stop) as brake:
        output = Output(writing(None, files), brake.pull)
        with servers(port, lambda: not brake.pulled) as running:
            good = brake.pulled or _show(running, requests, workers, brake, output)
    if brake.signal:
        return 128 + brake.signal
    return 0 if good and output.error is None else 1


def _show(running: Servers, requests: int, workers: int, brake: Brake, output: Output) -> bool:
    stages = [stage for stage in STAGES if stage.name in running.found]
    with Progress("demo", requests, shown=is_terminal(sys.stderr)) as progress:
        visit = Visit(stages, workers, progress)
        prepared = visit.open(running.found)
        if not prepared.ok:
            say(f"aquests demo: the databases cannot be filled\n{prepared}")
            return False
        if brake.pulled:
            return True
        report = visit.run(requests)
    report.interrupted = bool(brake.signal)
    output.write(f"{report}\n{_remark(running.absent)}".encode())
    output.flush()
    for name, number in visit.wrong.items():
        say(f"aquests demo: {name}: {number:,} wrong answers")
    return report.ok and not visit.wrong


def _remark(absent: dict[str, str]) -> str:
    """What is not shown, and why."""
    missing = [f"{name} ({reason})" for name, reason in absent.items()]
    return f"not shown: {', '.join(missing)}\n" if missing else ""
