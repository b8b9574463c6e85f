"""One stream of HTTP/2, from the side of a client (RFC 9113 5)."""

from __future__ import annotations

from io import SEEK_END, BytesIO
from typing import TYPE_CHECKING, Any, Final

from ..errors import ProtocolError, TooLarge
from .h2frames import FLOW_CONTROL_ERROR, STREAM_CLOSED, Fault
from .http1 import MAX_INTERIM
from .http1head import LENGTH, NOTHING
from .largebody import PROVEN, widened

if TYPE_CHECKING:
    from ..errors import AquestsError
    from ..exchange import Exchange
    from .h2head import Fields
    from .http1head import Head

MAX_REMEMBERED: Final = 1000
"""Streams reset by us of which frames may still come."""


class Stream:
    """What is known of an exchange while it is in flight.

    ``credit`` is what the peer may still send, ``window`` what we may; ``left`` how long the rest of the body may be,
    by its Content-Length or else by ``max_content``, and -1 as long as there is no head; ``uploading``: the request
    is not all sent yet. One is made for every request: each attribute costs. ``first`` is the body's first piece,
    ``body`` all of it if there are more: a buffer that grows; pieces kept until the end would need twice the memory.
    """

    __slots__ = ("body", "credit", "first", "interim", "left", "number", "uploading", "window", "x")

    def __init__(self, number: int, x: Exchange, credit: int, window: int):
        self.number = number
        self.x = x
        self.credit = credit
        self.window = window
        self.uploading = False
        self.interim = 0
        self.left = -1
        self.first = b""
        self.body: BytesIO | None = None

    def take(self, fields: Fields, last: bool) -> AquestsError | None:
        """A header block: an interim answer, the head of the answer, or its trailers; returns what is wrong (8.1)."""
        head = fields.head
        if fields.fault:
            return _malformed(fields.fault)
        if self.left >= 0:
            self.x.trailers = fields.pairs
            return None if last and head is None else _malformed("a second head" if head else "trailers in the middle")
        if head is None:
            return _malformed("no :status")
        if head.status >= 200:
            return self.begin(head)
        self.interim += 1
        if last or head.status == 101:  # 8.1, 8.6
            return _malformed(f"a final {head.status}" if last else "101 Switching Protocols")
        return _malformed(f"over {MAX_INTERIM} interim answers") if self.interim > MAX_INTERIM else None

    def begin(self, head: Head) -> AquestsError | None:
        """The head of the answer is here: how long may the body be?"""
        x = self.x
        x.head = head
        if x.method == "HEAD" or head.framing == NOTHING:  # 204 and 304 (RFC 9110 6.4.1)
            self.left = 0
        elif head.framing != LENGTH:
            self.left = x.max_content
        else:
            self.left = head.length
            if head.length > x.max_content:
                return self._too_large()
        return None

    def add(self, payload: bytes | memoryview) -> AquestsError | None:
        """More of the body; returns what is wrong with that (8.1.1)."""
        size = len(payload)
        left = self.left - size
        if left < 0:
            if self.left < 0:
                return _malformed("a body without a head")
            promised = self._promised()
            return self._too_large() if promised is None else _malformed(f"a body longer than {promised:,} bytes")
        self.left = left
        body = self.body
        if body is not None:
            body.write(payload)
            come = body.tell()
            if come - size < PROVEN <= come:  # once
                promised = self._promised()
                if promised is not None:
                    self.body = widened(body, promised)
        elif self.first:
            # A copy of it; what the others are written to is in the end the body itself.
            self.body = BytesIO(self.first)
            self.body.seek(0, SEEK_END)
            self.body.write(payload)
        else:
            self.first = bytes(payload)
        return None

    def end(self) -> AquestsError | None:
        """All of the answer is here: ``x.body`` is set, or it is said what is wrong with it."""
        if self.left < 0:
            return _malformed("it ends without a head")
        if self.left:
            promised = self._promised()
            if promised is not None:
                return _malformed(f"{promised - self.left:,} bytes where {promised:,} were promised")
        self.x.body = self.first if self.body is None else self.body.getvalue()
        return None

    def _promised(self) -> int | None:
        """How long the body has to be; None: nobody said."""
        head: Any = self.x.head
        if self.x.method == "HEAD" or head.framing == NOTHING:
            return 0
        return head.length if head.framing == LENGTH else None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over max_content={self.x.max_content:,} bytes", phase="answer")


class Departed:
    """Streams reset by us, with what the peer may have sent on them meanwhile: that much is no fault (5.1)."""

    __slots__ = ("_credits",)

    def __init__(self) -> None:
        self._credits: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._credits)

    def remember(self, stream: Stream) -> None:
        self._credits[stream.number] = stream.credit
        if len(self._credits) > MAX_REMEMBERED:
            del self._credits[next(iter(self._credits))]

    def take(self, number: int, last: int, length: int) -> None:
        """A frame that nobody wants any more, with so much of the window; ``last``: none comes behind it."""
        credit = self._credits.get(number)
        if credit is None:
            raise Fault(STREAM_CLOSED, f"a frame for stream {number}, which is closed")
        if length > credit:
            raise Fault(FLOW_CONTROL_ERROR, "more data than the window of the stream")
        if last:
            self.forget(number)
        else:
            self._credits[number] = credit - length

    def forget(self, number: int) -> None:
        self._credits.pop(number, None)


def _malformed(why: str) -> ProtocolError:
    return ProtocolError(f"malformed answer: {why}")
