"""XML-RPC as a codec on HTTP: calls encoded, answers decoded; values and errors as ``xmlrpc.client`` has them.

Beyond the standard library: what XML cannot carry (control characters, NaN, a carriage return, which a parser would
turn into a line feed) is refused or escaped where the call is queued.

How an answer is read. Its bytes become text first, in one of the few encodings that are taken, and the *text* is shown
to expat: no byte can mean one thing here and another one there. Expat judges whether it is well-formed XML, and nothing
else; the first word of a DTD ends it, before an entity is declared (so there are no bombs and no external entities).
Text that has passed is cut at ``<``: tags match, references are sound, a ``<`` begins markup. So the cutting needs to
look only for the elements of XML-RPC, where each is due. A few callbacks of expat would cost as much as all the rest,
and so would a tree: 4.5 µs for a list of three strings, 6.2 by ElementTree, 10.2 by ``xmlrpc.client``'s callbacks.
"""

from __future__ import annotations

import marshal
import re
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final
from xml.parsers.expat import ExpatError, ParserCreate
from xmlrpc.client import Fault, Marshaller, ProtocolError, escape

from ..errors import ProtocolError as Malformed
from ..errors import RequestError
from .rpchead import RpcHead

if TYPE_CHECKING:
    from ..exchange import Exchange

CONTENT_TYPE: Final = "text/xml"
MAX_KEPT: Final = 65536
"""Bytes of an answer that is looked at twice."""
ENCODINGS: Final = frozenset(("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1"))
"""Of answers. All are ASCII where markup is concerned: what else there is has no use, but to hide something."""
_ILLEGAL: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What may not stand in XML 1.0 (section 2.2)."""
_DECLARED: Final = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml\s[^>]*?\sencoding\s*=\s*["']([^"']*)""")
_MARKUP: Final = re.compile(
    r"<(?!/?[A-Za-z][\w.]*>)(?:!--.*?-->|\?.*?\?>|!\[CDATA\[(.*?)]]>"
    r"|(/?)(?:[^\s<>/:]*:)?([^\s<>/:]+)(?:[^>\"']|\"[^\"]*\"|'[^']*')*?(/?)>)",
    re.DOTALL,
)
"""What is not a plain tag: a comment, a processing instruction, a CDATA section, a tag with prefix or attributes."""
_REFERENCE: Final = re.compile("&(#x?)?([^;]+);")
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_BROKEN: Final = (ValueError, TypeError, ArithmeticError, LookupError, StopIteration)
"""What becomes of a value, or of an element, that is not what it should be."""

# Calls


class _Marshaller(Marshaller):
    """Refuses floats that are no numbers."""

    def _finite(self, value: float, write: Callable[[str], object]) -> None:
        if not isfinite(value):
            raise TypeError(f"the float {value!r} is not a number")
        self.dump_double(value, write)

    dispatch: Any = Marshaller.dispatch | {float: _finite}


def _sound(text: str) -> str:
    """Escaped text, if XML can carry it. Raises ValueError if not."""
    if illegal := _ILLEGAL.search(text):
        raise ValueError(f"a str holds U+{ord(illegal[0]):04X}, which XML cannot carry: send it as bytes")
    return text.replace("\r", "&#13;")


def _string(value: str) -> str:
    if "&" in value or "<" in value or ">" in value:
        value = escape(value)
    if not value.isprintable():  # what is printable may stand in XML, and is found ten times as fast
        value = _sound(value)
    return f"<param>\n<value><string>{value}</string></value>\n</param>\n"


def _boolean(value: bool) -> str:
    return f"<param>\n<value><boolean>{'1' if value else '0'}</boolean></value>\n</param>\n"


def _int(value: int) -> str:
    if not -0x80000000 <= value <= 0x7FFFFFFF:
        raise OverflowError
    return f"<param>\n<value><int>{value}</int></value>\n</param>\n"


def _other(value: Any) -> str:
    """Any value, by the standard library; without the ``<params>`` around it."""
    params: str = _Marshaller(encoding=None, allow_none=True).dumps((value,))
    return _sound(params[9:-10])


_PARAMS: Final[dict[type, Callable[[Any], str]]] = {str: _string, bool: _boolean, int: _int}
"""What is sent most takes a short way: a third of the instructions that the standard library takes for it."""


