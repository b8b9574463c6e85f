"""Redis in disorder: pipelines that are cut, pushed into, given up and broken, and answers that are late.

Servers and engine take turns in one thread: ``tests.town``. Answers carry no number: if one place in a
row of them were lost, everybody behind would have his neighbour's. So each answer names what was asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hiredis import Reader

import aquests
from aquests.errors import AquestsError
from aquests.exchange import Response
from aquests.script import script
from tests.helpers import random_cuts
from tests.resp import Error, Push, Set, resp
from tests.rig import Rig
from tests.town import Act, Town, books_are_closed

_MISSING = object()
CALM = ("plain",) * 10 + ("cut", "pushed")
WILD = CALM + ("late", "close", "reset", "half")


class Server:
    """What hears one connection. ``log`` counts what was executed, over all of them."""

    def __init__(self, chance: random.Random, log: Counter[bytes], moods: tuple[str, ...]):
        self.chance = chance
        self.log = log
        self.moods = moods
        self._reader = Reader(notEnoughData=_MISSING)
        self._queued: list[list[bytes]] | None = None
        self._patience = 0
        self._held: list[Act] = []

    def __call__(self, data: bytes) -> list[Act]:
        self._reader.feed(data)
        answers = b""
        while (command := self._reader.gets()) is not _MISSING:
            answers += self.answer(command)
        if not answers:
            return []
        if self._held:
            self._held.append(answers)
            return []
        mood = self.chance.choice(self.moods)
        if mood == "cut":
            return list(random_cuts(answers, self.chance))
        if mood == "pushed":
            return [resp(Push(("invalidate", "all"))) + answers]
        if mood == "late":
            self._patience = self.chance.randrange(1, 60)
            self._held = list(random_cuts(answers, self.chance))
            return []
        if mood in ("close", "reset"):
            return [answers, mood]
        if mood == "half":
            return [answers[: self.chance.randrange(len(answers))], "close"]
        return [answers]

    def tick(self) -> list[Act]:
        self._patience -= 1
        if self._patience > 0 or not self._held:
            return []
        held, self._held = self._held, []
        return held

    def answer(self, command: list[bytes]) -> bytes:
        name = command[0]
        if name == b"HELLO":
            return resp({b"proto": 3})
        if name == b"MULTI":
            self._queued = []
            return b"+OK\r\n"
        if name == b"EXEC":
            queued, self._queued = self._queued or [], None
            return resp([said(one) for one in queued])
        if self._queued is not None:
            self._queued.append(command)
            return b"+QUEUED\r\n"
        self.log[b" ".join(command)] += 1
        return resp(said(command))


def said(command: list[bytes]) -> Any:
    """The only right answer to a command: it names it."""
    name, key = command[0], command[1]
    number = int(key)
    if number % 17 == 0:
        return Error(f"WRONGTYPE {number}")
    match name:
        case b"GET":
            return (
                None
                if number % 11 == 0
                else b"v%d" % number + b"\r\n$" * (number % 40 * (1000 if number % 5 == 0 else 1))
            )
        case b"STRLEN" | b"INCR":
            return number
        case b"LRANGE":
            return [key, number, None, [key]]
        case b"HGETALL":
            return {b"a": key, b"b": number}
        case b"SMEMBERS":
            return Set((key, b"x"))
        case b"BLPOP":
            return [key, b"first"]
    raise AssertionError(command)


FAR = 1_000_000
"""Between the numbers of a transaction."""
COMMANDS = ("get",) * 6 + ("strlen", "incr", "lrange", "hgetall", "smembers", "blpop", "transaction")


def right(response: Response, kind: str, number: int) -> bool:
    if isinstance(response.error, AquestsError):
        return response.status_code in (700, 702, 714)
    key = b"%d" % number
    if kind == "transaction":
        wanted = [f"WRONGTYPE {one}" if one % 17 == 0 else str(one) for one in (number, number + FAR)]
        return [str(one) for one in response.data] == wanted
    if number % 17 == 0:
        return response.status_code == 500 and str(response.error) == f"WRONGTYPE {number}"
    expected = said([kind.upper().encode(), key])
    return bool(response.data == ({key, b"x"} if kind == "smembers" else expected))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """The script face's engine is one that keeps its answers."""
    with Rig(workers=3, timeout=10) as rig:
        monkeypatch.setattr(script, "made", rig.engine)
        yield rig


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_each_command_has_its_own_answer(rig: Rig, seed: int, wild: bool) -> None:
    chance = random.Random(seed)
    log: Counter[bytes] = Counter()
    asked: dict[int, tuple[str, int]] = {}
    wrong: list[str] = []
    moods = WILD if wild else CALM
    with Town(2, lambda house: Server(chance, log, moods), chance) as town:
        stubs = [
            aquests.redis(f"127.0.0.1:{port}", pipeline=pipeline, trust_env=False)
            for port, pipeline in zip(town.ports, (64, (1, 3, 64, 500)[seed]), strict=True)
        ]

        def ask() -> None:
            number = len(asked)
            kind = chance.choice(COMMANDS)
            stub = chance.choice(stubs)
            options: dict[str, Any] = {"timeout": 0.02} if wild and chance.random() < 0.05 else {}
            if kind == "transaction":
                request = stub.transaction([("INCR", number), ("STRLEN", number + FAR)], **options)
            elif kind == "blpop":
                request = stub.blpop(number, 1, **options)
            elif kind == "lrange":
                request = stub.lrange(number, 0, 3, **options)
            else:
                request = getattr(stub, kind)(number if chance.random() < 0.3 else str(number), **options)
            asked[request.req_id] = (kind, number)
            rig.asked += 1

        def on_answer(response: Response) -> None:
            what = asked[response.meta["req_id"]]
            if not right(response, *what):
                wrong.append(f"{what}: {response.status_code} {response.error!r} {str(response.data)[:60]}")
            while len(asked) < 1200 and chance.random() < 0.6:
                ask()
            if chance.random() < 0.01:
                rig.configure(workers=chance.choice((1, 2, 6)), use_pool=chance.random() < 0.9)

        rig.on_answer = on_answer
        while len(asked) < 1200:
            for _ in range(150):
                ask()
            town.run(rig)
        assert wrong == [], len(wrong)
        assert rig.engine.stats.callback_errors == 0
        failed = sum(isinstance(response.error, AquestsError) for response in rig.answers)
        assert (failed > 0) == wild and failed < len(asked)
        assert [what for what, times in log.items() if times > 1] == [], "executed twice"
        books_are_closed(rig)
