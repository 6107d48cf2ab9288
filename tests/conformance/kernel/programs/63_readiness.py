"""epoll, poll, select and eventfd: edges, nesting, order, odd arguments."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    def masks(l):
        return [(d, hex(m)) for d, m in l]

    ep = sys.epoll_create1(EPOLL_CLOEXEC)
    r, w = sys.pipe2(O_NONBLOCK)
    print(
        "errors",
        e(sys.epoll_ctl, ep, EPOLL_CTL_ADD, ep, EPOLLIN),
        e(sys.epoll_ctl, r, EPOLL_CTL_ADD, w, EPOLLIN),
        e(sys.epoll_ctl, ep, EPOLL_CTL_DEL, r),
        e(sys.epoll_ctl, ep, EPOLL_CTL_MOD, r, EPOLLIN),
        e(sys.epoll_ctl, ep, 9, r, EPOLLIN),
        e(sys.epoll_ctl, ep, EPOLL_CTL_ADD, 999, EPOLLIN),
        e(sys.epoll_ctl, 999, EPOLL_CTL_ADD, r, EPOLLIN),
        e(sys.epoll_ctl, ep, EPOLL_CTL_ADD, sys.open("/tmp", O_RDONLY), EPOLLIN),
        e(sys.epoll_pwait, ep, 0, 0),
        e(sys.epoll_pwait, ep, -1, 0),
        e(sys.epoll_pwait, r, 1, 0),
        e(sys.epoll_create, 0),
        e(sys.epoll_create1, 5),
        sys.fcntl(ep, F_GETFD),
    )
    print(
        e(sys.epoll_ctl, ep, EPOLL_CTL_ADD, r, EPOLLIN | EPOLLET, 1),
        e(sys.epoll_ctl, ep, EPOLL_CTL_ADD, r, EPOLLIN),
        sys.epoll_pwait(ep, 5, 0),
    )
    sys.write(w, b"ab")
    print("ET", masks(sys.epoll_pwait(ep, 5, 0)), masks(sys.epoll_pwait(ep, 5, 0)))
    sys.read(r, 1)
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    sys.write(w, b"c")
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLET, 2)
    print("mod re-arms", masks(sys.epoll_pwait(ep, 5, 0)), masks(sys.epoll_pwait(ep, 5, 0)))
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLONESHOT, 3)
    print("oneshot", masks(sys.epoll_pwait(ep, 5, 0)), masks(sys.epoll_pwait(ep, 5, 0)))
    sys.close(w) if False else None
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, EPOLLIN | EPOLLONESHOT, 4)
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    d = sys.dup(r)
    print("dup", e(sys.epoll_ctl, ep, EPOLL_CTL_ADD, d, EPOLLIN, 5), masks(sys.epoll_pwait(ep, 5, 0)))
    sys.close(d)
    print(masks(sys.epoll_pwait(ep, 5, 0)), e(sys.epoll_ctl, ep, EPOLL_CTL_DEL, d))
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    sys.epoll_ctl(ep, EPOLL_CTL_MOD, r, 0, 6)
    sys.read(r, 10)
    sys.close(w)
    print("zero mask", masks(sys.epoll_pwait(ep, 5, 0)))
    sys.close(r)
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    # nested
    ep2 = sys.epoll_create1()
    ev = sys.eventfd2(0, EFD_NONBLOCK)
    sys.epoll_ctl(ep2, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLOUT, 7)
    print("out", masks(sys.epoll_pwait(ep2, 5, 0)))
    sys.epoll_ctl(ep2, EPOLL_CTL_MOD, ev, EPOLLIN, 7)
    ep = sys.epoll_create1()
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, ep2, EPOLLIN, 8)
    print(sys.epoll_pwait(ep, 5, 0), sys.ppoll([(ep, POLLIN)], 0))
    sys.write(ev, struct.pack("Q", 3))
    print(
        masks(sys.epoll_pwait(ep, 5, 0)),
        [(f == ep, hex(m)) for f, m in sys.ppoll([(ep, POLLIN), (ep2, POLLIN)], 0)],
        masks(sys.epoll_pwait(ep2, 5, 0)),
        e(sys.epoll_ctl, ep2, EPOLL_CTL_ADD, ep, EPOLLIN),
    )
    sys.read(ev, 8)
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    chain = [sys.epoll_create1() for _ in range(8)]
    print("depth", [e(sys.epoll_ctl, chain[i + 1], EPOLL_CTL_ADD, chain[i], EPOLLIN) for i in range(7)])
    print(
        "exclusive",
        e(sys.epoll_ctl, ep2, EPOLL_CTL_MOD, ev, EPOLLIN | EPOLLEXCLUSIVE),
        e(sys.epoll_ctl, ep2, EPOLL_CTL_DEL, ev),
        e(sys.epoll_ctl, ep2, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT),
        e(sys.epoll_ctl, ep2, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE),
        e(sys.epoll_ctl, ep2, EPOLL_CTL_MOD, ev, EPOLLIN),
        e(sys.epoll_ctl, ep2, EPOLL_CTL_ADD, chain[0], EPOLLIN | EPOLLEXCLUSIVE),
    )
    # fairness and order: ready list rotates with level triggering
    ep = sys.epoll_create1()
    evs = [sys.eventfd2(1) for _ in range(4)]
    for i, f in enumerate(evs):
        sys.epoll_ctl(ep, EPOLL_CTL_ADD, f, EPOLLIN, i)
    print("rotate", [[d for d, _ in sys.epoll_pwait(ep, 2, 0)] for _ in range(4)])
    # sockets: RDHUP, HUP, ERR
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    ep = sys.epoll_create1()
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, a, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1)
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    sys.write(b, b"x")
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    sys.shutdown(b, SHUT_WR)
    print(masks(sys.epoll_pwait(ep, 5, 0)))
    sys.close(b)
    print(masks(sys.epoll_pwait(ep, 5, 0)), masks(sys.epoll_pwait(ep, 5, 0)))
    # eventfd
    s = sys.eventfd2(3, EFD_SEMAPHORE | EFD_NONBLOCK)
    print(
        "sem",
        [struct.unpack("Q", sys.read(s, 8))[0] for _ in range(3)],
        e(sys.read, s, 8),
        e(sys.read, s, 7),
        e(sys.write, s, b"1234567"),
        e(sys.write, s, b"\xff" * 8),
        e(sys.write, s, struct.pack("Q", (1 << 64) - 2)),
        e(sys.write, s, struct.pack("Q", 1)),
        [hex(m) for _, m in sys.ppoll([(s, POLLIN | POLLOUT)], 0)],
        e(sys.write, s, struct.pack("Q", 0)),
        len(sys.read(s, 100)),
        e(sys.write, s, struct.pack("Q", 1) + b"extra"),
        e(sys.eventfd2, 0, 77),
    )
    # poll oddities
    z = sys.eventfd2(1)
    print(
        "poll",
        sys.ppoll([(-1, POLLIN), (-5, 0), (999, POLLIN), (999, 0)], 0),
        [(f == z, m) for f, m in sys.ppoll([(z, POLLIN), (z, POLLIN | POLLOUT), (z, 0)], 0)],
        e(sys.ppoll, [(z, POLLIN)], -5),
        e(sys.poll, [], 1),
        sys.poll([(z, POLLIN)], -1) == [(z, POLLIN)],
    )
    sys.prlimit64(0, RLIMIT_NOFILE, (40, 4096))
    print(e(sys.ppoll, [(-1, 0)] * 41, 0), e(sys.ppoll, [(-1, 0)] * 40, 0))
    print(
        "select",
        [x == [z] for x in sys.pselect6(z + 1, [z], [z], [z], 0)],
        sys.pselect6(z, [z], [], [], 0),
        e(sys.pselect6, -1, [], [], [], 0),
        e(sys.pselect6, 39, [38], [], [], 0),
        e(sys.pselect6, 1025, [], [], [], 0),
        e(sys.pselect6, 5, [], [], [], -1),
        e(sys.pselect6, 0, [], [], [], 5 * MS),
    )
    q = sys.open("/tmp", O_RDONLY)
    f = sys.open("/dev/null", O_RDWR)
    print(
        "files",
        [hex(m) for _, m in sys.ppoll([(q, 0x7FFF), (f, 0x7FFF)], 0)],
        sys.pselect6(f + 1, [f], [f], [f], 0) == ([f], [f], []),
    )
