"""What every scheme speaks: one line a scheme, modules imported when first used.

A scheme's module offers

- ``lines(place, prefix, extra, settings)``: prepares what all lines to ``place`` (an Endpoint) share, and returns
  ``make_wire(alpn)``, or what makes the driver or worker of a scheme with another ``transport``;
- ``review(x, elsewhere)``, if its answers may be ``special``: the next attempt, or None when ``x`` goes to the user.
  ``elsewhere(host, port)`` is the same kind of place at another address (a cluster's other node), and
  ``elsewhere.move(belongs, most)`` moves what waits; see ``aquests/elsewhere.py``. With ``Scheme.hosts`` it is asked
  about failures, too: ``x.error`` is an AquestsError then, and ``x.untouched`` says that no byte of it was sent.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final


class Scheme:
    """``module`` within this package; ``port`` by default; ``tls`` from the start; ``alpn`` offered, the best first;
    ``lane`` and ``version`` are shown when a line fails before anything was spoken; ``web``: HTTP's rules hold
    (redirects, cookies …); ``yields_data``: answers are objects (``response.data``), not bodies; ``transport``: what
    moves its bytes: ``"stream"`` (a Channel), ``"polled"`` (a driver with a socket of its own) or ``"threaded"``;
    ``own_lines``: a line belongs to the URL and the headers that it was opened with; ``hosts``: several may stand for
    one service, so a failure may be mended by asking another."""

    __slots__ = (
        "alpn",
        "hosts",
        "lane",
        "module",
        "own_lines",
        "port",
        "tls",
        "transport",
        "version",
        "web",
        "yields_data",
    )

    def __init__(
        self,
        module: str,
        port: int,
        *,
        tls: bool = False,
        alpn: tuple[str, ...] = (),
        lane: str,
        version: str = "",
        web: bool = False,
        yields_data: bool = False,
        transport: str = "stream",
        own_lines: bool = False,
        hosts: bool = False,
    ):
        self.module = module
        self.port = port
        self.tls = tls
        self.alpn = alpn
        self.lane = lane
        self.version = version
        self.web = web
        self.yields_data = yields_data
        self.transport = transport
        self.own_lines = own_lines
        self.hosts = hosts

    def load(self) -> ModuleType:
        return import_module("." + self.module, __name__)


SCHEMES: Final[dict[str, Scheme]] = {
    "http": Scheme("web", 80, lane="HTTP/1.1", version="1.1", web=True),
    "https": Scheme("web", 443, tls=True, alpn=("h2", "http/1.1"), lane="HTTP/1.1", version="1.1", web=True),
    "http+unix": Scheme("web", 80, lane="HTTP/1.1", version="1.1", web=True),
    "ws": Scheme("websocket", 80, lane="WEBSOCKET", version="13", web=True, yields_data=True, own_lines=True),
    "wss": Scheme(
        "websocket",
        443,
        tls=True,
        alpn=("http/1.1",),
        lane="WEBSOCKET",
        version="13",
        web=True,
        yields_data=True,
        own_lines=True,
    ),
    "https+unix": Scheme("web", 443, tls=True, alpn=("h2", "http/1.1"), lane="HTTP/1.1", version="1.1", web=True),
    "mongodb": Scheme("mongodb", 27017, lane="MONGODB", yields_data=True, hosts=True),
    "mongodb+tls": Scheme("mongodb", 27017, tls=True, lane="MONGODB", yields_data=True, hosts=True),
    "postgresql": Scheme("postgresql", 5432, lane="POSTGRESQL", yields_data=True, transport="polled"),
    "sqlite": Scheme("sqlite", 0, lane="SQLITE", yields_data=True, transport="threaded"),
    "redis": Scheme("redis", 6379, lane="REDIS", version="3", yields_data=True),
    "rediss": Scheme("redis", 6379, tls=True, lane="REDIS", version="3", yields_data=True),
}
