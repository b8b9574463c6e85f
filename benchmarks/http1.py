"""A small page over HTTP/1.1, again and again, by everybody."""

from __future__ import annotations

from .case import Case
from .nginx import page
from .web import BASES, COLUMNS, NOTE, PEERS

CASE = Case(
    name="http1",
    title="a page of {size:,} bytes over {lines:,} lines, HTTP/1.1",
    entries=PEERS,
    columns=COLUMNS,
    bases=BASES,
    server=page,
    note=NOTE,
)
