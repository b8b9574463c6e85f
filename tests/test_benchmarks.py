"""The benchmark room: what it says about measurements, and that it runs. No figure is judged here."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cserver, goserver, rounds
from benchmarks.__main__ import CASES
from benchmarks.case import Case, Column, Entry, Job, Outcome, Site
from benchmarks.child import Tally
from benchmarks.machine import Absent
from benchmarks.mongoserver import CACHE
from benchmarks.peers import h2load, hey, pgbench, redis_benchmark, wrk
from benchmarks.process import free_ports, reap, running
from benchmarks.rounds import Fault, Plan, Result, Row, whole
from benchmarks.table import data, render
from tests.helpers import ROOT


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def races(*cases: str, against: str) -> None:
    """A short run of each shows us, and how we compare."""
    done = bench(*cases, "--smoke")
    assert done.returncode == 0, done.stderr
    assert "aquests, fed" in done.stdout and f"× {against}" in done.stdout and "failed" not in done.stdout


# --- the whole of it -----------------------------------------------------------------------------------------


def test_list_names_every_case() -> None:
    done = bench("--list")
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert names == list(CASES)
    assert "aiohttp on uvloop" in done.stdout


@pytest.mark.parametrize("words", [["nonsense"], ["heads", "--only", "wrk"], ["heads", "--rounds", "0"]])
def test_what_does_not_exist_is_refused(words: list[str]) -> None:
    done = bench(*words)
    assert done.returncode == 2 and "error:" in done.stderr


def test_a_case_prints_its_table_and_keeps_its_figures(tmp_path: Path) -> None:
    done = bench("heads", "histogram", "--smoke", "--rounds", "2", "--json", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stderr
    assert "µs/head  lowest – highest  × parsed\n  parsed " in done.stdout
    assert "round trips a second between the cores" in done.stdout
    kept = json.loads((tmp_path / "kept").read_text())
    assert [case["case"] for case in kept["cases"]] == ["heads", "histogram"]
    assert [len(row["outcomes"]) for row in kept["cases"][0]["rows"]] == [2, 2, 2]
    assert kept["machine"]["python"] in done.stdout


def test_a_race_against_a_server() -> None:
    if shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") is None and shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    done = bench("http1", "--smoke", "--only", "aquests", "--only", "aquests, fed")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  aquests")]
    assert [row[-1] for row in rows] == ["10", "10"], "lines opened, by the server's count"


# --- a measurement -------------------------------------------------------------------------------------------

ENTRY = Entry("one", "somewhere:run")
CASE = Case("case", "{size} bytes, {lines} lines, {count:,} times", (ENTRY,), (Column("rate", "answers/s"),), lines=10)


class Lab:
    """Runs a case without processes: ``answer`` says what each child reports, ``jobs`` what they were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: list[Job] = []
        self.outcome: Outcome = {}
        monkeypatch.setattr(rounds, "round_trips", lambda *_: 1000.0)
        monkeypatch.setattr(rounds, "raise_descriptors", lambda: 1000)
        monkeypatch.setattr(rounds, "run_child", self._child)

    def _child(self, function: str, job: Job, core: int | None) -> Outcome:
        self.jobs.append(job)
        at_20_000 = {"count": job.count, "rate": 20_000.0, "seconds": job.count / 20_000}
        return {**at_20_000, **self.outcome}

    def run(self, case: Case = CASE, plan: Plan = rounds.FULL) -> Row:
        return rounds.run_case(case, plan).rows[0]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


def test_a_race_is_sized_to_its_time(lab: Lab) -> None:
    row = lab.run(plan=Plan(rounds=3, seconds=2.0))
    assert [job.count for job in lab.jobs] == [40, 640, 10_240, 40_000, 40_000, 40_000]
    assert len(row.outcomes) == 3 and row.measured


def test_a_slow_peer_is_probed_once_and_every_line_gets_work(lab: Lab) -> None:
    lab.outcome = {"rate": 3.0, "seconds": 13.0}
    lab.run(plan=Plan(rounds=1, seconds=2.0))
    assert [job.count for job in lab.jobs] == [40, 40]


def test_counted_work_is_scaled(lab: Lab) -> None:
    lab.run(Case("case", "", (ENTRY,), CASE.columns, count=1000, rounds=7), rounds.QUICK)
    assert [job.count for job in lab.jobs] == [200] * 7


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        ({"count": 39}, "39 of 40 answered"),
        ({"bad": 2, "wrong": "status 500, 0 bytes"}, "2 wrong answers, the first: status 500, 0 bytes"),
    ],
)
def test_a_wrong_answer_is_no_figure(lab: Lab, outcome: Outcome, fault: str) -> None:
    lab.outcome = outcome
    row = lab.run(plan=rounds.SMOKE)
    assert row.fault == fault and not row.measured


