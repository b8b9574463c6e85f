"""The guards of the test suite bite: leftovers fail a test, and required live tests must not be skipped."""

from __future__ import annotations

import os

import pytest

from tests.helpers import ROOT, Leftovers

LEAVERS = """
import socket, subprocess, threading
KEEP = []
def test_thread():
    threading.Thread(target=threading.Event().wait, args=(60,), daemon=True).start()
def test_process():
    KEEP.append(subprocess.Popen(["sleep", "3"]))
def test_socket():
    KEEP.append(socket.socket())
def test_ring():
    ring = [socket.socket()]
    ring.append(ring)
def test_innocent():
    with socket.socket():
        pass
"""

SKIPPERS = {
    "test_body.py": "import pytest\ndef test_a(): pytest.skip('because')",
    "test_mark.py": "import pytest\n@pytest.mark.skipif(True, reason='because')\ndef test_a(): pass",
    "test_fixture.py": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('because')\ndef test_a(f): pass",
    "test_file.py": "import pytest\npytest.skip('because', allow_module_level=True)",
}


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest in a process of its own, with the project's configuration."""
    configuration = (ROOT / "pyproject.toml").read_text().replace('testpaths = ["tests"]', 'testpaths = ["."]')
    pytester.makepyprojecttoml(configuration.replace('pythonpath = ["."]', f'pythonpath = ["{ROOT}"]'))
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def live_room(pytester: pytest.Pytester, files: dict[str, str]) -> None:
    """A directory with the hooks of tests/live and these files, and a test elsewhere that is skipped."""
    room = pytester.mkpydir("live")
    (room / "conftest.py").write_text((ROOT / "tests" / "live" / "conftest.py").read_text())
    for name, text in files.items():
        (room / name).write_text(text)
    pytester.makepyfile("import pytest\ndef test_elsewhere(): pytest.skip('fine')")


def test_a_test_that_leaves_something_behind_fails(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import _nothing_left")
    pytester.makepyfile(LEAVERS)
    result = run(pytester)
    result.assert_outcomes(passed=5, errors=4)
    for name in ("thread", "process", "socket", "ring"):
        result.stdout.fnmatch_lines([f"ERROR *::test_{name} - *"])
    result.stdout.fnmatch_lines(["left behind: thread *"])
    result.stdout.fnmatch_lines(["left behind: process * sleep"])
    result.stdout.fnmatch_lines(["left behind: 1 open sockets"])
    result.stdout.fnmatch_lines(["*ResourceWarning: unclosed*"])


def test_what_was_there_before_is_not_left_behind() -> None:
    assert Leftovers().find() == []


@pytest.mark.parametrize("required", ["", "0"])
def test_live_tests_may_be_skipped(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str) -> None:
    monkeypatch.setenv("AQUESTS_REQUIRE_LIVE", required)
    live_room(pytester, SKIPPERS)
    result = run(pytester)
    result.assert_outcomes(skipped=5)
    assert result.ret == 0


def test_live_tests_may_not_be_skipped_where_they_are_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AQUESTS_REQUIRE_LIVE", "1")
    live_room(pytester, SKIPPERS)
    result = run(pytester, "--continue-on-collection-errors")
    result.assert_outcomes(skipped=1, failed=1, errors=3)
    text = result.stdout.str()
    for name in SKIPPERS:
        assert f"live/{name}" in text
    assert text.count("was skipped, but AQUESTS_REQUIRE_LIVE is set: ") >= len(SKIPPERS)


def test_live_tests_are_marked(pytester: pytest.Pytester) -> None:
    live_room(pytester, {"test_live.py": "def test_a(): pass"})
    run(pytester, "-m", "live").assert_outcomes(passed=1, deselected=1)


def test_the_environment_says_nothing_to_the_library() -> None:
    names = {name.lower() for name in os.environ}
    assert names & {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "sslkeylogfile", "ssl_cert_file"} == set()
