"""Stubs for calls over HTTP: ``rpc(url)`` speaks XML-RPC, ``jsonrpc(url)`` JSON-RPC 2.0.

Their calls are POST requests like any other: they share lines with ``get`` and ``post``, and redirects, authentication,
cookies, proxies and limits hold for them. A call only queues, and returns its request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import RequestError
from .exchange import Callback, Codec
from .httprequest import HttpRequest, make
from .script import script
from .stub import Dotted


class HttpStub:
    """Where the calls go and the options they share, checked where the stub is made."""

    __slots__ = ("_headers", "_options", "_url")

    def __init__(self, url: str, headers: Any, options: dict[str, Any]):
        probe = HttpRequest("POST", url, b"", headers, **options)  # what is wrong with one of them is said here
        self._url = probe.url
        self._headers = probe.headers
        self._options = options | dict(probe.options or {})

    def _post(self, kind: str, body: bytes, content_type: str, codec: Codec) -> HttpRequest:
        engine = script.engine
        options = dict(self._options)
        request = make("POST", kind, self._url, body, self._headers, None, content_type, options, engine.endpoints)
        request.codec = codec
        engine.submit(request)
        return request

    def __getattr__(self, name: str) -> Dotted:
        if name.startswith("_"):
            raise AttributeError(name)
        return Dotted(self._call, name)

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"


class XmlRpcStub(HttpStub):
    """What :func:`rpc` returns."""

    __slots__ = ()

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
        if kwargs:
            raise TypeError(f"{name}() got {next(iter(kwargs))!r} by name, but XML-RPC knows positional arguments only")
        from .protocols.xmlrpc import CODEC, CONTENT_TYPE, encode

        return self._post("rpc", encode(name, args), CONTENT_TYPE, CODEC)


class JsonRpcStub(HttpStub):
    """What :func:`jsonrpc` returns; ``_notify`` is the same stub for calls that the server shall not answer."""

    __slots__ = ("_notifies",)

    def __init__(self, url: str, headers: Any, options: dict[str, Any]):
        super().__init__(url, headers, options)
        self._notifies = False

    @property
    def _notify(self) -> JsonRpcStub:
        stub = JsonRpcStub.__new__(JsonRpcStub)
        stub._url, stub._headers, stub._options = self._url, self._headers, self._options
        stub._notifies = True
        return stub

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
        if args and kwargs:
            raise TypeError(f"{name}() got positional and named parameters: JSON-RPC takes one kind or the other")
        from .protocols.jsonrpc import CONTENT_TYPE, encode

        body, codec = encode(name, kwargs or args, notify=self._notifies)
        return self._post("jsonrpc", body, CONTENT_TYPE, codec)


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
    ``xmlrpc.client.Fault``, the status stays HTTP's; ``xmlrpc.client.ProtocolError`` for any status but 200.

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
    ``code``, ``message`` and ``data``, the status stays HTTP's. ``jsonrpc(url)._notify.log("text")`` sends a
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
