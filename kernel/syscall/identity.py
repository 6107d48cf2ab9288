"""System calls of identity: user and group ids, capabilities, and what prctl says of a thread (credentials(7),
capabilities(7)).

The rules are Linux's: who has CAP_SETUID sets any id, everybody else moves among the ids it has; -1 leaves one alone;
the filesystem uid follows the effective one. Leaving uid 0 altogether gives up the capabilities unless PR_SET_KEEPCAPS
was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CAP_SETGID,
    CAP_SETPCAP,
    CAP_SETUID,
    EFAULT,
    EINVAL,
    EPERM,
    ESRCH,
    NSIG,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_IS_SET,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    PR_GET_CHILD_SUBREAPER,
    PR_GET_DUMPABLE,
    PR_GET_KEEPCAPS,
    PR_GET_NAME,
    PR_GET_NO_NEW_PRIVS,
    PR_GET_PDEATHSIG,
    PR_GET_SECUREBITS,
    PR_GET_TIMERSLACK,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_SET_NAME,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    PR_SET_SECUREBITS,
    PR_SET_TIMERSLACK,
)
from kernel.syscall.table import python, syscall
from kernel.task import ALL_CAPS, CAP_LAST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.task import Credentials, Task

NGROUPS_MAX = 65536
KEEP = (-1, 0xFFFFFFFF)
_FS_CAPS = 0x1F | 1 << 9 | 1 << 27 | 1 << 32
"""CAP_CHOWN to CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_MKNOD, CAP_MAC_OVERRIDE: those that go with the filesystem uid."""
SECURE_NOROOT, SECURE_NO_SETUID_FIXUP, SECURE_KEEP_CAPS, SECURE_NO_CAP_AMBIENT_RAISE = 1, 4, 16, 64
SECURE_BITS, SECURE_LOCKS = 0x555, 0xAAA
"""All of SECBIT_*; the lock of each is the next bit."""
TIMERSLACK = 50_000


def _ids(*values: int) -> list[int | None]:
    """Ids as given, None for those to be left alone."""
    found: list[int | None] = []
    for value in values:
        if value in KEEP:
            found.append(None)
        elif 0 <= value < 0xFFFFFFFF:
            found.append(value)
        else:
            raise OSError(EINVAL, f"{value} is no id")
    return found


def _one(value: int) -> int:
    if not 0 <= value < 0xFFFFFFFF:
        raise OSError(EINVAL, f"{value} is no id")
    return value


def _denied(what: str, cred: Credentials) -> OSError:
    return OSError(EPERM, f"Operation not permitted: {what} by uid {cred.euid}")


def _put_uid(task: Task, new: Credentials) -> None:
    """The capabilities follow (cap_task_fix_setuid), and a signal at the parent's death is forgotten."""
    old = task.cred
    new.fsuid = new.euid
    if not new.securebits & SECURE_NO_SETUID_FIXUP:
        if 0 in (old.uid, old.euid, old.suid) and 0 not in (new.uid, new.euid, new.suid):
            if not new.securebits & SECURE_KEEP_CAPS:
                new.permitted = new.effective = 0
            new.ambient = 0
        if old.euid == 0 != new.euid:
            new.effective = 0
        if old.euid != 0 == new.euid:
            new.effective = new.permitted
    commit(task, new)


def commit(task: Task, new: Credentials) -> None:
    """Put new credentials in place. Who becomes somebody else, or may do more, is no longer dumpable, and its parent's
    death is none of its business any more.
    """
    old = task.cred
    before, after = (old.euid, old.egid, old.fsuid, old.fsgid), (new.euid, new.egid, new.fsuid, new.fsgid)
    if before != after or new.permitted & ~old.permitted:
        task.group.dumpable = 0
        task.pdeath_signal = 0
    task.cred = new


# ---- user ids ----


@syscall(174, "getuid")
def sys_getuid(task: Task) -> int:
    return task.cred.uid


@syscall(175, "geteuid")
def sys_geteuid(task: Task) -> int:
    return task.cred.euid


@syscall(176, "getgid")
def sys_getgid(task: Task) -> int:
    return task.cred.gid


@syscall(177, "getegid")
def sys_getegid(task: Task) -> int:
    return task.cred.egid


@syscall(146, "setuid", "int")
def sys_setuid(task: Task, uid: int) -> int:
    cred = task.cred.copy()
    _one(uid)
    if cred.capable(CAP_SETUID):
        cred.uid = cred.euid = cred.suid = uid
    elif uid in (cred.uid, cred.suid):
        cred.euid = uid
    else:
        raise _denied(f"setuid({uid})", cred)
    _put_uid(task, cred)
    return 0


