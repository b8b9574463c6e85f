"""One document by its key from a server that knows one answer: the clients are measured, not a database."""

from __future__ import annotations

from .case import Case
from .mongodb import COLUMNS, ENTRIES
from .mongoserver import scripted

CASE = Case(
    name="mongodb-peer",
    title="one document by its key from a scripted OP_MSG server over {lines:,} lines",
    entries=ENTRIES,
    columns=COLUMNS,
    bases=("PyMongo, async",),
    lines=16,
    size=64,
    server=scripted,
    note="The server is benchmarks/servers/mongofast.c: no database. It offers no sessions, which saves PyMongo work.",
)
