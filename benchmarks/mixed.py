"""HTTP, Redis and PostgreSQL in turn in one queue, beside the same thirds alone, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from .case import Case, Column, Entry, Site, Wanted
from .nginx import page
from .peers.ours_mixed import LINES, SIZES
from .pgserver import duo
from .redisserver import value


@contextmanager
def three(wanted: Wanted) -> Iterator[Site]:
    """nginx, Redis and PostgreSQL on one core; the site's ``url`` is their three, with spaces between."""
    wants = [replace(wanted, size=size) for size in SIZES]
    with page(wants[0]) as http, value(wants[1]) as redis, duo(wants[2]) as postgresql:
        asked = 0

        def counters() -> tuple[int, int]:
            """Of nginx and Redis together; each of them is asked, and counts that."""
            nonlocal asked
            asked += 1
            counts = [site.counters() for site in (http, redis) if site.counters]
            return sum(one for one, _ in counts) - asked, sum(one for _, one in counts) - asked

        yield Site(f"{http.url} {redis.url} {postgresql.url}", sum(SIZES), counters=counters)


CASE = Case(
    name="mixed",
    title="{count:,} requests, HTTP, Redis and PostgreSQL in turn",
    entries=(
        Entry("one queue", "peers.ours_mixed:together", package="psycopg2-binary"),
        Entry("each third alone", "peers.ours_mixed:alone", package="psycopg2-binary"),
    ),
    columns=(
        Column("seconds", "seconds", "{:.3f}"),
        Column("cpu_us", "CPU µs/answer", "{:.1f}"),
        Column("busy", "client busy", "{:.0%}"),
        Column("end_http", "HTTP ends at", "{:.3f}"),
        Column("end_redis", "Redis", "{:.3f}"),
        Column("end_postgresql", "PostgreSQL", "{:.3f}"),
        Column("half_http", "at half time: HTTP", "{:.0%}"),
        Column("half_redis", "Redis", "{:.0%}"),
        Column("half_postgresql", "PostgreSQL", "{:.0%}"),
        Column("silence", "longest silence, ms", "{:.0f}"),
    ),
    bases=("each third alone",),
    count=100_000,
    lines=sum(LINES),
    size=sum(SIZES),
    server=three,
    note=f"""\
Alone, each third has the workers of its own case ({LINES[0]} HTTP, {LINES[1]} Redis, {LINES[2]} PostgreSQL), and
"ends at" is how long it took; one queue has as many together ({{lines:,}}), and the same limits for both databases.
At half time: how many of its answers a protocol had. Longest silence: the time without any answer of a protocol that
had work left, from the first connect on. Redis pipelines by itself. All servers share a core, and there nginx and Redis
are one process each, PostgreSQL one for each of its lines.""",
)
