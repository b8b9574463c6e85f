"""PostgreSQL as it is: answers compared with psycopg's and asyncpg's, transactions, TLS, PgBouncer, dying back ends."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import select
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from psycopg2 import sql

import aquests
from aquests.engine import Engine
from aquests.errors import ConnectError, PeerClosed, RequestError, TimedOut, TlsError
from aquests.exchange import Response
from aquests.lib.loop import Loop
from aquests.lib.poller import Poller, SelectPoller
from aquests.script import script
from aquests.settings import Settings
from tests.certs import Certs
from tests.face import answers, drop, ignore, own_engine
from tests.helpers import until
from tests.peers import ScriptedPeer
from tests.servers_postgresql import DATABASE, PASSWORD, USER, PostgresServer, pgbouncer, postgresql

ENDLESS = "SELECT pg_sleep(60)"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgresql() as running:
        running.query("CREATE TABLE goods (id int PRIMARY KEY, name text)")
        running.query("INSERT INTO goods SELECT n, 'n' || n FROM generate_series(0, 9) AS n")
        yield running


@pytest.fixture(scope="module")
def secure(certs: Certs) -> Iterator[PostgresServer]:
    with postgresql(certs) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=4, callback=ignore):
        yield


def stub(server: PostgresServer, dbname: str = DATABASE, **options: Any) -> Any:
    return aquests.postgresql(server.server, dbname, server.auth, **options)


def working(server: PostgresServer, words: str) -> int:
    """How many back ends are at work on a statement with these words."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
    return int(server.query(f"{statement} AND query LIKE '%{words}%'")[0][0])


# Statements


def test_rows_are_dicts_with_attributes(server: PostgresServer):
    dbo = stub(server, meta={"shop": 1})
    (response,) = answers(dbo.execute("SELECT id, name FROM goods WHERE id < %s ORDER BY id", (2,)))
    assert response.ok and response.status_code == 200 and response.reason == "OK" and response.lane == "POSTGRESQL"
    assert response.data == [{"id": 0, "name": "n0"}, {"id": 1, "name": "n1"}]
    assert response.data[1].name == "n1" and response.data.columns == ["id", "name"]
    assert response.data.rowcount == 2 and response.data.status == "SELECT 2"
    assert response.data.description[0].name == "id"
    assert response.url == f"postgresql://{server.server}/postgres"
    assert response.meta == {"shop": 1, "req_id": 0, "req_method": "postgresql"}
    assert set(response.timings) == {"queue", "dns", "connect", "tls", "first_byte", "total"}
    assert response.timings["connect"] > 0


def test_statements_of_every_kind(server: PostgresServer):
    aquests.configure(workers=1, callback=lambda response: None)  # in this order
    dbo = stub(server)
    made, again, insert, returned, none, several, composed, raw, dropped = answers(
        dbo.execute("CREATE TABLE kinds (a int)"),
        dbo.execute("CREATE TABLE IF NOT EXISTS kinds (a int)"),
        dbo.execute("INSERT INTO kinds SELECT generate_series(1, 3)"),
        dbo.execute("INSERT INTO kinds VALUES (%(a)s) RETURNING a, a", {"a": 4}),
        dbo.execute("SELECT a FROM kinds WHERE a > 4"),
        dbo.execute("SELECT 1 AS a; SELECT '50%' AS b"),
        dbo.execute(sql.SQL("SELECT count(*) AS n FROM {} WHERE a > %s").format(sql.Identifier("kinds")), [2]),
        dbo.do(b"SELECT 'bytes' AS c"),
        dbo.execute("DROP TABLE kinds"),
    )
    assert made.data == [] and made.data.status == "CREATE TABLE" and made.data.rowcount == -1
    assert again.data.notices == ('NOTICE:  relation "kinds" already exists, skipping',)
    assert insert.data == [] and insert.data.rowcount == 3 and insert.data.status == "INSERT 0 3"
    assert insert.data.notices == () and insert.data.description is None
    assert returned.data == [{"a": 4, "a_2": 4}]
    assert none.data == [] and none.data.columns == ["a"]
    assert several.data == [{"b": "50%"}]
    assert composed.data[0].n == 2
    assert raw.data[0].c == "bytes"
    assert dropped.ok and aquests.result.connections == 1


