"""SQLite by the standard library, as a worker: one connection, used in the thread of one line.

Facts this file lives with:

- SQLite lets many read or one write (many and one in WAL mode), and makes those that meet sleep and try again: a reader
  beside a busy writer has waited for 8 s. So what may write goes to a place that takes one line only, and reading to
  another (``reads`` tells them apart); between the two stands a gate, which is fair. Other processes are waited
  for as long as the request may take (``busy_timeout``).
- A database in memory belongs to its connection. So that connection belongs to the stub, and outlives the lines.
- A line is shared: a transaction that a statement leaves open is rolled back.
- The exchange stays in the loop. The thread gets the payload and gives an outcome.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import ConnectError, RequestError
from ..exchange import Status
from .base import NO_EXCHANGES, OneAtATime
from .rows import Rows

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..seam import Address

LANE: Final = "SQLITE"
OK: Final = Status(200, "OK", LANE, sqlite3.sqlite_version)
REFUSED: Final = Status(500, "Database Error", LANE, sqlite3.sqlite_version)
READERS: Final = 16
"""Lines that read one file at once. More threads would only wait for one another."""
SHARE: Final = 0.9
"""Of a request's time for waiting at a lock: SQLite gives up before we do, or it might do later what we call failed."""
ROLLBACKS: Final = 10
"""How often it is tried: an interrupt that comes late may hit the rollback itself."""
LONGEST: Final = 2**31 - 1
"""Milliseconds that SQLite can be told to wait."""
_READS: Final = re.compile(r"\s*(select|values|explain|with)\b", re.IGNORECASE)
_WRITES: Final = re.compile(r"\b(insert|update|delete|replace)\b", re.IGNORECASE)
_INSERTS: Final = re.compile(r"\s*(insert|replace)\b", re.IGNORECASE)


class Gate(Protocol):
    def enter(self, alone: bool, timeout: float) -> bool: ...

    def leave(self, alone: bool) -> None: ...


class Database:
    """What all lines to one database share: its path, the gate, and the one connection of a database in memory.

    Raises RequestError if there is none to be had.
    """

    def __init__(self, path: str, gate: Gate, *, in_memory: bool):
        self.path = path
        self.gate = gate
        try:
            self.memory = self.connect(0.0) if in_memory else None
        except sqlite3.Error as error:
            raise RequestError(f"path: {error}") from error

    def connect(self, patience: float) -> sqlite3.Connection:
        """Autocommit; used in threads that take turns. Raises sqlite3.Error."""
        is_uri = self.path.startswith("file:")
        wait = min(patience, LONGEST / 1000)
        return sqlite3.connect(self.path, timeout=wait, isolation_level=None, check_same_thread=False, uri=is_uri)

    def __del__(self) -> None:
        if getattr(self, "memory", None) is not None:
            self.memory.close()  # type: ignore[union-attr]


class Script(str):
    """SQL for ``executescript``: several statements, without parameters or rows."""

    __slots__ = ()


class Many(tuple[Any, Any]):
    """SQL and a list of parameter sets, for ``executemany``."""

    __slots__ = ()


def reads(sql: str) -> bool:
    """Does this statement certainly not write? When in doubt, no."""
    return _READS.match(sql) is not None and (sql.lstrip()[:1] not in "wWeE" or _WRITES.search(sql) is None)


def lines(place: Any, prefix: str, extra: Any, settings: Any) -> Callable[[str | None], Sqlite]:
    """What makes the workers of lines to ``place``, whose options are a ``database`` and whether it ``writes``."""
    database, writes = place.options["database"], place.options["writes"]
    place.most = place.limit = 1 if writes else READERS
    return lambda alpn: Sqlite(database, writes)


def review(x: Exchange, elsewhere: Any) -> None:
    """An answer with an error goes to the user as it is."""


