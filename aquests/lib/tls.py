"""TLS as a filter without a socket: bytes in, bytes out, over two memory buffers.

:class:`Tls` is the filter, :func:`context_for` makes and keeps the settings it runs with,
:class:`SessionCache` keeps what makes the next handshake with the same server shorter.

Facts this file lives with:

- OpenSSL hands out one record per read, at most 16 KB of plaintext, and takes from the memory
  buffer exactly the bytes it uses. So "is anything left in the buffer" tells whether another read
  can give something, and the exception that says no (1.0 µs) is raised only when a record was
  cut. Measured for 200 bytes of plaintext a call: 0.9 µs this way, 1.9 µs by reading until the
  exception. Asking the object's ``pending()`` too costs 50 ns and never says yes; reading into a
  kept buffer is slower (bytes are needed in the end). ``seal`` of a small request: 0.8 µs.
- Both ways of a request and 4 KB cost 2.5 µs here, 2.3 of them in OpenSSL and Python's ``ssl``: methods bound
  beforehand save nothing, and a channel that does all of this in its handler 1.6 % of an answer.
- With TLS 1.3 the client is done before the server has judged the client's certificate: its
  refusal arrives in ``unseal``. Tickets arrive there too.
- A certificate is refused by raising, and the alert that tells the server is in the outgoing
  buffer at that moment: whoever catches the error sends ``alert`` before closing.
- Renegotiation is refused (RFC 9113 9.2.1 forbids it, TLS 1.3 has none), so sealing never waits.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Sequence
from typing import Any, Final

from ..errors import RequestError, TlsError

RECORD: Final = 16384
"""A record never holds more plaintext (RFC 8446 5.1)."""

MAX_CONTEXTS: Final = 64
"""A context with the system's store weighs 0.8 MB and takes 16 ms to make (one that verifies nothing: 0.1 ms)."""

Path = str | os.PathLike[str]
Ca = Path | bytes | None
Cert = Path | tuple[Path, Path | None] | tuple[Path, Path | None, str | bytes | None] | None


class Tls:
    """The client's end of one TLS line.

    Call ``handshake(b"")`` and send what it returns, then ``handshake(data)`` with what the peer
    sends until ``done``; from then on all bytes belong to ``unseal`` and ``seal``. Call
    ``unseal(b"")`` once after ``done``: plaintext may have come with the last flight.

    ``closed`` turns True when the peer said that it sends no more (close_notify); an end of the
    stream without it is a truncation. ``alert`` holds, after a TlsError, what should be sent
    before closing. ``alpn`` is the protocol the server chose, None if it chose none. The errors
    have phase "tls" and no endpoint: the caller knows it.
    """

    __slots__ = ("done", "closed", "alert", "alpn", "error", "_object", "_incoming", "_outgoing", "_head")

    def __init__(self, context: ssl.SSLContext, server_hostname: str, session: ssl.SSLSession | None = None):
        """``session`` is a hint; one that belongs to another context is ignored.

        Raises TlsError if ``server_hostname`` cannot be the name of a server.
        """
        self.done = False
        self.closed = False
        self.alert = b""
        self.alpn: str | None = None
        self.error: TlsError | None = None
        self._head = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = _client(context, self._incoming, self._outgoing, server_hostname)
        if session is not None:
            try:
                self._object.session = session
            except ValueError:
                pass  # made with another context

    def handshake(self, data: bytes) -> bytes:
        """Feed bytes from the peer; returns bytes to send. Raises TlsError."""
        if self.error is not None:
            raise self.error from self.error.__cause__
        if len(self._head) < 5:
            self._head += data[:5]
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            error = self._failed(exc)
            raise error from error.__cause__
        else:
            self.done = True
            self.alpn = self._object.selected_alpn_protocol()
        return self._outgoing.read()

    def unseal(self, data: bytes) -> bytes:
        """Feed bytes from the peer; returns the plaintext, b"" if no record is complete.

        Raises TlsError on garbage or a fatal alert. Plaintext that came before it is returned
        first: ``error`` is set then, and the next call raises it.
        """
        incoming = self._incoming
        incoming.write(data)
        try:
            piece = self._object.read(RECORD)
        except ssl.SSLError as exc:
            self._stop(exc)
            if self.error is not None:
                raise self.error from self.error.__cause__
            return b""
        if piece and not incoming.pending:
            return piece
        return self._rest(piece)

    def seal(self, data: bytes) -> bytes:
        """The records that carry ``data``, all of it. Raises TlsError after the end of the line."""
        if data:
            try:
                self._object.write(data)
            except ssl.SSLError as exc:
                error = self._failed(exc)
                raise error from error.__cause__
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """The close_notify; b"" when it makes no sense (any more). Nothing can be sealed after it."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the peer's own is not waited for, and a line that never was up needs none
        return self._outgoing.read()

    @property
    def version(self) -> str:
        """``"TLSv1.3"`` and the like; "" before the handshake."""
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite; "" before the handshake."""
        cipher = self._object.cipher()
        return cipher[0] if cipher else ""

    @property
    def session(self) -> ssl.SSLSession | None:
        """What makes the next handshake shorter, or None. Ask when closing: tickets come late."""
        session = self._object.session
        return session if session is not None and (session.has_ticket or self.version != "TLSv1.3") else None

    @property
    def session_reused(self) -> bool:
        """Was the session that was handed in accepted by the server?"""
        return bool(self._object.session_reused)

    @property
    def peer_certificate(self) -> dict[str, Any]:
        """The server's certificate as ``ssl.SSLSocket.getpeercert()`` shows it; {} if not verified."""
        return dict(self._object.getpeercert() or {}) if self.done else {}

    def _rest(self, piece: bytes) -> bytes:
        """``piece`` and all that is readable after it; an empty read is the peer's close_notify."""
        pieces = []
        try:
            while piece:
                pieces.append(piece)
                if not self._incoming.pending:
                    break
                piece = self._object.read(RECORD)
            else:
                self.closed = True
        except ssl.SSLError as exc:
            self._stop(exc)
        return b"".join(pieces)

    def _stop(self, exc: ssl.SSLError) -> None:
        """A read gave nothing: a record is incomplete, the peer has closed, or the line is broken."""
        if isinstance(exc, ssl.SSLZeroReturnError):
            self.closed = True
        elif not isinstance(exc, ssl.SSLWantReadError):
            self._failed(exc)

    def _failed(self, exc: ssl.SSLError) -> TlsError:
        """The line is broken: take the alert out; make the error, but only from what came first."""
        self.alert += self._outgoing.read()
        if self.error is None:
            self.error = TlsError(_explain(exc, self._object, None if self.done else self._head), phase="tls")
            self.error.__cause__ = exc
        return self.error


