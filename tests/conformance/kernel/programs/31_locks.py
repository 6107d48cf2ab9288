"""Locks of userland, on futexes, between processes."""

from userland.abi import *
from userland.locks import Barrier, Condition, Mutex, Once, RWLock, Semaphore, load, store


def main(sys, argv):
    mutex = Mutex(sys)
    counter = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)

    def worker(sys):
        for _ in range(100):
            with mutex.held(sys):
                store(sys, counter, load(sys, counter) + 1)

    pids = [sys.spawn(worker) for _ in range(4)]
    print([sys.wait4(pid)[1] for pid in pids], load(sys, counter))
    noticed, gate = Condition(sys, mutex), counter + 8

    def waits(sys):
        with mutex.held(sys):
            noticed.wait_for(sys, lambda: load(sys, gate) != 0)

    pids = [sys.spawn(waits) for _ in range(4)]
    sys.nanosleep(50_000_000)
    with mutex.held(sys):
        store(sys, gate, 1)
        noticed.notify_all(sys)
    print([sys.wait4(pid)[1] for pid in pids])
    lock, barrier, places, once = RWLock(sys), Barrier(sys, 3), Semaphore(sys, 2), Once(sys)

    def together(sys):
        once.call(sys, lambda: sys.fetch_add(counter + 12, 1))
        for _ in range(10):
            with lock.reading(sys):
                load(sys, counter + 16)
            with lock.writing(sys):
                store(sys, counter + 16, load(sys, counter + 16) + 1)
            places.acquire(sys)
            places.release(sys)
        barrier.wait(sys)

    pids = [sys.spawn(together) for _ in range(3)]
    print([sys.wait4(pid)[1] for pid in pids], load(sys, counter + 12), load(sys, counter + 16))
    print(mutex.lock(sys), mutex.lock(sys, 10_000_000), mutex.try_lock(sys))
