"""The line discipline flag by flag: editing, echo, mapping of characters, VMIN and VTIME, packets, both ends' closing."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    m = sys.open("/dev/ptmx", O_RDWR | O_NOCTTY)
    sys.ioctl(m, TIOCSPTLCK, 0)
    n = sys.ioctl(m, TIOCGPTN)
    s = sys.open("/dev/pts/%d" % n, O_RDWR | O_NOCTTY)

    def get():
        return bytearray(sys.ioctl(s, TCGETS))

    def flags(t):
        return struct.unpack_from("IIII", bytes(t))

    def setf(**kw):
        t = get()
        i, o, c, l = flags(t)
        i = kw.get("i", i)
        o = kw.get("o", o)
        l = kw.get("l", l)
        struct.pack_into("IIII", t, 0, i, o, c, l)
        for k, v in kw.get("cc", {}).items():
            t[17 + k] = v
        sys.ioctl(s, TCSETS, bytes(t))

    ICANON, ECHO, ECHOE, ECHOK, ISIG, IEXTEN, ECHOCTL, ECHOKE, ECHONL, NOFLSH, TOSTOP, ECHOPRT = (
        2,
        8,
        0x10,
        0x20,
        1,
        0x8000,
        0x200,
        0x800,
        0x40,
        0x80,
        0x100,
        0x400,
    )
    VEOF, VEOL, VERASE, VMIN, VTIME, VEOL2, VWERASE, VREPRINT, VLNEXT, VKILL = 4, 11, 2, 6, 5, 16, 14, 12, 15, 3
    base = flags(get())
    print([oct(x) for x in base], bytes(get())[17:].hex())

    def echo():
        out = b""
        while sys.ppoll([(m, POLLIN)], 25 * MS):
            out += sys.read(m, 1000)
        return out

    def rd(k=100):
        return sys.read(s, k) if sys.ppoll([(s, POLLIN)], 25 * MS) else "-"

    def T(x, k=100):
        sys.write(m, x)
        r = rd(k)
        return r, echo()

    sys.fcntl(s, F_SETFL, 0)
    for x in (
        b"abc\n",
        b"ab\x7fc\n",
        b"one two\x17three\n",
        b"junk\x15new\n",
        b"a\tb\x7f\x7fc\n",
        b"\x01\x02\x7f\n",
        b"\xc3\xa9\x7fx\n",
        b"q\x16\x03z\n",
        b"a\x12b\n",
        b"x\x04y\n",
        b"\x04",
        b"\x04\x04",
        b"r\rs\n",
        b"\x80\xff\n",
        b"a\x00b\n",
        b"\x7f\x15\x17\n",
        b"a b  \x17\x17c\n",
        b"a/b-c\x17d\n",
    ):
        r = T(x)
        more = rd()
        print(x, r, more, echo())
    setf(cc={VEOL: ord("."), VEOL2: ord(",")})
    print("eol", T(b"a.b,c\n"), rd(), rd())
    setf(cc={VEOL: 0, VEOL2: 0})
    setf(l=base[3] & ~ECHO)
    print("no echo", T(b"x\x03y\n"), T(b"hid\n"))
    setf(l=base[3] & ~ECHO | ECHONL)
    print("echonl", T(b"hid\n"))
    setf(l=base[3] & ~ECHOCTL)
    print("noctl", T(b"\x01\x7fz\n"))
    setf(l=base[3] & ~ECHOE)
    print("no echoe", T(b"ab\x7fc\n"))
    setf(l=base[3] & ~ECHOE | ECHOPRT)
    print("echoprt", T(b"abc\x7f\x7fd\n"))
    setf(l=base[3] & ~ECHOKE)
    print("no echoke", T(b"ab\x15c\n"))
    setf(l=base[3] & ~(ECHOKE | ECHOK))
    print("nor echok", T(b"ab\x15c\n"))
    setf(l=base[3] & ~IEXTEN)
    print("no iexten", T(b"a\x16b\x17\x12\n"))
    setf(l=base[3] & ~ISIG)
    print("no isig", T(b"a\x03\x1a\x1c\n"))
    setf(l=base[3])
    for i, name in (
        (0, "none"),
        (0o400, "icrnl"),
        (0o200, "igncr"),
        (0o100, "inlcr"),
        (0o300, "inlcr igncr"),
        (0o40, "istrip"),
        (0o1000 | 0o400, "iuclc"),
    ):
        setf(i=i)
        print(name, T(b"a\rb\nC\xe1\r\n"), rd(), rd())
    setf(i=base[0])
    for o, name in (
        (0, "none"),
        (1, "opost"),
        (1 | 4, "onlcr"),
        (1 | 8, "ocrnl"),
        (1 | 0x10, "onocr"),
        (1 | 0x20, "onlret"),
        (1 | 2, "olcuc"),
        (1 | 4 | 0x1800, "xtabs"),
    ):
        setf(o=o)
        sys.write(s, b"\ra\tbC\r\nd\n\r")
        print(name, echo())
    setf(o=base[1])
    # raw: VMIN VTIME
    setf(l=0)
    for vmin, vtime in ((0, 0), (1, 0), (3, 0), (0, 1), (2, 1), (5, 1)):
        setf(cc={VMIN: vmin, VTIME: vtime}, l=0)
        sys.write(m, b"ab")
        sys.nanosleep(40 * MS)
        if not (vmin > 2 and not vtime):
            r1 = sys.read(s, 100)
        else:
            r1 = (e(sys.ppoll, [(s, POLLIN)], 0), sys.write(m, b"c"), sys.read(s, 100))
        r2 = sys.read(s, 10) if vmin == 0 else "-"
        print(vmin, vtime, r1, r2, sys.ppoll([(s, POLLIN)], 0))
    setf(cc={VMIN: 1, VTIME: 0}, l=0)
    sys.fcntl(s, F_SETFL, O_NONBLOCK)
    print("nb", e(sys.read, s, 5))
    setf(cc={VMIN: 0, VTIME: 0}, l=0)
    print(e(sys.read, s, 5))
    sys.fcntl(s, F_SETFL, 0)
    # switching modes with data there
    setf(l=0, cc={VMIN: 1, VTIME: 0})
    sys.write(m, b"raw\nmore")
    sys.nanosleep(40 * MS)
    setf(l=base[3])
    print("to canon", rd(), rd(), T(b"\n"), rd())
    setf(cc={VEOF: 4, VMIN: 4})
    setf(l=base[3])
    sys.write(m, b"partial")
    sys.nanosleep(40 * MS)
    setf(l=base[3] & ~ICANON, cc={VMIN: 1})
    print("to raw", rd(), echo())
    setf(l=base[3], cc={VEOF: 4})
    # a full line buffer
    setf(l=base[3] & ~ECHO)
    w = e(sys.write, m, b"L" * 5000)
    sys.fcntl(m, F_SETFL, O_NONBLOCK)
    print("long", w, e(sys.write, m, b"M" * 10), sys.write(m, b"\n") if False else "", e(sys.ioctl, s, FIONREAD))
    sys.fcntl(m, F_SETFL, 0)
    sys.nanosleep(40 * MS)  # the host takes what was written when it comes to it
    setf(l=base[3])
    print("flush", e(sys.ioctl, s, TCFLSH, 0), e(sys.ioctl, s, TCFLSH, 7), e(sys.ioctl, s, FIONREAD), T(b"ok\n"))
    print(
        "ioctls",
        e(sys.ioctl, s, TIOCGPGRP),
        e(sys.ioctl, s, TIOCGSID),
        e(sys.ioctl, m, TIOCGPGRP),
        e(sys.ioctl, s, TIOCSCTTY, 0) if False else "",
        e(sys.ioctl, s, TIOCGWINSZ),
        e(sys.ioctl, s, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0)),
        e(sys.ioctl, m, TIOCGWINSZ),
        e(sys.ioctl, s, TCSBRK, 1),
        e(sys.ioctl, s, TIOCOUTQ),
        e(sys.ioctl, s, TIOCGETD),
        e(sys.ioctl, s, TCXONC, 0),
        e(sys.ioctl, s, TCXONC, 1),
        e(sys.ioctl, s, TCXONC, 9),
        e(sys.ioctl, s, 0x5499),
        e(sys.ioctl, s, TIOCNOTTY),
    )
    # packet mode
    print(
        "pkt",
        e(sys.ioctl, m, TIOCPKT, 1),
        sys.write(s, b"data"),
        sys.read(m, 50),
        e(sys.ioctl, s, TCFLSH, 2),
        sys.ppoll([(m, POLLIN | POLLPRI)], 0),
        sys.read(m, 50),
    )
    sys.ioctl(m, TIOCPKT, 0)
    # ends
    sys.write(m, b"last")
    sys.nanosleep(40 * MS)
    sys.close(s)
    print("slave closed", e(sys.read, m, 10), [hex(x) for _, x in sys.ppoll([(m, 0x1F)], 0)], e(sys.write, m, b"x"))
    s = sys.open("/dev/pts/%d" % n, O_RDWR | O_NOCTTY)
    print(rd(), echo())
    sys.close(m)
    print(
        "master closed",
        e(sys.read, s, 5),
        e(sys.write, s, b"x"),
        [hex(x) for _, x in sys.ppoll([(s, 0x1F)], 0)],
        e(sys.ioctl, s, TCGETS),
        e(sys.open, "/dev/pts/%d" % n, O_RDWR),
    )
