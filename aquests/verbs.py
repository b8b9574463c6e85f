"""The verbs of HTTP in the script face: each queues a request and returns it.

Readers take ``(url, params=None, headers=None)``, writers ``(url, data=None, headers=None)``. The typed
forms say what is sent, or for readers what is wanted: ``postjson(url, {"a": 1})`` sends JSON and asks for JSON,
``getjson(url, {"a": 1})`` puts the parameters into the query and asks for JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .body import FORM, JSON, NVP, XML, multipart
from .httprequest import HttpRequest, Options, make
from .script import script

if TYPE_CHECKING:
    from typing import Unpack

Verb = TypeVar("Verb", bound=Callable[..., HttpRequest])


class Reader(Protocol):
    def __call__(
        self, url: str, params: Any = None, headers: Any = None, **options: Unpack[Options]
    ) -> HttpRequest: ...


class Writer(Protocol):
    def __call__(
        self, url: str, data: Any = None, headers: Any = None, *, params: Any = None, **options: Unpack[Options]
    ) -> HttpRequest: ...


def _reads(method: str, kind: str, content_type: str | None = None) -> Reader:
    def verb(url: str, params: Any = None, headers: Any = None, **options: Any) -> HttpRequest:
        engine = script.made or script.engine
        request = make(method, kind, url, None, headers, params, content_type, options, engine.endpoints)
        engine.submit(request)
        return request

    wants = f", and {content_type} is asked for" if content_type else ""
    return _documented(verb, kind, f"Queue a {method} request; ``params`` go into the query{wants}.")


def _writes(method: str, kind: str, content_type: str | None = None) -> Writer:
    def verb(url: str, data: Any = None, headers: Any = None, *, params: Any = None, **options: Any) -> HttpRequest:
        engine = script.made or script.engine
        request = make(method, kind, url, data, headers, params, content_type, options, engine.endpoints)
        engine.submit(request)
        return request

    return _documented(verb, kind, f"Queue a {method} request; ``data`` is sent as {content_type or 'its type says'}.")


def _documented(verb: Verb, name: str, what: str) -> Verb:
    verb.__name__ = verb.__qualname__ = name
    verb.__doc__ = f"""{what}

    Keyword options: see :class:`aquests.httprequest.Options`. Returns the request; its ``response`` is set
    when it is answered. Raises RequestError for what cannot be sent, TypeError for a misspelt keyword.
    """
    return verb


def upload(
    url: str, fields: Any, headers: Any = None, *, params: Any = None, **options: Unpack[Options]
) -> HttpRequest:
    """Queue a POST of ``multipart/form-data`` (RFC 7578), streamed from disk with little memory.

    ``fields``: a mapping or pairs; values are text, bytes, numbers, files opened with ``"rb"``, tuples
    ``(filename, file or bytes or str[, content type])`` or lists of these. Files are read from where they
    stand, and not closed. Returns the request; raises RequestError for what cannot be sent.
    """
    body, content_type = multipart(fields)
    engine = script.engine
    request = make("POST", "upload", url, body, headers, params, content_type, dict(options), engine.endpoints)
    engine.submit(request)
    return request


get = _reads("GET", "get")
getform = _reads("GET", "getform", FORM)
getjson = _reads("GET", "getjson", JSON)
getxml = _reads("GET", "getxml", XML)
getnvp = _reads("GET", "getnvp", NVP)

head = _reads("HEAD", "head")
headform = _reads("HEAD", "headform", FORM)
headjson = _reads("HEAD", "headjson", JSON)
headxml = _reads("HEAD", "headxml", XML)
headnvp = _reads("HEAD", "headnvp", NVP)

options = _reads("OPTIONS", "options")
optionsform = _reads("OPTIONS", "optionsform", FORM)
optionsjson = _reads("OPTIONS", "optionsjson", JSON)
optionsxml = _reads("OPTIONS", "optionsxml", XML)
optionsnvp = _reads("OPTIONS", "optionsnvp", NVP)

trace = _reads("TRACE", "trace")
traceform = _reads("TRACE", "traceform", FORM)
tracejson = _reads("TRACE", "tracejson", JSON)
tracexml = _reads("TRACE", "tracexml", XML)
tracenvp = _reads("TRACE", "tracenvp", NVP)

delete = _reads("DELETE", "delete")
deleteform = _reads("DELETE", "deleteform", FORM)
deletejson = _reads("DELETE", "deletejson", JSON)
deletexml = _reads("DELETE", "deletexml", XML)
deletenvp = _reads("DELETE", "deletenvp", NVP)

post = _writes("POST", "post")
postform = _writes("POST", "postform", FORM)
postjson = _writes("POST", "postjson", JSON)
postxml = _writes("POST", "postxml", XML)
postnvp = _writes("POST", "postnvp", NVP)

put = _writes("PUT", "put")
putform = _writes("PUT", "putform", FORM)
putjson = _writes("PUT", "putjson", JSON)
putxml = _writes("PUT", "putxml", XML)
putnvp = _writes("PUT", "putnvp", NVP)

patch = _writes("PATCH", "patch")
patchform = _writes("PATCH", "patchform", FORM)
patchjson = _writes("PATCH", "patchjson", JSON)
patchxml = _writes("PATCH", "patchxml", XML)
patchnvp = _writes("PATCH", "patchnvp", NVP)
