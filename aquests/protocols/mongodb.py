"""MongoDB as a wire: OP_MSG, several requests in flight by their requestID (at most ``pipeline``).

The opening is ``hello`` and, with credentials, SCRAM: several round trips inside ``opened`` and
``receive``, room stays 0 meanwhile. A drained cursor keeps its exchange in flight across getMores.

A server that is no primary refuses before it executes anything: such an answer is special, and
``review`` sends the exchange to the primary the wire knows of. A server that is stepping down may
have executed: that stays an answer. Nothing is sent twice that may have been executed.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Sequence
from hashlib import md5
from itertools import count
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.int64 import Int64

from ..errors import AquestsError, ConnectError, PeerClosed, ProtocolError, RequestError, TooLarge
from ..exchange import Exchange, Status, Trail
from ..version import __version__
from .mongomsg import (
    HEAD,
    MAX_BATCH,
    MAX_BSON,
    MAX_MESSAGE,
    MORE_TO_COME,
    NOT_PRIMARY,
    OVERHEAD,
    PLAIN,
    Command,
    encode_document,
    error_of,
    get_more,
    message,
    message_length,
    parse,
    result_of,
)

LANE: Final = "MONGODB"
OK: Final = Status(200, "OK", LANE)
FAILED: Final = Status(500, "Database Error", LANE)
ELSEWHERE: Final = Status(500, "Database Error", LANE, special=True)
_NOTHING: Final[tuple[Exchange, ...]] = ()
MAX_CURSORS: Final = 10_000
MAX_ROUNDS: Final = 8
"""SCRAM takes three; a server that asks on and on is refused."""


class Topology:
    """What is known of the servers behind a URI; shared by a stub and all its lines.

    ``primary`` is the address that said so last, ``cursors`` maps a kept cursor to (collection, address).
    """

    def __init__(self, hosts: Sequence[tuple[str, int]], replica_set: str | None):
        self.hosts = list(hosts)
        self.replica_set = replica_set
        self.primary: tuple[str, int] = self.hosts[0]
        self.cursors: dict[int, tuple[str, tuple[str, int]]] = {}

    def keep(self, cursor_id: int, collection: str, address: tuple[str, int]) -> None:
        """Remember where a kept cursor lives: only its own server can go on with it."""
        while len(self.cursors) >= MAX_CURSORS:
            del self.cursors[next(iter(self.cursors))]
        self.cursors[cursor_id] = (collection, address)

    def after(self, address: tuple[str, int]) -> tuple[str, int]:
        """The host to try when ``address`` cannot be used."""
        if address not in self.hosts:
            return self.hosts[0]
        return self.hosts[(self.hosts.index(address) + 1) % len(self.hosts)]


def lines(place: Any, prefix: str, extra: Any, settings: Any) -> Callable[[str | None], MongoDB]:
    """What makes the wires of lines to a server; ``place.options`` hold topology, credentials and pipeline."""
    return lambda alpn: MongoDB(place.options, (place.host, place.port))


class MongoDB:
    """The client side of one line."""

    def __init__(self, options: Any, address: tuple[str, int], nonce: Callable[[], str | None] = lambda: None):
        self.outbox: list[bytes] = []
        self.room = 0
        self.reusable = True
        self.error: AquestsError | None = None
        self.hungry = False
        self.begun: list[Exchange] = []
        self._topology: Topology = options["topology"]
        self._database: str = options["database"]
        self._credentials: tuple[str, str, str, str | None] | None = options.get("credentials")
        self._app: str = options.get("app", "aquests")
        self._pipeline: int = options.get("pipeline", 1)
        self._secondary: bool = options.get("secondary", False)
        self._address = address
        self._nonce = nonce
        self._ids = count(1)
        self._inflight: dict[int, Exchange] = {}
        self._documents: dict[int, list[Any]] = {}
        self._sizes: dict[int, int] = {}
        self._forgotten: set[int] = set()
        self._buffer = bytearray()
        self._opening = 0
        self._on_opening: Callable[[dict[str, Any]], None] = self._on_hello
        self._scram: Any = None
        self._rounds = 0
        self.max_bson = MAX_BSON
        self.max_message = MAX_MESSAGE
        self.max_batch = MAX_BATCH

    @property
    def inflight(self) -> Collection[Exchange]:
        return self._inflight.values()

    # The opening

    def opened(self) -> None:
        hello: dict[str, Any] = {
            "hello": 1,
            "helloOk": True,
            "client": {
                "application": {"name": self._app},
                "driver": {"name": "aquests", "version": __version__},
                "os": {"type": platform.system()},
            },
            "$db": "admin",
        }
        if self._credentials is not None:
            user, _, source, _ = self._credentials
            hello["saslSupportedMechs"] = f"{source}.{user}"
        self._ask(hello)

    def _ask(self, document: dict[str, Any]) -> None:
        self._opening = next(self._ids)
        self.outbox.append(message(self._opening, bson.encode(document)))

    def _on_hello(self, reply: dict[str, Any]) -> None:
        if not reply.get("ok"):
            raise ConnectError(f"the server refused hello ({reply.get('errmsg', 'no reason')})", phase="connect")
        self.max_bson = int(reply.get("maxBsonObjectSize") or MAX_BSON)
        self.max_message = int(reply.get("maxMessageSizeBytes") or MAX_MESSAGE)
        self.max_batch = int(reply.get("maxWriteBatchSize") or MAX_BATCH)
        topology = self._topology
        wanted, has = topology.replica_set, reply.get("setName")
        if wanted and has != wanted:
            raise ConnectError(f"the server belongs to the replica set {has!r}, not {wanted!r}", phase="connect")
        if reply.get("isWritablePrimary") or reply.get("ismaster"):
            topology.primary = self._address
        elif wanted and isinstance(reply.get("primary"), str):
            topology.primary = address_of(reply["primary"])
        if wanted:
            topology.hosts = [address_of(host) for host in reply.get("hosts") or ()] or topology.hosts
        if self._credentials is None:
            self._ready()
        else:
            self._begin_scram(reply.get("saslSupportedMechs") or ["SCRAM-SHA-256"])

    def _begin_scram(self, offered: list[str]) -> None:
        from scramp import ScramClient

        assert self._credentials is not None
        user, password, source, mechanism = self._credentials
        chosen = mechanism or next((name for name in ("SCRAM-SHA-256", "SCRAM-SHA-1") if name in offered), None)
        if chosen is None:
            raise ConnectError(f"the server offers {', '.join(offered)} only; SCRAM is known", phase="connect")
        if chosen == "SCRAM-SHA-1":  # MongoDB's own twist: the password is a digest
            password = md5(f"{user}:mongo:{password}".encode(), usedforsecurity=False).hexdigest()
        self._scram = ScramClient([chosen], user, password, c_nonce=self._nonce())
        self._on_opening = self._on_sasl
        self._ask(
            {
                "saslStart": 1,
                "mechanism": chosen,
                "payload": Binary(self._scram.get_client_first().encode()),
                "options": {"skipEmptyExchange": True},
                "$db": source,
            }
        )

    def _on_sasl(self, reply: dict[str, Any]) -> None:
        from scramp import ScramException

        assert self._credentials is not None
        self._rounds += 1
        if not reply.get("ok") or self._rounds > MAX_ROUNDS:
            raise ConnectError(f"the server refused the password ({reply.get('errmsg', 'no reason')})", phase="connect")
        payload = bytes(reply.get("payload") or b"").decode("utf-8", "replace")
        answer = b""
        try:
            if self._rounds == 1:
                self._scram.set_server_first(payload)
                answer = self._scram.get_client_final().encode()
            elif self._rounds == 2:
                self._scram.set_server_final(payload)  # proves that the server knows the password, too
        except (ScramException, ValueError, KeyError) as fault:
            raise ConnectError(f"the server failed to authenticate itself ({fault})", phase="connect") from None
        if reply.get("done") and self._rounds >= 2:
            self._ready()
            return
        source = self._credentials[2]
        conversation = reply.get("conversationId", 1)
        self._ask({"saslContinue": 1, "conversationId": conversation, "payload": Binary(answer), "$db": source})

    def _ready(self) -> None:
        self._opening = 0
        self.room = self._pipeline

    # Out

    def submit(self, x: Exchange) -> None:
        command: Command = x.payload
        if len(command.documents) > self.max_batch:
            raise RequestError(f"{len(command.documents):,} documents, the server takes {self.max_batch:,} at once")
        for encoded in command.documents:
            if len(encoded) > self.max_bson:
                raise RequestError(f"a document of {len(encoded):,} bytes, the server takes {self.max_bson:,}")
        document = dict(command.document)
        document.setdefault("$db", self._database)
        if self._secondary and command.reads:
            document["$readPreference"] = {"mode": "secondaryPreferred"}
        data = encode_document(document, "the command", self.max_bson + OVERHEAD)
        request_id = next(self._ids)
        packet = message(request_id, data, command.documents, command.field)
        if len(packet) > self.max_message:
            raise RequestError(f"a message of {len(packet):,} bytes, the server takes {self.max_message:,}: split it")
        self.outbox.append(packet)
        self._inflight[request_id] = x
        self.room -= 1

    # In

    def receive(self, data: bytes) -> Sequence[Exchange]:
        if self.error is not None:
            return _NOTHING
        buffer = self._buffer
        buffer += data
        finished: list[Exchange] = []
        at = 0
        try:
            while len(buffer) - at >= HEAD:
                length = message_length(buffer, at, MAX_MESSAGE + OVERHEAD)
                if len(buffer) - at < length:
                    break
                packet = bytes(buffer[at : at + length])
                at += length
                self._on_message(packet, finished)
        except AquestsError as error:
            self._broken(error, finished)
            return finished
        del buffer[:at]
        if buffer and self._inflight:
            oldest = next(iter(self._inflight.values()))
            if not oldest.progress:
                self.begun.append(oldest)
            oldest.progress += len(data)
        return finished

    def _on_message(self, packet: bytes, finished: list[Exchange]) -> None:
        response_to, flags, reply = parse(packet)
        if self._opening and response_to == self._opening:
            self._on_opening(reply)
            return
        if response_to in self._forgotten:
            self._forgotten.discard(response_to)
            self.room += 1
            return
        if response_to not in self._inflight:
            raise ProtocolError(f"an answer to request {response_to}, which was not asked", first=packet[:64])
        if flags & MORE_TO_COME:
            raise ProtocolError("more answers announced to a request that takes one", first=packet[:64])
        x = self._inflight.pop(response_to)
        if self._answer(x, response_to, reply, len(packet)):
            self.room += 1
            finished.append(x)
            if x in self.begun:  # it began and ended in one read
                self.begun.remove(x)

    def _answer(self, x: Exchange, request_id: int, reply: dict[str, Any], size: int) -> bool:
        """Fill the exchange; False if its cursor goes on."""
        command: Command = x.payload
        documents = self._documents.pop(request_id, [])
        size += self._sizes.pop(request_id, 0)
        error = error_of(command, reply)
        cursor = reply.get("cursor") or {}
        documents += cursor.get("firstBatch") or cursor.get("nextBatch") or ()
        cursor_id = int(cursor.get("id") or 0)
        if error is None and size > x.max_content:
            x.error = TooLarge(f"the answer is over max_content={x.max_content:,} bytes", phase="answer")
            self._kill(cursor_id, command)
            return True
        if error is None and cursor_id and command.drain:
            self._go_on(x, cursor_id, documents, size)
            return False
        if error is not None:
            refused = reply.get("code") in NOT_PRIMARY and not reply.get("ok")
            x.head = ELSEWHERE if refused and self._topology.replica_set else FAILED
            x.error = error
        else:
            x.head = OK
            if cursor_id:
                self._topology.keep(cursor_id, command.collection, self._address)
        x.data = result_of(command, reply, documents)
        return True

    def _go_on(self, x: Exchange, cursor_id: int, documents: list[Any], size: int) -> None:
        request_id = next(self._ids)
        more = get_more(cursor_id, x.payload.collection, x.payload.document.get("$db", self._database))
        self.outbox.append(message(request_id, bson.encode(more, codec_options=PLAIN)))
        self._inflight[request_id] = x
        self._documents[request_id] = documents
        self._sizes[request_id] = size
        if not x.progress:
            self.begun.append(x)
        x.progress += 1

    def _kill(self, cursor_id: int, command: Command) -> None:
        """Let go of a cursor; no answer is wanted."""
        if cursor_id:
            kill = {"killCursors": command.collection, "cursors": [Int64(cursor_id)], "$db": self._database}
            self.outbox.append(message(next(self._ids), bson.encode(kill), flags=MORE_TO_COME))

    def receive_eof(self) -> Sequence[Exchange]:
        if self.error is None and not self.room and not self._inflight:
            self.error = PeerClosed("the server closed the line while it was opened", phase="connect")
        return self.abandon(PeerClosed("the server closed the line before the answer", phase="answer"))

    def produce(self) -> Sequence[Exchange]:
        return _NOTHING

    # The end

    def cancel(self, x: Exchange) -> bool:
        """The late answer is swallowed when it comes."""
        for request_id, other in self._inflight.items():
            if other is x:
                del self._inflight[request_id]
                self._documents.pop(request_id, None)
                self._sizes.pop(request_id, None)
                self._forgotten.add(request_id)
                return True
        return False

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        finished: list[Exchange] = []
        self._broken(error, finished)
        self.error = self.error if self.error is not error else None
        return finished

    def goodbye(self) -> None:
        """MongoDB has no words for it."""

    def _broken(self, error: AquestsError, finished: list[Exchange]) -> None:
        self.error = self.error or error
        self.room = 0
        self.reusable = False
        self.outbox.clear()
        self._buffer.clear()
        for x in self._inflight.values():
            x.error = error
            finished.append(x)
        self._inflight.clear()
        self._documents.clear()


def address_of(text: str) -> tuple[str, int]:
    """``host:port`` as ``hello`` writes it, IPv6 in brackets."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]").lower(), int(port)) if port.isdigit() and host else (text.lower(), 27017)


def review(x: Exchange, elsewhere: Callable[[str, int], Any]) -> Exchange | None:
    """A server that is no primary refused: once more at the primary, or at the next host to find it."""
    topology: Topology = x.endpoint.options["topology"]
    here = (x.endpoint.host, x.endpoint.port)
    trail = x.trail
    if trail is not None and trail.rounds >= len(topology.hosts) + 1:
        return None
    there = topology.primary if topology.primary != here else topology.after(here)
    again = x.again()
    again.trail = trail or Trail()
    again.trail.rounds += 1
    again.endpoint = elsewhere(*there)
    if there == topology.after(here):
        topology.primary = there
        again.delay = 0.05  # an election takes its time
    return again
