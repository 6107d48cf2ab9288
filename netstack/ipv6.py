"""IPv6 (RFC 8200; addresses by RFC 4291).

Input: `trl_parse` has walked the header and its extension headers and judged their form. Here the addresses are judged,
as Linux's ip6_rcv_core does, and where the packet goes: to this host, onwards (forward.py), or nowhere. Then what the
extension headers ask for, reassembly, and delivery by protocol. What is wrong is dropped and counted: Linux's counter
where it has one, and exactly one of the group `Reject`; and the sender is told where RFC 8200 says so.

Output: `send` builds one packet, or fragments at the source (only there: section 4.5), from a path; TCP builds its own
from the path's template.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from csrc import Frame, ffi, lib
from netstack import anycast
from netstack.address import LOOPBACK6, is_link_local, is_mapped
from netstack.ethernet import HOST, LOOPBACK, MULTICAST
from netstack.fragment import Datagram, Piece, Reassembler
from netstack.icmpv6 import (
    DEST_UNREACH,
    HDR_FIELD,
    HDR_INCOMPLETE,
    NO_ROUTE,
    PARAMETERPROB,
    UNKNOWN_NEXT_HEADER,
    UNKNOWN_OPTION,
)
from netstack.ipv6_extension import (
    AUTH,
    DISCARD,
    FRAGMENT,
    FRAGMENT_LEN,
    HEADER_LEN,
    HOP_BY_HOP,
    NO_NEXT,
    SILENT,
    TELL_UNLESS_MULTICAST,
    whole_chain,
)
from netstack.socket import IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, error

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.route import Path
    from netstack.stack import Stack

MAX_PAYLOAD = 65535
MIN_MTU = 1280
ACCEPTED_MAX = 4096
IDENT_BUCKETS = 1024

_from_buffer = ffi.from_buffer
ROUTERS_GROUPS = frozenset(b"\xff" + bytes((scope,)) + bytes(13) + b"\2" for scope in (1, 2, 5))
"""A router is in these (RFC 4291 section 2.8)."""


class Ipv6:
    """IPv6 of one stack."""

    __slots__ = ("_idents", "pkt", "reassembler", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.pkt = stack.pkt
        self.reassembler = Reassembler(stack, 6)
        self._idents: dict[bytes, int] = {}

    # Input.

    def input(self, frame: Frame, interface: Interface, now: int) -> None:
        """A packet that parsed well."""
        stack = self.stack
        pkt = self.pkt
        self._count(frame.gso_segs)
        data = frame.data
        l3 = pkt.l3
        if bytes(data[l3 + 8 : l3 + 40]) not in interface.accepted and not (
            self._sane(data, l3, interface) and self._for_us(frame, interface, now)
        ):
            return
        if pkt.proto == IPPROTO_TCP and stack.kind == HOST and not stack.raw.ahead:
            stack.counters.ip6.InDelivers += 1
            stack.tcp.input(pkt, frame, interface, now)
        else:
            self._deliver(frame, interface, now)

    def _count(self, segments: int = 1) -> None:
        counters = self.stack.counters.ip6
        pkt = self.pkt
        counters.InReceives += 1
        counters.InOctets += pkt.l3_len
        ecn = pkt.tos & 3
        if not ecn:
            counters.InNoECTPkts += segments
        elif ecn == 2:
            counters.InECT0Pkts += segments
        elif ecn == 1:
            counters.InECT1Pkts += segments
        else:
            counters.InCEPkts += segments

    def _sane(self, data: Any, l3: int, interface: Interface) -> bool:
        """Could these addresses be true? (RFC 4291 sections 2.5.3 and 2.7; mapped sources as Linux.)"""
        stack = self.stack
        src = bytes(data[l3 + 8 : l3 + 24])
        dst = bytes(data[l3 + 24 : l3 + 40])
        reject = stack.counters.reject
        if stack.settings.conf6_disable_ipv6:
            stack.counters.ip6.InDiscards += 1
            reject.Ip6Disabled += 1
            return False
        loop = interface.loopback
        if src[0] == 0xFF or (src == LOOPBACK6 and not loop) or is_mapped(src):
            stack.counters.ip6.InHdrErrors += 1
            reject.MartianSource += 1
            return False
        if (
            (dst == LOOPBACK6 and not loop)
            or not any(dst)
            or (dst[0] == 0xFF and (not dst[1] & 0xF or (dst[1] & 0xF == 1 and not loop)))
        ):
            stack.counters.ip6.InHdrErrors += 1
            reject.MartianDestination += 1
            return False
        return True

    def _for_us(self, frame: Frame, interface: Interface, now: int) -> bool:
        """Is this host the destination? Sets the stack's `kind`. What is not is forwarded, or dropped."""
        stack = self.stack
        pkt = self.pkt
        counters = stack.counters
        data = frame.data
        l3 = pkt.l3
        dst = bytes(data[l3 + 24 : l3 + 40])
        if dst[0] == 0xFF:
            counters.ip6.InMcastPkts += 1
            counters.ip6.InMcastOctets += pkt.l3_len
            router = stack.settings.conf6_forwarding and (dst in ROUTERS_GROUPS or dst == anycast.GROUP)
            if stack.kind != LOOPBACK and dst not in interface.groups and not router:
                counters.reject.NotForUs += 1
                return False
            stack.kind = MULTICAST
            return True
        if stack.kind == LOOPBACK:
            stack.kind = HOST
            return True
        owner = stack.local.get(dst)
        if owner is interface or (owner is not None and not is_link_local(dst)):
            if stack.kind == HOST:
                accepted = interface.accepted
                if len(accepted) >= ACCEPTED_MAX:
                    interface.forget()
                accepted[bytes(data[l3 + 8 : l3 + 40])] = True
            return True
        if stack.settings.conf6_forwarding and anycast.ours(stack, interface, dst):
            if pkt.proto == IPPROTO_TCP:
                counters.reject.TransportNotHost += 1
                return False
            return True
        if stack.settings.conf6_forwarding and not is_link_local(dst):
            stack.forward.ipv6(frame, interface, now)
        else:
            counters.ip6.InAddrErrors += 1
            counters.reject.NotForUs += 1
            if stack.routes.lookup(dst) is None:
                stack.icmp6.send_error(frame, interface, DEST_UNREACH, NO_ROUTE, 0, now)  # as Linux's null route does
        return False

    def _deliver(self, frame: Frame, interface: Interface, now: int) -> None:
        """By protocol, raw sockets first."""
        stack = self.stack
        pkt = self.pkt
        proto = pkt.proto
        counters = stack.counters
        taken = stack.raw.input(frame, interface, now) if stack.raw.count else False
        if proto == IPPROTO_TCP:
            counters.ip6.InDelivers += 1
            if stack.kind != HOST:
                counters.reject.TransportNotHost += 1
                return
            stack.tcp.screened_input(pkt, frame, interface, now)
        elif proto == IPPROTO_UDP:
            counters.ip6.InDelivers += 1
            stack.udp.input(frame, interface, now)
        elif proto == IPPROTO_ICMPV6:
            counters.ip6.InDelivers += 1
            stack.icmp6.input(frame, interface, now)
        elif taken:
            counters.ip6.InDelivers += 1
        elif proto == NO_NEXT:
            counters.ip6.InDelivers += 1
            counters.reject.Ip6NoNextHeader += 1
        else:
            counters.ip6.InUnknownProtos += 1
            counters.reject.ProtocolUnknown += 1
            self._problem(frame, interface, UNKNOWN_NEXT_HEADER, pkt.proto_at - pkt.l3, now)

    def _problem(self, frame: Frame, interface: Interface, code: int, pointer: int, now: int) -> None:
        self.stack.icmp6.send_error(frame, interface, PARAMETERPROB, code, pointer, now)

    # Input that parsed badly.

    def options(self, frame: Frame, interface: Interface, now: int) -> None:
        """An extension header that is malformed, asks for what this host does not do, or holds an unknown option whose
        type says that this matters (RFC 8200 sections 4.2 to 4.4; routing type 0: RFC 5095)."""
        stack = self.stack
        pkt = self.pkt
        self._count()
        data = frame.data
        l3 = pkt.l3
        if not self._sane(data, l3, interface):
            return
        # Hop-by-hop options concern every node on the way, the rest only the destination.
        hop = data[l3 + 6] == HOP_BY_HOP and (
            pkt.l3_len < HEADER_LEN + 8
            or pkt.error_at < HEADER_LEN
            or pkt.error_at < HEADER_LEN + (data[l3 + HEADER_LEN + 1] + 1) * 8
        )
        if hop:
            if data[l3 + 24] == 0xFF:
                stack.kind = MULTICAST
            elif stack.kind == LOOPBACK:
                stack.kind = HOST
        elif not self._for_us(frame, interface, now):
            return
        code, at = pkt.icmp_code, pkt.error_at
        counters = stack.counters
        counters.ip6.InHdrErrors += 1
        if code == UNKNOWN_OPTION:
            counters.reject.Ip6Option += 1
            action = data[l3 + at] >> 6
            if action == DISCARD or (action == TELL_UNLESS_MULTICAST and data[l3 + 24] == 0xFF):
                return
        elif code == UNKNOWN_NEXT_HEADER:
            counters.reject.Ip6NextHeader += 1
        else:
            counters.reject.Ip6Extension += 1
            if code == SILENT:
                return
        self._problem(frame, interface, code, at, now)

    def bad_transport(self, frame: Frame, interface: Interface, now: int) -> None:
        """A TCP or UDP header that is truncated, or a checksum that does not match (UDP without one among them: RFC
        8200 section 8.1)."""
        self._count()
        if self._sane(frame.data, self.pkt.l3, interface) and self._for_us(frame, interface, now):
            self._transport_error(self.pkt.verdict, frame, interface, now)

    def _transport_error(self, verdict: int, frame: Frame, interface: Interface, now: int) -> None:
        stack = self.stack
        stack.counters.ip6.InDelivers += 1
        if stack.raw.count:
            stack.raw.input(frame, interface, now)
        stack.count_transport_error(verdict, stack.counters.udp6)

    def fragment(self, frame: Frame, interface: Interface, now: int) -> None:
        """A fragment (RFC 8200 section 4.5). When it completes its packet, that is parsed and delivered. A packet in
        one fragment never comes here: trl_parse looks through it (RFC 6946)."""
        self._count()
        pkt = self.pkt
        data = frame.data
        l3 = pkt.l3
        if not self._sane(data, l3, interface) or not self._for_us(frame, interface, now):
            return
        stack = self.stack
        counters = stack.counters
        counters.ip6.ReasmReqds += 1
        packet = bytes(data[l3 : l3 + pkt.l3_len])
        at = pkt.l4 - l3  # where the fragment's data begins; its header before that
        size = len(packet) - at
        if pkt.frag_offset == 0 and not whole_chain(packet, packet[at - FRAGMENT_LEN], at):
            counters.ip6.InHdrErrors += 1
            counters.reject.FragmentHeaders += 1
            self._problem(frame, interface, HDR_INCOMPLETE, 0, now)
            return
        if pkt.frag_more and size & 7:
            counters.ip6.InHdrErrors += 1
            counters.reject.FragmentInconsistent += 1
            self._problem(frame, interface, HDR_FIELD, 4, now)
            return
        most = MAX_PAYLOAD - (at - FRAGMENT_LEN - HEADER_LEN)
        if pkt.frag_offset + size > most:
            counters.ip6.InHdrErrors += 1
            counters.reject.FragmentTooLong += 1
            self._problem(frame, interface, HDR_FIELD, at - FRAGMENT_LEN + 2, now)
            return
        first = b""
        if pkt.frag_offset == 0:
            first = at.to_bytes(2, "big") + packet[: max(at, MIN_MTU)]
        key = (packet[8:40] + pkt.ip_id.to_bytes(4, "big"), interface.index)
        piece = Piece(pkt.frag_offset, packet[at:], bool(pkt.frag_more), pkt.tos & 3, first, most)
        datagram = self.reassembler.add(key, piece, interface, stack.kind, now)
        if datagram is None:
            return
        packet = self._whole(datagram)
        whole = Frame(packet, (), len(packet), False)
        verdict = lib.trl_parse(_from_buffer(packet), len(packet), 0, pkt)
        if verdict == lib.TRL_OK or verdict == lib.TRL_L4_OTHER:
            self._deliver(whole, interface, now)
        elif verdict == lib.TRL_IP_OPTIONS:
            self._later_options(whole, interface, now)
        elif verdict == lib.TRL_IP_FRAGMENT:
            counters.reject.FragmentInconsistent += 1  # fragments of fragments: nobody makes these in good faith
        else:
            self._transport_error(verdict, whole, interface, now)

    def _later_options(self, frame: Frame, interface: Interface, now: int) -> None:
        """Extension headers behind the fragment header, seen only now."""
        counters = self.stack.counters
        counters.ip6.InHdrErrors += 1
        pkt = self.pkt
        if pkt.icmp_code == UNKNOWN_OPTION:
            counters.reject.Ip6Option += 1
            action = frame.data[pkt.error_at] >> 6
            if action == DISCARD or (action == TELL_UNLESS_MULTICAST and frame.data[24] == 0xFF):
                return
        else:
            counters.reject.Ip6Extension += 1
            if pkt.icmp_code == SILENT:
                return
        self._problem(frame, interface, pkt.icmp_code, pkt.error_at, now)

    @staticmethod
    def _whole(datagram: Datagram) -> bytes:
        """The packet that the fragments were: the first one's headers without the fragment header."""
        at = int.from_bytes(datagram.first[:2], "big")
        first = datagram.first[2:]
        unfragmentable = at - FRAGMENT_LEN
        header = bytearray(first[:unfragmentable])
        word = int.from_bytes(header[0:4], "big")
        tos = datagram.ecn_marked(word >> 20 & 0xFF)
        header[0:4] = (word & 0xF00FFFFF | tos << 20).to_bytes(4, "big")
        header[4:6] = (unfragmentable - HEADER_LEN + datagram.length).to_bytes(2, "big")
        # The octet that said "fragment header" names what followed it.
        name, place = 6, HEADER_LEN
        while place < unfragmentable:
            length = (header[place + 1] + 2) * 4 if header[name] == AUTH else (header[place + 1] + 1) * 8
            name, place = place, place + length
        header[name] = first[unfragmentable]
        return bytes(header) + datagram.payload()

    # Output.

    def next_ident(self, path: Path) -> int:
        """The identification of the next packet in fragments: a counter per pair of addresses, each starting at random
        (RFC 7739 section 5.1)."""
        idents = self._idents
        key = path.dst + path.src
        ident = idents.get(key)
        if ident is None:
            if len(idents) >= IDENT_BUCKETS:
                del idents[next(iter(idents))]
            ident = self.stack.below(1 << 32)
        idents[key] = (ident + 1) & 0xFFFFFFFF
        return ident

    def send(
        self,
        path: Path,
        proto: int,
        payload: bytes | bytearray,
        now: int,
        hop_limit: int = -1,
        tclass: int = 0,
        may_fragment: bool = True,
        flow: int = 0,
        loop: bool = True,
    ) -> bool:
        """One datagram. OSError(EMSGSIZE) when it does not fit and may not be fragmented. False: dropped (and
        counted). loop: what goes to a group that we are in, we hear too (RFC 3493 section 5.2)."""
        if len(payload) > MAX_PAYLOAD:
            raise error(errno.EMSGSIZE, f"{len(payload)} bytes do not fit into an IPv6 packet")
        if hop_limit < 0 and not path.unicast:
            hop_limit = 1
        mtu = path.mtu
        if loop and not path.unicast and not path.local and path.dst in path.interface.groups:
            copy = self._packet(path, proto, payload, hop_limit, tclass, flow)[path.l3 :]
            self.stack.enqueue(self.stack.loopback, Frame(copy, (), len(copy), False))
        if HEADER_LEN + len(payload) <= mtu:
            data = self._packet(path, proto, payload, hop_limit, tclass, flow)
            return path.output(Frame(data, (), len(data), path.l3 > 0), now)
        if not may_fragment:
            self.stack.counters.ip6.FragFails += 1
            self.stack.counters.reject.OutTooBig += 1
            raise error(errno.EMSGSIZE, f"{HEADER_LEN + len(payload)} bytes exceed the path's MTU of {mtu}")
        return self._send_fragments(path, proto, payload, hop_limit, tclass, flow, now)

    @staticmethod
    def _packet(
        path: Path, proto: int, payload: bytes | bytearray | memoryview, hop_limit: int, tclass: int, flow: int
    ) -> bytearray:
        data = bytearray(path.template)
        l3 = path.l3
        data[l3 : l3 + 4] = (6 << 28 | tclass << 20 | flow).to_bytes(4, "big")
        data[l3 + 4 : l3 + 6] = len(payload).to_bytes(2, "big")
        data[l3 + 6] = proto
        if hop_limit >= 0:
            data[l3 + 7] = hop_limit
        data += payload
        return data

    def _send_fragments(
        self, path: Path, proto: int, payload: bytes | bytearray, hop_limit: int, tclass: int, flow: int, now: int
    ) -> bool:
        """Section 4.5: pieces of a multiple of 8 bytes, each behind a fragment header with one identification."""
        ip6 = self.stack.counters.ip6
        ip6.OutRequests += 1
        size = (path.mtu - HEADER_LEN - FRAGMENT_LEN) & ~7
        ident = self.next_ident(path)
        view = memoryview(payload)
        for at in range(0, len(payload), size):
            more = int(at + size < len(payload))
            header = (proto << 56 | (at | more) << 32 | ident).to_bytes(8, "big")
            data = self._packet(path, FRAGMENT, header + bytes(view[at : at + size]), hop_limit, tclass, flow)
            ip6.FragCreates += 1
            ip6.OutTransmits += 1
            ip6.OutOctets += len(data) - path.l3
            if not path.transmit(Frame(data, (), len(data), path.l3 > 0), now):
                ip6.FragFails += 1
                return False
        ip6.FragOKs += 1
        return True
