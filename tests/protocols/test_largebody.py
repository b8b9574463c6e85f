"""The buffer of a large body: when there is one, and that it is the body in the end."""

from __future__ import annotations

import builtins
import ctypes
import random
import sys
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any

import pytest

from aquests.protocols import largebody
from aquests.protocols.largebody import LARGE, widened


def begun(data: bytes) -> BytesIO:
    """A body of which this has come."""
    body = BytesIO(data)
    body.seek(0, SEEK_END)
    return body


def test_a_body_that_is_not_large_stays_where_it_is() -> None:
    body = begun(b"begun")
    assert widened(body, LARGE - 1) is body


@pytest.mark.parametrize("length", [LARGE, LARGE + 1, LARGE + 4097])
def test_a_large_one_goes_on_in_a_buffer_of_its_length(length: int) -> None:
    data = random.Random(length).randbytes(length)
    body = widened(begun(data[:1000]), length)
    for at in range(1000, length, 1 << 20):
        body.write(memoryview(data)[at : min(at + (1 << 20), length)])
    assert body.tell() == length and body.getvalue() == data
    assert body.getvalue() is body.getvalue()  # the buffer itself, not a copy


def test_a_buffer_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bytes(bytes):
        def __new__(cls, *args: Any) -> Bytes:
            raise MemoryError

    monkeypatch.setattr(largebody, "bytes", Bytes, raising=False)
    body = begun(b"begun")
    assert widened(body, LARGE) is body


def test_a_system_without_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "ctypes":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    body = widened(begun(b"begun"), LARGE)
    assert body.tell() == 5 and body.getvalue() == b"begun" + bytes(LARGE - 5)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has large pages for those who ask")
def test_large_pages_are_asked_for_and_nothing_beside_them() -> None:
    body = widened(begun(b"begun"), LARGE)
    with body.getbuffer() as view:
        first = ctypes.c_char.from_buffer(view)
        middle = ctypes.addressof(first) + LARGE // 2
        del first
    flags = advised(middle)
    if flags is None:
        pytest.skip("the kernel has no large pages, or does not tell")
    assert "hg" in flags


def advised(address: int) -> list[str] | None:
    """The flags of the mapping that an address lies in."""
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        return None
    within = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and ":" not in words[0]:
            begin, end = (int(part, 16) for part in words[0].split("-"))
            within = begin <= address < end
        elif within and words[0] == "VmFlags:":
            return words[1:]
    return None
