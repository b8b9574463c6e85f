"""What psycopg2 does not offer of libpq, asked by ``ctypes`` over ``connection.pgconn_ptr``, which is made for that.

``connection.cancel()`` holds Python's lock until the server has answered; a call by ctypes does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Calls = tuple[Callable[[int], int | None], Callable[[int], object], Callable[[int], object]]
"""Make a token for what stops a connection's work, use it, free it."""

_calls: Calls | None = None
_looked = False


def canceller(connection: Any) -> Callable[[], None] | None:
    """A call that asks the server to stop what runs on this connection now; None if it cannot be asked.

    It blocks, for as long as it takes to connect to the server, and may be made in any thread and after the
    connection was closed; once. The request is encrypted as the connection was from libpq 17 on, and never before.
    """
    calls = None if connection.closed else _load()
    token = calls[0](connection.pgconn_ptr) if calls is not None else None
    if calls is None or not token:
        return None
    use, free = calls[1:]

    def stop() -> None:
        use(token)
        free(token)

    return stop


def _load() -> Calls | None:
    """The functions of the libpq that psycopg2 itself has loaded; None where their names are hidden."""
    global _calls, _looked
    if not _looked:
        _looked = True
        try:
            _calls = _find()
        except (OSError, AttributeError):
            _calls = None
    return _calls


def _find() -> Calls:
    from ctypes import CDLL, c_char_p, c_int, c_void_p, create_string_buffer

    from psycopg2 import _psycopg

    library = CDLL(_psycopg.__file__)  # names are looked for in what it is linked with, too

    def function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        found: Any = getattr(library, name)
        found.restype, found.argtypes = result, list(arguments)
        return found  # type: ignore[no-any-return]

    if hasattr(library, "PQcancelBlocking"):
        return (
            function("PQcancelCreate", c_void_p, c_void_p),
            function("PQcancelBlocking", c_int, c_void_p),
            function("PQcancelFinish", None, c_void_p),
        )
    cancel = function("PQcancel", c_int, c_void_p, c_char_p, c_int)
    return (
        function("PQgetCancel", c_void_p, c_void_p),
        lambda token: cancel(token, create_string_buffer(256), 256),
        function("PQfreeCancel", None, c_void_p),
    )