@pytest.mark.parametrize(
    "expression",
    [
        "NULL",
        "true",
        "-5::smallint",
        "9223372036854775807::bigint",
        "1.5::float8",
        "'NaN'::float8",
        "1.50::numeric",
        "'ä€𝄞'::text",
        "''::text",
        "'c'::char(3)",
        "'2024-02-29'::date",
        "'12:34:56.789'::time",
        "'2024-02-29 12:34:56.789'::timestamp",
        "'2024-02-29 12:34:56+02'::timestamptz",
        "'1 day 2 hours'::interval",
        '\'{"a": [1, null, "ä"]}\'::json',
        '\'{"a": [1, null, "ä"]}\'::jsonb',
        "'{1,2,NULL}'::int[]",
        "'{{a,b},{\"c,d\",NULL}}'::text[]",
        "'{2024-02-29}'::date[]",
        "'b6f5d5a0-1a2b-4c3d-8e9f-000000000001'::uuid",
        "'{b6f5d5a0-1a2b-4c3d-8e9f-000000000001,NULL}'::uuid[]",
        "'{}'::uuid[]",
        "'\\xdeadbeef'::bytea",
        "'[1,5)'::int4range",
        "'empty'::numrange",
        "'[2024-01-01,2024-02-01)'::daterange",
    ],
)
def test_values_are_those_that_psycopg_gives(server: PostgresServer, expression: str):
    (response,) = answers(stub(server).execute(f"SELECT {expression} AS v, pg_typeof({expression})::text AS t"))
    value, (expected, kind) = response.data[0].v, server.query(f"SELECT {expression}, pg_typeof({expression})::text")[0]
    assert response.data[0].t == kind
    if isinstance(value, memoryview):
        value = bytes(value)
    if kind.endswith("range"):
        bounds = (value.lower, value.upper, value.isempty, value.lower_inc, value.upper_inc)
        assert bounds == (expected.lower, expected.upper, expected.isempty, expected.lower_inc, expected.upper_inc)
    else:
        assert type(value) is type(expected) and (value == expected or repr(value) == repr(expected))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        2**62,
        1.25,
        decimal.Decimal("1.50"),
        'it\'s 100 % \\ä€\n\t"quoted" $1 ?',
        b"\x00\xff'\\",
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 34, 56, 789, datetime.UTC),
        datetime.timedelta(days=1, seconds=5),
        uuid.UUID(int=7),
        [1, 2, 3],
        ["a", None, "b,c"],
        {"a": [1, {"b": "'"}]},
    ],
)
def test_params_come_back_as_they_were(server: PostgresServer, value: Any):
    cast = {dict: "::jsonb", uuid.UUID: "::uuid", bytes: "::bytea"}.get(type(value), "")
    one, two = answers(
        stub(server).execute(f"SELECT %s{cast} AS v", (value,)),
        stub(server).execute(f"SELECT %(v)s{cast} AS v", {"v": value}),
    )
    for response in (one, two):
        assert response.error is None
        got = response.data[0].v
        assert (bytes(got) if isinstance(got, memoryview) else got) == value


def test_the_same_rows_as_asyncpg(server: PostgresServer):
    asyncpg = pytest.importorskip("asyncpg")
    statement = "SELECT n, n * 1.5::numeric AS x, md5(n::text) AS h, now() - now() AS i FROM generate_series(1, 5000) n"

    async def ask() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(
            host=server.host, port=server.port, user=USER, password=PASSWORD, database=DATABASE
        )
        try:
            return [dict(record) for record in await connection.fetch(statement)]
        finally:
            await connection.close()

    (response,) = answers(stub(server).execute(statement))
    assert response.data == asyncio.run(ask())


def test_ten_thousand_answers_are_each_their_own(server: PostgresServer):
    aquests.configure(workers=16, callback=lambda response: None)
    dbo = stub(server)
    requests = [dbo.execute("SELECT %s AS n", (n,)) for n in range(10_000)]
    assert [response.data[0].n for response in answers(*requests)] == list(range(10_000))
    assert aquests.result.max_connections == 16 and aquests.result.connections == 16


