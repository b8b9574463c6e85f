"""Certificates for tests, made anew for each run: a CA, and every kind of certificate a client meets."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class KeyPair:
    """A certificate (with its chain) and its key, as paths of PEM files."""

    cert: str
    key: str


@dataclass(frozen=True)
class Certs:
    """All of them. Everything but ``self_signed`` is signed by ``ca``; names are those of the loopback."""

    ca: str
    good: KeyPair
    wrong_name: KeyPair
    expired: KeyPair
    self_signed: KeyPair
    unknown_ca: KeyPair
    client: KeyPair

    def server_context(
        self, pair: KeyPair | None = None, *, alpn: Sequence[str] = (), ask_client: bool = False
    ) -> ssl.SSLContext:
        """A context for ``ScriptedPeer(tls=…)``; with ``ask_client`` only clients with ``client`` get in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = pair or self.good
        context.load_cert_chain(pair.cert, pair.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def client_context(self, pair: KeyPair | None = None, *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """A context of the standard library that trusts ``ca`` alone; ``pair`` is the client's own."""
        context = ssl.create_default_context(cafile=self.ca)
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


def tls_certs(directory: Path) -> Certs:
    """Write all certificates into ``directory``."""
    import trustme

    def write(name: str, leaf: trustme.LeafCert) -> KeyPair:
        pair = KeyPair(str(directory / f"{name}.pem"), str(directory / f"{name}.key"))
        Path(pair.cert).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        Path(pair.key).write_bytes(leaf.private_key_pem.bytes())
        return pair

    directory.mkdir(parents=True, exist_ok=True)
    ca = trustme.CA()
    ca_path = directory / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_path))
    now = datetime.now(UTC)
    last_month, last_week = now - timedelta(days=30), now - timedelta(days=7)
    return Certs(
        ca=str(ca_path),
        good=write("good", ca.issue_cert(*NAMES)),
        wrong_name=write("wrong_name", ca.issue_cert("wrong.example")),
        expired=write("expired", ca.issue_cert(*NAMES, not_before=last_month, not_after=last_week)),
        self_signed=_self_signed(directory),
        unknown_ca=write("unknown_ca", trustme.CA().issue_cert(*NAMES)),
        client=write("client", ca.issue_cert("client@example.org")),
    )


def _self_signed(directory: Path) -> KeyPair:
    """The right names, signed by nobody but itself."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    addresses = [x509.IPAddress(ip_address(address)) for address in NAMES[1:]]
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pair = KeyPair(str(directory / "self_signed.pem"), str(directory / "self_signed.key"))
    Path(pair.cert).write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    Path(pair.key).write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair
