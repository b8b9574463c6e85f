"""Request bodies: what each kind of data becomes, and what is said when it cannot become anything."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import email
import email.policy
import enum
import gzip
import io
import json
import os
import pathlib
import tempfile
import tracemalloc
import types
import uuid
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquests.body import FORM, JSON, NVP, XML, BodySource, encode, multipart, source
from aquests.errors import RequestError

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


class Colour(enum.StrEnum):
    RED = "red"


class Mixed(str, enum.Enum):  # noqa: UP042  # the older way, still met
    BLUE = "blue"


def whole(body: BodySource, n: int = 65536) -> bytes:
    """All of it, in reads of at most ``n``; the end is final."""
    pieces = list(iter(lambda: body.read(n), b""))
    assert all(0 < len(piece) <= n for piece in pieces)
    assert body.read(n) == b""
    return b"".join(pieces)


def streamed(data: Any, content_type: str | None = None) -> BodySource:
    body, used = encode(data, content_type)
    assert isinstance(body, BodySource)
    assert used == content_type
    return body


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

    @pytest.mark.parametrize("data", [5, b"x", "x", {"a": 1}, None])
    def test_no_stream(self, data: Any) -> None:
        with pytest.raises(RequestError, match="cannot be streamed: give an open binary file"):
            source(data)


class TestFiles:
    @pytest.mark.parametrize("n", [1, 3, 10, 65536])
    @pytest.mark.parametrize("start", [0, 4, 10, 15])
    @pytest.mark.parametrize("buffering", [-1, 0])
    def test_from_where_it_stands(self, path: pathlib.Path, n: int, start: int, buffering: int) -> None:
        with path.open("rb", buffering=buffering) as file:
            file.seek(start)
            body = streamed(file, "text/plain")
            assert (body.length, body.rewindable, body.started) == (max(0, 10 - start), True, False)
            assert file.tell() == start
            for _ in range(2):
                assert whole(body, n) == b"abcdefghij"[start:]
                assert body.started
                body.rewind()
                assert not body.started

    @pytest.mark.parametrize(
        "make", [io.BytesIO, lambda data: io.BufferedReader(io.BytesIO(data))], ids=["BytesIO", "BufferedReader"]
    )
    def test_files_in_memory(self, make: Callable[[bytes], Any]) -> None:
        body = streamed(make(b"12345"))
        assert body.length == 5
        assert body.read(2) == b"12"
        body.rewind()
        assert whole(body) == b"12345"

    def test_temporary_files(self) -> None:
        with (
            tempfile.TemporaryFile() as one,
            tempfile.NamedTemporaryFile() as two,
            tempfile.SpooledTemporaryFile() as three,
        ):
            for file in (one, two, three):
                file.write(b"12345")
                file.seek(1)
                assert whole(streamed(file)) == b"2345"

    def test_a_decompressing_file(self) -> None:
        with gzip.open(io.BytesIO(gzip.compress(b"x" * 1000)), "rb") as file:
            body = streamed(file)
            assert body.length == 1000
            assert whole(body, 300) == b"x" * 1000

    def test_a_pipe(self) -> None:
        read_end, write_end = os.pipe()
        os.write(write_end, b"12345")
        os.close(write_end)
        with open(read_end, "rb") as file:
            body = streamed(file)
            assert (body.length, body.rewindable) == (None, False)
            body.rewind()  # nothing was read yet
            assert whole(body, 2) == b"12345"
            with pytest.raises(RequestError, match="cannot be sent a second time: give bytes, a list"):
                body.rewind()

    def test_an_object_with_read_alone(self) -> None:
        class Reader:
            def __init__(self) -> None:
                self.left = [b"", b"b", b"a"]

            def read(self, n: int) -> bytes:
                return self.left.pop()

        body = streamed(Reader())
        assert (body.length, body.rewindable) == (None, False)
        assert whole(body) == b"ab"

    def test_a_file_that_cannot_be_measured(self) -> None:
        truncated = gzip.compress(b"x" * 1000)[:-9]
        with gzip.open(io.BytesIO(truncated), "rb") as file:
            with pytest.raises(RequestError, match=r"the file .* cannot be measured \(EOFError") as caught:
                encode(file)
        assert isinstance(caught.value.__cause__, EOFError)

    @pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device")
    def test_a_device_that_claims_to_be_empty(self) -> None:
        with open("/dev/zero", "rb") as file:
            body = streamed(file)
            assert body.length is None
            assert body.read(5) == bytes(5)

    def test_two_sources_share_a_file(self, path: pathlib.Path) -> None:
        with path.open("rb") as file:
            first, second = streamed(file), streamed(file)
            got = [first.read(3), second.read(4), first.read(3), file.read(1), second.read(20), first.read(20)]
        assert got == [b"abc", b"abcd", b"def", b"g", b"efghij", b"ghij"]

    def test_the_file_stays_open(self, path: pathlib.Path) -> None:
        with path.open("rb") as file:
            body = streamed(file)
            whole(body)
            body.close()
            body.close()
            assert not file.closed
            for act in (body.read, body.rewind):
                with pytest.raises(RequestError, match="the body is closed"):
                    act()

    def test_a_file_that_shrinks(self, path: pathlib.Path) -> None:
        with path.open("rb", buffering=0) as file:
            body = streamed(file)
            assert body.read(3) == b"abc"
            os.truncate(path, 5)
            for _ in range(2):
                with pytest.raises(
                    RequestError, match=r"'letters.txt' ended 5 bytes early: it became shorter"
                ) as caught:
                    body.read()
                assert caught.value.phase == "send"

    def test_a_file_that_grows_sends_what_was_announced(self, path: pathlib.Path) -> None:
        with path.open("rb", buffering=0) as file:
            body = streamed(file)
            with path.open("ab") as more:
                more.write(b"klm")
            assert whole(body, 4) == b"abcdefghij"

    def test_a_file_that_vanishes_can_be_read_to_its_end(self, path: pathlib.Path) -> None:
        with path.open("rb", buffering=0) as file:
            body = streamed(file)
            with contextlib.suppress(PermissionError):  # Windows keeps it
                path.unlink()
            assert whole(body) == b"abcdefghij"

    def test_a_file_closed_too_early(self, path: pathlib.Path) -> None:
        with path.open("rb") as file:
            body = streamed(file)
        with pytest.raises(RequestError, match=r"'letters.txt' was closed before it was sent: keep it open"):
            body.read()

    @pytest.mark.parametrize(
        ("fault", "said"),
        [(OSError(5, "Input/output error"), "OSError.*Input/output error"), (EOFError(), r"\(EOFError\)")],
    )
    def test_a_file_that_cannot_be_read(self, fault: Exception, said: str) -> None:
        class Broken(io.BytesIO):
            def read(self, n: int | None = -1) -> bytes:
                raise fault

        body = streamed(Broken(b"12345"))
        with pytest.raises(RequestError, match=f"the file 'Broken' cannot be read.*{said}") as caught:
            body.read()
        assert caught.value.__cause__ is fault

    def test_a_rewind_forgets_the_failure(self) -> None:
        class Shaky(io.BytesIO):
            faults = [OSError("once")]

            def read(self, n: int | None = -1) -> bytes:
                if self.faults:
                    raise self.faults.pop()
                return super().read(n)

        body = streamed(Shaky(b"12345"))
        for _ in range(2):
            with pytest.raises(RequestError, match="once"):
                body.read()
        body.rewind()
        assert whole(body) == b"12345"

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ("text", "gave a str instead of bytes"),
            (None, "gave a NoneType instead"),
            (b"123456", "gave 6 bytes when asked for 5"),
        ],
    )
    def test_a_file_that_gives_something_else(self, answer: Any, message: str) -> None:
        class Odd(io.BytesIO):
            def read(self, n: int | None = -1) -> Any:
                return answer

        with pytest.raises(RequestError, match=message):
            streamed(Odd(b"12345")).read()

    @pytest.mark.parametrize("mode", ["r", "w+", "a+"])
    def test_text_files_are_refused(self, path: pathlib.Path, mode: str) -> None:
        with path.open(mode) as file:
            with pytest.raises(
                RequestError, match=r"'letters.txt' is open for text: open it for bytes, with mode 'rb'"
            ):
                encode(file)
        with pytest.raises(RequestError, match="'StringIO' is open for text"):
            encode(io.StringIO("x"))

    def test_files_that_are_no_use(self, path: pathlib.Path) -> None:
        with path.open("ab") as file:
            with pytest.raises(RequestError, match="not open for reading"):
                encode(file)
        with pytest.raises(RequestError, match=r"'letters.txt' is closed: keep it open"):
            encode(file)

    @pytest.mark.parametrize("n", [0, -1])
    def test_a_read_of_nothing_is_a_mistake(self, n: int) -> None:
        with pytest.raises(ValueError, match="must be above 0"):
            streamed(io.BytesIO(b"x")).read(n)


class TestIterables:
    ITEMS: list[Any] = [b"ab", "é", b"", bytearray(b"cd"), memoryview(b"efghi")]
    BYTES = b"ab\xc3\xa9cdefghi"

    @pytest.mark.parametrize("n", [1, 2, 3, 100])
    def test_a_generator(self, n: int) -> None:
        body = streamed((item for item in self.ITEMS), "a/b")
        assert (body.length, body.rewindable) == (None, False)
        assert whole(body, n) == self.BYTES
        with pytest.raises(RequestError, match="cannot be sent a second time"):
            body.rewind()

    @pytest.mark.parametrize("kind", [list, tuple])
    @pytest.mark.parametrize("n", [1, 4, 100])
    def test_a_sequence_can_be_sent_again(self, kind: Callable[[Any], Any], n: int) -> None:
        data = kind(self.ITEMS)
        body = streamed(data, "a/b")
        assert (body.length, body.rewindable) == (None, True)
        body.read(3)
        if isinstance(data, list):
            data.clear()  # it is the caller's
        body.rewind()
        assert whole(body, n) == self.BYTES

    def test_pieces_come_as_they_are_made(self) -> None:
        made = []

        def pieces() -> Iterator[bytes]:
            for piece in (b"first", b"second"):
                made.append(piece)
                yield piece

        body = streamed(pieces())
        assert made == []
        body.rewind()
        assert body.read() == b"first"
        assert made == [b"first"]

    def test_other_iterables(self) -> None:
        class Twice:
            def __iter__(self) -> Iterator[bytes]:
                return iter([b"1", b"2"])

        assert whole(streamed(Twice())) == b"12"
        assert not streamed(Twice()).rewindable
        assert whole(streamed({b"k": 1}.keys())) == b"k"

    @pytest.mark.parametrize("given_type", [None, FORM, JSON, XML, "a/b"])
    def test_an_iterator_is_a_stream_whatever_the_type(self, given_type: str | None) -> None:
        assert whole(streamed(iter(["[1,", "2]"]), given_type)) == b"[1,2]"

    def test_nothing(self) -> None:
        assert whole(streamed(iter([]))) == b""
        assert whole(streamed(iter([b"", ""]))) == b""

    def test_one_that_raises(self) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise LookupError("row 7")

        body = streamed(pieces())
        assert body.read() == b"half"
        for _ in range(2):  # the generator is over now, the body is not complete for that
            with pytest.raises(RequestError, match=r"iterable of the body failed \(LookupError: row 7\)") as caught:
                body.read()
            assert isinstance(caught.value.__cause__, LookupError)
            assert caught.value.phase == "send"

    def test_one_whose_iter_raises(self) -> None:
        class Broken:
            def __iter__(self) -> Iterator[bytes]:
                raise OSError("gone")

        with pytest.raises(RequestError, match="OSError: gone"):
            streamed(Broken()).read()

    @pytest.mark.parametrize("item", [1, None, ("a", 1), [b"x"]])
    def test_one_that_gives_something_else(self, item: Any) -> None:
        body = streamed(iter([b"x", item]))
        assert body.read() == b"x"
        with pytest.raises(RequestError, match=f"gave an? {type(item).__name__}: it must give bytes or str"):
            body.read()

    def test_text_that_cannot_be_encoded(self) -> None:
        with pytest.raises(RequestError, match="an item of the body cannot be encoded"):
            streamed(iter(["\ud800"])).read()

    def test_closing_lets_the_generator_go(self) -> None:
        ended = []

        def pieces() -> Iterator[bytes]:
            try:
                yield b"one"
                yield b"two"
            finally:
                ended.append(True)

        body = streamed(pieces())
        body.read()
        body.close()
        assert ended == [True]


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


class TestMemory:
    SIZE = 50 * 1024 * 1024

    @pytest.mark.parametrize("in_form", [False, True])
    def test_a_large_file_needs_little(self, tmp_path: pathlib.Path, in_form: bool) -> None:
        path = tmp_path / "sparse.bin"
        with path.open("wb") as made:
            made.truncate(self.SIZE)
        with path.open("rb") as file:
            multipart({"warm": ("up.bin", b"")})  # mimetypes reads its tables once
            tracemalloc.start()
            try:
                body = multipart({"a": 1, "file": file})[0] if in_form else streamed(file)
                total = 0
                while piece := body.read():
                    total += len(piece)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert total == body.length
        assert total >= self.SIZE
        assert peak < 400_000
