"""Request bodies: what each kind of data becomes, and what is said when it cannot become anything."""

from __future__ import annotations

import collections
import datetime
import decimal
import email
import email.policy
import enum
import io
import json
import os
import pathlib
import types
import uuid
import xml.etree.ElementTree
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests.body import FORM, JSON, NVP, XML, encode, multipart
from aquests.bodysource import BodySource, source
from aquests.errors import RequestError
from tests.helpers import whole

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


class Colour(enum.StrEnum):
    RED = "red"


class Mixed(str, enum.Enum):  # noqa: UP042  # the older way, still met
    BLUE = "blue"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "letters.txt"
    file.write_bytes(b"abcdefghij")
    return file


class TestPlain:
    @pytest.mark.parametrize(
        ("data", "given_type", "body", "used"),
        [
            (None, None, None, None),
            (None, JSON, None, JSON),
            (b"\x00\xff", None, b"\x00\xff", None),
            (b"", None, b"", None),
            (b"{}", JSON, b"{}", JSON),
            (bytearray(b"ab"), "image/png", b"ab", "image/png"),
            (memoryview(b"abcd")[::2], None, b"ac", None),
            ("a=1&b=é", None, "a=1&b=é".encode(), FORM),
            ("", None, b"", FORM),
            ('{"é": 1}', JSON, '{"é": 1}'.encode(), JSON),
            ("é", "text/plain", b"\xc3\xa9", "text/plain"),
            ("é", "text/plain; charset=latin-1", b"\xe9", "text/plain; charset=latin-1"),
            ("é", 'text/plain; a=b; CharSet="ISO-8859-1"', b"\xe9", 'text/plain; a=b; CharSet="ISO-8859-1"'),
            ("<a>é</a>", XML, "<a>é</a>".encode(), XML),
            (b"<a/>", "application/xml", b"<a/>", "application/xml"),
            ("a[1]=b", NVP, b"a[1]=b", NVP),
        ],
    )
    def test_text_and_bytes(self, data: Any, given_type: str | None, body: bytes | None, used: str | None) -> None:
        got = encode(data, given_type)
        assert got == (body, used)
        assert body is None or type(got[0]) is bytes

    def test_the_constants(self) -> None:
        assert (FORM, JSON, XML, NVP) == (
            "application/x-www-form-urlencoded",
            "application/json",
            "text/xml",
            "text/namevalue",
        )

    def test_a_source_stays_itself(self) -> None:
        body = source([b"x"])
        assert encode(body, "a/b") == (body, "a/b")

    def test_a_charset_that_cannot_hold_the_text(self) -> None:
        with pytest.raises(RequestError, match=r"as latin-1: the character U\+20AC at index 5") as caught:
            encode("cost €", "text/plain; charset=latin-1")
        assert isinstance(caught.value.__cause__, UnicodeEncodeError)

    @pytest.mark.parametrize("charset", ["no-such", "rot13", "a\0b"])
    def test_an_unknown_charset(self, charset: str) -> None:
        with pytest.raises(RequestError, match=r"charset .* is unknown: use utf-8"):
            encode("x", f"text/plain; charset={charset}")

    def test_half_a_surrogate_pair(self) -> None:
        with pytest.raises(
            RequestError, match=r"the body cannot be encoded as utf-8: the character U\+D800 at index 1"
        ):
            encode("a\ud800")


