"""Programs made at random from a seed: every system call, with values that fit, nearly fit, and do not fit at all.

`campaign(seed)` runs one machine full of them and says what was wrong. A failure is replayed with its seed:

    python -m tests.property.kernel.fuzzer 1234
"""

from __future__ import annotations

import random
import sys as interpreter
from collections.abc import Callable
from typing import Any

from drivers.clock import VirtualTimeline
from drivers.disk.drive import HDD, SSD
from drivers.disk.faulty import FaultyDisk
from drivers.disk.ram import RamDisk
from kernel import abi
from kernel.machine import Machine
from kernel.strace import Strace
from kernel.syscall.table import BY_NAME, PYTHON
from kernel.task import Killed

MS = 1_000_000
MEMORY = 2048
"""Frames of a machine: 8 MiB."""
NAMES = sorted((PYTHON.keys() | BY_NAME.keys()) - {"fork", "cas", "fetch_add"})
"""cas and fetch_add are instructions, not calls: what is no address is a TypeError there, as for `sys.mem`."""
LEAVES = {"exit", "exit_group", "exit_thread", "execve", "execveat", "pause", "vfork", "reboot"}
"""Called rarely: they end the program, or it sleeps."""
WILD: tuple[Any, ...] = (
    -1, 0, 1, 2, 3, 7, 255, 256, 4095, 4096, 4097, 65535, 65536, 0x7FFFFFFF, 1 << 31, 0xFFFFFFFF, 1 << 32, 1 << 40,
    (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 31), -(1 << 63), 1 << 200, None, True, 3.5, float("nan"), "",
    "\0", "a" * 300, "x/" * 3000, b"", b"\xff" * 10, bytearray(5), memoryview(b"abc"), [], {}, (), (1, 2), [(0, 1)],
    [(1, 2, 3)], {1, 2}, object, lambda *a: None, Ellipsis, 1j, [None], [b"x", 5], ["a", "b"], {"A": "1"}, range(3),
)  # fmt: skip
PATHS = (
    "/", ".", "..", "/tmp", "/tmp/a", "/tmp/a/b", "/tmp/f", "/tmp/g", "/tmp/link", "/dev/null", "/dev/zero",
    "/dev/full", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/proc/self/stat", "/proc/self/fd/0", "/proc/self/mem",
    "/proc/1/status", "/proc/sys/kernel/hostname", "/proc/self/task", "/tmp/fifo", "/tmp/sock", b"/tmp/\xff",
    "/dev/vda",
)  # fmt: skip
FLAGS = (
    abi.O_RDWR | abi.O_CREAT, abi.O_RDONLY, abi.O_WRONLY | abi.O_APPEND, abi.O_NONBLOCK, abi.O_PATH, abi.O_DIRECTORY,
    abi.O_RDWR | abi.O_DIRECT | abi.O_EXCL, abi.O_RDWR | abi.O_SYNC, abi.O_CREAT | abi.O_EXCL | abi.O_RDWR,
    abi.O_TMPFILE | abi.O_RDWR, abi.O_CLOEXEC, 0x80000,
)  # fmt: skip


class Fuzzer:
    """One program's choices."""

    def __init__(self, seed: int, wrong: list[str], steps: int) -> None:
        self.rng = random.Random(seed)
        self.wrong = wrong
        self.steps = steps
        self.places: list[int] = [0x1000]

    def value(self) -> Any:
        pick = self.rng.random()
        if pick < 0.35:
            return self.rng.randrange(-2, 14)
        if pick < 0.55:
            return self.rng.choice(PATHS)
        if pick < 0.65:
            return self.rng.choice(FLAGS)
        if pick < 0.75:
            return self.rng.choice(self.places) + self.rng.choice((0, 0, 4, 8, 4096, 3))
        if pick < 0.8:
            return self.rng.choice([("10.0.0.1", 80), ("127.0.0.1", 0), ("::1", 1, 0, 0), "/tmp/sock", ("x", "y")])
        if pick < 0.85:
            return self.rng.choice([b"data", b"x" * 5000, [b"a", b"b"], [10, 20]])
        if pick < 0.9:
            return self.handler
        return self.rng.choice(WILD)

    def handler(self, sys: Any, *args: Any) -> None:
        """A signal handler, or the body of a thread or child: makes a few calls of its own."""
        for _ in range(self.rng.randrange(3)):
            self.call(sys)

    def call(self, sys: Any) -> None:
        rng = self.rng
        name = rng.choice(NAMES)
        if name in LEAVES and rng.random() < 0.97:
            return
        args = [self.value() for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5, 6)))]
        if name == "cpu":
            args = [rng.randrange(MS)]
        if name in ("spawn", "clone", "vfork"):
            args = [self.handler]
        more = {"flags": rng.choice((17, 0x100 | 17, 0x50F00, 0x4111, 0x400, 0x1000 | 17, -1, 1 << 40, 0x7E020000))}
        kw: dict[str, Any] = more if name == "clone" else {}
        try:
            sys.alarm(1)
            result = getattr(sys, name)(*args, **kw)
            if name == "mmap":
                self.places.append(result)
        except OSError as error:
            if error.errno is None:
                self.wrong.append(f"{name}{args}: {error!r} has no errno")
        except TypeError as error:
            # Python's own: the wrong number of arguments. Anything else is a mistake of the kernel.
            if "argument" not in str(error) or "()" not in str(error):
                self.wrong.append(f"{name}{args}: {error!r}")
        except (Killed, MemoryError):
            raise
        except Exception as error:
            self.wrong.append(f"{name}{args}: {error!r}")

    def program(self, sys: Any) -> int:
        for _ in range(self.steps):
            self.call(sys)
            if self.rng.random() < 0.05:
                self.touch(sys)
        return 0

    def touch(self, sys: Any) -> None:
        """A load or store, wild now and then: SIGSEGV ends the program."""
        place = self.rng.choice(self.places)
        if place != 0x1000 or self.rng.random() < 0.1:
            sys.mem[place] = sys.mem[place + 1]
            sys.fetch_add(place, 1)


