"""System V IPC: message queues, semaphore sets and shared memory (sysvipc(7)).

Objects have ids that programs pass around, and keys by which others find them; they live until somebody removes them,
whoever made them. A sender hands its message straight to the receiver that has waited longest for one like it, and a
change of a semaphore lets the waiting operations go on in the order in which they came: so nobody overtakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    CAP_IPC_OWNER,
    CAP_SYS_ADMIN,
    E2BIG,
    EACCES,
    EEXIST,
    EIDRM,
    EINVAL,
    ENOENT,
    ENOSPC,
    EPERM,
    ERANGE,
    IPC_CREAT,
    IPC_EXCL,
    IPC_PRIVATE,
    MSG_EXCEPT,
    MSG_NOERROR,
    PAGE_SIZE,
    SEM_UNDO,
)
from kernel.fs.namei import in_group
from kernel.mm.space import Shared
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import Task, ThreadGroup

SEQUENCE = 1 << 15
"""An id is the object's place and how often the place was used, so that an old id finds nothing."""
MSGMNB, MSGMNI = 16384, 32000
SEMMNI, SEMVMX = 32000, 32767
SHMMNI, SHM_DEST = 4096, 0o1000
SECOND = 1_000_000_000


class Permissions:
    """struct ipc_perm, and what all three kinds have in common."""

    __slots__ = ("cgid", "ctime", "cuid", "gid", "ident", "key", "mode", "removed", "uid")

    def __init__(self, task: Task, key: int, mode: int) -> None:
        self.key = key
        self.ident = 0
        self.uid = self.cuid = task.cred.euid
        self.gid = self.cgid = task.cred.egid
        self.mode = mode & 0o777
        self.ctime = clock(task)
        self.removed = False

    def allows(self, task: Task, wanted: int) -> bool:
        """ipcperms: `wanted` is 0444, 0222 or both, or what an open by key asks for."""
        cred = task.cred
        asked = (wanted >> 6 | wanted >> 3 | wanted) & 7
        granted = self.mode
        if cred.euid in (self.uid, self.cuid):
            granted >>= 6
        elif in_group(cred, self.gid) or in_group(cred, self.cgid):
            granted >>= 3
        return not asked & ~granted & 7 or cred.capable(CAP_IPC_OWNER)

    def check(self, task: Task, wanted: int) -> None:
        if not self.allows(task, wanted):
            raise OSError(EACCES, f"System V IPC object {self.ident}: permission denied")

    def owned(self, task: Task) -> None:
        """IPC_SET and IPC_RMID."""
        if task.cred.euid not in (self.uid, self.cuid) and not task.cred.capable(CAP_SYS_ADMIN):
            raise OSError(EPERM, f"System V IPC object {self.ident} belongs to somebody else")

    def set(self, task: Task, uid: int, gid: int, mode: int) -> None:
        self.uid, self.gid = uid, gid
        self.mode = self.mode & ~0o777 | mode & 0o777
        self.ctime = clock(task)


def clock(task: Task) -> int:
    """Seconds since 1970."""
    return (task.now + task.machine.realtime_offset()) // SECOND


class Table:
    """The objects of one kind."""

    __slots__ = ("kind", "limit", "objects", "sequence")

    def __init__(self, kind: str, limit: int) -> None:
        self.kind = kind
        self.limit = limit
        self.objects: dict[int, Any] = {}
        """By place."""
        self.sequence = 0

    def get(self, ident: int) -> Any:
        """EINVAL when there is none (any more)."""
        found = self.objects.get(ident % SEQUENCE) if isinstance(ident, int) and ident >= 0 else None
        if found is None or found.ident != ident:
            raise OSError(EINVAL, f"no {self.kind} {ident!r:.40}")
        return found

    def find(self, key: int) -> Any:
        return next((o for o in self.objects.values() if o.key == key and key != IPC_PRIVATE), None)

    def existing(self, task: Task, key: int, flags: int) -> Any:
        """What a *get call finds; None when it is to make one."""
        found = self.find(key)
        if found is None:
            if key != IPC_PRIVATE and not flags & IPC_CREAT:
                raise OSError(ENOENT, f"no {self.kind} of key {key:#x}")
            return None
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise OSError(EEXIST, f"{self.kind} of key {key:#x}")
        return found

    def add(self, made: Any) -> int:
        place = next((n for n in range(self.limit) if n not in self.objects), None)
        if place is None:
            raise OSError(ENOSPC, f"{self.limit} {self.kind}s are the most there may be")
        made.ident = self.sequence * SEQUENCE + place
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.objects[place] = made
        return int(made.ident)

    def remove(self, gone: Any) -> None:
        gone.removed = True
        del self.objects[gone.ident % SEQUENCE]


