"""The script face: configure, queue, fetchall, counters, lazy sources, Ctrl-C."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

import pytest

import aquests
from aquests.errors import RequestError
from aquests.exchange import Response
from aquests.script import script
from tests.face import own_engine
from tests.helpers import ROOT
from tests.peers import HttpPeer, ScriptedPeer, http_peer, refused_port, stall

READERS = ("get", "head", "options", "trace", "delete")
WRITERS = ("post", "put", "patch")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Each test has a default engine of its own."""
    with own_engine():
        script.result = None
        yield


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with http_peer(lambda request: (200, [], request.target.encode())) as peer:
        yield peer


# -- the promise ---------------------------------------------------------------------------------------------------


def test_the_script_of_the_documentation(peer: HttpPeer, capsys: pytest.CaptureFixture[str]) -> None:
    def finish_request(response: Response) -> None:
        print(response.meta["req_id"], response.status_code, len(response.content), response.meta["job_name"])

    aquests.configure(workers=10, callback=finish_request)
    for _ in range(100):
        aquests.get(peer.url, meta={"job_name": "test1"})
    report = aquests.fetchall()
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted(f"{number} 200 1 test1" for number in range(100))
    assert report is aquests.result
    assert report.as_dict()["tasks"] == 100 and peer.connections == 10
    assert "100" in str(report)


def test_without_configure(peer: HttpPeer, capsys: pytest.CaptureFixture[str]) -> None:
    with refused_port() as port:
        request = aquests.get(f"{peer.url}page")
        aquests.get(f"http://127.0.0.1:{port}/")
        aquests.fetchall()
    assert request.response is not None and request.response.ok
    assert capsys.readouterr().out.splitlines() == [
        "REQID 0. HTTP/1.1 200 OK 5 bytes received",
        f"REQID 1. HTTP/1.1 714 Connection Failure (connection refused, 127.0.0.1:{port})",
    ]


def test_positions_of_configure(peer: HttpPeer) -> None:
    answers: list[Response] = []
    aquests.configure(5, None, answers.append, 3, True, True, 4, False, True, False)
    settings = script.engine.settings
    assert (settings.workers, settings.timeout, settings.cookie, settings.force_http1) == (5, 3, True, True)
    assert (settings.http2_constreams, settings.allow_redirects) == (4, False)
    assert (settings.qrandom, settings.use_pool) == (True, False)
    for _ in range(10):
        aquests.get(peer.url)
    aquests.fetchall()
    assert len(answers) == 10 == peer.connections


def test_an_empty_queue() -> None:
    report = aquests.fetchall()
    assert report is aquests.result and report.as_dict()["tasks"] == 0
    assert str(report) == "no requests"
    assert aquests.fetchall() is not report


def test_one_run_after_the_other(peer: HttpPeer) -> None:
    answers: list[Response] = []
    aquests.configure(3, callback=answers.append)
    for count in (5, 7):
        for _ in range(count):
            aquests.get(peer.url)
        assert aquests.fetchall().as_dict()["tasks"] == count
        assert (aquests.countreq(), aquests.countfin(), aquests.qsize(), aquests.workings()) == (0, 0, 0, 0)
    assert sorted(answer.meta["req_id"] for answer in answers[5:]) == list(range(7)), "numbers begin anew"


def test_configured_again_with_work_in_the_queue(peer: HttpPeer) -> None:
    first: list[Response] = []
    second: list[Response] = []
    aquests.configure(2, callback=first.append)
    for _ in range(5):
        aquests.get(peer.url)
    aquests.configure(4, callback=second.append)
    aquests.get(peer.url, callback=first.append)
    aquests.fetchall()
    assert (len(first), len(second)) == (1, 5)


def test_the_counters_from_inside_a_callback(peer: HttpPeer) -> None:
    seen = []

    def count(response: Response) -> None:
        seen.append((aquests.countreq(), aquests.countfin(), aquests.qsize(), aquests.workings()))
        if len(seen) == 1:
            aquests.get(peer.url)
            seen.append((aquests.countreq(), aquests.countfin(), aquests.qsize(), aquests.workings()))

    aquests.configure(1, callback=count, http2_constreams=3)
    assert aquests.concurrent() == 3
    aquests.get(peer.url)
    aquests.get(peer.url)
    assert (aquests.qsize(), aquests.workings()) == (2, 0)
    aquests.fetchall()
    assert seen == [(1, 1, 1, 0), (1, 1, 2, 0), (2, 2, 1, 0), (3, 3, 0, 0)]


def test_fetchall_in_a_callback_does_no_harm(peer: HttpPeer) -> None:
    caught: list[RuntimeError] = []

    def nested(response: Response) -> None:
        try:
            aquests.fetchall()
        except RuntimeError as error:
            caught.append(error)

    aquests.configure(2, callback=nested)
    for _ in range(6):
        aquests.get(peer.url)
    report = aquests.fetchall()
    assert len(caught) == 6 and report.as_dict()["tasks"] == 6
    assert report.as_dict()["errors"] == {}


