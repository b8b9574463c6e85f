"""The seam: what loop, channel, wire, driver and engine owe one another.

Only :class:`typing.Protocol` classes stand here; no code runs. Implementations do not inherit
from them, mypy checks the fit. The words are used alike everywhere:

- **Endpoint**: where to and how; one object per distinct place.
- **Exchange**: one request and its fate.
- **Channel**: one line (connection); moves bytes, knows no grammar.
- **Wire**: a sans-I/O protocol; knows grammar, touches no socket, clock or loop.
- **Driver**: a wire that insists on its own socket (psycopg2); **Worker**: one whose work blocks (SQLite).
- **Owner**: whom a channel reports to: the dial while the line is made, then the engine.

Laws (each is a test):

1.  Every exchange submitted leaves through ``on_finished`` exactly once, answered or with an error.
2.  User code runs only after ``receive`` has returned; inside a callback submitting only queues.
3.  Chunk-blind: any cutting of the bytes gives the same exchanges.
4.  Wires are pure: no I/O, no clock; randomness is handed in. ``receive`` never raises.
5.  ``room`` is the truth: 0 while opening, full, closing, dead; 1 one at a time; n multiplexed.
6.  A batch has its order: all lines receive, then all answers are settled, then all lines are fed, then all send.
    (A line with very many answers is settled and fed at once.) A channel with unsent bytes is not fed.
7.  Spurious readiness is legal. A handler added in a batch joins after it; a removed fd gets nothing more.
8.  Nothing is reported from inside ``open`` or ``submit``; what fails at once is reported by ``soon``.
9.  ``step`` is one bounded batch; entering it again from a callback raises at once.
10. After ``error`` or close: room 0, outbox empty, the wire is not called again.
11. An HTTP 500, ``-ERR``, SQL error or gRPC status is an *answer*; a broken line is an *error*.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .errors import AquestsError, TlsError
    from .exchange import Exchange

Address = tuple[int, Any]
"""(address family, what ``socket.connect`` wants)."""

Finished = tuple[Any, "Sequence[Exchange]"]
"""A line, and what has finished on it."""

Handler = Callable[[int], None]
"""A bound method ``handler(mask)`` of an object that also has ``crash(error)``."""


class Wire(Protocol):
    """A sans-I/O protocol machine on one line. Called by the channel only."""

    outbox: list[bytes]
    """Bytes to send, in order. The channel drains this very list; its identity never changes."""
    room: int
    """How many more exchanges it takes now. 0 while opening, full, closing or dead."""
    reusable: bool
    """May the line live on once nothing is in flight? False: the channel closes it then."""
    error: AquestsError | None
    """Why this wire is dead (the peer broke the rules, or refused the opening). Set with room 0, and not reusable."""
    hungry: bool
    """A streamed upload waits: call ``produce()`` whenever the outbox has been sent."""
    begun: list[Exchange]
    """Exchanges whose first byte came and which are not finished; the channel stamps and clears it."""

    @property
    def lingers(self) -> bool:
        """Does the peer answer a goodbye by closing the line? Then that is waited for, a second at most."""

    @property
    def inflight(self) -> Collection[Exchange]:
        """The exchanges inside, oldest first where the protocol has an order."""

    def opened(self) -> None:
        """The transport is up: greeting, preface, AUTH into the outbox."""

    def submit(self, x: Exchange) -> None:
        """Encode into the outbox. Raises RequestError before anything changed."""

    def receive(self, data: bytes) -> Sequence[Exchange]:
        """Take bytes; return the exchanges that finished by them (a shared empty tuple if none)."""

    def receive_eof(self) -> Sequence[Exchange]:
        """The peer sent its last byte; return the exchanges which end by that."""

    def produce(self) -> Sequence[Exchange]:
        """Put the next piece of a streamed upload into the outbox; return exchanges it had to fail."""

    def cancel(self, x: Exchange) -> bool:
        """Forget one exchange. True if the wire survives, False if the channel must close."""

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        """The line is gone: give every exchange back, each with its ``error`` set."""

    def goodbye(self) -> None:
        """Polite end (GOAWAY, CLOSE, QUIT) into the outbox."""


MakeWire = Callable[[str | None], Wire]
"""``make_wire(alpn)``: called when the transport is up, so that ALPN chooses the protocol."""


class Driver(Protocol):
    """A wire with its own socket, polled instead of fed; ``lib/polled.py`` drives it. What is named as in
    :class:`Wire` means the same."""

    room: int
    reusable: bool
    error: AquestsError | None
    begun: list[Exchange]
    unsent: bool
    """What was submitted may not have been sent whole: ``poll`` at once."""

    @property
    def inflight(self) -> Collection[Exchange]: ...

    def connect(self, address: Address) -> None:
        """Begin; the address is already resolved. Raises an AquestsError for what fails at once."""

    def fileno(self) -> int:
        """The socket as it is now; it may change while connecting, also under its number."""

    def poll(self) -> int:
        """Advance; returns 1 (it waits to read), 2 (to write) or 0 (nothing pending). Raises what ended the line."""

    def submit(self, x: Exchange) -> None: ...

    def collect(self) -> Sequence[Exchange]:
        """After ``poll() == 0``: the exchanges that finished."""

    def cancel(self, x: Exchange) -> bool: ...

    def interrupt(self) -> Callable[[], None] | None:
        """What tells the peer, by another line, to stop its work on what is in flight, and then closes the socket.
        It blocks: a thread calls it, instead of ``goodbye``. None: there is no way."""

    def abandon(self, error: AquestsError) -> Sequence[Exchange]: ...

    def goodbye(self) -> None:
        """Polite end, if it needs no waiting; the socket is closed."""


class Worker(Protocol):
    """A wire whose work blocks; ``lib/threaded.py`` gives it a thread. What is named as in :class:`Wire` means that.

    ``connect``, ``perform`` and ``goodbye`` run in the thread, the rest in the loop's.
    """

    room: int
    reusable: bool
    error: AquestsError | None

    @property
    def inflight(self) -> Collection[Exchange]: ...

    def connect(self, address: Address, patience: float) -> None:
        """Open it. Raises an AquestsError."""

    def perform(self, payload: Any, patience: float) -> Any:
        """Do the work of one exchange; returns its outcome, and never raises."""

    def goodbye(self) -> None:
        """Close it; the last that is called."""

    def opened(self) -> None: ...

    def submit(self, x: Exchange) -> None: ...

    def finish(self, outcome: Any) -> Sequence[Exchange]:
        """The exchange with its outcome; nothing if it was cancelled meanwhile."""

    def cancel(self, x: Exchange) -> bool: ...

    def interrupt(self) -> None:
        """Make ``perform`` return soon. Does not block; harmless when it is not running."""

    def abandon(self, error: AquestsError) -> Sequence[Exchange]: ...


class Tls(Protocol):
    """A filter without a socket. Filters stack: TLS inside TLS needs no special case."""

    done: bool
    closed: bool
    """The peer said that it sends no more (close_notify)."""
    alpn: str | None
    error: TlsError | None
    """Garbage came behind the plaintext that was returned last."""
    alert: bytes
    """What to send before closing, after a TlsError."""

    def handshake(self, data: bytes) -> bytes:
        """Feed the peer's bytes, get the bytes to send. Raises TlsError."""

    def unseal(self, data: bytes) -> bytes: ...

    def seal(self, data: bytes) -> bytes: ...

    def goodbye(self) -> bytes: ...


