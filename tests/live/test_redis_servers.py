"""Redis as it is: answers compared with redis-py's, transactions, blocking, TLS, users, a cluster, a dying server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions as judge
from hypothesis import given, settings
from hypothesis import strategies as st

import aquests
from aquests.exchange import Response
from aquests.protocols.rediscluster import slot_of
from tests.certs import Certs
from tests.face import answers, ignore, own_engine
from tests.helpers import until
from tests.servers_redis import RedisServer, redis_cluster, redis_server, require
from tests.serving import HOST

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=1, callback=ignore):  # one line: in the order of the calls
        yield


class Oracle:
    """redis-py on one connection, without what it makes of the answers: what the server said, in the same protocol."""

    def __init__(self, server: RedisServer, **options: Any):
        self._client = server.client(single_connection_client=True, **options)
        self._client.response_callbacks.clear()

    def ask(self, *command: Any) -> Any:
        try:
            return self._client.execute_command(*command)
        except judge.RedisError as error:
            return error

    def close(self) -> None:
        self._client.close()


COMMANDS: list[tuple[Any, ...]] = [
    ("SET", "s", "value"),
    ("GET", "s"),
    ("GET", "none"),
    ("SET", "bin", bytes(range(256))),
    ("GET", "bin"),
    ("APPEND", "s", "ü"),
    ("STRLEN", "s"),
    ("INCRBY", "n", 41),
    ("INCRBYFLOAT", "n", 0.5),
    ("INCR", "s"),
    ("RPUSH", "l", "a", b"b", 3, 4.5),
    ("LRANGE", "l", 0, -1),
    ("LRANGE", "none", 0, -1),
    ("LPOP", "l", 2),
    ("LPOP", "none", 2),
    ("GET", "l"),
    ("HSET", "h", "f", 1, "g", 2),
    ("HGETALL", "h"),
    ("HGETALL", "none"),
    ("HMGET", "h", "f", "none"),
    ("HSCAN", "h", 0),
    ("ZADD", "z", 1.5, "a", "inf", "b"),
    ("ZRANGE", "z", 0, -1, "WITHSCORES"),
    ("ZSCORE", "z", "a"),
    ("ZSCORE", "z", "none"),
    ("ZADD", "z", "INCR", 2, "a"),
    ("ZPOPMIN", "z", 2),
    ("GEOADD", "geo", 13.361389, 38.115556, "Palermo"),
    ("GEOPOS", "geo", "Palermo", "none"),
    ("XADD", "x", "1-1", "f", "v"),
    ("XRANGE", "x", "-", "+"),
    ("XREAD", "COUNT", 2, "STREAMS", "x", "0"),
    ("XINFO", "STREAM", "x"),
    ("PFADD", "pf", "a", "b"),
    ("PFCOUNT", "pf"),
    ("SETBIT", "bits", 7, 1),
    ("BITFIELD", "bits", "GET", "u8", 0, "INCRBY", "u2", 100, 1),
    ("EVAL", "return {1, 'two', {3, {err='ERR inner'}}, false, {ok='fine'}}", 0),
    ("EVAL", "return redis.error_reply('MY error')", 0),
    ("EVAL", "redis.setresp(3); return redis.call('HGETALL', KEYS[1])", 1, "h"),
    ("CONFIG", "GET", "maxmemory*"),
    ("CONFIG", "SET", "nonsense", 1),
    ("OBJECT", "ENCODING", "n"),
    ("TYPE", "h"),
    ("TTL", "h"),
    ("EXISTS", "h", "none"),
    ("DBSIZE",),
    ("COMMAND", "COUNT"),
    ("COMMAND", "INFO", "get", "nonsense"),
    ("PING",),
    ("PING", ""),
    ("ECHO", "\r\n"),
    ("LOLWUT", "VERSION", 1),
    ("NONSENSE", "a", "b"),
    ("GET",),
    ("SCRIPT", "LOAD", "return 1"),
    ("EVALSHA", "0" * 40, 0),
    ("XGROUP", "CREATE", "x", "g", "$"),
    ("XREADGROUP", "GROUP", "g", "me", "STREAMS", "x", ">"),
    ("MEMORY", "USAGE", "h"),
    ("CLUSTER", "INFO"),
    ("DEL", "s", "n", "l"),
    ("FLUSHDB",),
]


@pytest.mark.parametrize("decode", [False, True], ids=["bytes", "decoded"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_answers_are_those_of_redis_py(server: RedisServer, protocol: int, decode: bool) -> None:
    oracle = Oracle(server, db=1, protocol=protocol, decode_responses=decode, encoding_errors="surrogateescape")
    stub = aquests.redis(server.place, 2, protocol=protocol, decode=decode)
    expected = [oracle.ask(*command) for command in COMMANDS]
    oracle.close()
    responses = answers(*[stub.execute(*command) for command in COMMANDS])
    for command, mine, theirs in zip(COMMANDS, responses, expected, strict=True):
        assert mine.version == str(protocol)
        if isinstance(theirs, Exception):
            assert (type(mine.error), str(mine.error), mine.status_code) == (type(theirs), str(theirs), 500), command
        else:
            assert mine.error is None, command
            assert comparable(mine.data) == comparable(theirs), command


def comparable(value: Any) -> Any:
    """Errors inside of answers by what they say; lists and dicts of such."""
    if isinstance(value, Exception):
        return (type(value), str(value))
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return value


def test_sets_are_sets(server: RedisServer) -> None:
    for protocol in (2, 3):
        stub = aquests.redis(server.place, protocol=protocol, decode=True)
        stub.delete("a", "b")
        stub.sadd("a", "x", "y")
        stub.sadd("b", "y")
        calls = [stub.smembers("a"), stub.sinter("a", "b"), stub.smembers("none"), stub.spop("b", 5), stub.spop("a")]
        members, both, none, popped, one = answers(*calls)
        assert members.data == {"x", "y"} and both.data == {"y"} and none.data == set()
        assert popped.data == {"y"} and one.data in ("x", "y")


@settings(max_examples=25)
@given(st.dictionaries(st.binary(max_size=30), st.binary(max_size=3000), min_size=1, max_size=20))
def test_whatever_bytes(server: RedisServer, pairs: dict[bytes, bytes]) -> None:
    stub = aquests.redis(server.place, 3)
    stub.flushdb()
    written = [stub.set(key, value) for key, value in pairs.items()]
    assert all(response.data == b"OK" for response in answers(*written))
    assert [response.data for response in answers(*[stub.get(key) for key in pairs])] == list(pairs.values())
    decoded = aquests.redis(server.place, 3, decode=True)
    (keys,) = answers(decoded.keys("*"))
    again = answers(*[decoded.get(key) for key in keys.data])  # text that came out goes in again
    assert sorted(r.data.encode("utf-8", "surrogateescape") for r in again) == sorted(pairs.values())


def test_every_request_gets_its_own_answer(server: RedisServer) -> None:
    """Many on few lines, in flight together, with errors, transactions and large values among them."""
    stub = aquests.redis(server.place, 4)
    stub.flushdb()
    answers(stub.set("large", b"x" * 300_000), stub.set("text", "a"))
    aquests.configure(workers=3, callback=lambda response: None)
    requests: list[tuple[Any, Any]] = []
    for number in range(6000):
        match number % 50:
            case 7:
                requests.append((stub.incr("text"), "value is not an integer or out of range"))
            case 13:
                requests.append((stub.transaction([("echo", number), ("echo", "b")]), [b"%d" % number, b"b"]))
            case 19:
                requests.append((stub.get("large"), b"x" * 300_000))
            case _:
                requests.append((stub.echo(number), b"%d" % number))
    report = aquests.fetchall()
    for request, expected in requests:
        got = request.response.data if request.response.error is None else str(request.response.error)
        assert got == expected
    assert report.tasks == 6000 and report.status_codes == {200: 5880, 500: 120}


def test_transaction(server: RedisServer) -> None:
    stub = aquests.redis(server.place, 5)
    stub.flushdb()
    stub.set("text", "a")
    (good, partly, bad, after) = answers(
        stub.transaction([("set", "k", 1), ("incr", "k"), ("smembers", "s"), ("config_get", "port")]),
        stub.transaction([("set", "k", 5), ("incr", "text"), ("get", "k")]),
        stub.transaction([("set", "k", 99), ("nonsense",), ("get", "k")]),
        stub.get("k"),
    )
    assert good.data == [b"OK", 2, set(), {b"port": b"%d" % server.port}]
    assert partly.ok and partly.data[0] == b"OK" and type(partly.data[1]) is judge.ResponseError
    assert type(bad.error) is judge.ExecAbortError and "unknown command" in str(bad.error.__cause__)
    assert bad.status_code == 500 and bad.data is None
    assert after.data == b"5"


# Lines


def test_one_connection_for_many(server: RedisServer) -> None:
    stub = aquests.redis(server.place, name="counted")
    requests: list[Any] = [stub.ping() for _ in range(1000)] + [stub.client_list()]
    listed = answers(*requests)[-1].data
    assert listed.count(b"name=counted") == 1
    assert all(request.response.data == b"PONG" for request in requests[:-1])


def test_what_blocks(server: RedisServer) -> None:
    stub = aquests.redis(server.place, 6)
    answers(stub.flushdb())
    aquests.configure(workers=4, callback=lambda response: None)
    order: list[str] = []
    stub.blpop("q", 5, callback=lambda response: order.append(f"popped {response.data[1].decode()}"))
    stub.blpop("nothing", 0.1, callback=lambda response: order.append(f"waited {response.data}"))
    stub.xread("BLOCK", 100, "STREAMS", "none", "$", callback=lambda response: order.append(f"read {response.data}"))

    def push(response: Response) -> None:
        order.append("asked")
        stub.rpush("q", "a")

    stub.execute("PING", callback=push)
    report = aquests.fetchall()
    assert report.ok and report.duration < 4
    assert sorted(order) == ["asked", "popped a", "read None", "waited None"]
    assert order.index("asked") < order.index("popped a")


def test_what_blocks_for_ever_is_let_go(server: RedisServer) -> None:
    """Its line is closed, so the element that comes later is given to somebody who is there."""
    stub = aquests.redis(server.place, 7)
    stub.flushdb()
    (given_up,) = answers(stub.blpop("q", 0, timeout=0.2))
    assert given_up.status_code == 702
    with server.client() as client:
        until(lambda: client.info("clients")["blocked_clients"] == 0)
    pushed, length = answers(stub.rpush("q", "a"), stub.llen("q"))
    assert (pushed.data, length.data) == (1, 1)


def test_a_slow_command_and_those_behind_it(server: RedisServer) -> None:
    stub = aquests.redis(server.place)
    busy = "local t = redis.call('TIME'); local e = t[1] * 1000000 + t[2] + 500000;"
    busy += "repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > e; return 'late'"
    slow = stub.eval(busy, 0, timeout=0.05)
    rest = [stub.echo(number) for number in range(20)]
    first, *others = answers(slow, *rest)
    assert first.status_code == 702
    assert [response.data for response in others] == [b"%d" % number for number in range(20)]
    assert aquests.result is not None and aquests.result.connections == 1


def test_a_server_that_dies(tmp_path: Path) -> None:
    """Killed with requests in flight and started again: typed errors for those, nothing twice, the rest go on."""
    with redis_server(tmp_path) as mortal:
        aquests.configure(workers=2, callback=lambda response: None)
        stub = aquests.redis(mortal.place, timeout=5)
        seen: list[Response] = []

        def count(response: Response) -> None:
            seen.append(response)
            if len(seen) == 2000:
                mortal.restart()

        requests: list[Any] = [stub.incr("n", callback=count) for _ in range(6000)]
        report = aquests.fetchall()
        (last,) = answers(stub.get("n"))
    assert len(seen) == report.tasks == 6000
    failed = [request.response for request in requests if not request.response.ok]
    assert {response.status_code for response in failed} <= {700, 714}
    assert 0 < len(failed) <= 2 * 64
    assert all("127.0.0.1" in str(response.error) for response in failed)
    # The second server counted from 0: as often as it answered, and no request that was lost came again.
    second = [request.response.data for request in requests[2000:] if request.response.ok]
    assert last.data is not None and int(last.data) <= 4000 and len(second) <= int(last.data) + 2 * 64


def test_a_connection_that_is_killed(server: RedisServer) -> None:
    stub = aquests.redis(server.place, name="victim", timeout=5)
    asked: list[Any] = []

    def kill(response: Response) -> None:
        (mine,) = (
            part
            for line in response.data.split(b"\n")
            if b"name=victim" in line
            for part in line.split()
            if part[:3] == b"id="
        )
        asked.extend([stub.echo("before"), stub.client_kill("ID", mine[3:], "SKIPME", "no"), stub.echo("after")])

    stub.client_list(callback=kill)
    aquests.fetchall()
    before, killed, after = (request.response for request in asked)
    assert before.data == b"before" and killed.data == 1
    assert after.status_code == 700  # perhaps it was executed: it is not sent again
    (alive,) = answers(stub.ping())
    assert alive.data == b"PONG"


def test_no_more_clients(tmp_path: Path) -> None:
    """Three lines are all the server takes: with them the work is done."""
    with redis_server(tmp_path, "maxclients 3") as small:
        aquests.configure(workers=10, callback=lambda response: None)
        stub = aquests.redis(small.place)
        responses = answers(*[stub.echo(number) for number in range(500)])
        codes = {response.status_code for response in responses}
    assert codes == {200}


# Doors


def test_unix_socket(server: RedisServer) -> None:
    stub = aquests.redis(f"unix://{server.path}?db=8")
    stub.set("k", "v")
    value, info = answers(stub.get("k"), stub.client_list())
    assert value.data == b"v" and value.url == f"unix://{server.path}?db=8" and b"db=8" in info.data


def test_tls(tmp_path: Path, certs: Certs) -> None:
    with redis_server(tmp_path, certs=certs) as sealed:
        good = aquests.redis(f"rediss://localhost:{sealed.tls_port}", ca=certs.ca)
        mutual = aquests.redis(
            f"localhost:{sealed.tls_port}", tls=True, ca=certs.ca, cert=(certs.client.cert, certs.client.key)
        )
        unknown = aquests.redis(f"rediss://localhost:{sealed.tls_port}")
        trusting = aquests.redis(f"rediss://localhost:{sealed.tls_port}", verify=False)
        plain = aquests.redis(f"localhost:{sealed.tls_port}", timeout=2)
        calls = [stub.echo("x") for stub in (good, mutual, unknown, trusting, plain)]
        codes = [response.status_code for response in answers(*calls)]
        assert codes[:4] == [200, 200, 713, 200] and codes[4] >= 700
        many = answers(*[good.echo(number) for number in range(2000)])
        assert [response.data for response in many] == [b"%d" % number for number in range(2000)]


def test_password_and_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = f"user reader on >{SECRET} ~public:* +@read -@dangerous"
    with redis_server(tmp_path, f"requirepass {SECRET}", users) as guarded:
        aquests.configure(workers=4, callback=None)  # prints a line an answer
        boss = aquests.redis(guarded.place, auth=SECRET)
        reader = aquests.redis(f"redis://reader:{SECRET}@{guarded.place}")
        old = aquests.redis(guarded.place, auth=("reader", SECRET), protocol=2)
        nobody = aquests.redis(guarded.place)
        wrong = aquests.redis(guarded.place, auth=("reader", SECRET[:-1]))
        boss.set("public:k", "v")
        aquests.fetchall()
        calls = [
            boss.get("public:k"),
            reader.get("public:k"),
            old.get("public:k"),
            reader.get("private"),
            reader.flushall(),
        ]
        calls += [nobody.get("public:k"), wrong.get("public:k")]
        responses = answers(*calls)
        assert [response.data for response in responses[:3]] == [b"v"] * 3
        assert all(type(response.error) is judge.NoPermissionError for response in responses[3:5])
        assert [response.status_code for response in responses[5:]] == [714, 714]
        assert "wants a password" in str(responses[5].error) and "refused the password" in str(responses[6].error)
        shown = f"{capsys.readouterr()}{responses}{aquests.result}{[boss, reader, nobody, wrong, *calls]}"
    assert SECRET[:-1] not in shown


@pytest.mark.parametrize("protocol", [2, 3])
def test_no_such_database(server: RedisServer, protocol: int) -> None:
    (response,) = answers(aquests.redis(server.place, 99, protocol=protocol).ping())
    assert response.status_code == 714 and "refused database 99: " in str(response.error)


# A cluster


def test_a_cluster_by_one_of_its_nodes(cluster: list[RedisServer]) -> None:
    aquests.configure(workers=6, callback=lambda response: None)
    stub = aquests.redis(cluster[1].place)
    written = answers(*[stub.set(f"k{number}", number) for number in range(9000)])
    assert all(response.data == b"OK" for response in written)
    assert {response.url for response in written} == {f"redis://{node.place}/0" for node in cluster}
    read = answers(*[stub.get(f"k{number}") for number in range(9000)])
    assert [response.data for response in read] == [b"%d" % number for number in range(9000)]
    assert all(response.history == [] for response in read)  # the table is known now
    assert sum(1 for response in written if response.history) < 4500  # of 6,000 that were queued at a wrong node
    keys = [answers(aquests.redis(node.place).dbsize())[0].data for node in cluster]
    assert sum(keys) >= 9000 and min(keys) > 2000


def test_keys_together_and_apart(cluster: list[RedisServer]) -> None:
    stub = aquests.redis(cluster[0].place)
    together, apart, whole, torn, scripted, keyless = answers(
        stub.mset("{a}1", 1, "{a}2", 2),
        stub.mset("a", 1, "b", 2),
        stub.transaction([("set", "{zz}1", 1), ("incr", "{zz}1")]),
        stub.transaction([("set", "a", 1), ("set", "b", 1)]),
        stub.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, "c", "x"),
        stub.cluster_myid(),
    )
    assert together.data == b"OK"
    assert type(apart.error) is judge.ClusterCrossSlotError
    assert whole.data == [b"OK", 2]
    assert type(torn.error) is judge.ExecAbortError and isinstance(torn.error.__cause__, judge.MovedError)
    assert scripted.data == b"OK"
    with cluster[0].client() as client:
        assert keyless.data == client.execute_command("CLUSTER MYID")


def test_a_slot_on_its_way(cluster: list[RedisServer]) -> None:
    """While a slot is moved, keys are asked for on both sides (ASK), and then on the other only (MOVED)."""
    slot = slot_of(b"{moving}1")
    source = next(node for number, node in enumerate(cluster) if slot // -(-16384 // 3) == number)
    target = cluster[(cluster.index(source) + 1) % 3]
    stub = aquests.redis(source.place)
    answers(stub.set("{moving}1", "one"))
    with source.client() as here, target.client() as there:
        assert here.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        ids = [client.execute_command("CLUSTER MYID") for client in (here, there)]
        there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        one, two, batch = answers(
            stub.get("{moving}1"),
            stub.set("{moving}2", "two"),
            stub.transaction([("set", "{moving}3", 3), ("incr", "{moving}3")]),
        )
        assert (one.data, one.history) == (b"one", [])
        assert two.data == b"OK" and len(two.history) == 1 and two.url == f"redis://{target.place}/0"
        assert batch.data == [b"OK", 4]
        (torn,) = answers(stub.mget("{moving}1", "{moving}2", timeout=0.5))
        assert type(torn.error) is judge.TryAgainError

        def finish() -> None:
            time.sleep(0.2)
            here.execute_command("MIGRATE", HOST, target.port, "{moving}1", 0, 5000)
            for client in (there, here, *(node.client() for node in cluster if node not in (source, target))):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
                client.close()

        mover = threading.Thread(target=finish)
        mover.start()
        (whole,) = answers(stub.mget("{moving}1", "{moving}2"))  # TRYAGAIN, until it is through
        mover.join()
        assert whole.data == [b"one", b"two"] and whole.ok
    after, later = answers(stub.get("{moving}1")) + answers(stub.get("{moving}2"))
    assert after.data == b"one" and later.data == b"two" and later.history == []


def test_a_cluster_that_is_not_whole(tmp_path: Path) -> None:
    with redis_server(tmp_path, "cluster-enabled yes") as alone:
        (response,) = answers(aquests.redis(alone.place).get("k", timeout=0.2))
        assert type(response.error) is judge.ClusterDownError and response.elapsed < 2


def test_a_server_that_is_loading(tmp_path: Path) -> None:
    """Started with data it takes a while to read: nobody is told LOADING."""
    require((7,))
    with redis_server(
        tmp_path, "enable-debug-command local", "key-load-delay 1000", "loading-process-events-interval-bytes 1024"
    ) as slow:
        with slow.client() as client:
            client.execute_command("DEBUG", "POPULATE", 500, "key", 100)
            client.save()
        slow.restart()
        stub = aquests.redis(slow.place)
        (value,) = answers(stub.get("key:7"))
        assert value.ok and value.data is not None


# Together with the others


def test_sources_and_callbacks(server: RedisServer) -> None:
    stub = aquests.redis(server.place, 9)
    stub.flushdb()
    got: list[int] = []

    def first(response: Response) -> None:
        stub.get(f"k{response.meta['n']}", callback=second, meta=response.meta)

    def second(response: Response) -> None:
        got.append(int(response.data))

    def source() -> Iterator[None]:
        for number in range(2000):
            stub.set(f"k{number}", number, callback=first, meta={"n": number})
            yield

    aquests.feed(source())
    report = aquests.fetchall()
    assert report.ok and report.tasks == 4001 and sorted(got) == list(range(2000))
