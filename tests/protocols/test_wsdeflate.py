"""permessage-deflate: the offer, what a server may agree to, and both directions against another implementation."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from aquests.errors import ProtocolError, RequestError
from aquests.protocols.wsdeflate import MIN_SIZE, Deflate, Offer
from aquests.protocols.wsframes import BINARY, PING, PROTOCOL_ERROR, TEXT, TOO_BIG, Violation
from tests.wsbytes import bomb

PLENTY = 1 << 24


@pytest.mark.parametrize(
    ("parameters", "header"),
    [
        ("", "permessage-deflate"),
        (" ", "permessage-deflate"),
        ("client_max_window_bits", "permessage-deflate; client_max_window_bits"),
        ("client_max_window_bits = 10", "permessage-deflate; client_max_window_bits=10"),
        (
            "server_no_context_takeover;client_no_context_takeover;server_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
        ),
    ],
)
def test_offers(parameters: str, header: str) -> None:
    assert Offer(parameters).header == header


@pytest.mark.parametrize(
    "parameters",
    [
        "x",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=08",
        "client_max_window_bits=",
        "server_max_window_bits",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits, permessage-deflate",
        "client_max_window_bits\r\nX: y",
        ";",
    ],
)
def test_offers_that_cannot_be(parameters: str) -> None:
    with pytest.raises(RequestError, match="compression: "):
        Offer(parameters)


def agreed(answer: str, offer: str = "client_max_window_bits") -> tuple[int, bool, bool]:
    deflate = Offer(offer).accepted(answer)
    return deflate._bits, deflate._takeover, deflate._server_takeover


@pytest.mark.parametrize(
    ("offer", "answer", "expected"),
    [
        ("", "permessage-deflate", (15, True, True)),
        ("", " Permessage-Deflate ", (15, True, True)),
        ("", "permessage-deflate; server_max_window_bits=8", (15, True, True)),
        ("", "permessage-deflate; server_no_context_takeover", (15, True, False)),
        ("", "permessage-deflate; client_no_context_takeover", (15, False, True)),
        ("client_max_window_bits", "permessage-deflate; client_max_window_bits=9", (9, True, True)),
        ("client_max_window_bits", 'permessage-deflate;client_max_window_bits="12"', (12, True, True)),
        ("client_max_window_bits=10", "permessage-deflate", (10, True, True)),
        ("client_max_window_bits=10", "permessage-deflate; client_max_window_bits=9", (9, True, True)),
        ("client_no_context_takeover", "permessage-deflate", (15, False, True)),
        ("server_max_window_bits=10", "permessage-deflate; server_max_window_bits=9", (15, True, True)),
    ],
)
def test_answers(offer: str, answer: str, expected: tuple[int, bool, bool]) -> None:
    assert agreed(answer, offer) == expected


@pytest.mark.parametrize(
    ("offer", "answer", "says"),
    [
        ("", "x-webkit-deflate-frame", "was not offered"),
        ("", "permessage-deflate, permessage-deflate", "not offered"),
        ("", "permessage-deflate; x=1", "bad or repeated"),
        ("", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "bad or repeated"),
        ("", "permessage-deflate; server_no_context_takeover=1", "takes no value"),
        ("", "permessage-deflate; server_max_window_bits", "takes a value"),
        ("", "permessage-deflate; server_max_window_bits=16", "takes a value"),
        ("", 'permessage-deflate; server_max_window_bits="9', "bad or repeated"),
        ("", "permessage-deflate; client_max_window_bits=9", "client_max_window_bits was not offered"),
        ("client_max_window_bits", "permessage-deflate; client_max_window_bits", "without a value"),
        ("client_max_window_bits=9", "permessage-deflate; client_max_window_bits=10", "not as it was offered"),
        ("server_max_window_bits=10", "permessage-deflate", "not as it was offered"),
        ("server_max_window_bits=10", "permessage-deflate; server_max_window_bits=11", "not as it was offered"),
        ("server_no_context_takeover", "permessage-deflate", "asked for and is missing"),
    ],
)
def test_answers_that_cannot_be(offer: str, answer: str, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        Offer(offer).accepted(answer)


MESSAGES = [
    b"",
    b"x",
    b'{"op": "subscribe", "channel": "trades"}' * 4,
    random.Random(1).randbytes(70_000),
    b"y" * 200_000,
]


def theirs(bits: int, takeover: bool, server_takeover: bool) -> PerMessageDeflate:
    """The server's end."""
    return PerMessageDeflate(
        remote_no_context_takeover=not takeover,
        local_no_context_takeover=not server_takeover,
        remote_max_window_bits=bits,
        local_max_window_bits=15,
    )


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("server_takeover", [True, False])
def test_both_directions_against_another_implementation(bits: int, takeover: bool, server_takeover: bool) -> None:
    server = theirs(bits, takeover, server_takeover)
    ours = Deflate(bits, takeover, server_takeover)
    for message in [*MESSAGES, *reversed(MESSAGES)]:
        packed = b"".join(ours.pieces(message, 65536)) or b"\0"
        assert server.decode(Frame(Opcode.BINARY, packed, rsv1=True)).data == message
        answer = server.encode(Frame(Opcode.BINARY, message)).data
        for size in (1 << 20, 1000):
            if size == 1000 and server_takeover:
                continue  # this window has seen the message already
            pieces = [answer[at : at + size] for at in range(0, len(answer), size)] or [b""]
            inflated = [ours.inflate(bytes(piece), PLENTY, piece is pieces[-1]) for piece in pieces]
            assert b"".join(inflated) == message