@pytest.mark.parametrize(("served", "fault"), [(41, ""), (40, "40 answers counted, but the server gave 39")])
def test_the_server_has_a_say(lab: Lab, served: int, fault: str) -> None:
    counts = iter([(5, 100), (5 + 10 + 1, 100 + served)])
    site = Site("http://nowhere/", 1, counters=lambda: next(counts))
    result = Result(CASE, 10, 1, 1.0, [Row(ENTRY)])
    rounds.Room(result, rounds.SMOKE, site).run()
    row = result.rows[0]
    assert row.fault == fault
    assert [outcome["lines"] for outcome in row.outcomes] == ([] if fault else [10])


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(Fault, match="KeyError: 'heads'"):
        rounds.run_child("heads:run", Job(count=1), None)


def test_who_is_not_installed_is_named(lab: Lab) -> None:
    entries = (Entry("a", "x:y", package="no-such-package"), Entry("b", "x:y", program="no-such-program"))
    result = rounds.run_case(Case("case", "", entries, CASE.columns), rounds.SMOKE)
    assert [row.absent for row in result.rows] == [
        "no-such-package is not installed",
        "no-such-program is not installed",
    ]
    assert lab.jobs == [] and not result.failed
    assert "  a  absent: no-such-package is not installed\n" in render(result)


@pytest.mark.parametrize(("count", "lines", "found"), [(1, 10, 40), (41, 10, 50), (1000, 10, 1000), (99.5, 1, 100)])
def test_every_line_gets_equally_many(count: float, lines: int, found: int) -> None:
    assert whole(count, lines) == found


def test_answers_are_counted_and_checked() -> None:
    tally = Tally(Job(count=4, size=10))
    with tally:
        for status, length in [(200, 10), (200, 9), (404, 10), (200, 10)]:
            tally.check(status, length)
    outcome = tally.outcome()
    assert (outcome["count"], outcome["bad"], outcome["wrong"]) == (4, 2, "status 200, 9 bytes")
    assert outcome["rate"] == 4 / outcome["seconds"]


# --- programs, by their own summaries ------------------------------------------------------------------------

HEY = """
Summary:
  Total:\t0.5000 secs
  Requests/sec:\t400.0

  Total data:\t819200 bytes
  Size/request:\t4096 bytes

Status code distribution:
"""


@pytest.mark.parametrize(
    ("text", "count", "wrong"),
    [
        (HEY + "  [200]\t200 responses\n", 200, ""),
        (HEY + "  [200]\t199 responses\n", 199, "819200 bytes in 199 answers"),
        (HEY + "  [200]\t150 responses\n  [503]\t50 responses\n", 200, "statuses {200: 150, 503: 50}"),
        (HEY + "  [200]\t200 responses\n\nError distribution:\n  [3]\tEOF\n", 200, "Error distribution:\n  [3]\tEOF"),
    ],
)
def test_hey_is_read(text: str, count: int, wrong: str) -> None:
    outcome = hey.outcome(text, 0.25, 4096)
    assert (outcome["count"], outcome["rate"], outcome["wrong"]) == (count, count / 0.5, wrong)
    assert bool(outcome["bad"]) is bool(wrong)


@pytest.mark.parametrize(
    ("figures", "wrong"),
    [
        ({}, ""),
        ({"status": 1}, "1 not 2xx or 3xx, 0 socket errors"),
        ({"socket": 2}, "0 not 2xx or 3xx, 2 socket errors"),
        ({"bytes": 99}, "99 bytes in 10 answers"),
    ],
)
def test_wrk_is_read(figures: dict[str, int], wrong: str) -> None:
    summary = {"requests": 10, "bytes": 150, "microseconds": 2_000_000, "status": 0, "socket": 0, **figures}
    outcome = wrk.outcome(f"Running 2s test\n{json.dumps(summary)}\n", 0.001, 10)
    assert (outcome["count"], outcome["rate"], outcome["cpu_us"], outcome["wrong"]) == (10, 5.0, 100.0, wrong)
    assert bool(outcome["bad"]) is bool(wrong)


@pytest.mark.parametrize(
    ("rate", "seconds", "wrong"),
    [("4000.00", 0.05, ""), ("inf", 0.5, ""), ("4000.00", 0.05, "Error from server: ERR no")],
)
def test_redis_benchmark_is_read(rate: str, seconds: float, wrong: str) -> None:
    text = f'{wrong}\n"test","rps","avg_latency_ms"\n"get page","{rate}","0.1"\n'
    outcome = redis_benchmark.outcome(text, 0.001, 200, 0.5)
    assert (outcome["count"], outcome["seconds"], outcome["wrong"]) == (200, seconds, wrong)
    assert bool(outcome["bad"]) is bool(wrong)


