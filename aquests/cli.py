"""The command ``aquests``: options become settings and requests here, and nowhere else.

``get`` prints bodies, ``fetch`` (clifetch.py) works through a file, ``demo`` (demo.py) shows what it can do.
Data goes to stdout, everything else to stderr. Secrets given as options never come back in a message: what
is wrong with such an option is said without its value.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import (
    SUPPRESS,
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from random import Random
from typing import Any, Final, NoReturn

from .auth import credentials
from .body import FORM, JSON
from .clifetch import Fetch, Plan
from .demo import run_demo
from .errors import AquestsError, RequestError
from .exchange import Response
from .headers import request_headers
from .httprequest import ACCEPT, HttpRequest
from .lib.console import Brake, Output, Progress, directory, is_terminal, reading, say, writing
from .lib.lines import LineReader
from .script import configure, fetchall, script, submit
from .settings import MAX_REDIRECTS, TIMEOUT, Settings
from .version import __version__

Headers = list[tuple[str, str | None]]

SOME_FAILED: Final = 1
BAD_USAGE: Final = 2
INTERRUPTED: Final = 130

EXIT_CODES: Final = """\
exit codes:
  0    everything was answered with a status below 400
  1    something was not, or the output could not be written
  2    the command cannot be run as it was given
  130  stopped by Ctrl-C (143: by SIGTERM)
"""

FETCH_HELP: Final = """\
FILE holds one URL a line; blank lines and lines that start with # do not
count. Or one JSON object a line, with the keys url, method, headers (an
object), data (a string; or an object or array, encoded by the Content-Type of
the headers, a form by default) and meta (an object, returned as it is).

Each line is answered by one JSON line, in the order the answers arrive: line
(its number in FILE), url (after redirects), status, reason, version, elapsed
(seconds), bytes, error (text or null), file (with --save), body (with --body:
the text, null if it is none) and meta. A failed line has a status of 700 and
above; a line that cannot be sent has only an error. The report goes to stderr.

