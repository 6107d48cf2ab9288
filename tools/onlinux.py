"""`terrella run --on-linux`: one program, on the host's own kernel, to be held against the same program inside.

`spawn` is fork. The program runs below a subreaper: when it ends, what it left is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

if __name__ == "__main__":  # as the interpreter of a program that execve was called with
    sys.path[0:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.path += sys.argv.pop().split(os.pathsep)  # where the interpreter that called execve finds packages

from tools.hostsystem import HostSystem
from tools.program import load_program

_PR_SET_CHILD_SUBREAPER = 36


def run_on_linux(program: str, argv: Sequence[str]) -> int:
    """Runs `main(sys, argv)` of the .py file `program` on the host; what `terrella run --on-linux` exits with.

    Three processes: this one, the reaper, which what the program orphans comes to, and the program's parent. The reaper
    leaves for a session of its own, so that a group whose parents are gone is an orphaned one, as under an init; the
    parent stays, so that the program's is not.
    """
    main = load_program(program)
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    back, out = os.pipe()
    reaper = os.fork()
    if reaper == 0:
        os.close(back)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        parent = os.fork()
        if parent == 0:
            os._exit(_parent(main, argv, out))
        os.close(out)
        os.setsid()
        while os.waitpid(-1, 0)[0] != parent:
            pass
        _kill_children()
        os._exit(0)
    os.close(out)
    word = os.read(back, 16)
    os.waitpid(reaper, 0)
    status = int(word or b"9")
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _parent(main: Callable[..., object], argv: Sequence[str], out: int) -> int:
    """Starts the program, and writes its wait status to `out`."""
    pid = os.fork()
    if pid == 0:
        os.close(out)
        _own_group()
        _write_through()
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        HostSystem().become(main, [list(argv)])
    _, status = os.waitpid(pid, 0)
    os.write(out, b"%d" % status)
    return 0


def _kill_children() -> None:
    """Kills and reaps, generation by generation, whatever the program left behind."""
    while True:
        with open(f"/proc/self/task/{threading.get_native_id()}/children") as listing:
            children = [int(word) for word in listing.read().split()]
        if not children:
            return
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def _own_group() -> None:
    """The program leads a process group, in the foreground if we are: its kill(0, ...) is not for us, and as we are
    its parent in another group of the session, the group is not an orphaned one (which SIGTSTP would not stop).
    """
    foreground = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    os.setpgid(0, 0)
    if foreground:
        old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        os.tcsetpgrp(0, os.getpgrp())
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _write_through() -> None:
    """`print` and the program's own writes come out in the order in which they were made."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]


def go_on_as(ignored: str, path: str, argv: Sequence[str]) -> None:
    """After an execve: this interpreter runs the program; of the signals Python sets, those named stay ignored."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN if str(int(number)) in ignored.split(",") else signal.SIG_DFL)
    ctypes.CDLL(None).prctl(15, os.path.basename(path).encode()[:15])
    _write_through()
    with open("/proc/self/environ", "rb") as block:  # as execve gave it: Python has added LC_CTYPE to os.environ
        pairs = [os.fsdecode(word).partition("=")[::2] for word in block.read().split(b"\0") if word]
    HostSystem(dict(pairs)).become(load_program(path), [list(argv)])


if __name__ == "__main__":
    go_on_as(sys.argv[1], sys.argv[2], sys.argv[3:])
