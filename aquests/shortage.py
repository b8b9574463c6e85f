"""A place that takes no more lines, or a system that gives no more descriptors: requests wait for better times.

Neither is a failure of the request that met it: it goes back to its place in the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from .retry import exhausted_descriptors

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .errors import AquestsError
    from .exchange import Exchange
    from .lib.loop import Loop
    from .queue import Queue
    from .seam import Line

PAUSE: Final = 0.05
"""Seconds until dialling is tried again when the descriptors are exhausted and no line has ended."""


class Shortage:
    """``lines`` and ``idle`` are the engine's own tables; ``warn(text)`` is told once of each place that is crowded."""

    __slots__ = ("_idle", "_lines", "_loop", "_queue", "_since", "_told", "_warn", "dialling_waits")

    def __init__(
        self,
        loop: Loop,
        queue: Queue,
        lines: Collection[Line],
        idle: Collection[Line],
        warn: Callable[[str], None],
    ):
        self._loop = loop
        self._queue = queue
        self._lines = lines
        self._idle = idle
        self._warn = warn
        self._told: WeakSet[Endpoint] = WeakSet()
        self._since = 0.0
        self.dialling_waits = False
        """No descriptor is left."""

    def bridges(self, x: Exchange, error: AquestsError) -> bool:
        """Was it a shortage that a line was not made for? Then ``x`` is queued again."""
        if exhausted_descriptors(error) and self._wait_for_descriptors(x):
            return True
        return error.crowded and self._make_do(x, error)

    def ease(self) -> None:
        """A line has ended: its descriptor is free."""
        self.dialling_waits = False

    def end(self) -> None:
        """A line was made."""
        self._since = 0.0

    def _make_do(self, x: Exchange, error: AquestsError) -> bool:
        """The place takes no more lines now: go on with those it has given, or ask for one, again and again."""
        place, now = x.endpoint, self._loop.now
        if place.lines and place not in self._told:
            self._told.add(place)
            self._warn(
                f"{place.label} takes no more than {place.lines} lines now; the run goes on with those: {error.message}"
            )
        pauses = place.refused(now, x.patience)
        for pause in pauses:
            self._loop.at(now + pause, lambda: self._queue.welcome(place))
        if pauses:
            self._queue.put_back(x.again(), place)
        return bool(pauses)

    def _wait_for_descriptors(self, x: Exchange) -> bool:
        """The request waits for a line to end. False once that took too long."""
        now = self._loop.now
        self._since = self._since or now
        if not self._lines and now - self._since > x.patience:
            return False
        self._queue.put_back(x.again(), x.endpoint)
        if self._idle:
            next(iter(self._idle)).close()  # its descriptor is worth more here
        elif not self.dialling_waits:
            self.dialling_waits = True
            self._loop.at(now + PAUSE, self.ease)
        return True
