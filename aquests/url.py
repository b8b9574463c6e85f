"""URLs: split, normalise, join, and the query string (RFC 3986, IDNA 2008).

Nothing is silently stripped and nothing is guessed. A character that RFC 3986 allows stays as
it was written; one that is harmless but not allowed (a space, ``é``, ``[``, ``\\``, a stray
``%``) is percent-encoded; one that two parsers could read differently (control characters, ``\\``
before the path, ``127.1``) is refused with a ``RequestError`` which says how to write it instead.
Dot segments of an absolute URL stay as they are: ``/a/../b`` is sent as ``/a/../b``. Only
``join`` resolves them, because RFC 3986 5.2 says so.

An error text shows of a URL the scheme, the host and a port of digits at most, and "***" for whatever
precedes the last "@", so that no password gets into a log.

How to skip ``split`` (2–3 µs) when the origin is known already::

    cut = url.find("/", 8)  # 8: past the "//" of every http and ws scheme
    known = origins.get(url[:cut])
    if known is not None and is_clean_target(url, cut):
        target = url[cut:]  # may be sent, and shown, as it is
    else:
        parts = split(url)
        # Not url[:cut], which in "http://host?a=/b" and "http://host#/b" is more than scheme and authority.
        origins[parts.text[: -len(parts.target)]] = ...

``is_clean_target`` needs about 120 ns for a target of 51 characters, ``split`` of the whole URL 2.0 µs
with a host name and 2.6 µs with an IPv4 address (Python 3.11, timeit, an idle machine).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from .errors import RequestError

SCHEMES: Final[Mapping[str, int]] = {
    "http": 80,
    "https": 443,
    "ws": 80,
    "wss": 443,
    "http+unix": 80,
    "https+unix": 443,
}
"""The schemes ``split`` knows, with their default ports. In a ``+unix`` scheme the host is a socket path."""

Params: TypeAlias = Mapping[Any, object] | Iterable[tuple[Any, object]] | str | None

# RFC 3986 3.3 and 3.4: pchar, "/" and "?". Possessive repeats, so that a miss costs no backtracking.
_TARGET: Final = r"A-Za-z0-9\-._~!$&'()*+,;=:@/?"
CLEAN_TARGET: Final = re.compile(rf"/[{_TARGET}]*+(?:%[0-9A-Fa-f]{{2}}[{_TARGET}]*+)*+")

is_clean_target: Final = CLEAN_TARGET.fullmatch
"""``is_clean_target(url, start)`` is true if ``url[start:]`` is a target that needs no change: it starts
with "/" and has only allowed characters and whole ``%XX`` escapes, so no fragment and nothing to encode."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^#]*)")
_REFERENCE: Final = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.\-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)
_REFUSED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # controls, and what UTF-8 cannot encode
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_NOT_IN_HOST: Final = re.compile(r"[^a-z0-9._\-]")
_LABELS: Final = re.compile(r"[^.]{1,63}+(?:\.[^.]{1,63}+)*+\.?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_SHOWN: Final = re.compile(r"[^:/?#@]+://")
_OPAQUE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+\-]*):(?![0-9])")
_SHOWN_HOST: Final = re.compile(r"(?:\[[^\]/?#]*\]?|[^/?#:\\]*)(?::[0-9]{1,5}(?![^/?#]))?")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-._~]*")


def _escapes(keep: str, space: str) -> list[str]:
    """What each byte is written as when only the characters that match ``keep`` may stand for themselves."""
    kept = re.compile(keep)
    table = [chr(byte) if byte < 128 and kept.fullmatch(chr(byte)) else f"%{byte:02X}" for byte in range(256)]
    table[0x20] = space
    return table


_TARGET_BYTES: Final = _escapes(rf"[%{_TARGET}]", "%20")
_FORM_BYTES: Final = _escapes(r"[A-Za-z0-9\-._~]", "+")
_SOCKET_BYTES: Final = _escapes(r"[A-Za-z0-9\-._~]", "%20")


