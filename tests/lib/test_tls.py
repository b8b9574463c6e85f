"""lib/tls.py: whole handshakes in memory against the standard library's server side."""

from __future__ import annotations

import datetime
import random
import ssl
import types
from typing import Any, cast

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests.errors import RequestError, TlsError
from aquests.lib import tls as module
from aquests.lib.tls import SessionCache, Tls, context_for, make_context

NAME = "example.org"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority, a stranger, certificates, and the files they are in."""
    folder = tmp_path_factory.mktemp("pki")
    ca, stranger = trustme.CA(), trustme.CA()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = types.SimpleNamespace(
        folder=folder,
        ca=ca,
        stranger=stranger,
        pem=ca.cert_pem.bytes().decode(),
        server=ca.issue_cert(NAME, "*.example.net", "127.0.0.1"),
        expired=ca.issue_cert(NAME, not_after=past),
        client=ca.issue_cert("client@example.org"),
        foreign=stranger.issue_cert(NAME),
    )
    made.ca.cert_pem.write_to_path(folder / "ca.pem")
    made.cert, made.key, made.both = folder / "cert.pem", folder / "key.pem", folder / "both.pem"
    made.client.cert_chain_pems[0].write_to_path(made.cert)
    made.client.private_key_pem.write_to_path(made.key)
    made.client.private_key_and_cert_chain_pem.write_to_path(made.both)
    return made


class Server:
    """The standard library's server end, fed like a Tls."""

    def __init__(self, cert, version=None, client_ca=None, alpn=(), context=None):
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            cert.configure_cert(context)
            if version:
                context.minimum_version = context.maximum_version = version
            if client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                client_ca.configure_trust(context)
            if alpn:
                context.set_alpn_protocols(list(alpn))
        self.context = context
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.done = False
        self.error = None
        self.received = b""

    def feed(self, data):
        """Take bytes, return bytes; plaintext gathers in ``received``, the first error in ``error``."""
        self.incoming.write(data)
        try:
            if not self.done:
                self.object.do_handshake()
                self.done = True
            while piece := self.object.read(65536):
                self.received += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            self.error = self.error or exc
        return self.outgoing.read()

    def say(self, data):
        self.object.write(data)
        return self.outgoing.read()

    def close(self):
        try:
            self.object.unwrap()
        except ssl.SSLError:
            pass
        return self.outgoing.read()


def whole(data):
    return [data]


def bytewise(data):
    return [data[i : i + 1] for i in range(len(data))]


def randomly(data):
    chance = random.Random(len(data))
    pieces = []
    while data:
        size = chance.choice([1, 2, 5, 17, 400, 9000])
        pieces.append(data[:size])
        data = data[size:]
    return pieces


cuttings = pytest.mark.parametrize("cut", [whole, bytewise, randomly])


def shake(tls, server, cut=whole):
    """Run the handshake to its end on both sides; returns the plaintext that came with it."""
    plain = b""
    out = tls.handshake(b"")
    for _ in range(10):
        answer = b"".join([server.feed(piece) for piece in cut(out)])
        if tls.done and not answer:
            return plain
        out = b""
        for piece in cut(answer):
            if tls.done:
                plain += tls.unseal(piece)
            else:
                out += tls.handshake(piece)
                if tls.done:
                    plain += tls.unseal(b"")
    raise AssertionError("no end of the handshake")


def trusting(pki, **options):
    return context_for(ca=pki.pem, **options)


def joined(pki, version=None, cut=whole, **options):
    tls, server = Tls(trusting(pki, **options), NAME), Server(pki.server, version)
    assert shake(tls, server, cut) == b""
    return tls, server


# The way of the bytes


