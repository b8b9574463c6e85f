"""One worker, and many on a line that come back together: they stay in the order of the calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import aquests
from aquests.protocols.rediscluster import slot_of
from tests.face import answers, ignore, own_engine
from tests.mongo_peer import ReplicaSet
from tests.servers_redis import redis_cluster


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=1, callback=ignore):
        yield


def test_moved_in_mid_pipeline_keeps_the_order(tmp_path: Path) -> None:
    key = next(key for key in map(str, range(1000)) if slot_of(key.encode()) > 12000)
    with redis_cluster(tmp_path) as nodes:
        stub = aquests.redis(nodes[0].place)
        assert all(response.ok for response in answers(*(stub.rpush(key, n) for n in range(200))))
        with nodes[2].client() as client:
            assert [int(value) for value in client.lrange(key, 0, -1)] == list(range(200))


def test_those_who_were_told_not_primary_keep_the_order() -> None:
    with ReplicaSet(3) as members:
        members.elect(1)
        stub = aquests.mongodb(members.uri(), "shop", pipeline=16, timeout=5)
        assert all(response.ok for response in answers(*(stub.insert("c", {"n": n}) for n in range(100))))
        seen = [command["documents"][0]["n"] for command in members[1].seen if "insert" in command]
    assert seen == list(range(100))
