"""The stages of the demo: each against its own server, where there is one, and how they are mixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pytest

from aquests.demo import Visit, servers
from aquests.demodatabases import DATABASES
from aquests.demostages import RECORDS, STAGES, Stage, interleaved, record
from aquests.lib.console import Progress
from tests.face import own_engine

ROWS = {
    "HTTP/1.1": "HTTP/1.1",
    "HTTP/2": "HTTP/2.0",
    "WebSocket": "WEBSOCKET",
    "XML-RPC": "XML-RPC",
    "gRPC": "GRPC",
    "SQLite": "SQLITE",
    "Redis": "REDIS",
    "PostgreSQL": "POSTGRESQL",
    "MongoDB": "MONGODB",
}
"""Where the report counts each stage."""


@pytest.fixture
def engine() -> Iterator[None]:
    """An engine of the test's own behind the script face."""
    with own_engine():
        yield


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_answer_is_the_right_one(stage: Stage, engine: None) -> None:
    with servers(names=[stage.name]) as running:
        if stage.name in DATABASES and stage.name in running.absent:
            pytest.skip(running.absent[stage.name])
        assert (list(running.found), running.absent) == ([stage.name], {})
        progress = Progress("", shown=False)
        visit = Visit([stage], 5, progress)
        assert visit.open(running.found).ok
        report = visit.run(2 * RECORDS)
    row = ROWS[stage.name]
    assert (report.ok, report.versions) == (True, {row: 2 * RECORDS})
    assert (progress.done, progress.failed, +visit.wrong) == (2 * RECORDS, 0, Counter())


def test_names_are_different() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    assert {stage.name for stage in STAGES} == set(ROWS) >= set(DATABASES)


def test_records_come_again() -> None:
    assert (record(0), record(RECORDS + 7)) == ("record 0", "record 7")


def test_shares_follow_the_weights() -> None:
    whole = sum(stage.weight for stage in STAGES)
    shares = Counter(stage.name for stage in islice(interleaved(STAGES), 3 * whole))
    assert shares == {stage.name: 3 * stage.weight for stage in STAGES}
    assert max(STAGES, key=lambda stage: stage.weight).name == "HTTP/1.1"


def test_stages_are_mixed() -> None:
    few, many = STAGES[0]._replace(name="few", weight=1), STAGES[0]._replace(name="many", weight=3)
    names = "".join(stage.name[0] for stage in islice(interleaved([many, few]), 12))
    assert names == "mmfm" * 3
