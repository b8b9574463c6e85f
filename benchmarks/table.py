"""Results as aligned plain text, and as data."""

from __future__ import annotations

from typing import Any

from .gauge import STEADY
from .rounds import Result, Row

_GAP = "  "


def render(result: Result) -> str:
    """The table of a case, with a title above and notes below."""
    case = result.case
    lines = [f"{case.name}: {case.filled(case.title, result.lines, result.scale)}", ""]
    if result.absent:
        return "\n".join([*lines, f"{_GAP}absent: {result.absent}"])
    head, body = _cells(result)
    widths = [max(len(line[at]) for line in [head, *body.values()]) for at in range(len(head))]
    names = max(len(_name(row)) for row in result.rows)
    lines.append(_line("", names, head, widths))
    for number, row in enumerate(result.rows):
        if number in body:
            lines.append(_line(_name(row), names, body[number], widths))
        else:
            said = f"absent: {row.absent}" if row.absent else f"failed: {row.fault}"
            lines.append(f"{_GAP}{_name(row):<{names}}{_GAP}{said}")
    return "\n".join([*lines, "", *(f"{_GAP}{note}" for note in _notes(result))])


def _cells(result: Result) -> tuple[list[str], dict[int, list[str]]]:
    """The titles, and the cells of each row that was measured."""
    case, main = result.case, result.case.columns[0]
    several = result.rounds > 1
    bases = [row for name in case.bases for row in result.rows if row.entry.name == name and row.measured]
    head = [main.title, *(["lowest – highest"] if several else []), *(column.title for column in case.columns[1:])]
    head += [f"× {base.entry.name}" for base in bases]
    body = {}
    for number, row in enumerate(result.rows):
        if not row.measured:
            continue
        values = row.values(main.key)
        cells = [_figure(row.middle(main.key), main.form)]
        if several:
            cells.append(f"{main.form.format(min(values))} – {main.form.format(max(values))}")
        cells += [_figure(row.middle(column.key), column.form) for column in case.columns[1:]]
        for base in bases:
            wanted = row.entry.against is None or base.entry.name in row.entry.against
            cells.append(_figure(row.ratio(main.key, base) if wanted else None, "{:.2f}"))
        body[number] = cells
    return head, body


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _name(row: Row) -> str:
    return f"{row.entry.name} {row.version}".strip()


def _line(name: str, names: int, cells: list[str], widths: list[int]) -> str:
    columns = _GAP.join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"{_GAP}{name:<{names}}{_GAP}{columns}".rstrip()


def _notes(result: Result) -> list[str]:
    """What must be known beside the figures."""
    case = result.case
    rounds = "one round" if result.rounds == 1 else f"{result.rounds} rounds in turn, medians"
    notes = [rounds + ("; a ratio is the median of the rounds' ratios" if case.bases and result.rounds > 1 else "")]
    if case.server is not None and result.lines != case.lines:
        notes.append(f"{result.lines:,} lines instead of {case.lines:,}")
    if case.count > 1 and result.scale != 1.0:
        notes.append(f"{case.counted(result.scale):,} instead of {case.count:,}")
    notes += [f"server: {result.server}"] if result.server else []
    notes += case.filled(case.note, result.lines, result.scale).splitlines()
    if result.gauge:
        low, high = min(result.gauge), max(result.gauge)
        notes.append(f"machine: {low:,.0f} – {high:,.0f} round trips a second between the cores")
        if high > low * STEADY:
            notes.append("THE MACHINE WAS UNSTEADY: look at the ranges, and measure again before believing a figure")
    return notes


def data(result: Result) -> dict[str, Any]:
    """All that was measured, as JSON knows it."""
    return {
        "case": result.case.name,
        "lines": result.lines,
        "absent": result.absent,
        "server": result.server,
        "gauge": result.gauge,
        "rows": [
            {
                "name": row.entry.name,
                "version": row.version,
                "absent": row.absent,
                "fault": row.fault,
                "outcomes": row.outcomes,
            }
            for row in result.rows
        ],
    }
