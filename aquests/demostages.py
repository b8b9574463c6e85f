"""The stages of ``aquests demo``: for each protocol what is asked, and what the answer must be.

Databases hold RECORDS records, ``record 0``, ``record 1`` …, put there by ``open`` through aquests itself. Calls
carry their number and get it back, so that an answer that went to the wrong request is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any, Final, NamedTuple, TypeAlias

from .demodatabases import Where
from .demoservers import PAGE, message_class
from .exchange import Request
from .grpcface import grpc
from .mongostub import mongodb
from .postgresqlstub import postgresql
from .redisstub import redis
from .rpcstubs import rpc
from .sqlitestub import sqlite3
from .verbs import get
from .websockets import ws

RECORDS: Final = 100

Ask: TypeAlias = Callable[[int], tuple[Request, Any]]
"""Queues request number ``n`` of its stage; returns it with what must come back."""


class Stage(NamedTuple):
    """One protocol of the demo.

    ``open(where)`` queues what must be there before, and returns what asks. ``value`` takes out of ``response.data``
    what is compared. ``weight``: its share of the requests. ``status``: what an answer has.
    """

    name: str
    weight: int
    open: Callable[[Where], Ask]
    value: Callable[[Any], Any] = lambda data: data
    status: int = 200


def _http(where: Where) -> Ask:
    url = where["url"]
    return lambda n: (get(url), PAGE)


def _https(where: Where) -> Ask:
    url, authority = where["url"], where["ca"]
    return lambda n: (get(url, ca=authority), PAGE)


def _websocket(where: Where) -> Ask:
    url = where["url"]

    def ask(n: int) -> tuple[Request, str]:
        message = f"message {n}"
        return ws(url, message), message

    return ask


def _xmlrpc(where: Where) -> Ask:
    stub = rpc(where["url"])
    return lambda n: (stub.add(n, 1), n + 1)


def _grpc(where: Where) -> Ask:
    stub, message = grpc(where["url"]), message_class()

    def ask(n: int) -> tuple[Request, Any]:
        sent = message(text=f"message {n}")
        return stub.Say(sent), sent

    return ask


def record(n: int) -> str:
    """The record that request number ``n`` asks for."""
    return f"record {n % RECORDS}"


def _sqlite(where: Where) -> Ask:
    return _sql(sqlite3(where["path"]), "?")


def _postgresql(where: Where) -> Ask:
    return _sql(postgresql(where["server"], where["dbname"], where["auth"]), "%s")


def _sql(stub: Any, mark: str) -> Ask:
    rows = ", ".join(f"({n}, '{record(n)}')" for n in range(RECORDS))
    stub.execute(["CREATE TABLE records (id integer PRIMARY KEY, text text)", f"INSERT INTO records VALUES {rows}"])
    select = f"SELECT text FROM records WHERE id = {mark}"
    return lambda n: (stub.execute(select, (n % RECORDS,)), [record(n)])


def _redis(where: Where) -> Ask:
    stub = redis(where["server"], auth=where["auth"])
    stub.mset(*(part for n in range(RECORDS) for part in (n, record(n))))
    return lambda n: (stub.get(n % RECORDS), record(n).encode())


def _mongodb(where: Where) -> Ask:
    stub = mongodb(where["server"], "demo")
    stub.insert("records", [{"_id": n, "text": record(n)} for n in range(RECORDS)])
    return lambda n: (stub.findone("records", {"_id": n % RECORDS}), [record(n)])


def _texts(rows: Any) -> list[str]:
    return [row["text"] for row in rows]


STAGES: Final = (
    Stage("HTTP/1.1", 8, _http),
    Stage("HTTP/2", 3, _https),
    Stage("WebSocket", 3, _websocket, status=101),
    Stage("XML-RPC", 1, _xmlrpc),
    Stage("gRPC", 2, _grpc),
    Stage("SQLite", 1, _sqlite, _texts),
    Stage("Redis", 4, _redis),
    Stage("PostgreSQL", 2, _postgresql, _texts),
    Stage("MongoDB", 1, _mongodb, lambda data: _texts(data["data"])),
)
"""What the demo shows, all at once. The weights: what costs little is asked more."""


def interleaved(stages: Sequence[Stage]) -> Iterator[Stage]:
    """The stages in turn, without end: each as often as it weighs, as evenly spread as can be."""
    turns = [((turn + 0.5) / stage.weight, place) for place, stage in enumerate(stages) for turn in range(stage.weight)]
    return cycle([stages[place] for _, place in sorted(turns)])