@versions
@cuttings
def test_handshake_and_both_ways(pki, version, cut):
    tls, server = joined(pki, version, cut)
    assert tls.done and server.done and not tls.closed
    assert tls.version == version.name.replace("_", ".")
    assert tls.cipher == server.object.cipher()[0]
    assert ("DNS", NAME) in tls.peer_certificate["subjectAltName"]
    server.feed(tls.seal(b"question"))
    assert server.received == b"question"
    answer = bytes(range(256)) * 200
    assert b"".join([tls.unseal(piece) for piece in cut(server.say(answer))]) == answer
    assert tls.unseal(b"") == b""


def test_before_the_handshake(pki):
    tls = Tls(trusting(pki), NAME)
    assert not tls.done and tls.version == "" and tls.cipher == "" and tls.peer_certificate == {}
    assert tls.session is None and tls.alpn is None and tls.goodbye() == b""


@versions
def test_plaintext_with_the_last_flight(pki, version):
    """The server may speak first: its greeting arrives together with the end of the handshake."""
    tls, server = Tls(trusting(pki), NAME), Server(pki.server, version)
    out = tls.handshake(b"")
    while not server.done:
        answer = server.feed(out)
        if not server.done:
            out = tls.handshake(answer)
    assert tls.done is (version == ssl.TLSVersion.TLSv1_3)
    last = answer + server.say(b"220 hello")
    if tls.done:
        assert tls.unseal(last) == b"220 hello"
    else:
        assert tls.handshake(last) == b""
        assert tls.unseal(b"") == b"220 hello"


@versions
def test_several_megabytes_both_ways(pki, version):
    tls, server = joined(pki, version)
    big = random.Random(1).randbytes(4 << 20)
    server.feed(tls.seal(big))
    assert server.received == big
    sealed = server.say(big)
    assert tls.unseal(sealed) == big
    sealed = server.say(big)
    assert b"".join([tls.unseal(sealed[i : i + 65536]) for i in range(0, len(sealed), 65536)]) == big


def test_sealing_nothing_sends_nothing(pki):
    tls, server = joined(pki)
    assert tls.seal(b"") == b""
    server.feed(tls.seal(b"x"))
    assert server.received == b"x"


@versions
@cuttings
def test_close_notify_of_the_peer(pki, version, cut):
    tls, server = joined(pki, version)
    ending = server.say(b"last words") + server.close()
    assert b"".join([tls.unseal(piece) for piece in cut(ending)]) == b"last words"
    assert tls.closed
    assert tls.unseal(b"late") == b""
    server.feed(tls.seal(b"still heard"))  # the other half is open
    assert server.received in (b"still heard", b"")
    assert tls.error is None


def test_close_notify_alone(pki):
    tls, server = joined(pki)
    assert tls.unseal(server.close()) == b""
    assert tls.closed


def test_truncation_is_not_closed(pki):
    tls, server = joined(pki)
    record = server.say(b"half")
    assert tls.unseal(record[:-3]) == b""
    assert not tls.closed
    assert tls.unseal(record[-3:]) == b"half"


@versions
def test_goodbye(pki, version):
    tls, server = joined(pki, version)
    last = tls.seal(b"bye") + tls.goodbye()
    server.incoming.write(last)
    assert server.object.read(100) == b"bye"
    assert server.object.read(100) == b""  # a clean end
    assert tls.unseal(server.close()) == b""
    assert tls.closed
    with pytest.raises(TlsError, match="closed before"):
        tls.seal(b"too late")
    assert tls.goodbye() == b""


def test_tls_inside_tls(pki):
    outer, outer_server = joined(pki)
    inner, inner_server = Tls(trusting(pki), "www.example.net"), Server(pki.server)

    def there(data):
        before = len(outer_server.received)
        outer_server.feed(outer.seal(data))
        return outer_server.received[before:]

    out = inner.handshake(b"")
    while not (inner.done and inner_server.done):
        answer = inner_server.feed(there(out))
        data = outer.unseal(outer_server.say(answer)) if answer else b""
        out = inner.unseal(data) if inner.done else inner.handshake(data)
    big = bytes(100_000)
    inner_server.feed(there(inner.seal(big)))
    assert inner_server.received == big
    assert inner.unseal(outer.unseal(outer_server.say(inner_server.say(big)))) == big


