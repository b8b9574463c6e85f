"""A channel: one line over TCP or a unix socket. It moves bytes and knows no grammar.

The state *is* the handler registered with the loop: ``_on_connecting``, ``_on_handshake``,
``_on_open``, ``_on_open_tls``; ``_on_writable`` stands in front of the last three while bytes
wait to be sent or an upload is hungry. No flag is consulted on the hot path.

Traps this file lives with:

- ``SO_ERROR`` is 0 while a connect is still pending; asking ``connect_ex`` again tells the truth
  (EALREADY, EISCONN, or the real error).
- A full backlog of a unix socket answers EAGAIN and never becomes writable: it is tried again by time.
- A peer may answer and close while we still send (413, then RST). A failed send therefore reads
  what has come before the line is given up.
- Writing is tried first; writability is asked for only after a short write (arming and disarming
  costs 0.5 to 1.5 µs a request).
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final, cast

from ..errors import AquestsError, ConnectError, PeerClosed, ReadError, TlsError, WriteError
from .base import BaseChannel
from .linger import Linger
from .poller import READ, WRITE
from .stacked import Stacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..exchange import Exchange
    from ..seam import Address, MakeWire, Owner, Tls, Wire
    from .loop import Loop

RECEIVE: Final = 122_880
"""Bytes asked for at once: as many as malloc serves without a mapping of their own (128 KB with glibc; 262,144 would
cost 8 µs more a call). A small answer costs the same as with 65,536, 100 MB over TLS take 7 % fewer user instructions.
"""
MANY: Final = 16
"""Exchanges finished by one read that are settled at once: with those of all other lines they would not fit into the
processor's caches (14 % fewer cycles for Redis, 64 commands on each of 50 lines)."""
READS: Final = 3
"""How often a full read is followed by another in the same step. A body of 100 MB takes 6 % fewer user instructions
than with a poll for each read; 7 or 15 save hardly more (``benchmarks/http2_bulk.py``)."""
PENDING: Final = frozenset((errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR))
UNIX_RETRY: Final = 0.01
"""Seconds until a unix socket with a full backlog is tried again."""


