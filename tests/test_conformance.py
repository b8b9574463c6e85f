"""The suite for wires finds what it is there to find: each faulty wire breaks one law and is caught."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aquests.errors import AquestsError, Cancelled
from aquests.exchange import Exchange
from tests.conformance import Case, Harness, Transcript, Turn, check_wire, mutated, outcome, unescaped
from tests.loopback import HEAD, LineWire, Pieces, exchange

CASES = [
    Case("one line", Turn([b"a"], b"1\n")),
    Case("three at once", Turn([b"a", b"b", b"c"], b"one\ntwo\nthree\n")),
    Case("two turns", Turn([b"a", b"b"], b"1\n2\n"), Turn([b"c"], b"?\n3\n")),
    Case("room rises", Turn([b"a", b"b", b"c"], b"+\n1\n2\n3\n"), Turn([b"d"], b"4\n")),
    Case("the peer breaks the rules", Turn([b"a", b"b"], b"1\n!\n2\n")),
    Case("the end comes early", Turn([b"a", b"b"], b"1\n2"), eof=True),
    Case("more than asked", Turn([b"a"], b"1\n2\n")),
]
GREETED = [
    Case("greeted", Turn([b"a", b"b"], b"1\n2\n"), greeting=b"hello\n"),
    Case("never asked", greeting=b"hello\n"),
]


@pytest.mark.parametrize("survives", (True, False))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_good_wire_passes(case, survives):
    check_wire(lambda: LineWire(room=3, survives=survives), exchange, [case], refused=[b""])


@pytest.mark.parametrize("case", GREETED, ids=str)
def test_a_good_wire_with_a_greeting_passes(case):
    check_wire(lambda: LineWire(room=2, greeting=b"hi\n"), exchange, [case])


def test_an_upload_is_produced_to_its_end():
    case = Case("upload", Turn([b"abc"], b"done\n"))
    check_wire(LineWire, lambda body: exchange(Pieces(*(body[at : at + 1] for at in range(3)))), [case])


class Twice(LineWire):
    """Gives an exchange back again when the line is closed."""

    def receive(self, data: bytes) -> Sequence[Exchange]:
        finished = super().receive(data)
        self.kept = list(finished) or getattr(self, "kept", [])
        return finished

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        return [*super().abandon(error), *getattr(self, "kept", [])]


class Forgetful(LineWire):
    """Loses what is in flight when the line is closed."""

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        super().abandon(error)
        return ()


class Empty(LineWire):
    """Finishes with neither answer nor error."""

    def receive(self, data: bytes) -> Sequence[Exchange]:
        finished = super().receive(data)
        for x in finished:
            x.head = None
        return finished


class Cutting(LineWire):
    """Sees lines only if they come whole."""

    def receive(self, data: bytes) -> Sequence[Exchange]:
        self._buffer = b""
        return super().receive(data)


class Brittle(LineWire):
    """Raises on what is no ASCII."""

    def receive(self, data: bytes) -> Sequence[Exchange]:
        data.decode("ascii")
        return super().receive(data)


class Eager(LineWire):
    """Has room before it is open."""

    def __init__(self) -> None:
        super().__init__(room=3)
        self.room = 3


class Stubborn(LineWire):
    """Has room on a line that is broken."""

    def _end(self, error: AquestsError) -> Sequence[Exchange]:
        lost = super()._end(error)
        self.room = 1
        return lost


class Chatty(LineWire):
    """Has something to say after the end."""

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        lost = super().abandon(error)
        self.outbox.append(b"wait!")
        return lost


class Swapping(LineWire):
    """Puts another list in the place of the outbox."""

    def submit(self, x: Exchange) -> None:
        super().submit(x)
        self.outbox = [*self.outbox]


class Deaf(LineWire):
    """Leaves exchanges behind at the end of the stream."""

    def receive_eof(self) -> Sequence[Exchange]:
        self.room = 0
        self.reusable = False
        return ()


class Boundless(LineWire):
    """Takes no room for what is submitted."""

    def submit(self, x: Exchange) -> None:
        super().submit(x)
        self.room += 1


class Premature(LineWire):
    """Takes hold of an exchange before it looks at it."""

    def submit(self, x: Exchange) -> None:
        self.outbox.append(b"")
        super().submit(x)


class Lying(LineWire):
    """Says a cancelled exchange is gone, and answers it."""

    def cancel(self, x: Exchange) -> bool:
        return True


class Mixing(LineWire):
    """Cancelling one shifts the answers of the others."""

    def cancel(self, x: Exchange) -> bool:
        self._asked.remove(x)
        return True


class Losing(LineWire):
    """Cannot cancel, and forgets the exchange all the same."""

    def cancel(self, x: Exchange) -> bool:
        self._asked.remove(x)
        return False


class Moody(LineWire):
    """The second wire says something else than the first."""

    number = 0

    def opened(self) -> None:
        super().opened()
        Moody.number += 1
        self.outbox.append(b"%d" % Moody.number)


class Late(LineWire):
    """Leaves a finished exchange among those that have only begun."""

    def receive(self, data: bytes) -> Sequence[Exchange]:
        finished = super().receive(data)
        for x in finished:
            x.progress = 1
        self.begun += finished
        return finished


class Texts(LineWire):
    """Wants to send what cannot be sent."""

    def opened(self) -> None:
        super().opened()
        self.outbox.append(bytearray(b"hi"))  # type: ignore[arg-type]


class Endless(LineWire):
    """Is hungry for ever."""

    def submit(self, x: Exchange) -> None:
        super().submit(x)
        self.hungry = True

    def produce(self) -> Sequence[Exchange]:
        return ()


FAULTS = {
    Twice: "must give back what is in flight",
    Forgetful: "must give back what is in flight",
    Empty: "neither answer nor error",
    Cutting: "byte by byte",
    Brittle: "codec can't decode",
    Eager: "room before opened",
    Stubborn: "room on a line that is given up",
    Chatty: "bytes to send after abandon",
    Swapping: "must stay the same list",
    Deaf: "left in flight after the end of the stream",
    Boundless: "did not take room",
    Premature: "refused, and changed something",
    Lying: "cancelled, and still in flight",
    Mixing: "changed another",
    Losing: "refused to cancel, and forgot it",
    Moody: "the same again",
    Late: "begun, but not in flight",
    Texts: "bytes only",
    Endless: "without end",
}


@pytest.mark.parametrize("wire", FAULTS, ids=lambda wire: wire.__name__)
def test_a_faulty_wire_is_caught(wire):
    with pytest.raises((AssertionError, UnicodeDecodeError), match=FAULTS[wire]) as caught:
        check_wire(wire if wire is Eager else lambda: wire(room=3), exchange, CASES, refused=[b""])
    assert caught.value.__notes__ or wire is Eager


def test_the_note_tells_how_to_repeat_it():
    with pytest.raises(AssertionError) as caught:
        check_wire(lambda: Cutting(room=3), exchange, CASES[:1])
    assert caught.value.__notes__ == ["case 'one line', three feedings"]


def test_a_case_that_asks_too_much_is_the_tests_fault():
    with pytest.raises(AssertionError, match="no room, but the case has more to ask"):
        check_wire(LineWire, exchange, [Case("two", Turn([b"a", b"b"], b"1\n2\n"))])


def test_harness_counts_a_line_as_ended_when_a_channel_would_close_it():
    harness = Harness(LineWire())
    harness.open()
    assert not harness.ended
    harness.feed([b"1\n", b"never fed"])
    assert harness.ended


def test_outcome_tells_answers_and_errors_apart():
    good, other, bad = exchange(), exchange(), exchange()
    good.head = other.head = HEAD
    good.body = b"1"
    bad.error = Cancelled("gone")
    assert len({outcome(x) for x in (good, other, bad)}) == 3
    assert outcome(bad)[-1] == ("Cancelled", "gone")


def test_mutations_are_the_same_for_the_same_seed_and_differ_from_the_original():
    import random

    data = b"HTTP/1.1 200 OK\r\n\r\n"
    first = [mutated(data, random.Random(seed)) for seed in range(50)]
    assert first == [mutated(data, random.Random(seed)) for seed in range(50)]
    assert sum(one != data for one in first) > 40


# Transcripts

TEXT = r"""# A title
# a remark
> GET / HTTP/1.1
% max_content 5
< HTTP/1.1 200 OK\r\n
<*3 ab

