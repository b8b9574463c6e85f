"""Ask anything, as many times as you like, as fast as the wire allows, from plain Python.

::

    import aquests

    aquests.configure(workers=100, callback=lambda response: print(response.status_code))
    for i in range(10000):
        aquests.get("http://127.0.0.1:5000/", meta={"job_name": "test1"})
    print(aquests.fetchall())
"""

from __future__ import annotations

from . import errors
from .exchange import Response
from .httprequest import HttpRequest as Request
from .report import Report
from .script import (
    concurrent,
    configure,
    countfin,
    countreq,
    delete,
    feed,
    fetchall,
    get,
    head,
    options,
    patch,
    post,
    put,
    qsize,
    submit,
    trace,
    workings,
)
from .version import __version__

result: Report | None = None
"""The report of the last ``fetchall()``."""

__all__ = [
    "Report",
    "Request",
    "Response",
    "__version__",
    "concurrent",
    "configure",
    "countfin",
    "countreq",
    "delete",
    "errors",
    "feed",
    "fetchall",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
    "qsize",
    "result",
    "submit",
    "trace",
    "workings",
]
