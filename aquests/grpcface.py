"""gRPC in the script face: two calls, behind which grpcio and protobuf are loaded when they are made first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .grpcchannel import Channel
    from .grpcstub import Grpc


def grpc(url: str, **options: Any) -> Grpc:
    """A stub for ``http://host:port/package.Service`` (HTTP/2 by prior knowledge) or ``https://…``.

    ``stub.Method(message)`` queues a call and returns its request: ``message`` is a protobuf message, a dict
    (JSON mapping of protobuf) or, for methods that take a stream, an iterable of these. ``response.data`` is the reply,
    or the list of replies if the method streams them; ``response.metadata`` the initial and the trailing metadata.
    A status that is not OK is an answer: ``response.error`` is a ``grpc.RpcError`` with ``code()`` and ``details()``.

    Calls take ``timeout`` (seconds for the whole call; sent as grpc-timeout and enforced here; beside ``deadline``,
    which is then that, the longest silence), ``metadata`` (pairs or a mapping; bytes under ``…-bin``), ``compression``
    (``"gzip"`` or ``"deflate"``), ``callback`` and ``meta``.

    Options: the same, for all calls; ``max_message`` (bytes of one reply, 4 MiB), ``max_content`` (of all of an
    answer), ``verify``, ``ca``, ``cert``, ``proxy``, ``unix``.

    Raises RequestError for a URL or message that cannot be, TypeError for a misspelt option.
    """
    from .grpcstub import Grpc

    return Grpc(url, **options)


def grpc_channel(url: str, **options: Any) -> Channel:
    """A ``grpc.Channel`` for generated stubs over this engine: ``http://host:port``; options as for :func:`grpc`.

    ``stub.Method.future(message)`` queues, ``stub.Method(message)`` runs the engine until that one is answered.
    """
    from .grpcchannel import Channel

    return Channel(url, options)
