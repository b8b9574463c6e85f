"""Heads of HTTP/2: which fields are sent, which answers are malformed."""

from __future__ import annotations

from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.exchange import Exchange
from aquests.protocols.h2head import (
    MAX_HEADS,
    MAX_PARTS,
    MAX_REPEATED,
    MAX_REPEATED_BLOCK,
    MAX_SIZES,
    OTHER,
    TRAILERS,
    UNSAID,
    Fields,
    Judge,
    Origin,
    Repeated,
    content_length,
)
from aquests.protocols.http1 import MAX_BLOCKS
from tests.loopback import exchange
from tests.protocols.h2peer import parse

DEFAULTS = (("Host", "peer"), ("User-Agent", "us"), ("Accept", "*/*"))


def origin(scheme: str = "http", authority: str = "peer") -> Origin:
    return Origin(scheme, authority, DEFAULTS, 10)


def sent(x: Exchange, place: Origin | None = None, more: bytes = b"") -> list[tuple[str, str]]:
    """The fields of a request, by the independent reader."""
    block = (place or origin()).request(x) + more
    return [(str(name), str(value)) for name, value in hpack.Decoder().decode(block)]


# Out


def test_a_plain_request() -> None:
    assert sent(exchange(url="http://peer/a?b=c")) == [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "peer"),
        (":path", "/a?b=c"),
        ("user-agent", "us"),
        ("accept", "*/*"),
    ]


@pytest.mark.parametrize(
    ("scheme", "url", "fields"),
    [
        ("https", "https://peer/", {":scheme": "https", ":path": "/"}),
        ("http+unix", "http+unix://%2Frun%2Fapp/x/y", {":scheme": "http", ":path": "/x/y", ":authority": "peer"}),
        ("https+unix", "https+unix://%2Frun%2Fapp/", {":scheme": "https", ":path": "/"}),
        ("http", "http://peer/" + "x" * 126, {":path": "/" + "x" * 126}),
        ("http", "http://peer/" + "x" * 5000, {":path": "/" + "x" * 5000}),
    ],
)
def test_urls(scheme: str, url: str, fields: dict[str, str]) -> None:
    assert fields.items() <= dict(sent(exchange(url=url), origin(scheme))).items()


@pytest.mark.parametrize("method", ["GET", "POST", "PURGE"])
def test_methods(method: str) -> None:
    assert sent(exchange(method=method))[0] == (":method", method)


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ((("X-Own", "1"),), [("x-own", "1")]),
        ((("X-Own", "1"), ("x-own", "2")), [("x-own", "1"), ("x-own", "2")]),
        ((("Connection", "keep-alive"), ("Keep-Alive", "5"), ("Upgrade", "x")), []),
        ((("Transfer-Encoding", "chunked"), ("Proxy-Connection", "x"), ("Content-Length", "7")), []),
        ((("TE", "trailers"),), [("te", "trailers")]),
        ((("TE", "Trailers"),), [("te", "Trailers")]),
        ((("TE", "gzip"),), []),
        ((("Cookie", "a=\xe4"),), [("cookie", "a=\xe4")]),
        ((("X-Void", None),), []),
    ],
)
def test_headers(given: Any, fields: list[tuple[str, str]]) -> None:
    block = origin().request(exchange(headers=given))
    raw = hpack.Decoder().decode(block, raw=True)
    pairs = [(name.decode(), value.decode("latin-1")) for name, value in raw]
    assert pairs[6:] == fields
    assert pairs[:6] == sent(exchange())


def test_what_the_user_gives_wins() -> None:
    fields = dict(sent(exchange(headers=(("HOST", "other:1"), ("user-agent", "me"), ("Accept", None)))))
    assert fields == {
        ":method": "GET",
        ":scheme": "http",
        ":authority": "other:1",
        ":path": "/",
        "user-agent": "me",
    }


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "Proxy-Authorization"])
def test_secrets(name: str) -> None:
    fields = hpack.Decoder().decode(origin().request(exchange(headers=((name, "s"),))))
    assert [field.indexable for field in fields] == [True] * 6 + [False]


def test_the_length_comes_behind() -> None:
    assert sent(exchange(), more=content_length(1234))[-1] == ("content-length", "1234")


