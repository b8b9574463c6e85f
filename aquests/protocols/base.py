"""What wires have in common: the attributes of :class:`~aquests.seam.Wire`, and their end.

``BaseWire`` is for all of them, ``OneAtATime`` for those whose protocol takes no second request before the first
answer. Speaking stays with each wire: nothing here is on the way of a request or an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from ..errors import AquestsError
    from ..exchange import Exchange

NO_EXCHANGES: Final[tuple[Exchange, ...]] = ()
"""Nothing finished, nothing was in flight: the usual outcome of bytes that are only a part."""


class BaseWire:
    """A wire before it has opened: no room, nothing to send, nothing wrong."""

    __slots__ = ("begun", "error", "hungry", "outbox", "reusable", "room")

    lingers: ClassVar[bool] = False

    def __init__(self) -> None:
        self.outbox: list[bytes] = []
        self.room = 0
        self.reusable = True
        self.error: AquestsError | None = None
        self.hungry = False
        self.begun: list[Exchange] = []

    def produce(self) -> Sequence[Exchange]:
        """Nothing is streamed, unless the protocol does."""
        return NO_EXCHANGES

    def goodbye(self) -> None:
        """Closing says all, unless the protocol has words for it."""

    def _retire(self) -> None:
        """The line takes nothing new, and is closed when nothing is in flight any more."""
        self.room = 0
        self.reusable = False

    def _end(self) -> None:
        """The line is gone: nothing is sent on it, and nobody waits for it."""
        self._retire()
        self.hungry = False
        self.outbox.clear()
        self.begun.clear()


class OneAtATime(BaseWire):
    """A wire with one exchange in flight, ``_x``, or none.

    Drivers and workers are such, too: what they send is not our business, so their outbox stays empty.
    """

    __slots__ = ("_x",)

    def __init__(self) -> None:
        super().__init__()
        self._x: Exchange | None = None

    @property
    def inflight(self) -> tuple[Exchange, ...]:
        """The exchange inside, if there is one."""
        return NO_EXCHANGES if self._x is None else (self._x,)

    def opened(self) -> None:
        """There is no greeting: the line takes its first exchange."""
        self.room = 1

    def cancel(self, x: Exchange) -> bool:
        """What was asked cannot be taken back, and its late answer would be the next one's: the line must go."""
        return False

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        """The line is gone: give the exchange back with its error."""
        x, self._x = self._x, None
        self._end()
        if x is None:
            return NO_EXCHANGES
        x.error = error
        return (x,)


def fail(lost: Sequence[Exchange], error: AquestsError) -> Sequence[Exchange]:
    """Give each of them ``error`` as one of its own, which will be told where and after how long it failed."""
    for x in lost:
        x.error = copy(error)
        x.error.__cause__ = error.__cause__
    return lost
