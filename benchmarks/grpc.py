"""A unary call with a protobuf message, again and again: us and grpcio, against grpcio's own server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .case import Case, Column, Entry, Site, Wanted
from .machine import ROOT, Absent, package_version, pinned


@contextmanager
def echo(wanted: Wanted) -> Iterator[Site]:
    """grpcio's asynchronous server in a process of its own; it ends with its standard input."""
    for package in ("grpcio", "protobuf"):
        if package_version(package) is None:
            raise Absent(f"{package} is not installed")
    command = [sys.executable, "-m", "benchmarks.peers.with_grpcio"]
    with pinned(wanted.core):
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())
        yield Site(url=f"http://127.0.0.1:{port}", size=wanted.size)
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


CASE = Case(
    name="grpc",
    title="unary gRPC calls, a message of {size:,} bytes there and back, over {lines:,} lines with 10 streams each",
    entries=(
        Entry("aquests, the stub", "peers.ours_grpc:stub", package="protobuf"),
        Entry("aquests, the channel", "peers.ours_grpc:channel", package="grpcio"),
        Entry("grpc.aio", "peers.with_grpcio:aio", package="grpcio"),
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
    server=echo,
    note="""\
The server is grpcio's asynchronous one, in Python: it is the brake where a client is not busy all the time.
CPU is the client's alone, with the threads of grpcio's core. Each answer is checked.""",
)