class Url:
    """An absolute URL in its parts.

    ``scheme`` and ``host`` are lower-case ASCII (IDNA 2008; an IPv6 address without brackets), ``port`` is the
    effective one. ``user`` and ``password`` are percent-decoded, None where absent. ``target`` is what stands in
    the request line: "/path?query", percent-encoded, without fragment. ``unix`` is the path of the socket, or None;
    with a socket ``host`` is "localhost". ``text`` is the normalised URL without credentials and fragment:
    ``split(x.text).text == x.text``.
    """

    __slots__ = ("scheme", "host", "port", "user", "password", "target", "unix", "text")

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        target: str,
        text: str,
        user: str | None = None,
        password: str | None = None,
        unix: str | None = None,
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target
        self.text = text
        self.user = user
        self.password = password
        self.unix = unix

    def __repr__(self) -> str:
        # The user is masked too: with token authentication it is the secret.
        shown = self.text if self.user is None else self.text.replace("://", "://***@", 1)
        return f"Url({shown!r})"


def split(url: str, schemes: Mapping[str, int] = SCHEMES) -> Url:
    """Take ``url`` apart, normalise it and check it (RFC 3986).

    ``schemes`` maps each accepted scheme to its default port; a scheme that ends with "+unix" takes a
    percent-encoded socket path as its host: ``http+unix://%2Frun%2Fapp.sock/path``. The host is converted by IDNA
    2008 with the UTS 46 mapping, the target percent-encoded where RFC 3986 demands it, the fragment dropped.

    Raises RequestError: no or unknown scheme, no host, a host, port or IP address which is malformed or can be read
    in two ways, a control character anywhere.
    """
    if not isinstance(url, str):
        raise RequestError(f"the URL must be str, not {type(url).__name__}")
    if refused := _REFUSED.search(url):
        raise _refuse(url, _describe(url, refused.start()))
    parts = _URL.match(url)
    if parts is None:
        raise _refuse_start(url, schemes)
    scheme, authority, target = parts.groups()
    scheme = scheme.lower()
    if scheme not in schemes:
        raise _refuse_scheme(url, scheme, schemes)
    if not target.startswith("/"):
        target = "/" + target  # RFC 9112 3.2.1: an empty path is sent as "/"
    if CLEAN_TARGET.fullmatch(target) is None:
        target = _escape_raw(target)

    if "\\" in authority:  # a browser reads it as "/", RFC 3986 parsers do not: two hosts in one URL
        raise _refuse(url, "a backslash before the path: write '/', or %5C in a user or password")

    # The last "@" ends the userinfo, as in every other parser: a raw "@" may stand in a password.
    userinfo, _, place = authority.rpartition("@")
    user, password = _credentials(userinfo, url) if userinfo else (None, None)
    unix = None
    default = schemes[scheme]
    if scheme.endswith("+unix"):
        unix = _socket_path(place, url)
        host, port = "localhost", default
        place = "".join([_SOCKET_BYTES[byte] for byte in unix.encode()])
    else:
        host, port = _host_and_port(place, default, url)
        place = f"[{host}]" if ":" in host else host
        if port != default:
            place = f"{place}:{port}"
    return Url(scheme, host, port, target, f"{scheme}://{place}{target}", user, password, unix)


def origin(url: Url) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials and connections belong to (RFC 6454 4).

    For a unix socket the path of the socket stands in place of the host; it cannot be mixed up with one, since
    the scheme differs.
    """
    return (url.scheme, url.host if url.unix is None else url.unix, url.port)


def host_header(scheme: str, host: str, port: int, schemes: Mapping[str, int] = SCHEMES) -> str:
    """The value of ``Host`` or ``:authority`` (RFC 9110 7.2): the port only if it is not the scheme's default."""
    if ":" in host:
        host = f"[{host}]"
    return host if schemes.get(scheme) == port else f"{host}:{port}"


