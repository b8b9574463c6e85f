"""Where gRPC calls go, and what all calls to there share: the ground of the stubs and of the channel.

Raw messages go in and out; who knows their types stands above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from weakref import ref

from .bodysource import source
from .endpoint import Endpoint, Endpoints
from .errors import RequestError
from .exchange import Pairs, Request
from .protocols.grpc import MAX_MESSAGE, CallCodec, coding_of, frame, request_pairs
from .script import script
from .stub import COMMON, Stub
from .url import split

KNOWN: Final = COMMON | {"metadata", "compression", "max_message", "unix"}
MAX_TERMS: Final = 64
"""Sets of headers and options kept: calls mostly differ in their messages only."""


class Usual:
    """What the calls of one method share that are given a message and nothing else, as long as ``settings`` hold."""

    __slots__ = ("_codec", "_coding", "_endpoint", "_headers", "_meta", "_options", "_serialize", "_url", "settings")

    def __init__(self, like: Request, serialize: Any, coding: str, codec: CallCodec, meta: Mapping[str, Any] | None):
        self.settings = script.engine.settings
        self._serialize = serialize
        self._url = like.url
        self._coding = coding
        self._headers = like.headers
        self._endpoint: Endpoint = like.endpoint
        self._meta = meta
        self._options = like.options
        self._codec = codec

    def request(self, message: Any, callback: Any) -> Request:
        """The request of a call, not queued yet. The hot path."""
        serialize = self._serialize  # a call of a slot's content takes the slow way to it
        return Request(
            "POST",
            self._url,
            frame(serialize(message), self._coding),
            self._headers,
            "grpc",
            self._endpoint,
            callback,
            self._meta,
            self._options,
            self._codec,
        )


class Place(Stub):
    """A gRPC server, and the options that were given for all calls to it."""

    __slots__ = ("_base", "_coding", "_max_message", "_metadata", "_terms", "_url", "_where")

    def __init__(self, url: str, options: dict[str, Any]):
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
        if self._url.user is not None:
            raise RequestError("gRPC has no users in URLs: give credentials as metadata, {'authorization': …}")
        self._base = self._url.text[: -len(self._url.target)]
        self._where: tuple[Endpoints, ref[Endpoint]] | None = None
        """Weakly: what servers said about themselves is kept as long as their endpoints, and holds on to this."""
        self._terms: dict[tuple[Any, ...], tuple[Pairs, dict[str, Any] | None]] = {}
        """Headers and options of calls that differ in their messages only: made once, never changed."""

    @property
    def callback(self) -> Any:
        """What gets the answers of all calls; None for that of the run."""
        return self._callback

    @property
    def target(self) -> str:
        """The path of the URL."""
        return self._url.target

    @property
    def endpoint(self) -> Endpoint:
        """Where calls go: HTTP/2 and nothing else, whatever the server would rather speak."""
        endpoints = script.engine.endpoints
        if self._where is None or self._where[0] is not endpoints or (found := self._where[1]()) is None:
            place = self._url
            unix = self._lines.get("unix") or place.unix
            found = self._place(place.scheme, place.host, place.port, unix, h2c="prior")
            self._where = (endpoints, ref(found))
        return found

    def coding(self, compression: Any) -> str:
        """The coding of one call's messages: its own, or that of all."""
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
        settings = script.engine.settings
        if settings.force_http1:
            raise RequestError("gRPC needs HTTP/2, and force_http1=True forbids it")
        pairs = _pairs(metadata) if metadata is not None else ()
        key = (timeout, deadline, pairs, coding, settings.deadline)
        try:
            headers, options = self._terms.get(key) or self._remember(key)
        except TypeError:  # something in it cannot be a key: a bytearray, or what can be no header at all
            headers, options = self._make_terms(key)
        return Request(
            "POST",
            self._base + path,
            None,
            headers,
            kind="grpc",
            endpoint=self.endpoint,
            callback=callback or self._callback,
            meta={**(self._meta or {}), **meta} if meta else self._meta,
            options=options,
        )

    def usual(self, path: str, serialize: Any, codec: CallCodec) -> Usual:
        """What calls with a message and nothing else are made of, until the settings are changed."""
        return Usual(self.prepare(path, self._coding), serialize, self._coding, codec, self._meta)

    def _make_terms(self, key: tuple[Any, ...]) -> tuple[Pairs, dict[str, Any] | None]:
        timeout, deadline, metadata, coding, usual = key
        options = dict(self._options or {})
        if timeout is not None or deadline is not None:
            options["timeout"], options["deadline"] = timeout, deadline
        else:
            timeout, deadline = options.get("timeout"), options.get("deadline")
        whole = timeout if deadline is None else deadline
        if whole is not None:
            options["deadline"] = whole
            options["timeout"] = whole if timeout is None else timeout
        else:
            whole = usual
        return request_pairs((*self._metadata, *metadata), whole, coding), options or None

    def _remember(self, key: tuple[Any, ...]) -> tuple[Pairs, dict[str, Any] | None]:
        if len(self._terms) >= MAX_TERMS:
            self._terms.clear()
        terms = self._terms[key] = self._make_terms(key)
        return terms

    def codec(self, deserialize: Any, many: bool) -> CallCodec:
        return CallCodec(deserialize, many, self._max_message)

    def body(self, message: Any, serialize: Any, streaming: bool, coding: str) -> Any:
        """One framed message, or a streamed body of them. Raises RequestError for what cannot be serialized."""
        if not streaming:
            return frame(serialize(message), coding)
        single = isinstance(message, (str, bytes, Mapping)) or hasattr(message, "DESCRIPTOR")
        if single or not isinstance(message, Iterable):
            raise RequestError(f"this method takes a stream: give an iterable of messages, not {a(message)}")
        if isinstance(message, (list, tuple)):
            return source([frame(serialize(item), coding) for item in message])  # what is wrong is said here
        return source(frame(serialize(item), coding) for item in message)

    def ask_aside(self, path: str, messages: list[bytes], done: Any) -> None:
        """A bidirectional call of our own, with raw messages."""
        request = self.prepare(path, "identity", callback=done)
        request.payload = self.body(messages, bytes, True, "identity")
        request.codec = self.codec(bytes, True)
        script.engine.ask_aside(request)


def _pairs(metadata: Any) -> tuple[tuple[Any, Any], ...]:
    if metadata is None:
        return ()
    items = metadata.items() if isinstance(metadata, Mapping) else metadata
    pairs = tuple(items) if isinstance(items, Iterable) and not isinstance(items, (str, bytes)) else (None,)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise RequestError("metadata must be a mapping or an iterable of (key, value) pairs")
    return tuple((key, value) for key, value in pairs)


def a(value: Any) -> str:
    """What ``value`` is, for messages."""
    descriptor = getattr(value, "DESCRIPTOR", None)
    return f"a {descriptor.full_name}" if descriptor is not None else f"a value of type {type(value).__name__}"
