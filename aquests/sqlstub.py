"""What the stubs of databases that speak SQL share: statements are checked, copied and queued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import RequestError
from .exchange import Request
from .script import script
from .stub import Stub

if TYPE_CHECKING:
    from .endpoint import Endpoint

Statement = tuple[Any, Any]
"""SQL and its params; None for none."""


class Sql(Stub):
    """The base of both. A call queues and returns its request; ``response.data`` are its rows (``Rows``).

    Rows are dicts with attributes: ``row["name"]``, ``row.name``. ``data`` behaves like a list of them, is empty for
    statements without rows, and tells ``rowcount``, ``columns``, ``description``, ``notices`` … An error of SQL is an
    answer: status 500, and ``response.error`` is the driver's exception. No statement is executed twice.
    """

    __slots__ = ("_found", "_found_in")

    def __init__(self, options: dict[str, Any], known: frozenset[str]):
        super().__init__(options, known)
        self._found_in: Any = None

    def execute(self, sql: Any, params: Any = None, **options: Any) -> Request:
        """Queue a statement, with ``params`` for its placeholders; or a list of them, as one transaction.

        In a list each item is a statement or ``(statement, params)``. They are executed on one line between BEGIN
        and COMMIT, or none of them is; ``response.data`` is the result of the last one.

        ``options``: ``callback``, ``meta``, ``timeout``, ``deadline`` for this call. Raises RequestError for what is
        no statement, TypeError for a misspelt keyword.
        """
        if not isinstance(sql, list):
            return self._queue("execute", self._statement(sql, params), options)
        if params is not None:
            raise RequestError("in a list of statements each has its own params: write [(sql, params), …]")
        statements = [self._item(item) for item in sql]
        if not statements:
            raise RequestError("the list of statements is empty")
        return self._queue("execute", statements, options)

    do = execute

    def _queue(self, method: str, payload: Any, own: dict[str, Any]) -> Request:
        if self._found_in is not (script.made or script.engine).endpoints:
            self._find()
        place, url, kind = self._target(payload)
        return self._ask(method, url, payload, place, kind, None, own)

    def _statement(self, sql: Any, params: Any = None) -> Statement:
        self._check(sql)
        if params is None or params.__class__ is tuple:
            return sql, params
        if isinstance(params, Mapping):
            return sql, dict(params)
        if isinstance(params, Sequence) and not isinstance(params, (str, bytes, bytearray, memoryview)):
            return sql, tuple(params)
        raise RequestError(f"params must be a sequence or a mapping, not {type(params).__name__}: write (value,)")

    def _item(self, item: Any) -> Statement:
        """One of a list."""
        if not isinstance(item, tuple):
            return self._statement(item)
        if len(item) not in (1, 2):
            raise RequestError("an item of the list is a statement or (statement, params)")
        return self._statement(*item)

    def _many(self, sql: Any, rows: Iterable[Any]) -> list[Statement]:
        statements = [self._statement(sql, row) for row in rows]
        if not statements:
            raise RequestError("there are no rows of params to execute the statement with")
        return statements

    def _check(self, sql: Any) -> None:
        raise NotImplementedError

    def _find(self) -> None:
        """Look for the places of the stub."""
        raise NotImplementedError

    def _target(self, payload: Any) -> tuple[Endpoint, str, str]:
        """Place, URL and kind for a payload."""
        raise NotImplementedError
