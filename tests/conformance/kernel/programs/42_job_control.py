"""Job control: controlling terminals, foreground and background, the signals of the keyboard, orphaned groups."""

import struct

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def status(value):
    if value & 0xFF == 0x7F:
        return "stopped by " + signal_name(value >> 8)
    if value == 0xFFFF:
        return "continued"
    return "signal " + signal_name(value & 0x7F) if value & 0x7F else "exit %d" % (value >> 8)


def waited(sys, pid, options=0):
    return status(sys.wait4(pid, options)[1])


def pair(sys):
    m = sys.open("/dev/ptmx", O_RDWR | O_NOCTTY)
    sys.ioctl(m, TIOCSPTLCK, 0)
    return m, "/dev/pts/%d" % sys.ioctl(m, TIOCGPTN)


def setting(sys, fd, on=0, off=0):
    flags = list(struct.unpack("=4IB19s", sys.ioctl(fd, TCGETS)))
    flags[3] = flags[3] & ~off | on
    sys.ioctl(fd, TCSETS, struct.pack("=4IB19s", *flags))


def session(sys, work, *args):
    """Runs `work(sys, master, slave)` as a session leader with a terminal, and says how it ended."""

    def leader(sys):
        sys.setsid()
        m, name = pair(sys)
        s = sys.open(name, O_RDWR)
        work(sys, m, s, *args)

    print(work.__name__, "->", waited(sys, sys.spawn(leader)))


def child(sys, work, *args, group=True):
    """A child in a group of its own."""

    def body(sys):
        if group:
            sys.setpgid(0, 0)
        sys.write(ready_w, b".")
        return work(sys, *args)

    ready_r, ready_w = sys.pipe2(0)
    pid = sys.spawn(body)
    sys.read(ready_r, 1)
    sys.close(ready_r)
    sys.close(ready_w)
    return pid


def idle(sys):
    while True:
        sys.pause()


def acquiring(sys, m, s):
    print("leader", sys.ioctl(s, TIOCGSID) == sys.getpid(), sys.ioctl(s, TIOCGPGRP) == sys.getpid())
    print("from the master", sys.ioctl(m, TIOCGPGRP) == sys.getpid(), sys.ioctl(m, TIOCGSID) == sys.getpid())
    tty = sys.open("/dev/tty", O_RDWR)
    print("/dev/tty", sys.ioctl(tty, TIOCGPGRP) == sys.getpid(), sys.fstat(tty).st_rdev == 0x500)
    sys.write(tty, b"hello")
    print(sys.read(m, 10))
    fields = sys.read(sys.open("/proc/self/stat", O_RDONLY), 4000).split(b") ")[1].split()
    print("stat", int(fields[4]) == sys.fstat(s).st_rdev, int(fields[5]) == sys.getpid())
    m2, name2 = pair(sys)
    s2 = sys.open(name2, O_RDWR)
    print("only one", err(sys.ioctl, s2, TIOCGPGRP), err(sys.ioctl, s2, TIOCGSID), err(sys.ioctl, m2, TIOCGPGRP),
          err(sys.ioctl, s2, TIOCSCTTY, 0), err(sys.ioctl, s2, TIOCSPGRP, sys.getpid()))
    print("again", err(sys.ioctl, s, TIOCSCTTY, 0))

    def inherit(sys):
        print("child", sys.ioctl(s, TIOCGSID) == sys.getppid(), err(sys.ioctl, s2, TIOCSCTTY, 0))
        sys.setsid()
        print("setsid drops it", err(sys.open, "/dev/tty", O_RDWR), err(sys.ioctl, s, TIOCGPGRP),
              err(sys.ioctl, s, TIOCSCTTY, 0))
        there = sys.open(name2, O_RDWR | O_NOCTTY)
        print("O_NOCTTY", err(sys.open, "/dev/tty", O_RDWR))
        print("TIOCSCTTY", err(sys.ioctl, there, TIOCSCTTY, 0), sys.ioctl(there, TIOCGSID) == sys.getpid())

    print("child", waited(sys, sys.spawn(inherit)))
    print("groups", err(sys.ioctl, s, TIOCSPGRP, -1), err(sys.ioctl, s, TIOCSPGRP, 999999),
          err(sys.ioctl, s, TIOCSPGRP, 1))
    sys.rt_sigaction(SIGHUP, lambda sys, n, info: print("SIGHUP"))
    sys.rt_sigaction(SIGCONT, lambda sys, n, info: print("SIGCONT"))
    print("given up", sys.ioctl(s, TIOCNOTTY), err(sys.open, "/dev/tty", O_RDWR), err(sys.ioctl, s, TIOCNOTTY))
    print("taken again", sys.ioctl(s, TIOCSCTTY, 0), sys.ioctl(s, TIOCGPGRP) == sys.getpid())


