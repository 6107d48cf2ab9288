"""Memory: areas and their errors, copies and sharing, protection, files mapped, brk, mremap, madvise."""

from userland.abi import *


def err(call, *args, **kw):
    try:
        return call(*args, **kw)
    except OSError as error:
        return errno_name(error.errno)


RW = PROT_READ | PROT_WRITE
ANON = MAP_PRIVATE | MAP_ANONYMOUS


def dies(sys, action):
    """The signal that ends a child which does it, and what its handler is told."""
    return sys.wait4(sys.spawn(action))[1] & 0x7F


def main(sys, argv):
    a = sys.mmap(0, 3 * 4096, RW, ANON)
    print(a % 4096, sys.mem[a : a + 4], sys.mem[a + 3 * 4096 - 1])
    print(err(sys.mmap, 0, 0, RW, ANON), err(sys.mmap, 0, 4096, RW, MAP_ANONYMOUS), err(sys.mmap, 0, 4096, RW, MAP_PRIVATE, 99),
          err(sys.mmap, 1, 4096, RW, ANON | MAP_FIXED), err(sys.mmap, 0, 4096, RW, MAP_PRIVATE, 0, 5),
          err(sys.mmap, a, 4096, RW, ANON | MAP_FIXED_NOREPLACE), err(sys.mmap, 0, 1 << 60, RW, ANON))
    sys.mem[a : a + 5] = b"first"
    sys.mem[a + 4094 : a + 4098] = b"span"
    print(sys.mem[a + 4094 : a + 4098])
    print(sys.munmap(a + 4096, 4096), err(sys.munmap, a + 1, 4096), err(sys.munmap, a, 0), sys.munmap(a + 4096, 4096))
    print("hole:", dies(sys, lambda sys: sys.mem[a + 4096]), sys.mem[a : a + 5], sys.mem[a + 8192])
    print("protect:", sys.mprotect(a, 4096, PROT_READ), sys.mem[a], err(sys.mprotect, a, 8192, RW), err(sys.mprotect, a + 1, 1, RW),
          err(sys.mprotect, a + 4096, 4096, RW))

    def writes(sys):
        sys.mem[a] = 1

    def stores_readonly(sys):
        sys.mprotect(a, 4096, PROT_READ)
        sys.mem[a] = 1

    print(dies(sys, stores_readonly), sys.mprotect(a, 4096, RW), dies(sys, writes), sys.mem[a : a + 5])
    n = sys.mmap(0, 4096, PROT_NONE, ANON)
    print("none:", dies(sys, lambda sys: sys.mem[n]), dies(sys, lambda sys: sys.mem[0]))
    # copies
    s = sys.mmap(0, 4096, RW, MAP_SHARED | MAP_ANONYMOUS)
    sys.mem[s : s + 6] = b"shared"

    def child(sys):
        before = sys.mem[a : a + 5], sys.mem[s : s + 6]
        sys.mem[a : a + 5] = b"child"
        sys.mem[s : s + 6] = b"CHANGE"
        b = sys.mmap(0, 4096, RW, ANON)
        sys.mem[b] = 1
        return before == (b"first", b"shared")

    print("copy:", sys.wait4(sys.spawn(child))[1] >> 8, sys.mem[a : a + 5], sys.mem[s : s + 6])
    r, w = sys.pipe2()

    def late(sys):
        sys.read(r, 1)
        return sys.mem[a : a + 5] == b"first"

    pid = sys.spawn(late)
    sys.mem[a : a + 5] = b"later"
    sys.write(w, b"x")
    print("the other way:", sys.wait4(pid)[1] >> 8)
    # files
    name = "/tmp/trl-map-%d" % sys.getpid()
    fd = sys.open(name, O_RDWR | O_CREAT | O_TRUNC, 0o600)
    sys.write(fd, b"contents of the file")
    m = sys.mmap(0, 8192, RW, MAP_SHARED, fd)
    p = sys.mmap(0, 4096, RW, MAP_PRIVATE, fd)
    print(sys.mem[m : m + 8], sys.mem[m + 20 : m + 24], sys.mem[m + 4095])
    sys.mem[m : m + 8] = b"CONTENTS"
    sys.mem[p + 9 : p + 11] = b"OF"
    print(sys.pread64(fd, 100, 0), sys.mem[p : p + 12])
    sys.pwrite64(fd, b"written", 12)
    print(sys.mem[m + 8 : m + 20], sys.mem[p + 8 : p + 20])
    print("past the end:", dies(sys, lambda sys: sys.mem[m + 4096]), sys.fstat(fd).st_size)
    sys.ftruncate(fd, 4)
    print("truncated:", sys.mem[m : m + 8])
    sys.ftruncate(fd, 5000)
    print("grown:", sys.mem[m + 4 : m + 8], sys.mem[m + 4096])
    sys.close(fd)
    sys.unlink(name)
    sys.mem[m] = 90
    print("closed and unlinked:", sys.mem[m : m + 4], sys.msync(m, 4096, MS_SYNC), sys.munmap(m, 8192))
    ro = sys.open("/tmp/trl-ro", O_CREAT | O_RDONLY, 0o600)
    print(err(sys.mmap, 0, 4096, RW, MAP_SHARED, ro), err(sys.mmap, 0, 4096, RW, MAP_PRIVATE, ro) > 0,
          err(sys.mmap, 0, 4096, PROT_READ, MAP_SHARED, sys.pipe2()[0]),
          err(sys.mmap, 0, 4096, PROT_READ, MAP_PRIVATE, sys.open("/tmp/trl-ro", O_WRONLY)))
    shared_ro = sys.mmap(0, 4096, PROT_READ, MAP_SHARED, ro)
    print(err(sys.mprotect, shared_ro, 4096, RW))
    sys.unlink("/tmp/trl-ro")
    # brk
    start = sys.brk(0)
    print(sys.brk(start + 10000) - start, sys.mem[start + 9999])
    sys.mem[start : start + 3] = b"abc"
    sys.mem[start + 8192] = 7
    print(sys.brk(start + 4096) - start, dies(sys, lambda sys: sys.mem[start + 8192]), sys.brk(start + 10000) - start,
          sys.mem[start : start + 3], sys.mem[start + 8192], sys.brk(1) - start)
    # mremap
    q = sys.mmap(0, 8192, RW, ANON)
    sys.mem[q : q + 4] = b"move"
    sys.mem[q + 4096] = 5
    t = sys.mremap(q, 8192, 4 * 4096, MREMAP_MAYMOVE)
    print(sys.mem[t : t + 4], sys.mem[t + 4096], sys.mem[t + 3 * 4096], sys.mremap(t, 4 * 4096, 4096) == t,
          dies(sys, lambda sys: sys.mem[t + 4096]))
    room = sys.mmap(0, 4 * 4096, PROT_NONE, ANON)
    print(sys.mremap(t, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, room + 4096) == room + 4096, sys.mem[room + 4096 : room + 4100],
          err(sys.mremap, room, 4096, 4096, MREMAP_FIXED, t), err(sys.mremap, 4096, 4096, 8192, 1), err(sys.mremap, room + 1, 1, 1),
          err(sys.mremap, room, 4096, 0, 1))
    # madvise
    z = sys.mmap(0, 8192, RW, ANON)
    sys.mem[z] = sys.mem[z + 4096] = 9
    print(sys.madvise(z, 4096, MADV_DONTNEED), sys.mem[z], sys.mem[z + 4096], err(sys.madvise, z + 1, 4096, MADV_DONTNEED),
          err(sys.madvise, z, 4096, 77), sys.madvise(z, 8192, MADV_WILLNEED))
    print(sys.mincore(z, 8192)[1], err(sys.mincore, z + 1, 1), sys.mlock(z, 4096), sys.munlock(z, 4096))
    # a handler is told where
    told = []

    def handled(sys):
        def handler(sys, n, info):
            sys.write(1, b"%d %d %d\n" % (n, info.si_code, info.si_addr == n_page))
            sys.exit(3)
        n_page = n
        sys.rt_sigaction(SIGSEGV, handler)
        sys.kill(sys.getpid(), SIGSEGV)
    print(sys.wait4(sys.spawn(handled))[1] >> 8, told)
    print("blocked:", dies(sys, lambda sys: (sys.rt_sigprocmask(SIG_BLOCK, [SIGSEGV]), sys.mem[n])),
          dies(sys, lambda sys: (sys.rt_sigaction(SIGSEGV, SIG_IGN), sys.mem[n])))
    print("limits:", sys.wait4(sys.spawn(lambda sys: (sys.prlimit64(0, RLIMIT_AS, (1 << 20, 1 << 20)), err(sys.mmap, 0, 1 << 30, RW, ANON) == "ENOMEM")[1]))[1] >> 8)
