"""The engine with real sockets: order, lines, callbacks, settings in mid-run."""

from __future__ import annotations

import logging
import select
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import aquests
from aquests.engine import TURN, Engine
from aquests.errors import Cancelled, RequestError, TimedOut
from aquests.exchange import Response
from aquests.lib.loop import Loop
from aquests.lib.poller import EpollPoller, SelectPoller
from aquests.script import script
from aquests.settings import Settings
from tests.certs import Certs
from tests.helpers import until
from tests.peers import Answer, HttpPeer, Request, ScriptedPeer, expect, http_peer, loop, refused_port, say, stall, wait
from tests.resp import redis_peer
from tests.rig import Rig, bodies, codes

ASKED = expect(b"\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def echo(request: Request) -> Answer:
    return 200, [], request.target.encode()


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """A server that answers with the target."""
    with http_peer(echo) as peer:
        yield peer


class Census:
    """A responder that counts how many requests are being answered at once, and in what order they came."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        with self._lock:
            self.order.append(request.target)
            self._now += 1
            self.most = max(self.most, self._now)
        threading.Event().wait(0.0005)  # give others the chance to overlap
        with self._lock:
            self._now -= 1
        return echo(request)


# -- pollers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poller", [SelectPoller, *([EpollPoller] if hasattr(select, "epoll") else [])])
def test_every_poller_runs_the_engine(certs: Certs, poller: Any) -> None:
    with (
        http_peer(echo) as peer,
        http_peer(echo, tls=certs.server_context()) as secure,
        refused_port() as refused,
        ScriptedPeer([stall()]) as silent,
        Rig(Loop(poller()), workers=4, timeout=0.3, ca=certs.ca) as rig,
    ):
        for number in range(30):
            rig.ask(f"{peer.url}{number}")
            rig.ask(f"https://localhost:{secure.port}/{number}")
        rig.ask(f"http://127.0.0.1:{refused}/")
        rig.ask(silent.url)
        rig.ask(peer.url, "POST", b"x" * 3_000_000)
        assert Counter(codes(rig.run())) == {200: 61, 702: 1, 714: 1}


# -- order --------------------------------------------------------------------------------------------------------


def test_one_worker_keeps_the_order_over_many_places() -> None:
    census = Census()
    with ExitStack() as stack, Rig() as rig:
        peers = [stack.enter_context(http_peer(census)) for _ in range(3)]
        for number in range(30):
            rig.ask(f"{peers[number * number % 3].url}{number}")
        rig.run()
        assert census.order == [f"/{number}" for number in range(30)]
        assert census.most == 1


def test_what_a_callback_queues_comes_behind_what_waits(peer: HttpPeer) -> None:
    with Rig() as rig:
        rig.on_answer = lambda response: rig.ask(f"{peer.url}late") if response.content == b"/0" else None
        for number in range(3):
            rig.ask(f"{peer.url}{number}")
        assert bodies(rig.run()) == [b"/0", b"/1", b"/2", b"/late"]


@pytest.mark.parametrize("when", ["made", "before", "after"])
def test_random_order(peer: HttpPeer, when: str) -> None:
    """Each of the places in the order is taken by each request sooner or later; FIFO would never do that."""
    firsts = set()
    with ExitStack() as stack:
        other = stack.enter_context(http_peer(echo))
        for _ in range(40):
            with Rig(qrandom=when == "made") as rig:
                if when == "before":
                    rig.configure(qrandom=True)
                for number in range(4):
                    rig.ask(f"{(peer, other)[number % 2].url}{number}")
                if when == "after":
                    rig.configure(qrandom=True)
                firsts.add(rig.run()[0].content)
    assert firsts == {b"/0", b"/1", b"/2", b"/3"}


def test_random_order_does_not_prefer_what_was_queued_last(peer: HttpPeer) -> None:
    """Requests queued by callbacks draw among all that wait, not ahead of them."""
    ages = []
    with Rig(qrandom=True) as rig:
        for number in range(50):
            rig.ask(f"{peer.url}{number}")

        def more(response: Response) -> None:
            number = response.meta["req_id"]
            ages.append(rig.asked - 1 - number)  # 0: it was the youngest
            if rig.asked < 400:
                rig.ask(f"{peer.url}{rig.asked}")

        rig.on_answer = more
        rig.run()
    waiting = ages[:350]
    assert sum(age == 0 for age in waiting) < 30, "one in fifty is to be expected"
    assert sum(waiting) / len(waiting) > 25


def test_back_from_random_to_the_order_of_the_queue(peer: HttpPeer) -> None:
    with Rig(qrandom=True) as rig:
        for number in range(20):
            rig.ask(f"{peer.url}{number}")
        rig.configure(qrandom=False)
        assert bodies(rig.run()) == [f"/{number}".encode() for number in range(20)]


# -- lines --------------------------------------------------------------------------------------------------------


def test_workers_are_never_exceeded() -> None:
    census = Census()
    with http_peer(census) as peer, Rig(workers=5) as rig:
        lines = []
        rig.on_answer = lambda response: lines.append(rig.engine.lines)
        for number in range(200):
            rig.ask(f"{peer.url}{number}")
        rig.run()
        assert peer.connections == 5 and 1 < census.most <= 5
        assert max(lines) == 5 and rig.engine.stats.max_connections == 5


def test_workers_are_never_exceeded_without_a_pool() -> None:
    census = Census()
    with http_peer(census) as peer, Rig(workers=3, use_pool=False) as rig:
        for number in range(60):
            rig.ask(f"{peer.url}{number}")
        rig.run()
        assert peer.connections == 60 == rig.engine.stats.connections
        assert census.most <= 3 and rig.engine.stats.max_connections <= 3
        assert rig.engine.lines == 0


def test_a_place_gets_no_more_lines_than_its_requests_allow() -> None:
    """The others take the workers that are left; each answer comes, and the limit holds for those who say it alike."""
    few, many = Census(), Census()
    with http_peer(few) as small, http_peer(many) as large, Rig(workers=10) as rig:
        lines: list[int] = []

        def look(response: Response) -> None:
            place = response.request.endpoint
            lines.append(place.lines if place.limit == 2 else 0)

        for number in range(100):
            rig.ask(f"{small.url}{number}", max_connections=2)
            rig.ask(f"{large.url}{number}")
        rig.on_answer = look
        assert len(rig.run()) == 200
        assert small.connections == 2 and few.most <= 2 and max(lines) == 2
        assert 2 < large.connections <= 8


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4", True])
def test_what_is_no_number_of_lines(wrong: Any) -> None:
    with Rig() as rig, pytest.raises(RequestError, match=r"^max_connections must be a whole number of at least 1"):
        rig.ask("http://127.0.0.1:1/", max_connections=wrong)


def test_a_line_is_used_again(peer: HttpPeer) -> None:
    with Rig() as rig:
        for number in range(50):
            rig.ask(f"{peer.url}{number}")
        rig.run()
        rig.fetch(peer.url)
        assert peer.connections == 1


def test_a_line_the_server_closes_is_not(peer: HttpPeer) -> None:
    with http_peer(lambda request: (200, [("Connection", "close")], b"")) as peer, Rig() as rig:
        for _ in range(5):
            rig.ask(peer.url)
        assert codes(rig.run()) == [200] * 5
        assert peer.connections == 5 and rig.engine.stats.retries == 0


def test_an_idle_line_makes_way_for_another_place() -> None:
    with ExitStack() as stack, Rig(workers=2) as rig:
        peers = [stack.enter_context(http_peer(echo)) for _ in range(6)]
        for _ in range(2):
            for peer in peers:
                assert rig.fetch(peer.url).ok
                assert rig.engine.lines <= 2
        assert [peer.connections for peer in peers] == [2] * 6, "the one that idled longest went"
        assert rig.fetch(peers[-2].url).ok and peers[-2].connections == 2, "the last two are still there"


@pytest.mark.parametrize("pool", [True, False])
def test_no_place_starves(pool: bool) -> None:
    """A place with few requests is served while another has thousands before them."""
    with http_peer(echo) as big, http_peer(echo) as small, Rig(workers=4, use_pool=pool) as rig:
        order: list[str] = []
        rig.on_answer = lambda response: order.append("small" if response.url.startswith(small.url) else "big")
        for number in range(1200):
            rig.ask(f"{big.url}{number}")
            if number in (3, 4, 5, 6):
                rig.ask(f"{small.url}{number}")
        rig.run()
        assert max(at for at, place in enumerate(order) if place == "small") < 6 * TURN


def test_two_places_share_the_workers() -> None:
    with http_peer(echo) as one, http_peer(echo) as two, Rig(workers=4) as rig:
        first = Counter[str]()

        def note(response: Response) -> None:
            if len(rig.answers) <= 1000:
                first["one" if response.url.startswith(one.url) else "two"] += 1

        rig.on_answer = note
        for number in range(1000):
            rig.ask(f"{one.url}{number}")
            rig.ask(f"{two.url}{number}")
        rig.run()
        assert min(first["one"], first["two"]) > 150


def test_a_hanging_place_does_not_hold_up_the_others(peer: HttpPeer) -> None:
    go = threading.Event()
    with ScriptedPeer([ASKED, wait(go), say(OK)]) as slow, Rig(workers=2) as rig:
        rig.on_answer = lambda response: go.set() if len(rig.answers) == 50 else None
        rig.ask(slow.url)
        for number in range(50):
            rig.ask(f"{peer.url}{number}")
        assert bodies(rig.run())[50:] == [b"ok"]


def test_idle_lines_keep_nobody_awake(peer: HttpPeer) -> None:
    with Rig() as rig:
        rig.fetch(peer.url)
        until(lambda: rig.engine.next_deadline() is None, between=lambda: rig.engine.step(0.5))
        assert rig.engine.lines == 1


# -- time ---------------------------------------------------------------------------------------------------------


def test_time_spent_outside_of_the_engine_is_no_patience(certs: Certs) -> None:
    """The clock of the loop stands still while the program does other things between two runs."""
    script = [loop(ASKED, say(OK))]
    with ScriptedPeer(script, tls=certs.server_context()) as peer, Rig(timeout=2.0, ca=certs.ca) as rig:
        for _ in range(3):
            rig.engine.loop.now -= 60.0
            answer = rig.fetch(f"https://localhost:{peer.port}/", headers={"Connection": "close"})
            assert answer.ok, answer.error
            assert max(answer.timings.values()) < 2.0


def test_timeouts_of_requests_are_shorter_or_longer_than_that_of_the_run() -> None:
    with ScriptedPeer([stall()]) as peer, Rig(workers=3, timeout=0.4) as rig:
        for timeout in (0.1, 0.4, 0.8):
            rig.ask(peer.url, timeout=timeout, meta={"timeout": timeout})
        for answer, timeout in zip(rig.run(), (0.1, 0.4, 0.8), strict=True):
            assert answer.meta["timeout"] == timeout
            assert timeout <= answer.elapsed < timeout + 0.3


# -- callbacks ----------------------------------------------------------------------------------------------------


def test_a_chain_of_callbacks_is_no_recursion() -> None:
    with ScriptedPeer([loop(ASKED, say(OK))]) as peer, Rig() as rig:
        rig.on_answer = lambda response: rig.ask(peer.url) if rig.asked < 20_000 else None
        rig.ask(peer.url)
        rig.run(30.0)
        assert rig.asked == 20_000 and peer.connections == 1


def test_a_chain_of_failures_is_no_recursion() -> None:
    with Rig() as rig:
        # A path that is too long for a unix socket fails at once.
        url, path = "http://localhost/", "/" + "x" * 200
        rig.ask(url, unix=path)
        rig.on_answer = lambda response: rig.ask(url, unix=path) if rig.asked < 5000 else None
        rig.run(30.0)
        assert rig.asked == 5000 and set(codes(rig.answers)) == {714}


def test_a_callback_that_raises_is_logged_and_counted(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    with Rig() as rig:
        numbers = (1, 3)

        def raising(response: Response) -> None:
            if response.meta["req_id"] in numbers:
                raise LookupError("the callback is broken")

        rig.on_answer = raising
        for number in range(5):
            rig.ask(f"{peer.url}{number}")
        with caplog.at_level(logging.ERROR):
            assert codes(rig.run()) == [200] * 5
        assert rig.engine.stats.callback_errors == 2
        assert [record.getMessage() for record in caplog.records] == [
            "the callback of request 1 raised",
            "the callback of request 3 raised",
        ]
        assert "LookupError: the callback is broken" in caplog.text and "in raising" in caplog.text
        assert peer.connections == 1, "the line is not to blame"


def test_stepping_from_a_callback_raises_and_does_no_harm(peer: HttpPeer) -> None:
    caught: list[BaseException] = []
    with Rig(workers=2) as rig:

        def nested(response: Response) -> None:
            for call in (rig.engine.step, rig.engine.run, rig.engine.hang_up):
                try:
                    call()
                except RuntimeError as error:
                    caught.append(error)

        rig.on_answer = nested
        for number in range(6):
            rig.ask(f"{peer.url}{number}")
        assert codes(rig.run()) == [200] * 6
        assert len(caught) == 18 and "callback" in str(caught[0])


def test_each_request_has_the_callback_and_the_meta_it_was_given(peer: HttpPeer) -> None:
    mine: list[Response] = []
    shared = {"job": 1, "list": [1]}
    with Rig() as rig:
        rig.ask(peer.url, meta=shared)
        rig.ask(peer.url, meta=shared, callback=mine.append)
        shared["job"] = 2
        until(lambda: rig.engine.idle, between=lambda: rig.engine.step(0.1))
        assert len(mine) == 1 == len(rig.answers)
        (first,), (second,) = rig.answers, mine
        first.meta["job"] = 3
        assert (second.meta["job"], shared["job"]) == (1, 2)
        assert first.meta == {"job": 3, "list": [1], "req_id": 0, "req_method": "get"}
        assert second.meta == {"job": 1, "list": [1], "req_id": 1, "req_method": "get"}


def test_the_counters_inside_a_callback(peer: HttpPeer) -> None:
    seen = []
    with Rig(workers=1) as rig:
        engine = rig.engine
        rig.on_answer = lambda response: seen.append((engine.queue.size, engine.workings, engine.sent, engine.finished))
        for number in range(4):
            rig.ask(f"{peer.url}{number}")
        assert (engine.queue.size, engine.workings) == (4, 0)
        rig.run()
    assert seen == [(3, 0, 1, 1), (2, 0, 2, 2), (1, 0, 3, 3), (0, 0, 4, 4)]


def test_numbers_begin_at_0_after_a_reset(peer: HttpPeer) -> None:
    with Rig() as rig:
        assert [rig.ask(peer.url).req_id for _ in range(3)] == [0, 1, 2]
        rig.run()
        stats = rig.engine.reset()
        assert stats.tasks == 3 and rig.engine.stats.tasks == 0
        assert rig.ask(peer.url).req_id == 0


# -- settings in mid-run -------------------------------------------------------------------------------------------


def test_more_workers_in_mid_run() -> None:
    census = Census()
    with http_peer(census) as peer, Rig() as rig:
        rig.on_answer = lambda response: rig.configure(workers=4) if len(rig.answers) == 10 else None
        for number in range(100):
            rig.ask(f"{peer.url}{number}")
        assert sorted(bodies(rig.run())) == sorted(f"/{number}".encode() for number in range(100))
        assert peer.connections == 4 and census.most > 1


def test_fewer_workers_in_mid_run() -> None:
    lines = []
    with http_peer(echo) as peer, Rig(workers=8) as rig:

        def fewer(response: Response) -> None:
            if len(rig.answers) == 50:
                rig.configure(workers=2)
            lines.append(rig.engine.lines)

        rig.on_answer = fewer
        for number in range(300):
            rig.ask(f"{peer.url}{number}")
        rig.run()
        assert max(lines[:50]) == 8 and rig.engine.lines <= 2
        late = {request.connection for request in peer.requests if int(request.target[1:]) >= 58}
        assert len(late) == 2, "50 were answered and 8 in flight: the others went to two lines only"


def test_fewer_workers_while_lines_are_idle_or_being_made(peer: HttpPeer) -> None:
    with Rig(workers=6) as rig:
        for number in range(40):
            rig.ask(f"{peer.url}{number}")
        rig.run()
        assert rig.engine.lines == 6
        rig.configure(workers=3)
        assert rig.engine.lines == 3
        rig.configure(workers=6, use_pool=False)
        for number in range(6):
            rig.ask(f"{peer.url}{number}")
        rig.engine._dispatch()
        assert len(rig.engine._dials) == 6
        rig.configure(workers=1, use_pool=True)
        for number in range(20):
            rig.ask(f"{peer.url}{number}")
        rig.run()
        assert rig.engine.lines <= 1


def test_other_settings_for_lines_are_not_served_by_old_lines(certs: Certs) -> None:
    """A line made without verification must not carry a request that wants it."""
    with ScriptedPeer([loop(ASKED, say(OK))], tls=certs.server_context(certs.self_signed)) as peer:
        url = f"https://localhost:{peer.port}/"
        with Rig(verify=False, workers=1) as rig:
            rig.on_answer = lambda response: rig.configure(verify=True) if len(rig.answers) == 2 else None
            for _ in range(5):
                rig.ask(url)
            assert codes(rig.run()) == [200, 200, 713, 713, 713]
            rig.configure(verify=False)
            assert rig.fetch(url).ok
            rig.configure(verify=True)
            assert rig.fetch(url).status_code == 713


def test_a_line_that_is_being_made_while_the_settings_change(certs: Certs) -> None:
    with ScriptedPeer([loop(ASKED, say(OK))], tls=certs.server_context(certs.self_signed)) as peer:
        with Rig(verify=False, workers=1) as rig:
            for _ in range(3):
                rig.ask(f"https://localhost:{peer.port}/")
            rig.engine.step(0.0)
            rig.configure(verify=True)
            assert codes(rig.run()) == [200, 713, 713], "the first was taken by the old settings, no other"


def test_the_pool_switched_off_and_on(peer: HttpPeer) -> None:
    with Rig() as rig:
        rig.on_answer = lambda response: rig.configure(use_pool=len(rig.answers) not in range(5, 10))
        for number in range(20):
            rig.ask(f"{peer.url}{number}")
        rig.run()
        assert peer.connections == 7


def test_the_timeout_and_the_callback_change_for_what_waits(peer: HttpPeer) -> None:
    with ScriptedPeer([stall()]) as silent, Rig(timeout=30.0) as rig:
        rig.on_answer = lambda response: rig.configure(timeout=0.2)
        rig.ask(peer.url)
        rig.ask(silent.url)
        assert codes(rig.run(3.0)) == [200, 702]


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "http://", True, 5])
def test_a_proxy_that_cannot_be_is_refused_where_it_is_configured(proxy: Any) -> None:
    with Rig(workers=3) as rig:
        with pytest.raises(RequestError):
            rig.configure(proxy=proxy, workers=5)
        assert rig.engine.settings.workers == 3, "nothing was changed"


# -- stopping -----------------------------------------------------------------------------------------------------


def test_stop_from_a_callback_keeps_what_is_queued(peer: HttpPeer) -> None:
    with Rig(workers=2) as rig:
        engine = rig.engine
        rig.on_answer = lambda response: engine.stop() if len(rig.answers) == 10 else None
        for number in range(100):
            rig.ask(f"{peer.url}{number}")
        engine.run()
        engine.hang_up()
        done, queued = len(rig.answers), engine.queue.size
        assert 10 <= done < 20 and done + queued == 100 == engine.pending + done
        assert engine.lines == 0
        assert {type(answer.error) for answer in rig.answers} <= {type(None), Cancelled}
        engine.run()
        rig.check()
        assert sorted(answer.meta["req_id"] for answer in rig.answers) == list(range(100))


def test_hanging_up_answers_what_is_in_flight(certs: Certs) -> None:
    with ScriptedPeer([stall()]) as silent, Rig(workers=3) as rig:
        for scheme in ("http", "https", "http", "http"):
            rig.ask(f"{scheme}://127.0.0.1:{silent.port}/")
        until(lambda: silent.connections == 3, between=lambda: rig.engine.step(0.01))
        rig.engine.hang_up()
        assert [type(answer.error) for answer in rig.answers] == [Cancelled] * 3
        assert [answer.status_code for answer in rig.answers] == [701] * 3
        assert [str(answer.error) for answer in rig.answers] == [f"the run was stopped, {silent.netloc}"] * 3
        assert (rig.engine.pending, rig.engine.queue.size, rig.engine.lines) == (1, 1, 0)
        rig.engine.hang_up()
        assert len(rig.answers) == 3


def test_every_cancelled_request_names_its_own_place() -> None:
    with ExitStack() as stack, Rig(workers=3) as rig:
        peers = [stack.enter_context(ScriptedPeer([stall()])) for _ in range(3)]
        for peer in peers:
            rig.ask(peer.url)
        until(lambda: all(peer.connections for peer in peers), between=lambda: rig.engine.step(0.01))
        rig.engine.hang_up()
        assert {str(answer.error) for answer in rig.answers} == {
            f"the run was stopped, {peer.netloc}" for peer in peers
        }


def test_callbacks_of_hanging_up_may_queue_and_not_run() -> None:
    with ScriptedPeer([stall()], [loop(ASKED, say(OK))]) as peer, Rig() as rig:
        caught: list[RuntimeError] = []

        def again(response: Response) -> None:
            try:
                rig.engine.run()
            except RuntimeError as error:
                caught.append(error)
            if len(rig.answers) == 1:
                rig.ask(peer.url)

        rig.on_answer = again
        rig.ask(peer.url)
        until(lambda: peer.connections, between=lambda: rig.engine.step(0.01))
        rig.engine.hang_up()
        assert len(caught) == 1 and rig.engine.queue.size == 1
        assert codes(rig.run()) == [701, 200]


@pytest.mark.parametrize("broken", ["rules", "codec"])
def test_whatever_breaks_an_answer_is_due(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of ours, or of a codec: the request has an answer, and the others go on."""

    class Codec:
        def decode(self, x: Any) -> None:
            raise LookupError("the codec is broken")

    def review(x: Any) -> None:
        raise LookupError("the rules are broken")

    def answer(request: Any) -> Any:
        return 401 if request.target == "/secret" else 200, [], b""

    with http_peer(answer) as peer, Rig() as rig, caplog.at_level(logging.ERROR):
        if broken == "codec":
            rig.ask(peer.url).codec = Codec()
        else:
            rig.ask(f"{peer.url}secret")
            monkeypatch.setattr(rig.engine.rules, "review", review)
        rig.ask(peer.url)
        bad, good = rig.run()
        assert good.ok and bad.status_code == 701
        assert f"internal error: LookupError: the {broken}" in str(bad.error)
        assert isinstance(bad.error.__cause__, LookupError)
        assert "in review" in caplog.text or "in decode" in caplog.text


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 5])
def test_patience_without_end(peer: HttpPeer, timeout: float) -> None:
    with Rig(timeout=timeout) as rig:
        assert rig.fetch(peer.url).ok
        assert rig.fetch(peer.url, timeout=float("inf"), deadline=float("inf")).ok


