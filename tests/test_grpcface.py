"""``aquests.grpc`` and ``aquests.grpc_channel``: made without loading grpcio before it is needed."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest

import aquests
from aquests.grpcstub import Grpc


def test_importing_aquests_imports_neither_grpc_nor_protobuf() -> None:
    code = "import sys, aquests; aquests.grpc, aquests.grpc_channel; print({'grpc', 'google'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_what_is_made() -> None:
    assert isinstance(aquests.grpc("http://h:1/p.S", timeout=1), Grpc)
    assert isinstance(aquests.grpc_channel("http://h:1", timeout=1), grpc.Channel)
    for make in (aquests.grpc, aquests.grpc_channel):
        with pytest.raises(TypeError, match="did you mean 'timeout'"):
            make("http://h:1/", timeot=1)
