"""End of file only when the last writer closes; writing without a reader is SIGPIPE and EPIPE."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    r, w = sys.pipe2()
    w2 = sys.dup(w)
    go, tell = sys.pipe2()
    pid = sys.spawn(lambda sys: (sys.close(r), sys.read(go, 1), sys.nanosleep(20_000_000), 0)[3])
    sys.write(w, b"abc")
    sys.close(w)
    print(sys.read(r, 10))
    print("dup keeps it open:", sys.ppoll([(r, POLLIN)], 1_000_000))
    sys.close(w2)
    start = sys.clock_gettime(CLOCK_MONOTONIC)
    sys.write(tell, b"x")
    print("EOF when the child is gone too:", sys.read(r, 10), sys.clock_gettime(CLOCK_MONOTONIC) - start > 5_000_000)
    print("and again:", sys.read(r, 10), [(m & POLLHUP) for _, m in sys.ppoll([(r, POLLIN)], 0)])
    sys.wait4(pid)

    r, w = sys.pipe2()
    sys.close(r)

    def broken(sys):
        sys.write(w, b"x")
        return 1

    print("default:", sys.wait4(sys.spawn(broken))[1])
    seen = []
    sys.rt_sigaction(SIGPIPE, lambda sys, n, info: seen.append((n, info.si_code)))
    print("caught:", err(sys.write, w, b"x"), seen)
    sys.rt_sigaction(SIGPIPE, SIG_IGN)
    print("ignored:", err(sys.write, w, b"x"), "of nothing:", err(sys.write, w, b""))
    print("poll:", sys.ppoll([(w, POLLOUT)], 0) == [(w, POLLOUT | POLLERR)])

    # a blocked writer hears of it
    r, w = sys.pipe2()
    pid = sys.spawn(lambda sys: (sys.close(w), sys.nanosleep(20_000_000), 0)[2])
    sys.close(r)
    print("blocked writer:", err(sys.write, w, b"x" * 100_000))
    sys.wait4(pid)
    r, w = sys.pipe2()
    pid = sys.spawn(lambda sys: (sys.close(w), sys.nanosleep(10_000_000), sys.read(r, 70_000), 0)[3])
    sys.close(r)
    print("partial then EPIPE:", err(sys.write, w, b"x" * 1_000_000) in (65536, 65536 + 65536), err(sys.write, w, b"x"))
    sys.wait4(pid)

    # wrong ends
    r, w = sys.pipe2()
    print(
        "wrong ends:", err(sys.write, r, b"x"), err(sys.read, w, 1), err(sys.lseek, r, 0, 0), err(sys.pread64, r, 1, 0)
    )

    # FIFOs
    name = "/tmp/trl-fifo-%d" % sys.getpid()
    sys.mkfifo(name, 0o600)
    print("writer without reader:", err(sys.open, name, O_WRONLY | O_NONBLOCK))
    r = sys.open(name, O_RDONLY | O_NONBLOCK)
    print("reader without writer:", sys.read(r, 10), sys.ppoll([(r, POLLIN)], 0))
    w = sys.open(name, O_WRONLY)
    print("writer there, nothing to read:", err(sys.read, r, 10))
    sys.write(w, b"through")
    print(sys.read(r, 10))
    sys.close(w)
    print("writer gone:", sys.read(r, 10), sys.ppoll([(r, POLLIN)], 0) == [(r, POLLHUP)])
    w = sys.open(name, O_RDWR)
    sys.write(w, b"both ways")
    print(sys.read(w, 100))
    sys.close(r)
    sys.close(w)
    pid = sys.spawn(lambda sys: (sys.write(sys.open(name, O_WRONLY), b"hello"), 0)[1])
    r = sys.open(name, O_RDONLY)
    print("opened together:", sys.read(r, 10), sys.read(r, 10))
    sys.wait4(pid)
    sys.unlink(name)

    # sockets
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    sys.write(b, b"last")
    sys.close(b)
    print("socket:", sys.read(a, 10), sys.read(a, 10), err(sys.write, a, b"x"), err(sys.sendto, a, b"x", MSG_NOSIGNAL))
