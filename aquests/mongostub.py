"""MongoDB in the script face: ``aquests.mongodb("127.0.0.1:27017", "shop").find("orders", {"open": True})``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .errors import RequestError
from .exchange import Request
from .script import script
from .stub import COMMON, PER_CALL, Stub, whole

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .protocols.mongohosts import Address, Topology

KNOWN: Final = COMMON | {"tls", "auth_source", "auth_mechanism", "pipeline", "replica_set", "read_preference", "app"}
CALLED: Final = PER_CALL | {"max_content"}
MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-1")
PREFERENCES: Final = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")
MAX_PIPELINE: Final = 1000
Sort = Mapping[str, Any] | Sequence[tuple[str, Any]] | str | None


class MongoDB(Stub):
    """The stub of one database; each method queues an operation and returns its request.

    ``response.data`` of what returns documents is ``{"starting_from", "number_returned", "cursor_id", "data"}``,
    of ``count`` a number, of writes the server's reply. A refusal is an answer: ``response.error`` is pymongo's
    own error, ``status_code`` 500. Every method takes ``callback``, ``meta``, ``timeout``, ``deadline`` and
    ``max_content`` for this call.
    """

    _per_call = CALLED

    __slots__ = ("_database", "_distinct", "_found", "_found_in", "_message", "_preference", "_scheme", "_topology")

    def __init__(self, server: str, dbname: str | None = None, auth: Any = None, **options: Any):
        given = {name: options.pop(name) for name in KNOWN - COMMON if name in options}
        where = _parse(server, given)
        if where["timeout"] is not None:
            options.setdefault("timeout", where["timeout"])
        if where["ca"] is not None:
            options.setdefault("ca", where["ca"])
        if where["cert"] is not None:
            options.setdefault("cert", where["cert"])
        if where["insecure"]:
            options.setdefault("verify", False)
        super().__init__(options, COMMON)
        from .protocols import mongomsg
        from .protocols.mongohosts import topology_of

        self._message = mongomsg
        self._found_in: Any = None
        self._found: dict[Address, tuple[Endpoint, str]] = {}
        self._database = dbname or where["database"]
        if not self._database or not isinstance(self._database, str):
            raise RequestError("the database is missing: mongodb(server, 'name'), or mongodb://host/name")
        self._scheme = "mongodb+tls" if given.get("tls", where["tls"]) else "mongodb"
        self._topology: Topology = topology_of(where["hosts"], given.get("replica_set", where["replica_set"]))
        mechanism = given.get("auth_mechanism", where["mechanism"])
        if mechanism is not None and mechanism not in MECHANISMS:
            raise RequestError(f"auth_mechanism is one of {', '.join(MECHANISMS)}, not {mechanism!r}")
        self._preference = given.get("read_preference", where["read_preference"]) or "primary"
        if self._preference not in PREFERENCES:
            raise RequestError(f"read_preference is one of {', '.join(PREFERENCES)}, not {self._preference!r:.40}")
        self._distinct: dict[str, Any] = {
            "topology": self._topology,
            "database": self._database,
            "app": given.get("app", where["app"]),
            "pipeline": whole("pipeline", given.get("pipeline", 1), 1, MAX_PIPELINE),
        }
        user, password = _credentials(auth) or where["auth"] or (None, None)
        if user is not None:
            source = given.get("auth_source") or where["source"] or where["database"] or "admin"
            self._distinct["credentials"] = (user, password, source, mechanism)

    # Reading

    def find(
        self,
        collection: str,
        spec: Any = None,
        offset: int = 0,
        limit: int = 1,
        *,
        sort: Sort = None,
        projection: Any = None,
        **own: Any,
    ) -> Request:
        """At most ``limit`` documents that match ``spec``, after ``offset`` of them; 0 for all."""
        return self._find("find", collection, spec, offset, limit, sort, projection, own, drain=True)

    def findone(
        self, collection: str, spec: Any = None, *, sort: Sort = None, projection: Any = None, **own: Any
    ) -> Request:
        """The first document that matches."""
        return self._find("findone", collection, spec, 0, 1, sort, projection, own)

    def findall(
        self, collection: str, spec: Any = None, *, sort: Sort = None, projection: Any = None, **own: Any
    ) -> Request:
        """All documents that match: the cursor is drained, up to ``max_content`` bytes."""
        return self._find("findall", collection, spec, 0, 0, sort, projection, own, drain=True)

    def findkc(
        self,
        collection: str,
        spec: Any = None,
        offset: int = 0,
        limit: int = 101,
        *,
        sort: Sort = None,
        projection: Any = None,
        **own: Any,
    ) -> Request:
        """The first ``limit`` documents, and the cursor is kept: ``data["cursor_id"]`` is for :meth:`get_more`."""
        return self._find("findkc", collection, spec, offset, limit, sort, projection, own, keep=True)

    def _find(
        self,
        kind: str,
        collection: str,
        spec: Any,
        offset: int,
        limit: int,
        sort: Sort,
        projection: Any,
        own: dict[str, Any],
        *,
        drain: bool = False,
        keep: bool = False,
    ) -> Request:
        document: dict[str, Any] = {"find": _name(collection), "filter": _mapping(spec, "the filter")}
        if offset:
            document["skip"] = _count(offset, "offset")
        if keep:
            document["batchSize"] = _count(limit, "limit")
        elif limit:
            document["limit"] = _count(limit, "limit")
            if limit == 1:
                document["singleBatch"] = True
        if sort is not None:
            document["sort"] = _sort(sort)
        if projection is not None:
            document["projection"] = _projection(projection)
        return self._do(kind, document, "cursor", own, collection=collection, drain=drain, start=offset, reads=True)

    def get_more(self, collection: str, cursor_id: int, n: int = 101, **own: Any) -> Request:
        """The next ``n`` documents of a kept cursor, from the server it lives on."""
        document = self._message.get_more(_cursor(cursor_id), _name(collection), self._database, _count(n, "n"))
        kept = self._topology.cursors.get(cursor_id)
        address = kept[1] if kept else None
        return self._do("get_more", document, "cursor", own, address, collection=collection, cursor=cursor_id)

    def kill_cursors(self, ids: Any, collection: str | None = None, **own: Any) -> Request:
        """Let go of kept cursors of one collection (known from where they came), which live on one server."""
        from bson.int64 import Int64

        cursors = [_cursor(one) for one in ([ids] if isinstance(ids, int) else ids)]
        if not cursors:
            raise RequestError("kill_cursors: no cursor is named")
        known = [self._topology.cursors[one] for one in cursors if one in self._topology.cursors]
        collection = collection or (known[0][0] if known else None)
        if collection is None:
            raise RequestError("kill_cursors does not know these cursors: name their collection, too")
        servers = {address for _, address in known}
        if len(servers) > 1:
            raise RequestError(f"these cursors live on {len(servers)} servers: one call for each of them")
        document = {"killCursors": _name(collection), "cursors": [Int64(one) for one in cursors]}
        request = self._do("kill_cursors", document, "plain", own, next(iter(servers), None), cursor=cursors[0])
        for one in cursors:
            self._topology.cursors.pop(one, None)
        return request

    def aggregate(self, collection: str, pipeline: Sequence[Mapping[str, Any]], **more: Any) -> Request:
        """The documents a pipeline gives, all of them; ``more``: options of the command, such as ``allowDiskUse``."""
        own = {name: more.pop(name) for name in CALLED & more.keys()}
        single = isinstance(pipeline, (Mapping, str)) or not isinstance(pipeline, Iterable)
        stages = [] if single else list(pipeline)
        if single or not all(isinstance(stage, Mapping) for stage in stages):
            raise RequestError("the pipeline must be a list of stages: write [{'$match': {…}}]")
        document = {"aggregate": _name(collection), "pipeline": stages, "cursor": {}, **more}
        reads = not any("$out" in stage or "$merge" in stage for stage in stages)
        return self._do("aggregate", document, "cursor", own, collection=collection, drain=True, reads=reads)

    def count(self, collection: str, spec: Any = None, **own: Any) -> Request:
        """How many documents match."""
        document = {"count": _name(collection), "query": _mapping(spec, "the filter")}
        return self._do("count", document, "count", own, reads=True)

    def command(self, document: Mapping[str, Any] | str, **own: Any) -> Request:
        """Any command, such as ``{"ping": 1}``; ``data`` is the server's reply."""
        document = {document: 1} if isinstance(document, str) else dict(_mapping(document, "the command"))
        if not document:
            raise RequestError("the command is empty: write {'ping': 1}")
        return self._do("command", document, "plain", own)

    # Writing

    def insert(self, collection: str, docs: Any, continue_on_error: int = 0, **own: Any) -> Request:
        """One document or a sequence of them; those without ``_id`` get one. ``data["ids"]`` are those inserted."""
        from bson.objectid import ObjectId

        if not isinstance(docs, Iterable):
            raise RequestError(f"insert takes a document or a sequence of them, not {type(docs).__name__}")
        documents = [docs] if isinstance(docs, Mapping) else list(docs)
        if not documents:
            raise RequestError("nothing to insert: give a document or a sequence of them")
        ids, encoded = [], []
        for index, document in enumerate(documents):
            if isinstance(document, Mapping) and "_id" not in document:
                document = {"_id": ObjectId(), **document}
            encoded.append(self._message.encode_document(document, f"document {index}"))
            ids.append(document["_id"])
        command = {"insert": _name(collection), "ordered": not continue_on_error}
        return self._do("insert", command, "plain", own, documents=encoded, ids=ids)

    def update(self, collection: str, spec: Any, doc: Any, **own: Any) -> Request:
        """Change all documents that match."""
        return self._update("update", collection, spec, doc, own, multi=True)

    def updateone(self, collection: str, spec: Any, doc: Any, **own: Any) -> Request:
        """Change, or replace, the first document that matches."""
        return self._update("updateone", collection, spec, doc, own)

    def upsert(self, collection: str, spec: Any, doc: Any, **own: Any) -> Request:
        """Change all documents that match; insert one if there is none."""
        return self._update("upsert", collection, spec, doc, own, multi=True, upsert=True)

    def upsertone(self, collection: str, spec: Any, doc: Any, **own: Any) -> Request:
        """Change, or replace, the first document that matches; insert one if there is none."""
        return self._update("upsertone", collection, spec, doc, own, upsert=True)

    def _update(self, kind: str, collection: str, spec: Any, doc: Any, own: dict[str, Any], **how: bool) -> Request:
        if not isinstance(doc, (Mapping, list, tuple)):
            raise RequestError(f"the update must be a document or a pipeline, not {type(doc).__name__}")
        change = {"q": _mapping(spec, "the filter"), "u": doc, **how}
        return self._do(kind, {"update": _name(collection), "updates": [change]}, "plain", own)

    def delete(self, collection: str, spec: Any, flag: int = 0, **own: Any) -> Request:
        """Remove all documents that match; with ``flag=1`` the first only."""
        removal = {"q": _mapping(spec, "the filter"), "limit": 1 if flag & 1 else 0}
        return self._do("delete", {"delete": _name(collection), "deletes": [removal]}, "plain", own)

    # All

    def _do(
        self,
        kind: str,
        document: dict[str, Any],
        shape: str,
        own: dict[str, Any],
        address: Address | None = None,
        *,
        reads: bool = False,
        **more: Any,
    ) -> Request:
        document.setdefault("$db", self._database)
        topology = self._topology
        if reads and self._preference != "primary":
            document["$readPreference"] = {"mode": self._preference}
            if self._preference != "primaryPreferred":
                address = topology.reader(monotonic(), any_of_them=self._preference == "nearest")
        message = self._message
        data = message.encode_document(document, "the command", message.MAX_BSON + message.OVERHEAD)
        if len(data) > message.MAX_BSON:
            for change in document.get("updates", ()):
                if isinstance(change["u"], Mapping):
                    message.encode_document(change["u"], "the update")  # the command itself may be a little larger
        command = message.Command(data, shape, reads=reads, **more)
        place, url = self._place_at(address or topology.primary)
        return self._ask(kind.upper(), url, command, place, kind, None, own)

    def _place_at(self, address: Address) -> tuple[Endpoint, str]:
        """The place of a server, and the URL that is shown; looked for once."""
        endpoints = (script.made or script.engine).endpoints
        if self._found_in is not endpoints:
            self._found_in = endpoints
            self._found.clear()
        found = self._found.get(address)
        if found is None:
            from .protocols.mongohosts import shown_url

            place = self._place(self._scheme, *address, **self._distinct)
            found = self._found[address] = place, shown_url(address, self._database)
        return found

    def __repr__(self) -> str:
        from .protocols.mongohosts import label

        return f"<MongoDB stub of {self._database} at {label(self._topology.primary)}>"


