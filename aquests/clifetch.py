"""``aquests fetch``: a file of URLs in, one JSON line for each answer out, in little memory.

The file is read as workers come free, never ahead of them. A regular file always has a line or an end;
a pipe may have neither, and waiting for it must not keep answers waiting. So the source of requests
ends when there is nothing to be read now (it is *parked*), and is fed again as soon as the descriptor
is readable. Only when nothing is in flight does it wait for the next line itself.

Every line of the input that is neither blank nor a comment gets one line of output: its answer, its
failure, or what is wrong with it. Only what a stopped run has not begun is missing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, NoReturn, TypeAlias

from .errors import AquestsError, RequestError
from .exchange import Response
from .httprequest import HttpRequest, make
from .lib.console import Brake, Output, Progress, every
from .lib.lines import MAX_LINE, LineReader
from .lib.poller import READ
from .report import Report
from .script import feed, fetchall, script

PATIENCE: Final = 0.2
"""Seconds between two looks at the brake while waiting for a line."""
MAX_NAME: Final = 100
"""Characters that a saved file's name takes from its URL; file systems allow 255 bytes in all."""

Pairs: TypeAlias = Sequence[tuple[str, Any]]

KEYS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "url": ((str,), "a string"),
    "method": ((str,), 'a string like "POST"'),
    "headers": ((dict,), 'an object like {"Accept": "text/html"}'),
    "data": ((str, dict, list), "a string, an object, or an array as JSON"),
    "meta": ((dict,), "an object"),
}
"""What a JSON line may hold; null is as good as nothing."""

_TEXTUAL: Final = re.compile(
    r"text/|application/(?:[^;]*\+)?(?:json|xml|javascript|x-www-form-urlencoded)\b|.*charset=", re.IGNORECASE
)
_JSON: Final = re.compile(r"application/(?:[^;]*\+)?json\b", re.IGNORECASE)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._\-]+")


# The input


@dataclass(slots=True)
class Line:
    """What one line asks for. ``meta`` is JSON already: it goes into the answer as it came."""

    url: str
    method: str = "GET"
    headers: dict[str, Any] = field(default_factory=dict)
    data: Any = None
    meta: str = "null"


def parse_line(raw: bytes | None) -> Line:
    """A URL, or a JSON object with the KEYS. Raises RequestError, which says how to mend the line."""
    if raw is None:
        raise RequestError(f"it is longer than {MAX_LINE >> 20} MiB: write one URL or one JSON object a line")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"byte {error.start + 1} is not UTF-8: convert the file") from error
    if not text.startswith("{"):
        return Line(text)
    try:
        given = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except ValueError as error:
        raise RequestError(f'no JSON ({error}): write an object in one line, like {{"url": "http://…"}}') from error
    except RecursionError:
        raise RequestError("the JSON is nested too deep") from None
    given = {key: value for key, value in given.items() if value is not None}
    _check_keys(given)
    meta = given.pop("meta", None)
    given.setdefault("method", "GET" if "data" not in given else "POST")
    return Line(**given, meta=json.dumps(meta))


