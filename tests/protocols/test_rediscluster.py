"""A cluster: slots, the table, and what becomes of MOVED, ASK and the answers that say "not now"."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis.crc
import redis.exceptions as judge
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import PeerClosed
from aquests.exchange import Exchange, Request, Response, Status
from aquests.protocols.rediscluster import (
    ASKING,
    EVERY,
    LOOKS,
    MAX_HOPS,
    MAX_TABLE,
    SLOTS,
    Slots,
    review,
    shown_url,
    slot_of,
)
from aquests.protocols.rediscommands import encode, transaction
from aquests.protocols.redisgreeting import refusal
from aquests.settings import Settings

FAILED = Status(500, "Database Error", "REDIS", "3")


class Places:
    """Stands for the engine's places: makes them, and lets requests that wait be looked at."""

    def __init__(self) -> None:
        self.slots = Slots("a:1")
        self.waiting: list[Any] = []
        self.looked = 0
        self.asked: list[Request] = []

    def __call__(self, host: str, port: int) -> Any:
        options = {"db": 0, "cluster": self.slots}
        return SimpleNamespace(
            scheme="redis", host=host, port=port, label=f"{host}:{port}", unix=None, options=options, yields_data=True
        )

    def ask(self, request: Request) -> None:
        self.asked.append(request)

    def move(self, belongs: Callable[[Any], Any], most: int) -> None:
        self.looked += 1
        for item in self.waiting[:most]:
            item.endpoint = belongs(item)


def answered(places: Places, text: str = "", *command: str, **settings: Any) -> Exchange:
    """An exchange that a:1 has answered with this error."""
    payload = encode((), command or ("GET", "k"))
    request = Request("get", "redis://a:1/0", payload, endpoint=places("a", 1))
    x = request.begin(0.0, Settings(**settings))
    x.finished_at = 0.01
    x.head = FAILED
    x.error = refusal(text) if text else None
    return x


@given(st.binary(max_size=30) | st.lists(st.sampled_from([b"{", b"}", b"a", b"b"]), max_size=8).map(b"".join))
def test_slots_are_those_of_redis_py(key: bytes):
    assert slot_of(key) == redis.crc.key_slot(key, SLOTS)


@pytest.mark.parametrize(("key", "slot"), [(b"123456789", 12739), (b"", 0), (b"{user}.a", 5474), (b"user", 5474)])
def test_known_slots(key: bytes, slot: int):
    assert slot_of(key) == slot


# The table


def test_the_table_is_filled():
    slots = Slots("a:1")
    assert slots.node(b"k") is None and slots.wants_table()
    slots.fill([[0, 8191, [b"b", 2, b"id"], [b"replica", 3]], [8192, 16383, ["", 4, "id"]]], "a")
    assert slots.known and not slots.wants_table()
    assert slots.node(b"{user}") == ("b", 2)  # slot 5474
    assert slots.node(b"123456789") == ("a", 4)  # a node that does not know its own name
    slots.learn(5474, ("b", 2))
    assert not slots.wants_table()
    slots.learn(5474, ("c", 9))  # what else may be old?
    assert slots.node(b"user") == ("c", 9) and slots.wants_table()
    slots.asking = True
    assert not slots.wants_table()


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"OK",
        5,
        {},
        [],
        [1],
        [[0]],
        [[0, "x", [b"h", 1]]],
        [[0, 5, []]],
        [[0, 5, [b"\xff", 1]]],
        [[-5, 99999, None]],
    ],
)
def test_an_odd_table(reply: Any):
    slots = Slots("a:1")
    slots.fill(reply, "a")
    assert not slots.wants_table()
    assert slots.node(b"k") is None


def test_rows_beyond_the_end():
    slots = Slots("a:1")
    slots.fill([[-7, 99_999_999, [b"b", 2]], [9, 3, [b"c", 3]]], "a")
    assert slots.node(b"") == slots.node(b"123456789") == ("b", 2)
    slots.learn(99_999, ("d", 4))
    slots.learn(-1, ("d", 4))
    assert {slots.node(bytes([number])) for number in range(256)} == {("b", 2)}


