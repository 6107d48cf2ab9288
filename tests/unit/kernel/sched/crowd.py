"""200 processes on 4 CPUs: they compute, sleep, talk through pipes, change their nice, spawn and kill.

Run as a script it writes every event of the scheduler and every system call to standard output: the same bytes each
time. `python crowd.py SEED POLICY`.
"""

from __future__ import annotations

import sys as host
from typing import Any

from drivers.clock import VirtualTimeline
from kernel.abi import SCHED_FIFO, SCHED_RR, SIGTERM
from kernel.machine import Machine

US = 1_000
MS = 1_000_000


class Text:
    """Every event, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def switch(self, cpu: int, before: Any, after: Any, reason: str, now: int) -> None:
        self.lines.append(f"{now} cpu{cpu} {before and before.tid} -> {after and after.tid} {reason}")

    def wakeup(self, waker: Any, task: Any, reason: str, now: int) -> None:
        self.lines.append(f"{now} {waker and waker.tid} wakes {task.tid} on {task.cpu.id} {reason}")

    def wait(self, task: Any, reason: str, now: int) -> None:
        self.lines.append(f"{now} {task.tid} waits {reason}")

    def migrate(self, task: Any, before: int, after: int, reason: str, now: int) -> None:
        self.lines.append(f"{now} {task.tid} {before} => {after} {reason}")

    def call_begins(self, task: Any, call: Any, args: tuple[Any, ...], now: int) -> None:
        self.lines.append(f"{now} {task.tid} {call.name}")

    def call_ends(self, task: Any, call: Any, args: tuple[Any, ...], result: Any, now: int) -> None:
        self.lines.append(f"{now} {task.tid} {call.name} ends {result if isinstance(result, int) else ''}")

    def signal(self, task: Any, info: Any, now: int) -> None:
        self.lines.append(f"{now} {task.tid} signal {info.si_signo}")

    def ended(self, task: Any, status: int, now: int) -> None:
        self.lines.append(f"{now} {task.tid} ended {status}")


def life(sys: Any, number: int, r: int, w: int) -> None:
    if number % 9 == 0:
        sys.setpriority(0, 0, number % 40 - 20)
    if number % 31 == 0:
        sys.sched_setscheduler(0, SCHED_RR if number % 2 else SCHED_FIFO, 1 + number % 7)
    if number % 11 == 0:
        sys.sched_setaffinity(0, [number % 4, (number + 1) % 4])
    for turn in range(4):
        draw = sys.getrandom(2)
        sys.cpu((200 + draw[0] * 3) * US)
        if draw[1] % 4 == 0:
            sys.nanosleep(draw[1] * 10 * US)
        elif draw[1] % 4 == 1:
            sys.write(w, b"x")
            sys.read(r, 1)
        elif draw[1] % 4 == 2:
            sys.sched_yield()
        for _ in range(draw[1]):
            pass
        if turn == 2 and draw[0] % 8 == 0:
            sys.wait4(sys.spawn(lambda sys: sys.cpu(100 * US)))


def main(sys: Any) -> None:
    pipes = [sys.pipe2() for _ in range(7)]
    children = [sys.spawn(life, number, *pipes[number % 7]) for number in range(200)]
    sys.nanosleep(3 * MS)
    for pid in children[::23]:
        sys.kill(pid, SIGTERM)
    while True:
        try:
            sys.wait4()
        except OSError:
            return


def trace(seed: int, policy: str) -> bytes:
    text = Text()
    with Machine("m", VirtualTimeline(seed), cpus=4, policy=policy) as machine:
        machine.trace.append(text)
        process = machine.spawn(main)
        assert machine.run(20_000 * MS, process)
        assert process.exit_status == 0, (process.exit_status, bytes(machine.console.output)[-800:])
    return "\n".join(text.lines).encode()


if __name__ == "__main__":
    host.stdout.buffer.write(trace(int(host.argv[1]), host.argv[2]))
