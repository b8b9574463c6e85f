"""The PostgreSQL driver on a connection that follows a script: what psycopg2 would do, without a server."""

from __future__ import annotations

import errno
import os
import uuid
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from psycopg2 import extensions

from aquests.errors import AquestsError, Cancelled, ConnectError, PeerClosed, RequestError, TlsError
from aquests.exchange import Exchange
from aquests.protocols import postgresql as module
from aquests.protocols.postgresql import PAGE, PAGE_BYTES, SMALL, Door, Postgresql, lines, review
from aquests.protocols.rows import Rows
from aquests.retry import exhausted_descriptors
from tests.loopback import exchange

ADDRESS = (2, ("10.0.0.1", 5432))
IDLE, ACTIVE, OPEN = 0, 1, 2
OVER = psycopg2.OperationalError("FATAL:  terminating connection due to administrator command\nSSL connection closed\n")


class Result:
    """What a statement gives."""

    def __init__(self, *rows: tuple[Any, ...], columns: str = "", rowcount: int | None = None, status: str = ""):
        self.rows: Any = list(rows)
        self.description = tuple(SimpleNamespace(name=name) for name in columns.split()) or None
        self.rowcount = len(rows) if rowcount is None else rowcount
        self.status = status


class FakeCursor:
    def __init__(self, connection: FakeConnection):
        self.connection = connection
        self.query = b""
        self.result = Result()
        self.sent: list[bytes] = []

    def mogrify(self, sql: str | bytes, parameters: Any = None) -> bytes:
        if isinstance(parameters, Exception):
            raise parameters
        text = sql.encode() if isinstance(sql, str) else sql
        return text % tuple(parameters) if parameters else text

    def execute(self, sql: Any, parameters: Any = None) -> None:
        self.query = self.mogrify(sql, parameters)
        if self.connection.breaks:
            self.connection.closed = 2
            raise psycopg2.OperationalError("server closed the connection unexpectedly\n\tThis probably means …")
        self.sent.append(self.query)

    @property
    def description(self) -> Any:
        return self.result.description

    @property
    def rowcount(self) -> int:
        return self.result.rowcount

    @property
    def statusmessage(self) -> str:
        return self.result.status

    def fetchall(self) -> Any:
        if isinstance(self.result.rows, Exception):
            raise self.result.rows
        return self.result.rows


class FakeConnection:
    """``steps``: what ``poll`` returns, raises, or the Result that is there when it returns 0."""

    def __init__(self) -> None:
        self.steps: deque[Any] = deque()
        self.closed = 0
        self.breaks = False
        self.status = IDLE
        self.notices: list[str] = []
        self.string_types: dict[Any, Any] = {}
        self.only = FakeCursor(self)
        self.given: dict[str, Any] = {}

    def poll(self) -> int:
        step = self.steps.popleft()
        if isinstance(step, Exception):
            if step is OVER:
                self.closed = 2
            raise step
        if isinstance(step, Result):
            self.only.result = step
            return 0
        return int(step)

    def cursor(self) -> FakeCursor:
        return self.only

    def fileno(self) -> int:
        return 5

    def get_transaction_status(self) -> int:
        return self.status

    def close(self) -> None:
        self.closed = 1


@pytest.fixture(name="connection")
def _connection(monkeypatch: pytest.MonkeyPatch) -> FakeConnection:
    connection = FakeConnection()

    def connect(**given: Any) -> FakeConnection:
        connection.given = given
        if connection.breaks:
            raise psycopg2.OperationalError(
                'connection to server on socket "/x/.s.PGSQL.1" failed: No such file\n\thint'
            )
        return connection

    monkeypatch.setattr(psycopg2, "connect", connect)
    monkeypatch.setattr(extensions, "register_type", lambda kind, where: where.string_types.update({kind.values: kind}))
    return connection


@pytest.fixture(name="driver")
def _driver(connection: FakeConnection) -> Iterator[Postgresql]:
    driver = Postgresql({"host": "db.example", "port": "5432"})
    driver.connect(ADDRESS)
    connection.steps.append(0)
    assert driver.poll() == 0 and driver.room == 1
    yield driver


def ask(driver: Postgresql, payload: Any) -> Exchange:
    x = exchange(payload)
    driver.submit(x)
    return x


def answer(driver: Postgresql, connection: FakeConnection, *steps: Any) -> list[Exchange]:
    connection.steps.extend(steps)
    finished: list[Exchange] = []
    while connection.steps:
        if driver.poll() == 0:
            finished += driver.collect()
    return finished


# The line


