"""execve by a thread, exit of the leader before its threads, exit_group, stop of a whole process."""

from userland.abi import *

REPORT = '''
from userland.abi import *
def main(sys, argv):
    names = [n for n, i, t in sys.getdents64(sys.open("/proc/self/task", O_RDONLY | O_DIRECTORY)) if n[0] != "."]
    print("report", argv[0], sys.getpid() == int(argv[1]), sys.gettid() == sys.getpid(), names == [argv[1]])
    return 6
'''


def main(sys, argv):
    fd = sys.open("/tmp/trl-exec-threads.py", O_CREAT | O_TRUNC | O_WRONLY, 0o755)
    sys.write(fd, REPORT.encode())
    sys.close(fd)
    sys.chmod("/tmp/trl-exec-threads.py", 0o755)

    def sleeper(sys):
        while True:
            sys.nanosleep(5_000_000)

    def execs(sys, me):
        sys.nanosleep(10_000_000)
        sys.execve("/tmp/trl-exec-threads.py", ["by thread", str(me)], {})

    def process(sys, leader_sleeps):
        for _ in range(3):
            sys.clone(sleeper)
        sys.clone(execs, sys.getpid())
        if leader_sleeps:
            sleeper(sys)
        while True:
            sys.cpu(1_000_000)

    for leader_sleeps in (True, False):
        print(sys.wait4(sys.spawn(process, leader_sleeps))[1] >> 8)

    def by_leader(sys):
        for _ in range(3):
            sys.clone(sleeper)
        sys.execve("/tmp/trl-exec-threads.py", ["by leader", str(sys.getpid())], {})

    print(sys.wait4(sys.spawn(by_leader))[1] >> 8)

    def group_exit(sys):
        def thread(sys):
            sys.nanosleep(10_000_000)
            sys.exit_group(77)

        sys.clone(thread)
        sleeper(sys)

    print("exit_group by a thread:", sys.wait4(sys.spawn(group_exit))[1] >> 8)

    reader, writer = sys.pipe2(0)

    def stopped(sys):
        for _ in range(2):
            sys.clone(sleeper)
        sys.write(writer, b"x")
        sleeper(sys)

    pid = sys.spawn(stopped)
    sys.read(reader, 1)
    sys.kill(pid, SIGSTOP)
    print("stopped:", hex(sys.wait4(pid, WUNTRACED)[1]))
    def states():
        found = []
        directory = sys.open("/proc/%d/task" % pid, O_RDONLY | O_DIRECTORY)
        for name, _, _ in sys.getdents64(directory):
            if name[0] != ".":
                stat = sys.open("/proc/%d/task/%s/stat" % (pid, name), O_RDONLY)
                found.append(sys.read(stat, 1000).decode().rpartition(")")[2].split()[0])
                sys.close(stat)
        sys.close(directory)
        return [state if state == "T" else "-" for state in found]
    sys.nanosleep(10_000_000)
    print(states())
    sys.kill(pid, SIGCONT)
    print("continued:", hex(sys.wait4(pid, WCONTINUED)[1]))
    sys.nanosleep(10_000_000)
    print(states())
    sys.kill(pid, SIGKILL)
    print(hex(sys.wait4(pid)[1]))
    sys.unlink("/tmp/trl-exec-threads.py")
