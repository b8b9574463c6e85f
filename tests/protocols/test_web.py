"""Which HTTP a line speaks: ALPN, prior knowledge, and the upgrade of a line that began with HTTP/1.1."""

from __future__ import annotations

import base64
from typing import Any

import hpack
import pytest

from aquests.endpoint import Endpoints
from aquests.errors import PeerClosed, ProtocolError, TlsError
from aquests.exchange import Exchange
from aquests.protocols import h2frames as h2
from aquests.protocols.h2greeting import SETTINGS
from aquests.protocols.http1 import Http1
from aquests.protocols.http2 import Http2
from aquests.protocols.web import NoHttp2, Upgrade, lines
from aquests.queue import Fifo
from aquests.settings import Settings
from aquests.url import split
from tests.conformance import Case, Harness, Turn, check_wire
from tests.helpers import feedings
from tests.loopback import Pieces, exchange
from tests.protocols.h2peer import SETTINGS as GREETED
from tests.protocols.h2peer import SWITCHED, answer, place

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# Which one


@pytest.mark.parametrize(
    ("scheme", "options", "settings", "alpn", "kind"),
    [
        ("https", {}, {}, "h2", Http2),
        ("https", {}, {}, "http/1.1", Http1),
        ("https", {}, {}, None, Http1),
        ("https", {}, {"force_http1": True}, "http/1.1", Http1),
        ("https", {"h2c": "prior"}, {}, "h2", Http2),
        ("https", {"h2c": "prior"}, {}, "http/1.1", NoHttp2),
        ("https", {"h2c": "prior"}, {}, None, NoHttp2),
        ("https+unix", {}, {}, "h2", Http2),
        ("http", {}, {}, None, Http1),
        ("http", {"h2c": "prior"}, {}, None, Http2),
        ("http", {"h2c": "prior"}, {"force_http1": True}, None, Http2),
        ("http", {"h2c": "upgrade"}, {}, None, Upgrade),
        ("http", {"h2c": "upgrade"}, {"force_http1": True}, None, Http1),
        ("http+unix", {"h2c": "prior"}, {}, None, Http2),
    ],
)
def test_the_choice(scheme: str, options: Any, settings: Any, alpn: str | None, kind: type) -> None:
    there = place(scheme, **options)
    make_wire = lines(there, "", (), Settings(**settings))
    assert type(make_wire(alpn)) is kind
    assert (there.lane, there.version) == (("HTTP/2.0", "2.0") if kind is Http2 else ("HTTP/1.1", "1.1"))
    assert type(make_wire(alpn)) is kind


def test_lines_of_a_place_share_what_they_have_learnt() -> None:
    make_wire = lines(place("https"), "", (), Settings(http2_constreams=7))
    one, other = make_wire("h2"), make_wire("h2")
    assert one is not other and one._origin is other._origin and one._origin.streams == 7


def test_nothing_but_http2() -> None:
    wire = lines(place("https", h2c="prior"), "", (), Settings())("http/1.1")
    wire.opened()
    assert wire.room == 0 and not wire.reusable and isinstance(wire.error, TlsError)
    assert "http/1.1" in wire.error.message and wire.abandon(wire.error) == ()


def test_extra_headers_and_prefix() -> None:
    make_wire = lines(place(), "http://peer", (("Proxy-Authorization", "x"),), Settings())
    wire = make_wire(None)
    wire.opened()
    wire.submit(exchange())
    (sent,) = wire.outbox
    assert sent.startswith(b"GET http://peer/ HTTP/1.1\r\n") and b"Proxy-Authorization: x\r\n" in sent


# The upgrade


def make_wire() -> Any:
    return lines(place(h2c="upgrade"), "", (), Settings(http2_constreams=5))(None)


def asked(*requests: Exchange) -> Harness:
    harness = Harness(make_wire())
    harness.open()
    for x in requests:
        harness.submit(x)
    return harness


def test_the_offer() -> None:
    x = exchange(headers=(("X-Own", "1"),))
    harness = asked(x)
    head, _, body = b"".join(harness.sent).partition(b"\r\n\r\n")
    assert head.startswith(b"GET / HTTP/1.1\r\nHost: peer\r\n") and not body
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert fields["Upgrade"] == "h2c" and fields["Connection"] == "Upgrade, HTTP2-Settings"
    assert fields["X-Own"] == "1"
    said = fields["HTTP2-Settings"]
    assert base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)) == SETTINGS
    assert harness.wire.room == 0 and list(harness.wire.inflight) == [x]


@pytest.mark.parametrize("cutting", range(3))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_is_taken(cutting: int, method: str) -> None:
    x = exchange(method=method)
    harness = asked(x)
    harness.sent.clear()
    body = b"" if method == "HEAD" else b"first"
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCHED + GREETED + answer(1, body)
    harness.feed(list(feedings(data, method))[cutting])
    assert harness.done == [x] and x.error is None and x.body == body
    assert x.head is not None and (x.head.version, x.head.lane) == ("2.0", "HTTP/2.0")
    assert b"".join(harness.sent).startswith(h2.PREFACE)
    assert harness.wire.room == 5
    second, third = exchange(b"body", method="POST"), exchange()
    harness.submit(second)
    harness.submit(third)
    harness.feed([answer(5, b"third"), answer(3, b"second")])
    assert (second.body, third.body) == (b"second", b"third") and harness.wire.room == 5


