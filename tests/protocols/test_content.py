"""Content codings: round trips, chains, limits that hold while decoding, and no crash whatever the bytes."""

from __future__ import annotations

import gzip
import importlib
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aquests.errors import ProtocolError, TooLarge
from aquests.protocols import content
from aquests.protocols.content import decode
from aquests.settings import MAX_CONTENT, MAX_RATIO

brotli: Any = importlib.import_module("brotli")
zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

MIB = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


CODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate, wrapped": ("deflate", zlib.compress),
    "deflate, raw": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
}
EACH = pytest.mark.parametrize(("name", "code"), CODERS.values(), ids=CODERS)
SEEDED = random.Random(7).randbytes
PLAIN = {
    "one byte": b"x",
    "text": b"The quick brown fox. " * 20,
    "noise": SEEDED(5_000),
    "longer than a slice": SEEDED(content.SLICE * 3 + 17),
    "exactly a step": bytes(content.STEP),
    "a step and one": bytes(content.STEP + 1),
    "many steps": bytes(content.STEP * 3 + 5),
    "mixed": SEEDED(100_000) + bytes(700_000) + SEEDED(100_000),
}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What can be imported is remembered; tests that hide a module must not be."""
    yield
    for remembered in (content.accept_encoding, content._brotli, content._zstd_name):
        remembered.cache_clear()


class TestRoundTrips:
    @EACH
    @pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN)
    def test_every_coding(self, name: str, code: Callable[[bytes], bytes], plain: bytes) -> None:
        assert decode(code(plain), [name], max_ratio=1e6) == plain

    @EACH
    @pytest.mark.parametrize(("step", "size"), [(1, 1), (1, 50), (7, 3), (64, 1), (100, 1000)])
    def test_any_step_and_slice(
        self, name: str, code: Callable[[bytes], bytes], step: int, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(content, "STEP", step)
        monkeypatch.setattr(content, "SLICE", size)
        for plain in (bytes(700), SEEDED(300), b"ab" * step * 5):
            body = code(plain)
            assert decode(body, [name]) == plain
            with pytest.raises(ProtocolError):
                decode(body[:-1], [name])

    def test_output_that_waits_although_all_input_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(content, "STEP", 1)
        for size in range(260, 1400):
            assert decode(raw_deflate(bytes(size)), ["deflate"]) == bytes(size)

    @EACH
    def test_coded_emptiness(self, name: str, code: Callable[[bytes], bytes]) -> None:
        assert decode(code(b""), [name]) == b""

    @given(st.binary(max_size=2_000), st.lists(st.sampled_from(list(CODERS)), max_size=content.MAX_CODINGS))
    @settings(max_examples=150, deadline=None)
    def test_any_chain(self, plain: bytes, chain: list[str]) -> None:
        body = plain
        for key in chain:
            body = CODERS[key][1](body)
        assert decode(body, [CODERS[key][0] for key in chain]) == plain

    @given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
    @settings(max_examples=60, deadline=None)
    def test_members_and_frames(self, parts: list[bytes]) -> None:
        assert decode(b"".join(map(gzip.compress, parts)), ["gzip"]) == b"".join(parts)
        assert decode(b"".join(map(zstd.compress, parts)), ["zstd"]) == b"".join(parts)

    def test_a_skippable_zstd_frame(self) -> None:
        skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
        assert decode(skipped + zstd.compress(b"text"), ["zstd"]) == b"text"

    @pytest.mark.parametrize(
        "encodings",
        [["gzip"], ["GZip"], [" gzip "], ["identity", "gzip"], ["gzip", "Identity"], ["", "gzip,"], ["identity, gzip"]],
    )
    def test_tokens_are_case_blind_lists_with_identity(self, encodings: list[str]) -> None:
        assert decode(gzip.compress(b"text"), encodings) == b"text"

    def test_the_last_coding_is_undone_first(self) -> None:
        body = brotli.compress(gzip.compress(b"text"))
        assert decode(body, ["gzip", "br"]) == decode(body, ["gzip, br"]) == b"text"
        with pytest.raises(ProtocolError):
            decode(body, ["br", "gzip"])

    @pytest.mark.parametrize("encodings", [[], ["identity"], ["gzip"], ["gzip", "br"], ["no-such"], ["zstd"] * 9])
    def test_an_empty_body_stays_empty(self, encodings: list[str]) -> None:
        assert decode(b"", encodings) == b""

    def test_no_coding_gives_the_same_object(self) -> None:
        body = b"as it came"
        assert decode(body, []) is body
        assert decode(body, ["identity"]) is body


class TestRefusals:
    @pytest.mark.parametrize("name", ["compress", "x-compress", "lzma", "aws-chunked", "gzip;q=1"])
    def test_unknown_codings(self, name: str) -> None:
        with pytest.raises(ProtocolError, match="unknown content coding") as caught:
            decode(b"body", [name])
        assert name in str(caught.value)

    def test_more_than_five_codings(self) -> None:
        body = b"text"
        for _ in range(6):
            body = zlib.compress(body)
        assert decode(body, ["deflate"] * 5) == zlib.compress(b"text")
        with pytest.raises(ProtocolError, match="6 content codings, at most 5"):
            decode(body, ["deflate"] * 6)

    @EACH
    def test_truncated_at_every_byte(self, name: str, code: Callable[[bytes], bytes]) -> None:
        body = code(b"The quick brown fox jumps over the lazy dog. " * 3)
        for end in range(1, len(body)):
            with pytest.raises(ProtocolError, match=r"too early|corrupt"):
                decode(body[:end], [name])

    @EACH
    def test_truncated_where_it_is_long(self, name: str, code: Callable[[bytes], bytes]) -> None:
        for plain in (PLAIN["longer than a slice"], bytes(content.STEP * 2)):
            body = code(plain)
            for end in (len(body) - 1, len(body) // 2):
                with pytest.raises(ProtocolError, match="too early"):
                    decode(body[:end], [name], max_ratio=1e6)

    @pytest.mark.parametrize("end", range(1, len(gzip.compress(b"second"))))
    def test_a_truncated_second_member(self, end: int) -> None:
        with pytest.raises(ProtocolError, match="too early"):
            decode(gzip.compress(b"first") + gzip.compress(b"second")[:end], ["gzip"])

    @pytest.mark.parametrize("junk", [b"\0", b"\0" * 600, b"junk after the end", b"\x1f\x8c"])
    @EACH
    def test_bytes_after_the_end(self, name: str, code: Callable[[bytes], bytes], junk: bytes) -> None:
        body = code(b"text") + junk
        if name in ("br", "zstd"):
            with pytest.raises(ProtocolError, match=r"corrupt|too early"):
                decode(body, [name])
        else:
            assert decode(body, [name]) == b"text"

    def test_brotli_junk_that_begins_with_a_slice(self) -> None:
        body = brotli.compress(SEEDED(content.SLICE - 4))
        assert len(body) == content.SLICE
        with pytest.raises(ProtocolError, match="followed by other bytes"):
            decode(body + b"junk", ["br"])

    @pytest.mark.parametrize("change", range(18))
    def test_a_changed_byte_is_never_an_unnoticed_one(self, change: int) -> None:
        body = bytearray(gzip.compress(b"0123456789", mtime=0))
        at = len(body) - 1 - change
        body[at] ^= 0x55
        with pytest.raises(ProtocolError) as caught:
            decode(bytes(body), ["gzip"])
        assert caught.value.first == bytes(body[:32])
        assert caught.value.phase == "answer"

    def test_a_zstd_window_over_8_mib(self) -> None:
        def coded(window_log: int) -> bytes:
            coder = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_log})
            return bytes(coder.compress(b"text" * 100) + coder.flush())

        assert decode(coded(23), ["zstd"]) == b"text" * 100
        with pytest.raises(ProtocolError, match="memory"):
            decode(coded(24), ["zstd"])

    def test_a_zlib_dictionary_is_not_known(self) -> None:
        coder = zlib.compressobj(zdict=b"dictionary")
        with pytest.raises(ProtocolError, match="corrupt"):
            decode(coder.compress(b"dictionary") + coder.flush(), ["deflate"])


class TestLimits:
    @EACH
    @pytest.mark.parametrize("size", [1, 100, content.STEP, content.STEP + 1, 3 * content.STEP + 7])
    def test_max_content_is_exact(self, name: str, code: Callable[[bytes], bytes], size: int) -> None:
        body = code(bytes(size))
        assert len(decode(body, [name], max_content=size, max_ratio=1e9)) == size
        with pytest.raises(TooLarge, match=rf"more than {size - 1} bytes \(max_content\)"):
            decode(body, [name], max_content=size - 1, max_ratio=1e9)

    def test_max_content_holds_without_a_coding(self) -> None:
        assert decode(b"12345", [], max_content=5) == b"12345"
        with pytest.raises(TooLarge, match="max_content"):
            decode(b"12345", [], max_content=4)

    def test_the_floor_of_the_ratio(self) -> None:
        assert len(decode(brotli.compress(bytes(MIB)), ["br"], max_ratio=1.0)) == MIB
        with pytest.raises(TooLarge, match="max_ratio"):
            decode(brotli.compress(bytes(MIB + 1)), ["br"], max_ratio=1.0)

    def test_the_ratio_is_exact(self) -> None:
        body = zlib.compress(bytes(2 * MIB))
        ratio = 2 * MIB / len(body)
        assert len(decode(body, ["deflate"], max_ratio=ratio * 1.0001)) == 2 * MIB
        with pytest.raises(TooLarge, match="max_ratio"):
            decode(body, ["deflate"], max_ratio=ratio * 0.9999)

    @pytest.mark.parametrize("name", ["gzip", "deflate, wrapped", "deflate, raw"])
    def test_the_default_ratio_never_refuses_a_single_deflate(self, name: str) -> None:
        size = 30 * MIB
        body = CODERS[name][1](bytes(size))
        assert size / len(body) > 1_000
        assert len(decode(body, [CODERS[name][0]])) == size

    @pytest.mark.parametrize("max_ratio", [float("inf"), 1e300])
    def test_no_ratio(self, max_ratio: float) -> None:
        assert len(decode(brotli.compress(bytes(8 * MIB)), ["br"], max_ratio=max_ratio)) == 8 * MIB

    def test_the_ratio_of_a_chain_counts_from_the_wire(self) -> None:
        # Each stage alone stays far below 300:1.
        inner = zlib.compress(bytes(4 * MIB), 1)
        body = zlib.compress(inner)
        assert 4 * MIB / len(inner) < 300
        assert len(inner) / len(body) < 300
        assert len(decode(inner, ["deflate"], max_ratio=300)) == 4 * MIB
        with pytest.raises(TooLarge, match="max_ratio"):
            decode(body, ["deflate", "deflate"], max_ratio=300)

    def test_a_stage_inside_a_chain_is_limited_too(self) -> None:
        # The end is one byte; the middle is that and 3 MiB of padding.
        body = brotli.compress(gzip.compress(b"x") + bytes(3 * MIB), quality=1)
        assert decode(body, ["gzip", "br"], max_content=4 * MIB, max_ratio=1e9) == b"x"
        with pytest.raises(TooLarge, match="max_content"):
            decode(body, ["gzip", "br"], max_content=2 * MIB, max_ratio=1e9)

    @pytest.mark.parametrize(("name", "empty"), [("gzip", gzip.compress(b"")), ("zstd", zstd.compress(b""))])
    def test_endless_empty_members(self, name: str, empty: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(content, "MAX_MEMBERS", 100)
        assert decode(empty * 100, [name]) == b""
        with pytest.raises(TooLarge, match="more than 100"):
            decode(empty * 101, [name])


def bomb(name: str) -> bytes:
    """100 MiB of zeros."""
    zeros = bytes(100 * MIB)
    return {
        "gzip": lambda: gzip.compress(zeros),
        "deflate": lambda: zlib.compress(zeros),
        "br": lambda: brotli.compress(zeros, quality=1),
        "zstd": lambda: zstd.compress(zeros),
        "gzip, gzip": lambda: gzip.compress(gzip.compress(zeros)),
        "zstd, br": lambda: brotli.compress(zstd.compress(zeros)),
    }[name]()


class TestBombs:
    @pytest.mark.parametrize("encodings", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "zstd, br"])
    @pytest.mark.parametrize("limits", [(4 * MIB, 1e9), (MAX_CONTENT, 4.0)], ids=["max_content", "max_ratio"])
    def test_memory_stays_bounded_while_decoding(self, encodings: str, limits: tuple[int, float]) -> None:
        body = bomb(encodings)
        decode(gzip.compress(b"x"), ["gzip"])
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge):
                decode(body, [encodings], *limits)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        allowed = min(limits[0], max(MIB, int(len(body) * limits[1])))
        assert peak < allowed + 4 * content.STEP + 256 * 1024

    def test_the_defaults_stop_dense_bombs(self) -> None:
        for encodings in ("br", "zstd", "gzip, gzip", "zstd, br"):
            body = bomb(encodings)
            assert len(body) * MAX_RATIO < 100 * MIB
            with pytest.raises(TooLarge, match="max_ratio"):
                decode(body, [encodings])


class TestFuzz:
    @given(st.binary(min_size=1, max_size=200), st.sampled_from(["gzip", "deflate", "br", "zstd", "br, gzip"]))
    @example(b"\x78", "deflate")
    @example(b"\x1f", "gzip")
    @settings(max_examples=400, deadline=None)
    def test_any_bytes(self, body: bytes, encodings: str) -> None:
        self.answer_or_typed_error(body, encodings)

    @EACH
    def test_damaged_bodies(self, name: str, code: Callable[[bytes], bytes]) -> None:
        chance = random.Random(name)
        good = code(PLAIN["text"] + SEEDED(200))
        for _ in range(500):
            body = bytearray(good)
            for _ in range(chance.randint(1, 4)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            self.answer_or_typed_error(bytes(body), name)

    @staticmethod
    def answer_or_typed_error(body: bytes, encodings: str) -> None:
        try:
            assert len(decode(body, [encodings], max_content=MIB)) <= MIB
        except (ProtocolError, TooLarge) as fault:
            assert str(fault)


class TestAcceptEncoding:
    def test_all_of_them(self) -> None:
        assert content.accept_encoding() == "gzip, deflate, br, zstd"

    def test_each_offered_coding_can_be_decoded(self) -> None:
        for name in content.accept_encoding().split(", "):
            assert decode(CODERS.get(name, CODERS["deflate, wrapped"])[1](b"text"), [name]) == b"text"

    def test_nothing_beside_the_standard_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        body = zstd.compress(b"text")
        monkeypatch.setattr(content, "find_spec", lambda name: None)
        assert content.accept_encoding() == "gzip, deflate"
        with pytest.raises(ProtocolError, match=r"pip install 'brotli>=1\.2'"):
            decode(brotli.compress(b"text"), ["br"])
        with pytest.raises(ProtocolError, match=r"pip install backports\.zstd"):
            decode(body, ["zstd"])

    def test_a_missing_parent_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def find_spec(name: str) -> None:
            if name == "backports.zstd":
                raise ModuleNotFoundError(name)

        monkeypatch.setattr(content, "find_spec", find_spec)
        assert content.accept_encoding() == "gzip, deflate"

    def test_the_standard_librarys_zstd_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(content, "find_spec", lambda name: object() if name == "_zstd" else None)
        assert content._zstd_name() == "compression.zstd"

    def test_a_brotli_without_bounded_output_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Old:
            class Decompressor:
                process = None

        monkeypatch.setattr(content, "import_module", lambda name: Old)
        assert "br" not in content.accept_encoding().split(", ")
