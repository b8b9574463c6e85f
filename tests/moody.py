"""An HTTP/1.1 server for ``tests.town`` that answers in every way the RFC knows, and in some that it forbids.

What it answers depends on chance; whether that is an answer to what was asked, :func:`right` can tell.
"""

from __future__ import annotations

import random
from collections import Counter

from aquests.exchange import Response
from tests.helpers import random_cuts
from tests.town import Act

METHODS = ("GET",) * 6 + ("HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
"""What to ask it by: mostly GET."""
GOOD = ("length",) * 8 + (
    "chunked",
    "trailers",
    "until-close",
    "interim",
    "lone-lf",
    "old",
    "closing",
    "nothing",
    "early",
)
"""Moods that keep the rules."""
BAD = ("cut", "reset", "leave", "surplus", "junk", "full-head")
"""Moods that break them, or the line."""


class Moody:
    """What hears one connection: whole requests in, answers of all kinds out. ``log`` counts what was executed."""

    def __init__(self, chance: random.Random, log: Counter[str], moods: tuple[str, ...]):
        self.chance = chance
        self.log = log
        self.moods = moods
        self._buffer = b""
        self._skip = 0

    def __call__(self, data: bytes) -> list[Act]:
        self._buffer += data
        acts: list[Act] = []
        while True:
            if self._skip:
                drop = min(self._skip, len(self._buffer))
                self._buffer = self._buffer[drop:]
                self._skip -= drop
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if self._skip or not end:
                return acts
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
            early = length > 0 and "early" in self.moods and self.chance.random() < 0.2
            if len(rest) < length and not early:
                return acts
            method, target = head.decode().split()[:2]
            self.log[f"{method} {target}"] += 1
            self._buffer = rest
            self._skip = length
            acts += self.answer(method, target)

    def answer(self, method: str, target: str) -> list[Act]:
        mood = self.chance.choice(self.moods)
        body = told(method, target)
        size = str(len(body))
        head = f"HTTP/1.1 200 OK\r\nServer: {self.chance.choice('abc')}\r\n"
        plain = f"{head}Content-Length: {size}\r\n\r\n".encode()
        full = plain if method == "HEAD" else plain + body
        if mood == "chunked" or mood == "trailers":
            chunks = b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in random_cuts(body, self.chance))
            tail = b"0\r\nTold: yes\r\n\r\n" if mood == "trailers" else b"0\r\n\r\n"
            full = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + (b"" if method == "HEAD" else chunks + tail)
        elif mood == "until-close":
            full = f"{head}\r\n".encode() + (b"" if method == "HEAD" else body)
            return [*self.cut(full), "close"]
        elif mood == "interim":
            full = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * self.chance.randrange(1, 4) + full
        elif mood == "lone-lf":
            full = full.replace(b"\r\n", b"\n", 3 if self.chance.random() < 0.5 else 4)
        elif mood == "old":
            full = full.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Server", b"Connection: keep-alive\r\nServer", 1)
        elif mood == "closing":
            return [*self.cut(full.replace(b"Server", b"Connection: close\r\nServer", 1)), "close"]
        elif mood == "nothing":
            status = self.chance.choice((b"204 No Content", b"304 Not Modified"))
            full = plain.replace(b"200 OK", status)
        elif mood == "cut":
            return [*self.cut(full[: self.chance.randrange(len(full))]), "close"]
        elif mood == "reset":
            return [*self.cut(full[: self.chance.randrange(len(full))]), "reset"]
        elif mood == "leave":
            return [*self.cut(full), "close"]  # without a word: the next request finds it gone
        elif mood == "surplus" and len(full) < 10_000:
            return [full + full]  # in one piece: what comes later nobody can tell from the next answer
        elif mood == "full-head" and len(full) < 10_000:
            return [plain + body]  # to HEAD, too: nobody asked for it
        elif mood == "junk":
            return [b"\0\r\n\r\n" * 20, "close"]
        return self.cut(full)

    def cut(self, data: bytes) -> list[Act]:
        return [data] if self.chance.random() < 0.6 else list(random_cuts(data, self.chance))


def told(method: str, target: str) -> bytes:
    """The only right body: it names what was asked, and is sometimes long, and sometimes full of empty lines."""
    text = f"{method} {target} ".encode()
    number = int(target.rpartition("/")[2])
    return text + (b"\r\n\r\n\n\n" if number % 3 == 0 else b"") + b"." * (70_000 if number % 97 == 0 else number % 200)


def right(response: Response, method: str, target: str) -> bool:
    """Is it an answer to this request, or a failure that the town can cause?"""
    if response.error is not None:
        return response.status_code in (700, 715)
    if method == "HEAD" or response.status_code in (204, 304):
        return response.content == b""
    return response.content == told(method, target)
