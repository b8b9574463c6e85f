"""What is asked of libpq beside psycopg2. That a statement really stops is seen in ``tests/live``."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from aquests.protocols import libpq as module
from aquests.protocols.libpq import canceller


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_calls", None)
    monkeypatch.setattr(module, "_looked", False)


class FakeLibrary:
    """The functions that there are, by name; each writes down its calls."""

    def __init__(self, *names: str, token: int | None = 99):
        self.log: list[tuple[Any, ...]] = []
        for name in names:
            setattr(self, name, self._function(name, token))

    def _function(self, name: str, token: int | None) -> Any:
        def function(*arguments: Any) -> Any:
            self.log.append((name, *arguments[:1]))
            return token if name in ("PQcancelCreate", "PQgetCancel") else 1

        return function


OLD = ("PQgetCancel", "PQcancel", "PQfreeCancel")
NEW = ("PQcancelCreate", "PQcancelBlocking", "PQcancelFinish")


@pytest.mark.parametrize(("there", "used"), [(OLD, OLD), (NEW, NEW), (OLD + NEW, NEW)])
def test_the_newest_way_there_is(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], used: tuple[str, ...]):
    library = FakeLibrary(*there)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: library)
    stop = canceller(SimpleNamespace(closed=0, pgconn_ptr=7))
    assert stop is not None and library.log == [(used[0], 7)]
    stop()
    assert library.log[1:] == [(used[1], 99), (used[2], 99)]


def test_no_way(monkeypatch: pytest.MonkeyPatch):
    looks: list[str] = []

    def hidden(path: str) -> Any:
        looks.append(path)
        return FakeLibrary("PQcancel")

    monkeypatch.setattr(ctypes, "CDLL", hidden)
    connection = SimpleNamespace(closed=0, pgconn_ptr=7)
    assert canceller(connection) is None and canceller(connection) is None and len(looks) == 1


def test_a_library_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch):
    def broken(path: str) -> Any:
        raise OSError("no such file")

    monkeypatch.setattr(ctypes, "CDLL", broken)
    assert canceller(SimpleNamespace(closed=0, pgconn_ptr=7)) is None


def test_nothing_to_stop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda path: FakeLibrary(*NEW, token=None))
    assert canceller(SimpleNamespace(closed=2)) is None
    assert canceller(SimpleNamespace(closed=0, pgconn_ptr=7)) is None


def test_the_libpq_of_this_machine_has_them():
    calls = module._load()
    assert calls is not None and all(callable(call) for call in calls)
