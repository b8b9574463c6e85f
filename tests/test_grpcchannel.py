"""``aquests.grpc_channel()``: what a generated stub, and who uses one, may expect of a ``grpc.Channel``."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any
from weakref import ref

import grpc
import pytest

import aquests
from aquests.errors import Cancelled, RequestError, TimedOut
from aquests.script import script
from tests.face import ignore, own_engine
from tests.grpcpeer import Call, GrpcPeer, Reply
from tests.peers import refused_port
from tests.servers_grpc import SERVICE, Stub, note

Code = grpc.StatusCode


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=2, callback=ignore, http2_constreams=10):
        yield


@pytest.fixture
def peer() -> Iterator[GrpcPeer]:
    """Echoes; ``Wait`` gets no answer, ``Fail`` fails, ``Break`` behind the messages, ``Tell`` resets by the number."""

    def answer(call: Call) -> Reply | None:
        name = call.path.rpartition("/")[2]
        if name == "Wait":
            return None
        if name == "Tell":
            return Reply(reset=type(note()).FromString(call.messages[0]).number)
        if name in ("Fail", "Break"):
            fields = [("grpc-status", "5"), ("grpc-message", "no"), ("x-t", "1")]
            return Reply(*(call.messages * 2 if name == "Break" else ()), trailers=fields)
        headers = [(":status", "200"), ("content-type", "application/grpc"), ("x-i-bin", "AA")]
        return Reply(*call.messages, headers=headers, trailers=[("grpc-status", "0"), ("x-t", "1")])

    with GrpcPeer(answer) as running:
        yield running


@pytest.fixture
def stub(peer: GrpcPeer) -> Iterator[Any]:
    with aquests.grpc_channel(peer.url) as channel:
        yield Stub(channel)


def test_four_kinds_at_once(stub: Any, peer: GrpcPeer) -> None:
    assert stub.Echo(note(number=1)) == note(number=1)
    assert list(stub.Count(note(number=2))) == [note(number=2)]
    assert stub.Sum(iter([note(number=3)])) == note(number=3)
    assert list(stub.Chat(note(number=number) for number in range(3))) == [note(number=number) for number in range(3)]
    assert [call.path for call in peer.calls] == [f"/{SERVICE}/{name}" for name in ("Echo", "Count", "Sum", "Chat")]


def test_four_kinds_queued(stub: Any, peer: GrpcPeer) -> None:
    futures = [
        stub.Echo.future(note()),
        stub.Count.future(note()),
        stub.Sum.future([note()]),
        stub.Chat.future([note()]),
    ]
    assert [future.done() for future in futures] == [False] * 4 and futures[0].running() and futures[0].is_active()
    aquests.fetchall()
    assert [future.result() for future in futures] == [note(), [note()], note(), [note()]]
    assert [future.done() for future in futures] == [True] * 4 and not futures[0].running()


def test_what_a_call_tells(stub: Any) -> None:
    reply, call = stub.Echo.with_call(note(number=1), timeout=50)
    assert isinstance(call, grpc.Call) and isinstance(call, grpc.Future)
    assert (reply, call.code(), call.details()) == (note(number=1), Code.OK, "")
    assert call.initial_metadata() == (("x-i-bin", b"\0"),) and call.initial_metadata()[0].key == "x-i-bin"
    assert call.trailing_metadata() == (("x-t", "1"),)
    assert call.exception() is None and call.traceback() is None and not call.cancelled()
    assert 0 < call.time_remaining() <= 50 and stub.Echo.with_call(note())[1].time_remaining() is None
    assert not call.cancel() and not call.add_callback(lambda: None), "it is too late"


def test_timeout_metadata_and_compression_of_a_call(stub: Any, peer: GrpcPeer) -> None:
    stub.Echo(note(), 50, [("x-a", "1")], None, True, grpc.Compression.Deflate)
    headers = peer.calls[0].headers
    assert (headers["grpc-timeout"], headers["x-a"], headers["grpc-encoding"]) == ("50000000u", "1", "deflate")


def test_failures(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.Fail(note())
    error: Any = raised.value
    assert (error.code(), error.details(), error.trailing_metadata()) == (Code.NOT_FOUND, "no", (("x-t", "1"),))
    call = stub.Fail.future(note())
    assert (call.code(), call.details(), call.trailing_metadata()) == (Code.NOT_FOUND, "no", (("x-t", "1"),))
    assert call.exception() is call.exception() and call.exception().code() is Code.NOT_FOUND


def test_a_stream_gives_what_came_before_it_failed(stub: Any) -> None:
    call = stub.Break(note(number=1))
    assert next(call) == next(call) == note(number=1)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        next(call)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        stub.Break.future(note()).result()


@pytest.mark.parametrize(
    ("h2_code", "code"),
    [(8, Code.CANCELLED), (11, Code.RESOURCE_EXHAUSTED), (12, Code.PERMISSION_DENIED), (2, Code.INTERNAL)],
)
def test_resets(stub: Any, h2_code: int, code: grpc.StatusCode) -> None:
    error = stub.Tell.future(note(number=h2_code)).exception()
    assert error.code() is code and "reset the stream" in error.details()


def test_lines_that_fail(stub: Any) -> None:
    late = stub.Wait.future(note(), timeout=0.05)
    assert late.code() is Code.DEADLINE_EXCEEDED and isinstance(late.exception().__cause__, TimedOut)
    with refused_port() as port:
        other = Stub(aquests.grpc_channel(f"http://127.0.0.1:{port}"))
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE: connection refused"):
            other.Echo(note())
        failed = other.Echo.future(note())
        assert failed.initial_metadata() == failed.trailing_metadata() == ()
        assert list(other.Count.future(note()).request.meta) == ["req_id", "req_method"]


def test_an_answer_that_is_too_large_or_broken(peer: GrpcPeer) -> None:
    with aquests.grpc_channel(peer.url, max_message=3) as channel:
        assert Stub(channel).Echo.future(note(text="hello")).code() is Code.RESOURCE_EXHAUSTED
        broken = channel.unary_unary("/p.S/Echo", response_deserializer=int)
        assert broken.future(b"no").code() is Code.INTERNAL


def test_waiting_a_while(stub: Any) -> None:
    call = stub.Wait.future(note(), timeout=0.3)
    for wait in (call.result, call.exception, call.traceback):
        with pytest.raises(grpc.FutureTimeoutError):
            wait(0.01)
    assert call.exception(20).code() is Code.DEADLINE_EXCEEDED


def test_callbacks(stub: Any) -> None:
    told: list[Any] = []
    call = stub.Echo.future(note())
    call.add_done_callback(lambda future: told.append(future.result()))
    assert call.add_callback(lambda: told.append("over")) and told == []
    aquests.fetchall()
    assert told == [note(), "over"]
    call.add_done_callback(told.append)
    assert told[2] is call


def test_calls_that_are_answered_are_freed_at_once(stub: Any) -> None:
    gc.disable()
    try:
        call = stub.Echo.future(note())
        call.add_done_callback(lambda future: None)
        aquests.fetchall()
        gone = ref(call)
        del call
        assert gone() is None
    finally:
        gc.enable()


def test_in_a_callback_only_queuing_is_allowed(stub: Any) -> None:
    told: list[Any] = []

    def on_done(call: Any) -> None:
        told.append(stub.Echo.future(note(number=2)))
        with pytest.raises(RuntimeError, match="from one of its own callbacks"):
            stub.Echo(note())

    stub.Echo.future(note()).add_done_callback(on_done)
    report = aquests.fetchall()
    assert told[0].result() == note(number=2) and report.callback_errors == 0


def test_other_work_goes_on_meanwhile(stub: Any) -> None:
    others = [stub.Echo.future(note(number=number)) for number in range(30)]
    assert stub.Echo(note(number=99)).number == 99
    assert [other.result().number for other in others] == list(range(30))


def test_cancelled_in_the_queue_it_is_not_sent(stub: Any, peer: GrpcPeer) -> None:
    told: list[Any] = []
    call = stub.Echo.future(note())
    call.add_done_callback(told.append)
    assert call.cancel() and call.cancelled() and call.done() and not call.cancel() and told == [call]
    for wait in (call.result, call.exception, call.traceback):
        with pytest.raises(grpc.FutureCancelledError):
            wait()
    assert (call.code(), call.initial_metadata()) == (Code.CANCELLED, ())
    with pytest.raises(grpc.RpcError, match="CANCELLED"):
        next(call)
    assert aquests.fetchall().tasks == 1
    assert peer.calls == [] and told == [call]


def test_cancelled_in_flight_its_answer_is_dropped(stub: Any, peer: GrpcPeer) -> None:
    call = stub.Wait.future(note(), timeout=0.2)
    while not peer.calls:
        script.engine.step(0.05)
    assert call.cancel()
    aquests.fetchall()
    assert call.cancelled() and call.code() is Code.CANCELLED


def test_a_run_that_was_stopped(stub: Any, peer: GrpcPeer) -> None:
    call = stub.Wait.future(note())
    while not peer.calls:
        script.engine.step(0.05)
    script.engine.hang_up()
    assert call.code() is Code.CANCELLED


def test_an_engine_that_is_gone(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    call = stub.Echo.future(note())
    aquests.fetchall()
    call.request.response = None
    with pytest.raises(Cancelled, match="is gone"):
        call.result()


def test_without_serializers_messages_are_bytes(peer: GrpcPeer) -> None:
    with aquests.grpc_channel(peer.url) as channel:
        method = channel.unary_unary("/p.S/Echo")
        assert method(b"raw") == b"raw"
        with pytest.raises(RequestError, match="takes bytes, not int"):
            method(5)


def test_the_channel(peer: GrpcPeer) -> None:
    channel = aquests.grpc_channel(peer.url)
    assert isinstance(channel, grpc.Channel)
    ready = grpc.channel_ready_future(channel)
    assert ready.done() and ready.result() is None
    states: list[Any] = []
    channel.subscribe(states.append)
    channel.unsubscribe(states.append)
    assert states == [grpc.ChannelConnectivity.READY]
    stub = Stub(channel)
    waiting = stub.Echo.future(note())
    channel.close()
    assert waiting.result() == note(), "what is queued is answered"
    with pytest.raises(ValueError, match="closed"):
        stub.Echo(note())
    channel.close()


def test_interceptors(peer: GrpcPeer) -> None:
    class Adds(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return continuation(details._replace(metadata=[("x-seen", "1")]), request)

    with grpc.intercept_channel(aquests.grpc_channel(peer.url), Adds()) as channel:
        assert Stub(channel).Echo(note(number=5)).number == 5
    assert peer.calls[0].headers["x-seen"] == "1"


@pytest.mark.parametrize(
    ("url", "options", "kind", "says"),
    [
        ("http://h:1/p.S", {}, RequestError, "without a path like '/p.S'"),
        ("ws://h:1", {}, RequestError, "not ws://"),
        ("http://h:1", {"compresion": 1}, TypeError, "did you mean 'compression'"),
    ],
)
def test_channels_that_cannot_be(url: str, options: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        aquests.grpc_channel(url, **options)
