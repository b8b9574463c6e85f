"""Running a case: all entries in turn, round after round, each time in a process of its own."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from .case import Case, Entry, Job, Outcome, Site, Wanted
from .gauge import round_trips
from .machine import ROOT, Absent, cores, package_version, pinned, raise_descriptors

PATIENCE = 300.0
"""Seconds a child may take."""
SPARE = 200
"""Descriptors a process needs beside its lines."""
PER_LINE = 4
"""Requests each line gets at least."""
GROWTH = 16
"""How much larger the next probe may be than the last."""


class Fault(Exception):
    """A measurement that is none."""


@dataclass(frozen=True)
class Plan:
    """How much is done. ``seconds``: of a race; ``scale``: of counted work; ``rounds`` given overrides every case's."""

    rounds: int = 5
    seconds: float = 2.5
    scale: float = 1.0
    given: bool = False
    smoke: bool = False

    def rounds_of(self, case: Case) -> int:
        """How many rounds a case gets."""
        return self.rounds if self.given or self.smoke or not case.rounds else case.rounds


FULL = Plan()
QUICK = Plan(rounds=3, seconds=1.0, scale=0.2)
SMOKE = Plan(rounds=1, seconds=0.1, scale=0.001, smoke=True)


@dataclass
class Row:
    """What became of an entry: its outcomes by round, or why there are none."""

    entry: Entry
    version: str = ""
    absent: str = ""
    fault: str = ""
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        return bool(self.outcomes) and not self.fault

    def values(self, key: str) -> list[float]:
        """One figure, round by round."""
        return [outcome[key] for outcome in self.outcomes]

    def middle(self, key: str) -> float | None:
        """Its median; None if it was not measured."""
        known = [outcome[key] for outcome in self.outcomes if outcome.get(key) is not None]
        return median(known) if self.measured and known else None

    def ratio(self, key: str, base: Row) -> float | None:
        """The median of the rounds' ratios: within a round the machine is more alike than from round to round."""
        if not (self.measured and base.measured):
            return None
        pairs = zip(self.values(key), base.values(key), strict=True)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return median(ratios) if ratios else None


@dataclass
class Result:
    """A case that was run. ``absent``: why it could not be run at all. ``gauge``: the machine's speed, see gauge.py.

    ``server``: what it was, if the site says so.
    """

    case: Case
    lines: int
    rounds: int
    scale: float
    rows: list[Row]
    absent: str = ""
    gauge: list[float] = field(default_factory=list)
    server: str = ""

    @property
    def failed(self) -> bool:
        return any(row.fault for row in self.rows)


def run_case(case: Case, plan: Plan, only: frozenset[str] = frozenset()) -> Result:
    """Run it; ``only`` these entries, if there are any."""
    entries = [entry for entry in case.entries if not only or entry.name in only]
    lines = min(case.lines, max(1, raise_descriptors() - SPARE))
    if plan.smoke:
        lines = min(lines, 10)
    rows = [_row(entry) for entry in entries]
    result = Result(case, lines, plan.rounds_of(case), plan.scale, rows)
    with ExitStack() as stack:
        site = Site(url="", size=0)
        if case.server is not None:
            try:
                site = stack.enter_context(case.server(Wanted(case.size, lines, cores()[1])))
            except Absent as reason:
                result.absent = str(reason)
                return result
        result.server = site.server
        Room(result, plan, site).run()
    return result


def _row(entry: Entry) -> Row:
    """Is what it needs installed, and in which version?"""
    row = Row(entry)
    for package in filter(None, (entry.also, entry.package)):
        row.version = package_version(package) or ""
        if not row.version:
            row.absent = f"{package} is not installed"
    if entry.program:
        program = shutil.which(entry.program)
        if program is None:
            row.absent = f"{entry.program} is not installed"
        else:
            row.version = _program_version(program)
    return row


