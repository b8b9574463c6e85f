"""PostgreSQL, driven by psycopg2's asynchronous connections: a wire with a socket of its own.

Facts this file lives with:

- One statement in flight a connection. An error of SQL is an answer; if the connection is closed behind it, it is the
  end of the line. psycopg2 tells no SQLSTATE of what ends or refuses a line: those are known by their English words.
- Lines are shared: nothing is left on them. A statement that leaves a transaction open (BEGIN alone) or the line in
  the middle of a COPY costs the line, and the server rolls back.
- A server that has let us in, and now refuses or drops those who knock, is being restarted: it is waited for, as one is
  that says so. Before that it may just not be there.
- No session state is set, so that PgBouncer may give each transaction another connection behind it. A timeout
  is therefore not the server's (``statement_timeout``): the line is closed, and a cancel request sent
  beside it, so that the server does not go on working for nobody.
- A list of statements goes out as "BEGIN; first; second …", in pages, and then "COMMIT" by itself: so the last result
  is that of the last statement, and a thousand statements cost three round trips. After an error it is "ROLLBACK".
- Parameters are rendered into the statement by psycopg2, with the encoding and the quoting of the connection, when
  they are sent. What cannot be rendered is a RequestError, and nothing was sent.
- libpq collects an answer whole; there is no way to bound its size.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg2
from psycopg2 import extensions, extras

from ..errors import AquestsError, ConnectError, PeerClosed, RequestError, TlsError
from ..exchange import Status
from .base import NO_EXCHANGES, OneAtATime
from .libpq import canceller
from .rows import Rows

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..seam import Address

Statement = tuple[Any, Any]
"""SQL and its parameters (None: there are none, and % means itself)."""

LANE: Final = "POSTGRESQL"
OK: Final = Status(200, "OK", LANE)
REFUSED: Final = Status(500, "Database Error", LANE)
SMALL: Final = 4096
"""Bytes of a statement that always fit into the empty send buffer of a socket (8 KiB on macOS, more elsewhere)."""
PAGE: Final = 500
"""Statements sent together. The server parses all before it runs the first: that many cost it a few MB."""
PAGE_BYTES: Final = 1 << 18
_IDLE: Final = extensions.TRANSACTION_STATUS_IDLE
_CROWDED: Final = re.compile(
    r"too many (clients|connections)|remaining connection slots|no more connections|the database system is "
    r"|server login has been failing, try again later"
)
"""SQLSTATE 53300, and 57P03: starting up, in recovery, shutting down; and PgBouncer's words for both."""
_AWAY: Final = re.compile(
    "|".join(map(re.escape, map(os.strerror, (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT))))
    + "|server closed the connection unexpectedly"
)
"""What is met at the door while a server is restarted; ENOENT: its unix socket is not there."""
_OTHERS: Final = re.compile("invalid response to SSL negotiation|expected authentication request")
"""What libpq says of the answer of a server of another kind."""
_UNTOUCHED: Final = "idle-session timeout"
"""57P05 strikes between two statements, never within one: the next one was not looked at."""


def lines(place: Any, prefix: str, extra: Any, settings: Any) -> Callable[[str | None], Postgresql]:
    """What makes the drivers of lines to ``place``. Its options hold libpq's parameters, as pairs of text."""
    _adapt()
    parameters: dict[str, Any] = {"client_encoding": "UTF8", "application_name": "aquests", "port": str(place.port)}
    if extensions.libpq_version() >= 120000:
        parameters["gssencmode"] = "disable"  # or a credential cache is looked for, with every line
    parameters |= dict(place.options.get("parameters", ()))
    parameters.setdefault("host", place.unix or place.host)
    door = Door()
    return lambda alpn: Postgresql(parameters, by_address=place.unix is None, door=door)


def review(x: Exchange, elsewhere: Any) -> None:
    """An answer with an error goes to the user as it is: nothing is executed twice."""


class Door:
    """What all lines to one place know of it. ``passed``: one of them was let in."""

    __slots__ = ("passed",)

    def __init__(self) -> None:
        self.passed = False


