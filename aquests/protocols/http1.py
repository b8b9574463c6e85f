"""HTTP/1.1 as a wire (RFC 9112): one exchange at a time, the line kept for the next one.

What could go wrong, and what was chosen:

- Bytes behind a complete answer, or with nothing asked, belong to nobody: the answer stands, the
  line is given up. They never become the next answer.
- An answer may come before our upload is sent: it counts, the line is given up.
- A line that ends before the first byte of an answer was probably stale; the wire only says how
  far it came (``progress``), the engine decides about another try.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from ..errors import AquestsError, PeerClosed, ProtocolError, RequestError, TooLarge
from ..version import __version__
from .base import NO_EXCHANGES, OneAtATime
from .content import accept_encoding
from .http1head import CHUNKED, LENGTH, MAX_HEAD, NOTHING, Chunks, Head, HeadCache, find_end
from .largebody import LARGE, PROVEN, widened

if TYPE_CHECKING:
    from ..exchange import Exchange, Pairs

MAX_INTERIM: Final = 64
"""1xx answers before the real one; more is an attack (RFC 9110 15.2 sets no limit)."""
_OURS: Final = frozenset(("content-length", "transfer-encoding"))
"""Framing is the wire's: it knows the body, the user only thinks so."""
BODY_EXPECTED: Final = frozenset(("POST", "PUT", "PATCH"))
"""Methods that say Content-Length even without a body (RFC 9110 8.6)."""
MAX_BLOCKS: Final = 64
"""Rendered header blocks kept per place: as many as a program has different sets of headers."""
USER_AGENT: Final = f"aquests/{__version__}"


def lines(place: Any, prefix: str, extra: Pairs, settings: Any) -> Callable[[str | None], Http1]:
    """What makes the wires of lines to ``place`` (an Endpoint); see :class:`Origin` for ``prefix``."""
    return Origin(place.scheme, defaults(place, extra), prefix).make_wire


def defaults(place: Any, extra: Pairs) -> Pairs:
    """The headers sent unless the user gives his own."""
    return (
        ("Host", place.host_header),
        ("User-Agent", USER_AGENT),
        ("Accept", "*/*"),
        ("Accept-Encoding", accept_encoding()),
        *extra,
    )


class Origin:
    """What all lines to one place share: prepared header blocks, and the cache of heads.

    ``prefix`` is put before the target: empty, or ``http://host:port`` for the absolute form that
    a plain http proxy wants (RFC 9112 3.2.2); ``defaults`` are the headers sent unless the user gives his own.
    """

    def __init__(self, scheme: str, defaults: Pairs, prefix: str = ""):
        self.heads = HeadCache()
        self.skip = len(scheme) + 3
        self.prefix = prefix
        self.defaults = defaults
        self._blocks: dict[Pairs, str] = {}
        # The last plain request, by the very objects: a load run asks for one URL over and over, which saves 4.9 % of
        # the user instructions of an answer, and 7 % where a body is sent.
        self.last_url = self.last_method = ""
        self.last_headers: Pairs = ()
        self.last_request = b""
        """All of it, if it had no body,"""
        self.last_head = b""
        """or what comes ahead of the length of its body."""

    def make_wire(self, alpn: str | None = None) -> Http1:
        return Http1(self)

    def block(self, headers: Pairs) -> str:
        """``" HTTP/1.1"`` and all header lines, without the empty line; equal headers are rendered once."""
        block = self._blocks.get(headers)
        if block is None:
            block = " HTTP/1.1\r\n" + self._render(headers)
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            self._blocks[headers] = block
        return block

    def _render(self, headers: Pairs) -> str:
        return "".join(f"{name}: {value}\r\n" for name, value in merge(self.defaults, headers))


def _closes(headers: Pairs) -> bool:
    """Does the user want the line closed (RFC 9112 9.6)?"""
    return any(value and name.lower() == "connection" and "close" in value.lower() for name, value in headers)


