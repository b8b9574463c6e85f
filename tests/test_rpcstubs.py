"""``rpc()`` and ``jsonrpc()`` from the stub to the callback: the standard library's server, and scripted ones."""

from __future__ import annotations

import copy
import datetime
import gzip
import json
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import pytest

import aquests
from aquests.errors import JsonRpcError, ProtocolError, RedirectError, RequestError, TooLarge
from aquests.exchange import Response
from aquests.script import script
from tests.peers import Answer, HttpPeer, Request, http_peer, refused_port

Url = str


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    aquests.configure(callback=lambda response: None, trust_env=False)
    yield
    aquests.configure()


def answered(*requests: Any) -> list[Response]:
    aquests.fetchall()
    assert all(request.response is not None for request in requests)
    return [request.response for request in requests]


# XML-RPC


@pytest.fixture(scope="module")
def server() -> Iterator[Url]:
    """``xmlrpc.server`` with keep-alive, at /RPC2; root gives 404."""

    class Handler(SimpleXMLRPCRequestHandler):
        protocol_version = "HTTP/1.1"
        rpc_paths = ("/RPC2", "/other")

    def fail() -> None:
        raise xmlrpc.client.Fault(42, "too hot")

    with SimpleXMLRPCServer(("127.0.0.1", 0), Handler, False, allow_none=True, use_builtin_types=True) as server:
        server.daemon_threads = True  # type: ignore[attr-defined]
        server.register_introspection_functions()
        server.register_function(lambda *args: list(args), "echo")
        server.register_function(lambda *args: [type(arg).__name__ for arg in args], "deep.er.types")
        server.register_function(fail)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        script.engine.hang_up()
        server.shutdown()
        thread.join()


def test_calls_and_values(server: Url) -> None:
    stub = aquests.rpc(server)
    values = [1, 2.5, "é\n<&>", b"\0\1", None, True, [1, {"a": [{}]}], datetime.datetime(2020, 1, 2, 3, 4, 5)]
    methods, echo, types = answered(stub.system.listMethods(), stub.echo(*values), stub.deep.er.types(b"", {}, 1.0))
    assert "deep.er.types" in methods.data and methods.data is methods.data
    assert echo.data == values
    assert types.data == ["bytes", "dict", "float"]
    assert (echo.status_code, echo.ok, echo.error, echo.lane) == (200, True, None, "XML-RPC")
    assert (echo.reason, echo.version) == ("OK", "1.1")
    assert echo.content.startswith(b"<?xml") and echo.url == server + "/RPC2"
    assert echo.meta["req_method"] == "rpc"


def test_a_fault_is_an_answer(server: Url) -> None:
    fault, missing = answered(aquests.rpc(server).fail(), aquests.rpc(server).nobody.home())
    assert isinstance(fault.error, xmlrpc.client.Fault)
    assert (fault.error.faultCode, fault.error.faultString) == (42, "too hot")
    assert (fault.status_code, fault.reason, fault.ok, fault.data) == (500, "Fault", False, None)
    assert missing.error.faultCode == 1
    with pytest.raises(xmlrpc.client.Fault):
        fault.raise_for_status()


def test_another_status_is_no_value(server: Url) -> None:
    (response,) = answered(aquests.rpc(server + "/nowhere").echo(1))
    assert isinstance(response.error, xmlrpc.client.ProtocolError)
    assert (response.status_code, response.error.errcode, response.ok) == (404, 404, False)


@pytest.mark.parametrize(
    ("url", "path"),
    [("http://h", "/RPC2"), ("http://h:81", "/RPC2"), ("http://h/", "/"), ("http://h/x", "/x"), ("http://h?a", "/?a")],
)
def test_a_url_without_a_path(url: Url, path: str) -> None:
    stub = aquests.rpc(url)
    assert stub._url.partition("//")[2].partition("/")[2] == path[1:]
    theirs: Any = vars(xmlrpc.client.ServerProxy(url))["_ServerProxy__handler"]
    assert theirs in (path, path.removeprefix("/"))


