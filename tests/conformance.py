r"""What every wire must pass: the laws of ``aquests/seam.py`` that can be checked from outside.

    CASES = [Case("two lines", Turn(["a", "b"], b"1\n2\n")), …]

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_laws(case):
        check_wire(make_wire, make_exchange, [case])

A case is a conversation: in each turn the asks are submitted, then the bytes of the peer come. A
``greeting`` comes before the first turn, ``eof`` says that the peer closes behind the last. The suite cuts
the bytes in three ways, cuts them short, mutates them, puts garbage in front and behind, cancels and
abandons at every turn; after every single call it looks at ``room``, ``inflight``, ``outbox``, ``begun``
and ``error``. All luck is seeded: a failure is the same in every run, and its note tells how to repeat it.

A wire needs nothing but ``make_wire()``, which returns a new wire (equal ones at every call, so nonces and
masks are fixed), and ``make_exchange(ask)``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aquests.errors import AquestsError, Cancelled, RequestError
from tests.helpers import feedings, random_cuts

if TYPE_CHECKING:
    from aquests.exchange import Exchange
    from aquests.seam import Wire

MUTATIONS = 12
"""Damaged copies of a case's bytes that are fed."""
TRUNCATIONS = 24
"""Places where a case's bytes end early, all of them if there are not more."""
PRODUCED = 10_000
"""Pieces after which an upload is taken for endless."""


@dataclass(frozen=True)
class Turn:
    """``asks`` are handed to ``make_exchange`` one by one and submitted; then the peer says ``data``."""

    asks: Sequence[Any]
    data: bytes


class Case:
    """One conversation: ``Case(name, Turn(…), …, greeting=b"", eof=False)``."""

    def __init__(self, name: str, *turns: Turn, greeting: bytes = b"", eof: bool = False):
        self.name = name
        self.turns = turns
        self.greeting = greeting
        self.eof = eof

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


def check_wire(
    make_wire: Callable[[], Wire],
    make_exchange: Callable[[Any], Exchange],
    cases: Iterable[Case],
    *,
    refused: Iterable[Any] = (),
) -> None:
    """Check the laws with each case. ``refused`` are asks that ``submit`` must refuse, changing nothing.

    Raises AssertionError with a note that names case and feeding.
    """
    for case in cases:
        talk = _Talk(make_wire, make_exchange, case)
        with _note(case, "three feedings"):
            _check_feedings(talk)
        _check_ends(talk)
        _check_cancel(talk)
        _check_truncations(talk)
        _check_mutations(talk)
        for ask in refused:
            with _note(case, f"{ask!r} must be refused"):
                _check_refusal(talk, ask)


def outcome(x: Exchange) -> tuple[Any, ...]:
    """What became of an exchange, in a form that can be compared."""
    head: Any = x.head
    said = None
    if head is not None:
        said = (head.status, head.reason, head.version, head.lane, tuple(head.headers.items()))
    error = x.error and (type(x.error).__name__, str(x.error))
    return (said, x.body, tuple(x.trailers), repr(x.data), error)


