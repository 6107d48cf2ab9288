"""How strace shows System V IPC, POSIX message queues and memfd_create: their Python values stand for structures."""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.decode import flags_text, mode, names_of, open_flags, path, plain, timespec
from kernel.decodemm import WHOLE, Parts, _sigevent, _whole, address
from kernel.trace import Unfinished

IPC = {abi.IPC_CREAT: "IPC_CREAT", abi.IPC_EXCL: "IPC_EXCL", abi.IPC_NOWAIT: "IPC_NOWAIT"}
MESSAGE = {**IPC, abi.MSG_NOERROR: "MSG_NOERROR", abi.MSG_EXCEPT: "MSG_EXCEPT", abi.MSG_COPY: "MSG_COPY"}
SHM = names_of("SHM_")
CONTROL = {abi.IPC_RMID: "IPC_RMID", abi.IPC_SET: "IPC_SET", abi.IPC_STAT: "IPC_STAT"}
SEMCTL = {11: "GETPID", 12: "GETVAL", 13: "GETALL", 14: "GETNCNT", 15: "GETZCNT", 16: "SETVAL", 17: "SETALL"}


def _key(value: Any) -> str:
    return "IPC_PRIVATE" if value == 0 else address(value)


def _get_flags(value: int) -> str:
    names = flags_text(value & ~0o777, IPC, "")
    return (f"{names}|" if names else "") + f"0{value & 0o777:o}"


def _getter(args: tuple[Any, ...], result: Any) -> Parts:
    key, *size, flags = args
    return ", ".join([_key(key), *(plain(n, ()) for n in size), _get_flags(flags)]), ""


def _control(args: tuple[Any, ...], result: Any) -> Parts:
    ident, cmd = args[:2]
    arg = "NULL" if cmd == abi.IPC_RMID else "{...}"
    return f"{plain(ident, ())}, {CONTROL.get(cmd, plain(cmd, ()))}", f", {arg}"


def _semctl(args: tuple[Any, ...], result: Any) -> Parts:
    ident, number, cmd = args[:3]
    arg = args[3] if len(args) > 3 else None
    shown = "NULL" if not arg else hex(arg) if isinstance(arg, int) else "{...}"
    name = {**CONTROL, **SEMCTL}.get(cmd, plain(cmd, ()))
    return f"{plain(ident, ())}, {plain(number, ())}, {name}, {shown}", ""


def _semop(args: tuple[Any, ...], result: Any) -> Parts:
    ident, operations = args[:2]
    names = {abi.SEM_UNDO: "SEM_UNDO", abi.IPC_NOWAIT: "IPC_NOWAIT"}
    each = [f"{{sem_num={n}, sem_op={change}, sem_flg={flags_text(f, names)}}}" for n, change, f in operations]
    limit = f", {_limit(args[2])}" if len(args) > 2 else ""
    return f"{plain(ident, ())}, [{', '.join(each)}], {len(each)}{limit}", ""


def _text(data: Any) -> str:
    return path(bytes(data), ()) if b"\0" not in bytes(data) else "{...}"


def _message(kind: Any, data: Any) -> str:
    return f"{{mtype={kind}, mtext={_text(data)}}}"


def _msgsnd(args: tuple[Any, ...], result: Any) -> Parts:
    ident, kind, data, flags = (*args, 0)[:4]
    return f"{plain(ident, ())}, {_message(kind, data)}, {len(data)}, {flags_text(flags, MESSAGE)}", ""


def _msgrcv(args: tuple[Any, ...], result: Any) -> Parts:
    ident, size, kind, flags = (*args, 0, 0)[:4]
    got = "NULL" if isinstance(result, OSError | Unfinished) or result is None else _message(*result)
    return f"{plain(ident, ())}, ", f"{got}, {plain(size, ())}, {plain(kind, ())}, {flags_text(flags, MESSAGE)}"


def _shmat(args: tuple[Any, ...], result: Any) -> Parts:
    ident, where, flags = (*args, 0, 0)[:3]
    return f"{plain(ident, ())}, {address(where)}, {flags_text(flags, SHM)}", ""


def _attr(flags: Any, maxmsg: Any, msgsize: Any, current: Any = 0) -> str:
    shown = "O_NONBLOCK" if flags == abi.O_NONBLOCK else plain(flags, ())
    return f"{{mq_flags={shown}, mq_maxmsg={maxmsg}, mq_msgsize={msgsize}, mq_curmsgs={current}}}"


def _mq_open(args: tuple[Any, ...], result: Any) -> Parts:
    name, flags = args[:2]
    parts = [path(name, ()), open_flags(flags, ())]
    if flags & abi.O_CREAT:
        attr = args[3] if len(args) > 3 else None
        parts += [mode(args[2] if len(args) > 2 else 0, ()), _attr(0, *attr) if attr is not None else "NULL"]
    return ", ".join(parts), ""


def _limit(value: Any) -> str:
    return timespec(value, ()) if value is not None else "NULL"


def _mq_send(args: tuple[Any, ...], result: Any) -> Parts:
    where, data, prio, limit = (*args, 0, None)[:4] if len(args) < 4 else args
    return f"{plain(where, ())}, {_text(data)}, {len(data)}, {plain(prio, ())}, {_limit(limit)}", ""


def _mq_receive(args: tuple[Any, ...], result: Any) -> Parts:
    where, size, limit = (*args, None)[:3]
    failed = isinstance(result, OSError | Unfinished) or result is None
    data, prio = ("NULL", "NULL") if failed else (_text(result[0]), f"[{result[1]}]")
    return f"{plain(where, ())}, ", f"{data}, {plain(size, ())}, {prio}, {_limit(limit)}"


def _mq_notify(args: tuple[Any, ...], result: Any) -> Parts:
    return f"{plain(args[0], ())}, {_sigevent(args[1] if len(args) > 1 else None, ())}", ""


def _mq_attr(args: tuple[Any, ...], result: Any) -> Parts:
    wanted = args[1] if len(args) > 1 else None
    new = "NULL" if wanted is None else _attr(wanted, 0, 0)
    old = "NULL" if isinstance(result, OSError | Unfinished) or result is None else _attr(*result)
    return f"{plain(args[0], ())}, {new}", f", {old}"


def _memfd(args: tuple[Any, ...], result: Any) -> Parts:
    return f"{path(args[0], ())}, {flags_text(args[1] if len(args) > 1 else 0, names_of('MFD_'))}", ""


for _names, _function in (
    ("msgget semget shmget", _getter), ("msgctl shmctl", _control), ("semctl", _semctl), ("semop semtimedop", _semop),
    ("msgsnd", _msgsnd), ("msgrcv", _msgrcv), ("shmat", _shmat), ("mq_open", _mq_open), ("mq_timedsend", _mq_send),
    ("mq_timedreceive", _mq_receive), ("mq_notify", _mq_notify), ("mq_getsetattr", _mq_attr),
    ("memfd_create", _memfd),
):  # fmt: skip
    for _name in _names.split():
        _whole(_name, _function)

__all__ = ["WHOLE"]
