"""The brake, output in whole pieces, the progress line, files of a command."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from aquests.errors import RequestError
from aquests.lib import console
from aquests.lib.console import Brake, Output, directory, every, is_terminal, reading, say, writing
from aquests.lib.loop import Loop
from tests.helpers import ROOT


class Calls:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


# The brake


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_pulls_the_brake_and_a_second_one_raises(number: int) -> None:
    stop = Calls()
    before = signal.getsignal(number)
    with Brake(stop) as brake:
        assert (brake.pulled, brake.signal) == (False, 0)
        signal.raise_signal(number)
        assert (brake.pulled, brake.signal, stop.count) == (True, number, 1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert stop.count == 1
    assert signal.getsignal(number) is before


def test_the_brake_can_be_pulled_by_hand() -> None:
    stop = Calls()
    with Brake(stop) as brake:
        brake.pull()
        assert (brake.pulled, brake.signal, stop.count) == (True, 0, 1)
        signal.raise_signal(signal.SIGINT)
        assert brake.signal == signal.SIGINT, "the first signal never raises"


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Brake(Calls()) as brake:
            signal.raise_signal(signal.SIGINT)
            assert not brake.pulled
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# Output


def test_pieces_are_collected_and_flushed(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as file:
        output = Output(file.fileno(), Calls())
        output.write(b"one\n")
        output.write(b"two\n")
        assert path.read_bytes() == b""
        output.flush()
        assert path.read_bytes() == b"one\ntwo\n"
        output.flush()
        output.write(b"x" * console.FULL)
        assert len(path.read_bytes()) == 8 + console.FULL, "what is full is written without being asked"


def test_all_is_written_to_a_slow_reader_without_blocking_mode() -> None:
    data = os.urandom(1 << 20)
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    received = bytearray()

    def read() -> None:
        while piece := os.read(source, 4096):
            received.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    output = Output(sink, Calls())
    output.write(data)
    os.close(sink)
    reader.join()
    os.close(source)
    assert received == data
    assert output.error is None


def test_a_reader_that_has_gone_is_reported_once_and_not_complained_about(capsys: pytest.CaptureFixture[str]) -> None:
    source, sink = os.pipe()
    os.close(source)
    failed = Calls()
    output = Output(sink, failed)
    for _ in range(3):
        output.write(b"x")
        output.flush()
    os.close(sink)
    assert failed.count == 1
    assert isinstance(output.error, BrokenPipeError)
    output.complain("to stdout")
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_complained_about(capsys: pytest.CaptureFixture[str]) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    output = Output(fd, Calls())
    output.write(b"x")
    output.flush()
    os.close(fd)
    assert output.error is not None and output.error.errno == errno.ENOSPC
    output.complain("out.jsonl")
    assert capsys.readouterr().err == "aquests: cannot write out.jsonl: No space left on device\n"


# Progress

TERMINAL = """
import sys
from aquests.lib.console import Progress, is_terminal
with Progress("fetching", int(sys.argv[1]) or None, shown=is_terminal(sys.stderr)) as progress:
    progress.done, progress.failed = 12345, 678
    progress.draw()
print("rich" in sys.modules)
"""


def on_terminal(total: int, **environment: str) -> tuple[str, str]:
    """What TERMINAL shows on a terminal of its own, and what it prints."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (25, 120))
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment}
    command = [sys.executable, "-c", TERMINAL, str(total)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    printed, _ = child.communicate()
    return shown.decode(), printed.decode()


@pytest.mark.parametrize("total", [0, 20000])
def test_progress_on_a_terminal(total: int) -> None:
    shown, printed = on_terminal(total)
    assert "fetching" in shown
    assert "12,345 done" in shown
    assert "678 failed" in shown
    assert "0:00:0" in shown
    assert ("━" in shown) == bool(total)
    assert printed == "True\n"


def test_progress_without_colours() -> None:
    assert "\x1b[3" in on_terminal(0)[0]
    assert "\x1b[3" not in on_terminal(0, NO_COLOR="1")[0]


def test_nothing_is_shown_or_imported_without_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TERMINAL, "10"], capture_output=True, env={"PYTHONPATH": str(ROOT)}, check=True
    )
    assert (done.stdout, done.stderr) == (b"False\n", b"")


def test_the_loop_calls_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "REDRAW", 0.001)
    loop, call = Loop(), Calls()
    every(loop, call)
    while call.count < 3:
        loop.step(5.0)
    loop.close()


# Streams and files


def test_what_is_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "rb", buffering=0) as terminal:
        assert is_terminal(terminal)
    assert not is_terminal(terminal), "it is closed"
    os.close(ours)
    assert not is_terminal(None)
    with (tmp_path / "file").open("wb") as file:
        assert not is_terminal(file)


def test_say_keeps_control_characters_from_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31mb\r\x07\u202ec\nd")
    assert capsys.readouterr().err == "a�[31mb���c\nd\n"


def test_say_without_a_listener(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody hears it")
    source, sink = os.pipe()
    os.close(source)
    with open(sink, "w", buffering=1) as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        say("nobody hears it")
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), gone.fileno())  # lets it be closed in peace
    say("nobody hears it")
    monkeypatch.undo()
    assert capsys.readouterr() == ("", "")


def test_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"text")
    with ExitStack() as files:
        file = reading(str(path), files)
        assert file.read() == b"text"
    assert file.closed
    with ExitStack() as files, pytest.raises(RequestError, match=r"cannot read .*absent: No such file or directory"):
        reading(str(tmp_path / "absent"), files)
    with ExitStack() as files, pytest.raises(RequestError, match="Is a directory"):
        reading(str(tmp_path), files)
    with ExitStack() as files, pytest.raises(RequestError, match="cannot read a\0b: embedded null byte"):
        reading("a\0b", files)
    monkeypatch.setattr(sys, "stdin", None)
    with ExitStack() as files, pytest.raises(RequestError, match="stdin is closed: name a file"):
        reading("-", files)


def test_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old content")
    with ExitStack() as files:
        fd = writing(str(path), files)
        os.write(fd, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(OSError):
        fcntl.fcntl(fd, fcntl.F_GETFD)
    with ExitStack() as files:
        os.write(writing("/dev/null", files), b"x")
    with ExitStack() as files, pytest.raises(RequestError, match=r"cannot write .*: Is a directory"):
        writing(str(tmp_path), files)
    monkeypatch.setattr(sys, "stdout", None)
    with ExitStack() as files, pytest.raises(RequestError, match="stdout is closed"):
        writing(None, files)


def test_the_source_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(path)
    with ExitStack() as files:
        source = reading(str(path), files)
        with pytest.raises(RequestError, match="cannot be written as well"):
            writing(str(tmp_path / "link"), files, source)
    assert path.read_bytes() == b"precious"


def test_directories(tmp_path: Path) -> None:
    directory(str(tmp_path / "a" / "b"))
    directory(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RequestError, match=r"cannot make .*file: File exists"):
        directory(str(tmp_path / "file"))
