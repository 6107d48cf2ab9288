"""/proc: what a process finds about itself and others."""

from userland.abi import *


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def text(sys, name):
    fd = sys.open(name, O_RDONLY)
    data = b""
    while True:
        more = sys.read(fd, 4096)
        if not more:
            break
        data += more
    sys.close(fd)
    return data.decode()


def fields(sys, name):
    return dict(line.split(":\t", 1) for line in text(sys, name).splitlines())


def main(sys, argv):
    me = sys.getpid()
    status = fields(sys, "/proc/self/status")
    print([status[k] == str(me) for k in ("Tgid", "Pid", "NStgid", "NSpid")], status["PPid"] == str(sys.getppid()))
    print(status["State"], status["Uid"], status["Threads"], status["TracerPid"], status["NoNewPrivs"], status["Umask"])
    sys.rt_sigaction(SIGUSR1, lambda *a: None)
    sys.rt_sigaction(SIGUSR2, SIG_IGN)
    sys.rt_sigprocmask(SIG_BLOCK, [SIGTERM, SIGRTMIN])
    sys.kill(me, SIGTERM)
    sys.tgkill(me, me, SIGRTMIN)
    status = fields(sys, "/proc/self/status")
    print(status["SigPnd"], status["ShdPnd"], status["SigBlk"], status["SigCgt"][-3:], status["SigIgn"][-3:])
    print(len(status["CapEff"]), status["CapInh"], len(status["CapBnd"]))
    stat = text(sys, "/proc/self/stat")
    rest = stat.rpartition(") ")[2].split()
    print(stat.split()[0] == str(me), len(rest), rest[0], rest[1] == str(sys.getppid()), rest[2] == str(sys.getpgrp()), rest[3] == str(sys.getsid()))
    sys.prctl(PR_SET_NAME, "newname")
    print(text(sys, "/proc/self/comm"), text(sys, "/proc/self/stat").split()[1], fields(sys, "/proc/self/status")["Name"])
    fd = sys.open("/proc/self/comm", O_WRONLY)
    sys.write(fd, b"written-is-cut-short")
    print(sys.prctl(PR_GET_NAME))
    sys.close(fd)
    print(sys.readlink("/proc/self") == str(me), sys.readlink("/proc/thread-self") == f"{me}/task/{me}")
    sys.chdir("/tmp")
    print(sys.readlink("/proc/self/cwd"), sys.readlink("/proc/self/root"), sys.readlink(f"/proc/{me}/cwd"))
    # descriptors
    fd = sys.open("/tmp/trl-proc", O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0o600)
    sys.write(fd, b"12345")
    print(sys.readlink(f"/proc/self/fd/{fd}"), oct(sys.lstat(f"/proc/self/fd/{fd}").st_mode))
    info = fields(sys, f"/proc/self/fdinfo/{fd}")
    print(info["pos"], info["flags"], info["ino"] == str(sys.fstat(fd).st_ino))
    sys.unlink("/tmp/trl-proc")
    print(sys.readlink(f"/proc/self/fd/{fd}"), sys.stat(f"/proc/self/fd/{fd}").st_nlink)
    again = sys.open(f"/proc/self/fd/{fd}", O_RDONLY)
    print(sys.read(again, 10))
    r, w = sys.pipe2()
    print(sys.readlink(f"/proc/self/fd/{r}") == f"pipe:[{sys.fstat(r).st_ino}]", oct(sys.lstat(f"/proc/self/fd/{r}").st_mode))
    s = sys.socket(AF_INET, SOCK_STREAM)
    print(sys.readlink(f"/proc/self/fd/{s}") == f"socket:[{sys.fstat(s).st_ino}]")
    e = sys.eventfd2(7)
    print(sys.readlink(f"/proc/self/fd/{e}"), sys.readlink(f"/proc/self/fd/{sys.epoll_create1()}"),
          sys.readlink(f"/proc/self/fd/{sys.timerfd_create(1)}"), sys.readlink(f"/proc/self/fd/{sys.signalfd4(-1, [1])}"),
          sys.readlink(f"/proc/self/fd/{sys.inotify_init1()}"))
    print([line for line in text(sys, f"/proc/self/fdinfo/{e}").splitlines() if line.startswith("eventfd-count")])
    print(err(sys.readlink, "/proc/self/fd/999"), err(sys.open, "/proc/self/fd/999", O_RDONLY), err(sys.open, "/proc/999999", O_RDONLY))
    print(err(sys.mkdir, "/proc/x"), err(sys.unlink, "/proc/self/comm"), err(sys.open, "/proc/self/x", O_CREAT | O_WRONLY),
          err(sys.open, "/proc/self/stat", O_RDONLY | O_DIRECTORY))
    # limits
    sys.prlimit64(0, RLIMIT_NOFILE, (100, 200))
    sys.prlimit64(0, RLIMIT_CORE, (0, RLIM_INFINITY))
    lines = text(sys, "/proc/self/limits").splitlines()
    print(lines[0], len(lines))
    print([line for line in lines if "open files" in line or "core" in line])
    # a zombie
    pid = sys.spawn(lambda sys: 3)
    sys.nanosleep(20_000_000)
    print(fields(sys, f"/proc/{pid}/status")["State"], text(sys, f"/proc/{pid}/cmdline") == "", sys.getdents64(sys.open(f"/proc/{pid}/fd", O_RDONLY))[2:])
    print(text(sys, f"/proc/{pid}/stat").rpartition(") ")[2].split()[0])
    sys.wait4(pid)
    print(err(sys.stat, f"/proc/{pid}"), str(me) in [n for n, i, t in sys.getdents64(sys.open("/proc", O_RDONLY))])
    # threads
    def thread(sys):
        sys.nanosleep(200_000_000)
    tid = sys.clone(thread)
    names = sorted(n for n, i, t in sys.getdents64(sys.open("/proc/self/task", O_RDONLY)) if n[0] != ".")
    print(names == sorted([str(me), str(tid)]), fields(sys, f"/proc/self/task/{tid}/status")["Pid"] == str(tid),
          fields(sys, f"/proc/self/task/{tid}/status")["Tgid"] == str(me), fields(sys, "/proc/self/status")["Threads"])
    print(str(tid) in [n for n, i, t in sys.getdents64(sys.open("/proc", O_RDONLY))], err(sys.stat, f"/proc/{tid}/stat") != "ENOENT")
    # somebody else's
    def user(sys):
        sys.setuid(1000)
        print(err(sys.open, f"/proc/{me}/environ", O_RDONLY), err(sys.open, f"/proc/{me}/fd", O_RDONLY), err(sys.readlink, f"/proc/{me}/cwd"),
              err(sys.open, f"/proc/{me}/stat", O_RDONLY) > 0)
        print(err(sys.open, "/proc/sys/kernel/hostname", O_WRONLY))
    sys.wait4(sys.spawn(user))
    up = text(sys, "/proc/uptime").split()
    print(len(up), len(text(sys, "/proc/loadavg").split()), text(sys, "/proc/version").split()[:2], text(sys, "/proc/stat").split()[0])
    print(text(sys, "/proc/sys/kernel/ostype"), text(sys, "/proc/sys/kernel/hostname").strip() == sys.uname().nodename)
    print([k in text(sys, "/proc/meminfo") for k in ("MemTotal:", "MemFree:", "MemAvailable:", "Cached:", "SwapTotal:", "Shmem:")])
    print("nodev\ttmpfs" in text(sys, "/proc/filesystems"), "processor\t: 0" in text(sys, "/proc/cpuinfo"))
    print(any(line.split()[1:3] == ["/proc", "proc"] for line in text(sys, "/proc/mounts").splitlines()),
          any(" /proc " in line and " - proc " in line for line in text(sys, "/proc/self/mountinfo").splitlines()))
    print(len(text(sys, "/proc/self/statm").split()))
    sys.rt_sigaction(SIGTERM, SIG_IGN)
    sys.rt_sigaction(SIGRTMIN, SIG_IGN)
    sys.rt_sigprocmask(SIG_SETMASK, [])
