"""HTTP/1.1 grammar: the head of an answer, and the chunked coding (RFC 9112).

Strict where a lie about framing could hide: two lengths, a length with a transfer coding, a
control character, a bare CR. Liberal only where RFC 9112 allows a recipient to be: a bare LF ends
a line of a head or of trailers (2.2), folded lines are joined by a space (5.2), equal
Content-Lengths are one (6.3), a missing space before an empty reason phrase.

A server says the same head thousands of times a second, but for Date, which changes once a
second. ``HeadCache`` therefore parses equal bytes once: 0.3 µs instead of 8
(``benchmarks/heads.py``). Heads with unique ids never repeat: then the cache switches itself off.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import ProtocolError, TooLarge
from ..headers import Headers

MAX_HEAD: Final = 65536
"""Bytes of a head, or of a trailer section: eight times what common servers send at most."""
MAX_HEADERS: Final = 512
"""Fields in a head: the largest real answers have about a hundred."""
MAX_CHUNK_LINE: Final = 4096
"""Bytes of a chunk-size line with its extensions."""
MAX_DIGITS: Final = 18
"""Digits of a Content-Length: more is no length but an overflow attempt."""

# How a body ends (RFC 9112 6.3)
NOTHING: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
CLOSE: Final = 3

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_STATUS_LINE: Final = re.compile(r"HTTP/(1\.[0-9]) ([1-9][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_BAD: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_END: Final = re.compile(rb"\r?\n\r?\n")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_CHUNK_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r?")
_DIGITS: Final = re.compile(r"[0-9]+")


class Head:
    """A parsed head; shared between equal answers, never changed after parsing."""

    __slots__ = (
        "_headers",
        "encodings",
        "framing",
        "keep_alive",
        "lane",
        "length",
        "pairs",
        "reason",
        "size",
        "special",
        "status",
        "version",
    )

    def __init__(self, status: int, reason: str, version: str, pairs: tuple[tuple[str, str], ...]):
        self.status = status
        self.reason = reason
        self.version = version
        self.lane = "HTTP/" + version
        self.pairs = pairs
        self._headers: Headers | None = None
        self.framing = CLOSE
        self.length = 0
        self.size = -1
        """Bytes of head, empty line (CR LF) and body together; -1: only the body will tell."""
        self.keep_alive = version != "1.0"
        self.encodings: tuple[str, ...] = ()
        """Codings to remove from the body, in the order they were applied."""
        self.special = status in _REDIRECTS or status == 401 or status == 407

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            self._headers = Headers(self.pairs)
        return self._headers


class HeadCache:
    """Equal bytes are parsed once. One per endpoint; at most ``SIZE`` heads are kept."""

    SIZE: Final = 64
    TRIAL: Final = 512
    """Heads parsed until the hits are judged: with less than a quarter as many the cache is off, 16 times as long."""

    __slots__ = ("_off", "_seen", "hits", "known")

    def __init__(self) -> None:
        self.known: dict[bytes, Head] = {}
        self.hits = 0
        self._seen = 0
        self._off = 0

    def get(self, raw: bytes) -> Head:
        """The head in ``raw`` (without the empty line). Raises ProtocolError or TooLarge."""
        head = self.known.get(raw)
        if head is None:
            return self.parse(raw)
        self.hits += 1
        return head

    def parse(self, raw: bytes) -> Head:
        """As ``get``, for one that is not ``known``."""
        head = parse_head(raw)
        if self._off:
            self._off -= 1
            return head
        self._seen += 1
        if self._seen >= self.TRIAL:
            if self.hits < self.TRIAL // 4:
                self.known.clear()
                self._off = 16 * self.TRIAL
            self._seen = self.hits = 0
        if len(self.known) >= self.SIZE:
            self.known.clear()  # the next second's Date: older heads never come back
        self.known[raw] = head
        return head


def find_end(data: bytes | bytearray, start: int = 0) -> tuple[int, int]:
    """Where the head ends and the body begins, or (-1, -1). Lone LFs end lines too (RFC 9112 2.2)."""
    end = data.find(b"\r\n\r\n", start)
    if data.find(b"\n\n", start, end if end >= 0 else len(data)) < 0 and (
        data.find(b"\n\r\n", start, end + 2 if end >= 0 else len(data)) < 0
    ):
        return (end, end + 4) if end >= 0 else (-1, -1)
    match = _END.search(data, start)
    return (match.start(), match.end()) if match else (-1, -1)


def parse_head(raw: bytes) -> Head:
    """Parse a status line and its fields. Raises ProtocolError or TooLarge."""
    if not raw.startswith(b"HTTP/1."):
        raise ProtocolError("not an HTTP/1 answer", first=raw[:64])
    if len(raw) > MAX_HEAD:
        raise TooLarge(f"the head has over {MAX_HEAD:,} bytes", phase="answer")
    line, lf, rest = raw.decode("latin-1").partition("\n")
    match = _STATUS_LINE.fullmatch(line.removesuffix("\r"))
    if match is None:
        raise ProtocolError("not an HTTP/1 status line", first=raw[:64])
    version, status, reason = match.groups()
    head = Head(int(status), reason or "", version, parse_fields(rest, raw) if lf else ())
    frame(head, raw)
    return head


def parse_fields(text: str, raw: bytes) -> tuple[tuple[str, str], ...]:
    """Field lines into pairs (RFC 9112 5). ``raw`` is only shown in errors."""
    bad = _BAD.search(text)
    if bad is not None:
        raise ProtocolError(f"control character {bad.group()[0]!r} in a header", first=raw[:64])
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > MAX_HEADERS:
        raise TooLarge(f"{len(lines):,} headers, the limit is {MAX_HEADERS}", phase="answer")
    pairs = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or _TOKEN.fullmatch(name) is None:
            raise ProtocolError(f"not a header line: {line[:40]!r}", first=raw[:64])
        pairs.append((name, value.strip(" \t")))
    return tuple(pairs)


def frame(head: Head, raw: bytes) -> None:
    """How the body ends, by RFC 9112 6.3; and what somebody else must look at."""
    length: str | None = None
    codings: list[str] | None = None
    encodings: list[str] = []
    options: list[str] = []
    for name, value in head.pairs:
        lower = name.lower()
        if lower == "content-length":
            length = value if length is None else f"{length}, {value}"
        elif lower == "transfer-encoding":
            codings = (codings or []) + _tokens(value)
        elif lower == "content-encoding":
            encodings += _tokens(value)
        elif lower == "connection":
            options += _tokens(value)
        elif lower in ("set-cookie", "authentication-info"):
            head.special = True
    if options:
        head.keep_alive = "close" not in options and (head.keep_alive or "keep-alive" in options)
    number = None if length is None else _content_length(length, raw)
    if codings is not None:
        if not codings:
            raise ProtocolError("an empty Transfer-Encoding", first=raw[:64])
        if number is not None:
            raise ProtocolError("both Content-Length and Transfer-Encoding", first=raw[:64])
        if head.version == "1.0":
            head.keep_alive = False  # faulty framing (RFC 9112 6.1): take the body, not the line
        if "chunked" in codings[:-1]:
            raise ProtocolError("chunked is not the last transfer coding", first=raw[:64])
        if codings[-1] == "chunked":
            head.framing = CHUNKED
            codings.pop()
        encodings += codings
    elif number is not None:
        head.framing = LENGTH
        head.length = number
    if head.status < 200 or head.status in (204, 304):
        head.framing = NOTHING
    if head.framing == LENGTH:
        head.size = len(raw) + 4 + head.length
    head.encodings = tuple(coding for coding in encodings if coding != "identity")
    if head.encodings:
        head.special = True


def _tokens(value: str) -> list[str]:
    return [token for part in value.lower().split(",") if (token := part.strip(" \t"))]


def _content_length(value: str, raw: bytes) -> int:
    values = {part.strip(" \t") for part in value.split(",")}  # "5, 5" is 5 (RFC 9112 6.3)
    text = values.pop()
    if values:
        raise ProtocolError(f"different Content-Lengths {value[:40]!r}", first=raw[:64])
    if _DIGITS.fullmatch(text) is None or len(text) > MAX_DIGITS:
        raise ProtocolError(f"bad Content-Length {value[:40]!r}", first=raw[:64])
    return int(text)


class Chunks:
    """The chunked coding, read in any cutting (RFC 9112 7.1)."""

    __slots__ = ("_buffer", "_left", "_limit", "_parts", "_read", "size", "trailers")

    def __init__(self, limit: int):
        self._limit = limit
        self._parts: list[bytes] = []
        self._buffer = b""
        self._left = 0
        self._read = self._size_line
        self.size = 0
        self.trailers: tuple[tuple[str, str], ...] = ()

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes. Returns what stands behind the end of the body, or None while it goes on.

        Raises ProtocolError, or TooLarge once the body is over the limit.
        """
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        parts = self._parts
        known = len(parts)
        at = 0
        while True:
            step = self._read(data, at)
            if step is None:
                if len(parts) > known + 1:
                    parts[known:] = [b"".join(parts[known:])]  # chunks of one byte would weigh twenty times as much
                return None
            at = step
            if self._read == self._done:
                return data[at:]

    def body(self) -> bytes:
        return b"".join(self._parts)

    def _size_line(self, data: bytes, at: int) -> int | None:
        end = data.find(b"\r\n", at, at + MAX_CHUNK_LINE)
        if end < 0:
            if at < len(data) and _CHUNK_BEGUN.fullmatch(data, at, at + MAX_CHUNK_LINE) is None:
                raise ProtocolError("bad chunk size", first=data[at : at + 64])  # whatever comes behind it
            if len(data) - at >= MAX_CHUNK_LINE:
                raise ProtocolError(f"a chunk-size line over {MAX_CHUNK_LINE} bytes", first=data[at : at + 64])
            self._buffer = data[at:]
            return None
        match = _CHUNK.fullmatch(data, at, end)
        if match is None:
            raise ProtocolError("bad chunk size", first=data[at : at + 64])
        self._left = int(match.group(1), 16)
        self.size += self._left
        if self.size > self._limit:
            raise TooLarge(f"the body is over max_content={self._limit:,} bytes", phase="answer")
        self._read = self._chunk if self._left else self._trailer
        return end + 2

    def _chunk(self, data: bytes, at: int) -> int | None:
        piece = data[at : at + self._left]
        if piece:
            self._parts.append(piece)
            self._left -= len(piece)
        if self._left:
            return None
        self._read = self._chunk_end
        return at + len(piece)

    def _chunk_end(self, data: bytes, at: int) -> int | None:
        if len(data) - at < 2:
            if data[at:] not in (b"", b"\r"):
                raise ProtocolError("a chunk is longer than its size", first=data[at : at + 64])
            self._buffer = data[at:]
            return None
        if data[at : at + 2] != b"\r\n":
            raise ProtocolError("a chunk is longer than its size", first=data[at : at + 64])
        self._read = self._size_line
        return at + 2

    def _trailer(self, data: bytes, at: int) -> int | None:
        first = data[at : at + 2]
        if first == b"\r\n" or first[:1] == b"\n":
            self._read = self._done
            return at + (2 if first == b"\r\n" else 1)
        end, behind = find_end(data, at)
        # Of the empty line three bytes may be here.
        if (end if end >= 0 else len(data) - 3) - at > MAX_HEAD:
            raise TooLarge(f"the trailers have over {MAX_HEAD:,} bytes", phase="answer")
        if end < 0:
            self._buffer = data[at:]
            return None
        raw = data[at:end]
        self.trailers = parse_fields(raw.decode("latin-1"), raw)
        self._read = self._done
        return behind

    def _done(self, data: bytes, at: int) -> int | None:
        raise AssertionError("nothing is read behind the end")
