"""memfd_create and its seals: what each still lets through."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    print(
        [
            e(sys.memfd_create, "x", f) if isinstance(e(sys.memfd_create, "x", f), str) else "fd"
            for f in (0, 1, 2, 3, 8, 16, 24, 10, 64, 32)
        ]
    )

    def mode(fd):
        return oct(sys.fstat(fd).st_mode)

    for f in (0, 2, 8, 16, 18):
        fd = sys.memfd_create("x", f)
        print(
            f,
            sys.fcntl(fd, F_GET_SEALS),
            mode(fd),
            e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK),
            sys.fcntl(fd, F_GET_SEALS),
            e(sys.fchmod, fd, 0o755),
            e(sys.fchmod, fd, 0o600),
            mode(fd),
        )
    n = "/tmp/exsl%d" % sys.getpid()
    t = sys.open(n, O_CREAT | O_RDWR, 0o600)
    sys.unlink(n)
    print(
        "others",
        e(sys.fcntl, sys.pipe2()[0], F_GET_SEALS),
        e(sys.fcntl, sys.open("/dev/null", O_RDWR), F_GET_SEALS),
        e(sys.fcntl, sys.open("/dev/null", O_RDONLY), F_ADD_SEALS, 1),
        e(sys.fcntl, sys.pipe2()[0], F_ADD_SEALS, 1),
        e(sys.fcntl, sys.pipe2()[1], F_ADD_SEALS, 1),
        e(sys.fcntl, sys.open("/", O_RDONLY), F_GET_SEALS),
    )

    def fresh(size=10000):
        fd = sys.memfd_create("y", MFD_ALLOW_SEALING)
        sys.ftruncate(fd, size)
        return fd

    for seal, name in (
        (F_SEAL_SHRINK, "shrink"),
        (F_SEAL_GROW, "grow"),
        (F_SEAL_WRITE, "write"),
        (F_SEAL_FUTURE_WRITE, "future"),
        (F_SEAL_SEAL, "seal"),
        (F_SEAL_EXEC, "exec"),
        (F_SEAL_SHRINK | F_SEAL_GROW, "both"),
    ):
        fd = fresh()
        print(
            name,
            e(sys.fcntl, fd, F_ADD_SEALS, seal),
            sys.fcntl(fd, F_GET_SEALS),
            "tr",
            e(sys.ftruncate, fd, 10000),
            e(sys.ftruncate, fd, 9000),
            e(sys.ftruncate, fd, 20000),
            sys.fstat(fd).st_size,
            "wr",
            e(sys.pwrite64, fd, b"abc", 0),
            e(sys.pwrite64, fd, b"", 0),
            e(sys.pwrite64, fd, b"abc", 30000),
            e(sys.pwrite64, fd, b"z" * 8192, 4096),
            e(sys.pwrite64, fd, b"z" * 30000, 0),
            e(sys.pwrite64, fd, b"z" * 30000, 100),
            sys.fstat(fd).st_size,
            "fa",
            e(sys.fallocate, fd, 3, 0, 4096),
            e(sys.fallocate, fd, 0, 0, 4096),
            e(sys.fallocate, fd, 0, 0, 50000),
            e(sys.fallocate, fd, 1, 0, 60000),
            "mm",
            [
                isinstance(e(sys.mmap, 0, 4096, p, k, fd), int) or e(sys.mmap, 0, 4096, p, k, fd)
                for p, k in ((1, MAP_SHARED), (3, MAP_SHARED), (3, MAP_PRIVATE))
            ],
            e(sys.mprotect, sys.mmap(0, 4096, 1, MAP_SHARED, fd), 4096, 3),
            e(sys.fchmod, fd, 0o644),
            e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_SEAL),
            e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_GROW),
            e(sys.read, fd, 3),
        )
    fd = fresh()
    m = sys.mmap(0, 4096, 3, MAP_SHARED, fd)
    print(
        "busy",
        e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE),
        e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE),
        sys.munmap(m, 4096),
        e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE),
    )
    fd = fresh()
    m = sys.mmap(0, 4096, 1, MAP_SHARED, fd)
    print("ro busy", e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE), sys.munmap(m, 4096))
    m = sys.mmap(0, 4096, 3, MAP_PRIVATE, fd)
    print(
        e(sys.fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE),
        e(sys.fcntl, fd, F_ADD_SEALS, 64),
        e(sys.fcntl, fd, F_ADD_SEALS, -1),
    )
    ro = sys.open("/proc/self/fd/%d" % fd, O_RDONLY)
    print(
        "ro",
        e(sys.fcntl, ro, F_ADD_SEALS, 1),
        e(sys.fcntl, ro, F_ADD_SEALS, 64),
        sys.fcntl(ro, F_GET_SEALS),
        e(sys.fcntl, sys.open("/proc/self/fd/%d" % fd, O_RDWR | O_TRUNC), F_GET_SEALS),
        sys.fstat(fd).st_size,
    )
    fd = fresh()
    sys.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
    print("trunc open", e(sys.open, "/proc/self/fd/%d" % fd, O_RDWR | O_TRUNC), sys.readlink("/proc/self/fd/%d" % fd))