# ---- those that ask for too much ----


def bomb(sys: Any) -> None:
    """Spawns for ever."""
    while True:
        try:
            sys.spawn(bomb)
        except OSError as error:
            if error.errno != abi.EAGAIN:
                raise
            sys.sched_yield()


def filler(sys: Any) -> None:
    """Fills /tmp until ENOSPC, and again."""
    while True:
        fd = sys.open(f"/tmp/fill{sys.getpid()}", abi.O_CREAT | abi.O_WRONLY, 0o600)
        try:
            while True:
                sys.write(fd, b"x" * 65536)
        except OSError as error:
            if error.errno not in (abi.ENOSPC, abi.EFBIG):
                raise
        sys.close(fd)
        sys.unlink(f"/tmp/fill{sys.getpid()}")


def stubborn(sys: Any) -> None:
    """Catches everything, and never gives the CPU away."""
    for n in range(1, 65):
        try:
            sys.rt_sigaction(n, lambda *a: None)
        except OSError:
            continue
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue


def memory_hog(sys: Any) -> None:
    """Touches memory until there is none."""
    while True:
        at = sys.mmap(0, 1 << 20, 3, 0x22)
        for page in range(256):
            sys.mem[at + 4096 * page] = 1


def signal_storm(sys: Any) -> None:
    """Real-time signals to itself, blocked, for ever."""
    sys.rt_sigprocmask(0, [40])
    while True:
        try:
            sys.rt_sigqueueinfo(sys.getpid(), 40, 1)
        except OSError as error:
            if error.errno != abi.EAGAIN:
                raise
            sys.sched_yield()


def descriptor_hog(sys: Any) -> None:
    """Pipes until EMFILE, all filled."""
    while True:
        try:
            sys.write(sys.pipe2(abi.O_NONBLOCK)[1], b"x" * 65536)
        except OSError as error:
            if error.errno not in (abi.EMFILE, abi.ENFILE, abi.EAGAIN):
                raise
            sys.nanosleep(MS)


GREEDY: tuple[Callable[[Any], None], ...] = (bomb, filler, stubborn, memory_hog, signal_storm, descriptor_hog)
TURNS = 5


def campaign(seed: int, steps: int = 60) -> list[str]:
    """Run one machine; what was wrong, [] for nothing."""
    rng = random.Random(seed)
    wrong: list[str] = []
    beats: list[int] = []

    def as_user(sys: Any, function: Callable[[Any], Any]) -> Any:
        """In the name of a user, who may have so many processes."""
        sys.prlimit64(0, abi.RLIMIT_NPROC, (20, 20))
        sys.setresgid(1000, 1000, 1000)
        sys.setresuid(1000, 1000, 1000)
        return function(sys)

    def witness(sys: Any) -> int:
        """Does a little, sleeps a little: it must go on while the others rage."""
        for _ in range(TURNS):
            sys.nanosleep(MS)
            sys.cpu(MS // 10)
            beats.append(sys.clock_gettime(1))
        return 7

    cpus = rng.choice((1, 1, 2, 4))
    with Machine("m", VirtualTimeline(seed), cpus=cpus, memory=MEMORY) as machine:
        if rng.random() < 0.5:
            disk = FaultyDisk(RamDisk(300), machine.timeline.stream("disk"))
            disk.fail(rng.randrange(280), rng.randrange(1, 20), read=rng.random() < 0.5, times=rng.choice((None, 3)))
            drive, scheduler = rng.choice((SSD, HDD, None)), rng.choice(("none", "deadline"))
            machine.attach_disk(disk, drive=drive, scheduler=scheduler, depth=rng.choice((1, 32)))
        if rng.random() < 0.3:
            machine.trace.append(Strace(lambda text: None, follow=rng.random() < 0.5, durations=True))
        for i in range(rng.randrange(1, 4)):
            fuzzer = Fuzzer(seed * 31 + i, wrong, steps)
            if rng.random() < 0.4:
                machine.spawn(fuzzer.program, name="fuzz")
            else:
                machine.spawn(as_user, fuzzer.program, name="fuzz")
        greedy = rng.sample(GREEDY, rng.choice((0, 0, 1, 1, 2)))
        for function in greedy:
            machine.spawn(as_user, function, name=function.__name__)
        other = machine.spawn(witness)
        machine.run(until=1_500 * MS if greedy else 5_000 * MS, process=other)
        if other.exit_status is None:
            # A fuzzer that runs as root may have stopped it or moved it about; nobody else may.
            fuzzers = [g for g in machine.processes.groups.values() if g.leader and g.leader.comm == "fuzz"]
            if not other.stopped and not fuzzers:
                wrong.append(f"the witness got {len(beats)} turns of {TURNS} beside {[g.__name__ for g in greedy]}")
        elif other.exit_status != 7 << 8 and not other.exit_status & 0x7F:
            wrong.append(f"the witness ended with {other.exit_status:#x}")
        still = machine.spawn(lambda sys: 5)
        if not machine.run(until=machine.timeline.now + 1_500 * MS, process=still) and not wrong:
            wrong.append("a new process does not end any more")
    return wrong


def main() -> int:
    wrong = campaign(int(interpreter.argv[1]))
    print("\n".join(wrong) or "nothing was wrong")
    return bool(wrong)


if __name__ == "__main__":
    interpreter.exit(main())
