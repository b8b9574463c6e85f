"""What a response shows of an HTTP head when another protocol rides on it."""

from __future__ import annotations

import pytest

from aquests.protocols.http1head import Head
from aquests.protocols.rpchead import FAILED, RpcHead


@pytest.mark.parametrize("status", [200, 204, 404, 503])
@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_without_a_verdict_http_is_right(status: int, version: str) -> None:
    head = RpcHead(Head(status, "Said", version, ()), "LANE")
    assert (head.status, head.reason, head.version, head.lane, head.special) == (status, "Said", version, "LANE", False)


@pytest.mark.parametrize("status", [200, 204, 404, 503])
def test_a_verdict_counts_as_500(status: int) -> None:
    head = RpcHead(Head(status, "Said", "1.1", ()), "LANE", "Fault")
    assert (head.status, head.reason, head.version, head.lane) == (FAILED, "Fault", "1.1", "LANE")


def test_headers_are_those_of_http_and_parsed_late() -> None:
    http = Head(200, "OK", "1.1", (("Set-Cookie", "a=b"), ("set-cookie", "c=d")))
    head = RpcHead(http, "LANE")
    assert http._headers is None
    assert head.headers is http.headers and head.headers.get_all("Set-Cookie") == ["a=b", "c=d"]


def test_what_is_special_stays_so() -> None:
    assert RpcHead(Head(302, "Found", "1.1", ()), "LANE").special
