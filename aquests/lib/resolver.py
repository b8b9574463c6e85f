"""Names to addresses without blocking the loop: getaddrinfo in a few threads, behind a cache.

getaddrinfo is the only resolver that respects the hosts file, the search list and whatever else
the machine is configured with, and it blocks: for seconds when a name server is silent, and
nothing can interrupt it. So it runs in daemon threads, which are started when needed, end when
idle, and do not hold up the exit of the program even if they hang. When all of them hang,
look-ups queue; how long that may take is the dial's business, which has the deadline.

What is known needs no thread: ``lookup`` answers at once for IP addresses and cached names, so
that a dial goes on in the same step. ``resolve`` is for the rest and reports by the loop.

Decided:

- No AI_ADDRCONFIG: it hides ``::1`` on machines whose only IPv6 address it is, so that
  ``localhost`` would not reach a server that listens there. The price is addresses of a family
  without a route; connecting to those fails at once, and the dial takes the next.
- What does not exist is remembered for ``negative_ttl``. A name server that did not answer
  (EAI_AGAIN) is asked once more, and then remembered for a second at most: long enough that a
  thousand waiting requests do not ask a thousand times, short enough to recover with the network.
- A waiting ``done`` cannot be taken back. A dial that died meanwhile ignores the call.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

from ..errors import ResolveError

if TYPE_CHECKING:
    from ..seam import Address

Answer = list["Address"] | ResolveError
Done = Callable[[Answer], None]

AGAIN_TTL: Final = 1.0
"""Seconds for which a name server's silence is remembered, at most."""

_NO_SUCH_HOST: Final = {
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")  # not every platform has all
    if hasattr(socket, name)
}


class _Entry:
    """What is known of a name: addresses with port 0, or why there are none; good until ``expires``."""

    __slots__ = ("addresses", "reason", "cause", "ttl", "expires")

    def __init__(self, addresses: Sequence[Address], reason: str, cause: Exception | None, ttl: float):
        self.addresses = addresses
        self.reason = reason
        self.cause = cause
        self.ttl = ttl
        self.expires = 0.0

    def answer(self, host: str, port: int) -> Answer:
        """The caller's own copy: addresses with its port, or an error with its endpoint."""
        if self.reason:
            return _failure(self.reason, host, port, self.cause)
        return [(family, (where[0], port, *where[2:])) for family, where in self.addresses]


class Resolver:
    """Looks names up. All methods belong to the loop's thread.

    ``wake_soon(call)`` makes the loop run ``call()`` in its next step; the resolver calls it from
    its threads. ``ttl`` and ``negative_ttl`` are the seconds for which a name is known to exist, or
    not to; ``max_names`` bounds the cache, ``threads`` the look-ups at the same time, and after
    ``linger`` idle seconds a thread ends.
    """

    def __init__(
        self,
        wake_soon: Callable[[Callable[[], None]], None],
        *,
        threads: int = 4,
        ttl: float = 60.0,
        negative_ttl: float = 5.0,
        max_names: int = 10000,
        linger: float = 5.0,
        getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._wake_soon = wake_soon
        self._threads = threads
        self._ttl = ttl
        self._negative_ttl = negative_ttl
        self._max_names = max_names
        self._linger = linger
        self._getaddrinfo = getaddrinfo
        self._clock = clock
        self._names: dict[str, _Entry] = {}
        self._waiting: dict[str, deque[tuple[int, Done]]] = {}
        # Shared with the threads, and touched only with the condition held:
        self._changed = threading.Condition()
        self._jobs: deque[str] = deque()
        self._running = 0
        self._idle = 0
        self._closed = False

    def lookup(self, host: str, port: int) -> Answer | None:
        """What is known now, without waiting: for IP addresses and cached names. None: call ``resolve``.

        The list is the caller's own, in the order of getaddrinfo (RFC 6724).
        """
        address = _literal(host, port)
        if address is not None:
            return address
        name = host.lower()
        entry = self._names.get(name)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            del self._names[name]
            return None
        return entry.answer(host, port)

    def resolve(self, host: str, port: int, done: Done) -> None:
        """Look ``host`` up; ``done(addresses or error)`` is called by the loop, never from inside.

        Each ``done`` is called exactly once, unless the resolver is closed first. All who wait
        for one name share one look-up. Raises RuntimeError after ``close``.
        """
        if self._closed:
            raise RuntimeError("the resolver is closed")
        known = self.lookup(host, port)
        if known is not None:
            self._wake_soon(partial(done, known))
            return
        name = host.lower()
        waiting = self._waiting.get(name)
        if waiting is None:
            self._waiting[name] = deque([(port, done)])
            self._enqueue(name)
        else:
            waiting.append((port, done))

    def close(self) -> None:
        """End the threads that can be ended. What was waited for is not reported any more."""
        self._waiting.clear()
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()

    # In the loop's thread

    def _enqueue(self, name: str) -> None:
        with self._changed:
            self._jobs.append(name)
            if len(self._jobs) <= self._idle:
                self._changed.notify()
            elif self._running < self._threads:
                try:
                    threading.Thread(target=self._work, name="aquests-resolver", daemon=True).start()
                    self._running += 1
                except RuntimeError as exc:  # the system gives no more threads
                    if not self._running:
                        self._jobs.clear()
                        entry = _Entry((), "no thread for the look-up", exc.with_traceback(None), 0.0)
                        self._wake_soon(partial(self._arrived, name, entry))

    def _arrived(self, name: str, entry: _Entry) -> None:
        """A look-up ended: remember it, answer everybody."""
        entry.expires = self._clock() + entry.ttl
        self._names.pop(name, None)
        while len(self._names) >= self._max_names:
            del self._names[next(iter(self._names))]  # the oldest
        self._names[name] = entry
        self._deliver(name, entry, self._waiting.pop(name, deque()))

    def _deliver(self, name: str, entry: _Entry, waiting: deque[tuple[int, Done]]) -> None:
        try:
            while waiting:
                port, done = waiting.popleft()
                done(entry.answer(name, port))
        finally:
            if waiting:  # a done raised; that does not concern the others
                self._wake_soon(partial(self._deliver, name, entry, waiting))

    # In the threads

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._jobs and not self._closed:
                    self._idle += 1
                    self._changed.wait(self._linger)
                    self._idle -= 1
                if not self._jobs:
                    self._running -= 1
                    return
                name = self._jobs.popleft()
            entry = self._ask(name)
            with self._changed:
                if not self._closed:
                    self._wake_soon(partial(self._arrived, name, entry))

    def _ask(self, name: str) -> _Entry:
        try:
            found = self._twice(name)
        except (OSError, ValueError) as exc:
            return self._absent(exc.with_traceback(None))  # it is kept: not the frames, too
        usable = [(int(row[0]), row[4]) for row in found if row[0] in (socket.AF_INET, socket.AF_INET6)]
        if not usable:
            return _Entry((), "no such host", None, self._negative_ttl)
        return _Entry(list(dict.fromkeys(usable)), "", None, self._ttl)

    def _twice(self, name: str) -> Sequence[tuple[Any, ...]]:
        """getaddrinfo; a second time if no name server answered."""
        if "\0" in name:
            raise ValueError("null character in a host name")  # some versions of Python would cut it there
        try:
            return self._getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except socket.gaierror as exc:
            if exc.errno != socket.EAI_AGAIN:
                raise
        return self._getaddrinfo(name, None, type=socket.SOCK_STREAM)

    def _absent(self, exc: OSError | ValueError) -> _Entry:
        ttl = self._negative_ttl
        if isinstance(exc, ValueError):  # UnicodeError among them: an empty or overlong label
            return _Entry((), "not a possible host name", exc, ttl)
        if isinstance(exc, socket.gaierror):
            if exc.errno == socket.EAI_AGAIN:
                return _Entry((), "no name server answers", exc, min(AGAIN_TTL, ttl))
            if exc.errno in _NO_SUCH_HOST:
                return _Entry((), "no such host", exc, ttl)
        return _Entry((), f"look-up failed ({exc.strerror})", exc, ttl)


def happy_eyeballs_order(addresses: Sequence[Address]) -> list[Address]:
    """Take turns between the families, beginning with that of the first address (RFC 8305 4)."""
    if not addresses:
        return []
    first = [address for address in addresses if address[0] == addresses[0][0]]
    other = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, other)) if address is not None]


def _failure(reason: str, host: str, port: int, cause: Exception | None) -> ResolveError:
    error = ResolveError(reason, phase="resolve", endpoint=f"{host}:{port}")
    error.__cause__ = cause
    return error


def _literal(host: str, port: int) -> Answer | None:
    """The answer for an IP address, None for a name. A zone (``fe80::1%eth0``) is a local interface."""
    try:
        if ":" not in host:
            socket.inet_pton(socket.AF_INET, host)
            return [(int(socket.AF_INET), (host, port))]
        bare, _, zone = host.partition("%")
        socket.inet_pton(socket.AF_INET6, bare)
    except (OSError, ValueError):
        return None
    scope = 0
    if zone:
        try:
            scope = int(zone) if zone.isdecimal() and len(zone) < 10 else socket.if_nametoindex(zone)
        except (OSError, ValueError) as exc:
            return _failure(f"no network interface {zone[:20]!r}", host, port, exc)
    return [(int(socket.AF_INET6), (bare, port, 0, scope))]
