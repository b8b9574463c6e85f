"""One request, its fate on the line, and the answer.

Three objects, because they live differently:

- ``Request`` waits in the queue, perhaps beside ten million others: small (see ``docs`` of the
  fields), and kept by the user if he likes, for its ``.response``.
- ``Exchange`` lives while one attempt is in flight. Wires read and fill it.
- ``Response`` is the user's view of a finished exchange; whatever costs is made at first look.

The request knows its response; the response must not know that request, or every answer would
be a cycle that only the garbage collector frees (bodies of megabytes wait for it). So the
exchange copies what was sent, and lets go of the request when it is settled.
``response.request`` is the exchange: what was sent in the last attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from .errors import REASONS, AquestsError, StatusError
from .headers import Headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import Settings

new: Final = object.__new__
"""Makes an object without its ``__init__``, which would be called through the slow door of C."""

Pairs = tuple[tuple[str, str | None], ...]
Callback = Callable[["Response"], object]


class Codec(Protocol):
    """Turns a complete answer into an object: what rides on a protocol (XML-RPC on HTTP).

    A ``lane`` of its own is the name in reports of what was not answered, too.
    """

    def decode(self, x: Exchange) -> None:
        """Set ``x.data``, or ``x.error``: the protocol's own error object, or an AquestsError."""


class Request:
    """One queued request. ``response`` is None until it is answered.

    ``codec`` turns the answer's body into an object, if the protocol rides on another one.

    ``kind`` is the name of the call that made it (``"postjson"``), ``method`` what the protocol
    says (``"POST"``), ``options`` what was given beyond the defaults, ``endpoint`` is set when it is queued.
    """

    __slots__ = (
        "_meta",
        "callback",
        "codec",
        "endpoint",
        "headers",
        "kind",
        "method",
        "options",
        "payload",
        "queued_at",
        "req_id",
        "response",
        "url",
    )

    def __init__(
        self,
        method: str,
        url: str,
        payload: Any = None,
        headers: Pairs = (),
        kind: str = "",
        endpoint: Any = None,
        callback: Callback | None = None,
        meta: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        codec: Codec | None = None,
    ):
        self.method = method
        self.kind = kind
        self.url = url
        self.payload = payload
        self.headers = headers
        self.endpoint = endpoint
        self.callback = callback
        # A flat tuple of keys and values: 56 bytes for one pair where a dict takes 184.
        self._meta = tuple(chain.from_iterable(meta.items())) if meta else ()
        self.options = options
        self.codec: Codec | None = codec
        self.queued_at = monotonic()
        self.req_id = -1
        self.response: Response | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """A new dict: the user's entries, ``req_id`` (-1 before it is queued) and ``req_method``."""
        flat = self._meta
        meta = dict(zip(flat[::2], flat[1::2], strict=True))
        meta["req_id"] = self.req_id
        meta["req_method"] = self.kind
        return meta

    def begin(self, now: float, settings: Settings) -> Exchange:
        """The first attempt, when a worker takes the request from the queue."""
        x = new(Exchange)
        x.request = self
        x.endpoint = self.endpoint
        x.method = self.method
        x.url = self.url
        x.headers = x.given = self.headers
        x.payload = self.payload
        x.codec = self.codec
        x.started_at = x.sent_at = now
        x.first_at = x.finished_at = x.limit = x.delay = 0.0
        x.patience = timeout = settings.timeout
        x.deadline = now + timeout
        x.max_content = settings.max_content
        x.progress = x.mark = 0
        x.ruled = x.untouched = False
        x.body = b""
        x.trailers = ()
        x.head = x.data = x.error = x.trail = x.line = None
        if self.options or settings.ruled:
            x._apply(self.options or {}, settings)
        return x

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.req_id} {self.method} {self.url}>"


class Line:
    """What making the line took, in seconds; carried by the exchange that caused it."""

    __slots__ = ("connect", "dns", "tls")

    def __init__(self) -> None:
        self.dns = 0.0
        self.connect = 0.0
        self.tls = 0.0


