"""JSON-RPC 2.0: calls, notifications, and which answer belongs to which call."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import AquestsError, JsonRpcError, ProtocolError, RedirectError, RequestError
from aquests.protocols.http1head import Head
from aquests.protocols.jsonrpc import JsonRpc, encode


def test_calls() -> None:
    body, codec = encode("subtract", (42, 23))
    assert json.loads(body) == {"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": codec.number}
    body, codec = encode("subtract", {"minuend": 42, "é": None})
    assert json.loads(body)["params"] == {"minuend": 42, "é": None}
    assert "é".encode() in body and b" " not in body
    body, codec = encode("ping", ())
    assert json.loads(body) == {"jsonrpc": "2.0", "method": "ping", "id": codec.number}
    body, codec = encode("log", ("x",), notify=True)
    assert json.loads(body) == {"jsonrpc": "2.0", "method": "log", "params": ["x"]} and codec.number is None


@pytest.mark.parametrize("notify", [False, True])
@pytest.mark.parametrize("params", [(), {}, (1, 'é\\n"', None, [True]), {"a": {"b": 1.5}, "": "\u2028"}])
@pytest.mark.parametrize("method", ["m", 'a."b"\\', "é.\n", "😀"])
def test_a_call_is_what_json_says(method: str, params: Any, notify: bool) -> None:
    body, codec = encode(method, params, notify=notify)
    call = {"jsonrpc": "2.0", "method": method, "params": params, "id": codec.number}
    kept = {name: value for name, value in call.items() if value or name in ("jsonrpc", "method")}
    assert body == json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
    with pytest.raises(RequestError, match="cannot be sent as JSON"):
        encode(method + "\ud800", params, notify=notify)


def test_every_call_has_an_id_of_its_own() -> None:
    assert len({encode("m", ())[1].number for _ in range(1000)}) == 1000


ring: list[Any] = []
ring.append(ring)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", float("nan"), float("inf"), "\ud800", ring, {(1, 2): 3}])
def test_what_cannot_be_sent(value: Any) -> None:
    with pytest.raises(RequestError, match="m: the parameters cannot be sent as JSON"):
        encode("m", [value])


def decoded(body: bytes | str | dict[str, Any] | list[Any], status: int = 200, number: int | None = 7) -> Any:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    x = SimpleNamespace(
        head=Head(status, "Reason", "1.1", ()),
        body=raw,
        data=None,
        error=None,
        endpoint=SimpleNamespace(label="h:80"),
    )
    JsonRpc(number).decode(x)  # type: ignore[arg-type]
    return x


@pytest.mark.parametrize("result", [None, 0, False, "", [], {}, 1.5, "é", {"a": [1, None]}])
def test_results(result: Any) -> None:
    x = decoded({"jsonrpc": "2.0", "result": result, "id": 7})
    assert (x.data, x.error) == (result, None)
    assert (x.head.status, x.head.reason, x.head.lane, x.head.version) == (200, "Reason", "JSON-RPC", "1.1")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_any_encoding_of_json_is_read(codec: str) -> None:
    x = decoded(json.dumps({"result": "é€😀", "id": 7}, ensure_ascii=False).encode(codec))
    assert (x.data, x.error) == ("é€😀", None)
    assert decoded(b'{"result": "\xed\xa0\x80", "id": 7}').data == "\ud800", "as the standard library has it"


def test_the_head_of_good_answers_is_shared() -> None:
    head = Head(200, "OK", "1.1", ())
    said = [JsonRpc(number) for number in (1, 2, 3)]
    found = []
    for codec, key in zip(said, ("result", "error", "result"), strict=True):
        value = {"code": 1, "message": "no"} if key == "error" else 1
        body = json.dumps({key: value, "id": codec.number}).encode()
        x = SimpleNamespace(head=head, body=body, data=None, error=None, endpoint=SimpleNamespace(label="h:80"))
        codec.decode(x)  # type: ignore[arg-type]
        found.append(x.head)
    assert found[0] is found[2] and (found[0].status, found[1].status, found[1].reason) == (200, 500, "Error")


def test_what_older_servers_say() -> None:
    assert decoded({"result": 1, "error": None, "id": 7}).data == 1
    x = decoded({"result": None, "error": {"code": -1, "message": "no"}, "id": 7}, 500)
    assert (type(x.error), x.error.code) == (JsonRpcError, -1)
    x = decoded({"result": None, "error": "no", "id": 7})
    assert (x.error.code, x.error.message, x.error.data) == (0, "no", "no")


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize("number", [7, None])
def test_errors_are_answers(status: int, number: int | None) -> None:
    said = {"code": -32601, "message": "Method not found", "data": {"hint": 1}}
    x = decoded({"jsonrpc": "2.0", "error": said, "id": number}, status)
    error = x.error
    assert isinstance(error, JsonRpcError) and not isinstance(error, AquestsError)
    assert (error.code, error.message, error.data) == (-32601, "Method not found", {"hint": 1})
    assert str(error) == "Method not found (-32601)" and x.data is None
    assert (x.head.status, x.head.reason, x.head.lane) == (500, "Error", "JSON-RPC"), "whatever HTTP says"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not a JSON-RPC answer"),
        (b"<html>", "not a JSON-RPC answer"),
        (b"\xff\xfe\xff", "not a JSON-RPC answer"),
        (b"[" * 100_000, "not a JSON-RPC answer"),
        (b'{"id": 7, "result": ' + b"9" * 5000 + b"}", "not a JSON-RPC answer"),
        ([{"id": 7, "result": 1}], "must be an object"),
        ("7", "must be an object"),
        ({"id": 8, "result": 1}, "has the id 8, the call had 7"),
        ({"id": "7", "result": 1}, "has the id '7'"),
        ({"id": None, "result": 1}, "has the id None"),
        ({"result": 1}, "has the id None"),
        ({"id": [7], "result": 1}, "has the id"),
        ({"id": 8, "error": {"code": 1, "message": "x"}}, "has the id 8"),
        ({"id": 7}, "neither result nor error"),
        ({"id": 7, "error": {}}, "without code and message"),
        ({"id": 7, "error": {"code": "x", "message": "y"}}, "without code and message"),
        ({"id": 7, "error": {"code": 1}}, "without code and message"),
    ],
)
def test_what_is_no_answer(body: Any, says: str) -> None:
    x = decoded(body)
    assert isinstance(x.error, ProtocolError) and says in str(x.error) and x.error.endpoint == "h:80"
    assert x.data is None


def test_true_is_not_one() -> None:
    assert isinstance(decoded({"id": True, "result": 1}, number=1).error, ProtocolError)


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_a_page_is_an_http_answer(status: int) -> None:
    x = decoded(b"<html>Bad Gateway</html>", status)
    assert (x.data, x.error) == (None, None)


@pytest.mark.parametrize("status", [300, 302, 304, 307])
def test_a_redirect_is_no_result(status: int) -> None:
    for number in (7, None):
        x = decoded(b"", status, number)
        assert isinstance(x.error, RedirectError) and x.error.code == 711


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b" \r\n"),
        (202, b""),
        (204, b""),
        (200, b'{"id": null, "result": 1}'),
        (500, b"oops"),
        (404, b""),
    ],
)
def test_notifications_need_no_answer(status: int, body: bytes) -> None:
    x = decoded(body, status, None)
    assert (x.data, x.error) == (None, None)


def test_notifications_may_be_refused() -> None:
    error = decoded(
        {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": None}, 200, None
    ).error
    assert isinstance(error, JsonRpcError) and error.code == -32700
    assert isinstance(decoded(b"<html>", 200, None).error, ProtocolError)


parts = st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=3)
loose = st.dictionaries(
    st.sampled_from(["jsonrpc", "id", "result", "error", "x"]),
    parts | st.lists(parts, max_size=2) | st.dictionaries(st.sampled_from(["code", "message", "data"]), parts),
)


@given(st.binary(max_size=50) | st.text(max_size=50) | loose | st.lists(loose, max_size=2), st.sampled_from([7, None]))
def test_anything_is_a_result_or_a_typed_error(body: Any, number: int | None) -> None:
    x = decoded(body, number=number)
    assert x.error is None or isinstance(x.error, (JsonRpcError, ProtocolError))
    assert x.error is None or x.data is None
