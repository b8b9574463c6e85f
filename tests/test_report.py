from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests import errors
from aquests.report import Report, _bytes, _row, _seconds, _span
from aquests.stats import Stats

LATENCY = ["min", "mean", "p50", "p75", "p90", "p95", "p99", "p99.9", "max"]


def plain_run():
    """One protocol; the latencies are 1, 2 ... 1,000 ms, all of them 20 times."""
    stats = Stats()
    lane = stats.lane("HTTP/1.1")
    for number in range(20_000):
        lane.settle(200, (number % 1000 + 1) / 1000, 4200)
    stats.connections = stats.max_connections = 100
    return stats


def mixed_run():
    stats = Stats()
    one = stats.lane("HTTP/1.1")
    one.settle(404, 0.004, 9)
    for _ in range(1500):
        one.settle(200, 0.002, 1000)
    stats.lane("POSTGRESQL").settle(500, 1.5, 0)
    refused = errors.ConnectError("connection refused", endpoint="127.0.0.1:9")
    late = errors.TimedOut("no answer after 10 s " + "and so on " * 12, endpoint="127.0.0.1:8")
    stats.fail(one, 702, late)
    for _ in range(3):
        stats.fail(stats.lane("HTTP/2.0"), 714, refused)
    stats.callback_errors = 2
    stats.connections, stats.max_connections = 12_345, 100
    stats.bytes_sent = 999
    stats.retries, stats.redirects = 1, 2
    return stats


PLAIN_TEXT = """\
20,000 requests in 412 ms: 48,544 requests/s

protocol     requests     p50     p90     p95     p99   p99.9     max
HTTP/1.1       20,000  500 ms  900 ms  950 ms  990 ms  999 ms  1.00 s

status       200: 20,000
traffic      84.0 MB received
connections  100 opened   100 at once"""

MIXED_TEXT = """\
1,506 requests in 2 min 5 s: 12.0 requests/s, interrupted

protocol     requests      p50      p90      p95      p99    p99.9      max
HTTP/1.1        1,502  2.00 ms  2.00 ms  2.00 ms  2.00 ms  2.00 ms  4.00 ms
POSTGRESQL          1   1.50 s   1.50 s   1.50 s   1.50 s   1.50 s   1.50 s
HTTP/2.0            3        -        -        -        -        -        -
all             1,506  2.00 ms  2.00 ms  2.00 ms  2.00 ms  4.00 ms   1.50 s

status       200: 1,500   404: 1   500: 1
errors       714 Connection Failure: 3
               connection refused, 127.0.0.1:9
             702 Timeout: 1
               no answer after 10 s and so on and so on and so on and so on a...
callbacks    2 errors
traffic      1.50 MB received   999 B sent
connections  12,345 opened   100 at once
repeats      1 retry   2 redirects"""


def test_text_of_a_plain_run():
    report = Report(plain_run(), 0.412)
    assert report.report() == PLAIN_TEXT
    assert str(report) == PLAIN_TEXT


def test_print_shows_the_report(capsys):
    print(Report(plain_run(), 0.412))
    assert capsys.readouterr().out == PLAIN_TEXT + "\n"


def test_text_of_a_mixed_run():
    stats = mixed_run()
    stats.interrupted = True
    assert Report(stats, 125.2).report() == MIXED_TEXT


def test_text_of_a_run_without_an_answer():
    stats = Stats()
    stats.fail(stats.lane("HTTP/1.1"), 704, errors.ResolveError("no such name", endpoint="nowhere.invalid:80"))
    assert Report(stats, 0.05).report() == (
        "1 request in 50.0 ms: 20.0 requests/s\n"
        "\n"
        "protocol     requests  p50  p90  p95  p99  p99.9  max\n"
        "HTTP/1.1            1    -    -    -    -      -    -\n"
        "\n"
        "errors       704 Name Not Found: 1\n"
        "               no such name, nowhere.invalid:80"
    )


def test_text_without_a_request():
    assert Report(Stats(), 0.0).report() == "no requests"
    assert Report(Stats(), 3.0).report() == "no requests"
    stats = Stats()
    stats.interrupted = True
    assert Report(stats, 0.0).report() == "no requests, interrupted"
    stats.connections = 1
    assert Report(stats, 0.0).report() == "no requests, interrupted\nconnections  1 opened"


