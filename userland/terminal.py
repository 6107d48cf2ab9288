"""Terminal settings, as the C library's termios functions give them: tcgetattr, tcsetattr, cfmakeraw, isatty."""

from __future__ import annotations

import struct

from userland import abi
from userland.lib import System

_TERMIOS = struct.Struct("=4IB19s")


class Settings:
    """struct termios. `cc` is a bytearray."""

    __slots__ = ("cc", "cflag", "iflag", "lflag", "line", "oflag")

    def __init__(self, raw: bytes) -> None:
        self.iflag, self.oflag, self.cflag, self.lflag, self.line, cc = _TERMIOS.unpack_from(raw)
        self.cc = bytearray(cc)

    def pack(self) -> bytes:
        return _TERMIOS.pack(self.iflag, self.oflag, self.cflag, self.lflag, self.line, bytes(self.cc))


def get_settings(sys: System, fd: int) -> Settings:
    """tcgetattr(3)."""
    return Settings(sys.ioctl(fd, abi.TCGETS))


def set_settings(sys: System, fd: int, settings: Settings, flush: bool = False) -> None:
    """tcsetattr(3) with TCSADRAIN, or TCSAFLUSH."""
    sys.ioctl(fd, abi.TCSETSF if flush else abi.TCSETSW, settings.pack())


def raw_settings(settings: Settings) -> Settings:
    """A copy for reading key by key: no echo, no lines, no signals; output stays as it is."""
    raw = Settings(settings.pack())
    raw.iflag &= ~(abi.BRKINT | abi.ICRNL | abi.INPCK | abi.ISTRIP | abi.IXON)
    raw.lflag &= ~(abi.ECHO | abi.ICANON | abi.IEXTEN | abi.ISIG)
    raw.cc[abi.VMIN], raw.cc[abi.VTIME] = 1, 0
    return raw


def isatty(sys: System, fd: int) -> bool:
    try:
        sys.ioctl(fd, abi.TCGETS)
    except OSError:
        return False
    return True


def window_size(sys: System, fd: int) -> tuple[int, int]:
    """(rows, columns), 24 by 80 where it is not known."""
    try:
        rows, columns, _, _ = struct.unpack("=4H", sys.ioctl(fd, abi.TIOCGWINSZ))
    except OSError:
        return 24, 80
    return rows or 24, columns or 80
