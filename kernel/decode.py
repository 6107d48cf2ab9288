"""Values of each kind of argument as strace writes them. `kernel/strace.py` says which kind stands where.

A decoder gets the value and all arguments of the call (an ioctl's argument depends on its request). It must take any
value: a program may pass anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from kernel import abi
from kernel.abi import signal_name

Decoder = Callable[[Any, tuple[Any, ...]], str]
LONGEST = 32
"""Bytes of a buffer that are shown (strace -s)."""
_ESCAPES = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quoted(data: bytes, most: int | None = None) -> str:
    """A C string literal; octal escapes as short as the next character lets them be, and `...` after `most` bytes."""
    cut = most is not None and len(data) > most
    shown = data[:most] if cut else data
    out = []
    for i, byte in enumerate(shown):
        if byte in _ESCAPES:
            out.append(_ESCAPES[byte])
        elif 32 <= byte < 127:
            out.append(chr(byte))
        elif i + 1 < len(shown) and 48 <= shown[i + 1] <= 57:
            out.append(f"\\{byte:03o}")
        else:
            out.append(f"\\{byte:o}")
    return '"' + "".join(out) + ('"...' if cut else '"')


def flags_text(value: Any, names: dict[int, str], zero: str = "0") -> str:
    """`A|B|0x100`: the flags by name, what is left as a number."""
    if not isinstance(value, int):
        return plain(value, ())
    if not value:
        return zero
    parts = []
    rest = int(value)
    for bits, name in names.items():
        if bits and rest & bits == bits:
            parts.append(name)
            rest &= ~bits
    if rest:
        parts.append(f"{rest & 0xFFFFFFFFFFFFFFFF:#x}")
    return "|".join(parts)


def names_of(prefix: str, drop: tuple[str, ...] = (), widest_first: bool = True) -> dict[int, str]:
    """{value: name} of the ABI's constants with that prefix, the first name of a value; `drop` lists prefixes that
    are not meant.
    """
    found: dict[int, str] = {}
    for name, value in vars(abi).items():
        if name.startswith(prefix) and not (drop and name.startswith(drop)) and isinstance(value, int):
            found.setdefault(value, name)
    keys = sorted(found, key=lambda v: (-bin(v).count("1"), v)) if widest_first else list(found)
    return {value: found[value] for value in keys}


def plain(value: Any, args: tuple[Any, ...]) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return quoted(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bytes | bytearray | memoryview):
        return quoted(bytes(value), LONGEST)
    return "{...}"


def path(value: Any, args: tuple[Any, ...]) -> str:
    if isinstance(value, str):
        return quoted(value.encode("utf-8", "surrogateescape"))
    return quoted(value) if isinstance(value, bytes) else plain(value, args)


def dirfd(value: Any, args: tuple[Any, ...]) -> str:
    return "AT_FDCWD" if value == abi.AT_FDCWD else plain(value, args)


def mode(value: Any, args: tuple[Any, ...]) -> str:
    return f"0{value:o}".rjust(3, "0") if isinstance(value, int) and value >= 0 else plain(value, args)


def buffer(value: Any, most: int) -> str | None:
    """What is in a sink, a source or plain bytes, as far as `most` bytes; None for anything else."""
    if isinstance(value, bytes | bytearray | memoryview):
        return quoted(bytes(value[: most + 1]), most)
    whole = getattr(value, "whole", None)
    if whole is not None:
        return quoted(bytes(whole[: most + 1]), most)
    if not hasattr(value, "chunks"):
        return None
    shown = b""
    for chunk in value.chunks:
        shown += chunk[: most + 1 - len(shown)]
        if len(shown) > most:
            break
    return quoted(shown, most)


def sink(value: Any, args: tuple[Any, ...]) -> str:
    return buffer(value, LONGEST) or "NULL"


def source(value: Any, args: tuple[Any, ...]) -> str:
    whole = getattr(value, "whole", None)
    if whole is None:
        return plain(value, args)
    shown = bytes(whole[: LONGEST + 1])
    return quoted(shown, LONGEST)


OPEN = {
    getattr(abi, name): name
    for name in (
        "O_CREAT", "O_EXCL", "O_NOCTTY", "O_TRUNC", "O_APPEND", "O_NONBLOCK", "O_SYNC", "O_DSYNC", "O_DIRECT",
        "O_LARGEFILE", "O_NOFOLLOW", "O_NOATIME", "O_CLOEXEC", "O_PATH", "O_TMPFILE", "O_DIRECTORY",
    )
}  # fmt: skip
OPEN[abi.O_ASYNC] = "FASYNC"
"""In strace's order."""


