"""Waiting: options, every kind of status, zombies kept with WNOWAIT."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    # wait4 options on each transition
    def looper(sys):
        while True:
            sys.pause()

    pid = sys.spawn(looper)
    print("nohang", sys.wait4(pid, WNOHANG)[:2])
    print("all bits", e(sys.wait4, pid, WNOHANG | WUNTRACED | WCONTINUED | 0x40000000)[:2])
    print("__WNOTHREAD", e(sys.wait4, pid, WNOHANG | 0x20000000)[:2])
    print("__WCLONE", e(sys.wait4, pid, WNOHANG | 0x80000000))
    print("WEXITED in wait4", e(sys.wait4, pid, WNOHANG | WEXITED))
    print("WNOWAIT in wait4", e(sys.wait4, pid, WNOHANG | WNOWAIT))
    for sig in (SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU):
        sys.kill(pid, sig)
        if sig == SIGSTOP:
            r = sys.wait4(pid, WUNTRACED)
            print(sig, hex(r[1]), e(sys.wait4, pid, WUNTRACED | WNOHANG)[:2])
            i = sys.waitid(P_PID, pid, WSTOPPED | WNOHANG)
            print(i)
    sys.kill(pid, SIGCONT)
    i = sys.waitid(P_PID, pid, WCONTINUED | WNOWAIT)
    print("cont", i.si_signo, i.si_code == CLD_CONTINUED, i.si_status, i.si_uid)
    i = sys.waitid(P_PID, pid, WCONTINUED)
    print("cont again", i.si_code == CLD_CONTINUED, sys.waitid(P_PID, pid, WCONTINUED | WNOHANG))
    sys.kill(pid, SIGKILL)
    i = sys.waitid(P_PID, pid, WEXITED | WNOWAIT)
    print("killed", i.si_code == CLD_KILLED, i.si_status)
    print(e(sys.waitid, P_PID, pid, WSTOPPED | WCONTINUED | WNOHANG))
    i = sys.waitid(P_ALL, 0, WEXITED | WSTOPPED | WCONTINUED)
    print(i.si_pid == pid, e(sys.waitid, P_ALL, 0, WEXITED | WNOHANG))
    # stop, then kill while stopped: no stop is left to report
    pid = sys.spawn(looper)
    sys.kill(pid, SIGSTOP)
    sys.waitid(P_PID, pid, WSTOPPED | WNOWAIT)
    sys.kill(pid, SIGTERM)
    print("term on stopped", sys.waitid(P_PID, pid, WEXITED | WNOHANG))
    sys.kill(pid, SIGCONT)
    print(hex(sys.wait4(pid, 0)[1]))
    # WNOWAIT in a group
    kids = [sys.spawn(lambda sys, n: n, n) for n in (3, 4, 5)]
    for k in kids:
        sys.waitid(P_PID, k, WEXITED | WNOWAIT)
    print([sys.waitid(P_PID, k, WEXITED).si_status for k in reversed(kids)])
    # core flag
    sys.prlimit64(0, RLIMIT_CORE, (0, 0))
    for sig in (
        SIGQUIT,
        SIGABRT,
        SIGSEGV,
        SIGSYS,
        SIGTRAP,
        SIGXCPU,
        SIGUSR1,
        SIGPIPE,
        SIGVTALRM,
        SIGSTKFLT,
        SIGIO,
        SIGPWR,
        SIGRTMAX,
    ):

        def die(sys, sig):
            sys.rt_sigaction(sig, SIG_DFL)
            sys.kill(sys.getpid(), sig)
            return 77

        p = sys.spawn(die, sig)
        i = sys.waitid(P_PID, p, WEXITED | WNOWAIT)
        print(sig, i.si_code in (CLD_KILLED, CLD_DUMPED), i.si_status, hex(sys.wait4(p)[1] & 0x7F))
    for sig in (SIGCHLD, SIGURG, SIGWINCH, SIGCONT):
        p = sys.spawn(die, sig)
        print(sig, hex(sys.wait4(p)[1]))
