from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests import errors
from aquests.stats import SAMPLE_LENGTH, SAMPLES, Lane, Stats

PLAIN = ("callback_errors", "connections", "max_connections", "retries", "redirects", "bytes_sent")


def figures(stats):
    """Everything countable, for comparison; sums of seconds apart, which depend on the order of adding."""
    lanes = {}
    for name, lane in stats.lanes.items():
        latency = lane.latency.to_dict()
        latency["total"] = pytest.approx(latency["total"], rel=1e-12)
        lanes[name] = (lane.statuses, lane.errors, lane.bytes_received, latency)
    return lanes, [getattr(stats, name) for name in PLAIN]


def test_new_stats_are_zero():
    stats = Stats()
    assert [getattr(stats, name) for name in PLAIN] == [0] * len(PLAIN)
    assert (stats.tasks, stats.bytes_received, stats.statuses, stats.errors, stats.samples) == (0, 0, {}, {}, {})
    assert (stats.started, stats.finished, stats.interrupted) == (0.0, 0.0, False)
    assert stats.latency.count == 0


def test_settle_counts_status_bytes_and_latency():
    lane = Lane("HTTP/1.1")
    for status, seconds, size in [(200, 0.25, 100), (404, 0.5, 10), (200, 0.75, 0)]:
        lane.settle(status, seconds, size)
    assert lane.statuses == {200: 2, 404: 1}
    assert lane.bytes_received == 110
    assert (lane.latency.count, lane.latency.min, lane.latency.mean, lane.latency.max) == (3, 0.25, 0.5, 0.75)
    assert (lane.answers, lane.failures, lane.tasks) == (3, 0, 3)


def test_lane_is_made_once():
    stats = Stats()
    lane = stats.lane("POSTGRESQL")
    assert stats.lane("POSTGRESQL") is lane
    assert stats.lane("REDIS") is not lane
    assert list(stats.lanes) == ["POSTGRESQL", "REDIS"]


def test_failures_are_counted_apart_from_answers():
    stats = Stats()
    http, redis = stats.lane("HTTP/1.1"), stats.lane("REDIS")
    http.settle(200, 0.5, 10)
    stats.fail(http, 714, errors.ConnectError("connection refused", endpoint="127.0.0.1:9"))
    stats.fail(redis, 714, errors.ConnectError("connection refused", endpoint="127.0.0.1:9"))
    stats.fail(redis, 702, errors.TimedOut("no answer"))
    assert stats.errors == {"714 Connection Failure": 2, "702 Timeout": 1}
    assert http.errors == {"714 Connection Failure": 1}
    assert (http.tasks, http.answers, http.failures) == (2, 1, 1)
    assert (redis.tasks, redis.answers, redis.failures) == (2, 0, 2)
    assert stats.tasks == 4
    assert stats.statuses == {200: 1}
    assert stats.latency.count == 1
    assert redis.latency.count == 0
    assert stats.samples == {
        "714 Connection Failure": ["connection refused, 127.0.0.1:9"],
        "702 Timeout": ["no answer"],
    }


def test_an_answer_is_an_answer_whatever_its_number():
    stats = Stats()
    stats.lane("HTTP/1.1").settle(999, 0.5, 1)
    assert (stats.statuses, stats.errors, stats.latency.count) == ({999: 1}, {}, 1)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(code, f"{code} {reason}") for code, reason in errors.REASONS.items()] + [(799, "799 Unknown Failure")],
)
def test_kind_of_an_error(code, kind):
    stats = Stats()
    stats.fail(stats.lane("HTTP/1.1"), code, OSError("x"))
    assert stats.errors == {kind: 1}


def test_samples_are_few_and_different():
    stats = Stats()
    lane = stats.lane("HTTP/1.1")
    for number in range(100):
        stats.fail(lane, 700, errors.ReadError(f"reset {number // 10}"))
    assert stats.errors == {"700 Connection Closed": 100}
    assert stats.samples == {"700 Connection Closed": [f"reset {number}" for number in range(SAMPLES)]}


