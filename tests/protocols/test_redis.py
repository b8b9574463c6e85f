"""The Redis wire: the laws of every wire, answers of all kinds, what is given up and what is broken."""

from __future__ import annotations

import random
from typing import Any

import hypothesis
import pytest
import redis.exceptions as judge
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import AquestsError, Cancelled, PeerClosed, ProtocolError, TooLarge, TransportError
from aquests.exchange import Exchange
from aquests.protocols import SCHEMES
from aquests.protocols.redis import MAX_SWALLOWED, OVERHEAD, Redis
from aquests.protocols.rediscommands import encode
from aquests.protocols.redisgreeting import refusal
from tests.conformance import Case, Harness, Turn, check_wire
from tests.helpers import feedings, random_cuts
from tests.protocols.rediswire import HELLO, SECRET, UNKNOWN, make_exchange, server, submit, wire
from tests.resp import OK, Error, Push, Set, resp, said


def told(x: Exchange) -> Any:
    """The status and the data, or the error as redis-py would raise it."""
    return (x.head.status, x.data if x.error is None else (type(x.error), str(x.error)))  # type: ignore[union-attr]


# The laws

TALK = [
    Case("one", Turn(["GET k"], resp(b"value")), greeting=HELLO),
    Case("many", Turn(["GET a", "GET b", "INCR c"], resp(b"a", None, 7)), Turn(["PING"], resp(OK)), greeting=HELLO),
    Case(
        "errors among answers",
        Turn(["A", "B", "C"], resp(1, Error("WRONGTYPE no"), [2, Error("ERR x")])),
        greeting=HELLO,
    ),
    Case(
        "all types",
        Turn(["A"] * 7, resp(1.5, True, {b"k": [1, {b"a": None}]}, Set((1, 2)), [], {}, b"")),
        greeting=HELLO,
    ),
    Case(
        "pushed", Turn(["A", "B"], resp(Push((b"invalidate", [b"k"])), 1, Push(()), 2, Push((b"x",)))), greeting=HELLO
    ),
    Case("larger than a read", Turn(["A", "B"], resp(b"x" * 9000, [b"y" * 30] * 40)), greeting=HELLO),
    Case(
        "transaction",
        Turn(["GET a", ["SET k v", "INCR k"], "GET b"], resp(1, OK, Error("x"), b"QUEUED", [OK, Error("ERR no")], 2)),
        greeting=HELLO,
    ),
    Case(
        "transaction refused",
        Turn([["SET k", "GET k"], "GET b"], resp(OK, Error("ERR args"), b"QUEUED", Error("EXECABORT no"), 2)),
        greeting=HELLO,
    ),
    Case(
        "asking",
        Turn(["ASKING GET k", ["ASKING", "GET k"], "GET a"], resp(OK, 1, OK, OK, b"QUEUED", [2], 3)),
        greeting=HELLO,
    ),
    Case("cut off", Turn(["GET a", "GET b"], resp(b"a") + b"$10\r\nhalf"), greeting=HELLO, eof=True),
    Case("not asked for", Turn(["GET a"], resp(b"a", b"b")), greeting=HELLO),
    Case("not Redis", Turn(["GET a"], b"HTTP/1.1 400 Bad Request\r\n\r\n"), greeting=HELLO),
    Case("refused", greeting=resp(Error("ERR max number of clients reached"))),
]
MOVED = Case(
    "moved",
    Turn(["GET a", "GET b", "GET c"], resp(Error("MOVED 1 b:7"), Error("MOVED 2 b:7"), 3)),
    greeting=HELLO,
)


@pytest.mark.parametrize("case", [*TALK, MOVED], ids=str)
def test_laws(case: Case):
    check_wire(lambda: Redis(server()), make_exchange, [case])


