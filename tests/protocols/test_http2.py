"""The HTTP/2 wire: the laws of every wire, the h2 library as server and judge, peers that break the rules."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import hpack
import pytest
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import (
    AquestsError,
    ConnectionEnded,
    ProtocolError,
    RequestError,
    StreamReset,
    TooLarge,
)
from aquests.exchange import Exchange
from aquests.protocols import h2frames as h2
from aquests.protocols.h2greeting import RECEIVE_WINDOW
from aquests.protocols.h2head import Origin
from aquests.protocols.h2line import PATIENCE
from aquests.protocols.http1 import MAX_INTERIM
from aquests.protocols.http2 import Http2
from tests.conformance import Case, Turn, check_wire
from tests.loopback import Pieces, exchange
from tests.protocols.h2peer import ACK, SETTINGS, Bare, Talk, data, goaway, origin

MIB = 1 << 20


# The laws


class Speech:
    """What a server says, with one header table from the first word to the last."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()

    def head(self, stream: int, *fields: tuple[str, str], last: bool = False, status: str = "200") -> bytes:
        block = self.encoder.encode([(":status", status), *fields])
        return h2.headers(block, stream, last, 20)

    def trailers(self, stream: int, *fields: tuple[str, str]) -> bytes:
        return h2.headers(self.encoder.encode(fields), stream, True)


def conversations() -> list[Case]:
    s = Speech()
    plain = Case(
        "one by one",
        Turn(["/a"], SETTINGS + s.head(1, ("content-length", "2"), ("x", "y")) + data(1, b"hi", last=True)),
        Turn(["/b"], ACK + s.head(3, ("x", "y"), last=True)),
        Turn(["HEAD /c"], s.head(5, ("content-length", "9"), last=True)),
        eof=True,
    )
    s = Speech()
    many = Case(
        "many at once",
        Turn(["/a"], SETTINGS + s.head(1, last=True)),
        Turn(
            ["/b", "POST body", "/d"],
            s.head(7, ("x", "1"))
            + s.head(3, ("x", "2"), status="404")
            + data(7, b"d1")
            + h2.frame(h2.PING, 0, 0, b"12345678")
            + data(3, b"b", last=True)
            + h2.frame(h2.DATA, h2.PADDED, 7, b"\2d2\0\0")
            + s.head(5, status="103")
            + s.head(5, ("x", "1"))
            + h2.window_update(0, 70_000)
            + data(5, b"")
            + s.trailers(7, ("grpc-status", "0"))
            + h2.frame(99, 255, 5, b"unknown")
            + data(5, b"c", last=True),
        ),
        Turn(["/e", "/f"], s.head(9, last=True) + h2.rst_stream(11, h2.REFUSED_STREAM)),
    )
    s = Speech()
    goodbye = Case(
        "goodbye",
        Turn(["/a"], SETTINGS + s.head(1, last=True)),
        Turn(
            ["/b", "/c", "/d"],
            h2.frame(h2.GOAWAY, 0, 0, (5).to_bytes(4) + bytes(4) + b"later")
            + s.head(5, last=True)
            + h2.rst_stream(3, h2.CANCEL),
        ),
    )
    s = Speech()
    malformed = Case(
        "malformed",
        Turn(["/a"], SETTINGS + s.head(1, last=True)),
        Turn(
            ["/b", "/c", "/d"],
            s.head(3, ("Upper", "x"), last=True)
            + s.head(5, ("content-length", "1"))
            + data(5, b"22", last=True)
            + s.head(7)
            + data(7, b"good", last=True),
        ),
    )
    upload = Case(
        "uploads",
        Turn(
            ["/a"],
            h2.frame(h2.SETTINGS, 0, 0, h2.settings(((h2.INITIAL_WINDOW_SIZE, 1 << 20),)))
            + h2.window_update(0, 1 << 20)
            + Speech().head(1, last=True),
        ),
        Turn(["PUT large", "PUT pieces"], Speech().head(5, last=True)),
        Turn([], Speech().head(3, last=True)),
    )
    wrong = Case("rules broken", Turn(["/a"], SETTINGS + data(3, b"never opened")))
    other = Case("another protocol", Turn(["/a"], b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    return [plain, many, goodbye, malformed, upload, wrong, other]


def make_exchange(ask: str) -> Exchange:
    method, _, what = ask.rpartition(" ")
    bodies: dict[str, Callable[[], Any]] = {
        "body": lambda: b"body",
        "large": lambda: bytes(150_000),
        "pieces": lambda: Pieces(*[b"x" * 30_000] * 4),
    }
    body = bodies[what]() if what in bodies else None
    return exchange(body, method=method or "GET", url=f"http://peer/{what.lstrip('/')}")


@pytest.mark.parametrize("case", conversations(), ids=str)
def test_laws(case: Case) -> None:
    check_wire(lambda: Http2(origin()), make_exchange, [case])


# Answers that are all there


class Parts:
    """Frames of which answers may be made, by name; ``blocks``: what stands in those that carry fields."""

    def __init__(self) -> None:
        said = ("content-length", "4")
        fields = {
            "head": [(":status", "200")],
            "said": [(":status", "200"), said],
            "interim": [(":status", "103")],
            "nothing": [(":status", "204")],
            "good": [("grpc-status", "0")],
            "malformed": [("grpc-status", "0"), ("Upper", "x")],
        }
        encoder = hpack.Encoder()
        self.blocks = [encoder.encode(pairs) for _ in range(3) for pairs in fields.values()]
        self._known = dict(zip(fields, self.blocks[-len(fields) :], strict=True))

    def frame(self, name: str, stream: int) -> bytes:
        name, _, end = name.partition(" ")
        flags = (h2.END_STREAM if end else 0) | (h2.END_HEADERS if name in self._known else 0)
        if name in self._known:
            return h2.frame(h2.HEADERS, flags, stream, self._known[name])
        if name == "ping":
            return h2.frame(h2.PING, 0, 0, b"12345678")
        if name == "padded":
            return h2.frame(h2.DATA, flags | h2.PADDED, stream, b"\1four\0")
        return h2.frame(h2.DATA, flags, stream, {"data": b"four", "empty": b"", "more": b"x" * 300}[name])

    def told(self, said: bytes, step: int) -> list[Any]:
        """What comes of four requests if the server says this, so many bytes at once; the last one is not all sent."""
        talk = Bare()
        for block in self.blocks:
            talk.wire._decoder.decode(block)
        asked = [talk.ask(method=method, max_content=200) for method in ("GET", "HEAD", "GET")]
        asked.append(talk.ask(bytes(100_000), method="POST"))
        talk.harness.feed([said[at : at + step] for at in range(0, len(said), step)])
        answers = [(x.head and x.head.status, x.body, x.trailers, x.progress, repr(x.error)) for x in asked]
        order = [asked.index(x) for x in talk.harness.done]
        return [answers, order, repr(talk.wire.error), talk.wire.room, talk.sent()]


PARTS = Parts()
NAMES = ["head", "said", "data", "data last", "good last", "ping", "interim", "nothing", "empty", "empty last"]
NAMES += ["padded", "padded last", "more", "more last", "good", "malformed last", "head last", "said last"]
USUAL = [["head", "data", "good last"], ["said", "data", "good last"], ["head", "data last"], ["said", "data last"]]
USUAL += [["said", "more", "good last"], ["head", "more", "good last"], ["head", "empty", "good last"]]
USUAL += [["head", "data", "malformed last"], ["head", "data", "head last"], ["interim", "head", "data", "good last"]]
USUAL += [["head", "data", "data last"], ["said", "empty last"], ["nothing", "data last"], ["said", "data", "good"]]
USUAL += [
    ["said", "ping", "said", "data", "good last"],
    ["head", "padded", "good last"],
    ["head", "data", "other last"],
]


@pytest.mark.parametrize("names", USUAL, ids="-".join)
@pytest.mark.parametrize("stream", [1, 3, 7])
def test_an_answer_that_is_all_there_is_the_same_as_in_pieces(names: list[str], stream: int) -> None:
    said = b"".join([PARTS.frame(name, stream) for name in names if name != "other last"])
    if "other last" in names:
        said += PARTS.frame("good last", 5)
    assert PARTS.told(said, len(said)) == PARTS.told(said, 1)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([1, 1, 3, 5, 7])), max_size=9), st.integers(2, 60))
