"""XML-RPC: what is sent is what the standard library's server reads, what comes is its value or a typed error."""

from __future__ import annotations

import datetime
import re
import tracemalloc
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from xml.parsers.expat import ExpatError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import ProtocolError, RequestError
from aquests.protocols.http1head import Head
from aquests.protocols.xmlrpc import MAX_KEPT, XmlRpc, encode, loads

NOON = datetime.datetime(2024, 2, 29, 12, 30, 59)


def read(body: bytes) -> tuple[tuple[Any, ...], str | None]:
    """Arguments and method, as a server reads them."""
    return xmlrpc.client.loads(body, use_builtin_types=True)


def answer(value: Any) -> bytes:
    return xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode()


VALUES = [
    None,
    True,
    False,
    0,
    2**31 - 1,
    -(2**31),
    1.5,
    -1e300,
    "",
    "text",
    "<&>]]>\"'",
    " spaces \t\n",
    "é€😀",
    b"",
    b"\0\xff",
    NOON,
    [],
    [1, "a", [None, [b"x"]]],
    {},
    {"a": 1, "": {"b": [NOON]}, "<": None},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_both_ways(value: Any) -> None:
    assert read(encode("m", [value])) == ((value,), "m")
    assert loads(answer(value)) == value
    assert type(loads(answer(value))) is type(value)


def test_calls() -> None:
    assert read(encode("system.listMethods", [])) == ((), "system.listMethods")
    assert read(encode("a.<b>&", [1, (2, 3)])) == ((1, [2, 3]), "a.<b>&")
    body = encode("m", [1])
    assert body.startswith(b"<?xml version='1.0'?>\n<methodCall>\n<methodName>m</methodName>\n<params>\n")


def test_a_carriage_return_survives_the_parser() -> None:
    assert read(encode("m", ["a\rb\r\nc", {"k\r": 1}])) == (("a\rb\r\nc", {"k\r": 1}), "m")


def ring() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2**31, "ints of 32 bits"),
        (-(2**31) - 1, "ints of 32 bits"),
        ([{"a": 2**63}], "ints of 32 bits"),
        (float("nan"), "nan is not a number"),
        ([float("inf")], "inf is not a number"),
        ({1: 2}, "dictionary key must be string"),
        (object(), "cannot marshal"),
        ({1, 2}, "cannot marshal"),
        (ring(), "recursive"),
        (deep(100_000), "m: "),
        ("a\0", "U+0000, which XML cannot carry"),
        ({"\x1f": 1}, "U+001F"),
        ("\ud800", "U+D800"),
        ("\uffff", "U+FFFF"),
    ],
    ids=[f"{number}" for number in range(14)],
)
def test_what_cannot_be_sent(value: Any, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        encode("m", [value])
    assert says in str(caught.value) and str(caught.value).startswith("m: ")


plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]))
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab<é", max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(plain, max_size=3))
def test_any_values_both_ways(values: list[Any]) -> None:
    assert read(encode("m", values)) == (tuple(values), "m")
    assert loads(answer(values)) == values


# Answers


def response(inside: str) -> bytes:
    return f"<?xml version='1.0'?><methodResponse>{inside}</methodResponse>".encode()


