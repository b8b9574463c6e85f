"""Everything the README shows is run: its Python blocks against a server of ours, its commands by name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.peers import http_peer

README = (ROOT / "README.rst").read_text(encoding="utf-8")
BLOCKS = re.findall(r"\.\. code-block:: python\n\n((?:(?:    .*)?\n)+)", README)


def block(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines())


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number: int, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF" * 50_000)

    def answer(request):
        return 200, [("Content-Type", "application/json")], b'{"path": "%b"}' % request.target.split("?")[0].encode()

    with http_peer(answer) as peer:
        code = block(BLOCKS[number]).replace("http://127.0.0.1:5000", peer.url)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or "screen_logger" in code
    if "714" in code:
        assert done.stdout.startswith("714 connection refused, 127.0.0.1:1\n{'714 Connection Failure': 1}")


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 8
