"""Cookies: what a Set-Cookie header says, and a jar that gives them back (RFC 6265).

Facts: a cookie belongs to a host or to a domain with all hosts below it, to a path prefix, and perhaps
to https only. What goes wrong in cookie stores: matching domains as text (``b.com`` is no part of
``evil-b.com.example``), taking a cookie for all of ``co.uk``, letting plain http replace what https has
set, and growing without end. So a domain matches at label boundaries only, a public suffix takes no
cookie, an IP address and a unix socket stand for themselves only, and the jar has limits.

Where RFC 6265bis is stricter than RFC 6265 we follow it: control characters, Secure over http, the name
prefixes ``__Secure-`` and ``__Host-``, a life of 400 days at most, and a cookie for a domain does not replace
the one its host keeps to itself. Where it is laxer we stay with RFC 6265: a cookie without a name is ignored.
SameSite has no meaning here: a client without documents has no sites.

The jar is indexed by domain: looking up a host costs one dict access for each label, however many cookies
there are for others.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cache
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from .errors import RequestError

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

MAX_LIFE: Final = 400 * 86400
"""Seconds a cookie may live at most (RFC 6265bis 5.5)."""
MAX_ATTRIBUTE: Final = 1024
"""Characters of an attribute's value; a longer one is ignored (RFC 6265bis 5.6)."""

_SECURE_SCHEMES: Final = frozenset(("https", "wss", "https+unix"))
_BLANK: Final = " \t"
# Header text stands for octets (headers.py): besides control characters, nothing beyond U+00FF can be in it.
_REFUSED: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_DELTA: Final = re.compile(r"-?[0-9]+")
# An IP address, or what url.py calls a socket: "1.2.3.4", "::1", "0x7f.1", "/run/app.sock", "%2Frun%2Fapp.sock".
_NO_NAME: Final = re.compile(r".*[:/%].*|(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.DOTALL)

# The tokens of a date (RFC 6265 5.1.1).
_DELIMITERS: Final = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[^0-9].*)?", re.DOTALL)
_DAY: Final = re.compile(r"([0-9]{1,2})(?:[^0-9].*)?", re.DOTALL)
_YEAR: Final = re.compile(r"([0-9]{2,4})(?:[^0-9].*)?", re.DOTALL)
_MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}

_Key: TypeAlias = tuple[str, str, bool]


class Attributes:
    """What a Set-Cookie header says beside name and value; the last valid attribute of a kind counts.

    ``expires`` is in unix seconds and ``max_age`` in seconds, None where absent. ``domain`` is lower-case
    without its leading dot; ``domain`` and ``path`` are "" where absent or invalid.
    """

    __slots__ = ("domain", "expires", "http_only", "max_age", "path", "secure")

    def __init__(self) -> None:
        self.expires: float | None = None
        self.max_age: int | None = None
        self.domain = ""
        self.path = ""
        self.secure = False
        self.http_only = False


class Cookie:
    """A stored cookie. ``expires`` is in unix seconds, ``inf`` for one that lives as long as the jar.

    With ``host_only`` it is sent to the host ``domain`` alone, else also to every host below it.
    """

    __slots__ = (
        "_key",
        "_rank",
        "_used",
        "domain",
        "expires",
        "host_only",
        "http_only",
        "name",
        "path",
        "secure",
        "value",
    )

    def __init__(self, name: str, value: str, domain: str, path: str, *, host_only: bool = True, expires: float = inf):
        self.name = name
        self.value = value
        self.domain = domain
        self.path = path
        self.host_only = host_only
        self.expires = expires
        self.secure = False
        self.http_only = False
        self._key: _Key = (name, path, host_only)  # what it is replaced by, within its domain
        self._rank = (0, 0)
        self._used = 0

    def __repr__(self) -> str:  # without the value, which is often a secret
        return f"<Cookie {self.name} for {'' if self.host_only else '.'}{self.domain}{self.path}>"


_by_rank: Final = attrgetter("_rank")
_by_use: Final = attrgetter("_used")


