"""``aquests demo``: the server of its own, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from aquests import demo
from aquests.demo import HOST, PAGE, STAGES, Stage, Visit, server
from aquests.errors import ConnectError, RequestError
from aquests.lib.console import Progress
from aquests.script import script
from tests.command import run, spawn
from tests.helpers import until
from tests.peers import http_peer


@pytest.fixture
def engine():
    """An engine of the test's own behind the script face."""
    before, script._engine = script._engine, None
    yield
    if script._engine is not None:
        script._engine.close()
    script._engine = before


def accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1.0).close()
    except OSError:
        return False
    return True


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


# The server


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_server_of_each_stage(stage: Stage, engine: None) -> None:
    progress = Progress("", shown=False)
    visit = Visit(stage, 300, 10, progress)
    with server(stage) as url:
        assert url.startswith(f"{stage.scheme}://{HOST}:")
        assert accepts(port_of(url))
        report = visit.run(url)
    assert not accepts(port_of(url))
    assert (report.ok, report.tasks, report.versions) == (True, 300, {stage.name: 300})
    assert report.bytes_received == 300 * len(PAGE)
    assert (progress.done, progress.failed, visit.wrong) == (300, 0, 0)


def test_names_of_stages_are_different() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)


def test_the_page_is_what_it_says() -> None:
    assert len(PAGE) == 4096


def test_a_port_may_be_chosen_and_must_be_free() -> None:
    with server(STAGES[0]) as url:
        port = port_of(url)
        with pytest.raises(RequestError, match=f"port {port} cannot be used: Address already in use"):
            with server(STAGES[0], port):
                raise AssertionError("it is taken")
    with server(STAGES[0], port) as url:
        assert port_of(url) == port


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ConnectError, match=r"the demo's server ended: ValueError: '9' is not a valid HTTPModes"):
        with server(STAGES[0]._replace(http="9")):
            raise AssertionError("there is no HTTP/9")


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "START", 0.0)
    with pytest.raises(ConnectError, match="did not answer within 0 s"):
        with server(STAGES[0]):
            raise AssertionError("nobody starts so quickly")


def test_the_working_directory_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "signal.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "aquests").mkdir()
    (tmp_path / "aquests" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with server(STAGES[0]) as url:
        assert accepts(port_of(url))


def test_an_error_ends_the_server() -> None:
    with pytest.raises(ZeroDivisionError), server(STAGES[0]) as url:
        raise ZeroDivisionError
    assert not accepts(port_of(url))


def test_ctrl_c_is_not_for_the_server(engine: None) -> None:
    with server(STAGES[0]) as url:
        (process,) = psutil.Process().children()
        process.send_signal(signal.SIGINT)
        assert Visit(STAGES[0], 3000, 10, Progress("", shown=False)).run(url).ok


def test_nobody_waits_for_a_server_that_is_not_wanted_any_more() -> None:
    with server(STAGES[0], wanted=lambda: False) as url:
        assert not accepts(port_of(url))


# The run


def test_wrong_answers_are_counted(engine: None) -> None:
    answers = iter([(200, PAGE), (200, PAGE[:-1]), (404, PAGE), (200, PAGE)])

    def responder(request):
        status, body = next(answers)
        return status, [], body

    progress = Progress("", shown=False)
    visit = Visit(STAGES[0], 4, 1, progress)
    with http_peer(responder) as peer:
        visit.run(peer.url)
    assert (progress.done, progress.failed, visit.wrong) == (4, 2, 2)


def test_wrong_answers_fail_the_demo(capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PAGE", b"another page than the child's")
    ran = run(capfdbinary, "demo", "-n", "20", "-w", "2")
    assert ran.code == 1
    assert ran.err == "aquests demo: 20 answers were not the page\n"


def test_the_command(capfdbinary) -> None:
    ran = run(capfdbinary, "demo", "-n", "2k", "-w", "20")
    assert (ran.code, ran.err) == (0, "")
    out = ran.out.decode()
    assert out.startswith("2,000 requests in ")
    assert "\nHTTP/1.1" in out and "\nstatus       200: 2,000\n" in out and "20 at once" in out


def test_granian_is_missing(capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "granian", None)
    ran = run(capfdbinary, "demo")
    assert (ran.code, ran.out) == (2, b"")
    assert "the demo needs granian as its server: pip install 'aquests[demo]'" in ran.err


def started(child: subprocess.Popen[bytes]) -> psutil.Process:
    """The server of a demo that is running."""
    parent = psutil.Process(child.pid)
    until(lambda: any(line.status == psutil.CONN_ESTABLISHED for line in parent.net_connections()), 20.0)
    (process,) = parent.children(recursive=True)
    return process


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_both_with_the_report(number: int, code: int) -> None:
    """Ctrl-C reaches the whole group, as it does on a terminal."""
    with spawn("demo", "-n", "100m", "-w", "5", start_new_session=True) as child:
        process = started(child)
        os.killpg(child.pid, number)
        out, err = child.communicate()
    assert (child.returncode, err) == (code, b"")
    assert b", interrupted\n" in out
    assert gone(process)


def test_no_orphan_is_left_when_we_are_killed() -> None:
    with spawn("demo", "-n", "100m", "-w", "5") as child:
        process = started(child)
        child.kill()
        child.communicate()
    until(lambda: gone(process), 10.0)
