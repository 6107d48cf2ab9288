"""Random sequences of one process's calls on everything that is not a name in a directory: pipes, socket pairs,
eventfds, timerfds, signalfds, epolls, files in memory, locks, signals to itself, timers. Played inside and, through the
same interface, on the host's kernel; each call gives its result or its errno.

Nothing depends on time: descriptors do not block, timers are set to what has passed or to what does not come.
Descriptors are plain numbers, and so are compared: both sides start with 0, 1 and 2 open and the rest free.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from drivers.clock import VirtualTimeline
from kernel import abi
from kernel.machine import Machine
from tools.hostsystem import HostSystem

Script = list[tuple[Any, ...]]
FAR = 100 * 10**9
RT = abi.SIGRTMIN
SIGNALS = (abi.SIGUSR1, abi.SIGUSR2, RT, RT + 1)
TOP = 900
"""Where the host's side keeps the pipe that its results go through."""

fds = st.sampled_from([3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 12])
sizes = st.sampled_from([0, 1, 2, 3, 7, 8, 9, 100, 4095, 4096, 5000])
payloads = st.sampled_from(
    [b"", b"a", b"bc", b"12345678", b"\1" + bytes(7), b"\xff" * 8, b"x" * 100, b"y" * 4096, b"z" * 5000]
)
signal_sets = st.lists(st.sampled_from(SIGNALS), max_size=3, unique=True)
events = st.sampled_from([0, abi.POLLIN, abi.POLLOUT, abi.POLLIN | abi.POLLOUT, 0x201F])
epoll_flags = st.sampled_from([0, 0, abi.EPOLLET, abi.EPOLLONESHOT, abi.EPOLLET | abi.EPOLLONESHOT])
NB = abi.O_NONBLOCK
lock_ranges = st.tuples(
    st.sampled_from([abi.F_RDLCK, abi.F_WRLCK, abi.F_UNLCK]), st.sampled_from([0, 0, 1, 2]),
    st.sampled_from([0, 1, 5, 10, -1]), st.sampled_from([0, 1, 5, 10, -3]),
)  # fmt: skip