"""

_COUNT: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([km]?)", re.IGNORECASE | re.ASCII)
_SPAN: Final = re.compile(r"(\d{1,12}(?:\.\d{0,6})?|\.\d{1,6})(ms|s|m|h)?", re.IGNORECASE | re.ASCII)
_FACTORS: Final = {"": 1, "k": 1000, "m": 1000000}
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (default: that of the process); returns the exit code.

    Raises SystemExit for ``--help``, ``--version`` and wrong options, as argparse does.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parsers()
    if not words:
        parser.print_help()
        return BAD_USAGE
    if words[0] not in commands:
        if not words[0].startswith("-"):
            parser.error(_no_command(words[0], commands))
        _, unknown = parser.parse_known_args(words)
        parser.error(_unknown(unknown, parser))
    command = commands[words[0]]
    args, unknown = command.parse_known_intermixed_args(words[1:])
    if unknown:
        command.error(_unknown(unknown, command))
    try:
        return RUN[words[0]](args)
    except RequestError as error:
        command.error(error.message)
    except AquestsError as error:
        say(f"{command.prog}: {error}")
        return SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


# The options


class _Parser(ArgumentParser):
    """Says what is wrong in one line, and where to look it up."""

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message}\nsee {self.prog} --help")
        self.exit(BAD_USAGE)


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser of the command, and those of its subcommands by name."""
    shape: dict[str, Any] = {
        "epilog": EXIT_CODES,
        "formatter_class": RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    parser = _Parser("aquests", description="Ask anything, as fast as the wire allows.", **shape)
    parser.add_argument("--version", action="version", version=f"aquests {__version__}")
    several = parser.add_subparsers(metavar="COMMAND")
    texts = {
        "get": ("fetch URLs and print what they answer", ""),
        "fetch": ("fetch a file of URLs, one JSON line for each answer", FETCH_HELP),
        "demo": ("ask servers of its own, all protocols at once", ""),
    }
    commands = {
        name: several.add_parser(
            name, help=what, description=f"{what[0].upper()}{what[1:]}.\n\n{more}".strip(), **shape
        )
        for name, (what, more) in texts.items()
    }
    _get_options(commands["get"])
    _fetch_options(commands["fetch"])
    _demo_options(commands["demo"])
    return parser, commands


def _get_options(parser: ArgumentParser) -> None:
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("-X", "--method", metavar="METHOD", help="GET, or POST if there is data")
    body = parser.add_mutually_exclusive_group()
    body.add_argument("-d", "--data", help="body, sent as a form; @FILE streams a file, - reads stdin")
    body.add_argument("--json", metavar="DATA", help="body, sent as JSON; @FILE and - as with -d")
    parser.add_argument("-v", "--verbose", action="store_true", help="status lines and headers to stderr")
    parser.add_argument("-i", "--include", action="store_true", help="status line and headers before each body")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to stdout")
    _common_options(parser)


def _fetch_options(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="URLs or JSON objects, one a line; - reads stdin")
    parser.add_argument("-o", "--output", metavar="OUT.jsonl", help="write there instead of to stdout")
    parser.add_argument("--save", metavar="DIR", default="", help="write each body to a file in DIR, made if need be")
    parser.add_argument("--body", action="store_true", help="put the body into the line, if it is text")
    parser.add_argument("--random", action="store_true", help="in random order, among 10,000 lines read ahead")
    _common_options(parser)


def _demo_options(parser: ArgumentParser) -> None:
    parser.add_argument("-n", "--requests", type=_count, default=20000, metavar="N", help="requests (20k)")
    parser.add_argument("-w", "--workers", type=_count, default=100, metavar="N", help="connections (100)")
    parser.add_argument("--port", type=_port, default=0, help="of the HTTP/1.1 server (any that is free)")


def _common_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("-H", "--header", action="append", default=[], type=_header, metavar="'NAME: VALUE'", help="no value: not sent")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--auth", type=_user, metavar="USER:PASSWORD", help="basic or digest, as the server asks")
    who.add_argument("--bearer", dest="auth", type=_token, metavar="TOKEN", help="sent with every request")
    add("-w", "--workers", type=_count, default=10, metavar="N", help="connections at once (10)")
    add("--timeout", type=_seconds, default=TIMEOUT, metavar="S", help="each phase: connect, first byte … (10)")
    add("--deadline", type=_seconds, metavar="S", help="each request, redirects included (none)")
    add("--proxy", metavar="URL", help="http://, https://, socks5:// or socks5h:// (the environment's)")
    add("-k", "--insecure", action="store_true", help="accept any certificate")
    add("--ca", metavar="FILE", help="trust these authorities instead of the system's")
    add("--cert", type=_cert, metavar="FILE[:KEY]", help="certificate of the client")
    add("-L", "--redirects", action=BooleanOptionalAction, default=True, help="follow redirects (yes)")
    add("--max-redirects", type=_count, default=MAX_REDIRECTS, metavar="N", help=f"at most ({MAX_REDIRECTS})")
    add("--cookies", action="store_true", help="keep cookies")


def _settings(args: Namespace) -> dict[str, Any]:
    """What ``configure`` is told, checked here as far as it can be."""
    if args.proxy is not None:
        from .proxy import parse_proxy

        parse_proxy(args.proxy)
    if args.ca or args.cert:
        from .lib.tls import context_for

        context_for(verify=not args.insecure, ca=args.ca, cert=args.cert)
    if args.auth is not None:
        credentials(args.auth)
    settings = {
        "workers": args.workers,
        "timeout": args.timeout,
        "deadline": args.deadline,
        "cookie": args.cookies,
        "allow_redirects": args.redirects,
        "max_redirects": args.max_redirects,
        "verify": not args.insecure,
        "ca": args.ca,
        "cert": args.cert,
        "proxy": args.proxy,
    }
    Settings(**settings)
    return settings


# One option: what argparse calls with its text


def _count(text: str) -> int:
    found = _COUNT.fullmatch(text)
    number = float(found[1]) * _FACTORS[found[2].lower()] if found else 0.5
    if number != int(number):
        raise ArgumentTypeError("must be a whole number, like 500, 20k or 1.5m")
    return int(number)


def _seconds(text: str) -> float:
    found = _SPAN.fullmatch(text)
    if found is None or not float(found[1]):
        raise ArgumentTypeError("must be a time above 0, like 10, 1.5s, 500ms or 2m")
    return float(found[1]) * _SECONDS[(found[2] or "s").lower()]


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError("must be a number from 0 to 65535")
    return int(text)


def _header(text: str) -> tuple[str, str | None]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ArgumentTypeError("must be 'Name: value'")
    return name.strip(), value.strip() or None


def _user(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon:
        raise ArgumentTypeError("must be USER:PASSWORD; for a token use --bearer TOKEN")
    return user, password


def _token(text: str) -> tuple[str]:
    return (text,)


def _cert(text: str) -> str | tuple[str, str]:
    cert, colon, key = text.rpartition(":")
    return (cert, key) if colon and not os.path.exists(text) else text


def _no_command(word: str, commands: dict[str, _Parser]) -> str:
    if "/" in word or "." in word:  # not shown: a URL may hold a password
        return "a command is missing: aquests get URL"
    close = get_close_matches(word, commands, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"use {', '.join(commands)}"
    return f"unknown command {word[:40]!r}: {hint}"


def _unknown(words: list[str], parser: ArgumentParser) -> str:
    """Names the first unknown option, never what follows it."""
    flag = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if flag is None:
        return "too many arguments"
    known = [name for action in parser._actions if action.help != SUPPRESS for name in action.option_strings]
    close = get_close_matches(flag, known, 1)
    return f"unknown option {flag}" + (f": did you mean {close[0]}?" if close else "")


# get


def get(args: Namespace) -> int:
    """``aquests get``: everything is made before anything is sent."""
    settings = _settings(args)
    with ExitStack() as files:
        headers, body = _body(args, files)
        method = (args.method or ("GET" if body is None else "POST")).upper()
        options = {} if args.auth is None else {"auth": args.auth}
        requests = [
            HttpRequest(method, url, body, headers, meta={"place": place}, **options)
            for place, url in enumerate(args.urls)
        ]
        output = Output(writing(args.output, files), script.engine.stop)
        configure(callback=_Printer(args, output).take, **settings)
        for request in requests:
            submit(request)
        report = fetchall()
    output.complain(args.output or "to stdout")
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.ok and output.error is None else SOME_FAILED


def _body(args: Namespace, files: ExitStack) -> tuple[Headers, Any]:
    """Headers and body of all requests; a type given by -H goes before ours."""
    headers: Headers = list(args.header)
    text = args.data if args.json is None else args.json
    if text is None:
        return headers, None
    defaults: Headers = []
    if args.json is not None:
        defaults = [("Content-Type", JSON), ("Accept", ACCEPT[JSON])]
    elif not text.startswith("@") and text != "-":
        defaults = [("Content-Type", FORM)]
    given = {name.lower() for name, _ in headers}
    headers += [pair for pair in defaults if pair[0].lower() not in given]
    return headers, _data(text, files)


def _data(text: str, files: ExitStack) -> Any:
    if text in ("-", "@-"):
        return reading("-", files).read()  # whole, for it is sent more than once if there are several URLs
    if text.startswith("@"):
        return reading(text[1:], files)
    return os.fsencode(text)  # the bytes that were typed


class _Printer:
    """Prints answers in the order their URLs were given, each as soon as those before it are there."""

    def __init__(self, args: Namespace, output: Output):
        self._urls: list[str] = args.urls
        self._verbose: bool = args.verbose
        self._include: bool = args.include
        self._output = output
        self._early: dict[int, Response] = {}
        self._next = 0

    def take(self, response: Response) -> None:
        """The callback of the run."""
        self._early[response.meta["place"]] = response
        while (ready := self._early.pop(self._next, None)) is not None:
            self._next += 1
            self._print(ready)

    def _print(self, response: Response) -> None:
        if self._output.error is not None:
            return
        error = response.error
        if self._verbose:
            heads = [_head(one) for one in (*response.history, response) if one.error is None]
            for head in heads:
                say("\n".join([*head, ""]))
        if error is None:
            if self._include:
                self._output.write("\r\n".join([*_head(response), "", ""]).encode("latin-1", "replace"))
            self._output.write(response.content)
            self._output.flush()
        if not response.ok:
            detail = f" ({error})" if error is not None else ""
            say(f"aquests get: {response.url}: {response.status_code} {response.reason}{detail}")


def _head(response: Response) -> list[str]:
    status = f"HTTP/{response.version} {response.status_code} {response.reason}".rstrip()
    return [status, *(f"{name}: {value}" for name, value in response.headers.items())]


# fetch


def fetch(args: Namespace) -> int:
    """``aquests fetch``: the engine, the files and the terminal around ``Fetch``."""
    settings = _settings(args)
    plan = Plan(request_headers(args.header), args.auth, args.save, args.body)
    with ExitStack() as files:
        source = reading(args.file, files)
        if args.save:
            directory(args.save)
        target = writing(args.output, files, source)
        reader = LineReader(source.fileno(), Random() if args.random else None)
        brake = Brake(script.engine.stop)
        output = Output(target, brake.pull)
        shown = is_terminal(sys.stderr) and not os.isatty(target)
        with brake, Progress("fetching", shown=shown) as progress:
            job = Fetch(reader, plan, output, progress, brake)
            configure(callback=job.finish, **settings)
            report = job.run()
    report.interrupted = bool(brake.signal)
    say("\n".join([str(report), *job.complaints()]))
    output.complain(args.output or "to stdout")
    if brake.signal:
        return 128 + brake.signal
    return 0 if report.ok and job.ok and output.error is None else SOME_FAILED


def demo(args: Namespace) -> int:
    """``aquests demo``."""
    return run_demo(args.requests, args.workers, args.port)


RUN: Final[dict[str, Callable[[Namespace], int]]] = {"get": get, "fetch": fetch, "demo": demo}
