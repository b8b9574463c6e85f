"""MongoDB as a wire: OP_MSG, several requests in flight by their requestID (at most ``pipeline``).

The opening is ``hello`` and, with credentials, SCRAM: several round trips inside ``opened`` and
``receive``, room stays 0 meanwhile. A drained cursor keeps its exchange in flight across getMores.

A server that is no primary refuses before it executes anything: such an answer is special, and goes to another host
(see ``mongohosts``). A server that is stepping down may have executed: for what writes that stays an answer.
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
from ..exchange import Exchange, Status
from ..version import __version__
from .base import NO_EXCHANGES, BaseWire, fail
from .mongohosts import AccessRefused, Topology, review
from .mongomsg import (
    CURSOR_NOT_FOUND,
    FRONT,
    HEAD,
    MAX_BATCH,
    MAX_BSON,
    MAX_MESSAGE,
    MORE_TO_COME,
    NOT_PRIMARY,
    OVERHEAD,
    PLAIN,
    RECOVERING,
    Command,
    error_of,
    fine,
    get_more,
    message,
    message_length,
    parse,
    result_of,
)

__all__ = ("MongoDB", "lines", "review")

LANE: Final = "MONGODB"
OK: Final = Status(200, "OK", LANE)
FAILED: Final = Status(500, "Database Error", LANE)
ELSEWHERE: Final = Status(500, "Database Error", LANE, special=True)
MAX_ROUNDS: Final = 8
"""SCRAM takes three; a server that asks on and on is refused."""


def lines(place: Any, prefix: str, extra: Any, settings: Any) -> Callable[[str | None], MongoDB]:
    """What makes the wires of lines to a server; ``place.options`` hold topology, credentials and pipeline."""
    return lambda alpn: MongoDB(place.options, (place.host, place.port))


class MongoDB(BaseWire):
    """The client side of one line."""

    __slots__ = (
        "_address",
        "_app",
        "_buffer",
        "_credentials",
        "_database",
        "_documents",
        "_forgotten",
        "_ids",
        "_inflight",
        "_kills",
        "_nonce",
        "_on_opening",
        "_opening",
        "_pipeline",
        "_rounds",
        "_scram",
        "_topology",
        "_wanted",
        "max_batch",
        "max_bson",
        "max_message",
    )

    def __init__(self, options: Any, address: tuple[str, int], nonce: Callable[[], str | None] = lambda: None):
        super().__init__()
        self._topology: Topology = options["topology"]
        self._database: str = options["database"]
        self._credentials: tuple[str, str, str, str | None] | None = options.get("credentials")
        self._app: str = options.get("app", "aquests")
        self._pipeline: int = options.get("pipeline", 1)
        self._address = address
        self._nonce = nonce
        self._ids = count(1)
        self._inflight: dict[int, Exchange] = {}
        self._documents: dict[int, tuple[list[Any], int]] = {}
        """Of cursors that are drained: what came so far, and how many bytes that was."""
        self._forgotten: set[int] = set()
        self._kills: set[int] = set()
        self._buffer = bytearray()
        self._wanted = 0
        self._opening = 0
        self._on_opening: Callable[[MongoDB, dict[str, Any]], None] = MongoDB._on_hello
        """Who takes the next answer of the opening; the plain function, since a bound one would make a ring."""
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
        self._topology.learn(self._address, reply)
        if self._credentials is None:
            self._ready()
        else:
            self._begin_scram(reply.get("saslSupportedMechs") or ["SCRAM-SHA-256"])

    def _begin_scram(self, offered: list[str]) -> None:
        from scramp import ScramClient, ScramException

        assert self._credentials is not None
        user, password, source, mechanism = self._credentials
        chosen = mechanism or next((name for name in ("SCRAM-SHA-256", "SCRAM-SHA-1") if name in offered), None)
        if chosen is None:
            raise AccessRefused(f"the server offers {', '.join(offered)} only; SCRAM is known", phase="connect")
        if chosen == "SCRAM-SHA-1":  # MongoDB's own twist: the password is a digest
            password = md5(f"{user}:mongo:{password}".encode(), usedforsecurity=False).hexdigest()
        try:
            self._scram = ScramClient([chosen], user, password, c_nonce=self._nonce())
            first = self._scram.get_client_first().encode()
        except ScramException as fault:  # RFC 4013; the word behind the colon is the server's, who has said nothing
            words = f"SCRAM cannot take this user or password ({str(fault).partition(':')[0]})"
            raise AccessRefused(words, phase="connect") from None
        self._on_opening = MongoDB._on_sasl
        self._ask(
            {
                "saslStart": 1,
                "mechanism": chosen,
                "payload": Binary(first),
                "options": {"skipEmptyExchange": True},
                "$db": source,
            }
        )

    def _on_sasl(self, reply: dict[str, Any]) -> None:
        from scramp import ScramException

        assert self._credentials is not None
        self._rounds += 1
        if not reply.get("ok") or self._rounds > MAX_ROUNDS:
            words = f"the server refused the password ({reply.get('errmsg', 'no reason')})"
            raise AccessRefused(words, phase="connect")
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
        data, documents = command.data, command.documents
        size = FRONT + len(data)
        if documents:
            size += self._checked(documents)
        if len(data) > self.max_bson + OVERHEAD:
            raise RequestError(f"a command of {len(data):,} bytes, the server takes {self.max_bson:,}: split it")
        if size > self.max_message:
            raise RequestError(f"a message of {size:,} bytes, the server takes {self.max_message:,}: split it")
        request_id = next(self._ids)
        self.outbox.append(message(request_id, data, documents, command.field))
        self._inflight[request_id] = x
        self.room -= 1

    def _checked(self, documents: Sequence[bytes]) -> int:
        """The bytes of documents that travel beside a command. Raises RequestError if the server takes no such."""
        if len(documents) > self.max_batch:
            raise RequestError(f"{len(documents):,} documents, the server takes {self.max_batch:,} at once")
        largest = max(map(len, documents))
        if largest > self.max_bson:
            raise RequestError(f"a document of {largest:,} bytes, the server takes {self.max_bson:,}")
        return sum(map(len, documents))

    # In

    def receive(self, data: bytes) -> Sequence[Exchange]:
        """The hot path: nearly always ``data`` is one whole message."""
        if self.error is not None:
            return NO_EXCHANGES
        buffer, came = self._buffer, len(data)
        if buffer:
            buffer += data
            if len(buffer) < self._wanted:
                self._note_progress(came)
                return NO_EXCHANGES
            data = bytes(buffer)
            buffer.clear()
        finished: list[Exchange] = []
        at, end = 0, len(data)
        self._wanted = HEAD
        try:
            while end - at >= HEAD:
                stop = at + message_length(data, at, MAX_MESSAGE + OVERHEAD)
                if stop > end:
                    self._wanted = stop - at
                    break
                self._on_message(data, at, stop, finished)
                at = stop
        except AquestsError as error:
            self.error = error
            return [*finished, *self.abandon(error)]
        if at < end:
            buffer += data[at:]
            self._note_progress(came)
        return finished

    def _note_progress(self, came: int) -> None:
        """A part of an answer is here: that of the oldest request, most likely."""
        for oldest in self._inflight.values():
            if not oldest.progress:
                self.begun.append(oldest)
            oldest.progress += came
            break

    def _on_message(self, data: bytes, at: int, stop: int, finished: list[Exchange]) -> None:
        response_to, flags, reply = parse(data, at, stop)
        x = self._inflight.get(response_to)
        try:
            if x is None:
                self._on_other(response_to, reply, data[at : at + 64])
                return
            if flags & MORE_TO_COME:
                raise ProtocolError("more answers announced to a request that takes one", first=data[at : at + 64])
            more = self._answer(x, response_to, reply, stop - at)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as fault:
            raise ProtocolError(f"an answer that makes no sense ({fault!r})", first=data[at : at + 64]) from fault
        del self._inflight[response_to]
        if more:
            return
        self.room += 1
        finished.append(x)
        if self.begun and x in self.begun:  # it began and ended in one read
            self.begun.remove(x)

    def _on_other(self, response_to: int, reply: dict[str, Any], first: bytes) -> None:
        """A message that answers no request of a user."""
        if self._opening and response_to == self._opening:
            self._on_opening(self, reply)
        elif response_to in self._forgotten:
            self._forgotten.discard(response_to)
            self.room += 1
            cursor = reply.get("cursor") or {}
            self._kill(int(cursor.get("id") or 0), str(cursor.get("ns")).partition(".")[2])
        elif response_to in self._kills:
            self._kills.discard(response_to)
        else:
            raise ProtocolError(f"an answer to request {response_to}, which was not asked", first=first)

    def _answer(self, x: Exchange, request_id: int, reply: dict[str, Any], size: int) -> bool:
        """Fill the exchange; True if its cursor goes on."""
        command: Command = x.payload
        is_fine = fine(reply)
        cursor_id = 0
        if command.shape != "cursor":
            x.data = result_of(command, reply)
        else:
            documents: list[Any] = []
            if "cursor" in reply:
                cursor = reply["cursor"]
                cursor_id = int(cursor["id"])
                documents = cursor["firstBatch"] if "firstBatch" in cursor else cursor["nextBatch"]
            if request_id in self._documents:
                earlier, read = self._documents.pop(request_id)
                earlier += documents
                documents, size = earlier, size + read
            if cursor_id and command.drain and is_fine and size <= x.max_content:
                self._go_on(x, cursor_id, documents, size)
                return True
            x.data = _batch(command, cursor_id, documents)
        if size > x.max_content and is_fine:
            x.data = None
            x.error = TooLarge(f"the answer is over max_content={x.max_content:,} bytes", phase="answer")
            self._kill(cursor_id, command.collection)
        elif is_fine:
            x.head = OK
            if cursor_id:
                self._topology.keep(cursor_id, command.collection, self._address)
            elif command.cursor is not None:
                self._topology.cursors.pop(command.cursor, None)
        else:
            self._refused(x, command, reply)
        return False

    def _refused(self, x: Exchange, command: Command, reply: dict[str, Any]) -> None:
        """The server says no: pymongo's own error, or a case for another host."""
        code = None if reply.get("ok") else reply.get("code")
        elsewhere = code in NOT_PRIMARY or (code in RECOVERING and command.reads)
        error = error_of(command, reply)
        x.head = OK if error is None else ELSEWHERE if elsewhere and self._topology.several else FAILED
        x.error = error
        if command.cursor is not None and code == CURSOR_NOT_FOUND:
            self._topology.cursors.pop(command.cursor, None)

    def _go_on(self, x: Exchange, cursor_id: int, documents: list[Any], size: int) -> None:
        request_id = next(self._ids)
        more = get_more(cursor_id, x.payload.collection, self._database)
        self.outbox.append(message(request_id, bson.encode(more, codec_options=PLAIN)))
        self._inflight[request_id] = x
        self._documents[request_id] = (documents, size)
        if not x.progress:
            self.begun.append(x)
        x.progress += 1

    def _kill(self, cursor_id: int, collection: str) -> None:
        """Let go of a cursor. An answer is asked for, and not looked at: not all servers can keep from answering."""
        if cursor_id:
            request_id = next(self._ids)
            kill = {"killCursors": collection, "cursors": [Int64(cursor_id)], "$db": self._database}
            self.outbox.append(message(request_id, bson.encode(kill)))
            self._kills.add(request_id)

    def receive_eof(self) -> Sequence[Exchange]:
        if self.error is None and not self.room and not self._inflight:
            self.error = PeerClosed("the server closed the line while it was opened", phase="connect")
        return self.abandon(PeerClosed("the server closed the line before the answer", phase="answer"))

    # The end

    def cancel(self, x: Exchange) -> bool:
        """With others in flight its late answer is swallowed; alone it ends the line: nobody knows when that comes."""
        if len(self._inflight) < 2:
            return False
        for request_id, other in self._inflight.items():
            if other is x:
                del self._inflight[request_id]
                self._documents.pop(request_id, None)
                self._forgotten.add(request_id)
                return True
        return False

    def abandon(self, error: AquestsError) -> Sequence[Exchange]:
        lost = list(self._inflight.values())
        self._inflight.clear()
        self._documents.clear()
        self._buffer.clear()
        self._end()
        return fail(lost, error)


def _batch(command: Command, cursor_id: int, documents: list[Any]) -> dict[str, Any]:
    return {
        "starting_from": command.start,
        "number_returned": len(documents),
        "cursor_id": cursor_id,
        "data": documents,
    }
