"""A channel for work that blocks: a thread of its own for each line, reporting by ``loop.soon`` (SQLite).

What runs where: ``connect``, ``perform`` and ``goodbye`` of the worker in the thread; everything else in the loop. The
thread touches no exchange: one that is timed out has gone to the user while the thread still works for it. It takes
jobs from a queue, hands outcomes to the loop, and ends with the line. It does not hold up the program's exit.

Work that is cancelled is interrupted, and the line stays: there is room again when the thread has come back. If it does
not, the line is closed and the thread left to itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from ..errors import AquestsError, TimedOut
from .base import BaseChannel

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..seam import Address, Owner, Tls, Worker
    from .loop import Loop, Timer

GRACE: Final = 2.0
"""Seconds that interrupted work may take to end."""


class Gate:
    """Lets many in, or one alone: in the order they came, so that nobody waits for ever. Used by the threads."""

    __slots__ = ("_alone", "_changed", "_inside", "_waiting")

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._inside = 0
        self._alone = False

    def enter(self, alone: bool, timeout: float) -> bool:
        """Wait until there is place, at most ``timeout`` seconds. True: go in, and ``leave`` afterwards."""
        with self._changed:
            if self._waiting or self._alone or (alone and self._inside):
                ticket = object()
                self._waiting.append(ticket)

                def may_enter() -> bool:
                    return self._waiting[0] is ticket and not self._alone and not (alone and self._inside)

                free = self._changed.wait_for(may_enter, min(timeout, threading.TIMEOUT_MAX))
                self._waiting.remove(ticket)
                self._changed.notify_all()
                if not free:
                    return False
            self._alone = alone
            self._inside += 1
            return True

    def leave(self, alone: bool) -> None:
        with self._changed:
            self._inside -= 1
            if alone:
                self._alone = False
            if self._waiting:
                self._changed.notify_all()


class ThreadedChannel(BaseChannel["Worker"]):
    """A line that is a thread in which a worker works."""

    __slots__ = ("_jobs", "_timer")

    def __init__(
        self, loop: Loop, owner: Owner, endpoint: Any, make_worker: Callable[[str | None], Worker], patience: float
    ):
        super().__init__(loop, owner, endpoint, make_worker, patience)
        self._jobs: SimpleQueue[tuple[Any, float] | None] = SimpleQueue()
        self._timer: Timer | None = None

    # In the thread

    def _work(self, worker: Worker, address: Address) -> None:
        soon = self.loop.soon
        try:
            worker.connect(address, self.patience)
        except AquestsError as error:
            error.__traceback__ = None
            soon(partial(self.close, error))
        except Exception as error:  # nobody else would hear of it, and the request would wait for its timeout
            soon(partial(self.crash, error))
        else:
            soon(self._up)
        while (job := self._jobs.get()) is not None:
            soon(partial(self._done, worker.perform(*job)))
        worker.goodbye()

    # In the loop

    def open(self, address: Address, tls: Tls | None = None) -> None:
        """Start the thread, which opens what ``address`` names. What fails arrives by ``loop.soon``."""
        self._enter("connect")
        worker = self.wire = self._make_wire(None)
        name = f"aquests {self.endpoint.scheme}"
        threading.Thread(target=self._work, args=(worker, address), name=name, daemon=True).start()

    def _up(self) -> None:
        if self.phase != "connect":
            return  # closed meanwhile
        assert self.wire is not None
        self.phase = "open"
        self.opened_at = self.loop.now
        self.connect_seconds = self._age()
        self.wire.opened()
        self._owner.on_room(self)

    def submit(self, x: Exchange) -> None:
        """Hand an exchange to the thread."""
        assert self.wire is not None
        self.wire.submit(x)
        self._jobs.put((x.payload, x.patience))

    def drain(self) -> None:
        """Nothing is left to do after the line was fed."""

    def _done(self, outcome: Any) -> None:
        """The thread has come back: with an answer, or from what was cancelled."""
        worker = self.wire
        if worker is None or self.phase != "open":
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        finished = worker.finish(outcome)
        if finished:
            self._on_finished((self, finished))
        elif worker.room:
            self._owner.on_room(self)
        if not worker.reusable:
            self.close()

    def cancel(self, x: Exchange) -> bool:
        """Interrupt the work. The line goes on when the thread has come back."""
        worker = self.wire
        assert worker is not None
        if not worker.cancel(x):
            return False
        worker.interrupt()
        self._timer = self.loop.at(self.loop.now + GRACE, self._give_up)
        return True

    def _give_up(self) -> None:
        self.close(TimedOut("what was interrupted does not end", phase="idle", endpoint=self.endpoint.label))

    def close(self, error: AquestsError | None = None) -> None:
        """End the line and its thread."""
        if self.phase == "closed":
            return
        self.phase = "closed"
        self.blocked = True
        if self._timer is not None:
            self._timer.cancel()
        lost = self._lost(error)
        if self.wire is not None:
            self.wire.interrupt()  # before the thread is told to end: it closes what is interrupted
            self._jobs.put(None)
        self._report_end(lost, error)
