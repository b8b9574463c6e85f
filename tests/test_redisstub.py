"""Redis in the script face: what a stub takes and refuses, and whole runs against scripted servers."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions as judge

import aquests
from aquests.errors import ConnectError, PeerClosed, RequestError, TimedOut
from aquests.exchange import Request, Response
from aquests.redisstub import AS_SET, AsSets, Blocking
from aquests.script import script
from aquests.settings import Settings
from tests.certs import Certs
from tests.face import answers, drop, ignore, own_engine
from tests.loopback import exchange
from tests.peers import ScriptedPeer, expect, refused_port, relay, say
from tests.resp import OK, Error, redis_peer, resp, said

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(callback=ignore):
        yield


def place(peer: ScriptedPeer) -> str:
    return f"127.0.0.1:{peer.port}"


# Where to


@pytest.mark.parametrize(
    ("server", "url", "auth"),
    [
        ("10.0.0.1:7000", "redis://10.0.0.1:7000/0", None),
        ("redis.example", "redis://redis.example:6379/0", None),
        ("[::1]:7000", "redis://[::1]:7000/0", None),
        ("redis://h", "redis://h:6379/0", None),
        ("redis://h:1/", "redis://h:1/0", None),
        ("redis://h:1/5", "redis://h:1/5", None),
        ("redis://h:1?db=5", "redis://h:1/5", None),
        ("rediss://h/2", "rediss://h:6379/2", None),
        ("redis://:p%40ss@h", "redis://h:6379/0", ("", "p@ss")),
        ("redis://user:p%2Fw@h/1", "redis://h:6379/1", ("user", "p/w")),
        ("redis://:@h", "redis://h:6379/0", None),
        ("unix:///run/r.sock", "unix:///run/r.sock?db=0", None),
        ("unix:///run/r%20s.sock?db=3", "unix:///run/r s.sock?db=3", None),
        ("unix://u:p%40w@/run/r.sock?db=3", "unix:///run/r.sock?db=3", ("u", "p@w")),
        ("/run/r.sock", "unix:///run/r.sock?db=0", None),
    ],
)
def test_server(server: str, url: str, auth: Any) -> None:
    stub = aquests.redis(server)
    assert repr(stub) == f"<Redis {url}>"
    request = stub.get("k")
    assert (request.url, request.endpoint.options["auth"]) == (url, auth)
    assert request.endpoint.unix == (None if "unix" not in url else url.removeprefix("unix://").partition("?")[0])
    drop()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (f"redis://u:{SECRET}@h:port", "the port is not a number"),
        (f"redis://{SECRET}@h", "the user has no password"),
        (f"redis://u:{SECRET}@h/x{SECRET}", "number of the database"),
        (f"redis://u:{SECRET}@h/1?password={SECRET}", "'password' may not stand in the URL"),
        (f"unix://u:{SECRET}/run/sock", "three slashes"),
        ("unix://run", "three slashes"),
        ("http://h", "the scheme 'http' is not known"),
        ("", "is missing"),
        ("::1", "in brackets"),
        (6379, "server must be str, not int"),
        ("redis://h/12345678901", "number of the database"),
    ],
)
def test_no_server(server: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        aquests.redis(server)
    assert SECRET not in str(caught.value)


def test_arguments_win_over_the_url() -> None:
    endpoint = aquests.redis("redis://u:p@h/1", 3, ("v", "w"), tls=True).get("k").endpoint
    assert (endpoint.scheme, endpoint.options["db"], endpoint.options["auth"]) == ("rediss", 3, ("v", "w"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"db": -1}, "db must be a whole number"),
        ({"db": "x"}, "db must be a whole number"),
        ({"db": True}, "db must be a whole number"),
        ({"pipeline": 0}, "pipeline must be a whole number from 1 to 4096, not 0"),
        ({"pipeline": 5000}, "pipeline must be a whole number"),
        ({"protocol": 4}, "protocol must be 2 or 3"),
        ({"name": "two words"}, "name must be printable ASCII"),
        ({"name": ""}, "name must be printable ASCII"),
        ({"auth": 5}, "auth must be the password"),
        ({"auth": ("u", "p", "x")}, "auth must be the password"),
        ({"auth": ("u", b"p")}, "auth must be the password"),
        ({"auth": f"{SECRET}\ud800"}, "auth is text that UTF-8 cannot encode"),
        ({"timeout": 0}, "timeout must be"),
        ({"deadline": -1}, "deadline must be"),
        ({"callback": 5}, "callback must be callable"),
    ],
)
def test_no_option(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        aquests.redis("h", **options)
    assert SECRET not in str(caught.value)


def test_misspelt() -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'calback' .did you mean 'callback'"):
        aquests.redis("h", calback=print)
    with pytest.raises(TypeError, match=r"set\(\): unexpected keyword argument 'ex'; .* by position, as in set"):
        aquests.redis("h").set("k", "v", ex=5)  # an option of redis-py's: here it is set("k", "v", "EX", 5)


@pytest.mark.parametrize(
    "call",
    [
        lambda stub: stub.subscribe("x"),
        lambda stub: stub.config(None),
        lambda stub: stub.get(None),
        lambda stub: stub.transaction([]),
        lambda stub: stub.execute(5),
        lambda stub: stub.execute(""),
        lambda stub: stub.get("k", timeout=-1),
    ],
)
def test_refused_where_it_is_called(call: Any) -> None:
    stub = aquests.redis("h")
    with pytest.raises(RequestError):
        call(stub)
    assert script.engine.pending == script.engine.counted == aquests.qsize() == 0


# What is queued


def take(request: Any) -> list[list[bytes]]:
    """The commands of a queued request; the queue is empty again."""
    drop()
    payload = request.payload
    return said(payload if isinstance(payload, bytes) else payload.data)


def test_every_command_is_a_method() -> None:
    stub = aquests.redis("h")
    assert take(stub.lrange("k", 0, 3)) == [[b"LRANGE", b"k", b"0", b"3"]]
    assert take(stub.config_get("x")) == take(stub.config.get("x")) == [[b"CONFIG", b"GET", b"x"]]
    assert take(stub.execute("CONFIG GET", "x")) == take(stub.config("get", "x"))[:0] + [[b"CONFIG", b"GET", b"x"]]
    assert take(stub.json.set("k", "$", "{}")) == [[b"JSON.SET", b"k", b"$", b"{}"]]
    assert take(stub.del_("k")) == take(stub.delete("k")) == [[b"DEL", b"k"]]
    assert take(stub.transaction([("ping",)])) == [[b"MULTI"], [b"PING"], [b"EXEC"]]
    assert stub.get is stub.get
    with pytest.raises(AttributeError):
        stub._private  # noqa: B018
    assert not hasattr(stub, "__deepcopy__")


def test_request() -> None:
    stub = aquests.redis(f"redis://u:{SECRET}@h:1/2", meta={"a": 1, "b": 2}, timeout=3)
    request = stub.config_get("x", meta={"b": 3}, deadline=5)
    assert (request.method, request.kind, request.url) == ("config get", "redis", "redis://h:1/2")
    assert request.meta == {"a": 1, "b": 3, "req_id": 0, "req_method": "redis"}
    assert request.options == {"timeout": 3, "deadline": 5}
    assert SECRET not in repr(request) + repr(request.endpoint) + repr(stub)
    assert stub.get("k").meta == {"a": 1, "b": 2, "req_id": 1, "req_method": "redis"}


@pytest.mark.parametrize("meta", [None, {"a": 1}])
def test_the_short_way_and_the_long_one_make_equal_requests(meta: Any) -> None:
    stub = aquests.redis("h:1", callback=print, meta=meta, timeout=3)
    short, long = stub.get("k"), stub.execute("GET", "k")
    assert all(hasattr(short, name) for name in Request.__slots__)
    differ = {name for name in Request.__slots__ if getattr(short, name) != getattr(long, name)}
    assert differ <= {"req_id", "queued_at"}
    assert long.req_id - short.req_id == 1
    assert 0 <= long.queued_at - short.queued_at < 60
    assert short.response is None
    assert type(short) is type(long) is Request


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        (("k",), [b"k"]),
        (("",), [b""]),
        (("a b\r\n",), [b"a b\r\n"]),
        (("käse",), ["käse".encode()]),
        (("\udcff",), [b"\xff"]),  # what decode=True made of a byte that is no UTF-8
        ((b"\xff",), [b"\xff"]),
        ((1,), [b"1"]),
        ((1.5,), [b"1.5"]),
        ((), []),
        (("k", "l", b"m", 4), [b"k", b"l", b"m", b"4"]),
    ],
)
def test_arguments_of_plain_commands(args: Any, sent: list[bytes]) -> None:
    stub = aquests.redis("h")
    for request in (stub.unlink(*args), stub.execute("unlink", *args)):
        assert take(request) == [[b"UNLINK", *sent]]


def test_equal_commands_share_their_bytes_as_long_as_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aquests.redisstub.SHARED", 2)
    stub = aquests.redis("h")

    def shares(call: Any, *args: Any) -> bool:
        one, two = call(*args).payload, call(*args).payload
        assert one == two
        return one is two

    assert not shares(stub.get, b"a") and not shares(stub.get, 1) and not shares(stub.get, "x" * 129)
    assert shares(stub.get, "x" * 128) and shares(stub.get, "käse")
    assert not shares(stub.get, "one too many") and shares(stub.get, "käse")
    assert shares(stub.ttl, "käse")
    assert take(stub.ttl("käse")) == [[b"TTL", "käse".encode()]]


def test_in_a_cluster_a_plain_command_goes_to_the_node_of_its_key() -> None:
    stub = aquests.redis("h:1")
    get = stub.get
    assert get("k").endpoint.label == "h:1"
    get("k").endpoint.options["cluster"].fill([[0, 16383, [b"other", 2]]], "h")
    assert get("k").endpoint.label == "other:2"


def test_equal_stubs_share_their_lines() -> None:
    one, two = aquests.redis("h:1"), aquests.redis("redis://h:1/0", callback=print, timeout=5)
    assert one.get("k").endpoint is two.get("k").endpoint
    assert one.get("k").endpoint is not one.blpop("k", 1).endpoint
    assert one.blpop("k", 1).endpoint is two.brpop("k", 1).endpoint
    distinct: list[dict[str, Any]] = [
        {"db": 1},
        {"auth": "x"},
        {"decode": True},
        {"pipeline": 1},
        {"protocol": 2},
        {"name": "x"},
        {"tls": True},
    ]
    places = {one.get("k").endpoint, *(aquests.redis("h:1", **options).get("k").endpoint for options in distinct)}
    assert len(places) == 1 + len(distinct)
    slots = {id(stub.get("k").endpoint.options["cluster"]) for stub in (one, two)}
    assert len(slots | {id(one.blpop("k", 1).endpoint.options["cluster"])}) == 1


def test_a_stub_outlives_its_engine() -> None:
    stub = aquests.redis("h:1")
    first = stub.get("k").endpoint
    script.engine.close()
    script.made = None
    assert stub.get("k").endpoint is not first
    assert script.engine.pending == 1


@pytest.mark.parametrize(
    ("command", "options", "patience"),
    [
        (("blpop", "q", 3), {}, 13.0),
        (("blpop", "q", 3), {"timeout": 2}, 5.0),
        (("xread", "BLOCK", 500, "STREAMS", "s", 0), {"timeout": 2}, 2.5),
        (("blpop", "q", 0), {}, 10.0),
        (("blpop", "q", 0), {"deadline": 60}, 60.0),
        (("blpop", "q", 0), {"deadline": 6}, 10.0),  # the deadline itself is the limit
        (("blpop", "q", "x"), {}, 10.0),
    ],
)
def test_patience_of_what_blocks(command: tuple[Any, ...], options: Any, patience: float) -> None:
    request = aquests.redis("h").execute(*command, **options)
    assert isinstance(request, Blocking) and request.endpoint.options["blocking"]
    x = request.begin(100.0, Settings())
    assert x.patience == patience
    assert x.limit == (100.0 + options["deadline"] if "deadline" in options else 0.0)


def test_what_does_not_block() -> None:
    stub = aquests.redis("h")
    for request in (stub.xread("STREAMS", "s", 0), stub.transaction([("blpop", "q", 0)])):
        assert not isinstance(request, Blocking) and not request.endpoint.options["blocking"]


@pytest.mark.parametrize(
    ("codec", "data", "decoded"),
    [
        (AS_SET, [b"a", b"b", b"a"], {b"a", b"b"}),
        (AS_SET, [], set()),
        (AS_SET, None, None),
        (AS_SET, b"QUEUED", b"QUEUED"),
        (AS_SET, [[1], 2], [[1], 2]),
        (AsSets([1]), [[b"a"], [b"a"]], [[b"a"], {b"a"}]),
        (AsSets([0]), None, None),
    ],
)
def test_sets(codec: AsSets, data: Any, decoded: Any) -> None:
    x = exchange()
    x.data = data
    codec.decode(x)
    assert x.data == decoded and type(x.data) is type(decoded)


# Runs


def test_a_run() -> None:
    def answer(command: list[bytes], number: int) -> bytes:
        match command[0]:
            case b"HELLO":
                assert command == [b"HELLO", b"3", b"AUTH", b"me", SECRET.encode(), b"SETNAME", b"aquests"]
                return b""
            case b"GET":
                return resp(command[1])
            case b"SMEMBERS":
                return resp([b"a", b"b"])
        return resp(Error("ERR unknown command"))

    with ScriptedPeer(redis_peer(answer)) as peer:
        stub = aquests.redis(f"redis://me:{SECRET}@{place(peer)}")
        requests = [stub.get(f"k{number}") for number in range(300)]
        requests += [stub.smembers("s"), stub.nonsense()]
        *gets, members, nonsense = answers(*requests)
        assert [response.data for response in gets] == [b"k%d" % number for number in range(300)]
        assert peer.connections == 1
    assert members.data == {b"a", b"b"} and members.ok and members.json is not None
    assert (nonsense.status_code, nonsense.reason, nonsense.ok) == (500, "Database Error", False)
    error: Any = nonsense.error
    assert type(nonsense.error) is judge.ResponseError and error.code == "ERR"
    with pytest.raises(judge.ResponseError, match="unknown command"):
        nonsense.raise_for_status()
    assert (gets[0].url, gets[0].lane, gets[0].version) == (f"redis://{place(peer)}/0", "REDIS", "3")
    assert gets[0].meta == {"req_id": 0, "req_method": "redis"}
    assert aquests.result is not None and aquests.result.tasks == 302


def test_the_default_callback(capsys: pytest.CaptureFixture[str]) -> None:
    replies = {b"A": b"value", b"B": [1, 2], b"C": None, b"D": 7, b"E": {b"a": 1}, b"F": Error("ERR no"), b"G": b""}

    def answer(command: list[bytes], number: int) -> bytes:
        return b"" if command[0] == b"HELLO" else resp(replies[command[0]])

    with ScriptedPeer(redis_peer(answer)) as peer:
        aquests.configure()
        stub = aquests.redis(place(peer))
        answers(*[stub.execute(name) for name in replies])
    assert capsys.readouterr().out.splitlines() == [
        "REQID 0. REDIS 200 OK 5 bytes received",
        "REQID 1. REDIS 200 OK 2 records received",
        "REQID 2. REDIS 200 OK 0 records received",
        "REQID 3. REDIS 200 OK 1 record received",
        "REQID 4. REDIS 200 OK 1 record received",
        "REQID 5. REDIS 500 Database Error (no)",
        "REQID 6. REDIS 200 OK 0 bytes received",
    ]


def test_pipelined_by_itself_and_not_with_pipeline_1() -> None:
    depth: dict[int, int] = {}

    def handler(sock: Any, number: int) -> None:
        served = 0
        while data := sock.recv(65536):
            commands = said(data)
            if commands[0][0] == b"HELLO":
                sock.sendall(resp({}))
                continue
            depth[number] = max(depth.get(number, 0), len(commands))
            served += len(commands)
            sock.sendall(resp(*[b"v"] * len(commands)))

    cases: list[tuple[dict[str, Any], int, int]] = [({}, 2, 64), ({"pipeline": 5}, 2, 5), ({"pipeline": 1}, 1, 1)]
    for options, least, most in cases:
        depth.clear()
        with ScriptedPeer(handler) as peer:
            stub = aquests.redis(place(peer), **options)
            assert all(response.ok for response in answers(*[stub.get("k") for _ in range(200)]))
        assert least <= depth[1] <= most


def test_wrong_password_is_never_shown(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []

    def answer(command: list[bytes], number: int) -> bytes:
        texts.append(command)
        return resp(Error("WRONGPASS invalid password " + SECRET))

    with caplog.at_level(logging.DEBUG), ScriptedPeer(redis_peer(answer)) as peer:
        aquests.configure(callback=None)  # prints
        stub = aquests.redis(f"redis://:{SECRET}@{place(peer)}")
        (response,) = answers(stub.get("k"))
        print(aquests.result)
    assert texts[0][2:5] == [b"AUTH", b"default", SECRET.encode()]
    assert isinstance(response.error, ConnectError) and response.status_code == 714
    out = capsys.readouterr()
    seen = f"{out}{caplog.text}{response!r}{response.error!r}{response.url}{response.request!r}{stub!r}"
    assert SECRET not in seen and "refused the password" in out.out


def test_an_old_server() -> None:
    greeted = []

    def answer(command: list[bytes], number: int) -> bytes:
        greeted.append((number, command[0]))
        match command[0]:
            case b"HELLO":
                return resp(Error("ERR unknown command `HELLO`"))
            case b"AUTH" | b"SELECT" | b"CLIENT":
                return resp(OK)
        return b"*2\r\n$1\r\na\r\n$-1\r\n"

    with ScriptedPeer(redis_peer(answer)) as peer:
        stub = aquests.redis(place(peer), 2, "pw")
        (response,) = answers(stub.mget("a", "b"))
        assert (response.data, response.version) == ([b"a", None], "2")
        (response,) = answers(stub.mget("a", "b"))
        assert response.ok
    assert [word for number, word in greeted if number == 1][:2] == [b"HELLO", b"SELECT"]
    assert [word for number, word in greeted if number == 2] == [b"AUTH", b"CLIENT", b"SELECT", b"MGET"]


def test_an_answer_that_does_not_come_is_its_own_affair() -> None:
    """One command is slow: the others on its line go on, and get their own answers."""
    given_up = threading.Event()

    def answer(command: list[bytes], number: int) -> bytes:
        if command[0] == b"SLOW":
            assert given_up.wait(5)
            return resp(b"late")
        return resp(command[1]) if command[0] == b"GET" else b""

    with ScriptedPeer(redis_peer(answer)) as peer:
        stub = aquests.redis(place(peer), timeout=5)
        slow = stub.slow(timeout=0.1, callback=lambda response: given_up.set())
        rest = [stub.get(f"k{number}") for number in range(10)]
        first, *others = answers(slow, *rest)
        assert isinstance(first.error, TimedOut) and first.status_code == 702
        assert [response.data for response in others] == [b"k%d" % number for number in range(10)]
        assert peer.connections == 1


def test_a_server_that_stalls() -> None:
    def answer(command: list[bytes], number: int) -> bytes:
        return b"" if command[0] == b"HELLO" or number == 1 else resp(1)

    with ScriptedPeer(redis_peer(answer)) as peer:
        aquests.configure(callback=lambda response: None, timeout=0.5)
        stub = aquests.redis(place(peer))
        responses = answers(*[stub.get("k") for _ in range(100)])
        assert peer.connections == 2
    codes = [response.status_code for response in responses]
    assert codes == [702] * 64 + [200] * 36


def test_a_server_that_goes_away() -> None:
    """Whoever is in flight gets an error, nobody is asked twice, the rest go on with another line."""
    asked: list[bytes] = []

    def answer(command: list[bytes], number: int) -> bytes | None:
        if command[0] != b"GET":
            return b""
        asked.append(command[1])
        return None if command[1] == b"k10" and number == 1 else resp(command[1])

    with ScriptedPeer(redis_peer(answer)) as peer:
        stub = aquests.redis(place(peer), pipeline=8)
        responses = answers(*[stub.get(f"k{number}") for number in range(50)])
        assert peer.connections == 2
    lost = [number for number, response in enumerate(responses) if not response.ok]
    assert 10 in lost and len(lost) <= 8
    assert all(response.status_code == 700 for response in responses if not response.ok)
    assert {type(responses[number].error) for number in lost} <= {PeerClosed, aquests.errors.ReadError}
    assert len({id(responses[number].error) for number in lost}) == len(lost)
    assert [r.data for n, r in enumerate(responses) if n not in lost] == [
        b"k%d" % n for n in range(50) if n not in lost
    ]
    assert len(asked) == len(set(asked))


def test_what_blocks_has_a_line_of_its_own() -> None:
    got_all = threading.Event()

    def answer(command: list[bytes], number: int) -> bytes:
        if command[0] == b"BLPOP":
            assert got_all.wait(5)
            return resp([b"q", b"x"])
        return resp(command[1]) if command[0] == b"GET" else b""

    done = []

    def count(response: Response) -> None:
        done.append(response.request.method)
        if len(done) == 20:
            got_all.set()

    with ScriptedPeer(redis_peer(answer)) as peer:
        aquests.configure(workers=2, callback=count)
        stub = aquests.redis(place(peer))
        popped, *got = answers(stub.blpop("q", 1), *[stub.get("k") for _ in range(20)])
        assert popped.data == [b"q", b"x"] and all(response.ok for response in got)
        assert peer.connections == 2
    assert done == ["get"] * 20 + ["blpop"]


def test_what_blocks_for_ever_ends_its_line() -> None:
    def answer(command: list[bytes], number: int) -> bytes:
        return b""

    with ScriptedPeer(redis_peer(answer)) as peer:
        (response,) = answers(aquests.redis(place(peer), timeout=0.1).blpop("q", 0))
        assert response.status_code == 702
        peer.until(lambda: peer.ended == 1)


def test_not_now_is_tried_again() -> None:
    tries = []

    def answer(command: list[bytes], number: int) -> bytes:
        if command[0] == b"HELLO":
            return b""
        tries.append(command[1])
        return resp(Error("LOADING Redis is loading") if len(tries) < 3 else b"v")

    with ScriptedPeer(redis_peer(answer)) as peer:
        stub = aquests.redis(place(peer))
        (response,) = answers(stub.get("k"))
        assert (response.data, len(tries)) == (b"v", 3) and response.elapsed >= 0.15


def test_redirected_to_another_server() -> None:
    """MOVED is followed and learnt, ASK is followed with ASKING and not learnt; a circle ends."""
    second: list[list[bytes]] = []

    def there(command: list[bytes], number: int) -> bytes:
        second.append(command)
        if command[1:] == [b"circle"]:
            return resp(Error(f"MOVED 1 {place(here)}"))
        return b"" if command[0] == b"HELLO" else resp(OK if command[0] == b"ASKING" else b"there")

    with ScriptedPeer(redis_peer(there)) as other:

        def answer(command: list[bytes], number: int) -> bytes:
            match command:
                case [b"HELLO", *_]:
                    return b""
                case [b"CLUSTER", b"SLOTS"]:
                    return resp([[0, 16383, [b"127.0.0.1", other.port, b"id"]]])
                case [b"GET", b"asked"]:
                    return resp(Error(f"ASK 5 {place(other)}"))
                case [b"GET", _]:
                    return resp(Error(f"MOVED 5 {place(other)}"))
            return resp(b"here")

        with ScriptedPeer(redis_peer(answer)) as here:
            aquests.configure(workers=4, callback=lambda response: None)
            stub = aquests.redis(place(here))
            (asked,) = answers(stub.get("asked"))
            assert asked.data == b"there" and [command[0] for command in second] == [b"HELLO", b"ASKING", b"GET"]
            moved, circle = answers(stub.get("moved"), stub.get("circle"))
            assert moved.data == b"there" and moved.url == f"redis://{place(other)}/0"
            assert [hop.url for hop in moved.history] == [f"redis://{place(here)}/0"]
            assert type(circle.error) is judge.MovedError and len(circle.history) == 5
            learnt, keyless = answers(stub.get("another"), stub.ping())
            assert (learnt.data, learnt.history) == (b"there", [])  # the table was read
            assert (keyless.data, keyless.history) == (b"here", [])


def test_over_tls(certs: Certs) -> None:
    def answer(command: list[bytes], number: int) -> bytes:
        return b"" if command[0] == b"HELLO" else resp(b"v")

    with ScriptedPeer(redis_peer(answer), tls=certs.server_context()) as peer:
        good = aquests.redis(f"rediss://localhost:{peer.port}", ca=certs.ca)
        other = aquests.redis(f"localhost:{peer.port}", tls=True)
        trusted, unknown = answers(good.get("k"), other.get("k"))
        assert trusted.data == b"v" and unknown.status_code == 713
        assert all(isinstance(failure, (ssl.SSLError, OSError)) for failure in peer.handshake_failures)


def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with ScriptedPeer(redis_peer(lambda command, number: b"" if command[0] == b"HELLO" else resp(b"v")), path=path):
        (response,) = answers(aquests.redis(f"unix://{path}").get("k"))
        assert response.data == b"v" and response.url == f"unix://{path}?db=0"


def test_through_a_proxy() -> None:
    answer = redis_peer(lambda command, number: b"" if command[0] == b"HELLO" else resp(b"v"))
    with ScriptedPeer(answer) as peer:
        tunnel = [expect(b"\r\n\r\n"), say(b"HTTP/1.1 200 OK\r\n\r\n"), relay(peer.address)]
        with ScriptedPeer(tunnel) as proxy:
            (response,) = answers(aquests.redis(place(peer), proxy=f"http://{proxy.netloc}").get("k"))
            assert response.data == b"v"
            assert proxy.received[0].startswith(f"CONNECT {place(peer)} ".encode())


def test_no_server_there() -> None:
    with refused_port() as port:
        (response,) = answers(aquests.redis(f"127.0.0.1:{port}").get("k"))
    assert (response.status_code, response.lane, response.version, response.data) == (714, "REDIS", "3", None)


def test_nothing_here_is_infinite() -> None:
    """The one wait without an end that a user can write is bounded by the timeout."""
    request: Any = aquests.redis("h").blpop("q", 0)
    assert request.seconds == inf and request.begin(0.0, Settings(timeout=2)).patience == 2
