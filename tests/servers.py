"""Real servers for ``tests/live``: started in the foreground, on ports of the system's choice, without root.

Each is a context manager that yields a ``Server`` once it answers, and skips the test where the program
is not installed (see ``tests/live/conftest.py`` about skips that fail).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.asgi import PAGE
from tests.certs import Certs, tls_certs
from tests.serving import HOST, Server, new_room, require_package, require_program, running

__all__ = [
    "PAGE",
    "Certs",
    "granian",
    "h2o",
    "hypercorn",
    "microsocks",
    "nginx",
    "nghttpd",
    "tinyproxy",
    "tls_certs",
]

BIG = 8 * 1024 * 1024
"""Bytes of nginx's /big."""


# --- nginx -------------------------------------------------------------------------------------------------

_NGINX = """\
daemon off;
worker_processes 1;
{user}
pid {dir}/pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    server_tokens off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_max_body_size 0;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    default_type text/plain;
    server {{
        listen {host}:{port};
        listen unix:{dir}/sock;
        {tls}
        root {dir}/root;
        location /gzip/ {{ alias {dir}/root/; gzip on; gzip_min_length 0; gzip_types *; gzip_http_version 1.0; }}
        location /basic/ {{ alias {dir}/root/; auth_basic "nginx"; auth_basic_user_file {dir}/users; }}
        location /slow/ {{ alias {dir}/root/; limit_rate 4k; }}
        location /put/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
        location = /redirect {{ return 302 /4k; }}
        location = /empty {{ return 204; }}
        location = /status {{ stub_status; }}
        {extra}
    }}
}}
"""


