"""The page of ``http1`` from nginx's memory: the server at its quickest, so that it is no brake."""

from __future__ import annotations

from .case import Case
from .nginx import memory_page
from .web import BASES, COLUMNS, NOTE, PEERS

CASE = Case(
    name="http1-memory",
    title="the same page from the server's memory",
    entries=PEERS,
    columns=COLUMNS,
    bases=BASES,
    server=memory_page,
    note=NOTE,
)
