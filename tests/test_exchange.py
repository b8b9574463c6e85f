"""Request, Exchange and Response: every attribute that is promised, and how long things took."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import Any

import pytest

from aquests.errors import REASONS, PeerClosed, ProtocolError, StatusError, TimedOut
from aquests.exchange import Line, Request, Response, Trail, texts
from aquests.headers import Headers
from aquests.httprequest import HttpRequest
from aquests.protocols.http1head import parse_head
from aquests.settings import Settings
from tests.certs import Certs
from tests.peers import Answer, ScriptedPeer, expect, http_peer, refused_port, say, wait
from tests.peers import Request as Asked
from tests.rig import Rig

ASKED = expect(b"\r\n\r\n")


class Place:
    """As much of an endpoint as a response looks at."""

    version, lane, yields_data, label = "1.1", "HTTP/1.1", False, "host:80"


def response(head: bytes = b"HTTP/1.1 200 OK", body: bytes = b"", error: Any = None, **fields: Any) -> Response:
    request = Request("GET", "http://host/path", kind="get", endpoint=Place(), meta={"mine": 1})
    x = request.begin(1.0, Settings())
    x.head = parse_head(head) if head else None
    x.body = body
    x.error = error
    for name, value in fields.items():
        setattr(x, name, value)
    return Response(x, request)


# -- an answer over a real line ------------------------------------------------------------------------------------


def test_everything_that_is_promised() -> None:
    def responder(request: Asked) -> Answer:
        headers = [
            ("Content-Type", "text/plain; charset=iso-8859-1"),
            ("Set-Cookie", "a=1; Path=/"),
            ("Set-Cookie", "b=2"),
            ("X-Twice", "one"),
            ("x-twice", "two"),
        ]
        return 404, headers, "grün".encode("latin-1")

    with http_peer(responder) as peer, Rig() as rig:
        answer = rig.fetch(f"{peer.url}path?q=1", "POST", b"body", {"X-Mine": "yes"}, meta={"job": 7})
    assert answer.meta == {"job": 7, "req_id": 0, "req_method": "post"}
    assert answer.url == f"{peer.url}path?q=1"
    assert (answer.status_code, answer.code) == (404, 404)
    assert (answer.reason, answer.msg) == ("Not Found", "Not Found")
    assert (answer.version, answer.lane) == ("1.1", "HTTP/1.1")
    assert answer.headers["CONTENT-type"] == "text/plain; charset=iso-8859-1"
    assert answer.headers.get_all("X-TWICE") == ["one", "two"] and answer.headers["x-twice"] == "one, two"
    assert answer.content == b"gr\xfcn" == answer.data
    assert (answer.encoding, answer.text) == ("iso-8859-1", "grün")
    assert answer.cookies == {"a": "1", "b": "2"}
    assert answer.history == [] and answer.trailers == Headers(())
    assert answer.error is None and not answer.ok
    with pytest.raises(StatusError, match=r"404 Not Found for http://127.0.0.1:\d+/path\?q=1"):
        answer.raise_for_status()
    with pytest.raises(ValueError):
        answer.json()
    sent = answer.request
    assert (sent.method, sent.url, sent.payload) == ("POST", answer.url, b"body")
    assert ("X-Mine", "yes") in sent.headers
    assert repr(answer) == f"<Response [404] {answer.url}>"


def test_the_request_knows_its_response() -> None:
    with http_peer(lambda request: (200, [], b"")) as peer, Rig() as rig:
        request = rig.ask(peer.url)
        assert request.response is None
        rig.run()
        assert request.response is rig.answers[0]
        assert request.meta["req_id"] == 0


def test_trailers() -> None:
    script = [
        ASKED,
        say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n"),
    ]
    with ScriptedPeer(script) as peer, Rig() as rig:
        answer = rig.fetch(peer.url)
        assert answer.content == b"ok" and answer.trailers.get_all("x-sum") == ["1", "2"]
        assert "x-sum" not in answer.headers


@pytest.mark.parametrize(("head", "version"), [(b"HTTP/1.0 200 OK", "1.0"), (b"HTTP/1.1 200", "1.1")])
def test_versions_and_reasons(head: bytes, version: str) -> None:
    with ScriptedPeer([ASKED, say(head + b"\r\n\r\n")]) as peer, Rig() as rig:
        answer = rig.fetch(peer.url)
        assert (answer.version, answer.reason) == (version, "OK" if b"OK" in head else "")
        assert list(rig.engine.stats.lanes) == [f"HTTP/{version}"]


# -- how long it took ----------------------------------------------------------------------------------------------


def test_timings_of_a_new_line_and_of_a_reused_one(certs: Certs) -> None:
    with http_peer(lambda request: (200, [], b"x"), tls=certs.server_context()) as peer, Rig(ca=certs.ca) as rig:
        began = monotonic()
        first = rig.fetch(f"https://localhost:{peer.port}/")
        took = monotonic() - began
        second = rig.fetch(f"https://localhost:{peer.port}/")
    for answer in (first, second):
        timings = answer.timings
        assert list(timings) == ["queue", "dns", "connect", "tls", "first_byte", "total"]
        assert all(0.0 <= seconds <= took + 1.0 for seconds in timings.values())
        assert timings["total"] == answer.elapsed > 0.0
        parts = timings["dns"] + timings["connect"] + timings["tls"] + timings["first_byte"]
        assert 0.0 < parts <= timings["total"] + 0.001
    assert first.timings["connect"] > 0.0 and first.timings["tls"] > 0.0
    assert [second.timings[name] for name in ("dns", "connect", "tls")] == [0.0, 0.0, 0.0]
    assert first.elapsed + first.timings["queue"] <= took


def test_the_first_byte_comes_before_the_last() -> None:
    go = threading.Event()
    script = [ASKED, say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"), wait(go), say(b"cd")]
    with ScriptedPeer(script) as peer, Rig() as rig:
        rig.ask(peer.url)
        threading.Timer(0.15, go.set).start()
        (answer,) = rig.run()
        assert answer.content == b"abcd" and answer.elapsed >= 0.1
        assert answer.timings["first_byte"] < 0.1


def test_the_wait_for_a_worker_is_not_in_the_elapsed_time() -> None:
    """Latencies begin when a worker takes the request; the wait is told apart."""
    go = threading.Event()
    with ScriptedPeer([ASKED, wait(go), say(b"HTTP/1.1 204 No Content\r\n\r\n")]) as slow, Rig() as rig:
        with http_peer(lambda request: (200, [], b"")) as quick:
            rig.ask(slow.url)
            rig.ask(quick.url)
            threading.Timer(0.15, go.set).start()
            first, second = rig.run()
    assert first.elapsed >= 0.1 and second.timings["queue"] >= 0.1
    assert second.elapsed < 0.1 and first.timings["queue"] < 0.1


def test_a_request_made_by_hand_waits_from_the_moment_it_is_queued() -> None:
    with http_peer(lambda request: (200, [], b"")) as peer, Rig() as rig:
        request = HttpRequest("GET", peer.url)
        request.queued_at -= 100.0
        rig.engine.feed([request])
        (answer,) = rig.run()
        assert answer.timings["queue"] < 10.0


def test_timings_of_a_failure() -> None:
    with refused_port() as port, Rig() as rig:
        answer = rig.fetch(f"http://127.0.0.1:{port}/")
        assert answer.timings["total"] == answer.elapsed >= 0.0
        assert all(seconds >= 0.0 for seconds in answer.timings.values())


def test_timings_are_those_of_the_line() -> None:
    line = Line()
    line.dns, line.connect, line.tls = 0.1, 0.2, 0.3
    answer = response(started_at=10.0, sent_at=11.0, first_at=11.5, finished_at=12.0, line=line)
    answer.queued_at = 9.0
    expected = {"queue": 1.0, "dns": 0.1, "connect": 0.2, "tls": 0.3, "first_byte": 0.5, "total": 2.0}
    assert answer.timings == pytest.approx(expected) and answer.elapsed == 2.0


# -- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body", "encoding", "text"),
    [
        ("text/plain; charset=utf-8", "grün".encode(), "utf-8", "grün"),
        ('text/plain; charset="latin-1"', b"gr\xfcn", "latin-1", "grün"),
        ("text/plain;CHARSET=Shift_JIS", "日本".encode("shift_jis"), "Shift_JIS", "日本"),
        ("text/plain; format=flowed; charset=cp1252", b"\x80", "cp1252", "€"),
        ("text/plain; charset=utf-16", "x".encode("utf-16"), "utf-16", "x"),
        ("application/json", "grün".encode(), "utf-8", "grün"),
        ("", b"", "utf-8", ""),
        ("text/plain; charset=", b"x", "utf-8", "x"),
        ("text/plain; charset=nobody-knows", "grün".encode(), "nobody-knows", "grün"),
        ("text/plain; charset=idna", b"x.\xff", "idna", "x.\ufffd"),
        ("text/plain; charset=utf-8", b"a\xffb", "utf-8", "a\ufffdb"),
        ("text/plain; charset=hex", b"61", "hex", "61"),
    ],
)
def test_the_text_of_a_body(content_type: str, body: bytes, encoding: str, text: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}" if content_type else "HTTP/1.1 200 OK"
    answer = response(head.encode(), body)
    assert (answer.encoding, answer.text) == (encoding, text)


def test_an_encoding_that_nobody_has_told_is_guessed() -> None:
    body = "Über die Brücke führt ein schöner Weg, und für Fußgänger ist er geöffnet. ".encode("latin-1") * 20
    answer = response(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain", body)
    assert "Brücke führt" in answer.text


def test_the_encoding_may_be_set() -> None:
    answer = response(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8", b"gr\xfcn")
    assert answer.text == "gr\ufffdn"
    answer.encoding = "latin-1"
    assert (answer.encoding, answer.text) == ("latin-1", "grün")


def test_json() -> None:
    answer = response(body=b'{"a": [1, 2.5, null, "\\u00e4"]}')
    assert answer.json() == {"a": [1, 2.5, None, "ä"]}
    assert answer.json() is answer.json(), "parsed once"
    assert response(body='{"a": "ä"}'.encode("utf-16")).json() == {"a": "ä"}
    with pytest.raises(ValueError, match="Expecting value"):
        response(body=b"").json()


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_ok(status: int) -> None:
    answer = response(b"HTTP/1.1 %d X" % status)
    assert answer.ok and answer.raise_for_status() is answer


@pytest.mark.parametrize("status", [400, 404, 500, 599, 999])
def test_not_ok(status: int) -> None:
    answer = response(b"HTTP/1.1 %d X" % status)
    assert not answer.ok and answer.error is None
    with pytest.raises(StatusError, match=f"{status} X"):
        answer.raise_for_status()


@pytest.mark.parametrize("error", [PeerClosed("x"), TimedOut("x"), ProtocolError("x")])
def test_a_failed_line(error: Any) -> None:
    answer = response(b"", error=error)
    assert (answer.status_code, answer.reason) == (error.code, REASONS[error.code])
    assert (answer.version, answer.lane) == ("1.1", "HTTP/1.1"), "what would have been spoken"
    assert (answer.content, answer.text, answer.data, answer.cookies) == (b"", "", b"", {})
    assert not answer.headers and not answer.ok
    with pytest.raises(type(error)):
        answer.raise_for_status()


def test_a_failure_behind_the_head_shows_the_head() -> None:
    answer = response(b"HTTP/1.1 200 OK\r\nX: y", b"half", error=ProtocolError("x"))
    assert answer.status_code == 715 and answer.reason == REASONS[715]
    assert answer.headers["x"] == "y" and answer.version == "1.1" and answer.content == b"half"
    assert not answer.ok


def test_an_error_object_of_the_protocol_is_an_answer() -> None:
    class Fault(Exception):
        pass

    answer = response(b"HTTP/1.1 200 OK", error=Fault("no such method"))
    assert answer.status_code == 200 and answer.reason == "OK" and not answer.ok
    with pytest.raises(Fault):
        answer.raise_for_status()


def test_neither_head_nor_error_is_701() -> None:
    answer = response(b"")
    assert (answer.status_code, answer.reason) == (701, REASONS[701])


# -- meta and memory -----------------------------------------------------------------------------------------------


def test_meta_can_be_changed_without_harm() -> None:
    request = Request("GET", "http://host/", kind="get", endpoint=Place(), meta={"mine": 1})
    one, other = (Response(request.begin(1.0, Settings()), request) for _ in range(2))
    one.meta["mine"] = 2
    one.meta["new"] = 3
    assert one.meta == {"mine": 2, "new": 3, "req_id": -1, "req_method": "get"}
    assert other.meta == {"mine": 1, "req_id": -1, "req_method": "get"} == request.meta


def test_a_waiting_request_is_small() -> None:
    """Ten million of them wait: what one takes beside its URL is known."""
    request = Request("GET", "http://host/", endpoint=Place())
    assert not hasattr(request, "__dict__")
    assert sys.getsizeof(request) <= 160
    assert request._meta == () and Request("GET", "u", meta={"a": 1})._meta == ("a", 1)


# -- attempts ------------------------------------------------------------------------------------------------------


def test_the_next_attempt_begins_anew() -> None:
    request = Request("PUT", "http://host/", b"body", (("X", "y"),), endpoint=Place())
    x = request.begin(5.0, Settings(timeout=3.0, deadline=60.0))
    x.head, x.body, x.error, x.data = parse_head(b"HTTP/1.1 401 No"), b"no", PeerClosed("x"), 5
    x.progress, x.mark, x.first_at, x.finished_at, x.untouched, x.delay = 7, 7, 6.0, 7.0, True, 1.0
    x.headers = (*x.given, ("Authorization", "secret"))
    x.trailers = (("a", "b"),)
    again = x.again()
    assert (again.request, x.request) == (request, None), "one answer: only one attempt may give it"
    assert (again.head, again.body, again.error, again.data, again.trailers) == (None, b"", None, None, ())
    assert (again.progress, again.mark, again.first_at, again.finished_at) == (0, 0, 0.0, 0.0)
    assert (again.untouched, again.delay) == (False, 0.0)
    assert again.headers == again.given == (("X", "y"),), "secrets are put on anew"
    assert (again.started_at, again.limit, again.patience) == (5.0, 65.0, 3.0)
    assert (again.method, again.url, again.payload) == ("PUT", "http://host/", b"body")
    assert x.body == b"no", "the old one stays as it was"


def test_options_of_a_request_against_those_of_the_run() -> None:
    settings = Settings(timeout=3.0, max_content=100)
    plain = Request("GET", "u").begin(1.0, settings)
    assert (plain.patience, plain.max_content, plain.limit, plain.ruled) == (3.0, 100, 0.0, False)
    options = {"timeout": 5.0, "max_content": 7, "deadline": 9.0, "auth": ("a", "b")}
    special = Request("GET", "u", options=options).begin(1.0, settings)
    assert (special.patience, special.max_content, special.limit, special.ruled) == (5.0, 7, 10.0, True)
    assert special.begin(99.0, settings) is special, "a second attempt has begun already"


def test_a_trail_that_is_copied_is_ones_own() -> None:
    trail = Trail()
    for name in Trail.__slots__:
        value = getattr(trail, name)
        setattr(trail, name, [name] if isinstance(value, list) else True if isinstance(value, bool) else 5)
    copy = trail.copy()
    assert {name: getattr(copy, name) for name in Trail.__slots__} == {
        name: getattr(trail, name) for name in Trail.__slots__
    }
    copy.history.append(response())
    copy.visited.append(("GET", "u"))
    assert trail.history == ["history"] and trail.visited == ["visited"]  # type: ignore[comparison-overlap]


def test_headers_that_are_not_wanted() -> None:
    assert texts((("A", "1"), ("B", None), ("C", ""))) == (("A", "1"), ("C", ""))


def test_representations() -> None:
    request = Request("GET", "http://host/")
    assert repr(request) == "<Request -1 GET http://host/>"
    assert repr(request.begin(0.0, Settings())) == "<Exchange GET http://host/>"
    assert request.begin(0.0, Settings()).req_id == -1
