"""Moving what waits for a wrong place."""

from __future__ import annotations

import pytest

from aquests.elsewhere import Elsewhere
from aquests.endpoint import Endpoint
from aquests.exchange import Request
from tests.rig import Rig


def waiting(place: Endpoint) -> list[str]:
    items = [place.waiting.popleft() for _ in range(len(place.waiting))]
    for item in items:
        place.waiting.append(item)
    return [item.url for item in items]


@pytest.mark.parametrize("most", [3, 100])
def test_move(most: int) -> None:
    with Rig() as rig:
        engine = rig.engine
        one = engine.endpoints.intern("http", "one.example", 80, None, {"ca": "x"})
        elsewhere = Elsewhere(engine.endpoints, engine.queue, one, engine.ask_aside)
        two = elsewhere("two.example", 81)
        assert (two.scheme, two.host, two.port, two.options) == ("http", "two.example", 81, {"ca": "x"})
        assert elsewhere("two.example", 81) is two
        for number in range(6):
            engine.submit(Request("GET", str(number), endpoint=one))
        engine.submit(Request("GET", "behind", endpoint=two))

        elsewhere.move(lambda item: two if int(item.url) % 2 else one, most)
        assert waiting(one) == (["0", "2", "3", "4", "5"] if most == 3 else ["0", "2", "4"])
        assert waiting(two) == (["1", "behind"] if most == 3 else ["1", "3", "5", "behind"])
        assert engine.queue.size == 7 and engine.queue.first() is one
        taken = []
        while (place := engine.queue.first()) is not None:
            item = engine.queue.take(place)
            assert item.endpoint is place
            taken.append(item.url)
        assert taken == ["0", "1", "2", "3", "4", "5", "behind"]


def test_nothing_waits() -> None:
    with Rig() as rig:
        place = rig.engine.endpoints.intern("http", "one.example", 80, None, {})
        Elsewhere(rig.engine.endpoints, rig.engine.queue, place, rig.engine.ask_aside).move(lambda item: place, 10)
        assert rig.engine.queue.size == 0