@syscall(145, "setreuid", "int", "int")
def sys_setreuid(task: Task, ruid: int, euid: int) -> int:
    cred = task.cred.copy()
    real, effective = _ids(ruid, euid)
    free = cred.capable(CAP_SETUID)
    if real is not None and not free and real not in (cred.uid, cred.euid):
        raise _denied(f"setreuid({ruid}, {euid})", cred)
    if effective is not None and not free and effective not in (cred.uid, cred.euid, cred.suid):
        raise _denied(f"setreuid({ruid}, {euid})", cred)
    before = cred.uid
    if real is not None:
        cred.uid = real
    if effective is not None:
        cred.euid = effective
    if real is not None or (effective is not None and effective != before):
        cred.suid = cred.euid
    _put_uid(task, cred)
    return 0


@syscall(147, "setresuid", "int", "int", "int")
def sys_setresuid(task: Task, ruid: int, euid: int, suid: int) -> int:
    cred = task.cred.copy()
    wanted = _ids(ruid, euid, suid)
    mine = (cred.uid, cred.euid, cred.suid)
    if not cred.capable(CAP_SETUID) and any(w is not None and w not in mine for w in wanted):
        raise _denied(f"setresuid{(ruid, euid, suid)}", cred)
    cred.uid, cred.euid, cred.suid = (old if new is None else new for old, new in zip(mine, wanted))
    _put_uid(task, cred)
    return 0


@syscall(148, "getresuid", returns="ids")
def sys_getresuid(task: Task) -> tuple[int, int, int]:
    return task.cred.uid, task.cred.euid, task.cred.suid


@syscall(151, "setfsuid", "int")
def sys_setfsuid(task: Task, uid: int) -> int:
    """The id as it was, whether it could be changed or not."""
    before = task.cred.fsuid
    cred = task.cred.copy()
    if uid in (cred.uid, cred.euid, cred.suid, cred.fsuid) or (cred.capable(CAP_SETUID) and uid not in KEEP):
        cred.fsuid = uid
        fixup = not cred.securebits & SECURE_NO_SETUID_FIXUP
        if fixup and before == 0 != uid:
            cred.effective &= ~_FS_CAPS
        elif fixup and before != 0 == uid:
            cred.effective |= cred.permitted & _FS_CAPS
        commit(task, cred)
    return before


# ---- group ids ----


@syscall(144, "setgid", "int")
def sys_setgid(task: Task, gid: int) -> int:
    cred = task.cred.copy()
    _one(gid)
    if cred.capable(CAP_SETGID):
        cred.gid = cred.egid = cred.sgid = cred.fsgid = gid
    elif gid in (cred.gid, cred.sgid):
        cred.egid = cred.fsgid = gid
    else:
        raise _denied(f"setgid({gid})", cred)
    commit(task, cred)
    return 0


@syscall(143, "setregid", "int", "int")
def sys_setregid(task: Task, rgid: int, egid: int) -> int:
    cred = task.cred.copy()
    real, effective = _ids(rgid, egid)
    free = cred.capable(CAP_SETGID)
    if real is not None and not free and real not in (cred.gid, cred.egid):
        raise _denied(f"setregid({rgid}, {egid})", cred)
    if effective is not None and not free and effective not in (cred.gid, cred.egid, cred.sgid):
        raise _denied(f"setregid({rgid}, {egid})", cred)
    before = cred.gid
    if real is not None:
        cred.gid = real
    if effective is not None:
        cred.egid = effective
    if real is not None or (effective is not None and effective != before):
        cred.sgid = cred.egid
    cred.fsgid = cred.egid
    commit(task, cred)
    return 0


@syscall(149, "setresgid", "int", "int", "int")
def sys_setresgid(task: Task, rgid: int, egid: int, sgid: int) -> int:
    cred = task.cred.copy()
    wanted = _ids(rgid, egid, sgid)
    mine = (cred.gid, cred.egid, cred.sgid)
    if not cred.capable(CAP_SETGID) and any(w is not None and w not in mine for w in wanted):
        raise _denied(f"setresgid{(rgid, egid, sgid)}", cred)
    cred.gid, cred.egid, cred.sgid = (old if new is None else new for old, new in zip(mine, wanted))
    cred.fsgid = cred.egid
    commit(task, cred)
    return 0


@syscall(150, "getresgid", returns="ids")
def sys_getresgid(task: Task) -> tuple[int, int, int]:
    return task.cred.gid, task.cred.egid, task.cred.sgid