@pytest.mark.parametrize("case", TALK[:5], ids=str)
def test_laws_of_resp2(case: Case):
    case = Case(case.name, *case.turns, greeting=resp(OK, OK, OK))
    options: dict[str, Any] = {"protocol": 2, "auth": ("", SECRET), "db": 3, "name": "me"}
    check_wire(lambda: Redis(server(**options)), make_exchange, [case])


@pytest.mark.parametrize("greeting", [resp(UNKNOWN, Error("NOAUTH wait"), OK, OK)], ids=["HELLO unknown"])
def test_laws_of_an_old_server(greeting: bytes):
    case = Case("old", Turn(["GET a"], resp(b"a")), greeting=greeting)
    check_wire(lambda: Redis(server(auth=("", SECRET), db=3)), make_exchange, [case])


def test_laws_of_a_line_for_commands_that_block():
    case = Case("blocking", Turn(["BLPOP q 1"], resp([b"q", b"1"])), Turn(["BLPOP q 1"], b"*-1\r\n"), greeting=HELLO)
    check_wire(lambda: Redis(server(blocking=True)), make_exchange, [case])


# Answers


@pytest.mark.parametrize(
    ("said_", "data"),
    [
        (b"+OK\r\n", b"OK"),
        (b":-5\r\n", -5),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"*0\r\n", []),
        (b"*3\r\n:1\r\n*1\r\n$1\r\n\xff\r\n*-1\r\n", [1, [b"\xff"], None]),
        (b"#t\r\n", True),
        (b",3.25\r\n", 3.25),
        (b",inf\r\n", float("inf")),
        (b"(3492890328409238509324850943850943825024385\r\n", b"3492890328409238509324850943850943825024385"),
        (b"=15\r\ntxt:Some string\r\n", b"Some string"),
        (b"%2\r\n+a\r\n:1\r\n:2\r\n%0\r\n", {b"a": 1, 2: {}}),
        (b"~2\r\n+a\r\n+b\r\n", [b"a", b"b"]),
    ],
)
def test_answer(said_: bytes, data: Any):
    for pieces in feedings(said_):
        made = wire()
        (x,) = submit(made, "GET k")
        for piece in pieces[:-1]:
            assert made.receive(piece) == []
        assert made.receive(pieces[-1]) == [x]
        assert (x.data, type(x.data), x.error, made.room) == (data, type(data), None, 64)
        assert x.head is not None and (x.head.status, x.head.reason, x.head.lane, x.head.version) == (
            200,
            "OK",
            "REDIS",
            "3",
        )


@pytest.mark.parametrize("more", [b"$1\r\ny\r\n", b"$1\r\ny", b":1\r\n", b"x"])
def test_what_follows_the_last_answer_is_seen_with_it(more: bytes):
    made = wire()
    (x,) = submit(made, "GET k")
    whole = b"$1\r\nx\r\n"
    assert made.receive(whole + more) == [x]
    assert x.data == b"x"
    if more != b"$1\r\ny":  # not complete: nobody can say yet what it is
        assert isinstance(made.error, ProtocolError)
        assert (made.room, made.reusable) == (0, False)
    else:
        made.receive(b"\r\n")
        assert isinstance(made.error, ProtocolError)


def test_what_is_pushed_is_nobodys_answer():
    made = wire()
    asked = submit(made, "A", ["B 1"], "C")
    pushed = Push((b"invalidate", [b"k"]))
    replies = [pushed, 1, pushed, OK, pushed, b"QUEUED", [2], pushed, 3, pushed]
    assert made.receive(resp(*replies)) == asked
    assert [x.data for x in asked] == [1, [2], 3] and made.error is None
    assert made.receive(resp(pushed)) == [] and made.error is None


