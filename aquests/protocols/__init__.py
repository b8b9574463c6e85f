"""What every scheme speaks: one line a scheme, modules imported when first used.

A scheme's module offers ``lines(place, prefix, extra)``, which prepares what all lines to that
place share and returns ``make_wire(alpn)``.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final


class Scheme:
    """``module`` within this package, ``port`` by default, ``tls`` from the start, ``alpn`` offered,
    ``lane`` and ``version`` shown when a line fails before anything was spoken,
    ``web``: HTTP's rules hold (redirects, cookies …), ``yields_data``: answers are objects
    (``response.data``), not bodies."""

    __slots__ = ("alpn", "lane", "module", "port", "tls", "version", "web", "yields_data")

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
    ):
        self.module = module
        self.port = port
        self.tls = tls
        self.alpn = alpn
        self.lane = lane
        self.version = version
        self.web = web
        self.yields_data = yields_data

    def load(self) -> ModuleType:
        return import_module("." + self.module, __name__)


SCHEMES: Final[dict[str, Scheme]] = {
    "http": Scheme("http1", 80, lane="HTTP/1.1", version="1.1", web=True),
    "https": Scheme("http1", 443, tls=True, alpn=("http/1.1",), lane="HTTP/1.1", version="1.1", web=True),
    "http+unix": Scheme("http1", 80, lane="HTTP/1.1", version="1.1", web=True),
    "https+unix": Scheme("http1", 443, tls=True, alpn=("http/1.1",), lane="HTTP/1.1", version="1.1", web=True),
}