def _program_version(program: str) -> str:
    """What it says of itself, if it does; some say it where they complain about the option."""
    done = subprocess.run([program, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    first = done.stdout.partition("\n")[0]
    found = re.search(r"\d+\.\d+(\.\d+)?", first)
    return found[0] if found else ""


class Room:
    """One case, one plan, one server."""

    def __init__(self, result: Result, plan: Plan, site: Site):
        self.result = result
        self.case = result.case
        self.plan = plan
        self.site = site
        self.job = Job(
            count=0,
            seconds=plan.seconds,
            lines=result.lines,
            url=site.url,
            size=site.size,
            ca=site.ca,
            beside=site.beside,
            smoke=plan.smoke,
        )

    def run(self) -> None:
        jobs: dict[str, Job] = {}
        for number in range(1, self.result.rounds + 1):
            for row in self.result.rows:
                if row.absent or row.fault:
                    continue
                name = row.entry.name
                try:
                    if name not in jobs:
                        jobs[name] = self._sized(row.entry)
                    row.outcomes.append(self._measure(row.entry, jobs[name]))
                except Fault as fault:
                    row.fault = str(fault)
                self._tell(number, row)

    def _sized(self, entry: Entry) -> Job:
        """The job of an entry: as much as the case says, or as takes the time of the plan, found by probing."""
        job = replace(self.job, options=entry.options)
        if self.case.count:
            return replace(job, count=self.case.counted(self.plan.scale))
        if entry.timed:
            return job
        count = PER_LINE * job.lines
        while not self.plan.smoke:
            outcome = self._measure(entry, replace(job, count=count))
            wanted = outcome["rate"] * job.seconds
            if outcome["seconds"] >= job.seconds / 4 or wanted <= count:
                count = whole(wanted, job.lines)
                break
            count = whole(min(wanted, count * GROWTH), job.lines)
        return replace(job, count=count)

    def _measure(self, entry: Entry, job: Job) -> Outcome:
        """One child; Fault unless every answer was as expected, and the server agrees."""
        client, server = cores()
        self.result.gauge.append(round_trips(client, server, 0.005 if self.plan.smoke else 0.05))
        counters = self.site.counters
        before = counters() if counters else (0, 0)
        outcome = run_child(entry.function, job, client)
        if outcome["count"] != job.count and not entry.timed:
            raise Fault(f"{outcome['count']:,} of {job.count:,} answered")
        if not outcome["count"]:
            raise Fault("no answer")
        if outcome.get("bad"):
            raise Fault(f"{outcome['bad']:,} wrong answers, the first: {outcome.get('wrong')}")
        if counters:
            after = counters()
            outcome["lines"] = after[0] - before[0] - 1  # without the one that asked
            served = after[1] - before[1] - 1
            asked = outcome["asked"] if "asked" in outcome else outcome["count"]
            if served < asked:
                raise Fault(f"{asked:,} answers counted, but the server gave {served:,}")
        return outcome

    def _tell(self, number: int, row: Row) -> None:
        key, form = self.case.columns[0].key, self.case.columns[0].form
        said = row.fault or f"{form.format(row.outcomes[-1][key])} {self.case.columns[0].title}"
        print(f"{self.case.name} {number}/{self.result.rounds} {row.entry.name}: {said}", file=sys.stderr, flush=True)


def whole(count: float, lines: int) -> int:
    """Rounded up so that every line gets equally many, and enough: some peers divide, and drop the rest."""
    return max(PER_LINE, math.ceil(count / lines)) * lines


def run_child(function: str, job: Job, core: int | None) -> Outcome:
    """``benchmarks.<function>`` with ``job`` in a fresh process on ``core``; Fault if it fails."""
    words = [sys.executable, "-m", "benchmarks.child", f"benchmarks.{function}", json.dumps(asdict(job))]
    with pinned(core):
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a program it has started is ended with it
        )
    try:
        output, complaint = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise Fault(f"not finished in {PATIENCE:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise Fault((complaint.strip().splitlines() or [f"exit status {process.returncode}"])[-1][:200])
    outcome: Outcome = json.loads(output.splitlines()[-1])
    return outcome


def _environment() -> dict[str, str]:
    """Without proxies, key logs and modules compiled anew: what a shell says must not slow some of the peers."""
    unwanted = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "sslkeylogfile", "pythondontwritebytecode")
    return {name: value for name, value in os.environ.items() if name.lower() not in unwanted}
