"""``aquests demo``: the run over its own servers, its report, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from aquests import demo, demostages
from aquests.demo import Servers, Visit, servers
from aquests.demoservers import PAGE
from aquests.demostages import STAGES, Stage
from aquests.errors import ConnectError, RequestError
from aquests.lib.console import Progress
from aquests.verbs import get
from tests.command import run, spawn
from tests.face import own_engine
from tests.helpers import accepts, until
from tests.peers import http_peer

WEB = ("HTTP/1.1",)
HTTP = STAGES[0]


@pytest.fixture
def engine() -> Iterator[None]:
    """An engine of the test's own behind the script face."""
    with own_engine():
        yield


def port_of(running: Servers) -> int:
    return int(running.found["HTTP/1.1"]["url"].rstrip("/").rpartition(":")[2])


# The servers


def test_a_port_may_be_chosen_and_must_be_free() -> None:
    with servers(names=WEB) as running:
        port = port_of(running)
        assert accepts(port)
        with pytest.raises(RequestError, match=f"port {port} cannot be used: Address already in use"):
            with servers(port, names=WEB):
                raise AssertionError("it is taken")
    assert not accepts(port)
    with servers(port, names=WEB) as running:
        assert port_of(running) == port


def test_servers_that_do_not_start_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CHILD", "aquests.nothing")
    with pytest.raises(ConnectError, match=r"the demo's server ended: .*No module named aquests\.nothing"):
        with servers():
            raise AssertionError("there is no such child")


def test_servers_that_do_not_answer_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "START", -1.0)
    with pytest.raises(ConnectError, match="did not answer within -1 s"):
        with servers(names=WEB):
            raise AssertionError("nobody starts so quickly")


def test_servers_that_do_not_end_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # nobody is left to remove it
    monkeypatch.setattr(demo, "GOODBYE", 0.05)
    with servers(names=WEB) as running:
        (child,) = psutil.Process().children()
        child.suspend()
    assert not child.is_running() and not accepts(port_of(running))


