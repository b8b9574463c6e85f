"""``aquests.redis(server)``: a stub whose methods are the commands of Redis.

::

    dbo = aquests.redis("127.0.0.1:6379", callback=finish)
    dbo.set("key", "value")
    dbo.lrange("list", 0, 3)
    dbo.config_get("maxmemory")  # or dbo.config.get(…), or dbo.execute("CONFIG GET", …)
    dbo.transaction([("incr", "hits"), ("get", "key")])
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import isinf
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from .errors import RequestError
from .exchange import Exchange, Request
from .protocols import SCHEMES
from .protocols.rediscluster import Slots, shown_url
from .protocols.rediscommands import as_bytes, blocks, encode, first_key, is_set, plain, spoken, transaction
from .script import script
from .stub import COMMON, PER_CALL, Dotted, Stub, whole
from .url import split

if TYPE_CHECKING:
    from .endpoint import Endpoint, Endpoints
    from .exchange import Codec
    from .settings import Settings

PORTS: Final = {"redis": 6379, "rediss": 6379}
PIPELINE: Final = 64
"""Commands on one line whose answers are still to come. More gains nothing measurable, and loses more with a line."""
MAX_PIPELINE: Final = 4096
SHARED: Final = 1024
"""Commands with nothing but a key that each method keeps, for calls that are equal."""
SHORT: Final = 128
"""Characters of a key that is kept so."""
_NAME: Final = re.compile(r"[!-~]+")


def redis(
    server: str = "127.0.0.1:6379",
    db: int | None = None,
    auth: str | Sequence[str] | None = None,
    *,
    tls: bool = False,
    decode: bool = False,
    pipeline: int = PIPELINE,
    protocol: int = 3,
    name: str | None = "aquests",
    **options: Any,
) -> Redis:
    """A stub for a Redis server, or for a cluster by any of its nodes. Makes no connection by itself.

    - ``server``: ``"host:port"``, ``"host"``, ``redis://[user[:password]@]host[:port][/db]``, ``rediss://…`` (TLS), or
      a unix socket: ``unix:///path?db=0``. ``db``: the number of the database; ``auth``: the password, or
      ``(user, password)``. Both win over the URL's.
    - ``decode``: strings of answers as ``str`` instead of ``bytes``: UTF-8, and any other byte as a lone surrogate,
      which is sent back as that byte.
    - ``pipeline``: commands on one line at once (64); 1 switches pipelining off.
    - ``protocol``: 3 (RESP3, where the server knows it), or 2. ``name``: what CLIENT LIST shows; None for nothing.
    - ``callback``, ``meta``, ``timeout``, ``deadline``, ``max_content``, ``proxy``, ``trust_env``, ``verify``, ``ca``,
      ``cert``, ``max_connections``: as for HTTP requests, for all calls of the stub. The first five may also be given
      with a call.

    ``response.data`` is the answer: int, float, bool, bytes (or str), None, list, dict, set; big numbers and verbatim
    text are bytes (or str), and sets within other answers are lists. An error of Redis is an answer, too: status 500,
    and ``response.error`` is redis-py's exception, with the first word of it as ``code``.

    Raises RequestError for a server, database or option that cannot be, TypeError for a misspelt keyword.
    """
    return Redis(server, db, auth, tls, decode, pipeline, protocol, name, options)


class _Found:
    """What a stub has found of its server; beside it, for attributes of a class with ``__getattr__`` are slow.

    ``by``: the table of the engine that was asked. ``place``: the server; ``waiting``: where commands that block go.
    ``slots``: of its cluster, one table for all stubs to the same server.
    """

    __slots__ = ("by", "place", "slots", "url", "waiting")

    by: Endpoints
    place: Endpoint
    waiting: Endpoint
    url: str
    slots: Slots


class Redis(Stub):
    """Every attribute is a command: see :func:`redis`. A call queues the command and returns its request.

    Arguments are str (sent as UTF-8), bytes, int or float. Commands that change a line for others, or that have no
    single answer, are refused where they are called (RequestError), with the reason. Keyword arguments are
    options of the call.

    Commands that block (BLPOP, XREAD with BLOCK …) go over a line of their own and hold a worker for as long; their
    own timeout is added to that of the request. If it is 0, for ever, they wait until the ``deadline`` of the request,
    or without one for its timeout: then the line is closed, so that no element is given to nobody. (WAIT asks
    about the writes of its own line, where there are none.)
    """

    _per_call = PER_CALL | {"max_content"}

    def __init__(
        self,
        server: str,
        db: int | None,
        auth: str | Sequence[str] | None,
        tls: bool,
        decode: bool,
        pipeline: int,
        protocol: int,
        name: str | None,
        options: dict[str, Any],
    ):
        super().__init__(options, COMMON)
        SCHEMES["redis"].load()  # redis-py takes its time: not within the run, when the first line is made
        where = Where(server)
        if protocol not in (2, 3):
            raise RequestError(f"protocol must be 2 or 3, not {protocol!r}")
        if name is not None and _NAME.fullmatch(name) is None:
            raise RequestError("name must be printable ASCII without spaces, or None")
        self._where = ("rediss" if tls or where.tls else "redis", where.host, where.port, where.unix)
        self._distinct: dict[str, Any] = {
            "db": whole("db", where.db if db is None else db, 0, 2**31 - 1),
            "auth": _credentials(auth) if auth is not None else where.auth,
            "name": name,
            "protocol": int(protocol),
            "decode": bool(decode),
            "pipeline": whole("pipeline", pipeline, 1, MAX_PIPELINE),
            "cluster": Slots(where.unix or f"{where.host}:{where.port}"),
        }
        self._found = _Found()
        self._find()

    def execute(self, command: str | bytes, *args: Any, **options: Any) -> Request:
        """Any command by its name: ``execute("JSON.SET", key, "$", text)``."""
        return self._command(command, args, options)

    def transaction(self, commands: Iterable[Sequence[Any]], **options: Any) -> Request:
        """MULTI, the commands ``[(name, *args), …]``, EXEC: all of them, with nobody's in between, or none.

        ``response.data`` is the list of their answers; an answer that is an error stands in it as an exception
        object. A command that Redis refuses to queue makes ``error`` an ExecAbortError (its ``__cause__`` says why),
        and nothing was executed.
        """
        payload, calls = transaction(commands)
        sets = [number for number, (words, args) in enumerate(calls) if is_set(words, args)]
        keys = (first_key(words, args) for words, args in calls)
        key = next((key for key in keys if key is not None), None)
        return self._send("transaction", payload, key, None, AsSets(sets) if sets else None, options)

    def __getattr__(self, name: str) -> Dotted:
        if name.startswith("_"):
            raise AttributeError(name)
        command: Any = None  # a plain one is a function, and called just so
        try:
            command = self._plain(name)
        except RequestError:
            pass  # said where it is called
        command = command or Dotted(self._command, name)
        self.__dict__[name] = command  # the next look finds it without asking here
        return command  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<Redis {self._found.url}>"

    def _plain(self, name: str) -> Callable[..., Request] | None:
        """The method of a command of which nothing is known but its key, as most are; None for the others.

        The hot path of queuing, at about half of the price of the long way. What the long way is needed for
        goes it: options of the call, a cluster, another engine. Equal commands share their bytes (7 % of all it costs
        to get an answer, and a sixth of the memory of what waits; ``redis-piped``).
        """
        words = plain(name)
        if words is None:
            return None
        word = words[0]
        method = word.lower()
        head = f"*2\r\n${len(word)}\r\n{word}\r\n$"
        callback, meta, options = self._callback, self._meta, self._options
        shared: dict[str, bytes] = {}

        found = self._found

        def command(*args: Any, **own: Any) -> Request:
            engine = script.made or script.engine
            if own or found.slots.known or found.by is not engine.endpoints:
                return self._command(name, args, own)
            if len(args) == 1 and (key := args[0]).__class__ is str:
                payload = shared.get(key)
                if payload is None:
                    payload = f"{head}{len(key)}\r\n{key}\r\n".encode() if key.isascii() else encode(words, args)
                    if len(shared) < SHARED and len(key) <= SHORT:
                        shared[key] = payload
            else:
                payload = encode(words, args)
            request = Request(method, found.url, payload, (), "redis", found.place, callback, meta, options)
            return engine.submit(request)

        command.__name__ = command.__qualname__ = name
        return command

    def _command(self, name: str | bytes, args: Sequence[Any], options: dict[str, Any]) -> Request:
        known = plain(name) if isinstance(name, str) else None
        if known is not None:
            return self._send(known[0].lower(), encode(known, args), args[0] if args else None, None, None, options)
        words, args = spoken(name, args)
        payload = encode(words, args)
        codec = AS_SET if is_set(words, args) else None
        return self._send(" ".join(words).lower(), payload, first_key(words, args), blocks(words, args), codec, options)

    def _send(
        self, method: str, payload: Any, key: Any, seconds: float | None, codec: Codec | None, own: dict[str, Any]
    ) -> Request:
        place, url = self._place_of(key, seconds is not None)
        make = Request if seconds is None else partial(Blocking, seconds)
        try:
            return self._ask(method, url, payload, place, "redis", codec, own, make)
        except TypeError as error:
            hint = "what belongs to the command goes by position, as in set(key, value, 'EX', 5)"
            raise TypeError(f"{method}(): {error}; {hint}") from None

    def _place_of(self, key: Any, blocking: bool) -> tuple[Endpoint, str]:
        """The server; in a cluster the node that holds the key, as far as is known."""
        found = self._found
        if found.by is not script.engine.endpoints:
            self._find()
        place = found.waiting if blocking else found.place
        node = found.slots.node(as_bytes(key)) if found.slots.known and key is not None else None
        if node is None or node == (place.host, place.port):
            return place, found.url
        place = found.by.intern(place.scheme, *node, None, place.options)
        return place, shown_url(place)

    def _find(self) -> None:
        """The places of the stub, looked for once."""
        found = self._found
        found.by = script.engine.endpoints
        found.place = self._place(*self._where, blocking=False, **self._distinct)
        found.slots = self._distinct["cluster"] = found.place.options["cluster"]
        found.waiting = self._place(*self._where, blocking=True, **self._distinct)
        found.url = shown_url(found.place)


class Blocking(Request):
    """A command that may block for ``seconds`` at the server: the timeout begins behind them."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float, *request: Any):
        super().__init__(*request)
        self.seconds = seconds

    def begin(self, now: float, settings: Settings) -> Exchange:
        x = super().begin(now, settings)
        if not isinf(self.seconds):
            x.patience += self.seconds
        elif x.limit:
            x.patience = max(x.patience, x.limit - now)
        x.deadline = now + x.patience
        return x


