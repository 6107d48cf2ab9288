"""Addresses: bytes of 4 (IPv4), 16 (IPv6) or 6 (MAC) inside; text only at the edges.

Classification follows RFC 1122 section 3.2.1.3, RFC 6890 and RFC 4291.
"""

from __future__ import annotations

import errno
import socket
from functools import lru_cache
from typing import Final

AF_INET = 2
AF_INET6 = 10
ETH_BROADCAST = b"\xff" * 6
ETH_ZERO = bytes(6)
ANY4: Final = bytes(4)
ANY6: Final = bytes(16)
BROADCAST4 = b"\xff" * 4


def parse_ip(text: str) -> bytes:
    """4 or 16 bytes from "10.0.0.2" or "fe80::1"; OSError(EINVAL) otherwise."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        raise OSError(errno.EINVAL, f"not an IP address: {text!r}") from None


@lru_cache(1024)
def format_ip(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, bytes(address))


def parse_mac(text: str | bytes) -> bytes:
    """6 bytes from "02:00:00:00:00:01" (bytes pass through)."""
    if isinstance(text, (bytes, bytearray)):
        mac = bytes(text)
    else:
        try:
            mac = bytes(int(part, 16) for part in text.replace("-", ":").split(":"))
        except ValueError:
            mac = b""
    if len(mac) != 6:
        raise OSError(errno.EINVAL, f"not a MAC address: {text!r}")
    return mac


def format_mac(mac: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in bytes(mac))


def parse_cidr(text: str) -> tuple[bytes, int]:
    """("10.0.0.2/24") -> (address bytes as written, prefix length); without "/" the whole address."""
    head, slash, tail = text.partition("/")
    address = parse_ip(head)
    bits = len(address) * 8
    if not slash:
        return address, bits
    if not tail.isascii() or not tail.isdigit() or int(tail) > bits:
        raise OSError(errno.EINVAL, f"not a prefix length from 0 to {bits}: {text!r}")
    return address, int(tail)


def mask_bytes(prefix: int, size: int) -> bytes:
    """The netmask of that many bits for addresses of `size` bytes."""
    bits = size * 8
    return (((1 << prefix) - 1) << (bits - prefix)).to_bytes(size, "big")


def network_of(address: bytes, prefix: int) -> bytes:
    """The address with the host bits cleared."""
    size = len(address)
    shift = size * 8 - prefix
    return (int.from_bytes(address, "big") >> shift << shift).to_bytes(size, "big")


def broadcast_of(address: bytes, prefix: int) -> bytes:
    """The directed broadcast address of an IPv4 network."""
    host = (1 << (32 - prefix)) - 1
    return (int.from_bytes(address, "big") | host).to_bytes(4, "big")


def is_multicast(address: bytes) -> bool:
    return (address[0] & 0xF0) == 0xE0 if len(address) == 4 else address[0] == 0xFF


def is_loopback(address: bytes) -> bool:
    return address[0] == 127 if len(address) == 4 else address == b"\x00" * 15 + b"\x01"


def is_unspecified(address: bytes) -> bool:
    return not any(address)


def is_link_local(address: bytes) -> bool:
    if len(address) == 4:
        return address[0] == 169 and address[1] == 254
    return address[0] == 0xFE and (address[1] & 0xC0) == 0x80


def multicast_mac(address: bytes) -> bytes:
    """The Ethernet group of an IP group (RFC 1112 section 6.4, RFC 2464 section 7)."""
    if len(address) == 4:
        return bytes((0x01, 0x00, 0x5E, address[1] & 0x7F, address[2], address[3]))
    return b"\x33\x33" + address[12:]


# IPv6 (RFC 4291).

LOOPBACK6 = bytes(15) + b"\x01"
MAPPED_PREFIX = bytes(10) + b"\xff\xff"
LINK_LOCAL_PREFIX = b"\xfe\x80" + bytes(6)
ALL_NODES_HERE = b"\xff\x01" + bytes(13) + b"\x01"  # interface-local scope
ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"
ALL_ROUTERS = b"\xff\x02" + bytes(13) + b"\x02"
SOLICITED_NODE_PREFIX = b"\xff\x02" + bytes(9) + b"\x01\xff"
SCOPE_INTERFACE, SCOPE_LINK, SCOPE_SITE, SCOPE_GLOBAL = 1, 2, 5, 14


def is_mapped(address: bytes) -> bool:
    """::ffff:a.b.c.d, an IPv4 address as an IPv6 socket names it (section 2.5.5.2)."""
    return address[:12] == MAPPED_PREFIX


def solicited_node(address: bytes) -> bytes:
    """The group in which a neighbour solicitation for this address is heard (section 2.7.1)."""
    return SOLICITED_NODE_PREFIX + address[13:]


def link_local_of(mac: bytes) -> bytes:
    """The link-local address with the modified EUI-64 identifier of a MAC (RFC 2464 section 4, RFC 4291 appendix A)."""
    return LINK_LOCAL_PREFIX + bytes((mac[0] ^ 2, mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]))


def scope_of(address: bytes) -> int:
    """The scope of an IPv6 address, in the numbers of multicast scopes (section 2.7, RFC 6724 section 3.1)."""
    if address[0] == 0xFF:
        return address[1] & 0xF
    if is_link_local(address) or address == LOOPBACK6:
        return SCOPE_LINK
    if address[0] == 0xFE and address[1] & 0xC0 == 0xC0:
        return SCOPE_SITE
    return SCOPE_GLOBAL


def common_prefix(a: bytes, b: bytes) -> int:
    """How many leading bits two addresses share."""
    return len(a) * 8 - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()
