"""RLIMIT_FSIZE: SIGXFSZ and EFBIG. RLIMIT_CPU: SIGXCPU, then SIGKILL. Interval timers on CPU time."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    name = "/tmp/trl-limit-%d" % sys.getpid()

    def default(sys):
        sys.prlimit64(0, RLIMIT_FSIZE, (100, 100))
        fd = sys.open(name, O_CREAT | O_WRONLY, 0o644)
        print("up to the limit:", sys.write(fd, b"x" * 150), sys.lseek(fd, 0, SEEK_CUR))
        sys.write(fd, b"y")
        print("not reached")

    status = sys.wait4(sys.spawn(default))[1]
    print("SIGXFSZ:", status & 0x7F == SIGXFSZ, sys.stat(name).st_size)

    def caught(sys):
        seen = []
        sys.rt_sigaction(SIGXFSZ, lambda sys, n, info: seen.append(n))
        sys.prlimit64(0, RLIMIT_FSIZE, (100, 1000))
        fd = sys.open(name, O_CREAT | O_RDWR | O_TRUNC, 0o644)
        print("pwrite:", sys.pwrite64(fd, b"x" * 50, 80), err(sys.pwrite64, fd, b"x", 100), seen)
        print("truncate:", err(sys.ftruncate, fd, 101), sys.ftruncate(fd, 100), err(sys.truncate, name, 500), seen)
        print("fallocate:", err(sys.fallocate, fd, 0, 0, 200), seen)
        print("a pipe has no limit:", sys.write(sys.pipe2()[1], b"x" * 5000))
        sys.prlimit64(0, RLIMIT_FSIZE, (1000, 1000))
        print("raised:", sys.pwrite64(fd, b"x" * 50, 100), err(sys.prlimit64, 0, RLIMIT_FSIZE, (2000, 1000)))
        return 0

    print(sys.wait4(sys.spawn(caught))[1])

    def over(sys):
        sys.prlimit64(0, RLIMIT_CPU, (1, 10))
        while True:
            sys.cpu(50_000_000)

    status = sys.wait4(sys.spawn(over))
    print(
        "SIGXCPU:", status[1] & 0x7F == SIGXCPU, 900_000_000 < status[2].ru_utime + status[2].ru_stime < 9_000_000_000
    )

    def stubborn(sys):
        seen = []
        sys.rt_sigaction(SIGXCPU, lambda sys, n, info: (seen.append(n), sys.write(1, b"SIGXCPU\n")))
        sys.prlimit64(0, RLIMIT_CPU, (1, 2))
        while True:
            sys.cpu(20_000_000)

    print("then SIGKILL:", sys.wait4(sys.spawn(stubborn))[1] & 0x7F)

    def timers(sys):
        seen = []
        for signum in (SIGVTALRM, SIGPROF):
            sys.rt_sigaction(signum, lambda sys, n, info: seen.append((n, info.si_code)))
        sys.setitimer(ITIMER_VIRTUAL, 50_000_000, 0)
        sys.nanosleep(100_000_000)
        print("asleep it does not run:", seen, 40_000_000 < sys.getitimer(ITIMER_VIRTUAL)[0] <= 60_000_000)
        sys.cpu(150_000_000)
        while not seen:  # the host counts at its ticks, of which a busy one has fewer
            sys.cpu(10_000_000)
        print("virtual:", seen, sys.getitimer(ITIMER_VIRTUAL))
        seen.clear()
        sys.setitimer(ITIMER_PROF, 20_000_000, 20_000_000)
        for _ in range(12):
            sys.cpu(10_000_000)
        while len(seen) < 2:
            sys.cpu(10_000_000)
        sys.setitimer(ITIMER_PROF, 0)
        print("prof, again and again:", {n for n, _ in seen}, 2 <= len(seen) <= 7)
        return 0

    print(sys.wait4(sys.spawn(timers))[1])

    def real(sys):
        seen = []
        sys.rt_sigaction(SIGALRM, lambda sys, n, info: seen.append(n))
        print("none:", sys.setitimer(ITIMER_REAL, 10_000_000, 10_000_000), sys.alarm(0), sys.getitimer(ITIMER_REAL))
        sys.setitimer(ITIMER_REAL, 5_000_000, 10_000_000)
        while len(seen) < 4:
            err(sys.nanosleep, 1_000_000_000)
        print("periodic:", len(seen), sys.getitimer(ITIMER_REAL)[1])
        sys.alarm(3)
        left, interval = sys.getitimer(ITIMER_REAL)
        print("alarm replaces it:", 2_900_000_000 < left <= 3_000_000_000, interval, sys.alarm(0), sys.alarm(0))
        print("bad:", err(sys.setitimer, 3, 1, 0), err(sys.getitimer, 3))
        return 0

    print(sys.wait4(sys.spawn(real))[1])
    usage = sys.getrusage(RUSAGE_CHILDREN)
    print("children's time:", usage.ru_utime + usage.ru_stime > 2_900_000_000)
    sys.unlink(name)
