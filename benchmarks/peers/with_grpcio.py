"""grpcio: its asynchronous client, its futures, and the server (``python -m benchmarks.peers.with_grpcio``).

The message is protobuf's BytesValue: it is in every installation, and needs no generated file.
"""

from __future__ import annotations

import asyncio
import sys
from threading import Semaphore

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import BytesValue

from ..case import Job, Outcome
from ..child import Tally, loop_factory

METHOD = "/aquests.bench.Echo/Echo"
STREAMS = 20
"""Calls at once on each line."""


def aio(job: Job) -> Outcome:
    """As many channels as lines, as many tasks as streams; with ``uvloop`` in the options, in that loop."""
    factory, tally = loop_factory(job), Tally(job)
    with tally, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_call(job, tally))
    return tally.outcome()


async def _call(job: Job, tally: Tally) -> None:
    message = BytesValue(value=b"x" * job.size)
    work = iter(range(job.count))

    async def worker(method: grpc.aio.UnaryUnaryMultiCallable) -> None:
        for _ in work:
            reply = await method(message)
            tally.check(200, len(reply.value))

    channels = [grpc.aio.insecure_channel(_target(job), options=_options(line)) for line in range(job.lines)]
    methods = [channel.unary_unary(METHOD, BytesValue.SerializeToString, BytesValue.FromString) for channel in channels]
    await asyncio.gather(*[worker(method) for method in methods * STREAMS])
    for channel in channels:
        await channel.close()


def futures(job: Job) -> Outcome:
    """The futures of the usual client, as many at once as there are streams."""
    tally = Tally(job)
    with tally:
        message = BytesValue(value=b"x" * job.size)
        channels = [grpc.insecure_channel(_target(job), options=_options(line)) for line in range(job.lines)]
        methods = [
            channel.unary_unary(METHOD, BytesValue.SerializeToString, BytesValue.FromString) for channel in channels
        ]
        free = Semaphore(job.lines * STREAMS)
        replies = []
        for number in range(job.count):
            free.acquire()
            future = methods[number % job.lines].future(message)
            future.add_done_callback(lambda _: free.release())
            replies.append(future)
        for future in replies:
            tally.check(200, len(future.result().value))
        for channel in channels:
            channel.close()
    return tally.outcome()


def _target(job: Job) -> str:
    return job.url.removeprefix("http://")


def _options(line: int) -> list[tuple[str, int]]:
    """Channels with equal options share a line."""
    return [("grpc.use_local_subchannel_pool", 1), ("aquests.line", line)]


# The server


async def _serve() -> None:
    async def echo(request: BytesValue, context: object) -> BytesValue:
        return request

    handler = grpc.unary_unary_rpc_method_handler(echo, BytesValue.FromString, BytesValue.SerializeToString)
    service, _, name = METHOD[1:].partition("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(_serve())
