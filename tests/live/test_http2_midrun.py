"""HTTP/2 servers with odd settings, and those that answer before they have heard all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests import servers
from tests.certs import Certs
from tests.rig import Rig
from tests.servers import HOST, PAGE
from tests.serving import new_room, require_program, running


@pytest.mark.parametrize(
    "option",
    [
        "--push=/4k=/other",
        "--trailer=x-sum: 7",
        "--padding=200",
        "--window-bits=8",
        "--connection-window-bits=8",
        "--max-concurrent-streams=1",
        "--encoder-header-table-size=0",
        "--header-table-size=0",
        "--header-table-size=65536",
        "--no-content-length",
        "--echo-upload",
    ],
)
def test_nghttpd(option: str, tmp_path: Path) -> None:
    program, directory = require_program("nghttpd"), new_room(tmp_path, "nghttpd")
    for name in ("4k", "other"):
        (directory / name).write_bytes(PAGE)

    def command(port: int, tls_port: int) -> list[str]:
        return [program, "-a", HOST, "-d", str(directory), option, "--no-tls", str(port)]

    body = bytes(range(256)) * 800
    with running(command, directory) as server, Rig(workers=2, http2_constreams=20, timeout=5) as run:
        for number in range(300):
            upload = option == "--echo-upload" and number % 10 == 0
            run.ask(f"{server.url}/4k", "POST" if upload else "GET", body if upload else None, h2c="prior")
        for answer in run.run():
            assert answer.status_code == 200 and answer.content == (body if answer.request.payload else PAGE)
            assert answer.trailers.get("x-sum") == ("7" if "--trailer" in option else None)
        assert run.engine.stats.connections == 2 and run.engine.stats.retries == 0


def test_nginx_refuses_uploads_at_once(tmp_path: Path, certs: Certs) -> None:
    """413 and RST_STREAM come while three megabytes are on their way; the line goes on."""
    extra = "location /small/ { client_max_body_size 10k; dav_methods PUT; }"
    with servers.nginx(tmp_path, certs, http2=True, extra=extra) as server:
        with Rig(workers=1, http2_constreams=10, ca=certs.ca, timeout=5) as run:
            for number in range(20):
                run.ask(f"{server.tls_url}/small/{number}", "PUT", bytes(3_000_000))
                run.ask(f"{server.tls_url}/small/{number}", "PUT", iter([bytes(100_000)] * 30))
                run.ask(f"{server.tls_url}/4k")
            answers = run.run(30.0)
            assert Counter((answer.status_code, answer.request.method) for answer in answers) == {
                (413, "PUT"): 40,
                (200, "GET"): 20,
            }
            assert run.engine.stats.connections == 1


def test_an_upgrade_waits_for_a_request_without_a_body(tmp_path: Path) -> None:
    """What has a body goes by HTTP/1.1 as long as the line is that; then by HTTP/2."""
    body = b"x" * 100_000
    with servers.hypercorn(tmp_path) as server, Rig(timeout=5) as run:
        for payload, version in [(body, "1.1"), (body, "1.1"), (None, "2.0"), (body, "2.0")]:
            answer = run.fetch(f"{server.url}/echo", "POST" if payload else "GET", payload, h2c="upgrade")
            assert answer.version == version and len(answer.json()["body"]) == len(payload or b"")
        assert run.engine.stats.connections == 1
