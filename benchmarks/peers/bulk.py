"""Large bodies, one after another on one line: aquests and curl."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..case import Job, Outcome
from ..child import Tally, race
from ..nghttpd import ANSWER
from .program import run_program

TYPE = "application/octet-stream"
_SAID = r"%{http_version} %{http_code} %{size_download} %{size_upload} %{time_total}\n"


def ours(job: Job) -> Outcome:
    """By the script face."""
    import aquests

    up = job.options["up"]
    body = b"x" * job.size if up else b""
    tally = Tally(job)

    def on_answer(response: aquests.Response) -> None:
        good = response.version == "2.0" and (not up or response.content == b"ok")
        tally.check(response.status_code if good else 0, job.size if up else len(response.content))

    with tally:
        aquests.configure(workers=1, http2_constreams=1, callback=on_answer, ca=job.ca, max_content=job.size)
        for _ in range(job.count):
            if up:
                aquests.post(_answer_url(job), body, {"Content-Type": TYPE})
            else:
                aquests.get(job.url)
        aquests.fetchall()
    return _bulk(tally.outcome(), job.size)


def curl(job: Job) -> Outcome:
    """One curl, with the URL so many times; it says what it did, and how long that took."""
    up = job.options["up"]
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        words = ["--silent", "--http2", "--cacert", job.ca, "--write-out", _SAID]
        if up:
            body = Path(name) / "body"
            body.write_bytes(b"x" * job.size)
            words += ["--data-binary", f"@{body}", "--header", f"Content-Type: {TYPE}", "--header", "Expect:"]
        for _ in range(job.count):
            words += ["--output", "/dev/null", _answer_url(job) if up else job.url]
        text, cpu = run_program("curl", words)
    seconds, bad = 0.0, 0
    lines = text.splitlines()
    for line in lines:
        version, status, down, sent, took = line.split()
        seconds += float(took)
        bad += (version, status, int(sent if up else down)) != ("2", "200", job.size)
    return _bulk(race(len(lines), seconds, cpu, bad, lines[0] if bad else ""), job.size)


def _answer_url(job: Job) -> str:
    return job.url.removesuffix("/bulk") + ANSWER


def _bulk(outcome: Outcome, size: int) -> Outcome:
    outcome["megabytes"] = outcome["rate"] * size / 1e6
    outcome["cpu_ms"] = outcome["cpu_us"] / 1e3
    return outcome
