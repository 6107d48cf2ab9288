"""N_TTY, the line discipline: what a terminal makes of what is typed and of what is written (termios(3)).

Input: `receive` turns bytes from the line into characters to be read. In canonical mode they wait until their line is
whole; until then they may be erased. A byte of `marks` beside each character says that a line ends with it; a line
ended by EOF has a NUL there that nobody reads. Never more than 4095 characters wait; a line that is longer loses its
tail but for the newline.

Echo is kept as a list of operations, not of bytes, since what erasing a tab takes depends on the column at which the
cursor will be; it is carried out at once unless output is stopped.

Output: `process` expands newlines and tabs as OPOST and its kind say, and keeps count of the column.

Nothing here blocks or knows of processes: `host` is the terminal, which sends, signals, and is told of new input.
Rules, limits and quirks are those of Linux's n_tty.
"""

from __future__ import annotations

from typing import Protocol

from kernel import abi
from kernel.abi import (
    ECHO,
    ECHOCTL,
    ECHOE,
    ECHOK,
    ECHOKE,
    ECHONL,
    ICANON,
    ICRNL,
    IEXTEN,
    IGNCR,
    INLCR,
    ISIG,
    ISTRIP,
    IUTF8,
    IXANY,
    IXON,
    NOFLSH,
    OCRNL,
    ONLCR,
    ONLRET,
    ONOCR,
    OPOST,
    PARMRK,
    SIGINT,
    SIGQUIT,
    SIGTSTP,
)
from kernel.tty.termios import DISABLED, Termios

SIZE = 4096
ECHOPRT, EXTPROC, OLCUC, IUCLC, XTABS, TABDLY = 0o2000, 0o200000, 2, 0o1000, 0o14000, 0o14000
NEWLINE, RETURN, TAB, BACKSPACE = 10, 13, 9, 8

CARET, SET_COLUMN, MOVE_BACK, ERASE_TAB = 0x100, 0x200, 0x201, 0x400
"""Echo operations beside plain bytes: CARET + c is `^X`; ERASE_TAB + columns, with 0x80 after another tab."""
ECHO_MOST = 4096


def control(c: int) -> bool:
    return c < 32 or c == 127


def letter_or_digit(c: int) -> bool:
    """The kernel's isalnum: Latin-1."""
    return (
        48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or (c >= 0xC0 and c not in (0xD7, 0xF7))
    )  # fmt: skip


class Host(Protocol):
    """What a line discipline needs of its terminal."""

    termios: Termios
    stopped: bool

    def send(self, data: bytes) -> int:
        """Output; how many bytes were taken."""

    def room(self) -> int:
        """How many bytes `send` would take."""

    def signal(self, signum: int) -> None:
        """To the foreground process group."""

    def flush_output(self) -> None:
        """Throw away what has been sent and not arrived."""

    def flushed(self, input_too: bool) -> None:
        """The queues were flushed: the other side of a pty in packet mode is told."""

    def start(self) -> None: ...
    def stop(self) -> None: ...

    def readable(self) -> None:
        """There is something new to read."""


