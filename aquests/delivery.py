"""From a finished exchange to the user's callback: each request is counted, and answered, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from .errors import AquestsError, let_go
from .exchange import Callback, Exchange, Request, Response
from .histogram import BATCH
from .stats import Stats

if TYPE_CHECKING:
    from .lib.log import AnyLogger


class Delivery:
    """``callback`` gets what has none of its own; ``stop()`` is called when a callback wants to leave the program."""

    __slots__ = ("_stop", "aside", "callback", "escaped", "finished", "log", "stats")

    callback: Callback | None
    log: AnyLogger

    def __init__(self, stop: Callable[[], None]):
        self._stop = stop
        self.stats = Stats()
        self.finished = 0
        """Requests answered since the last reset."""
        self.aside = 0
        """Requests of our own that are not answered yet: they are counted nowhere else."""
        self.escaped: BaseException | None = None
        """What a callback raised to leave the run: sys.exit(), Ctrl-C."""

    def reset(self) -> Stats:
        """Begin to count anew; returns what was counted."""
        stats, self.stats = self.stats, Stats()
        self.finished = 0
        return stats

    def settle(self, exchanges: Sequence[Exchange]) -> None:
        """Count them, and hand each to the user. The hot path."""
        lanes = self.stats.lanes
        for x in exchanges:
            request: Request = x.request  # type: ignore[assignment]
            x.request = None
            request.response = response = Response(x, request)
            head = x.head
            error = x.error
            if request.req_id < 0:
                self.aside -= 1
            elif head is None or (error is not None and isinstance(error, AquestsError)):
                self.finished += 1
                self.stats.fail(self.stats.lane(response.lane), response.status_code, error)
                let_go(error)
            else:
                self.finished += 1
                try:
                    lane = lanes[head.lane]
                    lane.statuses[head.status] += 1
                except KeyError:
                    self.stats.lane(head.lane).settle(head.status, x.finished_at - x.started_at, len(x.body))
                else:  # as lane.settle() does, without the call
                    lane.bytes_received += len(x.body)
                    durations = lane.latency.pending
                    durations.append(x.finished_at - x.started_at)
                    if len(durations) >= BATCH:
                        lane.latency.fold()
            callback = request.callback or self.callback
            if callback is not None:
                try:
                    callback(response)
                except Exception:
                    self.stats.callback_errors += 1
                    self.log.exception("the callback of request %d raised", request.req_id)
                except BaseException as error:  # not out of the middle of a batch: others are to be settled
                    self.escaped = self.escaped or error
                    self._stop()

    def fail(self, x: Exchange, error: AquestsError) -> None:
        """The request is answered with an error of ours."""
        x.error = error
        error.endpoint = error.endpoint or x.endpoint.label
        x.finished_at = monotonic()
        self.settle((x,))
