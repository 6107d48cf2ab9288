"""/proc/net: the network stack's sockets, interfaces, routes and counters in Linux's layout, proc_net(5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netstack.tcp.tcb import CLOSED, ESTABLISHED, LISTEN, SYN_RECEIVED

_TCP_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
_WIDE = f"  sl  {'local_address':<38}{'remote_address':<38}st tx_queue rx_queue tr tm->when"
_TCP6_HEAD = _WIDE + " retrnsmt   uid  timeout inode"
_UDP6_HEAD = _WIDE + " retrnsmt   uid  timeout inode ref pointer drops"
_UDP_HEAD = (
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
    "pointer drops"
)


def _address(address: bytes, port: int) -> str:
    """As the kernel prints it: 32-bit words in the machine's byte order."""
    words = (address[at : at + 4] for at in range(0, len(address), 4))
    return "".join(f"{int.from_bytes(word, 'little'):08X}" for word in words) + f":{port:04X}"


def _sockets(found: Any, head: str, width: int, rest: str) -> str:
    lines = [head.ljust(width)]
    for at, (local, remote, state, sent, received) in enumerate(found):
        here, there = _address(*local), _address(*(remote or (bytes(len(local[0])), 0)))
        queues = f"{sent:08X}:{received:08X} 00:00000000 00000000     0        0 0"
        lines.append(f"{at:4}: {here} {there} {state:02X} {queues} {rest}".ljust(width))
    return "\n".join(lines) + "\n"


def _pair(key: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    """A demultiplexing key (local and remote address, local and remote port) taken apart."""
    size = (len(key) - 4) // 2
    local, remote = key[:size], key[size : 2 * size]
    return (local, int.from_bytes(key[-4:-2], "big")), (remote, int.from_bytes(key[-2:], "big"))


def tcp(stack: Any, size: int = 4) -> str:
    """Listeners first, then connections, as Linux lists them; `size` is that of the addresses."""
    engine = stack.tcp
    found: list[Any] = []
    for port in sorted(engine.listeners):
        for listener in engine.listeners[port]:
            if len(listener.sock.local[0]) == size:
                found.append((listener.sock.local, None, LISTEN, 0, len(listener.accept_queue)))
    for entry in engine.table.values():
        local, remote = _pair(bytes(entry.key))
        if len(local[0]) == size:
            state = getattr(entry, "state", SYN_RECEIVED)  # numbered as Linux does
            sent = getattr(entry, "write_seq", 0) - getattr(entry, "snd_una", 0)
            received = getattr(entry, "rcv_nxt", 0) - getattr(entry, "copied_seq", getattr(entry, "rcv_nxt", 0))
            found.append((local, remote, state, sent & 0xFFFFFFFF, received & 0xFFFFFFFF))
    return _sockets(found, _TCP_HEAD if size == 4 else _TCP6_HEAD, 149, "1 0000000000000000 100 0 0 10 0")


def udp(stack: Any, size: int = 4) -> str:
    found = []
    for port in sorted(stack.udp.bound):
        for sock in stack.udp.bound[port]:
            if len(sock.local[0]) == size:
                state = ESTABLISHED if sock.remote is not None else CLOSED
                found.append((sock.local, sock.remote, state, 0, sock.rmem))
    return _sockets(found, _UDP_HEAD if size == 4 else _UDP6_HEAD, 127, "2 0000000000000000 0")


def arp(stack: Any) -> str:
    lines = ["IP address       HW type     Flags       HW address            Mask     Device"]
    for name, interface in stack.interfaces.items():
        table = getattr(interface, "neighbours", None)
        for address, entry in getattr(table, "entries", {}).items():
            mac = getattr(entry, "mac", None)
            if len(address) == 4:
                shown = ":".join(f"{byte:02x}" for byte in mac or bytes(6))
                dotted = ".".join(str(byte) for byte in address)
                lines.append(f"{dotted:<16} 0x{1:<10x}0x{2 if mac else 0:<10x}{shown:<22}*        {name}")
    return "\n".join(lines) + "\n"


def dev(stack: Any) -> str:
    lines = [
        "Inter-|   Receive                                                |  Transmit",
        " face |bytes    packets errs drop fifo frame compressed multicast|"
        "bytes    packets errs drop fifo colls carrier compressed",
    ]
    for name, interface in stack.interfaces.items():
        counted = getattr(interface, "counters", None) or {}

        def count(key: str, counted: Any = counted) -> int:
            value = counted.get(key, 0) if isinstance(counted, dict) else getattr(counted, key, 0)
            return int(value)

        lines.append(
            f"{name:>6}: {count('rx_bytes'):7} {count('rx_packets'):7} {count('rx_errors'):4} {count('rx_dropped'):4}"
            f" {0:4} {0:5} {0:10} {0:9} {count('tx_bytes'):8} {count('tx_packets'):7} {count('tx_errors'):4}"
            f" {count('tx_dropped'):4} {0:4} {0:5} {0:7} {0:10}"
        )
    return "\n".join(lines) + "\n"


def route(stack: Any) -> str:
    lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT".ljust(127)]
    for entry in stack.routes.all():
        if len(entry.network) != 4:
            continue
        mask = (0xFFFFFFFF << (32 - entry.prefix) & 0xFFFFFFFF).to_bytes(4, "big")
        gateway = entry.gateway or bytes(4)
        flags = 1 | (2 if entry.gateway else 0) | (4 if entry.prefix == 32 else 0)
        shown = [f"{int.from_bytes(value, 'little'):08X}" for value in (entry.network, gateway, mask)]
        lines.append(
            f"{entry.interface.name}\t{shown[0]}\t{shown[1]}\t{flags:04X}\t0\t0\t{entry.metric}\t{shown[2]}\t0\t0\t0".ljust(
                127
            )
        )
    return "\n".join(lines) + "\n"


def _groups(stack: Any, names: tuple[str, ...]) -> str:
    """Linux's two lines per group: the names, then the values."""
    counted = stack.counters.as_dict()
    lines = []
    for group, values in counted.items():
        if group.lower() in names and values:
            lines.append(f"{group}: " + " ".join(values))
            lines.append(f"{group}: " + " ".join(str(value) for value in values.values()))
    return "\n".join(lines) + "\n"


def snmp(stack: Any) -> str:
    return _groups(stack, ("ip", "icmp", "icmpmsg", "tcp", "udp", "udplite"))


def netstat(stack: Any) -> str:
    return _groups(stack, ("tcpext", "ipext"))


FILES: dict[str, Callable[[Any], str]] = {
    "tcp": tcp, "udp": udp, "tcp6": lambda stack: tcp(stack, 16), "udp6": lambda stack: udp(stack, 16), "arp": arp,
    "dev": dev, "route": route, "snmp": snmp, "netstat": netstat,
}  # fmt: skip
