"""A stream of HTTP/2: how long an answer may be, and how long it is."""

from __future__ import annotations

import pytest

from aquests.errors import AquestsError, ProtocolError, TooLarge
from aquests.protocols.h2head import Fields
from aquests.protocols.h2stream import Stream
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
    assert got.x.body == body and got.x.head is got.head


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


def test_a_body_without_a_head() -> None:
    got = Stream(1, exchange(), 100, 100)
    error = got.add(b"a")
    assert isinstance(error, ProtocolError) and "without a head" in error.message
    error = Stream(1, exchange(), 100, 100).end()
    assert isinstance(error, ProtocolError) and "without a head" in error.message