class Postgresql(OneAtATime):
    """One connection. ``parameters`` are libpq's; ``by_address``: the host is named for TLS only, and not looked up."""

    __slots__ = (
        "_began",
        "_by_address",
        "_connection",
        "_cursor",
        "_door",
        "_failure",
        "_held",
        "_notices",
        "_pages",
        "_parameters",
        "_poll",
        "_untouched",
        "_writing",
        "unsent",
    )

    def __init__(self, parameters: dict[str, Any], *, by_address: bool = True, door: Door | None = None):
        super().__init__()
        self.unsent = False
        self._door = door or Door()
        self._parameters = parameters
        self._by_address = by_address
        self._connection: Any = None
        self._cursor: Any = None
        self._poll: Callable[[], int]
        self._failure: Exception | None = None
        """What the statement in flight raised."""
        self._pages: Iterator[bytes] | None = None
        """The rest of a transaction; None for a statement by itself."""
        self._held: Rows | Exception | None = None
        """The outcome of a transaction, while it is ended."""
        self._notices: list[str] = []
        self._began = False
        self._writing = False
        self._untouched = False

    # The line

    def connect(self, address: Address) -> None:
        """Begin to connect; ``poll`` goes on. Raises ConnectError for what fails at once."""
        where = address[1][0] if self._by_address else ""  # empty: not that of the environment either
        try:
            connection = psycopg2.connect(async_=1, hostaddr=where, **self._parameters)
        except (psycopg2.Error, UnicodeDecodeError) as error:
            raise self._refused(_told(error))  # noqa: B904 (it has its cause)
        connection.notices = self._notices
        self._connection = connection
        self._poll = connection.poll

    def fileno(self) -> int:
        return self._connection.fileno()  # type: ignore[no-any-return]

    def poll(self) -> int:
        """Go on: 0 when nothing is pending, 1 when it waits to read, 2 to write. Raises what ended the line."""
        self.unsent = False
        poll = self._poll
        try:
            pending = poll()
        except (psycopg2.Error, UnicodeDecodeError) as fault:
            error = _told(fault)
            if self._cursor is None:
                raise self._refused(error)  # noqa: B904
            if self._connection.closed or self._x is None:
                self._broken(error)
                raise self.error from error  # type: ignore[misc]
            self._failure = error
            return 0
        if pending:
            self._progress(pending)
        elif self._cursor is None:
            self._up()
        return pending

    def _up(self) -> None:
        """Logged in."""
        for kind in _types():
            extensions.register_type(kind, self._connection)
        self._cursor = self._connection.cursor()
        self._door.passed = True
        self.room = 1

    def _refused(self, error: psycopg2.Error) -> AquestsError:
        fault = _refusal(error)
        if self._door.passed and type(fault) is ConnectError and "FATAL:" not in str(error):
            fault.crowded = _AWAY.search(str(error)) is not None
        return fault

    def _progress(self, pending: int) -> None:
        """Woken without being through: bytes of the answer came, or some of the statement were taken."""
        x = self._x
        if x is None:
            return
        if pending == extensions.POLL_WRITE:
            self._writing = True
        elif self._writing:
            self._writing = False
            return  # all is sent; nothing has come yet
        elif not self._began:
            self._began = True
            self.begun.append(x)
        x.progress += 1

    def _broken(self, error: psycopg2.Error) -> None:
        words = _words(error)
        self._retire()
        self.error = PeerClosed(words, phase="answer")
        self._untouched = _UNTOUCHED in words

    # Statements

    def submit(self, x: Exchange) -> None:
        """Send a statement, or the first page of a list of them. Raises RequestError, with nothing sent."""
        payload = x.payload
        if payload.__class__ is tuple:
            self._execute(*payload)
        else:
            pages = self._render(payload)
            self._execute(next(pages), None)
            self._pages = pages
        self._x = x
        self.room = 0

    def _execute(self, sql: Any, parameters: Any) -> None:
        cursor = self._cursor
        try:
            cursor.execute(sql, parameters)
        except Exception as error:  # what the user's adapters raise may be anything
            if not self._connection.closed:
                raise _unrendered(error) from error
            self._broken(error if isinstance(error, psycopg2.Error) else psycopg2.OperationalError(str(error)))
            return
        self.unsent = self._writing = len(cursor.query) > SMALL
        self._began = False

    def _render(self, statements: Iterable[Statement]) -> Iterator[bytes]:
        """All statements as text, some at a time. Raises RequestError."""
        mogrify = self._cursor.mogrify
        page, size = [b"BEGIN"], 0
        for sql, parameters in statements:
            if len(page) > PAGE or size > PAGE_BYTES:
                yield b"\n;\n".join(page)  # the line feed ends a comment
                page, size = [], 0
            try:
                text = mogrify(sql, parameters)
            except Exception as error:  # as above
                raise _unrendered(error) from error
            page.append(text)
            size += len(text)
        yield b"\n;\n".join(page)

    # Answers

    def collect(self) -> Sequence[Exchange]:
        """The exchange that is finished, if it is."""
        x = self._x
        if x is None:
            return NO_EXCHANGES
        outcome = self._outcome() if self._pages is None else self._turn(self._pages)
        if outcome is None:
            return NO_EXCHANGES
        self._x = None
        if outcome.__class__ is Rows:
            x.head = OK
            x.data = outcome
        else:
            x.head = REFUSED
            x.error = outcome
        if self._notices:
            self._note(x)
        if self._connection.get_transaction_status() == _IDLE:
            self.room = 1
        else:
            self._spoiled(x)
        return (x,)

    def _outcome(self) -> Rows | Exception:
        """What the last statement gave."""
        if self._failure is not None:
            error, self._failure = self._failure, None
            return error
        cursor = self._cursor
        description = cursor.description
        if description is None:
            return Rows([], [], cursor.rowcount, None, cursor.statusmessage)
        try:
            tuples = cursor.fetchall()
        except Exception as error:  # a value Python cannot hold, or what the user's type casters raise
            error.__traceback__ = None
            return error
        names = [column.name for column in description]  # by attribute: a third of the price of column[0]
        return Rows(names, tuples, cursor.rowcount, description, cursor.statusmessage)

    def _turn(self, pages: Iterator[bytes]) -> Rows | Exception | None:
        """The next step of a transaction; its outcome when it has ended."""
        outcome = self._outcome()
        held = self._held
        if held is not None:
            self._pages = self._held = None
            return outcome if isinstance(outcome, Exception) and not isinstance(held, Exception) else held
        if not isinstance(outcome, Exception):
            try:
                page = next(pages, None)
            except RequestError as error:
                outcome = error
            else:
                if page is not None:
                    self._execute(page, None)
                    return None
        self._held = outcome
        self._execute(b"ROLLBACK" if isinstance(outcome, Exception) else b"COMMIT", None)
        return None

    def _note(self, x: Exchange) -> None:
        if x.data is not None:
            x.data.notices = tuple(notice.strip() for notice in self._notices)
        self._notices.clear()

    def _spoiled(self, x: Exchange) -> None:
        """A transaction was left open, or a COPY in the middle: nobody else may get this line."""
        self.reusable = False
        if x.error is None:
            x.head = REFUSED
            x.data = None
            x.error = psycopg2.ProgrammingError(
                "the statement left a transaction open, which is rolled back: queue a list of statements instead"
            )

    # The end

    def interrupt(self) -> Callable[[], None] | None:
        """A blocking call that stops the server's work on what is in flight, and closes; None if there is no way."""
        connection = self._connection
        cancel = canceller(connection) if self._cursor is not None else None
        if cancel is None:
            return None

        def stop() -> None:
            cancel()
            connection.close()

        return stop

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        self.unsent = False
        self._pages = self._held = None
        if self._x is not None:
            self._x.untouched = self._untouched
        return super().abandon(error)

    def goodbye(self) -> None:
        """Say goodbye and close the socket."""
        if self._connection is not None:
            self._connection.close()