def open_flags(value: Any, args: tuple[Any, ...]) -> str:
    """With the access mode first, as open(2) has it."""
    if not isinstance(value, int):
        return plain(value, args)
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3]
    rest = value & ~3
    return f"{access}|{flags_text(rest, OPEN)}" if rest else access


def descriptor_flags(value: Any, args: tuple[Any, ...]) -> str:
    """O_* flags of a call that has no access mode (pipe2, dup3)."""
    return flags_text(value, OPEN)


def signum(value: Any, args: tuple[Any, ...]) -> str:
    return signal_name(value) if isinstance(value, int) and value else plain(value, args)


def _short(number: int) -> str:
    return signal_name(number).removeprefix("SIG")


def sigset(value: Any, args: tuple[Any, ...]) -> str:
    """`[INT TERM]`; `~[KILL]` when most are in it."""
    if not isinstance(value, int):
        return plain(value, args)
    members = [n for n in range(1, 65) if value >> n - 1 & 1]
    if len(members) > 32:
        return "~[" + " ".join(_short(n) for n in range(1, 65) if not value >> n - 1 & 1) + "]"
    return "[" + " ".join(_short(n) for n in members) + "]"


def handler_text(handler: Any) -> str:
    if handler == 0:
        return "SIG_DFL"
    if handler == 1:
        return "SIG_IGN"
    return str(getattr(handler, "__name__", "?"))


def sigaction(value: Any, args: tuple[Any, ...]) -> str:
    """The new disposition of rt_sigaction(sig, handler, flags, mask)."""
    if len(args) < 2:
        return "NULL"
    flags = args[2] if len(args) > 2 else 0
    return _action(args[1], flags, args[3] if len(args) > 3 else 0)


def _action(handler: Any, flags: int, mask: int) -> str:
    return f"{{sa_handler={handler_text(handler)}, sa_mask={sigset(mask, ())}, sa_flags={flags_text(flags, SA)}}}"


SA = names_of("SA_")


def signal_info(info: Any) -> str:
    """siginfo_t."""
    number, code = info.si_signo, info.si_code
    head = f"si_signo={signal_name(number)}, si_code="
    if number == abi.SIGCHLD and code in CLD:
        status = str(info.si_status) if code == abi.CLD_EXITED else signal_name(info.si_status)
        tail = f", si_pid={info.si_pid}, si_uid={info.si_uid}, si_status={status}, si_utime=0, si_stime=0"
        return "{" + head + CLD[code] + tail + "}"
    if code in (abi.SI_KERNEL, abi.SI_TIMER):
        return "{" + head + SI.get(code, str(code)) + "}"
    tail = f", si_pid={info.si_pid}, si_uid={info.si_uid}"
    if code == abi.SI_QUEUE:
        tail += f", si_value={{sival_int={info.si_value}, sival_ptr={info.si_value:#x}}}"
    return "{" + head + SI.get(code, str(code)) + tail + "}"


CLD = names_of("CLD_", widest_first=False)
SI = {**names_of("SI_", widest_first=False), -6: "SI_TKILL"}


def timespec(value: Any, args: tuple[Any, ...]) -> str:
    """Nanoseconds as struct timespec."""
    if not isinstance(value, int):
        return plain(value, args)
    return f"{{tv_sec={value // 1_000_000_000}, tv_nsec={value % 1_000_000_000}}}"


def timeval(value: int) -> str:
    return f"{{tv_sec={value // 1_000_000_000}, tv_usec={value % 1_000_000_000 // 1000}}}"


def itimer_result(value: Any, args: tuple[Any, ...]) -> str:
    left, interval = value
    return f"{{it_interval={timeval(interval)}, it_value={timeval(left)}}}"