def value(inside: str) -> bytes:
    return response(f"<params><param><value>{inside}</value></param></params>")


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("untyped", "untyped"),
        ("", ""),
        ("<i4>7</i4>", 7),
        ("<int> -7 </int>", -7),
        ("<i8>9223372036854775807</i8>", 2**63 - 1),
        ("<nil/>", None),
        ("<ex:nil xmlns:ex='http://ws.apache.org/xmlrpc/namespaces/extensions'/>", None),
        ("<base64>\nYQ==\n</base64>", b"a"),
        ("<dateTime.iso8601>20240229T12:30:59</dateTime.iso8601>", NOON),
        ("<string>a&#13;&lt;&amp;</string>", "a\r<&"),
        ("<struct><member><name>a</name><value><i4>1</i4></value></member></struct>", {"a": 1}),
        ("<nil></nil>", None),
        ("<string/>", ""),
        ("<string></string >", ""),
        ("<array><data/></array>", []),
        ("<array ><data>\n</data\n></array>", []),
        ("<struct/>", {}),
        ("<struct>\n</struct>", {}),
        ("<struct><member><name/><value/></member></struct>", {"": ""}),
        ("<struct><member><name>a&amp;b</name><value>&#x41;&#66;</value></member></struct>", {"a&b": "AB"}),
        (
            "<array><data><value><struct/></value><value/><value><array><data/></array></value></data></array>",
            [{}, "", []],
        ),
        ("<string>&lt;i4>7&lt;/i4></string>", "<i4>7</i4>"),
        ("<i4>&#55;</i4>", 7),
        ("<string>a<!-- <i4>1</i4> --->b</string>".replace("--->", "-->"), "ab"),
        ("<!-- --><string>a<?b <c>?>d</string><!---->", "ad"),
        ("<![CDATA[<i4>&amp;]]>", "<i4>&amp;"),
        ("<string>a<![CDATA[<!DOCTYPE b>]]>c<![CDATA[]]></string>", "a<!DOCTYPE b>c"),
        ("<string a='/>' b=\">'<\">c</string>".replace("'<", "'"), "c"),
        ("<string\n xml:space = 'preserve' > a </string\t>", " a "),
        ("<x:i8 xmlns:x='a:b'>1</x:i8>", 1),
        ("<i1>1</i1>", 1),
        ("<biginteger>99999999999999999999</biginteger>", 99999999999999999999),
        ("<bigdecimal>1.10</bigdecimal>", Decimal("1.10")),
        ("<float>1</float>", 1.0),
        ("a\r\nb\rc&#13;", "a\nb\nc\r"),
        ("junk<i4>1</i4>junk", 1),
    ],
)
def test_answers(inside: str, expected: Any) -> None:
    body = value(inside)
    assert loads(body) == expected
    assert xmlrpc.client.loads(body, use_builtin_types=True)[0][0] == expected, "as the standard library has it"


def test_a_document_with_all_that_xml_allows_around_it() -> None:
    text = """<?xml version="1.0" encoding="UTF-8" standalone='yes'?>
        <!-- a <b> --><?c d?>
        <methodResponse xmlns="http://a/" xmlns:ex='b>c'><!-- -->
            <params ><param>
                <value><array><data> <value><ex:nil/></value> <value>é</value> </data></array></value>
            </param></params>
        </methodResponse> <!-- e --> <?f?>
        """
    for body in (text.encode(), "\ufeff".encode() + text.encode(), text.replace("\n", "\r\n").encode()):
        assert loads(body) == [None, "é"]


def in_encoding(name: str, codec: str, inside: str = "<string>é</string>") -> bytes:
    return (f'<?xml version="1.0" encoding="{name}"?>' + value(inside).decode().partition("?>")[2]).encode(codec)


@pytest.mark.parametrize("name", ["iso-8859-1", "ISO-8859-1", "Latin-1", "latin1", "utf-8", "UTF-8", "utf8"])
def test_encodings(name: str) -> None:
    assert loads(in_encoding(name, name)) == "é"
    assert loads(in_encoding("us-ascii", "ascii", "a")) == "a"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("utf-16", "utf-16"),
        ("utf-16", "utf-16-le"),
        ("utf-16be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("utf-8", "utf-16-le"),
        ("utf-8", "utf-16"),
        ("utf-16", "utf-8"),
        ("utf-7", "utf-7"),
        ("cp037", "cp037"),
        ("windows-1252", "windows-1252"),
        ("punycode", "utf-8"),
        ("klingon", "utf-8"),
        ("", "utf-8"),
        ("us-ascii", "utf-8"),
        ("utf-8", "latin-1"),
    ],
)
@pytest.mark.parametrize("bomb", [False, True], ids=["value", "bomb"])
def test_other_encodings_are_refused(name: str, codec: str, bomb: bool) -> None:
    body = in_encoding(name, codec)
    if bomb:
        body = (f'<?xml version="1.0" encoding="{name}"?>' + BOMB.partition("?>")[2]).encode(codec) + body
    with quiet(), pytest.raises(ProtocolError, match="XML-RPC answer"):
        loads(body)


def test_a_fault_is_raised_as_it_is() -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        loads(xmlrpc.client.dumps(xmlrpc.client.Fault(4, "Too many"), methodresponse=True).encode())
    assert (caught.value.faultCode, caught.value.faultString) == (4, "Too many")


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is expanded: memory stays small."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


ENTITIES = "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9))
BOMB = f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'ha'>{ENTITIES}]>"


