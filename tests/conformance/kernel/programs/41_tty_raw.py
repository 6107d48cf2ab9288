"""Terminals without lines: VMIN and VTIME, polling, settings, sizes, flow control, packet mode, both sides of a pty."""

import struct

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def pair(sys, flags=0):
    m = sys.open("/dev/ptmx", O_RDWR | O_NOCTTY)
    name = "/dev/pts/%d" % sys.ioctl(m, TIOCGPTN)
    locked = err(sys.open, name, O_RDWR | O_NOCTTY)
    sys.ioctl(m, TIOCSPTLCK, 0)
    return m, sys.open(name, O_RDWR | O_NOCTTY | flags), name, locked


def change(sys, fd, least, time, off=ICANON | ECHO):
    flags = list(struct.unpack("=4IB19s", sys.ioctl(fd, TCGETS)))
    flags[3] &= ~off
    chars = bytearray(flags[5])
    chars[VMIN], chars[VTIME] = least, time
    flags[5] = bytes(chars)
    sys.ioctl(fd, TCSETS, struct.pack("=4IB19s", *flags))


def later(sys, m, *keys):
    """Types each of `keys` after a tenth of a second; waits for nothing."""

    def type_them(sys):
        for key in keys:
            sys.nanosleep(100_000_000)
            sys.write(m, key)

    return sys.spawn(type_them)


