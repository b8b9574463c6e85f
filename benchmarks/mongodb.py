"""One document by its key from a real MongoDB server, by everybody."""

from __future__ import annotations

from .case import Case, Column, Entry
from .mongoserver import real

ENTRIES = (
    Entry("aquests", "peers.ours_mongodb:queued"),
    Entry("aquests, fed", "peers.ours_mongodb:fed"),
    Entry("PyMongo, async", "peers.with_pymongo:run", package="pymongo"),
    Entry("PyMongo, uvloop", "peers.with_pymongo:run", package="pymongo", also="uvloop", options={"uvloop": True}),
)
COLUMNS = (
    Column("rate", "answers/s"),
    Column("cpu_us", "CPU µs/answer", "{:.1f}"),
    Column("busy", "client busy", "{:.0%}"),
)

CASE = Case(
    name="mongodb",
    title="one document by its key from MongoDB over {lines:,} lines",
    entries=ENTRIES,
    columns=COLUMNS,
    bases=("PyMongo, async",),
    lines=16,
    size=64,
    server=real,
    note="""\
mongod, or FerretDB where there is none. A client that is not busy waits for the server: then the server is measured,
and CPU µs/answer tells more; see mongodb-peer. All check the document. PyMongo: one client, as many tasks as lines.""",
)
