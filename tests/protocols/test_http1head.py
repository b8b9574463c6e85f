"""The grammar of HTTP/1.1: heads, where they end, what is cached; chunks in any cutting."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import AquestsError, ProtocolError, TooLarge
from aquests.protocols.http1head import (
    CHUNKED,
    CLOSE,
    LENGTH,
    MAX_CHUNK_LINE,
    MAX_HEAD,
    MAX_HEADERS,
    NOTHING,
    Chunks,
    Head,
    HeadCache,
    find_end,
    parse_fields,
    parse_head,
)
from tests.helpers import feedings, random_cuts


def head(*lines: str, first: str = "HTTP/1.1 200 OK") -> Head:
    return parse_head("\r\n".join([first, *lines]).encode("latin-1"))


# Where a head ends


@pytest.mark.parametrize(
    "data, expected",
    (
        (b"", (-1, -1)),
        (b"a\r\n\r\nb", (1, 5)),
        (b"\r\n\r\n", (0, 4)),
        (b"a\n\nb", (1, 3)),
        (b"a\r\n\nb", (1, 4)),
        (b"a\n\r\nb", (1, 4)),
        (b"a\r\n\r", (-1, -1)),
        (b"a\r\n", (-1, -1)),
        (b"a\r\r", (-1, -1)),
        (b"a\n\r\r\n", (-1, -1)),
        (b"a\n\nb\r\n\r\n", (1, 3)),
        (b"a\n\r\nb\r\n\r\n", (1, 4)),
        (b"a\r\n\r\nb\n\n", (1, 5)),
        (b"a\n\r\n\r\n", (1, 4)),
        (b"a\r\n\r\n\n", (1, 5)),
    ),
)
def test_find_end(data, expected):
    assert find_end(data) == expected
    assert find_end(bytearray(data)) == expected


@given(st.lists(st.sampled_from((b"\r", b"\n", b"\r\n", b"a", b"\r\n\r\n")), max_size=12).map(b"".join))
def test_find_end_is_the_first_empty_line(data):
    match = re.search(rb"\r?\n\r?\n", data)
    assert find_end(data) == ((match.start(), match.end()) if match else (-1, -1))
    for start in range(len(data)):
        match = re.compile(rb"\r?\n\r?\n").search(data, start)
        assert find_end(data, start) == ((match.start(), match.end()) if match else (-1, -1))


# Heads


def test_a_head():
    parsed = head("Content-Type: text/plain", "Content-Length: 5", "X: a", "x: b")
    assert (parsed.status, parsed.reason, parsed.version, parsed.lane) == (200, "OK", "1.1", "HTTP/1.1")
    assert parsed.pairs[2:] == (("X", "a"), ("x", "b"))
    assert parsed.headers["x"] == "a, b" and parsed.headers is parsed.headers
    assert (parsed.framing, parsed.length, parsed.keep_alive) == (LENGTH, 5, True)
    assert (parsed.encodings, parsed.special) == ((), False)


@pytest.mark.parametrize(
    "lines, status, framing, length",
    (
        ([], 200, CLOSE, 0),
        (["Content-Length: 7"], 200, LENGTH, 7),
        (["Content-Length: 000000000000000007"], 200, LENGTH, 7),
        (["Transfer-Encoding: chunked"], 200, CHUNKED, 0),
        (["Transfer-Encoding: gzip, chunked"], 200, CHUNKED, 0),
        (["Transfer-Encoding: gzip"], 200, CLOSE, 0),
        (["Transfer-Encoding: ,chunked,"], 200, CHUNKED, 0),
        (["Content-Length: 7"], 100, NOTHING, 7),
        (["Content-Length: 7"], 204, NOTHING, 7),
        (["Content-Length: 7"], 304, NOTHING, 7),
        (["Transfer-Encoding: chunked"], 204, NOTHING, 0),
        (["Content-Length: 7"], 205, LENGTH, 7),
    ),
)
def test_framing(lines, status, framing, length):
    parsed = head(*lines, first=f"HTTP/1.1 {status} X")
    assert (parsed.framing, parsed.length) == (framing, length)


@pytest.mark.parametrize(
    "version, connection, keep_alive",
    (
        ("1.1", None, True),
        ("1.0", None, False),
        ("1.1", "close", False),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive, x", True),
        ("1.0", "keep-alive, close", False),
        ("1.0", "x", False),
        ("1.1", "", True),
        ("1.1", "keep-alive", True),
        ("1.1", "x ,\tCLOSE", False),
        ("1.9", None, True),
    ),
)
def test_keep_alive(version, connection, keep_alive):
    lines = [] if connection is None else [f"Connection: {connection}"]
    assert head(*lines, first=f"HTTP/{version} 200 OK").keep_alive is keep_alive


def test_connection_is_one_list_over_all_its_fields():
    for order in (("close", "keep-alive"), ("keep-alive", "close")):
        assert head(*(f"Connection: {value}" for value in order), first="HTTP/1.0 200 OK").keep_alive is False


@pytest.mark.parametrize("status", (301, 302, 303, 307, 308, 401, 407))
def test_statuses_that_somebody_must_look_at(status):
    assert head(first=f"HTTP/1.1 {status} X").special is True
    assert head(first="HTTP/1.1 300 X").special is head(first="HTTP/1.1 304 X").special is False


@pytest.mark.parametrize("line", ("Set-Cookie: a=b", "set-cookie:", "AUTHENTICATION-INFO: x", "Content-Encoding: gzip"))
def test_fields_that_somebody_must_look_at(line):
    assert head(line, "Content-Length: 0").special is True


@pytest.mark.parametrize(
    "data, error, words",
    (
        (b"", ProtocolError, "not an HTTP/1 answer"),
        (b"HTTP/1", ProtocolError, "not an HTTP/1 answer"),
        (b"HTTP/2 200 OK", ProtocolError, "not an HTTP/1 answer"),
        (b"HTTP/1.1", ProtocolError, "not an HTTP/1 status line"),
        (b"HTTP/1.1 200 OK\x00", ProtocolError, "not an HTTP/1 status line"),
        (b"HTTP/1.1 200 OK\r\r\nA: b", ProtocolError, "not an HTTP/1 status line"),
        (b"HTTP/1.1 200 OK\n", ProtocolError, "not a header line: ''"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", ProtocolError, "not a header line: ''"),
        (b"HTTP/1.1 200 OK\r\nA: b\n\nC: d", ProtocolError, "not a header line: ''"),
        (b"HTTP/1.1 200 OK\r\nA: b\r", ProtocolError, r"control character '\\r'"),
        (b"HTTP/1.1 200 OK\r\nA\x00: b", ProtocolError, r"control character '\\x00'"),
        (b"x" * (MAX_HEAD + 1), ProtocolError, "not an HTTP/1 answer"),
        (b"HTTP/1.1 200 OK\r\nA: ".ljust(MAX_HEAD + 1, b"x"), TooLarge, "the head has over 65,536 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"\n".join([b"A:"] * (MAX_HEADERS + 1)), TooLarge, "513 headers, the limit is 512"),
    ),
)
def test_bad_heads(data, error, words):
    with pytest.raises(error, match=words) as caught:
        parse_head(data)
    assert caught.value.phase == "answer"
    if error is ProtocolError:
        assert caught.value.first == data[:64]


def test_limits_are_not_over_themselves():
    assert len(head(*["A: b"] * MAX_HEADERS).pairs) == MAX_HEADERS
    assert parse_head(b"HTTP/1.1 200 OK\r\nA: ".ljust(MAX_HEAD, b"x")).status == 200


@pytest.mark.parametrize(
    "text, pairs",
    (
        ("A: b", (("A", "b"),)),
        ("A:b\r\nC:\t d \t", (("A", "b"), ("C", "d"))),
        ("A: b\nC: d", (("A", "b"), ("C", "d"))),
        ("A: b\r\n c\r\n\t  d", (("A", "b c d"),)),
        ("A:\r\n b", (("A", "b"),)),
        ("A: b\r\n  \r\n c", (("A", "b  c"),)),
        ("A: \xa0b\xa0", (("A", "\xa0b\xa0"),)),  # no white space of HTTP
    ),
)
def test_fields(text, pairs):
    assert parse_fields(text, b"") == pairs


@given(st.text("HTP/1. 20OK\r\n\t:abcCLontet-gh5,\x00\xe9", max_size=60), st.booleans())
def test_parsing_gives_a_head_or_the_promised_errors(text, begins_well):
    raw = ("HTTP/1.1 200 OK\r\n" if begins_well else "") + text
    try:
        parsed = parse_head(raw.encode("latin-1"))
    except (ProtocolError, TooLarge):
        return
    for name, value in parsed.pairs:
        assert re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name)
        assert not re.search(r"[\x00-\x08\n\r\x7f]", value) and value == value.strip(" \t")


# The cache


def test_equal_heads_are_parsed_once():
    cache = HeadCache()
    raw = b"HTTP/1.1 200 OK\r\nA: b"
    first = cache.get(raw)
    assert cache.get(bytes(bytearray(raw))) is first
    assert cache.get(raw + b"c") is not first


def test_bad_heads_are_not_kept():
    cache = HeadCache()
    for _ in range(2):
        with pytest.raises(ProtocolError):
            cache.get(b"HTTP/1.1 bad")


def unique(number: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-Id: %d" % number


def test_few_heads_are_kept():
    cache = HeadCache()
    for number in range(3 * HeadCache.SIZE):
        cache.get(unique(number))
        assert len(cache.known) <= HeadCache.SIZE
    assert cache.get(unique(number)) is cache.get(unique(number))


def test_a_cache_that_does_not_pay_is_switched_off_for_a_while():
    cache = HeadCache()
    numbers = iter(range(1_000_000))
    for _ in range(HeadCache.TRIAL):
        cache.get(unique(next(numbers)))
    same = b"HTTP/1.1 200 OK\r\nA: b"
    cache.get(unique(next(numbers)))
    assert cache.get(same) is not cache.get(same), "it is off"
    for _ in range(16 * HeadCache.TRIAL):
        cache.get(unique(next(numbers)))
    assert cache.get(same) is cache.get(same), "it is tried again"


def test_a_cache_that_pays_stays():
    cache = HeadCache()
    same = b"HTTP/1.1 200 OK\r\nA: b"
    for number in range(4 * HeadCache.TRIAL):
        cache.get(unique(number))
        cache.get(same)
    assert cache.get(same) is cache.get(same)


# Chunks


def read(data: bytes, cut: list[bytes] | None = None, limit: int = 1000) -> tuple[Chunks, bytes | None]:
    """Feed all pieces; what stands behind the end, None if it has not come."""
    chunks = Chunks(limit)
    rest = None
    for piece in [data] if cut is None else cut:
        rest = chunks.feed(piece) if rest is None else rest + piece
    return chunks, rest


@pytest.mark.parametrize(
    "data, body, trailers, rest",
    (
        (b"0\r\n\r\n", b"", (), b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", (), b""),
        (b"5\r\nhello\r\n0\r\n\r\nmore", b"hello", (), b"more"),
        (b"000A;x\r\n0123456789\r\n00\r\n\r\n", b"0123456789", (), b""),
        (b"2\r\n\r\n\r\n2 \t;\t\r\nab\r\n0\r\n\r\n\r\n", b"\r\nab", (), b"\r\n"),
        (b"0\r\nA: b\r\n\r\n.", b"", (("A", "b"),), b"."),
        (b"0\r\nA: b\r\n c\r\n\r\n", b"", (("A", "b c"),), b""),
        (b"0\r\nA: b\n\n.", b"", (("A", "b"),), b"."),
        (b"0\r\n\n.", b"", (), b"."),
        (b"0\r\n\n\r\n", b"", (), b"\r\n"),
        (b"0\r\nA: b\n\r\n.", b"", (("A", "b"),), b"."),
    ),
)
def test_chunks(data, body, trailers, rest):
    for cut in feedings(data):
        chunks, behind = read(data, cut)
        assert (chunks.body(), chunks.trailers, behind) == (body, trailers, rest)
        assert chunks.size == len(body)
    for length in range(len(data) - len(rest)):
        assert read(data[:length])[1] is None, "complete too early"


@pytest.mark.parametrize(
    "data, error, words",
    (
        (b"\r\n", ProtocolError, "bad chunk size"),
        (b"x", ProtocolError, "bad chunk size"),
        (b"-", ProtocolError, "bad chunk size"),
        (b"5\n", ProtocolError, "bad chunk size"),
        (b"5\rx", ProtocolError, "bad chunk size"),
        (b"5 5", ProtocolError, "bad chunk size"),
        (b"5;\n", ProtocolError, "bad chunk size"),
        (b"5;\x7f", ProtocolError, "bad chunk size"),
        (b"1" * 17, ProtocolError, "bad chunk size"),
        (b"5" + b" " * MAX_CHUNK_LINE, ProtocolError, "a chunk-size line over 4096 bytes"),
        (b"5;" + b"a" * MAX_CHUNK_LINE + b"\r\n", ProtocolError, "a chunk-size line over 4096 bytes"),
        (b"2\r\nabX", ProtocolError, "a chunk is longer than its size"),
        (b"2\r\nab\rX", ProtocolError, "a chunk is longer than its size"),
        (b"2\r\nab\n", ProtocolError, "a chunk is longer than its size"),
        (b"2\r\nab0\r\n\r\n", ProtocolError, "a chunk is longer than its size"),
        (b"3E9\r\n", TooLarge, "over max_content=1,000 bytes"),
        (b"fffffffffffffff\r\n", TooLarge, "over max_content=1,000 bytes"),
        (b"0\r\nA b\r\n\r\n", ProtocolError, "not a header line"),
        (b"0\r\n: b\r\n\r\n", ProtocolError, "not a header line"),
        (b"0\r\n\x00: b\r\n\r\n", ProtocolError, "control character"),
        (b"0\r\n\rA: b\r\n\r\n", ProtocolError, "control character"),
        (b"0\r\n" + b"A:\r\n" * 513 + b"\r\n", TooLarge, "513 headers"),
    ),
)
def test_bad_chunks(data, error, words):
    for cut in feedings(data):
        with pytest.raises(error, match=words) as caught:
            read(data, cut)
        assert caught.value.phase == "answer"


def test_the_limit_of_a_body_is_not_over_itself():
    assert read(b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")[0].size == 1000
    with pytest.raises(TooLarge):
        read(b"3E8\r\n" + b"x" * 1000 + b"\r\n1\r\n")


@pytest.mark.parametrize("line_end", (b"\r\n", b"\n"))
def test_the_limit_of_trailers_is_the_same_in_any_cutting(line_end):
    for size, fits in ((MAX_HEAD, True), (MAX_HEAD + 1, False)):
        data = b"0\r\n" + b"A: ".ljust(size, b"x") + line_end + line_end
        ends = [data[at : at + 1] for at in range(len(data) - 4, len(data))]
        for cut in ([data], [data[:-1], data[-1:]], [data[:-4], *ends]):
            if fits:
                assert read(data, cut)[1] == b""
            else:
                with pytest.raises(TooLarge, match="the trailers have over 65,536 bytes"):
                    read(data, cut)


def test_a_chunk_size_line_just_at_its_limit_passes():
    line = b"1;".ljust(MAX_CHUNK_LINE - 2, b"a") + b"\r\n"
    for cut in feedings(line + b"x\r\n0\r\n\r\n"):
        assert read(b"", cut)[0].body() == b"x"


@given(
    st.lists(st.binary(min_size=1, max_size=30), max_size=6), st.binary(max_size=5), st.randoms(use_true_random=False)
)
def test_any_body_in_any_cutting(pieces, rest, chance):
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    chunks, behind = read(b"", random_cuts(data + rest, chance))
    assert chunks.body() == b"".join(pieces) and behind == rest


@given(
    st.lists(st.sampled_from((b"\r", b"\n", b"\r\n", b"0", b"5", b";", b"a", b"A: b", b"hello", b"\x00")), max_size=20),
    st.randoms(use_true_random=False),
)
def test_garbage_means_the_same_in_any_cutting(pieces, chance):
    data = b"".join(pieces)
    told: list[Any] = []
    for cut in ([data], random_cuts(data, chance), [data[at : at + 1] for at in range(len(data))]):
        try:
            chunks, behind = read(b"", cut)
            told.append((chunks.body() if behind is not None else None, chunks.trailers, behind))
        except AquestsError as error:
            told.append((type(error), str(error)))
    assert told[0] == told[1] == told[2]


def test_chunks_hold_no_more_than_the_body():
    """What waits is the end of a line, never what has been read."""
    chance = random.Random(1)
    chunks = Chunks(1 << 20)
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in random_cuts(bytes(50_000), chance))
    for fed, piece in enumerate(random_cuts(data, chance), 1):
        assert chunks.feed(piece) is None
        assert len(chunks._buffer) < 8
        assert len(chunks._parts) <= fed
    assert chunks.body() == bytes(50_000)
