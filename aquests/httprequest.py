"""Making HTTP requests: what is wrong with one is said here, where it is queued.

The fast way: the text ahead of the path is known, the rest needs no change, nothing is optional.
Then a request costs about a microsecond; everything else goes through ``split`` once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypedDict

from .endpoint import LINE_OPTIONS
from .errors import RequestError, misspelt
from .exchange import Callback, Pairs, Request, new
from .headers import request_headers
from .url import is_clean_target, split, with_query

if TYPE_CHECKING:
    from .endpoint import Endpoint, Endpoints
    from .url import Url

ACCEPT: Final = {"application/json": "application/json", "text/xml": "text/xml, application/xml;q=0.9"}
"""What a typed form says it wants back."""
fill: Final = Request.__init__
"""Fills a new request with what needs no check."""
_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NUMBERS: Final = {"timeout": False, "deadline": False, "max_content": True, "max_redirects": True}
"""Options that are numbers; True: whole, and 0 is allowed."""


class Options(TypedDict, total=False):
    """What every HTTP call takes beyond its positional arguments.

    ``auth``: ``(user, password)`` or ``(token,)``; ``callback(response)`` instead of the run's;
    ``meta``: a mapping, copied into ``response.meta``; ``proxy``: URL, or False for none; ``timeout``: seconds
    for each phase; ``deadline``: seconds for all attempts; ``verify``, ``ca``, ``cert``: as in ``configure``;
    ``unix``: path of a socket to connect to; ``allow_redirects``, ``max_redirects``; ``max_content``: bytes;
    ``trust_env``: use the environment's proxies; ``h2c``: HTTP/2 in clear, ``"prior"`` (the server is known to speak
    it; over TLS: nothing else will do) or ``"upgrade"`` (if it wants to). ``max_connections``: lines to the server at
    once, for the requests that say the same number (default: as many as there are workers).
    """

    auth: Any
    callback: Callback | None
    meta: Mapping[str, Any] | None
    proxy: str | bool | None
    timeout: float
    deadline: float
    verify: bool
    ca: Any
    cert: Any
    unix: str | os.PathLike[str] | None
    allow_redirects: bool
    max_redirects: int
    max_content: int
    trust_env: bool
    h2c: str
    max_connections: int


class HttpRequest(Request):
    """An HTTP request; ``aquests.Request(method, url, data, headers, params=…, …)`` makes one that is not queued yet.

    ``data``: bytes, str, a dict (encoded by the content type: form by default), an open binary file or
    an iterable of bytes. Raises RequestError for what cannot be sent, TypeError for a misspelt option.
    """

    __slots__ = ()

    def __init__(
        self,
        method: str,
        url: str,
        data: Any = None,
        headers: Any = None,
        *,
        params: Any = None,
        **options: Any,
    ):
        if _METHOD.fullmatch(method) is None:
            raise RequestError(f"{method!r} is not an HTTP method: letters, digits and !#$%&'*+-.^_`|~ only")
        kind, method = method.lower(), method.upper()  # methods are case-sensitive (RFC 9110 9.1), people are not
        if method == "CONNECT":
            raise RequestError("CONNECT makes tunnels, not requests: use proxy=…")
        self._prepare(method, kind, url, data, headers, params, None, options, None)

    def _prepare(
        self,
        method: str,
        kind: str,
        url: str,
        data: Any,
        headers: Any,
        params: Any,
        content_type: str | None,
        options: dict[str, Any],
        endpoints: Endpoints | None,
    ) -> None:
        callback = meta = None
        if options:
            callback, meta = check(options)
        place: Url | None = None
        endpoint = None
        if params is None and endpoints is not None and not (options and LINE_OPTIONS & options.keys()):
            endpoint = _known(url, endpoints)
        if endpoint is None:
            place = self._split(url, params, options)
            url = place.text
            if endpoints is not None:
                endpoint = endpoints.find(place, options)
                if not LINE_OPTIONS & options.keys() and not place.unix and url.startswith(place.scheme):
                    endpoints.remember(url[: url.find("/", 8)], endpoint)
        pairs = request_headers(headers) if headers is not None else ()
        if data is not None or content_type is not None:
            data, pairs = _encode(data, pairs, content_type)
        Request.__init__(
            self,
            method,
            url,
            data,
            pairs,
            kind=kind,
            endpoint=endpoint,
            callback=callback,
            meta=meta,
            options=options or None,
        )

    def _split(self, url: Any, params: Any, options: dict[str, Any]) -> Url:
        if not isinstance(url, str):
            raise RequestError(f"a URL is a str, not {type(url).__name__}")
        place = split(with_query(url, params) if params else url)
        if place.scheme not in ("http", "https", "http+unix", "https+unix"):
            raise RequestError(f"{place.scheme}:// is not HTTP: use http:// or https://")
        if place.user is not None and "auth" not in options:
            from .auth import credentials

            options["auth"] = credentials((place.user, place.password or ""))
        return place

    def place(self, endpoints: Endpoints) -> None:
        """Set the endpoint, if it is not set yet: for requests made before they are queued. That is now."""
        self.queued_at = monotonic()
        if self.endpoint is None:
            self.endpoint = endpoints.find(split(self.url), self.options)


def make(
    method: str,
    kind: str,
    url: str,
    data: Any,
    headers: Any,
    params: Any,
    content_type: str | None,
    options: Any,
    endpoints: Endpoints,
) -> HttpRequest:
    """The request of a verb, placed: ``kind`` is the verb's name, ``content_type`` that of a typed form."""
    request = new(HttpRequest)
    if not options and params is None and headers is None and data is None and content_type is None:
        endpoint = _known(url, endpoints)
        if endpoint is not None:  # nothing to check, nothing to change (0.2 µs less)
            fill(request, method, url, None, (), kind, endpoint)  # by place: 0.1 µs less than by name
            return request
    request._prepare(method, kind, url, data, headers, params, content_type, options, endpoints)
    return request


