"""Any bytes from a server of HTTP/2: each request ends with an answer or a typed error, nothing is raised."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests.errors import AquestsError, Cancelled
from aquests.protocols import h2frames as h2
from aquests.protocols.http2 import Http2
from aquests.protocols.web import lines
from aquests.settings import Settings
from tests.conformance import Harness, mutated
from tests.loopback import Pieces, exchange
from tests.protocols.h2peer import SETTINGS, SWITCHED, Talk, answer, origin, place

ROUNDS = 300


def make_wire() -> Http2:
    return Http2(origin(4))


def play(harness: Harness, pieces: list[bytes]) -> None:
    """Four requests, two of them with bodies, then the bytes, then the end."""
    harness.open()
    payloads = [None, b"x" * 100_000, Pieces(b"a", b"b" * 70_000), None]
    for number, piece in enumerate(pieces):
        if harness.wire.room and number < len(payloads):
            harness.submit(exchange(payloads[number], method="PUT" if payloads[number] else "GET"))
        harness.feed([piece])
    if not harness.ended:
        harness.receive_eof()
    harness.abandon(harness.wire.error or Cancelled("closed"))
    assert len(harness.done) == len(harness.submitted)
    for x in harness.done:
        assert x.error is None or isinstance(x.error, AquestsError)


frames = st.builds(
    lambda kind, flags, stream, payload: h2.frame(kind, flags, stream, payload),
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5, 8, 9, 12, 13, 0x20, 0x25, 0xFF]),
    st.sampled_from([0, 1, 1, 3, 3, 5, 7, 9, 2, h2.MOST]),
    st.one_of(
        st.sampled_from(
            [b"", b"\x88", b"\x88\x40\x01a\x01b", b"\xbe", b"\0\0\0\1", b"\x7f\xff\xff\xff", bytes(5), bytes(8)]
        ),
        st.sampled_from([b"\0\3\0\0\0\1", b"\0\4\0\0\0\0", b"\0\4\x7f\xff\xff\xff", b"\0\5\0\0\x40\0"]),
        st.binary(max_size=20),
    ),
)


@settings(max_examples=400)
@given(st.lists(frames, max_size=12))
def test_frames_of_all_kinds(said: list[bytes]) -> None:
    play(Harness(make_wire()), [SETTINGS, *said])


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_bytes_of_all_kinds(said: list[bytes]) -> None:
    play(Harness(make_wire()), said)


def conversation() -> list[bytes]:
    """What a real server says to four requests."""
    talk = Talk(4, {4: 1 << 20})
    heard: list[bytes] = []
    feed = talk.harness.feed

    def overhear(pieces: Iterable[bytes]) -> None:
        heard.extend(said := list(pieces))
        feed(said)

    for number in range(4):
        talk.ask(url=f"http://peer/{number}")
    talk.harness.feed = overhear  # type: ignore[method-assign]
    for stream in (3, 1, 7, 5):
        talk.answer(stream, fields=[("x", "y" * stream)], body=b"z" * stream * 100, trailers=[("t", "u")], padding=3)
    return [SETTINGS, *heard]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_damaged_answers(seed: int) -> None:
    chance = random.Random(seed)
    play(Harness(make_wire()), [mutated(piece, chance) if piece is not SETTINGS else piece for piece in conversation()])


@pytest.mark.parametrize("seed", range(ROUNDS // 3))
def test_damaged_upgrades(seed: int) -> None:
    chance = random.Random(seed)
    harness = Harness(lines(place(h2c="upgrade"), "", (), Settings(http2_constreams=4))(None))
    data = SWITCHED + SETTINGS + answer(1, b"one") + answer(3, b"two")
    cut = chance.randint(0, len(data))
    damaged = mutated(data, chance)
    play(harness, [damaged[:cut], damaged[cut:], answer(5), answer(7)])
