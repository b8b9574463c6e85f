"""XML-RPC as a codec on HTTP: calls encoded, answers decoded; values and errors as ``xmlrpc.client`` has them.

Beyond the standard library: what XML cannot carry (control characters, NaN, a carriage return, which a parser would
turn into a line feed) is refused or escaped where the call is queued.

How an answer is read. A strict reader takes documents in plain tags: a regular expression that knows the elements of
XML-RPC, each where it is due, with nothing but blanks between them. What it takes is well-formed, so a document as
servers write them is read at once. Any other one, right or wrong, is judged by expat first. Its bytes become text in
one of the few encodings that are taken, and the *text* is shown to expat: no byte can mean one thing here and another
one there. Expat judges whether it is well-formed XML, and nothing else; the first word of a DTD ends it, before an
entity is declared (so there are no bombs and no external entities). Text that has passed is undressed (of comments,
CDATA, attributes, prefixes, and of text beside elements) and shown to the same reader.

In thousands of user instructions, for a list of three strings: 40 by the reader alone, of which expat would take as
many again though it has no callbacks; 150 by ``xmlrpc.client``. A comment in it costs 137.
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
from .rpchead import RpcHead, foreign

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
_W: Final = r"[ \t\n]*+"
_PIECE: Final = re.compile(
    rf"(?:<member>{_W}<name>([^<]*+</name>){_W}|)"
    rf"(?:<value>(?:{_W}<([A-Za-z][\w.]*+)>|)([^<]*+)(?(2)</\2>{_W}|)</value>{_W}(?(1)</member>{_W}|)"
    rf"|(<value>{_W}<(?:array>{_W}<data>|struct>){_W}"
    rf"|(?:</data>{_W}</array>|</struct>){_W}</value>{_W}(?:</member>{_W}|)|[\s\S][^<]*+))",
    re.ASCII,
)
"""A value that holds no other, or where one that does begins, each with its name if it is a member: name, type, text.

Last, what is no such value: where one that holds others begins or ends, or else a tag that is not due.
"""
_HEAD: Final = re.compile(
    r"(?:<\?xml version=(['\"])1\.0\1(?: encoding=(['\"])(?:(?i:utf-?8)|([\w.-]+))\2)?(?: standalone=(['\"])yes\4)?"
    rf" ?\?>{_W})?<methodResponse(?: xmlns(?::\w+)?=\"[\w./:#-]*\")?>{_W}<(?:params>{_W}<param|(fault))>{_W}",
    re.ASCII,
)
"""What stands ahead of the value: the third group is an encoding that is not UTF-8, the fifth says it is a fault."""
_TAIL: Final = re.compile(rf"{_W}(?:</param>{_W}</params>|(</fault>)){_W}</methodResponse>{_W}")
MAX_FRAME: Final = 1000
"""Characters around the value that are looked at without expat."""
_EMPTY: Final = re.compile(r"<(?:[A-Za-z]\w*:)?([A-Za-z][\w.]*) ?/>", re.ASCII)
_CONTROLS: Final = bytes(0xFF if byte < 32 and byte not in b"\t\n\r" else byte for byte in range(256))
"""Makes what XML cannot carry of bytes something that UTF-8 cannot carry, either."""
_MARKUP: Final = re.compile(
    r"<(?!/?[A-Za-z][\w.]*>)(?:!--.*?-->|\?.*?\?>|!\[CDATA\[(.*?)]]>"
    r"|(/?)(?:[^\s<>/:]*:)?([^\s<>/:]+)(?:[^>\"']|\"[^\"]*\"|'[^']*')*?(/?)>)",
    re.DOTALL,
)
"""What is not a plain tag: a comment, a processing instruction, a CDATA section, a tag with prefix or attributes."""
_BESIDE: Final = re.compile(r"(</[^>]*+>|<data>)[^<]++|(<[^>]*+>)[^<]++(?=<[^/])")
"""Text that belongs to no value, and the tag ahead of it."""
_REFERENCE: Final = re.compile("&(?:(amp|lt|gt|quot|apos)|#([0-9]+)|#x([0-9A-Fa-f]+));|&")
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_BROKEN: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
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
        params = ""
        for arg in args:  # a sixth less than to join them
            params += _PARAMS.get(arg.__class__, _other)(arg)
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
        return _quick(body)
    except _BROKEN:
        pass  # it is not as usual
    try:
        text = _MARKUP.sub(_plain, _checked(body)).lstrip("\ufeff \t\n")
        try:
            return _answer(text)
        except _BROKEN:
            return _answer(_BESIDE.sub(_tag, text))
    except (ExpatError, *_BROKEN) as error:
        raise Malformed(f"not an XML-RPC answer: {type(error).__name__} {error}".strip(), first=body[:64]) from error
    except Malformed as error:
        error.first = body[:64]
        raise


def _quick(body: bytes) -> Any:
    """The value of a document as servers write them. Raises Fault; one of _BROKEN for any other, right or wrong."""
    text = body.translate(_CONTROLS).decode()
    if "\r" in text:
        text = _with_line_feeds(text)
    if "]" in text and "]]>" in text:
        raise ValueError("a CDATA section")
    if "/>" in text:
        text = _EMPTY.sub(r"<\1></\1>", text)
    return _answer(text)


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
    return _with_line_feeds(text)


def _with_line_feeds(text: str) -> str:
    """Lines end as XML 1.0 (2.11) wants them to."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _refuse(*doctype: Any) -> None:
    raise Malformed("an XML-RPC answer with a DTD or an entity is refused")


