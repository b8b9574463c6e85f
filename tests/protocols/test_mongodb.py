"""MongoDB's wire: the laws, the opening with SCRAM, cursors, refusals, broken bytes."""

from __future__ import annotations

import gc
import struct
from itertools import count
from typing import Any

import bson
import pytest
from bson.binary import Binary
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st
from pymongo import errors
from scramp import ScramMechanism

from aquests.errors import ConnectError, ProtocolError, RequestError, TooLarge
from aquests.exchange import Exchange, Request
from aquests.protocols.mongodb import MongoDB
from aquests.protocols.mongohosts import Topology
from aquests.protocols.mongomsg import Command, encode_document, message, parse
from aquests.settings import Settings
from tests.conformance import Case, Harness, Turn, check_wire
from tests.helpers import feedings

HELLO = {"ok": 1, "isWritablePrimary": True, "maxBsonObjectSize": 16777216, "maxWireVersion": 21}


class Place:
    """As much of an endpoint as a wire and a review look at."""

    label, lane, version, yields_data = "db:27017", "MONGODB", "", True

    def __init__(self, host: str = "db", port: int = 27017, **options: Any):
        self.host, self.port = host, port
        self.options = {"topology": Topology([("db", 27017)], None), "database": "shop", **options}


def wire(**options: Any) -> MongoDB:
    place = Place(**options)
    return MongoDB(place.options, (place.host, place.port), lambda: "rOprNGfwEbeRWgbNEkqO")


def reply(to: int, document: dict[str, Any], flags: int = 0) -> bytes:
    body = struct.pack("<I", flags) + b"\0" + bson.encode(document)
    return struct.pack("<iiii", 16 + len(body), 9000 + to, to, 2013) + body


def find(**more: Any) -> Command:
    return command({"find": "c", "filter": {}}, "cursor", collection="c", **more)


def command(document: dict[str, Any], shape: str, **more: Any) -> Command:
    return Command(bson.encode({**document, "$db": "shop"}), shape, **more)


def exchange(command: Command, place: Place | None = None, **settings: Any) -> Exchange:
    request = Request("FIND", "mongodb://db:27017/shop", command, endpoint=place or Place())
    return request.begin(0.0, Settings(**settings))


def batch(documents: list[Any], cursor_id: int = 0, which: str = "firstBatch") -> dict[str, Any]:
    return {"cursor": {which: documents, "id": Int64(cursor_id), "ns": "shop.c"}, "ok": 1.0}


def opened(**options: Any) -> Harness:
    harness = Harness(wire(**options))
    harness.open()
    harness.receive(reply(1, HELLO))
    return harness


CASES = [
    Case("one batch", Turn([find()], reply(2, batch([{"a": 1}, {"a": 2}]))), greeting=reply(1, HELLO)),
    Case(
        "two in turn",
        Turn([find()], reply(2, batch([{"a": 1}]))),
        Turn([find()], reply(3, {"ok": 0, "errmsg": "no", "code": 59})),
        greeting=reply(1, HELLO),
    ),
    Case(
        "a drained cursor",
        Turn(
            [find(drain=True)],
            reply(2, batch([1], 7)) + reply(3, batch([], 7, "nextBatch")) + reply(4, batch([2], 0, "nextBatch")),
        ),
        greeting=reply(1, HELLO),
    ),
    Case("the end while asked", Turn([find()], reply(2, batch([]))[:20]), greeting=reply(1, HELLO), eof=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_laws(case: Case) -> None:
    huge = command({"insert": "c"}, "plain", documents=[b"x" * 17_000_000])
    check_wire(wire, exchange, [case], refused=[huge])


def test_several_at_once_come_back_by_their_number() -> None:
    harness = opened(pipeline=3)
    first, second, third = (exchange(find()) for _ in range(3))
    for x in (first, second, third):
        harness.submit(x)
    assert harness.wire.room == 0
    harness.receive(reply(4, batch([3])) + reply(2, batch([1])) + reply(3, batch([2])))
    assert [x.data["data"] for x in (first, second, third)] == [[1], [2], [3]]
    assert harness.wire.room == 3


def test_a_drained_cursor_asks_for_more_until_it_is_through() -> None:
    harness = opened()
    x = exchange(find(drain=True, start=4))
    harness.submit(x)
    harness.receive(reply(2, batch([1, 2], 77)))
    assert harness.done == [] and list(harness.wire.inflight) == [x]
    asked = parse(harness.sent[-1])[2]
    assert (asked["getMore"], asked["collection"], asked["$db"]) == (77, "c", "shop")
    harness.receive(reply(3, batch([3], 0, "nextBatch")))
    assert x.data == {"starting_from": 4, "number_returned": 3, "cursor_id": 0, "data": [1, 2, 3]}
    assert x.error is None


def test_a_kept_cursor_is_remembered_with_its_server() -> None:
    topology = Topology([("db", 27017)], None)
    harness = opened(topology=topology)
    x = exchange(find())
    harness.submit(x)
    harness.receive(reply(2, batch([1], 55)))
    assert x.data["cursor_id"] == 55 and topology.cursors == {55: ("c", ("db", 27017))}


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (batch([2], 55, "nextBatch"), {55: ("c", ("db", 27017)), 66: ("c", ("db", 2))}),
        (batch([2], 0, "nextBatch"), {66: ("c", ("db", 2))}),
        ({"ok": 0, "errmsg": "cursor id 55 not found", "code": 43}, {66: ("c", ("db", 2))}),
    ],
)
def test_a_kept_cursor_that_is_through_is_forgotten(answer: dict[str, Any], left: Any) -> None:
    topology = Topology([("db", 27017)], None)
    topology.cursors = {55: ("c", ("db", 27017)), 66: ("c", ("db", 2))}
    harness = opened(topology=topology)
    harness.submit(exchange(command({"getMore": 55}, "cursor", collection="c", cursor=55)))
    harness.receive(reply(2, answer))
    assert topology.cursors == left and len(harness.done) == 1


