"""Sockets as files: blocking, timeouts, SIGPIPE, and Unix sockets with their rules."""

from __future__ import annotations

import array
import struct
from typing import Any

import pytest

from kernel import abi
from kernel.abi import AF_INET, AF_UNIX, MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM
from kernel.machine import Machine
from tests.property.kernel.fs.plain import lone_task

NB = abi.SOCK_NONBLOCK


def fails(name: str, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert abi.errno_name(caught.value.errno or 0) == name


def run(function: Any) -> Any:
    results: list[Any] = []
    with Machine() as machine:
        process = machine.spawn(lambda sys: results.append(function(sys)), name="test")
        assert machine.run(until=10**12), "all sleep"
        assert process.exit_status == 0
    return results[0]


def timeval(ns: int) -> bytes:
    return struct.pack("=qq", ns // 10**9, ns % 10**9 // 1000)


def test_udp_blocks_until_a_datagram_comes() -> None:
    def main(sys: Any) -> Any:
        fd = sys.socket(AF_INET, SOCK_DGRAM)
        sys.bind(fd, ("127.0.0.1", 5353))

        def sender(sys: Any) -> None:
            sys.nanosleep(1_000_000)
            out = sys.socket(AF_INET, SOCK_DGRAM)
            sys.connect(out, ("127.0.0.1", 5353))
            sys.write(out, b"hello")
            sys.sendto(out, b"x" * 3000, 0, ("127.0.0.1", 5353))

        pid = sys.spawn(sender)
        first = sys.recvfrom(fd, 100)
        sys.wait4(pid)
        waiting = sys.ioctl(fd, abi.FIONREAD)
        cut = sys.recvmsg(fd, 10)
        return first[0], first[1][0], waiting, cut[0], cut[2]

    assert run(main) == (b"hello", "127.0.0.1", 3000, b"x" * 10, abi.MSG_TRUNC)


def test_receive_timeout_and_dontwait() -> None:
    def main(sys: Any) -> Any:
        fd = sys.socket(AF_INET, SOCK_DGRAM)
        sys.bind(fd, ("127.0.0.1", 5353))
        sys.setsockopt(fd, abi.SOL_SOCKET, abi.SO_RCVTIMEO, timeval(20_000_000))
        start = sys.clock_gettime(abi.CLOCK_MONOTONIC)
        fails("EAGAIN", sys.recvfrom, fd, 10)
        waited = sys.clock_gettime(abi.CLOCK_MONOTONIC) - start
        fails("EAGAIN", sys.recvfrom, fd, 10, MSG_DONTWAIT)
        return waited, sys.getsockopt(fd, abi.SOL_SOCKET, abi.SO_RCVTIMEO, 16)

    waited, option = run(main)
    assert 20_000_000 <= waited < 20_100_000 and option == timeval(20_000_000)


def test_a_signal_ends_a_receive_with_a_timeout_even_with_sa_restart() -> None:
    def main(sys: Any) -> str:
        fd = sys.socket(AF_INET, SOCK_DGRAM)
        sys.bind(fd, ("127.0.0.1", 5353))
        sys.setsockopt(fd, abi.SOL_SOCKET, abi.SO_RCVTIMEO, timeval(10**9))
        sys.rt_sigaction(abi.SIGUSR1, lambda sys, signum, info: None, abi.SA_RESTART)
        parent = sys.getpid()

        def killer(sys: Any) -> None:
            sys.nanosleep(1_000_000)
            sys.kill(parent, abi.SIGUSR1)

        sys.spawn(killer)
        try:
            sys.recvfrom(fd, 10)
        except OSError as failure:
            return abi.errno_name(failure.errno or 0)
        return "returned"

    assert run(main) == "EINTR"


def test_what_is_no_socket() -> None:
    _, sys = lone_task()
    fd = sys.open("/f", abi.O_CREAT | abi.O_RDWR)
    for call, args in (
        (sys.bind, ("x",)), (sys.listen, (1,)), (sys.connect, (("127.0.0.1", 1),)), (sys.sendto, (b"x",)),
        (sys.recvfrom, (1,)), (sys.getsockname, ()), (sys.shutdown, (0,)), (sys.accept4, ()),
    ):  # fmt: skip
        fails("ENOTSOCK", call, fd, *args)
        fails("EBADF", call, 99, *args)
    fails("EAFNOSUPPORT", sys.socket, 45, SOCK_STREAM)
    fails("EINVAL", sys.socket, AF_UNIX, SOCK_STREAM | 0x1000000)
    fails("EOPNOTSUPP", sys.socketpair, AF_INET, SOCK_STREAM)


def test_unix_stream_pair() -> None:
    task, sys = lone_task()
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM | NB)
    assert sys.write(a, b"hello ") == 6 and sys.write(a, b"world") == 5
    assert sys.ioctl(b, abi.FIONREAD) == 11
    assert sys.recvfrom(b, 8, MSG_PEEK) == (b"hello wo", None)
    assert sys.read(b, 8) == b"hello wo" and sys.read(b, 8) == b"rld"
    fails("EAGAIN", sys.read, b, 1)
    sys.shutdown(a, abi.SHUT_WR)
    assert sys.read(b, 1) == b"" and sys.write(b, b"back") == 4
    assert sys.ppoll([(b, abi.POLLIN | abi.POLLRDHUP)], 0) == [(b, abi.POLLIN | abi.POLLRDHUP)]
    fails("EPIPE", sys.write, a, b"x")
    assert task.signals == [abi.SIGPIPE]
    fails("EPIPE", sys.sendto, a, b"x", abi.MSG_NOSIGNAL)
    assert task.signals == [abi.SIGPIPE]
    sys.close(a)  # with "back" unread
    fails("ECONNRESET", sys.read, b, 1)
    assert sys.read(b, 1) == b""


def test_unix_backpressure_and_poll() -> None:
    _, sys = lone_task()
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM | NB)
    sent = sys.write(a, bytes(1 << 20))
    assert 0 < sent < 1 << 20
    fails("EAGAIN", sys.write, a, b"x")
    assert sys.ppoll([(a, abi.POLLOUT)], 0) == []
    assert len(sys.read(b, 1 << 20)) == sent
    assert sys.ppoll([(a, abi.POLLOUT)], 0) == [(a, abi.POLLOUT)]


