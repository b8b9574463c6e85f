"""gRPC against grpcio: lines that the server ends, few streams, iterables that fail or do not end; counted by it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import grpc
import pytest

import aquests
from aquests.script import script
from tests.face import ignore, own_engine

Code = grpc.StatusCode


class Servicer:
    """What the methods do, with raw bytes; ``seen`` counts what was processed."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()
        self.ends: list[str] = []
        self.ended = threading.Event()

    def echo(self, request: bytes, context: Any) -> bytes:
        time.sleep(0.001)
        self.seen[request] += 1
        return request

    def total(self, requests: Iterator[bytes], context: Any) -> bytes:
        try:
            return b"%d" % sum(1 for _ in requests)
        except Exception as error:
            self.ends.append(type(error).__name__)
            raise
        finally:
            self.ended.set()

    def first(self, requests: Iterator[bytes], context: Any) -> bytes:
        if next(requests) == b"bad":
            context.abort(Code.INVALID_ARGUMENT, "not that one")
        return b"enough"

    def large(self, request: bytes, context: Any) -> bytes:
        context.send_initial_metadata([("x-initial", "i" * int(request))])
        context.set_trailing_metadata([("x-trailing", "t" * int(request))])
        return b"large"


class Stub:
    """What would be generated."""

    def __init__(self, channel: grpc.Channel):
        self.echo: Any = channel.unary_unary("/audit.Audit/echo")
        self.total: Any = channel.stream_unary("/audit.Audit/total")
        self.first: Any = channel.stream_unary("/audit.Audit/first")
        self.large: Any = channel.unary_unary("/audit.Audit/large")


@contextmanager
def served(**options: int) -> Iterator[tuple[Servicer, Stub]]:
    """A server of grpcio in this process with these options, and a stub for it over our channel."""
    servicer = Servicer()
    handlers = {
        "echo": grpc.unary_unary_rpc_method_handler(servicer.echo),
        "total": grpc.stream_unary_rpc_method_handler(servicer.total),
        "first": grpc.stream_unary_rpc_method_handler(servicer.first),
        "large": grpc.unary_unary_rpc_method_handler(servicer.large),
    }
    with ThreadPoolExecutor(32) as workers:
        server = grpc.server(workers, options=[(f"grpc.{name}", value) for name, value in options.items()])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("audit.Audit", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with aquests.grpc_channel(f"http://127.0.0.1:{port}") as channel:
                yield servicer, Stub(channel)
        finally:
            server.stop(0).wait()


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=3, callback=ignore, http2_constreams=20):
        yield
        script.engine.run()


def test_lines_that_become_too_old_in_mid_run() -> None:
    """A GOAWAY every fifty milliseconds, twice each: nothing is lost, and nothing is processed twice."""
    with served(max_connection_age_ms=50, max_connection_age_grace_ms=5000) as (servicer, stub):
        calls = [stub.echo.future(b"%d" % number) for number in range(3000)]
        report = aquests.fetchall()
        assert [call.result() for call in calls] == [b"%d" % number for number in range(3000)]
        assert set(servicer.seen.values()) == {1} and len(servicer.seen) == 3000
        assert report.as_dict()["connections"] > 3  # type: ignore[operator]


@pytest.mark.parametrize("streams", [1, 2])
def test_a_server_that_allows_few_streams(streams: int) -> None:
    with served(max_concurrent_streams=streams) as (servicer, stub):
        calls = [stub.echo.future(b"%d" % number) for number in range(300)]
        report = aquests.fetchall()
        assert all(call.code() is Code.OK for call in calls) and set(servicer.seen.values()) == {1}
        assert report.as_dict()["connections"] == 3


def test_an_iterable_that_raises_takes_its_own_call_only() -> None:
    def failing() -> Iterator[bytes]:
        yield b"one"
        raise KeyError("no more")

    with served() as (servicer, stub):
        before = [stub.echo.future(b"before %d" % number) for number in range(10)]
        broken = stub.total.future(failing())
        behind = [stub.echo.future(b"behind %d" % number) for number in range(10)]
        aquests.fetchall()
        assert all(call.code() is Code.OK for call in before + behind)
        assert broken.code() is Code.INTERNAL and "KeyError: 'no more'" in broken.details()
        assert servicer.ended.wait(5) and servicer.ends, "the server is told"


@pytest.mark.parametrize(("item", "code"), [(b"bad", Code.INVALID_ARGUMENT), (b"good", Code.OK)])
def test_an_iterable_without_end(item: bytes, code: grpc.StatusCode) -> None:
    """Who has heard enough answers, and no more is taken from it."""
    taken = count()
    with served() as (_, stub):
        call = stub.first.future(item * 100 if next(taken) else item for _ in count())
        assert call.code() is code
        assert call.details() == ("" if code is Code.OK else "not that one")


def test_metadata_of_any_size_up_to_the_limit_of_a_line() -> None:
    with served() as (_, stub):
        for size in (0, 1, 16_384, 60_000):
            call = stub.large.future(b"%d" % size)
            assert call.result() == b"large"
            assert call.initial_metadata() == (("x-initial", "i" * size),)
            assert call.trailing_metadata() == (("x-trailing", "t" * size),)
        assert stub.large.future(b"66000").code() is Code.UNAVAILABLE
        assert stub.large.future(b"10").result() == b"large", "by a new line"
        many = stub.echo.future(b"m", metadata=[("x-many", "m" * 20_000)])
        assert many.code() is Code.RESOURCE_EXHAUSTED, "grpcio takes 16 KiB"
