"""Whatever is typed, with whatever settings: our line discipline shows and hands on what the host's does."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import abi
from kernel.tty.ldisc import LineDiscipline
from kernel.tty.termios import DEFAULT_CC, Termios

QUIET_S = (0.02, 0.2, 1.0)
"""When it has shown nothing for so long, it has shown all. The kernel's worker may be late on a busy host: where
something differs, it gets longer."""
SPECIAL = bytes((3, 4, 8, 9, 10, 13, 17, 18, 19, 21, 22, 23, 26, 28, 32, 0, 127))
IFLAGS = [abi.ICRNL, abi.IXON, abi.IGNCR, abi.INLCR, abi.ISTRIP, abi.IXANY, abi.IUTF8, abi.PARMRK]
OFLAGS = [abi.OPOST, abi.ONLCR, abi.OCRNL, abi.ONOCR, abi.ONLRET]
LFLAGS = [
    abi.ISIG, abi.ICANON, abi.ECHO, abi.ECHOE, abi.ECHOK, abi.ECHOCTL, abi.ECHOKE, abi.IEXTEN, abi.NOFLSH, abi.ECHONL,
    0o2000,
]  # fmt: skip
USUAL = (abi.ICRNL | abi.IXON, abi.OPOST | abi.ONLCR, Termios().lflag)

keys = st.lists(
    st.one_of(
        st.sampled_from([bytes((c,)) for c in SPECIAL]), st.sampled_from([b"a", b"Z", b"_", b".", b"ab c", b"word"]),
        st.sampled_from(["ö".encode(), "€".encode(), b"\xff", b"\x85"]),
    ),
    max_size=14,
).map(b"".join)  # fmt: skip


def flags(bits: list[int], usual: int) -> st.SearchStrategy[int]:
    """The usual ones with some turned over."""
    return st.lists(st.sampled_from(bits), max_size=2, unique=True).map(
        lambda some: usual ^ sum(some)  # each bit once
    )


class Screen:
    """The terminal of a line discipline without a machine."""

    def __init__(self, iflag: int, oflag: int, lflag: int) -> None:
        self.termios = Termios()
        self.termios.iflag, self.termios.oflag, self.termios.lflag = iflag, oflag, lflag
        self.stopped = False
        self.shown = bytearray()
        self.ldisc = LineDiscipline(self)

    def send(self, data: bytes) -> int:
        self.shown += data
        return len(data)

    def room(self) -> int:
        return 0 if self.stopped else 65536

    def signal(self, signum: int) -> None:
        pass

    def flush_output(self) -> None:
        self.shown.clear()

    def flushed(self, input_too: bool) -> None:
        pass

    def start(self) -> None:
        if self.stopped:
            self.stopped = False
            self.ldisc.process_echoes()

    def stop(self) -> None:
        self.stopped = True

    def readable(self) -> None:
        pass


def ours(typed: bytes, modes: tuple[int, int, int], size: int) -> tuple[bytes, int, list[bytes]]:
    screen = Screen(*modes)
    screen.ldisc.receive(typed)
    waiting = screen.ldisc.waiting()
    lines = []
    while screen.ldisc.readable():
        lines.append(screen.ldisc.take(size))
    return bytes(screen.shown), waiting, lines


def hosts(typed: bytes, modes: tuple[int, int, int], size: int, quiet_s: float) -> tuple[bytes, int, list[bytes]]:
    master, slave = os.openpty()
    try:
        raw = struct.pack("=4IB19s", *modes[:2], abi.B38400 | abi.CS8 | abi.CREAD, modes[2], 0, DEFAULT_CC)
        fcntl.ioctl(slave, abi.TCSETS, raw)
        os.set_blocking(slave, False)
        os.write(master, typed)
        shown = b""
        while True:
            select.select([slave], [], [], 0)
            if not select.select([master], [], [], quiet_s)[0]:
                break
            shown += os.read(master, 65536)
        waiting = struct.unpack("=i", fcntl.ioctl(slave, termios.FIONREAD, bytes(4)))[0]
        lines = []
        while True:
            try:
                lines.append(os.read(slave, size))
            except OSError as why:
                assert why.errno == errno.EAGAIN
                return shown, waiting, lines
    finally:
        os.close(slave)
        os.close(master)


def check(typed: bytes, modes: tuple[int, int, int], size: int) -> None:
    expected = ours(typed, modes, size)
    for quiet_s in QUIET_S:
        found = hosts(typed, modes, size, quiet_s)
        if found == expected:
            break
    assert expected == found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    typed=keys, iflag=flags(IFLAGS, USUAL[0]), oflag=flags(OFLAGS, USUAL[1]), lflag=flags(LFLAGS, USUAL[2]),
    size=st.sampled_from([1, 3, 100]),
)  # fmt: skip
def test_typed_keys(typed: bytes, iflag: int, oflag: int, lflag: int, size: int) -> None:
    if not os.path.exists("/dev/ptmx"):
        pytest.skip("the host has no pseudoterminals")
    check(typed, (iflag, oflag, lflag), size)


@pytest.mark.soak
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    typed=keys, iflag=flags(IFLAGS, USUAL[0]), oflag=flags(OFLAGS, USUAL[1]), lflag=flags(LFLAGS, USUAL[2]),
    size=st.sampled_from([1, 3, 100]),
)  # fmt: skip
def test_typed_keys_for_long(typed: bytes, iflag: int, oflag: int, lflag: int, size: int) -> None:
    check(typed, (iflag, oflag, lflag), size)


@settings(max_examples=200, deadline=None)
@given(typed=keys, cut=st.integers(0, 30), iflag=flags(IFLAGS, USUAL[0]), lflag=flags(LFLAGS, USUAL[2]))
def test_how_it_arrives_makes_no_difference(typed: bytes, cut: int, iflag: int, lflag: int) -> None:
    """In one piece or in two: the same lines, and the same on the screen."""
    screens = [Screen(iflag, USUAL[1], lflag) for _ in range(2)]
    screens[0].ldisc.receive(typed)
    for piece in (typed[:cut], typed[cut:]):
        screens[1].ldisc.receive(piece)
    if lflag & abi.ISIG or 19 in typed:  # what a signal throws away or ^S holds back depends on what was shown before
        for screen in screens:
            screen.shown.clear()
    assert screens[0].ldisc.buffer == screens[1].ldisc.buffer and screens[0].shown == screens[1].shown


def test_a_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel.tty.ldisc.letter_or_digit", lambda c: True)
    with pytest.raises(AssertionError):
        check(b"one, two\x17x\n", USUAL, 100)
