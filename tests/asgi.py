"""The application that granian and hypercorn serve in tests: /4k, /echo, /stream, /status/N and /ws."""

from __future__ import annotations

import json
from typing import Any

PAGE = b"aquests\n" * 512
"""4096 bytes."""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """ASGI 3."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _websocket(receive, send)
    else:
        await _http(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _websocket(receive: Any, send: Any) -> None:
    """Send every message back as it came."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


async def _http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    path = scope["path"]
    body = await _body(receive)
    if path == "/echo":
        status, pieces = 200, [_echo(scope, body)]
    elif path == "/stream":
        status, pieces = 200, [b"%d\n" % number for number in range(100)]
    elif path.startswith("/status/"):
        status, pieces = int(path.rpartition("/")[2]), [b""]
    else:
        status, pieces = (200, [PAGE]) if path == "/4k" else (404, [b"not found"])
    headers = [(b"content-type", b"application/json" if path == "/echo" else b"text/plain")]
    if len(pieces) == 1 and status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(pieces[0])))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _echo(scope: dict[str, Any], body: bytes) -> bytes:
    """What the server has seen of the request."""
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "version": scope["http_version"],
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    return json.dumps(seen).encode()
