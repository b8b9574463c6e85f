"""What is known of the servers behind a URI; whole runs are in tests/test_mongodb_runs.py."""

from __future__ import annotations

from typing import Any

import pytest

from aquests.errors import ConnectError
from aquests.protocols import mongohosts
from aquests.protocols.mongohosts import REST, REVIVAL, Topology, address_of, label, shown_url

A, B, C, D = ("a", 1), ("b", 2), ("c", 3), ("d", 4)


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("Host:1", ("host", 1), "host:1"),
        ("[::1]:27018", ("::1", 27018), "[::1]:27018"),
        ("bare", ("bare", 27017), "bare:27017"),
        ("", ("", 27017), ":27017"),
    ],
)
def test_addresses(text: str, address: Any, written: str) -> None:
    assert address_of(text) == address and label(address) == written
    assert shown_url(address, "shop") == f"mongodb://{written}/shop"


@pytest.mark.parametrize("port", ["0", "65536", "99999999999"])
def test_ports_that_cannot_be(port: str) -> None:
    with pytest.raises(ValueError, match="port"):
        address_of(f"host:{port}")


def hello(**more: Any) -> dict[str, Any]:
    return {"ok": 1, "setName": "rs", "hosts": ["b:2", "c:3"], **more}


def test_hello_tells_of_the_others_and_seeds_are_kept() -> None:
    topology = Topology([A, B], None)
    topology.learn(B, hello(passives=["d:4"], primary="c:3"))
    assert topology.hosts == [B, C, D, A]
    assert (topology.primary, topology.replica_set) == (C, "rs")
    with pytest.raises(ConnectError, match="'other', not 'rs'"):
        topology.learn(A, hello(setName="other"))
    topology.learn(B, hello(isWritablePrimary=True))
    assert topology.primary == B


def test_one_server_tells_nothing_about_others() -> None:
    topology = Topology([A], None)
    topology.learn(A, hello(primary="c:3"))
    assert not topology.several and (topology.hosts, topology.primary) == ([A], A)


def test_a_dead_primary_is_believed_when_it_speaks_itself() -> None:
    topology = Topology([A, B, C], "rs")
    topology.lose(C, 100.0)
    topology.primary = B
    topology.learn(B, hello(primary="c:3"))
    assert topology.primary == B
    topology.learn(C, hello(ismaster=True))
    topology.primary = B
    topology.learn(B, hello(primary="c:3"))
    assert topology.primary == C


def test_the_order_of_asking() -> None:
    topology = Topology([A, B, C, D], "rs")
    topology.primary = C
    topology.lose(B, 7.0)
    topology.lose(A, 8.0)
    tried: list[str] = []
    while (host := topology.untried(tried)) is not None:
        tried.append(label(host))
    assert tried == ["c:3", "d:4", "b:2", "a:1"]


def test_readers_take_turns() -> None:
    topology = Topology([A, B, C], "rs")

    def readers(now: float, *, any_of_them: bool = False) -> list[Any]:
        return sorted(topology.reader(now, any_of_them=any_of_them) for _ in range(6))

    assert readers(50.0) == [B, B, B, C, C, C]
    assert readers(50.0, any_of_them=True) == [A, A, B, B, C, C]
    topology.lose(B, 50.0)
    assert readers(50.0) == [C] * 6
    topology.lose(C, 60.0)
    assert readers(60.0) == [A] * 6
    assert readers(50.1 + REVIVAL) == [B] * 6
    assert Topology([A], None).reader(0.0, any_of_them=False) == A


def test_round_and_round() -> None:
    topology = Topology([A, B, C], "rs")
    assert topology.after(B, 100.0) == A  # the primary, as far as is known
    assert [topology.after(host, 100.0) for host in (A, D)] == [B, A]
    topology.lose(A, 100.0)
    assert topology.after(C, 100.0 + REST) == B
    topology.lose(B, 100.0)
    assert topology.after(C, 100.0 + REST) == C
    assert topology.after(C, 100.1 + REST) == A


def test_cursors_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongohosts, "MAX_CURSORS", 2)
    topology = Topology([A], None)
    for number in (1, 2, 3):
        topology.keep(number, "c", A)
    assert list(topology.cursors) == [2, 3]
