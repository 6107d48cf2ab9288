"""What execve keeps and what it does away with."""

from userland.abi import *

REPORT = '''
from userland.abi import *
def main(sys, argv):
    print("argv", argv[:1], len(argv), sorted(sys.environ.items()))
    print("handler USR1", sys.rt_sigaction(SIGUSR1), "ignored USR2", sys.rt_sigaction(SIGUSR2))
    print("mask", sorted(sys.rt_sigprocmask(SIG_BLOCK, [])), "pending", sorted(sys.rt_sigpending()))
    for fd in (10, 11):
        try:
            print(fd, sys.fcntl(fd, F_GETFD), sys.lseek(fd, 0, 1))
        except OSError as error:
            print(fd, errno_name(error.errno))
    print("pid", sys.getpid() == int(argv[1]), sys.getppid() == int(argv[2]), sys.gettid() == sys.getpid())
    print("cwd", sys.getcwd() == argv[3], "umask", oct(sys.umask(0)))
    print("name", sys.prctl(PR_GET_NAME), "pdeathsig", sys.prctl(PR_GET_PDEATHSIG))
    print("alarm", sys.alarm(0) > 50, "nofile", sys.prlimit64(0, RLIMIT_NOFILE)[0])
    print("altstack", sys.sigaltstack()[1] == SS_DISABLE)
    fd = sys.open("/proc/self/status", O_RDONLY)
    print([line for line in sys.read(fd, 4096).decode().split("\\n") if line.startswith("Threads")])
    return 33
'''


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def put(sys, name, text, mode):
    fd = sys.open(name, O_CREAT | O_TRUNC | O_WRONLY, mode)
    sys.write(fd, text.encode())
    sys.close(fd)
    sys.chmod(name, mode)


def child(sys, parent, here):
    me = sys.getpid()
    sys.rt_sigaction(SIGUSR1, lambda *a: None)
    sys.rt_sigaction(SIGUSR2, SIG_IGN)
    sys.rt_sigaction(SIGRTMIN + 1, SIG_DFL)
    sys.rt_sigprocmask(SIG_SETMASK, [SIGTERM, SIGUSR1, SIGRTMIN + 1])
    sys.kill(me, SIGTERM)
    sys.kill(me, SIGRTMIN + 1)
    fd = sys.open(here + "/report.py", O_RDONLY)
    sys.lseek(fd, 5, 0)
    sys.dup3(fd, 10, 0)
    sys.dup3(fd, 11, O_CLOEXEC)
    sys.chdir(here)
    sys.umask(0o27)
    sys.alarm(100)
    sys.prctl(PR_SET_PDEATHSIG, SIGWINCH)
    sys.prlimit64(0, RLIMIT_NOFILE, (100, 4096))
    sys.execve(here + "/report.py", ["first", str(me), str(parent), here], {"A": "1", "B": "x y"})
    print("not reached")


def from_thread(sys, here):
    """A thread that calls execve becomes the process."""
    def thread(sys):
        sys.execve(here + "/report.py", ["t", str(leader), str(parent), "/"], {})
    leader, parent = sys.getpid(), sys.getppid()
    sys.clone(thread)
    while True:
        sys.nanosleep(10_000_000)


def main(sys, argv):
    here = "/tmp/trl-exec-%d" % sys.getpid()
    sys.mkdir(here)
    put(sys, here + "/report.py", REPORT, 0o755)
    put(sys, here + "/plain.py", REPORT, 0o644)
    pid = sys.spawn(child, sys.getpid(), here)
    print("status", hex(sys.wait4(pid)[1]))
    print("no permission:", err(sys.execve, here + "/plain.py", ["x"], {}))
    print("nothing there:", err(sys.execve, here + "/none.py", ["x"], {}))
    print("a directory:", err(sys.execve, here, ["x"], {}))
    print("through a file:", err(sys.execve, here + "/plain.py/x", ["x"], {}))
    sys.symlink("loop", here + "/loop")
    print("a loop:", err(sys.execve, here + "/loop", ["x"], {}))
    put(sys, here + "/junk", "junk\n", 0o755)
    print("no format:", err(sys.execve, here + "/junk", ["x"], {}))
    put(sys, here + "/empty", "", 0o755)
    print("empty:", err(sys.execve, here + "/empty", ["x"], {}))
    for name in ("report.py", "plain.py", "loop", "junk", "empty"):
        sys.unlink(here + "/" + name)
    sys.rmdir(here)