def test_a_big_answer_and_a_big_statement(server: PostgresServer):
    text = "x" * 3_000_000
    dbo = stub(server)
    sent, received, rows = answers(
        dbo.execute("SELECT length(%s) AS n", (text,)),
        dbo.execute("SELECT repeat('ab', 4000000) AS t"),
        dbo.execute("SELECT n FROM generate_series(1, 100000) AS n"),
    )
    assert sent.data[0].n == 3_000_000
    assert len(received.data[0].t) == 8_000_000 and 0 < received.timings["first_byte"] < received.timings["total"]
    assert len(rows.data) == 100_000 and rows.data[-1].n == 100_000


# Errors are answers


def test_an_error_is_an_answer_and_the_line_goes_on(server: PostgresServer):
    aquests.configure(workers=1, callback=lambda response: None)
    dbo = stub(server)
    bad, unique, good = answers(
        dbo.execute("SELECT * FROM nowhere"),
        dbo.execute("INSERT INTO goods VALUES (1)"),
        dbo.execute("SELECT count(*) AS n FROM goods"),
    )
    assert (bad.status_code, bad.reason, bad.ok, bad.data) == (500, "Database Error", False, None)
    assert isinstance(bad.error, psycopg2.errors.UndefinedTable) and bad.error.pgcode == "42P01"
    assert bad.error.diag.severity == "ERROR" and 'relation "nowhere" does not exist' in str(bad.error)
    with pytest.raises(psycopg2.errors.UndefinedTable):
        bad.raise_for_status()
    assert unique.error.pgcode == "23505" and good.data[0].n == 10
    assert aquests.result.connections == 1 and aquests.result.status_codes == {200: 1, 500: 2}


def test_a_value_that_python_cannot_hold_is_an_answer(server: PostgresServer):
    aquests.configure(workers=1, callback=lambda response: None)
    bad, good = answers(stub(server).execute("SELECT '10000-01-01'::date"), stub(server).execute("SELECT 1 AS a"))
    assert bad.status_code == 500 and isinstance(bad.error, ValueError) and good.data == [{"a": 1}]
    assert aquests.result.connections == 1


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ((1,), "tuple index out of range"),
        ((1, 2, 3), "not all arguments converted"),
        ((object(), 1), "can't adapt type 'object'"),
        ((1, "a\0b"), "NUL"),
        ((1, "\ud800"), "surrogates not allowed"),
    ],
)
def test_params_that_do_not_fit_are_refused_before_anything_is_sent(server: PostgresServer, params: Any, words: str):
    aquests.configure(workers=1, callback=lambda response: None)
    dbo = stub(server)
    bad, good = answers(dbo.execute("SELECT %s, %s", params), dbo.execute("SELECT 1 AS a"))
    assert isinstance(bad.error, RequestError) and words in str(bad.error) and good.data == [{"a": 1}]
    assert aquests.result.connections == 1


def test_a_parameter_without_a_name(server: PostgresServer):
    (bad,) = answers(stub(server).execute("SELECT %(nobody)s", {"a": 1}))
    assert isinstance(bad.error, RequestError) and "there is no parameter 'nobody'" in str(bad.error)


class Rude:
    def __conform__(self, protocol: Any) -> Any:
        raise ZeroDivisionError("rude")


def test_an_adapter_that_raises_loses_its_own_request_only(server: PostgresServer):
    aquests.configure(workers=1, callback=lambda response: None)
    dbo = stub(server)
    bad, listed, good = answers(
        dbo.execute("SELECT %s", (Rude(),)),
        dbo.execute(["CREATE TABLE rude (a int)", ("INSERT INTO rude VALUES (%s)", (Rude(),))]),
        dbo.execute("SELECT to_regclass('rude') AS r"),
    )
    assert isinstance(bad.error, RequestError) and isinstance(bad.error.__cause__, ZeroDivisionError)
    assert isinstance(listed.error, RequestError) and good.data == [{"r": None}]


# Transactions