@pytest.mark.parametrize(
    "body",
    [
        BOMB.encode() + value("&j;").partition(b"?>")[2],
        b"<!DOCTYPE x [<!ENTITY a '" + b"a" * 100_000 + b"'>]>" + value("&a;" * 1000).partition(b"?>")[2],
        b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>" + value("&a;").partition(b"?>")[2],
        b"<!DOCTYPE x SYSTEM 'http://127.0.0.1:1/x.dtd'>" + value("x").partition(b"?>")[2],
        b"<!DOCTYPE html>" + value("x").partition(b"?>")[2],
    ],
)
def test_bombs_and_external_entities_are_refused(body: bytes) -> None:
    with quiet(), pytest.raises(ProtocolError, match="with a DTD or an entity is refused") as caught:
        loads(body)
    assert caught.value.code == 715 and caught.value.first == body[:64]
    for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with quiet(), pytest.raises(ProtocolError, match="XML-RPC answer"):
            loads(body.decode().encode(codec))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<html><body>502</body></html>",
        b"<methodResponse>",
        value("x")[:-10],
        response("<params></params>"),
        response("<params><param><value>1</value></param><param><value>2</value></param></params>"),
        value("<int>x</int>"),
        value("<int>" + "9" * 5000 + "</int>"),
        value("<double>x</double>"),
        value("<boolean>2</boolean>"),
        value("<base64>é</base64>"),
        value("<dateTime.iso8601>yesterday</dateTime.iso8601>"),
        value("<unknown>1</unknown>"),
        value("<struct><member><value>1</value></member></struct>"),
        value("<struct><member><name>a</name></member></struct>"),
        value("<bigdecimal>x</bigdecimal>"),
        value("&undefined;"),
        response("<fault><value><struct></struct></value></fault>"),
        response("<fault><value>1</value></fault>"),
        response("<fault></fault>"),
        response("<fault><value>a</value><value>b</value></fault>"),
        response("<params/>"),
        response("<params><param/></params>"),
        response("<params><param><value/></param></params><params/>"),
        response("<params><param><value/><value/></param></params>"),
        response("<param><value/></param>"),
        response("") + b"<methodResponse/>",
        response("") + b"junk",
        value("<i4/>"),
        value("<i4>1</i4><i4>2</i4>"),
        value("<i4>1<i4>2</i4></i4>"),
        value("<string>a<b/></string>"),
        value("<nil/><nil/>"),
        value("<value>1</value>"),
        value("<array></array>"),
        value("<array><value>1</value></array>"),
        value("<array><data><i4>1</i4></data></array>"),
        value("<array><data/><data/></array>"),
        value("<array><data><member/></data></array>"),
        value("<array><data/></array><nil/>"),
        value("<array><data><value/></data></array><nil/>"),
        value("<struct><value/></struct>"),
        value("<struct><member><name>a</name><value/><value/></member></struct>"),
        value("<struct><member><value/><name>a</name></member></struct>"),
        value("<struct><member><name><b/></name><value/></member></struct>"),
        value("<struct/><nil/>"),
        value("<string>a</String>"),
        value("a]]>b"),
        value("&#0;"),
        value("&#xd800;"),
        value("\x01"),
        value("a & b"),
        value("<string a=1>b</string>"),
        value("<string a='1' a='2'>b</string>"),
        value("<string a='<'>b</string>"),
        value("<!-- -- -->a"),
        value("<?xml version='1.0'?>"),
        value("\xff").decode().encode("latin-1"),
        b" " + value("a"),
        response("<array>"),
        encode("m", [1]),
        b"<?xml version='1.0' encoding='klingon'?><methodResponse/>",
        b"<?xml version='1.0'?>" + b"<value><array>" * 10_000,
        "<?xml version='1.0'?><methodResponse/>".encode("utf-16"),
    ],
    ids=lambda body: body[-30:].decode("latin-1"),
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        loads(body)
    assert caught.value.code == 715 and "XML-RPC answer" in str(caught.value)


def test_a_deep_answer() -> None:
    found = loads(value("<array><data><value>" * 50_000 + "</value></data></array>" * 50_000))
    depth = 0
    while found and isinstance(found, list):
        found, depth = found[0], depth + 1
    assert depth == 50_000


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("<!---->" * 100_000 + "<value/>", ""),
        ("<value>" + "<!-- a -->" * 100_000 + "</value>", ""),
        ("<value a='" + "/" * 300_000 + "'/>", ""),
        ("<value" + " " * 300_000 + ">x</value>", "x"),
        ("<value>" + "&amp;" * 100_000 + "</value>", "&" * 100_000),
    ],
    ids=["comments", "comments inside", "attribute", "blanks", "references"],
)
def test_odd_markup_costs_by_its_length_only(element: str, expected: str) -> None:
    """What takes the square of the length would not end here."""
    assert loads(response(f"<params><param>{element}</param></params>")) == expected


