"""gRPC's codec: frames, metadata, timeouts, statuses."""

from __future__ import annotations

import gzip
import struct
import zlib
from base64 import b64encode
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import AquestsError, ProtocolError, RequestError, TooLarge
from aquests.exchange import Exchange, Request
from aquests.protocols import grpc as codec
from aquests.protocols.grpc import MAX_GOOD, CallCodec, Metadatum, RpcError, coding_of, frame, metadata_of, unframe
from aquests.protocols.h2head import VERSION
from aquests.protocols.http1head import Head
from aquests.settings import Settings
from aquests.version import __version__

Code = grpc.StatusCode
GRPC = (("content-type", "application/grpc"),)
OK = (("grpc-status", "0"),)


class Place:
    label = "h:1"


def answered(
    body: bytes = b"", trailers: Any = OK, headers: Any = GRPC, status: int = 200, many: bool = False, **options: Any
) -> Exchange:
    """An exchange whose answer has been decoded."""
    x = Request("POST", "http://h:1/p.S/M", endpoint=Place()).begin(0.0, Settings())
    x.head = Head(status, "", VERSION, tuple(headers))
    x.body, x.trailers = body, tuple(trailers)
    CallCodec(options.pop("deserialize", bytes), many, **options).decode(x)
    return x


# --- frames --------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300)), st.sampled_from(["identity", "gzip", "deflate"]))
def test_frames_there_and_back(messages: list[bytes], coding: str) -> None:
    assert unframe(b"".join([frame(message, coding) for message in messages]), coding, 300) == messages


def test_a_frame() -> None:
    assert frame(b"abc") == b"\0\0\0\0\3abc"
    assert frame(b"") == b"\0\0\0\0\0"


@pytest.mark.parametrize(("coding", "undo"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_messages_are_compressed_where_that_helps(coding: str, undo: Any) -> None:
    packed = frame(b"x" * 1000, coding)
    assert packed[0] == 1 and len(packed) < 100
    assert struct.unpack(">I", packed[1:5])[0] == len(packed) - 5
    assert undo(packed[5:]) == b"x" * 1000
    assert frame(b"xyz", coding) == frame(b"xyz")
    assert frame(b"", coding) == frame(b"")


def test_plain_and_compressed_messages_may_be_mixed() -> None:
    assert unframe(frame(b"a") + frame(b"b" * 99, "gzip") + frame(b"c"), "gzip", 99) == [b"a", b"b" * 99, b"c"]


BROKEN = [
    (b"\0", "identity", ProtocolError, "within the head"),
    (b"\0\0\0\0", "identity", ProtocolError, "within the head"),
    (b"\0\0\0\0\2x", "identity", ProtocolError, "after 1 of 2 bytes"),
    (frame(b"abc") + b"\0\0\0\0\1", "identity", ProtocolError, "after 0 of 1 bytes"),
    (b"\2\0\0\0\0", "identity", ProtocolError, "flagged 2"),
    (b"\1\0\0\0\1x", "identity", ProtocolError, "without grpc-encoding"),
    (b"\1\0\0\0\1x", "gzip", ProtocolError, "gzip"),
    (b"\1\0\0\0\1x", "snappy", ProtocolError, "unknown content coding 'snappy'"),
    (b"\0\0\0\0\x65" + bytes(101), "identity", TooLarge, "101 bytes is over max_message=100"),
    (b"\0\xff\xff\xff\xff", "identity", TooLarge, "4,294,967,295 bytes"),
    (frame(bytes(101), "gzip"), "gzip", TooLarge, "decompressed is over max_message=100"),
]


@pytest.mark.parametrize(("body", "coding", "kind", "says"), BROKEN)
def test_broken_frames(body: bytes, coding: str, kind: type[AquestsError], says: str) -> None:
    with pytest.raises(kind, match=says):
        unframe(body, coding, 100)
    x = answered(body, headers=(*GRPC, ("grpc-encoding", coding)), max_message=100)
    assert type(x.error) is kind and x.error.endpoint == "h:1" and x.data is None


@given(st.binary(max_size=200), st.sampled_from(["identity", "gzip", "deflate", "br", "zstd", "x,y", ""]))
def test_any_bytes_are_messages_or_a_typed_error(body: bytes, coding: str) -> None:
    try:
        assert isinstance(unframe(body, coding, 50), list)
    except (ProtocolError, TooLarge):
        pass


def test_cut_anywhere_else_a_body_is_broken() -> None:
    body = frame(b"one") + frame(b"two" * 50, "gzip") + frame(b"")
    whole = {0, 8, len(body) - 5, len(body)}
    for end in range(len(body) + 1):
        x = answered(body[:end], headers=(*GRPC, ("grpc-encoding", "gzip")), many=True)
        assert (x.error is None) == (end in whole), end


# --- what is sent --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (1e-12, "1n"),
        (0.05, "50000000n"),
        (0.1, "100000u"),
        (1, "1000000u"),
        (10, "10000000u"),
        (100, "100000m"),
        (1.5e8, "2500000M"),
        (1e9, "16666667M"),
        (1e300, "99999999H"),
        (float("inf"), "99999999H"),
    ],
)
def test_timeouts(seconds: float, value: str) -> None:
    assert codec.timeout_value(seconds) == value


