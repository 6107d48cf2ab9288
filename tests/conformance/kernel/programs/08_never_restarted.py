"""Calls that give EINTR even under SA_RESTART, and what is left of a sleep."""

from userland.abi import *


def main(sys, argv):
    me = sys.getpid()
    ran = []
    sys.rt_sigaction(SIGUSR1, lambda sys, n, info: ran.append(n), SA_RESTART)
    r, w = sys.pipe2()
    ep = sys.epoll_create1()
    sys.epoll_ctl(ep, EPOLL_CTL_ADD, r, EPOLLIN, 1)

    def poke(sys, delay=20_000_000):
        sys.nanosleep(delay)
        sys.kill(me, SIGUSR1)

    def case(what, call):
        ran.clear()
        pid = sys.spawn(poke)
        try:
            got = call()
        except OSError as error:
            got = errno_name(error.errno)
            left = getattr(error, "remaining_ns", None)
            if left is not None:
                got += " with most left" if 800_000_000 < left < 990_000_000 else " left %d" % left
        sys.wait4(pid)
        print(what, got, ran)

    case("nanosleep", lambda: sys.nanosleep(1_000_000_000))
    case("clock_nanosleep", lambda: sys.clock_nanosleep(CLOCK_MONOTONIC, 0, 1_000_000_000))
    until = sys.clock_gettime(CLOCK_MONOTONIC) + 1_000_000_000
    case("clock_nanosleep absolute", lambda: bool(sys.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until)))
    case("ppoll", lambda: sys.ppoll([(r, POLLIN)]))
    case("ppoll timeout", lambda: sys.ppoll([(r, POLLIN)], 1_000_000_000))
    case("poll", lambda: sys.poll([(r, POLLIN)], 1000))
    case("pselect6", lambda: sys.pselect6(r + 1, [r], [], [], None))
    case("epoll_pwait", lambda: sys.epoll_pwait(ep, 4, -1))
    case("pause", sys.pause)
    case("rt_sigsuspend", sys.rt_sigsuspend)
    case("rt_sigtimedwait", lambda: sys.rt_sigtimedwait([SIGUSR2], 1_000_000_000))

    # a stop in the middle: nanosleep goes on and ends in time
    def sleeper(sys):
        start = sys.clock_gettime(CLOCK_MONOTONIC)
        sys.nanosleep(100_000_000)
        took = sys.clock_gettime(CLOCK_MONOTONIC) - start
        print("slept", "100 ms" if 99_000_000 < took < 150_000_000 else took)

    pid = sys.spawn(sleeper)
    sys.nanosleep(20_000_000)
    sys.kill(pid, SIGSTOP)
    sys.nanosleep(20_000_000)
    sys.kill(pid, SIGCONT)
    print(sys.wait4(pid)[1])

    # poll with a stop in the middle
    def poller(sys):
        print("poll:", sys.ppoll([(r, POLLIN)], 100_000_000))

    pid = sys.spawn(poller)
    sys.nanosleep(10_000_000)
    sys.kill(pid, SIGSTOP)
    sys.nanosleep(10_000_000)
    sys.kill(pid, SIGCONT)
    print(sys.wait4(pid)[1])

    def epoller(sys):
        try:
            print("epoll:", sys.epoll_pwait(ep, 4, 100))
        except OSError as error:
            print("epoll after stop and continue:", errno_name(error.errno))

    pid = sys.spawn(epoller)
    sys.nanosleep(10_000_000)
    sys.kill(pid, SIGSTOP)
    sys.nanosleep(10_000_000)
    sys.kill(pid, SIGCONT)
    print(sys.wait4(pid)[1])

    for bad in (-1, -1_000_000_000):
        try:
            sys.nanosleep(bad)
        except OSError as error:
            print("nanosleep", bad, errno_name(error.errno))