@contextlib.contextmanager
def nginx(directory: Path, certs: Certs | None = None, *, http2: bool = False, extra: str = "") -> Iterator[Server]:
    """nginx with one worker, keep-alive without end, and no access log.

    /4k and /big (``PAGE`` and ``BIG`` bytes), /gzip/4k (compressed if asked), /basic/4k (user and secret),
    /slow/4k, /redirect, /empty, /status (its counters), PUT and DELETE in /put/. With ``certs`` also TLS on a
    second port, with ``http2`` by ALPN there. ``extra`` is put into the server block.
    """
    program = require_program("nginx")
    directory = new_room(directory, "nginx")
    root = directory / "root"
    (root / "put").mkdir(parents=True)
    (root / "4k").write_bytes(PAGE)
    (root / "big").write_bytes(bytes(range(256)) * (BIG // 256))
    (directory / "users").write_text("user:{PLAIN}secret\n")

    def command(port: int, tls_port: int) -> list[str]:
        config = _NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",  # nobody may not enter the directories of pytest
            dir=directory,
            host=HOST,
            port=port,
            tls=_nginx_tls(program, tls_port, certs, http2) if certs else "",
            extra=extra,
        )
        (directory / "nginx.conf").write_text(config)
        return [program, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]

    with running(command, directory, tls=certs is not None) as server:
        server.path, server.root = str(directory / "sock"), root
        yield server


def _nginx_tls(program: str, port: int, certs: Certs, http2: bool) -> str:
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", version)
    new = found is not None and tuple(map(int, found.groups())) >= (1, 25, 1)  # "listen … http2" is deprecated since
    listen = f"listen {HOST}:{port} ssl{' http2' if http2 and not new else ''};"
    switch = "http2 on;" if http2 and new else ""
    return f"{listen} {switch} ssl_certificate {certs.good.cert}; ssl_certificate_key {certs.good.key};"


# --- other servers of the system -----------------------------------------------------------------------------


@contextlib.contextmanager
def nghttpd(directory: Path, certs: Certs | None = None) -> Iterator[Server]:
    """nghttp2's server: /4k by HTTP/2 only, in clear by prior knowledge, or by TLS if there are ``certs``."""
    program = require_program("nghttpd")
    directory = new_room(directory, "nghttpd")
    (directory / "4k").write_bytes(PAGE)
    options = ["-a", HOST, "-d", str(directory)]

    def command(port: int, tls_port: int) -> list[str]:
        if certs is None:
            return [program, *options, "--no-tls", str(port)]
        return [program, *options, str(tls_port), certs.good.key, certs.good.cert]

    with running(command, directory, clear=certs is None, tls=certs is not None) as server:
        yield server


_H2O = """\
num-threads: 1
{user}
listen: {{host: {host}, port: {port}}}
{tls}
http2-max-concurrent-requests-per-connection: 20
hosts: {{default: {{paths: {{"/": {{file.dir: {dir}/root}}}}}}}}
"""


@contextlib.contextmanager
def h2o(directory: Path, certs: Certs | None = None) -> Iterator[Server]:
    """h2o: /4k by HTTP/1.1 and HTTP/2, in clear also by upgrade, and with ``certs`` by TLS on a second port."""
    program = require_program("h2o")
    directory = new_room(directory, "h2o")
    (directory / "root").mkdir()
    (directory / "root" / "4k").write_bytes(PAGE)

    def command(port: int, tls_port: int) -> list[str]:
        ssl = f"ssl: {{certificate-file: {certs.good.cert}, key-file: {certs.good.key}}}" if certs else ""
        config = _H2O.format(
            user="user: root" if os.geteuid() == 0 else "",
            host=HOST,
            port=port,
            tls=f"listen: {{host: {HOST}, port: {tls_port}, {ssl}}}" if certs else "",
            dir=directory,
        )
        (directory / "h2o.conf").write_text(config)
        return [program, "-m", "worker", "-c", str(directory / "h2o.conf")]

    with running(command, directory, tls=certs is not None) as server:
        yield server


@contextlib.contextmanager
def tinyproxy(directory: Path, user: str = "", password: str = "") -> Iterator[Server]:
    """An HTTP proxy: absolute form and CONNECT (to any port), with Basic authentication if there is a user."""
    program = require_program("tinyproxy")
    directory = new_room(directory, "tinyproxy")

    def command(port: int, _: int) -> list[str]:
        config = [f"Port {port}", f"Listen {HOST}", "Timeout 600", "MaxClients 200", "LogLevel Warning"]
        if user:
            config.append(f"BasicAuth {user} {password}")
        (directory / "tinyproxy.conf").write_text("\n".join(config) + "\n")
        return [program, "-d", "-c", str(directory / "tinyproxy.conf")]

    with running(command, directory) as server:
        yield server


@contextlib.contextmanager
def microsocks(directory: Path, user: str = "", password: str = "") -> Iterator[Server]:
    """A SOCKS5 proxy, with user name and password (RFC 1929) if there is a user.

    It tries only one address of a name, and ``localhost`` may be ::1 first: -b makes it choose one of IPv4.
    """
    program = require_program("microsocks")

    def command(port: int, _: int) -> list[str]:
        secret = ["-u", user, "-P", password] if user else []
        return [program, "-i", HOST, "-p", str(port), "-b", HOST, *secret]

    with running(command, new_room(directory, "microsocks")) as server:
        yield server


# --- servers from wheels -------------------------------------------------------------------------------------


@contextlib.contextmanager
def granian(directory: Path, certs: Certs | None = None, *, http: str = "auto") -> Iterator[Server]:
    """``tests/asgi.py`` on granian: HTTP/1.1, HTTP/2 and WebSocket, in clear or, with ``certs``, by TLS."""
    require_package("granian")
    options = ["--interface", "asgi", "--host", HOST, "--http", http, "--no-access-log"]

    def command(port: int, tls_port: int) -> list[str]:
        files = ["--ssl-certificate", certs.good.cert, "--ssl-keyfile", certs.good.key] if certs else []
        number = tls_port if certs else port
        return [sys.executable, "-m", "granian", *options, "--port", str(number), *files, "tests.asgi:app"]

    with running(command, new_room(directory, "granian"), clear=certs is None, tls=certs is not None) as server:
        yield server


@contextlib.contextmanager
def hypercorn(directory: Path, certs: Certs | None = None) -> Iterator[Server]:
    """``tests/asgi.py`` on hypercorn: HTTP/1.1, HTTP/2 and WebSocket, in clear and, with ``certs``, by TLS."""
    require_package("hypercorn")

    def command(port: int, tls_port: int) -> list[str]:
        places = ["--bind", f"{HOST}:{port}"]
        if certs:
            places = ["--insecure-bind", f"{HOST}:{port}", "--bind", f"{HOST}:{tls_port}"]
            places += ["--certfile", certs.good.cert, "--keyfile", certs.good.key]
        return [sys.executable, "-m", "hypercorn", "--graceful-timeout", "0", *places, "tests.asgi:app"]

    with running(command, new_room(directory, "hypercorn"), tls=certs is not None) as server:
        yield server
