"""System calls of POSIX message queues (mq_overview(7)). Names are without the slash that the C library wants first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import (
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    EMFILE,
    EMSGSIZE,
    ENAMETOOLONG,
    ENOENT,
    ENOSPC,
    EPERM,
    O_ACCMODE,
    O_CREAT,
    O_EXCL,
    O_NONBLOCK,
    RLIMIT_MSGQUEUE,
    S_IFREG,
)
from kernel.fs.file import File
from kernel.fs.namei import MAY_READ, MAY_WRITE, check
from kernel.fs.user import install, pathname
from kernel.ipc.mqueue import MAGIC, QUEUE, SIGEV_SIGNAL, STATUS_SIZE, Queue, await_
from kernel.syscall.table import python, syscall

if TYPE_CHECKING:
    from kernel.task import Task

QUEUES_MAX, MSG_MAX, MSGSIZE_MAX, DEFAULT = 256, 10, 8192, (10, 8192)
HARD_MSG_MAX, HARD_MSGSIZE_MAX = 65536, 16 * 1024 * 1024
PRIO_MAX = 32768
BYTES_MAX = 819200
SIGEV_NONE, SIGEV_THREAD = 1, 2


def _queues(task: Task) -> dict[bytes, Queue]:
    found: dict[bytes, Queue] | None = task.machine.mqueues
    if found is None:
        found = task.machine.mqueues = {}
    return found


def _name(name: Any) -> bytes:
    raw = pathname(name)
    if not raw:
        raise OSError(ENOENT, "mq_open: an empty name")
    if b"/" in raw or raw in (b".", b".."):
        raise OSError(EACCES, f"mq_open: {raw!r}")
    if len(raw) > 255:
        raise OSError(ENAMETOOLONG, "mq_open")
    return raw


def _queue(task: Task, fd: int) -> tuple[File, Queue]:
    file = task.files.get(fd)
    if file.ops is not QUEUE:
        raise OSError(EBADF, f"{fd} is no message queue")
    return file, file.private


@syscall(180, "mq_open", "path", "open_flags", "mode", "", returns="int")
def sys_mq_open(task: Task, name: str | bytes, flags: int, mode: int = 0, attr: Any = None) -> int:
    """`attr` is (maxmsg, msgsize)."""
    raw = _name(name)
    queues = _queues(task)
    queue = queues.get(raw)
    if queue is None:
        if not flags & O_CREAT:
            raise OSError(ENOENT, f"no message queue {raw!r}")
        queue = _make(task, queues, raw, mode, attr)
    elif flags & O_CREAT and flags & O_EXCL:
        raise OSError(EEXIST, f"message queue {raw!r}")
    elif flags & O_ACCMODE == O_ACCMODE:
        raise OSError(EINVAL, "mq_open: flags")
    else:
        check(queue.inode, task.cred, (MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE)[flags & O_ACCMODE])
    return install(task, File(QUEUE, flags & (O_ACCMODE | O_NONBLOCK), queue.inode, None, queue), True)


def _make(task: Task, queues: dict[bytes, Queue], raw: bytes, mode: int, attr: Any) -> Queue:
    maxmsg, msgsize = DEFAULT
    free = task.cred.capable(abi.CAP_SYS_RESOURCE)
    if attr is not None:
        try:
            maxmsg, msgsize = (int(value) for value in attr)
        except (TypeError, ValueError):
            raise OSError(EFAULT, f"mq_open takes (maxmsg, msgsize), not {attr!r:.40}") from None
        most = (HARD_MSG_MAX, HARD_MSGSIZE_MAX) if free else (MSG_MAX, MSGSIZE_MAX)
        if not 0 < maxmsg <= most[0] or not 0 < msgsize <= most[1]:
            raise OSError(EINVAL, f"mq_open: {maxmsg} messages of {msgsize} bytes")
    if len(queues) >= QUEUES_MAX and not free:
        raise OSError(ENOSPC, f"more than {QUEUES_MAX} message queues")
    charged = maxmsg * (msgsize + 48) + min(maxmsg, PRIO_MAX) * 48
    limit = task.group.rlimits.get(RLIMIT_MSGQUEUE, (BYTES_MAX, 0))[0]
    mine = sum(queue.charged for queue in queues.values() if queue.uid == task.cred.uid)
    if 0 <= limit < mine + charged:
        raise OSError(EMFILE, f"RLIMIT_MSGQUEUE is {limit}")
    fs = task.machine.vfs.anon("mqueue", MAGIC)
    inode = fs.inode(S_IFREG | mode & 0o777 & ~task.fs.umask, task.cred.fsuid, task.cred.fsgid)
    inode.size = STATUS_SIZE
    queue = queues[raw] = Queue(inode, maxmsg, msgsize)
    queue.uid, queue.charged = task.cred.uid, charged
    return queue


@syscall(181, "mq_unlink", "path")
def sys_mq_unlink(task: Task, name: str | bytes) -> int:
    raw = _name(name)
    queues = _queues(task)
    queue = queues.get(raw)
    if queue is None:
        raise OSError(ENOENT, f"no message queue {raw!r}")
    cred = task.cred
    if cred.fsuid not in (0, queue.inode.uid) and not cred.capable(abi.CAP_FOWNER):
        raise OSError(EPERM, f"message queue {raw!r} belongs to somebody else")
    del queues[raw]
    return 0


def _deadline(task: Task, timeout_ns: int | None) -> int | None:
    """The timeout is a time of CLOCK_REALTIME."""
    if timeout_ns is None:
        return None
    if not isinstance(timeout_ns, int) or timeout_ns < 0:
        raise OSError(EINVAL, f"message queue: {timeout_ns!r:.40} is no time")
    return timeout_ns - task.machine.realtime_offset()


@syscall(182, "mq_timedsend", "fd", "bytes", "int", "timespec")
def sys_mq_timedsend(task: Task, fd: int, data: Any, prio: int = 0, timeout_ns: int | None = None) -> int:
    try:
        message = bytes(memoryview(data))
    except TypeError:
        raise OSError(EFAULT, "mq_timedsend takes bytes") from None
    if not 0 <= prio < PRIO_MAX:
        raise OSError(EINVAL, f"mq_timedsend: priority {prio}")
    deadline = _deadline(task, timeout_ns)
    file, queue = _queue(task, fd)
    if not file.writable:
        raise OSError(EBADF, "not open for writing")
    if len(message) > queue.msgsize:
        raise OSError(EMSGSIZE, f"mq_timedsend: {len(message)} bytes")
    task.spend(len(message) * task.machine.costs.copy_kib >> 10)
    while len(queue.messages) >= queue.maxmsg:
        await_(task, file, queue.senders, deadline)
    queue.put(task, message, prio)
    return 0


@syscall(183, "mq_timedreceive", "fd", "size", "timespec", returns="message")
def sys_mq_timedreceive(task: Task, fd: int, size: int, timeout_ns: int | None = None) -> tuple[bytes, int]:
    """(data, priority) of the oldest of the highest priority."""
    deadline = _deadline(task, timeout_ns)
    file, queue = _queue(task, fd)
    if not file.readable:
        raise OSError(EBADF, "not open for reading")
    if 0 <= size < queue.msgsize:
        raise OSError(EMSGSIZE, f"mq_timedreceive: a message may have {queue.msgsize} bytes")
    queue.waiting += 1
    try:
        while not queue.messages:
            await_(task, file, queue.receivers, deadline)
    finally:
        queue.waiting -= 1
    message = queue.take()
    task.spend(len(message.data) * task.machine.costs.copy_kib >> 10)
    return message.data, message.prio


@syscall(184, "mq_notify", "fd", "")
def sys_mq_notify(task: Task, fd: int, event: Any = None) -> int:
    """`event` is (SIGEV_SIGNAL or SIGEV_NONE, signal, value); None ends it."""
    wanted: tuple[int, ...] = ()
    if event is not None:
        try:
            wanted = tuple(int(part) for part in event)[:3]
            notify, signum, _ = wanted
        except (TypeError, ValueError):
            raise OSError(EFAULT, "mq_notify takes (notify, signal, value)") from None
        if notify not in (SIGEV_SIGNAL, SIGEV_NONE) or (notify == SIGEV_SIGNAL and not 0 <= signum < abi.NSIG):
            raise OSError(EINVAL, f"mq_notify: {wanted}")
    file, queue = _queue(task, fd)
    if queue.notify is not None and not queue.notify[0].threads:
        queue.notify = None  # who asked is gone
    if event is None:
        if queue.notify is not None and queue.notify[0] is task.group:
            queue.notify = None
        return 0
    if queue.notify is not None:
        raise OSError(EBUSY, "mq_notify: somebody else is told")
    queue.notify = (task.group, wanted[0], wanted[1], wanted[2], file)
    return 0


@syscall(185, "mq_getsetattr", "fd", "int", returns="list")
def sys_mq_getsetattr(task: Task, fd: int, flags: int | None = None) -> tuple[int, int, int, int]:
    """(flags, maxmsg, msgsize, how many wait) as they were; `flags` may set O_NONBLOCK."""
    if flags is not None and flags & ~O_NONBLOCK:
        raise OSError(EINVAL, f"mq_getsetattr: flags {flags:#o}")
    file, queue = _queue(task, fd)
    old = (file.flags & O_NONBLOCK, queue.maxmsg, queue.msgsize, len(queue.messages))
    if flags is not None:
        file.flags = file.flags & ~O_NONBLOCK | flags
    return old


@python("mq_timedreceive")
def mq_timedreceive(task: Task, fd: int, size: int, timeout_ns: int | None = None) -> tuple[bytes, int]:
    found: tuple[bytes, int] = sys_mq_timedreceive(task, fd, size, timeout_ns)
    return found
