from __future__ import annotations

import copy
import enum
import pickle
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests.errors import RequestError
from aquests.headers import Headers, encode_block, request_headers

bounded = settings(max_examples=200, deadline=None, derandomize=True)

RAW = (
    ("Content-Type", "text/html"),
    ("Set-Cookie", "a=1; Expires=Thu, 01 Jan 2037 00:00:00 GMT"),
    ("VARY", "accept"),
    ("set-cookie", "b=2"),
    ("Vary", "cookie"),
    ("X-Empty", ""),
)


# -- the view ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("content-type", ["text/html"]),
        ("CONTENT-TYPE", ["text/html"]),
        ("vary", ["accept", "cookie"]),
        ("Set-Cookie", ["a=1; Expires=Thu, 01 Jan 2037 00:00:00 GMT", "b=2"]),
        ("x-empty", [""]),
    ],
)
def test_look_up_is_case_blind(name, values):
    headers = Headers(RAW)
    assert headers[name] == ", ".join(values)
    assert headers.get(name) == ", ".join(values)
    assert headers.get_all(name) == values
    assert name in headers


@pytest.mark.parametrize("name", ["absent", "", "content_type", "content-type "])
def test_absent_names(name):
    headers = Headers(RAW)
    with pytest.raises(KeyError, match=repr(name)):
        headers[name]
    assert headers.get(name) is None
    assert headers.get(name, default="x") == "x"
    assert headers.get_all(name) == []
    assert name not in headers


@pytest.mark.parametrize("key", [None, 5, b"vary"])
def test_a_key_that_is_no_str_is_absent(key):
    headers = Headers(RAW)
    assert key not in headers
    assert headers.get(key) is None
    with pytest.raises(KeyError):
        headers[key]


def test_get_all_gives_a_list_of_its_own():
    headers = Headers(RAW)
    headers.get_all("vary").append("x")
    assert headers.get_all("vary") == ["accept", "cookie"]


def test_iteration_counts_names_and_items_counts_lines():
    headers = Headers(RAW)
    names = ["Content-Type", "Set-Cookie", "VARY", "X-Empty"]
    assert list(headers) == list(headers.keys()) == names
    assert len(headers) == len(headers.keys()) == len(headers.values()) == 4
    assert list(headers.values()) == [headers[name] for name in names]
    assert dict(headers) == headers.as_dict() == {name: headers[name] for name in names}
    assert tuple(headers.items()) == headers.raw == RAW
    assert len(headers.items()) == 6
    assert ("Vary", "cookie") in headers.items()
    assert ("vary", "cookie") not in headers.items()


@pytest.mark.parametrize(
    ("pairs", "raw"),
    [
        ((), ()),
        ([("A", "1")], (("A", "1"),)),
        (iter([("A", "1"), ("a", "2")]), (("A", "1"), ("a", "2"))),
        ({"A": "1"}, (("A", "1"),)),
        (Headers(RAW), RAW),
    ],
)
def test_what_it_is_made_from(pairs, raw):
    assert Headers(pairs).raw == raw


def test_empty_headers_are_false_and_others_true():
    assert not Headers()
    assert Headers(RAW)


def test_it_is_a_mapping_that_cannot_be_changed():
    headers = Headers(RAW)
    assert isinstance(headers, Mapping)
    with pytest.raises(TypeError):
        headers["a"] = "b"  # type: ignore[index]
    with pytest.raises(AttributeError):
        headers.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        hash(headers)


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (Headers([("a", "1"), ("B", "2"), ("b", "3")]), True),
        (Headers([("b", "2"), ("b", "3"), ("A", "1")]), True),
        (Headers([("b", "3"), ("b", "2"), ("A", "1")]), False),
        (Headers([("a", "1"), ("b", "2, 3")]), False),
        ({"a": "1", "b": "2, 3"}, True),
        ({"A": "1", "B": "2, 3"}, True),
        ({"A": "1", "a": "1", "b": "2, 3"}, False),
        ({"A": "1"}, False),
        ({"A": "1", "b": "2"}, False),
        ({"A": "1", "b": "2, 3", "c": "4"}, False),
        ({"A": "1", 5: "2, 3"}, False),
        ([("a", "1"), ("b", "2, 3")], False),
        (None, False),
    ],
)
def test_equality(other, equal):
    headers = Headers([("A", "1"), ("b", "2"), ("B", "3")])
    assert (headers == other) is equal
    assert (headers != other) is not equal


