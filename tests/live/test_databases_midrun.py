"""What is promised of databases in trouble, counted in the databases themselves: nothing is executed twice, what was
said to be done is done, and a run goes on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import aquests
from aquests.exchange import Response
from aquests.protocols.rediscluster import slot_of
from tests.face import ignore, own_engine
from tests.servers import nginx
from tests.servers_mongodb import mongodb_server
from tests.servers_postgresql import DATABASE, PostgresServer, postgresql
from tests.servers_redis import SLOTS, redis_cluster, redis_server
from tests.serving import HOST


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(callback=ignore):
        yield


class Ledger:
    """Who was answered, and how. When ``after`` of them were fine ``strike`` is called, and ``some`` is set."""

    def __init__(self, after: int, strike: Callable[[], object] = lambda: None):
        self.codes: dict[int, int] = {}
        self.after = after
        self.strike = strike
        self.fine = 0
        self.some = threading.Event()

    def __call__(self, response: Response) -> None:
        number = response.meta["n"]
        assert number not in self.codes, "answered twice"
        self.codes[number] = response.status_code
        self.fine += response.ok
        if self.fine == self.after and not self.some.is_set():
            self.strike()
            self.some.set()

    def of(self, n: int) -> dict[str, Any]:
        """The options of a call."""
        return {"callback": self, "meta": {"n": n}}

    def counts(self) -> Counter[int]:
        return Counter(self.codes.values())

    def check(self, done: Counter[int], asked: int) -> None:
        """``done``: how often each was executed."""
        assert len(self.codes) == asked and aquests.result.callback_errors == 0
        assert max(done.values()) == 1, "executed twice"
        assert [n for n, code in self.codes.items() if code == 200 and not done[n]] == [], "lost"
        assert [n for n, code in self.codes.items() if code == 714 and done[n]] == [], "executed without a line"


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """While the body runs ``work`` runs in a thread; what it raises is raised."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failed:
        raise failed[0]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgresql(max_connections="150") as running:
        yield running


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_restart_of_postgresql_costs_only_what_was_in_flight(server: PostgresServer, mode: str) -> None:
    """A hundred are in flight; each changes two rows. Those who wait are executed when the server is back."""
    server.query("DROP TABLE IF EXISTS two; CREATE TABLE two (id int)")
    aquests.configure(workers=100, callback=ignore)
    dbo = aquests.postgresql(server.server, DATABASE, server.auth, timeout=30)
    ledger, asked = Ledger(1000, lambda: server.stop(mode)), 4000
    insert = "INSERT INTO two VALUES (%s)"
    for n in range(0, asked, 4):
        dbo.execute([(insert, (n,)), f"INSERT INTO two VALUES ({-n - 1})"], **ledger.of(n))
        dbo.executemany(insert, [(n + 1,), (-n - 2,)], **ledger.of(n + 1))
        dbo.execute("INSERT INTO two VALUES (%s), (%s)", (n + 2, -n - 3), **ledger.of(n + 2))
        dbo.execute(f"INSERT INTO two SELECT * FROM (VALUES ({n + 3}), ({-n - 4})) AS v", **ledger.of(n + 3))

    def start() -> None:
        assert ledger.some.wait(30.0)
        server.start()

    with beside(start):
        aquests.fetchall()
    done = Counter(row[0] for row in server.query("SELECT id FROM two"))
    ledger.check(done, asked)
    assert all(done[n] == done[-n - 1] for n in range(asked)), "half of one"
    counts = ledger.counts()
    assert set(counts) == {200, 700} and 1 <= counts[700] <= 100, counts


@pytest.mark.parametrize("pipeline", [1, 64])
def test_a_redis_that_is_killed_has_executed_nothing_twice(tmp_path: Path, pipeline: int) -> None:
    with redis_server(tmp_path, "appendonly yes", "appendfsync no") as running:
        aquests.configure(workers=20, callback=ignore)
        stub = aquests.redis(running.place, pipeline=pipeline, timeout=10)
        ledger, asked = Ledger(5000, running.kill), 20_000
        for n in range(asked):
            if n % 10:
                stub.incr(f"k{n}", **ledger.of(n))
            else:
                stub.transaction([("incr", f"k{n}"), ("incr", f"x{n}")], **ledger.of(n))

        def start() -> None:
            assert ledger.some.wait(30.0) and running.start()

        with beside(start):
            aquests.fetchall()
        with running.client() as client:
            values = client.mget([f"k{n}" for n in range(asked)])
            pairs = client.mget([f"x{n}" for n in range(0, asked, 10)])
        ledger.check(Counter({n: int(value or 0) for n, value in enumerate(values)}), asked)
        assert pairs == values[::10], "half of a transaction"
        counts = ledger.counts()
        assert set(counts) <= {200, 700, 714} and counts[200] >= 5000 and 1 <= counts[700] <= 20 * pipeline, counts