def keyboard(sys, m, s):
    sys.rt_sigaction(SIGTTOU, SIG_IGN)
    for key in (b"\x03", b"\x1c", b"\x1a"):
        pid = child(sys, idle)
        sys.ioctl(s, TIOCSPGRP, pid)
        sys.write(m, key)
        print(key, waited(sys, pid, WUNTRACED))
        if key == b"\x1a":
            sys.kill(pid, SIGCONT)
            print(waited(sys, pid, WCONTINUED))
            sys.kill(pid, SIGKILL)
            print(waited(sys, pid))

    def background(sys):
        return len(sys.read(s, 10))

    sys.ioctl(s, TIOCSPGRP, sys.getpid())
    pid = child(sys, background)
    print("reads in the background:", waited(sys, pid, WUNTRACED))
    sys.ioctl(s, TIOCSPGRP, pid)
    sys.write(m, b"abc\n")
    sys.kill(pid, SIGCONT)
    print("and in the foreground:", waited(sys, pid))
    sys.ioctl(s, TIOCSPGRP, sys.getpid())

    def ignoring(sys):
        sys.rt_sigaction(SIGTTIN, SIG_IGN)
        print("SIGTTIN ignored:", err(sys.read, s, 10))
        sys.rt_sigaction(SIGTTIN, SIG_DFL)
        sys.rt_sigprocmask(SIG_BLOCK, [SIGTTIN])
        print("SIGTTIN blocked:", err(sys.read, s, 10))

    print(waited(sys, child(sys, ignoring)))

    def handling(sys):
        sys.rt_sigaction(SIGTTIN, lambda sys, n, info: print("SIGTTIN handled", info.si_code == SI_KERNEL))
        print(err(sys.read, s, 10))

    print(waited(sys, child(sys, handling)))

    def writing(sys):
        sys.rt_sigaction(SIGTTOU, SIG_DFL)
        return sys.write(s, b"x")

    print("writes:", waited(sys, child(sys, writing), WUNTRACED))
    setting(sys, s, on=TOSTOP)
    pid = child(sys, writing)
    print("writes with tostop:", waited(sys, pid, WUNTRACED))
    setting(sys, s, off=TOSTOP)
    sys.kill(pid, SIGCONT)
    print("and without:", waited(sys, pid))

    def unheeding(sys):
        return sys.write(s, b"x")

    setting(sys, s, on=TOSTOP)
    print("SIGTTOU ignored:", waited(sys, child(sys, unheeding), WUNTRACED))
    setting(sys, s, off=TOSTOP)

    def setting_up(sys):
        sys.rt_sigaction(SIGTTOU, SIG_DFL)
        sys.ioctl(s, TCSETS, sys.ioctl(s, TCGETS))

    pid = child(sys, setting_up)
    print("TCSETS:", waited(sys, pid, WUNTRACED))
    sys.kill(pid, SIGKILL)
    waited(sys, pid)

    def grabbing(sys):
        sys.rt_sigaction(SIGTTOU, SIG_DFL)
        sys.ioctl(s, TIOCSPGRP, sys.getpid())

    pid = child(sys, grabbing)
    print("TIOCSPGRP:", waited(sys, pid, WUNTRACED))
    sys.kill(pid, SIGKILL)
    waited(sys, pid)

    def sized(sys):
        sys.rt_sigaction(SIGWINCH, lambda sys, n, info: print("SIGWINCH"))
        sys.write(1, b"")
        sys.ioctl(s, TIOCSPGRP, sys.getpid())
        sys.ioctl(m, TIOCSWINSZ, struct.pack("=4H", 10, 20, 0, 0))
        print("once more")
        sys.ioctl(m, TIOCSWINSZ, struct.pack("=4H", 10, 20, 0, 0))

    print(waited(sys, child(sys, sized)))
    sys.ioctl(s, TIOCSPGRP, sys.getpid())


def orphans(sys, m, s):
    ready_r, ready_w = sys.pipe2(0)

    def middle(sys):
        """A parent that leaves a stopped child in a group that is orphaned by it."""

        def stops(sys):
            sys.rt_sigaction(SIGHUP, lambda sys, n, info: sys.write(ready_w, b"SIGHUP "))
            sys.rt_sigaction(SIGCONT, lambda sys, n, info: sys.write(ready_w, b"SIGCONT "))
            sys.kill(sys.getpid(), SIGSTOP)
            sys.write(ready_w, b"goes on " + err(sys.read, s, 10).encode())
            sys.kill(sys.getpid(), SIGTSTP)
            sys.write(ready_w, b" not stopped")

        sys.setpgid(0, 0)
        pid = sys.spawn(stops)
        print(waited(sys, pid, WUNTRACED))

    print("middle", waited(sys, sys.spawn(middle)))
    sys.close(ready_w)
    said = b""
    while block := sys.read(ready_r, 100):
        said += block
    print(said)


def main(sys, argv):
    session(sys, acquiring)
    session(sys, keyboard)
    session(sys, orphans)