def test_closing_with_work_left(peer: HttpPeer) -> None:
    rig = Rig()
    rig.ask(peer.url)
    rig.close()
    assert rig.answers == []


# -- refusals ------------------------------------------------------------------------------------------------------


def test_a_deadline_that_passed_while_the_line_was_made_does_not_stop_the_others(peer: HttpPeer) -> None:
    """The line stands, its request has gone: it serves the next, also where each has a line of its own."""
    for pool in (True, False):
        with Rig(use_pool=pool) as rig:
            first = rig.ask(peer.url, deadline=5.0)
            rig.ask(peer.url)
            rig.engine._dispatch()
            (dial,) = rig.engine._dials
            dial.rider.limit = rig.engine.loop.now - 1.0
            dial.check = lambda now: None  # type: ignore[method-assign]  # it is found when it is sent
            rig.run(2.0)
            assert first.response is not None and type(first.response.error) is TimedOut
            assert codes(rig.answers) == [702, 200]


def test_a_fed_line_waits_for_its_server_only() -> None:
    """Both workers wait for an event; what is queued meanwhile is not sent beyond them."""
    release = threading.Event()
    with ScriptedPeer([ASKED, wait(release), say(OK), loop(ASKED, say(OK))]) as peer, Rig(workers=2) as rig:
        for _ in range(6):
            rig.ask(peer.url)
        until(lambda: peer.connections == 2, between=lambda: rig.engine.step(0.01))
        assert (rig.engine.queue.size, rig.engine.workings) == (4, 2)
        release.set()
        assert codes(rig.run()) == [200] * 6


