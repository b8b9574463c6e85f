"""PostgreSQL in the script face: what a stub takes and refuses, and whole runs against servers that follow a script."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

import aquests
from aquests import endpoint as endpoint_module
from aquests.errors import AquestsError, ConnectError, PeerClosed, RequestError
from aquests.exchange import Response
from aquests.postgresqlstub import LIBPQ, Postgresql
from aquests.script import script
from tests.face import answers, drop, ignore, own_engine
from tests.peers import ScriptedPeer

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _own_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE", "PGHOSTADDR"):
        monkeypatch.delenv(name, raising=False)
    with own_engine(callback=ignore):
        yield


def where(dbo: Postgresql) -> tuple[Any, ...]:
    """host, port, unix, url and parameters of a stub."""
    request = dbo.execute("SELECT 1")
    place = request.endpoint
    drop()
    return place.host, place.port, place.unix, request.url, dict(place.options["parameters"])


# Where to


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("db.example", ("db.example", 5432, None, "postgresql://db.example:5432/", {})),
        ("DB.example:6000", ("db.example", 6000, None, "postgresql://DB.example:6000/", {})),
        ("[::1]:6000", ("::1", 6000, None, "postgresql://[::1]:6000/", {})),
        ("h/shop", ("h", 5432, None, "postgresql://h:5432/shop", {"dbname": "shop"})),
        (
            f"postgresql://u:{SECRET}@h:6000/shop?sslmode=require&application_name=x",
            (
                "h",
                6000,
                None,
                "postgresql://h:6000/shop",
                {"user": "u", "password": SECRET, "dbname": "shop", "sslmode": "require", "application_name": "x"},
            ),
        ),
        ("postgres://h/a%20b", ("h", 5432, None, "postgresql://h:5432/a b", {"dbname": "a b"})),
        ("postgresql://", ("localhost", 5432, None, "postgresql://localhost:5432/", {})),
        (
            f"host=h port=6000 dbname=shop user=u password='{SECRET}'",
            (
                "h",
                6000,
                None,
                "postgresql://h:6000/shop",
                {"user": "u", "password": SECRET, "dbname": "shop"},
            ),
        ),
        (
            "host=db.example hostaddr=10.0.0.1",
            ("10.0.0.1", 5432, None, "postgresql://db.example:5432/", {"host": "db.example"}),
        ),
        ("/run/postgresql", ("localhost", 5432, "/run/postgresql", "postgresql:///run/postgresql/", {})),
        (
            "postgresql://%2Frun%2Fpg:6000/shop",
            ("localhost", 6000, "/run/pg", "postgresql:///run/pg/shop", {"dbname": "shop"}),
        ),
        ("host=/run/pg port=6000", ("localhost", 6000, "/run/pg", "postgresql:///run/pg/", {})),
    ],
)
def test_where_a_stub_goes(server: str, expected: tuple[Any, ...]):
    assert where(aquests.postgresql(server)) == expected


def test_arguments_win_over_the_dsn():
    dsn = f"postgresql://u:{SECRET}@h/shop?sslmode=disable"
    _, _, _, url, parameters = where(aquests.postgresql(dsn, "other", ("me", "mine"), sslmode="require"))
    assert url == "postgresql://h:5432/other"
    assert parameters == {"user": "me", "password": "mine", "dbname": "other", "sslmode": "require"}


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (("u", "p"), {"user": "u", "password": "p"}),
        (["u", "p"], {"user": "u", "password": "p"}),
        (("u", None), {"user": "u"}),
        (("u",), {"user": "u"}),
        ("u", {"user": "u"}),
        (None, {}),
    ],
)
def test_auth(auth: Any, expected: dict[str, str]):
    assert where(aquests.postgresql("h", None, auth))[4] == expected


def test_tls():
    assert where(aquests.postgresql("h", ca="/ca"))[4] == {"sslrootcert": "/ca", "sslmode": "verify-full"}
    assert where(aquests.postgresql("h", ca="/ca", sslmode="verify-ca"))[4]["sslmode"] == "verify-ca"
    assert where(aquests.postgresql("h", cert=("/c", "/k", "pw")))[4] == {
        "sslcert": "/c",
        "sslkey": "/k",
        "sslpassword": "pw",
        "sslmode": "require",
    }
    assert where(aquests.postgresql("h", cert="/c"))[4] == {"sslcert": "/c", "sslmode": "require"}


def test_what_nobody_says_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGPORT", "6000")
    assert where(aquests.postgresql("dbname=shop"))[:2] == ("db.example", 6000)
    assert where(aquests.postgresql("h:7000"))[:2] == ("h", 7000)


def test_equal_stubs_share_their_lines_and_others_do_not():
    def place(*args: Any, **options: Any) -> Any:
        return aquests.postgresql(*args, **options).execute("SELECT 1").endpoint

    one = place("h", "a", ("u", "p"))
    assert place("postgresql://u:p@h/a") is one and place("H", "a", ("u", "p")) is one
    others = [
        place("h", "b", ("u", "p")),
        place("h", "a", ("u", "q")),
        place("h", "a", ("u", "p"), application_name="x"),
        place("h:5433", "a", ("u", "p")),
    ]
    assert len({one, *others}) == 5
    drop()


def test_aliases_and_names():
    assert aquests.pg is aquests.pgsql is aquests.postgresql
    assert {"postgresql", "pg", "pgsql", "sqlite3"} <= set(aquests.__all__)
    assert {"sslmode", "options"} <= LIBPQ and not {"password", "host", "service"} & LIBPQ


def test_secrets_are_never_shown():
    dbo = aquests.postgresql("h", "a", ("u", SECRET))
    request = dbo.execute("SELECT 1")
    shown = [repr(dbo), repr(request), request.url, repr(request.endpoint), str(request.meta)]
    assert not any(SECRET in text for text in shown)
    drop()


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: aquests.postgresql(5), RequestError, "server must be str, not int"),  # type: ignore[arg-type]
    (lambda: aquests.postgresql(f"postgresql://u:{SECRET}"), RequestError, "the port must be a number"),
    (lambda: aquests.postgresql(f"host=h pasword={SECRET}"), RequestError, "nothing that libpq can read"),
    (lambda: aquests.postgresql(f"host=h password={SECRET} {SECRET}"), RequestError, "nothing that libpq can read"),
    (lambda: aquests.postgresql(f"postgresql://u:p@{SECRET}@h/db"), RequestError, "as %40 and %2F"),
    (lambda: aquests.postgresql(f"postgres://u:p@@{SECRET}@h"), RequestError, "as %40 and %2F"),
    (lambda: aquests.postgresql(f"postgresql://u:1/{SECRET}@h/db"), RequestError, "as %40 and %2F"),
    (lambda: aquests.postgresql(f"postgresql://u:p?@{SECRET}@h/db"), RequestError, "as %40 and %2F"),
    (lambda: aquests.postgresql(f"u:p@{SECRET}@h"), RequestError, "as %40 and %2F"),
    (lambda: aquests.postgresql("h", ("u", SECRET), "db"), RequestError, "dbname must be str, not tuple"),  # type: ignore[arg-type]
    (lambda: aquests.postgresql("h:port"), RequestError, "the port must be a number"),
    (lambda: aquests.postgresql("h:0"), RequestError, "the port must be a number"),
    (lambda: aquests.postgresql("h:70000"), RequestError, "the port must be a number"),
    (lambda: aquests.postgresql("\ud800"), RequestError, "nothing that libpq can read"),
    (lambda: aquests.postgresql("a,b"), RequestError, "one host only"),
    (lambda: aquests.postgresql("host=h service=s"), RequestError, "service= is not looked up"),
    (lambda: aquests.postgresql("h", None, (SECRET, SECRET, SECRET)), RequestError, "auth must be"),
    (lambda: aquests.postgresql("h", None, (5, SECRET)), RequestError, "auth must be"),  # type: ignore[arg-type]
    (lambda: aquests.postgresql("h", None, ("u", SECRET + "\0")), RequestError, "password may not hold a NUL"),
    (lambda: aquests.postgresql("h", None, ("u", SECRET + "\ud800")), RequestError, "password is text that UTF-8"),
    (lambda: aquests.postgresql("h", sslmode="full"), RequestError, "sslmode must be one of disable, allow"),
    (lambda: aquests.postgresql("h", ca="-----BEGIN CERTIFICATE-----"), RequestError, "ca must name files"),
    (lambda: aquests.postgresql("h", ca=5), RequestError, "ca must name files"),
    (lambda: aquests.postgresql("h", cert=("a", "b", "c", "d")), RequestError, "cert must be"),
    (lambda: aquests.postgresql("h", ssl_mode="require"), TypeError, "did you mean 'sslmode'"),
    (lambda: aquests.postgresql("h", timeout=-1), RequestError, "timeout must be"),
    (lambda: aquests.postgresql("h", callback=5), RequestError, "callback must be callable"),
    (lambda: aquests.postgresql("h", max_content=5), TypeError, "max_content"),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED)
def test_what_a_stub_refuses(call: Any, error: type[Exception], words: str):
    with pytest.raises(error, match=words) as caught:
        call()
    told: BaseException | None = caught.value
    while told is not None:
        assert SECRET not in str(told)
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


def test_a_parameter_that_this_libpq_does_not_know(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aquests.postgresqlstub.LIBPQ", frozenset(("brand_new",)))
    with pytest.raises(RequestError, match="this version of libpq knows no brand_new"):
        aquests.postgresql("h", brand_new="x")


# What is queued


def test_what_a_call_queues():
    dbo = aquests.postgresql("h", "shop", meta={"a": 1, "b": 1}, timeout=5)
    assert dbo.execute("SELECT 1").payload == ("SELECT 1", None)
    assert dbo.do("SELECT %s", [1]).payload == ("SELECT %s", (1,))
    assert dbo.execute("SELECT %(a)s", {"a": 1}).payload == ("SELECT %(a)s", {"a": 1})
    listed = dbo.execute(["A", ("B", (1,)), ("C",), (sql.SQL("D"), None)])
    assert listed.payload == [("A", None), ("B", (1,)), ("C", None), (sql.SQL("D"), None)]
    many = dbo.executemany("A", iter([[1], {"b": 2}]))
    assert many.payload == [("A", (1,)), ("A", {"b": 2})] and many.method == "executemany"
    own = dbo.execute(b"A", timeout=1, meta={"b": 2}, deadline=3, callback=print)
    assert own.options == {"timeout": 1, "deadline": 3} and own.callback is print
    assert own.meta == {"a": 1, "b": 2, "req_id": 5, "req_method": "postgresql"}
    assert many.options == {"timeout": 5} and many.meta["b"] == 1 and many.method not in ("GET", "PUT")
    drop()


def test_what_is_queued_is_a_copy():
    params: list[Any] = [1]
    request = aquests.postgresql("h").execute("SELECT %s", params)
    params.append(2)
    assert request.payload == ("SELECT %s", (1,))
    drop()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda dbo: dbo.execute(""), RequestError, "empty"),
        (lambda dbo: dbo.execute(" \n\t"), RequestError, "empty"),
        (lambda dbo: dbo.execute(b" "), RequestError, "empty"),
        (lambda dbo: dbo.execute("SELECT 1\0"), RequestError, "NUL"),
        (lambda dbo: dbo.execute(b"SELECT 1\0"), RequestError, "NUL"),
        (
            lambda dbo: dbo.execute(None),
            RequestError,
            "SQL must be str, bytes or psycopg2.sql.Composable, not NoneType",
        ),
        (lambda dbo: dbo.execute(5), RequestError, "SQL must be"),
        (lambda dbo: dbo.execute("SELECT %s", 5), RequestError, "params must be a sequence or a mapping, not int"),
        (lambda dbo: dbo.execute("SELECT %s", "ab"), RequestError, "not str"),
        (lambda dbo: dbo.execute("SELECT %s", {1, 2}), RequestError, "not set"),
        (lambda dbo: dbo.execute([]), RequestError, "the list of statements is empty"),
        (lambda dbo: dbo.execute(["A", ""]), RequestError, "empty"),
        (lambda dbo: dbo.execute(["A"], (1,)), RequestError, "each has its own params"),
        (lambda dbo: dbo.execute([("A", (1,), 2)]), RequestError, "an item of the list is"),
        (lambda dbo: dbo.executemany("A", []), RequestError, "no rows of params"),
        (lambda dbo: dbo.executemany("A", [5]), RequestError, "params must be"),
        (lambda dbo: dbo.execute("A", timeuot=5), TypeError, "did you mean 'timeout'"),
        (lambda dbo: dbo.execute("A", sslmode="require"), TypeError, "sslmode"),
        (lambda dbo: dbo.execute("A", timeout=0), RequestError, "timeout must be"),
    ],
)
def test_what_a_call_refuses_leaves_no_trace(call: Any, error: type[Exception], words: str):
    dbo = aquests.postgresql("h")
    with pytest.raises(error, match=words):
        call(dbo)
    assert aquests.qsize() == 0 and script.engine.counted == 0 and script.engine.pending == 0


# Whole runs, against servers that do what a real one does not


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


WELCOME = (
    message(b"R", struct.pack("!i", 0))
    + b"".join(
        message(b"S", name + b"\0" + value + b"\0")
        for name, value in ((b"server_version", b"15.0"), (b"client_encoding", b"UTF8"), (b"DateStyle", b"ISO, MDY"))
    )
    + message(b"K", struct.pack("!ii", 1, 2))
    + message(b"Z", b"I")
)
ROW = (
    message(b"T", struct.pack("!h", 1) + b"a\0" + struct.pack("!ihihih", 0, 0, 23, 4, -1, 0))
    + message(b"D", struct.pack("!hi", 1, 1) + b"7")
    + message(b"C", b"SELECT 1\0")
    + message(b"Z", b"I")
)


def refusal(severity: bytes, code: bytes, words: bytes) -> bytes:
    fields = b"S" + severity + b"\0V" + severity + b"\0C" + code + b"\0M" + words + b"\0\0"
    return message(b"E", fields)


class Server:
    """Takes the startup (refusing TLS), says ``greeting``, and answers each further message by ``answer``.

    With ``close`` it goes away behind a greeting of its own, or behind the first answer.
    """

    def __init__(self, greeting: bytes = WELCOME, answer: bytes = ROW, close: bool = False, step: int = 0):
        self.greeting, self.answer, self.close, self.step = greeting, answer, close, step

    def __call__(self, sock: socket.socket, number: int) -> None:
        length, code = struct.unpack("!ii", self._take(sock, 8))
        if code == 80877103:  # SSLRequest
            sock.sendall(b"N")
            length, code = struct.unpack("!ii", self._take(sock, 8))
        self._take(sock, length - 8)
        if code == 80877102:  # CancelRequest
            return
        self._say(sock, self.greeting)
        if self.close and self.greeting is not WELCOME:
            return
        while head := sock.recv(5):
            head += self._take(sock, 5 - len(head))
            self._take(sock, struct.unpack("!i", head[1:])[0] - 4)
            if head[:1] == b"X":
                return
            self._say(sock, self.answer)
            if self.close:
                return

    def _take(self, sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = sock.recv(size - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def _say(self, sock: socket.socket, data: bytes) -> None:
        try:
            for at in range(0, len(data), self.step or len(data) or 1):
                sock.sendall(data[at : at + (self.step or len(data))])
        except OSError as error:
            raise ConnectionError from error


class Peer(ScriptedPeer):
    """A client that ends the line in the middle is no fault of the script."""

    def __init__(self, *servers: Server):
        super().__init__(*map(self._handler, servers))

    @staticmethod
    def _handler(server: Server) -> Callable[[socket.socket, int], None]:
        def handle(sock: socket.socket, number: int) -> None:
            with contextlib.suppress(ConnectionError):
                server(sock, number)

        return handle

    def stub(self, **options: Any) -> Postgresql:
        return aquests.postgresql(f"127.0.0.1:{self.port}", "shop", ("u", SECRET), **{"timeout": 5, **options})


@pytest.mark.parametrize("step", [0, 1, 3])
def test_an_answer_in_any_cutting(step: int):
    with Peer(Server(step=step)) as peer:
        dbo = peer.stub()
        responses = answers(*(dbo.execute("SELECT 7 AS a") for _ in range(5)))
        assert [response.data for response in responses] == [[{"a": 7}]] * 5 and peer.connections == 1


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            refusal(b"FATAL", b"28P01", b"password authentication failed"),
            ConnectError,
            "password authentication failed",
        ),
        (refusal(b"FATAL", b"57P03", b"the database system is starting up"), ConnectError, "is starting up"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", AquestsError, ""),
        (b"", AquestsError, "server closed the connection unexpectedly"),
    ],
)
def test_an_opening_that_is_refused(error: bytes, kind: type, words: str):
    with Peer(Server(error, close=True)) as peer:
        (response,) = answers(peer.stub(timeout=0.5).execute("SELECT 1"))
    assert isinstance(response.error, kind) and words in str(response.error) and response.status_code in (702, 714)
    assert SECRET not in str(response.error)


def test_no_line_through_a_proxy():
    aquests.configure(proxy="http://127.0.0.1:1", callback=lambda response: None)
    with Peer(Server()) as peer:
        refused, direct = answers(peer.stub().execute("SELECT 1"), peer.stub(proxy=False).execute("SELECT 1"))
    assert refused.status_code == 714 and "cannot go through a proxy" in str(refused.error) and direct.ok


def test_answers_and_failures_are_gone_when_nobody_keeps_them():
    gc.collect()
    kinds = ("Exchange", "PolledChannel")
    others = {id(one): one for one in gc.get_objects() if type(one).__name__ in kinds}  # that other tests keep
    gc.disable()
    try:
        with Peer(Server(answer=ROW[:20], close=True)) as peer:
            dbo = peer.stub()
            for statement in ("SELECT 1", ["SELECT 1"]):
                dbo.execute(statement)
                dbo.execute("SELECT %s", (object(),))
            aquests.fetchall()
        left = [one for one in gc.get_objects() if type(one).__name__ in kinds and id(one) not in others]
        assert left == [] and aquests.result.errors == {"700 Connection Closed": 2, "701 Exception": 2}
    finally:
        gc.enable()


def test_an_answer_that_breaks_off():
    with Peer(Server(answer=ROW[:20], close=True)) as peer:
        dbo = peer.stub()
        one, two = answers(dbo.execute("SELECT 1"), dbo.execute("SELECT 2"))
        assert (one.status_code, two.status_code) == (700, 700) and isinstance(one.error, PeerClosed)
        assert peer.connections == 2, "nothing is sent twice"


def test_a_line_that_ends_by_itself_behind_an_answer():
    with Peer(Server(answer=ROW + refusal(b"FATAL", b"57P01", b"shutting down"), close=True)) as peer:
        dbo = peer.stub()
        responses = answers(*(dbo.execute("SELECT 7 AS a") for _ in range(4)))
        assert all(response.status_code in (200, 700) for response in responses)
        assert responses[0].data == [{"a": 7}]


def test_a_server_that_refuses_everybody_who_knocks_at_once_is_asked_again():
    """Each of the first four is refused; those that wait are answered all the same, over one line."""
    full = refusal(b"FATAL", b"53300", b"sorry, too many clients already")
    aquests.configure(workers=4, callback=lambda response: None)
    with Peer(*[Server(full, close=True)] * 4, Server()) as peer:
        dbo = peer.stub()
        responses = answers(*(dbo.execute("SELECT 7 AS a") for _ in range(20)))
        assert all(response.data == [{"a": 7}] for response in responses)
        assert peer.connections == 5 and aquests.result.max_connections == 1


def test_a_server_that_always_refuses_is_waited_for_once_by_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoint_module, "SHUT_PAUSE", 0.01)
    full = refusal(b"FATAL", b"53300", b"sorry, too many clients already")
    with Peer(Server(full, close=True)) as peer:
        dbo = peer.stub(timeout=0.2)
        responses = answers(*(dbo.execute("SELECT 1") for _ in range(50)))
        assert [response.status_code for response in responses] == [714] * 50
        assert all("too many clients" in str(response.error) for response in responses)
        assert 52 <= peer.connections <= 90 and 0.2 <= aquests.result.duration < 5.0


def test_a_server_that_is_starting_is_waited_for():
    starting = Server(refusal(b"FATAL", b"57P03", b"the database system is starting up"), close=True)
    with Peer(starting, starting, starting, Server()) as peer:
        (response,) = answers(peer.stub().execute("SELECT 7 AS a"))
        assert response.data == [{"a": 7}] and peer.connections == 4


@pytest.mark.parametrize("knocks", [1, 3])
def test_a_server_that_was_there_and_is_away_is_waited_for(knocks: int, monkeypatch: pytest.MonkeyPatch):
    """It is being restarted: who was in flight has an error, those who wait are answered."""
    monkeypatch.setattr(endpoint_module, "SHUT_PAUSE", 0.01)

    class Away(Server):
        def __call__(self, sock: socket.socket, number: int) -> None:
            """Hangs up at the door."""

    aquests.configure(workers=1, callback=lambda response: None)
    with Peer(Server(answer=ROW[:20], close=True), *[Away()] * knocks, Server()) as peer:
        dbo = peer.stub()
        first, *others = answers(*(dbo.execute("SELECT 7 AS a") for _ in range(6)))
        assert first.status_code == 700 and [response.data for response in others] == [[{"a": 7}]] * 5
        assert peer.connections == knocks + 2


def test_a_server_that_does_not_come_back_is_waited_for_once_by_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoint_module, "SHUT_PAUSE", 0.01)
    with Peer(Server(answer=ROW[:20], close=True), Server(b"", close=True)) as peer:
        dbo = peer.stub(timeout=0.2)
        codes = [response.status_code for response in answers(*(dbo.execute("SELECT 7 AS a") for _ in range(50)))]
        assert sorted(codes) == [700] + [714] * 49 and 0.2 <= aquests.result.duration < 5.0


def test_a_refusal_in_the_servers_own_encoding():
    """Before somebody is let in the server does not know what he can read."""
    words = "Passwort-Authentifizierung für »u« fehlgeschlagen".encode("latin-1")
    with Peer(Server(refusal(b"FATAL", b"28P01", words), close=True)) as peer:
        (response,) = answers(peer.stub().execute("SELECT 1"))
    assert response.status_code == 714 and "asswort-Authentifizierung f\ufffdr" in str(response.error)


def test_a_crowded_server_is_asked_for_more_lines_after_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(endpoint_module, "CROWDED_PAUSE", 0.02)
    full = Server(refusal(b"FATAL", b"53300", b"sorry, too many clients already"), close=True)
    aquests.configure(workers=2, callback=lambda response: None)
    with Peer(Server(), full, Server()) as peer:
        dbo = peer.stub()
        left = 400

        def on_answer(response: Response) -> None:
            nonlocal left
            left -= 1
            if left > 0 and peer.connections < 3:
                dbo.execute("SELECT 7 AS a", callback=on_answer)
                peer.stopped.wait(0.001)

        for _ in range(4):
            dbo.execute("SELECT 7 AS a", callback=on_answer)
        report = aquests.fetchall()
        assert report.ok and report.max_connections == 2 and peer.connections == 3
    (warning,) = caplog.messages
    assert "takes no more than 1 lines now" in warning and "sorry, too many clients already" in warning


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_server_says_each_request_has_one_answer(seed: int):
    """Random bytes, and answers with some bytes changed."""
    chance = random.Random(seed)
    good = WELCOME if seed % 2 else ROW
    data = bytearray(chance.randbytes(chance.randrange(200)) if seed % 3 == 0 else good)
    for _ in range(0 if seed % 3 == 0 else chance.randrange(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    server = Server(bytes(data), close=True) if seed % 2 else Server(answer=bytes(data), close=True)
    with Peer(server) as peer:
        dbo = peer.stub(timeout=0.3)
        responses = answers(dbo.execute("SELECT 1"), dbo.execute("SELECT 2"))
    for response in responses:
        assert response.error is None or isinstance(response.error, (AquestsError, psycopg2.Error, ValueError))
    assert aquests.result.tasks == 2 and script.engine.pending == 0
