"""The global queue: one order over many places, in turn or at random."""

from __future__ import annotations

import random
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.endpoint import Endpoint, Endpoints
from aquests.queue import Draw, Fifo, Queue, Shuffled, rearrange
from aquests.url import split


class Item:
    """What waits: all it needs is a number."""

    def __init__(self, req_id: int):
        self.req_id = req_id

    def __repr__(self) -> str:
        return f"<{self.req_id}>"


def places(count: int, make: Any = Fifo) -> tuple[Endpoints, list[Endpoint]]:
    table = Endpoints(make)
    return table, [table.find(split(f"http://host{number}/")) for number in range(count)]


def shuffled(seed: int) -> Any:
    draw = Draw(random.Random(seed))
    return lambda: Shuffled(draw)


def drain(queue: Queue) -> list[int]:
    """Take everything in the order of the queue."""
    taken = []
    while (endpoint := queue.first()) is not None:
        taken.append(queue.take(endpoint).req_id)
    assert queue.size == 0
    return taken


# -- in turn -------------------------------------------------------------------------------------------------------


def test_the_order_over_all_places_is_that_of_queuing() -> None:
    _, (one, two, three) = places(3)
    queue = Queue()
    for number, endpoint in enumerate([one, two, one, three, three, one, two]):
        queue.put(Item(number), endpoint)
    assert queue.size == 7
    assert drain(queue) == list(range(7))
    assert queue.first() is None


def test_one_entry_a_place_however_much_waits() -> None:
    _, (one, two) = places(2)
    queue = Queue()
    for number in range(1000):
        queue.put(Item(number), (one, two)[number % 2])
    assert len(queue.order) == 2


def test_a_line_takes_from_its_place_without_a_look_at_the_order() -> None:
    _, (one, two) = places(2)
    queue = Queue()
    for number in range(10):
        queue.put(Item(number), (one, two)[number % 2])
    assert [queue.take(one).req_id for _ in range(3)] == [0, 2, 4]
    assert queue.first() is two
    assert drain(queue) == [1, 3, 5, 6, 7, 8, 9]


def test_put_back_is_the_next_of_its_place() -> None:
    _, (one, two) = places(2)
    queue = Queue()
    for number in range(4):
        queue.put(Item(number), (one, two)[number % 2])
    first = queue.take(one)
    queue.put_back(first, one)
    assert drain(queue) == [0, 1, 2, 3]
    queue.put(Item(7), one)
    queue.put_back(Item(9), one)
    assert drain(queue) == [7, 9]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_what_comes_back_together_stays_in_order(order: tuple[int, ...]) -> None:
    _, (one,) = places(1)
    queue = Queue()
    for number in range(6):
        queue.put(Item(number), one)
    taken = [queue.take(one) for _ in range(4)]
    for number in order:
        queue.put_back(taken[number], one)
    assert drain(queue) == [0, 1, 2, 3, 4, 5]


def test_a_place_that_is_set_aside_keeps_its_work() -> None:
    _, (one, two) = places(2)
    queue = Queue()
    for number in range(6):
        queue.put(Item(number), (one, two)[number % 2])
    assert queue.first() is one
    queue.set_aside(one)
    assert [queue.take(two).req_id for _ in range(3) if queue.first() is two] == [1, 3, 5]
    assert queue.first() is None and queue.size == 3
    queue.enlist(one)
    assert drain(queue) == [0, 2, 4]


# -- at random -----------------------------------------------------------------------------------------------------


def test_a_place_that_is_welcome_again_comes_back_once() -> None:
    _, (first, second) = places(2)
    queue = Queue()
    queue.put(Item(0), first)
    queue.put(Item(1), second)
    first.most = 0
    assert queue.first() is first
    queue.set_aside(first)
    assert queue.first() is second
    queue.welcome(first)
    queue.welcome(first)
    assert queue.first() is first and len(queue.order) == 2 and first.most == first.limit
    queue.take(first)
    queue.welcome(first)  # with nothing to do
    assert queue.first() is second


def test_all_orders_of_three_are_equally_likely() -> None:
    seen = Counter[tuple[int, ...]]()
    for seed in range(6000):
        _, (one,) = places(1, shuffled(seed))
        queue = Queue()
        for number in range(3):
            queue.put(Item(number), one)
        seen[tuple(drain(queue))] += 1
    assert set(seen) == set(permutations(range(3)))
    assert chi_square(seen.values()) < 20.5, "one in a thousand, for five degrees of freedom"


@pytest.mark.parametrize("count", [1, 3])
def test_every_request_at_every_position(count: int) -> None:
    """Twelve requests over one place or three; 144 cells of 500 on average."""
    cells = Counter[tuple[int, int]]()
    for seed in range(6000):
        _, hosts = places(count, shuffled(seed))
        queue = Queue()
        for number in range(12):
            queue.put(Item(number), hosts[number % count])
        cells.update(enumerate(drain(queue)))
    assert len(cells) == 144
    assert chi_square(cells.values()) < 175, "one in a thousand, for 121 degrees of freedom"


