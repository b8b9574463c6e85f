"""What a gRPC service looks like: its methods and their messages.

Found in the descriptor pool of the request's own message, in protobuf's default pool, or by asking
the server (reflection v1, then v1alpha, which has the same messages under another name). Reflection
is one call on our own engine; whoever needs the answer waits for it, and one answer serves all.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from .errors import AquestsError, RequestError

REFLECTIONS: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
MAX_ROUNDS: Final = 20
"""Rounds of asking for imported files: imports nest a few levels deep."""

Ask = Callable[[str, list[bytes], Callable[[Any], None]], None]
"""``ask(path, messages, done)``: a bidirectional call aside; ``done(response)`` gets raw reply messages."""


class Method:
    """One method of a service: the classes of its messages, and which way it streams."""

    __slots__ = ("client_streaming", "name", "reply", "request", "server_streaming")

    def __init__(self, descriptor: Any):
        self.name: str = descriptor.name
        self.request: Any = message_factory.GetMessageClass(descriptor.input_type)
        self.reply: Any = message_factory.GetMessageClass(descriptor.output_type)
        self.client_streaming: bool = descriptor.client_streaming
        self.server_streaming: bool = descriptor.server_streaming


Methods = dict[str, Method]
Done = Callable[[Methods | AquestsError], None]


def methods_in(pool: Any, service: str) -> Methods | None:
    """The methods of a service that ``pool`` knows; None if it does not."""
    try:
        descriptor = pool.FindServiceByName(service)
    except KeyError:
        return None
    return {method.name: Method(method) for method in descriptor.methods}


def default_methods(service: str) -> Methods | None:
    """The methods of a service whose generated module has been imported."""
    return methods_in(descriptor_pool.Default(), service)


class Reflection:
    """Asks one server about one service, once. ``wait(done)``: ``done(methods or error)`` when it is known.

    What fails is told to those who wait; the next one asks again.
    """

    def __init__(self, service: str, ask: Ask):
        self._service = service
        self._ask = ask
        self._versions: list[str] = []
        self._files: dict[str, bytes] = {}
        """Serialized descriptions by file name; b"" for one that the server does not give."""
        self._waiting: list[Done] = []
        self._rounds = 0
        self.methods: Methods | None = None

    def wait(self, done: Done) -> None:
        """``done`` is called from a later step of the engine. Who finds ``methods`` set need not wait."""
        self._waiting.append(done)
        if len(self._waiting) == 1:
            self._rounds = 0
            self._files.clear()
            self._versions = list(REFLECTIONS)
            self._ask_for([{"file_containing_symbol": self._service}])

    def _ask_for(self, questions: list[dict[str, str]]) -> None:
        from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

        messages = [ServerReflectionRequest(**question).SerializeToString() for question in questions]
        path = f"/{self._versions[0]}/ServerReflectionInfo"
        self._rounds += 1
        self._ask(path, messages, lambda response: self._on_answer(response, questions))

    def _on_answer(self, response: Any, questions: list[dict[str, str]]) -> None:
        error = response.error
        if isinstance(error, AquestsError):
            self._finish(error)
            return
        if error is not None:
            del self._versions[0]
            if self._versions and error.code().name == "UNIMPLEMENTED":
                self._ask_for(questions)
            else:
                self._finish(self._unknown(f"the server offers no reflection ({error})", error))
            return
        try:
            missing = self._learn(response.data, questions)
            if missing and self._rounds < MAX_ROUNDS:
                self._ask_for([{"file_by_filename": name} for name in missing])
                return
            found = self._build()
        except RequestError as refusal:
            found = refusal
        except (DecodeError, TypeError, ValueError, KeyError, RecursionError) as fault:
            found = self._unknown(f"the server's description of it is broken ({fault})", fault)
        self._finish(found)

    def _learn(self, replies: list[bytes], questions: list[dict[str, str]]) -> list[str]:
        """Keep the files of the replies; returns the names of those that they import and nobody has asked for."""
        from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionResponse

        wanted: dict[str, None] = {}
        for raw in replies:
            reply = ServerReflectionResponse.FromString(raw)
            if reply.HasField("error_response") and self._rounds == 1:
                said = reply.error_response.error_message or "not found"
                raise self._unknown(f"the server does not have it ({said})")
            for serialized in reply.file_descriptor_response.file_descriptor_proto:
                proto = FileDescriptorProto.FromString(serialized)
                self._files[proto.name] = serialized
                wanted |= dict.fromkeys(proto.dependency)
        for question in questions:
            if name := question.get("file_by_filename"):
                self._files.setdefault(name, b"")  # perhaps we have it
        return [name for name in wanted if name not in self._files]

    def _build(self) -> Methods | AquestsError:
        """A pool of its own: what this server says must not touch what the program has imported."""
        pool = descriptor_pool.DescriptorPool()
        added: set[str] = set()

        def add(name: str) -> None:
            if name in added:
                return
            added.add(name)
            serialized = self._files.get(name) or _own_copy(name)
            for dependency in FileDescriptorProto.FromString(serialized).dependency:
                add(dependency)
            pool.AddSerializedFile(serialized)

        for name, serialized in self._files.items():
            if serialized:
                add(name)
        methods = methods_in(pool, self._service)
        return methods if methods is not None else self._unknown("the server does not describe it")

    def _unknown(self, why: str, cause: Exception | None = None) -> RequestError:
        text = f"the service {self._service} is not known: {why}; import its generated module, or mend its name"
        error = RequestError(text)
        error.__cause__ = cause
        return error

    def _finish(self, found: Methods | AquestsError) -> None:
        if isinstance(found, dict):
            self.methods = found
            self._files.clear()
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(found if isinstance(found, dict) else _another(found))


def _own_copy(name: str) -> bytes:
    """A file that the server imports and does not give: the well-known ones are here."""
    try:
        serialized: bytes = descriptor_pool.Default().FindFileByName(name).serialized_pb
    except KeyError as fault:
        raise ValueError(f"{name} is missing") from fault
    return serialized


def _another(error: AquestsError) -> AquestsError:
    """Each who waited gets an error of his own: it is told there where and when it came."""
    another = copy(error)
    another.__cause__ = error.__cause__
    return another
