"""/proc of a living, a stopped and a dead process, tables; /dev."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def rd(sys, p):
    fd = sys.open(p, O_RDONLY)
    out = b""
    while c := sys.read(fd, 4096):
        out += c
    sys.close(fd)
    return out.decode()


def main(sys, argv):
    me = sys.getpid()
    sys.chdir("/tmp")
    st = dict(l.split(":", 1) for l in rd(sys, "/proc/self/status").splitlines())
    print(
        [
            k in st
            for k in (
                "Name",
                "Umask",
                "State",
                "Tgid",
                "Ngid",
                "Pid",
                "PPid",
                "TracerPid",
                "Uid",
                "Gid",
                "FDSize",
                "Groups",
                "VmSize",
                "Threads",
                "SigQ",
                "SigPnd",
                "ShdPnd",
                "SigBlk",
                "SigIgn",
                "SigCgt",
                "CapInh",
                "CapPrm",
                "CapEff",
                "CapBnd",
                "CapAmb",
                "NoNewPrivs",
                "Seccomp",
                "Cpus_allowed",
                "Cpus_allowed_list",
                "voluntary_ctxt_switches",
                "nonvoluntary_ctxt_switches",
            )
        ],
        st["State"].strip(),
        int(st["Pid"]) == me,
        st["Uid"].split(),
        st["Threads"].strip(),
        st["Umask"].strip(),
    )
    sys.umask(0o077)
    sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR1, SIGRTMIN])
    sys.rt_sigaction(SIGUSR2, lambda *a: None)
    sys.rt_sigaction(SIGHUP, SIG_IGN)
    sys.kill(me, SIGUSR1)
    sys.tgkill(me, sys.gettid(), SIGRTMIN)
    st = dict(l.split(":", 1) for l in rd(sys, "/proc/%d/status" % me).splitlines())
    print(
        {k: st[k].strip() for k in ("Umask", "SigPnd", "ShdPnd", "SigBlk")},
        int(st["SigIgn"], 16) & 1,
        int(st["SigCgt"], 16) >> 11 & 1,
    )
    f = rd(sys, "/proc/self/stat")
    tail = f[f.rindex(")") + 2 :].split()
    print(
        len(tail),
        tail[0],
        int(tail[1]) == sys.getppid(),
        int(tail[2]) == sys.getpgrp(),
        int(tail[3]) == sys.getsid(),
        tail[17],
        tail[15],
        tail[16],
    )
    print(len(rd(sys, "/proc/self/statm").split()), rd(sys, "/proc/self/comm").endswith("\n"))
    # fds
    r, w = sys.pipe2()
    x = sys.open("/tmp", O_RDONLY)
    ef = sys.eventfd2(7)
    ep = sys.epoll_create1()
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, EPOLLIN, 5)
    tf = sys.timerfd_create(1)
    sg = sys.signalfd4(-1, [SIGUSR1])
    s = sys.socket(AF_UNIX, SOCK_STREAM)
    u = sys.open("/tmp/exd", O_CREAT | O_RDWR | O_APPEND, 0o600)
    sys.write(u, b"12345")
    sys.unlink("/tmp/exd")
    mf = sys.memfd_create("memo")
    import re

    print(
        [re.sub(r"\d+", "N", sys.readlink("/proc/self/fd/%d" % q)) for q in (r, w, x, ef, ep, tf, sg, s, u, mf)],
        [oct(sys.lstat("/proc/self/fd/%d" % q).st_mode) for q in (r, w, u)],
    )
    for q in (u, ef, tf, sg, x):
        print(
            [
                l
                for l in rd(sys, "/proc/self/fdinfo/%d" % q).splitlines()
                if not l.startswith(("mnt_id", "ino", "ticks", "clockid", "settime", "eventfd-id"))
            ]
        )
    print(
        sorted(n for n, _, _ in sys.getdents64(sys.open("/proc/self/task", O_RDONLY)))[2:] == [str(me)],
        e(sys.readlink, "/proc/self/fd/999"),
        e(sys.open, "/proc/self/fd/x", O_RDONLY),
        sys.readlink("/proc/self") == str(me),
        sys.readlink("/proc/self/cwd"),
        sys.readlink("/proc/self/root"),
        e(sys.unlink, "/proc/self/stat"),
        e(sys.mkdir, "/proc/x"),
        e(sys.open, "/proc/x", O_CREAT),
        e(sys.open, "/proc/self/stat", O_WRONLY),
        e(sys.rename, "/proc/self/stat", "/proc/self/y"),
        e(sys.stat, "/proc/999999"),
        oct(sys.stat("/proc/self/fd").st_mode),
        sys.stat("/proc/self").st_nlink > 1,
        sys.stat("/proc/self/stat").st_size,
    )
    k = sys.spawn(lambda sys: 3)
    sys.waitid(P_PID, k, WEXITED | WNOWAIT)
    z = rd(sys, "/proc/%d/stat" % k)
    print(
        "zombie",
        z[z.rindex(")") + 2],
        rd(sys, "/proc/%d/cmdline" % k) == "",
        e(sys.readlink, "/proc/%d/exe" % k),
        e(sys.readlink, "/proc/%d/cwd" % k),
        e(lambda: [n for n, _, _ in sys.getdents64(sys.open("/proc/%d/fd" % k, O_RDONLY))]),
        [l.split()[1] for l in rd(sys, "/proc/%d/status" % k).splitlines() if l.startswith("State")],
    )
    held = sys.open("/proc/%d/stat" % k, O_RDONLY)
    hd = sys.open("/proc/%d" % k, O_RDONLY)
    sys.wait4(k)
    print(e(sys.read, held, 10), e(sys.getdents64, hd))
    p = sys.spawn(lambda sys: sys.pause())
    sys.nanosleep(30 * MS)

    def def_(q):
        text = rd(sys, "/proc/%d/stat" % q)
        return text[text.rindex(")") + 2]

    a = def_(p)
    sys.kill(p, SIGSTOP)
    sys.wait4(p, WUNTRACED)
    b = def_(p)
    sys.kill(p, SIGKILL)
    sys.wait4(p)
    print("states", a, b)
    for q in (
        "/proc/loadavg",
        "/proc/uptime",
        "/proc/stat",
        "/proc/meminfo",
        "/proc/mounts",
        "/proc/version",
        "/proc/cpuinfo",
        "/proc/filesystems",
        "/proc/net/tcp",
        "/proc/net/udp",
        "/proc/net/dev",
        "/proc/net/route",
        "/proc/net/snmp",
        "/proc/net/arp",
        "/proc/net/tcp6",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/pid_max",
        "/proc/sys/fs/pipe-max-size",
        "/proc/sys/net/ipv4/tcp_sack",
        "/proc/self/limits",
        "/proc/self/mountinfo",
        "/proc/self/maps",
        "/proc/self/environ",
        "/proc/self/io",
        "/proc/self/oom_score",
        "/proc/self/wchan",
        "/proc/sys/kernel/ostype",
        "/proc/sys/fs/nr_open",
        "/proc/devices",
        "/proc/self/cgroup",
        "/proc/self/personality",
    ):
        t = e(rd, sys, q)
        print(q, t if len(t) < 9 and t[:1] == "E" else "there")
    print(
        len(rd(sys, "/proc/loadavg").split()),
        rd(sys, "/proc/stat").split()[0],
        [l.split()[0] for l in rd(sys, "/proc/stat").splitlines() if not l.startswith("cpu")],
        rd(sys, "/proc/net/tcp").splitlines()[0].split(),
        rd(sys, "/proc/net/dev").splitlines()[1].split("|")[0].strip(),
        rd(sys, "/proc/self/limits").splitlines()[0].split(),
        len(rd(sys, "/proc/self/limits").splitlines()),
        rd(sys, "/proc/net/route").split("\n")[0].split(),
    )
    l = sys.socket(AF_INET, SOCK_STREAM)
    sys.bind(l, ("127.0.0.1", 0))
    sys.listen(l, 7)
    port = sys.getsockname(l)[1]
    row = [x.split() for x in rd(sys, "/proc/net/tcp").splitlines()[1:] if x.split()[1].endswith(":%04X" % port)]
    print(row[0][1][:8], row[0][2], row[0][3], row[0][4], row[0][7], len(row[0]), 0)
    # devices
    z, n, fl, rn = (
        sys.open("/dev/zero", O_RDWR),
        sys.open("/dev/null", O_RDWR),
        sys.open("/dev/full", O_RDWR),
        sys.open("/dev/urandom", O_RDWR),
    )
    print(
        "dev",
        sys.read(z, 3),
        sys.write(z, b"abc"),
        sys.read(n, 3),
        sys.write(n, b"abc"),
        sys.read(fl, 2),
        e(sys.write, fl, b"x"),
        e(sys.write, fl, b""),
        len(sys.read(rn, 9)),
        sys.write(rn, b"seed"),
        [sys.fstat(q).st_rdev for q in (z, n, fl, rn)],
        e(sys.lseek, z, 100),
        e(sys.lseek, n, 5, SEEK_END),
        sys.pread64(z, 2, 1000),
        e(sys.ftruncate, n, 5),
        e(sys.open, "/dev/tty", O_RDWR),
        e(sys.open, "/dev/null", O_RDONLY | O_DIRECTORY),
        e(sys.open, "/dev/nope", O_CREAT | O_EXCL | O_RDWR) in (3,) or "made",
        e(sys.ioctl, n, FIONREAD),
        e(sys.fsync, n),
        e(sys.mmap, 0, 4096, PROT_READ, MAP_PRIVATE, n),
        sys.open("/dev/null", O_WRONLY | O_TRUNC | O_APPEND) > 0,
        e(sys.fallocate, n, 0, 0, 1),
        e(sys.open, "/dev/random", O_RDONLY) > 0,
        [sys.readlink("/dev/" + q) for q in ("fd", "stdin", "stdout", "stderr")],
    )
