"""A small message over WebSocket and its echo, again and again, by everybody."""

from __future__ import annotations

from .case import Case, Column, Entry
from .wsecho import echo

_PEERS = "peers.over_websocket"

CASE = Case(
    name="websocket",
    title="a text of {size:,} bytes and its echo over {lines:,} WebSockets",
    entries=(
        Entry("aquests", f"{_PEERS}:ours"),
        Entry("aquests, fed", f"{_PEERS}:fed"),
        Entry("aiohttp", f"{_PEERS}:with_aiohttp", package="aiohttp"),
        Entry(
            "aiohttp on uvloop", f"{_PEERS}:with_aiohttp", package="aiohttp", also="uvloop", options={"uvloop": True}
        ),
        Entry("websockets", f"{_PEERS}:with_websockets", package="websockets"),
        Entry("websocket-client", f"{_PEERS}:with_websocket_client", package="websocket-client"),
    ),
    columns=(
        Column("rate", "echoes/s"),
        Column("cpu_us", "CPU µs/echo", "{:.1f}"),
        Column("busy", "client busy", "{:.0%}"),
    ),
    bases=("aiohttp", "websockets"),
    size=64,
    server=echo,
    note="""\
Without compression. One message at a time on each line; websocket-client blocks, and has a thread a line.
Queued are all messages at once; fed are those that lines are free for, as by everybody else.""",
)
