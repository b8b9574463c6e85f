"""From a finished exchange to the user's callback: each request is counted, and answered, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .errors import AquestsError, let_go
from .exchange import Callback, Exchange, Request, Response
from .histogram import BATCH
from .stats import Stats

if TYPE_CHECKING:
    from .lib.log import AnyLogger
    from .seam import Finished


class _Aside:
    """The codec of a request of our own that has no other: so it is no plain one, and may be counted in its own way."""

    def decode(self, x: Exchange) -> None:
        """There is nothing to decode."""


ASIDE: Final = _Aside()


class Delivery:
    """``callback`` gets what has none of its own; ``stop()`` is called when a callback wants to leave the program.

    ``is_final(line, x)`` is asked for all but plain answers: False if the request is on its way again.
    """

    __slots__ = ("_is_final", "_stop", "aside", "callback", "escaped", "finished", "log", "stats")

    callback: Callback | None
    log: AnyLogger

    def __init__(self, stop: Callable[[], None], is_final: Callable[[Any, Exchange], bool]):
        self._stop = stop
        self._is_final = is_final
        self.stats = Stats()
        self.finished = 0
        """Requests answered since the last reset."""
        self.aside = 0
        """Requests of our own (without a number) that are not answered yet: they are counted nowhere else."""
        self.escaped: BaseException | None = None
        """What a callback raised to leave the run: sys.exit(), Ctrl-C."""

    def reset(self) -> Stats:
        """Begin to count anew; returns what was counted."""
        stats, self.stats = self.stats, Stats()
        self.finished = 0
        return stats

    def settle(self, batch: Iterable[Finished], now: float) -> None:
        """Count what has finished, and hand each to the user. The hot path: the lane of a head is looked up once."""
        known = None
        is_final = self._is_final  # a call of a slot's content takes the slow way to it
        for line, exchanges in batch:
            for x in exchanges:
                x.finished_at = now
                head = x.head
                if x.error is not None or x.codec is not None or head.special:  # type: ignore[union-attr]
                    if not is_final(line, x):
                        continue
                    head = x.head if self._is_answer(x) else None
                request: Request = x.request  # type: ignore[assignment]
                response = Response(x, request)
                x.request, request.response = None, response
                if head is not None:
                    self.finished += 1
                    if head is not known:  # most are like the one before
                        known, status = head, head.status
                        lane = self.stats.lane(head.lane)
                        statuses, durations = lane.statuses, lane.latency.pending
                        statuses.setdefault(status, 0)
                    # As lane.settle() does, without the call.
                    statuses[status] += 1
                    lane.bytes_received += len(x.body)
                    durations.append(now - x.started_at)
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
        for lane in self.stats.lanes.values():
            if len(lane.latency.pending) >= BATCH:
                lane.latency.fold()

    def _is_answer(self, x: Exchange) -> bool:
        """Is it to be counted as an answer? Else it has been counted, or is not to be."""
        if x.request.req_id < 0:  # type: ignore[union-attr]
            self.aside -= 1
            return False
        if x.head is not None and not isinstance(x.error, AquestsError):
            return True
        self.finished += 1
        self.stats.fail(self.stats.lane(x.lane), x.status, x.error)
        let_go(x.error)
        return False

    def fail(self, x: Exchange, error: AquestsError) -> None:
        """The request is answered with an error of ours."""
        x.error = error
        error.endpoint = error.endpoint or x.endpoint.label
        self.settle(((None, (x,)),), monotonic())

    def source_failed(self, error: Exception) -> None:
        """A lazy source raised, or yielded what cannot be sent: the user's code as a callback is."""
        self.stats.callback_errors += 1
        self.log.error("a lazy source: %s", error, exc_info=error)