class CookieJar:
    """A store of cookies for any number of hosts (RFC 6265 5.3 and 5.4).

    It holds at most ``max_cookies``, of these ``max_per_domain`` for one domain; when it is full, expired cookies
    go first, then the one whose last use is longest ago. A cookie whose name and value have more than ``max_size``
    bytes is ignored.

    ``scheme``, ``host`` and ``path`` everywhere are those of the request: ``host`` as ``url.origin`` gives it,
    without port, ``path`` with or without query. ``now`` is in unix seconds.
    """

    __slots__ = ("_domains", "_earliest", "_recent", "_tick", "max_cookies", "max_per_domain", "max_size")

    def __init__(self, max_cookies: int = 3000, max_per_domain: int = 50, max_size: int = 4096):
        self.max_cookies = max_cookies
        self.max_per_domain = max_per_domain
        self.max_size = max_size
        self.clear()

    def clear(self) -> None:
        """Forget every cookie."""
        self._domains: dict[str, dict[_Key, Cookie]] = {}
        self._recent: OrderedDict[Cookie, None] = OrderedDict()  # the longest unused first
        self._earliest = inf  # no cookie expires before this
        self._tick = 0  # orders creations and uses, also those of the same instant

    def __len__(self) -> int:
        """How many cookies are stored; expired ones count until somebody comes across them."""
        return len(self._recent)

    def __iter__(self) -> Iterator[Cookie]:
        """The stored cookies, the longest unused first."""
        return iter(list(self._recent))

    def __repr__(self) -> str:
        return f"<CookieJar: {len(self)} cookies>"

    # -- in ------------------------------------------------------------------------------------------------------

    def store(self, set_cookie_values: Iterable[str], scheme: str, host: str, path: str, now: float) -> None:
        """Take over the Set-Cookie headers of an answer (RFC 6265 5.3).

        Never raises: a header that is malformed, foreign or forbidden is ignored. A cookie that has expired
        removes its predecessor.
        """
        host = _canonical(host)
        safe = scheme in _SECURE_SCHEMES
        for text in set_cookie_values:
            parsed = parse_set_cookie(text)
            if parsed is not None:
                name, value, attributes = parsed
                cookie = self._made(name, value, attributes, host, path, now)
                if cookie is not None and (safe or not (cookie.secure or self._shadows(cookie))):
                    self._put(cookie, now)

    def set(self, name: str, value: str, domain: str, path: str = "/") -> None:
        """Put a cookie in by hand; it lives as long as the jar.

        It is sent to the host ``domain``, and to the hosts below it if ``domain`` starts with a dot. Text which
        latin-1 cannot express is sent as UTF-8. Raises RequestError for an empty name or domain, a control
        character or ";", "=" in the name, blanks around it, a path without "/" in front, or too long a pair.
        """
        name, value = _wire_text(name), _wire_text(value)
        if not name or name != name.strip(_BLANK) or "=" in name or ";" in name + value:
            raise RequestError("a cookie needs a name without '=' and blanks around it, and can hold no ';'")
        if _REFUSED.search(name + value):
            raise RequestError("a cookie can hold no control character")
        if len(name) + len(value) > self.max_size:
            raise RequestError(f"a cookie can have {self.max_size} bytes, name and value together")
        host = _canonical(domain.removeprefix("."))
        if not host or not path.startswith("/"):
            raise RequestError("a cookie needs a domain, and a path that starts with '/'")
        host_only = not (domain.startswith(".") and _is_name(host))
        self._put(Cookie(name, value, host, path, host_only=host_only), -inf)

    def _made(self, name: str, value: str, said: Attributes, host: str, path: str, now: float) -> Cookie | None:
        """The cookie a header asks for, or None if it may not be had (RFC 6265 5.3, 6265bis 5.7)."""
        if len(name) + len(value) > self.max_size:
            return None
        prefix = name[:9].lower()
        if prefix.startswith("__host-") and not (said.secure and said.path == "/" and not said.domain):
            return None
        if prefix == "__secure-" and not said.secure:
            return None
        domain = _scope(said.domain, host)
        if domain is None:
            return None
        cookie = Cookie(
            name,
            value,
            domain or host,
            said.path or default_path(path),
            host_only=not domain,
            expires=_expiry(said, now),
        )
        cookie.secure = said.secure
        cookie.http_only = said.http_only
        return cookie

    def _shadows(self, new: Cookie) -> bool:
        """Whether ``new``, which came over plain http, would hide or replace a Secure cookie (RFC 6265bis 5.7).

        The rule looks both up and down the domain tree. Down only matters for a cookie that is sent down there.
        """
        for domain in _upwards(new.domain):
            if domain in self._domains and self._holds_secure(domain, new):
                return True
        if new.host_only:
            return False
        below = "." + new.domain
        return any(domain.endswith(below) and self._holds_secure(domain, new) for domain in self._domains)

    def _holds_secure(self, domain: str, new: Cookie) -> bool:
        cookies = self._domains[domain].values()
        return any(old.secure and old.name == new.name and path_match(new.path, old.path) for old in cookies)

    def _put(self, cookie: Cookie, now: float) -> None:
        self._tick = created = self._tick + 1
        old = self._domains.get(cookie.domain, {}).get(cookie._key)
        if old is not None:
            created = old._rank[1]  # RFC 6265 5.3 step 11: the successor keeps its place
            self._drop(old)
        if cookie.expires <= now:
            return
        cookie._rank = (-len(cookie.path), created)
        cookie._used = self._tick
        bucket = self._domains.setdefault(cookie.domain, {})
        bucket[cookie._key] = cookie
        self._recent[cookie] = None
        self._earliest = min(self._earliest, cookie.expires)
        if len(bucket) > self.max_per_domain or len(self._recent) > self.max_cookies:
            self._evict(bucket, now)

    # -- out -----------------------------------------------------------------------------------------------------

    def header(self, scheme: str, host: str, path: str, now: float) -> str | None:
        """The value of the Cookie header for a request, or None if there is nothing to send (RFC 6265 5.4)."""
        if not self._domains:
            return None
        cookies = self._matching(scheme, host, path, now)
        return "; ".join([f"{cookie.name}={cookie.value}" for cookie in cookies]) if cookies else None

    def as_dict(self, scheme: str, host: str, path: str, now: float) -> dict[str, str]:
        """Name to value of what ``header`` would send; of equal names the one with the longest path."""
        found: dict[str, str] = {}
        for cookie in self._matching(scheme, host, path, now):
            found.setdefault(cookie.name, cookie.value)
        return found

    def _matching(self, scheme: str, host: str, path: str, now: float) -> list[Cookie]:
        """The cookies to send, longest path first, then oldest first. Expired ones met on the way are dropped.

        Hot path: it runs for every request of a run with cookies, mostly in vain.
        """
        host = _canonical(host)
        found: list[Cookie] = []
        domains = self._domains
        for domain in _upwards(host):
            if domain in domains:
                found += [cookie for cookie in domains[domain].values() if not cookie.host_only or domain == host]
        if not found:
            return found

        path = path.partition("?")[0] or "/"
        safe = scheme in _SECURE_SCHEMES
        found = [cookie for cookie in found if (safe or not cookie.secure) and path_match(path, cookie.path)]
        self._tick += 1
        alive = []
        for cookie in found:
            if cookie.expires <= now:
                self._drop(cookie)
            else:
                cookie._used = self._tick
                self._recent.move_to_end(cookie)
                alive.append(cookie)
        alive.sort(key=_by_rank)
        return alive

    # -- away ----------------------------------------------------------------------------------------------------

    def _evict(self, bucket: dict[_Key, Cookie], now: float) -> None:
        """Get back under the limits after one cookie too many (RFC 6265 5.3, at its end)."""
        if self._earliest <= now:
            for cookie in self:
                if cookie.expires <= now:
                    self._drop(cookie)
            self._earliest = min((cookie.expires for cookie in self._recent), default=inf)
        if len(bucket) > self.max_per_domain:
            self._drop(min(bucket.values(), key=_by_use))
        if len(self._recent) > self.max_cookies:
            self._drop(next(iter(self._recent)))

    def _drop(self, cookie: Cookie) -> None:
        bucket = self._domains[cookie.domain]
        del bucket[cookie._key]
        if not bucket:
            del self._domains[cookie.domain]
        del self._recent[cookie]


