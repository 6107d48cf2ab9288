"""struct termios and struct termios2: how a terminal is set (termios(3), asm-generic/termbits.h)."""

from __future__ import annotations

import struct

from kernel import abi
from kernel.abi import EFAULT
from kernel.fs.vfs import error

_TERMIOS = struct.Struct("=4IB19s")
_SPEEDS = struct.Struct("=2I")
CBAUD, BOTHER, CSIZE, PARENB = 0o10017, 0o10000, 0o60, 0o400
BAUD = (
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
    57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000,
    3500000, 4000000,
)  # fmt: skip
"""By the bits of CBAUD: the first 16, then those with CBAUDEX."""
DISABLED = 0
"""_POSIX_VDISABLE: a control character that is this byte is none."""
DEFAULT_CC = bytes((3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0))


def baud(cflag: int) -> int:
    """The rate that the flags name; 0 for BOTHER."""
    code = cflag & CBAUD
    if code & BOTHER:
        code = (code & ~BOTHER) + 15
        return 0 if code == 15 or code >= len(BAUD) else BAUD[code]
    return BAUD[code]


class Termios:
    """The settings of one terminal; by default those of a new one."""

    __slots__ = ("cc", "cflag", "iflag", "ispeed", "lflag", "line", "oflag", "ospeed")

    def __init__(self) -> None:
        self.iflag = abi.ICRNL | abi.IXON
        self.oflag = abi.OPOST | abi.ONLCR
        self.cflag = abi.B38400 | abi.CS8 | abi.CREAD
        self.lflag = (
            abi.ISIG | abi.ICANON | abi.ECHO | abi.ECHOE | abi.ECHOK | abi.ECHOCTL | abi.ECHOKE | abi.IEXTEN
        )  # fmt: skip
        self.line = 0
        self.cc = DEFAULT_CC
        self.ispeed = self.ospeed = 38400

    def pack(self, extended: bool = False) -> bytes:
        """The bytes of TCGETS, or of TCGETS2."""
        raw = _TERMIOS.pack(self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc)
        return raw + _SPEEDS.pack(self.ispeed, self.ospeed) if extended else raw

    def changed(self, raw: object, extended: bool = False) -> Termios:
        """New settings, from the bytes of TCSETS or TCSETS2. EFAULT when there are too few of them."""
        need = _TERMIOS.size + (_SPEEDS.size if extended else 0)
        if not isinstance(raw, bytes | bytearray | memoryview) or len(raw) < need:
            raise error(EFAULT, f"a struct termios of {need} bytes was expected")
        new = Termios()
        new.iflag, new.oflag, new.cflag, new.lflag, new.line, new.cc = _TERMIOS.unpack_from(raw)
        rate = baud(new.cflag)
        new.ispeed = new.ospeed = rate
        if extended and new.cflag & CBAUD == BOTHER:
            new.ispeed, new.ospeed = _SPEEDS.unpack_from(raw, _TERMIOS.size)
        return new
