"""A large body over one line of HTTP/1.1, with TLS and in clear, by aquests and by curl."""

from __future__ import annotations

from .case import Case, Column, Entry
from .nginx import secure_page

_PEERS = "peers.bulk"
_SEALED = {"up": False, "http1": True}
_CLEAR = {**_SEALED, "clear": True}

CASE = Case(
    name="http1-bulk",
    title="{size:,} bytes over one line of HTTP/1.1, {count} times",
    entries=(
        Entry("curl, TLS", f"{_PEERS}:curl", program="curl", options=_SEALED, against=("curl, TLS",)),
        Entry("aquests, TLS", f"{_PEERS}:ours", options=_SEALED, against=("curl, TLS",)),
        Entry("curl, clear", f"{_PEERS}:curl", program="curl", options=_CLEAR, against=("curl, clear",)),
        Entry("aquests, clear", f"{_PEERS}:ours", options=_CLEAR, against=("curl, clear",)),
    ),
    columns=(
        Column("megabytes", "MB/s"),
        Column("cpu_ms", "CPU ms/body", "{:.0f}"),
        Column("busy", "client busy", "{:.0%}"),
    ),
    bases=("curl, TLS", "curl, clear"),
    lines=1,
    count=10,
    size=100_000_000,
    server=secure_page,
    note="""\
curl drops what it downloads, aquests hands it to the callback as one bytes: memory that must be filled.
Connecting is part of the time; the start of the process is not part of it, but of curl's CPU.""",
)
