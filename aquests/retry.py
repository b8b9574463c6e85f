"""When a request may be sent again without anybody having asked for it.

Only two cases are safe: the peer certainly did not process it (an HTTP/2 GOAWAY or
REFUSED_STREAM says so), or it is idempotent and died on a reused line before the first byte of
an answer, most likely because the server closed the idle line at that moment (RFC 9112 9.3.1).
The latter once, and on a fresh line. The former on any line, and ``REFUSALS`` times: all lines of a
server say goodbye at the same time when they have carried as many requests as it lets them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from .errors import AquestsError, ConnectionEnded, PeerClosed, ReadError, RequestError, WriteError
from .exchange import Trail

if TYPE_CHECKING:
    from .exchange import Exchange

IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
"""RFC 9110 9.2.2. It says so of HTTP's methods only: a database's DELETE may not be repeated."""
REFUSALS: Final = 8
"""How often a request is sent again that was not processed; after the first time it waits, twice as long each time."""
REFUSAL_PAUSE: Final = 0.01
"""Seconds it waits after the second refusal."""


def free_retry(x: Exchange, uses: int) -> Exchange | None:
    """The next attempt after ``x.error`` on a line that was used ``uses`` times; None: the error stands."""
    if x.untouched:
        return _refused(x)
    if x.trail is not None and x.trail.fresh:
        return None
    stale = uses > 1 and not x.progress and isinstance(x.error, (PeerClosed, ReadError, WriteError))
    if not stale or not x.endpoint.spec.web or x.method not in IDEMPOTENT or not rewound(x.payload):
        return None
    again = x.again()
    again.trail = again.trail or Trail()
    again.trail.fresh = True
    return again


def _refused(x: Exchange) -> Exchange | None:
    """The next attempt after the peer has said that it did not process this one.

    A line that ends when it has carried as many requests as the server lets it took at least one: however often
    that happens, the run gets on, so it does not count.
    """
    if isinstance(x.error, ConnectionEnded) and x.error.served and rewound(x.payload):
        return x.again()
    refusals = x.trail.refusals if x.trail is not None else 0
    if refusals >= REFUSALS or not rewound(x.payload):
        return None
    again = x.again()
    again.trail = again.trail or Trail()
    again.trail.refusals += 1
    again.delay = REFUSAL_PAUSE * 2.0 ** (refusals - 1) if refusals else 0.0
    return again


def rewound(payload: Any) -> bool:
    """Can the body be sent from its beginning? Streamed ones are wound back."""
    rewind = getattr(payload, "rewind", None)
    if rewind is None:
        return True
    try:
        rewind()
    except RequestError:
        return False
    return True


def exhausted_descriptors(error: AquestsError) -> bool:
    """Has the system no file descriptor left for another line?"""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE)
