"""sched(7), setpriority(2): values, limits, errors, and who may do what."""

from userland.abi import (
    PRIO_PGRP,
    PRIO_PROCESS,
    PRIO_USER,
    RLIMIT_NICE,
    RLIMIT_RTPRIO,
    SCHED_BATCH,
    SCHED_FIFO,
    SCHED_IDLE,
    SCHED_OTHER,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
)  # fmt: skip


def say(sys, text):
    sys.write(1, (text + "\n").encode())


def attempt(sys, name, *args):
    try:
        value = getattr(sys, name)(*args)
        say(sys, f"{name}{args} {getattr(value, 'sched_priority', value)}")
    except OSError as error:
        say(sys, f"{name}{args} errno {error.errno}")


def main(sys, argv):
    for policy in (0, 1, 2, 3, 5, 9):
        attempt(sys, "sched_get_priority_min", policy)
        attempt(sys, "sched_get_priority_max", policy)
    attempt(sys, "getpriority", PRIO_PROCESS, 0)
    attempt(sys, "getpriority", 7, 0)
    attempt(sys, "getpriority", PRIO_PROCESS, 4194303)
    attempt(sys, "setpriority", PRIO_PROCESS, 4194303, 0)
    attempt(sys, "sched_getscheduler", 0)
    attempt(sys, "sched_getscheduler", -1)
    attempt(sys, "sched_getscheduler", 4194303)
    for policy, priority in (
        (SCHED_OTHER, 1), (SCHED_FIFO, 0), (SCHED_FIFO, 100), (SCHED_RR, -1), (9, 0), (-1, 0), (SCHED_BATCH, 0),
        (SCHED_RR, 7), (SCHED_FIFO, 99), (SCHED_IDLE, 0), (SCHED_OTHER, 0),
    ):  # fmt: skip
        attempt(sys, "sched_setscheduler", 0, policy, priority)
        attempt(sys, "sched_getscheduler", 0)
        attempt(sys, "sched_getparam", 0)
    attempt(sys, "sched_setparam", 0, 5)
    attempt(sys, "sched_setscheduler", 0, SCHED_RR, 7)
    attempt(sys, "sched_rr_get_interval", 0)
    attempt(sys, "sched_setparam", 0, 9)
    attempt(sys, "sched_getparam", 0)
    attempt(sys, "sched_setscheduler", 0, SCHED_FIFO | SCHED_RESET_ON_FORK, 3)
    attempt(sys, "sched_rr_get_interval", 0)
    attempt(sys, "sched_getscheduler", 0)

    def child(sys):
        attempt(sys, "sched_getscheduler", 0)
        attempt(sys, "sched_getparam", 0)

    sys.wait4(sys.spawn(child))
    attempt(sys, "sched_setscheduler", 0, SCHED_OTHER, 0)
    attempt(sys, "setpriority", PRIO_PROCESS, 0, -30)
    attempt(sys, "getpriority", PRIO_PROCESS, 0)
    attempt(sys, "setpriority", PRIO_PROCESS, 0, 3)
    attempt(sys, "nice", 2)
    sys.prlimit64(0, RLIMIT_NICE, (0, 0))
    sys.prlimit64(0, RLIMIT_RTPRIO, (0, 0))

    def ordinary(sys):
        sys.setresuid(12345, 12345, 12345)
        attempt(sys, "getpriority", PRIO_USER, 12345)
        attempt(sys, "setpriority", PRIO_PROCESS, 0, 10)
        attempt(sys, "setpriority", PRIO_PROCESS, 0, 2)
        attempt(sys, "setpriority", PRIO_PROCESS, 0, 1)
        attempt(sys, "nice", -19)
        attempt(sys, "setpriority", PRIO_USER, 0, 12)
        attempt(sys, "getpriority", PRIO_USER, 0)
        attempt(sys, "sched_setscheduler", 0, SCHED_FIFO, 11)
        attempt(sys, "sched_setscheduler", 0, SCHED_FIFO, 10)
        attempt(sys, "sched_setscheduler", 0, SCHED_RR, 4)
        attempt(sys, "sched_setparam", 0, 11)
        attempt(sys, "sched_setscheduler", 0, SCHED_IDLE, 0)
        attempt(sys, "sched_setscheduler", 0, SCHED_OTHER, 0)
        attempt(sys, "sched_setscheduler", 0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0)
        attempt(sys, "sched_setscheduler", 0, SCHED_OTHER, 0)
        for name, args in (
            ("setpriority", (PRIO_PROCESS, parent, 19)), ("sched_setscheduler", (parent, SCHED_BATCH, 0)),
            ("sched_setaffinity", (parent, [0])),
        ):  # fmt: skip
            try:
                getattr(sys, name)(*args)
                say(sys, name + " allowed")
            except OSError as error:
                say(sys, f"{name} errno {error.errno}")

    parent = sys.getpid()
    sys.wait4(sys.spawn(ordinary))

    def group(sys):
        sys.setpgid(0, 0)
        attempt(sys, "setpriority", PRIO_PGRP, 0, 9)
        attempt(sys, "getpriority", PRIO_PGRP, 0)

    sys.wait4(sys.spawn(group))
    attempt(sys, "sched_setaffinity", 0, [])
    attempt(sys, "sched_setaffinity", 4194303, [0])
    attempt(sys, "sched_setaffinity", 0, [0])
    attempt(sys, "sched_getaffinity", 0)
    text = open_text(sys, "/proc/self/stat").rpartition(")")[2].split()
    say(sys, f"priority {text[15]} nice {text[16]} processor {text[36]} rt_priority {text[37]} policy {text[38]}")
    sys.sched_setscheduler(0, SCHED_RR, 40)
    text = open_text(sys, "/proc/self/stat").rpartition(")")[2].split()
    say(sys, f"priority {text[15]} nice {text[16]} rt_priority {text[37]} policy {text[38]}")
    say(sys, str(len(open_text(sys, "/proc/self/schedstat").split())))


def open_text(sys, path):
    fd = sys.open(path, 0)
    return sys.read(fd, 4096).decode()
