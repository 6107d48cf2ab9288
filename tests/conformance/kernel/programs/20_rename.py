"""rename's rules."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def put(sys, name, text=b""):
    fd = sys.open(name, O_CREAT | O_TRUNC | O_WRONLY, 0o644)
    sys.write(fd, text)
    sys.close(fd)


def get(sys, name):
    fd = sys.open(name, O_RDONLY)
    data = sys.read(fd, 100)
    sys.close(fd)
    return data


def main(sys, argv):
    here = "/tmp/trl-rename-%d" % sys.getpid()
    sys.mkdir(here)
    sys.chdir(here)
    put(sys, "a", b"A")
    put(sys, "b", b"B")
    fd = sys.open("b", O_RDONLY)
    ino = sys.stat("a").st_ino
    sys.rename("a", "b")
    print(
        "over an open file:",
        get(sys, "b"),
        sys.read(fd, 9),
        sys.fstat(fd).st_nlink,
        err(sys.stat, "a"),
        sys.stat("b").st_ino == ino,
    )
    sys.close(fd)
    sys.mkdir("d")
    sys.mkdir("d/e")
    sys.mkdir("f")
    put(sys, "f/x")
    print("into its child:", err(sys.rename, "d", "d/e/g"), err(sys.rename, "d", "d/g"))
    print("onto a non-empty one:", err(sys.rename, "d", "f"), err(sys.rename, "d/e", "f"))
    print("onto its parent:", err(sys.rename, "d/e", "d"))
    print("file onto directory:", err(sys.rename, "b", "d"), "directory onto file:", err(sys.rename, "d", "b"))
    print(
        "missing:",
        err(sys.rename, "none", "b"),
        err(sys.rename, "none/x", "b"),
        err(sys.rename, "b", "none/x"),
        err(sys.rename, "b/x", "y"),
    )
    print("to itself:", sys.rename("b", "b"), sys.rename("d", "d"), get(sys, "b"))
    sys.link("b", "c")
    print("to its other name:", sys.rename("b", "c"), sorted(n for n in ("b", "c") if err(sys.stat, n) != "ENOENT"))
    sys.unlink("b")
    sys.mkdir("empty")
    before = (sys.stat(".").st_nlink, sys.stat("d").st_nlink)
    sys.rename("f", "empty")
    print("onto an empty directory:", get(sys, "empty/x"), err(sys.stat, "f"), before, sys.stat(".").st_nlink)
    sys.rename("d/e", "e")
    print("nlink after a move:", sys.stat("d").st_nlink, sys.stat(".").st_nlink)
    sys.symlink("c", "s")
    sys.rename("s", "t")
    print("a link is moved itself:", sys.readlink("t"), get(sys, "t"))
    sys.rename("c", "t")
    print("and replaced itself:", sys.lstat("t").st_mode >> 12, get(sys, "t"))
    print(
        "dots:",
        err(sys.rename, ".", "q"),
        err(sys.rename, "d/..", "q"),
        err(sys.rename, "d", "."),
        err(sys.rename, "d", "e/.."),
    )
    print(
        "slashes:",
        err(sys.rename, "t/", "u"),
        err(sys.rename, "t", "u/"),
        sys.rename("d/", "dd/"),
        err(sys.stat, "dd/") != "ENOENT",
    )
    put(sys, "one", b"1")
    put(sys, "two", b"2")
    print(
        "NOREPLACE:",
        err(sys.renameat2, AT_FDCWD, "one", AT_FDCWD, "two", RENAME_NOREPLACE),
        sys.renameat2(AT_FDCWD, "one", AT_FDCWD, "three", RENAME_NOREPLACE),
    )
    print(
        "EXCHANGE:",
        sys.renameat2(AT_FDCWD, "two", AT_FDCWD, "three", RENAME_EXCHANGE),
        get(sys, "two"),
        get(sys, "three"),
    )
    print(
        "EXCHANGE of kinds:",
        sys.renameat2(AT_FDCWD, "two", AT_FDCWD, "dd", RENAME_EXCHANGE),
        sys.stat("two").st_mode >> 12,
        sys.stat("dd").st_mode >> 12,
    )
    print(
        "bad:",
        err(sys.renameat2, AT_FDCWD, "two", AT_FDCWD, "none", RENAME_EXCHANGE),
        err(sys.renameat2, AT_FDCWD, "two", AT_FDCWD, "x", 8),
        err(sys.renameat2, AT_FDCWD, "two", AT_FDCWD, "x", RENAME_EXCHANGE | RENAME_NOREPLACE),
    )
    sys.mkdir("m")
    sys.mount("none", "m", "tmpfs", 0, "size=64k")
    print(
        "across mounts:",
        err(sys.rename, "three", "m/x"),
        err(sys.link, "three", "m/x"),
        "a mount point:",
        err(sys.rename, "m", "n"),
        err(sys.rmdir, "m"),
    )
    sys.umount2("m", 0)

    # atomic: a reader always finds the one or the other
    put(sys, "target", b"old")

    def replacer(sys):
        for i in range(100):
            put(sys, "temp", b"new")
            sys.rename("temp", "target")
        return 0

    pid = sys.spawn(replacer)
    seen = set()
    while sys.wait4(pid, WNOHANG)[0] == 0:
        seen.add(get(sys, "target"))
        sys.sched_yield()
    print("never missing:", seen <= {b"old", b"new"})
    fd = sys.open(".", O_RDONLY | O_DIRECTORY)
    print(sorted(n for n, _, _ in sys.getdents64(fd)))
    for name in ("empty/x", "t", "three", "dd", "target"):
        sys.unlink(name)
    for name in ("empty", "e", "two", "m"):
        sys.rmdir(name)
    sys.chdir("/")
    sys.rmdir(here)
