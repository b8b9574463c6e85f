"""Fakes for loop and channel: a clock that is moved by hand, a poller that is told what is ready, sockets
that follow a script, a wire of lines, and an owner that writes down what it was told.

Nothing here touches the network, waits, or depends on the time of day.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from aquests.errors import AquestsError, PeerClosed, ProtocolError, RequestError, TlsError
from aquests.exchange import Exchange, Request
from aquests.seam import Finished
from aquests.settings import Settings


class ManualClock:
    """Seconds that pass only when a test says so."""

    def __init__(self, now: float = 1000.0):
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakePoller:
    """A poller that is told what is ready by ``fire``, one batch a call, stale events included.

    ``masks`` is what is registered now, ``calls`` every change in order. Polling without a batch lets the
    time-out pass on the clock; without a time-out the loop would sleep for ever, and the test fails.
    """

    def __init__(self, clock: ManualClock):
        self.clock = clock
        self.masks: dict[int, int] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.patience: list[float | None] = []
        self.closed = 0
        self._batches: deque[list[tuple[int, int]]] = deque()

    def fire(self, *events: tuple[int, int]) -> None:
        """Deliver these (fd, mask) pairs in one poll."""
        self._batches.append(list(events))

    def register(self, fd: int, mask: int) -> None:
        assert fd not in self.masks, f"{fd} is registered already"
        self.masks[fd] = mask
        self.calls.append(("register", fd, mask))

    def modify(self, fd: int, mask: int) -> None:
        assert fd in self.masks, f"{fd} is not registered"
        self.masks[fd] = mask
        self.calls.append(("modify", fd, mask))

    def unregister(self, fd: int) -> None:
        del self.masks[fd]
        self.calls.append(("unregister", fd))

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        self.patience.append(timeout)
        if self._batches:
            return self._batches.popleft()
        assert timeout is not None, "the loop would sleep for ever"
        self.clock.advance(timeout)
        return []

    def fileno(self) -> int:
        raise OSError("a fake has no descriptor")

    def close(self) -> None:
        self.closed += 1


class Fail:
    """An item of a script: the call fails with this errno."""

    def __init__(self, code: int):
        self.code = code


AGAIN = Fail(errno.EAGAIN)


class FakeSocket:
    """A socket that follows three scripts; what is not scripted succeeds, or would block.

    ``connect``: the codes ``connect_ex`` returns (the last one for ever), or an exception. ``recv``: bytes, b"" for
    the end of the stream, ``Fail``. ``send``: how many bytes are taken, ``Fail``. A test may append to the scripts
    at any time. ``sent`` is what was taken, ``writes`` how it was offered.
    """

    family = socket.AF_INET

    def __init__(
        self,
        connect: Sequence[int | Exception] = (0, errno.EISCONN),
        recv: Sequence[bytes | Fail] = (),
        send: Sequence[int | Fail] = (),
        fd: int = 700,
    ):
        self.connects = list(connect)
        self.recvs: deque[bytes | Fail] = deque(recv)
        self.sends: deque[int | Fail] = deque(send)
        self.sent = bytearray()
        self.writes: list[bytes] = []
        self.asked: list[Any] = []
        self.options: list[tuple[int, int, int]] = []
        self.blocking = True
        self.closed = 0
        self._fd = fd

    def fileno(self) -> int:
        return -1 if self.closed else self._fd

    def setblocking(self, flag: bool) -> None:
        self.blocking = flag

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.options.append((level, name, value))

    def connect_ex(self, where: Any) -> int:
        self._alive()
        self.asked.append(where)
        code = self.connects.pop(0) if len(self.connects) > 1 else self.connects[0]
        if isinstance(code, Exception):
            raise code
        return code

    def recv(self, size: int) -> bytes:
        self._alive()
        item = self.recvs.popleft() if self.recvs else AGAIN
        if isinstance(item, Fail):
            raise OSError(item.code, "scripted")
        if len(item) > size:
            self.recvs.appendleft(item[size:])
        return item[:size]

    def send(self, data: bytes | memoryview) -> int:
        self._alive()
        self.writes.append(bytes(data))
        item = self.sends.popleft() if self.sends else len(data)
        if isinstance(item, Fail):
            raise OSError(item.code, "scripted")
        taken = min(item, len(data))
        self.sent += data[:taken]
        return taken

    def close(self) -> None:
        self.closed += 1

    def _alive(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "used after close")


class FakeNet:
    """Stands for the module ``socket`` in the channel: hands out prepared sockets, passes the constants on."""

    def __init__(self, *sockets: FakeSocket | Fail):
        self._sockets = deque(sockets)

    def socket(self, family: int, kind: int) -> FakeSocket:
        item = self._sockets.popleft()
        if isinstance(item, Fail):
            raise OSError(item.code, "scripted")
        return item

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


class LineWire:
    """A wire as small as can be: every line of the peer answers the oldest exchange.

    A request is its payload (bytes, or a source to read from) and a newline; ``b""`` is refused. A line ``!`` breaks
    the rules, ``+`` gives room for one more, ``?`` is answered with ``.``; a line with nothing asked ends the use of
    it all. ``greeting`` is sent first, and a first line awaited then; ``room`` is how many may be in flight;
    ``survives`` is what ``cancel`` says: the late answer is swallowed then.
    """

    lingers = False

    def __init__(self, room: int = 1, greeting: bytes = b"", bye: bytes = b"", survives: bool = False):
        self.outbox: list[bytes] = []
        self.room = 0
        self.reusable = True
        self.error: AquestsError | None = None
        self.hungry = False
        self.begun: list[Exchange] = []
        self._asked: deque[Exchange | None] = deque()  # None: cancelled
        self._most = room
        self._greeting = greeting
        self._bye = bye
        self._survives = survives
        self._greeted = not greeting
        self._buffer = b""

    @property
    def inflight(self) -> list[Exchange]:
        return [x for x in self._asked if x is not None]

    def opened(self) -> None:
        if self._greeted:
            self.room = self._most
        else:
            self.outbox.append(self._greeting)

    def submit(self, x: Exchange) -> None:
        if x.payload == b"":
            raise RequestError("an empty line asks nothing")
        assert self.room > 0, "fed without room"
        self.room -= 1
        self._asked.append(x)
        if isinstance(x.payload, bytes):
            self.outbox.append(x.payload + b"\n")
        else:
            self.hungry = True

    def produce(self) -> Sequence[Exchange]:
        assert self.hungry
        x = self.inflight[-1]
        try:
            piece = x.payload.read()
        except RequestError as error:
            return self._end(error)
        self.outbox.append(piece or b"\n")
        self.hungry = bool(piece)
        return ()

    def receive(self, data: bytes) -> Sequence[Exchange]:
        finished: list[Exchange] = []
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if self.reusable:
                finished += self._line(line)
        first = self._asked[0] if self._asked else None
        if self._buffer and first is not None and not first.progress:
            first.progress = len(self._buffer)
            self.begun.append(first)
        return finished

    def _line(self, line: bytes) -> Sequence[Exchange]:
        if line == b"!":
            self.error = ProtocolError("the peer shouts")
            return self._end(self.error)
        if line == b"+":
            self.room += 1
        elif line == b"?":
            self.outbox.append(b".\n")
        elif not self._greeted:
            self._greeted = True
            self.room = self._most
        elif not self._asked:
            self._end(PeerClosed("nothing was asked"))
        else:
            x = self._asked.popleft()
            self.room += 1
            if x is not None:
                if x in self.begun:
                    self.begun.remove(x)
                x.head = HEAD
                x.body = line
                return (x,)
        return ()

    def receive_eof(self) -> Sequence[Exchange]:
        return self._end(PeerClosed("the peer left"))

    def cancel(self, x: Exchange) -> bool:
        if self._survives:
            self._asked[self._asked.index(x)] = None
            if x in self.begun:
                self.begun.remove(x)
        return self._survives

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        return self._end(error)

    def goodbye(self) -> None:
        if self._bye:
            self.outbox.append(self._bye)

    def _end(self, error: AquestsError) -> Sequence[Exchange]:
        self.reusable = False
        self.room = 0
        self.hungry = False
        self.outbox.clear()
        self.begun.clear()
        lost = self.inflight
        self._asked.clear()
        for x in lost:
            x.error = error
        return lost


class Tunnel(LineWire):
    """A first wire: ``ok`` and a newline open the tunnel, the rest is surplus."""

    surplus = b""

    def opened(self) -> None:
        self.outbox.append(b"connect\n")

    def receive(self, data: bytes) -> tuple[Exchange, ...]:
        self._buffer += data
        if b"\n" in self._buffer:
            self.surplus = self._buffer.partition(b"\n")[2]
            self.room = 1
        return ()


HEAD: Any = SimpleNamespace(status=200, reason="", version="1", lane="LINES", special=False, headers={}, pairs=())
"""What every answer of a ``LineWire`` begins with."""


class Recorder:
    """An owner that writes down what it is told: ("room",), ("finished", [x, …]), ("closed", error).

    ``then`` may be set to a function that is called with the channel and each entry: what an engine would do.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.then: Any = None
        self.settled = 0
        """How often it was asked to settle before the batch was over."""

    @property
    def kinds(self) -> list[str]:
        return [entry[0] for entry in self.told]

    @property
    def finished(self) -> list[Exchange]:
        return [x for entry in self.told if entry[0] == "finished" for x in entry[1]]

    @property
    def error(self) -> Any:
        """What the line was closed with. Fails unless it was closed exactly once, as the last thing."""
        assert self.kinds.count("closed") == 1 and self.kinds[-1] == "closed", self.told
        return self.told[-1][1]

    def on_room(self, channel: Any) -> None:
        self._note(channel, ("room",))

    def on_finished(self, finished: Finished, /) -> None:
        channel, exchanges = finished
        assert exchanges, "nothing finished"
        self._note(channel, ("finished", list(exchanges)))
        channel.loop.outgoing.append(channel)

    def settle(self) -> None:
        """All is settled when it is told."""
        self.settled += 1

    def on_closed(self, channel: Any, error: AquestsError | None) -> None:
        self._note(channel, ("closed", error))

    def _note(self, channel: Any, entry: tuple[Any, ...]) -> None:
        self.told.append(entry)
        if self.then is not None:
            self.then(channel, entry)


