"""The SQLite worker, without threads: what it does with each payload, and in whose way it stands."""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import AquestsError, Cancelled, ConnectError, RequestError
from aquests.lib.threaded import Gate
from aquests.protocols import sqlite as module
from aquests.protocols.rows import Rows
from aquests.protocols.sqlite import READERS, Database, Many, Script, Sqlite, lines, reads, review
from tests.helpers import until
from tests.loopback import exchange


class Spy:
    """A gate that lets everybody in, and writes down who came."""

    def __init__(self, opens: bool = True):
        self.opens = opens
        self.log: list[str] = []

    def enter(self, alone: bool, timeout: float) -> bool:
        self.log.append(f"enter {alone}")
        return self.opens

    def leave(self, alone: bool) -> None:
        self.log.append(f"leave {alone}")


def make(path: Any = ":memory:", writes: bool = True, gate: Any = None) -> Sqlite:
    database = Database(str(path), gate or Spy(), in_memory=path == ":memory:")
    worker = Sqlite(database, writes)
    worker.connect((1, str(path)), 5.0)
    worker.opened()
    return worker


@pytest.fixture(name="worker")
def _worker(tmp_path: Path) -> Iterator[Sqlite]:
    worker = make(tmp_path / "db")
    rows(worker, Script("CREATE TABLE t (a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 'x'), (2, 'y');"))
    yield worker
    worker.goodbye()


def outcome(worker: Sqlite, payload: Any, patience: float = 5.0) -> Any:
    return worker.perform(payload, patience)


def rows(worker: Sqlite, payload: Any) -> Rows:
    found = outcome(worker, payload)
    assert isinstance(found, Rows), found
    return found


def count(worker: Sqlite) -> int:
    return int(rows(worker, ("SELECT count(*) AS n FROM t", None))[0].n)


# Statements


def test_a_statement_with_rows(worker: Sqlite):
    found = rows(worker, ("SELECT a, b, a AS a FROM t WHERE b = ? OR a = ?", ("x", 2)))
    assert found == [{"a": 1, "b": "x", "a_2": 1}, {"a": 2, "b": "y", "a_2": 2}]
    assert found.rowcount == 2 and found.lastrowid is None and found.description is not None
    assert rows(worker, ("SELECT * FROM t WHERE a = :a", {"a": 1})).tuples == [(1, "x")]
    assert rows(worker, ("SELECT * FROM t WHERE 0", None)) == []


def test_statements_without_rows(worker: Sqlite):
    found = rows(worker, ("INSERT INTO t (b) VALUES (?)", ("z",)))
    assert found == [] and found.rowcount == 1 and found.lastrowid == 3
    assert rows(worker, ("UPDATE t SET b = 'w'", None)).rowcount == 3
    assert rows(worker, ("UPDATE t SET b = 'w'", None)).lastrowid is None
    assert rows(worker, ("CREATE TABLE u (x)", None)).rowcount == -1
    assert rows(worker, ("INSERT INTO t (b) VALUES (5) RETURNING a", None)) == [{"a": 4}]


def test_many_rows_of_params_are_one_transaction(worker: Sqlite):
    found = rows(worker, Many(("INSERT INTO t (b) VALUES (:v)", [{"v": n} for n in range(50)])))
    assert found.rowcount == 50 and count(worker) == 52
    failed = outcome(worker, Many(("INSERT INTO t (a) VALUES (?)", [(100,), (101,), (1,)])))
    assert isinstance(failed, sqlite3.IntegrityError) and count(worker) == 52


def test_a_script(worker: Sqlite):
    found = rows(worker, Script("DELETE FROM t; INSERT INTO t (b) VALUES (1); SELECT 5;"))
    assert found == [] and found.rowcount == -1 and count(worker) == 1


@pytest.mark.parametrize("writes", [True, False])
def test_a_list_gives_the_result_of_the_last(tmp_path: Path, writes: bool):
    make(tmp_path / "db").goodbye()
    worker = make(tmp_path / "db", writes)
    found = rows(worker, [("SELECT 1 AS a", None), ("SELECT ? AS b", (2,))])
    assert found == [{"b": 2}]
    worker.goodbye()


