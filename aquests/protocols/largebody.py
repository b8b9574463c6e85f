"""A large body of known length has one buffer, which is in the end the body itself, in large pages of memory.

Facts this file lives with:

- Pieces that are kept and joined need the memory twice. A BytesIO that was given bytes nobody else has writes into
  them, and gives them back.
- Fresh memory comes a page at a time, by a fault that costs 1 µs: 100 MB in pages of 4 KB took 22 ms to fill, as much
  as to decrypt them, and 5 ms in pages of 2 MB. Linux makes large pages where it is asked to ("madvise", the usual
  setting); Python cannot ask for the memory of bytes, so ``ctypes`` does, whose import costs 7 ms once.
- ``bytes(n)`` of zeros is memory that was promised and not touched. A peer that promises much and sends little gets
  little: there is no buffer before ``PROVEN`` bytes have come.
"""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Final

LARGE: Final = 32 * 1024 * 1024
"""From here on glibc maps memory for the body alone, so that what was asked for ends with it; smaller pieces of
memory are used again, and cost no faults then."""
PROVEN: Final = 1024 * 1024
"""Bytes that have come before there is a buffer for all that are promised."""
_PAGE: Final = 4096


def widened(body: BytesIO, length: int) -> BytesIO:
    """``body``, which stands at its end and will have ``length`` bytes; in a buffer that has them if that is large."""
    if length < LARGE:
        return body
    try:
        wide = BytesIO(bytes(length))
    except MemoryError:
        return body  # so much is not to be had at once; perhaps it never comes
    if sys.platform == "linux":
        _ask_for_large_pages(wide)
    wide.write(body.getbuffer())
    return wide


def _ask_for_large_pages(buffer: BytesIO) -> None:
    """A hint; that there are none is no fault."""
    try:
        from ctypes import CDLL, addressof, c_char, c_int, c_size_t, c_void_p
        from mmap import MADV_HUGEPAGE

        advise = CDLL(None).madvise
    except (ImportError, OSError, AttributeError):
        return  # a system without it
    advise.restype, advise.argtypes = c_int, [c_void_p, c_size_t, c_int]
    with buffer.getbuffer() as view:
        first = c_char.from_buffer(view)
        begin = addressof(first)
        end = (begin + len(view)) & -_PAGE
        del first  # it holds the view
    begin = (begin + _PAGE - 1) & -_PAGE
    advise(begin, end - begin, MADV_HUGEPAGE)