class AsSets:
    """Answers that are sets, which hiredis cannot tell from lists: the whole, or some of a transaction's."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: Sequence[int] | None = None):
        self._numbers = numbers

    def decode(self, x: Exchange) -> None:
        if self._numbers is None:
            x.data = _as_set(x.data)
        elif isinstance(x.data, list):
            for number in self._numbers:
                x.data[number] = _as_set(x.data[number])


AS_SET: Final = AsSets()


def _as_set(value: Any) -> Any:
    try:
        return set(value) if isinstance(value, list) else value
    except TypeError:  # something in it cannot be hashed
        return value


# Where to


class Where:
    """``server`` as it was written, taken apart. Raises RequestError, which shows no password."""

    __slots__ = ("auth", "db", "host", "port", "tls", "unix")

    def __init__(self, server: str):
        if not isinstance(server, str):
            raise RequestError(f"server must be str, not {type(server).__name__}")
        self.unix: str | None = None
        self.tls = False
        user: str | None = None
        password: str | None = None
        if server.startswith(("unix://", "/")):
            userinfo, self.unix, query = _socket(server.removeprefix("unix://"))
            self.host, self.port, path = "localhost", PORTS["redis"], ""
            if userinfo:
                user, colon, password = userinfo.partition(":")
                user, password = unquote(user), unquote(password) if colon else None
        else:
            url = split(server if "://" in server else f"redis://{server}", PORTS)
            self.host, self.port, self.tls = url.host, url.port, url.scheme == "rediss"
            user, password = url.user, url.password
            path, _, query = url.target.partition("?")
        if user and password is None:
            raise RequestError("server: the user has no password: write redis://user:password@host, or :password@host")
        self.auth = _credentials((user or "", password)) if password else None
        self.db = _number(path.strip("/"), query)


def _socket(rest: str) -> tuple[str, str, str]:
    """User and password, path and query of ``[user:password@]/path?query``."""
    userinfo, slash, path = rest.partition("/")
    if not slash or (userinfo and not userinfo.endswith("@")):
        raise RequestError("server: write unix:///path/of/the/socket, with three slashes")
    path, _, query = path.partition("?")
    return userinfo[:-1], "/" + unquote(path), query


def _number(path: str, query: str) -> int:
    """The number of the database that stands in a URL."""
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "db":
            raise RequestError(f"server: {name[:40]!r} may not stand in the URL: give it as a keyword")
        path = path or value
    if path and not (path.isascii() and path.isdigit() and len(path) < 10):
        raise RequestError("server: what follows the host is the number of the database, redis://host:6379/0")
    return int(path or 0)


def _credentials(auth: Any) -> tuple[str, str] | None:
    """``"password"``, ``(password,)`` or ``(user, password)`` as (user or "", password); None if all of it is empty."""
    words = (auth,) if isinstance(auth, str) else tuple(auth) if isinstance(auth, (tuple, list)) else ()
    if len(words) not in (1, 2) or not all(isinstance(word, str) for word in words):
        raise RequestError("auth must be the password, or (user, password), as str")
    user, password = words if len(words) == 2 else ("", words[0])
    try:
        encode(("AUTH",), words)
    except RequestError:
        raise RequestError("auth is text that UTF-8 cannot encode") from None
    return (user, password) if user or password else None
