"""The same page over thousands of lines at once."""

from __future__ import annotations

from .case import Case
from .nginx import page
from .web import BASES, COLUMNS, HTTPX, NOTE, PEERS

CASE = Case(
    name="lines",
    title="a page of {size:,} bytes over {lines:,} lines at once, HTTP/1.1",
    entries=tuple(peer for peer in PEERS if peer is not HTTPX),
    columns=COLUMNS,
    bases=BASES,
    lines=5000,
    server=page,
    note=NOTE + "\nLeft out: httpx with one client, which takes over a minute for 5,000 requests over as many lines.",
)
