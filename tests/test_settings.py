"""The settings of a run: defaults, checks, and what a line depends on."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from aquests.errors import RequestError
from aquests.settings import Settings

POSITIONS = (
    "workers",
    "logger",
    "callback",
    "timeout",
    "cookie",
    "force_http1",
    "http2_constreams",
    "allow_redirects",
    "qrandom",
    "use_pool",
)


def test_defaults() -> None:
    settings = Settings()
    assert [getattr(settings, name) for name in POSITIONS] == [1, None, None, 10, False, False, 1, True, False, True]
    assert (settings.verify, settings.ca, settings.cert, settings.proxy, settings.trust_env) == (
        True,
        None,
        None,
        None,
        True,
    )
    assert (settings.deadline, settings.max_redirects, settings.max_content) == (None, 20, 256 * 1024 * 1024)


def test_positions_are_as_promised() -> None:
    parameters = list(inspect.signature(Settings).parameters.values())
    assert tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD) == POSITIONS
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[len(POSITIONS) : -1])


def test_configure_takes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import aquests

    parameters = inspect.signature(aquests.configure).parameters
    for name, parameter in inspect.signature(Settings).parameters.items():
        if name in POSITIONS:
            assert parameters[name].default == parameter.default
    assert tuple(parameters)[: len(POSITIONS)] == POSITIONS


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("workers", [1, 10_000], [0, -1, 1.5, "4", None, True, [1]]),
        ("http2_constreams", [1, 100], [0, -1, 1.5, "4", None, True]),
        ("timeout", [0.001, 1, 10.5, float("inf")], [0, 0.0, -1, "10", None, True, float("nan")]),
        ("deadline", [None, 0.001, 60], [0, -1, "10", False, float("nan")]),
        ("max_redirects", [0, 5], [-1, 1.5, "3", None, True]),
        ("max_content", [0, 1 << 40], [-1, 1.5, "3", None, True]),
        ("max_ratio", [1, 10.5], [0, 0.5, -1, "3", None, True, float("nan")]),
        ("callback", [None, print], [5, "print"]),
        ("verify", [True, False], ["ca.pem", 1, 0, None]),
    ],
)
def test_values_are_checked(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Settings(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(RequestError, match=f"^{name} must be "):
            Settings(**{name: value})


def test_misspelt_keywords() -> None:
    with pytest.raises(TypeError, match=r"^unexpected keyword argument 'wokers' \(did you mean 'workers'\?\)$"):
        Settings(wokers=5)


def test_how_many_at_once() -> None:
    assert Settings(7).concurrency == 7
    assert Settings(7, http2_constreams=10).concurrency == 70
    assert Settings(7, http2_constreams=10, force_http1=True).concurrency == 7


@pytest.mark.parametrize(
    "change",
    [
        {"verify": False},
        {"ca": "/ca.pem"},
        {"cert": "/cert.pem"},
        {"proxy": "http://proxy"},
        {"trust_env": False},
        {"force_http1": True},
        {"use_pool": False},
    ],
)
def test_what_a_line_depends_on(change: dict[str, Any]) -> None:
    assert Settings(**change).line_key() != Settings().line_key()


def test_what_a_line_does_not_depend_on() -> None:
    other = Settings(5, None, print, 3, True, allow_redirects=False, qrandom=True, deadline=5, max_content=1)
    assert other.line_key() == Settings().line_key()
