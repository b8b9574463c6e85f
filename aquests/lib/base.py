"""What every channel is to its owner, whatever moves its bytes: the attributes of :class:`~aquests.seam.Line`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import AquestsError, Cancelled, defect

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..seam import Driver, Owner, Wire, Worker
    from .loop import Loop

W = TypeVar("W", bound="Wire | Driver | Worker")


class BaseChannel(Generic[W]):
    """One line to ``endpoint``. Reports to ``owner``; ``make_wire(alpn)`` is called when the transport is up.

    ``patience`` is the seconds each phase of the making (connect, tls) may take; ``deadline`` the
    moment the present phase ends, for the owner's sweep. ``connect_seconds`` and ``tls_seconds`` tell what they took.
    """

    __slots__ = (
        "_make_wire",
        "_on_finished",
        "_owner",
        "_phase_began",
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

    def __init__(self, loop: Loop, owner: Owner, endpoint: Any, make_wire: Callable[[str | None], W], patience: float):
        self.loop = loop
        self.endpoint = endpoint
        self.patience = patience
        self.deadline = 0.0
        self.uses = 0
        self.bytes_sent = 0
        """Stays 0 where something else than we sends."""
        self.opened_at = 0.0
        self.connect_seconds = 0.0
        self.tls_seconds = 0.0
        self.phase = "new"
        self.blocked = False
        """Bytes wait to be sent: the line is not fed."""
        self.wire: W | None = None
        self.at_close: Callable[[], None] | None = None
        """Called once when the line ends: to keep a TLS session, for instance."""
        self._make_wire = make_wire
        self.adopt(owner)

    def adopt(self, owner: Owner) -> None:
        """Report to ``owner`` from now on: how a dial hands a finished line to the engine."""
        self._owner = owner
        self._on_finished = owner.on_finished

    @property
    def room(self) -> int:
        """How many more exchanges the line takes now."""
        return 0 if self.blocked or self.wire is None else self.wire.room

    @property
    def inflight(self) -> Collection[Exchange]:
        return () if self.wire is None else self.wire.inflight

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._phase_began = self.loop.now
        self.deadline = self._phase_began + self.patience

    def _age(self) -> float:
        """Seconds since the present phase began."""
        return self.loop.now - self._phase_began

    def close(self, error: AquestsError | None = None) -> None:
        """End the line, once. What is in flight is handed back as finished, then ``on_closed`` is reported."""
        raise NotImplementedError

    def _lost(self, error: AquestsError | None) -> Sequence[Exchange]:
        """What was in flight, taken from the wire."""
        if self.wire is None:
            return ()
        return self.wire.abandon(error or Cancelled("the line was closed", endpoint=self.endpoint.label))

    def _report_end(self, lost: Sequence[Exchange], error: AquestsError | None) -> None:
        if lost:
            self._on_finished((self, lost))
        if self.at_close is not None:
            self.at_close()
        self._owner.on_closed(self, error)

    def crash(self, error: Exception) -> None:
        """A handler of ours raised: the line is lost, its exchanges are not."""
        self.close(defect(error, self.endpoint.label))
