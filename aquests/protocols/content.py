"""Decoding of answer bodies (RFC 9110 8.4): gzip, deflate, br and zstd, bounded while they decode.

A few hundred bytes may decode to gigabytes, so a limit that looks at the result comes too late.
Every coding here is a generator of pieces of at most about ``2 * STEP`` bytes, and :func:`_joined`
counts them before it asks for the next one: a bomb costs the limit plus one piece, never more, and
never the time to decode its rest. A good body is held twice for the moment in which its pieces are
joined; one that fits into a piece (nearly all do) is not copied at all.

The limit is the same for every stage of a chain: ``max_content``, or less if the first MiB is
exceeded and ``max_ratio`` times the *received* size is smaller. Measuring a chain by what came off
the wire makes bombs inside bombs no better than plain ones. zstd frames may ask for a window of at
most 8 MiB (RFC 9659); brotli's is 16 MiB by its format and deflate's 32 KiB.

What follows the end of the compressed data: gzip takes further members (RFC 1952 2.2) and zstd further
frames (RFC 8878 3). Other bytes after gzip and deflate are dropped, as browsers, gzip(1) and urllib3
do (servers pad); after br and zstd they are an error, as in urllib3 and curl. Truncated data is always
an error: half an answer must not look like an answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from ..errors import ProtocolError, TooLarge
from ..settings import MAX_CONTENT, MAX_RATIO

FLOOR: Final = 1 << 20
"""Bytes that any body may decode to, whatever its ratio (as long as they are within ``max_content``)."""
MAX_CODINGS: Final = 5
"""Chained codings. Real servers use one, sometimes two; each costs a decoder and a copy."""

STEP: Final = 1 << 18
"""Bytes asked of a decoder at a time; brotli may give twice as many."""
SLICE: Final = 1 << 14
"""Compressed bytes shown to a decoder at a time: zlib and zstd copy what they leave over."""
MAX_MEMBERS: Final = 1 << 16
"""gzip members or zstd frames in one body. Each costs a decoder, 1 to 3 us: without a limit, a body of
empty ones would stop everybody for a minute. 256 MiB of bgzip blocks are 4,100."""
WINDOW_LOG: Final = 23
"""zstd windows of up to 8 MiB (RFC 9659 3)."""

GZIP_WBITS: Final = 31
ZLIB_WBITS: Final = 15
RAW_WBITS: Final = -15
GZIP_MAGIC: Final = b"\x1f\x8b"


@cache
def accept_encoding() -> str:
    """The codings that can be decoded here, as a value for ``Accept-Encoding``: "gzip, deflate, br, zstd".

    ``br`` needs Brotli 1.2 or later, ``zstd`` Python 3.14 or backports.zstd.
    """
    names = ["gzip", "deflate"]
    if _brotli() is not None:
        names.append("br")
    if _zstd_name():
        names.append("zstd")
    return ", ".join(names)


def decode(
    body: bytes, encodings: Sequence[str], max_content: int = MAX_CONTENT, max_ratio: float = MAX_RATIO
) -> bytes:
    """``body`` without its content codings.

    ``encodings`` are the values of ``Content-Encoding`` in the order of the header (the last was applied
    last and is undone first); a value may itself be a list with commas. ``identity`` is skipped. An
    empty body stays empty, whatever it claims (answers to HEAD, 204, 304).

    Raises :class:`TooLarge` if any stage gives more than ``max_content`` bytes, or more than 1 MiB and
    ``max_ratio`` times ``len(body)``; :class:`ProtocolError` if the body is corrupt or truncated or a
    coding unknown, missing here, or one of more than five.
    """
    if not body:
        return body
    limit = int(min(max_content, max(FLOOR, max_ratio * len(body))))
    plain = body
    for pieces in _stages(encodings):
        plain = _joined(pieces(plain), limit, max_content)
    if len(plain) > max_content:
        raise TooLarge(f"the body is over {max_content} bytes (max_content)", phase="answer")
    return plain


def _stages(encodings: Sequence[str]) -> Sequence[Callable[[bytes], Iterator[bytes]]]:
    """The decoders to apply, first to last."""
    if len(encodings) == 1 and (usual := _CODINGS.get(encodings[0])) is not None:
        return (usual,)
    names = [name for value in encodings for token in value.split(",") if (name := token.strip().lower())]
    names = [name for name in reversed(names) if name != "identity"]
    if len(names) > MAX_CODINGS:
        raise ProtocolError(f"the body has {len(names)} content codings, at most {MAX_CODINGS} are undone")
    try:
        return [_CODINGS[name] for name in names]
    except KeyError as fault:
        raise ProtocolError(f"unknown content coding {fault.args[0][:40]!r}") from None


def _joined(pieces: Iterator[bytes], limit: int, max_content: int) -> bytes:
    """All pieces, unless they exceed ``limit``: then nothing further is decoded."""
    kept: list[bytes] = []
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            which = "max_content" if limit >= max_content else "max_ratio"
            raise TooLarge(f"the body decodes to more than {limit} bytes ({which})", phase="answer")
        kept.append(piece)
    return kept[0] if len(kept) == 1 else b"".join(kept)


def _gzip(body: bytes) -> Iterator[bytes]:
    """One member or more (RFC 1952 2.2); what does not begin a member is padding."""
    at = yield from _zlib_stream(body, 0, GZIP_WBITS, "gzip")
    members = 1
    while at < len(body) and GZIP_MAGIC.startswith(body[at : at + 2]):
        members = _one_more(members, "gzip members")
        at = yield from _zlib_stream(body, at, GZIP_WBITS, "gzip")


def _deflate(body: bytes) -> Iterator[bytes]:
    """zlib-wrapped by RFC 9110 8.4.1.2, raw by the habit of some servers.

    The wrapper's first two bytes are a multiple of 31 and name method 8 (RFC 1950 2.2). Raw data
    could begin so only with a stored block whose padding bits are not zero; no encoder makes one.
    """
    wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    yield from _zlib_stream(body, 0, ZLIB_WBITS if wrapped else RAW_WBITS, "deflate")


def _zlib_stream(body: bytes, at: int, wbits: int, name: str) -> Generator[bytes, None, int]:
    """The pieces of the one stream that begins at ``at``; returns where it ends."""
    decoder = zlib.decompressobj(wbits)
    piece = b""
    while not decoder.eof:
        data = body[at : at + SLICE]
        if not data and len(piece) < STEP:  # a full piece may have left more inside the decoder
            raise _truncated(name, body)
        try:
            piece = decoder.decompress(data, STEP)
        except zlib.error as fault:
            raise _corrupt(name, body, fault) from fault
        at += len(data) - len(decoder.unconsumed_tail) - len(decoder.unused_data)
        if piece:
            yield piece
    return at


def _br(body: bytes) -> Iterator[bytes]:
    """RFC 7932. The library itself refuses bytes after the end."""
    brotli = _brotli()
    if brotli is None:
        raise ProtocolError("the body is coded as br, which needs Brotli 1.2 or later: pip install 'brotli>=1.2'")
    decoder = brotli.Decompressor()
    at = 0
    while not decoder.is_finished():
        data = body[at : at + SLICE] if decoder.can_accept_more_data() else b""
        at += len(data)
        try:
            piece = decoder.process(data, output_buffer_limit=STEP)
        except brotli.error as fault:
            raise _corrupt("br", body, fault) from fault
        if piece:
            yield piece
        elif at == len(body) and not decoder.is_finished():  # output may wait although all input is taken
            raise _truncated("br", body)
    if at < len(body):
        raise ProtocolError("the br body is followed by other bytes", first=body[:32])


def _zstd(body: bytes) -> Iterator[bytes]:
    """One frame or more (RFC 8878 3), skippable ones included."""
    name = _zstd_name()
    if not name:
        raise ProtocolError("the body is coded as zstd, which needs Python 3.14 or: pip install backports.zstd")
    zstd = import_module(name)
    at = yield from _zstd_frame(body, 0, zstd)
    frames = 1
    while at < len(body):
        frames = _one_more(frames, "zstd frames")
        at = yield from _zstd_frame(body, at, zstd)


def _zstd_frame(body: bytes, at: int, zstd: ModuleType) -> Generator[bytes, None, int]:
    """The pieces of the one frame that begins at ``at``; returns where it ends."""
    decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})
    while not decoder.eof:
        data = b""
        if decoder.needs_input:
            data = body[at : at + SLICE]
            at += len(data)
            if not data:
                raise _truncated("zstd", body)
        try:
            piece = decoder.decompress(data, STEP)
        except zstd.ZstdError as fault:
            raise _corrupt("zstd", body, fault) from fault
        if piece:
            yield piece
    return at - len(decoder.unused_data)


def _one_more(count: int, what: str) -> int:
    if count == MAX_MEMBERS:
        raise TooLarge(f"the body has more than {MAX_MEMBERS} {what}", phase="answer")
    return count + 1


def _truncated(name: str, body: bytes) -> ProtocolError:
    return ProtocolError(f"the {name} body ends too early, after {len(body)} bytes", first=body[:32])


def _corrupt(name: str, body: bytes, fault: Exception) -> ProtocolError:
    return ProtocolError(f"the {name} body is corrupt ({fault})", first=body[:32])


@cache
def _brotli() -> ModuleType | None:
    """The brotli module if its output can be bounded, which is so from version 1.2 on."""
    if find_spec("brotli") is None:
        return None
    brotli = import_module("brotli")  # 1 ms; asking importlib.metadata for the version takes 20
    return brotli if hasattr(brotli.Decompressor, "can_accept_more_data") else None


@cache
def _zstd_name() -> str:
    """The name of the zstd module that can be imported, or ""."""
    if find_spec("_zstd") is not None:  # Python 3.14, built with it
        return "compression.zstd"
    try:
        return "backports.zstd" if find_spec("backports.zstd") is not None else ""
    except ModuleNotFoundError:  # no package "backports" at all
        return ""


_CODINGS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,  # RFC 9110 8.4.1.3
    "deflate": _deflate,
    "br": _br,
    "zstd": _zstd,
}
