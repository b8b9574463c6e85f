"""HTTP/1.1 in disorder: a town of servers that answer in every way the RFC knows, and in some that it forbids.

Servers and engine take turns in one thread: nothing sleeps, and a seed tells the whole story. What must hold: each
request has exactly one answer, and it is its own; what is not idempotent reaches a server once; every step leaves
nothing unsent; and in the end all books are empty.
"""

from __future__ import annotations

import gc
import random
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Self

import pytest

from aquests.exchange import Response
from tests.helpers import random_cuts
from tests.rig import Rig

Act = bytes | str
"""Bytes to send, or what to do with the line: "close", "reset"."""


class Guest:
    """One accepted connection. ``said`` is what it still has to say, one item a turn at most.

    What hears it may have a ``tick()``, which is asked every turn for more to say.
    """

    def __init__(self, sock: socket.socket, speak: Callable[[bytes], list[Act]]):
        self.sock = sock
        self.speak = speak
        self.tick: Callable[[], list[Act]] | None = getattr(speak, "tick", None)
        self.said: list[Act] = []
        self.gone = False

    def turn(self) -> None:
        try:
            if not self.gone:
                self._listen()
            if self.tick is not None and not self.gone:
                self.said += self.tick()
            if self.said and not self.gone:
                self._say(self.said.pop(0))
        except BlockingIOError:
            pass
        except OSError:
            self.leave()

    def _listen(self) -> None:
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        if data:
            self.said += self.speak(data)
        else:
            self.leave()

    def _say(self, act: Act) -> None:
        if isinstance(act, bytes):
            try:
                sent = self.sock.send(act)
            except BlockingIOError:
                sent = 0
            if sent < len(act):
                self.said.insert(0, act[sent:])
            return
        if act == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()

    def leave(self) -> None:
        self.gone = True
        self.sock.close()


class Town:
    """Listening sockets whose connections are served by turns. ``make(house)`` gives what hears a new connection."""

    def __init__(self, houses: int, make: Callable[[int], Callable[[bytes], list[Act]]], chance: random.Random):
        self._make = make
        self._chance = chance
        self._doors = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(houses)]
        for door in self._doors:
            door.setblocking(False)
        self.ports = [int(door.getsockname()[1]) for door in self._doors]
        self.guests: list[Guest] = []

    def turn(self) -> None:
        """Each connection, in random order, hears and says a little; some are late."""
        for house, door in enumerate(self._doors):
            while True:
                try:
                    sock, _ = door.accept()
                except BlockingIOError:
                    break
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.guests.append(Guest(sock, self._make(house)))
        self._chance.shuffle(self.guests)
        for guest in self.guests:
            if self._chance.random() < 0.8:
                guest.turn()
        self.guests = [guest for guest in self.guests if not guest.gone]

    def run(self, rig: Rig, turns: int = 100_000, *, guest: bool = False) -> None:
        """Engine and town by turns until the engine is idle; as a guest it is stepped only when it asks for it."""
        asleep = 0
        for _ in range(turns):
            if rig.engine.idle:
                rig.check()
                return
            if not guest or wants_a_step(rig, 0.0) or (asleep > 50 and wants_a_step(rig, 1.0)):
                asleep = 0
                rig.engine.step(0.0)
                nothing_unsent(rig)
            asleep += 1
            self.turn()
        raise AssertionError(f"{rig.engine.pending} pending, {rig.engine.queue.size} queued, {rig.engine.lines} lines")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for door in self._doors:
            door.close()
        for guest in self.guests:
            guest.sock.close()


def wants_a_step(rig: Rig, within: float) -> bool:
    """What a host looks at: the descriptor, and the next deadline."""
    deadline = rig.engine.next_deadline()
    left = within if deadline is None else min(within, max(0.0, deadline - monotonic()))
    return bool(select.select([rig.engine.fileno()], [], [], left)[0]) or (
        deadline is not None and deadline <= monotonic()
    )


def nothing_unsent(rig: Rig) -> None:
    """The law of a step: what is due has been sent, or waits for the peer to take it. And the books are right."""
    engine = rig.engine
    assert not engine.loop.outgoing
    inflight = 0
    for channel in engine._channels:
        wire: Any = channel.wire
        assert channel.blocked or not wire.outbox, wire.outbox
        assert channel.blocked or not wire.hungry
        inflight += len(channel.inflight)
    assert len(engine._channels) + len(engine._dials) == engine.lines
    assert inflight + len(engine._dials) + len(engine._again) + engine.queue.size <= engine.pending
    assert engine.queue.size == sum(len(endpoint.waiting) for endpoint in engine.endpoints)
    assert not select.select([engine.fileno()], [], [], 0)[0] or engine.lines or engine.queue.size or not engine.pending


def books_are_closed(rig: Rig) -> None:
    """After a run lines idle, and nothing else is kept; after hanging up not even they."""
    engine = rig.engine
    assert engine.lines == len(engine._idle) == len(engine._channels)
    assert not engine._outdated and not engine._again and not engine._dials
    engine.hang_up()
    assert (engine.lines, len(engine._channels)) == (0, 0)
    assert engine._choosy is not engine.settings.use_pool
    assert all(endpoint.lines == 0 and not endpoint.roomy for endpoint in engine.endpoints)


