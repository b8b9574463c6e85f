"""What a review may do about places: find one like its own at another address, move there what waits here, and ask.

A cluster or a replica set says "not here, but there". The request that was told so goes there; behind it thousands
may wait for the same wrong place, and each of them would be told the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .endpoint import Endpoint, Endpoints
    from .exchange import Request
    from .queue import Queue


class Elsewhere:
    """``elsewhere(host, port)`` is the same kind of place as ``place`` at another address.

    ``ask(request)`` queues a request of our own in front of the others: it is answered to its callback.
    """

    __slots__ = ("_endpoints", "_place", "_queue", "ask")

    def __init__(self, endpoints: Endpoints, queue: Queue, place: Endpoint, ask: Callable[[Request], None]):
        self._endpoints = endpoints
        self._queue = queue
        self._place = place
        self.ask = ask

    def __call__(self, host: str, port: int) -> Endpoint:
        place = self._place
        return self._endpoints.intern(place.scheme, host, port, None, place.options)

    def move(self, belongs: Callable[[Any], Endpoint], most: int) -> None:
        """Look at the next ``most`` that wait for this place: ``belongs(item)`` says where each should be."""
        place, queue = self._place, self._queue
        items = [queue.take(place) for _ in range(min(most, len(place.waiting)))]
        for item in reversed(items):
            item.endpoint = belongs(item)
            queue.put_back(item, item.endpoint)
