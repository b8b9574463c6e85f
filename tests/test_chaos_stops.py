"""Runs that are stopped, hung up and begun again at any moment: nothing is lost, doubled or left behind."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from aquests.errors import Cancelled
from aquests.exchange import Response
from tests.moody import BAD, GOOD, METHODS, Moody, right
from tests.rig import Rig
from tests.town import Town, books_are_closed, nothing_unsent


@pytest.mark.parametrize("seed", [*range(6), 1005, 1023, 1047])
def test_stopped_and_begun_again(seed: int) -> None:
    chance = random.Random(seed)
    log: Counter[str] = Counter()
    asked: dict[int, tuple[str, str]] = {}
    wrong: list[str] = []
    cancelled = 0
    total = 700
    moods = GOOD + BAD if seed % 2 else GOOD
    with (
        Town(3, lambda house: Moody(chance, log, moods), chance) as town,
        Rig(workers=(1, 3, 10, 40, 2, 20)[seed % 6], timeout=20) as rig,
    ):
        engine = rig.engine

        def ask() -> None:
            method, target = chance.choice(METHODS), f"/{len(asked)}"
            data = b"x" * 5000 if method in ("POST", "PUT") else None
            asked[rig.ask(f"http://127.0.0.1:{chance.choice(town.ports)}{target}", method, data).req_id] = (
                method,
                target,
            )

        def on_answer(response: Response) -> None:
            nonlocal cancelled
            what = asked[response.meta["req_id"]]
            if isinstance(response.error, Cancelled):
                cancelled += 1
            elif not right(response, *what):
                wrong.append(f"{what}: {response.status_code} {response.error}")
            if len(asked) < total and chance.random() < 0.8:
                ask()
            if chance.random() < 0.02:
                engine.stop()

        rig.on_answer = on_answer
        while len(asked) < total or not engine.idle:
            if engine.idle:
                for _ in range(50):
                    ask()
            engine.step(0.0)
            nothing_unsent(rig)
            town.turn()
            if engine._stopping or chance.random() < 0.01:
                stopping, sent = engine._stopping, engine.sent
                engine.step(0.0)
                assert not stopping or engine.sent == sent, "a stopped engine takes from the queue"
                engine.hang_up()
                assert (engine.lines, engine.workings, len(engine._channels)) == (0, 0, 0)
                assert engine.queue.size == engine.pending
                assert not engine._stopping and not engine.loop.outgoing
        rig.check()
        assert wrong == [], len(wrong)
        assert cancelled and engine.stats.callback_errors == 0
        assert [what for what, times in log.items() if times > 1 and what.startswith("POST")] == []
        books_are_closed(rig)
