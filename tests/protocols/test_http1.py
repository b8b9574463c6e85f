"""The HTTP/1.1 wire: transcripts, the laws of every wire, what is sent, uploads, random conversations.

Framing is tested by ``tests/transcripts/http1``: one case a file, to be read and added to without code.
"""

from __future__ import annotations

import gc
import http.client
import io
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import Cancelled, ProtocolError, RequestError, TooLarge
from aquests.exchange import Exchange
from aquests.protocols.http1 import MAX_BLOCKS, MAX_INTERIM, Http1, Origin, lines, merge
from aquests.protocols.largebody import LARGE, PROVEN
from tests.conformance import Case, Harness, Spoken, Transcript, Turn, check_wire, mutated, transcripts, unescaped
from tests.helpers import ROOT, feedings, random_cuts
from tests.loopback import Pieces, exchange

TRANSCRIPTS = transcripts(ROOT / "tests" / "transcripts" / "http1")
SLOW = {"chunked_trailers_too_large"}
"""A section that is searched anew with every byte: fed byte by byte it would take a second."""


def make_wire() -> Http1:
    return Origin("http", (("Host", "peer"),)).make_wire()


def make_exchange(spoken: Spoken) -> Exchange:
    """The request a turn of a transcript asks for."""
    method, target, _ = spoken.ask.split()
    body = spoken.options.get("body")
    limit = spoken.options.get("max_content")
    header = spoken.options.get("header")
    return exchange(
        None if body is None else body.encode(),
        method=method,
        url=f"http://peer{target}",
        headers=() if header is None else (tuple(header.split(": ")),),
        max_content=None if limit is None else int(limit),
    )


def asked(wire: Http1 | None = None, **options: Any) -> tuple[Http1, Exchange]:
    """A wire with one request in flight, the head of which has been sent."""
    if wire is None:
        wire = make_wire()
        wire.opened()
    x = exchange(**options)
    wire.submit(x)
    wire.outbox.clear()
    return wire, x


def answer(body: bytes = b"hi", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), more, body)


# Transcripts


@pytest.mark.parametrize("cutting", range(3), ids=("whole", "bytewise", "random"))
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=str)
def test_transcript(transcript: Transcript, cutting: int):
    if cutting == 1 and transcript.name in SLOW:
        cutting = 2
    harness = Harness(make_wire())
    harness.open()
    for turn in transcript.turns:
        x = make_exchange(turn)
        harness.sent.clear()
        harness.submit(x)
        harness.feed(list(feedings(bytes(turn.data), transcript.name))[cutting])
        if transcript.eof and turn is transcript.turns[-1] and not harness.ended:
            harness.receive_eof()
        sent = b"".join(harness.sent)
        assert sent.startswith(turn.ask.encode() + b"\r\n"), sent
        check_expectations(harness, x, turn, sent)


def check_expectations(harness: Harness, x: Exchange, turn: Spoken, sent: bytes) -> None:
    expected: dict[str, list[str]] = {}
    for name, value in turn.expected:
        expected.setdefault(name, []).append(unescaped(value).decode("latin-1"))
    for name in expected:
        assert name in EXPECTATIONS, f"what is {name!r}?"
    assert len({"status", "error", "unanswered"} & expected.keys()) == 1, "a transcript must say how it ends"
    assert (x in harness.done) == ("unanswered" not in expected)
    assert x.body == expected.get("body", [""])[0].encode("latin-1")
    assert [f"{name}: {value}".rstrip() for name, value in x.trailers] == expected.get("trailer", [])
    for name, values in expected.items():
        for value in values:
            EXPECTATIONS[name](harness, x, value, sent)


