"""Everything the README shows is run: its Python blocks against a server of ours, its commands by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCDispatcher

import pytest

from tests.helpers import ROOT
from tests.peers import ScriptedPeer, http_peer
from tests.servers_grpc import grpc_servers
from tests.servers_mongodb import mongodb_server
from tests.servers_postgresql import shop
from tests.servers_redis import redis_server
from tests.wsbytes import echoes, opens

README = (ROOT / "README.rst").read_text(encoding="utf-8")
BLOCKS = re.findall(r"\.\. code-block:: python\n\n((?:(?:    .*)?\n)+)", README)


def xml_rpc(body: bytes) -> bytes:
    dispatcher = SimpleXMLRPCDispatcher(allow_none=True)
    dispatcher.register_introspection_functions()
    dispatcher.register_function(lambda base, power: base**power, "pow")
    answer: Any = dispatcher._marshaled_dispatch(body)  # bytes, whatever the type says
    assert isinstance(answer, bytes)
    return answer


def json_rpc(body: bytes) -> bytes:
    call = json.loads(body)
    if "id" not in call:
        return b""
    params = call["params"]
    result = sum(params.values() if isinstance(params, dict) else params)
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()


PRINTED = {
    "aquests.grpc(": [
        "",
        "",
        "1",
        "NOT_FOUND: no such note",
        '[text: "HI"',
        "]",
        "number: 45",
        'text: "10"',
        'text: "hello"',
    ],
    "aquests.redis(": [
        "config get {'appendonly': 'no'} None",
        "incr None WRONGTYPE Operation against a key holding the wrong kind of value",
        "lrange ['apple', 'pear'] None",
        "rpush 3 None",
        "transaction ['OK', 2] None",
    ],
    "aquests.postgresql(": [
        "[] None",
        "[] None",
        "[{'most': 4.0, 'n': 2}] None",
        "[{'name': 'apple', 'price': 3.0}] None",
        "plum",
    ],
    "aquests.mongodb(": [
        "3 None",
        "{'n': 3, 'ids': [0, 1, 2]} None",
        "{'starting_from': 0, 'number_returned': 2, 'cursor_id': 0, "
        "'data': [{'_id': 1, 'total': 10}, {'_id': 2, 'total': 20}]} None",
    ],
    "def join(": ["/users/7 ordered for 12.5"],
    "aquests.ws(": ["1 hello", "2 ['one', b'two']"],
    "aquests.rpc(": [
        "1024 None",
        "3 None",
        "3 None",
        "None None",
        "['pow', 'system.listMethods', 'system.methodHelp', 'system.methodSignature'] None",
    ],
}
"""What blocks print, line by line, in no order."""
DATABASES: dict[str, Any] = {
    "127.0.0.1:6379": redis_server,
    "127.0.0.1:27017": mongodb_server,
    "127.0.0.1:5432": shop,
    "127.0.0.1:50051": grpc_servers,
}
"""Where blocks find a database, and what starts one: its ``place`` is put there."""
CALLS = {"/RPC2": xml_rpc, "/jsonrpc": json_rpc}


def block(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines())


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number: int, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF" * 50_000)

    def answer(request):
        if request.path in CALLS:
            return 200, [], CALLS[request.path](request.body)
        return 200, [("Content-Type", "application/json")], b'{"path": "%b"}' % request.target.split("?")[0].encode()

    with http_peer(answer) as peer, ScriptedPeer([*opens(), echoes()]) as echo, ExitStack() as stack:
        code = block(BLOCKS[number])
        for shown, start in DATABASES.items():  # first: another's port may begin like one of these
            if shown in code:
                code = code.replace(shown, stack.enter_context(start(tmp_path)).place)
        code = code.replace("http://127.0.0.1:5000/", peer.url)
        code = code.replace("ws://127.0.0.1:5000", f"ws://{echo.netloc}")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or "screen_logger" in code
    for says, printed in PRINTED.items():
        if says in code:
            assert sorted(done.stdout.splitlines()) == printed
    if "714" in BLOCKS[number]:  # not in the code that ran: a port may have these digits, too
        assert done.stdout.startswith("714 connection refused, 127.0.0.1:1\n{'714 Connection Failure': 1}")


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 8