def test_a_list_is_all_or_nothing(worker: Sqlite):
    rows(worker, [("INSERT INTO t (b) VALUES (?)", (1,)), ("INSERT INTO t (b) VALUES (?)", (2,))])
    assert count(worker) == 4
    failed = outcome(worker, [("DELETE FROM t", None), ("SELECT * FROM nowhere", None)])
    assert isinstance(failed, sqlite3.OperationalError) and "no such table" in str(failed) and count(worker) == 4


def test_a_list_may_end_its_transaction_itself(worker: Sqlite):
    rows(worker, [("INSERT INTO t (b) VALUES (1)", None), ("ROLLBACK", None)])
    assert count(worker) == 2


@pytest.mark.parametrize("payload", [("BEGIN", None), Script("BEGIN; DELETE FROM t;")])
def test_a_transaction_left_open_is_rolled_back(worker: Sqlite, payload: Any):
    failed = outcome(worker, payload)
    assert isinstance(failed, sqlite3.ProgrammingError) and "left a transaction open" in str(failed)
    assert count(worker) == 2 and worker.reusable


class Odd:
    def __conform__(self, protocol: Any) -> Any:
        raise KeyError("odd")


@pytest.mark.parametrize(
    ("payload", "kind", "words"),
    [
        (("SELEC", None), sqlite3.OperationalError, "syntax error"),
        (("SELECT ?", ()), sqlite3.ProgrammingError, "Incorrect number of bindings"),
        (("SELECT ?", (object(),)), sqlite3.Error, "type 'object' is not supported"),
        (("SELECT ?", (2**70,)), RequestError, "cannot be executed: Python int too large"),
        (("SELECT ?", ("\ud800",)), RequestError, "cannot be executed: .*surrogates not allowed"),
        (("SELECT ?", (Odd(),)), (RequestError, sqlite3.Error), "odd|Odd"),
        (("SELECT 1; SELECT 2", None), (sqlite3.Warning, sqlite3.ProgrammingError), "one statement at a time"),
        (("SELECT '\0'", None), (RequestError, sqlite3.ProgrammingError), "null char"),
    ],
)
def test_what_goes_wrong_is_the_outcome(worker: Sqlite, payload: Any, kind: Any, words: str):
    failed = outcome(worker, payload)
    assert isinstance(failed, kind) and failed.__traceback__ is None
    with pytest.raises(type(failed), match=words):
        raise failed
    if isinstance(failed, RequestError):
        assert failed.__cause__ is not None
    assert count(worker) == 2


@given(sql=st.text(min_size=1, max_size=20), params=st.one_of(st.none(), st.tuples(st.text(), st.integers())))
def test_any_text_gives_an_outcome(sql: str, params: Any):
    worker = make()
    assert isinstance(worker.perform((sql, params), 5.0), (Rows, sqlite3.Error, sqlite3.Warning, AquestsError))


def test_no_database_is_an_answer(tmp_path: Path):
    (tmp_path / "db").write_bytes(b"not a database, but long enough to be looked at" * 40)
    worker = make(tmp_path / "db")
    failed = outcome(worker, ("SELECT * FROM t", None))
    assert isinstance(failed, sqlite3.DatabaseError) and "not a database" in str(failed)
    worker.goodbye()


def test_a_file_that_cannot_be_opened(tmp_path: Path):
    with pytest.raises(ConnectError, match="unable to open database file") as caught:
        make(tmp_path / "nowhere" / "db")
    assert isinstance(caught.value.__cause__, sqlite3.Error)


def test_a_rollback_that_fails_costs_the_line():
    worker = make()

    class Broken:
        def rollback(self) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    worker._roll_back(Broken())  # type: ignore[arg-type]
    x = exchange(("SELECT 1", None))
    worker.submit(x)
    assert worker.finish(sqlite3.OperationalError("disk I/O error")) == (x,)
    assert not worker.reusable and worker.room == 0


