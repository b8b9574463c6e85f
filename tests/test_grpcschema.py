"""What services look like: from pools, and from what servers say about themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2 as wire
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import ConnectError, RequestError
from aquests.grpcschema import MAX_ROUNDS, REFLECTIONS, Reflection, default_methods, methods_in
from aquests.protocols.grpc import RpcError
from tests.servers_grpc import METHODS, SERVICE, files, pool

NOTES, ECHO = [proto.SerializeToString() for proto in files()]
V1, V1ALPHA = [f"/{name}/ServerReflectionInfo" for name in REFLECTIONS]


class Answer:
    """As much of a response as is looked at."""

    def __init__(self, data: Any = None, error: Any = None):
        self.data = data
        self.error = error


def described(*protos: bytes) -> bytes:
    files = wire.FileDescriptorResponse(file_descriptor_proto=protos)
    return wire.ServerReflectionResponse(file_descriptor_response=files).SerializeToString()


def not_found(message: str = "not found") -> bytes:
    error = wire.ErrorResponse(error_code=5, error_message=message)
    return wire.ServerReflectionResponse(error_response=error).SerializeToString()


class Server:
    """Answers what is asked by a script, later; ``asked`` are the paths and the questions."""

    def __init__(self, *answers: Answer):
        self.answers = list(answers)
        self.asked: list[tuple[str, list[str]]] = []
        self.waiting: list[Callable[[Any], None]] = []

    def ask(self, path: str, messages: list[bytes], done: Callable[[Any], None]) -> None:
        requests = [wire.ServerReflectionRequest.FromString(message) for message in messages]
        self.asked.append((path, [request.file_containing_symbol or request.file_by_filename for request in requests]))
        self.waiting.append(done)

    def run(self) -> None:
        while self.waiting:
            self.waiting.pop(0)(self.answers.pop(0))


def reflected(*answers: Answer, service: str = SERVICE) -> tuple[Any, Server]:
    """What one who waits is told, once."""
    server = Server(*answers)
    told: list[Any] = []
    Reflection(service, server.ask).wait(told.append)
    assert told == []
    server.run()
    (found,) = told
    return found, server


def test_a_pool_that_knows_the_service() -> None:
    methods = methods_in(pool(), SERVICE)
    assert methods is not None and methods.keys() == METHODS.keys()
    for name, (takes, gives) in METHODS.items():
        method = methods[name]
        assert (method.name, method.client_streaming, method.server_streaming) == (name, takes, gives)
        assert method.request.DESCRIPTOR.full_name == method.reply.DESCRIPTOR.full_name == "aquests.test.Note"


def test_pools_that_do_not() -> None:
    assert methods_in(pool(), "no.Such") is None
    assert default_methods(SERVICE) is None
    from grpc_health.v1 import health_pb2

    methods = default_methods("grpc.health.v1.Health")
    assert methods is not None and methods["Check"].request is health_pb2.HealthCheckRequest


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([Answer([described(ECHO, NOTES)])], [(V1, [SERVICE])]),  # all at once; Timestamp is ours
        (
            [Answer([described(ECHO)]), Answer([described(NOTES)]), Answer([not_found()])],
            [(V1, [SERVICE]), (V1, ["aquests/notes.proto"]), (V1, ["google/protobuf/timestamp.proto"])],
        ),
        (
            [Answer(error=RpcError(StatusCode.UNIMPLEMENTED, "")), Answer([described(ECHO, NOTES)])],
            [(V1, [SERVICE]), (V1ALPHA, [SERVICE])],
        ),
    ],
)
def test_reflection(answers: list[Answer], asked: Any) -> None:
    if len(answers) < 3:
        answers = [*answers, Answer([not_found()])]
        asked = [*asked, (asked[-1][0], ["google/protobuf/timestamp.proto"])]
    found, server = reflected(*answers)
    assert found.keys() == METHODS.keys()
    assert server.asked == asked and server.answers == []
    assert default_methods(SERVICE) is None, "what a server says stays out of the default pool"


def test_many_wait_for_one_answer() -> None:
    server = Server(Answer([described(ECHO, NOTES)]), Answer([]))
    told: list[Any] = []
    reflection = Reflection(SERVICE, server.ask)
    for _ in range(5):
        reflection.wait(told.append)
    server.run()
    assert len(told) == 5 and all(found is reflection.methods for found in told) and len(server.asked) == 2


def test_a_failure_is_told_to_each_and_the_next_one_asks_again() -> None:
    cause = OSError("x")
    error = ConnectError("refused")
    error.__cause__ = cause
    server = Server(Answer(error=error))
    told: list[Any] = []
    reflection = Reflection(SERVICE, server.ask)
    reflection.wait(told.append)
    reflection.wait(told.append)
    server.run()
    assert [(type(found), str(found), found.__cause__) for found in told] == [(ConnectError, "refused", cause)] * 2
    assert told[0] is not told[1]
    server.answers = [Answer([described(ECHO, NOTES)]), Answer([])]
    reflection.wait(told.append)
    server.run()
    assert told[2].keys() == METHODS.keys()


def test_who_waits_may_ask_again_at_once() -> None:
    server = Server(Answer(error=ConnectError("one")), Answer(error=ConnectError("two")))
    reflection = Reflection(SERVICE, server.ask)
    told: list[str] = []

    def ask_again(found: Any) -> None:
        told.append(str(found))
        reflection.wait(lambda again: told.append(str(again)))

    reflection.wait(ask_again)
    server.run()
    assert told == ["one", "two"]


UNIMPLEMENTED = RpcError(StatusCode.UNIMPLEMENTED, "what?")


def chain(length: int) -> bytes:
    """Files of which each imports the next one, down to nothing."""
    protos = [
        descriptor_pb2.FileDescriptorProto(name=f"f{number}", dependency=[f"f{number + 1}"]) for number in range(length)
    ]
    return described(*[proto.SerializeToString() for proto in protos])


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([Answer(error=UNIMPLEMENTED), Answer(error=UNIMPLEMENTED)], r"no reflection \(UNIMPLEMENTED: what\?\)"),
        ([Answer(error=RpcError(StatusCode.PERMISSION_DENIED, ""))], r"no reflection \(PERMISSION_DENIED\)"),
        ([Answer([not_found("never heard of it")])], "never heard of it"),
        ([Answer([not_found("")])], "not found"),
        ([Answer([b"\xff\xff"])], "is broken"),
        ([Answer([described(b"\xff\xff")])], "is broken"),
        ([Answer([])], "does not describe it"),
        ([Answer([described(NOTES)]), Answer([])], "does not describe it"),
        ([Answer([described(ECHO)]), Answer([not_found()])], "aquests/notes.proto is missing"),
        ([Answer([described(ECHO, NOTES.replace(b"Note", b"Nota"))]), Answer([])], "is broken"),
        (
            [
                Answer([chain(3000)]),
                Answer([described(descriptor_pb2.FileDescriptorProto(name="f3000").SerializeToString())]),
            ],
            "is broken",
        ),
    ],
)
def test_what_may_go_wrong(answers: list[Answer], says: str) -> None:
    found, server = reflected(*answers)
    assert type(found) is RequestError and server.answers == []
    with pytest.raises(RequestError, match=says):
        raise found
    assert str(found).startswith(f"the service {SERVICE} is not known: ")


def test_files_that_import_each_other_for_ever() -> None:
    endless = [
        Answer(
            [described(descriptor_pb2.FileDescriptorProto(name=f"f{n}", dependency=[f"f{n + 1}"]).SerializeToString())]
        )
        for n in range(MAX_ROUNDS)
    ]
    found, server = reflected(*endless)
    assert type(found) is RequestError and len(server.asked) == MAX_ROUNDS


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(described), max_size=3))
def test_any_replies_are_methods_or_a_typed_error(replies: list[bytes]) -> None:
    found, _ = reflected(*[Answer(replies)] * MAX_ROUNDS)
    assert isinstance(found, (dict, RequestError))
