"""ARP (RFC 826), with RFC 5227's conflict detection as far as it costs nothing: a claim of our own address is counted.

Who may write into the neighbour table (Linux with arp_accept = 0):

- A request for one of our addresses makes or refreshes the asker's entry, as STALE: we are about to answer it.
- Any other message only changes the sender's entry if that is there already; a MAC changed less than `locktime` ago
  stays (the first of several answers wins), except for an announcement. It confirms an entry (REACHABLE) only when it
  is a reply sent to us; else the entry is STALE.
- Nothing else does. A sender that is 0.0.0.0 is a probe: answered, not learnt. A sender that claims a group,
  broadcast, loopback or our own address, or a group MAC, is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from csrc import Frame
from netstack.address import ETH_BROADCAST, ETH_ZERO, is_loopback, is_multicast, is_unspecified
from netstack.ethernet import ETHERTYPE_ARP, HOST, header
from netstack.neighbour import NONE, REACHABLE, STALE

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

REQUEST, REPLY = 1, 2
FIXED = b"\x00\x01\x08\x00\x06\x04"  # Ethernet, IPv4, address lengths 6 and 4
LENGTH = 28


def message(operation: int, smac: bytes, sip: bytes, tmac: bytes, tip: bytes) -> bytes:
    return FIXED + operation.to_bytes(2, "big") + smac + sip + tmac + tip


class Arp:
    """Asks and answers for all Ethernet interfaces of a stack."""

    __slots__ = ("stack",)

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def solicitor(self, interface: Interface) -> Callable[[bytes, bytes, bytes | None, int], None]:
        """The `solicit` function of that interface's neighbour table."""

        def solicit(address: bytes, mac: bytes, source: bytes | None, now: int) -> None:
            if source is None or source not in self.stack.local:
                source = next((a.address for a in interface.addresses if len(a.address) == 4), None)
            if source is None:
                return
            self.stack.counters.arp.OutRequests += 1
            destination = mac if any(mac) else ETH_BROADCAST
            self._send(interface, destination, message(REQUEST, interface.mac or ETH_ZERO, source, ETH_ZERO, address))

        return solicit

    def announce(self, interface: Interface, address: bytes) -> None:
        """An ARP announcement (RFC 5227 section 2.3), which is a request: tell the link who has the address."""
        if interface.mac is not None:
            self.stack.counters.arp.OutRequests += 1
            self._send(interface, ETH_BROADCAST, message(REQUEST, interface.mac, address, ETH_ZERO, address))

    def _send(self, interface: Interface, dst: bytes, body: bytes) -> None:
        assert interface.mac is not None
        data = bytearray(header(dst, interface.mac, ETHERTYPE_ARP) + body)
        self.stack.enqueue(interface, Frame(data, (), len(data), True))

    def input(self, frame: Frame, interface: Interface, now: int) -> None:
        """One ARP message; the frame's Ethernet header has been checked."""
        stack = self.stack
        reject = stack.counters.reject
        body = bytes(frame.data[14 : 14 + LENGTH])
        if len(body) < LENGTH:
            reject.ArpShort += 1
            return
        if body[0:6] != FIXED:
            reject.ArpFormat += 1
            return
        operation = int.from_bytes(body[6:8], "big")
        smac, sip, tip = body[8:14], body[14:18], body[24:28]
        if operation == REQUEST:
            stack.counters.arp.InRequests += 1
        elif operation == REPLY:
            stack.counters.arp.InReplies += 1
        else:
            reject.ArpFormat += 1
            return
        table = interface.neighbours
        if table is None or is_multicast(tip) or is_loopback(tip):
            reject.ArpNotForUs += 1
            return
        if smac == interface.mac:
            reject.ArpSender += 1  # our own message come back
            return
        if sip in stack.local:
            # Somebody else uses our address (RFC 5227 section 2.4): note it, defend nothing, learn nothing.
            stack.counters.arp.Conflicts += 1
            reject.ArpSender += 1
            return
        if (
            smac[0] & 1
            or smac == ETH_ZERO
            or is_multicast(sip)
            or is_loopback(sip)
            or sip == b"\xff" * 4
            or stack.is_broadcast(sip)
        ):
            reject.ArpSender += 1
            return
        mine = self._answers_for(tip, interface)
        if operation == REQUEST and is_unspecified(sip):
            # A probe (RFC 5227 section 2.1.1): the answer says that the address is taken.
            if mine:
                self._reply(interface, smac, tip, sip)
            else:
                reject.ArpNotForUs += 1
            return
        if is_unspecified(sip):
            reject.ArpSender += 1
            return
        if operation == REQUEST and mine:
            entry = table.get(sip, now)
            if entry is not None:
                # Linux's neigh_event_ns: STALE, and the new MAC is believed.
                entry.update(smac, STALE, True, now)
            self._reply(interface, smac, tip, sip)
            return
        entry = table.lookup(sip)
        if entry is None or entry.state == NONE:
            if operation == REPLY:
                reject.ArpUnsolicited += 1
            else:
                reject.ArpNotForUs += 1
            return
        # Linux's arp_process: of several answers in a row the first is believed, but an announcement always.
        gratuitous = sip == tip and (operation == REQUEST or body[18:24] == smac)
        override = gratuitous or now > entry.updated + table.locktime_ns
        if entry.usable and entry.mac != smac and not override:
            reject.ArpLocked += 1
            return
        # Only a reply sent to us alone says that the neighbour hears us.
        reachable = operation == REPLY and stack.kind == HOST
        entry.update(smac, REACHABLE if reachable else STALE, override, now)

    def _answers_for(self, address: bytes, interface: Interface) -> bool:
        """arp_ignore: 0 answers for every address of the host, 1 only for those of this interface."""
        where = self.stack.local.get(address)
        if where is None:
            return False
        mode = self.stack.settings.conf_arp_ignore
        return mode == 0 or (mode < 8 and any(a.address == address for a in interface.addresses))

    def _reply(self, interface: Interface, mac: bytes, mine: bytes, to: bytes) -> None:
        self.stack.counters.arp.OutReplies += 1
        assert interface.mac is not None
        self._send(interface, mac, message(REPLY, interface.mac, mine, mac, to))
