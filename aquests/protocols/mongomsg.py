"""MongoDB's grammar: OP_MSG (MongoDB wire protocol), commands as documents, replies as results.

Pure: documents in, bytes out, and back. BSON is pymongo's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.int64 import Int64

from ..errors import ProtocolError, RequestError

OP_MSG: Final = 2013
CHECKSUM: Final = 1
MORE_TO_COME: Final = 2
_REQUIRED: Final = 0xFFFF
"""Flag bits that must be understood; only two of them are defined."""
_HEADER: Final = Struct("<iiii")
_FRONT: Final = Struct("<iiiiIB")
_BEGINNING: Final = Struct("<iiiiIBi")
_LENGTH: Final = Struct("<i")
_BROKEN: Final = (BSONError, ValueError, IndexError, OverflowError, RecursionError)
"""What pymongo raises for bytes that are no BSON."""
HEAD: Final = 16
FRONT: Final = _FRONT.size
"""Header, flags and the kind of the first section: what stands ahead of the command."""
SMALLEST: Final = FRONT + 5
"""Header, flags, one section kind, an empty document."""
MAX_BSON: Final = 16 * 1024 * 1024
MAX_MESSAGE: Final = 48_000_000
MAX_BATCH: Final = 100_000
"""Limits until ``hello`` tells the server's own."""
OVERHEAD: Final = 16 * 1024
"""What a command may add to a document of the greatest size."""

PLAIN: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    document_class=dict, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""Dates that datetime cannot hold come as bson's DatetimeMS."""
NOT_PRIMARY: Final = frozenset((10107, 13435, 10058))
"""The server refused because it is no primary: nothing was executed."""
RECOVERING: Final = frozenset((11600, 11602, 13436, 189, 91))
"""The server is stepping down or shutting down: what was sent may have been executed."""
CURSOR_NOT_FOUND: Final = 43
_ERRORS: Final = {50: "ExecutionTimeout", CURSOR_NOT_FOUND: "CursorNotFound", 11000: "DuplicateKeyError"}


class Command:
    """One operation. ``data`` is the command as BSON, complete; ``documents`` travel beside it (inserts).

    ``shape``: ``"cursor"`` (a batch of documents), ``"count"`` or ``"plain"``; ``drain``: follow the cursor to its end;
    ``start``: what ``starting_from`` says; ``ids``: the _ids of what is inserted; ``reads``: changes nothing, so it may
    be asked twice; ``cursor``: the kept cursor it is about, which lives on one server only.
    """

    __slots__ = ("collection", "cursor", "data", "documents", "drain", "field", "ids", "reads", "shape", "start")

    def __init__(
        self,
        data: bytes,
        shape: str,
        *,
        collection: str = "",
        documents: Sequence[bytes] = (),
        field: str = "documents",
        drain: bool = False,
        start: int = 0,
        ids: list[Any] | None = None,
        reads: bool = False,
        cursor: int | None = None,
    ):
        self.data = data
        self.shape = shape
        self.collection = collection
        self.documents = documents
        self.field = field
        self.drain = drain
        self.start = start
        self.ids = ids
        self.reads = reads
        self.cursor = cursor


def encode_document(document: Any, what: str, most: int = MAX_BSON) -> bytes:
    """BSON of a document. Raises RequestError if it has none, or is over the limit."""
    if document.__class__ is not dict and not isinstance(document, Mapping):
        raise RequestError(f"{what} must be a mapping, not {type(document).__name__}")
    try:
        data = bson.encode(document, codec_options=PLAIN)
    except (BSONError, TypeError, OverflowError, ValueError, RecursionError) as fault:
        raise RequestError(f"{what} cannot be BSON: {fault}") from fault
    if len(data) > most:
        raise RequestError(f"{what} has {len(data):,} bytes as BSON, the server takes {most:,}: split it")
    return data


def message(
    request_id: int, document: bytes, documents: Sequence[bytes] = (), field: str = "", flags: int = 0
) -> bytes:
    """One OP_MSG: a command, and documents in a sequence beside it."""
    if not documents:
        return _FRONT.pack(FRONT + len(document), request_id, 0, OP_MSG, flags, 0) + document
    name = field.encode() + b"\0"
    size = 4 + len(name) + sum(map(len, documents))
    front = _FRONT.pack(FRONT + len(document) + 1 + size, request_id, 0, OP_MSG, flags, 0)
    return b"".join((front, document, b"\1", _LENGTH.pack(size), name, *documents))