@given(st.floats(1e-9, 1e11))
def test_a_timeout_has_eight_digits_and_is_never_shorter(seconds: float) -> None:
    value = codec.timeout_value(seconds)
    unit = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1, "M": 60, "H": 3600}[value[-1]]
    assert 1 <= int(value[:-1]) <= 99_999_999
    assert seconds * 0.999999 <= int(value[:-1]) * unit <= seconds * 1.001 + unit


def test_headers() -> None:
    pairs = codec.request_pairs([("X-Name", "v"), ("raw-bin", b"\0\xff")], 2.0, "gzip")
    assert dict(pairs) == {
        "content-type": "application/grpc+proto",
        "te": "trailers",
        "user-agent": f"aquests-grpc/{__version__}",
        "grpc-accept-encoding": "identity,gzip,deflate",
        "accept-encoding": None,
        "accept": None,
        "grpc-encoding": "gzip",
        "grpc-timeout": "2000000u",
        "x-name": "v",
        "raw-bin": "AP8",
    }
    assert not {"grpc-timeout", "grpc-encoding"} & dict(codec.request_pairs((), None, "identity")).keys()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("grpc-timeout", "1S", "gRPC's own"),
        ("Content-Type", "x", "gRPC's own"),
        ("te", "x", "gRPC's own"),
        (":path", "/", "is none"),
        ("a b", "x", "is none"),
        ("", "x", "is none"),
        (5, "x", "is none"),
        ("x-bin", "text", "must be bytes"),
        ("x", b"bytes", "must be ASCII text"),
        ("x", "ü", "must be ASCII text"),
        ("x", 5, "must be ASCII text"),
        ("x", "a\nb", "may not stand in a value"),
    ],
)
def test_metadata_that_cannot_be_sent(key: Any, value: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        codec.request_pairs([(key, value)], None, "identity")


@pytest.mark.parametrize(
    ("compression", "coding"),
    [
        (None, "identity"),
        (False, "identity"),
        ("identity", "identity"),
        (grpc.Compression.NoCompression, "identity"),
        (True, "gzip"),
        ("gzip", "gzip"),
        (grpc.Compression.Gzip, "gzip"),
        ("deflate", "deflate"),
        (grpc.Compression.Deflate, "deflate"),
    ],
)
def test_codings(compression: Any, coding: str) -> None:
    assert coding_of(compression) == coding


@pytest.mark.parametrize("compression", ["br", 7, object()])
def test_codings_that_are_none(compression: Any) -> None:
    with pytest.raises(RequestError, match="compression is"):
        coding_of(compression)


# --- what comes ----------------------------------------------------------------------------------------------


def test_metadata() -> None:
    pairs = [
        ("X-A", "1"),
        ("b-bin", "AP8"),
        ("b-bin", "AP8=, AA=="),
        ("c-bin", "?!"),
        ("grpc-status", "0"),
        ("x-a", "2"),
    ]
    assert metadata_of([*pairs, ("grpc-encoding", "gzip")]) == (
        ("x-a", "1"),
        ("b-bin", b"\0\xff"),
        ("b-bin", b"\0\xff"),
        ("b-bin", b"\0"),
        ("c-bin", "?!"),
        ("x-a", "2"),
    )
    assert metadata_of([("k", "v")])[0] == Metadatum(key="k", value="v")


@given(st.text(max_size=30))
def test_any_text_is_metadata(text: str) -> None:
    for _, value in metadata_of([("x-bin", text)]):
        assert isinstance(value, (str, bytes))


@given(st.binary(max_size=60))
def test_bytes_there_and_back(value: bytes) -> None:
    (_, sent) = codec.request_pairs([("x-bin", value)], None, "identity")[-1]
    assert metadata_of([("x-bin", sent)]) == (("x-bin", value),)


def test_one_message() -> None:
    x = answered(frame(b"hello"))
    assert (x.data, x.error) == (b"hello", None)


def test_many_messages() -> None:
    assert answered(frame(b"a") + frame(b"b"), many=True).data == [b"a", b"b"]
    x = answered(many=True)
    assert (x.data, x.error) == ([], None)


@pytest.mark.parametrize("body", [b"", frame(b"a") + frame(b"b")])
def test_a_method_that_gives_one_message_gives_one(body: bytes) -> None:
    x = answered(body)
    assert x.error.code() is Code.UNIMPLEMENTED and "messages in the answer" in x.error.details()
    assert x.data is None


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_statuses(code: grpc.StatusCode) -> None:
    x = answered(trailers=(("grpc-status", str(code.value[0])), ("grpc-message", "caf%C3%A9 100%25"), ("x-t", "1")))
    error = x.error
    assert isinstance(error, grpc.RpcError) and isinstance(error, RpcError)
    assert (error.code(), error.details()) == (code, "café 100%")
    assert str(error) == f"{code.name}: café 100%"
    assert error.trailing_metadata() == (("x-t", "1"),) and error.initial_metadata() == ()
    assert error.status is None and x.data is None


@pytest.mark.parametrize(
    ("fields", "code", "details"),
    [
        ([("grpc-status", "99")], Code.UNKNOWN, ""),
        ([("grpc-status", "9" * 50)], Code.UNKNOWN, ""),
        ([("Grpc-Status", "05")], Code.NOT_FOUND, ""),
        ([("grpc-status", "5"), ("grpc-message", "%zz%")], Code.NOT_FOUND, "%zz%"),
        ([("grpc-status", "5"), ("grpc-message", "%ff")], Code.NOT_FOUND, "\ufffd"),
        ([("x", "y")], Code.UNKNOWN, "the server sent no grpc-status"),
    ],
)
def test_odd_statuses(fields: Any, code: grpc.StatusCode, details: str) -> None:
    error = answered(trailers=fields).error
    assert (error.code(), error.details()) == (code, details)
    assert str(error) == (f"{code.name}: {details}" if details else code.name)


def test_zeroes_are_ok() -> None:
    assert answered(frame(b""), trailers=[("grpc-status", "00")]).error is None


@pytest.mark.parametrize("status", ["", "x", "-1", "1.0", "²"])
def test_a_status_that_is_no_number(status: str) -> None:
    x = answered(trailers=[("grpc-status", status)])
    assert isinstance(x.error, ProtocolError)


def test_trailers_only() -> None:
    x = answered(trailers=(), headers=(*GRPC, ("grpc-status", "7"), ("grpc-message", "no"), ("x-t", "1")))
    assert x.error.code() is Code.PERMISSION_DENIED
    assert (x.error.initial_metadata(), x.error.trailing_metadata()) == ((), (("x-t", "1"),))


def test_without_trailers_an_answer_was_cut() -> None:
    x = answered(frame(b"a"), trailers=(), headers=(*GRPC, ("grpc-status", "0")))
    assert x.error.code() is Code.UNKNOWN and "no grpc-status" in x.error.details()
    assert answered(trailers=()).error.code() is Code.UNKNOWN


def test_a_failure_keeps_the_messages_before_it() -> None:
    x = answered(frame(b"a"), trailers=[("grpc-status", "15")], many=True)
    assert x.error.code() is Code.DATA_LOSS and x.data == [b"a"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.INTERNAL),
        (401, Code.UNAUTHENTICATED),
        (403, Code.PERMISSION_DENIED),
        (404, Code.UNIMPLEMENTED),
        (429, Code.UNAVAILABLE),
        (500, Code.UNKNOWN),
        (502, Code.UNAVAILABLE),
        (503, Code.UNAVAILABLE),
        (504, Code.UNAVAILABLE),
        (302, Code.UNKNOWN),
    ],
)
def test_an_http_status_is_translated(status: int, code: grpc.StatusCode) -> None:
    x = answered(b"<html>", (), (("content-type", "text/html"),), status)
    assert x.error.code() is code and x.error.details() == f"the server sent HTTP status {status}"
    assert answered(b"", OK, GRPC, status).error.code() is code
    assert answered(b"", [("grpc-status", "5")], GRPC, status).error.code() is Code.NOT_FOUND


