"""A histogram of durations: constant size, three significant digits, exact extremes and mean.

An IEEE 754 half-precision number is a log-linear bucket already: five bits of exponent, ten bits
of mantissa, hence 1,024 equal steps in every octave, the same grid HdrHistogram draws for three
significant digits. So the bucket of a duration is the bit pattern of the half-precision number
nearest to its seconds, and ``struct`` finds it for a whole batch without a step of Python.

* From 61 microseconds up a value is off by 0.05 % at most; below that by 30 nanoseconds at most.
* The last bucket is 65,504 s (18 hours). Whatever is longer falls into it; ``max`` stays exact.
* There are 31,744 buckets and only used ones are stored, so memory has a ceiling (about 3 MB,
  reached only if every bucket is used; a usual run uses a few hundred to a few thousand).

``record`` runs once per answer. It only appends to a short buffer; the buffer is folded into the
buckets when it is full, and whenever somebody reads. ``min``, ``max`` and ``mean`` are taken from
the values themselves, not from the buckets.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate, islice
from typing import Final

_LIMIT: Final = 65504.0  # seconds; the largest half-precision number
_LAST: Final = 0x7BFF  # its bits
_FOREVER: Final = 1e9  # seconds (31 years); longer is no measurement, and sums of it might overflow
BATCH: Final = 512  # a fold of so many takes some 50 microseconds, which no deadline feels


class Histogram:
    """Counts durations in seconds. Not thread-safe; can be pickled."""

    __slots__ = ("_buckets", "_folded", "_high", "_low", "_total", "pending")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.pending: list[float] = []
        """Recorded, and not folded into the buckets yet."""
        self._folded = 0
        self._total = 0.0
        self._low = math.inf
        self._high = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration, in seconds. Negative ones and NaN count as 0.0, those above 1e9 s as 1e9 s."""
        pending = self.pending
        pending.append(seconds)
        if len(pending) >= BATCH:
            self.fold()

    def record_many(self, durations: Iterable[float]) -> None:
        """Count every duration of an iterable, which is consumed lazily."""
        source = iter(durations)
        while batch := list(islice(source, BATCH)):
            self.pending.extend(batch)
            self.fold()

    def fold(self) -> None:
        """Move the buffered durations into the buckets. For who appends to ``pending`` himself."""
        values = self.pending
        if not values:
            return
        values.sort()  # 14 ns a value; min and max would take 29
        low, high = values[0], values[-1]
        fitting = values
        total = sum(values) if high <= _LIMIT and low > 0.0 else math.nan
        # Zero goes the slow way too: -0.0 has the bits of no bucket. NaN may hide from min and max, not from a sum.
        if math.isnan(total):
            values = [_tidy(value) for value in values]
            low, high, total = min(values), max(values), sum(values)
            fitting = [min(value, _LIMIT) for value in values]
        self._buckets.update(memoryview(struct.pack(f"{len(fitting)}e", *fitting)).cast("H"))
        self._folded += len(values)
        self._total += total
        self._low = min(self._low, low)
        self._high = max(self._high, high)
        self.pending.clear()

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        return self._folded + len(self.pending)

    @property
    def min(self) -> float:
        """The shortest duration in seconds, exact; 0.0 if there is none."""
        self.fold()
        return self._low if self._folded else 0.0

    @property
    def max(self) -> float:
        """The longest duration in seconds, exact; 0.0 if there is none."""
        self.fold()
        return self._high

    @property
    def mean(self) -> float:
        """The arithmetic mean in seconds, from the sum of the values; 0.0 if there is none."""
        self.fold()
        return self._total / self._folded if self._folded else 0.0

    def percentile(self, p: float) -> float:
        """The duration in seconds that ``p`` per cent of all durations do not exceed.

        This is the nearest rank: a value that occurred, as far as the buckets can tell it apart.
        ``percentile(0)`` is ``min``, ``percentile(100)`` is ``max``; 0.0 if nothing was recorded.

        Raises ValueError unless 0 <= p <= 100.
        """
        if not 0.0 <= p <= 100.0:
            raise ValueError(f"a percentile lies between 0 and 100, not {p!r}")
        self.fold()
        # Rounded, because 64.4 % of 250 is rank 161 and floats make it 161.00000000000003.
        rank = math.ceil(round(p * self._folded / 100.0, 6))
        if rank <= 1:
            return self.min
        if rank >= self._folded:
            return self._high
        buckets = sorted(self._buckets)
        reached = list(accumulate(self._buckets[bucket] for bucket in buckets))
        middle = _middle(buckets[bisect_left(reached, rank)])
        return min(max(middle, self._low), self._high)

    def merge(self, other: Histogram) -> None:
        """Add everything ``other`` has recorded; ``other`` keeps it."""
        self.fold()
        other.fold()
        self._buckets.update(other._buckets)
        self._folded += other._folded
        self._total += other._total
        self._low = min(self._low, other._low)
        self._high = max(self._high, other._high)

    def to_dict(self) -> dict[str, object]:
        """Everything, as JSON knows it, for another process.

        ``min``, ``max``, ``total`` in seconds; ``buckets``: pairs of bucket number (the bits of the
        half-precision number of seconds) and count, ascending, used buckets only.
        """
        self.fold()
        buckets = [[bucket, count] for bucket, count in sorted(self._buckets.items())]
        return {"min": self.min, "max": self._high, "total": self._total, "buckets": buckets}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Histogram:
        """The histogram ``to_dict`` described. Raises ValueError if ``data`` cannot come from there."""
        made = cls()
        match data:
            case {
                "min": float(low) | int(low),
                "max": float(high) | int(high),
                "total": float(total) | int(total),
                "buckets": [*pairs],
            }:
                pass
            case _:
                raise ValueError("not the data of a histogram")
        for pair in pairs:
            match pair:
                case [int(bucket), int(count)] if 0 <= bucket <= _LAST and count > 0:
                    made._buckets[bucket] += count
                case _:
                    raise ValueError(f"not a bucket of a histogram: {pair!r}")
        if not 0.0 <= low <= high < math.inf or not 0.0 <= total < math.inf:
            raise ValueError(f"impossible figures in a histogram: min {low!r}, max {high!r}, total {total!r}")
        made._folded = made._buckets.total()
        if made._folded:
            made._low, made._high, made._total = low, high, total
        return made

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} durations, {self.min:.6g} to {self.max:.6g} s>"


def _tidy(seconds: float) -> float:
    """What an impossible duration counts as; the others as they are."""
    if not seconds > 0.0:  # not "<= 0", which NaN would pass
        return 0.0
    return min(seconds, _FOREVER)


def _middle(bucket: int) -> float:
    """The half-precision number with these bits: the middle of the bucket, in seconds."""
    value: float = struct.unpack("e", struct.pack("H", bucket))[0]
    return value
