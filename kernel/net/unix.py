"""Unix domain sockets: unix(7). Streams, sequenced packets and datagrams within the machine, by pair or by name.

They answer the same calls as the stack's sockets: never blocking, `on_ready` after a change. A socket's receive queue
holds messages `[data, sender's name, parcel, read so far]`; for a stream the borders between messages mean nothing,
except that a read ends after descriptors that were passed, and before the words of another sender (SO_PASSCRED). What
may be queued is bounded by the sender's SO_SNDBUF: a stream takes what fits, a packet goes whole.

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
from kernel.net.inflight import InFlight
from netstack.socket import beyond

SNDBUF = 212992  # net.core.wmem_default
MAX_DGRAM_QUEUE = 10  # net.unix.max_dgram_qlen
_OVERHEAD = 768  # what Linux charges for a packet beside its bytes, about


NOBODY = struct.pack("=iii", 0, 65534, 65534)
"""SCM_CREDENTIALS of a message that was sent before anybody asked for them."""


class Parcel:
    """What a message has beside its bytes: descriptions, and who says it (struct ucred)."""

    __slots__ = ("cred", "files", "flights")

    def __init__(self, flights: InFlight, files: list[Any], cred: bytes | None = None) -> None:
        self.flights = flights
        self.files = files
        self.cred = cred
        for file in files:
            flights.sent(file)

    def unpack(self) -> list[Any]:
        """The descriptions, which are the receiver's now."""
        files, self.files = self.files, []
        for file in files:
            self.flights.gone(file)
        return files

    def drop(self) -> None:
        """They will not arrive."""
        for file in self.unpack():
            file.put()


