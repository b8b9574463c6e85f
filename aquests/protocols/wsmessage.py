"""The plain message of a WebSocket: small, text or binary, one reply. Nearly all are, so theirs is a short way.

It is framed where it is queued; a line only masks it. Frame and mask are two long numbers then: the key, times a number
that repeats it, falls on the place that is left for it and on all of the data behind. ``benchmarks/websocket.py``.
"""

from __future__ import annotations

from typing import Final

from ..errors import RequestError

MAX_PLAIN: Final = 125
"""Bytes of a message whose length stands in the second byte of the frame (RFC 6455 5.2)."""
START: Final = 6
"""Bytes of a small frame ahead of its data: two of head, four of the key."""

REPEAT: Final = sum(1 << 8 * at for at in range(2, START + MAX_PLAIN, 4))
"""Times a key: the key at each four bytes of a frame, behind the head."""
BITS: Final = tuple([(1 << 8 * size) - 1 for size in range(START + MAX_PLAIN + 1)])
"""By the size of a frame: all of its bits, to cut off what the last key has too many."""


def _starts(first: int) -> tuple[bytes, ...]:
    return tuple([bytes((first, 0x80 | size, 0, 0, 0, 0)) for size in range(MAX_PLAIN + 1)])


TEXT_STARTS: Final = _starts(0x81)
BINARY_STARTS: Final = _starts(0x82)
"""By the number of bytes: what stands ahead of a whole message, with a key of zeros."""


class Once:
    """The payload of a request that is not sent again by itself: a server counts the messages it gets."""

    __slots__ = ("sent",)

    sent: bool
    """Bytes of it may have reached the server."""

    def rewind(self) -> None:
        """Raises RequestError if it has been sent: a message is not repeated behind its author's back."""
        if self.sent:
            raise RequestError("a message that may have been received is not sent twice")


class Plain(Once):
    """A text or binary message of at most ``MAX_PLAIN`` bytes that waits for one reply.

    ``frame`` is what goes out, with a key of zeros. The rest is as in ``wsframes.Messages``.
    """

    __slots__ = ("frame",)

    replies: Final = 1
    pings: Final[frozenset[bytes]] = frozenset()

    def __init__(self, frame: bytes):
        self.frame = frame
        self.sent = False

    @property
    def items(self) -> tuple[tuple[int, bytes]]:
        """Opcode and data."""
        return ((self.frame[0] & 0x0F, self.frame[START:]),)

    @property
    def size(self) -> int:
        return len(self.frame)
