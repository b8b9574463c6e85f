"""The dial: making one line, for the exchange that asked for it.

Resolve, connect (a race between addresses, RFC 8305), tunnel through a proxy, TLS, the wire's own
opening. The dial owns the channels meanwhile; when a wire shows room the line is handed to the
engine together with the exchange that caused it, so that a dead host fails *its* request and no other's.

Each phase has ``patience`` seconds. The race counts as one phase: attempts start 0.25 s apart, or
at once when the one before failed; the first line that stands wins, the others are closed. A TLS
failure ends the dial: another address of the same host would show the same certificate. So does the
refusal of a proxy, unless the name was resolved here (socks5) and has another address.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .errors import AquestsError, Cancelled, ConnectError, ResolveError, TimedOut, TlsError, defect
from .exchange import Line
from .lib.channel import Channel
from .lib.polled import PolledChannel
from .lib.resolver import happy_eyeballs_order
from .lib.threaded import ThreadedChannel
from .proxy import Proxy, forwards, proxy_authorization, proxy_for

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .exchange import Exchange
    from .lib.loop import Loop, Timer
    from .lib.resolver import Resolver
    from .lib.tls import SessionCache, Tls
    from .seam import Address, Finished, MakeWire
    from .seam import Line as AnyLine
    from .settings import Settings

HEAD_START: Final = 0.25
"""Seconds one address has before the next is tried beside it (RFC 8305 section 5)."""
CHANNELS: Final[dict[str, Callable[..., AnyLine]]] = {
    "stream": Channel,
    "polled": PolledChannel,
    "threaded": ThreadedChannel,
}
"""What moves the bytes, by the transport of the scheme."""

Done = Callable[["Dial", "AnyLine | None", "AquestsError | None"], None]


class Dial:
    """Makes one line to ``endpoint``; calls ``done(dial, channel, error)`` exactly once, never from ``start``."""

    def __init__(
        self,
        loop: Loop,
        resolver: Resolver,
        sessions: SessionCache | None,
        settings: Settings,
        endpoint: Endpoint,
        rider: Exchange,
        done: Done,
    ):
        self.endpoint = endpoint
        self.rider = rider
        self.line = Line()
        self.patience = rider.patience
        self._loop = loop
        self._resolver = resolver
        self._sessions = sessions
        self.settings = settings
        self._done: Done | None = done
        self._began = loop.now
        self._phase = "resolve"
        self._deadline = loop.now + self.patience
        self._proxy: Proxy | None = None
        self._target: tuple[str, int] = (endpoint.host, endpoint.port)
        self._targets: list[Address] = []
        """Further addresses of the target, if the proxy wants addresses."""
        self._addresses: list[Address] = []
        self._channels: list[AnyLine] = []
        self._timer: Timer | None = None
        self._first_error: AquestsError | None = None
        self._tunnelled = False
        self._at_close: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin. What fails at once is reported by ``loop.soon``."""
        endpoint, settings = self.endpoint, self.settings
        if endpoint.unix:
            self._race([(socket.AF_UNIX, endpoint.unix)])
            return
        try:
            self._proxy = proxy_for(
                endpoint.scheme,
                endpoint.host,
                endpoint.port,
                given=endpoint.options.get("proxy", settings.proxy),
                trust_env=endpoint.options.get("trust_env", settings.trust_env),
                environ=os.environ,
            )
        except AquestsError as error:
            self._fail_soon(error)
            return
        if self._proxy is None:
            self._resolve(endpoint.host, endpoint.port, self._race)
        elif endpoint.spec.transport != "stream":
            self._fail_soon(ConnectError(f"{endpoint.lane} cannot go through a proxy: give it proxy=False"))
        elif self._proxy.scheme == "socks5":
            self._resolve(endpoint.host, endpoint.port, self._resolved_target)
        else:
            self._resolve(self._proxy.host, self._proxy.port, self._race)

    # Names

    def _resolve(self, host: str, port: int, then: Callable[[list[Address]], None]) -> None:
        known = self._resolver.lookup(host, port)
        if isinstance(known, ResolveError):
            self._fail_soon(known)
        elif known is not None:
            then(known)
        else:
            self._resolver.resolve(host, port, lambda found: self._on_resolved(found, then))

    def _on_resolved(self, found: list[Address] | ResolveError, then: Callable[[list[Address]], None]) -> None:
        if self._done is None:
            return  # timed out, or the run has ended
        self.line.dns += self._loop.now - self._began
        if isinstance(found, ResolveError):
            self._fail(found)
        else:
            then(found)

    def _resolved_target(self, addresses: list[Address]) -> None:
        """socks5 (not socks5h): the name is resolved here, the proxy gets the address."""
        self._targets = happy_eyeballs_order(addresses)
        self._next_target()

    def _next_target(self) -> None:
        assert self._proxy is not None
        self._target = (self._targets.pop(0)[1][0], self.endpoint.port)
        self._began = self._loop.now
        self._resolve(self._proxy.host, self._proxy.port, self._race)

    # The race

    def _race(self, addresses: Sequence[Address]) -> None:
        self._phase = "connect"
        self._deadline = self._loop.now + self.patience
        self._addresses = happy_eyeballs_order(list(addresses))
        self._loop.guarded(self._next)  # called by the resolver, who could not tell us what it raised

    def _next(self) -> None:
        """Try the next address, and plan the one after it."""
        self._timer = None
        if self._done is None or not self._addresses or self._phase != "connect":
            return
        address = self._addresses.pop(0)
        try:
            make_wire, tls = self._first_stage()
        except AquestsError as error:
            self._fail_soon(error)
            return
        make_channel = CHANNELS[self.endpoint.spec.transport]
        channel = make_channel(self._loop, self, self.endpoint, make_wire, self.patience)
        self._channels.append(channel)
        if self._addresses:
            self._timer = self._loop.at(self._loop.now + min(HEAD_START, self.patience / 4), self._next)
        channel.open(address, tls)

    def _first_stage(self) -> tuple[MakeWire, Tls | None]:
        """What is spoken first on the bare line: to the proxy, or to the place itself."""
        proxy = self._proxy
        if proxy is None:
            return self.endpoint.make_wire(self.settings), self._make_tls()
        tls = self._make_proxy_tls(proxy) if proxy.scheme == "https" else None
        if self._forwards(proxy):
            authorization = proxy_authorization(proxy)
            extra = (("Proxy-Authorization", authorization),) if authorization else ()
            return self.endpoint.make_wire(self.settings, f"http://{self.endpoint.host_header}", extra), tls
        return self._tunnel, tls

    def _forwards(self, proxy: Proxy) -> bool:
        return forwards(proxy, self.endpoint.scheme, self.endpoint.options.get("h2c"))

    def _tunnel(self, alpn: str | None) -> Any:
        from .protocols.tunnel import Connect, Socks5

        proxy = self._proxy
        assert proxy is not None
        host, port = self._target
        if proxy.scheme in ("http", "https"):
            return Connect(host, port, proxy_authorization(proxy))
        return Socks5(host, port, proxy.user, proxy.password)

    def _make_tls(self) -> Tls | None:
        spec = self.endpoint.spec
        if not spec.tls:
            return None
        from .lib.tls import Tls, context_for

        options, settings = self.endpoint.options, self.settings
        alpn = tuple(name for name in spec.alpn if name == "http/1.1") if settings.force_http1 else spec.alpn
        context = context_for(
            verify=options.get("verify", settings.verify),
            ca=options.get("ca", settings.ca),
            cert=options.get("cert", settings.cert),
            alpn=alpn,
        )
        host, port = self.endpoint.host or "localhost", self.endpoint.port
        sessions = self._sessions
        tls = Tls(context, host, sessions.get(host, port, context) if sessions is not None else None)
        if sessions is not None:
            # TLS 1.3 sends its tickets after the handshake: they are kept when the line ends.
            self._at_close = lambda: sessions.put(host, port, context, tls.session)
        return tls

    def _make_proxy_tls(self, proxy: Proxy) -> Tls:
        from .lib.tls import Tls, context_for

        options, settings = self.endpoint.options, self.settings
        verify, ca = options.get("verify", settings.verify), options.get("ca", settings.ca)
        return Tls(context_for(verify=verify, ca=ca, cert=None, alpn=("http/1.1",)), proxy.host)

    # What the channels report

    def on_room(self, channel: AnyLine) -> None:
        """A wire stands: the tunnel's, then go on through it; or the place's own, then the line is made."""
        if self._done is None:
            return
        self._win(channel)
        self.line.connect += channel.connect_seconds
        self.line.tls += channel.tls_seconds
        channel.connect_seconds = channel.tls_seconds = 0.0
        if self._proxy is not None and not self._tunnelled and not self._forwards(self._proxy):
            self._tunnelled = True
            try:
                tls = self._make_tls()
            except AquestsError as error:
                self._fail(error)
                return
            assert isinstance(channel, Channel)
            surplus = getattr(channel.wire, "surplus", b"")
            channel.upgrade(self.endpoint.make_wire(self.settings), tls, surplus)
            return
        channel.at_close = self._at_close
        self._channels.clear()
        self._finish(channel, None)

    def _win(self, channel: AnyLine) -> None:
        self._phase = "open"
        self._drop_timer()
        self._addresses.clear()
        for other in self._channels[:]:
            if other is not channel:
                other.close()

    def on_finished(self, finished: Finished) -> None:
        """Nothing is submitted while the line is made."""

    def settle(self) -> None:
        """As above."""

    def on_closed(self, channel: AnyLine, error: AquestsError | None) -> None:
        """An attempt failed: the next address at once, or the end when it was the last."""
        if channel in self._channels:
            self._channels.remove(channel)
        if self._done is None:
            return
        if error is None:
            error = ConnectError("the server closed the line while it was opened", endpoint=self.endpoint.label)
        self._blame(error)
        self._first_error = self._first_error or error
        if error.phase == "tunnel" and isinstance(error, ConnectError) and self._targets:
            self._drop_timer()
            self._loop.guarded(self._next_target)
        elif error.phase == "tunnel" or isinstance(error, TlsError):
            self._fail(error)
        elif self._addresses and self._phase == "connect" and self._loop.now < self._deadline:
            self._drop_timer()
            self._loop.guarded(self._next)
        elif not self._channels:
            self._fail(self._first_error)

    def _blame(self, error: AquestsError) -> None:
        """Until a tunnel stands, or if there is none, it is the proxy that we connect and speak TLS to."""
        if self._proxy is not None and not self._tunnelled and error.phase in ("connect", "tls"):
            error.message = f"the proxy: {error.message}"
            error.endpoint = self._proxy.label

    # The end

    def check(self, now: float) -> None:
        """Called by the engine's sweep: end what takes too long."""
        if self.rider.limit and now >= self.rider.limit:
            self._fail(overdue(self.rider))
            return
        if self._phase == "resolve":
            if now > self._deadline:
                self._fail(TimedOut(f"no answer from name resolution in {self.patience:g} s", phase="resolve"))
            return
        for channel in self._channels[:]:
            if now > (self._deadline if channel.phase == "connect" else channel.deadline):
                phase = "tunnel" if self._is_tunnelling(channel) else channel.phase
                what = {"connect": "no connection", "tls": "no TLS handshake"}.get(phase, "no opening")
                error = TimedOut(f"{what} in {self.patience:g} s", phase=phase, endpoint=self.endpoint.label)
                channel.close(error)

    def _is_tunnelling(self, channel: AnyLine) -> bool:
        return channel.phase == "open" and self._proxy is not None and not self._tunnelled

    def cancel(self, error: AquestsError) -> None:
        """Give up: ``done`` is called with ``error``."""
        if self._done is not None:
            self._fail(error)

    def crash(self, error: Exception) -> None:
        """Something of ours raised: perhaps no descriptor was left to import a module by."""
        self.cancel(defect(error, self.endpoint.label))

    def _fail_soon(self, error: AquestsError) -> None:
        self._loop.soon(lambda: self.cancel(error))

    def _fail(self, error: AquestsError) -> None:
        error.endpoint = error.endpoint or self.endpoint.label
        self._finish(None, error)
        for channel in self._channels[:]:
            channel.close(error)

    def _finish(self, channel: AnyLine | None, error: AquestsError | None) -> None:
        done, self._done = self._done, None
        self._drop_timer()
        if done is not None:
            done(self, channel, error)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def stopped() -> Cancelled:
    """The error of an exchange that was in flight when the run was stopped. One for each: it says where that was."""
    return Cancelled("the run was stopped")


def overdue(x: Exchange) -> TimedOut:
    """The error of an exchange whose attempts together took longer than its ``deadline``."""
    return TimedOut(f"not answered before the deadline, {x.limit - x.started_at:g} s", phase="total")


def expired(x: Exchange, now: float, blocked: bool) -> TimedOut:
    """The error of an exchange in flight that took too long; ``blocked``: what was sent of it is not taken."""
    if x.limit and now >= x.limit:
        error = overdue(x)
    elif blocked:
        error = TimedOut(f"nothing was taken of the request for {x.patience:g} s", phase="send")
    elif x.progress:
        error = TimedOut(f"nothing came for {x.patience:g} s within the answer", phase="idle")
    else:
        error = TimedOut(f"no answer in {x.patience:g} s", phase="answer")
    error.endpoint = x.endpoint.label
    error.after = now - x.sent_at
    return error
