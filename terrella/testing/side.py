"""One end of a pair: its stack, its socket, its addresses, and what is known of it from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.address import parse_ip
from netstack.stack import Stack
from netstack.tcp.tcb import SYN_RECEIVED, SYN_SENT
from terrella.testing import probe
from terrella.testing.flow import Flow

if TYPE_CHECKING:
    from terrella.testing.apps import Runner

AF_INET, AF_INET6 = 2, 10
ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2"}
ADDRESSES6 = {"a": "fd00::1", "b": "fd00::2"}
PORTS = {"a": 4000, "b": 80}
OTHER = {"a": "b", "b": "a"}

Event = tuple[int, str, Any]
"""(now, "call" | "in" | "out", text or image)."""


def addresses(version: int) -> dict[str, str]:
    """Of both sides, in this version of IP."""
    return ADDRESSES if version == 4 else ADDRESSES6


class Side:
    """One end: its stack, its socket, and what is known of it from outside."""

    __slots__ = (
        "aborted", "address", "backlog", "closed", "connected", "dead", "eof", "error", "flow", "hinted", "history",
        "inline", "ip", "key", "last", "lingered", "listener", "listening", "name", "port", "read", "reneged", "runner",
        "settings", "shut_rd", "shut_wr", "sock", "stack", "timer", "version", "woken", "written",
    )  # fmt: skip

    def __init__(self, name: str, stack: Stack, settings: dict[str, Any], version: int = 4) -> None:
        self.name = name
        self.version = version
        self.stack = stack
        self.settings = settings
        self.port = PORTS[name]
        self.sock: Any = None
        self.listener: Any = None
        self.listening = self.connected = self.closed = self.shut_rd = self.shut_wr = self.eof = self.dead = False
        self.error = 0
        self.backlog = 0
        self.woken = False  # in the event under way
        self.hinted = False  # an ICMP error came, that says the peer is not there
        self.lingered = False  # TCP_LINGER2 was set
        self.inline = False  # urgent data stays in the stream
        self.aborted = False  # it sent a RST, which the network may have lost
        self.written = self.read = 0
        self.reneged = 0
        self.flow = Flow()
        self.history: list[Event] = []
        self.runner: Runner | None = None
        self.timer: Any = None
        self.last: Any = None  # the connection, once there is one
        both = addresses(version)
        self.address, there = both[name], both[OTHER[name]]
        self.ip = parse_ip(self.address)
        self.key = (
            self.ip + parse_ip(there) + PORTS[name].to_bytes(2, "big") + PORTS[OTHER[name]].to_bytes(2, "big")
        )

    def connection(self) -> Any:
        """The connection of this side, also before accept and after close; None before there is one."""
        c = probe.connection(self.sock)
        if c is None:
            c = self.stack.tcp.table.get(self.key)
            if c is not None and not hasattr(c, "cwnd"):
                c = None
        if c is not None:
            self.last = c
        return self.last

    def wake(self, _: Any) -> None:
        """What the socket calls when it may have become ready."""
        self.woken = True
        if self.runner is not None:
            self.runner.poke()

    def state(self) -> probe.State | None:
        return probe.snapshot(self.connection())

    @property
    def opening(self) -> bool:
        """SYN-SENT or SYN-RECEIVED: data can't be sent yet, and ending the stream would end the connection."""
        c = self.connection()
        return c is not None and c.state in (SYN_SENT, SYN_RECEIVED)