def _check_keys(given: dict[str, Any]) -> None:
    for key, value in given.items():
        if key not in KEYS:
            close = get_close_matches(key, KEYS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"use {', '.join(KEYS)}"
            raise RequestError(f"unknown key {key[:40]!r}: {hint}")
        kinds, wanted = KEYS[key]
        if not isinstance(value, kinds):
            raise RequestError(f"{key} must be {wanted}")
    if "url" not in given:
        raise RequestError('url is missing: write {"url": "http://…"}')


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def merged(common: Pairs, own: Mapping[str, Any]) -> Pairs:
    """The headers for all lines and those of one line, which win whatever their case."""
    lower = {name.lower() for name in own}
    return [*((name, value) for name, value in common if name.lower() not in lower), *own.items()]


def _says_json(headers: Pairs) -> bool:
    return any(name.lower() == "content-type" and _JSON.match(str(value)) for name, value in headers)


# The output


def record(response: Response) -> dict[str, Any]:
    """What the answer's line says, but its meta."""
    error = response.error
    return {
        "line": response.meta["line"],
        "url": response.url,
        "status": response.status_code,
        "reason": response.reason,
        "version": response.version,
        "elapsed": round(response.elapsed, 6),
        "bytes": len(response.content),
        "error": None if error is None else str(error),
    }


def bad_record(number: int, error: str) -> dict[str, Any]:
    """The line for a request that could not be made."""
    names = ("url", "status", "reason", "version", "elapsed", "bytes")
    return {"line": number, **dict.fromkeys(names), "error": error}


def render(entry: dict[str, Any], meta: str) -> bytes:
    """One line of output: ASCII, so that no reader stumbles over it; ``meta`` is JSON and comes last."""
    return f'{json.dumps(entry)[:-1]}, "meta": {meta}}}\n'.encode("ascii")


def body_text(response: Response) -> str | None:
    """The body as text, by its content type, or because it is UTF-8; None if it is no text."""
    if _TEXTUAL.match(response.headers.get("content-type") or ""):
        return response.text
    try:
        return response.content.decode()
    except UnicodeDecodeError:
        return None


def file_name(number: int, url: str) -> str:
    """``00000007-page.html``: the line, and what of the URL's last segment is harmless in a name."""
    path = url.partition("://")[2].partition("?")[0].partition("/")[2]
    name = _UNSAFE.sub("_", path.rstrip("/").rpartition("/")[2]).lstrip(".")
    stem, dot, ending = name.rpartition(".")
    if len(name) > MAX_NAME:
        keep = MAX_NAME - len(dot + ending)
        name = stem[:keep] + dot + ending if len(ending) <= 10 and stem else name[:MAX_NAME]
    return f"{number:08d}-{name or 'index'}"


def save(path: str, content: bytes) -> None:
    """Write a file of our own name; a link that waits there is not followed. Raises OSError, and leaves no half."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    try:
        with open(fd, "wb", buffering=0) as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
    except OSError:
        os.unlink(path)
        raise


# The run


@dataclass(frozen=True)
class Plan:
    """What is done with every line: ``headers`` and ``auth`` for its request, ``save`` (a directory) and ``body``
    for its answer."""

    headers: Pairs = ()
    auth: tuple[str, ...] | None = None
    save: str = ""
    body: bool = False


class Fetch:
    """One run over one input. ``bad`` counts lines that could not be sent, ``unsaved`` bodies not written."""

    def __init__(self, reader: LineReader, plan: Plan, output: Output, progress: Progress, brake: Brake):
        self.bad = 0
        self.unsaved = 0
        self._reader = reader
        self._plan = plan
        self._output = output
        self._progress = progress
        self._brake = brake
        self._engine = script.engine
        self._parked = False

    def run(self) -> Report:
        """Fetch everything; the run's callback must be ``finish``."""
        every(self._engine.loop, self._show)
        feed(self._requests())
        try:
            return fetchall()
        finally:
            self._unpark()
            self._output.flush()

    @property
    def ok(self) -> bool:
        """Could the input be read, every line be sent, and every body be saved?"""
        return not (self.bad or self.unsaved or self._reader.fault)

    def complaints(self) -> list[str]:
        """What the report does not know, in its shape."""
        counts = {"bad lines": self.bad, "not saved": self.unsaved}
        rows = [f"{label:13}{count:,}" for label, count in counts.items() if count]
        if (fault := self._reader.fault) is not None:
            rows.append(f"{'input':13}ended after line {self._reader.number}: {fault.strerror}")
        return rows

    def _show(self) -> None:
        self._output.flush()
        self._progress.draw()

    # From lines to requests

    def _requests(self) -> Iterator[HttpRequest]:
        """The lazy source. Ends when it is parked, too."""
        reader = self._reader
        while not self._brake.pulled:
            if not reader.ready(0):
                if self._engine.pending:
                    self._park()
                    return
                self._show()
                reader.ready(PATIENCE)
                continue
            line = reader.take()
            if line is None:
                return
            request = self._request(*line)
            if request is not None:
                yield request

    def _park(self) -> None:
        self._parked = True
        self._engine.loop.add(self._reader.fd, READ, self._on_readable)

    def _on_readable(self, mask: int) -> None:
        self._unpark()
        feed(self._requests())

    def _unpark(self) -> bool:
        if not self._parked:
            return False
        self._parked = False
        self._engine.loop.remove(self._reader.fd)
        return True

    def _request(self, number: int, raw: bytes | None) -> HttpRequest | None:
        """The request of a line; None if it has none, which is said in the output."""
        meta = "null"
        try:
            line = parse_line(raw)
            meta = line.meta
            return self._make(number, line)
        except RequestError as error:
            self.bad += 1
            self._count(False)
            self._output.write(render(bad_record(number, f"line {number}: {error.message}"), meta))
        return None

    def _make(self, number: int, line: Line) -> HttpRequest:
        options: dict[str, Any] = {"meta": {"line": number, "meta": line.meta}}
        if self._plan.auth is not None:
            options["auth"] = self._plan.auth
        headers = merged(self._plan.headers, line.headers)
        if isinstance(line.data, list) and not _says_json(headers):
            raise RequestError('an array as data needs "Content-Type": "application/json" in the headers')
        if line.method == "GET" and line.data is None:  # the fast way
            return make("GET", "get", line.url, None, headers or None, None, None, options, self._engine.endpoints)
        return HttpRequest(line.method.upper(), line.url, line.data, headers or None, **options)

    # From answers to lines

    def finish(self, response: Response) -> None:
        """The callback: one answer, one line."""
        entry = record(response)
        answered = not isinstance(response.error, AquestsError)
        if self._plan.save and answered:
            self._save(entry, response)
        if self._plan.body:
            entry["body"] = body_text(response) if answered else None
        self._count(response.ok and entry["error"] is None)
        self._output.write(render(entry, response.meta["meta"]))
        if not self._engine.pending and self._unpark():
            feed(self._requests())

    def _save(self, entry: dict[str, Any], response: Response) -> None:
        path = os.path.join(self._plan.save, file_name(entry["line"], response.url))
        try:
            save(path, response.content)
        except OSError as error:
            self.unsaved += 1
            entry["error"] = f"not saved in {path}: {error.strerror}"
            path = ""
        entry["file"] = path or None

    def _count(self, good: bool) -> None:
        self._progress.done += 1
        self._progress.failed += not good
