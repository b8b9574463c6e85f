"""Tunnels through a proxy: HTTP CONNECT (RFC 9110 9.3.6) and SOCKS 5 (RFC 1928, RFC 1929).

Each is the first wire of a line and carries no exchange of its own. ``room`` becomes 1 when the tunnel stands;
whoever makes the line then puts the next stage on the same socket and hands it ``surplus``: the bytes that came
behind the proxy's answer, since a server may speak first. If the proxy refuses, ``error`` says why.

No error holds what we sent: it may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import AquestsError, ConnectError, ProtocolError, RequestError, TooLarge
from ..version import __version__
from .base import NO_EXCHANGES, BaseWire
from .http1 import MAX_INTERIM
from .http1head import MAX_HEAD, find_end, parse_fields, parse_head

if TYPE_CHECKING:
    from ..exchange import Exchange

MAX_SHOWN: Final = 100
"""Characters of the proxy's own words in an error."""

_HOST: Final = re.compile(r"[!-~]{1,255}")
_VALUE: Final = re.compile(r"[ -~]*")
# An unclosed quote lasts to the end of the text, so that each character is looked at once.
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|\Z)', re.DOTALL)
_CHALLENGE: Final = re.compile(r"(?:^|,)[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]++)(?![ \t]*=)")


class _Tunnel(BaseWire):
    """What both kinds share: a wire that takes no exchange, and either stands or fails.

    A kind gives its ``greeting``, and ``_advance``, which reads one message of the proxy from ``_buffer``.
    ``question`` names what the proxy has to answer now.
    """

    __slots__ = ("_buffer", "_greeting", "_question", "surplus")

    def __init__(self, greeting: bytes, question: str):
        super().__init__()
        self.surplus = b""
        """What came behind the proxy's answer: it belongs to the next stage."""
        self._greeting = greeting
        self._question = question
        self._buffer = bytearray()

    @property
    def inflight(self) -> tuple[Exchange, ...]:
        return NO_EXCHANGES

    def opened(self) -> None:
        self.outbox.append(self._greeting)

    def submit(self, x: Exchange) -> None:
        raise RequestError("a tunnel carries no request of its own", phase="tunnel")

    def receive(self, data: bytes) -> Sequence[Exchange]:
        if self.room:
            self.surplus += data
        elif self.reusable:
            self._buffer += data
            while self._advance():
                pass
        return NO_EXCHANGES

    def receive_eof(self) -> Sequence[Exchange]:
        if self.reusable:
            when = f" {'within its answer to' if self._buffer else 'before it answered'} {self._question}"
            self._refuse(f"the proxy closed the line{'' if self.room else when}")
        return NO_EXCHANGES

    def cancel(self, x: Exchange) -> bool:
        return True  # it was never in here

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        self._end()
        return NO_EXCHANGES

    def _advance(self) -> bool:
        """Read one message, if it is here. True: another may be."""
        raise NotImplementedError

    def _stand(self, end: int) -> bool:
        """The proxy's last word ends at ``end``: the tunnel is open."""
        self.surplus = bytes(self._buffer[end:])
        self._buffer.clear()
        self.room = 1
        return False

    def _refuse(self, message: str) -> bool:
        return self._fail(ConnectError(message, phase="tunnel"))

    def _malformed(self, message: str) -> bool:
        return self._fail(ProtocolError(message, first=bytes(self._buffer[:64]), phase="tunnel"))

    def _fail(self, error: AquestsError) -> bool:
        self.error = error
        self._end()
        return False

    def _end(self) -> None:
        super()._end()
        self._buffer.clear()
        self.surplus = b""


