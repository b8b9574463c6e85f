"""Channels on sockets that follow a script; real sockets and real TLS are in ``test_channel_real.py``."""

from __future__ import annotations

import errno
import gc
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aquests.errors import (
    AquestsError,
    Cancelled,
    ConnectError,
    PeerClosed,
    ProtocolError,
    ReadError,
    RequestError,
    TlsError,
    WriteError,
)
from aquests.exchange import Exchange
from aquests.lib import channel as module
from aquests.lib.channel import MANY, READS, RECEIVE, UNIX_RETRY, Channel
from aquests.lib.loop import Loop
from aquests.lib.poller import READ, WRITE
from tests.loopback import (
    AGAIN,
    BYE,
    PLACE,
    Fail,
    FakeNet,
    FakePoller,
    FakeSocket,
    LineWire,
    ManualClock,
    Pieces,
    Recorder,
    Shift,
    Tunnel,
    exchange,
    shifted,
)

TCP = (socket.AF_INET, ("192.0.2.1", 80))


class Bench:
    """A channel on a fake socket: the socket, the poller, the owner and the wire at hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sock: FakeSocket | Fail, wire: LineWire | None = None):
        self.clock = ManualClock()
        self.poller = FakePoller(self.clock)
        self.loop = Loop(self.poller, self.clock)
        self.owner = Recorder()
        self.wire = wire or LineWire()
        self.alpn: list[str | None] = []
        self.sock: Any = sock
        monkeypatch.setattr(module, "socket", FakeNet(sock))
        self.channel = Channel(self.loop, self.owner, PLACE, self.make_wire, 5.0)

    def make_wire(self, alpn: str | None) -> LineWire:
        self.alpn.append(alpn)
        return self.wire

    @property
    def mask(self) -> int | None:
        """What the loop watches the socket for."""
        return self.poller.masks.get(self.sock._fd)

    def fire(self, mask: int) -> None:
        """The socket is ready; one step, and what is sent behind it."""
        self.poller.fire((self.sock._fd, mask))
        self.loop.step()
        self.loop.send()

    def say(self, *items: bytes | Fail) -> None:
        """The peer sends: one step for each piece."""
        for item in items:
            self.sock.recvs.append(item)
            self.fire(READ)

    def up(self, address: Any = TCP, tls: Any = None) -> Bench:
        """Connected, at once."""
        self.channel.open(address, tls)
        self.fire(WRITE)
        return self

    def ask(self, payload: Any = b"q") -> Exchange:
        x = exchange(payload)
        self.channel.submit(x)
        self.send()
        return x

    def send(self) -> None:
        """As an owner does who has fed the line."""
        self.loop.outgoing.append(self.channel)
        self.loop.send()


@pytest.fixture
def bench(monkeypatch) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(sock: FakeSocket | Fail | None = None, wire: LineWire | None = None) -> Bench:
        made.append(Bench(monkeypatch, FakeSocket() if sock is None else sock, wire))
        return made[-1]

    yield make
    for one in made:
        one.loop.close()
        assert one.owner.kinds.count("closed") <= 1
        assert one.channel.phase != "closed" or (isinstance(one.sock, Fail) or one.sock.closed == 1)


# Connecting


def test_a_connection_that_stands_at_once_is_told_in_the_next_step(bench):
    b = bench(FakeSocket(connect=[0, errno.EISCONN]))
    b.channel.open(TCP)
    assert (b.owner.told, b.mask, b.channel.phase, b.channel.room) == ([], WRITE, "connect", 0)
    assert not b.sock.blocking and (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in b.sock.options
    b.fire(WRITE)
    assert (b.owner.told, b.mask, b.channel.phase, b.channel.room) == ([("room",)], READ, "open", 1)
    assert b.alpn == [None] and b.sock.asked == [TCP[1]] * 2


def test_a_pending_connection_survives_spurious_readiness(bench):
    b = bench(FakeSocket(connect=[errno.EINPROGRESS, errno.EALREADY, errno.EALREADY, 0]))
    b.channel.open(TCP)
    for _ in range(2):
        b.fire(WRITE)
        assert (b.owner.told, b.channel.phase, b.mask) == ([], "connect", WRITE)
    b.clock.advance(0.25)
    b.fire(WRITE)
    assert (b.owner.kinds, b.channel.phase) == (["room"], "open")
    assert b.channel.connect_seconds == 0.25 and b.channel.opened_at == b.loop.now


@pytest.mark.parametrize(
    "code, words",
    (
        (errno.ECONNREFUSED, "connection refused"),
        (errno.ENETUNREACH, "network unreachable"),
        (errno.EADDRNOTAVAIL, "cannot assign requested address"),
    ),
)
def test_a_refusal_is_told_later_whenever_it_comes(bench, code, words):
    for connect in ([code], [errno.EINPROGRESS, code]):
        b = bench(FakeSocket(connect=connect))
        b.channel.open(TCP)
        assert b.owner.told == [], "nothing is reported from inside open()"
        b.clock.advance(0.5)
        b.fire(WRITE)
        assert isinstance(b.owner.error, ConnectError) and b.owner.kinds == ["closed"]
        assert str(b.owner.error) == f"{words}, peer:1"
        cause: Any = b.owner.error.__cause__
        assert (b.owner.error.phase, cause.errno) == ("connect", code)
        assert b.mask is None and b.sock.closed == 1


def test_no_descriptor_is_left(bench):
    b = bench(Fail(errno.EMFILE))
    b.channel.open(TCP)
    assert b.owner.told == []
    b.loop.step()
    assert str(b.owner.error) == "too many open files, peer:1"
    assert b.owner.error.__cause__.errno == errno.EMFILE


def test_an_address_the_system_cannot_read(bench):
    b = bench(FakeSocket(connect=[OSError("AF_UNIX path too long")]))
    b.channel.open((socket.AF_UNIX, "/" + "x" * 200))
    assert b.owner.told == []
    b.loop.step()
    assert str(b.owner.error) == "AF_UNIX path too long, peer:1"


def test_a_unix_socket_with_a_full_backlog_is_tried_again_by_time(bench):
    b = bench(FakeSocket(connect=[errno.EAGAIN, errno.EAGAIN, 0, errno.EISCONN]))
    b.channel.open((socket.AF_UNIX, "/run/x"))
    assert b.sock.options == [], "no TCP option on a unix socket"
    for tries in (2, 3):
        assert b.mask is None and b.owner.told == []
        b.clock.advance(UNIX_RETRY)
        b.loop.step()
        assert len(b.sock.asked) == tries
    b.fire(WRITE)
    assert b.channel.phase == "open"


def test_closed_while_it_waits_for_its_turn(bench):
    b = bench(FakeSocket(connect=[errno.EAGAIN]))
    b.channel.open((socket.AF_UNIX, "/run/x"))
    b.channel.close()
    b.clock.advance(1.0)
    b.loop.step()
    assert b.owner.error is None and len(b.sock.asked) == 1


def test_closed_before_a_failure_is_told(bench):
    b = bench(FakeSocket(connect=[errno.ECONNREFUSED]))
    b.channel.open(TCP)
    error = Cancelled("enough")
    b.channel.close(error)
    b.loop.step()
    assert b.owner.error is error


def test_each_phase_has_its_deadline(bench):
    b = bench(FakeSocket(connect=[errno.EINPROGRESS, 0]))
    b.channel.open(TCP)
    assert b.channel.deadline == 1005.0
    b.clock.advance(3.0)
    b.fire(WRITE)
    assert b.channel.deadline == 1008.0


def test_a_wire_that_cannot_be_made_closes_the_line(bench):
    b = bench()
    b.channel._make_wire = lambda alpn: {}[alpn]
    b.channel.open(TCP)
    b.fire(WRITE)
    assert str(b.owner.error) == "internal error: KeyError: None, peer:1"
    assert isinstance(b.owner.error.__cause__, KeyError)


# Sending


def test_a_request_is_written_at_once(bench):
    b = bench().up()
    b.ask(b"abc")
    assert bytes(b.sock.sent) == b"abc\n" and b.mask == READ
    assert (b.channel.bytes_sent, b.channel.blocked) == (4, False)
    assert ("modify", b.sock._fd, READ | WRITE) not in b.poller.calls, "writability was asked for in vain"


def test_many_pieces_are_one_write(bench):
    b = bench(wire=LineWire(room=3)).up()
    for payload in (b"a", b"b", b"c"):
        b.channel.submit(exchange(payload))
    b.send()
    b.send()
    assert b.sock.writes == [b"a\nb\nc\n"]


@pytest.mark.parametrize("first", (2, 0, AGAIN), ids=("short", "nothing", "again"))
def test_what_is_not_taken_goes_out_when_there_is_room(bench, first):
    b = bench(FakeSocket(send=[first, 1, AGAIN, 100]), LineWire(room=5)).up()
    b.owner.told.clear()
    b.ask(b"abcdef")
    assert (b.channel.blocked, b.channel.room, b.mask) == (True, 0, READ | WRITE)
    b.fire(WRITE)
    b.fire(WRITE)
    assert b.channel.blocked
    b.fire(WRITE)
    assert bytes(b.sock.sent) == b"abcdef\n" and b.channel.bytes_sent == 7
    assert (b.channel.blocked, b.channel.room, b.mask) == (False, 4, READ)
    assert b.owner.told == [("room",)], "the room rose without an exchange finishing"


def test_a_blocked_channel_is_not_fed(bench):
    """What is submitted nevertheless keeps its place behind what waits."""
    b = bench(FakeSocket(send=[2]), LineWire(room=2)).up()
    b.ask(b"first")
    assert b.channel.room == 0 and b.wire.room == 1
    b.ask(b"second")
    assert b.sock.writes == [b"first\n"]
    b.fire(WRITE)
    assert bytes(b.sock.sent) == b"first\nsecond\n" and not b.channel.blocked


def test_a_blocked_channel_goes_on_reading(bench):
    b = bench(FakeSocket(send=[2], recv=[b"answer\n"]), LineWire(room=2)).up()
    x = b.ask(b"first")
    y = b.ask(b"second")
    b.fire(READ)
    assert b.owner.finished == [x] and x.body == b"answer" and b.channel.blocked
    b.sock.recvs.append(b"other\n")
    b.fire(READ | WRITE)
    assert b.owner.finished == [x, y]


def test_an_answer_to_a_request_that_was_not_sent_ends_the_line(bench):
    """The peer may never read the rest: nothing else would end it."""
    b = bench(FakeSocket(send=[2], recv=[b"too large\n"])).up()
    x = b.ask(b"x" * 100)
    b.fire(READ)
    assert (x.body, x.error, b.owner.error) == (b"too large", None, None)


def test_what_a_wire_says_by_itself_is_sent(bench):
    b = bench().up()
    b.say(b"?\n")
    assert bytes(b.sock.sent) == b".\n"


def test_a_greeting_is_sent_and_room_told_when_it_is_answered(bench):
    b = bench(wire=LineWire(greeting=b"hello\n")).up()
    assert bytes(b.sock.sent) == b"hello\n" and b.owner.told == [] and b.channel.room == 0
    b.say(b"welcome\n")
    assert b.owner.told == [("room",)]


def test_a_greeting_may_be_written_in_pieces(bench):
    b = bench(FakeSocket(send=[2, 3]), LineWire(greeting=b"hello\n")).up()
    assert b.channel.blocked
    for _ in range(2):
        b.fire(WRITE)
    assert bytes(b.sock.sent) == b"hello\n"
    b.say(b"welcome\n")
    assert b.owner.told == [("room",)]


def test_a_refused_request_changes_nothing(bench):
    b = bench().up()
    with pytest.raises(RequestError):
        b.channel.submit(exchange(b""))
    b.send()
    assert (b.channel.room, b.sock.writes) == (1, [])


# Uploads


def test_an_upload_goes_out_piece_by_piece(bench):
    b = bench().up()
    x = b.ask(Pieces(b"abc", b"def"))
    assert b.sock.writes == [] and b.mask == READ | WRITE and b.channel.room == 0
    for sent in (b"abc", b"abcdef", b"abcdef\n"):
        b.fire(WRITE)
        assert bytes(b.sock.sent) == sent
    b.fire(WRITE)
    assert b.mask == READ and not b.channel.blocked
    b.say(b"done\n")
    assert b.owner.finished == [x] and x.error is None


def test_an_upload_waits_for_the_peer(bench):
    """Back-pressure: no piece is read before the last one has gone out."""
    b = bench(FakeSocket(send=[2, AGAIN, 3, 1, 1])).up()
    source = Pieces(b"abcdef", b"ghi")
    b.ask(source)
    for reads, sent in ((1, b"ab"), (1, b"ab"), (1, b"abcde"), (2, b"abcdefg"), (3, b"abcdefghi\n")):
        b.fire(WRITE)
        assert (source.reads, bytes(b.sock.sent)) == (reads, sent)
    assert b.mask == READ


def test_an_upload_that_fails_fails_its_request_and_the_line(bench):
    b = bench().up()
    fault = RequestError("the file became shorter")
    x = b.ask(Pieces(b"abc", fault))
    b.fire(WRITE)
    b.fire(WRITE)
    assert b.owner.finished == [x] and x.error is fault and b.owner.error is None


def test_an_answer_during_an_upload_is_taken(bench):
    b = bench(FakeSocket(send=[1])).up()
    x = b.ask(Pieces(b"abcdef", b"ghi"))
    b.fire(WRITE)
    b.sock.recvs.append(b"no\n")
    b.fire(READ)
    assert (b.owner.finished, x.body) == ([x], b"no")
    assert b.owner.error is None, "half a request is out: the line is over"


# Failures while sending


@pytest.mark.parametrize("code", (errno.EPIPE, errno.ECONNRESET))
@pytest.mark.parametrize("pieces", ([b"no\n"], [b"n", b"o\n"], [b"x" * 65536, b"y" * 65536, b"no\n"]), ids=len)
def test_an_answer_behind_a_failed_send_is_taken(bench, code, pieces):
    """The server answered and closed while we still sent: whatever has come is read, in as many pieces."""
    b = bench(FakeSocket(send=[2, Fail(code)], recv=[*pieces, b""])).up()
    x = b.ask(b"abcdef")
    b.fire(WRITE)
    assert b.owner.finished == [x] and x.error is None and x.body == b"".join(pieces)[:-1]
    assert b.owner.kinds[-1] == "closed"


@pytest.mark.parametrize("left, error", (((), WriteError), ((b"n",), WriteError), ((b"n", b""), PeerClosed)))
def test_a_failed_send_without_an_answer_is_an_error(bench, left, error):
    b = bench(FakeSocket(send=[2, Fail(errno.EPIPE)], recv=left)).up()
    x = b.ask(b"abcdef")
    b.fire(WRITE)
    assert b.owner.finished == [x] and type(x.error) is error
    if error is WriteError:
        assert str(x.error) == "the peer closed the line, peer:1" and x.error.phase == "send"
        assert b.owner.error is x.error and x.error.__cause__.errno == errno.EPIPE


def test_a_send_that_fails_at_once_is_told_once(bench):
    b = bench(FakeSocket(send=[Fail(errno.ECONNRESET)], recv=[Fail(errno.ECONNRESET)])).up()
    x = b.ask()
    assert b.owner.finished == [x] and isinstance(x.error, ReadError)
    assert b.owner.kinds == ["room", "finished", "closed"]
    b.loop.step()


def test_nothing_is_sent_behind_a_failed_send(bench):
    """The owner may hand over the next request while the last answer is being taken."""
    b = bench(FakeSocket(send=[2, Fail(errno.EPIPE)], recv=[b"1\n"]), LineWire(room=2)).up()
    x = b.ask(b"abcdef")
    y = exchange(b"next")

    def feed(channel: Channel, entry: tuple[Any, ...]) -> None:
        if entry == ("finished", [x]):
            assert channel.room == 0
            channel.submit(y)

    b.owner.then = feed
    b.fire(WRITE)
    assert bytes(b.sock.sent) == b"ab" and len(b.sock.writes) == 2
    assert b.owner.finished == [x, y] and isinstance(y.error, WriteError)


# Receiving


def test_an_answer_in_pieces_with_spurious_readiness_between(bench):
    b = bench().up()
    x = b.ask()
    b.say(AGAIN, b"he", AGAIN, b"llo", AGAIN)
    assert b.owner.finished == []
    b.say(b"\n")
    assert b.owner.finished == [x] and x.body == b"hello"


@pytest.mark.parametrize("sealed", [False, True])
def test_full_reads_are_followed_by_others_in_the_same_step(bench, sealed):
    b = bench().up(tls=Shift() if sealed else None)
    if sealed:
        b.say(b"h")
    answer = shifted(b"x" * (RECEIVE + 1) + b"\n", int(sealed))
    x = b.ask()
    b.say(answer)
    assert b.owner.finished == [x] and len(x.body) == RECEIVE + 1


def test_a_step_reads_so_much_and_no_more(bench):
    b = bench().up()
    b.ask()
    b.say(b"x" * (READS + 9) * RECEIVE)
    assert sum(map(len, b.sock.recvs)) == 8 * RECEIVE


def test_behind_a_full_read_there_may_be_nothing(bench):
    b = bench().up()
    b.ask()
    b.say(b"x" * RECEIVE)
    assert b.channel.phase == "open"


def test_behind_a_full_read_there_may_be_the_end(bench):
    b = bench().up()
    x = b.ask()
    b.sock.recvs.extend([b"x" * RECEIVE, b"", b"y\n"])
    b.fire(READ)
    assert isinstance(x.error, PeerClosed) and b.channel.phase == "closed" and len(b.sock.recvs) == 1


def test_a_full_read_may_be_the_last(bench):
    """The owner closes when it has its answer: the socket is not asked again."""
    b = bench().up()
    b.owner.then = lambda channel, entry: channel.close() if entry[0] == "finished" else None
    x = b.ask()
    b.say(b"x" * (RECEIVE - 1) + b"\n")
    assert b.owner.finished == [x] and b.sock.closed == 1


@pytest.mark.parametrize(("number", "settled"), [(MANY - 1, 0), (MANY, 1)])
def test_many_answers_at_once_are_settled_at_once(bench, number, settled):
    b = bench(wire=LineWire(room=MANY)).up()
    exchanges = [b.ask(b"q") for _ in range(number)]
    b.say(b"a\n" * number)
    assert b.owner.finished == exchanges and b.owner.settled == settled


def test_the_first_byte_is_stamped_with_the_time_of_its_step(bench):
    b = bench().up()
    x = b.ask()
    b.clock.advance(1.5)
    b.say(b"he")
    assert x.first_at == 1001.5 and b.wire.begun == []
    b.clock.advance(1.0)
    b.say(b"l", b"lo\n")
    assert x.first_at == 1001.5


def test_the_owner_may_feed_from_inside_on_finished(bench):
    b = bench().up()
    left = [exchange(b"two"), exchange(b"three")]

    def feed(channel: Channel, entry: tuple[Any, ...]) -> None:
        if entry[0] == "finished" and left:
            channel.submit(left.pop(0))

    b.owner.then = feed
    b.ask(b"one")
    b.say(b"1\n", b"2\n", b"3\n")
    assert [x.body for x in b.owner.finished] == [b"1", b"2", b"3"]
    assert b.sock.writes == [b"one\n", b"two\n", b"three\n"]
    assert b.owner.kinds == ["room", "finished", "finished", "finished"]


def test_answers_before_garbage_are_delivered(bench):
    b = bench(wire=LineWire(room=3)).up()
    first, second, third = (b.ask(payload) for payload in (b"a", b"b", b"c"))
    b.say(b"1\n2\n!\n4\n")
    assert b.owner.finished == [first, second, third]
    assert (first.body, second.body) == (b"1", b"2") and isinstance(third.error, ProtocolError)
    assert b.owner.error is b.wire.error


def test_a_line_that_is_through_is_closed(bench):
    b = bench(wire=LineWire(bye=b"bye\n")).up()
    b.say(b"nobody asked\n")
    assert b.owner.error is None and b.owner.kinds == ["room", "closed"]
    assert bytes(b.sock.sent) == b"bye\n"


@pytest.mark.parametrize(
    "code, words",
    (
        (errno.ECONNRESET, "connection reset by the peer"),
        (errno.EIO, "input/output error"),
    ),
)
def test_a_reset_fails_what_is_in_flight(bench, code, words):
    b = bench(wire=LineWire(room=2)).up()
    exchanges = [b.ask(b"a"), b.ask(b"b")]
    b.say(Fail(code))
    assert b.owner.finished == exchanges and b.owner.kinds == ["room", "finished", "closed"]
    assert b.owner.error is exchanges[0].error is exchanges[1].error
    assert (type(b.owner.error), str(b.owner.error)) == (ReadError, f"{words}, peer:1")
    assert (b.owner.error.phase, b.owner.error.__cause__.errno) == ("answer", code)


def test_the_end_of_the_stream(bench):
    b = bench().up()
    x = b.ask()
    b.say(b"half", b"")
    assert b.owner.finished == [x] and isinstance(x.error, PeerClosed)
    assert b.owner.error is None and b.mask is None


def test_the_end_of_an_idle_line(bench):
    b = bench(wire=LineWire(bye=b"bye\n")).up()
    b.say(b"")
    assert b.owner.error is None and b.owner.finished == []


def test_drain_looks_after_a_wire_that_was_fed_from_outside(bench):
    b = bench().up()
    b.wire.outbox.append(b"more\n")
    b.channel.drain()
    b.channel.drain()
    assert bytes(b.sock.sent) == b"more\n"
    b.wire.reusable = False
    b.wire.room = 0
    b.channel.drain()
    assert b.owner.error is None
    b.channel.drain()
    assert b.owner.kinds == ["room", "closed"]


# The end


def test_close_is_idempotent_and_hands_back_before_it_tells(bench):
    b = bench(wire=LineWire(room=2, bye=b"bye\n")).up()
    exchanges = [b.ask(b"a"), b.ask(b"b")]
    at_close: list[str] = []
    b.channel.at_close = lambda: at_close.append("closed")
    error = Cancelled("enough")
    b.channel.close(error)
    b.channel.close()
    b.channel.crash(ValueError())
    assert b.owner.told[1:] == [("finished", exchanges), ("closed", error)]
    assert all(x.error is error for x in exchanges) and at_close == ["closed"]
    assert (b.channel.phase, b.channel.room, b.mask, b.sock.closed) == ("closed", 0, None, 1)
    assert b"bye" not in b.sock.sent, "who fails is not polite"


def test_a_close_without_error_says_goodbye(bench):
    b = bench(FakeSocket(), LineWire(bye=b"bye\n")).up()
    x = b.ask()
    b.channel.close()
    assert bytes(b.sock.sent) == b"q\nbye\n"
    assert isinstance(x.error, Cancelled) and b.owner.error is None


def test_a_peer_that_answers_a_goodbye_is_waited_for(bench):
    b = bench(FakeSocket(), LineWire(bye=b"bye\n")).up()
    b.wire.lingers = True
    b.channel.close()
    assert b.owner.kinds == ["room", "closed"] and (b.sock.closed, b.mask, len(b.loop.lingering)) == (0, READ, 1)
    b.say(b"whatever it still says")
    assert b.sock.closed == 0
    b.say(b"")
    assert (b.sock.closed, b.mask, len(b.loop.lingering)) == (1, None, 0)


@pytest.mark.parametrize(("bye", "error"), [(b"", None), (b"bye\n", Cancelled("enough"))])
def test_who_says_nothing_waits_for_nothing(bench, bye, error):
    b = bench(FakeSocket(), LineWire(bye=bye)).up()
    b.wire.lingers = True
    b.channel.close(error)
    assert b.sock.closed == 1 and not b.loop.lingering


def test_a_goodbye_that_cannot_be_sent_does_not_matter(bench):
    b = bench(FakeSocket(send=[Fail(errno.EPIPE)]), LineWire(bye=b"bye\n")).up()
    b.channel.close()
    assert b.owner.error is None


def test_a_blocked_line_says_no_goodbye(bench):
    """It would stand in the middle of a request."""
    b = bench(FakeSocket(send=[1]), LineWire(bye=b"bye\n")).up()
    b.ask(b"abc")
    b.channel.close()
    assert bytes(b.sock.sent) == b"a"


@pytest.mark.parametrize("when", ("room", "finished"))
def test_the_owner_may_close_from_inside_a_call(bench, when):
    b = bench(wire=LineWire(room=2)).up()
    x, y = b.ask(b"a"), b.ask(b"b")
    b.owner.then = lambda channel, entry: entry[0] == when and channel.close()
    b.say(b"+\n" if when == "room" else b"1\n")
    assert b.owner.error is None
    assert sorted((x.body, y.body)) in ([b"", b""], [b"", b"1"]) and set(b.owner.finished) == {x, y}


def test_a_handler_that_raises_loses_the_line_and_nothing_else(bench, caplog):
    b = bench().up()
    x = b.ask()

    def fail(data: bytes) -> None:
        raise ZeroDivisionError("a defect")

    b.wire.receive = fail
    b.say(b"answer\n")
    assert b.owner.finished == [x] and b.owner.error is x.error
    assert str(x.error) == "internal error: ZeroDivisionError: a defect, peer:1"
    assert isinstance(x.error.__cause__, ZeroDivisionError) and type(x.error) is AquestsError


def test_cancel(bench):
    b = bench(wire=LineWire(room=2, survives=True)).up()
    x, y = b.ask(b"a"), b.ask(b"b")
    b.wire.outbox.append(b"forget it\n")
    assert b.channel.cancel(x) is True
    b.send()
    assert b.sock.writes[-1] == b"forget it\n", "what the wire says to it goes out"
    b.say(b"1\n2\n")
    assert b.owner.finished == [y] and y.body == b"2"
    b = bench().up()
    x = b.ask()
    assert b.channel.cancel(x) is False and list(b.channel.inflight) == [x]


def test_adopt_changes_the_owner(bench):
    b = bench().up()
    other = Recorder()
    b.channel.adopt(other)
    x = b.ask()
    b.say(b"1\n", b"")
    assert b.owner.kinds == ["room"]
    assert other.finished == [x] and other.error is None


def test_a_closed_line_is_no_ring(bench):
    b = bench().up()
    b.channel.close()
    b.owner.told.clear()
    gc.collect()
    gc.disable()
    try:
        b.channel = None
        assert gc.collect() == 0, "the channel waited for the collector"
    finally:
        gc.enable()
        b.channel = Channel(b.loop, b.owner, PLACE, b.make_wire, 5.0)


# Tunnels


def tunnelled(b: Bench, tls: Any = None) -> LineWire:
    """The owner upgrades as a dial does; returns the wire of the next stage."""
    inner = LineWire()
    made: list[str | None] = []

    def make(alpn: str | None) -> LineWire:
        made.append(alpn)
        b.alpn.append(alpn)
        return inner

    def upgrade(channel: Channel, entry: tuple[Any, ...]) -> None:
        if entry == ("room",) and not made and channel.wire is not inner:
            channel.upgrade(make, tls, channel.wire.surplus)  # type: ignore[union-attr]

    b.owner.then = upgrade
    return inner


def test_a_tunnel_is_upgraded_on_the_same_socket(bench):
    b = bench(wire=Tunnel())
    inner = tunnelled(b)
    b.up()
    b.say(b"ok\n")
    assert b.channel.wire is inner and b.alpn == [None, None]
    assert b.owner.told == [("room",), ("room",)] and b.channel.room == 1
    x = b.ask(b"through")
    b.say(b"answer\n")
    assert b.owner.finished == [x] and bytes(b.sock.sent) == b"connect\nthrough\n"


def test_what_came_behind_the_tunnels_last_word_belongs_to_the_next_stage(bench):
    b = bench(wire=Tunnel())
    inner = tunnelled(b)
    b.up()
    b.say(b"ok\n?\n+\nhal")
    assert bytes(b.sock.sent) == b"connect\n.\n" and inner._buffer == b"hal" and inner.room == 2


def test_a_tunnels_error_is_the_lines_error(bench):
    b = bench(wire=Tunnel())
    b.up()
    b.wire.error, b.wire.reusable = ConnectError("the proxy said no"), False
    b.say(b"no")
    assert b.owner.error is b.wire.error


# TLS, with a readable filter


def test_tls_stages(bench):
    b = bench()
    b.channel.open(TCP, Shift("h2"))
    b.clock.advance(0.5)
    b.fire(WRITE)
    assert (b.channel.phase, b.owner.told, bytes(b.sock.sent)) == ("tls", [], b"H")
    assert b.channel.connect_seconds == 0.5 and b.channel.deadline == b.clock.now + 5.0
    b.clock.advance(0.25)
    b.say(b"h")
    assert (b.channel.phase, b.owner.told, b.alpn) == ("open", [("room",)], ["h2"])
    assert b.channel.tls_seconds == 0.25
    x = b.ask(b"abc")
    assert b.sock.writes[-1] == shifted(b"abc\n", 1)
    b.say(shifted(b"12", 1), AGAIN, shifted(b"3\n", 1))
    assert b.owner.finished == [x] and x.body == b"123"
    b.channel.close()
    assert b.sock.writes[-1] == BYE, "close_notify"


def test_plaintext_may_come_with_the_last_flight(bench):
    b = bench().up(tls=Shift())
    b.owner.then = lambda channel, entry: entry == ("room",) and not channel.inflight and b.ask()
    b.say(b"h" + shifted(b"early\n", 1))
    assert [x.body for x in b.owner.finished] == [b"early"]


def test_a_handshake_may_be_written_in_pieces(bench):
    b = bench(FakeSocket(send=[0, AGAIN, 1])).up(tls=Shift())
    assert b.mask == READ | WRITE
    b.fire(WRITE)
    assert bytes(b.sock.sent) == b""
    b.fire(WRITE)
    assert bytes(b.sock.sent) == b"H" and b.mask == READ
    b.say(b"h")
    assert b.owner.told == [("room",)]


def test_the_last_flight_may_wait_while_the_line_is_up(bench):
    class Slow(Shift):
        def handshake(self, data: bytes) -> bytes:
            return super().handshake(data) or b"fin"

    b = bench(FakeSocket(send=[100, 1])).up(tls=Slow())
    b.say(b"h")
    assert b.channel.phase == "open" and b.channel.blocked and b.channel.room == 0
    assert b.owner.told == [], "no room as long as bytes wait"
    b.fire(WRITE)
    assert bytes(b.sock.sent) == b"Hfin" and b.owner.told == [("room",)] and b.mask == READ


def test_a_refused_handshake_sends_the_alert(bench):
    b = bench().up(tls=Shift())
    b.clock.advance(0.5)
    b.say(b"X")
    assert (str(b.owner.error), b.owner.error.phase) == ("refused, peer:1", "tls")
    assert b.owner.error.after == 0.5
    assert bytes(b.sock.sent) == b"Halert" and b.alpn == []


@pytest.mark.parametrize(
    "item, words",
    (
        (b"", "the server closed the line during the TLS handshake"),
        (Fail(errno.ECONNRESET), "connection reset by the peer during the TLS handshake"),
    ),
)
def test_the_end_of_the_stream_within_the_handshake(bench, item, words):
    b = bench().up(tls=Shift())
    b.say(AGAIN, item)
    assert type(b.owner.error) is TlsError and str(b.owner.error) == words + ", peer:1"
    assert b.owner.error.phase == "tls"


def test_a_send_that_fails_within_the_handshake(bench):
    b = bench(FakeSocket(send=[Fail(errno.EPIPE)])).up(tls=Shift())
    assert type(b.owner.error) is TlsError and b.alpn == []
    assert str(b.owner.error) == "the peer closed the line during the TLS handshake, peer:1"


def test_a_reset_behind_the_handshake(bench):
    b = bench().up(tls=Shift())
    b.say(b"h")
    x = b.ask()
    b.say(AGAIN, Fail(errno.ECONNRESET))
    assert type(x.error) is ReadError and b.owner.error is x.error


def test_a_goodbye_that_cannot_be_sealed_does_not_matter(bench):
    filter = Shift()
    b = bench(wire=LineWire(bye=b"bye\n")).up(tls=filter)
    b.say(b"h")
    filter.error = TlsError("sealed before")
    b.channel.close()
    assert b.owner.error is None and bytes(b.sock.sent) == b"H"


def test_an_end_without_close_notify_is_a_cut(bench):
    b = bench().up(tls=Shift())
    b.say(b"h")
    x = b.ask()
    b.say(shifted(b"half", 1), b"")
    assert isinstance(x.error, PeerClosed) and "without close_notify" in str(x.error)
    assert b.owner.error is x.error


def test_an_idle_line_may_end_without_close_notify(bench):
    b = bench().up(tls=Shift())
    b.say(b"h", b"")
    assert b.owner.error is None


def test_close_notify_is_the_end_of_the_stream(bench):
    b = bench().up(tls=Shift())
    b.say(b"h")
    x, told = b.ask(), len(b.owner.told)
    b.say(shifted(b"1\n", 1) + BYE)
    assert x.body == b"1" and b.owner.kinds[told:] == ["finished", "closed"]
    assert b.owner.error is None


def test_a_broken_record_closes_the_line(bench):
    b = bench().up(tls=Shift())
    b.say(b"h")
    x = b.ask()
    b.say(b"\0")
    assert type(x.error) is TlsError and str(x.error) == "broken record, peer:1"
    assert bytes(b.sock.sent).endswith(b"alert")


def test_plaintext_before_a_broken_record_is_delivered(bench):
    b = bench(wire=LineWire(room=2)).up(tls=Shift())
    b.say(b"h")
    x, y = b.ask(b"a"), b.ask(b"b")
    b.say(shifted(b"1\n", 1) + b"\0")
    assert x.body == b"1" and type(y.error) is TlsError


def test_what_cannot_be_sealed_closes_the_line(bench):
    filter = Shift()
    b = bench().up(tls=filter)
    b.say(b"h")
    filter.error = TlsError("sealed before")
    x = b.ask()
    assert x.error is filter.error and b.owner.error is filter.error


def test_an_answer_behind_a_failed_send_is_unsealed(bench):
    b = bench().up(tls=Shift())
    b.say(b"h")
    b.sock.sends.extend([2, Fail(errno.EPIPE)])
    b.sock.recvs.extend([shifted(b"n", 1), shifted(b"o\n", 1)])
    x = b.ask(b"abcdef")
    b.fire(WRITE)
    assert x.error is None and x.body == b"no"


# TLS below and above a tunnel


def test_what_comes_behind_a_tunnel_through_tls(bench):
    """TLS to the proxy, plain bytes to the place: the surplus is plaintext already, and ALPN was the proxy's."""
    b = bench(wire=Tunnel())
    inner = tunnelled(b)
    b.up(tls=Shift("http/1.1"))
    b.say(b"h", shifted(b"ok\n?\nhal", 1))
    assert b.channel.wire is inner and inner._buffer == b"hal"
    assert b.alpn == ["http/1.1", None]
    b.owner.then = None
    x = b.ask(b"through")
    assert b.sock.writes[-1] == shifted(b"through\n", 1)
    b.say(shifted(b"f\n", 1))
    assert x.body == b"half"