@pytest.mark.parametrize("count", [1, 4])
def test_the_newest_has_no_advantage_in_a_queue_that_is_refilled(count: int) -> None:
    """The trap: keys drawn evenly favour the newest, since those who stayed have large ones. So does a place
    where nothing was taken for long, if it has a beginning of its own."""
    chance = random.Random(7)
    _, hosts = places(count, shuffled(3))
    queue, ages = Queue(), Counter[int]()
    waiting: list[int] = []

    def put(number: int) -> None:
        # The last place gets little: it is the one that lies far behind.
        host = hosts[0] if chance.random() < 0.9 else hosts[chance.randrange(count)]
        queue.put(Item(number), host)
        waiting.append(number)

    for number in range(10):
        put(number)
    for number in range(10, 20_010):
        endpoint = queue.first()
        assert endpoint is not None
        taken = queue.take(endpoint).req_id
        ages[len(waiting) - 1 - waiting.index(taken)] += 1
        waiting.remove(taken)
        put(number)
    assert set(ages) == set(range(10))
    assert chi_square(ages.values()) < 28, "one in a thousand, for nine degrees of freedom"


def test_the_newest_has_no_disadvantage_where_lines_keep_to_their_place() -> None:
    """Lines of one place run ahead of the order; the other place then still draws evenly."""
    _, (busy, slow) = places(2, shuffled(5))
    queue, ages = Queue(), Counter[int]()
    waiting: list[int] = []
    for number in range(8):
        queue.put(Item(number), slow)
        waiting.append(number)
    for number in range(8, 40_000, 2):
        queue.put(Item(number), busy)
        queue.take(busy)
        taken = queue.take(slow).req_id
        ages[len(waiting) - 1 - waiting.index(taken)] += 1
        waiting.remove(taken)
        queue.put(Item(number + 1), slow)
        waiting.append(number + 1)
    assert chi_square(ages.values()) < 25, "one in a thousand, for seven degrees of freedom"


def test_put_back_is_next_at_random_too() -> None:
    _, (one,) = places(1, shuffled(1))
    queue = Queue()
    for number in range(20):
        queue.put(Item(number), one)
    queue.put_back(Item(99), one)
    assert drain(queue)[0] == 99


def test_the_order_stays_small_at_random() -> None:
    _, (one, two) = places(2, shuffled(1))
    queue = Queue()
    for number in range(10_000):
        queue.put(Item(number), (one, two)[number % 2])
    assert len(queue.order) < 60, "a place is listed again only when its head changes"
    assert sorted(drain(queue)) == list(range(10_000))


def chi_square(counts: Any) -> float:
    counts = list(counts)
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


# -- from one order to the other -----------------------------------------------------------------------------------


def test_rearranging_keeps_everything() -> None:
    table, hosts = places(3)
    queue = Queue()
    for number in range(60):
        queue.put(Item(number), hosts[number * number % 3])
    rearrange(queue, table, True)
    assert queue.size == 60
    first = [queue.take(queue.first()).req_id for _ in range(20)]  # type: ignore[arg-type]
    assert first != list(range(20)) and len(set(first)) == 20
    later = table.find(split("http://later/"))
    queue.put(Item(60), later)
    rearrange(queue, table, False)
    rest = drain(queue)
    assert rest == sorted(rest) and sorted(first + rest) == list(range(61))
    assert type(later.waiting) is Fifo


def test_rearranging_finds_places_that_the_table_has_forgotten() -> None:
    """Somebody still holds them: a stub, for instance."""
    table, (kept,) = places(1)
    table._sweep()
    queue = Queue()
    queue.put(Item(0), kept)
    rearrange(queue, table, True)
    assert type(kept.waiting) is Shuffled and drain(queue) == [0]


# -- anything ------------------------------------------------------------------------------------------------------

ACTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put_back", "first", "take", "aside", "shuffle", "sort"]), st.integers(0, 3)
    ),
    max_size=60,
)


@given(ACTS)
def test_nothing_is_lost_or_doubled(acts: list[tuple[str, int]]) -> None:
    table, hosts = places(4)
    queue, aside = Queue(), set[Endpoint]()
    waiting: dict[int, Endpoint] = {}
    number = 0
    for act, at in acts:
        host = hosts[at]
        if act in ("put", "put_back"):
            getattr(queue, act)(Item(number), host)
            waiting[number] = host
            aside.discard(host)
            number += 1
        elif act == "take" and host.waiting:
            assert waiting.pop(queue.take(host).req_id) is host
        elif act in ("shuffle", "sort"):
            rearrange(queue, table, act == "shuffle")
            aside.clear()
        else:
            endpoint = queue.first()
            listed = {host for host in hosts if host.waiting} - aside
            assert (endpoint is None and not listed) or endpoint in listed
            if endpoint is not None and act == "aside":
                queue.set_aside(endpoint)
                aside.add(endpoint)
            elif endpoint is not None:
                assert waiting.pop(queue.take(endpoint).req_id) is endpoint
        assert queue.size == len(waiting)
    for host in aside:
        if host.waiting:
            queue.enlist(host)
    assert sorted(drain(queue)) == sorted(waiting)