class Connect(_Tunnel):
    """A tunnel by ``CONNECT host:port`` through an http or https proxy.

    ``host`` is a name (ASCII) or an IP address without brackets; ``authorization`` the value of
    Proxy-Authorization, sent ahead, or None. Raises RequestError if one of them cannot stand in a head.

    ``error`` becomes ConnectError (any final answer but 2xx, the line closed), ProtocolError (no HTTP/1 answer)
    or TooLarge (its head), all in phase "tunnel".
    """

    __slots__ = ("_authorized", "_interim", "_searched")

    def __init__(self, host: str, port: int, authorization: str | None):
        _check_place(host, port)
        if authorization is not None and _VALUE.fullmatch(authorization) is None:
            raise RequestError("Proxy-Authorization may only hold printable ASCII characters", phase="tunnel")
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", f"User-Agent: aquests/{__version__}"]
        if authorization is not None:
            lines.append(f"Proxy-Authorization: {authorization}")
        super().__init__("\r\n".join([*lines, "", ""]).encode("ascii"), "CONNECT")
        self._authorized = authorization is not None
        self._interim = 0
        self._searched = 0

    def _advance(self) -> bool:
        buffer = self._buffer
        if not (buffer.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(buffer)):
            return self._malformed("the proxy's answer is not HTTP/1")
        end, body = find_end(buffer, max(0, self._searched - 3))
        self._searched = len(buffer)
        # A head of MAX_HEAD bytes may still lack its empty line: four bytes more are waited for.
        if end > MAX_HEAD or (end < 0 and len(buffer) >= MAX_HEAD + 4):
            return self._fail(TooLarge(f"the head of the proxy's answer has over {MAX_HEAD:,} bytes", phase="tunnel"))
        return end >= 0 and self._read_head(bytes(buffer[:end]), body)

    def _read_head(self, raw: bytes, body: int) -> bool:
        """Decide by a whole head; the line and the fields are parsed apart, for framing means nothing here.

        Content-Length and Transfer-Encoding, right or wrong, are ignored when a tunnel opens (RFC 9110 9.3.6), and
        the body of a refusal is not read.
        """
        line, _, rest = raw.partition(b"\n")
        try:
            head = parse_head(line.removesuffix(b"\r"))
            pairs = parse_fields(rest.decode("latin-1"), raw) if rest else ()
        except ProtocolError as error:
            return self._malformed(f"the proxy's answer is malformed: {error.message}")
        except TooLarge as error:
            return self._fail(TooLarge(f"the proxy's answer is too large: {error.message}", phase="tunnel"))
        if head.status < 200:
            return self._skip(head.status, body)
        if head.status < 300:
            return self._stand(body)
        if head.status == 407:
            return self._refuse(self._unauthorized(pairs))
        return self._refuse(f"the proxy answered {head.status} {head.reason[:MAX_SHOWN]}".rstrip())

    def _skip(self, status: int, body: int) -> bool:
        """1xx is no answer yet (RFC 9110 15.2); but 101 would mean another protocol, which was not asked for."""
        self._interim += 1
        if status == 101:
            return self._malformed("the proxy answered 101 Switching Protocols to CONNECT")
        if self._interim > MAX_INTERIM:
            return self._malformed(f"the proxy sent over {MAX_INTERIM} interim answers")
        del self._buffer[:body]
        self._searched = 0
        return True

    def _unauthorized(self, pairs: tuple[tuple[str, str], ...]) -> str:
        values = [_QUOTED.sub("", value) for name, value in pairs if name.lower() == "proxy-authenticate"]
        schemes = dict.fromkeys(scheme for value in values for scheme in _CHALLENGE.findall(value))
        offer = f" (it offers {', '.join(schemes)[:MAX_SHOWN]})" if schemes else ""
        return f"the proxy {'refused the password' if self._authorized else 'asks for a password'}{offer}"


# SOCKS 5: the numbers of RFC 1928 and RFC 1929
_VERSION: Final = 5
_LOGIN_VERSION: Final = 1
_NO_LOGIN: Final = 0
_PASSWORD: Final = 2
_NO_METHOD: Final = 0xFF
_CONNECT: Final = 1
_IPV4: Final = 1
_NAME: Final = 3
_IPV6: Final = 4
_ADDRESS_SIZES: Final = {_IPV4: 4, _IPV6: 16}
_MAX_FIELD: Final = 255
_REFUSALS: Final = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "it does not know CONNECT",
    8: "it does not know this type of address",
}