@pytest.mark.parametrize(
    "piece",
    [">", " ", "<", "<value>", "<value> <", "<value><string>a", "<member><name>a", "<member><name>a</name><value>"]
    + ["<array><data>", "</data></array></value>", "<nil/>", "<a:b/>", "&", "&#1", "</a>b", "<data>a", "<a>b>"],
)
def test_what_is_wrong_costs_by_its_length_only(piece: str) -> None:
    start, end = value("\x02").split(b"\x02")
    for body in (piece.encode() * 50_000, start + piece.encode() * 50_000 + end):
        assert outcome(body) in ("malformed", f"value {piece * 50_000!r}")


TAGS = [
    "methodResponse", "params", "param", "value", "int", "struct", "member", "name", "array", "data", "fault", "base64",
    "double", "dateTime.iso8601", "boolean", "bigdecimal", "methodName",
]  # fmt: skip
PIECES = [
    *(f"<{tag}>".encode() for tag in TAGS),
    *(f"</{tag}>".encode() for tag in TAGS),
    b"<nil/>", b"1", b"a", b"&lt;", b"\0", b"faultCode", b"faultString", b"<!--", b"-->", b"<?xml version='1.0'?>",
    b"<!DOCTYPE a>", b"<![CDATA[", b"]]>", b"\xff",
]  # fmt: skip


def compare(body: bytes) -> None:
    """A typed error; or what the standard library reads as well, and as the same."""
    try:
        found = loads(body)
    except ProtocolError:
        return
    except xmlrpc.client.Fault as fault:
        with pytest.raises(xmlrpc.client.Fault) as theirs:
            read(body)
        assert repr(theirs.value) == repr(fault)
        return
    ((expected,), method) = read(body)
    assert repr(found) == repr(expected) and method is None


@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
def test_any_bytes_are_a_value_or_a_typed_error(body: bytes) -> None:
    compare(body)


DRESSES = ["", "a", "1", "é", " \n", "\r\n", ">", "]"]
DRESSES += ["&lt;", "&amp;lt;", "&#x3c;", "<!-- <a> -->", "<![CDATA[<&>]]>", "<?a >?>"]
ODD = st.sampled_from(DRESSES)
ATTRIBUTES = st.sampled_from(["", "", " ", " a='>'", ' a = "/" b=\'"\'', "\n"])


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    """A value in many dresses, mostly good."""
    kinds = ["", "string", "i4", "nil", "double", "boolean", *(["array", "struct"] if depth < 3 else [])]
    kind = draw(st.sampled_from(kinds))
    odd = [draw(ODD) for _ in range(3)]
    inside = "".join(odd) if kind in ("", "string") else odd[0] if kind == "nil" else draw(ODD) + "1"
    if kind in ("array", "struct"):
        values = draw(st.lists(elements(depth + 1), max_size=3))
        if kind == "array":
            inside = f"<data{draw(ATTRIBUTES)}>{odd[0].join(values)}</data>"
        else:
            inside = odd[0].join(f"<member><name>{draw(ODD)}</name>{value}</member>" for value in values)
    if kind:
        inside = f"<{kind}{draw(ATTRIBUTES)}>{inside}</{kind}>"
        inside = draw(ODD) + inside.replace("></nil>", "/>") + draw(ODD)
    return f"<value{draw(ATTRIBUTES)}>{inside}</value>"


@given(elements(), ODD, st.sampled_from(["", "<?xml version='1.0'?>", "<!-- < -->", "\ufeff", "\n"]))
def test_any_dress_of_a_value(element: str, odd: str, before: str) -> None:
    compare(f"{before}<methodResponse><params>{odd}<param>{element}</param></params></methodResponse>{odd}".encode())


@given(elements())
def test_good_dresses_are_taken(element: str) -> None:
    """So that comparing is not in vain: without what may be bad in numbers, our answer is a value."""
    body = f"<methodResponse><params><param>{element}</param></params></methodResponse>".encode()
    try:
        ((expected,), _) = read(body)
    except (ValueError, TypeError, ExpatError, LookupError, xmlrpc.client.ResponseError):
        return
    assert repr(loads(body)) == repr(expected)


