"""From a finished exchange to the callback: counted once, and whatever a callback does, the others are answered."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from aquests.delivery import ASIDE, Delivery
from aquests.errors import ConnectError, PeerClosed
from aquests.exchange import Exchange, Request, Response, Status
from aquests.settings import Settings

from .loopback import PLACE

OK = Status(200, "OK", "TEST")
GONE = Status(410, "Gone", "TEST")
MOVED = Status(302, "Found", "TEST", special=True)


class Upper:
    """A codec."""

    def decode(self, x: Exchange) -> None:
        x.data = x.body.upper()


class Desk:
    """A delivery, and what came of it."""

    def __init__(self, callback: Any = None) -> None:
        self.stops = 0
        self.answers: list[Response] = []
        self.reviewed: list[Exchange] = []
        self.delivery = Delivery(self.stop, self.is_final)
        self.delivery.callback = callback or self.answers.append
        self.delivery.log = logging.getLogger("aquests")
        self.asked = 0

    def stop(self) -> None:
        self.stops += 1

    def is_final(self, line: Any, x: Exchange) -> bool:
        self.reviewed.append(x)
        return x.error != "again"

    def settle(self, *exchanges: Exchange) -> None:
        """They finished on two lines, half a second after they began."""
        self.delivery.settle((("one", exchanges[:1]), ("other", exchanges[1:])), 1.5)

    def exchange(self, head: Any = OK, callback: Any = None, number: int | None = None) -> Exchange:
        request = Request("GET", "http://host/", endpoint=PLACE, callback=callback)
        request.req_id = self.asked if number is None else number
        self.asked += number is None
        x = request.begin(1.0, Settings())
        x.head, x.body, x.finished_at = head, b"body", 1.5
        return x


def test_each_is_counted_once_and_answered_in_order() -> None:
    desk = Desk()
    batch = [desk.exchange(), desk.exchange(GONE), desk.exchange()]
    requests = [x.request for x in batch]
    desk.settle(*batch)
    assert [answer.meta["req_id"] for answer in desk.answers] == [0, 1, 2]
    assert [request.response for request in requests if request] == desk.answers
    assert [x.request for x in batch] == [None] * 3, "the answer must not know its request: a ring"
    stats = desk.delivery.stats
    assert (desk.delivery.finished, stats.tasks, stats.statuses, stats.bytes_received) == (3, 3, {200: 2, 410: 1}, 12)
    assert stats.latency.mean == 0.5


def test_what_is_not_plain_is_reviewed_and_may_be_sent_again() -> None:
    desk = Desk()
    again, refused, decoded, _ = batch = [desk.exchange(), desk.exchange(), desk.exchange(), desk.exchange(MOVED)]
    again.error, refused.error, decoded.codec = "again", "no", Upper()
    desk.settle(desk.exchange(), *batch, desk.exchange())
    assert desk.reviewed == batch
    assert [answer.meta["req_id"] for answer in desk.answers] == [4, 1, 2, 3, 5], "a new one each, in the batch's order"
    assert again.request is not None and again.request.response is None, "it is on its way again"
    assert desk.delivery.stats.statuses == {200: 4, 302: 1}


def test_answers_of_many_kinds_are_counted_each_with_its_own() -> None:
    desk = Desk()
    other = Status(200, "OK", "OTHER")
    desk.settle(*(desk.exchange(head) for head in (OK, other, OK, GONE, other, GONE, OK)))
    lanes = desk.delivery.stats.lanes
    assert {name: (lane.statuses, lane.answers, lane.bytes_received) for name, lane in lanes.items()} == {
        "TEST": ({200: 3, 410: 2}, 5, 20),
        "OTHER": ({200: 2}, 2, 8),
    }


def test_what_was_not_answered_is_a_failure() -> None:
    desk = Desk()
    x = desk.exchange(None)
    desk.delivery.fail(x, ConnectError("refused", phase="connect"))
    late = desk.exchange(OK)
    late.error = PeerClosed("cut short", phase="answer")
    desk.settle(late)
    assert [answer.ok for answer in desk.answers] == [False, False]
    assert desk.answers[0].error.endpoint == PLACE.label
    assert (desk.delivery.finished, desk.delivery.stats.statuses) == (2, {})
    assert sum(desk.delivery.stats.errors.values()) == 2


def test_a_request_of_our_own_is_counted_nowhere() -> None:
    desk = Desk()
    desk.delivery.aside = 1
    heard: list[Response] = []
    aside = desk.exchange(callback=heard.append, number=-1)
    aside.codec = ASIDE
    desk.settle(aside)
    assert (desk.delivery.aside, desk.delivery.finished, desk.delivery.stats.tasks) == (0, 0, 0)
    assert len(heard) == 1 and desk.answers == []


def test_a_callback_that_raises_costs_nobody_else_anything(caplog: pytest.LogCaptureFixture) -> None:
    def callback(response: Response) -> None:
        desk.answers.append(response)
        if response.meta["req_id"] == 0:
            raise ValueError("mine")

    desk = Desk(callback)
    desk.settle(desk.exchange(), desk.exchange())
    assert len(desk.answers) == 2 and desk.delivery.stats.callback_errors == 1
    assert "the callback of request 0 raised" in caplog.text and (desk.stops, desk.delivery.escaped) == (0, None)


def test_a_callback_that_leaves_is_held_until_the_batch_is_done() -> None:
    def callback(response: Response) -> None:
        desk.answers.append(response)
        raise SystemExit(response.meta["req_id"])

    desk = Desk(callback)
    desk.settle(desk.exchange(), desk.exchange())
    assert len(desk.answers) == 2 and desk.stops == 2
    assert isinstance(desk.delivery.escaped, SystemExit) and desk.delivery.escaped.code == 0, "the first one"


def test_a_reset_begins_anew_and_many_answers_are_folded() -> None:
    desk = Desk()
    for _ in range(3):
        desk.settle(*(desk.exchange() for _ in range(1000)))
    assert len(desk.delivery.stats.lane("TEST").latency.pending) < 1000
    stats = desk.delivery.reset()
    assert (stats.tasks, desk.delivery.finished, desk.delivery.stats.tasks) == (3000, 0, 0)
    desk.settle(desk.exchange())
    assert (desk.delivery.finished, desk.delivery.stats.tasks, stats.tasks) == (1, 1, 3000)
