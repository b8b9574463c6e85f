"""What the races with large bodies share: one line, ours beside curl, bytes a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from .case import Case, Column, Entry, Site, Wanted


def race(
    name: str,
    title: str,
    server: Callable[[Wanted], AbstractContextManager[Site]],
    note: str,
    **ways: Mapping[str, Any],
) -> Case:
    """A case in which each of ``ways`` (its name, and the options of ``peers.bulk``) is gone by curl and by us."""
    entries = []
    for way, options in ways.items():
        rival = f"curl, {way}"
        entries.append(Entry(rival, "peers.bulk:curl", program="curl", options=options, against=(rival,)))
        entries.append(Entry(f"aquests, {way}", "peers.bulk:ours", options=options, against=(rival,)))
    return Case(
        name=name,
        title=title,
        entries=tuple(entries),
        columns=(
            Column("megabytes", "MB/s"),
            Column("cpu_ms", "CPU ms/body", "{:.0f}"),
            Column("busy", "client busy", "{:.0%}"),
        ),
        bases=tuple(f"curl, {way}" for way in ways),
        lines=1,
        count=10,
        size=100_000_000,
        server=server,
        note=f"{note}\nConnecting is part of the time; the start of the process is not part of it, but of curl's CPU.",
    )
