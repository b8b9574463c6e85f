"""Numbered lines of files and pipes."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.lib import lines as lines_module
from aquests.lib.lines import LineReader
from tests.helpers import feedings


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            try:
                os.close(end)
            except OSError:
                pass  # the test has closed it


def drain(reader: LineReader) -> list[tuple[int, bytes | None]]:
    """All that can be taken now."""
    found = []
    while reader.ready(0) and (line := reader.take()) is not None:
        found.append(line)
    return found


def expected(data: bytes) -> list[tuple[int, bytes]]:
    """The same in one line of Python."""
    numbered = [(number, line.strip()) for number, line in enumerate(data.split(b"\n"), 1)]
    return [(number, line) for number, line in numbered if line and not line.startswith(b"#")]


CASES = [
    b"",
    b"\n",
    b"a",
    b"a\nb\n",
    b"a\r\nb\r\n\r\nc",
    b"# comment\n  # another\na # none\n",
    b"  a  \n\n\tb",
    b"\x00\n\xff\n",
]


@pytest.mark.parametrize("data", CASES)
def test_lines_however_they_arrive(data: bytes) -> None:
    for pieces in feedings(data):
        with pipe() as (source, sink):
            reader = LineReader(source)
            found = []
            for piece in pieces:
                os.write(sink, piece)
                found += drain(reader)
            os.close(sink)
            found += drain(reader)
            assert found == expected(data)
            assert reader.ended


@given(st.lists(st.sampled_from([b"\n", b"\r\n", b"#", b" ", b"url", b"\xef\xbb\xbf", b"{}"])).map(b"".join))
def test_any_file(data: bytes) -> None:
    with pipe() as (source, sink):
        os.write(sink, data)
        os.close(sink)
        assert drain(LineReader(source)) == expected(data.removeprefix(b"\xef\xbb\xbf"))


def test_a_pipe_without_a_line_is_not_ready() -> None:
    with pipe() as (source, sink):
        reader = LineReader(source)
        assert not reader.ready(0)
        os.write(sink, b"half")
        assert not reader.ready(0)
        os.write(sink, b" and half\nmo")
        assert reader.ready(0)
        assert reader.take() == (1, b"half and half")
        assert not reader.ready(0)
        os.close(sink)
        assert reader.ready(0)
        assert reader.take() == (2, b"mo")
        assert reader.take() is None


def test_ready_waits_for_a_line() -> None:
    with pipe() as (source, sink):
        reader = LineReader(source)
        writer = threading.Timer(0.02, os.write, (sink, b"late\n"))
        writer.start()
        assert reader.ready(5.0)
        assert reader.take() == (1, b"late")
        writer.join()


def test_overlong_lines_are_marked_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 100)
    monkeypatch.setattr(lines_module, "CHUNK", 30)
    data = b"short\n" + b"x" * 1000 + b"\nnext\n" + b"y" * 1000
    with pipe() as (source, sink):
        os.write(sink, data)
        os.close(sink)
        assert drain(LineReader(source)) == [(1, b"short"), (2, None), (3, b"next"), (4, None)]


def test_little_is_read_ahead(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"http://host/\n" * 100_000)
    with path.open("rb") as file:
        reader = LineReader(file.fileno())
        assert reader.ready(0)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == lines_module.CHUNK


def test_random_order(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(lines_module, "WINDOW", 100)
    monkeypatch.setattr(lines_module, "CHUNK", 64)
    path = tmp_path / "file"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(1, 1001)))
    with path.open("rb") as file:
        found = drain(LineReader(file.fileno(), random.Random(1)))
    assert found != expected(path.read_bytes())
    assert sorted(found) == expected(path.read_bytes())
    assert all(number <= place + 100 + 64 for place, (number, _) in enumerate(found)), "not further ahead than that"
    assert found[0][0] > 1


def test_random_order_holds_little(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(lines_module, "MAX_HELD", 1000)
    monkeypatch.setattr(lines_module, "CHUNK", 500)
    path = tmp_path / "file"
    path.write_bytes(b"http://host/\n" * 1000)
    with path.open("rb") as file:
        reader = LineReader(file.fileno(), random.Random(1))
        assert reader.ready(0)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) <= 1500
        assert len(drain(reader)) == 1000


def test_what_cannot_be_read_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe() as (source, sink):
        reader = LineReader(source)
        os.write(sink, b"one\ntw")
        assert drain(reader) == [(1, b"one")]
        assert (reader.ended, reader.fault) == (False, None)
        os.write(sink, b"o")
        monkeypatch.setattr("aquests.lib.lines.os.read", broken)
        assert drain(reader) == [], "half a line is not handed out"
        assert reader.ended and reader.fault is not None and reader.fault.strerror == "Input/output error"


def broken(fd: int, size: int) -> bytes:
    raise OSError(5, "Input/output error")