def test_text_without_a_duration_claims_no_rate():
    stats = Stats()
    stats.lane("HTTP/1.1").settle(200, 0.0, 0)
    report = Report(stats, 0.0)
    assert report.requests_per_second == 0.0
    lines = report.report().splitlines()
    assert lines[0] == "1 request"
    assert lines[3].split() == ["HTTP/1.1", "1"] + ["0", "s"] * 6


@pytest.mark.parametrize(("width", "lines"), [(34, 1), (35, 2)])
def test_a_row_may_fill_all_80_columns(width, lines):
    assert len(_row("status", ["x" * 30, "y" * width])) == lines


def test_many_statuses_go_on_in_the_next_line():
    stats = Stats()
    for status in range(200, 215):
        for _ in range(1000):
            stats.lane("HTTP/1.1").settle(status, 0.001, 0)
    rows = Report(stats, 1.0).report().splitlines()[5:]
    assert rows == [
        "status       200: 1,000   201: 1,000   202: 1,000   203: 1,000   204: 1,000",
        "             205: 1,000   206: 1,000   207: 1,000   208: 1,000   209: 1,000",
        "             210: 1,000   211: 1,000   212: 1,000   213: 1,000   214: 1,000",
    ]


counts = st.integers(0, 10**11)


names = st.text("ABC/1.", min_size=1, max_size=30)


