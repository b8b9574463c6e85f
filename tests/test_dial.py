"""Making a line: several addresses, proxies, tunnels, TLS in TLS; and whose fault it was when there is none."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aquests.errors import ConnectError, ProtocolError, RequestError, ResolveError, TimedOut, TlsError
from aquests.lib.resolver import Resolver
from tests.certs import Certs
from tests.peers import (
    Answer,
    Request,
    ScriptedPeer,
    cut,
    expect,
    hanging_port,
    http_peer,
    refused_port,
    relay,
    say,
    stall,
)
from tests.rig import Rig, codes

ASKED = expect(b"\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = 0.2


def echo(request: Request) -> Answer:
    return 200, [], request.target.encode()


def names(rig: Rig, **hosts: list[str]) -> list[str]:
    """Let the engine know these names (``_`` stands for a dot); returns the list of those that were looked up."""
    asked: list[str] = []

    def getaddrinfo(name: str, *rest: object, **more: object) -> list[Any]:
        asked.append(name)
        addresses = hosts.get(name.replace(".", "_"))
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in addresses
        ]

    rig.engine._resolver = Resolver(rig.engine.loop.soon, getaddrinfo=getaddrinfo)
    return asked


@contextlib.contextmanager
def hanging_at(host: str, port: int) -> Iterator[None]:
    """Connecting to this place neither succeeds nor fails."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(64):
            guest = sockets.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex((host, port))
            poll = select.poll()
            poll.register(guest, select.POLLOUT)
            if not poll.poll(50):
                yield
                return
        raise AssertionError("the backlog does not fill up")


# -- several addresses ---------------------------------------------------------------------------------------------


def test_the_next_address_is_tried_at_once_when_one_refuses() -> None:
    with http_peer(echo) as peer, Rig() as rig:
        names(rig, host_test=["127.0.0.3", "127.0.0.2", "127.0.0.1"])
        answer = rig.fetch(f"http://host.test:{peer.port}/")
        assert answer.ok and answer.elapsed < 0.25
        assert peer.requests[0].header("host") == f"host.test:{peer.port}"


def test_the_next_address_has_a_chance_while_one_hangs() -> None:
    with http_peer(echo) as peer, hanging_at("127.0.0.2", peer.port), Rig() as rig:
        names(rig, host_test=["127.0.0.2", "127.0.0.1"])
        answer = rig.fetch(f"http://host.test:{peer.port}/")
        assert answer.ok and 0.25 <= answer.elapsed < 1.0
        assert rig.engine.lines == 1 == len(rig.engine._channels)
        assert len(rig.engine.loop._handlers) == 2, "the wake-up and the line: the loser is closed"


def test_all_addresses_refuse() -> None:
    with refused_port() as port, Rig() as rig:
        names(rig, host_test=["127.0.0.1", "127.0.0.2", "127.0.0.3"])
        answer = rig.fetch(f"http://host.test:{port}/")
        assert type(answer.error) is ConnectError and answer.elapsed < 0.25
        assert str(answer.error) == f"connection refused, host.test:{port}"


def test_the_race_is_one_phase() -> None:
    """Three silent addresses do not take three timeouts."""
    with hanging_port() as port, ExitStack() as stack, Rig(timeout=SHORT) as rig:
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            stack.enter_context(hanging_at(host, port))
        names(rig, host_test=["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"])
        answer = rig.fetch(f"http://host.test:{port}/")
        assert type(answer.error) is TimedOut and answer.error.phase == "connect"
        assert SHORT <= answer.elapsed < 2 * SHORT


def test_a_tls_failure_is_not_tried_at_other_addresses(certs: Certs) -> None:
    with ScriptedPeer([stall()], tls=certs.server_context(certs.expired)) as peer, Rig(ca=certs.ca) as rig:
        names(rig, localhost=["127.0.0.1", "127.0.0.2", "127.0.0.1"])
        assert type(rig.fetch(f"https://localhost:{peer.port}/").error) is TlsError
        assert peer.connections == 1


