"""Locks of userland, on futexes, between processes."""

from userland.abi import *
from userland.locks import *
def main(sys, argv):
    mutex = Mutex(sys)
    counter = sys.mmap(0,4096,3,0x21)
    def worker(sys):
        for i in range(200):
            with mutex.held(sys):
                v = load(sys, counter); store(sys, counter, v+1)
    pids = [sys.spawn(worker) for _ in range(4)]
    for p in pids: print(sys.wait4(p)[1])
    print(load(sys, counter))
    c = Condition(sys, mutex); gate = counter+8
    def waits(sys):
        with mutex.held(sys):
            c.wait_for(sys, lambda: load(sys, gate) != 0)
    pids = [sys.spawn(waits) for _ in range(4)]
    sys.nanosleep(50_000_000)
    with mutex.held(sys):
        store(sys, gate, 1); c.notify_all(sys)
    for p in pids: print(sys.wait4(p)[1])
    r = RWLock(sys); b = Barrier(sys, 3); s = Semaphore(sys, 2); o = Once(sys)
    def w2(sys):
        o.call(sys, lambda: sys.fetch_add(counter+12, 1))
        for i in range(20):
            with r.reading(sys): pass
            with r.writing(sys): sys.fetch_add(counter+16, 1)
            s.acquire(sys); s.release(sys)
        b.wait(sys)
    pids = [sys.spawn(w2) for _ in range(3)]
    for p in pids: print(sys.wait4(p)[1])
    print(load(sys, counter+12), load(sys, counter+16), mutex.lock(sys), mutex.lock(sys, 10_000_000))