def test_lines_are_shared_with_plain_requests() -> None:
    def answer(request: Request) -> Answer:
        if request.method == "GET":
            return 200, [], b"page"
        return 200, [("Content-Type", "text/xml")], xmlrpc.client.dumps((7,), methodresponse=True).encode()

    with http_peer(answer) as peer:
        stub = aquests.rpc(peer.url + "RPC2", headers={"X-Mine": "yes"})
        seven, page, again = answered(stub.a(), aquests.get(peer.url), stub.b())
        assert (seven.data, page.content, again.data, peer.connections) == (7, b"page", 7, 1)
        sent = peer.requests[0]
        assert (sent.method, sent.target, sent.header("content-type")) == ("POST", "/RPC2", "text/xml")
        assert sent.header("x-mine") == "yes" and "text/xml" in (sent.header("accept") or "")
        assert xmlrpc.client.loads(sent.body) == ((), "a")
        script.engine.hang_up()


def xml(value: Any) -> Answer:
    return 200, [("Content-Type", "text/xml")], xmlrpc.client.dumps((value,), methodresponse=True).encode()


@contextmanager
def peer_of(answer: Callable[[Request], Answer]) -> Iterator[HttpPeer]:
    with http_peer(answer) as peer:
        yield peer
        script.engine.hang_up()


def test_options_hold_for_every_call() -> None:
    seen: list[Response] = []
    with peer_of(lambda request: xml(1)) as peer:
        stub = aquests.rpc(peer.url, ("user", "word"), None, seen.append, {"job": 1}, timeout=3, max_content=1000)
        first, second = answered(stub.a(), stub.b())
        assert seen == [first, second]
        first.meta["job"] = 2
        assert second.meta["job"] == 1 and second.request.patience == 3


def test_a_stub_goes_on_after_configure() -> None:
    with peer_of(lambda request: xml(1)) as peer:
        stub = aquests.rpc(peer.url)
        assert answered(stub.a())[0].data == 1
        aquests.configure(3, callback=lambda response: None)
        assert answered(stub.a())[0].data == 1


@pytest.mark.parametrize(("kind", "lane"), [(aquests.rpc, "XML-RPC"), (aquests.jsonrpc, "JSON-RPC")])
def test_a_call_that_was_not_answered_counts_in_its_own_row(kind: Any, lane: str) -> None:
    with refused_port() as port:
        (response,) = answered(kind(f"http://127.0.0.1:{port}/").a())
    assert (response.status_code, response.lane) == (714, lane)
    assert aquests.result is not None and list(aquests.result.per_protocol) == [lane]


def test_authentication_and_compression() -> None:
    def answer(request: Request) -> Answer:
        if request.header("authorization") != "Basic dXNlcjp3b3Jk":
            return 401, [("WWW-Authenticate", 'Basic realm="x"')], b""
        status, headers, body = xml([1] * 1000)
        assert isinstance(body, bytes)
        return status, [*headers, ("Content-Encoding", "gzip")], gzip.compress(body)

    with peer_of(answer) as peer:
        stub = aquests.rpc(peer.url.replace("//", "//user:word@"))
        assert "word" not in repr(stub) and "user" not in repr(stub)
        first, second = answered(stub.a(), stub.b())
        assert first.data == second.data == [1] * 1000
        assert len(peer.requests) == 3, "credentials are sent ahead the second time"
        assert "word" not in first.url


@pytest.mark.parametrize(("status", "code"), [(307, 200), (308, 200), (301, 711), (302, 711), (303, 711)])
@pytest.mark.parametrize("kind", [aquests.rpc, aquests.jsonrpc])
def test_redirects_only_with_the_body(kind: Any, status: int, code: int) -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/old":
            return status, [("Location", "/new")], b""
        assert request.method == "POST"
        if kind is aquests.rpc:
            return xml("here")
        return 200, [], json.dumps({"id": json.loads(request.body)["id"], "result": "here"}).encode()

    with peer_of(answer) as peer:
        (response,) = answered(kind(peer.url + "old").a())
        assert (response.status_code, response.data) == (code, "here" if code == 200 else None)
        assert (code == 200) or isinstance(response.error, RedirectError)


def test_limits_come_first() -> None:
    with peer_of(lambda request: xml("x" * 10_000)) as peer:
        (response,) = answered(aquests.rpc(peer.url, max_content=1000).a())
        assert isinstance(response.error, TooLarge) and response.data is None


