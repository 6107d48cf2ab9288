"""pidfd: polling for the end, signals, descriptors of another, waitid."""

from userland.abi import *


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    def sleeps(sys):
        sys.rt_sigaction(SIGUSR1, lambda sys, n, info: sys.exit(21))
        while True:
            sys.nanosleep(10_000_000)

    pid = sys.spawn(sleeps)
    sys.nanosleep(20_000_000)
    fd = sys.pidfd_open(pid)
    print(sys.ppoll([(fd, POLLIN)], 0), sys.fcntl(fd, F_GETFD), sys.pidfd_send_signal(fd, 0))
    ep = sys.epoll_create1()
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 5)
    print(sys.epoll_pwait(ep, 5, 0))
    print(sys.waitid(P_PIDFD, fd, WEXITED | WNOHANG))
    sys.pidfd_send_signal(fd, SIGUSR1)
    print(sys.epoll_pwait(ep, 5, -1), sys.ppoll([(fd, POLLIN)]) == [(fd, POLLIN)])
    print("zombie:", err(sys.pidfd_send_signal, fd, 0), err(sys.pidfd_open, pid) > 0)
    print(sys.waitid(P_PIDFD, fd, WEXITED).si_status)
    print("reaped:", err(sys.pidfd_send_signal, fd, SIGUSR1), err(sys.pidfd_open, pid), err(sys.waitid, P_PIDFD, fd, WEXITED))
    print([hex(e) for f, e in sys.ppoll([(fd, POLLIN)], 0)])
    print(err(sys.read, fd, 5), err(sys.write, fd, b"x"), err(sys.lseek, fd, 0))
    print(err(sys.pidfd_open, 0), err(sys.pidfd_open, -1), err(sys.pidfd_open, 1, 1), err(sys.pidfd_open, 4000000))
    print(err(sys.pidfd_send_signal, 0, 0), err(sys.pidfd_send_signal, 999, 0), err(sys.pidfd_send_signal, fd, 99))
    r, w = sys.pipe2()

    def holder(sys):
        sys.dup3(w, 30, 0)
        sys.nanosleep(1_000_000_000)

    pid = sys.spawn(holder)
    sys.nanosleep(20_000_000)
    fd = sys.pidfd_open(pid, O_NONBLOCK)
    got = sys.pidfd_getfd(fd, 30)
    sys.write(got, b"through")
    print(sys.read(r, 20), sys.fcntl(got, F_GETFD), err(sys.pidfd_getfd, fd, 99), err(sys.pidfd_getfd, fd, 30, 1))
    print(err(sys.waitid, P_PIDFD, fd, WEXITED))
    sys.kill(pid, SIGKILL)
    sys.wait4(pid)
