"""Tasks on different CPUs overlap: without a lock updates are lost, with one the CPUs wait, with many they do not."""

from __future__ import annotations

from typing import Any

from drivers.clock import VirtualTimeline
from kernel.abi import O_APPEND, O_CREAT, O_RDWR, SCHED_FIFO
from kernel.machine import Machine
from userland.locks import Mutex, load, store

MS = 1_000_000
WORKERS, TURNS, ACCOUNTS = 8, 40, 32


def worker(sys: Any, number: int, how: str, locks: list[Mutex], accounts: list[int]) -> None:
    for turn in range(TURNS):
        which = (number * number * 7 + turn * (number + 3) * 5) % ACCOUNTS
        lock = {"none": None, "big": locks[0], "split": locks[which]}[how]
        sys.cpu(4_000)
        if lock:
            lock.lock(sys)
        value = load(sys, accounts[which])
        sys.cpu(4_000)
        store(sys, accounts[which], value + 1)
        if lock:
            lock.unlock(sys)


def bank(sys: Any, how: str, log: list[int]) -> None:
    memory = Mutex(sys).addr
    locks = [Mutex(sys, memory + 64 * i) for i in range(ACCOUNTS)]
    accounts = [memory + 64 * i + 32 for i in range(ACCOUNTS)]
    began = sys.clock_gettime(1)
    for number in range(WORKERS):
        sys.spawn(worker, number, how, locks, accounts)
    for _ in range(WORKERS):
        sys.wait4()
    log += [sys.clock_gettime(1) - began, sum(load(sys, account) for account in accounts)]


def run(how: str, cpus: int) -> tuple[int, int]:
    """(virtual time, updates lost)."""
    log: list[int] = []
    with Machine("m", VirtualTimeline(1), cpus=cpus) as machine:
        assert machine.run(process=machine.spawn(bank, how, log))
    return log[0], WORKERS * TURNS - log[1]


def test_unlocked_updates_are_lost_and_locked_ones_are_not() -> None:
    assert run("none", 8)[1] > 5
    assert run("big", 8)[1] == 0
    assert run("split", 8)[1] == 0


def test_a_big_lock_saturates_and_split_locks_scale() -> None:
    big = [run("big", cpus)[0] for cpus in (1, 2, 4, 8)]
    split = [run("split", cpus)[0] for cpus in (1, 2, 4, 8)]
    # Half of the work is done under the lock: the second CPU helps, the others cannot.
    assert 1.3 < big[0] / big[1] < 2
    assert big[0] / big[3] < 2.1
    assert split[0] / split[1] > 1.7
    assert split[0] / split[2] > 3.2
    assert split[0] / split[3] > 5.5


def test_writers_of_one_file_wait_for_each_other() -> None:
    """The inode's lock of the kernel, held while bytes are copied."""

    def writer(sys: Any, number: int) -> None:
        fd = sys.open(f"/tmp/{number}", O_RDWR | O_CREAT | O_APPEND)
        for _ in range(30):
            sys.write(fd, bytes([number]) * 65536)

    def took(shared: bool) -> int:
        with Machine("m", VirtualTimeline(1), cpus=4) as machine:
            processes = [machine.spawn(writer, 0 if shared else number) for number in range(4)]
            assert machine.run()
            assert all(p.exit_status == 0 for p in processes)
            return machine.timeline.now

    one, four = took(True), took(False)
    assert one > 4 * 30 * (65536 * 64 >> 10)
    assert one / four > 3


def test_who_holds_an_inode_is_not_kept_from_letting_go() -> None:
    """A real-time writer waits for the lock of an ordinary one that three busy tasks would keep from running."""
    late: list[int] = []

    def ordinary(sys: Any) -> None:
        fd = sys.open("/tmp/f", O_RDWR | O_CREAT)
        sys.write(fd, bytes(1 << 20))

    def busy(sys: Any) -> None:
        sys.cpu(100 * MS)

    def urgent(sys: Any) -> None:
        fd = sys.open("/tmp/f", O_RDWR | O_CREAT)
        sys.nanosleep(40_000)
        began = sys.clock_gettime(1)
        sys.write(fd, b"now")
        late.append(sys.clock_gettime(1) - began)

    with Machine("m", VirtualTimeline(1)) as machine:
        for function, priority in ((ordinary, 0), (busy, 0), (busy, 0), (busy, 0), (urgent, 50)):
            task = machine.spawn(function).leader
            assert task is not None
            if priority:
                machine.scheduler.set_scheduler(task, SCHED_FIFO, rt_priority=priority)
        assert machine.run()
    assert late[0] < 200_000
