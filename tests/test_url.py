from __future__ import annotations

import enum
import subprocess
import sys
import urllib.parse

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aquests.errors import RequestError
from aquests.url import SCHEMES, Url, encode_query, host_header, is_clean_target, join, origin, split, with_query

bounded = settings(max_examples=200, deadline=None, derandomize=True)

PARTS = ("scheme", "host", "port", "target", "text")

GOOD = [
    # url, scheme, host, port, target, text (None: the same as url)
    ("http://example.com/", "http", "example.com", 80, "/", None),
    ("http://example.com", "http", "example.com", 80, "/", "http://example.com/"),
    ("https://example.com/a/b?c=d&e", "https", "example.com", 443, "/a/b?c=d&e", None),
    ("ws://example.com/chat", "ws", "example.com", 80, "/chat", None),
    ("wss://example.com/chat", "wss", "example.com", 443, "/chat", None),
    ("HTTP://EXAMPLE.com/A", "http", "example.com", 80, "/A", "http://example.com/A"),
    ("http://example.com?q=1", "http", "example.com", 80, "/?q=1", "http://example.com/?q=1"),
    ("http://example.com?a=/b", "http", "example.com", 80, "/?a=/b", "http://example.com/?a=/b"),
    ("http://example.com?", "http", "example.com", 80, "/?", "http://example.com/?"),
    ("http://example.com/a#frag?x", "http", "example.com", 80, "/a", "http://example.com/a"),
    ("http://example.com#frag/x", "http", "example.com", 80, "/", "http://example.com/"),
    # ports
    ("http://h:8080/", "http", "h", 8080, "/", None),
    ("http://h:80/", "http", "h", 80, "/", "http://h/"),
    ("https://h:80/", "https", "h", 80, "/", None),
    ("http://h:/", "http", "h", 80, "/", "http://h/"),
    ("http://h:0/", "http", "h", 0, "/", None),
    ("http://h:65535/", "http", "h", 65535, "/", None),
    ("http://h:000443/", "http", "h", 443, "/", "http://h:443/"),
    # hosts
    ("http://127.0.0.1:5000/", "http", "127.0.0.1", 5000, "/", None),
    ("http://255.255.255.255/", "http", "255.255.255.255", 80, "/", None),
    ("http://my_host-1.local/", "http", "my_host-1.local", 80, "/", None),
    ("http://example.com./", "http", "example.com.", 80, "/", None),
    ("http://1.example/", "http", "1.example", 80, "/", None),
    ("http://0xg.1a/", "http", "0xg.1a", 80, "/", None),
    ("http://%65xample.com/", "http", "example.com", 80, "/", "http://example.com/"),
    ("http://[::1]:8080/x", "http", "::1", 8080, "/x", None),
    ("http://[::1]", "http", "::1", 80, "/", "http://[::1]/"),
    ("http://[2001:DB8:0:0::1]:80/", "http", "2001:db8::1", 80, "/", "http://[2001:db8::1]/"),
    ("http://bücher.example/", "http", "xn--bcher-kva.example", 80, "/", "http://xn--bcher-kva.example/"),
    ("http://BÜCHER.example:81", "http", "xn--bcher-kva.example", 81, "/", "http://xn--bcher-kva.example:81/"),
    ("http://b%C3%BCcher.example/", "http", "xn--bcher-kva.example", 80, "/", "http://xn--bcher-kva.example/"),
    ("http://straße.example/", "http", "xn--strae-oqa.example", 80, "/", "http://xn--strae-oqa.example/"),
    ("http://例え。テスト/", "http", "xn--r8jz45g.xn--zckzah", 80, "/", "http://xn--r8jz45g.xn--zckzah/"),
    ("http://１２７.0.0.1/", "http", "127.0.0.1", 80, "/", "http://127.0.0.1/"),
    # targets: what is allowed stays, what is not is encoded, nothing is decoded or resolved
    ("http://h/a%20b%2fc%2F", "http", "h", 80, "/a%20b%2fc%2F", None),
    (
        "http://h/-._~!$&'()*+,;=:@/?/?-._~!$&'()*+,;=:@",
        "http",
        "h",
        80,
        "/-._~!$&'()*+,;=:@/?/?-._~!$&'()*+,;=:@",
        None,
    ),
    ("http://h/a b", "http", "h", 80, "/a%20b", "http://h/a%20b"),
    ('http://h/"<>[\\]^`{|}', "http", "h", 80, "/%22%3C%3E%5B%5C%5D%5E%60%7B%7C%7D", None),
    ("http://h/é?ü=€", "http", "h", 80, "/%C3%A9?%C3%BC=%E2%82%AC", None),
    ("http://h/😀", "http", "h", 80, "/%F0%9F%98%80", None),
    ("http://h/100%", "http", "h", 80, "/100%25", None),
    ("http://h/%zz%4%41", "http", "h", 80, "/%25zz%254%41", None),
    ("http://h/%%41", "http", "h", 80, "/%25%41", None),
    ("http://h/a/../b/./c//d", "http", "h", 80, "/a/../b/./c//d", None),
    ("http://h//x", "http", "h", 80, "//x", None),
    ("http://h/\\evil.example/", "http", "h", 80, "/%5Cevil.example/", None),
    ("http://h/http://other/", "http", "h", 80, "/http://other/", None),
    ("http://h/@other/", "http", "h", 80, "/@other/", None),
]


