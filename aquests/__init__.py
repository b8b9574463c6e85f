"""Ask anything, as many times as you like, as fast as the wire allows, from plain Python.

::

    import aquests

    aquests.configure(workers=100, callback=lambda response: print(response.status_code))
    for i in range(10000):
        aquests.get("http://127.0.0.1:5000/", meta={"job_name": "test1"})
    print(aquests.fetchall())
"""

from __future__ import annotations

from typing import Any

from . import errors
from .exchange import Response
from .grpcface import grpc, grpc_channel
from .httprequest import HttpRequest as Request
from .mongostub import mongodb
from .postgresqlstub import postgresql
from .redisstub import redis
from .report import Report
from .rpcstubs import jsonrpc, rpc
from .script import concurrent, configure, countfin, countreq, feed, fetchall, qsize, script, submit, workings
from .sqlitestub import sqlite3
from .verbs import (
    delete,
    deleteform,
    deletejson,
    deletenvp,
    deletexml,
    get,
    getform,
    getjson,
    getnvp,
    getxml,
    head,
    headform,
    headjson,
    headnvp,
    headxml,
    options,
    optionsform,
    optionsjson,
    optionsnvp,
    optionsxml,
    patch,
    patchform,
    patchjson,
    patchnvp,
    patchxml,
    post,
    postform,
    postjson,
    postnvp,
    postxml,
    put,
    putform,
    putjson,
    putnvp,
    putxml,
    trace,
    traceform,
    tracejson,
    tracenvp,
    tracexml,
    upload,
)
from .version import __version__
from .websockets import ws, wss

pg = pgsql = postgresql


def __getattr__(name: str) -> Any:
    if name == "result":  # the report of the last fetchall(), None before the first
        return script.result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Report",
    "Request",
    "Response",
    "__version__",
    "concurrent",
    "configure",
    "countfin",
    "countreq",
    "delete",
    "deleteform",
    "deletejson",
    "deletenvp",
    "deletexml",
    "errors",
    "feed",
    "fetchall",
    "get",
    "getform",
    "getjson",
    "getnvp",
    "getxml",
    "grpc",
    "grpc_channel",
    "head",
    "headform",
    "headjson",
    "headnvp",
    "headxml",
    "jsonrpc",
    "mongodb",
    "options",
    "optionsform",
    "optionsjson",
    "optionsnvp",
    "optionsxml",
    "patch",
    "patchform",
    "patchjson",
    "patchnvp",
    "patchxml",
    "pg",
    "pgsql",
    "post",
    "postform",
    "postjson",
    "postnvp",
    "postxml",
    "postgresql",
    "put",
    "putform",
    "putjson",
    "putnvp",
    "putxml",
    "qsize",
    "redis",
    "result",
    "rpc",
    "sqlite3",
    "submit",
    "trace",
    "traceform",
    "tracejson",
    "tracenvp",
    "tracexml",
    "upload",
    "workings",
    "ws",
    "wss",
]
