"""``grpc.Channel`` over our engine, so that generated stubs work unchanged.

``.future(…)`` queues a call and returns a ``grpc.Future``; a plain call runs the engine until its answer
is there (whatever else is queued runs meanwhile, callbacks and all). Streams are collected: a method that
streams replies returns an iterator over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import grpc

from .errors import AquestsError, TimedOut
from .exchange import Request, Response
from .grpcstub import Place
from .protocols.grpc import RpcError, metadata_of
from .script import script


class Call(grpc.Future, grpc.Call):
    """One call, queued. ``result()`` runs the engine until it is answered."""

    def __init__(self) -> None:
        self.request: Request
        self._done_callbacks: list[Callable[[Any], None]] = []

    # grpc.Future

    def result(self, timeout: float | None = None) -> Any:
        """The reply, or the list of replies. Raises grpc.RpcError, or grpc.FutureTimeoutError."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._wait(timeout).data

    def exception(self, timeout: float | None = None) -> Any:
        return _as_rpc_error(self._wait(timeout))

    def traceback(self, timeout: float | None = None) -> Any:
        error = self.exception(timeout)
        return None if error is None else error.__traceback__

    def done(self) -> bool:
        return self.request.response is not None

    def running(self) -> bool:
        return not self.done()

    def cancel(self) -> bool:
        """False: what is queued is sent. (gRPC allows a call that cannot be cancelled any more.)"""
        return False

    def cancelled(self) -> bool:
        return False

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        if self.done():
            fn(self)
        else:
            self._done_callbacks.append(fn)

    def on_response(self, response: Response) -> None:
        """The engine's callback for this call."""
        self.request.response = response
        callbacks, self._done_callbacks = self._done_callbacks, []
        for call in callbacks:
            call(self)

    # grpc.Call

    def code(self) -> Any:
        error = _as_rpc_error(self._wait(None))
        return grpc.StatusCode.OK if error is None else error.code()

    def details(self) -> str:
        error = _as_rpc_error(self._wait(None))
        return "" if error is None else error.details()

    def initial_metadata(self) -> Any:
        return metadata_of(self._wait(None).headers.items())

    def trailing_metadata(self) -> Any:
        return metadata_of(self._wait(None).trailers.items())

    # grpc.RpcContext

    def is_active(self) -> bool:
        return not self.done()

    def time_remaining(self) -> float | None:
        options = self.request.options
        if not options or "deadline" not in options:
            return None
        return float(max(0.0, self.request.queued_at + options["deadline"] - monotonic()))

    def add_callback(self, callback: Callable[[], None]) -> bool:
        if self.done():
            return False
        self._done_callbacks.append(lambda _: callback())
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self.result())

    def _wait(self, timeout: float | None) -> Response:
        engine = script.engine
        until = None if timeout is None else monotonic() + timeout
        while self.request.response is None:
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                raise grpc.FutureTimeoutError
            engine.step(left)
        return self.request.response


def _as_rpc_error(response: Response) -> RpcError | None:
    """What a generated stub's user expects: a broken line is UNAVAILABLE, a timeout DEADLINE_EXCEEDED."""
    error = response.error
    if not isinstance(error, AquestsError):
        return error  # type: ignore[no-any-return]
    late = isinstance(error, TimedOut)
    translated = RpcError(grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.UNAVAILABLE, str(error))
    translated.__cause__ = error
    return translated


class _Callable(
    grpc.UnaryUnaryMultiCallable,
    grpc.UnaryStreamMultiCallable,
    grpc.StreamUnaryMultiCallable,
    grpc.StreamStreamMultiCallable,
):
    """One method, whichever way it streams: the four interfaces differ in types only."""

    def __init__(self, place: Place, path: str, serialize: Any, deserialize: Any, takes: bool, gives: bool):
        self._place = place
        self._path = path
        self._serialize = serialize or bytes
        self._deserialize = deserialize or bytes
        self._takes = takes
        self._gives = gives

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Call:
        """Queue a call. ``credentials`` and ``wait_for_ready`` have no meaning here: lines are made as needed."""
        payload = self._place.body(request, self._serialize, self._takes)
        codec = self._place.codec(self._deserialize, self._gives)
        call = Call()
        call.request = self._place.prepare(
            self._path, payload, codec, timeout=timeout, metadata=metadata, callback=call.on_response
        )
        script.engine.submit(call.request)
        return call

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, *rest: Any, **more: Any
    ) -> Any:
        call = self.future(request, timeout, metadata, *rest, **more)
        return call if self._gives else call.result()

    def with_call(
        self, request: Any, timeout: float | None = None, metadata: Any = None, *rest: Any, **more: Any
    ) -> Any:
        call = self.future(request, timeout, metadata, *rest, **more)
        return call.result(), call


class Channel(grpc.Channel):
    """See :func:`aquests.grpc_channel`."""

    def __init__(self, url: str, options: dict[str, Any]):
        self._place = Place(url, options)

    def _callable(self, path: str, serialize: Any, deserialize: Any, takes: bool, gives: bool) -> _Callable:
        return _Callable(self._place, path, serialize, deserialize, takes, gives)

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *a: Any, **k: Any
    ) -> Any:
        return self._callable(method, request_serializer, response_deserializer, False, False)

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *a: Any, **k: Any
    ) -> Any:
        return self._callable(method, request_serializer, response_deserializer, False, True)

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *a: Any, **k: Any
    ) -> Any:
        return self._callable(method, request_serializer, response_deserializer, True, False)

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *a: Any, **k: Any
    ) -> Any:
        return self._callable(method, request_serializer, response_deserializer, True, True)

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        """Lines come and go with the work: the channel is always ready."""
        callback(grpc.ChannelConnectivity.READY)

    def unsubscribe(self, callback: Any) -> None:
        """Nothing is ever reported after ``subscribe``."""

    def close(self) -> None:
        """Close the lines, unless the engine still has work."""
        if script.engine.idle:
            script.engine.hang_up()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