@pytest.mark.parametrize(("url", "scheme", "host", "port", "target", "text"), GOOD)
def test_good_urls(url, scheme, host, port, target, text):
    parts = split(url)
    if text is None:
        text = url if is_clean_target(url, url.index("/", 8)) else url[: url.index("/", 8)] + target
    assert [getattr(parts, name) for name in PARTS] == [scheme, host, port, target, text]
    assert (parts.user, parts.password, parts.unix) == (None, None, None)
    again = split(parts.text)
    assert [getattr(again, name) for name in PARTS] == [getattr(parts, name) for name in PARTS]


@pytest.mark.parametrize(
    ("userinfo", "user", "password"),
    [
        ("joe", "joe", None),
        ("joe:", "joe", ""),
        ("joe:pw", "joe", "pw"),
        (":pw", "", "pw"),
        ("", None, None),
        (":", "", ""),
        ("joe:p:w", "joe", "p:w"),
        ("joe:p@w", "joe", "p@w"),
        ("a%40b:%2F%3a%C3%A9", "a@b", "/:é"),
        ("jö:100%", "jö", "100%"),
        ("DOM%5Cjoe:x", "DOM\\joe", "x"),
    ],
)
def test_credentials_are_decoded_and_left_out_of_the_text(userinfo, user, password):
    parts = split(f"http://{userinfo}@h:81/x")
    assert (parts.user, parts.password, parts.host, parts.port) == (user, password, "h", 81)
    assert parts.text == "http://h:81/x"


def test_repr_masks_credentials():
    assert repr(split("http://h/x")) == "Url('http://h/x')"
    assert repr(split("http://tok3n:s3cret@h/x")) == "Url('http://***@h/x')"


@pytest.mark.parametrize(
    ("url", "unix", "target", "text"),
    [
        ("http+unix://%2Frun%2Fapp.sock/path?q", "/run/app.sock", "/path?q", "http+unix://%2Frun%2Fapp.sock/path?q"),
        ("HTTP+UNIX://%2frun%2Fapp.sock", "/run/app.sock", "/", "http+unix://%2Frun%2Fapp.sock/"),
        ("https+unix://%2FRun%2FA%20b/", "/Run/A b", "/", "https+unix://%2FRun%2FA%20b/"),
        ("http+unix://app.sock/", "app.sock", "/", "http+unix://app.sock/"),
        ("http+unix://%2Ftmp%2Fé/", "/tmp/é", "/", "http+unix://%2Ftmp%2F%C3%A9/"),
    ],
)
def test_unix_sockets(url, unix, target, text):
    parts = split(url)
    assert (parts.unix, parts.host, parts.target, parts.text) == (unix, "localhost", target, text)
    assert parts.port == SCHEMES[parts.scheme]
    assert split(text).text == text
    assert host_header(parts.scheme, parts.host, parts.port) == "localhost"