def test_unix_listen_connect_accept() -> None:
    def main(sys: Any) -> Any:
        listener = sys.socket(AF_UNIX, SOCK_STREAM)
        sys.bind(listener, "/tmp/s")
        mode = sys.stat("/tmp/s").st_mode
        probe = sys.socket(AF_UNIX, SOCK_STREAM)
        fails("ECONNREFUSED", sys.connect, probe, "/tmp/s")
        sys.listen(listener, 5)
        fails("EADDRINUSE", sys.bind, sys.socket(AF_UNIX, SOCK_STREAM), "/tmp/s")

        def client(sys: Any) -> None:
            fd = sys.socket(AF_UNIX, SOCK_STREAM)
            sys.connect(fd, "/tmp/s")
            for _ in range(5):
                sys.nanosleep(1_000_000)
                sys.write(fd, b"ab")

        sys.spawn(client)
        fd, _ = sys.accept4(listener, 0)
        data = sys.recvfrom(fd, 10, MSG_WAITALL)[0]
        end = sys.read(fd, 10)
        pid, uid, _ = struct.unpack("=iii", sys.getsockopt(fd, abi.SOL_SOCKET, abi.SO_PEERCRED, 12))
        sys.unlink("/tmp/s")
        fails("ENOENT", sys.connect, probe, "/tmp/s")
        return oct(mode), data, end, pid != sys.getpid(), uid, sys.getsockname(listener)

    assert run(main) == ("0o140755", b"ab" * 5, b"", True, 0, "/tmp/s")


