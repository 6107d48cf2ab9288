"""ICMPv6 (RFC 4443): echo, and errors in both directions. The messages of neighbour discovery go on to ndp.py.

Errors out, by the rules of section 2.4 (e): never about an ICMPv6 error or a redirect, a packet to a group (in IPv6
or on the link), or from a source that is not one node; but "packet too big" and "unknown option" are said of packets
to groups too. They quote as much as fits into 1280 bytes, and all but "packet too big" are rate limited
(icmp_limit.py; the wider the route, the more is allowed, as on Linux).

Errors in: the quoted packet must be one that this host could have sent; a "packet too big" of less than 1280 bytes is
thrown away (RFC 8201 section 4). Then the transport protocol is given an `IcmpError` and looks for the socket that sent
it; only a socket that recognises its packet changes the path's MTU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csrc import Frame, ffi, lib
from netstack.address import is_link_local, is_multicast
from netstack.ethernet import HOST, MULTICAST
from netstack.icmp import IcmpError, hand_up
from netstack.ipv6_extension import upper_layer
from netstack.route import find_path, select_source
from netstack.socket import IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

DEST_UNREACH, PACKET_TOO_BIG, TIME_EXCEEDED, PARAMETERPROB = 1, 2, 3, 4
NO_ROUTE, ADMIN_PROHIBITED, BEYOND_SCOPE, ADDRESS_UNREACH, PORT_UNREACH = range(5)
EXC_HOP_LIMIT, EXC_FRAGTIME = 0, 1
HDR_FIELD, UNKNOWN_NEXT_HEADER, UNKNOWN_OPTION, HDR_INCOMPLETE = range(4)
ECHO, ECHOREPLY = 128, 129
ROUTER_SOLICIT, ROUTER_ADVERT, NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT, REDIRECT = range(133, 138)
NDP_TYPES = range(ROUTER_SOLICIT, REDIRECT + 1)
INFORMATIONAL = 128  # and above: not an error

IN_COUNTERS = {
    1: "InDestUnreachs", 2: "InPktTooBigs", 3: "InTimeExcds", 4: "InParmProblems", 128: "InEchos", 129: "InEchoReplies",
    130: "InGroupMembQueries", 131: "InGroupMembResponses", 132: "InGroupMembReductions", 133: "InRouterSolicits",
    134: "InRouterAdvertisements", 135: "InNeighborSolicits", 136: "InNeighborAdvertisements", 137: "InRedirects",
    143: "InMLDv2Reports",
}  # fmt: skip
OUT_COUNTERS = {kind: "Out" + name[2:] for kind, name in IN_COUNTERS.items()}

MS = 1_000_000
MIN_MTU = 1280
QUOTE_ROOM = MIN_MTU - 40 - 8


class Icmp6:
    """ICMPv6 of one stack."""

    __slots__ = ("stack",)

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    # Input.

    def input(self, frame: Frame, interface: Interface, now: int) -> None:
        """One ICMPv6 message to this host."""
        stack = self.stack
        pkt = stack.pkt
        icmp = stack.counters.icmp6
        reject = stack.counters.reject
        icmp.InMsgs += 1
        message = bytes(frame.data[pkt.payload : pkt.payload + pkt.payload_len])
        src, dst = stack.src16[:], stack.dst16[:]
        if len(message) < 8:
            icmp.InErrors += 1
            reject.IcmpShort += 1
            return
        if lib.trl_l4_checksum(src, dst, 16, IPPROTO_ICMPV6, ffi.from_buffer(message), len(message)) != 0:
            icmp.InCsumErrors += 1
            icmp.InErrors += 1
            reject.IcmpChecksum += 1
            return
        kind, code = message[0], message[1]
        stack.counters.count_type("icmp6msg", f"InType{kind}")
        name = IN_COUNTERS.get(kind)
        if name is not None:
            setattr(icmp, name, getattr(icmp, name) + 1)
        if kind == ECHO:
            self._echo(message, code, src, dst, interface, now)
        elif kind in NDP_TYPES:
            stack.ndp.input(message, src, dst, interface, now)
        elif kind == PACKET_TOO_BIG or DEST_UNREACH <= kind <= PARAMETERPROB:
            self._error_in(kind, code, message, src, now)
        elif kind < INFORMATIONAL:
            # An unknown error has to reach the upper layer (section 2.4 (a)); nobody here knows what it means.
            self._error_in(kind, code, message, src, now)
        elif kind != ECHOREPLY and not stack.raw.count:
            reject.IcmpTypeUnknown += 1

    def _echo(self, message: bytes, code: int, src: bytes, dst: bytes, interface: Interface, now: int) -> None:
        """Section 4.2: answer from the address that was asked; for a group from one of the interface's."""
        stack = self.stack
        settings = stack.settings
        group = is_multicast(dst)
        if settings.icmp6_echo_ignore_all or (group and settings.icmp6_echo_ignore_multicast):
            stack.counters.reject.IcmpIgnored += 1
            return
        if not any(src):
            stack.counters.reject.IcmpIgnored += 1
            return
        tclass = stack.pkt.tos
        self.send(ECHOREPLY, code, message[4:], src, dst if dst in stack.local else None, interface, now, tclass=tclass)

    def send(
        self,
        kind: int,
        code: int,
        rest: bytes,
        to: bytes,
        source: bytes | None,
        interface: Interface | None,
        now: int,
        hop_limit: int = -1,
        tclass: int = 0,
    ) -> bool:
        """One message: type, code, checksum, and `rest` (from the fifth byte on). The interface counts where the
        destination is good on one link only."""
        stack = self.stack
        icmp = stack.counters.icmp6
        if interface is not None and (interface.loopback or not (is_link_local(to) or is_multicast(to))):
            interface = None
        try:
            path = find_path(stack, to, source, interface, now)
            body = bytearray((kind, code, 0, 0)) + rest
            complete(body, path.src, path.dst)
            stack.ipv6.send(path, IPPROTO_ICMPV6, body, now, hop_limit, tclass)
        except OSError:
            icmp.OutErrors += 1
            return False
        self.count_out(kind)
        return True

    def count_out(self, kind: int) -> None:
        icmp = self.stack.counters.icmp6
        icmp.OutMsgs += 1
        name = OUT_COUNTERS.get(kind)
        if name is not None:
            setattr(icmp, name, getattr(icmp, name) + 1)
        self.stack.counters.count_type("icmp6msg", f"OutType{kind}")

    def _error_in(self, kind: int, code: int, message: bytes, sender: bytes, now: int) -> None:
        stack = self.stack
        reject = stack.counters.reject
        quote = message[8:]
        found = upper_layer(quote) if len(quote) >= 40 and quote[0] >> 4 == 6 else None
        if found is None or found[2] or len(quote) < found[1] + 8:
            stack.counters.icmp6.InErrors += 1
            reject.IcmpQuoteBad += 1
            return
        proto, at, _ = found
        src, dst = quote[8:24], quote[24:40]
        if src not in stack.local:
            reject.IcmpNotMatched += 1
            return
        mtu = 0
        if kind == PACKET_TOO_BIG:
            mtu = int.from_bytes(message[4:8], "big")
            if mtu < MIN_MTU:
                reject.IcmpIgnored += 1
                return
        hand_up(stack, IcmpError(6, kind, code, src, dst, proto, quote[at:], mtu, sender, stack.pkt.ttl), now)

    def link_failure(self, frame: Frame, l3: int, now: int) -> None:
        """No neighbour answered for this frame: address unreachable, told to our own socket, or to who sent the packet
        that we forward (RFC 4861 section 7.2.2)."""
        packet = bytes(frame.data[l3:]) + b"".join(bytes(f[:8]) for f in frame.frags[:1])
        stack = self.stack
        if len(packet) < 40:
            return
        src = packet[8:24]
        if src not in stack.local:
            interface = stack.interfaces["lo"]
            self._send_error(frame, interface, DEST_UNREACH, ADDRESS_UNREACH, 0, HOST, now)
            return
        found = upper_layer(packet)
        if found is None or found[2] or len(packet) < found[1] + 8:
            return
        proto, at, _ = found
        error = IcmpError(6, DEST_UNREACH, ADDRESS_UNREACH, src, packet[24:40], proto, packet[at:], 0, src)
        if stack.raw.count:
            stack.raw.icmp_error(error, now)
        if proto == IPPROTO_TCP:
            # Our own finding, no router's opinion: it ends an attempt to connect, as on Linux.
            error.fatal = True
            stack.tcp.icmp_error(error, now)
        elif proto == IPPROTO_UDP:
            stack.udp.icmp_error(error, now)

    # Errors out.

    def send_error(self, frame: Frame, interface: Interface, kind: int, code: int, info: int, now: int) -> bool:
        """Tell the source of the packet just received. `info` is the second word. False: the rules or a limit forbid
        it."""
        return self._send_error(frame, interface, kind, code, info, self.stack.kind, now)

    def reassembly_timeout(self, frame: Frame, interface: Interface, now: int) -> None:
        quoted = frame.data[2:]  # behind the two bytes that Ipv6.fragment put first
        packet = Frame(quoted, (), len(quoted), False)
        self._send_error(packet, interface, TIME_EXCEEDED, EXC_FRAGTIME, 0, HOST, now)

    def _send_error(
        self, frame: Frame, interface: Interface, kind: int, code: int, info: int, link: int, now: int
    ) -> bool:
        stack = self.stack
        l3 = 14 if frame.ethernet else 0
        packet = bytes(frame.data[l3 : l3 + QUOTE_ROOM])
        src, dst = packet[8:24], packet[24:40]
        to_group = kind == PACKET_TOO_BIG or (kind == PARAMETERPROB and code == UNKNOWN_OPTION)
        if (link != HOST and not (link == MULTICAST and to_group)) or (is_multicast(dst) and not to_group):
            return False
        if not any(src) or is_multicast(src):
            return False
        found = upper_layer(packet)
        if found is not None and found[0] == IPPROTO_ICMPV6 and not found[2]:
            kind_in = packet[found[1] : found[1] + 1]
            if not kind_in:
                if code != HDR_INCOMPLETE:
                    return False
            elif kind_in[0] < INFORMATIONAL or kind_in[0] == REDIRECT:
                return False
        if kind != PACKET_TOO_BIG and not self._allowed(src, now):
            return False
        total = 40 + int.from_bytes(packet[4:6], "big")
        quoted = packet[: min(total, QUOTE_ROOM)]
        source = dst if dst in stack.local else None  # section 2.2: not an anycast address
        if source is None and is_link_local(src):
            source = select_source(stack, interface, src, src)
        return self.send(kind, code, info.to_bytes(4, "big") + quoted, src, source, interface, now)

    def _allowed(self, to: bytes, now: int) -> bool:
        """Whether the rate limits let this error go (Linux's icmpv6_xrlim_allow)."""
        stack = self.stack
        if to in stack.local:
            return True
        route = stack.routes.lookup(to)
        cost = stack.settings.icmp6_ratelimit * MS
        if route is not None and route.prefix < 128:
            cost >>= (128 - route.prefix) >> 5
        return stack.icmp_limit.allows(to, cost, now)


def complete(message: bytearray, src: bytes, dst: bytes) -> None:
    """Put the checksum in (section 2.3): over the message and the pseudo-header of RFC 8200 section 8.1."""
    message[2:4] = b"\0\0"
    sum_ = lib.trl_l4_checksum(src, dst, 16, IPPROTO_ICMPV6, ffi.from_buffer(message), len(message))
    message[2:4] = sum_.to_bytes(2, "big")
