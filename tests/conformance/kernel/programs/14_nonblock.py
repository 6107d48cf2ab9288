"""O_NONBLOCK: EAGAIN and partial writes by the rules, on every kind of stream."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    r, w = sys.pipe2(O_NONBLOCK)
    print("empty pipe:", err(sys.read, r, 1), "zero bytes:", sys.read(r, 0), sys.write(w, b""))
    print("a large write is partial:", sys.write(w, b"x" * 100_000), err(sys.write, w, b"x" * 100_000))
    print("readv:", [len(x) for x in sys.readv(r, [10, 0, 100])], "writev:", err(sys.writev, w, [b"a", b"b"]))
    print("flags:", oct(sys.fcntl(r, F_GETFL)), oct(sys.fcntl(w, F_GETFL)))
    sys.fcntl(r, F_SETFL, 0)
    print("cleared:", oct(sys.fcntl(r, F_GETFL)))
    sys.fcntl(r, F_SETFL, O_NONBLOCK | O_APPEND | O_WRONLY | O_CREAT)
    print("only some can be set:", oct(sys.fcntl(r, F_GETFL)))
    sys.ioctl(r, FIONBIO, 0)
    print("FIONBIO:", oct(sys.fcntl(r, F_GETFL) & O_NONBLOCK))

    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
    print("socket:", err(sys.read, a, 1), err(sys.recvfrom, a, 1))
    total = 0
    while True:
        n = err(sys.write, a, b"y" * 10_000)
        if n == "EAGAIN":
            break
        total += n
    print("full:", total > 50_000, sys.ppoll([(a, POLLOUT)], 0))
    while err(sys.read, b, 100_000) != "EAGAIN":
        pass
    print("writable again:", sys.ppoll([(a, POLLOUT)], 0) == [(a, POLLOUT)])
    sys.fcntl(a, F_SETFL, 0)
    print("MSG_DONTWAIT:", err(sys.recvfrom, a, 1, MSG_DONTWAIT))
    listener = sys.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
    sys.bind(listener, "\0trl14-%d" % sys.getpid())
    sys.listen(listener, 1)
    print("accept:", err(sys.accept4, listener))
    c = sys.socket(AF_UNIX, SOCK_STREAM)
    sys.connect(c, "\0trl14-%d" % sys.getpid())
    d, _ = sys.accept4(listener)
    print("accepted is blocking:", oct(sys.fcntl(d, F_GETFL)), "accept4 flag:", oct(O_NONBLOCK))

    e = sys.eventfd2(0, EFD_NONBLOCK)
    print("eventfd:", err(sys.read, e, 8), err(sys.read, e, 7))
    sys.write(e, (3).to_bytes(8, "little"))
    sys.write(e, (4).to_bytes(8, "little"))
    print(sys.read(e, 8), err(sys.read, e, 8), err(sys.write, e, b"\xff" * 8), err(sys.write, e, b"1234"))
    sys.write(e, (0xFFFFFFFFFFFFFFFE).to_bytes(8, "little"))
    print("full:", err(sys.write, e, (1).to_bytes(8, "little")), sys.ppoll([(e, POLLIN | POLLOUT)], 0) == [(e, POLLIN)])
    s = sys.eventfd2(2, EFD_NONBLOCK | EFD_SEMAPHORE)
    print("semaphore:", sys.read(s, 8), sys.read(s, 8), err(sys.read, s, 8))

    t = sys.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)
    print("timerfd:", err(sys.read, t, 8), sys.timerfd_gettime(t))
    sys.timerfd_settime(t, 0, 2_000_000, 1_000_000)
    sys.nanosleep(5_500_000)
    n = int.from_bytes(sys.read(t, 8), "little")
    print("expirations:", n >= 4, err(sys.read, t, 4), sys.timerfd_gettime(t)[1])
    sys.timerfd_settime(t, 0, 0, 0)
    print("disarmed:", err(sys.read, t, 8), sys.timerfd_gettime(t))
    print(
        "bad:",
        err(sys.timerfd_create, 99, 0),
        err(sys.timerfd_settime, t, 0, -1, 0),
        err(sys.timerfd_settime, r, 0, 1, 0),
    )