@given(
    answers=st.lists(st.tuples(names, st.integers(100, 999), st.floats(0.0, 9e5)), max_size=30),
    failures=st.lists(st.tuples(st.sampled_from(sorted(errors.REASONS)), st.text(max_size=300)), max_size=10),
    plain=st.lists(st.integers(0, 10**11), min_size=6, max_size=6),
    duration=st.one_of(st.just(0.0), st.floats(0.0001, 80_000.0)),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_any_run_is_printed_within_80_columns_and_survives_json(answers, failures, plain, duration):
    stats = Stats()
    for name, status, seconds in answers:
        stats.lane(name).settle(status, seconds, 10**9)
    for code, message in failures:
        stats.fail(stats.lane("A"), code, OSError(message))
    stats.callback_errors, stats.connections, stats.max_connections = plain[:3]
    stats.retries, stats.redirects, stats.bytes_sent = plain[3:]
    report = Report(stats, duration)
    for line in report.report().split("\n"):
        assert len(line) <= 80
        assert line == line.rstrip()
        assert line.isprintable()
    data = report.as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert report.tasks == sum(report.status_codes.values()) + sum(report.errors.values())


def test_table_is_aligned():
    table = Report(mixed_run(), 1.0).report().splitlines()[2:7]
    assert len({len(line) for line in table}) == 1


def test_attributes():
    report = Report(mixed_run(), 2.0)
    assert report.tasks == 1506
    assert report.duration == 2.0
    assert report.requests_per_second == 753.0
    assert report.bytes_received == 1_500_009
    assert report.bytes_sent == 999
    assert list(report.status_codes.items()) == [(200, 1500), (404, 1), (500, 1)]
    assert report.versions == {"HTTP/1.1": 1501, "POSTGRESQL": 1}
    assert report.errors == {"702 Timeout": 1, "714 Connection Failure": 3}
    assert report.error_samples["714 Connection Failure"] == ["connection refused, 127.0.0.1:9"]
    assert report.callback_errors == 2
    assert (report.connections, report.max_connections, report.retries, report.redirects) == (12_345, 100, 1, 2)
    assert report.interrupted is False
    assert list(report.latency) == LATENCY
    assert report.latency["max"] == 1.5
    assert report.latency["min"] == 0.002
    assert report.latency["mean"] == pytest.approx((1500 * 0.002 + 0.004 + 1.5) / 1502)
    http = report.per_protocol["HTTP/1.1"]
    assert (http["tasks"], http["failures"], http["bytes_received"]) == (1502, 1, 1_500_009)
    assert (http["status_codes"], http["errors"]) == ({200: 1500, 404: 1}, {"702 Timeout": 1})
    assert list(http["status_codes"]) == [200, 404]
    assert http["latency"]["max"] == 0.004
    assert report.per_protocol["HTTP/2.0"]["latency"] == dict.fromkeys(LATENCY, 0.0)


def test_latencies_are_those_recorded():
    latency = Report(plain_run(), 1.0).latency
    expected = {
        "min": 0.001,
        "mean": 0.5005,
        "p50": 0.5,
        "p75": 0.75,
        "p90": 0.9,
        "p95": 0.95,
        "p99": 0.99,
        "p99.9": 0.999,
    }
    assert latency == pytest.approx({**expected, "max": 1.0}, rel=5e-4)


def test_as_dict_holds_every_attribute_and_each_is_documented():
    report = Report(mixed_run(), 2.0)
    assert set(report.as_dict()) == {*vars(report), "ok"}
    assert all(re.search(rf"\n *{name} ", Report.__doc__ or "") for name in vars(report))


def test_as_dict_has_text_for_status_codes():
    data: Any = Report(mixed_run(), 2.0).as_dict()
    assert data["status_codes"] == {"200": 1500, "404": 1, "500": 1}
    by_protocol = {name: figures["status_codes"] for name, figures in data["per_protocol"].items()}
    assert by_protocol == {"HTTP/1.1": {"200": 1500, "404": 1}, "POSTGRESQL": {"500": 1}, "HTTP/2.0": {}}
    assert json.loads(json.dumps(data)) == data


def empty_all(value):
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            empty_all(part)
    value.clear()


def test_changing_what_as_dict_gave_does_not_change_the_report():
    report = Report(mixed_run(), 2.0)
    empty_all(report.as_dict())
    assert report.as_dict() == Report(mixed_run(), 2.0).as_dict()


def test_a_report_is_a_snapshot():
    stats = mixed_run()
    report = Report(stats, 2.0)
    before = report.as_dict()
    stats.lane("HTTP/1.1").settle(200, 9.0, 9)
    stats.fail(stats.lane("HTTP/1.1"), 714, OSError("another"))
    assert report.as_dict() == before


def test_empty_report():
    report = Report(Stats(), 0.0)
    assert report.ok
    assert report.tasks == 0
    assert report.requests_per_second == 0.0
    assert report.latency == dict.fromkeys(LATENCY, 0.0)
    assert (report.status_codes, report.versions, report.errors, report.per_protocol) == ({}, {}, {}, {})


@pytest.mark.parametrize("status", [101, 200, 204, 304, 399])
def test_ok(status):
    stats = Stats()
    stats.lane("HTTP/1.1").settle(status, 0.1, 1)
    assert Report(stats, 1.0).ok is True


@pytest.mark.parametrize("fault", ["status 400", "status 500", "failure", "callback"])
def test_not_ok(fault):
    stats = Stats()
    lane = stats.lane("HTTP/1.1")
    lane.settle(200, 0.1, 1)
    if fault.startswith("status"):
        lane.settle(int(fault[-3:]), 0.1, 1)
    elif fault == "failure":
        stats.fail(lane, 702, errors.TimedOut("late"))
    else:
        stats.callback_errors = 1
    assert Report(stats, 1.0).ok is False
    assert Report(stats, 1.0).as_dict()["ok"] is False


def test_repr_is_short():
    assert repr(Report(mixed_run(), 2.0)) == "<Report of 1506 requests, 4 failed, 2.000 s>"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (1e-12, "0 s"),
        (60e-9, "60.0 ns"),
        (1e-6, "1.00 µs"),
        (0.0001234, "123 µs"),
        (0.0009994, "999 µs"),
        (0.0009996, "1.00 ms"),
        (0.00192, "1.92 ms"),
        (0.01, "10.0 ms"),
        (0.9999, "1.00 s"),
        (12.34, "12.3 s"),
        (999.4, "999 s"),
        (999.6, "1,000 s"),
        (9999.0, "9,999 s"),
        (9999.6, "2.78 h"),
        (65504.0, "18.2 h"),
        (1e9, "277,778 h"),
    ],
)
def test_seconds(seconds, text):
    assert _seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 KB"),
        (83_900_000, "83.9 MB"),
        (999_499, "999 KB"),
        (999_999, "1.00 MB"),
        (5 * 10**9, "5.00 GB"),
        (2 * 10**12, "2.00 TB"),
        (12_345 * 10**12, "12,345 TB"),
    ],
)
def test_bytes(count, text):
    assert _bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.412, "412 ms"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125.2, "2 min 5 s"),
        (3599.7, "1 h 0 min 0 s"),
        (90_061.0, "25 h 1 min 1 s"),
    ],
)
def test_span(seconds, text):
    assert _span(seconds) == text


@pytest.mark.parametrize("seconds", [10**exponent * step for exponent in range(-9, 6) for step in (1, 9.994, 9.996)])
def test_no_latency_is_longer_than_seven_characters(seconds):
    assert len(_seconds(seconds)) <= 7
