"""The servers of ``aquests demo``: one child process, with all of them in it or below it.

Granian answers for HTTP/1.1, WebSocket and XML-RPC on one port, and for HTTP/2 over TLS on another; grpcio answers
on a third; databases are programs of this machine (demodatabases.py). When all are there, one line of
JSON on stdout tells where, and which are not there and why. It ends when its standard input does: the system closes
that pipe however its parent ends, killed too.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Awaitable, Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from .demodatabases import DATABASES, HOST, Room, Where, accepts, start

PAGE: Final = b"aquests, a page of the demo's server.\n".ljust(4095, b".") + b"\n"
"""4096 bytes: what every GET is answered with."""
BACKLOG: Final = 4096
"""Connections that may wait to be accepted: all workers come at once."""
SERVICE: Final = "aquests.demo.Echo"
STEP: Final = 0.01
"""Seconds between two looks at a server that is starting."""


def message_class() -> Any:
    """``aquests.demo.Message`` with one text, and in its pool the service with one method, ``Say``, from it to it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="aquests/demo.proto", package="aquests.demo", syntax="proto3")
    text = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="Message").field.add(
        name="text", number=1, type=text.TYPE_STRING, label=text.LABEL_OPTIONAL
    )
    kind = ".aquests.demo.Message"
    file.service.add(name="Echo").method.add(name="Say", input_type=kind, output_type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aquests.demo.Message"))


def add(left: Any, right: Any) -> Any:
    """The method of the XML-RPC server."""
    return left + right


async def app(scope: Any, protocol: Any) -> None:
    """Granian's application (RSGI)."""
    if scope.proto == "ws":
        await _echo(await protocol.accept())
    elif scope.path == "/RPC2":
        protocol.response_bytes(200, [("content-type", "text/xml")], _call(await protocol()))
    else:
        protocol.response_bytes(200, [("content-type", "text/plain")], PAGE)


async def _echo(line: Any) -> None:
    from granian.rsgi import WebsocketMessageType  # what granian sends are plain numbers

    while True:
        message = await line.receive()
        if message.kind == WebsocketMessageType.string:
            await line.send_str(message.data)
        elif message.kind == WebsocketMessageType.bytes:
            await line.send_bytes(message.data)
        else:
            return


def _call(body: bytes) -> bytes:
    from xmlrpc.client import Fault, dumps, loads

    arguments, method = loads(body)
    answer: Any = (add(*arguments),) if method == "add" else Fault(1, f"no method {method}")
    return dumps(answer, methodresponse=True).encode()


def _granian(port: int, http: str, **options: Any) -> Awaitable[None]:
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    server = Server(
        app,
        address=HOST,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes(http),
        backlog=BACKLOG,
        websockets=http == "1",
        log_enabled=False,
        **options,
    )
    serving: Awaitable[None] = server.serve()
    return serving


def _certificate(directory: Path) -> tuple[str, dict[str, Path]]:
    """An authority of our own as PEM text, and granian's options for a certificate it has issued."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    cert, key = directory / "cert.pem", directory / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    return authority.cert_pem.bytes().decode(), {"ssl_cert": cert, "ssl_key": key}


async def _grpc() -> tuple[Any, int]:
    """The gRPC server and its port."""
    import grpc

    message = message_class()

    async def say(request: Any, context: Any) -> Any:
        return request

    handler = grpc.unary_unary_rpc_method_handler(say, message.FromString, message.SerializeToString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Say": handler}),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    return server, port


async def _serve(ports: tuple[int, int], wanted: Collection[str], room: Room, found: Where, absent: Where) -> None:
    """Start what lives in this process, say where everything is, and serve until standard input ends."""
    import asyncio

    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, over.set)  # nothing is ever sent: it is the end
    web, tls = ports
    serving = {web: asyncio.ensure_future(_granian(web, "1"))}
    found["HTTP/1.1"] = {"url": f"http://{HOST}:{web}/"}
    found["WebSocket"] = {"url": f"ws://{HOST}:{web}/"}
    found["XML-RPC"] = {"url": f"http://{HOST}:{web}/RPC2"}
    if "HTTP/2" in wanted:
        if find_spec("trustme") is None:
            absent["HTTP/2"] = "no certificate: pip install trustme"
        else:
            authority, options = _certificate(room.path)
            serving[tls] = asyncio.ensure_future(_granian(tls, "2", **options))
            found["HTTP/2"] = {"url": f"https://{HOST}:{tls}/", "ca": authority}
    echo = None
    if "gRPC" in wanted:
        if find_spec("grpc") is None:
            absent["gRPC"] = "no server found: pip install grpcio"
        else:
            echo, port = await _grpc()
            found["gRPC"] = {"url": f"http://{HOST}:{port}/{SERVICE}"}
    for port, future in serving.items():
        while not accepts(port):
            if future.done():
                await future  # it raises
                raise SystemExit(f"the server on port {port} ended")
            await asyncio.sleep(STEP)
    print(json.dumps({"found": {name: found[name] for name in wanted if name in found}, "absent": absent}), flush=True)
    await over.wait()
    if echo is not None:
        await echo.stop(None)


def _pause(seconds: float) -> None:
    """Wait, unless standard input ends meanwhile: then there is nobody to serve."""
    if select.select([0], [], [], seconds)[0]:
        raise SystemExit


def _on_signal(number: int, frame: Any) -> None:
    raise SystemExit


def main(web: str, tls: str, *wanted: str) -> None:
    """Serve on these ports; ``wanted`` are the names of the stages."""
    from asyncio import run

    signal.signal(signal.SIGTERM, _on_signal)
    with Room() as room:
        # Programs first: there must be no threads yet when they are told to end with us.
        found, absent = start(room, {name: DATABASES[name] for name in DATABASES if name in wanted}, _pause)
        found["SQLite"] = {"path": str(room.path / "demo.sqlite3")}
        run(_serve((int(web), int(tls)), wanted, room, found, absent))
    os._exit(0)  # granian's threads have nothing that would have to be brought to an end


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C may reach us too; our parent decides
    main(*sys.argv[1:])