< \x80\\é
= status 200 OK
= reusable yes
> HEAD /two HTTP/1.1
<
<eof
= error PeerClosed closed the line
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sample.txt"
    path.write_text(text, "utf-8")
    return path


def test_transcript(tmp_path):
    transcript = Transcript(write(tmp_path, TEXT))
    first, second = transcript.turns
    assert (transcript.name, transcript.title, transcript.eof) == ("sample", "A title", True)
    assert (first.ask, first.options) == ("GET / HTTP/1.1", {"max_content": "5"})
    assert bytes(first.data) == b"HTTP/1.1 200 OK\r\nababab\x80\\\xe9"
    assert first.expected == [("status", "200 OK"), ("reusable", "yes")]
    assert (second.ask, bytes(second.data)) == ("HEAD /two HTTP/1.1", b"")
    case = transcript.case()
    assert (case.name, case.eof, [turn.data for turn in case.turns]) == ("sample", True, [bytes(first.data), b""])


@pytest.mark.parametrize(
    "text, number",
    (("> GET /\nwhat\n", 2), ("< too early\n", 1), ("> GET /\n<eof\n< more\n", 3), ("> GET /\n<*x a\n", 2)),
)
def test_a_transcript_with_a_slip_names_the_line(tmp_path, text, number):
    with pytest.raises(ValueError, match=f"sample.txt:{number}: "):
        Transcript(write(tmp_path, text))


@pytest.mark.parametrize("text, data", (("a", b"a"), (r"\r\n\0\x7f", b"\r\n\0\x7f"), ("é", b"\xe9"), (r"\\r", rb"\r")))
def test_unescaped(text: Any, data: bytes):
    assert unescaped(text) == data
