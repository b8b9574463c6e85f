"""Which HTTP a line speaks: by ALPN over TLS; in clear HTTP/1.1, unless the user asks for HTTP/2 (h2c).

``h2c="prior"`` speaks HTTP/2 at once (RFC 9113 3.3); ``h2c="upgrade"`` asks for it with the first request that has no
body (RFC 7540 3.2): if the server does not care, its HTTP/1.1 answer counts and the line stays what it is. Over TLS
``"prior"`` says that nothing but HTTP/2 will do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from ..errors import AquestsError, ProtocolError, TlsError
from . import http1
from .base import NO_EXCHANGES, OneAtATime

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs
    from ..seam import MakeWire
    from .http2 import Http2

_OFFER: Final = frozenset(("connection", "upgrade", "http2-settings"))
"""Headers that make the offer: whose own ones stand there, offers nothing."""


def lines(place: Any, prefix: str, extra: Pairs, settings: Any) -> Callable[[str | None], Any]:
    """What makes the wires of lines to ``place`` (an Endpoint); see :class:`http1.Origin` for ``prefix``."""
    plain = http1.lines(place, prefix, extra, settings)
    h2c = place.options.get("h2c")
    if place.spec.tls:
        if h2c == "prior":
            return _by_alpn(place, NoHttp2, extra, settings)
        return plain if settings.force_http1 else _by_alpn(place, plain, extra, settings)
    if h2c == "prior":
        return _http2(place, extra, settings)
    if h2c == "upgrade" and not settings.force_http1:
        return _by_upgrade(place, plain, extra, settings)
    return plain


def _http2(
    place: Any, extra: Pairs, settings: Any, demote: Callable[[], None] | None = None
) -> Callable[[str | None], Http2]:
    """The module is loaded when a line speaks HTTP/2 for the first time."""
    from .h2head import LANE, VERSION
    from .http2 import lines

    place.lane, place.version = LANE, VERSION
    return lines(place, extra, settings, demote)


def _by_alpn(place: Any, plain: MakeWire, extra: Pairs, settings: Any) -> MakeWire:
    """RFC 9113 3.2. A server that has not heard of ALPN speaks HTTP/1.1."""
    http2: list[MakeWire] = []

    def make_wire(alpn: str | None) -> Any:
        if alpn != "h2":
            return plain(alpn)
        if not http2:
            http2.append(_http2(place, extra, settings, demote=None if plain is NoHttp2 else demote))
        return http2[0](alpn)

    def demote() -> None:
        """RFC 9113 7: the server wants HTTP/1.1. Lines made from now on offer nothing else."""
        place.spec = copy(place.spec)
        place.spec.alpn = ("http/1.1",)
        place.lane, place.version = place.spec.lane, place.spec.version

    return make_wire


def _by_upgrade(place: Any, plain: MakeWire, extra: Pairs, settings: Any) -> Callable[[str | None], Upgrade]:
    from base64 import urlsafe_b64encode

    from .h2greeting import SETTINGS

    said = urlsafe_b64encode(SETTINGS).rstrip(b"=").decode()  # RFC 7540 3.2.1
    offer = (*extra, ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", said))
    offering = http1.lines(place, "", offer, settings)
    http2: list[Callable[..., Http2]] = []

    def make_http2(outbox: list[bytes], begun: list[Exchange]) -> Http2:
        if not http2:
            http2.append(_http2(place, extra, settings))
        wire = http2[0](None)
        wire.outbox, wire.begun = outbox, begun
        return wire

    return lambda alpn: Upgrade(offering(alpn), plain(alpn), make_http2)


class NoHttp2(OneAtATime):
    """A line to a server that did not choose HTTP/2 where nothing else will do: it ends at once."""

    __slots__ = ()

    def __init__(self, alpn: str | None):
        super().__init__()
        self._retire()
        chosen = f"it chose {alpn}" if alpn else "it chose nothing"
        self.error = TlsError(f"the server does not offer HTTP/2 (ALPN: {chosen})", phase="tls")

    def opened(self) -> None:
        """The channel looks at ``error``."""

    def submit(self, x: Exchange) -> None:
        """Never called: there is no room."""

    def receive(self, data: bytes) -> Sequence[Exchange]:
        return NO_EXCHANGES

    def receive_eof(self) -> Sequence[Exchange]:
        return NO_EXCHANGES


class Upgrade:
    """A line that begins with HTTP/1.1 and may go on with HTTP/2: whichever wire speaks, its channel holds this one.

    ``offering`` sends requests with the offer, ``plain`` without; ``make_http2(outbox, begun)`` makes what comes after.
    """

    __slots__ = ("_declined", "_make_http2", "_offering", "_plain", "_wire", "begun", "outbox")

    lingers = False

    def __init__(self, offering: Any, plain: Any, make_http2: Callable[[list[bytes], list[Exchange]], Http2]):
        self.outbox: list[bytes] = []
        self.begun: list[Exchange] = []
        for wire in (offering, plain):
            wire.outbox, wire.begun = self.outbox, self.begun
        offering.upgrading = True
        self._offering = offering
        self._plain = plain
        self._make_http2 = make_http2
        self._wire: Any = plain
        """The one that speaks."""
        self._declined = False

    @property
    def room(self) -> int:
        return self._wire.room  # type: ignore[no-any-return]

    @property
    def reusable(self) -> bool:
        return self._wire.reusable  # type: ignore[no-any-return]

    @property
    def error(self) -> AquestsError | None:
        return self._wire.error  # type: ignore[no-any-return]

    @property
    def hungry(self) -> bool:
        return self._wire.hungry  # type: ignore[no-any-return]

    @hungry.setter
    def hungry(self, hungry: bool) -> None:
        self._wire.hungry = hungry

    @property
    def inflight(self) -> Collection[Exchange]:
        return self._wire.inflight  # type: ignore[no-any-return]

    def opened(self) -> None:
        self._offering.opened()
        self._plain.opened()

    def goodbye(self) -> None:
        self._wire.goodbye()

    def submit(self, x: Exchange) -> None:
        if self._wire is self._offering:
            self._wire = self._plain  # its answer came, and was no 101
            self._declined = True
        if not self._declined and self._wire is self._plain and self._may_offer(x):
            self._wire = self._offering
        self._wire.submit(x)

    @staticmethod
    def _may_offer(x: Exchange) -> bool:
        return x.payload is None and not any(name.lower() in _OFFER for name, _ in x.headers)

    def receive(self, data: bytes) -> Sequence[Exchange]:
        finished: Sequence[Exchange] = self._wire.receive(data)
        if self._wire is self._offering and self._offering.switched is not None:
            return self._switch(*self._offering.switched)
        return finished

    def _switch(self, head: Any, rest: bytes) -> Sequence[Exchange]:
        """101: what was asked is stream 1 of HTTP/2, and ``rest`` its first bytes."""
        (x,) = self._offering.inflight
        if (head.headers.get("upgrade") or "").strip().lower() != "h2c":
            return self._offering.abandon(ProtocolError("101 Switching Protocols, but not to h2c"))  # type: ignore[no-any-return]
        wire = self._wire = self._make_http2(self.outbox, self.begun)
        wire.adopt(x)
        wire.opened()
        finished = wire.receive(rest) if rest else ()
        if x in finished and x in self.begun:
            self.begun.remove(x)  # all of it came with the 101
        return finished

    def receive_eof(self) -> Sequence[Exchange]:
        return self._wire.receive_eof()  # type: ignore[no-any-return]

    def produce(self) -> Sequence[Exchange]:
        return self._wire.produce()  # type: ignore[no-any-return]

    def cancel(self, x: Exchange) -> bool:
        return self._wire.cancel(x)  # type: ignore[no-any-return]

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        return self._wire.abandon(error)  # type: ignore[no-any-return]
