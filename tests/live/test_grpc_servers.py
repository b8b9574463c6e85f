"""gRPC against grpcio's servers: all four kinds, with and without generated stubs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import aquests
from aquests.errors import ConnectionEnded, RequestError, TimedOut, TlsError, TooLarge
from aquests.exchange import Request
from aquests.script import script
from tests import servers
from tests.certs import Certs
from tests.face import ignore, own_engine
from tests.peers import ScriptedPeer, http_peer, stall
from tests.servers_grpc import SERVICE, GrpcServers, Stub, grpc_servers, note

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certs: Certs) -> Iterator[GrpcServers]:
    with grpc_servers(tmp_path_factory.mktemp("grpc"), certs) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=5, callback=ignore, http2_constreams=10):
        yield
        script.engine.run()


def fetched(*requests: Request) -> list[Any]:
    aquests.fetchall()
    answers: list[Any] = [request.response for request in requests]
    return answers


@pytest.mark.parametrize("name", ["v1", "v1alpha", "gzip", "tls"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_all_four_kinds_without_a_stub(server: GrpcServers, name: str, compression: str | None) -> None:
    stub = aquests.grpc(server.service(name), ca=server.ca, compression=compression)
    text = "hello " * 1000
    answers = fetched(
        stub.Echo({"text": text, "at": "2020-01-01T00:00:01Z"}),
        stub.Count({"number": 3, "text": text}),
        stub.Sum([{"number": 1}, {"number": 5}]),
        stub.Chat({"text": f"{number}a"} for number in range(100)),
        stub.Echo(),
        stub.Sum([]),
        stub.Chat(iter(())),
    )
    assert [answer.error for answer in answers] == [None] * 7
    echo, count, total, chat, empty, nothing, silence = [answer.data for answer in answers]
    assert echo.text == text and echo.at.seconds == 1577836801
    assert [(reply.number, reply.text) for reply in count] == [(0, text), (1, text), (2, text)]
    assert (total.number, total.text) == (6, "2")
    assert [reply.text for reply in chat] == [f"{number}A" for number in range(100)]
    assert empty.ByteSize() == 0 and nothing.text == "0" and silence == []
    assert {answer.version for answer in answers} == {"2.0"} and all(answer.ok for answer in answers)


def test_with_messages_no_server_is_asked(server: GrpcServers) -> None:
    stub = aquests.grpc(server.service("none"))
    answers = fetched(stub.Echo(note(text="a")), stub.Sum([note(number=2)]), stub.Chat(iter([note(text="b")])))
    assert answers[0].data == note(text="a") and type(answers[0].data) is type(note())
    assert answers[1].data.number == 2 and answers[2].data[0].text == "B"
    assert fetched(aquests.grpc(server.service("none")).Echo({"text": "c"}))[0].status_code == 701, (
        "a dict alone does not tell its type"
    )


def test_reflection_is_asked_once_a_place(server: GrpcServers) -> None:
    aquests.configure(1, callback=lambda response: None, use_pool=False)
    first, second = aquests.grpc(server.service()), aquests.grpc(server.service())
    requests = [stub.Echo({"number": number}) for number in range(10) for stub in (first, second)]
    report = aquests.fetchall()
    answers: list[Any] = [request.response for request in requests]
    assert [answer.data.number for answer in answers] == [number // 2 for number in range(20)]
    assert [answer.meta["req_id"] for answer in answers] == list(range(20))
    assert report.tasks == 20 and report.as_dict()["connections"] == 21, "a line for each call, and for one question"


def test_without_reflection_it_is_said_what_to_do(server: GrpcServers) -> None:
    (answer,) = fetched(aquests.grpc(server.service("none")).Echo({"text": "a"}))
    assert isinstance(answer.error, RequestError) and not answer.ok and answer.data is None
    assert "offers no reflection (UNIMPLEMENTED" in str(answer.error)
    assert "import its generated module" in str(answer.error)


def test_an_unknown_service_and_an_unknown_method(server: GrpcServers) -> None:
    (answer,) = fetched(aquests.grpc(server.url() + "/no.Such").Echo({"text": "a"}))
    assert isinstance(answer.error, RequestError) and "no.Such is not known" in str(answer.error)
    (answer,) = fetched(aquests.grpc(server.service()).Ecko({"text": "a"}))
    assert "has no method Ecko; it has Break, Chat, Count, Echo" in str(answer.error)
    with pytest.raises(RequestError, match="has no method Ecko; it has Break"):
        aquests.grpc(server.service()).Ecko(note())


def test_a_service_that_is_not_there_is_an_answer(server: GrpcServers) -> None:
    from grpc_health.v1 import health_pb2

    stub = aquests.grpc(server.url() + "/grpc.health.v1.Health")
    good, bad = fetched(stub.Check(health_pb2.HealthCheckRequest(service=SERVICE)), stub.Check({"service": "other"}))
    assert good.data.status == health_pb2.HealthCheckResponse.SERVING
    assert bad.error.code() is Code.NOT_FOUND and not bad.ok
    assert (good.status_code, good.reason, good.lane, good.version) == (200, "OK", "GRPC", "2.0")
    assert (bad.status_code, bad.reason, bad.lane, bad.version) == (500, "NOT_FOUND", "GRPC", "2.0")


def test_reports_count_calls_in_a_row_of_their_own(server: GrpcServers, capsys: pytest.CaptureFixture[str]) -> None:
    from grpc_health.v1 import health_pb2

    aquests.configure(trust_env=False)
    stub = aquests.grpc(server.url() + "/grpc.health.v1.Health")
    ask = health_pb2.HealthCheckRequest
    stub.Check(ask(service=SERVICE))
    report = aquests.fetchall()
    assert report.ok and report.versions == {"GRPC": 1}
    stub.Check(ask(service=SERVICE))
    stub.Check(ask(service="other"))
    report = aquests.fetchall()
    assert not report.ok and report.per_protocol["GRPC"]["status_codes"] == {200: 1, 500: 1}
    printed = capsys.readouterr().out
    assert "REQID 0. GRPC 200 OK " in printed and ". GRPC 500 NOT_FOUND " in printed


def test_statuses_and_details(server: GrpcServers) -> None:
    from google.rpc.error_details_pb2 import ErrorInfo
    from grpc_status.rpc_status import from_call

    stub = aquests.grpc(server.service())
    plain, rich, broken = fetched(
        stub.Fail(note(number=5, text="nöt\nfound %")),
        stub.Fail(note(number=9, text="not yet", blob=b"too early")),
        stub.Break(note(number=3)),
    )
    assert (plain.error.code(), plain.error.details()) == (Code.NOT_FOUND, "nöt\nfound %")
    assert isinstance(plain.error, grpc.RpcError) and plain.data is None
    info = ErrorInfo()
    assert rich.error.status.details[0].Unpack(info) and info.reason == "too early"
    assert from_call(rich.error) == rich.error.status
    assert broken.error.code() is Code.DATA_LOSS and [reply.number for reply in broken.data] == [0, 1, 2]
    with pytest.raises(grpc.RpcError):
        broken.raise_for_status()


def test_metadata_both_ways_is_what_grpcio_sees(server: GrpcServers) -> None:
    sent = [("x-a", "1"), ("x-a", "2"), ("x-raw-bin", b"\0\xff"), ("x-empty-bin", b"")]
    (answer,) = fetched(aquests.grpc(server.service(), metadata=sent[:1]).Tell(note(), metadata=sent[1:], timeout=100))
    initial, trailing = answer.metadata
    assert initial == tuple(sent) and trailing == tuple((f"t{key}", value) for key, value in sent)
    assert answer.headers.get_all("x-a") == ["1", "2"] and answer.trailers["grpc-status"] == "0"
    with grpc.insecure_channel(server.url().removeprefix("http://")) as channel:
        reply, call = Stub(channel).Tell.with_call(note(), metadata=sent, timeout=100)
        assert (call.initial_metadata(), call.trailing_metadata()) == (initial, trailing)
    told = json.loads(answer.data.text)
    assert told.pop("content-length") == "5" and told["user-agent"].startswith("aquests-grpc/")
    assert told.keys() == json.loads(reply.text).keys()
    assert {answer.data.number, reply.number} <= {99, 100, 101}, "the seconds that are left, rounded by the server"


def test_deadlines(server: GrpcServers) -> None:
    stub = aquests.grpc(server.service(), timeout=0.2)
    slow, quick = fetched(stub.Wait(note()), stub.Echo(note(text="q"), timeout=20))
    assert quick.data.text == "q"
    # Whose clock is first is not certain: the server says so in a status, ours by itself.
    assert isinstance(slow.error, TimedOut) or slow.error.code() is Code.DEADLINE_EXCEEDED
    assert 0.15 < slow.elapsed < 5


def test_our_own_clock() -> None:
    with ScriptedPeer([stall()]) as peer:
        (answer,) = fetched(aquests.grpc(f"{peer.url}{SERVICE}", timeout=0.05).Echo(note()))
    assert isinstance(answer.error, TimedOut) and answer.status_code == 702


def test_sizes(server: GrpcServers) -> None:
    blob = bytes(range(256)) * 12_000
    stub = aquests.grpc(server.service())
    small = aquests.grpc(server.service(), max_message=1000)
    whole, over, under, many = fetched(
        stub.Echo(note(blob=blob)),
        small.Echo(note(blob=blob[:1001])),
        small.Echo(note(blob=blob[:900])),
        stub.Sum(note(number=1, blob=blob[:100_000]) for _ in range(30)),
    )
    assert whole.data.blob == blob and under.data.blob == blob[:900]
    assert isinstance(over.error, TooLarge) and over.status_code == 719
    assert many.data.number == 30
    (refused,) = fetched(stub.Echo(note(blob=blob + blob)))
    assert refused.error.code() is Code.RESOURCE_EXHAUSTED, "grpcio's own limit of 4 MiB"


def test_a_unix_socket(server: GrpcServers) -> None:
    first = aquests.grpc(f"http+unix://{server.path.replace('/', '%2F')}/{SERVICE}").Echo({"text": "a"})
    second = aquests.grpc(f"http://localhost/{SERVICE}", unix=server.path).Echo({"text": "b"})
    assert [answer.data.text for answer in fetched(first, second)] == ["a", "b"]


def test_a_server_without_http2(certs: Certs, server: GrpcServers) -> None:
    with http_peer(lambda request: (200, [], b""), tls=certs.server_context(alpn=["http/1.1"])) as peer:
        url = f"https://localhost:{peer.port}/{SERVICE}"
        (answer,) = fetched(aquests.grpc(url, ca=certs.ca).Echo(note()))
    assert isinstance(answer.error, TlsError) and answer.status_code == 713
    assert str(answer.error) == f"the server does not offer HTTP/2 (ALPN: it chose http/1.1), localhost:{peer.port}"
    aquests.configure(callback=lambda response: None, force_http1=True)
    with pytest.raises(RequestError, match="force_http1"):
        aquests.grpc(server.service()).Echo(note())


def test_a_server_that_knows_nothing_of_http2(tmp_path: Path) -> None:
    with servers.nginx(tmp_path) as nginx:
        (answer,) = fetched(aquests.grpc(f"{nginx.url}/{SERVICE}").Echo(note()))
    assert isinstance(answer.error, ConnectionEnded) and "does not speak HTTP/2" in str(answer.error)


def test_an_http2_server_that_knows_nothing_of_grpc(tmp_path: Path) -> None:
    with servers.nghttpd(tmp_path) as nghttpd:
        (answer,) = fetched(aquests.grpc(f"{nghttpd.url}/{SERVICE}").Echo(note()))
    assert answer.error.code() is Code.UNIMPLEMENTED and answer.status_code == 404


def test_nobody_there_is_told_to_all_who_wait_for_reflection(server: GrpcServers) -> None:
    from tests.peers import refused_port

    with refused_port() as port:
        stub = aquests.grpc(f"http://127.0.0.1:{port}/{SERVICE}")
        answers = fetched(*[stub.Echo({"text": "a"}) for _ in range(3)])
    assert [answer.status_code for answer in answers] == [714] * 3
    assert len({id(answer.error) for answer in answers}) == 3


def test_500_calls_over_5_lines_mixed_with_plain_gets(server: GrpcServers) -> None:
    counted: Counter[str] = Counter()
    seen: dict[int, int] = Counter()

    def on_answer(response: Any) -> None:
        seen[response.meta["req_id"]] += 1
        if response.meta["req_method"] == "get":
            assert response.version == "2.0"
            counted["get"] += response.status_code != 200
        elif response.error is None and response.data:
            first = response.data[0] if isinstance(response.data, list) else response.data
            counted[response.meta["what"]] += first.text == response.meta["text"]

    aquests.configure(5, callback=on_answer, http2_constreams=10)
    stub = aquests.grpc(server.service())
    for number in range(500):
        text = f"N{number}"
        what = ("Echo", "Count", "Chat", "Tell")[number % 4]
        message = {"text": text, "number": 2}
        meta = {"what": what, "text": text if what != "Tell" else ""}
        if what == "Tell":
            aquests.get(server.url() + "/", headers={"te": "trailers"}, h2c="prior")
        else:
            getattr(stub, what)([message, message] if what == "Chat" else message, meta=meta)
    report = aquests.fetchall()
    assert counted == {"Echo": 125, "Count": 125, "Chat": 125, "get": 125}
    assert sorted(seen) == list(range(500)) and set(seen.values()) == {1}
    figures: dict[str, Any] = report.as_dict()
    assert report.tasks == 500 and figures["max_connections"] == figures["connections"] == 5


# --- generated stubs -----------------------------------------------------------------------------------------


def test_a_generated_stub_works_unchanged(server: GrpcServers) -> None:
    with aquests.grpc_channel(server.url("none")) as channel:
        stub = Stub(channel)
        assert stub.Echo(note(text="a")).text == "a"
        assert [reply.number for reply in stub.Count(note(number=3))] == [0, 1, 2]
        assert stub.Sum(iter([note(number=1), note(number=2)])).number == 3
        assert [reply.text for reply in stub.Chat(iter([note(text="a"), note(text="b")]))] == ["A", "B"]
        futures = [stub.Echo.future(note(number=number)) for number in range(50)]
        assert [future.result().number for future in futures] == list(range(50))
        with pytest.raises(grpc.RpcError) as raised:
            stub.Fail(note(number=5, text="no"))
        error: Any = raised.value
        assert (error.code(), error.details()) == (Code.NOT_FOUND, "no")


def test_a_generated_stub_over_tls_with_metadata_and_gzip(server: GrpcServers) -> None:
    with aquests.grpc_channel(server.url("tls"), ca=server.ca, metadata={"x-a": "1"}) as channel:
        reply, call = Stub(channel).Tell.with_call(
            note(text="x" * 2000), metadata=[("x-b-bin", b"\1")], timeout=50, compression=grpc.Compression.Gzip
        )
        assert call.code() is Code.OK and call.details() == ""
        assert call.initial_metadata() == (("x-a", "1"), ("x-b-bin", b"\1"))
        assert call.trailing_metadata()[0].key == "tx-a" and reply.number == 50
        assert json.loads(reply.text)["x-a"] == "1"


def test_health_with_its_generated_stub(server: GrpcServers) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with aquests.grpc_channel(server.url()) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError):
            stub.Check(health_pb2.HealthCheckRequest(service="other"))


# Dicts instead of messages: what is in them is what is sent


@pytest.mark.parametrize("blob", [b"\xff\x00abc", b"abcd", bytearray(b"hello!!!"), b"", memoryview(b"xyz1")])
def test_bytes_are_sent_as_they_are(server: GrpcServers, blob: Any) -> None:
    """protobuf's JSON reader takes them for base64, and silently sends something else."""
    request = aquests.grpc(server.service()).Echo({"blob": blob})
    aquests.fetchall()
    assert request.response is not None and request.response.error is None
    assert request.response.data.blob == bytes(blob)