def test_blocks_are_kept_for_each_method_and_set_of_headers() -> None:
    place = origin()
    for number in range(3 * MAX_BLOCKS):
        for _ in range(2):
            assert sent(exchange(headers=(("n", str(number)),)), place)[-1] == ("n", str(number))
            assert sent(exchange(method="PUT"), place)[0] == (":method", "PUT")
        assert len(place._blocks) <= MAX_BLOCKS
    assert place.request(exchange(url="http://peer/a")) != place.request(exchange(url="http://peer/b"))


def test_requests_are_kept_for_the_next_one_that_is_equal() -> None:
    place = origin()
    x = exchange(url="http://peer/a")
    block = place.request(x)
    place.repeat(x, block, True)
    known = place.repeated["http://peer/a"]
    assert (known.method, known.headers, known.block) == ("GET", x.headers, block)
    (frame,) = parse(known.alone + (5).to_bytes(4) + block)
    assert frame.stream_id == 5 and frame.flags == {"END_STREAM", "END_HEADERS"} and frame.data == block
    place.repeat(exchange(url="http://peer/long"), bytes(MAX_REPEATED_BLOCK + 1), True)
    assert len(place.repeated) == 1


def test_bodies_are_put_behind_them_by_their_sizes() -> None:
    known = Repeated("POST", (), b"block", False)
    assert known.alone == b""
    for size in range(1, 3 * MAX_SIZES):
        ahead, between = known.bodies.get(size) or known.with_body(size)
        head, data = parse(ahead + (7).to_bytes(4) + between + (7).to_bytes(4) + bytes(size))
        assert (head.stream_id, head.flags, head.data) == (7, {"END_HEADERS"}, b"block" + content_length(size))
        assert (data.stream_id, data.flags, data.data) == (7, {"END_STREAM"}, bytes(size))
        assert known.with_body(size) == known.bodies[size] == (ahead, between)
        assert len(known.bodies) <= MAX_SIZES


def test_who_sends_none_twice_is_not_learnt_from() -> None:
    place = origin()
    for number in range(MAX_REPEATED + 5):
        place.repeat(exchange(url=f"http://peer/{number}"), b"x", True)
    assert len(place.repeated) == MAX_REPEATED and "http://peer/0" in place.repeated
    for number in range(16 * MAX_REPEATED):
        place.repeat(exchange(url=f"http://peer/a{number}"), b"x", True)
    assert "http://peer/0" not in place.repeated and 0 < len(place.repeated) <= MAX_REPEATED


# In


def fields(*pairs: tuple[str, str]) -> Fields:
    return Fields(((":status", "200"), *pairs))


def test_a_head() -> None:
    said = fields(("content-type", "text/plain"), ("set-cookie", "a"), ("set-cookie", "b"), ("content-length", "5"))
    head = said.head
    assert head is not None and not said.fault
    assert (head.status, head.reason, head.version, head.lane) == (200, "OK", "2.0", "HTTP/2.0")
    assert head.headers.get_all("Set-Cookie") == ["a", "b"] and ":status" not in head.headers
    assert head.length == 5 and head.special
    assert fields(("content-encoding", "gzip, br")).head.encodings == ("gzip", "br")  # type: ignore[union-attr]


@pytest.mark.parametrize(("status", "reason"), [("100", "Continue"), ("404", "Not Found"), ("999", "")])
def test_statuses(status: str, reason: str) -> None:
    head = Fields(((":status", status),)).head
    assert head is not None and (head.status, head.reason) == (int(status), reason)


def test_trailers() -> None:
    for pairs in ((), (("grpc-status", "0"), ("x", ""))):
        said = Fields(pairs)
        assert (said.head, said.fault, said.pairs) == (None, "", pairs)


def test_space_around_a_value_does_not_belong_to_it() -> None:
    assert fields(("x", " \ta b\t"), ("y", "")).pairs == (("x", "a b"), ("y", ""))


@pytest.mark.parametrize("name", ["x", "x-!#$%&'*+.^_`|~09", "content-type", "te"])
@pytest.mark.parametrize("value", ["", "a", "a\tb", "\x80\xff", "a\xa0b"])
def test_good_fields(name: str, value: str) -> None:
    assert fields((name, value)).fault == ""


