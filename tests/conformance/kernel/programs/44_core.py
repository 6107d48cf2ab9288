"""The core bit of wait status: RLIMIT_CORE, the signal's default, the working directory."""

from userland.abi import *


def main(sys, argv):
    name = "/tmp/trl-core-%d" % sys.getpid()
    sys.mkdir(name, 0o777)

    def dies(sys, signum, limit, uid):
        sys.chdir(name)
        sys.prlimit64(0, RLIMIT_CORE, (limit, limit))
        if uid:
            sys.setuid(uid)
            sys.prctl(PR_SET_DUMPABLE, 1)
        sys.kill(sys.getpid(), signum)

    hard = sys.prlimit64(0, RLIMIT_CORE)[1]
    for signum in (SIGQUIT, SIGSEGV, SIGABRT, SIGXCPU, SIGTERM, SIGKILL):
        for limit in (0, 1 << 20):
            infos = []
            sys.rt_sigaction(SIGCHLD, lambda sys, n, info: infos.append((info.si_code, info.si_status)))
            pid = sys.spawn(dies, signum, limit, 0)
            info = sys.waitid(P_PID, pid, WEXITED | WNOWAIT)
            status = sys.wait4(pid)[1]
            files = [n for n, i, t in sys.getdents64(sys.open(name, O_RDONLY)) if n[0] != "."]
            print(signum, limit > 0, hex(status), (info.si_code, info.si_status), infos, [f[:4] for f in files])
            for f in files:
                fd = sys.open(name + "/" + f, O_RDONLY)
                head = sys.read(fd, 18)
                print(head[:4], head[16], oct(sys.fstat(fd).st_mode))
                sys.close(fd)
                sys.unlink(name + "/" + f)
    sys.chmod(name, 0o755)
    print("directory not writable:", hex(sys.wait4(sys.spawn(dies, SIGSEGV, 1 << 20, 1000))[1]))
    sys.rmdir(name)
