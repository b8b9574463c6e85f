"""A large body over one stream of HTTP/2, down and up, by aquests and by curl."""

from __future__ import annotations

from .bulk import race
from .nghttpd import bulk

CASE = race(
    "http2-bulk",
    "{size:,} bytes over one stream of HTTP/2 and TLS, {count} times",
    bulk,
    "Both upload from memory. curl drops what it downloads, aquests hands it to the callback as one bytes.",
    download={"up": False},
    upload={"up": True},
)