class Harness:
    """One wire between a submitter and a peer, looked at after every call. Also of use to single tests.

    ``done`` holds what finished, ``sent`` what the wire wanted to send.
    """

    def __init__(self, wire: Wire):
        self.wire = wire
        self.submitted: list[Exchange] = []
        self.done: list[Exchange] = []
        self.sent: list[bytes] = []
        self._outbox = wire.outbox
        self._dead = False
        assert wire.room == 0, "room before opened()"

    @property
    def ended(self) -> bool:
        """Would a channel have closed the line by now?"""
        wire = self.wire
        return self._dead or wire.error is not None or (not wire.reusable and not wire.inflight)

    def open(self) -> None:
        self.wire.opened()
        self._look(())

    def submit(self, x: Exchange) -> None:
        assert self.wire.room > 0, "no room, but the case has more to ask"
        room = self.wire.room
        self.wire.submit(x)
        self.submitted.append(x)
        assert self.wire.room < room, "submit() did not take room"
        self._look(())

    def receive(self, data: bytes) -> Sequence[Exchange]:
        return self._look(self.wire.receive(data))

    def receive_eof(self) -> Sequence[Exchange]:
        finished = self._look(self.wire.receive_eof())
        assert self.wire.room == 0, "room after the end of the stream"
        assert self.wire.error is not None or not self.wire.inflight, "left in flight after the end of the stream"
        return finished

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        """The channel closes: everything comes back, once, and nothing is left."""
        wire = self.wire
        self._dead = True
        left = list(wire.inflight)
        back = wire.abandon(error)
        assert sorted(map(id, back)) == sorted(map(id, left)), "abandon() must give back what is in flight"
        assert all(isinstance(x.error, AquestsError) for x in back), "given back without error"
        assert not wire.outbox, "bytes to send after abandon()"
        self._look(back)
        assert not wire.inflight and wire.room == 0 and not wire.hungry
        assert not wire.abandon(error), "abandon() gave something back twice"
        self._look(())
        return back

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Feed until a channel would have closed the line."""
        for piece in pieces:
            if self.ended:
                return
            if piece:
                self.receive(piece)

    def _look(self, finished: Sequence[Exchange]) -> Sequence[Exchange]:
        """All that must hold whenever a wire has returned; then drain it, as a channel does."""
        wire = self.wire
        self._take(finished)
        assert wire.outbox is self._outbox, "the outbox must stay the same list"
        for _ in range(PRODUCED):
            assert all(type(piece) is bytes for piece in wire.outbox), "bytes only"
            self.sent += wire.outbox
            wire.outbox.clear()
            if not wire.hungry:
                break
            assert not self.ended, "hungry after the end"
            self._take(wire.produce())
        else:
            raise AssertionError("an upload without end")
        assert isinstance(wire.room, int) and wire.room >= 0, f"room is {wire.room!r}"
        if wire.error is not None:
            assert isinstance(wire.error, AquestsError)
        if wire.error is not None or not wire.reusable:
            assert wire.room == 0, "room on a line that is given up"
        self._look_inside()
        return finished

    def _take(self, finished: Sequence[Exchange]) -> None:
        for x in finished:
            assert any(x is other for other in self.submitted), "finished, but never submitted"
            assert not any(x is other for other in self.done), "finished twice"
            assert x.error is not None or x.head is not None, "finished with neither answer nor error"
            self.done.append(x)

    def _look_inside(self) -> None:
        inside = {id(x) for x in self.wire.inflight}
        assert len(inside) == len(self.wire.inflight)
        expected = {id(x) for x in self.submitted} - {id(x) for x in self.done}
        assert inside == expected, "inflight is not what was submitted and has not finished"
        for x in self.wire.begun:
            assert id(x) in inside and x.progress > 0, "begun, but not in flight or without progress"
        self.wire.begun.clear()


class _Talk:
    """Runs a case, or part of it, in some cutting."""

    def __init__(self, make_wire: Callable[[], Wire], make_exchange: Callable[[Any], Exchange], case: Case):
        self.make_wire = make_wire
        self.make_exchange = make_exchange
        self.case = case

    def begin(self) -> Harness:
        """A wire that is open and greeted."""
        harness = Harness(self.make_wire())
        harness.open()
        if self.case.greeting:
            assert harness.wire.room == 0, "room before the greeting has come"
            harness.feed([self.case.greeting])
        return harness

    def ask(self, harness: Harness, turn: Turn) -> list[Exchange]:
        """Submit as much of a turn as a channel could."""
        asked = []
        for ask in turn.asks:
            if harness.wire.room and not harness.ended:
                asked.append(self.make_exchange(ask))
                harness.submit(asked[-1])
        return asked

    def run(self, cutting: int) -> Harness:
        """The whole case, every part of it in the given cutting; every ask must find room."""
        harness = Harness(self.make_wire())
        harness.open()
        cut = self._cutter(cutting)
        harness.feed(cut(self.case.greeting))
        for turn in self.case.turns:
            for ask in turn.asks:
                harness.submit(self.make_exchange(ask))
            harness.feed(cut(turn.data))
        if self.case.eof and not harness.ended:
            harness.receive_eof()
        return harness

    def _cutter(self, cutting: int) -> Callable[[bytes], list[bytes]]:
        return lambda data: list(feedings(data, self.case.name))[cutting]


def _check_feedings(talk: _Talk) -> None:
    """Laws 1, 3, 4: the same exchanges whatever the cutting, the same bytes sent, every time."""
    whole = talk.run(0)
    told = [outcome(x) for x in whole.done]
    for cutting, how in ((0, "the same again"), (1, "byte by byte"), (2, "random cuts")):
        other = talk.run(cutting)
        assert [outcome(x) for x in other.done] == told, how
        assert b"".join(other.sent) == b"".join(whole.sent), how
        assert _where(other) == _where(whole), how
        assert other.ended == whole.ended, how
        ends = [(None if h.wire.error is None else type(h.wire.error), h.wire.reusable) for h in (other, whole)]
        assert ends[0] == ends[1], how


def _where(harness: Harness) -> list[int]:
    """The order in which the exchanges finished."""
    return [next(at for at, x in enumerate(harness.submitted) if x is done) for done in harness.done]


def _check_ends(talk: _Talk) -> None:
    """Abandon and end of stream at every turn, before opening, before the greeting, and idle."""
    case = talk.case
    with _note(case, "abandoned before it was opened"):
        Harness(talk.make_wire()).abandon(_closed())
    with _note(case, "abandoned before the greeting"):
        harness = Harness(talk.make_wire())
        harness.open()
        harness.abandon(_closed())
    for upto in range(len(case.turns) + 1):
        for how in ("abandoned", "end of stream"):
            with _note(case, f"{how} after {upto} turns"):
                harness = talk.begin()
                for number, turn in enumerate(case.turns[: upto + 1]):
                    talk.ask(harness, turn)
                    if number < upto:
                        harness.feed([turn.data])
                if how == "end of stream" and not harness.ended:
                    harness.receive_eof()
                _finish(harness)


def _check_cancel(talk: _Talk) -> None:
    """Where ``cancel`` says that the wire survives, the others must not feel it; else everything is given back."""
    turns = talk.case.turns
    for number, turn in enumerate(turns):
        for victim in range(len(turn.asks)):
            with _note(talk.case, f"ask {victim} of turn {number} is cancelled"):
                harness = talk.begin()
                for before in turns[:number]:
                    talk.ask(harness, before)
                    harness.feed([before.data])
                asked = talk.ask(harness, turn)
                if victim < len(asked) and not harness.ended:
                    _cancel(talk, harness, asked, asked[victim], turn)
                _finish(harness)


def _cancel(talk: _Talk, harness: Harness, asked: list[Exchange], x: Exchange, turn: Turn) -> None:
    if not harness.wire.cancel(x):
        assert any(x is other for other in harness.wire.inflight), "refused to cancel, and forgot it"
        return
    assert not any(x is other for other in harness.wire.inflight), "cancelled, and still in flight"
    x.error = _closed()  # as the engine does
    harness._look((x,))
    harness.feed(random_cuts(turn.data, random.Random(talk.case.name)))
    whole = talk.begin()
    for before in talk.case.turns:
        same = talk.ask(whole, before)
        whole.feed([before.data])
        if before is turn:
            break
    for mine, theirs in zip(asked, same, strict=True):
        if mine is not x:
            assert outcome(mine) == outcome(theirs), "cancelling one exchange changed another"


def _check_truncations(talk: _Talk) -> None:
    """The bytes end early, anywhere: by the end of the stream, or by the line being closed."""
    script = _script(talk.case)
    total = sum(len(data) for _, data in script)
    chance = random.Random(f"{talk.case.name} truncations")
    places = range(total) if total <= TRUNCATIONS else sorted(chance.sample(range(total), TRUNCATIONS))
    for place in places:
        with _note(talk.case, f"only the first {place} bytes"):
            harness = _play(talk, _cut_off(script, place), chance)
            if place % 2 and not harness.ended:
                harness.receive_eof()
            _finish(harness)


def _check_mutations(talk: _Talk) -> None:
    """Damaged bytes, garbage in front of them and behind: all ends well, for good or bad."""
    script = _script(talk.case)
    for number in range(MUTATIONS):
        chance = random.Random(f"{talk.case.name} {number}")
        with _note(talk.case, f"mutation {number}"):
            harness = _play(talk, [(turn, mutated(data, chance)) for turn, data in script], chance)
            harness.feed([chance.randbytes(chance.randint(1, 40))])
            if number % 2 and not harness.ended:
                harness.receive_eof()
            _finish(harness)
    for place in range(len(script)):
        chance = random.Random(f"{talk.case.name} garbage {place}")
        with _note(talk.case, f"garbage at turn {place}"):
            garbage = (script[place][0], chance.randbytes(300))
            _finish(_play(talk, [*script[:place], garbage, *script[place + 1 :]], chance))


def _check_refusal(talk: _Talk, ask: Any) -> None:
    harness = talk.begin()
    wire = harness.wire
    before = (wire.room, wire.hungry, wire.reusable)
    try:
        wire.submit(talk.make_exchange(ask))
    except RequestError:
        pass
    else:
        raise AssertionError("submit() took it")
    after = (wire.room, wire.hungry, wire.reusable)
    assert after == before and not wire.outbox and not wire.inflight, "refused, and changed something"
    harness._look(())


Script = list[tuple[Turn | None, bytes]]
"""What is asked (None: nothing yet), and what the peer says then."""


def _script(case: Case) -> Script:
    greeting: Script = [(None, case.greeting)] if case.greeting else []
    return [*greeting, *((turn, turn.data) for turn in case.turns)]


def _cut_off(script: Script, place: int) -> Iterator[tuple[Turn | None, bytes]]:
    for turn, data in script:
        yield turn, data[:place]
        if place <= len(data):
            return
        place -= len(data)


def _play(talk: _Talk, script: Iterable[tuple[Turn | None, bytes]], chance: random.Random) -> Harness:
    harness = Harness(talk.make_wire())
    harness.open()
    for turn, data in script:
        if turn is not None:
            talk.ask(harness, turn)
        harness.feed(random_cuts(data, chance))
    return harness


def _finish(harness: Harness) -> None:
    """The channel closes: law 1, nothing is lost and nothing doubled."""
    harness.abandon(harness.wire.error or _closed())
    assert sorted(map(id, harness.done)) == sorted(map(id, harness.submitted)), "lost or doubled"


def _closed() -> AquestsError:
    """What a channel hands to ``abandon`` when nothing is wrong."""
    return Cancelled("the line was closed")


def mutated(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one to four wounds: bits turned, bytes put in, taken out, doubled, or line ends changed."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.randint(1, 8))
        kind = chance.randrange(6)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + chance.choice(_NASTY) + data[at:]
        elif kind == 2:
            data = data[:at] + data[end:]
        elif kind == 3:
            data = data[:end] + data[at:]
        elif kind == 4:
            data = data.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\n\r", b"\r\r\n")), chance.randint(1, 3))
        else:
            data = data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:]
    return data


_NASTY = (b"\0", b"\r\n", b"\n", b"\r", b" ", b":", b"-1", b"+", b"0x", b",", b"\xff", b"9" * 20, b"\r\n\r\n")


@contextmanager
def _note(case: Case, how: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"case {case.name!r}, {how}")
        raise


# Transcripts


class Spoken:
    """One turn of a transcript: what is asked, with which options, what comes, and what is expected then."""

    def __init__(self, ask: str):
        self.ask = ask
        self.options: dict[str, str] = {}
        self.data = bytearray()
        self.expected: list[tuple[str, str]] = []


class Transcript:
    r"""A case in a file, readable without code.

    # Anything about it: the first line is its title
    > GET / HTTP/1.1            what is asked; a new turn begins with each
    % max_content 5             an option of this request
    < HTTP/1.1 200 OK\r\n       bytes of the answer, with the escapes of Python; a line end counts for nothing
    <*70000 a                   … the same ones 70,000 times
    <eof                        the peer closes (only behind everything else)
    = status 200 OK             what is expected of the exchange, or of the wire: a name and a value
    """

    def __init__(self, path: Path):
        self.name = path.stem
        self.title = ""
        self.eof = False
        self.turns: list[Spoken] = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                self._line(line)
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path.name}:{number}: {error}") from error

    def _line(self, line: str) -> None:
        mark, rest = line[:1], line[1:]
        if mark == "#":
            self.title = self.title or rest.strip()
        elif mark == ">":
            self.turns.append(Spoken(rest.strip()))
        elif mark == "%":
            name, _, value = rest.strip().partition(" ")
            self.turns[-1].options[name] = value
        elif line == "<eof":
            self.eof = True
        elif mark == "<":
            if self.eof:
                raise ValueError("nothing comes behind the end")
            times, _, text = rest[1:].partition(" ") if rest.startswith("*") else ("1", "", rest.removeprefix(" "))
            self.turns[-1].data += unescaped(text) * int(times)
        elif mark == "=":
            name, _, value = rest.strip().partition(" ")
            self.turns[-1].expected.append((name, value))
        elif line.strip():
            raise ValueError(f"what is {line!r}?")

    def case(self) -> Case:
        """As a case for ``check_wire``: the asks are the turns themselves."""
        return Case(self.name, *(Turn([turn], bytes(turn.data)) for turn in self.turns), eof=self.eof)

    def __str__(self) -> str:
        return self.name


def unescaped(text: str) -> bytes:
    """Text with Python's escapes (``\\r``, ``\\x80``) as bytes; other characters stand for their latin-1 byte."""
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def transcripts(directory: Path) -> list[Transcript]:
    """All transcripts of a directory, by name."""
    return [Transcript(path) for path in sorted(directory.glob("*.txt"))]
