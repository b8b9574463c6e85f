"""Requests and answers as HTTP/2 says them: lower-case fields, a few of them behind a colon (RFC 9113 8).

A request's fields are put together once for each method and set of headers; only the path, and the length of
a body, come anew. An answer's fields are judged once for each distinct block; what is wrong with them is kept as
text, since every exchange that gets it needs an error of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from ..errors import ProtocolError
from ..exchange import new
from .h2frames import DATA, END_HEADERS, END_STREAM, HEADERS, head
from .h2hpack import STATIC, Blocks, Pair, field, integer, name_of, text
from .http1 import MAX_BLOCKS, merge
from .http1head import CLOSE, LENGTH, Head, frame

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs

VERSION: Final = "2.0"
LANE: Final = "HTTP/" + VERSION

CONNECTION: Final = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))
"""Fields about a connection: HTTP/2 has other means (8.2.2)."""
_SECRET: Final = frozenset(("authorization", "cookie", "proxy-authorization"))
"""Never put into anybody's table: a table could be probed for them (RFC 7541 7.1.3)."""
_PATH: Final = name_of(":path")
_LENGTH: Final = name_of("content-length")
_SIZES: Final = tuple(integer(size, 7) for size in range(1024))
"""Lengths of paths."""

FRAMING: Final = frozenset((":status", "content-length", "content-encoding"))
"""Fields whose values the rest of an answer depends on; those of HTTP/1.1 only are no good here anyway."""
SPECIAL: Final = frozenset(("set-cookie", "authentication-info"))
"""Fields that matter by being there."""
MAX_PARTS: Final = 1024
"""Fields kept per place, none with a value of over MAX_PART characters; and MAX_HEADS heads without the others."""
MAX_PART: Final = 128
MAX_HEADS: Final = 64
MAX_REPEATED: Final = 256
"""Requests kept per place, none of them with a block of over MAX_REPEATED_BLOCK bytes."""
MAX_REPEATED_BLOCK: Final = 2048
MAX_SIZES: Final = 64
"""Sizes of bodies kept for each of these requests."""

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_KNOWN: Final = frozenset(name for name, _ in STATIC if name and name[0] != ":") - CONNECTION
_BAD: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REASONS: Final = {str(status.value): status.phrase for status in HTTPStatus}


UNSAID: Final = -1
TRAILERS: Final = -2
OTHER: Final = -3
"""What stands for the length of a body."""


class Repeated:
    """A request that was sent, for others like it: only the number of the stream, and the body, are not known.

    ``block`` is its header block, without the length of a body. ``alone`` stands ahead of the number and the block if
    there is no body; b"" if its length is due even then. ``bodies``, by their sizes: what stands ahead of the number,
    and what between that and the number again, behind which the body comes: HEADERS and DATA.
    """

    __slots__ = ("alone", "block", "bodies", "headers", "method")

    def __init__(self, method: str, headers: Pairs, block: bytes, alone: bool):
        self.method = method
        self.headers = headers
        self.block = block
        self.alone = head(len(block), HEADERS, END_HEADERS | END_STREAM) if alone else b""
        self.bodies: dict[int, tuple[bytes, bytes]] = {}

    def with_body(self, size: int) -> tuple[bytes, bytes]:
        """An entry of ``bodies``: of 1 to LEAST_FRAME bytes."""
        block = self.block + content_length(size)
        if len(self.bodies) >= MAX_SIZES:
            self.bodies.clear()
        ends = self.bodies[size] = head(len(block), HEADERS, END_HEADERS), block + head(size, DATA, END_STREAM)
        return ends


class Origin:
    """What all lines to one place share: header blocks in both directions, once encoded or decoded.

    ``scheme`` is that of the URLs, ``authority`` what Host says in HTTP/1.1, ``streams`` how many a line may have.
    """

    __slots__ = (
        "_authority",
        "_blocks",
        "_defaults",
        "_missed",
        "_scheme",
        "_skip",
        "demote",
        "fields",
        "lines",
        "repeated",
        "streams",
    )

    def __init__(
        self, scheme: str, authority: str, defaults: Pairs, streams: int, demote: Callable[[], None] | None = None
    ):
        self.streams = streams
        self.fields = Blocks(Judge())
        self._skip = len(scheme) + 3
        self._scheme = "https" if scheme.startswith("https") else "http"
        self._authority = authority
        self._defaults = defaults
        self._blocks: dict[tuple[str, Pairs], tuple[bytes, bytes]] = {}
        self.lines: WeakSet[Any] = WeakSet()
        """The wires of these lines."""
        self.demote = demote
        """What makes the next lines to the place HTTP/1.1, if that may be."""
        self._missed = 0
        self.repeated: dict[str, Repeated] = {}
        """Requests that were sent, by their URL."""

    def request(self, x: Exchange) -> bytes:
        """The header block of a request; ``content_length`` may be put behind it."""
        ends = self._blocks.get((x.method, x.headers)) or self._remember(x.method, x.headers)
        url = x.url
        path = url[url.find("/", self._skip) :].encode("latin-1")
        size = len(path)
        return b"".join((ends[0], _SIZES[size] if size < 1024 else integer(size, 7), path, ends[1]))

    def repeat(self, x: Exchange, block: bytes, alone: bool) -> None:
        """Keep a request: the next one may be like it. See :class:`Repeated`."""
        if len(self.repeated) >= MAX_REPEATED:
            self._missed += 1
            if self._missed < 16 * MAX_REPEATED:
                return  # who crawls sends none twice: learning would cost more than it saves
            self._missed = 0
            self.repeated.clear()
        if len(block) <= MAX_REPEATED_BLOCK:
            self.repeated[x.url] = Repeated(x.method, x.headers, block, alone)

    def _remember(self, method: str, headers: Pairs) -> tuple[bytes, bytes]:
        if len(self._blocks) >= MAX_BLOCKS:
            self._blocks.clear()
        ends = self._blocks[method, headers] = self._make(method, headers)
        return ends

    def _make(self, method: str, headers: Pairs) -> tuple[bytes, bytes]:
        """What stands ahead of the path, and what behind it."""
        authority = self._authority
        fields = []
        for spelling, value in merge(self._defaults, headers):
            name = spelling.lower()
            if name == "host":
                authority = value
            elif name not in CONNECTION and (name != "te" or value.lower() == "trailers"):
                fields.append(field(name, value, name in _SECRET))
        front = field(":method", method) + field(":scheme", self._scheme) + field(":authority", authority) + _PATH
        return front, b"".join(fields)


