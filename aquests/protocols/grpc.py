"""gRPC as a codec on HTTP/2: frames, metadata, statuses (the "gRPC over HTTP/2" protocol document).

A call is a POST whose body is a row of frames: one byte (compressed or not), four bytes of length,
big-endian, the message. The answer is the same, and its fate stands in the trailers. So nothing of
HTTP/2 is known here: this file turns messages into a body, and a complete answer into messages.

A status that is not OK is an *answer*: ``x.error`` is an :class:`RpcError`. What breaks the framing
is a ProtocolError, and a message over the limit is TooLarge, as for every other protocol.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc

from ..errors import AquestsError, ProtocolError, RequestError, TooLarge
from ..headers import request_headers
from ..version import __version__
from .content import decode

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs

MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of one message received, gRPC's own default."""
MAX_RATIO: Final = 1100.0
CODINGS: Final = "identity,gzip,deflate"
_FRAME: Final = Struct(">BI")
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_BY_HTTP: Final = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
"""What a server that is none of gRPC's means ("HTTP to gRPC Status Code Mapping")."""
_RESERVED: Final = frozenset(("content-type", "te", "user-agent", "host", "content-length"))
_MAX_TIMEOUT: Final = 99_999_999
"""TimeoutValue has at most eight digits."""

Metadata = tuple[tuple[str, str | bytes], ...]


class RpcError(grpc.RpcError):
    """A status that is not OK; has the methods of ``grpc.Call`` that tell what came."""

    def __init__(self, code: grpc.StatusCode, details: str, initial: Metadata = (), trailing: Metadata = ()):
        super().__init__(f"{code.name}: {details}" if details else code.name)
        self._code = code
        self._details = details
        self._initial = initial
        self._trailing = trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> Metadata:
        return self._initial

    def trailing_metadata(self) -> Metadata:
        return self._trailing

    @property
    def status(self) -> Any:
        """The ``google.rpc.Status`` with rich details, or None. Needs ``googleapis-common-protos``."""
        for key, value in self._trailing:
            if key == "grpc-status-details-bin" and isinstance(value, bytes):
                from google.rpc.status_pb2 import Status

                return Status.FromString(value)
        return None


# What is sent


def frame(message: bytes, compress: bool = False) -> bytes:
    """One message as a frame."""
    if compress:
        from gzip import compress as pack

        message = pack(message, 6, mtime=0)
    if len(message) > 0xFFFFFFFF:
        raise RequestError(f"a gRPC message has at most 4 GiB, not {len(message):,} bytes")
    return _FRAME.pack(compress, len(message)) + message


def request_pairs(metadata: Any, timeout: float | None, compress: bool) -> Pairs:
    """The headers of a call. ``metadata``: pairs or a mapping; values of ``…-bin`` keys are bytes.

    Raises RequestError for a key or value that cannot be sent.
    """
    pairs: list[tuple[str, Any]] = [
        ("content-type", "application/grpc+proto"),
        ("te", "trailers"),
        ("user-agent", f"aquests-grpc/{__version__}"),
        ("grpc-accept-encoding", CODINGS),
        ("accept-encoding", None),
        ("accept", None),
    ]
    if compress:
        pairs.append(("grpc-encoding", "gzip"))
    if timeout is not None:
        pairs.append(("grpc-timeout", timeout_value(timeout)))
    items = metadata.items() if isinstance(metadata, Mapping) else metadata or ()
    for key, value in items:
        name = key.lower()
        if name.startswith("grpc-") or name in _RESERVED or name.startswith(":"):
            raise RequestError(f"the metadata key {key!r} is gRPC's own: choose another one")
        if name.endswith("-bin"):
            if not isinstance(value, (bytes, bytearray)):
                raise RequestError(f"the metadata {key!r} must be bytes: its name ends in -bin")
            value = b64encode(value).decode().rstrip("=")
        elif not isinstance(value, str) or not value.isascii():
            raise RequestError(f"the metadata {key!r} must be ASCII text; for bytes its name must end in -bin")
        pairs.append((name, value))
    return request_headers(pairs)


