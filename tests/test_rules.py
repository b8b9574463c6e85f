"""Cookies, credentials, redirects and codings between a wire and the user."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aquests.errors import RedirectError, TooManyRedirects
from aquests.exchange import Response
from tests.certs import Certs
from tests.peers import Answer, HttpPeer, Line, Request, ScriptedPeer, expect, http_peer, loop, say
from tests.rig import Rig, codes

ASKED = expect(b"\r\n\r\n")

Responder = Callable[[Request], Answer]


def moved(status: int, location: str, body: bytes = b"") -> Responder:
    """Redirects "/" and answers everything else with method, target and body."""

    def responder(request: Request) -> Answer:
        if request.target == "/":
            return status, [("Location", location)], body
        return 200, [], f"{request.method} {request.target} ".encode() + request.body

    return responder


# -- redirects -----------------------------------------------------------------------------------------------------

METHODS = [
    # status, asked with, followed with, and whether the body goes along (RFC 9110 15.4)
    (301, "GET", "GET", False),
    (301, "HEAD", "HEAD", False),
    (301, "POST", "GET", False),
    (301, "PUT", "PUT", True),
    (301, "DELETE", "DELETE", False),
    (302, "GET", "GET", False),
    (302, "POST", "GET", False),
    (302, "PATCH", "PATCH", True),
    (303, "GET", "GET", False),
    (303, "HEAD", "HEAD", False),
    (303, "POST", "GET", False),
    (303, "PUT", "GET", False),
    (303, "DELETE", "GET", False),
    (307, "GET", "GET", False),
    (307, "POST", "POST", True),
    (307, "PUT", "PUT", True),
    (308, "POST", "POST", True),
    (308, "PATCH", "PATCH", True),
    (308, "OPTIONS", "OPTIONS", False),
]


@pytest.mark.parametrize(("status", "asked", "followed", "keeps"), METHODS)
def test_methods_and_bodies_of_redirects(status: int, asked: str, followed: str, keeps: bool) -> None:
    with http_peer(moved(status, "/there")) as peer, Rig() as rig:
        data = b"body" if asked in ("POST", "PUT", "PATCH") else None
        answer = rig.fetch(peer.url, asked, data, {"X-Kept": "yes"}, content_type="text/plain" if data else None)
        first, second = peer.requests
        assert (answer.status_code, answer.url) == (200, f"{peer.url}there")
        assert (first.method, second.method, second.target) == (asked, followed, "/there")
        assert first.body == (data or b"") and second.body == (b"body" if keeps else b"")
        assert (second.header("content-type") is not None) == keeps
        assert second.header("x-kept") == "yes"
        assert answer.meta["req_method"] == asked.lower()
        (step,) = answer.history
        assert (step.status_code, step.url, step.headers["location"], step.history) == (status, peer.url, "/there", [])
        assert peer.connections == 1 and rig.engine.stats.redirects == 1 and rig.engine.sent == 2
        assert rig.engine.stats.statuses == {200: 1}, "a hop is no answer of its own"


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_other_statuses_are_answers(status: int) -> None:
    with http_peer(moved(status, "/there")) as peer, Rig() as rig:
        assert rig.fetch(peer.url).status_code == status


@pytest.mark.parametrize("headers", [[], [("Location", "")]])
def test_a_redirect_to_nowhere_is_an_answer(headers: Any) -> None:
    with http_peer(lambda request: (302, headers, b"")) as peer, Rig() as rig:
        answer = rig.fetch(peer.url)
        assert (answer.status_code, answer.error, answer.ok) == (302, None, True)


def test_redirects_are_not_followed_if_not_wanted() -> None:
    with http_peer(moved(302, "/there")) as peer, Rig() as rig:
        assert rig.fetch(peer.url, allow_redirects=False).status_code == 302
        rig.configure(allow_redirects=False)
        assert rig.fetch(peer.url).status_code == 302
        assert rig.fetch(peer.url, allow_redirects=True).status_code == 200


@pytest.mark.parametrize("status", [307, 308])
def test_a_file_is_sent_again(status: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 20_000)
    with http_peer(moved(status, "/there")) as peer, Rig() as rig, path.open("rb") as file:
        file.seek(10)
        assert rig.fetch(peer.url, "PUT", file).content == b"PUT /there " + path.read_bytes()[10:]
        assert [len(request.body) for request in peer.requests] == [199_990, 199_990]


@pytest.mark.parametrize("status", [307, 308])
def test_a_stream_that_cannot_be_read_twice(status: int) -> None:
    with http_peer(moved(status, "/there")) as peer, Rig() as rig:
        answer = rig.fetch(peer.url, "POST", iter([b"once"]))
        assert type(answer.error) is RedirectError and answer.status_code == 711
        assert "cannot be read twice" in str(answer.error) and answer.error.endpoint == peer.netloc
        assert answer.headers["location"] == "/there" and len(peer.requests) == 1


def test_a_stream_that_is_not_wanted_again() -> None:
    with http_peer(moved(303, "/there")) as peer, Rig() as rig:
        assert rig.fetch(peer.url, "POST", iter([b"once"])).content == b"GET /there "


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("ftp://127.0.0.1/file", "ftp"),
        ("file:///etc/passwd", "file"),
        ("javascript:alert(1)", "javascript"),
        ("http+unix://%2Frun%2Fdocker.sock/", "http+unix"),
        ("http://", "host"),
        ("http://127.1/", "127.1"),
        ("http://host:99999/", "port"),
    ],
)
def test_places_a_redirect_may_not_lead_to(location: str, words: str) -> None:
    with http_peer(moved(302, location)) as peer, Rig() as rig:
        answer = rig.fetch(peer.url)
        assert type(answer.error) is RedirectError and answer.status_code == 711
        assert words in str(answer.error)


def test_a_circle_of_redirects() -> None:
    with http_peer(lambda request: (302, [("Location", f"/{1 - int(request.target[1:])}")], b"")) as peer, Rig() as rig:
        answer = rig.fetch(f"{peer.url}0")
        assert type(answer.error) is TooManyRedirects and answer.status_code == 711
        assert "circle" in str(answer.error)
        assert len(answer.history) == 3 == rig.engine.stats.redirects


@pytest.mark.parametrize(("most", "source"), [(0, "run"), (3, "run"), (3, "request")])
def test_too_many_redirects(most: int, source: str) -> None:
    def on_and_on(request: Request) -> Answer:
        return 302, [("Location", f"/{int(request.target[1:]) + 1}")], b""

    option: dict[str, Any] = {"max_redirects": most}
    with http_peer(on_and_on) as peer, Rig(**(option if source == "run" else {})) as rig:
        answer = rig.fetch(f"{peer.url}0", **(option if source == "request" else {}))
        assert type(answer.error) is TooManyRedirects
        assert f"more than {most} redirects" in str(answer.error)
        assert [step.url for step in answer.history] == [f"{peer.url}{number}" for number in range(most)]
        assert [len(step.history) for step in answer.history] == list(range(most))
        assert len(peer.requests) == most + 1


def test_the_time_of_a_redirected_request_is_that_of_all_attempts() -> None:
    with http_peer(moved(302, "/there")) as peer, Rig() as rig:
        answer = rig.fetch(peer.url)
        assert answer.elapsed >= answer.history[0].elapsed > 0
        assert answer.timings["total"] == answer.elapsed
        assert answer.timings["first_byte"] < answer.elapsed


def test_a_deadline_holds_over_all_hops() -> None:
    number = iter(range(1_000_000))

    def onwards(line: Line) -> bytes:
        return b"HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n" % next(number)

    with ScriptedPeer([loop(ASKED, say(onwards))]) as peer, Rig(max_redirects=1_000_000) as rig:
        answer = rig.fetch(peer.url, deadline=0.2)
        assert answer.status_code == 702 and answer.error.phase == "total"
        assert 0.2 <= answer.elapsed < 1.0


def test_a_compressed_redirect_is_readable_in_the_history() -> None:
    def responder(request: Request) -> Answer:
        if request.target == "/":
            body = gzip.compress(b"it has moved")
            return 302, [("Location", "/there"), ("Content-Encoding", "gzip")], body
        return 200, [], b""

    with http_peer(responder) as peer, Rig() as rig:
        assert rig.fetch(peer.url).history[0].text == "it has moved"


# -- redirects to other origins ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["port", "name", "scheme"])
def test_secrets_stay_behind_when_the_origin_changes(certs: Certs, way: str) -> None:
    """Of scheme, host and port one is enough (RFC 9110 15.4); what is no secret goes along."""
    secrets = {
        "Authorization": "Basic c2VjcmV0",
        "Cookie": "session=secret",
        "Host": "virtual.example",
        "X-Api-Key": "secret",
        "X-Kept": "yes",
    }
    tls = certs.server_context() if way == "scheme" else None
    with http_peer(lambda request: (200, [], b"arrived"), tls=tls) as other:
        target = other.url.replace("127.0.0.1", "localhost") if way != "port" else other.url
        with http_peer(lambda request: (307, [("Location", target)], b"")) as peer, Rig(ca=certs.ca) as rig:
            answer = rig.fetch(peer.url, headers=secrets, auth=("user", "secret"))
            assert answer.content == b"arrived" and answer.url == target
            (first,), (second,) = peer.requests, other.requests
            assert {name: first.header(name) for name in secrets} == secrets
            assert second.header("host") == target.split("/")[2]
            assert [second.header(name) for name in ("authorization", "cookie", "x-api-key")] == [None] * 3
            assert second.header("x-kept") == "yes"


def test_credentials_are_not_told_to_another_origin() -> None:
    """Neither when it asks, nor when the request comes back from there."""

    def asks(request: Request) -> Answer:
        if request.header("authorization") is None:
            return 401, [("WWW-Authenticate", 'Basic realm="phishing"')], b""
        return 200, [], b"caught"

    with http_peer(asks) as phisher:
        with http_peer(lambda request: (302, [("Location", phisher.url)], b"")) as peer, Rig() as rig:
            for auth in (("user", "secret"), ("token",)):
                answer = rig.fetch(peer.url, auth=auth)
                assert answer.status_code == 401
            answer = rig.fetch(peer.url.replace("://", "://user:secret@"))
            assert answer.status_code == 401 and "secret" not in answer.url
            assert [request.header("authorization") for request in phisher.requests] == [None] * 3
            assert peer.requests[1].header("authorization") == "Bearer token"


def test_credentials_go_along_within_the_origin() -> None:
    def responder(request: Request) -> Answer:
        if request.header("authorization") is None:
            return 401, [("WWW-Authenticate", 'Basic realm="r"')], b""
        return moved(302, "/there")(request)

    with http_peer(responder) as peer, Rig() as rig:
        assert rig.fetch(peer.url, auth=("user", "secret")).content == b"GET /there "
        assert len(peer.requests) == 3


def test_the_servers_choice_of_credentials_is_ignored() -> None:
    with http_peer(lambda request: (200, [], b"")) as other:
        location = other.url.replace("://", "://admin:admin@")
        with http_peer(moved(302, location)) as peer, Rig() as rig:
            answer = rig.fetch(peer.url)
            assert answer.ok and answer.url == other.url
            assert other.requests[0].header("authorization") is None


def test_a_unix_socket_is_left_when_the_origin_changes(tmp_path: Path) -> None:
    with http_peer(lambda request: (200, [], b"by tcp")) as other:
        responder = moved(302, other.url)
        path = tmp_path / "app.sock"
        with http_peer(responder, path=path) as peer, Rig() as rig:
            assert rig.fetch("http://localhost/", unix=str(path)).content == b"by tcp"
            assert rig.fetch(peer.url).content == b"by tcp"
            assert len(peer.requests) == 2 == len(other.requests)


def test_a_unix_socket_is_left_for_good(tmp_path: Path) -> None:
    """Also by a second redirect, which stays on the origin that the first one led to."""

    def by_tcp(request: Request) -> Answer:
        return (302, [("Location", "/end")], b"") if request.path == "/middle" else (200, [], b"by tcp")

    with http_peer(by_tcp) as there:
        path = tmp_path / "s"
        with (
            http_peer(lambda request: (302, [("Location", there.url + "middle")], b""), path=path) as here,
            Rig() as rig,
        ):
            response = rig.fetch("http://localhost/", unix=str(path))
            assert (response.content, codes(response.history), here.connections) == (b"by tcp", [302, 302], 1)


def test_a_unix_socket_is_kept_within_the_origin(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with http_peer(moved(302, "/there"), path=path) as peer, Rig() as rig:
        assert rig.fetch("http://localhost/", unix=str(path)).content == b"GET /there "
        assert rig.fetch(peer.url).content == b"GET /there "
        assert len(peer.requests) == 4


# -- cookies -------------------------------------------------------------------------------------------------------


class Shop:
    """Sets the cookies it is told to, and remembers those it has got."""

    def __init__(self) -> None:
        self.sets: list[str] = []
        self.got: list[str | None] = []

    def __call__(self, request: Request) -> Answer:
        self.got.append(request.header("cookie"))
        sets, self.sets = self.sets, []
        return 200, [("Set-Cookie", cookie) for cookie in sets], b""


@pytest.fixture
def shop() -> Iterator[tuple[Shop, HttpPeer]]:
    shop = Shop()
    with http_peer(shop) as peer:
        yield shop, peer


def test_cookies_are_kept_and_sent(shop: tuple[Shop, HttpPeer]) -> None:
    server, peer = shop
    server.sets = ["a=1", "b=2; Path=/deep", "c=3; Secure", "d=4; Max-Age=0", "e=5; HttpOnly; SameSite=Lax"]
    with Rig(cookie=True) as rig:
        answer = rig.fetch(peer.url)
        assert answer.cookies.keys() >= {"a", "b", "c", "e"}
        assert len(answer.headers.get_all("set-cookie")) == 5
        rig.fetch(peer.url)
        rig.fetch(f"{peer.url}deep/down?x=1")
        server.sets = ["a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "e=6"]
        rig.fetch(peer.url)
        rig.fetch(peer.url)
    assert server.got[0] is None
    assert server.got[1] == "a=1; e=5"
    assert server.got[2] == "b=2; a=1; e=5"
    assert server.got[4] == "e=6"


def test_cookies_are_not_kept_unless_wanted(shop: tuple[Shop, HttpPeer]) -> None:
    server, peer = shop
    with Rig() as rig:
        server.sets = ["a=1"]
        assert rig.fetch(peer.url).cookies == {"a": "1"}
        rig.fetch(peer.url)
        rig.configure(cookie=True)
        server.sets = ["b=2"]
        rig.fetch(peer.url)
        rig.fetch(peer.url)
        rig.configure(cookie=False)
        rig.fetch(peer.url)
        rig.configure(cookie=True)
        rig.fetch(peer.url)
    assert server.got == [None, None, None, "b=2", None, None]


def test_cookies_of_the_users_own_win(shop: tuple[Shop, HttpPeer]) -> None:
    server, peer = shop
    with Rig(cookie=True) as rig:
        server.sets = ["a=1"]
        rig.fetch(peer.url)
        rig.fetch(peer.url, headers={"cookie": "mine=1"})
    assert server.got == [None, "mine=1"]


@pytest.mark.parametrize("domain", ["evil.example", "com", "co.uk", "localhost.evil.example"])
def test_cookies_for_foreign_domains_and_public_suffixes(shop: tuple[Shop, HttpPeer], domain: str) -> None:
    server, peer = shop
    server.sets = [f"foreign=1; Domain={domain}", "own=1"]
    with Rig(cookie=True) as rig:
        for _ in range(2):
            rig.fetch(f"http://localhost:{peer.port}/")
    assert server.got == [None, "own=1"]


def test_cookies_of_failed_and_redirected_answers_count(shop: tuple[Shop, HttpPeer]) -> None:
    """A login: the redirect sets the cookie, and the page behind it wants it."""

    def login(request: Request) -> Answer:
        if request.target == "/login":
            return 302, [("Location", "/home"), ("Set-Cookie", "session=1")], b""
        return (200 if request.header("cookie") == "session=1" else 403), [("Set-Cookie", "seen=1")], b""

    with http_peer(login) as peer, Rig(cookie=True) as rig:
        assert rig.fetch(f"{peer.url}home").status_code == 403
        assert rig.fetch(f"{peer.url}login").status_code == 403  # "seen=1" goes along
        assert peer.requests[-1].header("cookie") == "seen=1; session=1"


def test_cookies_belong_to_hosts_not_to_ports_or_lines() -> None:
    one, two = Shop(), Shop()
    with http_peer(one) as first, http_peer(two) as second, Rig(cookie=True) as rig:
        one.sets = ["a=1"]
        rig.fetch(first.url)
        rig.fetch(second.url)
        rig.fetch(f"http://localhost:{second.port}/")
    assert two.got == ["a=1", None]  # RFC 6265 8.5: ports do not tell cookies apart


# -- credentials ---------------------------------------------------------------------------------------------------


def test_basic_is_asked_for_once_and_sent_ahead_afterwards() -> None:
    wanted = "Basic dXNlcjpzZWNyZXQ="  # user:secret

    def responder(request: Request) -> Answer:
        if request.header("authorization") == wanted:
            return 200, [], b"in"
        return 401, [("WWW-Authenticate", 'Basic realm="r"')], b"out"

    with http_peer(responder) as peer, Rig() as rig:
        answer = rig.fetch(peer.url, "POST", b"body", auth=("user", "secret"))
        assert answer.content == b"in" and [request.body for request in peer.requests] == [b"body"] * 2
        assert answer.history == [], "a challenge is no redirect"
        assert rig.fetch(f"{peer.url}more", auth=("user", "secret")).content == b"in"
        assert rig.fetch(peer.url.replace("://", "://user:secret@")).content == b"in"
        assert len(peer.requests) == 4, "sent ahead"
        assert rig.fetch(peer.url, auth=("user", "wrong")).status_code == 401
        assert rig.fetch(peer.url).status_code == 401
        assert rig.engine.stats.redirects == 0


def test_wrong_credentials_are_not_tried_for_ever() -> None:
    with http_peer(lambda request: (401, [("WWW-Authenticate", 'Basic realm="r"')], b"no")) as peer, Rig() as rig:
        answer = rig.fetch(peer.url, auth=("user", "wrong"))
        assert (answer.status_code, answer.content, len(peer.requests)) == (401, b"no", 2)


def test_the_users_own_header_wins() -> None:
    with http_peer(lambda request: (401, [("WWW-Authenticate", 'Basic realm="r"')], b"")) as peer, Rig() as rig:
        rig.fetch(peer.url, headers={"authorization": "Custom x"}, auth=("user", "secret"))
        assert [request.header("authorization") for request in peer.requests] == ["Custom x"]


def test_a_bearer_token_is_sent_ahead() -> None:
    with http_peer(lambda request: (401, [("WWW-Authenticate", "Bearer")], b"")) as peer, Rig() as rig:
        assert rig.fetch(peer.url, auth=("token",)).status_code == 401
        assert [request.header("authorization") for request in peer.requests] == ["Bearer token"]


class DigestServer:
    """RFC 7616 as a server: nonces of its own, good for ``uses`` requests, then stale."""

    def __init__(self, algorithm: str, qop: str = "auth", uses: int = 1_000_000):
        self.algorithm, self.qop, self.uses = algorithm, qop, uses
        self.hash = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm.removesuffix("-sess")]
        self.nonces: dict[str, set[str]] = {}
        self.refused = 0

    def __call__(self, request: Request) -> Answer:
        value = request.header("authorization")
        stale = ""
        if value is not None:
            fields = {
                name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^ ,]+))', value)
            }
            seen = self.nonces.get(fields["nonce"])
            if seen is not None and len(seen) < self.uses:
                assert fields["nc"] not in seen, "a count used twice is a replay"
                seen.add(fields["nc"])
                if fields["response"] == self.expected(fields, request):
                    return 200, [], b"in"
            else:
                stale = ", stale=true"
        self.refused += 1
        nonce = f"nonce{len(self.nonces)}"
        self.nonces[nonce] = set()
        challenge = f'Digest realm="here", nonce="{nonce}", qop="{self.qop}", algorithm={self.algorithm}{stale}'
        return 401, [("WWW-Authenticate", 'Basic realm="weak"'), ("WWW-Authenticate", challenge)], b"out"

    def expected(self, fields: dict[str, str], request: Request) -> str:
        def h(text: str) -> str:
            return self.hash(text.encode()).hexdigest()

        assert fields["uri"] == request.target and fields["username"] == "user"
        a1 = h("user:here:secret")
        if self.algorithm.endswith("-sess"):
            a1 = h(f"{a1}:{fields['nonce']}:{fields['cnonce']}")
        a2 = f"{request.method}:{request.target}"
        if fields["qop"] == "auth-int":
            a2 += ":" + self.hash(request.body).hexdigest()
        return h(f"{a1}:{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}:{h(a2)}")


@pytest.mark.parametrize(
    ("algorithm", "qop"),
    [("MD5", "auth"), ("SHA-256", "auth"), ("MD5-sess", "auth"), ("SHA-256", "auth-int"), ("MD5", "auth-int,auth")],
)
def test_digest(algorithm: str, qop: str) -> None:
    server = DigestServer(algorithm, qop)
    with http_peer(server) as peer, Rig() as rig:
        for number in range(5):
            data = b"body" if number % 2 else None
            url = f"{peer.url}path/{number}?a=b&c=%20"
            assert rig.fetch(url, "POST" if data else "GET", data, auth=("user", "secret")).content == b"in"
        assert server.refused == 1 and len(peer.requests) == 6, "sent ahead with a rising count"
        assert rig.fetch(peer.url, auth=("user", "wrong")).status_code == 401
        assert rig.fetch(peer.url, auth=("user", "secret")).content == b"in"


def test_digest_with_nonces_that_turn_stale() -> None:
    server = DigestServer("SHA-256", uses=3)
    with http_peer(server) as peer, Rig() as rig:
        for _ in range(10):
            assert rig.fetch(peer.url, "PUT", b"x", auth=("user", "secret")).content == b"in"
        assert server.refused == 4, "three requests a nonce"


def test_digest_over_many_lines_at_once() -> None:
    server = DigestServer("MD5", uses=20)
    with http_peer(server) as peer, Rig(workers=6) as rig:
        for number in range(120):
            rig.ask(f"{peer.url}{number}", auth=("user", "secret"))
        assert codes(rig.run()) == [200] * 120


def test_digest_of_a_streamed_body(tmp_path: Path) -> None:
    server = DigestServer("SHA-256")
    with http_peer(server) as peer, Rig() as rig:
        answer = rig.fetch(peer.url, "PUT", io.BytesIO(b"x" * 100_000), auth=("user", "secret"))
        assert answer.content == b"in" and len(peer.requests[-1].body) == 100_000
        # What cannot be read twice gets the challenge as its answer, and is sent ahead from then on.
        other = f"http://localhost:{peer.port}/"
        assert rig.fetch(other, "POST", iter([b"once"]), auth=("user", "secret")).status_code == 401
        assert rig.fetch(other, "POST", iter([b"once"]), auth=("user", "secret")).content == b"in"


def test_a_server_that_calls_every_nonce_stale() -> None:
    server = DigestServer("MD5", uses=0)
    with http_peer(server) as peer, Rig() as rig:
        assert rig.fetch(peer.url, auth=("user", "secret")).status_code == 401
        assert len(peer.requests) <= 5


# -- codings -------------------------------------------------------------------------------------------------------


def test_codings_are_undone_and_asked_for() -> None:
    def responder(request: Request) -> Answer:
        assert "gzip" in (request.header("accept-encoding") or "")
        return 200, [("Content-Encoding", "gzip"), ("Content-Type", "text/plain")], gzip.compress(b"plain" * 100)

    with http_peer(responder) as peer, Rig() as rig:
        answer = rig.fetch(peer.url)
        assert answer.content == b"plain" * 100 and answer.headers["content-encoding"] == "gzip"
        assert rig.fetch(peer.url, "HEAD").content == b""


def test_an_answer_that_goes_elsewhere_keeps_its_own_response() -> None:
    """``request.response`` is the last answer; it knows the request as it was sent last."""
    with http_peer(moved(302, "/there")) as peer, Rig() as rig:
        request = rig.ask(peer.url, "POST", b"body")
        rig.run()
        response = request.response
        assert isinstance(response, Response)
        assert (response.request.method, response.request.url) == ("GET", f"{peer.url}there")
        assert (request.method, request.url) == ("POST", peer.url)
