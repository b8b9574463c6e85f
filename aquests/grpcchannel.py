"""``grpc.Channel`` over our engine, so that generated stubs work unchanged.

``.future(…)`` queues a call and returns a ``grpc.Future``; a plain call runs the engine until its answer
is there (whatever else is queued runs meanwhile, callbacks and all). Streams are collected: a method that
streams replies returns an iterator over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final

import grpc

from .errors import AquestsError, Cancelled, ProtocolError, RequestError, StreamReset, TimedOut, TooLarge
from .exchange import Request, Response
from .grpcplace import Place, Usual
from .httprequest import check
from .protocols.grpc import Metadata, RpcError
from .script import script

_CODES: Final = (
    (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Cancelled, grpc.StatusCode.CANCELLED),
    (TooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ((ProtocolError, RequestError), grpc.StatusCode.INTERNAL),
)
"""What a failed line is in gRPC's words; else it is UNAVAILABLE."""
_RESETS: Final = {
    "CANCEL": grpc.StatusCode.CANCELLED,
    "REFUSED_STREAM": grpc.StatusCode.UNAVAILABLE,
    "ENHANCE_YOUR_CALM": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "INADEQUATE_SECURITY": grpc.StatusCode.PERMISSION_DENIED,
}
"""By RST_STREAM ("Errors" in the protocol document); others are INTERNAL."""


class Call(grpc.Future, grpc.Call):
    """One call, queued. ``result()`` runs the engine until it is answered; iterating gives the replies of a stream."""

    request: Request
    _done_callbacks: tuple[Callable[[], Any], ...] = ()
    _cancelled = False
    _error: Any = None
    """The error that was told, made once."""
    _replies: Iterator[Any] | None = None

    # grpc.Future

    def result(self, timeout: float | None = None) -> Any:
        """The reply, or the list of replies.

        Raises grpc.RpcError, grpc.FutureCancelledError, grpc.FutureTimeoutError; RuntimeError in a callback of the
        engine, if the call is not answered: use ``add_done_callback`` there.
        """
        if self._cancelled:
            raise grpc.FutureCancelledError
        response = self._wait(timeout)
        if response.error is not None:
            raise self._fault(timeout)
        return response.data

    def exception(self, timeout: float | None = None) -> Any:
        """The grpc.RpcError, or None. Raises as ``result``."""
        if self._cancelled:
            raise grpc.FutureCancelledError
        return self._fault(timeout)

    def traceback(self, timeout: float | None = None) -> Any:
        error = self.exception(timeout)
        return None if error is None else error.__traceback__

    def done(self) -> bool:
        return self._cancelled or self.request.response is not None

    def running(self) -> bool:
        return not self.done()

    def cancel(self) -> bool:
        """Give up. What still waits in the queue is not sent; what was sent is answered, to nobody."""
        if self.done():
            return False
        self._cancelled = True
        self._error = RpcError(grpc.StatusCode.CANCELLED, "cancelled here")
        self.request.options = {**(self.request.options or {}), "deadline": -1.0}  # its time is over
        self._call_back()
        return True

    def cancelled(self) -> bool:
        return self._cancelled

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Call ``fn(self)`` when it is done; at once if it is."""
        if self.done():
            fn(self)
        else:
            self._done_callbacks += (lambda: fn(self),)

    def on_response(self, response: Response) -> None:
        """The engine's callback for this call."""
        self.request.callback = None  # or both would be a ring, which only the garbage collector frees
        if self._done_callbacks and not self._cancelled:
            self._call_back()

    def _call_back(self) -> None:
        callbacks, self._done_callbacks = self._done_callbacks, ()
        for call in callbacks:
            call()

    # grpc.Call

    def code(self) -> Any:
        error = self._fault(None)
        return grpc.StatusCode.OK if error is None else error.code()

    def details(self) -> str:
        error = self._fault(None)
        return "" if error is None else error.details()

    def initial_metadata(self) -> Metadata:
        return self._metadata()[0]

    def trailing_metadata(self) -> Metadata:
        return self._metadata()[1]

    def _metadata(self) -> tuple[Metadata, Metadata]:
        return ((), ()) if self._cancelled else self._wait(None).metadata or ((), ())

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
        self._done_callbacks += (callback,)
        return True

    # A stream of replies

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next reply. Raises grpc.RpcError behind the last one if the status is not OK."""
        if self._replies is None:
            self._replies = iter(() if self._cancelled else self._wait(None).data or ())
        for reply in self._replies:
            return reply
        error = self._fault(None)
        if error is not None:
            raise error
        raise StopIteration

    def _fault(self, timeout: float | None) -> Any:
        if self._error is None:
            self._error = _as_rpc_error(self._wait(timeout))
        return self._error

    def _wait(self, timeout: float | None) -> Response:
        response = self.request.response
        if response is not None:
            return response
        engine = script.engine
        until = None if timeout is None else monotonic() + timeout
        while self.request.response is None:
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                raise grpc.FutureTimeoutError
            if engine.idle:
                raise Cancelled("the engine that this call was queued in is gone")
            engine.step(left)
        return self.request.response


def _as_rpc_error(response: Response) -> Any:
    """What a generated stub's user expects: a broken line is UNAVAILABLE, a timeout DEADLINE_EXCEEDED."""
    error = response.error
    if not isinstance(error, AquestsError):
        return error
    if isinstance(error, StreamReset):
        code = _RESETS.get(error.h2_name, grpc.StatusCode.INTERNAL)
    else:
        code = next((code for kinds, code in _CODES if isinstance(error, kinds)), grpc.StatusCode.UNAVAILABLE)
    translated = RpcError(code, str(error))
    translated.__cause__ = error
    return translated


