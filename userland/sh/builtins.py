"""The commands a shell carries out itself. `SPECIAL` are those that POSIX.1 (section 2.14) gives that name: their
assignments stay, and their mistakes end a shell that is not interactive. The rest is in `BUILTINS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from userland import abi
from userland.lib import read_all
from userland.sh.condition import ConditionError, test
from userland.sh.input import NAME, getopts, mistake, read
from userland.sh.leaving import Break, Exit, Failure, Return
from userland.sh.printf import Printf, echo
from userland.sh.shell import LETTERS

if TYPE_CHECKING:
    from userland.sh.shell import Shell

Builtin = Callable[["Shell", list[str]], int]
LIMITS = {
    "c": ("core file size", "blocks", 512, abi.RLIMIT_CORE),
    "d": ("data seg size", "kbytes", 1024, abi.RLIMIT_DATA),
    "f": ("file size", "blocks", 512, abi.RLIMIT_FSIZE),
    "l": ("locked memory", "kbytes", 1024, abi.RLIMIT_MEMLOCK),
    "m": ("memory", "kbytes", 1024, abi.RLIMIT_RSS),
    "n": ("nofiles", "descriptors", 1, abi.RLIMIT_NOFILE),
    "p": ("process", "processes", 1, abi.RLIMIT_NPROC),
    "s": ("stack", "kbytes", 1024, abi.RLIMIT_STACK),
    "t": ("time", "seconds", 1, abi.RLIMIT_CPU),
    "v": ("vmemory", "kbytes", 1024, abi.RLIMIT_AS),
}


def quoted(text: str) -> str:
    """In single quotes, so that a shell reads it back."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def integer(words: list[str], text: str) -> int:
    if not text.isdigit():
        raise Failure(f"{words[0]}: Illegal number: {text}")
    return int(text)


# ---- special ----


def colon(shell: Shell, words: list[str]) -> int:
    return 0


def dot(shell: Shell, words: list[str]) -> int:
    if len(words) < 2:
        return 0
    file = words[1]
    if "/" not in file:
        for directory in (shell.get("PATH") or "").split(":"):
            candidate = f"{directory or '.'}/{file}"
            try:
                shell.sys.access(candidate, abi.R_OK)
            except OSError:
                continue
            file = candidate
            break
        else:
            raise Failure(f".: {words[1]}: not found")
    try:
        fd = shell.sys.open(file, abi.O_RDONLY)
    except OSError:
        raise Failure(f".: cannot open {file}: No such file") from None
    text = read_all(shell.sys, fd).decode("utf-8", "surrogateescape")
    shell.sys.close(fd)
    shell.status = 0
    try:
        return shell.run_text(text)
    except Return as leave:
        return leave.status


def eval_(shell: Shell, words: list[str]) -> int:
    shell.status = 0
    return shell.run_text(" ".join(words[1:]) + "\n")


def exec_(shell: Shell, words: list[str]) -> int:
    rest = words[1:]
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if not rest:
        return 0
    for number in (abi.SIGTSTP, abi.SIGTTIN, abi.SIGTTOU, abi.SIGINT, abi.SIGQUIT, abi.SIGTERM):
        if (shell.options["m"] or shell.options["i"]) and shell.traps.get(number) != "":
            shell.sys.rt_sigaction(number, abi.SIG_DFL)
    raise Exit(shell.execute(rest))


def exit_(shell: Shell, words: list[str]) -> int:
    raise Exit(integer(words, words[1]) & 0xFF if len(words) > 1 else shell.status)


def return_(shell: Shell, words: list[str]) -> int:
    raise Return(integer(words, words[1]) & 0xFF if len(words) > 1 else shell.status)


def break_(shell: Shell, words: list[str]) -> int:
    levels = integer(words, words[1]) if len(words) > 1 else 1
    if levels < 1:
        raise Failure(f"{words[0]}: Illegal number: {words[1]}")
    if not shell.loops:
        return 0
    raise Break(min(levels, shell.loops), words[0] == "continue")


def export(shell: Shell, words: list[str]) -> int:
    marks = shell.exported if words[0] == "export" else shell.readonly
    names = [word for word in words[1:] if word not in ("-p", "--")]
    if not names:
        for name in sorted(marks):
            value = shell.variables.get(name)
            shell.write(1, f"{words[0]} {name}{'' if value is None else '=' + quoted(value)}\n")
        return 0
    for word in names:
        name, equals, value = word.partition("=")
        if not NAME.fullmatch(name):
            raise Failure(f"{words[0]}: {name}: bad variable name")
        if equals:
            shell.set(name, value)
        marks[name] = None
    return 0