BAD = [
    # url, words of the message
    ("", "empty"),
    ("   ", "empty"),
    ("example.com", "http:// is missing: did you mean 'http://example.com'?"),
    ("localhost:8000/x", "http:// is missing: did you mean 'http://localhost:8000'?"),
    ("//example.com/x", "http:// is missing: did you mean 'http://example.com'?"),
    ("://example.com/x", "http:// is missing: did you mean 'http://example.com'?"),
    ("/path", "a path alone"),
    ("?q=1", "a path alone"),
    ("#frag", "a path alone"),
    (" http://h/", "starts with a space"),
    ("\u00a0http://h/", "starts with a space"),
    ("http:/example.com", "'://' is missing after 'http'"),
    ("http:example.com", "'://' is missing after 'http'"),
    ("HTTPS//example.com", "'://' is missing after 'https'"),
    ("htp://h/", "the scheme 'htp' is not known: use one of http, https, ws, wss"),
    ("ftp://h/", "'ftp' is not known"),
    ("mailto:joe", "'mailto' is not known"),
    ("h_t://h/", "'h_t' is not known"),
    ("\ufeffhttp://h/", "'\\ufeffhttp' is not known"),
    # host
    ("http://", "host is missing"),
    ("http:///path", "host is missing"),
    ("http://?q", "host is missing"),
    ("http://#f", "host is missing"),
    ("http://:80/", "host is missing"),
    ("http://joe@/", "host is missing"),
    ("http://a b/", "a space (U+0020)"),
    ("http://a%20b/", "a space (U+0020)"),
    ("http://a%2Fb/", "'/' (U+002F)"),
    ("http://a%00b/", "control character"),
    ("http://a%b/", "two hex digits"),
    ("http://a%zz/", "two hex digits"),
    ("http://a%ff/", "not UTF-8"),
    ("http://a*b/", "'*' (U+002A)"),
    ("http://<script>/", "'<' (U+003C)"),
    ("http://a,b/", "',' (U+002C)"),
    ("http://a..b/", "1 to 63"),
    ("http://.a/", "1 to 63"),
    ("http://./", "1 to 63"),
    (f"http://{'a' * 64}.b/", "1 to 63"),
    (f"http://{'a.' * 127}a/", "at most 253"),
    (f"http://{'é' * 254}/", "253"),
    ("http://a\\b/", "backslash"),
    ("http://good.example\\@evil.example/", "backslash"),
    ("http://☕.example/", "IDNA 2008"),
    ("http://a／b/", "IDNA 2008"),
    ("http://xn--ü.example/", "IDNA 2008"),
    # IPv4
    ("http://127.1/", "no IPv4 address: write four decimal numbers"),
    ("http://2130706433/", "no IPv4 address"),
    ("http://0x7f.1/", "no IPv4 address"),
    ("http://0x7F000001/", "no IPv4 address"),
    ("http://0x/", "no IPv4 address"),
    ("http://017700000001/", "no IPv4 address"),
    ("http://0177.0.0.1/", "no IPv4 address"),
    ("http://127.0.0.01/", "no IPv4 address"),
    ("http://127.0.0.1./", "no IPv4 address"),
    ("http://1.2.3.256/", "no IPv4 address"),
    ("http://1.2.3.4.5/", "no IPv4 address"),
    ("http://example.1/", "no IPv4 address"),
    ("http://１２７.1/", "no IPv4 address"),
    ("http://%31/", "no IPv4 address"),
    # IPv6
    ("http://[::1/", "not closed"),
    ("http://[]/", "malformed"),
    ("http://[1.2.3.4]/", "malformed"),
    ("http://[::1::]/", "malformed"),
    ("http://[v1.x]/", "malformed"),
    ("http://[fe80::1%25eth0]/", "zone id"),
    ("http://[fe80::1%eth0]/", "zone id"),
    ("http://[::1]x/", "only ':port'"),
    ("http://[::1]80/", "only ':port'"),
    ("http://::1/", "brackets"),
    ("http://h]/", "']' (U+005D)"),
    # port
    ("http://h:x/", "port is not a number"),
    ("http://h:-1/", "port is not a number"),
    ("http://h:+1/", "port is not a number"),
    ("http://h: 80/", "port is not a number"),
    ("http://h:８０/", "port is not a number"),
    ("http://h:65536/", "port is over 65535"),
    (f"http://h:{'9' * 5000}/", "port is over 65535"),
    ("http://[::1]:x/", "port is not a number"),
    ("http://joe:pa/ss@h/", "%2F"),
    # control characters and what cannot be encoded, anywhere
    ("http://h/a\r\nX-Evil: 1", "a carriage return (U+000D) at position 10: remove it, or write it as %0D"),
    ("http://h/a\nb", "a line feed (U+000A) at position 10"),
    ("http://h/a\n", "a line feed (U+000A) at position 10: use strip()"),
    ("\nhttp://h/a", "a line feed (U+000A) at position 0"),
    ("ht\ntp://h/", "a line feed (U+000A) at position 2"),
    ("http://h\t/", "a tab (U+0009) at position 8"),
    ("http://h/\0", "NUL (U+0000) at position 9"),
    ("http://h/?a=\x7f", "(U+007F) at position 12"),
    ("http://h/\x85", "(U+0085) at position 9"),
    ("http://h/#a\nb", "a line feed (U+000A) at position 11"),
    ("http://joe\r@h/", "a carriage return (U+000D) at position 10"),
    ("http://h/\ud800", "(U+D800) at position 9: repair the text"),
    ("http://\udfff/", "(U+DFFF) at position 7: repair the text"),
    # credentials
    ("http://joe:%0a@h/", "the password holds an escaped control character"),
    ("http://%00:x@h/", "the user holds an escaped control character"),
    ("http://joe:%ff@h/", "the escapes in the password are not UTF-8"),
    # unix
    ("http+unix:///run/app.sock/x", "write its '/' as %2F"),
    ("http+unix://%2Frun%/", "two hex digits"),
    ("http+unix://%00abstract/", "control character"),
    ("http+unix://%ff/", "not UTF-8"),
]