class _Callable(
    grpc.UnaryUnaryMultiCallable,
    grpc.UnaryStreamMultiCallable,
    grpc.StreamUnaryMultiCallable,
    grpc.StreamStreamMultiCallable,
):
    """One method, whichever way it streams: the four interfaces differ in types only."""

    def __init__(self, channel: Channel, path: str, serialize: Any, deserialize: Any, takes: bool, gives: bool):
        self._channel = channel
        self._path = path
        self._serialize = serialize or _raw
        self._codec = channel.place.codec(deserialize or bytes, gives)
        self._takes = takes
        self._gives = gives
        self._usual: Usual | None = None

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Call:
        """Queue a call. ``credentials`` and ``wait_for_ready`` have no meaning here: lines are made as needed.

        Raises ValueError on a channel that is closed, RequestError for what cannot be sent.
        """
        if self._channel.closed:
            raise ValueError("the channel is closed")
        call = Call()
        if self._takes or timeout is not None or metadata is not None or compression is not None:
            place = self._channel.place
            _check_time(timeout)
            coding = place.coding(compression)
            asked = place.prepare(self._path, coding, timeout=timeout, metadata=metadata, callback=call.on_response)
            asked.payload = place.body(request, self._serialize, self._takes, coding)
            asked.codec = self._codec
        else:
            usual = self._usual
            if usual is None or usual.settings is not script.engine.settings:
                usual = self._usual = self._channel.place.usual(self._path, self._serialize, self._codec)
            asked = usual.request(request, call.on_response)
        call.request = script.engine.submit(asked)
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


def _check_time(timeout: Any) -> None:
    """What is none is refused; where none is left, the call is over before it is sent."""
    if not (isinstance(timeout, (int, float)) and timeout <= 0):
        check({"timeout": timeout})


def _raw(message: Any) -> bytes:
    """Without a serializer messages are bytes."""
    if not isinstance(message, bytes):
        raise RequestError(f"a method without a serializer takes bytes, not {type(message).__name__}")
    return message


class Channel(grpc.Channel):
    """See :func:`aquests.grpc_channel`."""

    def __init__(self, url: str, options: dict[str, Any]):
        self.place = Place(url, options)
        self.closed = False
        if self.place.target != "/":
            raise RequestError(f"the URL of a channel is http://host:port, without a path like {self.place.target!r}")

    def _callable(self, path: str, serialize: Any, deserialize: Any, takes: bool, gives: bool) -> _Callable:
        return _Callable(self, path, serialize, deserialize, takes, gives)

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
        """No more calls. The lines are closed, unless the engine has other work."""
        self.closed = True
        if script.engine.idle:
            script.engine.hang_up()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
