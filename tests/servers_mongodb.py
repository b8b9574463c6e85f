"""A MongoDB server for tests: ``mongod`` if it is on the path, else FerretDB, built by ``.ci/ferretdb``."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certs import Certs
from tests.helpers import ROOT, accepts, until
from tests.serving import free_ports, stop

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
    process: subprocess.Popen[bytes]


class User(NamedTuple):
    """Who may come in, known to the database ``admin``."""

    name: str
    password: str


@contextlib.contextmanager
def mongodb_server(directory: Path, certs: Certs | None = None, user: User | None = None) -> Iterator[Server]:
    """A server in ``directory``; with ``certs`` it speaks TLS and shows the good certificate, with ``user`` it lets in
    nobody else. The test is skipped where there is no server."""
    found = program()
    if found is None:
        pytest.skip(HOW)
    port, _ = free_ports()
    is_mongod = found.endswith("mongod")
    arguments = (_mongod if is_mongod else _ferretdb)(directory, port, certs, user)
    process = subprocess.Popen([found, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)

    def answers() -> bool:
        assert process.poll() is None, "the server ended at once"
        return accepts(port)

    try:
        until(answers, 30.0)
        if is_mongod and user is not None:
            _create(port, certs, user)
        yield Server(f"127.0.0.1:{port}", process)
    finally:
        stop(process)


def _mongod(directory: Path, port: int, certs: Certs | None, user: User | None) -> list[str]:
    arguments = ["--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1", "--quiet"]
    if certs is not None:
        both = directory / "server.pem"  # it wants them in one file
        both.write_text(Path(certs.good.cert).read_text() + Path(certs.good.key).read_text())
        arguments += ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(both)]
        arguments += ["--tlsCAFile", certs.ca, "--tlsAllowConnectionsWithoutCertificates"]
    return [*arguments, "--auth"] if user is not None else arguments


def _ferretdb(directory: Path, port: int, certs: Certs | None, user: User | None) -> list[str]:
    arguments = ["--handler=sqlite", f"--sqlite-url=file:{directory}/", f"--state-dir={directory}"]
    arguments += ["--telemetry=disable", "--debug-addr=-"]
    if certs is None:
        arguments.append(f"--listen-addr=127.0.0.1:{port}")
    else:
        arguments += ["--listen-addr=", f"--listen-tls=127.0.0.1:{port}"]
        arguments += [f"--listen-tls-cert-file={certs.good.cert}", f"--listen-tls-key-file={certs.good.key}"]
    if user is not None:
        arguments += ["--test-enable-new-auth", "--setup-database=admin"]
        arguments += [f"--setup-username={user.name}", f"--setup-password={user.password}"]
    return arguments


def _create(port: int, certs: Certs | None, user: User) -> None:
    """The first user of a mongod: whoever comes from the same machine may make it."""
    import pymongo

    tls: dict[str, Any] = {} if certs is None else {"tls": True, "tlsCAFile": certs.ca}
    with pymongo.MongoClient[dict[str, Any]]("127.0.0.1", port, **tls) as client:
        client.admin.command("createUser", user.name, pwd=user.password, roles=["root"])