def test_the_engine_alone_does_not_know_what_a_source_yields() -> None:
    engine = Engine(Settings())
    with pytest.raises(RequestError, match="no face"):
        engine.take("http://127.0.0.1/")
    engine.close()


def test_a_closed_engine_has_given_all_descriptors_back(peer: HttpPeer) -> None:
    import os

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with Rig() as rig:
            rig.ask(peer.url)
            rig.engine.step(0.01)
    if before:
        until(lambda: len(os.listdir("/proc/self/fd")) <= before + 1)


def test_one_worker_keeps_the_order_over_a_line_that_takes_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipelined line takes no more than comes before the next place's turn."""
    redis = ScriptedPeer(redis_peer(lambda command, number: b"+OK\r\n"))
    with redis as there, http_peer(lambda request: (200, [], b"")) as peer, Rig(workers=1) as rig:
        monkeypatch.setattr(script, "made", rig.engine)
        stub = aquests.redis(f"127.0.0.1:{there.port}", trust_env=False)
        for number in range(60):
            if number % 10 == 5:
                rig.ask(peer.url)
            else:
                stub.get(str(number))
                rig.asked += 1
        assert [answer.meta["req_id"] for answer in rig.run()] == list(range(60))


def test_what_a_defect_has_lost_is_not_waited_for() -> None:
    with http_peer(lambda request: (200, [], b"")) as peer, Rig() as rig:
        rig.ask(peer.url)
        rig.engine.counted += 1  # as if a request were gone
        with pytest.raises(RuntimeError, match="1 requests were lost by a defect"):
            rig.engine.run()
        assert codes(rig.answers) == [200]
        rig.engine.counted -= 1
