"""What ``fetchall()`` returns: the figures of a finished run, as attributes, as data and as text.

A report is a snapshot: it holds plain numbers and does not change when the run it was made of goes on.
"""

from __future__ import annotations

from typing import Final, TypedDict

from .histogram import Histogram
from .stats import Lane, Stats

_WIDTH: Final = 80
_LABEL: Final = 13  # the longest label, "connections", and two blanks
_NAME: Final = 13  # what 80 columns leave for the name of a protocol beside 11 digits and six latencies
_COLUMNS: Final = ("p50", "p90", "p95", "p99", "p99.9", "max")
_PERCENTILES: Final = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}


class ProtocolFigures(TypedDict):
    """The figures of one protocol; as the attributes of ``Report``, and ``failures``, the sum of ``errors``."""

    tasks: int
    failures: int
    status_codes: dict[int, int]
    errors: dict[str, int]
    bytes_received: int
    latency: dict[str, float]


class Report:
    """The figures of a run.

    Made of what a run has counted (``stats``) and its ``duration`` in seconds.

    ===================== =============================================================================
    tasks                 requests finished, answered or not
    duration              seconds
    requests_per_second   tasks / duration; 0.0 if the run took no time
    bytes_received        by all answers
    bytes_sent            by all lines
    status_codes          answers by status, ascending: ``{200: 19990, 404: 7}``
    versions              answers by protocol: ``{"HTTP/1.1": 19997}``
    errors                requests without an answer, by kind: ``{"714 Connection Failure": 3}``
    error_samples         some messages of each kind: ``{"714 Connection Failure": ["connection refused, …"]}``
    callback_errors       callbacks that raised
    latency               seconds, of answers only: min, mean, p50, p75, p90, p95, p99, p99.9, max;
                          all 0.0 if there was no answer
    per_protocol          by protocol: tasks, failures, status_codes, errors, bytes_received, latency
    connections           lines opened
    max_connections       lines open at once
    retries               requests sent once more after a failure
    redirects             hops followed
    interrupted           True if the run was stopped before it was finished
    ===================== =============================================================================

    ``tasks`` is the sum of ``status_codes`` and ``errors``.
    """

    def __init__(self, stats: Stats, duration: float) -> None:
        self.tasks = stats.tasks
        self.duration = duration
        self.requests_per_second = self.tasks / duration if duration > 0.0 else 0.0
        self.bytes_received = stats.bytes_received
        self.bytes_sent = stats.bytes_sent
        self.status_codes = dict(sorted(stats.statuses.items()))
        self.versions = {name: lane.answers for name, lane in stats.lanes.items() if lane.answers}
        self.errors = dict(sorted(stats.errors.items()))
        self.error_samples = {kind: list(messages) for kind, messages in sorted(stats.samples.items())}
        self.callback_errors = stats.callback_errors
        self.latency = _latency(stats.latency)
        self.per_protocol = {name: _protocol(lane) for name, lane in stats.lanes.items() if lane.tasks}
        self.connections = stats.connections
        self.max_connections = stats.max_connections
        self.retries = stats.retries
        self.redirects = stats.redirects
        self.interrupted = stats.interrupted

    @property
    def ok(self) -> bool:
        """True if every request was answered, every status is below 400 and no callback raised."""
        return not self.errors and not self.callback_errors and all(status < 400 for status in self.status_codes)

    def as_dict(self) -> dict[str, object]:
        """The attributes of this report and ``ok`` as new dicts, lists, strings and numbers.

        The same names and units as the attributes, and fit for ``json.dumps``: the status codes,
        here and in ``per_protocol``, are strings (``{"200": 19990}``).
        """
        figures = {
            name: {**protocol, "status_codes": _text_keys(protocol["status_codes"])}
            | {"errors": dict(protocol["errors"]), "latency": dict(protocol["latency"])}
            for name, protocol in self.per_protocol.items()
        }
        return {
            "ok": self.ok,
            "interrupted": self.interrupted,
            "tasks": self.tasks,
            "duration": self.duration,
            "requests_per_second": self.requests_per_second,
            "bytes_received": self.bytes_received,
            "bytes_sent": self.bytes_sent,
            "status_codes": _text_keys(self.status_codes),
            "versions": dict(self.versions),
            "errors": dict(self.errors),
            "error_samples": {kind: list(messages) for kind, messages in self.error_samples.items()},
            "callback_errors": self.callback_errors,
            "latency": dict(self.latency),
            "per_protocol": figures,
            "connections": self.connections,
            "max_connections": self.max_connections,
            "retries": self.retries,
            "redirects": self.redirects,
        }

    def report(self) -> str:
        """The report as plain text of at most 80 columns, without a newline at the end. ``print(report)`` shows it."""
        parts = [self._headline()]
        if self.per_protocol:
            parts += ["", *self._table(), ""]
        parts += self._rows()
        return "\n".join(parts).rstrip("\n")

    __str__ = report

    def __repr__(self) -> str:
        failed = sum(self.errors.values())
        return f"<Report of {self.tasks} requests, {failed} failed, {self.duration:.3f} s>"

    def _headline(self) -> str:
        line = _number(self.tasks, "request") if self.tasks else "no requests"
        if self.tasks and self.duration > 0.0:
            rate = self.requests_per_second
            line += f" in {_span(self.duration)}: {_three_digits(rate) if rate < 100 else f'{rate:,.0f}'} requests/s"
        return line + (", interrupted" if self.interrupted else "")

    def _table(self) -> list[str]:
        rows = [["protocol", "requests", *_COLUMNS]]
        for name, one in self.per_protocol.items():
            rows.append(_cells(name, one["tasks"], one["tasks"] > one["failures"], one["latency"]))
        if len(self.per_protocol) > 1:
            rows.append(_cells("all", self.tasks, bool(self.status_codes), self.latency))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        widths[0] = max(widths[0], _LABEL - 2)
        lines = []
        for row in rows:
            numbers = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)][1:]
            lines.append("  ".join([row[0].ljust(widths[0]), *numbers]))
        return lines

    def _rows(self) -> list[str]:
        """The rows under the table; what is zero is left out."""
        traffic = [(self.bytes_received, "received"), (self.bytes_sent, "sent")]
        lines = [(self.connections, "opened"), (self.max_connections, "at once")]
        repeats = [(self.retries, "retry", "retries"), (self.redirects, "redirect", "redirects")]
        return [
            *_row("status", [f"{status}: {count:,}" for status, count in self.status_codes.items()]),
            *self._error_rows(),
            *_row("callbacks", [_number(self.callback_errors, "error")] if self.callback_errors else []),
            *_row("traffic", [f"{_bytes(count)} {what}" for count, what in traffic if count]),
            *_row("connections", [f"{count:,} {what}" for count, what in lines if count]),
            *_row("repeats", [_number(count, one, many) for count, one, many in repeats if count]),
        ]

    def _error_rows(self) -> list[str]:
        """Kinds of errors, the most frequent first, and below each its messages."""
        lines: list[str] = []
        for kind, count in sorted(self.errors.items(), key=lambda item: -item[1]):
            lines += _row("" if lines else "errors", [f"{kind}: {count:,}"])
            lines += [_cut(" " * (_LABEL + 2) + message, _WIDTH) for message in self.error_samples.get(kind, [])]
        return lines


