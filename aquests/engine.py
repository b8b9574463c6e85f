"""The engine: the one coordinator between queue, lines and callbacks.

A worker is a slot for one line. A slot that is free takes the request whose turn it is and dials; a line that has
room takes the next request for its own place. Everything the user wrote (callbacks, lazy sources) runs after wires have
returned, and can only queue: I/O happens in ``step``.

Fairness between places: a line stays with its place while there is work for it (a connection is worth more than
order), but yields after ``TURN`` answers to a place with work and without a line. One worker keeps the order strictly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .delivery import ASIDE, Delivery
from .dial import Dial, expired, overdue, stopped
from .elsewhere import Elsewhere
from .endpoint import Endpoint, Endpoints
from .errors import AquestsError, defect
from .exchange import Exchange, Request
from .lib.log import as_logger, get_logger
from .lib.loop import Loop
from .lib.resolver import Resolver
from .proxy import parse_proxy
from .queue import Fifo, Queue, rearrange
from .retry import free_retry
from .rules import Rules
from .settings import Settings
from .shortage import Shortage
from .sources import Sources, faceless
from .sweep import Sweep

if TYPE_CHECKING:
    from .seam import Finished, Line, Wire
    from .stats import Stats

TURN: Final = 64
"""Answers a line gives to its own place before it yields to a place without any line."""


class Engine:
    """Queue, workers, lines. Faces call ``submit``, ``feed``, ``step``, ``run``, ``close``."""

    # Slots, for speed: an instance with over thirty attributes in a dict loses the interpreter's short cuts.
    __slots__ = (
        "__weakref__",
        "_again",
        "_awake",
        "_channels",
        "_choosy",
        "_delivery",
        "_dials",
        "_earlier",
        "_idle",
        "_log",
        "_outdated",
        "_resolver",
        "_sent",
        "_sessions",
        "_shortage",
        "_sources",
        "_stepping",
        "_stopping",
        "_sweep",
        "_turns",
        "counted",
        "endpoints",
        "lines",
        "loop",
        "on_finished",
        "queue",
        "rules",
        "settings",
        "take",
    )

    def __init__(self, settings: Settings | None = None, loop: Loop | None = None):
        self.loop = loop or Loop()
        self._delivery = Delivery(self.stop, self._is_final)
        self.queue = Queue()
        self.endpoints = Endpoints(Fifo)
        self.rules = Rules(self.endpoints)
        self.lines = 0
        """Worker slots in use: lines open or being made."""
        self.counted = 0
        """Requests queued since the engine was idle at a reset; the next req_id."""
        self._earlier = 0
        """How many of them were answered before the last reset."""
        self._sent = 0
        """Exchanges that closed lines had, less what open ones had at the last reset."""
        self._channels: dict[Line, None] = {}
        self._idle: dict[Line, None] = {}
        self._outdated: set[Line] = set()
        self._dials: dict[Dial, None] = {}
        self._again: deque[Exchange] = deque()
        self._sources = Sources()
        self._turns: list[Finished] = []
        """What the present batch has finished."""
        self.on_finished = self._turns.append
        self._resolver: Resolver | None = None
        self._sessions: Any = None
        self._stepping = False
        self._stopping = False
        self._awake = False
        """Within a step, or the loop has been woken for one."""
        self._shortage = Shortage(
            self.loop, self.queue, self._channels, self._idle, lambda text: self._log.warning(text)
        )
        self._sweep = Sweep(self.loop, self._dials, self._channels, self._idle, self._expire)
        self.take: Callable[[Any], object] = faceless
        """What a source yielded: a URL or a request that is not queued yet. Set by the face."""
        self.settings = Settings()
        self.configure(settings or self.settings)

    # Settings

    def configure(self, settings: Settings) -> None:
        """Use other settings from now on. What is queued stays; lines made with other options are not used again."""
        if settings.proxy:
            parse_proxy(settings.proxy)  # what is wrong with it is said here, before anything is changed
        old = self.settings
        self.settings = settings
        self.rules.configure(settings)
        self._log = as_logger(settings.logger) if settings.logger is not None else get_logger()
        self._delivery.log, self._delivery.callback = self._log, settings.callback
        self._weigh()
        self._sweep.note(min(settings.timeout, settings.deadline or settings.timeout))
        if old.line_key() != settings.line_key():
            self._retire(len(self._channels))
        else:
            self._retire(self.lines - len(self._outdated) - settings.workers)
        if settings.qrandom != old.qrandom:
            rearrange(self.queue, self.endpoints, settings.qrandom)

    def _weigh(self) -> None:
        """Must lines be looked at before they are fed? Seldom: so the hot path asks one flag."""
        self._choosy = self._stopping or bool(self._outdated) or not self.settings.use_pool

    def _retire(self, number: int) -> None:
        """So many lines end: idle ones at once, the others with what they are doing."""
        fresh = [channel for channel in self._channels if channel not in self._outdated and channel not in self._idle]
        for channel in (*self._idle, *fresh)[: max(0, number)]:
            if channel in self._idle:
                channel.close()
            else:
                self._outdated.add(channel)
                self._choosy = True

    # Faces

    def submit(self, request: Request) -> Request:
        """Queue a request whose ``endpoint`` is set; returns it. Only queues: I/O happens in ``step``."""
        request.req_id = self.counted  # as admit() does
        self.counted += 1
        self.queue.put(request, request.endpoint)
        if not self._awake:
            self._awake = True
            self.loop.wake()
        return request

    def admit(self, request: Request) -> None:
        """Number and count a request that cannot be queued yet; ``release`` or ``refuse`` it later."""
        request.req_id = self.counted
        self.counted += 1

    def release(self, request: Request) -> None:
        """Queue an admitted request."""
        self.queue.put(request, request.endpoint)
        self.loop.wake()

    def refuse(self, request: Request, error: AquestsError) -> None:
        """Answer an admitted request with an error. From a callback only."""
        self._delivery.fail(request.begin(monotonic(), self.settings), error)

    def ask_aside(self, request: Request) -> None:
        """Queue a request of our own, at the front: it is answered to its callback, and counted nowhere."""
        self._delivery.aside += 1
        request.codec = request.codec or ASIDE
        self.queue.put_back(request, request.endpoint)
        self.loop.wake()

    def feed(self, source: Iterable[Any]) -> None:
        """Add a lazy source; it is advanced only as workers come free."""
        self._sources.append(iter(source))
        self.loop.wake()

    @property
    def stats(self) -> Stats:
        """What has been counted since the last reset."""
        return self._delivery.stats

    @property
    def sent(self) -> int:
        """Requests handed to lines since the last reset, redirects and retries included."""
        return self._sent + sum(channel.uses for channel in self._channels)

    @property
    def finished(self) -> int:
        """Requests answered since the last reset."""
        return self._delivery.finished

    @property
    def pending(self) -> int:
        """Requests queued or in flight: what has not been answered."""
        return self.counted - self._earlier - self._delivery.finished + self._delivery.aside

    @property
    def idle(self) -> bool:
        """Nothing queued, nothing in flight, no source left."""
        return not self.pending and not self._sources

    @property
    def workings(self) -> int:
        """Requests in flight."""
        return self.pending - self.queue.size

    def fileno(self) -> int:
        """A descriptor that is readable when ``step`` has something to do."""
        return self.loop.fileno()

    def next_deadline(self) -> float | None:
        """The monotonic time at which ``step`` must be called even if nothing is readable; None: no need."""
        return self.loop.next_deadline()

    def step(self, timeout: float | None = 0.0) -> int:
        """One bounded batch: start what can start, wait at most ``timeout`` seconds, handle what came.

        Returns the number of events. Raises RuntimeError when entered again from a callback.
        """
        self.refuse_nesting()
        self._stepping = self._awake = True
        self.loop.now = monotonic()  # the host, or the program between two runs, may have taken its time
        try:
            self._start()
            events = self.loop.step(0.0 if self.idle else timeout)
            self._start()
        finally:
            self._stepping = self._awake = False
        self._let_out()
        return events

    def run(self) -> None:
        """Step until everything is answered, or ``stop`` was called. Raises RuntimeError in a callback."""
        self.refuse_nesting()
        while not self.idle and not self._stopping:
            if self.loop.next_deadline() is None and not (self.queue.size or self._sources or self._again):
                # What is in flight is always looked after by a timer. Nothing may wait for ever, not even for a defect.
                raise RuntimeError(f"{self.pending} requests were lost by a defect of aquests: please report it")
            self.step(None)

    def refuse_nesting(self) -> None:
        """Raise RuntimeError in a callback, where nothing may run or close the engine."""
        if self._stepping:
            raise RuntimeError("the engine was entered again from one of its own callbacks; just queue, it will be run")

    def stop(self) -> None:
        """Take nothing more from the queue. May be called from a signal handler; ``run`` returns soon."""
        self._stopping = self._choosy = True
        self.loop.wake()

    def hang_up(self) -> None:
        """Close every line. What is in flight is answered with Cancelled; what is queued stays queued."""
        self.refuse_nesting()
        self._stepping = self._awake = self._stopping = True
        try:
            for dial in tuple(self._dials):
                dial.cancel(stopped())
            for channel in tuple(self._channels):
                channel.close(stopped() if channel.inflight else None)
            while self._again:
                self._delivery.fail(self._again.popleft(), stopped())
            self.settle()
            self.loop.send()  # nothing goes out any more: closed lines are forgotten
        finally:
            self._stepping = self._awake = self._stopping = False
            self._weigh()
        self._let_out()

    def _let_out(self) -> None:
        """Raise what a callback wanted to leave by, now that everything is in order."""
        error, self._delivery.escaped = self._delivery.escaped, None
        if error is not None:
            self._stopping = False
            self._weigh()
            raise error

    def close(self) -> None:
        """Close every line and give all descriptors and threads back. The engine cannot be used again."""
        self.hang_up()
        self._sources.clear()
        if self._resolver is not None:
            self._resolver.close()
        self.loop.close()

    def reset(self) -> Stats:
        """Begin to count anew; returns what was counted. Only when nothing is pending."""
        self._earlier += self.finished
        stats = self._delivery.reset()
        self._sent = -sum(channel.uses for channel in self._channels)
        if self.idle:
            self.counted = self._earlier = 0
            for endpoint in self.endpoints:
                endpoint.most, endpoint.shut_since = endpoint.limit, 0.0  # what was crowded then need not be now
        return stats

    # From the queue to a line

    def _start(self) -> None:
        """Settle, dispatch and send, until no send breaks a line: what it carried, and its slot, are for others."""
        lines = -1
        while lines != self.lines or self._turns:
            if self._turns:
                self.settle()
                self.loop.send()
            self._dispatch()
            lines = self.lines
            self.loop.send()

    def _dispatch(self) -> None:
        """Give work to lines that have room, and dial while slots are free."""
        queue = self.queue
        while self._again and not self._stopping and self._free_slot():
            self._dial(self._again.popleft())
        while (queue.size or self._sources) and not self._stopping:
            if queue.size < self.settings.concurrency and self._sources:
                self._draw()
            endpoint = queue.first()
            if endpoint is None:
                return
            if endpoint.roomy:
                channel = next(iter(endpoint.roomy))
                self._feed((channel,))
            elif endpoint.lines >= endpoint.most:
                queue.set_aside(endpoint)  # its own lines take from it as they come free
            elif self._free_slot():
                self._dial(queue.take(endpoint).begin(monotonic(), self.settings))
            else:
                return

    def _free_slot(self) -> bool:
        """Is there a slot for one more line? If need be, the line that idles longest makes way."""
        if self._shortage.dialling_waits:
            return False
        while self.lines >= self.settings.workers and self._idle:
            next(iter(self._idle)).close()
        return self.lines < self.settings.workers

    def _dial(self, x: Exchange) -> None:
        if self._resolver is None:
            self._resolver = Resolver(self.loop.soon)
        if x.endpoint.spec.tls and self._sessions is None:
            from .lib.tls import SessionCache

            self._sessions = SessionCache()
        self.lines += 1
        x.endpoint.lines += 1
        self._sweep.note(min(x.patience, x.limit - x.started_at) if x.limit else x.patience)
        dial = Dial(self.loop, self._resolver, self._sessions, self.settings, x.endpoint, x, self._on_dialled)
        self._dials[dial] = None
        self._sweep.begin()
        self.loop.guarded(dial.start)

    def _on_dialled(self, dial: Dial, channel: Line | None, error: AquestsError | None) -> None:
        del self._dials[dial]
        x = dial.rider
        x.line = dial.line
        if channel is None:
            assert error is not None
            self._slot_freed(dial.endpoint)
            if not self._shortage.bridges(x, error):
                x.error, x.untouched, x.finished_at = error, True, monotonic()
                if self._is_accepted(x):
                    self._delivery.fail(x, x.error)
            return
        self._shortage.end()
        dial.endpoint.shut_since = 0.0
        self._channels[channel] = None
        self.stats.connections += 1
        self.stats.max_connections = max(self.stats.max_connections, len(self._channels))
        channel.adopt(self)
        if dial.settings is not self.settings and (
            dial.settings.line_key() != self.settings.line_key()
            or self.lines - len(self._outdated) > self.settings.workers
        ):
            self._outdated.add(channel)  # made by settings that hold no more: for its rider alone
            self._choosy = True
        if self._stopping:
            self._delivery.fail(x, stopped())
            channel.close()
            return
        self._send(channel, x.begin(self.loop.now, self.settings))
        self._feed((channel,))

    def settle(self) -> None:
        """Settle what a batch has finished, but for what is sent again, and give the lines their next work."""
        turns = self._turns.copy()
        self._turns.clear()
        try:
            self._delivery.settle(turns, monotonic())
        except KeyboardInterrupt:  # the second Ctrl-C: nobody is forgotten, and nobody answered twice
            self._turns[:0] = [(line, [x for x in exchanges if x.request is not None]) for line, exchanges in turns]
            raise
        self._feed([channel for channel, _ in turns])

    def _feed(self, channels: Sequence[Line]) -> None:
        """Fill lines from their places' waiting requests; the others rest. The hot path."""
        if self._again and not self._stopping:
            for channel in channels:
                self._join(channel)
        queue = self.queue
        now, few = monotonic(), self.settings.concurrency // 2
        asked = self._choosy or len(queue.order) > 1
        for channel in channels:
            endpoint = channel.endpoint
            if endpoint.roomy:
                self._rouse(channel)
            if channel.blocked:
                continue
            if self._sources and (not endpoint.waiting or queue.size < few):
                self._draw()
                now = monotonic()
                asked = self._choosy or len(queue.order) > 1
            wire: Wire = channel.wire  # type: ignore[assignment]
            waiting = endpoint.waiting
            if waiting and wire.room and not (asked and self._yields(channel)):
                submit = channel.submit
                while True:
                    queue.size -= 1
                    x = waiting.popleft().begin(now, self.settings)
                    try:  # as _send() does, without the call
                        if x.ruled:
                            self._prepare(x)
                        submit(x)
                        channel.uses += 1
                    except AquestsError as error:
                        self._delivery.fail(x, error)
                        asked = True  # its callback may have stopped the run, or asked for another place
                    if not wire.room or not waiting or (asked and self._yields(channel)):
                        break
            if wire.room:
                if not wire.inflight:
                    self._rest(channel)
                elif not (self._choosy and self._is_spent(channel)):
                    endpoint.roomy[channel] = None
        self.loop.outgoing.extend(channels)

    def _send(self, channel: Line, x: Exchange) -> None:
        """Hand an exchange whose turn has come to a line that has room."""
        try:
            if x.ruled:
                self._prepare(x)
            channel.submit(x)
            channel.uses += 1
        except AquestsError as error:
            self._delivery.fail(x, error)

    def _prepare(self, x: Exchange) -> None:
        """What some exchanges need before they are sent. Raises TimedOut when it is too late for that."""
        self._sweep.note(x.patience)
        if x.limit and x.limit <= x.deadline:
            x.deadline = x.limit
            self._sweep.note(x.limit - x.started_at)
            if x.limit <= x.sent_at:
                raise overdue(x)
        self.rules.prepare(x)

    def _yields(self, channel: Line) -> bool:
        """Should this line give way to another place, or to a new line?"""
        if self._stopping or (self._choosy and self._is_spent(channel)):
            return True
        first = self.queue.first()
        if first is None or first is channel.endpoint:
            return False
        if self.settings.workers == 1:
            return True
        return not first.lines and channel.uses >= TURN and self.lines >= self.settings.workers

    def _is_spent(self, channel: Line) -> bool:
        """May this line not be used again? Made with other settings, or one line a request."""
        return channel in self._outdated or (channel.uses > 0 and not self.settings.use_pool)

    def _rest(self, channel: Line) -> None:
        """Nothing in flight, and room: the line idles, or ends if it may not be used again."""
        if self._choosy and self._is_spent(channel):
            channel.close()
        else:
            self._idle[channel] = None
            channel.endpoint.roomy[channel] = None

    def _rouse(self, channel: Line) -> None:
        """The line is not resting any more."""
        if channel in self._idle:
            del self._idle[channel]
            self._sweep.begin()
        channel.endpoint.roomy.pop(channel, None)

    # What channels report

    def on_room(self, channel: Line) -> None:
        """A wire's room rose without an exchange finishing."""
        endpoint = channel.endpoint
        if endpoint.waiting or self._again or self._sources or channel not in endpoint.roomy:
            self._feed((channel,))

    def _join(self, channel: Line) -> None:
        """Requests that want a fresh line share this one, if it was opened since they were sent.

        But not one that takes a single request and has had its first: it may be as stale as the one before.
        """
        for x in tuple(self._again):
            if channel.uses and channel.room == 1 and not channel.inflight:
                return
            if x.endpoint is channel.endpoint and channel.room and channel.opened_at > x.sent_at:
                self._again.remove(x)
                self._rouse(channel)
                self._send(channel, x.begin(monotonic(), self.settings))

    def on_closed(self, channel: Line, error: AquestsError | None) -> None:
        """The slot is free. ``step`` dispatches after the batch."""
        self._channels.pop(channel, None)
        if channel in self._outdated:
            self._outdated.remove(channel)
            self._weigh()
        self.stats.bytes_sent += channel.bytes_sent
        self._sent += channel.uses
        self._rouse(channel)
        self._slot_freed(channel.endpoint)

    def _slot_freed(self, endpoint: Endpoint) -> None:
        self.lines -= 1
        endpoint.lines -= 1
        self._shortage.ease()
        if endpoint.waiting and endpoint.listed is None:
            self.queue.enlist(endpoint)

    # What is not a plain answer

    def _is_final(self, channel: Line | None, x: Exchange) -> bool:
        """Does it go to the user? Else its next attempt is on the way."""
        if channel is None:
            return True  # it never was on a line, and all was asked
        if isinstance(x.error, AquestsError):
            x.error.endpoint = x.error.endpoint or x.endpoint.label
            x.error.after = x.error.after or x.finished_at - x.sent_at
            again = free_retry(x, channel.uses)
            if again is not None:
                self.stats.retries += 1
                if x.untouched:
                    self._put_back(x, again)
                else:
                    self._again.append(again)
                return False
        return self._is_accepted(x)

    def _is_accepted(self, x: Exchange) -> bool:
        """Have the rules of its protocol nothing more to ask for? Then it is decoded, and goes to the user."""
        again = None
        spec = x.endpoint.spec
        try:
            if x.error is None and not x.head.special:  # type: ignore[union-attr]
                if x.codec is not None:
                    x.codec.decode(x)
            elif isinstance(x.error, AquestsError) and (self._stopping or not spec.hosts):
                pass
            elif spec.web:
                again = self.rules.review(x)
            else:
                again = spec.load().review(x, Elsewhere(self.endpoints, self.queue, x.endpoint, self.ask_aside))
        except Exception as error:  # a codec may be the user's; and whoever is to blame, an answer is due
            self._log.error("an answer could not be read", exc_info=error)
            x.error = defect(error, x.endpoint.label)
        if again is not None:
            self._put_back(x, again)
        return again is None

    def _put_back(self, x: Exchange, again: Exchange) -> None:
        """Queue the next attempt of ``x`` where it was, now or after its delay."""
        if again.delay:
            self.loop.at(self.loop.now + again.delay, lambda: self.queue.put_back(again, again.endpoint))
        else:
            self.stats.redirects += again.hops > x.hops
            self.queue.put_back(again, again.endpoint)

    # Lazy sources

    def _draw(self) -> None:
        """Advance the sources until a round of work is queued: not for each line that comes free."""
        self._sources.draw(self.queue, self.settings.concurrency, self.take, self._delivery.source_failed)

    def _expire(self, channel: Line, x: Exchange, now: float) -> None:
        """The sweep found an exchange in flight that is overdue."""
        error = expired(x, now, channel.blocked)
        if channel.cancel(x):
            x.error = error
            self.on_finished((channel, (x,)))
        else:
            channel.close(error)