@pytest.mark.parametrize("duplicate", [Headers.copy, copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_copies(duplicate):
    headers = Headers(RAW)
    made = duplicate(headers)
    assert made is not headers
    assert made == headers
    assert made.raw == RAW


def test_repr_masks_credentials():
    names = ["Authorization", "PROXY-authorization", "Cookie", "Set-Cookie", "X-Shown"]
    shown = repr(Headers([(name, f"value-of-{name}") for name in names]))
    assert shown == (
        "Headers([('Authorization', '***'), ('PROXY-authorization', '***'), ('Cookie', '***'), "
        "('Set-Cookie', '***'), ('X-Shown', 'value-of-X-Shown')])"
    )


@bounded
@given(st.lists(st.tuples(st.sampled_from(["a", "A", "b", "B", "c"]), st.text(max_size=3)), max_size=8))
def test_the_view_agrees_with_a_search_of_the_pairs(pairs):
    headers = Headers(pairs)
    for name in "aAbBcCd":
        values = [value for key, value in pairs if key.lower() == name.lower()]
        assert headers.get_all(name) == values
        assert (name in headers) == bool(values)
        assert headers.get(name) == (", ".join(values) if values else None)
    firsts: dict[str, str] = {}
    for name, _ in pairs:
        firsts.setdefault(name.lower(), name)
    assert list(headers) == list(firsts.values())
    assert len(headers) == len(firsts)


# -- the headers of a request --------------------------------------------------------------------------------------


class Colour(str, enum.Enum):  # noqa: UP042 (its str() is "Colour.RED", a StrEnum's is not)
    RED = "red"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, ()),
        ({}, ()),
        ([], ()),
        ({"A": "1", "b": "2"}, (("A", "1"), ("b", "2"))),
        ([("A", "1"), ("a", "2")], (("A", "1"), ("a", "2"))),
        (iter([["A", "1"]]), (("A", "1"),)),
        (Headers(RAW[2:5]), RAW[2:5]),
        ({"A": None}, (("A", None),)),
        ({"A": [1, "2", b"3"]}, (("A", "1"), ("A", "2"), ("A", "3"))),
        ({"A": (1, 2)}, (("A", "1"), ("A", "2"))),
        ({"A": []}, ()),
        ({"A": 1, "B": -1.5, "C": True}, (("A", "1"), ("B", "-1.5"), ("C", "True"))),
        ({"A": Colour.RED}, (("A", "red"),)),
        ({"A": ""}, (("A", ""),)),
        ({"A": " \t x\ty \t"}, (("A", "x\ty"),)),
        ({"A": b" \tx\t "}, (("A", "x"),)),
        ({"A": " é "}, (("A", "é"),)),
        ({"A": "€"}, (("A", "\xe2\x82\xac"),)),
        ({"A": "é€"}, (("A", "\xc3\xa9\xe2\x82\xac"),)),
        ({"A": b"\xff\x80"}, (("A", "\xff\x80"),)),
        ({"A": "x\u00a0"}, (("A", "x\u00a0"),)),
        ({"!#$%&'*+-.^_`|~09azAZ": "x"}, (("!#$%&'*+-.^_`|~09azAZ", "x"),)),
    ],
)
def test_good_headers(headers, expected):
    assert request_headers(headers) == expected


@pytest.mark.parametrize("code", [*range(9), *range(10, 0x20), 0x7F, 0xD800, 0xDBFF, 0xDC00, 0xDFFF])
@pytest.mark.parametrize("form", ["x{}y", "{}", "{}é", "y€{}"])
def test_each_control_and_surrogate_is_refused(code, form):
    with pytest.raises(RequestError, match=f"header A: U\\+{code:04X} may not stand in a value"):
        request_headers({"A": form.format(chr(code))})


@pytest.mark.parametrize("code", [9, 0x20, 0x7E, 0x80, 0x9F, 0xFF])
def test_their_neighbours_are_not(code):
    assert request_headers({"A": f"x{chr(code)}y"}) == (("A", f"x{chr(code)}y"),)


