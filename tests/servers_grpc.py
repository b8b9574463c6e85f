"""gRPC servers for ``tests/live``: grpcio's, in a process of its own, with reflection, health and TLS.

The messages are described here, by protobuf's own ``descriptor_pb2``: no file is generated, and nothing gets
into the default pool, so that clients in the same process know nothing of the service unless they are told.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from tests.certs import Certs
from tests.helpers import ROOT

SERVICE = "aquests.test.Echo"
HOST = "127.0.0.1"
DETAILS = "grpc-status-details-bin"
METHODS = {
    # name: (takes a stream, gives a stream)
    "Echo": (False, False),
    "Count": (False, True),
    "Sum": (True, False),
    "Chat": (True, True),
    "Fail": (False, False),
    "Break": (False, True),
    "Wait": (False, False),
    "Tell": (False, False),
}


def files() -> list[descriptor_pb2.FileDescriptorProto]:
    """Two files: the messages, and the service, which imports them."""
    kinds = descriptor_pb2.FieldDescriptorProto
    notes = descriptor_pb2.FileDescriptorProto(name="aquests/notes.proto", package="aquests.test", syntax="proto3")
    notes.dependency.append("google/protobuf/timestamp.proto")
    note = notes.message_type.add(name="Note")
    for number, (name, kind) in enumerate(
        [("text", kinds.TYPE_STRING), ("number", kinds.TYPE_INT32), ("blob", kinds.TYPE_BYTES)], 1
    ):
        note.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL, json_name=name)
    note.field.add(
        name="at",
        number=4,
        type=kinds.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
        label=kinds.LABEL_OPTIONAL,
        json_name="at",
    )
    echo = descriptor_pb2.FileDescriptorProto(name="aquests/echo.proto", package="aquests.test", syntax="proto3")
    echo.dependency.append(notes.name)
    service = echo.service.add(name="Echo")
    for name, (takes, gives) in METHODS.items():
        service.method.add(
            name=name,
            input_type=".aquests.test.Note",
            output_type=".aquests.test.Note",
            client_streaming=takes,
            server_streaming=gives,
        )
    return [notes, echo]


@cache
def pool() -> Any:
    """A descriptor pool that knows the service."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    for proto in files():
        pool.AddSerializedFile(proto.SerializeToString())
    return pool


@cache
def note_class() -> Any:
    return message_factory.GetMessageClass(pool().FindMessageTypeByName("aquests.test.Note"))


def note(**fields: Any) -> Any:
    """A message of the service's only type."""
    return note_class()(**fields)


class Stub:
    """What grpcio-tools would generate."""

    def __init__(self, channel: grpc.Channel):
        for name, (takes, gives) in METHODS.items():
            make = getattr(channel, f"{'stream' if takes else 'unary'}_{'stream' if gives else 'unary'}")
            multicallable = make(
                f"/{SERVICE}/{name}",
                request_serializer=note_class().SerializeToString,
                response_deserializer=note_class().FromString,
                _registered_method=True,
            )
            setattr(self, name, multicallable)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Servicer:
    """What the methods do."""

    def Echo(self, request: Any, context: Any) -> Any:
        return request

    def Count(self, request: Any, context: Any) -> Iterator[Any]:
        for number in range(request.number):
            yield note(text=request.text, number=number)

    def Sum(self, requests: Any, context: Any) -> Any:
        got = [request.number for request in requests]
        return note(text=str(len(got)), number=sum(got))

    def Chat(self, requests: Any, context: Any) -> Iterator[Any]:
        for request in requests:
            yield note(text=request.text.upper(), number=request.number)

    def Fail(self, request: Any, context: Any) -> Any:
        """Fails with the status ``number`` and the details ``text``; with rich ones if there is a blob."""
        code = next(code for code in grpc.StatusCode if code.value[0] == request.number)
        if request.blob:
            from google.protobuf.any_pb2 import Any as AnyMessage
            from google.rpc.error_details_pb2 import ErrorInfo
            from google.rpc.status_pb2 import Status

            detail = AnyMessage()
            detail.Pack(ErrorInfo(reason=request.blob.decode()))
            status = Status(code=request.number, message=request.text, details=[detail])
            context.set_trailing_metadata([(DETAILS, status.SerializeToString())])
        context.abort(code, request.text)

    def Break(self, request: Any, context: Any) -> Iterator[Any]:
        """Some replies, and then a failure."""
        for number in range(request.number):
            yield note(number=number)
        context.abort(grpc.StatusCode.DATA_LOSS, "broke")

    def Wait(self, request: Any, context: Any) -> Any:
        """Sleeps until the call ends."""
        ended = threading.Event()
        if context.add_callback(ended.set):
            ended.wait(30)
        return request

    def Tell(self, request: Any, context: Any) -> Any:
        """Metadata that begins with ``x-`` comes back at the beginning and at the end; the text tells all."""
        given = context.invocation_metadata()
        own = [(key, value) for key, value in given if key.startswith("x-")]
        context.send_initial_metadata(own)
        context.set_trailing_metadata([(f"t{key}", value) for key, value in own])
        left = context.time_remaining()
        told = {key: value for key, value in given if not key.endswith("-bin")}
        return note(text=json.dumps(told), number=0 if left is None else round(left))


def handlers() -> Any:
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    kind = note_class()
    found = {
        name: kinds[way](
            getattr(Servicer(), name),
            request_deserializer=kind.FromString,
            response_serializer=kind.SerializeToString,
        )
        for name, way in METHODS.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, found)


def serve(order: dict[str, Any]) -> None:
    """The program: start what ``order`` wants, print the ports, serve until the standard input ends."""
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(ThreadPoolExecutor(64))
        ports: dict[str, int] = {}
        servers = []
        for name in ("v1", "v1alpha", "none", "gzip", "tls", "unix"):
            if name not in order:
                continue
            server = grpc.server(workers, compression=grpc.Compression.Gzip if name == "gzip" else None)
            server.add_generic_rpc_handlers((handlers(),))
            _offer(server, reflection="" if name == "none" else "v1" if name == "v1" else "v1alpha")
            if name == "tls":
                pair = [(Path(order["key"]).read_bytes(), Path(order["cert"]).read_bytes())]
                ports[name] = server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials(pair))
            else:
                place = f"unix:{order['unix']}" if name == "unix" else f"{HOST}:0"
                ports[name] = server.add_insecure_port(place)
            server.start()
            servers.append(server)
        print(json.dumps(ports), flush=True)
        sys.stdin.read()
        for stopped in [server.stop(0) for server in servers]:
            stopped.wait()


def _offer(server: Any, reflection: str) -> None:
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    servicer = health.HealthServicer()
    servicer.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if reflection:
        from grpc_reflection.v1alpha import reflection as service
        from grpc_reflection.v1alpha import reflection_pb2 as messages

        answers = service.ReflectionServicer([SERVICE], pool=pool())
        handler = grpc.stream_stream_rpc_method_handler(
            answers.ServerReflectionInfo,
            request_deserializer=messages.ServerReflectionRequest.FromString,
            response_serializer=messages.ServerReflectionResponse.SerializeToString,
        )
        name = f"grpc.reflection.{reflection}.ServerReflection"
        service_handler = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
        server.add_generic_rpc_handlers((service_handler,))


@dataclass
class GrpcServers:
    """Running servers: what they are called, and their ports."""

    ports: dict[str, int]
    ca: str
    path: str

    @property
    def place(self) -> str:
        """``host:port`` of the first one."""
        return f"{HOST}:{self.ports['v1']}"

    def url(self, name: str = "v1") -> str:
        """``http://host:port`` of the server with this name."""
        return f"https://localhost:{self.ports[name]}" if name == "tls" else f"http://{HOST}:{self.ports[name]}"

    def service(self, name: str = "v1") -> str:
        """The URL of the service there."""
        return f"{self.url(name)}/{SERVICE}"


@contextlib.contextmanager
def grpc_servers(directory: Path, certs: Certs | None = None) -> Iterator[GrpcServers]:
    """One process with servers that differ in what they are called after: reflection v1, v1alpha or none; answers in
    gzip; TLS; a unix socket."""
    path = str(directory / "sock")
    order = {"v1": "", "v1alpha": "", "none": "", "gzip": "", "unix": path}
    if certs is not None:
        order |= {"tls": "", "key": certs.good.key, "cert": certs.good.cert}
    command = [sys.executable, "-m", "tests.servers_grpc", json.dumps(order)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        ports = json.loads(process.stdout.readline())
        try:
            yield GrpcServers(ports, certs.ca if certs is not None else "", path)
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
