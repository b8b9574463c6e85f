"""What a case is made of: its entries, its columns, its server; and the job a child process is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

Outcome = dict[str, Any]
"""What a child reports: figures by name.

``count``: what was done, as much as the job says. ``bad``: how many answers were not as expected, ``wrong``: the
first of them. ``asked``: requests the server must have seen, if not ``count``.
"""


@dataclass(frozen=True)
class Job:
    """What a child process is to do.

    ``count``: how many requests (or calls); ``seconds``: how long, for programs that run by time;
    ``lines``: connections at once; ``url``, ``size``, ``ca``, ``beside``: of the server, see ``Site``;
    ``options``: the entry's own; ``smoke``: only see whether it works.
    """

    count: int
    seconds: float = 1.0
    lines: int = 100
    url: str = ""
    size: int = 0
    ca: str = ""
    beside: str = ""
    smoke: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """A running server: ``url`` answers 200 with ``size`` bytes; ``ca`` is the PEM file that vouches for it.

    ``beside``: another URL of the same server, at another port. ``counters()``: connections accepted
    and requests answered so far, by the server's own count; None if it does not count.
    ``server``: what it is, where that depends on the machine.
    """

    url: str
    size: int
    ca: str = ""
    beside: str = ""
    counters: Callable[[], tuple[int, int]] | None = None
    server: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a case wants of its server: the bytes of the page, the lines it must hold, the core it runs on."""

    size: int
    lines: int
    core: int | None


@dataclass(frozen=True)
class Entry:
    """One row: ``function`` ("module:function" within this package) is run in a child with a ``Job``.

    ``package`` (its version is shown), ``also`` (another one) and ``program`` must be installed for it.
    ``timed``: it runs by time, not by count.
    ``against``: the rows it is compared with, instead of the case's.
    """

    name: str
    function: str
    package: str = ""
    also: str = ""
    program: str = ""
    timed: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    against: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Column:
    """A figure of the outcomes: its key, its title, how it is written."""

    key: str
    title: str
    form: str = "{:,.0f}"


@dataclass(frozen=True)
class Case:
    """One benchmark. The first column is the main one: it gets the range, and the ratios to ``bases``.

    ``count``: requests or calls of each child; 0: as many as fill the time. ``rounds``: its own number of
    them, where a usual one makes no sense. ``server`` is entered once for all rounds. ``title`` and ``note`` may
    have ``{lines}``, ``{size}`` and ``{count}`` in them.
    """

    name: str
    title: str
    entries: tuple[Entry, ...]
    columns: tuple[Column, ...]
    bases: tuple[str, ...] = ()
    count: int = 0
    rounds: int = 0
    lines: int = 100
    size: int = 4096
    server: Callable[[Wanted], AbstractContextManager[Site]] | None = None
    note: str = ""

    def filled(self, text: str, lines: int | None = None, scale: float = 1.0) -> str:
        """``text`` with the numbers in it."""
        return text.format(lines=lines or self.lines, size=self.size, count=self.counted(scale))

    def counted(self, scale: float) -> int:
        """How many requests or calls a part of the work is."""
        return max(1, round(self.count * scale))
