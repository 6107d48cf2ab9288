"""Calls of memory, futexes, timers and the like as strace writes them. Which arguments a futex call has depends on its
operation, so those are written whole: `WHOLE` maps a call to a function of its arguments and its result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernel import abi
from kernel.decode import (
    DECODERS,
    OUTPUTS,
    RESULTS,
    dirfd,
    flags_text,
    names_of,
    open_flags,
    path,
    plain,
    timespec,
    timeval,
)

Parts = tuple[str, str]


def address(value: Any, args: tuple[Any, ...] = ()) -> str:
    """A pointer."""
    if not isinstance(value, int):
        return plain(value, args)
    return f"{value & 0xFFFFFFFFFFFFFFFF:#x}" if value else "NULL"


def unsigned(value: Any, args: tuple[Any, ...] = ()) -> str:
    return str(value & 0xFFFFFFFF) if isinstance(value, int) else plain(value, args)


def offset(value: Any, args: tuple[Any, ...]) -> str:
    return f"{value:#x}" if isinstance(value, int) and value > 0 else plain(value, args)


PROT = {abi.PROT_READ: "PROT_READ", abi.PROT_WRITE: "PROT_WRITE", abi.PROT_EXEC: "PROT_EXEC"}
MAP = names_of("MAP_", ("MAP_TYPE", "MAP_ANON", "MAP_SHARED", "MAP_PRIVATE"))
MAP[abi.MAP_ANONYMOUS] = "MAP_ANONYMOUS"
KINDS = {abi.MAP_SHARED: "MAP_SHARED", abi.MAP_PRIVATE: "MAP_PRIVATE", abi.MAP_SHARED_VALIDATE: "MAP_SHARED_VALIDATE"}


def map_flags(value: Any, args: tuple[Any, ...]) -> str:
    if not isinstance(value, int):
        return plain(value, args)
    kind = KINDS.get(value & abi.MAP_TYPE, f"{value & abi.MAP_TYPE:#x}")
    rest = value & ~abi.MAP_TYPE
    ordered = {bits: MAP[bits] for bits in sorted(MAP)}
    return f"{kind}|{flags_text(rest, ordered)}" if rest else kind


MREMAP = names_of("MREMAP_")
MADV = names_of("MADV_", widest_first=False)


def _mremap(args: tuple[Any, ...], result: Any) -> Parts:
    a = (*args, 0, 0)
    parts = [address(a[0]), plain(a[1], ()), plain(a[2], ()), flags_text(a[3], MREMAP)]
    if isinstance(a[3], int) and a[3] & (abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP):
        parts.append(address(a[4]))
    return ", ".join(parts), ""


FUTEX = {
    0: "FUTEX_WAIT", 1: "FUTEX_WAKE", 2: "FUTEX_FD", 3: "FUTEX_REQUEUE", 4: "FUTEX_CMP_REQUEUE", 5: "FUTEX_WAKE_OP",
    6: "FUTEX_LOCK_PI", 7: "FUTEX_UNLOCK_PI", 8: "FUTEX_TRYLOCK_PI", 9: "FUTEX_WAIT_BITSET", 10: "FUTEX_WAKE_BITSET",
    11: "FUTEX_WAIT_REQUEUE_PI", 12: "FUTEX_CMP_REQUEUE_PI", 13: "FUTEX_LOCK_PI2",
}  # fmt: skip
_OPS = ("SET", "ADD", "OR", "ANDN", "XOR")
_CMPS = ("EQ", "NE", "LT", "LE", "GT", "GE")


def futex_op(value: Any, args: tuple[Any, ...] = ()) -> str:
    if not isinstance(value, int):
        return plain(value, args)
    name = FUTEX.get(value & 0x7F, f"{value & 0x7F:#x}")
    if value & abi.FUTEX_PRIVATE_FLAG:
        name += "_PRIVATE" if value & 0x7F in FUTEX else "|FUTEX_PRIVATE_FLAG"
    return name + ("|FUTEX_CLOCK_REALTIME" if value & abi.FUTEX_CLOCK_REALTIME else "")


def _wake_op(value: int) -> str:
    op, compare = value >> 28 & 7, value >> 24 & 15
    shift = "FUTEX_OP_OPARG_SHIFT<<28|" if value >> 31 & 1 else ""
    first = f"FUTEX_OP_{_OPS[op]}" if op < len(_OPS) else f"{op:#x}"
    second = f"FUTEX_OP_CMP_{_CMPS[compare]}" if compare < len(_CMPS) else f"{compare:#x}"
    return f"{{{shift}{first}, {value >> 12 & 0xFFF:#x}, {second}, {value & 0xFFF:#x}}}"


def _bitset(value: int) -> str:
    return "FUTEX_BITSET_MATCH_ANY" if value & 0xFFFFFFFF == 0xFFFFFFFF else f"{value & 0xFFFFFFFF:#x}"


def _futex(args: tuple[Any, ...], result: Any) -> Parts:
    a = (*args, None, 0, 0)[:6] if len(args) < 6 else args
    addr, op, val, extra, addr2, val3 = a
    head = [address(addr), futex_op(op)]
    cmd = op & 0x7F if isinstance(op, int) else -1
    limit = timespec(extra, ()) if extra is not None else "NULL"
    count = unsigned(extra or 0)
    if cmd == 0:
        head += [unsigned(val), limit]
    elif cmd == 1:
        head += [unsigned(val)]
    elif cmd == 3:
        head += [unsigned(val), count, address(addr2)]
    elif cmd == 4:
        head += [unsigned(val), count, address(addr2), unsigned(val3)]
    elif cmd == 5:
        head += [unsigned(val), count, address(addr2), _wake_op(val3) if isinstance(val3, int) else plain(val3, ())]
    elif cmd in (6, 13):
        head += [limit]
    elif cmd in (9, 10):
        bits = _bitset(val3) if isinstance(val3, int) else plain(val3, ())
        head += [unsigned(val), limit, bits] if cmd == 9 else [unsigned(val), bits]
    elif cmd not in (7, 8):
        head += [unsigned(val), limit, address(addr2), unsigned(val3)]
    return ", ".join(head), ""


def _clone(args: tuple[Any, ...], result: Any) -> Parts:
    flags = args[0]
    begin = "child_stack=NULL, " + DECODERS["cloneflags"](flags, args)
    parent, child = (*args[2:4], 0, 0)[:2]
    more = ""
    if isinstance(flags, int) and flags & (abi.CLONE_PARENT_SETTID | abi.CLONE_PIDFD):
        shown = f"[{result}]" if isinstance(result, int) and flags & abi.CLONE_PARENT_SETTID else address(parent)
        more += f", parent_tid={shown}"
    if isinstance(flags, int) and flags & (abi.CLONE_CHILD_SETTID | abi.CLONE_CHILD_CLEARTID):
        more += f", child_tidptr={address(child)}"
    return begin, more


def _openat2(args: tuple[Any, ...], result: Any) -> Parts:
    where, name, flags, mode, resolve = (*args, 0, 0)[:5]
    how = f"flags={open_flags(flags, ())}"
    if isinstance(flags, int) and flags & (abi.O_CREAT | abi.O_TMPFILE & ~abi.O_DIRECTORY):
        how += f", mode=0{mode:o}" if isinstance(mode, int) else ""
    return f"{dirfd(where, ())}, {path(name, ())}, {{{how}, resolve={flags_text(resolve, RESOLVE)}}}, 24", ""


RESOLVE = {1: "RESOLVE_NO_XDEV", 2: "RESOLVE_NO_MAGICLINKS", 4: "RESOLVE_NO_SYMLINKS", 8: "RESOLVE_BENEATH",
           16: "RESOLVE_IN_ROOT", 32: "RESOLVE_CACHED"}  # fmt: skip

WHOLE: dict[str, Callable[[tuple[Any, ...], Any], Parts]] = {}


def _whole(name: str, function: Callable[[tuple[Any, ...], Any], Parts]) -> None:
    def careful(args: tuple[Any, ...], result: Any) -> Parts:
        """Tracing never disturbs the program: what is not of its kind is shown plainly."""
        try:
            begin, end = function(args, result)
        except (TypeError, ValueError, IndexError, OverflowError):
            return ", ".join(plain(value, ()) for value in args), ""
        return begin, end

    WHOLE[name] = careful


for _name, _function in (("futex", _futex), ("clone", _clone), ("mremap", _mremap), ("openat2", _openat2)):
    _whole(_name, _function)


def _sigevent(value: Any, args: tuple[Any, ...]) -> str:
    if value is None:
        return "NULL"
    notify, signum, number = tuple(value)[:3]
    kind = {0: "SIGEV_SIGNAL", 1: "SIGEV_NONE", 4: "SIGEV_THREAD_ID"}.get(notify, str(notify))
    name = abi.signal_name(signum) if signum else "0"
    return f"{{sigev_value={{sival_int={number}, sival_ptr={number:#x}}}, sigev_signo={name}, sigev_notify={kind}}}"


def _itimerspec(value: Any, args: tuple[Any, ...]) -> str:
    return f"{{it_interval={timespec(args[3] if len(args) > 3 else 0, ())}, it_value={timespec(args[2], ())}}}"


def _uname(value: Any, args: tuple[Any, ...]) -> str:
    return f'{{sysname="{value[0]}", nodename="{value[1]}", ...}}'


def _tms(value: Any, args: tuple[Any, ...]) -> str:
    return f"{{tms_utime={value[0]}, tms_stime={value[1]}, tms_cutime={value[2]}, tms_cstime={value[3]}}}"


DECODERS.update({
    "addr": address,
    "uint": unsigned,
    "offset": offset,
    "prot": lambda value, args: flags_text(value, PROT, "PROT_NONE"),
    "map_flags": map_flags,
    "msync_flags": lambda value, args: flags_text(value, {1: "MS_ASYNC", 2: "MS_INVALIDATE", 4: "MS_SYNC"}),
    "madvice": lambda value, args: MADV.get(value, str(value)) if isinstance(value, int) else plain(value, args),
    "sigevent": _sigevent,
    "itimerspec_in": _itimerspec,
    "timeval": lambda value, args: timeval(value),
    "pidfd_flags": lambda value, args: "PIDFD_NONBLOCK" if value == abi.O_NONBLOCK else plain(value, args),
    "futex_waiters": lambda value, args: plain(value, args) if value is None else "[" + ", ".join(
        f"{{val={unsigned(v)}, uaddr={address(a)}, flags={f:#x}}}" for v, a, f in value) + f"], {len(value)}",
})  # fmt: skip
RESULTS.update({
    "uname": _uname,
    "tms": _tms,
    "timeval": lambda value, args: timeval(value),
    "timer_id": lambda value, args: f"[{value}]",
    "robust": lambda value, args: f"[{address(value[0])}], [{value[1]}]",
})
OUTPUTS["mincore"] = ((2, "result:bytes"),)
