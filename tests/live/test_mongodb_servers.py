"""MongoDB against a real server, with PyMongo as the second opinion."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from pymongo import errors

import aquests
from aquests.errors import RequestError
from aquests.script import script
from tests.certs import Certs
from tests.peers import refused_port
from tests.servers_mongodb import HOW, User, mongodb_server, program

pytestmark = pytest.mark.skipif(program() is None, reason=HOW)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mongodb_server(tmp_path_factory.mktemp("mongo")) as server:
        yield server.place


@pytest.fixture
def oracle(server: str) -> Iterator[Any]:
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(server, serverSelectionTimeoutMS=5000)
    with client:
        yield client.shop


@pytest.fixture
def db(server: str, oracle: Any) -> Iterator[Any]:
    aquests.configure(4, callback=lambda response: None)
    yield aquests.mongodb(server, "shop", timeout=20)
    script.engine.hang_up()
    for name in oracle.list_collection_names():
        oracle.drop_collection(name)


def ask(request: Any) -> Any:
    """The response, after a run."""
    aquests.fetchall()
    assert request.response is not None
    return request.response


def test_documents_come_back_as_pymongo_sees_them(db: Any, oracle: Any) -> None:
    document = {
        "_id": bson.ObjectId(),
        "text": "zażółć",
        "int": 2**40,
        "float": 1.5,
        "none": None,
        "bool": True,
        "list": [1, {"a": 3}],
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "bytes": b"\0\1\2",
    }
    response = ask(db.insert("things", document))
    assert response.ok and response.status_code == 200 and response.lane == "MONGODB"
    assert response.data == {"n": 1, "ids": [document["_id"]]}
    assert oracle.things.find_one() == document
    found = ask(db.findone("things", {"_id": document["_id"]}))
    assert found.data == {"starting_from": 0, "number_returned": 1, "cursor_id": 0, "data": [document]}


def test_find_offset_limit_sort_projection(db: Any, oracle: Any) -> None:
    oracle.numbers.insert_many([{"_id": n, "n": n % 7, "x": "y"} for n in range(100)])
    page = ask(db.find("numbers", {"n": 3}, 2, 5, sort=[("_id", -1)], projection=["_id"]))
    wanted = list(oracle.numbers.find({"n": 3}, ["_id"]).sort("_id", -1).skip(2).limit(5))
    assert page.data["data"] == wanted and page.data["starting_from"] == 2 and page.data["number_returned"] == 5
    assert len(ask(db.find("numbers", {}, 0, 0)).data["data"]) == 100
    assert len(ask(db.find("numbers")).data["data"]) == 1
    assert ask(db.count("numbers", {"n": 3})).data == oracle.numbers.count_documents({"n": 3})
    assert ask(db.find("nothing", {})).data["data"] == []


def test_findall_drains_the_cursor(db: Any, oracle: Any) -> None:
    oracle.many.insert_many([{"_id": n} for n in range(1000)])
    response = ask(db.findall("many", sort="_id"))
    assert [document["_id"] for document in response.data["data"]] == list(range(1000))
    assert response.data["cursor_id"] == 0


def test_what_is_too_large_leaves_a_line_that_goes_on(server: str, db: Any, oracle: Any) -> None:
    oracle.many.insert_many([{"_id": n, "text": "x" * 1000} for n in range(300)])
    aquests.configure(1, callback=lambda response: None)
    little = aquests.mongodb(server, "shop", max_content=50_000)
    requests: list[Any] = [little.findall("many"), little.findone("many"), little.count("many"), little.findall("many")]
    report = aquests.fetchall()
    assert [request.response.status_code for request in requests] == [719, 200, 200, 719]
    assert report.connections == 1


def test_kept_cursors_are_killed(db: Any, oracle: Any) -> None:
    oracle.many.insert_many([{"_id": n} for n in range(10)])
    cursor = ask(db.findkc("many", {}, 0, 4)).data["cursor_id"]
    assert ask(db.kill_cursors([cursor])).ok
    gone = ask(db.get_more("many", cursor, 4))
    assert isinstance(gone.error, errors.CursorNotFound) and gone.status_code == 500


def test_a_kept_cursor_goes_on(db: Any, oracle: Any) -> None:
    oracle.many.insert_many([{"_id": n} for n in range(10)])
    aquests.configure(1, callback=lambda response: None)
    pages: list[Any] = []

    def more(response: Any) -> None:
        pages.append([document["_id"] for document in response.data["data"]])
        if response.data["cursor_id"]:
            db.get_more("many", response.data["cursor_id"], 4)

    aquests.configure(1, callback=more)
    db.findkc("many", {}, 0, 4, sort="_id")
    aquests.fetchall()
    assert pages == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_writes(db: Any, oracle: Any) -> None:
    oracle.c.insert_many([{"_id": n, "n": 1} for n in range(5)])
    assert ask(db.update("c", {"n": 1}, {"$set": {"n": 2}})).data["nModified"] == 5
    assert ask(db.updateone("c", {"n": 2}, {"$set": {"n": 3}})).data["nModified"] == 1
    assert ask(db.upsertone("c", {"_id": 99}, {"$set": {"n": 9}})).data["upserted"] == [{"index": 0, "_id": 99}]
    assert ask(db.delete("c", {"n": 2}, 1)).data == {"n": 1}
    assert ask(db.delete("c", {"n": 2})).data == {"n": 3}
    assert sorted(document["n"] for document in oracle.c.find()) == [3, 9]


def test_duplicates_are_answers(db: Any, oracle: Any) -> None:
    oracle.c.insert_one({"_id": 1})
    one = ask(db.insert("c", {"_id": 1}))
    assert one.status_code == 500 and isinstance(one.error, errors.DuplicateKeyError) and not one.ok
    many = ask(db.insert("c", [{"_id": 2}, {"_id": 1}, {"_id": 3}], continue_on_error=1))
    assert isinstance(many.error, errors.BulkWriteError)
    assert ask(db.findone("c", {"_id": 2})).ok


def test_aggregate_and_command(db: Any, oracle: Any) -> None:
    oracle.c.insert_many([{"_id": n, "k": n % 3} for n in range(30)])
    pipeline = [{"$match": {"k": 1}}, {"$sort": {"_id": 1}}]
    assert ask(db.aggregate("c", pipeline)).data["data"] == list(oracle.c.aggregate(pipeline))
    assert ask(db.command("ping")).ok
    unknown = ask(db.command({"thereIsNoSuchCommand": 1}))
    assert unknown.status_code == 500 and isinstance(unknown.error, errors.OperationFailure)


def test_a_thousand_operations_each_with_its_own_answer(db: Any, oracle: Any) -> None:
    oracle.c.insert_many([{"_id": n, "twice": 2 * n} for n in range(200)])
    aquests.configure(8, callback=lambda response: None)
    requests = {n: db.findone("c", {"_id": n % 200}, projection={"twice": 1}) for n in range(1000)}
    report = aquests.fetchall()
    assert report.ok and report.tasks == 1000
    for n, request in requests.items():
        assert request.response.data["data"] == [{"_id": n % 200, "twice": 2 * (n % 200)}]


def test_pipelined_operations(server: str, db: Any, oracle: Any) -> None:
    oracle.c.insert_many([{"_id": n} for n in range(50)])
    aquests.configure(1, callback=lambda response: None)
    fast = aquests.mongodb(server, "shop", pipeline=16)
    requests = [fast.findone("c", {"_id": n % 50}) for n in range(300)]
    assert aquests.fetchall().ok
    answers = [request.response for request in requests]
    assert [answer and answer.data["data"][0]["_id"] for answer in answers] == [n % 50 for n in range(300)]


def test_uri(server: str, db: Any, oracle: Any) -> None:
    oracle.c.insert_one({"_id": 5})
    by_uri = aquests.mongodb(f"mongodb://{server}/shop?appName=test&socketTimeoutMS=5000")
    assert ask(by_uri.findone("c")).data["data"] == [{"_id": 5}]


def test_a_server_that_is_not_there() -> None:
    aquests.configure(1, callback=lambda response: None)
    with refused_port() as port:
        response = ask(aquests.mongodb(f"127.0.0.1:{port}", "shop", ("user", "s3cret")).findone("c"))
    assert response.status_code == 714 and "connection refused" in str(response.error)
    assert "s3cret" not in f"{response.error!r}{response.url}{response!r}"


def test_what_cannot_be_is_said_at_once(db: Any) -> None:
    with pytest.raises(RequestError, match="document 1"):
        db.insert("c", [{}, {"a": object()}])
    with pytest.raises(RequestError, match="16,777,2"):
        db.insert("c", {"a": "x" * 17_000_000})
    assert aquests.qsize() == 0


def test_a_dead_host_beside_a_real_one(server: str, db: Any, oracle: Any) -> None:
    oracle.c.insert_one({"_id": 5})
    with refused_port() as port:
        stub = aquests.mongodb(f"mongodb://127.0.0.1:{port},{server}/shop", timeout=20)
        requests: list[Any] = [stub.findone("c") for _ in range(50)]
        insert: Any = stub.insert("c", {"_id": 6})
        assert aquests.fetchall().ok
    assert [request.response.data["data"] for request in requests] == [[{"_id": 5}]] * 50
    assert insert.response.url == f"mongodb://{server}/shop" and oracle.c.count_documents({}) == 2


def test_a_server_that_is_killed_in_the_middle(server: str, oracle: Any, hung_up: None, tmp_path: Path) -> None:
    oracle.c.insert_many([{"_id": n} for n in range(100)])
    aquests.configure(8, callback=lambda response: None)
    with mongodb_server(tmp_path) as mortal:
        with pymongo.MongoClient[dict[str, Any]](mortal.place) as client:
            client.shop.c.insert_many([{"_id": n} for n in range(100)])
        answers: list[Any] = []

        def on_answer(response: Any) -> None:
            answers.append(response)
            if len(answers) == 300:
                mortal.process.kill()

        stub = aquests.mongodb(f"mongodb://{mortal.place},{server}/shop", timeout=20, callback=on_answer)
        requests: list[Any] = [stub.findone("c", {"_id": n % 100}) for n in range(1000)]
        report = aquests.fetchall()
    assert report.ok and len(answers) == 1000
    assert [request.response.data["data"] for request in requests] == [[{"_id": n % 100}] for n in range(1000)]
    assert {response.url for response in answers} == {f"mongodb://{mortal.place}/shop", f"mongodb://{server}/shop"}
    oracle.drop_collection("c")


# TLS and passwords

USER = User("user", "s3cret")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certs: Certs) -> Iterator[str]:
    with mongodb_server(tmp_path_factory.mktemp("guarded"), certs, USER) as server:
        yield server.place


@pytest.fixture
def hung_up() -> Iterator[None]:
    aquests.configure(2, callback=lambda response: None)
    yield
    script.engine.hang_up()


@pytest.mark.parametrize("mechanism", [None, "SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_tls_and_scram(guarded: str, certs: Certs, hung_up: None, mechanism: str | None) -> None:
    stub = aquests.mongodb(guarded, "shop", USER, tls=True, ca=certs.ca, auth_mechanism=mechanism, auth_source="admin")
    document = {"_id": f"{mechanism}", "text": "x" * 100_000}
    assert ask(stub.insert("c", document)).ok
    assert ask(stub.findone("c", {"_id": f"{mechanism}"})).data["data"] == [document]
    with pymongo.MongoClient[dict[str, Any]](guarded, tls=True, tlsCAFile=certs.ca, **_as_pymongo()) as oracle:
        assert oracle.shop.c.find_one({"_id": f"{mechanism}"}) == document


def _as_pymongo() -> dict[str, Any]:
    return {"username": USER.name, "password": USER.password, "serverSelectionTimeoutMS": 5000}


def test_tls_in_the_uri(guarded: str, certs: Certs, hung_up: None) -> None:
    uri = f"mongodb://user:s3cret@{guarded}/shop?authSource=admin&tls=true&tlsCAFile={certs.ca}"
    assert ask(aquests.mongodb(uri).findone("nothing")).ok
    unchecked = f"mongodb://user:s3cret@{guarded}/shop?authSource=admin&tls=true&tlsAllowInvalidCertificates=true"
    assert ask(aquests.mongodb(unchecked).findone("nothing")).ok


@pytest.mark.parametrize("known", [False, True])
def test_a_certificate_of_another_authority(guarded: str, certs: Certs, hung_up: None, known: bool) -> None:
    ca: dict[str, Any] = {"ca": certs.unknown_ca.cert} if known else {}
    response = ask(aquests.mongodb(guarded, "shop", USER, tls=True, **ca).findone("c"))
    assert response.status_code == 713 and "unknown authority" in str(response.error)
    assert "s3cret" not in f"{response.error!r}{response.url}"


def test_a_server_of_tls_that_is_asked_without(guarded: str, hung_up: None) -> None:
    response = ask(aquests.mongodb(guarded, "shop", timeout=3).findone("c"))
    assert response.status_code >= 700


def test_a_wrong_password(guarded: str, certs: Certs, hung_up: None) -> None:
    stub = aquests.mongodb(guarded, "shop", ("user", "wr0ng"), tls=True, ca=certs.ca, auth_source="admin")
    response = ask(stub.insert("c", {"a": 1}))
    assert response.status_code == 714 and "refused the password" in str(response.error)
    assert "wr0ng" not in f"{response.error!r}{response.url}"


def test_nobody_comes_in_without_a_password(guarded: str, certs: Certs, hung_up: None) -> None:
    response = ask(aquests.mongodb(guarded, "shop", tls=True, ca=certs.ca).findone("c"))
    assert response.status_code == 500 and isinstance(response.error, errors.OperationFailure)
    assert response.error.code == 13
