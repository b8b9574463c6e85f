"""TLS inside TLS: a line through an https proxy to an https place has two filters, seen as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import TlsError
    from ..seam import Tls


class Stacked:
    """TLS inside TLS: two filters seen as one. ``outer`` is nearer to the socket."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: Tls, inner: Tls):
        self._outer = outer
        self._inner = inner

    @property
    def done(self) -> bool:
        return self._inner.done

    @property
    def closed(self) -> bool:
        return self._inner.closed

    @property
    def alpn(self) -> str | None:
        return self._inner.alpn

    @property
    def error(self) -> TlsError | None:
        return self._inner.error or self._outer.error

    @property
    def alert(self) -> bytes:
        return self._outer.seal(self._inner.alert) if self._inner.alert else self._outer.alert

    def handshake(self, data: bytes) -> bytes:
        out = self._inner.handshake(self._outer.unseal(data) if data else b"")
        return self._outer.seal(out) if out else b""

    def unseal(self, data: bytes) -> bytes:
        return self._inner.unseal(self._outer.unseal(data))

    def seal(self, data: bytes) -> bytes:
        return self._outer.seal(self._inner.seal(data))

    def goodbye(self) -> bytes:
        return self._outer.seal(self._inner.goodbye()) + self._outer.goodbye()
