"""Endpoints: equal places are one object, and places nobody needs are forgotten."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from aquests import endpoint as module
from aquests.endpoint import Endpoint, Endpoints
from aquests.queue import Fifo
from aquests.settings import Settings
from aquests.url import split


@pytest.fixture
def table() -> Endpoints:
    return Endpoints(Fifo)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://host/", "http://host/path?query#fragment"),
        ("http://host/", "http://HOST:80/"),
        ("https://host/", "https://host:443/"),
        ("http://host/", "http://user:password@host/"),
        ("http://[::1]/", "http://[0:0::0:1]:80/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http+unix://%2Frun%2Fapp/", "http+unix://%2Frun%2Fapp/path"),
    ],
)
def test_equal_places(table: Endpoints, one: str, other: str) -> None:
    assert table.find(split(one)) is table.find(split(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://host/", "https://host:80/"),
        ("http://host/", "http://host:8080/"),
        ("http://host/", "http://host.example/"),
        ("http+unix://%2Frun%2Fa/", "http+unix://%2Frun%2Fb/"),
        ("http+unix://%2Frun%2Fa/", "http://localhost/"),
    ],
)
def test_other_places(table: Endpoints, one: str, other: str) -> None:
    assert table.find(split(one)) is not table.find(split(other))


@pytest.mark.parametrize(
    "options",
    [
        {"proxy": "http://proxy:1"},
        {"proxy": False},
        {"verify": False},
        {"ca": "/ca.pem"},
        {"cert": "/cert.pem"},
        {"cert": ["/cert.pem", "/key.pem"]},
        {"unix": "/run/app.sock"},
        {"trust_env": False},
    ],
)
def test_options_of_the_line_make_a_place_of_its_own(table: Endpoints, options: dict[str, Any]) -> None:
    url = split("https://host/")
    plain = table.find(url)
    special = table.find(url, options)
    assert special is not plain
    assert table.find(url, dict(options)) is special
    assert table.find(url, {**options, "timeout": 3, "auth": ("a", "b")}) is special
    assert table.find(url, {"timeout": 3, "max_content": 5}) is plain


def test_all_that_is_decided_once(table: Endpoints) -> None:
    place = table.find(split("https://host:8443/path"))
    assert (place.scheme, place.host, place.port, place.unix) == ("https", "host", 8443, None)
    assert (place.label, place.host_header, place.origin) == ("host:8443", "host:8443", ("https", "host", 8443))
    assert repr(place) == "<Endpoint https host:8443>"
    v6 = table.find(split("http://[::1]/"))
    assert (v6.label, v6.host_header, v6.origin) == ("[::1]:80", "[::1]", ("http", "::1", 80))
    unix = table.find(split("http+unix://%2Frun%2Fapp.sock/"))
    assert (unix.label, unix.host_header) == ("/run/app.sock", "localhost")
    assert unix.origin == ("http+unix", "/run/app.sock", 80)
    given = table.find(split("http://virtual.example/"), {"unix": "/run/app.sock"})
    assert (given.unix, given.label) == ("/run/app.sock", "/run/app.sock")


def test_a_unix_socket_keeps_the_host_of_the_url(table: Endpoints) -> None:
    """A server with many sites at one socket tells them apart by Host (RFC 9110 7.2)."""
    one = table.find(split("http://one.example/"), {"unix": "/run/app.sock"})
    two = table.find(split("http://two.example:8080/"), {"unix": "/run/app.sock"})
    assert one is not two
    assert (one.host_header, two.host_header) == ("one.example", "two.example:8080")


def test_wires_are_prepared_once(table: Endpoints) -> None:
    place = table.find(split("http://host/"))
    settings = Settings()
    assert place.make_wire(settings) is place.make_wire(settings)
    assert place.make_wire(Settings()) is not place.make_wire(settings)


def test_the_table_forgets_what_nobody_needs(table: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IDLE_ENDPOINTS", 50)
    table._sweep_at = 50
    used = [table.find(split(f"http://used{number}/")) for number in range(3)]
    used[0].lines = 1
    used[1].waiting.append(object())
    used[2].listed = 0
    held = table.find(split("http://held/"))
    for number in range(1000):
        place = table.find(split(f"http://host{number}/"))
        table.remember(f"http://host{number}", place)
        assert len(table._table) <= 50 and len(table.known) <= 50
    assert [table.find(split(f"http://used{number}/")) for number in range(3)] == used
    del place
    gc.collect()
    alive: list[Endpoint] = list(table)
    assert len(alive) < 60
    assert held in alive, "it is still held by somebody"
    assert table.find(split("http://held/")) is not held


def test_a_table_full_of_places_in_use_grows(table: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IDLE_ENDPOINTS", 10)
    table._sweep_at = 10
    for number in range(100):
        table.find(split(f"http://host{number}/")).lines = 1
    assert len(table._table) == 100
    assert table._sweep_at <= 200


def test_the_fast_way(table: Endpoints) -> None:
    place = table.find(split("http://host/"))
    table.remember("http://host", place)
    assert table.known["http://host"] is place


def test_a_place_that_is_crowded_goes_on_with_the_lines_it_gave(table: Endpoints) -> None:
    place = table.find(split("http://h/"))
    place.lines = 3
    assert place.refused(100.0, 10.0) == (module.CROWDED_PAUSE,) and place.most == 3 and place.shut_since == 0.0
    place.welcome()
    assert place.most == place.limit == module.UNLIMITED


def test_a_place_that_gives_no_line_is_left_alone_then_asked_for_one_and_at_last_given_up(table: Endpoints) -> None:
    place = table.find(split("http://h/"))
    place.limit = 16
    assert place.refused(100.0, 10.0) == (module.SHUT_PAUSE, module.CROWDED_PAUSE) and place.most == 0
    place.welcome()
    assert place.most == 1
    assert place.refused(109.9, 10.0) and place.shut_since == 100.0
    assert place.refused(110.0, 10.0) == () and place.most == 1
    place.shut_since = 0.0  # it gave one
    place.welcome()
    assert place.most == 16