# What is agreed upon


@pytest.mark.parametrize(
    ("offered", "served", "chosen"),
    [
        (("h2", "http/1.1"), ("h2", "http/1.1"), "h2"),
        (["http/1.1"], ("h2", "http/1.1"), "http/1.1"),
        ((), ("h2",), None),
        (("h2",), (), None),
    ],
)
def test_alpn(pki, offered, served, chosen):
    tls, server = Tls(make_context(ca=pki.pem, alpn=offered), NAME), Server(pki.server, alpn=served)
    shake(tls, server)
    assert tls.alpn == chosen == server.object.selected_alpn_protocol()


@versions
@pytest.mark.parametrize("polite", [True, False])
def test_session_is_reused(pki, version, polite):
    context, cache = trusting(pki), SessionCache()
    first, server = Tls(context, NAME, cache.get(NAME, 443, context)), Server(pki.server, version)
    shake(first, server)
    assert not first.session_reused and not server.object.session_reused
    if polite:
        server.feed(first.goodbye())
    cache.put(NAME, 443, context, first.session)
    del first, server.object
    second, again = Tls(context, NAME, cache.get(NAME, 443, context)), Server(None, context=server.context)
    shake(second, again)
    assert second.session_reused and again.object.session_reused
    again.feed(second.seal(b"works"))
    assert again.received == b"works"


def test_no_session_before_the_ticket(pki):
    tls, server = Tls(trusting(pki), NAME), Server(pki.server, ssl.TLSVersion.TLSv1_3)
    answer = server.feed(tls.handshake(b""))
    out = tls.handshake(answer)
    assert tls.done and tls.session is None
    tls.unseal(server.feed(out))
    assert tls.session is not None


@versions
def test_session_of_another_context_is_ignored(pki, version):
    first, server = joined(pki, version)
    second, again = Tls(make_context(ca=pki.pem), NAME, first.session), Server(None, context=server.context)
    shake(second, again)
    assert second.done and not second.session_reused


def test_session_cache_is_bounded(pki):
    context, other = trusting(pki), trusting(pki, alpn=("h2",))
    session = joined(pki)[0].session
    cache = SessionCache(2)
    cache.put("a", 1, context, session)
    cache.put("b", 1, context, session)
    cache.put("a", 1, context, session)  # now b is the oldest
    cache.put("c", 1, context, session)
    cache.put("d", 1, context, None)
    assert len(cache) == 2
    assert cache.get("a", 1, context) is session
    assert cache.get("b", 1, context) is None
    assert cache.get("a", 2, context) is None
    assert cache.get("a", 1, other) is None


# What goes wrong


def failing(tls, server):
    """The TlsError of a handshake, and the server after it got the alert."""
    with pytest.raises(TlsError) as caught:
        shake(tls, server)
    server.feed(tls.alert)
    assert caught.value.phase == "tls"
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    return caught.value.message


@versions
def test_wrong_name(pki, version):
    server = Server(pki.server, version)
    message = failing(Tls(trusting(pki), "evil.example"), server)
    assert message == "hostname mismatch, certificate is valid for example.org, *.example.net, 127.0.0.1"
    assert "alert" in str(server.error)


def test_wrong_address(pki):
    assert failing(Tls(trusting(pki), "10.0.0.1"), Server(pki.server)).startswith("hostname mismatch, certificate is")


def test_names_of_a_stranger_are_tamed():
    names: list[Any] = [("DNS", "a\r\nb\x1b"), ("DNS", "x" * 1000), *[("DNS", str(i)) for i in range(9)]]
    leaf = types.SimpleNamespace(get_info=lambda: {"subjectAltName": names})
    line: Any = types.SimpleNamespace(_sslobj=types.SimpleNamespace(get_unverified_chain=lambda: [leaf]))
    assert module._names(line) == f"ab, {'x' * 80}, 0, 1, 2, …"
    leaf.get_info = lambda: b"\xe5".decode()  # what a flipped bit in a name does
    assert module._names(line) == ""
    assert module._names(cast(Any, None)) == ""