make = st.one_of(
    st.tuples(st.just("pipe2"), st.sampled_from([NB, NB, NB | abi.O_CLOEXEC, NB | abi.O_DIRECT])),
    st.tuples(
        st.just("socketpair"), st.just(abi.AF_UNIX),
        st.sampled_from([abi.SOCK_STREAM, abi.SOCK_DGRAM, abi.SOCK_SEQPACKET]).map(lambda kind: kind | NB),
    ),
    st.tuples(st.just("eventfd2"), st.sampled_from([0, 1, 5]), st.sampled_from([NB, NB | abi.EFD_SEMAPHORE, 3])),
    st.tuples(st.just("timerfd_create"), st.sampled_from([1, 1, 1, 77]), st.just(NB)),
    st.tuples(st.just("signalfd4"), st.one_of(st.just(-1), fds), signal_sets, st.just(NB)),
    st.tuples(st.just("epoll_create1"), st.just(0)),
    st.tuples(st.just("memfd_create"), st.just("m"), st.just(0)),
    st.tuples(st.just("dup"), fds),
    st.tuples(st.just("dup3"), fds, fds, st.sampled_from([0, 0, abi.O_CLOEXEC, 1])),
    st.tuples(st.just("fcntl"), fds, st.sampled_from([abi.F_DUPFD, abi.F_DUPFD_CLOEXEC]), fds),
)  # fmt: skip
move = st.one_of(
    st.tuples(st.just("write"), fds, payloads),
    st.tuples(st.just("read"), fds, sizes),
    st.tuples(st.just("writev"), fds, st.lists(payloads, max_size=3)),
    st.tuples(st.just("readv"), fds, st.lists(sizes, max_size=3)),
    st.tuples(st.just("sendto"), fds, payloads, st.sampled_from([0x4000, 0x4040, 0x4080])),
    st.tuples(st.just("recvfrom"), fds, sizes, st.sampled_from([0, abi.MSG_PEEK, abi.MSG_TRUNC, abi.MSG_WAITALL])),
    st.tuples(st.just("pass"), fds, payloads, st.lists(fds, max_size=2)),
    st.tuples(
        st.just("recvmsg"), fds, sizes, st.sampled_from([0, 16, 20, 24, 100]),
        st.sampled_from([0, abi.MSG_PEEK, abi.MSG_CMSG_CLOEXEC]),
    ),
    st.tuples(st.just("pread64"), fds, sizes, st.sampled_from([0, 3, 5000, -1])),
    st.tuples(st.just("pwrite64"), fds, payloads, st.sampled_from([0, 3, 5000, -1])),
    st.tuples(st.just("lseek"), fds, st.sampled_from([0, 5, -1, 4096]), st.integers(0, 5)),
    st.tuples(st.just("ftruncate"), fds, st.sampled_from([0, 5, 5000, -1])),
    st.tuples(st.just("fallocate"), fds, st.sampled_from([0, 1, 2, 3]), st.sampled_from([0, 3, 4096]), sizes),
    st.tuples(st.just("tee"), fds, fds, sizes, st.just(2)),
    st.tuples(st.just("splice"), fds, st.sampled_from([None, None, 0, 3, -1]), fds, st.just(None), sizes, st.just(2)),
    st.tuples(st.just("splice"), fds, st.just(None), fds, st.sampled_from([None, None, 0, 3, -1]), sizes, st.just(2)),
    st.tuples(st.just("sendfile"), fds, fds, st.sampled_from([None, 0, 3, -1]), sizes),
    st.tuples(st.just("copy_file_range"), fds, st.sampled_from([None, 0]), fds, st.sampled_from([None, 4096]), sizes),
)  # fmt: skip
ask = st.one_of(
    st.tuples(st.just("ppoll"), st.lists(st.tuples(st.integers(-1, 13), events), max_size=4), st.just(0)),
    st.tuples(
        st.just("pselect6"), st.integers(0, 14), *[st.lists(fds, max_size=2, unique=True)] * 3, st.just(0)
    ),
    st.tuples(st.just("epoll_ctl"), fds, st.integers(1, 4), fds, st.tuples(events, epoll_flags).map(sum), fds),
    st.tuples(
        st.just("epoll_ctl"), fds, st.just(1), fds, st.tuples(events, epoll_flags).map(sum), st.integers(0, 99)
    ),
    st.tuples(st.just("epoll_pwait"), fds, st.sampled_from([0, 1, 2, 8]), st.just(0)),
    st.tuples(st.just("ioctl"), fds, st.just(abi.FIONREAD)),
    st.tuples(st.just("fcntl"), fds, st.sampled_from([abi.F_GETFL, abi.F_GETFD, abi.F_GETPIPE_SZ, abi.F_GETOWN])),
    st.tuples(st.just("fcntl"), fds, st.just(abi.F_SETFD), st.integers(0, 1)),
    st.tuples(st.just("fcntl"), fds, st.just(abi.F_SETFL), st.sampled_from([NB, NB | abi.O_APPEND, NB | abi.O_DIRECT])),
    st.tuples(st.just("fcntl"), fds, st.just(abi.F_SETPIPE_SZ), st.sampled_from([1, 4096, 8192, 70000])),
    st.tuples(st.just("fcntl"), fds, st.sampled_from([abi.F_SETLK, abi.F_OFD_SETLK]), lock_ranges),
    st.tuples(st.just("fcntl"), fds, st.sampled_from([abi.F_GETLK, abi.F_OFD_GETLK]), lock_ranges),
    st.tuples(st.just("flock"), fds, st.sampled_from([5, 6, 8, 4, 1 | 4 | 2])),
    st.tuples(st.just("fstat"), fds),
    st.tuples(st.just("shutdown"), fds, st.integers(0, 3)),
    st.tuples(st.just("getsockopt"), fds, st.just(1), st.sampled_from([3, 4, 30, 38, 39, 99])),
    st.tuples(st.just("getsockname"), fds),
    st.tuples(st.just("close"), fds),
    st.tuples(st.just("close_range"), fds, fds, st.sampled_from([0, abi.CLOSE_RANGE_CLOEXEC])),
)  # fmt: skip
signals = st.one_of(
    st.tuples(st.just("rt_sigprocmask"), st.integers(0, 3), signal_sets),
    st.tuples(st.just("kill"), st.just("self"), st.sampled_from([*SIGNALS, 0, 99])),
    st.tuples(st.just("tgkill"), st.just("self"), st.just("self"), st.sampled_from(SIGNALS)),
    st.tuples(st.just("rt_sigqueueinfo"), st.just("self"), st.sampled_from(SIGNALS), st.integers(0, 9)),
    st.tuples(st.just("rt_sigpending")),
    st.tuples(st.just("rt_sigtimedwait"), signal_sets, st.just(0)),
    st.tuples(
        st.just("rt_sigaction"), st.sampled_from(SIGNALS), st.sampled_from(["handler", "handler", 1]),
        st.sampled_from([0, abi.SA_NODEFER, abi.SA_RESTART]), signal_sets,
    ),
    st.tuples(st.just("timerfd_settime"), fds, st.just(1), st.just(10_000), st.sampled_from([0, FAR])),
    st.tuples(st.just("timerfd_settime"), fds, st.just(0), st.sampled_from([0, FAR, -1]), st.sampled_from([0, FAR])),
    st.tuples(st.just("timerfd_gettime"), fds),
    st.tuples(
        st.just("timer_create"), st.just(1), st.tuples(st.integers(0, 1), st.sampled_from(SIGNALS), st.integers(0, 9))
    ),
    st.tuples(st.just("timer_settime"), st.integers(0, 2), st.just(1), st.just(10_000), st.sampled_from([0, FAR])),
    st.tuples(st.just("timer_settime"), st.integers(0, 2), st.just(0), st.sampled_from([0, FAR]), st.just(0)),
    st.tuples(st.just("timer_gettime"), st.integers(0, 2)),
    st.tuples(st.just("timer_getoverrun"), st.integers(0, 2)),
    st.tuples(st.just("timer_delete"), st.integers(0, 2)),
    st.tuples(st.just("setitimer"), st.just(0), st.sampled_from([0, FAR]), st.sampled_from([0, FAR])),
    st.tuples(st.just("getitimer"), st.just(0)),
)  # fmt: skip
scripts = st.tuples(
    st.lists(make, min_size=2, max_size=5), st.lists(st.one_of(make, move, move, move, ask, ask, signals), max_size=30)
).map(lambda parts: parts[0] + parts[1])


