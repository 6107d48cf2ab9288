"""Many connections in one process: an epoll loop that runs one generator ("flow") per connection.

A flow is written like blocking code. Its descriptor is non-blocking; when a call says EAGAIN the flow yields the events
it waits for and is resumed, with the events that came, when one is there:

    def echo(sys, fd, peer):
        while data := (yield from receive(sys, fd)):
            yield from send(sys, fd, data)

Interest is level-triggered and registered at the first yield, so a connection whose bytes are there already
never enters epoll, and it is changed only when a flow waits for something else than before. Events carry a serial
number, not the descriptor: a number that was closed and handed out again within one batch can't be mistaken.

A flow that fails with OSError has lost its peer: it ends. Any other exception is written to standard error; the rest
go on. When descriptors run out, accepting rests until one is free.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from userland import abi
from userland.lib import System, complain

Flow = Generator[int, int, None]
Serve = Callable[[System, int, Any], Flow]

IN, OUT = abi.EPOLLIN, abi.EPOLLOUT
TURNS = 16  # how often a flow may find its descriptor ready before it lets the others have theirs
SMALL_SERVERS = (7, 17, 19)  # UDP services that answer anything: one never answers another, or two would talk for ever
_BATCH = 64
_NOSIGNAL = abi.MSG_NOSIGNAL


class _Entry:
    __slots__ = ("fd", "flow", "interest", "serve")

    def __init__(self, fd: int, flow: Flow | None, serve: Serve | None, interest: int) -> None:
        self.fd = fd
        self.flow = flow
        self.serve = serve
        self.interest = interest


class Reactor:
    """`listen` or `start`, then `run`. Owns the descriptors it was given and closes each when its flow ends."""

    __slots__ = ("_accept4", "_close", "_entries", "_ep", "_epoll_ctl", "_resting", "_serial", "name", "sys")

    def __init__(self, sys: System, name: str) -> None:
        self.sys = sys
        self._accept4, self._close, self._epoll_ctl = sys.accept4, sys.close, sys.epoll_ctl
        self.name = name
        soft, hard = sys.prlimit64(0, abi.RLIMIT_NOFILE)
        if soft != hard:  # a server takes as many connections as it may
            sys.prlimit64(0, abi.RLIMIT_NOFILE, (hard, hard))
        self._ep: int = sys.epoll_create1(abi.EPOLL_CLOEXEC)
        self._entries: dict[int, _Entry] = {}
        self._serial = 0
        self._resting: list[int] = []  # serials of listeners whose accept met EMFILE

    def listen(self, fd: int, serve: Serve) -> None:
        """Accepts on the non-blocking listening socket `fd`; each connection becomes the flow `serve(sys, fd,
        peer)`.
        """
        self._add(_Entry(fd, None, serve, IN))

    def start(self, fd: int, flow: Flow) -> None:
        """Runs a flow on a descriptor that is already open and non-blocking."""
        try:
            interest = next(flow)
        except StopIteration:
            self._close(fd)
        except Exception as why:
            self._failed(fd, why)
        else:
            self._add(_Entry(fd, flow, None, interest))

    def run(self) -> None:
        """Until nothing is left to wait for."""
        wait, ep, entries = self.sys.epoll_pwait, self._ep, self._entries
        while entries:
            try:
                ready = wait(ep, _BATCH, -1)
            except InterruptedError:
                continue
            for serial, events in ready:
                entry = entries.get(serial)
                if entry is None:
                    continue
                flow = entry.flow
                if flow is None:
                    self._accept(serial, entry)
                    continue
                try:
                    interest = flow.send(events)
                except StopIteration:
                    self._end(serial, entry, None)
                except Exception as why:
                    self._end(serial, entry, why)
                else:
                    if interest != entry.interest:
                        entry.interest = interest
                        self._epoll_ctl(ep, abi.EPOLL_CTL_MOD, entry.fd, interest, serial)

    def _add(self, entry: _Entry) -> None:
        self._serial += 1
        self._entries[self._serial] = entry
        self._epoll_ctl(self._ep, abi.EPOLL_CTL_ADD, entry.fd, entry.interest, self._serial)

    def _end(self, serial: int, entry: _Entry, why: Exception | None) -> None:
        del self._entries[serial]
        if why is None:
            self._close(entry.fd)
        else:
            self._failed(entry.fd, why)
        if self._resting:
            resting, self._resting = self._resting, []
            for listener in resting:
                self._epoll_ctl(self._ep, abi.EPOLL_CTL_MOD, self._entries[listener].fd, IN, listener)

    def _failed(self, fd: int, why: Exception) -> None:
        self._close(fd)
        if not isinstance(why, OSError):
            complain(self.sys, self.name, f"{type(why).__name__}: {why}")

    def _accept(self, serial: int, entry: _Entry) -> None:
        """One connection: while there are more, epoll says so."""
        serve = entry.serve
        assert serve is not None
        try:
            fd, peer = self._accept4(entry.fd, abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC)
        except BlockingIOError:
            return
        except OSError as why:
            if why.errno in (abi.EMFILE, abi.ENFILE, abi.ENOMEM, abi.ENOBUFS):
                complain(self.sys, self.name, f"accept: {why.strerror}; accepting rests until a connection ends")
                self._epoll_ctl(self._ep, abi.EPOLL_CTL_MOD, entry.fd, 0, serial)
                self._resting.append(serial)
            elif why.errno in (abi.EBADF, abi.EINVAL, abi.ENOTSOCK):
                raise
            return  # or the connection died in the queue (accept(2), "Error handling")
        self.start(fd, serve(self.sys, fd, peer))


# ---- what flows are made of ----


def receive(sys: System, fd: int, n: int = 65536) -> Generator[int, int, bytes]:
    """Some bytes, at most `n`; b"" at the end of the stream."""
    while True:
        try:
            return sys.read(fd, n)
        except BlockingIOError:
            pass  # and no waiting in here: the error, and all that its traceback holds, would wait too
        yield IN


def send(sys: System, fd: int, data: Any) -> Generator[int, int, None]:
    """Every byte of `data`. Nothing is copied but what the kernel takes."""
    total = len(data)
    done = 0
    view = data
    while True:
        try:
            taken = sys.sendto(fd, view, _NOSIGNAL)
        except BlockingIOError:
            taken = 0
        if not taken and total:
            yield OUT
        done += taken
        if done == total:
            return
        view = memoryview(data)[done:]
