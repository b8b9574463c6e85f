"""MongoDB servers for tests that do as they are told: what no real server does on demand.

    with ReplicaSet(3) as members:
        members.primary = members[1]
        members[0].refuses = …

All of them speak OP_MSG as ``aquests.protocols.mongomsg`` does; that it is right is tested against real servers.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Self

import bson

from aquests.protocols.mongomsg import parse
from tests.peers import ScriptedPeer

BREAK = object()
"""An answer: reset the line instead."""
SILENCE = object()
"""An answer: none."""


def reply(to: int, document: dict[str, Any], flags: int = 0) -> bytes:
    """An OP_MSG that answers request ``to``."""
    body = struct.pack("<I", flags) + b"\0" + bson.encode(document)
    return struct.pack("<iiii", 16 + len(body), 9000 + to, to, 2013) + body


class Member:
    """One server. ``seen`` are the commands it got, without ``hello``; ``script(command)`` may answer in its stead."""

    def __init__(self, members: ReplicaSet):
        self.members = members
        self.seen: list[dict[str, Any]] = []
        self.greeted = 0
        self.script: Callable[[dict[str, Any]], Any] = lambda command: None
        self.greeting: Callable[[], Any] = lambda: None
        self.peer = ScriptedPeer(self._serve)
        self.place = self.peer.netloc

    def answer(self, command: dict[str, Any]) -> Any:
        if "hello" in command:
            self.greeted += 1
            return self.greeting() or self._hello()
        self.seen.append(command)
        told = self.script(command)
        if told is not None:
            return told
        if self.members.primary is not self and "$readPreference" not in command and "getMore" not in command:
            return {"ok": 0, "code": 10107, "errmsg": "not primary"}
        if "find" in command:
            batch = {"firstBatch": [{"from": self.place}], "id": 0, "ns": "shop.c"}
            return {"ok": 1, "cursor": batch}
        return {"ok": 1, "n": 1}

    def _hello(self) -> dict[str, Any]:
        members = self.members
        hello = {"ok": 1, "isWritablePrimary": members.primary is self, "setName": "rs", "maxWireVersion": 21}
        hello["hosts"] = [member.place for member in members]
        if members.named is not None:
            hello["primary"] = members.named
        return hello

    def _serve(self, sock: socket.socket, number: int) -> None:
        data = b""
        while True:
            while len(data) < 16 or len(data) < struct.unpack_from("<i", data)[0]:
                more = sock.recv(65536)
                if not more:
                    return
                data += more
            (length,) = struct.unpack_from("<i", data)
            request_id = struct.unpack_from("<i", data, 4)[0]
            with self.members.lock:
                answer = self.answer(parse(data[:length])[2])
            data = data[length:]
            if answer is BREAK:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if answer is not SILENCE:
                sock.sendall(reply(request_id, answer))


class ReplicaSet(list[Member]):
    """``primary`` is the member that takes writes; ``named`` the address the members believe is the primary's."""

    def __init__(self, number: int):
        self.lock = threading.Lock()
        super().__init__(Member(self) for _ in range(number))
        self.primary: Member | None = None
        self.named: str | None = None

    def elect(self, number: int) -> Member:
        """Make it the primary, and let all know."""
        self.primary = self[number]
        self.named = self.primary.place
        return self.primary

    def uri(self, *more: str, options: str = "") -> str:
        """``more`` are hosts ahead of the members."""
        return f"mongodb://{','.join((*more, *(member.place for member in self)))}/shop{options}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for member in self:
            member.peer.__exit__(kind, error, trace)
