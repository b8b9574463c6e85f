"""An XML-RPC call, again and again: us and the standard library's client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .case import Case, Column, Entry, Site, Wanted
from .nginx import document
from .peers.over_xmlrpc import ANSWER, TEMPLATE

_PEERS = "peers.over_xmlrpc"


@contextmanager
def versions(wanted: Wanted) -> Iterator[Site]:
    """Every call is answered by the same three strings; if the URL asks for it, the last one is new each time."""
    with document(wanted, TEMPLATE) as site:
        yield site


CASE = Case(
    name="xmlrpc",
    title="XML-RPC calls with two arguments, answered by a list of three strings ({size:,} bytes), {lines:,} lines",
    entries=(
        Entry("aquests", f"{_PEERS}:ours"),
        Entry("aquests, no two answers alike", f"{_PEERS}:ours", options={"fresh": True}),
        Entry("xmlrpc.client", f"{_PEERS}:with_xmlrpc_client"),
        Entry("xmlrpc.client, threads", f"{_PEERS}:with_threads"),
    ),
    columns=(
        Column("rate", "answers/s"),
        Column("cpu_us", "CPU µs/answer", "{:.1f}"),
        Column("busy", "client busy", "{:.0%}"),
        Column("lines", "lines opened"),
    ),
    bases=("xmlrpc.client",),
    size=len(ANSWER),
    server=versions,
    note="""\
xmlrpc.client is the standard library's: one ServerProxy, which keeps its line and blocks; with threads, one for each of
ten threads. The server is nginx with a methodResponse in its memory, so no method is run. Each value is checked.
We do not parse again what comes again: the second row shows what that is worth, and our promise is judged by it.""",
)