def _client(context: ssl.SSLContext, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, hostname: str) -> ssl.SSLObject:
    # RFC 6066 3: the name is sent without the root's dot; a zone (RFC 6874) is this host's affair.
    name = hostname.rstrip(".").partition("%")[0]
    try:
        return context.wrap_bio(incoming, outgoing, server_hostname=name)
    except (ValueError, TypeError, ssl.SSLError) as exc:
        raise TlsError(f"{hostname[:80]!r} cannot be the name of a TLS server", phase="tls") from exc


# Errors in words

_VERIFY: Final[dict[int, str]] = {  # by X509_V_ERR_…
    9: "certificate is not valid yet (is the clock of this machine right?)",
    10: "certificate has expired",
    18: "self-signed certificate (pass verify=False or ca=…)",
    19: "self-signed certificate at the end of the chain (pass verify=False or ca=…)",
    20: "certificate of an unknown authority (pass verify=False or ca=…)",
    21: "certificate of an unknown authority (pass verify=False or ca=…)",
}
_MISMATCH: Final = (62, 64)  # of the host name, of the IP address

_ALERTS: Final[dict[str, str]] = {  # RFC 8446 6.2
    "HANDSHAKE_FAILURE": "the server refused the handshake (no cipher in common, or it wants a certificate: cert=…)",
    "PROTOCOL_VERSION": "no TLS version in common with the server",
    "CERTIFICATE_REQUIRED": "the server wants a client certificate (pass cert=…)",
    "UNKNOWN_CA": "the server does not know the authority of the client certificate",
    "BAD_CERTIFICATE": "the server refused the client certificate",
    "UNSUPPORTED_CERTIFICATE": "the server refused the kind of the client certificate",
    "CERTIFICATE_REVOKED": "the server says the client certificate is revoked",
    "CERTIFICATE_EXPIRED": "the server says the client certificate has expired",
    "CERTIFICATE_UNKNOWN": "the server refused the client certificate",
    "ACCESS_DENIED": "the server denied access to the client certificate",
    "NO_APPLICATION_PROTOCOL": "no application protocol in common with the server (ALPN)",
    "UNRECOGNIZED_NAME": "the server does not know this host name",
}

_REASONS: Final[dict[str, str]] = {
    "UNSUPPORTED_PROTOCOL": "no TLS version in common with the server",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a TLS record was damaged on its way",
    # OpenSSL 3.2 and later say no more than this of a record they cannot read, whatever is wrong with it.
    "RECORD_LAYER_FAILURE": "a TLS record was damaged on its way, or what came is no TLS",
    "PROTOCOL_IS_SHUTDOWN": "the TLS line was closed before",
}


