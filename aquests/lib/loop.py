"""The event loop: handlers by descriptor, one bounded batch a step.

Facts this file lives with:

- A descriptor number is reused the moment it is closed. A batch may still hold an event of the
  old socket, so a handler that is added during a batch joins only after it.
- A guest cannot see what became due without a descriptor turning readable: ``soon`` called
  outside of a step therefore sets the wake descriptor, and ``next_deadline`` tells the timers.
- A peer on another core sleeps when it has nothing to do, and waking it costs the sender some 2 µs. So what
  handlers want to send is sent when all of them have run: the first send of the batch wakes the peer, the others
  find it awake (142,000 answers/s became 170,000 where the server is quick: nginx with a page in memory).
- The clock is read once a step (42 ns each, ten thousands of times a second); ``now`` serves all.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from .log import get_logger
from .poller import READ, Poller, best_poller
from .wake import Wake

if TYPE_CHECKING:
    from ..seam import Handler


class Sender(Protocol):
    """Something with bytes to send at the end of a batch."""

    def drain(self) -> None: ...


class Lingerer(Protocol):
    """Something that ends by itself soon."""

    def close(self) -> None: ...


class Timer:
    """A call planned by :meth:`Loop.at`; ``cancel()`` forgets it."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]):
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Handlers, timers and one batch of events a step.

    ``poller`` and ``clock`` are replaceable for tests. ``now`` is monotonic seconds, read once a step.
    """

    def __init__(self, poller: Poller | None = None, clock: Callable[[], float] = monotonic):
        self._poller = poller or best_poller()
        self._clock = clock
        self._handlers: dict[int, Handler] = {}
        self._joining: dict[int, Handler] | None = None
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self.outgoing: list[Sender] = []
        """Whose ``drain()`` is called when all handlers of the batch have run, and before the next poll. The list is
        always the same one."""
        self.lingering: set[Lingerer] = set()
        """Sockets of lines that are over, but for the peer's farewell."""
        self._stepping = False
        self._wake = Wake()
        self._closed = False
        self.now = clock()
        self._poller.register(self._wake.fileno(), READ)
        self._handlers[self._wake.fileno()] = self._on_wake

    # Descriptors

    def add(self, fd: int, mask: int, handler: Handler) -> None:
        """Call ``handler(mask)`` on readiness; added during a batch, it joins after the batch.

        ``handler`` is a bound method of an object with ``crash(error)``, called if it raises.
        """
        self._poller.register(fd, mask)
        if self._joining is not None:
            self._joining[fd] = handler
        else:
            self._handlers[fd] = handler

    def modify(self, fd: int, mask: int, handler: Handler | None = None) -> None:
        """Change the interest, and the handler when one is given (at once: the descriptor is the same)."""
        self._poller.modify(fd, mask)
        if handler is not None:
            self.handle(fd, handler)

    def handle(self, fd: int, handler: Handler) -> None:
        """Change the handler alone; no system call."""
        if self._joining is not None and fd in self._joining:
            self._joining[fd] = handler
        else:
            self._handlers[fd] = handler

    def remove(self, fd: int) -> None:
        """Forget a descriptor; it gets nothing more, even in this batch. Call it before closing."""
        known = self._handlers.pop(fd, None)
        if self._joining is not None:
            known = self._joining.pop(fd, known)
        if known is not None:
            self._poller.unregister(fd)

    # Calls

    def soon(self, call: Callable[[], None]) -> None:
        """Run ``call()`` in the next step. May be called from any thread."""
        self._soon.append(call)
        if not self._stepping or threading.get_ident() != self._thread:
            self._wake.set()

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Run ``call()`` at ``when`` (seconds of ``now``'s clock). For rare things: a push and a pop cost 385 ns."""
        timer = Timer(call)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def wake(self) -> None:
        """Make a waiting ``step`` return. May be called from any thread and from signal handlers."""
        self._wake.set()

    # For hosts

    def fileno(self) -> int:
        """A descriptor that is readable when a step has something to do. OSError with select."""
        return self._poller.fileno()

    def next_deadline(self) -> float | None:
        """When to call ``step`` even if ``fileno()`` is not readable; None if there is no need."""
        if self._soon:
            return self.now
        timers = self._timers
        while timers and timers[0][2].call is None:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def step(self, timeout: float | None = 0.0) -> int:
        """One poll of at most ``timeout`` seconds (None: until something happens), one batch, due timers.

        Returns the number of events. Raises RuntimeError when called from a handler.
        """
        if self._stepping:
            raise RuntimeError("step() was entered again from one of its own callbacks")
        self._stepping = True
        self._thread = threading.get_ident()
        try:
            self.send()
            events = self._poller.poll(self._patience(timeout))
            self.now = self._clock()
            self._joining = {}
            handlers = self._handlers
            for fd, mask in events:
                handler = handlers.get(fd)
                if handler is not None:
                    try:
                        handler(mask)
                    except Exception as error:
                        self._crashed(handler, error)
            if self._joining:
                handlers.update(self._joining)
            self._joining = None
            if self._soon:
                self._run_soon()
            if self._timers:
                self._run_timers()
            return len(events)
        finally:
            if self._joining is not None:  # a BaseException passed through
                self._handlers.update(self._joining)
                self._joining = None
            self._stepping = False

    def send(self) -> None:
        """The batch is over: let everybody in ``outgoing`` send. A step begins with it; who wants to do something
        between the batch and its sends calls it afterwards."""
        outgoing = self.outgoing
        for sender in outgoing:
            try:
                sender.drain()
            except Exception as error:
                self._crashed(sender.drain, error)
        outgoing.clear()

    def take_leave(self) -> None:
        """Step until no line lingers any more: a second at most. Not for guests, which go on stepping anyway."""
        while self.lingering:
            self.step(None)

    def close(self) -> None:
        """Give the descriptors back. Handlers that are left get nothing more."""
        if not self._closed:
            self._closed = True
            for linger in tuple(self.lingering):
                linger.close()
            self._handlers.clear()
            self._soon.clear()
            self.outgoing.clear()
            self._timers.clear()
            self._poller.close()
            self._wake.close()

    _thread = 0

    def _patience(self, timeout: float | None) -> float | None:
        deadline = self.next_deadline()
        if deadline is None:
            return timeout
        left = max(0.0, deadline - self._clock())
        return left if timeout is None or left < timeout else timeout

    # Both take one call after the other out, so that an interrupt loses none; and both leave what is
    # planned meanwhile to the next step, so that a step ends.

    def _run_soon(self) -> None:
        soon = self._soon
        left = len(soon)
        while left and soon:
            left -= 1
            self.guarded(soon.popleft())

    def _run_timers(self) -> None:
        timers = self._timers
        newest = next(self._order)
        while timers and timers[0][0] <= self.now and timers[0][1] < newest:
            timer = heapq.heappop(timers)[2]
            if timer.call is not None:
                self.guarded(timer.call)

    def guarded(self, call: Callable[[], None]) -> None:
        """Call it. What it raises is logged, and told to ``crash(error)`` of the object whose method it is."""
        try:
            call()
        except Exception as error:
            self._crashed(call, error)

    def _crashed(self, handler: Callable[..., None], error: Exception) -> None:
        """A handler raised: that is a defect of ours. Its channel is lost, the loop goes on."""
        get_logger().error("a handler raised; its line is closed", exc_info=error)
        crash = getattr(getattr(handler, "__self__", None), "crash", None)
        if crash is not None:
            crash(error)

    def _on_wake(self, mask: int) -> None:
        self._wake.clear()