@pytest.mark.parametrize("kind", ["text/html", "application/grpc-web", "application/grpcx", ""])
def test_who_does_not_speak_grpc_is_told_so(kind: str) -> None:
    x = answered(b"<html>", (), [("content-type", kind)] if kind else ())
    assert x.error.code() is Code.UNKNOWN and "does not speak gRPC here" in x.error.details()


@pytest.mark.parametrize("kind", ["application/grpc+proto", "Application/GRPC", "application/grpc;x=y"])
def test_kinds_of_grpc(kind: str) -> None:
    assert answered(frame(b"a"), headers=[("content-type", kind)]).data == b"a"


def test_a_message_that_cannot_be_parsed() -> None:
    def deserialize(data: bytes) -> Any:
        raise KeyError("secret")

    x = answered(frame(b"a"), deserialize=deserialize)
    assert isinstance(x.error, ProtocolError) and str(x.error) == "a gRPC message cannot be parsed (KeyError), h:1"


def test_rich_details() -> None:
    from google.rpc.status_pb2 import Status

    raw = Status(code=5, message="gone").SerializeToString()
    fields = [("grpc-status", "5"), ("grpc-status-details-bin", b64encode(raw).decode())]
    assert answered(trailers=fields).error.status == Status(code=5, message="gone")
    error = answered(trailers=[("grpc-status", "5"), ("grpc-status-details-bin", "/////w")]).error
    with pytest.raises(ProtocolError, match="rich details"):
        _ = error.status