def test_a_cursor_that_died_is_an_answer() -> None:
    harness = opened()
    x = exchange(find(drain=True))
    harness.submit(x)
    harness.receive(reply(2, batch([1], 77)))
    harness.receive(reply(3, {"ok": 0, "errmsg": "cursor id 77 not found", "code": 43}))
    assert x.data["data"] == [1]
    assert isinstance(x.error, errors.CursorNotFound) and x.head is not None and x.head.status == 500
    assert harness.wire.room == 1


def test_an_answer_over_the_limit_is_let_go() -> None:
    harness = opened()
    x = exchange(find(drain=True), max_content=100)
    harness.submit(x)
    harness.receive(reply(2, batch(["x" * 200], 77)))
    assert isinstance(x.error, TooLarge)
    asked = parse(harness.sent[-1])[2]
    assert (asked["killCursors"], asked["cursors"]) == ("c", [77])
    y = exchange(find())
    harness.submit(y)
    harness.receive(reply(3, {"ok": 1}) + reply(4, batch([1])))
    assert y.data["data"] == [1] and harness.wire.error is None and harness.wire.room == 1


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"ok": 0, "errmsg": "e", "code": 59}, errors.OperationFailure),
        ({"ok": 0, "errmsg": "late", "code": 50}, errors.ExecutionTimeout),
        ({"ok": 0, "errmsg": "not primary", "code": 10107}, errors.NotPrimaryError),
        ({"ok": 1, "n": 0, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "dup"}]}, errors.DuplicateKeyError),
        ({"ok": 1, "n": 0, "writeErrors": [{"index": 0, "code": 2, "errmsg": "bad"}]}, errors.WriteError),
        ({"ok": 1, "n": 1, "writeConcernError": {"code": 64, "errmsg": "slow"}}, errors.WriteConcernError),
    ],
)
def test_refusals_are_answers_with_pymongos_errors(document: dict[str, Any], kind: type) -> None:
    harness = opened()
    x = exchange(command({"insert": "c"}, "plain", ids=[1]))
    harness.submit(x)
    harness.receive(reply(2, document))
    assert type(x.error) is kind
    assert x.head is not None and x.head.status == 500
    assert harness.wire.room == 1 and harness.wire.error is None


def test_many_inserts_that_fail_tell_which_went_in() -> None:
    harness = opened()
    x = exchange(command({"insert": "c"}, "plain", ids=["a", "b", "c"]))
    harness.submit(x)
    failures = [{"index": 1, "code": 11000, "errmsg": "dup"}]
    harness.receive(reply(2, {"ok": 1, "n": 2, "writeErrors": failures}))
    assert isinstance(x.error, errors.BulkWriteError) and x.data["ids"] == ["a", "c"]


