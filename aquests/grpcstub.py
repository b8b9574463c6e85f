"""gRPC in the script face: ``aquests.grpc("http://host:port/package.Service").Method(message)``.

No generated stub is needed: the messages are found through the request's own class, or by asking the
server. A call whose service must be asked for first is admitted at once, and queued when that is known.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from google.protobuf.json_format import ParseDict
from google.protobuf.message import EncodeError

from .endpoint import Endpoint
from .errors import AquestsError, RequestError
from .exchange import Request
from .grpcplace import Place, Usual, a
from .grpcschema import Method, Methods, Reflection, default_methods, methods_in
from .httprequest import check
from .protocols.grpc import frame
from .script import script

if TYPE_CHECKING:
    from .protocols.grpc import CallCodec

PER_CALL: Final = frozenset(("timeout", "deadline", "metadata", "compression", "callback", "meta"))
_SERVICE: Final = re.compile(r"/?([A-Za-z_]\w*(?:\.\w+)*)/?")
_BYTES_VALUE: Final = "google.protobuf.BytesValue"
_URL_SAFE: Final = str.maketrans("+/", "-_")
_REFLECTIONS: Final[WeakKeyDictionary[Endpoint, dict[str, Reflection]]] = WeakKeyDictionary()
"""What servers said about their services, for all stubs of a place alike."""


class Grpc:
    """The stub of one service; each attribute is a method of it, which queues a call and returns its request."""

    def __init__(self, url: str, **options: Any):
        self._service = Service(url, options)

    def __getattr__(self, name: str) -> Calls:
        if name.startswith("_"):
            raise AttributeError(name)
        calls = self.__dict__[name] = Calls(self._service, name)  # found at once from now on
        return calls

    def __repr__(self) -> str:
        return f"<gRPC stub of {self._service.name}>"


class Calls:
    """A method by its name. What goes the usual way is found by the class of the message."""

    __slots__ = ("_callback", "_name", "_service", "_usual")

    def __init__(self, service: Service, name: str):
        self._name = name
        self._service = service
        self._callback = service.place.callback
        self._usual: dict[type, Usual] = {}

    def __call__(self, message: Any = None, /, *more: Any, **options: Any) -> Request:
        """The hot path: what is known of a call is known of the next one, but for its message."""
        if options or more:
            return self._service.call(self._name, (message, *more), options)
        usual = self._usual.get(message.__class__)
        engine = script.made or script.engine
        if usual is None or usual.settings is not engine.settings:
            return self._call_first(message)
        try:
            return engine.submit(usual.request(message, self._callback))
        except EncodeError as fault:
            raise _unsendable(fault) from fault

    def __repr__(self) -> str:
        return f"<method {self._name}>"

    def _call_first(self, message: Any) -> Request:
        """The first call with a message of this class since the settings were changed."""
        request = self._service.call(self._name, (message,), {})
        usual = self._service.usual(self._name, message)
        if usual is not None:
            self._usual[message.__class__] = usual
        return request


class Service:
    """One service at a place, and what is known of its methods."""

    __slots__ = ("_codecs", "_kinds", "_known", "name", "place")

    def __init__(self, url: str, options: dict[str, Any]):
        self.place = Place(url, options)
        match = _SERVICE.fullmatch(self.place.target)
        if match is None:
            raise RequestError(f"{url!r} names no service: it ends in /package.Service")
        self.name = match.group(1)
        self._known: Methods | None = None
        """From what the program has imported, or from what the server said."""
        self._kinds: dict[type, Methods | None] = {}
        """By classes of messages that were sent, from their descriptor pools."""
        self._codecs: dict[Method, CallCodec] = {}

    def usual(self, name: str, message: Any) -> Usual | None:
        """What calls of a method are made of that takes messages of this class, one each; None for other methods."""
        method = (self._kinds.get(message.__class__) or {}).get(name)
        if method is None or method.client_streaming or message.__class__ is not method.request:
            return None
        return self.place.usual(f"/{self.name}/{name}", method.request.SerializeToString, self._codec(method))

    def call(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Request:
        if len(args) > 1:
            raise TypeError(f"{name}() takes one message, or one iterable of messages ({len(args)} given)")
        callback = meta = None
        if options:
            try:
                callback, meta = check(options, PER_CALL)
            except TypeError as error:
                raise TypeError(f"{name}(): {error}; fields of the message go in a dict: {name}({{…}})") from None
        coding = self.place.coding(options.pop("compression", None))
        message, methods = self._methods(args[0] if args else None)
        request = self.place.prepare(f"/{self.name}/{name}", coding, callback=callback, meta=meta, **options)
        if methods is None:
            reflection = self._reflection(request.endpoint)
            self._known = methods = reflection.methods
        if methods is not None:
            self._complete(request, self._method(methods, name), message, coding)
            return script.engine.submit(request)
        request.codec = self.place.codec(bytes, False)  # until it is known: there is no data without it
        script.engine.admit(request)
        reflection.wait(lambda found: self._on_known(request, name, message, coding, found))
        return request

    def _methods(self, message: Any) -> tuple[Any, Methods | None]:
        """The message, and the methods by its own pool, by what is imported or by what the server said before.

        The first message of an iterator is looked at only if nothing else helps.
        """
        found = self._kinds.get(message.__class__)
        if found is not None:
            return message, found
        sample = message
        if isinstance(message, (list, tuple)):
            sample = message[0] if message else None
        found = self._of_pool(sample)
        if found is None:
            self._known = found = self._known or default_methods(self.name)
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
        descriptor = getattr(message, "DESCRIPTOR", None)
        if descriptor is None:
            return None
        kind = message.__class__
        if kind not in self._kinds:
            self._kinds[kind] = methods_in(descriptor.file.pool, self.name)
        return self._kinds[kind]

    def _reflection(self, endpoint: Endpoint) -> Reflection:
        known = _REFLECTIONS.setdefault(endpoint, {})
        if self.name not in known:
            known[self.name] = Reflection(self.name, self.place.ask_aside)
        return known[self.name]

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
            raise RequestError(f"{self.name} has no method {name}; it has {', '.join(sorted(methods))}")
        return method

    def _complete(self, request: Request, method: Method, message: Any, coding: str) -> None:
        place = self.place
        if method.client_streaming:
            request.payload = place.body(message, lambda item: _serialized(item, method), True, coding)
        else:
            request.payload = frame(_serialized(message, method), coding)
        request.codec = self._codec(method)

    def _codec(self, method: Method) -> CallCodec:
        codec = self._codecs.get(method)
        if codec is None:
            codec = self._codecs[method] = self.place.codec(method.reply.FromString, method.server_streaming)
        return codec


def _serialized(message: Any, method: Method) -> bytes:
    """The message, a dict or None (an empty message) as bytes. Raises RequestError if it does not fit."""
    if message.__class__ is method.request:
        try:
            return message.SerializeToString()  # type: ignore[no-any-return]
        except EncodeError as fault:
            raise _unsendable(fault) from fault
    wanted = method.request.DESCRIPTOR.full_name
    if isinstance(message, type):
        raise RequestError(f"{method.name} takes a message, not its class: {message.__name__}(…)")
    given = getattr(getattr(message, "DESCRIPTOR", None), "full_name", None)
    if (given is None and not isinstance(message, Mapping | None)) or given not in (None, wanted):
        raise RequestError(f"{method.name} takes a {wanted} or a dict, not {a(message)}")
    try:
        if given is None:
            message = ParseDict(_readable(message or {}, method.request.DESCRIPTOR), method.request())
        data: bytes = message.SerializeToString()
    except Exception as fault:  # protobuf's own, or whatever a user's mapping raises
        raise RequestError(f"this does not fit {wanted}: {' '.join(str(fault).split())}") from fault
    return data


def _readable(given: Any, kind: Any) -> Any:
    """A dict for protobuf's JSON reader, which would take bytes for base64: what they stand for would be sent."""
    if not isinstance(given, Mapping):
        return given
    fields, others = kind.fields_by_name, kind.fields_by_camelcase_name
    return {name: _field(value, fields.get(name) or others.get(name)) for name, value in given.items()}


def _field(value: Any, field: Any) -> Any:
    if field is None:
        return value  # it will be refused
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry and isinstance(value, Mapping):
        return {key: _field(item, kind.fields_by_name["value"]) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_field(item, field) for item in value]
    takes_bytes = field.type == field.TYPE_BYTES or (kind is not None and kind.full_name == _BYTES_VALUE)
    if takes_bytes and isinstance(value, (bytes, bytearray, memoryview)):
        return urlsafe_b64encode(value).decode()
    if takes_bytes and isinstance(value, str):
        return value.translate(_URL_SAFE)  # JSON may have either alphabet; the reader decodes by the URL's alone
    return value if kind is None else _readable(value, kind)


def _unsendable(fault: EncodeError) -> RequestError:
    return RequestError(f"this message cannot be sent: {fault}")