@syscall(152, "setfsgid", "int")
def sys_setfsgid(task: Task, gid: int) -> int:
    before = task.cred.fsgid
    cred = task.cred.copy()
    if gid in (cred.gid, cred.egid, cred.sgid, cred.fsgid) or (cred.capable(CAP_SETGID) and gid not in KEEP):
        cred.fsgid = gid
        commit(task, cred)
    return before


@syscall(158, "getgroups", returns="list")
def sys_getgroups(task: Task) -> list[int]:
    return list(task.cred.groups)


@syscall(159, "setgroups", "list")
def sys_setgroups(task: Task, groups: Iterable[int]) -> int:
    try:
        wanted = tuple(_one(int(gid)) for gid in groups)
    except (TypeError, ValueError):
        raise OSError(EFAULT, f"setgroups takes group ids, not {groups!r:.40}") from None
    if not task.cred.capable(CAP_SETGID):
        raise _denied("setgroups", task.cred)
    if len(wanted) > NGROUPS_MAX:
        raise OSError(EINVAL, f"more than {NGROUPS_MAX} groups")
    cred = task.cred.copy()
    cred.groups = tuple(sorted(wanted))
    commit(task, cred)
    return 0


# ---- capabilities ----


@syscall(90, "capget", "int", returns="capabilities")
def sys_capget(task: Task, pid: int = 0) -> tuple[int, int, int]:
    """(effective, permitted, inheritable) as bit masks."""
    if pid < 0:
        raise OSError(EINVAL, f"capget: pid {pid}")
    target = task.machine.tasks.get(pid) if pid else task
    if target is None:
        raise OSError(ESRCH, f"no thread {pid}")
    return target.cred.effective, target.cred.permitted, target.cred.inheritable


@syscall(91, "capset", "int", "int", "int")
def sys_capset(task: Task, effective: int, permitted: int, inheritable: int) -> int:
    cred = task.cred.copy()
    effective, permitted, inheritable = (mask & ALL_CAPS for mask in (effective, permitted, inheritable))
    if not cred.capable(CAP_SETPCAP) and inheritable & ~(cred.inheritable | cred.permitted):
        raise _denied("capset: inheritable", cred)
    if inheritable & ~(cred.inheritable | cred.bounding):
        raise _denied("capset: inheritable beyond the bounding set", cred)
    if permitted & ~cred.permitted:
        raise _denied("capset: permitted", cred)
    if effective & ~permitted:
        raise _denied("capset: effective", cred)
    cred.effective, cred.permitted, cred.inheritable = effective, permitted, inheritable
    cred.ambient &= permitted & inheritable
    commit(task, cred)
    return 0


# ---- prctl ----