class TestForm:
    @pytest.mark.parametrize("given_type", [None, FORM, f"{FORM}; charset=utf-8", FORM.upper()])
    def test_with_and_without_the_type(self, given_type: str | None) -> None:
        assert encode({"a": "1", "b c": "é&="}, given_type) == (b"a=1&b+c=%C3%A9%26%3D", given_type or FORM)

    @pytest.mark.parametrize(
        ("data", "body"),
        [
            ({}, b""),
            ([], b""),
            ({"a": None, "b": ""}, b"b="),
            ({"a": [1, None, "x"], "b": (), "c": ("y", "z")}, b"a=1&a=x&c=y&c=z"),
            ({"a": True, "b": 0, "c": 1.5, "d": -1}, b"a=True&b=0&c=1.5&d=-1"),
            ({"a": b"\xff\x00", "b": bytearray(b"~")}, b"a=%FF%00&b=~"),
            ({"a": decimal.Decimal("9.90")}, b"a=9.90"),
            ({"a": Colour.RED, "b": Mixed.BLUE}, b"a=red&b=blue"),
            ({1: 2, b"k": "v"}, b"1=2&k=v"),
            ([("a", 1), ["b", 2], ("a", 3)], b"a=1&b=2&a=3"),
            ((("a", 1),), b"a=1"),
            ({"a": "b"}.items(), b"a=b"),
            (types.MappingProxyType({"a": "b"}), b"a=b"),
            (collections.OrderedDict(a="b"), b"a=b"),
        ],
    )
    def test_values(self, data: Any, body: bytes) -> None:
        assert encode(data) == (body, FORM)

    @given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
    @settings(max_examples=100, deadline=None)
    def test_parsed_back(self, pairs: list[tuple[str, str]]) -> None:
        body, _ = encode(pairs)
        assert isinstance(body, bytes)
        assert parse_qsl(body.decode("ascii"), keep_blank_values=True) == pairs

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"a": {"b": 1}}, r"data\['a'\] is a dict.*flatten it, or send the whole as JSON"),
            ({"a": ["x", [1]]}, r"data\['a'\]\[1\] is a list.*convert it by str\(\)"),
            ({"when": datetime.date(2020, 1, 1)}, r"data\['when'\] is a date, not a str, number or bytes: convert"),
            ({"id": uuid.UUID(int=1)}, r"data\['id'\] is an UUID"),
            ({"f": io.BytesIO()}, r"data\['f'\] is a BytesIO.*upload\(url, fields\)"),
            ({"f": pathlib.Path("x")}, r"data\['f'\] is a .*Path.*open\(path, 'rb'\)"),
            ({("a",): 1}, r"a name in the form is a tuple"),
            ({None: 1}, r"a name in the form is a NoneType"),
            ([("a", 1), "bc"], r"a form must be made of \(name, value\) pairs, but item 1 is a str"),
            ([("a", 1, 2)], r"item 0 is a tuple"),
            ([1], r"item 0 is an int"),
            ({"a": "\udc80"}, r"data\['a'\] cannot be encoded as utf-8: the character U\+DC80 at index 0"),
        ],
    )
    def test_refused(self, data: Any, message: str) -> None:
        with pytest.raises(RequestError, match=message):
            encode(data)


class TestJson:
    @pytest.mark.parametrize("given_type", [JSON, "Application/JSON; charset=utf-8", "application/vnd.api+json"])
    def test_the_types(self, given_type: str) -> None:
        assert encode({"a": [1, None]}, given_type) == (b'{"a":[1,null]}', given_type)

    @pytest.mark.parametrize(
        "data", [{}, [], [1, 2], (1, "é"), 0, 1.5, True, False, {"é": "\U0001f600"}, {"1": {"2": [3]}}, [["a", "b"]]]
    )
    def test_any_value(self, data: Any) -> None:
        body, _ = encode(data, JSON)
        assert isinstance(body, bytes)
        assert json.loads(body) == (list(data) if isinstance(data, tuple) else data)
        assert b"\\u" not in body
        assert b" " not in body

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ({"a": [0, {"b": datetime.date(2020, 1, 1)}]}, r"data\['a'\]\[1\]\['b'\] is a date: convert it to str"),
            ({"a": float("nan")}, r"data\['a'\] is nan, which JSON does not know: send None or a str"),
            ([float("-inf")], r"data\[0\] is -inf"),
            ([1, b"x"], r"data\[1\] is a bytes"),
            ({1, 2}, r"data is a set"),
            (datetime.date(2020, 1, 1), r"data is a date"),
            (types.MappingProxyType({}), r"data is a mappingproxy"),
            ({"a": {(1, 2): 3}}, r"data\['a'\] has a key that is a tuple: keys must be str"),
            ({"a": {float("nan"): 3}}, r"a key of data\['a'\] is nan"),
            ({"a": "x\ud800"}, r"data\['a'\] holds half a surrogate pair at index 1"),
            ([{"\ud800": 1}], r"a key of data\[0\] holds half a surrogate pair at index 0"),
            ([[{1}], {2}], r"data\[0\]\[0\] is a set"),
        ],
    )
    def test_refused(self, data: Any, message: str) -> None:
        with pytest.raises(RequestError, match=message) as caught:
            encode(data, JSON)
        assert str(caught.value).startswith("the body is no JSON: ")
        assert caught.value.__cause__ is not None

    def test_data_that_contains_itself(self) -> None:
        data: list[Any] = [1]
        data.append({"again": data})
        with pytest.raises(RequestError, match="Circular reference"):
            encode(data, JSON)

    def test_very_deep_data(self) -> None:
        data: list[Any] = []
        for _ in range(200_000):
            data = [data]
        with pytest.raises(RequestError, match="RecursionError"):
            encode(data, JSON)
        while data:  # taken apart from the outside: freeing it at once would recurse too
            data = data[0]

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=10,
        ).filter(lambda data: data is not None and not isinstance(data, str))
    )
    @settings(max_examples=100, deadline=None)
    def test_parsed_back(self, data: Any) -> None:
        body, _ = encode(data, JSON)
        assert isinstance(body, bytes)
        assert json.loads(body) == data