def itimer_value(value: Any, args: tuple[Any, ...]) -> str:
    """The new value of setitimer(which, value, interval)."""
    if len(args) < 2 or not isinstance(args[1], int):
        return plain(value, args)
    return f"{{it_interval={timeval(args[2] if len(args) > 2 else 0)}, it_value={timeval(args[1])}}}"


def itimerspec(value: Any, args: tuple[Any, ...]) -> str:
    try:
        a, b = value
        return f"{{it_interval={timespec(b, ())}, it_value={timespec(a, ())}}}"
    except (TypeError, ValueError):
        return plain(value, args)


def wait_status(status: int) -> str:
    if status == 0xFFFF:
        return "{WIFCONTINUED(s)}"
    if status & 0xFF == 0x7F:
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8)}}}"
    if status & 0x7F:
        core = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(status & 0x7F)}{core}}}"
    return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8}}}"


def strings(value: Any, args: tuple[Any, ...]) -> str:
    try:
        return "[" + ", ".join(path(word, args) for word in value) + "]"
    except TypeError:
        return plain(value, args)


def environment(value: Any, args: tuple[Any, ...]) -> str:
    count = len(value) if hasattr(value, "__len__") else 0
    return "NULL" if value is None else f"[/* {count} var{'' if count == 1 else 's'} */]"


def clone_flags(value: Any, args: tuple[Any, ...]) -> str:
    if not isinstance(value, int):
        return plain(value, args)
    parts = [name for bits, name in CLONE.items() if value & bits == bits]
    if value & abi.CSIGNAL:
        parts.append(signal_name(value & abi.CSIGNAL))
    return "flags=" + ("|".join(parts) or "0")


CLONE = {v: n for v, n in sorted(names_of("CLONE_").items()) if v > abi.CSIGNAL}


