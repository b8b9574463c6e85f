"""GET from Redis, one command on a line at a time, by everybody."""

from __future__ import annotations

from .case import Case, Column, Entry
from .redisserver import value

COLUMNS = (
    Column("rate", "answers/s"),
    Column("cpu_us", "CPU µs/answer", "{:.1f}"),
    Column("busy", "client busy", "{:.0%}"),
    Column("lines", "lines opened"),
)
BENCHMARK = "peers.redis_benchmark:run"
PY = "peers.with_redispy:run"
OURS = "peers.ours_redis:queued"
FED = "peers.ours_redis:fed"

CASE = Case(
    name="redis",
    title="GET of {size:,} bytes from Redis over {lines:,} lines, not pipelined",
    entries=(
        Entry("aquests", OURS, options={"pipeline": 1}),
        Entry("aquests, fed", FED, options={"pipeline": 1}),
        Entry("redis-benchmark -P 1", BENCHMARK, program="redis-benchmark", options={"pipeline": 1}),
        Entry("redis.asyncio", PY, package="redis"),
        Entry("redis.asyncio on uvloop", PY, package="redis", also="uvloop", options={"uvloop": True}),
    ),
    columns=COLUMNS,
    bases=("redis-benchmark -P 1", "redis.asyncio"),
    lines=50,
    size=64,
    server=value,
    note="""\
redis-benchmark has no callback and looks at no answer; the others check each. All parse with hiredis.
Connecting and queuing are part of the time; the start of the process is not.""",
)