class Sqlite(OneAtATime):
    """One connection to a file, or the one of a database in memory; ``writes``: it is the one line that may."""

    __slots__ = ("_connection", "_database", "_gated", "_patience", "_stopped", "_writes")

    def __init__(self, database: Database, writes: bool):
        super().__init__()
        self._database = database
        self._writes = writes
        self._connection: sqlite3.Connection | None = database.memory
        self._gated = True
        """Readers and the writer keep out of each other's way; in WAL mode they need not."""
        self._patience = 0.0
        self._stopped = False
        """The loop has interrupted the work that the thread does."""

    # In the thread

    def connect(self, address: Address, patience: float) -> None:
        """Open the file. Raises ConnectError."""
        if self._connection is not None:
            return
        try:
            self._connection = self._database.connect(patience)
        except sqlite3.Error as error:
            error.__traceback__ = None  # its frames hold the line, and that the error: a ring
            raise ConnectError(str(error), phase="connect") from error

    def perform(self, payload: Any, patience: float) -> Rows | Exception:
        """Do what was asked; whatever goes wrong is the outcome."""
        gate = self._database.gate if self._gated else None
        if gate is not None and not gate.enter(self._writes, patience * SHARE):
            return sqlite3.OperationalError("database is locked")
        try:
            return sqlite3.OperationalError("interrupted") if self._stopped else self._attempt(payload, patience)
        finally:
            if gate is not None:
                gate.leave(self._writes)

    def _attempt(self, payload: Any, patience: float) -> Rows | Exception:
        connection = self._connection
        assert connection is not None
        outcome: Rows | Exception
        try:
            if patience != self._patience:
                self._prepare(connection, patience)
            outcome = self._perform(connection, payload)
        except Exception as error:  # sqlite3's, or what the user's adapters and converters raise
            error.__traceback__ = None
            outcome = error
            if not isinstance(error, (sqlite3.Error, sqlite3.Warning)):
                outcome = RequestError(f"the statement cannot be executed: {error}")
                outcome.__cause__ = error
        if connection.in_transaction:
            self._roll_back(connection)
        return outcome

    def _prepare(self, connection: sqlite3.Connection, patience: float) -> None:
        connection.execute(f"PRAGMA busy_timeout = {min(int(patience * SHARE * 1000), LONGEST)}")
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        self._gated = mode != "wal"
        self._patience = patience

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        for _ in range(ROLLBACKS):
            try:
                connection.rollback()
            except sqlite3.Error:
                continue
            if not connection.in_transaction:
                return
        self.reusable = False  # whoever opens the file next rolls back

    def _perform(self, connection: sqlite3.Connection, payload: Any) -> Rows:
        if payload.__class__ is list:
            return self._transaction(connection, payload)
        rows = self._one(connection, payload)
        if connection.in_transaction:
            raise sqlite3.ProgrammingError(
                "the statement left a transaction open, which is rolled back: queue a list of statements instead"
            )
        return rows

    def _transaction(self, connection: sqlite3.Connection, payloads: Iterable[Any]) -> Rows:
        """All or nothing; the result of the last one. IMMEDIATE: a reader that becomes a writer may fail half-way."""
        connection.execute("BEGIN IMMEDIATE" if self._writes else "BEGIN")
        for payload in payloads:
            if self._stopped:
                raise sqlite3.OperationalError("interrupted")
            rows = self._one(connection, payload)
        if connection.in_transaction:
            connection.execute("COMMIT")
        return rows

    def _one(self, connection: sqlite3.Connection, payload: Any) -> Rows:
        cursor = connection.cursor()
        try:
            if payload.__class__ is Script:
                cursor.executescript(str(payload))
                return Rows([], [], -1)
            sql, parameters = payload
            if payload.__class__ is Many:
                connection.execute("BEGIN IMMEDIATE")
                cursor.executemany(sql, parameters)
                connection.execute("COMMIT")
            else:
                cursor.execute(sql, parameters or ())
            description = cursor.description
            tuples = cursor.fetchall() if description else []
            rowcount = len(tuples) if description and cursor.rowcount < 0 else cursor.rowcount
            lastrowid = cursor.lastrowid if _INSERTS.match(sql) else None
            return Rows([column[0] for column in description or ()], tuples, rowcount, description, lastrowid=lastrowid)
        finally:
            cursor.close()

    def goodbye(self) -> None:
        """Close the file; what is in memory stays."""
        if self._connection is not None and self._database.memory is None:
            self._connection.close()

    # In the loop

    def submit(self, x: Exchange) -> None:
        self._x = x
        self._stopped = False
        self.room = 0

    def finish(self, outcome: Rows | Exception) -> Sequence[Exchange]:
        """Put the outcome into its exchange; nothing is finished if that was cancelled."""
        x, self._x = self._x, None
        self.room = 1 if self.reusable else 0
        if x is None:
            return NO_EXCHANGES
        if isinstance(outcome, Exception):
            x.head = REFUSED
            x.error = outcome
        else:
            x.head = OK
            x.data = outcome
        return (x,)

    def cancel(self, x: Exchange) -> bool:
        """Forget it; the thread comes back all the same."""
        self._x = None
        return True

    def interrupt(self) -> None:
        """Stop what the thread does now; it notices within microseconds, unless it waits for a lock or the disk."""
        self._stopped = True
        if self._connection is not None:
            self._connection.interrupt()
