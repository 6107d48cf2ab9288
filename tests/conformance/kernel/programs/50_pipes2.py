"""Pipes, FIFOs and descriptors once more."""

from userland.abi import *

MS = 1_000_000


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    sys.rt_sigaction(SIGPIPE, SIG_IGN)
    r, w = sys.pipe2(O_NONBLOCK)
    print("flags:", oct(sys.fcntl(r, F_GETFL)), oct(sys.fcntl(w, F_GETFL)), sys.fcntl(r, F_GETFD), err(sys.pipe2, 77))
    print("empty:", err(sys.read, r, 5), err(sys.read, r, 0), err(sys.read, w, 5), err(sys.write, r, b"x"))
    total = 0
    while isinstance(n := err(sys.write, w, b"x" * 1000), int):
        total += n
    print("full:", total, n, err(sys.write, w, b"y" * 5000), err(sys.write, w, b"z" * 4096), err(sys.write, w, b""))
    print(sys.fcntl(r, F_GETPIPE_SZ), sys.ioctl(r, FIONREAD), len(sys.read(r, 5000)), err(sys.write, w, b"y" * 5000))
    print(sys.fcntl(r, F_SETPIPE_SZ, 131072), sys.fcntl(w, F_GETPIPE_SZ), err(sys.fcntl, r, F_SETPIPE_SZ, 4096), sys.fcntl(r, F_SETPIPE_SZ, 70000))
    while isinstance(err(sys.read, r, 1 << 20), bytes):
        pass
    print("shrunk:", sys.fcntl(r, F_SETPIPE_SZ, 1), sys.write(w, b"a" * 4096), err(sys.write, w, b"b"))
    print("seek:", err(sys.lseek, r, 0), err(sys.pread64, r, 1, 0), err(sys.pwrite64, w, b"x", 0), err(sys.ftruncate, w, 0), err(sys.fsync, w),
          err(sys.fallocate, w, 0, 0, 1), err(sys.getdents64, r), err(sys.fchdir, r))
    st = sys.fstat(r)
    print(oct(st.st_mode), st.st_nlink, st.st_size, st.st_ino == sys.fstat(w).st_ino)
    print("poll:", [(f == r, hex(e)) for f, e in sys.ppoll([(r, POLLIN | POLLOUT), (w, POLLIN | POLLOUT)], 0)])
    sys.read(r, 10000)
    print([(f == r, hex(e)) for f, e in sys.ppoll([(r, POLLIN | POLLOUT), (w, POLLIN | POLLOUT)], 0)])
    sys.close(w)
    print([(f == r, hex(e)) for f, e in sys.ppoll([(r, POLLIN | POLLOUT)], 0)], sys.read(r, 5))
    r, w = sys.pipe2()
    sys.close(r)
    print([(f == w, hex(e)) for f, e in sys.ppoll([(w, POLLIN | POLLOUT)], 0)], err(sys.write, w, b"x"))
    # a blocking write that is interrupted half way gives what it did
    r, w = sys.pipe2()
    sys.rt_sigaction(SIGALRM, lambda *a: None)
    sys.setitimer(0, 50 * MS)
    print("partial:", sys.write(w, b"x" * 100000))
    sys.setitimer(0, 50 * MS)
    print("nothing:", err(sys.write, w, b"x"))
    # packets
    r, w = sys.pipe2(O_DIRECT)
    sys.write(w, b"one")
    sys.write(w, b"second")
    print("packets:", sys.read(r, 100), sys.read(r, 2), err(sys.fcntl, r, F_SETFL, O_NONBLOCK), err(sys.read, r, 5))
    # FIFOs
    name = "/tmp/trl-fifo-%d" % sys.getpid()
    sys.mkfifo(name, 0o600)
    print("fifo:", err(sys.open, name, O_WRONLY | O_NONBLOCK), err(sys.mkfifo, name), oct(sys.stat(name).st_mode))
    r = sys.open(name, O_RDONLY | O_NONBLOCK)
    print(sys.read(r, 5), sys.ppoll([(r, POLLIN)], 0))
    w = sys.open(name, O_WRONLY)
    print(err(sys.read, r, 5), sys.write(w, b"through"), sys.read(r, 100))
    sys.close(w)
    print(sys.read(r, 5), [hex(e) for f, e in sys.ppoll([(r, POLLIN)], 0)])
    sys.close(r)
    both = sys.open(name, O_RDWR)
    print(sys.write(both, b"loop"), sys.read(both, 10))
    sys.close(both)
    order = []

    def writer(sys):
        fd = sys.open(name, O_WRONLY)
        sys.write(fd, b"from the writer")

    pid = sys.spawn(writer)
    fd = sys.open(name, O_RDONLY)
    print(sys.read(fd, 100), sys.wait4(pid)[1], sys.read(fd, 100))
    sys.unlink(name)
    # descriptors
    sys.prlimit64(0, RLIMIT_NOFILE, (20, 100))
    base = sys.dup(0)
    print("dup:", err(sys.dup2, 0, 20), err(sys.dup2, 0, 19), err(sys.dup3, 0, 0, 0), err(sys.dup3, 0, 5, 77), err(sys.dup2, 99, 99), err(sys.dup2, 0, -1),
          err(sys.fcntl, 0, F_DUPFD, 20), err(sys.fcntl, 0, F_DUPFD, -1), err(sys.fcntl, 0, F_DUPFD_CLOEXEC, 15), err(sys.fcntl, 0, 9999))
    many = []
    while isinstance(fd := err(sys.dup, 0), int):
        many.append(fd)
    print(fd, err(sys.open, "/", O_RDONLY), err(sys.pipe2), err(sys.socket, AF_UNIX, SOCK_STREAM), err(sys.eventfd2), err(sys.epoll_create1))
    sys.close(many[0])
    print(err(sys.pipe2), err(sys.dup, 0) == many[0])
