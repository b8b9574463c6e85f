"""Request bodies: encoded at once where they are small, streamed where they may be large.

:func:`encode` turns what the user gave into bytes, or into a :class:`BodySource` if it is a file or an
iterable; :func:`multipart` makes a ``BodySource`` of form fields and files. A wire asks a source for
one piece at a time, so that an upload of any size needs the memory of a piece.

What a source reads belongs to the user. A file that can seek is therefore placed before each
read: two requests may share a file object, one request may name it twice, and what the user does with
its position does no harm. Nothing is ever closed or opened here. What can go wrong while a body is
being sent (a file that shrank or was closed, a generator that raised) is a ``RequestError`` of phase
"send", chained with its cause; the error stays, so that half a body never passes for a whole one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import TextIOBase
from math import isfinite
from typing import Any, Final, TypeAlias

from .errors import RequestError
from .url import encode_query

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
XML: Final = "text/xml"
NVP: Final = "text/namevalue"

PIECE: Final = 65536
"""Bytes read at a time: what a socket takes at once, and little enough for ten thousand uploads."""
_OCTETS: Final = "application/octet-stream"
_END: Final = object()
_RAW: Final = (bytes, bytearray, memoryview)
_PIECES: Final = (str, bytes, bytearray, memoryview)


class BodySource:
    """A body that is read while it is being sent.

    ``length`` is its size in bytes, None if that is not known before the end (it is sent in chunks then).
    ``rewindable`` says whether it can be sent again after it was begun, ``started`` whether it was.
    """

    __slots__ = ("_at", "_fault", "_parts", "length", "rewindable", "started")

    def __init__(self, parts: Sequence[_Part]) -> None:
        lengths = [part.length for part in parts]
        known = [length for length in lengths if length is not None]
        self.length: int | None = sum(known) if len(known) == len(lengths) else None
        self.rewindable: bool = all(part.rewindable for part in parts)
        self.started = False
        self._parts: Sequence[_Part] | None = parts
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

    def _read(self, parts: Sequence[_Part], n: int) -> bytes:
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

    def _open_parts(self) -> Sequence[_Part]:
        if self._parts is None:
            raise RequestError("the body is closed", phase="send")
        return self._parts


class _Bytes:
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


class _File:
    """A part that is an open binary file, from where it stands to the end it has now."""

    __slots__ = ("_file", "_label", "_sent", "_start", "length")

    def __init__(self, file: Any, where: str = "") -> None:
        self._label = f"{where}the file {_file_name(file) or type(file).__name__!r}"
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
            raise RequestError(f"{self._label} gave {_a(piece)} instead of bytes", phase="send")
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


class _Items:
    """A part that is an iterable of bytes or str. An item longer than asked for is cut."""

    __slots__ = ("_items", "_iterator", "_rest", "length", "rewindable")

    def __init__(self, items: Iterable[object]) -> None:
        self.length: int | None = None
        # Other iterables may be good for a second round, but nothing says which.
        self.rewindable = isinstance(items, (list, tuple))
        if self.rewindable:
            items = tuple(items)
            for index, item in enumerate(items):
                if not isinstance(item, _PIECES):
                    raise RequestError(f"item {index} of the body is {_a(item)}: it must be bytes or str")
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
            return _utf8(item, "an item of the body")
        if isinstance(item, _RAW):
            return bytes(item)
        raise RequestError(f"the iterable of the body gave {_a(item)}: it must give bytes or str", phase="send")


_Part: TypeAlias = _Bytes | _File | _Items


def _foreign(failed: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """What the user's object answers. Whatever it raises becomes a RequestError: it must not end the run."""
    try:
        return call(*arguments)
    except Exception as fault:
        raise RequestError(f"{failed} ({_said(fault)})", phase="send") from fault


