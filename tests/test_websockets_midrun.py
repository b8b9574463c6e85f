"""What was sent without waiting for replies arrives, and so does the goodbye, though the server talks meanwhile."""

from __future__ import annotations

import threading

import pytest

from aquests.websockets import CLOSE, TEXT, make
from tests.peers import ScriptedPeer
from tests.rig import Rig
from tests.steps import Line, LineEnded, expect
from tests.wsbytes import _frame_size, frame, opens, said, text


@pytest.mark.parametrize("count", [1, 50])
def test_messages_without_replies_arrive(count: int) -> None:
    """The server reads when all of them are sent, and says something about each, as most servers do."""
    heard: list[tuple[int, bytes]] = []
    sent, over = threading.Event(), threading.Event()

    def acknowledge(line: Line) -> None:
        assert sent.wait(5)
        try:
            while True:
                expect(_frame_size)(line)
                ((opcode, _, data),) = said(line.matched)
                heard.append((opcode, data))
                line.send(frame(opcode, data) if opcode == CLOSE else text("thank you") * 3)
                if opcode == CLOSE:
                    raise LineEnded
        finally:
            over.set()

    with ScriptedPeer([*opens(), acknowledge]) as peer, Rig(timeout=3) as run:
        run.on_answer = lambda response: sent.set() if len(run.answers) == count else None
        for number in range(count):
            place = f"ws://{peer.netloc}/"
            run.engine.submit(
                make("ws", place, f"{number}", None, 0, {"callback": run._answered}, run.engine.endpoints)
            )
            run.asked += 1
        assert all(answer.ok for answer in run.run())
        run.engine.hang_up()
        run.engine.loop.take_leave()
        assert over.wait(5)
        assert heard == [(TEXT, b"%d" % number) for number in range(count)] + [(CLOSE, b"\x03\xe8")]
