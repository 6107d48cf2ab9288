"""Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements, on top of the state machine of
neighbour.py; and duplicate address detection (RFC 4862 section 5.4).

Who may write into the neighbour table (sections 7.2.3 and 7.2.5, as Linux runs them):

- A solicitation for one of our addresses makes or refreshes the asker's entry, as STALE: we are about to answer it.
- An advertisement changes an entry only if that is there already. Solicited, it confirms it (REACHABLE). Without the
  override flag it does not change a MAC that is known; it only makes a REACHABLE entry STALE.
- Nothing else does. Every message must have come with hop limit 255, so from this link, and be well formed.

A new address is ours at once when `accept_dad` is 0 (the default here, so that a simulation need not wait), and with
1, Linux's default on a real link, tentative until `dad_transmits` solicitations, a second apart, have gone unanswered.

Redirects are for redirect.py. Router solicitations and advertisements are checked and counted, and go no further: the
place for SLAAC is `_router_advertisement`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from csrc import Frame
from netstack import anycast
from netstack.address import ALL_NODES, ETH_ZERO, is_link_local, is_multicast, multicast_mac, solicited_node
from netstack.icmpv6 import (
    NEIGHBOUR_ADVERT,
    NEIGHBOUR_SOLICIT,
    REDIRECT,
    ROUTER_ADVERT,
    ROUTER_SOLICIT,
    complete,
)
from netstack.neighbour import NONE, REACHABLE, STALE
from netstack.route import ETHERTYPE_IPV6, Path
from netstack.socket import IPPROTO_ICMPV6
from netstack.source import select_source6

if TYPE_CHECKING:
    from netstack.interface import Address, Interface
    from netstack.stack import Stack

SOURCE_LINK, TARGET_LINK = 1, 2  # options (section 4.6)
ROUTER, SOLICITED, OVERRIDE = 0x80, 0x40, 0x20  # flags of an advertisement
HOP_LIMIT = 255
LENGTH = {ROUTER_SOLICIT: 8, ROUTER_ADVERT: 16, NEIGHBOUR_SOLICIT: 24, NEIGHBOUR_ADVERT: 24, REDIRECT: 40}
ANY = bytes(16)
SECOND = 1_000_000_000
MS = 1_000_000


def options(message: bytes, at: int) -> dict[int, bytes] | None:
    """The options of a message: type -> the first one's value. None when one has length 0 or is cut short."""
    found: dict[int, bytes] = {}
    while at < len(message):
        if at + 2 > len(message):
            return None
        size = message[at + 1] * 8
        if not size or at + size > len(message):
            return None
        found.setdefault(message[at], message[at + 2 : at + size])
        at += size
    return found


