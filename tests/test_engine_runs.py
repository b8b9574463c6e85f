"""The engine in long runs: lazy sources, flat memory, many places at once, and too few descriptors."""

from __future__ import annotations

import gc
import io
import json
import logging
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aquests.exchange import Response
from aquests.httprequest import HttpRequest, make
from aquests.lib.resolver import Resolver
from tests.helpers import ROOT
from tests.peers import Answer, HttpPeer, Request, ScriptedPeer, http_peer, refused_port, reset, stall
from tests.rig import Rig, bodies, codes

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def echo(request: Request) -> Answer:
    return 200, [], request.target.encode()


def quick(sock: socket.socket, number: int) -> None:
    """A handler that answers as fast as it can, and remembers nothing."""
    sock.settimeout(None)
    while data := sock.recv(65536):
        sock.sendall(OK * data.count(b"\r\n\r\n"))


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with http_peer(echo) as peer:
        yield peer


# -- lazy sources --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 8])
def test_a_source_is_advanced_only_as_workers_come_free(peer: HttpPeer, workers: int) -> None:
    drawn = 0
    ahead = []

    def source() -> Iterator[str]:
        nonlocal drawn
        for number in range(500):
            drawn += 1
            ahead.append(drawn - rig.engine.finished)
            yield f"{peer.url}{number}"

    with Rig(workers=workers) as rig:
        rig.engine.feed(source())
        assert drawn == 0, "nothing is drawn before the run"
        answers = rig.run()
        assert sorted(bodies(answers)) == sorted(f"/{number}".encode() for number in range(500))
        assert max(ahead) <= 2 * workers + 1
        assert peer.connections == workers


