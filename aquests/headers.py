"""Header fields: a case-blind view of what was received, and a check of what is to be sent (RFC 9110 5).

``Headers`` keeps the pairs as they came and makes its index at the first look-up, because most answers are
never asked for a header. ``request_headers`` refuses what could end a line early (header injection) where the
request is queued; after it, ``encode_block`` only joins.

A message about a header never holds its value.
"""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, overload

from .errors import RequestError

Pair: TypeAlias = tuple[str, str]
RequestHeaders: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]] | None
T = TypeVar("T")

SENSITIVE: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
"""Lower-case names of headers whose values ``repr`` masks."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]++")  # RFC 9110 5.6.2
# RFC 9110 5.5: of the controls only HTAB may stand inside. A lone surrogate cannot be encoded.
_REFUSED: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


class Headers(Mapping[str, str]):
    """Header fields in the order they were received; names are looked up without regard to case.

    ``headers["accept"]`` joins repeated fields by ", " (RFC 9110 5.3). That breaks Set-Cookie, whose values hold
    commas: use ``get_all("set-cookie")``. A missing name raises KeyError. Iteration, ``keys()``, ``values()`` and
    ``len`` count each name once, in its first spelling; ``items()`` gives all pairs, repeated ones too.
    It compares equal to a mapping with the same names, in whatever case, and the same joined values.
    """

    __slots__ = ("_index", "raw")

    raw: tuple[Pair, ...]

    def __init__(self, pairs: Iterable[Pair] | Mapping[str, str] = ()) -> None:
        """Take (name, value) pairs, or a mapping. They are not checked; a tuple is kept as it is in ``raw``."""
        if not isinstance(pairs, tuple):
            pairs = tuple(pairs.items() if isinstance(pairs, Mapping) else pairs)
        self.raw = pairs
        self._index: dict[str, list[str]] | None = None

    def _indexed(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self.raw:
                index.setdefault(name.lower(), []).append(value)
        return index

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str | T) -> str | T: ...
    def get(self, name: object, default: object = None) -> object:
        """The value of ``name`` as ``headers[name]`` gives it, or ``default``."""
        values = self._indexed().get(name.lower()) if isinstance(name, str) else None
        if values is None:
            return default
        return values[0] if len(values) == 1 else ", ".join(values)

    def get_all(self, name: str) -> list[str]:
        """Every value of ``name``, one for each field line, in order; [] if there is none."""
        return self._indexed().get(name.lower(), [])[:]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._indexed()

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for name, _ in self.raw:
            lower = name.lower()
            if lower not in seen:
                seen.add(lower)
                yield name

    def __len__(self) -> int:
        return len(self._indexed())

    def items(self) -> ItemsView[str, str]:
        """All (name, value) pairs as received, repeated names too; its length is their number."""
        return _Pairs(self)

    def as_dict(self) -> dict[str, str]:
        """A new dict: each name in its first spelling, repeated values joined by ", "."""
        return {name: self[name] for name in self}

    def copy(self) -> Headers:
        return Headers(self.raw)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self._indexed() == other._indexed()
        if not isinstance(other, Mapping):
            return NotImplemented
        folded = {name.lower() if isinstance(name, str) else name: value for name, value in other.items()}
        return len(folded) == len(other) and folded == {name.lower(): self[name] for name in self}

    def __repr__(self) -> str:
        shown = [(name, "***" if name.lower() in SENSITIVE else value) for name, value in self.raw]
        return f"Headers({shown!r})"


class _Pairs(ItemsView[str, str]):
    __slots__ = ()

    _mapping: Headers

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._mapping.raw)

    def __len__(self) -> int:
        return len(self._mapping.raw)

    def __contains__(self, pair: object) -> bool:
        return pair in self._mapping.raw


def request_headers(headers: RequestHeaders) -> tuple[tuple[str, str | None], ...]:
    """Check the headers of a request and bring them into the form that ``encode_block`` writes.

    ``headers`` is a mapping (``Headers`` too) or an iterable of (name, value) pairs. A value is a str, bytes, an int
    or float; a list or tuple of them repeats the header, and None means that the default header of this name is not
    to be sent: it stays None in the result. Spaces and tabs around a value are dropped. The text returned stands for
    the bytes of its latin-1 encoding; text which latin-1 cannot express is sent as UTF-8.

    Raises RequestError, which names the header and never shows a value: the name is no token (RFC 9110 5.6.2), the
    value has another type, or holds a control character (HTAB is none: it may stand inside).
    """
    if headers is None:
        return ()
    pairs: list[tuple[str, str | None]] = []
    for name, value in headers.items() if type(headers) is dict else _pairs(headers):
        if not isinstance(name, str) or _TOKEN.fullmatch(name) is None:
            raise _refuse_name(name)
        if type(value) is str and value.isascii():
            value = value.strip(" \t")
            if refused := _REFUSED.search(value):
                raise _refuse_value(name, refused[0])
            pairs.append((name, value))
        elif value is None:
            pairs.append((name, None))
        elif isinstance(value, (list, tuple)):
            pairs += [(name, _text(name, item)) for item in value]
        else:
            pairs.append((name, _text(name, value)))
    return tuple(pairs)


def encode_block(pairs: Iterable[tuple[str, str | None]]) -> bytes:
    """``b"Name: value\\r\\n…"`` for pairs that ``request_headers`` has checked, without the empty line behind.

    A pair whose value is None is left out.
    """
    return "".join([f"{name}: {value}\r\n" for name, value in pairs if value is not None]).encode("latin-1")


def _pairs(headers: object) -> list[tuple[Any, Any]]:
    items = headers.items() if isinstance(headers, Mapping) else headers
    pairs: list[Any] = list(items) if isinstance(items, Iterable) else [None]
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise RequestError("headers must be a mapping or an iterable of (name, value) pairs")
    return pairs


def _text(name: str, value: object) -> str:
    """One value as text whose latin-1 encoding is what is sent."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes):
        text = value.decode("latin-1")
    elif isinstance(value, (int, float)):
        text = str(value)
    else:
        raise RequestError(f"header {name}: a value must be str, bytes, int or float, not {type(value).__name__}")
    text = str.strip(text, " \t")
    if refused := _REFUSED.search(text):
        raise _refuse_value(name, refused[0])
    if max(text, default="") > "\xff":
        text = text.encode().decode("latin-1")
    return text


def _refuse_name(name: object) -> RequestError:
    if not isinstance(name, str):
        return RequestError(f"a header name must be str, not {type(name).__name__}")
    if not name:
        return RequestError("a header name is empty")
    # Only the part before the first wrong character is shown: behind a colon there may be a value.
    good = _TOKEN.match(name)
    shown = good[0] if good else ""
    char = name[len(shown)]
    return RequestError(
        f"header name {shown + '…'!r}: {char!r} (U+{ord(char):04X}) at position {len(shown)} may not stand in a name: "
        "give name and value apart, and use letters, digits and '-'"
    )


def _refuse_value(name: str, char: str) -> RequestError:
    return RequestError(
        f"header {name}: U+{ord(char):04X} may not stand in a value: remove it, a header is one line of text"
    )
