"""Frames: heads, masks, their reading in any cutting, and CLOSE."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket import ABNF
from websockets.exceptions import WebSocketException
from websockets.frames import Close

from aquests.errors import RequestError
from aquests.protocols.wsframes import (
    BAD_PAYLOAD,
    BINARY,
    CLOSE,
    CONT,
    NO_STATUS,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    FrameReader,
    Masks,
    Messages,
    Violation,
    close_payload,
    encode,
    fragments,
    in_words,
    masked,
    parse_close,
)
from tests.helpers import feedings
from tests.wsbytes import counted, frame, frames, said

# What is sent


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_xor_and_its_own_inverse(data: bytes, key: bytes) -> None:
    out = masked(data, key)
    assert out == bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
    assert masked(out, key) == data


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
@pytest.mark.parametrize(("fin", "rsv1"), [(True, False), (False, False), (True, True)])
def test_frames_are_read_by_another_client(size: int, fin: bool, rsv1: bool) -> None:
    data = bytes(size)
    sent = encode(BINARY, data, b"\x01\x02\x03\x04", fin=fin, rsv1=rsv1)
    assert bool(sent[0] & 0x40) == rsv1
    (found,) = frames(bytes([sent[0] & ~0x40]) + sent[1:])  # the other client knows no extension
    assert (found.opcode, found.fin, found.data) == (BINARY, fin, data)


def test_the_example_of_the_rfc() -> None:
    """RFC 6455 5.7: a masked text message "Hello"."""
    assert encode(TEXT, b"Hello", b"\x37\xfa\x21\x3d") == bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")


def test_masks_are_drawn_in_bulk_and_never_repeat() -> None:
    drawn: list[int] = []

    def random(size: int) -> bytes:
        drawn.append(size)
        return b"".join((len(drawn) * 1000 + at).to_bytes(4, "big") for at in range(size // 4))

    masks = Masks(random)
    keys = [masks.next() for _ in range(600)]
    assert len(set(keys)) == 600 and all(len(key) == 4 for key in keys)
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], [(TEXT, 1, b"")]),
        ([b"a"], [(TEXT, 1, b"a")]),
        ([b"a", b"b", b"c"], [(TEXT, 0, b"a"), (CONT, 0, b"b"), (CONT, 1, b"c")]),
    ],
)
def test_fragments(pieces: list[bytes], expected: list[tuple[int, int, bytes]]) -> None:
    assert said(b"".join(fragments(TEXT, pieces, Masks(counted)))) == expected
    bits = [sent[0] & 0x40 for sent in fragments(TEXT, pieces, Masks(counted), rsv1=True)]
    assert bits == [0x40] + [0] * (len(expected) - 1)


def test_messages_are_not_rewound_once_they_are_sent() -> None:
    messages = Messages([(TEXT, b"x" * 10), (PING, b"y")])
    messages.rewind()
    messages.sent = True
    with pytest.raises(RequestError, match="not sent twice"):
        messages.rewind()
    assert messages.size >= 11 and messages.pings == frozenset()
    assert Messages([(PING, b"y"), (PING, b"z")]).pings == {b"y", b"z"}
    assert Messages([]).pings == frozenset()


# What comes


def read(data: bytes, extended: bool = False) -> list[tuple[int, bool, bool, bytes]]:
    """Opcode, FIN, RSV1 and whole payload of each frame; the same in every cutting."""
    outcomes = []
    for pieces in feedings(data, len(data)):
        reader = FrameReader(extended)
        found: list[tuple[int, bool, bool, bytes]] = []
        payload = b""
        begun = 0
        for piece in pieces:
            for got, part in reader.feed(piece):
                begun += got.first
                assert got.opcode < CLOSE or not got.left, "control frames come whole"
                payload += part
                if not got.left:
                    assert len(payload) == got.length
                    found.append((got.opcode, got.fin, got.rsv1, payload))
                    payload = b""
        assert not reader.pending and begun == len(found)
        outcomes.append(found)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    return outcomes[0]


def test_frames_are_read_in_any_cutting() -> None:
    said = [
        frame(TEXT, b"Hello"),
        frame(TEXT, b"He", fin=False),
        frame(PING, b"between"),
        frame(CONT, fin=False),
        frame(PONG),
        frame(CONT, b"llo"),
        frame(BINARY),
        frame(BINARY, b"x" * 125),
        frame(BINARY, b"x" * 126),
        frame(BINARY, b"x" * 70_000),
        frame(CLOSE, b"\x03\xe8"),
    ]
    assert [(opcode, fin, len(data)) for opcode, fin, _, data in read(b"".join(said))] == [
        (TEXT, True, 5),
        (TEXT, False, 2),
        (PING, True, 7),
        (CONT, False, 0),
        (PONG, True, 0),
        (CONT, True, 3),
        (BINARY, True, 0),
        (BINARY, True, 125),
        (BINARY, True, 126),
        (BINARY, True, 70_000),
        (CLOSE, True, 2),
    ]


def test_pieces_of_a_long_frame_come_as_they_are() -> None:
    reader = FrameReader()
    data = frame(BINARY, b"x" * 200_000)
    heads = [(got.first, got.left, len(part)) for got, part in reader.feed(data[:10])]
    assert heads == [(True, 200_000, 0)]
    assert [(got.first, len(part)) for got, part in reader.feed(data[10:60_010])] == [(False, 60_000)]
    assert reader.pending
    assert [got.left for got, _ in reader.feed(data[60_010:])] == [0]
    assert not reader.pending


def test_a_compressed_message_has_rsv1_in_its_first_frame() -> None:
    data = frame(TEXT, b"a", fin=False, rsv=4) + frame(CONT, b"b")
    assert read(data, extended=True) == [(TEXT, False, True, b"a"), (CONT, True, False, b"b")]


VIOLATIONS = {
    "rsv1 without an extension": frame(TEXT, rsv=4),
    "rsv2": frame(TEXT, rsv=2),
    "rsv3": frame(BINARY, rsv=1),
    "rsv1 on a control frame": frame(PING, rsv=4),
    "reserved opcode 3": frame(3),
    "reserved opcode 7": frame(7),
    "reserved opcode 11": frame(11),
    "reserved opcode 15": frame(15),
    "masked": frame(TEXT, b"abcdefgh", masked=True),
    "ping over 125": frame(PING, b"x" * 126),
    "close over 125": frame(CLOSE, b"x" * 126),
    "fragmented ping": frame(PING, fin=False),
    "fragmented close": frame(CLOSE, fin=False),
    "continuation of nothing": frame(CONT),
    "a message within another": frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    "16 bits for 125": b"\x82\x7e\x00\x7d" + b"x" * 125,
    "64 bits for 65535": b"\x82\x7f" + (65535).to_bytes(8, "big") + b"x" * 65535,
    "64 bits all set": b"\x82\x7f" + b"\xff" * 8,
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations(name: str) -> None:
    good = frame(BINARY, b"before")
    for pieces in feedings(good + VIOLATIONS[name], name):
        reader = FrameReader(extended=name == "rsv1 on a control frame")
        seen = b""
        with pytest.raises(Violation) as caught:
            for piece in pieces:
                for got, part in reader.feed(piece):
                    seen += part if got.opcode == BINARY else b""
        assert caught.value.code == PROTOCOL_ERROR
        assert seen == b"before", "what came before the violation is good"


def test_rsv1_on_a_continuation() -> None:
    with pytest.raises(Violation, match="reserved bit"):
        list(FrameReader(extended=True).feed(frame(TEXT, fin=False, rsv=4) + frame(CONT, rsv=4)))


@given(st.lists(st.binary(max_size=40)), st.booleans())
def test_any_bytes_are_read_or_refused(pieces: list[bytes], extended: bool) -> None:
    reader = FrameReader(extended)
    try:
        for piece in pieces:
            for got, part in reader.feed(piece):
                assert 0 <= got.left <= got.length and len(part) <= got.length
    except Violation as violation:
        assert violation.code == PROTOCOL_ERROR


# CLOSE


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (b"", NO_STATUS, ""),
        (b"\x03\xe8", 1000, ""),
        (b"\x03\xe9going", 1001, "going"),
        (b"\x0f\xa0" + "é".encode() * 61, 4000, "é" * 61),
    ],
)
def test_close(data: bytes, code: int, reason: str) -> None:
    assert parse_close(data) == (code, reason)


def test_codes_are_those_another_library_takes() -> None:
    for code in range(6000):
        data = code.to_bytes(2, "big")
        try:
            Close(code, "").check()
        except WebSocketException:
            with pytest.raises(Violation) as caught:
                parse_close(data)
            assert caught.value.code == PROTOCOL_ERROR
        else:
            assert parse_close(data) == (code, "")


@pytest.mark.parametrize(("data", "code"), [(b"\x03", PROTOCOL_ERROR), (b"\x03\xe8\xff", BAD_PAYLOAD)])
def test_bad_close(data: bytes, code: int) -> None:
    with pytest.raises(Violation) as caught:
        parse_close(data)
    assert caught.value.code == code


def test_a_long_reason_is_cut_at_a_character() -> None:
    data = close_payload(1002, "x" * 122 + "é" * 10)
    assert len(data) == 124
    assert parse_close(data) == (1002, "x" * 122)
    ABNF.create_frame(data, ABNF.OPCODE_CLOSE).validate()


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1000, "", "1000 normal"),
        (1008, "no", "1008 policy violation (no)"),
        (4000, "bye", "4000 (bye)"),
        (NO_STATUS, "", "without a code"),
    ],
)
def test_in_words(code: int, reason: str, words: str) -> None:
    assert in_words(code, reason) == words
