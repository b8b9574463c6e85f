"""What the stubs of SQL share: how statements are checked, copied and queued."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest

import aquests
from aquests.errors import RequestError
from aquests.script import script
from aquests.sqlstub import Sql
from aquests.stub import PER_CALL
from tests.face import own_engine


class Plain(Sql):
    """A stub whose statements are what is not empty, and which notes when it looks for its place."""

    looks = 0

    def _check(self, sql: Any) -> None:
        if not sql:
            raise RequestError("empty")

    def _find(self) -> None:
        self.looks += 1
        self._found_in = script.engine.endpoints

    def _target(self, payload: Any) -> Any:
        return self._place("sqlite", "", 0, "/nowhere"), "sqlite:///nowhere", "plain"


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine():
        yield


def stub(**options: Any) -> Plain:
    return Plain(options, PER_CALL)


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        (None, None),
        ((), ()),
        ([1, 2], (1, 2)),
        ((1, [2]), (1, [2])),
        (range(2), (0, 1)),
        ({"a": 1}, {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
    ],
)
def test_params(params: Any, kept: Any):
    assert stub().execute("A", params).payload == ("A", kept)
    assert stub().execute([("A", params), "B"]).payload == [("A", kept), ("B", None)]


@pytest.mark.parametrize("params", [5, "ab", b"ab", bytearray(b"a"), memoryview(b"a"), {1}, iter([1]), object()])
def test_params_that_are_none(params: Any):
    for call in (lambda: stub().execute("A", params), lambda: stub().execute([("A", params)])):
        with pytest.raises(RequestError, match="params must be a sequence or a mapping, not"):
            call()


def test_a_tuple_is_no_list_of_statements():
    with pytest.raises(RequestError, match="empty"):
        stub().execute(())
    assert stub().execute(("A", "B")).payload == (("A", "B"), None), "what it is, its own check says"


@pytest.mark.parametrize("item", [(), ("A", None, "B")])
def test_what_is_no_item_of_a_list(item: Any):
    with pytest.raises(RequestError, match="an item of the list is a statement or"):
        stub().execute(["A", item])
    assert stub().execute(["A", ("B",)]).payload == [("A", None), ("B", None)]


def test_the_request_of_a_call():
    made = stub(callback=print, meta={"a": 1}, timeout=3, deadline=9)
    request = made.do("A")
    assert (request.method, request.kind, request.url) == ("execute", "plain", "sqlite:///nowhere")
    assert request.callback is print and request.options == {"timeout": 3, "deadline": 9} and request.req_id == 0
    assert request.meta == {"a": 1, "req_id": 0, "req_method": "plain"}
    request = made.execute("A", timeout=1, meta={"b": 2}, callback=repr)
    assert request.callback is repr and request.options == {"timeout": 1, "deadline": 9}
    assert request.meta == {"a": 1, "b": 2, "req_id": 1, "req_method": "plain"}
    request = stub().execute("A", meta={"b": 2})
    assert request.meta["b"] == 2 and stub().execute("A").options is None


def test_the_place_is_looked_for_once_an_engine():
    made = stub()
    made.execute("A")
    made.execute("A")
    assert made.looks == 1
    script.made = None
    made.execute("A")
    assert made.looks == 2 and aquests.qsize() == 1


def test_the_base_alone_is_no_stub():
    base = Sql({}, PER_CALL)
    for call in (lambda: base._check("A"), lambda: base._find(), lambda: base._target("A")):
        with pytest.raises(NotImplementedError):
            call()