def _latency(histogram: Histogram) -> dict[str, float]:
    percentiles = {name: histogram.percentile(p) for name, p in _PERCENTILES.items()}
    return {"min": histogram.min, "mean": histogram.mean, **percentiles, "max": histogram.max}


def _protocol(lane: Lane) -> ProtocolFigures:
    return {
        "tasks": lane.tasks,
        "failures": lane.failures,
        "status_codes": dict(sorted(lane.statuses.items())),
        "errors": dict(sorted(lane.errors.items())),
        "bytes_received": lane.bytes_received,
        "latency": _latency(lane.latency),
    }


def _text_keys(counts: dict[int, int]) -> dict[str, int]:
    return {str(key): count for key, count in counts.items()}


def _cells(name: str, tasks: int, answered: bool, latency: dict[str, float]) -> list[str]:
    """One row of the table; dashes where nothing was answered."""
    return [_cut(name, _NAME), f"{tasks:,}", *(_seconds(latency[key]) if answered else "-" for key in _COLUMNS)]


def _row(label: str, items: list[str]) -> list[str]:
    """A label and its items side by side, in as many lines as they need; nothing if there is no item."""
    lines: list[str] = []
    line = label.ljust(_LABEL)
    for position, item in enumerate(items):
        if position and len(line) + 3 + len(item) > _WIDTH:
            lines.append(line)
            line = " " * _LABEL + item
        else:
            line += ("   " if position else "") + item
    return [*lines, line] if items else []


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _number(count: int, one: str, many: str = "") -> str:
    """A number and its noun: 1 request, 2 requests."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _three_digits(value: float) -> str:
    """Three significant digits of a number below 1,000: 1.92, 12.0, 340."""
    return f"{value:#.3g}".rstrip(".")


def _scaled(value: float, units: tuple[str, ...]) -> str:
    """A value in the first unit that shows it below 1,000; each unit is a thousand of the one before."""
    for unit in units[:-1]:
        if float(f"{value:.3g}") < 1000.0:
            return f"{_three_digits(value)} {unit}"
        value /= 1000.0
    return f"{value:,.0f} {units[-1]}" if value >= 999.5 else f"{_three_digits(value)} {units[-1]}"


def _seconds(seconds: float) -> str:
    """A latency in seven characters: 61.0 ns, 1.92 ms, 12.3 s, 1,234 s, 2.78 h. No clock knows less than 1 ns."""
    if seconds < 1e-9:
        return "0 s"
    if seconds >= 9999.5:
        return _scaled(seconds / 3600.0, ("h",))
    return _scaled(seconds * 1e9, ("ns", "µs", "ms", "s"))


def _bytes(count: int) -> str:
    """A number of bytes, decimal: 512 B, 83.9 MB."""
    return f"{count} B" if count < 1000 else _scaled(count / 1000.0, ("KB", "MB", "GB", "TB"))


def _span(seconds: float) -> str:
    """The duration of a run: 412 ms, 12.3 s, 2 min 5 s, 3 h 0 min 12 s."""
    if seconds < 59.95:
        return _seconds(seconds)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours} h " if hours else "") + f"{minutes} min {rest} s"
