"""MongoDB's stub: what is said about addresses, names and options where they are written."""

from __future__ import annotations

from typing import Any

import bson
import pytest

import aquests
from aquests.errors import RequestError
from tests.certs import Certs
from tests.face import drop


def queued(request: Any) -> Any:
    """The command of a queued request; the queue is emptied again."""
    drop()
    return request.payload


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("mongodb+srv://host/db",), {}, "list the hosts"),
        (("host:port", "db"), {}, "cannot be read"),
        (("mongodb://u:s3cret@host:notaport/db",), {}, "cannot be read"),
        ((7, "db"), {}, "not int"),
        (("host",), {}, "database is missing"),
        (("host", "db", "s3cret"), {}, "auth is"),
        (("host", "db"), {"pipeline": 0}, "pipeline"),
        (("host", "db"), {"pipeline": 1001}, "pipeline must be a whole number from 1 to 1000, not 1001"),
        (("host", "db"), {"pipeline": True}, "pipeline"),
        (("host", "db"), {"auth_mechanism": "PLAIN"}, "SCRAM"),
        (("host", "db"), {"timeout": -1}, "timeout"),
        (("host", "db"), {"read_preference": "tertiary"}, "read_preference"),
        (("mongodb://u:1/s3cret@host/db",), {}, "as %2F and %40"),
        (("mongodb://host/s3cret@x",), {}, "as %2F and %40"),
        (("mongodb://u:s3cret@host/db?tls=true&tlsCertificateKeyFile=/nowhere",), {}, "cannot be read: .*/nowhere"),
        (("host", "db", ("u", "s3cret\ud800")), {}, "auth is text that UTF-8 cannot encode"),
    ],
)
def test_what_cannot_be(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        aquests.mongodb(*arguments, **options)
    assert "s3cret" not in str(caught.value) and "s3cret" not in repr(caught.value.__cause__)


def test_a_misspelt_option() -> None:
    with pytest.raises(TypeError, match="timeout"):
        aquests.mongodb("host", "db", timeot=3)


def test_credentials_never_show() -> None:
    stub = aquests.mongodb("mongodb://user:s3cret@h1,h2:27018/db?authSource=other&replicaSet=rs&tls=true")
    request = stub.findone("c")
    assert request.url == "mongodb://h1:27017/db" and "s3cret" not in f"{stub!r}{request!r}{request.endpoint!r}"
    assert request.endpoint.scheme == "mongodb+tls"
    assert request.endpoint.options["credentials"] == ("user", "s3cret", "other", None)
    queued(request)


@pytest.mark.parametrize(
    ("call", "document"),
    [
        (lambda db: db.find("c", {"a": 1}, 2, 3), {"find": "c", "filter": {"a": 1}, "skip": 2, "limit": 3}),
        (lambda db: db.findone("c"), {"find": "c", "filter": {}, "limit": 1, "singleBatch": True}),
        (lambda db: db.findall("c", sort="n"), {"find": "c", "filter": {}, "sort": {"n": 1}}),
        (lambda db: db.findkc("c", {}, 0, 9), {"find": "c", "filter": {}, "batchSize": 9}),
        (lambda db: db.count("c", {"a": 1}), {"count": "c", "query": {"a": 1}}),
        (lambda db: db.delete("c", {"a": 1}, 1), {"delete": "c", "deletes": [{"q": {"a": 1}, "limit": 1}]}),
        (
            lambda db: db.upsert("c", {"a": 1}, {"$set": {"b": 2}}),
            {"update": "c", "updates": [{"q": {"a": 1}, "u": {"$set": {"b": 2}}, "multi": True, "upsert": True}]},
        ),
        (lambda db: db.command("ping"), {"ping": 1}),
        (lambda db: db.kill_cursors([4], "c"), {"killCursors": "c", "cursors": [4]}),
    ],
)
def test_commands(call: Any, document: dict[str, Any]) -> None:
    sent = bson.decode(queued(call(aquests.mongodb("host", "db"))).data)
    assert sent.pop("$db") == "db" and sent == document


@pytest.mark.parametrize(
    "call",
    [
        lambda db, own: db.find("c", {}, 0, 1, **own),
        lambda db, own: db.findone("c", **own),
        lambda db, own: db.findall("c", **own),
        lambda db, own: db.findkc("c", **own),
        lambda db, own: db.get_more("c", 5, **own),
        lambda db, own: db.kill_cursors([5], "c", **own),
        lambda db, own: db.aggregate("c", [{"$match": {}}], allowDiskUse=True, **own),
        lambda db, own: db.count("c", **own),
        lambda db, own: db.command("ping", **own),
        lambda db, own: db.insert("c", {}, **own),
        lambda db, own: db.update("c", {}, {"$set": {"a": 1}}, **own),
        lambda db, own: db.updateone("c", {}, {"a": 1}, **own),
        lambda db, own: db.upsert("c", {}, {"$set": {"a": 1}}, **own),
        lambda db, own: db.upsertone("c", {}, {"a": 1}, **own),
        lambda db, own: db.delete("c", {}, **own),
    ],
)
def test_a_call_has_options_of_its_own(call: Any) -> None:
    stub = aquests.mongodb("host", "db", meta={"job": "a", "part": 1}, timeout=3)
    request = call(stub, {"callback": print, "meta": {"part": 2}, "timeout": 1, "max_content": 50})
    assert request.callback is print and {**request.meta, "job": "a", "part": 2} == request.meta
    assert request.options["timeout"] == 1 and request.options["max_content"] == 50
    sent = bson.decode(queued(request).data)
    assert not sent.keys() & {"callback", "meta", "timeout", "max_content"}
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        call(stub, {"timout": 1}) if "allowDiskUse" not in sent else stub.find("c", timout=1)


def test_an_update_of_the_greatest_size_is_sent() -> None:
    most = "x" * ((16 << 20) - 13)
    command = queued(aquests.mongodb("host", "db").updateone("c", {"_id": 1}, {"a": most}))
    assert len(command.data) > 16 << 20


def test_equal_stubs_share_their_lines_and_what_is_known_of_the_servers() -> None:
    def place(*args: Any, **options: Any) -> Any:
        request = aquests.mongodb(*args, **options).findone("c")
        queued(request)
        return request.endpoint

    first = place("mongodb://a,b/db", auth=("u", "p"))
    assert place("mongodb://A:27017,b/db", auth=("u", "p"), callback=print) is first
    assert place("mongodb://u:p@a,b/", "db", auth_source="db") is first
    others = [place("mongodb://a,b/db"), place("mongodb://a/db", auth=("u", "p")), place("mongodb://b,a/db")]
    others += [place("mongodb://a,b/other", auth=("u", "p")), place("mongodb://a,b/db?replicaSet=r", auth=("u", "p"))]
    assert len({id(one) for one in (first, *others)}) == 6


@pytest.mark.parametrize(
    ("call", "reads"),
    [
        (lambda db: db.find("c"), True),
        (lambda db: db.findkc("c"), True),
        (lambda db: db.count("c"), True),
        (lambda db: db.aggregate("c", [{"$match": {}}]), True),
        (lambda db: db.aggregate("c", [{"$match": {}}, {"$out": "d"}]), False),
        (lambda db: db.aggregate("c", [{"$merge": "d"}]), False),
        (lambda db: db.insert("c", {}), False),
        (lambda db: db.upsert("c", {}, {}), False),
        (lambda db: db.delete("c", {}), False),
        (lambda db: db.command("ping"), False),
        (lambda db: db.get_more("c", 5), False),
    ],
)
def test_what_may_be_asked_twice_and_of_secondaries(call: Any, reads: bool) -> None:
    command = queued(call(aquests.mongodb("mongodb://host/db?readPreference=secondaryPreferred")))
    assert command.reads is reads
    assert bson.decode(command.data).get("$readPreference") == ({"mode": "secondaryPreferred"} if reads else None)


def test_cursors_are_asked_for_where_they_live() -> None:
    stub = aquests.mongodb("mongodb://a,b,c/db")
    cursors = stub._topology.cursors
    cursors.update({1: ("x", ("b", 27017)), 2: ("x", ("b", 27017)), 3: ("y", ("c", 27017))})
    more = stub.get_more("x", 1)
    assert more.endpoint.host == "b" and queued(more).cursor == 1
    unknown = stub.get_more("x", 77)
    assert unknown.endpoint.host == "a" and queued(unknown).cursor == 77
    with pytest.raises(RequestError, match="on 2 servers"):
        stub.kill_cursors([1, 3])
    assert len(cursors) == 3
    kill = stub.kill_cursors([1, 2])
    assert kill.endpoint.host == "b" and list(cursors) == [3]
    assert bson.decode(queued(kill).data) == {"killCursors": "x", "cursors": [1, 2], "$db": "db"}


@pytest.mark.parametrize(
    "call",
    [
        lambda db: db.find("", {}),
        lambda db: db.find("$c", {}),
        lambda db: db.find("c", [1]),
        lambda db: db.find("c", {}, -1),
        lambda db: db.find("c", {}, 0, True),
        lambda db: db.find("c", {}, sort=5),
        lambda db: db.find("c", {}, sort=[1]),
        lambda db: db.find("c", {}, projection=5),
        lambda db: db.find("c", {}, projection="abc"),
        lambda db: db.aggregate("c", {"$match": {}}),
        lambda db: db.aggregate("c", "abc"),
        lambda db: db.aggregate("c", 5),
        lambda db: db.aggregate("c", [5]),
        lambda db: db.command({}),
        lambda db: db.command(5),
        lambda db: db.insert("c", None),
        lambda db: db.insert("c", []),
        lambda db: db.update("c", {}, "x"),
        lambda db: db.update("c", {}, {"$set": {"a": "x" * (16 << 20)}}),
        lambda db: db.findone("c", {"a": "x" * (17 << 20)}),
        lambda db: db.kill_cursors([1]),
        lambda db: db.kill_cursors([], "c"),
        lambda db: db.kill_cursors(["1"], "c"),
        lambda db: db.get_more("c", 2**64),
    ],
)
def test_bad_calls_leave_no_trace(call: Any) -> None:
    stub = aquests.mongodb("host", "db")
    before = aquests.qsize()
    with pytest.raises(RequestError):
        call(stub)
    assert aquests.qsize() == before


def test_what_a_uri_says_of_certificates(certs: Certs) -> None:
    stub = aquests.mongodb(f"mongodb://host/db?tls=true&tlsCAFile={certs.ca}&tlsCertificateKeyFile={certs.client.key}")
    request = stub.findone("c")
    assert request.endpoint.scheme == "mongodb+tls"
    assert (request.endpoint.options["ca"], request.endpoint.options["cert"]) == (certs.ca, certs.client.key)
    queued(request)