def source(data: Any) -> BodySource:
    """A streaming body made of an open binary file, or an iterable of bytes or str (sent as UTF-8).

    A file is sent from where it stands; if it can seek, its length is known and it is rewindable. An
    iterable has no known length; a list or tuple is rewindable.

    Raises RequestError for a file that is closed, open for text or not readable, and for anything else.
    """
    if hasattr(data, "read"):
        return BodySource((_File(data),))
    if isinstance(data, Iterable) and not isinstance(data, (*_PIECES, Mapping)):
        return BodySource((_Items(data),))
    raise RequestError(f"{_a(data)} cannot be streamed: give an open binary file or an iterable of bytes")


def encode(data: Any, content_type: str | None = None) -> tuple[bytes | BodySource | None, str | None]:
    """The body for ``data`` and the ``Content-Type`` to send with it (None: none).

    - None, bytes, bytearray, memoryview, a BodySource: as they are, with the type given, if any.
    - str: in the ``charset`` of the type, UTF-8 without one; it is taken as encoded already, JSON too.
      Without a type it is a form.
    - an open binary file, an iterator, an iterable of bytes or str: a :class:`BodySource`.
    - anything else by the type: a form (also without a type) and text/namevalue take a mapping or a
      sequence of (name, value) pairs, of which None values are left out and lists repeat the name;
      application/json and ``+json`` any JSON value.

    Raises RequestError if the data does not fit the type, saying where and how to mend it.
    """
    if data is None or isinstance(data, (bytes, BodySource)):
        return data, content_type
    if isinstance(data, str):
        kind = content_type or FORM
        return _text(data, kind), kind
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data), content_type
    if hasattr(data, "read") or isinstance(data, Iterator):
        return source(data), content_type
    kind = content_type or FORM
    media = kind.partition(";")[0].strip().lower()
    if media == JSON or media.endswith("+json"):
        return _json(data), kind
    encoder = _PAIR_ENCODERS.get(media)
    if encoder is not None and _has_pairs(data):
        return encoder(data), kind
    if isinstance(data, Iterable) and not isinstance(data, Mapping):
        return source(data), content_type
    raise RequestError(f"{_a(data)} cannot be a body of type {media}: {_mended(data, media)}")


def multipart(fields: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> tuple[BodySource, str]:
    """A body of type multipart/form-data (RFC 7578), streamed, and its ``Content-Type``.

    ``fields`` maps names to values, or is an iterable of (name, value) pairs. A value is a str, number or
    bytes (a plain field); an open binary file, in memory or on disk; a tuple ``(file name, file or bytes or
    str)`` or ``(file name, the same, content type)``, where the file name may be None; or a list of those,
    which repeats the field. None is left out. Where they are not given, the file name is the base name of
    ``file.name``, else the field's, and the content type is guessed from the file name.

    The length is known and the body rewindable if all files can seek. The files are neither closed nor
    opened again. Raises RequestError for a value that is none of these.
    """
    boundary = os.urandom(16).hex()
    opening = f"--{boundary}\r\n".encode()
    parts: list[_Part] = []
    for name, value in _pairs(fields, "the fields"):
        for item in value if isinstance(value, list) else (value,):
            if item is not None:
                head, content = _field(name, item)
                parts += (_Bytes(opening + head), content, _Bytes(b"\r\n"))
    parts.append(_Bytes(f"--{boundary}--\r\n".encode()))
    return BodySource(parts), f"multipart/form-data; boundary={boundary}"


# -- multipart ---------------------------------------------------------------------------------------------------


def _field(name: object, value: Any) -> tuple[bytes, _Part]:
    """The header block and the content of one part."""
    where = f"the field {name!r}"
    content, filename, content_type = value, None, None
    if isinstance(value, tuple):
        if len(value) not in (2, 3):
            raise RequestError(f"{where}: a tuple must be (file name, content) or (file name, content, content type)")
        filename, content, content_type = value if len(value) == 3 else (*value, None)
        if not isinstance(filename, str | None) or not isinstance(content_type, str | None):
            raise RequestError(f"{where}: file name and content type must be str or None")
    elif hasattr(value, "read"):
        filename = _file_name(value) or str(name)
    part = (
        _File(content, f"{where}: ") if hasattr(content, "read") else _Bytes(_as_bytes(_scalar(content, where), where))
    )
    head = b'Content-Disposition: form-data; name="%b"' % _escaped(_scalar(name, "the name of a field"))
    if filename is not None:
        head += b'; filename="%b"' % _escaped(filename)
        content_type = content_type or _guessed_type(filename)
    if content_type is not None:
        if not content_type.isprintable() or not content_type.isascii():
            raise RequestError(f"{where}: the content type {content_type!r} is not printable ASCII")
        head += b"\r\nContent-Type: " + content_type.encode()
    return head + b"\r\n\r\n", part


def _escaped(name: str | bytes) -> bytes:
    """RFC 7578 2 and 5.1, and the HTML standard: UTF-8, and these three percent-encoded."""
    raw = _as_bytes(name, "a name")
    return raw.replace(b"\r", b"%0D").replace(b"\n", b"%0A").replace(b'"', b"%22")


def _file_name(file: Any) -> str:
    """The base name of the file, or "": ``name`` may be a descriptor, None or "<fdopen>"."""
    name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) and not name.startswith("<") else ""


