"""The rules of HTTP between a wire and the user: cookies, credentials, redirects, content codings.

They hold for every version of HTTP alike, so wires know nothing of them.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

from .errors import ProtocolError, RedirectError, TooLarge
from .exchange import Exchange, Response, Trail
from .redirect import next_hop, strip_headers
from .retry import rewound
from .url import split

if TYPE_CHECKING:
    from .auth import Authenticator
    from .cookies import CookieJar
    from .endpoint import Endpoints
    from .settings import Settings


class Rules:
    """``prepare`` looks at an exchange before it is sent, ``review`` at an answer that is not plain."""

    def __init__(self, endpoints: Endpoints):
        self._endpoints = endpoints
        self._jar: CookieJar | None = None
        self._authenticator: Authenticator | None = None
        self._settings: Settings

    def configure(self, settings: Settings) -> None:
        self._settings = settings
        if not settings.cookie:
            self._jar = None
        elif self._jar is None:
            from .cookies import CookieJar

            self._jar = CookieJar()

    # Before

    def prepare(self, x: Exchange) -> None:
        """Add what is sent ahead: cookies that match, credentials this origin has asked for. The user's own win."""
        endpoint = x.endpoint
        auth = _credentials(x)
        if (auth is None and self._jar is None) or not endpoint.spec.web:
            return
        given = {name.lower() for name, _ in x.given}
        extra: list[tuple[str, str | None]] = []
        if self._jar is not None and "cookie" not in given:
            cookie = self._jar.header(endpoint.scheme, endpoint.origin[1], _path(x.url), time())
            if cookie:
                extra.append(("Cookie", cookie))
        if auth is not None and "authorization" not in given:
            trail = x.trail
            if trail is not None and trail.attempted is not None:
                authorization: str | None = trail.attempted
            else:
                authorization = self._auth().ahead(endpoint.origin, auth, x.method, _target(x.url), _whole_body(x))
            if authorization:
                extra.append(("Authorization", authorization))
        if extra:
            x.headers = (*x.given, *extra)

    def _auth(self) -> Authenticator:
        if self._authenticator is None:
            from .auth import Authenticator

            self._authenticator = Authenticator()
        return self._authenticator

    # After

    def review(self, x: Exchange) -> Exchange | None:
        """The next attempt this answer asks for; None: it goes to the user, decoded (or with an error)."""
        head: Any = x.head
        endpoint = x.endpoint
        if self._jar is not None:
            cookies = head.headers.get_all("set-cookie")
            self._jar.store(cookies, endpoint.scheme, endpoint.origin[1], _path(x.url), time())
        if self._authenticator is not None and "authentication-info" in head.headers:
            auth = _credentials(x)
            if auth is not None:
                self._authenticator.note_info(endpoint.origin, auth, head.headers["authentication-info"])
        again = None
        if head.status == 401:
            again = self._answer_challenge(x)
        elif 300 < head.status < 400 and self._follows(x):
            again = self._follow(x)
        if again is None and head.encodings and x.error is None:
            self._decode(x)
        if again is None and x.codec is not None and x.error is None:
            x.codec.decode(x)
        return again

    def _answer_challenge(self, x: Exchange) -> Exchange | None:
        auth = _credentials(x)
        if auth is None:
            return None
        head: Any = x.head
        sent = next((value for name, value in x.headers if name.lower() == "authorization"), None)
        if sent is not None and any(name.lower() == "authorization" for name, _ in x.given):
            return None  # the user's own header was refused: nothing better is known
        values = head.headers.get_all("www-authenticate")
        rounds = x.trail.rounds if x.trail is not None else 0
        authorization = self._auth().challenged(
            x.endpoint.origin, auth, values, x.method, _target(x.url), _whole_body(x), sent, rounds
        )
        if authorization is None or not rewound(x.payload):
            return None
        again = x.again()
        again.trail = again.trail or Trail()
        again.trail.attempted = authorization
        again.trail.rounds += 1
        again.ruled = True
        return again

    def _follows(self, x: Exchange) -> bool:
        if not getattr(x.codec, "follows", True):
            return False
        options = x.request.options if x.request is not None else None
        follow = self._settings.allow_redirects
        return bool(options.get("allow_redirects", follow)) if options else follow

    def _follow(self, x: Exchange) -> Exchange | None:
        head: Any = x.head
        request = x.request
        assert request is not None
        before = x.trail or Trail()
        most = (request.options or {}).get("max_redirects", self._settings.max_redirects)
        location = head.headers.get("location")
        seen = before.visited
        try:
            hop = next_hop(x.method, x.url, head.status, location, hops=len(seen), max_redirects=most, seen=seen)
            if hop is None:
                return None
            if x.codec is not None and not hop.keep_body:
                raise RedirectError("the redirect drops what is to be sent")
            if hop.keep_body and not rewound(x.payload):
                raise RedirectError("the redirect wants the body again, and its source cannot be read twice")
            url = split(hop.url)
        except RedirectError as error:
            error.endpoint = x.endpoint.label
            x.error = error
            return None
        if head.encodings:
            self._decode(x)
        again = x.again()
        again.trail = trail = before.copy()  # of its own: x stays in the history with what was before it
        trail.history.append(Response(x, request))
        trail.visited.append((x.method, x.url))
        trail.attempted = None
        again.method = hop.method
        again.url = url.text
        if not hop.keep_body:
            again.payload = None
        trail.stranger = trail.stranger or not hop.same_origin
        again.given = again.headers = strip_headers(x.given, hop)
        given = request.options or {}
        options = {name: given[name] for name in given if not (trail.stranger and name in ("unix", "auth"))}
        again.endpoint = self._endpoints.find(url, options, again.given)
        return again

    def _decode(self, x: Exchange) -> None:
        from .protocols.content import decode

        head: Any = x.head
        try:
            x.body = decode(x.body, head.encodings, x.max_content, self._settings.max_ratio)
        except (ProtocolError, TooLarge) as error:
            error.endpoint = x.endpoint.label
            x.error = error


def _credentials(x: Exchange) -> Any:
    if x.request is None or (x.trail is not None and x.trail.stranger):
        return None
    options = x.request.options
    return options.get("auth") if options else None


def _whole_body(x: Exchange) -> bytes | None:
    """The body for a digest over it; None if it is streamed and not at hand."""
    return b"" if x.payload is None else x.payload if isinstance(x.payload, bytes) else None


def _target(url: str) -> str:
    return url[url.find("/", url.find("://") + 3) :]


def _path(url: str) -> str:
    return _target(url).partition("?")[0]
