"""The demo's child process: its application, its certificate, its messages, and what it says when all are there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, dumps, loads

import psutil
import pytest

from aquests import demoservers
from aquests.demo import servers
from aquests.demodatabases import HOST
from aquests.demoservers import PAGE, SERVICE, app, message_class
from tests.helpers import ROOT, until


class Scope:
    def __init__(self, path: str = "/", proto: str = "http"):
        self.path = path
        self.proto = proto


class Protocol:
    """What granian hands to an application for one request."""

    def __init__(self, body: bytes = b""):
        self._body = body
        self.answer: Any = None

    async def __call__(self) -> bytes:
        return self._body

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer = status, dict(headers)["content-type"], body


def asked(path: str, body: bytes = b"") -> Any:
    protocol = Protocol(body)
    asyncio.run(app(Scope(path), protocol))
    return protocol.answer


def test_the_page() -> None:
    assert len(PAGE) == 4096
    assert asked("/") == asked("/any/where") == (200, "text/plain", PAGE)


def test_xml_rpc() -> None:
    status, kind, body = asked("/RPC2", dumps((40, 2), "add").encode())
    assert (status, kind, loads(body)) == (200, "text/xml", ((42,), None))
    with pytest.raises(Fault, match="no method divide"):
        loads(asked("/RPC2", dumps((1, 0), "divide").encode())[2])


def test_messages() -> None:
    message = message_class()
    assert message.FromString(message(text="ä").SerializeToString()) == message(text="ä")
    service = message.DESCRIPTOR.file.pool.FindServiceByName(SERVICE)
    assert [method.name for method in service.methods] == ["Say"]


def test_the_certificate_is_for_the_host(tmp_path: Path) -> None:
    import ssl

    authority, options = demoservers._certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(options["ssl_cert"], options["ssl_key"])
    client = ssl.create_default_context(cadata=authority)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, there, server_hostname=HOST)
    other = server.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    certificate: Any = one.getpeercert()
    assert ("IP Address", HOST) in certificate["subjectAltName"]


def ports() -> list[str]:
    with socket.socket() as web, socket.socket() as tls:
        for probe in (web, tls):
            probe.bind((HOST, 0))
        return [str(probe.getsockname()[1]) for probe in (web, tls)]


def spawned(directory: Path, *names: str) -> Any:
    """The child as a process."""
    command = [sys.executable, "-P", "-m", "aquests.demoservers", *ports(), *names]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def test_it_says_where_they_are_and_leaves_nothing(tmp_path: Path) -> None:
    with spawned(tmp_path, "HTTP/1.1", "SQLite", "Redis") as child:
        said = json.loads(child.stdout.readline())
        below = psutil.Process(child.pid).children(recursive=True)
        assert list(tmp_path.iterdir())
        child.stdin.close()
        assert child.wait(20) == 0
    assert {*said["found"], *said["absent"]} == {"HTTP/1.1", "SQLite", "Redis"}
    assert not any(process.is_running() for process in below)
    assert list(tmp_path.iterdir()) == []


def test_it_ends_while_it_starts(tmp_path: Path) -> None:
    with spawned(tmp_path, "PostgreSQL", "Redis") as child:
        child.stdin.close()
        assert child.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with spawned(tmp_path, "HTTP/1.1", "Redis") as child:
        child.stdout.readline()
        child.terminate()
        assert child.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent is gone")
def test_programs_end_with_it_however_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # nobody is left to remove it
    with servers(names=["HTTP/1.1", "Redis", "PostgreSQL", "MongoDB"]):
        (child,) = psutil.Process().children()
        below = child.children(recursive=True)
        others = [Path(word).parent for process in below for word in process.cmdline() if word.endswith("/data")]
        child.send_signal(signal.SIGKILL)
        until(lambda: not any(process.is_running() for process in below), 10.0)
    for path in others:
        shutil.rmtree(path)


@pytest.mark.parametrize(("module", "name"), [("trustme", "HTTP/2"), ("grpc", "gRPC")])
def test_what_is_not_installed(module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child looks for it where we do: it finds a module that hides it, and that is not there."""
    code = (
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"
        "from aquests import demoservers\n"
        f"demoservers.find_spec = lambda name: None if name == {module!r} else True\n"
        "demoservers.main(*sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, *ports(), "HTTP/1.1", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdin is not None and child.stdout is not None
        said = json.loads(child.stdout.readline())
        child.stdin.close()
    assert list(said["found"]) == ["HTTP/1.1"]
    assert list(said["absent"]) == [name] and "pip install" in said["absent"][name]
