"""A large body over one line of HTTP/1.1, with TLS and in clear, by aquests and by curl."""

from __future__ import annotations

from .bulk import race
from .nginx import secure_page

CASE = race(
    "http1-bulk",
    "{size:,} bytes over one line of HTTP/1.1, {count} times",
    secure_page,
    "curl drops what it downloads, aquests hands it to the callback as one bytes: memory that must be filled.",
    TLS={"up": False, "http1": True},
    clear={"up": False, "http1": True, "clear": True},
)
