"""Which proxy a line goes through: the one that was given, or the environment's.

The environment is a convention without a specification. Chosen here, as most tools do:

- The scheme of the URL names the variable: ``http_proxy`` (http, ws), ``https_proxy`` (https, wss); where that
  is unset or empty, ``all_proxy``. Lower case wins over upper case, even when it is empty: so one is turned off.
- ``HTTP_PROXY`` is ignored where ``REQUEST_METHOD`` is set: a CGI server makes it of a request header that
  anybody can send, "Proxy" (httpoxy, CVE-2016-5385).
- ``no_proxy`` takes hosts out. It says nothing about a proxy that was given by hand.
- Databases have no variable: a proxy meant for the web knows nothing of them. They take one by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .auth import basic
from .errors import RequestError
from .url import split

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
"""The kinds of proxy and their default ports: the scheme's own, RFC 1928 3 for SOCKS. curl differs: it takes 1080
for http too."""

MAX_SOCKS_FIELD: Final = 255
"""Bytes of a SOCKS user name or password: its length is one byte (RFC 1929 2)."""

_VARIABLES: Final = {"http": "http_proxy", "ws": "http_proxy", "https": "https_proxy", "wss": "https_proxy"}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")


class Proxy:
    """One proxy. A value: equal ones compare equal and hash alike; not changed once made.

    ``scheme`` is "http", "https" (TLS to the proxy), "socks5" (names are resolved here) or "socks5h" (by the
    proxy); ``host`` is without brackets; ``user`` and ``password`` are decoded, None where absent; ``label`` is
    "host:port" for messages.
    """

    __slots__ = ("host", "label", "password", "port", "scheme", "user")

    def __init__(self, scheme: str, host: str, port: int, user: str | None = None, password: str | None = None):
        self.scheme = scheme
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.label = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _key(self) -> tuple[object, ...]:
        return (self.scheme, self.host, self.port, self.user, self.password)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Proxy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        # The user is masked too: with token authentication it is the secret.
        return f"Proxy('{self.scheme}://{'' if self.user is None else '***@'}{self.label}')"


def parse_proxy(text: str) -> Proxy:
    """The proxy that ``text`` names: ``scheme://user:password@host:port``, or ``host:port`` for an http one.

    User and password are percent-decoded, an IPv6 address stands in brackets, a port that is not there is the
    scheme's (``PORTS``). Equal texts are parsed once.

    Raises RequestError, which never shows user or password: another scheme, a malformed host or port, a path, a
    user that cannot be sent (with a colon over http, RFC 7617 2; over 255 bytes over SOCKS, RFC 1929 2).
    """
    if not isinstance(text, str):
        raise RequestError(f"proxy must be str, None or False, not {type(text).__name__}")
    return _parse(text.strip())


@lru_cache(maxsize=256)
def _parse(text: str) -> Proxy:
    if not text:
        raise RequestError("the proxy is empty: write 'http://host:port', or False for none")
    found = _SCHEME.match(text)
    if found is None:
        text = "http://" + text
    elif found[1].lower() in ("socks", "socks4", "socks4a"):
        raise RequestError("proxy: SOCKS 4 is not spoken: write 'socks5://', which nearly every SOCKS proxy knows")
    try:
        url = split(text, PORTS)
    except RequestError as error:
        raise RequestError(f"proxy: {error.message}") from error
    if url.target != "/" or "#" in text:
        # Not shown: it may be the rest of a password.
        escapes = "; in a password write '/', '?' and '#' as %2F, %3F and %23" if "@" in text else ""
        raise RequestError(f"proxy: nothing may stand behind host and port{escapes}")
    if url.user is not None:
        _check_credentials(url.scheme, url.user, url.password or "")
    return Proxy(url.scheme, url.host, url.port, url.user, url.password)


def _check_credentials(scheme: str, user: str, password: str) -> None:
    """Refuse here what could not be sent later, when the line is being made."""
    if scheme in ("http", "https"):
        if ":" in user:
            raise RequestError("proxy: the user may not hold ':' (RFC 7617 2)")
    elif max(len(user.encode()), len(password.encode())) > MAX_SOCKS_FIELD:
        raise RequestError(f"proxy: user or password is over {MAX_SOCKS_FIELD} bytes, which SOCKS cannot send")


def proxy_for(
    scheme: str,
    host: str,
    port: int,
    *,
    given: str | bool | None,
    trust_env: bool,
    environ: Mapping[str, str],
) -> Proxy | None:
    """The proxy for a line to ``host`` (lower case, without brackets) and ``port``; None: go there directly.

    ``given`` is the option of the request or the run: text names a proxy, False or "" means none, None leaves it to
    ``environ`` if ``trust_env``. The ``+unix`` schemes never have one.

    Raises RequestError if the text, or the variable, names no proxy.
    """
    if scheme.endswith("+unix") or given is False or given == "":
        return None
    if given is True:
        raise RequestError("proxy must be str, None or False, not True: name one")
    if given is not None:
        return parse_proxy(given)
    return _from_environment(scheme, host, port, environ) if trust_env else None


def forwards(proxy: Proxy, scheme: str, h2c: str | None = None) -> bool:
    """True: the request goes to the proxy itself, in absolute form (RFC 9112 3.2.2). False: through a tunnel.

    So does HTTP/2 in clear (the option ``h2c``): the proxy would have to speak it, too.
    """
    return scheme == "http" and not h2c and proxy.scheme in ("http", "https")


def proxy_authorization(proxy: Proxy) -> str | None:
    """The value of Proxy-Authorization for an http or https proxy (RFC 7617); None without a user, and for SOCKS."""
    if proxy.user is None or proxy.scheme not in ("http", "https"):
        return None
    return basic(proxy.user, proxy.password or "")


# -- the environment ---------------------------------------------------------------------------------------------


def _from_environment(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    name = _VARIABLES.get(scheme)
    if name is None:
        return None
    text = _variable(environ, name)
    if not text:
        name = "all_proxy"
        text = _variable(environ, name)
    if not text or _is_excepted(_variable(environ, "no_proxy"), host, port):
        return None
    try:
        return _parse(text)
    except RequestError as error:
        raise RequestError(f"{name} in the environment: {error.message}") from error


def _variable(environ: Mapping[str, str], name: str) -> str:
    """The value under the lower-case name, else under the upper-case one, else ""."""
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        # Compared as written: os.environ of Windows would find HTTP_PROXY under the lower-case name too.
        return environ[name].strip() if name in list(environ) else ""
    value = environ.get(name)
    return (environ.get(name.upper(), "") if value is None else value).strip()


class _Rule:
    """An entry of no_proxy: a network, or else how ``"." + host`` ends ("" for all); port 0 stands for every port."""

    __slots__ = ("network", "port", "suffix")

    def __init__(self, suffix: str, network: IPv4Network | IPv6Network | None, port: int):
        self.suffix = suffix
        self.network = network
        self.port = port

    def covers(self, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
        if self.port not in (0, port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        # "0.1" is no domain of 10.0.0.1: of the names only "*" covers an address.
        return f".{host}".endswith(self.suffix) and (address is None or not self.suffix)


def _is_excepted(no_proxy: str, host: str, port: int) -> bool:
    """Does ``no_proxy`` name this place?"""
    if not no_proxy:
        return False
    from ipaddress import ip_address

    host = host.lower().removesuffix(".")
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    return any(rule.covers(host, address, port) for rule in _rules(no_proxy))


@lru_cache(maxsize=64)
def _rules(no_proxy: str) -> tuple[_Rule, ...]:
    """The rules of a list with commas, spaces or both. What cannot be read names no place and is left out."""
    rules = (_rule(entry) for entry in no_proxy.replace(",", " ").split())
    return tuple(rule for rule in rules if rule is not None)


def _rule(entry: str) -> _Rule | None:
    """``*``, ``10.0.0.0/8``, ``::1``, ``[::1]:8080``, ``example.com``, ``.example.com`` or ``*.example.com:8080``."""
    if entry == "*":
        return _Rule("", None, 0)
    network = _network(entry)
    if network is not None:
        return _Rule("", network, 0)
    try:
        url = split("rule://" + entry.removeprefix("*").removeprefix("."), {"rule": 0})
    except RequestError:
        return None
    if url.target != "/":
        return None
    return _Rule("." + url.host.removesuffix("."), _network(url.host), url.port)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    from ipaddress import ip_network

    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