PAIRS = st.lists(
    st.tuples(
        st.sampled_from(
            ["grpc-status", "grpc-message", "grpc-encoding", "content-type", "x-bin", "grpc-status-details-bin"]
        ),
        st.text(max_size=12) | st.sampled_from(["0", "5", "gzip", "application/grpc"]),
    )
)


@given(st.binary(max_size=60), PAIRS, PAIRS, st.sampled_from([200, 200, 503]), st.booleans())
def test_any_answer_is_one(body: bytes, headers: Any, trailers: Any, status: int, many: bool) -> None:
    x = answered(body, trailers, headers, status, many)
    assert x.error is None or isinstance(x.error, (AquestsError, RpcError))
    initial, trailing = CallCodec(bytes, many).metadata(x)
    assert isinstance(initial, tuple) and isinstance(trailing, tuple)


# --- answers that are alike ----------------------------------------------------------------------------------


def test_what_was_judged_once_is_judged_again_where_it_differs() -> None:
    codec = CallCodec(bytes.decode, False, max_message=9)
    head = Head(200, "", VERSION, GRPC)

    def next_answer(body: bytes, trailers: Any = OK) -> Any:
        x = Request("POST", "http://h:1/p.S/M", endpoint=Place()).begin(0.0, Settings())
        x.head, x.body, x.trailers = head, body, trailers
        codec.decode(x)
        return x.data if x.error is None else x.error

    assert [next_answer(frame(text)) for text in (b"one", b"two", b"")] == ["one", "two", ""]
    refused = next_answer(frame(b"three"), (("grpc-status", "5"), ("grpc-message", "gone")))
    assert isinstance(refused, RpcError) and (refused.code(), refused.details()) == (Code.NOT_FOUND, "gone")
    for body, kind, says in [
        (frame(b"\xff"), ProtocolError, "cannot be parsed"),
        (frame(b"x" * 10), TooLarge, "max_message=9"),
        (b"\0\0\0\0\2x", ProtocolError, "after 1 of 2 bytes"),
        (b"\0\0", ProtocolError, "within the head"),
        (b"\2\0\0\0\0", ProtocolError, "flagged 2"),
        (b"\1\0\0\0\1x", ProtocolError, "without grpc-encoding"),
        (frame(b"a") + frame(b"b"), RpcError, "2 messages"),
        (b"", RpcError, ""),
    ]:
        error = next_answer(body)
        assert isinstance(error, kind) and says in str(error), body
    assert next_answer(frame(b"four")) == "four"


