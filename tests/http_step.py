"""A strict HTTP/1.1 server as one step of a script (RFC 9112).

It is a judge, not a product: what a careful client must not send fails the test, even where a real server
would be lenient. A client that goes away in the middle of a request or an answer is no failure here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

from tests.steps import Line, LineEnded, PeerClosing, ScriptError, Step, next_round, short

Headers: TypeAlias = list[tuple[str, str]]
Answer: TypeAlias = "tuple[int, Headers, bytes | Iterable[bytes]]"

HEAD_LIMIT = 262144

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_URI = rb"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+"  # RFC 3986 2, and no "#": fragments stay at home
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (" + _URI + rb") HTTP/(1\.[01])")
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e]*)?")
_SINGLE = ("host", "content-length", "transfer-encoding", "content-type", "authorization", "user-agent", "cookie")


@dataclass(slots=True)
class Request:
    """One request as it came. ``connection`` counts from 1; ``line`` gives access to the TLS socket."""

    method: str
    target: str
    version: str
    headers: Headers
    connection: int
    line: Line
    body: bytes = b""
    trailers: Headers = field(default_factory=list)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query without its question mark."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first field of that name, in any case; None if there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def serve_http(responder: Callable[[Request], Answer], requests: list[Request] | None = None) -> Step:
    """Answer requests by ``responder`` until either side closes the line; append each to ``requests``."""

    def step(line: Line) -> None:
        while next_round(line):
            try:
                request = _read_request(line)
            except (OSError, PeerClosing) as gone:
                raise LineEnded from gone
            if requests is not None:
                requests.append(request)
            answer = responder(request)
            try:
                keep = _answer(request, answer)
            except (OSError, PeerClosing) as gone:
                raise LineEnded from gone
            if not keep:
                return

    return step


def _read_request(line: Line) -> Request:
    lines = _read_until(line, b"\r\n\r\n", HEAD_LIMIT)[:-4].split(b"\r\n")
    if not (found := _REQUEST_LINE.fullmatch(lines[0])):
        raise ScriptError(f"bad request line {short(lines[0])}")
    method, target, version = (part.decode() for part in found.groups())
    request = Request(method, target, version, _fields(lines[1:]), line.number, line)
    _check_head(request)
    if (request.header("expect") or "").lower() == "100-continue":
        line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    if request.header("transfer-encoding") is not None:
        request.body, request.trailers = _read_chunks(line)
    elif (length := request.header("content-length")) is not None:
        request.body = _read_exactly(line, int(length))
    return request


def _check_head(request: Request) -> None:
    names = [name.lower() for name, _ in request.headers]
    for name in _SINGLE:
        if names.count(name) > 1:
            raise ScriptError(f"{names.count(name)} fields {name} in one request")
    if request.version == "1.1" and "host" not in names:
        raise ScriptError("a request without Host (RFC 9112 3.2)")
    if request.target[0] != "/" and not _other_form(request):
        raise ScriptError(f"bad target {request.target!r} (RFC 9112 3.2)")
    length, coding = request.header("content-length"), request.header("transfer-encoding")
    if length is not None and coding is not None:
        raise ScriptError("both Content-Length and Transfer-Encoding (RFC 9112 6.2)")
    if length is not None and not re.fullmatch("[0-9]{1,18}", length):
        raise ScriptError(f"bad Content-Length {length!r}")
    if coding is not None and (coding.lower() != "chunked" or request.version == "1.0"):
        raise ScriptError(f"bad Transfer-Encoding {coding!r} in HTTP/{request.version}")


def _other_form(request: Request) -> bool:
    """Absolute form (to a proxy), authority form (CONNECT) or asterisk form (OPTIONS)."""
    if request.method == "CONNECT":
        return re.fullmatch(r".+:[0-9]+", request.target) is not None
    return request.target.startswith(("http://", "https://")) or (request.target == "*" and request.method == "OPTIONS")


def _fields(lines: list[bytes]) -> Headers:
    fields = []
    for text in lines:
        if not (found := _FIELD.fullmatch(text)):
            raise ScriptError(f"bad field line {short(text)} (RFC 9112 5)")
        fields.append((found[1].decode(), found[2].decode("latin-1")))
    return fields


def _read_chunks(line: Line) -> tuple[bytes, Headers]:
    body = bytearray()
    while True:
        text = _read_until(line, b"\r\n", 1024)[:-2]
        if not (found := _CHUNK_LINE.fullmatch(text)):
            raise ScriptError(f"bad chunk line {short(text)} (RFC 9112 7.1)")
        if not (size := int(found[1], 16)):
            break
        body += _read_exactly(line, size)
        if (end := _read_exactly(line, 2)) != b"\r\n":
            raise ScriptError(f"a chunk ends with {end!r}")
    trailers = []
    while text := _read_until(line, b"\r\n", HEAD_LIMIT)[:-2]:
        trailers.append(text)
    return bytes(body), _fields(trailers)


def _read_until(line: Line, mark: bytes, limit: int) -> bytes:
    while (at := line.pending.find(mark)) < 0:
        if len(line.pending) > limit:
            raise ScriptError(f"no {mark!r} within {limit} bytes: {short(line.pending)}")
        _more(line)
    return line.take(at + len(mark))


def _read_exactly(line: Line, count: int) -> bytes:
    while len(line.pending) < count:
        _more(line)
    return line.take(count)


def _more(line: Line) -> None:
    if not line.fill():
        raise LineEnded


def _answer(request: Request, answer: Answer) -> bool:
    """Send the answer; True if the line stays open."""
    status, headers, body = answer
    if request.version == "1.0" and not isinstance(body, bytes):
        body = b"".join(body)
    names = {name.lower(): value for name, value in headers}
    wishes = f"{names.get('connection', '')}, {request.header('connection') or ''}".lower()
    keep = "close" not in wishes and request.version == "1.1"
    head = [f"HTTP/1.1 {status} {_reason(status)}", *(f"{name}: {value}" for name, value in headers)]
    if status >= 200 and status != 204 and not names.keys() & {"content-length", "transfer-encoding"}:
        head.append(f"Content-Length: {len(body)}" if isinstance(body, bytes) else "Transfer-Encoding: chunked")
    if not keep and "connection" not in names:
        head.append("Connection: close")
    start = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
    if request.method == "HEAD" or status in (204, 304):
        request.line.send(start)
    elif isinstance(body, bytes):
        request.line.send(start + body)
    else:
        _send_chunks(request.line, start, body)
    return keep


def _send_chunks(line: Line, start: bytes, pieces: Iterable[bytes]) -> None:
    line.send(start)
    for piece in pieces:
        if piece:
            line.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    line.send(b"0\r\n\r\n")


def _reason(status: int) -> str:
    names: Any = HTTPStatus._value2member_map_
    return names[status].phrase if status in names else "Unknown"