def test_documents_travel_beside_the_command() -> None:
    harness = opened()
    documents = [bson.encode({"_id": n}) for n in range(3)]
    harness.submit(exchange(command({"insert": "c"}, "plain", documents=documents, ids=[0, 1, 2])))
    asked = parse(harness.sent[-1] if harness.sent else b"".join(harness.wire.outbox))[2]
    assert asked["insert"] == "c" and asked["$db"] == "shop"
    assert asked["documents"] == [{"_id": 0}, {"_id": 1}, {"_id": 2}]


def test_a_late_answer_to_a_cancelled_request_is_swallowed() -> None:
    harness = opened(pipeline=2)
    x, y = exchange(find()), exchange(find())
    harness.submit(x)
    harness.submit(y)
    assert harness.wire.cancel(x) and harness.wire.room == 0
    harness.submitted.remove(x)
    harness.receive(reply(2, batch([1], 77)))
    assert harness.wire.room == 1
    asked = parse(harness.sent[-1])[2]  # its cursor would stay open for minutes
    assert (asked["killCursors"], asked["cursors"]) == ("c", [77])
    harness.receive(reply(3, batch([2])))
    assert y.data["data"] == [2] and x.data is None and harness.wire.room == 2
    harness.receive(reply(4, {"ok": 1}))
    assert harness.wire.error is None


def test_a_request_that_is_alone_is_not_cancelled_without_its_line() -> None:
    harness = opened(pipeline=2)
    x = exchange(find())
    harness.submit(x)
    assert not harness.wire.cancel(x) and list(harness.wire.inflight) == [x]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (reply(99, batch([])), "was not asked"),
        (struct.pack("<iiii", 5, 1, 2, 2013) + b"x" * 20, "5 bytes"),
        (struct.pack("<iiii", 2**30, 1, 2, 2013) + b"x" * 20, "1,073,741,824 bytes"),
        (struct.pack("<iiii", -1, 1, 2, 2013) + b"x" * 20, "-1 bytes"),
        (struct.pack("<iiii", 36, 1, 2, 1) + b"x" * 20, "opcode 1 "),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answered in HTTP"),
        (reply(2, batch([]), flags=4), "unknown flags"),
        (reply(2, {"ok": 1, "cursor": [1]}), "makes no sense"),
        (reply(2, {"ok": 1, "cursor": {"id": 0}}), "makes no sense"),
        (reply(2, {"ok": 1, "cursor": {"id": "x", "firstBatch": []}}), "makes no sense"),
        (reply(2, {"ok": 1, "cursor": {"id": float("inf"), "firstBatch": []}}), "makes no sense"),
        (reply(2, {"ok": 0, "code": []}), "makes no sense"),
        (reply(2, {"ok": 1, "writeErrors": 7}), "makes no sense"),
        (reply(2, batch([]), flags=2), "more answers"),
        (struct.pack("<iiii", 30, 1, 2, 2013) + b"\0\0\0\0" + b"\0" + struct.pack("<i", 500) + b"x" * 5, "beyond"),
        (struct.pack("<iiii", 30, 1, 2, 2013) + b"\0\0\0\0" + b"\7" + struct.pack("<i", 9) + b"x" * 5, "kind 7"),
        (struct.pack("<iiii", 30, 1, 2, 2013) + b"\0\0\0\0" + b"\0" + struct.pack("<i", 9) + b"xxxxx", "BSON"),
    ],
)
def test_broken_messages_end_the_line(data: bytes, words: str) -> None:
    for pieces in feedings(data, 1):
        harness = opened()
        x = exchange(find())
        harness.submit(x)
        for piece in pieces:
            if harness.wire.error is None:
                harness.receive(piece)
        assert isinstance(harness.wire.error, ProtocolError) and words in str(harness.wire.error)
        assert isinstance(x.error, ProtocolError) and words in str(x.error) and harness.wire.room == 0


def test_a_checksum_is_passed_over() -> None:
    body = struct.pack("<I", 1) + b"\0" + bson.encode(batch([1])) + b"crc!"
    assert parse(struct.pack("<iiii", 16 + len(body), 1, 2, 2013) + body)[2]["cursor"]["firstBatch"] == [1]


@given(st.binary(max_size=300))
def test_any_bytes_give_answers_or_an_error(data: bytes) -> None:
    harness = opened()
    x = exchange(find())
    harness.submit(x)
    harness.receive(data)
    assert harness.wire.error is None or (x.error is not None and harness.wire.room == 0)


# The opening


