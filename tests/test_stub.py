"""What all stubs share: options said once, dotted names, and requests that carry both."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from aquests.engine import Engine
from aquests.errors import RequestError
from aquests.exchange import Request, Response
from aquests.script import script
from aquests.stub import COMMON, Dotted, Stub, whole
from tests.peers import http_peer


def nothing(response: Response) -> None:
    """A callback."""


def ask(stub: Stub, port: int = 1) -> Request:
    place = stub._place("http", "127.0.0.1", port)
    return stub._ask("GET", f"http://127.0.0.1:{port}/", None, place, "mine")


def test_options_hold_for_every_call_and_meta_is_copied() -> None:
    seen: list[Response] = []
    with http_peer(lambda request: (200, [], b"hello")) as peer:
        stub = Stub({"callback": seen.append, "meta": {"job": 1}, "timeout": 3.0})
        first, second = ask(stub, peer.port), ask(stub, peer.port)
        script.engine.run()
        script.engine.hang_up()
    assert [response.content for response in seen] == [b"hello", b"hello"]
    assert first.response is not None and second.response is not None
    first.response.meta["job"] = 2
    assert second.response.meta["job"] == 1
    assert second.response.meta["req_method"] == "mine"
    assert second.options == {"timeout": 3.0}
    assert second.response.request.patience == 3.0


def test_options_of_the_line_tell_places_apart() -> None:
    plain, other = Stub({}), Stub({"verify": False, "timeout": 1})
    assert plain._place("http", "h", 1) is Stub({"timeout": 5})._place("http", "h", 1)
    assert plain._place("http", "h", 1) is not other._place("http", "h", 1)
    assert plain._place("http", "h", 1) is not plain._place("http", "h", 1, db=1)
    assert other._place("http", "h", 1, db=1).options == {"verify": False, "db": 1}


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"timout": 1}, TypeError, "did you mean 'timeout'"),
        ({"cookie": 1}, TypeError, "unexpected keyword argument 'cookie'"),
        ({"timeout": 0}, RequestError, "timeout must be"),
        ({"callback": 1}, RequestError, "callback must be callable"),
        ({"meta": 1}, RequestError, "meta must be a mapping"),
        ({"proxy": "ftp://x"}, RequestError, "proxy"),
    ],
)
def test_what_cannot_be_is_refused_where_the_stub_is_made(options: dict[str, Any], kind: type, says: str) -> None:
    with pytest.raises(kind, match=says):
        Stub(options)


def test_a_protocol_may_know_more() -> None:
    assert Stub({"pipeline": 3}, COMMON | {"pipeline"})._options == {"pipeline": 3}


@pytest.mark.parametrize(("value", "is_"), [(1, 1), (9, 9), ("7", 7)])
def test_whole_numbers(value: Any, is_: int) -> None:
    assert whole("depth", value, 1, 9) == is_


@pytest.mark.parametrize("value", [0, 10, "0", "x", "", "-1", "٣", True, 1.0, None, [1]])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(RequestError, match="depth must be a whole number from 1 to 9, not "):
        whole("depth", value, 1, 9)


def test_options_of_a_call_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "submit", lambda engine, request: request)
    stub = Stub({"callback": nothing, "meta": {"a": 1, "b": 1}, "timeout": 3.0})
    place = stub._place("http", "127.0.0.1", 1)
    own = {"meta": {"b": 2}, "deadline": 5.0}
    request = stub._ask("GET", "http://127.0.0.1:1/", None, place, "mine", None, own)
    plain = stub._ask("GET", "http://127.0.0.1:1/", None, place, "mine")
    assert request.options == {"timeout": 3.0, "deadline": 5.0} and request.callback is nothing
    assert (request.meta["a"], request.meta["b"]) == (1, 2)
    assert plain.options == {"timeout": 3.0} and plain.meta["b"] == 1
    with pytest.raises(TypeError, match="verify"):
        stub._ask("GET", "http://127.0.0.1:1/", None, place, "mine", None, {"verify": False})


def test_dotted_names() -> None:
    calls: list[Any] = []
    request = Request("POST", "http://h/")

    def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        calls.append((name, args, kwargs))
        return request

    dotted = Dotted(call, "system")
    assert dotted.listMethods(1, a=2) is request
    assert dotted("x") is request
    assert calls == [("system.listMethods", (1,), {"a": 2}), ("system", ("x",), {})]
    assert repr(dotted.a.b) == "<method system.a.b>"
    assert copy.copy(dotted)._name == "system"
    with pytest.raises(AttributeError):
        dotted._private  # noqa: B018
