from __future__ import annotations

import json
import math
import pickle
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests.histogram import Histogram

TENTHS = range(0, 1001)  # percentiles in tenths of a per cent, so that the oracle counts in whole numbers

durations = st.one_of(
    st.floats(min_value=0.0, max_value=65504.0),
    st.floats(min_value=1e-6, max_value=1.0),
    st.integers(min_value=0, max_value=4000).map(lambda us: us / 1e6),
)


@st.composite
def runs(draw, most=1500):
    """Up to so many durations: odd ones as hypothesis likes them, among a crowd that fills the buffer some times."""
    odd = draw(st.lists(durations, max_size=30))
    chance = random.Random(draw(st.integers(0, 2**32)))
    crowd = [chance.lognormvariate(-6.0, 2.0) for _ in range(draw(st.integers(0, most - len(odd))))]
    values = odd + crowd
    chance.shuffle(values)
    return values


def recorded(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def nearest_rank(ordered, tenths):
    """The percentile by definition: the smallest value that so many per mille of all values do not exceed."""
    return ordered[max(0, -(-tenths * len(ordered) // 1000) - 1)]


def tolerance(value):
    """What the module promises: half a bucket."""
    return value * 2**-11 if value >= 2**-14 else 2**-25


def test_empty():
    histogram = Histogram()
    assert (histogram.count, histogram.min, histogram.max, histogram.mean) == (0, 0.0, 0.0, 0.0)
    assert [histogram.percentile(p) for p in (0, 50, 100)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("p", [-0.001, 100.001, math.nan, math.inf, -math.inf])
def test_percentile_outside_0_to_100_is_refused(p):
    with pytest.raises(ValueError, match="between 0 and 100"):
        recorded([1.0]).percentile(p)


@given(runs().filter(bool), st.lists(st.sampled_from(TENTHS), max_size=20))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_agrees_with_a_sorted_list(values, tenths):
    histogram = recorded(values)
    ordered = sorted(values)
    assert histogram.count == len(values)
    assert (histogram.min, histogram.max) == (ordered[0], ordered[-1])
    assert histogram.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-12)
    for one in [0, 500, 999, 1000, *tenths]:
        expected = nearest_rank(ordered, one)
        assert histogram.percentile(one / 10) == pytest.approx(expected, rel=0, abs=tolerance(expected) + 1e-12)
    assert histogram.percentile(0) == ordered[0]
    assert histogram.percentile(100) == ordered[-1]


@given(runs())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_percentiles_never_fall_and_stay_between_min_and_max(values):
    histogram = recorded(values)
    row = [histogram.percentile(one / 10) for one in range(0, 1001, 7)]
    assert row == sorted(row)
    assert histogram.min <= row[0]
    assert row[-1] <= histogram.max


@pytest.mark.parametrize(
    ("p", "count", "rank"),
    [
        (64.4, 250, 161),
        (8.8, 375, 33),
        (74.4, 375, 279),
        (29, 100, 29),
        (99.9, 1000, 999),
        (0.1, 9, 1),
    ],
)
def test_rank_is_not_off_by_a_rounding_error(p, count, rank):
    values = [float(number) for number in range(1, count + 1)]  # whole numbers below 2,048 are bucket middles
    assert recorded(values).percentile(p) == rank


@given(st.lists(runs(700), max_size=4))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_merge_equals_one_recording(parts):
    merged = Histogram()
    for part in parts:
        merged.merge(recorded(part))
    assert_same(merged, recorded(value for part in parts for value in part))


def assert_same(one, other):
    first, second = one.to_dict(), other.to_dict()
    assert first.pop("total") == pytest.approx(second.pop("total"), rel=1e-12)
    assert first == second
    assert one.count == other.count


def test_merge_leaves_the_other_alone_and_takes_itself():
    one, other = recorded([0.001] * 10), recorded([0.002] * 3)
    one.merge(other)
    assert (one.count, other.count, other.max) == (13, 3, 0.002)
    one.merge(one)
    assert (one.count, one.mean) == (26, pytest.approx(0.016 / 13))


@given(runs())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_record_many_equals_record(values):
    many = recorded(values[:3])
    many.record_many(iter(values[3:]))
    assert_same(many, recorded(values))


@given(runs())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_travels_as_json_and_pickle(values):
    histogram = recorded(values)
    there = Histogram.from_dict(json.loads(json.dumps(histogram.to_dict(), allow_nan=False)))
    assert there.to_dict() == histogram.to_dict()
    assert pickle.loads(pickle.dumps(histogram)).to_dict() == histogram.to_dict()
    there.record(0.5)
    histogram.record(0.5)
    assert_same(there, histogram)


def test_to_dict_holds_used_buckets_only():
    data = recorded([1.0] * 1000 + [2.0]).to_dict()
    assert data == {"min": 1.0, "max": 2.0, "total": 1002.0, "buckets": [[0x3C00, 1000], [0x4000, 1]]}


GOOD = {"min": 1.0, "max": 2.0, "total": 3.0, "buckets": [[0x3C00, 1], [0x4000, 1]]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"min": None},
        {"max": "2"},
        {"min": 3.0},
        {"min": -1.0},
        {"max": math.inf},
        {"min": math.nan},
        {"total": math.nan},
        {"total": -1.0},
        {"buckets": 7},
        {"buckets": [[0x7C00, 1]]},
        {"buckets": [[-1, 1]]},
        {"buckets": [[1, 0]]},
        {"buckets": [[1, 2, 3]]},
        {"buckets": [["1", 2]]},
        {"buckets": [5]},
    ],
    ids=repr,
)
def test_from_dict_refuses_what_to_dict_never_makes(wrong):
    assert Histogram.from_dict(GOOD).count == 2
    with pytest.raises(ValueError, match="histogram"):
        Histogram.from_dict({**GOOD, **wrong})


def test_from_dict_refuses_a_missing_key():
    for key in GOOD:
        with pytest.raises(ValueError, match="not the data"):
            Histogram.from_dict({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    ("value", "counted_as"),
    [(-1.0, 0.0), (-0.0, 0.0), (0.0, 0.0), (math.nan, 0.0), (-math.inf, 0.0), (math.inf, 1e9), (1e308, 1e9), (7, 7.0)],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_impossible_durations_do_no_harm_wherever_they_stand(value, counted_as, place):
    values, clean = [1.0, 2.0], [1.0, 2.0]
    values.insert(place, value)
    clean.insert(place, counted_as)
    histogram = recorded(values)
    assert_same(histogram, recorded(clean))
    assert (histogram.min, histogram.max) == (min(clean), max(clean))
    assert math.copysign(1.0, histogram.min) == 1.0
    assert all(0 <= bucket <= 0x7BFF for bucket, _ in histogram.to_dict()["buckets"])


def test_too_long_falls_into_the_last_bucket_and_max_stays_exact():
    histogram = recorded([100_000.0, 200_000.5, 1.0])
    assert histogram.max == 200_000.5
    assert histogram.percentile(100) == 200_000.5
    assert histogram.percentile(50) == 65504.0
    assert histogram.mean == 300_001.5 / 3
    assert histogram.to_dict()["buckets"][-1] == [0x7BFF, 2]


def test_memory_does_not_grow_with_the_number_of_values():
    chance = random.Random(4)
    values = [math.exp(chance.uniform(-9, 1)) for _ in range(2_000)]
    histogram = recorded(values)
    histogram.percentile(50)
    tracemalloc.start()
    try:
        for _ in range(20):
            for value in values:
                histogram.record(value)
        histogram.record_many(value for _ in range(20) for value in values)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert histogram.count == 82_000
    assert peak < 100_000  # 40,000 pointers alone would be 320,000 bytes


def test_every_bucket_can_be_used_and_all_of_them_stay_below_the_ceiling():
    buckets = [[bucket, 1000] for bucket in range(0x7C00)]
    tracemalloc.start()
    try:
        full = Histogram.from_dict({"min": 0.0, "max": 65504.0, "total": 1.0, "buckets": buckets})
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 3_000_000
    assert full.count == 31_744_000
    assert full.percentile(50) == 1.4990234375  # the middle of bucket number 0x3DFF


def test_agrees_with_hdrhistogram():
    """The reference implementation, with three significant digits over 1 microsecond to 1 hour."""
    reference_module = pytest.importorskip("hdrh.histogram")
    reference = reference_module.HdrHistogram(1, 3_600_000_000, 3)
    chance = random.Random(7)
    values = [chance.lognormvariate(-6.0, 1.5) for _ in range(5000)]
    ours = recorded(values)
    for value in values:
        reference.record_value(round(value * 1e6))
    for p in (1, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100):
        theirs = reference.get_value_at_percentile(p) / 1e6
        assert ours.percentile(p) == pytest.approx(theirs, rel=0.002, abs=1.5e-6)


def test_repr_is_short():
    assert repr(recorded([0.001, 0.25])) == "<Histogram of 2 durations, 0.001 to 0.25 s>"