def serve_scram(harness: Harness, mechanism: str, password: str, known: str, first: dict[str, Any]) -> None:
    """Be a server that knows ``known`` and talks SCRAM with the wire until it is through."""
    numbers = count(1)
    scram = ScramMechanism(mechanism)
    salt, stored, server, iterations = scram.make_auth_info(known, iteration_count=4096, salt=b"salt" * 4)
    session = scram.make_server(lambda user: (salt, stored, server, iterations), s_nonce="server-nonce")
    harness.receive(reply(next(numbers), first))
    start = parse(harness.sent[-1])[2]
    assert (start["saslStart"], start["mechanism"], start["$db"]) == (1, mechanism, "admin")
    session.set_client_first(start["payload"].decode())
    answer = {"ok": 1, "conversationId": 1, "done": False, "payload": Binary(session.get_server_first().encode())}
    harness.receive(reply(next(numbers), answer))
    go_on = parse(harness.sent[-1])[2]
    try:
        session.set_client_final(go_on["payload"].decode())
    except Exception:
        harness.receive(reply(next(numbers), {"ok": 0, "code": 18, "errmsg": "Authentication failed."}))
        return
    final = {"ok": 1, "conversationId": 1, "done": True, "payload": Binary(session.get_server_final().encode())}
    harness.receive(reply(next(numbers), final))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scram(mechanism: str) -> None:
    from hashlib import md5

    known = "pencil" if mechanism == "SCRAM-SHA-256" else md5(b"user:mongo:pencil").hexdigest()
    harness = Harness(wire(credentials=("user", "pencil", "admin", None)))
    harness.open()
    assert parse(harness.sent[-1])[2]["saslSupportedMechs"] == "admin.user"
    serve_scram(harness, mechanism, "pencil", known, {**HELLO, "saslSupportedMechs": [mechanism]})
    assert harness.wire.error is None and harness.wire.room == 1


def test_a_wrong_password_ends_the_opening_and_is_not_shown() -> None:
    harness = Harness(wire(credentials=("user", "s3cret", "admin", "SCRAM-SHA-256")))
    harness.open()
    serve_scram(harness, "SCRAM-SHA-256", "s3cret", "another", HELLO)
    error = harness.wire.error
    assert isinstance(error, ConnectError) and "refused the password (Authentication failed.)" in str(error)
    assert "s3cret" not in repr(error) and harness.wire.room == 0


@pytest.mark.parametrize(("user", "password"), [("user", "s3cret\a"), ("us\aer", "s3cret"), ("user", "s3cret\0")])
def test_what_no_scram_can_take_is_said_and_not_shown(user: str, password: str) -> None:
    harness = Harness(wire(credentials=(user, password, "admin", "SCRAM-SHA-256")))
    harness.open()
    harness.receive(reply(1, HELLO))
    error = harness.wire.error
    assert isinstance(error, ConnectError) and "cannot take this user or password (control characters" in str(error)
    assert "s3cret" not in repr(error) and harness.wire.room == 0


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    harness = Harness(wire(credentials=("user", "pencil", "admin", "SCRAM-SHA-256")))
    harness.open()
    harness.receive(reply(1, HELLO))
    nonce = parse(harness.sent[-1])[2]["payload"].decode().partition("r=")[2]
    first = f"r={nonce}server,s=c2FsdHNhbHQ=,i=4096".encode()
    harness.receive(reply(2, {"ok": 1, "conversationId": 1, "done": False, "payload": Binary(first)}))
    harness.receive(reply(3, {"ok": 1, "conversationId": 1, "done": True, "payload": Binary(b"v=bm9wZQ==")}))
    assert isinstance(harness.wire.error, ConnectError) and "authenticate itself" in str(harness.wire.error)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({"ok": 0, "errmsg": "go away"}, "go away"),
        ({**HELLO, "saslSupportedMechs": ["PLAIN"]}, "PLAIN only"),
    ],
)
def test_an_opening_that_is_refused(first: dict[str, Any], words: str) -> None:
    harness = Harness(wire(credentials=("user", "pencil", "admin", None)))
    harness.open()
    harness.receive(reply(1, first))
    assert isinstance(harness.wire.error, ConnectError) and words in str(harness.wire.error)


