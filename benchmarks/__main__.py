"""``python -m benchmarks``: choose cases, run them, show and keep the results."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from . import (
    grpc,
    h2blocks,
    h2wire,
    heads,
    histogram,
    http1,
    http1_bulk,
    http1_memory,
    http2,
    http2_bulk,
    http2_differ,
    idle,
    imports,
    in_asyncio,
    lines,
    memory,
    mixed,
    mongodb,
    mongodb_peer,
    postgresql,
    queueing,
    redis_piped,
    redis_single,
    tls,
    websocket,
    xmlrpc,
)
from .machine import ROOT, describe
from .rounds import FULL, QUICK, SMOKE, Plan, run_case
from .table import data, render

CASES = {
    case.name: case
    for case in (
        http1.CASE,
        http1_memory.CASE,
        http1_bulk.CASE,
        tls.CASE,
        http2.CASE,
        http2_differ.CASE,
        http2_bulk.CASE,
        grpc.CASE,
        grpc.GO,
        websocket.CASE,
        xmlrpc.CASE,
        redis_single.CASE,
        redis_piped.CASE,
        postgresql.CASE,
        mongodb.CASE,
        mongodb_peer.CASE,
        mixed.CASE,
        lines.CASE,
        in_asyncio.CASE,
        queueing.CASE,
        imports.CASE,
        idle.CASE,
        memory.CASE,
        heads.CASE,
        h2blocks.CASE,
        h2wire.CASE,
        histogram.CASE,
    )
}
RESULTS = ROOT / "benchmarks" / "results"


def main(words: list[str] | None = None) -> int:
    """The exit status: 0, or 1 if something could not be measured as it should."""
    options = _options(words)
    if options.list:
        for case in CASES.values():
            print(f"{case.name:<10} {case.filled(case.title)}")
            print(f"{'':<10} {' · '.join(entry.name for entry in case.entries)}")
        return 0
    machine = describe()
    text = "\n".join(f"{name}: {value}" for name, value in machine.items())
    print(text, flush=True)
    results = []
    for name in options.cases or CASES:
        result = run_case(CASES[name], _plan(options), frozenset(options.only))
        results.append(result)
        table = f"\n{render(result)}"
        print(table, flush=True)
        text += f"\n{table}"
    if options.json:
        kept = {"machine": machine, "cases": [data(result) for result in results]}
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    if options.save:
        path = _free_name(machine["date"][:10], options.cases)
        path.write_text(text + "\n")
        print(f"\nkept in {path.relative_to(ROOT)}", file=sys.stderr)
    return int(any(result.failed for result in results))


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which cases; default: all")
    parser.add_argument("--list", action="store_true", help="name the cases and their entries")
    parser.add_argument("--only", action="append", default=[], metavar="ENTRY", help="only this entry; may be repeated")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="rounds of every case")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--quick", action="store_true", help="a fifth of the work, three rounds: a first look")
    pace.add_argument("--smoke", action="store_true", help="next to no work: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every single measurement there")
    parser.add_argument("--save", action="store_true", help="keep the tables in benchmarks/results")
    options = parser.parse_args(words)
    entries = {entry.name for name in options.cases or CASES if name in CASES for entry in CASES[name].entries}
    for unknown in (set(options.cases) - CASES.keys()) | (set(options.only) - entries):
        parser.error(f"{unknown!r} is unknown; --list names the cases and their entries")
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _plan(options: argparse.Namespace) -> Plan:
    plan = SMOKE if options.smoke else QUICK if options.quick else FULL
    return replace(plan, rounds=options.rounds, given=True) if options.rounds else plan


def _free_name(date: str, cases: list[str]) -> Path:
    """``2026-01-31-http1-tls.txt``; with a number behind it if that exists."""
    RESULTS.mkdir(exist_ok=True)
    stem = f"{date}-{'-'.join(cases) or 'all'}"
    number = 1
    while (path := RESULTS / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")).exists():
        number += 1
    return path


if __name__ == "__main__":
    sys.exit(main())
