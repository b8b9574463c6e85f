"""Queuing: how long a call takes, and what a request that waits weighs. Nothing is sent."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Sequence
from time import perf_counter

import aquests

from .case import Case, Column, Entry, Job, Outcome

_BODY = b"x" * 64
_FIELDS = {"name": "value", "number": 1}


def get(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.get(url)


def get_meta(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.get(url, meta={"job_name": "test1"})


def get_headers(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.get(url, headers={"X-Token": "abc"})


def get_params(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.get(url, _FIELDS)


def getjson(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.getjson(url)


def post(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.post(url, _BODY)


def postform(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.postform(url, _FIELDS)


def postjson(urls: Sequence[str]) -> None:
    for url in urls:
        aquests.postjson(url, _FIELDS)


FORMS: dict[str, tuple[str, Callable[[Sequence[str]], None]]] = {
    "get": ("get(url)", get),
    "get_meta": ("get(url, meta={1 pair})", get_meta),
    "get_headers": ("get(url, headers={1 pair})", get_headers),
    "get_params": ("get(url, {2 pairs})", get_params),
    "getjson": ("getjson(url)", getjson),
    "post": ("post(url, 64 bytes)", post),
    "postform": ("postform(url, {2 pairs})", postform),
    "postjson": ("postjson(url, {2 pairs})", postjson),
}


def run(job: Job) -> Outcome:
    """Time the calls; then weigh some more of them, since weighing takes time. The URLs are there before."""
    queue = FORMS[job.options["form"]][1]
    urls = [f"http://127.0.0.1:5000/page/{number}" for number in range(job.count)]
    queue(urls[:1])  # the first call makes the engine
    started = perf_counter()
    queue(urls)
    seconds = perf_counter() - started
    sample = urls[: max(1, job.count // 5)]
    gc.collect()
    tracemalloc.start()
    queue(sample)
    gc.collect()
    nbytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    if aquests.qsize() != 1 + len(urls) + len(sample):
        return {"count": job.count, "bad": 1, "wrong": f"{aquests.qsize()} are queued"}
    return {"count": job.count, "us": seconds / job.count * 1e6, "bytes": nbytes / len(sample)}


CASE = Case(
    name="queueing",
    title="queuing a request",
    entries=tuple(Entry(title, "queueing:run", options={"form": form}) for form, (title, _) in FORMS.items()),
    columns=(Column("us", "µs/call", "{:.2f}"), Column("bytes", "bytes/request")),
    bases=("get(url)",),
    count=100_000,
    note="{count:,} calls with different URLs, in one go; the bytes are those beyond the URL that was given.",
)