def test_values_become_plain_str():
    assert type(request_headers({"A": Colour.RED})[0][1]) is str


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (5, "must be a mapping or an iterable of (name, value) pairs"),
        ("A: b", "must be a mapping"),
        (b"A: b", "must be a mapping"),
        (["A: b"], "must be a mapping"),
        ([("A",)], "must be a mapping"),
        ([("A", "b", "c")], "must be a mapping"),
        ({"": "s3cret"}, "name is empty"),
        ({b"A": "s3cret"}, "name must be str, not bytes"),
        ({5: "s3cret"}, "name must be str, not int"),
        ({"A b": "s3cret"}, "'A…': ' ' (U+0020) at position 1"),
        ({"A:": "s3cret"}, "'A…': ':' (U+003A) at position 1"),
        ({"A\n": "s3cret"}, "'A…': '\\n' (U+000A) at position 1"),
        ({"A\r\nB": "s3cret"}, "'A…': '\\r' (U+000D) at position 1"),
        ({" A": "s3cret"}, "'…': ' ' (U+0020) at position 0"),
        ({":path": "s3cret"}, "'…': ':' (U+003A) at position 0"),
        ({"É": "s3cret"}, "'…': 'É' (U+00C9) at position 0"),
        ({"\u212aey": "s3cret"}, "(U+212A) at position 0"),
        ({"Authorization: s3cret": ""}, "'Authorization…': ':' (U+003A) at position 13 may not stand in a name"),
        ({"Authorization": "s3cret\r\nX-Evil: 1"}, "header Authorization: U+000D may not stand in a value"),
        ({"A": "s3cret\n"}, "header A: U+000A"),
        ({"A": "\ns3cret"}, "header A: U+000A"),
        ({"A": "s3cret\r"}, "header A: U+000D"),
        ({"A": "s3cret\0"}, "header A: U+0000"),
        ({"A": "s3cret\x0b"}, "header A: U+000B"),
        ({"A": "s3cret\x1b[31m"}, "header A: U+001B"),
        ({"A": "s3cret\x7f"}, "header A: U+007F"),
        ({"A": "s3creté\n"}, "header A: U+000A"),
        ({"A": "s3cret\ud800"}, "header A: U+D800"),
        ({"A": b"s3cret\r\nB: c"}, "header A: U+000D"),
        ({"A": ["b", "s3cret\nB: c"]}, "header A: U+000A"),
        ({"A": {"s3cret": 1}}, "header A: a value must be str, bytes, int or float, not dict"),
        ({"A": ["s3cret", None]}, "header A: a value must be str, bytes, int or float, not NoneType"),
        ({"A": [["s3cret"]]}, "header A: a value must be str, bytes, int or float, not list"),
        ({"A": bytearray(b"s3cret")}, "header A: a value must be str, bytes, int or float, not bytearray"),
    ],
)
def test_bad_headers_name_the_header_and_keep_the_value(headers, words):
    with pytest.raises(RequestError) as caught:
        request_headers(headers)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value) + repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("pairs", "block"),
    [
        ((), b""),
        ((("Host", "h"), ("X", "")), b"Host: h\r\nX: \r\n"),
        ((("A", "1"), ("A", "2")), b"A: 1\r\nA: 2\r\n"),
        ((("A", None), ("B", "1")), b"B: 1\r\n"),
        ((("A", "\xff"),), b"A: \xff\r\n"),
    ],
)
def test_encode_block(pairs, block):
    assert encode_block(pairs) == block


def test_text_that_latin_1_lacks_is_sent_as_utf_8():
    assert encode_block(request_headers({"A": "€"})) == "A: €\r\n".encode()
    assert encode_block(request_headers({"A": "é"})) == b"A: \xe9\r\n"


names = st.one_of(
    st.from_regex(r"[A-Za-z0-9-]{1,8}", fullmatch=True), st.text(max_size=4), st.none(), st.binary(max_size=4)
)
scalars = st.one_of(
    st.text(max_size=12),
    st.text(st.sampled_from("ab \t\r\n\0\x7f\x80é€\ud800"), max_size=8),
    st.binary(max_size=8),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.tuples(),
)
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.dictionaries(st.text(max_size=2), scalars, max_size=1))


@bounded
@given(st.one_of(st.dictionaries(names, values, max_size=4), st.lists(st.tuples(names, values), max_size=4), values))
def test_whatever_is_given_one_line_a_header_or_a_request_error(headers):
    try:
        pairs = request_headers(headers)
    except RequestError:
        return
    sent = [pair for pair in pairs if pair[1] is not None]
    lines = encode_block(pairs).split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) == len(sent)
    for line, (name, value) in zip(lines, sent, strict=True):
        assert line == f"{name}: {value}".encode("latin-1")
        assert not set(line) & {0, 10, 13, 127}
    assert request_headers(pairs) == pairs  # what is checked stays as it is


clean_values = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]))


@bounded
@given(clean_values)
def test_every_printable_value_can_be_sent(value):
    ((_, text),) = request_headers({"A": value})
    assert text is not None
    sent = text.encode("latin-1")
    assert value.strip(" ") in (sent.decode("latin-1"), sent.decode("utf-8", "replace"))
