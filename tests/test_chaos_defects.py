"""Defects that were found by reading fast paths as a stranger, each as small as it could be made.

The towns of the other files find such by chance at most: bytes cut at one place, a send that fails at one moment.
"""

from __future__ import annotations

import select
import signal
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

import aquests
from aquests.dial import Dial
from aquests.errors import TimedOut
from aquests.exchange import Response
from aquests.httprequest import make
from aquests.lib.channel import Channel
from aquests.lib.loop import Loop
from aquests.script import script
from tests.face import own_engine
from tests.loopback import PLACE, FakeNet, FakePoller, FakeSocket, ManualClock, Recorder, Shift, Tunnel, shifted
from tests.peers import ScriptedPeer, http_peer, refused_port, stall
from tests.resp import redis_peer, resp
from tests.rig import Rig, bodies, codes
from tests.wsbytes import answer, frame, make_exchange, make_wire


def echo(request: Any) -> Any:
    return 200, [], request.target.encode()


# 01: a WebSocket frame whose first 128 (16-bit length) or 129 bytes (64-bit length) come alone is taken for a whole one


@pytest.mark.parametrize("size", [126, 127, 200, 5000, 65535, 65536, 100_000])
@pytest.mark.parametrize("cut", [127, 128, 129, 130])
def test_01_a_websocket_message_cut(size: int, cut: int) -> None:
    wire, x = make_wire(), make_exchange("hi")
    wire.opened()
    wire.submit(x)
    wire.receive(answer())
    data = frame(2, b"a" * size)
    finished = list(wire.receive(data[:cut]))
    if data[cut:]:
        finished += wire.receive(data[cut:])
    assert finished == [x] and x.body == b"a" * size


