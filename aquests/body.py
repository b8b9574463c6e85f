"""Request bodies: what the user gave, encoded at once where it is small, streamed where it may be large.

:func:`encode` turns it into bytes, or into a :class:`~aquests.bodysource.BodySource` if it is a file or an iterable;
:func:`multipart` makes a ``BodySource`` of form fields and files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from functools import cache
from math import isfinite
from typing import Any, Final

from .bodysource import (
    RAW,
    TEXT_OR_RAW,
    BodySource,
    Bytes,
    File,
    Part,
    file_name,
    named,
    said,
    source,
    unencodable,
    utf8,
)
from .errors import RequestError
from .url import encode_query

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
XML: Final = "text/xml"
NVP: Final = "text/namevalue"

_OCTETS: Final = "application/octet-stream"


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
    raise RequestError(f"{named(data)} cannot be a body of type {media}: {_mended(data, media)}")


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
    parts: list[Part] = []
    for name, value in _pairs(fields, "the fields"):
        for item in value if isinstance(value, list) else (value,):
            if item is not None:
                head, content = _field(name, item)
                parts += (Bytes(opening + head), content, Bytes(b"\r\n"))
    parts.append(Bytes(f"--{boundary}--\r\n".encode()))
    return BodySource(parts), f"multipart/form-data; boundary={boundary}"


# -- multipart ---------------------------------------------------------------------------------------------------


def _field(name: object, value: Any) -> tuple[bytes, Part]:
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
        filename = file_name(value) or str(name)
    part = File(content, f"{where}: ") if hasattr(content, "read") else Bytes(_as_bytes(_scalar(content, where), where))
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
        return not data or not isinstance(data[0], TEXT_OR_RAW)
    return isinstance(data, (Mapping, ItemsView))


def _pairs(data: Any, what: str) -> Iterable[tuple[Any, Any]]:
    pairs = data.items() if isinstance(data, Mapping) else data
    if not isinstance(pairs, Iterable) or isinstance(pairs, (str, bytes)):
        raise RequestError(f"{what} must be a mapping or an iterable of (name, value) pairs, not {named(data)}")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise RequestError(f"{what} must be made of (name, value) pairs, but item {index} is {named(pair)}")
        yield pair[0], pair[1]


def _scalar(value: object, where: str) -> str | bytes:
    """``value`` as text (bytes stay bytes). True is "True", as in the query of a URL."""
    if isinstance(value, str):
        utf8(value, where)
        return str.__str__(value)  # a member of a str Enum is meant as its value
    if isinstance(value, RAW):
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
    raise RequestError(f"{where} is {named(value)}, not a str, number or bytes: {mend}")


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
        raise RequestError(unencodable("the body", fault)) from fault
    except (LookupError, ValueError) as fault:
        raise RequestError(f"the charset {charset!r} of the content type is unknown: use utf-8") from fault


def _as_bytes(value: str | bytes, where: str) -> bytes:
    return value if isinstance(value, bytes) else utf8(value, where)


@cache
def _json_encoder() -> Callable[[object], str]:
    from json import JSONEncoder

    return JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _json(data: object) -> bytes:
    try:
        return _json_encoder()(data).encode()
    except (TypeError, ValueError, RecursionError) as fault:
        raise RequestError(f"the body is no JSON: {_json_fault(data) or said(fault)}") from fault


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
                    return f"{where} has a key that is {named(key)}: keys must be str"
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
    return f"is {named(value)}: convert it to str, int, float, bool, None, list or dict"


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