def test_tls_sessions_are_resumed(certs: Certs) -> None:
    """A second line to the same place costs less; never one made with other trust."""
    resumed: list[bool] = []

    def responder(request: Request) -> Answer:
        resumed.append(request.line.sock.session_reused)  # type: ignore[attr-defined]
        return 200, [("Connection", "close")], b""

    with http_peer(responder, tls=certs.server_context()) as peer, Rig(ca=certs.ca) as rig:
        for _ in range(3):
            assert rig.fetch(f"https://localhost:{peer.port}/").ok
        assert rig.fetch(f"https://localhost:{peer.port}/", verify=False).ok
        assert rig.fetch(f"https://127.0.0.1:{peer.port}/").ok
        assert resumed == [False, True, True, False, False]


def test_ipv6() -> None:
    try:
        peer = http_peer(echo, host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with peer, Rig() as rig:
        assert rig.fetch(peer.url).ok
        assert peer.requests[0].header("host") == f"[::1]:{peer.port}"
        names(rig, host_test=["127.0.0.2", "::1"])
        assert rig.fetch(f"http://host.test:{peer.port}/").ok


def test_a_name_is_looked_up_once() -> None:
    with http_peer(echo) as peer, Rig(workers=5, use_pool=False) as rig:
        asked = names(rig, host_test=["127.0.0.1"])
        for _ in range(30):
            rig.ask(f"http://host.test:{peer.port}/")
        assert codes(rig.run()) == [200] * 30
        assert asked == ["host.test"]
        first = rig.answers[0].timings
        assert first["dns"] > 0.0 and first["connect"] > 0.0


# -- forwarding proxies --------------------------------------------------------------------------------------------


def test_the_absolute_form() -> None:
    with http_peer(echo) as proxy, Rig(proxy=proxy.url) as rig:
        asked = names(rig)
        for path in ("", "a?b=c", "d"):
            assert rig.fetch(f"http://origin.test:8080/{path}").text == f"http://origin.test:8080/{path}"
        assert rig.fetch("http://origin.test/", "POST", b"body").ok
        assert [request.header("host") for request in proxy.requests] == ["origin.test:8080"] * 3 + ["origin.test"]
        assert proxy.requests[3].body == b"body"
        assert proxy.connections == 2, "a line serves one place, as always"
        assert asked == [], "the proxy knows the name"


@pytest.mark.parametrize("where", ["run", "request", "environment"])
def test_the_password_of_a_forwarding_proxy(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_peer(echo) as proxy:
        url = proxy.url.replace("://", "://user:p%40ss@")
        monkeypatch.setenv("http_proxy", url if where == "environment" else "http://127.0.0.1:9/")
        option: dict[str, Any] = {"proxy": url}
        with Rig(trust_env=where == "environment", **(option if where == "run" else {})) as rig:
            answer = rig.fetch("http://origin.test/", **(option if where == "request" else {}))
            assert answer.ok and answer.url == "http://origin.test/"
            assert proxy.requests[0].header("proxy-authorization") == "Basic dXNlcjpwQHNz"
            assert "p@ss" not in repr(answer.request.headers)


def test_the_proxys_password_is_not_told_to_a_place_without_proxy() -> None:
    with http_peer(echo) as proxy, http_peer(echo) as origin:
        with Rig(proxy=proxy.url.replace("://", "://user:secret@")) as rig:
            assert rig.fetch(origin.url).ok
            assert rig.fetch(origin.url, proxy=False).ok
            assert len(proxy.requests) == 1 == len(origin.requests)
            assert origin.requests[0].header("proxy-authorization") is None
            assert origin.requests[0].target == "/"


def test_the_exceptions_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_peer(echo) as proxy, http_peer(lambda request: (200, [], b"direct")) as origin:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Rig(trust_env=True) as rig:
            names(rig, origin_test=["127.0.0.1"])
            assert rig.fetch(origin.url).text == "direct"
            assert rig.fetch(f"http://origin.test:{origin.port}/").text == f"http://origin.test:{origin.port}/"
            assert rig.fetch(f"http://origin.test:{origin.port}/", trust_env=False).text == "direct"
            assert rig.fetch(f"http://origin.test:{origin.port}/", proxy=False).text == "direct"
            assert rig.fetch(origin.url, proxy=proxy.url).text == origin.url, "given by hand: no exception holds"


def test_a_forwarding_proxy_answers_for_itself() -> None:
    """Its refusal of a plain request is an answer like any other."""
    refusal: Answer = (407, [("Proxy-Authenticate", 'Basic realm="p"')], b"who are you?")
    with http_peer(lambda request: refusal) as proxy, Rig(proxy=proxy.url) as rig:
        answer = rig.fetch("http://origin.test/", auth=("user", "secret"))
        assert (answer.status_code, answer.content) == (407, b"who are you?")
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(scheme: str) -> None:
    with refused_port() as port, Rig(proxy=f"http://127.0.0.1:{port}") as rig:
        answer = rig.fetch(f"{scheme}://origin.test/")
        assert type(answer.error) is ConnectError and answer.status_code == 714
        assert str(answer.error) == f"the proxy: connection refused, 127.0.0.1:{port}"


def test_a_proxy_without_an_address() -> None:
    with Rig(proxy="http://proxy.test:3128") as rig:
        names(rig)
        answer = rig.fetch("http://origin.test/")
        assert type(answer.error) is ResolveError and answer.status_code == 704
        assert str(answer.error) == "no such host, proxy.test:3128"


def test_a_variable_that_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://user:secret@proxy")
    with Rig(trust_env=True) as rig:
        answer = rig.fetch("http://origin.test/")
        assert type(answer.error) is RequestError
        assert "http_proxy in the environment" in str(answer.error) and "secret" not in str(answer.error)


def test_a_proxy_that_hangs() -> None:
    with hanging_port() as port, Rig(proxy=f"http://127.0.0.1:{port}", timeout=SHORT) as rig:
        answer = rig.fetch("http://origin.test/")
        assert type(answer.error) is TimedOut and answer.error.phase == "connect"
        assert str(answer.error) == f"the proxy: no connection in {SHORT} s, 127.0.0.1:{port}"


# -- tunnels by CONNECT --------------------------------------------------------------------------------------------


def tunnel(target: Any, head: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> list[Any]:
    """The script of a proxy that lets everybody through to ``target``."""
    return [ASKED, say(head), relay(target)]


def test_tls_through_a_tunnel(certs: Certs) -> None:
    with http_peer(echo, tls=certs.server_context()) as origin:
        with ScriptedPeer(tunnel(origin.address)) as proxy, Rig(proxy=proxy.url, ca=certs.ca) as rig:
            asked = names(rig)
            for path in ("a", "b"):
                assert rig.fetch(f"https://localhost:{origin.port}/{path}").text == f"/{path}"
            assert proxy.connections == 1
            head = proxy.received[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")
            assert head[:2] == [f"CONNECT localhost:{origin.port} HTTP/1.1", f"Host: localhost:{origin.port}"]
            assert origin.requests[0].header("host") == f"localhost:{origin.port}"
            assert asked == []
            timings = rig.answers[0].timings
            assert timings["connect"] > 0.0 and timings["tls"] > 0.0
            assert rig.answers[1].timings["connect"] == 0.0 == rig.answers[1].timings["tls"]


def test_the_password_of_a_tunnel_stays_at_the_proxy(certs: Certs) -> None:
    with http_peer(echo, tls=certs.server_context()) as origin:
        with ScriptedPeer(tunnel(origin.address)) as proxy:
            with Rig(proxy=proxy.url.replace("://", "://user:secret@"), ca=certs.ca) as rig:
                assert rig.fetch(f"https://localhost:{origin.port}/").ok
            assert b"\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in proxy.received[0]
            assert origin.requests[0].header("proxy-authorization") is None


def test_the_certificate_of_the_origin_is_checked_through_a_tunnel(certs: Certs) -> None:
    with ScriptedPeer([stall()], tls=certs.server_context(certs.wrong_name)) as origin:
        with ScriptedPeer(tunnel(origin.address)) as proxy, Rig(proxy=proxy.url, ca=certs.ca) as rig:
            answer = rig.fetch(f"https://localhost:{origin.port}/")
            assert type(answer.error) is TlsError
            assert str(answer.error).endswith(f", localhost:{origin.port}"), "not the proxy's fault"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_spoken_to_by_tls(certs: Certs, scheme: str) -> None:
    """For an https origin that is TLS in TLS."""
    tls = certs.server_context() if scheme == "https" else None
    with http_peer(echo, tls=tls) as origin, ExitStack() as stack:
        if scheme == "https":
            proxy: ScriptedPeer = stack.enter_context(ScriptedPeer(tunnel(origin.address), tls=certs.server_context()))
        else:
            proxy = stack.enter_context(http_peer(echo, tls=certs.server_context()))
        with Rig(proxy=f"https://user:secret@localhost:{proxy.port}", ca=certs.ca, workers=2) as rig:
            url = f"{scheme}://localhost:{origin.port}/"
            body = b"x" * 1_000_000
            rig.ask(url, "POST", body)
            for _ in range(10):
                rig.ask(url)
            assert codes(rig.run()) == [200] * 11
            assert proxy.connections == 2
            assert b"Proxy-Authorization: Basic" in proxy.received[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_certificate_of_the_proxy_is_checked(certs: Certs, scheme: str) -> None:
    with ScriptedPeer([stall()], tls=certs.server_context(certs.expired)) as proxy:
        with Rig(proxy=f"https://user:secret@localhost:{proxy.port}", ca=certs.ca) as rig:
            answer = rig.fetch(f"{scheme}://origin.test/")
            assert type(answer.error) is TlsError and answer.status_code == 713
            assert str(answer.error).startswith("the proxy: ")
            assert str(answer.error).endswith(f", localhost:{proxy.port}")
            assert b"CONNECT" not in proxy.received[0]


REFUSALS: list[tuple[list[Any], type[Exception], int, str]] = [
    ([ASKED, say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")], ConnectError, 714, "answered 403 Forbidden"),
    ([ASKED, say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")], ConnectError, 714, "answered 502 Bad Gateway"),
    (
        [ASKED, say(b'HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm="p"\r\n\r\n')],
        ConnectError,
        714,
        "asks for a password (it offers Basic)",
    ),
    ([ASKED, cut()], ConnectError, 714, "the proxy closed the line before it answered CONNECT"),
    ([ASKED, say(b"SSH-2.0-OpenSSH\r\n")], ProtocolError, 715, "not HTTP/1"),
    ([ASKED, stall()], TimedOut, 702, f"no opening in {SHORT} s"),
]


@pytest.mark.parametrize(("script", "kind", "code", "words"), REFUSALS)
def test_a_tunnel_that_is_refused(script: list[Any], kind: Any, code: int, words: str) -> None:
    with ScriptedPeer(script) as proxy, http_peer(echo) as good, Rig(proxy=proxy.url, timeout=SHORT) as rig:
        rig.ask("https://origin.test/")
        rig.ask(good.url, proxy=False)
        first, second = rig.run()
        assert type(first.error) is kind and first.status_code == code
        assert words in str(first.error) and first.error.phase == "tunnel"
        assert str(first.error).endswith(", origin.test:443")
        assert second.ok


def test_a_proxy_that_refuses_the_password() -> None:
    script = [ASKED, say(b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n")]
    with ScriptedPeer(script) as proxy, Rig(proxy=proxy.url.replace("://", "://user:hush@")) as rig:
        answer = rig.fetch("https://origin.test/")
        assert "the proxy refused the password" in str(answer.error) and "hush" not in str(answer.error)


def test_bytes_behind_the_proxys_answer_belong_to_the_origin(certs: Certs) -> None:
    """They come in one piece with the answer: the handshake must find them."""
    with ScriptedPeer([ASKED, say(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 no TLS here\r\n\r\n"), stall()]) as proxy:
        with Rig(proxy=proxy.url, ca=certs.ca) as rig:
            answer = rig.fetch("https://origin.test/")
            assert type(answer.error) is TlsError and answer.status_code == 713


# -- SOCKS ---------------------------------------------------------------------------------------------------------


class Socks:
    """A SOCKS 5 proxy as a handler. ``asked`` holds (host, port) of every CONNECT; ``route`` says where it leads."""

    def __init__(self, route: Callable[[str, int], tuple[str, int] | int], user: bytes = b"", password: bytes = b""):
        self.route, self.user, self.password = route, user, password
        self.asked: list[tuple[str, int]] = []

    def __call__(self, sock: socket.socket, number: int) -> None:
        methods = self.take(sock, self.take(sock, 2)[1])
        wanted = 2 if self.user else 0
        if wanted not in methods:
            sock.sendall(b"\5\xff")
            return
        sock.sendall(bytes((5, wanted)))
        if wanted:
            user = self.take(sock, self.take(sock, 2)[1])
            password = self.take(sock, self.take(sock, 1)[0])
            good = (user, password) == (self.user, self.password)
            sock.sendall(b"\1" + (b"\0" if good else b"\1"))
            if not good:
                return
        kind = self.take(sock, 4)[3]
        if kind == 3:
            host = self.take(sock, self.take(sock, 1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, self.take(sock, size))
        (port,) = struct.unpack("!H", self.take(sock, 2))
        self.asked.append((host, port))
        place = self.route(host, port)
        if isinstance(place, int):
            sock.sendall(bytes((5, place, 0, 1)) + bytes(6))
            return
        with socket.create_connection(place, timeout=5.0) as other:
            sock.sendall(b"\5\0\0\1" + bytes(6))
            self.pass_on(sock, other)

    def take(self, sock: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = sock.recv(count - len(data))
            if not more:
                raise OSError("the other side has gone")
            data += more
        return data

    def pass_on(self, one: socket.socket, other: socket.socket) -> None:
        while True:
            for ready in select.select([one, other], [], [], 5.0)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                (other if ready is one else one).sendall(data)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_socks_resolves_here_and_socks5h_there(certs: Certs, scheme: str) -> None:
    tls = certs.server_context() if scheme == "https" else None
    with http_peer(echo, tls=tls) as origin:
        socks = Socks(lambda host, port: ("127.0.0.1", port))
        with ScriptedPeer(socks) as proxy, Rig(ca=certs.ca) as rig:
            asked = names(rig, localhost=["127.0.0.9"])
            url = f"{scheme}://localhost:{origin.port}/path"
            assert rig.fetch(url, proxy=f"socks5h://127.0.0.1:{proxy.port}").text == "/path"
            assert asked == []
            assert rig.fetch(url, proxy=f"socks5://127.0.0.1:{proxy.port}").text == "/path"
            assert asked == ["localhost"]
            assert socks.asked == [("localhost", origin.port), ("127.0.0.9", origin.port)]
            assert [request.header("host") for request in origin.requests] == [f"localhost:{origin.port}"] * 2


def test_socks_with_a_password() -> None:
    socks = Socks(lambda host, port: ("127.0.0.1", port), b"user", b"secret")
    with http_peer(echo) as origin, ScriptedPeer(socks) as proxy, Rig() as rig:
        assert rig.fetch(origin.url, proxy=f"socks5://user:secret@127.0.0.1:{proxy.port}").ok
        wrong = rig.fetch(origin.url, proxy=f"socks5://user:hush@127.0.0.1:{proxy.port}")
        none = rig.fetch(origin.url, proxy=f"socks5://127.0.0.1:{proxy.port}")
        assert codes([wrong, none]) == [714, 714]
        assert "refused the user name or password" in str(wrong.error) and "hush" not in str(wrong.error)
        assert "wants a user name and password" in str(none.error)


def test_a_socks_proxy_that_cannot_connect() -> None:
    socks = Socks(lambda host, port: 5)
    with ScriptedPeer(socks) as proxy, Rig(proxy=f"socks5h://127.0.0.1:{proxy.port}") as rig:
        answer = rig.fetch("http://origin.test/")
        assert type(answer.error) is ConnectError and answer.error.phase == "tunnel"
        assert str(answer.error) == "the SOCKS proxy could not connect: connection refused, origin.test:80"


def test_socks_tries_the_next_address_of_a_name() -> None:
    """``localhost`` is often ::1 first, and the server listens at 127.0.0.1 only."""
    with http_peer(echo) as origin:
        socks = Socks(lambda host, port: 5 if ":" in host else (host, port))
        with ScriptedPeer(socks) as proxy, Rig(proxy=f"socks5://127.0.0.1:{proxy.port}") as rig:
            names(rig, host_test=["::1", "127.0.0.1"])
            assert rig.fetch(f"http://host.test:{origin.port}/").ok
            assert [host for host, _ in socks.asked] == ["::1", "127.0.0.1"]


def test_a_name_that_socks5_cannot_resolve_here() -> None:
    with ScriptedPeer([stall()]) as proxy, Rig(proxy=f"socks5://127.0.0.1:{proxy.port}") as rig:
        names(rig)
        answer = rig.fetch("http://origin.test/")
        assert type(answer.error) is ResolveError and str(answer.error) == "no such host, origin.test:80"
        assert proxy.connections == 0


def test_a_unix_socket_needs_no_proxy(tmp_path: Any) -> None:
    with http_peer(echo, path=tmp_path / "app.sock") as peer, Rig(proxy="http://127.0.0.1:9") as rig:
        assert rig.fetch(f"{peer.url}path").text == "/path"
        assert peer.requests[0].header("host") == "localhost"


# -- the end -------------------------------------------------------------------------------------------------------


def test_a_line_that_is_given_up_is_closed() -> None:
    """After the timeout nothing of the attempt is left, here or there."""

    def silent(sock: socket.socket, number: int) -> None:
        while sock.recv(65536):
            pass

    with ScriptedPeer(silent) as peer, Rig(timeout=SHORT) as rig:
        assert rig.fetch(f"https://127.0.0.1:{peer.port}/").status_code == 702
        assert rig.engine.lines == 0 and not rig.engine._dials
        peer.until(lambda: peer.ended == 1)


def test_a_look_up_that_ends_after_its_request() -> None:
    """The address comes too late: no line is made for nobody."""
    release = threading.Event()
    with http_peer(echo) as peer, Rig(timeout=SHORT) as rig:

        def getaddrinfo(*rest: object, **more: object) -> list[Any]:
            release.wait(5.0)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

        rig.engine._resolver = Resolver(rig.engine.loop.soon, getaddrinfo=getaddrinfo)
        url = f"http://host.test:{peer.port}/"
        assert rig.fetch(url).status_code == 702
        release.set()
        assert rig.fetch(url).ok
        assert peer.connections == 1


def test_an_exception_that_nobody_expected_fails_its_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a module is imported for the first line of its kind, and no descriptor is left."""
    with http_peer(echo) as peer, Rig(workers=2) as rig:
        rig.ask(peer.url)

        def broken(*args: object, **more: object) -> Any:
            raise LookupError("nobody expected this")

        monkeypatch.setattr("aquests.dial.proxy_for", broken)
        rig.ask("http://127.0.0.1:1/")
        rig.run()
        monkeypatch.undo()
        rig.ask(peer.url)
        rig.run()
    assert sorted(codes(rig.answers)) == [200, 701, 701]
    assert all("internal error: LookupError" in str(r.error) for r in rig.answers if r.status_code == 701)
