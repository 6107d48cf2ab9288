"""A user at a terminal: a program on a pty of the host, typed at and read from. No sleeps: it waits for output."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

PATIENCE_S = 120.0


class Terminal:
    """Runs `words` with descriptors 0 to 2 on a terminal of `rows` by `columns`."""

    def __init__(self, *words: str, rows: int = 24, columns: int = 80) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("=4H", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.child = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        self.seen = ""
        """What was shown since the last match."""

    @classmethod
    def terrella(cls, *words: str, rows: int = 24, columns: int = 80) -> Terminal:
        return cls(sys.executable, "-m", "tools.cli", *words, rows=rows, columns=columns)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Reads until the pattern is found; what comes after it stays to be looked at."""
        while True:
            match = re.search(pattern, self.seen)
            if match is not None:
                self.seen = self.seen[match.end() :]
                return match
            ready: list[int] = []
            for _ in range(int(PATIENCE_S)):
                ready = select.select([self.master], [], [], 1)[0]
                if ready or self.child.poll() is not None:
                    break
            assert ready, f"{pattern!r} was not shown, but {self.seen!r}"
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            assert data, f"{pattern!r} was not shown before the end, but {self.seen!r}"
            self.seen += data.decode("utf-8", "replace")

    def run(self, line: str, pattern: str) -> re.Match[str]:
        """Types a line and waits for it and for what it must show."""
        self.type(line + "\r")
        self.wait_for(re.escape(line) + r"\r\n")
        return self.wait_for(pattern)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("=4H", rows, columns, 0, 0))
        self.child.send_signal(signal.SIGWINCH)

    def ended(self) -> int:
        """The exit status."""
        os.set_blocking(self.master, False)
        for _ in range(int(20 * PATIENCE_S)):
            if self.child.poll() is not None:
                break
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
        assert self.child.poll() is not None, f"it does not end, and shows {self.seen!r}"
        return self.child.returncode

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.master)
        os.close(self.slave)


ROOT = Path(__file__).resolve().parents[3]