class Socks5(_Tunnel):
    """A tunnel by CONNECT of SOCKS 5, with or without user and password.

    ``host`` is a name (ASCII; the proxy resolves it) or an IP address; without ``user`` no login is offered.
    Raises RequestError for a host that is no name of at most 255 characters, and for a user or password over
    255 bytes.

    ``error`` becomes ConnectError (refused, the line closed) or ProtocolError, both in phase "tunnel".
    """

    __slots__ = ("_login", "_request", "_step")

    def __init__(self, host: str, port: int, user: str | None, password: str | None):
        _check_place(host, port)
        self._login = b"" if user is None else b"%c%b%b" % (_LOGIN_VERSION, _field(user), _field(password or ""))
        self._request = bytes((_VERSION, _CONNECT, 0)) + _socks_address(host) + port.to_bytes(2, "big")
        self._step: Callable[[Socks5], bool] = Socks5._read_method
        """Who reads the next message; the plain function, since a bound one would make a ring."""
        methods = (_NO_LOGIN, _PASSWORD) if self._login else (_NO_LOGIN,)
        super().__init__(bytes((_VERSION, len(methods), *methods)), "the greeting")

    def _advance(self) -> bool:
        return self._step(self)

    def _read_method(self) -> bool:
        """RFC 1928 3: version, method."""
        buffer = self._buffer
        if buffer and buffer[0] != _VERSION:
            return self._malformed("the proxy does not speak SOCKS 5")
        if len(buffer) < 2:
            return False
        method = buffer[1]
        if method == _NO_LOGIN:
            return self._ask("CONNECT", self._request, Socks5._read_reply)
        if method == _PASSWORD and self._login:
            return self._ask("the login", self._login, Socks5._read_login)
        if method != _NO_METHOD:
            return self._malformed("the SOCKS proxy chose a way to log in that was not offered")
        if self._login:
            return self._refuse("the SOCKS proxy wants another way to log in than user name and password")
        return self._refuse("the SOCKS proxy wants a user name and password")

    def _read_login(self) -> bool:
        """RFC 1929 2: version, status."""
        buffer = self._buffer
        if buffer and buffer[0] != _LOGIN_VERSION:
            return self._malformed("the SOCKS proxy broke the rules of the login")
        if len(buffer) < 2:
            return False
        if buffer[1]:
            return self._refuse("the SOCKS proxy refused the user name or password")
        return self._ask("CONNECT", self._request, Socks5._read_reply)

    def _ask(self, question: str, message: bytes, step: Callable[[Socks5], bool]) -> bool:
        """The two bytes read were good: send what comes next."""
        del self._buffer[:2]
        self.outbox.append(message)
        self._question = question
        self._step = step
        return True

    def _read_reply(self) -> bool:
        """RFC 1928 6: version, reply, reserved, type of address, address, port. Only the reply tells us anything."""
        buffer = self._buffer
        if buffer and buffer[0] != _VERSION:
            return self._malformed("the SOCKS proxy's reply is not SOCKS 5")
        if len(buffer) < 2:
            return False
        if buffer[1]:
            why = _REFUSALS.get(buffer[1]) or f"unknown failure X'{buffer[1]:02X}'"
            return self._refuse(f"the SOCKS proxy could not connect: {why}")
        if len(buffer) < 5:  # the fifth byte is the length of a name
            return False
        size = 1 + buffer[4] if buffer[3] == _NAME else _ADDRESS_SIZES.get(buffer[3])
        if size is None:
            return self._malformed("the SOCKS proxy's reply has an unknown type of address")
        end = 4 + size + 2
        return len(buffer) >= end and self._stand(end)


def _check_place(host: str, port: int) -> None:
    if _HOST.fullmatch(host) is None:
        raise RequestError("the host for a proxy must be 1 to 255 visible ASCII characters", phase="tunnel")
    if not 0 <= port <= 65535:
        raise RequestError(f"the port {port} is not within 0 to 65535", phase="tunnel")


def _field(text: str) -> bytes:
    """Length and bytes of a user name or password."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        # Not chained: the exception carries the text.
        raise RequestError("half a surrogate pair in a SOCKS user name or password", phase="tunnel") from None
    if len(data) > _MAX_FIELD:
        raise RequestError(f"a SOCKS user name or password has at most {_MAX_FIELD} bytes", phase="tunnel")
    return bytes((len(data),)) + data


def _socks_address(host: str) -> bytes:
    """Type and address (RFC 1928 5)."""
    from ipaddress import IPv4Address, ip_address

    try:
        address = ip_address(host)
    except ValueError:
        return bytes((_NAME, len(host))) + host.encode("ascii")
    return bytes((_IPV4 if isinstance(address, IPv4Address) else _IPV6,)) + address.packed
