"""Frames of HTTP/2: what is written is read back by hyperframe, what is wrong by itself is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hyperframe.frame import ContinuationFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame
from hypothesis import given
from hypothesis import strategies as st

from aquests.protocols import h2frames as h2
from aquests.protocols.h2frames import Fault, HeaderBlock
from aquests.protocols.http1head import MAX_HEAD
from tests.protocols.h2peer import parse


@given(st.integers(0, 9), st.integers(0, 255), st.integers(0, h2.MOST), st.binary(max_size=40000))
def test_a_head_is_read_as_it_was_written(kind: int, flags: int, stream: int, payload: bytes) -> None:
    data = h2.frame(kind, flags, stream, payload)
    high, low, what, number = h2.unpack_head(data, 0)
    assert (high << 16 | low, what >> 8, what & 0xFF, number) == (len(payload), kind, flags, stream)
    assert data[h2.HEAD :] == payload


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("size", "sizes"), [(0, [0]), (5, [5]), (10, [10]), (11, [10, 1]), (35, [10, 10, 10, 5])])
def test_headers_are_continued(size: int, sizes: list[int], last: bool) -> None:
    block = bytes(range(size))
    frames = parse(h2.headers(block, 3, last, 10))
    assert [type(frame) for frame in frames] == [HeadersFrame, *[ContinuationFrame] * (len(sizes) - 1)]
    assert [len(frame.data) for frame in frames] == sizes
    assert b"".join(frame.data for frame in frames) == block
    assert [frame.stream_id for frame in frames] == [3] * len(frames)
    assert ["END_HEADERS" in frame.flags for frame in frames] == [*[False] * (len(frames) - 1), True]
    assert ("END_STREAM" in frames[0].flags) is last


def test_what_we_say_about_the_line() -> None:
    (update, reset, goodbye) = parse(h2.window_update(7, 5) + h2.rst_stream(9, h2.CANCEL) + h2.goaway(1, "né"))
    assert (update.stream_id, update.window_increment) == (7, 5)
    assert isinstance(reset, RstStreamFrame) and (reset.stream_id, reset.error_code) == (9, 8)
    assert isinstance(goodbye, GoAwayFrame)
    assert (goodbye.last_stream_id, goodbye.error_code, goodbye.additional_data) == (0, 1, "né".encode())
    pairs = ((h2.INITIAL_WINDOW_SIZE, 5), (h2.ENABLE_PUSH, 0))
    (settings,) = parse(h2.frame(h2.SETTINGS, 0, 0, h2.settings(pairs)))
    assert isinstance(settings, SettingsFrame) and settings.settings == dict(pairs)
    assert h2.read_settings(h2.settings(pairs)) == list(pairs)


def test_goaway_is_brief() -> None:
    assert len(h2.goaway(1, "x" * 1000)) == 9 + 8 + 256


@pytest.mark.parametrize(
    ("payload", "body"),
    [(b"\0", b""), (b"\0abc", b"abc"), (b"\2abc\0\0", b"abc"), (b"\3\0\0\0", b""), (b"\xff" + bytes(255), b"")],
)
def test_padding(payload: bytes, body: bytes) -> None:
    assert h2.unpad(payload) == body


@pytest.mark.parametrize(
    ("flags", "payload", "fragment"),
    [
        (0, b"abc", b"abc"),
        (h2.PADDED, b"\1abc\0", b"abc"),
        (h2.WITH_PRIORITY, b"12345abc", b"abc"),
        (h2.WITH_PRIORITY, b"12345", b""),
        (h2.PADDED | h2.WITH_PRIORITY, b"\00212345abc\0\0", b"abc"),
    ],
)
def test_fragments(flags: int, payload: bytes, fragment: bytes) -> None:
    assert h2.header_fragment(flags, payload) == fragment


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (lambda: h2.unpad(b""), h2.PROTOCOL_ERROR),
        (lambda: h2.unpad(b"\1"), h2.PROTOCOL_ERROR),
        (lambda: h2.unpad(b"\4abc"), h2.PROTOCOL_ERROR),
        (lambda: h2.header_fragment(h2.WITH_PRIORITY, b"1234"), h2.FRAME_SIZE_ERROR),
        (lambda: h2.header_fragment(h2.WITH_PRIORITY | h2.PADDED, b"\x011234"), h2.FRAME_SIZE_ERROR),
        (lambda: h2.read_settings(b"12345"), h2.FRAME_SIZE_ERROR),
        (lambda: h2.read_settings(h2.settings(((h2.ENABLE_PUSH, 1),))), h2.PROTOCOL_ERROR),
        (lambda: h2.read_settings(h2.settings(((h2.ENABLE_PUSH, 2),))), h2.PROTOCOL_ERROR),
        (lambda: h2.read_settings(h2.settings(((h2.INITIAL_WINDOW_SIZE, 1 << 31),))), h2.FLOW_CONTROL_ERROR),
        (lambda: h2.read_settings(h2.settings(((h2.MAX_FRAME_SIZE, 16383),))), h2.PROTOCOL_ERROR),
        (lambda: h2.read_settings(h2.settings(((h2.MAX_FRAME_SIZE, 1 << 24),))), h2.PROTOCOL_ERROR),
        (lambda: h2.read_number("RST_STREAM", b"123"), h2.FRAME_SIZE_ERROR),
        (lambda: h2.read_number("RST_STREAM", b"12345"), h2.FRAME_SIZE_ERROR),
        (lambda: h2.read_goaway(b"1234567"), h2.FRAME_SIZE_ERROR),
    ],
)
def test_what_is_wrong_by_itself(read: Callable[[], object], code: int) -> None:
    with pytest.raises(Fault) as caught:
        read()
    assert caught.value.code == code


def test_settings_at_their_bounds() -> None:
    pairs = [(h2.ENABLE_PUSH, 0), (h2.INITIAL_WINDOW_SIZE, h2.MOST), (h2.MAX_FRAME_SIZE, h2.MOST_FRAME), (99, 1 << 31)]
    assert h2.read_settings(h2.settings(tuple(pairs))) == pairs
    assert h2.read_settings(b"") == []


def test_goaway_is_read() -> None:
    assert h2.read_goaway(b"\x80\0\0\5\0\0\0\x0b" + b"too\nmany\xff") == (5, 11, "too?many�")
    assert h2.read_goaway(bytes(8)) == (0, 0, "")


@pytest.mark.parametrize(("code", "name"), [(0, "NO_ERROR"), (13, "HTTP_1_1_REQUIRED"), (14, "error 0xe")])
def test_codes_have_names(code: int, name: str) -> None:
    assert h2.code_name(code) == name


class TestHeaderBlock:
    def test_it_is_put_together(self) -> None:
        block = HeaderBlock(h2.END_STREAM, 5, b"a")
        assert not block.add(0, 5, b"b")
        assert block.add(h2.END_HEADERS, 5, b"c")
        assert (block.flags, block.number, block.data) == (h2.END_STREAM, 5, b"abc")

    def test_another_stream(self) -> None:
        with pytest.raises(Fault, match="another stream"):
            HeaderBlock(0, 5, b"").add(0, 7, b"")

    def test_too_much(self) -> None:
        block = HeaderBlock(0, 5, bytes(MAX_HEAD))
        assert not block.add(0, 5, b"")
        with pytest.raises(Fault, match="65,536 bytes") as caught:
            block.add(0, 5, b"x")
        assert caught.value.code == h2.ENHANCE_YOUR_CALM

    def test_too_many(self) -> None:
        block = HeaderBlock(0, 5, b"")
        for _ in range(h2.MAX_CONTINUATIONS):
            block.add(0, 5, b"")
        with pytest.raises(Fault, match="128 pieces") as caught:
            block.add(0, 5, b"")
        assert caught.value.code == h2.ENHANCE_YOUR_CALM