@pytest.mark.parametrize(("url", "words"), BAD)
def test_bad_urls_say_what_is_wrong(url, words):
    with pytest.raises(RequestError) as caught:
        split(url)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_each_control_and_surrogate_is_refused(code):
    for url in (f"http://h/{chr(code)}a", f"http://h{chr(code)}/", f"http://joe{chr(code)}@h/"):
        with pytest.raises(RequestError, match=rf"\(U\+{code:04X}\) at position"):
            split(url)


@pytest.mark.parametrize("code", [0x20, 0x7E, 0xA0, 0xD7FF, 0xE000, 0xFFFF, 0x10FFFF])
def test_their_neighbours_are_not(code):
    assert split(f"http://h/{chr(code)}").target == "/" + urllib.parse.quote(chr(code), safe="~")


@pytest.mark.parametrize("host", ["a" * 63, f"b.{'a' * 63}", ".".join(["a" * 49] * 5) + ".xyz", "a." * 126 + "a."])
def test_the_longest_hosts(host):
    assert split(f"http://{host}/").host == host
    with pytest.raises(RequestError, match="1 to 63"):
        split(f"http://{host.removesuffix('.')}aa{'a' * 49}/")


@pytest.mark.parametrize("url", [None, b"http://h/", 5])
def test_a_url_is_str(url):
    with pytest.raises(RequestError, match=f"must be str, not {type(url).__name__}"):
        split(url)


@pytest.mark.parametrize(
    "url",
    [
        "joe:s3cret@h/",
        "http:joe:s3cret@h/",
        "http//joe:s3cret@h/",
        "htp://joe:s3cret@h/",
        "://joe:s3cret@h/",
        "joe:s3cret@h/?u=http://x/",
        "s3cret/?u=http://x@h",
        "http://joe:s3cret@/",
        "http://joe:s3cret@a b/",
        "http://joe:s3cret@h:x/",
        "http://joe:s3cret%0a@h/",
        "http://joe:s3cret%ff@h/",
        "http://joe:s3cret\n@h/",
        "http://joe:s3cret\\@h/",
        "http://joe:s3cret@127.1/",
        "http://joe:s3cret@[::1/",
        "http://joe:s3cret@é..x/",
        "http://joe:s3cret/x@h/",
        "http://joe:x/s3cret@h/",
        "http://joe:x?s3cret@h/",
        "http://joe:x#s3cret@h/",
        "http://joe:s3cret%40h/",
        "http://joe:1234:s3cret@h:1:2/",
        "http://h/s3cret\n",
        "http://h:x/?key=s3cret",
        "http+unix://joe:s3cret@/",
    ],
)
def test_messages_keep_secrets(url):
    with pytest.raises(RequestError) as caught:
        split(url)
    assert "s3cret" not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)


