"""Bodies that are read while they are being sent: files, iterables, and rows of these.

A wire asks a :class:`BodySource` for one piece at a time, so that an upload of any size needs the memory of a piece.

What a source reads belongs to the user. A file that can seek is therefore placed before each
read: two requests may share a file object, one request may name it twice, and what the user does with
its position does no harm. Nothing is ever closed or opened here. What can go wrong while a body is
being sent (a file that shrank or was closed, a generator that raised) is a ``RequestError`` of phase
"send", chained with its cause; the error stays, so that half a body never passes for a whole one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import TextIOBase
from typing import Any, Final, TypeAlias

from .errors import RequestError

PIECE: Final = 65536
"""Bytes read at a time: what a socket takes at once, and little enough for ten thousand uploads."""
RAW: Final = (bytes, bytearray, memoryview)
TEXT_OR_RAW: Final = (str, *RAW)
"""What an item of an iterable may be."""
_END: Final = object()


class BodySource:
    """A body that is read while it is being sent.

    ``length`` is its size in bytes, None if that is not known before the end (it is sent in chunks then).
    ``rewindable`` says whether it can be sent again after it was begun, ``started`` whether it was.
    """

    __slots__ = ("_at", "_fault", "_parts", "length", "rewindable", "started")

    def __init__(self, parts: Sequence[Part]) -> None:
        lengths = [part.length for part in parts]
        known = [length for length in lengths if length is not None]
        self.length: int | None = sum(known) if len(known) == len(lengths) else None
        self.rewindable: bool = all(part.rewindable for part in parts)
        self.started = False
        self._parts: Sequence[Part] | None = parts
        self._at = 0
        self._fault: RequestError | None = None

    def read(self, n: int = PIECE) -> bytes:
        """The next bytes, at least one and at most ``n`` (above 0); ``b""`` at the end.

        Raises RequestError if the body cannot be had as it was promised, or is closed.
        """
        if n < 1:
            raise ValueError(f"n must be above 0, not {n}")
        parts = self._open_parts()
        if self._fault is not None:
            raise self._fault
        self.started = True
        try:
            return self._read(parts, n)
        except RequestError as fault:
            self._fault = fault
            raise

    def _read(self, parts: Sequence[Part], n: int) -> bytes:
        pieces: list[bytes] = []
        while n and self._at < len(parts):
            piece = parts[self._at].read(n)
            if not piece:
                self._at += 1
                continue
            pieces.append(piece)
            n -= len(piece)
            if self.length is None:
                break  # the next item may take its time, this one need not wait for it
        return b"".join(pieces)

    def rewind(self) -> None:
        """Back to the start; a file goes to where it stood when it was given.

        Raises RequestError if the body was begun and is not ``rewindable``, or is closed.
        """
        parts = self._open_parts()
        if not self.started:
            return
        if not self.rewindable:
            raise RequestError(
                "the body cannot be sent a second time: give bytes, a list of bytes or a file that can seek",
                phase="send",
            )
        for part in parts:
            part.rewind()
        self._at = 0
        self._fault = None
        self.started = False

    def close(self) -> None:
        """Let go of what is read. The user's files stay open."""
        self._parts = None

    def _open_parts(self) -> Sequence[Part]:
        if self._parts is None:
            raise RequestError("the body is closed", phase="send")
        return self._parts


class Bytes:
    """A part that is there already."""

    __slots__ = ("_at", "_data", "length")

    rewindable = True

    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self._data = data
        self._at = 0

    def read(self, n: int) -> bytes:
        piece = self._data[self._at : self._at + n]
        self._at += len(piece)
        return piece

    def rewind(self) -> None:
        self._at = 0


