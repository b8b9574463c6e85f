"""The servers behind a MongoDB URI: who is the primary, who is dead, and what becomes of a request that was in vain.

A request is queued for the primary as far as it is known. What may go wrong there, and what follows:

- The line cannot be made (refused, timed out, no MongoDB, another replica set): nothing was sent. The next host is
  asked, and what waits for the dead one goes there, too.
- The server says that it is no primary: nothing was executed. The primary that ``hello`` named is asked, else one host
  after the other. During an election nobody is: the search goes on, with pauses, for the request's timeout.
- The line broke, or the answer did not come: the request may have been executed. Reads go to the next host, once;
  anything else fails. The same holds for a server that says that it is stepping down or shutting down.

Only the server that opened a cursor can go on with it: what is about a cursor goes nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakValueDictionary

from ..errors import AquestsError, Cancelled, ConnectError, RequestError, TimedOut, TransportError
from ..exchange import Trail

if TYPE_CHECKING:
    from ..exchange import Exchange

Address = tuple[str, int]
MAX_CURSORS: Final = 10_000
REST: Final = 5.0
"""Seconds a dead host is left alone while a primary is searched among the living."""
REVIVAL: Final = 30.0
"""Seconds until a dead host is thought of again for reads that anybody may answer."""
FIRST_PAUSE: Final = 0.05
LAST_PAUSE: Final = 1.0
"""Seconds between two questions for the primary: at first, then twice as long each time all were asked."""
NO_PRIMARY: Final = "is no primary"
MOVED: Final = 100_000
"""Requests that wait for a dead host and are moved at once: 0.1 s. Each failure moves as many."""


class AccessRefused(ConnectError):
    """The server does not let us in. Its companions know the same passwords: they are not asked."""


class Elsewhere(Protocol):
    """How places are found; see ``aquests/elsewhere.py``."""

    def __call__(self, host: str, port: int) -> Any: ...

    def move(self, belongs: Callable[[Any], Any], most: int) -> None: ...


class Topology:
    """What is known of the servers behind a URI; shared by all stubs for them, and their lines.

    ``primary`` is where requests are queued: the address that said so last, else a guess. ``several``: there are others
    to go to. ``cursors`` maps a kept cursor to (collection, address).
    """

    def __init__(self, hosts: Sequence[Address], replica_set: str | None):
        self.hosts = list(hosts)
        self.replica_set = replica_set
        self.several = replica_set is not None or len(hosts) > 1
        self.primary: Address = self.hosts[0]
        self.cursors: dict[int, tuple[str, Address]] = {}
        self._seeds = list(hosts)
        self._turn = 0
        self._lost: dict[Address, float] = {}

    def keep(self, cursor_id: int, collection: str, address: Address) -> None:
        """Remember where a kept cursor lives."""
        while len(self.cursors) >= MAX_CURSORS:
            del self.cursors[next(iter(self.cursors))]
        self.cursors[cursor_id] = (collection, address)

    def learn(self, address: Address, hello: Mapping[str, Any]) -> None:
        """What a server says of itself and of its companions. Raises ConnectError if it belongs to others."""
        name = hello.get("setName")
        if self.replica_set is not None and name != self.replica_set:
            words = f"the server belongs to the replica set {name!r}, not {self.replica_set!r}"
            raise ConnectError(words, phase="connect")
        self._lost.pop(address, None)
        if not self.several:
            return
        if isinstance(name, str):
            self.replica_set = name
            named = [address_of(host) for host in (*(hello.get("hosts") or ()), *(hello.get("passives") or ()))]
            self.hosts = named + [seed for seed in self._seeds if seed not in named]
        if hello.get("isWritablePrimary") or hello.get("ismaster"):
            self.primary = address
        elif isinstance(name, str) and isinstance(hello.get("primary"), str):
            primary = address_of(hello["primary"])
            if primary not in self._lost:  # it may not know yet
                self.primary = primary

    def reader(self, now: float, *, any_of_them: bool) -> Address:
        """Where the next read goes that need not go to the primary: to the living in turn, it among them or not."""
        primary, lost = self.primary, self._lost
        living = [host for host in self.hosts if any_of_them or host != primary]
        if lost:
            living = [host for host in living if now - lost.get(host, now - 2 * REVIVAL) > REVIVAL]
        if not living:
            return primary
        self._turn = (self._turn + 1) % len(living)
        return living[self._turn]

    def lose(self, address: Address, now: float) -> None:
        """No line to this host could be made."""
        self._lost[address] = now

    def untried(self, tried: Container[str]) -> Address | None:
        """The best host that is not among ``tried`` labels: the primary, then the living, then the longest dead."""
        left = [host for host in (self.primary, *self.hosts) if label(host) not in tried]
        return min(left, key=lambda host: self._lost.get(host, 0.0), default=None)

    def after(self, address: Address, now: float) -> Address:
        """The host to ask for the primary when ``address`` is none: round and round, without those just lost."""
        if self.primary != address and self.primary not in self._lost:
            return self.primary
        at = self.hosts.index(address) + 1 if address in self.hosts else 0
        circle = self.hosts[at:] + self.hosts[:at]
        return next((host for host in circle if now - self._lost.get(host, now - 2 * REST) > REST), address)


_topologies: WeakValueDictionary[tuple[Any, ...], Topology] = WeakValueDictionary()
"""By hosts and replica set, as they were named: equal stubs share their lines."""


def topology_of(hosts: Sequence[Address], replica_set: str | None) -> Topology:
    """The one topology for these, as long as anybody uses it."""
    key = (*hosts, replica_set)
    found = _topologies.get(key)
    if found is None:
        found = _topologies[key] = Topology(hosts, replica_set)
    return found


def address_of(text: str) -> Address:
    """``host:port`` as ``hello`` writes it, IPv6 in brackets. Raises ValueError for a port that cannot be."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        return text.lower(), 27017
    if not 0 < int(port) < 65536:
        raise ValueError(f"port {port:.20}")
    return host.strip("[]").lower(), int(port)