@lru_cache(256)
def _opening(method: str) -> str:
    return f"<?xml version='1.0'?>\n<methodCall>\n<methodName>{_sound(escape(method))}</methodName>\n<params>\n"


def encode(method: str, args: Sequence[Any]) -> bytes:
    """The body of a call. None, bool, int (32 bits), float, str, bytes, datetime, lists, tuples, dicts with str keys.

    Raises RequestError for anything else, and says what it was.
    """
    try:
        params = "".join([_PARAMS.get(arg.__class__, _other)(arg) for arg in args])
        return f"{_opening(method)}{params}</params>\n</methodCall>\n".encode()
    except OverflowError as error:
        raise RequestError(f"{method}: XML-RPC carries ints of 32 bits: send a bigger one as str or float") from error
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise RequestError(f"{method}: an argument cannot be sent by XML-RPC: {error}") from error


# Answers


def loads(body: bytes) -> Any:
    """The one value of an answer. Raises Fault, or ProtocolError (ours) if it is no answer.

    Text beside elements is ignored, as ``xmlrpc.client`` does; what is missing, or too much, is an error.
    """
    try:
        text = _checked(body)
        try:
            return _answer(text)
        except _BROKEN:
            plain = _MARKUP.sub(_plain, text)
            if plain == text:
                raise
            return _answer(plain)
    except (ExpatError, *_BROKEN) as error:
        raise Malformed(f"not an XML-RPC answer: {type(error).__name__} {error}".strip(), first=body[:64]) from error
    except Malformed as error:
        error.first = body[:64]
        raise


def _checked(body: bytes) -> str:
    """The answer as text that is well-formed XML without a DTD. Raises ExpatError, ValueError, our ProtocolError."""
    encoding = "utf-8"
    if b"encoding" in body[: body.find(b">")] and (declared := _DECLARED.match(body)):
        encoding = declared[1].decode("latin-1").lower()
        if encoding not in ENCODINGS:
            raise ValueError(f"its encoding {encoding[:40]!r} is refused")
    text = body.decode(encoding)
    parser = ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.Parse(text, True)  # of a str expat does not believe what it declares
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text  # XML 1.0, 2.11


def _refuse(*doctype: Any) -> None:
    raise Malformed("an XML-RPC answer with a DTD or an entity is refused")


def _plain(found: re.Match[str]) -> str:
    """Markup that is read nowhere else: comments vanish, CDATA is text, tags have neither prefix nor attributes."""
    data, slash, name, empty = found.groups()
    if name is None:
        return escape(data or "")
    return f"<{name}></{name}>" if empty else f"<{slash}{name}>"


def _answer(text: str) -> Any:
    """The value of a well-formed answer in plain tags. Raises Fault; one of _BROKEN for what is not due where it is."""
    take = iter(text.split("<")).__next__
    take()
    piece = take()
    if piece[0] == "?":
        piece = take()
    if piece[:15] != "methodResponse>":
        raise ValueError(f"{_named(piece)} instead of a methodResponse")
    piece = take()
    fault = piece[:6] == "fault>"
    if not fault and (piece[:7] != "params>" or take()[:6] != "param>"):
        raise ValueError(f"{_named(piece)} instead of a param")
    value = _value(take)
    if take()[0] != "/" or take()[0] != "/" or not (fault or take()[0] == "/"):
        raise ValueError("more than one value")
    if fault:
        raise Fault(value["faultCode"], value["faultString"])
    return value