def timeout_value(seconds: float) -> str:
    """``grpc-timeout``: at most eight digits and a unit, rounded up so that it never becomes 0."""
    for unit, factor in (("n", 1e9), ("u", 1e6), ("m", 1e3), ("S", 1.0), ("M", 1 / 60), ("H", 1 / 3600)):
        amount = max(1, -int(-seconds * factor // 1))
        if amount <= _MAX_TIMEOUT:
            return f"{amount}{unit}"
    return f"{_MAX_TIMEOUT}H"


# What comes


def unframe(body: bytes, coding: str, max_message: int) -> list[bytes]:
    """The messages of a body. Raises ProtocolError for a broken frame, TooLarge for one over the limit."""
    messages = []
    at, end = 0, len(body)
    while at < end:
        if end - at < 5:
            raise ProtocolError("the answer ends within the head of a gRPC frame", first=body[at : at + 5])
        packed, size = _FRAME.unpack_from(body, at)
        at += 5
        if packed > 1:
            raise ProtocolError(f"a gRPC frame is flagged {packed}: 0 or 1 is known", first=body[at - 5 : at + 16])
        if size > max_message:
            raise TooLarge(f"a gRPC message of {size:,} bytes, max_message={max_message:,}", phase="answer")
        if end - at < size:
            raise ProtocolError(f"the answer ends after {end - at:,} of {size:,} bytes of a gRPC message")
        message = body[at : at + size]
        at += size
        if packed:
            if coding == "identity":
                raise ProtocolError("a compressed gRPC message without grpc-encoding")
            message = decode(message, (coding,), max_message, MAX_RATIO)
        messages.append(message)
    return messages


def metadata_of(pairs: Iterable[tuple[str, str]]) -> Metadata:
    """Header pairs as metadata: keys in lower case, ``…-bin`` values as bytes (unpadded base64 is legal)."""
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        key = name.lower()
        if key.endswith("-bin"):
            for part in value.split(","):
                try:
                    metadata.append((key, b64decode(part.strip() + "=" * (-len(part.strip()) % 4), validate=True)))
                except (Base64Error, ValueError):
                    metadata.append((key, part.strip()))
        elif key not in ("grpc-status", "grpc-message", "content-type", ":status"):
            metadata.append((key, value))
    return tuple(metadata)


class Call:
    """The codec of one call: ``deserialize`` turns bytes into a message, ``many``: the method streams answers."""

    __slots__ = ("_deserialize", "_many", "_max_message")

    def __init__(self, deserialize: Callable[[bytes], Any], many: bool, max_message: int = MAX_MESSAGE):
        self._deserialize = deserialize
        self._many = many
        self._max_message = max_message

    def decode(self, x: Exchange) -> None:
        """Set ``x.data`` to the message, or to the list of messages; ``x.error`` if the status is not OK."""
        head: Any = x.head
        try:
            error = self._status(x)
            coding = head.headers.get("grpc-encoding") or "identity"
            messages = [] if head.status != 200 else self._messages(unframe(x.body, coding, self._max_message))
        except AquestsError as fault:
            fault.endpoint = x.endpoint.label
            x.error = fault
            return
        x.error = error
        if self._many:
            x.data = messages
        elif len(messages) == 1:
            x.data = messages[0]
        elif error is None:
            text = f"{len(messages)} messages in the answer to a method that gives one"
            x.error = RpcError(grpc.StatusCode.INTERNAL, text, *_metadata(x))

    def _messages(self, frames: list[bytes]) -> list[Any]:
        try:
            return [self._deserialize(message) for message in frames]
        except Exception as fault:  # protobuf's DecodeError, or whatever a user's deserializer raises
            raise ProtocolError(f"a gRPC message cannot be parsed ({type(fault).__name__})") from fault

    def _status(self, x: Exchange) -> RpcError | None:
        head: Any = x.head
        fields = {name.lower(): value for name, value in (*head.headers.items(), *x.trailers)}
        status = fields.get("grpc-status")
        if status is None:
            code = _BY_HTTP.get(head.status, grpc.StatusCode.UNKNOWN)
            what = "no grpc-status" if head.status == 200 else f"HTTP status {head.status}"
            return RpcError(code, f"the server sent {what}", *_metadata(x))
        if not (status.isascii() and status.isdigit()):
            raise ProtocolError(f"the grpc-status is no number: {status[:20]!r}")
        if status == "0":
            return None
        code = _CODES.get(int(status[:9]), grpc.StatusCode.UNKNOWN)
        return RpcError(code, unquote(fields.get("grpc-message") or "", errors="replace"), *_metadata(x))


def _metadata(x: Exchange) -> tuple[Metadata, Metadata]:
    head: Any = x.head
    trailers = tuple((name, value or "") for name, value in x.trailers)
    initial = metadata_of(head.headers.items())
    # A trailers-only answer has one block: it is the trailing metadata.
    return (initial, metadata_of(trailers)) if trailers else ((), initial)