def test_a_list_is_one_transaction_on_one_line(server: PostgresServer):
    dbo = stub(server)
    server.query("CREATE TABLE pairs (a int UNIQUE DEFERRABLE INITIALLY DEFERRED, t xid8 DEFAULT pg_current_xact_id())")
    good, bad, late, savepoint = (
        answers(
            dbo.execute(
                [
                    "INSERT INTO pairs VALUES (1) -- a comment",
                    ("INSERT INTO pairs VALUES (%s)", (2,)),
                    "SELECT count(DISTINCT t) AS n, count(*) AS m FROM pairs;",
                ]
            )
        )[0],
        answers(dbo.execute(["INSERT INTO pairs VALUES (3)", "SELECT 1 / 0", "INSERT INTO pairs VALUES (4)"]))[0],
        answers(dbo.execute(["INSERT INTO pairs VALUES (5)", "INSERT INTO pairs VALUES (5)"]))[0],
        answers(
            dbo.execute(
                [
                    "SAVEPOINT s",
                    "INSERT INTO pairs VALUES (6)",
                    "ROLLBACK TO s",
                    "INSERT INTO pairs VALUES (7) RETURNING a",
                ]
            )
        )[0],
    )
    assert good.data == [{"n": 1, "m": 2}]
    assert isinstance(bad.error, psycopg2.errors.DivisionByZero)
    assert isinstance(late.error, psycopg2.errors.UniqueViolation), "COMMIT itself may fail"
    assert savepoint.data == [{"a": 7}]
    assert server.query("SELECT a FROM pairs ORDER BY a") == [(1,), (2,), (7,)]
    server.query("DROP TABLE pairs")


def test_many_rows_are_one_transaction_in_pages(server: PostgresServer):
    aquests.configure(workers=1, callback=lambda response: None)
    server.query("CREATE TABLE many (a int PRIMARY KEY, t xid8 DEFAULT pg_current_xact_id())")
    dbo = stub(server)
    good, bad, unfit, after = answers(
        dbo.executemany("INSERT INTO many VALUES (%s)", ((n,) for n in range(1700))),
        dbo.executemany("INSERT INTO many VALUES (%s)", [(n,) for n in [*range(5000, 6200), 1]]),
        dbo.executemany("INSERT INTO many VALUES (%s)", [*[(n,) for n in range(5000, 6200)], (object(),)]),
        dbo.execute("SELECT count(*) AS n, count(DISTINCT t) AS m FROM many"),
    )
    assert good.ok and good.data.status == "INSERT 0 1"
    assert isinstance(bad.error, psycopg2.errors.UniqueViolation)
    assert isinstance(unfit.error, RequestError)
    assert after.data == [{"n": 1700, "m": 1}] and aquests.result.connections == 1
    server.query("DROP TABLE many")


@pytest.mark.parametrize("statement", ["BEGIN", "BEGIN; INSERT INTO goods VALUES (100)", "COPY goods TO STDOUT"])
def test_nothing_is_left_on_a_line(server: PostgresServer, statement: str):
    aquests.configure(workers=1, callback=lambda response: None)
    dbo = stub(server)
    left, after = answers(dbo.execute(statement), dbo.execute("SELECT count(*) AS n FROM goods"))
    assert left.status_code == 500 and isinstance(left.error, psycopg2.ProgrammingError)
    assert after.data == [{"n": 10}] and aquests.result.connections == 2


def test_a_transaction_in_one_statement(server: PostgresServer):
    aquests.configure(workers=1, callback=lambda response: None)
    one, two = answers(
        stub(server).execute("BEGIN; CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1; COMMIT"),
        stub(server).execute("SELECT 1 AS a"),
    )
    assert one.ok and one.data.status == "COMMIT" and two.ok and aquests.result.connections == 1


# Lines that fail


def test_a_killed_back_end_is_a_broken_line_and_the_rest_goes_on(server: PostgresServer):
    aquests.configure(workers=1, callback=lambda response: None)
    dbo = stub(server)
    killed, after = answers(dbo.execute("SELECT pg_terminate_backend(pg_backend_pid())"), dbo.execute("SELECT 1 AS a"))
    assert killed.status_code == 700 and isinstance(killed.error, PeerClosed)
    assert str(killed.error) == f"terminating connection due to administrator command, {server.server}"
    assert after.data == [{"a": 1}] and aquests.result.connections == 2 and aquests.result.retries == 0


