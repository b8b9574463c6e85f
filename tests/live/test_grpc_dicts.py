"""Dicts instead of messages: what is in them is what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import aquests
from aquests.errors import RequestError
from aquests.script import script
from tests.certs import Certs
from tests.face import ignore, own_engine
from tests.servers_grpc import GrpcServers, grpc_servers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certs: Certs) -> Iterator[GrpcServers]:
    with grpc_servers(tmp_path_factory.mktemp("grpc"), certs) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    with own_engine(workers=1, callback=ignore):
        yield
        script.engine.run()


@pytest.mark.parametrize("blob", [b"\xff\x00abc", b"abcd", bytearray(b"hello!!!"), b"", memoryview(b"xyz1")])
def test_bytes_are_sent_as_they_are(server: GrpcServers, blob: Any) -> None:
    """protobuf's JSON reader takes them for base64, and silently sends something else."""
    request = aquests.grpc(server.service()).Echo({"blob": blob})
    aquests.fetchall()
    assert request.response is not None and request.response.error is None
    assert request.response.data.blob == bytes(blob)


def test_text_is_base64_as_json_has_it(server: GrpcServers) -> None:
    request = aquests.grpc(server.service()).Echo({"blob": "aGVsbG8="})
    aquests.fetchall()
    assert request.response is not None and request.response.data.blob == b"hello"


def test_what_does_not_fit_is_said_in_one_line(server: GrpcServers) -> None:
    request = aquests.grpc(server.service()).Echo({"txt": "a"})
    with pytest.raises(RequestError) as raised:
        aquests.fetchall()
        assert request.response is not None
        request.response.raise_for_status()
    assert "no field named" in str(raised.value) and "\n" not in str(raised.value)


def test_a_class_is_no_message(server: GrpcServers) -> None:
    stub = aquests.grpc(server.service())
    first = stub.Echo({})
    aquests.fetchall()
    assert first.response is not None
    with pytest.raises(RequestError, match="takes a message, not its class"):
        stub.Echo(type(first.response.data))


def test_fields_go_in_a_dict(server: GrpcServers) -> None:
    with pytest.raises(TypeError, match=r"'text'; fields of the message go in a dict: Echo\({…}\)"):
        aquests.grpc(server.service()).Echo(text="a")


def test_a_service_that_is_not_there(server: GrpcServers) -> None:
    request = aquests.grpc(server.service().rpartition("/")[0] + "/no.Such").Do({})
    aquests.fetchall()
    assert request.response is not None and "the server does not have it" in str(request.response.error)
