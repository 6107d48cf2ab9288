"""The shell's state, and how it carries commands out (POSIX.1 sections 2.5, 2.7 to 2.9 and 2.12).

A subshell is a child process with a copy of the state: `sys.spawn` runs it with copies of descriptors and signal
handlers, as fork would. What a command leaves with an error of its own is a status; what must end a shell that is not
interactive (a failed expansion, a mistaken special builtin) is `Failure`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from userland import abi
from userland.lib import System, read_all, write_all
from userland.sh import expand
from userland.sh.control import CONTROL
from userland.sh.expand import ExpansionError
from userland.sh.jobs import Job, Jobs
from userland.sh.leaving import Break, Exit, Failure, Interrupt, Return
from userland.sh.redirect import RedirectError, Redirections
from userland.sh.syntax import Group, Node, Pipeline, Sequence, ShellSyntaxError, Simple

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LETTERS = {
    "allexport": "a", "notify": "b", "noclobber": "C", "errexit": "e", "noglob": "f", "interactive": "i",
    "monitor": "m", "noexec": "n", "stdin": "s", "nounset": "u", "verbose": "v", "xtrace": "x", "ignoreeof": "I",
}  # fmt: skip
JOB_SIGNALS = (abi.SIGTSTP, abi.SIGTTIN, abi.SIGTTOU)


class Shell:
    """One shell process."""

    __slots__ = (
        "aliases",
        "arguments",
        "condition",
        "depth",
        "exported",
        "functions",
        "getopts_at",
        "history",
        "interactive",
        "jobs",
        "last_pid",
        "line",
        "local",
        "loops",
        "options",
        "pending",
        "pid",
        "positional",
        "readonly",
        "status",
        "subshell",
        "substituted",
        "sys",
        "traps",
        "variables",
    )  # fmt: skip

    def __init__(self, sys: System, name: str = "sh", positional: list[str] | None = None) -> None:
        self.sys = sys
        self.arguments = name
        """$0."""
        self.positional = list(positional or [])
        self.variables: dict[str, str] = {"IFS": " \t\n", "PS1": "$ ", "PS2": "> ", "PS4": "+ ", "OPTIND": "1"}
        self.exported: dict[str, None] = {}
        self.readonly: dict[str, None] = {}
        self.local: list[dict[str, str | None]] = []
        """For each function under way: the values that its `local` names had."""
        for key, value in sys.environ.items():
            if key.isidentifier() and key.isascii() and key not in ("IFS", "PS4", "OPTIND"):
                self.variables[key] = value
                self.exported[key] = None
        self.variables.setdefault("PATH", PATH)
        self.variables["PPID"] = str(sys.getppid())
        self.options = dict.fromkeys(LETTERS.values(), False)
        self.functions: dict[str, Node] = {}
        self.aliases: dict[str, str] = {}
        self.traps: dict[int, str] = {}
        self.pending: list[int] = []
        self.jobs = Jobs(self)
        self.history: list[str] = []
        self.status = 0
        self.substituted: int | None = None
        self.last_pid = 0
        self.pid = sys.getpid()
        self.line = 0
        self.loops = self.depth = self.condition = 0
        """Loops and functions under way; how many conditions, in which `set -e` does not count."""
        self.interactive = self.subshell = False
        self.getopts_at = 0

    # ---- variables ----

    def get(self, name: str) -> str | None:
        """A parameter's value; None when it is not set."""
        value = self.variables.get(name)
        if value is not None:
            return value if name != "LINENO" else str(self.line)
        if name[0].isalpha() or name[0] == "_":
            return str(self.line) if name == "LINENO" else None
        if name.isdigit():
            index = int(name)
            if not index:
                return self.arguments
            return self.positional[index - 1] if index <= len(self.positional) else None
        if name in "@*":
            return " ".join(self.positional) if self.positional else None
        if name == "!":
            return str(self.last_pid) if self.last_pid else None
        if name == "-":
            return "".join(letter for letter in "CabefimnsuvxI" if self.options.get(letter))
        return str({"#": len(self.positional), "?": self.status, "$": self.pid}[name])

    def set(self, name: str, value: str) -> None:
        if name in self.readonly:
            raise Failure(f"{name}: is read only")
        self.variables[name] = value
        if self.options["a"]:
            self.exported[name] = None
        if name == "OPTIND":
            self.getopts_at = 0

    def unset(self, name: str) -> None:
        if name in self.readonly:
            raise Failure(f"{name}: is read only")
        self.variables.pop(name, None)
        self.exported.pop(name, None)

    def ifs(self) -> str:
        found = self.variables.get("IFS")
        return " \t\n" if found is None else found

    def environ(self) -> dict[str, str]:
        return {name: self.variables[name] for name in self.exported if name in self.variables}

    def home_of(self, name: str) -> str | None:
        """The home directory of a user, from /etc/passwd."""
        try:
            fd = self.sys.open("/etc/passwd", abi.O_RDONLY)
        except OSError:
            return None
        text = read_all(self.sys, fd).decode("utf-8", "surrogateescape")
        self.sys.close(fd)
        for line in text.splitlines():
            fields = line.split(":")
            if len(fields) > 5 and fields[0] == name:
                return fields[5]
        return None

    # ---- talking ----

    def write(self, fd: int, text: str) -> None:
        write_all(self.sys, fd, text.encode("utf-8", "surrogateescape"))

    def complain(self, message: str) -> None:
        where = "" if self.interactive else f"{self.line}: "
        try:
            self.write(2, f"{self.arguments}: {where}{message}\n")
        except OSError:
            return  # nowhere to say it

    # ---- processes ----

    def copy(self, sys: System) -> Shell:
        """The state of a subshell, for the child that runs with `sys`."""
        new = Shell.__new__(Shell)
        for name in Shell.__slots__:
            value = getattr(self, name)
            setattr(new, name, value.copy() if isinstance(value, dict | list) else value)
        new.sys = sys
        new.local = [dict(saved) for saved in self.local]
        new.jobs = self.jobs.copy(new)
        new.subshell = True
        new.interactive = False
        new.pending = []
        return new

    def become_child(self, monitor: bool, background: bool, keep_traps: bool = False) -> None:
        """What a child does first: caught signals are default again, what job control ignores too."""
        sys = self.sys
        for number, action in list(self.traps.items()):
            if action and number:
                sys.rt_sigaction(number, abi.SIG_DFL)
            if action:
                del self.traps[number]
        if self.options["i"] or monitor:
            for number in (abi.SIGINT, abi.SIGQUIT, abi.SIGTERM, *JOB_SIGNALS):
                if number not in self.traps:
                    sys.rt_sigaction(number, abi.SIG_DFL)
        if background and not monitor:
            for number in (abi.SIGINT, abi.SIGQUIT):
                sys.rt_sigaction(number, abi.SIG_IGN)
                self.traps[number] = ""
        self.options["i"] = False
        self.options["m"] = False

    def fork(self, job: Job | None, work: Callable[[Shell], int], background: bool = False) -> int:
        """A child that does `work` in a copy of this shell, as a process of `job` under job control. Its pid."""
        monitor = self.options["m"] and job is not None
        pgid = job.pgid if job is not None else 0
        terminal = self.jobs.terminal

        def child(sys: System) -> int:
            shell = self.copy(sys)
            if monitor:
                sys.setpgid(0, pgid)
                if not background and terminal >= 0:
                    sys.rt_sigaction(abi.SIGTTOU, abi.SIG_IGN)
                    sys.ioctl(terminal, abi.TIOCSPGRP, pgid or sys.getpid())
            shell.become_child(monitor, background)
            return shell.guarded(lambda: work(shell))

        pid: int = self.sys.spawn(child)
        if monitor:
            try:
                self.sys.setpgid(pid, pgid or pid)
            except OSError:
                pass  # it is gone, or has done so itself and called execve
        if job is not None:
            job.add(pid)
        return pid

    def guarded(self, work: Callable[[], int]) -> int:
        """Does the work to the end of the process; the status to exit with."""
        try:
            try:
                status = work()
            except Exit as leave:
                status = leave.status
            except Break:
                status = self.status
            except (Failure, ExpansionError, ShellSyntaxError) as why:
                self.complain(str(why))
                status = getattr(why, "status", 2)
            self.status = status
            return self.exit_trap()
        except Exit as leave:
            return leave.status

    def exit_trap(self) -> int:
        """Runs what `trap ... EXIT` asked for; the status of the shell."""
        action = self.traps.pop(0, None)
        if action:
            status = self.status
            try:
                self.run_text(action)
            except Exit as leave:
                return leave.status
            self.status = status
        return self.status

    def substitute(self, node: Node) -> str:
        """What a command writes, without the newlines at its end."""
        r, w = self.sys.pipe2(abi.O_CLOEXEC)

        def work(shell: Shell) -> int:
            shell.sys.dup2(w, 1)
            shell.sys.close(w)
            shell.sys.close(r)
            return shell.run_last(node)

        job = Job("", [])
        monitor, self.options["m"] = self.options["m"], False
        try:
            self.fork(job, work)
        finally:
            self.options["m"] = monitor
        self.sys.close(w)
        try:
            data = read_all(self.sys, r)
        finally:
            self.sys.close(r)
        self.substituted = self.status = self.jobs.wait_for(job)
        return data.replace(b"\0", b"").decode("utf-8", "surrogateescape").rstrip("\n")

    # ---- running ----

    def run_text(self, text: str) -> int:
        """Parses and runs a text command by command: `eval`, `-c`, traps, scripts."""
        from userland.sh.parser import Parser, lines_of

        parser = Parser(lines_of(text), self.aliases)
        while (node := parser.command()) is not None:
            self.status = self.run(node)
        return self.status

    def run(self, node: Node) -> int:
        """Carries a command out; its status, which is also `self.status`."""
        if self.pending:
            self.run_traps()
        if self.options["n"] and not self.interactive:
            return 0
        self.status = _RUN[type(node)](self, node)
        if self.pending:
            self.run_traps()
        return self.status

    def run_last(self, node: Node) -> int:
        """As `run`, where nothing comes after it in this process: a program takes its place, a subshell is this one."""
        if isinstance(node, Sequence) and len(node.items) == 1 and not node.items[0][1]:
            return self.run_last(node.items[0][0])
        if isinstance(node, Group) and node.subshell and not self.pending:
            try:
                Redirections(self, node.redirects).apply(save=False)
            except RedirectError as why:
                self.complain(str(why))
                return 2
            return self.run_last(node.body)
        if isinstance(node, Simple) and not self.pending:
            self.status = self._simple(node, last=True)
            return self.status
        return self.run(node)

    def run_traps(self) -> None:
        while self.pending:
            action = self.traps.get(self.pending.pop(0))
            if action:
                status = self.status
                self.run_text(action)
                self.status = status

    def checked(self, status: int) -> int:
        """`set -e`: a command failed outside of any condition."""
        if status and self.options["e"] and not self.condition:
            raise Exit(status)
        return status

    def test(self, node: Node) -> int:
        """Runs a condition."""
        self.condition += 1
        try:
            return self.run(node)
        finally:
            self.condition -= 1

    def _sequence(self, node: Any) -> int:
        status = 0 if not node.items else self.status
        for item, background in node.items:
            if background:
                status = self.background(item)
            else:
                status = self.run(item)
            self.status = status
        return status

    def background(self, node: Node) -> int:
        job = Job(node.text, [])

        def work(shell: Shell) -> int:
            if not self.options["m"]:
                null = shell.sys.open("/dev/null", abi.O_RDONLY)
                if null:
                    shell.sys.dup2(null, 0)
                    shell.sys.close(null)
            return shell.run_last(node)

        if self.options["m"] and isinstance(node, Pipeline) and not node.bang:
            self._start(node, job, True)
        else:
            self.fork(job, work, background=True)
        self.jobs.add(job)
        self.last_pid = job.last
        if self.interactive:
            self.write(2, f"[{job.number}] {job.last}\n")
        return 0

    def _start(self, node: Pipeline, job: Job, background: bool) -> None:
        """The processes of a pipeline, each connected to the next."""
        sys = self.sys
        before = -1
        for number, command in enumerate(node.commands):
            r, w = sys.pipe2(abi.O_CLOEXEC) if number < len(node.commands) - 1 else (-1, -1)

            def work(shell: Shell, command: Node = command, source: int = before, r: int = r, w: int = w) -> int:
                for fd, end in ((source, 0), (w, 1)):
                    if fd >= 0:
                        shell.sys.dup2(fd, end)
                        shell.sys.close(fd)
                if r >= 0:
                    shell.sys.close(r)
                return shell.run_last(command)

            self.fork(job, work, background)
            if before >= 0:
                sys.close(before)
            if w >= 0:
                sys.close(w)
            before = r

    def _pipeline(self, node: Any) -> int:
        if len(node.commands) == 1:
            status = self.test(node.commands[0])
        else:
            job = Job(node.text, [])
            self._start(node, job, False)
            status = self.jobs.foreground(job)
        if node.bang:
            return int(not status)
        return self.checked(status)

    # ---- simple commands ----

    def _simple(self, node: Any, last: bool = False) -> int:
        self.line = node.line
        self.substituted = None
        words = expand.fields(self, node.words)
        if not words:
            return self.checked(self._assign_only(node))
        if self.options["x"]:
            self._trace(node, words)
        from userland.sh.builtins import BUILTINS, SPECIAL

        name = words[0]
        if name in SPECIAL:
            status = self._special(node, words)
        elif name in self.functions:
            status = self._with_assignments(node, lambda: self.call(name, words))
        elif name in BUILTINS:
            status = self._with_assignments(node, lambda: BUILTINS[name](self, words))
        else:
            status = self._external(node, words, last and not self.traps.get(0))
        return self.checked(status)

    def _assign_only(self, node: Simple) -> int:
        try:
            with Redirections(self, node.redirects):
                pass
        except RedirectError as why:
            self.complain(str(why))
            return 2
        shown = []
        for name, word in node.assigns:
            value = expand.text(self, word, assignment=True)
            shown.append(f"{name}={value}")
            self.set(name, value)
        if self.options["x"] and shown:
            self.write(2, f"{expand_prompt(self, 'PS4')}{' '.join(shown)}\n")
        return self.substituted or 0

    def _trace(self, node: Simple, words: list[str]) -> None:
        shown = [f"{name}={expand.text(self, word, True)}" for name, word in node.assigns] + words
        self.write(2, f"{expand_prompt(self, 'PS4')}{' '.join(shown)}\n")

    def _special(self, node: Simple, words: list[str]) -> int:
        """Assignments stay; a redirection that fails ends the shell; `exec` keeps its redirections."""
        from userland.sh.builtins import SPECIAL

        values = [(name, expand.text(self, word, assignment=True)) for name, word in node.assigns]
        try:
            redirections = Redirections(self, node.redirects)
            with redirections:
                for name, value in values:
                    self.set(name, value)
                if words[0] == "exec":
                    redirections.keep()
                return SPECIAL[words[0]](self, words)
        except RedirectError as why:
            raise Failure(str(why)) from None

    def _with_assignments(self, node: Simple, work: Callable[[], int]) -> int:
        """Assignments before a builtin or a function hold while it runs."""
        saved: list[tuple[str, str | None, bool]] = []
        try:
            with Redirections(self, node.redirects):
                for name, word in node.assigns:
                    value = expand.text(self, word, assignment=True)
                    saved.append((name, self.variables.get(name), name in self.exported))
                    self.set(name, value)
                    self.exported[name] = None
                try:
                    return work()
                finally:
                    for name, before, was_exported in reversed(saved):
                        if before is None:
                            self.variables.pop(name, None)
                        else:
                            self.variables[name] = before
                        if not was_exported:
                            self.exported.pop(name, None)
        except RedirectError as why:
            self.complain(str(why))
            return 2

    def call(self, name: str, words: list[str]) -> int:
        """A function, with the words as its positional parameters."""
        if self.depth > 200:
            raise Failure(f"{name}: functions nest too deeply")
        positional, self.positional = self.positional, words[1:]
        loops, self.loops = self.loops, 0
        self.depth += 1
        self.local.append({})
        try:
            return self.run(self.functions[name])
        except Return as leave:
            return leave.status
        finally:
            for variable, before in self.local.pop().items():
                if before is None:
                    self.variables.pop(variable, None)
                else:
                    self.variables[variable] = before
            self.depth -= 1
            self.positional, self.loops = positional, loops

    def _external(self, node: Simple, words: list[str], last: bool) -> int:
        values = [(name, expand.text(self, word, assignment=True)) for name, word in node.assigns]

        def work(shell: Shell) -> int:
            try:
                Redirections(shell, node.redirects).apply(save=False)
            except RedirectError as why:
                shell.complain(str(why))
                return 2
            for name, value in values:
                shell.set(name, value)
                shell.exported[name] = None
            return shell.execute(words)

        if last:
            return work(self)
        job = Job(node.text, [])
        self.fork(job, work)
        return self.jobs.foreground(job)

    def find(self, name: str, path: str | None = None) -> str | None:
        """The file that a command's name stands for."""
        if "/" in name:
            return name
        found = None
        for directory in (path or self.variables.get("PATH", "")).split(":"):
            candidate = f"{directory or '.'}/{name}"
            try:
                mode = self.sys.stat(candidate).st_mode
            except OSError:
                continue
            if mode & abi.S_IFMT == abi.S_IFREG:
                if mode & 0o111:
                    return candidate
                found = found or candidate
        return found

    def execute(self, words: list[str], path: str | None = None) -> int:
        """Becomes the program; returns only when it cannot: 127 not found, 126 not to be executed."""
        name = words[0]
        file = self.find(name, path)
        if file is None:
            self.complain(f"{name}: not found")
            return 127
        try:
            self.sys.execve(file, words, self.environ())
        except OSError as why:
            if why.errno == abi.ENOEXEC:
                return self._script(file, words)
            missing = why.errno in (abi.ENOENT, abi.ENOTDIR, abi.ELOOP, abi.ENAMETOOLONG)
            self.complain(f"{name}: not found" if missing else f"{name}: {why.strerror}")
            return 127 if missing else 126
        return 126

    def _script(self, file: str, words: list[str]) -> int:
        """A file without `#!` that is no program is a script."""
        fd = self.sys.open(file, abi.O_RDONLY)
        text = read_all(self.sys, fd)
        self.sys.close(fd)
        if b"\0" in text[:256]:
            self.complain(f"{words[0]}: Exec format error")
            return 126
        self.functions.clear()
        self.aliases.clear()
        self.variables = {"IFS": " \t\n", "PS4": "+ ", "OPTIND": "1"} | self.environ()
        self.arguments, self.positional = file, words[1:]
        self.pid = self.sys.getpid()
        self.line = self.loops = self.depth = 0
        return self.run_text(text.decode("utf-8", "surrogateescape"))

    # ---- traps ----

    def caught(self, sys: System, signum: int, info: object) -> None:
        """A trapped signal has come: its action runs between two commands."""
        self.pending.append(signum)

    def interrupted(self, sys: System, signum: int, info: object) -> None:
        """SIGINT at an interactive shell."""
        raise Interrupt

    def set_trap(self, number: int, action: str | None) -> None:
        """`action` None: the default; "": ignored."""
        if action is None:
            self.traps.pop(number, None)
        else:
            self.traps[number] = action
        if not number:
            return
        if action:
            self.sys.rt_sigaction(number, self.caught)
        elif action == "":
            self.sys.rt_sigaction(number, abi.SIG_IGN)
        else:
            self.default_action(number)

    def default_action(self, number: int) -> None:
        """What an untrapped signal does to this shell."""
        handler: Any = abi.SIG_DFL
        if self.options["i"]:
            if number == abi.SIGINT:
                handler = self.interrupted
            elif number in (abi.SIGQUIT, abi.SIGTERM):
                handler = abi.SIG_IGN
        if self.options["m"] and number in JOB_SIGNALS:
            handler = abi.SIG_IGN
        self.sys.rt_sigaction(number, handler)


def expand_prompt(shell: Shell, name: str) -> str:
    """A prompt, with its parameters expanded."""
    from userland.sh.parser import here_document

    text = shell.get(name)
    if not text:
        return ""
    if "$" not in text and "`" not in text:
        return text
    try:
        return expand.text(shell, here_document(text, {}))
    except (ExpansionError, ShellSyntaxError):
        return text


_RUN: dict[type, Callable[[Shell, Any], int]] = {
    Sequence: Shell._sequence,
    Pipeline: Shell._pipeline,
    Simple: Shell._simple,
    **CONTROL,
}
