"""Huffman coding: whatever the bytes, what the hpack package makes of them."""

from __future__ import annotations

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman as judge
from hypothesis import given
from hypothesis import strategies as st

from aquests.protocols.h2frames import COMPRESSION_ERROR, Fault
from aquests.protocols.h2huffman import decode_huffman

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=60))
def test_what_was_encoded(text: bytes) -> None:
    assert decode_huffman(ENCODER.encode(text)) == text.decode("latin-1")


@given(st.binary(max_size=8))
def test_any_bytes(raw: bytes) -> None:
    try:
        expected = judge(raw).decode("latin-1")
    except HPACKDecodingError:
        with pytest.raises(Fault) as caught:
            decode_huffman(raw)
        assert caught.value.code == COMPRESSION_ERROR
    else:
        assert decode_huffman(raw) == expected


@pytest.mark.parametrize("raw", [b"\xff", b"\xff\xff\xff\xff", b"\x00", ENCODER.encode(b"abc") + b"\xff"])
def test_bad_ones(raw: bytes) -> None:
    with pytest.raises(Fault):
        decode_huffman(raw)
