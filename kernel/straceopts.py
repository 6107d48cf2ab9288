"""strace's own options (strace(1)), as far as they make sense here: what to show, how, and what to inject.

    parse(["-f", "-tt", "-T", "-e", "trace=%file,read", "-e", "inject=openat:error=ENOENT:when=2+3"])

gives an `Options`. What is no option of strace's is a ValueError in strace's words.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kernel import abi
from kernel.abi import SIGNAL_NAMES, SYSCALL_NAMES
from kernel.syscall.table import BY_NAME

if TYPE_CHECKING:
    from kernel.syscall.table import Call

_LISTS = {
    "process": """clone clone3 execve execveat exit exit_group wait4 waitid kill tkill tgkill rt_sigqueueinfo
        rt_tgsigqueueinfo pidfd_open pidfd_send_signal pidfd_getfd unshare setns prctl kcmp""",
    "signal": """rt_sigaction rt_sigprocmask rt_sigsuspend rt_sigpending rt_sigtimedwait rt_sigqueueinfo sigaltstack
        kill tkill tgkill rt_tgsigqueueinfo rt_sigreturn signalfd4 pidfd_send_signal""",
    "memory": """mmap munmap mprotect mremap brk madvise msync mincore mlock mlock2 munlock mlockall munlockall
        membarrier""",
    "network": """socket socketpair bind listen accept accept4 connect getsockname getpeername sendto recvfrom
        setsockopt getsockopt shutdown sendmsg recvmsg sendmmsg recvmmsg sendfile""",
    "ipc": "msgget msgsnd msgrcv msgctl semget semop semctl semtimedop shmget shmat shmdt shmctl",
    "creds": """getuid geteuid getgid getegid setuid setgid setreuid setregid setresuid getresuid setresgid getresgid
        setfsuid setfsgid getgroups setgroups capget capset prctl""",
    "clock": "clock_gettime clock_settime clock_getres clock_adjtime adjtimex gettimeofday settimeofday",
    "stat": "newfstatat statx", "lstat": "newfstatat", "fstat": "fstat newfstatat statx",
    "%stat": "newfstatat statx fstat", "statfs": "statfs", "fstatfs": "fstatfs", "%statfs": "statfs fstatfs",
    "pure": """getpid getppid gettid getuid geteuid getgid getegid getpgid getsid getresuid getresgid umask""",
}  # fmt: skip
_LISTS["net"] = _LISTS["network"]
_OLD_GROUPS = ("file", "process", "network", "signal", "ipc", "desc", "memory", "net")
STATUSES = ("successful", "failed", "unfinished", "unavailable", "detached")
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1, "": 10**3}
_ERRNOS = {name: number for number, name in abi.ERRNO_NAMES.items()}
SORTS = ("time", "total-time", "avg-time", "min-time", "max-time", "calls", "count", "errors", "error", "name",
         "syscall", "syscall-name", "nothing", "none")  # fmt: skip


def calls_of(text: str) -> frozenset[str]:
    """The names a set of strace's means: `read,write`, `%file`, `/regex`, `all`, `none`, `!set`."""
    if text.startswith("!"):
        return frozenset(BY_NAME) - calls_of(text[1:])
    found: set[str] = set()
    for word in text.split(","):
        maybe = word.startswith("?")
        name = word[1:] if maybe else word
        if name == "all":
            found.update(BY_NAME)
        elif name == "none":
            continue
        elif name.startswith("/"):
            found.update(n for n in BY_NAME if re.search(name[1:], n))
        elif name.startswith("%") or name in _OLD_GROUPS:
            found |= _group(name[1:] if name.startswith("%") else name, word)
        elif name in BY_NAME or name in SYSCALL_NAMES.values() or maybe:
            found.add(name)
        elif name.isdigit() and int(name) in SYSCALL_NAMES:
            found.add(SYSCALL_NAMES[int(name)])
        else:
            raise ValueError(f"invalid system call '{word}'")
    return frozenset(found)


def _group(name: str, word: str) -> set[str]:
    if name == "file":
        return {n for n, call in BY_NAME.items() if "path" in call.kinds}
    if name == "desc":
        return {n for n, call in BY_NAME.items() if _has_descriptor(call)}
    if name not in _LISTS:
        raise ValueError(f"invalid system call '{word}'")
    return {n for n in _LISTS[name].split() if n in BY_NAME}


def _has_descriptor(call: Call) -> bool:
    return any(kind in ("fd", "dirfd", "pollfds", "fdset") for kind in call.kinds) or call.returns == "fds"


def signals_of(text: str) -> frozenset[int]:
    """Numbers of the signals a set means: `SIGIO,hup`, `!SIGCHLD`, `all`, `none`."""
    if text.startswith("!"):
        return frozenset(range(1, 65)) - signals_of(text[1:])
    found: set[int] = set()
    for word in text.split(","):
        if word == "all":
            found.update(range(1, 65))
        elif word != "none":
            found.add(signal_number(word))
    return frozenset(found)