def test_tls_through_a_plain_tunnel(bench):
    b = bench(wire=Tunnel())
    inner = tunnelled(b, Shift("h2"))
    b.up()
    b.say(b"ok\n")
    assert (b.channel.phase, bytes(b.sock.sent)) == ("tls", b"connect\nH")
    b.say(b"h")
    assert b.channel.wire is inner and b.alpn == [None, "h2"] and b.channel.room == 1


def test_tls_through_a_tunnel_through_tls(bench):
    b = bench(wire=Tunnel())
    inner = tunnelled(b, Shift("h2", b"I"))
    b.up(tls=Shift("http/1.1"))
    b.say(b"h", shifted(b"ok\n", 1))
    assert b.sock.writes[-1] == shifted(b"I", 1), "the inner handshake is sealed by the outer filter"
    b.say(shifted(b"i", 1))
    assert b.channel.wire is inner and b.alpn == ["http/1.1", "h2"]
    x = b.ask(b"abc")
    assert b.sock.writes[-1] == shifted(b"abc\n", 2)
    b.say(shifted(b"1\n", 2))
    assert x.body == b"1"
    b.channel.close()
    assert b.sock.writes[-1] == shifted(BYE, 1) + BYE, "both filters say goodbye"


def test_the_inner_filters_alert_is_sealed_by_the_outer(bench):
    b = bench(wire=Tunnel())
    tunnelled(b, Shift())
    b.up(tls=Shift())
    b.say(b"h", shifted(b"ok\n", 1), shifted(b"X", 1))
    assert str(b.owner.error) == "refused, peer:1"
    assert b.sock.writes[-1] == shifted(b"alert", 1)


@pytest.mark.parametrize("below", (None, Shift("http/1.1")), ids=("plain", "tls"))
def test_bytes_ahead_of_the_inner_handshake_are_an_error(bench, below):
    b = bench(wire=Tunnel())
    tunnelled(b, Shift())
    b.up(tls=below)
    if below is None:
        b.say(b"ok\nearly")
    else:
        b.say(b"h", shifted(b"ok\nearly", 1))
    assert type(b.owner.error) is TlsError and "ahead of the TLS handshake" in str(b.owner.error)
    assert b.owner.error.phase == "tls"
