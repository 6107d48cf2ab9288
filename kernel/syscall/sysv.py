"""System calls of System V IPC: msgget and its kind, semget, shmget (sysvipc(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CAP_SYS_RESOURCE,
    E2BIG,
    EAGAIN,
    EFAULT,
    EFBIG,
    EIDRM,
    EINVAL,
    ENOMEM,
    ENOMSG,
    ENOSYS,
    EPERM,
    ERANGE,
    GETALL,
    GETNCNT,
    GETPID,
    GETVAL,
    GETZCNT,
    IPC_NOWAIT,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    MAP_SHARED,
    MSG_COPY,
    MSG_NOERROR,
    PAGE_SIZE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    SETALL,
    SETVAL,
    SHM_EXEC,
    SHM_RDONLY,
    SHM_REMAP,
    SHM_RND,
)
from kernel.ipc.sysv import (
    MSGMNB,
    SEMVMX,
    SHM_DEST,
    MessageQueue,
    Pending,
    Permissions,
    Receiver,
    Segment,
    SemaphoreSet,
    clock,
    ipc_of,
)
from kernel.mm.space import SHIFT, Area
from kernel.sched.wait import Interrupted
from kernel.syscall.table import NEVER_RULE, NO_HANDLER_RULE, python, syscall

if TYPE_CHECKING:
    from kernel.task import Task

MSGMAX, SEMMSL, SEMOPM = 8192, 32000, 500
LARGEST_SEGMENT = (1 << 64) - (1 << 24)
SECOND = 1_000_000_000


class Stat:
    """struct msqid_ds, semid_ds or shmid_ds: the fields of ipc_perm without a prefix."""

    def __init__(self, perm: Permissions, **fields: int) -> None:
        self.key, self.mode = perm.key, perm.mode
        self.uid, self.gid, self.cuid, self.cgid = perm.uid, perm.gid, perm.cuid, perm.cgid
        self.__dict__.update(fields)


def _settings(arg: Any) -> tuple[int, ...]:
    try:
        values = tuple(int(v) for v in arg)
    except (TypeError, ValueError):
        raise OSError(EFAULT, f"IPC_SET takes (uid, gid, mode), not {arg!r:.40}") from None
    if len(values) < 3 or min(values[:2]) < 0:
        raise OSError(EINVAL, "IPC_SET takes (uid, gid, mode)")
    return values


# ---- message queues ----


@syscall(186, "msgget", "hex", "hex")
def sys_msgget(task: Task, key: int, flags: int) -> int:
    table = ipc_of(task.machine).messages
    found = table.existing(task, key, flags)
    if found is None:
        return table.add(MessageQueue(task, key, flags))
    found.check(task, flags & 0o777)
    return int(found.ident)


@syscall(189, "msgsnd", "int", "int", "bytes", "hex", restart=NO_HANDLER_RULE)
def sys_msgsnd(task: Task, msqid: int, mtype: int, data: Any, flags: int = 0) -> int:
    try:
        text = bytes(memoryview(data))
    except TypeError:
        raise OSError(EFAULT, "msgsnd takes bytes") from None
    if len(text) > MSGMAX or mtype < 1 or msqid < 0:
        raise OSError(EINVAL, f"msgsnd: type {mtype}, {len(text)} bytes")
    queue: MessageQueue = ipc_of(task.machine).messages.get(msqid)
    task.spend(len(text) * task.machine.costs.copy_kib >> 10)
    while True:
        queue.check(task, 0o222)
        if queue.fits(len(text)):
            queue.put(task, (mtype, text, task.pid))
            return 0
        if flags & IPC_NOWAIT:
            raise OSError(EAGAIN, "msgsnd: the queue is full")
        queue.senders.sleep(task)
        if queue.removed:
            raise OSError(EIDRM, "the queue was removed")


@syscall(188, "msgrcv", "int", "size", "int", "hex", restart=NO_HANDLER_RULE, returns="message")
def sys_msgrcv(task: Task, msqid: int, size: int, mtype: int = 0, flags: int = 0) -> tuple[int, bytes]:
    """(type, data)."""
    if flags & MSG_COPY:
        raise OSError(ENOSYS, "msgrcv: MSG_COPY")
    if msqid < 0 or size < 0:
        raise OSError(EINVAL, f"msgrcv: queue {msqid}, {size} bytes")
    queue: MessageQueue = ipc_of(task.machine).messages.get(msqid)
    receiver = Receiver(mtype, size, flags)
    while True:
        queue.check(task, 0o444)
        if queue.take(task, receiver):
            break
        if flags & IPC_NOWAIT:
            raise OSError(ENOMSG, "msgrcv: no message of that type")
        receiver.waiting = True
        queue.receivers.append(receiver)
        try:
            while receiver.waiting:
                receiver.queue.sleep(task)
        except Interrupted:
            if receiver.waiting:
                queue.receivers.remove(receiver)
                raise
        if receiver.message is not None:
            queue.lrpid = task.pid
            break
        if queue.removed:
            raise OSError(EIDRM, "the queue was removed")
        if receiver.too_big:
            raise OSError(E2BIG, "msgrcv: the message is larger")
    assert receiver.message is not None
    kind, text, _ = receiver.message
    task.spend(min(len(text), size) * task.machine.costs.copy_kib >> 10)
    return kind, text[:size] if flags & MSG_NOERROR else text


@syscall(187, "msgctl", "int", "int", "")
def sys_msgctl(task: Task, msqid: int, cmd: int, arg: Any = None) -> Any:
    """IPC_STAT gives the fields; IPC_SET takes (uid, gid, mode[, qbytes])."""
    table = ipc_of(task.machine).messages
    if msqid < 0 or cmd not in (IPC_STAT, IPC_SET, IPC_RMID):
        raise OSError(EINVAL, f"msgctl: queue {msqid}, command {cmd}")
    wanted = _settings(arg) if cmd == IPC_SET else ()
    queue: MessageQueue = table.get(msqid)
    if cmd == IPC_STAT:
        queue.check(task, 0o444)
        return Stat(
            queue, msg_stime=queue.stime, msg_rtime=queue.rtime, msg_ctime=queue.ctime, msg_qnum=len(queue.messages),
            msg_cbytes=queue.bytes, msg_qbytes=queue.qbytes, msg_lspid=queue.lspid, msg_lrpid=queue.lrpid,
        )  # fmt: skip
    queue.owned(task)
    if cmd == IPC_RMID:
        table.remove(queue)
        queue.close()
        return 0
    if len(wanted) > 3:
        if wanted[3] > MSGMNB and not task.cred.capable(CAP_SYS_RESOURCE):
            raise OSError(EPERM, f"msgctl: more than {MSGMNB} bytes")
        queue.qbytes = wanted[3]
    queue.set(task, *wanted[:3])
    queue.senders.wake_all()
    return 0


# ---- semaphores ----


@syscall(190, "semget", "hex", "int", "hex")
def sys_semget(task: Task, key: int, nsems: int, flags: int) -> int:
    if not 0 <= nsems <= SEMMSL:
        raise OSError(EINVAL, f"semget: {nsems} semaphores")
    table = ipc_of(task.machine).semaphores
    found = table.existing(task, key, flags)
    if found is None:
        if not nsems:
            raise OSError(EINVAL, "semget: a set has one at least")
        return table.add(SemaphoreSet(task, key, flags, nsems))
    if nsems > len(found.values):
        raise OSError(EINVAL, f"semget: the set has {len(found.values)}")
    found.check(task, flags & 0o777)
    return int(found.ident)


@syscall(192, "semtimedop", "int", "list", "timespec", restart=NEVER_RULE)
def sys_semtimedop(task: Task, semid: int, operations: Any, timeout_ns: int | None = None) -> int:
    """`operations` is [(number, change, flags), ...], done all at once or not at all."""
    try:
        wanted = [(int(number), int(change), int(flags)) for number, change, flags in operations]
    except (TypeError, ValueError):
        raise OSError(EFAULT, "semop takes [(number, change, flags), ...]") from None
    if not wanted or semid < 0:
        raise OSError(EINVAL, "semop")
    if len(wanted) > SEMOPM:
        raise OSError(E2BIG, f"semop: {len(wanted)} operations")
    if timeout_ns is not None and (not isinstance(timeout_ns, int) or timeout_ns < 0):
        raise OSError(EINVAL, f"semtimedop: {timeout_ns!r:.40} ns")
    semaphores: SemaphoreSet = ipc_of(task.machine).semaphores.get(semid)
    if any(not 0 <= number < len(semaphores.values) for number, _, _ in wanted):
        raise OSError(EFBIG, f"semop: the set has {len(semaphores.values)}")
    alters = any(change for _, change, _ in wanted)
    semaphores.check(task, 0o222 if alters else 0o444)
    blocking = semaphores.perform(task.group, wanted)
    if blocking is None:
        semaphores.otime = clock(task)
        if alters:
            semaphores.changed(task)
        return 0
    if blocking[2] & IPC_NOWAIT:
        raise OSError(EAGAIN, "semop: it would block")
    waiter = Pending(task.group, wanted, blocking)
    semaphores.pending.append(waiter)
    deadline = None if timeout_ns is None else task.now + timeout_ns
    try:
        while waiter.waiting:
            left = None if deadline is None else max(deadline - task.now, 0)
            if not waiter.queue.sleep(task, left) and waiter.waiting:
                raise OSError(EAGAIN, "semtimedop: timed out")
    finally:
        if waiter in semaphores.pending:
            semaphores.pending.remove(waiter)
    if waiter.error:
        raise OSError(waiter.error, "semop")
    return 0


@syscall(193, "semop", "int", "list", restart=NEVER_RULE)
def sys_semop(task: Task, semid: int, operations: Any) -> int:
    done: int = sys_semtimedop.handler(task, semid, operations, None)  # type: ignore[attr-defined]
    return done


_READING = (IPC_STAT, GETVAL, GETPID, GETNCNT, GETZCNT, GETALL)


@syscall(191, "semctl", "int", "int", "int", "")
def sys_semctl(task: Task, semid: int, number: int, cmd: int, arg: Any = None) -> Any:
    """What GETVAL and its kind ask for; a list for GETALL, the fields for IPC_STAT."""
    table = ipc_of(task.machine).semaphores
    if semid < 0 or cmd not in (*_READING, IPC_SET, IPC_RMID, SETVAL, SETALL):
        raise OSError(EINVAL, f"semctl: set {semid}, command {cmd}")
    wanted = _settings(arg) if cmd == IPC_SET else ()
    if cmd == SETVAL and not isinstance(arg, int | None):
        raise OSError(EFAULT, f"semctl: {arg!r:.40}")
    if cmd == SETVAL and not 0 <= (arg or 0) <= SEMVMX:
        raise OSError(ERANGE, f"semctl: {arg}")
    semaphores: SemaphoreSet = table.get(semid)
    if cmd in (IPC_SET, IPC_RMID):
        semaphores.owned(task)
        if cmd == IPC_SET:
            semaphores.set(task, *wanted[:3])
        else:
            table.remove(semaphores)
            semaphores.close()
        return 0
    if cmd == IPC_STAT:
        semaphores.check(task, 0o444)
        return Stat(
            semaphores, sem_otime=semaphores.otime, sem_ctime=semaphores.ctime, sem_nsems=len(semaphores.values)
        )
    one = cmd not in (GETALL, SETALL)
    if cmd == SETVAL and not 0 <= number < len(semaphores.values):
        raise OSError(EINVAL, f"semctl: no semaphore {number}")
    semaphores.check(task, 0o444 if cmd in _READING else 0o222)
    if one and not 0 <= number < len(semaphores.values):
        raise OSError(EINVAL, f"semctl: no semaphore {number}")
    if cmd in _READING:
        return _ask(semaphores, number, cmd)
    try:
        values = [int(arg or 0)] if one else [int(v) for v in arg][: len(semaphores.values)]
    except (TypeError, ValueError):
        raise OSError(EFAULT, f"semctl: {arg!r:.40}") from None
    if not all(0 <= value <= SEMVMX for value in values):
        raise OSError(ERANGE, f"semctl: {arg!r:.40}")
    for at, value in enumerate(values, number if one else 0):
        semaphores.values[at] = value
        semaphores.pids[at] = task.pid
        for undo in semaphores.undo.values():
            undo[at] = 0
    semaphores.ctime = clock(task)
    semaphores.changed(task)
    return 0


def _ask(semaphores: SemaphoreSet, number: int, cmd: int) -> Any:
    if cmd == GETALL:
        return list(semaphores.values)
    if cmd == GETVAL:
        return semaphores.values[number]
    if cmd == GETPID:
        return semaphores.pids[number]
    waits = [waiter.blocking for waiter in semaphores.pending if waiter.blocking[0] == number]
    return sum(bool(change) == (cmd == GETNCNT) for _, change, _ in waits)


# ---- shared memory ----


@syscall(194, "shmget", "hex", "size", "hex")
def sys_shmget(task: Task, key: int, size: int, flags: int) -> int:
    table = ipc_of(task.machine).segments
    found = table.existing(task, key, flags)
    if found is None:
        if not 1 <= size <= LARGEST_SEGMENT:
            raise OSError(EINVAL, f"shmget: {size} bytes")
        if (size + PAGE_SIZE - 1) // PAGE_SIZE > task.machine.frames:
            raise OSError(ENOMEM, f"shmget: {size} bytes are more than the machine has")
        return table.add(Segment(task, key, flags, size))
    if size > found.size:
        raise OSError(EINVAL, f"shmget: the segment has {found.size} bytes")
    found.check(task, flags & 0o777)
    return int(found.ident)


@syscall(196, "shmat", "int", "addr", "hex", returns="addr")
def sys_shmat(task: Task, shmid: int, addr: int = 0, flags: int = 0) -> int:
    """The address."""
    if addr & PAGE_SIZE - 1:
        if not flags & SHM_RND:
            raise OSError(EINVAL, f"shmat: {addr:#x} is no page's address")
        addr &= -PAGE_SIZE
    if (not addr and flags & SHM_REMAP) or shmid < 0:
        raise OSError(EINVAL, "shmat")
    segment: Segment = ipc_of(task.machine).segments.get(shmid)
    reads_only = bool(flags & SHM_RDONLY)
    segment.check(task, (0o444 if reads_only else 0o666) | (0o111 if flags & SHM_EXEC else 0))
    mm, pages = task.mm, segment.pages
    start = addr >> SHIFT if addr else mm.room_for(pages)
    if addr and not flags & SHM_REMAP and any(mm.overlapping(start, start + pages)):
        raise OSError(EINVAL, f"shmat: {addr:#x} is in use")
    mm.remove(start, start + pages)
    prot = PROT_READ | (0 if reads_only else PROT_WRITE) | (PROT_EXEC if flags & SHM_EXEC else 0)
    segment.backing.get()
    mm.add(Area(start, start + pages, prot, MAP_SHARED, segment.backing, 0))
    segment.atime, segment.lpid = clock(task), task.pid
    return start << SHIFT


@syscall(197, "shmdt", "addr")
def sys_shmdt(task: Task, addr: int) -> int:
    ipc = ipc_of(task.machine)
    area = task.mm.area(addr >> SHIFT) if addr % PAGE_SIZE == 0 else None
    segment = next((s for s in ipc.segments.objects.values() if area is not None and s.backing is area.backing), None)
    if area is None or segment is None or area.start << SHIFT != addr or area.offset:
        raise OSError(EINVAL, f"shmdt: nothing is attached at {addr:#x}")
    for piece in list(task.mm.overlapping(area.start, area.start + segment.pages)):
        if piece.backing is segment.backing and piece.start - piece.offset == area.start:
            task.mm.remove(piece.start, piece.end)
    segment.dtime, segment.lpid = clock(task), task.pid
    ipc.prune()
    return 0


@syscall(195, "shmctl", "int", "int", "")
def sys_shmctl(task: Task, shmid: int, cmd: int, arg: Any = None) -> Any:
    """IPC_STAT gives the fields; IPC_SET takes (uid, gid, mode)."""
    if shmid < 0 or cmd not in (IPC_STAT, IPC_SET, IPC_RMID):
        raise OSError(EINVAL, f"shmctl: segment {shmid}, command {cmd}")
    wanted = _settings(arg) if cmd == IPC_SET else ()
    ipc = ipc_of(task.machine)
    segment: Segment = ipc.segments.get(shmid)
    if cmd == IPC_STAT:
        segment.check(task, 0o444)
        return Stat(
            segment, shm_segsz=segment.size, shm_atime=segment.atime, shm_dtime=segment.dtime,
            shm_ctime=segment.ctime, shm_cpid=segment.cpid, shm_lpid=segment.lpid, shm_nattch=segment.attached,
        )  # fmt: skip
    segment.owned(task)
    if cmd == IPC_SET:
        segment.set(task, *wanted[:3])
    else:
        segment.mode |= SHM_DEST
        segment.key = 0
        ipc.prune()
    return 0


@python("msgrcv")
def msgrcv(task: Task, msqid: int, size: int, mtype: int = 0, flags: int = 0) -> tuple[int, bytes]:
    """(type, data) of the first message of the type (0: of any; below 0: of the lowest up to there)."""
    found: tuple[int, bytes] = sys_msgrcv(task, msqid, size, mtype, flags)
    return found