@given(st.data())
def test_damaged_answers(data: st.DataObject) -> None:
    body = bytearray(answer({"a": [1, 2.5, None, b"x", NOON, "text"]}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 5))] = data.draw(st.sampled_from(PIECES))
    compare(bytes(body))


# Documents as servers write them, which are read without expat, and all others


def indented(body: bytes) -> bytes:
    """As PHP and many Java servers write it: each element on a line of its own, the empty ones short."""
    text = re.sub(r"<(nil|string|data)></\1>", r"<\1/>", body.decode().replace("\n", ""))
    lines: list[str] = []
    depth = 0
    for line in re.findall(r"<([\w.]+)>([^<]*)</\1>|(<[^>]*>)", text):
        kind, inside, tag = line
        depth -= tag.startswith("</")
        lines.append("  " * depth + (tag or f"<{kind}>{inside}</{kind}>"))
        depth += tag[:1] == "<" and tag[1] not in "?/" and not tag.endswith("/>")
    return "\n".join(lines).encode()


SERVERS = {
    "Python": lambda body: body,
    "PHP": indented,
    "PHP, Latin-1": lambda body: indented(body).replace(b"?>", b" encoding='iso-8859-1' ?>", 1),
    "Windows": lambda body: indented(body).replace(b"\n", b"\r\n"),
    "Java": lambda body: re.sub(rb"\n|</?string>", b"", body).replace(b"<nil/>", b"<ex:nil/>").replace(
        b"<methodResponse>", b'<methodResponse xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions">'
    ).replace(b"'1.0'", b'"1.0" encoding="UTF-8" standalone="yes"'),
}  # fmt: skip
USUAL: list[Any] = [
    *[value for value in VALUES if value not in ("é€😀", " spaces \t\n")],
    ["a", "b&c", "<d>", "]", "/>", "", None, []],
    [{"title": "x", "n": [1, {"b": "", "c": True}]}, {"title": "y"}],
]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("value", USUAL, ids=repr)
def test_usual_documents_are_read_without_expat(server: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aquests.protocols.xmlrpc.ParserCreate", None)
    body = SERVERS[server](answer(value))
    assert repr(loads(body)) == repr(value) == repr(read(body)[0][0])
    fault = SERVERS[server](xmlrpc.client.dumps(xmlrpc.client.Fault(4, "no"), methodresponse=True).encode())
    with pytest.raises(xmlrpc.client.Fault, match="4: 'no'"):
        loads(fault)


def outcome(body: bytes) -> str:
    try:
        return f"value {loads(body)!r}"
    except xmlrpc.client.Fault as fault:
        return repr(fault)
    except ProtocolError:
        return "malformed"


def agree(body: bytes) -> None:
    """A comment behind the answer changes nothing, but that expat must judge it. And the standard library agrees."""
    assert outcome(body) == outcome(body + b"<!-- -->")
    compare(body)


INSERTED = [
    *PIECES, *[text.encode() for text in DRESSES], b"", b" ", b"\n", b"\r", b"\t", b"<", b">", b"/", b"&", b'"', b"'",
    b"&#0;", b"&#13;", b"&#x1F;", b"&#55296;", b"&#x10FFFF;", b"&#x110000;", b"&#+65;", b"&# 65;", b"&#00065;",
    b"&#xA;", b"&amp", b"&a;", b"&#\xd9\xa1;", b"\x0b", b"\x1c", b"\x7f", b"\xc2\x85", b"\xc2\xa0", b"\xef\xbf\xbe",
    b"\xef\xbf\xbf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe9", b"<data/>", b"<string />", b"<value/>", b"<ex:nil/>",
    b"<nil />", b"</nil>", b"<nil>", b"<String>", b"</string\n>", b" a='b'", b"encoding='us-ascii'",
    b" encoding='utf-16'", b" xmlns='a'", b"1.1", b"<value><i4>1</i4></value>", b"<value><array><data>",
    b"<member><name>b</name><value>c</value></member>", b"</data></array></value>", b"<value><struct>",
    b"</struct></value>",
]  # fmt: skip


@given(st.sampled_from([*SERVERS.values()]), plain, st.data())
def test_both_ways_to_read_agree(dress: Any, value: Any, data: st.DataObject) -> None:
    body = bytearray(dress(answer(value)))
    for _ in range(data.draw(st.integers(0, 3))):
        places = [0, len(body), *[found.start() for found in re.finditer(rb"[<>&]|(?<=>)", body)]]
        at = data.draw(st.sampled_from(places) | st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 9))] = data.draw(st.sampled_from(INSERTED))
    agree(bytes(body))


