"""GET from Redis, as many commands on a line as there are: by itself with us, in pipelines of a hundred elsewhere."""

from __future__ import annotations

from .case import Case, Entry
from .redis_single import BENCHMARK, COLUMNS, OURS, PY
from .redisserver import value

CASE = Case(
    name="redis-piped",
    title="GET of {size:,} bytes from Redis over {lines:,} lines, pipelined",
    entries=(
        Entry("aquests", OURS),
        Entry("aquests, fed", "peers.ours_redis:fed"),
        Entry("redis-benchmark -P 64", BENCHMARK, program="redis-benchmark", options={"pipeline": 64}),
        Entry("redis.asyncio, pipelines of 100", PY, package="redis", options={"pipeline": 100}),
        Entry(
            "redis.asyncio on uvloop, of 100",
            PY,
            package="redis",
            also="uvloop",
            options={"pipeline": 100, "uvloop": True},
        ),
    ),
    columns=COLUMNS,
    bases=("redis-benchmark -P 64", "redis.asyncio, pipelines of 100"),
    lines=50,
    size=64,
    server=value,
    note="""\
aquests pipelines by itself, up to 64 commands on a line, with a callback for each; redis.asyncio is handed a hundred
commands at a time by each of its tasks. redis-benchmark has no callback and looks at no answer.""",
)
