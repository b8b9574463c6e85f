"""The same page over TLS."""

from __future__ import annotations

from .case import Case
from .nginx import secure_page
from .web import BASES, COLUMNS, NOTE, PEERS

CASE = Case(
    name="tls",
    title="a page of {size:,} bytes over {lines:,} lines, HTTP/1.1 and TLS",
    entries=PEERS,
    columns=COLUMNS,
    bases=BASES,
    server=secure_page,
    note=NOTE
    + "\nThe Python clients verify the certificate, against the CA they are given; wrk and hey do not verify.",
)