def join(base: str, reference: str) -> str:
    """Resolve ``reference`` against the absolute URL ``base`` (RFC 3986 5.2, strict), for instance a Location.

    Dot segments are resolved, the fragment of ``reference`` is kept, credentials of ``base`` are kept as long as
    its authority is. The result is not checked: hand it to ``split``, which does.
    """
    base_scheme, base_authority, base_path, base_query, _ = _cut(base)
    scheme, authority, path, query, fragment = _cut(reference)
    if scheme is None and authority is None and not path:
        path = base_path
        query = base_query if query is None else query
    else:
        if scheme is None and authority is None and not path.startswith("/"):
            path = f"{base_path.rpartition('/')[0]}/{path}"  # RFC 3986 5.2.3
        path = _without_dots(path)
    if scheme is None:
        scheme = base_scheme
        authority = base_authority if authority is None else authority
    pieces = (
        "" if scheme is None else scheme + ":",
        "" if authority is None else "//" + authority,
        path,
        "" if query is None else "?" + query,
        "" if fragment is None else "#" + fragment,
    )
    return "".join(pieces)


def encode_query(params: Params) -> str:
    """The query string for ``params``, without "?".

    A mapping or an iterable of (name, value) pairs is encoded as application/x-www-form-urlencoded in UTF-8: a space
    becomes "+", which every server reads as a space in a query. A None value leaves its name out, a list, tuple or
    other iterable repeats it, bytes are taken as they are, everything else goes through ``str``: True is "True".
    A str is a query already: its escapes stay, and only what may not stand in a query is percent-encoded, "#" too.

    Raises RequestError for a nested mapping, for something that is no pair, for text that UTF-8 cannot encode, and for
    a control character in a str (in a mapping it is encoded).
    """
    if params is None:
        return ""
    if isinstance(params, str):
        if refused := _REFUSED.search(params):
            raise RequestError(f"params: {_describe(params, refused.start())}")
        return params if CLEAN_TARGET.fullmatch("/" + params) else _escape_raw(params)
    pieces = []
    for name, value in params.items() if type(params) is dict else _pairs(params):
        key = _escape_form(name)
        if isinstance(value, (str, bytes, int, float)):
            pieces.append(f"{key}={_escape_form(value)}")
        elif isinstance(value, Mapping):
            raise RequestError(f"params: the value of {key!r} is a mapping: flatten it, or send it as JSON")
        else:
            items = value if isinstance(value, Iterable) else (value,)
            pieces += [f"{key}={_escape_form(item)}" for item in items if item is not None]
    return "&".join(pieces)


def with_query(url: str, params: Params) -> str:
    """``url`` with ``params`` (see ``encode_query``) behind its query, if it has one, and before its fragment."""
    query = encode_query(params)
    if not query:
        return url
    head, mark, fragment = url.partition("#")
    if "?" not in head:
        head += "?"
    elif not head.endswith(("?", "&")):
        head += "&"
    return head + query + mark + fragment


# -- authority ---------------------------------------------------------------------------------------------------


def _credentials(userinfo: str, url: str) -> tuple[str, str | None]:
    user, colon, password = userinfo.partition(":")
    return _unescape(user, "the user", url), _unescape(password, "the password", url) if colon else None


def _host_and_port(place: str, default: int, url: str) -> tuple[str, int]:
    if place.startswith("["):
        literal, closed, rest = place[1:].partition("]")
        if not closed:
            raise _refuse(url, "the '[' of the IPv6 address is not closed: write 'http://[::1]:8080/'")
        if rest and not rest.startswith(":"):
            raise _refuse(url, "only ':port' may follow the ']' of an IPv6 address")
        host, port = _ipv6(literal, url), rest[1:]
    else:
        name, _, port = place.partition(":")
        if ":" in port:
            raise _refuse(url, "the host has more than one ':': put an IPv6 address in brackets, 'http://[::1]:8080/'")
        host = _host(name, url)
    return host, _port(port, url) if port else default


