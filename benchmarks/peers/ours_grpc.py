"""aquests: gRPC by its own stub, and by the channel that generated stubs use."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

import aquests
import aquests.grpcchannel  # grpcio is loaded before the clock starts, as it is for the others

from ..case import Job, Outcome
from ..child import Tally

SERVICE = "aquests.bench.Echo"
STREAMS = 20


def stub(job: Job) -> Outcome:
    """All calls are queued, then fetched; the service is found in the pool of the message."""
    message = _message_of_a_pool()(value=b"x" * job.size)
    tally = Tally(job)
    with tally:
        _configure(job, tally)
        echo = aquests.grpc(f"{job.url}/{SERVICE}")
        for _ in range(job.count):
            echo.Echo(message)
        aquests.fetchall()
    return tally.outcome()


def channel(job: Job) -> Outcome:
    """The same with futures of a ``grpc.Channel``."""
    message = wrappers_pb2.BytesValue(value=b"x" * job.size)
    kind = wrappers_pb2.BytesValue
    tally = Tally(job)
    with tally:
        _configure(job, tally)
        with aquests.grpc_channel(job.url) as line:
            method = line.unary_unary(f"/{SERVICE}/Echo", kind.SerializeToString, kind.FromString)
            futures = [method.future(message) for _ in range(job.count)]
            aquests.fetchall()
            for future in futures:
                tally.check(200, len(future.result().value))
    return tally.outcome()


def _configure(job: Job, tally: Tally) -> None:
    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code if response.ok else 0, len(response.data.value))

    aquests.configure(workers=job.lines, callback=on_answer, http2_constreams=STREAMS)


def _message_of_a_pool() -> Any:
    """BytesValue from a pool that knows the service, too."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="aquests.bench", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    kind = ".google.protobuf.BytesValue"
    file.service.add(name="Echo").method.add(name="Echo", input_type=kind, output_type=kind)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(kind[1:]))
