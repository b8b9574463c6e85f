"""Which proxy a line goes through."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

import pytest
from hypothesis import given as given_by
from hypothesis import strategies as st

from aquests.errors import RequestError
from aquests.proxy import Proxy, forwards, parse_proxy, proxy_authorization, proxy_for

SECRET = "s3cr3tWord"


# -- one proxy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://proxy.example:3128", ("http", "proxy.example", 3128, None, None)),
        ("http://proxy.example:3128/", ("http", "proxy.example", 3128, None, None)),
        ("HTTP://Proxy.Example:3128", ("http", "proxy.example", 3128, None, None)),
        ("  http://proxy.example:3128\n", ("http", "proxy.example", 3128, None, None)),
        ("proxy.example:3128", ("http", "proxy.example", 3128, None, None)),
        ("proxy", ("http", "proxy", 80, None, None)),
        ("10.0.0.1:8080", ("http", "10.0.0.1", 8080, None, None)),
        ("user:pw@proxy:3128", ("http", "proxy", 3128, "user", "pw")),
        ("http://proxy", ("http", "proxy", 80, None, None)),
        ("https://proxy", ("https", "proxy", 443, None, None)),
        ("socks5://proxy", ("socks5", "proxy", 1080, None, None)),
        ("socks5h://proxy", ("socks5h", "proxy", 1080, None, None)),
        ("socks5h://proxy:9050", ("socks5h", "proxy", 9050, None, None)),
        ("http://[2001:DB8::1]:3128", ("http", "2001:db8::1", 3128, None, None)),
        ("[::1]", ("http", "::1", 80, None, None)),
        ("http://user@proxy", ("http", "proxy", 80, "user", None)),
        ("http://user:@proxy", ("http", "proxy", 80, "user", "")),
        ("http://:pw@proxy", ("http", "proxy", 80, "", "pw")),
        ("http://us%40er:p%3Aw%2F%C3%A9@proxy", ("http", "proxy", 80, "us@er", "p:w/é")),
        ("socks5://us%3Aer:a@b:c@proxy", ("socks5", "proxy", 1080, "us:er", "a@b:c")),
        ("http://bücher.example:8080", ("http", "xn--bcher-kva.example", 8080, None, None)),
        (f"socks5://{'u' * 255}:{'p' * 255}@proxy", ("socks5", "proxy", 1080, "u" * 255, "p" * 255)),
    ],
)
def test_a_proxy_is_parsed(text: str, parts: tuple[str, str, int, str | None, str | None]) -> None:
    proxy = parse_proxy(text)
    assert (proxy.scheme, proxy.host, proxy.port, proxy.user, proxy.password) == parts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the proxy is empty"),
        ("  ", "the proxy is empty"),
        ("socks4://proxy:1080", "write 'socks5://'"),
        ("SOCKS4A://proxy:1080", "write 'socks5://'"),
        ("socks://proxy:1080", "write 'socks5://'"),
        ("ftp://proxy:21", "'ftp' is not known: use one of http, https, socks5, socks5h"),
        (f"ftp://user:{SECRET}@proxy:21", "'ftp' is not known"),
        ("http://", "the host is missing"),
        ("http://:3128", "the host is missing"),
        ("http://proxy:http", "the port is not a number"),
        ("http://proxy:65536", "the port is over 65535"),
        ("http://::1:3128", "put an IPv6 address in brackets"),
        ("http://[::1:3128", "is not closed"),
        ("http://pro xy", "a space"),
        ("http://proxy\r\nX: y", "a carriage return"),
        ("http://proxy:3128/path", "nothing may stand behind host and port"),
        ("http://proxy:3128?a=b", "nothing may stand behind host and port"),
        ("http://proxy:3128#part", "nothing may stand behind host and port"),
        (f"http://user:12/{SECRET}@proxy", "in a password write '/', '?' and '#' as %2F, %3F and %23"),
        (f"http://user:12#{SECRET}@proxy", "in a password write"),
        (f"http://user:{SECRET}/x@proxy", "the port is not a number"),
        (f"http:/user:{SECRET}@proxy", "nothing may stand behind"),
        (f"user:{SECRET}@proxy:port", "the port is not a number"),
        (f"http://user:{SECRET}%FF@proxy", "not UTF-8"),
        (f"http://user:{SECRET}%0A@proxy", "control character"),
        (f"http://us%3Aer:{SECRET}@proxy", "the user may not hold ':'"),
        (f"https://us%3Aer:{SECRET}@proxy", "the user may not hold ':'"),
        (f"socks5://user:{SECRET * 26}@proxy", "over 255 bytes"),
        (f"socks5h://{'é' * 128}:{SECRET}@proxy", "over 255 bytes"),
    ],
)
def test_a_bad_proxy_is_refused(text: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_proxy(text)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "proxy" in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 8080, b"http://proxy", True])
def test_a_proxy_is_text(wrong: object) -> None:
    with pytest.raises(RequestError, match=f"proxy must be str, None or False, not {type(wrong).__name__}"):
        parse_proxy(wrong)  # type: ignore[arg-type]


_TEXT = st.text(st.sampled_from("htpsock5:/@%#?[].1aé \x00-"), max_size=12)


@given_by(_TEXT, _TEXT, _TEXT)
def test_whatever_is_wrong_the_password_is_not_shown(before: str, within: str, after: str) -> None:
    try:
        proxy = parse_proxy(f"{before}://user:{within}{SECRET}@{after}")
    except RequestError as error:
        assert SECRET not in f"{error}{error!r}{error.__cause__}{error.__context__}"
    else:
        assert SECRET in (proxy.password or "")
        assert SECRET not in repr(proxy) + proxy.label


def test_a_proxy_is_a_value() -> None:
    one, same = Proxy("http", "proxy", 80, "user", "pw"), parse_proxy("http://user:pw@proxy")
    assert one == same and hash(one) == hash(same)
    others = {
        Proxy("https", "proxy", 80, "user", "pw"),
        Proxy("http", "other", 80, "user", "pw"),
        Proxy("http", "proxy", 81, "user", "pw"),
        Proxy("http", "proxy", 80, "other", "pw"),
        Proxy("http", "proxy", 80, "user", "other"),
        Proxy("http", "proxy", 80, "user"),
        Proxy("http", "proxy", 80),
    }
    assert len(others) == 7 and one not in others
    assert one != "http://user:pw@proxy"
    assert not hasattr(one, "__dict__")


def test_what_a_proxy_shows() -> None:
    assert repr(parse_proxy(f"http://user:{SECRET}@proxy:3128")) == "Proxy('http://***@proxy:3128')"
    assert repr(parse_proxy(f"{SECRET}@proxy")) == "Proxy('http://***@proxy:80')"
    assert repr(parse_proxy("socks5://[::1]")) == "Proxy('socks5://[::1]:1080')"
    assert parse_proxy("http://[::1]:3128").label == "[::1]:3128"
    assert parse_proxy("http://proxy:3128").label == "proxy:3128"


def test_equal_texts_are_parsed_once() -> None:
    assert parse_proxy("http://proxy:3128") is parse_proxy("http://proxy:3128")


# -- which one ---------------------------------------------------------------------------------------------------


def choose(
    environ: Mapping[str, str],
    scheme: str = "http",
    host: str = "example.com",
    given: str | bool | None = None,
    trust_env: bool = True,
) -> str | None:
    """The label of the proxy chosen for port 80 of ``host``, or None."""
    proxy = proxy_for(scheme, host, 80, given=given, trust_env=trust_env, environ=environ)
    return None if proxy is None else proxy.label


EVERY = {"http_proxy": "env:1", "https_proxy": "env:2", "all_proxy": "env:3"}


@pytest.mark.parametrize(
    ("given", "environ", "chosen"),
    [
        ("http://by-hand:1", {}, "by-hand:1"),
        ("http://by-hand:1", EVERY, "by-hand:1"),
        ("http://by-hand:1", {**EVERY, "no_proxy": "*"}, "by-hand:1"),
        (False, EVERY, None),
        ("", EVERY, None),
        (None, EVERY, "env:1"),
        (None, {}, None),
    ],
)
def test_what_is_given_wins(given: str | bool | None, environ: dict[str, str], chosen: str | None) -> None:
    assert choose(environ, given=given) == chosen


def test_the_environment_must_be_trusted() -> None:
    assert choose(EVERY, trust_env=False) is None
    assert choose(EVERY, trust_env=False, given="by-hand:1") == "by-hand:1"


@pytest.mark.parametrize(
    ("given", "says"),
    [(True, "not True"), (3128, "not int"), ("  ", "empty"), ("ftp://proxy", "'ftp' is not known")],
)
def test_what_is_given_must_be_a_proxy(given: object, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        choose({}, given=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["http+unix", "https+unix"])
def test_unix_sockets_have_no_proxy(scheme: str) -> None:
    assert choose({}, scheme, "localhost", given="by-hand:1") is None
    assert choose(EVERY, scheme, "localhost") is None


@pytest.mark.parametrize(
    ("scheme", "environ", "chosen"),
    [
        ("http", EVERY, "env:1"),
        ("ws", EVERY, "env:1"),
        ("https", EVERY, "env:2"),
        ("wss", EVERY, "env:2"),
        ("redis", EVERY, None),
        ("postgresql", EVERY, None),
        ("http", {"https_proxy": "env:2"}, None),
        ("https", {"http_proxy": "env:1"}, None),
        ("http", {"all_proxy": "socks5://env"}, "env:1080"),
        ("wss", {"ALL_PROXY": "env:3"}, "env:3"),
        ("http", {"HTTP_PROXY": "env:1"}, "env:1"),
        ("https", {"HTTPS_PROXY": "env:1"}, "env:1"),
        ("http", {"HTTP_PROXY": "upper:1", "http_proxy": "lower:1"}, "lower:1"),
        ("https", {"HTTPS_PROXY": "upper:1", "https_proxy": "lower:1"}, "lower:1"),
        ("http", {"ALL_PROXY": "upper:1", "all_proxy": "lower:1"}, "lower:1"),
        ("http", {"HTTP_PROXY": "upper:1", "http_proxy": ""}, None),
        ("http", {"http_proxy": "", "all_proxy": "env:3"}, "env:3"),
        ("http", {"http_proxy": " env:1 "}, "env:1"),
        # httpoxy
        ("http", {"HTTP_PROXY": "env:1", "REQUEST_METHOD": "GET"}, None),
        ("ws", {"HTTP_PROXY": "env:1", "REQUEST_METHOD": "GET"}, None),
        ("http", {"http_proxy": "env:1", "REQUEST_METHOD": "GET"}, "env:1"),
        ("http", {"HTTP_PROXY": "env:1", "all_proxy": "env:3", "REQUEST_METHOD": "GET"}, "env:3"),
        ("https", {"HTTPS_PROXY": "env:1", "REQUEST_METHOD": "GET"}, "env:1"),
    ],
)
def test_the_variables(scheme: str, environ: dict[str, str], chosen: str | None) -> None:
    assert choose(environ, scheme) == chosen


def test_httpoxy_where_names_are_case_blind() -> None:
    class Windows(dict[str, str]):
        """As os.environ is there: kept in upper case, found in any."""

        def get(self, name, default=None):
            return super().get(name.upper(), default)

        def __getitem__(self, name):
            return super().__getitem__(name.upper())

        def __contains__(self, name):
            return super().__contains__(name.upper())

    environ = Windows(HTTP_PROXY="evil:1")
    assert proxy_for("http", "a", 80, given=None, trust_env=True, environ=environ) == Proxy("http", "evil", 1)
    environ = Windows(HTTP_PROXY="evil:1", REQUEST_METHOD="GET")
    assert proxy_for("http", "a", 80, given=None, trust_env=True, environ=environ) is None


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(RequestError, match=r"^https_proxy in the environment: proxy: ") as caught:
        choose({"HTTPS_PROXY": f"ftp://user:{SECRET}@proxy"}, "https")
    assert SECRET not in str(caught.value)
    with pytest.raises(RequestError, match=r"^all_proxy in the environment: proxy: SOCKS 4"):
        choose({"ALL_PROXY": "socks4://proxy"}, "https")
    assert choose({"ALL_PROXY": "socks4://proxy", "no_proxy": "example.com"}, "https") is None


# -- except for ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("", "example.com", False),
        (",, ,", "example.com", False),
        ("*", "example.com", True),
        ("*", "10.0.0.1", True),
        ("*", "::1", True),
        ("other, *", "example.com", True),
        ("example.com", "example.com", True),
        ("example.com", "www.example.com", True),
        ("example.com", "a.b.example.com", True),
        ("example.com", "badexample.com", False),
        ("example.com", "example.com.evil", False),
        ("example.com", "com", False),
        (".example.com", "example.com", True),
        (".example.com", "www.example.com", True),
        (".example.com", "badexample.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "badexample.com", False),
        ("EXAMPLE.com", "example.com", True),
        ("example.com", "EXAMPLE.COM", True),
        ("example.com.", "www.example.com", True),
        ("example.com", "www.example.com.", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("localhost", "localhost", True),
        ("a.example,example.com", "example.com", True),
        (" a.example , example.com ", "example.com", True),
        ("a.example example.com", "example.com", True),
        ("example.com:80", "example.com", True),
        ("example.com:80", "www.example.com", True),
        (".example.com:80", "www.example.com", True),
        ("example.com:8080", "example.com", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.11", False),
        ("10.0.0.1:80", "10.0.0.1", True),
        ("10.0.0.1:81", "10.0.0.1", False),
        ("0.0.1", "10.0.0.1", False),
        ("10.0.0.0/8", "10.200.3.4", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.1.2.3/8", "10.200.3.4", True),
        ("10.0.0.0/8", "example.com", False),
        ("10.0.0.0/8", "::a00:1", False),
        ("0.0.0.0/0", "10.0.0.1", True),
        ("::1", "::1", True),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("[::1]", "::1", True),
        ("[::1]:80", "::1", True),
        ("[::1]:81", "::1", False),
        ("fd00::/8", "fd12::1", True),
        ("FD00::/8", "fd12::1", True),
        ("fd00::/8", "fe80::1", False),
        ("::/0", "10.0.0.1", False),
        # what cannot be read names nothing, and disturbs nothing
        ("http://example.com", "example.com", False),
        ("example.com/path", "example.com", False),
        ("10.0.0.0/33", "10.0.0.1", False),
        ("example.com:port", "example.com", False),
        ("exa_mple!, %%, [::, *:80, example.com", "example.com", True),
    ],
)
def test_no_proxy(no_proxy: str, host: str, direct: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        chosen = choose({"http_proxy": "env:1", name: no_proxy}, host=host)
        assert chosen == (None if direct else "env:1")


def test_no_proxy_in_lower_case_wins() -> None:
    assert choose({"http_proxy": "env:1", "NO_PROXY": "*", "no_proxy": "other"}) == "env:1"
    assert choose({"http_proxy": "env:1", "NO_PROXY": "*", "no_proxy": ""}) == "env:1"


@given_by(st.text(max_size=40), st.sampled_from(["example.com", "10.0.0.1", "::1"]))
def test_any_no_proxy_can_be_read(no_proxy: str, host: str) -> None:
    stars = "*" in no_proxy.replace(",", " ").split()
    chosen = choose({"http_proxy": "env:1", "no_proxy": no_proxy}, host=host)
    assert chosen is None if stars else chosen in (None, "env:1")


# -- how ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxy", "scheme", "forwarded"),
    [
        ("http://proxy", "http", True),
        ("https://proxy", "http", True),
        ("socks5://proxy", "http", False),
        ("socks5h://proxy", "http", False),
        ("http://proxy", "https", False),
        ("http://proxy", "ws", False),
        ("http://proxy", "wss", False),
        ("https://proxy", "redis", False),
    ],
)
def test_only_plain_http_is_forwarded(proxy: str, scheme: str, forwarded: bool) -> None:
    assert forwards(parse_proxy(proxy), scheme) is forwarded


@pytest.mark.parametrize(
    ("proxy", "sent"),
    [
        ("http://user:p%3Aw@proxy", b"user:p:w"),
        ("https://user:pw@proxy", b"user:pw"),
        ("http://user@proxy", b"user:"),
        ("http://:pw@proxy", b":pw"),
        ("http://%C3%A9:pw@proxy", "é:pw".encode()),
        ("http://proxy", None),
        ("socks5://user:pw@proxy", None),
    ],
)
def test_the_authorization(proxy: str, sent: bytes | None) -> None:
    value = proxy_authorization(parse_proxy(proxy))
    if sent is None:
        assert value is None
    else:
        assert value is not None and value.startswith("Basic ") and b64decode(value[6:]) == sent
