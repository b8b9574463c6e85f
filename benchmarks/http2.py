"""The same page over TLS and HTTP/2: many requests at once on each of a few lines."""

from __future__ import annotations

from .case import Case, Entry
from .nginx import multiplexed_page
from .web import COLUMNS, NOTE

STREAMS = 10
_AT_ONCE = {"streams": STREAMS}

CASE = Case(
    name="http2",
    title="a page of {size:,} bytes over {lines:,} lines of " + str(STREAMS) + " streams, HTTP/2 and TLS",
    entries=(
        Entry("aquests", "peers.ours:queued", options=_AT_ONCE),
        Entry("aquests, fed", "peers.ours:fed", options=_AT_ONCE),
        Entry("h2load", "peers.h2load:run", program="h2load", options=_AT_ONCE),
        Entry("httpx", "peers.with_httpx:run", package="httpx", also="h2", options=_AT_ONCE),
        Entry(
            "httpx, a client a line",
            "peers.with_httpx:run",
            package="httpx",
            also="h2",
            options={**_AT_ONCE, "each": True},
        ),
    ),
    columns=COLUMNS,
    bases=("h2load", "httpx, a client a line"),
    lines=10,
    server=multiplexed_page,
    note=NOTE.replace("wrk and hey have", "h2load has"),
)
