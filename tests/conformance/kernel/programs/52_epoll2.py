"""Readiness once more: epoll's rules, poll's errors, select, eventfd, timerfd, signalfd, Unix sockets."""

from userland.abi import *

MS = 1_000_000


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    ep = sys.epoll_create1(EPOLL_CLOEXEC)
    r, w = sys.pipe2()
    print(sys.fcntl(ep, F_GETFD), err(sys.epoll_create1, 5), err(sys.epoll_create, 0), err(sys.epoll_ctl, ep, 1, ep, 1, 0), err(sys.epoll_ctl, ep, 1, 99, 1, 0), err(sys.epoll_ctl, 99, 1, r, 1, 0),
          err(sys.epoll_ctl, r, 1, w, 1, 0), err(sys.epoll_ctl, ep, 9, r, 1, 0), err(sys.epoll_ctl, ep, EPOLL_CTL_MOD, r, 1, 0), err(sys.epoll_ctl, ep, EPOLL_CTL_DEL, r), err(sys.epoll_pwait, ep, 0, 0), err(sys.epoll_pwait, ep, -1, 0), err(sys.epoll_pwait, r, 1, 0))
    f = sys.open("/tmp/trl-ep", O_CREAT | O_RDWR)
    print(err(sys.epoll_ctl, ep, 1, f, 1, 0))
    sys.unlink("/tmp/trl-ep")
    sys.epoll_ctl(ep, 1, r, EPOLLIN | EPOLLET, 7)
    print(err(sys.epoll_ctl, ep, 1, r, 1, 0), sys.epoll_pwait(ep, 5, 0))
    sys.write(w, b"a")
    print(sys.epoll_pwait(ep, 5, 0), sys.epoll_pwait(ep, 5, 0))
    sys.write(w, b"b")
    print("edge again:", sys.epoll_pwait(ep, 5, 0), sys.read(r, 1), sys.epoll_pwait(ep, 5, 0))
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLET, 8)
    print("mod re-arms:", sys.epoll_pwait(ep, 5, 0))
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLONESHOT, 9)
    print("oneshot:", sys.epoll_pwait(ep, 5, 0), sys.epoll_pwait(ep, 5, 0))
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN, (1 << 64) - 1)
    print("level:", sys.epoll_pwait(ep, 5, 0), sys.epoll_pwait(ep, 5, 0))
    # the item lives as long as the description
    d = sys.dup(r)
    sys.close(r)
    print("dup keeps it:", sys.epoll_pwait(ep, 5, 0), err(sys.epoll_ctl, ep, EPOLL_CTL_DEL, r), err(sys.epoll_ctl, ep, EPOLL_CTL_DEL, d))
    sys.close(d)
    print("gone:", sys.epoll_pwait(ep, 5, 0))
    # HUP and ERR unasked
    r, w = sys.pipe2()
    sys.epoll_ctl(ep, 1, r, 0, 1)
    sys.epoll_ctl(ep, 1, w, 0, 2)
    sys.close(w)
    print([(d, hex(e)) for d, e in sys.epoll_pwait(ep, 5, 0)])
    sys.close(r)
    # nested, and loops
    inner = sys.epoll_create1()
    e = sys.eventfd2(0, EFD_NONBLOCK)
    sys.epoll_ctl(inner, 1, e, EPOLLIN, 3)
    sys.epoll_ctl(ep, 1, inner, EPOLLIN, 4)
    print(err(sys.epoll_ctl, inner, 1, ep, EPOLLIN, 0), sys.epoll_pwait(ep, 5, 0))
    sys.write(e, (1).to_bytes(8, "little"))
    print(sys.epoll_pwait(ep, 5, 0), sys.epoll_pwait(inner, 5, 0), [hex(x) for _, x in sys.ppoll([(ep, POLLIN)], 0)])
    # many, in turn
    pipes = [sys.pipe2() for _ in range(4)]
    many = sys.epoll_create1()
    for i, (r, w) in enumerate(pipes):
        sys.epoll_ctl(many, 1, r, EPOLLIN, i)
    for i in (2, 0, 3, 1):
        sys.write(pipes[i][1], b"x")
    print("order:", [d for d, _ in sys.epoll_pwait(many, 2, 0)], [d for d, _ in sys.epoll_pwait(many, 2, 0)], [d for d, _ in sys.epoll_pwait(many, 9, 0)])
    before = sys.clock_gettime(1)
    print(sys.epoll_pwait(sys.epoll_create1(), 5, 20), sys.clock_gettime(1) - before >= 20 * MS, sys.epoll_pwait2(sys.epoll_create1(), 5, 5 * MS))
    # poll
    print(sys.ppoll([(99, POLLIN), (-1, POLLIN), (e, POLLIN | POLLOUT)], 0), sys.ppoll([], 0), err(sys.ppoll, [(0, 1)] * 2, -5))
    sys.prlimit64(0, RLIMIT_NOFILE, (64, 4096))
    print(err(sys.ppoll, [(-1, 0)] * 65, 0))
    # select
    print(sys.pselect6(e + 1, [e], [e], [e], 0), err(sys.pselect6, 60, [55], [], [], 0), err(sys.pselect6, -1, [], [], [], 0), sys.pselect6(0, [], [], [], 5 * MS))
    # eventfd
    s = sys.eventfd2(3, EFD_SEMAPHORE | EFD_NONBLOCK)
    print([sys.read(s, 8)[0] for _ in range(3)], err(sys.read, s, 8), err(sys.read, s, 7), err(sys.write, s, b"1234567"), err(sys.write, s, b"\xff" * 8), sys.write(s, b"\xfe" + b"\xff" * 7), err(sys.write, s, b"\1" + bytes(7)),
          [hex(x) for _, x in sys.ppoll([(s, POLLIN | POLLOUT)], 0)], err(sys.eventfd2, 0, 99))
    # timerfd
    t = sys.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)
    print(err(sys.read, t, 8), sys.timerfd_settime(t, 0, 10 * MS, 10 * MS), sys.nanosleep(35 * MS), sys.read(t, 8)[0] >= 3, sys.timerfd_gettime(t)[1], err(sys.read, t, 4),
          sys.timerfd_settime(t, 0, 0)[1], sys.timerfd_gettime(t), err(sys.timerfd_create, 99), err(sys.timerfd_settime, e, 0, 1), err(sys.timerfd_settime, t, 99, 1), err(sys.timerfd_settime, t, 0, -1))
    sys.timerfd_settime(t, TFD_TIMER_ABSTIME, 1)
    print("past:", sys.read(t, 8)[0])
    # signalfd
    sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGRTMIN])
    sf = sys.signalfd4(-1, [SIGUSR1, SIGRTMIN], SFD_NONBLOCK)
    print(err(sys.read, sf, 128), err(sys.read, sf, 100))
    sys.kill(sys.getpid(), SIGUSR1)
    sys.rt_sigqueueinfo(sys.getpid(), SIGRTMIN, 5)
    data = sys.read(sf, 1000)
    print(len(data), data[0], data[128], int.from_bytes(data[128 + 44 : 128 + 48], "little"), err(sys.signalfd4, 0, [1]), err(sys.signalfd4, -1, [1], 77))
    # Unix sockets
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    sys.write(a, b"stream")
    sys.write(a, b"ing")
    print(sys.recvfrom(b, 3, MSG_PEEK)[0], sys.read(b, 100), sys.shutdown(a, SHUT_WR), sys.read(b, 5), err(sys.write, a, b"x") if sys.rt_sigaction(SIGPIPE, SIG_IGN) is not None else 0, sys.write(b, b"back"), sys.read(a, 10))
    print([hex(x) for _, x in sys.ppoll([(b, POLLIN | POLLRDHUP)], 0)], sys.close(b), [hex(x) for _, x in sys.ppoll([(a, POLLIN | POLLOUT)], 0)])
    a, b = sys.socketpair(AF_UNIX, SOCK_DGRAM)
    sys.write(a, b"one")
    sys.write(a, b"")
    sys.write(a, b"three")
    print(sys.read(b, 2), sys.read(b, 5), sys.recvfrom(b, 100)[0], err(sys.recvfrom, b, 5, MSG_DONTWAIT))
    a, b = sys.socketpair(AF_UNIX, SOCK_SEQPACKET)
    sys.write(a, b"packet")
    sys.close(a)
    print(sys.read(b, 100), sys.read(b, 100), err(sys.socketpair, AF_INET, SOCK_STREAM), err(sys.socketpair, AF_UNIX, 77), err(sys.socket, 99, 1))
