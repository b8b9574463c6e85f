"""The engine as a guest of asyncio: one descriptor and one timer, and everybody else goes on."""

from __future__ import annotations

import asyncio
import select
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from time import monotonic

import pytest

from aquests.lib.loop import Loop
from aquests.lib.poller import SelectPoller
from aquests.lib.resolver import Resolver
from tests.peers import ScriptedPeer, http_peer, refused_port, reset, stall
from tests.rig import Rig, codes

pytestmark = pytest.mark.skipif(
    not hasattr(select, "epoll") and not hasattr(select, "kqueue"), reason="select() has no descriptor of its own"
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def quick(sock: socket.socket, number: int) -> None:
    sock.settimeout(None)
    while data := sock.recv(65536):
        sock.sendall(OK * data.count(b"\r\n\r\n"))


class Guest:
    """What a host has to do, and no more: read the descriptor, and keep the next deadline."""

    def __init__(self, rig: Rig):
        self.engine = rig.engine
        self.loop = asyncio.get_running_loop()
        self.steps = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[Callable[[], object], asyncio.Future[None]]] = []
        self.loop.add_reader(self.engine.fileno(), self.tick)

    def tick(self) -> None:
        self.steps += 1
        self.engine.step(0.0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.engine.next_deadline()
        if deadline is not None:
            self._timer = self.loop.call_later(max(0.0, deadline - monotonic()), self.tick)
        for condition, future in self._waiting[:]:
            if condition() and not future.done():
                future.set_result(None)

    async def until(self, condition: Callable[[], object], within: float = 10.0) -> None:
        if condition():
            return
        entry = (condition, self.loop.create_future())
        self._waiting.append(entry)
        try:
            await asyncio.wait_for(entry[1], within)
        finally:
            self._waiting.remove(entry)

    def leave(self) -> None:
        self.loop.remove_reader(self.engine.fileno())
        if self._timer is not None:
            self._timer.cancel()


async def batch(rig: Rig, guest: Guest, url: str, beside: Coroutine[None, None, None]) -> None:
    """2,000 requests, while another task has its turns."""
    other = asyncio.create_task(beside)
    for _ in range(2000):
        rig.ask(url)
    await guest.until(lambda: rig.engine.idle)
    other.cancel()
    guest.leave()
    rig.check()


def test_a_batch_beside_other_tasks() -> None:
    async def main() -> None:
        with ScriptedPeer(quick) as peer, Rig(workers=20) as rig:
            guest = Guest(rig)
            ticks = 0

            async def ticking() -> None:
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            await batch(rig, guest, peer.url, ticking())
            assert codes(rig.answers) == [200] * 2000
            assert guest.steps >= 20, "in bounded steps, not in one"
            assert ticks >= guest.steps, "whoever else is there has a turn between any two steps"

    asyncio.run(main())


def test_a_longest_wait_for_others_is_short() -> None:
    """A clock of another task: no step holds the host up."""

    async def main() -> None:
        with ScriptedPeer(quick) as peer, Rig(workers=50) as rig:
            guest = Guest(rig)
            gaps: list[float] = []

            async def clock() -> None:
                last = monotonic()
                while True:
                    await asyncio.sleep(0)
                    now = monotonic()
                    gaps.append(now - last)
                    last = now

            await batch(rig, guest, peer.url, clock())
            assert sorted(gaps)[len(gaps) // 2] < 0.05

    asyncio.run(main())


def test_queued_by_a_task_after_the_engine_was_idle() -> None:
    async def main() -> None:
        with http_peer(lambda request: (200, [], b"")) as peer, Rig() as rig:
            guest = Guest(rig)
            for count in (1, 2, 3):
                rig.ask(peer.url)
                await guest.until(lambda count=count: len(rig.answers) == count)  # type: ignore[misc]
                # Nothing at all is to be done: the descriptor is silent, and no timer runs for long.
                await guest.until(lambda: rig.engine.next_deadline() is None)
                steps = guest.steps
                for _ in range(50):
                    await asyncio.sleep(0)
                assert guest.steps <= steps + 1, "an idle engine keeps nobody awake"
            guest.leave()
            rig.check()
            assert peer.connections == 1

    asyncio.run(main())


def test_timeouts_and_failures_without_any_descriptor() -> None:
    """They come by time alone, or at once: the host must learn of both."""

    async def main() -> None:
        with ScriptedPeer([stall()]) as silent, ScriptedPeer([reset()]) as broken, refused_port() as refused:
            with Rig(workers=4, timeout=0.2) as rig:
                guest = Guest(rig)
                rig.ask(silent.url)
                rig.ask(f"http://127.0.0.1:{refused}/")
                rig.ask(broken.url)
                rig.ask("http://localhost/", unix="/" + "x" * 200)
                await guest.until(lambda: rig.engine.idle, 5.0)
                guest.leave()
                rig.check()
                found = Counter(codes(rig.answers))
                assert found[702] == 1 and found[714] >= 2 and found[700] + found[714] == 3

    asyncio.run(main())


def test_names_are_looked_up_in_threads() -> None:
    async def main() -> None:
        with http_peer(lambda request: (200, [], b"")) as peer, Rig(workers=2) as rig:
            guest = Guest(rig)

            def getaddrinfo(name: str, *rest: object, **more: object) -> object:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

            rig.engine._resolver = Resolver(rig.engine.loop.soon, getaddrinfo=getaddrinfo)  # type: ignore[arg-type]
            for _ in range(5):
                rig.ask(f"http://host.test:{peer.port}/")
            await guest.until(lambda: rig.engine.idle)
            guest.leave()
            rig.check()
            assert codes(rig.answers) == [200] * 5

    asyncio.run(main())


def test_callbacks_that_queue_and_sources() -> None:
    async def main() -> None:
        with ScriptedPeer(quick) as peer, Rig(workers=3) as rig:
            guest = Guest(rig)
            rig.on_answer = lambda response: rig.ask(peer.url) if rig.asked < 300 else None
            rig.ask(peer.url)
            await guest.until(lambda: rig.engine.idle)
            rig.engine.feed([peer.url] * 100)
            await guest.until(lambda: rig.engine.idle)
            guest.leave()
            rig.check()
            assert len(rig.answers) == 400

    asyncio.run(main())


def test_a_callback_may_set_a_future_of_the_host() -> None:
    async def main() -> None:
        with http_peer(lambda request: (200, [], request.target.encode())) as peer, Rig(workers=5) as rig:
            guest = Guest(rig)

            async def fetch(path: str) -> bytes:
                future = asyncio.get_running_loop().create_future()
                rig.ask(f"{peer.url}{path}", callback=lambda response: future.set_result(response.content))
                return await asyncio.wait_for(future, 5.0)

            found = await asyncio.gather(*(fetch(str(number)) for number in range(50)))
            guest.leave()
            assert found == [f"/{number}".encode() for number in range(50)]

    asyncio.run(main())


def test_select_cannot_be_a_guest() -> None:
    with Rig(Loop(SelectPoller())) as rig, pytest.raises(OSError, match="no descriptor of its own"):
        rig.engine.fileno()
