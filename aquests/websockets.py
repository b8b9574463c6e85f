"""WebSocket in the script face: ``ws(url, message)`` queues messages to send and replies to wait for.

The opcodes of the ``websocket`` package stand here under short names: ``TEXT``, ``BINARY``, ``PING``, ``PONG``,
``CLOSE``, ``CONT``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from .errors import RequestError
from .exchange import Pairs, Request
from .headers import request_headers
from .httprequest import Options, check
from .protocols.wsmessage import BINARY_STARTS, MAX_PLAIN, TEXT_STARTS, Plain
from .script import script
from .url import SCHEMES, split

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Unpack

    from .endpoint import Endpoints
    from .protocols.wsframes import Messages

_PLAIN: Final = {scheme: SCHEMES[scheme] for scheme in ("ws", "wss")}
_SECURE: Final = {"wss": SCHEMES["wss"]}
_OPCODES: Final = frozenset(("BINARY", "CLOSE", "CONT", "PING", "PONG", "TEXT"))
_LIGHT: Final = frozenset(("callback", "deadline", "max_content", "max_redirects", "meta", "timeout"))
"""Options that change nothing about the line."""
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@cache
def _frames() -> ModuleType:
    """The module of frames, loaded when it is needed first: it is not light."""
    from .protocols import wsframes

    return wsframes


def __getattr__(name: str) -> Any:
    if name in _OPCODES:
        return getattr(_frames(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Opener(Protocol):
    def __call__(
        self,
        url: str,
        message: Any = None,
        headers: Any = None,
        *,
        replies: int = 1,
        subprotocols: Sequence[str] = (),
        compression: bool | str = True,
        **options: Unpack[Options],
    ) -> Request: ...


def _opener(kind: str, schemes: Mapping[str, int], doc: str) -> Opener:
    """``ws`` or ``wss``: they differ in the ``schemes`` that they take."""

    def call(
        url: str,
        message: Any = None,
        headers: Any = None,
        *,
        replies: int = 1,
        subprotocols: Sequence[str] = (),
        compression: bool | str = True,
        **options: Any,
    ) -> Request:
        engine = script.made or script.engine
        if not options and headers is None and compression is True and subprotocols == () and url.__class__ is str:
            endpoint = engine.endpoints.openings.get(url)
            if endpoint is not None and endpoint.scheme in schemes:  # nothing to check but the message
                return engine.submit(Request("GET", url, _payload(message, replies), (), kind, endpoint))
        if subprotocols != () or compression is not True:
            options |= {"subprotocols": subprotocols, "compression": compression}
        return engine.submit(make(kind, url, message, headers, replies, options, engine.endpoints, schemes))

    call.__name__ = call.__qualname__ = kind
    call.__doc__ = doc
    return call


def make(
    kind: str,
    url: str,
    message: Any,
    headers: Any,
    replies: int,
    options: dict[str, Any],
    endpoints: Endpoints,
    schemes: Mapping[str, int] = _PLAIN,
) -> Request:
    """The request of :func:`ws`, placed; ``options`` are its keyword arguments but for ``replies``."""
    callback = meta = None
    opening: dict[str, Any] = {}
    if options:
        opening = _opening(options)
        callback, meta = check(options)
    pairs: Pairs = ()
    plain = headers is None and url.__class__ is str and not (options and options.keys() - _LIGHT)
    key = (url, *opening.items()) if opening else url
    endpoint = endpoints.openings.get(key) if plain else None
    options |= opening
    if endpoint is None or endpoint.scheme not in schemes:
        place = split(url, schemes)
        if place.user is not None and "auth" not in options:
            from .auth import credentials

            options["auth"] = credentials((place.user, place.password or ""))
        pairs = _headers(headers)
        endpoint = endpoints.find(place, options, pairs)
        if plain and place.text == url:
            endpoints.remember_opening(key, endpoint)
        url = place.text
    return Request(
        "GET",
        url,
        _payload(message, replies),
        pairs,
        kind=kind,
        endpoint=endpoint,
        callback=callback,
        meta=meta,
        options=options or None,
    )


def _opening(options: dict[str, Any]) -> dict[str, Any]:
    """What the opening offers, checked; only what is not the default."""
    opening: dict[str, Any] = {}
    given = options.pop("subprotocols", ())
    protocols = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if not all(isinstance(name, str) and _TOKEN.fullmatch(name) for name in protocols):
        raise RequestError("subprotocols must be names without spaces, commas or slashes (RFC 6455 4.1)")
    if len(set(protocols)) < len(protocols):
        raise RequestError("subprotocols: one is named twice (RFC 6455 4.1)")
    if protocols:
        opening["subprotocols"] = protocols
    compression = options.pop("compression", True)
    if isinstance(compression, str):
        from .protocols.wsdeflate import Offer

        Offer(compression)  # what is wrong with it is said here
    elif not isinstance(compression, bool):
        raise RequestError(f"compression must be True, False or parameters as a str, not {compression!r}")
    if compression is not True:
        opening["compression"] = compression
    return opening


def _headers(headers: Any) -> Pairs:
    pairs = request_headers(headers)
    if pairs:
        from .protocols.wsopening import OURS

        for name, _ in pairs:
            if name.lower() in OURS:
                hint = ": give subprotocols=" if name.lower() == "sec-websocket-protocol" else ""
                raise RequestError(f"the header {name} belongs to the opening of the WebSocket{hint}")
    return pairs


def _payload(message: Any, replies: Any) -> Plain | Messages:
    kind = message.__class__
    if replies.__class__ is int and replies == 1:
        if kind is str and len(message) <= MAX_PLAIN and message.isascii():
            return Plain(TEXT_STARTS[len(message)] + message.encode())
        if kind is bytes and len(message) <= MAX_PLAIN:
            return Plain(BINARY_STARTS[len(message)] + message)
    if not isinstance(replies, int) or isinstance(replies, bool) or replies < 0:
        raise RequestError(f"replies must be a whole number of at least 0, not {replies!r}")
    frames = _frames()
    if kind is str and message.isascii():
        items = [(frames.TEXT, message.encode())]
    else:
        several = message if isinstance(message, list) else [] if message is None else [message]
        items = [_message(one) for one in several]
    return frames.Messages(items, replies)  # type: ignore[no-any-return]


def _message(message: Any) -> tuple[int, bytes]:
    """Opcode and bytes of one message."""
    from .protocols.wsframes import BINARY, MAX_CONTROL, PING, PONG, TEXT

    if isinstance(message, tuple):
        if len(message) != 2 or not isinstance(message[0], int):
            raise RequestError("a message with its opcode is a pair: (opcode, data)")
        opcode, data = message
        if opcode not in (TEXT, BINARY, PING, PONG):
            raise RequestError(f"the opcode {opcode} is not for messages: lines fragment, and close, by themselves")
    else:
        opcode, data = (TEXT if isinstance(message, str) else BINARY), message
    if not isinstance(data, (str, bytes, bytearray, memoryview)):
        hint = "json.dumps() makes a str of it" if isinstance(data, dict) else "several go in a list"
        raise RequestError(f"a message is str or bytes, not {type(data).__name__}: {hint}")
    try:
        body = data.encode() if isinstance(data, str) else bytes(data)
        if opcode == TEXT and not isinstance(data, str):
            body.decode()
    except UnicodeError:
        raise RequestError("a text message must be UTF-8 (RFC 6455 5.6)") from None
    if opcode in (PING, PONG) and len(body) > MAX_CONTROL:
        raise RequestError(f"PING and PONG carry at most {MAX_CONTROL} bytes (RFC 6455 5.5)")
    return opcode, body


ws = _opener(
    "ws",
    _PLAIN,
    """Queue messages to a WebSocket (RFC 6455): ``ws://`` or ``wss://``. Returns the request.

    - ``message``: str (sent as text), bytes (binary), ``(opcode, data)``, a list of these, or None: just listen.
    - ``replies``: how many messages to wait for. ``response.data`` is the message, str or bytes as the server sent it,
      or a list if there are several. Those count that begin to come after ours were handed to the line, in their
      order; what came before is dropped. 0 is for servers that do not answer: it is done as soon as it is sent. The
      replies to PINGs alone are their PONGs.
    - ``headers`` go with the opening; ``subprotocols`` are offered in this order, the server's choice is
      ``response.headers["sec-websocket-protocol"]``.
    - ``compression``: True, False, or the parameters of permessage-deflate to offer (RFC 7692), for instance
      ``"server_no_context_takeover; client_max_window_bits=10"``.

    The line stays open for further calls with the same URL, headers and options. A server that does not open a
    WebSocket gives an answer that is not ``ok``, with its status and body; redirects and ``auth=`` work as in ``get``.
    If it closes before the replies are complete, ``response.error`` is a ``WebSocketClosed`` (700),
    ``response.close_code`` tells why, and ``response.data`` holds the replies so far. A message is never sent twice
    by itself.

    Raises RequestError for what cannot be sent, TypeError for a misspelt option.
    """,
)
wss = _opener("wss", _SECURE, "As :func:`ws`, but only over TLS: any URL except ``wss://`` is refused.")