class TestNvp:
    @pytest.mark.parametrize(
        ("data", "body"),
        [
            ({"name": "value"}, b"name[5]=value"),
            ({"a": "x&y=z", "b": "é"}, "a[5]=x&y=z&b[2]=é".encode()),
            ({"a": [1, None, True], "b": None, "c": ""}, b"a[1]=1&a[4]=True&c[0]="),
            ([("a", b"\xff"), ("a", 2.5)], b"a[1]=\xff&a[3]=2.5"),
            ({}, b""),
        ],
    )
    def test_values(self, data: Any, body: bytes) -> None:
        assert encode(data, NVP) == (body, NVP)

    @pytest.mark.parametrize("name", ["a[0]", "a]", "a=b", "a&b"])
    def test_names_that_would_be_misread(self, name: str) -> None:
        with pytest.raises(RequestError, match=r"holds one of \[ \] = &"):
            encode({name: 1}, NVP)

    @given(st.lists(st.tuples(st.sampled_from(["a", "bc", "é"]), TEXT), max_size=6))
    @settings(max_examples=60, deadline=None)
    def test_parsed_back(self, pairs: list[tuple[str, str]]) -> None:
        body, _ = encode(pairs, NVP)
        assert isinstance(body, bytes)
        got = []
        while body:
            name, _, rest = body.partition(b"[")
            size, _, rest = rest.partition(b"]=")
            got.append((name.decode(), rest[: int(size)].decode()))
            body = rest[int(size) :].removeprefix(b"&")
        assert got == pairs


class TestRefusedTypes:
    @pytest.mark.parametrize(
        ("data", "given_type", "message"),
        [
            ({"a": 1}, XML, r"a dict cannot be a body of type text/xml: give the document as str or bytes"),
            ({}, "application/xml; charset=utf-8", r"of type application/xml: .*ElementTree\.tostring\(root\)"),
            (xml.etree.ElementTree.Element("a"), "application/soap+xml", r"an Element .*ElementTree\.tostring"),
            ({"a": 1}, "multipart/form-data", r"use upload\(url, fields\)"),
            ({"a": 1}, "text/plain", r"a dict cannot be a body of type text/plain: .*choose form or JSON"),
            (5, None, rf"an int cannot be a body of type {FORM}: give a mapping or \(name, value\) pairs"),
            (True, NVP, "a bool cannot be a body of type text/namevalue"),
            (pathlib.Path("x"), None, r"open it for bytes: open\(path, 'rb'\)"),
            (object(), "a/b", "an object cannot be a body of type a/b"),
            ([("a", 1)], XML, "item 0 of the body is a tuple: it must be bytes or str"),
            ([b"a", 1], "a/b", "item 1 of the body is an int: it must be bytes or str"),
        ],
    )
    def test_say_how_to_mend_it(self, data: Any, given_type: str | None, message: str) -> None:
        with pytest.raises(RequestError, match=message):
            encode(data, given_type)

    def test_an_asynchronous_generator(self) -> None:
        async def pieces() -> Any:
            yield b"x"

        with pytest.raises(RequestError, match="an async_generator cannot be a body"):
            encode(pieces())


Part = tuple[str | None, str | None, str | None, bytes]


def parsed(body: BodySource, content_type: str, n: int = 65536) -> list[Part]:
    """(name, file name, content type, content) of each part, by the parser of the standard library."""
    raw = b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + whole(body, n)
    message = email.message_from_bytes(raw, policy=email.policy.HTTP)
    parts: list[Part] = []
    for part in message.get_payload():
        assert isinstance(part, email.message.Message)
        assert not part.defects
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(content, bytes)
        parts.append((name, part.get_filename(), part["content-type"], content))
    return parts


