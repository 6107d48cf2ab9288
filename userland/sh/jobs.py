"""Jobs: the pipelines a shell has started, and the terminal that it lends to one of them at a time (POSIX.1 section
2.11).

Every child is waited for here, whichever job it belongs to. Under job control (`set -m`) each job is a process group;
the shell gives it the terminal, waits until it ends or stops, and takes the terminal and its settings back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from userland import abi
from userland.terminal import get_settings, set_settings

if TYPE_CHECKING:
    from userland.sh.shell import Shell

SIGNALS = {
    1: "Hangup", 2: "Interrupt", 3: "Quit", 4: "Illegal instruction", 5: "Trace/breakpoint trap", 6: "Aborted",
    7: "Bus error", 8: "Floating point exception", 9: "Killed", 10: "User defined signal 1",
    11: "Segmentation fault", 12: "User defined signal 2", 13: "Broken pipe", 14: "Alarm clock", 15: "Terminated",
    16: "Stack fault", 24: "CPU time limit exceeded", 25: "File size limit exceeded", 26: "Virtual timer expired",
    27: "Profiling timer expired", 29: "I/O possible", 30: "Power failure", 31: "Bad system call",
    19: "Stopped (signal)", 20: "Stopped", 21: "Stopped (tty input)", 22: "Stopped (tty output)",
}  # fmt: skip


def status_of(status: int) -> int:
    """What `$?` makes of a wait status."""
    if status & 0xFF == 0x7F:
        return 128 + (status >> 8)
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF


class Job:
    """One pipeline. `statuses` has the wait status of each process, None while it runs."""

    __slots__ = ("changed", "number", "pgid", "settings", "statuses", "text")

    def __init__(self, text: str, pids: list[int]) -> None:
        self.text = text
        self.number = 0
        self.pgid = pids[0] if pids else 0
        self.statuses: dict[int, int | None] = dict.fromkeys(pids)
        self.changed = False
        """What has happened to it was not told yet."""
        self.settings: Any = None
        """Of the terminal, when it was stopped."""

    def add(self, pid: int) -> None:
        self.statuses[pid] = None
        self.pgid = self.pgid or pid

    @property
    def last(self) -> int:
        """The pid of its last process."""
        return next(reversed(self.statuses))

    @property
    def done(self) -> bool:
        return all(status is not None and status & 0xFF != 0x7F for status in self.statuses.values())

    @property
    def stopped(self) -> bool:
        """Whether nothing of it runs and not all is over."""
        return not self.done and all(status is not None for status in self.statuses.values())

    @property
    def status(self) -> int:
        """Wait status of the last process."""
        return self.statuses[self.last] or 0

    def state(self) -> str:
        """As `jobs` says it."""
        if self.stopped:
            signum = next(s >> 8 for s in self.statuses.values() if s is not None and s & 0xFF == 0x7F)
            return SIGNALS.get(signum, "Stopped")
        if not self.done:
            return "Running"
        status = self.status
        if status & 0x7F:
            return SIGNALS.get(status & 0x7F, f"Signal {status & 0x7F}")
        return f"Done({status >> 8})" if status >> 8 else "Done"


class Jobs:
    """The job table of a shell."""

    __slots__ = ("order", "shell", "table", "terminal")

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.table: dict[int, Job] = {}
        self.order: list[Job] = []
        """The current job last, the one before it second to last."""
        self.terminal = -1
        """The descriptor of the controlling terminal, under job control."""

    def copy(self, shell: Shell) -> Jobs:
        """For a subshell: the jobs can be listed there, but they are not its children."""
        new = Jobs(shell)
        new.table, new.order, new.terminal = dict(self.table), list(self.order), self.terminal
        return new

    # ---- the table ----

    def add(self, job: Job) -> None:
        """Gives it the lowest free number and makes it the current one."""
        if not job.number:
            job.number = next(n for n in range(1, len(self.table) + 2) if n not in self.table)
            self.table[job.number] = job
        if job in self.order:
            self.order.remove(job)
        self.order.append(job)

    def drop(self, job: Job) -> None:
        self.table.pop(job.number, None)
        if job in self.order:
            self.order.remove(job)

    def find(self, name: str) -> Job | None:
        """%%, %+, %-, %n, %text, %?text, or a pid."""
        if name in ("%", "%%", "%+"):
            return self.order[-1] if self.order else None
        if name == "%-":
            return self.order[-2] if len(self.order) > 1 else self.order[-1] if self.order else None
        if name[:1] == "%":
            if name[1:].isdigit():
                return self.table.get(int(name[1:]))
            wanted = name[1:]
            for job in reversed(self.order):
                if (wanted[:1] == "?" and wanted[1:] in job.text) or job.text.startswith(wanted):
                    return job
            return None
        if name.isdigit():
            return next((job for job in self.order if int(name) in job.statuses), None)
        return None

    def mark(self, job: Job) -> str:
        if self.order and job is self.order[-1]:
            return "+"
        return "-" if len(self.order) > 1 and job is self.order[-2] else " "

    def describe(self, job: Job, long: bool = False) -> str:
        """A line of `jobs`."""
        if not long:
            return f"[{job.number}] {self.mark(job)} {job.state():<26} {job.text}\n"
        return f"[{job.number}] {self.mark(job)} {job.last} {job.state():<26} {job.text}\n"

    # ---- waiting ----

    def record(self, pid: int, status: int, extra: Job | None = None) -> None:
        """Something happened to a child."""
        for job in (*self.order, *([extra] if extra is not None else [])):
            if pid in job.statuses:
                job.statuses[pid] = None if status == 0xFFFF else status
                job.changed = True
                return

    def reap(self) -> None:
        """Take note of what has happened, without waiting."""
        options = abi.WNOHANG | (abi.WUNTRACED | abi.WCONTINUED if self.shell.options["m"] else 0)
        while True:
            try:
                pid, status, _ = self.shell.sys.wait4(-1, options)
            except (ChildProcessError, InterruptedError):
                return
            if not pid:
                return
            self.record(pid, status)

    def wait_for(self, job: Job, interruptible: bool = False) -> int:
        """Wait until the job is over or stopped: its exit status. With `interruptible`, a trapped signal ends it."""
        shell = self.shell
        options = abi.WUNTRACED if shell.options["m"] else 0
        while not job.done and not job.stopped:
            try:
                pid, status, _ = shell.sys.wait4(-1, options)
            except ChildProcessError:
                for pid, known in job.statuses.items():
                    job.statuses[pid] = 127 << 8 if known is None else known
                break
            except InterruptedError:
                if interruptible and shell.pending:
                    return 128 + shell.pending[0]
                continue
            self.record(pid, status, job)
        if interruptible and shell.pending and not job.done:
            return 128 + shell.pending[0]
        return status_of(job.status)

    def foreground(self, job: Job, goes_on: bool = False) -> int:
        """Lend the job the terminal until it ends or stops. `goes_on`: it was stopped before."""
        shell, sys, terminal = self.shell, self.shell.sys, self.terminal
        lent = shell.options["m"] and terminal >= 0
        if lent:
            sys.ioctl(terminal, abi.TIOCSPGRP, job.pgid)
        if goes_on:
            if lent and job.settings is not None:
                set_settings(sys, terminal, job.settings)
            for pid, status in job.statuses.items():
                if status is not None and status & 0xFF == 0x7F:
                    job.statuses[pid] = None
            sys.kill(-job.pgid, abi.SIGCONT)
        try:
            status = self.wait_for(job)
        finally:
            if lent:
                sys.ioctl(terminal, abi.TIOCSPGRP, sys.getpgrp())
        job.changed = False
        if job.stopped:
            if lent:
                job.settings = get_settings(sys, terminal)
            self.add(job)
            shell.write(2, "\n" + self.describe(job))
        else:
            self.drop(job)
            self._say_signal(job, lent)
        return status

    def _say_signal(self, job: Job, lent: bool) -> None:
        """A job that a signal has ended is spoken of, but for what the user or a pipe's end did."""
        signum = job.status & 0x7F
        if not signum:
            return
        if signum == abi.SIGINT:
            if lent:
                self.shell.write(2, "\n")
        elif signum != abi.SIGPIPE and not self.shell.subshell:
            dumped = " (core dumped)" if job.status & 0x80 else ""
            self.shell.write(2, f"{SIGNALS.get(signum, f'Signal {signum}')}{dumped}\n")

    def notify(self) -> None:
        """Before a prompt: tell what has happened to jobs in the background."""
        self.reap()
        for number in sorted(self.table):
            job = self.table[number]
            if job.changed:
                job.changed = False
                if job.done or job.stopped:
                    self.shell.write(2, self.describe(job))
            if job.done:
                self.drop(job)

    def take_terminal(self, fd: int) -> bool:
        """Under job control the shell leads a group of its own, in the foreground. False when it cannot be."""
        sys = self.shell.sys
        try:
            copy: int = sys.fcntl(fd, abi.F_DUPFD_CLOEXEC, 10)
        except OSError:
            return False
        try:
            while (front := sys.ioctl(copy, abi.TIOCGPGRP)) != sys.getpgrp():
                if not front:
                    break
                sys.kill(0, abi.SIGTTIN)  # started in the background: wait until we are not
            sys.rt_sigaction(abi.SIGTTOU, abi.SIG_IGN)
            if sys.getpgrp() != sys.getpid():
                sys.setpgid(0, 0)
            sys.ioctl(copy, abi.TIOCSPGRP, sys.getpgrp())
        except OSError:
            sys.close(copy)
            return False
        self.terminal = copy
        return True
