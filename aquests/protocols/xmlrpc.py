"""XML-RPC as a codec on HTTP: calls encoded, answers decoded, by the standard library's ``xmlrpc.client``.

Answers are parsed under ``defusedxml``: a document with a DTD (entity bombs, external entities) is refused before
anything of it is expanded. Beyond the standard library: what XML cannot carry (control characters, NaN, a carriage
return, which a parser would turn into a line feed) is refused or escaped where the call is queued.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Final
from xml.parsers.expat import ExpatError
from xmlrpc.client import Error, Fault, Marshaller, ProtocolError, Unmarshaller, escape

from defusedxml.common import DefusedXmlException
from defusedxml.xmlrpc import DefusedExpatParser

from ..errors import ProtocolError as Malformed
from ..errors import RequestError

if TYPE_CHECKING:
    from ..exchange import Exchange

CONTENT_TYPE: Final = "text/xml"
MAX_KEPT: Final = 65536
"""Bytes of an answer that is looked at twice."""
_ILLEGAL: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What may not stand in XML 1.0 (section 2.2)."""
_BROKEN: Final = (ExpatError, Error, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What ``xmlrpc.client`` raises over an answer that is none."""


class _Marshaller(Marshaller):
    """Refuses floats that are no numbers."""

    def _finite(self, value: float, write: Callable[[str], object]) -> None:
        if not isfinite(value):
            raise TypeError(f"the float {value!r} is not a number")
        self.dump_double(value, write)

    dispatch: Any = Marshaller.dispatch | {float: _finite}


def encode(method: str, args: Sequence[Any]) -> bytes:
    """The body of a call. None, bool, int (32 bits), float, str, bytes, datetime, lists, tuples, dicts with str keys.

    Raises RequestError for anything else, and says what it was.
    """
    try:
        params = _Marshaller(encoding=None, allow_none=True).dumps(tuple(args))
    except OverflowError as error:
        raise RequestError(f"{method}: XML-RPC carries ints of 32 bits: send a bigger one as str or float") from error
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise RequestError(f"{method}: an argument cannot be sent by XML-RPC: {error}") from error
    text = f"<?xml version='1.0'?>\n<methodCall>\n<methodName>{escape(method)}</methodName>\n{params}</methodCall>\n"
    if not text.replace("\n", "").isprintable():  # what is printable may stand in XML, and is found ten times as fast
        if illegal := _ILLEGAL.search(text):
            code = f"U+{ord(illegal[0]):04X}"
            raise RequestError(f"{method}: a str holds {code}, which XML cannot carry: send it as bytes")
        text = text.replace("\r", "&#13;")
    return text.encode()


def loads(body: bytes) -> Any:
    """The one value of an answer. Raises Fault, or ProtocolError (ours) if it is no answer."""
    target = Unmarshaller(use_builtin_types=True)
    parser = DefusedExpatParser(target, forbid_dtd=True)
    try:
        parser.feed(body)
        parser.close()
        values = target.close()
    except Fault:
        raise
    except DefusedXmlException as error:
        raise Malformed("an XML-RPC answer with a DTD or an entity is refused", first=body[:64]) from error
    except _BROKEN as error:
        raise Malformed(f"not an XML-RPC answer: {type(error).__name__} {error}".strip(), first=body[:64]) from error
    if target.getmethodname() is not None or len(values) != 1:
        raise Malformed("an XML-RPC answer must hold one value", first=body[:64])
    return values[0]


class XmlRpc:
    """The codec: ``data`` is the value, a fault or another status than 200 is the ``error`` (``xmlrpc.client``'s).

    Who asks the same thing over and over often gets the same bytes: an answer that comes twice in a row is kept in
    Python's own form, and made anew of that (a tenth of the time of parsing it).
    """

    __slots__ = ("_body", "_value")

    def __init__(self) -> None:
        self._body = b""
        """The last answer, if it is small."""
        self._value: bytes | None = None
        """What it holds, marshalled; None before it has come twice."""

    def decode(self, x: Exchange) -> None:
        head: Any = x.head
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
        except Malformed as error:
            error.endpoint = x.endpoint.label
            x.error = error


def _marshalled(value: Any) -> bytes | None:
    """``value`` in Python's own form; None for what has none there: dates, decimals, great depth."""
    try:
        return marshal.dumps(value)
    except ValueError:
        return None