# -- a server of moods ------------------------------------------------------------------------------------------------

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
BAD = ("cut", "reset", "leave", "surplus", "junk", "full-head")


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


METHODS = ("GET",) * 6 + ("HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


class Life:
    """A run: requests of all kinds, and callbacks that ask more, fail, and change their minds."""

    def __init__(self, seed: int, moods: tuple[str, ...], total: int):
        self.chance = random.Random(seed)
        self.moods = moods
        self.total = total
        self.log: Counter[str] = Counter()
        self.asked: dict[int, tuple[str, str]] = {}
        self.seen: set[int] = set()
        self.wrong: list[str] = []
        """What callbacks have found: the engine would only log it."""
        self.raises = True
        self.raised = 0

    def ask(self, rig: Rig, ports: list[int]) -> None:
        chance = self.chance
        number = len(self.asked)
        method = chance.choice(METHODS)
        target = f"/{number}"
        data = b"x" * chance.choice((0, 5, 3000, 300_000)) if method in ("POST", "PUT") else None
        headers = chance.choice((None, None, None, {"Connection": "close"}, {"X-Mine": "yes"}))
        options: dict[str, Any] = chance.choice(({}, {}, {"deadline": 30.0}, {"timeout": 20}, {"auth": ("me", "pw")}))
        request = rig.ask(f"http://127.0.0.1:{chance.choice(ports)}{target}", method, data, headers, **dict(options))
        self.asked[request.req_id] = (method, target)

    def on_answer(self, rig: Rig, ports: list[int], response: Response) -> None:
        chance = self.chance
        number = response.meta["req_id"]
        if number in self.seen:
            self.wrong.append(f"{number} is answered twice")
        self.seen.add(number)
        if not right(response, *self.asked[number]):
            self.wrong.append(
                f"{self.asked[number]}: {response.status_code} {response.error} {response.content[:60]!r}"
            )
        while len(self.asked) < self.total and chance.random() < 0.6:
            self.ask(rig, ports)
        if chance.random() < 0.03:
            workers = chance.choice((1, 2, 5, 20, 50))
            rig.configure(
                workers=workers,
                use_pool=chance.random() < 0.8,
                qrandom=chance.random() < 0.3,
                cookie=chance.random() < 0.3,
            )
        if self.raises and chance.random() < 0.02:
            self.raised += 1
            raise RuntimeError("a callback of a bad programmer")

    def live(self, workers: int, houses: int, *, guest: bool = False) -> Rig:
        with Town(houses, lambda house: Moody(self.chance, self.log, self.moods), self.chance) as town:
            with Rig(workers=workers, timeout=30) as rig:
                rig.on_answer = lambda response: self.on_answer(rig, town.ports, response)
                while True:
                    for _ in range(min(30, self.total - len(self.asked))):
                        self.ask(rig, town.ports)
                    if rig.engine.idle:
                        break
                    town.run(rig, guest=guest)
                assert self.wrong == []
                assert len(rig.answers) == self.total == len(self.seen)
                assert rig.engine.stats.callback_errors == self.raised
                books_are_closed(rig)
        return rig

    def no_write_is_repeated(self) -> None:
        assert {what: times for what, times in self.log.items() if times > 1 and what.startswith("POST")} == {}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Callbacks raise on purpose; handlers of ours never do."""
    yield
    assert [record.message for record in caplog.records if "handler" in record.message] == []


@pytest.mark.parametrize("seed", range(6))
def test_a_town_that_keeps_the_rules(seed: int) -> None:
    life = Life(seed, GOOD, 1200)
    rig = life.live(workers=(1, 2, 5, 50, 10, 30)[seed], houses=(1, 3, 5, 2, 8, 4)[seed])
    failed = [response for response in rig.answers if response.error is not None]
    assert {life.asked[response.meta["req_id"]][0] for response in failed} <= {"POST", "PUT"}, failed[0].error
    life.no_write_is_repeated()


@pytest.mark.parametrize("seed", range(10, 16))
def test_a_town_that_breaks_them(seed: int) -> None:
    life = Life(seed, GOOD + BAD, 1200)
    rig = life.live(workers=(1, 2, 5, 50, 10, 30)[seed - 10], houses=(1, 3, 5, 2, 8, 4)[seed - 10])
    assert any(response.error is not None for response in rig.answers)
    assert sum(response.error is None for response in rig.answers) > 600
    life.no_write_is_repeated()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="select() has no descriptor of its own")
@pytest.mark.parametrize("moods", [GOOD, GOOD + BAD])
def test_a_host_steps_only_when_it_is_asked_to(moods: tuple[str, ...]) -> None:
    life = Life(50, moods, 400)
    life.live(workers=6, houses=3, guest=True)
    life.no_write_is_repeated()


def test_no_cycle_keeps_an_answer() -> None:
    """What is done is freed at once, without the collector: bodies of megabytes would wait for it."""
    gc.collect()
    gc.disable()
    try:
        life = Life(99, GOOD + BAD, 1000)
        life.raises = False  # a log record keeps the frames of what raised
        rig = life.live(workers=7, houses=3)
        rig.answers.clear()
        left = Counter(type(thing).__name__ for thing in gc.get_objects())
    finally:
        gc.enable()
    kinds = ("Exchange", "Response", "HttpRequest", "Http1", "Channel", "Dial", "Trail")
    assert {kind: left[kind] for kind in kinds if left[kind]} == {}
