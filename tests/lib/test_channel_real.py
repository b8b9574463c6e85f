"""Channels on real sockets: TCP, unix sockets, slow readers, resets, and TLS with a real server end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aquests.errors import PeerClosed, TlsError
from aquests.exchange import Exchange
from aquests.lib.channel import Channel
from aquests.lib.loop import Loop
from aquests.lib.tls import Tls, context_for
from tests.loopback import PLACE, LineWire, Pieces, Recorder, Tunnel, exchange


class Stage:
    """One layer of a real server: bytes in, bytes out, TLS between if it has a context."""

    def __init__(self, context: ssl.SSLContext | None = None):
        self.received = b""
        self.error: ssl.SSLError | None = None
        self.closed = False
        """The client sent its close_notify."""
        self.tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.up = context is None
        if context is not None:
            self.tls = context.wrap_bio(self._in, self._out, server_side=True)

    def feed(self, data: bytes) -> bytes:
        """Bytes of the layer below; returns those for it."""
        if self.tls is None:
            self.received += data
            return b""
        self._in.write(data)
        try:
            if not self.up:
                self.tls.do_handshake()
                self.up = True
            while piece := self.tls.read(65536):
                self.received += piece
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        return self._out.read()

    def seal(self, data: bytes) -> bytes:
        if self.tls is None:
            return data
        self.tls.write(data)
        return self._out.read()

    def goodbye(self) -> bytes:
        assert self.tls is not None
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        return self._out.read()


class Real:
    """A channel to a real listener of this process, and the server's end of the line, stepped in turn."""

    def __init__(self, stack: ExitStack, family: int = socket.AF_INET, path: str = ""):
        self.listener = stack.enter_context(socket.socket(family))
        self.listener.bind(path or ("127.0.0.1", 0))
        self.listener.listen(5)
        self.loop = Loop()
        stack.callback(self.loop.close)
        self.owner = Recorder()
        self.wire = LineWire()
        self.alpn: list[str | None] = []
        self.channel = Channel(self.loop, self.owner, PLACE, self.make_wire, 5.0)
        stack.callback(self.channel.close)
        self.stages = [Stage()]
        self.reads = True
        self._stack = stack

    def make_wire(self, alpn: str | None) -> LineWire:
        self.alpn.append(alpn)
        return self.wire

    def open(self, tls: Tls | None = None, context: ssl.SSLContext | None = None) -> Real:
        if context is not None:
            self.stages = [Stage(context)]
        self.channel.open((self.listener.family, self.listener.getsockname()), tls)
        self.end, _ = self.listener.accept()
        self._stack.enter_context(self.end)
        self.end.setblocking(False)
        return self

    def drive(self, condition: Callable[[], object]) -> None:
        """Step both ends until it holds."""
        for _ in range(2000):
            if condition():
                return
            self.loop.step(0.005 if self.reads else 0.0)
            if self.reads:
                self.serve()
        raise AssertionError(f"in vain: {self.owner.told}, received {self.stages[-1].received[:200]!r}")

    def serve(self) -> None:
        try:
            data = self.end.recv(1 << 20)
        except (BlockingIOError, ConnectionResetError):
            return
        self.take(data)

    def take(self, data: bytes) -> None:
        """Up through the layers, and down what each of them answers."""
        for depth, stage in enumerate(self.stages):
            before = len(stage.received)
            self.put(stage.feed(data), depth)
            data = stage.received[before:]
            if depth + 1 < len(self.stages):
                stage.received = stage.received[:before]

    def put(self, data: bytes, depth: int) -> None:
        """Send bytes of a layer down to the socket."""
        for stage in reversed(self.stages[:depth]):
            data = stage.seal(data) if data else b""
        if data:
            self.end.setblocking(True)
            self.end.sendall(data)
            self.end.setblocking(False)

    def say(self, data: bytes) -> None:
        self.put(self.stages[-1].seal(data), len(self.stages) - 1)

    def ask(self, payload: Any = b"q") -> Exchange:
        x = exchange(payload)
        self.channel.submit(x)
        self.loop.outgoing.append(self.channel)
        self.loop.send()
        return x


@pytest.fixture
def real() -> Iterator[Callable[..., Real]]:
    with ExitStack() as stack:
        yield lambda *args: Real(stack, *args)


def test_a_real_line(real):
    r = real().open()
    r.drive(lambda: r.owner.told)
    x = r.ask(b"abc")
    r.drive(lambda: r.stages[0].received == b"abc\n")
    r.say(b"answer\n")
    r.drive(lambda: r.owner.finished)
    assert x.body == b"answer" and r.owner.kinds == ["room", "finished"]
    r.end.close()
    r.reads = False
    r.drive(lambda: r.channel.phase == "closed")
    assert r.owner.error is None


def test_a_real_unix_line(real, tmp_path):
    if not hasattr(socket, "AF_UNIX"):
        return
    r = real(socket.AF_UNIX, str(tmp_path / "s")).open()
    r.drive(lambda: r.owner.told)
    x = r.ask()
    r.say(b"answer\n")
    r.drive(lambda: r.owner.finished)
    assert x.body == b"answer"


def test_a_missing_socket_file(real, tmp_path):
    r = real()
    r.channel.open((socket.AF_UNIX, str(tmp_path / "none")))
    assert r.owner.told == []
    r.loop.step()
    assert str(r.owner.error) == "no such socket file, peer:1"