@pytest.mark.parametrize("name", ["127.0.0.1", "a.example.net", "EXAMPLE.org", "example.org."])
def test_right_names(pki, name):
    tls = Tls(trusting(pki), name)
    shake(tls, Server(pki.server))
    assert tls.done


@versions
def test_expired(pki, version):
    server = Server(pki.expired, version)
    assert failing(Tls(trusting(pki), NAME), server) == "certificate has expired"
    assert "expired" in str(server.error)


def test_unknown_authority(pki):
    message = failing(Tls(trusting(pki), NAME), Server(pki.foreign))
    assert message == "certificate of an unknown authority (pass verify=False or ca=…)"


def self_signed():
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, datetime.datetime(2999, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return cert.public_bytes(pem), secret


def test_self_signed(pki, tmp_path):
    cert, key = self_signed()
    (tmp_path / "both").write_bytes(cert + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both")
    message = failing(Tls(trusting(pki), NAME), Server(None, context=context))
    assert message == "self-signed certificate (pass verify=False or ca=…)"
    for mended in ({"verify": False}, {"ca": cert}):  # what the message advises
        tls = Tls(make_context(**mended), NAME)
        shake(tls, Server(None, context=context))
        assert tls.done


def test_system_store_does_not_know_ours(pki):
    assert failing(Tls(context_for(), NAME), Server(pki.server)).startswith("certificate of an unknown authority")


def test_verify_false_checks_nothing(pki):
    tls = Tls(make_context(verify=False), "evil.example")
    shake(tls, Server(pki.expired))
    assert tls.done and tls.peer_certificate == {}


@cuttings
@pytest.mark.parametrize(
    ("junk", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server does not speak TLS (it answered in plain HTTP)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the server does not speak TLS"),
        (b"\x00" * 20, "the server does not speak TLS"),
        (b"\x16\x16" * 20, "the server does not speak TLS"),
        (b"\x15\x03\x01\x00\x02\x01\x00", "the server ended TLS during the handshake"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "no TLS version in common with the server"),
        (b"\x15\x03\x01\x00\x02\x02\x70", "the server does not know this host name"),
        (b"\x15\x03\x01\x00\x02\x02\x78", "no application protocol in common with the server (ALPN)"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "the server ended TLS with the alert internal_error"),
        (
            b"\x15\x03\x01\x00\x02\x02\x28",
            "the server refused the handshake (no cipher in common, or it wants a certificate: cert=…)",
        ),
    ],
)
def test_first_bytes_are_no_handshake(pki, cut, junk, message):
    tls = Tls(trusting(pki), NAME)
    tls.handshake(b"")
    with pytest.raises(TlsError) as caught:
        for piece in cut(junk):
            assert tls.handshake(piece) == b""
    assert caught.value.message == message
    with pytest.raises(TlsError) as again:
        tls.handshake(b"")
    assert again.value is caught.value
    assert isinstance(again.value.__cause__, ssl.SSLError) and "I/O" not in str(again.value.__cause__)
    assert tls.goodbye() == b"" and not tls.done


def test_no_version_in_common(pki):
    context = trusting(pki, min_version=ssl.TLSVersion.TLSv1_3)
    message = failing(Tls(context, NAME), Server(pki.server, ssl.TLSVersion.TLSv1_2))
    assert message == "no TLS version in common with the server"


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "ä" * 70, "a\0b", "x" * 300])
def test_impossible_names(pki, name):
    with pytest.raises(TlsError, match="cannot be the name of a TLS server"):
        Tls(trusting(pki), name)