def signal_number(word: str) -> int:
    numbers = {name: number for number, name in SIGNAL_NAMES.items()}
    name = word.upper() if word.upper().startswith("SIG") else "SIG" + word.upper()
    if name in numbers:
        return numbers[name]
    real = re.fullmatch(r"SIGRT(?:MIN\+|_)?(\d+)", name)
    number = int(word) if word.isdigit() else 32 + int(real[1]) if real else 0
    if not 0 < number < 65:
        raise ValueError(f"invalid signal '{word}'")
    return number


class When:
    """`first`, `first+`, `first+step`, `first..last`, `first..last+step`: which of the calls are meant."""

    __slots__ = ("first", "last", "step")

    def __init__(self, text: str = "1+1") -> None:
        match = re.fullmatch(r"(\d+)(?:\.\.(\d+))?(?:\+(\d*))?", text)
        if match is None or not int(match[1]) or (match[2] and int(match[2]) < int(match[1])) or match[3] == "0":
            raise ValueError(f"invalid inject argument 'when={text}'")
        self.first = int(match[1])
        self.step = int(match[3] or 1) if match[3] is not None else (1 if match[2] else 0)
        self.last = int(match[2]) if match[2] else None if self.step else self.first

    def meant(self, n: int) -> bool:
        """Whether the n-th call (from 1) is one of them."""
        if n < self.first or (self.last is not None and n > self.last):
            return False
        return n == self.first if not self.step else (n - self.first) % self.step == 0


class Injection:
    """One `-e inject=` or `-e fault=`: what is done to which calls."""

    __slots__ = ("calls", "delay_enter_ns", "delay_exit_ns", "error", "retval", "signal", "when")

    def __init__(self, text: str, fault: bool = False) -> None:
        words = text.split(":")
        self.calls = calls_of(words[0])
        self.error: int | None = None
        self.retval: int | None = None
        self.signal = 0
        self.delay_enter_ns = self.delay_exit_ns = 0
        self.when = When()
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name == "error":
                self.error = _errno(value)
            elif name == "when":
                self.when = When(value)
            elif name == "retval" and not fault:
                self.retval = int(value, 0)
            elif name == "signal" and not fault:
                self.signal = signal_number(value)
            elif name == "delay_enter" and not fault:
                self.delay_enter_ns = _delay(value)
            elif name == "delay_exit" and not fault:
                self.delay_exit_ns = _delay(value)
            else:
                raise ValueError(f"invalid {'fault' if fault else 'inject'} argument '{word}'")
        if fault and self.error is None:
            self.error = abi.ENOSYS
        if self.error is not None and self.retval is not None:
            raise ValueError(f"invalid inject argument '{text}': error and retval")
        if not fault and len(words) == 1:
            raise ValueError(f"invalid inject argument '{text}'")


def _errno(word: str) -> int:
    number = _ERRNOS.get(word, int(word) if word.isdigit() else 0)
    if not 0 < number < 4096:
        raise ValueError(f"invalid inject argument 'error={word}'")
    return number


def _delay(word: str) -> int:
    match = re.fullmatch(r"(\d+)(s|ms|us|ns|)", word)
    if match is None:
        raise ValueError(f"invalid inject argument 'delay={word}'")
    return int(match[1]) * _UNITS[match[2]]


class Options:
    """What strace was asked for."""

    __slots__ = (
        "append", "clock", "column", "concerned", "durations", "environ", "follow", "injections", "numbers", "only",
        "output", "paths", "pids", "quiet", "relative", "separate", "show", "signals", "sort", "statuses", "strings",
        "table", "verbose", "wall",
    )  # fmt: skip

    def __init__(self) -> None:
        self.follow = False
        self.separate = False
        self.clock = ""
        """`t`: seconds, `tt`: with microseconds, `ttt`: since 1970."""
        self.relative = False
        self.durations = False
        self.table = False
        """-c or -C: a summary; `show` says whether the calls are shown too."""
        self.show = True
        self.wall = False
        self.sort = "time"
        self.only: frozenset[str] | None = None
        self.signals: frozenset[int] | None = None
        self.statuses: frozenset[str] | None = None
        self.strings = 32
        self.column = 40
        self.paths = 0
        """-y: the path behind each descriptor; -yy: addresses of sockets and numbers of devices too."""
        self.numbers = False
        self.quiet = 0
        self.verbose = False
        self.output = ""
        self.append = False
        self.pids: list[int] = []
        self.environ: dict[str, str | None] = {}
        self.concerned: list[str] = []
        """-P: only calls that concern one of these paths."""
        self.injections: list[Injection] = []