class LineDiscipline:
    """The state of one terminal's line."""

    __slots__ = (
        "_special", "buffer", "canon", "canon_column", "column", "echoes", "erasing", "host", "icanon", "lnext",
        "marks", "push",
    )  # fmt: skip

    def __init__(self, host: Host) -> None:
        self.host = host
        self.buffer = bytearray()
        """What can be read and what is still being edited."""
        self.marks = bytearray()
        """1 where a line ends, for each byte of the buffer."""
        self.canon = 0
        """How many bytes of the buffer are whole lines."""
        self.column = self.canon_column = 0
        self.echoes: list[int] = []
        self.erasing = self.lnext = self.push = False
        self.icanon = True
        self._special: frozenset[int] | None = frozenset()
        self.changed(None)

    # ---- settings ----

    def changed(self, old: Termios | None) -> None:
        """The terminal has new settings (`old`: those before)."""
        t = self.host.termios
        if old is None or (old.lflag ^ t.lflag) & (ICANON | EXTPROC):
            self.marks = bytearray(len(self.buffer))
            if t.lflag & ICANON and self.buffer:
                self.marks[-1] = 1
                self.canon = len(self.buffer)
                self.push = True
            else:
                self.canon = 0
                self.push = False
            self.erasing = self.lnext = False
        self.icanon = bool(t.lflag & ICANON)
        self._special = self._specials(t)
        if old is not None and old.iflag & IXON and not t.iflag & IXON:
            self.host.start()

    def _specials(self, t: Termios) -> frozenset[int] | None:
        """The bytes that are not simply taken and echoed; None when nothing at all is looked at."""
        if not (t.iflag & (ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON | PARMRK) or t.lflag & (ICANON | ISIG | ECHO)):
            return None
        cc, found = t.cc, []
        if t.iflag & (IGNCR | ICRNL):
            found.append(RETURN)
        if t.iflag & INLCR:
            found.append(NEWLINE)
        if t.lflag & ICANON:
            found += [cc[abi.VERASE], cc[abi.VKILL], cc[abi.VEOF], NEWLINE, cc[abi.VEOL]]
            if t.lflag & IEXTEN:
                found += [cc[abi.VWERASE], cc[abi.VLNEXT], cc[abi.VEOL2]]
                if t.lflag & ECHO:
                    found.append(cc[abi.VREPRINT])
        if t.iflag & IXON:
            found += [cc[abi.VSTART], cc[abi.VSTOP]]
        if t.lflag & ISIG:
            found += [cc[abi.VINTR], cc[abi.VQUIT], cc[abi.VSUSP]]
        return frozenset(c for c in found if c != DISABLED)

    # ---- input ----

    def receive(self, data: bytes) -> int:
        """Bytes from the line. How many were taken: the rest has no room until somebody reads."""
        taken = 0
        while taken < len(data):
            room = SIZE - len(self.buffer)
            if self.host.termios.iflag & PARMRK:
                room = -(-room // 3)
            room -= 1
            if room <= 0:
                if not self.icanon or self.canon:
                    break
                if room < 0:  # the line is full: only its last character is replaced
                    del self.buffer[-1], self.marks[-1]
                room = 1
            chunk = data[taken : taken + room]
            taken += len(chunk)
            if self._special is None:
                self.buffer += chunk
                self.marks += bytes(len(chunk))
            else:
                for c in chunk:
                    self._character(c)
        self.process_echoes()
        if self.readable():
            self.host.readable()
        return taken

    def _character(self, c: int) -> None:
        t = self.host.termios
        if t.iflag & ISTRIP:
            c &= 0x7F
        if t.iflag & IUCLC and t.lflag & IEXTEN and 65 <= c <= 90:
            c += 32
        if t.lflag & EXTPROC:
            self._put(c)
            return
        assert self._special is not None
        if self.lnext:
            self.lnext = False
        elif c in self._special:
            self._special_character(c, t)
            return
        self._restart_any(t)
        self._echo_typed(c, t)
        self._put_marked(c, t)

    def _restart_any(self, t: Termios) -> None:
        if self.host.stopped and t.iflag & IXON and t.iflag & IXANY:
            self.host.start()
            self.process_echoes()

    def _put(self, c: int, mark: int = 0) -> None:
        self.buffer.append(c)
        self.marks.append(mark)

    def _put_marked(self, c: int, t: Termios) -> None:
        if c == 0xFF and t.iflag & PARMRK:
            self._put(c)
        self._put(c)

    def _special_character(self, c: int, t: Termios) -> None:
        cc = t.cc
        if t.iflag & IXON:
            if c == cc[abi.VSTART]:
                self.host.start()
                self.process_echoes()
                return
            if c == cc[abi.VSTOP]:
                self.host.stop()
                return
        if t.lflag & ISIG and c in (cc[abi.VINTR], cc[abi.VQUIT], cc[abi.VSUSP]):
            self._signal(SIGINT if c == cc[abi.VINTR] else SIGQUIT if c == cc[abi.VQUIT] else SIGTSTP, c, t)
            return
        self._restart_any(t)
        if c == RETURN:
            if t.iflag & IGNCR:
                return
            if t.iflag & ICRNL:
                c = NEWLINE
        elif c == NEWLINE and t.iflag & INLCR:
            c = RETURN
        if self.icanon and self._canonical(c, t):
            return
        if c == NEWLINE and t.lflag & ECHO:
            self._finish_erasing()
            self.echoes.append(NEWLINE)
        else:
            self._echo_typed(c, t)
        self._put_marked(c, t)

    def _signal(self, signum: int, c: int, t: Termios) -> None:
        """A character that sends a signal: queues are flushed unless NOFLSH; it is echoed and not put."""
        host = self.host
        host.signal(signum)
        if not t.lflag & NOFLSH:
            self.echoes.clear()
            host.flush_output()
            self.reset()
            host.flushed(False)
        if t.iflag & IXON:
            host.start()
        if t.lflag & ECHO:
            self._echo(c, t)
        else:
            self.process_echoes()

    def _canonical(self, c: int, t: Termios) -> bool:
        """Characters with a meaning in canonical mode. False for all others."""
        cc, lflag = t.cc, t.lflag
        if c == DISABLED:
            return False
        if c in (cc[abi.VERASE], cc[abi.VKILL]) or (c == cc[abi.VWERASE] and lflag & IEXTEN):
            self._erase(c, t)
            return True
        if c == cc[abi.VLNEXT] and lflag & IEXTEN:
            self.lnext = True
            if lflag & ECHO:
                self._finish_erasing()
                if lflag & ECHOCTL:
                    self.echoes += (ord("^"), BACKSPACE)
            return True
        if c == cc[abi.VREPRINT] and lflag & ECHO and lflag & IEXTEN:
            self._finish_erasing()
            self._echo(c, t)
            self.echoes.append(NEWLINE)
            for typed in self.buffer[self.canon :]:
                self._echo(typed, t)
            return True
        if c == NEWLINE:
            if lflag & (ECHO | ECHONL):
                self.echoes.append(NEWLINE)
            self._line_ends(c)
            return True
        if c == cc[abi.VEOF]:
            self._line_ends(DISABLED)
            return True
        if c == cc[abi.VEOL] or (c == cc[abi.VEOL2] and lflag & IEXTEN):
            if lflag & ECHO:
                if self.canon == len(self.buffer):
                    self.echoes.append(SET_COLUMN)
                self._echo(c, t)
            if c == 0xFF and t.iflag & PARMRK:
                self._put(c)
            self._line_ends(c)
            return True
        return False

    def _line_ends(self, c: int) -> None:
        self._put(c, 1)
        self.canon = len(self.buffer)

    # ---- erasing ----

    def _continuation(self, c: int, t: Termios) -> bool:
        return bool(t.iflag & IUTF8) and c & 0xC0 == 0x80

    def _erase(self, c: int, t: Termios) -> None:
        """ERASE, WERASE and KILL."""
        buffer, lflag = self.buffer, t.lflag
        if len(buffer) == self.canon:
            return
        erase, word = c == t.cc[abi.VERASE], c == t.cc[abi.VWERASE] and c != t.cc[abi.VERASE]
        if not erase and not word:
            if not lflag & ECHO:
                self._cut(self.canon)
                return
            if not (lflag & ECHOK and lflag & ECHOKE and lflag & ECHOE):
                self._cut(self.canon)
                self._finish_erasing()
                self._echo(t.cc[abi.VKILL], t)
                if lflag & ECHOK:
                    self.echoes.append(NEWLINE)
                return
        seen = False
        while len(buffer) > self.canon:
            head = len(buffer) - 1
            while self._continuation(buffer[head], t) and head > self.canon:
                head -= 1
            c = buffer[head]
            if self._continuation(c, t):
                break
            if word:
                if letter_or_digit(c) or c == ord("_"):
                    seen = True
                elif seen:
                    break
            gone = bytes(buffer[head:])
            self._cut(head)
            if lflag & ECHO:
                self._echo_erased(c, gone, erase, t)
            if erase:
                break
        if len(buffer) == self.canon and lflag & ECHO:
            self._finish_erasing()

    def _cut(self, length: int) -> None:
        del self.buffer[length:], self.marks[length:]

    def _echo_erased(self, c: int, gone: bytes, erase: bool, t: Termios) -> None:
        echoes, lflag = self.echoes, t.lflag
        if lflag & ECHOPRT:
            if not self.erasing:
                echoes.append(ord("\\"))
                self.erasing = True
            self._echo(c, t)
            for byte in gone[1:]:
                echoes += (byte, MOVE_BACK)
        elif erase and not lflag & ECHOE:
            self._echo(t.cc[abi.VERASE], t)
        elif c == TAB:
            columns, after_tab = 0, 0
            for other in reversed(self.buffer[self.canon :]):
                if other == TAB:
                    after_tab = 0x80
                    break
                if control(other):
                    columns += 2 if lflag & ECHOCTL else 0
                elif not self._continuation(other, t):
                    columns += 1
            echoes.append(ERASE_TAB | after_tab | columns & 7)
        else:
            if control(c) and lflag & ECHOCTL:
                echoes += (BACKSPACE, ord(" "), BACKSPACE)
            if not control(c) or lflag & ECHOCTL:
                echoes += (BACKSPACE, ord(" "), BACKSPACE)

    def _finish_erasing(self) -> None:
        if self.erasing:
            self.echoes.append(ord("/"))
            self.erasing = False

    # ---- echo ----

    def _echo(self, c: int, t: Termios) -> None:
        self.echoes.append(CARET + c if t.lflag & ECHOCTL and control(c) and c != TAB else c)

    def _echo_typed(self, c: int, t: Termios) -> None:
        if t.lflag & ECHO:
            self._finish_erasing()
            if self.canon == len(self.buffer):
                self.echoes.append(SET_COLUMN)
            self._echo(c, t)

    def process_echoes(self) -> None:
        """Send what is to be echoed, as far as there is room."""
        if not self.echoes or self.host.stopped:
            return
        t, room, out, done = self.host.termios, self.host.room(), bytearray(), 0
        for op in self.echoes:
            if room - len(out) < 8:
                break
            done += 1
            if op < CARET:
                if t.oflag & OPOST:
                    out += self._output(op, t)
                else:
                    out.append(op)
            elif op < SET_COLUMN:
                out += b"^" + bytes(((op & 0xFF) ^ 0o100,))
                self.column += 2
            elif op == SET_COLUMN:
                self.canon_column = self.column
            elif op == MOVE_BACK:
                self.column = max(self.column - 1, 0)
            else:
                columns = op & 0x7F if op & 0x80 else (op & 0x7F) + self.canon_column
                back = 8 - (columns & 7)
                out += b"\b" * back
                self.column = max(self.column - back, 0)
        del self.echoes[:done]
        if len(self.echoes) > ECHO_MOST:
            del self.echoes[:-ECHO_MOST]
        if out:
            self.host.send(bytes(out))

    # ---- output ----

    def _output(self, c: int, t: Termios) -> bytes:
        """One character as OPOST makes it."""
        oflag = t.oflag
        if c == NEWLINE:
            if oflag & ONLRET:
                self.column = 0
            if oflag & ONLCR:
                self.canon_column = self.column = 0
                return b"\r\n"
            self.canon_column = self.column
        elif c == RETURN:
            if oflag & ONOCR and not self.column:
                return b""
            if oflag & OCRNL:
                c = NEWLINE
                if oflag & ONLRET:
                    self.canon_column = self.column = 0
            else:
                self.canon_column = self.column = 0
        elif c == TAB:
            spaces = 8 - (self.column & 7)
            self.column += spaces
            if oflag & TABDLY == XTABS:
                return b" " * spaces
        elif c == BACKSPACE:
            self.column = max(self.column - 1, 0)
        elif not control(c):
            if oflag & OLCUC and 97 <= c <= 122:
                c -= 32
            if not self._continuation(c, t):
                self.column += 1
        return bytes((c,))

    def process(self, data: bytes, room: int) -> tuple[int, bytes]:
        """(how many bytes of `data` fit, what is to be sent for them), with at most `room` bytes sent."""
        t = self.host.termios
        if not t.oflag & OPOST:
            return min(room, len(data)), data[:room]
        if not t.oflag & (OLCUC | OCRNL | ONOCR | ONLRET | XTABS):
            whole = data.replace(b"\n", b"\r\n") if t.oflag & ONLCR else data
            if len(whole) <= room:
                start = max(data.rfind(b"\n") if t.oflag & ONLCR else -1, data.rfind(b"\r"))
                for c in data[max(start, 0) :]:
                    self._output(c, t)
                return len(data), whole
        out, done = bytearray(), 0
        for c in data:
            if room - len(out) < (2 if c == NEWLINE else 8 if c == TAB else 1):
                break
            out += self._output(c, t)
            done += 1
        return done, bytes(out)

    # ---- reading ----

    def readable(self, least: int = 1) -> bool:
        return bool(self.canon) if self.icanon else len(self.buffer) >= least

    def waiting(self) -> int:
        """FIONREAD: what one could read; the ends of lines that EOF made do not count."""
        if not self.icanon:
            return len(self.buffer)
        ends = sum(1 for c, mark in zip(self.buffer[: self.canon], self.marks) if mark and c == DISABLED)
        return self.canon - ends

    def take(self, n: int) -> bytes:
        """Up to `n` bytes: what there is, in canonical mode up to the end of a line."""
        if not self.icanon:
            return self._consume(min(n, len(self.buffer)))
        end = self.marks.find(1, 0, min(n, self.canon))
        if end < 0:
            data = self._consume(min(n, self.canon))
            if self.canon and self.marks[0] and self.buffer[0] == DISABLED:
                self._consume(1)  # a line that was read to its end is over: its EOF does not end the next read
            return data
        self.push = False
        data = self._consume(end + 1)
        return data[:-1] if data[-1] == DISABLED else data

    def _consume(self, n: int) -> bytes:
        data = bytes(self.buffer[:n])
        del self.buffer[:n], self.marks[:n]
        self.canon = max(self.canon - n, 0)
        return data

    def reset(self) -> None:
        """Throw away all input."""
        self.buffer.clear()
        self.marks.clear()
        self.canon = 0
        self.lnext = self.erasing = self.push = False
