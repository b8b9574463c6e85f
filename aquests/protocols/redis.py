"""Redis as a wire (RESP3, or RESP2 where the server knows no better): pipelined, answers in the order of the questions.

What could go wrong, and what was chosen:

- Answers carry no number: one too many or too few, and everybody behind gets his neighbour's. So a command
  with any other number of answers than one is refused or counted, and a request that is given up while its
  answer may still come leaves its place in the row: the late answer is swallowed there.
- A server that stalls would collect such places. A line where nobody is left who waits, or that has collected
  ``MAX_SWALLOWED``, is given up.
- The parser is hiredis. It cannot tell a set from a list, so the command decides; and it takes attributes
  (``|``) for answers. Redis sends these only to clients that ask for them, which is refused.
- An error is an answer, and the line goes on. "Not here" and "not now" are looked at by ``review``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import hiredis
from redis.exceptions import ResponseError

from ..errors import AquestsError, ConnectError, PeerClosed, ProtocolError, TooLarge, TransportError
from ..exchange import Exchange, Status
from .base import NO_EXCHANGES, BaseWire, fail
from .rediscluster import review
from .rediscommands import encode
from .redisgreeting import MISSING, Greeting, Server

__all__ = ["Redis", "lines", "review"]

LANE: Final = "REDIS"
ANSWERED: Final = {version: Status(200, "OK", LANE, str(version)) for version in (2, 3)}
FAILED: Final = {version: Status(500, "Database Error", LANE, str(version)) for version in (2, 3)}

MAX_SWALLOWED: Final = 16
"""Places on a line that wait for an answer nobody wants any more."""
OVERHEAD: Final = 24
"""Bytes around a string on the wire, at most: with more than ``max_content`` and these it is too large for certain."""
MAX_OWN: Final = 16 * 1024 * 1024
"""Bytes of an answer to the wire itself: the handshake."""

_PLAIN: Final = frozenset((bytes, str, int, float, bool, list, dict, type(None)))
"""What hiredis makes of an answer that is neither an error nor pushed."""
_UNREADABLE: Final = (hiredis.HiredisError, MemoryError, TypeError)
"""What hiredis raises; TypeError for a map with a key that Python cannot hash."""
_PUSHED: Final = hiredis.PushNotification
_ASKING: Final = encode(("ASKING",), ())


def lines(place: Any, prefix: str, extra: Any, settings: Any) -> Callable[[str | None], Redis]:
    """What makes the wires of lines to ``place`` (an Endpoint); see :class:`Server` for its options."""
    server = Server(place.options)
    return lambda alpn: Redis(server)


class _Place:
    """A place in the row of answers that is not simply an exchange's.

    ``left`` answers are still to come, then ``finish(place)`` is called. ``x``: whose they are, if anybody's.
    """

    __slots__ = ("finish", "left", "limit", "replies", "x")

    def __init__(self, x: Exchange | None, left: int, finish: Callable[[_Place], None], limit: int):
        self.x = x
        self.left = left
        self.finish = finish
        self.limit = limit
        self.replies: list[Any] = []


class Redis(BaseWire):
    """The client side of one line."""

    __slots__ = (
        "_answered",
        "_asked",
        "_failed",
        "_feed",
        "_gets",
        "_greeting",
        "_has_data",
        "_odd",
        "_pending",
        "_server",
        "_swallowed",
    )

    def __init__(self, server: Server):
        super().__init__()
        self._server = server
        reader = server.reader()
        self._feed, self._gets, self._has_data = reader.feed, reader.gets, reader.has_data
        self._asked: deque[Any] = deque()
        """Whose answer comes next: an exchange, or a _Place."""
        self._odd = 0
        """How many of them are places."""
        self._swallowed = 0
        """How many of the places are nobody's any more."""
        self._greeting: Greeting | None = None
        """The handshake, as long as it lasts."""
        self._pending = 0
        """Bytes of an answer that is not complete, as far as they are known to be its own."""
        self._answered: Status
        self._failed: Status

    @property
    def inflight(self) -> Collection[Exchange]:
        if not self._odd:
            return self._asked
        places = (item if item.__class__ is Exchange else item.x for item in self._asked)
        return [x for x in places if x is not None]

    def opened(self) -> None:
        self._greeting = Greeting(self._server, self.outbox)

    def _greet(self, greeting: Greeting, reply: Any) -> None:
        """An answer to the handshake; behind the last one there is room."""
        greeting.take(reply)
        if greeting.done:
            self._greeting = None
            if greeting.error is not None:
                self._die(greeting.error)
                return
            protocol = self._server.protocol
            self._answered, self._failed = ANSWERED[protocol], FAILED[protocol]
            self.room = self._server.most

    # Out

    def submit(self, x: Exchange) -> None:
        payload = x.payload
        if payload.__class__ is bytes and not x.headers:
            self.outbox.append(payload)
            self._asked.append(x)
        else:
            self._submit_odd(x, payload)
        self.room -= 1

    def _submit_odd(self, x: Exchange, payload: Any) -> None:
        """A transaction, or anything behind an ASKING."""
        asking = bool(x.headers)
        if asking:
            self.outbox.append(_ASKING)
        if payload.__class__ is bytes:
            self.outbox.append(payload)
            self._put(_Place(x, 1 + asking, self._finish_asked, x.max_content))
        else:
            self.outbox.append(payload.data)
            self._put(_Place(x, payload.count + 2 + asking, self._finish_transaction, x.max_content))

    def _put(self, place: _Place) -> None:
        self._asked.append(place)
        self._odd += 1

    # In

    def receive(self, data: bytes) -> Sequence[Exchange]:
        """The hot path: a string alone, which is all that came, and all that was asked for."""
        feed, gets, has_data = self._feed, self._gets, self._has_data  # a call of a slot's content takes the slow way
        try:
            feed(data)
            reply = gets()
        except _UNREADABLE as error:
            self._broken(data, error)
            return NO_EXCHANGES
        asked = self._asked
        if reply.__class__ is bytes and len(asked) == 1 and not has_data():
            x = asked.popleft()
            if x.__class__ is Exchange and len(reply) <= x.max_content:
                x.head = self._answered
                x.data = reply
                self.room += 1
                self._pending = 0
                return [x]
            asked.append(x)
        return self._receive_all(data, reply)

    def _receive_all(self, data: bytes, reply: Any) -> Sequence[Exchange]:
        """``reply``, and those behind it. Hot when pipelined: in the loop the first branch, what is no error."""
        asked = self._asked
        gets = self._gets
        finished: list[Exchange] = []
        took = False
        try:
            while reply is not MISSING:
                kind = reply.__class__
                if kind in _PLAIN and asked and asked[0].__class__ is Exchange:
                    x = asked.popleft()
                    if (kind is bytes or kind is str) and len(reply) > x.max_content:
                        self._too_large(x, finished)
                        return finished
                    x.head = self._answered
                    x.data = reply
                    finished.append(x)
                else:
                    took = True
                    if kind is not _PUSHED and not self._take(reply, finished):
                        return finished
                reply = gets()
        except _UNREADABLE as error:
            self._broken(data, error)
            return finished
        self.room += len(finished)
        took = took or bool(finished)
        self._pending = 0 if took else self._pending + len(data)
        if asked:
            self._look_ahead(len(data), took, finished)
        elif self._pending > MAX_OWN:
            self._die(ProtocolError("an answer without end to what nobody asked", first=data[:64]))
        return finished

    def _take(self, reply: Any, finished: list[Exchange]) -> bool:
        """An answer off the hot path; False if it was the end of the line."""
        asked = self._asked
        if self._greeting is not None:
            self._greet(self._greeting, reply)
        elif not asked:
            self._die(ProtocolError("an answer that nobody asked for"))
        elif asked[0].__class__ is Exchange:
            x = asked.popleft()
            self._answer(x, reply)
            finished.append(x)
        else:
            place = asked[0]
            place.left -= 1
            place.replies.append(reply if place.x is not None or not place.left else None)
            if not place.left:
                asked.popleft()
                self._odd -= 1
                place.finish(place)
                if place.x is not None:
                    finished.append(place.x)
        return self.error is None

    def _answer(self, x: Exchange, reply: Any) -> None:
        if isinstance(reply, Exception):
            x.head = self._failed
            x.error = reply
        else:
            x.head = self._answered
            x.data = reply

    def _look_ahead(self, nbytes: int, took: bool, finished: list[Exchange]) -> None:
        """Has the next answer begun, and is it too large already?"""
        head = self._asked[0]
        odd = head.__class__ is not Exchange
        x = head.x if odd else head
        if self._pending > (head.limit if odd else head.max_content) + OVERHEAD:
            self._asked.popleft()
            self._odd -= odd
            self._too_large(x, finished)
        elif x is not None and (not took or (odd and head.replies) or self._has_data()):
            if not x.progress:
                self.begun.append(x)
            x.progress += nbytes

    # Places

    def _finish_asked(self, place: _Place) -> None:
        """Behind an ASKING, whose own answer says nothing."""
        assert place.x is not None
        self._answer(place.x, place.replies[-1])

    def _finish_transaction(self, place: _Place) -> None:
        x = place.x
        assert x is not None
        count = x.payload.count
        multi, queued, reply = place.replies[-count - 2], place.replies[-count - 1 : -1], place.replies[-1]
        ran: list[Any] | None = None
        if isinstance(multi, Exception):
            reply = multi
            if not all(isinstance(one, Exception) for one in queued):
                # EXEC was refused as well, but what stood before it has run: that must not look like "not now".
                ran = queued
                reply = ResponseError(f"MULTI was refused, and the commands ran one by one: {multi}")
                reply.__cause__ = multi
        elif isinstance(reply, Exception):
            reply.__cause__ = next((one for one in queued if isinstance(one, Exception)), None)
        self._answer(x, reply)
        if ran is not None:
            x.data = ran

    def _finish_swallowed(self, place: _Place) -> None:
        self._swallowed -= 1
        self.room += 1

    # The end

    def _too_large(self, x: Exchange | None, finished: list[Exchange]) -> None:
        """The rest of this answer would have to be read through: the line is given up."""
        self._die(TransportError("the line was given up: an answer on it was too large", phase="answer"))
        if x is not None:
            x.error = TooLarge(f"the answer is over max_content={x.max_content:,} bytes", phase="answer")
            finished.append(x)

    def _broken(self, data: bytes, error: Exception) -> None:
        first = data[:64] if self._greeting is None else b""  # a server may repeat the password it was told
        fault = ProtocolError(f"not an answer of Redis: {str(error) or 'too many elements'}", first=first)
        fault.__cause__ = error
        self._die(fault)

    def _die(self, error: AquestsError) -> None:
        self.error = error
        self._retire()
        self.outbox.clear()

    def receive_eof(self) -> Sequence[Exchange]:
        if self._greeting is not None:
            self._die(ConnectError("the server closed the line during the handshake", phase="connect"))
        return self.abandon(PeerClosed("the server closed the line before the answer was complete", phase="answer"))

    def cancel(self, x: Exchange) -> bool:
        """Leave a place that swallows the late answer; False if nobody else waits here.

        So a command that blocks, alone on its line, ends with it, and no element is popped for nobody.
        """
        if self._swallowed >= MAX_SWALLOWED or len(self.inflight) < 2:
            return False
        for number, item in enumerate(self._asked):
            if item is x:
                self._asked[number] = _Place(None, 1, self._finish_swallowed, x.max_content)
                self._odd += 1
                break
            if item.__class__ is _Place and item.x is x:
                item.x = None
                item.finish = self._finish_swallowed
                break
        self._swallowed += 1
        return True

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        lost = list(self.inflight)
        self._asked.clear()
        self._greeting = None
        self._odd = self._swallowed = 0
        self._end()
        return fail(lost, error)
