"""The command: options, ``aquests get``, and what holds for all subcommands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aquests import __version__
from aquests.cli import main
from tests.certs import Certs
from tests.command import Ran, run, site, spawn
from tests.helpers import ROOT, until
from tests.peers import Answer, Request, ScriptedPeer, expect, http_peer, refused_port, say, stall
from tests.servers import PAGE

COMMANDS = ("get", "fetch", "demo")


@pytest.fixture
def get(capfdbinary):
    """``aquests get`` in this process."""
    return lambda *argv: run(capfdbinary, "get", *argv)


def echoed(ran: Ran) -> tuple[str, dict[str, str], str]:
    """Method, headers (names in lower case) and body of what /echo has received."""
    assert ran.code == 0, ran.err
    seen = json.loads(ran.out)
    return seen["method"], {name.lower(): value for name, value in seen["headers"]}, seen["body"]


# Options


def test_help_and_version(capfdbinary) -> None:
    ran = run(capfdbinary, "--help")
    assert ran.code == 0
    assert all(command in ran.out.decode() for command in COMMANDS)
    assert run(capfdbinary, "--version").out == f"aquests {__version__}\n".encode()
    ran = run(capfdbinary)
    assert (ran.code, ran.out.startswith(b"usage: aquests")) == (2, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(capfdbinary, command: str) -> None:
    ran = run(capfdbinary, command, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"usage: aquests {command}".encode())
    assert b"exit codes:" in ran.out


def test_help_is_light() -> None:
    """What costs at start is imported by those who need it."""
    code = "import sys; from aquests.cli import main\ntry: main(['fetch', '--help'])\nfinally: print(*sys.modules)"
    out, err = spawn(code=code).communicate()
    loaded = set(out.decode().splitlines()[-1].split())
    assert "aquests.clifetch" in loaded, err
    assert not loaded & {"rich", "granian", "asyncio", "brotli", "idna", "email", "xml", "multiprocessing", "hpack"}


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--vresion"], "aquests: unknown option --vresion: did you mean --version?"),
        (["gte", "x"], "aquests: unknown command 'gte': did you mean 'get'?"),
        (["xyz"], "aquests: unknown command 'xyz': use get, fetch, demo"),
        (["http://user:secret@host/"], "aquests: a command is missing: aquests get URL"),
        (["get"], "aquests get: the following arguments are required: URL"),
        (["get", "URL", "--timout=secret"], "aquests get: unknown option --timout: did you mean --timeout?"),
        (["get", "URL", "--passwort", "secret"], "aquests get: unknown option --passwort"),
        (["get", "--time", "3", "URL"], "aquests get: unknown option --time: did you mean --timeout?"),
        (["fetch", "a", "b"], "aquests fetch: too many arguments"),
        (["get", "-d", "a", "--json", "b", "URL"], "not allowed with argument"),
        (["get", "URL", "--auth", "secret"], "argument --auth: must be USER:PASSWORD; for a token use --bearer TOKEN"),
        (["get", "http://h/", "--auth", "us\ner:secret"], "aquests get: auth: user and password may not hold control"),
        (["get", "http://h/", "--bearer", "sec ret"], "aquests get: auth"),
        (["get", "http://h/", "--auth", "a:b", "--bearer", "secret"], "not allowed with argument"),
        (["get", "http://h/", "-H", "secret"], "argument -H/--header: must be 'Name: value'"),
        (["get", "http://h/", "-H", "A B: secret"], "aquests get: header name 'A…'"),
        (["get", "http://h/", "-H", "A: sec\nret"], "aquests get: header A: U+000A"),
        (["get", "http://h/", "-H", "A: secret\udcff"], "aquests get: header A: U+DCFF may not stand in a value"),
        (["get", "http://h/", "-w", "0"], "aquests get: workers must be a whole number of at least 1, not 0"),
        (["get", "http://h/", "-w", "2.5"], "argument -w/--workers: must be a whole number, like 500, 20k or 1.5m"),
        (["get", "http://h/", "-w", "9" * 400], "argument -w/--workers: must be a whole number"),
        (["get", "http://h/", "--timeout", "soon"], "argument --timeout: must be a time above 0, like 10, 1.5s"),
        (["get", "http://h/", "--timeout", "0"], "argument --timeout: must be a time above 0"),
        (["get", "http://h/", "--deadline", "-1"], "argument --deadline: "),
        (["get", "http://h/", "--proxy", "socks4://u:secret@h:1"], "aquests get: proxy: SOCKS 4 is not spoken"),
        (["get", "http://h/", "--ca", "/absent"], "aquests get: "),
        (["get", "http://h/", "--cert", "/absent:/absent2"], "aquests get: "),
        (["get", "http://h/", "-d", "@/absent"], "aquests get: cannot read /absent: No such file or directory"),
        (["get", "http://h/", "-o", "/absent/x"], "aquests get: cannot write /absent/x: No such file or directory"),
        (["get", "http://h/", "-X", "A B"], "aquests get: 'A B' is not an HTTP method"),
        (["get", "http://u:secret@ho st/"], "aquests get: URL 'http://***@ho"),
        (["get", "ftp://u:secret@host/"], "the scheme 'ftp' is not known"),
        (["get", "http://h/", "http://\udcff/"], "aquests get: URL 'http://"),
        (["fetch", "/absent"], "aquests fetch: cannot read /absent: No such file or directory"),
        (["fetch", "/dev/null", "-w", "0"], "aquests fetch: workers must be"),
        (["fetch", "/dev/null", "-H", "A B: secret"], "aquests fetch: header name 'A…'"),
        (["fetch", "/dev/null", "--bearer", "sec ret"], "aquests fetch: auth"),
        (["fetch", "/dev/null", "-o", "/absent/x"], "aquests fetch: cannot write /absent/x: No such file"),
        (["fetch", "/dev/null", "--save", "/dev/null/x"], "aquests fetch: cannot make /dev/null/x: "),
        (["demo", "-w", "0"], "aquests demo: workers must be"),
        (["demo", "--port", "65536"], "argument --port: must be a number from 0 to 65535"),
    ],
)
def test_wrong_usage(capfdbinary, argv: list[str], hint: str) -> None:
    ran = run(capfdbinary, *argv)
    assert (ran.code, ran.out) == (2, b"")
    assert hint in ran.err
    assert "secret" not in ran.err and "sec ret" not in ran.err
    assert ran.err.endswith("--help\n") and len(ran.err.splitlines()) == 2


@pytest.mark.parametrize("command", ["get", "fetch"])
def test_wrong_usage_leaves_the_output_alone(capfdbinary, tmp_path: Path, command: str) -> None:
    (tmp_path / "urls").write_text("http://127.0.0.1:1/")
    (tmp_path / "out").write_text("of yesterday")
    source = "http://127.0.0.1:1/" if command == "get" else tmp_path / "urls"
    for option in (["-w", "0"], ["--proxy", "x:y:z"], ["--auth", "a\n:b"], ["--ca", "/absent"], ["-H", "A B: c"]):
        assert run(capfdbinary, command, source, "-o", tmp_path / "out", *option).code == 2
    assert (tmp_path / "out").read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("text", "patience"), [("10", 10.0), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120.0), ("1H", 3600.0), (".5", 0.5)]
)
def test_times(monkeypatch: pytest.MonkeyPatch, text: str, patience: float) -> None:
    assert settings(monkeypatch, "--timeout", text, "--deadline", text).items() >= {
        ("timeout", patience),
        ("deadline", patience),
    }


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("2k", 2000), ("1.5K", 1500), ("0.25m", 250_000)])
def test_counts(monkeypatch: pytest.MonkeyPatch, text: str, number: int) -> None:
    assert settings(monkeypatch, "-w", text)["workers"] == number


def settings(monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, object]:
    """What ``configure`` is told."""
    told = {}

    def configure(**given: object) -> None:
        told.update(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("aquests.cli.configure", configure)
    assert main(["get", "http://127.0.0.1:1/", *options]) == 130
    return told


def test_options_become_settings(monkeypatch: pytest.MonkeyPatch, certs: Certs) -> None:
    good = certs.good
    plain = settings(monkeypatch)
    assert (plain["verify"], plain["allow_redirects"], plain["cookie"], plain["proxy"]) == (True, True, False, None)
    options = ["-k", "--no-redirects", "--max-redirects", "3", "--cookies", "--proxy", "socks5://h:1"]
    told = settings(monkeypatch, *options, "--ca", certs.ca, "--cert", f"{good.cert}:{good.key}")
    expected = {"verify": False, "allow_redirects": False, "max_redirects": 3, "cookie": True, "proxy": "socks5://h:1"}
    assert told.items() >= {**expected, "ca": certs.ca, "cert": (good.cert, good.key)}.items()


def test_a_certificate_with_its_key_in_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certs: Certs) -> None:
    both = tmp_path / "with:colon.pem"
    both.write_bytes(Path(certs.good.cert).read_bytes() + Path(certs.good.key).read_bytes())
    assert settings(monkeypatch, "--cert", str(both))["cert"] == str(both)


# get: what is sent


@pytest.mark.parametrize(
    ("argv", "method", "headers", "body"),
    [
        ([], "GET", {"content-type": None}, ""),
        (["-X", "delete"], "DELETE", {}, ""),
        (["-d", "a=1&b=ü"], "POST", {"content-type": "application/x-www-form-urlencoded"}, "a=1&b=Ã¼"),
        (["-d", ""], "POST", {"content-length": "0"}, ""),
        (["-X", "PUT", "-d", "x", "-H", "content-TYPE: text/plain"], "PUT", {"content-type": "text/plain"}, "x"),
        (["--json", "[1]"], "POST", {"content-type": "application/json", "accept": "application/json"}, "[1]"),
        (["-d", "x\udcff"], "POST", {}, "x\xff"),
        (["-H", "X-A: b: c", "-H", "x-a:d"], "GET", {"x-a": "d"}, ""),
        (["-H", "User-Agent:"], "GET", {"user-agent": None}, ""),
        (["--bearer", "token"], "GET", {"authorization": "Bearer token"}, ""),
    ],
)
def test_what_is_sent(get, argv: list[str], method: str, headers: dict[str, str | None], body: str) -> None:
    with http_peer(site) as peer:
        sent_method, sent_headers, sent_body = echoed(get(peer.url + "echo", *argv))
    assert (sent_method, sent_body) == (method, body)
    assert {name: sent_headers.get(name) for name in headers} == headers


def test_data_from_a_file(get, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(range(256)) * 1000)
    with http_peer(site) as peer:
        ran = get(peer.url + "1", peer.url + "2", "-d", f"@{tmp_path / 'body'}")
        bodies = [request.body for request in peer.requests]
    assert ran.code == 0
    assert bodies == [bytes(range(256)) * 1000] * 2


@pytest.mark.parametrize(("argv", "kind"), [(["-d", "-"], None), (["--json", "@-"], "application/json")])
def test_data_from_stdin(argv: list[str], kind: str | None) -> None:
    with http_peer(site) as peer:
        out, err = spawn("get", peer.url + "echo", *argv).communicate(b"[2]")
    assert err == b""
    assert json.loads(out)["body"] == "[2]"
    assert dict(json.loads(out)["headers"]).get("Content-Type") == kind


def test_user_and_password(get) -> None:
    with http_peer(site) as peer:
        assert get(peer.url + "basic", "--auth", "user:pa:ss").out == b"in"
        ran = get(peer.url + "basic", "--auth", "user:secret", "-v")
    assert (ran.code, ran.out) == (1, b"out")
    assert "secret" not in ran.err


def test_tls_options(get, certs: Certs) -> None:
    with http_peer(site, tls=certs.server_context()) as peer:
        assert get(peer.url + "x", "--ca", certs.ca).out == b"/x\n"
        assert get(peer.url + "x", "-k").out == b"/x\n"
        ran = get(peer.url + "x")
    assert (ran.code, ran.out) == (1, b"")
    assert "713 TLS Failure" in ran.err
    with http_peer(site, tls=certs.server_context(ask_client=True)) as peer:
        assert get(peer.url + "x", "--ca", certs.ca, "--cert", f"{certs.client.cert}:{certs.client.key}").code == 0


# get: what is printed


def test_bodies_come_as_they_are_in_the_order_of_the_urls(get) -> None:
    """The first answer comes when all others have come."""
    pages = [f"page{number}" for number in range(5)]
    data = bytes(range(256))

    def responder(request: Request) -> Answer:
        if request.path == "/page0":
            peer.until(lambda: len(peer.requests) == 5)
        return 200, [], request.path.encode() + data

    with http_peer(responder) as peer:
        ran = get(*[peer.url + page for page in pages], "-w", "5")
    assert ran == (0, b"".join(b"/" + page.encode() + data for page in pages), "")


def test_options_may_stand_between_urls(get) -> None:
    with http_peer(site) as peer:
        assert get(peer.url + "1", "-w", "1", peer.url + "2").out == b"/1\n/2\n"


def test_two_dashes_end_the_options(get) -> None:
    with http_peer(site) as peer:
        assert get("-w", "1", "--", peer.url + "1", peer.url + "2").out == b"/1\n/2\n"


def test_headers_on_request(get) -> None:
    with http_peer(site) as peer:
        ran = get(peer.url + "redirect", "-v", "-i")
    head, _, body = ran.out.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
    assert b"X-Path: /page" in head.splitlines()
    assert body == b"/page\n"
    first, second = ran.err.strip().split("\n\n")
    assert first.startswith("HTTP/1.1 302 Found\n") and "Location: /page" in first
    assert second.startswith("HTTP/1.1 200 OK\n") and "X-Path: /page" in second


@pytest.mark.parametrize("option", ["--no-redirects", "-L", "--redirects"])
def test_redirects(get, option: str) -> None:
    with http_peer(site) as peer:
        assert get(peer.url + "redirect", option).out == (b"over there" if option == "--no-redirects" else b"/page\n")


def test_to_a_file(get, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"something longer that was here before")
    with http_peer(site) as peer:
        ran = get(peer.url + "1", peer.url + "2", "-o", path)
    assert ran == (0, b"", "")
    assert path.read_bytes() == b"/1\n/2\n"


def test_failures_are_one_line_each(get) -> None:
    with http_peer(site) as peer, refused_port() as port:
        closed = f"http://user:secret@127.0.0.1:{port}/"
        ran = get(peer.url + "missing", closed, peer.url + "page")
    assert (ran.code, ran.out) == (1, b"nothing here/page\n")
    assert ran.err.splitlines() == [
        f"aquests get: {peer.url}missing: 404 Not Found",
        f"aquests get: http://127.0.0.1:{port}/: 714 Connection Failure (connection refused, 127.0.0.1:{port})",
    ]


def test_nothing_is_sent_when_one_url_is_bad(get, tmp_path: Path) -> None:
    with http_peer(site) as peer:
        ran = get(peer.url, "http://", "-o", tmp_path / "out")
        assert peer.connections == 0
    assert ran.code == 2
    assert not (tmp_path / "out").exists()


def test_timeouts(get) -> None:
    with ScriptedPeer([expect(b"\r\n\r\n"), stall()]) as peer:
        ran = get(peer.url, "--timeout", "50ms")
    assert (ran.code, ran.out) == (1, b"")
    assert "702 Timeout" in ran.err


# As a process


def test_python_dash_m() -> None:
    with http_peer(site) as peer:
        words = [sys.executable, "-W", "error", "-m", "aquests", "get", peer.url + "4k"]
        done = subprocess.run(words, env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, PAGE, b"")


def test_a_broken_pipe_ends_quietly() -> None:
    with http_peer(lambda request: (200, [], b"x" * 200_000)) as peer:
        with spawn("get", *[peer.url] * 50) as child:
            assert child.stdout is not None and child.stderr is not None
            assert child.stdout.read(10) == b"x" * 10
            child.stdout.close()
            assert child.stderr.read() == b""
    assert child.returncode == 1


def test_a_full_disk() -> None:
    with http_peer(site) as peer, open("/dev/full", "wb") as full:
        child = spawn("get", peer.url, stdout=full)
        _, err = child.communicate()
    assert child.returncode == 1
    assert err == b"aquests: cannot write to stdout: No space left on device\n"


def test_closed_standard_streams() -> None:
    command = '"$0" -m aquests get http://127.0.0.1:1/ '

    def shell(streams: str) -> subprocess.CompletedProcess[str]:
        words = ["sh", "-c", command + streams, sys.executable]
        return subprocess.run(words, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    done = shell(">&-")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "aquests get: stdout is closed: name a file to write")
    assert shell("2>&-").returncode == 1
    done = shell("-d - <&-")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "aquests get: stdin is closed: name a file")


def test_ctrl_c() -> None:
    with ScriptedPeer([expect(b"\r\n\r\n"), say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), stall()]) as peer:
        with spawn("get", peer.url, peer.url, "-w", "1") as child:
            until(lambda: peer.connections)
            peer.until(lambda: b"\r\n\r\n" in b"".join(peer.received))
            child.send_signal(signal.SIGINT)
            out, err = child.communicate()
    assert child.returncode == 130
    assert out == b""
    assert b"701 Exception (the run was stopped" in err and b"Traceback" not in err
