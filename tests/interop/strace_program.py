"""What tests/interop/test_strace.py traces, here and on Linux. It begins with close(1000)."""
# ruff: noqa: F403, F405

from typing import Any

from userland.abi import *

NAME = 'a"b\n\1\x7f\xe9'


def attempt(call: Any, *args: Any) -> Any:
    try:
        return call(*args)
    except OSError:
        return None


def handler(sys: Any, signum: int, info: Any) -> None:
    pass


def child(sys: Any, r: int) -> None:
    sys.read(r, 1)
    sys.exit_group(7)


def killed(sys: Any, r: int) -> None:
    sys.read(r, 1)


def sleeper(sys: Any) -> None:
    sys.nanosleep(400_000_000)


def files(sys: Any) -> None:
    sys.chdir("/tmp")
    attempt(sys.mkdir, "trl-strace", 0o755)
    sys.chdir("trl-strace")
    fd = sys.open(NAME, O_CREAT | O_RDWR | O_CLOEXEC | O_APPEND, 0o640)
    sys.write(fd, b'hello\n\t\r\v\f\x1b\0001\x00a\\"' + bytes(range(128, 140)))
    sys.write(fd, b"x" * 40)
    sys.lseek(fd, 0, SEEK_SET)
    sys.read(fd, 100)
    sys.pread64(fd, 3, 1)
    sys.pwrite64(fd, b"ab", 2)
    sys.ftruncate(fd, 10)
    sys.fsync(fd)
    sys.fcntl(fd, F_GETFL)
    sys.fcntl(fd, F_SETFL, O_NONBLOCK)
    sys.fcntl(fd, F_GETFD)
    sys.fcntl(fd, F_SETFD, FD_CLOEXEC)
    sys.close(sys.dup(fd))
    sys.dup3(fd, 50, O_CLOEXEC)
    sys.close(50)
    attempt(sys.open, "/none/x", O_RDONLY)
    attempt(sys.open, "/none/x", O_WRONLY | O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_SYNC, 0)
    attempt(sys.open, "/none/x", O_RDONLY | O_PATH | O_NOFOLLOW | O_NOATIME)
    sys.close(sys.open(".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK))
    sys.umask(0o27)
    sys.umask(0)
    attempt(sys.wait4, -1, WNOHANG)
    attempt(sys.kill, 1 << 22, SIGTERM)
    attempt(sys.kill, 1 << 22, SIGRTMIN + 3)
    attempt(sys.mount, "none", "/none/x", "tmpfs")
    sys.sched_yield()
    sys.getpid()
    sys.getuid()


def sockets(sys: Any) -> None:
    r, w = sys.pipe2(O_CLOEXEC | O_NONBLOCK)
    attempt(sys.read, r, 5)
    sys.writev(w, [b"ab", b"cde"])
    sys.readv(r, [2, 5])
    sys.writev(w, [b"one"])
    s = sys.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
    sys.setsockopt(s, SOL_SOCKET, SO_REUSEADDR, 1)
    sys.bind(s, ("127.0.0.1", 0))
    sys.listen(s, 5)
    sys.getsockopt(s, SOL_SOCKET, SO_TYPE)
    sys.getsockopt(s, IPPROTO_TCP, TCP_NODELAY)
    sys.setsockopt(s, IPPROTO_IP, IP_TTL, 9)
    u = sys.socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP)
    sys.bind(u, ("127.0.0.1", 40123))
    sys.getsockname(u)
    sys.sendto(u, b"datagram", 0, ("127.0.0.1", 40123))
    sys.recvfrom(u, 100, MSG_DONTWAIT)
    six = sys.socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP)
    sys.setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, 1)
    attempt(sys.connect, six, ("::1", 40125))
    a, _ = sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
    sys.sendto(a, b"q")
    sys.shutdown(a, SHUT_WR)
    un = sys.socket(AF_UNIX, SOCK_STREAM)
    attempt(sys.connect, un, "/none/x")
    sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGUSR2, SIGRTMIN + 1])
    sys.rt_sigprocmask(SIG_UNBLOCK, [SIGUSR2])
    sys.rt_sigprocmask(SIG_SETMASK, [])
    e = sys.epoll_create1(EPOLL_CLOEXEC)
    sys.epoll_ctl(e, EPOLL_CTL_ADD, r, EPOLLIN | EPOLLET, 5)
    sys.epoll_pwait(e, 4, 0)
    sys.epoll_ctl(e, EPOLL_CTL_DEL, r)
    attempt(sys.epoll_ctl, e, EPOLL_CTL_DEL, r)
    sys.eventfd2(3, EFD_CLOEXEC | EFD_NONBLOCK)
    sys.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    sys.ppoll([(r, POLLIN), (w, POLLOUT)], 0)
    sys.ppoll([(u, POLLIN)], 1_000_000)


def processes(sys: Any) -> None:
    sys.kill(sys.getpid(), SIGUSR1)
    sys.tgkill(sys.getpid(), sys.gettid(), SIGUSR1)
    r, w = sys.pipe2()
    pid = sys.spawn(child, r)
    sys.nanosleep(50_000_000)
    sys.write(w, b"x")
    sys.wait4(pid)
    pid = sys.spawn(killed, r)
    sys.nanosleep(50_000_000)
    sys.kill(pid, SIGTERM)
    sys.wait4(pid)
    sys.setitimer(ITIMER_REAL, 50_000_000)
    attempt(sys.read, r, 1)
    sys.setitimer(ITIMER_REAL, 50_000_000)
    attempt(sys.ppoll, [(r, POLLIN)], None)
    sys.setitimer(ITIMER_REAL, 50_000_000)
    attempt(sys.nanosleep, 10_000_000_000)
    e = sys.epoll_create1()
    sys.setitimer(ITIMER_REAL, 50_000_000)
    attempt(sys.epoll_pwait, e, 3, 10_000)
    sys.rt_sigprocmask(SIG_BLOCK, [SIGCHLD])  # a tracer sees it come whenever it comes, and the call under way end
    pid = sys.spawn(sleeper)
    sys.nanosleep(50_000_000)
    sys.kill(pid, SIGSTOP)
    sys.wait4(pid, WUNTRACED)
    sys.kill(pid, SIGCONT)
    sys.wait4(pid)
    sys.close(r)
    attempt(sys.write, w, b"y")


def main(sys: Any, argv: list[str]) -> None:
    sys.rt_sigaction(SIGUSR1, handler, SA_RESTART)
    sys.rt_sigaction(SIGALRM, handler, 0)
    sys.rt_sigaction(SIGPIPE, SIG_IGN)
    attempt(sys.close, 1000)
    files(sys)
    sockets(sys)
    processes(sys)
    sys.unlink(NAME)
    sys.kill(sys.getpid(), SIGTERM)