def test_other_schemes_by_a_table_of_ports():
    schemes = {"redis": 6379, "postgresql": 5432}
    parts = split("redis://:pw@cache:6380/2?x=1", schemes)
    assert (parts.host, parts.port, parts.password, parts.target) == ("cache", 6380, "pw", "/2?x=1")
    parts = split("postgresql://db:5432/app", schemes)
    assert (parts.port, parts.text) == (5432, "postgresql://db/app")
    with pytest.raises(RequestError, match="'http' is not known: use one of redis, postgresql"):
        split("http://h/", schemes)
    with pytest.raises(RequestError, match="redis:// is missing"):
        split("cache:6379", schemes)
    assert host_header("redis", "h", 6379, schemes) == "h"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://H/x", ("http", "h", 80)),
        ("https://h:80/x", ("https", "h", 80)),
        ("http://joe:pw@[::1]:81/", ("http", "::1", 81)),
        ("http+unix://%2Frun%2Fa.sock/x", ("http+unix", "/run/a.sock", 80)),
    ],
)
def test_origin(url, expected):
    assert origin(split(url)) == expected


@pytest.mark.parametrize(
    ("scheme", "host", "port", "expected"),
    [
        ("http", "h", 80, "h"),
        ("https", "h", 443, "h"),
        ("https", "h", 80, "h:80"),
        ("wss", "h", 443, "h"),
        ("http", "::1", 80, "[::1]"),
        ("http", "::1", 8080, "[::1]:8080"),
        ("other", "h", 80, "h:80"),
    ],
)
def test_host_header(scheme, host, port, expected):
    assert host_header(scheme, host, port) == expected


# -- the quick way past split --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        ("/", True),
        ("/a/b-._~!$&'()*+,;=:@?c=d?e/f", True),
        ("/%41%ff%FF", True),
        ("", False),
        ("a", False),
        ("?a", False),
        ("/ ", False),
        ("/\n", False),
        ("/a\n", False),
        ("/é", False),
        ("/%", False),
        ("/%4", False),
        ("/%4g", False),
        ("/%%41", False),
        ("/[", False),
        ("/]", False),
        ("/#", False),
        ("/\\", False),
        ("/" + "a" * 100_000 + "%", False),  # would not return if the pattern backtracked
        ("/" + "%41" * 100_000 + "%", False),
    ],
)
def test_clean_target(target, clean):
    assert bool(is_clean_target("http://h" + target, 8)) is clean


tricky = st.lists(
    st.sampled_from(
        [
            "http://",
            "https:",
            "//",
            "/",
            "?",
            "#",
            "@",
            ":",
            "[",
            "]",
            "::1",
            "%",
            "%41",
            "%C3%A9",
            "%00",
            "\\",
            ".",
            "..",
        ]
        + ["1", "0x7f", "127.0.0.1", "h", "example.com", "xn--", "é", "ß", "。", "℀", "\u00ad", "\u200d", "א", "😀"]
        + [" ", "\n", "\t", "\0", "\x85", "\ud800", "a=b&c", "unix", "+", "-", "_", "*"]
    ),
    max_size=12,
).map("".join)
anything = st.one_of(
    st.text(max_size=40),
    tricky,
    tricky.map("http://".__add__),
    tricky.map("http://h/".__add__),
    tricky.map("http+unix://".__add__),
    tricky.map(lambda text: f"http://{text}@h/"),
)


@bounded
@given(anything)
def test_any_str_gives_a_url_or_a_request_error(url):
    try:
        parts = split(url)
    except RequestError:
        return
    assert isinstance(parts, Url)
    assert parts.text.isascii() and parts.text.isprintable() and " " not in parts.text
    assert is_clean_target(parts.target, 0)
    assert 0 <= parts.port <= 65535
    again = split(parts.text)
    assert [getattr(again, name) for name in (*PARTS, "unix")] == [getattr(parts, name) for name in (*PARTS, "unix")]


