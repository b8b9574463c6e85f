"""Tests against real servers: marked ``live``, skipped where the server is absent.

With AQUESTS_REQUIRE_LIVE=1 in the environment a skipped test fails, so that CI cannot pass by not testing.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this directory."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip in a fixture, in a test or by a mark."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _required():
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but AQUESTS_REQUIRE_LIVE is set: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A skip of a whole file."""
    report = yield
    if report.skipped and _required():
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, but AQUESTS_REQUIRE_LIVE is set: {_reason(report.longrepr)}"
    return report


def _required() -> bool:
    return os.environ.get("AQUESTS_REQUIRE_LIVE", "") not in ("", "0")


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
