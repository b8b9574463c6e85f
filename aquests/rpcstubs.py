"""Stubs for calls over HTTP: ``rpc(url)`` speaks XML-RPC, ``jsonrpc(url)`` JSON-RPC 2.0.

Their calls are POST requests like any other: they share lines with ``get`` and ``post``, and redirects, authentication,
cookies, proxies and limits hold for them. A call only queues, and returns its request.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any
from weakref import ref

from .endpoint import Endpoint, Endpoints
from .errors import RequestError
from .exchange import Callback, Codec, new
from .httprequest import HttpRequest, fill
from .script import script
from .stub import Dotted
from .url import split


class Calls:
    """What the calls of a stub have in common; beside it, for attributes of a class with ``__getattr__`` are slow.

    ``like`` is a request as all of them are, not queued; ``meta`` is the user's.
    """

    __slots__ = ("_callback", "_headers", "_meta", "_options", "_url", "_where")

    def __init__(self, like: HttpRequest, meta: Mapping[str, Any] | None):
        self._url = like.url
        self._headers = like.headers
        self._callback = like.callback
        self._options = like.options
        self._meta = meta
        self._where: tuple[Endpoints, ref[Endpoint]] | None = None

    def _find(self, endpoints: Endpoints) -> Endpoint:
        """Where the calls go; remembered for as long as anybody uses it."""
        found = endpoints.find(split(self._url), self._options)
        self._where = endpoints, ref(found)
        return found

    def post(self, kind: str, body: bytes, codec: Codec) -> HttpRequest:
        """Queue a call and return its request. The hot path."""
        engine = script.made or script.engine
        where = self._where
        if where is None or where[0] is not engine.endpoints or (endpoint := where[1]()) is None:
            endpoint = self._find(engine.endpoints)
        request = new(HttpRequest)
        fill(  # by place: 0.1 µs less than by name
            request,
            "POST",
            self._url,
            body,
            self._headers,
            kind,
            endpoint,
            self._callback,
            self._meta,
            self._options,
            codec,
        )
        engine.submit(request)
        return request


class HttpStub:
    """Where the calls go and what they share, checked and made once, where the stub is made.

    It has a dict for its methods, which are found there at once when they are called again.
    """

    __slots__ = ("__dict__", "_calls", "_url")

    def __init__(self, url: str, headers: Any, content_type: str, options: dict[str, Any]):
        meta: Mapping[str, Any] | None = options.get("meta")
        probe = HttpRequest.__new__(HttpRequest)  # what is wrong with one of them is said here
        probe._prepare("POST", "", url, b"", headers, None, content_type, options, None)
        self._url = probe.url
        self._calls = Calls(probe, meta)

    def __getattr__(self, name: str) -> Dotted:
        if name.startswith("_"):
            raise AttributeError(name)
        call = self.__dict__[name] = Dotted(self._call, name)
        return call

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"


class XmlRpcStub(HttpStub):
    """What :func:`rpc` returns."""

    __slots__ = ("_codec", "_encode")

    def __init__(self, url: str, headers: Any, options: dict[str, Any]):
        from .protocols.xmlrpc import CONTENT_TYPE, XmlRpc, encode

        super().__init__(url, headers, CONTENT_TYPE, options)
        self._codec = XmlRpc()
        self._encode = encode

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
        if kwargs:
            given = next(iter(kwargs))
            hint = "XML-RPC knows positional arguments only, and options go where the stub is made"
            raise TypeError(f"{name}() got {given!r} by name, but {hint}")
        return self._calls.post("rpc", self._encode(name, args), self._codec)


class JsonRpcStub(HttpStub):
    """What :func:`jsonrpc` returns; ``_notify`` is the same stub for calls that the server shall not answer."""

    __slots__ = ("_encode", "_notifies", "_notify")

    def __init__(self, url: str, headers: Any, options: dict[str, Any]):
        from .protocols.jsonrpc import CONTENT_TYPE, encode

        super().__init__(url, headers, CONTENT_TYPE, options)
        self._encode = encode
        self._notifies = False
        notify = self._notify = copy(self)
        notify._notifies = True
        notify._notify = notify

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
        if args and kwargs:
            raise TypeError(f"{name}() got positional and named parameters: JSON-RPC takes one kind or the other")
        body, codec = self._encode(name, kwargs or args, notify=self._notifies)
        return self._calls.post("jsonrpc", body, codec)


def rpc(
    url: str,
    auth: Any = None,
    headers: Any = None,
    callback: Callback | None = None,
    meta: Mapping[str, Any] | None = None,
    **options: Any,
) -> XmlRpcStub:
    """A stub for the XML-RPC methods at ``url``; a URL without a path means ``/RPC2``, as in ``xmlrpc.client``.

    ``rpc(url).system.listMethods()`` queues a call and returns its request. ``response.data`` is the value: bytes for
    base64, datetime for dates, None for nil. A fault is an answer that is not ``ok``: ``response.error`` is an
    ``xmlrpc.client.Fault``, the status 500 "Fault"; ``xmlrpc.client.ProtocolError`` for any HTTP status but 200.

    The options of :class:`aquests.httprequest.Options` hold for all calls; ``meta`` is copied for each. Raises
    RequestError for what cannot be sent (where the call is queued), TypeError for arguments by name and for a
    misspelt option.
    """
    return XmlRpcStub(_with_path(url), headers, _common(auth, callback, meta, dict(options)))


def jsonrpc(
    url: str,
    auth: Any = None,
    headers: Any = None,
    callback: Callback | None = None,
    meta: Mapping[str, Any] | None = None,
    **options: Any,
) -> JsonRpcStub:
    """A stub for the JSON-RPC 2.0 methods at ``url``.

    ``jsonrpc(url).math.add(1, 2)`` or ``.add(a=1, b=2)`` queues a call and returns its request; ``response.data`` is
    the result. An error object is an answer that is not ``ok``: ``response.error`` is an ``errors.JsonRpcError`` with
    ``code``, ``message`` and ``data``, the status 500 "Error". ``jsonrpc(url)._notify.log("text")`` sends a
    notification, which a server does not answer: its ``data`` is None.

    The options of :class:`aquests.httprequest.Options` hold for all calls; ``meta`` is copied for each. Raises
    RequestError for what cannot be sent (where the call is queued), TypeError for positional and named parameters
    together and for a misspelt option.
    """
    return JsonRpcStub(url, headers, _common(auth, callback, meta, dict(options)))


def _common(auth: Any, callback: Any, meta: Any, options: dict[str, Any]) -> dict[str, Any]:
    named = {"auth": auth, "callback": callback, "meta": meta}
    return options | {name: value for name, value in named.items() if value is not None}


def _with_path(url: Any) -> str:
    if not isinstance(url, str):
        raise RequestError(f"a URL is a str, not {type(url).__name__}")
    _, mark, rest = url.partition("://")
    return f"{url}/RPC2" if mark and rest and not set("/?#") & set(rest) else url
