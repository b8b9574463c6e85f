"""gRPC as a codec on HTTP/2: frames, metadata, statuses (the "gRPC over HTTP/2" protocol document).

A call is a POST whose body is a row of frames: one byte (compressed or not), four bytes of length,
big-endian, the message. The answer is the same, and its fate stands in the trailers. So nothing of
HTTP/2 is known here: this file turns messages into a body, and a complete answer into messages.

A status that is not OK is an *answer*: ``x.error`` is an :class:`RpcError`, and it counts as 500. What breaks
the framing is a ProtocolError, and a message over the limit is TooLarge, as for every other protocol.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from math import ceil
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

import grpc

from ..errors import AquestsError, ProtocolError, RequestError, TooLarge
from ..headers import request_headers
from ..version import __version__
from .content import decode
from .rpchead import RpcHead

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs

MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of one message received, gRPC's own default."""
MAX_RATIO: Final = 1100.0
"""Of decompressed to received bytes: deflate reaches 1,032, and ``max_message`` is the limit anyway."""
CODINGS: Final = "identity,gzip,deflate"
_UNKNOWN: Final = (None, None)
MAX_GOOD: Final = 64
"""Heads remembered as good: a server whose answers all differ has no use of it."""
_FRAME: Final = Struct(">BI")
_pack_head: Final = _FRAME.pack
_unpack_head: Final = _FRAME.unpack_from
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
_RESERVED: Final = frozenset(
    ("content-type", "te", "user-agent", "host", "content-length", "connection", "transfer-encoding", "upgrade")
)
_FRAMING: Final = frozenset(("grpc-status", "grpc-message", "grpc-encoding", "grpc-accept-encoding", "content-type"))
"""Fields of the protocol itself: not shown as metadata."""
_KEY: Final = re.compile(r"[a-z0-9_.-]+")
_DETAILS: Final = "grpc-status-details-bin"
_MAX_TIMEOUT: Final = 99_999_999
"""TimeoutValue has at most eight digits."""
_UNITS: Final = (("n", 1e9), ("u", 1e6), ("m", 1e3), ("S", 1.0), ("M", 1 / 60), ("H", 1 / 3600))


class Metadatum(NamedTuple):
    """One pair of metadata: ``value`` is bytes under a key that ends in ``-bin``, else text."""

    key: str
    value: str | bytes


Metadata = tuple[Metadatum, ...]


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
        """The ``google.rpc.Status`` with rich details, or None. Needs ``googleapis-common-protos``.

        Raises ProtocolError for details that are none.
        """
        for key, value in self._trailing:
            if key == _DETAILS and isinstance(value, bytes):
                from google.protobuf.message import DecodeError
                from google.rpc.status_pb2 import Status

                try:
                    return Status.FromString(value)
                except DecodeError as fault:
                    raise ProtocolError("the rich details of a gRPC status cannot be parsed") from fault
        return None


# What is sent


def coding_of(compression: Any) -> str:
    """The message coding that ``compression`` means: ``"gzip"``, ``"deflate"`` or, for none, ``"identity"``.

    A name, a ``grpc.Compression``, True (gzip), False or None. Raises RequestError for anything else.
    """
    name = getattr(compression, "name", compression)
    if name in (None, False, "identity", "NoCompression"):
        return "identity"
    if name is True or name in ("gzip", "Gzip"):
        return "gzip"
    if name in ("deflate", "Deflate"):
        return "deflate"
    raise RequestError(f"compression is 'gzip', 'deflate' or None, not {compression!r}")


def frame(message: bytes, coding: str = "identity") -> bytes:
    """One message as a frame; compressed where that makes it smaller."""
    packed = message if coding == "identity" else _packed(message, coding)
    size = len(packed)
    if size > 0xFFFFFFFF:
        raise RequestError(f"a gRPC message has at most 4 GiB, not {size:,} bytes")
    return _pack_head(packed is not message, size) + packed


def _packed(message: bytes, coding: str) -> bytes:
    if coding == "gzip":
        from gzip import compress

        packed = compress(message, 6, mtime=0)
    else:
        from zlib import compress as deflate

        packed = deflate(message)
    return packed if len(packed) < len(message) else message