class Shift:
    """A filter that adds one to every byte, and whose handshake is one letter each way: as TLS, but readable."""

    def __init__(self, alpn: str | None = None, letter: bytes = b"H"):
        self.done = self.closed = False
        self.alpn = alpn
        self.alert = b""
        self.error: TlsError | None = None
        self._letter = letter
        self._greeted = False

    def handshake(self, data: bytes) -> bytes:
        if data.startswith(b"X"):
            self.alert = b"alert"
            raise TlsError("refused", phase="tls")
        if data:
            assert data[:1] == self._letter.lower(), data
            self.done = True
            self._early = data[1:]
            return b""
        self._greeted = True
        return self._letter

    _early = b""

    def unseal(self, data: bytes) -> bytes:
        data, self._early = self._early + data, b""
        if b"\0" in data:
            self.alert = b"alert"
            self.error = TlsError("broken record", phase="tls")
            plain, _, _ = data.partition(b"\0")
            if not plain:
                raise self.error
            return shifted(plain, -1)
        if data.endswith(BYE):
            self.closed = True
            data = data[:-1]
        return shifted(data, -1)

    def seal(self, data: bytes) -> bytes:
        if self.error is not None:
            raise self.error
        return shifted(data, 1)

    def goodbye(self) -> bytes:
        return BYE


BYE = b"\xf0"


def shifted(data: bytes, by: int) -> bytes:
    return bytes(byte + by for byte in data)


class Pieces:
    """A body of unknown or known length, handed out piece by piece; an exception in the list is raised."""

    def __init__(self, *pieces: bytes | RequestError, length: int | None = None):
        self.length = length
        self.reads = 0
        self._pieces = deque(pieces)

    def read(self) -> bytes:
        self.reads += 1
        piece = self._pieces.popleft() if self._pieces else b""
        if isinstance(piece, RequestError):
            raise piece
        return piece


PLACE: Any = SimpleNamespace(label="peer:1", host_header="peer", scheme="http", version="1.1", lane="HTTP/1.1")
"""An endpoint as far as channels and wires look at one."""


def exchange(
    payload: Any = None,
    *,
    method: str = "GET",
    url: str = "http://peer/",
    headers: Any = (),
    max_content: int | None = None,
) -> Exchange:
    """One attempt of a request, as the engine would hand it to a line."""
    x = Request(method, url, payload, headers, endpoint=PLACE).begin(0.0, Settings())
    if max_content is not None:
        x.max_content = max_content
    return x
