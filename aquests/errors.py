"""The error tree: every fault has exactly one type, and every type one status code.

A fault of the caller (``RequestError``) raises where the request is queued. Every other
fault reaches the callback as ``response.error`` and names itself in ``response.status_code``
(700 and above, so that it never collides with a code a server can send).

Each error says where it happened (``endpoint``), in which ``phase`` and ``after`` how many
seconds, and chains the foreign exception it translates. No error text ever holds a secret:
whoever builds a message puts hosts and ports into it, never URLs with credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

REASONS: Final[dict[int, str]] = {
    700: "Connection Closed",
    701: "Exception",
    702: "Timeout",
    704: "Name Not Found",
    711: "Redirect Error",
    713: "TLS Failure",
    714: "Connection Failure",
    715: "Malformed Answer",
    719: "Answer Too Large",
    720: "HTTP/2 Connection Closed",
    721: "HTTP/2 Stream Reset",
}
"""What ``response.reason`` says for each ``response.status_code`` of a failed line."""


MAX_CAUSES: Final = 16
"""How far a chain of causes is followed: a library may have made a ring of it."""


class AquestsError(Exception):
    """Root of the tree.

    ``code`` is the ``response.status_code`` this fault is answered with; ``phase`` one of
    ``"queue"``, ``"resolve"``, ``"connect"``, ``"tunnel"``, ``"tls"``, ``"send"``, ``"answer"``,
    ``"idle"``, ``"total"`` or ``""``; ``endpoint`` is ``"host:port"``; ``after`` is in seconds.
    """

    code = 701
    crowded = False
    """The peer takes no more connections now; those it has given go on."""

    def __init__(self, message: str, *, phase: str = "", endpoint: str = "", after: float = 0.0):
        super().__init__(message)
        self.message = message
        self.phase = phase
        self.endpoint = endpoint
        self.after = after

    def __str__(self) -> str:
        return f"{self.message}, {self.endpoint}" if self.endpoint else self.message


class RequestError(AquestsError, ValueError):
    """The request cannot be made at all: bad URL, unknown scheme, unencodable body, bad option."""


class TransportError(AquestsError):
    """The line could not be made, or broke."""

    code = 700


class ResolveError(TransportError):
    """The host name has no address, or could not be looked up."""

    code = 704


class ConnectError(TransportError):
    """No address accepted the connection, or a proxy refused it."""

    code = 714


class TlsError(TransportError):
    """The TLS handshake failed, or the certificate was not accepted."""

    code = 713


class ReadError(TransportError):
    """The operating system reported an error while receiving (for instance a reset)."""


class WriteError(TransportError):
    """The operating system reported an error while sending."""


class PeerClosed(TransportError):
    """The peer closed the line before the answer was complete."""


class WebSocketClosed(PeerClosed):
    """The peer closed a WebSocket before the replies were complete (RFC 6455 7).

    ``close_code`` and ``close_reason`` are those of its CLOSE; 1005: without a code; 1006: the line ended without a
    CLOSE. ``opcode`` is -1: connected, but closed.
    """

    opcode = -1

    def __init__(self, message: str, *, close_code: int, close_reason: str = "", phase: str = "answer"):
        super().__init__(message, phase=phase)
        self.close_code = close_code
        self.close_reason = close_reason


class TimedOut(AquestsError, TimeoutError):
    """A phase took longer than its ``timeout``, or all attempts longer than ``deadline``."""

    code = 702


class ProtocolError(AquestsError):
    """The peer broke the rules of the protocol. ``first`` holds the first offending bytes."""

    code = 715

    def __init__(
        self, message: str, *, first: bytes = b"", phase: str = "answer", endpoint: str = "", after: float = 0.0
    ):
        super().__init__(message, phase=phase, endpoint=endpoint, after=after)
        self.first = first


class TooLarge(AquestsError):
    """The answer is over a limit: head, body, decompressed body, compression ratio."""

    code = 719


class ConnectionEnded(AquestsError):
    """The peer, or we, ended a multiplexed connection (HTTP/2 GOAWAY, connection error)."""

    code = 720
    served = False
    """It took some of what the line carried: to be sent again elsewhere is then no failure (RFC 9113 6.8)."""


class StreamReset(AquestsError):
    """The peer reset this stream; the others on the line go on (HTTP/2 RST_STREAM).

    ``h2_name`` is what the code it gave is called: ``"CANCEL"`` (RFC 9113 7).
    """

    code = 721

    def __init__(self, message: str, *, h2_name: str = "", phase: str = "", endpoint: str = "", after: float = 0.0):
        super().__init__(message, phase=phase, endpoint=endpoint, after=after)
        self.h2_name = h2_name


class RedirectError(AquestsError):
    """The redirect cannot be followed: no or bad Location, forbidden scheme, body gone."""

    code = 711


class TooManyRedirects(RedirectError):
    """More hops than ``max_redirects``, or a loop."""


class TooManyRetries(AquestsError):
    """Every attempt failed; ``__cause__`` is the last failure."""


class Cancelled(AquestsError):
    """The run was stopped before the answer came."""


class JsonRpcError(Exception):
    """An error object that a JSON-RPC server answered with: ``code``, ``message``, ``data`` (JSON-RPC 2.0, 5.1)."""

    def __init__(self, code: int, message: str, data: Any = None):
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class StatusError(AquestsError):
    """Raised by ``response.raise_for_status()`` for an answer that is not ok."""


def let_go(error: BaseException | None) -> None:
    """Forget the frames of an error and of what caused it: they hold the exchange, and that the error: a ring that
    keeps the body until the collector comes."""
    for _ in range(MAX_CAUSES):
        if error is None:
            return
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def defect(error: Exception, endpoint: str) -> AquestsError:
    """What an exception that nobody expected is to the request it hit; its frames are let go."""
    fault = AquestsError(f"internal error: {type(error).__name__}: {error}", endpoint=endpoint)
    fault.__cause__ = error.with_traceback(None)
    return fault


def misspelt(unknown: Collection[str], known: Collection[str]) -> TypeError:
    """What is raised for keyword arguments that do not exist."""
    from difflib import get_close_matches

    name = min(unknown)
    close = get_close_matches(name, known, 1)
    return TypeError(f"unexpected keyword argument {name!r}{f' (did you mean {close[0]!r}?)' if close else ''}")
