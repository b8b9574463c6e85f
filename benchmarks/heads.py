"""Heads of answers: what the cache of equal ones in ``aquests/protocols/http1head.py`` saves, and costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from aquests.protocols.http1head import Head, HeadCache, parse_head

from .case import Case, Column, Entry, Job, Outcome

_HEAD = b"""\
HTTP/1.1 200 OK\r
Server: nginx\r
Date: Fri, 21 Nov 2025 09:00:00 GMT\r
Content-Type: text/html; charset=utf-8\r
Content-Length: 4096\r
Last-Modified: Thu, 20 Nov 2025 08:00:00 GMT\r
Connection: keep-alive\r
ETag: "691ed0a0-1000"\r
X-Request-Id: %032x\r
Accept-Ranges: bytes"""
_REPEATS = 1000
"""Different heads that are there at once: enough never to be found in the cache."""


def run(job: Job) -> Outcome:
    """Microseconds a head; each is cut out of what was received, as the wire does it."""
    same = job.options["heads"] == "equal"
    received = [_HEAD % (0 if same else number) + b"\r\n\r\n" for number in range(_REPEATS)]
    parse: Callable[[bytes], Head] = HeadCache().get if job.options["cache"] else parse_head
    _read(received, parse)
    rounds = max(1, job.count // _REPEATS)
    started = perf_counter()
    for _ in range(rounds):
        _read(received, parse)
    seconds = perf_counter() - started
    return {"count": job.count, "us": seconds / (rounds * _REPEATS) * 1e6}


def _read(received: Sequence[bytes], parse: Callable[[bytes], Head]) -> None:
    for data in received:
        parse(data[: data.find(b"\r\n\r\n")])


CASE = Case(
    name="heads",
    title="reading the head of an answer: nine fields, 300 bytes",
    entries=(
        Entry("parsed", "heads:run", options={"heads": "equal", "cache": False}),
        Entry("cached, all equal", "heads:run", options={"heads": "equal", "cache": True}),
        Entry("cached, all different", "heads:run", options={"heads": "different", "cache": True}),
    ),
    columns=(Column("us", "µs/head", "{:.3f}"),),
    bases=("parsed",),
    count=100_000,
    note="Finding the end of the head and cutting it out are part of the time.",
)
