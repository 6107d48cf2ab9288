"""socket(2): which family, type and protocol make which kind of socket, and the errors of the others."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netstack.address import AF_INET, AF_INET6
from netstack.packet import AF_PACKET, PacketSocket
from netstack.raw import RawSocket
from netstack.socket import (
    IPPROTO_IP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    error,
)
from netstack.udpsocket import UdpSocket

if TYPE_CHECKING:
    from netstack.socket import Socket
    from netstack.stack import Stack

SOCK_TYPE_MASK = 0xF
SOCK_TYPES = 11  # types below are known to Linux


def make_socket(stack: Stack, family: int, type: int, proto: int) -> Socket:
    """A new socket. SOCK_NONBLOCK and SOCK_CLOEXEC in `type` are the caller's affair and ignored."""
    type &= SOCK_TYPE_MASK
    if family == AF_PACKET:
        if type not in (SOCK_RAW, SOCK_DGRAM):
            raise error(errno.ESOCKTNOSUPPORT, f"packet sockets are SOCK_RAW or SOCK_DGRAM, not {type}")
        return PacketSocket(stack, type, proto)
    if family not in (AF_INET, AF_INET6):
        raise error(errno.EAFNOSUPPORT, f"address family {family} is not IPv4, IPv6 or AF_PACKET")
    if not 0 <= type < SOCK_TYPES:
        raise error(errno.EINVAL, f"no socket type {type}")
    if not 0 <= proto < 263:
        raise error(errno.EINVAL, f"no protocol {proto}")
    if type == SOCK_STREAM:
        if proto not in (IPPROTO_IP, IPPROTO_TCP):
            raise error(errno.EPROTONOSUPPORT, f"protocol {proto} has no stream sockets")
        sock: Socket = stack.tcp.socket(stack, family, IPPROTO_TCP)
        return sock
    if type == SOCK_DGRAM:
        if proto not in (IPPROTO_IP, IPPROTO_UDP):
            raise error(errno.EPROTONOSUPPORT, f"protocol {proto} has no datagram sockets here")
        return UdpSocket(stack, family, IPPROTO_UDP)
    if type == SOCK_RAW:
        if proto == IPPROTO_IP:
            raise error(errno.EPROTONOSUPPORT, "a raw socket needs a protocol")
        return RawSocket(stack, family, proto)
    raise error(errno.ESOCKTNOSUPPORT, f"socket type {type} is not supported")
