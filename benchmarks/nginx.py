"""nginx with one worker on the server's core, set up as distributions do it: the page is a file.

Or it is in the configuration itself (``memory_page``), which is nginx at its quickest.

The tests have an nginx too, but one of another kind: that one serves files and needs pytest, which who
only measures does not have.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from .case import Site, Wanted
from .certificate import Files, certificate
from .machine import Absent
from .process import HOST, START, free_ports, running

PIECE = 1024
"""Bytes of a word in the configuration; 4,096 are too many for nginx."""

_CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {dir}/pid;
error_log stderr;
events {{ worker_connections {descriptors}; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    server_tokens off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {host}:{port} backlog=4096{ssl};
        listen {host}:{beside} backlog=4096;
        {certificate}{more}
        set $fresh "";
        if ($arg_fresh) {{ set $fresh $request_id; }}
        set $piece "{piece}";
        location = /page {{ {page} }}
        location = /status {{ stub_status; }}
    }}
}}
"""


def page(wanted: Wanted) -> AbstractContextManager[Site]:
    """A page of ``wanted.size`` bytes by HTTP/1.1."""
    return _nginx(wanted, tls=False)


def memory_page(wanted: Wanted) -> AbstractContextManager[Site]:
    """The same, from nginx's memory: no file is opened for it."""
    return _nginx(wanted, tls=False, text=_piecewise(wanted.size))


def secure_page(wanted: Wanted) -> AbstractContextManager[Site]:
    """The same over TLS; a CA and a certificate are made for the run."""
    return _nginx(wanted, tls=True)


def multiplexed_page(wanted: Wanted) -> AbstractContextManager[Site]:
    """The same over TLS and HTTP/2."""
    return _nginx(wanted, tls=True, http2=True)


def document(wanted: Wanted, text: str) -> AbstractContextManager[Site]:
    """``text``, which is XML of at most a page without double quotes, whatever is asked or sent.

    ``$fresh`` in it is nothing, but 32 other letters in each answer to a URL that ends in ``?fresh=1``.
    """
    return _nginx(wanted, tls=False, kind="text/xml", text=text)


def differing_page(wanted: Wanted) -> AbstractContextManager[Site]:
    """``multiplexed_page``, and in each answer a header that was never sent before: 32 digits, as tracing has it."""
    return _nginx(wanted, tls=True, http2=True, more="\n        add_header X-Request-Id $request_id;")


@contextmanager
def _nginx(
    wanted: Wanted, *, tls: bool, http2: bool = False, kind: str = "text/plain", text: str = "", more: str = ""
) -> Iterator[Site]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Absent("nginx is not installed")
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # started by root, its worker is somebody else
        port, beside = free_ports(2)
        files = certificate(directory) if tls else None
        config = _CONFIG.format(
            dir=directory,
            host=HOST,
            port=port,
            beside=beside,
            descriptors=wanted.lines + 4096,
            ssl=(" ssl" if tls else "") + (" http2" if http2 else ""),
            certificate=_words(files) if files else "",
            more=more,
            piece="x" * PIECE,
            page=f'default_type {kind}; return 200 "{text}";' if text else f"default_type {kind}; root {directory};",
        )
        (directory / "nginx.conf").write_text(config)
        (directory / "page").write_text("x" * wanted.size)
        command = [program, "-p", name, "-e", "stderr", "-c", f"{name}/nginx.conf"]
        with running(command, wanted.core, lambda: _counters(beside)):
            yield Site(
                url=f"http{'s' if tls else ''}://{HOST}:{port}/page",
                size=wanted.size,
                ca=files.ca if files else "",
                beside=f"http://{HOST}:{beside}/page",
                counters=lambda: _counters(beside),
            )


def _words(files: Files) -> str:
    return f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key};"


def _piecewise(size: int) -> str:
    return "$piece" * (size // PIECE) + "x" * (size % PIECE)


def _counters(port: int) -> tuple[int, int]:
    """Connections accepted and requests answered, without those that ask for it."""
    connection = HTTPConnection(HOST, port, timeout=START)
    try:
        connection.request("GET", "/status")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = re.search(r"(\d+) \d+ (\d+)", text)
    if found is None:
        raise RuntimeError(f"not the status of nginx: {text!r}")
    return int(found[1]), int(found[2])