def sockaddr(value: Any, args: tuple[Any, ...]) -> str:
    """What Python has as an address: (host, port[, flow, scope]), a path, or None."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and ":" in value[0]:
        value = (*value, 0, 0)
    if isinstance(value, tuple) and len(value) == 2:
        return f'{{sa_family=AF_INET, sin_port=htons({value[1]}), sin_addr=inet_addr("{value[0]}")}}'
    if isinstance(value, tuple) and len(value) == 4:
        return (
            f"{{sa_family=AF_INET6, sin6_port=htons({value[1]}), sin6_flowinfo=htonl({value[2]}), "
            f'inet_pton(AF_INET6, "{value[0]}", &sin6_addr), sin6_scope_id={value[3]}}}'
        )
    if isinstance(value, str | bytes):
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if not raw:
            return "{sa_family=AF_UNIX}"
        text = "@" + quoted(raw[1:]) if raw[:1] == b"\0" else quoted(raw)
        return f"{{sa_family=AF_UNIX, sun_path={text}}}"
    return plain(value, args)


def address_length(value: Any) -> str:
    if isinstance(value, tuple):
        return "[28]" if len(value) == 4 or ":" in str(value[0]) else "[16]"
    if isinstance(value, str | bytes):
        return f"[{2 + len(value) + (1 if value and value[:1] not in (chr(0), bytes(1)) else 0)}]"
    return "[0]"


def room_and_length(value: Any) -> str:
    """Of an address that the kernel filled in: the room there was, and what it took."""
    return f"[128 => {address_length(value).strip('[]')}]"


def named_address(value: Any, args: tuple[Any, ...]) -> str:
    """An address that is passed in, with its length after it."""
    return f"{sockaddr(value, args)}, {address_length(value).strip('[]')}"


SEALS = names_of("F_SEAL_")


def fcntl_argument(value: Any, args: tuple[Any, ...]) -> str:
    command = args[1] if len(args) > 1 else None
    if command == abi.F_SETFD:
        return "FD_CLOEXEC" if value == 1 else plain(value, args)
    if command == abi.F_SETFL:
        return open_flags(value, args)
    if command == abi.F_ADD_SEALS:
        return flags_text(value, SEALS)
    return plain(value, args)


def message(value: Any, args: tuple[Any, ...]) -> str:
    """struct msghdr of sendmsg(fd, (source, ancillary data, address)) and recvmsg(fd, (sink, room))."""
    data = source(value[0], args) if hasattr(value[0], "whole") else sink(value[0], args)
    size = len(getattr(value[0], "whole", b"")) or sum(len(c) for c in getattr(value[0], "chunks", ()))
    name = sockaddr(value[2], args) if len(value) > 2 else "NULL"
    iov = f"[{{iov_base={data}, iov_len={size}}}]"
    return f"{{msg_name={name}, msg_iov={iov}, msg_iovlen=1, msg_controllen=0, msg_flags=0}}"


SOCKET_TYPE = {v: n for v, n in names_of("SOCK_", widest_first=False).items() if v < 16}
SOCKET_FLAGS = {abi.O_CLOEXEC: "SOCK_CLOEXEC", abi.O_NONBLOCK: "SOCK_NONBLOCK"}
LEVELS = {abi.SOL_SOCKET: "SOL_SOCKET", 6: "SOL_TCP", 0: "SOL_IP", 41: "SOL_IPV6", 17: "SOL_UDP", 255: "SOL_RAW"}


def socket_type(value: Any, args: tuple[Any, ...]) -> str:
    if not isinstance(value, int):
        return plain(value, args)
    kind = SOCKET_TYPE.get(value & 15, str(value & 15))
    rest = value & ~15
    return f"{kind}|{flags_text(rest, SOCKET_FLAGS)}" if rest else kind


def protocol(value: Any, args: tuple[Any, ...]) -> str:
    if args and args[0] in (abi.AF_INET, abi.AF_INET6) and isinstance(value, int):
        return {
            0: "IPPROTO_IP",
            1: "IPPROTO_ICMP",
            6: "IPPROTO_TCP",
            17: "IPPROTO_UDP",
            58: "IPPROTO_ICMPV6",
            255: "IPPROTO_RAW",
        }.get(value, str(value))
    return plain(value, args)


def socket_option(value: Any, args: tuple[Any, ...]) -> str:
    level = args[1] if len(args) > 1 else None
    if level == abi.SOL_SOCKET:
        return SO.get(value, plain(value, args))
    names = OPTIONS.get(level) if isinstance(level, int) and isinstance(value, int) else None
    return names.get(value, plain(value, args)) if names is not None else plain(value, args)


SO = names_of("SO_", widest_first=False)
OPTIONS = {
    0: names_of("IP_", ("IP_PMTUDISC",), widest_first=False),
    6: names_of("TCP_", ("TCP_CA",), widest_first=False),
    17: names_of("UDP_", widest_first=False),
    41: names_of("IPV6_", ("IPV6_PMTUDISC",), widest_first=False),
}
"""Names of options by level."""


def option_value(value: Any, args: tuple[Any, ...]) -> str:
    return f"[{int(value)}]" if isinstance(value, int) else plain(value, args)


def option_in(value: Any, args: tuple[Any, ...]) -> str:
    """An option's value that is passed in, with its length after it."""
    return f"[{int(value)}], 4" if isinstance(value, int) else f"{plain(value, args)}, {len(value)}"


def _pollfd(entry: Any, word: str) -> str:
    return f"{{fd={entry[0]}, {word}={flags_text(entry[1], POLL)}}}"


POLL = names_of("POLL", ("POLL_",), widest_first=False)
EPOLL = names_of("EPOLL", ("EPOLL_CTL", "EPOLL_CLOEXEC"))


def pollfds(value: Any, args: tuple[Any, ...]) -> str:
    try:
        return "[" + ", ".join(_pollfd(entry, "events") for entry in value) + f"], {len(value)}"
    except (TypeError, IndexError):
        return plain(value, args)


def poll_result(value: Any, args: tuple[Any, ...]) -> str:
    return "[" + ", ".join(_pollfd(entry, "revents") for entry in value) + "]"


