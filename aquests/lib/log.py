"""Logging: the package's logger, what users may pass as ``logger``, and the masking of secrets.

``aquests`` is a name in the standard ``logging`` tree, and where its records go is the user's choice. Until he has made
one, warnings and errors (a callback of his that raised, for instance) show on standard error. Nothing is logged per
request.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final, Protocol, TypeGuard, cast

from ..errors import RequestError

MASK: Final = "***"
SHOWN: Final = 10
"""Warnings and errors that are shown to those who have set up no logging."""

_NAMES = r"(?:proxy-)?authorization|(?:set-)?cookie"

# What stands between :// and the last @ before the path. Anchored at ://, of which no two can
# share a character run: linear, whatever the text.
_USERINFO = re.compile(r'(?<=://)[^\s/?#<>"]*@')

# "Authorization": "Basic …" and (b'cookie', b'a=b'), as repr() and JSON show pairs.
_QUOTED = re.compile(rf"""((['"])(?:{_NAMES})\2\s*[:,]\s*b?)(['"])(?:\\.|(?!\3).)*\3""", re.IGNORECASE | re.DOTALL)

# A header line, up to its end; the end may be an escaped one when bytes were logged by repr().
_LINE = re.compile(rf"({_NAMES})([ \t]*:[ \t]*)(?:(?!\\r|\\n)[^\r\n])+", re.IGNORECASE)


def redact(text: str) -> str:
    """``text`` with its secrets masked: the user part of URLs, values of Authorization and Cookie headers.

    Knows header lines and the way ``repr()`` and JSON show headers; ``Proxy-Authorization`` and
    ``Set-Cookie`` too. When in doubt it masks too much: a header line is masked up to its end.
    """
    text = _USERINFO.sub(MASK + "@", text)
    text = _QUOTED.sub(rf"\1\3{MASK}\3", text)
    return _LINE.sub(rf"\1\2{MASK}", text)


class RedactingFormatter(logging.Formatter):
    """A formatter whose lines, tracebacks included, went through :func:`redact`."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class LastResort(logging.StreamHandler[Any]):
    """Shows warnings and errors on standard error as long as neither ``logger`` nor the root logger has a handler.

    A callback that always raises would print millions of tracebacks: after ``SHOWN`` it says how to see them.
    """

    def __init__(self, logger: logging.Logger):
        super().__init__()
        self._logger = logger
        self._left = SHOWN
        self.setLevel(logging.WARNING)
        self.setFormatter(RedactingFormatter("aquests: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if not self._left or self._logger.handlers != [self] or logging.getLogger().handlers:
            return
        self._left -= 1
        self.stream = sys.stderr  # as it is now
        super().emit(record)
        if not self._left and self.stream is not None:
            self.stream.write("aquests: further ones are not shown: configure(logger=…) or logging shows all\n")


def get_logger() -> logging.Logger:
    """The logger named ``aquests``, with a :class:`LastResort`."""
    logger = logging.getLogger("aquests")
    if not logger.handlers:
        logger.addHandler(LastResort(logger))
    return logger


class SimpleLogger(Protocol):
    """The small logger of old aquests programs."""

    def log(self, msg: str, type: str = "info") -> object:
        """Write one line; ``type`` is ``debug``, ``info``, ``warn``, ``error`` or ``fatal``."""

    def trace(self) -> object:
        """Write the traceback of the exception being handled."""


AnyLogger = logging.Logger | logging.LoggerAdapter[Any]


def as_logger(candidate: object) -> AnyLogger:
    """Turn what a user passed as ``logger`` into something with ``.info .warning .error .exception``.

    Takes any ``logging.Logger`` or ``LoggerAdapter`` (returned as it is), an object with
    ``log(msg, type)`` and ``trace()``, and None for the package's own logger. Raises RequestError
    for anything else: a bare callable too, since ``configure(10, callback)`` is an easy slip.
    """
    if candidate is None:
        return get_logger()
    if isinstance(candidate, (logging.Logger, logging.LoggerAdapter)):
        return candidate
    if _is_simple(candidate):
        logger = logging.Logger("aquests.simple", logging.DEBUG)  # not in the tree: no other handler sees it
        logger.addHandler(_handler(candidate))
        return logger
    raise RequestError(
        f"logger must be a logging.Logger or an object with log(msg, type) and trace(), not {type(candidate).__name__}"
    )


def _is_simple(candidate: object) -> TypeGuard[SimpleLogger]:
    return callable(getattr(candidate, "log", None)) and callable(getattr(candidate, "trace", None))


def _handler(target: SimpleLogger) -> logging.Handler:
    """A handler that hands records to ``target``, and whose failures break nothing."""
    from logging.handlers import QueueHandler  # its emit() gives what enqueue() raises to handleError()

    types = {"WARNING": "warn", "CRITICAL": "fatal"}

    class Handing(QueueHandler):
        def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
            return record

        def enqueue(self, record: logging.LogRecord) -> None:
            target.log(record.getMessage(), types.get(record.levelname, record.levelname.lower()))
            if record.exc_info:
                target.trace()

    return Handing(cast("Any", target))
