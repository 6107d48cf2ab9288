"""A file that is unlinked while open: readable, link count 0, space freed at the last close."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    here = "/tmp/trl-unlink-%d" % sys.getpid()
    sys.mkdir(here)
    sys.chdir(here)
    fd = sys.open("a", O_CREAT | O_RDWR, 0o644)
    sys.write(fd, b"content")
    sys.link("a", "b")
    print("links:", sys.fstat(fd).st_nlink)
    sys.unlink("a")
    sys.unlink("b")
    st = sys.fstat(fd)
    print("gone:", err(sys.stat, "a"), st.st_nlink, st.st_size, sys.pread64(fd, 100, 0))
    sys.write(fd, b" and more")
    sys.ftruncate(fd, 10)
    print(sys.pread64(fd, 100, 0))
    again = sys.open("a", O_CREAT | O_RDWR | O_EXCL, 0o600)
    print("another file:", sys.fstat(again).st_ino != st.st_ino, sys.fstat(again).st_size)
    print("no new name for it:", err(sys.linkat, AT_FDCWD, "/proc/self/fd/%d" % fd, AT_FDCWD, "c", AT_SYMLINK_FOLLOW))
    sys.close(again)
    sys.unlink("a")

    # space: on a small tmpfs of its own
    sys.mkdir("m")
    sys.mount("none", "m", "tmpfs", 0, "size=1m")
    free = sys.statfs("m").f_bfree
    big = sys.open("m/big", O_CREAT | O_RDWR, 0o644)
    for _ in range(4):
        sys.write(big, b"x" * 65536)
    used = free - sys.statfs("m").f_bfree
    sys.unlink("m/big")
    print("used:", used, "still:", free - sys.statfs("m").f_bfree)
    dup = sys.dup(big)
    sys.close(big)
    print("a dup holds it:", free - sys.statfs("m").f_bfree)
    sys.close(dup)
    print("freed:", free - sys.statfs("m").f_bfree)
    full = sys.open("m/full", O_CREAT | O_RDWR, 0o644)
    total = 0
    while True:
        n = err(sys.write, full, b"y" * 100_000)
        if isinstance(n, str):
            break
        total += n
    print("full:", n, total == sys.fstat(full).st_size, total)
    print("busy:", err(sys.umount2, "m", 0))
    sys.close(full)
    sys.umount2("m", 0)
    sys.rmdir("m")

    # O_TMPFILE
    t = sys.open(".", O_TMPFILE | O_RDWR, 0o640)
    sys.write(t, b"unnamed")
    print("O_TMPFILE:", sys.fstat(t).st_nlink, oct(sys.fstat(t).st_mode))
    sys.linkat(AT_FDCWD, "/proc/self/fd/%d" % t, AT_FDCWD, "named", AT_SYMLINK_FOLLOW)
    print("named:", sys.fstat(t).st_nlink, sys.stat("named").st_size)
    sys.unlink("named")

    # memfd
    m = sys.memfd_create("scratch", MFD_CLOEXEC)
    sys.write(m, b"memory")
    print("memfd:", sys.pread64(m, 10, 0), sys.fstat(m).st_nlink, oct(sys.fstat(m).st_mode), sys.fcntl(m, F_GETFD))
    print(sys.readlink("/proc/self/fd/%d" % m), err(sys.memfd_create, "x" * 250, 0), err(sys.memfd_create, "x", 0x100))

    # a removed directory
    sys.mkdir("d")
    sys.chdir("d")
    d = sys.open(".", O_RDONLY | O_DIRECTORY)
    sys.rmdir("../d")
    print(
        "removed directory:",
        err(sys.getcwd),
        err(sys.open, "x", O_CREAT | O_WRONLY),
        err(sys.mkdir, "y"),
        err(sys.getdents64, d),
        sys.fstat(d).st_nlink,
        err(sys.stat, "..") != "ENOENT",
        err(sys.stat, "x"),
    )
    sys.chdir(here)
    sys.chdir("..")
    sys.rmdir(here)
