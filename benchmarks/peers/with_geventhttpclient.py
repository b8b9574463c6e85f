"""geventhttpclient: one client with room for all lines, as many greenlets that share one source of work."""

from __future__ import annotations

from collections.abc import Iterator

import gevent  # type: ignore[import-untyped]
from geventhttpclient import HTTPClient
from geventhttpclient.url import URL

from ..case import Job, Outcome
from ..child import Tally


def run(job: Job) -> Outcome:
    tally = Tally(job)
    with tally:
        options = {"ssl_options": {"ca_certs": job.ca}} if job.ca else {}
        client = HTTPClient.from_url(
            job.url, concurrency=job.lines, connection_timeout=60, network_timeout=60, **options
        )
        target = URL(job.url).request_uri
        work = iter(range(job.count))
        gevent.joinall([gevent.spawn(_worker, client, target, work, tally) for _ in range(job.lines)], raise_error=True)
        client.close()
    return tally.outcome()


def _worker(client: HTTPClient, target: str, work: Iterator[int], tally: Tally) -> None:
    for _ in work:
        response = client.get(target)
        tally.check(response.status_code, len(response.read()))
