"""JSON-RPC 2.0 as a codec on HTTP: one call or notification a request (https://www.jsonrpc.org/specification).

Liberal in what the many servers say (any content type, no ``"jsonrpc"``, a null ``error`` beside the result, an error
with HTTP 500), strict where an answer could be somebody else's: its ``id`` must be that of the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count
from json import JSONDecoder, JSONEncoder, loads
from typing import TYPE_CHECKING, Any, Final

from ..errors import JsonRpcError, ProtocolError, RedirectError, RequestError
from .rpchead import RpcHead, foreign

if TYPE_CHECKING:
    from ..exchange import Exchange

CONTENT_TYPE: Final = "application/json"

_numbers = count(1)
_json: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Made once: ``json.dumps`` makes another one for each call, for 9,000 of its 30,000 user instructions."""
_parsed: Final = JSONDecoder().decode


@lru_cache(256)
def _opening(method: str) -> str:
    return f'{{"jsonrpc":"2.0","method":{_json(method)}'


@lru_cache(16)
def _told(head: Any) -> RpcHead:
    """The head of a good answer as ours: most servers say the same one for a second."""
    return RpcHead(head, JsonRpc.lane)


def encode(method: str, params: Sequence[Any] | Mapping[str, Any], *, notify: bool = False) -> tuple[bytes, JsonRpc]:
    """The body of a call, and the codec that reads its answer; ``notify``: the server shall not answer.

    Raises RequestError for what JSON cannot carry.
    """
    number = None if notify else next(_numbers)
    try:
        given = f',"params":{_json(params)}' if params else ""
        text = f"{_opening(method)}{given}}}" if number is None else f'{_opening(method)}{given},"id":{number}}}'
        return text.encode(), JsonRpc(number)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"{method}: the parameters cannot be sent as JSON: {error}") from error


class JsonRpc:
    """The codec of one call: ``number`` is its id, None for a notification."""

    __slots__ = ("number",)

    lane = "JSON-RPC"

    def __init__(self, number: int | None):
        self.number = number

    def decode(self, x: Exchange) -> None:
        """``data`` is the result; ``error`` a JsonRpcError, or an AquestsError where it is no answer to this call.

        An error object counts as 500 "Error", whatever HTTP says; else HTTP's status stands.
        """
        head: Any = x.head
        error: Any = None
        if 300 <= head.status < 400:
            error = RedirectError(f"the call was answered by {head.status} {head.reason}, not by a result")
        else:
            try:
                x.data = self._result(x.body)
            except JsonRpcError as refusal:
                error = refusal
            except ProtocolError as malformed:
                # A page that says 404 or 502 is an HTTP answer, and a notification needs none.
                if head.status < 300 and not (self.number is None and not x.body.strip()):
                    malformed.message += foreign(head, "json")
                    error = malformed
        if isinstance(error, (ProtocolError, RedirectError)):
            error.endpoint = x.endpoint.label
        x.error = error
        x.head = RpcHead(head, self.lane, "Error") if isinstance(error, JsonRpcError) else _told(head)

    def _result(self, body: bytes) -> Any:
        try:
            try:
                answer = _parsed(body.decode())
            except ValueError:  # another encoding, a byte order mark, or no JSON
                answer = loads(body)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"not a JSON-RPC answer: {error}", first=body[:64]) from error
        if not isinstance(answer, dict):
            raise ProtocolError("a JSON-RPC answer must be an object", first=body[:64])
        number = answer.get("id")
        refusal = answer.get("error")
        if self.number is None and refusal is None:
            return None
        # An error whose id the server could not read has the id null (section 5).
        if (number != self.number or isinstance(number, bool)) and not (number is None and refusal is not None):
            raise ProtocolError(f"the answer has the id {number!r:.40}, the call had {self.number}", first=body[:64])
        if refusal is not None:
            raise _refusal(refusal, body)
        if "result" not in answer:
            raise ProtocolError("a JSON-RPC answer with neither result nor error", first=body[:64])
        return answer["result"]


def _refusal(said: Any, body: bytes) -> JsonRpcError:
    """The error object as an exception; servers before 2.0 send any value."""
    if not isinstance(said, dict):
        return JsonRpcError(0, said if isinstance(said, str) else repr(said), said)
    code, message = said.get("code"), said.get("message")
    if not isinstance(code, int) or not isinstance(message, str):
        raise ProtocolError("a JSON-RPC error without code and message", first=body[:64])
    return JsonRpcError(code, message, said.get("data"))
