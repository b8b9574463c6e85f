"""Plain messages: the same to a line as any others, and framed already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import RequestError
from aquests.protocols.wsframes import BINARY, TEXT, Messages, encode
from aquests.protocols.wsmessage import BINARY_STARTS, BITS, MAX_PLAIN, REPEAT, TEXT_STARTS, Plain

STARTS = {TEXT: TEXT_STARTS, BINARY: BINARY_STARTS}


def plain(opcode: int, data: bytes) -> Plain:
    return Plain(STARTS[opcode][len(data)] + data)


@pytest.mark.parametrize("opcode", STARTS)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 64, MAX_PLAIN])
def test_it_is_a_frame_with_a_key_of_zeros(opcode: int, size: int) -> None:
    data = bytes(range(size))
    assert plain(opcode, data).frame == encode(opcode, data, bytes(4))


@pytest.mark.parametrize("opcode", STARTS)
def test_there_is_a_start_for_every_size(opcode: int) -> None:
    assert len(STARTS[opcode]) == MAX_PLAIN + 1
    for size, start in enumerate(STARTS[opcode]):
        assert start == encode(opcode, bytes(size), bytes(4))[: len(start)]


@given(st.sampled_from([TEXT, BINARY]), st.binary(max_size=MAX_PLAIN), st.binary(min_size=4, max_size=4))
def test_a_key_is_repeated_behind_the_head(opcode: int, data: bytes, key: bytes) -> None:
    frame = plain(opcode, data).frame
    mask = int.from_bytes(key, "little") * REPEAT & BITS[len(frame)]
    masked = (int.from_bytes(frame, "little") ^ mask).to_bytes(len(frame), "little")
    assert masked == encode(opcode, data, key)


@pytest.mark.parametrize("item", [(TEXT, b""), (TEXT, b"hello"), (BINARY, bytes(MAX_PLAIN))], ids=str)
def test_it_is_like_other_messages(item: tuple[int, bytes]) -> None:
    one, other = plain(*item), Messages([item])
    assert (one.items, one.replies, one.pings, one.sent) == (other.items, other.replies, other.pings, other.sent)
    assert 0 < one.size <= other.size


def test_it_is_not_rewound_once_it_is_sent() -> None:
    message = plain(TEXT, b"x")
    message.rewind()
    message.sent = True
    with pytest.raises(RequestError, match="not sent twice"):
        message.rewind()