def set_(shell: Shell, words: list[str]) -> int:
    rest = words[1:]
    if not rest:
        for name in sorted(shell.variables):
            shell.write(1, f"{name}={quoted(shell.variables[name])}\n")
        return 0
    while rest and rest[0][:1] in ("-", "+") and len(rest[0]) > 1:
        word = rest.pop(0)
        if word == "--":
            shell.positional = rest
            return 0
        on = word[0] == "-"
        for letter in word[1:]:
            if letter == "o":
                if not rest:
                    _list_options(shell, on)
                    continue
                named = LETTERS.get(rest[0])
                if named is None:
                    raise Failure(f"set: Illegal option -o {rest[0]}")
                rest.pop(0)
                set_option(shell, named, on)
            elif letter in shell.options:
                set_option(shell, letter, on)
            else:
                raise Failure(f"set: Illegal option -{letter}")
        if not rest:
            return 0
    if rest:
        if rest[0] in ("-", "+"):
            rest = rest[1:]
        shell.positional = rest
    return 0


def set_option(shell: Shell, letter: str, on: bool) -> None:
    if letter == "m" and on != shell.options["m"]:
        if on and shell.jobs.terminal < 0 and not shell.jobs.take_terminal(2):
            shell.complain("can't access tty; job control turned off")
            return
        shell.options["m"] = on
        for number in (abi.SIGTSTP, abi.SIGTTIN, abi.SIGTTOU):
            if number not in shell.traps:
                shell.default_action(number)
        return
    shell.options[letter] = on


def _list_options(shell: Shell, readable: bool) -> None:
    if readable:
        shell.write(1, "Current option settings\n")
    for name, letter in LETTERS.items():
        on = shell.options[letter]
        shell.write(1, f"{name:<16}{'on' if on else 'off'}\n" if readable else f"set {'-' if on else '+'}o {name}\n")


def shift(shell: Shell, words: list[str]) -> int:
    count = integer(words, words[1]) if len(words) > 1 else 1
    if count > len(shell.positional):
        raise Failure("shift: can't shift that many")
    shell.positional = shell.positional[count:]
    return 0


def times(shell: Shell, words: list[str]) -> int:
    for who in (abi.RUSAGE_SELF, abi.RUSAGE_CHILDREN):
        usage = shell.sys.getrusage(who)
        shown = [f"{ns // 60_000_000_000}m{ns % 60_000_000_000 / 1e9:.6f}s" for ns in (usage.ru_utime, usage.ru_stime)]
        shell.write(1, " ".join(shown) + "\n")
    return 0


def signal_number(text: str) -> int | None:
    """Of `INT`, `SIGINT`, `2` or `EXIT` (0); None for what is none."""
    if text.isdigit():
        return int(text) if int(text) <= 64 else None
    name = text.upper()
    if name == "EXIT":
        return 0
    name = name if name.startswith("SIG") else "SIG" + name
    return next((number for number, known in abi.SIGNAL_NAMES.items() if known == name), None)


def signal_title(number: int) -> str:
    return "EXIT" if not number else abi.signal_name(number).removeprefix("SIG")


def trap(shell: Shell, words: list[str]) -> int:
    rest = words[1:]
    if rest[:1] == ["--"]:
        rest = rest[1:]
    if not rest:
        for number in sorted(shell.traps):
            shell.write(1, f"trap -- {quoted(shell.traps[number])} {signal_title(number)}\n")
        return 0
    action: str | None = rest[0]
    names = rest[1:]
    if len(rest) == 1 or (rest[0].isdigit() and signal_number(rest[0]) is not None):
        action, names = None, rest
    if action == "-":
        action = None
    status = 0
    for name in names:
        found = signal_number(name)
        if found is None:
            shell.complain(f"trap: {name}: bad trap")
            status = 1
        else:
            shell.set_trap(found, action)
    return status


def unset(shell: Shell, words: list[str]) -> int:
    functions = False
    for word in words[1:]:
        if word in ("-f", "-v"):
            functions = word == "-f"
        elif functions:
            shell.functions.pop(word, None)
        else:
            if not NAME.fullmatch(word):
                raise Failure(f"unset: {word}: bad variable name")
            shell.unset(word)
    return 0


# ---- ordinary ----


def alias(shell: Shell, words: list[str]) -> int:
    status = 0
    if len(words) == 1:
        for name in sorted(shell.aliases):
            shell.write(1, f"{name}={quoted(shell.aliases[name])}\n")
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if equals and name:
            shell.aliases[name] = value
        elif word in shell.aliases:
            shell.write(1, f"{word}={quoted(shell.aliases[word])}\n")
        else:
            shell.complain(f"alias: {word} not found")
            status = 1
    return status


