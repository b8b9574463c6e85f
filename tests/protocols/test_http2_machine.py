"""A server that obeys the rules and is otherwise mad: it answers in any order and in crumbs, resets, changes its
settings, says goodbye; and a client that cancels. Each request has exactly one end, and never another's answer."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aquests.errors import Cancelled, ConnectionEnded, PeerClosed, StreamReset
from aquests.exchange import Exchange
from aquests.protocols import h2frames as h2
from tests.loopback import Pieces
from tests.protocols.h2peer import Talk

STREAMS = 6


class Fate:
    """What the server did with a stream."""

    def __init__(self, x: Exchange, sent: bytes):
        self.x = x
        self.sent = sent
        self.headed = False
        self.body = b""
        self.ended = False
        self.error: type[Exception] | None = None
        self.untouched = False

    @property
    def over(self) -> bool:
        return self.ended or self.error is not None


class MadServer(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1 << 20), window=st.sampled_from([500, 65535, 1 << 20]))
    def begin(self, seed: int, window: int) -> None:
        self.talk = Talk(STREAMS, {4: window}, seed=seed)
        self.fates: dict[int, Fate] = {}
        self.last = h2.MOST
        self.limit = STREAMS
        self.count = 0

    # Our side

    @precondition(lambda self: self.talk.wire.room > 0)
    @rule(size=st.sampled_from([0, 0, 0, 1, 500, 30_000]), known=st.booleans())
    def ask(self, size: int, known: bool) -> None:
        self.count += 1
        sent = self.count.to_bytes(2) * size
        payload: Any = None if not size else sent if known else Pieces(sent[: size // 2 + 1], sent[size // 2 + 1 :])
        before = set(self.talk.asked)
        x = self.talk.ask(payload, method="POST" if size else "GET", url=f"http://peer/{self.count}")
        (stream,) = set(self.talk.asked) - before
        assert self.talk.asked[stream].fields[":path"] == f"/{self.count}"
        self.fates[stream] = Fate(x, sent)

    def open_streams(self) -> list[int]:
        return [stream for stream, fate in self.fates.items() if not fate.over and stream <= self.last]

    def pick(self, data: Any) -> tuple[int, Fate]:
        stream = data.draw(st.sampled_from(self.open_streams()))
        return stream, self.fates[stream]

    @precondition(lambda self: self.open_streams())
    @rule(data=st.data(), late=st.booleans())
    def cancel(self, data: Any, late: bool) -> None:
        """Perhaps something is under way."""
        stream, fate = self.pick(data)
        if late and fate.headed:
            self.talk.server.send_data(stream, b"too late")
        theirs = self.talk.server.data_to_send()
        assert self.talk.wire.cancel(fate.x)
        fate.x.error = Cancelled("cancelled")
        fate.error = Cancelled
        self.talk.harness._look((fate.x,))
        self.talk.harness.feed([theirs])
        self.talk.pump()

    # The server's side

    @precondition(lambda self: self.open_streams())
    @rule(data=st.data(), last=st.booleans(), interim=st.integers(0, 2))
    def head(self, data: Any, last: bool, interim: int) -> None:
        stream, fate = self.pick(data)
        if fate.headed:
            return
        for _ in range(interim):
            self.talk.server.send_headers(stream, [(":status", "103"), ("link", "x")])
        fields = [(":status", "200"), ("path", self.talk.asked[stream].fields[":path"]), ("x", "y" * (stream % 50))]
        fate.headed = True
        fate.ended = last
        self.talk.server.send_headers(stream, fields, end_stream=last)
        self.talk.pump()

    @precondition(lambda self: any(self.fates[stream].headed for stream in self.open_streams()))
    @rule(data=st.data(), size=st.sampled_from([0, 1, 100, 16000]), last=st.booleans(), pad=st.booleans())
    def body(self, data: Any, size: int, last: bool, pad: bool) -> None:
        stream, fate = self.pick(data)
        if not fate.headed:
            return
        piece = self.talk.asked[stream].fields[":path"].encode() * (size // 8)
        fate.body += piece
        fate.ended = last
        self.talk.server.send_data(stream, piece, end_stream=last, pad_length=size % 200 if pad else None)
        self.talk.pump()

    @precondition(lambda self: any(self.fates[stream].headed for stream in self.open_streams()))
    @rule(data=st.data())
    def trailers(self, data: Any) -> None:
        stream, fate = self.pick(data)
        if not fate.headed:
            return
        fate.ended = True
        self.talk.server.send_headers(stream, [("end", str(stream))], end_stream=True)
        self.talk.pump()
        assert fate.x.trailers == (("end", str(stream)),)

    @precondition(lambda self: self.open_streams())
    @rule(data=st.data(), code=st.sampled_from([h2.CANCEL, h2.REFUSED_STREAM]))
    def reset(self, data: Any, code: int) -> None:
        stream, fate = self.pick(data)
        fate.error = StreamReset
        fate.untouched = code == h2.REFUSED_STREAM
        self.talk.server.reset_stream(stream, code)
        self.talk.pump()

    @rule(limit=st.sampled_from([1, 3, 100]), window=st.sampled_from([500, 20_000, 1 << 20]), table=st.booleans())
    def change_settings(self, limit: int, window: int, table: bool) -> None:
        self.limit = min(limit, STREAMS)
        self.talk.server.update_settings({3: limit, 4: window, 1: 4096 * table})
        self.talk.pump()

    @rule()
    def ping(self) -> None:
        self.talk.server.ping(b"12345678")
        self.talk.pump()

    @precondition(lambda self: len(self.fates) > 8)
    @rule(data=st.data())
    def goodbye(self, data: Any) -> None:
        last = data.draw(st.sampled_from([number for number in (0, *self.fates) if number <= self.last]))
        self.last = last
        for stream, fate in self.fates.items():
            if stream > last and not fate.over:
                fate.error = ConnectionEnded
                fate.untouched = True
        self.talk.harness.feed(
            [self.talk.server.data_to_send(), h2.frame(h2.GOAWAY, 0, 0, last.to_bytes(4) + bytes(4))]
        )

    # What must hold

    @invariant()
    def each_has_its_own(self) -> None:
        if not hasattr(self, "talk"):
            return
        wire = self.talk.wire
        assert wire.error is None, wire.error
        assert wire.room <= max(0, self.limit - len(wire.inflight))
        for stream, fate in self.fates.items():
            x = fate.x
            assert (x in wire.inflight) is not fate.over, stream
            if fate.error is not None:
                assert type(x.error) is fate.error and x.untouched is fate.untouched
            elif fate.ended:
                assert x.error is None and x.body == fate.body
                assert x.head is not None and x.head.headers["path"] == self.talk.asked[stream].fields[":path"]
            if stream <= self.last and not fate.over:
                assert self.talk.asked[stream].body == fate.sent and self.talk.asked[stream].ended

    def teardown(self) -> None:
        if not hasattr(self, "talk"):
            return
        harness = self.talk.harness
        harness.receive_eof()
        for fate in self.fates.values():
            if not fate.over:
                assert isinstance(fate.x.error, ConnectionEnded if self.last < h2.MOST else PeerClosed)
        assert len(harness.done) == len(self.fates) == len({id(x) for x in harness.done})


TestMadServer = MadServer.TestCase
TestMadServer.settings = settings(max_examples=100, stateful_step_count=50)
