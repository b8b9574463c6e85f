"""Lines that idle beside the work must cost nothing."""

from __future__ import annotations

import aquests
from aquests.script import script

from .case import Case, Column, Entry, Job, Outcome
from .child import Tally
from .nginx import page

BUSY = 100
"""Requests in flight."""
WARM = 20
"""Requests of each busy line ahead of the measurement, so that both entries start with their lines open."""


def run(job: Job) -> Outcome:
    """CPU of ``count`` requests, so many at once that the idle lines are neither used nor given up."""
    idle = min(job.options["idle"], job.lines)
    aquests.configure(workers=idle + BUSY, callback=None)
    _open(job.beside, idle)
    _ask(job, WARM * BUSY, Tally(job))
    lines = script.engine.lines
    tally = Tally(job)
    with tally:
        _ask(job, job.count, tally)
    still = script.engine.lines
    script.engine.hang_up()
    if lines != idle + BUSY or still != lines:
        return {"count": tally.count, "bad": 1, "wrong": f"{lines} lines were open, and {still} at the end"}
    return tally.outcome()


def _ask(job: Job, count: int, tally: Tally) -> None:
    """So many requests, each answer asking for the next."""
    left = count

    def ask() -> None:
        nonlocal left
        if left:
            left -= 1
            aquests.get(job.url, callback=on_answer)

    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code, len(response.content))
        ask()

    for _ in range(BUSY):
        ask()
    _run()


def _open(url: str, count: int) -> None:
    """Open ``count`` lines by one request each; they stay open."""
    answers: list[int] = []
    for _ in range(count):
        aquests.get(url, callback=lambda response: answers.append(response.status_code))
    _run()
    if answers != [200] * count or script.engine.lines != count:
        raise RuntimeError(f"{len(answers)} answers over {script.engine.lines} lines instead of {count}")


def _run() -> None:
    """As ``fetchall()``, which would close the lines in the end."""
    script.engine.run()


CASE = Case(
    name="idle",
    title="{count:,} requests, 100 at once, beside lines that idle",
    entries=(
        Entry("no idle lines", "idle:run", options={"idle": 0}),
        Entry("2,000 idle lines", "idle:run", options={"idle": 2000}),
    ),
    columns=(Column("cpu_us", "CPU µs/answer", "{:.2f}"), Column("lines", "lines opened")),
    bases=("no idle lines",),
    count=10_000,
    lines=2100,
    server=page,
)
