"""nghttpd, nghttp2's server in C, with a large file: it serves that, and takes bodies of any size to their end.

nginx would not do for uploads: it either answers before the body is there, or hands it on to somebody else, and so is
the brake itself. The windows are 16 MiB for all clients.
"""

from __future__ import annotations

import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .case import Site, Wanted
from .certificate import certificate
from .machine import Absent
from .process import HOST, START, free_ports, running

ANSWER = "/answer"
"""What is small: the answer to an upload."""


@contextmanager
def bulk(wanted: Wanted) -> Iterator[Site]:
    """``/bulk`` has ``wanted.size`` bytes; a POST to ``ANSWER`` is read to its end, and gets two back."""
    program = shutil.which("nghttpd") or shutil.which("nghttpd", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Absent("nghttpd is not installed")
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        directory = Path(name)
        files = certificate(directory)
        (directory / "bulk").write_bytes(random.Random(1).randbytes(wanted.size))
        (directory / ANSWER[1:]).write_bytes(b"ok")
        (port,) = free_ports(1)
        command = [program, "-a", HOST, "-d", name, "-w", "24", "-W", "24", str(port), files.key, files.certificate]
        with running(command, wanted.core, lambda: socket.create_connection((HOST, port), START).close()):
            yield Site(url=f"https://{HOST}:{port}/bulk", size=wanted.size, ca=files.ca)