def content_length(size: int) -> bytes:
    """The field that says how long a body is."""
    return _LENGTH + text(b"%d" % size)


class Fields:
    """The fields of one block: an answer's ``head``, or else trailers. ``fault``: why they are neither.

    ``length``: of the body, if this is the head of a final answer that says it; else UNSAID if it is such a head,
    TRAILERS if it is no head, or OTHER: then it has to be looked at closely.
    """

    __slots__ = ("fault", "head", "length", "pairs")

    def __init__(self, pairs: tuple[Pair, ...]):
        values = [value for _, value in pairs]
        stripped = [value.strip(" \t") for value in values]
        if stripped != values:  # forbidden, but harmless: as in HTTP/1.1 it does not belong to the value
            pairs = tuple((name, value) for (name, _), value in zip(pairs, stripped, strict=True))
        self.pairs = pairs
        self.head: Head | None = None
        self.length = OTHER
        self.fault = _fault(pairs)
        if not self.fault and pairs and pairs[0][0] == ":status":
            status = pairs[0][1]
            self.pairs = pairs[1:]
            self.head = Head(int(status), _REASONS.get(status, ""), VERSION, self.pairs)
            try:
                frame(self.head, b"")
            except ProtocolError as error:
                self.fault = error.message
            if not self.fault and self.head.framing == LENGTH:
                self.length = self.head.length
            elif not self.fault and self.head.framing == CLOSE:
                self.length = UNSAID
        elif not self.fault:
            self.length = TRAILERS


class Judge:
    """Makes ``Fields`` of blocks that are new each time, though most of what is in them is not.

    A field that nothing depends on changes nothing but ``pairs``: with other ones of that kind, an answer's head is
    like that of an answer before it. ``_parts`` holds what a field means for the rest: "" for nothing, its name or
    all of it otherwise. What looks in the least unusual is all of it.
    """

    __slots__ = ("_heads", "_parts")

    def __init__(self) -> None:
        self._parts: dict[Pair, str | Pair] = {}
        self._heads: dict[tuple[str | Pair, ...], Fields] = {}

    def __call__(self, pairs: tuple[Pair, ...]) -> Fields:
        known = self._parts.get
        parts = [part if (part := known(pair)) is not None else self._part(pair) for pair in pairs]
        key = tuple([part for part in parts if part])
        like = self._heads.get(key)
        if like is None or pairs[0][0] != ":status":
            return self._first(pairs, key)
        fields = new(Fields)
        fields.fault = ""
        fields.length = like.length
        fields.pairs = pairs[1:]
        fields.head = _alike(like.head, fields.pairs)  # type: ignore[arg-type]
        return fields

    def _part(self, pair: Pair) -> str | Pair:
        """What this field means for the rest; kept."""
        name, value = pair
        part: str | Pair = pair
        if name not in FRAMING and name not in CONNECTION and _NAME.fullmatch(name) and value.isprintable():
            if " " not in (value[:1], value[-1:]):
                part = name if name in SPECIAL else ""
        if len(self._parts) >= MAX_PARTS:
            self._parts.clear()
        if len(value) <= MAX_PART:
            self._parts[pair] = part
        return part

    def _first(self, pairs: tuple[Pair, ...], key: tuple[str | Pair, ...]) -> Fields:
        """Judge all of it, and remember what a good head of this kind is like."""
        fields = Fields(pairs)
        if fields.head is not None and not fields.fault and fields.pairs == pairs[1:]:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[key] = fields
        return fields


def _alike(head: Head, pairs: tuple[Pair, ...]) -> Head:
    """The same head with other fields."""
    other = Head(head.status, head.reason, VERSION, pairs)
    other.framing = head.framing
    other.length = head.length
    other.encodings = head.encodings
    other.special = head.special
    return other


def _fault(pairs: tuple[Pair, ...]) -> str:
    """What makes these fields malformed (8.2, 8.3); empty if nothing."""
    for number, (name, _) in enumerate(pairs):
        if name in _KNOWN:
            continue
        if name == ":status":
            if number:
                return ":status is not the first field" if pairs[0][0] != name else "a second :status"
            if len(pairs[0][1]) != 3 or not "100" <= pairs[0][1] <= "999" or not pairs[0][1].isdecimal():
                return f"bad :status {pairs[0][1][:40]!r}"
        elif name in CONNECTION:
            return f"the field {name} is not for HTTP/2"
        elif _NAME.fullmatch(name) is None:
            return f"bad field name {name[:40]!r}"
    values = "".join([value for _, value in pairs])
    bad = None if values.isprintable() else _BAD.search(values)
    return f"control character {bad.group()!r} in a field" if bad else ""