def request_pairs(metadata: Iterable[tuple[str, Any]], timeout: float | None, coding: str) -> Pairs:
    """The headers of a call. ``metadata``: pairs; values of ``…-bin`` keys are bytes. ``timeout``: seconds.

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
    if coding != "identity":
        pairs.append(("grpc-encoding", coding))
    if timeout is not None:
        pairs.append(("grpc-timeout", timeout_value(timeout)))
    pairs += [_sent(key, value) for key, value in metadata]
    return request_headers(pairs)


def _sent(key: Any, value: Any) -> tuple[str, str]:
    """One pair of metadata as a header."""
    name = key.lower() if isinstance(key, str) else ""
    if _KEY.fullmatch(name) is None:
        raise RequestError(f"the metadata key {key!r} is none: letters, digits, '-', '_' and '.' may stand in it")
    if name.startswith("grpc-") or name in _RESERVED:
        raise RequestError(f"the metadata key {key!r} is gRPC's own: choose another one")
    if name.endswith("-bin"):
        if not isinstance(value, (bytes, bytearray)):
            raise RequestError(f"the metadata {key!r} must be bytes: its name ends in -bin")
        return name, b64encode(value).decode().rstrip("=")
    if not isinstance(value, str) or not value.isascii():
        raise RequestError(f"the metadata {key!r} must be ASCII text; for bytes its name must end in -bin")
    return name, value


def timeout_value(seconds: float) -> str:
    """``grpc-timeout``: at most eight digits and a unit, rounded up so that it never becomes 0."""
    for unit, factor in _UNITS:
        if seconds * factor <= _MAX_TIMEOUT:
            return f"{max(1, ceil(seconds * factor))}{unit}"
    return f"{_MAX_TIMEOUT}H"


# What comes


def unframe(body: bytes, coding: str, max_message: int) -> list[bytes]:
    """The messages of a body. Raises ProtocolError for a broken frame, TooLarge for one over the limit."""
    messages = []
    at, end = 0, len(body)
    while at < end:
        if end - at < 5:
            raise ProtocolError("the answer ends within the head of a gRPC frame", first=body[at : at + 5])
        packed, size = _unpack_head(body, at)
        at += 5
        if packed > 1:
            raise ProtocolError(f"a gRPC frame is flagged {packed}: 0 or 1 is known", first=body[at - 5 : at + 16])
        if size > max_message:
            raise _too_large(f"of {size:,} bytes", max_message)
        if end - at < size:
            raise ProtocolError(f"the answer ends after {end - at:,} of {size:,} bytes of a gRPC message")
        message = body[at : at + size]
        at += size
        if packed:
            if coding == "identity":
                raise ProtocolError("a compressed gRPC message without grpc-encoding")
            try:
                message = decode(message, (coding,), max_message, MAX_RATIO)
            except TooLarge as fault:
                raise _too_large("decompressed", max_message) from fault
        messages.append(message)
    return messages


def _too_large(what: str, max_message: int) -> TooLarge:
    return TooLarge(f"a gRPC message {what} is over max_message={max_message:,} bytes", phase="answer")


def metadata_of(pairs: Iterable[tuple[str, str | None]]) -> Metadata:
    """Header pairs as metadata: keys in lower case, ``…-bin`` values as bytes (unpadded base64 is legal)."""
    metadata: list[Metadatum] = []
    for name, text in pairs:
        key, value = name.lower(), text or ""
        if key.endswith("-bin"):
            metadata += [Metadatum(key, _bytes(part.strip())) for part in value.split(",")]
        elif key not in _FRAMING:
            metadata.append(Metadatum(key, value))
    return tuple(metadata)


def _bytes(text: str) -> str | bytes:
    """The bytes that base64 stands for; the text itself where it is none."""
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (Base64Error, ValueError):
        return text


class CallCodec:
    """The codec of one call: ``deserialize`` turns bytes into a message, ``many``: the method streams answers."""

    __slots__ = ("_deserialize", "_good", "_many", "_max_message")

    lane = "GRPC"

    follows = False
    """A call is not for another place, whatever an answer says: a redirect is one that is not gRPC's."""

    def __init__(self, deserialize: Callable[[bytes], Any], many: bool, max_message: int = MAX_MESSAGE):
        self._deserialize = deserialize
        self._many = many
        self._max_message = max_message
        self._good: dict[Any, tuple[Pairs, RpcHead]] = {}
        """Heads of gRPC answers, with trailers that said OK: on a line equal ones are one object, and judged once."""

    def decode(self, x: Exchange) -> None:
        """Set ``x.data`` to the message, or to the list of messages; ``x.error`` if the status is not OK.

        The head becomes gRPC's: 200, or 500 and the name of the status.
        """
        body = x.body
        try:
            # The hot path: nothing new is said, and the body is one message, not compressed and not too large.
            trailers, told = self._good.get(x.head, _UNKNOWN)
            size = len(body) - 5
            if x.trailers is trailers and 0 <= size <= self._max_message and _unpack_head(body) == (0, size):
                x.data = self._message(body[5:])
                x.head = told
            else:
                self._decode(x)
        except AquestsError as fault:
            fault.endpoint = x.endpoint.label
            x.error = fault
            x.head = RpcHead(x.head, self.lane)  # type: ignore[arg-type]

    def _decode(self, x: Exchange) -> None:
        head: Any = x.head
        fields = _fate(x)
        error = self._status(x, fields)
        messages = []
        if _is_grpc(head):
            coding = (head.headers.get("grpc-encoding") or "identity").strip().lower()
            messages = [self._message(frame) for frame in unframe(x.body, coding, self._max_message)]
            if error is None and not self._many:
                if len(self._good) >= MAX_GOOD:
                    self._good.clear()
                self._good[head] = x.trailers, RpcHead(head, self.lane)
        x.error = error
        if self._many:
            x.data = messages
        elif len(messages) == 1:
            x.data = messages[0]
        elif error is None:
            text = f"{len(messages)} messages in the answer to a method that gives one"
            x.error = RpcError(grpc.StatusCode.UNIMPLEMENTED, text, *self.metadata(x))
        page = head.status >= 400 and "grpc-status" not in fields  # of something between: HTTP says what it is
        x.head = RpcHead(head, self.lane, "" if x.error is None or page else x.error.code().name)

    def metadata(self, x: Exchange) -> tuple[Metadata, Metadata]:
        """The initial and the trailing metadata of an answer."""
        head: Any = x.head
        initial = metadata_of(head.headers.items())
        # A trailers-only answer has one block: it is the trailing metadata.
        return (initial, metadata_of(x.trailers)) if x.trailers or x.body else ((), initial)

    def _message(self, data: bytes) -> Any:
        deserialize = self._deserialize
        try:
            return deserialize(data)
        except Exception as fault:  # protobuf's DecodeError, or whatever a user's deserializer raises
            raise ProtocolError(f"a gRPC message cannot be parsed ({type(fault).__name__})") from fault

    def _status(self, x: Exchange, fields: dict[str, Any]) -> RpcError | None:
        """None for OK."""
        head: Any = x.head
        status = fields.get("grpc-status")
        if status is None or (head.status != 200 and status == "0"):
            return RpcError(*_implied(head), *self.metadata(x))
        if not (status.isascii() and status.isdigit()):
            raise ProtocolError(f"the grpc-status is no number: {status[:20]!r}")
        number = int(status[:9])
        if number == 0:
            return None
        code = _CODES.get(number, grpc.StatusCode.UNKNOWN)
        return RpcError(code, unquote(fields.get("grpc-message") or "", errors="replace"), *self.metadata(x))


def _fate(x: Exchange) -> dict[str, Any]:
    """The fields that hold the status: the trailers; the head only if there is nothing else."""
    head: Any = x.head
    pairs = x.trailers if x.trailers or x.body else head.headers.items()
    return {name.lower(): value for name, value in pairs}


def _is_grpc(head: Any) -> bool:
    """Does the answer hold gRPC's frames? (application/grpc, application/grpc+proto …)"""
    kind = (head.headers.get("content-type") or "").lower()
    return head.status == 200 and kind.startswith("application/grpc") and kind[16:17] in ("", "+", ";", " ")


def _implied(head: Any) -> tuple[grpc.StatusCode, str]:
    """What an answer without a status means: it comes from something between, or was cut."""
    if head.status != 200:
        return _BY_HTTP.get(head.status, grpc.StatusCode.UNKNOWN), f"the server sent HTTP status {head.status}"
    if not _is_grpc(head):
        kind = head.headers.get("content-type") or "none"
        return grpc.StatusCode.UNKNOWN, f"the server does not speak gRPC here: its content type is {kind[:60]!r}"
    return grpc.StatusCode.UNKNOWN, "the server sent no grpc-status"
