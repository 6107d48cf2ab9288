"""IPPROTO_IPV6: the options of an IPv6 socket that have a rule (ipv6(7), RFC 3493, RFC 3542). Those that are but a
number kept stand in `options.py`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netstack import options
from netstack.sockabi import (
    IP6_FLAGS,
    IPPROTO_IPV6,
    IPV6_AUTOFLOWLABEL,
    IPV6_DONTFRAG,
    IPV6_MTU,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP,
    IPV6_RECVERR,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    SOCK_RAW,
    SOCK_STREAM,
    error,
    option_int,
)

if TYPE_CHECKING:
    from netstack.socket import Socket


def set_ip6(sock: Socket, name: int, value: int | bytes) -> None:
    """IPPROTO_IPV6 (ipv6(7), RFC 3493, RFC 3542), on an IPv6 socket."""
    if name in (IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS) and sock.type == SOCK_STREAM:
        raise error(errno.ENOPROTOOPT, "a stream is sent to one")
    if name == options.IPV6_UNICAST_IF and not isinstance(value, int) and len(value) != 4:
        raise error(errno.EINVAL, "this option has 4 bytes")
    if name in (IPV6_DONTFRAG, IPV6_AUTOFLOWLABEL) and not isinstance(value, int) and len(value) < 4:
        value = 0  # as Linux reads these two
    if not isinstance(value, int) and len(value) < 4:  # what is not known at all is told first
        known = name != options.IPV6_PATHMTU and get_ip6_kept(sock, name)
        raise error(errno.EINVAL if known else errno.ENOPROTOOPT, "an option has 4 bytes")
    number = option_int(value)
    if name == IPV6_V6ONLY:
        if sock.local[1] or sock.type == SOCK_RAW:
            raise error(errno.EINVAL, "the socket is bound already")
        sock.v6only = bool(number)
    elif name == IPV6_MULTICAST_HOPS:
        if not -1 <= number <= 255:
            raise error(errno.EINVAL, f"a hop limit is 0 to 255, not {number}")
        sock.ip6_flags = {**sock.ip6_flags, name: 1 if number == -1 else number}
    elif name == IPV6_MULTICAST_LOOP and number not in (0, 1):
        raise error(errno.EINVAL, "0 or 1")
    elif name in IP6_FLAGS:
        sock.ip6_flags = {**sock.ip6_flags, name: 1 if number else 0}
        if name == IPV6_RECVERR:
            sock.errors_wanted(bool(number))
    elif not options.set_ip6(sock, name, number):
        sock.set_protocol_option(IPPROTO_IPV6, name, value)


def get_ip6_kept(sock: Socket, name: int) -> bool:
    """Whether there is such an option."""
    try:
        get_ip6(sock, name, None)
    except OSError as refused:
        return refused.errno != errno.ENOPROTOOPT
    return True


def get_ip6(sock: Socket, name: int, n: int | None = None) -> int | bytes:
    if name == IPV6_V6ONLY:
        return int(sock.v6only)
    if name == IPV6_UNICAST_HOPS:
        hops = sock.marks(6)[1]
        return sock.stack.settings.conf6_hop_limit if hops < 0 else hops
    if name in (IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP, IPV6_AUTOFLOWLABEL):
        return sock.ip6_flags.get(name, 1)
    if name == IPV6_MTU:
        mtu = sock.path_mtu()
        if mtu is None:
            raise error(errno.ENOTCONN)
        return mtu
    if name in IP6_FLAGS:
        return sock.ip6_flags.get(name, 0)
    found = options.get_ip6(sock, name, n)
    return sock.get_protocol_option(IPPROTO_IPV6, name) if found is None else found
