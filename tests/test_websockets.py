"""``ws()`` from queueing to the callback, against scripted peers: what is refused, shared, and never repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

import aquests
from aquests import websockets
from aquests.errors import AquestsError, PeerClosed, ProtocolError, RequestError, TimedOut, TooLarge, WebSocketClosed
from aquests.exchange import Request, Response
from aquests.protocols.wsmessage import Plain
from aquests.script import script
from aquests.websockets import BINARY, CLOSE, CONT, PING, PONG, TEXT, make
from tests.certs import Certs
from tests.face import ignore, own_engine
from tests.peers import (
    Answer,
    HttpPeer,
    ScriptedPeer,
    cut,
    expect,
    expect_eof,
    half_close,
    http_peer,
    relay,
    say,
    stall,
)
from tests.peers import Request as Asked
from tests.rig import Rig, codes
from tests.wsbytes import echoes, frame, hears, opens, text


def url(peer: ScriptedPeer, path: str = "chat") -> str:
    return f"{'wss' if peer.tls else 'ws'}://{peer.netloc if not isinstance(peer.address, str) else 'localhost'}/{path}"


def ask(rig: Rig, place: str, message: Any = "hello", headers: Any = None, replies: int = 1, **options: Any) -> Request:
    """Queue as ``ws()`` does."""
    options.setdefault("callback", rig._answered)
    request = make("ws", place, message, headers, replies, options, rig.engine.endpoints)
    rig.engine.submit(request)
    rig.asked += 1
    return request


def talk(rig: Rig, place: str, message: Any = "hello", **options: Any) -> Response:
    ask(rig, place, message, **options)
    return rig.run()[-1]


# What is refused where it is queued


def queue(place: str = "ws://h/", message: Any = "x", headers: Any = None, replies: Any = 1, **options: Any) -> Request:
    return make("ws", place, message, headers, replies, options, script.engine.endpoints)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"place": "http://h/"}, "scheme 'http' is not known: use one of ws, wss"),
        ({"place": "h/x"}, "ws:// is missing"),
        ({"place": 1}, "must be str"),
        ({"message": 1}, "a message is str or bytes, not int"),
        ({"message": {"a": 1}}, "not dict"),
        ({"message": ["a", None]}, "not NoneType"),
        ({"message": ("a", "b")}, "a pair: (opcode, data)"),
        ({"message": (TEXT, "a", "b")}, "a pair"),
        ({"message": (CONT, "a")}, "the opcode 0 is not for messages"),
        ({"message": (CLOSE, "a")}, "the opcode 8 is not for messages"),
        ({"message": (3, "a")}, "the opcode 3"),
        ({"message": (PING, b"x" * 126)}, "at most 125 bytes"),
        ({"message": (TEXT, b"\xff")}, "must be UTF-8"),
        ({"message": "\ud800"}, "must be UTF-8"),
        ({"replies": -1}, "replies must be"),
        ({"replies": True}, "replies must be"),
        ({"replies": 1.0}, "replies must be"),
        ({"headers": {"Upgrade": "x"}}, "header Upgrade belongs to the opening"),
        ({"headers": {"sec-websocket-key": "x"}}, "belongs to the opening"),
        ({"headers": {"Sec-WebSocket-Protocol": "x"}}, "give subprotocols="),
        ({"headers": {"X": "a\r\nb"}}, "header X"),
        ({"subprotocols": "chat"}, "subprotocols"),
        ({"subprotocols": ["a b"]}, "names without spaces"),
        ({"subprotocols": [1]}, "names without spaces"),
        ({"subprotocols": ["a", "a"]}, "named twice"),
        ({"compression": 1}, "compression must be"),
        ({"compression": None}, "compression must be"),
        ({"compression": "fast"}, "compression: bad"),
        ({"timeout": 0}, "timeout must be"),
        ({"callback": 1}, "callback must be callable"),
        ({"auth": 1}, "auth"),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_refused_where_it_is_queued(arguments: dict[str, Any], says: str) -> None:
    if arguments.get("subprotocols") == "chat":
        assert queue(**arguments).options == {"subprotocols": ("chat",)}
        return
    with pytest.raises(RequestError) as caught:
        queue(**arguments)
    assert says in str(caught.value)


def test_a_misspelt_option() -> None:
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        queue(timout=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sub'"):
        aquests.ws("ws://h/", "x", sub=1)  # type: ignore[call-arg]


def test_a_refusal_leaves_no_trace() -> None:
    before = (script.engine.counted, script.engine.pending, script.engine.queue.size)
    with pytest.raises(RequestError, match="use one of wss"):
        aquests.wss("ws://h/", "x")
    assert (script.engine.counted, script.engine.pending, script.engine.queue.size) == before


def test_opcodes_are_those_of_websocket_client() -> None:
    codes = websocket.ABNF
    assert (CONT, TEXT, BINARY) == (codes.OPCODE_CONT, codes.OPCODE_TEXT, codes.OPCODE_BINARY)
    assert (CLOSE, PING, PONG) == (codes.OPCODE_CLOSE, codes.OPCODE_PING, codes.OPCODE_PONG)
    with pytest.raises(AttributeError):
        websockets.PANG  # noqa: B018


@pytest.mark.parametrize(
    ("message", "items"),
    [
        (None, ()),
        ("é", ((TEXT, b"\xc3\xa9"),)),
        (b"\xff", ((BINARY, b"\xff"),)),
        (bytearray(b"a"), ((BINARY, b"a"),)),
        (memoryview(b"a"), ((BINARY, b"a"),)),
        ((TEXT, b"a"), ((TEXT, b"a"),)),
        ((BINARY, "a"), ((BINARY, b"a"),)),
        ((PING, ""), ((PING, b""),)),
        (["a", b"b", (PONG, b"c")], ((TEXT, b"a"), (BINARY, b"b"), (PONG, b"c"))),
        ([], ()),
    ],
)
def test_messages(message: Any, items: Any) -> None:
    assert queue(message=message).payload.items == items


@pytest.mark.parametrize(
    ("message", "replies", "plain"),
    [
        ("x" * 125, 1, True),
        ("x" * 126, 1, False),
        ("", 1, True),
        (b"\xff" * 125, 1, True),
        (b"\xff" * 126, 1, False),
        (b"", 1, True),
        ("x", 2, False),
        ("x", 0, False),
        (b"x", 0, False),
        (None, 1, False),
        (["x"], 1, False),
        ((PING, "x"), 1, False),
    ],
)
def test_small_messages_with_one_reply_are_plain(message: Any, replies: int, plain: bool) -> None:
    payload = queue(message=message, replies=replies).payload
    assert (type(payload) is Plain, payload.replies) == (plain, replies)


# Sharing lines


def places(*variants: dict[str, Any]) -> int:
    """How many distinct places these calls go to."""
    return len({id(queue(**variant).endpoint) for variant in variants})


def test_only_equal_openings_share_a_line() -> None:
    same: list[dict[str, Any]] = [{}, {"message": "other"}, {"replies": 3}, {"timeout": 5}, {"meta": {"a": 1}}]
    assert places(*same, {"compression": True}, {"subprotocols": ()}, {"headers": {}}) == 1
    different: list[dict[str, Any]] = [
        {},
        {"place": "ws://h/x"},
        {"place": "ws://h/?x"},
        {"place": "wss://h/"},
        {"place": "ws://h:81/"},
        {"headers": {"Origin": "http://a"}},
        {"headers": {"Origin": "http://b"}},
        {"auth": ("a", "b")},
        {"auth": ("a", "c")},
        {"place": "ws://b:a@h/"},
        {"subprotocols": ["a"]},
        {"subprotocols": ["a", "b"]},
        {"compression": False},
        {"compression": "server_no_context_takeover"},
        {"proxy": "http://p"},
        {"unix": "/run/x"},
    ]
    assert places(*different) == len(different)


def test_a_known_opening_is_still_checked() -> None:
    offers: list[dict[str, Any]] = [{"compression": False}, {"subprotocols": ["a"]}, {"subprotocols": "a"}]
    assert places(*offers, *offers) == 2
    assert queue(compression=False).options == {"compression": False}
    for wrong in ({"compression": 0}, {"compression": 1}, {"compression": False, "subprotocols": ["a "]}):
        with pytest.raises(RequestError):
            queue(**wrong)
    with pytest.raises(RequestError, match="use one of wss"):
        aquests.wss("ws://h/", "x", compression=False)


def test_a_line_is_opened_once_and_used_again() -> None:
    with ScriptedPeer([*opens(), echoes()]) as peer, Rig() as rig:
        for number in range(20):
            ask(rig, url(peer), f"message {number}")
        assert [response.data for response in rig.run()] == [f"message {number}" for number in range(20)]
        assert peer.connections == 1
        assert talk(rig, url(peer), "after a rest").data == "after a rest"
        assert peer.connections == 1


def test_without_a_pool_each_message_has_a_line() -> None:
    with ScriptedPeer([*opens(), echoes()]) as peer, Rig(use_pool=False) as rig:
        for number in range(3):
            ask(rig, url(peer), f"{number}")
        assert sorted(response.data for response in rig.run()) == ["0", "1", "2"]
        assert peer.connections == 3


def test_several_workers() -> None:
    with ScriptedPeer([*opens(), echoes()]) as peer, Rig(workers=5) as rig:
        for number in range(200):
            ask(rig, url(peer), f"{number}", meta={"number": number})
        for response in rig.run():
            assert response.data == f"{response.meta['number']}"
        assert peer.connections <= 5


# Answers


def test_an_answer_in_full() -> None:
    script = [*opens("Sec-WebSocket-Protocol: b", "X-Said: yes"), hears((TEXT, b"hello")), say(text("wörld"))]
    with ScriptedPeer([*script, echoes()]) as peer, Rig() as rig:
        response = talk(rig, url(peer), subprotocols=["a", "b"], meta={"job": 1})
        assert (response.status_code, response.reason, response.version) == (101, "Switching Protocols", "13")
        assert (response.lane, response.ok, response.error) == ("WEBSOCKET", True, None)
        assert (response.data, response.content, response.text) == ("wörld", "wörld".encode(), "wörld")
        assert (response.opcode, response.close_code) == (TEXT, None)
        assert (response.headers["sec-websocket-protocol"], response.headers["x-said"]) == ("b", "yes")
        assert response.meta == {"job": 1, "req_id": 0, "req_method": "ws"}
        assert response.url == url(peer) and response.raise_for_status() is response
        assert 0 < response.timings["connect"] <= response.elapsed
        assert list(rig.engine.stats.lanes) == ["WEBSOCKET"]
        sent = peer.received[0]
        assert b"\r\nSec-WebSocket-Protocol: a, b\r\n" in sent


def test_many_forms() -> None:
    with ScriptedPeer([*opens(), echoes()]) as peer, Rig() as rig:
        place = url(peer)
        assert talk(rig, place, b"\xff").data == b"\xff"
        assert talk(rig, place, ["a", b"b"], replies=2).data == ["a", b"b"]
        assert talk(rig, place, "x" * 300_000).data == "x" * 300_000
        nothing = talk(rig, place, (PONG, b"beat"), replies=0)
        assert (nothing.status_code, nothing.data, nothing.content, nothing.opcode) == (101, None, b"", None)
        assert peer.connections == 1


def test_messages_that_nobody_answers() -> None:
    everything = hears(*((TEXT, b"%d" % number) for number in range(500)), (CLOSE, b"\x03\xe8"))
    with ScriptedPeer([*opens(), everything, cut()]) as peer, Rig() as rig:
        assert talk(rig, url(peer), None, replies=0).status_code == 101, "just opened"
        for number in range(500):
            ask(rig, url(peer), f"{number}", replies=0)
        assert set(codes(rig.run())) == {101}
        rig.engine.hang_up()
        peer.until(lambda: peer.ended == 1)
        assert peer.connections == 1


def test_listening() -> None:
    with ScriptedPeer([*opens(), say(text("tick") + text("tock")), stall()]) as peer, Rig() as rig:
        assert talk(rig, url(peer), None, replies=2).data == ["tick", "tock"]


def test_pings() -> None:
    script = [*opens(), hears((PING, b"there?")), say(text("push") + frame(PONG, b"there?")), stall()]
    with ScriptedPeer(script) as peer, Rig() as rig:
        response = talk(rig, url(peer), (PING, b"there?"))
        assert (response.data, response.opcode) == (b"there?", PONG)


def test_a_ping_while_the_line_idles_is_answered() -> None:
    script = [
        *opens(),
        hears((TEXT, b"a")),
        say(text("A") + frame(PING, b"alive")),
        hears((PONG, b"alive"), (TEXT, b"b")),
    ]
    with ScriptedPeer([*script, say(text("B")), echoes()]) as peer, Rig() as rig:
        assert talk(rig, url(peer), "a").data == "A"
        assert talk(rig, url(peer), "b").data == "B"


def test_goodbye_is_said_when_the_run_ends() -> None:
    """The server's last words are read, however long they are, and it closes first (RFC 6455 7.1.1)."""
    last = [say(text("what was on its way " * 100_000) + frame(CLOSE, b"\x03\xe8")), half_close(), expect_eof()]
    with ScriptedPeer([*opens(), echoes(1), hears((CLOSE, b"\x03\xe8")), *last]) as peer, Rig() as rig:
        assert talk(rig, url(peer)).data == "hello"
        rig.engine.hang_up()
        rig.engine.loop.take_leave()
        peer.until(lambda: peer.ended == 1)


