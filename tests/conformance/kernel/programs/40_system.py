"""uname, sysinfo, times, limits and clocks under their older names, personality, kcmp, getcpu."""

from userland.abi import *


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    name = sys.uname()
    print(name.sysname, len(name), name[0] == name.sysname, name.release.split(".")[0])
    info = sys.sysinfo()
    print(info.uptime >= 0, len(info.loads), info.totalram >= info.freeram > 0, info.mem_unit, info.procs > 0)
    t = sys.times()
    print(len(t), all(isinstance(n, int) for n in t), t[4] > -1)
    print(sys.getrlimit(RLIMIT_NOFILE) == sys.prlimit64(0, RLIMIT_NOFILE), err(sys.getrlimit, 16), err(sys.getrlimit, -1))
    print(sys.setrlimit(RLIMIT_CORE, (0, 0)), sys.getrlimit(RLIMIT_CORE), err(sys.setrlimit, RLIMIT_NOFILE, (5, 4)))
    print(abs(sys.gettimeofday() - sys.clock_gettime(CLOCK_REALTIME)) < 50_000_000, sys.gettimeofday() % 1000)
    for clock in (0, 1, 2, 3, 4, 7, 11):
        print(clock, sys.clock_getres(clock) == 1, sys.clock_gettime(clock) >= 0)
    print(err(sys.clock_gettime, 99), err(sys.clock_getres, 99), err(sys.clock_gettime, -100))
    print(err(sys.clock_settime, CLOCK_MONOTONIC, 5), err(sys.clock_settime, 99, 5))

    def user(sys):
        sys.setuid(1000)
        print(err(sys.clock_settime, CLOCK_REALTIME, sys.clock_gettime(CLOCK_REALTIME)), err(sys.sethostname, "x"))
        print(err(sys.setdomainname, "x"), err(sys.settimeofday, 10**18), err(sys.prlimit64, 1, RLIMIT_NOFILE))
        print(err(sys.setrlimit, RLIMIT_CORE, (1, 1)))

    sys.wait4(sys.spawn(user))
    print(err(sys.sethostname, "x" * 65))
    print(sys.personality(0xFFFFFFFF), sys.getcpu() >= 0)
    me = sys.getpid()
    fd = sys.dup(0)
    print("kcmp:", sys.kcmp(me, me, 0, 0, fd), sys.kcmp(me, me, 0, 0, sys.pipe2()[0]) in (1, 2), sys.kcmp(me, me, 1),
          err(sys.kcmp, me, me, 0, 0, 999), err(sys.kcmp, me, 999999, 0, 0, 0), err(sys.kcmp, me, me, 99, 0, 0))
    print(err(sys.unshare, CLONE_FILES), err(sys.unshare, 1), sys.unshare(CLONE_FS))
    r = sys.getrusage(RUSAGE_SELF)
    print(r.ru_utime >= 0, r.ru_nvcsw >= 0, err(sys.getrusage, 5), sys.getrusage(RUSAGE_THREAD).ru_stime >= 0)

    def spends(sys):
        sys.cpu(60_000_000)

    sys.wait4(sys.spawn(spends))
    spent = sys.getrusage(RUSAGE_CHILDREN)
    print(spent.ru_utime + spent.ru_stime >= 60_000_000, sum(sys.times()[2:4]) >= 5)
