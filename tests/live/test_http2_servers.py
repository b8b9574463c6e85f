"""HTTP/2 against servers that others have written: nginx, nghttpd, h2o, hypercorn, granian."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from aquests.errors import TimedOut
from tests import servers
from tests.certs import Certs
from tests.rig import Rig, bodies, codes
from tests.servers import PAGE
from tests.serving import Server

PAGE_SUM = hashlib.sha256(PAGE).hexdigest()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, certs: Certs) -> Iterator[Server]:
    extra = """
        http2_max_concurrent_streams 20;
        location = /headers { return 200 "$http_user_agent|$host|$http_accept_encoding|$http_x_mine|$server_protocol"; }
        location = /unique { add_header X-Request-Id "$request_id"; return 200 "$request_id"; }
        location = /large { add_header X-Large "$arg_x$arg_x$arg_x$arg_x"; return 200 large; }
    """
    with servers.nginx(tmp_path_factory.mktemp("nginx"), certs, http2=True, extra=extra) as server:
        yield server


def rig(certs: Certs, workers: int = 1, streams: int = 10, **settings: Any) -> Rig:
    return Rig(workers=workers, http2_constreams=streams, ca=certs.ca, **settings)


# -- nginx ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "streams"), [(1, 1), (1, 100), (10, 10), (50, 2)])
def test_many_pages_over_few_lines(nginx: Server, certs: Certs, workers: int, streams: int) -> None:
    count = 3000
    sums = Counter[str]()
    with rig(certs, workers, streams) as run:
        run.on_answer = lambda response: sums.update([hashlib.sha256(response.content).hexdigest()])
        for _ in range(count):
            run.ask(f"{nginx.tls_url}/4k")
        answers = run.run(30.0)
        assert set(codes(answers)) == {200} and {answer.version for answer in answers} == {"2.0"}
        assert sums == {PAGE_SUM: count}
        assert run.engine.stats.connections == workers and run.engine.stats.retries == 0


def test_force_http1(nginx: Server, certs: Certs) -> None:
    with rig(certs, force_http1=True) as run:
        answer = run.fetch(f"{nginx.tls_url}/headers")
        assert answer.version == "1.1" and answer.text.endswith("|HTTP/1.1")


def test_answers_that_always_differ(nginx: Server, certs: Certs) -> None:
    with rig(certs, 2) as run:
        for _ in range(500):
            run.ask(f"{nginx.tls_url}/unique")
        answers = run.run()
        assert all(answer.headers["x-request-id"] == answer.text for answer in answers)
        assert len({answer.text for answer in answers}) == 500


def test_what_is_said(nginx: Server, certs: Certs) -> None:
    with rig(certs) as run:
        own = {"X-Mine": "1", "Connection": "keep-alive", "TE": "gzip"}
        agent, host, encodings, mine, version = run.fetch(f"{nginx.tls_url}/headers", headers=own).text.split("|")
        assert agent.startswith("aquests/") and host == "localhost" and encodings.startswith("gzip, deflate")
        assert (mine, version) == ("1", "HTTP/2.0")


def test_large_heads(nginx: Server, certs: Certs) -> None:
    with rig(certs) as run:
        for size in (10, 1000, 1500):
            assert run.fetch(f"{nginx.tls_url}/large?x={'y' * size}").headers["x-large"] == "y" * 4 * size


def test_a_timeout_takes_one_stream(nginx: Server, certs: Certs) -> None:
    with rig(certs) as run:
        slow = run.ask(f"{nginx.tls_url}/slow/big", deadline=0.5)
        others = [run.ask(f"{nginx.tls_url}/4k") for _ in range(50)]
        run.run()
        assert slow.response is not None and isinstance(slow.response.error, TimedOut)
        assert all(other.response is not None and other.response.content == PAGE for other in others)
        assert run.fetch(f"{nginx.tls_url}/4k").ok and run.engine.stats.connections == 1


def test_lines_that_nginx_ends(certs: Certs, tmp_path: Path) -> None:
    """GOAWAY after every fifty requests, on all lines at about the same time: what it has not seen is sent again."""
    with servers.nginx(tmp_path, certs, http2=True, extra="keepalive_requests 50;") as server:
        with rig(certs, 5, 10) as run:
            for _ in range(3000):
                run.ask(f"{server.tls_url}/4k")
            assert Counter(codes(run.run(30.0))) == {200: 3000}
            assert run.engine.stats.connections >= 60


def test_nginx_reloads_in_the_middle(certs: Certs, tmp_path: Path) -> None:
    with servers.nginx(tmp_path, certs, http2=True) as server, rig(certs, 5) as run:
        run.on_answer = lambda response: (
            server.process.send_signal(signal.SIGHUP) if len(run.answers) in (300, 2000) else None
        )
        for _ in range(6000):
            run.ask(f"{server.tls_url}/4k")
        assert Counter(codes(run.run(30.0))) == {200: 6000}


# -- proxies: CONNECT, then ALPN --------------------------------------------------------------------------------------


def test_through_tinyproxy(nginx: Server, certs: Certs, tmp_path: Path) -> None:
    with servers.tinyproxy(tmp_path, "user", "secret") as proxy:
        with rig(certs, 2, proxy=proxy.url.replace("://", "://user:secret@")) as run:
            for _ in range(100):
                run.ask(f"{nginx.tls_url}/4k")
            answers = run.run()
            assert {(answer.version, answer.content) for answer in answers} == {("2.0", PAGE)}, answers[0].error


def test_through_microsocks(nginx: Server, certs: Certs, tmp_path: Path) -> None:
    with servers.microsocks(tmp_path) as proxy, rig(certs, 2, proxy=f"socks5h://127.0.0.1:{proxy.port}") as run:
        for _ in range(100):
            run.ask(f"{nginx.tls_url}/4k")
        assert {(answer.version, answer.content) for answer in run.run()} == {("2.0", PAGE)}


def test_in_clear_through_a_tunnel(certs: Certs, tmp_path: Path) -> None:
    """A proxy that forwards would have to speak HTTP/2, too."""
    with servers.nghttpd(tmp_path) as server, servers.tinyproxy(tmp_path) as proxy:
        with rig(certs, proxy=proxy.url) as run:
            assert run.fetch(f"{server.url}/4k", h2c="prior").content == PAGE


# -- other servers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [servers.nghttpd, servers.h2o, servers.granian, servers.hypercorn])
def test_over_tls(start: Callable[..., AbstractContextManager[Server]], tmp_path: Path, certs: Certs) -> None:
    with start(tmp_path, certs) as server, rig(certs, 2) as run:
        for _ in range(500):
            run.ask(f"{server.tls_url}/4k")
        answers = run.run(30.0)
        assert {(answer.version, answer.status_code, answer.content) for answer in answers} == {("2.0", 200, PAGE)}


@pytest.mark.parametrize("start", [servers.nghttpd, servers.h2o, servers.granian, servers.hypercorn])
def test_prior_knowledge(start: Callable[..., AbstractContextManager[Server]], tmp_path: Path, certs: Certs) -> None:
    with start(tmp_path) as server, rig(certs, 2) as run:
        for _ in range(500):
            run.ask(f"{server.url}/4k", h2c="prior")
        answers = run.run(30.0)
        assert {(answer.version, answer.status_code, answer.content) for answer in answers} == {("2.0", 200, PAGE)}
        assert run.engine.stats.connections == 2


@pytest.mark.parametrize(
    ("start", "version"),
    [(servers.h2o, "2.0"), (servers.hypercorn, "2.0"), (servers.granian, "1.1"), (servers.nginx, "1.1")],
)
def test_upgrade(
    start: Callable[..., AbstractContextManager[Server]], version: str, tmp_path: Path, certs: Certs
) -> None:
    """Where the server does not care for it, its HTTP/1.1 answers count."""
    with start(tmp_path) as server, rig(certs, 2) as run:
        for _ in range(100):
            run.ask(f"{server.url}/4k", h2c="upgrade")
        answers = run.run()
        assert {(answer.version, answer.content) for answer in answers} == {(version, PAGE)}
        assert run.engine.stats.connections == 2


@pytest.mark.parametrize("start", [servers.granian, servers.hypercorn])
def test_what_the_application_sees(
    start: Callable[..., AbstractContextManager[Server]], tmp_path: Path, certs: Certs
) -> None:
    body = bytes(range(256)) * 4000
    lines = b"".join(b"%d\n" % number for number in range(100))
    with start(tmp_path, certs) as server, rig(certs, 2) as run:
        for number in range(20):
            run.ask(f"{server.tls_url}/echo?n={number}", "POST", f"body {number}", headers={"X-Mine": str(number)})
        for number, answer in enumerate(sorted(run.run(30.0), key=lambda answer: int(answer.meta["req_id"]))):
            seen = answer.json()
            assert (seen["version"], seen["query"], seen["body"]) == ("2", f"n={number}", f"body {number}")
            assert ["x-mine", str(number)] in seen["headers"]
        for payload in (body, iter([body[:1000], body[1000:]])):
            assert run.fetch(f"{server.tls_url}/echo", "PUT", payload).json()["body"].encode("latin-1") == body
        assert bodies([run.fetch(f"{server.tls_url}/stream")]) == [lines]
        assert codes([run.fetch(f"{server.tls_url}/status/503")]) == [503]


def test_nghttpd_keeps_its_limit(tmp_path: Path, certs: Certs) -> None:
    """It allows 100 streams; more are asked for."""
    with servers.nghttpd(tmp_path) as server, rig(certs, 1, 500) as run:
        for _ in range(1000):
            run.ask(f"{server.url}/4k", h2c="prior")
        assert Counter(codes(run.run())) == {200: 1000}
        assert run.engine.stats.retries == 0
