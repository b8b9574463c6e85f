"""A Redis cluster as seen from outside: which node holds which slot, and answers that say "not here" or "not now".

Every key belongs to one of 16,384 slots, and every slot to one node. A node that is asked for another's key says
``MOVED slot host:port``; the request goes there, and the table learns. At the first MOVED the whole table is asked for,
too (CLUSTER SLOTS), so that a redirect is the exception; where that is not permitted, slots are learnt one by one.

What the table says is only where to ask first: the servers decide, and every answer that corrects it is followed.
All these answers say that nothing was executed, so the request may be sent again.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import AquestsError
from ..exchange import Request, Response, Trail
from .rediscommands import arguments, as_bytes, encode, first_key

if TYPE_CHECKING:
    from ..exchange import Exchange

SLOTS: Final = 16384
MAX_HOPS: Final = 5
"""Redirects of one request; a cluster that is whole needs one, a slot on its way to another node two."""
FIRST_WAIT: Final = 0.05
"""Seconds until a server that is not ready is asked again; then twice that, and so on, within the timeout."""
EVERY: Final = 64
LOOKS: Final = 1024
"""At every so many MOVED, so many of the requests that wait are looked at and moved: of 100,000 queued at one of three
nodes 6,800 learnt it by a MOVED of their own, instead of 66,700."""
MAX_TABLE: Final = 16 * 1024 * 1024
"""Bytes of a table, at most."""
_CLUSTER_SLOTS: Final = encode(("CLUSTER", "SLOTS"), ())
ASKING: Final = (("ASKING", ""),)
"""What an exchange carries in ``headers`` to be sent behind an ASKING."""

Node = tuple[str, int]


class Elsewhere(Protocol):
    """How places are found; see ``aquests/elsewhere.py``."""

    def __call__(self, host: str, port: int) -> Any: ...

    def move(self, belongs: Callable[[Any], Any], most: int) -> None: ...

    def ask(self, request: Request, /) -> None: ...


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC16 of what stands between the first ``{`` and the next ``}``, if anything does."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


class Slots:
    """The table of one cluster; shared by all places reached from ``seed``, for which equal ones are the same.

    ``known``: something was learnt. ``asking``: CLUSTER SLOTS is on its way.
    """

    __slots__ = ("_moved", "_nodes", "_whole", "asking", "known", "seed")

    def __init__(self, seed: str):
        self.seed = seed
        self.known = False
        self.asking = False
        self._whole = False
        """The table was read, or cannot be."""
        self._moved = 0
        """How often MOVED was said since the last look at what waits."""
        self._nodes: list[Node | None] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slots) and other.seed == self.seed

    def __hash__(self) -> int:
        return hash(self.seed)

    def node(self, key: bytes) -> Node | None:
        """The node that holds ``key``, as far as is known."""
        return self._nodes[slot_of(key)] if self.known else None

    def learn(self, slot: int, node: Node) -> None:
        """A MOVED: what the table says otherwise is old, and the rest of it may be, too."""
        if not self.known:
            self._nodes = [None] * SLOTS
            self.known = True
        if 0 <= slot < SLOTS:
            old, self._nodes[slot] = self._nodes[slot], node
            if old is not None and old != node:
                self._whole = False

    def wants_look(self) -> bool:
        """Should what waits be looked at now? Asked once for each MOVED."""
        self._moved += 1
        if self._moved < EVERY or self.asking:
            return False
        self._moved = 0
        return True

    def wants_table(self) -> bool:
        """Should CLUSTER SLOTS be asked now?"""
        return not self._whole and not self.asking

    def fill(self, reply: Any, host: str) -> None:
        """Take the answer of CLUSTER SLOTS, asked of ``host``: [[first, last, [host, port, …], …], …]. Odd rows are
        left out."""
        self._whole = True
        if not isinstance(reply, list):
            return
        nodes: list[Node | None] = list(self._nodes) or [None] * SLOTS
        for row in reply:
            try:
                first, last, (where, port) = int(row[0]), int(row[1]), row[2][:2]
                node = (_name(where) or host, int(port))
            except (TypeError, ValueError, IndexError, UnicodeDecodeError):
                continue
            first, last = max(0, first), min(SLOTS - 1, last)
            nodes[first : last + 1] = [node] * max(0, last + 1 - first)
        self._nodes = nodes
        self.known = True


def _name(where: Any) -> str:
    """A host as text; "" where the node does not know its own, and the one that was asked is meant."""
    name = where.decode("ascii") if isinstance(where, bytes) else where
    return "" if name in (None, "?", "") else str(name)


# What becomes of an answer that is an error


def review(x: Exchange, elsewhere: Elsewhere) -> Exchange | None:
    """The next attempt after an answer that is no plain one, or None when it goes to the user."""
    if x.error is None:
        if x.codec is not None:
            x.codec.decode(x)
        return None
    from redis.exceptions import AskError, BusyLoadingError, ClusterDownError, ExecAbortError, TryAgainError

    error = x.error
    if isinstance(error, ExecAbortError):
        error = error.__cause__  # why the first command was refused; none of them was executed
    if isinstance(error, AskError):  # MovedError is one
        return _follow(x, error, elsewhere)
    if isinstance(error, (BusyLoadingError, ClusterDownError, TryAgainError)):  # MasterDownError is a ClusterDownError
        return _wait(x)
    return None


def _follow(x: Exchange, error: Any, elsewhere: Elsewhere) -> Exchange | None:
    from redis.exceptions import MovedError

    trail = x.trail or Trail()
    request = x.request
    assert request is not None
    place = x.endpoint
    host, port = _name(error.host) or place.host or "localhost", error.port
    if len(trail.history) >= MAX_HOPS or not 0 < port < 65536:
        return None
    trail.history.append(Response(x, request))
    again = x.again()
    again.trail = trail
    again.endpoint = elsewhere(host, port)
    again.url = shown_url(again.endpoint)
    if not isinstance(error, MovedError):
        again.headers = ASKING
        return again
    slots = place.options["cluster"]
    slots.learn(error.slot_id, (host, port))
    if slots.wants_table():
        elsewhere.ask(_table(place, slots))
    if slots.wants_look():
        elsewhere.move(lambda item: _belongs(item, place, slots, elsewhere), LOOKS)
    return again


def _table(place: Any, slots: Slots) -> Request:
    """What asks for the whole table, and has it read."""

    def fill(response: Response) -> None:
        slots.asking = False
        if not isinstance(response.error, AquestsError):  # else the next MOVED asks again
            slots.fill(response.data, place.host)

    slots.asking = True
    options = {"max_content": MAX_TABLE}
    return Request("cluster slots", shown_url(place), _CLUSTER_SLOTS, (), "redis", place, fill, None, options)


def _belongs(item: Any, place: Any, slots: Slots, elsewhere: Elsewhere) -> Any:
    """The place of a request that waits; its URL says the same then."""
    key = first_key(*arguments(item.payload))
    node = slots.node(as_bytes(key)) if key is not None else None
    if node is None or node == (place.host, place.port):
        return place
    there = elsewhere(*node)
    item.url = shown_url(there)
    return there


def _wait(x: Exchange) -> Exchange | None:
    trail = x.trail or Trail()
    delay = FIRST_WAIT * 2.0**trail.rounds
    over = x.finished_at + delay
    if over - x.started_at > x.patience or (x.limit and over >= x.limit):
        return None
    again = x.again()
    again.trail = trail
    trail.rounds += 1
    again.headers = x.headers  # behind an ASKING again, if it was so before
    again.delay = delay
    return again


def shown_url(place: Any) -> str:
    """What ``response.url`` says of a place: no password, ever."""
    db = place.options["db"]
    return f"unix://{place.unix}?db={db}" if place.unix else f"{place.scheme}://{place.label}/{db}"