# Who may in


def test_readers_and_the_writer_pass_the_gate(tmp_path: Path):
    gate = Spy()
    writer, reader = make(tmp_path / "db", True, gate), make(tmp_path / "db", False, gate)
    rows(writer, ("CREATE TABLE t (a)", None))
    rows(reader, ("SELECT * FROM t", None))
    outcome(reader, ("SELEC", None))
    assert gate.log == ["enter True", "leave True", "enter False", "leave False", "enter False", "leave False"]
    writer.goodbye()
    reader.goodbye()


def test_in_wal_mode_nobody_is_in_the_way(tmp_path: Path):
    gate = Spy()
    first = make(tmp_path / "db", True, gate)
    rows(first, ("PRAGMA journal_mode = wal", None))
    worker = make(tmp_path / "db", False, gate)
    gate.log.clear()
    rows(worker, ("SELECT 1", None))
    rows(worker, ("SELECT 1", None))
    assert gate.log == ["enter False", "leave False"], "the first look tells"
    assert rows(worker, ("PRAGMA journal_mode", None)).tuples == [("wal",)]
    worker.goodbye()
    first.goodbye()


def test_a_gate_that_stays_shut_is_a_locked_database():
    failed = outcome(make(gate=Spy(opens=False)), ("SELECT 1", None))
    assert isinstance(failed, sqlite3.OperationalError) and str(failed) == "database is locked"


def test_the_gate_is_left_whatever_happens():
    gate = Gate()

    class Leaving:
        def __conform__(self, protocol: Any) -> Any:
            raise SystemExit

    worker = make(gate=gate)
    with pytest.raises(SystemExit):
        outcome(worker, ("SELECT ?", (Leaving(),)))
    assert gate.enter(True, 0.0)


def test_another_process_is_waited_for_as_long_as_the_request_may_take(tmp_path: Path):
    other = sqlite3.connect(tmp_path / "db", isolation_level=None)
    other.execute("CREATE TABLE t (a)")
    worker = make(tmp_path / "db")
    assert rows(worker, ("PRAGMA busy_timeout", None)).tuples == [(4500,)]
    other.execute("BEGIN EXCLUSIVE")
    failed = outcome(worker, ("INSERT INTO t VALUES (1)", None), 0.02)
    assert isinstance(failed, sqlite3.OperationalError) and "locked" in str(failed)
    other.execute("COMMIT")
    assert outcome(worker, ("INSERT INTO t VALUES (1)", None), 0.02).rowcount == 1
    assert outcome(worker, ("PRAGMA busy_timeout", None), 0.02).tuples == [(18,)]
    other.close()
    worker.goodbye()


# In the loop


def test_the_exchange_gets_the_outcome():
    worker = make()
    assert worker.room == 1 and not worker.inflight
    x = exchange(("SELECT 1 AS a", None))
    worker.submit(x)
    assert worker.room == 0 and list(worker.inflight) == [x]
    assert worker.finish(worker.perform(x.payload, 5.0)) == (x,)
    assert x.head.status == 200 and x.head.lane == "SQLITE" and x.data == [{"a": 1}] and x.error is None  # type: ignore[union-attr]
    assert worker.room == 1 and not worker.inflight
    x = exchange(("SELEC", None))
    worker.submit(x)
    assert worker.finish(worker.perform(x.payload, 5.0)) == (x,)
    assert x.head.status == 500 and x.head.reason == "Database Error" and isinstance(x.error, sqlite3.Error)  # type: ignore[union-attr]
    assert review(x, None) is None  # type: ignore[func-returns-value]


def test_what_is_cancelled_finishes_nothing():
    worker = make()
    x = exchange(("SELECT 1", None))
    worker.submit(x)
    assert worker.cancel(x) is True and len(worker.inflight) == 0 and worker.room == 0
    assert worker.finish(worker.perform(x.payload, 5.0)) == () and worker.room == 1
    assert x.data is None and x.head is None


