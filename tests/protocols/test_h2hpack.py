"""Header compression: the examples of RFC 7541, and the hpack package as the judge of both directions."""

from __future__ import annotations

import random
from typing import Any

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests.protocols import h2hpack
from aquests.protocols.h2frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Fault
from aquests.protocols.h2hpack import (
    EMPTY_TABLE,
    MAX_KNOWN,
    MAX_OWN,
    MAX_TEXTS,
    STATIC,
    Blocks,
    Decoder,
    field,
    integer,
    name_of,
    text,
)


def decoder(blocks: Blocks[Any] | None = None) -> Decoder[Any]:
    return Decoder(blocks or Blocks(lambda pairs: pairs))


def table(line: Decoder[Any]) -> list[tuple[str, str]]:
    """The dynamic table, brought up to date."""
    line._pure = True
    line._added = []
    line._settle()
    return list(line._entries)


def judged(judge: hpack.Decoder, block: bytes) -> list[tuple[str, str]]:
    """The fields as the hpack package reads them."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in judge.decode(block, raw=True)]


# Out


@pytest.mark.parametrize(
    ("value", "bits", "first", "encoded"),
    [
        (10, 5, 0, b"\x0a"),  # RFC 7541 C.1.1
        (1337, 5, 0, b"\x1f\x9a\x0a"),  # C.1.2
        (42, 8, 0, b"\x2a"),  # C.1.3
        (30, 5, 0xE0, b"\xfe"),
        (31, 5, 0xE0, b"\xff\x00"),
        (31 + 127, 5, 0, b"\x1f\x7f"),
        (31 + 128, 5, 0, b"\x1f\x80\x01"),
    ],
)
def test_integers(value: int, bits: int, first: int, encoded: bytes) -> None:
    assert integer(value, bits, first) == encoded


@given(st.integers(0, 1 << 28), st.integers(1, 8))
def test_integers_are_read_by_others(value: int, bits: int) -> None:
    data = integer(value, bits)
    assert hpack.hpack.decode_integer(data, bits) == (value, len(data))


@pytest.mark.parametrize(
    ("name", "value", "encoded"),
    [
        (":method", "GET", b"\x82"),
        (":scheme", "https", b"\x87"),
        ("accept-encoding", "gzip, deflate", b"\x90"),
        (":method", "PUT", b"\x02\x03PUT"),
        ("accept", "*/*", b"\x0f\x04\x03*/*"),
        ("x-id", "7", b"\x00\x04x-id\x017"),
        ("accept", "", b"\x0f\x04\x00"),
    ],
)
def test_fields(name: str, value: str, encoded: bytes) -> None:
    assert field(name, value) == encoded


def test_secrets_are_never_indexed() -> None:
    assert field("authorization", "x", secret=True) == b"\x1f\x08\x01x"
    assert field("x-key", "x", secret=True) == b"\x10\x05x-key\x01x"
    (seen,) = hpack.Decoder().decode(field("cookie", "a=b", secret=True))
    assert isinstance(seen, hpack.NeverIndexedHeaderTuple) and str(seen[0]) == "cookie"


names = st.sampled_from([name for name, _ in STATIC[1:]] + ["x-id", "x-a-long-name" * 20])
latin = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=300)


@given(st.lists(st.tuples(names, latin, st.booleans()), max_size=10))
def test_what_we_encode_is_read_by_others(fields: list[tuple[str, str, bool]]) -> None:
    judge = hpack.Decoder()
    judge.max_allowed_table_size = 0  # the strictest a peer can be
    block = EMPTY_TABLE + b"".join(field(*each) for each in fields)
    for _ in range(2):
        assert judged(judge, block) == [(name, value) for name, value, _ in fields]
        block = block[1:]
    assert not judge.header_table.dynamic_entries


# In: RFC 7541 C.5 and C.6, answers with a table of 256 bytes, without Huffman coding and with it

FIRST = (
    (":status", "302"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
)
SECOND = ((":status", "307"), *FIRST[1:])
THIRD = (
    (":status", "200"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
    ("location", "https://www.example.com"),
    ("content-encoding", "gzip"),
    ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
)
PLAIN = (
    "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d"
    "54 6e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "4803 3330 37c1 c0bf",
    "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f"
    "6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b"
    "2076 6572 7369 6f6e 3d31",
)
HUFFMAN = (
    "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7"
    "8f0b 97c8 e9ae 82ae 43d3",
    "4883 640e ffc1 c0bf",
    "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335"
    "dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
)


@pytest.mark.parametrize("blocks", [PLAIN, HUFFMAN])
def test_the_examples_of_the_specification(blocks: tuple[str, str, str]) -> None:
    line = decoder()
    assert line.decode(b"\x3f\xe1\x01" + bytes.fromhex(blocks[0])) == FIRST  # a table of 256 bytes
    assert table(line) == [*reversed(FIRST)]
    assert line.decode(bytes.fromhex(blocks[1])) == SECOND
    assert table(line) == [(":status", "307"), *reversed(FIRST[1:])]
    assert line.decode(bytes.fromhex(blocks[2])) == THIRD
    assert table(line) == [THIRD[5], THIRD[4], THIRD[2]]


# In: what is kept


def test_a_block_is_made_into_something_once() -> None:
    made: list[Any] = []
    blocks: Blocks[int] = Blocks(lambda pairs: made.append(pairs) or len(made))  # type: ignore[func-returns-value]
    block = hpack.Encoder().encode(FIRST)
    one, other = decoder(blocks), decoder(blocks)
    assert [one.decode(block), one.decode(block), other.decode(block)] == [1, 1, 1]
    assert made == [FIRST]
    assert table(one) == [*reversed(FIRST)] * 2, "what it adds is added each time"
    assert table(other) == [*reversed(FIRST)]


def test_a_block_that_looks_into_the_table_means_the_same_until_the_table_changes() -> None:
    line = decoder()
    line.decode(b"\x40\x01a\x01b")
    assert line.decode(b"\xbe") == line.decode(b"\xbe") == (("a", "b"),)
    line.decode(b"\x40\x01c\x01d")
    assert line.decode(b"\xbe") == (("c", "d"),)
    line.decode(b"\x40\x01a\x01b")  # known by now
    assert line.decode(b"\xbe") == (("a", "b"),)
    line.decode(b"\xbe\x40\x01e\x01f")  # looks and adds
    assert line.decode(b"\xbe") == (("e", "f"),)
    line.decode(b"\x20\x3f\xe1\x1f\x82")  # emptied, and the old size again
    with pytest.raises(Fault, match="header index 62 of 61"):
        line.decode(b"\xbe")


def test_a_block_may_look_at_what_it_adds_itself() -> None:
    line = decoder()
    block = b"\x40\x01a\x01b\xbe\x40\x01c\x01d\xbf\xbe"
    expected = (("a", "b"), ("a", "b"), ("c", "d"), ("a", "b"), ("c", "d"))
    assert line.decode(block) == line.decode(block) == expected
    assert table(line) == [("c", "d"), ("a", "b")] * 2


def test_additions_that_were_put_off_are_as_many_as_the_table_can_hold() -> None:
    line, judge = decoder(), hpack.Decoder()
    blocks = [bytes((0x40, 1, 97 + number % 26, 0)) for number in range(1000)]
    for block in blocks:
        line.decode(block)
        judge.decode(block)
    assert len(line._late) == 128
    assert table(line) == [(name.decode(), value.decode()) for name, value in judge.header_table.dynamic_entries]


def test_what_is_kept_is_bounded() -> None:
    blocks: Blocks[Any] = Blocks(lambda pairs: pairs)
    line = decoder(blocks)
    huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    for number in range(3000):
        word = huffman.encode(b"id-%d" % number)
        coded = bytes((0x80 | len(word),)) + word
        assert line.decode(b"\x00" + coded + coded) == ((f"id-{number}", f"id-{number}"),)
        assert len(blocks.known) <= MAX_KNOWN
        assert 0 < len(blocks.texts) <= MAX_TEXTS and 0 < len(blocks.literals) <= MAX_TEXTS
    line.decode(b"\x40\x01a\x01b")
    for number in range(1000):
        assert line.decode(b"\xbe\x00\x01a" + text(b"%d" % number)) == (("a", "b"), ("a", str(number)))
        assert len(line.own) <= MAX_OWN
    long = huffman.encode(b"x" * 2000)
    coded = integer(len(long), 7, 0x80) + long
    assert line.decode(b"\x00" + coded + coded) == (("x" * 2000,) * 2,)
    assert max(map(len, blocks.texts)) <= h2hpack.MAX_TEXT


# In: what is refused

BIG = b"\x40\x01a" + text(bytes(4000))


@pytest.mark.parametrize(
    ("block", "code", "message"),
    [
        (b"\x80", COMPRESSION_ERROR, "header index 0"),
        (b"\xbe", COMPRESSION_ERROR, "header index 62 of 61"),
        (b"\x7e\x01a", COMPRESSION_ERROR, "header index 62 of 61"),
        (b"\xff\x80\x80\x80\x80\x01", COMPRESSION_ERROR, "too large"),
        (b"\x82\x20", COMPRESSION_ERROR, "behind the first field"),
        (b"\x3f\xe2\x1f", COMPRESSION_ERROR, "a header table of 4097 bytes"),
        (b"\x00\x01a\x83\xff\xff\xff", COMPRESSION_ERROR, "Huffman"),
        (b"\xff", COMPRESSION_ERROR, "cut short"),
        (b"\xff\x80", COMPRESSION_ERROR, "cut short"),
        (b"\x00", COMPRESSION_ERROR, "cut short"),
        (b"\x00\x01", COMPRESSION_ERROR, "cut short"),
        (b"\x00\x01a", COMPRESSION_ERROR, "cut short"),
        (b"\x00\x01a\x05hell", COMPRESSION_ERROR, "cut short"),
        (b"\x00\x01a\x7f", COMPRESSION_ERROR, "cut short"),
        (b"\x82" * 513, ENHANCE_YOUR_CALM, "over 512 fields"),
        (BIG + b"\xbe" * 16, ENHANCE_YOUR_CALM, "over 65,536 bytes"),
        (b"\x00\x01a" + text(bytes(65536 - 32)), ENHANCE_YOUR_CALM, "over 65,536 bytes"),
    ],
)
def test_refused(block: bytes, code: int, message: str) -> None:
    with pytest.raises(Fault, match=message) as caught:
        decoder().decode(block)
    assert caught.value.code == code


def test_at_the_limits() -> None:
    assert len(decoder().decode(b"\x82" * 512)) == 512
    assert decoder().decode(b"\x00\x01a" + text(bytes(65536 - 33))) == (("a", "\0" * (65536 - 33)),)
    assert len(decoder().decode(BIG + b"\xbe" * 15)) == 16
    assert decoder().decode(b"\x3f\xe1\x1f") == ()
    assert decoder().decode(b"") == ()


# In: the judge


def random_fields(chance: random.Random) -> list[Any]:
    """As a server would send them: few names, values that repeat more or less."""
    fields: list[Any] = [(":status", chance.choice(["200", "404", "599"]))]
    for _ in range(chance.randint(0, 8)):
        name = chance.choice(["date", "etag", "server", "x-id", "set-cookie", "vary"])
        value = chance.choice(["", "a", "b" * chance.choice([1, 300, 2000]), str(chance.random()), "\xe4\xff"])
        fields.append((name, value.encode("latin-1"), chance.random() < 0.2))
    return fields


@pytest.mark.parametrize("seed", range(30))
def test_servers_of_all_kinds_are_read_as_the_judge_reads_them(seed: int) -> None:
    chance = random.Random(seed)
    blocks: Blocks[Any] = Blocks(lambda pairs: pairs)
    lines = [(decoder(blocks), hpack.Encoder(), hpack.Decoder()) for _ in range(2)]
    sets = [random_fields(chance) for _ in range(6)]
    for _ in range(150):
        line, encoder, judge = chance.choice(lines)
        if chance.random() < 0.1:
            encoder.header_table_size = chance.choice([0, 40, 200, 1000, 4096])
        fields = chance.choice(sets) if chance.random() < 0.8 else random_fields(chance)
        block = encoder.encode(fields, huffman=chance.random() < 0.7)
        assert list(line.decode(block)) == judged(judge, block)
    for line, _, judge in lines:
        held = [(name.decode(), value.decode("latin-1")) for name, value in judge.header_table.dynamic_entries]
        assert table(line) == held


fragments = st.sampled_from(
    [
        b"\x82",
        b"\xbe",
        b"\xc0",
        b"\x40\x01a\x01b",
        b"\x00\x01c\x00",
        b"\x20",
        b"\x3f\xe1\x1f",
        b"\x3f\x21",
        b"\x7e\x01z",
    ]
)


@settings(max_examples=300)
@given(st.lists(st.one_of(fragments, st.binary(max_size=4)), max_size=12), st.integers(0, 3))
def test_any_bytes(pieces: list[bytes], cut: int) -> None:
    """The same fields as the judge, or a Fault; and a Fault wherever the judge refuses."""
    judge, line = hpack.Decoder(), decoder()
    for block in (b"".join(pieces[:cut]), b"".join(pieces[cut:]), b"".join(pieces[:cut])):
        try:
            expected = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in judge.decode(block, raw=True)
            ]
        except hpack.HPACKError:
            with pytest.raises(Fault):
                line.decode(block)
            return
        try:
            assert list(line.decode(block)) == expected
        except Fault as fault:
            assert "too large" in fault.message or "behind the first" in fault.message
            return


def test_names_by_index() -> None:
    assert name_of(":path") == b"\x04" and name_of("content-length") == b"\x0f\x0d" and name_of("x") == b"\x00\x01x"