PGBENCH = """\
number of transactions actually processed: 200/200
number of failed transactions: {failed} (0.000%)
latency average = 0.5 ms
initial connection time = 3.1 ms
tps = 4000.000000 (without initial connection time)
"""


@pytest.mark.parametrize(("failed", "wrong"), [(0, ""), (3, "3 failed")])
def test_pgbench_is_read(failed: int, wrong: str) -> None:
    outcome = pgbench.outcome(PGBENCH.format(failed=failed), 0.001)
    assert (outcome["count"], outcome["seconds"], outcome["bad"], outcome["wrong"]) == (200, 0.05, failed, wrong)


def test_pgbench_that_says_something_else() -> None:
    with pytest.raises(ValueError, match="said something else"):
        pgbench.outcome("pgbench: error", 0.0)


def test_a_race_against_postgresql() -> None:
    if shutil.which("pg_ctl") is None and not list(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        pytest.skip("PostgreSQL is not installed")
    races("postgresql", against="asyncpg")


def test_a_mixed_race() -> None:
    result = rounds.run_case(CASES["mixed"], Plan(rounds=1, seconds=0.1, scale=0.001, smoke=True))
    if result.absent:
        pytest.skip(result.absent)
    one, thirds = (row.outcomes[0] for row in result.rows)
    assert one["count"] == thirds["count"] == 100 and one["asked"] == 67 and thirds["lines"] <= 166
    ends = [one[f"end_{name}"] for name in ("http", "redis", "postgresql")]
    assert 0 < max(ends) <= one["seconds"] and all(0 <= one[f"half_{name}"] <= 1 for name in ("http", "redis"))
    assert sum(thirds[f"end_{name}"] for name in ("http", "redis", "postgresql")) == pytest.approx(thirds["seconds"])


def test_a_race_against_mongodb() -> None:
    if shutil.which("mongod") is None and not (CACHE / "ferretdb").is_file():
        pytest.skip("there is no MongoDB server")
    races("mongodb", against="PyMongo")


def test_a_race_against_one_answer() -> None:
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("there is no C compiler")
    races("mongodb-peer", against="PyMongo")


def test_a_race_against_redis() -> None:
    if shutil.which("redis-server") is None or shutil.which("redis-benchmark") is None:
        pytest.skip("redis-server and redis-benchmark are not both installed")
    races("redis", "redis-piped", against="redis.asyncio")


H2LOAD = """\
starting benchmark...
finished in {took}, 20.00 req/s, 95.20MB/s
requests: 10 total, 10 started, 10 done, {succeeded} succeeded, 0 failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 40.50KB (41472) total, 100B (100) headers (space savings 50.00%), 40.00KB ({data}) data
"""


@pytest.mark.parametrize(
    ("figures", "seconds", "wrong"),
    [
        ({}, 0.5, ""),
        ({"took": "1.25s"}, 1.25, ""),
        ({"succeeded": 9}, 0.5, "1 of 10 failed"),
        ({"good": 8}, 0.5, "2 of 10 failed"),
        ({"data": 99}, 0.5, "99 bytes in 10 answers"),
    ],
)
def test_h2load_is_read(figures: dict[str, object], seconds: float, wrong: str) -> None:
    text = H2LOAD.format(**{"took": "500.00ms", "succeeded": 10, "good": 10, "data": 40960, **figures})
    outcome = h2load.outcome(text, 0.001, 4096)
    assert (outcome["count"], outcome["rate"], outcome["wrong"]) == (10, 10 / seconds, wrong)
    assert bool(outcome["bad"]) is bool(wrong)


def test_what_is_no_summary_of_h2load() -> None:
    with pytest.raises(ValueError, match="not a summary"):
        h2load.outcome("h2load: cannot connect", 0.0, 1)


# --- tables --------------------------------------------------------------------------------------------------


def raced(name: str, *rates: float, version: str = "", fault: str = "", against: tuple[str, ...] | None = None) -> Row:
    outcomes: list[Outcome] = [{"rate": rate, "cpu_us": 1e6 / rate} for rate in rates]
    return Row(Entry(name, "", against=against), version, fault=fault, outcomes=outcomes)


def test_a_table() -> None:
    columns = (Column("rate", "answers/s"), Column("cpu_us", "µs", "{:.1f}"))
    case = Case("race", "{size} bytes over {lines} lines", (), columns, bases=("base", "gone"), note="A note.")
    rows = [
        raced("base", 1000, 4000, 2000, version="1.2"),
        raced("twice", 2000, 8000, 40_000),
        raced("alone", 10, 10, 10, against=()),
        raced("gone", 10, fault="no answer"),
    ]
    assert render(Result(case, 100, 3, 1.0, rows, gauge=[1000.0, 1300.0])) == (
        "race: 4096 bytes over 100 lines\n"
        "\n"
        "            answers/s  lowest – highest        µs  × base\n"
        "  base 1.2      2,000     1,000 – 4,000     500.0    1.00\n"
        "  twice         8,000    2,000 – 40,000     125.0    2.00\n"
        "  alone            10           10 – 10  100000.0\n"
        "  gone      failed: no answer\n"
        "\n"
        "  3 rounds in turn, medians; a ratio is the median of the rounds' ratios\n"
        "  A note.\n"
        "  machine: 1,000 – 1,300 round trips a second between the cores\n"
        "  THE MACHINE WAS UNSTEADY: look at the ranges, and measure again before believing a figure"
    )


def test_less_than_the_title_says_is_said() -> None:
    case = Case("case", "{count:,} times", (), CASE.columns, count=1000)
    text = render(Result(case, 100, 1, 0.2, [raced("one", 5)]))
    assert text.startswith("case: 200 times\n") and "  200 instead of 1,000" in text
    assert "lowest" not in text and "UNSTEADY" not in text


def test_a_case_without_its_server() -> None:
    result = Result(CASE, 10, 1, 1.0, [Row(ENTRY)], absent="nginx is not installed")
    assert render(result).endswith("\n\n  absent: nginx is not installed")
    assert not result.failed and data(result)["absent"] == "nginx is not installed"


# --- servers -------------------------------------------------------------------------------------------------


def test_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def refuse() -> None:
    raise ConnectionRefusedError


def test_a_server_that_ends_at_once_says_why() -> None:
    with pytest.raises(Absent, match=r"python\S* does not start: no such option$"):
        with running([sys.executable, "-c", "import sys; sys.exit('no such option')"], None, refuse):
            raise AssertionError("it runs")


def test_a_server_is_waited_for_and_ended(tmp_path: Path) -> None:
    mark, asked = tmp_path / "mark", 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        mark.stat()

    code = "import pathlib, signal; pathlib.Path('mark').touch(); signal.pause()"
    with running([sys.executable, "-c", code], None, ask, cwd=tmp_path):
        assert mark.exists() and asked >= 1
    with pytest.raises(Absent, match=r"does not start: $"):
        with running([sys.executable, "-c", "import signal; signal.pause()"], None, refuse, patience=0.05):
            raise AssertionError("it answers")


def test_a_server_that_does_not_end_is_killed() -> None:
    class Deaf(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            if timeout is not None:
                raise subprocess.TimeoutExpired(self.args, timeout)
            return super().wait()

    process = Deaf([sys.executable, "-c", "import signal; signal.pause()"])
    reap(process)
    assert process.returncode == -signal.SIGKILL


# --- servers in Go -------------------------------------------------------------------------------------------


def test_without_go_nothing_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("benchmarks.goserver.shutil.which", lambda *_, **__: None)
    assert goserver.built("wsecho") is None


def test_what_was_built_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("benchmarks.goserver.shutil.which", lambda *_, **__: "go")
    built: list[str] = []

    def build(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        built.append(command[-1])
        Path(command[command.index("-o") + 1]).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("benchmarks.goserver.subprocess.run", build)
    first = goserver.built("wsecho")
    assert first is not None and first.exists() and goserver.built("wsecho") == first
    assert built == ["./wsecho"]


def test_a_server_in_c_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("benchmarks.cserver.shutil.which", lambda name: name)
    built: list[list[str | Path]] = []

    def compile(command: list[str | Path], **_: object) -> subprocess.CompletedProcess[str]:
        built.append(command)
        Path(command[command.index("-o") + 1]).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("benchmarks.cserver.subprocess.run", compile)
    first = cserver.compiled("grpcfast", "nghttp2")
    assert first.exists() and cserver.compiled("grpcfast", "nghttp2") == first
    assert len(built) == 1 and built[0][-1] == "-lnghttp2"


def test_a_server_in_c_that_cannot_be_compiled_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("benchmarks.cserver.shutil.which", lambda name: name if name == "gcc" else None)
    failed = subprocess.CompletedProcess([], 1, "", "grpcfast.c:9:10: fatal error: nghttp2.h: no such file")
    monkeypatch.setattr("benchmarks.cserver.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(Absent, match=r"grpcfast\.c cannot be compiled: .* no such file"):
        cserver.compiled("grpcfast", "nghttp2")
    monkeypatch.setattr("benchmarks.cserver.shutil.which", lambda name: None)
    with pytest.raises(Absent, match="there is no C compiler"):
        cserver.compiled("grpcfast", "nghttp2")


def test_the_server_is_named_where_it_depends(lab: Lab) -> None:
    result = Result(CASE, 10, 1, 1.0, [Row(ENTRY)], server="a fast one")
    assert "  server: a fast one\n" in render(result) + "\n"
    assert data(result)["server"] == "a fast one"
