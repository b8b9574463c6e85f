"""Bodies that are read while they are being sent: files and iterables, also those that change or fail."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pathlib
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aquests.body import FORM, JSON, XML, encode, multipart
from aquests.bodysource import BodySource, source
from aquests.errors import RequestError
from tests.helpers import whole


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


@pytest.mark.parametrize("data", [5, b"x", "x", {"a": 1}, None])
def test_no_stream(data: Any) -> None:
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