def mongodb(server: str, dbname: str | None = None, auth: Any = None, **options: Any) -> MongoDB:
    """A stub for a database: ``server`` is ``"host:port"``, or a ``mongodb://`` URI with hosts, database and options.

    ``auth``: ``(user, password)``. Options: ``tls``, ``auth_source``, ``auth_mechanism`` (SCRAM-SHA-256 or SCRAM-SHA-1;
    by default what the server offers), ``replica_set``, ``read_preference``, ``pipeline`` (operations at once on a
    line, 1), ``app`` (a name for the server's log), and those of every stub: ``callback``, ``meta``, ``timeout`` …

    Of several hosts one that is dead is replaced by the others. All goes to the primary; reads go to the secondaries
    in turn if ``read_preference`` says so, to all of them with ``"nearest"``. A write that may have been executed is
    never sent again; a read that broke is asked once more, of another host.

    Raises RequestError for an address that cannot be, TypeError for a misspelt option.
    """
    return MongoDB(server, dbname, auth, **options)


def _parse(server: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a server's address, plain or a URI, says."""
    where: dict[str, Any] = dict.fromkeys(
        ("database", "auth", "source", "mechanism", "replica_set", "read_preference", "timeout", "ca", "cert")
    )
    where |= {"tls": False, "insecure": False, "app": "aquests"}
    if not isinstance(server, str):
        raise RequestError(f"the server is 'host:port' or a mongodb:// URI, not {type(server).__name__}")
    if server.startswith("mongodb+srv://"):
        raise RequestError(
            "mongodb+srv:// needs DNS records that are not looked up here: list the hosts, mongodb://h1,h2"
        )
    uri = server if server.startswith("mongodb://") else f"mongodb://{server}"
    if "@" in uri.removeprefix("mongodb://").partition("/")[2].partition("?")[0]:  # the rest of a password, most likely
        raise RequestError("the MongoDB address: write '/' and '@' in a password, or a name, as %2F and %40")
    import warnings

    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = parse_uri(uri)
    except OSError as fault:
        raise RequestError(f"the MongoDB address names a file that cannot be read: {fault}") from fault
    except (PyMongoError, ValueError) as fault:
        # pymongo's text may quote the URI, and with it the password
        raise RequestError("the MongoDB address cannot be read: mongodb://user:password@host:port/database") from (
            None if "@" in uri else fault
        )
    options = {name.lower(): value for name, value in found["options"].items()}
    where["hosts"] = [(str(host).lower(), port) for host, port in found["nodelist"]]
    where["database"] = found["database"]
    if found["username"] is not None:
        where["auth"] = (found["username"], found["password"] or "")
    where["source"] = options.get("authsource")
    where["mechanism"] = options.get("authmechanism")
    where["tls"] = bool(options.get("tls", options.get("ssl", False)))
    where["insecure"] = bool(options.get("tlsallowinvalidcertificates") or options.get("tlsinsecure"))
    where["ca"] = options.get("tlscafile")
    where["cert"] = options.get("tlscertificatekeyfile")
    where["read_preference"] = options.get("readpreference")
    where["app"] = options.get("appname") or "aquests"
    where["timeout"] = options.get("sockettimeoutms") or options.get("connecttimeoutms")
    if not options.get("directconnection"):
        where["replica_set"] = options.get("replicaset")
    return where


def _credentials(auth: Any) -> tuple[str, str] | None:
    if auth is None:
        return None
    if not isinstance(auth, (tuple, list)) or len(auth) != 2 or not all(isinstance(part, str) for part in auth):
        raise RequestError("auth is (user, password), both of them str")
    try:
        "".join(auth).encode()
    except UnicodeEncodeError:
        raise RequestError("auth is text that UTF-8 cannot encode") from None
    return auth[0], auth[1]


def _name(collection: Any) -> str:
    if not collection or not isinstance(collection, str) or "\0" in collection or collection.startswith("$"):
        raise RequestError(f"{collection!r} is no name of a collection")
    return collection


def _mapping(spec: Any, what: str) -> Mapping[str, Any]:
    if spec is None:
        return {}
    if spec.__class__ is not dict and not isinstance(spec, Mapping):
        raise RequestError(f"{what} must be a mapping, not {type(spec).__name__}")
    return spec


def _count(number: Any, name: str) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise RequestError(f"{name} must be a whole number of at least 0, not {number!r}")
    return number


def _cursor(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not -(2**63) <= number < 2**63:
        raise RequestError(f"a cursor is a whole number of 64 bits, not {number!r:.40}")
    return number


def _sort(sort: Sort) -> dict[str, Any]:
    """``"name"``, pairs or a mapping; 1 is ascending, -1 descending."""
    try:
        return {sort: 1} if isinstance(sort, str) else dict(sort or ())
    except (TypeError, ValueError):
        raise RequestError("sort must be a name, pairs [(name, 1 or -1), …] or a mapping") from None


def _projection(projection: Any) -> dict[str, Any]:
    if isinstance(projection, str) or not isinstance(projection, Iterable):
        raise RequestError("projection must be a mapping or a list of names")
    return dict(projection) if isinstance(projection, Mapping) else dict.fromkeys(projection, 1)
