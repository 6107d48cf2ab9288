"""Control messages between a process and the stack: what recvmsg hands up, what sendmsg hands down."""

from __future__ import annotations

import struct
from typing import Any

from kernel import abi
from kernel.abi import AF_INET, MSG_CTRUNC, SOCK_DGRAM, SOCK_STREAM
from tests.unit.kernel.net.test_socket import fails, run

IP, TCP, TTL, RECVTTL, PKTINFO, INQ = 0, 6, 2, 12, 8, 36


def test_datagrams_tell_their_ttl_and_where_they_came() -> None:
    def main(sys: Any) -> Any:
        fd, other = sys.socket(AF_INET, SOCK_DGRAM), sys.socket(AF_INET, SOCK_DGRAM)
        sys.bind(fd, ("127.0.0.1", 5000))
        sys.setsockopt(fd, IP, RECVTTL, 1)
        sys.setsockopt(fd, IP, PKTINFO, 1)
        sys.sendmsg(other, [b"near"], [(IP, TTL, struct.pack("=i", 3))], 0, ("127.0.0.1", 5000))
        data, messages, flags, _ = sys.recvmsg(fd, 100, 200)
        assert (data, flags) == (b"near", 0)
        by_kind = {(level, kind): body for level, kind, body in messages}
        assert by_kind[IP, TTL] == struct.pack("=i", 3)
        assert by_kind[IP, PKTINFO][8:12] == bytes((127, 0, 0, 1))
        sys.sendto(other, b"again", 0, ("127.0.0.1", 5000))
        data, messages, flags, _ = sys.recvmsg(fd, 100, 18)  # room for the head of one
        assert data == b"again" and flags & MSG_CTRUNC and len(messages) == 1
        fails("EINVAL", sys.sendmsg, other, [b"x"], [(IP, TTL, struct.pack("=i", 300))], 0, ("127.0.0.1", 5000))
        return True

    assert run(main)


def test_streams_tell_what_waits() -> None:
    def main(sys: Any) -> Any:
        listener = sys.socket(AF_INET, SOCK_STREAM)
        sys.bind(listener, ("127.0.0.1", 5000))
        sys.listen(listener, 1)
        client = sys.socket(AF_INET, SOCK_STREAM)
        sys.connect(client, ("127.0.0.1", 5000))
        fd, _ = sys.accept4(listener)
        sys.setsockopt(fd, TCP, INQ, 1)
        sys.write(client, bytes(100))
        data, messages, _, _ = sys.recvmsg(fd, 30, 100)
        assert len(data) == 30 and messages == [(TCP, INQ, struct.pack("=i", 70))]
        fails("EAGAIN", sys.recvmsg, fd, 10, 100, abi.MSG_ERRQUEUE)  # an error queue is never waited for
        return True

    assert run(main)