def epoll_event(value: Any, args: tuple[Any, ...]) -> str:
    """The event of epoll_ctl(ep, op, fd, events, data)."""
    if len(args) > 1 and args[1] == abi.EPOLL_CTL_DEL:
        return "NULL"
    data = args[4] if len(args) > 4 else 0
    return f"{{events={flags_text(value, EPOLL)}, data={epoll_data(data)}}}"


def epoll_data(value: Any) -> str:
    if not isinstance(value, int):
        return plain(value, ())
    return f"{{u32={value & 0xFFFFFFFF}, u64={value & 0xFFFFFFFFFFFFFFFF}}}"


def epoll_result(value: Any, args: tuple[Any, ...]) -> str:
    return "[" + ", ".join(f"{{events={flags_text(e, EPOLL)}, data={epoll_data(d)}}}" for d, e in value) + "]"


def iovec(value: Any, args: tuple[Any, ...]) -> str:
    """The buffers of readv (a sink with sinks) and writev (a source that knows their lengths)."""
    sinks = getattr(value, "sinks", None)
    if sinks is not None:
        parts = [(one.value(), one.room + len(one.value())) for one in sinks]
    else:
        whole = bytes(value.whole)
        parts, at = [], 0
        for length in getattr(value, "lengths", (len(whole),)):
            parts.append((whole[at : at + length], length))
            at += length
    return "[" + ", ".join(f"{{iov_base={quoted(data, LONGEST)}, iov_len={n}}}" for data, n in parts) + "]"


def _stat(value: Any, args: tuple[Any, ...]) -> str:
    kind = {
        0o140000: "S_IFSOCK", 0o120000: "S_IFLNK", 0o100000: "S_IFREG", 0o060000: "S_IFBLK", 0o040000: "S_IFDIR",
        0o020000: "S_IFCHR", 0o010000: "S_IFIFO",
    }.get(value.st_mode & 0o170000, "0")  # fmt: skip
    bits = f"0{value.st_mode & 0o7777:o}"
    size = f", st_size={value.st_size}"
    if kind in ("S_IFCHR", "S_IFBLK"):
        major, minor = os.major(value.st_rdev), os.minor(value.st_rdev)
        size = f", st_rdev=makedev({major and hex(major)}, {minor and hex(minor)})"
    return f"{{st_mode={kind}|{bits}{size}, ...}}"


def limits(value: Any, args: tuple[Any, ...]) -> str:
    try:
        soft, hard = ("RLIM64_INFINITY" if v < 0 else str(v) for v in value)
        return f"{{rlim_cur={soft}, rlim_max={hard}}}"
    except (TypeError, ValueError):
        return plain(value, args)


def _flags(prefix: str, drop: tuple[str, ...] = (), zero: str = "0") -> Decoder:
    names = names_of(prefix, drop)
    return lambda value, args: flags_text(value, names, zero)


def _one(prefix: str, more: dict[int, str] | None = None, drop: tuple[str, ...] = ()) -> Decoder:
    names = names_of(prefix, drop, widest_first=False)
    names.update(more or {})
    return lambda value, args: names.get(value, plain(value, args)) if isinstance(value, int) else plain(value, args)


IOCTLS: dict[int, str] = {v: n for prefix in ("TIOC", "TC", "FIO", "BLK") for v, n in names_of(prefix).items()}

BUFFER_KINDS = frozenset({"sink", "remaining", "msghdr_out", "iovec_out"})
"""Shown when the call ends, not when it begins."""
CLOEXEC_NONBLOCK = {abi.O_CLOEXEC: "CLOEXEC", abi.O_NONBLOCK: "NONBLOCK"}


def made_flags(prefix: str, more: dict[int, str] | None = None) -> Decoder:
    """Flags of a call that makes a descriptor, in strace's order."""
    names = {**(more or {}), **{bits: prefix + name for bits, name in CLOEXEC_NONBLOCK.items()}}
    return lambda value, args: flags_text(value, names)


def sched_policy(value: Any, args: tuple[Any, ...]) -> str:
    """SCHED_FIFO, SCHED_FIFO|SCHED_RESET_ON_FORK ..."""
    if not isinstance(value, int):
        return plain(value, args)
    name = _one("SCHED_")(value & ~abi.SCHED_RESET_ON_FORK, args)
    return name + "|SCHED_RESET_ON_FORK" if value & abi.SCHED_RESET_ON_FORK else name


