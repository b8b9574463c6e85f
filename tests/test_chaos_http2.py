"""HTTP/2 in disorder: the h2 library answers streams in any order, in any pieces, and changes its mind.

Servers and engine take turns in one thread: ``tests.town``. Whatever our wire sends is judged by h2,
which raises where a rule of RFC 9113 is broken.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes, Settings

from aquests.exchange import Response
from tests.helpers import random_cuts
from tests.rig import Rig
from tests.town import Act, Town, books_are_closed

CALM = ("plain",) * 10 + ("padded", "trailers", "unsized", "interim", "empty-data", "nothing", "ping", "settings")
WILD = CALM * 2 + ("refused", "reset", "short", "goaway", "cut")


class Server:
    """What hears one connection. ``log`` counts the requests that were taken, over all of them."""

    def __init__(self, chance: random.Random, log: Counter[str], moods: tuple[str, ...]):
        self.chance = chance
        self.log = log
        self.moods = moods
        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        first: Any = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_CONCURRENT_STREAMS: chance.choice((1, 3, 100))}
        self.connection.local_settings = Settings(client=False, initial_values=first)
        self.connection.initiate_connection()
        self._asked: dict[int, tuple[str, str]] = {}
        self._bodies: Counter[int] = Counter()
        self._due: list[int] = []
        self._rest: dict[int, tuple[bytes, bool, int | None]] = {}
        self._over: str | None = None
        self._taken = 0
        """The highest stream that was taken: what a GOAWAY says."""
        self._settled = False
        """No SETTINGS is under way: h2 takes the ACK of one for that of any other."""

    def __call__(self, data: bytes) -> list[Act]:
        if self._over is not None:
            return []
        for event in self.connection.receive_data(data):
            if isinstance(event, RequestReceived):
                assert event.stream_id is not None and event.headers is not None
                fields = {str(name): str(value) for name, value in event.headers}
                self._asked[event.stream_id] = (fields[":method"], fields[":path"])
            elif isinstance(event, DataReceived):
                assert event.stream_id is not None and event.data is not None
                self._bodies[event.stream_id] += len(event.data)
                self.connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            elif isinstance(event, StreamEnded):
                assert event.stream_id is not None
                self._due.append(event.stream_id)
            elif isinstance(event, StreamReset):
                assert event.stream_id is not None
                self._forget(event.stream_id)
            elif isinstance(event, SettingsAcknowledged):
                self._settled = True
            elif isinstance(event, ConnectionTerminated):
                self._over = "close"
        return self.flush()

    def _forget(self, stream: int) -> None:
        self._rest.pop(stream, None)
        if stream in self._due:
            self._due.remove(stream)

    def flush(self) -> list[Act]:
        said = self.connection.data_to_send()
        acts: list[Act] = []
        if said:
            acts += [said] if self.chance.random() < 0.7 else list(random_cuts(said, self.chance))
        if self._over is not None:
            acts.append(self._over)
        return acts

    def tick(self) -> list[Act]:
        """A few answers begin, those that have begun go on."""
        if self._over is not None:
            return []
        while self._due and self._over is None and self.chance.random() < 0.8:
            self.begin(self._due.pop(self.chance.randrange(len(self._due))))
        for stream in [*self._rest]:
            if self._over is None and self.chance.random() < 0.7:
                self.go_on(stream)
        return self.flush()

    def begin(self, stream: int) -> None:
        method, path = self._asked[stream]
        server, mood = self.connection, self.chance.choice(self.moods)
        if mood == "refused":
            server.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        self.log[f"{method} {path}"] += 1
        self._taken = max(self._taken, stream)
        if mood == "reset":
            server.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
            return
        if mood in ("goaway", "cut"):
            if mood == "goaway":
                server.close_connection(last_stream_id=self._taken)
            self._over = "close"
            return
        if mood == "ping":
            server.ping(b"are you?")
        elif mood == "settings" and self._settled:
            self._settled = False
            server.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self.chance.choice((1, 2, 50))})
        elif mood == "interim":
            server.send_headers(stream, [(":status", "103"), ("link", "x")])
        body = told(method, path, self._bodies[stream])
        fields = [(":status", "200"), ("server", self.chance.choice("abc")), ("x-number", path)]
        if mood == "nothing":
            server.send_headers(stream, [(":status", "204")], end_stream=True)
            return
        if mood != "unsized":
            fields.append(("content-length", str(len(body))))
        if method == "HEAD":
            server.send_headers(stream, fields, end_stream=True)
            return
        if mood == "short":
            body = body[: len(body) // 2]
        server.send_headers(stream, fields)
        if mood == "empty-data":
            server.send_data(stream, b"")
        self._rest[stream] = (body, mood == "trailers", self.chance.randrange(200) if mood == "padded" else None)
        self.go_on(stream)

    def go_on(self, stream: int) -> None:
        """Another piece of a body, as large as the windows let it be, or smaller."""
        body, trailers, padding = self._rest[stream]
        server = self.connection
        extra = 0 if padding is None else padding + 1
        window = min(server.local_flow_control_window(stream), server.max_outbound_frame_size) - extra
        if window <= 0:
            return
        piece = body[: window if self.chance.random() < 0.7 else self.chance.randrange(1, window + 1)]
        body = body[len(piece) :]
        server.send_data(stream, piece, end_stream=not body and not trailers, pad_length=padding)
        if body:
            self._rest[stream] = (body, trailers, padding)
            return
        del self._rest[stream]
        if trailers:
            server.send_headers(stream, [("told", "yes")], end_stream=True)


def told(method: str, path: str, size: int) -> bytes:
    number = int(path.rpartition("/")[2])
    return f"{method} {path} {size} ".encode() + b"." * (100_000 if number % 89 == 0 else number % 300)


def right(response: Response, method: str, path: str, size: int) -> bool:
    if response.error is not None:
        return response.status_code in (700, 714, 715, 720, 721)
    if method == "HEAD" or response.status_code == 204:
        return response.content == b""
    return response.content == told(method, path, size)


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_each_stream_has_its_own_answer(seed: int, wild: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aquests.retry.REFUSAL_PAUSE", 1e-6)
    chance = random.Random(seed)
    log: Counter[str] = Counter()
    asked: dict[int, tuple[str, str, int]] = {}
    wrong: list[str] = []
    workers, streams, houses = ((1, 10, 1), (2, 3, 2), (5, 20, 3), (3, 1, 2), (8, 100, 2))[seed]
    total = 700
    with (
        Town(houses, lambda house: Server(chance, log, WILD if wild else CALM), chance) as town,
        Rig(workers=workers, http2_constreams=streams, timeout=20) as rig,
    ):

        def ask() -> None:
            method = chance.choice(("GET",) * 6 + ("HEAD", "POST", "PUT", "DELETE"))
            # Equal requests are kept in bytes: half of them are asked for more than once.
            path = f"/{len(asked) if method == 'POST' else len(asked) // 2}"
            size = chance.choice((0, 10, 40_000)) if method in ("POST", "PUT") else 0
            headers = chance.choice((None, None, {"X-Mine": str(size)}))
            url = f"http://127.0.0.1:{chance.choice(town.ports)}{path}"
            request = rig.ask(url, method, b"x" * size if size else None, headers, h2c="prior")
            asked[request.req_id] = (method, path, size)

        def on_answer(response: Response) -> None:
            what = asked[response.meta["req_id"]]
            if not right(response, *what):
                wrong.append(f"{what}: {response.status_code} {response.error!r} {response.content[:60]!r}")
            while len(asked) < total and chance.random() < 0.6:
                ask()
            if chance.random() < 0.01:
                rig.configure(
                    workers=chance.choice((1, 2, 6)),
                    http2_constreams=chance.choice((1, 5, streams)),
                    use_pool=chance.random() < 0.9,
                )

        rig.on_answer = on_answer
        while len(asked) < total:
            for _ in range(150):
                ask()
            town.run(rig)
        assert wrong == [], len(wrong)
        assert rig.engine.stats.callback_errors == 0
        failed = [response for response in rig.answers if response.error is not None]
        assert (len(failed) > 0) == wild and len(failed) < total, failed[0].error
        assert [what for what, times in log.items() if times > 1 and what.startswith("POST")] == [], "executed twice"
        books_are_closed(rig)
