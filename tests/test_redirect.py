"""Which answers are followed, where to, with which method, and what is left behind."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aquests.errors import RedirectError, TooManyRedirects
from aquests.redirect import BODY_HEADERS, SENSITIVE, Hop, next_hop, strip_headers
from aquests.url import split

HERE = "http://a.example/here"


def follow(location, url=HERE, method="GET", status=302, hops=0, max_redirects=20, seen=()):
    return next_hop(method, url, status, location, hops=hops, max_redirects=max_redirects, seen=seen)


def target(location: str, url: str = HERE) -> str:
    hop = follow(location, url)
    assert hop is not None
    return hop.url


# -- RFC 9110 15.4 -----------------------------------------------------------------------------------------------

METHODS = [
    # status, method, next method, keep the body
    (301, "GET", "GET", True),
    (301, "HEAD", "HEAD", True),
    (301, "POST", "GET", False),
    (301, "PUT", "PUT", True),
    (301, "DELETE", "DELETE", True),
    (302, "GET", "GET", True),
    (302, "HEAD", "HEAD", True),
    (302, "POST", "GET", False),
    (302, "PATCH", "PATCH", True),
    (302, "post", "post", True),  # methods are case-sensitive (RFC 9110 9.1)
    (303, "GET", "GET", False),
    (303, "HEAD", "HEAD", False),
    (303, "POST", "GET", False),
    (303, "PUT", "GET", False),
    (303, "DELETE", "GET", False),
    (307, "GET", "GET", True),
    (307, "HEAD", "HEAD", True),
    (307, "POST", "POST", True),
    (308, "POST", "POST", True),
    (308, "PUT", "PUT", True),
]


@pytest.mark.parametrize(("status", "method", "expected", "keep_body"), METHODS)
def test_method_and_body(status, method, expected, keep_body):
    hop = follow("/there", method=method, status=status)
    assert hop == Hop(expected, "http://a.example/there", keep_body, True)


@pytest.mark.parametrize("status", [200, 201, 204, 300, 304, 305, 306, 309, 399, 401, 404, 500, 714])
def test_other_answers_go_to_the_user(status):
    assert follow("/there", status=status) is None
    assert follow("bad\0", status=status, hops=99) is None


@pytest.mark.parametrize("location", [None, "", "  \t "])
def test_without_location_the_answer_goes_to_the_user(location):
    assert follow(location) is None
    assert follow(location, hops=99) is None


# -- RFC 3986 5.4 ------------------------------------------------------------------------------------------------

BASE = "http://a/b/c/d;p?q"
REFERENCES = {
    # normal examples
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g/",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s",
    ";x": "http://a/b/c/;x",
    "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y#s",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../": "http://a/",
    "../../g": "http://a/g",
    # abnormal ones
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    ".g": "http://a/b/c/.g",
    "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/./y": "http://a/b/c/g;x=1/y",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "g#s/./x": "http://a/b/c/g#s/./x",
    "g#s/../x": "http://a/b/c/g#s/../x",
}


@pytest.mark.parametrize(("location", "expected"), REFERENCES.items())
def test_rfc_3986_5_4(location, expected):
    assert target(location, BASE) == expected


TARGETS = [
    # url, location, where it leads
    ("http://a.example", "x", "http://a.example/x"),
    ("http://a.example?q", "?r", "http://a.example/?r"),
    (HERE, "  /x\t", "http://a.example/x"),
    (HERE, "HTTP://B.Example:80/x", "http://b.example/x"),
    (HERE, "https://b.example", "https://b.example/"),
    ("https://a.example/", "//b.example/x", "https://b.example/x"),
    ("https://a.example/", "http://a.example/", "http://a.example/"),
    (HERE, "http://[::1]:8080/x", "http://[::1]:8080/x"),
    # The opening of a WebSocket is an HTTP request, and servers write its Location as for any other
    ("ws://a.example/", "/x", "ws://a.example/x"),
    ("ws://a.example/", "HTTP://b.example:81/x", "ws://b.example:81/x"),
    ("ws://a.example/", "https://a.example/", "wss://a.example/"),
    ("wss://a.example/", "wss://b.example/", "wss://b.example/"),
    # RFC 9110 10.2.2: the fragment is inherited
    (HERE + "#top", "/x", "http://a.example/x#top"),
    (HERE + "#top", "/x#end", "http://a.example/x#end"),
    (HERE + "#top", "/x#", "http://a.example/x"),
    (HERE + "#top", "https://b.example/", "https://b.example/#top"),
    # what may not stand in a URL is percent-encoded, what is encoded stays
    (HERE, "/a b", "http://a.example/a%20b"),
    (HERE, "/a%20b%C3%A9?c=%2F", "http://a.example/a%20b%C3%A9?c=%2F"),
    (HERE, "/é?ü=€#ß", "http://a.example/%C3%A9?%C3%BC=%E2%82%AC#%C3%9F"),
    (HERE, "/é€".encode().decode("latin-1"), "http://a.example/%C3%A9%E2%82%AC"),  # as header text has it
    (HERE, "/\xe9", "http://a.example/%C3%A9"),
    (HERE, "/a\\b", "http://a.example/a%5Cb"),
    (HERE, "/\\b.example", "http://a.example/%5Cb.example"),
    (HERE, "/x#a b", "http://a.example/x#a%20b"),
    (HERE, "//bücher.example/", "http://xn--bcher-kva.example/"),
    (HERE, "//bücher.example/".encode().decode("latin-1"), "http://xn--bcher-kva.example/"),
    # userinfo is neither taken nor passed on
    (HERE, "http://root:toor@a.example/x", "http://a.example/x"),
    ("http://user:pass@a.example/", "/x", "http://a.example/x"),
    ("http://user:pass@a.example/", "//other@b.example/x", "http://b.example/x"),
    # unix sockets
    ("http+unix://%2Frun%2Fapp.sock/a/b", "c?d", "http+unix://%2Frun%2Fapp.sock/a/c?d"),
    ("http+unix://%2Frun%2Fapp.sock/a", "http+unix://%2Frun%2Fapp.sock/b", "http+unix://%2Frun%2Fapp.sock/b"),
    ("http+unix://%2Frun%2Fapp.sock/a", "http://a.example/b", "http://a.example/b"),
]


@pytest.mark.parametrize(("url", "location", "expected"), TARGETS)
def test_target(url, location, expected):
    assert target(location, url) == expected


REFUSED = [
    "ftp://a.example/x",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:,x",
    "mailto:a@example.com",
    "ws://a.example/",
    "http+unix://%2Frun%2Fdocker.sock/",
    "https+unix://%2Frun%2Fdocker.sock/",
    "http:g",  # RFC 3986 5.4.2: no base to go by
    "http:/x",
    "http://",
    "http:///x",
    "//",
    "http://:80/",
    "http://a.example:x/",
    "http://a.example:65536/",
    "http://a.example:-1/",
    "http://[::1/",
    "http://[x]/",
    "http://a b.example/",
    "http://a.example\\@b.example/",
    "http://127.1/",
    "/x\r\nSet-Cookie: a=b",
    "/x\x00",
    "/x\x7fy",
    "/x\ud800",
    "/x#\ud800",
    "\nhttp://a.example/",
]


@pytest.mark.parametrize("location", REFUSED)
def test_bad_locations_are_refused(location):
    with pytest.raises(RedirectError) as caught:
        follow(location)
    assert not isinstance(caught.value, TooManyRedirects)


@pytest.mark.parametrize("scheme", ["http+unix", "https+unix"])
def test_no_socket_leads_to_another(scheme):
    for url in ("http://a.example/", "https://a.example/", "http+unix://%2Frun%2Fapp.sock/"):
        with pytest.raises(RedirectError):
            follow(scheme + "://%2Frun%2Fother.sock/", url)


def test_messages_hold_no_credentials():
    for location in ("ftp://user:secret@b.example/secret", "http://user:secret@b.example:x/secret?secret"):
        with pytest.raises(RedirectError) as caught:
            follow(location, "http://me:secret@a.example/?secret")
        assert "secret" not in str(caught.value)


# -- origins -----------------------------------------------------------------------------------------------------

ORIGINS = [
    # url, location, the same origin?
    ("http://a.example/", "/x", True),
    ("http://a.example/", "http://A.EXAMPLE/x", True),
    ("http://a.example/", "http://a.example:80/x", True),
    ("http://a.example:80/", "//a.example/x", True),
    ("https://a.example/", "https://a.example:443/x", True),
    ("http://user:pw@a.example/", "http://a.example/", True),
    ("http://[::1]/", "http://[0:0::1]/", True),
    ("http://bücher.example/", "http://xn--bcher-kva.example/", True),
    ("http://a.example/", "https://a.example/", False),
    ("https://a.example/", "http://a.example/", False),
    ("https://a.example/", "http://a.example:443/", False),
    ("http://a.example/", "http://a.example:8080/", False),
    ("http://a.example/", "http://b.example/", False),
    ("http://a.example/", "http://www.a.example/", False),
    ("http://a.example/", "//a.example.evil.org/", False),
    ("http://a.example/", "http://a.example@b.example/", False),
    ("http+unix://%2Frun%2Fapp.sock/", "/x", True),
    ("http+unix://%2Frun%2Fapp.sock/", "http://localhost/", False),
]


@pytest.mark.parametrize(("url", "location", "same"), ORIGINS)
def test_same_origin(url, location, same):
    hop = follow(location, url)
    assert hop is not None and hop.same_origin is same


# -- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hops", "max_redirects", "followed"), [(0, 1, True), (1, 1, False), (0, 0, False), (19, 20, True)]
)
def test_hops_are_counted(hops, max_redirects, followed):
    if followed:
        assert follow("/x", hops=hops, max_redirects=max_redirects) is not None
    else:
        with pytest.raises(TooManyRedirects):
            follow("/x", hops=hops, max_redirects=max_redirects)


def walk(routes: dict[tuple[str, str], tuple[int, str]], method: str, url: str) -> list[tuple[str, str]]:
    """Follow the routes of a server to their end; every request that was made."""
    seen: list[tuple[str, str]] = []
    while (method, url) in routes:
        status, location = routes[method, url]
        hop = next_hop(method, url, status, location, hops=len(seen), max_redirects=20, seen=seen)
        assert hop is not None
        seen.append((method, url))
        method, url = hop.method, hop.url
    return [*seen, (method, url)]


ONE, TWO, THREE = "http://a.example/1", "http://a.example/2", "http://a.example/3"


def test_a_chain_is_followed_to_its_end():
    routes = {("POST", ONE): (307, "2"), ("POST", TWO): (303, "1"), ("GET", ONE): (302, "3")}
    assert walk(routes, "POST", ONE) == [("POST", ONE), ("POST", TWO), ("GET", ONE), ("GET", THREE)]


# What has been asked for before, in order; where it is now; whether it may go to ONE by GET.
CIRCLES = [
    ([], ("GET", ONE), True),
    ([], ("GET", ONE + "#top"), True),
    ([("GET", ONE)], ("GET", TWO), True),  # home, login, home
    ([("GET", ONE)], ("GET", ONE), False),
    ([("GET", ONE + "#top")], ("GET", ONE), False),
    ([("GET", ONE), ("GET", TWO), ("GET", ONE)], ("GET", TWO), False),
    ([("GET", TWO), ("GET", TWO), ("GET", TWO)], ("GET", TWO), True),
    ([("POST", ONE), ("POST", ONE)], ("POST", ONE), True),  # 303 from a form to itself
]


@pytest.mark.parametrize(("seen", "here", "allowed"), CIRCLES)
def test_a_circle_is_left_at_the_second_return(seen, here, allowed):
    method, url = here
    if allowed:
        assert follow("/1", url, method, 303, seen=seen).url.partition("#")[0] == ONE
    else:
        with pytest.raises(TooManyRedirects):
            follow("/1", url, method, 303, seen=seen)


@pytest.mark.parametrize("routes", [{("GET", ONE): (302, "1")}, {("GET", ONE): (302, "2"), ("GET", TWO): (302, "1")}])
def test_a_circle_ends_before_the_limit_of_hops(routes):
    with pytest.raises(TooManyRedirects, match="circle"):
        walk(routes, "GET", ONE)


# -- headers -----------------------------------------------------------------------------------------------------

HEADERS = (
    ("Authorization", "Basic x"),
    ("Accept", "*/*"),
    ("COOKIE", "a=1"),
    ("cookie", "b=2"),
    ("Host", "virtual.example"),
    ("Proxy-Authorization", "Basic x"),
    ("X-API-Key", "k"),
    ("X-Trace", "1"),
    ("Content-Type", "text/plain"),
    ("content-length", "3"),
    ("Transfer-Encoding", "chunked"),
    ("User-Agent", None),
)


@pytest.mark.parametrize(
    ("keep_body", "same_origin", "left"),
    [
        (True, True, set()),
        (False, True, {"content-type", "content-length", "transfer-encoding"}),
        (True, False, {"authorization", "cookie", "host", "proxy-authorization", "x-api-key"}),
        (
            False,
            False,
            {"authorization", "cookie", "host", "proxy-authorization", "x-api-key"}
            | {"content-type", "content-length", "transfer-encoding"},
        ),
    ],
)
def test_headers_left_behind(keep_body, same_origin, left):
    kept = strip_headers(HEADERS, Hop("GET", HERE, keep_body, same_origin))
    assert kept == tuple(pair for pair in HEADERS if pair[0].lower() not in left)


@given(st.sampled_from(sorted(SENSITIVE | BODY_HEADERS)), st.randoms(use_true_random=False))
def test_no_spelling_of_a_name_slips_through(name, random):
    spelling = "".join(random.choice((char.upper(), char)) for char in name)
    pairs = [("Accept", "1"), (spelling, "2"), ("Accept", "3"), (spelling, "4")]
    assert strip_headers(pairs, Hop("GET", HERE, False, False)) == (("Accept", "1"), ("Accept", "3"))


# -- whatever a server sends -------------------------------------------------------------------------------------

PIECES = [
    "http", "https", "http+unix", "ftp", ":", "//", "/", "\\", "@", "a.example", "b", "[::1]", "%2F", "%", "..", ".",
    "?", "#", "8080", " ", "é", "€", "\t", "\r\n", "\0", "\ud800",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.text() | st.lists(st.sampled_from(PIECES)).map("".join),
    st.sampled_from([HERE, "https://u:p@b:8080/x?y#z", "http+unix://%2Frun%2Fapp.sock/x", "ws://a.example/"]),
    st.sampled_from([301, 302, 303, 307, 308]),
    st.sampled_from(["GET", "HEAD", "POST", "PUT"]),
)
@example("//", HERE, 301, "GET")
def test_anything_is_followed_or_refused(location, url, status, method):
    try:
        hop = follow(location, url, method, status)
    except RedirectError:
        return
    if hop is None:
        assert not location.strip(" \t")
        return
    assert hop.url.isascii() and hop.url.isprintable() and " " not in hop.url
    parts = split(hop.url)  # what we follow, we can ask for
    assert parts.user is None
    allowed = ("ws", "wss") if url.startswith("ws:") else ("http", "https")
    assert parts.scheme in allowed or (parts.unix == "/run/app.sock" and url.startswith(parts.scheme))
    assert hop.url.partition("#")[0] == parts.text
