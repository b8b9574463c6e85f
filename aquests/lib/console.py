"""What a command needs of its surroundings: a brake, files, output in whole pieces, a line of progress.

Nothing here knows requests. The traps of the place:

- A signal may come in the middle of anything, so its handler only notes it; the run stops itself.
- Whoever reads our output may stop reading (``| head``), or be slow. A piece is therefore handed to the
  system whole, never half of it left in a buffer that the interpreter flushes at its end, and the
  first failure is reported once; later pieces are dropped.
- ``rich`` takes 100 ms to import: only where there is a terminal to draw on.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, Final, Self

from ..errors import RequestError

if TYPE_CHECKING:
    from .loop import Loop

FULL: Final = 65536
"""Bytes collected before they are written without being asked: what a pipe takes at once."""
REDRAW: Final = 0.125
"""Seconds between two looks at a progress line: eight a second are fluent, and cost nothing."""


class Brake:
    """The first SIGINT or SIGTERM calls ``stop()`` (from the handler), a second one raises KeyboardInterrupt.

    ``pulled`` says whether it was, ``signal`` by which signal (0: by ``pull``). A signal that is ignored, or
    has a handler already, stays as it is. To be used in the main thread, as a context manager.
    """

    def __init__(self, stop: Callable[[], object]):
        self.pulled = False
        self.signal = 0
        self._stop = stop
        self._old: dict[int, Any] = {}

    def pull(self) -> None:
        """Stop without a signal."""
        self.pulled = True
        self._stop()

    def __enter__(self) -> Self:
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) is usual:
                self._old[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        self.pull()


class Output:
    """Pieces of bytes for a descriptor, collected, and written whole.

    ``error`` is the OSError that ended it; ``failed()`` is called once when that happens.
    """

    def __init__(self, fd: int, failed: Callable[[], object]):
        self.error: OSError | None = None
        self._fd = fd
        self._failed = failed
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, piece: bytes) -> None:
        if self.error is None:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size >= FULL:
                self.flush()

    def flush(self) -> None:
        """Write what was collected; waits for a slow reader."""
        if not self._pieces or self.error is not None:
            return
        data = memoryview(b"".join(self._pieces))
        self._pieces.clear()
        self._size = 0
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # somebody who shares the descriptor made it so
                room = select.poll()
                room.register(self._fd, select.POLLOUT)
                room.poll()
            except OSError as error:
                self.error = error
                self._failed()
                return

    def complain(self, name: str) -> None:
        """Say why it ended early, unless its reader has just gone."""
        if self.error is not None and not isinstance(self.error, BrokenPipeError):
            say(f"aquests: cannot write {name}: {self.error.strerror}")


class Progress:
    """A line on the terminal of stderr: how many are done and failed, how many a second, for how long.

    Add to ``done`` and ``failed``, and call ``draw`` from time to time. Nothing is shown, and nothing imported,
    unless ``shown``. ``total`` draws a bar as well.
    """

    def __init__(self, label: str, total: int | None = None, *, shown: bool):
        self.done = 0
        self.failed = 0
        self._label = label
        self._total = total
        self._shown = shown
        self._began = 0.0
        self._bars: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        self._began = monotonic()
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns: list[Any] = [TextColumn("{task.description}")]
            if self._total is not None:
                columns.append(BarColumn())
            figures = "{task.completed:,} done  {task.fields[rate]:,.0f}/s  {task.fields[failed]:,} failed"
            columns += [TextColumn(figures), TimeElapsedColumn()]
            # No thread of its own, and our output does not pass through it.
            self._bars = Bars(
                *columns,
                console=Console(stderr=True),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bars.add_task(self._label, total=self._total, rate=0.0, failed=0)
            self._bars.start()
        return self

    def draw(self) -> None:
        """Show how it stands."""
        if self._bars is not None:
            rate = self.done / max(0.001, monotonic() - self._began)
            self._bars.update(self._task, completed=self.done, rate=rate, failed=self.failed, refresh=True)

    def __exit__(self, *exc: object) -> None:
        if self._bars is not None:
            self._bars.stop()


def every(loop: Loop, call: Callable[[], object]) -> None:
    """Let the loop run ``call()`` every REDRAW seconds, for as long as it is stepped."""

    def again() -> None:
        call()
        loop.at(loop.now + REDRAW, again)

    loop.at(monotonic() + REDRAW, again)


def is_terminal(stream: IO[Any] | None) -> bool:
    """Is this standard stream a terminal? It may be None, or closed."""
    return stream is not None and not stream.closed and stream.isatty()


def say(text: str) -> None:
    """One line, or a whole report, on stderr; control characters of others are not passed on to a terminal."""
    if sys.stderr is None:  # closed when we were started; print() would take stdout
        return
    shown = "".join([char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text])
    try:
        print(shown, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody listens
        pass


def reading(path: str, files: ExitStack) -> IO[bytes]:
    """The file, or stdin for ``-``. Raises RequestError if it cannot be opened."""
    if path == "-":
        if sys.stdin is None:
            raise RequestError("stdin is closed: name a file")
        return sys.stdin.buffer
    try:
        return files.enter_context(open(path, "rb"))
    except (OSError, ValueError) as error:
        raise _unusable("read", path, error) from error


def writing(path: str | None, files: ExitStack, source: IO[bytes] | None = None) -> int:
    """The descriptor of the file, emptied, or of stdout. Raises RequestError, also if it is the ``source``."""
    if path is None:
        if sys.stdout is None:  # its number may be a socket's by now
            raise RequestError("stdout is closed: name a file to write")
        return sys.stdout.fileno()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    except (OSError, ValueError) as error:
        raise _unusable("write", path, error) from error
    files.callback(os.close, fd)
    there = os.fstat(fd)
    if source is not None and os.path.samestat(there, os.fstat(source.fileno())):
        raise RequestError(f"{path} is read, it cannot be written as well: name another file")
    if stat.S_ISREG(there.st_mode):
        os.truncate(fd, 0)
    return fd


def directory(path: str) -> None:
    """Make it, with those above it, if it is not there. Raises RequestError if that cannot be."""
    try:
        os.makedirs(path, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unusable("make", path, error) from error


def _unusable(verb: str, path: str, error: OSError | ValueError) -> RequestError:
    """What the system said about a path, as a fault of the caller."""
    return RequestError(f"cannot {verb} {path}: {error.strerror if isinstance(error, OSError) else error}")
