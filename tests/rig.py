"""An engine to be tested: it keeps its answers, checks that each request has exactly one, and runs in bounded time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any, Self

from aquests.engine import Engine
from aquests.exchange import Response
from aquests.httprequest import HttpRequest, make
from aquests.lib.loop import Loop
from aquests.settings import Settings

WITHIN = 10.0
"""Seconds a run may take on a loaded machine; only a failing test ever waits so long."""


class Rig:
    """``answers`` in the order of the callbacks; ``on_answer(response)`` is called behind it, to queue more."""

    def __init__(self, loop: Loop | None = None, **settings: Any):
        settings.setdefault("trust_env", False)
        self.answers: list[Response] = []
        self.asked = 0
        self.on_answer: Callable[[Response], object] | None = None
        self.engine = Engine(Settings(callback=self._answered, **settings), loop)
        self.engine.take = self._take
        self.given = settings

    def configure(self, **settings: Any) -> None:
        """Change some settings and keep the others."""
        self.given |= settings
        self.engine.configure(Settings(callback=self._answered, **self.given))

    def ask(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: Any = None,
        *,
        params: Any = None,
        content_type: str | None = None,
        **options: Any,
    ) -> HttpRequest:
        """Queue a request, as the verbs do."""
        options.setdefault("callback", self._answered)
        request = make(method, method.lower(), url, data, headers, params, content_type, options, self.engine.endpoints)
        self.engine.submit(request)
        self.asked += 1
        return request

    def run(self, within: float = WITHIN) -> list[Response]:
        """Step until nothing is left; every request has exactly one answer then."""
        end = monotonic() + within
        while not self.engine.idle:
            left = end - monotonic()
            assert left > 0, (
                f"not through in {within} s: {self.engine.pending} pending, {self.engine.queue.size} queued"
            )
            self.engine.step(left)
        self.check()
        return self.answers

    def check(self) -> None:
        """Every request asked has been answered once, and nothing is in the books."""
        numbers = Counter(response.meta["req_id"] for response in self.answers)
        assert [number for number, times in numbers.items() if times > 1] == [], "answered more than once"
        assert len(numbers) == self.asked
        engine = self.engine
        assert (engine.pending, engine.queue.size, engine.workings) == (0, 0, 0)
        assert engine.finished == self.asked == engine.stats.tasks

    def fetch(self, url: str, method: str = "GET", data: Any = None, headers: Any = None, **options: Any) -> Response:
        """One request, run to its end."""
        request = self.ask(url, method, data, headers, **options)
        self.run()
        assert request.response is self.answers[-1]
        return self.answers[-1]

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _answered(self, response: Response) -> None:
        self.answers.append(response)
        if self.on_answer is not None:
            self.on_answer(response)

    def _take(self, item: Any) -> None:
        if isinstance(item, str):
            self.ask(item)
        elif item.req_id < 0:
            item.place(self.engine.endpoints)
            self.engine.submit(item)
            self.asked += 1


def codes(answers: list[Response]) -> list[int]:
    return [response.status_code for response in answers]


def bodies(answers: list[Response]) -> list[bytes]:
    return [response.content for response in answers]
