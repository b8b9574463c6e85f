"""A channel for a driver that owns its socket: it is polled where a wire is fed (psycopg2).

The state is the registered handler: ``_on_connecting``, then ``_on_open``.

Traps this file lives with:

- While it connects, libpq may swap one socket for another (the next address, TLS refused and tried without), and the
  new one mostly gets the number of the old one. The kernel then knows the number no more, or knows it for somebody
  else's. So while connecting the descriptor is taken out and put in again at each turn; there are a dozen.
- A statement is sent within ``submit``, and small ones always fit. Only for those that may not have
  (``driver.unsent``) the driver is asked again at once, which costs a system call (10 % of a small query).
- A server goes on with a statement whose line was closed. ``driver.interrupt()`` gives a call that stops it and closes
  the line behind that (PgBouncer passes nothing on for a client that has gone). It blocks: a thread makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from ..errors import AquestsError, Cancelled
from .aside import aside
from .poller import READ, WRITE

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..seam import Address, Driver, Owner, Tls
    from .loop import Loop

MASKS: Final = (READ | WRITE, READ, WRITE)
"""What to wait for, by what ``driver.poll()`` says: nothing is pending, it wants to read, it wants to write."""


class PolledChannel:
    """One line to ``endpoint``, moved by a driver. Reports to ``owner``; offers what :class:`Channel` does.

    ``make_driver(None)`` is called by ``open``. ``connect_seconds`` counts all until the driver has room:
    connecting, TLS and logging in are one thing to it.
    """

    __slots__ = (
        "_collect",
        "_fd",
        "_make_driver",
        "_on_finished",
        "_owner",
        "_pending",
        "_phase_began",
        "_poll",
        "at_close",
        "blocked",
        "bytes_sent",
        "connect_seconds",
        "deadline",
        "endpoint",
        "loop",
        "opened_at",
        "patience",
        "phase",
        "tls_seconds",
        "uses",
        "wire",
    )

    def __init__(
        self, loop: Loop, owner: Owner, endpoint: Any, make_driver: Callable[[str | None], Driver], patience: float
    ):
        self.loop = loop
        self.endpoint = endpoint
        self.patience = patience
        self.deadline = 0.0
        self.uses = 0
        self.bytes_sent = 0
        """Stays 0: the driver does not tell."""
        self.opened_at = 0.0
        self.connect_seconds = 0.0
        self.tls_seconds = 0.0
        self.phase = "new"
        self.blocked = False
        self.wire: Driver | None = None
        self.at_close: Callable[[], None] | None = None
        self._make_driver = make_driver
        self._fd = -1
        self._pending = 1
        self.adopt(owner)

    def adopt(self, owner: Owner) -> None:
        """Report to ``owner`` from now on."""
        self._owner = owner
        self._on_finished = owner.on_finished

    @property
    def room(self) -> int:
        """How many more exchanges the line takes now."""
        return 0 if self.blocked or self.wire is None else self.wire.room

    @property
    def inflight(self) -> Collection[Exchange]:
        return () if self.wire is None else self.wire.inflight

    # Making the line

    def open(self, address: Address, tls: Tls | None = None) -> None:
        """Begin to connect; ``tls`` is the driver's own affair. What fails at once arrives by ``loop.soon``."""
        self.phase = "connect"
        self._phase_began = self.loop.now
        self.deadline = self._phase_began + self.patience
        driver = self.wire = self._make_driver(None)
        self._poll, self._collect = driver.poll, driver.collect
        try:
            driver.connect(address)
            pending = driver.poll()
        except AquestsError as error:
            fault = error  # the name is gone when the clause ends
            fault.__traceback__ = None
            self.loop.soon(lambda: self.close(fault))
            return
        self._watch(pending)

    def _watch(self, pending: int) -> None:
        """Wait on the socket as it is now."""
        assert self.wire is not None
        self._fd = self.wire.fileno()
        self.loop.add(self._fd, MASKS[pending], self._on_connecting)

    def _on_connecting(self, mask: int) -> None:
        self._drop()
        try:
            pending = self._poll()
        except AquestsError as error:
            error.__traceback__ = None  # its frames hold the driver, and that the error: a ring
            self.close(error)
            return
        self._watch(pending)
        if not pending:
            self._up()

    def _up(self) -> None:
        self.loop.modify(self._fd, READ, self._on_open)
        self.phase = "open"
        self.opened_at = self.loop.now
        self.connect_seconds = self.opened_at - self._phase_began
        self._owner.on_room(self)
        self._after()

    # Asking and answers

    def submit(self, x: Exchange) -> None:
        """Hand an exchange to the driver. Raises RequestError, with nothing changed, if it cannot be asked."""
        assert self.wire is not None
        self.wire.submit(x)
        self.uses += 1

    def flush(self) -> None:
        """See to it that what was submitted is sent. Reports nothing: what is found here arrives by ``loop.soon``."""
        driver = self.wire
        assert driver is not None
        if driver.error is not None:
            self._drop()
        if driver.unsent or driver.error is not None:
            self.loop.soon(self._again)

    def _drop(self) -> None:
        """Forget the descriptor before somebody else gets its number: the driver may have closed it."""
        if self._fd >= 0:
            self.loop.remove(self._fd)
            self._fd = -1

    def _again(self) -> None:
        if self.phase == "open" and self.wire is not None:
            if self.wire.error is None:
                self._on_open(0)
            else:
                self._after()

    def _on_open(self, mask: int) -> None:
        """The hot path."""
        try:
            pending = self._poll()
        except AquestsError as error:
            error.__traceback__ = None  # its frames hold the driver, and that the error: a ring
            self.close(error)
            return
        if (pending or 1) != self._pending:
            self._pending = pending or 1
            self.loop.modify(self._fd, MASKS[self._pending])
        if not pending:
            finished = self._collect()
            if finished:
                self._on_finished(self, finished)
        self._after()

    def _after(self) -> None:
        """Stamp what has begun, and close a driver that is through."""
        driver = self.wire
        if driver is None or self.phase != "open":
            return
        if driver.begun:
            for x in driver.begun:
                x.first_at = self.loop.now
            driver.begun.clear()
        if driver.error is not None:
            self.close(driver.error)
        elif not driver.reusable and not driver.inflight:
            self.close()
        elif driver.unsent:
            self.loop.soon(self._again)

    def review(self) -> None:
        """The driver was fed from outside of a handler: go on as after an answer."""
        self._after()

    # The end

    def cancel(self, x: Exchange) -> bool:
        """Forget one exchange. True if the line goes on; False if it must be closed."""
        assert self.wire is not None
        return self.wire.cancel(x)

    def close(self, error: AquestsError | None = None) -> None:
        """End the line, once. What is in flight is handed back as finished, then ``on_closed`` is reported."""
        if self.phase == "closed":
            return
        self.phase = "closed"
        self.blocked = True
        driver = self.wire
        self._drop()
        if driver is not None:
            stop = driver.interrupt() if driver.inflight else None
            lost = driver.abandon(error or Cancelled("the line was closed", endpoint=self.endpoint.label))
            if stop is None:
                driver.goodbye()
            else:
                aside.run(stop)
            if lost:
                self._on_finished(self, lost)
        if self.at_close is not None:
            self.at_close()
        self._owner.on_closed(self, error)

    def crash(self, error: Exception) -> None:
        """A handler of ours raised: the line is lost, its exchanges are not."""
        fault = AquestsError(f"internal error: {type(error).__name__}: {error}", endpoint=self.endpoint.label)
        fault.__cause__ = error
        self.close(fault)