class UnixSocket:
    """One end. `peer` is the other end of a connection, or where a connected datagram socket sends."""

    __slots__ = (
        "backlog", "closed", "cred", "error", "family", "flags", "flights", "inode", "listening", "name", "names",
        "on_ready", "peer", "peercred", "pending", "proto", "queue", "queued", "rcvtimeo_ns", "read_shut", "sndbuf",
        "sndtimeo_ns", "type", "waiting_writers", "whoami", "write_shut",
    )  # fmt: skip

    def __init__(
        self, type: int, cred: tuple[int, int, int], names: dict[bytes, UnixSocket], flights: InFlight
    ) -> None:
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
        self.flights = flights
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
            if target is not None:
                if target.type != SOCK_DGRAM:
                    raise error(EPROTOTYPE)
                self._may_send(target)
            before, self.peer = self.peer, target
            if before is not None and before is not target:
                self._left(before)
            return
        if self.listening:
            raise error(EINVAL, "listening")
        if self.peer is not None:
            raise error(EISCONN)
        if target is None or not target.listening or target.closed or target.read_shut:
            raise error(ECONNREFUSED)
        if target.type != self.type:
            raise error(EPROTOTYPE)
        if len(target.pending) > target.backlog:
            target.waiting_writers.append(self)
            raise error(EAGAIN, "backlog full")
        other = UnixSocket(self.type, target.cred, self.names, self.flights)
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
            raise error(EINVAL if self.read_shut else EAGAIN)
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

    def _may_send(self, peer: UnixSocket) -> None:
        """A connected datagram socket hears its peer only."""
        if peer.peer is not None and peer.peer is not self:
            raise error(abi.EPERM, "it is connected to somebody else")

    def _left(self, before: UnixSocket) -> None:
        """A datagram socket has another peer, or none: what came from the old one is gone, and that one is told."""
        self.drop_messages()
        if before.peer is self and not before.closed:
            before.error = ECONNRESET
            before.changed()

    # ---- data ----

    def sendto(self, data: Any, addr: Any, now: int, flags: int = 0, parcel: Parcel | None = None) -> int:
        if self.error:
            code, self.error = self.error, 0
            raise error(code)
        if flags & abi.MSG_OOB:
            raise error(EOPNOTSUPP)
        if addr is not None and self.type == SOCK_STREAM:
            raise error(EISCONN if self.peer is not None else EOPNOTSUPP)
        peer = addr if addr is not None and self.type == SOCK_DGRAM else self.peer
        if peer is None:
            raise error(ENOTCONN)
        if self.write_shut:
            raise error(EPIPE)
        if self.type == SOCK_DGRAM:
            if peer.closed:
                connected = self.peer is peer
                if connected:
                    self.peer = None
                    self._left(peer)
                raise error(ECONNREFUSED)
            self._may_send(peer)
        if peer.closed or peer.read_shut:
            raise error(EPIPE)
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
            if parcel is None:
                parcel = Parcel(self.flights, [])
            if parcel.cred is None:
                parcel.cred = struct.pack("=iii", *self.whoami())
        peer.queue.append([data if type(data) is bytes else bytes(data), self.name, parcel, 0])
        peer.queued += size if self.type == SOCK_STREAM else size + _OVERHEAD
        peer.changed()
        return size

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, Any]:
        data, files, _, _, addr = self.recvmsg(n, now, flags)
        for file in files:  # no room for descriptors in this call
            file.put()
        return data, addr

    def recvmsg(self, n: int, now: int, flags: int = 0) -> tuple[bytes, list[Any], bytes | None, int, Any]:
        """(data, descriptions that the receiver holds now, credentials, message flags, sender's name)."""
        if n < 0:
            raise error(EINVAL)
        if self.type != SOCK_DGRAM and self.peer is None and not self.queue and not self.read_shut:
            raise error(EINVAL if self.type == SOCK_STREAM else ENOTCONN, "not connected")
        if not self.queue:
            if self.error:
                code, self.error = self.error, 0
                raise error(code)
            ended = self.read_shut and not (self.type == SOCK_DGRAM and flags & abi.MSG_DONTWAIT)
            if ended or (self.type != SOCK_DGRAM and self._ended()):
                return b"", [], None, 0, None
            raise error(EAGAIN)
        offset = self.flags.get(abi.SO_PEEK_OFF, -1) if self.flags else -1
        if offset >= 0:
            return self._from_offset(n, now, flags, offset)
        return self._take(n, flags)

    def _take(self, n: int, flags: int) -> tuple[bytes, list[Any], bytes | None, int, Any]:
        if self.type == SOCK_STREAM:
            return self._take_stream(n, bool(flags & MSG_PEEK))
        data, name, parcel, _ = self.queue[0]
        files: list[Any] = []
        if flags & MSG_PEEK:
            if parcel is not None:
                files = [file.get() for file in parcel.files]
        else:
            self.queue.popleft()
            self._drained(len(data) + _OVERHEAD)
            if parcel is not None:
                files = parcel.unpack()
        return data[:n], files, self._cred(parcel), abi.MSG_TRUNC if len(data) > n else 0, name or None

    def _from_offset(
        self, n: int, now: int, flags: int, offset: int
    ) -> tuple[bytes, list[Any], bytes | None, int, Any]:
        """SO_PEEK_OFF: a peek begins there, and moves it on; what is taken moves it back."""
        if not flags & MSG_PEEK:
            whole = len(self.queue[0][0])
            result = self._take(n, flags)
            taken = len(result[0]) if self.type == SOCK_STREAM else whole
            self.flags[abi.SO_PEEK_OFF] = max(offset - taken, 0)
            return result
        at, start = beyond([len(message[0]) - message[3] for message in self.queue], offset)
        queue = self.queue
        if at == len(queue):
            if self.type != SOCK_DGRAM and (self.read_shut or self._ended()):
                return b"", [], None, 0, None
            raise error(EAGAIN)
        data, name, parcel, read = queue[at]
        if self.type == SOCK_STREAM:
            self.queue = deque([[data, name, parcel, read + start], *list(queue)[at + 1 :]])
        else:
            self.queue = deque([[data[start:], name, parcel, 0]])
        try:
            result = self._take(n, flags)
        finally:
            self.queue = queue
        self.flags[abi.SO_PEEK_OFF] = offset + len(result[0])
        return result

    def _cred(self, parcel: Parcel | None) -> bytes | None:
        """Who has sent a message, where SO_PASSCRED asks for it."""
        if not self.flags or not self.flags.get(abi.SO_PASSCRED):
            return None
        return NOBODY if parcel is None or parcel.cred is None else parcel.cred

    def _take_stream(self, n: int, peek: bool) -> tuple[bytes, list[Any], bytes | None, int, Any]:
        parts: list[bytes] = []
        taken = 0
        queue = self.queue
        files: list[Any] = []
        cred = self._cred(queue[0][2])
        at = 0
        # Peeking, Linux goes on to the descriptors of what comes next even when it has bytes enough.
        while at < len(queue) and (taken < n or peek):
            message = queue[at]
            parcel: Parcel | None = message[2]
            if parts and cred is not None and self._cred(parcel) != cred:
                break
            data, start = message[0], message[3]
            chunk = data[start : start + n - taken] if start or len(data) > n - taken else data
            parts.append(chunk)
            taken += len(chunk)
            if parcel is not None and parcel.files:
                files = [file.get() for file in parcel.files] if peek else parcel.unpack()
            if peek:
                at += 1
            elif start + len(chunk) == len(data):
                queue.popleft()
            else:
                message[3] = start + len(chunk)
            if files:
                break
        if not peek:
            self._drained(taken)
        return parts[0] if len(parts) == 1 else b"".join(parts), files, cred, 0, None

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
        self.drop_messages()
        for sock in self.waiting_writers:
            sock.changed()
        self.waiting_writers = []
        if self.flights.counts:
            self.flights.collect()

    def drop_messages(self) -> None:
        """What waits here is lost, the descriptions in it too."""
        messages = list(self.queue)
        self.queue.clear()
        self.queued = 0
        for waiting in self.pending:
            waiting.drop_messages()
        for message in messages:
            if message[2] is not None:
                message[2].drop()

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
            if name == abi.SO_PEEK_OFF and name not in self.flags:
                return -1
            if name not in known and name not in self.flags and not 0 < name < 48:
                raise error(ENOPROTOOPT)
            value = known.get(name, self.flags.get(name, 0))
        if n is None:
            return value
        return (struct.pack("=i", value) if isinstance(value, int) else value)[:n]


def join(a: UnixSocket, b: UnixSocket) -> None:
    """Connects the two."""
    a.peer, b.peer = b, a
