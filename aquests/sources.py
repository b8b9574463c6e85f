"""Lazy sources of requests: iterables that are advanced only as workers come free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .errors import RequestError

if TYPE_CHECKING:
    from .queue import Queue


class Sources(deque[Iterator[Any]]):
    """The sources of a run, one after the other. Empty is false, at no cost: the hot path asks."""

    __slots__ = ()

    def draw(
        self, queue: Queue, wanted: int, take: Callable[[Any], object], failed: Callable[[Exception], None]
    ) -> None:
        """Advance until ``wanted`` requests are queued, or nothing is left.

        ``take(item)`` gets what is yielded, but for None. A source that raises is told to ``failed`` and dropped; one
        that queued or yielded what cannot be sent (RequestError) is told, too, and goes on.
        """
        while self and queue.size < wanted:
            try:
                for item in self[0]:
                    if item is not None:
                        take(item)
                    if queue.size >= wanted:
                        return
                self.popleft()
            except Exception as error:
                failed(error)
                if not isinstance(error, RequestError):
                    self.popleft()


def faceless(item: Any) -> None:
    """``take`` of an engine without a face."""
    raise RequestError("this engine has no face that could take what a source yields")
