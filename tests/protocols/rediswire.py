"""Redis wires for tests: open and greeted, or not yet, and what is asked of them."""

from __future__ import annotations

from typing import Any

from aquests.exchange import Exchange
from aquests.protocols.redis import Redis
from aquests.protocols.rediscluster import ASKING, Slots
from aquests.protocols.rediscommands import encode, transaction
from aquests.protocols.redisgreeting import Server
from tests.loopback import exchange
from tests.resp import Error, resp

SECRET = "hunter2-hunter2"
HELLO = resp({b"server": b"redis", b"version": b"7.0.15", b"proto": 3})
UNKNOWN = Error("ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `hunter2-hunter2`, ")


def server(**options: Any) -> Server:
    defaults: dict[str, Any] = {"db": 0, "auth": None, "name": None, "protocol": 3, "decode": False}
    defaults |= {"pipeline": 64, "blocking": False, "cluster": Slots("peer:6379")}
    return Server(defaults | options)


def make_exchange(ask: Any) -> Exchange:
    """``"GET k"``, ``"ASKING GET k"``, or a list of such for a transaction."""
    asking = ask[0] == "ASKING" if isinstance(ask, list) else ask.startswith("ASKING ")
    if isinstance(ask, list):
        payload: Any = transaction([one.split() for one in ask[asking:]])[0]
    else:
        payload = encode((), ask.removeprefix("ASKING ").split())
    x = exchange(payload, method="get", url="redis://peer:6379/0")
    if asking:
        x.headers = ASKING
    return x


def wire(greeting: bytes = HELLO, **options: Any) -> Redis:
    """A wire that is open and greeted."""
    made = Redis(server(**options))
    made.opened()
    made.receive(greeting)
    made.outbox.clear()
    return made


def submit(made: Redis, *asks: Any, **attributes: Any) -> list[Exchange]:
    asked = [make_exchange(ask) for ask in asks]
    for x in asked:
        for name, value in attributes.items():
            setattr(x, name, value)
        made.submit(x)
    made.outbox.clear()
    return asked