def merge(defaults: Pairs, headers: Pairs) -> list[tuple[str, str]]:
    """The headers to send: the user's win over the defaults, a value of None drops one."""
    given = {name.lower() for name, _ in headers}
    merged = [(name, value) for name, value in defaults if value is not None and name.lower() not in given]
    merged += [(name, value) for name, value in headers if value is not None and name.lower() not in _OURS]
    return merged


class Http1(OneAtATime):
    """The client side of one HTTP/1.1 line."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_closing",
        "_due",
        "_head",
        "_heads",
        "_interim",
        "_large",
        "_left",
        "_no_body",
        "_origin",
        "_parts",
        "_plain",
        "_read",
        "_searched",
        "switched",
        "upgrading",
    )

    def __init__(self, origin: Origin):
        super().__init__()
        self.upgrading = False
        """The request asks for another protocol (RFC 9110 7.8): 101 is a good answer, kept in ``switched``."""
        self.switched: tuple[Head, bytes] | None = None
        """The head of a 101 and what came behind it: from there on the line is not HTTP/1.1 any more."""
        self._origin = origin
        self._heads = origin.heads
        self._read: Callable[[Http1, bytes], Sequence[Exchange]] | None = None
        """Who takes the next bytes; None = a head is awaited and none of it has come. The plain function, since a bound
        one would make a ring."""
        self._buffer = bytearray()
        self._searched = 0
        self._parts: list[bytes] = []
        self._large: BytesIO | None = None
        """What has come of a large body, whose pieces are not kept."""
        self._left = 0
        self._chunks: Chunks | None = None
        self._head: Head | None = None
        self._interim = 0
        self._plain = True
        """Nothing is special about the exchange: no HEAD, no upload, no Connection header, no interim answer yet."""
        self._no_body = False
        self._closing = False
        self._due: int | None = None
        """Bytes of a streamed body that are still to be sent; None = sent in chunks."""

    # Out

    def submit(self, x: Exchange) -> None:
        origin, payload = self._origin, x.payload
        if x.url is not origin.last_url or x.method is not origin.last_method or x.headers is not origin.last_headers:
            self._encode(x)
        elif payload is None and origin.last_request:
            self.outbox.append(origin.last_request)
        elif payload.__class__ is bytes and origin.last_head:
            self.outbox.append(b"%b%d\r\n\r\n%b" % (origin.last_head, len(payload), payload))
        else:
            self._encode(x)
        self._x = x
        self.room = 0

    def ask(self, x: Exchange, request: bytes) -> None:
        """As ``submit``, with a request that is encoded already and has no body."""
        self.outbox.append(request)
        self._x = x
        self.room = 0

    def _encode(self, x: Exchange) -> None:
        """As ``submit``, for a request that is not like the one before."""
        url, method, payload, origin = x.url, x.method, x.payload, self._origin
        head = f"{method} {origin.prefix}{url[url.find('/', origin.skip) :]}{origin.block(x.headers)}"
        last_request = last_head = b""
        due: int | None = None
        try:
            if payload is None:
                length = "Content-Length: 0\r\n" if method in BODY_EXPECTED else ""
                data = last_request = f"{head}{length}\r\n".encode("latin-1")
            elif isinstance(payload, bytes):
                last_head = f"{head}Content-Length: ".encode("latin-1")
                data = b"%b%d\r\n\r\n%b" % (last_head, len(payload), payload)
            else:
                due = payload.length
                length = "Transfer-Encoding: chunked" if due is None else f"Content-Length: {due}"
                data = f"{head}{length}\r\n\r\n".encode("latin-1")
        except UnicodeEncodeError as error:
            # Not chained: the exception carries the whole head.
            code = ord(error.object[error.start])
            raise RequestError(f"U+{code:04X} cannot stand in the head of a request: percent-encode it") from None
        self.outbox.append(data)
        streamed = not (last_request or last_head)
        self._due = due
        self.hungry = streamed and due != 0
        self._no_body = method == "HEAD"
        self._closing = _closes(x.headers)
        self._plain = not (streamed or self._no_body or self._closing)
        if self._plain:
            origin.last_url, origin.last_method, origin.last_headers = url, method, x.headers
            origin.last_request, origin.last_head = last_request, last_head

    def produce(self) -> Sequence[Exchange]:
        x = self._x
        if x is None or not self.hungry:
            return NO_EXCHANGES
        source = x.payload
        try:
            data = source.read()
        except RequestError as error:
            # Half a request is out: neither the exchange nor the line can be saved.
            return self.abandon(error)
        self.hungry = bool(data)
        if self._due is None:
            self.outbox.append(b"%x\r\n%b\r\n" % (len(data), data))  # b"" makes the last chunk
        elif data:
            self.outbox.append(data)
            self._due -= len(data)
            self.hungry = self._due > 0  # an answer that comes now is not an early one
        return NO_EXCHANGES

    # In

    def receive(self, data: bytes) -> Sequence[Exchange]:
        x = self._x
        if x is None:
            self._retire()  # nothing was asked
            return NO_EXCHANGES
        try:
            if self._read is not None:
                return self._read(self, data)
            raw, found, body = data.partition(b"\r\n\r\n")  # 90 ns less than to find and to slice
            if not found:
                return self._partial_head(data)
            heads = self._heads
            head = heads.known.get(raw)  # as heads.get does
            if head is None:
                head = heads.parse(raw)
            else:
                heads.hits += 1
            # The hot path: a known length, all of it here.
            if len(data) == head.size and self._plain and head.length <= x.max_content:
                x.head = head
                x.body = body
                self._x = None
                if head.keep_alive:
                    self.room = 1
                else:
                    self._retire()
                return (x,)
            return self._start_body(head, body)
        except (ProtocolError, TooLarge) as error:
            if self._lone_lf(data):
                return self._partial_head(data)
            return self._failed(error)

    def _lone_lf(self, data: bytes) -> bool:
        """Did the search for CRLF CRLF overlook a head that lone LFs end?"""
        return find_end(data)[0] != data.find(b"\r\n\r\n")

    def _partial_head(self, data: bytes) -> Sequence[Exchange]:
        """Collect a head that comes in pieces; what was searched is not searched again."""
        self._read = Http1._partial_head
        self._note_progress(len(data))
        buffer = self._buffer
        buffer += data
        end, body = find_end(buffer, max(0, self._searched - 3))
        if end < 0:
            self._searched = len(buffer)
            if not (buffer.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(buffer)):
                return self._failed(ProtocolError("not an HTTP/1 answer", first=bytes(buffer[:64])))
            if len(buffer) > MAX_HEAD + 3:  # of the empty line three bytes may be here
                message = f"the head has over {MAX_HEAD:,} bytes"
                return self._failed(TooLarge(message, phase="answer"))
            return NO_EXCHANGES
        raw = bytes(buffer[:end])
        rest = bytes(buffer[body:])
        buffer.clear()
        self._searched = 0
        try:
            return self._start_body(self._heads.get(raw), rest)
        except (ProtocolError, TooLarge) as error:
            return self._failed(error)

    def _start_body(self, head: Head, rest: bytes) -> Sequence[Exchange]:
        x = self._x
        assert x is not None
        if head.status < 200:
            return self._interim_head(head, rest)
        self._head = x.head = head
        framing = NOTHING if self._no_body else head.framing
        if framing == NOTHING or (framing == LENGTH and head.length == 0):
            self._closing = self._closing or bool(rest)
            return self._finish(x, head)
        if framing == LENGTH:
            if head.length > x.max_content:
                return self._too_large(x)
            self._left = head.length
            self._read = Http1._length_body
            if head.length >= LARGE:
                self._large = BytesIO()
                self._read = Http1._large_body
        elif framing == CHUNKED:
            self._chunks = Chunks(x.max_content)
            self._read = Http1._chunked_body
        else:
            self._closing = True
            self._left = x.max_content
            self._read = Http1._close_body
        if not x.progress:
            self._note_progress(1)
        return self._read(self, rest) if rest else NO_EXCHANGES

    def _interim_head(self, head: Head, rest: bytes) -> Sequence[Exchange]:
        """1xx: skipped (RFC 9110 15.2), but 101 was not asked for."""
        self._interim += 1
        self._plain = False
        if head.status == 101:
            if self.upgrading:
                self.switched = (head, rest)
                self._retire()
                return NO_EXCHANGES
            return self._failed(ProtocolError("101 Switching Protocols without an Upgrade request"))
        if self._interim > MAX_INTERIM:
            return self._failed(ProtocolError(f"over {MAX_INTERIM} interim answers"))
        self._read = None
        if rest:
            return self.receive(rest)
        self._note_progress(1)
        return NO_EXCHANGES

    def _length_body(self, data: bytes) -> Sequence[Exchange]:
        self._note_progress(len(data))
        if len(data) < self._left:
            self._parts.append(data)
            self._left -= len(data)
            return NO_EXCHANGES
        if len(data) > self._left:
            data = data[: self._left]
            self._closing = True
        self._parts.append(data)
        return self._finish_parts()

    def _large_body(self, data: bytes) -> Sequence[Exchange]:
        """As ``_length_body``, into one buffer."""
        body, head = self._large, self._head
        assert body is not None and head is not None
        self._note_progress(len(data))
        if len(data) > self._left:
            data = data[: self._left]
            self._closing = True
        body.write(data)
        self._left -= len(data)
        if not self._left:
            self._parts = [body.getvalue()]
            self._large = None
            return self._finish_parts()
        if PROVEN <= body.tell() < PROVEN + len(data):  # once
            self._large = widened(body, head.length)
        return NO_EXCHANGES

    def _chunked_body(self, data: bytes) -> Sequence[Exchange]:
        x, chunks = self._x, self._chunks
        assert x is not None and chunks is not None
        self._note_progress(len(data))
        try:
            rest = chunks.feed(data)
        except (ProtocolError, TooLarge) as error:
            return self._failed(error)
        if rest is None:
            return NO_EXCHANGES
        self._closing = self._closing or bool(rest)
        x.trailers = chunks.trailers
        self._parts = [chunks.body()]
        self._chunks = None
        return self._finish_parts()

    def _close_body(self, data: bytes) -> Sequence[Exchange]:
        x = self._x
        assert x is not None
        self._note_progress(len(data))
        self._parts.append(data)
        self._left -= len(data)
        return self._too_large(x) if self._left < 0 else NO_EXCHANGES

    def receive_eof(self) -> Sequence[Exchange]:
        x = self._x
        if x is not None and self._read is Http1._close_body:
            return self._finish_parts()
        if x is None:
            self._retire()
            return NO_EXCHANGES
        return self.abandon(PeerClosed(f"the server closed the line {self._how_far()}", phase="answer"))

    # The end of an exchange

    def _finish_parts(self) -> Sequence[Exchange]:
        x, head = self._x, self._head
        assert x is not None and head is not None
        x.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return self._finish(x, head)

    def _finish(self, x: Exchange, head: Head) -> Sequence[Exchange]:
        self._x = None
        self._read = None
        self._head = None
        self._interim = 0
        self._plain = True
        self._no_body = False
        self.begun.clear()
        if head.keep_alive and not self._closing and not self.hungry:
            self.room = 1
        else:
            self.hungry = False  # the rest of an upload would not be read
            self._retire()
        return (x,)

    def _too_large(self, x: Exchange) -> Sequence[Exchange]:
        return self._failed(TooLarge(f"the body is over max_content={x.max_content:,} bytes", phase="answer"))

    def _failed(self, error: AquestsError) -> Sequence[Exchange]:
        """The server broke the rules, or a limit: nothing on the line can be trusted any more."""
        self.error = error
        return self.abandon(error)

    def _note_progress(self, nbytes: int) -> None:
        x = self._x
        if x is not None:
            if not x.progress:
                self.begun.append(x)
            x.progress += nbytes

    def _how_far(self) -> str:
        if self._read is None:
            return "before the answer"
        if self._read is Http1._partial_head:
            return "within the head of the answer"
        if self._read in (Http1._length_body, Http1._large_body) and self._head is not None:
            return f"after {self._head.length - self._left:,} of {self._head.length:,} bytes of the body"
        return "within the body of the answer"
