"""Deadlines by sweep: a look at all that is in flight four times a second, instead of a timer a request.

A heap entry for each request would cost 0.6 to 0.9 µs; a sweep costs the hot path nothing, and a timeout comes late
by an eighth of its length at most.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .dial import Dial
    from .exchange import Exchange
    from .lib.loop import Loop, Timer
    from .seam import Line

EVERY: Final = 0.25
"""Seconds between two looks, at most."""
FINEST: Final = 0.01
"""Seconds between two looks, at least."""


class Sweep:
    """Looks at dials and busy channels (the engine's own tables); ``expire(channel, x, now)`` ends what is overdue."""

    __slots__ = ("_channels", "_dials", "_every", "_expire", "_idle", "_loop", "_planned", "_timer")

    def __init__(
        self,
        loop: Loop,
        dials: Collection[Dial],
        channels: Collection[Line],
        idle: Collection[Line],
        expire: Callable[[Line, Exchange, float], None],
    ):
        self._loop = loop
        self._dials = dials
        self._channels = channels
        self._idle = idle
        self._expire = expire
        self._every = EVERY
        self._planned = False
        self._timer: Timer | None = None

    def note(self, seconds: float) -> None:
        """A timeout of so many seconds is about: short ones need a finer sweep."""
        every = max(FINEST, seconds / 8)
        if every < self._every:
            self._every = every
            if self._planned and self._timer is not None:  # the next look would come too late
                self._timer.cancel()
                self._timer = self._loop.at(self._loop.now + every, self._look)

    def begin(self) -> None:
        """Something is in flight now: look at it, again and again until nothing is."""
        if not self._planned:
            self._planned = True
            self._timer = self._loop.at(self._loop.now + self._every, self._look)

    def _look(self) -> None:
        """End what takes too long. Walks copies: callbacks open and close lines meanwhile."""
        self._planned = False
        now = self._loop.now
        try:
            for dial in tuple(self._dials):
                dial.check(now)
            for channel in tuple(self._channels):
                if channel not in self._idle:
                    self._look_at(channel, now)
        finally:  # whatever one of them raised: the others have deadlines, too
            if self._dials or len(self._channels) > len(self._idle):
                self.begin()

    def _look_at(self, channel: Line, now: float) -> None:
        for x in tuple(channel.inflight):
            # What the peer takes of a long upload is progress, too.
            moved = x.progress + channel.bytes_sent if channel.blocked else x.progress
            if moved != x.mark:
                x.mark = moved
                x.deadline = min(now + x.patience, x.limit or now + x.patience)
            if now >= x.deadline and channel.phase == "open":
                self._expire(channel, x, now)