def message_length(buffer: bytes, at: int, most: int) -> int:
    """The length a message says it has. Raises ProtocolError if that cannot be, or is no OP_MSG."""
    length, _, _, opcode = _HEADER.unpack_from(buffer, at)
    if not SMALLEST <= length <= most:
        words = "it answered in HTTP" if buffer.startswith(b"HTTP/", at) else f"a message of {length:,} bytes"
        raise ProtocolError(f"the server does not speak MongoDB's protocol ({words})", first=buffer[at : at + 64])
    if opcode != OP_MSG:
        words = f"opcode {opcode} where OP_MSG was due"
        raise ProtocolError(f"the server does not speak MongoDB's protocol ({words})", first=buffer[at : at + 64])
    return length  # type: ignore[no-any-return]


def parse(data: bytes, at: int = 0, stop: int | None = None) -> tuple[int, int, dict[str, Any]]:
    """``(response to, flags, reply)`` of one whole message, ``data[at:stop]``. Raises ProtocolError."""
    stop = len(data) if stop is None else stop
    _, _, response_to, _, flags, kind, size = _BEGINNING.unpack_from(data, at)
    if flags == kind == 0 and size == stop - at - FRONT:  # one document, as nearly always
        try:
            return response_to, 0, bson.decode(data[at + FRONT : stop], codec_options=PLAIN)
        except _BROKEN as fault:
            raise ProtocolError(f"broken BSON ({fault})", first=data[at : at + 64]) from fault
    return response_to, flags, _sections(data[at:stop], flags)


def _sections(data: bytes, flags: int) -> dict[str, Any]:
    """The document of a message, with those that travel beside it."""
    if flags & _REQUIRED & ~(CHECKSUM | MORE_TO_COME):
        raise ProtocolError(f"unknown flags {flags:#x} in an OP_MSG", first=data[:64])
    at, end = HEAD + 4, len(data) - (4 if flags & CHECKSUM else 0)
    reply: dict[str, Any] | None = None
    sequences: dict[str, list[Any]] = {}
    try:
        while at < end:
            kind = data[at]
            size = _LENGTH.unpack_from(data, at + 1)[0]
            section = data[at + 1 : at + 1 + size]
            if size < 5 or at + 1 + size > end:
                raise ProtocolError("a section runs beyond its message", first=data[:64])
            if kind == 0 and reply is None:
                reply = bson.decode(section, codec_options=PLAIN)
            elif kind == 1:
                name, _, rest = section[4:].partition(b"\0")
                sequences.setdefault(name.decode(), []).extend(bson.decode_all(rest, codec_options=PLAIN))
            else:
                raise ProtocolError(f"a section of kind {kind}", first=data[:64])
            at += 1 + size
    except _BROKEN as fault:
        raise ProtocolError(f"broken BSON ({fault})", first=data[:64]) from fault
    except StructError as fault:
        raise ProtocolError("a section without its length", first=data[:64]) from fault
    if reply is None:
        raise ProtocolError("an OP_MSG without a document", first=data[:64])
    reply.update(sequences)
    return reply


# Results


def result_of(command: Command, reply: dict[str, Any]) -> Any:
    """What ``response.data`` shows of a reply that has no documents."""
    if command.shape == "count":
        return reply.get("n")
    plain = {key: value for key, value in reply.items() if key not in ("$clusterTime", "operationTime", "ok")}
    if command.ids is not None:
        failed = {error.get("index") for error in reply.get("writeErrors", ())}
        plain["ids"] = [one for index, one in enumerate(command.ids) if index not in failed]
    return plain


def fine(reply: dict[str, Any]) -> bool:
    """Has the server done all that it was told?"""
    return bool(reply.get("ok")) and "writeErrors" not in reply and "writeConcernError" not in reply


def error_of(command: Command, reply: dict[str, Any]) -> Exception | None:
    """pymongo's own error for a reply that refuses; None for one that does not."""
    from pymongo import errors

    if not reply.get("ok"):
        text, code = reply.get("errmsg") or "the command failed", reply.get("code")
        if code in NOT_PRIMARY or code in RECOVERING:
            return errors.NotPrimaryError(text, reply)
        kind = _ERRORS.get(code or 0, "OperationFailure")
        return getattr(errors, kind)(text, code, reply)  # type: ignore[no-any-return]
    failures = reply.get("writeErrors")
    if failures:
        if len(failures) > 1 or (command.ids is not None and len(command.ids) > 1):
            return errors.BulkWriteError({**reply, "nInserted": reply.get("n", 0)})
        first = failures[0]
        single = errors.DuplicateKeyError if first.get("code") == 11000 else errors.WriteError
        return single(first.get("errmsg", "the write failed"), first.get("code"), first)
    concern = reply.get("writeConcernError")
    if concern:
        return errors.WriteConcernError(concern.get("errmsg", "write concern failed"), concern.get("code"), concern)
    return None


def get_more(cursor_id: int, collection: str, database: str, batch: int | None = None) -> dict[str, Any]:
    command: dict[str, Any] = {"getMore": Int64(cursor_id), "collection": collection, "$db": database}
    if batch:
        command["batchSize"] = batch
    return command