def _guessed_type(filename: str) -> str:
    from mimetypes import guess_type

    guessed, coding = guess_type(filename)
    return guessed if guessed and not coding else _OCTETS  # "a.tar.gz" is not an application/x-tar


# -- forms and name-value pairs ----------------------------------------------------------------------------------


def _form(data: Any) -> bytes:
    return encode_query(_flat(data, "form")).encode("ascii")


def _nvp(data: Any) -> bytes:
    """``name[<bytes of value>]=value``, joined by ``&``: the length makes escapes unnecessary."""
    pieces = []
    for name, value in _flat(data, "text/namevalue body"):
        raw_name = _as_bytes(name, "a name")
        if any(mark in raw_name for mark in (b"[", b"]", b"=", b"&")):
            raise RequestError(f"the name {name!r} holds one of [ ] = &, which text/namevalue cannot escape")
        raw_value = _as_bytes(value, "a value")
        pieces.append(b"%b[%d]=%b" % (raw_name, len(raw_value), raw_value))
    return b"&".join(pieces)


_PAIR_ENCODERS: Final[dict[str, Callable[[Any], bytes]]] = {FORM: _form, NVP: _nvp}


def _flat(data: Any, what: str) -> list[tuple[str | bytes, str | bytes]]:
    """The pairs with lists spread, None left out and every value checked."""
    flat: list[tuple[str | bytes, str | bytes]] = []
    for name, value in _pairs(data, f"a {what}"):
        key = _scalar(name, f"a name in the {what}")
        if isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                if item is not None:
                    flat.append((key, _scalar(item, f"data[{name!r}][{index}]")))
        elif value is not None:
            flat.append((key, _scalar(value, f"data[{name!r}]")))
    return flat


def _has_pairs(data: object) -> bool:
    """Are these pairs, rather than pieces of a body or no collection at all?"""
    if isinstance(data, (list, tuple)):
        return not data or not isinstance(data[0], _PIECES)
    return isinstance(data, (Mapping, ItemsView))


def _pairs(data: Any, what: str) -> Iterable[tuple[Any, Any]]:
    pairs = data.items() if isinstance(data, Mapping) else data
    if not isinstance(pairs, Iterable) or isinstance(pairs, (str, bytes)):
        raise RequestError(f"{what} must be a mapping or an iterable of (name, value) pairs, not {_a(data)}")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise RequestError(f"{what} must be made of (name, value) pairs, but item {index} is {_a(pair)}")
        yield pair[0], pair[1]


