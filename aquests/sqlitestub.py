"""``aquests.sqlite3(path)``: a stub that queues statements for SQLite.

::

    dbo = aquests.sqlite3("shop.db", callback=finish)
    dbo.execute("SELECT id, name FROM goods WHERE price < ?", (10,))
    dbo.executemany("INSERT INTO sales VALUES (?)", [(7,), (8,)])  # one transaction
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from .errors import RequestError
from .exchange import Request
from .lib.threaded import Gate
from .protocols import SCHEMES
from .script import script
from .sqlstub import Sql
from .stub import PER_CALL

if TYPE_CHECKING:
    from .endpoint import Endpoint

_IN_MEMORY: Final = re.compile(r"file:(//)?(:memory:)?([?#]|$)|file:[^?#]*\?([^#]*&)?mode=memory(&|#|$)")
"""URIs of databases that live in memory, or in a file that nobody knows."""
_databases: WeakValueDictionary[str, Any] = WeakValueDictionary()
"""Those in files, by path: all stubs to one share its gate."""


def sqlite3(path: str | os.PathLike[str], **options: Any) -> Sqlite:
    """A stub for an SQLite database, which works in threads. Opens nothing by itself.

    - ``path``: of the file, made if it is not there; a ``file:`` URI; or ``":memory:"``, a database of
      the stub's own, which lives until the program ends.
    - ``callback``, ``meta``, ``timeout``, ``deadline``: for all calls of the stub; they may also be given with a call.

    Reading goes over up to 16 lines at once, everything else over one: so a statement that reads may be executed
    before one that writes and was queued earlier (with ``workers=1``, or in memory, the order is kept). The journal
    mode is left as it is. A request that is timed out is interrupted.

    Raises RequestError for a path or option that cannot be, TypeError for a misspelt keyword.
    """
    return Sqlite(path, options)


class Sqlite(Sql):
    """See :func:`sqlite3`. Placeholders are ``?`` or ``:name``; types are those of the standard library."""

    __slots__ = ("_database", "_module", "_url")

    def __init__(self, path: str | os.PathLike[str], options: dict[str, Any]):
        super().__init__(options, PER_CALL)
        name: Any = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(name, str) or "\0" in name:
            raise RequestError("path must be str or a path, without NUL")
        self._module: Any = SCHEMES["sqlite"].load()
        in_memory = name in ("", ":memory:") or _IN_MEMORY.match(name) is not None
        if not in_memory and not name.startswith("file:"):
            name = os.path.abspath(name)
        self._database: Any = None if in_memory else _databases.get(name)
        if self._database is None:
            self._database = self._module.Database(name, Gate(), in_memory=in_memory)
        if not in_memory:
            _databases[name] = self._database
        self._url = f"sqlite://{name}"

    def executemany(self, sql: str, rows: Iterable[Any], **options: Any) -> Request:
        """Queue one statement for many rows of params, as one transaction; ``data.rowcount`` counts all."""
        statements = self._many(sql, rows)
        return self._queue("executemany", self._module.Many((sql, [params or () for _, params in statements])), options)

    def executescript(self, sql: str, **options: Any) -> Request:
        """Queue a script: statements separated by semicolons, without params and rows; each commits by itself."""
        self._check(sql)
        return self._queue("executescript", self._module.Script(sql), options)

    def _check(self, sql: Any) -> None:
        if not isinstance(sql, str):
            raise RequestError(f"SQL must be str, not {type(sql).__name__}")
        if not sql.strip():
            raise RequestError("the statement is empty")

    def _find(self) -> None:
        path = self._database.path or ":memory:"
        writes = self._place("sqlite", "", 0, path, database=self._database, writes=True)
        reads = writes
        if self._database.memory is None:
            reads = self._place("sqlite", "", 0, path, database=self._database, writes=False)
        self._found = (reads, writes)
        self._found_in = script.engine.endpoints

    def _target(self, payload: Any) -> tuple[Endpoint, str, str]:
        reads = self._module.reads
        if payload.__class__ is tuple:
            reading = reads(payload[0])
        else:
            reading = payload.__class__ is list and all(reads(sql) for sql, _ in payload)
        return self._found[0 if reading else 1], self._url, "sqlite"

    def __repr__(self) -> str:
        return f"<Sqlite {self._url}>"