def sched_attr(value: Any, args: tuple[Any, ...]) -> str:
    get = value.get if isinstance(value, dict) else lambda name: getattr(value, name, None)
    if value is None or get("sched_policy") is None:
        return plain(value, args)
    parts = ["size=56", f"sched_policy={sched_policy(get('sched_policy'), args)}"]
    for name in ("sched_flags", "sched_nice", "sched_priority", "sched_runtime", "sched_deadline", "sched_period"):
        parts.append(f"{name}={plain(get(name) or 0, args)}")
    return "{" + ", ".join(parts) + "}"


WAIT = {
    1: "WNOHANG", 2: "WSTOPPED", 4: "WEXITED", 8: "WCONTINUED", 1 << 24: "WNOWAIT", 1 << 29: "__WNOTHREAD",
    1 << 30: "__WALL", 1 << 31: "__WCLONE",
}  # fmt: skip
"""strace's names: WUNTRACED is WSTOPPED."""

DECODERS: dict[str, Decoder] = {
    "int": plain,
    "fd": plain,
    "size": plain,
    "path": path,
    "dirfd": dirfd,
    "mode": mode,
    "mode_t": mode,
    "sink": sink,
    "source": source,
    "open_flags": open_flags,
    "descriptor_flags": descriptor_flags,
    "signal": signum,
    "sigset": sigset,
    "sigaction": sigaction,
    "sighow": _one("SIG_", {0: "SIG_BLOCK", 1: "SIG_UNBLOCK", 2: "SIG_SETMASK"}, ("SIG_DFL", "SIG_IGN")),
    "timespec": timespec,
    "remaining": lambda value, args: "NULL",
    "itimerval": itimer_value,
    "itimerspec": itimerspec,
    "strings": strings,
    "env": environment,
    "cloneflags": clone_flags,
    "sockaddr": named_address,
    "domain": _one("AF_"),
    "socktype": socket_type,
    "proto": protocol,
    "sol": lambda value, args: LEVELS.get(value, plain(value, args)) if isinstance(value, int) else plain(value, args),
    "sockopt": socket_option,
    "optval": option_in,
    "msg_flags": _flags("MSG_", ("MSG_NOERROR", "MSG_EXCEPT", "MSG_COPY")),
    "accept_flags": lambda value, args: flags_text(value, SOCKET_FLAGS),
    "fcntl_arg": fcntl_argument,
    "msghdr": message,
    "msghdr_out": message,
    "shutdown_how": _one("SHUT_"),
    "pollfds": pollfds,
    "epoll_events": epoll_event,
    "epoll_op": _one("EPOLL_CTL_"),
    "epoll_flags": lambda value, args: "EPOLL_CLOEXEC" if value == abi.O_CLOEXEC else plain(value, args),
    "eventfd_flags": made_flags("EFD_", {1: "EFD_SEMAPHORE"}),
    "timerfd_flags": made_flags("TFD_"),
    "inotify_flags": lambda value, args: descriptor_flags(value, args).replace("O_", "IN_"),
    "iovec": iovec,
    "iovec_out": iovec,
    "timerfd_settime_flags": _flags("TFD_TIMER"),
    "clock": _one("CLOCK_"),
    "timerflags": lambda value, args: "TIMER_ABSTIME" if value == 1 else plain(value, args),
    "whence": _one("SEEK_"),
    "fcntl_cmd": _one("F_", drop=("F_OK", "F_RDLCK", "F_WRLCK", "F_UNLCK", "F_OWNER", "F_SEAL")),
    "flock_op": _flags("LOCK_"),
    "ioctl_cmd": lambda value, args: IOCTLS.get(value, f"{value:#x}") if isinstance(value, int) else plain(value, args),
    "rename_flags": _flags("RENAME_"),
    "at_flags": _flags("AT_", ("AT_FDCWD", "AT_EACCESS", "AT_REMOVEDIR", "AT_STATX_SYNC")),
    "unlink_flags": lambda value, args: "AT_REMOVEDIR" if value == 0x200 else plain(value, args),
    "access_mode": lambda value, args: flags_text(value, {4: "R_OK", 2: "W_OK", 1: "X_OK"}, "F_OK"),
    "umount_flags": _flags("MNT_"),
    "mount_flags": _flags("MS_"),
    "waitopts": lambda value, args: flags_text(value, WAIT),
    "rlimit": _one("RLIMIT_"),
    "limits": limits,
    "prio_which": _one("PRIO_"),
    "sched_policy": sched_policy,
    "sched_param": lambda value, args: f"[{plain(getattr(value, 'sched_priority', value), args)}]",
    "sched_attr": sched_attr,
    "hex": lambda value, args: f"{value:#x}" if isinstance(value, int) and value else plain(value, args),
    "itimer": _one("ITIMER_", {0: "ITIMER_REAL", 1: "ITIMER_VIRTUAL", 2: "ITIMER_PROF"}),
    "mask": lambda value, args: (
        f"[{' '.join(str(i) for i in range(value.bit_length()) if value >> i & 1)}]"
        if isinstance(value, int)
        else "NULL"
    ),
}

