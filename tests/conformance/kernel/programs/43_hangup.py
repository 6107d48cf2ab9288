"""Hangup: the master closes, or the session leader ends; who hears of it, and what the others can still do."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def pair(sys):
    m = sys.open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    sys.ioctl(m, TIOCSPTLCK, 0)
    return m, "/dev/pts/%d" % sys.ioctl(m, TIOCGPTN)


def told(sys, w, name, *signals):
    for number in signals:
        sys.rt_sigaction(number, lambda sys, n, info: sys.write(w, b"%s:%s " % (name, signal_name(n).encode())))


def heard(sys, r):
    said = b""
    while block := sys.read(r, 1000):
        said += block
    return sorted(said.decode().split())


def until(sys, r, *words):
    said = b""
    while not all(word in said for word in words):
        said += sys.read(r, 1000)


def master_closes(sys):
    r, w = sys.pipe2(0)
    m, name = pair(sys)

    def leader(sys):
        sys.close(m)
        sys.close(r)
        sys.setsid()
        s = sys.open(name, O_RDWR)
        told(sys, w, b"leader", SIGHUP, SIGCONT)

        def front(sys):
            sys.setpgid(0, 0)
            told(sys, w, b"front", SIGHUP, SIGCONT)
            sys.rt_sigaction(SIGTTOU, SIG_IGN)
            sys.ioctl(s, TIOCSPGRP, sys.getpid())
            sys.write(w, b"ready ")
            data = err(sys.read, s, 10), err(sys.read, s, 10)
            sys.write(w, b"front:read:%s,%r front:%s " % (data[0].encode(), data[1], err(sys.write, s, b"x").encode()))
            sys.write(w, b"front:tty:%s " % err(sys.open, "/dev/tty", O_RDWR).encode())

        pid = sys.spawn(front)
        sys.rt_sigprocmask(SIG_BLOCK, [SIGHUP, SIGCONT])
        sys.write(w, b"set ")
        while True:
            try:
                sys.wait4(pid)
                break
            except InterruptedError:
                pass
        sys.rt_sigprocmask(SIG_UNBLOCK, [SIGHUP, SIGCONT])
        sys.write(w, b"leader:tty:%s " % err(sys.open, "/dev/tty", O_RDWR).encode())

    pid = sys.spawn(leader)
    sys.close(w)
    until(sys, r, b"ready", b"set")  # two processes say it, in either order
    sys.nanosleep(50_000_000)  # it reads by now
    sys.close(m)
    print(sys.wait4(pid)[1], heard(sys, r))


def leader_ends(sys):
    """The foreground group gets SIGHUP; the terminal of a pty lives on."""
    r, w = sys.pipe2(0)
    m, name = pair(sys)
    go_r, go_w = sys.pipe2(0)

    def leader(sys):
        sys.setsid()
        s = sys.open(name, O_RDWR)
        ready_r, ready_w = sys.pipe2(0)

        def member(sys, title, foreground):
            sys.close(go_w)
            sys.setpgid(0, 0)
            told(sys, w, title, SIGHUP, SIGCONT)
            sys.rt_sigaction(SIGTTOU, SIG_IGN)
            if foreground:
                sys.ioctl(s, TIOCSPGRP, sys.getpid())
            sys.write(ready_w, b".")
            while True:
                try:
                    sys.read(go_r, 1)
                    break
                except InterruptedError:
                    pass
            sys.write(w, b"%s:tty:%s " % (title, err(sys.open, "/dev/tty", O_RDWR).encode()))
            sys.write(w, b"%s:pgrp:%s " % (title, err(sys.ioctl, s, TIOCGPGRP).encode()))
            sys.write(w, b"%s:write:%r " % (title, err(sys.write, s, b"x")))

        sys.spawn(member, b"front", True)
        sys.spawn(member, b"back", False)
        sys.read(ready_r, 1)
        sys.read(ready_r, 1)

    pid = sys.spawn(leader)
    sys.wait4(pid)
    sys.close(go_r)
    sys.close(w)
    sys.close(go_w)
    print(heard(sys, r))
    print("free again", sys.ioctl(m, TIOCGPGRP), err(sys.ioctl, m, TIOCGSID))


def default_hangup(sys):
    """Nobody catches it: the leader and the foreground die of the master's end."""
    m, name = pair(sys)
    r, w = sys.pipe2(0)

    def leader(sys):
        sys.close(m)
        sys.setsid()
        sys.open(name, O_RDWR)
        sys.write(w, b"ready")
        while True:
            sys.pause()

    pid = sys.spawn(leader)
    until(sys, r, b"ready")
    sys.close(m)
    print("leader died of", signal_name(sys.wait4(pid)[1] & 0x7F))


def stolen(sys):
    """TIOCSCTTY with 1, by root."""
    m, name = pair(sys)
    r, w = sys.pipe2(0)
    go_r, go_w = sys.pipe2(0)

    def first(sys):
        sys.close(go_w)
        sys.setsid()
        s = sys.open(name, O_RDWR)
        sys.write(w, b"ready")
        sys.read(go_r, 1)
        print("first", err(sys.open, "/dev/tty", O_RDWR), err(sys.ioctl, s, TIOCGSID))

    def second(sys):
        sys.setsid()
        s = sys.open(name, O_RDWR)
        print("second", err(sys.open, "/dev/tty", O_RDWR), err(sys.ioctl, s, TIOCSCTTY, 0),
              err(sys.ioctl, s, TIOCSCTTY, 1), sys.ioctl(s, TIOCGSID) == sys.getpid())

    one = sys.spawn(first)
    until(sys, r, b"ready")
    sys.wait4(sys.spawn(second))
    sys.close(go_w)
    print(sys.wait4(one)[1])


def main(sys, argv):
    for case in (master_closes, leader_ends, default_hangup, stolen):
        print(case.__name__)
        case(sys)