@pytest.mark.parametrize(
    ("said_", "data"),
    [
        (resp("käse"), "käse"),
        (resp([b"a", {b"b": b"c"}]), ["a", {"b": "c"}]),
        (resp(b"\xff\xfe"), "\udcff\udcfe"),
        (resp(1, b"x")[:4], 1),
    ],
)
def test_decoded(said_: bytes, data: Any):
    made = wire(decode=True)
    (x,) = submit(made, "GET k")
    assert made.receive(said_) == [x]
    assert x.data == data
    if data == "\udcff\udcfe":
        assert encode(("SET", "k"), (data,)) == encode(("SET", "k"), (b"\xff\xfe",))


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("ERR unknown command 'X'", judge.ResponseError, "unknown command 'X'"),
        ("WRONGTYPE Operation against a key", judge.ResponseError, "WRONGTYPE Operation against a key"),
        ("NOPERM no permissions", judge.NoPermissionError, "no permissions"),
        ("READONLY You can't write", judge.ReadOnlyError, "You can't write"),
        ("NOSCRIPT No matching script", judge.NoScriptError, "No matching script"),
        ("OOM command not allowed", judge.OutOfMemoryError, "command not allowed"),
        ("LOADING wait", judge.BusyLoadingError, "wait"),
        ("MOVED nonsense", judge.ResponseError, "MOVED nonsense"),
        ("ASK 1 host:port", judge.ResponseError, "ASK 1 host:port"),
        ("CROSSSLOT Keys in request", judge.ClusterCrossSlotError, "Keys in request"),
        ("", judge.ResponseError, ""),
    ],
)
def test_error_answer(text: str, kind: type[Exception], words: str):
    made = wire()
    one, two = submit(made, "GET k", "GET l")
    assert made.receive(resp(Error(text), 2)) == [one, two]
    assert (type(one.error), str(one.error)) == (kind, words)
    assert one.error.code == text.split(" ")[0]
    assert one.head is not None and (one.head.status, one.head.reason, one.data) == (500, "Database Error", None)
    assert two.data == 2 and made.error is None


def test_errors_are_those_of_redis_py():
    assert type(refusal("TRYAGAIN x")) is judge.TryAgainError


def test_progress_and_first_byte():
    made = wire()
    one, two = submit(made, "GET k", "GET l")
    assert made.receive(resp(b"one") + b"$10\r\nabc") == [one]
    assert made.begun == [two] and two.progress > 0 and one.progress == 0
    made.begun.clear()
    before = two.progress
    made.receive(b"de")
    assert two.progress == before + 2 and made.begun == []
    assert made.receive(b"fghij\r\n") == [two]


def test_room_is_the_pipeline():
    made = wire(pipeline=3)
    asked = submit(made, "A", "B", "C")
    assert made.room == 0 and list(made.inflight) == asked
    made.receive(resp(1))
    assert made.room == 1
    made.receive(resp(1, 2))
    assert made.room == 3 and not made.inflight


# Transactions


@pytest.mark.parametrize("asking", [[], ["ASKING"]], ids=["", "asking"])
@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([OK, b"QUEUED", b"QUEUED", [OK, 2]], (200, [b"OK", 2])),
        ([OK, b"QUEUED", b"QUEUED", None], (200, None)),
        (
            [OK, b"QUEUED", Error("ERR unknown"), Error("EXECABORT Transaction discarded")],
            (500, (judge.ExecAbortError, "Transaction discarded")),
        ),
        (
            [Error("NOPERM multi"), Error("NOPERM set"), Error("NOPERM get"), Error("ERR EXEC without MULTI")],
            (500, (judge.NoPermissionError, "multi")),
        ),
        (
            [Error("LOADING multi"), OK, b"v", Error("ERR EXEC without MULTI")],
            (500, (judge.ResponseError, "MULTI was refused, and the commands ran one by one: multi")),
        ),
    ],
)
def test_transaction(asking: list[str], replies: list[Any], expected: Any):
    made = wire()
    before, x, after = submit(made, "GET a", [*asking, "SET k v", "GET k"], "GET b")
    finished = made.receive(resp(1, *([OK] if asking else []), *replies, 2))
    assert finished == [before, x, after] and (before.data, after.data) == (1, 2)
    assert told(x) == expected and made.room == 64
    if isinstance(x.error, judge.ExecAbortError):
        assert str(x.error.__cause__) == "unknown"
    if type(x.error) is judge.ResponseError:
        assert x.data == [b"OK", b"v"]  # it has run, so it must not look like "not now"