def expect_status(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    head: Any = x.head
    assert x.error is None, x.error
    assert f"{head.status} {head.reason}".rstrip() == value


def expect_version(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    head: Any = x.head
    assert (head.version, head.lane) == (value, "HTTP/" + value)


def expect_header(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    head: Any = x.head
    name, _, text = value.partition(":")
    assert head.headers.get(name) == text.strip(" ")


def expect_no(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    head: Any = x.head
    assert value.removeprefix("header ") not in head.headers


def expect_special(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    head: Any = x.head
    assert head.special is (value == "yes")


def expect_encodings(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    head: Any = x.head
    assert ", ".join(head.encodings) == value


def expect_error(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    name, _, words = value.partition(" ")
    assert type(x.error).__name__ == name, x.error
    assert words in str(x.error)
    assert x.error.phase == "answer"


def expect_reusable(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    assert harness.wire.reusable is (value == "yes")
    assert harness.wire.room == (1 if value == "yes" else 0)


def expect_progress(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    assert x.progress == int(value)


def expect_sent(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    assert value.encode() + b"\r\n" in sent


def expect_unanswered(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    assert harness.wire.inflight == (x,)


def seen_already(harness: Harness, x: Exchange, value: str, sent: bytes) -> None:
    """Checked in any case, expected or not."""


EXPECTATIONS = {
    "body": seen_already,
    "encodings": expect_encodings,
    "error": expect_error,
    "header": expect_header,
    "no": expect_no,
    "progress": expect_progress,
    "reusable": expect_reusable,
    "sent": expect_sent,
    "special": expect_special,
    "status": expect_status,
    "trailer": seen_already,
    "unanswered": expect_unanswered,
    "version": expect_version,
}


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=str)
def test_laws_of_every_wire(transcript: Transcript):
    if transcript.name not in SLOW:
        check_wire(make_wire, make_exchange, [transcript.case()])


@pytest.mark.parametrize("length", (3, None), ids=("measured", "chunked"))
def test_laws_of_every_wire_with_uploads(length):
    case = Case("upload", Turn([length], answer()), Turn([length], answer(b"", b"Connection: close\r\n")))
    check_wire(make_wire, lambda length: exchange(Pieces(b"ab", b"c", length=length), method="PUT"), [case])


def test_transcripts_are_many_and_titled_and_none_is_there_twice():
    assert len(TRANSCRIPTS) >= 80
    assert all(transcript.title for transcript in TRANSCRIPTS)
    told = [[(turn.ask, turn.options, turn.data) for turn in t.turns] + [t.eof] for t in TRANSCRIPTS]
    for number, one in enumerate(told):
        assert one not in told[:number], TRANSCRIPTS[number]


# What is sent


PLACE = SimpleNamespace(scheme="http", host_header="peer:81")


def sent(wire: Http1, x: Exchange) -> str:
    if not wire.room:
        wire.opened()
    wire.submit(x)
    return b"".join(wire.outbox).decode("latin-1")


def test_request_of_a_place():
    text = sent(lines(PLACE, "", (), None)(None), exchange(url="http://peer:81/a?b"))
    head, *fields, empty, rest = text.split("\r\n")
    assert head == "GET /a?b HTTP/1.1"
    assert [field.partition(": ")[0] for field in fields] == ["Host", "User-Agent", "Accept", "Accept-Encoding"]
    assert fields[0] == "Host: peer:81"
    assert (empty, rest) == ("", "")


@pytest.mark.parametrize(
    "scheme, url, target",
    (
        ("http", "http://peer/", "/"),
        ("http", "http://peer/a//b?c=/d", "/a//b?c=/d"),
        ("https", "https://peer:8443/x", "/x"),
        ("http+unix", "http+unix://%2Frun%2Fapp.sock/x/y", "/x/y"),
        ("http", "http://[::1]:80/?q", "/?q"),
    ),
)
def test_target(scheme, url, target):
    for headers in ((), (("A", "b"),)):
        text = sent(Origin(scheme, ()).make_wire(), exchange(url=url, headers=headers))
        assert text.startswith(f"GET {target} HTTP/1.1\r\n")


def test_a_prefix_makes_the_absolute_form():
    wire = lines(PLACE, "http://peer:81", (("Proxy-Authorization", "Basic x"),), None)(None)
    text = sent(wire, exchange(url="http://peer:81/a"))
    assert text.startswith("GET http://peer:81/a HTTP/1.1\r\nHost: peer:81\r\n")
    assert "\r\nProxy-Authorization: Basic x\r\n" in text


@pytest.mark.parametrize(
    "method, payload, expected",
    (
        ("GET", None, ""),
        ("DELETE", None, ""),
        ("OPTIONS", None, ""),
        ("POST", None, "Content-Length: 0\r\n\r\n"),
        ("PUT", None, "Content-Length: 0\r\n\r\n"),
        ("PATCH", None, "Content-Length: 0\r\n\r\n"),
        ("POST", b"", "Content-Length: 0\r\n\r\n"),
        ("GET", b"", "Content-Length: 0\r\n\r\n"),
        ("POST", b"a=1", "Content-Length: 3\r\n\r\na=1"),
        ("GET", b"\r\n\xe9", "Content-Length: 3\r\n\r\n\r\n\xe9"),
        ("PUT", Pieces(length=9), "Content-Length: 9\r\n\r\n"),
        ("PUT", Pieces(), "Transfer-Encoding: chunked\r\n\r\n"),
    ),
)
def test_framing_of_requests(method, payload, expected):
    text = sent(make_wire(), exchange(payload, method=method))
    assert text == f"{method} / HTTP/1.1\r\nHost: peer\r\n{expected or chr(13) + chr(10)}"


def test_the_users_headers_win_and_framing_is_not_his():
    headers = (("user-agent", "mine"), ("X-A", "1"), ("X-A", "2"), ("ACCEPT", None), ("X-None", None))
    given = (*headers, ("Content-Length", "99"), ("transfer-encoding", "chunked"), ("content-length", None))
    pairs = merge((("Host", "peer"), ("User-Agent", "ours"), ("Accept", "*/*"), ("Dropped", None)), given)
    assert pairs == [("Host", "peer"), ("user-agent", "mine"), ("X-A", "1"), ("X-A", "2")]


def test_equal_header_sets_are_rendered_once_and_few_are_kept():
    origin = Origin("http", (("Host", "peer"),))
    first = origin.block((("A", "b"),))
    assert first == " HTTP/1.1\r\nHost: peer\r\nA: b\r\n"
    assert origin.block((("A", "b"),)) is first
    for number in range(3 * MAX_BLOCKS):
        origin.block((("X-Id", str(number)),))
        assert len(origin._blocks) <= MAX_BLOCKS
    assert origin.block((("A", "b"),)) == first


def test_a_plain_request_is_encoded_once_and_never_taken_for_another():
    origin = Origin("http", (("Host", "peer"),))
    url = "http://peer/a"
    asks = [
        ("GET", url),
        ("GET", url),
        ("HEAD", url),
        ("GET", url),
        ("GET", "http://peer/b"),
        ("GET", url),
        ("DELETE", url),
    ]
    for method, asked_url in asks:
        text = sent(origin.make_wire(), exchange(method=method, url=asked_url))
        assert text == f"{method} {asked_url[11:]} HTTP/1.1\r\nHost: peer\r\n\r\n"
    with pytest.raises(RequestError):
        sent(origin.make_wire(), exchange(method="DELETE", url="http://peer/\u20ac"))
    assert sent(origin.make_wire(), exchange(method="DELETE", url=url)).startswith("DELETE /a HTTP/1.1\r\n")
    first, second = origin.make_wire(), origin.make_wire()
    sent(first, exchange(url=url)), sent(second, exchange(url=url))
    assert first.outbox[0] is second.outbox[0]


@pytest.mark.parametrize("options", ({"url": "http://peer/\u20ac"}, {"headers": (("A", "secret \u20ac"),)}))
def test_what_cannot_be_encoded_is_refused_before_anything_changed(options):
    wire = make_wire()
    wire.opened()
    with pytest.raises(RequestError, match=r"U\+20AC") as caught:
        wire.submit(exchange(**options))
    assert caught.value.__cause__ is None and "secret" not in str(caught.value)
    assert (wire.outbox, wire.inflight, wire.room, wire.hungry) == ([], (), 1, False)
    wire, x = asked(wire)
    assert list(wire.receive(answer())) == [x]


@given(
    st.sampled_from(("GET", "POST", "DELETE")),
    st.dictionaries(st.sampled_from(("X-A", "x-b", "X-Long-Name")), st.text("abz !~;,", max_size=9).map(str.strip)),
    st.none() | st.binary(max_size=50) | st.lists(st.binary(min_size=1, max_size=9)),
    st.booleans(),
)
def test_another_implementation_reads_what_is_sent(method, headers, body, measured):
    length = sum(map(len, body)) if isinstance(body, list) and measured else None
    payload = Pieces(*body, length=length) if isinstance(body, list) else body
    harness = Harness(make_wire())
    harness.open()
    harness.submit(exchange(payload, method=method, headers=tuple(headers.items()), url="http://peer/a?b"))
    server = h11.Connection(h11.SERVER)
    for piece in random_cuts(b"".join(harness.sent), random.Random(0)):
        server.receive_data(piece)
    request, *data, end = h11_events(server)
    assert isinstance(request, h11.Request) and isinstance(end, h11.EndOfMessage)
    assert (request.method, request.target) == (method.encode(), b"/a?b")
    told = [(name.decode(), value.decode()) for name, value in request.headers if name.startswith(b"x-")]
    assert told == [(name.lower(), value) for name, value in headers.items()]
    assert b"".join(event.data for event in data) == (b"".join(body) if isinstance(body, list) else body or b"")


def h11_events(connection: h11.Connection) -> Iterator[Any]:
    """What h11 says, up to the end of the message or until it wants more."""
    while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        yield event
        if isinstance(event, h11.EndOfMessage):
            return


# Uploads


def produced(wire: Http1) -> list[bytes]:
    """One call of ``produce``; what it put into the outbox."""
    assert wire.hungry and not wire.outbox
    assert not wire.produce()
    pieces = wire.outbox[:]
    wire.outbox.clear()
    return pieces


def test_a_measured_upload_ends_with_its_last_byte():
    wire, x = asked(method="PUT", payload=Pieces(b"abc", b"de", length=5))
    assert produced(wire) == [b"abc"]
    assert wire.hungry
    assert produced(wire) == [b"de"]
    assert not wire.hungry, "nothing is left to send: an answer is not an early one"
    assert list(wire.receive(answer())) == [x]
    assert (wire.room, wire.reusable) == (1, True)


def test_an_empty_measured_upload_is_not_hungry():
    wire, _ = asked(method="PUT", payload=Pieces(length=0))
    assert not wire.hungry


def test_a_chunked_upload_ends_with_the_last_chunk():
    wire, x = asked(method="POST", payload=Pieces(b"0123456789abcdef", b"x"))
    assert produced(wire) == [b"10\r\n0123456789abcdef\r\n"]
    assert produced(wire) == [b"1\r\nx\r\n"]
    assert wire.hungry
    assert produced(wire) == [b"0\r\n\r\n"]
    assert not wire.hungry
    assert list(wire.receive(answer())) == [x]
    assert wire.room == 1


@pytest.mark.parametrize("length", (6, None))
def test_an_early_answer_counts_and_the_line_is_given_up(length):
    wire, x = asked(method="POST", payload=Pieces(b"abc", b"def", length=length))
    produced(wire)
    assert list(wire.receive(answer(b"too big"))) == [x]
    assert (x.error, x.body) == (None, b"too big")
    assert (wire.hungry, wire.room, wire.reusable, wire.error) == (False, 0, False, None)
    assert wire.produce() == () and not wire.outbox


def test_an_early_answer_may_come_in_pieces_while_the_upload_goes_on():
    wire, x = asked(method="POST", payload=Pieces(b"abc", b"def", length=6))
    assert not wire.receive(answer()[:30])
    assert produced(wire) == [b"abc"]
    assert produced(wire) == [b"def"]
    assert list(wire.receive(answer()[30:])) == [x]
    assert wire.room == 1


def test_a_source_that_fails_fails_its_request_and_the_line():
    fault = RequestError("the file became shorter")
    wire, x = asked(method="POST", payload=Pieces(b"abc", fault, length=6))
    produced(wire)
    assert list(wire.produce()) == [x]
    assert x.error is fault
    assert (wire.hungry, wire.room, wire.reusable, wire.outbox, wire.inflight) == (False, 0, False, [], ())
    assert wire.error is None, "the peer did nothing wrong"


def test_nothing_is_produced_when_nothing_is_hungry():
    wire = make_wire()
    wire.opened()
    assert wire.produce() == () and not wire.outbox
    wire, _ = asked()
    assert wire.produce() == () and not wire.outbox


# The life of a line


def test_bytes_that_nobody_asked_for_end_the_line():
    wire = make_wire()
    wire.opened()
    assert wire.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n") == ()
    assert (wire.room, wire.reusable, wire.error) == (0, False, None)


def test_the_end_of_an_idle_line():
    wire = make_wire()
    wire.opened()
    assert wire.receive_eof() == ()
    assert (wire.room, wire.reusable, wire.error) == (0, False, None)


def test_a_broken_line_says_why():
    wire, x = asked()
    assert list(wire.receive(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n")) == [x]
    assert isinstance(wire.error, ProtocolError) and wire.error is x.error
    assert x.error.first.startswith(b"HTTP/1.1 200 OK")
    assert x.head is None


@pytest.mark.parametrize("size", [100_000, PROVEN, 3 * PROVEN])
def test_a_large_body_comes_in_one_buffer(size):
    wire, x = asked(max_content=LARGE)
    body = random.Random(size).randbytes(LARGE)
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + body
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    assert [wire.receive(piece) for piece in pieces[:-1]] == [()] * (len(pieces) - 1)
    assert wire.receive(pieces[-1]) == (x,)
    assert x.body == body and x.progress >= LARGE and wire.room == 1
    wire, x = asked(wire)
    assert wire.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") == (x,) and x.body == b"ok"


def test_bytes_behind_a_large_body_end_the_line():
    wire, x = asked(max_content=LARGE)
    wire.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
    assert wire.receive(bytes(LARGE) + b"more") == (x,)
    assert x.body == bytes(LARGE) and not wire.reusable


def test_a_large_body_that_is_cut_short():
    wire, x = asked(max_content=LARGE)
    wire.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(10))
    assert wire.receive_eof() == (x,)
    assert x.body == b"" and f"after 10 of {LARGE:,} bytes of the body" in str(x.error)


def test_the_head_stays_known_when_the_body_is_too_large():
    for cut in feedings(answer(b"hello")):
        wire, x = asked(max_content=4)
        for piece in cut:
            wire.receive(piece)
        assert isinstance(x.error, TooLarge) and x.error is wire.error
        head: Any = x.head
        assert (head.status, x.body) == (200, b"")


def test_cancel_means_that_the_line_must_go():
    wire, x = asked()
    assert wire.cancel(x) is False
    error = Cancelled("enough")
    assert list(wire.abandon(error)) == [x] and x.error is error
    assert wire.abandon(error) == ()


def test_goodbye_says_nothing():
    wire = make_wire()
    wire.opened()
    wire.goodbye()
    assert not wire.outbox


def test_progress_grows_with_what_comes():
    data = answer(b"0123456789")
    wire, x = asked()
    seen: list[int] = []
    for piece in (data[:10], data[10:-8], data[-8:-4], data[-4:-1]):
        assert wire.receive(piece) == ()
        assert wire.begun == ([x] if not seen else [])
        wire.begun.clear()
        seen.append(x.progress)
    assert seen == sorted(set(seen)) and seen[0] == 10
    assert list(wire.receive(data[-1:])) == [x] and wire.begun == []


def test_interim_answers_are_progress():
    wire, x = asked()
    for number in range(1, MAX_INTERIM + 1):
        assert wire.receive(b"HTTP/1.1 102 Processing\r\n\r\n") == ()
        assert x.progress == number
    assert list(wire.receive(answer())) == [x]
    wire, x = asked(wire)
    assert wire.receive(b"HTTP/1.1 102 Processing\r\n\r\n") == (), "the count begins anew with each request"


def test_equal_heads_are_one_object():
    wire, first = asked()
    wire.receive(answer(b"one"))
    _, second = asked(wire)
    wire.receive(answer(b"two"))
    assert first.head is second.head and (first.body, second.body) == (b"one", b"two")


def test_an_upgrade_that_was_asked_for_is_handed_on():
    wire = make_wire()
    wire.opened()
    wire.upgrading = True
    x = exchange()
    wire.ask(x, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
    assert wire.outbox == [b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"] and wire.inflight == (x,)
    assert wire.receive(b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n\x81\x02hi") == ()
    assert wire.switched is not None
    head, rest = wire.switched
    assert (head.status, rest, wire.room, wire.error) == (101, b"\x81\x02hi", 0, None)


# Random conversations


NAMES = st.sampled_from(("A", "b", "X-Long-Name", "Set-Cookie", "Date", "!#$%&'*+-.^_`|~9", "set-cookie"))
VALUES = st.text('az09 \t,;:="\xa1\xff', max_size=12).map(lambda text: text.strip(" \t"))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
ENDS = st.sampled_from((b"\r\n", b"\r\n", b"\n"))


class Answer:
    """A well-formed answer as a model: what it says, and how it is written."""

    def __init__(self, draw: Any, last: bool, line_end: bytes = b""):
        self.method = draw(st.sampled_from(("GET", "GET", "POST", "HEAD")))
        self.status = draw(st.sampled_from((200, 200, 200, 201, 204, 206, 304, 401, 404, 500, 599)))
        self.reason = draw(st.sampled_from(("OK", "", "Not  Found", "Sch\xf6n")))
        self.fields = draw(FIELDS)
        self.trailers: list[tuple[str, str]] = []
        self.interim = draw(st.lists(st.sampled_from((100, 102, 103)), max_size=2))
        self.bodiless = self.method == "HEAD" or self.status in (204, 304)
        self.body = b"" if self.bodiless else draw(st.binary(max_size=200))
        kinds = ("none",) if self.bodiless else ("length", "chunked", "close") if last else ("length", "chunked")
        self.framing = draw(st.sampled_from(kinds))
        self.keeps = self.framing != "close" and (not last or draw(st.booleans()))
        self.line_end = line_end or draw(ENDS)
        self.data = self._write(draw)

    def _write(self, draw: Any) -> bytes:
        own: list[tuple[str, str]] = []
        body = self.body
        if self.framing == "length":
            own.append(("Content-Length", str(len(body))))
        elif self.framing == "chunked":
            own.append((draw(st.sampled_from(("Transfer-Encoding", "TRANSFER-encoding"))), "chunked"))
            body = self._chunks(draw)
        if not self.keeps and self.framing != "close":
            own.append(("Connection", draw(st.sampled_from(("close", "Close", "x, close")))))
        heads = b"".join(self._head(status, "", []) for status in self.interim)
        self.all = draw(st.permutations(self.fields + own))
        return heads + self._head(self.status, self.reason, self.all) + body

    def _head(self, status: int, reason: str, fields: list[tuple[str, str]]) -> bytes:
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields), "", ""]
        return self.line_end.join(line.encode("latin-1") for line in lines)

    def _chunks(self, draw: Any) -> bytes:
        data = bytearray()
        for piece in random_cuts(self.body, random.Random(len(self.body))):
            size = draw(st.sampled_from(("%x", "%X", "0%x"))) % len(piece)
            data += size.encode() + draw(st.sampled_from((b"", b";a=b", b';c="d"'))) + b"\r\n" + piece + b"\r\n"
        self.trailers = draw(FIELDS)
        lines = [f"{name}: {value}".encode("latin-1") for name, value in self.trailers]
        return bytes(data) + b"0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@given(st.data(), st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_request_gets_its_own_answer(data, number, chance):
    answers = [Answer(data.draw, last=at == number - 1) for at in range(number)]
    harness = Harness(make_wire())
    harness.open()
    for model in answers:
        x = exchange(method=model.method)
        harness.submit(x)
        harness.feed(random_cuts(model.data, chance))
        if model.framing == "close":
            assert harness.wire.inflight == (x,)
            harness.receive_eof()
        head: Any = x.head
        assert harness.done[-1] is x and x.error is None, x.error
        assert (head.status, head.reason, head.version) == (model.status, model.reason, "1.1")
        assert list(head.pairs) == [(name, value) for name, value in model.all]
        assert (x.body, list(x.trailers)) == (model.body, model.trailers)
        assert harness.wire.room == (1 if model.keeps else 0)
        assert harness.wire.reusable == model.keeps
    harness.abandon(Cancelled("end"))


@given(st.binary(max_size=300), st.booleans(), st.randoms(use_true_random=False))
def test_garbage_never_raises(data, begins_well, chance):
    harness = Harness(make_wire())
    harness.open()
    harness.submit(exchange(method=chance.choice(("GET", "HEAD")), max_content=chance.choice((10, 1000))))
    harness.feed(random_cuts((b"HTTP/1.1 " if begins_well else b"") + data, chance))
    if not harness.ended and chance.random() < 0.5:
        harness.receive_eof()
    harness.abandon(Cancelled("end"))
    assert len(harness.done) == 1


# Beside other implementations


def by_us(method: str, data: bytes) -> tuple[Any, ...] | None:
    """(status, body, trailers), or None if the answer is refused or not complete; the line has ended behind it."""
    harness = Harness(make_wire())
    harness.open()
    x = exchange(method=method)
    harness.submit(x)
    harness.feed([data])
    if not harness.ended and not harness.done:
        harness.receive_eof()
    head: Any = x.head
    return None if x.error is not None else (head.status, x.body, [(name.lower(), value) for name, value in x.trailers])


def by_h11(method: str, data: bytes) -> tuple[Any, ...] | None:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "peer")]))
    client.send(h11.EndOfMessage())
    try:
        client.receive_data(data)
        events = list(h11_events(client))
        if not events or not isinstance(events[-1], h11.EndOfMessage):
            client.receive_data(b"")
            events += h11_events(client)
    except h11.RemoteProtocolError:
        return None
    head = next((event for event in events if isinstance(event, h11.Response)), None)
    if head is None or not isinstance(events[-1], h11.EndOfMessage):
        return None
    body = b"".join(event.data for event in events if isinstance(event, h11.Data))
    trailers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in events[-1].headers]
    return (head.status_code, bytes(body), trailers)


def by_stdlib(method: str, data: bytes) -> tuple[int, bytes] | None:
    sock: Any = SimpleNamespace(makefile=lambda mode: io.BytesIO(data))
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        return (response.status, response.read())
    except (http.client.HTTPException, ValueError):
        return None
    finally:
        response.close()


@given(st.data())
def test_well_formed_answers_are_read_as_others_read_them(data):
    model = Answer(data.draw, last=True)
    ours = by_us(model.method, model.data)
    assert ours == (model.status, model.body, [(name.lower(), value) for name, value in model.trailers])
    assert by_h11(model.method, model.data) == ours
    if set(model.interim) <= {100}:  # the library reads over no other ones
        assert by_stdlib(model.method, model.data) == ours[:2]


@given(st.data(), st.randoms(use_true_random=False))
def test_a_damaged_answer_that_all_accept_has_one_body(data, chance):
    """Whoever reads another body than his neighbour can be lied to (RFC 9112 11)."""
    model = Answer(data.draw, last=True, line_end=b"\r\n")
    damaged = mutated(model.data, chance)
    ours, theirs = by_us(model.method, damaged), by_h11(model.method, damaged)
    if ours is not None and theirs is not None:
        assert ours == theirs


@pytest.mark.parametrize("part", [b"HTTP/1.1 2", answer()[:-1], b"HTTP/1.1 200 OK\r\n\r\nuntil it closes"])
def test_a_wire_that_is_dropped_half_way_is_no_ring(part: bytes):
    gc.collect()
    gc.disable()
    try:
        wire, _ = asked()
        assert not wire.receive(part)
        del wire, _
        assert gc.collect() == 0
    finally:
        gc.enable()
