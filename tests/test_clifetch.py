"""``aquests fetch``: lines in, lines out, nothing lost, little memory."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.clifetch import Fetch, Plan, body_text, file_name, merged, parse_line
from aquests.demo import servers
from aquests.errors import RequestError
from aquests.httprequest import HttpRequest
from aquests.lib.console import Brake, Output, Progress
from aquests.lib.lines import LineReader
from aquests.script import script
from tests.command import Ran, by_line, run, site, spawn
from tests.helpers import until
from tests.peers import Answer, Request, ScriptedPeer, expect, http_peer, refused_port, stall

FIELDS = ["line", "url", "status", "reason", "version", "elapsed", "bytes", "error", "meta"]


@pytest.fixture
def fetch(capfdbinary, tmp_path: Path):
    """``aquests fetch`` of some lines in this process."""

    def call(lines: list[str] | bytes, *options: Any) -> Ran:
        text = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
        (tmp_path / "urls").write_bytes(text)
        return run(capfdbinary, "fetch", tmp_path / "urls", *options)

    return call


# Parsing


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"http://h/", ("http://h/", "GET", {}, None, "null")),
        ("http://h/ü".encode(), ("http://h/ü", "GET", {}, None, "null")),
        (b'{"url": "u"}', ("u", "GET", {}, None, "null")),
        (b'{"url": "u", "data": "x"}', ("u", "POST", {}, "x", "null")),
        (b'{"url": "u", "method": "PUT", "data": {"a": 1}}', ("u", "PUT", {}, {"a": 1}, "null")),
        (b'{"url": "u", "method": null, "headers": null, "data": null}', ("u", "GET", {}, None, "null")),
        (
            b'{"url": "u", "headers": {"A": "b"}, "meta": {"k": [1, 2.5]}}',
            ("u", "GET", {"A": "b"}, None, '{"k": [1, 2.5]}'),
        ),
        ('{"url": "u", "meta": {"k": "ü\\ud800"}}'.encode(), ("u", "GET", {}, None, '{"k": "\\u00fc\\ud800"}')),
    ],
)
def test_good_lines(raw: bytes, expected: tuple[Any, ...]) -> None:
    line = parse_line(raw)
    assert (line.url, line.method, line.headers, line.data, line.meta) == expected


BAD_LINES = [
    (None, "it is longer than 16 MiB: write one URL or one JSON object a line"),
    (b"http://h/\xff", "byte 10 is not UTF-8: convert the file"),
    (b'{"url": "u"', "no JSON (Expecting ',' delimiter: line 1 column 12 (char 11)): write an object in one line"),
    (b'{"url": "u"} {}', "no JSON (Extra data"),
    (b'{"url": "u", "meta": {"k": NaN}}', "no JSON (NaN is no JSON number)"),
    (b'{"url": "u", "meta": {"k": -1e999}}', "no JSON (-1e999 is too large a number)"),
    (b'{"url": "u", "meta": {"k": ' + b"1" * 5000 + b"}}", "no JSON (Exceeds the limit"),
    (b'{"url": ' + b"[" * 100_000, "the JSON is nested too deep"),
    (b"{}", 'url is missing: write {"url": "http://…"}'),
    (b'{"url": null}', "url is missing"),
    (b'{"url": "u", "metod": "POST"}', "unknown key 'metod': did you mean 'method'?"),
    (b'{"url": "u", "verify": false}', "unknown key 'verify': use url, method, headers, data, meta"),
    (b'{"url": 7}', "url must be a string"),
    (b'{"url": "u", "method": 7}', 'method must be a string like "POST"'),
    (b'{"url": "u", "headers": ["A: b"]}', 'headers must be an object like {"Accept": "text/html"}'),
    (b'{"url": "u", "data": 7}', "data must be a string, an object, or an array as JSON"),
    (b'{"url": "u", "data": true}', "data must be a string, an object, or an array as JSON"),
    (b'{"url": "u", "meta": "x"}', "meta must be an object"),
]


@pytest.mark.parametrize(("raw", "hint"), BAD_LINES)
def test_bad_lines(raw: bytes | None, hint: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_line(raw)
    assert caught.value.message.startswith(hint)


@pytest.mark.parametrize(
    ("common", "own", "result"),
    [
        ([], {}, []),
        ([("A", "1"), ("A", "2")], {}, [("A", "1"), ("A", "2")]),
        ([("Accept", "1"), ("B", "2")], {"accept": "3"}, [("B", "2"), ("accept", "3")]),
        ([("A", "1")], {"a": None}, [("a", None)]),
    ],
)
def test_headers_are_merged(common: list[tuple[str, str]], own: dict[str, Any], result: list[tuple[str, Any]]) -> None:
    assert list(merged(common, own)) == result


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/", "00000007-index"),
        ("http://h", "00000007-index"),
        ("http://h/a/page.html?x=/y#z", "00000007-page.html"),
        ("http://h/a/b/", "00000007-b"),
        ("http://h/..", "00000007-index"),
        ("http://h/a/%2e%2e%2fetc", "00000007-_2e_2e_2fetc"),
        ("http://h/.hidden", "00000007-hidden"),
        ("http://h/a%20b;c=1", "00000007-a_20b_c_1"),
        ("http://h/back\\slash", "00000007-back_slash"),
        ("http://h/" + "x" * 300, "00000007-" + "x" * 100),
        ("http://h/" + "x" * 300 + ".html", "00000007-" + "x" * 95 + ".html"),
        ("http://h/" + "x" * 50 + "." + "y" * 300, "00000007-" + "x" * 50 + "." + "y" * 49),
    ],
)
def test_file_names(url: str, name: str) -> None:
    assert file_name(7, url) == name


@given(st.integers(1, 10**12), st.text())
def test_any_file_name_stays_in_its_directory(number: int, url: str) -> None:
    name = file_name(number, url)
    assert os.path.basename(name) == name and name not in (".", "..")
    assert name.isascii() and name.isprintable() and len(name) <= 120


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("http://127.0.0.1:1/")
VALUES = ATOMS | st.lists(ATOMS, max_size=2) | st.dictionaries(st.text(max_size=5), ATOMS, max_size=2)
KEYS = st.sampled_from(["url", "method", "headers", "data", "meta", "metod"])
LINES = (
    st.binary(max_size=40)
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.text(max_size=20).map(lambda text: ("http://127.0.0.1/" + text).encode("utf-8", "surrogatepass"))
    | st.dictionaries(KEYS, VALUES, max_size=4).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"url": st.just("http://127.0.0.1:1/")},
        optional={"headers": VALUES, "data": VALUES, "meta": VALUES, "method": st.text(max_size=5)},
    ).map(lambda value: json.dumps(value).encode())
)


@given(LINES)
def test_every_line_is_a_request_or_says_what_is_wrong(raw: bytes) -> None:
    source, sink = os.pipe()
    output = Output(sink, lambda: None)
    job = Fetch(LineReader(source), Plan(), output, Progress("", shown=False), Brake(lambda: None))
    request = job._request(12, raw)
    output.flush()
    os.close(sink)
    with open(source, "rb") as file:
        written = file.read()
    if request is None:
        (entry,) = by_line(written)
        assert list(entry) == FIELDS
        assert entry["error"].startswith("line 12: ")
        assert (job.bad, job.ok, job.complaints()) == (1, False, ["bad lines    1"])
    else:
        assert isinstance(request, HttpRequest)
        assert (written, job.bad, job.ok) == (b"", 0, True)


# Answers


def test_one_line_for_each_answer(fetch) -> None:
    with http_peer(site) as peer, refused_port() as port:
        lines = [
            "\ufeff" + peer.url + "page",
            "# a comment",
            "",
            peer.url + "redirect",
            json.dumps({"url": peer.url + "missing", "meta": {"id": 5}}),
            f"http://user:secret@127.0.0.1:{port}/",
            "http://",
            peer.url + "last",
        ]
        ran = fetch(lines)
    assert ran.code == 1
    assert [list(entry) for entry in ran.lines] == [FIELDS] * 6
    rows = [[entry[name] for name in ("line", "url", "status", "reason", "bytes", "meta")] for entry in ran.lines]
    assert rows == [
        [1, peer.url + "page", 200, "OK", 6, None],
        [4, peer.url + "page", 200, "OK", 6, None],
        [5, peer.url + "missing", 404, "Not Found", 12, {"id": 5}],
        [6, f"http://127.0.0.1:{port}/", 714, "Connection Failure", 0, None],
        [7, None, None, None, None, None],
        [8, peer.url + "last", 200, "OK", 6, None],
    ]
    assert [entry["error"] for entry in ran.lines if entry["error"]] == [
        f"connection refused, 127.0.0.1:{port}",
        "line 7: URL 'http://': the host is missing: write 'http://example.com/'",
    ]
    assert all(0 < entry["elapsed"] < 10 for entry in ran.lines if entry["status"] == 200)
    assert ran.err.startswith("5 requests in ")
    assert ran.err.endswith("\nbad lines    1\n")


@pytest.mark.parametrize(("lines", "code"), [([], 0), (["page"], 0), (["page", "missing"], 1), (["page", "#"], 0)])
def test_exit_codes(fetch, lines: list[str], code: int) -> None:
    with http_peer(site) as peer:
        ran = fetch([line if line == "#" else peer.url + line for line in lines])
    assert ran.code == code
    assert len(ran.lines) == len([line for line in lines if line != "#"])


def test_bad_lines_are_reported_with_their_meta(fetch) -> None:
    with http_peer(site) as peer:
        ran = fetch(b'{"url": "nonsense", "meta": {"id": 1}}\n{"url":\n' + peer.url.encode())
    first, second, third = ran.lines
    assert (ran.code, first["meta"], second["meta"], third["status"]) == (1, {"id": 1}, None, 200)
    assert first["error"].startswith("line 1: URL 'nonsense': http:// is missing")
    assert second["error"].startswith("line 2: no JSON (")


def test_json_lines(fetch) -> None:
    json_type = {"content-type": "application/json"}
    asked: list[tuple[dict[str, Any], tuple[str, str | None, str]]] = [
        ({}, ("GET", None, "")),
        ({"data": {"a": "b c"}}, ("POST", "application/x-www-form-urlencoded", "a=b+c")),
        ({"data": "raw"}, ("POST", "application/x-www-form-urlencoded", "raw")),
        (
            {"data": {"a": [1]}, "headers": {"content-type": "application/json"}},
            ("POST", "application/json", '{"a": [1]}'),
        ),
        ({"data": [1, 2], "headers": json_type}, ("POST", "application/json", "[1, 2]")),
        ({"method": "patch", "data": "x", "headers": {"Content-Type": "text/x"}}, ("PATCH", "text/x", "x")),
    ]
    with http_peer(site) as peer:
        ran = fetch([json.dumps({"url": peer.url + "echo", **line}) for line, _ in asked], "--body")
    assert ran.code == 0
    for entry, (_, (method, content_type, body)) in zip(ran.lines, asked, strict=True):
        seen = json.loads(entry["body"])
        headers = {name.lower(): value for name, value in seen["headers"]}
        assert (seen["method"], headers.get("content-type")) == (method, content_type)
        assert seen["body"].replace(" ", "") == body.replace(" ", "")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ({"headers": {"A": "\ud800"}}, "line 1: header A: U+D800"),
        ({"headers": {"A B": "x"}}, "line 1: header name 'A…'"),
        ({"headers": {"A": {}}}, "line 1: header A: a value must be str"),
        ({"method": "A B"}, "line 1: 'A B' is not an HTTP method"),
        ({"data": {"a": {"b": 1}}}, "line 1: "),
        ({"data": "\ud800"}, "line 1: "),
    ],
)
def test_requests_that_cannot_be_made(fetch, line: dict[str, Any], hint: str) -> None:
    with http_peer(site) as peer:
        ran = fetch([json.dumps({"url": peer.url, **line, "meta": {"id": 1}}), peer.url])
    assert [entry["status"] for entry in ran.lines] == [None, 200]
    assert ran.lines[0]["error"].startswith(hint)
    assert ran.lines[0]["meta"] == {"id": 1}


def test_data_nested_deep(fetch) -> None:
    """Whether it can be read, and then encoded, depends on the interpreter; that there is an answer does not."""
    with http_peer(site) as peer:
        values = [("[" * depth + "]" * depth) for depth in (*range(100, 2000, 10), 50_000, 200_000)]
        deep = [f'{{"url": "{peer.url}", "data": {value}}}' for value in values]
        deep += [f'{{"url": "{peer.url}", "meta": {{"k": {value}}}}}' for value in values]
        ran = fetch(deep, "-H", "Content-Type: application/json")
    statuses = re.findall(rb'^\{"line": \d+, .*"status": (\w+)', ran.out, re.MULTILINE)
    assert sorted({*statuses}) == [b"200", b"null"]
    assert len(statuses) == len(deep)


def test_an_array_as_data_must_be_json(fetch) -> None:
    ran = fetch(['{"url": "http://127.0.0.1:1/", "data": ["a", "b"]}'])
    assert ran.lines[0]["error"] == 'line 1: an array as data needs "Content-Type": "application/json" in the headers'


def test_options_count_for_every_line(fetch) -> None:
    with http_peer(site) as peer:
        lines = [peer.url + "echo", json.dumps({"url": peer.url + "echo", "headers": {"x-b": "own"}})]
        ran = fetch(lines, "--body", "-H", "X-A: 1", "-H", "X-A: 2", "-H", "X-B: common", "--bearer", "token")
    seen = [json.loads(entry["body"])["headers"] for entry in ran.lines]
    assert [[value for name, value in headers if name == "X-A"] for headers in seen] == [["1", "2"]] * 2
    assert [[value for name, value in headers if name.lower() == "x-b"] for headers in seen] == [["common"], ["own"]]
    assert all(["Authorization", "Bearer token"] in headers for headers in seen)


@pytest.mark.parametrize(
    ("content_type", "content", "text"),
    [
        ("text/plain", b"caf\xc3\xa9", "café"),
        ("text/plain; charset=latin-1", b"caf\xe9", "café"),
        ("application/problem+json", b"{}", "{}"),
        ("x/y; charset=latin-1", b"caf\xe9", "café"),
        ("", b"text after all", "text after all"),
        ("image/png", b"\x89PNG", None),
        ("application/jsonish", b"\xff", None),
    ],
)
def test_body_text(content_type: str, content: bytes, text: str | None) -> None:
    class Response:
        headers = {"content-type": content_type} if content_type else {}
        text = content.decode("latin-1" if "latin-1" in content_type else "utf-8", "replace")

    Response.content = content  # type: ignore[attr-defined]
    assert body_text(Response()) == text  # type: ignore[arg-type]


def test_bodies_on_request(fetch) -> None:
    with (
        http_peer(lambda request: (200, [], b"\xff\xfe" if request.path == "/binary" else b"text")) as peer,
        refused_port() as port,
    ):
        ran = fetch([peer.url, peer.url + "binary", f"http://127.0.0.1:{port}/"], "--body")
        assert "body" not in fetch([peer.url]).lines[0]
    assert [entry["body"] for entry in ran.lines] == ["text", None, None]


def test_to_a_file(fetch, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with http_peer(site) as peer:
        ran = fetch([peer.url], "-o", out)
        assert (ran.code, ran.out) == (0, b"")
        assert [entry["status"] for entry in by_line(out.read_bytes())] == [200]
        ran = fetch([peer.url], "-o", tmp_path / "urls")
    assert ran.code == 2
    assert "cannot be written as well" in ran.err
    assert (tmp_path / "urls").read_text() == peer.url


def test_random_order(fetch) -> None:
    with http_peer(site) as peer:
        ran = fetch([f"{peer.url}{number}" for number in range(200)], "--random", "-w", "1")
        order = [request.path for request in peer.requests]
    assert ran.code == 0
    assert [entry["line"] for entry in ran.lines] == list(range(1, 201))
    assert order != [f"/{number}" for number in range(200)]


def test_cookies(fetch) -> None:
    def responder(request: Request) -> Answer:
        return 200, [("Set-Cookie", "a=b")], (request.header("Cookie") or "").encode()

    with http_peer(responder) as peer:
        ran = fetch([peer.url] * 2, "--cookies", "--body", "-w", "1")
    assert [entry["body"] for entry in ran.lines] == ["", "a=b"]


def test_a_deadline(fetch) -> None:
    with ScriptedPeer([expect(b"\r\n\r\n"), stall()]) as peer:
        ran = fetch([peer.url], "--deadline", "50ms")
    assert (ran.code, ran.lines[0]["status"], ran.lines[0]["reason"]) == (1, 702, "Timeout")


# Saved bodies


def test_bodies_are_saved(fetch, tmp_path: Path) -> None:
    into = tmp_path / "a" / "b"
    with http_peer(site) as peer, refused_port() as port:
        lines = [peer.url + "x/page.html", peer.url + "missing", "http://", f"http://127.0.0.1:{port}/", peer.url]
        ran = fetch(lines, "--save", into)
    names = ["00000001-page.html", "00000002-missing", None, None, "00000005-index"]
    assert [entry.get("file") for entry in ran.lines] == [name and str(into / name) for name in names]
    assert {path.name: path.read_bytes() for path in into.iterdir()} == {
        "00000001-page.html": b"/x/page.html\n",
        "00000002-missing": b"nothing here",
        "00000005-index": b"/\n",
    }


def test_a_link_is_not_followed(fetch, tmp_path: Path) -> None:
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.write_bytes(b"precious")
    into.mkdir()
    (into / "00000001-page").symlink_to(outside)
    with http_peer(site) as peer:
        ran = fetch([peer.url + "page", peer.url + "other"], "--save", into)
    first, second = ran.lines
    assert ran.code == 1
    assert (first["status"], first["file"]) == (200, None)
    assert first["error"].startswith(f"not saved in {into}/00000001-page: ")
    assert second["error"] is None
    assert outside.read_bytes() == b"precious"
    assert ran.err.endswith("not saved    1\n")


# As a process: pipes, signals, memory


def test_lines_from_a_pipe_are_sent_and_answered_at_once() -> None:
    """Neither the next line nor the end of the input is waited for: with nothing in flight, and with something."""
    stalled = threading.Event()

    def responder(request: Request) -> Answer:
        if request.path == "/slow":
            stalled.wait(5.0)
        return 200, [], b""

    with http_peer(responder) as peer, spawn("fetch", "-", "-w", "5") as child:
        assert child.stdin is not None and child.stdout is not None
        tell, listen = child.stdin, child.stdout

        def ask(path: str) -> None:
            tell.write(f"{peer.url}{path}\n".encode())
            tell.flush()

        def answer() -> tuple[int, str]:
            entry = json.loads(listen.readline())
            return entry["line"], entry["url"].removeprefix(peer.url)

        ask("first")
        assert answer() == (1, "first")
        ask("slow")
        until(lambda: len(peer.requests) == 2)
        ask("third")
        assert answer() == (3, "third")
        tell.write(b"# a comment\nhttp://\n")
        tell.flush()
        assert json.loads(listen.readline())["line"] == 5
        stalled.set()
        assert answer() == (2, "slow")
        ask("last")
        assert answer() == (6, "last")
        tell.close()
        assert listen.read() == b""
        assert child.stderr is not None and b"4 requests in" in child.stderr.read()
    assert child.returncode == 1


def test_an_empty_stdin() -> None:
    child = spawn("fetch", "-")
    out, err = child.communicate(b"")
    assert (child.returncode, out, err) == (0, b"", b"no requests\n")
    child = spawn("fetch", "-", stdin=subprocess.DEVNULL)  # which no poller takes
    out, err = child.communicate()
    assert (child.returncode, out, err) == (0, b"", b"no requests\n")


def test_a_broken_pipe_ends_with_the_report(tmp_path: Path) -> None:
    with http_peer(site) as peer:
        (tmp_path / "urls").write_text(f"{peer.url}\n" * 5000)
        with spawn("fetch", tmp_path / "urls") as child:
            assert child.stdout is not None and child.stderr is not None
            child.stdout.readline()
            child.stdout.close()
            err = child.stderr.read().decode()
    assert child.returncode == 1
    assert " requests in " in err and "Traceback" not in err and "cannot write" not in err
    assert "5,000 requests" not in err


def test_a_full_disk(tmp_path: Path) -> None:
    with http_peer(site) as peer, open("/dev/full", "wb") as full:
        (tmp_path / "urls").write_text(peer.url)
        child = spawn("fetch", tmp_path / "urls", stdout=full)
        _, err = child.communicate()
    assert child.returncode == 1
    assert err.endswith(b"\naquests: cannot write to stdout: No space left on device\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_with_whole_lines_and_the_report(number: int, code: int) -> None:
    """The input is a pipe that stays open, and one answer is outstanding."""
    over = threading.Event()

    def responder(request: Request) -> Answer:
        if request.path == "/slow":
            over.wait(5.0)
        return 200, [], b""

    with http_peer(responder) as peer:
        with spawn("fetch", "-") as child:
            assert child.stdin is not None and child.stdout is not None and child.stderr is not None
            child.stdin.write(f"{peer.url}\n{peer.url}slow\n".encode())
            child.stdin.flush()
            assert json.loads(child.stdout.readline())["line"] == 1
            child.send_signal(number)
            entries = by_line(child.stdout.read())
            err = child.stderr.read()
        over.set()
    assert child.returncode == code
    assert [(entry["line"], entry["error"].partition(",")[0]) for entry in entries] == [(2, "the run was stopped")]
    assert b", interrupted\n" in err and b"Traceback" not in err


def test_a_signal_while_waiting_for_a_line() -> None:
    with spawn("fetch", "-") as child, http_peer(site) as peer:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        child.stdin.write(f"{peer.url}\n".encode())
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["line"] == 1
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == b""
        assert b"1 request in" in child.stderr.read()
    assert child.returncode == 130


@pytest.mark.parametrize("both", [False, True])
def test_progress_is_shown_where_it_does_not_mix_with_the_lines(both: bool) -> None:
    ours, theirs = pty.openpty()
    shown = b""
    streams: dict[str, Any] = {"stderr": theirs, "stdout": theirs if both else subprocess.DEVNULL}
    with http_peer(site) as peer, spawn("fetch", "-", **streams) as child:
        os.close(theirs)
        assert child.stdin is not None
        child.stdin.write(f"{peer.url}\n".encode())
        child.stdin.flush()
        while (b'"line": 1' if both else b"1 done") not in shown:
            shown += os.read(ours, 65536)
        child.stdin.close()
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while piece := os.read(ours, 65536):
                shown += piece
    os.close(ours)
    assert child.returncode == 0
    assert (b"fetching" in shown) != both
    assert b"1 request in" in shown


MEMORY = """
import sys
from aquests.cli import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, peak.split()[1], file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not say how much memory was used")
def test_memory_is_flat(tmp_path: Path) -> None:
    def peak(number: int) -> int:
        """KiB that a run with so many lines needs at most."""
        (tmp_path / "urls").write_text("".join(f"{url}{place}\n" for place in range(number)))
        with (tmp_path / "out").open("wb") as out:
            _, err = spawn("fetch", tmp_path / "urls", "-w", "20", code=MEMORY, stdout=out).communicate()
        code, kibibytes = err.split()[-2:]
        assert int(code) == 0, err.decode()
        with (tmp_path / "out").open("rb") as out:
            assert sorted(json.loads(line)["line"] for line in out) == list(range(1, number + 1))
        return int(kibibytes)

    with servers(names=["HTTP/1.1"]) as running:
        url = running.found["HTTP/1.1"]["url"]
        few, many = peak(5000), peak(50_000)
    assert many - few < 8192, f"{few} KiB for 5,000 lines, {many} KiB for 50,000"


def test_input_that_breaks_off(capfdbinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(fd: int, size: int) -> bytes:
        raise OSError(5, "Input/output error")

    (tmp_path / "urls").write_text("http://127.0.0.1:1/")
    monkeypatch.setattr("aquests.lib.lines.os.read", read)
    ran = run(capfdbinary, "fetch", tmp_path / "urls")
    assert (ran.code, ran.out, ran.err) == (
        1,
        b"",
        "no requests\ninput        ended after line 0: Input/output error\n",
    )


def test_nothing_of_a_run_stays_in_the_engine(fetch) -> None:
    before = script.made
    with http_peer(site) as peer:
        fetch([peer.url])
    assert script.made is before