def test_the_working_directory_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "signal.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "aquests").mkdir()
    (tmp_path / "aquests" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with servers(names=WEB) as running:
        assert accepts(port_of(running))


def test_an_error_ends_the_servers() -> None:
    with pytest.raises(ZeroDivisionError), servers(names=WEB) as running:
        raise ZeroDivisionError
    assert not accepts(port_of(running))


def test_ctrl_c_is_not_for_the_servers(engine: None) -> None:
    with servers(names=WEB) as running:
        (process,) = psutil.Process().children()
        process.send_signal(signal.SIGINT)
        visit = Visit([HTTP], 10, Progress("", shown=False))
        visit.open(running.found)
        assert visit.run(1000).ok


def test_nobody_waits_for_servers_that_are_not_wanted_any_more() -> None:
    with servers(wanted=lambda: False) as running:
        assert (running.found, running.absent) == ({}, {})


# The run


def answers(stage: Stage, *given: tuple[int, bytes]) -> Visit:
    """A run over a server that gives these answers, in turn."""
    script_of = iter(given)

    def responder(request: Any) -> Any:
        status, body = next(script_of)
        return status, [], body

    progress = Progress("", shown=False)
    visit = Visit([stage], 1, progress)
    with http_peer(responder) as peer:
        visit.open({stage.name: {"url": peer.url}})
        visit.run(len(given))
    assert progress.done == len(given)
    assert progress.failed == visit.wrong.total()
    return visit


def test_wrong_answers_are_counted(engine: None) -> None:
    visit = answers(HTTP, (200, PAGE), (200, PAGE[:-1]), (404, PAGE), (200, PAGE))
    assert visit.wrong == {"HTTP/1.1": 2}


def test_an_answer_to_another_request_is_wrong(engine: None) -> None:
    numbered = HTTP._replace(open=lambda where: lambda n: (get(where["url"]), b"%d" % n))
    assert answers(numbered, (200, b"0"), (200, b"2"), (200, b"1")).wrong == {"HTTP/1.1": 2}


def test_wrong_answers_fail_the_demo(capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demostages, "PAGE", b"another page than the child's")
    only(monkeypatch, "HTTP/1.1", "WebSocket")
    ran = run(capfdbinary, "demo", "-n", "22", "-w", "2")
    assert ran.code == 1
    assert ran.err == "aquests demo: HTTP/1.1: 16 wrong answers\n"


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The demo with these stages only."""
    stages = tuple(stage for stage in STAGES if stage.name in names)
    monkeypatch.setattr(demo, "STAGES", stages)
    monkeypatch.setattr(demo, "NAMES", names)


def test_the_command(capfdbinary) -> None:
    """All stages that have a server here, in one report."""
    ran = run(capfdbinary, "demo", "-n", "2k", "-w", "20")
    assert (ran.code, ran.err) == (0, "")
    out = ran.out.decode()
    assert out.startswith("2,000 requests in ")
    for row in ("HTTP/1.1", "HTTP/2.0", "WEBSOCKET", "XML-RPC", "GRPC", "SQLITE"):
        assert f"\n{row} " in out
    for stage, row in (("Redis", "REDIS"), ("PostgreSQL", "POSTGRESQL"), ("MongoDB", "MONGODB")):
        assert (f"\n{row} " in out) != (f" {stage} (" in out)


@contextmanager
def no_servers(*args: Any) -> Iterator[Servers]:
    yield Servers({"SQLite": {"path": ":memory:"}}, {"MongoDB": "no server found: x", "Redis": "it ended: y"})


def test_what_is_absent_is_named_and_does_no_harm(capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "servers", no_servers)
    ran = run(capfdbinary, "demo", "-n", "50", "-w", "2")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(b"50 requests in ") and b"\nSQLITE " in ran.out
    assert ran.out.endswith(b"\nnot shown: MongoDB (no server found: x), Redis (it ended: y)\n")


def test_a_database_that_cannot_be_filled_fails_the_demo(capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    def records(n: int) -> str:
        return f"'{n}"

    monkeypatch.setattr(demo, "servers", no_servers)
    monkeypatch.setattr(demostages, "record", records)
    ran = run(capfdbinary, "demo", "-n", "50", "-w", "2")
    assert (ran.code, ran.out) == (1, b"")
    assert ran.err.startswith("aquests demo: the databases cannot be filled\n1 request in ")


def test_granian_is_missing(capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "granian", None)
    ran = run(capfdbinary, "demo")
    assert (ran.code, ran.out) == (2, b"")
    assert "the demo needs granian as its server: pip install 'aquests[demo]'" in ran.err


def started(child: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What runs below a demo that has begun to ask: it has a line to the web server, whose port its child was told."""
    parent = psutil.Process(child.pid)

    def asking() -> bool:
        assert child.poll() is None, child.communicate()
        words = [server.cmdline() for server in parent.children()]  # a child is a copy of its parent at first
        ports = {int(given[4]) for given in words if demo.CHILD in given}
        lines = parent.net_connections()
        return any(line.status == psutil.CONN_ESTABLISHED and line.raddr.port in ports for line in lines)

    until(asking, 40.0)
    return parent.children(recursive=True)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_with_the_report(number: int, code: int) -> None:
    """Ctrl-C reaches the whole group, as it does on a terminal."""
    with spawn("demo", "-n", "100m", "-w", "5", start_new_session=True) as child:
        below = started(child)
        os.killpg(child.pid, number)
        out, err = child.communicate()
    assert (child.returncode, err) == (code, b"")
    assert b", interrupted\n" in out
    assert all(gone(process) for process in below)


def test_a_signal_while_servers_start() -> None:
    with spawn("demo") as child:
        until(lambda: bool(psutil.Process(child.pid).children()), 20.0)
        child.terminate()
        assert child.communicate() == (b"", b"")
    assert child.returncode == 143


def test_no_orphan_is_left_when_we_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with spawn("demo", "-n", "100m", "-w", "5") as child:
        below = started(child)
        child.kill()
        child.communicate()
    until(lambda: all(gone(process) for process in below), 20.0)
    assert list(tmp_path.iterdir()) == []
