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

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..errors import AquestsError
from .aside import aside
from .base import BaseChannel
from .poller import READ, WRITE

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..seam import Address, Driver, Owner, Tls
    from .loop import Loop

MASKS: Final = (READ | WRITE, READ, WRITE)
"""What to wait for, by what ``driver.poll()`` says: nothing is pending, it wants to read, it wants to write."""


class PolledChannel(BaseChannel["Driver"]):
    """A line moved by a driver: ``make_driver(None)`` is called by ``open``.
    ``connect_seconds`` counts all until the driver has room:
    connecting, TLS and logging in are one thing to it.
    """

    __slots__ = ("_collect", "_fd", "_pending", "_poll")

    def __init__(
        self, loop: Loop, owner: Owner, endpoint: Any, make_driver: Callable[[str | None], Driver], patience: float
    ):
        super().__init__(loop, owner, endpoint, make_driver, patience)
        self._fd = -1
        self._pending = 1

    # Making the line

    def open(self, address: Address, tls: Tls | None = None) -> None:
        """Begin to connect; ``tls`` is the driver's own affair. What fails at once arrives by ``loop.soon``."""
        self._enter("connect")
        driver = self.wire = self._make_wire(None)
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
        self.connect_seconds = self._age()
        self._owner.on_room(self)
        self.drain()

    # Asking and answers

    def submit(self, x: Exchange) -> None:
        """Hand an exchange to the driver. Raises RequestError, with nothing changed, if it cannot be asked.

        Reports nothing: what goes wrong in sending it arrives by ``loop.soon``.
        """
        driver: Driver = self.wire  # type: ignore[assignment]
        driver.submit(x)
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
                self.drain()

    def _on_open(self, mask: int) -> None:
        """The hot path."""
        poll, collect, report = self._poll, self._collect, self._on_finished  # a call of a slot's content is slow
        try:
            pending = poll()
        except AquestsError as error:
            error.__traceback__ = None  # its frames hold the driver, and that the error: a ring
            self.close(error)
            return
        if (pending or 1) != self._pending:
            self._pending = pending or 1
            self.loop.modify(self._fd, MASKS[self._pending])
        if not pending:
            finished = collect()
            if finished:
                report((self, finished))
                return
        self.drain()

    def drain(self) -> None:
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

    # The end

    def cancel(self, x: Exchange) -> bool:
        """Forget one exchange. True if the line goes on; False if it must be closed."""
        assert self.wire is not None
        return self.wire.cancel(x)

    def close(self, error: AquestsError | None = None) -> None:
        if self.phase == "closed":
            return
        self.phase = "closed"
        self.blocked = True
        driver = self.wire
        self._drop()
        stop = driver.interrupt() if driver is not None and driver.inflight else None
        lost = self._lost(error)
        if stop is not None:
            aside.run(stop)
        elif driver is not None:
            driver.goodbye()
        self._report_end(lost, error)
