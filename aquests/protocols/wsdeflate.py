"""permessage-deflate (RFC 7692): what is offered, what the server may answer, and the two directions of it.

Decompression is bounded while it runs: a few bytes may inflate to a thousand times as many, so a look at the result
would come too late. Each direction keeps a window of up to 32 KiB between messages ("context takeover") unless that was
agreed away; ours is made at the first message that is worth it, for zlib takes 144 KiB for it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any, Final

from ..errors import ProtocolError, RequestError
from .wsframes import BINARY, PROTOCOL_ERROR, TEXT, TOO_BIG, Violation

NAME: Final = "permessage-deflate"
MIN_SIZE: Final = 64
"""Bytes below which a message is sent as it is: deflate would save nothing worth its time."""
MAX_BITS: Final = 15
LEAST_BITS: Final = 8
_TAIL: Final = b"\x00\x00\xff\xff"
"""The end of a flushed block, which is not sent (RFC 7692 7.2.1)."""
_MAX_STREAMS: Final = 64
"""Deflate streams in one message: each final block begins another (RFC 7692 7.2.3.5), and each costs a decoder."""
_MEMORY: Final = 5

_NO_VALUE: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = ("server_max_window_bits", "client_max_window_bits")
_PARAMETER: Final = re.compile(r'[ \t]*([a-z_]+)[ \t]*(?:=[ \t]*("?)([1-9][0-9]?)\2[ \t]*)?')

Parameters = dict[str, int | None]


class Offer:
    """What a client offers: ``parameters`` as they stand in a header, "" for the defaults.

    Raises RequestError for parameters that RFC 7692 does not know.
    """

    __slots__ = ("_asked", "header")

    def __init__(self, parameters: str = "client_max_window_bits"):
        try:
            self._asked = _parse(parameters.split(";") if parameters.strip() else [])
        except ValueError as error:
            raise RequestError(f"compression: {error}") from None
        given = (name if bits is None else f"{name}={bits}" for name, bits in self._asked.items())
        self.header = "; ".join((NAME, *given))

    def accepted(self, answer: str) -> Deflate:
        """The extension as the server's ``Sec-WebSocket-Extensions`` agrees to it (RFC 7692 7.1).

        Raises ProtocolError where it agrees to something else than was offered.
        """
        name, *parameters = answer.split(";")
        if name.strip(" \t").lower() != NAME:
            raise ProtocolError(f"the server uses an extension that was not offered: {name.strip()[:40]!r}")
        try:
            agreed = _parse(parameters)
            self._check(agreed)
        except ValueError as error:
            raise ProtocolError(f"{NAME}: {error}") from None
        asked = self._asked
        ours = agreed.get("client_max_window_bits") or asked.get("client_max_window_bits") or MAX_BITS
        return Deflate(
            bits=ours,
            takeover="client_no_context_takeover" not in (agreed.keys() | asked.keys()),
            server_takeover="server_no_context_takeover" not in agreed,
        )

    def _check(self, agreed: Parameters) -> None:
        asked = self._asked
        if "client_max_window_bits" in agreed:
            if "client_max_window_bits" not in asked:
                raise ValueError("client_max_window_bits was not offered")
            if agreed["client_max_window_bits"] is None:
                raise ValueError("client_max_window_bits without a value")
        if "server_no_context_takeover" in asked and "server_no_context_takeover" not in agreed:
            raise ValueError("server_no_context_takeover was asked for and is missing")
        for name in _BITS:
            most = asked.get(name)
            given = agreed.get(name)
            if most is not None and (given or (0 if name == _BITS[1] else MAX_BITS + 1)) > most:
                raise ValueError(f"{name} is not as it was offered")


def _parse(parameters: list[str]) -> Parameters:
    """Names and values of an extension's parameters. Raises ValueError, which says what is wrong."""
    found: Parameters = {}
    for text in parameters:
        match = _PARAMETER.fullmatch(text)
        name = match[1] if match else text.strip()
        if match is None or name not in (*_NO_VALUE, *_BITS) or name in found:
            raise ValueError(f"bad or repeated parameter {text.strip()[:40]!r}")
        bits = int(match[3]) if match[3] else None
        if name in _NO_VALUE and bits is not None:
            raise ValueError(f"{name} takes no value")
        if (name == "server_max_window_bits" and bits is None) or not LEAST_BITS <= (bits or MAX_BITS) <= MAX_BITS:
            raise ValueError(f"{name} takes a value of {LEAST_BITS} to {MAX_BITS}")
        found[name] = bits
    return found


class Deflate:
    """The agreed extension on one line: ``deflate`` for what is sent, ``inflate`` for what comes."""

    __slots__ = ("_bits", "_compressor", "_inflater", "_server_takeover", "_streams", "_takeover")

    def __init__(self, bits: int = MAX_BITS, takeover: bool = True, server_takeover: bool = True):
        self._bits = bits
        self._takeover = takeover
        self._server_takeover = server_takeover
        self._compressor: Any = None
        self._inflater: Any = None
        self._streams = 0

    def worth(self, opcode: int, data: bytes) -> bool:
        """Shall this be compressed? Not where the server wants a window of 256 bytes: zlib has none for raw deflate."""
        return len(data) >= MIN_SIZE and opcode in (TEXT, BINARY) and self._bits > LEAST_BITS

    def pieces(self, data: bytes, size: int) -> Iterator[bytes]:
        """A message compressed, made of ``size`` bytes at a time."""
        for at in range(0, len(data), size):
            if piece := self.deflate(data[at : at + size], at + size >= len(data)):
                yield piece

    def deflate(self, data: bytes, last: bool) -> bytes:
        """The next piece of a message, compressed; ``last`` ends the message. May give nothing yet."""
        compressor = self._compressor
        if compressor is None:
            compressor = self._compressor = zlib.compressobj(wbits=-self._bits, memLevel=_MEMORY)
        out: bytes = compressor.compress(data)
        if last:
            out += compressor.flush(zlib.Z_SYNC_FLUSH)
            out = out.removesuffix(_TAIL)
            if not self._takeover:
                self._compressor = None
        return out

    def inflate(self, data: bytes, room: int, last: bool) -> bytes:
        """The next piece of a message, at most ``room`` bytes. Raises Violation: over that, or no deflate data."""
        out = self._inflate(data, room)
        if last:
            if self._inflater is not None and not self._inflater.eof:
                out += self._inflate(_TAIL, room - len(out))
            self._streams = 0
            if not self._server_takeover:
                self._inflater = None
        return out

    def _inflate(self, data: bytes, room: int) -> bytes:
        out = b""
        while data:
            inflater = self._inflater
            if inflater is None or inflater.eof:
                self._streams += 1
                if self._streams > _MAX_STREAMS:
                    raise Violation(PROTOCOL_ERROR, f"over {_MAX_STREAMS} deflate streams in a message")
                # Any window of the server's fits into the largest.
                inflater = self._inflater = zlib.decompressobj(wbits=-MAX_BITS)
            try:
                out += inflater.decompress(data, room - len(out) + 1)
            except zlib.error as error:
                raise Violation(PROTOCOL_ERROR, f"not deflate data: {error}") from error
            if len(out) > room:
                raise Violation(TOO_BIG, "the answer is over its limit (max_content=) once it is inflated")
            data = inflater.unused_data if inflater.eof else b""
        return out
