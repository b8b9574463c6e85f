"""WebSockets in disorder: the ``websockets`` library echoes, fragments, pings, pushes and leaves, in any pieces.

Servers and engine take turns in one thread: ``tests.town``.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from aquests.exchange import Response
from aquests.websockets import make
from tests.helpers import random_cuts
from tests.rig import Rig
from tests.town import Act, Town, books_are_closed

CALM = ("plain",) * 8 + ("fragments", "ping", "binary")
WILD = CALM * 2 + ("close", "leave", "reset", "refuse", "pushed")


class Server:
    """What hears one connection. ``log`` counts the messages that came, over all of them."""

    def __init__(self, chance: random.Random, log: Counter[str], moods: tuple[str, ...]):
        self.chance = chance
        self.log = log
        self.moods = moods
        self.protocol = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()], max_size=None)
        self._message = b""

    def __call__(self, data: bytes) -> list[Act]:
        protocol = self.protocol
        protocol.receive_data(data)
        acts: list[Act] = []
        for event in protocol.events_received():
            if isinstance(event, Request):
                if self.chance.choice(self.moods) == "refuse":
                    protocol.send_response(protocol.reject(503, "not now"))
                else:
                    protocol.send_response(protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._message += event.data
                if not event.fin:
                    continue
                message, self._message = self._message, b""
                last = self.answer(message.decode())
                acts += self.flush()
                if last is not None:
                    return [*acts, last]
        acts += self.flush()
        return [*acts, "close"] if protocol.close_expected() else acts

    def flush(self) -> list[Act]:
        said = b"".join(self.protocol.data_to_send())
        return [] if not said else [said] if self.chance.random() < 0.6 else list(random_cuts(said, self.chance))

    def answer(self, message: str) -> str | None:
        self.log[message.partition(" ")[0]] += 1
        protocol, mood = self.protocol, self.chance.choice(self.moods)
        if mood == "close":
            protocol.send_close(1001, "later")
            return None
        if mood in ("leave", "reset"):
            return "close" if mood == "leave" else "reset"
        reply = told(message).encode()
        if mood == "ping":
            protocol.send_ping(b"are you?")
        if mood == "fragments":
            *pieces, last = random_cuts(reply, self.chance) or [reply]
            for number, piece in enumerate(pieces):
                (protocol.send_continuation if number else protocol.send_text)(piece, fin=False)
                if self.chance.random() < 0.3:
                    protocol.send_ping(b"within")
            (protocol.send_continuation if pieces else protocol.send_text)(last, fin=True)
        elif mood == "binary":
            protocol.send_binary(reply)
        else:
            protocol.send_text(reply)
        if mood == "pushed":
            protocol.send_ping(b"behind")  # what belongs to no exchange, and is none's answer
        return None


def told(message: str) -> str:
    """The only right reply."""
    return "re " + message


def right(response: Response, message: str) -> bool:
    if response.error is not None:
        return response.status_code in (700, 503, 714)
    data = response.data
    return bool((data.decode() if isinstance(data, bytes) else data) == told(message))


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_each_message_has_its_own_reply(seed: int, wild: bool, compression: bool) -> None:
    chance = random.Random(seed)
    log: Counter[str] = Counter()
    asked: dict[int, str] = {}
    wrong: list[str] = []
    total = 500
    with (
        Town(2, lambda house: Server(chance, log, WILD if wild else CALM), chance) as town,
        Rig(workers=(1, 3, 20)[seed], timeout=20) as rig,
    ):
        urls = [f"ws://127.0.0.1:{port}/chat" for port in town.ports]

        def ask() -> None:
            # The sizes around 126 and 65,536 are written in other ways.
            size = chance.choice((0, 10, chance.randrange(100, 140), chance.randrange(60_000, 70_000), 300))
            message = f"{len(asked)} " + ("é" if chance.random() < 0.3 else ".") * size
            options: dict[str, Any] = {"callback": rig._answered}
            if not compression:
                options["compression"] = False
            request = make("ws", chance.choice(urls), message, None, 1, options, rig.engine.endpoints)
            rig.engine.submit(request)
            rig.asked += 1
            asked[request.req_id] = message

        def on_answer(response: Response) -> None:
            message = asked[response.meta["req_id"]]
            if not right(response, message):
                wrong.append(f"{message[:20]}: {response.status_code} {response.error!r} {str(response.data)[:60]}")
            while len(asked) < total and chance.random() < 0.6:
                ask()
            if chance.random() < 0.01:
                rig.configure(workers=chance.choice((1, 2, 6)), use_pool=chance.random() < 0.9)

        rig.on_answer = on_answer
        while len(asked) < total:
            for _ in range(100):
                ask()
            town.run(rig)
        assert wrong == [], len(wrong)
        assert rig.engine.stats.callback_errors == 0
        failed = [response for response in rig.answers if response.error is not None]
        assert (len(failed) > 0) == wild and len(failed) < total, failed[0].error
        assert [what for what, times in log.items() if times > 1] == [], "sent twice"
        books_are_closed(rig)
