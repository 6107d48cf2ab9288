"""The shell at a terminal: prompt, read a line, run it, tell of jobs; history kept in a file; completion of names."""

from __future__ import annotations

import re

from userland import abi
from userland.lib import read_all, write_all
from userland.sh.builtins import BUILTINS, SPECIAL
from userland.sh.editor import Editor, Interrupted
from userland.sh.expand import ExpansionError
from userland.sh.leaving import Break, Exit, Failure, Interrupt, Return
from userland.sh.parser import Parser
from userland.sh.pattern import names
from userland.sh.shell import Shell, expand_prompt
from userland.sh.syntax import Sequence, ShellSyntaxError

WORD = re.compile(r"(?:[^\s;&|<>()]|\\.)*$")
KEEP = 500
_TRIES = 10


def history_file(shell: Shell) -> str | None:
    """$HISTFILE, or .sh_history in the home directory."""
    named = shell.get("HISTFILE")
    if named is not None:
        return named or None
    home = shell.get("HOME")
    return f"{home}/.sh_history" if home else None


def load_history(shell: Shell) -> None:
    name = history_file(shell)
    if name is None:
        return
    try:
        fd = shell.sys.open(name, abi.O_RDONLY)
    except OSError:
        return
    lines = read_all(shell.sys, fd).decode("utf-8", "surrogateescape").splitlines()
    shell.sys.close(fd)
    shell.history[:] = lines[-KEEP:]


def remember(shell: Shell, line: str) -> None:
    """One more line of history, in the file too."""
    if not line.strip() or line[:1] == " " or (shell.history and shell.history[-1] == line):
        return
    shell.history.append(line)
    del shell.history[:-KEEP]
    name = history_file(shell)
    if name is None:
        return
    try:
        fd = shell.sys.open(name, abi.O_WRONLY | abi.O_CREAT | abi.O_APPEND, 0o600)
    except OSError:
        return
    write_all(shell.sys, fd, (line + "\n").encode("utf-8", "surrogateescape"))
    shell.sys.close(fd)


def completions(shell: Shell, line: str, at: int) -> tuple[int, list[str]]:
    """Where the word at the cursor begins, and what it could become: a command where one begins, else a file."""
    match = WORD.search(line[:at])
    start = match.start() if match else at
    word = line[start:at]
    before = line[:start].rstrip()
    command = not before or before[-1] in ";&|(" or before.endswith((" do", " then", " else", "!"))
    if word.startswith("$"):
        return start, sorted(f"${name}" for name in shell.variables if name.startswith(word[1:]))
    if command and "/" not in word:
        found = {*BUILTINS, *SPECIAL, *shell.functions, *shell.aliases}
        for directory in (shell.get("PATH") or "").split(":"):
            found.update(names(shell.sys, directory or "."))
        return start, sorted(name for name in found if name.startswith(word))
    directory, slash, prefix = word.rpartition("/")
    place = directory or ("/" if slash else ".")
    if place.startswith("~"):
        place = (shell.get("HOME") or "~") + place[1:]
    out = []
    for name in sorted(names(shell.sys, place)):
        if name.startswith(prefix) and (prefix[:1] == "." or not name.startswith(".")):
            try:
                is_directory = shell.sys.stat(f"{place}/{name}").st_mode & abi.S_IFMT == abi.S_IFDIR
            except OSError:
                is_directory = False
            out.append(directory + slash + name + ("/" if is_directory else ""))
    return start, out


class Lines:
    """The lines of a terminal, as a parser asks for them: the first with PS1, the others with PS2."""

    __slots__ = ("editor", "first", "shell")

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.first = True
        self.editor = Editor(shell.sys, 0, shell.history, lambda line, at: completions(shell, line, at))

    def more(self) -> str:
        prompt = expand_prompt(self.shell, "PS1" if self.first else "PS2")
        line = self.editor.read(prompt)
        if line is None:
            return ""
        self.first = False
        remember(self.shell, line)
        return line + "\n"


def interact(shell: Shell) -> int:
    """Reads and runs commands until `exit` or the end of input."""
    load_history(shell)
    lines = Lines(shell)
    ends = 0
    while True:
        shell.jobs.notify()
        lines.first = True
        shell.condition = shell.loops = shell.depth = 0
        shell.local.clear()
        try:
            parser = Parser(lines.more, shell.aliases)
            node = parser.command()
            if node is None:
                ends += 1
                if _stays(shell, ends):
                    continue
                break
            ends = 0
            shell.line = 1
            if isinstance(node, Sequence) and node.items:
                shell.status = shell.run(node)
        except (Interrupted, Interrupt):
            shell.status = 130
        except Break:
            shell.status = 0
        except Return as leave:
            shell.status = leave.status
        except Exit as leave:
            if shell.options["e"] or not any(job.stopped for job in shell.jobs.order) or ends:
                shell.status = leave.status
                break
            ends = 1
            shell.write(2, "You have stopped jobs.\n")
        except (Failure, ExpansionError, ShellSyntaxError) as why:
            shell.complain(str(why))
            shell.status = getattr(why, "status", 2)
    _leave(shell)
    return shell.status


def _stays(shell: Shell, ends: int) -> bool:
    """Whether ^D does not end the shell."""
    if shell.options["I"] and ends < _TRIES:
        shell.write(2, 'Use "exit" to leave shell.\n')
        return True
    shell.write(2, "\n")
    if any(job.stopped for job in shell.jobs.order) and ends < 2:
        shell.write(2, "You have stopped jobs.\n")
        return True
    return False


def _leave(shell: Shell) -> None:
    """Jobs that are left hear of the end."""
    for job in list(shell.jobs.order):
        if not job.done and shell.options["m"]:
            try:
                shell.sys.kill(-job.pgid, abi.SIGHUP)
                if job.stopped:
                    shell.sys.kill(-job.pgid, abi.SIGCONT)
            except OSError:
                continue  # it has just ended
