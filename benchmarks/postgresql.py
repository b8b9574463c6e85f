"""Two rows from PostgreSQL, one statement on a line at a time, by everybody."""

from __future__ import annotations

from .case import Case, Column, Entry
from .pgserver import duo

CASE = Case(
    name="postgresql",
    title="SELECT of two rows from PostgreSQL over {lines:,} lines",
    entries=(
        Entry("aquests", "peers.ours_postgresql:queued", package="psycopg2-binary"),
        Entry("aquests, fed", "peers.ours_postgresql:fed", package="psycopg2-binary"),
        Entry("pgbench -M simple", "peers.pgbench:run", program="pgbench", options={"mode": "simple"}),
        Entry("asyncpg", "peers.with_asyncpg:run", package="asyncpg"),
        Entry(
            "asyncpg on uvloop", "peers.with_asyncpg:run", package="asyncpg", also="uvloop", options={"uvloop": True}
        ),
    ),
    columns=(
        Column("rate", "answers/s"),
        Column("cpu_us", "CPU µs/answer", "{:.1f}"),
        Column("busy", "client busy", "{:.0%}"),
    ),
    bases=("pgbench -M simple", "asyncpg"),
    lines=16,
    size=64,
    server=duo,
    note="""\
aquests and pgbench use the simple protocol, asyncpg prepared statements and binary values. pgbench has no callback,
looks at no row and does not count connecting; the others make a dict of each row and check them.""",
)