def _known(url: Any, endpoints: Endpoints) -> Endpoint | None:
    """The fast way: the endpoint of a URL whose origin was met before, and which needs no change."""
    if url is endpoints.last_url:  # a load run asks for one URL over and over
        return endpoints.last
    cut = url.find("/", 8) if url.__class__ is str else -1
    endpoint = endpoints.known.get(url[:cut]) if cut > 0 and is_clean_target(url, cut) else None
    if endpoint is not None:
        endpoints.last_url, endpoints.last = url, endpoint
    return endpoint


def _encode(data: Any, pairs: Pairs, content_type: str | None) -> tuple[Any, Pairs]:
    """The body, and the headers with its type. A Content-Type of the user's is kept as it is."""
    given = {name.lower(): value for name, value in pairs}
    own = given.get("content-type")
    if content_type is not None and "accept" not in given:
        accept = ACCEPT.get(content_type)
        pairs = (*pairs, ("Accept", accept)) if accept else pairs
    if data is None:
        return None, pairs
    from .body import encode

    body, used = encode(data, content_type or own)
    if own is None and used is not None:
        pairs = (*pairs, ("Content-Type", used))
    return body, pairs


def check(
    options: dict[str, Any], known: Collection[str] = Options.__annotations__.keys()
) -> tuple[Callback | None, Mapping[str, Any] | None]:
    """Take callback and meta out of the options; refuse what cannot be: TypeError for a name that is not ``known``."""
    unknown = options.keys() - known
    if unknown:
        raise misspelt(unknown, known)
    callback = options.pop("callback", None)
    if callback is not None and not callable(callback):
        raise RequestError(f"callback must be callable, not {type(callback).__name__}")
    meta = options.pop("meta", None)
    if meta is not None and not isinstance(meta, Mapping):
        raise RequestError(f"meta must be a mapping, not {type(meta).__name__}")
    if not options:
        return callback, meta
    for name in [name for name, value in options.items() if value is None and name != "proxy"]:
        del options[name]  # None says: as configured
    if "auth" in options:
        from .auth import credentials

        options["auth"] = credentials(options["auth"])
    for name in options.keys() & _NUMBERS.keys():
        value, whole = options[name], _NUMBERS[name]
        good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not good or not (value >= 0 if whole else value > 0):
            wanted = "a whole number of at least 0" if whole else "a number of seconds above 0"
            raise RequestError(f"{name} must be {wanted}, not {value!r}")
    lines = options.get("max_connections", 1)
    if not isinstance(lines, int) or isinstance(lines, bool) or lines < 1:
        raise RequestError(f"max_connections must be a whole number of at least 1, not {lines!r}")
    if not isinstance(options.get("verify", True), bool):
        raise RequestError(f"verify must be True or False, not {options['verify']!r}: a CA is given by ca=…")
    if "unix" in options:
        options["unix"] = _socket_path(options["unix"])
    if options.get("h2c", "prior") not in ("prior", "upgrade"):
        raise RequestError(f"h2c must be 'prior' or 'upgrade', not {options['h2c']!r}")
    if options.get("proxy"):
        from .proxy import parse_proxy

        parse_proxy(options["proxy"])  # what is wrong with it is said here
    return callback, meta


def _socket_path(path: Any) -> str:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text or "\0" in text:
        raise RequestError(f"unix must be a path of a socket (str or os.PathLike), not {path!r}")
    return text
