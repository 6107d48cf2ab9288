"""POSIX message queues (mq_overview(7)): messages by priority behind a name that is a machine's own.

A descriptor of a queue is an open description with a file's flags and readiness; reading it gives the queue's state as
text. Of messages of one priority the oldest comes first. Who has asked to be told (mq_notify) is told once, when a
message comes to an empty queue for which nobody waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import EAGAIN, ETIMEDOUT, O_NONBLOCK, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, SI_MESGQ
from kernel.fs.file import File, FileOps, Sink
from kernel.sched.wait import WaitQueue
from kernel.signal import SigInfo

if TYPE_CHECKING:
    from kernel.fs.vfs import Inode
    from kernel.task import Task, ThreadGroup

MAGIC = 0x19800202
STATUS_SIZE = 80
SIGEV_SIGNAL = 0


class Message:
    """One that waits."""

    __slots__ = ("data", "prio")

    def __init__(self, data: bytes, prio: int) -> None:
        self.data = data
        self.prio = prio


class Queue:
    """One queue: `maxmsg` messages of `msgsize` bytes at most."""

    __slots__ = ("charged", "inode", "maxmsg", "messages", "msgsize", "notify", "receivers", "senders", "uid",
                 "waiting")  # fmt: skip

    def __init__(self, inode: Inode, maxmsg: int, msgsize: int) -> None:
        self.inode = inode
        self.maxmsg = maxmsg
        self.msgsize = msgsize
        self.messages: list[Message] = []
        self.receivers, self.senders = WaitQueue(), WaitQueue()
        self.waiting = 0
        """How many are in mq_timedreceive."""
        self.notify: tuple[ThreadGroup, int, int, int, File] | None = None
        """(process, SIGEV_*, signal, value, the description it asked by)."""
        self.uid = inode.uid
        self.charged = 0
        """What counts against its owner's RLIMIT_MSGQUEUE."""

    def put(self, task: Task, data: bytes, prio: int) -> None:
        at = len(self.messages)
        while at and self.messages[at - 1].prio < prio:
            at -= 1
        self.messages.insert(at, Message(data, prio))
        if len(self.messages) == 1 and not self.waiting:
            self.tell(task)
        self.receivers.wake(1, POLLIN | POLLRDNORM)

    def tell(self, task: Task) -> None:
        if self.notify is None:
            return
        group, how, signum, value, _ = self.notify
        self.notify = None
        if how == SIGEV_SIGNAL and group.threads:
            info = SigInfo(signum, SI_MESGQ, task.pid, task.cred.uid, si_value=value)
            task.machine.signals.send_process(group, info)

    def take(self) -> Message:
        first = self.messages.pop(0)
        self.senders.wake(1, POLLOUT | POLLWRNORM)
        return first


def await_(task: Task, file: File, queue: WaitQueue, deadline: int | None) -> None:
    """Sleep until the queue's state has changed. EAGAIN, ETIMEDOUT."""
    if file.flags & O_NONBLOCK:
        raise OSError(EAGAIN, "message queue")
    left = None if deadline is None else deadline - task.now
    if left is not None and left <= 0:
        raise OSError(ETIMEDOUT, "message queue")
    if not queue.sleep(task, left):
        raise OSError(ETIMEDOUT, "message queue")


class QueueOps(FileOps):
    __slots__ = ()
    seekable = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        queue: Queue = file.private
        size = sum(len(message.data) for message in queue.messages)
        how, signum, pid = 0, 0, 0
        if queue.notify is not None:
            how, signum, pid = queue.notify[1], queue.notify[2], queue.notify[0].pid
            signum = signum if how == SIGEV_SIGNAL else 0
        text = f"QSIZE:{size:<10} NOTIFY:{how:<5} SIGNO:{signum:<5} NOTIFY_PID:{pid:<6}\n".encode()
        return sink.put(text[pos : pos + n])

    def llseek(self, file: File, offset: int, whence: int) -> int:
        return max(offset + (file.pos if whence == 1 else STATUS_SIZE if whence == 2 else 0), 0)

    def poll(self, file: File) -> int:
        queue: Queue = file.private
        mask = POLLIN | POLLRDNORM if queue.messages else 0
        return mask | (POLLOUT | POLLWRNORM if len(queue.messages) < queue.maxmsg else 0)

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        return (file.private.receivers, file.private.senders)


QUEUE = QueueOps()
