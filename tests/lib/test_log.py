"""lib/log.py and lib/logger.py: masking, what is accepted as a logger, screen and file."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquests.errors import RequestError
from aquests.lib import logger as loggers
from aquests.lib.log import SHOWN, RedactingFormatter, as_logger, get_logger, redact


def fresh(code):
    """What ``code`` prints, on either stream, in a new interpreter."""
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    return run.stdout + run.stderr


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("nothing to hide: a@b.example", "nothing to hide: a@b.example"),
        ("GET http://h/p?q=1#f", "GET http://h/p?q=1#f"),
        ("http://h/@someone", "http://h/@someone"),
        ("http://u:p@h:80/x and redis://:pw@r", "http://***@h:80/x and redis://***@r"),
        ("http://u:p@ss:w'o@h/", "http://***@h/"),
        ("['http://a', 'http://u:p@b']", "['http://a', 'http://***@b']"),
        ("Authorization: Basic dTpw", "Authorization: ***"),
        ("authorization : Bearer a b c", "authorization : ***"),
        ("X: 1\r\nProxy-Authorization: Basic x\r\nHost: h", "X: 1\r\nProxy-Authorization: ***\r\nHost: h"),
        ("Set-Cookie: a=b; Path=/\nCookie: c=d", "Set-Cookie: ***\nCookie: ***"),
        ("Cookie:\r\nHost: h", "Cookie:\r\nHost: h"),
        ("Cookies are fine", "Cookies are fine"),
        (repr(b"GET / HTTP/1.1\r\nCookie: a=b\r\nHost: h"), r"b'GET / HTTP/1.1\r\nCookie: ***\r\nHost: h'"),
        (str({"Authorization": "Bearer x", "Host": "h"}), "{'Authorization': '***', 'Host': 'h'}"),
        (str([(b"cookie", b"a=b"), (b"host", b"h")]), "[(b'cookie', b'***'), (b'host', b'h')]"),
        ('{"authorization": "Digest username=\\"u\\"", "x": 1}', '{"authorization": "***", "x": 1}'),
    ],
)
def test_redact(text, masked):
    assert redact(text) == masked
    assert redact(masked) == masked


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=6), st.text(), st.text())
def test_redact_never_lets_the_password_through(secret, before, after):
    secret = f"<{secret}>".replace("<", "S").replace(">", "E")
    for form in (f"http://user:{secret}@host/", f"Authorization: Basic {secret}", f"Cookie: sid={secret}"):
        masked = redact(f"{re.sub('[^ a-z]', '', before)} {form}\n{re.sub(secret, '', after)}")
        assert secret not in masked


def test_redact_is_linear():
    for text in ("a" * 200_000, "://" * 70_000, "Cookie" * 40_000, "'cookie': '" * 20_000, "http://a" + ":b" * 100_000):
        start = time.process_time()
        redact(text)
        assert time.process_time() - start < 5


def test_get_logger_is_always_the_same():
    logger = get_logger()
    assert logger is get_logger() is logging.getLogger("aquests")
    assert len(logger.handlers) == 1


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        ("", "aquests: loud http://***@h/\n"),
        ("logging.getLogger().addHandler(logging.NullHandler())", ""),
        ("logging.getLogger('aquests').addHandler(logging.NullHandler())", ""),
        ("get_logger().addHandler(logging.NullHandler())", ""),
        ("sys.stderr = None", ""),
    ],
)
def test_errors_are_shown_to_who_has_no_logging(first: str, shown: str):
    logs = "log = get_logger(); log.info('quiet'); log.warning('loud %s', 'http://u:secret@h/')"
    program = f"import logging, sys; from aquests.lib.log import get_logger; {first}\n{logs}"
    assert fresh(program).decode().replace("\r", "") == shown


def test_only_the_first_errors_are_shown():
    said = fresh(
        "from aquests.lib.log import get_logger\nfor n in range(99): get_logger().error('number %d', n)"
    ).decode()
    assert said.count("number") == SHOWN and said.count("further ones are not shown") == 1


def test_as_logger_returns_loggers_as_they_are():
    plain = logging.getLogger("somebody")
    adapter = logging.LoggerAdapter(plain, {})
    assert as_logger(plain) is plain
    assert as_logger(adapter) is adapter
    assert as_logger(None) is get_logger()


@pytest.mark.parametrize("wrong", ["log", 3, print, object(), logging, lambda msg, type: None])
def test_as_logger_refuses(wrong):
    with pytest.raises(RequestError, match="logger must be"):
        as_logger(wrong)


class Simple:
    def __init__(self):
        self.lines = []

    def log(self, msg, type="info"):
        self.lines.append((type, msg))

    def trace(self):
        self.lines.append(("trace", repr(sys.exc_info()[1])))


def test_as_logger_adapts_the_old_style():
    simple = Simple()
    logger = as_logger(simple)
    logger.debug("a %s", 1)
    logger.info("b")
    logger.warning("c")
    logger.error("d")
    logger.critical("e")
    try:
        raise KeyError("k")
    except KeyError:
        logger.exception("f")
    assert simple.lines == [
        ("debug", "a 1"),
        ("info", "b"),
        ("warn", "c"),
        ("error", "d"),
        ("fatal", "e"),
        ("error", "f"),
        ("trace", "KeyError('k')"),
    ]


def test_two_old_style_loggers_do_not_mix():
    first, second = Simple(), Simple()
    as_logger(first).info("1")
    as_logger(second).info("2")
    assert (first.lines, second.lines) == ([("info", "1")], [("info", "2")])


def test_a_broken_old_style_logger_breaks_nothing(capsys):
    class Broken(Simple):
        def log(self, msg, type="info"):
            raise LookupError("mine")

    as_logger(Broken()).info("x")
    assert "LookupError: mine" in capsys.readouterr().err


def test_formatter_masks_tracebacks_too():
    try:
        raise ValueError("http://u:secret@h/")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "p", 1, "m %s", ("http://u:secret@h/",), sys.exc_info())
    text = RedactingFormatter("%(message)s").format(record)
    assert "secret" not in text
    assert "m http://***@h/" in text and "ValueError: http://***@h/" in text


@pytest.fixture
def screen():
    yield loggers.screen_logger
    loggers.close_logger(logging.getLogger("aquests.screen"))


def test_screen_writes_each_line_once(screen, capsys):
    screen()
    logger = screen()
    logger.info("one http://u:pw@h/")
    logger.debug("hidden")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO one http://\*\*\*@h/\n", err)


def test_screen_does_not_reach_other_handlers(screen, caplog):
    screen(io.StringIO()).info("x")
    assert caplog.records == []


def test_screen_takes_a_stream_and_a_level(screen):
    first, second = io.StringIO(), io.StringIO()
    screen(first).info("1")
    first.close()
    screen(second, logging.DEBUG).debug("2")
    assert second.getvalue().endswith("DEBUG 2\n")


@pytest.fixture
def filed():
    made = []

    def make(*args, **kwargs):
        made.append(loggers.file_logger(*args, **kwargs))
        return made[-1]

    yield make
    for logger in made:
        loggers.close_logger(logger)


def test_file_loggers_do_not_mix(filed, tmp_path):
    folder = tmp_path / "deep" / "logs"
    first, second = filed(str(folder), "eins"), filed(folder, "zwei.b")
    third = filed(folder, "zwei")
    assert filed(folder / ".." / "logs", "eins") is first
    first.info("grün")
    second.info("2 Authorization: Basic x")
    third.info("3")
    assert sorted(file.name for file in folder.iterdir()) == ["eins.log", "zwei.b.log", "zwei.log"]
    lines = (folder / "eins.log").read_bytes().decode("utf-8").splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO grün", lines[0])
    assert (folder / "zwei.b.log").read_text().endswith("INFO 2 Authorization: ***\n")
    assert (folder / "zwei.log").read_text().endswith("INFO 3\n")


def test_file_can_be_closed_and_opened_again(filed, tmp_path):
    logger = filed(tmp_path)
    logger.info("1")
    handler = logger.handlers[0]
    loggers.close_logger(logger)
    assert logger.handlers == [] and handler.stream is None
    filed(tmp_path).info("2")
    assert [line[-1] for line in (tmp_path / "aquests.log").read_text().splitlines()] == ["1", "2"]


def test_file_turns_over_daily(filed, tmp_path):
    logger = filed(tmp_path, "p")
    logger.info("old")
    logger.handlers[0].rolloverAt = 0
    logger.info("new")
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "p.log").read_text().endswith("INFO new\n")


@pytest.mark.parametrize("prefix", ["", "a/b", "../a"])
def test_file_refuses_prefixes_with_a_path(tmp_path, prefix):
    with pytest.raises(RequestError, match="plain file name"):
        loggers.file_logger(tmp_path, prefix)


def test_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"cannot be written \(.*\)"):
        loggers.file_logger(tmp_path / "file" / "sub", "p")


def test_import_is_light():
    assert (
        fresh("import sys, aquests.lib.log, aquests.lib.logger; print('logging.handlers' in sys.modules)") == b"False\n"
    )