def _scalar(value: object, where: str) -> str | bytes:
    """``value`` as text (bytes stay bytes). True is "True", as in the query of a URL."""
    if isinstance(value, str):
        _utf8(value, where)
        return str.__str__(value)  # a member of a str Enum is meant as its value
    if isinstance(value, _RAW):
        return bytes(value)
    if isinstance(value, (int, float)):
        return str(value)
    from numbers import Number

    if isinstance(value, Number):  # Decimal, Fraction
        return str(value)
    if isinstance(value, Mapping):
        mend = "flatten it, or send the whole as JSON"
    elif hasattr(value, "read"):
        mend = "send files by upload(url, fields)"
    elif isinstance(value, os.PathLike):
        mend = "convert it by str(), or upload the file: open(path, 'rb')"
    else:
        mend = "convert it by str() first"
    raise RequestError(f"{where} is {_a(value)}, not a str, number or bytes: {mend}")


# -- text and JSON -----------------------------------------------------------------------------------------------


def _text(text: str, content_type: str) -> bytes:
    """``text`` in the charset of ``content_type``, else in UTF-8."""
    charset = "utf-8"
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"')
    try:
        return text.encode(charset)
    except UnicodeEncodeError as fault:
        raise RequestError(_unencodable("the body", fault)) from fault
    except (LookupError, ValueError) as fault:
        raise RequestError(f"the charset {charset!r} of the content type is unknown: use utf-8") from fault


def _utf8(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as fault:
        raise RequestError(_unencodable(where, fault)) from fault


def _as_bytes(value: str | bytes, where: str) -> bytes:
    return value if isinstance(value, bytes) else _utf8(value, where)


def _unencodable(where: str, fault: UnicodeEncodeError) -> str:
    return (
        f"{where} cannot be encoded as {fault.encoding}: the character U+{ord(fault.object[fault.start]):04X} "
        f"at index {fault.start}; replace it, or give bytes"
    )


@cache
def _json_encoder() -> Callable[[object], str]:
    from json import JSONEncoder

    return JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _json(data: object) -> bytes:
    try:
        return _json_encoder()(data).encode()
    except (TypeError, ValueError, RecursionError) as fault:
        raise RequestError(f"the body is no JSON: {_json_fault(data) or _said(fault)}") from fault


def _json_fault(data: object) -> str:
    """Where and why ``data`` is no JSON, "" if that is not to be found by looking at single values."""
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("data", data)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, (dict, list, tuple)):
            if id(value) in seen:
                continue
            seen.add(id(value))
            members = list(value.items() if isinstance(value, dict) else enumerate(value))
            for key, _ in members:
                if not isinstance(key, (str, int, float, type(None))):
                    return f"{where} has a key that is {_a(key)}: keys must be str"
                if why := _json_scalar_fault(key):
                    return f"a key of {where} {why}"
            waiting += [(f"{where}[{key!r}]", member) for key, member in reversed(members)]
        elif why := _json_scalar_fault(value):
            return f"{where} {why}"
    return ""


def _json_scalar_fault(value: object) -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as fault:
            return f"holds half a surrogate pair at index {fault.start}: repair the text"
        return ""
    if isinstance(value, float):
        return "" if isfinite(value) else f"is {value}, which JSON does not know: send None or a str"
    if value is None or isinstance(value, int):
        return ""
    return f"is {_a(value)}: convert it to str, int, float, bool, None, list or dict"


# -- words -------------------------------------------------------------------------------------------------------


def _mended(data: object, media: str) -> str:
    if isinstance(data, os.PathLike):
        return "open it for bytes: open(path, 'rb')"
    if media == "multipart/form-data":
        return "use upload(url, fields)"
    if media.endswith("/xml") or media.endswith("+xml"):
        return "give the document as str or bytes, for instance by xml.etree.ElementTree.tostring(root)"
    if media in _PAIR_ENCODERS:
        return "give a mapping or (name, value) pairs, or send it as JSON"
    return "give bytes, str, an open binary file or an iterable of bytes, or choose form or JSON"


def _a(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _said(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
