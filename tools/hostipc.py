"""The part of `HostSystem` that is about System V IPC and message queues by name: layouts of 64-bit Linux."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tools.hostmemory import direct
from tools.hostsignal import libc

_NSEC = 1_000_000_000
_X86 = os.uname().machine == "x86_64"
_MQ = {"open": 240, "unlink": 241, "send": 242, "receive": 243, "notify": 244, "attr": 245}
_MQ_GENERIC = {"open": 180, "unlink": 181, "send": 182, "receive": 183, "notify": 184, "attr": 185}
_NR = _MQ if _X86 else _MQ_GENERIC
_RMID, _SET, _STAT = 0, 1, 2
_GETPID, _GETVAL, _GETALL, _GETNCNT, _GETZCNT, _SETVAL, _SETALL = range(11, 18)
_PERM = struct.Struct("=iIIIIIHHxxxxQQ")
_MSG = ("=qqqQQQii", "msg_stime msg_rtime msg_ctime msg_cbytes msg_qnum msg_qbytes msg_lspid msg_lrpid")
_SEM = ("=qQqQQ" if _X86 else "=qqQ", "sem_otime _ sem_ctime _ sem_nsems" if _X86 else "sem_otime sem_ctime sem_nsems")
_SHM = ("=QqqqiiQ", "shm_segsz shm_atime shm_dtime shm_ctime shm_cpid shm_lpid shm_nattch")

for _name, _types in {
    "msgsnd": [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int],
    "msgrcv": [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long, ctypes.c_int],
    "semtimedop": [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p],
    "shmget": [ctypes.c_int, ctypes.c_size_t, ctypes.c_int],
    "shmat": [ctypes.c_int, ctypes.c_void_p, ctypes.c_int],
    "shmdt": [ctypes.c_void_p],
}.items():
    getattr(libc, _name).argtypes = _types
libc.msgrcv.restype = ctypes.c_ssize_t
libc.shmat.restype = ctypes.c_ssize_t


class IpcStat:
    """msqid_ds, semid_ds or shmid_ds; the fields of ipc_perm without a prefix."""

    def __init__(self, raw: bytes, layout: tuple[str, str]) -> None:
        self.key, self.uid, self.gid, self.cuid, self.cgid, self.mode = _PERM.unpack_from(raw)[:6]
        self.__dict__.update(zip(layout[1].split(), struct.unpack_from(layout[0], raw, _PERM.size)))


def _timeout(ns: int | None) -> Any:
    return None if ns is None else struct.pack("=qq", ns // _NSEC, ns % _NSEC)


class HostIpc:
    """Calls on System V objects and on POSIX message queues."""

    _call: Callable[..., int]

    def _control(self, call: Callable[..., int], cmd: int, arg: Any, layout: tuple[str, str]) -> Any:
        """IPC_STAT, IPC_SET (uid, gid, mode[, qbytes]), IPC_RMID. `call(cmd, buffer)`."""
        raw = ctypes.create_string_buffer(128)
        if cmd == _SET:
            call(_STAT, raw)
            struct.pack_into("=II", raw, 4, arg[0], arg[1])
            struct.pack_into("=I", raw, 20, arg[2])
            if len(arg) > 3:
                struct.pack_into("=Q", raw, _PERM.size + 40, arg[3])
        done = self._call(call, cmd, raw)
        return IpcStat(raw.raw, layout) if cmd == _STAT else done

    def msgget(self, key: int, flags: int) -> int:
        return self._call(libc.msgget, key, flags)

    def msgsnd(self, msqid: int, mtype: int, data: bytes, flags: int = 0) -> int:
        raw = struct.pack("=q", mtype) + bytes(data)
        return self._call(libc.msgsnd, msqid, raw, len(raw) - 8, flags, restart=False)

    def msgrcv(self, msqid: int, size: int, mtype: int = 0, flags: int = 0) -> tuple[int, bytes]:
        raw = ctypes.create_string_buffer(8 + max(size, 0) + 1)
        got = self._call(libc.msgrcv, msqid, raw, size, mtype, flags, restart=False)
        return struct.unpack_from("=q", raw)[0], raw.raw[8 : 8 + got]

    def msgctl(self, msqid: int, cmd: int, arg: Any = None) -> Any:
        def msgctl(cmd: int, raw: Any) -> int:
            return int(libc.msgctl(msqid, cmd, raw))

        return self._control(msgctl, cmd, arg, _MSG)

    def semget(self, key: int, nsems: int, flags: int) -> int:
        return self._call(libc.semget, key, nsems, flags)

    def semtimedop(self, semid: int, operations: Iterable[Sequence[int]], timeout_ns: int | None = None) -> int:
        wanted = [struct.pack("=Hhh", *operation) for operation in operations]
        return self._call(libc.semtimedop, semid, b"".join(wanted), len(wanted), _timeout(timeout_ns), restart=False)

    def semop(self, semid: int, operations: Iterable[Sequence[int]]) -> int:
        return self.semtimedop(semid, operations)

    def semctl(self, semid: int, number: int, cmd: int, arg: Any = None) -> Any:
        def semctl(cmd: int, raw: Any) -> int:
            return int(libc.semctl(semid, number, cmd, raw))

        if cmd in (_GETALL, _SETALL):
            count = self.semctl(semid, 0, _STAT).sem_nsems
            words = (ctypes.c_ushort * count)(*(arg or ()))
            done = self._call(semctl, cmd, words)
            return list(words) if cmd == _GETALL else done
        if cmd in (_SET, _STAT):
            return self._control(semctl, cmd, arg, _SEM)
        return self._call(semctl, cmd, ctypes.c_long(arg or 0))

    def shmget(self, key: int, size: int, flags: int) -> int:
        return self._call(libc.shmget, key, size, flags)

    def shmat(self, shmid: int, addr: int = 0, flags: int = 0) -> int:
        return self._call(libc.shmat, shmid, addr, flags)

    def shmdt(self, addr: int) -> int:
        return self._call(libc.shmdt, addr)

    def shmctl(self, shmid: int, cmd: int, arg: Any = None) -> Any:
        def shmctl(cmd: int, raw: Any) -> int:
            return int(libc.shmctl(shmid, cmd, raw))

        return self._control(shmctl, cmd, arg, _SHM)

    # -- message queues by name --

    def mq_open(self, name: Any, flags: int, mode: int = 0, attr: Sequence[int] | None = None) -> int:
        """`attr` is (maxmsg, msgsize)."""
        raw = None if attr is None else struct.pack("=qqqq32x", 0, *attr, 0)
        return direct(_NR["open"], os.fsencode(name), flags, mode, raw)

    def mq_unlink(self, name: Any) -> int:
        return direct(_NR["unlink"], os.fsencode(name))

    def mq_timedsend(self, fd: int, data: bytes, prio: int = 0, timeout_ns: int | None = None) -> int:
        raw = bytes(data)
        return self._call(
            libc.syscall, ctypes.c_long(_NR["send"]), fd, raw, ctypes.c_size_t(len(raw)), ctypes.c_uint(prio),
            _timeout(timeout_ns),
        )  # fmt: skip

    def mq_timedreceive(self, fd: int, size: int, timeout_ns: int | None = None) -> tuple[bytes, int]:
        """(data, priority)."""
        raw, prio = ctypes.create_string_buffer(max(size, 1)), ctypes.c_uint()
        got = self._call(
            libc.syscall, ctypes.c_long(_NR["receive"]), fd, raw, ctypes.c_size_t(size), ctypes.byref(prio),
            _timeout(timeout_ns),
        )  # fmt: skip
        return raw.raw[:got], prio.value

    def mq_notify(self, fd: int, event: Sequence[int] | None = None) -> int:
        """`event` is (SIGEV_*, signal, value)."""
        raw = None
        if event is not None:
            notify, signum, value = event
            raw = struct.pack("=qii48x", value, signum, notify)
        return direct(_NR["notify"], fd, raw)

    def mq_getsetattr(self, fd: int, flags: int | None = None) -> tuple[int, int, int, int]:
        """(flags, maxmsg, msgsize, how many wait) as they were; `flags` may set O_NONBLOCK."""
        new = None if flags is None else struct.pack("=qqqq32x", flags, 0, 0, 0)
        old = ctypes.create_string_buffer(64)
        direct(_NR["attr"], fd, new, old)
        found: tuple[int, int, int, int] = struct.unpack_from("=qqqq", old.raw)
        return found


__all__ = ["HostIpc"]
