"""Request bodies on HTTP/2: many of them share a line, each as fast as its window and the line's let it (RFC 9113 5.2).

Bodies take turns, a frame each; whose frame was cut short by the window of the line has the rest of its turn when that
opens again, or those behind large frames would get crumbs only. A window may be closed on one body while the others go
on; when nothing can go on, the line is not hungry, and only WINDOW_UPDATE or SETTINGS make it so again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ..errors import RequestError
from .h2frames import DATA, END_STREAM, FLOW_CONTROL_ERROR, LEAST_FRAME, MOST, WINDOW, Fault, frame, headers
from .h2head import content_length

if TYPE_CHECKING:
    from .h2stream import Stream

PIECE: Final = 65536
"""Bytes put into the outbox at once: what a socket takes."""
SMALLEST: Final = 512
"""What a frame counts at least of these: tiny ones cost as well."""


class Upload:
    """A body on its way out, in pieces as large as the windows allow.

    ``source`` has ``length`` (None: not known before the end) and ``read()``: the next bytes, b"" at the end.
    """

    __slots__ = ("_at", "_held", "_left", "_source", "used")

    def __init__(self, source: Any):
        self.used = 0
        """Bytes of its present turn that are used."""
        self._source = source
        self._left: int | None = source.length
        self._held: bytes | memoryview = b""
        self._at = 0

    def ready(self, credit: int) -> bool:
        """Could ``take`` do something, with so much credit? The end of a body of unknown length needs none."""
        return credit > 0 or (self._left is None and self._at == len(self._held))

    def take(self, most: int) -> tuple[bytes | memoryview, bool]:
        """At most so many bytes (none if ``most`` is below 1), and whether they are the last. Raises RequestError."""
        if self._at == len(self._held):
            self._held = self._source.read()
            self._at = 0
            if not self._held:
                return b"", True
        piece = self._held[self._at : self._at + most] if most > 0 else b""
        self._at += len(piece)
        if self._left is None:
            return piece, False  # perhaps the last; but the next may take its time, this one need not wait for it
        self._left -= len(piece)
        return piece, self._left <= 0


class Whole:
    """Bytes as a source; what is read are views of them."""

    __slots__ = ("_at", "_data", "length")

    def __init__(self, data: bytes):
        self._at = 0
        self._data = memoryview(data)
        self.length: int | None = len(data)

    def read(self, n: int = PIECE) -> memoryview:
        piece = self._data[self._at : self._at + n]
        self._at += len(piece)
        return piece


class Uploads:
    """The bodies of one line, and its windows: ``window`` for all together, ``initial`` for each new stream."""

    __slots__ = ("_bodies", "_turns", "initial", "window")

    def __init__(self) -> None:
        self.window = WINDOW
        self.initial = WINDOW
        self._turns: deque[Stream] = deque()
        self._bodies: dict[Stream, Upload] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def begin(self, outbox: list[bytes], stream: Stream, block: bytes, payload: Any, most_frame: int) -> None:
        """A request with a body: at once if it is small and fits the windows, else in turn with others."""
        whole = payload is None or isinstance(payload, bytes)
        length = len(payload or b"") if whole else payload.length
        if length is not None:
            block += content_length(length)
        head = headers(block, stream.number, length == 0, most_frame)
        body = self.at_once(stream, payload) if whole and length else None
        outbox.append(head if body is None else head + body)
        if length != 0 and body is None:
            self.add(stream, Whole(payload) if whole else payload)

    def grant(self, length: int) -> bool:
        """May a new stream send so many bytes now? Then they are taken from the line's window; its own is up to it."""
        if length > self.window or length > self.initial or self._turns:
            return False
        self.window -= length
        return True

    def at_once(self, stream: Stream, payload: bytes) -> bytes | None:
        """The frames of a small body on a new stream, if all of it may be sent now and nobody waits; else None."""
        length = len(payload)
        if length > PIECE or not self.grant(length):
            return None
        stream.window -= length
        number = stream.number
        if length <= LEAST_FRAME:
            return frame(DATA, END_STREAM, number, payload)
        pieces = [payload[at : at + LEAST_FRAME] for at in range(0, length, LEAST_FRAME)]
        frames = [frame(DATA, 0, number, piece) for piece in pieces[:-1]]
        frames.append(frame(DATA, END_STREAM, number, pieces[-1]))
        return b"".join(frames)

    def add(self, stream: Stream, source: Any) -> None:
        """Send a body in turn with the others."""
        stream.uploading = True
        self._bodies[stream] = Upload(source)
        self._turns.append(stream)

    def remove(self, stream: Stream) -> None:
        """Nobody wants the rest of this one."""
        self._turns.remove(stream)
        self._end(stream)

    def _end(self, stream: Stream) -> None:
        stream.uploading = False
        del self._bodies[stream]

    def hungry(self) -> bool:
        """Is there one that may go on?"""
        line = self.window
        return any([upload.ready(min(line, stream.window)) for stream, upload in self._bodies.items()])

    def produce(self, outbox: list[bytes]) -> list[tuple[Stream, RequestError]]:
        """A frame of each in turn, up to ``PIECE`` bytes in all. Returns those whose source failed."""
        failed = []
        budget = PIECE
        vain = 0
        while budget > 0 and vain < len(self._turns):
            stream = self._turns.popleft()
            upload = self._bodies[stream]
            most = min(self.window, stream.window, LEAST_FRAME - upload.used)
            try:
                piece, last = upload.take(most) if upload.ready(most) else (b"", False)
            except RequestError as error:
                self._end(stream)
                failed.append((stream, error))
                continue
            if piece or last:
                vain = 0
                budget -= max(len(piece), SMALLEST)
                self.window -= len(piece)
                stream.window -= len(piece)
                stream.x.mark = -1  # what the peer takes of an upload is progress: the sweep finds a change
                outbox.append(frame(DATA, END_STREAM if last else 0, stream.number, piece))
            else:
                vain += 1
            upload.used += len(piece)
            if last:
                self._end(stream)
            elif piece and self.window <= 0 and upload.used < LEAST_FRAME:
                self._turns.appendleft(stream)
            else:
                self._turns.append(stream)
                if piece:
                    upload.used = 0
        return failed

    def widen(self, stream: Stream | None, more: int) -> None:
        """WINDOW_UPDATE, for one stream or the line (6.9.1)."""
        if stream is None:
            self.window += more
        else:
            stream.window += more
        if (self.window if stream is None else stream.window) > MOST:
            raise Fault(FLOW_CONTROL_ERROR, "a window over 2^31-1 bytes")

    def change(self, initial: int, streams: Iterable[Stream]) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE: every stream's window changes by the difference, perhaps below 0 (6.9.2)."""
        difference = initial - self.initial
        self.initial = initial
        for stream in streams:
            self.widen(stream, difference)
