"""A line of HTTP/2 as a whole (RFC 9113 5 and 6): its streams, its windows, the frames that are about it, and its end.

What could go wrong, and what was chosen:

- A peer that breaks the rules ends the line: a ``Fault`` is raised wherever it is noticed, a GOAWAY says why,
  and what is in flight fails with ConnectionEnded. Where only an answer is malformed, only its stream fails.
- Frames of a stream that we have reset are under way for a while. They are read (the header table depends on
  them), counted against both windows, and dropped; the window of the line is given back.
- Frames that carry nothing (PING, SETTINGS, empty DATA …) cost the peer little and us an answer: between two
  finished answers, or half a window of data, ``PATIENCE`` of them are taken.
- A line on which nothing came since a request was sent may be dead without anybody having said so. When that
  request is given up the line takes no new ones: they would all wait as long.
- Requests the peer certainly did not process (GOAWAY below them, REFUSED_STREAM) are ``untouched``: the engine
  sends them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..errors import AquestsError, ConnectionEnded, ProtocolError, StreamReset
from . import h2frames as h2
from .base import NO_EXCHANGES, BaseWire, fail
from .h2frames import HEAD, MOST, Fault
from .h2greeting import GREETING, RECEIVE_WINDOW
from .h2stream import Departed, Stream
from .h2upload import Uploads

if TYPE_CHECKING:
    from ..exchange import Exchange
    from .h2head import Origin

HALF: Final = RECEIVE_WINDOW // 2
"""Of a window: when that much is used, it is given back."""
PATIENCE: Final = 10_000
"""Frames that carry nothing, taken in succession."""
MAX_RESETS: Final = 1000
"""Streams reset by the peer in succession, without one answer between them."""

_SETTINGS_ACK: Final = h2.frame(h2.SETTINGS, h2.ACK, 0, b"")


class Http2Line(BaseWire):
    """What a line knows, and all it does that is not the way of a request or its answer: that is :class:`Http2`."""

    __slots__ = (
        "__weakref__",
        "_credit",
        "_departed",
        "_finished",
        "_goodbye",
        "_greeted",
        "_heard",
        "_last",
        "_limit",
        "_most_frame",
        "_next",
        "_origin",
        "_patience",
        "_resets",
        "_streams",
        "_uploads",
        "inflight",
    )

    def __init__(self, origin: Origin):
        super().__init__()
        self.inflight: dict[Exchange, Stream] = {}
        self._streams: dict[int, Stream] = {}
        self._finished: list[Exchange] = []
        """What is to be returned by the call that we are in."""
        self._origin = origin
        origin.lines.add(self)
        self._greeted = False
        self._limit = 1
        """Streams at once. Before the peer's SETTINGS one is certainly not too many."""
        self._next = 1
        self._heard = 1
        """The stream that would have been next when something came last."""
        self._most_frame = h2.LEAST_FRAME
        self._credit = RECEIVE_WINDOW
        """What the peer may still send on the line as a whole."""
        self._uploads = Uploads()
        self._departed = Departed()
        self._patience = PATIENCE
        self._resets = 0
        self._last = h2.MOST
        """The last stream the peer will process, by its GOAWAY."""
        self._goodbye = ""
        """What the peer's GOAWAY said."""

    def opened(self) -> None:
        self.outbox.append(GREETING)
        self._count_room()

    def goodbye(self) -> None:
        self.outbox.append(h2.goaway(h2.NO_ERROR))

    # Frames about the line, one method for each kind

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        """6.5."""
        h2.check_line("SETTINGS", number)
        self._tolerate("SETTINGS")
        if flags & h2.ACK:
            h2.check_size("SETTINGS with an ACK", payload, 0)
            return
        if not self._greeted:
            self._greeted = True
            self._limit = self._origin.streams
        for name, value in h2.read_settings(payload):
            if name == h2.MAX_CONCURRENT_STREAMS:
                self._limit = min(self._origin.streams, value)
            elif name == h2.INITIAL_WINDOW_SIZE:
                self._uploads.change(value, self._streams.values())
            elif name == h2.MAX_FRAME_SIZE:
                self._most_frame = value
        self.outbox.append(_SETTINGS_ACK)
        self.hungry = self._uploads.hungry()

    def _window_update(self, flags: int, number: int, payload: bytes) -> None:
        """6.9."""
        more = h2.read_number("WINDOW_UPDATE", payload) & h2.MOST
        if not more:
            raise Fault(h2.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        stream = self._streams.get(number)
        if stream is not None or number == 0:
            self._uploads.widen(stream, more)
        else:
            self._check_number(number)
        if self._uploads:
            self.hungry = self._uploads.hungry()
        else:
            self._tolerate("WINDOW_UPDATE")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        """6.7."""
        h2.check_line("PING", number)
        h2.check_size("PING", payload, 8)
        self._tolerate("PING")
        if not flags & h2.ACK:
            self.outbox.append(h2.frame(h2.PING, h2.ACK, 0, payload))

    def _goaway(self, flags: int, number: int, payload: bytes) -> None:
        """6.8. Streams above the last one were not processed; the others go on."""
        h2.check_line("GOAWAY", number)
        last, code, said = h2.read_goaway(payload)
        if last > self._last:
            raise Fault(h2.PROTOCOL_ERROR, f"GOAWAY with stream {last} after {self._last}")
        self._tolerate("GOAWAY")
        self._last = last
        self._is_for_http1(code)
        self._goodbye = f"the server ended the connection ({h2.code_name(code)}{f': {said}' if said else ''})"
        self._retire()
        for stream in [stream for stream in self._streams.values() if stream.number > last]:
            stream.x.untouched = True
            stream.x.error = ended = ConnectionEnded(self._goodbye, phase="answer")
            ended.served = last > 0
            self._leave(stream)

    def _priority(self, flags: int, number: int, payload: bytes) -> None:
        """6.3. Deprecated, and nothing for a client."""
        if not number:
            raise Fault(h2.PROTOCOL_ERROR, "PRIORITY on stream 0")
        h2.check_size("PRIORITY", payload, 5)
        self._tolerate("PRIORITY")

    def _push_promise(self, flags: int, number: int, payload: bytes) -> None:
        """6.6. We have said that we take none."""
        raise Fault(h2.PROTOCOL_ERROR, "PUSH_PROMISE, which was refused")

    def _unknown(self, flags: int, number: int, payload: bytes) -> None:
        """Extensions are ignored (5.5)."""
        self._tolerate("frames of unknown kinds")

    def _tolerate(self, what: str) -> None:
        """A frame that carries nothing."""
        self._patience -= 1
        if self._patience < 0:
            raise Fault(h2.ENHANCE_YOUR_CALM, f"a flood of {what}")

    def _check_greeting(self, data: bytes, what: int) -> None:
        """The peer speaks first by SETTINGS (3.4); ``what`` are kind and flags of its first frame."""
        if what >> 8 != h2.SETTINGS or what & h2.ACK:
            hint = ": leave h2c= away; if this is gRPC, is it the right port?" if data[:5] == b"HTTP/" else ""
            raise Fault(h2.PROTOCOL_ERROR, f"it does not speak HTTP/2 but {data[:HEAD]!r}{hint}")

    def _broken(self, fault: Fault) -> None:
        """The line is dead; the channel will ask for what is in flight by ``abandon``."""
        message = f"the server broke the rules of HTTP/2: {fault.message} ({h2.code_name(fault.code)})"
        self.error = ConnectionEnded(message, phase="answer")
        self.outbox.append(h2.goaway(fault.code, fault.message))
        self._retire()
        self.hungry = False

    def _give_credit(self) -> None:
        """Half of the line's window is used."""
        if self._credit < 0:
            raise Fault(h2.FLOW_CONTROL_ERROR, "more data than the window of the line")
        self.outbox.append(h2.window_update(0, RECEIVE_WINDOW - self._credit))
        self._credit = RECEIVE_WINDOW
        self._patience = PATIENCE

    # Streams that are no more

    def _rst_stream(self, flags: int, number: int, payload: bytes) -> None:
        """6.4."""
        code = h2.read_number("RST_STREAM", payload)
        stream = self._streams.get(number)
        if stream is None:
            self._check_number(number)
            self._departed.forget(number)
            self._tolerate("RST_STREAM")
            return
        self._resets += 1
        x = stream.x
        x.untouched = code == h2.REFUSED_STREAM or self._is_for_http1(code)
        name = h2.code_name(code)
        x.error = StreamReset(f"the server reset the stream ({name})", h2_name=name, phase="answer")
        self._leave(stream)
        if self._resets > MAX_RESETS:
            raise Fault(h2.ENHANCE_YOUR_CALM, f"over {MAX_RESETS:,} streams reset in succession")

    def _check_number(self, number: int) -> None:
        """A frame for a stream that is not open: was it ever? (5.1, 5.1.1)"""
        if number % 2 == 0 or number >= self._next:
            raise Fault(h2.PROTOCOL_ERROR, f"a frame for stream {number}, which was never opened")

    def _stray(self, number: int, last: int, length: int = 0) -> None:
        """DATA or HEADERS for a stream that is not open."""
        self._check_number(number)
        self._departed.take(number, last, length)
        if not length:
            self._tolerate("frames for a stream that was reset")

    def _is_for_http1(self, code: int) -> bool:
        """Does the server ask for HTTP/1.1 by this error code (7), and may it have it? The next lines are.

        None of the present ones takes anything new: what was refused might go to each of them in turn.
        """
        if code != h2.HTTP_1_1_REQUIRED:
            return False
        self._retire()
        if self._origin.demote is None:
            return False
        self._origin.demote()
        for line in self._origin.lines:
            line._retire()
        return True

    # The end of an exchange

    def _answered(self, stream: Stream) -> None:
        """The hot path. As ``_leave``, of a stream whose request is all sent."""
        x = stream.x
        self._resets = 0
        self._patience = PATIENCE
        del self._streams[stream.number]
        del self.inflight[x]
        self._finished.append(x)

    def _fail(self, stream: Stream, error: AquestsError) -> None:
        """This exchange has an error; the others go on."""
        stream.x.error = error
        self._send_reset(stream, h2.PROTOCOL_ERROR if isinstance(error, ProtocolError) else h2.CANCEL)
        self._leave(stream)

    def _send_reset(self, stream: Stream, code: int) -> None:
        self.outbox.append(h2.rst_stream(stream.number, code))
        self._departed.remember(stream)

    def _leave(self, stream: Stream) -> None:
        self._drop(stream)
        self._finished.append(stream.x)

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream.number]
        del self.inflight[stream.x]
        if stream.uploading:
            self._uploads.remove(stream)
            self.hungry = self._uploads.hungry()

    def _take_finished(self) -> Sequence[Exchange]:
        finished = self._finished
        if not finished:
            return NO_EXCHANGES
        self._finished = []
        return finished

    def cancel(self, x: Exchange) -> bool:
        """The server is told; the line survives, unless it seems dead: then it takes nothing new."""
        stream = self.inflight.get(x)
        if stream is not None:
            self._send_reset(stream, h2.CANCEL)
            self._drop(stream)
            if stream.number >= self._heard:
                self._retire()
            self._count_room()
        return True

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        """The line is gone. What had finished in a call that did not return (a defect of ours) is given back, too."""
        self._end()
        finished = self._take_finished()
        lost = fail(list(self.inflight), error)
        self.inflight.clear()
        self._streams.clear()
        return [*finished, *lost] if finished else lost

    # Room

    def _count_room(self) -> None:
        if not self.reusable:
            return
        numbers = (MOST - self._next) // 2 + 1
        self.room = max(0, min(self._limit - len(self._streams), numbers))
        if not numbers or (not self._limit and not self._streams):
            # No numbers are left (5.1.1); or the peer allows no streams, and nobody knows for how long.
            self._retire()