@bounded
@given(st.one_of(st.text(max_size=30), tricky).map("/".__add__))
def test_clean_means_unchanged(target):
    try:
        unchanged = split("http://h" + target).target == target
    except RequestError:
        unchanged = False
    assert bool(is_clean_target("http://h" + target, 8)) is unchanged


@bounded
@given(st.lists(st.one_of(anything, tricky.map("ws://a".__add__), st.just("http://h")), min_size=1, max_size=6))
@example(["ws://a/", "ws://a", "ws://a/b/c", "ws://a/"])
@example(["http://h#/", "http://h#/b"])
@example(["http://h/", "http://h1", "http://h?a=/b", "http://h?a=/c", "http://h#/b", "http://h#/c"])
def test_the_recipe_in_the_docstring_agrees_with_split(urls):
    origins: dict[str, tuple[str, str, int]] = {}
    for url in urls * 2:
        cut = url.find("/", 8)
        known = origins.get(url[:cut])
        try:
            parts = split(url)
        except RequestError:
            assert known is None or not is_clean_target(url, cut)
            continue
        if known is not None and is_clean_target(url, cut):
            assert (known, url[cut:]) == (origin(parts), parts.target)
        else:
            origins[parts.text[: -len(parts.target)]] = origin(parts)


# -- other parsers as oracles --------------------------------------------------------------------------------------

label = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.lists(label, min_size=1, max_size=4).map(".".join).filter(lambda host: "xn--" not in host),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address.compressed}]"),
)
ports = st.one_of(st.just(""), st.integers(0, 65535).map(lambda port: f":{port}"))
segment = st.from_regex(r"[A-Za-z0-9_~!$&'()*+,;=:@-]{0,8}", fullmatch=True)
paths = st.lists(segment, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
queries = st.one_of(st.just(""), st.from_regex(r"\?[A-Za-z0-9=&/?._~-]{1,20}", fullmatch=True))
clean_urls = st.tuples(st.sampled_from(["http://", "https://", "ws://"]), hosts, ports, paths, queries).map("".join)


@bounded
@given(clean_urls)
def test_urllib_agrees_on_clean_urls(url):
    theirs, ours = urllib.parse.urlsplit(url), split(url)
    assert (ours.scheme, ours.host) == (theirs.scheme, theirs.hostname)
    assert ours.port == (SCHEMES[theirs.scheme] if theirs.port is None else theirs.port)
    assert ours.target == theirs.path + ("?" + theirs.query if theirs.query else "")


@bounded
@given(clean_urls)
def test_yarl_agrees_on_clean_urls(url):
    yarl = pytest.importorskip("yarl")
    theirs, ours = yarl.URL(url), split(url)
    assert (ours.scheme, ours.host, ours.port) == (theirs.scheme, theirs.raw_host, theirs.port)
    assert ours.target == theirs.raw_path_qs


@bounded
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_quoted_credentials_come_back(user, password):
    quoted = f"{urllib.parse.quote(user, safe='')}:{urllib.parse.quote(password, safe='')}"
    parts = split(f"http://{quoted}@h/")
    assert (parts.user, parts.password) == (user, password)


# -- references ----------------------------------------------------------------------------------------------------

RFC_BASE = "http://a/b/c/d;p?q"
RFC_EXAMPLES = [
    # RFC 3986 5.4.1
    ("g:h", "g:h"),
    ("g", "http://a/b/c/g"),
    ("./g", "http://a/b/c/g"),
    ("g/", "http://a/b/c/g/"),
    ("/g", "http://a/g"),
    ("//g", "http://g"),
    ("?y", "http://a/b/c/d;p?y"),
    ("g?y", "http://a/b/c/g?y"),
    ("#s", "http://a/b/c/d;p?q#s"),
    ("g#s", "http://a/b/c/g#s"),
    ("g?y#s", "http://a/b/c/g?y#s"),
    (";x", "http://a/b/c/;x"),
    ("g;x", "http://a/b/c/g;x"),
    ("g;x?y#s", "http://a/b/c/g;x?y#s"),
    ("", "http://a/b/c/d;p?q"),
    (".", "http://a/b/c/"),
    ("./", "http://a/b/c/"),
    ("..", "http://a/b/"),
    ("../", "http://a/b/"),
    ("../g", "http://a/b/g"),
    ("../..", "http://a/"),
    ("../../", "http://a/"),
    ("../../g", "http://a/g"),
    # RFC 3986 5.4.2
    ("../../../g", "http://a/g"),
    ("../../../../g", "http://a/g"),
    ("/./g", "http://a/g"),
    ("/../g", "http://a/g"),
    ("g.", "http://a/b/c/g."),
    (".g", "http://a/b/c/.g"),
    ("g..", "http://a/b/c/g.."),
    ("..g", "http://a/b/c/..g"),
    ("./../g", "http://a/b/g"),
    ("./g/.", "http://a/b/c/g/"),
    ("g/./h", "http://a/b/c/g/h"),
    ("g/../h", "http://a/b/c/h"),
    ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
    ("g;x=1/../y", "http://a/b/c/y"),
    ("g?y/./x", "http://a/b/c/g?y/./x"),
    ("g?y/../x", "http://a/b/c/g?y/../x"),
    ("g#s/./x", "http://a/b/c/g#s/./x"),
    ("g#s/../x", "http://a/b/c/g#s/../x"),
    ("http:g", "http:g"),
]


@pytest.mark.parametrize(("reference", "expected"), RFC_EXAMPLES)
def test_join_rfc_3986_examples(reference, expected):
    assert join(RFC_BASE, reference) == expected


@pytest.mark.parametrize(
    ("base", "reference", "expected"),
    [
        ("http://h", "g", "http://h/g"),
        ("http://h?q", "g", "http://h/g"),
        ("http://h", "?y", "http://h?y"),
        ("http://h/a", "?", "http://h/a?"),
        ("http://h/a?q", "", "http://h/a?q"),
        ("http://h/a#f", "", "http://h/a"),
        ("http://joe:pw@h/a", "/b", "http://joe:pw@h/b"),
        ("http://joe:pw@h/a", "//i/b", "http://i/b"),
        ("https://h/a", "http://i/b/../c", "http://i/c"),
        ("https://h/a", "//i/b/../c", "https://i/c"),
        ("http://h/a//b", "../c", "http://h/a/c"),
        ("http://h/a/%2e%2e/b", "c", "http://h/a/%2e%2e/c"),
        ("http+unix://%2Frun%2Fa.sock/a/b", "../c", "http+unix://%2Frun%2Fa.sock/c"),
        ("wss://h/a", "b", "wss://h/b"),
        ("wss://h/a", "mailto:../b", "mailto:../b"),
        ("http://h/a", "\\\\evil/x", "http://h/\\\\evil/x"),
    ],
)
def test_join(base, reference, expected):
    assert join(base, reference) == expected


def test_join_does_not_strip_what_split_refuses():
    joined = join("http://h/a", "/b\r\nX-Evil: 1")
    assert joined == "http://h/b\r\nX-Evil: 1"
    with pytest.raises(RequestError, match="carriage return"):
        split(joined)


@bounded
@given(anything, anything)
def test_join_takes_any_str(base, reference):
    assert isinstance(join(base, reference), str)


def remove_dot_segments(path):
    """RFC 3986 5.2.4 to the letter, for a path that starts with "/"."""
    output: list[str] = []
    while path:
        if path.startswith("/./") or path == "/.":
            path = "/" + path[3:]
        elif path.startswith("/../") or path == "/..":
            path = "/" + path[4:]
            del output[-1:]
        else:
            end = path.find("/", 1)
            end = len(path) if end < 0 else end
            output.append(path[:end])
            path = path[end:]
    return "".join(output)


@bounded
@given(st.lists(st.sampled_from([".", "..", "a", "b.c", ".d", ""]), min_size=1, max_size=8))
def test_dot_segments_are_removed_as_the_rfc_says(segments):
    path = "/" + "/".join(segments)
    assert join("http://h", "http://i" + path) == "http://i" + remove_dot_segments(path)


# -- query strings -------------------------------------------------------------------------------------------------


class Colour(str, enum.Enum):  # noqa: UP042 (its str() is "Colour.RED", a StrEnum's is not)
    RED = "red"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (None, ""),
        ({}, ""),
        ([], ""),
        ("", ""),
        ({"a": 1, "b": "x y"}, "a=1&b=x+y"),
        ([("a", 1), ("a", 2)], "a=1&a=2"),
        ((("a", 1), ["b", 2]), "a=1&b=2"),
        (iter([("a", 1)]), "a=1"),
        ({"a": [1, "b", b"c"]}, "a=1&a=b&a=c"),
        ({"a": (1, 2), "b": range(2)}, "a=1&a=2&b=0&b=1"),
        ({"a": []}, ""),
        ({"a": None, "b": [None, 1]}, "b=1"),
        ([("a", None), ("b", "")], "b="),
        ({"a": True, "b": False}, "a=True&b=False"),
        ({"a": 1.5, "b": -1}, "a=1.5&b=-1"),
        ({b"k\xff": b"v\xff "}, "k%FF=v%FF+"),
        ({1: 2}, "1=2"),
        ({"a": Colour.RED, Colour.RED: "x/"}, "a=red&red=x%2F"),
        ({"é": "€"}, "%C3%A9=%E2%82%AC"),
        ({"a&b": "c=d#e+f%41"}, "a%26b=c%3Dd%23e%2Bf%2541"),
        ({"a": "-._~"}, "a=-._~"),
        ({"a": "x\r\ny"}, "a=x%0D%0Ay"),
        # a str is a query already
        ("a=b&c=%41+d", "a=b&c=%41+d"),
        ("a=b c", "a=b%20c"),
        ("a=é#x[]", "a=%C3%A9%23x%5B%5D"),
        ("100%", "100%25"),
        ("?a", "?a"),
    ],
)
def test_encode_query(params, expected):
    assert encode_query(params) == expected


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (5, "must be a mapping"),
        (["ab"], "must be a mapping"),
        ([("a",)], "must be a mapping"),
        ([1], "must be a mapping"),
        (b"a=b", "must be a mapping"),
        ({"a": {"b": 1}}, "the value of 'a' is a mapping"),
        ({"a": "\ud800"}, "(U+D800) at position 0: repair the text"),
        ({"\ud800": 1}, "(U+D800) at position 0: repair the text"),
        ("a=\n", "a line feed (U+000A) at position 2"),
        ("a=\ud800", "(U+D800) at position 2"),
    ],
)
def test_bad_params(params, words):
    with pytest.raises(RequestError) as caught:
        encode_query(params)
    assert words in str(caught.value)