RESULTS: dict[str, Decoder] = {
    "fds": lambda value, args: f"[{value[0]}, {value[1]}]",
    "stat": _stat,
    "bytes": lambda value, args: quoted(value),
    "cwd": lambda value, args: quoted(value.rstrip(b"\0")),
    "dents": lambda value, args: f"{{/* {len(value)} entries */}}",
    "statfs": lambda value, args: f"{{f_type={value.f_type:#x}, f_bsize={value.f_bsize}, ...}}",
    "wstatus": lambda value, args: f"[{wait_status(value[1])}]" if value[0] else "NULL",
    "rusage": lambda value, args: (
        f"{{ru_utime={timeval(value[2].ru_utime)}, ru_stime={timeval(value[2].ru_stime)}, ...}}" if value[0] else "NULL"
    ),
    "timespec": timespec,
    "itimerval": itimer_result,
    "itimerspec": itimerspec,
    "sigset": sigset,
    "sigaction": lambda value, args: _action(value.handler, value.flags, value.mask),
    "siginfo": lambda value, args: signal_info(value),
    "limits": limits,
    "sched_param": lambda value, args: f"[{value.sched_priority}]",
    "sched_attr": sched_attr,
    "ptr": lambda value, args: "{...}",
    "mask": DECODERS["mask"],
    "pollfds": poll_result,
    "epoll_events": epoll_result,
    "sockaddr": lambda value, args: sockaddr(value, args),
    "sockaddr_len": lambda value, args: room_and_length(value),
    "peer": lambda value, args: sockaddr(value[1], args),
    "peer_len": lambda value, args: room_and_length(value[1]) if value[1] is not None else "NULL",
    "optval": option_value,
    "optlen": lambda value, args: f"[{4 if isinstance(value, int) else len(value)}]",
}
"""What a call returns, where C has a pointer that it fills."""

OUTPUTS: dict[str, tuple[tuple[int, str], ...]] = {
    "pipe2": ((0, "result:fds"),),
    "socketpair": ((3, "result:fds"),),
    "fstat": ((1, "result:stat"),),
    "newfstatat": ((2, "result:stat"),),
    "statx": ((4, "result:stat"),),
    "statfs": ((-1, "result:statfs"),),
    "fstatfs": ((-1, "result:statfs"),),
    "getdents64": ((1, "result:dents"),),
    "getcwd": ((0, "result:cwd"),),
    "readlinkat": ((2, "result:bytes"),),
    "epoll_pwait": ((1, "result:epoll_events"),),
    "epoll_pwait2": ((1, "result:epoll_events"),),
    "timerfd_settime": ((-1, "result:itimerspec"),),
    "sockaddr": ((-1, "result:sockaddr"), (-1, "result:sockaddr_len")),
    "getsockopt": ((-1, "result:optval"), (-1, "result:optlen")),
    "timerfd_gettime": ((-1, "result:itimerspec"),),
}
"""Calls whose results stand among the arguments: (place, kind), by name or by `returns`."""