def test_a_bomb_is_malformed() -> None:
    bomb = b"<!DOCTYPE a [<!ENTITY b 'c'>]><methodResponse/>"
    with peer_of(lambda request: (200, [], bomb)) as peer:
        (response,) = answered(aquests.rpc(peer.url).a())
        assert isinstance(response.error, ProtocolError) and response.status_code == 715
        assert str(response.error).endswith(f", 127.0.0.1:{peer.port}")


def count(request: Request) -> Answer:
    """XML-RPC at /x, JSON-RPC at /j; a page at /, and at /404 none. The method ``no`` is refused."""
    if request.path == "/x":
        if b"<methodName>no<" in request.body:
            return 200, [], xmlrpc.client.dumps(xmlrpc.client.Fault(1, "no"), methodresponse=True).encode()
        return xml(7) if b"<methodName>yes<" in request.body else (200, [], b"<")
    if request.path == "/j":
        call = json.loads(request.body)
        said = {"error": {"code": 1, "message": "no"}} if call["method"] == "no" else {"result": 7}
        return 200, [], json.dumps({"id": call["id"]} | said).encode()
    return (404, [], b"") if request.path == "/404" else (200, [], b"page")


def test_reports_count_calls_in_rows_of_their_own() -> None:
    with peer_of(count) as peer:
        stub, other = aquests.rpc(peer.url + "x"), aquests.jsonrpc(peer.url + "j")
        for _ in range(3):
            stub.yes()
            other.yes()
        aquests.get(peer.url)
        good = aquests.fetchall()
        assert good.ok and good.versions == {"XML-RPC": 3, "JSON-RPC": 3, "HTTP/1.1": 1}
        stub.yes(), stub.no(), stub.odd(), aquests.rpc(peer.url + "404").yes(), other.no(), aquests.get(peer.url)
        bad = aquests.fetchall()
        assert not bad.ok, "commands end with 1"
        rows = {name: (row["status_codes"], row["errors"]) for name, row in bad.per_protocol.items()}
        assert rows == {
            "XML-RPC": ({200: 1, 404: 1, 500: 1}, {"715 Malformed Answer": 1}),
            "JSON-RPC": ({500: 1}, {}),
            "HTTP/1.1": ({200: 1}, {}),
        }
        assert "XML-RPC" in str(bad) and "JSON-RPC" in str(bad)


@pytest.mark.parametrize("refusal", ["x", "j"])
def test_a_refusal_alone_makes_a_report_bad(refusal: str) -> None:
    with peer_of(count) as peer:
        (aquests.rpc if refusal == "x" else aquests.jsonrpc)(peer.url + refusal).no()
        report = aquests.fetchall()
        assert (report.ok, report.status_codes, report.errors) == (False, {500: 1}, {})


def test_the_line_printed_for_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    aquests.configure(trust_env=False)
    with peer_of(count) as peer:
        stub, other = aquests.rpc(peer.url + "x"), aquests.jsonrpc(peer.url + "j")
        responses = answered(stub.yes(), stub.no(), other.yes(), other.no())
    assert capsys.readouterr().out.splitlines() == [
        f"REQID 0. XML-RPC 200 OK {len(responses[0].content)} bytes received",
        f"REQID 1. XML-RPC 500 Fault ({responses[1].error})",
        f"REQID 2. JSON-RPC 200 OK {len(responses[2].content)} bytes received",
        f"REQID 3. JSON-RPC 500 Error ({responses[3].error})",
    ]


def test_positional_arguments_only() -> None:
    with pytest.raises(TypeError, match=r"add\(\) got 'a' by name"):
        aquests.rpc("http://h/").add(a=1)


# JSON-RPC


class Methods(SimpleXMLRPCDispatcher):
    """The standard library's dispatcher, spoken to by JSON: an implementation that knows nothing of ours."""

    def __init__(self) -> None:
        super().__init__(allow_none=True)
        self.register_function(lambda *args: list(args), "echo")
        self.register_function(lambda **names: names, "named")
        self.heard: list[dict[str, Any]] = []

    def answer(self, request: Request) -> Answer:
        call = json.loads(request.body)
        self.heard.append(call)
        assert call["jsonrpc"] == "2.0" and request.header("content-type") == "application/json"
        if "id" not in call:
            return 204, [], b""
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        params = call.get("params", [])
        function: Any = self.funcs.get(call["method"])
        if function is None:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        else:
            answer["result"] = function(**params) if isinstance(params, dict) else function(*params)
        return 200, [("Content-Type", "application/json-rpc")], json.dumps(answer).encode()


