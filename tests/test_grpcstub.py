"""``aquests.grpc()``: what it takes, what it refuses, and how calls wait for a description of their service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import aquests
from aquests.errors import Cancelled, RequestError, StreamReset, TimedOut
from aquests.exchange import Request
from aquests.script import script
from tests.face import ignore, own_engine
from tests.grpcpeer import Call, GrpcPeer, Reply
from tests.servers_grpc import SERVICE, files, note

HEALTH = "grpc.health.v1.Health"
NOTE = note(text="a", number=1).SerializeToString()


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=2, callback=ignore, http2_constreams=10):
        yield


def fetched(*requests: Request) -> list[Any]:
    script.engine.run()
    answers: list[Any] = [request.response for request in requests]
    return answers


def echo(call: Call) -> Reply:
    return Reply(*call.messages)


def describing(answer: Callable[[Call], Reply | None]) -> Callable[[Call], Reply | None]:
    """A server that describes itself by reflection v1 as well."""

    def reply(call: Call) -> Reply | None:
        if not call.path.startswith("/grpc.reflection.v1."):
            return answer(call)
        protos = [proto.SerializeToString() for proto in files()]
        found = reflection_pb2.FileDescriptorResponse(file_descriptor_proto=protos)
        answered = reflection_pb2.ServerReflectionResponse(file_descriptor_response=found)
        return Reply(*[answered.SerializeToString()] * len(call.messages))

    return reply


def asked(peer: GrpcPeer) -> int:
    return sum(call.path.startswith("/grpc.reflection.") for call in peer.calls)


# --- what is sent --------------------------------------------------------------------------------------------


def test_a_call() -> None:
    with GrpcPeer(echo) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}", metadata={"x-all": "1"}, meta={"job": 1, "n": 0}, timeout=5)
        request = stub.Echo(note(text="a", number=1), metadata=[("x-own-bin", b"\0")], meta={"n": 1}, timeout=20)
        (answer,) = fetched(request)
    (call,) = peer.calls
    assert call.path == f"/{SERVICE}/Echo" and call.messages == [NOTE]
    own = {name: value for name, value in call.headers.items() if name not in (":authority", "user-agent")}
    assert own == {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{SERVICE}/Echo",
        "content-type": "application/grpc+proto",
        "te": "trailers",
        "grpc-accept-encoding": "identity,gzip,deflate",
        "grpc-timeout": "20000000u",
        "x-all": "1",
        "x-own-bin": "AA",
        "content-length": "10",
    }
    assert answer.data == note(text="a", number=1) and answer.ok and answer.content
    assert answer.meta == {"job": 1, "n": 1, "req_id": 0, "req_method": "grpc"}
    assert answer.url == f"{peer.url}/{SERVICE}/Echo"


@pytest.mark.parametrize(
    ("ours", "own", "sent", "patience", "deadline"),
    [
        ({}, {}, None, 10, None),
        ({"timeout": 60}, {}, "60000000u", 60, 60),
        ({"deadline": 60}, {}, "60000000u", 60, 60),
        ({"timeout": 5, "deadline": 60}, {}, "60000000u", 5, 60),
        ({"timeout": 5}, {"timeout": 7}, "7000000u", 7, 7),
        ({"timeout": 5, "deadline": 60}, {"timeout": 7}, "7000000u", 7, 7),
        ({"timeout": 5}, {"deadline": 7, "timeout": 2}, "7000000u", 2, 7),
        ({"timeout": 5}, {"timeout": None}, "5000000u", 5, 5),
    ],
)
def test_timeouts(ours: Any, own: Any, sent: str | None, patience: float, deadline: float | None) -> None:
    with GrpcPeer(echo) as peer:
        (answer,) = fetched(aquests.grpc(f"{peer.url}/{SERVICE}", **ours).Echo(note(), **own))
    assert peer.calls[0].headers.get("grpc-timeout") == sent
    x = answer.request
    assert x.patience == patience
    assert (round(x.limit - x.started_at) if x.limit else None) == deadline


def test_settings_that_change_between_calls_hold_for_the_next_one() -> None:
    with GrpcPeer(echo) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        channel = aquests.grpc_channel(peer.url)
        method = channel.unary_unary(f"/{SERVICE}/Echo")
        for deadline in (None, 20, 30):
            aquests.configure(2, callback=ignore, deadline=deadline)
            for _ in range(2):
                stub.Echo(note())
                method.future(b"")
        script.engine.run()
        aquests.configure(2, callback=ignore, force_http1=True)
        for call in (lambda: stub.Echo(note()), lambda: method.future(b"")):
            with pytest.raises(RequestError, match="needs HTTP/2"):
                call()
    sent = sorted(call.headers.get("grpc-timeout", "") for call in peer.calls)
    assert sent == [""] * 4 + ["20000000u"] * 4 + ["30000000u"] * 4


def test_the_deadline_of_the_run_is_sent() -> None:
    aquests.configure(callback=lambda response: None, deadline=33)
    with GrpcPeer(echo) as peer:
        fetched(aquests.grpc(f"{peer.url}/{SERVICE}").Echo(note()))
    assert peer.calls[0].headers["grpc-timeout"] == "33000000u"


def test_silence_is_timed_out() -> None:
    with GrpcPeer(lambda call: None) as peer:
        (answer,) = fetched(aquests.grpc(f"{peer.url}/{SERVICE}").Echo(note(), timeout=0.05))
    assert isinstance(answer.error, TimedOut) and answer.error.phase == "total"


def test_a_reset_is_no_status() -> None:
    with GrpcPeer(lambda call: Reply(reset=8)) as peer:
        (answer,) = fetched(aquests.grpc(f"{peer.url}/{SERVICE}").Echo(note()))
    assert isinstance(answer.error, StreamReset) and answer.error.h2_name == "CANCEL" and answer.status_code == 721


def test_redirects_are_not_followed() -> None:
    with GrpcPeer(lambda call: Reply(headers=[(":status", "307"), ("location", "/x")], trailers=())) as peer:
        (answer,) = fetched(aquests.grpc(f"{peer.url}/{SERVICE}").Echo(note()))
    assert len(peer.calls) == 1 and answer.error.code() is grpc.StatusCode.UNKNOWN and answer.history == []


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "kind", "says"),
    [
        ("http://h:1", {}, RequestError, "names no service"),
        ("http://h:1/a b", {}, RequestError, "names no service"),
        ("http://h:1/a/b", {}, RequestError, "names no service"),
        ("http://h:1/.a", {}, RequestError, "names no service"),
        ("ws://h:1/p.S", {}, RequestError, "not ws://"),
        ("http://h:1/p.S", {"timout": 1}, TypeError, "did you mean 'timeout'"),
        ("http://h:1/p.S", {"timeout": 0}, RequestError, "timeout must be"),
        ("http://h:1/p.S", {"compression": "br"}, RequestError, "compression is"),
        ("http://h:1/p.S", {"max_message": -1}, RequestError, "max_message must be"),
        ("http://h:1/p.S", {"max_message": "1"}, RequestError, "max_message must be"),
        ("http://h:1/p.S", {"metadata": {"te": "x"}}, RequestError, "gRPC's own"),
        ("http://h:1/p.S", {"metadata": "ab"}, RequestError, "metadata must be"),
        ("http://h:1/p.S", {"metadata": 5}, RequestError, "metadata must be"),
        ("http://h:1/p.S", {"metadata": [("a",)]}, RequestError, "metadata must be"),
        ("http://h:1/p.S", {"callback": 1}, RequestError, "callback must be"),
    ],
)
def test_stubs_that_cannot_be(url: str, options: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        aquests.grpc(url, **options)


@pytest.mark.parametrize(
    ("method", "args", "options", "kind", "says"),
    [
        ("Echo", [5], {}, RequestError, f"{HEALTH} has no method Echo; it has Check, List, Watch"),
        ("a.b", [], {}, RequestError, "has no method a.b"),
        ("Check", [5], {}, RequestError, "Check takes a .*HealthCheckRequest or a dict, not a value of type int"),
        ("Check", [[{}]], {}, RequestError, "not a value of type list"),
        ("Check", [note()], {}, RequestError, "not a aquests.test.Note"),
        ("Check", [Struct()], {}, RequestError, "not a google.protobuf.Struct"),
        ("Check", [{"servis": "a"}], {}, RequestError, "does not fit .*servis"),
        ("Check", [{"service": 5}], {}, RequestError, "does not fit"),
        ("Check", [{"service": object()}], {}, RequestError, "does not fit"),
        ("Check", [{5: object()}], {}, RequestError, "does not fit"),
        ("Check", [{}, {}], {}, TypeError, "takes one message"),
        ("Check", [{}], {"metadta": 1}, TypeError, "did you mean 'metadata'"),
        ("Check", [{}], {"timeout": "1"}, RequestError, "timeout must be"),
        ("Check", [{}], {"metadata": [("x-bin", "text")]}, RequestError, "must be bytes"),
        ("Check", [{}], {"metadata": [("x", [])]}, RequestError, "must be ASCII text"),
        ("Check", [{}], {"compression": "lzma"}, RequestError, "compression is"),
    ],
)
def test_calls_that_cannot_be(method: str, args: Any, options: Any, kind: type[Exception], says: str) -> None:
    stub = aquests.grpc(f"http://127.0.0.1:1/{HEALTH}")
    with pytest.raises(kind, match=says):
        getattr(stub, method)(*args, **options)
    assert script.engine.idle and script.engine.counted == 0, "nothing is left of it"


@pytest.mark.parametrize("message", [note(), {"text": "a"}, "text", b"bytes", 5, None])
def test_a_method_that_takes_a_stream(message: Any) -> None:
    with GrpcPeer(describing(echo)) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        assert fetched(stub.Echo({"text": "a"}))[0].ok  # now the service is known
        with pytest.raises(RequestError, match="takes a stream: give an iterable"):
            stub.Chat(message)


def test_a_generator_that_raises_fails_its_call_alone() -> None:
    def messages() -> Iterator[Any]:
        yield note(text="a")
        raise KeyError("mine")

    with GrpcPeer(echo) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        bad, good = fetched(stub.Chat(messages()), stub.Chat(note(number=number) for number in range(3)))
    assert isinstance(bad.error, RequestError) and "KeyError" in str(bad.error)
    assert [reply.number for reply in good.data] == [0, 1, 2]


def test_private_names_are_pythons_own() -> None:
    stub = aquests.grpc(f"http://h:1/{SERVICE}")
    assert repr(stub) == f"<gRPC stub of {SERVICE}>"
    with pytest.raises(AttributeError):
        _ = stub._private


# --- how the service becomes known ---------------------------------------------------------------------------


def test_the_pool_of_the_message_is_enough() -> None:
    with GrpcPeer(echo) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        answers = fetched(
            stub.Echo(note()), stub.Sum([note()]), stub.Chat((note(),)), stub.Chat(note() for _ in range(2))
        )
    assert [type(answer.data) for answer in answers] == [type(note()), type(note()), list, list]
    assert len(peer.calls) == 4


def test_what_is_imported_is_known() -> None:
    reply = health_pb2.HealthCheckResponse(status=1)
    with GrpcPeer(lambda call: Reply(reply.SerializeToString())) as peer:
        (answer,) = fetched(aquests.grpc(f"{peer.url}/{HEALTH}").Check({"service": "x"}))
    assert answer.data == reply and type(answer.data) is health_pb2.HealthCheckResponse and len(peer.calls) == 1


def test_calls_wait_for_the_description_and_then_run_once_each() -> None:
    seen: list[int] = []
    with GrpcPeer(describing(echo)) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}", callback=lambda response: seen.append(response.meta["req_id"]))
        other = aquests.grpc(f"{peer.url}/{SERVICE}")
        requests = [stub.Echo({"number": number}) for number in range(20)]
        requests.append(other.Chat({"number": number} for number in range(2)))
        assert script.engine.pending == 22 and aquests.qsize() == 1
        answers = fetched(*requests)
        later = fetched(other.Echo({"number": 1}), aquests.grpc(f"{peer.url}/{SERVICE}").Echo({"number": 2}))
    assert [answer.data.number for answer in answers[:20]] == list(range(20))
    assert [reply.number for reply in answers[20].data] == [0, 1]
    assert sorted(seen) == list(range(20)) and [answer.data.number for answer in later] == [1, 2]
    assert asked(peer) == 2, "one question, and one for a file that is imported"
    assert (script.engine.counted, script.engine.finished) == (23, 23)


def test_what_the_server_said_holds_for_other_stubs_of_the_place() -> None:
    with GrpcPeer(describing(echo)) as peer:
        fetched(aquests.grpc(f"{peer.url}/{SERVICE}").Echo({}))
        with pytest.raises(RequestError, match="has no method Nope"):
            aquests.grpc(f"{peer.url}/{SERVICE}").Nope({})
        with pytest.raises(RequestError, match="does not fit"):
            aquests.grpc(f"{peer.url}/{SERVICE}").Echo({"txt": 1})
    assert script.engine.idle and asked(peer) == 2


def test_after_reflection_messages_keep_their_own_type() -> None:
    with GrpcPeer(describing(echo)) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        first, second, third = fetched(stub.Echo({}), stub.Echo(note()), stub.Echo({}))
    assert type(second.data) is type(note())
    assert type(first.data) is type(third.data) is not type(note())


def test_each_who_waits_is_told_what_does_not_fit_him() -> None:
    with GrpcPeer(describing(echo)) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        answers = fetched(
            stub.Echo({"txt": 1}), stub.Nope({}), stub.Echo(5), stub.Sum({}), stub.Echo({object(): 1}), stub.Echo({})
        )
    assert [answer.ok for answer in answers] == [False] * 5 + [True]
    assert all(isinstance(answer.error, RequestError) and answer.data is None for answer in answers[:5])
    assert "has no method Nope" in str(answers[1].error)


class Treacherous(dict[str, Any]):
    """A mapping whose values cannot be had."""

    def items(self) -> Any:
        raise LookupError("not to be had")


def test_whatever_a_mapping_raises_is_said_of_its_call() -> None:
    with GrpcPeer(describing(echo)) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        broken, good = fetched(stub.Echo(Treacherous(number=1)), stub.Echo({}))
        with pytest.raises(RequestError, match="not to be had"):
            stub.Echo(Treacherous(number=1))
    assert isinstance(broken.error, RequestError) and "not to be had" in str(broken.error) and good.ok


def test_who_waits_may_queue_more_in_his_callback() -> None:
    with GrpcPeer(describing(echo)) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        more: list[Request] = []
        stub.Nope({}, callback=lambda response: more.append(stub.Echo({"number": 9})))
        script.engine.run()
        answer: Any = more[0].response
    assert answer.data.number == 9


def test_a_run_that_is_stopped_answers_those_who_wait() -> None:
    with GrpcPeer(lambda call: None) as peer:
        requests = [aquests.grpc(f"{peer.url}/{SERVICE}").Echo({}) for _ in range(3)]
        while not peer.calls:
            script.engine.step(0.05)
        script.engine.hang_up()
        answers: list[Any] = [request.response for request in requests]
    assert [type(answer.error) for answer in answers] == [Cancelled] * 3 and script.engine.idle


def test_stubs_go_on_after_configure() -> None:
    with GrpcPeer(echo) as peer:
        stub = aquests.grpc(f"{peer.url}/{SERVICE}")
        assert fetched(stub.Echo(note()))[0].ok
        aquests.configure(1, callback=lambda response: None, http2_constreams=2)
        assert fetched(stub.Echo(note()))[0].ok