def test_the_servers_own_limits_hold() -> None:
    harness = Harness(wire())
    harness.open()
    harness.receive(reply(1, {**HELLO, "maxBsonObjectSize": 1000, "maxWriteBatchSize": 2, "maxMessageSizeBytes": 2500}))
    small = bson.encode({"_id": 1})
    with pytest.raises(RequestError, match="takes 2 at once"):
        harness.wire.submit(exchange(command({"insert": "c"}, "plain", documents=[small] * 3)))
    with pytest.raises(RequestError, match="takes 1,000"):
        harness.wire.submit(exchange(command({"insert": "c"}, "plain", documents=[b"x" * 1001])))
    with pytest.raises(RequestError, match="split it"):
        harness.wire.submit(exchange(command({"find": "c", "filter": {"a": "x" * 3000}}, "cursor")))
    assert harness.wire.room == 1 and not harness.wire.outbox


# Replica sets


def test_who_is_no_primary_has_executed_nothing() -> None:
    topology = Topology([("a", 1), ("b", 2)], "rs")
    place = Place("a", 1, topology=topology)
    harness = Harness(MongoDB(place.options, ("a", 1)))
    harness.open()
    secondary = {"ok": 1, "secondary": True, "setName": "rs", "hosts": ["a:1", "b:2", "c:3"], "primary": "c:3"}
    harness.receive(reply(1, secondary))
    assert topology.primary == ("c", 3) and topology.hosts == [("a", 1), ("b", 2), ("c", 3)]
    x = exchange(command({"insert": "c"}, "plain"), place)
    harness.submit(x)
    harness.receive(reply(2, {"ok": 0, "code": 13435, "errmsg": "not primary and secondaryOk=false"}))
    assert x.head is not None and x.head.special


@pytest.mark.parametrize(("reads", "special"), [(True, True), (False, False)])
def test_a_server_that_steps_down_may_have_executed(reads: bool, special: bool) -> None:
    harness = opened(topology=Topology([("db", 27017), ("other", 27017)], None))
    x = exchange(find(reads=reads))
    harness.submit(x)
    harness.receive(reply(2, {"ok": 0, "code": 189, "errmsg": "stepped down"}))
    assert x.head is not None and x.head.special is special and isinstance(x.error, errors.NotPrimaryError)


def test_one_server_has_no_companions() -> None:
    harness = opened()
    x = exchange(find())
    harness.submit(x)
    harness.receive(reply(2, {"ok": 0, "code": 10107, "errmsg": "not primary"}))
    assert x.head is not None and not x.head.special


@pytest.mark.parametrize(
    "told", [{"maxBsonObjectSize": "x"}, {"setName": "rs", "hosts": 3}, {"setName": "rs", "hosts": ["h:99999"]}]
)
def test_a_hello_that_makes_no_sense(told: dict[str, Any]) -> None:
    harness = Harness(wire(topology=Topology([("db", 27017), ("other", 1)], None)))
    harness.open()
    harness.receive(reply(1, {"ok": 1, **told}))
    assert isinstance(harness.wire.error, ProtocolError) and harness.wire.room == 0


def test_dates_beyond_datetime_pass_through() -> None:
    from bson.datetime_ms import DatetimeMS

    harness = opened()
    x = exchange(find())
    harness.submit(x)
    harness.receive(reply(2, batch([{"when": DatetimeMS(2**55)}])))
    assert x.error is None and x.data["data"] == [{"when": DatetimeMS(2**55)}]


def test_another_replica_set_is_refused() -> None:
    harness = Harness(wire(topology=Topology([("db", 27017)], "mine")))
    harness.open()
    harness.receive(reply(1, {**HELLO, "setName": "theirs"}))
    assert isinstance(harness.wire.error, ConnectError) and "'theirs', not 'mine'" in str(harness.wire.error)


@pytest.mark.parametrize("document", [{"a": object()}, {"a": 2**70}, {1: 2}, [1], {"a\0b": 1}, {"$a": {"x": {1, 2}}}])
def test_what_is_no_bson_is_refused(document: Any) -> None:
    with pytest.raises(RequestError, match="the filter"):
        encode_document(document, "the filter")


def test_message_and_parse_are_inverse() -> None:
    assert parse(message(5, bson.encode({"a": 1})))[2] == {"a": 1}


def test_a_wire_that_is_dropped_is_no_ring() -> None:
    gc.collect()
    gc.disable()
    try:
        made = wire(credentials=("user", "pencil", "admin", None))
        made.opened()
        made.receive(reply(1, HELLO))
        del made
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_each_lost_exchange_has_an_error_of_its_own() -> None:
    harness = opened(pipeline=2)
    first, second = exchange(find()), exchange(find())
    harness.submit(first)
    harness.submit(second)
    harness.receive(struct.pack("<iiii", 5, 1, 2, 2013))
    assert str(first.error) == str(second.error) and first.error is not second.error
