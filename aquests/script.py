"""The script face: one default engine, ``configure()``, ``fetchall()`` and the counters.

::

    aquests.configure(workers=100, callback=finish_request)
    for url in urls:
        aquests.get(url)
    report = aquests.fetchall()
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Sized
from time import monotonic
from typing import Any

from .engine import Engine
from .errors import RequestError
from .exchange import Request, Response
from .httprequest import HttpRequest, make
from .report import Report
from .settings import Settings
from .stats import one_line


class Script:
    """The default engine, made at the first call, and the result of its last run."""

    def __init__(self) -> None:
        self.result: Report | None = None
        self.made: Engine | None = None
        """The engine, if there is one already: for hot paths, where the call of a property counts."""

    @property
    def engine(self) -> Engine:
        if self.made is None:
            self.made = Engine(Settings(callback=print_line))
            self.made.take = self.take
        return self.made

    def configure(self, settings: Settings) -> None:
        if settings.callback is None:
            settings.callback = print_line
        self.engine.configure(settings)

    def take(self, item: Any) -> None:
        """What a lazy source yields: a URL, or a request that may be queued already."""
        if isinstance(item, str):
            self.engine.submit(make("GET", "get", item, None, None, None, None, {}, self.engine.endpoints))
        elif isinstance(item, HttpRequest) and item.req_id < 0:
            submit(item)
        elif not isinstance(item, Request):
            raise RequestError(f"a source yields URLs and requests, not {type(item).__name__}")


script = Script()


def print_line(response: Response) -> None:
    """The default callback: one line an answer."""
    error = response.error
    req_id = response.meta["req_id"]
    said = f"REQID {req_id}. {response.lane} {response.status_code} {response.reason}"
    print(f"{said} {_received(response) if error is None else f'({one_line(str(error))})'}")


def _received(response: Response) -> str:
    """``4210 bytes received``, or how many records if the answer has no body and is an object."""
    data = response.data
    if response.content or isinstance(data, (str, bytes)):
        return f"{len(response.content or data)} bytes received"
    if isinstance(data, dict) and isinstance(data.get("data"), list):  # a cursor's batch
        data = data["data"]
    count = len(data) if isinstance(data, Sized) else int(data is not None)
    return f"{count} record{'' if count == 1 else 's'} received"


def configure(
    workers: int = 1,
    logger: Any = None,
    callback: Callable[[Response], object] | None = None,
    timeout: float = 10,
    cookie: bool = False,
    force_http1: bool = False,
    http2_constreams: int = 1,
    allow_redirects: bool = True,
    qrandom: bool = False,
    use_pool: bool = True,
    **settings: Any,
) -> None:
    """Set the options of the run; may be called again at any time, what is queued stays.

    - ``workers``: lines open at once. ``callback(response)`` is called for each answer; by default a line is printed.
    - ``logger``: any ``logging.Logger``, ``logger.screen_logger()`` or ``logger.file_logger(path, prefix)``.
    - ``timeout``: seconds for each phase of an attempt (name, connect, TLS, first byte, silence); ``deadline``:
      seconds for all attempts of a request together, redirects included (default: none).
    - ``cookie``: keep a cookie jar. ``allow_redirects``, ``max_redirects`` (20).
    - ``force_http1``, ``http2_constreams``: HTTP/2 off, or requests at once on one HTTP/2 line.
    - ``qrandom``: take requests in random order. ``use_pool=False``: a new line for every request.
    - ``verify`` (True), ``ca`` (PEM file, directory or text instead of the system's store), ``cert`` (client
      certificate: file, ``(cert, key)`` or ``(cert, key, password)``).
    - ``proxy`` (URL, or False), ``trust_env`` (True: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY count).
    - ``max_content`` (bytes of a body, as received and decoded; 256 MiB), ``max_ratio`` (decoded to received bytes).

    Raises RequestError for a value that cannot be, TypeError for a misspelt keyword.
    """
    script.configure(
        Settings(
            workers,
            logger,
            callback,
            timeout,
            cookie,
            force_http1,
            http2_constreams,
            allow_redirects,
            qrandom,
            use_pool,
            **settings,
        )
    )


def submit(request: HttpRequest) -> HttpRequest:
    """Queue a request made by ``aquests.Request(…)``; returns it. Raises RequestError if it is queued already."""
    if request.req_id >= 0:
        raise RequestError("this request is queued already: make another one")
    engine = script.engine
    request.place(engine.endpoints)
    engine.submit(request)
    return request


def feed(source: Iterable[Any]) -> None:
    """Add a lazy source of requests.

    Each step of ``source`` may queue requests by the calls of this module, or yield a URL or a ``Request``.
    It is advanced only as workers come free, so ten million requests take the memory of a few thousand.
    What it yields and cannot be sent is logged and counted; a source that raises is logged, counted and dropped.
    """
    script.engine.feed(source)


def fetchall() -> Report:
    """Run until everything queued, and everything queued meanwhile, is answered; return the report.

    The report is also ``aquests.result``. With nothing queued it is empty and returned at once. Ctrl-C
    ends the run early: lines are closed, what is in flight is answered with Cancelled, what waits stays
    queued, the report has ``interrupted`` set; a second Ctrl-C raises KeyboardInterrupt at once.
    Raises RuntimeError in a callback: what is queued there runs anyway.
    """
    engine = script.engine
    engine.refuse_nesting()
    engine.stats.started = monotonic()
    interrupt = _Interrupt(engine)
    with interrupt:
        try:
            engine.run()
        finally:
            engine.hang_up()
            engine.stats.finished = monotonic()
            engine.loop.take_leave()
    engine.stats.interrupted = interrupt.came
    stats = engine.reset()
    script.result = Report(stats, stats.finished - stats.started)
    return script.result


class _Interrupt:
    """The first Ctrl-C stops the engine, the second one is an ordinary KeyboardInterrupt.

    A handler instead of the exception: raised in the middle of a wire it could lose an answer.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._old: Any = None
        self.came = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            old = signal.getsignal(signal.SIGINT)
            if old is signal.default_int_handler:  # a program with a handler of its own keeps it
                self._old = old
                signal.signal(signal.SIGINT, self._on_signal)

    def __exit__(self, *exc: object) -> None:
        if self._old is not None:
            signal.signal(signal.SIGINT, self._old)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        self._engine.stop()


def countreq() -> int:
    """Requests sent in this run, redirects and retries included."""
    return script.engine.sent


def countfin() -> int:
    """Requests answered in this run."""
    return script.engine.finished


def qsize() -> int:
    """Requests that wait in the queue."""
    return script.engine.queue.size


def workings() -> int:
    """Requests in flight."""
    return script.engine.workings


def concurrent() -> int:
    """How many requests may be in flight at once: workers times streams per line."""
    return script.engine.settings.concurrency
