"""FIFOs: who waits for whom, ends that come and go, PIPE_BUF among several writers."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    n = "/tmp/exf%d" % sys.getpid()
    sys.mkfifo(n)
    out = []
    log_r, log_w = sys.pipe2()

    def say(t):
        sys.write(log_w, t.encode() + b";")

    # open blocks until a peer
    def rd(sys):
        fd = sys.open(n, O_RDONLY)
        say("reader open")
        sys.nanosleep(100 * MS)
        say("read %r" % sys.read(fd, 10))
        say("eof %r" % sys.read(fd, 10))

    p = sys.spawn(rd)
    sys.nanosleep(60 * MS)
    say("before")
    w = sys.open(n, O_WRONLY)
    sys.nanosleep(50 * MS)
    say("writer open")
    sys.write(w, b"hey")
    sys.close(w)
    sys.wait4(p)
    print(sys.read(log_r, 1000))

    # EINTR of a blocked open, and restart
    def blocked(sys, flags, mode):
        sys.rt_sigaction(SIGALRM, lambda s, a, b: say("alarm"), flags)
        sys.setitimer(ITIMER_REAL, 40 * MS)
        say("open %s" % e(sys.open, n, mode))

    sys.wait4(sys.spawn(blocked, 0, O_RDONLY))
    sys.wait4(sys.spawn(blocked, 0, O_WRONLY))
    p = sys.spawn(blocked, SA_RESTART, O_RDONLY)
    sys.nanosleep(200 * MS)
    w = sys.open(n, O_WRONLY | O_NONBLOCK)
    sys.wait4(p)
    print(
        sys.read(log_r, 1000)
        .replace(b"open 3", b"open N")
        .replace(b"open 4", b"open N")
        .replace(b"open 5", b"open N")
        .replace(b"open 6", b"open N")
    )
    sys.close(w)
    # many readers, one writer; closing order
    r1 = sys.open(n, O_RDONLY | O_NONBLOCK)
    w1 = sys.open(n, O_WRONLY | O_NONBLOCK)
    r2 = sys.open(n, O_RDONLY)
    print(
        e(sys.read, r1, 1),
        sys.write(w1, b"abcd"),
        sys.read(r2, 2),
        sys.read(r1, 9),
        [(f == r1, hex(m)) for f, m in sys.ppoll([(r1, POLLIN | POLLHUP), (w1, POLLOUT)], 0)],
    )
    sys.close(w1)
    print(sys.read(r1, 1), [hex(m) for f, m in sys.ppoll([(r1, POLLIN), (r2, POLLIN)], 0)])
    w2 = sys.open(n, O_WRONLY)
    print([hex(m) for f, m in sys.ppoll([(r1, POLLIN), (r2, POLLIN)], 0)], e(sys.read, r1, 1))
    sys.close(r1)
    sys.close(r2)
    sys.rt_sigaction(SIGPIPE, SIG_IGN)
    print(e(sys.write, w2, b"x"), [hex(m) for f, m in sys.ppoll([(w2, POLLOUT)], 0)])
    sys.close(w2)
    rw = sys.open(n, O_RDWR)
    print(sys.fstat(rw).st_size, e(sys.lseek, rw, 0, SEEK_CUR), sys.write(rw, b"kept"))
    r3 = sys.open(n, O_RDONLY | O_NONBLOCK)
    sys.close(rw)
    print(sys.read(r3, 10), sys.read(r3, 10))
    sys.close(r3)
    r3 = sys.open(n, O_RDONLY | O_NONBLOCK)
    print("fresh", sys.read(r3, 10), sys.ppoll([(r3, POLLIN)], 0))
    sys.close(r3)
    print(
        e(sys.open, n, O_WRONLY | O_NONBLOCK),
        e(sys.open, n, O_RDONLY | O_DIRECTORY),
        e(sys.truncate, n, 0),
        oct(sys.fcntl(sys.open(n, O_RDWR | O_TRUNC | O_APPEND), F_GETFL) & ~O_LARGEFILE),
        e(sys.open, n, O_CREAT | O_EXCL | O_RDWR),
        e(sys.open, n, O_PATH) > 0,
    )
    # no permission to open
    sys.chmod(n, 0o200)

    def user(sys):
        sys.setresuid(99, 99, 99)
        print(e(sys.open, n, O_RDONLY | O_NONBLOCK))

    sys.wait4(sys.spawn(user))
    # atomicity of PIPE_BUF writes: two writers, nobody interleaves
    r, w = sys.pipe2()

    def writer(sys, c):
        sys.close(r)
        for _ in range(40):
            sys.write(w, c * PIPE_BUF)

    ps = [sys.spawn(writer, c) for c in (b"A", b"B", b"C")]
    sys.close(w)
    buf = b""
    while c := sys.read(r, 7000):
        buf += c
    print(
        len(buf),
        all(len(set(buf[i : i + 4096])) == 1 for i in range(0, len(buf), 4096)),
        [buf.count(c) for c in (b"A", b"B", b"C")],
    )
    for p in ps:
        sys.wait4(p)
    # partial write of a big nonblocking write, then poll thresholds
    r, w = sys.pipe2(O_NONBLOCK)
    print(
        e(sys.write, w, b"q" * 100000),
        sys.ppoll([(w, POLLOUT)], 0),
        len(sys.read(r, 4095)),
        sys.ppoll([(w, POLLOUT)], 0),
        len(sys.read(r, 1)),
        [hex(m) for f, m in sys.ppoll([(w, POLLOUT)], 0)],
        e(sys.write, w, b"w" * 5000),
    )
    # SIGPIPE kills, with its siginfo for a handler
    got = []
    sys.rt_sigaction(SIGPIPE, lambda s, k, i: got.append((k, i.si_code, i.si_pid == s.getpid())))
    a, b = sys.pipe2()
    sys.close(a)
    print(e(sys.write, b, b"x"), e(sys.write, b, b""), e(sys.writev, b, [b"", b""]), got)
    sys.rt_sigaction(SIGPIPE, SIG_DFL)
    print(sys.wait4(sys.spawn(lambda sys: sys.write(b, b"x")))[1] & 0x7F)
    sys.unlink(n)
    # reader blocked, writer dies of a signal: EOF
    r, w = sys.pipe2()
    p = sys.spawn(lambda sys: sys.pause())
    sys.close(w)
    q = sys.spawn(lambda sys: sys.read(r, 1) == b"" and 5)
    sys.nanosleep(30 * MS)
    print(sys.wait4(q, WNOHANG)[0])
    sys.kill(p, SIGKILL)
    print(sys.wait4(q)[1], sys.wait4(p)[1])
