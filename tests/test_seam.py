"""The seam holds: every implementation fits its Protocol class, for mypy and at run time, and none is left out.

mypy checks the assignments in ``_fits`` whenever it looks at the tests (``make check``). What it cannot see, that a
new wire was not written down there, is found here by its methods; and that names of arguments agree, too.
"""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from aquests import seam
from tests.helpers import ROOT

if TYPE_CHECKING:
    from aquests.dial import Dial
    from aquests.engine import Engine
    from aquests.lib.channel import Channel
    from aquests.lib.polled import PolledChannel
    from aquests.lib.poller import EpollPoller, KqueuePoller, Poller, SelectPoller
    from aquests.lib.threaded import ThreadedChannel
    from aquests.lib.tls import Tls
    from aquests.protocols.http1 import Http1, Origin
    from aquests.protocols.http2 import Http2
    from aquests.protocols.mongodb import MongoDB
    from aquests.protocols.postgresql import Postgresql
    from aquests.protocols.redis import Redis
    from aquests.protocols.sqlite import Sqlite
    from aquests.protocols.tunnel import Connect, Socks5
    from aquests.protocols.web import NoHttp2
    from aquests.protocols.websocket import WebSocket
    from tests.loopback import FakePoller, LineWire, Recorder, Shift

    def _wires(
        http1: Http1,
        http2: Http2,
        websocket: WebSocket,
        redis: Redis,
        mongodb: MongoDB,
        no_http2: NoHttp2,
        connect: Connect,
        socks5: Socks5,
        line: LineWire,
        origin: Origin,
    ) -> tuple[list[seam.Wire], seam.MakeWire]:
        return [http1, http2, websocket, redis, mongodb, no_http2, connect, socks5, line], origin.make_wire

    def _others(
        postgresql: Postgresql,
        sqlite: Sqlite,
        tls: Tls,
        shift: Shift,
        channel: Channel,
        polled: PolledChannel,
        threaded: ThreadedChannel,
        dial: Dial,
        engine: Engine,
        recorder: Recorder,
        epoll: EpollPoller,
        kqueue: KqueuePoller,
        select: SelectPoller,
        fake: FakePoller,
    ) -> None:
        drivers: list[seam.Driver] = [postgresql]
        workers: list[seam.Worker] = [sqlite]
        filters: list[seam.Tls] = [tls, shift]
        lines: list[seam.Line] = [channel, polled, threaded]
        owners: list[seam.Owner] = [dial, engine, recorder]
        pollers: list[Poller] = [epoll, kqueue, select, fake]
        del drivers, workers, filters, lines, owners, pollers


FITS = {
    "Wire": (
        "protocols.http1.Http1",
        "protocols.http2.Http2",
        "protocols.websocket.WebSocket",
        "protocols.redis.Redis",
        "protocols.mongodb.MongoDB",
        "protocols.web.NoHttp2",
        "protocols.web.Upgrade",
        "protocols.tunnel.Connect",
        "protocols.tunnel.Socks5",
    ),
    "Driver": ("protocols.postgresql.Postgresql",),
    "Worker": ("protocols.sqlite.Sqlite",),
    "Tls": ("lib.tls.Tls", "lib.stacked.Stacked"),
    "Line": ("lib.channel.Channel", "lib.polled.PolledChannel", "lib.threaded.ThreadedChannel"),
    "Owner": ("dial.Dial", "engine.Engine"),
}
"""Who fits what. ``Upgrade`` and ``Stacked`` are not in the lists above: their attributes are read-only."""

MARKS = {"Wire": "receive_eof", "Driver": "collect", "Worker": "perform", "Tls": "unseal", "Owner": "on_closed"}
"""A method by which an implementation is known."""


def find(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    return getattr(import_module(f"aquests.{module}"), cls)


def methods(protocol: type) -> dict[str, Any]:
    return {name: value for name, value in vars(protocol).items() if inspect.isfunction(value) and name[0] != "_"}


def names(function: Any) -> list[str]:
    """The arguments that a caller may give by position."""
    return [name for name, one in inspect.signature(function).parameters.items() if one.kind is not one.KEYWORD_ONLY]


@pytest.mark.parametrize(("protocol", "name"), [(key, name) for key, row in FITS.items() for name in row])
def test_methods_have_the_same_arguments(protocol, name):
    implementation = find(name)
    for method, wanted in methods(getattr(seam, protocol)).items():
        given = getattr(implementation, method)
        assert names(given)[: len(names(wanted))] == names(wanted), f"{name}.{method}{inspect.signature(given)}"
        for argument in list(inspect.signature(given).parameters.values())[len(names(wanted)) :]:
            assert argument.default is not argument.empty, f"{name}.{method} wants more than it is given: {argument}"


@pytest.mark.parametrize("protocol", MARKS)
def test_nobody_is_left_out(protocol):
    """A class with the mark of a Protocol stands in the table, unless it is the private base of one that does."""
    found = set()
    for path in sorted((ROOT / "aquests").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "aquests").with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and module != "seam" and node.name[0] != "_":
                if any(isinstance(item, ast.FunctionDef) and item.name == MARKS[protocol] for item in node.body):
                    found.add(f"{module}.{node.name}")
    inherited = {name for name in FITS[protocol] if MARKS[protocol] not in vars(find(name))}
    assert found == set(FITS[protocol]) - inherited


def test_the_seam_holds_no_code():
    """Only Protocol classes and names of types: nothing that could run, nothing to inherit."""
    tree = ast.parse((ROOT / "aquests" / "seam.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assert [base.id for base in node.bases if isinstance(base, ast.Name)] == ["Protocol"], node.name
        elif isinstance(node, ast.FunctionDef):
            for item in node.body:
                assert isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant), node.name


def test_nobody_inherits_from_the_seam():
    protocols = [getattr(seam, name) for name in FITS]
    for row in FITS.values():
        for name in row:
            assert not set(find(name).__mro__) & set(protocols), name