def test_one_slot_is_learnt():
    slots = Slots("a:1")
    slots.learn(5474, ("b", 2))
    assert slots.node(b"user") == ("b", 2) and slots.node(b"k") is None


def test_tables_of_the_same_seed_are_equal():
    assert Slots("a:1") == Slots("a:1") != Slots("b:1")
    assert hash(Slots("a:1")) == hash(Slots("a:1"))
    assert Slots("a:1") != "a:1"


# Answers


def test_a_plain_answer():
    places = Places()
    x = answered(places)
    assert review(x, places) is None
    x.codec = SimpleNamespace(decode=lambda x: setattr(x, "data", "decoded"))
    assert review(x, places) is None and x.data == "decoded"


@pytest.mark.parametrize(
    "text", ["ERR x", "WRONGTYPE x", "CROSSSLOT x", "READONLY x", "NOPERM x", "MOVED nowhere", "BUSY x"]
)
def test_an_error_is_an_answer(text: str):
    places = Places()
    assert review(answered(places, text), places) is None


def test_moved():
    places = Places()
    x = answered(places, "MOVED 7629 b:2")
    request = x.request
    again = review(x, places)
    assert again is not None and x.request is None
    assert (again.request, again.endpoint.host, again.endpoint.port, again.url) == (request, "b", 2, "redis://b:2/0")
    assert (again.headers, again.error, again.head, again.delay) == ((), None, None, 0.0)
    assert again.trail is not None and [response.url for response in again.trail.history] == ["redis://a:1/0"]
    assert type(again.trail.history[0].error) is judge.MovedError
    assert places.slots.node(b"k") == ("b", 2)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("MOVED 1 :7", "a", 7),
        ("MOVED 1 ?:7", "a", 7),
        ("MOVED 1 ::1:7", "::1", 7),
        ("ASK 1 b.example:7", "b.example", 7),
    ],
)
def test_where_to(text: str, host: str, port: int):
    places = Places()
    again = review(answered(places, text), places)
    assert again is not None and (again.endpoint.host, again.endpoint.port) == (host, port)


@pytest.mark.parametrize("text", ["MOVED 1 b:0", "MOVED 1 b:99999", "ASK 1 b:-5"])
def test_nowhere(text: str):
    places = Places()
    assert review(answered(places, text), places) is None


def test_ask_is_for_once():
    places = Places()
    again = review(answered(places, "ASK 7629 b:2"), places)
    assert again is not None and again.headers == ASKING and again.endpoint.host == "b"
    assert not places.slots.known
    again.error, again.finished_at, again.head = refusal("TRYAGAIN wait"), 0.02, FAILED
    waited = review(again, places)
    assert waited is not None and waited.headers == ASKING and waited.delay > 0
    waited.error, waited.head = refusal("MOVED 7629 a:1"), FAILED
    back = review(waited, places)
    assert back is not None and back.headers == ()


def test_hops_are_bounded():
    places = Places()
    x = answered(places, "MOVED 1 b:2")
    for _ in range(MAX_HOPS):
        again = review(x, places)
        assert again is not None
        x = again
        x.error, x.head, x.finished_at = refusal("MOVED 1 b:2"), FAILED, 0.5
    assert review(x, places) is None and x.trail is not None and len(x.trail.history) == MAX_HOPS


def aborted(places: Places, cause: str) -> Exchange:
    x = answered(places, "EXECABORT Transaction discarded")
    x.payload = transaction([("get", "k")])[0]
    x.error.__cause__ = refusal(cause) if cause else None
    return x


def test_a_transaction_goes_as_a_whole():
    places = Places()
    again = review(aborted(places, "MOVED 7629 b:2"), places)
    assert again is not None and again.endpoint.host == "b"
    again = review(aborted(places, "LOADING x"), places)
    assert again is not None and again.delay
    assert review(aborted(places, "ERR unknown command"), places) is None
    assert review(aborted(places, ""), places) is None


