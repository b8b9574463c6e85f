"""HTTP authentication: reading challenges, answering them, and sending the answer ahead next time.

Basic (RFC 7617), Digest (RFC 7616, with the forms of RFC 2617 and 2069 old servers speak) and Bearer
(RFC 6750). A bearer token is sent with every request. A user and a password are not sent before the
origin has asked for them; what it asked for is remembered for each origin and each user, so that later
requests need one round trip instead of two. A digest nonce is used again with a rising count until the
server calls it stale or hands out the next one.

Of several challenges the strongest is answered: a digest by its hash, plain before "-sess", then basic.
That an active attacker strips the stronger ones is not prevented: HTTP has no means against it but TLS.

Two traps. Header text stands for octets (see headers.py), so a realm is hashed as its latin-1 encoding
and echoed as it came; user and password are hashed as UTF-8. And a server may challenge for ever, by calling
every nonce stale or by changing the realm each time, so the caller counts the challenges of an exchange.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from os import urandom
from typing import Final, TypeAlias

from .errors import RequestError

Credentials: TypeAlias = tuple[str, ...]
"""``(user, password)`` or ``(token,)``, as ``credentials`` returns it."""

MAX_ROUNDS: Final = 3
"""Challenges answered for one exchange: a remembered answer is refused, a nonce turns stale, one to spare."""

_SHAPE: Final = 'auth must be ("user", "password"), "user:password" or ("token",), all of them str'
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BEARER: Final = re.compile(r"[!-~]+")

# RFC 9110 5.6 and 11.2. Possessive repeats: whatever the header holds, it is read in linear time.
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_GAP: Final = re.compile(r"[ \t,]*+")
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ \t]++([A-Za-z0-9\-._~+/]++=*+)[ \t]*+(?=,|\Z)|(?=[ \t,]|\Z))")
_QUOTED: Final = r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+)"'
_PARAM: Final = re.compile(rf"({_TOKEN})[ \t]*+=[ \t]*+(?:{_QUOTED}|([!#-+\--~]++))")
_JUNK: Final = re.compile(r"[^,]*+")
_ESCAPED: Final = re.compile(r"\\(.)")
_TO_ESCAPE: Final = re.compile(r'(["\\])')

_HASHES: Final = {"md5": ("md5", 1), "sha-256": ("sha256", 2), "sha-512-256": ("sha512_256", 3)}
"""``algorithm`` in lower case, without "-sess": its name in hashlib, and its strength."""


class Challenge:
    """One challenge of a server: ``scheme`` in lower case, ``token68`` ("" if none), ``params`` by lower-case name."""

    __slots__ = ("params", "scheme", "token68")

    def __init__(self, scheme: str, token68: str = ""):
        self.scheme = scheme
        self.token68 = token68
        self.params: dict[str, str] = {}

    def __repr__(self) -> str:  # names only: the class also reads answers, which hold secrets
        return f"<Challenge {self.scheme} {' '.join(self.params)}>"


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges in WWW-Authenticate or Proxy-Authenticate headers, one value a header (RFC 9110 11.6.1).

    Never raises: what cannot be read is skipped up to the next comma. Of repeated parameters the first counts.
    """
    challenges: list[Challenge] = []
    for value in values:
        challenges += _scan(value)
    return challenges


