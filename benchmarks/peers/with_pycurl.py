"""pycurl: a multi handle driven by ``socket_action`` over epoll, one easy handle per line, used again and again.

libcurl's manual recommends this interface over ``perform``, which looks at every handle in every round.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import pycurl

from ..case import Job, Outcome
from ..child import Tally

_MASKS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


def run(job: Job) -> Outcome:
    tally = Tally(job)
    with tally:
        _Race(job, tally).run()
    return tally.outcome()


class _Race:
    def __init__(self, job: Job, tally: Tally):
        self.job = job
        self.tally = tally
        self.work: Iterator[int] = iter(range(job.count))
        self.running = 0
        self.timeout = 0.0
        """Seconds until libcurl wants to be called without an event; -1.0 for never."""
        self.epoll = select.epoll()
        self.watched: set[int] = set()
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_MAXCONNECTS, job.lines)
        self.multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self.multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    def run(self) -> None:
        handles = [self._handle() for _ in range(self.job.lines)]
        for easy in handles:
            self._next(easy)
        multi, epoll = self.multi, self.epoll
        while self.running:
            events = epoll.poll(self.timeout, 1024)
            if not events:
                multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            for fd, mask in events:
                action = pycurl.CSELECT_OUT if mask & select.EPOLLOUT else 0
                if mask & ~select.EPOLLOUT:
                    action |= pycurl.CSELECT_IN
                multi.socket_action(fd, action)
            self._collect()
        for easy in handles:
            easy.close()
        multi.close()
        epoll.close()

    def _handle(self) -> Any:
        easy = pycurl.Curl()
        easy.parts = []
        easy.setopt(pycurl.URL, self.job.url)
        easy.setopt(pycurl.WRITEFUNCTION, easy.parts.append)
        easy.setopt(pycurl.NOSIGNAL, 1)
        if self.job.ca:
            easy.setopt(pycurl.CAINFO, self.job.ca)
        return easy

    def _next(self, easy: Any) -> None:
        if next(self.work, None) is not None:
            self.running += 1
            self.multi.add_handle(easy)

    def _collect(self) -> None:
        """Check what is finished and send the next request by the same handle."""
        left = 1
        while left:
            left, done, failed = self.multi.info_read()
            for easy in (*done, *(fault[0] for fault in failed)):
                self.running -= 1
                self.multi.remove_handle(easy)
                body = b"".join(easy.parts)
                easy.parts.clear()
                self.tally.check(easy.getinfo(pycurl.RESPONSE_CODE), len(body))
                self._next(easy)

    def _on_socket(self, what: int, fd: int, multi: Any, data: Any) -> None:
        if what == pycurl.POLL_REMOVE:
            self.watched.discard(fd)
            try:
                self.epoll.unregister(fd)
            except OSError:
                pass  # libcurl has closed it already
        elif fd in self.watched:
            self.epoll.modify(fd, _MASKS[what])
        else:
            self.watched.add(fd)
            self.epoll.register(fd, _MASKS[what])

    def _on_timer(self, milliseconds: int) -> None:
        self.timeout = milliseconds / 1000 if milliseconds >= 0 else -1.0