# -- the header --------------------------------------------------------------------------------------------------


def parse_set_cookie(value: str) -> tuple[str, str, Attributes] | None:
    """Name, value and attributes of a Set-Cookie header (RFC 6265 5.2); None if it is to be ignored.

    Ignored is what has no "=", no name, or a control character. Quotes are part of the value.
    """
    if _REFUSED.search(value):
        return None
    pair, *rest = value.split(";")
    name, equals, text = pair.partition("=")
    name = name.strip(_BLANK)
    if not equals or not name:
        return None
    attributes = Attributes()
    for part in rest:
        key, _, word = part.partition("=")
        _note(attributes, key.strip(_BLANK).lower(), word.strip(_BLANK))
    return name, text.strip(_BLANK), attributes


def response_cookies(values: Iterable[str]) -> dict[str, str]:
    """Name to value of the cookies these Set-Cookie headers set, whether a jar would keep them or not."""
    parsed = map(parse_set_cookie, values)
    return {cookie[0]: cookie[1] for cookie in parsed if cookie is not None}


def _note(attributes: Attributes, key: str, value: str) -> None:
    """Take one attribute over; an unknown or invalid one leaves no trace (RFC 6265 5.2.1 to 5.2.6)."""
    if len(value) > MAX_ATTRIBUTE:
        return
    match key:
        case "expires":
            date = parse_date(value)
            attributes.expires = attributes.expires if date is None else date
        case "max-age":
            if _DELTA.fullmatch(value):
                attributes.max_age = int(value)
        case "domain":
            if value:
                attributes.domain = value.removeprefix(".").lower()
        case "path":
            attributes.path = value if value.startswith("/") else ""
        case "secure":
            attributes.secure = True
        case "httponly":
            attributes.http_only = True


