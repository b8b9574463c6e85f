"""What the races over HTTP share: the peers, and the columns."""

from __future__ import annotations

from .case import Column, Entry

OURS = (
    Entry("aquests", "peers.ours:queued"),
    Entry("aquests, fed", "peers.ours:fed"),
)
WRK = Entry("wrk", "peers.wrk:run", program="wrk", timed=True)
HEY = Entry("hey", "peers.hey:run", program="hey")
PYCURL = Entry("pycurl", "peers.with_pycurl:run", package="pycurl")
AIOHTTP = Entry("aiohttp", "peers.with_aiohttp:run", package="aiohttp")
AIOHTTP_UVLOOP = Entry(
    "aiohttp on uvloop", "peers.with_aiohttp:run", package="aiohttp", also="uvloop", options={"uvloop": True}
)
GEVENT = Entry("geventhttpclient", "peers.with_geventhttpclient:run", package="geventhttpclient")
HTTPX = Entry("httpx", "peers.with_httpx:run", package="httpx")
HTTPX_EACH = Entry("httpx, a client a task", "peers.with_httpx:run", package="httpx", options={"each": True})

PEERS = (*OURS, WRK, HEY, PYCURL, AIOHTTP, AIOHTTP_UVLOOP, GEVENT, HTTPX, HTTPX_EACH)
BASES = ("wrk", "aiohttp")

COLUMNS = (
    Column("rate", "answers/s"),
    Column("cpu_us", "CPU µs/answer", "{:.1f}"),
    Column("busy", "client busy", "{:.0%}"),
    Column("lines", "lines opened"),
)
NOTE = """\
CPU is the client's alone. Where it is not busy all the time it waited: for the server, or for others on its core.
wrk and hey have no callback; all others run one for each answer, which checks it.
Connecting and queuing are part of the time; the start of the process is not."""