@pytest.mark.parametrize(
    ("message", "sample"),
    [
        ("", "OSError"),
        (" \n", "OSError"),
        ("two\r\n  lines", "two lines"),
        ("\x1b[31mred\x00", "?[31mred?"),
        ("Größe, 名前", "Größe, 名前"),
        ("x" * 10_000, "x" * SAMPLE_LENGTH),
    ],
)
def test_a_sample_is_one_short_printable_line(message, sample):
    stats = Stats()
    stats.fail(stats.lane("HTTP/1.1"), 701, OSError(message))
    assert stats.samples == {"701 Exception": [sample]}


def test_latency_of_all_lanes_is_a_copy():
    stats = Stats()
    stats.lane("HTTP/1.1").settle(200, 0.5, 1)
    stats.lane("HTTP/2.0").settle(200, 1.5, 1)
    everything = stats.latency
    assert (everything.count, everything.mean) == (2, 1.0)
    everything.record(9.0)
    assert stats.latency.count == 2


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("settle"),
            st.sampled_from(["HTTP/1.1", "HTTP/2.0", "REDIS"]),
            st.sampled_from([200, 302, 404, 500]),
            st.floats(min_value=0.0, max_value=100.0),
        ),
        st.tuples(
            st.just("fail"),
            st.sampled_from(["HTTP/1.1", "GRPC"]),
            st.sampled_from([700, 702, 714]),
            st.sampled_from(["refused", "reset", "late"]),
        ),
        st.tuples(st.just("add"), st.sampled_from(PLAIN), st.integers(1, 1000), st.none()),
    ),
    max_size=60,
)


def play(stats, events):
    for what, name, number, extra in events:
        if what == "settle":
            stats.lane(name).settle(number, extra, number * 3)
        elif what == "fail":
            stats.fail(stats.lane(name), number, OSError(extra))
        else:
            setattr(stats, name, getattr(stats, name) + number)


@given(st.lists(EVENTS, max_size=4))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_merge_equals_one_recording(runs):
    merged, single = Stats(), Stats()
    for events in runs:
        part = Stats()
        play(part, events)
        before = figures(part)
        merged.merge(part)
        assert figures(part) == before
        play(single, events)
    assert figures(merged) == figures(single)
    assert merged.samples == single.samples
    assert merged.tasks == sum(event[0] != "add" for events in runs for event in events)


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [
        ((0.0, 0.0), (5.0, 9.0), (5.0, 9.0)),
        ((5.0, 9.0), (0.0, 0.0), (5.0, 9.0)),
        ((5.0, 9.0), (7.0, 8.0), (5.0, 9.0)),
        ((5.0, 9.0), (4.0, 11.0), (4.0, 11.0)),
        ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    ],
)
def test_merge_of_the_times(one, other, merged):
    first, second = Stats(), Stats()
    first.started, first.finished = one
    second.started, second.finished = other
    first.merge(second)
    assert (first.started, first.finished) == merged


@pytest.mark.parametrize(("one", "other"), [(False, False), (True, False), (False, True), (True, True)])
def test_merge_of_interrupted(one, other):
    first, second = Stats(), Stats()
    first.interrupted, second.interrupted = one, other
    first.merge(second)
    assert first.interrupted is (one or other)


def test_merge_keeps_the_samples_bounded():
    first, second = Stats(), Stats()
    for number in range(4):
        first.fail(first.lane("HTTP/1.1"), 700, OSError(f"a{number}"))
        second.fail(second.lane("HTTP/1.1"), 700, OSError(f"b{number}"))
    first.merge(second)
    assert first.samples == {"700 Connection Closed": ["a0", "a1", "a2", "a3", "b0"]}


def test_can_be_pickled():
    stats = Stats()
    play(stats, [("settle", "HTTP/1.1", 200, 0.5), ("fail", "GRPC", 702, "late"), ("add", "retries", 3, None)])
    there = pickle.loads(pickle.dumps(stats))
    assert figures(there) == figures(stats)
    assert there.samples == stats.samples


def test_a_misspelt_counter_is_refused():
    with pytest.raises(AttributeError):
        Stats().retrys = 1  # type: ignore[attr-defined]
