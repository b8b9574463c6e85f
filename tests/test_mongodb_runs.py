"""Runs against scripted MongoDB servers: hosts that are dead, that hang, that are no primary, that break the line."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import errors

import aquests
from aquests.errors import ConnectError, PeerClosed, ReadError, TimedOut
from aquests.script import script
from tests.mongo_peer import BREAK, SILENCE, Member, ReplicaSet
from tests.peers import ScriptedPeer, cut, hanging_port, refused_port, stall

OPTIONS: dict[str, Any] = {"timeout": 5.0}


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    aquests.configure(2, callback=lambda response: None)
    yield
    script.engine.hang_up()


def ask(request: Any) -> Any:
    """The response, after a run."""
    aquests.fetchall()
    assert request.response is not None
    return request.response


def finds(stub: Any, number: int) -> list[Any]:
    requests = [stub.findone("c") for _ in range(number)]
    aquests.fetchall()
    return [request.response for request in requests]


def test_a_dead_host_is_replaced_by_the_others() -> None:
    with refused_port() as dead, ReplicaSet(2) as members:
        members.elect(1)
        stub = aquests.mongodb(members.uri(f"127.0.0.1:{dead}"), **OPTIONS)
        insert = ask(stub.insert("c", {"a": 1}))
        assert insert.ok and len(members[1].seen) == 1
        assert insert.url == f"mongodb://{members[1].place}/shop" == ask(stub.findone("c")).url
        assert members[0].greeted == 1  # it told who the primary is


def test_those_who_wait_for_a_dead_host_go_elsewhere_with_the_first() -> None:
    class Counted(ScriptedPeer):
        """Closes each line at once."""

    with Counted([cut()]) as dead, ReplicaSet(1) as members:
        members.elect(0)
        stub = aquests.mongodb(members.uri(dead.netloc), **OPTIONS)
        answers = finds(stub, 500)
        assert all(response.ok for response in answers)
        assert {response.url for response in answers} == {f"mongodb://{members[0].place}/shop"}
        assert dead.connections <= 2  # workers
        assert len(members[0].seen) == 500


def test_a_dead_host_is_not_asked_first_again() -> None:
    with refused_port() as dead, ReplicaSet(1) as members:  # there is no primary that could say so
        stub = aquests.mongodb(members.uri(f"127.0.0.1:{dead}"), read_preference="primaryPreferred", **OPTIONS)
        assert ask(stub.findone("c")).ok
        request = stub.findone("c")
        assert request.url == f"mongodb://{members[0].place}/shop" and ask(request).ok


def test_a_host_that_hangs_costs_one_timeout() -> None:
    with hanging_port() as dead, ReplicaSet(1) as members:
        members.elect(0)
        answers = finds(aquests.mongodb(members.uri(f"127.0.0.1:{dead}"), timeout=0.2), 50)
        assert all(response.ok for response in answers)


def test_a_host_that_does_not_greet_is_dead() -> None:
    with ScriptedPeer([stall()]) as dead, ReplicaSet(1) as members:
        members.elect(0)
        assert ask(aquests.mongodb(members.uri(dead.netloc), timeout=0.2).insert("c", {})).ok


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_host_that_speaks_another_language_is_dead(said: bytes) -> None:
    def say_it(sock: Any, number: int) -> None:
        sock.recv(1000)
        sock.sendall(said)

    with ScriptedPeer(say_it) as other, ReplicaSet(1) as members:
        members.elect(0)
        assert ask(aquests.mongodb(members.uri(other.netloc), **OPTIONS).insert("c", {})).ok


def test_another_replica_set_is_passed_over() -> None:
    with ReplicaSet(1) as others, ReplicaSet(1) as members:
        others[0].greeting = lambda: {"ok": 1, "setName": "theirs", "isWritablePrimary": True}
        others.elect(0)
        members.elect(0)
        stub = aquests.mongodb(members.uri(others[0].place, options="?replicaSet=rs"), **OPTIONS)
        assert ask(stub.insert("c", {})).ok
        assert others[0].seen == [] and len(members[0].seen) == 1


def test_when_no_host_answers_all_are_named() -> None:
    with refused_port() as one, refused_port() as two, ScriptedPeer([cut()]) as three:
        places = [f"127.0.0.1:{one}", f"127.0.0.1:{two}", three.netloc]
        stub = aquests.mongodb(f"mongodb://user:s3cret@{','.join(places)}/shop", **OPTIONS)
        for request in (stub.findone("c"), stub.insert("c", {})):
            response = ask(request)
            assert response.status_code == 714 and isinstance(response.error, ConnectError)
            text = str(response.error)
            assert text.startswith("none of 3 hosts can be used: ")
            assert all(place in text for place in places) and text.count("connection refused") == 2
            assert "s3cret" not in f"{text}{response.error!r}{response.url}"


def test_a_single_dead_host_fails_as_before() -> None:
    with refused_port() as dead:
        response = ask(aquests.mongodb(f"127.0.0.1:{dead}", "shop", **OPTIONS).findone("c"))
    assert str(response.error) == f"connection refused, 127.0.0.1:{dead}"


def test_a_password_that_is_refused_is_not_tried_elsewhere() -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        for member in members:
            member.script = lambda command: {"ok": 0, "code": 18, "errmsg": "Authentication failed."}
        stub = aquests.mongodb(members.uri(), "shop", ("user", "s3cret"), **OPTIONS)
        response = ask(stub.insert("c", {}))
        assert response.status_code == 714 and "refused the password" in str(response.error)
        assert len(members[0].seen) == 1 and members[1].greeted == 0


# The primary


def test_the_primary_is_found_and_those_who_wait_come_along() -> None:
    with ReplicaSet(3) as members:
        members.elect(2)
        stub = aquests.mongodb(members.uri(), **OPTIONS)
        answers = finds(stub, 300)
        assert all(response.ok for response in answers)
        assert len(members[2].seen) == 300
        # hello tells a line's first request too late: at most one for each worker is refused
        assert len(members[0].seen) <= 2 and members[1].seen == []
        assert repr(stub) == f"<MongoDB stub of shop at {members[2].place}>"


def test_hosts_that_hello_names_are_known_then() -> None:
    with ReplicaSet(2) as members:
        members.elect(1)
        stub = aquests.mongodb(f"mongodb://{members[0].place}/shop?replicaSet=rs", **OPTIONS)
        assert ask(stub.insert("c", {})).ok and len(members[1].seen) == 1


def test_one_host_without_a_set_stands_alone() -> None:
    with ReplicaSet(2) as members:
        members.elect(1)
        response = ask(aquests.mongodb(members[0].place, "shop", **OPTIONS).insert("c", {}))
        assert isinstance(response.error, errors.NotPrimaryError) and response.status_code == 500
        assert members[1].greeted == 0


def test_an_election_is_waited_for() -> None:
    with refused_port() as dead, ReplicaSet(2) as members:
        members.named = f"127.0.0.1:{dead}"  # nobody has noticed yet
        refusals: list[Any] = []

        def elect(command: dict[str, Any]) -> None:
            refusals.append(command)
            if len(refusals) == 5:
                members.elect(1)

        for member in members:
            member.script = elect
        stub = aquests.mongodb(members.uri(f"127.0.0.1:{dead}"), **OPTIONS)
        response = ask(stub.insert("c", {"a": 1}))
        assert response.ok and response.url == f"mongodb://{members[1].place}/shop"
        assert 5 <= len(refusals) <= 7


def test_a_search_for_the_primary_ends() -> None:
    with ReplicaSet(2) as members:
        response = ask(aquests.mongodb(members.uri(), timeout=0.3).insert("c", {}))
        assert isinstance(response.error, errors.NotPrimaryError) and response.status_code == 500
        assert all(len(member.seen) >= 2 for member in members)


def test_a_primary_that_steps_down_is_followed() -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        stub = aquests.mongodb(members.uri(), **OPTIONS)
        assert ask(stub.insert("c", {})).ok
        members.elect(1)
        assert all(response.ok for response in finds(stub, 20))
        assert ask(stub.insert("c", {})).url == f"mongodb://{members[1].place}/shop"


@pytest.mark.parametrize(
    ("preference", "readers"),
    [("primary", [0]), ("primaryPreferred", [0]), ("secondaryPreferred", [1, 2]), ("nearest", [0, 1, 2])],
)
def test_who_reads(preference: str, readers: list[int]) -> None:
    with ReplicaSet(3) as members:
        members.elect(0)
        stub = aquests.mongodb(members.uri(), read_preference=preference, **OPTIONS)
        assert ask(stub.insert("c", {})).url == f"mongodb://{members[0].place}/shop"
        answers = finds(stub, 30)
        assert all(response.ok for response in answers)
        share = [sum(response.url == f"mongodb://{member.place}/shop" for response in answers) for member in members]
        assert share == [30 // len(readers) if number in readers else 0 for number in range(3)]


def test_reads_leave_a_dead_secondary() -> None:
    with refused_port() as dead, ReplicaSet(2) as members:
        members.elect(0)
        uri = f"mongodb://{members[0].place},127.0.0.1:{dead},{members[1].place}/shop"
        stub = aquests.mongodb(uri, read_preference="secondary", **OPTIONS)
        assert all(response.ok for response in finds(stub, 40))
        assert {response.url for response in finds(stub, 40)} == {f"mongodb://{members[1].place}/shop"}
        assert ask(stub.insert("c", {})).url == f"mongodb://{members[0].place}/shop"


# What may have been executed


@pytest.mark.parametrize(("broken", "kinds"), [(BREAK, (ReadError, PeerClosed)), (SILENCE, (TimedOut,))])
def test_a_write_is_never_repeated(broken: Any, kinds: tuple[type, ...]) -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        members[0].script = lambda command: broken
        response = ask(aquests.mongodb(members.uri(), timeout=0.3).insert("c", {"a": 1}))
        assert type(response.error) in kinds
        assert len(members[0].seen) == 1 and members[1].seen == []


@pytest.mark.parametrize("pipeline", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_no_write_is_executed_twice_whatever_happens(seed: int, pipeline: int) -> None:
    chance = random.Random(seed)
    executed: Counter[int] = Counter()
    aquests.configure(4, callback=lambda response: None)
    with refused_port() as dead, ReplicaSet(3) as members:

        def script_of(member: Member) -> Callable[[dict[str, Any]], Any]:
            def decide(command: dict[str, Any]) -> Any:
                if members.primary is not member:
                    return None  # refused
                executed[command["documents"][0]["_id"]] += 1
                luck = chance.random()
                if luck < 0.1:
                    members.elect(chance.randrange(3))
                return BREAK if 0.05 < luck < 0.2 else {"ok": 1, "n": 1}

            return decide

        for member in members:
            member.script = script_of(member)
        members.elect(1)
        stub = aquests.mongodb(members.uri(f"127.0.0.1:{dead}"), pipeline=pipeline, **OPTIONS)
        requests: list[Any] = [stub.insert("c", {"_id": number}) for number in range(150)]
        aquests.fetchall()
    codes = Counter(request.response.status_code for request in requests)
    assert set(codes) == {200, 700} and codes[200] > 60
    assert max(executed.values()) == 1
    assert all(executed[number] == 1 for number, request in enumerate(requests) if request.response.ok)


@pytest.mark.parametrize("broken", [BREAK, SILENCE])
def test_a_read_goes_to_the_next_host(broken: Any) -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        members[0].script = lambda command: broken if len(members[0].seen) == 1 else None
        stub = aquests.mongodb(members.uri(options="?readPreference=primaryPreferred"), timeout=0.3)
        response = ask(stub.findone("c"))
        assert len(members[0].seen) == 1
        assert response.ok and response.data["data"] == [{"from": members[1].place}]
        assert ask(stub.insert("c", {})).url == f"mongodb://{members[0].place}/shop"  # it is the primary still


def test_a_read_that_secondaries_refuse_comes_back_to_the_primary() -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        members[0].script = lambda command: BREAK if len(members[0].seen) == 1 else None
        response = ask(aquests.mongodb(members.uri(), **OPTIONS).findone("c"))
        assert response.ok and response.data["data"] == [{"from": members[0].place}]


def test_a_read_is_repeated_once() -> None:
    with ReplicaSet(3) as members:
        members.elect(0)
        for member in members:
            member.script = lambda command: BREAK
        response = ask(aquests.mongodb(members.uri(), **OPTIONS).findone("c"))
        assert isinstance(response.error, (ReadError, PeerClosed))
        assert sum(len(member.seen) for member in members) == 2


def test_a_server_that_shuts_down_may_have_executed() -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        members[0].script = lambda command: {"ok": 0, "code": 91, "errmsg": "shutting down"}
        members[1].script = lambda command: {"ok": 1, "n": 1, "cursor": {"id": 0, "firstBatch": []}}
        stub = aquests.mongodb(members.uri(), **OPTIONS)
        assert isinstance(ask(stub.insert("c", {})).error, errors.NotPrimaryError)
        assert members[1].seen == []
        assert ask(stub.findone("c")).ok


@pytest.mark.parametrize("pipeline", [1, 2])
def test_a_server_that_falls_silent_holds_nobody(pipeline: int) -> None:
    aquests.configure(1, callback=lambda response: None)
    with ReplicaSet(1) as members:
        server = members.elect(0)
        server.script = lambda command: SILENCE if len(server.seen) <= 3 else None
        stub = aquests.mongodb(server.place, "shop", timeout=0.2, pipeline=pipeline)
        answers = finds(stub, 6)
        assert [response.status_code for response in answers] == [702, 702, 702, 200, 200, 200]


@pytest.mark.parametrize("code", [11000, 59, 13])
def test_a_refusal_is_an_answer(code: int) -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        members[0].script = lambda command: {"ok": 0, "code": code, "errmsg": "no"}
        response = ask(aquests.mongodb(members.uri(), **OPTIONS).insert("c", {"a": 1}))
        assert isinstance(response.error, errors.OperationFailure)
        assert len(members[0].seen) == 1 and members[1].greeted == 0


# Cursors


def test_a_cursor_stays_with_its_server() -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        batch = {"ok": 1, "cursor": {"id": 9, "firstBatch": [1], "nextBatch": [2]}}
        members[0].script = lambda command: batch
        stub = aquests.mongodb(members.uri(), **OPTIONS)
        assert ask(stub.findkc("c", {}, 0, 1)).data["cursor_id"] == 9
        members.elect(1)
        members[0].script = lambda command: batch if "getMore" in command or "killCursors" in command else None
        assert ask(stub.insert("c", {})).url == f"mongodb://{members[1].place}/shop"
        more = ask(stub.get_more("c", 9, 1))
        assert more.url == f"mongodb://{members[0].place}/shop" and more.data["data"] == [1]
        assert ask(stub.kill_cursors(9)).url == f"mongodb://{members[0].place}/shop"


def test_what_is_about_a_cursor_does_not_leave_a_dead_host() -> None:
    with refused_port() as dead, ReplicaSet(1) as members:
        members.elect(0)
        stub = aquests.mongodb(members.uri(f"127.0.0.1:{dead}"), **OPTIONS)
        stub._topology.cursors[9] = ("c", ("127.0.0.1", dead))
        requests: list[Any] = [stub.findone("c"), stub.get_more("c", 9), stub.findone("c"), stub.get_more("c", 9)]
        aquests.fetchall()
        assert [request.response.status_code for request in requests] == [200, 714, 200, 714]
        assert not any("getMore" in command for command in members[0].seen)


def test_a_run_that_is_stopped_asks_nobody_else() -> None:
    with ReplicaSet(2) as members:
        members.elect(0)
        members[0].script = lambda command: SILENCE
        stub = aquests.mongodb(members.uri(), **OPTIONS)
        request = stub.findone("c")
        engine = script.engine
        while not members[0].seen:
            engine.step(0.01)
        engine.hang_up()
        assert request.response is not None and "stopped" in str(request.response.error)
        assert members[1].greeted == 0
        aquests.fetchall()
