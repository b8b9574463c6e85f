"""A MongoDB of our own on the server's core, with one document in it: a real one, or one that knows a single answer."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .case import Site, Wanted
from .cserver import compiled
from .machine import Absent, pinned
from .process import HOST, free_ports, running

DATABASE, COLLECTION, KEY = "shop", "pages", 7
CACHE = Path.home() / ".cache" / "aquests"
START = 30.0
"""Seconds it may take to answer, on a loaded machine."""


def document(size: int) -> dict[str, Any]:
    """What lies under ``KEY``: a text of ``size`` bytes, and a little beside it."""
    return {"_id": KEY, "text": "x" * size, "price": 9.5, "tags": ["a", "b"]}


def length(found: Any) -> int:
    """How long the text of a found document is; -1 if it is not the one that was asked for."""
    return len(found["text"]) if found is not None and found["_id"] == KEY else -1


@contextmanager
def real(wanted: Wanted) -> Iterator[Site]:
    """mongod, or FerretDB from the cache folder; the site's ``url`` is ``host:port``."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        command = _command(name, port)
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError

        def fill() -> None:
            with MongoClient[dict[str, Any]](HOST, port, serverSelectionTimeoutMS=1000) as client:
                client[DATABASE][COLLECTION].insert_one(document(wanted.size))

        with running(command, wanted.core, fill, refused=PyMongoError, patience=START, cwd=Path(name)):
            yield Site(f"{HOST}:{port}", wanted.size)


def _command(directory: str, port: int) -> list[str]:
    mongod, ferret = shutil.which("mongod"), CACHE / "ferretdb"
    if mongod:
        return [mongod, "--dbpath", directory, "--port", str(port), "--bind_ip", HOST, "--quiet"]
    if not ferret.is_file():
        raise Absent("no mongod on the path and no FerretDB in the cache: .ci/ferretdb builds it")
    words = ["--handler=sqlite", f"--sqlite-url=file:{directory}/", f"--listen-addr={HOST}:{port}"]
    return [str(ferret), *words, f"--state-dir={directory}", "--telemetry=disable", "--debug-addr=-"]


@contextmanager
def scripted(wanted: Wanted) -> Iterator[Site]:
    """``mongofast.c``, compiled into the cache folder: it gives the same document to whatever is asked."""
    import bson

    program = compiled("mongofast")
    hello: dict[str, Any] = {"ok": 1.0, "isWritablePrimary": True, "ismaster": True, "helloOk": True}
    hello |= {"minWireVersion": 0, "maxWireVersion": 21, "maxBsonObjectSize": 16 << 20}
    hello |= {"maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000}
    cursor = {"firstBatch": [document(wanted.size)], "id": bson.Int64(0), "ns": f"{DATABASE}.{COLLECTION}"}
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        files: dict[str, dict[str, Any]] = {"hello": hello, "answer": {"cursor": cursor, "ok": 1.0}}
        paths = [Path(name) / what for what in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(bson.encode(content))
        with pinned(wanted.core):
            process = subprocess.Popen([program, *paths], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        with process:
            try:
                assert process.stdout is not None
                yield Site(f"{HOST}:{int(process.stdout.readline())}", wanted.size)
            finally:
                process.terminate()