def test_fetchall_waits_for_the_farewell() -> None:
    through: list[object] = []
    words = text("what was on its way " * 100_000) + frame(CLOSE, b"\x03\xe8")  # more than a socket holds
    last = [hears((CLOSE, b"\x03\xe8")), say(words), half_close(), expect_eof(), through.append]
    with ScriptedPeer([*opens(), echoes(1), *last]) as peer, own_engine(callback=ignore):
        request = aquests.ws(url(peer), "hello")
        aquests.fetchall()
        assert request.response is not None and request.response.data == "hello"
        assert not script.engine.loop.lingering
        peer.until(lambda: peer.ended == 1)
        assert through, "all was read"


def test_tls(certs: Certs) -> None:
    with ScriptedPeer([*opens(), echoes()], tls=certs.server_context(alpn=["h2", "http/1.1"])) as peer:
        with Rig(ca=certs.ca) as rig:
            place = url(peer).replace("127.0.0.1", "localhost")
            assert talk(rig, place, "secret").data == "secret"
        with Rig() as rig:
            assert talk(rig, place).status_code == 713


def test_unix(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with ScriptedPeer([*opens(), echoes()], path=path) as peer, Rig() as rig:
        assert talk(rig, "ws://localhost/chat", "local", unix=path).data == "local"
        assert b"GET /chat HTTP/1.1\r\nHost: localhost\r\n" in peer.received[0]


def test_through_a_proxy() -> None:
    """By CONNECT, also without TLS (RFC 6455 4.1)."""
    with ScriptedPeer([*opens(), echoes()]) as peer, Rig() as rig:
        script = [expect(b"\r\n\r\n"), say(b"HTTP/1.1 200 OK\r\n\r\n"), relay(peer.address)]
        with ScriptedPeer(script) as proxy:
            assert talk(rig, "ws://far.example/chat", "x", proxy=proxy.url).data == "x"
            assert proxy.received[0].startswith(b"CONNECT far.example:80 HTTP/1.1\r\n")
            rig.engine.hang_up()


# The rules of HTTP hold for the opening


def http(answer: Callable[[Asked], Answer]) -> HttpPeer:
    return http_peer(answer)


def test_a_refusal_is_an_answer_that_is_not_ok() -> None:
    with http(lambda asked: (403, [("X-Why", "no")], b"not you")) as peer, Rig() as rig:
        response = talk(rig, url(peer))
        assert (response.status_code, response.reason, response.ok) == (403, "Forbidden", False)
        assert (response.content, response.data, response.headers["x-why"]) == (b"not you", None, "no")
        assert isinstance(response.error, websocket.WebSocketBadStatusException)
        assert (response.lane, response.opcode, response.close_code) == ("HTTP/1.1", None, None)
        with pytest.raises(websocket.WebSocketBadStatusException, match="did not open a WebSocket: 403 Forbidden"):
            response.raise_for_status()


@pytest.mark.parametrize("status", [200, 204, 300, 304, 404, 426, 500])
def test_any_other_status_is_a_refusal(status: int) -> None:
    with http(lambda asked: (status, [], b"")) as peer, Rig() as rig:
        for _ in range(2):
            response = talk(rig, url(peer))
            assert (response.status_code, response.ok) == (status, False)
        assert peer.connections == 1, "the line was good, and is used for the next attempt"


def redirecting(status: int, location: str) -> list[Any]:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    return [expect(b"\r\n\r\n"), say(head)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_redirects_are_followed(status: int, scheme: str) -> None:
    with ScriptedPeer([*opens(), echoes()]) as there, Rig(workers=9) as rig:
        with ScriptedPeer(redirecting(status, f"{scheme}://{there.netloc}/new")) as here:
            headers = {"Authorization": "secret", "Origin": "http://a"}
            response = talk(rig, url(here), "x", headers=headers, auth=("user", "word"), subprotocols=["p"])
            assert (response.data, response.url, codes(response.history)) == ("x", url(there, "new"), [status])
            assert response.history[0].error is None
            sent = there.received[0]
            assert b"\r\nOrigin: http://a\r\n" in sent and b"Authorization" not in sent, "credentials stay behind"
            assert b"\r\nSec-WebSocket-Protocol: p\r\n" in sent
            # Whoever asks there with his own credentials gets a line of his own.
            talk(rig, url(there, "new"), "y", headers=headers, subprotocols=["p"])
            assert there.connections == 2 and b"\r\nAuthorization: secret\r\n" in there.received[1]
            talk(rig, url(there, "new"), "z", headers={"Origin": "http://a"}, subprotocols=["p"])
            assert there.connections == 2


def test_a_redirect_leads_to_another_line() -> None:
    """For a line belongs to its URL."""
    with ScriptedPeer([*redirecting(302, "/new?x=1"), stall()], [*opens(), echoes()]) as peer, Rig() as rig:
        response = talk(rig, url(peer), "x")
        assert (response.data, response.url, peer.connections) == ("x", url(peer, "new?x=1"), 2)


@pytest.mark.parametrize(
    ("status", "location", "code"), [(303, "/x", 711), (302, "ftp://h/", 711), (302, "http+unix://%2Fx/", 711)]
)
def test_redirects_that_lead_nowhere(status: int, location: str, code: int) -> None:
    with ScriptedPeer([*redirecting(status, location), stall()]) as peer, Rig() as rig:
        assert talk(rig, url(peer)).status_code == code


def test_redirects_are_not_followed_when_told_so() -> None:
    with ScriptedPeer([*redirecting(302, "/x"), stall()]) as peer, Rig() as rig:
        response = talk(rig, url(peer), allow_redirects=False)
        assert (response.status_code, response.ok) == (302, False)


def challenge(scheme: str) -> list[Any]:
    head = f"HTTP/1.1 401 No\r\nWWW-Authenticate: {scheme}\r\nContent-Length: 0\r\n\r\n".encode()
    return [expect(b"\r\n\r\n"), say(head)]


@pytest.mark.parametrize(
    ("scheme", "sent"),
    [
        ('Basic realm="x"', b"Authorization: Basic dXNlcjp3b3Jk\r\n"),
        ('Digest realm="x", nonce="n", qop="auth"', b'Authorization: Digest username="user"'),
    ],
)
def test_challenges_are_answered(scheme: str, sent: bytes) -> None:
    with ScriptedPeer([*challenge(scheme), *opens(), echoes()]) as peer, Rig() as rig:
        assert talk(rig, url(peer), "in", auth=("user", "word")).data == "in"
        assert sent in peer.received[0] and peer.connections == 1


def test_a_token_is_sent_ahead() -> None:
    with ScriptedPeer([*opens(), echoes()]) as peer, Rig() as rig:
        assert talk(rig, url(peer), "in", auth=("token",)).data == "in"
        assert b"\r\nAuthorization: Bearer token\r\n" in peer.received[0]
        assert talk(rig, url(peer), "again", auth=("token",)).data == "again"
        assert peer.connections == 1


def test_without_credentials_401_is_a_refusal() -> None:
    with ScriptedPeer([*challenge("Basic"), stall()]) as peer, Rig() as rig:
        response = talk(rig, url(peer))
        assert (response.status_code, response.ok) == (401, False)


def test_cookies_are_kept_and_sent() -> None:
    with ScriptedPeer([*opens("Set-Cookie: a=b; Path=/"), echoes()]) as peer, Rig(cookie=True) as rig:
        assert talk(rig, url(peer, "one"), "x").cookies == {"a": "b"}
        assert talk(rig, url(peer, "two"), "x").data == "x"
        assert b"Cookie" not in peer.received[0] and b"\r\nCookie: a=b\r\n" in peer.received[1]


# What goes wrong


def fails(response: Response, kind: type[AquestsError], code: int, words: str) -> None:
    assert type(response.error) is kind, repr(response.error)
    assert response.status_code == code and words in str(response.error) and not response.ok


def test_a_close_before_the_reply() -> None:
    script = [
        *opens(),
        hears((TEXT, b"hello")),
        say(text("a") + frame(CLOSE, b"\x03\xf0go")),
        hears((CLOSE, b"\x03\xf0")),
    ]
    with ScriptedPeer(script, [*opens(), echoes()]) as peer, Rig() as rig:
        response = talk(rig, url(peer), replies=2)
        fails(response, WebSocketClosed, 700, "1008 policy violation (go)")
        assert (response.opcode, response.close_code, response.data) == (-1, 1008, ["a"])
        assert talk(rig, url(peer), "next").data == "next", "the run goes on, on another line"


def test_a_message_that_may_have_arrived_is_not_repeated() -> None:
    """Not even on a reused line that dies before the first byte, where a GET is sent once more."""
    script = [*opens(), hears((TEXT, b"a")), say(text("A")), hears((TEXT, b"pay")), cut()]
    with ScriptedPeer(script, [*opens(), echoes()]) as peer, Rig() as rig:
        ask(rig, url(peer), "a")
        ask(rig, url(peer), "pay")
        ask(rig, url(peer), "next")
        first, paid, after = rig.run()
        fails(paid, WebSocketClosed, 700, "without a CLOSE")
        assert (first.data, after.data, paid.close_code, peer.connections) == ("A", "next", 1006, 2)


def test_a_line_closed_while_it_idled_is_replaced() -> None:
    script = [*opens(), hears((TEXT, b"a")), say(text("A") + frame(CLOSE, b"\x03\xe9")), hears((CLOSE, b"\x03\xe9"))]
    with ScriptedPeer(script, [*opens(), echoes()]) as peer, Rig() as rig:
        assert talk(rig, url(peer), "a").data == "A"
        peer.until(lambda: rig.engine.step(0) or peer.ended == 1)
        assert talk(rig, url(peer), "b").data == "b" and peer.connections == 2


@pytest.mark.parametrize(
    ("steps", "kind", "code", "words"),
    [
        ([*opens(), say(frame(3)), stall()], ProtocolError, 715, "opcode 3 is reserved"),
        ([*opens(), say(frame(TEXT, b"\xff")), stall()], ProtocolError, 715, "not UTF-8"),
        ([*opens(), say(text("x" * 101)), stall()], TooLarge, 719, "max_content=100"),
        ([*opens(), cut()], WebSocketClosed, 700, "without a CLOSE"),
        ([*opens("Sec-WebSocket-Extensions: x"), stall()], ProtocolError, 715, "not offered"),
        ([expect(b"\r\n\r\n"), say(b"SSH-2.0-OpenSSH_9.2\r\n"), stall()], ProtocolError, 715, "not an HTTP"),
        ([expect(b"\r\n\r\n"), cut()], PeerClosed, 700, "before the answer"),
        ([expect(b"\r\n\r\n"), stall()], TimedOut, 702, "no answer in 0.2 s"),
        ([*opens(), stall()], TimedOut, 702, "no answer in 0.2 s"),
        ([*opens(), say(frame(PING, b"alive")), stall()], TimedOut, 702, "no answer in 0.2 s"),
        ([*opens(), say(frame(TEXT, b"begun", fin=False)), stall()], TimedOut, 702, "nothing came for 0.2 s"),
    ],
)
def test_faults(steps: list[Any], kind: type[AquestsError], code: int, words: str) -> None:
    with ScriptedPeer(steps, [*opens(), echoes()]) as peer, Rig() as rig:
        # No more patience than the fault needs, for the machine may be slow.
        patience = 0.2 if kind is TimedOut else 10
        fails(talk(rig, url(peer), max_content=100, timeout=patience), kind, code, words)
        assert talk(rig, url(peer), "next").data == "next"


# The script face


@pytest.fixture
def face() -> Iterator[None]:
    aquests.configure(callback=lambda response: None)
    yield
    aquests.configure()


def test_the_script_face(face: None) -> None:
    with ScriptedPeer([*opens(), echoes()]) as peer:
        first = aquests.ws(url(peer), "one", meta={"a": 1})
        second = aquests.ws(url(peer), b"two", {"X": "y"}, compression=False, callback=seen.append)
        report = aquests.fetchall()
        assert first.response is not None and first.response.data == "one"
        assert second.response is not None and second.response.data == b"two" and seen == [second.response]
        assert report.ok and report.tasks == 2


seen: list[Response] = []


def test_a_callback_that_goes_on_talking(face: None) -> None:
    heard = []

    def answered(response: Response) -> None:
        heard.append(response.data)
        if len(heard) < 50:
            aquests.ws(response.url, f"{len(heard)}", callback=answered)

    with ScriptedPeer([*opens(), echoes()]) as peer:
        aquests.ws(url(peer), "0", callback=answered)
        aquests.fetchall()
        assert heard == [f"{number}" for number in range(50)] and peer.connections == 1


def test_the_default_callback(capsys: pytest.CaptureFixture[str]) -> None:
    aquests.configure()
    with ScriptedPeer([*opens(), echoes()]) as peer:
        aquests.ws(url(peer), "hello")
        aquests.fetchall()
    assert capsys.readouterr().out == "REQID 0. WEBSOCKET 101 Switching Protocols 5 bytes received\n"