@given(st.sampled_from([*SERVERS.values()]), plain, st.data())
def test_both_ways_agree_on_a_part(dress: Any, value: Any, data: st.DataObject) -> None:
    body = dress(answer(value))
    agree(body[: data.draw(st.integers(0, len(body)))])
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(body))] * 2)))
    agree(body[:start] + body[end:])


@pytest.mark.parametrize("inserted", INSERTED, ids=repr)
def test_both_ways_agree_on_each_oddity_everywhere(inserted: bytes) -> None:
    body = SERVERS["Java"](answer(["&", {"c": 1.0, "": None}]))
    for at in range(len(body) + 1):
        odd = body[:at] + inserted + body[at:]
        assert outcome(odd) == outcome(odd + b"<!-- -->")


# The codec


def decoded(body: bytes, status: int = 200, codec: XmlRpc | None = None, head: Any = None) -> Any:
    head = head or Head(status, "Reason", "1.1", (("a", "b"),))
    x = SimpleNamespace(
        head=head, body=body, data=None, error=None, url="http://h/RPC2", endpoint=SimpleNamespace(label="h:80")
    )
    (codec or XmlRpc()).decode(x)  # type: ignore[arg-type]
    return x


def told(x: Any) -> tuple[int, str, str, str]:
    return x.head.status, x.head.reason, x.head.lane, x.head.version


def test_heads_are_shared_where_they_are_alike() -> None:
    codec = XmlRpc()
    head = Head(200, "OK", "1.1", ())
    fault = xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x"), methodresponse=True).encode()
    first, bad, second = [decoded(body, codec=codec, head=head).head for body in (answer(1), fault, answer(2))]
    assert first is second and first.status == 200 and bad.status == 500
    assert decoded(answer(1), codec=codec, head=Head(200, "OK", "2.0", ())).head.version == "2.0"


def test_the_codec() -> None:
    good = decoded(answer([1]))
    assert good.data == [1] and told(good) == (200, "Reason", "XML-RPC", "1.1") and good.head.headers["A"] == "b"
    fault = decoded(xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x"), methodresponse=True).encode())
    assert isinstance(fault.error, xmlrpc.client.Fault) and fault.data is None
    assert told(fault) == (500, "Fault", "XML-RPC", "1.1")
    broken = decoded(b"<")
    assert isinstance(broken.error, ProtocolError) and broken.error.endpoint == "h:80"
    refused = decoded(answer(1), 503)
    assert isinstance(refused.error, xmlrpc.client.ProtocolError) and refused.data is None
    assert told(refused) == (503, "Reason", "XML-RPC", "1.1") and told(broken)[2] == "XML-RPC"
    assert (refused.error.url, refused.error.errcode, refused.error.errmsg) == ("http://h/RPC2", 503, "Reason")


@pytest.mark.parametrize("value", [*VALUES, ["x" * MAX_KEPT]], ids=lambda value: repr(value)[:20])
def test_an_answer_that_comes_again_is_a_new_value(value: Any) -> None:
    codec = XmlRpc()
    bodies = [answer(value)] * 4 + [answer("another")] + [answer(value)] * 2
    found = [decoded(body, codec=codec).data for body in bodies]
    assert found == [value] * 4 + ["another"] + [value] * 2
    assert [type(one) for one in found[:4]] == [type(value)] * 4
    if isinstance(value, (list, dict)):
        assert len({id(one) for one in found[:4]}) == 4, "changing one must not change the next"


def test_what_is_wrong_with_an_answer_is_said_each_time() -> None:
    codec = XmlRpc()
    fault = xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x"), methodresponse=True).encode()
    for body, kind in [(fault, xmlrpc.client.Fault), (b"<", ProtocolError)]:
        errors = [decoded(body, codec=codec).error for _ in range(3)]
        assert all(isinstance(error, kind) for error in errors) and len({id(error) for error in errors}) == 3
    for status in (200, 200, 503, 200):
        assert (decoded(answer(1), status, codec).data == 1) is (status == 200)
    assert decoded(b"", codec=XmlRpc()).error is not None


def test_text_in_pieces() -> None:
    assert loads(value("<string>a\n&amp;\nb</string>")) == "a\n&\nb"
    assert loads(value("  <string>a</string>  ")) == "a" and loads(value(" a ")) == " a "
