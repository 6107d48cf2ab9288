"""vfork suspends the parent until execve or the end, and shares memory."""

from userland.abi import *

PROGRAM = '''
from userland.abi import *
def main(sys, argv):
    sys.nanosleep(50_000_000)
    sys.write(int(argv[1]), b"program\\n")
    return 5
'''


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    a = sys.mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
    r, w = sys.pipe2()

    def child(sys, how):
        sys.nanosleep(20_000_000)
        sys.mem[a : a + 5] = b"child"
        sys.write(w, b"child\n")
        if how == "exit":
            sys.exit(3)
        if how == "kill":
            sys.kill(sys.getpid(), SIGKILL)
        if how == "exec":
            print("exec of nothing:", err(sys.execve, "/tmp/trl-none.py", ["x"], {}))
            sys.execve("/tmp/trl-vfork.py", ["x", str(w)], {})
        return 4

    fd = sys.open("/tmp/trl-vfork.py", O_CREAT | O_TRUNC | O_WRONLY, 0o755)
    sys.write(fd, PROGRAM.encode())
    sys.close(fd)
    sys.chmod("/tmp/trl-vfork.py", 0o755)
    for how in ("exit", "return", "kill", "exec"):
        sys.mem[a : a + 5] = b"-----"
        pid = sys.clone(child, how, flags=CLONE_VM | CLONE_VFORK | SIGCHLD)
        sys.write(w, b"parent\n")
        memory = sys.mem[a : a + 5] if how != "kill" else b""
        status = sys.wait4(pid)[1]
        text = b""
        while text.count(b"\n") < (3 if how == "exec" else 2):
            text += sys.read(r, 100)
        print(how, memory, hex(status), text.split())
    pid = sys.vfork(lambda sys: 9)
    print(sys.wait4(pid) [1] >> 8)

    def plain(sys):
        sys.mem[a : a + 5] = b"other"
        return 0

    sys.mem[a : a + 5] = b"mine."
    pid = sys.clone(plain, flags=CLONE_VFORK | SIGCHLD)
    print("without CLONE_VM:", sys.mem[a : a + 5], sys.wait4(pid)[1])
    # A caught signal does not end the parent's wait.
    seen = []
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: seen.append(n))
    parent = sys.getpid()

    def teaser(sys):
        sys.kill(parent, SIGUSR1)
        sys.nanosleep(20_000_000)
        sys.mem[a] = 33
        return 0

    pid = sys.clone(teaser, flags=CLONE_VM | CLONE_VFORK | SIGCHLD)
    print("signal:", seen, sys.mem[a], sys.wait4(pid)[1])
    sys.unlink("/tmp/trl-vfork.py")
