"""Terminals: what canonical mode makes of what is typed, echo, erasing, and what OPOST makes of what is written."""

import struct

from userland.abi import *

DEFAULT = bytes((3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0))
ECHOPRT = 0o2000


def pair(sys, iflag=ICRNL | IXON, oflag=OPOST | ONLCR, off=0, on=0, cc=()):
    """(master, slave) with settings of its own; the slave does not block."""
    m = sys.open("/dev/ptmx", O_RDWR | O_NOCTTY)
    sys.ioctl(m, TIOCSPTLCK, 0)
    s = sys.open("/dev/pts/%d" % sys.ioctl(m, TIOCGPTN), O_RDWR | O_NOCTTY | O_NONBLOCK)
    lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN
    chars = bytearray(DEFAULT)
    for index, value in cc:
        chars[index] = value
    sys.ioctl(s, TCSETS, struct.pack("=4IB19s", iflag, oflag, B38400 | CS8 | CREAD, lflag & ~off | on, 0, bytes(chars)))
    return m, s


def shown(sys, m, s):
    """All that the terminal shows."""
    out = b""
    while True:
        sys.ppoll([(s, POLLIN)], 0)
        if not any(e & POLLIN for _, e in sys.ppoll([(m, POLLIN)], 30_000_000)):
            return out
        out += sys.read(m, 4096)


def got(sys, s, n=100):
    lines = []
    while True:
        try:
            data = sys.read(s, n)
        except BlockingIOError:
            return lines
        lines.append(data)
        if len(lines) > 9:
            return lines


def typed(sys, name, keys, n=100, **how):
    m, s = pair(sys, **how)
    sys.write(m, keys)
    echo = shown(sys, m, s)
    print(name, echo, sys.ioctl(s, FIONREAD), got(sys, s, n))
    sys.close(s)
    sys.close(m)


def main(sys, argv):
    typed(sys, "line", b"hello\n")
    typed(sys, "return", b"hello\rx\r")
    typed(sys, "igncr", b"a\rb\n", iflag=IGNCR | ICRNL)
    typed(sys, "inlcr", b"a\nb\r", iflag=INLCR)
    typed(sys, "no newline", b"hello")
    typed(sys, "two lines", b"one\ntwo\n")
    typed(sys, "short reads", b"abcdefg\nxy\n", n=3)
    typed(sys, "erase", b"abc\x7f\x7fx\n")
    typed(sys, "erase too much", b"a\x7f\x7f\x7fb\n")
    typed(sys, "erase control", b"a\x01\x02\x7fb\n")
    typed(sys, "no echoe", b"abc\x7fx\n", off=ECHOE)
    typed(sys, "echoprt", b"abc\x7f\x7fxy\x7f\n", on=ECHOPRT)
    typed(sys, "no echoctl", b"a\x01\x7fb\x05\n", off=ECHOCTL)
    typed(sys, "erase tab", b"a\tb\x7f\x7fc\n")
    typed(sys, "erase tab after tab", b"a\t\t\x7fc\n")
    typed(sys, "erase tab after control", b"\x01x\t\x7fc\n")
    typed(sys, "word", b"one two  three\x17\x17x\n")
    typed(sys, "word of signs", b"ab.c,d\x17\x17\n")
    typed(sys, "word without iexten", b"one two\x17\n", off=IEXTEN)
    typed(sys, "kill", b"one two\x15x\n")
    typed(sys, "kill echok", b"one two\x15x\n", off=ECHOKE)
    typed(sys, "kill plain", b"one two\x15x\n", off=ECHOKE | ECHOK)
    typed(sys, "kill unseen", b"one two\x15x\n", off=ECHO)
    typed(sys, "reprint", b"one\x12two\n")
    typed(sys, "literal", b"a\x16\x7fb\x16\x03\n")
    typed(sys, "literal newline", b"a\x16\nb\n")
    typed(sys, "eof", b"ab\x04cd\n")
    typed(sys, "eof alone", b"\x04\x04x\n")
    typed(sys, "eof fits", b"hello\x04world\x04", n=5)
    typed(sys, "eol", b"a;b;c\n", cc=[(VEOL, ord(";"))])
    typed(sys, "eol2", b"a;b;c\n", cc=[(VEOL2, ord(";"))])
    typed(sys, "echonl", b"ab\n", off=ECHO, on=ECHONL)
    typed(sys, "no echo", b"ab\n", off=ECHO)
    typed(sys, "istrip", bytes((0xE1, 0xE2, 10)), iflag=ISTRIP)
    typed(sys, "utf8", "aö€b".encode() + b"\x7f\x7f\x7fx\n", iflag=IUTF8 | ICRNL)
    typed(sys, "latin", "aö".encode() + b"\x7fx\n")
    typed(sys, "nul", b"a\0b\n")
    typed(sys, "stop", b"ab\x13cd\n")
    typed(sys, "stop and start", b"ab\x13cd\x11e\n")
    typed(sys, "any starts", b"ab\x13c\n", iflag=ICRNL | IXON | IXANY)
    typed(sys, "flow off", b"ab\x13cd\n", iflag=ICRNL)
    typed(sys, "raw", b"a\x03\x04\x7f\r\n", off=ICANON | ISIG | ECHO | IEXTEN, iflag=0)
    typed(sys, "raw with echo", b"a\x03\x7f\r\n", off=ICANON | ISIG, iflag=0)
    typed(sys, "raw signals", b"a\x03b", off=ICANON)
    typed(sys, "flush", b"one\ntwo\x03three\n")
    typed(sys, "no flush", b"one\ntwo\x03three\n", on=NOFLSH)
    typed(sys, "column", b"ab\n", oflag=OPOST)

    m, s = pair(sys, off=ECHO)  # a line that is too long
    for _ in range(50):
        sys.write(m, b"0123456789" * 10)
    sys.write(m, b"end\n")
    shown(sys, m, s)
    line = sys.read(s, 10000)
    print("long", len(line), line[-5:], got(sys, s))

    m, s = pair(sys, off=ECHO)  # into raw mode and back, with input waiting
    sys.write(m, b"part")
    shown(sys, m, s)
    print(got(sys, s))
    old = sys.ioctl(s, TCGETS)
    flags = list(struct.unpack("=4IB19s", old))
    flags[3] &= ~ICANON
    sys.ioctl(s, TCSETS, struct.pack("=4IB19s", *flags))
    print("now raw", sys.read(s, 2))
    sys.ioctl(s, TCSETS, old)
    print("now lines", sys.read(s, 10), got(sys, s))
    sys.write(m, b"gone")
    shown(sys, m, s)
    sys.ioctl(s, TCFLSH, TCIFLUSH)
    sys.write(m, b"x\n")
    shown(sys, m, s)
    print("flushed", got(sys, s))

    for name, oflag in (("plain", 0), ("onlcr", OPOST | ONLCR), ("opost", OPOST), ("ocrnl", OPOST | OCRNL),
                        ("onocr", OPOST | ONOCR), ("onlret", OPOST | ONLRET), ("xtabs", OPOST | ONLCR | 0o14000),
                        ("upper", OPOST | 2)):
        m, s = pair(sys, oflag=oflag)
        n = sys.write(s, b"\rab\tc\nd\x08\te\r\rf\n")
        print(name, n, shown(sys, m, s))
