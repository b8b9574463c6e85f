"""A unary call with a protobuf message, again and again: us and grpcio, against grpc-go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from .case import Case, Column, Entry, Site, Wanted
from .cserver import compiled
from .goserver import built, serving
from .machine import Absent, package_version
from .process import HOST


@contextmanager
def fast(wanted: Wanted) -> Iterator[Site]:
    """``grpcfast.c``; where it cannot be compiled, what else there is."""
    try:
        program = compiled("grpcfast", "nghttp2")
    except Absent as reason:
        print(f"{reason}: another server takes its place", file=sys.stderr)
        with echo(wanted) as site:
            yield site
        return
    with serving([program], wanted.core) as port:
        yield Site(f"http://{HOST}:{port}", wanted.size, server="nghttp2 in C")


@contextmanager
def echo(wanted: Wanted) -> Iterator[Site]:
    """grpc-go; where it cannot be built, grpcio's asynchronous server."""
    program = built("grpcecho")
    if program is not None:
        with serving([program], wanted.core) as port:
            yield Site(f"http://{HOST}:{port}", wanted.size, server="grpc-go")
        return
    for package in ("grpcio", "protobuf"):
        if package_version(package) is None:
            raise Absent(f"{package} is not installed")
    with serving([sys.executable, "-m", "benchmarks.peers.with_grpcio"], wanted.core) as port:
        yield Site(f"http://{HOST}:{port}", wanted.size, server="grpcio in Python, as there is no Go: it is the brake")


CASE = Case(
    name="grpc",
    title="unary gRPC calls, a message of {size:,} bytes there and back, over {lines:,} lines with 20 streams each",
    entries=(
        Entry("aquests, the stub", "peers.ours_grpc:stub", package="protobuf"),
        Entry("aquests, the channel", "peers.ours_grpc:channel", package="grpcio"),
        Entry("grpc.aio", "peers.with_grpcio:aio", package="grpcio"),
        Entry("grpc.aio on uvloop", "peers.with_grpcio:aio", package="grpcio", also="uvloop", options={"uvloop": True}),
        Entry("grpcio, futures", "peers.with_grpcio:futures", package="grpcio"),
    ),
    columns=(
        Column("rate", "answers/s"),
        Column("cpu_us", "CPU µs/answer", "{:.1f}"),
        Column("busy", "client busy", "{:.0%}"),
    ),
    bases=("grpc.aio",),
    lines=5,
    size=1024,
    server=fast,
    note="""\
CPU is the client's alone, with the threads of grpcio's core. Each answer is checked.""",
)
GO = replace(CASE, name="grpc-go", title=f"{CASE.title}, from grpc-go", server=echo)
