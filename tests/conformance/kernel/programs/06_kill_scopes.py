"""kill's scopes, process groups and sessions."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def sleeper(sys):
    while True:
        sys.pause()


def ready_sleeper(sys, out):
    sys.write(out, b"r")
    sleeper(sys)


def session(sys):
    """In a session of its own, so that nobody else is hit."""
    me = sys.setsid()
    print("session leader:", me == sys.getpid() == sys.getsid(0) == sys.getpgid(0))
    print("again:", err(sys.setsid))
    print("setpgid of a leader:", err(sys.setpgid, 0, 0), err(sys.setpgid, 0, me))
    r, w = sys.pipe2()
    a, b, c = (sys.spawn(ready_sleeper, w) for _ in range(3))
    for _ in range(3):
        sys.read(r, 1)
    print("setpgid of a child:", sys.setpgid(a, a), sys.setpgid(b, a), sys.getpgid(b) == a, sys.getpgid(c) == me)
    print("to no group:", err(sys.setpgid, c, 1 << 21), "negative:", err(sys.setpgid, c, -1))
    print("of nobody:", err(sys.setpgid, 1 << 21, 0))
    print("kill 0 sent nothing:", sys.kill(a, 0), sys.kill(-a, 0), err(sys.kill, -(1 << 21), 0))
    print("kill -pgid:", sys.kill(-a, SIGTERM), sorted(sys.wait4(-a)[1] for _ in range(2)), err(sys.wait4, -a, 0))
    print("c lives:", sys.wait4(c, WNOHANG)[:2])
    print("wait for the own group:", sys.kill(c, SIGHUP), sys.wait4(0)[1])

    got = []
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: got.append((n, info.si_code, info.si_pid == sys.getpid())))
    print("kill(0) hits the caller too:", sys.kill(0, SIGUSR1), got)
    print("bad numbers:", err(sys.kill, me, 65), err(sys.kill, me, -1), err(sys.kill, 1 << 21, SIGTERM))
    print("kill(0, 0):", sys.kill(0, 0))

    def other_session(sys, out):
        sys.setsid()
        sys.write(out, b"r")
        sleeper(sys)

    d = sys.spawn(other_session, w)
    sys.read(r, 1)
    print("setpgid across sessions:", err(sys.setpgid, d, d), err(sys.setpgid, d, me))
    print("getsid:", sys.getsid(d) == d)
    sys.kill(d, SIGKILL)
    sys.wait4(d)

    # after execve the parent may not
    here = "/tmp/trl-kill-%d.py" % me
    fd = sys.open(here, O_CREAT | O_WRONLY, 0o755)
    sys.write(fd, b"def main(sys, argv):\n    sys.write(int(argv[1]), b'r')\n    sys.pause()\n")
    sys.close(fd)
    e = sys.spawn(lambda sys: sys.execve(here, ["e", str(w)], {}))
    sys.read(r, 1)
    print("setpgid after exec:", err(sys.setpgid, e, e))
    sys.kill(e, SIGKILL)
    sys.wait4(e)
    sys.unlink(here)

    # permissions
    f = sys.spawn(ready_sleeper, w)
    sys.read(r, 1)

    def stranger(sys):
        sys.setresuid(1234, 1234, 1234)
        print("a stranger:", err(sys.kill, f, SIGTERM), err(sys.kill, f, 0), "SIGCONT:", sys.kill(f, SIGCONT))
        print("to itself:", sys.kill(sys.getpid(), 0))

    sys.wait4(sys.spawn(stranger))
    sys.kill(f, SIGKILL)
    sys.wait4(f)
    print("getpgid of nobody:", err(sys.getpgid, 1 << 21), err(sys.getsid, 1 << 21))

    def grandchild_group(sys, out):
        sys.setpgid(0, 0)
        sys.spawn(ready_sleeper, out)
        sys.spawn(ready_sleeper, out)
        sys.write(out, b"g")
        sleeper(sys)

    g = sys.spawn(grandchild_group, w)
    seen = b""
    while len(seen) < 3:
        seen += sys.read(r, 3)
    print("a group of three:", sys.kill(-g, SIGKILL), sys.wait4(g)[1])
    return 0


def main(sys, argv):
    pid = sys.spawn(session)
    print(hex(sys.wait4(pid)[1]))