@versions
@cuttings
def test_garbage_after_the_handshake(pki, version, cut):
    tls, server = joined(pki, version)
    record = bytearray(server.say(b"hello"))
    record[-1] ^= 1
    with pytest.raises(TlsError, match="damaged on its way"):
        for piece in cut(bytes(record)):
            assert tls.unseal(piece) == b""
    assert server.feed(tls.alert) == b"" and "alert bad record mac" in str(server.error)
    with pytest.raises(TlsError, match="damaged on its way"):
        tls.unseal(server.say(b"after") if not server.error else b"")
    with pytest.raises(TlsError):
        tls.seal(b"x")


def test_plaintext_before_garbage_is_delivered(pki):
    tls, server = joined(pki)
    assert tls.unseal(server.say(b"one") + server.say(b"two") + b"garbage!") == b"onetwo"
    assert tls.error is not None and isinstance(tls.error.__cause__, ssl.SSLError)
    with pytest.raises(TlsError) as caught:
        tls.unseal(b"")
    assert caught.value is tls.error


# Client certificates


@versions
def test_client_certificate_given(pki, version):
    tls = Tls(trusting(pki, cert=pki.both), NAME)
    server = Server(pki.server, version, client_ca=pki.ca)
    shake(tls, server)
    server.feed(tls.seal(b"it is me"))
    assert server.received == b"it is me"
    assert server.object.getpeercert()["subjectAltName"] == (("email", "client@example.org"),)


@versions
def test_client_certificate_missing(pki, version):
    """With TLS 1.3 the client is done before it is refused: the refusal comes in unseal."""
    tls = Tls(trusting(pki), NAME)
    message = failing(tls, Server(pki.server, version, client_ca=pki.ca))
    assert tls.done is (version == ssl.TLSVersion.TLSv1_3)
    assert "wants a" in message and "cert=…" in message


@versions
def test_client_certificate_refused(pki, version):
    message = failing(Tls(trusting(pki, cert=pki.both), NAME), Server(pki.server, version, client_ca=pki.stranger))
    assert message == "the server does not know the authority of the client certificate"


