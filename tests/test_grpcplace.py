"""What all calls to a server share: bodies and headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aquests.errors import RequestError
from aquests.exchange import Request
from aquests.grpcplace import MAX_TERMS, Place, a
from tests.face import own_engine
from tests.servers_grpc import note


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine():
        yield


def test_where_calls_go() -> None:
    place = Place("http://h:1/p.S", {})
    assert place.target == "/p.S" and place.endpoint is Place("http://h:1", {"timeout": 1}).endpoint
    assert place.endpoint.options == {"h2c": "prior"}
    assert place.endpoint is not Place("http://h:1", {"verify": False}).endpoint
    unix = Place("http://h:1/", {"unix": "/sock"}).endpoint
    assert (unix.unix, unix.host_header) == ("/sock", "h:1")


def test_requests() -> None:
    place = Place("https://h:1/", {"metadata": {"x": "1"}, "ca": "/ca"})
    request = place.prepare("/p.S/M", "gzip", metadata={"y": "2"}, timeout=3, meta={"a": 1})
    assert (request.method, request.url, request.kind) == ("POST", "https://h:1/p.S/M", "grpc")
    assert request.options == {"timeout": 3, "deadline": 3} and request.endpoint.options["ca"] == "/ca"
    assert dict(request.headers).items() >= {"x": "1", "y": "2", "grpc-encoding": "gzip"}.items()
    assert request.payload is None and request.codec is None and request.req_id == -1


@pytest.mark.parametrize(
    "options", [{}, {"timeout": 3, "metadata": {"x": "1"}, "meta": {"a": 1}, "compression": "gzip"}]
)
def test_usual_requests_are_like_those_that_are_prepared(options: dict[str, Any]) -> None:
    place = Place("http://h:1/", dict(options))
    codec = place.codec(bytes, False)
    message = b"message " * 9
    usual = place.usual("/p.S/M", bytes, codec).request(message, print)
    coding = options.get("compression", "identity")
    other = place.prepare("/p.S/M", coding, callback=print)
    other.payload, other.codec = place.body(message, bytes, False, coding), codec
    names = [name for name in Request.__slots__ if name != "queued_at"]
    assert [getattr(usual, name) for name in names] == [getattr(other, name) for name in names]


def test_credentials_are_metadata() -> None:
    with pytest.raises(RequestError, match="metadata") as raised:
        Place("https://u:secret@h:1/", {})
    assert "secret" not in str(raised.value)


def test_equal_headers_are_made_once() -> None:
    place = Place("http://h:1/", {})
    first = place.prepare("/p.S/M", "identity", timeout=3)
    assert place.prepare("/p.S/N", "identity", timeout=3).headers is first.headers
    for number in range(2 * MAX_TERMS):
        assert place.prepare("/p.S/M", "identity", metadata={"n": str(number)}).headers[-1] == ("n", str(number))


def test_headers_that_cannot_be_kept() -> None:
    place = Place("http://h:1/", {})
    for value in (bytearray(b"a"), bytearray(b"b")):
        assert place.prepare("/p.S/M", "identity", metadata={"x-bin": value}).headers[-1][0] == "x-bin"
    with pytest.raises(RequestError, match="must be ASCII text"):
        place.prepare("/p.S/M", "identity", metadata={"x": ["a"]})


def test_bodies() -> None:
    place = Place("http://h:1/", {})
    assert place.body(b"ab", bytes, False, "identity") == b"\0\0\0\0\2ab"
    taken: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b"x"

    body = place.body(endless(), bytes, True, "identity")
    assert not taken and body.length is None
    assert body.read(100) == b"\0\0\0\0\1x" and len(taken) == 1
    whole = place.body([b"a", b""], bytes, True, "identity")
    assert whole.rewindable and [whole.read(100), whole.read(100), whole.read(100)] == [
        b"\0\0\0\0\1a",
        b"\0\0\0\0\0",
        b"",
    ]


@pytest.mark.parametrize("message", [b"ab", "ab", {"a": 1}, 5, None, note()])
def test_what_is_no_stream(message: Any) -> None:
    with pytest.raises(RequestError, match="takes a stream"):
        Place("http://h:1/", {}).body(message, bytes, True, "identity")


def test_names_for_messages() -> None:
    assert (a(note()), a(5)) == ("a aquests.test.Note", "a value of type int")