class Trail:
    """What happened before this attempt: redirects, retries, authentication."""

    __slots__ = ("attempted", "fresh", "history", "refusals", "rounds", "stranger", "visited")

    def __init__(self) -> None:
        self.history: list[Response] = []
        self.visited: list[tuple[str, str]] = []
        self.attempted: str | None = None
        """The Authorization value a challenge was answered with."""
        self.rounds = 0
        """Challenges answered so far."""
        self.fresh = False
        """The free retry on a stale line has been used."""
        self.refusals = 0
        """How often the peer said that it did not process the request."""
        self.stranger = False
        """A redirect led to another origin: credentials stay behind."""

    def copy(self) -> Trail:
        trail = Trail()
        trail.history = self.history[:]
        trail.visited = self.visited[:]
        trail.attempted, trail.rounds, trail.refusals = self.attempted, self.rounds, self.refusals
        trail.fresh, trail.stranger = self.fresh, self.stranger
        return trail


class Exchange:
    """One attempt. The engine makes it, a wire fills the answer in, a Response shows it.

    ``given`` are the headers of the request, ``headers`` those sent: with cookies and credentials.
    """

    __slots__ = (
        "body",
        "codec",
        "data",
        "deadline",
        "delay",
        "endpoint",
        "error",
        "finished_at",
        "first_at",
        "given",
        "head",
        "headers",
        "limit",
        "line",
        "mark",
        "max_content",
        "method",
        "patience",
        "payload",
        "progress",
        "request",
        "ruled",
        "sent_at",
        "started_at",
        "trail",
        "trailers",
        "untouched",
        "url",
    )

    request: Request | None
    endpoint: Any
    method: str
    url: str
    given: Pairs
    headers: Pairs
    payload: Any
    codec: Codec | None
    started_at: float
    """When the first attempt was taken from the queue."""
    sent_at: float
    """When this attempt had its turn: it was handed to a line, or to be dialled for."""
    first_at: float
    finished_at: float
    patience: float
    """Seconds without progress until this attempt is timed out."""
    deadline: float
    """When this attempt is timed out; moved on by progress."""
    limit: float
    """When all attempts together are timed out; 0.0 for never."""
    ruled: bool
    """Something must be done before it is sent: cookies, credentials, timeouts of its own."""
    progress: int
    """Bytes of the answer seen; the wire counts, the sweep compares with ``mark``."""
    mark: int
    max_content: int
    delay: float
    """Seconds to wait before this attempt is sent."""
    untouched: bool
    """Set by a wire with ``error``: the peer certainly did not process this request."""
    head: Head | None
    body: bytes
    trailers: Pairs
    data: Any
    error: Any
    trail: Trail | None
    line: Line | None

    @property
    def req_id(self) -> int:
        """The request's number: what waits in a queue has one."""
        return -1 if self.request is None else self.request.req_id

    @property
    def status(self) -> int:
        """The protocol's status, or 700 and above when the line failed (``errors.REASONS``)."""
        error = self.error
        if error is not None and isinstance(error, AquestsError):
            return error.code
        head = self.head
        return 701 if head is None else head.status

    @property
    def lane(self) -> str:
        """The protocol's name in reports: ``"HTTP/1.1"``."""
        return self.head.lane if self.head else getattr(self.codec, "lane", None) or self.endpoint.lane

    @property
    def hops(self) -> int:
        """Redirects that were followed on the way here."""
        return 0 if self.trail is None else len(self.trail.history)

    def _apply(self, options: Mapping[str, Any], settings: Settings) -> None:
        """Options of the request against the settings of the run."""
        self.patience = options.get("timeout", self.patience)
        self.deadline = self.started_at + self.patience
        self.max_content = options.get("max_content", self.max_content)
        seconds = options.get("deadline", settings.deadline)
        if seconds is not None:
            self.limit = self.started_at + seconds
        self.ruled = True

    def again(self) -> Exchange:
        """The next attempt: the same request, nothing answered. This one lets go of the request."""
        x = new(Exchange)
        for name in Exchange.__slots__:
            setattr(x, name, getattr(self, name))
        x.headers = x.given
        x.first_at = x.finished_at = 0.0
        x.progress = x.mark = 0
        x.untouched = False
        x.delay = 0.0
        x.head = x.data = x.error = None
        x.body = b""
        x.trailers = ()
        self.request = None
        return x

    def begin(self, now: float, settings: Settings) -> Exchange:
        """Another attempt waits in the queue like a request; now it has its turn."""
        self.sent_at = now
        self.deadline = now + self.patience
        return self

    def __repr__(self) -> str:
        return f"<Exchange {self.method} {self.url}>"


