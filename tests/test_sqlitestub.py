"""SQLite in the script face: whole runs on real files, in threads."""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aquests
from aquests.errors import ConnectError, RequestError, TimedOut
from aquests.exchange import Response
from aquests.script import script
from tests.face import answers, drop, ignore, own_engine
from tests.helpers import until

ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=4, callback=ignore):
        yield


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, price REAL)")
        connection.executemany("INSERT INTO goods VALUES (?, ?, ?)", [(n, f"n{n}", n / 2) for n in range(10)])
    connection.close()
    return path


def oracle(path: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_rows_are_dicts_with_attributes(path: Path):
    dbo = aquests.sqlite3(path, meta={"shop": 1})
    (response,) = answers(dbo.execute("SELECT id, name FROM goods WHERE price < ? ORDER BY id", (1.0,)))
    assert response.ok and response.status_code == 200 and response.lane == "SQLITE"
    assert response.data == [{"id": 0, "name": "n0"}, {"id": 1, "name": "n1"}]
    assert response.data[1].name == "n1" and response.data.columns == ["id", "name"]
    assert response.url == f"sqlite://{path}" and response.version == sqlite3.sqlite_version
    assert response.meta == {"shop": 1, "req_id": 0, "req_method": "sqlite"}
    assert response.content == b"" and response.elapsed > 0


def test_everything_that_can_be_queued(path: Path):
    dbo = aquests.sqlite3(str(path))
    aquests.configure(workers=1, callback=lambda response: None)  # in this order
    insert, many, listed, done, scripted, read = answers(
        dbo.execute("INSERT INTO goods (name) VALUES (:name)", {"name": "new"}),
        dbo.executemany("INSERT INTO goods (name) VALUES (?)", ([n] for n in range(3))),
        dbo.execute(["DELETE FROM goods WHERE id < 5", ("SELECT count(*) AS n FROM goods WHERE id > ?", (6,))]),
        dbo.do("UPDATE goods SET price = 0"),
        dbo.executescript("CREATE TABLE sales (id); INSERT INTO sales VALUES (1);"),
        dbo.execute("SELECT * FROM sales"),
    )
    assert insert.data.lastrowid == 10 and insert.data.rowcount == 1 and insert.data == []
    assert many.data.rowcount == 3
    assert listed.data == [{"n": 7}]
    assert done.data.rowcount == 9
    assert scripted.ok and not scripted.data
    assert read.data == [{"id": 1}]


def test_an_error_is_an_answer_and_the_line_goes_on(path: Path):
    dbo = aquests.sqlite3(path)
    aquests.configure(workers=1, callback=lambda response: None)
    bad, rolled_back, good = answers(
        dbo.execute("SELECT * FROM nowhere"),
        dbo.execute(["DELETE FROM goods", "SELECT * FROM nowhere"]),
        dbo.execute("SELECT count(*) AS n FROM goods"),
    )
    assert (bad.status_code, bad.reason, bad.ok, bad.data) == (500, "Database Error", False, None)
    assert isinstance(bad.error, sqlite3.OperationalError)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        bad.raise_for_status()
    assert rolled_back.status_code == 500 and good.data[0].n == 10
    assert aquests.result.status_codes == {200: 1, 500: 2}


def test_one_writer_and_several_readers_at_once(path: Path):
    aquests.configure(workers=8, callback=lambda response: None)
    dbo = aquests.sqlite3(path)
    writes = [dbo.execute("INSERT INTO goods (name) VALUES (?)", (n,)) for n in range(100)]
    reads = [dbo.execute("SELECT count(*) AS n FROM goods") for _ in range(100)]
    places = {request.endpoint for request in writes}, {request.endpoint for request in reads}
    assert all(response.ok for response in answers(*writes, *reads))
    assert [len(place) for place in places] == [1, 1] and places[0] != places[1]
    assert oracle(path, "SELECT count(*) FROM goods") == [(110,)]
    assert 2 <= aquests.result.max_connections <= 8


def test_two_stubs_to_one_file_share_its_places(path: Path):
    one, two = aquests.sqlite3(path), aquests.sqlite3(str(path))
    first, second = one.execute("SELECT 1"), two.execute("SELECT 1")
    assert first.endpoint is second.endpoint
    answers(first, second)


def test_memory_belongs_to_its_stub_and_outlives_the_run():
    one, two = aquests.sqlite3(":memory:"), aquests.sqlite3(":memory:")
    answers(*(dbo.executescript("CREATE TABLE t (a)") for dbo in (one, two)))
    answers(*(one.execute("INSERT INTO t VALUES (?)", (n,)) for n in range(20)))
    mine, its = answers(one.execute("SELECT count(*) AS n FROM t"), two.execute("SELECT count(*) AS n FROM t"))
    assert mine.data[0].n == 20 and its.data[0].n == 0
    assert mine.url == "sqlite://:memory:"


def test_memory_keeps_the_order():
    dbo = aquests.sqlite3(":memory:")
    requests = [dbo.execute("CREATE TABLE t (a)")]
    for n in range(50):
        requests += [dbo.execute("INSERT INTO t VALUES (?)", (n,)), dbo.execute("SELECT count(*) AS n FROM t")]
    assert [response.data[0].n for response in answers(*requests)[2::2]] == list(range(1, 51))


def test_a_file_uri(path: Path):
    dbo = aquests.sqlite3(f"file:{path}?mode=ro")
    read, write = answers(dbo.execute("SELECT count(*) AS n FROM goods"), dbo.execute("DELETE FROM goods"))
    assert read.data[0].n == 10 and "readonly" in str(write.error)


@pytest.mark.parametrize(
    ("uri", "places"),
    [
        ("file::memory:", 1),
        ("file::memory:?cache=shared", 1),
        ("file:x?mode=memory&cache=shared", 1),
        ("file:x?cache=shared&mode=memory", 1),
        ("file:", 1),
        ("file:memory.db", 2),
        ("file:/memory/x.db?mode=ro", 2),
        ("file:x.db?xmode=memory", 2),
    ],
)
def test_which_uris_are_databases_in_memory(uri: str, places: int):
    """A file is read over lines of their own, whatever its name."""
    dbo = aquests.sqlite3(uri)
    read, write = dbo.execute("SELECT 1"), dbo.execute("DELETE FROM t")
    drop()
    assert len({id(read.endpoint), id(write.endpoint)}) == places


def test_a_timeout_interrupts_and_the_run_goes_on(path: Path):
    aquests.configure(workers=1, callback=lambda response: None)
    for where in (path, ":memory:"):
        dbo = aquests.sqlite3(where)
        slow, next_one = answers(dbo.execute(ENDLESS, timeout=0.1), dbo.execute("SELECT 1 AS a"))
        assert slow.status_code == 702 and isinstance(slow.error, TimedOut) and next_one.data == [{"a": 1}]
        assert aquests.result.connections == 1, "the line goes on"


def test_deadline_and_a_lock_of_somebody_else(path: Path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    dbo = aquests.sqlite3(path, timeout=0.2)
    (response,) = answers(dbo.execute("DELETE FROM goods"))
    assert response.status_code in (500, 702)  # SQLite gives up first, unless the machine is very slow
    other.execute("COMMIT")
    (response,) = answers(dbo.execute("SELECT count(*) AS n FROM goods"))
    assert response.data[0].n == 10
    (response,) = answers(dbo.execute(ENDLESS, deadline=0.1, timeout=5))
    assert response.status_code == 702
    other.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path):
    dbo = aquests.sqlite3(tmp_path / "nowhere" / "db")
    (response,) = answers(dbo.execute("SELECT 1"))
    assert response.status_code == 714 and isinstance(response.error, ConnectError)
    assert "unable to open database file" in str(response.error)


def test_answers_and_failures_are_gone_when_nobody_keeps_them(tmp_path: Path):
    before = set(threading.enumerate())
    gc.collect()
    kinds = ("Exchange", "ThreadedChannel")
    others = {id(one): one for one in gc.get_objects() if type(one).__name__ in kinds}  # that other tests keep
    gc.disable()
    try:
        dbo = aquests.sqlite3(":memory:")
        for sql in ("SELECT 1", "SELEC", "BEGIN", ["SELECT 1", "SELEC"]):
            dbo.execute(sql)
        dbo.execute("SELECT ?", (2**70,))
        aquests.sqlite3(tmp_path / "nowhere" / "db").execute("SELECT 1")
        aquests.fetchall()
        until(lambda: set(threading.enumerate()) <= before)
        left = [one for one in gc.get_objects() if type(one).__name__ in kinds and id(one) not in others]
        assert left == [] and aquests.result.tasks == 6
    finally:
        gc.enable()


def test_threads_end_with_their_lines(path: Path):
    before = set(threading.enumerate())
    answers(*(aquests.sqlite3(path).execute("SELECT 1") for _ in range(20)))
    until(lambda: set(threading.enumerate()) <= before)


def test_callbacks_queue_more(path: Path):
    dbo = aquests.sqlite3(path)
    seen: list[int] = []

    def follow(response: Response) -> None:
        seen.append(response.data[0].n)
        if len(seen) < 200:
            dbo.execute("SELECT ? AS n", (len(seen),), callback=follow)

    dbo.execute("SELECT 0 AS n", callback=follow)
    assert aquests.fetchall().tasks == 200 and seen == list(range(200))


def test_the_queue_in_random_order_and_a_line_a_request(path: Path):
    aquests.configure(workers=3, qrandom=True, use_pool=False, callback=lambda response: None)
    dbo = aquests.sqlite3(path)
    assert all(response.ok for response in answers(*(dbo.execute("SELECT 1") for _ in range(30))))
    assert aquests.result.connections == 30


def test_a_timeout_of_centuries(path: Path):
    read, write = answers(
        aquests.sqlite3(path, timeout=1e12).execute("SELECT 1 AS a"),
        aquests.sqlite3(path, timeout=1e12).execute("DELETE FROM goods"),
    )
    assert read.data == [{"a": 1}] and write.data.rowcount == 10


def test_proxies_are_none_of_its_business(path: Path):
    aquests.configure(proxy="http://127.0.0.1:1", callback=lambda response: None)
    (response,) = answers(aquests.sqlite3(path).execute("SELECT 1"))
    assert response.ok


def test_the_default_callback_counts_records(path: Path, capsys: pytest.CaptureFixture[str]):
    aquests.configure()
    aquests.sqlite3(path).execute("SELECT * FROM goods LIMIT 2")
    aquests.fetchall()
    assert capsys.readouterr().out == "REQID 0. SQLITE 200 OK 2 records received\n"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: aquests.sqlite3(5), RequestError, "path must be"),  # type: ignore[arg-type]
        (lambda: aquests.sqlite3("a\0b"), RequestError, "path must be"),
        (lambda: aquests.sqlite3("file::memory:?vfs=nowhere"), RequestError, "path: "),
        (lambda: aquests.sqlite3("x", timeuot=3), TypeError, "'timeuot'.*did you mean 'timeout'"),
        (lambda: aquests.sqlite3("x", timeout=0), RequestError, "timeout must be"),
        (lambda: aquests.sqlite3("x").execute(b"SELECT 1"), RequestError, "must be str, not bytes"),
        (lambda: aquests.sqlite3("x").execute(" \n"), RequestError, "empty"),
        (lambda: aquests.sqlite3("x").executescript(""), RequestError, "empty"),
        (lambda: aquests.sqlite3("x").executemany("INSERT", []), RequestError, "no rows"),
    ],
)
def test_what_is_refused_leaves_no_trace(call: Any, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        call()
    assert aquests.qsize() == 0 and script.engine.counted == 0


def test_repr():
    assert repr(aquests.sqlite3("/tmp/x.db")) == "<Sqlite sqlite:///tmp/x.db>"