# ---- messages ----


class Receiver:
    """Somebody in msgrcv."""

    __slots__ = ("flags", "message", "queue", "size", "too_big", "type", "waiting")

    def __init__(self, kind: int, size: int, flags: int) -> None:
        self.type = kind
        self.size = size
        self.flags = flags
        self.message: tuple[int, bytes, int] | None = None
        self.too_big = False
        self.waiting = True
        self.queue = WaitQueue()

    def wants(self, kind: int) -> bool:
        if not self.type:
            return True
        if self.type < 0:
            return kind <= -self.type
        return (kind == self.type) != bool(self.flags & MSG_EXCEPT)


class MessageQueue(Permissions):
    """The messages as (type, data, sender's pid), in the order in which they came."""

    __slots__ = ("bytes", "lrpid", "lspid", "messages", "qbytes", "receivers", "rtime", "senders", "stime")

    def __init__(self, task: Task, key: int, mode: int) -> None:
        super().__init__(task, key, mode)
        self.messages: list[tuple[int, bytes, int]] = []
        self.bytes = 0
        self.qbytes = MSGMNB
        self.stime = self.rtime = self.lspid = self.lrpid = 0
        self.receivers: list[Receiver] = []
        self.senders = WaitQueue()

    def fits(self, size: int) -> bool:
        return self.bytes + size <= self.qbytes and 1 + len(self.messages) <= self.qbytes

    def put(self, task: Task, message: tuple[int, bytes, int]) -> None:
        """To the first receiver that waits for such a one, else into the queue."""
        self.lspid, self.stime = task.pid, clock(task)
        for receiver in list(self.receivers):
            if not receiver.wants(message[0]):
                continue
            self.receivers.remove(receiver)
            receiver.waiting = False
            receiver.too_big = receiver.size < len(message[1]) and not receiver.flags & MSG_NOERROR
            if not receiver.too_big:
                receiver.message = message
                self.rtime = self.stime
            receiver.queue.wake_all()
            if not receiver.too_big:
                return
        self.messages.append(message)
        self.bytes += len(message[1])

    def take(self, task: Task, receiver: Receiver) -> bool:
        """What waits already; E2BIG when it is larger than the receiver's buffer."""
        fitting = [m for m in self.messages if receiver.wants(m[0])]
        if not fitting:
            return False
        message = min(fitting, key=lambda m: m[0]) if receiver.type < 0 else fitting[0]
        if receiver.size < len(message[1]) and not receiver.flags & MSG_NOERROR:
            raise OSError(E2BIG, "msgrcv: the message is larger")
        self.messages.remove(message)
        self.bytes -= len(message[1])
        self.lrpid, self.rtime = task.pid, clock(task)
        receiver.message = message
        self.senders.wake_all()
        return True

    def close(self) -> None:
        for receiver in self.receivers:
            receiver.waiting = False
            receiver.queue.wake_all()
        self.receivers.clear()
        self.senders.wake_all()


# ---- semaphores ----

Operations = list[tuple[int, int, int]]


class Pending:
    """Operations that wait until all of them can be done at once."""

    __slots__ = ("blocking", "error", "group", "operations", "queue", "waiting")

    def __init__(self, group: ThreadGroup, operations: Operations, blocking: tuple[int, int, int]) -> None:
        self.group = group
        self.operations = operations
        self.blocking = blocking
        """The one of them that can't be done."""
        self.waiting = True
        self.error = 0
        self.queue = WaitQueue()