# Errors


def _told(error: psycopg2.Error | UnicodeDecodeError) -> psycopg2.Error:
    """The error, without its frames: they hold the driver, and that the error, which is a ring.

    Who is not let in yet is told so in the server's own encoding, which psycopg2 takes for UTF-8.
    """
    if isinstance(error, UnicodeDecodeError):
        return psycopg2.OperationalError(error.object.decode("utf-8", "replace"))
    error.__traceback__ = None
    return error


def _words(error: BaseException) -> str:
    """The telling line of libpq's or the server's message."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    chosen = next((line for line in lines if "FATAL:" in line), lines[0] if lines else type(error).__name__)
    chosen = re.sub(r"^connection to server .*? failed: ", "", chosen.strip())
    return re.sub(r"^(FATAL|PANIC|ERROR): *", "", chosen)


def _refusal(error: psycopg2.Error) -> AquestsError:
    """Why there is no connection: the server's words, or the system's."""
    text, words = str(error), _words(error)
    if "FATAL:" not in text and _OTHERS.search(text):
        words = f"the server does not speak PostgreSQL's protocol ({words})"
    elif "FATAL:" not in text and re.search("SSL|certificate|private key", text):
        fault: AquestsError = TlsError(words, phase="tls")
        fault.__cause__ = error
        return fault
    if words[1:2].islower():  # not "SASL …"
        words = words[0].lower() + words[1:]
    if words.endswith("no password supplied"):
        words = "no password supplied: give auth=(user, password)"
    fault = ConnectError(words, phase="connect")
    fault.crowded = _CROWDED.search(text) is not None
    exhausted = [OSError(code, os.strerror(code)) for code in (errno.EMFILE, errno.ENFILE) if os.strerror(code) in text]
    fault.__cause__ = exhausted[0] if exhausted else error
    return fault


def _unrendered(error: Exception) -> RequestError:
    """The parameters do not fit the statement, or a value has no form in SQL."""
    error.__traceback__ = None  # its frames hold the exchange, and that the error
    words = str(error)
    if isinstance(error, KeyError):
        words = f"there is no parameter {error}"
    elif isinstance(error, IndexError):
        words += " (more placeholders than params; a percent sign is written %%)"
    elif "not all arguments converted" in words:
        words += " (more params than placeholders; each is written %s)"
    return RequestError(f"the statement cannot be rendered: {words}")


# Types


def _adapt() -> None:
    """UUIDs and dicts (as JSON) may be parameters, unless the program has said how already."""
    for kind, adapter in ((UUID, extras.UUID_adapter), (dict, extras.Json)):
        if (kind, extensions.ISQLQuote) not in extensions.adapters:
            extensions.register_adapter(kind, adapter)


def _types() -> tuple[Any, ...]:
    """UUIDs of answers become UUID: registered with our connections only, for a program may want them as text."""
    global _uuids
    if not _uuids:
        one = extensions.new_type((2950,), "UUID", lambda text, cursor: UUID(str(text)) if text else None)
        _uuids = (one, extensions.new_array_type((2951,), "UUID[]", one))
    return _uuids


_uuids: tuple[Any, ...] = ()
