"""gRPC in the script face: ``aquests.grpc("http://host:port/package.Service").Method(message)``.

No generated stub is needed: the messages are found through the request's own class, or by asking the
server. A call whose service must be asked for first is admitted at once, and queued when that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from .body import source
from .endpoint import Endpoint
from .errors import AquestsError, RequestError
from .exchange import Pairs, Request
from .httprequest import check
from .script import script
from .stub import COMMON, Dotted, Stub
from .url import split

if TYPE_CHECKING:
    from .grpcschema import Method, Methods, Reflection
    from .protocols.grpc import CallCodec

KNOWN: Final = COMMON | {"metadata", "compression", "max_message", "unix"}
PER_CALL: Final = frozenset(("timeout", "deadline", "metadata", "compression", "callback", "meta"))
_SERVICE: Final = re.compile(r"/?([A-Za-z_]\w*(?:\.\w+)*)/?")
_REFLECTIONS: Final[WeakKeyDictionary[Endpoint, dict[str, Reflection]]] = WeakKeyDictionary()
"""What servers said about their services, for all stubs of a place alike."""


class Place(Stub):
    """A gRPC server and what all calls to it share; raw messages in, raw messages out."""

    __slots__ = ("_base", "_coding", "_fixed", "_max_message", "_metadata", "_ready", "_url")

    def __init__(self, url: str, options: dict[str, Any]):
        from .protocols.grpc import MAX_MESSAGE, coding_of, request_pairs

        self._metadata = _pairs(options.pop("metadata", None))
        self._coding = coding_of(options.pop("compression", None))
        most = options.pop("max_message", None)
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
            raise RequestError(f"max_message must be a whole number of bytes, not {most!r}")
        self._max_message: int = MAX_MESSAGE if most is None else most
        super().__init__(options, KNOWN)
        request_pairs(self._metadata, None, self._coding)  # what is wrong with it is said here
        self._url = split(url)
        if self._url.scheme not in ("http", "https", "http+unix", "https+unix"):
            raise RequestError(f"gRPC goes over http:// or https://, not {self._url.scheme}://")
        self._base = self._url.text[: -len(self._url.target)]
        self._fixed: dict[str, Any] = {**(self._options or {}), "allow_redirects": False}
        self._ready: dict[tuple[Pairs, float | None, str], Pairs] = {}

    @property
    def target(self) -> str:
        """The path of the URL."""
        return self._url.target

    @property
    def endpoint(self) -> Endpoint:
        """Where calls go: HTTP/2 and nothing else, whatever the server would rather speak."""
        place = self._url
        return self._place(place.scheme, place.host, place.port, self._fixed.get("unix") or place.unix, h2c="prior")

    def coding(self, compression: Any) -> str:
        """The coding of one call's messages: its own, or that of all."""
        from .protocols.grpc import coding_of

        return self._coding if compression is None else coding_of(compression)

    def prepare(
        self,
        path: str,
        coding: str,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        metadata: Any = None,
        callback: Any = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Request:
        """A request that is not queued yet, and has neither payload nor codec.

        ``timeout`` is gRPC's: seconds for the whole call. Beside ``deadline``, which is then that, it is the
        longest silence. Without either what ``configure`` says holds.
        """
        options = dict(self._fixed)
        if timeout is not None or deadline is not None:
            options["timeout"], options["deadline"] = timeout, deadline
        else:
            timeout, deadline = options.get("timeout"), options.get("deadline")
        whole = timeout if deadline is None else deadline
        if whole is not None:
            options["deadline"] = whole
            options["timeout"] = whole if timeout is None else timeout
        else:
            whole = script.engine.settings.deadline
        if script.engine.settings.force_http1:
            raise RequestError("gRPC needs HTTP/2, and force_http1=True forbids it")
        return Request(
            "POST",
            self._base + path,
            None,
            self._headers(_pairs(metadata), whole, coding),
            kind="grpc",
            endpoint=self.endpoint,
            callback=callback or self._callback,
            meta={**(self._meta or {}), **meta} if meta else self._meta,
            options=options,
        )

    def _headers(self, metadata: Pairs, timeout: float | None, coding: str) -> Pairs:
        """The headers of a call; equal ones are made once."""
        from .protocols.grpc import request_pairs

        key = (metadata, timeout, coding)
        try:
            return self._ready[key]
        except KeyError:
            headers = request_pairs((*self._metadata, *metadata), timeout, coding)
        except TypeError:  # a value that cannot be a key can be no header, either
            return request_pairs((*self._metadata, *metadata), timeout, coding)
        if len(self._ready) >= 64:
            self._ready.clear()
        self._ready[key] = headers
        return headers

    def codec(self, deserialize: Any, many: bool) -> CallCodec:
        from .protocols.grpc import CallCodec

        return CallCodec(deserialize, many, self._max_message)

    def body(self, message: Any, serialize: Any, streaming: bool, coding: str) -> Any:
        """One framed message, or a streamed body of them. Raises RequestError for what cannot be serialized."""
        from .protocols.grpc import frame

        if not streaming:
            return frame(serialize(message), coding)
        single = isinstance(message, (str, bytes, Mapping)) or hasattr(message, "DESCRIPTOR")
        if single or not isinstance(message, Iterable):
            raise RequestError(f"this method takes a stream: give an iterable of messages, not {_a(message)}")
        if isinstance(message, (list, tuple)):
            return source([frame(serialize(item), coding) for item in message])  # what is wrong is said here
        return source(frame(serialize(item), coding) for item in message)

    def ask_aside(self, path: str, messages: list[bytes], done: Any) -> None:
        """A bidirectional call of our own, with raw messages."""
        request = self.prepare(path, "identity", callback=done)
        request.payload = self.body(messages, bytes, True, "identity")
        request.codec = self.codec(bytes, True)
        script.engine.ask_aside(request)


class Grpc:
    """The stub of one service; each attribute is a method of it, which queues a call and returns its request."""

    __slots__ = ("_known", "_place", "_pools", "_service")

    def __init__(self, url: str, **options: Any):
        self._place = Place(url, options)
        match = _SERVICE.fullmatch(self._place.target)
        if match is None:
            raise RequestError(f"{url!r} names no service: it ends in /package.Service")
        self._service = match.group(1)
        self._known: Methods | None = None
        """From what the program has imported, or from what the server said."""
        self._pools: dict[Any, Methods | None] = {}
        """From the descriptor pools of messages that were sent."""

    def __getattr__(self, name: str) -> Dotted:
        if name.startswith("_"):
            raise AttributeError(name)
        return Dotted(self._call, name)

    def __repr__(self) -> str:
        return f"<gRPC stub of {self._service}>"

    def _call(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Request:
        if len(args) > 1:
            raise TypeError(f"{name}() takes one message, or one iterable of messages ({len(args)} given)")
        callback, meta = check(options, PER_CALL)
        coding = self._place.coding(options.pop("compression", None))
        message, methods = self._methods(args[0] if args else None)
        request = self._place.prepare(f"/{self._service}/{name}", coding, callback=callback, meta=meta, **options)
        if methods is not None:
            self._complete(request, self._method(methods, name), message, coding)
            return script.engine.submit(request)
        reflection = self._reflection(request.endpoint)
        script.engine.admit(request)
        reflection.wait(lambda found: self._on_known(request, name, message, coding, found))
        return request

    def _methods(self, message: Any) -> tuple[Any, Methods | None]:
        """The message, and the methods by its own pool, by what is imported or by what the server said before.

        The first message of an iterator is looked at only if nothing else helps.
        """
        from .grpcschema import default_methods

        sample = message
        if isinstance(message, (list, tuple)):
            sample = message[0] if message else None
        found = self._of_pool(sample)
        if found is None:
            self._known = found = self._known or default_methods(self._service)
        if (
            found is None
            and isinstance(message, Iterable)
            and not isinstance(message, (str, bytes, Mapping, list, tuple))
        ):
            rest = iter(message)
            for first in rest:
                return chain((first,), rest), self._of_pool(first)
            message = ()
        return message, found

    def _of_pool(self, message: Any) -> Methods | None:
        from .grpcschema import methods_in

        descriptor = getattr(message, "DESCRIPTOR", None)
        if descriptor is None:
            return None
        pool = descriptor.file.pool
        if pool not in self._pools:
            self._pools[pool] = methods_in(pool, self._service)
        return self._pools[pool]

    def _reflection(self, endpoint: Endpoint) -> Reflection:
        from .grpcschema import Reflection

        known = _REFLECTIONS.setdefault(endpoint, {})
        if self._service not in known:
            known[self._service] = Reflection(self._service, self._place.ask_aside)
        return known[self._service]

    def _on_known(self, request: Request, name: str, message: Any, coding: str, found: Methods | AquestsError) -> None:
        engine = script.engine
        try:
            if isinstance(found, AquestsError):
                raise found
            self._known = found
            self._complete(request, self._method(found, name), message, coding)
        except AquestsError as error:
            engine.refuse(request, error)
        else:
            engine.release(request)

    def _method(self, methods: Methods, name: str) -> Method:
        method = methods.get(name)
        if method is None:
            raise RequestError(f"{self._service} has no method {name}; it has {', '.join(sorted(methods))}")
        return method

    def _complete(self, request: Request, method: Method, message: Any, coding: str) -> None:
        takes_stream = method.client_streaming
        request.payload = self._place.body(message, lambda item: _serialized(item, method), takes_stream, coding)
        request.codec = self._place.codec(method.reply.FromString, method.server_streaming)


def grpc(url: str, **options: Any) -> Grpc:
    """A stub for ``http://host:port/package.Service`` (HTTP/2 by prior knowledge) or ``https://…``.

    ``stub.Method(message)`` queues a call and returns its request: ``message`` is a protobuf message, a dict
    (JSON mapping of protobuf) or, for methods that take a stream, an iterable of these. ``response.data`` is the reply,
    or the list of replies if the method streams them; ``response.metadata`` the initial and the trailing metadata.
    A status that is not OK is an answer: ``response.error`` is a ``grpc.RpcError`` with ``code()`` and ``details()``.

    Calls take ``timeout`` (seconds for the whole call; sent as grpc-timeout and enforced here; beside ``deadline``,
    which is then that, the longest silence), ``metadata`` (pairs or a mapping; bytes under ``…-bin``), ``compression``
    (``"gzip"`` or ``"deflate"``), ``callback`` and ``meta``.

    Options: the same, for all calls; ``max_message`` (bytes of one reply, 4 MiB), ``max_content`` (of all of an
    answer), ``verify``, ``ca``, ``cert``, ``proxy``, ``unix``.

    Raises RequestError for a URL or message that cannot be, TypeError for a misspelt option.
    """
    return Grpc(url, **options)


def grpc_channel(url: str, **options: Any) -> Any:
    """A ``grpc.Channel`` for generated stubs over this engine: ``http://host:port``; options as for :func:`grpc`.

    ``stub.Method.future(message)`` queues, ``stub.Method(message)`` runs the engine until that one is answered.
    """
    from .grpcchannel import Channel

    return Channel(url, options)


def _serialized(message: Any, method: Method) -> bytes:
    """The message, a dict or None (an empty message) as bytes. Raises RequestError if it does not fit."""
    from google.protobuf.json_format import ParseDict, ParseError
    from google.protobuf.message import EncodeError

    wanted = method.request.DESCRIPTOR.full_name
    given = getattr(getattr(message, "DESCRIPTOR", None), "full_name", None)
    if (given is None and not isinstance(message, Mapping | None)) or given not in (None, wanted):
        raise RequestError(f"{method.name} takes a {wanted} or a dict, not {_a(message)}")
    try:
        if given is None:
            message = ParseDict(message or {}, method.request())
        data: bytes = message.SerializeToString()
    except (ParseError, EncodeError, TypeError, ValueError, AttributeError, RecursionError) as fault:
        raise RequestError(f"this does not fit {wanted}: {fault}") from fault
    return data


def _pairs(metadata: Any) -> tuple[tuple[Any, Any], ...]:
    if metadata is None:
        return ()
    items = metadata.items() if isinstance(metadata, Mapping) else metadata
    pairs = tuple(items) if isinstance(items, Iterable) and not isinstance(items, (str, bytes)) else (None,)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise RequestError("metadata must be a mapping or an iterable of (key, value) pairs")
    return tuple((key, value) for key, value in pairs)


def _a(value: Any) -> str:
    descriptor = getattr(value, "DESCRIPTOR", None)
    return f"a {descriptor.full_name}" if descriptor is not None else f"a value of type {type(value).__name__}"
