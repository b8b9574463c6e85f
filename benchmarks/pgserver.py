"""A PostgreSQL of our own on the server's core, with a table of two rows in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .case import Site, Wanted
from .machine import Absent, pinned
from .process import HOST, free_ports

USER = DATABASE = "postgres"
SQL = "SELECT id, name FROM duo"


@contextmanager
def duo(wanted: Wanted) -> Iterator[Site]:
    """Two rows, whose names have ``wanted.size`` bytes together; the site's ``url`` is ``host:port``.

    Nobody is asked for a password, and nothing is written to the disk with care.
    """
    programs = _programs()
    (port,) = free_ports(1)
    directory = Path(tempfile.mkdtemp(prefix="aquests-bench-", dir="/tmp"))  # the path of its socket must be short
    if os.geteuid() == 0:
        os.chown(directory, *_owner())
    settings = {
        "port": port,
        "listen_addresses": HOST,
        "unix_socket_directories": directory,
        "max_connections": wanted.lines + 20,
        "fsync": "off",
        "autovacuum": "off",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    control = [programs / "pg_ctl", "-D", directory / "data", "-w", "-l", directory / "log"]
    try:
        _run([programs / "initdb", "-D", directory / "data", "-U", USER, "-A", "trust", "-N", "-E", "UTF8"], directory)
        with pinned(wanted.core):
            _run([*control, "-o", options, "start"], directory)
        try:
            half = wanted.size // 2
            names = "x" * half, "y" * (wanted.size - half)
            table = "CREATE TABLE duo AS SELECT * FROM (VALUES (1, '{}'), (2, '{}')) AS two (id, name)".format(*names)
            _run([programs / "psql", "-h", directory, "-p", port, "-U", USER, "-c", table], directory)
            yield Site(f"{HOST}:{port}", wanted.size)
        finally:
            _run([*control, "-m", "immediate", "stop"], directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path:
    """Where initdb, pg_ctl and psql lie."""
    places = [Path(found).resolve().parent] if (found := shutil.which("pg_ctl")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for place in places:
        if all((place / name).exists() for name in ("initdb", "pg_ctl", "psql")):
            return place
    raise Absent("PostgreSQL is not installed")


def _owner() -> tuple[int, int]:
    """Who runs it where the benchmarks run as root: it refuses that."""
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise Absent("PostgreSQL does not run as root, and there is neither postgres nor nobody")


def _run(command: list[Any], directory: Path) -> None:
    """Not by pipes: the server inherits them, and the end of the output would never come."""
    user, group = _owner() if os.geteuid() == 0 else (None, None)
    with (directory / "output").open("ab") as output:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            env={**os.environ, "LC_ALL": "C"},
        )
    if done.returncode:
        raise Absent(f"{command[0].name}: {(directory / 'output').read_text(errors='replace')[-200:]}")
