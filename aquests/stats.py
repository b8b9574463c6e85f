"""What a run has counted. The engine writes here, the report reads.

Every request that is finished is counted exactly once, by one of two calls: ``Lane.settle`` if it
was answered, whatever the status, and ``Stats.fail`` if it was not. So an answer is told from a
failure by the call, not by the number: a server may well say 999, and it is still an answer.
Only answers have a latency; a refused connection is quick, and would make the percentiles lie.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from .errors import REASONS
from .histogram import BATCH, Histogram

_Key = TypeVar("_Key")

SAMPLES: Final = 5
"""How many different messages are kept for each kind of error."""

SAMPLE_LENGTH: Final = 200
"""How many characters of a message are kept."""


class Lane:
    """What was counted for one protocol, by the name a response shows: ``"HTTP/1.1"``, ``"POSTGRESQL"``.

    ``statuses``: answers by status. ``errors``: failures by kind. ``latency``: of the answers.
    ``bytes_received``: of the answers, as the engine measures them.
    """

    __slots__ = ("bytes_received", "errors", "latency", "name", "statuses")

    def __init__(self, name: str) -> None:
        self.name = name
        self.statuses: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self.latency = Histogram()
        self.bytes_received = 0

    def settle(self, status: int, seconds: float, nbytes: int) -> None:
        """Count one answer: its status, how many seconds it took, how many bytes it had."""
        try:
            self.statuses[status] += 1
        except KeyError:
            self.statuses[status] = 1
        self.bytes_received += nbytes
        latency = self.latency
        latency.pending.append(seconds)  # as record() does, without the call
        if len(latency.pending) >= BATCH:
            latency.fold()

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return self.latency.count

    @property
    def failures(self) -> int:
        """How many requests were not answered."""
        return sum(self.errors.values())

    @property
    def tasks(self) -> int:
        """How many requests are finished, answered or not."""
        return self.answers + self.failures

    def merge(self, other: Lane) -> None:
        """Add what ``other`` has counted; ``other`` keeps it."""
        _add(self.statuses, other.statuses)
        _add(self.errors, other.errors)
        self.latency.merge(other.latency)
        self.bytes_received += other.bytes_received


class Stats:
    """What a run has counted. The plain attributes are the engine's to write; can be pickled.

    ``lanes``: by protocol name. ``samples``: some messages of each kind of error.
    ``callback_errors``: callbacks that raised. ``connections``: lines opened; ``max_connections``: open at once.
    ``retries``, ``redirects``: requests sent again, and hops followed. ``bytes_sent``: by all lines.
    ``started``, ``finished``: seconds of the monotonic clock, 0.0 for "not yet".
    ``interrupted``: the run was stopped before everything was finished.
    """

    __slots__ = (
        "bytes_sent",
        "callback_errors",
        "connections",
        "finished",
        "interrupted",
        "lanes",
        "max_connections",
        "redirects",
        "retries",
        "samples",
        "started",
    )

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.samples: dict[str, list[str]] = {}
        self.callback_errors = 0
        self.connections = 0
        self.max_connections = 0
        self.retries = 0
        self.redirects = 0
        self.bytes_sent = 0
        self.started = 0.0
        self.finished = 0.0
        self.interrupted = False

    def lane(self, name: str) -> Lane:
        """The lane of a protocol, made when first asked for. To be kept by the caller, not asked for per request."""
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = Lane(name)
        return lane

    def fail(self, lane: Lane, code: int, error: BaseException) -> None:
        """Count one request that was not answered, under ``"<code> <reason>"``, and keep some of the messages."""
        kind = f"{code} {REASONS.get(code, 'Unknown Failure')}"
        lane.errors[kind] = lane.errors.get(kind, 0) + 1
        self._sample(kind, [error])

    def _sample(self, kind: str, messages: Iterable[object]) -> None:
        samples = self.samples.setdefault(kind, [])
        for message in messages:
            if len(samples) >= SAMPLES:
                return
            text = one_line(str(message)) or type(message).__name__
            if text not in samples:
                samples.append(text)

    @property
    def tasks(self) -> int:
        """How many requests are finished, answered or not."""
        return sum(lane.tasks for lane in self.lanes.values())

    @property
    def bytes_received(self) -> int:
        """The bytes of all answers."""
        return sum(lane.bytes_received for lane in self.lanes.values())

    @property
    def statuses(self) -> dict[int, int]:
        """Answers of all lanes by status."""
        return _sum(lane.statuses for lane in self.lanes.values())

    @property
    def errors(self) -> dict[str, int]:
        """Failures of all lanes by kind, such as ``"714 Connection Failure"``."""
        return _sum(lane.errors for lane in self.lanes.values())

    @property
    def latency(self) -> Histogram:
        """The latencies of the answers of all lanes, in a histogram of its own."""
        merged = Histogram()
        for lane in self.lanes.values():
            merged.merge(lane.latency)
        return merged

    def merge(self, other: Stats) -> None:
        """Add what another run, side by side with this one, has counted; ``other`` keeps it.

        ``max_connections`` are added too: an upper bound of what was open at once. ``started`` and
        ``finished`` become the first and the last, which makes sense on one machine only.
        """
        for name, lane in other.lanes.items():
            self.lane(name).merge(lane)
        for kind, messages in other.samples.items():
            self._sample(kind, messages)
        self.callback_errors += other.callback_errors
        self.connections += other.connections
        self.max_connections += other.max_connections
        self.retries += other.retries
        self.redirects += other.redirects
        self.bytes_sent += other.bytes_sent
        self.started = min(self.started or other.started, other.started or self.started)
        self.finished = max(self.finished, other.finished)
        self.interrupted = self.interrupted or other.interrupted


def _add(into: dict[_Key, int], counts: dict[_Key, int]) -> None:
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count


def _sum(tables: Iterable[dict[_Key, int]]) -> dict[_Key, int]:
    total: dict[_Key, int] = {}
    for table in tables:
        _add(total, table)
    return total


def one_line(text: str) -> str:
    """One printable line: a message may quote what a server sent, and a report goes to a terminal."""
    line = " ".join(text[:SAMPLE_LENGTH].split())
    return line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)
