"""Peers for tests: real sockets, served by threads that follow a script.

    with ScriptedPeer([expect(b"\\r\\n\\r\\n"), say(b"HTTP/1.1 204 No Content\\r\\n\\r\\n"), stall()]) as peer:
        ...ask peer.url...

Each accepted connection gets the next script, the last one repeats. The steps are in ``tests/steps.py``
and can be imported from here.

The strict part: whatever goes wrong in a script, and a script that stands half-way when the peer is
closed, raises when the ``with`` block is left. Only waits that are meant to be open-ended (``stall``,
``pour``, the beginning of a ``loop`` round, the end of the script) may be interrupted.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias

from tests.http_step import Answer, Request, serve_http
from tests.steps import (
    FOREVER,
    Address,
    Line,
    LineEnded,
    PeerClosing,
    ScriptError,
    Step,
    cut,
    expect,
    expect_eof,
    family_of,
    half_close,
    loop,
    pour,
    relay,
    reset,
    run,
    say,
    say_slowly,
    short,
    stall,
    start_tls,
    wait,
)

__all__ = [
    "Answer",
    "HttpPeer",
    "Line",
    "LineEnded",
    "Request",
    "ScriptError",
    "ScriptedPeer",
    "cut",
    "expect",
    "expect_eof",
    "half_close",
    "hanging_port",
    "http_peer",
    "loop",
    "pour",
    "refused_port",
    "relay",
    "reset",
    "say",
    "say_slowly",
    "serve_http",
    "stall",
    "start_tls",
    "wait",
]

Handler: TypeAlias = Callable[[socket.socket, int], object]
Script: TypeAlias = Sequence[Step] | Handler

PATIENCE = 5.0
"""Seconds a step waits for what must come. Only a failing test ever waits so long."""


class ScriptedPeer:
    """A listening socket whose connections follow scripts. Use it as a context manager.

    ``scripts``: one for the first connection, one for the second …; the last serves all others. A script
    is a list of steps, or a plain ``handler(sock, number)`` on a blocking socket with a time limit.
    ``host`` is the address to listen on (IPv4 or IPv6), ``path`` a unix socket instead; ``tls`` a server
    context for every connection. When a script has run through, the sending direction is closed and the
    rest of the input read, so that nothing already sent can be lost to a reset.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        path: str | os.PathLike[str] | None = None,
        patience: float = PATIENCE,
    ):
        self.scripts: Sequence[Script] = scripts or ([stall()],)
        self.tls = tls
        self.patience = patience
        self.handshake_failures: list[Exception] = []
        self.errors: list[ScriptError] = []
        self.ended = 0
        """How many connections are over and closed."""
        self.stopped = threading.Event()
        self.closing_end, self._closer = socket.socketpair()  # readable once the peer is being closed
        self._path = None if path is None else os.fspath(path)
        self._lines: list[Line] = []
        self._handled: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._news = threading.Condition()
        family, address = family_of(self._path or (host, 0))
        self._listener = socket.socket(family)
        self._listener.bind(address)
        self._listener.listen(512)
        self.address: Address = self._path or (host, self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, name=f"peer {self.address}", daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        """The port the system has chosen."""
        return int(self.address[1])

    @property
    def netloc(self) -> str:
        """``host:port`` as it stands in a URL and in the Host field."""
        host = self.address[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The root: ``http://…/``, ``https://…/``, ``http+unix://…/`` or ``https+unix://…/``."""
        scheme = "https" if self.tls else "http"
        if self._path is not None:
            return f"{scheme}+unix://{self._path.replace('/', '%2F')}/"
        return f"{scheme}://{self.netloc}/"

    @property
    def connections(self) -> int:
        """How many connections have been accepted."""
        return len(self._lines)

    @property
    def received(self) -> list[bytes]:
        """What each connection has received so far (after decryption)."""
        return [bytes(line.received) for line in self._lines]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds; it is asked again whenever a line begins, receives or ends."""
        with self._news:
            if not self._news.wait_for(condition, self.patience):
                raise ScriptError(f"in vain: {self.connections} connections, received {short(self.received)}")

    def changed(self) -> None:
        """Let ``until`` look again."""
        with self._news:
            self._news.notify_all()

    def close(self) -> None:
        """Stop, wait for the threads, and raise the first error of a script."""
        if self.stopped.is_set():
            return
        self.stopped.set()
        self._closer.close()
        self._acceptor.join()
        for sock in self._handled:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # wakes a handler that waits in recv or send
        for thread in self._threads:
            thread.join(self.patience + 1.0)
            if thread.is_alive():
                self.errors.append(ScriptError(f"{thread.name} does not end"))
        self._listener.close()
        self.closing_end.close()
        if self._path is not None:
            os.unlink(self._path)
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except ScriptError as script_error:
            if error is None:
                raise
            error.add_note(f"the scripted peer says: {script_error}")

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self.closing_end, select.POLLIN)
        while self.closing_end.fileno() not in dict(poll.poll()):
            sock, _ = self._listener.accept()
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._news:  # whoever sees the connection counted finds its thread running
                self._begin(Line(sock, len(self._lines) + 1, self))
            self.changed()

    def _begin(self, line: Line) -> None:
        script = self.scripts[min(line.number, len(self.scripts)) - 1]
        thread = threading.Thread(target=self._serve, args=(line, script), name=f"line {line.number}", daemon=True)
        self._lines.append(line)
        self._threads.append(thread)
        thread.start()

    def _serve(self, line: Line, script: Script) -> None:
        try:
            if self.tls is not None:
                line.start_tls(self.tls)
            if callable(script):
                self._handle(line, script)
            else:
                run(script, line)
                line.end_sending()
                while line.fill(FOREVER):
                    pass
        except (LineEnded, PeerClosing, OSError):
            pass  # what goes wrong in a script is a ScriptError: this is the end of the line
        except ScriptError as error:
            error.args = (f"connection {line.number}: {error}",)
            self.errors.append(error)
        finally:
            line.close()
            with self._news:
                self.ended += 1
            self.changed()

    def _handle(self, line: Line, handler: Handler) -> None:
        line.sock.settimeout(self.patience)
        self._handled.append(line.sock)
        if self.stopped.is_set():  # close() may have looked at the list before
            raise LineEnded
        try:
            handler(line.sock, line.number)
        except Exception as error:
            if not (self.stopped.is_set() and isinstance(error, OSError)):
                raise ScriptError(f"{handler!r}: {error!r}") from error


class HttpPeer(ScriptedPeer):
    """A small, strict HTTP/1.1 server: see ``http_peer``. ``requests`` holds all requests in their order."""

    def __init__(
        self,
        responder: Callable[[Request], Answer],
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        path: str | os.PathLike[str] | None = None,
        patience: float = PATIENCE,
    ):
        self.requests: list[Request] = []
        super().__init__([serve_http(responder, self.requests)], tls=tls, host=host, path=path, patience=patience)


def http_peer(
    responder: Callable[[Request], Answer],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    path: str | os.PathLike[str] | None = None,
) -> HttpPeer:
    """Serve HTTP/1.1 with keep-alive and pipelining, one thread a connection.

    ``responder(request)`` returns ``(status, headers, body)``: headers as pairs of text, a body of bytes
    (sent with Content-Length) or an iterable of bytes (sent in chunks). A request that breaks RFC 9112
    fails the test; a client that goes away in the middle does not.
    """
    return HttpPeer(responder, tls=tls, host=host, path=path)


@contextlib.contextmanager
def refused_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, and not listening."""
    family, address = family_of((host, 0))
    with socket.socket(family) as sock:
        sock.bind(address)
        yield sock.getsockname()[1]


@contextlib.contextmanager
def hanging_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port where connecting neither succeeds nor fails: the backlog is full and nobody accepts."""
    family, address = family_of((host, 0))
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket(family))
        listener.bind(address)
        listener.listen(0)
        for _ in range(64):
            guest = sockets.enter_context(socket.socket(family))
            guest.setblocking(False)
            guest.connect_ex(listener.getsockname())
            poll = select.poll()
            poll.register(guest, select.POLLOUT)
            if not poll.poll(50):  # on loopback a connection stands within microseconds, or never
                yield listener.getsockname()[1]
                return
        raise ScriptError("the backlog does not fill up on this system")