def test_connecting(connection: FakeConnection):
    driver = Postgresql({"host": "db.example", "port": "5432", "user": "u"})
    assert driver.room == 0 and driver.inflight == ()
    driver.connect(ADDRESS)
    assert connection.given == {"async_": 1, "hostaddr": "10.0.0.1", "host": "db.example", "port": "5432", "user": "u"}
    connection.steps.extend([2, 1, 0])
    assert [driver.poll(), driver.poll()] == [2, 1] and driver.room == 0
    assert driver.fileno() == 5 and driver.interrupt() is None
    assert driver.poll() == 0 and driver.room == 1 and len(connection.string_types) == 2
    driver.goodbye()
    assert connection.closed == 1


def test_a_unix_socket_takes_no_address_of_the_environment(connection: FakeConnection):
    Postgresql({"host": "/run/postgresql"}, by_address=False).connect((1, "/run/postgresql"))
    assert connection.given["hostaddr"] == ""


def test_what_fails_at_once(connection: FakeConnection):
    connection.breaks = True
    with pytest.raises(ConnectError, match=r"^no such file$"):
        Postgresql({}).connect(ADDRESS)
    Postgresql({}).goodbye()


def refusal(connection: FakeConnection, text: str, door: Door | None = None) -> AquestsError:
    driver = Postgresql({}, door=door)
    driver.connect(ADDRESS)
    connection.steps.append(psycopg2.OperationalError(text))
    with pytest.raises(AquestsError) as caught:
        driver.poll()
    assert driver.room == 0 and caught.value.__cause__ is not None
    return caught.value


@pytest.mark.parametrize(
    ("text", "kind", "words", "crowded"),
    [
        ("Connection refused\n\tIs the server running on that host?\n", ConnectError, "connection refused", False),
        (
            'connection to server at "10.0.0.1", port 5432 failed: FATAL:  database "x" does not exist\n',
            ConnectError,
            'database "x" does not exist',
            False,
        ),
        (
            'FATAL:  password authentication failed for user "u"\nconnection to server at "10.0.0.1", port 5432 '
            'failed: FATAL:  password authentication failed for user "u"\n',
            ConnectError,
            'password authentication failed for user "u"',
            False,
        ),
        ("FATAL:  sorry, too many clients already\n", ConnectError, "sorry, too many clients already", True),
        ('FATAL:  too many connections for role "u"\n', ConnectError, 'too many connections for role "u"', True),
        (
            "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute\n",
            ConnectError,
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            True,
        ),
        ("FATAL:  no more connections allowed\n", ConnectError, "no more connections allowed", True),
        ("SSL error: certificate verify failed\n", TlsError, "SSL error: certificate verify failed", False),
        (
            'server certificate for "a" does not match host name "b"\n',
            TlsError,
            'server certificate for "a" does not match host name "b"',
            False,
        ),
        (
            "server does not support SSL, but SSL was required\n",
            TlsError,
            "server does not support SSL, but SSL was required",
            False,
        ),
        ("FATAL:  connection requires a valid client certificate\n", ConnectError, "connection requires", False),
        ("FATAL:  SASL authentication failed\n", ConnectError, "SASL authentication failed", False),
        (
            "received invalid response to SSL negotiation: H\n",
            ConnectError,
            "the server does not speak PostgreSQL's protocol (received invalid response",
            False,
        ),
        ("fe_sendauth: no password supplied\n", ConnectError, "no password supplied: give auth=", False),
        (
            "FATAL:  server login has been failing, try again later (server_login_retry)\n",
            ConnectError,
            "server login has been failing",
            True,
        ),
        ("", ConnectError, "operationalError", False),
    ],
)
def test_refusals(connection: FakeConnection, text: str, kind: type, words: str, crowded: bool):
    error = refusal(connection, text)
    assert type(error) is kind and error.message.startswith(words) and error.crowded is crowded


@pytest.mark.parametrize(
    ("text", "crowded"),
    [
        ("Connection refused\n\tIs the server running on that host?\n", True),
        ("server closed the connection unexpectedly\n", True),
        ("could not receive data from server: Connection reset by peer\n", True),
        ('connection to server on socket "/x/.s.PGSQL.1" failed: No such file or directory\n', True),
        ('could not open certificate file "/x": No such file or directory\n', False),
        ("Network is unreachable\n", False),
        ('FATAL:  database "Connection refused" does not exist\n', False),
    ],
)
def test_who_has_let_somebody_in_and_is_away_comes_back(connection: FakeConnection, text: str, crowded: bool):
    assert not refusal(connection, text).crowded
    door = Door()
    first = Postgresql({}, door=door)
    first.connect(ADDRESS)
    connection.steps.append(0)
    first.poll()
    assert door.passed and refusal(connection, text, door).crowded is crowded


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_exhausted_descriptors_are_recognised(connection: FakeConnection, code: int):
    error = refusal(connection, f"could not create socket: {os.strerror(code)}\n")
    assert type(error) is ConnectError and exhausted_descriptors(error)


