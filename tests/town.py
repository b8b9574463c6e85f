"""A town of servers in one thread with the engine: they take turns, nothing sleeps, and a seed tells the whole story.

A house of the town is a listening socket. Each connection that it accepts is a :class:`Guest`. What it hears goes to
what the test has made to speak for it, and what that returns is said, one act a turn::

    with Town(2, Echo, random.Random(1)) as town, Rig(workers=5) as rig:
        rig.ask(f"http://127.0.0.1:{town.ports[0]}/")
        town.run(rig)
        books_are_closed(rig)

What speaks is called with bytes and returns acts. It may have a ``tick()`` that returns acts, too: it is asked every
turn, for what is said late or unasked.
"""

from __future__ import annotations

import random
import select
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Any, Self

from tests.rig import Rig

Act = bytes | str
"""Bytes to send, or what to do with the line: "close", "reset"."""
Speak = Callable[[bytes], list[Act]]
"""What speaks for one connection: bytes that came in, acts out."""


class Guest:
    """One accepted connection. ``said`` is what it still has to say."""

    def __init__(self, sock: socket.socket, speak: Speak):
        self.sock = sock
        self.speak = speak
        self.tick: Callable[[], list[Act]] | None = getattr(speak, "tick", None)
        self.said: list[Act] = []
        self.gone = False

    def turn(self) -> None:
        """Hear what has come, and say one act."""
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
    """Listening sockets whose connections have turns. ``ports`` has the port of each house.

    ``make(house)`` gives what speaks for a new connection; ``chance`` decides whose turn it is.
    """

    def __init__(self, houses: int, make: Callable[[int], Speak], chance: random.Random):
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

    def run(self, rig: Rig, turns: int = 100_000, *, hosted: bool = False) -> None:
        """Engine and town by turns until the engine is idle; then each request must have its answer.

        ``hosted``: the engine is stepped only when it asks for it, as it is by a foreign loop. When the town has been
        silent for long the host sleeps, up to a second, until it is asked.
        """
        asleep = 0
        for _ in range(turns):
            if rig.engine.idle:
                rig.check()
                return
            if not hosted or wants_a_step(rig, 0.0) or (asleep > 50 and wants_a_step(rig, 1.0)):
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
