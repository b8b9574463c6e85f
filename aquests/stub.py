"""What all stubs share: options are given once, where the stub is made, and hold for each of its calls.

A stub keeps no line and no endpoint: it asks for them where a call is queued, so it goes on working after
``configure()``. A call only queues, and returns its request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Final

from .endpoint import LINE_OPTIONS, Endpoint
from .errors import RequestError
from .exchange import Codec, Request
from .httprequest import check
from .script import script

COMMON: Final = frozenset(
    (
        "callback",
        "meta",
        "timeout",
        "deadline",
        "max_connections",
        "max_content",
        "proxy",
        "trust_env",
        "verify",
        "ca",
        "cert",
    )
)
"""Options that every stub takes, whatever its protocol."""
PER_CALL: Final = frozenset(("callback", "meta", "timeout", "deadline"))
"""Options that may be given with a single call, too, where calls take options."""


class Stub:
    """The base of all stubs: ``options`` are the keyword options given, ``known`` the names of those that it takes.

    ``callback`` and ``meta`` are taken out of ``options``. Raises TypeError for a name that is not known, RequestError
    for a value that cannot be.
    """

    __slots__ = ("_callback", "_lines", "_meta", "_options")

    _per_call: ClassVar[Collection[str]] = PER_CALL

    def __init__(self, options: dict[str, Any], known: Collection[str] = COMMON):
        self._callback, self._meta = check(options, known)
        self._lines = {name: options.pop(name) for name in LINE_OPTIONS & options.keys()}
        """What lines are made with: the place knows it, and a request need not be looked at for it."""
        self._options: Mapping[str, Any] | None = options or None

    def _place(self, scheme: str, host: str, port: int, unix: str | None = None, **distinct: Any) -> Endpoint:
        """The endpoint of a server: ``distinct`` and the options of the stub for its lines make a place distinct."""
        return script.engine.endpoints.intern(scheme, host, port, unix, self._lines | distinct)

    def _ask(
        self,
        method: str,
        url: str,
        payload: Any,
        endpoint: Endpoint,
        kind: str,
        codec: Codec | None = None,
        own: dict[str, Any] | None = None,
        make: Callable[..., Request] = Request,
    ) -> Request:
        """Queue a request with the stub's options and return it. ``url`` is shown: it holds no password.

        ``own`` are the options given with the call, which win; ``make`` makes the request. Raises TypeError for an
        option that a call does not take, RequestError for a value that cannot be.
        """
        callback, meta, options = self._callback, self._meta, self._options
        if own:
            called, more = check(own, self._per_call)
            callback = called or callback
            meta = {**meta, **more} if meta and more else more or meta
            options = {**options, **own} if options else own
        engine = script.made or script.engine
        return engine.submit(make(method, url, payload, (), kind, endpoint, callback, meta, options, codec))


def whole(name: str, value: Any, least: int, most: int) -> int:
    """The value of a numeric option, which may be text from a file or a URL. Raises RequestError."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RequestError(f"{name} must be a whole number from {least} to {most}, not {value!r:.40}")
    return value


class Dotted:
    """A name of the server's that grows by dots and ends in a call: ``stub.system.listMethods()``.

    ``call(name, args, kwargs)`` queues; names that begin with an underscore are Python's, not the server's.
    """

    __slots__ = ("_call", "_name")

    def __init__(self, call: Callable[[str, tuple[Any, ...], dict[str, Any]], Request], name: str):
        self._call = call
        self._name = name

    def __getattr__(self, name: str) -> Dotted:
        if name.startswith("_"):
            raise AttributeError(name)
        return Dotted(self._call, f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Request:
        return self._call(self._name, args, kwargs)

    def __repr__(self) -> str:
        return f"<method {self._name}>"
