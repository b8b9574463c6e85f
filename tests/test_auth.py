"""Challenges, their answers, and what is remembered; digests against the RFCs' own examples and a second reckoning."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aquests.auth import MAX_ROUNDS, Authenticator, basic, bearer, credentials, parse_challenges
from aquests.errors import RequestError

USER = ("Mufasa", "Circle of Life")
ORIGIN = ("http", "example.com", 80)


# -- challenges --------------------------------------------------------------------------------------------------

CHALLENGES = [
    ([], []),
    ([""], []),
    ([" , ,, "], []),
    (["Basic"], [("basic", "", {})]),
    (['BASIC realm="x"'], [("basic", "", {"realm": "x"})]),
    (["Basic REALM=x"], [("basic", "", {"realm": "x"})]),
    (['Basic realm = "x" , charset = UTF-8'], [("basic", "", {"realm": "x", "charset": "UTF-8"})]),
    (['Basic realm="a \\"b\\" \\\\c"'], [("basic", "", {"realm": 'a "b" \\c'})]),
    (['Basic realm="a, Digest b=c"'], [("basic", "", {"realm": "a, Digest b=c"})]),
    (['Basic realm=""'], [("basic", "", {"realm": ""})]),
    (['Basic realm="\xc3\xa9"'], [("basic", "", {"realm": "\xc3\xa9"})]),
    (['Basic realm="x", realm="y"'], [("basic", "", {"realm": "x"})]),
    (["Negotiate"], [("negotiate", "", {})]),
    (["Negotiate oYIJvg+/=="], [("negotiate", "oYIJvg+/==", {})]),
    (['NTLM, Basic realm="x"'], [("ntlm", "", {}), ("basic", "", {"realm": "x"})]),
    (['Negotiate abc=, Basic realm="x"'], [("negotiate", "abc=", {}), ("basic", "", {"realm": "x"})]),
    (["Negotiate", 'Basic realm="x"'], [("negotiate", "", {}), ("basic", "", {"realm": "x"})]),
    (['Basic realm="x", Negotiate'], [("basic", "", {"realm": "x"}), ("negotiate", "", {})]),
    (
        # RFC 9110 11.6.1
        ['Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"'],
        [
            ("newauth", "", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
            ("basic", "", {"realm": "simple"}),
        ],
    ),
    (
        ['Digest realm="a", nonce="n/+=", qop="auth,auth-int", stale=TRUE,Basic realm=b,'],
        [
            ("digest", "", {"realm": "a", "nonce": "n/+=", "qop": "auth,auth-int", "stale": "TRUE"}),
            ("basic", "", {"realm": "b"}),
        ],
    ),
    (["Digest nonce=a/b+c=="], [("digest", "", {"nonce": "a/b+c=="})]),  # unquoted, as some servers send it
    (['Digest realm="a" nonce="b"'], [("digest", "", {"realm": "a", "nonce": "b"})]),  # and without commas
    # garbage
    (['realm="x"'], []),
    (['="x"'], []),
    (['Basic realm="open'], [("basic", "", {})]),
    (['Basic "x", realm="y"'], [("basic", "", {"realm": "y"})]),
    (['Basic realm="a\r\nb"'], [("basic", "", {})]),
    (['B\xe4sic realm="x", Basic realm="y"'], [("basic", "", {"realm": "y"})]),
    (['Basic realm=\u20ac, charset="UTF-8"'], [("basic", "", {"charset": "UTF-8"})]),
]


@pytest.mark.parametrize(("values", "expected"), CHALLENGES)
def test_parse_challenges(values, expected):
    found = [(challenge.scheme, challenge.token68, challenge.params) for challenge in parse_challenges(values)]
    assert found == expected


pieces = st.sampled_from(
    ["Basic", "Digest", "realm", "nonce", "=", '"', "\\", ",", " ", "\t", "x", "==", "qop", "auth", "\r\n", "é", "€"]
)
texts = st.text() | st.lists(pieces).map("".join)


@settings(deadline=5000)  # milliseconds: they take 20 at most, in quadratic time minutes
@given(st.lists(texts))
@example(["," * 100_000])
@example(["Basic " + "a=" * 50_000])
@example(['Basic realm="' + "\\" * 100_001])
@example(["Basic " + 'a="' * 50_000 + "\n"])
@example([" " * 100_000 + "\x00"])
def test_any_challenge_is_read_in_linear_time(values):
    for challenge in parse_challenges(values):
        assert challenge.scheme == challenge.scheme.lower()
        assert not any(set(text) & set("\r\n\x00") for text in challenge.params.values())


quotable = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["realm", "nonce", "opaque", "x"]), quotable, min_size=1))
def test_quoted_strings_come_back(params):
    quoted = {name: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for name, text in params.items()}
    (found,) = parse_challenges(["Digest " + ", ".join(f"{name}={text}" for name, text in quoted.items())])
    assert found.params == params


# -- what the user gives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (("user", "pass"), ("user", "pass")),
        (["user", "pass"], ("user", "pass")),
        ("user:pass", ("user", "pass")),
        ("user:pa:ss", ("user", "pa:ss")),
        ("user:", ("user", "")),
        (":pass", ("", "pass")),
        (("token",), ("token",)),
        (("Jäsøn", "пароль"), ("Jäsøn", "пароль")),
    ],
)
def test_credentials(auth, expected):
    assert credentials(auth) == expected


@pytest.mark.parametrize(
    "auth",
    [
        "secret",
        "",
        None,
        7,
        b"secret:x",
        (),
        ("",),
        ("a", "b", "secret"),
        ("a", 7),
        ("secret", None),
        (b"secret",),
        {"secret": "x"},
        ("sec:ret", "x"),
        ("a", "secret\n"),
        ("secret\x00", "x"),
        ("secret\x7f", "x"),
        "a:secret\r\n",
        ("a", "secret\ud800"),
        ("secret\n",),
        ("secret secret",),
        ("secrét",),
    ],
)
def test_bad_credentials_are_refused_and_not_shown(auth):
    with pytest.raises(RequestError) as caught:
        credentials(auth)
    assert "sec" not in str(caught.value)
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)


def test_basic_and_bearer():
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617 2
    assert basic("test", "123£") == "Basic dGVzdDoxMjPCow=="  # RFC 7617 2.1
    assert bearer("mF_9.B5f-4.1JqM") == "Bearer mF_9.B5f-4.1JqM"  # RFC 6750 2.1


@settings(deadline=None)
@given(st.text(), st.text())
def test_basic_comes_back_or_is_refused(user, password):
    try:
        value = basic(user, password)
    except RequestError:
        return
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == f"{user}:{password}"


# -- digests of the RFCs -----------------------------------------------------------------------------------------


def fields(header: str | None) -> dict[str, str]:
    assert header is not None
    (parsed,) = parse_challenges([header])
    return parsed.params


def answer(challenge: str | list[str], auth=USER, cnonce="cn", method="GET", target="/dir/index.html", body=b""):
    memory = Authenticator(random_hex=lambda size: cnonce)
    values = [challenge] if isinstance(challenge, str) else challenge
    return memory.challenged(ORIGIN, auth, values, method, target, body, None)


RFC_7616_391 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_3_9_1(algorithm, response):
    header = answer(RFC_7616_391.format(algorithm), cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    assert fields(header) == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "qop": "auth",
        "response": response,
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }
    assert header is not None
    assert re.search(r"\bqop=auth, nc=00000001, ", header) and f"algorithm={algorithm}," in header  # unquoted


@pytest.mark.skipif("sha512_256" not in hashlib.algorithms_available, reason="this OpenSSL has no SHA-512/256")
@pytest.mark.parametrize(
    ("userhash", "user"),
    [
        (", userhash=true", {"username": "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"}),
        ("", {"username*": "UTF-8''J%C3%A4s%C3%B8n%20Doe"}),
        (", userhash=false", {"username*": "UTF-8''J%C3%A4s%C3%B8n%20Doe"}),
    ],
)
def test_rfc_7616_3_9_2(userhash, user):
    """The RFC prints values made with the first half of SHA-512. Those of SHA-512/256 are in erratum 4897."""
    challenge = (
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", '
        "charset=UTF-8" + userhash
    )
    cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    found = fields(answer(challenge, ("Jäsøn Doe", "Secret, or not?"), cnonce, target="/doe.json"))
    assert found["response"] == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    assert {name: found[name] for name in found if name.startswith("username")} == user
    assert found.get("userhash") == ("true" if userhash.endswith("true") else None)


def test_rfc_2617_3_5():
    challenge = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    found = fields(answer(challenge, ("Mufasa", "Circle Of Life"), "0a4f113b"))
    assert found["response"] == "6629fae49393a05397450978507c4ef1"
    assert "algorithm" not in found


def test_rfc_2069_2_4():
    challenge = (
        'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    found = fields(answer(challenge, ("Mufasa", "CircleOfLife")))
    assert found["response"] == "1949323746fe6a43ef61f9606e7febea"  # as corrected by erratum 749
    assert not found.keys() & {"qop", "nc", "cnonce"}


# -- digests reckoned a second time ------------------------------------------------------------------------------


def reckoned(header: str | None, auth: tuple[str, str], method: str, body: bytes = b"") -> str:
    """The response RFC 7616 3.4.1 asks for, from the fields of the header itself, as a server does it."""
    got = fields(header)
    algorithm = got.get("algorithm", "MD5").lower()
    name = {"md5": "md5", "sha-256": "sha256", "sha-512-256": "sha512_256"}[algorithm.replace("-sess", "")]

    def digest(*parts: str | bytes) -> str:
        octets = [part if isinstance(part, bytes) else part.encode("latin-1") for part in parts]
        return hashlib.new(name, b":".join(octets)).hexdigest()

    a1 = digest(auth[0].encode(), got["realm"], auth[1].encode())
    if algorithm.endswith("-sess"):
        a1 = digest(a1, got["nonce"], got["cnonce"])
    a2 = [method, got["uri"]] + ([hashlib.new(name, body).hexdigest()] if got.get("qop") == "auth-int" else [])
    if "qop" not in got:
        return digest(a1, got["nonce"], digest(*a2))
    return digest(a1, got["nonce"], got["nc"], got["cnonce"], got["qop"], digest(*a2))


visible = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), min_size=1)
names = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=":"))
ALGORITHMS = ["", "MD5", "md5-sess", "SHA-256", "SHA-256-sess"]
if "sha512_256" in hashlib.algorithms_available:
    ALGORITHMS += ["SHA-512-256", "SHA-512-256-SESS"]


@settings(deadline=None)
@given(
    st.sampled_from(ALGORITHMS),
    st.sampled_from(["auth", "auth-int", "auth-int,auth", "other, AUTH"]),
    st.tuples(names, names),
    visible,
    visible,
    st.binary(),
)
def test_digest_as_a_server_checks_it(algorithm, qop, auth, realm, nonce, body):
    def quote(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    challenge = f"Digest nonce={quote(nonce)}, realm={quote(realm)}, qop={quote(qop)}"
    if algorithm:
        challenge += f", algorithm={algorithm}"
    header = answer(challenge, auth, method="POST", target="/a?b=c", body=body)
    assert header is not None
    header.encode("latin-1")
    found = fields(header)
    assert (found["realm"], found["nonce"], found["uri"]) == (realm, nonce, "/a?b=c")
    user = found["username"] if "username" in found else unquote(found["username*"].removeprefix("UTF-8''"))
    assert user == auth[0]
    assert found["qop"] == ("auth-int" if qop == "auth-int" else "auth")
    assert found["response"] == reckoned(header, auth, "POST", body)


def test_session_digest_keeps_a1_over_requests_and_next_nonces():
    drawn = iter(["c1", "c2"])
    memory = Authenticator(random_hex=lambda size: next(drawn))
    challenge = 'Digest realm="r", nonce="n1", qop="auth", algorithm=MD5-sess'
    memory.challenged(ORIGIN, USER, [challenge], "GET", "/", b"", None)
    memory.note_info(ORIGIN, USER, 'nextnonce="n2"')
    found = fields(memory.ahead(ORIGIN, USER, "GET", "/", b""))
    md5 = lambda text: hashlib.md5(text.encode()).hexdigest()  # noqa: E731
    a1 = md5(md5("Mufasa:r:Circle of Life") + ":n1:c1")
    assert found["response"] == md5(f"{a1}:n2:00000001:c1:auth:{md5('GET:/')}")


def test_without_a_body_at_hand_there_is_no_digest_over_it():
    challenge = 'Digest realm="r", nonce="n", qop="auth-int"'
    assert answer(challenge, body=None) is None
    memory = Authenticator()
    header = memory.challenged(ORIGIN, USER, [challenge], "PUT", "/", b"x", None)
    assert fields(header)["response"] == reckoned(header, USER, "PUT", b"x")
    assert memory.ahead(ORIGIN, USER, "PUT", "/", None) is None
    assert fields(memory.ahead(ORIGIN, USER, "PUT", "/", b""))["nc"] == "00000002"


# -- which challenge is answered ---------------------------------------------------------------------------------

D = 'Digest realm="r", nonce="n", qop="auth"'
CHOICES = [
    ([], None),
    (["Negotiate"], None),
    (["Bearer realm=x"], None),
    (["Basic realm=x"], "Basic"),
    (["Basic"], "Basic"),
    (["Basic realm=x, " + D], ""),
    ([D, "Basic realm=x"], ""),
    (["Negotiate, NTLM, Bearer", "Basic realm=x"], "Basic"),
    ([D, D + ", algorithm=SHA-256"], "SHA-256"),
    ([D + ", algorithm=SHA-256", D + ", algorithm=MD5"], "SHA-256"),
    ([D + ", algorithm=MD5", D + ", algorithm=MD5-sess"], "MD5"),
    ([D + ", algorithm=SHA-256-sess", D + ", algorithm=MD5"], "SHA-256-sess"),
    ([D + ", algorithm=SHA-1", D + ", algorithm=md5"], "md5"),
    ([D + ", algorithm=SHA-1", "Basic"], "Basic"),
    ([D + ", algorithm=-sess"], None),
    (['Digest realm="r", qop="auth"'], None),  # no nonce
    (['Digest realm="r", nonce="", qop="auth"'], None),
    (['Digest realm="r", nonce="n", qop="other"'], None),
    (['Digest realm="r", nonce="n", algorithm=MD5-sess'], None),  # no cnonce could be sent
    (['Digest nonce="n"'], ""),
]
if "sha512_256" in hashlib.algorithms_available:
    CHOICES.append(([D + f", algorithm={name}" for name in ("SHA-256", "SHA-512-256", "MD5")], "SHA-512-256"))


@pytest.mark.parametrize(("values", "chosen"), CHOICES)
def test_choice(values, chosen):
    """``chosen``: None, "Basic", or the algorithm of the digest."""
    header = answer(values)
    if chosen is None:
        assert header is None
    elif chosen == "Basic":
        assert header == basic(*USER)
    else:
        assert fields(header).get("algorithm", "") == chosen


def test_a_hash_that_openssl_does_not_have_is_not_chosen(monkeypatch):
    monkeypatch.setattr(hashlib, "algorithms_available", {"md5", "sha256"})
    values = [D + ", algorithm=SHA-512-256", D + ", algorithm=SHA-256"]
    assert fields(answer(values))["algorithm"] == "SHA-256"
    assert answer(values[:1]) is None


# -- memory ------------------------------------------------------------------------------------------------------


def ask(memory: Authenticator, values: list[str], attempted: str | None = None, rounds: int = 0, auth=USER):
    return memory.challenged(ORIGIN, auth, values, "GET", "/", b"", attempted, rounds)


def ahead(memory: Authenticator, auth=USER, origin=ORIGIN):
    return memory.ahead(origin, auth, "GET", "/", b"")


def test_bearer_is_always_sent_ahead_and_once():
    memory = Authenticator()
    assert ahead(memory, ("tok",)) == "Bearer tok"
    assert ask(memory, ["Bearer"], "Bearer tok", auth=("tok",)) is None
    assert ask(memory, [D], None, auth=("tok",)) == "Bearer tok"


def test_basic_is_sent_ahead_once_it_was_asked_for():
    memory = Authenticator()
    assert ahead(memory) is None
    header = ask(memory, ["Basic realm=x"])
    assert header == basic(*USER) == ahead(memory)
    assert ask(memory, ["Basic realm=other"], header) is None
    assert ahead(memory) == header


def test_digest_counts_up_and_uses_the_nonce_again():
    memory = Authenticator()
    counts = [fields(ask(memory, [D]))["nc"]]
    for _ in range(11):
        header = ahead(memory)
        assert fields(header)["response"] == reckoned(header, USER, "GET")
        counts.append(fields(header)["nc"])
    assert counts == [f"{number:08x}" for number in range(1, 13)]


def test_lines_that_are_challenged_at_once_share_the_count_of_a_nonce():
    memory = Authenticator()
    headers = [ask(memory, [D]) for _ in range(3)] + [ahead(memory)]
    assert [fields(header)["nc"] for header in headers] == ["00000001", "00000002", "00000003", "00000004"]
    assert len({fields(header)["cnonce"] for header in headers}) == 1
    assert fields(ask(memory, ['Digest realm="other", nonce="n", qop="auth"']))["nc"] == "00000001"


def nonce(header: str | None) -> tuple[str, str]:
    found = fields(header)
    return found["nonce"], found["nc"]


def test_a_stale_nonce_is_replaced():
    memory = Authenticator()
    first = ask(memory, ['Digest realm="r", nonce="n1", qop="auth"'])
    second = ask(memory, ['Digest realm="r", nonce="n2", qop="auth", stale=TRUE'], first, 1)
    assert nonce(second) == ("n2", "00000001")
    assert fields(second)["response"] == reckoned(second, USER, "GET")
    assert nonce(ahead(memory)) == ("n2", "00000002")


def test_wrong_credentials_are_not_tried_again():
    memory = Authenticator()
    first = ask(memory, ['Digest realm="r", nonce="n1", qop="auth"'])
    assert ask(memory, ['Digest realm="r", nonce="n2", qop="auth", stale=false'], first, 1) is None
    assert ahead(memory) is None  # perhaps it was the nonce: the next request gets a fresh one
    first = ask(memory, ['Digest realm="r", nonce="n3"'])  # RFC 2069
    assert ask(memory, ['Digest realm="r", nonce="n4"'], first, 1) is None


def test_a_forgetful_server_gets_one_more_try():
    memory = Authenticator()
    ask(memory, [D])
    used = ahead(memory)  # its count is 2: the nonce was good once
    retry = ask(memory, ['Digest realm="r", nonce="after restart", qop="auth"'], used)
    assert nonce(retry) == ("after restart", "00000001")
    assert ask(memory, ['Digest realm="r", nonce="again", qop="auth"'], retry, 1) is None
    ask(memory, [D])
    assert ask(memory, [D], ahead(memory)) is None  # the same nonce: it is not the nonce


def test_another_realm_or_scheme_is_answered():
    memory = Authenticator()
    header = ask(memory, [D])
    header = ask(memory, ['Digest realm="other", nonce="n", qop="auth"'], header, 1)
    assert fields(header)["realm"] == "other"
    assert ask(memory, ["Basic realm=x"], header, 2) == basic(*USER)
    assert nonce(ask(memory, [D], basic(*USER), 1)) == ("n", "00000001")
    assert nonce(ask(memory, [D], "what a user wrote by hand")) == ("n", "00000002")


def test_a_server_cannot_challenge_for_ever():
    memory = Authenticator()
    header, rounds = None, 0
    while (
        header := ask(memory, [f'Digest realm="{rounds}", nonce="{rounds}", stale=true'], header, rounds)
    ) is not None:
        rounds += 1
        assert rounds <= MAX_ROUNDS
    assert rounds == MAX_ROUNDS


def test_the_next_nonce_is_used():
    memory = Authenticator()
    memory.note_info(ORIGIN, USER, 'nextnonce="early"')  # nothing to renew
    ask(memory, [D])
    memory.note_info(ORIGIN, USER, 'qop=auth, rspauth="00", nextnonce="n\\"2", cnonce="cn", nc=00000001')
    header = ahead(memory)
    assert nonce(header) == ('n"2', "00000001")
    assert fields(header)["response"] == reckoned(header, USER, "GET")
    for nothing in ('nextnonce=""', "", "garbage", 'rspauth="nextnonce"'):
        memory.note_info(ORIGIN, USER, nothing)
    assert nonce(ahead(memory)) == ('n"2', "00000002")
    memory.note_info(ORIGIN, ("other", "user"), 'nextnonce="theirs"')
    assert nonce(ahead(memory)) == ('n"2', "00000003")


def test_a_next_nonce_means_nothing_to_basic():
    memory = Authenticator()
    ask(memory, ["Basic"])
    memory.note_info(ORIGIN, USER, 'nextnonce="n2"')
    assert ahead(memory) == basic(*USER)


def test_users_and_origins_do_not_mix():
    memory = Authenticator()
    ask(memory, [D])
    ask(memory, ["Basic"], auth=("Nala", "x"))
    assert fields(ahead(memory))["username"] == "Mufasa"
    assert ahead(memory, ("Nala", "x")) == basic("Nala", "x")
    assert ahead(memory, ("Mufasa", "other password")) is None
    assert ahead(memory, origin=("https", "example.com", 443)) is None
    assert ahead(memory, origin="proxy") is None


def test_memory_is_bounded():
    memory = Authenticator(max_origins=2)
    for origin in ("a", "b", "a", "c"):
        memory.challenged(origin, USER, ["Basic"], "GET", "/", b"", None)
    assert [ahead(memory, origin=origin) is not None for origin in ("a", "b", "c")] == [True, False, True]


def test_client_nonces_are_random_and_different():
    drawn = {fields(ask(Authenticator(), [D]))["cnonce"] for _ in range(50)}
    assert len(drawn) == 50
    assert all(re.fullmatch("[0-9a-f]{32}", cnonce) for cnonce in drawn)


def test_repr_shows_no_secret():
    memory = Authenticator()
    header = ask(memory, [D])
    ask(memory, ["Basic"], auth=("Nala", "x"))
    shown = repr(memory) + repr(list(memory._answers.values())) + repr(parse_challenges([str(header)]))
    for secret in ("Circle", "Mufasa", "Nala", basic("Nala", "x")[6:], fields(header)["response"]):
        assert secret not in shown


@settings(deadline=None)
@given(st.lists(texts, max_size=3), st.none() | texts, texts)
def test_whatever_the_server_says_nothing_raises(values, attempted, info):
    memory = Authenticator()
    header = ask(memory, [*values], attempted)
    memory.note_info(ORIGIN, USER, info)
    for value in (header, ahead(memory)):
        if value is not None:
            value.encode("latin-1")
            assert "\r" not in value and "\n" not in value
