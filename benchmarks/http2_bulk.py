"""A large body over one stream of HTTP/2, down and up, by aquests and by curl."""

from __future__ import annotations

from .case import Case, Column, Entry
from .nghttpd import bulk

_PEERS = "peers.bulk"
_DOWN = {"up": False}
_UP = {"up": True}

CASE = Case(
    name="http2-bulk",
    title="{size:,} bytes over one stream of HTTP/2 and TLS, {count} times",
    entries=(
        Entry("curl, download", f"{_PEERS}:curl", program="curl", options=_DOWN, against=("curl, download",)),
        Entry("aquests, download", f"{_PEERS}:ours", options=_DOWN, against=("curl, download",)),
        Entry("curl, upload", f"{_PEERS}:curl", program="curl", options=_UP, against=("curl, upload",)),
        Entry("aquests, upload", f"{_PEERS}:ours", options=_UP, against=("curl, upload",)),
    ),
    columns=(
        Column("megabytes", "MB/s"),
        Column("cpu_ms", "CPU ms/body", "{:.0f}"),
        Column("busy", "client busy", "{:.0%}"),
    ),
    bases=("curl, download", "curl, upload"),
    lines=1,
    count=10,
    size=100_000_000,
    server=bulk,
    note="""\
Both have what they upload in memory. curl drops what it downloads, aquests hands it to the callback as one bytes.
Connecting is part of the time; the start of the process is not part of it, but of curl's CPU.""",
)
