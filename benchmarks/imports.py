"""Starting: what a script pays before its first answer."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

from .case import Case, Column, Entry, Job, Outcome
from .nginx import page

_OURS = """\
import aquests
answers = []
aquests.configure(callback=answers.append)
aquests.get({url!r})
aquests.fetchall()
assert answers[0].status_code == 200 and len(answers[0].content) == {size}
"""
_HTTP_CLIENT = """\
from http.client import HTTPConnection
connection = HTTPConnection({host!r})
connection.request("GET", {path!r})
answer = connection.getresponse()
assert answer.status == 200 and len(answer.read()) == {size}
"""


def run(job: Job) -> Outcome:
    """Milliseconds of one start with the code, less one start with nothing to do."""
    host, _, path = job.url.partition("://")[2].partition("/")
    code = job.options["code"].format(url=job.url, size=job.size, host=host, path="/" + path)
    bare = _start("pass")
    return {"count": 1, "asked": job.options["asks"], "ms": (_start(code) - bare) * 1e3, "bare_ms": bare * 1e3}


def _start(code: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return perf_counter() - started


def _import(name: str, package: str = "") -> Entry:
    return Entry(f"import {name}", "imports:run", package, options={"code": f"import {name}", "asks": 0}, against=())


def _get(name: str, code: str) -> Entry:
    return Entry(name, "imports:run", options={"code": code, "asks": 1})


_BASE = "one get by http.client"

CASE = Case(
    name="imports",
    title="starting: importing, and a single get, in a fresh process",
    entries=(
        _import("aquests"),
        _import("aiohttp", "aiohttp"),
        _import("httpx", "httpx"),
        _get(_BASE, _HTTP_CLIENT),
        _get("one get by aquests", _OURS),
    ),
    columns=(Column("ms", "ms", "{:.1f}"), Column("bare_ms", "python alone, ms", "{:.1f}")),
    bases=(_BASE,),
    rounds=15,
    count=1,
    server=page,
    note="Each is a start with the code, less a start of python -c pass right before it: the second column.",
)
