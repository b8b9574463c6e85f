"""lib/resolver.py: a scripted getaddrinfo, a manual clock, a loop that is a queue. No sleeping."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import ResolveError
from aquests.lib.resolver import Resolver, happy_eyeballs_order

PATIENCE = 20  # seconds until a broken test gives up; a good one never waits for it
V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


def rows(*addresses):
    """What getaddrinfo returns for port None."""
    made = []
    for ip in addresses:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        where = (ip, 0, 0, 0) if ":" in ip else (ip, 0)
        made.append((family, socket.SOCK_STREAM, 6, "", where))
    return made


class World:
    """A name server, a clock and a loop under the test's control."""

    def __init__(self):
        self.names = {}
        self.asked = []
        self.gates = {}
        self.entered: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.idle = threading.Semaphore(0)
        self.now = 1000.0
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.resolvers = []
        self.others: set[threading.Thread] = set()
        self.others.update(self.threads())

    def resolver(self, **options):
        options.setdefault("linger", PATIENCE)
        made = Resolver(self.calls.put, getaddrinfo=self.getaddrinfo, clock=lambda: self.now, **options)
        made._changed = Watched(self.idle)
        self.resolvers.append(made)
        return made

    def threads(self):
        """The threads of this test's resolvers."""
        alive = {thread for thread in threading.enumerate() if thread.name == "aquests-resolver"}
        return list(alive - self.others)

    def join(self):
        """Wait until all of them have ended."""
        for thread in self.threads():
            thread.join(PATIENCE)
        assert self.threads() == []

    def getaddrinfo(self, host, port, **hints):
        assert port is None and hints == {"type": socket.SOCK_STREAM}
        self.asked.append(host)
        self.entered.put(host)
        gate = self.gates.get(host)
        if gate is not None:
            assert gate.wait(PATIENCE)
        answer = self.names.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def step(self):
        """Let the loop run one call, as soon as there is one."""
        self.calls.get(timeout=PATIENCE)()

    def ask(self, resolver, host, port=80):
        """resolve() and wait for the answer."""
        got: list[Any] = []
        resolver.resolve(host, port, got.append)
        assert got == []
        self.step()
        (answer,) = got
        return answer


class Watched(threading.Condition):
    """Tells when a thread is about to wait; whoever gets the lock then knows that it waits."""

    def __init__(self, idle):
        super().__init__()
        self._idle = idle

    def wait(self, timeout=None):
        self._idle.release()
        return super().wait(timeout)


@pytest.fixture
def world():
    made = World()
    yield made
    for gate in made.gates.values():
        gate.set()
    for resolver in made.resolvers:
        resolver.close()
    made.join()


def test_resolve_and_cache(world):
    world.names["a.test"] = rows("192.0.2.1", "2001:db8::1", "192.0.2.1")
    resolver = world.resolver()
    assert resolver.lookup("a.test", 80) is None
    assert world.ask(resolver, "a.test") == [(V4, ("192.0.2.1", 80)), (V6, ("2001:db8::1", 80, 0, 0))]
    assert resolver.lookup("A.Test", 81) == [(V4, ("192.0.2.1", 81)), (V6, ("2001:db8::1", 81, 0, 0))]
    assert world.asked == ["a.test"]


def test_resolve_of_what_is_known_asks_nobody(world):
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver()
    world.ask(resolver, "a.test")
    assert world.ask(resolver, "a.test", 443) == [(V4, ("192.0.2.1", 443))]
    assert world.ask(resolver, "::1", 443) == [(V6, ("::1", 443, 0, 0))]
    assert world.asked == ["a.test"]


def test_answers_are_the_callers_own(world):
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver()
    world.ask(resolver, "a.test").clear()
    resolver.lookup("a.test", 80).clear()
    assert resolver.lookup("a.test", 80) == [(V4, ("192.0.2.1", 80))]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", (V4, ("127.0.0.1", 80))),
        ("::1", (V6, ("::1", 80, 0, 0))),
        ("::ffff:192.0.2.1", (V6, ("::ffff:192.0.2.1", 80, 0, 0))),
        ("fe80::1%7", (V6, ("fe80::1", 80, 0, 7))),
        ("fe80::1%lo", (V6, ("fe80::1", 80, 0, socket.if_nametoindex("lo")))),
    ],
)
def test_addresses_need_no_thread(world, host, address):
    resolver = world.resolver()
    assert resolver.lookup(host, 80) == [address]
    assert world.threads() == [] and world.asked == []