class Head(Protocol):
    """What every protocol says ahead of a body; shared between equal answers, so never changed."""

    status: int
    reason: str
    version: str
    lane: str
    """The protocol's name in reports: ``"HTTP/1.1"``, ``"REDIS"``."""
    special: bool
    """Somebody must look at it before the user: redirect, challenge, cookie, content coding."""

    @property
    def headers(self) -> Headers: ...


_NO_HEADERS = Headers(())


class Status:
    """A head for protocols whose answers have none; shared by all answers that are alike."""

    __slots__ = ("headers", "lane", "reason", "special", "status", "version")

    def __init__(self, status: int, reason: str, lane: str, version: str = "", special: bool = False):
        self.status = status
        self.reason = reason
        self.lane = lane
        self.version = version
        self.special = special
        self.headers = _NO_HEADERS


class Response:
    """An answer, or the failure that took its place.

    Every queued request gets exactly one. ``ok`` tells an answer below 400 without ``error``.
    """

    __slots__ = ("_encoding", "_json", "_meta", "_req_id", "_req_method", "_x", "queued_at")

    _encoding: str
    _json: Any

    _x: Exchange
    _meta: Any

    def __init__(self, x: Exchange, request: Request):
        self._x = x
        self._meta = request._meta
        self._req_id = request.req_id
        self._req_method = request.kind
        self.queued_at = request.queued_at

    # Who asked

    @property
    def request(self) -> Exchange:
        """What was sent in the last attempt: ``method``, ``url``, ``headers``, ``payload``."""
        return self._x

    @property
    def meta(self) -> dict[str, Any]:
        """The user's meta (a copy), plus ``req_id`` (counted from 0) and ``req_method``."""
        meta = self._meta
        if type(meta) is tuple:
            meta = dict(zip(meta[::2], meta[1::2], strict=True))
            meta["req_id"] = self._req_id
            meta["req_method"] = self._req_method
            self._meta = meta
        return meta  # type: ignore[no-any-return]

    @property
    def url(self) -> str:
        """Where this answer came from, after redirects; without credentials."""
        return self._x.url

    @property
    def history(self) -> list[Response]:
        """The redirects on the way here, oldest first."""
        trail = self._x.trail
        return trail.history if trail else []

    # What came

    @property
    def error(self) -> Any:
        """None, an :class:`AquestsError` (the line failed), or the protocol's own error object."""
        return self._x.error

    @property
    def status_code(self) -> int:
        """The protocol's status, or 700 and above when the line failed (``errors.REASONS``)."""
        x = self._x
        error = x.error
        if error is not None and isinstance(error, AquestsError):
            return error.code
        head = x.head
        return 701 if head is None else head.status

    code = status_code

    @property
    def reason(self) -> str:
        error = self._x.error
        if isinstance(error, AquestsError):
            return REASONS[error.code]
        head = self._x.head
        return head.reason if head else REASONS[701]

    msg = reason

    @property
    def version(self) -> str:
        """``"1.1"``, ``"2.0"`` …; what would have been spoken if the line failed."""
        head = self._x.head
        return head.version if head else self._x.endpoint.version

    @property
    def lane(self) -> str:
        """The protocol's name in reports: ``"HTTP/1.1"``."""
        return self._x.lane

    @property
    def ok(self) -> bool:
        x = self._x
        return x.error is None and x.status < 400

    @property
    def headers(self) -> Headers:
        """Case-blind; repeated headers are kept (``get_all``)."""
        head = self._x.head
        return head.headers if head else _NO_HEADERS

    @property
    def trailers(self) -> Headers:
        """Fields sent after the body."""
        return Headers(self._x.trailers) if self._x.trailers else _NO_HEADERS  # type: ignore[arg-type]

    @property
    def content(self) -> bytes:
        """The body, with content codings removed."""
        return self._x.body

    @property
    def data(self) -> Any:
        """The result object of an RPC or a database; else ``content``."""
        x = self._x
        return x.data if x.endpoint.yields_data or x.codec is not None else x.body

    @property
    def opcode(self) -> int | None:
        """Of the last message of a WebSocket's answer: 1 text, 2 binary; -1: closed before it came; else None."""
        x = self._x
        return getattr(x.head if x.error is None else x.error, "opcode", None)

    @property
    def close_code(self) -> int | None:
        """Why a WebSocket was closed before the answer (RFC 6455 7.4); else None."""
        return getattr(self._x.error, "close_code", None)

    @property
    def metadata(self) -> Any:
        """Of a gRPC answer: (initial, trailing), pairs of key and value, bytes under ``…-bin`` keys; else None."""
        x = self._x
        view = getattr(x.codec, "metadata", None)
        return None if view is None or x.head is None else view(x)

    @property
    def encoding(self) -> str:
        """The charset of the content type, else detected, else UTF-8. May be set."""
        try:
            return self._encoding
        except AttributeError:
            self._encoding = _charset(self.headers.get("content-type") or "", self._x.body)
            return self._encoding

    @encoding.setter
    def encoding(self, name: str) -> None:
        self._encoding = name

    @property
    def text(self) -> str:
        """``content`` as text; bytes that do not fit the encoding are replaced by U+FFFD."""
        try:
            return self._x.body.decode(self.encoding, "replace")
        except (LookupError, ValueError):  # a charset nobody knows, or one that is none ("idna")
            return self._x.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """``content`` parsed as JSON (RFC 8259). Raises ValueError where it is none."""
        try:
            return self._json
        except AttributeError:
            from json import loads

            self._json = loads(self._x.body)
            return self._json

    @property
    def cookies(self) -> dict[str, str]:
        """Name to value of the cookies this answer sets."""
        from .cookies import response_cookies

        return response_cookies(self.headers.get_all("set-cookie"))

    # How long it took

    @property
    def elapsed(self) -> float:
        """Seconds from leaving the queue to the last byte, redirects and retries included."""
        return self._x.finished_at - self._x.started_at

    @property
    def timings(self) -> dict[str, float]:
        """Seconds: ``queue`` (waiting for a worker), ``dns``, ``connect``, ``tls`` (0.0 on a reused
        line), ``first_byte`` (from sending to the first byte of the answer), ``total`` (= elapsed)."""
        x = self._x
        line = x.line
        first = x.first_at or x.finished_at
        return {
            "queue": max(0.0, x.started_at - self.queued_at),
            "dns": line.dns if line else 0.0,
            "connect": line.connect if line else 0.0,
            "tls": line.tls if line else 0.0,
            "first_byte": max(0.0, first - x.sent_at),
            "total": self.elapsed,
        }

    def raise_for_status(self) -> Response:
        """Return self if ``ok``; raise ``error``, or StatusError for a status of 400 and above."""
        if self._x.error is not None:
            raise self._x.error
        if self.status_code >= 400:
            raise StatusError(f"{self.status_code} {self.reason} for {self.url}")
        return self

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}] {self.url}>"


def _charset(content_type: str, body: bytes) -> str:
    """The charset parameter (RFC 9110 8.3.2), else a byte order mark, UTF-8 if it fits, else a guess."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset" and value.strip():
            return value.strip().strip("\"'")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(body[:65536]).best()  # enough to tell; detection costs by the byte
        return best.encoding if best else "utf-8"
    return "utf-8"


def texts(pairs: Sequence[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """The pairs that are sent: None marks a default header the user does not want."""
    return tuple((name, value) for name, value in pairs if value is not None)
