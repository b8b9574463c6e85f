"""Making HTTP requests: what is wrong with one is said where it is queued, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.endpoint import Endpoints
from aquests.errors import RequestError
from aquests.httprequest import HttpRequest, make
from aquests.queue import Fifo
from tests.rig import Rig

URL = "http://host/path"


def made(
    url: Any = URL,
    method: str = "GET",
    data: Any = None,
    headers: Any = None,
    params: Any = None,
    content_type: str | None = None,
    endpoints: Endpoints | None = None,
    **options: Any,
) -> HttpRequest:
    """A request as the verbs make it."""
    table = endpoints or Endpoints(Fifo)
    return make(method, method.lower(), url, data, headers, params, content_type, options, table)


# -- what is made --------------------------------------------------------------------------------------------------


def test_a_plain_request() -> None:
    request = made()
    assert (request.method, request.kind, request.url, request.payload) == ("GET", "get", URL, None)
    assert (request.headers, request.options, request.callback, request.response) == ((), None, None, None)
    assert request.endpoint.label == "host:80"
    assert request.meta == {"req_id": -1, "req_method": "get"}
    assert repr(request) == "<HttpRequest -1 GET http://host/path>"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://host", "http://host/"),
        ("http://host?a=/b", "http://host/?a=/b"),
        ("HTTP://HOST:80/x#fragment", "http://host/x"),
        ("http://host/a b?c=ä", "http://host/a%20b?c=%C3%A4"),
        ("http://user:pass%40word@host/", "http://host/"),
        ("http+unix://%2Frun%2Fapp.sock/x", "http+unix://%2Frun%2Fapp.sock/x"),
    ],
)
def test_urls_are_normalised(url: str, text: str) -> None:
    assert made(url).url == text


def test_parameters() -> None:
    assert made(params={"a": 1, "b": [2, 3], "c": None, "d": "x y"}).url == f"{URL}?a=1&b=2&b=3&d=x+y"
    assert made(f"{URL}?a=1", params=[("b", 2)]).url == f"{URL}?a=1&b=2"
    assert made(params={}).url == URL


TARGETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)


@given(TARGETS, TARGETS)
def test_the_fast_way_makes_the_same_requests(first: str, second: str) -> None:
    """Whatever follows a known place: the request is that of a table which knows nothing."""
    table = Endpoints(Fifo)
    for rest in (f"/{first}", second, f"/{second}", f"?{first}/", f"#{second}/", f"/{first}?{second}", f":81/{first}"):
        url = f"http://host{rest}"
        try:
            fresh: HttpRequest | None = made(url)
        except RequestError:
            fresh = None
        try:
            known: HttpRequest | None = made(url, endpoints=table)
        except RequestError:
            known = None
        assert (known is None) == (fresh is None)
        if known is not None and fresh is not None:
            assert known.url == fresh.url
            assert (known.endpoint.host, known.endpoint.port) == (fresh.endpoint.host, fresh.endpoint.port)


def test_the_fast_way_is_taken() -> None:
    table = Endpoints(Fifo)
    first = made("http://HOST:80/a", endpoints=table)
    assert table.known == {"http://host": first.endpoint}
    assert made("http://host/b", endpoints=table).endpoint is first.endpoint
    assert made("http://host/b", endpoints=table, verify=False).endpoint is not first.endpoint
    assert made("http://host/b", endpoints=table, timeout=1).endpoint is first.endpoint
    assert made("http://user@host/b", endpoints=table).endpoint is first.endpoint
    assert len(table.known) == 1


def test_meta_is_a_copy() -> None:
    meta = {"a": [1]}
    one, other = made(meta=meta), made(meta=meta)
    meta["a"] = [2]
    assert one.meta["a"] == [1] == other.meta["a"]
    one.meta["b"] = 1
    assert "b" not in one.meta, "a new dict each time"


def test_the_users_meta_does_not_hide_ours() -> None:
    assert made(meta={"req_id": "mine", "req_method": "mine", "x": 1}).meta == {
        "req_id": -1,
        "req_method": "get",
        "x": 1,
    }


def test_credentials_in_the_url() -> None:
    request = made("http://user:p%40ss@host/")
    assert request.options == {"auth": ("user", "p@ss")}
    assert "p@ss" not in repr(request) and "p%40ss" not in request.url
    assert made("http://user@host/").options == {"auth": ("user", "")}
    given = made("http://user:one@host/", auth=("other", "two"))
    assert given.options == {"auth": ("other", "two")}, "what is said aloud wins"


def test_none_means_as_configured() -> None:
    request = made(timeout=None, auth=None, verify=None, max_content=None, unix=None, callback=None, meta=None)
    assert request.options is None
    assert made(proxy=False).options == {"proxy": False}


@pytest.mark.parametrize("path", ["/run/app.sock", Path("/run/app.sock")])
def test_a_unix_socket(path: Any) -> None:
    request = made(unix=path)
    assert (request.endpoint.unix, request.url) == ("/run/app.sock", URL)


# -- bodies and their types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "content_type", "headers", "payload", "sent"),
    [
        ({"a": 1}, None, None, b"a=1", "application/x-www-form-urlencoded"),
        ({"a": 1}, "application/json", None, b'{"a":1}', "application/json"),
        ({"a": 1}, None, {"Content-Type": "application/json"}, b'{"a":1}', "application/json"),
        ({"a": 1}, None, {"content-type": "application/vnd.x+json"}, b'{"a":1}', "application/vnd.x+json"),
        (b"raw", None, None, b"raw", None),
        (b"raw", "text/xml", None, b"raw", "text/xml"),
        (b"raw", "text/xml", {"Content-Type": "text/plain"}, b"raw", "text/plain"),
        ("text", "text/xml", None, b"text", "text/xml"),
        (b"raw", None, {"Content-Type": None}, b"raw", None),
    ],
)
def test_bodies(data: Any, content_type: Any, headers: Any, payload: bytes, sent: str | None) -> None:
    request = made(method="POST", data=data, headers=headers, content_type=content_type)
    assert request.payload == payload
    types = [value for name, value in request.headers if name.lower() == "content-type"]
    assert types == ([sent] if sent or headers else [])


def test_typed_forms_say_what_they_want_back() -> None:
    assert dict(made(content_type="application/json").headers) == {"Accept": "application/json"}
    assert "Accept" in dict(made(method="POST", data={"a": 1}, content_type="application/json").headers)
    assert dict(made(content_type="application/json", headers={"accept": "x/y"}).headers) == {"accept": "x/y"}
    assert made(content_type="application/x-www-form-urlencoded").headers == ()


# -- refusals ------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    # URLs
    ({"url": ""}, "empty"),
    ({"url": "host/path"}, "http:// is missing"),
    ({"url": "/path"}, "a path alone"),
    ({"url": "ftp://host/"}, "ftp"),
    ({"url": "ws://host/"}, "ws:// is not HTTP"),
    ({"url": "http:///path"}, "host"),
    ({"url": "http://host:port/"}, "port"),
    ({"url": "http://host:70000/"}, "port"),
    ({"url": "http://ho st/"}, "host"),
    ({"url": b"http://host/"}, "a URL is a str, not bytes"),
    ({"url": None}, "a URL is a str, not NoneType"),
    ({"url": 5}, "a URL is a str, not int"),
    ({"url": "http://host/\r\nX: injected"}, "carriage return"),
    ({"url": "http://host/a\nb"}, "line feed"),
    ({"url": "http://host/a\0b"}, "NUL"),
    ({"url": "http://host\r\n/"}, "carriage return"),
    ({"url": "http://host/\ud800"}, "surrogate"),
    ({"url": "http://us%00er:x@host/"}, "control character"),
    # headers
    ({"headers": {"X": "a\r\nY: b"}}, "U+000D"),
    ({"headers": {"X": "a\nY: b"}}, "U+000A"),
    ({"headers": {"X": "a\0b"}}, "U+0000"),
    ({"headers": {"X\r\nY": "b"}}, "may not stand in a name"),
    ({"headers": {"X:": "b"}}, "may not stand in a name"),
    ({"headers": {"": "b"}}, "empty"),
    ({"headers": {"X": object()}}, "a value must be"),
    ({"headers": "X: y"}, "headers must be"),
    ({"headers": 5}, "headers must be"),
    # options
    ({"timeout": 0}, "timeout must be a number of seconds above 0, not 0"),
    ({"timeout": "5"}, "timeout must be"),
    ({"timeout": True}, "timeout must be"),
    ({"timeout": float("nan")}, "timeout must be"),
    ({"deadline": -1}, "deadline must be"),
    ({"max_content": 1.5}, "max_content must be a whole number of at least 0, not 1.5"),
    ({"max_content": -1}, "max_content must be"),
    ({"max_redirects": "3"}, "max_redirects must be"),
    ({"callback": "print"}, "callback must be callable, not str"),
    ({"meta": [1]}, "meta must be a mapping, not list"),
    ({"meta": "x"}, "meta must be a mapping, not str"),
    ({"auth": ("a", "b", "c")}, "auth must be"),
    ({"auth": ("user", 5)}, "auth must be"),
    ({"auth": ("us:er", "x")}, "may not hold ':'"),
    ({"auth": ("user", "a\r\nb")}, "control characters"),
    ({"proxy": "ftp://host"}, "proxy"),
    ({"proxy": True}, "proxy"),
    ({"proxy": "http://host:port"}, "proxy"),
    ({"verify": "ca.pem"}, "verify must be True or False"),
    ({"unix": 5}, "unix must be a path"),
    ({"unix": b"/run/app.sock"}, "unix must be a path"),
    ({"unix": "/run/a\0b"}, "unix must be a path"),
    ({"unix": ""}, "unix must be a path"),
    ({"h2c": "yes"}, "h2c must be"),
    # bodies
    ({"method": "POST", "data": object()}, "cannot be a body"),
    ({"method": "POST", "data": 5}, "cannot be a body"),
    ({"method": "POST", "data": {"a": object()}, "content_type": "application/json"}, ""),
    ({"params": 5}, "params must be"),
    ({"params": {"a": {"b": 1}}}, "mapping"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_what_cannot_be_sent_is_refused_and_leaves_no_trace(arguments: dict[str, Any], words: str) -> None:
    with Rig() as rig:
        arguments = {"url": URL, **arguments}
        with pytest.raises(RequestError) as caught:
            rig.ask(**arguments)
        assert words in str(caught.value)
        engine = rig.engine
        assert (engine.queue.size, engine.pending, engine.counted, engine.idle) == (0, 0, 0, True)
        assert rig.ask("http://host/").req_id == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("time_out", "'timeout'"),
        ("calback", "'callback'"),
        ("Meta", "'meta'"),
        ("verfy", "'verify'"),
        ("allow_redirect", "'allow_redirects'"),
        ("qqqq", ""),
    ],
)
def test_misspelt_keywords(name: str, hint: str) -> None:
    option: dict[str, Any] = {name: 5}
    with Rig() as rig:
        with pytest.raises(TypeError) as caught:
            rig.ask(URL, **option)
        assert repr(name) in str(caught.value)
        assert (f"did you mean {hint}?" in str(caught.value)) == bool(hint)
        assert rig.engine.idle and rig.engine.counted == 0


def test_no_message_holds_a_secret() -> None:
    secret = "hunter2"
    bad: list[Callable[[], object]] = [
        lambda: made(f"http://user:{secret}@host:port/"),
        lambda: made(f"http://user:{secret}\r@host/"),
        lambda: made(auth=("us:er", secret)),
        lambda: made(auth=(secret, "b", "c")),
        lambda: made(headers={"Authorization": f"{secret}\n"}),
        lambda: made(proxy=f"http://user:{secret}@host:port"),
    ]
    for act in bad:
        with pytest.raises(RequestError) as caught:
            act()
        error: BaseException | None = caught.value
        while error is not None:
            assert secret not in str(error)
            error = error.__cause__


# -- requests made by hand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["", "GET ", "GET\r\n", "G\0T", "GÉT", "GET /x HTTP/1.1\r\nX:", "A:B", "(GET)"])
def test_methods_that_are_none(method: str) -> None:
    with pytest.raises(RequestError, match="is not an HTTP method"):
        HttpRequest(method, URL)


def test_methods() -> None:
    assert HttpRequest("PROPFIND", URL).method == "PROPFIND"
    request = HttpRequest("get", URL)
    assert (request.method, request.kind) == ("GET", "get"), "as every other tool does: servers know no 'get'"
    with pytest.raises(RequestError, match="CONNECT makes tunnels"):
        HttpRequest("connect", URL)


def test_made_by_hand_and_placed_later() -> None:
    table = Endpoints(Fifo)
    request = HttpRequest("PUT", "http://HOST/x", {"a": 1}, {"X": "y"}, params={"b": 2}, verify=False, meta={"m": 1})
    assert request.endpoint is None and request.url == "http://host/x?b=2"
    assert request.payload == b"a=1" and ("X", "y") in request.headers
    request.place(table)
    place: Any = request.endpoint
    assert place.options == {"verify": False}
    request.place(table)
    assert request.endpoint is place


def test_made_by_hand_with_faults() -> None:
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        HttpRequest("GET", URL, timout=5)
    with pytest.raises(RequestError):
        HttpRequest("GET", "nowhere")