def test_the_window_is_kept_or_not() -> None:
    message = random.Random(2).randbytes(1000)
    keeps, forgets = Deflate(), Deflate(takeover=False)
    first, again = (b"".join(keeps.pieces(message, 65536)) for _ in range(2))
    assert len(again) < 50 < len(first)
    one, two = (b"".join(forgets.pieces(message, 65536)) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("opcode", "data", "bits", "worth"),
    [
        (TEXT, b"x" * MIN_SIZE, 15, True),
        (BINARY, b"x" * MIN_SIZE, 9, True),
        (TEXT, b"x" * (MIN_SIZE - 1), 15, False),
        (TEXT, b"x" * MIN_SIZE, 8, False),
        (PING, b"x" * MIN_SIZE, 15, False),
    ],
)
def test_what_is_worth_it(opcode: int, data: bytes, bits: int, worth: bool) -> None:
    assert Deflate(bits).worth(opcode, data) is worth


# The examples of RFC 7692 7.2.3

HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")


@pytest.mark.parametrize(
    "payload",
    [
        HELLO,
        bytes.fromhex("00 05 00 fa ff 48 65 6c 6c 6f 00"),  # a block without compression
        bytes.fromhex("f3 48 cd c9 c9 07 00 00"),  # a block with BFINAL
        bytes.fromhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00"),  # two blocks
    ],
)
def test_the_examples_of_the_rfc(payload: bytes) -> None:
    for size in (1, 3, 100):
        deflate = Deflate()
        for _ in range(3):
            at = range(0, len(payload), size)
            pieces = [deflate.inflate(payload[i : i + size], 5, i == at[-1]) for i in at]
            assert b"".join(pieces) == b"Hello"


def test_the_window_of_the_example() -> None:
    deflate = Deflate()
    assert deflate.inflate(HELLO, 5, True) == b"Hello"
    assert deflate.inflate(bytes.fromhex("f2 00 11 00 00"), 5, True) == b"Hello"


def test_a_final_block_without_its_padding() -> None:
    """Not what RFC 7692 7.2.3.4 says, but what some servers send."""
    deflate = Deflate()
    for _ in range(3):
        assert deflate.inflate(bytes.fromhex("f3 48 cd c9 c9 07 00"), 5, True) == b"Hello"


def test_empty_messages() -> None:
    deflate = Deflate()
    assert deflate.inflate(b"\0", 0, True) == b""
    assert deflate.inflate(HELLO, 5, True) == b"Hello"
    assert Deflate().inflate(b"", 0, True) == b""


# Limits


@pytest.mark.parametrize("room", [0, 1, 4, 5])
def test_the_limit_is_exact(room: int) -> None:
    if room == 5:
        assert Deflate().inflate(HELLO, room, True) == b"Hello"
        return
    with pytest.raises(Violation) as caught:
        Deflate().inflate(HELLO, room, True)
    assert caught.value.code == TOO_BIG


def test_a_bomb_is_stopped_while_it_inflates() -> None:
    data = bomb(200_000_000)
    assert len(data) < 250_000
    tracemalloc.start()
    with pytest.raises(Violation) as caught:
        Deflate().inflate(data, 100_000, True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == TOO_BIG
    assert peak < 2_000_000


def test_many_streams_in_one_message_are_refused() -> None:
    final = zlib.compressobj(wbits=-15)
    empty = final.compress(b"") + final.flush()
    with pytest.raises(Violation) as caught:
        Deflate().inflate(empty * 100_000, PLENTY, True)
    assert caught.value.code == PROTOCOL_ERROR
    deflate = Deflate()
    for _ in range(200):  # … but not in many messages
        deflate.inflate(empty + b"\0", PLENTY, True)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_inflate_or_are_refused(pieces: list[bytes]) -> None:
    deflate = Deflate()
    try:
        for number, piece in enumerate(pieces):
            assert len(deflate.inflate(piece, 1000, number % 2 == 1)) <= 1000
    except Violation as violation:
        assert violation.code in (PROTOCOL_ERROR, TOO_BIG)
