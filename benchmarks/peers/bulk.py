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

    up, plain = job.options["up"], job.options.get("http1", False)
    url = _url(job)
    version = "1.1" if plain else "2.0"
    body = b"x" * job.size if up else b""
    tally = Tally(job)

    def on_answer(response: aquests.Response) -> None:
        good = response.version == version and (not up or response.content == b"ok")
        tally.check(response.status_code if good else 0, job.size if up else len(response.content))

    with tally:
        aquests.configure(workers=1, http2_constreams=1, force_http1=plain)
        aquests.configure(callback=on_answer, ca=job.ca or None, max_content=job.size)
        for _ in range(job.count):
            if up:
                aquests.post(_answer_url(job), body, {"Content-Type": TYPE})
            else:
                aquests.get(url)
        aquests.fetchall()
    return _bulk(tally.outcome(), job.size)


def curl(job: Job) -> Outcome:
    """One curl, with the URL so many times; it says what it did, and how long that took."""
    up, plain = job.options["up"], job.options.get("http1", False)
    version = "1.1" if plain else "2"
    with tempfile.TemporaryDirectory(prefix="aquests-bench-") as name:
        words = ["--silent", "--http1.1" if plain else "--http2", "--cacert", job.ca, "--write-out", _SAID]
        if up:
            body = Path(name) / "body"
            body.write_bytes(b"x" * job.size)
            words += ["--data-binary", f"@{body}", "--header", f"Content-Type: {TYPE}", "--header", "Expect:"]
        for _ in range(job.count):
            words += ["--output", "/dev/null", _answer_url(job) if up else _url(job)]
        text, cpu = run_program("curl", words)
    seconds, bad = 0.0, 0
    lines = text.splitlines()
    for line in lines:
        spoken, status, down, sent, took = line.split()
        seconds += float(took)
        bad += (spoken, status, int(sent if up else down)) != (version, "200", job.size)
    return _bulk(race(len(lines), seconds, cpu, bad, lines[0] if bad else ""), job.size)


def _url(job: Job) -> str:
    """The page, or the same one without TLS."""
    return job.beside if job.options.get("clear") else job.url


def _answer_url(job: Job) -> str:
    return job.url.removesuffix("/bulk") + ANSWER


def _bulk(outcome: Outcome, size: int) -> Outcome:
    outcome["megabytes"] = outcome["rate"] * size / 1e6
    outcome["cpu_ms"] = outcome["cpu_us"] / 1e3
    return outcome
