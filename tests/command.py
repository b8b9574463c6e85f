"""Running the command ``aquests`` in tests: in this process on an engine of its own, or as a process."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from aquests.cli import main
from tests.face import own_engine
from tests.helpers import ROOT
from tests.peers import Answer, Request
from tests.servers import PAGE

PATIENCE = 60
"""Seconds a process may run."""
COMMAND = "import sys\nfrom aquests.cli import main\nsys.exit(main())"


class Ran(NamedTuple):
    """A run that is over: exit code, stdout as bytes, stderr as text."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of stdout, by their line number."""
        return by_line(self.out)


def by_line(out: bytes) -> list[dict[str, Any]]:
    """JSON lines, every one of them whole, by their line number."""
    assert not out or out.endswith(b"\n")
    entries = [json.loads(line, parse_constant=_refuse) for line in out.splitlines()]
    return sorted(entries, key=lambda entry: entry["line"])


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def run(capfdbinary: Any, *argv: str | Path) -> Ran:
    """Run the command in this process; what the test has printed before is dropped."""
    capfdbinary.readouterr()
    with own_engine():
        try:
            code = main([str(word) for word in argv])
        except SystemExit as end:
            code = int(end.code or 0)
    out, err = capfdbinary.readouterr()
    return Ran(code, out, err.decode())


def site(request: Request) -> Answer:
    """What an ``http_peer`` answers that the command is sent to: a page, a redirection, an echo, a login."""
    path = request.path
    if path == "/redirect":
        return 302, [("Location", "/page")], b"over there"
    if path == "/missing":
        return 404, [], b"nothing here"
    if path == "/echo":
        shown = {"method": request.method, "headers": request.headers, "body": request.body.decode("latin-1")}
        return 200, [("Content-Type", "application/json")], json.dumps(shown).encode()
    if path == "/basic":
        given = "Basic " + base64.b64encode(b"user:pa:ss").decode()
        right = request.header("Authorization") == given
        return (200, [], b"in") if right else (401, [("WWW-Authenticate", 'Basic realm="x"')], b"out")
    return 200, [("X-Path", path)], PAGE if path == "/4k" else path.encode() + b"\n"


def spawn(*argv: str | Path, code: str = COMMAND, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command (or other ``code``) as a process with pipes, warnings being errors.

    The kernel ends it after PATIENCE seconds, so that no test waits for ever.
    """
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = [sys.executable, "-W", "error", "-c", f"import signal\nsignal.alarm({PATIENCE})\n{code}", *map(str, argv)]
    return subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, **{**pipes, **options})