_TAKES = "aEeOoPpSsUuXb"
_LONG = {
    "follow-forks": "-f", "output": "-o", "trace": "-e trace=", "signal": "-e signal=", "status": "-e status=",
    "inject": "-e inject=", "fault": "-e fault=", "summary-only": "-c", "summary": "-C", "summary-sort-by": "-S",
    "summary-wall-clock": "-w", "string-limit": "-s", "columns": "-a", "attach": "-p", "env": "-E",
    "successful-only": "-z", "failed-only": "-Z", "trace-path": "-P", "syscall-number": "-n", "no-abbrev": "-v",
    "output-append-mode": "-A", "decode-fds": "-y", "syscall-times": "-T", "relative-timestamps": "-r",
    "absolute-timestamps": "-t", "timestamps": "-t", "quiet": "-q",
}  # fmt: skip


def parse(words: Sequence[str] | str) -> Options:
    """The options; ValueError for what strace would not take."""
    todo = list(shlex.split(words) if isinstance(words, str) else words)
    options = Options()
    while todo:
        word = todo.pop(0)
        if word.startswith("--"):
            todo[:0] = _long(word)
        elif word.startswith("-") and len(word) > 1:
            _short(options, word[1:], todo)
        else:
            raise ValueError(f"'{word}' is no option of strace's (the program is given to `terrella run`)")
    return options


def _long(word: str) -> list[str]:
    name, equals, value = word[2:].partition("=")
    short = _LONG.get(name)
    if short is None:
        raise ValueError(f"unrecognized option '{word}'")
    if short == "-t" and equals:
        form = {"unix": "-ttt", "unix,us": "-ttt", "time,us": "-tt", "us": "-tt", "time": "-t"}.get(value)
        if form is None:
            raise ValueError(f"invalid --absolute-timestamps argument '{value}'")
        return [form]
    if short.endswith("="):
        return ["-e", short[3:] + value]
    return [short, value] if equals and short[1] in _TAKES else [short]


def _short(options: Options, letters: str, todo: list[str]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _TAKES:
            if not letters and not todo:
                raise ValueError(f"option requires an argument -- '{letter}'")
            _with_value(options, letter, letters or todo.pop(0))
            return
        if letter == "f":
            options.separate = options.separate or options.follow
            options.follow = True
        elif letter == "t":
            options.clock += "t"
        elif letter == "y":
            options.paths += 1
        elif letter == "q":
            options.quiet += 1
        elif letter in "cC":
            options.table, options.show = True, letter == "C"
        elif letter in _FLAGS:
            name, value = _FLAGS[letter]
            setattr(options, name, value)
        elif letter not in "dDxi":
            raise ValueError(f"invalid option -- '{letter}'")
    options.clock = options.clock[:3]


_FLAGS: dict[str, tuple[str, object]] = {
    "r": ("relative", True), "T": ("durations", True), "w": ("wall", True), "n": ("numbers", True),
    "v": ("verbose", True), "A": ("append", True), "z": ("statuses", frozenset({"successful"})),
    "Z": ("statuses", frozenset({"failed"})),
}  # fmt: skip


def _number(letter: str, value: str) -> int:
    if not value.isdigit():
        raise ValueError(f"invalid -{letter} argument: '{value}'")
    return int(value)


def _with_value(options: Options, letter: str, value: str) -> None:
    if letter == "e":
        _expression(options, value)
    elif letter == "o":
        options.output = value
    elif letter == "s":
        options.strings = _number(letter, value)
    elif letter == "a":
        options.column = _number(letter, value)
    elif letter == "p":
        options.pids += [_number(letter, pid) for pid in re.split(r"[,\s]+", value)]
    elif letter == "P":
        options.concerned.append(value)
    elif letter == "S":
        if value not in SORTS:
            raise ValueError(f"invalid sortby: '{value}'")
        options.sort = value
    elif letter == "E":
        name, equals, text = value.partition("=")
        options.environ[name] = text if equals else None
    elif letter in "ubXU":
        raise ValueError(f"-{letter} is not offered")


def _expression(options: Options, text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals:
        name, value = "trace", text
    if name in ("trace", "t"):
        options.only = calls_of(value)
    elif name in ("signal", "signals", "s"):
        options.signals = signals_of(value)
    elif name == "status":
        options.statuses = _statuses(value.split(","))
    elif name == "inject":
        options.injections.append(Injection(value))
    elif name == "fault":
        options.injections.append(Injection(value, fault=True))
    elif name in ("quiet", "q", "silent", "silence"):
        options.quiet = 1
    elif name == "decode-fds":
        options.paths = 2 if "all" in value or "socket" in value else 1
    elif name in ("abbrev", "a", "verbose", "v"):
        options.verbose = value in ("none", "all")
    else:
        raise ValueError(f"invalid -e expression '{text}'")


def _statuses(words: Iterable[str]) -> frozenset[str]:
    chosen = set(words)
    if chosen == {"all"}:
        return frozenset(STATUSES)
    if not chosen <= set(STATUSES):
        raise ValueError(f"invalid status '{sorted(chosen - set(STATUSES))[0]}'")
    return frozenset(chosen)
