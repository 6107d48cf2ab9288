"""Packet sockets (packet(7)): frames of an interface as they are, below IP.

A SOCK_RAW socket sees and sends whole frames, a SOCK_DGRAM one what follows the link header. `ETH_P_ALL` takes every
frame, those going out too; another protocol only those coming in with that EtherType. The socket's protocol, as
`socket(2)` has it, is in network order (`socket.htons(ETH_P_ALL)`); addresses are those of Python's sockets:
(interface name, protocol in host order, packet type, hardware type, hardware address).

On "lo", whose frames have no link header here, one of zeros is shown, as Linux has it; on other interfaces without
Ethernet there is none.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from csrc import Frame
from netstack import bpf, options
from netstack.address import ETH_BROADCAST, ETH_ZERO
from netstack.ethernet import HEADER_LEN
from netstack.socket import (
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    POLLERR,
    POLLIN,
    POLLOUT,
    SOCK_RAW,
    SockAddr,
    Socket,
    error,
    option_int,
    would_block,
)

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

AF_PACKET = 17
ETH_P_ALL = 3
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING = range(5)
ARPHRD_ETHER, ARPHRD_LOOPBACK, ARPHRD_NONE = 1, 772, 0xFFFE
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP, PACKET_STATISTICS = 1, 2, 6
OVERHEAD = 768


class Packet:
    """The packet sockets of one stack. When nobody listens `stack.watched` is False: frames pass without a look."""

    __slots__ = ("sockets", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sockets: list[PacketSocket] = []

    def watch(self, sock: PacketSocket) -> None:
        """The socket's protocol or interface was set: 0 hears nothing."""
        wanted = bool(sock.protocol) and not sock.closed
        if wanted and sock not in self.sockets:
            self.sockets.append(sock)
        elif not wanted and sock in self.sockets:
            self.sockets.remove(sock)
        self.stack.watched = bool(self.sockets)

    def incoming(self, frame: Frame, interface: Interface) -> None:
        """A frame arrived; before anything is checked."""
        kind = PACKET_HOST
        data = frame.data
        if interface.ethernet and frame.ethernet:
            mac = bytes(data[0:6])
            if mac != interface.mac:
                kind = PACKET_OTHERHOST
                if mac[:1] and mac[0] & 1:
                    kind = PACKET_BROADCAST if mac == ETH_BROADCAST else PACKET_MULTICAST
        self._show(frame, interface, kind)

    def outgoing(self, frame: Frame, interface: Interface) -> None:
        self._show(frame, interface, PACKET_OUTGOING)

    def _show(self, frame: Frame, interface: Interface, kind: int) -> None:
        image = b""
        for sock in list(self.sockets):
            if sock.interface is not None and sock.interface is not interface:
                continue
            if kind == PACKET_OUTGOING and (
                sock.protocol != ETH_P_ALL or sock.kept.get(options.PACKET_IGNORE_OUTGOING)
            ):
                continue
            if not image:
                image = bytes(frame)
                head = HEADER_LEN if frame.ethernet else 0
                if len(image) < head:
                    return
                ethertype = ETH_P_IPV6 if image[head : head + 1] and image[head] >> 4 == 6 else ETH_P_IP
                if head:
                    ethertype = int.from_bytes(image[12:14], "big")
                elif interface.loopback:
                    image = bytes(12) + ethertype.to_bytes(2, "big") + image
                    head = HEADER_LEN
                mac = image[6:12] if head else b""
                address = (interface.name, ethertype, kind, hardware_type(interface), mac)
            if sock.protocol in (ETH_P_ALL, ethertype):
                at = 0 if sock.type == SOCK_RAW else head
                data, length = image[at:] if at else image, len(image) - at
                if sock.filter is not None:
                    view = bpf.View(image, at, head, 0 if head else -1, ethertype, kind, interface.index, address[3])
                    data = data[: bpf.run(sock.filter.program, view, self.stack)]
                    if not data:
                        continue
                sock.deliver(data, address, length)


