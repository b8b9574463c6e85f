"""Blocking calls that nobody waits for, in a few threads of their own.

The threads are started when needed and end when there is nothing to do. They do not hold up the exit of the
program: what hangs in them is a courtesy to a peer that does not answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

MOST: Final = 8
"""Threads at once; further calls queue."""


class Aside:
    """``run(call)``: ``call()`` is made in a thread, some time soon. May be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Callable[[], object]] = deque()
        self._threads = 0

    def run(self, call: Callable[[], object]) -> None:
        """Queue a call. It must not raise; what it returns is dropped."""
        with self._lock:
            self._calls.append(call)
            if self._threads == MOST:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="aquests aside", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._threads -= 1
                    return
                call = self._calls.popleft()
            call()


aside = Aside()