class Ndp:
    """Asks and answers for all Ethernet interfaces of a stack."""

    __slots__ = ("stack",)

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    # Asking.

    def solicitor(self, interface: Interface) -> Callable[[bytes, bytes, bytes | None, int], None]:
        """The `solicit` function of that interface's neighbour table."""

        def solicit(address: bytes, mac: bytes, source: bytes | None, now: int) -> None:
            entry = interface.find(source) if source is not None else None
            if entry is None or not entry.usable:
                source = interface.link_local or interface.address_of(6)
            if source is not None:
                self._solicit(interface, address, mac, source)

        return solicit

    def _solicit(self, interface: Interface, target: bytes, mac: bytes, source: bytes) -> None:
        """Section 4.3: to the target itself when its MAC is believed, else to its solicited-node group."""
        assert interface.mac is not None
        body = bytearray((NEIGHBOUR_SOLICIT, 0, 0, 0, 0, 0, 0, 0)) + target
        if any(source):
            body += bytes((SOURCE_LINK, 1)) + interface.mac
        group = solicited_node(target)
        to, mac = (target, mac) if any(mac) else (group, multicast_mac(group))
        self._send(interface, mac, source, to, body)

    def _send(self, interface: Interface, mac: bytes, source: bytes, to: bytes, body: bytearray) -> None:
        stack = self.stack
        assert interface.mac is not None
        complete(body, source, to)
        data = bytearray(mac + interface.mac + ETHERTYPE_IPV6)
        data += b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes((IPPROTO_ICMPV6, HOP_LIMIT)) + source + to + body
        counters = stack.counters.ip6
        counters.OutRequests += 1
        counters.OutTransmits += 1
        counters.OutOctets += len(data) - 14
        stack.icmp6.count_out(body[0])
        stack.enqueue(interface, Frame(data, (), len(data), True))

    # Input.

    def input(self, message: bytes, src: bytes, dst: bytes, interface: Interface, now: int) -> None:
        """One message of types 133 to 137 whose checksum is good."""
        kind = message[0]
        found = options(message, LENGTH[kind]) if len(message) >= LENGTH[kind] else None
        if (
            self.stack.pkt.ttl != HOP_LIMIT
            or message[1]
            or found is None
            or interface.neighbours6 is None
            or not self._valid(kind, message, src, dst, found)
        ):
            self.stack.counters.icmp6.InErrors += 1
            self.stack.counters.reject.NdpBad += 1
        elif kind == NEIGHBOUR_SOLICIT:
            self._solicited(message[8:24], src, dst, found, interface, now)
        elif kind == NEIGHBOUR_ADVERT:
            self._advertised(message[4], message[8:24], found, interface, now)
        elif kind == REDIRECT:
            self.stack.redirects.arrived6(message, src, found, interface, now)
        elif kind == ROUTER_ADVERT:
            self._router_advertisement(message, src, found, interface, now)

    @staticmethod
    def _valid(kind: int, message: bytes, src: bytes, dst: bytes, found: dict[int, bytes]) -> bool:
        """The rules of sections 6.1.1, 6.1.2, 7.1.1, 7.1.2 and 8.1 that differ from type to type."""
        for name in (SOURCE_LINK, TARGET_LINK):
            if kind in (NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT) and len(found.get(name, ETH_ZERO)) != 6:
                return False  # not an Ethernet address
        if kind == NEIGHBOUR_SOLICIT:
            if not any(src) and (dst != solicited_node(message[8:24]) or SOURCE_LINK in found):
                return False
            return not is_multicast(message[8:24])
        if kind == NEIGHBOUR_ADVERT:
            return not is_multicast(message[8:24]) and not (is_multicast(dst) and message[4] & SOLICITED)
        if kind == ROUTER_SOLICIT:
            return any(src) or SOURCE_LINK not in found
        return is_link_local(src)

    @staticmethod
    def _mac(option: bytes | None) -> bytes:
        """The MAC of a link-layer address option, or zero when there is none that names one station."""
        if option is None or len(option) != 6 or option[0] & 1:
            return ETH_ZERO
        return option

    def _solicited(
        self, target: bytes, src: bytes, dst: bytes, found: dict[int, bytes], interface: Interface, now: int
    ) -> None:
        """Somebody asks for an address (section 7.2.3), or means to take it (RFC 4862 section 5.4.3)."""
        reject = self.stack.counters.reject
        mine = interface.find(target)
        if mine is None and self.stack.settings.conf6_forwarding and anycast.on(interface, target) and any(src):
            self._asked_of_all(target, src, dst, found, interface, now)
            return
        if mine is None or mine.duplicate:
            reject.NdpNotForUs += 1
            return
        if mine.tentative:
            if any(src):
                reject.NdpNotForUs += 1  # asked for by a neighbour: we do not have it yet
            else:
                self._duplicate(interface, mine)  # another is trying the same address
            return
        if not any(src):
            self._advertise(interface, target, ALL_NODES, OVERRIDE, now)
            return
        self._note(src, found, interface, now)
        # Who asks this host alone knows its MAC: it is not said again, and overrides nothing (section 7.2.4).
        self._advertise(interface, target, src, SOLICITED | (OVERRIDE if is_multicast(dst) else 0), now)

    def _note(self, src: bytes, found: dict[int, bytes], interface: Interface, now: int) -> None:
        """Who asks says where it is."""
        mac = self._mac(found.get(SOURCE_LINK))
        table = interface.neighbours6
        if any(mac) and table is not None and src not in self.stack.local:
            entry = table.get(src, now)
            if entry is not None:
                entry.update(mac, STALE, True, now)

    def _asked_of_all(
        self, target: bytes, src: bytes, dst: bytes, found: dict[int, bytes], interface: Interface, now: int
    ) -> None:
        """For an anycast address (section 7.2.7)."""
        assert interface.mac is not None
        self._note(src, found, interface, now)
        mine = select_source6(self.stack, interface, src)
        if mine is None:
            return
        body = bytearray((NEIGHBOUR_ADVERT, 0, 0, 0, ROUTER | SOLICITED, 0, 0, 0)) + target
        if not is_multicast(dst):
            self.send(interface, mine, src, body, now)
            return
        body += bytes((TARGET_LINK, 1)) + interface.mac

        def on_timer(at: int) -> None:
            self.send(interface, mine, src, body, at)

        self.stack.timers.timer(on_timer).arm(now + self.stack.below(anycast.DELAY_NS))

    def _advertise(self, interface: Interface, target: bytes, to: bytes, flags: int, now: int) -> None:
        """Section 7.2.4, by way of the neighbour table; the MAC is said where it overrides."""
        assert interface.mac is not None
        stack = self.stack
        flags |= ROUTER if stack.settings.conf6_forwarding else 0
        body = bytearray((NEIGHBOUR_ADVERT, 0, 0, 0, flags, 0, 0, 0)) + target
        if flags & OVERRIDE:
            body += bytes((TARGET_LINK, 1)) + interface.mac
        self.send(interface, target, to, body, now)

    def send(self, interface: Interface, source: bytes, to: bytes, body: bytearray, now: int) -> None:
        """A message whose sum is to be filled in, by way of the neighbour table."""
        path = Path(self.stack, interface, source, to, to, None, interface.mtu)
        complete(body, source, to)
        data = path.template
        data[path.l3 + 4 : path.l3 + 8] = len(body).to_bytes(2, "big") + bytes((IPPROTO_ICMPV6, HOP_LIMIT))
        data += body
        self.stack.icmp6.count_out(body[0])
        path.output(Frame(data, (), len(data), True), now)

    def _advertised(self, flags: int, target: bytes, found: dict[int, bytes], interface: Interface, now: int) -> None:
        """Section 7.2.5."""
        reject = self.stack.counters.reject
        mine = interface.find(target)
        if mine is not None:
            if mine.tentative:
                self._duplicate(interface, mine)
            else:
                self.stack.counters.arp.Conflicts += 1
                reject.NdpNotForUs += 1
            return
        table = interface.neighbours6
        entry = table.lookup(target) if table is not None else None
        if entry is None or entry.state == NONE:
            reject.NdpUnsolicited += 1
            return
        mac = self._mac(found.get(TARGET_LINK))
        if not any(mac):
            if not entry.usable:
                reject.NdpUnsolicited += 1  # says that somebody is there, but not where
                return
            mac = entry.mac
        override = bool(flags & OVERRIDE)
        if entry.usable and mac != entry.mac and not override:
            if entry.state == REACHABLE:
                entry.doubt()
            return
        entry.update(mac, REACHABLE if flags & SOLICITED else STALE, override, now)

    def _router_advertisement(
        self, message: bytes, src: bytes, found: dict[int, bytes], interface: Interface, now: int
    ) -> None:
        """Routers and prefixes (section 6.3.4, RFC 4862 section 5.5.3): not used yet."""
        self.stack.counters.reject.NdpRouter += 1

    # Duplicate address detection (RFC 4862 section 5.4).

    def detect(self, interface: Interface, address: Address, now: int) -> None:
        """Ask whether anybody has this tentative address, after a random delay of up to a second (section 5.4.2)."""
        settings = self.stack.settings
        address.probes = settings.conf6_dad_transmits
        delay = self.stack.below(SECOND) if address.probes else 0

        def on_timer(at: int) -> None:
            self._detecting(interface, address, at)

        address.timer = self.stack.timers.timer(on_timer)
        address.timer.arm(now + delay)

    def _detecting(self, interface: Interface, address: Address, now: int) -> None:
        if not address.tentative or address.timer is None:
            return
        if address.probes:
            address.probes -= 1
            self._solicit(interface, address.address, ETH_ZERO, ANY)
            address.timer.arm(now + self.stack.settings.neigh6_retrans_time_ms * MS)
            return
        address.tentative = False
        address.timer = None
        self.stack.address_ready(interface, address)

    def _duplicate(self, interface: Interface, address: Address) -> None:
        """Somebody else has it: it never becomes ours (section 5.4.5)."""
        if address.timer is not None:
            address.timer.disarm()
            address.timer = None
        address.tentative = False
        address.duplicate = True
        self.stack.counters.arp.Conflicts += 1
        self.stack.counters.reject.NdpDuplicate += 1