def hardware_type(interface: Interface) -> int:
    if interface.loopback:
        return ARPHRD_LOOPBACK
    return ARPHRD_ETHER if interface.ethernet else ARPHRD_NONE


def swap(protocol: int) -> int:
    """Network order to host order of a 16-bit number, and back."""
    return (protocol & 0xFF) << 8 | protocol >> 8 & 0xFF


def flag_takes_more(name: int) -> bool:
    """Whether more than four bytes are taken for this option, too."""
    return name in (options.PACKET_AUXDATA, options.PACKET_ORIGDEV)


class PacketSocket(Socket):
    """A socket of the family AF_PACKET."""

    __slots__ = ("drops", "filter", "interface", "kept", "packets", "protocol", "queue", "rmem")

    def __init__(self, stack: Stack, type: int, proto: int) -> None:
        super().__init__(stack, AF_PACKET, type, proto)
        self.protocol = swap(proto)
        self.interface: Interface | None = None
        self.queue: deque[tuple[bytes, SockAddr, int]] = deque()  # what there is of it, and its whole length
        self.filter: bpf.Filter | None = None
        self.rmem = 0
        self.kept: dict[int, int] = {}  # options
        self.packets = 0
        self.drops = 0
        stack.packet.watch(self)

    def deliver(self, data: bytes, address: SockAddr, length: int) -> None:
        self.packets += 1
        if self.rmem > self.rcvbuf:
            self.drops += 1  # of a copy: the packet itself goes on
            return
        self.rmem += len(data) + OVERHEAD
        self.queue.append((data, address, length))
        self.wake()

    # Addresses.

    def _interface_of(self, addr: SockAddr) -> Interface | None:
        """Of an address; "" is none. ENODEV."""
        if not isinstance(addr, tuple) or not addr or not isinstance(addr[0], (str, int)):
            raise error(errno.EINVAL, f"an address is (interface, protocol, ...), not {addr!r}")
        if isinstance(addr[0], int):
            return self.stack.interface_at(addr[0]) if addr[0] else None
        return self.stack.interface(addr[0]) if addr[0] else None

    def bind(self, addr: SockAddr) -> None:
        """To an interface ("" means every one) and a protocol (0 leaves the one it has)."""
        self.check_open()
        self.interface = self._interface_of(addr)
        if len(addr) > 1 and addr[1]:
            self.protocol = int(addr[1]) & 0xFFFF
        self.stack.packet.watch(self)

    def getsockname(self) -> SockAddr:
        self.check_open()
        where = self.interface
        if where is None:
            return ("", self.protocol, 0, 0, b"")
        return (where.name, self.protocol, 0, hardware_type(where), where.mac or (ETH_ZERO if where.loopback else b""))

    def getpeername(self) -> SockAddr:
        raise error(errno.EOPNOTSUPP)

    # Data.

    def recvmsg(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None, int, int]:
        """(frame, address, message flags, its whole length)."""
        self.check_open()
        if flags & MSG_OOB or n < 0:
            raise error(errno.EINVAL)
        self.take_error()
        if not self.queue:
            raise would_block("no packet waits")
        data, address, length = self.queue[0]
        if not flags & MSG_PEEK:
            self.queue.popleft()
            self.rmem -= len(data) + OVERHEAD
        self.ancillary = ()
        if self.kept.get(options.PACKET_AUXDATA):
            self.ancillary = [(SOL_PACKET, options.PACKET_AUXDATA, self._auxiliary(length, len(data)))]
        return data[:n], address, MSG_TRUNC if len(data) > n else 0, len(data)

    def _auxiliary(self, length: int, kept: int) -> bytes:
        """struct tpacket_auxdata: a packet for the user, its lengths, and where the network header begins."""
        at = HEADER_LEN if self.type == SOCK_RAW else 0
        return struct.pack("=IIIHHHH", 1, length, kept, 0, at, 0, 0)

    def recvfrom(self, n: int, now: int, flags: int = 0) -> tuple[bytes, SockAddr | None]:
        data, address, _, _ = self.recvmsg(n, now, flags)
        return data, address

    def send(self, data: Any, now: int, flags: int = 0) -> int:
        return self.sendto(data, None, now, flags)

    def sendto(self, data: Any, addr: SockAddr | None, now: int, flags: int = 0, ancillary: Any = ()) -> int:
        """One frame. ENXIO without an interface, EMSGSIZE when it exceeds the MTU, EINVAL when it is no frame."""
        self.check_open()
        where, protocol, mac = self.interface, self.protocol, b""
        if addr is not None:
            where = self._interface_of(addr)
            protocol = int(addr[1]) & 0xFFFF if len(addr) > 1 and addr[1] else protocol
            mac = bytes(addr[4]) if len(addr) > 4 else b""
        if where is None:
            raise error(errno.ENXIO, "the socket is bound to no interface, and none is given")
        head = HEADER_LEN if where.ethernet or where.loopback else 0
        frame = bytes(data)
        if self.type != SOCK_RAW:
            if where.ethernet:
                if len(mac) != 6 or where.mac is None:
                    raise error(errno.EINVAL, "an Ethernet frame needs a hardware address of 6 bytes")
                frame = mac + where.mac + protocol.to_bytes(2, "big") + frame
            elif head:
                frame = bytes(12) + protocol.to_bytes(2, "big") + frame
        if len(frame) > where.mtu + head:
            raise error(errno.EMSGSIZE, f"{len(frame)} bytes exceed the MTU of {where.mtu}")
        if len(frame) < head or not frame:
            raise error(errno.EINVAL, "shorter than a link header")
        if where.loopback:
            frame = frame[head:]
        if not self.stack.enqueue(where, Frame(bytearray(frame), (), len(frame), where.ethernet)):
            raise error(errno.ENOBUFS)
        return len(data)

    def close(self, now: int) -> None:
        if not self.closed:
            self.closed = True
            self.stack.packet.watch(self)
            self.queue.clear()

    def readiness(self) -> int:
        return POLLOUT | (POLLIN if self.queue else 0) | (POLLERR if self.so_error or self.errors else 0)

    def own_level(self) -> int:
        return SOL_PACKET

    def set_filter(self, code: bytes) -> None:
        self.filter = bpf.Filter(code) if code else None

    def filter_code(self) -> bytes:
        return self.filter.code if self.filter is not None else b""

    def set_protocol_option(self, level: int, name: int, value: int | bytes) -> None:
        if level == SOL_PACKET and name in (PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP):
            # Devices here hand up everything: promiscuous and all-multicast change nothing.
            if isinstance(value, int) or len(value) < 16:
                raise error(errno.EINVAL, "struct packet_mreq has 16 bytes")
            index, _, length = struct.unpack_from("=iHH", value)
            if length > len(value) - 8:
                raise error(errno.EINVAL, f"no address of {length} bytes is there")
            if name == PACKET_ADD_MEMBERSHIP:
                self.stack.interface_at(index)
            return
        bounds = options.PACKET.get(name) if level == SOL_PACKET else None
        if bounds is not None:
            flag = bounds[2] < bounds[1]
            if not isinstance(value, int) and (len(value) < 4 or (len(value) > 4 and not flag_takes_more(name))):
                raise error(errno.EINVAL, "an int")
            number = option_int(value)
            self.kept = {**self.kept, name: (1 if number else 0) if flag else options.kept(number, bounds)}
            return
        super().set_protocol_option(level, name, value)

    def get_protocol_option(self, level: int, name: int) -> int | bytes:
        if level == SOL_PACKET and name == PACKET_STATISTICS:
            result = struct.pack("=II", self.packets, self.drops)
            self.packets = self.drops = 0
            return result
        if level == SOL_PACKET and name in options.PACKET:
            return self.kept.get(name, options.PACKET[name][0])
        return super().get_protocol_option(level, name)