@pytest.mark.parametrize(
    ("text", "blob"), [("aGVsbG8=", b"hello"), ("aGVsbG8", b"hello"), ("+/8=", b"\xfb\xff"), ("-_8=", b"\xfb\xff")]
)
def test_text_is_base64_as_json_has_it(server: GrpcServers, text: str, blob: bytes) -> None:
    """Of either alphabet, padded or not."""
    request = aquests.grpc(server.service()).Echo({"blob": text})
    aquests.fetchall()
    assert request.response is not None and request.response.data.blob == blob


def test_what_does_not_fit_is_said_in_one_line(server: GrpcServers) -> None:
    request = aquests.grpc(server.service()).Echo({"txt": "a"})
    with pytest.raises(RequestError) as raised:
        aquests.fetchall()
        assert request.response is not None
        request.response.raise_for_status()
    assert "no field named" in str(raised.value) and "\n" not in str(raised.value)


def test_a_class_is_no_message(server: GrpcServers) -> None:
    stub = aquests.grpc(server.service())
    first = stub.Echo({})
    aquests.fetchall()
    assert first.response is not None
    with pytest.raises(RequestError, match="takes a message, not its class"):
        stub.Echo(type(first.response.data))


def test_fields_go_in_a_dict(server: GrpcServers) -> None:
    with pytest.raises(TypeError, match=r"'text'; fields of the message go in a dict: Echo\({…}\)"):
        aquests.grpc(server.service()).Echo(text="a")


def test_a_service_that_is_not_there(server: GrpcServers) -> None:
    request = aquests.grpc(server.service().rpartition("/")[0] + "/no.Such").Do({})
    aquests.fetchall()
    assert request.response is not None and "the server does not have it" in str(request.response.error)