def _value(take: Callable[[], str]) -> Any:
    """The value that comes next. Hot, and so one piece; a stack of its own, as nobody limits how deep values lie.

    ``into`` is the array, or the struct, that is being read, ``name`` that of the member (None in an array).
    """
    stack: list[tuple[Any, str | None]] = []
    into: Any = None
    name: str | None = None
    piece = take()
    while True:
        if piece != "value>" and piece[:6] != "value>":
            raise ValueError(f"{_named(piece)} instead of a value")
        inner = take()
        if inner[0] == "/":
            value: Any = piece[6:]
            if "&" in value:
                value = _REFERENCE.sub(_referred, value)
        else:
            kind, _, data = inner.partition(">")
            if (read := _KINDS.get(kind)) is not None:
                value = data if "&" not in data else _REFERENCE.sub(_referred, data)
                if read is not str:
                    value = read(value)
                if take()[0] != "/" or take()[0] != "/":
                    raise ValueError(f"something in or behind {kind}")
            elif kind == "array" or kind == "struct":
                stack.append((into, name))
                if kind == "array":
                    if take()[:5] != "data>":
                        raise ValueError("an array without data")
                    into, name, piece = [], None, take()
                else:
                    into, name, piece = {}, "", take()
                if piece[0] != "/":
                    if name is not None:
                        name = _name(piece, take)
                        piece = take()
                    continue
                if take()[0] != "/" or (name is None and take()[0] != "/"):
                    raise ValueError(f"something behind {kind}")
                value = into
                into, name = stack.pop()
            elif kind == "nil/" and take()[0] == "/":
                value = None
            else:
                raise LookupError(f"{_named(inner)} is no type")
        while stack:  # a value is complete: perhaps what it stands in, too
            if name is None:
                into.append(value)
            else:
                into[name] = value
                if take()[0] != "/":
                    raise ValueError("a member with two values")
            piece = take()
            if piece[0] != "/":
                break
            if take()[0] != "/" or (name is None and take()[0] != "/"):
                raise ValueError("something behind an array or a struct")
            value = into
            into, name = stack.pop()
        else:
            return value
        if name is not None:
            name = _name(piece, take)
            piece = take()


def _name(piece: str, take: Callable[[], str]) -> str:
    """The name of the member that begins with ``piece``."""
    name = take()
    if piece[:7] != "member>" or name[:5] != "name>" or take()[0] != "/":
        raise ValueError(f"{_named(piece)} is no member with a name")
    name = name[5:]
    return _REFERENCE.sub(_referred, name) if "&" in name else name


def _named(piece: str) -> str:
    return repr("<" + piece.partition(">")[0][:40])


def _referred(found: re.Match[str]) -> str:
    """The character of a reference that expat has taken."""
    mark, name = found.groups()
    return _ENTITIES[name] if mark is None else chr(int(name, 16 if mark == "#x" else 10))


def _truth(data: str) -> bool:
    return ("0", "1").index(data) == 1


def _date(data: str) -> datetime:
    return datetime.strptime(data, "%Y%m%dT%H:%M:%S")


def _nil(data: str) -> None:
    return None


_KINDS: Final[dict[str, Callable[[str], Any]]] = {
    "string": str,
    "boolean": _truth,
    "double": float,
    "float": float,
    "bigdecimal": Decimal,
    "base64": a2b_base64,
    "dateTime.iso8601": _date,
    "nil": _nil,
    **dict.fromkeys(("int", "i4", "i1", "i2", "i8", "biginteger"), int),
}


class XmlRpc:
    """The codec: ``data`` is the value, a fault or another status than 200 is the ``error`` (``xmlrpc.client``'s).

    A fault counts as 500 "Fault"; another status stands.

    Who asks the same thing over and over often gets the same bytes: an answer that comes twice in a row is kept in
    Python's own form, and made anew of that (a third of the CPU of such an answer; ``benchmarks xmlrpc``).
    """

    __slots__ = ("_body", "_head", "_told", "_value")

    lane = "XML-RPC"

    def __init__(self) -> None:
        self._body = b""
        """The last answer, if it is small."""
        self._value: bytes | None = None
        """What it holds, marshalled; None before it has come twice."""
        self._head: Any = None
        self._told: Any = None
        """The last head, as ours: most servers say the same one for a second."""

    def decode(self, x: Exchange) -> None:
        head: Any = x.head
        if head is not self._head:
            self._head, self._told = head, RpcHead(head, self.lane)
        x.head = self._told
        if head.status != 200:
            x.error = ProtocolError(x.url, head.status, head.reason, dict(head.headers))
            return
        body = x.body
        repeated = body == self._body
        if repeated and self._value is not None:
            x.data = marshal.loads(self._value)
            return
        try:
            x.data = value = loads(body)
            if repeated:
                self._value = _marshalled(value)
            elif len(body) <= MAX_KEPT:
                self._body, self._value = body, None
        except Fault as fault:
            x.error = fault
            x.head = RpcHead(head, self.lane, "Fault")
        except Malformed as error:
            error.endpoint = x.endpoint.label
            x.error = error


def _marshalled(value: Any) -> bytes | None:
    """``value`` in Python's own form; None for what has none there: dates, decimals, great depth."""
    try:
        return marshal.dumps(value)
    except ValueError:
        return None