def _explain(exc: ssl.SSLError, line: ssl.SSLObject, head: bytes | None) -> str:
    """One short sentence; ``head`` are the peer's first bytes during the handshake, else None."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        if exc.verify_code in _MISMATCH:
            names = _names(line)
            return f"hostname mismatch, certificate is valid for {names or 'other names'}"
        return _VERIFY.get(exc.verify_code, f"certificate is not accepted: {exc.verify_message}")
    if isinstance(exc, ssl.SSLZeroReturnError):
        return "the server ended TLS during the handshake"
    # Every TLS line begins with a handshake (22) or alert (21) record, whatever OpenSSL calls the rest.
    if head and (head[0] not in (21, 22) or head[1:2] not in (b"", b"\x03")):
        return "the server does not speak TLS" + (" (it answered in plain HTTP)" if head.startswith(b"HTTP") else "")
    # Some alerts have no mnemonic in some versions of Python; their text says the same.
    text = exc.reason or str(exc.args[-1]).removeprefix("[SSL] ").partition(" (_ssl")[0]
    words = text.upper().replace(" ", "_")
    if "ALERT_" in words or words == "TLSV1_UNRECOGNIZED_NAME":
        name = words.rpartition("ALERT_")[2].removeprefix("TLSV1_")
        return _ALERTS.get(name, f"the server ended TLS with the alert {name.lower()}")
    return _REASONS.get(words, f"broken TLS ({words.replace('_', ' ').lower()})")


def _names(line: ssl.SSLObject) -> str:
    """The names in the certificate that was just refused, as far as they can be had.

    The public way shows accepted certificates only, so this asks the object inside; a Python
    without that gives "". The names come from a stranger: few, short and printable.
    """
    ask = getattr(getattr(line, "_sslobj", None), "get_unverified_chain", None)
    chain = ask() if ask is not None else None
    if not chain:
        return ""
    try:
        names = [value for _, value in chain[0].get_info().get("subjectAltName", ())]
    except (ssl.SSLError, ValueError):  # it may be damaged, or made to be: bytes that are no UTF-8
        return ""
    shown = ["".join(c for c in name[:80] if c.isprintable()) for name in names[:5]]
    return ", ".join(shown) + (", …" if len(names) > 5 else "")


# Contexts

_contexts: dict[Any, ssl.SSLContext] = {}


def context_for(
    *,
    verify: bool = True,
    ca: Ca = None,
    cert: Cert = None,
    alpn: Sequence[str] = ("http/1.1",),
    keylog: Path | None = None,
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    """:func:`make_context`, or what it made before for the same settings.

    Files are not read again while their context is kept; the last MAX_CONTEXTS ones are.
    """
    _check(verify, ca, cert, keylog)
    key = (verify, ca, cert, tuple(alpn), keylog, min_version, os.environ.get("SSLKEYLOGFILE"))
    context = _contexts.pop(key, None)
    if context is None:
        context = make_context(verify=verify, ca=ca, cert=cert, alpn=alpn, keylog=keylog, min_version=min_version)
        if len(_contexts) >= MAX_CONTEXTS:
            del _contexts[next(iter(_contexts))]
    _contexts[key] = context  # to the end: the first is the one unused longest
    return context


def make_context(
    *,
    verify: bool = True,
    ca: Ca = None,
    cert: Cert = None,
    alpn: Sequence[str] = ("http/1.1",),
    keylog: Path | None = None,
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    """The settings of TLS lines.

    - ``verify``: True checks certificate and host name, False nothing at all.
    - ``ca``: trust these authorities *instead of* the system's: a PEM or DER file, a directory of
      PEM files, PEM text, or DER bytes. A certificate in it is trusted even if it is no root.
    - ``cert``: the client's certificate: a PEM file that holds the key too, (certificate, key) or
      (certificate, key, password).
    - ``alpn``: protocols to offer, the best first; empty offers none.
    - ``keylog``: append the secrets to this file, for Wireshark; default is the environment's
      SSLKEYLOGFILE.

    Raises RequestError, which says what to mend and never holds a password.
    """
    _check(verify, ca, cert, keylog)
    keys = keylog or (None if sys.flags.ignore_environment else os.environ.get("SSLKEYLOGFILE"))
    try:
        context = _trusting(ca) if verify else _trusting_all()
        if keys:
            context.keylog_filename = os.fspath(keys)
    except OSError as exc:  # create_default_context() opens SSLKEYLOGFILE, too
        raise RequestError(f"the key log file {keys} cannot be written ({exc.strerror})") from exc
    context.minimum_version = min_version
    context.options |= ssl.OP_NO_RENEGOTIATION
    if cert is not None:
        _load_cert(context, cert)
    if alpn:
        _offer(context, alpn)
    return context


def _check(verify: Any, ca: Any, cert: Any, keylog: Any) -> None:
    """Refuse wrong types, before the cache takes 1 for True or stumbles over a list."""
    path = (str, os.PathLike)
    if not isinstance(verify, bool):
        raise RequestError("verify must be True or False; a file of authorities goes into ca=…")
    if ca is not None and not isinstance(ca, (*path, bytes)):
        raise RequestError("ca must be a path, PEM text or DER bytes")
    if keylog is not None and not isinstance(keylog, path):
        raise RequestError("keylog must be a path")
    if cert is not None and not isinstance(cert, path):
        good = isinstance(cert, tuple) and 1 <= len(cert) <= 3 and isinstance(cert[0], path)
        kinds = ((*path, type(None)), (str, bytes, type(None)))  # of key and password
        if not good or not all(map(isinstance, cert[1:], kinds)):
            raise RequestError("cert must be a path, (certificate, key) or (certificate, key, password)")


def _trusting_all() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(ca: Ca) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    where, capath, cadata = _authorities(ca)
    try:
        context = ssl.create_default_context(capath=capath, cadata=cadata)
    except ssl.SSLError as exc:
        raise RequestError(f"ca: no certificate can be read from {where}") from exc
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _authorities(ca: Path | bytes) -> tuple[str, str | None, str | bytes | None]:
    """(what it is, a directory for OpenSSL to look into, certificates)."""
    if isinstance(ca, bytes):
        where, data = "the bytes given", ca
    elif "-----BEGIN " in (where := os.fspath(ca)):
        where, data = "the text given", where.encode()
    elif os.path.isdir(where):
        names = _folder(where)
        if any(len(name) == 10 and name.endswith(".0") for name in names):
            return where, where, None  # named by hash: OpenSSL reads what it needs
        data = b"\n".join(_file("ca", os.path.join(where, name)) for name in names if name.endswith((".pem", ".crt")))
    else:
        data = _file("ca", where)
    if not data.strip():
        raise RequestError(f"ca: there is no certificate in {where}")
    # OpenSSL takes text for PEM and bytes for DER. PEM is ASCII, but for remarks in between.
    return where, None, data.decode("ascii", "ignore") if b"-----BEGIN " in data else data


def _load_cert(context: ssl.SSLContext, cert: Path | tuple[Any, ...]) -> None:
    path, key, password = (*(cert if isinstance(cert, tuple) else (cert,)), None, None)[:3]
    key = key or path
    for file in (path, key):
        _file("cert", file)
    asked = False

    def answer() -> str | bytes:
        nonlocal asked
        asked = True
        return password or b""  # without an answer OpenSSL would ask on the terminal

    try:
        context.load_cert_chain(path, key, answer)
    except (ssl.SSLError, ValueError) as exc:  # ValueError: a password beyond OpenSSL's limit
        if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
            hint = f"the key in {key} belongs to another certificate than {path}"
        elif asked and not password:
            hint = f"the key in {key} is encrypted: pass cert=(certificate, key, password)"
        elif asked:
            hint = f"the password does not open the key in {key}"
        else:
            hint = f"there must be a PEM certificate in {path} and its PEM key in {key}"
        raise RequestError(f"cert: {hint}") from exc


def _offer(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    try:
        if isinstance(alpn, str):
            raise TypeError("a single str")
        context.set_alpn_protocols(list(alpn))
    except (ssl.SSLError, TypeError, ValueError) as exc:
        raise RequestError(f"alpn must be a list of protocol names of 1 to 255 bytes, not {alpn!r}") from exc


def _file(option: str, path: Path) -> bytes:
    """The bytes of a file a user named; OpenSSL's own errors do not say which file is missing."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        raise _unreadable(option, path, exc) from exc


