"""The handshake of Redis: who we are, which protocol, which database; all in one round trip where the server is new.

HELLO 3 carries the password and the name, SELECT goes right behind it. A server older than Redis 6, or something in
between, knows no HELLO: then AUTH, CLIENT SETNAME and SELECT follow, and the lines made later begin with these.

The answer to HELLO or AUTH may quote what was sent (Redis 5 does): of such answers only the first word is shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import AuthenticationWrongNumberOfArgsError, ResponseError

from ..errors import ConnectError
from .rediscommands import encode

MISSING: Final = object()
"""What a parser says while the answer is not complete."""
CROWDED: Final = "max number of clients"
_REFUSALS: Final = {
    "WRONGPASS": "the server refused the password, or the user",
    "NOAUTH": "the server wants a password: give auth=",
    "DENIED": "the server is in protected mode: it takes clients from its own machine only",
    CROWDED: "the server has as many clients as it takes",
}
"""What ends the handshake for certain, by the first word of the answer."""


class Server:
    """What all lines to one place share.

    ``options``: ``db``, ``auth`` (user or "", password; or None), ``name``, ``protocol``, ``decode``, ``pipeline``,
    ``blocking`` (one command at a time).
    """

    def __init__(self, options: Any):
        self.protocol: int = options["protocol"]
        """2 as soon as the server has said that it knows no other."""
        self.most: int = 1 if options["blocking"] else options["pipeline"]
        self.db: int = options["db"]
        self.auth: tuple[str, str] | None = options["auth"]
        self.name: str | None = options["name"]
        # What is no UTF-8 must not be lost: it goes back as the bytes it was (see rediscommands).
        self._coding: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"} if options["decode"] else {}

    def reader(self) -> Any:
        """A parser with its own state."""
        return hiredis.Reader(replyError=refusal, notEnoughData=MISSING, **self._coding)


def refusal(text: str) -> Exception:
    """redis-py's error for what the server has said; ``code`` is the first word of it."""
    error: Any
    try:
        error = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, IndexError):  # a MOVED that says not where to
        error = ResponseError(text)
    error.code = text.partition(" ")[0]
    return error  # type: ignore[no-any-return]


class Greeting:
    """The handshake on one line. ``done`` when all is answered, or with an ``error``; ``outbox`` is the wire's."""

    __slots__ = ("_outbox", "_server", "_takers", "error")

    def __init__(self, server: Server, outbox: list[bytes]):
        self.error: ConnectError | None = None
        self._server = server
        self._outbox = outbox
        self._takers: deque[Callable[[Any], None]] = deque()
        """Who takes the answers, in their order."""
        if server.protocol == 2:
            self._say_resp2()
            return
        args = ["3"]
        if server.auth is not None:
            args += ["AUTH", server.auth[0] or "default", server.auth[1]]
        if server.name is not None:
            args += ["SETNAME", server.name]
        self._say(self._on_hello, "HELLO", *args)
        self._say_select()

    @property
    def done(self) -> bool:
        return not self._takers or self.error is not None

    def take(self, reply: Any) -> None:
        """The next answer."""
        self._takers.popleft()(reply)

    def _say(self, taker: Callable[[Any], None], *words: Any) -> None:
        self._outbox.append(encode((), words))
        self._takers.append(taker)

    def _say_select(self) -> None:
        if self._server.db:
            self._say(self._on_select, "SELECT", self._server.db)

    def _say_resp2(self) -> None:
        server = self._server
        if server.auth is not None:
            user, password = server.auth
            # The password alone is the default user's, and all that Redis 5 knows.
            self._say(self._on_auth, "AUTH", *((user, password) if user not in ("", "default") else (password,)))
        if server.name is not None:
            self._say(self._on_named, "CLIENT", "SETNAME", server.name)
        self._say_select()
        if server.auth is None and server.name is None:
            self._say(self._on_auth, "PING")  # is a password wanted?

    def _on_hello(self, reply: Any) -> None:
        code = self._code(reply)
        if code in ("ERR", "NOPROTO") or (code == "NOAUTH" and self._server.auth is not None):
            self._server.protocol = 2
            # The SELECT on its way will be answered, too.
            self._takers = deque(self._on_anything for _ in self._takers)
            self._say_resp2()
        elif code:
            self._refused(code, f"the server refused HELLO ({code})")

    def _on_auth(self, reply: Any) -> None:
        code = self._code(reply)
        if code:
            words = "the server refused the password, or the user"
            if isinstance(reply, AuthenticationWrongNumberOfArgsError):
                words = "the server is too old to know users: give the password alone"
            elif "no password is set" in str(reply) or "without any password" in str(reply):
                words = "a password was given, but the server has none"
            self._refused(code, words)

    def _on_named(self, reply: Any) -> None:
        """A name is a comfort: its refusal counts only if it is everybody's."""
        code = self._code(reply)
        if code in _REFUSALS:
            self._refused(code, "")

    def _on_select(self, reply: Any) -> None:
        code = self._code(reply)
        if code:
            self._refused(code, f"the server refused database {self._server.db}: {reply}")

    def _on_anything(self, reply: Any) -> None:
        """The answer to what was sent before the server was known."""

    def _refused(self, code: str, words: str) -> None:
        self.error = ConnectError(_REFUSALS.get(code, words), phase="connect")
        self.error.crowded = code == CROWDED

    def _code(self, reply: Any) -> str:
        """The first word of an error; "" for what is none. Shown in messages, so it must be a word, and no secret."""
        if not isinstance(reply, Exception):
            return ""
        if CROWDED in str(reply):
            return CROWDED
        code: str = getattr(reply, "code", "")
        good = code.isascii() and code.isalpha() and code.isupper() and len(code) <= 16
        return code if good and code not in (self._server.auth or ()) else "an unknown error"