def test_a_line_killed_while_idle_is_not_missed(server: PostgresServer):
    aquests.configure(workers=2, callback=lambda response: None)
    dbo = stub(server)
    seen: list[Response] = []

    def kill(response: Response) -> None:
        seen.append(response)
        dbo.execute("SELECT pg_terminate_backend(%s)", (response.data[0].pid,), callback=seen.append)

    dbo.execute("SELECT pg_backend_pid() AS pid", callback=kill)
    aquests.fetchall()
    (response,) = answers(dbo.execute("SELECT 1 AS a"))
    assert response.ok and len(seen) == 2


def test_a_line_that_idled_too_long_is_replaced_and_nothing_runs_twice(server: PostgresServer):
    """The server says that it did not look at the statement: so it is sent again, by itself."""
    aquests.configure(workers=1, callback=lambda response: None)
    dbo = stub(server, options="-c idle_session_timeout=50")
    first = dbo.execute("SELECT 1 AS a")
    engine = script.engine
    until(lambda: first.response, between=lambda: engine.step(0.01))
    (channel,) = engine._channels
    connection = channel.wire._connection  # type: ignore[union-attr]
    fd = connection.fileno()
    engine.loop.remove(fd)  # as if the news came in the same step as the next request
    until(lambda: server.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'aquests'") == [(0,)])
    engine.loop.add(fd, 1, channel._on_open)  # type: ignore[attr-defined]
    second = dbo.execute("SELECT 2 AS a")
    engine._dispatch()
    (response,) = answers(second)
    assert response.data == [{"a": 2}] and aquests.result.retries == 1


def test_a_restart_in_mid_run(server: PostgresServer):
    """Those in flight get a typed error; each request has one answer; what is asked afterwards is answered."""
    with postgresql() as mortal:
        aquests.configure(workers=8, callback=lambda response: None)
        dbo = stub(mortal)
        count = Counter[int]()
        busy = threading.Event()

        def note(response: Response) -> None:
            count[response.status_code] += 1
            busy.set()
            if response.status_code == 714 and not response.meta.get("again"):
                dbo.execute("SELECT pg_sleep(0.002)", callback=note)  # what was refused is asked again, until it works

        for _ in range(600):
            dbo.execute("SELECT pg_sleep(0.002)", callback=note)

        def restart() -> None:
            busy.wait(10.0)
            mortal.restart("immediate")

        thread = threading.Thread(target=restart)
        thread.start()
        report = aquests.fetchall()
        thread.join()
        assert set(count) <= {200, 700, 714} and count[200] + count[700] == 600 and 1 <= count[700] <= 8
        assert report.tasks == sum(count.values())
        kinds = {"700 Connection Closed", "714 Connection Failure"}
        assert set(report.errors) <= kinds


def test_a_timeout_closes_the_line_and_stops_the_server(server: PostgresServer):
    aquests.configure(workers=2, callback=lambda response: None)
    dbo = stub(server)
    slow, listed, after = answers(
        dbo.execute("SELECT pg_sleep(60), 'slow one'", timeout=0.2),
        dbo.execute(["SELECT 1", "SELECT pg_sleep(60), 'slow two'"], timeout=0.2),
        dbo.execute("SELECT 1 AS a"),
    )
    assert slow.status_code == listed.status_code == 702 and isinstance(slow.error, TimedOut)
    assert after.data == [{"a": 1}] and aquests.result.duration < 5.0
    until(lambda: working(server, "slow") == 0)


def test_a_deadline_is_kept(server: PostgresServer):
    (response,) = answers(stub(server).execute(ENDLESS, deadline=0.2))
    assert response.status_code == 702 and "deadline" in str(response.error)


def test_an_answer_that_keeps_coming_is_not_timed_out(server: PostgresServer):
    """Each row is a notice to the client; together they take three times as long as the timeout."""
    slowly = "DO $$ BEGIN FOR i IN 1..12 LOOP RAISE NOTICE '%', i; PERFORM pg_sleep(0.1); END LOOP; END $$"
    (response,) = answers(stub(server).execute(slowly, timeout=0.4))
    assert response.ok and len(response.data.notices) == 12 and response.data.notices[0] == "NOTICE:  1"


def test_a_stop_in_mid_run_answers_what_is_in_flight(server: PostgresServer):
    dbo = stub(server)
    requests = [dbo.execute(f"SELECT pg_sleep(60), 'stopped {n}'") for n in range(6)]
    engine = script.engine
    until(lambda: working(server, "stopped") == 4, between=lambda: engine.step(0.01))
    engine.stop()
    report = aquests.fetchall()
    assert report.tasks == 4 and all(request.response.status_code == 701 for request in requests[:4])
    until(lambda: working(server, "stopped") == 0)
    engine._sources.clear()
    drop()


# Loops


def engine_with(poller: Poller | None = None) -> Engine:
    """The default engine, with another poller."""
    engine = script.made = Engine(Settings(workers=4, callback=lambda response: None), Loop(poller))
    return engine


@pytest.mark.parametrize("tls", [False, True])
def test_with_select(server: PostgresServer, secure: PostgresServer, tls: bool):
    engine_with(SelectPoller())
    dbo = stub(secure if tls else server, sslmode="allow")
    killed = dbo.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    big = dbo.execute("SELECT length(%s) AS n", ("x" * 500_000,))
    requests = [dbo.execute("SELECT %s AS n", (n,)) for n in range(200)]
    assert [response.data[0].n for response in answers(*requests)] == list(range(200))
    assert killed.response is not None and killed.response.status_code == 700
    assert big.response is not None and big.response.data[0].n == 500_000


def test_inside_asyncio(server: PostgresServer, tmp_path: Path):
    """PostgreSQL's sockets and SQLite's threads, stepped by somebody else's loop."""
    engine = engine_with()
    dbo, lite = stub(server), aquests.sqlite3(tmp_path / "db")
    requests = [each.execute("SELECT 1 AS a") for _ in range(100) for each in (dbo, lite)]
    slow = dbo.execute(ENDLESS, timeout=0.2)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def tick() -> None:
            engine.step(0.0)
            if engine.idle:
                if not done.done():
                    done.set_result(None)
            elif (deadline := engine.next_deadline()) is not None:
                loop.call_at(deadline, tick)

        loop.add_reader(engine.fileno(), tick)
        try:
            await asyncio.wait_for(done, 10.0)
        finally:
            loop.remove_reader(engine.fileno())

    asyncio.run(main())
    engine.hang_up()
    assert all(request.response is not None and request.response.data == [{"a": 1}] for request in requests)
    assert slow.response is not None and slow.response.status_code == 702
    until(lambda: working(server, "pg_sleep") == 0)


# Refusals


@pytest.mark.parametrize(
    ("dbname", "auth", "words"),
    [
        (DATABASE, (USER, "wrong-" + PASSWORD), f'password authentication failed for user "{USER}"'),
        (DATABASE, ("nobody", PASSWORD), 'password authentication failed for user "nobody"'),
        ("nowhere", (USER, PASSWORD), 'database "nowhere" does not exist'),
        (DATABASE, (USER,), "no password supplied"),
    ],
)
def test_a_login_that_is_refused(server: PostgresServer, dbname: str, auth: Any, words: str):
    (response,) = answers(aquests.postgresql(server.server, dbname, auth, passfile="/nowhere").execute("SELECT 1"))
    assert response.status_code == 714 and isinstance(response.error, ConnectError)
    assert words in str(response.error) and server.server in str(response.error)
    shown = [str(response.error), repr(response.error), response.url, repr(response), str(aquests.result)]
    assert not any(PASSWORD in text for text in shown)


def test_nobody_listens():
    (response,) = answers(aquests.postgresql("127.0.0.1:1", "x", ("u", "p")).execute("SELECT 1"))
    assert response.status_code == 714 and str(response.error) == "connection refused, 127.0.0.1:1"


def test_a_server_that_says_nothing():
    with ScriptedPeer() as peer:
        dbo = aquests.postgresql(f"127.0.0.1:{peer.port}", "x", ("u", "p"), timeout=0.2)
        (response,) = answers(dbo.execute("SELECT 1"))
    assert response.status_code == 702 and response.error.phase == "connect"


def test_a_server_that_gives_few_lines_is_asked_by_those(server: PostgresServer):
    server.query("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 3")
    aquests.configure(workers=8, callback=lambda response: None)
    dbo = aquests.postgresql(server.server, DATABASE, ("few", "few"))
    requests = [dbo.execute("SELECT pg_sleep(0.002), %s AS n", (n,)) for n in range(200)]
    assert [response.data[0].n for response in answers(*requests)] == list(range(200))
    assert aquests.result.max_connections == 3
    server.query("DROP ROLE few")


def test_a_server_that_gives_no_line_at_all(server: PostgresServer):
    server.query("CREATE ROLE barred LOGIN PASSWORD 'barred' CONNECTION LIMIT 0")
    dbo = aquests.postgresql(server.server, DATABASE, ("barred", "barred"), timeout=0.3)
    responses = answers(*(dbo.execute("SELECT 1") for _ in range(5)))
    assert {response.status_code for response in responses} == {714}
    assert all("too many connections" in str(response.error) for response in responses)
    server.query("DROP ROLE barred")


# Ways to get there


def test_dsn_unix_socket_and_name(server: PostgresServer):
    escaped = "s3cret%27pa%3Ass%20w%40rd"
    quoted = PASSWORD.replace("'", "\\'")
    places = [
        aquests.postgresql(f"postgresql://{USER}:{escaped}@{server.server}/{DATABASE}?application_name=uri"),
        aquests.postgresql(
            f"host={server.host} port={server.port} user={USER} password='{quoted}' "
            f"dbname={DATABASE} application_name=dsn"
        ),
        aquests.postgresql(
            f"host={server.sockets} port={server.port} dbname={DATABASE}", None, USER, application_name="unix"
        ),
        aquests.postgresql(f"localhost:{server.port}", DATABASE, server.auth, application_name="name"),
        aquests.postgresql(
            f"host=db.example hostaddr=127.0.0.1 port={server.port}", DATABASE, server.auth, application_name="address"
        ),
        stub(server),
    ]
    requests = [dbo.execute("SELECT current_setting('application_name') AS n") for dbo in places]
    names = [response.data[0].n for response in answers(*requests)]
    assert names == ["uri", "dsn", "unix", "name", "address", "aquests"]
    assert [response.url for response in answers(*requests)][2] == f"postgresql://{server.sockets}/{DATABASE}"


@pytest.mark.parametrize("sslmode", [None, "disable", "prefer", "require"])
def test_tls_modes(secure: PostgresServer, sslmode: str | None):
    dbo = stub(secure, **({} if sslmode is None else {"sslmode": sslmode}))
    (response,) = answers(dbo.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    assert response.data[0].ssl is (sslmode != "disable")


def test_tls_verified(secure: PostgresServer, certs: Certs):
    statement = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    name = f"localhost:{secure.port}"
    good, other_name, other_ca = answers(
        aquests.postgresql(name, "secure", secure.auth, ca=certs.ca).execute(statement),
        aquests.postgresql(
            f"host=db.example hostaddr=127.0.0.1 port={secure.port}", "secure", secure.auth, ca=certs.ca
        ).execute(statement),
        aquests.postgresql(name, "secure", secure.auth, ca=certs.unknown_ca.cert).execute(statement),
    )
    assert good.data == [{"ssl": True}]
    for response in (other_name, other_ca):
        assert response.status_code == 713 and isinstance(response.error, TlsError)
    assert "does not match host name" in str(other_name.error) and "verify failed" in str(other_ca.error)


def test_tls_with_a_certificate_of_the_client(secure: PostgresServer, certs: Certs, tmp_path: Path):
    key = tmp_path / "key"
    key.write_bytes(Path(certs.client.key).read_bytes())
    key.chmod(0o644)
    (exposed,) = answers(stub(secure, "certified", cert=(certs.client.cert, key)).execute("SELECT 1"))
    assert exposed.status_code == 713 and "has group or world access" in str(exposed.error)
    key.chmod(0o600)
    files = (certs.client.cert, key)
    with_one, without = answers(
        stub(secure, "certified", cert=files).execute("SELECT 1 AS a"),
        stub(secure, "certified", sslmode="require").execute("SELECT 1 AS a"),
    )
    assert with_one.error is None and with_one.data == [{"a": 1}]
    assert without.status_code == 714 and "certificate" in str(without.error)


def test_tls_refused_by_a_server_without(server: PostgresServer):
    (response,) = answers(stub(server, sslmode="require").execute("SELECT 1"))
    assert response.status_code == 713 and "does not support SSL" in str(response.error)


def test_a_database_by_tls_only_swaps_the_socket(secure: PostgresServer):
    """sslmode=allow: tried without TLS, refused, tried again on another socket, mostly of the same number."""
    aquests.configure(workers=6, callback=lambda response: None)
    dbo = stub(secure, "secure", sslmode="allow")
    responses = answers(*(dbo.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") for _ in range(60)))
    assert all(response.data == [{"ssl": True}] for response in responses)


def test_no_line_through_a_proxy(server: PostgresServer):
    aquests.configure(proxy="http://127.0.0.1:1", callback=lambda response: None)
    refused, direct = answers(stub(server).execute("SELECT 1"), stub(server, proxy=False).execute("SELECT 1"))
    assert refused.status_code == 714 and "cannot go through a proxy" in str(refused.error) and direct.ok


# PgBouncer


def test_behind_pgbouncer_in_transaction_mode(server: PostgresServer, tmp_path: Path):
    with pgbouncer(tmp_path, server) as bouncer:
        aquests.configure(workers=12, callback=lambda response: None)
        dbo = aquests.postgresql(f"127.0.0.1:{bouncer.port}", DATABASE, server.auth)
        server.query("CREATE TABLE behind (a int)")
        requests = [dbo.execute("SELECT %s AS n, pg_backend_pid() AS pid", (n,)) for n in range(300)]
        lists = [dbo.execute([("INSERT INTO behind VALUES (%s)", (n,)), "SELECT pg_backend_pid()"]) for n in range(50)]
        many = dbo.executemany("INSERT INTO behind VALUES (%s)", [(n,) for n in range(700)])
        bad = dbo.execute(["INSERT INTO behind VALUES (-1)", "SELECT 1 / 0"])
        responses = answers(*requests)
        assert [response.data[0].n for response in responses] == list(range(300))
        assert len({response.data[0].pid for response in responses}) <= 2 < aquests.result.max_connections
        assert all(request.response is not None and request.response.ok for request in [*lists, many])
        assert bad.response is not None and isinstance(bad.response.error, psycopg2.errors.DivisionByZero)
        assert server.query("SELECT count(*), min(a) FROM behind") == [(750, 0)]
        slow, after = answers(
            dbo.execute("SELECT pg_sleep(60), 'behind the bouncer'", timeout=0.2), dbo.execute("SELECT 1 AS a")
        )
        assert slow.status_code == 702 and after.data == [{"a": 1}]
        until(lambda: working(server, "behind the bouncer") == 0)
        server.query("DROP TABLE behind")


def test_a_pgbouncer_that_is_full(server: PostgresServer, tmp_path: Path):
    with pgbouncer(tmp_path, server, max_client_conn="3") as bouncer:
        aquests.configure(workers=8, callback=lambda response: None)
        dbo = aquests.postgresql(f"127.0.0.1:{bouncer.port}", DATABASE, server.auth)
        assert all(response.ok for response in answers(*(dbo.execute("SELECT pg_sleep(0.002)") for _ in range(100))))
        assert aquests.result.max_connections <= 3


# A line that is cut


def cutting(port: int, limit: int) -> Callable[[socket.socket, int], None]:
    """A relay that ends the line after ``limit`` bytes of the server's."""

    def handle(sock: socket.socket, number: int) -> None:
        left = limit
        with socket.create_connection(("127.0.0.1", port)) as other:
            while left:
                ready, _, _ = select.select([sock, other], [], [], 5.0)
                for one in ready:
                    data = one.recv(left if one is other else 65536)
                    if not data:
                        return
                    if one is other:
                        left -= len(data)
                    (sock if one is other else other).sendall(data)

    return handle


def test_a_line_that_is_cut_anywhere_has_one_answer(server: PostgresServer):
    """Within the log-in it is a connection failure, within the answer a broken line."""
    codes = []
    for limit in (0, 1, 5, 9, 20, 100, 200, 350, 600, 1000, 1400, 1 << 20):
        with ScriptedPeer(cutting(server.port, limit)) as peer:
            dbo = aquests.postgresql(f"127.0.0.1:{peer.port}", DATABASE, server.auth, timeout=5, sslmode="disable")
            (response,) = answers(dbo.execute("SELECT repeat('x', 1000) AS x"))
            codes.append(response.status_code)
    assert codes == sorted(codes, reverse=True) and codes[0] == 714 and codes[-2:] == [700, 200], codes
