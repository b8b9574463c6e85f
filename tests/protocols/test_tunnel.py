"""Tunnels through a proxy: bytes in, a standing tunnel or an error out."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import AquestsError, ConnectError, PeerClosed, ProtocolError, RequestError, TooLarge
from aquests.protocols.http1 import MAX_INTERIM
from aquests.protocols.http1head import MAX_HEAD, MAX_HEADERS
from aquests.protocols.tunnel import Connect, Socks5
from aquests.version import __version__
from tests.helpers import feedings

SECRET = "s3cr3tWord"
BASIC = "Basic " + b64encode(f"user:{SECRET}".encode()).decode()

Tunnel = Connect | Socks5
Make = Callable[[], Tunnel]


def connect(authorization: str | None = None) -> Connect:
    return Connect("example.com", 443, authorization)


def socks(user: str | None = None, password: str | None = None) -> Socks5:
    return Socks5("example.com", 443, user, password)


def opened(make: Make) -> Tunnel:
    """A tunnel that has sent its greeting."""
    wire = make()
    assert wire.outbox == [] and wire.room == 0 and wire.reusable and wire.error is None
    wire.opened()
    assert wire.room == 0 and len(wire.outbox) == 1
    return wire


def fates(make: Make, data: bytes) -> list[Tunnel]:
    """The tunnel after ``data``, once for each feeding; a channel feeds none that is dead."""
    wires = []
    for pieces in feedings(data, seed=len(data)):
        wire = opened(make)
        outbox = wire.outbox
        for piece in pieces:
            assert wire.receive(piece) == ()
            assert wire.outbox is outbox
            if wire.error is not None:
                break
        wires.append(wire)
    return wires


def check_dead(wire: Tunnel) -> None:
    assert wire.room == 0 and wire.outbox == [] and wire.surplus == b"" and not wire.reusable
    error = wire.error
    assert wire.receive(b"HTTP/1.1 200 OK\r\n\r\n\x05\x00") == () and wire.receive_eof() == ()
    assert wire.room == 0 and wire.outbox == [] and wire.surplus == b"" and wire.error is error


def check_stands(make: Make, data: bytes, sent: bytes, surplus: bytes = b"") -> None:
    for wire in fates(make, data):
        assert wire.error is None
        assert (wire.room, wire.reusable, wire.surplus) == (1, True, surplus)
        assert b"".join(wire.outbox) == sent


def check_fails(make: Make, data: bytes, kind: type[AquestsError], says: str) -> None:
    for wire in fates(make, data):
        error = wire.error
        assert type(error) is kind
        assert says in str(error)
        assert error.phase == "tunnel"
        assert SECRET not in repr(vars(error)) and BASIC[6:] not in repr(vars(error))
        check_dead(wire)


# -- both kinds --------------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("make", [connect, socks], ids=["connect", "socks"])


@BOTH
def test_a_tunnel_carries_no_exchange(make: Make) -> None:
    wire = opened(make)
    with pytest.raises(RequestError, match="carries no request"):
        wire.submit(object())  # type: ignore[arg-type]
    assert wire.cancel(object()) is True  # type: ignore[arg-type]
    assert wire.produce() == () and wire.inflight == () and wire.begun == [] and wire.hungry is False
    assert len(wire.outbox) == 1 and wire.error is None
    wire.goodbye()
    assert len(wire.outbox) == 1


@BOTH
def test_an_abandoned_tunnel_is_over(make: Make) -> None:
    wire = opened(make)
    assert wire.abandon(PeerClosed("gone")) == ()
    assert wire.error is None
    check_dead(wire)


@BOTH
def test_a_line_closed_at_once(make: Make) -> None:
    wire = opened(make)
    assert wire.receive_eof() == ()
    assert type(wire.error) is ConnectError and wire.error.phase == "tunnel"
    question = "CONNECT" if make is connect else "the greeting"
    assert str(wire.error) == f"the proxy closed the line before it answered {question}"
    check_dead(wire)


@pytest.mark.parametrize(
    ("make", "data", "where"),
    [
        (connect, b"HTTP/1.1 20", " within its answer to CONNECT"),
        (connect, b"HTTP/1.1 200 OK\r\nA: b\r\n", " within its answer to CONNECT"),
        (connect, b"HTTP/1.1 100 Continue\r\n\r\n", " before it answered CONNECT"),
        (connect, b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (socks, b"\x05", " within its answer to the greeting"),
        (socks, b"\x05\x00", " before it answered CONNECT"),
        (socks, b"\x05\x00\x05\x00\x00\x01\x7f\x00", " within its answer to CONNECT"),
        (lambda: socks("user", SECRET), b"\x05\x02", " before it answered the login"),
        (lambda: socks("user", SECRET), b"\x05\x02\x01", " within its answer to the login"),
        (lambda: socks("user", SECRET), b"\x05\x02\x01\x00", " before it answered CONNECT"),
        (socks, b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", ""),
    ],
)
def test_a_line_closed_early(make: Make, data: bytes, where: str) -> None:
    for wire in fates(make, data):
        assert wire.receive_eof() == ()
        assert type(wire.error) is ConnectError
        assert str(wire.error) == f"the proxy closed the line{where}"
        check_dead(wire)


@BOTH
def test_what_comes_before_the_next_stage_is_kept(make: Make) -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" if make is connect else b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
    wire = opened(make)
    wire.receive(answer + b"one ")
    wire.receive(b"two")
    assert wire.room == 1 and wire.surplus == b"one two"


@pytest.mark.parametrize("kind", [lambda host, port: Connect(host, port, None), lambda h, p: Socks5(h, p, None, None)])
@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("", 80, "the host"),
        ("a b", 80, "the host"),
        ("a\r\nX: y", 80, "the host"),
        ("bücher.example", 80, "the host"),
        ("a" * 256, 80, "the host"),
        ("a", -1, "the port -1"),
        ("a", 65536, "the port 65536"),
    ],
)
def test_a_place_that_cannot_be_sent(kind: Callable[[str, int], object], host: str, port: int, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        kind(host, port)


# -- CONNECT -----------------------------------------------------------------------------------------------------

ASKED = f"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nUser-Agent: aquests/{__version__}\r\n".encode()


@pytest.mark.parametrize(
    ("host", "port", "authorization", "start", "end"),
    [
        ("example.com", 443, None, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n", b"\r\n\r\n"),
        ("10.0.0.1", 80, None, b"CONNECT 10.0.0.1:80 HTTP/1.1\r\nHost: 10.0.0.1:80\r\n", b"\r\n\r\n"),
        ("::1", 443, None, b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n", b"\r\n\r\n"),
        ("a", 1, BASIC, b"CONNECT a:1 HTTP/1.1\r\n", f"\r\nProxy-Authorization: {BASIC}\r\n\r\n".encode()),
    ],
)
def test_connect_asks(host: str, port: int, authorization: str | None, start: bytes, end: bytes) -> None:
    wire = Connect(host, port, authorization)
    wire.opened()
    [asked] = wire.outbox
    assert asked.startswith(start) and asked.endswith(end)
    assert asked.count(b"\r\n\r\n") == 1 and b"\r\nUser-Agent: aquests/" in asked
    assert (b"Proxy-Authorization" in asked) is (authorization is not None)


@pytest.mark.parametrize("value", ["Basic a\r\nX: y", "Basic é", "Basic \x00"])
def test_connect_refuses_an_authorization_that_breaks_the_head(value: str) -> None:
    with pytest.raises(RequestError, match="Proxy-Authorization") as caught:
        connect(value)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 \r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nVia: 1.1 proxy\r\n\r\n",
        b"HTTP/1.1 299 Fine\n\n",
        b"HTTP/1.1 200 OK\nA: b\r\n\n",
        # RFC 9110 9.3.6: what a successful answer says of its body means nothing
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        # 1xx
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n" * MAX_INTERIM + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
@pytest.mark.parametrize("surplus", [b"", b"\r\n", b"HTTP/1.1 403 No\r\n\r\n", b"\x16\x03\x01", b"x" * 100])
def test_connect_stands(head: bytes, surplus: bytes) -> None:
    check_stands(connect, head + surplus, ASKED + b"\r\n", surplus)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy answered 403 Forbidden"),
        (b"HTTP/1.1 403\r\n\r\n", "the proxy answered 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", "the proxy answered 502 Bad Gateway"),
        (b"HTTP/1.1 300 Choices\r\n\r\n", "the proxy answered 300 Choices"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "the proxy answered 302 Found"),
        (b"HTTP/1.1 999 Other\r\n\r\n", "the proxy answered 999 Other"),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "the proxy answered 401 Unauthorized"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 504 Late\r\n\r\n", "the proxy answered 504 Late"),
        (b"HTTP/1.1 407 Who\r\n\r\n", "the proxy asks for a password"),
    ],
)
def test_connect_is_refused(answer: bytes, says: str) -> None:
    check_fails(connect, answer, ConnectError, says)
    for wire in fates(connect, answer):
        assert str(wire.error) == says


@pytest.mark.parametrize(
    ("fields", "offer"),
    [
        (b"", ""),
        (b'Proxy-Authenticate: Basic realm="x"\r\n', " (it offers Basic)"),
        (b"proxy-authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n", " (it offers Negotiate, NTLM)"),
        (
            b'Proxy-Authenticate: Digest realm="a, Basic b", nonce="\\"c, d", Basic realm=x\r\n',
            " (it offers Digest, Basic)",
        ),
        (b"Proxy-Authenticate: Negotiate abc==, , Basic realm = x,charset=UTF-8\r\n", " (it offers Negotiate, Basic)"),
        (b'Proxy-Authenticate: Basic realm="never closed, Digest x\r\n', " (it offers Basic)"),
        (b"Proxy-Authenticate: Basic\r\nProxy-Authenticate: Basic\r\n", " (it offers Basic)"),
        (b"Proxy-Authenticate: ===\r\nWWW-Authenticate: Basic\r\n", ""),
        (b"Proxy-Authenticate: " + b"A" * 1000 + b"\r\n", f" (it offers {'A' * 100})"),
    ],
)
def test_connect_wants_a_password(fields: bytes, offer: str) -> None:
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n" + fields + b"Content-Length: 0\r\n\r\n"
    check_fails(connect, answer, ConnectError, f"the proxy asks for a password{offer}")
    check_fails(lambda: connect(BASIC), answer, ConnectError, f"the proxy refused the password{offer}")
    assert str(fates(connect, answer)[0].error) == f"the proxy asks for a password{offer}"


@pytest.mark.parametrize("start", [b'"', b""])
@pytest.mark.parametrize("hostile", [b'"', b",", b'\\"', b", ", b", \t", b'"\\', b"a,", b"a ", b"a"])
def test_a_hostile_challenge_takes_no_time(hostile: bytes, start: bytes) -> None:
    """A pattern that looks at each character again and again would take many seconds here, this one milliseconds."""
    field = b"Proxy-Authenticate: " + start + hostile * (60_000 // len(hostile))
    wire = opened(connect)
    began = time.process_time()
    wire.receive(b"HTTP/1.1 407 No\r\n" + field + b"\r\n\r\n")
    assert time.process_time() - began < 1.0
    assert "the proxy asks for a password" in str(wire.error)


def test_a_long_reason_is_cut() -> None:
    wire = opened(connect)
    wire.receive(b"HTTP/1.1 403 " + b"x" * 1000 + b"\r\n\r\n")
    assert str(wire.error) == "the proxy answered 403 " + "x" * 100


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP/1"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP/1"),
        (b"\x05\x00", "not HTTP/1"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "not HTTP/1"),
        (b"<html>", "not HTTP/1"),
        (b"HTTP/1.1 20x OK\r\n\r\n", "malformed: not an HTTP/1 status line"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "malformed: not an HTTP/1 status line"),
        (b"HTTP/1.1 200 O\x00K\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed: not a header line"),
        (b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "malformed: control character"),
        (b"HTTP/1.1 403 No\r\nA : b\r\n\r\n", "malformed: not a header line"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 Switching Protocols"),
        (b"HTTP/1.1 100 Continue\r\n\r\nrubbish", "not HTTP/1"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1), f"over {MAX_INTERIM} interim answers"),
    ],
)
def test_connect_is_answered_by_rubbish(answer: bytes, says: str) -> None:
    check_fails(lambda: connect(BASIC), answer, ProtocolError, says)
    error = fates(connect, answer)[0].error
    assert isinstance(error, ProtocolError) and error.first and error.first in answer


def padded(size: int) -> bytes:
    """A good head of ``size`` bytes."""
    start = b"HTTP/1.1 200 OK\r\nPad: "
    return start + b"x" * (size - len(start))


@pytest.mark.parametrize("cut", [None, MAX_HEAD, MAX_HEAD + 1, MAX_HEAD + 2, MAX_HEAD + 3])
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n"])
def test_the_limit_of_a_head(end: bytes, cut: int | None) -> None:
    """Exact to the byte, in any cutting."""
    for size in (MAX_HEAD, MAX_HEAD + 1):
        data = padded(size) + end
        wire = opened(connect)
        for piece in (data[:cut], data[cut:] if cut else b""):
            wire.receive(piece)
        if size == MAX_HEAD:
            assert wire.room == 1 and wire.surplus == b""
        else:
            assert type(wire.error) is TooLarge and wire.error.phase == "tunnel"
            assert str(wire.error) == "the head of the proxy's answer has over 65,536 bytes"
            check_dead(wire)


def test_an_endless_head_ends() -> None:
    wire = opened(connect)
    wire.receive(padded(MAX_HEAD + 3))  # it could still be a whole head and most of an empty line
    assert wire.reusable
    wire.receive(b"x")
    assert type(wire.error) is TooLarge
    check_dead(wire)


def test_too_many_headers() -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n"
    check_fails(connect, answer, TooLarge, "the proxy's answer is too large: 513 headers")


# -- SOCKS 5 -------------------------------------------------------------------------------------------------------

GREETING = b"\x05\x01\x00"
GREETING_WITH_LOGIN = b"\x05\x02\x00\x02"
REQUEST = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
LOGIN = b"\x01\x04user\x0a" + SECRET.encode()
REPLY = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90"


def with_login() -> Socks5:
    return socks("user", SECRET)


@pytest.mark.parametrize(
    ("host", "port", "request_"),
    [
        ("example.com", 443, REQUEST),
        ("a", 0, b"\x05\x01\x00\x03\x01a\x00\x00"),
        ("a" * 255, 65535, b"\x05\x01\x00\x03\xff" + b"a" * 255 + b"\xff\xff"),
        ("10.0.0.1", 80, b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"),
        ("2001:db8::1", 80, b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x50"),
        ("1.2.3", 80, b"\x05\x01\x00\x03\x051.2.3\x00\x50"),
    ],
)
def test_socks_asks(host: str, port: int, request_: bytes) -> None:
    check_stands(lambda: Socks5(host, port, None, None), b"\x05\x00" + REPLY, GREETING + request_)


@pytest.mark.parametrize(
    "reply",
    [
        REPLY,
        b"\x05\x00\x00\x04" + bytes(range(16)) + b"\x1f\x90",
        b"\x05\x00\x00\x03\x00\x00\x00",
        b"\x05\x00\x00\x03\x01a\x1f\x90",
        b"\x05\x00\x00\x03\xff" + b"n" * 255 + b"\x1f\x90",
        b"\x05\x00\x07\x01\x7f\x00\x00\x01\x1f\x90",  # the reserved byte says nothing
    ],
)
@pytest.mark.parametrize("surplus", [b"", b"\x05", b"+OK ready\r\n", b"\x00" * 300])
def test_socks_stands(reply: bytes, surplus: bytes) -> None:
    check_stands(socks, b"\x05\x00" + reply + surplus, GREETING + REQUEST, surplus)
    check_stands(with_login, b"\x05\x00" + reply + surplus, GREETING_WITH_LOGIN + REQUEST, surplus)
    check_stands(with_login, b"\x05\x02\x01\x00" + reply + surplus, GREETING_WITH_LOGIN + LOGIN + REQUEST, surplus)


def test_socks_says_one_thing_at_a_time() -> None:
    wire = with_login()
    wire.opened()
    for sent, answer in ((GREETING_WITH_LOGIN, b"\x05\x02"), (LOGIN, b"\x01\x00"), (REQUEST, REPLY)):
        assert wire.outbox == [sent] and wire.room == 0
        wire.outbox.clear()
        wire.receive(answer)
    assert wire.outbox == [] and wire.room == 1


@pytest.mark.parametrize(
    ("user", "password", "login"),
    [
        ("u", None, b"\x01\x01u\x00"),
        ("", "p", b"\x01\x00\x01p"),
        ("é", "ü", b"\x01\x02\xc3\xa9\x02\xc3\xbc"),
        ("u" * 255, "p" * 255, b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255),
    ],
)
def test_socks_logs_in(user: str, password: str | None, login: bytes) -> None:
    sent = GREETING_WITH_LOGIN + login + REQUEST
    check_stands(lambda: socks(user, password), b"\x05\x02\x01\x00" + REPLY, sent)


@pytest.mark.parametrize(
    ("user", "password", "says"),
    [
        ("user", SECRET * 26, "at most 255 bytes"),
        ("é" * 128, SECRET, "at most 255 bytes"),
        ("user", SECRET + "\ud800", "surrogate"),
    ],
)
def test_socks_refuses_a_login_that_cannot_be_sent(user: str, password: str, says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        socks(user, password)
    assert SECRET not in repr(caught.value) and caught.value.__cause__ is None
    assert SECRET not in repr(socks("user", SECRET))


@pytest.mark.parametrize(
    ("make", "data", "says"),
    [
        (socks, b"\x05\xff", "the SOCKS proxy wants a user name and password"),
        (with_login, b"\x05\xff", "the SOCKS proxy wants another way to log in than user name and password"),
        (with_login, b"\x05\x02\x01\x01", "the SOCKS proxy refused the user name or password"),
        (with_login, b"\x05\x02\x01\xff", "the SOCKS proxy refused the user name or password"),
    ]
    + [
        (socks, b"\x05\x00\x05" + bytes((code,)) + rest, f"the SOCKS proxy could not connect: {why}")
        for rest in (b"", b"\x00\x01\x00\x00\x00\x00\x00\x00")
        for code, why in [
            (1, "general failure"),
            (2, "not allowed by its rules"),
            (3, "network unreachable"),
            (4, "host unreachable"),
            (5, "connection refused"),
            (6, "TTL expired"),
            (7, "it does not know CONNECT"),
            (8, "it does not know this type of address"),
            (9, "unknown failure X'09'"),
            (0xFF, "unknown failure X'FF'"),
        ]
    ],
)
def test_socks_is_refused(make: Make, data: bytes, says: str) -> None:
    check_fails(make, data, ConnectError, says)
    assert str(fates(make, data)[0].error) == says


@pytest.mark.parametrize(
    ("make", "data", "says"),
    [
        (socks, b"\x04\x00", "does not speak SOCKS 5"),
        (socks, b"\x00", "does not speak SOCKS 5"),
        (socks, b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak SOCKS 5"),
        (socks, b"\x05\x01", "a way to log in that was not offered"),
        (socks, b"\x05\x02", "a way to log in that was not offered"),
        (with_login, b"\x05\x80", "a way to log in that was not offered"),
        (with_login, b"\x05\x02\x05\x00", "broke the rules of the login"),
        (with_login, b"\x05\x02\x00", "broke the rules of the login"),
        (socks, b"\x05\x00\x04", "reply is not SOCKS 5"),
        (socks, b"\x05\x00\x00\x5a\x00\x00\x00\x00\x00\x00", "reply is not SOCKS 5"),
        (socks, b"\x05\x00\x05\x00\x00\x02\x00\x00\x00\x00\x00\x00", "an unknown type of address"),
    ],
)
def test_socks_is_answered_by_rubbish(make: Make, data: bytes, says: str) -> None:
    check_fails(make, data, ProtocolError, says)


# -- whatever comes ------------------------------------------------------------------------------------------------

_CONNECT_BITS = st.sampled_from(
    [
        b"HTTP/1.1 ",
        b"200",
        b"407 ",
        b"100 ",
        b" OK",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"A: b",
        b"Content-Length: 1",
        b"\x00",
    ]
    + [b"Proxy-Authenticate: ", b'Basic realm="', b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n"]
)
_SOCKS_BITS = st.sampled_from(
    [b"\x05\x00", b"\x05\x02", b"\x01\x00", b"\x05", b"\x00", b"\x03", b"\x04", REPLY, b"\xff"]
)


def _streams(bits: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=60) | st.lists(bits | st.binary(max_size=4), max_size=12).map(b"".join)


def _fate(wire: Tunnel) -> tuple[object, ...]:
    return (wire.room, wire.reusable, type(wire.error), str(wire.error), wire.surplus, b"".join(wire.outbox))


def _check_any(make: Make, data: bytes) -> None:
    wires = fates(make, data)
    assert len({_fate(wire) for wire in wires}) == 1, "another cutting, another fate"
    for wire in wires:
        assert wire.room in (0, 1) and not (wire.room and wire.error) and wire.inflight == ()
        if wire.error is not None:
            assert isinstance(wire.error, (ConnectError, ProtocolError, TooLarge))
        wire.receive_eof()
        assert type(wire.error) in (ConnectError, ProtocolError, TooLarge)
        assert SECRET not in str(wire.error)
        check_dead(wire)


@given(_streams(_CONNECT_BITS))
def test_connect_survives_anything(data: bytes) -> None:
    _check_any(connect, data)


@given(_streams(_SOCKS_BITS))
def test_socks_survives_anything(data: bytes) -> None:
    _check_any(socks, data)
    _check_any(with_login, data)