def _port(text: str, url: str) -> int:
    # The text itself is not shown: in "http://user:pa/ss@host" it is half a password.
    if not (text.isascii() and text.isdigit()):
        raw = ", and write '/', '?' and '#' in a password as %2F, %3F and %23" if "@" in url else ""
        raise _refuse(url, f"the port is not a number: use digits, 0 to 65535{raw}")
    digits = text.lstrip("0") or "0"
    if len(digits) > 5 or int(digits) > 65535:
        raise _refuse(url, "the port is over 65535")
    return int(digits)


def _host(text: str, url: str) -> str:
    if not text:
        raise _refuse(url, "the host is missing: write 'http://example.com/'")
    if "%" in text:
        if _STRAY_PERCENT.search(text):
            raise _refuse(url, "the host has a '%' that is not followed by two hex digits")
        text = _unescape(text, "the host", url)
    host = text.lower() if text.isascii() else _idna(text, url)
    if wrong := _NOT_IN_HOST.search(host):
        raise _refuse(url, f"the host may not hold {_name(wrong[0])}: only letters, digits, '.', '-' and '_'")
    bare = host.removesuffix(".")
    if len(bare) > 253 or _LABELS.fullmatch(host) is None:
        raise _refuse(url, "each part of the host between dots must have 1 to 63 characters, all of it at most 253")
    if _NUMBER.fullmatch(bare.rpartition(".")[2]) and _IPV4.fullmatch(host) is None:
        # inet_aton reads 127.1, 0x7f.1, 017700000001 and 2130706433 as 127.0.0.1: a filter in between may not.
        raise _refuse(url, "the host is no IPv4 address: write four decimal numbers, 0 to 255, without leading zeros")
    return host


def _idna(text: str, url: str) -> str:
    import idna

    if len(text) > 253:
        raise _refuse(url, "the host is longer than 253 characters")
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:  # IDNAError is one
        raise _refuse(url, f"the host is no valid international name (IDNA 2008): {error}") from error


def _ipv6(text: str, url: str) -> str:
    if "%" in text:
        raise _refuse(
            url, "the IPv6 address has a zone id, which has no meaning but on this machine: leave out '%' and the rest"
        )
    from ipaddress import AddressValueError, IPv6Address

    try:
        return IPv6Address(text).compressed
    except AddressValueError as error:
        raise _refuse(url, f"the IPv6 address is malformed: {str(error)[:100]}") from error


def _socket_path(text: str, url: str) -> str:
    if not text:
        raise _refuse(url, "the socket path is missing: write its '/' as %2F, 'http+unix://%2Frun%2Fapp.sock/path'")
    if _STRAY_PERCENT.search(text):
        raise _refuse(url, "the socket path has a '%' that is not followed by two hex digits")
    return _unescape(text, "the socket path", url)


# -- characters --------------------------------------------------------------------------------------------------


def _escape_raw(text: str) -> str:
    """Percent-encode what may not stand in a target, and leave the escapes that are there."""
    return "".join([_TARGET_BYTES[byte] for byte in _STRAY_PERCENT.sub("%25", text).encode()])


def _escape_form(value: object) -> str:
    if isinstance(value, bytes):
        return "".join([_FORM_BYTES[byte] for byte in value])
    # str.__str__ and not str(): a member of a str Enum is meant as its value.
    text = str.__str__(value) if isinstance(value, str) else str(value)
    if _UNRESERVED.fullmatch(text):
        return text
    try:
        return "".join([_FORM_BYTES[byte] for byte in text.encode()])
    except UnicodeEncodeError as error:
        wrong = _describe(text, error.start)
    raise RequestError(f"params: {wrong}")


