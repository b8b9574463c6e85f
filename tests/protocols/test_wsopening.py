"""The opening: the request that is sent, and which 101 answers it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.headers import parse_connection, parse_extension, parse_subprotocol, parse_upgrade
from websockets.utils import accept_key

from aquests.errors import ProtocolError
from aquests.protocols.http1head import parse_head
from aquests.protocols.wsopening import Opening, accept_for
from aquests.version import __version__
from tests.wsbytes import KEY, answer, make_exchange


def opening(**options: Any) -> Opening:
    return Opening(SimpleNamespace(scheme="ws", host_header="example.com", options=options))


def test_the_example_of_the_rfc() -> None:
    """RFC 6455 1.3."""
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    assert accept_for(key) == accept_key(key) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_request_to_the_letter() -> None:
    x = make_exchange(headers=(("Origin", "http://example.com"), ("User-Agent", None), ("Cookie", "a=b")))
    assert opening(compression=False).request(x, KEY).decode() == (
        "GET /chat?room=1 HTTP/1.1\r\n"
        "Host: example.com\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Origin: http://example.com\r\n"
        "Cookie: a=b\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\n"
        "\r\n"
    )


def test_a_request_read_by_another_library() -> None:
    sent = opening(subprotocols=("chat", "superchat"), compression="server_max_window_bits=10").request(
        make_exchange(), KEY
    )
    line, *lines = sent.decode().rstrip("\r\n").split("\r\n")
    assert line == "GET /chat?room=1 HTTP/1.1"
    headers = Headers([(name, value) for name, _, value in (one.partition(": ") for one in lines)])
    assert parse_connection(headers["Connection"]) == ["Upgrade"] and parse_upgrade(headers["Upgrade"]) == ["websocket"]
    assert parse_subprotocol(headers["Sec-WebSocket-Protocol"]) == ["chat", "superchat"]
    extension = ("permessage-deflate", [("server_max_window_bits", "10")])
    assert parse_extension(headers["Sec-WebSocket-Extensions"]) == [extension]
    assert headers["User-Agent"] == f"aquests/{__version__}"


def test_the_default_offer() -> None:
    sent = opening().request(make_exchange(), KEY)
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" in sent
    assert b"Sec-WebSocket-Protocol" not in sent
    assert b"Extensions" not in opening(compression=False).request(make_exchange(), KEY)


def agree(data: bytes, **options: Any) -> Any:
    head = parse_head(data.removesuffix(b"\r\n\r\n"))
    return opening(**options).agreed(head, KEY)


def test_good_answers() -> None:
    assert agree(answer()) is None
    assert agree(answer("Sec-WebSocket-Extensions: permessage-deflate")) is not None
    assert agree(answer("Sec-WebSocket-Protocol: b"), subprotocols=("a", "b")) is None
    assert agree(answer(), subprotocols=("a", "b")) is None
    odd = answer().replace(b"Upgrade: websocket", b"UPGRADE:WebSocket").replace(b": Upgrade", b": keep-alive , uPGRADE")
    assert agree(odd) is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"Upgrade: websocket\r\n", b"", "does not upgrade to websocket"),
        (b"websocket", b"h2c", "does not upgrade to websocket"),
        (b"websocket", b"websocket, h2c", "does not upgrade to websocket"),
        (b"Connection: Upgrade\r\n", b"", "no 'Connection: Upgrade'"),
        (b"Connection: Upgrade", b"Connection: close", "no 'Connection: Upgrade'"),
        (b"Connection: Upgrade", b"Connection: upgraded", "no 'Connection: Upgrade'"),
        (accept_for(KEY).encode(), accept_for(KEY).lower().encode(), "does not answer our key"),
        (accept_for(KEY).encode(), b"", "does not answer our key"),
        (b"Sec-WebSocket-Accept", b"X-Accept", "does not answer our key"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: c\r\n\r\n", "subprotocol that was not offered: 'c'"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: A\r\n\r\n", "subprotocol that was not offered"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a, b\r\n\r\n", "subprotocol that was not offered"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: foo\r\n\r\n", "extension that was not offered: 'foo'"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: twice\r\n\r\n", "does not answer our key"),
    ],
)
def test_bad_answers(old: bytes, new: bytes, says: str) -> None:
    data = answer()
    assert old in data
    with pytest.raises(ProtocolError, match=says):
        agree(data.replace(old, new, 1), subprotocols=("a", "b"))


def test_compression_that_was_not_offered() -> None:
    with pytest.raises(ProtocolError, match="not offered: 'permessage-deflate'"):
        agree(answer("Sec-WebSocket-Extensions: permessage-deflate"), compression=False)
