"""HTTP/1.1 against servers and proxies that others have written."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from aquests.errors import ConnectError
from aquests.exchange import Response
from tests import servers
from tests.certs import Certs
from tests.rig import Rig, codes
from tests.servers import PAGE
from tests.serving import Server

PAGE_SUM = hashlib.sha256(PAGE).hexdigest()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, certs: Certs) -> Iterator[Server]:
    extra = """
        location = /headers { return 200 "$http_user_agent|$http_host|$http_accept_encoding|$http_x_mine"; }
        location = /close { keepalive_timeout 0; return 200 closing; }
        location = /after3 { keepalive_requests 3; return 200 three; }
    """
    with servers.nginx(tmp_path_factory.mktemp("nginx"), certs, extra=extra) as server:
        yield server


# -- nginx ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 50])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_many_pages_over_few_lines(nginx: Server, certs: Certs, scheme: str, workers: int) -> None:
    count = 4000 if scheme == "http" else 1500
    sums = Counter[str]()
    with Rig(workers=workers, ca=certs.ca, force_http1=True) as rig:
        url = f"{nginx.url if scheme == 'http' else nginx.tls_url}/4k"
        before = accepted(nginx)
        rig.on_answer = lambda response: sums.update([hashlib.sha256(response.content).hexdigest()])
        for _ in range(count):
            rig.ask(url)
        assert set(codes(rig.run(30.0))) == {200}
        assert sums == {PAGE_SUM: count}
        assert accepted(nginx) - before == workers + 1, "one line for each worker, and the one that asks"
        assert rig.engine.stats.bytes_received == count * len(PAGE)


def accepted(server: Server) -> int:
    """How many connections nginx has ever accepted, this one included."""
    with Rig() as rig:
        text = rig.fetch(f"{server.url}/status").text
    return int(text.split("\n")[2].split()[0])


def test_a_unix_socket(nginx: Server) -> None:
    with Rig(workers=3) as rig:
        for _ in range(30):
            rig.ask("http://virtual.example/headers", unix=nginx.path, headers={"X-Mine": "1"})
        answers = rig.run()
        assert {answer.text.split("|")[1] for answer in answers} == {"virtual.example"}
        assert rig.fetch(f"http+unix://{nginx.path.replace('/', '%2F')}/4k").content == PAGE


def test_lines_that_nginx_closes(nginx: Server) -> None:
    """After each answer, or after three: some are closed just as they are used again, and nothing is lost."""
    with Rig(workers=5) as rig:
        for number in range(300):
            rig.ask(f"{nginx.url}/{('close', 'after3', '4k')[number % 3]}")
        assert codes(rig.run()) == [200] * 300
        assert rig.engine.stats.connections > 60


def test_nginx_reloads_in_the_middle(tmp_path: Path) -> None:
    """The old worker closes its lines, some just as they are used again; nothing is lost."""
    with servers.nginx(tmp_path) as server, Rig(workers=10) as rig:
        rig.on_answer = lambda response: (
            server.process.send_signal(signal.SIGHUP) if len(rig.answers) in (300, 2000) else None
        )
        for _ in range(6000):
            rig.ask(f"{server.url}/4k")
        assert Counter(codes(rig.run(30.0))) == {200: 6000}


def test_what_is_said_by_default(nginx: Server) -> None:
    with Rig() as rig:
        agent, host, encodings, mine = rig.fetch(f"{nginx.url}/headers").text.split("|")
        assert agent.startswith("aquests/") and host == f"127.0.0.1:{nginx.port}"
        assert encodings.startswith("gzip, deflate") and mine == ""


# -- proxies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_tinyproxy(nginx: Server, certs: Certs, tmp_path: Path, scheme: str) -> None:
    with servers.tinyproxy(tmp_path) as proxy, Rig(workers=5, proxy=proxy.url, ca=certs.ca) as rig:
        for _ in range(100):
            rig.ask(f"{nginx.url if scheme == 'http' else nginx.tls_url}/4k")
        answers = rig.run()
        assert {answer.content for answer in answers} == {PAGE}, answers[0].error


def test_the_password_of_tinyproxy(nginx: Server, certs: Certs, tmp_path: Path) -> None:
    with servers.tinyproxy(tmp_path, "user", "secret") as proxy, Rig(ca=certs.ca) as rig:
        good = proxy.url.replace("://", "://user:secret@")
        wrong = proxy.url.replace("://", "://user:wrong@")

        def fetch(url: str, proxy_url: str) -> Response:
            return rig.fetch(f"{url}/4k", proxy=proxy_url)

        assert fetch(nginx.url, good).content == PAGE and fetch(nginx.tls_url, good).content == PAGE
        assert fetch(nginx.url, wrong).status_code in (401, 407)
        refused = fetch(nginx.tls_url, wrong)
        assert type(refused.error) is ConnectError and "wrong" not in str(refused.error)


def test_tinyproxy_cannot_reach_the_place(tmp_path: Path) -> None:
    with servers.tinyproxy(tmp_path) as proxy, Rig(proxy=proxy.url) as rig:
        assert rig.fetch("http://127.0.0.1:9/").status_code in (500, 502, 503)
        answer = rig.fetch("https://127.0.0.1:9/")
        assert type(answer.error) is ConnectError and answer.error.phase == "tunnel"


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
@pytest.mark.parametrize("password", [False, True])
def test_through_microsocks(nginx: Server, certs: Certs, tmp_path: Path, kind: str, password: bool) -> None:
    account = ("user", "secret") if password else ()
    with servers.microsocks(tmp_path, *account) as proxy:
        secret = "user:secret@" if password else ""
        with Rig(workers=5, proxy=f"{kind}://{secret}127.0.0.1:{proxy.port}", ca=certs.ca) as rig:
            for number in range(60):
                rig.ask(f"{(nginx.url, nginx.tls_url)[number % 2]}/4k")
            answers = rig.run()
            assert {answer.content for answer in answers} == {PAGE}, answers[0].error
        if password:
            with Rig(proxy=f"{kind}://user:wrong@127.0.0.1:{proxy.port}") as rig:
                answer = rig.fetch(f"{nginx.url}/4k")
                assert answer.status_code == 714 and "wrong" not in str(answer.error)


# -- servers in Python and Rust --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["granian", "hypercorn"])
def test_asgi_servers(tmp_path: Path, name: str) -> None:
    with getattr(servers, name)(tmp_path) as server, Rig(workers=5) as rig:
        lines = b"".join(b"%d\n" % number for number in range(100))
        for number in range(100):
            rig.ask(f"{server.url}/4k", meta={"want": PAGE})
            rig.ask(f"{server.url}/stream", meta={"want": lines})
            rig.ask(f"{server.url}/status/{200 + number % 5}", meta={"want": b""})
            rig.ask(f"{server.url}/echo?n={number}", "POST", f"body {number}", meta={"n": number})
        for answer in rig.run(30.0):
            assert answer.status_code < 300
            if "n" in answer.meta:
                seen = answer.json()
                assert (seen["query"], seen["body"]) == (f"n={answer.meta['n']}", f"body {answer.meta['n']}")
            else:
                assert answer.content == answer.meta["want"]


@pytest.mark.parametrize("name", ["granian", "hypercorn"])
def test_asgi_servers_by_tls_and_with_uploads(tmp_path: Path, certs: Certs, name: str) -> None:
    body = bytes(range(256)) * 4000
    with getattr(servers, name)(tmp_path, certs) as server, Rig(workers=3, ca=certs.ca, force_http1=True) as rig:
        rig.ask(f"{server.tls_url}/echo", "PUT", body)
        rig.ask(f"{server.tls_url}/echo", "POST", iter([body[:1000], body[1000:]]))
        for answer in rig.run(30.0):
            assert answer.json()["body"].encode("latin-1") == body and answer.version == "1.1"
