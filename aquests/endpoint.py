"""Endpoints: one object per distinct place, with all that is decided once for it.

What a line to the place is made with: scheme, host, port or unix path, and the options a request
may give against the defaults of the run (``proxy``, ``verify``, ``ca``, ``cert``). Beside that it
holds what the engine keeps per place: the requests that wait for it and the lines that have room.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from .protocols import SCHEMES, Scheme
from .url import Url, host_header

if TYPE_CHECKING:
    from .exchange import Pairs
    from .seam import MakeWire
    from .settings import Settings

LINE_OPTIONS: Final = frozenset(("proxy", "verify", "ca", "cert", "unix", "trust_env", "h2c", "max_connections"))
"""Options of a request that another line is needed for."""
OPENING_OPTIONS: Final = frozenset(("auth", "compression", "subprotocols"))
"""Options that a line of its own (``Scheme.own_lines``) is opened with."""
MAX_IDLE_ENDPOINTS: Final = 4096
"""Places nobody asks for now; beyond that the table is swept."""

UNLIMITED: Final = 1 << 30
CROWDED_PAUSE: Final = 1.0
"""Seconds until a place that took no more lines is asked for more than it has given."""
SHUT_PAUSE: Final = 0.05
"""Seconds until a place that gave no line at all is asked again: it may be starting, or all knocked at once."""

_numbers = count()


class Waiting(Protocol):
    """The requests of one endpoint that wait, in the order of the queue."""

    def append(self, item: Any, /) -> None: ...

    def put_back(self, item: Any, /) -> None: ...

    def popleft(self) -> Any: ...

    def key(self) -> float: ...

    def begins_with(self, item: Any, /) -> bool: ...

    def __len__(self) -> int: ...


class Endpoint:
    """One place. ``label`` is ``host:port`` for messages, ``origin`` the (scheme, host, port) of RFC 6454."""

    __slots__ = (
        "__weakref__",
        "_makers",
        "host",
        "host_header",
        "label",
        "lane",
        "limit",
        "lines",
        "listed",
        "most",
        "number",
        "options",
        "origin",
        "port",
        "roomy",
        "scheme",
        "shut_since",
        "spec",
        "unix",
        "version",
        "waiting",
        "yields_data",
    )

    def __init__(
        self, scheme: str, host: str, port: int, unix: str | None, options: Mapping[str, Any], waiting: Waiting
    ):
        spec = SCHEMES[scheme]
        self.scheme = scheme
        self.spec: Scheme = spec
        self.host = host
        self.port = port
        self.unix = unix
        self.options = options
        self.label = unix or f"{f'[{host}]' if ':' in host else host}:{port}"
        self.host_header = host_header(scheme, host, port)
        self.origin = (scheme, unix if unix and scheme.endswith("+unix") else host, port)
        self.lane = spec.lane
        self.version = spec.version
        self.yields_data = spec.yields_data
        self.waiting = waiting
        self.listed: float | None = None
        """By which key the queue's order holds this endpoint; None: not at all."""
        self.roomy: dict[Any, None] = {}
        """Lines that could take more, longest known first."""
        self.lines = 0
        """Lines open or being made."""
        self.limit: int = options.get("max_connections", UNLIMITED)
        """Lines this place ever takes at once."""
        self.most = self.limit
        """Lines it takes at once now: lowered for a while when it refuses one more."""
        self.shut_since = 0.0
        """When it first gave no line at all; 0.0: it has given one since."""
        self.number = next(_numbers)
        self._makers: dict[tuple[Any, ...], MakeWire] = {}

    def refused(self, now: float, patience: float) -> tuple[float, ...]:
        """It takes no more lines. After how many seconds to ``welcome`` it; none: it gave no line for ``patience``.

        A place that has given lines goes on with those. One that gave none is left alone for a moment and then asked
        for one line; when it has given that, for more.
        """
        self.most = self.lines
        if self.lines:
            return (CROWDED_PAUSE,)
        self.shut_since = self.shut_since or now
        if now - self.shut_since < patience:
            return (SHUT_PAUSE, CROWDED_PAUSE)
        self.most = 1
        return ()

    def welcome(self) -> None:
        """It may take lines again."""
        self.most = 1 if self.shut_since else self.limit

    def make_wire(self, settings: Settings, prefix: str = "", extra: tuple[tuple[str, str], ...] = ()) -> MakeWire:
        """What makes the wires of lines to here; prepared once for each way to go.

        ``prefix`` and ``extra`` headers are for a proxy that forwards (the absolute form).
        """
        key = (prefix, extra, settings)
        make = self._makers.get(key)
        if make is None:
            self._makers.clear()  # of settings that hold no more
            make = self._makers[key] = self.spec.load().lines(self, prefix, extra, settings)
        return make

    def __repr__(self) -> str:
        return f"<Endpoint {self.scheme} {self.label}>"


