"""Unix domain sockets: unix(7). Streams, sequenced packets and datagrams within the machine, by pair or by name.

They answer the same calls as the stack's sockets: never blocking, `on_ready` after a change. A socket's receive queue
holds messages `(data, sender's name, ancillary, read so far)`; for a stream the borders between messages mean nothing,
except that descriptors that were passed stop a read. What may be queued is bounded by the sender's SO_SNDBUF: a stream
takes what fits, a packet goes whole.

Names are inodes of the filesystem (looked up by the system call) or abstract ones, which begin with a NUL.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from kernel import abi
from kernel.abi import (
    AF_UNIX,
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    EPROTOTYPE,
    MSG_PEEK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)
from kernel.fs.vfs import error

SNDBUF = 212992  # net.core.wmem_default
MAX_DGRAM_QUEUE = 10  # net.unix.max_dgram_qlen
_OVERHEAD = 768  # what Linux charges for a packet beside its bytes, about


class UnixSocket:
    """One end. `peer` is the other end of a connection, or where a connected datagram socket sends."""

    __slots__ = (
        "backlog", "closed", "cred", "error", "family", "flags", "inode", "listening", "name", "names", "on_ready",
        "peer", "peercred", "pending", "proto", "queue", "queued", "rcvtimeo_ns", "read_shut", "sndbuf", "sndtimeo_ns",
        "type", "waiting_writers", "whoami", "write_shut",
    )  # fmt: skip

    def __init__(self, type: int, cred: tuple[int, int, int], names: dict[bytes, UnixSocket]) -> None:
        self.family = AF_UNIX
        self.type = type
        self.proto = 0
        self.on_ready: Callable[[Any], None] | None = None
        self.rcvtimeo_ns = self.sndtimeo_ns = 0
        self.cred = cred  # (pid, uid, gid) of its maker
        self.peercred = (0, -1, -1)
        self.whoami: Callable[[], tuple[int, int, int]] | None = None
        """(pid, uid, gid) of who sends, for SO_PASSCRED."""
        self.names = names  # the machine's abstract names
        self.name: str | bytes = ""
        self.inode: Any = None
        self.peer: UnixSocket | None = None
        self.queue: deque[list[Any]] = deque()
        self.queued = 0  # bytes in it
        self.sndbuf = SNDBUF
        self.listening = False
        self.backlog = 0
        self.pending: deque[UnixSocket] = deque()
        self.waiting_writers: list[UnixSocket] = []  # datagram senders that found our queue full
        self.read_shut = self.write_shut = False
        self.error = 0
        self.closed = False
        self.flags: dict[int, int] = {}

    def ready_for(self, events: int) -> int:
        return self.readiness()

    def starved(self) -> bool:
        return False

    def served(self) -> bool:
        return False

    def changed(self) -> None:
        if self.on_ready is not None:
            self.on_ready(self)

    # ---- names and connections ----

    def bind(self, addr: Any) -> None:
        """An abstract name. Names of the filesystem are bound by `bind_inode`."""
        if self.name:
            raise error(EINVAL, "bound already")
        if addr in self.names:
            raise error(abi.EADDRINUSE, addr)
        self.names[addr] = self
        self.name = addr

    def bind_inode(self, inode: Any, name: str) -> None:
        inode.socket = self
        self.inode = inode
        self.name = name

    def listen(self, n: int) -> None:
        if self.type not in (SOCK_STREAM, SOCK_SEQPACKET):
            raise error(EOPNOTSUPP)
        if not self.name or self.peer is not None:
            raise error(EINVAL, "not bound, or connected")
        self.listening = True
        self.backlog = max(0, min(n, abi.SOMAXCONN))
        self.peercred = self.cred

    def connect(self, addr: Any, now: int) -> None:
        """`addr` is the socket found by name (the system call looks it up)."""
        target = addr
        if self.type == SOCK_DGRAM:
            if target is None:
                self.peer = None
                return
            if target.type != SOCK_DGRAM:
                raise error(EPROTOTYPE)
            self.peer = target
            return
        if self.listening:
            raise error(EINVAL, "listening")
        if self.peer is not None:
            raise error(EISCONN)
        if target is None or not target.listening or target.closed:
            raise error(ECONNREFUSED)
        if target.type != self.type:
            raise error(EPROTOTYPE)
        if len(target.pending) > target.backlog:
            target.waiting_writers.append(self)
            raise error(EAGAIN, "backlog full")
        other = UnixSocket(self.type, target.cred, self.names)
        other.name = target.name
        other.whoami = target.whoami
        if target.flags.get(abi.SO_PASSCRED):
            other.flags[abi.SO_PASSCRED] = 1
        join(self, other)
        self.peercred, other.peercred = target.peercred, self.cred
        target.pending.append(other)
        target.changed()

    def accept(self, now: int) -> tuple[UnixSocket, Any]:
        if self.type not in (SOCK_STREAM, SOCK_SEQPACKET):
            raise error(EOPNOTSUPP)
        if not self.listening:
            raise error(EINVAL, "not listening")
        if not self.pending:
            raise error(EAGAIN)
        new = self.pending.popleft()
        waiting, self.waiting_writers = self.waiting_writers, []
        for sock in waiting:
            sock.changed()
        return new, new.peer.name if new.peer is not None else ""

    def getsockname(self) -> Any:
        return self.name

    def getpeername(self) -> Any:
        if self.peer is None:
            raise error(ENOTCONN)
        return self.peer.name

    # ---- data ----

    def sendto(self, data: Any, addr: Any, now: int, flags: int = 0, ancillary: Any = None) -> int:
        if self.error:
            code, self.error = self.error, 0
            raise error(code)
        if flags & abi.MSG_OOB:
            raise error(EOPNOTSUPP)
        if addr is not None and self.type != SOCK_DGRAM:
            raise error(EISCONN if self.peer is not None else EOPNOTSUPP)
        peer = addr if addr is not None else self.peer
        if self.write_shut:
            raise error(EPIPE)
        if peer is None:
            raise error(ENOTCONN)
        if peer.closed or (peer.read_shut and self.type != SOCK_DGRAM):
            raise error(EPIPE if self.type != SOCK_DGRAM else ECONNREFUSED)
        size = len(data)
        if self.type == SOCK_STREAM:
            if not size:
                return 0
            room = self.sndbuf - peer.queued
            if room <= 0:
                raise error(EAGAIN)
            if size > room:
                data = memoryview(data)[:room]
                size = room
        else:
            if size + 32 > self.sndbuf:
                raise error(EMSGSIZE)
            full = peer.queued + size + _OVERHEAD > self.sndbuf
            if self.type == SOCK_DGRAM and len(peer.queue) > MAX_DGRAM_QUEUE:
                full = True
            if full and peer.queue:
                if self not in peer.waiting_writers:
                    peer.waiting_writers.append(self)
                raise error(EAGAIN)
        if peer.flags and peer.flags.get(abi.SO_PASSCRED) and self.whoami is not None:
            cred = (abi.SOL_SOCKET, abi.SCM_CREDENTIALS, struct.pack("=iii", *self.whoami()))
            if ancillary is None or not any(kind == abi.SCM_CREDENTIALS for _, kind, _ in ancillary):
                ancillary = [*(ancillary or ()), cred]
        peer.queue.append([data if type(data) is bytes else bytes(data), self.name, ancillary, 0])
        peer.queued += size if self.type == SOCK_STREAM else size + _OVERHEAD
        peer.changed()
        return size

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, Any]:
        data, _, _, addr = self.recvmsg(n, now, flags)
        return data, addr

    def recvmsg(self, n: int, now: int, flags: int = 0) -> tuple[bytes, Any, int, Any]:
        """(data, ancillary, message flags, sender's name)."""
        if n < 0:
            raise error(EINVAL)
        if self.type != SOCK_DGRAM and self.peer is None and not self.queue and not self.read_shut:
            raise error(EINVAL if self.listening or self.type == SOCK_STREAM else ENOTCONN, "not connected")
        if not self.queue:
            if self.error:
                code, self.error = self.error, 0
                raise error(code)
            if self.read_shut or (self.type != SOCK_DGRAM and self._ended()):
                return b"", None, 0, None
            raise error(EAGAIN)
        if self.type == SOCK_STREAM:
            return self._take_stream(n, bool(flags & MSG_PEEK))
        data, name, ancillary, _ = self.queue[0]
        if not flags & MSG_PEEK:
            self.queue.popleft()
            self._drained(len(data) + _OVERHEAD)
        return data[:n], ancillary, abi.MSG_TRUNC if len(data) > n else 0, name or None

    def _take_stream(self, n: int, peek: bool) -> tuple[bytes, Any, int, Any]:
        parts: list[bytes] = []
        taken, ancillary = 0, None
        queue = self.queue
        at = 0
        while taken < n and at < len(queue):
            message = queue[at]
            if message[2] is not None:
                if parts:
                    break
                ancillary = message[2]
            data, start = message[0], message[3]
            chunk = data[start : start + n - taken] if start or len(data) > n - taken else data
            parts.append(chunk)
            taken += len(chunk)
            if peek:
                at += 1
            elif start + len(chunk) == len(data):
                queue.popleft()
            else:
                message[3] = start + len(chunk)
                message[2] = None
            if ancillary is not None:
                break
        if not peek:
            self._drained(taken)
        return parts[0] if len(parts) == 1 else b"".join(parts), ancillary, 0, None

    def _drained(self, size: int) -> None:
        self.queued -= size
        if self.peer is not None and self.type != SOCK_DGRAM:
            self.peer.changed()
        waiting, self.waiting_writers = self.waiting_writers, []
        for sock in waiting:
            sock.changed()

    def _ended(self) -> bool:
        return self.peer is None or self.peer.closed or self.peer.write_shut

    def inq(self) -> int:
        """FIONREAD: bytes waiting; of a packet socket those of the first."""
        if self.type == SOCK_STREAM:
            return self.queued
        return len(self.queue[0][0]) if self.queue else 0

    # ---- ends ----

    def shutdown(self, how: int, now: int) -> None:
        if how not in (abi.SHUT_RD, abi.SHUT_WR, abi.SHUT_RDWR):
            raise error(EINVAL)
        if self.peer is None and self.type != SOCK_DGRAM:
            raise error(ENOTCONN)
        if how != abi.SHUT_WR:
            self.read_shut = True
        if how != abi.SHUT_RD:
            self.write_shut = True
        self.changed()
        if self.peer is not None and self.type != SOCK_DGRAM:
            self.peer.changed()

    def close(self, now: int) -> None:
        if self.closed:
            return
        self.closed = True
        if self.inode is not None and self.inode.socket is self:
            self.inode.socket = None
        if isinstance(self.name, bytes) and self.names.get(self.name) is self:
            del self.names[self.name]
        for waiting in self.pending:
            if waiting.peer is not None:
                waiting.peer.error = ECONNRESET
            waiting.close(now)
        self.pending.clear()
        peer = self.peer
        if peer is not None and self.type != SOCK_DGRAM:
            if self.queue:
                peer.error = ECONNRESET  # unread data is lost: the peer is told
            peer.changed()
        for message in self.queue:
            drop_ancillary(message[2])
        self.queue.clear()
        self.queued = 0
        for sock in self.waiting_writers:
            sock.changed()
        self.waiting_writers = []

    def readiness(self) -> int:
        if self.listening:
            return POLLIN if self.pending else 0
        mask = POLLERR if self.error else 0
        if self.queue or self.read_shut:
            mask |= POLLIN
        if self.read_shut and self.write_shut:
            mask |= POLLHUP
        if self.read_shut:
            mask |= POLLRDHUP
        peer = self.peer
        if self.type == SOCK_DGRAM:
            if peer is None or peer.closed or len(peer.queue) <= MAX_DGRAM_QUEUE:
                mask |= POLLOUT
            return mask
        if peer is None:
            return mask | POLLOUT | POLLHUP
        if self._ended():
            mask |= POLLIN | POLLRDHUP
            if peer.closed:
                mask |= POLLHUP
        if peer.queued * 4 <= self.sndbuf or peer.closed:
            mask |= POLLOUT
        return mask

    # ---- options ----

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        if level != abi.SOL_SOCKET:
            raise error(EOPNOTSUPP)
        if name in (abi.SO_RCVTIMEO, abi.SO_SNDTIMEO):
            if isinstance(value, int) or len(value) < 16:
                raise error(EINVAL, "a timeout is struct timeval")
            seconds, micros = struct.unpack_from("=qq", value)
            if not 0 <= micros < 1_000_000:
                raise error(abi.EDOM)
            timeout = max(0, seconds * 1_000_000_000 + micros * 1000)
            if name == abi.SO_RCVTIMEO:
                self.rcvtimeo_ns = timeout
            else:
                self.sndtimeo_ns = timeout
            return
        if name == abi.SO_LINGER:
            return
        number = value if isinstance(value, int) else self._int(value)
        if name == abi.SO_SNDBUF:
            self.sndbuf = max(4608, min(number, SNDBUF) * 2) if number >= 0 else 2 * SNDBUF
        elif name in (abi.SO_TYPE, abi.SO_DOMAIN, abi.SO_PROTOCOL, abi.SO_ERROR, abi.SO_ACCEPTCONN, abi.SO_PEERCRED):
            raise error(ENOPROTOOPT)
        else:
            self.flags[name] = number

    @staticmethod
    def _int(value: bytes) -> int:
        if len(value) < 4:
            raise error(EINVAL, "an int option needs 4 bytes")
        return int(struct.unpack_from("=i", value)[0])

    def getsockopt(self, level: int, name: int, n: int | None = None) -> int | bytes:
        if level != abi.SOL_SOCKET:
            raise error(EOPNOTSUPP)
        value: int | bytes
        if name == abi.SO_ERROR:
            value, self.error = self.error, 0
        elif name == abi.SO_PEERCRED:
            value = struct.pack("=iii", *self.peercred)
        elif name in (abi.SO_RCVTIMEO, abi.SO_SNDTIMEO):
            timeout = self.rcvtimeo_ns if name == abi.SO_RCVTIMEO else self.sndtimeo_ns
            value = struct.pack("=qq", timeout // 1_000_000_000, timeout % 1_000_000_000 // 1000)
        elif name == abi.SO_LINGER:
            value = struct.pack("=ii", 0, 0)
        else:
            known = {
                abi.SO_TYPE: self.type, abi.SO_DOMAIN: AF_UNIX, abi.SO_PROTOCOL: 0,
                abi.SO_ACCEPTCONN: int(self.listening), abi.SO_SNDBUF: self.sndbuf, abi.SO_RCVBUF: SNDBUF,
                abi.SO_RCVLOWAT: 1,
            }  # fmt: skip
            if name not in known and name not in self.flags and not 0 < name < 48:
                raise error(ENOPROTOOPT)
            value = known.get(name, self.flags.get(name, 0))
        if n is None:
            return value
        return (struct.pack("=i", value) if isinstance(value, int) else value)[:n]


def join(a: UnixSocket, b: UnixSocket) -> None:
    """Connects the two."""
    a.peer, b.peer = b, a


def drop_ancillary(ancillary: Any) -> None:
    """Descriptions that were in flight and will not arrive."""
    for _, kind, files in ancillary or ():
        for file in files if kind == abi.SCM_RIGHTS else ():
            file.put()
