"""A zombie stays until waited for; the wait status tells exit, signal, stop and continue apart."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def sleeper(sys):
    while True:
        sys.pause()


def main(sys, argv):
    for code in (0, 1, 42, 255, 256, 300, -1):
        pid = sys.spawn(lambda sys, code=code: sys.exit(code))
        got, status, usage = sys.wait4(pid, 0)
        print("exit", code, got == pid, hex(status))

    pid = sys.spawn(lambda sys: 7)
    sys.nanosleep(20_000_000)
    print("a zombie answers kill(0):", sys.kill(pid, 0))
    print("its group too:", sys.getpgid(pid) == sys.getpgid(0))
    print("setpgid of a zombie:", err(sys.setpgid, pid, pid))
    print("signals do nothing to it:", sys.kill(pid, SIGKILL))
    print("status:", hex(sys.wait4(pid, 0)[1]))
    print("gone:", err(sys.wait4, pid, 0), err(sys.kill, pid, 0))

    for signum in (SIGTERM, SIGKILL, SIGUSR1, SIGPIPE, SIGALRM, SIGHUP, 40):
        pid = sys.spawn(sleeper)
        sys.kill(pid, signum)
        _, status, _ = sys.wait4(pid, 0)
        print("signal", signum, hex(status & 0x7F), "exited" if not status & 0x7F else "killed")

    pid = sys.spawn(sleeper)
    print("nothing yet:", sys.wait4(pid, WNOHANG | WUNTRACED | WCONTINUED)[:2])
    sys.kill(pid, SIGSTOP)
    got, status, _ = sys.wait4(pid, WUNTRACED)
    print("stopped:", got == pid, hex(status))
    print("told once:", sys.wait4(pid, WNOHANG | WUNTRACED)[:2])
    sys.kill(pid, SIGCONT)
    got, status, _ = sys.wait4(pid, WCONTINUED)
    print("continued:", got == pid, hex(status))
    print("told once:", sys.wait4(pid, WNOHANG | WCONTINUED)[:2])
    sys.kill(pid, SIGTSTP)
    print("stopped:", hex(sys.wait4(pid, WUNTRACED)[1]))
    sys.kill(pid, SIGTERM)
    sys.nanosleep(20_000_000)
    print("a stopped process does not die of SIGTERM:", sys.wait4(pid, WNOHANG)[:2])
    sys.kill(pid, SIGCONT)
    print("until it goes on:", hex(sys.wait4(pid, 0)[1]))

    pid = sys.spawn(sleeper)
    sys.kill(pid, SIGSTOP)
    sys.wait4(pid, WUNTRACED)
    sys.kill(pid, SIGKILL)
    print("SIGKILL wins over a stop:", hex(sys.wait4(pid, 0)[1]))

    print("no child:", err(sys.wait4, -1, 0), err(sys.wait4, -1, WNOHANG), err(sys.wait4, 1 << 22, 0))
    print("bad options:", err(sys.wait4, -1, 0x40))

    pids = [sys.spawn(lambda sys, n=n: n) for n in range(5)]
    print("any order:", sorted(sys.wait4()[1] >> 8 for _ in pids))

    pid = sys.spawn(lambda sys: 3)
    info = sys.waitid(P_PID, pid, WEXITED | WNOWAIT)
    print("waitid:", info.si_signo, info.si_code, info.si_pid == pid, info.si_status)
    info = sys.waitid(P_ALL, 0, WEXITED)
    print("WNOWAIT leaves it:", info.si_code, info.si_status, err(sys.waitid, P_ALL, 0, WEXITED))
    pid = sys.spawn(sleeper)
    print("WNOHANG:", sys.waitid(P_PID, pid, WEXITED | WNOHANG))
    sys.kill(pid, SIGKILL)
    info = sys.waitid(P_PID, pid, WEXITED)
    print("killed:", info.si_code == CLD_KILLED, info.si_status)
    print("needs an event:", err(sys.waitid, P_ALL, 0, 0), err(sys.waitid, 9, 0, WEXITED))
    return 5
