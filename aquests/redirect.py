"""Redirects: whether to follow one, where to, with which method, and what must not go along.

The rules are those of RFC 9110 15.4. What goes wrong: headers made for one origin (Authorization, Cookie,
Host) sent to another, a body's headers sent without the body, a Location read differently by two parsers,
and loops. So every hop says whether it stays on its origin, ``strip_headers`` drops all of a kind, however
often it is repeated, ``url.split`` refuses what can be read in two ways, and hops are counted.

Loops: a login flow comes back to the URL it started from, with a cookie, and must not be stopped. So it is
not the first return to a method and URL that counts as a loop, but the second.

Userinfo in a Location is ignored: a server does not choose whose credentials are sent. Userinfo of the URL
redirected from is not handed on in the URL either; who keeps the credentials for a hop decides by
``same_origin``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple, TypeVar

from .errors import RedirectError, RequestError, TooManyRedirects
from .url import SCHEMES, Url, encode_query, join, origin, split

T = TypeVar("T")

FOLLOWED: Final = frozenset((301, 302, 303, 307, 308))
"""Statuses with one place to go to. 300 is a choice, 304 an answer, 305 and 306 are obsolete (RFC 9110 15.4)."""

SENSITIVE: Final = frozenset(
    (
        "authorization",
        "cookie",
        "cookie2",
        "host",
        "proxy-authorization",
        # Not standardised, but where API keys are put.
        "api-key",
        "private-token",
        "x-access-token",
        "x-api-key",
        "x-auth-token",
    )
)
"""Lower-case names of headers made for one origin."""

BODY_HEADERS: Final = frozenset(
    (
        "content-digest",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "digest",
        "expect",
        "last-modified",
        "repr-digest",
        "trailer",
        "transfer-encoding",
    )
)
"""Lower-case names of headers that speak of the request's body (RFC 9110 15.4)."""

_SOCKETS: Final = ("ws", "wss")
_AS_SOCKET: Final = {"http": "ws", "https": "wss"}


class Hop(NamedTuple):
    """The next request of a chain. ``url`` is absolute, without credentials, and may have a fragment."""

    method: str
    url: str
    keep_body: bool
    """Send the body again, if there was one; else drop it and its headers."""
    same_origin: bool
    """Scheme, host and port stay as they are; else credentials, cookies and Host must not go along."""


def next_hop(
    method: str,
    url: str,
    status: int,
    location: str | None,
    *,
    hops: int,
    max_redirects: int,
    seen: Collection[tuple[str, str]],
) -> Hop | None:
    """The request that follows the answer ``status`` with ``location`` to ``method url``, or None if none does.

    None means that the answer goes to the user: it is no redirect, or has no Location. ``hops`` counts the redirects
    followed so far, ``seen`` holds method and URL of the requests of the chain before this one.

    Raises TooManyRedirects when ``max_redirects`` have been followed, or when the hop's method and URL have been
    asked for twice already; RedirectError when the Location is malformed, or has a scheme other than http and https.
    """
    location = location.strip(" \t") if location else ""
    if status not in FOLLOWED or not location:
        return None
    if hops >= max_redirects:
        raise TooManyRedirects(f"more than {max_redirects} redirects")
    target, same_origin = _resolve(url, location)
    following, keep_body = _method(method, status)
    place = target.partition("#")[0]
    visited = [(verb, visit.partition("#")[0]) for verb, visit in (*seen, (method, url))]
    if visited.count((following, place)) > 1:
        raise TooManyRedirects("the redirects go round in a circle")
    return Hop(following, target, keep_body, same_origin)


def strip_headers(pairs: Iterable[tuple[str, T]], hop: Hop) -> tuple[tuple[str, T], ...]:
    """Those (name, value) pairs of the redirected request that may go along with ``hop``."""
    dropped = (frozenset() if hop.keep_body else BODY_HEADERS) | (frozenset() if hop.same_origin else SENSITIVE)
    return tuple(pair for pair in pairs if pair[0].lower() not in dropped)


def _method(method: str, status: int) -> tuple[str, bool]:
    """The method to go on with, and whether the body is sent again (RFC 9110 15.4)."""
    if status == 303:
        return ("HEAD" if method == "HEAD" else "GET"), False
    if status in (301, 302) and method == "POST":  # not what was meant once, but what everybody does
        return "GET", False
    return method, True


def _resolve(url: str, location: str) -> tuple[str, bool]:
    """Where ``location`` leads from ``url``, and whether that is the same origin."""
    try:
        here = split(url)
        joined = join(url, _as_written(location))
        if here.scheme in _SOCKETS:  # servers write where an opening leads as they do for any other request
            scheme, colon, rest = joined.partition(":")
            joined = _AS_SOCKET.get(scheme.lower(), scheme) + colon + rest
        there = split(joined, _schemes(here))
        _, mark, fragment = joined.partition("#")
        if not mark:
            fragment = url.partition("#")[2]  # RFC 9110 10.2.2
        fragment = encode_query(fragment)  # both have the same characters (RFC 3986 3.5)
    except RequestError as error:
        raise RedirectError(f"the Location cannot be followed: {error}") from error
    same_origin = origin(here) == origin(there)
    if there.unix is not None and not same_origin:
        raise RedirectError("the Location names another unix socket")
    return (f"{there.text}#{fragment}" if fragment else there.text), same_origin


def _schemes(here: Url) -> dict[str, int]:
    """Where a redirect may lead: to http and https, and to a unix socket or a WebSocket only from there."""
    if here.scheme in _SOCKETS:
        return {scheme: SCHEMES[scheme] for scheme in _SOCKETS}
    allowed = ("http", "https", here.scheme) if here.unix is not None else ("http", "https")
    return {scheme: SCHEMES[scheme] for scheme in allowed}


def _as_written(location: str) -> str:
    """Header text stands for octets (headers.py); a Location beyond ASCII is UTF-8, or else latin-1."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeError:
        return location
