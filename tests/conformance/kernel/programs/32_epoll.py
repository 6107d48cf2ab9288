"""epoll: level and edge, ONESHOT, an item lives as long as the open description, HUP is always reported."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    ep = sys.epoll_create1(0)
    r, w = sys.pipe2(O_NONBLOCK)

    def ready(timeout=0, n=10):
        return sorted(sys.epoll_pwait(ep, n, timeout))

    print("add:", sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, EPOLLIN, 1), err(sys.epoll_ctl, ep, EPOLL_CTL_ADD, r, EPOLLIN, 1))
    print("nothing:", ready())
    sys.write(w, b"ab")
    print("level:", ready(), ready())
    sys.read(r, 1)
    print("still:", ready())
    sys.read(r, 1)
    print("no more:", ready())
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLET, 2)
    sys.write(w, b"abc")
    print("edge:", ready(), ready())
    sys.write(w, b"d")
    print("each write is one:", ready(), ready())
    sys.read(r, 1)
    print("a read is none:", ready())
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLET, 3)
    print("MOD looks again:", ready(), ready())
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLONESHOT, 4)
    print("one shot:", ready(), ready())
    sys.write(w, b"e")
    print("disarmed:", ready())
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLONESHOT, 5)
    print("armed again:", ready(), ready())
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN, 6)

    d = sys.dup(r)
    sys.close(r)
    print("lives with the dup:", ready())
    print("but can't be reached:", err(sys.epoll_ctl, ep, EPOLL_CTL_DEL, r, 0, 0), err(sys.epoll_ctl, ep, EPOLL_CTL_DEL, d, 0, 0))
    sys.close(d)
    print("gone with the last:", ready(), err(sys.write, w, b"x") if False else "")
    r2, w2 = sys.pipe2(O_NONBLOCK)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, r2, 0, 7)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, w2, 0, 8)
    print("nothing asked:", ready())
    sys.write(w2, b"x")
    print("not even with data:", ready())
    sys.close(w2)
    print("HUP unasked:", ready())
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r2, EPOLLIN, 9)
    print("both:", ready())
    r3, w3 = sys.pipe2(O_NONBLOCK)
    sys.epoll_ctl(ep, EPOLL_CTL_DEL, r2, 0, 0)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, w3, EPOLLOUT, 10)
    print("writable:", ready())
    sys.close(r3)
    print("ERR unasked:", ready())
    sys.close(w3)

    # the same descriptor number again
    r4, w4 = sys.pipe2(O_NONBLOCK)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, r4, EPOLLIN, 11)
    keep = sys.dup(r4)
    sys.close(r4)
    r5, w5 = sys.pipe2(O_NONBLOCK)
    print("number reused:", r5 == r4, sys.epoll_ctl(ep, EPOLL_CTL_ADD, r5, EPOLLIN, 12))
    sys.write(w4, b"x")
    sys.write(w5, b"y")
    print("two items:", ready())
    for fd in (keep, r5, w4, w5):
        sys.close(fd)
    print("none:", ready())

    # maxevents and fairness
    pipes = [sys.pipe2(O_NONBLOCK) for _ in range(5)]
    for i, (r, w) in enumerate(pipes):
        sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, EPOLLIN, 100 + i)
        sys.write(w, b"x")
    seen = [d for _ in range(5) for d, _ in sys.epoll_pwait(ep, 2, 0)]
    print("everyone has a turn:", sorted(set(seen)), len(seen))
    for r, w in pipes:
        sys.close(r)
        sys.close(w)

    # sockets
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, a, EPOLLIN | EPOLLRDHUP | EPOLLOUT, 1)
    print("socket:", ready())
    sys.shutdown(b, SHUT_WR)
    print("shutdown:", ready())
    sys.close(b)
    print("closed:", ready())
    sys.close(a)
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, a, EPOLLIN | EPOLLOUT | EPOLLET, 1)
    print("edge:", ready(), ready())
    sys.write(b, b"x")
    print("in and out together:", ready(), ready())
    sys.close(a)
    sys.close(b)

    # epolls in epolls, and what is refused
    inner = sys.epoll_create1(EPOLL_CLOEXEC)
    r, w = sys.pipe2()
    sys.epoll_ctl(inner, EPOLL_CTL_ADD, r, EPOLLIN, 1)
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, inner, EPOLLIN, 2)
    print("nested:", ready(), sys.write(w, b"x"), ready(), sys.ppoll([(ep, POLLIN)], 0) == [(ep, POLLIN)])
    print("circle:", err(sys.epoll_ctl, inner, EPOLL_CTL_ADD, ep, EPOLLIN, 3), err(sys.epoll_ctl, ep, EPOLL_CTL_ADD, ep, EPOLLIN, 3))
    file = sys.open("/tmp", O_RDONLY)
    reg = sys.open("/proc/self/status", O_RDONLY)
    print("files:", err(sys.epoll_ctl, ep, EPOLL_CTL_ADD, file, EPOLLIN, 1))
    print("bad:", err(sys.epoll_ctl, ep, EPOLL_CTL_ADD, 999, EPOLLIN, 1), err(sys.epoll_ctl, r, EPOLL_CTL_ADD, w, EPOLLIN, 1),
          err(sys.epoll_ctl, ep, 9, r, EPOLLIN, 1), err(sys.epoll_ctl, ep, EPOLL_CTL_MOD, r, EPOLLIN, 1), err(sys.epoll_ctl, ep, EPOLL_CTL_DEL, r, 0, 0),
          err(sys.epoll_pwait, ep, 0, 0), err(sys.epoll_pwait, r, 1, 0), err(sys.epoll_create1, 5), err(sys.epoll_create, 0))

    # a waiter is woken
    ep2 = sys.epoll_create1()
    r, w = sys.pipe2()
    sys.epoll_ctl(ep2, EPOLL_CTL_ADD, r, EPOLLIN, 77)
    pid = sys.spawn(lambda sys: (sys.nanosleep(10_000_000), sys.write(w, b"x"), 0)[2])
    print("woken:", sys.epoll_pwait(ep2, 5, -1), sys.wait4(pid)[1])
    start = sys.clock_gettime(CLOCK_MONOTONIC)
    sys.read(r, 1)
    print("timeout:", sys.epoll_pwait(ep2, 5, 20), sys.clock_gettime(CLOCK_MONOTONIC) - start >= 20_000_000)
    # added while somebody waits
    r6, w6 = sys.pipe2()
    sys.write(w6, b"x")
    pid = sys.spawn(lambda sys: (sys.nanosleep(10_000_000), sys.epoll_ctl(ep2, EPOLL_CTL_ADD, r6, EPOLLIN, 78), 0)[2])
    print("added meanwhile:", sys.epoll_pwait(ep2, 5, 1000), sys.wait4(pid)[1])
    # poll and select
    print("poll:", sys.ppoll([(r6, POLLIN), (-1, POLLIN), (999, POLLIN), (w6, POLLOUT)], 0) == [(r6, POLLIN), (999, POLLNVAL), (w6, POLLOUT)])
    print("select:", sys.pselect6(w6 + 1, [r, r6], [w6], [], 0) == ([r6], [w6], []), err(sys.pselect6, 60, [59], [], [], 0), err(sys.pselect6, -1, [], [], [], 0))
    print("regular files are ready:", [m for _, m in sys.ppoll([(reg, POLLIN | POLLOUT)], 0)] != [], sys.ppoll([], 1_000_000))
    e = sys.eventfd2(0, 0)
    ep3 = sys.epoll_create1()
    sys.epoll_ctl(ep3, EPOLL_CTL_ADD, e, EPOLLIN | EPOLLET, 5)
    one = (1).to_bytes(8, "little")
    print("eventfd edge:", sys.epoll_pwait(ep3, 5, 0), sys.write(e, one), sys.epoll_pwait(ep3, 5, 0), sys.write(e, one), sys.epoll_pwait(ep3, 5, 0), sys.epoll_pwait(ep3, 5, 0))
    return 0
