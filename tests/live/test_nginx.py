"""What nginx is asked in the same way over HTTP/1.1 in clear and over HTTP/2 by TLS: the answers must be the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aquests.errors import TooLarge
from tests import servers
from tests.certs import Certs
from tests.rig import Rig, codes
from tests.servers import BIG, PAGE

EXTRA = """
    location /moved/ { rewrite ^/moved/(.*)$ /$1 redirect; }
    location = /307 { return 307 /put/file; }
    location = /cookie { add_header Set-Cookie "seen=$cookie_seen+; Path=/"; return 204; }
"""


@dataclass
class Way:
    """Where nginx is, how it is asked there, and where it keeps what is PUT."""

    version: str
    url: str
    settings: dict[str, Any]
    kept: Path

    def rig(self, workers: int = 1, **settings: Any) -> Rig:
        return Rig(workers=workers, **self.settings, **settings)

    def kept_to_one_line(self, rig: Rig) -> bool:
        """Over HTTP/2 a worker needs no other line, whatever happened to its streams."""
        return self.version == "1.1" or rig.engine.stats.connections == 1


@pytest.fixture(scope="module", params=["1.1", "2.0"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certs: Certs) -> Iterator[Way]:
    version = request.param
    with servers.nginx(tmp_path_factory.mktemp("nginx"), certs, http2=version == "2.0", extra=EXTRA) as server:
        kept = server.root / "put"
        if version == "1.1":
            yield Way(version, server.url, {}, kept)
        else:
            yield Way(version, server.tls_url, {"ca": certs.ca, "http2_constreams": 10}, kept)


def test_large_and_small_bodies_do_not_get_mixed_up(way: Way) -> None:
    sizes = {"/4k": len(PAGE), "/big": BIG, "/empty": 0, "/gzip/4k": len(PAGE)}
    with way.rig(workers=8 if way.version == "1.1" else 2) as rig:
        for number in range(80):
            path = list(sizes)[number % 4 if number % 20 else 1]
            rig.ask(way.url + path, meta={"size": sizes[path]})
        for answer in rig.run(30.0):
            assert answer.ok and len(answer.content) == answer.meta["size"] and answer.version == way.version


def test_methods(way: Way) -> None:
    with way.rig() as rig:
        head = rig.fetch(f"{way.url}/4k", "HEAD")
        assert head.ok and head.content == b"" and head.headers["content-length"] == "4096"
        assert rig.fetch(f"{way.url}/4k", "OPTIONS").status_code == 405
        assert rig.fetch(f"{way.url}/4k", "DELETE").status_code == 405
        assert rig.fetch(f"{way.url}/empty").status_code == 204
        assert rig.fetch(f"{way.url}/4k", headers={"Range": "bytes=0-9"}).content == PAGE[:10]
        assert rig.fetch(f"{way.url}/4k", headers={"If-None-Match": head.headers["etag"]}).status_code == 304
        assert rig.fetch(f"{way.url}/none").status_code == 404
        assert rig.fetch(f"{way.url}/4k").content == PAGE, "the line is still in step"
        assert way.kept_to_one_line(rig)


def test_uploads(way: Way, tmp_path: Path) -> None:
    body = os.urandom(3_000_000)
    path = tmp_path / "body"
    path.write_bytes(body)
    with way.rig(workers=4 if way.version == "1.1" else 1) as rig, path.open("rb") as file:
        rig.ask(f"{way.url}/put/bytes", "PUT", body)
        rig.ask(f"{way.url}/put/file", "PUT", file)
        rig.ask(f"{way.url}/put/chunks", "PUT", iter([body[:7], body[7:1_000_000], body[1_000_000:]]))
        rig.ask(f"{way.url}/put/empty", "PUT", b"")
        assert set(codes(rig.run())) <= {201, 204}
        assert way.kept_to_one_line(rig)
        names = ("bytes", "file", "chunks", "empty")
        assert [(way.kept / name).read_bytes() for name in names] == [body, body, body, b""]
        (way.kept / "file").unlink()
        file.seek(0)
        assert rig.fetch(f"{way.url}/307", "PUT", file).status_code == 201
        assert (way.kept / "file").read_bytes() == body, "sent again from its beginning"


def test_compression_and_its_limits(way: Way) -> None:
    with way.rig() as rig:
        answer = rig.fetch(f"{way.url}/gzip/4k")
        assert answer.headers["content-encoding"] == "gzip" and answer.content == PAGE
        plain = rig.fetch(f"{way.url}/gzip/4k", headers={"Accept-Encoding": None})
        assert "content-encoding" not in plain.headers and plain.content == PAGE
        assert isinstance(rig.fetch(f"{way.url}/gzip/4k", max_content=4095).error, TooLarge)
        assert isinstance(rig.fetch(f"{way.url}/big", max_content=BIG - 1).error, TooLarge)
        assert rig.fetch(f"{way.url}/big", max_content=BIG).ok
        assert way.kept_to_one_line(rig), "only streams were reset"


def test_basic_authentication(way: Way) -> None:
    with way.rig() as rig:
        assert rig.fetch(f"{way.url}/basic/4k").status_code == 401
        assert rig.fetch(f"{way.url}/basic/4k", auth=("user", "wrong")).status_code == 401
        for _ in range(3):
            assert rig.fetch(f"{way.url}/basic/4k", auth=("user", "secret")).content == PAGE
        assert rig.engine.sent == 1 + 2 + 2 + 1 + 1


def test_redirects(way: Way) -> None:
    with way.rig() as rig:
        for path in ("/redirect", "/moved/4k", "/moved/redirect"):
            answer = rig.fetch(way.url + path)
            assert answer.content == PAGE and answer.url == f"{way.url}/4k"
            assert [hop.status_code for hop in answer.history] == [302] * (2 if path == "/moved/redirect" else 1)


def test_cookies(way: Way) -> None:
    with way.rig(cookie=True) as rig:
        found = [rig.fetch(f"{way.url}/cookie").cookies["seen"] for _ in range(3)]
        assert found == ["+", "++", "+++"]


def test_a_slow_answer_is_no_silent_one(way: Way) -> None:
    """4 KB/s: the page takes as long as that, and the timeout is shorter."""
    with way.rig(timeout=0.9) as rig:
        assert rig.fetch(f"{way.url}/slow/4k").content == PAGE