def test_abandon_hands_back_once():
    worker = make()
    x = exchange(("SELECT 1", None))
    worker.submit(x)
    error = Cancelled("stopped")
    assert worker.abandon(error) == (x,) and x.error is error
    assert worker.abandon(error) == () and worker.room == 0 and not worker.reusable


ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"


@pytest.mark.parametrize("payload", [(ENDLESS, None), [("SELECT 1", None), (ENDLESS, None)]])
def test_work_is_interrupted(payload: Any):
    worker = make()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(worker.perform(payload, 5.0)))
    thread.start()
    until(lambda: found, between=worker.interrupt)
    thread.join(5.0)
    assert isinstance(found[0], sqlite3.OperationalError) and str(found[0]) == "interrupted"
    worker.submit(exchange())
    assert rows(worker, ("SELECT 1", None)).rowcount == 1, "the next one is not meant"


@pytest.mark.parametrize(("failures", "reusable"), [(1, True), (1000, False)])
def test_a_rollback_that_is_interrupted_is_tried_again(failures: int, reusable: bool):
    class Interrupted:
        in_transaction = True
        tries = 0

        def rollback(self) -> None:
            self.tries += 1
            if self.tries <= failures:
                raise sqlite3.OperationalError("interrupted")
            self.in_transaction = False

    worker, connection = make(), Interrupted()
    worker._roll_back(connection)  # type: ignore[arg-type]
    assert (worker.reusable, connection.in_transaction) == (reusable, not reusable)


def test_work_interrupted_before_it_began_is_not_done(worker: Sqlite):
    worker.interrupt()
    for payload in (("DELETE FROM t", None), [("DELETE FROM t", None)]):
        assert str(outcome(worker, payload)) == "interrupted"
    worker.submit(exchange())
    assert count(worker) == 2


def test_an_interrupt_before_it_is_open_is_harmless():
    worker = Sqlite(Database("x", Spy(), in_memory=False), True)
    worker.interrupt()
    worker.goodbye()


# Places


def test_a_database_in_memory_outlives_its_lines_and_is_closed_with_its_owner():
    database = Database(":memory:", Spy(), in_memory=True)
    first = Sqlite(database, True)
    first.connect((1, ":memory:"), 1.0)
    rows(first, ("CREATE TABLE t (a)", None))
    first.goodbye()
    second = Sqlite(database, True)
    second.connect((1, ":memory:"), 1.0)
    assert rows(second, ("SELECT * FROM t", None)) == []
    connection = database.memory
    assert connection is not None
    del database, first, second
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_database_in_memory_that_cannot_be():
    with pytest.raises(RequestError, match="path: "):
        Database("file:x?mode=memory&vfs=nowhere", Spy(), in_memory=True)


@pytest.mark.parametrize(("writes", "most"), [(True, 1), (False, READERS)])
def test_one_line_may_write_and_some_may_read(writes: bool, most: int):
    place = SimpleNamespace(
        options={"database": Database("x", Spy(), in_memory=False), "writes": writes}, most=1 << 30, limit=1 << 30
    )
    made: Callable[[Any], Sqlite] = lines(place, "", (), None)
    assert place.most == place.limit == most and made(None).room == 0


@pytest.mark.parametrize(
    ("sql", "certainly"),
    [
        ("SELECT 1", True),
        ("  select\n* from t", True),
        ("VALUES (1)", True),
        ("EXPLAIN SELECT 1", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", False),
        ("with x as (select 1) delete from t", False),
        ("SELECT 'insert'", True),
        ("INSERT INTO t VALUES (1)", False),
        ("PRAGMA journal_mode = wal", False),
        ("BEGIN", False),
        ("-- SELECT\nDELETE FROM t", False),
        ("/* c */ SELECT 1", False),
        ("selection", False),
        ("", False),
    ],
)
def test_what_certainly_reads(sql: str, certainly: bool):
    assert reads(sql) is certainly


def test_versions_are_told():
    assert module.OK.version == sqlite3.sqlite_version
