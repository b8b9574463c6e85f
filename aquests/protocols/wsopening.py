"""The opening of a WebSocket: an HTTP/1.1 request that asks for another protocol (RFC 6455 4)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

from ..errors import ProtocolError
from .http1 import USER_AGENT, Origin, merge
from .wsdeflate import Deflate, Offer

if TYPE_CHECKING:
    from ..exchange import Exchange
    from .http1head import Head

VERSION: Final = "13"
OURS: Final = frozenset(
    (
        "connection",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "upgrade",
    )
)
"""Headers the opening is made of: not the user's."""
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Opening:
    """What all lines to one place share: the request but for its key, and the cache of heads."""

    __slots__ = ("_defaults", "_offer", "_protocols", "_skip", "origin")

    def __init__(self, place: Any):
        protocols: tuple[str, ...] = place.options.get("subprotocols", ())
        compression: bool | str = place.options.get("compression", True)
        self._protocols = protocols
        self._offer = None if compression is False else Offer() if compression is True else Offer(compression)
        defaults = [
            ("Host", place.host_header),
            ("User-Agent", USER_AGENT),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", VERSION),
        ]
        if self._offer is not None:
            defaults.append(("Sec-WebSocket-Extensions", self._offer.header))
        if protocols:
            defaults.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
        self._defaults = tuple(defaults)
        self._skip = len(place.scheme) + 3
        self.origin = Origin(place.scheme, self._defaults)

    def request(self, x: Exchange, key: str) -> bytes:
        """The request of an opening (RFC 6455 4.1)."""
        target = x.url[x.url.find("/", self._skip) :]
        lines = [f"{name}: {value}\r\n" for name, value in merge(self._defaults, x.headers)]
        return f"GET {target} HTTP/1.1\r\n{''.join(lines)}Sec-WebSocket-Key: {key}\r\n\r\n".encode("latin-1")

    def agreed(self, head: Head, key: str) -> Deflate | None:
        """What a 101 agrees to: compression or None. Raises ProtocolError where it is no answer to this opening."""
        headers = head.headers
        if (headers.get("upgrade") or "").strip().lower() != "websocket":
            raise ProtocolError("the 101 does not upgrade to websocket")
        if "upgrade" not in [token.strip(" \t") for token in (headers.get("connection") or "").lower().split(",")]:
            raise ProtocolError("the 101 has no 'Connection: Upgrade'")
        if headers.get("sec-websocket-accept") != accept_for(key):
            raise ProtocolError("Sec-WebSocket-Accept does not answer our key: somebody else's 101")
        protocol = headers.get("sec-websocket-protocol")
        if protocol is not None and protocol not in self._protocols:
            raise ProtocolError(f"the server speaks a subprotocol that was not offered: {protocol[:40]!r}")
        extensions = headers.get("sec-websocket-extensions")
        if not extensions:
            return None
        if self._offer is None:
            raise ProtocolError(f"the server uses an extension that was not offered: {extensions[:40]!r}")
        return self._offer.accepted(extensions)


def accept_for(key: str) -> str:
    """The proof that a server has read ``key`` and speaks WebSocket (RFC 6455 4.2.2)."""
    return b64encode(sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
