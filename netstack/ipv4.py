"""IPv4 (RFC 791; host rules of RFC 1122 section 3.2.1; ids by RFC 6864).

Input: `trl_parse` has judged the form. Here the addresses are judged, as Linux's ip_route_input does: is the packet
for this host (else it is forwarded, or dropped), and could its source be true? Then options, reassembly, and delivery
by protocol. What is wrong is dropped and counted: Linux's counter where it has one, and exactly one of the group
`Reject`.

Output: `send` builds one packet, or fragments, from a path; TCP builds its own from the path's template.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from csrc import Frame, ffi, lib
from netstack import ipv4_options
from netstack.address import is_multicast
from netstack.ethernet import BROADCAST, HOST, LOOPBACK, MULTICAST
from netstack.fragment import Datagram, Piece, Reassembler
from netstack.icmp import DEST_UNREACH, PARAMETERPROB, PROT_UNREACH
from netstack.ipv4_header import checksum
from netstack.route import find_path
from netstack.socket import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, error
from netstack.tcp.segment import Plain

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.route import Path
    from netstack.stack import Stack

HEADER_LEN = 20
ETHERNET_BYTES = 14
MAX_TOTAL = 65535
ACCEPTED_MAX = 4096
QUOTED = 576  # bytes of a first fragment kept for an ICMP error
IDENT_BUCKETS = 1024
ALL_SYSTEMS = b"\xe0\x00\x00\x01"
ANY = bytes(4)
IPPROTO_IGMP = 2
LIMITED_BROADCAST = b"\xff" * 4

_from_buffer: Final = ffi.from_buffer
# struct trl_plain; ffi's sizes and Python's are of the same machine, and the struct has no holes.
_plain_fields: Final = struct.Struct("=8s12s9I").unpack


class Ipv4:
    """IPv4 of one stack."""

    __slots__ = ("_idents", "_plain", "options", "pkt", "reassembler", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.pkt = stack.pkt
        self.options: ipv4_options.Options | None = None  # of the packet being received, where it has any
        self._plain = ffi.buffer(stack.plain)
        self.reassembler = Reassembler(stack, 4)
        self._idents: dict[bytes, int] = {}

    # Input.

    def plain_input(self, frame: Frame, interface: Interface, now: int) -> bool:
        """A TCP segment that `trl_parse_plain` took: `input` and `_deliver` for addresses that have passed the checks
        before. False: go the long way."""
        stack = self.stack
        fields: Plain = _plain_fields(self._plain)
        addresses = fields[0]
        if addresses != interface.met:  # mostly they are the last packet's
            if addresses not in interface.accepted:
                return False
            interface.met = addresses
        if stack.raw.ahead:
            return False
        counters = stack.counters
        ip = counters.ip
        ip.InReceives += 1
        ip.InDelivers += 1
        ext = counters.ipext
        ext.InOctets += fields[6] + (fields[8] >> 16) - ETHERNET_BYTES
        ext.InNoECTPkts += frame.gso_segs
        stack.tcp.plain_input(fields, frame, interface, now)
        return True

    def input(self, frame: Frame, interface: Interface, now: int) -> None:
        """A packet that parsed well."""
        pkt = self.pkt
        stack = self.stack
        if pkt.ip_version != 4:
            stack.ipv6.input(frame, interface, now)
            return
        counters = stack.counters
        counters.ip.InReceives += 1
        ext = counters.ipext
        ext.InOctets += pkt.l3_len
        ecn = pkt.tos & 3
        if not ecn:
            ext.InNoECTPkts += frame.gso_segs
        elif ecn == 2:
            ext.InECT0Pkts += frame.gso_segs
        elif ecn == 1:
            ext.InECT1Pkts += frame.gso_segs
        else:
            ext.InCEPkts += frame.gso_segs
        data = frame.data
        l3 = pkt.l3
        if bytes(data[l3 + 12 : l3 + 20]) not in interface.accepted and not self._accept(frame, interface, now):
            return
        if data[l3] != 0x45:
            passed = self._options(frame, interface, now)
            if passed is None:
                return
            frame = passed
        if pkt.proto == IPPROTO_TCP and stack.kind == HOST and not stack.raw.ahead:
            counters.ip.InDelivers += 1
            stack.tcp.input(pkt, frame, interface, now)
        else:
            self._deliver(frame, interface, now)

    def _enter(self, frame: Frame, interface: Interface, now: int, options_are_bad: bool = False) -> bool:
        """The counters and address checks of `input`, for the packets that are out of the ordinary."""
        pkt = self.pkt
        counters = self.stack.counters
        counters.ip.InReceives += 1
        ext = counters.ipext
        ext.InOctets += pkt.l3_len
        name = ("InNoECTPkts", "InECT1Pkts", "InECT0Pkts", "InCEPkts")[pkt.tos & 3]
        setattr(ext, name, getattr(ext, name) + 1)
        return self._accept(frame, interface, now, options_are_bad)

    def _accept(self, frame: Frame, interface: Interface, now: int, options_are_bad: bool = False) -> bool:
        """Is it for us, from a possible source (Linux's ip_route_input_slow)? Sets the stack's `kind`. What is for
        others is forwarded, or dropped (or, with bad options, not yet)."""
        stack = self.stack
        data = frame.data
        l3 = self.pkt.l3
        if stack.kind == LOOPBACK:
            stack.kind = HOST
            dst = bytes(data[l3 + 16 : l3 + 20])
            if is_multicast(dst):
                stack.kind = MULTICAST
            elif stack.is_broadcast(dst):
                stack.kind = BROADCAST
            return True
        reject = stack.counters.reject
        settings = stack.settings
        src = bytes(data[l3 + 12 : l3 + 16])
        dst = bytes(data[l3 + 16 : l3 + 20])
        if is_multicast(src) or src == LIMITED_BROADCAST:
            reject.MartianSource += 1
            return False
        ours = True
        broadcast = dst == LIMITED_BROADCAST or (src == ANY and dst == ANY)
        if not broadcast:
            if src[0] == 0 and not (src == ANY and is_multicast(dst)):
                reject.MartianSource += 1
                return False
            if dst[0] == 0 or (dst[0] == 127 and not settings.conf_route_localnet):
                reject.MartianDestination += 1
                return False
            if src[0] == 127 and not settings.conf_route_localnet:
                reject.MartianSource += 1
                return False
            broadcast = dst in stack.broadcasts
        if is_multicast(dst):
            ext = stack.counters.ipext
            ext.InMcastPkts += 1
            ext.InMcastOctets += self.pkt.l3_len
            if dst != ALL_SYSTEMS:
                reject.NotForUs += 1
                return False
            stack.kind = MULTICAST
        elif broadcast:
            ext = stack.counters.ipext
            ext.InBcastPkts += 1
            ext.InBcastOctets += self.pkt.l3_len
            stack.kind = BROADCAST
        elif dst not in stack.local and dst[0] != 127:
            if not settings.ip_forward:
                stack.counters.ip.InAddrErrors += 1
                reject.NotForUs += 1
                return False
            ours = False
        if src != ANY and not self._source_possible(src, interface):
            return False
        if not ours:
            if options_are_bad:
                return True
            passed = frame if data[l3] == 0x45 else self._options(frame, interface, now)
            if passed is not None:
                stack.forward.ipv4(passed, interface, now)
            return False
        if stack.kind == HOST:
            accepted = interface.accepted
            if len(accepted) >= ACCEPTED_MAX:
                interface.forget()
            accepted[src + dst] = True
        return True

    def _source_possible(self, src: bytes, interface: Interface) -> bool:
        """Linux's fib_validate_source: not ourselves, not a broadcast address, and rp_filter (RFC 3704)."""
        stack = self.stack
        settings = stack.settings
        if (src in stack.local and not settings.conf_accept_local) or src in stack.broadcasts:
            stack.counters.reject.MartianSource += 1
            return False
        mode = settings.conf_rp_filter
        if mode:
            back = stack.routes.lookup(src)
            if back is None or (mode == 1 and back.interface is not interface):
                stack.counters.tcpext.IPReversePathFilter += 1
                stack.counters.reject.MartianSource += 1
                return False
        return True

    def _options(self, frame: Frame, interface: Interface, now: int) -> Frame | None:
        """Options are filled in (`ipv4_options`), in a packet of our own; None when they are wrong, or a source route
        is refused (RFC 1122 section 3.2.1.8, Linux's accept_source_route)."""
        stack = self.stack
        l3 = self.pkt.l3
        header = bytearray(frame.data[l3 : l3 + (frame.data[l3] & 0xF) * 4])
        found = self.options = ipv4_options.read(stack, header, now)
        if found.changed:
            whole = Frame(
                bytes(frame.data[:l3]) + header + bytes(frame.data[l3 + len(header) :]), frame.frags, frame.length,
                frame.ethernet, frame.gso_size, frame.csum_start, frame.csum_offset,
            )  # fmt: skip
            whole.csum_ok, whole.gso_segs = frame.csum_ok, frame.gso_segs
            frame = whole
        if found.fault:
            stack.counters.ip.InHdrErrors += 1
            stack.counters.reject.IpOptions += 1
            stack.icmp.send_error(frame, interface, PARAMETERPROB, 0, found.fault << 24, now)
            return None
        if found.source_route:
            stack.counters.reject.SourceRoute += 1
            return None
        return frame

    def _deliver(self, frame: Frame, interface: Interface, now: int) -> None:
        """By protocol, raw sockets first."""
        stack = self.stack
        pkt = self.pkt
        proto = pkt.proto
        taken = stack.raw.input(frame, interface, now) if stack.raw.count else False
        if proto == IPPROTO_TCP:
            if stack.kind != HOST:
                stack.counters.ip.InDelivers += 1
                stack.counters.reject.TransportNotHost += 1
                return
            stack.counters.ip.InDelivers += 1
            stack.tcp.screened_input(pkt, frame, interface, now)
        elif proto == IPPROTO_UDP:
            stack.counters.ip.InDelivers += 1
            stack.udp.input(frame, interface, now)
        elif proto == IPPROTO_ICMP:
            stack.counters.ip.InDelivers += 1
            stack.icmp.input(frame, interface, now)
        elif taken:
            stack.counters.ip.InDelivers += 1
        elif proto == IPPROTO_IGMP:
            stack.counters.ip.InDelivers += 1
            stack.counters.reject.NotForUs += 1  # this host is in no group that it would have to report
        else:
            stack.counters.ip.InUnknownProtos += 1
            stack.counters.reject.ProtocolUnknown += 1
            stack.icmp.send_error(frame, interface, DEST_UNREACH, PROT_UNREACH, 0, now)

    # Input that parsed badly.

    def short(self, frame: Frame, interface: Interface, now: int) -> None:
        counters = self.stack.counters
        data = frame.data
        l3 = 14 if frame.ethernet else 0
        room = len(data) - l3
        first = data[l3] if room > 0 else 0x40
        if first >> 4 == 6:
            counters.ip6.InReceives += 1
            if room >= 40:
                counters.ip6.InTruncatedPkts += 1
                counters.reject.IpTruncated += 1
            else:
                counters.ip6.InHdrErrors += 1
                counters.reject.IpShort += 1
            return
        counters.ip.InReceives += 1
        if room >= HEADER_LEN and int.from_bytes(data[l3 + 2 : l3 + 4], "big") > room:
            counters.ipext.InTruncatedPkts += 1
            counters.reject.IpTruncated += 1
        else:
            counters.ip.InHdrErrors += 1
            counters.reject.IpShort += 1

    def bad_version(self, frame: Frame, interface: Interface, now: int) -> None:
        self._header_error(frame)
        self.stack.counters.reject.IpVersion += 1

    def bad_header_length(self, frame: Frame, interface: Interface, now: int) -> None:
        self._header_error(frame)
        self.stack.counters.reject.IpHeaderLen += 1

    def bad_checksum(self, frame: Frame, interface: Interface, now: int) -> None:
        self._header_error(frame)
        self.stack.counters.ipext.InCsumErrors += 1
        self.stack.counters.reject.IpChecksum += 1

    def _header_error(self, frame: Frame) -> None:
        group = self.stack.counters.ip6 if frame.ethernet and self.pkt.ethertype == 0x86DD else self.stack.counters.ip
        group.InReceives += 1
        group.InHdrErrors += 1

    def bad_options(self, frame: Frame, interface: Interface, now: int) -> None:
        """A malformed option list: parameter problem, with the place (RFC 1122 section 3.2.2.5)."""
        if self.pkt.ip_version != 4:
            self.stack.ipv6.options(frame, interface, now)
            return
        if not self._enter(frame, interface, now, True):
            return
        self._options(frame, interface, now)

    def bad_transport(self, frame: Frame, interface: Interface, now: int) -> None:
        """A TCP or UDP header that is truncated, or a checksum that does not match."""
        if self.pkt.ip_version != 4:
            self.stack.ipv6.bad_transport(frame, interface, now)
            return
        if not self._enter(frame, interface, now):
            return
        if frame.data[self.pkt.l3] != 0x45:
            passed = self._options(frame, interface, now)
            if passed is None:
                return
            frame = passed
        self._transport_error(self.pkt.verdict, frame, interface, now)

    def _transport_error(self, verdict: int, frame: Frame, interface: Interface, now: int) -> None:
        stack = self.stack
        counters = stack.counters
        counters.ip.InDelivers += 1
        if stack.raw.count:
            stack.raw.input(frame, interface, now)
        stack.count_transport_error(verdict, counters.udp)

    def fragment(self, frame: Frame, interface: Interface, now: int) -> None:
        """A fragment. When it completes its datagram, that is parsed and delivered."""
        if self.pkt.ip_version != 4:
            self.stack.ipv6.fragment(frame, interface, now)
            return
        if not self._enter(frame, interface, now):
            return
        pkt = self.pkt
        data = frame.data
        l3 = pkt.l3
        if data[l3] != 0x45:
            passed = self._options(frame, interface, now)
            if passed is None:
                return
            data = passed.data
        self.stack.counters.ip.ReasmReqds += 1
        packet = bytes(data[l3 : l3 + pkt.l3_len])
        head = pkt.l4 - l3
        end = len(packet) if not pkt.frag_more else head + (len(packet) - head & ~7)
        key = (packet[12:20] + packet[4:6] + packet[9:10], interface.index)
        piece = Piece(
            pkt.frag_offset, packet[head:end], bool(pkt.frag_more), pkt.tos & 3, packet[: head + QUOTED], MAX_TOTAL -
            head
        )
        datagram = self.reassembler.add(key, piece, interface, self.stack.kind, now)
        if datagram is None:
            return
        packet = self._whole(datagram)
        whole = Frame(packet, (), len(packet), False)
        self.options = None
        verdict = lib.trl_parse(_from_buffer(packet), len(packet), 0, pkt)
        if verdict == lib.TRL_OK or verdict == lib.TRL_L4_OTHER:
            self._deliver(whole, interface, now)
        elif verdict == lib.TRL_IP_OPTIONS:
            self.stack.counters.ip.InHdrErrors += 1
            self.stack.counters.reject.IpOptions += 1
        else:
            self._transport_error(verdict, whole, interface, now)

    @staticmethod
    def _whole(datagram: Datagram) -> bytes:
        """The packet that the fragments were: the first one's header, made good."""
        first = datagram.first
        head = (first[0] & 0xF) * 4
        header = bytearray(first[:head])
        header[1] = datagram.ecn_marked(header[1])
        header[2:4] = (head + datagram.length).to_bytes(2, "big")
        header[6:8] = b"\0\0"
        header[10:12] = b"\0\0"
        header[10:12] = checksum(header).to_bytes(2, "big")
        return bytes(header) + datagram.payload()

    # Output.

    def next_ident(self, path: Path, proto: int) -> int:
        """The identification of the next packet that may be fragmented: a counter per destination and protocol, each
        starting at random (RFC 6864, RFC 7739's reasons)."""
        idents = self._idents
        key = path.dst + path.src + bytes((proto,))
        ident = idents.get(key)
        if ident is None:
            if len(idents) >= IDENT_BUCKETS:
                del idents[next(iter(idents))]
            ident = self.stack.below(65536)
        idents[key] = (ident + 1) & 0xFFFF
        return ident

    def send(
        self,
        path: Path,
        proto: int,
        payload: bytes | bytearray,
        now: int,
        ttl: int = -1,
        tos: int = 0,
        dont_fragment: bool = False,
        may_fragment: bool = True,
        options: bytes = b"",
    ) -> bool:
        """One datagram, with these options (a multiple of four bytes). OSError(EMSGSIZE) when it does not fit and may
        not be fragmented. False: dropped (and counted)."""
        total = HEADER_LEN + len(options) + len(payload)
        if total > MAX_TOTAL:
            raise error(errno.EMSGSIZE, f"{total} bytes do not fit into an IPv4 packet")
        mtu = path.mtu
        if total > mtu and not may_fragment:
            self.stack.counters.ip.FragFails += 1
            self.stack.counters.reject.OutTooBig += 1
            raise error(errno.EMSGSIZE, f"{total} bytes exceed the path's MTU of {mtu}")
        ident = 0 if dont_fragment else self.next_ident(path, proto)
        if not path.unicast and not path.local and self.stack.is_broadcast(path.dst):
            # Everybody on the link, and so we (Linux's ip_mc_output).
            copy = self._packet(path, proto, payload, ttl, tos, ident, 0, options)[path.l3 :]
            self.stack.enqueue(self.stack.loopback, Frame(copy, (), len(copy), False))
        if total <= mtu:
            data = self._packet(path, proto, payload, ttl, tos, ident, 0x4000 if dont_fragment else 0, options)
            return path.output(Frame(data, (), len(data), path.l3 > 0), now)
        return self._send_fragments(path, proto, payload, ttl, tos, ident, now, options)

    @staticmethod
    def _packet(
        path: Path, proto: int, payload: bytes | bytearray | memoryview, ttl: int, tos: int, ident: int, frag: int,
        options: bytes = b"",
    ) -> bytearray:  # fmt: skip
        data = bytearray(path.template)
        l3 = path.l3
        if options:
            data[l3] += len(options) >> 2
            data += options
        data[l3 + 1] = tos
        data[l3 + 2 : l3 + 4] = (len(data) - l3 + len(payload)).to_bytes(2, "big")
        data[l3 + 4 : l3 + 6] = ident.to_bytes(2, "big")
        data[l3 + 6 : l3 + 8] = frag.to_bytes(2, "big")
        if ttl >= 0:
            data[l3 + 8] = ttl
        data[l3 + 9] = proto
        data[l3 + 10 : l3 + 12] = checksum(data[l3:]).to_bytes(2, "big")
        data += payload
        return data

    def _send_fragments(
        self, path: Path, proto: int, payload: bytes | bytearray, ttl: int, tos: int, ident: int, now: int,
        options: bytes = b"",
    ) -> bool:  # fmt: skip
        """RFC 791 section 2.3: pieces of a multiple of 8 bytes, all with one identification."""
        counters = self.stack.counters
        ip = counters.ip
        ip.OutRequests += 1
        size = (path.mtu - HEADER_LEN - len(options)) & ~7
        view = memoryview(payload)
        for at in range(0, len(payload), size):
            piece = view[at : at + size]
            more = 0x2000 if at + size < len(payload) else 0
            data = self._packet(path, proto, piece, ttl, tos, ident, more | at >> 3, options)
            options = ipv4_options.without(options) if options and not at else options
            ip.FragCreates += 1
            ip.OutTransmits += 1
            counters.ipext.OutOctets += len(data) - path.l3
            if not path.transmit(Frame(data, (), len(data), path.l3 > 0), now):
                ip.FragFails += 1
                return False
        ip.FragOKs += 1
        return True

    def path(self, dst: bytes, src: bytes | None, interface: Interface | None, now: int) -> Path:
        return find_path(self.stack, dst, src, interface, now)
