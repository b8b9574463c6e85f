"""What a generated stub is given as ``timeout``: checked, and over at once where there is none left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import aquests
from aquests.errors import RequestError
from aquests.script import script
from tests.face import ignore, own_engine
from tests.grpcpeer import GrpcPeer, Reply


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=1, callback=ignore):
        yield
        script.engine.run()


@pytest.mark.parametrize("timeout", ["x", True, float("nan"), [1]])
def test_what_is_no_timeout(timeout: Any) -> None:
    with GrpcPeer(lambda call: Reply(b"")) as peer, aquests.grpc_channel(peer.url) as channel:
        with pytest.raises(RequestError, match="timeout must be"):
            channel.unary_unary("/s/m").future(b"", timeout=timeout)


@pytest.mark.parametrize("timeout", [0, 0.0, -1, -0.5])
def test_no_time_left(timeout: Any) -> None:
    """As grpcio: the call fails with DEADLINE_EXCEEDED, and the server hears nothing of it."""
    with GrpcPeer(lambda call: Reply(b"")) as peer, aquests.grpc_channel(peer.url) as channel:
        method = channel.unary_unary("/s/m")
        assert method(b"") == b"", "the line is there"
        assert method.future(b"", timeout=timeout).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert method(b"") == b"" and len(peer.calls) == 2