@pytest.mark.parametrize("cutting", range(3))
def test_it_is_declined(cutting: int) -> None:
    x, second = exchange(), exchange()
    harness = asked(x)
    harness.feed(list(feedings(OK, "declined"))[cutting])
    assert x.body == b"ok" and x.head is not None and x.head.version == "1.1"
    harness.sent.clear()
    harness.submit(second)
    assert b"Upgrade" not in b"".join(harness.sent), "asked once"
    harness.feed([OK])
    assert second.body == b"ok" and harness.wire.room == 1


@pytest.mark.parametrize(
    "options",
    [
        {"payload": b"body", "method": "POST"},
        {"payload": Pieces(b"a", b"b"), "method": "POST"},
        {"headers": (("Connection", "close"),)},
        {"headers": (("upgrade", "x"),)},
    ],
)
def test_what_offers_nothing(options: Any) -> None:
    """It goes by HTTP/1.1, and the next one may still offer."""
    harness = asked(exchange(options.pop("payload", None), **options))
    sent = b"".join(harness.sent)
    assert b"HTTP2-Settings" not in sent
    if b"Connection: close" in sent:
        return
    harness.feed([OK])
    harness.sent.clear()
    harness.submit(exchange())
    assert b"HTTP2-Settings" in b"".join(harness.sent)


def test_another_protocol_than_asked() -> None:
    x = exchange()
    harness = asked(x)
    harness.feed([SWITCHED.replace(b"h2c", b"websocket")])
    assert isinstance(x.error, ProtocolError) and "not to h2c" in x.error.message
    assert harness.wire.room == 0 and not harness.wire.reusable


def test_a_switch_that_nobody_asked_for() -> None:
    x = exchange(b"body", method="POST")
    harness = asked(x)
    harness.feed([SWITCHED])
    assert isinstance(x.error, ProtocolError)


def test_the_line_ends_before_the_answer() -> None:
    x = exchange()
    harness = asked(x)
    harness.feed([SWITCHED[:40]])
    harness.receive_eof()
    assert isinstance(x.error, PeerClosed)


def test_reading_on_after_a_cancel() -> None:
    x, other = exchange(), exchange()
    harness = asked(x)
    assert not harness.wire.cancel(x), "HTTP/1.1 cannot"
    harness.feed([SWITCHED + GREETED])
    harness.submit(other)
    assert harness.wire.cancel(x)
    harness.done.append(x)
    harness.feed([answer(3, b"other")])
    assert other.body == b"other"


def test_goodbye_and_upload() -> None:
    x = exchange()
    harness = asked(x)
    harness.feed([SWITCHED + GREETED + answer(1)])
    harness.submit(exchange(Pieces(b"a" * 10), method="PUT"))
    harness.wire.hungry = False
    harness.sent.clear()
    harness.wire.goodbye()
    assert b"".join(harness.wire.outbox)[3] == h2.GOAWAY


CASES = [
    Case("taken", Turn(["/a"], SWITCHED + GREETED + answer(1, b"a")), Turn(["/b", "/c"], answer(5) + answer(3, b"b"))),
    Case("declined", Turn(["/a"], OK), Turn(["/b"], OK), eof=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_laws(case: Case) -> None:
    check_wire(make_wire, lambda ask: exchange(url=f"http://peer{ask}"), [case])


def test_the_judge_agrees() -> None:
    """The first block behind the upgrade tells of an empty table; later ones do not."""
    harness = asked(exchange())
    harness.feed([SWITCHED + GREETED + answer(1)])
    judge = hpack.Decoder()
    for stream in (3, 5):
        harness.sent.clear()
        harness.submit(exchange())
        block = b"".join(harness.sent)[9:]
        assert (":path", "/") in [(str(name), str(value)) for name, value in judge.decode(block)]
        harness.feed([answer(stream)])


def test_a_server_that_wants_http1_gets_it_on_its_next_lines() -> None:
    """RFC 9113 7; other places go on as they are, and so does one that the user wants HTTP/2 from."""
    endpoints = Endpoints(Fifo)
    one, other = (endpoints.find(split(f"https://{name}/")) for name in ("one", "other"))
    wire: Any = one.make_wire(Settings())("h2")
    assert (one.lane, one.spec.alpn) == ("HTTP/2.0", ("h2", "http/1.1"))
    assert not wire._is_for_http1(7) and one.spec.alpn == ("h2", "http/1.1")
    assert wire._is_for_http1(13)
    after: tuple[str, str, tuple[str, ...]] = (one.lane, one.version, one.spec.alpn)
    assert after == ("HTTP/1.1", "1.1", ("http/1.1",))
    assert other.spec.alpn == ("h2", "http/1.1")
    prior = endpoints.find(split("https://one/"), {"h2c": "prior"})
    wire = prior.make_wire(Settings())("h2")
    assert not wire._is_for_http1(13) and prior.spec.alpn == ("h2", "http/1.1")