@syscall(167, "prctl", "int", "int", "int", "int", "int")
def sys_prctl(task: Task, option: int, arg: Any = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> Any:
    if option == PR_SET_NAME:
        task.comm = _name(arg)
        return 0
    if option == PR_GET_NAME:
        return task.comm
    if not isinstance(arg, int):
        raise OSError(EFAULT, "prctl: a number was expected")
    group = task.group
    if option == PR_SET_PDEATHSIG:
        if not 0 <= arg < NSIG:
            raise OSError(EINVAL, f"{arg} is no signal")
        task.pdeath_signal = arg
    elif option == PR_GET_PDEATHSIG:
        return task.pdeath_signal
    elif option == PR_SET_CHILD_SUBREAPER:
        group.subreaper = bool(arg)
    elif option == PR_GET_CHILD_SUBREAPER:
        return int(group.subreaper)
    elif option == PR_SET_DUMPABLE:
        if arg not in (0, 1):
            raise OSError(EINVAL, f"prctl: dumpable is {arg}")
        group.dumpable = arg
    elif option == PR_GET_DUMPABLE:
        return group.dumpable
    elif option == PR_SET_NO_NEW_PRIVS:
        if arg != 1 or arg3 or arg4 or arg5:
            raise OSError(EINVAL, "prctl: no_new_privs can only be set")
        task.no_new_privs = True
    elif option == PR_GET_NO_NEW_PRIVS:
        if arg or arg3 or arg4 or arg5:
            raise OSError(EINVAL, "prctl")
        return int(task.no_new_privs)
    elif option in (PR_SET_KEEPCAPS, PR_GET_KEEPCAPS):
        if option == PR_GET_KEEPCAPS:
            return int(bool(task.cred.securebits & SECURE_KEEP_CAPS))
        if arg not in (0, 1):
            raise OSError(EINVAL, f"prctl: keepcaps is {arg}")
        if task.cred.securebits & SECURE_KEEP_CAPS << 1:
            raise _denied("prctl: keepcaps is locked", task.cred)
        cred = task.cred.copy()
        cred.securebits = cred.securebits & ~SECURE_KEEP_CAPS | (SECURE_KEEP_CAPS if arg else 0)
        commit(task, cred)
    elif option == PR_GET_SECUREBITS:
        return task.cred.securebits
    elif option == PR_SET_SECUREBITS:
        set_securebits(task, arg)
    elif option == PR_CAP_AMBIENT:
        return ambient(task, arg, arg3, arg4, arg5)
    elif option in (PR_CAPBSET_READ, PR_CAPBSET_DROP):
        if not 0 <= arg <= CAP_LAST:
            raise OSError(EINVAL, f"{arg} is no capability")
        if option == PR_CAPBSET_READ:
            return task.cred.bounding >> arg & 1
        if not task.cred.capable(CAP_SETPCAP):
            raise _denied("prctl: bounding set", task.cred)
        cred = task.cred.copy()
        cred.bounding &= ~(1 << arg)
        commit(task, cred)
    elif option == PR_SET_TIMERSLACK:
        task.timerslack_ns = arg if arg > 0 else TIMERSLACK
    elif option == PR_GET_TIMERSLACK:
        return task.timerslack_ns
    else:
        raise OSError(EINVAL, f"prctl {option}")
    return 0


def set_securebits(task: Task, bits: int) -> None:
    """What is locked stays as it is, and stays locked."""
    old = task.cred.securebits
    changed = (old & SECURE_LOCKS) >> 1 & (old ^ bits) or old & SECURE_LOCKS & ~bits
    if changed or bits & ~(SECURE_BITS | SECURE_LOCKS) or not task.cred.capable(CAP_SETPCAP):
        raise _denied(f"prctl: securebits {bits:#x}", task.cred)
    cred = task.cred.copy()
    cred.securebits = bits
    commit(task, cred)


def ambient(task: Task, what: int, cap: int, arg4: int, arg5: int) -> int:
    """PR_CAP_AMBIENT: look at the ambient set, change one of it or clear it."""
    cred = task.cred.copy()
    if what == PR_CAP_AMBIENT_CLEAR_ALL and not (cap or arg4 or arg5):
        cred.ambient = 0
        commit(task, cred)
        return 0
    if not 0 <= cap <= CAP_LAST or arg4 or arg5 or what not in (1, 2, 3):
        raise OSError(EINVAL, f"prctl: ambient {what}, {cap}")
    if what == PR_CAP_AMBIENT_IS_SET:
        return cred.ambient >> cap & 1
    if what == PR_CAP_AMBIENT_RAISE:
        if not cred.permitted & cred.inheritable & 1 << cap or cred.securebits & SECURE_NO_CAP_AMBIENT_RAISE:
            raise _denied(f"prctl: ambient capability {cap}", cred)
        cred.ambient |= 1 << cap
    else:
        cred.ambient &= ~(1 << cap)
    commit(task, cred)
    return 0


def _name(arg: Any) -> str:
    if isinstance(arg, str):
        arg = arg.encode("utf-8", "surrogateescape")
    if not isinstance(arg, (bytes, bytearray)):
        raise OSError(EFAULT, "prctl: a name was expected")
    return bytes(arg).split(b"\0")[0][:15].decode("utf-8", "replace")


def after_exec(task: Task, mode: int, uid: int, gid: int, trusted: bool) -> None:
    """Credentials of the new program: set-id bits (where `trusted`: the mount allows them), then capabilities."""
    cred = task.cred.copy()
    if trusted and not task.no_new_privs:
        if mode & 0o4000:
            cred.euid = uid
        if mode & 0o2010 == 0o2010:
            cred.egid = gid
    if (cred.euid, cred.egid) != (task.cred.euid, task.cred.egid):
        task.pdeath_signal = 0
    task.group.dumpable = int((cred.euid, cred.egid) == (cred.uid, cred.gid))
    cred.suid = cred.fsuid = cred.euid
    cred.sgid = cred.fsgid = cred.egid
    root = 0 in (cred.uid, cred.euid) and not cred.securebits & SECURE_NOROOT
    if (cred.euid, cred.egid) != (task.cred.euid, task.cred.egid):
        cred.ambient = 0
    cred.permitted = (cred.bounding | cred.inheritable if root else 0) | cred.ambient
    cred.effective = cred.permitted if root and cred.euid == 0 else cred.ambient
    cred.securebits &= ~SECURE_KEEP_CAPS
    task.cred = cred


@python("prctl")
def prctl(task: Task, option: int, arg: Any = 0, *more: int) -> Any:
    """PR_GET_NAME gives the name, the other PR_GET_ options the number."""
    padded = (*more, 0, 0, 0)[:3]
    return sys_prctl(task, option, arg, *padded)