def unalias(shell: Shell, words: list[str]) -> int:
    if "-a" in words[1:]:
        shell.aliases.clear()
        return 0
    status = 0
    for word in words[1:]:
        if shell.aliases.pop(word, None) is None:
            shell.complain(f"unalias: {word} not found")
            status = 1
    return status


def cd(shell: Shell, words: list[str]) -> int:
    rest = words[1:]
    physical = False
    while rest and rest[0] in ("-L", "-P", "--"):
        physical = rest[0] == "-P" or (physical and rest[0] == "--")
        rest = rest[1:]
    target = rest[0] if rest else shell.get("HOME")
    if target is None:
        return mistake(shell, words, "HOME not set")
    show = target == "-"
    if show:
        target = shell.get("OLDPWD") or ""
    if not target:
        return 0
    candidates = [target]
    if not target.startswith(("/", "./", "../")) and target not in (".", ".."):
        for base in (shell.get("CDPATH") or "").split(":"):
            if base:
                candidates.insert(len(candidates) - 1, f"{base}/{target}")
    before = here(shell)
    for candidate in candidates:
        place = candidate if physical else logical(before, candidate)
        try:
            shell.sys.chdir(place)
        except OSError:
            continue
        shell.set("OLDPWD", before)
        shell.set("PWD", place if not physical else shell.sys.getcwd())
        if show or candidate != target:
            shell.write(1, shell.variables["PWD"] + "\n")
        return 0
    return mistake(shell, words, f"can't cd to {target}")


def logical(base: str, path: str) -> str:
    """`path` from `base`, without `.` and `..`."""
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{base}/{path}").split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def here(shell: Shell) -> str:
    """The working directory by the name it was reached by, if that still leads there."""
    name = shell.variables.get("PWD", "")
    if name.startswith("/"):
        try:
            a, b = shell.sys.stat(name), shell.sys.stat(".")
            if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino):
                return name
        except OSError:
            pass  # the name is stale
    try:
        found: str = shell.sys.getcwd()
    except OSError:
        return name
    return found


def pwd(shell: Shell, words: list[str]) -> int:
    shell.write(1, (shell.sys.getcwd() if "-P" in words[1:] else here(shell)) + "\n")
    return 0


def command(shell: Shell, words: list[str]) -> int:
    rest = words[1:]
    how, path = "", None
    while rest and rest[0][:1] == "-" and len(rest[0]) > 1:
        word = rest.pop(0)
        if word == "--":
            break
        for letter in word[1:]:
            if letter in "vV":
                how = letter
            elif letter == "p":
                path = "/usr/bin:/bin:/usr/sbin:/sbin"
            else:
                return mistake(shell, words, f"Illegal option -{letter}")
    if not rest:
        return 0
    if how:
        return _say_what(shell, rest[0], how == "v", path)
    if rest[0] in SPECIAL:
        try:
            return SPECIAL[rest[0]](shell, rest)
        except Failure as why:
            shell.complain(str(why))
            return why.status
    if rest[0] in BUILTINS:
        return BUILTINS[rest[0]](shell, rest)
    from userland.sh.jobs import Job

    job = Job(" ".join(rest), [])
    shell.fork(job, lambda child: child.execute(rest, path))
    return shell.jobs.foreground(job)


def _say_what(shell: Shell, name: str, brief: bool, path: str | None = None) -> int:
    from userland.sh.parser import RESERVED

    if RESERVED.fullmatch(name):
        said = name if brief else f"{name} is a shell keyword"
    elif name in shell.aliases:
        said = (
            f"alias {name}={quoted(shell.aliases[name])}" if brief else f"{name} is an alias for {shell.aliases[name]}"
        )
    elif name in shell.functions:
        said = name if brief else f"{name} is a shell function"
    elif name in SPECIAL:
        said = name if brief else f"{name} is a special shell builtin"
    elif name in BUILTINS:
        said = name if brief else f"{name} is a shell builtin"
    else:
        file = shell.find(name, path)
        if file is None or ("/" in name and not _executable(shell, name)):
            if not brief:
                shell.write(1, f"{name}: not found\n")
            return 127
        said = file if brief else f"{name} is {file}"
    shell.write(1, said + "\n")
    return 0


def _executable(shell: Shell, path: str) -> bool:
    try:
        shell.sys.access(path, abi.X_OK)
    except OSError:
        return False
    return True


def type_(shell: Shell, words: list[str]) -> int:
    return max([_say_what(shell, name, False) for name in words[1:]], default=0)


def echo_(shell: Shell, words: list[str]) -> int:
    return say(shell, words, echo(words[1:]))


def say(shell: Shell, words: list[str], text: str) -> int:
    """Writes; 1 with a message where that fails."""
    try:
        shell.write(1, text)
    except OSError as why:
        shell.complain(f"{words[0]}: I/O error: {why.strerror}")
        return 1
    return 0