def test_unix_datagrams_and_packets_keep_their_borders() -> None:
    _, sys = lone_task()
    for kind in (SOCK_DGRAM, SOCK_SEQPACKET):
        a, b = sys.socketpair(AF_UNIX, kind | NB)
        for data in (b"one", b"", b"three"):
            sys.sendto(a, data)
        assert sys.recvfrom(b, 2)[0] == b"on"
        assert sys.recvfrom(b, 10)[0] == b""
        assert sys.recvfrom(b, 10)[0] == b"three"
        fails("EAGAIN", sys.recvfrom, b, 10)
    server = sys.socket(AF_UNIX, SOCK_DGRAM | NB)
    sys.bind(server, b"\0abstract")
    client = sys.socket(AF_UNIX, SOCK_DGRAM | NB)
    sys.sendto(client, b"hi", 0, b"\0abstract")
    assert sys.recvfrom(server, 10) == (b"hi", None)
    sys.close(server)
    fails("ECONNREFUSED", sys.sendto, client, b"hi", 0, b"\0abstract")


def test_descriptors_are_passed() -> None:
    task, sys = lone_task()
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM | NB)
    fd = sys.open("/f", abi.O_CREAT | abi.O_RDWR)
    sys.write(fd, b"content")
    rights = array.array("i", [fd])
    sys.sendmsg(a, [b"take", b" this"], [(abi.SOL_SOCKET, abi.SCM_RIGHTS, rights.tobytes())])
    sys.close(fd)
    data, received, flags, _ = sys.recvmsg(b, 100, 64)
    new = array.array("i")
    new.frombytes(received[0][2])
    assert (data, flags) == (b"take this", 0)
    assert sys.pread64(new[0], 7, 0) == b"content" and task.files.get(new[0]).count == 1


def test_descriptors_in_flight_are_closed_with_the_socket() -> None:
    _task, sys = lone_task()
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM | NB)
    r, w = sys.pipe2(abi.O_NONBLOCK)
    sys.sendmsg(a, [b"x"], [(abi.SOL_SOCKET, abi.SCM_RIGHTS, array.array("i", [w]).tobytes())])
    sys.close(w)
    fails("EAGAIN", sys.read, r, 1)
    sys.close(b)
    assert sys.read(r, 1) == b"", "the last writer was in the socket's queue"


def test_accept_at_the_descriptor_limit() -> None:
    task, sys = lone_task()
    listener = sys.socket(AF_UNIX, SOCK_STREAM | NB)
    sys.bind(listener, "/s")
    sys.listen(listener, 5)
    sys.connect(sys.socket(AF_UNIX, SOCK_STREAM), "/s")
    task.group.rlimits[abi.RLIMIT_NOFILE] = (2, 2)
    fails("EMFILE", sys.accept4, listener)
    task.group.rlimits[abi.RLIMIT_NOFILE] = (3, 3)
    assert sys.accept4(listener)[0] == 2, "the connection was not lost"


def test_option_values() -> None:
    _, sys = lone_task()
    a, _ = sys.socketpair(AF_UNIX, SOCK_STREAM)
    assert sys.getsockopt(a, abi.SOL_SOCKET, abi.SO_TYPE) == SOCK_STREAM
    assert sys.getsockopt(a, abi.SOL_SOCKET, abi.SO_DOMAIN, 4) == struct.pack("=i", AF_UNIX)
    for value in (None, 1.5, [1]):
        fails("EFAULT", sys.setsockopt, a, abi.SOL_SOCKET, abi.SO_SNDBUF, value)
    fails("EINVAL", sys.setsockopt, a, abi.SOL_SOCKET, abi.SO_SNDBUF, b"\1")
    fails("EINVAL", sys.setsockopt, a, abi.SOL_SOCKET, abi.SO_SNDBUF, 1 << 40)
    fails("ENOPROTOOPT", sys.setsockopt, a, abi.SOL_SOCKET, abi.SO_TYPE, 1)
    fails("EOPNOTSUPP", sys.getsockopt, a, abi.SOL_TCP, abi.TCP_NODELAY)
