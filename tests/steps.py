"""The words scripts are made of: steps, and the line they act on.

A *step* is any ``callable(line)``; a script is a list of them (``tests/peers.py`` runs it). Every wait of
a step ends with bytes, with the end of the line, with the peer's ``patience`` (a failure) or with the
closing of the peer. Time decides nothing.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from tests.peers import ScriptedPeer

Address: TypeAlias = "tuple[str, int] | str"
Step: TypeAlias = "Callable[[Line], object]"
Wanted: TypeAlias = "bytes | re.Pattern[bytes] | Callable[[bytes], int]"

FOREVER = 3600.0
"""The patience of a step that may wait as long as the test lasts, in seconds."""

_T = TypeVar("_T")


class ScriptError(AssertionError):
    """The other side did not do what the script expects."""


class LineEnded(Exception):
    """Raised by a step: the script ends here, in peace."""


class PeerClosing(Exception):
    """The peer is being closed while a step waits."""


class Line:
    """One accepted connection, as its script sees it.

    ``number`` counts from 1; ``received`` is everything read so far, ``pending`` the part no step has
    consumed, ``matched`` what the latest ``expect`` consumed. The socket does not block: all waiting is
    done in ``_wait``, which the closing of the peer interrupts.
    """

    def __init__(self, sock: socket.socket, number: int, peer: ScriptedPeer):
        self.sock = sock
        self.number = number
        self.peer = peer
        self.received = bytearray()
        self.pending = bytearray()
        self.matched = b""
        sock.setblocking(False)

    def fill(self, timeout: float | None = None) -> bool:
        """Read once, waiting up to ``timeout`` seconds (None: the peer's patience). False at the end."""
        return self._keep(self._retry(self._receive, select.POLLIN, timeout))

    def fill_now(self) -> bool | None:
        """Read once without waiting. False at the end, None if there is nothing yet."""
        try:
            return self._keep(self._receive())
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def take(self, count: int | None = None) -> bytes:
        """Consume the first ``count`` pending bytes, or all."""
        taken = bytes(self.pending[:count])
        del self.pending[:count]
        return taken

    def send(self, data: bytes) -> None:
        """Send everything; raises OSError when the other side has broken the line."""
        view = memoryview(data)
        while view:
            view = view[self._retry(partial(self.sock.send, view), select.POLLOUT, None) :]

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS. A failed handshake is kept in ``peer.handshake_failures`` and ends the script."""
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
            self._retry(self.sock.do_handshake, select.POLLIN, None)
        except (OSError, ScriptError) as failure:
            self.peer.handshake_failures.append(failure)
            raise LineEnded from failure

    def end_sending(self) -> None:
        """Send close_notify (in TLS) and FIN; receiving goes on."""
        with contextlib.suppress(OSError):
            if isinstance(self.sock, ssl.SSLSocket):
                with contextlib.suppress(ssl.SSLError, ValueError):
                    self.sock.unwrap()  # the socket does not block: this sends, and does not wait for the answer
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def _receive(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def _keep(self, data: bytes) -> bool:
        self.received += data
        self.pending += data
        self.peer.changed()
        return bool(data)

    def _retry(self, act: Callable[[], _T], mask: int, timeout: float | None) -> _T:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, timeout)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, timeout)
            except BlockingIOError:
                self._wait(mask, timeout)

    def _wait(self, mask: int, timeout: float | None) -> None:
        patience = self.peer.patience if timeout is None else timeout
        if not self._ready({self.sock: mask}, patience):
            raise ScriptError(f"nothing happened for {patience} s; pending: {short(self.pending)}")

    def _ready(self, masks: dict[socket.socket, int], patience: float) -> set[socket.socket]:
        """Which sockets are ready; bytes that are already there come before the closing of the peer."""
        poll = select.poll()
        by_number = {sock.fileno(): sock for sock in masks}
        for sock, mask in masks.items():
            poll.register(sock, mask)
        poll.register(self.peer.closing_end, select.POLLIN)
        events = poll.poll(patience * 1000)
        ready = {by_number[number] for number, _ in events if number in by_number}
        if events and not ready:
            raise PeerClosing
        return ready


def run(steps: Sequence[Step], line: Line) -> None:
    """Take the steps one after the other; whatever goes wrong becomes a ScriptError that names the step."""
    for step in steps:
        try:
            step(line)
        except (LineEnded, ScriptError):
            raise
        except PeerClosing:
            raise ScriptError(f"{step} was not finished when the peer was closed") from None
        except Exception as error:
            raise ScriptError(f"{step}: {error!r}") from error


# --- the steps -------------------------------------------------------------------------------------------


def expect(what: Wanted) -> Step:
    """Read until ``what`` is there and consume the bytes up to its end (kept in ``line.matched``).

    ``what`` is a string of bytes or a pattern, found anywhere in the pending bytes, or a function that is
    given the pending bytes and returns how many of them to consume (0: read on; True: all).
    """

    def step(line: Line) -> None:
        while not (count := _match(what, line.pending)):
            if not line.fill():
                raise ScriptError(f"the line ended while expecting {what!r}; pending: {short(line.pending)}")
        line.matched = line.take(count)

    return _Named(step, f"expect({what!r})")


def expect_eof() -> Step:
    """The other side ends the line (or resets it) and sends nothing before."""

    def step(line: Line) -> None:
        try:
            while not line.pending and line.fill():
                pass
        except ConnectionError:
            pass
        if line.pending:
            raise ScriptError(f"expected the end of the line, got {short(line.pending)}")

    return _Named(step, "expect_eof()")


def say(data: bytes | Callable[[Line], bytes]) -> Step:
    """Send ``data``, or what the function makes of the line. A line broken by the other side is a failure."""

    def step(line: Line) -> None:
        line.send(data(line) if callable(data) else data)

    return _Named(step, f"say({short(data)})")


def say_slowly(data: bytes, size: int = 1, gate: threading.Semaphore | None = None) -> Step:
    """Send ``data`` in pieces of ``size`` bytes.

    Each piece waits until the test has released ``gate`` once. Without a gate the pieces leave a
    millisecond apart, so that the reader is likely to see each on its own; nothing may depend on it.
    """

    def step(line: Line) -> None:
        for start in range(0, len(data), size):
            if gate is None:
                line.peer.stopped.wait(0.001)
            elif not gate.acquire(timeout=line.peer.patience):
                raise ScriptError(f"the gate stayed shut before byte {start}")
            line.send(data[start : start + size])

    return _Named(step, f"say_slowly({short(data)})")


def pour(data: bytes) -> Step:
    """Send ``data`` over and over, until the other side breaks the line or the peer is closed."""

    def step(line: Line) -> None:
        try:
            while not line.peer.stopped.is_set():
                line.send(data)
        except (OSError, PeerClosing):
            pass
        raise LineEnded

    return _Named(step, f"pour({short(data)})")


def wait(event: threading.Event) -> Step:
    """Go on when the test sets the event."""

    def step(line: Line) -> None:
        if not event.wait(line.peer.patience):
            raise ScriptError("the event was not set")

    return _Named(step, "wait()")


def stall() -> Step:
    """Neither read nor send until the peer is closed."""

    def step(line: Line) -> None:
        line.peer.stopped.wait()
        raise LineEnded

    return _Named(step, "stall()")


def cut() -> Step:
    """Close at once: what has been sent arrives, then FIN; in TLS without close_notify."""

    def step(line: Line) -> None:
        with contextlib.suppress(OSError):
            while line.fill_now():
                pass  # unread bytes would turn the FIN into a reset
            socket.socket.shutdown(line.sock, socket.SHUT_WR)
        line.close()
        raise LineEnded

    return _Named(step, "cut()")


def reset() -> Step:
    """Close with a reset (TCP only)."""

    def step(line: Line) -> None:
        if line.sock.family == socket.AF_UNIX:
            raise ScriptError("a unix socket knows no reset")
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
        raise LineEnded

    return _Named(step, "reset()")


def half_close() -> Step:
    """End the sending direction, go on reading."""
    return _Named(Line.end_sending, "half_close()")


def start_tls(context: ssl.SSLContext) -> Step:
    """Go on in TLS from here, as the server."""
    return _Named(lambda line: line.start_tls(context), "start_tls()")


def loop(*steps: Step, times: int | None = None) -> Step:
    """Repeat the steps ``times`` times, or until the other side closes the line between two rounds."""

    def step(line: Line) -> None:
        done = 0
        while done != times:
            if times is None and not next_round(line):
                raise LineEnded
            run(steps, line)
            done += 1

    return _Named(step, "loop()")


def next_round(line: Line) -> bool:
    """Wait for the first byte of a round; False when the line or the peer ended instead."""
    try:
        return bool(line.pending) or line.fill(FOREVER)
    except (ConnectionError, PeerClosing):
        return False


def relay(address: Address) -> Step:
    """Connect to ``address`` and pass bytes both ways until both sides have ended: the heart of a proxy."""

    def step(line: Line) -> None:
        family, target = family_of(address)
        with socket.socket(family) as other:
            other.settimeout(line.peer.patience)
            other.connect(target)
            with contextlib.suppress(OSError, PeerClosing):  # either side is gone: so is the relay
                _pass_bytes(line, other)
        raise LineEnded

    return _Named(step, f"relay({address!r})")


def _pass_bytes(line: Line, other: socket.socket) -> None:
    """One thread for both ways, since a TLS socket must not be used by two at once."""
    other.sendall(line.take())
    open_ends = {line.sock: select.POLLIN, other: select.POLLIN}
    while open_ends:
        ready = line._ready(open_ends, FOREVER)
        if line.sock in ready:
            while more := line.fill_now():
                other.sendall(line.take())
            if more is False:
                other.shutdown(socket.SHUT_WR)
                del open_ends[line.sock]
        if other in ready:
            if data := other.recv(65536):
                line.send(data)
            else:
                line.end_sending()
                del open_ends[other]


class _Named:
    """A step that can say its name in a failure."""

    def __init__(self, act: Callable[[Line], object], name: str):
        self._act = act
        self._name = name

    def __call__(self, line: Line) -> None:
        self._act(line)

    def __repr__(self) -> str:
        return self._name


def _match(what: Wanted, pending: bytearray) -> int:
    if isinstance(what, bytes):
        return at + len(what) if (at := pending.find(what)) >= 0 else 0
    if isinstance(what, re.Pattern):
        return found.end() if (found := what.search(pending)) else 0
    count = what(bytes(pending))
    return len(pending) if count is True else count


def short(data: object) -> str:
    """``data`` for a message: its beginning and its end."""
    text = repr(bytes(data)) if isinstance(data, bytes | bytearray) else repr(data)
    return text if len(text) < 200 else text[:100] + " … " + text[-60:]


def family_of(address: Address) -> tuple[int, Any]:
    """The address family and the address as ``bind`` and ``connect`` want it."""
    if isinstance(address, str):
        return socket.AF_UNIX, address
    return (socket.AF_INET6 if ":" in address[0] else socket.AF_INET), address
