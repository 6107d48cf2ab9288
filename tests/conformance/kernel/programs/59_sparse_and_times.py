"""Holes, fallocate, appending, RLIMIT_FSIZE, times."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    name = "/tmp/ex%d" % sys.getpid()
    sys.mkdir(name)
    sys.mount("t", name, "tmpfs")
    sys.chdir(name)
    fd = sys.open("s", O_CREAT | O_RDWR, 0o600)
    sys.pwrite64(fd, b"a" * 100, 0)
    sys.pwrite64(fd, b"b" * 100, 40000)
    sys.ftruncate(fd, 100000)

    def segs():
        out, pos = [], 0
        while True:
            d = e(sys.lseek, fd, pos, SEEK_DATA)
            if isinstance(d, str):
                out.append(d)
                break
            h = sys.lseek(fd, d, SEEK_HOLE)
            out.append((d, h))
            pos = h
        return out, sys.fstat(fd).st_size, sys.fstat(fd).st_blocks

    print(
        segs(),
        e(sys.lseek, fd, 100000, SEEK_HOLE),
        e(sys.lseek, fd, 100000, SEEK_DATA),
        e(sys.lseek, fd, -1, SEEK_DATA),
        e(sys.lseek, fd, 99999, SEEK_HOLE),
        e(sys.lseek, fd, 200000, SEEK_HOLE),
        e(sys.lseek, fd, 5000, SEEK_HOLE),
        e(sys.lseek, fd, 0, 5),
        e(sys.lseek, fd, -1, SEEK_SET),
        e(sys.lseek, fd, -100001, SEEK_END),
        e(sys.lseek, fd, 1 << 62, SEEK_SET),
        e(sys.lseek, fd, 1 << 62, SEEK_CUR),
        e(sys.lseek, fd, (1 << 63) - 1, SEEK_SET),
    )
    for mode, off, ln in (
        (0, 50000, 10000),
        (FALLOC_FL_KEEP_SIZE, 200000, 5000),
        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 50, 20),
        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 39000, 5000),
        (FALLOC_FL_PUNCH_HOLE, 0, 10),
        (FALLOC_FL_ZERO_RANGE, 0, 60),
        (FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
        (0x20, 0, 4096),
        (0, 0, 0),
        (0, -1, 5),
        (0, 5, -1),
        (0x80, 0, 1),
        (0, 1 << 62, 1 << 62),
        (0, 90000, 20000),
        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 40),
    ):
        print(hex(mode), off, ln, e(sys.fallocate, fd, mode, off, ln), segs(), sys.pread64(fd, 3, 58))
    print(
        "truncate",
        e(sys.ftruncate, fd, -1),
        e(sys.truncate, "s", -5),
        e(sys.truncate, ".", 0),
        e(sys.truncate, "no", 0),
        e(sys.ftruncate, sys.open("s", O_RDONLY), 0),
        e(sys.truncate, "s", 1 << 62),
        e(sys.ftruncate, fd, 5),
        segs(),
    )
    sys.pwrite64(fd, b"hello world", 0)
    sys.ftruncate(fd, 4)
    sys.ftruncate(fd, 12)
    print(sys.pread64(fd, 100, 0))
    # vectored and positioned
    print(
        e(sys.preadv, fd, [2, 0, 3], 1),
        e(sys.pwritev, fd, [b"AB", b"", b"CD"], 2),
        sys.pread64(fd, 20, 0),
        e(sys.preadv2, fd, [5], -1, 0),
        sys.lseek(fd, 0, SEEK_CUR),
        e(sys.pread64, fd, 5, -1),
        e(sys.pwrite64, fd, b"x", -2),
        e(sys.preadv2, fd, [5], 0, 0x4000),
        e(sys.readv, fd, []),
        e(sys.writev, fd, []),
        e(sys.pread64, fd, 0, 100),
        e(sys.readv, fd, [1] * 1025),
    )
    # append
    a = sys.open("s", O_WRONLY | O_APPEND)
    print(
        sys.lseek(a, 0),
        sys.write(a, b"end"),
        sys.lseek(a, 0, SEEK_CUR),
        sys.pwrite64(a, b"!", 0),
        sys.lseek(a, 0, SEEK_CUR),
        sys.pread64(fd, 100, 0),
        e(sys.read, a, 1),
        e(sys.pread64, a, 1, 0),
        sys.fcntl(a, F_SETFL, 0),
        sys.pwrite64(a, b"J", 0),
        sys.write(a, b"@"),
        sys.pread64(fd, 100, 0),
    )
    sys.fcntl(fd, F_SETFL, O_APPEND)
    sys.lseek(fd, 2)
    sys.write(fd, b"app")
    print(
        sys.fstat(fd).st_size,
        sys.lseek(fd, 0, SEEK_CUR),
        sys.fcntl(fd, F_SETFL, 0),
        e(sys.pwritev2, fd, [b"Z"], 0, RWF_APPEND),
        sys.fstat(fd).st_size,
        e(sys.copy_file_range, fd, 0, fd, 2, 5),
        e(sys.copy_file_range, fd, 0, fd, 50, 5),
        e(sys.copy_file_range, fd, 0, a, None, 5),
        e(sys.copy_file_range, fd, 0, fd, 5, 5),
        sys.fstat(fd).st_size,
    )
    w = sys.open("s", O_WRONLY | O_APPEND)
    print(
        e(sys.copy_file_range, fd, 0, w, None, 2),
        e(sys.sendfile, w, fd, 0, 2),
        e(sys.copy_file_range, fd, 0, sys.open(".", O_RDONLY), None, 2),
        e(sys.copy_file_range, fd, -1, a, None, 2),
        e(sys.copy_file_range, fd, None, a, None, 2, 7),
    )
    # fsize
    got = []

    def lim(sys):
        sys.rt_sigaction(SIGXFSZ, lambda s, n, i: got.append((n, i.si_code)))
        sys.prlimit64(0, RLIMIT_FSIZE, (10, 20))
        f = sys.open("lim", O_CREAT | O_RDWR, 0o600)
        print(
            "fsize",
            e(sys.write, f, b"1" * 15),
            e(sys.write, f, b"2"),
            e(sys.ftruncate, f, 11),
            e(sys.ftruncate, f, 10),
            e(sys.fallocate, f, 0, 0, 11),
            e(sys.pwrite64, f, b"x", 9),
            e(sys.pwrite64, f, b"x", 10),
            e(sys.truncate, "lim", 12),
            e(sys.pwrite64, f, b"xyz", 8),
            len(got),
            got[:1],
            e(sys.fallocate, f, FALLOC_FL_KEEP_SIZE, 0, 11),
            e(sys.copy_file_range, f, 0, f, 20, 5),
            e(sys.write, sys.pipe2()[1], b"x" * 50),
            len(got),
        )
        sys.rt_sigaction(SIGXFSZ, SIG_DFL)
        sys.write(f, b"q" * 11)

    print(hex(sys.wait4(sys.spawn(lim))[1] & 0x7F))
    # times
    f = sys.open("t", O_CREAT | O_RDWR, 0o644)
    S = 10**9

    def tm():
        s = sys.stat("t")
        return s.st_atime_ns, s.st_mtime_ns

    sys.utimensat(AT_FDCWD, "t", (5 * S + 7, 6 * S + 8))
    print(tm())
    sys.utimensat(AT_FDCWD, "t", (UTIME_OMIT, 9))
    print(tm())
    sys.utimensat(AT_FDCWD, "t", (UTIME_NOW, UTIME_OMIT))
    now = sys.clock_gettime(CLOCK_REALTIME)
    print(abs(tm()[0] - now) < 2 * S, tm()[1])
    print(
        e(sys.utimensat, AT_FDCWD, "t", (-5 * S, -1)),
        tm(),
        e(sys.utimensat, AT_FDCWD, "no", (UTIME_OMIT, UTIME_OMIT)),
        e(sys.utimensat, AT_FDCWD, "t", None, 0x4),
        e(sys.utimensat, f, None, (1, 2)),
        tm(),
        e(sys.utimensat, f, "", (3, 4), AT_EMPTY_PATH),
        tm(),
    )
    sys.symlink("t", "lt")
    sys.utimensat(AT_FDCWD, "lt", (1 * S, 2 * S), AT_SYMLINK_NOFOLLOW)
    print(sys.lstat("lt").st_mtime_ns, tm())
    c0 = sys.stat("t").st_ctime_ns
    sys.nanosleep(20 * MS)
    sys.utimensat(AT_FDCWD, "t", (UTIME_OMIT, UTIME_OMIT))
    c1 = sys.stat("t").st_ctime_ns
    sys.chmod("t", 0o600)
    c2 = sys.stat("t").st_ctime_ns
    print(c1 == c0, c2 > c1)
    m0 = sys.stat("t").st_mtime_ns
    sys.write(f, b"")
    m1 = sys.stat("t").st_mtime_ns
    sys.ftruncate(f, 0)
    m2 = sys.stat("t").st_mtime_ns
    sys.write(f, b"x")
    print(m0 == m1, m2 > m1)
    x = sys.statx(AT_FDCWD, "t", 0, STATX_SIZE)
    print(
        x.stx_size,
        x.stx_mask & STATX_BASIC_STATS == STATX_BASIC_STATS,
        e(sys.statx, AT_FDCWD, "t", 0, 0x80000000),
        e(sys.statx, AT_FDCWD, "t", 0x6000, 0),
        e(sys.statx, AT_FDCWD, "", 0, 0),
        sys.statx(f, "", AT_EMPTY_PATH, STATX_ALL).stx_size,
        oct(sys.statx(AT_FDCWD, "lt", AT_SYMLINK_NOFOLLOW).stx_mode),
        e(sys.statx, 99, "t"),
        e(sys.statx, 99, "/").stx_ino > 0,
        x.stx_blksize,
    )
    sys.chdir("/")
    sys.umount2(name, MNT_DETACH)
    sys.rmdir(name)