def _plain(found: re.Match[str]) -> str:
    """Markup that is read nowhere else: comments vanish, CDATA is text, tags have neither prefix nor attributes."""
    data, slash, name, empty = found.groups()
    if name is None:
        return escape(data or "")
    return f"<{name}></{name}>" if empty else f"<{slash}{name}>"


def _tag(found: re.Match[str]) -> str:
    """The tag of ``_BESIDE``, without the text."""
    return found[1] or found[2] or ""


def _answer(text: str) -> Any:
    """The value of an answer in plain tags. Raises Fault; one of _BROKEN for what is not due where it is."""
    start, end = text.find("<value>"), text.rfind("</value>") + 8
    fault, plain = _framed(text[:start], text[end:])
    if not text.isascii() and (not plain or "\ufffe" in text or "\uffff" in text):
        raise ValueError("characters that the encoding has not, or XML has not")
    value = _value(_PIECE.findall(text, start, end))
    if fault:
        raise Fault(value["faultCode"], value["faultString"])
    return value


@lru_cache(64)
def _framed(head: str, tail: str) -> tuple[bool, bool]:
    """Is it a fault, and in UTF-8? What stands around the value is the same in most answers of a server."""
    if len(head) + len(tail) > MAX_FRAME:
        raise ValueError("much ado around the value")
    before, behind = _HEAD.fullmatch(head), _TAIL.fullmatch(tail)
    if before is None or behind is None or (before[5] is None) is not (behind[1] is None):
        raise ValueError("no methodResponse with one value")
    encoding = before[3]
    if encoding is not None and encoding.lower() not in ENCODINGS:
        raise ValueError("its encoding is refused")
    return before[5] is not None, encoding is None


def _value(pieces: list[tuple[str, str, str, str]]) -> Any:
    """The one value of what ``_PIECE`` has found. Hot, and with a stack of its own: nobody limits how deep values lie.

    ``into`` is the array, or the struct, that is being read.
    """
    stack: list[tuple[Any, str]] = []
    whole: list[Any] = []
    into: Any = whole
    for name, kind, data, mark in pieces:
        if not mark:
            try:
                read = _KINDS[kind]
            except KeyError:
                raise LookupError(f"<{kind[:40]}> is no type") from None
            value: Any = _REFERENCE.sub(_referred, data) if "&" in data else data
            if read is not str:
                value = read(value)
        elif mark.rfind("<") < 1:
            raise ValueError(f"{mark[:40]!r} where it is not due")
        elif mark[1] == "v":
            value = [] if "<a" in mark else {}
        elif name or into.__class__ is not (list if mark[2] == "d" else dict):
            raise ValueError(f"{mark[:40]!r} where it is not due")
        else:
            into, name = stack.pop()
            if (not name) is ("</m" in mark):
                raise ValueError("more than one value in a member")
            continue
        if name:
            into[_REFERENCE.sub(_referred, name[:-7]) if "&" in name else name[:-7]] = value
        else:
            into.append(value)
        if mark:
            stack.append((into, name))
            into = value
    if stack or len(whole) != 1:
        raise ValueError("not one value")
    return whole[0]


def _referred(found: re.Match[str]) -> str:
    """The character of a reference. Raises TypeError or ValueError if there is none."""
    name, decimal, hexadecimal = found.groups()
    if name is not None:
        return _ENTITIES[name]
    character = chr(int(decimal) if decimal is not None else int(hexadecimal, 16))
    if _ILLEGAL.match(character):
        raise ValueError(f"{found[0]} is no character of XML")
    return character


def _truth(data: str) -> bool:
    if data != "0" and data != "1":
        raise ValueError(f"{data[:40]!r} is no boolean")
    return data == "1"


def _date(data: str) -> datetime:
    return datetime.strptime(data, "%Y%m%dT%H:%M:%S")


def _nil(data: str) -> None:
    return None


def _struct(data: str) -> dict[str, Any]:
    """One without members."""
    return {}


_KINDS: Final[dict[str, Callable[[str], Any]]] = {
    "": str,
    "string": str,
    "boolean": _truth,
    "double": float,
    "float": float,
    "bigdecimal": Decimal,
    "base64": a2b_base64,
    "dateTime.iso8601": _date,
    "nil": _nil,
    "struct": _struct,
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
            error.message += foreign(head, "xml")
            error.endpoint = x.endpoint.label
            x.error = error


def _marshalled(value: Any) -> bytes | None:
    """``value`` in Python's own form; None for what has none there: dates, decimals, great depth."""
    try:
        return marshal.dumps(value)
    except ValueError:
        return None