def label(address: Address) -> str:
    """``host:port`` for messages and URLs."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown_url(address: Address, database: str) -> str:
    """What ``response.url`` says: no password, ever."""
    return f"mongodb://{label(address)}/{database}"


def review(x: Exchange, elsewhere: Elsewhere) -> Exchange | None:
    """The next attempt at another host, after a failure or a server that is no primary; None: it goes to the user."""
    topology: Topology = x.endpoint.options["topology"]
    if not topology.several or x.payload.cursor is not None:
        return None
    here = (x.endpoint.host, x.endpoint.port)
    failure = x.error if isinstance(x.error, AquestsError) else None
    if failure is None and not (x.head is not None and x.head.special):
        return None  # it was executed, or refused for another reason
    trail = x.trail or Trail()
    if failure is not None and not _may_move(x, failure, trail):
        return None
    if x.untouched:
        topology.lose(here, x.finished_at)
    trail.visited = [pair for pair in trail.visited if pair[0] != label(here)]
    trail.visited.append((label(here), failure.message if failure is not None else NO_PRIMARY))
    trail.rounds += 1
    there, pause = topology.untried([where for where, _ in trail.visited]), 0.0
    if there is None:
        there, pause = topology.after(here, x.finished_at), _pause(trail, topology)
        if not _searches(x, trail, pause):
            if failure is not None:
                x.error = _nobody(trail, failure)
            return None
    return _moved(x, trail, there, pause, elsewhere)


def _may_move(x: Exchange, failure: AquestsError, trail: Trail) -> bool:
    """Is it safe to ask somebody else, and of any use?"""
    if isinstance(failure, (RequestError, Cancelled, AccessRefused)) or failure.phase == "total":
        return False
    if x.untouched:
        return True
    if trail.fresh or not x.payload.reads or not isinstance(failure, (TransportError, TimedOut)):
        return False
    trail.fresh = True
    return True


def _searches(x: Exchange, trail: Trail, pause: float) -> bool:
    """Everybody was asked. Is it worth while to ask again: does anybody live, and is there time?"""
    if all(reason != NO_PRIMARY for _, reason in trail.visited):
        return False
    over = x.finished_at + pause
    return over - x.started_at <= x.patience and not (x.limit and over >= x.limit)


def _pause(trail: Trail, topology: Topology) -> float:
    times = max(0, min(10, trail.rounds // len(topology.hosts) - 1))
    return min(LAST_PAUSE, FIRST_PAUSE * 2.0**times)


def _nobody(trail: Trail, failure: AquestsError) -> AquestsError:
    """The failure when all were asked: it names them."""
    if len(trail.visited) == 1:
        return failure
    told = ", ".join(f"{where} ({reason})" for where, reason in trail.visited)
    error = ConnectError(f"none of {len(trail.visited)} hosts can be used: {told}", phase="connect")
    error.__cause__ = failure.with_traceback(None)
    error.after = failure.after
    return error


def _moved(x: Exchange, trail: Trail, there: Address, pause: float, elsewhere: Elsewhere) -> Exchange:
    """The next attempt; what waits for a dead host, or for one that is not the primary, comes with it."""
    here = x.endpoint
    topology: Topology = here.options["topology"]
    place, url = elsewhere(*there), shown_url(there, here.options["database"])

    def belongs(item: Any) -> Any:
        if item.payload.cursor is not None:
            return here
        item.url = url
        return place

    told = not isinstance(x.error, AquestsError)
    if x.untouched or (told and topology.primary == there):
        elsewhere.move(belongs, MOVED)
    if (x.untouched or told) and topology.primary == (here.host, here.port):
        topology.primary = there  # a guess, as long as nobody says so
    again = x.again()
    again.trail = trail
    again.endpoint = place
    again.url = url
    again.delay = pause
    return again