def test_a_real_refusal(real):
    r = real()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        r.channel.open((socket.AF_INET, bound.getsockname()))
        assert r.owner.told == []
        while r.channel.phase != "closed":
            r.loop.step(5.0)
    assert str(r.owner.error) == "connection refused, peer:1"


def test_a_large_request_waits_for_a_slow_reader(real):
    r = real().open()
    r.drive(lambda: r.owner.told)
    r.reads = False
    payload = bytes(range(1, 250)) * 20_000
    payload = payload.replace(b"\n", b" ")
    x = r.ask(payload)
    assert r.channel.blocked and r.channel.room == 0
    for _ in range(5):
        r.loop.step()
    assert r.channel.blocked, "nobody reads"
    r.reads = True
    r.drive(lambda: not r.channel.blocked and len(r.stages[0].received) == len(payload) + 1)
    assert r.stages[0].received == payload + b"\n" and r.channel.bytes_sent == len(payload) + 1
    r.say(b"1\n")
    r.drive(lambda: r.owner.finished)
    assert x.error is None


def test_an_answer_before_a_real_reset(real):
    r = real().open()
    r.drive(lambda: r.owner.told)
    r.reads = False
    x = r.ask(bytes(8_000_000))
    assert r.channel.blocked
    r.say(b"too large\n")
    r.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    r.end.close()
    r.drive(lambda: r.channel.phase == "closed")
    assert (x.error, x.body) == (None, b"too large")


# TLS


def client_tls(certs: Any, name: str = "localhost", alpn: tuple[str, ...] = ("h2", "http/1.1")) -> Tls:
    return Tls(context_for(ca=certs.ca, alpn=alpn), name)


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=lambda version: version.name)
def test_a_real_tls_line(real, certs, version):
    context = certs.server_context(alpn=["http/1.1"])
    context.maximum_version = version
    r = real().open(client_tls(certs), context)
    r.drive(lambda: r.owner.told)
    assert r.alpn == ["http/1.1"] and r.channel.tls_seconds > 0
    for number in range(3):
        x = r.ask(b"abc%d" % number)
        r.drive(lambda: r.stages[0].received.endswith(b"\n"))
        r.say(b"x" * 100_000 + b"\n")
        r.drive(lambda: len(r.owner.finished) > number)  # noqa: B023 (it is asked at once)
        assert r.owner.finished[-1] is x and len(x.body) == 100_000
        assert r.stages[0].received == b"abc%d\n" % number
        r.stages[0].received = b""
    r.channel.close()
    r.drive(lambda: r.stages[0].closed)


def test_a_certificate_that_is_not_accepted(real, certs):
    r = real().open(client_tls(certs), certs.server_context(certs.wrong_name))
    r.drive(lambda: r.channel.phase == "closed")
    assert type(r.owner.error) is TlsError and "hostname mismatch" in str(r.owner.error)
    assert str(r.owner.error).endswith(", peer:1") and r.alpn == []
    r.drive(lambda: r.stages[0].error)
    assert "bad certificate" in str(r.stages[0].error).lower().replace("_", " "), "the server is told why"


def test_a_server_without_tls(real, certs):
    r = real().open(client_tls(certs))
    r.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    r.drive(lambda: r.channel.phase == "closed")
    assert "does not speak TLS" in str(r.owner.error)


@pytest.mark.parametrize("polite", (True, False))
def test_the_end_of_a_real_tls_line(real, certs, polite):
    r = real().open(client_tls(certs), certs.server_context())
    r.drive(lambda: r.owner.told)
    x = r.ask()
    r.drive(lambda: r.stages[0].received)
    r.say(b"half")
    if polite:
        r.put(r.stages[0].goodbye(), 0)
    r.end.close()
    r.reads = False
    r.drive(lambda: r.channel.phase == "closed")
    assert isinstance(x.error, PeerClosed)
    assert ("without close_notify" in str(x.error)) is not polite


def test_a_large_upload_through_real_tls(real, certs):
    r = real().open(client_tls(certs), certs.server_context())
    r.drive(lambda: r.owner.told)
    pieces = [bytes([65 + number]) * 300_000 for number in range(8)]
    x = r.ask(Pieces(*pieces))
    r.drive(lambda: r.stages[0].received.endswith(b"\n"))
    assert r.stages[0].received == b"".join(pieces) + b"\n"
    r.say(b"done\n")
    r.drive(lambda: r.owner.finished)
    assert x.error is None


def test_real_tls_inside_tls(real, certs):
    r = real()
    r.wire = tunnel = Tunnel()
    inner = LineWire()
    made: list[str | None] = []

    def make_inner(alpn: str | None) -> LineWire:
        made.append(alpn)
        return inner

    def upgrade(channel: Channel, entry: tuple[Any, ...]) -> None:
        if channel.wire is tunnel:
            channel.upgrade(make_inner, client_tls(certs), tunnel.surplus)

    r.owner.then = upgrade
    r.open(client_tls(certs, alpn=("http/1.1",)), certs.server_context(alpn=["http/1.1"]))
    r.drive(lambda: r.stages[0].received == b"connect\n")
    r.say(b"ok\n")
    r.stages.append(Stage(certs.server_context(alpn=["h2"])))
    r.drive(lambda: r.channel.wire is inner)
    assert made == ["h2"] and r.alpn == ["http/1.1"]
    x = r.ask(b"secret")
    r.drive(lambda: r.stages[1].received == b"secret\n")
    r.say(b"answer\n")
    r.drive(lambda: r.owner.finished)
    assert x.body == b"answer"
    r.channel.close()
    r.drive(lambda: r.stages[1].closed and r.stages[0].closed)
