"""XML-RPC calls: by us, and by the standard library's client, which blocks."""

from __future__ import annotations

import threading
from xmlrpc.client import ServerProxy, dumps

from ..case import Job, Outcome
from ..child import Tally

VALUE = ["1.4.20", "1.5.1", "2.0.0"]
ANSWER = dumps((VALUE,), methodresponse=True)
TEMPLATE = dumps(([*VALUE[:-1], f"{VALUE[-1]}$fresh"],), methodresponse=True)
FRESH = 32
"""Letters that make an answer another one."""
ARGUMENTS = ("roundup", True)
THREADS = 10


def ours(job: Job) -> Outcome:
    """All calls are queued, then fetched. With ``fresh`` in the options no two answers are alike."""
    import aquests

    tally = Tally(job)
    url = job.url

    def on_answer(response: aquests.Response) -> None:
        tally.check(response.status_code if response.data == VALUE else 0, len(response.content))

    def on_fresh(response: aquests.Response) -> None:
        good = [*response.data[:-1], response.data[-1][:-FRESH]] == VALUE
        tally.check(response.status_code if good else 0, len(response.content) - FRESH)

    callback = on_answer
    if job.options.get("fresh"):
        url, callback = f"{url}?fresh=1", on_fresh
    with tally:
        aquests.configure(workers=job.lines, callback=callback)
        server = aquests.rpc(url)
        for _ in range(job.count):
            server.package_releases(*ARGUMENTS)
        aquests.fetchall()
    return tally.outcome()


def with_xmlrpc_client(job: Job) -> Outcome:
    """One proxy: one line, one call after another."""
    tally = Tally(job)
    with tally, ServerProxy(job.url, use_builtin_types=True) as server:
        for _ in range(job.count):
            tally.check(200 if server.package_releases(*ARGUMENTS) == VALUE else 0, job.size)
    return tally.outcome()


def with_threads(job: Job) -> Outcome:
    """A proxy for each thread: the waiting of one is the time of another."""
    tally = Tally(job)
    lock = threading.Lock()
    left = iter(range(job.count))

    def call() -> None:
        with ServerProxy(job.url, use_builtin_types=True) as server:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                good = server.package_releases(*ARGUMENTS) == VALUE
                with lock:
                    tally.check(200 if good else 0, job.size)

    with tally:
        threads = [threading.Thread(target=call) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tally.outcome()
