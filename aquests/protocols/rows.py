"""What a statement of SQL gave: rows as dicts with attributes, made when somebody looks at them.

Drivers give tuples. A dict for each row takes three times the memory, and many callbacks want a count or some
values; so the tuples stay until a row is asked for, and then all are converted at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload


class Row(dict[str, Any]):
    """One row: a dict by column name, in the order of the columns; ``row.name`` is ``row["name"]``.

    A column that is called like a method of dict ("items", "keys" …) is reached by ``row["items"]`` only.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no column {name!r}: there are {', '.join(self)}") from None


class Rows(Sequence[Row]):
    """The rows of an answer; behaves like a list, is equal to a list of equal dicts, and is empty if there are none.

    - ``tuples``: the rows as the driver gave them.
    - ``columns``: their names. A name that comes again gets a number, so that nothing is lost: a, a_2, a_3.
    - ``description``: DB-API's description of the columns (PEP 249); None for a statement that has none.
    - ``rowcount``: rows given or changed; -1 where that makes no sense (DDL).
    - ``status``: the server's word for what it did, ``"INSERT 0 3"``; empty where there is none (SQLite).
    - ``lastrowid``: of the last INSERT (SQLite only, else None).
    - ``notices``: what the server remarked meanwhile, without line ends (PostgreSQL).
    """

    __slots__ = ("_names", "_rows", "description", "lastrowid", "notices", "rowcount", "status", "tuples")

    def __init__(
        self,
        names: list[str],
        tuples: list[tuple[Any, ...]],
        rowcount: int,
        description: Sequence[Any] | None = None,
        status: str = "",
        notices: tuple[str, ...] = (),
        lastrowid: int | None = None,
    ):
        self._names = names
        self.description = description
        self.tuples = tuples
        self.rowcount = rowcount
        self.status = status
        self.notices = notices
        self.lastrowid = lastrowid
        self._rows: list[Row] | None = None

    @property
    def columns(self) -> list[str]:
        return _distinct(self._names)

    def _look(self) -> list[Row]:
        names = self._names
        rows = [Row(zip(names, values)) for values in self.tuples]  # noqa: B905 (as long as one another)
        if rows and len(rows[0]) != len(names):  # a name comes twice
            names = _distinct(names)
            rows = [Row(zip(names, values)) for values in self.tuples]  # noqa: B905
        self._rows = rows
        return rows

    def __len__(self) -> int:
        return len(self.tuples)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        return (self._rows or self._look())[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows or self._look())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, Rows)):
            return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have none

    def __repr__(self) -> str:
        return repr(self._rows or self._look())


def _distinct(names: list[str]) -> list[str]:
    """Names that come again are numbered, past those that are taken."""
    taken = set(names)
    seen: set[str] = set()
    found = []
    for name in names:
        number = 2
        new = name
        while new in seen or (new != name and new in taken):
            new = f"{name}_{number}"
            number += 1
        seen.add(new)
        found.append(new)
    return found
