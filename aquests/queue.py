"""The global queue: one waiting line per endpoint, one order over all of them.

A worker that finished at a place takes the next request for the same place at once (``popleft``
of its endpoint, no look at the order). The order is looked at only when a worker must choose a
place: it is a heap with one entry per endpoint that has work, by the key of its first request.
``endpoint.listed`` is the key in its entry; other entries are void, and dropped when they surface. The
key may be stale, but only ever too small, so it is corrected when it surfaces.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from itertools import count
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .endpoint import Endpoint, Endpoints


_NUMBER: Final = attrgetter("req_id")


class Fifo(deque[Any]):
    """In the order they were queued: the key is the request's number."""

    __slots__ = ()

    def key(self) -> float:
        return self[0].req_id  # type: ignore[no-any-return]

    def begins_with(self, item: Any, /) -> bool:
        return self[0] is item

    def put_back(self, item: Any) -> None:
        """Where it was: all that a line carried may come back at once.

        It is looked for from the front, in steps that double: that is where it mostly is, and the middle of a long
        deque is far.
        """
        number, reach = item.req_id, 1
        while reach < len(self) and self[reach].req_id < number:
            reach *= 2
        self.insert(bisect_left(self, number, reach // 2, min(reach, len(self)), key=_NUMBER), item)


class Draw:
    """What all :class:`Shuffled` of one queue share: the source of chance, and the greatest key taken so far."""

    __slots__ = ("random", "reached", "turns")

    def __init__(self, random: Random):
        self.random = random
        self.reached = 0.0
        self.turns = count()
        """So that no two entries are equal: requests asked aside have one number, and cannot be compared."""


class Shuffled:
    """In random order: whoever waits is the next one with equal chance, however long it has waited.

    With a key drawn evenly when it is queued that would not hold: the small keys leave, those who
    stay have large ones, and the newest is nearly always the first. So a key is the last one taken plus an
    exponential draw, which has no memory: what is left of the older keys is distributed just like a new one.
    """

    __slots__ = ("_draw", "_heap", "_reached")

    def __init__(self, draw: Draw):
        self._draw = draw
        self._reached = 0.0
        self._heap: list[tuple[float, int, int, Any]] = []

    def append(self, item: Any) -> None:
        heap, draw = self._heap, self._draw
        # A place that is behind the others has its own beginning: the newest would be the last there.
        start = self._reached if heap and heap[0][0] < draw.reached else draw.reached
        heappush(heap, (start + draw.random.expovariate(1.0), item.req_id, next(draw.turns), item))

    def put_back(self, item: Any) -> None:
        heappush(self._heap, (-1.0, item.req_id, next(self._draw.turns), item))

    def popleft(self) -> Any:
        key, _, _, item = heappop(self._heap)
        self._reached = max(self._reached, key)
        self._draw.reached = max(self._draw.reached, key)
        return item

    def key(self) -> float:
        return self._heap[0][0]

    def begins_with(self, item: Any, /) -> bool:
        return self._heap[0][3] is item

    def __len__(self) -> int:
        return len(self._heap)


class Queue:
    """What waits, over all endpoints. ``size`` counts it."""

    def __init__(self) -> None:
        self.size = 0
        self.order: list[tuple[float, int, Endpoint]] = []

    def put(self, item: Any, endpoint: Endpoint) -> None:
        """Queue at the end (or at a random place). ``item`` has ``req_id``."""
        waiting = endpoint.waiting
        waiting.append(item)
        self.size += 1
        if endpoint.listed is None or (waiting.__class__ is not Fifo and waiting.begins_with(item)):
            self.enlist(endpoint)

    def put_back(self, item: Any, endpoint: Endpoint) -> None:
        """Queue where it was: it had its turn before."""
        endpoint.waiting.put_back(item)
        self.size += 1
        self.enlist(endpoint)

    def enlist(self, endpoint: Endpoint) -> None:
        """Put the endpoint into the order, by the key of its first request."""
        key = endpoint.waiting.key()
        if endpoint.listed != key:
            endpoint.listed = key
            heappush(self.order, (key, endpoint.number, endpoint))

    def set_aside(self, endpoint: Endpoint) -> None:
        """Take the first endpoint out of the order, although it has work; ``enlist`` brings it back."""
        endpoint.listed = None
        heappop(self.order)

    def welcome(self, endpoint: Endpoint) -> None:
        """It may take lines again: bring it back if it was set aside."""
        endpoint.welcome()
        if endpoint.waiting and not endpoint.listed:
            self.enlist(endpoint)

    def take(self, endpoint: Endpoint) -> Any:
        """The next one for this endpoint, which must have one."""
        self.size -= 1
        return endpoint.waiting.popleft()

    def first(self) -> Endpoint | None:
        """The endpoint whose turn it is: that of the request at the head of the whole queue."""
        order = self.order
        while order:
            key, number, endpoint = order[0]
            if key != endpoint.listed:
                heappop(order)
            elif not endpoint.waiting:
                endpoint.listed = None
                heappop(order)
            elif key == (true_key := endpoint.waiting.key()):
                return endpoint
            else:
                endpoint.listed = true_key
                heapreplace(order, (true_key, number, endpoint))
        return None


def rearrange(queue: Queue, endpoints: Endpoints, qrandom: bool) -> None:
    """The same work in random order, or in order again; ``endpoints`` keep what comes later in the same way.

    In place: this happens in callbacks and lazy sources, too, while the engine holds on to its queue.
    """
    draw = Draw(Random())
    make: Callable[[], Any] = (lambda: Shuffled(draw)) if qrandom else Fifo
    endpoints.make_waiting = make
    queued = []
    for endpoint in endpoints:
        while endpoint.waiting:
            queued.append((queue.take(endpoint), endpoint))
        endpoint.waiting = make()
        endpoint.listed = None
    queue.order.clear()
    for item, endpoint in sorted(queued, key=lambda pair: pair[0].req_id):
        queue.put(item, endpoint)
