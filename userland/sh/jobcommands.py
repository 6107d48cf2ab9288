"""Builtins about jobs: jobs, fg, bg, wait, kill; and history."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from userland import abi
from userland.sh.jobs import Job, status_of

if TYPE_CHECKING:
    from userland.sh.shell import Shell


def _named(shell: Shell, words: list[str], name: str = "%%") -> Job | None:
    job = shell.jobs.find(name)
    if job is None:
        shell.complain(f"{words[0]}: No such job: {name}" if name != "%%" else f"{words[0]}: No current job")
    return job


def jobs(shell: Shell, words: list[str]) -> int:
    shell.jobs.reap()
    flags = "".join(word[1:] for word in words[1:] if word[:1] == "-")
    names = [word for word in words[1:] if word[:1] != "-"]
    chosen = [shell.jobs.table[number] for number in sorted(shell.jobs.table)]
    if names:
        found = [_named(shell, words, name) for name in names]
        if None in found:
            return 2
        chosen = [job for job in found if job is not None]
    for job in chosen:
        if "p" in flags:
            shell.write(1, f"{job.pgid}\n")
        else:
            shell.write(1, shell.jobs.describe(job, "l" in flags))
        job.changed = False
        if job.done and not shell.subshell:
            shell.jobs.drop(job)
    return 0


def fg(shell: Shell, words: list[str]) -> int:
    if not shell.options["m"]:
        shell.complain(f"{words[0]}: No job control")
        return 2
    job = _named(shell, words, *words[1:2])
    if job is None:
        return 2
    shell.write(1, job.text + "\n")
    shell.jobs.reap()
    if job.done:
        shell.jobs.drop(job)
        return status_of(job.status)
    return shell.jobs.foreground(job, goes_on=True)


def bg(shell: Shell, words: list[str]) -> int:
    if not shell.options["m"]:
        shell.complain(f"{words[0]}: No job control")
        return 2
    for name in words[1:] or ["%%"]:
        job = _named(shell, words, name)
        if job is None:
            return 2
        for pid, status in job.statuses.items():
            if status is not None and status & 0xFF == 0x7F:
                job.statuses[pid] = None
        job.changed = False
        shell.write(1, f"[{job.number}] {job.text}\n")
        shell.sys.kill(-job.pgid, abi.SIGCONT)
    return 0


def wait(shell: Shell, words: list[str]) -> int:
    status = 0
    names = [word for word in words[1:] if word != "--"]
    if not names:
        for job in list(shell.jobs.order):
            if shell.jobs.table.get(job.number) is not job or job.stopped:
                continue
            status = shell.jobs.wait_for(job, interruptible=True)
            if shell.pending and not job.done:
                return status
            shell.jobs.drop(job)
        return 0
    for name in names:
        found = shell.jobs.find(name)
        if found is None:
            if name[:1] != "%" and not name.isdigit():
                shell.complain(f"wait: Illegal number: {name}")
                return 2
            status = 127
            continue
        status = shell.jobs.wait_for(found, interruptible=True)
        if found.done:
            if not name.startswith("%") and int(name) != found.last:
                status = status_of(found.statuses[int(name)] or 0)
            shell.jobs.drop(found)
    return status


def kill(shell: Shell, words: list[str]) -> int:
    from userland.sh.builtins import signal_number, signal_title

    rest = words[1:]
    signum = abi.SIGTERM
    if rest and rest[0] == "-l":
        if len(rest) == 1:
            shell.write(1, "".join(f"{signal_title(number)}\n" for number in range(32) if number))
        for name in rest[1:]:
            number = int(name) & 0x7F if name.isdigit() else signal_number(name)
            if number is None:
                shell.complain(f"kill: invalid signal number or exit status: {name}")
                return 1
            shell.write(1, f"{signal_title(number) if name.isdigit() else number}\n")
        return 0
    if rest and rest[0] == "-s" and len(rest) > 1:
        found = signal_number(rest[1])
        rest = rest[2:]
    elif rest and rest[0][:1] == "-" and rest[0] not in ("-", "--"):
        found = signal_number(rest[0][1:])
        if found is None:
            shell.complain(f"kill: Illegal option {rest[0][:2]}")
            return 2
        rest = rest[1:]
    else:
        found = signum
    if found is None:
        shell.complain("kill: invalid signal number or name")
        return 2
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if not rest:
        shell.complain("kill: Usage: kill [-s sigspec | -signum | -sigspec] [pid | job]... or kill -l [exitstatus]")
        return 2
    status = 0
    for name in rest:
        status = max(status, _kill_one(shell, name, found))
    return status


def _kill_one(shell: Shell, name: str, signum: int) -> int:
    if name.startswith("%"):
        job = shell.jobs.find(name)
        if job is None:
            shell.complain(f"kill: No such job: {name}")
            return 2
        targets = [-job.pgid] if shell.options["m"] else list(job.statuses)
    elif name.lstrip("-").isdigit():
        targets = [int(name)]
    else:
        shell.complain(f"kill: Illegal number: {name}")
        return 2
    for target in targets:
        try:
            shell.sys.kill(target, signum)
        except OSError as why:
            shell.complain(f"kill: {why.strerror}")
            return 1
    return 0


def history(shell: Shell, words: list[str]) -> int:
    shown = shell.history
    first = 1
    if len(words) > 1 and words[1].isdigit():
        first = max(len(shown) - int(words[1]), 0) + 1
    for number, line in enumerate(shown[first - 1 :], first):
        shell.write(1, f"{number:>5}  {line}\n")
    return 0


COMMANDS: dict[str, Callable[[Shell, list[str]], int]] = {
    "bg": bg, "fg": fg, "history": history, "jobs": jobs, "kill": kill, "wait": wait,
}  # fmt: skip
