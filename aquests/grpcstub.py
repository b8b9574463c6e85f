"""gRPC in the script face: ``aquests.grpc("http://host:port/package.Service").Method(message)``.

No generated stub is needed: the messages are found through the request's own class, or by asking the
server. A call whose service must be asked for first is admitted at once, and queued when that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from .body import source
from .errors import AquestsError, RequestError
from .exchange import Request
from .script import script
from .stub import COMMON, Dotted, Stub
from .url import split

if TYPE_CHECKING:
    from .grpcschema import Method, Methods, Reflection
    from .protocols.grpc import Call

KNOWN: Final = COMMON | {"metadata", "compression", "max_message", "unix"}
PER_CALL: Final = frozenset(("timeout", "metadata", "callback", "meta"))
_SERVICE: Final = re.compile(r"/?([A-Za-z_][\w.]*)/?")


class Place(Stub):
    """A gRPC server and what all calls to it share; raw messages in, raw messages out."""

    __slots__ = ("_base", "_compress", "_max_message", "_metadata", "_timeout", "_url")

    def __init__(self, url: str, options: dict[str, Any]):
        from .protocols.grpc import MAX_MESSAGE, request_pairs

        self._metadata = _pairs(options.pop("metadata", None))
        self._compress = _is_gzip(options.pop("compression", None))
        self._max_message = options.pop("max_message", None) or MAX_MESSAGE
        super().__init__(options, KNOWN)
        self._timeout = options.pop("timeout", None) or options.pop("deadline", None)
        request_pairs(self._metadata, self._timeout, self._compress)  # what is wrong with it is said here
        self._url = split(url)
        if self._url.scheme not in ("http", "https", "http+unix", "https+unix"):
            raise RequestError(f"gRPC goes over http:// or https://, not {self._url.scheme}://")
        self._base = self._url.text[: -len(self._url.target)]

    @property
    def target(self) -> str:
        """The path of the URL."""
        return self._url.target

    def prepare(
        self,
        path: str,
        payload: Any,
        codec: Call | None,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        callback: Any = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Request:
        """A request that is not queued yet."""
        from .protocols.grpc import request_pairs

        place = self._url
        distinct = {} if place.scheme.startswith("https") else {"h2c": "prior"}
        timeout = self._timeout if timeout is None else timeout
        options = dict(self._options or {})
        if timeout is not None:
            if not isinstance(timeout, (int, float)) or not timeout > 0:
                raise RequestError(f"timeout must be a number of seconds above 0, not {timeout!r}")
            options["deadline"] = timeout
        return Request(
            "POST",
            self._base + path,
            payload,
            request_pairs((*self._metadata, *_pairs(metadata)), timeout, self._compress),
            kind="grpc",
            endpoint=self._place(place.scheme, place.host, place.port, place.unix, **distinct),
            callback=callback or self._callback,
            meta={**(self._meta or {}), **(meta or {})},
            options=options or None,
            codec=codec,
        )

    def codec(self, deserialize: Any, many: bool) -> Call:
        from .protocols.grpc import Call

        return Call(deserialize, many, self._max_message)

    def body(self, message: Any, serialize: Any, streaming: bool) -> Any:
        """One framed message, or a streamed body of them. Raises RequestError for what cannot be serialized."""
        from .protocols.grpc import frame

        compress = self._compress
        if not streaming:
            return frame(serialize(message), compress)
        if isinstance(message, (str, bytes, Mapping)) or not isinstance(message, Iterable):
            raise RequestError(f"this method takes a stream: give an iterable of messages, not {_a(message)}")
        if isinstance(message, (list, tuple)):
            return source([frame(serialize(item), compress) for item in message])  # what is wrong is said here
        return source(frame(serialize(item), compress) for item in message)

    def ask_aside(self, path: str, messages: list[bytes], done: Any) -> None:
        """A bidirectional call of our own, with raw messages."""
        payload = self.body(messages, bytes, True)
        request = self.prepare(path, payload, self.codec(bytes, True), callback=done)
        script.engine.ask_aside(request)


class Grpc:
    """The stub of one service; each attribute is a method of it, which queues a call and returns its request."""

    __slots__ = ("_known", "_place", "_reflection", "_service")

    def __init__(self, url: str, **options: Any):
        self._place = Place(url, options)
        match = _SERVICE.fullmatch(self._place.target)
        if match is None:
            raise RequestError(f"{url!r} names no service: it ends in /package.Service")
        self._service = match.group(1)
        self._known: Methods | None = None
        self._reflection: Reflection | None = None

    def __getattr__(self, name: str) -> Dotted:
        if name.startswith("_"):
            raise AttributeError(name)
        return Dotted(self._call, name)

    def __repr__(self) -> str:
        return f"<gRPC stub of {self._service}>"

    def _call(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Request:
        if len(args) > 1:
            raise TypeError(f"{name}() takes one message, or one iterable of messages ({len(args)} given)")
        unknown = options.keys() - PER_CALL
        if unknown:
            raise TypeError(f"{name}() got an unexpected keyword argument {sorted(unknown)[0]!r}: {sorted(PER_CALL)}")
        message, first = _peek(args[0] if args else None)
        methods = self._methods(first)
        request = self._place.prepare(f"/{self._service}/{name}", None, None, **options)
        if methods is not None:
            self._complete(request, self._method(methods, name), message)
            return script.engine.submit(request)
        script.engine.admit(request)
        self._ask_server().wait(lambda found: self._on_known(request, name, message, found))
        return request

    def _methods(self, message: Any) -> Methods | None:
        """From the message's own pool, from what is imported, or from what the server said before."""
        from .grpcschema import default_methods, methods_in

        if self._known is None:
            descriptor = getattr(message, "DESCRIPTOR", None)
            if descriptor is not None:
                self._known = methods_in(descriptor.file.pool, self._service)
            self._known = self._known or default_methods(self._service)
        return self._known

    def _ask_server(self) -> Reflection:
        from .grpcschema import Reflection

        if self._reflection is None:
            self._reflection = Reflection(self._service, self._place.ask_aside)
        return self._reflection

    def _on_known(self, request: Request, name: str, message: Any, found: Methods | AquestsError) -> None:
        engine = script.engine
        try:
            if isinstance(found, AquestsError):
                raise found
            self._known = found
            self._complete(request, self._method(found, name), message)
        except AquestsError as error:
            engine.refuse(request, error)
        else:
            engine.release(request)

    def _method(self, methods: Methods, name: str) -> Method:
        method = methods.get(name)
        if method is None:
            raise RequestError(f"{self._service} has no method {name}; it has {', '.join(sorted(methods))}")
        return method

    def _complete(self, request: Request, method: Method, message: Any) -> None:
        request.payload = self._place.body(message, lambda item: _serialized(item, method), method.client_streaming)
        request.codec = self._place.codec(method.reply.FromString, method.server_streaming)


