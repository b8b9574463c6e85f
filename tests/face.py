"""The script face in tests: ``aquests.get()`` and the stubs, on an engine of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aquests
from aquests.exchange import Response
from aquests.script import script


def ignore(response: Response) -> None:
    """A callback for those who look at their requests later; without any each answer would be printed."""


@contextmanager
def own_engine(**settings: Any) -> Iterator[None]:
    """An engine of its own behind the script face, which is closed afterwards; then the one from before is back.

    It is made with ``settings``; without any by whoever uses it first, as in a fresh process.
    """
    before, script.made = script.made, None
    try:
        if settings:
            aquests.configure(**settings)
        yield
    finally:
        if script.made is not None:
            script.made.close()
        script.made = before


def drop() -> None:
    """Forget what was queued: it is not asked any more, and counts as never asked."""
    engine = script.engine
    while (endpoint := engine.queue.first()) is not None:
        engine.queue.take(endpoint)
        engine.counted -= 1


def answers(*requests: Any) -> list[Response]:
    """Run what is queued, and return the response of each of these requests."""
    aquests.fetchall()
    return [request.response for request in requests]