class File:
    """A part that is an open binary file, from where it stands to the end it has now."""

    __slots__ = ("_file", "_label", "_sent", "_start", "length")

    def __init__(self, file: Any, where: str = "") -> None:
        self._label = f"{where}the file {file_name(file) or type(file).__name__!r}"
        if getattr(file, "closed", False):
            raise RequestError(f"{self._label} is closed: keep it open until its request is answered")
        if isinstance(file, TextIOBase) or hasattr(file, "encoding"):
            raise RequestError(f"{self._label} is open for text: open it for bytes, with mode 'rb'")
        if hasattr(file, "readable") and not file.readable():
            raise RequestError(f"{self._label} is not open for reading: open it with mode 'rb'")
        self._file = file
        self._sent = 0
        self._start, self.length = self._extent()

    @property
    def rewindable(self) -> bool:
        return self._start is not None

    def read(self, n: int) -> bytes:
        if self.length is not None:
            n = min(n, self.length - self._sent)
            if not n:
                return b""
        piece = self._read_file(n)
        if not piece and self.length is not None:
            early = self.length - self._sent
            raise RequestError(
                f"{self._label} ended {early} bytes early: it became shorter while it was being sent", phase="send"
            )
        self._sent += len(piece)
        return piece

    def rewind(self) -> None:
        self._sent = 0

    def _read_file(self, n: int) -> bytes:
        file = self._file
        if getattr(file, "closed", False):
            raise RequestError(
                f"{self._label} was closed before it was sent: keep it open until its request is answered", phase="send"
            )
        failed = f"{self._label} cannot be read"
        if self._start is not None:
            _foreign(failed, file.seek, self._start + self._sent)
        piece = _foreign(failed, file.read, n)
        if not isinstance(piece, bytes):
            raise RequestError(f"{self._label} gave {named(piece)} instead of bytes", phase="send")
        if len(piece) > n:
            raise RequestError(f"{self._label} gave {len(piece)} bytes when asked for {n}", phase="send")
        return piece

    def _extent(self) -> tuple[int | None, int | None]:
        """(position, bytes from there to the end); None for what the file cannot tell."""
        file = self._file
        failed = f"{self._label} cannot be measured"
        if not hasattr(file, "seekable") or not _foreign(failed, file.seekable):
            return None, None
        start = _foreign(failed, file.tell)
        _foreign(failed, file.seek, 0, os.SEEK_END)
        end = _foreign(failed, file.tell)
        _foreign(failed, file.seek, start)
        if end <= start and _foreign(failed, file.read, 1):  # devices and /proc say 0 and have more
            _foreign(failed, file.seek, start)
            return start, None
        return start, max(end - start, 0)


class Items:
    """A part that is an iterable of bytes or str. An item longer than asked for is cut."""

    __slots__ = ("_items", "_iterator", "_rest", "length", "rewindable")

    def __init__(self, items: Iterable[object]) -> None:
        self.length: int | None = None
        # Other iterables may be good for a second round, but nothing says which.
        self.rewindable = isinstance(items, (list, tuple))
        if self.rewindable:
            items = tuple(items)
            for index, item in enumerate(items):
                if not isinstance(item, TEXT_OR_RAW):
                    raise RequestError(f"item {index} of the body is {named(item)}: it must be bytes or str")
        self._items = items
        self.rewind()

    def rewind(self) -> None:
        self._iterator: Iterator[object] | None = None
        self._rest = memoryview(b"")

    def read(self, n: int) -> bytes:
        while not self._rest:
            item = self._next_item()
            if item is None:
                return b""
            if 0 < len(item) <= n:
                return item
            self._rest = memoryview(item)
        piece = bytes(self._rest[:n])
        self._rest = self._rest[n:]
        return piece

    def _next_item(self) -> bytes | None:
        """The next item as bytes, None after the last."""
        failed = "the iterable of the body failed"
        if self._iterator is None:
            self._iterator = _foreign(failed, iter, self._items)
        item = _foreign(failed, next, self._iterator, _END)
        if item is _END:
            return None
        if isinstance(item, str):
            return utf8(item, "an item of the body")
        if isinstance(item, RAW):
            return bytes(item)
        raise RequestError(f"the iterable of the body gave {named(item)}: it must give bytes or str", phase="send")


Part: TypeAlias = Bytes | File | Items


def _foreign(failed: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """What the user's object answers. Whatever it raises becomes a RequestError: it must not end the run."""
    try:
        return call(*arguments)
    except Exception as fault:
        raise RequestError(f"{failed} ({said(fault)})", phase="send") from fault


def source(data: Any) -> BodySource:
    """A streaming body made of an open binary file, or an iterable of bytes or str (sent as UTF-8).

    A file is sent from where it stands; if it can seek, its length is known and it is rewindable. An
    iterable has no known length; a list or tuple is rewindable.

    Raises RequestError for a file that is closed, open for text or not readable, and for anything else.
    """
    if hasattr(data, "read"):
        return BodySource((File(data),))
    if isinstance(data, Iterable) and not isinstance(data, (*TEXT_OR_RAW, Mapping)):
        return BodySource((Items(data),))
    raise RequestError(f"{named(data)} cannot be streamed: give an open binary file or an iterable of bytes")


# -- words -------------------------------------------------------------------------------------------------------


def file_name(file: Any) -> str:
    """The base name of the file, or "": ``name`` may be a descriptor, None or "<fdopen>"."""
    name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) and not name.startswith("<") else ""


def utf8(text: str, where: str) -> bytes:
    """Raises RequestError for half a surrogate pair, saying ``where`` it stands."""
    try:
        return text.encode()
    except UnicodeEncodeError as fault:
        raise RequestError(unencodable(where, fault)) from fault


def unencodable(where: str, fault: UnicodeEncodeError) -> str:
    """Why there are no bytes for a text, and how to mend it."""
    return (
        f"{where} cannot be encoded as {fault.encoding}: the character U+{ord(fault.object[fault.start]):04X} "
        f"at index {fault.start}; replace it, or give bytes"
    )


def named(value: object) -> str:
    """``"a list"``, ``"an int"``: what is shown of a value that cannot be."""
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def said(fault: BaseException) -> str:
    """A foreign exception in one line."""
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
