"""Bodies that share a line of HTTP/2: turns, windows, ends."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import RequestError
from aquests.protocols.h2frames import FLOW_CONTROL_ERROR, LEAST_FRAME, MOST, WINDOW, Fault
from aquests.protocols.h2stream import Stream
from aquests.protocols.h2upload import PIECE, SMALLEST, Upload, Uploads, Whole
from tests.loopback import Pieces, exchange
from tests.protocols.h2peer import parse

WIDE = 1 << 30


def open_line() -> Uploads:
    """Windows that do not matter."""
    uploads = Uploads()
    uploads.window = uploads.initial = WIDE
    return uploads


def stream(uploads: Uploads, number: int = 1) -> Stream:
    return Stream(number, exchange(), 0, uploads.initial)


def sent(outbox: list[bytes]) -> list[tuple[int, bytes, bool]]:
    """What was sent: stream, data, the last of it?"""
    data, outbox[:] = b"".join(outbox), []
    return [(frame.stream_id, frame.data, "END_STREAM" in frame.flags) for frame in parse(data)]


def everything(uploads: Uploads) -> list[tuple[int, bytes, bool]]:
    """All that the windows let out."""
    outbox: list[bytes] = []
    while uploads.hungry():
        assert uploads.produce(outbox) == []
    return sent(outbox)


# One body


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [1, 5, 100, 70_000])
@pytest.mark.parametrize("most", [1, 7, 20_000])
def test_it_is_taken_in_pieces(known: bool, size: int, most: int) -> None:
    if size // most > 20_000:
        return
    data = random.Random(size).randbytes(size)
    pieces = [data[at : at + 1000] for at in range(0, size, 1000)]
    upload = Upload(Pieces(*pieces, length=size if known else None))
    taken: list[bytes] = []
    last = False
    while not last:
        piece, last = upload.take(most)
        assert len(piece) <= most
        assert piece or not known
        taken.append(bytes(piece))
    assert b"".join(taken) == data
    assert (taken[-1] == b"") is not known


def test_the_end_of_an_unknown_length_needs_no_window() -> None:
    upload = Upload(Pieces(b"abc"))
    assert upload.ready(0)
    assert upload.take(0) == (b"", False)
    assert not upload.ready(0) and not upload.ready(-5)
    assert upload.take(2) == (b"ab", False)
    assert not upload.ready(0)
    assert upload.take(2) == (b"c", False)
    assert upload.ready(0)
    assert upload.take(0) == (b"", True)


def test_a_known_length_waits_for_the_window() -> None:
    upload = Upload(Pieces(b"abc", length=3))
    assert not upload.ready(0)
    assert upload.take(3) == (b"abc", True)


def test_the_next_piece_is_not_asked_for_before_its_time() -> None:
    pieces = Pieces(b"abc", b"def")
    upload = Upload(pieces)
    assert upload.take(10) == (b"abc", False)
    assert pieces.reads == 1


def test_bytes_as_a_source() -> None:
    whole = Whole(b"x" * (PIECE + 1))
    assert whole.length == PIECE + 1
    assert [len(whole.read()) for _ in range(3)] == [PIECE, 1, 0]


# Small ones


@pytest.mark.parametrize("size", [1, LEAST_FRAME, LEAST_FRAME + 1, WINDOW])
def test_small_ones_go_at_once(size: int) -> None:
    uploads = Uploads()
    one = stream(uploads)
    data = random.Random(size).randbytes(size)
    frames = uploads.at_once(one, data)
    assert frames is not None
    pieces = sent([frames])
    assert b"".join(piece for _, piece, _ in pieces) == data
    assert [last for _, _, last in pieces] == [*[False] * (len(pieces) - 1), True]
    assert max(len(piece) for _, piece, _ in pieces) <= LEAST_FRAME
    assert (uploads.window, one.window) == (WINDOW - size,) * 2


@pytest.mark.parametrize("reason", ["line", "stream", "size", "others"])
def test_unless(reason: str) -> None:
    uploads = open_line()
    one = stream(uploads)
    data = b"12345"
    if reason == "line":
        uploads.window = 4
    elif reason == "stream":
        uploads.initial = 4
    elif reason == "size":
        data = bytes(PIECE + 1)
    else:
        uploads.add(stream(uploads, 3), Whole(b"x"))
    before = (uploads.window, one.window)
    assert uploads.at_once(one, data) is None
    assert (uploads.window, one.window) == before


# Turns


def test_each_has_its_turn() -> None:
    uploads = open_line()
    for number in (1, 3, 5):
        uploads.add(stream(uploads, number), Whole(bytes(3 * LEAST_FRAME)))
    assert [number for number, _, _ in everything(uploads)] == [1, 3, 5] * 3
    assert not uploads and not uploads.hungry()


def test_a_round_is_bounded() -> None:
    uploads = open_line()
    uploads.add(stream(uploads), Whole(bytes(10 * PIECE)))
    outbox: list[bytes] = []
    uploads.produce(outbox)
    assert sum(len(data) for _, data, _ in sent(outbox)) == PIECE
    uploads = open_line()
    uploads.add(stream(uploads), Pieces(*[b"x"] * 1000))
    uploads.produce(outbox)
    assert len(sent(outbox)) == PIECE // SMALLEST


def test_a_closed_window_stops_one_and_not_the_others() -> None:
    uploads = open_line()
    one, other = stream(uploads, 1), stream(uploads, 3)
    one.window = 10
    for each in (one, other):
        uploads.add(each, Whole(bytes(20_000)))
    assert Counter(number for number, _, _ in everything(uploads)) == {1: 1, 3: 2}
    assert len(uploads) == 1 and not uploads.hungry()
    uploads.widen(one, 5)
    assert uploads.hungry()
    assert everything(uploads) == [(1, bytes(5), False)]
    uploads.widen(one, 100_000)
    assert sum(len(data) for _, data, _ in everything(uploads)) == 20_000 - 15
    assert not uploads


def test_the_window_of_the_line_stops_all() -> None:
    uploads = Uploads()
    uploads.initial = WIDE
    for number in (1, 3):
        uploads.add(stream(uploads, number), Whole(bytes(50_000)))
    assert sum(len(data) for _, data, _ in everything(uploads)) == WINDOW
    uploads.widen(None, 1)
    assert len(everything(uploads)) == 1
    uploads.widen(None, WIDE)
    assert [last for _, _, last in everything(uploads)][-2:] == [True, True]


def test_the_end_passes_a_closed_window() -> None:
    uploads = Uploads()
    uploads.window = 3
    uploads.add(stream(uploads), Pieces(b"abc"))
    assert everything(uploads) == [(1, b"abc", False), (1, b"", True)]


def test_one_that_fails_leaves_the_others() -> None:
    uploads = open_line()
    fault = RequestError("the file is gone")
    one, other = stream(uploads, 1), stream(uploads, 3)
    uploads.add(one, Pieces(b"a", fault))
    uploads.add(other, Whole(bytes(2 * LEAST_FRAME)))
    outbox: list[bytes] = []
    assert uploads.produce(outbox) == [(one, fault)]
    assert not one.uploading
    assert [number for number, _, _ in sent(outbox)] == [1, 3, 3]
    assert not uploads


def test_one_that_nobody_wants_any_more() -> None:
    uploads = open_line()
    one, other = stream(uploads, 1), stream(uploads, 3)
    for each in (one, other):
        uploads.add(each, Whole(b"x"))
    uploads.remove(one)
    assert everything(uploads) == [(3, b"x", True)]


def test_what_the_peer_takes_is_progress() -> None:
    uploads = open_line()
    one = stream(uploads)
    uploads.add(one, Whole(b"x"))
    assert one.x.mark == 0
    everything(uploads)
    assert one.x.mark != one.x.progress


# Windows


def test_a_new_initial_window_holds_for_all() -> None:
    uploads = Uploads()
    one, other = stream(uploads, 1), stream(uploads, 3)
    uploads.add(one, Whole(bytes(40_000)))
    everything(uploads)
    uploads.change(30_000, [one, other])
    assert (one.window, other.window, stream(uploads).window) == (-10_000, 30_000, 30_000)
    uploads.change(WINDOW, [one, other])
    assert (one.window, other.window) == (WINDOW - 40_000, WINDOW)


@pytest.mark.parametrize("line", [True, False])
def test_windows_have_a_most(line: bool) -> None:
    uploads = Uploads()
    one = stream(uploads)
    uploads.widen(None if line else one, MOST - WINDOW)
    with pytest.raises(Fault) as caught:
        uploads.widen(None if line else one, 1)
    assert caught.value.code == FLOW_CONTROL_ERROR


def test_so_have_those_that_a_setting_widens() -> None:
    uploads = Uploads()
    one = stream(uploads)
    uploads.change(MOST, [one])
    one.window += 1
    uploads.change(MOST - 1, [one])
    with pytest.raises(Fault) as caught:
        uploads.change(MOST, [one])
    assert caught.value.code == FLOW_CONTROL_ERROR


@given(
    st.lists(st.tuples(st.integers(1, 100_000), st.booleans()), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60_000)), max_size=30),
)
def test_never_more_than_the_windows_let_out(bodies: list[tuple[int, bool]], updates: list[tuple[int, int]]) -> None:
    uploads = Uploads()
    streams: list[Stream] = []
    allowed: dict[int, int] = {0: WINDOW}
    got: dict[int, bytes] = {}
    ended: set[int] = set()

    def check(frames: list[tuple[int, bytes, bool]]) -> None:
        for number, data, last in frames:
            assert number not in ended, "data behind the end"
            got[number] += data
            allowed[0] -= len(data)
            allowed[number] -= len(data)
            assert allowed[0] >= 0 and allowed[number] >= 0
            if last:
                ended.add(number)

    wanted: dict[int, bytes] = {}
    for index, (size, known) in enumerate(bodies):
        one = stream(uploads, 2 * index + 1)
        data: Any = random.Random(size).randbytes(size)
        wanted[one.number], got[one.number], allowed[one.number] = data, b"", WINDOW
        uploads.add(one, Whole(data) if known else Pieces(data))
        streams.append(one)
    check(everything(uploads))
    for which, more in [*updates, *((index, 1 << 20) for index in range(6))]:
        target = streams[which - 1] if 0 < which <= len(streams) else None
        allowed[target.number if target else 0] += more
        uploads.widen(target, more)
        check(everything(uploads))
    assert got == wanted and ended == wanted.keys() and not uploads