def encrypted(pki, password):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(pki.client.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


def test_the_forms_of_cert(pki):
    secret = pki.folder / "secret.pem"
    secret.write_bytes(encrypted(pki, b"open sesame"))
    both = pki.folder / "both-secret.pem"
    both.write_bytes(pki.cert.read_bytes() + secret.read_bytes())
    forms: list[Any] = [
        pki.both,
        str(pki.both),
        (pki.both,),
        (str(pki.cert), pki.key),
        (pki.cert, pki.key, None),
        (pki.cert, secret, "open sesame"),
        (pki.cert, secret, b"open sesame"),
        (both, None, "open sesame"),
    ]
    for cert in forms:
        make_context(verify=False, cert=cert)


def test_bad_cert_says_what_to_mend(pki, tmp_path):
    secret, junk = tmp_path / "secret.pem", tmp_path / "junk.pem"
    secret.write_bytes(encrypted(pki, b"hunter2"))
    junk.write_text("nothing")
    other = tmp_path / "other.pem"
    pki.server.private_key_pem.write_to_path(other)
    cases = [
        (tmp_path / "no.pem", "no.pem' cannot be read (No such file or directory)"),
        ((pki.cert, tmp_path / "no.key"), "no.key' cannot be read (No such file or directory)"),
        (tmp_path, "' cannot be read (Is a directory)"),
        (pki.cert, "there must be a PEM certificate in"),
        (junk, "there must be a PEM certificate in"),
        ((pki.cert, other), "other.pem belongs to another certificate than"),
        ((pki.cert, secret), "is encrypted: pass cert=(certificate, key, password)"),
        ((pki.cert, secret, ""), "is encrypted: pass cert=(certificate, key, password)"),
        ((pki.cert, secret, "swordfish"), "the password does not open the key in"),
        ((pki.cert, secret, "swordfish" * 1000), "the password does not open the key in"),
        ((pki.cert, secret, 5), "cert must be a path"),
        ([pki.cert, pki.key], "cert must be a path"),
        ("a\0b", "cannot be read (embedded null byte)"),
        ((), "cert must be a path"),
        ((pki.cert, pki.key, "a", "b"), "cert must be a path"),
        (5, "cert must be a path"),
        ((pki.cert, 5), "cert must be a path"),
    ]
    for cert, message in cases:
        with pytest.raises(RequestError) as caught:
            make_context(verify=False, cert=cert)
        assert message in str(caught.value), cert
        assert "swordfish" not in repr(caught.value) + repr(caught.value.__cause__)


# Authorities, key log, cache


def test_the_forms_of_ca(pki, tmp_path):
    plain, hashed, remarks = tmp_path / "plain", tmp_path / "hashed", tmp_path / "remarks.pem"
    plain.mkdir()
    hashed.mkdir()
    (plain / "a.pem").write_bytes(pki.stranger.cert_pem.bytes())
    (plain / "b.crt").write_text(pki.pem)
    (plain / "README").write_text("no certificate")
    der = ssl.PEM_cert_to_DER_cert(pki.pem)
    (hashed / "00000000.0").write_text(pki.pem)
    remarks.write_text(f"# Zürich\n{pki.pem}", encoding="latin-1")
    (tmp_path / "der").write_bytes(der)
    pem = pki.folder / "ca.pem"
    for ca in (pem, str(pem), pki.pem, pki.pem.encode(), der, plain, remarks, tmp_path / "der"):
        tls = Tls(make_context(ca=ca), NAME)
        shake(tls, Server(pki.server))
        assert tls.done
    assert make_context(ca=hashed).get_ca_certs() == []  # loaded when looked for


def test_ca_replaces_the_system_store(pki):
    assert len(make_context(ca=pki.pem).get_ca_certs()) == 1


def test_a_leaf_may_be_trusted_by_itself(pki):
    tls = Tls(make_context(ca=pki.server.cert_chain_pems[0].bytes()), NAME)
    shake(tls, Server(pki.server))
    assert tls.done


def test_bad_ca_says_what_to_mend(tmp_path):
    (tmp_path / "empty.pem").touch()
    (tmp_path / "junk.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "dir").mkdir()
    for ca, message in [
        (tmp_path / "no.pem", "ca: .*no.pem. cannot be read .No such file or directory."),
        (tmp_path / "empty.pem", "ca: there is no certificate in .*empty.pem"),
        (tmp_path / "junk.pem", "ca: no certificate can be read from .*junk.pem"),
        (tmp_path / "dir", "ca: there is no certificate in .*dir"),
        (b"\x30\x00", "ca: no certificate can be read from the bytes given"),
        ("-----BEGIN CERTIFICATE-----\nx", "ca: no certificate can be read from the text given"),
        (b"", "ca: there is no certificate in the bytes given"),
    ]:
        with pytest.raises(RequestError, match=message):
            make_context(ca=ca)


def test_directory_that_cannot_be_read(tmp_path, monkeypatch):
    """Root may read everything, so the system's refusal is played."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(RequestError, match=r"ca: .* cannot be read \(Permission denied\)"):
        make_context(ca=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": "/etc/ca.pem"}, "verify must be True or False"),
        ({"verify": 1}, "verify must be True or False"),
        ({"ca": True}, "ca must be a path"),
        ({"ca": ["a"]}, "ca must be a path"),
        ({"keylog": True}, "keylog must be a path"),
        ({"alpn": "h2"}, "alpn must be a list"),
        ({"alpn": ["x" * 256]}, "alpn must be a list"),
        ({"alpn": [""]}, "alpn must be a list"),
        ({"alpn": [5]}, "alpn must be a list"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(RequestError, match=message):
        make_context(**{"verify": False, **options})


@pytest.mark.parametrize("options", [{"verify": False}, {"ca": True}, {}], ids=["nothing", "ca", "system"])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_keylog(pki, tmp_path, monkeypatch, options, by):
    file = tmp_path / "keys"
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    options = {**options, "ca": pki.pem} if "ca" in options else options
    if by == "environment":
        monkeypatch.setenv("SSLKEYLOGFILE", str(file))
        context = make_context(**options)
    else:
        context = make_context(**options, keylog=file)
    tls, server = Tls(context, NAME), Server(pki.server, ssl.TLSVersion.TLSv1_3)
    if options:
        shake(tls, server)
    else:
        failing(tls, server)
    written = file.read_text()
    assert "SERVER_HANDSHAKE_TRAFFIC_SECRET" in written
    assert ("CLIENT_TRAFFIC_SECRET_0" in written) is bool(options)


def test_keylog_that_cannot_be_written(pki, tmp_path, monkeypatch):
    bad = str(tmp_path / "no" / "keys")
    with pytest.raises(RequestError, match=r"key log file .*keys cannot be written \(No such file"):
        make_context(verify=False, keylog=bad)
    monkeypatch.setenv("SSLKEYLOGFILE", bad)
    for options in ({}, {"verify": False}, {"ca": pki.pem}):
        with pytest.raises(RequestError, match=r"key log file .*keys cannot be written \(No such file"):
            make_context(**options)


def test_context_for_keeps_contexts(pki, monkeypatch):
    monkeypatch.setattr(module, "_contexts", {})
    monkeypatch.setattr(module, "MAX_CONTEXTS", 2)
    first = context_for(verify=False, alpn=["a"])
    second = context_for(verify=False, alpn=("b",))
    assert context_for(verify=False, alpn=("a",)) is first is not second
    third = context_for(verify=False)  # the second goes, it is unused longest
    assert len(module._contexts) == 2
    assert context_for(verify=False, alpn=["a"]) is first
    assert context_for(verify=False) is third
    assert context_for(verify=False, alpn=["b"]) is not second


def test_context_for_tells_settings_apart(pki, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_contexts", {})
    made = [
        context_for(verify=False),
        context_for(ca=pki.pem),
        context_for(ca=pki.pem, cert=pki.both),
        context_for(ca=pki.pem, cert=(pki.cert, pki.key)),
        context_for(ca=pki.pem, min_version=ssl.TLSVersion.TLSv1_3),
        context_for(ca=pki.pem, keylog=tmp_path / "keys"),
    ]
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "other"))
    made.append(context_for(ca=pki.pem))
    assert len(set(made)) == len(made)
    for wrong in ({"ca": ["a"]}, {"verify": 1}, {"verify": 0}, {"cert": [pki.both]}):
        with pytest.raises(RequestError, match="must be"):
            context_for(**cast(Any, wrong))


def test_default_is_careful():
    context = context_for()
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


# Whatever the bytes


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=300), head=st.sampled_from([b"", b"\x16\x03\x03", b"\x15\x03\x03\x00\x02", b"\x17\x03\x03"])
)
def test_fuzz_handshake(data, head):
    tls = Tls(make_context(verify=False), NAME)
    tls.handshake(b"")
    try:
        tls.handshake(head + data)
        tls.handshake(data)
    except TlsError:
        pass
    assert not tls.done


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 5000), flip=st.integers(1, 255), version=st.sampled_from(VERSIONS))
def test_fuzz_flipped_byte_in_the_handshake(pki, place, flip, version):
    tls, server = Tls(trusting(pki), NAME), Server(pki.server, version)
    out = tls.handshake(b"")
    try:
        for _ in range(4):
            answer = bytearray(server.feed(out))
            if 0 <= place < len(answer):
                answer[place] ^= flip
            place -= len(answer)
            out = tls.unseal(bytes(answer)) if tls.done else tls.handshake(bytes(answer))
    except TlsError:
        assert tls.error is not None


@settings(max_examples=100, deadline=None)
@given(data=st.binary(min_size=1, max_size=300), head=st.sampled_from([b"", b"\x17\x03\x03", b"\x15\x03\x03\x00\x13"]))
def test_fuzz_after_the_handshake(pki, data, head):
    tls = joined(pki)[0]
    try:
        assert tls.unseal(head + data) == b""
        assert tls.unseal(data) == b""
    except TlsError:
        pass
