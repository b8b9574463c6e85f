"""The handshake of Redis: what is said, old servers, refusals; and no password in any of it."""

from __future__ import annotations

from typing import Any

import pytest

from aquests.errors import ConnectError, ProtocolError
from aquests.protocols.redis import MAX_OWN, Redis
from tests.protocols.rediswire import HELLO, SECRET, UNKNOWN, server, submit
from tests.resp import OK, Error, resp, said


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, [[b"HELLO", b"3"]]),
        ({"db": 5}, [[b"HELLO", b"3"], [b"SELECT", b"5"]]),
        ({"name": "me"}, [[b"HELLO", b"3", b"SETNAME", b"me"]]),
        ({"auth": ("", "pw")}, [[b"HELLO", b"3", b"AUTH", b"default", b"pw"]]),
        ({"auth": ("u", "pä"), "name": "me"}, [[b"HELLO", b"3", b"AUTH", b"u", "pä".encode(), b"SETNAME", b"me"]]),
        ({"protocol": 2}, [[b"PING"]]),
        ({"protocol": 2, "db": 1}, [[b"SELECT", b"1"], [b"PING"]]),
        ({"protocol": 2, "auth": ("", "pw"), "name": "me"}, [[b"AUTH", b"pw"], [b"CLIENT", b"SETNAME", b"me"]]),
        ({"protocol": 2, "auth": ("default", "pw")}, [[b"AUTH", b"pw"]]),
        ({"protocol": 2, "auth": ("u", "pw")}, [[b"AUTH", b"u", b"pw"]]),
    ],
)
def test_greeting(options: dict[str, Any], sent: list[list[bytes]]):
    made = Redis(server(**options))
    assert made.room == 0 and not made.outbox
    made.opened()
    assert said(b"".join(made.outbox)) == sent
    assert made.room == 0
    for number, reply in enumerate(sent, 1):
        assert made.receive(HELLO if reply[0] == b"HELLO" else resp(OK)) == []
        assert made.room == (64 if number == len(sent) else 0)


@pytest.mark.parametrize(
    "refused",
    [
        UNKNOWN,
        Error("ERR unknown command 'HELLO'"),
        Error("NOPROTO unsupported protocol version"),
        Error("NOAUTH Authentication required."),
    ],
)
def test_old_server(refused: Error):
    place = server(auth=("default", SECRET), db=2, name="me")
    made = Redis(place)
    made.opened()
    made.outbox.clear()
    made.receive(resp(refused))
    assert said(b"".join(made.outbox)) == [
        [b"AUTH", SECRET.encode()],
        [b"CLIENT", b"SETNAME", b"me"],
        [b"SELECT", b"2"],
    ]
    made.receive(resp(Error("NOAUTH Authentication required.")))  # the SELECT that went with HELLO
    made.receive(resp(OK, Error("ERR unknown subcommand")))  # the name is a comfort
    assert made.error is None and made.room == 0
    made.receive(resp(OK))
    assert made.room == 64
    (x,) = submit(made, "GET a")
    assert made.receive(b"$-1\r\n") == [x]
    assert x.head is not None and (x.head.lane, x.head.version) == ("REDIS", "2")
    other = Redis(place)  # the next line knows
    other.opened()
    assert said(b"".join(other.outbox))[0] == [b"AUTH", SECRET.encode()]


@pytest.mark.parametrize(
    ("options", "replies", "words"),
    [
        (
            {"auth": ("", SECRET)},
            [Error("WRONGPASS invalid username-password pair or user is disabled.")],
            "refused the pass",
        ),
        (
            {},
            [Error("NOAUTH HELLO must be called with the client already authenticated")],
            "wants a password: give auth=",
        ),
        ({}, [Error("DENIED Redis is running in protected mode because")], "protected mode"),
        ({}, [Error("ERR max number of clients reached")], "as many clients as it takes"),
        ({"auth": ("", SECRET)}, [Error(f"OOPS {SECRET}")], r"refused HELLO \(OOPS\)"),
        ({"auth": ("", SECRET)}, [Error(SECRET)], r"refused HELLO \(an unknown error\)"),
        ({"auth": ("", "LETTERS")}, [Error("LETTERS")], r"refused HELLO \(an unknown error\)"),
        ({"db": 99}, [{}, Error("ERR DB index is out of range")], "refused database 99: DB index is out of range"),
        ({"protocol": 2}, [Error("NOAUTH Authentication required.")], "wants a password: give auth="),
        ({"protocol": 2, "auth": ("", SECRET)}, [Error("ERR invalid password")], "refused the password"),
        ({"protocol": 2, "auth": ("", SECRET)}, [Error("ERR Client sent AUTH, but no password is set")], "has none"),
        (
            {"protocol": 2, "auth": ("", SECRET)},
            [Error("ERR AUTH <password> called without any password configured")],
            "none",
        ),
        (
            {"protocol": 2, "auth": ("u", SECRET)},
            [Error("ERR wrong number of arguments for 'auth' command")],
            "too old to know users",
        ),
        ({"protocol": 2, "name": "me", "db": 1}, [Error("NOAUTH Authentication required.")], "wants a password"),
        ({"protocol": 2, "auth": ("", SECRET)}, [Error(f"ERR what is AUTH {SECRET}")], "refused the password"),
        ({"auth": ("", SECRET)}, [UNKNOWN, Error("WRONGPASS")], "refused the password"),
    ],
)
def test_refused(options: dict[str, Any], replies: list[Any], words: str):
    made = Redis(server(**options))
    made.opened()
    assert made.receive(resp(*replies)) == []
    with pytest.raises(ConnectError, match=words) as caught:
        raise made.error or AssertionError
    assert caught.value.code == 714
    assert SECRET not in repr(caught.value) + str(caught.value)
    assert caught.value.crowded == ("max number" in repr(replies))
    assert (made.room, made.outbox, made.reusable) == (0, [], False)


@pytest.mark.parametrize("data", [b"", HELLO[:20]])
def test_closed_in_the_handshake(data: bytes):
    made = Redis(server())
    made.opened()
    made.receive(data)
    assert made.receive_eof() == []
    assert isinstance(made.error, ConnectError)


def test_a_handshake_without_end():
    made = Redis(server())
    made.opened()
    made.receive(b"$%d\r\n" % (MAX_OWN * 2))
    chunk = b"x" * (MAX_OWN // 8)
    for _ in range(9):
        if made.error is None:
            made.receive(chunk)
    assert isinstance(made.error, ProtocolError)


def test_what_is_no_redis_is_not_quoted_while_it_may_repeat_the_password() -> None:
    made = Redis(server(auth=("u", SECRET)))
    made.opened()
    made.receive(f"HTTP/1.1 400 what is AUTH u {SECRET}?\r\n".encode())
    assert isinstance(made.error, ProtocolError) and made.error.first == b""
    assert SECRET not in str(made.error)
