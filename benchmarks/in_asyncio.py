"""What it costs to be a guest: the engine stepped by asyncio's loop, against its own ``fetchall()``."""

from __future__ import annotations

from .case import Case, Entry
from .nginx import page
from .web import COLUMNS

CASE = Case(
    name="asyncio",
    title="a page of {size:,} bytes over {lines:,} lines, stepped by fetchall() and by asyncio",
    entries=(
        Entry("fetchall", "peers.ours:queued"),
        Entry("in asyncio", "peers.ours:guest"),
        Entry("in uvloop", "peers.ours:guest", package="uvloop", options={"uvloop": True}),
    ),
    columns=COLUMNS,
    bases=("fetchall",),
    server=page,
)
