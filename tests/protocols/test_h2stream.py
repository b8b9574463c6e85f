"""A stream of HTTP/2: how long an answer may be, and how long it is."""

from __future__ import annotations

import random

import pytest

from aquests.errors import AquestsError, ProtocolError, TooLarge
from aquests.protocols.h2head import Fields
from aquests.protocols.h2stream import Stream
from aquests.protocols.http1 import MAX_INTERIM
from aquests.protocols.largebody import LARGE, PROVEN
from tests.loopback import exchange


def stream(
    status: str = "200", length: str | None = None, method: str = "GET", max_content: int | None = None
) -> tuple[Stream, AquestsError | None]:
    """A stream that has got its head, and what was wrong with that."""
    pairs = ((":status", status), *((("content-length", length),) if length is not None else ()))
    head = Fields(pairs).head
    assert head is not None
    stream = Stream(1, exchange(method=method, max_content=max_content), 100, 100)
    return stream, stream.begin(head)


@pytest.mark.parametrize(
    ("status", "length", "method", "pieces", "body"),
    [
        ("200", None, "GET", [], b""),
        ("200", None, "GET", [b"ab"], b"ab"),
        ("200", None, "GET", [b"a", b"b", b"c"], b"abc"),
        ("200", "3", "GET", [b"a", b"bc"], b"abc"),
        ("200", "0", "GET", [], b""),
        ("200", "3", "HEAD", [], b""),
        ("304", "3", "GET", [], b""),
        ("204", None, "POST", [], b""),
        ("500", "2", "POST", [b"no"], b"no"),
    ],
)
def test_answers(status: str, length: str | None, method: str, pieces: list[bytes], body: bytes) -> None:
    got, error = stream(status, length, method)
    assert error is None
    assert [got.add(piece) for piece in pieces] == [None] * len(pieces)
    assert got.end() is None
    assert got.x.body == body and got.x.head is not None


@pytest.mark.parametrize("length", [str(LARGE), None])
def test_a_large_body_has_a_buffer_of_its_length_when_some_of_it_has_come(length: str | None) -> None:
    got, _ = stream("200", length, max_content=LARGE)
    piece = random.Random(1).randbytes(PROVEN // 4)
    buffers: list[object] = []
    for _ in range(LARGE // len(piece)):
        assert got.add(memoryview(piece)) is None
        if got.body is not None and got.body not in buffers:
            buffers.append(got.body)
            assert got.body.tell() == (2 if len(buffers) == 1 else 4) * len(piece)
    assert len(buffers) == (2 if length else 1)
    assert got.end() is None
    assert got.x.body == piece * (LARGE // len(piece))


@pytest.mark.parametrize(
    ("status", "length", "method", "pieces", "words"),
    [
        ("200", "3", "GET", [b"ab"], "2 bytes where 3 were promised"),
        ("200", "1", "GET", [], "0 bytes where 1 were promised"),
        ("200", "3", "GET", [b"ab", b"cd"], "a body longer than 3 bytes"),
        ("200", "3", "HEAD", [b"abc"], "a body longer than 0 bytes"),
        ("204", None, "GET", [b"a"], "a body longer than 0 bytes"),
        ("304", "1", "GET", [b"a"], "a body longer than 0 bytes"),
    ],
)
def test_lengths_that_lie(status: str, length: str | None, method: str, pieces: list[bytes], words: str) -> None:
    got, _ = stream(status, length, method)
    error = next((error for piece in pieces if (error := got.add(piece))), None) or got.end()
    assert isinstance(error, ProtocolError) and words in error.message


def test_too_large() -> None:
    got, error = stream("200", "6", max_content=5)
    assert isinstance(error, TooLarge)
    got, error = stream("200", "5", max_content=5)
    assert error is None and got.add(b"12345") is None and got.end() is None
    got, error = stream("200", max_content=5)
    assert got.add(b"12345") is None
    assert isinstance(got.add(b"6"), TooLarge)
    assert stream("200", "6", "HEAD", max_content=5)[1] is None


def block(*pairs: tuple[str, str], status: str | None = "200") -> Fields:
    return Fields(((":status", status), *pairs) if status else pairs)


def test_interim_answers_a_head_and_trailers() -> None:
    got = Stream(1, exchange(), 100, 100)
    for _ in range(MAX_INTERIM):
        assert got.take(block(status="103"), False) is None
    assert got.x.head is None
    assert got.take(block(), False) is None
    assert got.x.head is not None
    assert got.take(block(("x", "y"), status=None), True) is None
    assert got.x.trailers == (("x", "y"),)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([(block(("X", "y")), True)], "bad field name"),
        ([(block(("x", "y"), status=None), True)], "no :status"),
        ([(block(status="103"), True)], "a final 103"),
        ([(block(status="101"), False)], "101 Switching Protocols"),
        ([(block(status="103"), False)] * (MAX_INTERIM + 1), "over 64 interim answers"),
        ([(block(), False), (block(), True)], "a second head"),
        ([(block(), False), (block(("x", "y"), status=None), False)], "trailers in the middle"),
        ([(block(), False), (block(("X", "y"), status=None), True)], "bad field name"),
    ],
)
def test_blocks_out_of_place(blocks: list[tuple[Fields, bool]], words: str) -> None:
    got = Stream(1, exchange(), 100, 100)
    errors = [got.take(fields, last) for fields, last in blocks]
    assert errors[:-1] == [None] * (len(blocks) - 1)
    assert isinstance(errors[-1], ProtocolError) and words in errors[-1].message


def test_a_body_without_a_head() -> None:
    got = Stream(1, exchange(), 100, 100)
    error = got.add(b"a")
    assert isinstance(error, ProtocolError) and "without a head" in error.message
    error = Stream(1, exchange(), 100, 100).end()
    assert isinstance(error, ProtocolError) and "without a head" in error.message