def test_what_a_source_may_yield(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    def source() -> Iterator[Any]:
        rig.ask(f"{peer.url}called")  # queued by a call, the step itself yields nothing
        yield
        yield f"{peer.url}text"
        yield HttpRequest("PUT", f"{peer.url}made", b"body")
        yield rig.ask(f"{peer.url}called-and-yielded")
        yield "no URL at all"
        yield f"ftp{peer.url}"
        yield f"{peer.url}last"

    with Rig() as rig:
        rig.engine.feed(source())
        with caplog.at_level(logging.ERROR):
            answers = rig.run()
        assert bodies(answers) == [b"/called", b"/text", b"/made", b"/called-and-yielded", b"/last"]
        assert peer.requests[2].method == "PUT" and peer.requests[2].body == b"body"
        assert rig.engine.stats.callback_errors == 2
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["a lazy source"] * 2
        assert [answer.meta["req_id"] for answer in answers] == [0, 1, 2, 3, 4]


def test_a_source_that_raises_is_dropped_and_the_next_one_goes_on(
    peer: HttpPeer, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterator[str]:
        yield f"{peer.url}1"
        raise LookupError("the source is broken")

    with Rig(workers=2) as rig:
        rig.engine.feed(broken())
        rig.engine.feed([f"{peer.url}2", f"{peer.url}3"])
        with caplog.at_level(logging.ERROR):
            assert sorted(bodies(rig.run())) == [b"/1", b"/2", b"/3"]
        assert rig.engine.stats.callback_errors == 1
        assert "the source is broken" in caplog.text and "in broken" in caplog.text


def test_sources_without_anything(peer: HttpPeer) -> None:
    with Rig() as rig:
        rig.engine.feed([])
        rig.engine.feed(iter(()))
        rig.engine.feed([None] * 1000)
        assert rig.run(2.0) == []
        with pytest.raises(TypeError):
            rig.engine.feed(5)  # type: ignore[arg-type]
        assert rig.engine.idle


def test_a_source_added_by_a_callback(peer: HttpPeer) -> None:
    with Rig() as rig:
        rig.on_answer = lambda response: (
            rig.engine.feed([f"{peer.url}2", f"{peer.url}3"]) if response.content == b"/1" else None
        )
        rig.engine.feed([f"{peer.url}1"])
        assert bodies(rig.run()) == [b"/1", b"/2", b"/3"]


def test_a_source_that_is_stopped_goes_on_later(peer: HttpPeer) -> None:
    with Rig() as rig:
        rig.on_answer = lambda response: rig.engine.stop() if len(rig.answers) == 3 else None
        rig.engine.feed(f"{peer.url}{number}" for number in range(6))
        rig.engine.run()
        rig.engine.hang_up()
        assert len(rig.answers) == 3 and not rig.engine.idle
        assert sorted(bodies(rig.run())) == [f"/{number}".encode() for number in range(6)]


def test_a_source_that_has_nothing_left_does_not_keep_the_run_waiting(peer: HttpPeer) -> None:
    """Its end is seen in a step in which nothing can happen any more."""
    with Rig() as rig:
        rig.engine.feed(f"{peer.url}{number}" for number in range(1))
        rig.on_answer = lambda response: rig.engine.stop()
        rig.engine.run()
        rig.engine.hang_up()
        rig.engine.feed(iter(()))
        rig.engine.loop.step(0.0)  # somebody took the wake-up
        rig.run(2.0)


def test_a_source_beside_what_is_queued(peer: HttpPeer) -> None:
    with Rig(workers=2) as rig:
        for number in range(20):
            rig.ask(f"{peer.url}queued{number}")
        rig.engine.feed(f"{peer.url}fed{number}" for number in range(20))
        found = bodies(rig.run())
        assert {body[:4] for body in found[:18]} == {b"/que"}, "it is lazy"
        assert len(found) == 40


def test_a_source_that_changes_the_settings(peer: HttpPeer) -> None:
    """Also the order of the queue, while the engine is looking at it."""

    def source() -> Iterator[str]:
        for number in range(60):
            if number == 1 or number % 10 == 5:
                rig.configure(qrandom=number % 20 in (1, 5), workers=number // 10 + 1)
            yield f"{(peer, other)[number % 2].url}{number}"

    with http_peer(echo) as other, Rig(workers=4) as rig:
        rig.engine.feed(source())
        assert sorted(bodies(rig.run())) == sorted(b"/%d" % number for number in range(60))


def test_a_source_may_not_run_the_engine(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    def source() -> Iterator[str]:
        yield f"{peer.url}1"
        rig.engine.step()
        yield f"{peer.url}never"

    with Rig() as rig:
        rig.engine.feed(source())
        with caplog.at_level(logging.ERROR):
            assert bodies(rig.run()) == [b"/1"]
        assert "RuntimeError" in caplog.text


@pytest.mark.parametrize("size", [10, 300_000])
def test_a_streamed_upload_on_a_line_that_stood_idle(size: int) -> None:
    """Nothing but the upload itself wakes such a line."""
    with http_peer(lambda request: (200, [], b"%d" % len(request.body))) as peer, Rig(timeout=3) as rig:
        rig.fetch(peer.url)
        assert rig.fetch(peer.url, "PUT", io.BytesIO(bytes(size))).content == b"%d" % size
        assert peer.connections == 1


# -- memory --------------------------------------------------------------------------------------------------------


def test_two_hundred_thousand_requests_in_flat_memory() -> None:
    """Queued 100 at a time from callbacks. Without the collector: nothing may be a cycle either."""
    total, blocks = 200_000, []
    with ScriptedPeer(quick) as peer, Rig(workers=4) as rig:
        engine = rig.engine

        def more(response: Response) -> None:
            finished = engine.finished
            if finished % 100 == 0 and engine.counted < total:
                for _ in range(100):
                    queue()
            if finished in (20_000, total):
                blocks.append(sys.getallocatedblocks())

        def queue() -> None:
            options = {"callback": more, "meta": {"job": engine.counted}}
            engine.submit(make("GET", "get", peer.url, None, None, None, None, options, engine.endpoints))

        for _ in range(100):
            queue()
        gc.collect()
        gc.disable()
        try:
            engine.run()
        finally:
            gc.enable()
        assert engine.finished == total == engine.stats.tasks and peer.connections == 4
        assert blocks[1] - blocks[0] < 20_000, "less than one for nine requests: the histogram may have grown"


def test_redirects_challenges_and_failures_leave_no_cycles() -> None:
    """An answer that nobody keeps is gone at once, with its body."""

    def responder(request: Request) -> Answer:
        if request.target.startswith("/moved"):
            return 302, [("Location", {"/moved": "/moved/again", "/moved/again": "/target"}[request.target])], b""
        if request.target == "/target" and request.header("authorization") is None:
            return 401, [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')], b""
        if request.target == "/gzip":
            return 200, [("Content-Encoding", "gzip")], b"none"
        return 200, [("Set-Cookie", "a=b"), ("Content-Type", "text/plain")], b"x" * 1000

    with http_peer(responder) as peer, refused_port() as port, Rig(workers=2, cookie=True, timeout=1.0) as rig:
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(3):
                for path in ("plain", "moved", "target", "gzip"):
                    rig.ask(f"{peer.url}{path}", auth=("user", "secret"))
                rig.ask(f"http://127.0.0.1:{port}/")
            assert Counter(codes(rig.run())) == {200: 9, 714: 3, 715: 3}
            rig.answers.clear()
            gc.collect()
            assert [thing for thing in gc.garbage if type(thing).__module__.startswith("aquests")] == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


# -- many places ---------------------------------------------------------------------------------------------------


def test_two_thousand_requests_to_fifty_places_of_every_kind() -> None:
    chance = random.Random(50)
    kinds = ["good"] * 30 + ["refuses"] * 7 + ["hangs"] * 6 + ["resets"] * 7
    scripts = {"good": quick, "hangs": [stall()], "resets": [reset()]}
    expected = {"good": {200}, "refuses": {714}, "hangs": {702}, "resets": {700, 714}}
    with ExitStack() as stack, Rig(workers=40, timeout=0.3) as rig:
        ports = []
        for kind in kinds:
            if kind == "refuses":
                ports.append(stack.enter_context(refused_port()))
            else:
                ports.append(stack.enter_context(ScriptedPeer(scripts[kind])).port)  # type: ignore[arg-type]
        for number in range(2000):
            place = number % 50 if number < 500 else chance.randrange(50)
            rig.ask(f"http://127.0.0.1:{ports[place]}/{number}", meta={"kind": kinds[place]})
        answers = rig.run(20.0)
        for answer in answers:
            assert answer.status_code in expected[answer.meta["kind"]], (answer.meta, answer.error)
        assert rig.engine.stats.max_connections <= 40
        assert Counter(answer.meta["kind"] for answer in answers).keys() == expected.keys()


def test_a_crawl_over_more_places_than_the_table_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    from aquests import endpoint

    monkeypatch.setattr(endpoint, "MAX_IDLE_ENDPOINTS", 20)

    def getaddrinfo(name: str, *rest: object, **more: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    with ScriptedPeer(quick) as peer, Rig(workers=8) as rig:
        rig.engine.endpoints._sweep_at = 20
        rig.engine._resolver = Resolver(rig.engine.loop.soon, getaddrinfo=getaddrinfo)
        rig.on_answer = lambda response: rig.configure(qrandom=len(rig.answers) % 100 > 50)
        rig.engine.feed(f"http://host{number % 300}.test:{peer.port}/" for number in range(600))
        assert codes(rig.run()) == [200] * 600
        assert len(rig.engine.endpoints._table) < 60


# -- descriptors ---------------------------------------------------------------------------------------------------

FEW_DESCRIPTORS = """
import json, os, resource, sys
import aquests

urls, kept, spare, timeout = json.loads(sys.argv[1])
codes, words = {}, set()
def count(response):
    codes[response.status_code] = codes.get(response.status_code, 0) + 1
    if response.error is not None:
        words.add(str(response.error).partition(",")[0])

aquests.configure(workers=50, callback=count, timeout=timeout, trust_env=False)
for url in kept:
    aquests.get(url)
engine = aquests.script.engine
while engine.pending:  # lines to these places stay open, and idle
    engine.step(1.0)
limit = len(os.listdir("/proc/self/fd")) - 1 + spare
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
for url in urls:
    aquests.get(url)
report = aquests.fetchall()
print(json.dumps([codes, sorted(words), report.as_dict()["tasks"], aquests.qsize()]))
"""


def run_child(code: str, *arguments: object) -> Any:
    """Run ``code`` in a process of its own; what it prints as JSON."""
    command = [sys.executable, "-c", code, *map(json.dumps, arguments)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30.0)
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    return json.loads(child.stdout)


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")


@LINUX
@pytest.mark.parametrize("spare", [1, 8])
def test_too_few_descriptors_for_all_workers(spare: int) -> None:
    with ExitStack() as stack:
        kept, *urls = [stack.enter_context(http_peer(echo)).url for _ in range(4)]
        assert run_child(FEW_DESCRIPTORS, [urls * 100, [kept], spare, 3.0]) == [{"200": 301}, [], 301, 0]


@LINUX
@pytest.mark.parametrize("spare", [0, 1])
def test_idle_lines_give_their_descriptors_to_others(spare: int) -> None:
    with ExitStack() as stack:
        kept = [stack.enter_context(http_peer(echo)).url for _ in range(6)]
        urls = [stack.enter_context(http_peer(echo)).url for _ in range(9)]
        assert run_child(FEW_DESCRIPTORS, [urls * 4, kept, spare, 3.0]) == [{"200": 42}, [], 42, 0]


@LINUX
def test_no_descriptor_at_all_is_a_failure_in_the_end() -> None:
    with http_peer(lambda request: (200, [("Connection", "close")], b"")) as kept, http_peer(echo) as peer:
        found = run_child(FEW_DESCRIPTORS, [[peer.url] * 3, [kept.url], 0, 0.3])
        assert found == [{"200": 1, "714": 3}, ["too many open files"], 4, 0]