def _unescape(text: str, what: str, url: str) -> str:
    raw = _ESCAPE.sub(lambda escape: bytes((int(escape[1], 16),)), text.encode())
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        # Not chained: the exception carries the bytes, which may be a password.
        raise _refuse(url, f"the escapes in {what} are not UTF-8: write 'é' as %C3%A9") from None
    if _REFUSED.search(decoded):
        raise _refuse(url, f"{what} holds an escaped control character")
    return decoded


def _pairs(params: object) -> list[tuple[Any, object]]:
    items = params.items() if isinstance(params, Mapping) else params
    pairs: list[Any] = list(items) if isinstance(items, Iterable) else [None]
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise RequestError("params must be a mapping, an iterable of (name, value) pairs, or a str")
    return pairs


# -- references --------------------------------------------------------------------------------------------------


def _cut(url: str) -> tuple[str | None, str | None, str, str | None, str | None]:
    """Scheme, authority, path, query and fragment (RFC 3986 appendix B); None is absent, "" is empty."""
    found = _REFERENCE.fullmatch(url)
    assert found is not None  # every str matches
    scheme, authority, path, query, fragment = found.groups()
    return scheme, authority, path, query, fragment


def _without_dots(path: str) -> str:
    """RFC 3986 5.2.4, for a path that starts with "/"; any other stays as it is."""
    if "." not in path or not path.startswith("/"):
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


# -- what was wrong ----------------------------------------------------------------------------------------------


def _refuse(url: str, why: str) -> RequestError:
    return RequestError(f"URL {_shown(url)!r}: {why}")


def _shown(url: str) -> str:
    """Scheme, host and a port of digits: what of a URL, well formed or not, may stand in a message.

    Everything before the last "@" is masked wherever that stands, since a raw "/" in a password puts it in the path.
    """
    found = _SHOWN.match(url)
    scheme, rest = (found[0], url[found.end() :]) if found else ("", url.lstrip(":/"))
    masked = "***@" if "@" in rest else ""
    host = _SHOWN_HOST.match(rest.rpartition("@")[2])
    return f"{scheme}{masked}{host[0] if host else ''}"[:100]


def _refuse_start(url: str, schemes: Mapping[str, int]) -> RequestError:
    if not url.strip():
        return RequestError("the URL is empty")
    if url[0].isspace():
        return _refuse(url, "it starts with a space: use strip()")
    if found := _SHOWN.match(url):
        return _refuse_scheme(url, found[0][:-3], schemes)
    for scheme in schemes:
        if url.lower().startswith((scheme + ":", scheme + "/")):
            return _refuse(url, f"'://' is missing after {scheme!r}")
    if (found := _OPAQUE.match(url)) and "@" not in url:
        return _refuse_scheme(url, found[1], schemes)
    scheme = next(iter(schemes))
    shown = _shown(url)
    if not shown or (url.startswith("/") and not url.startswith("//")):
        return RequestError(f"a path alone is no URL: put scheme and host before it, '{scheme}://example.com/'")
    return _refuse(url, f"{scheme}:// is missing: did you mean '{scheme}://{shown}'?")


def _refuse_scheme(url: str, scheme: str, schemes: Mapping[str, int]) -> RequestError:
    return _refuse(url, f"the scheme {scheme[:20]!r} is not known: use one of {', '.join(schemes)}")


_NAMES: Final = {"\0": "NUL", "\t": "a tab", "\n": "a line feed", "\r": "a carriage return", " ": "a space"}


def _name(char: str) -> str:
    return f"{_NAMES.get(char, repr(char))} (U+{ord(char):04X})"


def _describe(text: str, position: int) -> str:
    char = text[position]
    if "\ud800" <= char <= "\udfff":
        mend = "repair the text, it was decoded with errors='surrogateescape' or cut in a pair"
    elif not text[position:].strip():
        mend = "use strip()"
    else:
        mend = "remove it, or write it as " + "".join([f"%{byte:02X}" for byte in char.encode()])
    return f"{_name(char)} at position {position}: {mend}"
