"""signalfd; extended attributes; prctl's names."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    me = sys.getpid()
    sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGUSR2, 40])
    fd = sys.signalfd4(-1, [SIGUSR1, 40], O_NONBLOCK | O_CLOEXEC)
    print("empty:", err(sys.read, fd, 128), err(sys.read, fd, 10), sys.ppoll([(fd, POLLIN)], 0))
    sys.kill(me, SIGUSR1)
    sys.kill(me, SIGUSR2)
    sys.rt_sigqueueinfo(me, 40, 6)
    sys.rt_sigqueueinfo(me, 40, 7)
    print("ready:", sys.ppoll([(fd, POLLIN)], 0) == [(fd, POLLIN)])
    data = sys.read(fd, 1000)
    for at in range(0, len(data), 128):
        words = [int.from_bytes(data[at + i : at + i + 4], "little") for i in (0, 8, 12, 44)]
        print(words[0], words[1] - (1 << 32) if words[1] >> 31 else words[1], words[2] == me, words[3])
    print("the other stays:", sorted(sys.rt_sigpending()))
    print("another mask:", sys.signalfd4(fd, [SIGUSR2], 0) == fd, len(sys.read(fd, 128)))
    sys.fcntl(fd, F_SETFL, 0)
    pid = sys.spawn(lambda sys: (sys.nanosleep(10_000_000), sys.kill(me, SIGUSR2), 0)[2])
    print("waits:", sys.read(fd, 128)[0], sys.wait4(pid)[1])
    ep = sys.epoll_create1()
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 3)
    pid = sys.spawn(lambda sys: (sys.nanosleep(10_000_000), sys.kill(me, SIGUSR2), 0)[2])
    print("epoll:", sys.epoll_pwait(ep, 4, 1000), sys.wait4(pid)[1], sys.read(fd, 128)[0])
    print("bad:", err(sys.signalfd4, 0, [SIGUSR1], 0), err(sys.signalfd4, 999, [SIGUSR1], 0), err(sys.signalfd4, -1, [SIGUSR1], 1))

    here = "/tmp/trl-xattr-%d" % me
    sys.mkdir(here)
    sys.mount("none", here, "tmpfs", 0, "")
    f = here + "/f"
    fd = sys.open(f, O_CREAT | O_RDWR, 0o644)
    print("none:", sys.listxattr(f), err(sys.getxattr, f, "user.a"))
    print("set:", sys.setxattr(f, "user.a", b"one"), sys.fsetxattr(fd, "user.b", b""), sys.getxattr(f, "user.a"), sys.fgetxattr(fd, "user.b"))
    print("flags:", err(sys.setxattr, f, "user.a", b"x", XATTR_CREATE), err(sys.setxattr, f, "user.c", b"x", XATTR_REPLACE), sys.setxattr(f, "user.a", b"two", XATTR_REPLACE))
    print("list:", sorted(sys.listxattr(f)), sorted(sys.flistxattr(fd)))
    print("remove:", sys.removexattr(f, "user.b"), err(sys.removexattr, f, "user.b"), sys.listxattr(f))
    print("names:", err(sys.setxattr, f, "other.a", b"x"), err(sys.setxattr, f, "plain", b"x"), err(sys.setxattr, f, "user.", b"x"), err(sys.setxattr, f, "", b"x"), err(sys.setxattr, f, "user." + "n" * 300, b"x"))
    print("trusted:", sys.setxattr(f, "trusted.t", b"secret"), sys.getxattr(f, "trusted.t"))
    sys.symlink("f", here + "/l")
    print("links:", sys.getxattr(here + "/l", "user.a"), err(sys.lsetxattr, here + "/l", "user.a", b"x"), err(sys.lgetxattr, here + "/l", "user.a"), sys.lsetxattr(here + "/l", "trusted.l", b"y"), sys.llistxattr(here + "/l"))
    sys.mkfifo(here + "/p")
    print("special files:", err(sys.setxattr, here + "/p", "user.a", b"x"), sys.setxattr(here, "user.dir", b"d"), sys.getxattr(here, "user.dir"))

    def user(sys):
        sys.setresuid(1000, 1000, 1000)
        print("user:", sys.getxattr(f, "user.a"), err(sys.setxattr, f, "user.a", b"x"), err(sys.getxattr, f, "trusted.t"), sorted(sys.listxattr(f)), err(sys.setxattr, f, "trusted.u", b"x"))
        return 0

    sys.wait4(sys.spawn(user))
    sys.close(fd)
    sys.umount2(here, 0)
    sys.rmdir(here)

    def names(sys):
        sys.prctl(PR_SET_NAME, "a-name-that-is-longer-than-fifteen")
        print("name:", sys.prctl(PR_GET_NAME))
        sys.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        print("no_new_privs:", sys.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), err(sys.prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0))
        print("dumpable:", sys.prctl(PR_GET_DUMPABLE), sys.prctl(PR_SET_DUMPABLE, 0), sys.prctl(PR_GET_DUMPABLE), err(sys.prctl, PR_SET_DUMPABLE, 5))
        print("bad:", err(sys.prctl, 9999, 0), err(sys.prctl, PR_SET_PDEATHSIG, 99), err(sys.prctl, PR_CAPBSET_READ, 99))
        return 0

    sys.wait4(sys.spawn(names))