def parse_date(text: str) -> float | None:
    """The unix time a cookie date stands for, in whatever order its parts come (RFC 6265 5.1.1); None if it is none."""
    from datetime import UTC, datetime

    time = day = month = year = None
    for token in _DELIMITERS.split(text):
        if time is None and (found := _TIME.fullmatch(token)):
            time = found
        elif day is None and (found := _DAY.fullmatch(token)):
            day = int(found[1])
        elif month is None and (number := _MONTHS.get(token[:3].lower())):
            month = number
        elif year is None and (found := _YEAR.fullmatch(token)):
            year = int(found[1])
            year += 2000 if year < 70 else 1900 if year < 100 else 0
    if time is None or day is None or month is None or year is None or year < 1601:
        return None
    try:
        return datetime(year, month, day, int(time[1]), int(time[2]), int(time[3]), tzinfo=UTC).timestamp()
    except ValueError:  # no such day, or time of day
        return None


def _expiry(said: Attributes, now: float) -> float:
    if said.max_age is not None:  # RFC 6265 5.3 step 3: before Expires
        return now + min(said.max_age, MAX_LIFE) if said.max_age > 0 else -inf
    return inf if said.expires is None else min(said.expires, now + MAX_LIFE)


# -- hosts and paths ---------------------------------------------------------------------------------------------


def domain_match(host: str, domain: str) -> bool:
    """Whether ``host`` is ``domain`` or a name below it (RFC 6265 5.1.3); both in lower case."""
    return host == domain or (host.endswith("." + domain) and _is_name(host))


def path_match(path: str, cookie_path: str) -> bool:
    """Whether a request for ``path``, without query, gets a cookie for ``cookie_path`` (RFC 6265 5.1.4)."""
    if not path.startswith(cookie_path):
        return False
    return cookie_path.endswith("/") or len(path) == len(cookie_path) or path[len(cookie_path)] == "/"


def default_path(path: str) -> str:
    """The path of a cookie that names none: the directory of the request's path (RFC 6265 5.1.4)."""
    path = path.partition("?")[0]
    return (path.rpartition("/")[0] or "/") if path.startswith("/") else "/"


def _scope(domain: str, host: str) -> str | None:
    """The domain a cookie from ``host`` is for, "" if for the host only, None if it may not (RFC 6265 5.3)."""
    if not domain:
        return ""
    if not domain_match(host, domain):
        return None
    if not _is_name(host):
        return ""
    if _public_suffixes().is_public(domain):
        return "" if domain == host else None
    return domain


def _canonical(host: str) -> str:
    return host if "/" in host else host.lower().strip("[]")  # a "/": the path of a socket, where case counts


def _is_name(host: str) -> bool:
    """Whether ``host`` has labels, so that there are hosts below it."""
    return _NO_NAME.fullmatch(host) is None


def _upwards(host: str) -> list[str]:
    """``host`` and the domains it is in: "a.b.c", "b.c", "c"."""
    names = [host]
    while dot := host.find(".") + 1:
        host = host[dot:]
        names.append(host)
    return names


def _wire_text(text: str) -> str:
    """The text whose latin-1 encoding is sent (see headers.py)."""
    return text.encode("utf-8", "replace").decode("latin-1") if max(text, default="") > "\xff" else text


@cache
def _public_suffixes() -> PublicSuffixList:
    """The list of publicsuffix.org, as the package brings it along: read once, when a Domain is first seen (33 ms)."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
