"""What is remembered from request to request (bytes, endpoints, header blocks) must never be sent for another one.

The same few URL objects are asked for by all methods, with and without headers, bodies, credentials, cookies, directly
and through a proxy that wants the absolute form; each answer tells what the server has seen.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from aquests.errors import RequestError, TimedOut
from aquests.exchange import Response
from tests.rig import Rig
from tests.town import Act, Town, books_are_closed

ORIGIN, PROXY = 0, 1


class Echo:
    """What hears one connection: the answer is what was asked, and in which house."""

    def __init__(self, house: int):
        self.house = house
        self._buffer = b""

    def __call__(self, data: bytes) -> list[Act]:
        self._buffer += data
        acts: list[Act] = []
        while True:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
            length = int(fields.get("Content-Length", 0))
            if not end or len(rest) < length:
                return acts
            self._buffer = rest[length:]
            method, target = head.decode("latin-1").split()[:2]
            told = [str(self.house), method, target, fields.get("X-Mine", ""), fields.get("Authorization", "")]
            told += [fields.get("Cookie", ""), str(length), fields["Host"]]
            body = "|".join(told).encode()
            extra = "Set-Cookie: a=b\r\n" if method == "PUT" else ""
            extra += f"Told: {'|'.join(told)}\r\n"
            answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
            acts.append(answer if method == "HEAD" else answer + body)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_of_one_request_is_sent_for_another(seed: int) -> None:
    chance = random.Random(seed)
    wrong: list[str] = []
    asked: dict[int, dict[str, Any]] = {}
    total = 1200
    with Town(2, Echo, chance) as town, Rig(workers=(1, 1, 3, 10, 40)[seed], cookie=seed % 2 == 0) as rig:
        host = f"127.0.0.1:{town.ports[ORIGIN]}"
        proxy = f"http://127.0.0.1:{town.ports[PROXY]}"
        urls = [f"http://{host}/", f"http://{host}/a?b=c", f"http://localhost:{town.ports[ORIGIN]}/a?b=c"]

        def ask() -> None:
            url = chance.choice(urls)
            method = chance.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"))
            size = chance.choice((0, 7)) if method in ("POST", "PUT") else 0
            mine = chance.choice(("", "", "1", "2"))
            auth = chance.choice((None, None, None, ("token",)))
            through = chance.choice((None, None, None, proxy, False))
            options: dict[str, Any] = {
                name: value for name, value in (("auth", auth), ("proxy", through)) if value is not None
            }
            request = rig.ask(url, method, b"x" * size if size else None, {"X-Mine": mine} if mine else None, **options)
            asked[request.req_id] = {
                "url": url,
                "method": method,
                "size": str(size),
                "mine": mine,
                "auth": "Bearer token" if auth else "",
                "through": through,
            }

        def on_answer(response: Response) -> None:
            wanted = asked[response.meta["req_id"]]
            told = (response.headers["told"] or "").split("|")
            house, method, target, mine, auth, cookie, size, host_field = told
            place, _, path = wanted["url"].removeprefix("http://").partition("/")
            right = (
                (method, mine, auth, size) == (wanted["method"], wanted["mine"], wanted["auth"], wanted["size"])
                and target == (wanted["url"] if int(house) == PROXY else f"/{path}")
                and host_field == place
                and cookie in ("", "a=b")
                and response.content == (b"" if method == "HEAD" else "|".join(told).encode())
                and (wanted["through"] is not False or int(house) == ORIGIN)
                and (not wanted["through"] or int(house) == PROXY)
            )
            if not right:
                wrong.append(f"{wanted}: {told}")
            while len(asked) < total and chance.random() < 0.6:
                ask()
            if chance.random() < 0.01:
                rig.configure(proxy=chance.choice((None, proxy)), workers=chance.choice((1, 2, 20)))

        rig.on_answer = on_answer
        while len(asked) < total:
            for _ in range(100):
                ask()
            town.run(rig)
        assert wrong == [], len(wrong)
        assert rig.engine.stats.callback_errors == 0
        assert all(response.error is None for response in rig.answers)
        books_are_closed(rig)


@pytest.mark.parametrize("bad", ["\r\nX: y", "\0", "\n", " ", "\x7f"])
def test_what_cannot_stand_in_a_url_is_never_sent_as_it_is(bad: str) -> None:
    """Also when the origin is known, and when an equal beginning was asked for before."""
    chance = random.Random(1)
    with Town(1, Echo, chance) as town, Rig() as rig:
        url = f"http://127.0.0.1:{town.ports[0]}/a"
        for _ in range(2):
            rig.ask(url)
            town.run(rig)
            try:
                rig.ask(f"{url}{bad}b")
            except RequestError:
                continue
            town.run(rig)
            target = (rig.answers[-1].headers["told"] or "").split("|")[2]
            assert target.startswith("/a%") and target.endswith("b"), target


def test_deadlines_and_timeouts_hold_on_lines_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mute server: what is plain, what has a timeout, a deadline, and the deadline of the run, all end in time."""

    class Mute(Echo):
        def __call__(self, data: bytes) -> list[Act]:
            return [] if b"mute" in data else super().__call__(data)

    monkeypatch.setattr("aquests.sweep.EVERY", 0.01)
    chance = random.Random(2)
    with Town(1, Mute, chance) as town, Rig(workers=4, timeout=0.1) as rig:
        url = f"http://127.0.0.1:{town.ports[0]}/"
        phases: dict[str, list[Any]] = {
            "answer": [{}, {"timeout": 0.05}],
            "total": [{"deadline": 0.05}, {"deadline": 0.04, "timeout": 9}],
        }
        for _ in range(2):
            for _ in range(8):
                rig.ask(url)
            for kinds in phases.values():
                for options in kinds:
                    rig.ask(f"{url}mute", **options)
            town.run(rig, 10**6)
        rig.configure(deadline=0.05, timeout=9)
        rig.ask(url)
        rig.ask(f"{url}mute")
        town.run(rig, 10**6)
        late = [response.error for response in rig.answers if response.error is not None]
        assert all(isinstance(error, TimedOut) for error in late)
        assert sorted(error.phase for error in late) == ["answer"] * 4 + ["total"] * 5
        assert all(error.after < 3 for error in late), [error.after for error in late]
        books_are_closed(rig)