@pytest.mark.parametrize(
    ("pairs", "fault"),
    [
        (((":status", "200"), (":status", "200")), "a second :status"),
        ((("x", "y"), (":status", "200")), ":status is not the first field"),
        (((":status", "20"),), "bad :status '20'"),
        (((":status", "2000"),), "bad :status"),
        (((":status", "099"),), "bad :status"),
        (((":status", "+20"),), "bad :status"),
        (((":status", "2\xb20"),), "bad :status"),
        (((":status", ""),), "bad :status ''"),
        (((":status", "abc"),), "bad :status"),
        (((":path", "/"),), "bad field name ':path'"),
        (((":status", "200"), (":method", "GET")), "bad field name ':method'"),
        (((":status", "200"), (":x", "y")), "bad field name ':x'"),
        (((":status", "200"), ("X", "y")), "bad field name 'X'"),
        (((":status", "200"), ("", "y")), "bad field name ''"),
        (((":status", "200"), ("a b", "y")), "bad field name 'a b'"),
        (((":status", "200"), ("a:", "y")), "bad field name 'a:'"),
        (((":status", "200"), ("\xe4", "y")), "bad field name"),
        (((":status", "200"), ("a\n", "y")), "bad field name"),
        (((":status", "200"), ("connection", "close")), "the field connection is not for HTTP/2"),
        (((":status", "200"), ("keep-alive", "5")), "the field keep-alive"),
        (((":status", "200"), ("proxy-connection", "x")), "the field proxy-connection"),
        (((":status", "200"), ("transfer-encoding", "chunked")), "the field transfer-encoding"),
        (((":status", "200"), ("upgrade", "x")), "the field upgrade"),
        (((":status", "200"), ("x", "a\0b")), "control character '\\x00'"),
        (((":status", "200"), ("x", "a\r\nb")), "control character '\\r'"),
        (((":status", "200"), ("x", "a\n")), "control character '\\n'"),
        (((":status", "200"), ("x", "a\x7f")), "control character '\\x7f'"),
        (((":status", "200"), ("content-length", "x")), "bad Content-Length 'x'"),
        (((":status", "200"), ("content-length", "-1")), "bad Content-Length '-1'"),
        (((":status", "200"), ("content-length", "1"), ("content-length", "2")), "ifferent Content-Lengths"),
    ],
)
def test_malformed(pairs: tuple[tuple[str, str], ...], fault: str) -> None:
    assert fault in Fields(pairs).fault


@pytest.mark.parametrize(
    ("pairs", "length"),
    [
        (((":status", "200"), ("content-length", "5")), 5),
        (((":status", "404"),), UNSAID),
        (((":status", "103"),), OTHER),
        (((":status", "204"), ("content-length", "5")), OTHER),
        (((":status", "304"),), OTHER),
        (((":status", "200"), ("content-length", "x")), OTHER),
        (((":status", "200"), ("te", "x\n")), OTHER),
        ((("grpc-status", "0"),), TRAILERS),
        ((), TRAILERS),
        ((("grpc-status", "0"), (":status", "200")), OTHER),
        ((("A", "b"),), OTHER),
    ],
)
def test_what_needs_no_closer_look(pairs: Any, length: int) -> None:
    assert Fields(pairs).length == length


# Blocks that are new, of fields that are not

NAMES = [":status", "content-length", "content-encoding", "set-cookie", "x-id", "date", "X", "connection", "", "te"]
VALUES = ["200", "204", "304", "103", "5", "5, 5", "x", "gzip", "identity", " y ", "a\n", "", "\xe4"]


def shown(fields: Fields) -> Any:
    head = fields.head
    told = head and {name: getattr(head, name) for name in type(head).__slots__ if name != "_headers"}
    return fields.fault, fields.length, fields.pairs, told


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=5).flatmap(
            lambda rest: st.sampled_from([(*rest,), ((":status", "200"), *rest), (*rest, (":status", "200"))])
        ),
        max_size=12,
    )
)
def test_they_are_judged_as_if_each_were_the_first(blocks: list[tuple[tuple[str, str], ...]]) -> None:
    judge = Judge()
    for pairs in blocks:
        assert shown(judge(pairs)) == shown(Fields(pairs))


def test_what_is_kept_is_bounded() -> None:
    judge = Judge()
    for number in range(MAX_PARTS + 10):
        pairs = ((":status", "200"), ("content-length", str(number)), ("x-id", str(number)), ("x-long", "a" * 5000))
        assert shown(judge(pairs)) == shown(Fields(pairs))
    assert 0 < len(judge._parts) <= MAX_PARTS and 0 < len(judge._heads) <= MAX_HEADS
    assert all(len(value) < 5000 for _, value in judge._parts)
