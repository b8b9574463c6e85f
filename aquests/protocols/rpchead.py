"""The head of an HTTP answer as the protocol on top tells it: by its own name, and with its own verdict.

Reports count by a head's ``lane`` and ``status``: with one of these a gRPC status, an XML-RPC fault and a JSON-RPC
error are counted as what they are, and neither the engine nor the report knows of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..exchange import Head
    from ..headers import Headers

FAILED: Final = 500
"""What an answer that is the protocol's own error counts as, whatever HTTP says: as for databases."""


class RpcHead:
    """``head`` under another name; may be shared by answers that are alike, as ``head`` is.

    ``verdict``: the name of the protocol's own error, which is shown as 500; empty: what HTTP says stands. The
    version stays the wire's.
    """

    __slots__ = ("_head", "lane", "reason", "special", "status", "version")

    def __init__(self, head: Head, lane: str, verdict: str = ""):
        self._head = head
        self.lane = lane
        self.status = FAILED if verdict else head.status
        self.reason = verdict or head.reason
        self.version = head.version
        self.special = head.special

    @property
    def headers(self) -> Headers:
        """HTTP's; they are parsed when first asked for."""
        return self._head.headers


def foreign(head: Head, kind: str) -> str:
    """A hint behind what is wrong with an answer, if it says itself that it is not of this ``kind``, as in "xml"."""
    said = (head.headers.get("content-type") or "").partition(";")[0].strip()
    return "" if kind in said.lower() else f"; it is {said[:40] or 'of no type'}: is the path of the URL right?"
