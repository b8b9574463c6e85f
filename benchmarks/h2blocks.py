"""Header blocks of HTTP/2: the decoder of ``aquests/protocols/h2hpack.py`` beside the hpack package alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from .case import Case, Column, Entry, Job, Outcome

_FIELDS = [
    (":status", "200"),
    ("server", "nginx"),
    ("date", "Fri, 21 Nov 2025 09:00:00 GMT"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "4096"),
    ("last-modified", "Thu, 20 Nov 2025 08:00:00 GMT"),
    ("etag", '"691ed0a0-1000"'),
    ("accept-ranges", "bytes"),
]
_UNIQUE = 2000
"""Different blocks, more than a cache holds."""


def run(job: Job) -> Outcome:
    """Microseconds a block: eight fields."""
    blocks = list(_blocks(job.options["blocks"]))
    decode = _ours() if job.options["ours"] else _package()
    decode(blocks[0])  # what the table holds when the others come
    rounds = max(1, job.count // len(blocks))
    started = perf_counter()
    for _ in range(rounds):
        for block in blocks:
            decode(block)
    seconds = perf_counter() - started
    return {"count": job.count, "us": seconds / (rounds * len(blocks)) * 1e6}


def _blocks(kind: str) -> Iterator[bytes]:
    """As servers write them: all written out each time (nginx), all in the table, or a new id among them."""
    from hpack import Encoder

    encoder = Encoder()
    if kind == "literal":
        yield encoder.encode(_FIELDS)
    elif kind == "indexed":
        first = encoder.encode(_FIELDS)
        rest = encoder.encode(_FIELDS)
        yield first
        yield from [rest] * 999
    else:
        for number in range(_UNIQUE):
            yield encoder.encode([*_FIELDS, ("x-request-id", f"{number * 7919:032x}")])


def _ours() -> Callable[[bytes], Any]:
    from aquests.protocols.h2head import Fields
    from aquests.protocols.h2hpack import Blocks, Decoder

    return Decoder(Blocks(Fields)).decode


def _package() -> Callable[[bytes], Any]:
    """With what has to be made of the fields in either case."""
    from hpack import Decoder

    from aquests.protocols.h2head import Fields

    decoder = Decoder()
    return lambda block: Fields(tuple([(str(name), str(value)) for name, value in decoder.decode(block)]))


def _entries() -> Iterator[Entry]:
    for blocks, name in (("literal", "written out"), ("indexed", "indexed"), ("unique", "indexed, and a new id")):
        yield Entry(f"hpack, {name}", "h2blocks:run", package="hpack", options={"blocks": blocks, "ours": False})
        against = (f"hpack, {name}",)
        options = {"blocks": blocks, "ours": True}
        yield Entry(f"aquests, {name}", "h2blocks:run", package="hpack", options=options, against=against)


CASE = Case(
    name="h2blocks",
    title="reading a header block of HTTP/2: eight fields",
    entries=tuple(_entries()),
    columns=(Column("us", "µs/block", "{:.3f}"),),
    count=20_000,
    note="Judging the fields (names, status, length …) is part of the time.",
)