# -- verbs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [verb + form for verb in READERS for form in ("", "form", "json", "xml", "nvp")])
def test_readers(peer: HttpPeer, kind: str) -> None:
    answers: list[Response] = []
    aquests.configure(callback=answers.append)
    getattr(aquests, kind)(peer.url, {"a": "b c"}, {"X-Mine": "1"})
    getattr(aquests, kind)(peer.url, params={"a": 1}, headers={"X-Mine": "1"}, timeout=5)
    aquests.fetchall()
    assert [answer.meta["req_method"] for answer in answers] == [kind, kind]
    method = next(verb for verb in READERS if kind.startswith(verb)).upper()
    assert [request.method for request in peer.requests] == [method, method]
    assert [request.target for request in peer.requests] == ["/?a=b+c", "/?a=1"]
    assert peer.requests[0].header("x-mine") == "1" and peer.requests[0].body == b""
    assert (peer.requests[0].header("accept") == "application/json") == kind.endswith("json")


@pytest.mark.parametrize("verb", WRITERS)
@pytest.mark.parametrize(
    ("form", "sent", "content_type"),
    [
        ("", b"a=b+c", "application/x-www-form-urlencoded"),
        ("form", b"a=b+c", "application/x-www-form-urlencoded"),
        ("json", b'{"a":"b c"}', "application/json"),
        ("nvp", b"", "text/namevalue"),
    ],
)
def test_writers(peer: HttpPeer, verb: str, form: str, sent: bytes, content_type: str) -> None:
    aquests.configure(callback=lambda response: None)
    getattr(aquests, verb + form)(peer.url, {"a": "b c"}, {"X-Mine": "1"}, params={"q": 1})
    aquests.fetchall()
    (request,) = peer.requests
    assert (request.method, request.target) == (verb.upper(), "/?q=1")
    assert request.header("content-type") == content_type and request.header("x-mine") == "1"
    assert request.body == sent if sent else b"b c" in request.body


def test_upload(peer: HttpPeer, tmp_path: Any) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        request = aquests.upload(peer.url, {"field": "value", "file": file}, callback=lambda response: None)
        aquests.fetchall()
    assert request.response is not None and request.response.ok
    (sent,) = peer.requests
    assert (sent.header("content-type") or "").startswith("multipart/form-data; boundary=")
    assert b'name="field"' in sent.body and b'filename="file.txt"' in sent.body and b"content" in sent.body


def test_a_request_made_by_hand(peer: HttpPeer) -> None:
    answers: list[Response] = []
    request = aquests.Request("PROPFIND", peer.url, b"x", callback=answers.append)
    assert aquests.qsize() == 0
    assert aquests.submit(request) is request and aquests.qsize() == 1
    with pytest.raises(RequestError, match="queued already"):
        aquests.submit(request)
    aquests.fetchall()
    with pytest.raises(RequestError, match="queued already"):
        aquests.submit(request)
    assert len(answers) == 1 and peer.requests[0].method == "PROPFIND"


def test_misspelt_keywords_and_bad_urls_leave_no_trace() -> None:
    for act in (
        lambda: aquests.get("http://host/", time_out=5),  # type: ignore[call-arg]
        lambda: aquests.post("http://host/", b"", mta={}),  # type: ignore[call-arg]
        lambda: aquests.upload("http://host/", {"a": "b"}, verfy=True),  # type: ignore[call-arg]
        lambda: aquests.configure(wokers=5),
    ):
        with pytest.raises(TypeError):
            act()
    for bad in (lambda: aquests.get("nowhere"), lambda: aquests.configure(workers=0)):
        with pytest.raises(RequestError):
            bad()
    assert aquests.qsize() == 0 and aquests.fetchall().as_dict()["tasks"] == 0


# -- lazy sources --------------------------------------------------------------------------------------------------


def test_a_source_of_everything(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Response] = []
    drawn = 0

    def source() -> Iterator[Any]:
        nonlocal drawn
        for number in range(100):
            drawn += 1
            assert drawn - number // 5 - aquests.countfin() <= 2 * 4 + 1  # every fifth is refused
            match number % 5:
                case 0:
                    aquests.get(f"{peer.url}{number}")
                    yield None
                case 1:
                    yield f"{peer.url}{number}"
                case 2:
                    yield aquests.Request("PUT", f"{peer.url}{number}", b"x")
                case 3:
                    yield aquests.post(f"{peer.url}{number}", b"x")
                case _:
                    yield 5

    aquests.configure(4, callback=answers.append)
    aquests.feed(source())
    with caplog.at_level(logging.ERROR):
        report = aquests.fetchall()
    assert len(answers) == 80 and drawn == 100
    assert report.as_dict()["callback_errors"] == 20
    assert "a source yields URLs and requests, not int" in caplog.text
    assert sorted(answer.content for answer in answers) == sorted(
        b"/%d" % number for number in range(100) if number % 5 != 4
    )


