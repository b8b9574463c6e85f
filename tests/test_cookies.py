"""The cookie jar against the rules of RFC 6265 and, where it is stricter, RFC 6265bis."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aquests.cookies import (
    MAX_LIFE,
    Cookie,
    CookieJar,
    default_path,
    domain_match,
    parse_date,
    parse_set_cookie,
    path_match,
    response_cookies,
)
from aquests.errors import RequestError

NOW = 1_700_000_000.0


def jar_with(*values: str, scheme: str = "https", host: str = "www.example.com", path: str = "/", now: float = NOW):
    jar = CookieJar()
    jar.store(values, scheme, host, path, now)
    return jar


def sent(jar: CookieJar, url: str, now: float = NOW) -> str | None:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return jar.header(scheme, host, slash + path, now)


# -- 5.1.1 dates -------------------------------------------------------------------------------------------------

GOOD_DATES = {
    "Wed, 09 Jun 2021 10:18:14 GMT": (2021, 6, 9, 10, 18, 14),
    "Wednesday, 09-Jun-21 10:18:14 GMT": (2021, 6, 9, 10, 18, 14),  # RFC 850
    "Wed Jun  9 10:18:14 2021": (2021, 6, 9, 10, 18, 14),  # asctime
    "10:18:14 2021 jun 9": (2021, 6, 9, 10, 18, 14),  # any order, any case
    "9 JUNE 2021 1:2:3": (2021, 6, 9, 1, 2, 3),  # a month is known by three letters
    "9 Jun 2021 10:18:14 -0800 (PST)": (2021, 6, 9, 10, 18, 14),  # zones are not looked at
    "9th Jun 2021 10:18:14Z": (2021, 6, 9, 10, 18, 14),  # non-digits behind digits
    "9 Jun 69 10:18:14": (2069, 6, 9, 10, 18, 14),
    "9 Jun 70 10:18:14": (1970, 6, 9, 10, 18, 14),
    "9 Jun 99 10:18:14": (1999, 6, 9, 10, 18, 14),
    "9 Jun 100 10:18:14": None,  # the year 100 is before 1601
    "29 Feb 2024 00:00:00": (2024, 2, 29, 0, 0, 0),
    "1 Jan 1601 00:00:00": (1601, 1, 1, 0, 0, 0),
    "31 Dec 9999 23:59:59": (9999, 12, 31, 23, 59, 59),
}
BAD_DATES = [
    "",
    "0",
    "tomorrow",
    "9 Jun 2021",
    "10:18:14 9 Jun",
    "10:18:14 Jun 2021",  # "20" is no day: two more digits follow
    "10:18:14 9 2021",
    "29 Feb 2023 00:00:00",
    "0 Jun 2021 10:18:14",
    "32 Jan 2021 10:18:14",
    "9 Jun 2021 24:00:00",
    "9 Jun 2021 10:60:00",
    "9 Jun 2021 10:00:60",
    "31 Dec 1600 23:59:59",
    "9 Jun 20210 10:18:14",
    "9 Jun 2021 010:18:14",
    "٩ Jun 2021 10:18:14",  # an arabic nine is no DIGIT
]


@pytest.mark.parametrize(("text", "parts"), GOOD_DATES.items())
def test_dates(text, parts):
    assert parse_date(text) == (parts and datetime(*parts).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize("text", BAD_DATES)
def test_bad_dates(text):
    assert parse_date(text) is None


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1601, 1, 1), max_value=datetime(9999, 12, 31)))
def test_every_http_date_is_read(moment):
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert parse_date(moment.strftime("%a, %d %b ") + f"{moment.year:04d}" + moment.strftime(" %H:%M:%S GMT")) == (
        moment.timestamp()
    )


# -- 5.1.3 domains -----------------------------------------------------------------------------------------------

DOMAINS = [
    ("example.com", "example.com", True),
    ("www.example.com", "example.com", True),
    ("a.b.example.com", "example.com", True),
    ("example.com", "www.example.com", False),
    ("badexample.com", "example.com", False),
    ("evil-b.com.example", "b.com", False),
    ("b.com.example", "b.com", False),
    ("evil-b.com", "b.com", False),
    ("192.168.0.1", "192.168.0.1", True),
    ("192.168.0.1", "168.0.1", False),
    ("192.168.0.1", "0.1", False),
    ("1.0x7f", "0x7f", False),
    ("::1", "::1", True),
    ("::ffff:1.2.3.4", "2.3.4", False),
    ("/run/app.example.com", "example.com", False),
    ("%2Frun%2Fapp.example.com", "example.com", False),
]


@pytest.mark.parametrize(("host", "domain", "matches"), DOMAINS)
def test_domain_match(host, domain, matches):
    assert domain_match(host, domain) is matches


# -- 5.1.4 paths -------------------------------------------------------------------------------------------------

DEFAULT_PATHS = [
    ("", "/"),
    ("*", "/"),
    ("example", "/"),
    ("/", "/"),
    ("/a", "/"),
    ("/a/", "/a"),
    ("/a/b", "/a"),
    ("/a/b/c.html", "/a/b"),
    ("/a/b?x=/y/z", "/a"),
]
PATHS = [
    ("/", "/", True),
    ("/a", "/", True),
    ("/a", "/a", True),
    ("/a/", "/a", True),
    ("/a/b", "/a", True),
    ("/a/b", "/a/", True),
    ("/a", "/a/", False),
    ("/ab", "/a", False),
    ("/A", "/a", False),
    ("/", "/a", False),
]


@pytest.mark.parametrize(("path", "expected"), DEFAULT_PATHS)
def test_default_path(path, expected):
    assert default_path(path) == expected


@pytest.mark.parametrize(("path", "cookie_path", "matches"), PATHS)
def test_path_match(path, cookie_path, matches):
    assert path_match(path, cookie_path) is matches


@pytest.mark.parametrize("target", ["/a?x=1", "/a/?x", "/a/b?/c", "/a"])
def test_a_query_is_no_part_of_the_path(target):
    assert sent(jar_with("x=1; Path=/a"), "https://www.example.com" + target) == "x=1"


# -- 5.2 the header ----------------------------------------------------------------------------------------------

HEADERS = [
    ("a=b", ("a", "b")),
    ("  a\t =\t b c ; Path=/", ("a", "b c")),
    ("a=", ("a", "")),
    ("a=b=c==", ("a", "b=c==")),
    ('a="b, c"', ("a", '"b, c"')),
    ("a=b;", ("a", "b")),
    ("a=b;;; ;=;==", ("a", "b")),
    ("a=\xc3\xa9", ("a", "\xc3\xa9")),
    ("a=x\ty", ("a", "x\ty")),
    ("", None),
    (";", None),
    ("a", None),
    ("a; b=c", None),
    ("=b", None),
    (" =b", None),
    ("a=\x00", None),
    ("a=b\r\nX: y", None),
    ("a=b; Path=/\x7f", None),
    ("a=\u20ac", None),  # not what header text can be
]
ATTRIBUTES = [
    ("", {}),
    ("Path=/x", {"path": "/x"}),
    ("path = /x ", {"path": "/x"}),
    ("PATH=/x; Path=/y", {"path": "/y"}),
    ("Path=/x; Path=y", {"path": ""}),  # an unusable path asks for the default one
    ("Domain=Example.COM", {"domain": "example.com"}),
    ("Domain=.example.com", {"domain": "example.com"}),
    ("Domain=a.com; Domain=", {"domain": "a.com"}),
    ("Domain=.", {"domain": ""}),
    ("Max-Age=10", {"max_age": 10}),
    ("Max-Age=-1", {"max_age": -1}),
    ("Max-Age=10; Max-Age=1x", {"max_age": 10}),
    ("Max-Age=+5", {}),
    ("Max-Age=-", {}),
    ("Max-Age=1.5", {}),
    ("Max-Age=\xb2", {}),
    ("Expires=Thu, 01 Jan 1970 00:00:10 GMT", {"expires": 10.0}),
    ("Expires=Thu, 01 Jan 1970 00:00:10 GMT; Expires=never", {"expires": 10.0}),
    ("secure; HttpOnly", {"secure": True, "http_only": True}),
    ("Secure=no; httponly=0", {"secure": True, "http_only": True}),
    ("SameSite=Strict; Priority=High; x", {}),
    ("Path=/" + "x" * 1023, {"path": "/" + "x" * 1023}),
    ("Path=/" + "x" * 1024, {}),
]


@pytest.mark.parametrize(("value", "expected"), HEADERS)
def test_name_and_value(value, expected):
    parsed = parse_set_cookie(value)
    assert (parsed and parsed[:2]) == expected


@pytest.mark.parametrize(("text", "expected"), ATTRIBUTES)
def test_attributes(text, expected):
    parsed = parse_set_cookie("a=b; " + text)
    assert parsed is not None
    found = {name: getattr(parsed[2], name) for name in parsed[2].__slots__}
    nothing = {"domain": "", "path": "", "expires": None, "max_age": None, "secure": False, "http_only": False}
    assert found == nothing | expected


def test_response_cookies():
    assert response_cookies(["a=1; Path=/x", "junk", "b=2; Domain=other.example", "a=3"]) == {"a": "3", "b": "2"}


# -- 5.3 what is stored, 5.4 what is sent ------------------------------------------------------------------------

# (Set-Cookie from https://www.example.com/dir/page, asked URL, sent?)
SCOPES = [
    ("a=1", "https://www.example.com/dir/other", True),
    ("a=1", "https://www.example.com/dir", True),
    ("a=1", "https://www.example.com/", False),
    ("a=1", "https://WWW.Example.com/dir/", True),
    ("a=1", "https://example.com/dir/", False),
    ("a=1", "https://sub.www.example.com/dir/", False),
    ("a=1; Path=/", "http://www.example.com/", True),
    ("a=1; Path=/", "ws://www.example.com/", True),
    ("a=1; Path=/", "https://www.example.com", True),
    ("a=1; Path=/; Domain=example.com", "https://example.com/", True),
    ("a=1; Path=/; Domain=.EXAMPLE.com", "https://x.y.example.com/", True),
    ("a=1; Path=/; Domain=example.com", "https://badexample.com/", False),
    ("a=1; Path=/; Domain=example.com", "https://example.com.evil.org/", False),
    ("a=1; Path=/; Domain=www.example.com", "https://a.www.example.com/", True),
    ("a=1; Path=/; Domain=www.example.com", "https://example.com/", False),
    ("a=1; Path=/; Domain=sub.www.example.com", "https://sub.www.example.com/", False),  # not ours
    ("a=1; Path=/; Domain=other.org", "https://other.org/", False),
    ("a=1; Path=/; Domain=other.org", "https://www.example.com/", False),
    ("a=1; Path=/; Domain=ample.com", "https://www.example.com/", False),
    ("a=1; Path=/; Domain=com", "https://www.example.com/", False),
    ("a=1; Path=/; Domain=com", "https://other.com/", False),
    ("a=1; Path=/; Domain=.", "https://www.example.com/", True),
    ("a=1; Path=/; Domain=", "https://www.example.com/", True),
    ("a=1; Path=/; Domain=..example.com", "https://www.example.com/", False),
    ("a=1; Path=/; Secure", "https://www.example.com/", True),
    ("a=1; Path=/; Secure", "wss://www.example.com/", True),
    ("a=1; Path=/; Secure", "http://www.example.com/", False),
    ("a=1; Path=/; HttpOnly", "https://www.example.com/", True),
    ("__Secure-a=1; Path=/; Secure", "https://www.example.com/", True),
    ("__Secure-a=1; Path=/", "https://www.example.com/", False),
    ("__secure-a=1; Path=/", "https://www.example.com/", False),
    ("__Host-a=1; Path=/; Secure", "https://www.example.com/", True),
    ("__Host-a=1; Path=/", "https://www.example.com/", False),
    ("__Host-a=1; Secure", "https://www.example.com/dir/", False),
    ("__HOST-a=1; Path=/dir; Secure", "https://www.example.com/dir/", False),
    ("__Host-a=1; Path=/; Secure; Domain=www.example.com", "https://www.example.com/", False),
    ("__Hostage=1; Path=/", "https://www.example.com/", True),
]


@pytest.mark.parametrize(("value", "url", "expected"), SCOPES)
def test_scope(value, url, expected):
    jar = jar_with(value, path="/dir/page")
    assert sent(jar, url) == (value.partition(";")[0] if expected else None)


def test_the_trap_of_matching_domains_as_text():
    jar = jar_with("sid=secret; Path=/; Domain=b.com", host="b.com")
    assert sent(jar, "https://b.com/") == sent(jar, "https://a.b.com/") == "sid=secret"
    for host in ("evil-b.com.example", "b.com.example", "evil-b.com", "bb.com", "com", "b.co", "b.com."):
        assert sent(jar, f"https://{host}/") is None, host


PUBLIC_SUFFIXES = [
    ("shop.co.uk", "co.uk", None),
    ("shop.co.uk", "uk", None),
    ("shop.co.uk", "shop.co.uk", True),
    ("www.shop.co.uk", "shop.co.uk", True),
    ("me.github.io", "github.io", None),  # the private part of the list
    ("github.io", "github.io", False),  # the suffix itself may: for itself only
    ("localhost", "localhost", False),
    ("app.localhost", "localhost", None),
    ("www.unknown-tld", "unknown-tld", None),
    ("www.ck", "www.ck", True),  # an exception of the list
]


@pytest.mark.parametrize(("host", "domain", "below"), PUBLIC_SUFFIXES)
def test_public_suffixes(host, domain, below):
    """``below``: None, the cookie is refused; else whether hosts below the domain get it."""
    jar = jar_with(f"a=1; Path=/; Domain={domain}", host=host)
    assert len(jar) == (below is not None)
    assert sent(jar, f"https://{host}/") == ("a=1" if below is not None else None)
    assert sent(jar, f"https://sub.{domain}/") == ("a=1" if below else None)


@pytest.mark.parametrize(
    ("host", "domain", "stored"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.1", False),
        ("127.0.0.1", "1", False),
        ("127.0.0.1", "", True),
        ("::1", "::1", True),
        ("[::1]", "", True),
        ("/run/app.sock", "", True),
        ("/run/app.sock", "sock", False),
    ],
)
def test_addresses_and_sockets_stand_for_themselves(host, domain, stored):
    jar = jar_with(f"a=1; Path=/; Domain={domain}", host=host)
    assert jar.header("http", host, "/", NOW) == ("a=1" if stored else None)
    assert all(cookie.host_only for cookie in jar)
    for other in ("1.127.0.0.1", "x.127.0.0.1", "0.0.1", "1", "::2", "/run/APP.sock", "sock"):
        assert jar.header("http", other, "/", NOW) is None


def test_brackets_make_no_difference():
    assert jar_with("a=1", host="[::1]").header("https", "::1", "/", NOW) == "a=1"


def test_order_is_longest_path_then_oldest():
    jar = jar_with("d=1; Path=/", "a=2; Path=/x", "c=3; Path=/", "b=4; Path=/x/y", "z=5; Path=/; Domain=example.com")
    assert sent(jar, "https://www.example.com/x/y") == "b=4; a=2; d=1; c=3; z=5"
    jar.store(["d=9; Path=/"], "https", "www.example.com", "/", NOW + 5)  # a successor keeps its place
    assert sent(jar, "https://www.example.com/x/y") == "b=4; a=2; d=9; c=3; z=5"


def test_equal_names_are_sent_both_and_the_dict_has_the_nearer_one():
    jar = jar_with("a=far; Path=/", "a=near; Path=/x", "b=2; Path=/")
    assert sent(jar, "https://www.example.com/x") == "a=near; a=far; b=2"
    assert jar.as_dict("https", "www.example.com", "/x", NOW) == {"a": "near", "b": "2"}


# -- expiry ------------------------------------------------------------------------------------------------------

LIVES = [
    ("a=1", inf),
    ("a=1; Max-Age=10", NOW + 10),
    ("a=1; Expires=Tue, 14 Nov 2023 22:13:30 GMT", NOW + 10),
    ("a=1; Max-Age=20; Expires=Tue, 14 Nov 2023 22:13:30 GMT", NOW + 20),  # Max-Age goes first
    ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=20", NOW + 20),
    ("a=1; Max-Age=99999999999999999999999", NOW + MAX_LIFE),
    ("a=1; Max-Age=" + "9" * 1024, NOW + MAX_LIFE),
    ("a=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT", NOW + MAX_LIFE),
    ("a=1; Expires=never", inf),
    ("a=1; Max-Age=0", None),
    ("a=1; Max-Age=-99999999999999999999999", None),
    ("a=1; Max-Age=0; Expires=Fri, 31 Dec 9999 23:59:59 GMT", None),
    ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
    ("a=1; Expires=Tue, 14 Nov 2023 22:13:20 GMT", None),  # now is no future
]


@pytest.mark.parametrize(("value", "expires"), LIVES)
def test_life(value, expires):
    jar = jar_with(value)
    assert [cookie.expires for cookie in jar] == ([] if expires is None else [expires])
    if expires not in (None, inf):
        assert sent(jar, "https://www.example.com/", expires - 0.5) == "a=1"
        assert sent(jar, "https://www.example.com/", expires) is None
        assert len(jar) == 0  # met, and dropped


def test_an_expired_cookie_removes_its_predecessor_only():
    jar = jar_with("a=1; Path=/", "a=2; Path=/x", "b=3; Path=/")
    jar.store(["a=; Path=/; Max-Age=0"], "https", "www.example.com", "/", NOW)
    assert sent(jar, "https://www.example.com/x") == "a=2; b=3"
    jar.store(["a=; Path=/x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], "https", "www.example.com", "/", NOW)
    assert sent(jar, "https://www.example.com/x") == "b=3"


def test_a_cookie_for_the_domain_does_not_replace_the_one_of_its_host():
    jar = jar_with("sid=mine; Path=/", host="example.com")
    jar.store(["sid=planted; Path=/; Domain=example.com"], "https", "sub.example.com", "/", NOW)
    assert sent(jar, "https://example.com/") == "sid=mine; sid=planted"
    jar.store(["sid=; Path=/; Domain=example.com; Max-Age=0"], "https", "example.com", "/", NOW)
    assert sent(jar, "https://example.com/") == "sid=mine"


# -- https and http ----------------------------------------------------------------------------------------------

# (stored over https at a.example.com, then from http, at host, is it refused?)
OVERWRITES = [
    ("s=1; Path=/; Secure", "s=2; Path=/", "a.example.com", True),
    ("s=1; Path=/", "s=2; Path=/", "a.example.com", False),
    ("s=1; Path=/; Secure", "t=2; Path=/", "a.example.com", False),
    ("s=1; Path=/; Secure", "s=2; Path=/x", "a.example.com", True),  # it would be sent before the secure one
    ("s=1; Path=/x; Secure", "s=2; Path=/", "a.example.com", False),  # it comes behind the secure one
    ("s=1; Path=/; Secure", "s=2; Path=/; Domain=example.com", "a.example.com", True),
    ("s=1; Path=/; Secure", "s=2; Path=/; Domain=example.com", "b.example.com", True),  # it would reach a.example.com
    ("s=1; Path=/; Secure", "s=2; Path=/", "b.example.com", False),
    ("s=1; Path=/; Secure", "s=2; Path=/", "example.com", False),  # never sent to a.example.com
    ("s=1; Path=/; Secure; Domain=example.com", "s=2; Path=/", "b.example.com", True),
    ("s=1; Path=/; Secure", "s=2; Path=/; Secure", "b.example.com", True),  # Secure needs https
    ("s=1; Path=/; Secure", "s=; Path=/; Max-Age=0", "a.example.com", True),  # nor is it removed
]


@pytest.mark.parametrize(("first", "second", "host", "refused"), OVERWRITES)
def test_http_cannot_touch_what_https_has_set(first, second, host, refused):
    jar = jar_with(first, host="a.example.com")
    before = [(cookie.domain, cookie.name, cookie.value) for cookie in jar]
    jar.store([second], "http", host, "/", NOW)
    assert ([(cookie.domain, cookie.name, cookie.value) for cookie in jar] == before) is refused


def test_https_may_replace_a_secure_cookie():
    jar = jar_with("s=1; Path=/; Secure")
    jar.store(["s=2; Path=/"], "https", "www.example.com", "/", NOW)
    assert sent(jar, "http://www.example.com/") == "s=2"


def test_flags_are_kept():
    (cookie,) = jar_with("s=1; Path=/; Secure; HttpOnly; Domain=example.com")
    assert (cookie.secure, cookie.http_only, cookie.host_only, cookie.domain) == (True, True, False, "example.com")


# -- limits ------------------------------------------------------------------------------------------------------


def test_size_limit():
    jar = jar_with("a=" + "x" * 4095, "b=" + "x" * 4096)
    assert [cookie.name for cookie in jar] == ["a"]


def fill(jar: CookieJar, *names: str, host: str = "a.com", life: str = "", now: float = NOW) -> None:
    jar.store([f"{name}=1{life}" for name in names], "https", host, "/", now)


def names(jar: CookieJar) -> str:
    return " ".join(sorted(cookie.name for cookie in jar))


def test_a_full_domain_loses_the_cookie_unused_for_longest():
    jar = CookieJar(max_per_domain=3)
    fill(jar, "a", "b", "c")
    jar.store(["p=1; Path=/p"], "https", "b.com", "/", NOW)  # another domain: not counted
    fill(jar, "d")
    assert names(jar) == "b c d p"
    fill(jar, "b")  # used again
    fill(jar, "e")
    assert names(jar) == "b d e p"


def test_being_sent_is_a_use():
    jar = CookieJar(max_per_domain=2)
    jar.store(["a=1; Path=/a", "b=1; Path=/b"], "https", "a.com", "/", NOW)
    assert sent(jar, "https://a.com/a") == "a=1"
    fill(jar, "c")
    assert names(jar) == "a c"


def test_a_full_jar_loses_the_cookie_unused_for_longest():
    jar = CookieJar(max_cookies=3)
    for number in range(3):
        fill(jar, f"n{number}", host=f"h{number}.com")
    assert sent(jar, "https://h0.com/") == "n0=1"
    fill(jar, "n3", host="h3.com")
    assert names(jar) == "n0 n2 n3"


@pytest.mark.parametrize("limits", [{"max_cookies": 4}, {"max_per_domain": 4}])
def test_expired_cookies_go_before_older_ones(limits):
    jar = CookieJar(**limits)
    fill(jar, "a")
    fill(jar, "b", "c", life="; Max-Age=10")
    fill(jar, "d")
    fill(jar, "e", now=NOW + 11)
    assert names(jar) == "a d e"
    fill(jar, "f", "g", now=NOW + 12)
    assert names(jar) == "d e f g"


def test_memory_is_bounded_and_the_index_stays_true():
    jar = CookieJar(max_cookies=20, max_per_domain=5)
    for number in range(500):
        fill(jar, f"n{number % 7}", host=f"h{number % 11}.com", life="; Max-Age=30" * (number % 3), now=NOW + number)
        assert len(jar) <= 20
        assert len(jar) == len(list(jar)) == sum(map(len, jar._domains.values()))
        assert all(jar._domains.values())  # no domain is kept without cookies
    jar.clear()
    assert len(jar) == 0
    assert sent(jar, "https://h1.com/") is None


def test_a_host_without_cookies_looks_at_no_cookie_of_others(monkeypatch):
    jar = CookieJar()
    for number in range(100):
        fill(jar, "a", host=f"h{number}.com")
    monkeypatch.setattr("aquests.cookies.path_match", lambda *_: pytest.fail("a cookie was looked at"))
    assert sent(jar, "https://other.com/") is None


# -- by hand -----------------------------------------------------------------------------------------------------


def test_set():
    jar = CookieJar()
    jar.set("a", "1", "Example.com")
    jar.set("b", "2", ".example.com", "/x")
    jar.set("c", "€", "example.com")
    assert sent(jar, "http://example.com/x") == "b=2; a=1; c=\xe2\x82\xac"
    assert sent(jar, "http://www.example.com/x") == "b=2"
    jar.set("d", "4", ".0.0.1")
    assert sent(jar, "http://127.0.0.1/") is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "1", "a.com"),
        (" a", "1", "a.com"),
        ("a=b", "1", "a.com"),
        ("a;b", "1", "a.com"),
        ("a", "1;2", "a.com"),
        ("a", "secret\r\nX: y", "a.com"),
        ("a\x00", "1", "a.com"),
        ("a", "1", ""),
        ("a", "1", "."),
        ("a", "1", "a.com", "x"),
        ("a", "x" * 4096, "a.com"),
    ],
)
def test_set_refuses_what_cannot_be_sent(arguments):
    jar = CookieJar()
    with pytest.raises(RequestError) as caught:
        jar.set(*arguments)
    assert "secret" not in str(caught.value)
    assert len(jar) == 0


def test_repr_shows_no_value():
    jar = jar_with("sid=secret; Domain=example.com")
    assert "secret" not in repr(jar) + repr(list(jar))
    assert repr(next(iter(jar))) == "<Cookie sid for .example.com/>"
    assert repr(Cookie("a", "1", "h", "/")) == "<Cookie a for h/>"


# -- whatever a server sends -------------------------------------------------------------------------------------

PIECES = [
    "a=1", "=", ";", "; ", "Path=", "/", "/a", "Domain=", ".", "example.com", "com", "127.0.0.1", "Max-Age=", "-", "9",
    "Expires=", "Wed, 09 Jun 2031 10:18:14 GMT", "Secure", "__Host-x=1", "__Secure-y=2", "\t", "\x00", "\r\n", "é", "€",
    "?",
]  # fmt: skip
HOSTS = ["example.com", "a.example.com", "b.com", "127.0.0.1", "::1", "localhost", "", ".", "a..b", "x.com."]

texts = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(texts, max_size=4),
    st.sampled_from(["http", "https", "x"]),
    st.sampled_from(HOSTS) | st.text(),
    st.sampled_from(["/", "/a/b", ""]) | st.text(),
    st.floats(min_value=0, max_value=1e11),
)
@example(["a=1; Max-Age=" + "9" * 5000], "https", "example.com", "/", NOW)
@example(["a=1; Domain=\ud800"], "https", "\ud800", "\ud800", NOW)
def test_anything_is_stored_or_ignored_and_can_be_sent(values, scheme, host, path, now):
    jar = CookieJar(max_cookies=3, max_per_domain=2)
    jar.store(values, scheme, host, path, now)
    header = jar.header(scheme, host, path, now)
    if header is not None:
        assert not any(char < " " and char != "\t" for char in header)
        header.encode("latin-1")
    for cookie in jar:
        assert jar.header("https", cookie.domain, cookie.path, now) or "?" in cookie.path
        assert domain_match(host.lower().strip("[]") if "/" not in host else host, cookie.domain)
    assert len(jar) <= 3


@settings(deadline=None)
@given(st.sampled_from(HOSTS[:6]), st.sampled_from(HOSTS[:6]), st.sampled_from([*HOSTS, ".example.com", "com"]))
def test_no_cookie_leaves_its_domain(origin, asked, domain):
    jar = jar_with(f"a=1; Path=/; Domain={domain}", host=origin)
    if jar.header("https", asked, "/", NOW) is not None:
        shared = domain.removeprefix(".") or origin
        assert asked == origin or (domain_match(asked, shared) and domain_match(origin, shared))