def play(sys: Any, script: Script, said: list[Any]) -> None:
    """Makes the calls; what each gave goes to `said`."""
    sys.close_range(0, 2)
    for _ in range(3):
        sys.open("/dev/null", abi.O_RDWR)
    heard: list[Any] = []
    me = sys.getpid()

    def handler(sys: Any, number: int, info: Any) -> None:
        heard.append((number, info.si_code, info.si_value))

    sys.rt_sigaction(abi.SIGPIPE, abi.SIG_IGN)
    for number in SIGNALS:
        sys.rt_sigaction(number, handler)
    for name, *args in script:
        given: list[Any] = [me if a == "self" else handler if a == "handler" else a for a in args]
        try:
            if name == "pass":
                rights = b"".join(number.to_bytes(4, "little") for number in given[2])
                beside = [(abi.SOL_SOCKET, abi.SCM_RIGHTS, rights)] if rights else []
                result: Any = sys.sendmsg(given[0], [given[1]], beside, abi.MSG_NOSIGNAL)
            else:
                result = getattr(sys, name)(*given)
            result = plain(name, result)
        except OSError as failure:
            result = abi.errno_name(failure.errno or 0)
        said.append(((name, *args), result, tuple(heard)))
        heard.clear()


def plain(name: str, result: Any) -> Any:
    """A result without what differs between any two runs: inode numbers, how long a timer has left."""
    if name == "fstat":
        return oct(result.st_mode), result.st_size, result.st_nlink, result.st_blksize
    if name in ("timerfd_settime", "timerfd_gettime", "timer_settime", "timer_gettime", "setitimer", "getitimer"):
        return result[0] > 0, result[1]
    if name == "rt_sigtimedwait":
        return result.si_signo, result.si_code, result.si_value
    if name == "rt_sigaction":
        return result if isinstance(result, int) else "handler"
    if name == "fcntl" and isinstance(result, tuple | list):
        return tuple(result)[:4]
    if name in ("rt_sigprocmask", "rt_sigpending"):
        return sorted(result)
    if isinstance(result, bytes | bytearray | memoryview):
        return len(result), bytes(result[:64])
    if isinstance(result, tuple | list):
        return tuple(plain("", part) for part in result)
    return 0 if result is None else result


def inside(script: Script, machine: Callable[[], Machine] = lambda: Machine("m", VirtualTimeline(1))) -> list[Any]:
    said: list[Any] = []
    with machine() as m:
        process = m.spawn(play, script, said)
        m.run(process=process)
        if process.exit_status:
            said.append(("ended", process.exit_status))
    return said


def outside(script: Script) -> list[Any]:
    """On the host, in a child that is killed when it does not end."""
    back, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            _child(script, out)
        os._exit(1)
    os.close(out)
    try:
        parts = []
        while select.select([back], [], [], 120)[0] and (part := os.read(back, 1 << 20)):
            parts.append(part)
        raw = b"".join(parts)
        return list(pickle.loads(raw)) if raw else [("the host's side did not end", None, ())]
    finally:
        os.close(back)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _child(script: Script, out: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.dup2(out, TOP)
    os.closerange(0, TOP)
    os.closerange(TOP + 1, TOP + 200)
    said: list[Any] = []
    failure = None
    try:
        play(HostSystem({}), script, said)
    except BaseException as error:
        failure = ("raised", repr(error), ())
    for fd in range(TOP):
        with contextlib.suppress(OSError):
            os.close(fd)
    raw = pickle.dumps(said + ([failure] if failure else []))
    while raw:
        raw = raw[os.write(TOP, raw) :]
    os._exit(0)
