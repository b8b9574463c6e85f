"""The settings of a run: every option of ``configure()`` with its default, checked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import RequestError, misspelt

MAX_CONTENT = 256 * 1024 * 1024
"""Bytes of one answer's body, as received and as decoded: more than a page, less than a machine."""
MAX_RATIO = 1100.0
"""Decoded to received bytes, beyond the first MiB. Deflate itself cannot exceed 1032:1 in one layer."""
MAX_REDIRECTS = 20
TIMEOUT = 10.0


class Settings:
    """One set of options, not changed once it is made: ``configure()`` makes another one."""

    __slots__ = (
        "allow_redirects",
        "ca",
        "callback",
        "cert",
        "concurrency",
        "cookie",
        "deadline",
        "force_http1",
        "http2_constreams",
        "logger",
        "max_content",
        "max_ratio",
        "max_redirects",
        "proxy",
        "qrandom",
        "ruled",
        "timeout",
        "trust_env",
        "use_pool",
        "verify",
        "workers",
    )

    def __init__(
        self,
        workers: int = 1,
        logger: Any = None,
        callback: Callable[[Any], object] | None = None,
        timeout: float = TIMEOUT,
        cookie: bool = False,
        force_http1: bool = False,
        http2_constreams: int = 1,
        allow_redirects: bool = True,
        qrandom: bool = False,
        use_pool: bool = True,
        *,
        verify: bool = True,
        ca: Any = None,
        cert: Any = None,
        proxy: str | None = None,
        trust_env: bool = True,
        deadline: float | None = None,
        max_redirects: int = MAX_REDIRECTS,
        max_content: int = MAX_CONTENT,
        max_ratio: float = MAX_RATIO,
        **unknown: Any,
    ):
        if unknown:
            raise misspelt(unknown, self.__slots__)
        self.workers: int = _number("workers", workers, 1, whole=True)
        self.logger = logger
        if callback is not None and not callable(callback):
            raise RequestError(f"callback must be callable, not {type(callback).__name__}")
        self.callback = callback
        self.timeout = float(_number("timeout", timeout, 0))  # sums of floats are quicker
        self.cookie = cookie
        self.force_http1 = force_http1
        self.http2_constreams = _number("http2_constreams", http2_constreams, 1, whole=True)
        self.allow_redirects = allow_redirects
        self.qrandom = qrandom
        self.use_pool = use_pool
        if not isinstance(verify, bool):
            raise RequestError(f"verify must be True or False, not {verify!r}: a CA is given by ca=…")
        self.verify = verify
        self.ca = ca
        self.cert = cert
        self.proxy = proxy
        self.trust_env = trust_env
        self.deadline = None if deadline is None else _number("deadline", deadline, 0)
        self.max_redirects = _number("max_redirects", max_redirects, 0, whole=True)
        self.max_content = _number("max_content", max_content, 0, whole=True)
        self.max_ratio = _number("max_ratio", max_ratio, 1)
        self.ruled: bool = cookie or deadline is not None
        """Every request needs something before it is sent."""
        self.concurrency: int = self.workers if force_http1 else self.workers * self.http2_constreams

    def line_key(self) -> tuple[Any, ...]:
        """What a line was made with: when it changes, idle lines are not used again."""
        http2 = (self.force_http1, self.http2_constreams)
        return (self.verify, self.ca, self.cert, self.proxy, self.trust_env, http2, self.use_pool)


def _number(name: str, value: Any, least: int, *, whole: bool = False) -> Any:
    """``value`` if it is a number of at least ``least`` (more than 0 when ``least`` is 0 and not whole)."""
    kinds = (int,) if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool)
    if not good or value < least or value != value or (value == 0 and not whole):
        wanted = "whole number" if whole else "number of seconds above 0" if least == 0 else "number"
        raise RequestError(f"{name} must be a {wanted}{f' of at least {least}' if whole else ''}, not {value!r}")
    return value