@pytest.mark.parametrize("zone", ["nowhere0", "99999999999", "\0"])
def test_unknown_interface(world, zone):
    error = world.resolver().lookup(f"fe80::1%{zone}", 80)
    assert isinstance(error, ResolveError)
    assert error.message == f"no network interface {zone!r}"


@pytest.mark.parametrize("host", ["1.2.3", "1.2.3.4.", "256.1.1.1", "::g", "1.2.3.4%1", "", "1:2"])
def test_what_only_looks_like_an_address(world, host):
    assert world.resolver().lookup(host, 80) is None


def test_addresses_expire(world):
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver(ttl=60)
    world.ask(resolver, "a.test")
    world.names["a.test"] = rows("192.0.2.2")
    world.now += 59.9
    assert resolver.lookup("a.test", 80) == [(V4, ("192.0.2.1", 80))]
    world.now += 0.1
    assert resolver.lookup("a.test", 80) is None
    assert world.ask(resolver, "a.test") == [(V4, ("192.0.2.2", 80))]


def test_ttl_counts_from_the_answer(world):
    gate = world.gates["a.test"] = threading.Event()
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver(ttl=60)
    resolver.resolve("a.test", 80, lambda answer: None)
    world.now += 100
    gate.set()
    world.step()
    assert resolver.lookup("a.test", 80)


def test_ttl_zero_asks_each_time(world):
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver(ttl=0)
    for _ in range(3):
        world.ask(resolver, "a.test")
        assert resolver.lookup("a.test", 80) is None
    assert len(world.asked) == 3


