"""Redis commands: names, arguments on the wire, what is refused, what blocks, where the key stands."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import RequestError
from aquests.protocols.rediscommands import (
    REFUSED,
    Transaction,
    arguments,
    as_bytes,
    blocks,
    encode,
    first_key,
    is_set,
    plain,
    spoken,
    transaction,
    words_of,
)
from tests.resp import said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("get", ("GET",)),
        ("LRange", ("LRANGE",)),
        ("sort_ro", ("SORT_RO",)),
        ("config_get", ("CONFIG", "GET")),
        ("config.get", ("CONFIG", "GET")),
        ("CONFIG GET", ("CONFIG", "GET")),
        (" config   get ", ("CONFIG", "GET")),
        ("client_no_evict", ("CLIENT", "NO-EVICT")),
        ("cluster.count_failure_reports", ("CLUSTER", "COUNT-FAILURE-REPORTS")),
        ("xgroup_create", ("XGROUP", "CREATE")),
        ("command", ("COMMAND",)),
        ("del_", ("DEL",)),
        ("delete", ("DEL",)),
        ("json.set", ("JSON.SET",)),
        ("FT.SEARCH", ("FT.SEARCH",)),
        ("a.b.c", ("A.B.C",)),
        ("configure_x", ("CONFIGURE_X",)),
    ],
)
def test_words(name: str, words: tuple[str, ...]):
    assert words_of(name) == words


@pytest.mark.parametrize("name", ["", "_", "  ", "__"])
def test_a_name_is_missing(name: str):
    with pytest.raises(RequestError, match="name of the command is missing"):
        words_of(name)


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("get", ("k",), (("GET",), ("k",))),
        (b"get", ("k",), (("GET",), ("k",))),
        ("config", ("get", "x"), (("CONFIG", "GET"), ("x",))),
        ("config", (b"get", "x"), (("CONFIG", "GET"), ("x",))),
        ("config_get", ("x",), (("CONFIG", "GET"), ("x",))),
        ("command", (), (("COMMAND",), ())),
        ("object", (7,), (("OBJECT",), (7,))),
    ],
)
def test_spoken(name: Any, args: Any, expected: Any):
    assert spoken(name, args) == expected


@pytest.mark.parametrize("name", [5, None, ["get"]])
def test_a_name_is_text(name: Any):
    with pytest.raises(RequestError, match="name of a command is str"):
        spoken(name, ())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(name: str):
    first, *rest = name.split()
    ways: list[tuple[Any, Any]] = [
        (name, ()),
        (name.lower(), ("x",)),
        (name.lower().replace(" ", "_").replace("-", "_"), ()),
    ]
    ways += [(first, (*rest, "x")), (first.lower(), tuple(word.lower().encode() for word in rest))]
    for way in ways:
        with pytest.raises(RequestError, match=f"^{name} cannot be asked: "):
            spoken(*way)
    with pytest.raises(RequestError, match=f"^{name} cannot be asked: "):
        transaction([("get", "k"), (first, *rest)])


@pytest.mark.parametrize(
    "name", ["client_id", "client.kill", "script_load", "debug_sleep", "publish", "pubsub_channels"]
)
def test_not_refused(name: str):
    spoken(name, ("x",))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("get", ("GET",)),
        ("del_", ("DEL",)),
        ("LRANGE", ("LRANGE",)),
        ("blpop", None),
        ("smembers", None),
        ("spop", None),
        ("ping", None),
        ("eval", None),
        ("config_get", None),
        ("object", None),
        ("xread", None),
    ],
)
def test_plain(name: str, words: Any):
    assert plain(name) == words


def test_plain_commands_are_those_that_need_no_look():
    for name in ("get", "set", "hgetall", "zrange", "xadd"):
        words, args = spoken(name, ("k", 5))
        assert plain(name) == words and first_key(words, args) == "k"
        assert blocks(words, args) is None and not is_set(words, args)
    with pytest.raises(RequestError):
        plain("subscribe")


# On the wire


@pytest.mark.parametrize(
    ("arg", "sent"),
    [
        ("", b""),
        ("käse", "käse".encode()),
        ("\udcff\udcfe", b"\xff\xfe"),  # what decode=True made of them
        (b"\0\r\n", b"\0\r\n"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (0, b"0"),
        (-(10**30), b"-1" + b"0" * 30),
        (1.5, b"1.5"),
        (1e22, b"1e+22"),
        (float("-inf"), b"-inf"),
    ],
)
def test_argument(arg: Any, sent: bytes):
    assert encode(("SET", "k"), (arg,)) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (len(sent), sent)
    assert as_bytes(arg) == sent


@pytest.mark.parametrize(
    ("arg", "hint"),
    [
        (None, 'leave it out, or write ""'),
        (True, "write 1 or 0"),
        ({"a": 1}, "write the pairs one by one"),
        ([1, 2], r"put \* in front of it"),
        ((1, 2), r"put \* in front of it"),
        ({1}, r"put \* in front of it"),
        (object(), "make it str or bytes"),
    ],
)
def test_no_argument(arg: Any, hint: str):
    with pytest.raises(RequestError, match=f"argument 2 is {type(arg).__name__}, .*: {hint}"):
        encode(("SET",), ("k", arg))


def test_text_that_cannot_be_encoded():
    with pytest.raises(RequestError, match="argument 1 is text that UTF-8 cannot encode"):
        encode(("GET",), ("\ud800",))


@given(
    st.lists(st.binary(max_size=50) | st.text(st.characters(codec="utf-8"), max_size=20) | st.integers(), min_size=1)
)
def test_any_arguments(args: list[Any]):
    expected = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    assert said(encode(("X",), args)) == [[b"X", *expected]]
    assert arguments(encode(("X",), args)) == (("X",), expected)


def test_transaction():
    payload, calls = transaction([("set", "k", 1), ["config_get", "x"], ("config get", "y")])
    assert isinstance(payload, Transaction) and payload.count == 3
    assert said(payload.data) == [
        [b"MULTI"],
        [b"SET", b"k", b"1"],
        [b"CONFIG", b"GET", b"x"],
        [b"CONFIG", b"GET", b"y"],
        [b"EXEC"],
    ]
    assert calls == [(("SET",), ("k", 1)), (("CONFIG", "GET"), ["x"]), (("CONFIG", "GET"), ("y",))]
    assert arguments(payload) == (("SET",), [b"k", b"1"])
    assert "3 commands" in repr(payload)


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ([], "the transaction is empty"),
        (["get k"], "a transaction is a list of"),
        ("get", "a transaction is a list of"),
        ([()], "a transaction is a list of"),
        ([("get", None)], "argument 1 is NoneType"),
        ([(3,)], "name of a command is str"),
        ([("watch", "k")], "WATCH cannot be asked"),
    ],
)
def test_no_transaction(commands: Any, words: str):
    with pytest.raises(RequestError, match=words):
        transaction(commands)


# What is known of them


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        ("GET k", None),
        ("BLPOP a b 1.5", 1.5),
        ("BRPOP a 0", inf),
        ("BLMOVE a b LEFT RIGHT 2", 2),
        ("BRPOPLPUSH a b 2", 2),
        ("BLMPOP 3 1 a LEFT", 3),
        ("BZPOPMIN a 4", 4),
        ("BZPOPMAX a 4", 4),
        ("BZMPOP 5 1 a MIN", 5),
        ("WAIT 1 500", 0.5),
        ("WAITAOF 1 0 0", inf),
        ("XREAD COUNT 2 BLOCK 250 STREAMS s 0", 0.25),
        ("xread block 0 streams s 0", inf),
        ("XREAD COUNT 2 STREAMS s 0", None),
        ("XREAD STREAMS BLOCK 5", None),  # a stream of that name
        ("XREADGROUP GROUP g c BLOCK 1000 STREAMS s >", 1.0),
        ("BLPOP a x", 0),
        ("BLPOP a -1", 0),
        ("BLPOP a nan", 0),
        ("BLPOP", 0),
    ],
)
def test_blocks(command: str, seconds: float | None):
    name, *args = command.split()
    assert blocks(*spoken(name, args)) == seconds
    assert blocks(*spoken(name, [arg.encode() for arg in args])) == seconds


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("GET k", "k"),
        ("SET k v", "k"),
        ("MGET k l", "k"),
        ("DEL k", "k"),
        ("GET", None),
        ("PING hello", None),
        ("KEYS k*", None),
        ("SCAN 0", None),
        ("PUBLISH channel x", None),
        ("CONFIG GET k", None),
        ("JSON.GET k", None),
        ("BITOP AND k l", "k"),
        ("ZUNION 2 k l", "k"),
        ("SINTERCARD 1 k", "k"),
        ("LMPOP 1 k LEFT", "k"),
        ("BLMPOP 1.5 1 k LEFT", "k"),
        ("EVAL script 1 k", "k"),
        ("EVALSHA sha 0 k", None),
        ("EVAL script", None),
        ("FCALL f 2 k l", "k"),
        ("FCALL_RO f 0", None),
        ("MIGRATE host 6379 k 0 5", "k"),
        ("OBJECT ENCODING k", "k"),
        ("OBJECT HELP", None),
        ("MEMORY USAGE k", "k"),
        ("MEMORY DOCTOR", None),
        ("XINFO STREAM k", "k"),
        ("XGROUP CREATE k g 0", "k"),
        ("XREAD COUNT 1 STREAMS k l 0 0", "k"),
        ("XREADGROUP GROUP g c STREAMS k >", "k"),
        ("XREAD COUNT 1", None),
    ],
)
def test_first_key(command: str, key: str | None):
    name, *args = command.split()
    assert first_key(*spoken(name, args)) == key
    known = arguments(encode((), [name, *args]))
    assert first_key(*known) == (None if key is None else key.encode())


@pytest.mark.parametrize(
    ("command", "answer"),
    [("SMEMBERS k", True), ("SINTER a b", True), ("SPOP k 2", True), ("SPOP k", False), ("SRANDMEMBER k 2", False)],
)
def test_is_set(command: str, answer: bool):
    name, *args = command.split()
    assert is_set(*spoken(name, args)) is answer
