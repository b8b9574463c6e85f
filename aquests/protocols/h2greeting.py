"""What a client says first on a line of HTTP/2, and so promises (RFC 9113 3.4, 6.5)."""

from __future__ import annotations

from typing import Final

from . import h2frames as h2
from .h2hpack import TABLE_SIZE
from .http1head import MAX_HEAD

RECEIVE_WINDOW: Final = 1 << 24
"""Bytes the peer may send ahead, on a stream and on the line: 16 MiB are a second of a gigabit at 130 ms. What came
is given back when half of it is used; there is always room for it, since ``max_content`` bounds each answer."""
SETTINGS: Final = h2.settings(
    (
        (h2.HEADER_TABLE_SIZE, TABLE_SIZE),
        (h2.ENABLE_PUSH, 0),
        (h2.INITIAL_WINDOW_SIZE, RECEIVE_WINDOW),
        (h2.MAX_HEADER_LIST_SIZE, MAX_HEAD),
    )
)
GREETING: Final = h2.PREFACE + h2.frame(h2.SETTINGS, 0, 0, SETTINGS) + h2.window_update(0, RECEIVE_WINDOW - h2.WINDOW)
