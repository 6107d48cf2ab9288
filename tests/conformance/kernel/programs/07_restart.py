"""SA_RESTART: which calls go on after a handler, and EINTR without it."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def until(sys, pid, state="S"):
    """It waits (S), is stopped (T), or has ended (Z)."""
    said = ""
    while said != state:
        sys.nanosleep(1_000_000)
        fd = sys.open("/proc/%d/stat" % pid, O_RDONLY)
        text = sys.read(fd, 1000).decode()
        sys.close(fd)
        said = text[text.rindex(")") + 2]


def later(sys, *steps):
    """A child that does steps[0](sys) after 20 ms, steps[1](sys) after 40 ms ..., when its parent waits."""
    def run(sys):
        for step in steps:
            sys.nanosleep(20_000_000)
            until(sys, sys.getppid())
            step(sys)
    return sys.spawn(run)


def main(sys, argv):
    me = sys.getpid()
    ran = []

    def handler(sys, signum, info):
        ran.append(signum)

    r, w = sys.pipe2()
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    sys.mkfifo("/tmp/trl-fifo-%d" % me)
    lock = sys.open("/tmp/trl-lock-%d" % me, O_CREAT | O_RDWR, 0o644)
    listener = sys.socket(AF_UNIX, SOCK_STREAM)
    name = "\0trl-%d" % me
    sys.bind(listener, name)
    sys.listen(listener, 1)

    go, tell = sys.pipe2()

    def poke(sys):
        sys.kill(me, SIGUSR1)

    def connect(sys):
        fd = sys.socket(AF_UNIX, SOCK_STREAM)
        sys.connect(fd, name)

    def holder(sys):
        fd = sys.open("/tmp/trl-lock-%d" % me, O_RDWR)
        sys.flock(fd, LOCK_EX)
        sys.write(w, b"h")
        sys.read(go, 1)

    def record_holder(sys):
        fd = sys.open("/tmp/trl-lock-%d" % me, O_RDWR)
        sys.fcntl(fd, F_SETLKW, (F_WRLCK, 0, 0, 0))
        sys.write(w, b"h")
        sys.read(go, 1)

    def fill(sys):
        n, m = sys.pipe2(O_NONBLOCK)
        try:
            while True:
                sys.write(m, b"x" * 4096)
        except BlockingIOError:
            pass
        sys.fcntl(m, F_SETFL, O_WRONLY)
        return n, m

    def case(what, flags, call, finish):
        ran.clear()
        sys.rt_sigaction(SIGUSR1, handler, flags)
        pid = later(sys, poke, finish)
        got = err(call)
        sys.wait4(pid)
        print(what, "restart" if flags & SA_RESTART else "plain", "->", got, ran)

    for flags in (SA_RESTART, 0):
        case("read pipe", flags, lambda: sys.read(r, 5), lambda sys: sys.write(w, b"data"))
        if not flags:
            sys.read(r, 5)
        case("recv", flags, lambda: sys.recvfrom(a, 5)[0], lambda sys: sys.sendto(b, b"data"))
        if not flags:
            sys.recvfrom(a, 5)
        case("accept", flags, lambda: sys.accept4(listener)[0] > 2, connect)
        if not flags:
            sys.accept4(listener)
        case("open fifo", flags, lambda: sys.open("/tmp/trl-fifo-%d" % me, O_RDONLY) > 2,
             lambda sys: err(sys.open, "/tmp/trl-fifo-%d" % me, O_WRONLY | (0 if flags else O_NONBLOCK)))
        n, m = fill(sys)
        case("write pipe", flags, lambda: sys.write(m, b"y" * 100), lambda sys: sys.read(n, 8192))
        sys.close(n)
        sys.close(m)
        pid = sys.spawn(holder)
        sys.read(r, 1)
        case("flock", flags, lambda: sys.flock(lock, LOCK_EX), lambda sys: sys.write(tell, b"x"))
        sys.wait4(pid)
        sys.flock(lock, LOCK_UN)
        pid = sys.spawn(record_holder)
        sys.read(r, 1)
        case("F_SETLKW", flags, lambda: sys.fcntl(lock, F_SETLKW, (F_WRLCK, 0, 0, 0)), lambda sys: sys.write(tell, b"x"))
        sys.wait4(pid)
        sys.fcntl(lock, F_SETLK, (F_UNLCK, 0, 0, 0))
        pid = sys.spawn(lambda sys: (sys.read(go, 1), 6)[1])
        case("wait4", flags, lambda: sys.wait4(pid)[1], lambda sys: sys.write(tell, b"x"))
        if not flags:
            sys.wait4(pid)

    # the handler's own effect lets the restarted call finish
    sys.rt_sigaction(SIGUSR1, lambda sys, n, i: sys.write(w, b"from the handler"), SA_RESTART)
    pid = later(sys, poke)
    print(sys.read(r, 100))
    sys.wait4(pid)

    # an ignored signal disturbs nobody; neither do stop and continue
    sys.rt_sigaction(SIGUSR1, SIG_IGN)
    def stop_reader(sys):
        print("read:", sys.read(r, 10))
    pid = sys.spawn(stop_reader)
    until(sys, pid)
    sys.kill(pid, SIGUSR1)
    sys.kill(pid, SIGSTOP)
    sys.wait4(pid, WUNTRACED)
    sys.kill(pid, SIGCONT)
    until(sys, pid)
    sys.write(w, b"after")
    sys.wait4(pid)

    # a socket with a receive timeout never restarts
    sys.setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, (10).to_bytes(8, "little") + bytes(8))
    sys.rt_sigaction(SIGUSR1, handler, SA_RESTART)
    ran.clear()
    pid = later(sys, poke)
    print("SO_RCVTIMEO:", err(sys.recvfrom, a, 5), ran)
    sys.wait4(pid)

    # a write that has begun gives its count
    n, m = sys.pipe2()
    ran.clear()
    sys.rt_sigaction(SIGUSR1, handler, SA_RESTART)
    pid = later(sys, poke)
    print("partial write:", sys.write(m, b"z" * 100_000), ran)
    sys.wait4(pid)
    sys.unlink("/tmp/trl-fifo-%d" % me)
    sys.unlink("/tmp/trl-lock-%d" % me)