class SemaphoreSet(Permissions):
    """Values, who changed each last, and what is undone when a process ends."""

    __slots__ = ("otime", "pending", "pids", "undo", "values")

    def __init__(self, task: Task, key: int, mode: int, count: int) -> None:
        super().__init__(task, key, mode)
        self.values = [0] * count
        self.pids = [0] * count
        self.otime = 0
        self.pending: list[Pending] = []
        self.undo: dict[int, list[int]] = {}
        """By pid: what is added to each when the process ends."""

    def perform(self, group: ThreadGroup, operations: Operations) -> tuple[int, int, int] | None:
        """All of them, or none: then the one that blocks. ERANGE."""
        values = list(self.values)
        undo = list(self.undo.get(group.pid, [0] * len(values)))
        for operation in operations:
            number, change, flags = operation
            if (not change and values[number]) or values[number] + change < 0:
                return operation
            values[number] += change
            if values[number] > SEMVMX:
                raise OSError(ERANGE, f"semop: {values[number]} is above {SEMVMX}")
            if flags & SEM_UNDO:
                undo[number] -= change
                if not -SEMVMX - 1 <= undo[number] <= SEMVMX:
                    raise OSError(ERANGE, "semop: too much to undo")
        self.values = values
        if any(flags & SEM_UNDO for _, _, flags in operations):
            self.undo[group.pid] = undo
        for number, _, _ in operations:
            self.pids[number] = group.pid
        return None

    def changed(self, task: Task | None) -> None:
        """Let go on who can, first come first."""
        again = True
        while again:
            again = False
            for waiter in list(self.pending):
                try:
                    blocking = self.perform(waiter.group, waiter.operations)
                except OSError as failure:
                    waiter.error, blocking = failure.errno or 0, None
                if blocking is not None:
                    waiter.blocking = blocking
                    continue
                self.pending.remove(waiter)
                waiter.waiting = False
                waiter.queue.wake_all()
                if task is not None:
                    self.otime = clock(task)
                again = again or any(change for _, change, _ in waiter.operations)

    def exited(self, pid: int) -> None:
        undo = self.undo.pop(pid, None)
        if undo is None:
            return
        for number, change in enumerate(undo):
            if change:
                self.values[number] = min(max(self.values[number] + change, 0), SEMVMX)
                self.pids[number] = pid
        self.changed(None)

    def close(self) -> None:
        for waiter in self.pending:
            waiter.waiting, waiter.error = False, EIDRM
            waiter.queue.wake_all()
        self.pending.clear()


# ---- shared memory ----


class Segment(Permissions):
    """Pages that processes attach to their memory."""

    __slots__ = ("atime", "backing", "cpid", "dtime", "lpid", "size")

    def __init__(self, task: Task, key: int, mode: int, size: int) -> None:
        super().__init__(task, key, mode)
        self.size = size
        self.backing = Shared(task.machine.ram)
        self.backing.get()
        self.cpid, self.lpid = task.pid, 0
        self.atime = self.dtime = 0

    @property
    def pages(self) -> int:
        return (self.size + PAGE_SIZE - 1) // PAGE_SIZE

    @property
    def attached(self) -> int:
        return self.backing.users - 1


class Ipc:
    """The System V objects of one machine."""

    __slots__ = ("messages", "segments", "semaphores")

    def __init__(self) -> None:
        self.messages = Table("message queue", MSGMNI)
        self.semaphores = Table("semaphore set", SEMMNI)
        self.segments = Table("shared memory segment", SHMMNI)

    def prune(self) -> None:
        """Segments that were removed go when nobody has them attached any more."""
        for segment in list(self.segments.objects.values()):
            if segment.mode & SHM_DEST and not segment.attached:
                self.segments.remove(segment)
                segment.backing.put()

    def exited(self, group: ThreadGroup) -> None:
        """A process has ended."""
        for semaphores in list(self.semaphores.objects.values()):
            semaphores.exited(group.pid)
        self.prune()


def ipc_of(machine: Machine) -> Ipc:
    """Made when first asked for."""
    found: Ipc | None = machine.ipc
    if found is None:
        found = machine.ipc = Ipc()
        machine.on_process_end.append(found.exited)
    return found