def _folder(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError as exc:
        raise _unreadable("ca", path, exc) from exc


def _unreadable(option: str, path: Path, exc: OSError | ValueError) -> RequestError:
    reason = getattr(exc, "strerror", None) or exc
    return RequestError(f"{option}: {os.fspath(path)!r} cannot be read ({reason})")


# Sessions


class SessionCache:
    """The sessions of the last ``limit`` places, for shorter handshakes.

    A session is used as often as there are lines to open: RFC 8446 C.4 advises against using a
    ticket twice to keep lines from being linked, but all of ours come from one program anyway. A
    server that minds makes a full handshake.
    """

    __slots__ = ("_sessions", "_limit")

    def __init__(self, limit: int = 1000):
        self._sessions: dict[tuple[str, int, ssl.SSLContext], ssl.SSLSession] = {}
        self._limit = limit

    def get(self, host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSession | None:
        """A session to hand to :class:`Tls` together with the same context."""
        return self._sessions.get((host, port, context))

    def put(self, host: str, port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> None:
        """Keep ``tls.session`` of a line that is about to be closed; None is ignored."""
        if session is not None:
            key = (host, port, context)
            self._sessions.pop(key, None)
            while len(self._sessions) >= self._limit:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[key] = session

    def __len__(self) -> int:
        return len(self._sessions)