def test_transaction_on_the_wire():
    made = wire()
    made.submit(make_exchange(["SET k v", "INCR n"]))
    sent = [[b"MULTI"], [b"SET", b"k", b"v"], [b"INCR", b"n"], [b"EXEC"]]
    assert said(b"".join(made.outbox)) == sent
    made.outbox.clear()
    made.submit(make_exchange(["ASKING", "SET k v", "INCR n"]))
    made.submit(make_exchange("ASKING GET k"))
    assert said(b"".join(made.outbox)) == [[b"ASKING"], *sent, [b"ASKING"], [b"GET", b"k"]]


# Given up


def test_a_late_answer_is_swallowed():
    made = wire(pipeline=4)
    one, two, three = submit(made, "A", ["B 1", "B 2"], "C")
    assert made.cancel(one) and made.cancel(two)
    assert list(made.inflight) == [three] and made.room == 1  # the places are taken until the answers come
    assert made.receive(resp(b"late")) == [] and made.room == 2
    assert made.receive(resp(OK, b"QUEUED", b"QUEUED", [1, 2])) == [] and made.room == 3
    assert made.receive(resp(b"three")) == [three] and made.room == 4
    assert three.data == b"three" and one.data is None


def test_a_late_error_is_swallowed_too():
    made = wire()
    one, two = submit(made, "A", "B")
    assert made.cancel(one)
    assert made.receive(resp(Error("ERR late"), 2)) == [two]


def test_nobody_left_who_waits():
    made = wire()
    one, two = submit(made, "A", "B")
    assert made.cancel(one)
    assert not made.cancel(two)
    assert list(made.inflight) == [two]


def test_too_many_places_that_wait():
    made = wire()
    asked = submit(made, *["A"] * (MAX_SWALLOWED + 2))
    assert all(made.cancel(x) for x in asked[:MAX_SWALLOWED])
    assert not made.cancel(asked[MAX_SWALLOWED])
    made.receive(resp(1))
    assert made.cancel(asked[MAX_SWALLOWED])


def test_an_element_is_not_swallowed():
    made = wire(blocking=True)
    (x,) = submit(made, "BLPOP q 0")
    assert made.room == 0 and not made.cancel(x)


def test_abandoned():
    made = wire()
    one, two, three, four = submit(made, "A", "B", ["C 1"], "D")
    made.receive(resp(Error("MOVED 1 other:7")))
    made.cancel(two)
    cause = OSError("gone")
    error = PeerClosed("gone", endpoint="peer:6379")
    error.__cause__ = cause
    assert made.abandon(error) == [three, four]
    assert three.error is not four.error
    assert (type(four.error), str(four.error), four.error.__cause__) == (PeerClosed, "gone, peer:6379", cause)
    assert (made.room, made.outbox, list(made.inflight)) == (0, [], [])
    assert made.abandon(error) == [] and one.error is not error


@pytest.mark.parametrize("kind", [Cancelled, ProtocolError, TransportError, PeerClosed])
def test_errors_are_each_ones_own(kind: type[AquestsError]):
    made = wire()
    asked = submit(made, "A", "B")
    made.abandon(kind("words", phase="answer"))
    assert asked[0].error is not asked[1].error
    assert {(type(x.error), x.error.message, x.error.phase) for x in asked} == {(kind, "words", "answer")}


@pytest.mark.parametrize("data", [b"", b"$5\r\nab"])
def test_end_of_stream(data: bytes):
    made = wire()
    asked = submit(made, "A", "B")
    made.receive(data)
    assert made.receive_eof() == asked
    assert str(asked[0].error) == "the server closed the line before the answer was complete"
    assert asked[0].error.code == 700


# Broken


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\r\n",
        b":abc\r\n",
        b"$abc\r\n",
        b"*99999999999\r\n",
        b"*4294967295\r\n",  # more than the machine has
        b"!5\r\nERR x\r\n",
        b"%1\r\n*0\r\n:1\r\n",  # a list as a key
        b"*1\r\n" * 100_000,
        b"#x\r\n",
        b"=3\r\nabc\r\n",
    ],
)
def test_not_redis(data: bytes):
    made = wire()
    one, two = submit(made, "A", "B")
    assert made.receive(resp(1) + data) == [one]
    assert one.data == 1 and one.error is None
    with pytest.raises(ProtocolError) as caught:
        raise made.error or AssertionError
    assert caught.value.first == (resp(1) + data)[:64]
    assert made.room == 0 and list(made.inflight) == [two]


def test_an_answer_to_nobody():
    made = wire()
    assert made.receive(resp(b"surprise")) == []
    assert isinstance(made.error, ProtocolError) and "nobody asked" in str(made.error)


@pytest.mark.parametrize("size", [100, 101, 200, 100_000])
def test_too_large_by_whatever_cutting(size: int):
    for pieces in ([resp(b"x" * size)], [bytes([byte]) for byte in resp(b"x" * min(size, 300))]):
        made = wire()
        one, two = submit(made, "A", "B", max_content=100)
        finished: list[Exchange] = []
        for piece in pieces:
            if made.error is None:
                finished += made.receive(piece)
        assert finished == [one]
        if size == 100:
            assert one.data == b"x" * 100 and made.error is None
            continue
        assert isinstance(one.error, TooLarge) and one.head is None
        assert type(made.error) is TransportError  # what the others on the line are told
        assert list(made.inflight) == [two] and made.room == 0


def test_a_list_without_end_is_too_large():
    made = wire()
    (x,) = submit(made, "A", max_content=1000)
    assert made.receive(b"*1000000\r\n") == []
    finished: list[Exchange] = []
    while made.error is None:
        finished += made.receive(b":1\r\n" * 10)
    assert finished == [x] and isinstance(x.error, TooLarge)


def test_what_is_swallowed_may_be_too_large_as_well():
    made = wire()
    one, two = submit(made, "A", "B", max_content=1000)
    made.cancel(one)
    made.receive(b"$5000\r\n")
    assert made.receive(b"x" * (1000 + OVERHEAD)) == []
    assert type(made.error) is TransportError and list(made.inflight) == [two]


# By chance

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40) | st.floats(allow_nan=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES, min_size=1, max_size=20), st.integers())
def test_every_question_gets_its_own_answer(values: list[Any], seed: int):
    made = wire()
    asked = submit(made, *["GET k"] * len(values))
    finished: list[Exchange] = []
    for piece in random_cuts(resp(*values), random.Random(seed)):
        finished += made.receive(piece)
    assert finished == asked
    assert [x.data for x in asked] == values
    assert [type(x.data) for x in asked] == [type(value) for value in values]
    assert made.room == 64 and made.error is None


@hypothesis.settings(max_examples=300)
@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from([b"*2\r\n", b"%1\r\n", b"$3\r\nabc\r\n", b"-x\r\n", b">1\r\n"]),
        max_size=12,
    )
)
def test_any_bytes(pieces: list[bytes]):
    harness = Harness(Redis(server()))
    harness.open()
    harness.feed([HELLO])
    for ask in ("GET a", ["GET b", "GET c"], "ASKING GET d"):
        harness.submit(make_exchange(ask))
    harness.feed(pieces)
    harness.abandon(harness.wire.error or Cancelled("over"))
    assert len(harness.done) == 3


# Its place in the house


def test_schemes():
    for name, tls in (("redis", False), ("rediss", True)):
        spec = SCHEMES[name]
        assert (spec.port, spec.tls, spec.lane, spec.yields_data, spec.transport) == (
            6379,
            tls,
            "REDIS",
            True,
            "stream",
        )
        assert spec.load().review and spec.load().lines