def timed(sys, name, s, n=100):
    before = sys.clock_gettime(CLOCK_MONOTONIC)
    data = err(sys.read, s, n)
    print(name, data, "after tenths:", (sys.clock_gettime(CLOCK_MONOTONIC) - before + 20_000_000) // 100_000_000)


def settled(sys, m, s):
    while True:
        sys.ppoll([(s, POLLIN)], 0)
        if not sys.ppoll([(m, POLLIN)], 20_000_000):
            return


def main(sys, argv):
    m, s, name, locked = pair(sys)
    print("locked", locked, sys.ioctl(m, TIOCGPTN) == int(name[9:]))
    t = struct.unpack("=4IB19s", sys.ioctl(s, TCGETS))
    print("new", [oct(w) for w in t[:4]], t[4], list(t[5]))
    print("seen from the master", sys.ioctl(m, TCGETS) == sys.ioctl(s, TCGETS))
    st = sys.fstat(s)
    print("device", oct(st.st_mode & S_IFMT), st.st_rdev >> 8 == 136, oct(sys.fstat(m).st_rdev))

    change(sys, s, 1, 0)
    print("settled raw", struct.unpack("=4IB19s", sys.ioctl(m, TCGETS))[3] & ICANON)
    later(sys, m, b"a", b"b")
    timed(sys, "min 1", s)
    timed(sys, "min 1", s)
    sys.wait4()
    change(sys, s, 3, 0)
    later(sys, m, b"a", b"bcd")
    timed(sys, "min 3", s)
    sys.wait4()
    later(sys, m, b"ab")
    timed(sys, "min 3 of 2", s, 2)
    sys.wait4()
    change(sys, s, 0, 0)
    timed(sys, "poll", s)
    sys.write(m, b"xy")
    settled(sys, m, s)
    timed(sys, "poll", s)
    change(sys, s, 0, 3)
    timed(sys, "time 3", s)
    later(sys, m, b"a")
    timed(sys, "time 3", s)
    sys.wait4()
    change(sys, s, 3, 2)
    later(sys, m, b"a", b"b")
    timed(sys, "min 3 time 2", s)
    sys.wait4()
    later(sys, m, b"a", b"bcd")
    timed(sys, "min 3 time 2", s)
    sys.wait4()

    change(sys, s, 3, 0)
    sys.write(m, b"ab")
    settled(sys, m, s)
    print("poll below min", sys.ppoll([(s, POLLIN | POLLOUT)], 0) == [(s, POLLOUT)], sys.ioctl(s, FIONREAD))
    sys.write(m, b"c")
    settled(sys, m, s)
    print("poll at min", sys.ppoll([(s, POLLIN)], 0) == [(s, POLLIN)], sys.read(s, 10))
    sys.fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK)
    print("nothing", err(sys.read, s, 10), err(sys.read, s, 0))
    sys.fcntl(s, F_SETFL, O_RDWR)

    print("size", sys.ioctl(s, TIOCGWINSZ), sys.ioctl(m, TIOCSWINSZ, struct.pack("=4H", 24, 80, 1, 2)))
    print("size", struct.unpack("=4H", sys.ioctl(s, TIOCGWINSZ)), struct.unpack("=4H", sys.ioctl(m, TIOCGWINSZ)))

    sys.write(s, b"out\n")
    sys.ppoll([(m, POLLIN)])
    print("master reads", sys.read(m, 100), sys.ioctl(m, FIONREAD), sys.ioctl(s, TIOCOUTQ))
    sys.ioctl(s, TCXONC, 0)
    sys.fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK)
    print("stopped", err(sys.write, s, b"x"), sys.ppoll([(s, POLLOUT)], 0))
    sys.ioctl(s, TCXONC, 1)
    print("started", err(sys.write, s, b"x"), sys.ppoll([(m, POLLIN)]) and sys.read(m, 100))
    print("bad", err(sys.ioctl, s, TCXONC, 9), err(sys.ioctl, s, TCFLSH, 9), err(sys.ioctl, s, 0x5499))
    print("not one", err(sys.ioctl, sys.pipe2(0)[0], TCGETS), err(sys.ioctl, sys.pipe2(0)[0], TIOCGWINSZ))

    sys.ioctl(m, TIOCPKT, 1)
    sys.write(s, b"packet")
    sys.ppoll([(m, POLLIN)])
    print("packet", sys.read(m, 100))
    sys.ioctl(s, TCXONC, 0)
    print("packet", sys.ppoll([(m, POLLIN | POLLPRI)]) == [(m, POLLIN | POLLPRI)], sys.read(m, 100))
    sys.ioctl(s, TCXONC, 1)
    print("packet", sys.read(m, 100))
    sys.ioctl(m, TIOCPKT, 0)

    sys.fcntl(m, F_SETFL, O_RDWR | O_NONBLOCK)
    total = 0
    while True:
        sent = err(sys.write, m, b"z" * 1000)
        if not isinstance(sent, int):
            break
        total += sent
        if total > 1 << 20:
            break
    print("full", sent, 10_000 < total < 30_000)
    left, data = total, b""
    sys.fcntl(s, F_SETFL, O_RDWR)
    change(sys, s, 1, 0)
    most = 0
    while left:
        data = sys.read(s, 65536)
        most = max(most, len(data))
        left -= len(data)
    print("all of it came", left, most <= 4096)

    print("excl", sys.ioctl(s, TIOCEXCL), sys.ioctl(s, TIOCNXCL))
    m2, s2, name2, _ = pair(sys)
    print("another", name2 != name)
    sys.close(s2)
    print("closed slave", sys.ppoll([(m2, POLLIN | POLLOUT)], 0)[0][1] & POLLHUP, err(sys.read, m2, 10))
    s2 = sys.open(name2, O_RDWR | O_NOCTTY)
    sys.write(s2, b"again")
    print("opened again", sys.ppoll([(m2, POLLIN)]) == [(m2, POLLIN)], sys.read(m2, 10))
    sys.write(s2, b"last words")
    sys.close(s2)
    print("closed slave", sys.read(m2, 100), err(sys.read, m2, 10))
    s2 = sys.open(name2, O_RDWR | O_NOCTTY)
    sys.close(m2)
    print("closed master", sys.read(s2, 10), err(sys.write, s2, b"x"), err(sys.ioctl, s2, TCGETS))
    print("closed master", sys.ppoll([(s2, POLLIN | POLLOUT)], 0)[0][1], err(sys.open, name2, O_RDWR))
    m3 = sys.open("/dev/ptmx", O_RDWR | O_NOCTTY)
    sys.fcntl(m3, F_SETFL, O_RDWR | O_NONBLOCK)
    print("nobody yet", err(sys.read, m3, 10), sys.ppoll([(m3, POLLIN)], 0), err(sys.write, m3, b"early\n"))
    sys.ioctl(m3, TIOCSPTLCK, 0)
    s3 = sys.open("/dev/pts/%d" % sys.ioctl(m3, TIOCGPTN), O_RDWR | O_NOCTTY)
    print("early", sys.read(s3, 100))
    sys.close(s3)
    print("write to nobody", err(sys.write, m3, b"late\n"))
    print("ENXIO or so:", err(sys.open, "/dev/pts/99", O_RDWR), err(sys.open, "/dev/pts/x", O_RDWR))