class Endpoints:
    """The table of places, so that equal places are one object.

    ``known`` maps the text ahead of the path (``"http://host:8080"``) to its endpoint: the fast way; ``openings`` the
    whole URL, perhaps with what its opening offers, for lines that are opened for it alone.
    """

    def __init__(self, make_waiting: Callable[[], Waiting]):
        self.make_waiting = make_waiting
        self.known: dict[str, Endpoint] = {}
        self.openings: dict[Hashable, Endpoint] = {}
        self.last_url: str | None = None
        self.last: Endpoint | None = None
        """Of the URL that was met last, and needs no change."""
        self._table: dict[tuple[Any, ...], Endpoint] = {}
        self._alive: WeakSet[Endpoint] = WeakSet()
        self._sweep_at = MAX_IDLE_ENDPOINTS

    def find(self, url: Url, options: Mapping[str, Any] | None = None, headers: Pairs = ()) -> Endpoint:
        """The endpoint of a split URL, with the line options (and the headers, if they open the line) of a request."""
        given = {name: options[name] for name in LINE_OPTIONS & options.keys()} if options else {}
        if SCHEMES[url.scheme].own_lines:
            given |= {name: options[name] for name in OPENING_OPTIONS & options.keys()} if options else {}
            given |= {"target": url.target, "headers": headers}
        unix = given.pop("unix", None) or url.unix
        return self.intern(url.scheme, url.host, url.port, unix, given)

    def intern(self, scheme: str, host: str, port: int, unix: str | None, options: Mapping[str, Any]) -> Endpoint:
        """The one endpoint for these; ``options`` (hashable values or lists) make a place distinct, too."""
        distinct = sorted((name, _hashable(value)) for name, value in options.items())
        key = (scheme, host, port, unix, *distinct)
        endpoint = self._table.get(key)
        if endpoint is None:
            if len(self._table) >= self._sweep_at:
                self._sweep()
            endpoint = self._table[key] = Endpoint(scheme, host, port, unix, options, self.make_waiting())
            self._alive.add(endpoint)
        return endpoint

    def remember(self, text: str, endpoint: Endpoint) -> None:
        """Make ``text``, all ahead of the path, a fast way to ``endpoint``."""
        if len(self.known) >= MAX_IDLE_ENDPOINTS:
            self.known.clear()
        self.known[text] = endpoint

    def remember_opening(self, key: Hashable, endpoint: Endpoint) -> None:
        """Make ``key``, in which the whole URL stands, a fast way to ``endpoint``."""
        if len(self.openings) >= MAX_IDLE_ENDPOINTS:
            self.openings.clear()
        self.openings[key] = endpoint

    def __iter__(self) -> Iterator[Endpoint]:
        """All that are still used by somebody, also those that the table has forgotten."""
        return iter(tuple(self._alive))

    def _sweep(self) -> None:
        """Forget places where nothing waits and no line stands: a crawl meets millions of hosts."""
        self.known.clear()
        self.openings.clear()
        self.last_url = self.last = None
        table = self._table
        used = {key: it for key, it in table.items() if it.lines or it.waiting or it.listed is not None}
        self._table = used
        self._sweep_at = max(MAX_IDLE_ENDPOINTS, 2 * len(used))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