# Answers


def test_an_answer(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, ("SELECT id, name FROM goods WHERE id < %d", (7,)))
    assert driver.room == 0 and driver.inflight == (x,) and not driver.unsent
    assert connection.only.sent == [b"SELECT id, name FROM goods WHERE id < 7"]
    assert answer(driver, connection, Result((1, "a"), (2, "b"), columns="id name", status="SELECT 2")) == [x]
    assert x.head is module.OK and x.error is None and isinstance(x.data, Rows)
    assert x.data == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert (x.data.rowcount, x.data.status, x.data.notices) == (2, "SELECT 2", ())
    assert driver.room == 1 and not driver.inflight and x.progress == 0 and driver.begun == []


def test_an_answer_without_rows_and_one_with_none(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, ("INSERT …".encode(), None))
    answer(driver, connection, Result(rowcount=3, status="INSERT 0 3"))
    assert x.data == [] and x.data.rowcount == 3 and x.data.description is None
    x = ask(driver, ("SELECT", None))
    answer(driver, connection, Result(columns="a"))
    assert x.data == [] and x.data.columns == ["a"]


def test_an_error_is_an_answer(driver: Postgresql, connection: FakeConnection):
    error = psycopg2.ProgrammingError("syntax error")
    x = ask(driver, ("SELEC", None))
    assert answer(driver, connection, error) == [x]
    assert x.head is module.REFUSED and x.error is error and x.data is None and error.__traceback__ is None
    assert driver.room == 1 and driver.reusable
    assert review(x, None) is None  # type: ignore[func-returns-value]


def test_a_value_that_cannot_be_is_an_answer(driver: Postgresql, connection: FakeConnection):
    result = Result(columns="d")
    result.rows = ValueError("year 10000 is out of range")
    x = ask(driver, ("SELECT", None))
    assert answer(driver, connection, result) == [x]
    assert x.head is module.REFUSED and x.error is result.rows and driver.room == 1


def test_notices_go_with_their_answer(driver: Postgresql, connection: FakeConnection):
    assert connection.notices is driver._notices
    x = ask(driver, ("DO", None))
    connection.notices.extend(["NOTICE:  one\n", "WARNING:  two\n"])
    answer(driver, connection, Result(rowcount=-1))
    assert x.data.notices == ("NOTICE:  one", "WARNING:  two")
    x = ask(driver, ("DO", None))
    connection.notices.append("NOTICE:  three\n")
    answer(driver, connection, psycopg2.ProgrammingError("no"))
    x = ask(driver, ("DO", None))
    answer(driver, connection, Result())
    assert x.data.notices == ()


def test_progress_is_counted_from_the_first_byte_of_the_answer(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, ("SELECT", None))
    connection.steps.extend([1, 1, Result(columns="a")])
    assert driver.poll() == 1 and x.progress == 1 and driver.begun == [x]
    driver.begun.clear()
    assert driver.poll() == 1 and x.progress == 2 and driver.begun == []
    assert driver.poll() == 0 and list(driver.collect()) == [x]


def test_what_is_taken_of_a_long_statement_is_progress_but_no_beginning(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, ("S" * (SMALL + 1), None))
    assert driver.unsent
    connection.steps.extend([2, 2, 1, 1, Result()])
    assert driver.poll() == 2 and not driver.unsent and x.progress == 1
    assert driver.poll() == 2 and x.progress == 2
    assert driver.poll() == 1 and x.progress == 2 and driver.begun == [], "all is sent, nothing has come"
    assert driver.poll() == 1 and x.progress == 3 and driver.begun == [x]


def test_a_long_statement_that_is_sent_at_once_has_not_begun(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, ("S" * (SMALL + 1), None))
    connection.steps.append(1)
    assert driver.poll() == 1 and x.progress == 0 and driver.begun == []