class Channel(BaseChannel["Wire"]):
    """A line over a socket of its own."""

    __slots__ = (
        "_address",
        "_fd",
        "_outbox",
        "_outgoing",
        "_recv",
        "_resume",
        "_send",
        "_sock",
        "_tls",
        "_unsent",
        "submit",
    )

    submit: Callable[[Exchange], None]
    """The wire's own: a layer between would cost every request."""

    def __init__(self, loop: Loop, owner: Owner, endpoint: Any, make_wire: MakeWire, patience: float):
        super().__init__(loop, owner, endpoint, make_wire, patience)
        self._outgoing = loop.outgoing
        self._sock: socket.socket | None = None
        self._fd = -1
        self._tls: Tls | None = None
        self._unsent: memoryview | None = None

    # Making the line

    def open(self, address: Address, tls: Tls | None = None) -> None:
        """Begin to connect. Never reports from inside: what fails at once arrives by ``loop.soon``."""
        self._tls = tls
        self._address = address
        self._enter("connect")
        try:
            self._sock = socket.socket(address[0], socket.SOCK_STREAM)
        except OSError as error:
            self._fail_soon(error)
            return
        self._fd = self._sock.fileno()
        self._sock.setblocking(False)
        if address[0] != getattr(socket, "AF_UNIX", None):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin_connect()

    def _begin_connect(self) -> None:
        if self._sock is None:
            return  # closed while it waited for its turn
        family, where = self._address
        try:
            code = self._sock.connect_ex(where)
        except OSError as error:  # an address the system cannot even read: too long a unix path
            self._fail_soon(error)
            return
        if code == errno.EAGAIN and family == getattr(socket, "AF_UNIX", None):
            self.loop.at(self.loop.now + UNIX_RETRY, self._begin_connect)
        elif code == 0 or code == errno.EISCONN or code in PENDING:
            self.loop.add(self._fd, WRITE, self._on_connecting)
        else:
            self._fail_soon(OSError(code, errno.errorcode.get(code, "")))

    def _fail_soon(self, error: OSError) -> None:
        self.loop.soon(lambda: self.close(self._connect_error(error)))

    def _connect_error(self, error: OSError) -> ConnectError:
        fault = ConnectError(_words(error), phase="connect", endpoint=self.endpoint.label, after=self._age())
        fault.__cause__ = error
        return fault

    def _on_connecting(self, mask: int) -> None:
        sock = self._sock
        assert sock is not None
        code = sock.connect_ex(self._address[1])
        if code in PENDING:
            return
        if code != 0 and code != errno.EISCONN:
            self.close(self._connect_error(OSError(code, errno.errorcode.get(code, ""))))
            return
        self.connect_seconds = self._age()
        self._recv = sock.recv
        self._send = sock.send
        self._next_stage()

    def upgrade(self, make_wire: MakeWire, tls: Tls | None = None, surplus: bytes = b"") -> None:
        """The next stage on the same socket, after a tunnel. A filter that is there already stays below.

        ``surplus`` are bytes that came behind the tunnel's last word: the first ones for the new wire.
        """
        self.drain()  # a proxy may have answered before it was asked
        if self.phase == "closed":
            return
        self.wire = None
        self._make_wire = make_wire
        if tls is None:
            self._up(None, surplus)  # the filter below chose a protocol for the tunnel, not for what is in it
            return
        self._tls = tls if self._tls is None else cast("Tls", Stacked(self._tls, tls))  # its attributes are read-only
        if surplus:
            message = "bytes came ahead of the TLS handshake"
            self.close(TlsError(message, phase="tls", endpoint=self.endpoint.label))
            return
        self._next_stage()

    def _next_stage(self) -> None:
        if self._tls is None:
            self._up(None)
            return
        self._enter("tls")
        self._resume = self._on_handshake
        self.loop.modify(self._fd, READ, self._on_handshake)
        self._shake(b"")

    def _on_handshake(self, mask: int) -> None:
        data = self._read()
        if data:
            self._shake(data)
        elif data is not None:
            message = "the server closed the line during the TLS handshake"
            self.close(TlsError(message, phase="tls", endpoint=self.endpoint.label, after=self._age()))

    def _shake(self, data: bytes) -> None:
        tls = self._tls
        assert tls is not None
        try:
            out = tls.handshake(data)
        except TlsError as error:
            self._tls_broken(error)
            return
        if out:
            self._transmit(out)
        if tls.done and self._sock is not None:
            self.tls_seconds = self._age()
            self._up(tls.alpn)

    def _up(self, alpn: str | None, surplus: bytes = b"") -> None:
        """The transport is up: make the wire, greet, and tell the owner if there is room at once."""
        self._enter("open")
        self.opened_at = self.loop.now
        wire = self.wire = self._make_wire(alpn)
        self._outbox = wire.outbox
        self.submit = wire.submit
        self._resume = self._on_open if self._tls is None else self._on_open_tls
        self.loop.modify(self._fd, READ | WRITE if self.blocked else READ)
        self.loop.handle(self._fd, self._on_writable if self.blocked else self._resume)
        wire.opened()
        self._after(wire, ())
        if surplus and self.phase == "open":
            self._take(surplus)
        if self._tls is not None and self.phase == "open":
            # Plaintext may have come with the last flight of the handshake.
            self._unseal(b"")

    # Receiving

    def _on_open(self, mask: int) -> None:
        """The hot path. Inlined: each layer more would cost every request."""
        recv = self._recv  # a call of a slot's content takes the slow way to it
        try:
            data = recv(RECEIVE)
        except BlockingIOError:
            return  # spurious readiness is legal
        except OSError as error:
            self._broken(error)
            return
        if not data:
            self._on_eof()
            return
        wire: Wire = self.wire  # type: ignore[assignment]
        finished = wire.receive(data)  # as _take() does
        if wire.begun:
            self._stamp(wire)
        if len(finished) == 1:
            report = self._on_finished
            report((self, finished))
        else:
            self._after(wire, finished)
        if len(data) == RECEIVE:
            self._read_ahead()

    def _on_open_tls(self, mask: int) -> None:
        """As ``_on_open``, with the filter between."""
        recv = self._recv
        try:
            data = recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        if data:
            self._unseal(data)
            if len(data) == RECEIVE:
                self._read_ahead()
        else:
            self._on_eof()

    def _read_ahead(self) -> None:
        """A read was full: there is more, and it is read without a poll between."""
        for _ in range(READS):
            if self._read_on() < RECEIVE:
                break

    def _read_on(self) -> int:
        """Read once and hand it on. Returns how many bytes that was; 0 if there was nothing, or the end."""
        if self.wire is None or self.wire.error is not None:
            return 0  # it is over, and will be closed at the end of the batch
        data = self._read()
        if data:
            (self._take if self._tls is None else self._unseal)(data)
            return len(data)
        if data is not None:
            self._on_eof()
        return 0

    def _unseal(self, data: bytes) -> None:
        tls = self._tls
        assert tls is not None
        try:
            plain = tls.unseal(data)
        except TlsError as error:
            self._tls_broken(error)
            return
        if plain:
            self._take(plain)
        if self.phase != "open" or self.wire.error is not None:  # type: ignore[union-attr]
            return
        if tls.error is not None:  # there was garbage behind the plaintext
            self._tls_broken(tls.error)
        elif tls.closed:
            self._on_eof()

    def _tls_broken(self, error: TlsError) -> None:
        assert self._tls is not None
        self._send_quietly(self._tls.alert)
        error.endpoint = error.endpoint or self.endpoint.label
        error.after = error.after or self._age()
        self.close(error)

    def _take(self, data: bytes) -> None:
        wire: Wire = self.wire  # type: ignore[assignment]
        finished = wire.receive(data)
        if wire.begun:
            self._stamp(wire)
        self._after(wire, finished)

    def _stamp(self, wire: Wire) -> None:
        now = self.loop.now
        for x in wire.begun:
            x.first_at = now
        wire.begun.clear()

    def _after(self, wire: Wire, finished: Sequence[Exchange]) -> None:
        """Tell what has finished, or else of room, and look at the line at the end of the batch."""
        if finished:
            self._on_finished((self, finished))
            if len(finished) >= MANY:
                self._owner.settle()
            return
        if wire.room and not self.blocked:
            self._owner.on_room(self)
        self._outgoing.append(self)

    def _on_eof(self) -> None:
        tls = self._tls
        wire = self.wire
        assert wire is not None
        if tls is not None and not tls.closed and wire.inflight:
            # Without close_notify nobody can tell the end from a cut (RFC 8446 6.1).
            message = "closed without close_notify; the answer may be cut short"
            self.close(PeerClosed(message, phase="answer", endpoint=self.endpoint.label))
            return
        finished = wire.receive_eof()
        if finished:
            self._on_finished((self, finished))
        self.close(wire.error)

    def _read(self) -> bytes | None:
        """What has come, b"" at the end, None when there is nothing (or the line just broke)."""
        try:
            return self._recv(RECEIVE)
        except BlockingIOError:
            return None
        except OSError as error:
            self._broken(error)
            return None

    def _broken(self, error: OSError) -> None:
        fault: AquestsError
        if self.phase == "tls":
            fault = TlsError(f"{_words(error)} during the TLS handshake", phase="tls", endpoint=self.endpoint.label)
        else:
            fault = ReadError(_words(error), phase="answer", endpoint=self.endpoint.label)
        fault.__cause__ = error
        self.close(fault)

    # Sending

    def drain(self) -> None:
        """The batch is over: send the outbox, and look after a wire that is through, or hungry. The hot path."""
        wire = self.wire
        if wire is None:
            return
        outbox = self._outbox
        if outbox and not self.blocked:
            if len(outbox) == 1:
                data = outbox.pop()
            else:
                data = b"".join(outbox)
                outbox.clear()
            if self._tls is not None:
                try:
                    data = self._tls.seal(data)
                except TlsError as error:
                    self._tls_broken(error)
                    return
            send = self._send
            try:
                sent = send(data)
            except OSError as error:
                sent = self._not_sent(error)
            self.bytes_sent += sent
            if sent != len(data) and self.phase != "closed":
                self._unsent = memoryview(data)[sent:]
                self._arm()
        if (wire.hungry or not wire.reusable) and self.phase == "open":
            self._look_after(wire)

    def _look_after(self, wire: Wire) -> None:
        """Ask for writability for a hungry wire; close one that is through."""
        if wire.error is not None or (not wire.reusable and not wire.inflight):
            self.close(wire.error)
        elif wire.hungry:
            self._arm()

    def _transmit(self, data: bytes) -> None:
        """Send; keep what the system does not take."""
        try:
            sent = self._send(data)
        except OSError as error:
            sent = self._not_sent(error)
        self.bytes_sent += sent
        if sent != len(data) and self.phase != "closed":
            self._unsent = memoryview(data)[sent:]
            self._arm()

    def _not_sent(self, error: OSError) -> int:
        """Nothing was: there is no room now, or never again."""
        if not isinstance(error, BlockingIOError):
            self._write_broken(error)
        return 0

    def _arm(self) -> None:
        """Ask for writability, in front of the present handler."""
        if not self.blocked:
            self.blocked = True
            self.loop.modify(self._fd, READ | WRITE, self._on_writable)

    def _on_writable(self, mask: int) -> None:
        if mask & READ:
            # Reading goes on, or two peers that only write would wait for each other.
            self._resume(mask)
            if self._unsent is not None and self.phase == "open" and not self.inflight:
                # All is answered, and the peer may never read the rest: nothing would end this line.
                self.close()
        if not mask & WRITE or self._sock is None:
            return
        if self._unsent is not None:
            try:
                sent = self._send(self._unsent)
            except BlockingIOError:
                return
            except OSError as error:
                self._write_broken(error)
                return
            self.bytes_sent += sent
            self._unsent = self._unsent[sent:] if sent < len(self._unsent) else None
        if self._unsent is None:
            self._drained()

    def _drained(self) -> None:
        """All was sent: the next piece of an upload, or back to plain reading."""
        wire = self.wire
        self.blocked = False
        if wire is not None and self.phase == "open":
            self._after(wire, wire.produce() if wire.hungry else ())
        if not self.blocked and self._sock is not None:
            self.loop.modify(self._fd, READ, self._resume)

    def _write_broken(self, error: OSError) -> None:
        """The peer does not read any more. It may have answered before: take that, then give up."""
        wire = self.wire
        self._unsent = None
        if self.phase == "tls":
            self._broken(error)
        elif wire is not None:
            wire.hungry = False
            self._outbox.clear()
            self.blocked = True  # nothing more is sent on this line
            while self._sock is not None and self._read_on():
                pass  # the answer ends it, or its limit, or that nothing more is here
        if self._sock is not None:
            fault = WriteError(_words(error), phase="send", endpoint=self.endpoint.label)
            fault.__cause__ = error
            self.close((wire and wire.error) or fault)

    # The end

    def cancel(self, x: Exchange) -> bool:
        """Forget one exchange. True if the line goes on; False if it must be closed."""
        assert self.wire is not None
        return self.wire.cancel(x)

    def close(self, error: AquestsError | None = None) -> None:
        if self.phase == "closed":
            return
        lingers = self.phase == "open" and error is None and not self.blocked and self._farewell()
        self.phase = "closed"
        self.blocked = True
        self._unsent = None
        if self._sock is not None:
            self.loop.remove(self._fd)
            if lingers:
                Linger(self.loop, self._sock)
            else:
                self._sock.close()
            self._sock = None
        self._resume = _ended  # its own method: a ring that only the collector would free
        self._report_end(self._lost(error), error)

    def _farewell(self) -> bool:
        """Say goodbye. True if the peer answers it by closing the line, which is to be waited for."""
        assert self.wire is not None
        self.wire.goodbye()
        lingers = self.wire.lingers and bool(self._outbox)
        data = b"".join(self._outbox)
        self._outbox.clear()
        if self._tls is not None:
            try:
                data = (self._tls.seal(data) if data else b"") + self._tls.goodbye()
            except TlsError:
                return False  # the line broke before we could be polite
        self._send_quietly(data)
        return lingers

    def _send_quietly(self, data: bytes) -> None:
        """One try: nobody waits for what a dying line could not send."""
        if data and self._sock is not None:
            try:
                self._send(data)
            except OSError:
                pass


_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by the peer",
    errno.EPIPE: "the peer closed the line",
    errno.ENETUNREACH: "network unreachable",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.ENOENT: "no such socket file",
    errno.EACCES: "permission denied",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files in the system",
}


def _ended(mask: int) -> None:
    """The handler of a line that is closed."""


def _words(error: OSError) -> str:
    import os

    code = error.errno or 0
    return _WORDS.get(code) or (os.strerror(code).lower() if code else str(error) or type(error).__name__)
