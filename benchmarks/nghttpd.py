"""nghttpd, nghttp2's server in C, with a large file: it serves that, and takes bodies of any size to their end.

nginx would not do for uploads: it either answers before the body is there, or hands it on to somebody else, and so is
the brake itself. The windows are 16 MiB for all clients.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .case import Site, Wanted
from .machine import Absent, package_version, pinned

HOST = "127.0.0.1"
START = 15.0
"""Seconds it may take to answer, on a loaded machine."""
ANSWER = "/answer"
"""What is small: the answer to an upload."""


@contextmanager
def bulk(wanted: Wanted) -> Iterator[Site]:
    """``/bulk`` has ``wanted.size`` bytes; a POST to ``ANSWER`` is read to its end, and gets two back."""
    program = shutil.which("nghttpd") or shutil.which("nghttpd", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Absent("nghttpd is not installed")
    if package_version("trustme") is None:
        raise Absent("trustme is not installed")
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        directory = Path(name)
        key, certificate, ca = _certificate(directory)
        (directory / "bulk").write_bytes(random.Random(1).randbytes(wanted.size))
        (directory / ANSWER[1:]).write_bytes(b"ok")
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        command = [program, "-a", HOST, "-d", name, "-w", "24", "-W", "24", str(port), key, certificate]
        with (directory / "output").open("wb") as output, pinned(wanted.core):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _await(process, port, directory / "output")
            yield Site(url=f"https://{HOST}:{port}/bulk", size=wanted.size, ca=ca)
        finally:
            process.terminate()
            process.wait()


def _certificate(directory: Path) -> tuple[str, str, str]:
    """Files: the key, the certificate, and the CA that vouches for it."""
    import trustme

    key, certificate, ca = (str(directory / name) for name in ("site.key", "site.pem", "ca.pem"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca)
    leaf = authority.issue_cert(HOST, "localhost")
    Path(certificate).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(key)
    return key, certificate, ca


def _await(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=START).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"nghttpd does not start: {output.read_text(errors='replace')}")