pairs = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(codec="utf-8"))))


@bounded
@given(pairs)
def test_urllib_writes_and_reads_the_same_query(pairs):
    query = encode_query(pairs)
    assert query == urllib.parse.urlencode(pairs)
    assert urllib.parse.parse_qsl(query, keep_blank_values=True) == pairs
    assert encode_query(query) == query  # nothing is encoded twice


@bounded
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_a_raw_query_becomes_clean_and_stays_so(query):
    encoded = encode_query(query)
    assert is_clean_target("/?" + encoded, 0)
    assert encode_query(encoded) == encoded


@pytest.mark.parametrize(
    ("url", "params", "expected"),
    [
        ("http://h/a", {"b": 1}, "http://h/a?b=1"),
        ("http://h/a?c", {"b": 1}, "http://h/a?c&b=1"),
        ("http://h/a?", {"b": 1}, "http://h/a?b=1"),
        ("http://h/a?c&", {"b": 1}, "http://h/a?c&b=1"),
        ("http://h/a#f?g", {"b": 1}, "http://h/a?b=1#f?g"),
        ("http://h/a?c#f", "b=#", "http://h/a?c&b=%23#f"),
        ("http://h", {"b": 1}, "http://h?b=1"),
        ("http://h/a#f", None, "http://h/a#f"),
        ("http://h/a#f", {"b": None}, "http://h/a#f"),
    ],
)
def test_with_query(url, params, expected):
    assert with_query(url, params) == expected


def test_importing_does_not_import_idna():
    code = "import sys, aquests.url; sys.exit('idna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
