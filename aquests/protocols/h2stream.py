"""One stream of HTTP/2, from the side of a client (RFC 9113 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ProtocolError, TooLarge
from .http1 import MAX_INTERIM
from .http1head import LENGTH, NOTHING, Head

if TYPE_CHECKING:
    from ..errors import AquestsError
    from ..exchange import Exchange
    from .h2head import Fields


class Stream:
    """What is known of an exchange while it is in flight.

    ``credit`` is what the peer may still send, ``window`` what we may; ``most`` how long the body may be, by its
    Content-Length if ``exact``, else by ``max_content``; ``uploading``: the request is not all sent yet.
    """

    __slots__ = ("credit", "exact", "head", "interim", "most", "number", "parts", "size", "uploading", "window", "x")

    def __init__(self, number: int, x: Exchange, credit: int, window: int):
        self.number = number
        self.x = x
        self.credit = credit
        self.window = window
        self.uploading = False
        self.head: Head | None = None
        self.interim = 0
        self.parts: list[bytes] | None = None
        self.size = 0
        self.most = 0
        self.exact = False

    def take(self, fields: Fields, last: bool) -> AquestsError | None:
        """A header block: an interim answer, the head of the answer, or its trailers; returns what is wrong (8.1)."""
        head = fields.head
        if fields.fault:
            return _malformed(fields.fault)
        if self.head is not None:
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
        self.head = x.head = head
        if x.method == "HEAD" or head.framing == NOTHING:  # 204 and 304 (RFC 9110 6.4.1)
            self.exact = True
        elif head.framing == LENGTH:
            self.exact = True
            self.most = head.length
            if head.length > x.max_content:
                return self._too_large()
        else:
            self.most = x.max_content
        return None

    def add(self, payload: bytes) -> AquestsError | None:
        """More of the body; returns what is wrong with that (8.1.1)."""
        self.size += len(payload)
        if self.size > self.most:
            if self.head is None:
                return _malformed("a body without a head")
            if self.exact:
                return _malformed(f"a body longer than {self.most:,} bytes")
            return self._too_large()
        if self.parts is None:
            self.parts = [payload]
        else:
            self.parts.append(payload)
        return None

    def end(self) -> AquestsError | None:
        """All of the answer is here: ``x.body`` is set, or it is said what is wrong with it."""
        if self.head is None:
            return _malformed("it ends without a head")
        if self.exact and self.size != self.most:
            return _malformed(f"{self.size:,} bytes where {self.most:,} were promised")
        if self.parts is not None:
            self.x.body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over max_content={self.x.max_content:,} bytes", phase="answer")


def _malformed(why: str) -> ProtocolError:
    return ProtocolError(f"malformed answer: {why}")