def test_no_such_host(world):
    resolver = world.resolver(negative_ttl=5)
    error = world.ask(resolver, "no.test", 81)
    assert isinstance(error, ResolveError)
    assert str(error) == "no such host, no.test:81"
    assert (error.phase, error.code, error.endpoint) == ("resolve", 704, "no.test:81")
    assert isinstance(error.__cause__, socket.gaierror) and error.__cause__.__traceback__ is None
    world.now += 4.9
    again = resolver.lookup("no.test", 82)
    assert isinstance(again, ResolveError) and again is not error and again.endpoint == "no.test:82"
    world.now += 0.1
    assert resolver.lookup("no.test", 81) is None
    assert world.asked == ["no.test"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (socket.gaierror(socket.EAI_NODATA, "No address"), "no such host"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "look-up failed (Non-recoverable failure)"),
        ([], "no such host"),
        ([(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/path")], "no such host"),
        (UnicodeError("label empty or too long"), "not a possible host name"),
        (ValueError("embedded null character"), "not a possible host name"),
        (OSError(5, "I/O"), "look-up failed (I/O)"),
    ],
)
def test_other_failures(world, answer, message):
    world.names["x.test"] = answer
    error = world.ask(world.resolver(), "x.test")
    assert isinstance(error, ResolveError)
    assert error.message == message


def test_silent_name_server_is_asked_twice_and_forgotten_soon(world):
    world.names["a.test"] = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    resolver = world.resolver(negative_ttl=5)
    error = world.ask(resolver, "a.test")
    assert isinstance(error, ResolveError) and error.message == "no name server answers"
    assert world.asked == ["a.test", "a.test"]
    assert isinstance(resolver.lookup("a.test", 80), ResolveError)
    world.now += 1
    assert resolver.lookup("a.test", 80) is None


def test_second_try_may_succeed(world):
    answers = iter([socket.gaierror(socket.EAI_AGAIN, "later"), rows("192.0.2.1")])
    world.names["a.test"] = lambda: next(answers)
    assert world.ask(world.resolver(), "a.test") == [(V4, ("192.0.2.1", 80))]


def test_second_try_may_fail_otherwise(world):
    answers = iter([socket.gaierror(socket.EAI_AGAIN, "later"), socket.gaierror(socket.EAI_NONAME, "no")])
    world.names["a.test"] = lambda: next(answers)
    assert world.ask(world.resolver(), "a.test").message == "no such host"


def test_one_look_up_for_all_who_wait(world):
    gate = world.gates["a.test"] = threading.Event()
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver()
    got: list[Any] = []
    for port in (1, 2, 3):
        resolver.resolve("a.test" if port < 3 else "A.TEST", port, got.append)
    gate.set()
    world.step()
    assert got == [[(V4, ("192.0.2.1", port))] for port in (1, 2, 3)]
    assert world.asked == ["a.test"]


def test_each_gets_an_error_of_its_own(world):
    gate = world.gates["no.test"] = threading.Event()
    resolver = world.resolver()
    got: list[Any] = []
    resolver.resolve("no.test", 1, got.append)
    resolver.resolve("no.test", 2, got.append)
    gate.set()
    world.step()
    assert [error.endpoint for error in got] == ["no.test:1", "no.test:2"]


def test_a_done_that_raises_does_not_concern_the_others(world):
    gate = world.gates["a.test"] = threading.Event()
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver()
    got: list[Any] = []

    def broken(answer):
        raise KeyError("mine")

    for done in (got.append, broken, broken, got.append):
        resolver.resolve("a.test", 80, done)
    gate.set()
    for _ in range(2):
        with pytest.raises(KeyError):
            world.step()
    world.step()
    assert len(got) == 2 and world.calls.empty()


def test_done_may_resolve_again(world):
    world.names["a.test"] = rows("192.0.2.1")
    world.names["b.test"] = rows("192.0.2.2")
    resolver = world.resolver(ttl=0)
    got: list[Any] = []

    def first(answer):
        resolver.resolve("b.test", 80, got.append)
        resolver.resolve("a.test", 80, got.append)

    resolver.resolve("a.test", 80, first)
    for _ in range(3):
        world.step()
    assert sorted(got) == [[(V4, ("192.0.2.1", 80))], [(V4, ("192.0.2.2", 80))]]


def test_threads_are_bounded_and_look_ups_queue(world):
    names = [f"{i}.test" for i in range(5)]
    for name in names:
        world.names[name] = rows("192.0.2.1")
        world.gates[name] = threading.Event()
    resolver = world.resolver(threads=2)
    assert world.threads() == []
    done = []
    for name in names:
        resolver.resolve(name, 80, lambda answer, name=name: done.append(name))
    assert {world.entered.get(timeout=PATIENCE) for _ in range(2)} == {"0.test", "1.test"}
    assert len(world.threads()) == 2 and world.entered.empty()
    world.gates["1.test"].set()
    world.step()
    assert done == ["1.test"]
    assert world.entered.get(timeout=PATIENCE) == "2.test"  # in order, past the one that hangs
    for gate in world.gates.values():
        gate.set()
    for _ in range(4):
        world.step()
    assert sorted(done) == names and len(world.threads()) == 2


def test_an_idle_thread_is_used_again(world):
    seen = set()

    def answer():
        seen.add(threading.current_thread())
        return rows("192.0.2.1")

    resolver = world.resolver()
    for i in range(5):
        world.names[f"{i}.test"] = answer
        world.ask(resolver, f"{i}.test")
        assert world.idle.acquire(timeout=PATIENCE)
    assert len(seen) == 1


def test_an_idle_thread_ends(world):
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver(linger=0, ttl=0)
    for _ in range(3):
        assert world.ask(resolver, "a.test") == [(V4, ("192.0.2.1", 80))]
        world.join()


def test_no_thread_to_be_had(world, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        error = world.ask(resolver, "a.test")
    assert isinstance(error, ResolveError) and error.message == "no thread for the look-up"
    assert world.ask(resolver, "a.test") == [(V4, ("192.0.2.1", 80))]


def test_fewer_threads_than_wanted_are_enough(world, monkeypatch):
    gate = world.gates["a.test"] = threading.Event()
    world.names["a.test"] = world.names["b.test"] = rows("192.0.2.1")
    resolver = world.resolver()
    got: list[Any] = []
    resolver.resolve("a.test", 1, got.append)
    world.entered.get(timeout=PATIENCE)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no")))
        resolver.resolve("b.test", 2, got.append)
    gate.set()
    world.step()
    world.step()
    assert got == [[(V4, ("192.0.2.1", 1))], [(V4, ("192.0.2.1", 2))]]


def test_cache_is_bounded(world):
    resolver = world.resolver(max_names=3)
    for i in range(5):
        world.names[f"{i}.test"] = rows("192.0.2.1")
        world.ask(resolver, f"{i}.test")
    assert [i for i in range(5) if resolver.lookup(f"{i}.test", 80)] == [2, 3, 4]
    assert len(resolver._names) == 3


def test_close_reports_nothing_more(world):
    gate = world.gates["a.test"] = threading.Event()
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver(threads=1)
    resolver.resolve("a.test", 80, pytest.fail)
    resolver.resolve("b.test", 80, pytest.fail)
    world.entered.get(timeout=PATIENCE)
    resolver.close()
    resolver.close()
    gate.set()
    world.join()
    assert world.calls.empty() and world.asked == ["a.test"]
    with pytest.raises(RuntimeError, match="closed"):
        resolver.resolve("a.test", 80, pytest.fail)


def test_close_after_the_report_was_handed_over(world):
    """The call is with the loop already; nobody is told, but nothing breaks."""
    world.names["a.test"] = rows("192.0.2.1")
    resolver = world.resolver()
    resolver.resolve("a.test", 80, pytest.fail)
    call = world.calls.get(timeout=PATIENCE)
    resolver.close()
    call()


def test_close_ends_idle_threads(world):
    resolver = world.resolver()
    world.ask(resolver, "a.test")
    assert world.idle.acquire(timeout=PATIENCE)
    resolver.close()
    world.join()


def test_a_hanging_look_up_does_not_hold_up_the_exit():
    code = (
        "import threading\n"
        "from aquests.lib.resolver import Resolver\n"
        "entered = threading.Event()\n"
        "def hang(*args, **hints):\n"
        "    entered.set()\n"
        "    threading.Event().wait()\n"
        "Resolver(print, getaddrinfo=hang).resolve('a.test', 80, print)\n"
        "assert entered.wait(20)\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def test_the_real_getaddrinfo():
    calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    resolver = Resolver(calls.put)
    got: list[Any] = []
    resolver.resolve("localhost", 8080, got.append)
    calls.get(timeout=PATIENCE)()
    resolver.close()
    (addresses,) = got
    assert set(addresses) <= {(V4, ("127.0.0.1", 8080)), (V6, ("::1", 8080, 0, 0))}
    assert addresses


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test", "a\0b"])
def test_the_real_getaddrinfo_with_impossible_names(host):
    calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    resolver = Resolver(calls.put)
    got: list[Any] = []
    resolver.resolve(host, 8080, got.append)
    calls.get(timeout=PATIENCE)()
    resolver.close()
    assert isinstance(got[0], ResolveError) and got[0].message == "not a possible host name"


@pytest.mark.parametrize(
    ("given_order", "wanted"),
    [
        ("", ""),
        ("a", "a"),
        ("A", "A"),
        ("ab", "ab"),
        ("aA", "aA"),
        ("abAB", "aAbB"),
        ("ABab", "AaBb"),
        ("Aabc", "Aabc"),
        ("abcA", "aAbc"),
    ],
)
def test_happy_eyeballs_order(given_order, wanted):
    """Small letters are IPv4, capital ones IPv6."""
    made = [(V6 if letter.isupper() else V4, letter) for letter in given_order]
    assert "".join(letter for _, letter in happy_eyeballs_order(made)) == wanted


@given(st.lists(st.sampled_from([V4, V6])))
def test_happy_eyeballs_loses_nothing(families):
    addresses = list(enumerate(families))
    made = happy_eyeballs_order([(family, number) for number, family in addresses])
    assert sorted(number for _, number in made) == list(range(len(families)))
    for wanted in (V4, V6):
        mine = [number for family, number in made if family == wanted]
        assert mine == sorted(mine)
    assert not made or made[0][1] == 0
