"""Ready-made loggers for ``configure(logger=…)``: the screen and a file that turns over daily.

Both are ordinary ``logging.Logger`` objects. They do not propagate, so that no line appears twice
when the program has logging of its own. Secrets are masked.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from ..errors import RequestError
from .log import RedactingFormatter


def screen_logger(stream: TextIO | None = None, level: int = logging.INFO) -> logging.Logger:
    """The logger that writes short lines to ``stream`` (None: what ``sys.stderr`` is now).

    There is one such logger; calling again replaces its stream and level, so no line comes twice.
    """
    logger = logging.getLogger("aquests.screen")
    close_logger(logger)
    _equip(logger, logging.StreamHandler(stream or sys.stderr), "%H:%M:%S")
    logger.setLevel(level)
    return logger


def file_logger(path: str | os.PathLike[str], prefix: str = "aquests", level: int = logging.INFO) -> logging.Logger:
    """The logger that appends to ``<path>/<prefix>.log`` (UTF-8) and starts a new file at midnight.

    The directory is made when missing; yesterday's file gets the date as its suffix, none is ever
    deleted. The same file gives the same logger. Raises RequestError if the file cannot be written.
    """
    from logging.handlers import TimedRotatingFileHandler  # imports socket, queue and more

    if not prefix or os.path.basename(prefix) != prefix:
        raise RequestError(f"prefix must be a plain file name, not {prefix!r}")
    target = os.path.abspath(os.path.join(path, f"{prefix}.log"))
    logger = logging.getLogger(f"aquests.file:{target}")
    if not logger.handlers:
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            handler = TimedRotatingFileHandler(target, when="midnight", encoding="utf-8")
        except OSError as exc:
            raise RequestError(f"the log file {target} cannot be written ({exc.strerror})") from exc
        _equip(logger, handler, None)
    logger.setLevel(level)
    return logger


def close_logger(logger: logging.Logger) -> None:
    """Take the handlers off ``logger`` and close them; asking for the logger again opens anew."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _equip(logger: logging.Logger, handler: logging.Handler, date: str | None) -> None:
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s", date))
    logger.addHandler(handler)
    logger.propagate = False