def test_01_a_masked_frame_from_a_server() -> None:
    wire, x = make_wire(), make_exchange("hi")
    wire.opened()
    wire.submit(x)
    wire.receive(answer())
    masked = frame(2, b"hello", masked=True)
    wire.receive(masked + b"\x82\x00" * ((135 - len(masked)) // 2))  # in length as if it had 133 bytes
    assert x.error is not None


# 02: what is raised behind a look-up is lost, and the request with it


def test_02_a_dial_that_raises_behind_a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(self: Dial) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Dial, "_first_stage", no_descriptor)
    with Rig(timeout=0.2) as rig:
        rig.ask("http://localhost:9/")
        assert codes(rig.run(within=2)) == [701]


# 03: two requests asked aside (gRPC's reflection) at one place with qrandom=True


def test_03_asides_in_random_order() -> None:
    with refused_port() as port, Rig(qrandom=True) as rig:
        for _ in range(2):
            url = f"http://127.0.0.1:{port}/"
            rig.engine.ask_aside(
                make(
                    "GET", "get", url, None, None, None, None, {"callback": lambda response: None}, rig.engine.endpoints
                )
            )
        rig.engine.run()


# 04: a tunnel that stands before our question was sent (plaintext behind the proxy's handshake)


def test_04_a_tunnel_that_stands_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    poller = FakePoller(clock)
    sock = FakeSocket(recv=[b"h" + shifted(b"ok\n", 1)])
    monkeypatch.setattr("aquests.lib.channel.socket", FakeNet(sock))
    loop = Loop(poller, clock)
    owner = Recorder()
    channel = Channel(loop, owner, PLACE, lambda alpn: Tunnel(), 5.0)

    def upgrade(channel: Channel, entry: Any) -> None:
        if entry == ("room",) and isinstance(channel.wire, Tunnel):
            channel.upgrade(lambda alpn: Tunnel(), Shift(letter=b"G"))

    owner.then = upgrade
    channel.open((2, ("peer", 1)), Shift())
    for _ in range(3):
        poller.fire((700, 5))
        loop.step(0.0)
    assert owner.told == [("room",)], owner.told
    assert shifted(b"connect\n", 1) in bytes(sock.sent)
    channel.close()
    loop.close()


# 05: a send at the end of a step breaks its line; what its answer's callback queued is not started, nor announced


def test_05_work_left_behind_a_step() -> None:
    with http_peer(echo) as peer, Rig(workers=1, timeout=5) as rig:
        rig.fetch(peer.url)
        engine = rig.engine
        channel: Any = next(iter(engine._idle))
        answers = [b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"]

        def send(data: bytes) -> int:
            raise BrokenPipeError(32, "broken")

        def recv(size: int) -> bytes:
            if answers:
                return answers.pop()
            raise BlockingIOError

        def more(response: Any) -> None:
            rig.on_answer = None
            rig.ask(f"{peer.url}b")

        def later() -> None:
            channel._send, channel._recv = send, recv
            rig.on_answer = more
            rig.ask(f"{peer.url}a")

        engine.loop.at(0.0, later)
        engine.step(0.0)
        assert len(rig.answers) == 2
        deadline = engine.next_deadline()
        due = bool(select.select([engine.fileno()], [], [], 0)[0]) or (deadline or 0.0) <= monotonic()
        assert engine.queue.size == 0 or due, "work waits, a slot is free, and nobody is told"
        rig.run()


# 06: a line is fed further although the callback of a request that could not be sent has stopped it


def unsendable(rig: Rig, url: str, then: Any) -> None:
    request = rig.ask(f"{url}bad")
    request.url += "€"
    rig.on_answer = lambda response: then() if response.error is not None else None


def test_06_stopped_by_the_callback_of_what_could_not_be_sent() -> None:
    with http_peer(echo) as peer, Rig(workers=1) as rig:
        rig.ask(peer.url)
        unsendable(rig, peer.url, rig.engine.stop)
        rig.ask(f"{peer.url}after")
        rig.engine.run()
        assert (rig.engine.sent, rig.engine.queue.size) == (1, 1)
        rig.engine.hang_up()
        rig.run()


def test_06_a_proxy_set_by_the_callback_of_what_could_not_be_sent() -> None:
    with http_peer(echo) as peer, refused_port() as port, Rig(workers=1) as rig:
        rig.ask(peer.url)
        unsendable(rig, peer.url, lambda: rig.configure(proxy=f"http://127.0.0.1:{port}"))
        rig.ask(f"{peer.url}after")
        rig.run()
        assert [request.target for request in peer.requests] == ["/"], "it went past the proxy"
        assert codes(rig.answers) == [200, 701, 714]


# 07: a callback that leaves by sys.exit() or Ctrl-C loses the answers beside its own, or a slot


@pytest.fixture
def engine() -> Iterator[None]:
    with own_engine():
        yield


def test_07_exit_from_a_callback_of_a_pipeline(engine: None) -> None:
    seen: list[int] = []
    said: list[bytes] = []

    def serve(command: list[bytes], line: int) -> bytes:
        """Ten answers in one piece."""
        if command[0] == b"HELLO":
            return b""
        said.append(resp(command[1]))
        return b"" if len(said) % 10 else b"".join(said[-10:])

    def finish(response: Any) -> None:
        seen.append(response.meta["req_id"])
        if len(seen) == 3:
            raise SystemExit

    def too_long(number: int, frame: Any) -> None:
        raise TimeoutError("the second fetchall() never ends")

    with ScriptedPeer(redis_peer(serve)) as peer:
        aquests.configure(1, callback=finish, trust_env=False)
        dbo = aquests.redis(f"127.0.0.1:{peer.port}")
        for number in range(10):
            dbo.get(number)
        with pytest.raises(SystemExit):
            aquests.fetchall()
        before = signal.signal(signal.SIGALRM, too_long)
        signal.alarm(2)
        try:
            aquests.fetchall()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
            assert script.engine.pending == 0, f"{script.engine.pending} are lost"
        assert sorted(seen) == list(range(10))


def test_07_a_slot_is_not_lost_to_an_interrupt() -> None:
    with http_peer(echo) as peer, Rig(workers=1) as rig:

        def second(response: Any) -> None:
            if response.meta["req_id"] == 1:
                raise KeyboardInterrupt

        rig.on_answer = second
        for number in range(5):
            rig.ask(f"{peer.url}{number}")
        with pytest.raises(KeyboardInterrupt):
            rig.run()
        rig.run(within=2)


def test_07_nor_while_hanging_up() -> None:
    with ScriptedPeer([stall()]) as silent, http_peer(echo) as peer, Rig(workers=1) as rig:

        def leave(response: Any) -> None:
            if response.error is not None:
                raise KeyboardInterrupt

        rig.on_answer = leave
        rig.ask(silent.url)
        while not rig.engine.sent:
            rig.engine.step(0.05)
        with pytest.raises(KeyboardInterrupt):
            rig.engine.hang_up()
        assert (rig.engine.lines, rig.engine.pending) == (0, 0)
        rig.ask(peer.url)
        rig.run(within=2)


# 08: a short timeout comes as late as the sweep that was planned before it was known


def test_08_a_short_timeout_behind_a_plain_request() -> None:
    with http_peer(echo) as peer, ScriptedPeer([stall()]) as silent, Rig(workers=4, timeout=5) as rig:
        rig.fetch(peer.url)
        answer = rig.fetch(silent.url, timeout=0.02)
        assert isinstance(answer.error, TimedOut) and answer.elapsed < 0.1, answer.elapsed


@pytest.mark.parametrize("number", [1, 5, 12])
def test_an_interrupt_in_the_middle_of_settling_forgets_nobody(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C may hit the engine itself."""
    made = 0

    def interrupted(x: Any, request: Any) -> Response:
        nonlocal made
        made += 1
        if made == number:
            raise KeyboardInterrupt
        return Response(x, request)

    monkeypatch.setattr("aquests.delivery.Response", interrupted)
    with http_peer(echo) as peer, Rig(workers=20) as run:
        for target in range(40):
            run.ask(peer.url + str(target))
        with pytest.raises(KeyboardInterrupt):
            run.run()
        assert sorted(bodies(run.run())) == sorted(b"/%d" % target for target in range(40))