def printf(shell: Shell, words: list[str]) -> int:
    if len(words) < 2:
        return mistake(shell, words, "usage: printf format [arg ...]")
    run = Printf(words[2:], lambda what, why: shell.complain(f"printf: {what}: {why}"))
    text = run.format(words[1])
    return say(shell, words, text) or run.status


def true(shell: Shell, words: list[str]) -> int:
    return 0


def false(shell: Shell, words: list[str]) -> int:
    return 1


def test_(shell: Shell, words: list[str]) -> int:
    try:
        return int(not test(shell.sys, words[0], words[1:]))
    except ConditionError as why:
        return mistake(shell, words, why)


def local(shell: Shell, words: list[str]) -> int:
    if not shell.local:
        raise Failure("local: not in a function")
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not NAME.fullmatch(name):
            raise Failure(f"local: {name}: bad variable name")
        shell.local[-1].setdefault(name, shell.variables.get(name))
        if equals:
            shell.set(name, value)
    return 0


def umask(shell: Shell, words: list[str]) -> int:
    rest = [word for word in words[1:] if word != "-S"]
    if not rest:
        mask = shell.sys.umask(0)
        shell.sys.umask(mask)
        if "-S" in words[1:]:
            shown = ["".join(c for c, b in zip("rwx", (4, 2, 1)) if not mask >> s & b) for s in (6, 3, 0)]
            shell.write(1, "u={},g={},o={}\n".format(*shown))
        else:
            shell.write(1, f"{mask:04o}\n")
        return 0
    if rest[0].isdigit():
        if not re.fullmatch("[0-7]+", rest[0]):
            return mistake(shell, words, f"Illegal number: {rest[0]}")
        shell.sys.umask(int(rest[0], 8) & 0o777)
        return 0
    from userland.modes import symbolic

    mask = shell.sys.umask(0)
    try:
        shell.sys.umask(~symbolic(rest[0], ~mask & 0o777, False, 0) & 0o777)
    except ValueError:
        shell.sys.umask(mask)
        return mistake(shell, words, f"Illegal mode: {rest[0]}")
    return 0


def ulimit(shell: Shell, words: list[str]) -> int:
    letters, value, soft, hard, everything = "f", None, True, True, False
    for word in words[1:]:
        if word[:1] == "-":
            for letter in word[1:]:
                if letter in "HS":
                    soft, hard = letter == "S", letter == "H"
                elif letter == "a":
                    everything = True
                elif letter in LIMITS:
                    letters = letter
                else:
                    return mistake(shell, words, f"Illegal option -{letter}")
        else:
            value = word
    for letter in LIMITS if everything else letters:
        name, unit, scale, resource = LIMITS[letter]
        limits = shell.sys.prlimit64(0, resource)
        if value is not None:
            if value != "unlimited" and not value.isdigit():
                return mistake(shell, words, f"Illegal number: {value}")
            new = abi.RLIM_INFINITY if value == "unlimited" else int(value) * scale
            try:
                shell.sys.prlimit64(0, resource, (new if soft else limits[0], new if hard else limits[1]))
            except OSError as why:
                return mistake(shell, words, f"error setting limit ({why.strerror})")
            return 0
        limit = limits[1] if hard and not soft else limits[0]
        shown = "unlimited" if limit < 0 else str(limit // scale)
        title = f"({unit})"
        shell.write(1, f"{name:<20} {title:>16} {shown}\n" if everything else shown + "\n")
    return 0


def hash_(shell: Shell, words: list[str]) -> int:
    status = 0
    for name in words[1:]:
        if name != "-r" and shell.find(name) is None:
            shell.complain(f"hash: {name}: not found")
            status = 1
    return status


SPECIAL: dict[str, Builtin] = {
    ":": colon, ".": dot, "break": break_, "continue": break_, "eval": eval_, "exec": exec_, "exit": exit_,
    "export": export, "readonly": export, "return": return_, "set": set_, "shift": shift, "times": times,
    "trap": trap, "unset": unset,
}  # fmt: skip
BUILTINS: dict[str, Builtin] = {
    "[": test_, "alias": alias, "cd": cd, "chdir": cd, "command": command, "echo": echo_, "false": false,
    "getopts": getopts, "hash": hash_, "local": local, "printf": printf, "pwd": pwd, "read": read, "test": test_,
    "true": true, "type": type_, "ulimit": ulimit, "umask": umask, "unalias": unalias,
}  # fmt: skip


def _with_jobs() -> None:
    from userland.sh.jobcommands import COMMANDS

    BUILTINS.update(COMMANDS)


_with_jobs()