def test_a_cluster_whose_slots_move_under_a_pipeline(tmp_path: Path) -> None:
    """MOVED, ASK and TRYAGAIN in the middle of full lines: each is executed once, and answered."""
    with redis_cluster(tmp_path) as nodes:
        clients = [node.client() for node in nodes]
        ids = [client.execute_command("CLUSTER MYID") for client in clients]
        aquests.configure(workers=8, callback=ignore)
        stub = aquests.redis(nodes[0].place, timeout=30)
        ledger, asked, keys = Ledger(4000), 20_000, [f"k{k}" for k in range(300)]
        for n in range(asked):
            key = keys[n % len(keys)]
            if n % 7:
                stub.rpush(key, n, **ledger.of(n))
            else:
                stub.transaction([("rpush", key, n), ("incr", f"{{{key}}}:count")], **ledger.of(n))

        def reshard() -> None:
            assert ledger.some.wait(30.0)
            for slot in sorted({slot_of(key.encode()) for key in keys})[::4]:
                here = slot // -(-SLOTS // 3)
                there = (here + 1) % 3
                clients[there].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
                clients[here].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
                while found := clients[here].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                    for key in found:
                        clients[here].execute_command("MIGRATE", HOST, nodes[there].port, key, 0, 5000)
                for number in (there, here, 3 - here - there):
                    clients[number].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[there])

        with beside(reshard):
            aquests.fetchall()
        done = Counter[int]()
        for client in clients:
            for key in client.keys("k*"):
                done.update(int(value) for value in client.lrange(key, 0, -1))
            client.close()
        ledger.check(done, asked)
        assert ledger.counts() == {200: asked}


OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for n in range(100):
    connection.execute("INSERT INTO t VALUES (?, 'other')", (-n - 1,))
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_under_load_beside_another_process(tmp_path: Path, mode: str) -> None:
    """Many readers, one writer, and somebody else who writes: nobody is told that the database is locked."""
    path = tmp_path / "load.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE t (id integer, v)")
    connection.commit()
    aquests.configure(workers=20, callback=ignore)
    dbo = aquests.sqlite3(path, timeout=30)
    ledger, asked = Ledger(0), 400
    for n in range(0, asked, 4):
        dbo.execute("INSERT INTO t VALUES (?, 'one')", (n,), **ledger.of(n))
        dbo.execute([("INSERT INTO t VALUES (?, 'list')", (n + 1,)), "SELECT count(*) FROM t"], **ledger.of(n + 1))
        dbo.executemany("INSERT INTO t VALUES (?, ?)", [(n + 2, "many")], **ledger.of(n + 2))
        dbo.execute("SELECT count(*) AS n, max(id) AS m FROM t", **ledger.of(n + 3))
    with subprocess.Popen([sys.executable, "-c", OTHER, str(path)]) as other:
        aquests.fetchall()
    assert other.returncode == 0 and ledger.counts() == {200: asked}
    done = Counter(row[0] for row in connection.execute("SELECT id FROM t"))
    connection.close()
    assert sum(done.values()) == asked * 3 // 4 + 100 and max(done.values()) == 1


KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aquests'"


def test_all_of_them_with_http_in_one_queue(server: PostgresServer, tmp_path: Path) -> None:
    """Every answer is its own request's, also when the back ends of one are killed, and callbacks ask others."""
    server.query("CREATE TABLE pages (id int)")
    asked = 300
    with redis_server(tmp_path) as redis, mongodb_server(tmp_path) as mongo, nginx(tmp_path) as web:
        aquests.configure(workers=12, callback=ignore)
        pg = aquests.postgresql(server.server, DATABASE, server.auth)
        cache, documents = aquests.redis(redis.place), aquests.mongodb(mongo.place, "shop")
        file = aquests.sqlite3(tmp_path / "mixed.db")
        documents.insert("c", [{"_id": n} for n in range(asked)])
        aquests.fetchall()
        wrong: list[Any] = []
        broken = Counter[str]()

        def expect(look: Callable[[Response], Any]) -> Callable[[Response], None]:
            def note(response: Response) -> None:
                if response.status_code == 700 and response.lane == "POSTGRESQL":
                    broken[response.lane] += 1
                elif not response.ok or look(response) != response.meta["n"]:
                    wrong.append((response, response.error))

            return note

        def page(response: Response) -> int:
            n: int = response.meta["n"]
            pg.execute("INSERT INTO pages VALUES (%s) RETURNING id", (n,), callback=row, meta={"n": n})
            return n if len(response.content) == 4096 else -1

        row = expect(lambda response: response.data[0].id)
        key = expect(lambda response: int(response.data))
        one = expect(lambda response: response.data["data"][0]["_id"])
        for n in range(asked):
            meta = {"n": n}
            aquests.get(f"{web.url}/4k", callback=expect(page), meta=meta)
            cache.echo(n, callback=key, meta=meta)
            documents.findone("c", {"_id": n}, callback=one, meta=meta)
            pg.execute("SELECT %s AS id", (n,), callback=row, meta=meta)
            file.execute("SELECT ? AS id", (n,), callback=row, meta=meta)
            if n == asked // 2:
                cache.ping(callback=lambda response: server.query(KILL))
        report = aquests.fetchall()
        assert wrong == [] and broken["POSTGRESQL"] <= 12
        assert report.tasks == 6 * asked + 1 and report.callback_errors == 0
        (total, distinct), *_ = server.query("SELECT count(*), count(DISTINCT id) FROM pages")
        assert asked - broken["POSTGRESQL"] <= total == distinct <= asked