def told(x: Any) -> tuple[int, str, str, str]:
    return x.head.status, x.head.reason, x.head.lane, x.head.version


@pytest.mark.parametrize(
    ("given", "status", "reason"),
    [
        ({"body": frame(b"a")}, 200, ""),
        ({"body": frame(b"a") * 2, "many": True}, 200, ""),
        ({"body": frame(b"a") * 2}, 500, "UNIMPLEMENTED"),
        ({"trailers": [("grpc-status", "5")], "body": frame(b"a")}, 500, "NOT_FOUND"),
        ({"trailers": (), "headers": (*GRPC, ("grpc-status", "16"))}, 500, "UNAUTHENTICATED"),
        ({"trailers": (), "headers": (*GRPC, ("grpc-status", "14")), "status": 503}, 500, "UNAVAILABLE"),
        ({"trailers": [("grpc-status", "77")]}, 500, "UNKNOWN"),
        ({"trailers": (), "body": b"<html>", "headers": (), "status": 404}, 404, ""),
        ({"trailers": (), "body": b"<html>", "headers": (), "status": 200}, 500, "UNKNOWN"),
        ({"trailers": (), "headers": (), "status": 302}, 500, "UNKNOWN"),
        ({"body": b"\0\0"}, 200, ""),
    ],
)
def test_what_an_answer_counts_as(given: dict[str, Any], status: int, reason: str) -> None:
    assert told(answered(**given)) == (status, reason, "GRPC", VERSION)


def test_good_answers_share_a_head() -> None:
    codec = CallCodec(bytes, False)
    head = Head(200, "OK", VERSION, GRPC)
    found = []
    for trailers in (OK, OK, (("grpc-status", "5"),), OK):
        x = Request("POST", "http://h:1/p.S/M", endpoint=Place()).begin(0.0, Settings())
        x.head, x.body, x.trailers = head, frame(b"a"), trailers
        codec.decode(x)
        found.append(x)
    assert found[1].head is found[3].head and found[1].head is not head
    assert [told(x)[:2] for x in found] == [(200, "OK"), (200, "OK"), (500, "NOT_FOUND"), (200, "OK")]
    initial, trailing = codec.metadata(found[2])
    assert found[2].head is not None
    assert initial == () and trailing == () and found[2].head.headers["content-type"] == "application/grpc"


def test_heads_are_not_remembered_without_end() -> None:
    codec = CallCodec(bytes, False)
    for _ in range(3 * MAX_GOOD):
        x = Request("POST", "http://h:1/p.S/M", endpoint=Place()).begin(0.0, Settings())
        x.head, x.body, x.trailers = Head(200, "", VERSION, GRPC), frame(b"a"), OK
        codec.decode(x)
        assert x.data == b"a" and x.error is None
    assert len(codec._good) <= MAX_GOOD
