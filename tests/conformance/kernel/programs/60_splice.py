"""splice, tee, pipe sizes, packets, and files without a name."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    sys.rt_sigaction(SIGPIPE, SIG_IGN)
    # splice and tee rules
    r, w = sys.pipe2(O_NONBLOCK)
    r2, w2 = sys.pipe2(O_NONBLOCK)
    f = sys.open("/tmp/exs%d" % sys.getpid(), O_CREAT | O_RDWR, 0o600)
    sys.write(f, b"0123456789" * 1000)
    print(
        "splice",
        e(sys.splice, f, 5, w, None, 10),
        sys.lseek(f, 0, SEEK_CUR),
        sys.read(r, 100),
        e(sys.splice, f, None, w, 3, 10),
        e(sys.splice, f, None, f, None, 10),
        e(sys.splice, r, None, w, None, 10),
        e(sys.splice, r, None, w2, None, 10),
        e(sys.splice, w, None, r2, None, 10),
        e(sys.splice, f, 9990, w, None, 100),
        e(sys.splice, r, None, f, 0, 4),
        sys.pread64(f, 6, 0),
        e(sys.splice, f, 10000, w, None, 5),
        e(sys.splice, r, None, f, -1, 4),
        e(sys.splice, r, None, w2, None, 0),
        e(sys.splice, f, 0, w, None, 10, 0x100),
    )
    print(
        "tee",
        e(sys.tee, r, w2, 100),
        e(sys.tee, r, w2, 2),
        sys.read(r2, 100),
        sys.read(r, 100),
        e(sys.tee, r, w2, 5),
        e(sys.tee, r, w, 5),
        e(sys.tee, f, w, 5),
        e(sys.tee, w, r, 5),
        e(sys.tee, r, w2, 0),
    )
    n = 0
    while isinstance(k := e(sys.splice, f, 0, w, None, 65536, SPLICE_F_NONBLOCK), int):
        n += k
    print(n, k, sys.ioctl(r, FIONREAD))
    while isinstance(k := e(sys.splice, r, None, w2, None, 1 << 20, SPLICE_F_NONBLOCK), int) and k:
        pass
    print(k, sys.ioctl(r, FIONREAD), sys.ioctl(r2, FIONREAD), e(sys.write, w2, b"x"))
    a = sys.open("/tmp/exs%d" % sys.getpid(), O_WRONLY | O_APPEND)
    print(
        e(sys.splice, r2, None, a, None, 10),
        e(sys.splice, r2, None, a, 0, 10),
        e(sys.sendfile, w2, f, 0, 10),
        e(sys.sendfile, f, r, None, 5),
        e(sys.sendfile, a, f, 0, 5),
        e(sys.vmsplice, w, [b"abc", b"", b"def"]),
        e(sys.read, r, 10),
        e(sys.vmsplice, f, [b"x"]),
    )
    # socket splice
    s, t = sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
    sys.write(s, b"from socket")
    p, q = sys.pipe2(O_NONBLOCK)
    print([e(sys.sendfile, out, what, None, n) for n in (0, 4) for what in (p, r, t) for out in (q, f)], sys.read(p, 9))
    print(
        e(sys.splice, t, None, q, None, 4),
        sys.read(p, 10),
        e(sys.splice, t, None, q, None, 100),
        sys.read(p, 100),
        e(sys.splice, t, None, q, None, 5),
        e(sys.splice, t, 0, q, None, 5),
        sys.write(q, b"to socket"),
        e(sys.splice, p, None, s, None, 100),
        sys.read(t, 100),
        e(sys.sendfile, s, f, 3, 5),
        sys.read(t, 100),
    )
    sys.close(s)
    print(
        e(sys.splice, t, None, q, None, 5),
        sys.write(q, b"x"),
        e(sys.splice, p, None, t, None, 1),
        e(sys.splice, p, None, sys.open("/dev/null", O_WRONLY), None, 1),
        e(sys.splice, sys.open("/dev/zero", O_RDONLY), None, q, None, 3),
        e(sys.splice, sys.open("/proc/version", O_RDONLY), None, q, None, 5),
    )
    # merging and F_SETPIPE_SZ
    r, w = sys.pipe2(O_NONBLOCK)
    print(
        [
            sys.fcntl(w, F_SETPIPE_SZ, n) if n else e(sys.fcntl, w, F_SETPIPE_SZ, n)
            for n in (0, 1, 4096, 4097, 20000, 65536, 1 << 20)
        ],
        e(sys.fcntl, w, F_SETPIPE_SZ, -1),
        e(sys.fcntl, f, F_GETPIPE_SZ),
        e(sys.fcntl, f, F_SETPIPE_SZ, 4096),
    )
    sys.fcntl(w, F_SETPIPE_SZ, 8192)
    print(
        [e(sys.write, w, b"x" * n) for n in (4000, 200, 3992, 1)],
        sys.ioctl(r, FIONREAD),
        len(sys.read(r, 100)),
        e(sys.write, w, b"y" * 96),
        len(sys.read(r, 3999)),
        e(sys.write, w, b"z" * 4096),
        e(sys.write, w, b"z"),
    )

    def user(sys):
        sys.setresuid(777, 777, 777)
        a, b = sys.pipe2()
        print("unprivileged", e(sys.fcntl, b, F_SETPIPE_SZ, 1 << 20), e(sys.fcntl, b, F_SETPIPE_SZ, (1 << 20) + 1))

    sys.wait4(sys.spawn(user))
    # packet mode
    r, w = sys.pipe2(O_DIRECT | O_NONBLOCK)
    print(
        sys.write(w, b"a" * 4097),
        len(sys.read(r, 10000)),
        len(sys.read(r, 10000)),
        sys.write(w, b""),
        e(sys.read, r, 5),
        sys.write(w, b"abcdef"),
        sys.write(w, b"gh"),
        sys.read(r, 3),
        sys.read(r, 10),
        e(sys.read, r, 1),
        oct(sys.fcntl(w, F_GETFL)),
        oct(sys.fcntl(r, F_GETFL)),
        sys.fcntl(w, F_SETFL, O_NONBLOCK),
        sys.write(w, b"ij"),
        sys.write(w, b"kl"),
        sys.read(r, 10),
        sys.writev(w, [b"one", b"two"]),
        sys.readv(r, [2, 2, 10]),
    )
    # stat, locks, sync on pipes
    st = sys.fstat(r)
    print(
        oct(st.st_mode),
        st.st_nlink,
        st.st_blksize,
        st.st_uid,
        e(sys.fchmod, r, 0o600),
        oct(sys.fstat(w).st_mode),
        e(sys.fsync, r),
        e(sys.flock, r, LOCK_EX | LOCK_NB),
        e(sys.ftruncate, w, 0),
        e(sys.getdents64, r),
        e(sys.fchown, r, 5, 5),
        sys.fstat(w).st_uid,
        e(sys.syncfs, r),
        e(lambda: sys.fstatfs(r).f_type == PIPEFS_MAGIC),
        e(sys.readlink, "/proc/self/fd/%d" % r)[:6],
        e(sys.fsetxattr, r, "user.a", b"x"),
        e(sys.fallocate, w, 0, 0, 1),
        e(sys.fcntl, r, F_SETLK, {}) if False else 0,
    )
    # reopen through proc
    r2 = sys.open("/proc/self/fd/%d" % r, O_WRONLY | O_NONBLOCK)
    print(sys.write(r2, b"via proc"), sys.read(r, 50), oct(sys.fcntl(r2, F_GETFL)))
    sys.close(w)
    print(e(sys.read, r, 1))
    sys.close(r2)
    print(e(sys.read, r, 1), [hex(m) for _, m in sys.ppoll([(r, POLLIN)], 0)])
    sys.unlink("/tmp/exs%d" % sys.getpid())
