"""A certificate for the servers over TLS, by an authority that is made for the run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .machine import Absent, package_version
from .process import HOST


class Files(NamedTuple):
    """The paths of PEM files: the key, the certificate, and the CA that vouches for it."""

    key: str
    certificate: str
    ca: str


def certificate(directory: Path) -> Files:
    """Make them in ``directory``; Absent where trustme is not installed."""
    if package_version("trustme") is None:
        raise Absent("trustme is not installed")
    import trustme

    files = Files(*(str(directory / name) for name in ("site.key", "site.pem", "ca.pem")))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(files.ca)
    leaf = authority.issue_cert(HOST, "localhost")
    Path(files.certificate).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(files.key)
    return files