class TestMultipart:
    def test_plain_fields(self) -> None:
        fields = {"a": "text é", "b": 5, "c": 1.5, "d": True, "e": b"\x00raw", "f": None, "g": ["x", None, 2], "h": ""}
        assert parsed(*multipart(fields)) == [
            ("a", None, None, "text é".encode()),
            ("b", None, None, b"5"),
            ("c", None, None, b"1.5"),
            ("d", None, None, b"True"),
            ("e", None, None, b"\x00raw"),
            ("g", None, None, b"x"),
            ("g", None, None, b"2"),
            ("h", None, None, b""),
        ]

    def test_the_bytes_themselves(self) -> None:
        body, content_type = multipart([("a", "1"), ("f", ("x.png", b"\x89"))])
        kind, _, boundary = content_type.partition("; boundary=")
        assert kind == "multipart/form-data"
        expected = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="x.png"\r\n'
            f"Content-Type: image/png\r\n\r\n"
        ).encode() + f"@\r\n--{boundary}--\r\n".encode().replace(b"@", b"\x89")
        assert whole(body) == expected
        assert body.length == len(expected)

    def test_files(self, path: pathlib.Path) -> None:
        with path.open("rb") as file:
            file.seek(2)
            memory = io.BytesIO(b"memory")
            memory.seek(3)
            fields = {
                "disk": file,
                "memory": memory,
                "named": ("a.tar.gz", io.BytesIO(b"1")),
                "typed": ("b", "text", "text/html"),
                "nameless": (None, b"2", JSON),
                "many": [("1.csv", b"3"), file],
            }
            body, content_type = multipart(fields)
            got = parsed(body, content_type, 7)
            assert not file.closed
        assert got == [
            ("disk", "letters.txt", "text/plain", b"cdefghij"),
            ("memory", "memory", "application/octet-stream", b"ory"),
            ("named", "a.tar.gz", "application/octet-stream", b"1"),
            ("typed", "b", "text/html", b"text"),
            ("nameless", None, JSON, b"2"),
            ("many", "1.csv", "text/csv", b"3"),
            ("many", "letters.txt", "text/plain", b"cdefghij"),
        ]

    @pytest.mark.parametrize("file_name", [3, None, "<stdin>", "", b"bytes"])
    def test_a_file_without_a_name_takes_the_fields(self, file_name: object) -> None:
        class Named(io.BytesIO):
            name = file_name

        assert parsed(*multipart({"photo": Named(b"")}))[0][1] == "photo"

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("plain", b"plain"),
            ('a"b', b"a%22b"),
            ("a\r\nb", b"a%0D%0Ab"),
            ("naïve 名", "naïve 名".encode()),
            ("50%22", b"50%22"),
            ("back\\slash", b"back\\slash"),
            (b"\xc3\xa9", b"\xc3\xa9"),
            (7, b"7"),
        ],
    )
    def test_names(self, name: Any, written: bytes) -> None:
        filename = name if isinstance(name, str) else "x"
        body = whole(multipart([(name, (filename, b""))])[0])
        assert b'; name="%b"; filename="%b"\r\n' % (written, written if isinstance(name, str) else b"x") in body

    def test_nothing(self) -> None:
        body, content_type = multipart({})
        assert whole(body).decode() == f"--{content_type.rpartition('=')[2]}--\r\n"

    def test_the_boundary_is_never_the_same(self) -> None:
        boundaries = {multipart({})[1].rpartition("=")[2] for _ in range(50)}
        assert len(boundaries) == 50
        assert all(len(boundary) == 32 for boundary in boundaries)

    @pytest.mark.parametrize("n", [1, 10, 65536])
    def test_length_and_rewind(self, path: pathlib.Path, n: int) -> None:
        with path.open("rb") as file:
            file.seek(5)
            body, _ = multipart({"a": 1, "f": file, "g": io.BytesIO(b"x" * 100)})
            assert body.rewindable
            first = whole(body, n)
            body.rewind()
            body.read(5)
            body.rewind()
            assert whole(body, n) == first
            assert len(first) == body.length

    def test_reads_are_full_whatever_the_parts(self) -> None:
        body, _ = multipart([(f"field{i}", io.BytesIO(b"x")) for i in range(50)])
        assert body.length is not None
        sizes = [len(piece) for piece in iter(lambda: body.read(1000), b"")]
        assert sizes == [1000] * (body.length // 1000) + [body.length % 1000]

    def test_a_pipe_makes_the_length_unknown(self) -> None:
        read_end, write_end = os.pipe()
        os.write(write_end, b"from the pipe")
        os.close(write_end)
        with open(read_end, "rb") as file:
            body, content_type = multipart({"p": file, "q": 1})
            assert (body.length, body.rewindable) == (None, False)
            assert parsed(body, content_type)[0] == ("p", "p", "application/octet-stream", b"from the pipe")

    def test_a_file_that_shrinks(self, path: pathlib.Path) -> None:
        with path.open("rb", buffering=0) as file:
            body, _ = multipart({"doc": file})
            os.truncate(path, 3)
            with pytest.raises(RequestError, match=r"the field 'doc': the file 'letters.txt' ended 7 bytes early"):
                whole(body)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            (5, "the fields must be a mapping or an iterable of .*, not an int"),
            ("ab", "the fields must be a mapping"),
            ([("a", 1), 7], r"the fields must be made of .*item 1 is an int"),
            ({"a": {"b": 1}}, r"the field 'a' is a dict, not a str, number or bytes"),
            ({"a": object()}, "the field 'a' is an object"),
            ({"a": [[1]]}, "the field 'a' is a list"),
            ({"a": pathlib.Path("x")}, r"the field 'a' is a .*Path.*open\(path, 'rb'\)"),
            ({"a": io.StringIO("x")}, r"the field 'a': the file 'StringIO' is open for text: open it .* 'rb'"),
            ({"a": ("x.txt",)}, r"the field 'a': a tuple must be \(file name, content\) or"),
            ({"a": ("x", b"", None, {})}, r"the field 'a': a tuple must be"),
            ({"a": (5, b"x")}, "the field 'a': file name and content type must be str or None"),
            ({"a": ("x", b"x", 5)}, "file name and content type must be str or None"),
            ({"a": ("x", None)}, "the field 'a' is a NoneType"),
            ({"a": ("x", b"", "text/plain\r\nX: 1")}, "the content type .* is not printable ASCII"),
            ({"a": ("x", b"", "text/é")}, "is not printable ASCII"),
            ({"a": ("\ud800", b"")}, "a name cannot be encoded"),
            ({"a": "\ud800"}, "the field 'a' cannot be encoded as utf-8"),
            ({None: 1}, "the name of a field is a NoneType"),
        ],
    )
    def test_refused(self, fields: Any, message: str) -> None:
        with pytest.raises(RequestError, match=message):
            multipart(fields)

    NAMES = st.text(st.characters(codec="utf-8", exclude_characters='\r\n"', exclude_categories=["C", "Z"]), min_size=1)

    @given(
        st.lists(st.tuples(NAMES, st.none() | NAMES, st.binary(max_size=100)), min_size=1, max_size=6),
        st.integers(1, 99),
    )
    @settings(max_examples=100, deadline=None)
    def test_parsed_back_by_an_independent_parser(self, fields: list[tuple[str, str | None, bytes]], n: int) -> None:
        body, content_type = multipart(
            [
                (name, content if filename is None else (filename, io.BytesIO(content)))
                for name, filename, content in fields
            ]
        )
        assert body.length == len(raw := whole(body, n))
        assert form_parsed(raw, content_type) == fields


def form_parsed(raw: bytes, content_type: str) -> list[tuple[str, str | None, bytes]]:
    """(name, file name, content) of each part, by python-multipart."""
    from python_multipart import MultipartParser

    parts: list[dict[str, bytes]] = []
    header = [b"", b""]

    def on_header_end() -> None:
        if header[0].lower() == b"content-disposition":
            for parameter in header[1].split(b"; ")[1:]:
                name, _, value = parameter.partition(b"=")
                parts[-1][name.decode()] = value.strip(b'"')
        header[:] = [b"", b""]

    def on_header_field(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def on_header_value(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def on_part_data(data: bytes, start: int, end: int) -> None:
        parts[-1]["content"] += data[start:end]

    parser = MultipartParser(
        content_type.rpartition("=")[2],
        {
            "on_part_begin": lambda: parts.append({"content": b""}),
            "on_header_field": on_header_field,
            "on_header_value": on_header_value,
            "on_header_end": on_header_end,
            "on_part_data": on_part_data,
        },
    )
    parser.write(raw)
    parser.finalize()
    return [
        (part["name"].decode(), part["filename"].decode() if "filename" in part else None, part["content"])
        for part in parts
    ]
