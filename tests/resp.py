"""The server's half of RESP (2 and 3), for scripted peers and tests of the wire."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hiredis import Reader


@dataclass(frozen=True)
class Error:
    """``-ERR words``."""

    text: str


@dataclass(frozen=True)
class Simple:
    """``+OK``."""

    text: str


@dataclass(frozen=True)
class Push:
    """What nobody asked for (RESP3)."""

    items: tuple[Any, ...]


@dataclass(frozen=True)
class Set:
    """A set (RESP3): hiredis makes it a list."""

    items: tuple[Any, ...]


OK = Simple("OK")


def resp(*values: Any) -> bytes:
    """The values one after another, as a RESP3 server would say them (RESP2 for what it knows)."""
    return b"".join(map(_one, values))


def _one(value: Any) -> bytes:
    match value:
        case None:
            return b"_\r\n"
        case bool():
            return b"#t\r\n" if value else b"#f\r\n"
        case int():
            return b":%d\r\n" % value
        case float():
            return f",{value!r}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case str():
            return _one(value.encode())
        case Error():
            return f"-{value.text}\r\n".encode()
        case Simple():
            return f"+{value.text}\r\n".encode()
        case Push():
            return b">%d\r\n%b" % (len(value.items), resp(*value.items))
        case Set():
            return b"~%d\r\n%b" % (len(value.items), resp(*value.items))
        case list() | tuple():
            return b"*%d\r\n%b" % (len(value), resp(*value))
        case dict():
            return b"%%%d\r\n%b" % (len(value), b"".join(resp(key, item) for key, item in value.items()))
    raise TypeError(type(value))


def said(data: bytes) -> list[list[bytes]]:
    """The commands a client has sent, whole ones only."""
    missing = object()
    reader = Reader(notEnoughData=missing)
    reader.feed(data)
    commands = []
    while (command := reader.gets()) is not missing:
        commands.append(command)
    return commands


def redis_peer(answer: Callable[[list[bytes], int], bytes | None]) -> Callable[[socket.socket, int], None]:
    """A handler for ``ScriptedPeer``: ``answer(command, number of the line)`` says the bytes; None closes the line.

    HELLO is answered for it, unless it says something itself.
    """

    def serve(sock: socket.socket, number: int) -> None:
        missing = object()
        reader = Reader(notEnoughData=missing)
        while data := sock.recv(65536):
            reader.feed(data)
            while (command := reader.gets()) is not missing:
                reply = answer(command, number)
                if reply is None:
                    return
                sock.sendall(reply or (resp({b"proto": 3}) if command[0] == b"HELLO" else b""))

    return serve