def grpc(url: str, **options: Any) -> Grpc:
    """A stub for ``http://host:port/package.Service`` (HTTP/2 by prior knowledge) or ``https://…``.

    ``stub.Method(message)`` queues a call and returns its request: ``message`` is a protobuf message, a dict
    (JSON mapping of protobuf) or, for methods that take a stream, an iterable of these. ``response.data`` is the reply,
    or the list of replies if the method streams them. Calls take ``timeout`` (seconds; sent as grpc-timeout and
    enforced here), ``metadata`` (pairs or mapping; bytes under ``…-bin``), ``callback`` and ``meta``.

    Options: the same, for all calls; ``compression="gzip"``, ``max_message`` (bytes of one reply, 4 MiB),
    ``verify``, ``ca``, ``cert``, ``proxy``. A status that is not OK is an answer: ``response.error`` is a
    ``grpc.RpcError`` with ``code()`` and ``details()``.

    Raises RequestError for a URL or message that cannot be, TypeError for a misspelt option.
    """
    return Grpc(url, **options)


def grpc_channel(url: str, **options: Any) -> Any:
    """A ``grpc.Channel`` for generated stubs over this engine; options as for :func:`grpc`.

    ``stub.Method.future(message)`` queues, ``stub.Method(message)`` runs the engine until that one is answered.
    """
    from .grpcchannel import Channel

    return Channel(url, options)


def _serialized(message: Any, method: Method) -> bytes:
    """The message, a dict or None (an empty message) as bytes. Raises RequestError if it does not fit."""
    from google.protobuf.json_format import ParseDict, ParseError
    from google.protobuf.message import EncodeError

    wanted = method.request.DESCRIPTOR.full_name
    try:
        if message is None:
            message = method.request()
        elif isinstance(message, Mapping):
            message = ParseDict(message, method.request())
        elif getattr(getattr(message, "DESCRIPTOR", None), "full_name", None) != wanted:
            raise RequestError(f"{method.name} takes a {wanted} or a dict, not {_a(message)}")
        data: bytes = message.SerializeToString()
        return data
    except (ParseError, EncodeError) as fault:
        raise RequestError(f"this does not fit {wanted}: {fault}") from fault


def _peek(message: Any) -> tuple[Any, Any]:
    """The message as given, and the first one if it is a stream (a generator is put together again)."""
    if hasattr(message, "DESCRIPTOR") or message is None or isinstance(message, (str, bytes, Mapping)):
        return message, message
    if isinstance(message, (list, tuple)):
        return message, message[0] if message else None
    if not isinstance(message, Iterable):
        return message, None
    rest = iter(message)
    for first in rest:
        return chain((first,), rest), first
    return (), None


def _pairs(metadata: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(metadata.items() if isinstance(metadata, Mapping) else metadata or ())


def _is_gzip(compression: Any) -> bool:
    if compression in (None, False, "identity", 0):
        return False
    if compression in (True, "gzip") or getattr(compression, "name", "") == "Gzip":
        return True
    raise RequestError(f"compression is None or 'gzip', not {compression!r}")


def _a(value: Any) -> str:
    descriptor = getattr(value, "DESCRIPTOR", None)
    return f"a {descriptor.full_name}" if descriptor is not None else f"a value of type {type(value).__name__}"
