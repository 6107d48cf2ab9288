"""Consoles: where a machine's standard descriptors lead.

`HostConsole` is a pair of the host's descriptors (or one of them); `MemoryConsole` is for tests and embedding.
Both only move bytes: line discipline, echo and job control are the business of the kernel's tty. They are a
terminal only where the host's descriptor is one, and a byte-transparent pipe otherwise.

`read` never blocks: None says that nothing is there yet, b"" that nothing will come any more. A simulated
machine whose readers all wait calls `wait`, which blocks the process while virtual time stands still; in real
time the timeline watches `fileno()`.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import termios
from collections.abc import Callable
from typing import Any, Protocol

from csrc.frame import Buffer


class Console(Protocol):
    """What the kernel is given for file descriptors 0 to 2."""

    isatty: bool
    on_readable: Callable[[], None] | None
    """Called when input (or its end) has come for a console that has no descriptor to watch."""

    def read(self, n: int) -> bytes | None:
        """Up to n bytes; None when there are none yet, b"" at the end."""

    def write(self, data: Buffer) -> int:
        """Write all of it; the number of bytes."""
        ...

    def readable(self) -> bool:
        """Whether `read` would give bytes, or the end."""
        ...

    def wait(self, timeout_ns: int | None = None) -> bool:
        """Block until readable, if input can come at all. False when it did not."""
        ...

    def fileno(self) -> int | None:
        """The host's descriptor for input, to be watched; None when there is none or it is always ready."""

    def size(self) -> tuple[int, int]:
        """Rows and columns; (0, 0) when it is no terminal."""
        ...

    def close(self) -> None: ...


class HostConsole:
    """Input from one host descriptor and output to another; either may be None.

    The descriptors are shared with whoever started us, so their flags are left alone: no O_NONBLOCK; `poll`
    asks before each read. `raw` turns off the host terminal's own line discipline, `cooked` (and `close`)
    restores it.
    """

    __slots__ = ("_poll", "_saved", "_watchable", "input_fd", "isatty", "on_readable", "output_fd")

    def __init__(self, input_fd: int | None = 0, output_fd: int | None = 1) -> None:
        self.input_fd = input_fd
        self.output_fd = output_fd
        self.on_readable: Callable[[], None] | None = None
        self._saved: list[Any] | None = None
        self._poll = select.poll()
        self._watchable = False
        if input_fd is not None:
            self._poll.register(input_fd, select.POLLIN)
            self._watchable = not stat.S_ISREG(os.fstat(input_fd).st_mode)
        known = [fd for fd in (input_fd, output_fd) if fd is not None]
        self.isatty = bool(known) and all(os.isatty(fd) for fd in known)

    def readable(self) -> bool:
        return self.input_fd is None or bool(self._poll.poll(0))

    def read(self, n: int) -> bytes | None:
        if self.input_fd is None or n <= 0:
            return b""
        if not self._poll.poll(0):
            return None
        try:
            return os.read(self.input_fd, n)
        except BlockingIOError:
            return None  # someone else who holds the descriptor was faster
        except OSError as error:
            if error.errno == errno.EIO:
                return b""  # the terminal was hung up
            raise

    def wait(self, timeout_ns: int | None = None) -> bool:
        if self.input_fd is None:
            return True
        return bool(self._poll.poll(None if timeout_ns is None else timeout_ns / 1e6))

    def write(self, data: Buffer) -> int:
        if self.output_fd is None:
            raise OSError(errno.EBADF, "the console has no output")
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            try:
                done += os.write(self.output_fd, view[done:])
            except BlockingIOError:
                select.select([], [self.output_fd], [])
        return done

    def fileno(self) -> int | None:
        return self.input_fd if self._watchable else None

    def size(self) -> tuple[int, int]:
        for fd in (self.output_fd, self.input_fd):
            if fd is not None and os.isatty(fd):
                columns, rows = os.get_terminal_size(fd)
                return rows, columns
        return 0, 0

    def raw(self) -> None:
        """Have every key at once, unechoed (a terminal's input only): the line discipline is the kernel's
        inside.
        """
        if self.input_fd is None or not os.isatty(self.input_fd) or self._saved is not None:
            return
        self._saved = termios.tcgetattr(self.input_fd)
        mode = termios.tcgetattr(self.input_fd)
        mode[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
            | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[1] &= ~termios.OPOST
        mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.input_fd, termios.TCSADRAIN, mode)

    def cooked(self) -> None:
        """Give the host's terminal back as it was."""
        if self._saved is not None and self.input_fd is not None:
            termios.tcsetattr(self.input_fd, termios.TCSADRAIN, self._saved)
            self._saved = None

    def close(self) -> None:
        """Restore the terminal. The descriptors stay open: they are the host's."""
        self.cooked()


class MemoryConsole:
    """A console whose keyboard is `feed` and whose screen is `output`."""

    __slots__ = ("_ended", "_input", "isatty", "on_readable", "output", "rows_columns")

    def __init__(self, input: Buffer = b"", isatty: bool = False, rows_columns: tuple[int, int] = (24, 80)) -> None:
        self.isatty = isatty
        self.rows_columns = rows_columns
        self.on_readable: Callable[[], None] | None = None
        self.output = bytearray()
        self._input = bytearray(input)
        self._ended = False

    def feed(self, data: Buffer) -> None:
        """Type."""
        self._input += data
        if data and self.on_readable is not None:
            self.on_readable()

    def hang_up(self) -> None:
        """No more input will come."""
        self._ended = True
        if self.on_readable is not None:
            self.on_readable()

    def readable(self) -> bool:
        return bool(self._input) or self._ended

    def read(self, n: int) -> bytes | None:
        if n <= 0:
            return b""
        if not self._input:
            return b"" if self._ended else None
        data = bytes(self._input[:n])
        del self._input[:n]
        return data

    def wait(self, timeout_ns: int | None = None) -> bool:
        return self.readable()

    def write(self, data: Buffer) -> int:
        self.output += data
        return memoryview(data).nbytes

    def fileno(self) -> int | None:
        return None

    def size(self) -> tuple[int, int]:
        return self.rows_columns if self.isatty else (0, 0)

    def close(self) -> None:
        self._ended = True