def test_the_logger_that_was_given(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    def broken(response: Response) -> None:
        raise LookupError("the callback is broken")

    aquests.configure(logger=logging.getLogger("mine"), callback=broken)
    aquests.get(peer.url)
    with caplog.at_level(logging.ERROR, "mine"):
        assert aquests.fetchall().as_dict()["callback_errors"] == 1
    assert [record.name for record in caplog.records] == ["mine"]
    assert "LookupError: the callback is broken" in caplog.text


def test_in_a_thread(peer: HttpPeer) -> None:
    """Signals belong to the main thread; the rest works everywhere."""
    reports = []

    def run() -> None:
        aquests.configure(2, callback=lambda response: None)
        for _ in range(10):
            aquests.get(peer.url)
        reports.append(aquests.fetchall())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10.0)
    assert reports[0].as_dict()["tasks"] == 10


# -- Ctrl-C --------------------------------------------------------------------------------------------------------

COMMON = """
import json, sys, time
import aquests
from aquests.script import script
good, silent = sys.argv[1:]
answers = []
"""

FIRST = (
    COMMON
    + """
def note(response):
    answers.append([response.meta["req_id"], response.status_code, type(response.error).__name__])
    if len(answers) == 5:
        for _ in range(10):
            aquests.get(silent)
        print("working", flush=True)

aquests.configure(3, callback=note, timeout=60, trust_env=False)
for _ in range(5):
    aquests.get(good)
report = aquests.fetchall()
print(json.dumps({"answers": answers, "tasks": report.as_dict()["tasks"], "interrupted": report.interrupted,
                  "queued": aquests.qsize(), "working": aquests.workings(), "lines": script.engine.lines}), flush=True)
aquests.configure(10, callback=note, timeout=0.2, trust_env=False)
report = aquests.fetchall()
print(json.dumps({"tasks": report.as_dict()["tasks"], "interrupted": report.interrupted}))
"""
)

SECOND = (
    COMMON
    + """
def stubborn(response):
    print("working", flush=True)
    while not script.engine._stopping:
        time.sleep(0.005)
    print("stopping", flush=True)
    while True:
        time.sleep(0.005)  # one long sleep would not notice a signal that came just before it

aquests.configure(1, callback=stubborn, trust_env=False)
aquests.get(good)
aquests.get(good)
try:
    aquests.fetchall()
except KeyboardInterrupt:
    print(json.dumps({"queued": aquests.qsize(), "lines": script.engine.lines}))
"""
)

OWN = (
    COMMON
    + """
import signal
came = []
signal.signal(signal.SIGINT, lambda number, frame: came.append(number) or script.engine.stop())
aquests.configure(1, callback=answers.append, timeout=60, trust_env=False)
aquests.get(silent)
script.engine.loop.soon(lambda: print("working", flush=True))
aquests.fetchall()
print(json.dumps({"came": len(came), "same": signal.getsignal(signal.SIGINT).__name__}))
"""
)


class Child:
    """A script in a process of its own."""

    def __init__(self, code: str, *arguments: str):
        command = [sys.executable, "-c", code, *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.out: IO[str] = self.process.stdout

    def interrupt_when(self, line: str) -> None:
        found = self.out.readline().strip()
        assert found == line, self.process.communicate(timeout=10.0)[1]
        self.process.send_signal(signal.SIGINT)

    def end(self) -> list[Any]:
        """What it has printed as JSON."""
        out, err = self.process.communicate(timeout=20.0)
        assert (self.process.returncode, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_the_first_ctrl_c_ends_the_run_with_a_report(peer: HttpPeer) -> None:
    with ScriptedPeer([stall()]) as silent, Child(FIRST, peer.url, silent.url) as child:
        child.interrupt_when("working")
        first, second = child.end()
    assert sorted(first["answers"][:5]) == [[number, 200, "NoneType"] for number in range(5)]
    cancelled = first["answers"][5:]
    assert {tuple(answer[1:]) for answer in cancelled} <= {(701, "Cancelled")} and len(cancelled) <= 3
    assert first["interrupted"] is True
    assert first["tasks"] == len(first["answers"]) and first["tasks"] + first["queued"] == 15
    assert (first["working"], first["lines"]) == (0, 0)
    assert second == {"tasks": first["queued"], "interrupted": False}, "what was queued is still there"


def test_the_second_ctrl_c_ends_it_at_once(peer: HttpPeer) -> None:
    with Child(SECOND, peer.url, "") as child:
        child.interrupt_when("working")
        child.interrupt_when("stopping")
        assert child.end() == [{"queued": 1, "lines": 0}]


def test_a_handler_of_the_programs_own_is_kept(peer: HttpPeer) -> None:
    with ScriptedPeer([stall()]) as silent, Child(OWN, "", silent.url) as child:
        child.interrupt_when("working")
        assert child.end() == [{"came": 1, "same": "<lambda>"}]
