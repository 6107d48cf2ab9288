"""Record locks go at any close and are not inherited; flock belongs to the description."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    me = sys.getpid()
    name = "/tmp/trl-locks-%d" % me
    a = sys.open(name, O_CREAT | O_RDWR, 0o644)
    sys.write(a, b"x" * 100)

    def ask(sys, start=0, length=0, kind=F_WRLCK):
        """What another process sees there."""
        r, w = sys.pipe2()

        def child(sys):
            fd = sys.open(name, O_RDWR)
            got = sys.fcntl(fd, F_GETLK, (kind, SEEK_SET, start, length))
            sys.write(w, repr((got[0], got[2], got[3], got[4] == me)).encode())

        sys.wait4(sys.spawn(child))
        text = sys.read(r, 100).decode()
        sys.close(r)
        sys.close(w)
        return text

    print("set:", sys.fcntl(a, F_SETLK, (F_WRLCK, SEEK_SET, 10, 20)), ask(sys), ask(sys, 0, 10), ask(sys, 29, 1))
    print("own lock is no conflict:", sys.fcntl(a, F_GETLK, (F_WRLCK, SEEK_SET, 0, 0))[0] == F_UNLCK)
    sys.fcntl(a, F_SETLK, (F_RDLCK, SEEK_SET, 15, 5))
    print("split:", ask(sys, 0, 0, F_RDLCK), ask(sys, 15, 5, F_RDLCK), ask(sys, 15, 5), ask(sys, 20, 5))
    sys.fcntl(a, F_SETLK, (F_UNLCK, SEEK_SET, 0, 0))
    sys.lseek(a, 50, SEEK_SET)
    sys.fcntl(a, F_SETLK, (F_WRLCK, SEEK_CUR, -10, 5))
    print("SEEK_CUR:", ask(sys))
    sys.fcntl(a, F_SETLK, (F_WRLCK, SEEK_END, -10, 0))
    print("SEEK_END:", ask(sys, 60, 0))
    sys.fcntl(a, F_SETLK, (F_UNLCK, SEEK_SET, 0, 0))
    print("negative length:", sys.fcntl(a, F_SETLK, (F_WRLCK, SEEK_SET, 50, -10)), ask(sys))
    print(
        "bad:", err(sys.fcntl, a, F_SETLK, (F_WRLCK, SEEK_SET, -1, 0)), err(sys.fcntl, a, F_SETLK, (9, SEEK_SET, 0, 0))
    )
    b = sys.open(name, O_RDONLY)
    print("write lock on a read-only descriptor:", err(sys.fcntl, b, F_SETLK, (F_WRLCK, SEEK_SET, 0, 1)))
    sys.close(b)
    print("any close drops them:", ask(sys))

    sys.fcntl(a, F_SETLK, (F_WRLCK, SEEK_SET, 0, 0))

    def child(sys):
        print("not inherited:", err(sys.fcntl, a, F_SETLK, (F_WRLCK, SEEK_SET, 0, 1)))
        fd = sys.open(name, O_RDWR)
        sys.close(fd)
        print("the child's close does not matter:", err(sys.fcntl, a, F_SETLK, (F_WRLCK, SEEK_SET, 0, 1)))

    sys.wait4(sys.spawn(child))
    print("still held:", ask(sys))
    sys.fcntl(a, F_SETLK, (F_UNLCK, SEEK_SET, 0, 0))

    # deadlock
    r, w = sys.pipe2()

    def other(sys):
        fd = sys.open(name, O_RDWR)
        sys.fcntl(fd, F_SETLK, (F_WRLCK, SEEK_SET, 1, 1))
        sys.write(w, b"r")
        sys.fcntl(fd, F_SETLKW, (F_WRLCK, SEEK_SET, 0, 1))
        return 0

    sys.fcntl(a, F_SETLK, (F_WRLCK, SEEK_SET, 0, 1))
    pid = sys.spawn(other)
    sys.read(r, 1)
    sys.nanosleep(10_000_000)
    print("deadlock:", err(sys.fcntl, a, F_SETLKW, (F_WRLCK, SEEK_SET, 1, 1)))
    sys.fcntl(a, F_SETLK, (F_UNLCK, SEEK_SET, 0, 0))
    print("goes on:", sys.wait4(pid)[1])

    # flock
    c = sys.open(name, O_RDWR)
    d = sys.dup(c)
    e = sys.open(name, O_RDWR)
    print("flock:", sys.flock(c, LOCK_EX), sys.flock(d, LOCK_EX | LOCK_NB), err(sys.flock, e, LOCK_SH | LOCK_NB))
    sys.close(c)
    print("a dup keeps it:", err(sys.flock, e, LOCK_EX | LOCK_NB))

    def inheritor(sys):
        sys.flock(d, LOCK_UN)
        return 0

    sys.wait4(sys.spawn(inheritor))
    print("a child can give it up:", err(sys.flock, e, LOCK_EX | LOCK_NB))
    sys.flock(e, LOCK_SH)
    print("shared:", sys.flock(d, LOCK_SH | LOCK_NB), err(sys.flock, d, LOCK_EX | LOCK_NB))
    print("record locks and flock do not meet:", err(sys.fcntl, a, F_SETLK, (F_WRLCK, SEEK_SET, 0, 0)))
    print("bad:", err(sys.flock, d, 0), err(sys.flock, 999, LOCK_EX))
    # open file description locks
    sys.fcntl(a, F_SETLK, (F_UNLCK, SEEK_SET, 0, 0))
    print(
        "OFD:",
        sys.fcntl(d, F_OFD_SETLK, (F_WRLCK, SEEK_SET, 0, 0)),
        err(sys.fcntl, e, F_OFD_SETLK, (F_RDLCK, SEEK_SET, 0, 1)),
        err(sys.fcntl, e, F_SETLK, (F_RDLCK, SEEK_SET, 0, 1)),
        sys.fcntl(e, F_OFD_GETLK, (F_RDLCK, SEEK_SET, 5, 1))[4],
    )
    sys.close(sys.open(name, O_RDONLY))
    print("another close does not drop it:", err(sys.fcntl, e, F_OFD_SETLK, (F_RDLCK, SEEK_SET, 0, 1)))
    sys.close(d)
    print("its own does:", err(sys.fcntl, e, F_OFD_SETLK, (F_RDLCK, SEEK_SET, 0, 1)))
    sys.unlink(name)
