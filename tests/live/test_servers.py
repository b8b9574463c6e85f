"""The servers of tests/servers.py answer, each in its own way, and go away again."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest

from tests import servers
from tests.certs import Certs
from tests.servers import PAGE
from tests.serving import HOST, Server


def fetch(
    server: Server, path: str, context: ssl.SSLContext | None = None, headers: dict[str, str] | None = None
) -> tuple[HTTPResponse, bytes]:
    line = (
        HTTPSConnection("localhost", server.tls_port, context=context) if context else HTTPConnection(HOST, server.port)
    )
    line.request("GET", path, headers=headers or {})
    response = line.getresponse()
    body = response.read()
    line.close()
    return response, body


def alpn(port: int, context: ssl.SSLContext) -> str | None:
    with socket.create_connection((HOST, port)) as sock, context.wrap_socket(sock, server_hostname="localhost") as line:
        return line.selected_alpn_protocol()


def test_nginx_serves_its_pages(tmp_path: Path) -> None:
    with servers.nginx(tmp_path, extra="location = /more { return 200 more; }") as server:
        assert fetch(server, "/4k")[1] == PAGE
        assert len(fetch(server, "/big")[1]) == servers.BIG
        assert fetch(server, "/gzip/4k", headers={"Accept-Encoding": "gzip"})[0].headers["content-encoding"] == "gzip"
        assert fetch(server, "/redirect")[0].status == 302
        assert fetch(server, "/empty")[0].status == 204
        assert fetch(server, "/basic/4k")[0].status == 401
        secret = base64.b64encode(b"user:secret").decode()
        assert fetch(server, "/basic/4k", headers={"Authorization": f"Basic {secret}"})[1] == PAGE
        assert fetch(server, "/more")[1] == b"more"
        assert b"Active connections" in fetch(server, "/status")[1]
    assert server.process.returncode == 0, server.log()


def test_nginx_keeps_what_is_put(tmp_path: Path) -> None:
    with servers.nginx(tmp_path) as server:
        line = HTTPConnection(HOST, server.port)
        line.request("PUT", "/put/deep/file", body=b"x" * 100_000)
        assert line.getresponse().status == 201
        line.close()
        assert (server.root / "put/deep/file").read_bytes() == b"x" * 100_000


def test_nginx_answers_on_its_unix_socket(tmp_path: Path) -> None:
    with servers.nginx(tmp_path) as server, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(server.path)
        sock.sendall(b"GET /empty HTTP/1.0\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize(("http2", "chosen"), [(False, "http/1.1"), (True, "h2")])
def test_nginx_speaks_tls(tmp_path: Path, certs: Certs, http2: bool, chosen: str) -> None:
    with servers.nginx(tmp_path, certs, http2=http2) as server:
        assert fetch(server, "/4k", certs.client_context())[1] == PAGE
        assert alpn(server.tls_port, certs.client_context(alpn=["h2", "http/1.1"])) == chosen


def test_nghttpd_speaks_http2(tmp_path: Path, certs: Certs) -> None:
    with servers.nghttpd(tmp_path) as server, socket.create_connection((HOST, server.port)) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        assert sock.recv(9)[3] == 4  # a SETTINGS frame
    with servers.nghttpd(tmp_path, certs) as server:
        assert alpn(server.tls_port, certs.client_context(alpn=["h2"])) == "h2"


def test_h2o_speaks_both(tmp_path: Path, certs: Certs) -> None:
    with servers.h2o(tmp_path, certs) as server:
        assert fetch(server, "/4k")[1] == fetch(server, "/4k", certs.client_context())[1] == PAGE
        assert alpn(server.tls_port, certs.client_context(alpn=["h2", "http/1.1"])) == "h2"


@pytest.mark.parametrize("start", [servers.granian, servers.hypercorn])
def test_asgi_servers(start: Callable[..., AbstractContextManager[Server]], tmp_path: Path, certs: Certs) -> None:
    with start(tmp_path) as server:
        assert fetch(server, "/4k")[1] == PAGE
        assert b'"query": "a=b"' in fetch(server, "/echo?a=b")[1]
        assert fetch(server, "/stream")[0].headers["transfer-encoding"] == "chunked"
        assert fetch(server, "/status/503")[0].status == 503
    with start(tmp_path, certs) as server:
        assert fetch(server, "/4k", certs.client_context())[1] == PAGE
        assert alpn(server.tls_port, certs.client_context(alpn=["h2", "http/1.1"])) == "h2"


@pytest.mark.parametrize(
    ("user", "header", "status"), [("", "", 200), ("me", "", 407), ("me", "Basic bWU6c2VjcmV0", 200)]
)
def test_tinyproxy(tmp_path: Path, user: str, header: str, status: int) -> None:
    headers = {"Proxy-Authorization": header} if header else {}
    with servers.nginx(tmp_path) as origin, servers.tinyproxy(tmp_path, user, "secret") as proxy:
        assert fetch(proxy, f"{origin.url}/4k", headers=headers)[0].status == status  # absolute form
        line = HTTPConnection(HOST, proxy.port)
        line.set_tunnel(HOST, origin.port, headers)
        if status == 200:
            line.request("GET", "/4k")
            assert line.getresponse().read() == PAGE
        else:
            with pytest.raises(OSError, match=str(status)):
                line.connect()
        line.close()


@pytest.mark.parametrize(("user", "method"), [("", 0), ("me", 2)])
def test_microsocks(tmp_path: Path, user: str, method: int) -> None:
    with (
        servers.nginx(tmp_path) as origin,
        servers.microsocks(tmp_path, user, "secret") as proxy,
        socket.create_connection((HOST, proxy.port)) as sock,
    ):
        sock.sendall(b"\x05\x02\x00\x02")
        assert sock.recv(2) == bytes([5, method])
        if user:
            sock.sendall(b"\x01\x02me\x06secret")
            assert sock.recv(2) == b"\x01\x00"
        sock.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(HOST) + origin.port.to_bytes(2, "big"))
        assert sock.recv(10)[:2] == b"\x05\x00"
        sock.sendall(b"GET /empty HTTP/1.0\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 204")
