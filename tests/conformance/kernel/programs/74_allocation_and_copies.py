"""fallocate, holes, the largest offsets; copy_file_range, sendfile and splice of everything into everything."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    base = "/tmp/exg%d" % sys.getpid()
    sys.mkdir(base)
    sys.mount("none", base, "tmpfs", 0, "size=1m")
    sys.chdir(base)
    P = 4096

    def state(fd):
        s = sys.fstat(fd)
        out, at = [], 0
        while True:
            d = e(sys.lseek, fd, at, SEEK_DATA)
            if isinstance(d, str):
                out.append(d)
                break
            h = sys.lseek(fd, d, SEEK_HOLE)
            out.append((d, h))
            at = h
        return s.st_size, s.st_blocks, out

    fd = sys.open("f", O_CREAT | O_RDWR, 0o644)
    steps = [
        ("w", 100, 10),
        ("w", 5 * P, 2 * P),
        ("fa", 0, 0, 3 * P),
        ("fa", FALLOC_FL_KEEP_SIZE, 9 * P, P),
        ("fa", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * P + 100, 50),
        ("fa", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * P, P),
        ("fa", FALLOC_FL_PUNCH_HOLE, 0, P),
        ("fa", FALLOC_FL_ZERO_RANGE, 0, P),
        ("fa", 8, 0, P),
        ("fa", 0x20, 0, P),
        ("fa", 0x40, 0, P),
        ("fa", 0x80, 0, P),
        ("fa", 0x100, 0, P),
        ("fa", 0x18, 0, P),
        ("fa", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE | 8, 0, P),
        ("fa", 0, -1, 5),
        ("fa", 0, 0, 0),
        ("fa", 0, 0, -5),
        ("fa", 0, (1 << 63) - 1, 1),
        ("fa", 0, (1 << 62), 1 << 62),
        ("fa", 0, 0, 1 << 40),
        ("fa", 0, 200 * P, 100 * P),
        ("fa", 0, 10 * P + 5, 1),
        ("tr", 6 * P + 7),
        ("tr", 20 * P),
        ("tr", 0),
        ("fa", FALLOC_FL_KEEP_SIZE, 0, 4 * P),
        ("w", 0, 5),
        ("tr", 5),
        ("tr", 3),
        ("w", 1 << 40, 1),
        ("tr", 1 << 50),
        ("tr", (1 << 63) - 1),
        ("tr", -1),
        ("w", (1 << 63) - 2, 5),
        ("tr", 0),
    ]
    for s in steps:
        if s[0] == "w":
            r = e(sys.pwrite64, fd, b"d" * s[2], s[1])
        elif s[0] == "fa":
            r = e(sys.fallocate, fd, *s[1:])
        else:
            r = e(sys.ftruncate, fd, s[1])
        print(s, r, state(fd))
    print(
        "seek",
        [
            e(sys.lseek, fd, o, w)
            for o, w in (
                (5, 0),
                (-1, 0),
                (-6, 1),
                (5, 1),
                (0, 2),
                (10, 2),
                (-1, 2),
                (0, 3),
                (0, 4),
                (0, 5),
                (0, -1),
                ((1 << 63) - 1, 0),
                (1, 1),
            )
        ],
    )
    sys.pwrite64(fd, b"abc", 2 * P)
    print(
        "sd",
        [
            e(sys.lseek, fd, o, w)
            for o in (-1, 0, 1, P, 2 * P, 2 * P + 2, 2 * P + 3, 3 * P)
            for w in (SEEK_DATA, SEEK_HOLE)
        ],
    )
    ro = sys.open("f", O_RDONLY)
    d = sys.open(".", O_RDONLY)
    print(
        "ro",
        e(sys.fallocate, ro, 0, 0, 1),
        e(sys.ftruncate, ro, 0),
        e(sys.fallocate, d, 0, 0, 1),
        e(sys.ftruncate, d, 0),
        e(sys.truncate, ".", 0),
        e(sys.truncate, "none", 0),
        e(sys.truncate, "f/", 0),
        e(sys.truncate, "f", -1),
        e(sys.fallocate, 99, 0, 0, 1),
        e(sys.fallocate, sys.pipe2()[1], 0, 0, 1),
        e(sys.fallocate, sys.socket(AF_UNIX, SOCK_STREAM), 0, 0, 1),
        e(sys.fallocate, sys.eventfd2(0, 0), 0, 0, 1),
        e(sys.fallocate, sys.open("/dev/null", O_RDWR), 0, 0, 1),
        e(sys.lseek, d, 0, SEEK_DATA),
        e(sys.lseek, sys.open("/dev/zero", O_RDONLY), 5, SEEK_SET),
        e(sys.lseek, sys.open("/dev/null", O_RDONLY), 5, SEEK_END),
    )
    # copy_file_range, sendfile with holes
    a = sys.open("a", O_CREAT | O_RDWR, 0o644)
    b = sys.open("b", O_CREAT | O_RDWR, 0o644)
    sys.pwrite64(a, b"0123456789", 0)
    C = sys.copy_file_range
    print(
        "cfr",
        [
            e(C, *x)
            for x in (
                (a, 0, b, 0, 4),
                (a, None, b, None, 3),
                (a, None, b, None, 100),
                (a, None, b, None, 5),
                (a, 20, b, 0, 5),
                (a, 0, a, 2, 5),
                (a, 0, a, 10, 5),
                (a, 0, b, 0, 0),
                (a, -1, b, 0, 5),
                (a, 0, b, -1, 5),
                (a, 0, b, 0, 5, 1),
                (ro, 0, b, 0, 1),
                (a, 0, ro, 0, 1),
                (d, 0, b, 0, 1),
                (a, 0, d, 0, 1),
                (sys.pipe2()[0], None, b, 0, 1),
                (a, 0, b, (1 << 63) - 1, 5),
                (a, (1 << 63) - 5, b, 0, 100),
            )
        ],
        sys.lseek(a, 0, 1),
        sys.lseek(b, 0, 1),
        sys.pread64(b, 50, 0),
        sys.pread64(a, 50, 0),
    )
    r, w = sys.pipe2()
    S = sys.sendfile
    print(
        "sf",
        [
            e(S, *x)
            for x in (
                (w, a, 0, 4),
                (w, a, None, 4),
                (w, a, None, 0),
                (b, a, 0, 5),
                (b, a, None, 100),
                (w, r, None, 4),
                (w, a, -1, 4),
                (r, a, 0, 4),
                (w, d, 0, 4),
                (w, sys.socket(AF_UNIX, SOCK_STREAM), None, 4),
                (99, a, 0, 1),
                (w, 99, 0, 1),
                (w, a, 1000, 4),
                (w, sys.open("/dev/zero", O_RDONLY), None, 5),
                (sys.open("b", O_WRONLY | O_APPEND), a, 0, 3),
                (sys.eventfd2(0, 0), a, 0, 8),
                (a, a, 0, 3),
            )
        ],
        sys.read(r, 100),
        sys.lseek(a, 0, 1),
    )
    sp = sys.splice
    r2, w2 = sys.pipe2(O_NONBLOCK)
    print(
        "splice",
        [
            e(sp, *x)
            for x in (
                (a, 0, w2, None, 5),
                (a, None, w2, None, 2),
                (a, 100, w2, None, 5),
                (r2, None, b, 0, 3),
                (r2, None, b, None, 100),
                (r2, None, b, None, 5),
                (a, 0, b, 0, 1),
                (r2, 0, b, 0, 1),
                (r2, None, r2, None, 1),
                (r2, None, w2, None, 1),
                (a, None, w2, 5, 1),
                (d, None, w2, None, 5),
                (a, 0, w2, None, 0),
                (99, None, w2, None, 1),
                (a, 0, w2, None, 1, 0x10),
                (r2, None, sys.open("b", O_WRONLY | O_APPEND), None, 1),
            )
        ],
    )
    sys.chdir("/")
    sys.umount2(base, MNT_DETACH)
    sys.rmdir(base)