class Line(Protocol):
    """What an owner may use of a channel, whatever moves its bytes: a Channel, a PolledChannel, a ThreadedChannel."""

    endpoint: Any
    uses: int
    """Exchanges that it was handed; who hands them counts."""
    bytes_sent: int
    opened_at: float
    connect_seconds: float
    tls_seconds: float
    deadline: float
    """When the present phase of the making is timed out."""
    phase: str
    """``"new"``, ``"connect"``, ``"tls"``, ``"open"`` or ``"closed"``."""
    blocked: bool
    """Bytes wait to be sent: the line is not fed."""
    at_close: Callable[[], None] | None

    @property
    def wire(self) -> Wire | Driver | Worker | None: ...

    @property
    def room(self) -> int:
        """The wire's room, or 0 while bytes wait to be sent, while opening and after the end."""

    @property
    def inflight(self) -> Collection[Exchange]: ...

    def adopt(self, owner: Owner) -> None:
        """Report to ``owner`` from now on: how a dial hands a finished line to the engine."""

    def open(self, address: Address, tls: Tls | None = None) -> None: ...

    @property
    def submit(self) -> Callable[[Exchange], None]:
        """Hand an exchange to the wire; often the wire's own method.

        It is sent at the end of the batch if the line stands in ``loop.outgoing``: who feeds a line puts it there.
        Raises RequestError, with nothing changed, if it cannot be encoded.
        """

    def drain(self) -> None:
        """The batch is over: send what is to be sent, and end if nothing is left to do. Once too often does no harm."""

    def cancel(self, x: Exchange) -> bool: ...

    def close(self, error: AquestsError | None = None) -> None: ...


class Owner(Protocol):
    """Whom a channel reports to. The only three calls that go upwards."""

    def on_room(self, channel: Any) -> None:
        """The wire opened, or its room rose without an exchange finishing."""

    @property
    def on_finished(self) -> Callable[[Finished], object]:
        """Exchanges left the wire of a line, each with its answer or its error.

        They are settled when the batch is over. Then the line is given its next work, and put into ``loop.outgoing``.
        """

    def settle(self) -> None:
        """So much has finished that it is settled now, instead of when the batch is over."""

    def on_closed(self, channel: Any, error: AquestsError | None) -> None:
        """The socket is gone; what was in flight has been handed back before."""
