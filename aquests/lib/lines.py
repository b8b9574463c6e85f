"""Numbered lines of a descriptor that may have none yet: a file, a pipe, a terminal.

Nothing is read ahead of need but what one read brings, and ``ready`` tells whether ``take`` has something to
give, so that whoever reads can do something else instead of waiting.
"""

from __future__ import annotations

import os
import select
from collections import deque
from random import Random
from typing import Final

CHUNK: Final = 262144
"""Bytes read at a time."""
MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line: beyond, the file has no lines."""
WINDOW: Final = 10_000
"""Lines read ahead, of which one is taken at random."""
MAX_HELD: Final = 4 * MAX_LINE
"""Bytes read ahead for that, at most."""


class LineReader:
    """The numbered lines of a descriptor, blank ones and comments left out.

    With a ``chance`` they come in random order, among WINDOW lines read ahead. ``number`` counts the lines read,
    ``ended`` says that there are no more, ``fault`` is the OSError that was the reason if it was not the end.
    """

    def __init__(self, fd: int, chance: Random | None = None):
        self.fd = fd
        self.ended = False
        self.fault: OSError | None = None
        self.number = 0
        self._chance = chance
        self._ahead = 1 if chance is None else WINDOW
        self._lines: deque[tuple[int, bytes | None]] = deque()
        self._held = 0
        self._rest = b""
        self._overlong = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def ready(self, seconds: float) -> bool:
        """Is there a line, or the end? Waits at most ``seconds`` for it."""
        while len(self._lines) < self._ahead and self._held < MAX_HELD and not self.ended:
            if not self._poll.poll(0 if self._lines else seconds * 1000):
                break
            self._read()
        return bool(self._lines) or self.ended

    def take(self) -> tuple[int, bytes | None] | None:
        """A line that is ready: its number (from 1) and its bytes, None if it is too long. None at the end."""
        lines = self._lines
        if not lines:
            return None
        if self._chance is not None:
            drawn = self._chance.randrange(len(lines))
            lines[drawn], lines[0] = lines[0], lines[drawn]
        line = lines.popleft()
        self._held -= len(line[1] or b"")
        return line

    def _read(self) -> None:
        try:
            data = os.read(self.fd, CHUNK)
        except OSError as error:
            self.fault = error
            data = self._rest = b""  # half a line is not handed out
        if data:
            *pieces, self._rest = (self._rest + data).split(b"\n")
        else:
            self.ended = True
            pieces = [self._rest] if self._rest or self._overlong else []
        for piece in pieces:
            self.number += 1
            self._keep(piece)
        if len(self._rest) > MAX_LINE:
            self._overlong = True
            self._rest = b""

    def _keep(self, piece: bytes) -> None:
        if self.number == 1:
            piece = piece.removeprefix(b"\xef\xbb\xbf")
        piece = piece.strip()
        if self._overlong:
            self._overlong = False
            self._lines.append((self.number, None))
        elif piece and not piece.startswith(b"#"):
            self._lines.append((self.number, piece))
            self._held += len(piece)