@pytest.mark.parametrize("text", ["LOADING x", "TRYAGAIN x", "CLUSTERDOWN x", "MASTERDOWN x"])
def test_not_now(text: str):
    places = Places()
    x: Exchange | None = answered(places, text, timeout=1.0)
    delays = []
    while x is not None:
        last = x
        x = review(x, places)
        if x is not None:
            delays.append(x.delay)
            x.error, x.head, x.finished_at = refusal(text), FAILED, last.finished_at + x.delay
            assert x.trail is not None and x.trail.history == [] and x.endpoint is last.endpoint
    assert delays == [0.05, 0.1, 0.2, 0.4]  # 0.8 more would be over the timeout
    assert last.error is not None and last.request is not None


def test_not_now_within_the_deadline():
    places = Places()
    x = answered(places, "LOADING x", deadline=0.05)
    assert review(x, places) is None
    x = answered(places, "LOADING x", deadline=0.07)
    assert review(x, places) is not None


# The table is asked for


def told(places: Places, error: Any = None, data: Any = None) -> None:
    """The table that was asked for last has its answer."""
    request = places.asked[-1]
    x = request.begin(0.0, Settings(max_content=9))
    assert x.max_content == MAX_TABLE and x.payload == encode(("CLUSTER", "SLOTS"), ())
    x.head, x.error, x.data = FAILED if error else Status(200, "OK", "REDIS"), error, data
    assert request.callback is not None
    request.callback(Response(x, request))


def test_the_table_is_asked_for_once():
    places = Places()
    for _ in range(3):
        review(answered(places, "MOVED 1 b:7"), places)
    (request,) = places.asked
    assert (request.endpoint.host, request.url, places.slots.asking) == ("a", "redis://a:1/0", True)
    told(places, data=[[0, 16383, [b"", 7001, b"id", []]]])
    assert (places.slots.asking, places.slots.node(b"any")) == (False, ("a", 7001))
    review(answered(places, "MOVED 1 a:7001"), places)
    assert len(places.asked) == 1


@pytest.mark.parametrize(("error", "times"), [(refusal("NOPERM no"), 1), (PeerClosed("gone"), 2)])
def test_a_table_that_does_not_come(error: Exception, times: int):
    """Who may not see it learns slot by slot; what a broken line carried is asked for again."""
    places = Places()
    review(answered(places, "MOVED 1 b:7"), places)
    told(places, error)
    review(answered(places, "MOVED 1 b:7"), places)
    assert len(places.asked) == times


def test_a_transaction_that_is_elsewhere_asks_too():
    places = Places()
    review(aborted(places, "MOVED 7629 b:2"), places)
    assert len(places.asked) == 1


# What waits


def test_what_waits_is_moved_along():
    places = Places()
    places.slots.fill([[0, 8191, [b"a", 1]], [8192, 16383, [b"b", 2]]], "a")

    def waits(*command: str) -> Request:
        return Request("x", "redis://a:1/0", encode((), command), endpoint=places("a", 1))

    there, here, keyless = waits("GET", "123456789"), waits("GET", "user"), waits("PING")
    both = Request("x", "redis://a:1/0", transaction([("ping",), ("get", "123456789")])[0], endpoint=here.endpoint)
    started = there.begin(0.0, Settings())
    places.waiting = [there, here, keyless, both, started, *[waits("PING")] * LOOKS]
    for number in range(1, 2 * EVERY + 1):
        review(answered(places, "MOVED 12739 b:2"), places)
        assert places.looked == number // EVERY
    assert [(item.endpoint.host, item.url) for item in places.waiting[:5]] == [
        ("b", "redis://b:2/0"),
        ("a", "redis://a:1/0"),
        ("a", "redis://a:1/0"),
        ("a", "redis://a:1/0"),
        ("b", "redis://b:2/0"),
    ]


def test_nothing_is_looked_at_while_the_table_is_on_its_way():
    slots = Slots("a:1")
    slots.asking = True
    assert not any(slots.wants_look() for _ in range(EVERY * 2))
    slots.asking = False
    assert slots.wants_look() and not slots.wants_look()


@pytest.mark.parametrize(
    ("unix", "url"), [(None, "rediss://h:1/3"), ("/run/redis.sock", "unix:///run/redis.sock?db=3")]
)
def test_shown_url(unix: str | None, url: str):
    options = {"db": 3, "auth": ("user", "secret")}
    assert shown_url(SimpleNamespace(scheme="rediss", label="h:1", unix=unix, options=options)) == url
