"""shutdown against close, RST on close with unread data, REUSEADDR, backlog, EINPROGRESS."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def tcp(sys, flags=0):
    return sys.socket(AF_INET, SOCK_STREAM | flags, 0)


def listener(sys, port=0, backlog=5):
    fd = tcp(sys)
    sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    sys.bind(fd, ("127.0.0.1", port))
    sys.listen(fd, backlog)
    return fd, sys.getsockname(fd)


def pair(sys):
    ls, addr = listener(sys)
    c = tcp(sys)
    sys.connect(c, addr)
    s, peer = sys.accept4(ls)
    sys.close(ls)
    return c, s


def main(sys, argv):
    c, s = pair(sys)
    print("names:", sys.getsockname(c) == sys.getpeername(s), sys.getpeername(c) == sys.getsockname(s))
    sys.write(c, b"hello")
    print("data:", sys.read(s, 100))
    sys.shutdown(c, SHUT_WR)
    print("half closed:", sys.read(s, 100), sys.write(s, b"back"), sys.read(c, 100), err(sys.sendto, c, b"x", MSG_NOSIGNAL))
    print("poll:", [m for _, m in sys.ppoll([(s, POLLIN | POLLOUT | POLLRDHUP)], 0)] == [POLLIN | POLLOUT | POLLRDHUP])
    sys.close(s)
    print("both:", sys.read(c, 10), err(sys.shutdown, c, SHUT_RDWR))
    sys.close(c)

    # a dup keeps the connection; shutdown does not care for dups
    c, s = pair(sys)
    d = sys.dup(c)
    sys.close(c)
    sys.write(s, b"x")
    print("close with a dup:", sys.read(d, 10), err(sys.recvfrom, s, 1, MSG_DONTWAIT))
    pid = sys.spawn(lambda sys: (sys.nanosleep(10_000_000), sys.shutdown(d, SHUT_RDWR), 0)[2])
    print("shutdown wakes a reader:", sys.read(d, 10), sys.read(s, 10))
    sys.wait4(pid)
    sys.close(d)
    sys.close(s)

    # unread data: RST
    c, s = pair(sys)
    sys.write(c, b"unread")
    sys.ppoll([(s, POLLIN)], 1_000_000_000)
    sys.close(s)
    sys.ppoll([(c, POLLIN)], 1_000_000_000)
    print("RST:", [m for _, m in sys.ppoll([(c, POLLIN | POLLOUT | POLLRDHUP)], 0)] == [POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP], err(sys.read, c, 10), sys.read(c, 10), err(sys.sendto, c, b"x", MSG_NOSIGNAL))
    sys.close(c)

    # writing to who has closed: first it goes, then EPIPE
    c, s = pair(sys)
    sys.close(s)
    print("closed peer:", sys.read(c, 10), sys.sendto(c, b"x", MSG_NOSIGNAL))
    sys.ppoll([(c, POLLHUP)], 100_000_000)
    print("then:", err(sys.sendto, c, b"x", MSG_NOSIGNAL))
    sys.close(c)

    # SO_LINGER 0
    c, s = pair(sys)
    sys.setsockopt(c, SOL_SOCKET, SO_LINGER, (1).to_bytes(4, "little") + bytes(4))
    sys.close(c)
    sys.ppoll([(s, POLLIN)], 1_000_000_000)
    print("linger 0:", err(sys.read, s, 10))
    sys.close(s)

    # addresses
    ls, addr = listener(sys)
    other = tcp(sys)
    print("in use:", err(sys.bind, other, addr), err(sys.bind, ls, ("127.0.0.1", 0)), err(sys.bind, other, ("10.99.99.99", 0)))
    sys.setsockopt(other, SOL_SOCKET, SO_REUSEADDR, 1)
    print("REUSEADDR against a listener:", err(sys.bind, other, addr))
    c = tcp(sys)
    sys.connect(c, addr)
    s, _ = sys.accept4(ls)
    sys.close(ls)
    sys.close(s)
    sys.read(c, 1)
    sys.close(c)
    again = tcp(sys)
    print("TIME-WAIT:", err(sys.bind, again, addr))
    sys.close(again)
    again = tcp(sys)
    sys.setsockopt(again, SOL_SOCKET, SO_REUSEADDR, 1)
    print("with REUSEADDR:", sys.bind(again, addr), sys.listen(again, 1))
    sys.close(again)

    # connect
    c = tcp(sys)
    print("refused:", err(sys.connect, c, addr))
    ls, addr = listener(sys)
    print("the same socket again:", err(sys.connect, c, addr), err(sys.connect, c, addr))
    sys.close(c)
    c = tcp(sys, SOCK_NONBLOCK)
    first = err(sys.connect, c, addr)
    print("non-blocking:", first, [m for _, m in sys.ppoll([(c, POLLOUT)], 1_000_000_000)] == [POLLOUT], sys.getsockopt(c, SOL_SOCKET, SO_ERROR), err(sys.connect, c, addr), err(sys.connect, c, addr))
    sys.close(c)
    sys.close(ls)
    c = tcp(sys, SOCK_NONBLOCK)
    print("non-blocking to nobody:", err(sys.connect, c, addr), POLLERR & sys.ppoll([(c, POLLOUT)], 1_000_000_000)[0][1], sys.getsockopt(c, SOL_SOCKET, SO_ERROR), sys.getsockopt(c, SOL_SOCKET, SO_ERROR))
    sys.close(c)
    c = tcp(sys)
    print("not connected:", err(sys.read, c, 1), err(sys.sendto, c, b"x", MSG_NOSIGNAL), err(sys.getpeername, c), err(sys.shutdown, c, SHUT_WR), err(sys.accept4, c), sys.ppoll([(c, POLLIN | POLLOUT)], 0) == [(c, POLLOUT | POLLHUP)])
    sys.close(c)

    # backlog
    ls, addr = listener(sys, 0, 1)
    cs = []
    for _ in range(2):
        c = tcp(sys, SOCK_NONBLOCK)
        err(sys.connect, c, addr)
        cs.append(c)
    print("backlog 1 takes two:", [bool(sys.ppoll([(c, POLLOUT)], 100_000_000)) for c in cs])
    third = tcp(sys, SOCK_NONBLOCK)
    err(sys.connect, third, addr)
    print("the third waits:", sys.ppoll([(third, POLLOUT)], 100_000_000))
    sys.accept4(ls)
    sys.accept4(ls)
    print("until there is room:", bool(sys.ppoll([(third, POLLOUT)], 3_000_000_000)))
    sys.close(ls)

    # datagrams
    a, b = sys.socket(AF_INET, SOCK_DGRAM), sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(a, ("127.0.0.1", 0))
    sys.bind(b, ("127.0.0.1", 0))
    to = sys.getsockname(a)
    sys.sendto(b, b"one", 0, to)
    sys.sendto(b, b"", 0, to)
    sys.sendto(b, b"three", 0, to)
    print("borders:", [sys.recvfrom(a, n)[0] for n in (2, 10, 10)], err(sys.recvfrom, a, 1, MSG_DONTWAIT))
    sys.sendto(b, b"four", 0, to)
    print("peek and trunc:", sys.recvfrom(a, 2, MSG_PEEK)[0], len(sys.recvfrom(a, 10)[0]), sys.sendto(b, b"x" * 100, 0, to), sys.recvmsg(a, 10, 0, 0)[2] == MSG_TRUNC)
    sys.connect(b, to)
    sys.close(a)
    print("port unreachable:", sys.write(b, b"x"), err(sys.recvfrom, b, 10), err(sys.sendto, b, b"x" * 70_000))
    m = sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(m, ("127.0.0.1", 0))
    there = sys.getsockname(m)
    print("sendmmsg:", sys.sendmmsg(b, [([b"1", b"2"], (), there), ([b"3"], (), there)], 0), [d for d, _ in sys.recvmmsg(m, [10, 1, 10], MSG_DONTWAIT)])

    # Unix sockets: descriptors and credentials
    u, v = sys.socketpair(AF_UNIX, SOCK_STREAM)
    r, w = sys.pipe2()
    sys.sendmsg(u, [b"fd"], [(SOL_SOCKET, SCM_RIGHTS, w.to_bytes(4, "little"))])
    sys.close(w)
    data, anc, flags, _ = sys.recvmsg(v, 10, 64)
    new = int.from_bytes(anc[0][2], "little")
    print("passed:", data, anc[0][:2], sys.write(new, b"through"), sys.read(r, 10), flags)
    sys.setsockopt(v, SOL_SOCKET, SO_PASSCRED, 1)
    sys.write(u, b"who")
    data, anc, flags, _ = sys.recvmsg(v, 10, 64)
    print("SO_PASSCRED:", data, anc[0][1] == SCM_CREDENTIALS, [int.from_bytes(anc[0][2][i : i + 4], "little") for i in (4, 8)], int.from_bytes(anc[0][2][:4], "little") == sys.getpid())
    cred = sys.getsockopt(u, SOL_SOCKET, SO_PEERCRED, 12)
    print("SO_PEERCRED:", int.from_bytes(cred[:4], "little") == sys.getpid(), cred[4:])
    print("wrong:", err(sys.socket, 99, SOCK_STREAM), err(sys.socket, AF_INET, 99), err(sys.socketpair, AF_INET, SOCK_STREAM), err(sys.listen, r, 1), err(sys.bind, 999, to), err(sys.setsockopt, c, SOL_SOCKET, SO_REUSEADDR, 1), err(sys.getsockopt, u, 77, 1))
    return 0
