"""Processes once more: waiting, groups, sessions, limits, execve's errors, exit statuses."""

from userland.abi import *

MS = 1_000_000


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    # statuses
    for value in (0, 1, 255, 256, 257, -1, None):
        print(value, hex(sys.wait4(sys.spawn(lambda sys, v: v, value))[1]), hex(sys.wait4(sys.spawn(lambda sys, v: sys.exit(v or 0), value))[1]))
    print(hex(sys.wait4(sys.spawn(lambda sys: sys.kill(sys.getpid(), SIGTERM)))[1]), hex(sys.wait4(sys.spawn(lambda sys: sys.kill(sys.getpid(), SIGRTMIN)))[1]))
    # waiting
    print(err(sys.wait4), err(sys.wait4, 999999), err(sys.wait4, -1, 0x10), err(sys.wait4, -(1 << 31)), err(sys.waitid, 9, 0, WEXITED), err(sys.waitid, P_ALL, 0, 0),
          err(sys.waitid, P_PID, 0, WEXITED), err(sys.waitid, P_PID, -5, WEXITED), err(sys.waitid, P_ALL, 0, WEXITED), err(sys.waitid, P_PGID, 0, WEXITED))
    pid = sys.spawn(lambda sys: 5)
    info = sys.waitid(P_PID, pid, WEXITED | WNOWAIT)
    again = sys.waitid(P_ALL, 0, WEXITED | WNOWAIT)
    print(info.si_signo, info.si_code, info.si_pid == pid, info.si_status, again.si_status, sys.wait4(pid)[1] >> 8, err(sys.wait4, pid))
    slow = sys.spawn(lambda sys: sys.nanosleep(10_000 * MS))
    print(sys.wait4(slow, WNOHANG)[0], sys.waitid(P_PID, slow, WEXITED | WNOHANG), sys.wait4(-1, WNOHANG)[:2])
    sys.kill(slow, SIGSTOP)
    info = sys.waitid(P_PID, slow, WSTOPPED)
    print(info.si_code, info.si_status, sys.waitid(P_PID, slow, WSTOPPED | WNOHANG), sys.wait4(slow, WNOHANG | WUNTRACED)[0])
    sys.kill(slow, SIGCONT)
    print(sys.waitid(P_PID, slow, WCONTINUED).si_code, hex(err(sys.wait4, slow, WNOHANG | WCONTINUED)[0]))
    sys.kill(slow, SIGKILL)
    info = sys.waitid(P_PID, slow, WEXITED)
    print(info.si_code, info.si_status)
    # in order of groups
    def group(sys):
        sys.setpgid(0, 0)
        return 3
    pid = sys.spawn(group)
    sys.nanosleep(30 * MS)
    print(sys.wait4(-pid)[1] >> 8, err(sys.wait4, 0, WNOHANG), err(sys.wait4, -999999))
    # setpgid, setsid
    def leader(sys):
        me = sys.getpid()
        print(sys.setsid() == me, sys.getsid() == me, sys.getpgrp() == me, err(sys.setsid), err(sys.setpgid, 0, 0), err(sys.setpgid, 0, 999999), err(sys.setpgid, 999999, 0),
              err(sys.setpgid, 0, -1), err(sys.getpgid, 999999), err(sys.getsid, 999999))
        def child(sys):
            sys.nanosleep(200 * MS)
        one, two = sys.spawn(child), sys.spawn(child)
        print(sys.setpgid(one, 0), sys.getpgid(one) == one, sys.setpgid(two, one), sys.getpgid(two) == one, err(sys.setpgid, two, 999999), sys.setpgid(two, two), err(sys.setpgid, 1, 1))
        print(sys.kill(-one, SIGTERM), hex(sys.wait4(one)[1]), sys.kill(two, SIGKILL), hex(sys.wait4(two)[1]), err(sys.kill, -one, 0))
    sys.wait4(sys.spawn(leader))
    # a child of a child is not ours
    def middle(sys):
        sys.write(w, b"%d" % sys.spawn(lambda sys: sys.nanosleep(100 * MS)))
        sys.nanosleep(50 * MS)
    r, w = sys.pipe2()
    pid = sys.spawn(middle)
    grand = int(sys.read(r, 20))
    print(err(sys.wait4, grand), err(sys.setpgid, grand, 0))
    sys.wait4(pid)
    # RLIMIT_NPROC counts the user's, and not root's
    def many(sys):
        sys.prlimit64(0, RLIMIT_NPROC, (3, 3))
        a = err(sys.spawn, lambda sys: 0)
        sys.wait4()
        sys.setuid(54321)
        kids = [err(sys.spawn, lambda sys: sys.nanosleep(100 * MS)) for _ in range(4)]
        print("nproc:", a > 0, [k if isinstance(k, str) else "ok" for k in kids])
        while err(sys.wait4) != "ECHILD":
            pass
    sys.wait4(sys.spawn(many))
    # execve
    def put(name, text, mode=0o755):
        fd = sys.open(name, O_CREAT | O_TRUNC | O_WRONLY, mode)
        sys.write(fd, text)
        sys.close(fd)
        sys.chmod(name, mode)
    put("/tmp/trl-x.py", b"def main(sys, argv):\n    print(argv, sorted(sys.environ.items()))\n    return 8\n")
    put("/tmp/trl-noexec.py", b"def main(sys, argv): pass\n", 0o644)
    def runs(sys, *args):
        print(err(sys.execve, *args))
        return 99
    for args in (("/tmp/trl-x.py", ["a", "b c", ""], {"A": "1", "B": ""}), ("/tmp/trl-noexec.py", ["x"], {}), ("/tmp/none.py", ["x"], {}), ("/tmp", ["x"], {}),
                 ("/tmp/trl-x.py/y", ["x"], {}), ("", ["x"], {}), ("/tmp/" + "n" * 300, ["x"], {})):
        print(sys.wait4(sys.spawn(runs, *args))[1] >> 8)
    # SIGCHLD ignored: children go by themselves, and wait says so at the end
    def ignores(sys):
        sys.rt_sigaction(SIGCHLD, SIG_IGN)
        pid = sys.spawn(lambda sys: 0)
        print("ignored:", err(sys.wait4, pid), err(sys.kill, pid, 0))
        sys.rt_sigaction(SIGCHLD, SIG_DFL, SA_NOCLDWAIT)
        pid = sys.spawn(lambda sys: 0)
        print("nocldwait:", err(sys.wait4), err(sys.kill, pid, 0))
    sys.wait4(sys.spawn(ignores))
    # a zombie can be signalled, and stays
    pid = sys.spawn(lambda sys: 4)
    sys.nanosleep(30 * MS)
    print("zombie:", sys.kill(pid, SIGKILL), sys.kill(pid, 0), sys.getpgid(pid) == sys.getpgrp(), sys.wait4(pid)[1] >> 8)
    usage = sys.wait4(sys.spawn(lambda sys: sys.cpu(30 * MS)))[2]
    print(usage.ru_utime + usage.ru_stime >= 30 * MS)
    for name in ("/tmp/trl-x.py", "/tmp/trl-noexec.py"):
        sys.unlink(name)
