"""``aquests.postgresql(server, dbname, auth)``: a stub that queues statements for PostgreSQL.

::

    dbo = aquests.postgresql("127.0.0.1:5432", "shop", ("user", "password"), callback=finish)
    dbo.execute("SELECT id, name FROM goods WHERE price < %s", (10,))
    dbo.execute(["UPDATE stock SET n = n - 1", ("INSERT INTO sales VALUES (%s)", (7,))])  # one transaction
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .errors import RequestError
from .exchange import Request
from .protocols import SCHEMES
from .script import script
from .sqlstub import Sql
from .stub import PER_CALL

if TYPE_CHECKING:
    from .endpoint import Endpoint

LIBPQ: Final = frozenset(
    (
        "application_name",
        "channel_binding",
        "client_encoding",
        "fallback_application_name",
        "gssencmode",
        "gsslib",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "options",
        "passfile",
        "require_auth",
        "requirepeer",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcertmode",
        "sslcompression",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
    )
)
"""Parameters of libpq that may be keywords."""
SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def postgresql(
    server: str = "127.0.0.1:5432",
    dbname: str | None = None,
    auth: str | Sequence[str | None] | None = None,
    *,
    ca: Any = None,
    cert: Any = None,
    **options: Any,
) -> Postgresql:
    """A stub for a PostgreSQL server, or for PgBouncer in transaction or session mode. Makes no connection by itself.

    - ``server``: ``"host:port"``, ``"host"``, the directory of a unix socket (``"/run/postgresql"``), or a DSN:
      ``postgresql://user:password@host:port/dbname?sslmode=…`` or ``"host=… dbname=…"``. ``dbname`` and
      ``auth=(user, password)`` win over the DSN's. What nobody says, libpq takes from its environment.
    - ``sslmode``, ``application_name`` ("aquests"), ``options`` … : parameters of libpq. ``ca``: the file of the
      authorities to trust, which makes ``sslmode`` verify-full unless it is given; ``cert``: the client's certificate,
      ``file``, ``(cert, key)`` or ``(cert, key, password)``, which makes it require at least.
    - ``max_connections``: lines to the server at once (as many as there are workers).
    - ``callback``, ``meta``, ``timeout``, ``deadline``: for all calls of the stub; they may also be given with a call.

    Lines are shared between all requests with equal parameters: a session's state (SET, temporary tables) is not
    kept for anybody. A request that is timed out closes its line, and a cancel request stops the statement.
    libpq collects an answer whole: nothing bounds its size.

    Raises RequestError for a server or option that cannot be, TypeError for a misspelt keyword.
    """
    return Postgresql(server, dbname, auth, ca, cert, options)


class Postgresql(Sql):
    """See :func:`postgresql`. Placeholders are psycopg2's: ``%s`` or ``%(name)s``, and ``%%`` for a percent sign.

    SQL is str, bytes or ``psycopg2.sql``. Types are psycopg2's, and uuid is UUID; uuid.UUID and dict (as JSON) may be
    params.
    """

    __slots__ = ("_composable", "_parameters", "_url", "_where")

    def __init__(self, server: str, dbname: str | None, auth: Any, ca: Any, cert: Any, options: dict[str, Any]):
        parameters = {name: options.pop(name) for name in LIBPQ & options.keys()}
        super().__init__(options, PER_CALL | LIBPQ | {"ca", "cert", "max_connections", "proxy"})
        SCHEMES["postgresql"].load()  # psycopg2 takes its time: not within the run
        from psycopg2.sql import Composable

        self._composable = Composable
        given = _dsn(server) | _tls(ca, cert)
        given |= {name: str(value) for name, value in parameters.items() if value is not None}
        if "sslmode" not in given and (ca is not None or cert is not None):
            given["sslmode"] = "require" if ca is None else "verify-full"
        if dbname is not None:
            if not isinstance(dbname, str):
                raise RequestError(f"dbname must be str, not {type(dbname).__name__}: postgresql(server, dbname, auth)")
            given["dbname"] = dbname
        if auth is not None:
            given |= _credentials(auth)
        host = given.pop("host", "") or os.environ.get("PGHOST") or "localhost"
        port = _port(given.pop("port", "") or os.environ.get("PGPORT") or "5432")
        unix = host if host.startswith(("/", "@")) else None
        address = given.pop("hostaddr", "") or host
        if address != host:
            given["host"] = host
        _validate(given)
        self._where = ("localhost" if unix else address.lower(), port, unix)
        self._parameters = tuple(sorted(given.items()))
        netloc = unix or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._url = f"postgresql://{netloc}/{given.get('dbname', '')}"

    def executemany(self, sql: Any, rows: Iterable[Any], **options: Any) -> Request:
        """Queue one statement for many rows of params, as one transaction; ``data`` is the result of the last one."""
        return self._queue("executemany", self._many(sql, rows), options)

    def _check(self, sql: Any) -> None:
        if isinstance(sql, str):
            empty, cut = not sql.strip(), "\0" in sql
        elif isinstance(sql, bytes):
            empty, cut = not sql.strip(), b"\0" in sql
        elif isinstance(sql, self._composable):
            return
        else:
            raise RequestError(f"SQL must be str, bytes or psycopg2.sql.Composable, not {type(sql).__name__}")
        if empty:
            raise RequestError("the statement is empty")
        if cut:
            raise RequestError("the statement has a NUL: libpq would cut it off there")

    def _find(self) -> None:
        host, port, unix = self._where
        self._found = self._place("postgresql", host, port, unix, parameters=self._parameters)
        self._found_in = script.engine.endpoints

    def _target(self, payload: Any) -> tuple[Endpoint, str, str]:
        return self._found, self._url, "postgresql"

    def __repr__(self) -> str:
        return f"<Postgresql {self._url}>"


def _dsn(server: str) -> dict[str, str]:
    """The parameters that stand in ``server``. Raises RequestError, which shows nothing of it."""
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    if not isinstance(server, str):
        raise RequestError(f"server must be str, not {type(server).__name__}")
    if server.startswith(("/", "@")):
        return {"host": server}
    if _torn(server):
        raise RequestError("server: write '@' and '/' in a password, or a name, as %40 and %2F")
    try:
        given = dict(parse_dsn(server if "=" in server or "://" in server else f"postgresql://{server}"))
    except (ProgrammingError, UnicodeEncodeError):
        raise RequestError(
            "server is nothing that libpq can read: write host:port, postgresql://user:password@host:port/dbname "
            "(with %XX for special characters), or host=… dbname=…"
        ) from None
    if "service" in given:
        raise RequestError("server: service= is not looked up; name host and dbname")
    if any("," in given.get(name, "") for name in ("host", "hostaddr", "port")):
        raise RequestError("server: one host only; make a stub for each")
    return given


def _torn(server: str) -> bool:
    """Would libpq take the end of a password for a part of the address, and show it? It ends it at the first ``@``."""
    scheme, found, rest = server.partition("://")
    if not found and "=" not in server:
        rest = server
    elif scheme not in ("postgresql", "postgres"):
        return False  # host=… user=…
    if "@" in rest.partition("/")[0]:
        rest = rest.partition("@")[2]
    return "@" in rest.partition("?")[0]


def _tls(ca: Any, cert: Any) -> dict[str, str]:
    """``ca`` and ``cert`` in libpq's words, which take files only."""
    files = (cert,) if isinstance(cert, (str, os.PathLike)) else () if cert is None else tuple(cert)
    if len(files) > 3:
        raise RequestError("cert must be a file, (cert, key) or (cert, key, password)")
    names = ("sslrootcert", "sslcert", "sslkey", "sslpassword")
    given: dict[str, Any] = {name: value for name, value in zip(names, (ca, *files), strict=False) if value is not None}
    for name, value in given.items():
        if not isinstance(value, (str, os.PathLike)) or (name != "sslpassword" and "-----BEGIN" in str(value)):
            raise RequestError(f"{'ca' if name == 'sslrootcert' else 'cert'} must name files: libpq reads nothing else")
    return {name: os.fspath(value) for name, value in given.items()}


def _credentials(auth: Any) -> dict[str, str]:
    words = (auth,) if isinstance(auth, str) else tuple(auth) if isinstance(auth, (tuple, list)) else ()
    if len(words) not in (1, 2) or not isinstance(words[0], str) or not isinstance(words[-1], (str, type(None))):
        raise RequestError("auth must be (user, password) or user, as str")
    return {name: word for name, word in zip(("user", "password"), words, strict=False) if word is not None}


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise RequestError("server: the port must be a number from 1 to 65535")
    return int(text)


def _validate(parameters: Mapping[str, str]) -> None:
    """What this libpq does not know, or cannot be said to it, is refused here and not with every line."""
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    if parameters.get("sslmode", "prefer") not in SSLMODES:
        raise RequestError(f"sslmode must be one of {', '.join(SSLMODES)}")
    for name, value in parameters.items():
        if "\0" in value:
            raise RequestError(f"{name} may not hold a NUL")
        try:
            value.encode()
            parse_dsn(f"{name}=x")
        except ProgrammingError:
            raise RequestError(f"this version of libpq knows no {name}") from None
        except UnicodeEncodeError:
            raise RequestError(f"{name} is text that UTF-8 cannot encode") from None