def test_so_are_many_frames_in_any_order(frames: list[tuple[str, int]], step: int) -> None:
    said = b"".join([PARTS.frame(name, stream) for name, stream in frames])
    expected = PARTS.told(said, 1)
    assert PARTS.told(said, len(said) or 1) == expected and PARTS.told(said, step) == expected


@pytest.mark.parametrize(
    "behind",
    [
        data(1, bytes(16385), last=True),
        data(1, bytes((1 << 16) + 4), last=True),
        PARTS.frame("data", 1) + h2.frame(h2.HEADERS, 5, 1, PARTS.frame("good last", 1)[h2.HEAD :] + bytes(1 << 16)),
    ],
    ids=["DATA", "DATA of 64 KiB", "HEADERS of 64 KiB"],
)
def test_frames_that_are_too_large_behind_a_head(behind: bytes) -> None:
    """Two bytes of their lengths, of three, are those of frames that would do."""
    talk = Bare()
    for block in PARTS.blocks:
        talk.wire._decoder.decode(block)
    x = talk.ask()
    talk.say(PARTS.frame("head", 1) + behind)
    assert talk.goaway()[0] == h2.FRAME_SIZE_ERROR and list(talk.wire.inflight) == [x]


def test_answers_that_are_all_there_use_the_window_and_renew_the_patience() -> None:
    talk = Bare()
    block = hpack.Encoder().encode([(":status", "200")])
    size = 16384
    for number in range(RECEIVE_WINDOW // size):
        stream = 2 * number + 1
        talk.ask()
        if number % 256 == 0:
            talk.say(h2.frame(h2.PING, h2.ACK, 0, bytes(8)) * (PATIENCE - 1))
        talk.say(h2.headers(block, stream, False) + data(stream, bytes(size), last=True))
    updates = [payload for kind, _, number, payload in talk.sent() if (kind, number) == (h2.WINDOW_UPDATE, 0)]
    assert updates == [(RECEIVE_WINDOW // 2 + size).to_bytes(4)] and talk.wire.error is None
    assert len(talk.harness.done) == RECEIVE_WINDOW // size


# Ordinary answers, the h2 library serving


def test_one_request() -> None:
    talk = Talk()
    x = talk.ask(url="http://peer/a?b", headers=(("X-Own", "1"),))
    assert talk.asked[1].fields == {
        ":method": "GET",
        ":scheme": "http",
        ":authority": "peer",
        ":path": "/a?b",
        "accept": "*/*",
        "x-own": "1",
    }
    assert talk.asked[1].ended and talk.wire.room == 9
    talk.answer(1, fields=[("Content-Type", "text/plain"), ("x", b"\xe4")], body=b"hello")
    head: Any = x.head
    assert talk.harness.done == [x] and x.error is None and x.body == b"hello"
    assert (head.status, head.reason, head.version, head.lane) == (200, "OK", "2.0", "HTTP/2.0")
    assert head.headers["content-type"] == "text/plain" and head.headers["x"] == "\xe4"
    assert talk.wire.room == 10 and not talk.wire.inflight


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PURGE"])
def test_methods_and_statuses(method: str, status: int) -> None:
    talk = Talk()
    x = talk.ask(method=method)
    body = b"" if method == "HEAD" or status in (204, 304) else b"text"
    talk.answer(1, status, body=body)
    assert x.error is None and x.head is not None
    assert (x.head.status, x.body) == (status, body)
    assert talk.asked[1].fields.get("content-length") == ("0" if method == "POST" else None)


@pytest.mark.parametrize("padding", [None, 0, 1, 255])
@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 3 * MIB])
def test_bodies_trailers_and_padding(size: int, padding: int | None) -> None:
    talk = Talk(seed=size)
    x = talk.ask()
    body = random.Random(size).randbytes(size)
    talk.answer(1, body=body, trailers=[("grpc-status", "0"), ("x", "y")], padding=padding)
    assert x.error is None and x.body == body
    assert x.trailers == (("grpc-status", "0"), ("x", "y"))


def test_a_body_larger_than_every_window() -> None:
    talk = Talk()
    one, other = talk.ask(), talk.ask()
    body = random.Random(1).randbytes(RECEIVE_WINDOW + 5 * MIB)
    talk.answer(1, body=body)
    talk.answer(3, body=b"other")
    assert one.body == body and other.body == b"other"


def test_interim_answers_are_skipped() -> None:
    talk = Talk()
    x = talk.ask()
    for status in ("100", "103"):
        talk.server.send_headers(1, [(":status", status), ("link", "</a>")])
    talk.pump()
    assert x.progress and not talk.harness.done
    talk.answer(1, body=b"final")
    assert x.head is not None and (x.head.status, x.body) == (200, b"final")


def test_a_large_header_block_comes_in_pieces() -> None:
    talk = Talk()
    x = talk.ask()
    fields = [(f"x-{number}", str(number) * 200) for number in range(100)]
    talk.answer(1, fields=fields)
    assert x.head is not None and dict(x.head.headers.items()) == dict(fields)


def test_large_requests_are_continued() -> None:
    talk = Talk()
    value = "v" * 40_000
    talk.ask(headers=(("x", value),))
    assert talk.asked[1].fields["x"] == value


def test_answers_in_any_order() -> None:
    talk = Talk(streams=100, seed=1)
    asked = {2 * number + 1: talk.ask(url=f"http://peer/{number}") for number in range(100)}
    assert talk.wire.room == 0 and list(talk.wire.inflight) == list(asked.values())
    for stream in random.Random(2).sample(sorted(asked), 100):
        talk.answer(stream, body=talk.asked[stream].fields[":path"].encode())
    assert [asked[stream].body for stream in asked] == [b"/%d" % number for number in range(100)]


def test_the_first_byte_is_told() -> None:
    talk = Talk()
    x = talk.ask()
    talk.harness.feed([])
    talk.server.send_headers(1, [(":status", "200")])
    finished = talk.wire.receive(talk.server.data_to_send())
    assert not finished and talk.wire.begun == [x] and x.progress
    talk.wire.begun.clear()
    before = x.progress
    talk.server.send_data(1, b"abc")
    talk.wire.receive(talk.server.data_to_send())
    assert talk.wire.begun == [] and x.progress > before


# Bodies of requests


@pytest.mark.parametrize("size", [0, 1, 16384, 60_000, 65_535, 65_536, 5 * MIB])
@pytest.mark.parametrize("kind", ["bytes", "known", "unknown"])
def test_uploads(kind: str, size: int) -> None:
    talk = Talk(seed=size)
    body = random.Random(size).randbytes(size)
    pieces = [body[at : at + 50_000] for at in range(0, size, 50_000)]
    payload = body if kind == "bytes" else Pieces(*pieces, length=size if kind == "known" else None)
    x = talk.ask(payload, method="POST")
    asked = talk.asked[1]
    assert asked.body == body and asked.ended
    assert asked.fields.get("content-length") == (None if kind == "unknown" else str(size))
    talk.answer(1)
    assert x.error is None and not talk.wire.hungry


def test_a_small_body_goes_out_with_its_head() -> None:
    talk = Bare()
    talk.ask(b"body", method="POST")
    assert len(talk.harness.sent) == 1
    assert [(kind, flags) for kind, flags, _, _ in talk.sent()] == [(h2.HEADERS, 4), (h2.DATA, 1)]


def test_uploads_share_the_line() -> None:
    """Nobody gets far ahead while all have something to send."""
    talk = Talk(settings={4: 1 << 20}, credit=False)
    sizes = dict.fromkeys((1, 3, 5, 7), 0)
    for _ in sizes:
        talk.ask(bytes(MIB), method="PUT")
    for _ in range(30):
        talk.server.increment_flow_control_window(20_000)
        before = {stream: len(talk.asked[stream].body) for stream in sizes}
        talk.pump()
        shares = [len(talk.asked[stream].body) - before[stream] for stream in sizes]
        assert sum(shares) == 20_000
        sizes = {stream: len(talk.asked[stream].body) for stream in sizes}
    # The first had the line for itself for a window; since then they take turns.
    rest = [size for stream, size in sizes.items() if stream != 1]
    assert max(rest) - min(rest) <= 2 * 16384, sizes
    talk.server.increment_flow_control_window(1 << 24)
    talk.pump()
    assert all(asked.ended and len(asked.body) == MIB for asked in talk.asked.values())


def test_an_answer_before_the_upload_is_through_counts() -> None:
    talk = Talk(credit=False)
    x, other = talk.ask(bytes(MIB), method="POST"), talk.ask()
    talk.answer(1, 413, body=b"too large")
    assert x.error is None and x.head is not None and x.head.status == 413 and x.body == b"too large"
    assert talk.asked[1].reset == ErrorCodes.CANCEL and not talk.wire.hungry
    talk.answer(3, body=b"ok")
    assert other.body == b"ok"


def test_a_source_that_fails_takes_only_its_own_request() -> None:
    talk = Talk()
    other = talk.ask()
    x = talk.ask(Pieces(b"x" * 100, RequestError("the file is gone")), method="PUT")
    assert isinstance(x.error, RequestError) and talk.asked[3].reset == ErrorCodes.CANCEL
    assert talk.wire.room == 9
    talk.answer(1, body=b"ok")
    assert other.body == b"ok"


def test_a_peer_with_tiny_windows() -> None:
    talk = Talk(settings={4: 5})
    talk.ask(b"0123456789" * 10, method="POST")
    assert talk.asked[1].body == b"0123456789" * 10 and talk.asked[1].ended


def test_windows_that_become_smaller_and_larger() -> None:
    talk = Talk(credit=False)
    talk.ask(bytes(100_000), method="POST")
    assert len(talk.asked[1].body) == 65_535
    talk.server.increment_flow_control_window(1 << 20)
    talk.server.update_settings({4: 30_000})
    talk.pump()
    assert len(talk.asked[1].body) == 65_535
    talk.server.increment_flow_control_window(40_000, 1)
    talk.pump()
    assert len(talk.asked[1].body) == 70_000
    talk.server.update_settings({4: 200_000})
    talk.pump()
    assert len(talk.asked[1].body) == 100_000 and talk.asked[1].ended


# Streams that fail, and leave the others alone


def others_go_on(talk: Bare, other: Exchange) -> None:
    """Stream 1 is still good."""
    assert talk.wire.error is None and talk.wire.reusable
    talk.say(talk.head(1), data(1, b"fine", last=True))
    assert other.error is None and other.body == b"fine"


@pytest.mark.parametrize(
    ("code", "untouched"), [(h2.CANCEL, False), (h2.REFUSED_STREAM, True), (h2.NO_ERROR, False), (99, False)]
)
@pytest.mark.parametrize("begun", [False, True])
def test_the_peer_resets(code: int, untouched: bool, begun: bool) -> None:
    talk = Bare()
    other, x = talk.ask(), talk.ask()
    if begun:
        talk.say(talk.head(3), data(3, b"some"))
    talk.say(h2.rst_stream(3, code))
    assert isinstance(x.error, StreamReset) and h2.code_name(code) in x.error.message
    assert x.error.code == 721 and x.untouched is untouched
    assert talk.wire.room == 9
    others_go_on(talk, other)


MALFORMED = {
    "upper case": lambda talk: talk.head(3, ("Upper", "x"), last=True),
    "no status": lambda talk: talk.head(3, ("x", "y"), last=True, status=None),
    "nothing": lambda talk: h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 3, b""),
    "status twice": lambda talk: talk.head(3, (":status", "200")),
    "status last": lambda talk: talk.head(3, ("x", "y"), (":status", "200"), status=None),
    "bad status": lambda talk: talk.head(3, status="2000"),
    "other pseudo header": lambda talk: talk.head(3, (":path", "/")),
    "connection": lambda talk: talk.head(3, ("connection", "close")),
    "transfer-encoding": lambda talk: talk.head(3, ("transfer-encoding", "chunked")),
    "line feed": lambda talk: talk.head(3, ("x", "a\nb")),
    "data first": lambda talk: data(3, b"x"),
    "an end without a head": lambda talk: data(3, b"", last=True),
    "too short": lambda talk: talk.head(3, ("content-length", "5")) + data(3, b"1234", last=True),
    "nothing at all": lambda talk: talk.head(3, ("content-length", "5"), last=True),
    "too long": lambda talk: talk.head(3, ("content-length", "5")) + data(3, b"123456"),
    "too short with trailers": lambda talk: (
        talk.head(3, ("content-length", "1")) + talk.head(3, ("x", "y"), last=True, status=None)
    ),
    "lengths": lambda talk: talk.head(3, ("content-length", "5"), ("content-length", "6")),
    "bad length": lambda talk: talk.head(3, ("content-length", "x")),
    "101": lambda talk: talk.head(3, status="101"),
    "the end is interim": lambda talk: talk.head(3, status="103", last=True),
    "interim without end": lambda talk: b"".join(talk.head(3, status="103") for _ in range(MAX_INTERIM + 1)),
    "a second head": lambda talk: talk.head(3) + talk.head(3, last=True),
    "trailers that go on": lambda talk: talk.head(3) + talk.head(3, ("x", "y"), status=None),
    "pseudo header in trailers": lambda talk: talk.head(3) + talk.head(3, (":x", "y"), last=True, status=None),
    "bad trailers": lambda talk: talk.head(3) + talk.head(3, ("A", "y"), last=True, status=None),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answers(name: str) -> None:
    talk = Bare()
    other, x = talk.ask(), talk.ask()
    talk.sent()
    talk.say(MALFORMED[name](talk))
    assert isinstance(x.error, ProtocolError) and x.error.code == 715, x.error
    assert "malformed answer" in x.error.message
    assert talk.resets() == {3: h2.PROTOCOL_ERROR}
    others_go_on(talk, other)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_body_where_none_may_be(method: str) -> None:
    talk = Bare()
    talk.ask()
    x = talk.ask(method=method)
    talk.say(talk.head(3, status="200" if method == "HEAD" else "304"), data(3, b"x"))
    assert isinstance(x.error, ProtocolError)


@pytest.mark.parametrize("told", [True, False])
def test_too_large_answers(told: bool) -> None:
    talk = Bare()
    other, x = talk.ask(), talk.ask(max_content=100)
    talk.sent()
    if told:
        talk.say(talk.head(3, ("content-length", "101")))
    else:
        talk.say(talk.head(3), data(3, bytes(60)))
        assert x.error is None
        talk.say(data(3, bytes(41)))
    assert isinstance(x.error, TooLarge) and talk.resets() == {3: h2.CANCEL}
    talk.say(data(3, bytes(1000)), data(3, b"", last=True))  # was under way
    others_go_on(talk, other)


# Peers that break the rules

END = h2.END_HEADERS
WRONG: dict[str, tuple[Callable[[Bare], bytes], int]] = {
    "frame too large": (lambda t: h2.frame(h2.DATA, 0, 1, bytes(16385)), h2.FRAME_SIZE_ERROR),
    "settings on a stream": (lambda t: h2.frame(h2.SETTINGS, 0, 1, b""), h2.PROTOCOL_ERROR),
    "settings cut short": (lambda t: h2.frame(h2.SETTINGS, 0, 0, b"12345"), h2.FRAME_SIZE_ERROR),
    "ack with settings": (lambda t: h2.frame(h2.SETTINGS, h2.ACK, 0, b"123456"), h2.FRAME_SIZE_ERROR),
    "push allowed": (lambda t: h2.frame(h2.SETTINGS, 0, 0, h2.settings(((2, 1),))), h2.PROTOCOL_ERROR),
    "initial window": (lambda t: h2.frame(h2.SETTINGS, 0, 0, h2.settings(((4, 1 << 31),))), h2.FLOW_CONTROL_ERROR),
    "frame size": (lambda t: h2.frame(h2.SETTINGS, 0, 0, h2.settings(((5, 100),))), h2.PROTOCOL_ERROR),
    "push": (lambda t: h2.frame(h2.PUSH_PROMISE, END, 1, b"\0\0\0\2\x82"), h2.PROTOCOL_ERROR),
    "ping on a stream": (lambda t: h2.frame(h2.PING, 0, 1, bytes(8)), h2.PROTOCOL_ERROR),
    "ping of seven": (lambda t: h2.frame(h2.PING, 0, 0, bytes(7)), h2.FRAME_SIZE_ERROR),
    "goaway on a stream": (lambda t: h2.frame(h2.GOAWAY, 0, 1, bytes(8)), h2.PROTOCOL_ERROR),
    "goaway cut short": (lambda t: h2.frame(h2.GOAWAY, 0, 0, bytes(7)), h2.FRAME_SIZE_ERROR),
    "goaway goes back": (lambda t: goaway(1) + goaway(3), h2.PROTOCOL_ERROR),
    "priority on stream 0": (lambda t: h2.frame(h2.PRIORITY, 0, 0, bytes(5)), h2.PROTOCOL_ERROR),
    "priority of four": (lambda t: h2.frame(h2.PRIORITY, 0, 1, bytes(4)), h2.FRAME_SIZE_ERROR),
    "reset of stream 0": (lambda t: h2.rst_stream(0, 0), h2.PROTOCOL_ERROR),
    "reset of the future": (lambda t: h2.rst_stream(5, 0), h2.PROTOCOL_ERROR),
    "reset cut short": (lambda t: h2.frame(h2.RST_STREAM, 0, 1, b"123"), h2.FRAME_SIZE_ERROR),
    "window by nothing": (lambda t: h2.window_update(0, 0), h2.PROTOCOL_ERROR),
    "stream window by nothing": (lambda t: h2.window_update(1, 0), h2.PROTOCOL_ERROR),
    "window cut short": (lambda t: h2.frame(h2.WINDOW_UPDATE, 0, 0, b"123"), h2.FRAME_SIZE_ERROR),
    "window over the top": (lambda t: h2.window_update(0, h2.MOST), h2.FLOW_CONTROL_ERROR),
    "stream window over the top": (lambda t: h2.window_update(1, h2.MOST), h2.FLOW_CONTROL_ERROR),
    "window of the future": (lambda t: h2.window_update(5, 1), h2.PROTOCOL_ERROR),
    "window of their own": (lambda t: h2.window_update(2, 1), h2.PROTOCOL_ERROR),
    "data on stream 0": (lambda t: data(0, b"x"), h2.PROTOCOL_ERROR),
    "data of the future": (lambda t: data(5, b"x"), h2.PROTOCOL_ERROR),
    "data of their own": (lambda t: data(2, b"x"), h2.PROTOCOL_ERROR),
    "data behind the end": (lambda t: t.head(1, last=True) + data(1, b"x"), h2.STREAM_CLOSED),
    "data behind a reset": (lambda t: h2.rst_stream(1, 0) + data(1, b"x"), h2.STREAM_CLOSED),
    "head behind the end": (lambda t: t.head(1, last=True) + t.head(1, last=True), h2.STREAM_CLOSED),
    "head on stream 0": (lambda t: t.head(0), h2.PROTOCOL_ERROR),
    "head of the future": (lambda t: t.head(5), h2.PROTOCOL_ERROR),
    "padding": (lambda t: h2.frame(h2.DATA, h2.PADDED, 1, b"\5abc"), h2.PROTOCOL_ERROR),
    "padding of nothing": (lambda t: h2.frame(h2.DATA, h2.PADDED, 1, b""), h2.PROTOCOL_ERROR),
    "padded head": (lambda t: h2.frame(h2.HEADERS, END | h2.PADDED, 1, b"\5abc"), h2.PROTOCOL_ERROR),
    "priority in a head": (lambda t: h2.frame(h2.HEADERS, END | h2.WITH_PRIORITY, 1, b"\1"), h2.FRAME_SIZE_ERROR),
    "continuation of nothing": (lambda t: h2.frame(h2.CONTINUATION, END, 1, b"\x88"), h2.PROTOCOL_ERROR),
    "continuation elsewhere": (
        lambda t: h2.frame(h2.HEADERS, 0, 1, b"\x88") + h2.frame(h2.CONTINUATION, END, 3, b""),
        h2.PROTOCOL_ERROR,
    ),
    "interrupted head": (
        lambda t: h2.frame(h2.HEADERS, 0, 1, b"\x88") + h2.frame(h2.PING, 0, 0, bytes(8)),
        h2.PROTOCOL_ERROR,
    ),
    "bad compression": (lambda t: h2.frame(h2.HEADERS, END, 1, b"\xff\xff\xff"), h2.COMPRESSION_ERROR),
    "bad index": (lambda t: h2.frame(h2.HEADERS, END, 1, b"\xbe"), h2.COMPRESSION_ERROR),
    "bad compression on a closed stream": (
        lambda t: t.head(1, last=True) + h2.frame(h2.HEADERS, END, 1, b"\xbe"),
        h2.COMPRESSION_ERROR,
    ),
    "header bomb": (
        lambda t: h2.frame(h2.HEADERS, END, 1, b"\x88\x40\x01a\x7f\xa1\x1e" + bytes(4000) + b"\xbe" * 100),
        h2.ENHANCE_YOUR_CALM,
    ),
    "too many fields": (lambda t: h2.frame(h2.HEADERS, END, 1, b"\x88" + b"\x90" * 600), h2.ENHANCE_YOUR_CALM),
    "continuation flood": (
        lambda t: h2.frame(h2.HEADERS, 0, 1, b"\x88") + h2.frame(h2.CONTINUATION, 0, 1, b"") * 200,
        h2.ENHANCE_YOUR_CALM,
    ),
    "endless head": (
        lambda t: h2.frame(h2.HEADERS, 0, 1, b"\x88") + h2.frame(h2.CONTINUATION, 0, 1, bytes(16384)) * 5,
        h2.ENHANCE_YOUR_CALM,
    ),
    "ping flood": (lambda t: h2.frame(h2.PING, 0, 0, bytes(8)) * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
    "settings flood": (lambda t: SETTINGS * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
    "ack flood": (lambda t: ACK * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
    "empty data flood": (lambda t: t.head(1) + data(1) * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
    "padding flood": (
        lambda t: t.head(1) + h2.frame(h2.DATA, h2.PADDED, 1, b"\0") * (PATIENCE + 1),
        h2.ENHANCE_YOUR_CALM,
    ),
    "priority flood": (lambda t: h2.frame(h2.PRIORITY, 0, 1, bytes(5)) * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
    "unknown flood": (lambda t: h2.frame(77, 0, 1, b"") * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
    "window flood": (lambda t: h2.window_update(0, 1) * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
    "reset flood": (lambda t: h2.rst_stream(1, 0) * (PATIENCE + 2), h2.ENHANCE_YOUR_CALM),
    "goaway flood": (lambda t: goaway(99) * (PATIENCE + 1), h2.ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize("name", WRONG)
def test_rules_broken(name: str) -> None:
    say, code = WRONG[name]
    talk = Bare()
    one, other = talk.ask(), talk.ask()
    talk.sent()
    talk.say(say(talk))
    error = talk.wire.error
    assert isinstance(error, ConnectionEnded) and error.code == 720, error
    assert talk.wire.room == 0 and not talk.wire.hungry
    told, words = talk.goaway()
    assert told == code, (h2.code_name(told), words)
    assert words and words in error.message and h2.code_name(code) in error.message
    talk.harness.abandon(error)
    assert other.error is not None and one in talk.harness.done


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-x\r\n",
        h2.frame(h2.PING, 0, 0, bytes(8)),
        ACK,
        bytes(9),
    ],
)
def test_another_protocol(first: bytes) -> None:
    talk = Bare(greet=False)
    talk.ask()
    talk.sent()
    talk.say(first)
    assert isinstance(talk.wire.error, ConnectionEnded) and "does not speak HTTP/2" in str(talk.wire.error)
    assert ("right port?" in str(talk.wire.error)) is (first[:4] == b"HTTP")
    assert talk.goaway()[0] == h2.PROTOCOL_ERROR


def test_a_line_that_broke_the_rules_gives_what_was_good() -> None:
    talk = Bare()
    good, lost = talk.ask(), talk.ask()
    talk.say(talk.head(1), data(1, b"good", last=True), h2.frame(h2.PING, 0, 0, b""), talk.head(3, last=True))
    assert good.body == b"good" and good.error is None and talk.harness.done == [good]
    error: Any = talk.wire.error
    assert isinstance(error, AquestsError)
    talk.harness.abandon(error)
    assert isinstance(lost.error, ConnectionEnded)


def test_adopted_from_http1() -> None:
    """What was asked by HTTP/1.1 is stream 1; the header table begins with stream 3."""
    wire = Http2(origin())
    x = exchange(method="HEAD")
    wire.adopt(x)
    wire.opened()
    assert wire.room == 0 and list(wire.inflight) == [x]
    block = hpack.Encoder().encode([(":status", "200"), ("content-length", "7")])
    assert wire.receive(SETTINGS + h2.headers(block, 1, True)) == [x]
    assert x.error is None and wire.room == 10
    wire.outbox.clear()
    wire.submit(exchange())
    assert b"".join(wire.outbox)[5:10] == b"\0\0\0\3\x20"


def test_equal_requests_differ_only_in_their_stream() -> None:
    """Also from line to line, but for the first on each: it empties the table."""
    place = origin()
    for _ in range(2):
        talk = Talk(place=place)
        asked = []
        for options in (
            {},
            {},
            {"method": "HEAD"},
            {"headers": (("a", "b"),)},
            {},
            {"method": "POST"},
            {"payload": b"x"},
        ):
            talk.ask(**options)
            asked.append(list(talk.asked.values())[-1].fields)
        assert asked[0] == asked[1] == asked[4]
        assert asked[2] == asked[0] | {":method": "HEAD"} and asked[3] == asked[0] | {"a": "b"}
        assert asked[5][":method"] == "POST" and asked[5]["content-length"] == "0"
        assert asked[6]["content-length"] == "1" and list(talk.asked.values())[-1].body == b"x"
        assert list(talk.asked) == [1, 3, 5, 7, 9, 11, 13]
    assert place.repeated.keys() == {"http://peer/"}


@pytest.mark.parametrize("seed", [None, *range(6)])
def test_calls_with_small_bodies_and_trailers(seed: int | None) -> None:
    """As gRPC has them: small bodies there and back, sizes that repeat or not, and trailers behind the answers."""
    chance = random.Random(seed)
    talk = Talk(seed=seed)
    sizes = [0, 1, 5, 5, 5, *(chance.choice((5, chance.randrange(20_000), 16_384, 70_000)) for _ in range(60))]
    bodies = [random.Random(size).randbytes(size) for size in sizes]
    for at in range(0, len(sizes), 5):
        xs = [talk.ask(body, method="POST") for body in bodies[at : at + 5]]
        numbers = list(talk.asked)[-5:]
        for number, body in zip(numbers, bodies[at : at + 5], strict=True):
            asked = talk.asked[number]
            assert asked.ended and asked.body == body and asked.fields["content-length"] == str(len(body))
            fields = [("content-type", "x")] if chance.random() < 0.7 else [("content-length", str(len(body)))]
            trailers = [("grpc-status", "0"), ("n", str(number % 4))]
            talk.answer(number, fields=fields, body=body, trailers=trailers)
        for number, x, body in zip(numbers, xs, bodies[at : at + 5], strict=True):
            assert (x.error, x.body, x.trailers) == (None, body, (("grpc-status", "0"), ("n", str(number % 4))))
    assert talk.wire.error is None and not talk.wire.inflight


def test_bodies_like_one_before_wait_for_the_windows() -> None:
    talk = Talk(credit=False)
    body = bytes(10_000)
    xs = [talk.ask(body, method="POST") for _ in range(8)]
    assert [asked.ended for asked in talk.asked.values()] == [True] * 6 + [False] * 2
    talk.server.increment_flow_control_window(20_000)
    talk.pump()
    assert all(asked.ended and asked.body == body for asked in talk.asked.values())
    for number in list(talk.asked):
        talk.answer(number, body=b"ok", trailers=[("x", "y")])
    assert [x.body for x in xs] == [b"ok"] * 8


def test_small_bodies_are_counted_in_the_window_of_their_stream() -> None:
    """A window of the largest size, of which the peer gives back what it has taken."""
    talk = Bare(settings=((h2.INITIAL_WINDOW_SIZE, h2.MOST),))
    for number in (1, 3, 5):
        talk.ask(b"12345", method="POST")
        talk.say(h2.window_update(number, 5))
    assert talk.wire.error is None
    talk.say(h2.window_update(5, 1))
    assert talk.goaway()[0] == h2.FLOW_CONTROL_ERROR


def test_a_body_of_many_frames_in_any_cutting() -> None:
    """Frames of such a body are taken as they come; the last one may be padded, or empty."""
    body = random.Random(7).randbytes(100_000)
    frames = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
    for seed in range(20):
        talk = Talk(seed=seed)
        xs = [talk.ask() for _ in range(3)]
        for number in (1, 3, 5):
            talk.server.send_headers(number, [(":status", "200"), ("content-length", str(len(body)))])
        for piece in frames:
            for number in (1, 3, 5):
                if talk.asked[number].reset is None:
                    talk.server.send_data(number, piece, pad_length=9 if seed % 3 == 0 else None)
            talk.pump()
            if seed % 4 == 0 and not talk.wire.inflight.keys().isdisjoint((xs[1],)):
                talk.harness.done.append(xs[1])
                assert talk.wire.cancel(xs[1])
        for number in (1, 3, 5):
            if talk.asked[number].reset is None:
                talk.server.end_stream(number)
        talk.pump()
        assert xs[0].body == xs[2].body == body and talk.wire.error is None
        assert talk.wire._credit > RECEIVE_WINDOW // 2
        assert (xs[1].body == body) is (seed % 4 != 0)


def test_a_frame_that_is_cut_while_its_stream_is_given_up() -> None:
    talk = Talk()
    x = talk.ask()
    other = talk.ask()
    talk.server.send_headers(1, [(":status", "200")])
    talk.server.send_data(1, bytes(10_000))
    talk.server.send_data(1, bytes(10_000))
    talk.pump()
    talk.server.send_data(1, bytes(10_000), end_stream=True)
    talk.server.send_headers(3, [(":status", "204")], end_stream=True)
    data = talk.server.data_to_send()
    assert talk.wire.receive(data[:5000]) == ()
    assert x.progress > 20_000 and talk.wire.cancel(x)
    assert list(talk.wire.receive(data[5000:])) == [other]
    assert talk.wire.error is None and talk.wire._credit == RECEIVE_WINDOW - 30_000


@pytest.mark.parametrize("goaway", [False, True])
@pytest.mark.parametrize("may", [False, True])
def test_a_server_that_wants_http1(goaway: bool, may: bool) -> None:
    """RFC 9113 7: what it did not answer is sent again, on a line of that kind, if that may be."""
    asked: list[int] = []
    place = Origin("http", "peer", (), 10, (lambda: asked.append(1)) if may else None)
    talk, other, elsewhere = Talk(place=place), Talk(place=place), Talk()
    x, y = talk.ask(), other.ask()
    if goaway:
        talk.server.close_connection(error_code=13, last_stream_id=0)
    else:
        talk.server.reset_stream(1, error_code=13)
    talk.pump()
    assert x.error is not None and x.untouched is (may or goaway)
    assert bool(asked) is may and talk.wire.room == 0 and not talk.wire.reusable
    assert other.wire.reusable is not may and elsewhere.wire.room == 10
    other.answer(1, body=b"still good")
    assert (y.error, y.body, other.wire.room) == (None, b"still good", 0 if may else 10)