def test_json_calls() -> None:
    methods = Methods()
    with peer_of(methods.answer) as peer:
        stub = aquests.jsonrpc(peer.url, meta={"job": 1})
        values = [1, 2**70, 2.5, "é", None, True, [[]], {"a": {"b": 1}}]
        echo, named, nothing, missing = answered(
            stub.echo(*values), stub.named(a=1, b=[2]), stub.echo(), stub.no.such.method(1)
        )
        assert (echo.data, named.data, nothing.data) == (values, {"a": 1, "b": [2]}, [])
        assert isinstance(missing.error, JsonRpcError) and missing.error.code == -32601
        assert (missing.status_code, missing.reason, missing.ok, missing.data) == (500, "Error", False, None)
        assert [call["method"] for call in methods.heard] == ["echo", "named", "echo", "no.such.method"]
        assert len({call["id"] for call in methods.heard}) == 4
        assert echo.meta["job"] == 1 and echo.meta["req_method"] == "jsonrpc"
        assert echo.json()["result"] == values


def test_notifications() -> None:
    methods = Methods()
    with peer_of(methods.answer) as peer:
        stub = aquests.jsonrpc(peer.url)
        note, call = answered(stub._notify.log.line("text"), stub.echo(1))
        assert (note.status_code, note.ok, note.data, note.error) == (204, True, None, None)
        assert methods.heard[0] == {"jsonrpc": "2.0", "method": "log.line", "params": ["text"]}
        assert call.data == [1]


def test_a_method_is_a_call_here_and_a_notification_there() -> None:
    methods = Methods()
    with peer_of(methods.answer) as peer:
        stub = aquests.jsonrpc(peer.url)
        asked = answered(stub.echo(1), stub._notify.echo(2), stub.echo(3), stub._notify._notify.echo(4))
        assert [response.data for response in asked] == [[1], None, [3], None]
        assert ["id" in call for call in methods.heard] == [True, False, True, False]
        assert stub.echo is stub.echo is not stub._notify.echo


def test_an_answer_to_another_call_is_refused() -> None:
    with peer_of(lambda request: (200, [], b'{"jsonrpc": "2.0", "id": -1, "result": "stolen"}')) as peer:
        (response,) = answered(aquests.jsonrpc(peer.url).secret())
        assert isinstance(response.error, ProtocolError) and (response.status_code, response.data) == (715, None)


def test_pages_are_http_answers() -> None:
    with peer_of(lambda request: (502, [], b"<html>")) as peer:
        (response,) = answered(aquests.jsonrpc(peer.url).a())
        assert (response.status_code, response.ok, response.data, response.error) == (502, False, None, None)


def test_one_kind_of_parameters() -> None:
    with pytest.raises(TypeError, match=r"add\(\) got positional and named parameters"):
        aquests.jsonrpc("http://h/").add(1, b=2)


# Both


@pytest.mark.parametrize("kind", [aquests.rpc, aquests.jsonrpc])
def test_what_cannot_be_is_refused_where_it_is_written(kind: Any) -> None:
    before = (script.engine.counted, script.engine.queue.size)
    with pytest.raises(RequestError, match="ftp"):
        kind("ftp://h/")
    with pytest.raises(RequestError):
        kind(7)
    with pytest.raises(RequestError, match="header X"):
        kind("http://h/", headers={"X": "a\nb"})
    with pytest.raises(RequestError, match="auth"):
        kind("http://h/", 7)
    with pytest.raises(RequestError, match="meta must be a mapping"):
        kind("http://h/", meta=7)
    with pytest.raises(RequestError, match="callback must be callable"):
        kind("http://h/", callback=7)
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        kind("http://h/", timout=7)
    with pytest.raises(RequestError, match="method"):
        kind("http://h/").method(object())
    assert (script.engine.counted, script.engine.queue.size) == before


@pytest.mark.parametrize("kind", [aquests.rpc, aquests.jsonrpc])
def test_stubs_are_ordinary_objects(kind: Any) -> None:
    stub = kind("http://user:word@h/path")
    assert repr(stub).endswith("http://h/path>")
    assert repr(stub.a.b) == "<method a.b>"
    assert copy.copy(stub)._url == stub._url
    with pytest.raises(AttributeError):
        stub._private  # noqa: B018