def test_readiness_while_idle_finishes_nothing(driver: Postgresql, connection: FakeConnection):
    assert answer(driver, connection, 1, 0) == [] and driver.room == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (IndexError("tuple index out of range"), "tuple index out of range .more placeholders than params"),
        (TypeError("not all arguments converted"), "not all arguments converted .more params than placeholders"),
        (KeyError("a"), "there is no parameter 'a'"),
        (psycopg2.ProgrammingError("can't adapt type 'object'"), "can't adapt type 'object'"),
        (ZeroDivisionError("an adapter's"), "an adapter's"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_what_cannot_be_rendered_changes_nothing(
    driver: Postgresql, connection: FakeConnection, error: Exception, words: str, listed: bool
):
    x = exchange([("SELECT 1", None), ("SELECT %s", error)] if listed else ("SELECT %s", error))
    with pytest.raises(RequestError, match=words) as caught:
        driver.submit(x)
    assert caught.value.__cause__ is error and connection.only.sent == []
    assert driver.room == 1 and driver.inflight == ()
    x = ask(driver, ("SELECT 1", None))
    assert answer(driver, connection, Result()) == [x] and x.error is None


# Transactions


def test_a_list_is_begun_with_its_first_page_and_committed_by_itself(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, [("INSERT 1", None), ("INSERT %d", (2,)), ("SELECT 3 -- done", None)])
    sent = connection.only.sent
    assert sent == [b"BEGIN\n;\nINSERT 1\n;\nINSERT 2\n;\nSELECT 3 -- done"]
    assert answer(driver, connection, Result((3,), columns="a")) == []
    assert sent[1:] == [b"COMMIT"] and driver.room == 0
    connection.notices.append("NOTICE:  n\n")
    assert answer(driver, connection, Result(status="COMMIT")) == [x]
    assert x.data == [{"a": 3}] and x.data.notices == ("NOTICE:  n",) and driver.room == 1


def test_an_error_rolls_back_and_is_the_answer(driver: Postgresql, connection: FakeConnection):
    error = psycopg2.IntegrityError("duplicate key")
    x = ask(driver, [("INSERT 1", None), ("INSERT 1", None)])
    assert answer(driver, connection, error) == []
    assert connection.only.sent[1:] == [b"ROLLBACK"]
    assert answer(driver, connection, Result(status="ROLLBACK")) == [x]
    assert x.error is error and x.head is module.REFUSED and driver.room == 1


def test_a_commit_may_fail(driver: Postgresql, connection: FakeConnection):
    error = psycopg2.IntegrityError("deferred")
    x = ask(driver, [("INSERT 1", None)])
    assert answer(driver, connection, Result(), error) == [x]
    assert x.error is error and x.data is None


def test_a_rollback_that_fails_keeps_the_first_error(driver: Postgresql, connection: FakeConnection):
    first, second = psycopg2.ProgrammingError("first"), psycopg2.ProgrammingError("second")
    x = ask(driver, [("SELECT", None)])
    assert answer(driver, connection, first, second) == [x] and x.error is first


@pytest.mark.parametrize(
    ("statements", "pages"),
    [
        ([("I", None)] * PAGE, [PAGE, 0]),
        ([("I", None)] * (PAGE + 1), [PAGE, 1, 0]),
        ([("I" * (PAGE_BYTES + 1), None)] * 3, [1, 1, 1, 0]),
    ],
)
def test_pages(driver: Postgresql, connection: FakeConnection, statements: Any, pages: list[int]):
    x = ask(driver, statements)
    finished = answer(driver, connection, *(Result() for _ in pages))
    assert finished == [x] and x.error is None
    counts = [sum(part.startswith(b"I") for part in text.split(b"\n;\n")) for text in connection.only.sent]
    assert (
        counts == pages and connection.only.sent[0].startswith(b"BEGIN\n;\n") and connection.only.sent[-1] == b"COMMIT"
    )


def test_a_page_that_cannot_be_rendered_rolls_back(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, [*[("INSERT", None)] * PAGE, ("INSERT %s", KeyError("b"))])
    assert answer(driver, connection, Result()) == []
    assert connection.only.sent[-1] == b"ROLLBACK"
    assert answer(driver, connection, Result()) == [x] and isinstance(x.error, RequestError)
    assert driver.room == 1


def test_a_long_page_is_unsent(driver: Postgresql, connection: FakeConnection):
    ask(driver, [("I" * SMALL, None)])
    assert driver.unsent
    answer(driver, connection, Result())
    assert not driver.unsent, "COMMIT is short"


@pytest.mark.parametrize("outcome", [Result(), psycopg2.ProgrammingError("can't execute COPY TO")])
@pytest.mark.parametrize("status", [OPEN, ACTIVE])
def test_a_line_that_somebody_is_left_on_is_spent(
    driver: Postgresql, connection: FakeConnection, outcome: Any, status: int
):
    x = ask(driver, ("BEGIN", None))
    connection.status = status
    assert answer(driver, connection, outcome) == [x]
    assert x.head is module.REFUSED and x.data is None and isinstance(x.error, psycopg2.ProgrammingError)
    assert ("left a transaction open" in str(x.error)) is isinstance(outcome, Result)
    assert driver.room == 0 and not driver.reusable and driver.error is None


# The end of the line


def test_a_line_that_ends_in_an_answer(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, ("SELECT", None))
    connection.steps.append(OVER)
    with pytest.raises(PeerClosed, match=r"^terminating connection due to administrator command$") as caught:
        driver.poll()
    assert driver.error is caught.value and driver.room == 0 and not driver.reusable
    assert driver.interrupt() is None, "there is nothing left to stop"
    assert driver.abandon(caught.value) == (x,) and x.error is caught.value and not x.untouched
    assert driver.abandon(caught.value) == () and driver.inflight == ()


def test_a_line_that_ends_while_idle(driver: Postgresql, connection: FakeConnection):
    connection.steps.append(OVER)
    with pytest.raises(PeerClosed):
        driver.poll()
    assert driver.abandon(Cancelled("x")) == ()


def test_an_error_while_idle_ends_the_line_too(driver: Postgresql, connection: FakeConnection):
    connection.steps.append(psycopg2.DatabaseError("lost synchronization with server"))
    with pytest.raises(PeerClosed, match="lost synchronization"):
        driver.poll()


def test_a_statement_that_was_surely_not_looked_at_is_untouched(driver: Postgresql, connection: FakeConnection):
    x = ask(driver, ("INSERT", None))
    connection.closed = 2
    connection.steps.append(psycopg2.OperationalError("FATAL:  terminating connection due to idle-session timeout\n"))
    with pytest.raises(PeerClosed) as caught:
        driver.poll()
    assert driver.abandon(caught.value) == (x,) and x.untouched


def test_a_line_that_breaks_in_submit(driver: Postgresql, connection: FakeConnection):
    connection.breaks = True
    x = ask(driver, ("SELECT", None))
    assert isinstance(driver.error, PeerClosed) and driver.inflight == (x,) and driver.room == 0
    assert driver.abandon(driver.error) == (x,)


@pytest.mark.parametrize("payload", [("SELECT", None), [("SELECT", None)]])
def test_cancel_costs_the_line(driver: Postgresql, connection: FakeConnection, payload: Any):
    x = ask(driver, payload)
    assert driver.cancel(x) is False
    error = Cancelled("timed out")
    assert driver.abandon(error) == (x,) and x.error is error
    assert driver.room == 0 and not driver.reusable and not driver.unsent


def test_what_is_stopped_is_closed_behind_it(
    driver: Postgresql, connection: FakeConnection, monkeypatch: pytest.MonkeyPatch
):
    seen: list[str] = []
    monkeypatch.setattr(module, "canceller", lambda it: lambda: seen.append(f"cancel {it.closed}"))
    ask(driver, ("SELECT", None))
    stop = driver.interrupt()
    assert stop is not None and seen == []
    stop()
    assert seen == ["cancel 0"] and connection.closed == 1


# Places


def place(**parameters: str) -> Any:
    return SimpleNamespace(host="db.example", port=6543, unix=None, options={"parameters": tuple(parameters.items())})


def test_what_all_lines_share():
    given = lines(place(user="u", application_name="mine"), "", (), None)(None)._parameters
    assert given == {
        "client_encoding": "UTF8",
        "application_name": "mine",
        "gssencmode": "disable",
        "port": "6543",
        "user": "u",
        "host": "db.example",
    }
    assert lines(place(host="name"), "", (), None)(None)._parameters["host"] == "name"
    unix = place()
    unix.unix = "/run/postgresql"
    driver = lines(unix, "", (), None)(None)
    assert driver._parameters["host"] == "/run/postgresql" and not driver._by_address


def test_an_old_libpq_knows_no_gssencmode(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extensions, "libpq_version", lambda: 110000)
    assert "gssencmode" not in lines(place(), "", (), None)(None)._parameters


def test_adapters_of_the_program_are_kept(monkeypatch: pytest.MonkeyPatch):
    mine = extensions.AsIs
    adapters: dict[Any, Any] = {(uuid.UUID, extensions.ISQLQuote): mine}
    monkeypatch.setattr(extensions, "adapters", adapters)
    monkeypatch.setattr(
        extensions, "register_adapter", lambda kind, how: adapters.update({(kind, extensions.ISQLQuote): how})
    )
    lines(place(), "", (), None)
    assert adapters[uuid.UUID, extensions.ISQLQuote] is mine and (dict, extensions.ISQLQuote) in adapters