def _scan(value: str) -> list[Challenge]:
    # A comma stands between challenges and between the parameters of one: only "=" tells which comes next.
    challenges: list[Challenge] = []
    at = _end(_GAP, value, 0)
    while at < len(value):
        if challenges and (found := _PARAM.match(value, at)):
            name, quoted, plain = found.groups()
            text = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            challenges[-1].params.setdefault(name.lower(), text)
            at = found.end()
        elif found := _SCHEME.match(value, at):
            challenges.append(Challenge(found[1].lower(), found[2] or ""))
            at = found.end()
        else:
            at = _end(_JUNK, value, at)
        at = _end(_GAP, value, at)
    return challenges


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a match of ``pattern``, which may be empty, ends."""
    found = pattern.match(text, start)
    return found.end() if found else start


# -- what the user gives -----------------------------------------------------------------------------------------


def credentials(auth: object) -> Credentials:
    """``auth`` as ``(user, password)`` or ``(token,)``; the str "user:password" is cut at its first colon.

    Raises RequestError, which never shows the value, for any other shape and for what ``basic`` or ``bearer``
    refuse: after this the answers to challenges cannot fail.
    """
    if isinstance(auth, str):
        user, colon, password = auth.partition(":")
        parts: tuple[object, ...] = (user, password) if colon else ()
    else:
        parts = tuple(auth) if isinstance(auth, (tuple, list)) else ()
    texts = tuple(part for part in parts if isinstance(part, str))
    if len(texts) != len(parts) or len(texts) not in (1, 2):
        raise RequestError(_SHAPE)
    if len(texts) == 1:
        bearer(texts[0])
    else:
        basic(texts[0], texts[1])
    return texts


def basic(user: str, password: str) -> str:
    """The value of an Authorization header: user and password in UTF-8 and base64 (RFC 7617).

    Raises RequestError for a colon in ``user``, a control character, and what UTF-8 cannot encode.
    """
    if ":" in user:
        raise RequestError("auth: a user may not hold ':' (RFC 7617 2)")
    if _CONTROL.search(user + password):
        raise RequestError("auth: user and password may not hold control characters (RFC 7617 2)")
    try:
        raw = f"{user}:{password}".encode()
    except UnicodeEncodeError:
        # Not chained: the exception carries the text.
        raise RequestError("auth: half a surrogate pair in user or password cannot be encoded") from None
    return "Basic " + b2a_base64(raw, newline=False).decode("ascii")


def bearer(token: str) -> str:
    """The value of an Authorization header for a bearer token (RFC 6750 2.1).

    Raises RequestError for an empty token, and for spaces, control characters and anything beyond ASCII.
    """
    if _BEARER.fullmatch(token) is None:
        raise RequestError("auth: a bearer token has one or more visible ASCII characters (RFC 6750 2.1)")
    return "Bearer " + token


# -- answers -----------------------------------------------------------------------------------------------------


class _Basic:
    """The answer to a basic challenge: always the same."""

    __slots__ = ("_value",)

    def __init__(self, user: str, password: str):
        self._value = basic(user, password)

    def is_for(self, challenge: Challenge) -> bool:
        return challenge.scheme == "basic"

    def header(self, method: str, target: str, body: bytes | None) -> str | None:
        return self._value


class _Digest:
    """The answers to one digest challenge (RFC 7616 3.4).

    H(A1) and everything that stays the same from request to request is made once. The client nonce is drawn once for
    each challenge, as "-sess" wants it; the count tells requests apart. It survives ``renew`` because A1 of "-sess"
    stays that of the first request (RFC 7616 3.4.2).
    """

    __slots__ = ("_a1", "_cnonce", "_count", "_hash_name", "_head", "_nonce", "_qop", "_realm", "_tail")

    def __init__(self, challenge: Challenge, user: str, password: str, cnonce: str):
        params = challenge.params
        algorithm = params.get("algorithm", "")
        name = (algorithm or "md5").lower()
        realm = params.get("realm", "")
        self._realm = realm
        self._hash_name = _HASHES[name.removesuffix("-sess")][0]
        self._nonce = params["nonce"]
        self._cnonce = cnonce
        self._count = 0
        self._qop = _qop(challenge) or ""
        self._a1 = self._hash(user.encode() + _octets(f":{realm}:") + password.encode())
        if name.endswith("-sess"):
            self._a1 = self._hash(_octets(f"{self._a1}:{self._nonce}:{cnonce}"))

        if userhash := params.get("userhash", "").lower() == "true":
            user = self._hash(user.encode() + _octets(f":{realm}"))
        self._head = f"Digest {_user_field(user)}, realm={_quote(realm)}"
        self._tail = f", algorithm={algorithm}" if algorithm else ""
        self._tail += f", opaque={_quote(params['opaque'])}" if "opaque" in params else ""
        self._tail += ", userhash=true" if userhash else ""

    def is_for(self, challenge: Challenge) -> bool:
        """Whether ``challenge`` repeats the nonce in use: many lines may ask at once; its count goes on."""
        params = challenge.params
        return challenge.scheme == "digest" and (self._nonce, self._realm) == (params["nonce"], params.get("realm", ""))

    def header(self, method: str, target: str, body: bytes | None) -> str | None:
        """The Authorization value for a request; None if it needs a hash of a body that is not at hand."""
        a2 = f"{method}:{target}"
        if self._qop == "auth-int":
            if body is None:
                return None
            a2 += ":" + self._hash(body)
        a2 = self._hash(_octets(a2))
        fields = f"{self._head}, nonce={_quote(self._nonce)}, uri={_quote(target)}"
        if not self._qop:  # RFC 2069
            return f'{fields}, response="{self._hash(_octets(f"{self._a1}:{self._nonce}:{a2}"))}"{self._tail}'
        self._count += 1
        count = f"{self._count:08x}"
        response = self._hash(_octets(f"{self._a1}:{self._nonce}:{count}:{self._cnonce}:{self._qop}:{a2}"))
        return (
            f'{fields}, response="{response}", qop={self._qop}, nc={count}, cnonce={_quote(self._cnonce)}{self._tail}'
        )

    def renew(self, nonce: str) -> None:
        """Go on with the nonce that the server has handed out."""
        self._nonce = nonce
        self._count = 0

    def _hash(self, data: bytes) -> str:
        from hashlib import new

        return new(self._hash_name, data, usedforsecurity=False).hexdigest()


class Authenticator:
    """Remembers how each origin wants each user to authenticate. One for an engine.

    ``origin`` is any hashable key, ``auth`` what ``credentials`` returned. ``method`` and ``target`` are those of the
    request line. ``body`` is the request's content, b"" if it has none, and None if it is not at hand as bytes (a
    stream): then a digest over the body, which few servers ask for, cannot be given. For a proxy, use an origin of
    its own and the target of the CONNECT.

    ``max_origins`` pairs of origin and user are remembered; the one that was challenged longest ago is forgotten.
    ``random_hex(n)`` gives n random bytes in hex.
    """

    __slots__ = ("_answers", "_max_origins", "_random_hex")

    def __init__(self, max_origins: int = 10_000, random_hex: Callable[[int], str] | None = None):
        self._answers: OrderedDict[tuple[Hashable, Credentials], _Basic | _Digest] = OrderedDict()
        self._max_origins = max_origins
        self._random_hex = random_hex or _random_hex

    def __repr__(self) -> str:  # without the keys, which hold passwords
        return f"<Authenticator: {len(self._answers)} origins>"

    def ahead(self, origin: Hashable, auth: Credentials, method: str, target: str, body: bytes | None) -> str | None:
        """The Authorization value to send without being asked, or None.

        A bearer token is always sent; user and password once this origin has asked for them.
        """
        if len(auth) == 1:
            return "Bearer " + auth[0]
        answer = self._answers.get((origin, auth))
        return None if answer is None else answer.header(method, target, body)

    def challenged(
        self,
        origin: Hashable,
        auth: Credentials,
        values: Iterable[str],
        method: str,
        target: str,
        body: bytes | None,
        attempted: str | None,
        rounds: int = 0,
    ) -> str | None:
        """The Authorization value to repeat a request with after a 401 or 407, or None if it is not worth it.

        ``values`` are the challenge headers, ``attempted`` is the value the refused request was sent with (None if
        none), ``rounds`` says how many challenges this exchange has answered before.

        None: no challenge can be answered, these credentials have been refused, or ``rounds`` reached MAX_ROUNDS.
        """
        if rounds >= MAX_ROUNDS:
            return None
        if len(auth) == 1:
            return "Bearer " + auth[0] if attempted is None else None
        challenge = max(parse_challenges(values), key=_strength, default=None)
        if challenge is None or not _strength(challenge):
            return None
        if attempted is not None and _refused(attempted, challenge):
            if challenge.scheme == "digest":  # perhaps only the nonce was too old: let the next request get a fresh one
                self._answers.pop((origin, auth), None)
            return None
        answer = self._answers.pop((origin, auth), None)
        if answer is None or not answer.is_for(challenge):
            answer = self._answer(challenge, auth)
        self._answers[origin, auth] = answer  # last again: the first is forgotten first
        if len(self._answers) > self._max_origins:
            self._answers.popitem(last=False)
        return answer.header(method, target, body)

    def _answer(self, challenge: Challenge, auth: Credentials) -> _Basic | _Digest:
        user, password = auth
        if challenge.scheme == "basic":
            return _Basic(user, password)
        return _Digest(challenge, user, password, self._random_hex(16))

    def note_info(self, origin: Hashable, auth: Credentials, value: str) -> None:
        """Take the next nonce over from an Authentication-Info or Proxy-Authentication-Info header (RFC 7616 3.5)."""
        answer = self._answers.get((origin, auth))
        if isinstance(answer, _Digest):
            for info in parse_challenges((f"Info {value}",)):
                if nonce := info.params.get("nextnonce"):
                    answer.renew(nonce)


def _strength(challenge: Challenge) -> int:
    """How good it is to answer a challenge; 0: it cannot be answered."""
    if challenge.scheme == "basic":
        return 1
    if challenge.scheme != "digest" or not challenge.params.get("nonce") or _qop(challenge) is None:
        return 0
    from hashlib import algorithms_available

    algorithm = challenge.params.get("algorithm", "").lower() or "md5"
    name, strength = _HASHES.get(algorithm.removesuffix("-sess"), ("", 0))
    if name not in algorithms_available:
        return 0
    if algorithm.endswith("-sess"):
        return 2 * strength if _qop(challenge) else 0  # without qop no cnonce is sent, and the server cannot check A1
    return 2 * strength + 1


def _qop(challenge: Challenge) -> str | None:
    """The quality of protection to choose: "auth" if it may be, "" if the challenge knows none (RFC 2069)."""
    if "qop" not in challenge.params:
        return ""
    offered = [option.strip().lower() for option in challenge.params["qop"].split(",")]
    return "auth" if "auth" in offered else "auth-int" if "auth-int" in offered else None


def _refused(attempted: str, challenge: Challenge) -> bool:
    """Whether ``challenge`` says that the credentials in ``attempted`` are wrong.

    It does not if it asks for another scheme or realm, or calls the nonce stale. A server that has forgotten its
    nonces, say by a restart, should call them stale (RFC 7616 3.3), yet many just send a new one: so an answer with a
    remembered nonce, its count above 1, is not proved wrong either.
    """
    tried = parse_challenges((attempted,))
    if not tried or tried[0].scheme != challenge.scheme:
        return False
    if challenge.scheme == "basic":
        return True
    old, new = tried[0].params, challenge.params
    if old.get("realm") != new.get("realm", "") or new.get("stale", "").lower() == "true":
        return False
    return old.get("nonce") == new["nonce"] or old.get("nc", "00000001") == "00000001"


# -- text --------------------------------------------------------------------------------------------------------


def _octets(text: str) -> bytes:
    """The bytes that header text stands for; text that cannot come from a header is taken as UTF-8."""
    return text.encode("latin-1") if max(text, default="") <= "\xff" else text.encode()


def _quote(text: str) -> str:
    return '"' + _TO_ESCAPE.sub(r"\\\1", text) + '"'


def _user_field(user: str) -> str:
    """``username``, or ``username*`` for a user that is not ASCII (RFC 7616 3.4, RFC 8187)."""
    if user.isascii():
        return f"username={_quote(user)}"
    from urllib.parse import quote

    return f"username*=UTF-8''{quote(user, safe='')}"


def _random_hex(size: int) -> str:
    return urandom(size).hex()  # what secrets.token_hex does, without its imports
