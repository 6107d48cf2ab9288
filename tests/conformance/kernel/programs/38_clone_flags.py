"""What clone shares and copies: files, directory, handlers, ids, memory."""

from userland.abi import *


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    print(err(sys.clone, lambda sys: 0, flags=CLONE_THREAD | SIGCHLD))
    print(err(sys.clone, lambda sys: 0, flags=CLONE_SIGHAND | SIGCHLD))
    print(err(sys.clone, lambda sys: 0, flags=CLONE_THREAD | CLONE_SIGHAND))

    def opens(sys):
        sys.dup3(0, 50, 0)
        sys.chdir("/tmp")
        sys.umask(0o11)
        return 0

    here, mask = sys.getcwd(), sys.umask(0o22)
    sys.chdir("/")
    for flags in (0, CLONE_FILES, CLONE_FS, CLONE_FILES | CLONE_FS):
        sys.wait4(sys.clone(opens, flags=flags | SIGCHLD))
        print(hex(flags), err(sys.fcntl, 50, F_GETFD), sys.getcwd(), oct(sys.umask(0o22)))
        sys.chdir("/")
        err(sys.close, 50)
    # exit signal
    got = []
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: got.append((n, info.si_code)), SA_RESTART)
    pid = sys.clone(lambda sys: 7, flags=SIGUSR1)
    print("without __WALL:", err(sys.wait4, pid), "with:", sys.wait4(pid, 0x40000000)[1], got)
    pid = sys.clone(lambda sys: 7, flags=0)
    print("no signal:", sys.wait4(pid, 0x80000000)[1])
    # ids
    a = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)

    def word(sys, at):
        return int.from_bytes(sys.mem[at : at + 4], "little")

    def child(sys):
        return word(sys, a + 4) == sys.getpid()

    pid = sys.clone(child, flags=SIGCHLD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, parent_tid=a, child_tid=a + 4)
    print("set:", word(sys, a) == pid, word(sys, a + 4), sys.wait4(pid)[1] >> 8)
    # CLONE_PARENT
    def grand(sys):
        return 11

    def middle(sys):
        sys.clone(grand, flags=CLONE_PARENT | SIGCHLD)
        print("middle has:", err(sys.wait4))
        return 0

    sys.wait4(sys.clone(middle, flags=SIGCHLD))
    print("sibling:", sys.wait4()[1] >> 8)
    # pidfd
    fd = None
    pid = sys.clone(lambda sys: 3, flags=SIGCHLD | CLONE_PIDFD, parent_tid=a)
    fd = word(sys, a)
    print("pidfd cloexec:", sys.fcntl(fd, F_GETFD), sys.ppoll([(fd, POLLIN)]) == [(fd, POLLIN)])
    info = sys.waitid(P_PIDFD, fd, WEXITED)
    print(info.si_pid == pid, info.si_status, info.si_code)
    # threads: ids, tgkill, exit_thread
    tids = []
    done = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)

    def thread(sys):
        tids.append((sys.gettid(), sys.getpid()))
        sys.exit_thread(0)

    sys.mem[done] = 1
    tid = sys.clone(thread, flags=CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_CHILD_CLEARTID
                    | CLONE_PARENT_SETTID, child_tid=done, parent_tid=a)
    while word(sys, done):
        err(sys.futex, done, FUTEX_WAIT, word(sys, done))
    print("thread:", tids == [(tid, sys.getpid())], word(sys, a) == tid, word(sys, done))
    sys.umask(mask)
    sys.chdir(here)
