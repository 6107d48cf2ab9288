"""Local ports: who holds one, and which sockets may share one (bind(2), socket(7): SO_REUSEADDR and SO_REUSEPORT). No
RFC says; these are Linux's rules.

The sockets of a port are the keys of a dict, in the order of binding. A server's port may have ten thousand that were
accepted: those are together under their address, in a dict of their own, so that who binds another address looks at
none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.socket import SO_REUSEPORT, share_address
from netstack.tcp.tcb import LISTEN

if TYPE_CHECKING:
    from netstack.tcp.socket import TcpSocket


def hold(sock: TcpSocket) -> None:
    """This socket has its local port from now on."""
    sock.stack.tcp.bound.setdefault(sock.local[1], {})[sock] = None
    sock.port_held = True


def hold_accepted(sock: TcpSocket) -> None:
    """The same for one that was accepted: its address stays as it is."""
    address, port = sock.local
    bound = sock.stack.tcp.bound
    group = bound.get(port)
    if group is None:
        group = bound[port] = {}
    accepted = group.get(address)
    if accepted is None:
        accepted = group[address] = {}
    accepted[sock] = None
    sock.port_held = True


def release(sock: TcpSocket) -> None:
    """Its port is free, or left to those who share it."""
    if sock.port_held:
        sock.port_held = False
        bound = sock.stack.tcp.bound
        address, port = sock.local
        group = bound.get(port)
        if group is not None:
            accepted = group.get(address)
            if accepted is not None and sock in accepted:
                del accepted[sock]
                if not accepted:
                    del group[address]
            else:
                group.pop(sock, None)
            if not group:
                del bound[port]


def taken(sock: Any, address: bytes, group: dict[Any, Any], listening: bool) -> bool:
    """Whether any of the sockets of a port keeps that one from it."""
    for other, accepted in group.items():
        if accepted is None:
            if other is not sock and conflicts(sock, address, other, listening):
                return True
        elif share_address(sock, address, next(iter(accepted)), other):
            for one in accepted:
                if one is not sock and conflicts(sock, address, one, listening):
                    return True
    return False


def conflicts(a: Any, address: bytes, b: Any, listening: bool) -> bool:
    """Whether two sockets cannot share a local port (Linux's inet_csk_bind_conflict)."""
    if not share_address(a, address, b, b.local[0]):
        return False
    if a.bound_device is not None and b.bound_device is not None and a.bound_device is not b.bound_device:
        return False
    if a.reuse_addr and b.reuse_addr and b.state != LISTEN and not listening:
        return False
    if a.flags.get(SO_REUSEPORT) and b.flags.get(SO_REUSEPORT):
        return False
    return not (listening and a.reuse_addr and b.reuse_addr and b.state != LISTEN)


def waits_in_the_way(a: Any, address: bytes, tw: Any) -> bool:
    """Whether a connection in TIME-WAIT keeps that socket from a local port. It shares the port as its socket did."""
    if (a.reuse_addr and tw.reuse_addr) or (tw.reuse_port and a.flags.get(SO_REUSEPORT)):
        return False
    theirs: bytes = tw.key[: (len(tw.key) - 4) // 2]
    if any(address):
        return theirs == address
    return len(theirs) == len(address) or (len(theirs) == 4 and not a.v6only)
