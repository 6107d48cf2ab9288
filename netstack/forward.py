"""Forwarding: this host as a router (RFC 1812 section 5.2, RFC 8200; Linux's ip_forward and ip6_forward).

With `ip_forward` (IPv4) or `conf.all.forwarding` (IPv6), a packet that came to our MAC but is not for us goes on by the
longest matching prefix, with one hop less to live. The packet stays as it is: nothing is reassembled, no transport
checksum is looked at, and a super-segment stays one, its partial checksum too, when each of its frames fits the next
link.

What is not forwarded: packets that came as link-layer broadcast or to a group, broadcasts and groups in IP, sources
that cannot be true (ipv4.py, ipv6.py), and IPv6's link-local addresses, which are good on one link only. The sender
hears of an end of life (time exceeded), of a missing route (unreachable), and of a packet that is too big and may not
be cut: IPv4's with DF, and every IPv6 packet (fragmentation needed, packet too big); and that there is a nearer way,
when one leaves by the link that it came from (redirect.py).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from csrc import Frame, lib
from netstack import icmp, icmpv6, ipv4_options
from netstack.address import is_link_local, is_multicast
from netstack.ethernet import HOST
from netstack.ipv4_header import checksum
from netstack.route import BLACKHOLE, REFUSALS, Path, find_path
from netstack.socket import IPPROTO_TCP

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

PATHS_MAX = 1024
UNREACHABLE4 = {errno.EHOSTUNREACH: icmp.HOST_UNREACH, errno.EACCES: 13}  # 13: administratively prohibited
UNREACHABLE6 = {errno.EHOSTUNREACH: icmpv6.ADDRESS_UNREACH, errno.EACCES: icmpv6.ADMIN_PROHIBITED}


class Forward:
    """What goes through one stack."""

    __slots__ = ("_paths", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._paths: dict[bytes, Path] = {}  # by destination

    def path(self, dst: bytes, now: int) -> Path:
        """As find_path, kept while routes do not change."""
        path = self._paths.get(dst)
        if path is None or path.generation != self.stack.routes.generation:
            if len(self._paths) >= PATHS_MAX:
                self._paths.clear()
            path = self._paths[dst] = find_path(self.stack, dst, None, None, now, transit=True)
        return path

    # IPv4.

    def ipv4(self, frame: Frame, interface: Interface, now: int) -> None:
        """A packet whose addresses passed, to somebody else."""
        stack = self.stack
        pkt = stack.pkt
        counters = stack.counters
        if stack.kind != HOST:
            counters.reject.NotForwarded += 1
            return
        if pkt.ttl <= 1:
            counters.ip.InHdrErrors += 1
            counters.reject.HopLimit += 1
            stack.icmp.send_error(frame, interface, icmp.TIME_EXCEEDED, icmp.EXC_TTL, 0, now)
            return
        dst = stack.dst16[:4]
        try:
            path = self.path(dst, now)
        except OSError as why:
            code = why.errno or 0
            counters.ipext.InNoRoutes += 1
            counters.reject.NoRoute += 1
            if code != REFUSALS[BLACKHOLE]:  # a blackhole says nothing
                stack.icmp.send_error(
                    frame, interface, icmp.DEST_UNREACH, UNREACHABLE4.get(code, icmp.NET_UNREACH), 0, now
                )
            return
        mtu = self._mtu(path, stack.settings.ip_forward_use_pmtu)
        packet = self._packet(frame, path)
        l3 = path.l3
        whole = self._fits(frame, mtu)
        if not whole and pkt.dont_fragment:
            counters.ip.FragFails += 1
            counters.reject.TooBig += 1
            stack.icmp.send_error(frame, interface, icmp.DEST_UNREACH, icmp.FRAG_NEEDED, mtu, now)
            return
        data = packet.data
        old = data[l3 + 8] << 8 | data[l3 + 9]
        data[l3 + 8] -= 1
        sum_ = lib.trl_checksum_update16(data[l3 + 10] << 8 | data[l3 + 11], old, old - 256)
        data[l3 + 10 : l3 + 12] = sum_.to_bytes(2, "big")
        if path.interface is interface:
            stack.redirects.tell(packet, interface, path, now)
        found = stack.ipv4.options
        if data[l3] != 0x45 and found is not None and found.changed:
            ipv4_options.forwarded(found, data, l3, path.src)
            data[l3 + 10 : l3 + 12] = b"\0\0"
            sum_ = checksum(data[l3 : l3 + (data[l3] & 0xF) * 4])
            data[l3 + 10 : l3 + 12] = sum_.to_bytes(2, "big")
        counters.ip.ForwDatagrams += 1
        if whole:
            counters.ip.OutTransmits += 1
            counters.ipext.OutOctets += packet.length - l3
            path.transmit(packet, now)
        else:
            for image in packet.segments():
                self._fragment(path, image, mtu, now)

    def _fragment(self, path: Path, image: bytes, mtu: int, now: int) -> None:
        """RFC 791 section 3.2, of a packet that may be a fragment itself; options that say so are in every piece
        (section 3.1), the others in the first."""
        counters = self.stack.counters
        l3 = path.l3
        link = image[:l3]
        packet = memoryview(image)[l3:]
        head = (packet[0] & 0xF) * 4
        if len(packet) <= mtu:
            counters.ip.OutTransmits += 1
            counters.ipext.OutOctets += len(packet)
            path.transmit(Frame(bytearray(image), (), len(image), l3 > 0), now)
            return
        word = packet[6] << 8 | packet[7]
        header = bytes(packet[:head])
        body = packet[head:]
        at = 0
        while at < len(body):
            size = (mtu - len(header)) & ~7
            last = at + size >= len(body)
            piece = bytearray(link) + header + bytes(body[at : at + size])
            offset = (word & 0x1FFF) + (at >> 3)
            flags = word & 0xE000 | (0 if last else 0x2000)
            piece[l3 + 2 : l3 + 4] = (len(piece) - l3).to_bytes(2, "big")
            piece[l3 + 6 : l3 + 8] = (flags | offset).to_bytes(2, "big")
            piece[l3 + 10 : l3 + 12] = b"\0\0"
            end = l3 + len(header)
            piece[l3 + 10 : l3 + 12] = checksum(piece[l3:end]).to_bytes(2, "big")
            counters.ip.FragCreates += 1
            counters.ip.OutTransmits += 1
            counters.ipext.OutOctets += len(piece) - l3
            if not path.transmit(Frame(piece, (), len(piece), l3 > 0), now):
                counters.ip.FragFails += 1
                return
            if at == 0 and head > 20:
                header = copied_options(header)
            at += size
        counters.ip.FragOKs += 1

    # IPv6.

    def ipv6(self, frame: Frame, interface: Interface, now: int) -> None:
        """A packet whose addresses passed and whose hop-by-hop options are understood, to somebody else."""
        stack = self.stack
        pkt = stack.pkt
        counters = stack.counters
        src, dst = stack.src16[:], stack.dst16[:]
        if stack.kind != HOST or not any(src) or is_link_local(dst) or is_multicast(dst):
            counters.reject.NotForwarded += 1
            return
        if pkt.ttl <= 1:
            counters.ip6.InHdrErrors += 1
            counters.reject.HopLimit += 1
            stack.icmp6.send_error(frame, interface, icmpv6.TIME_EXCEEDED, icmpv6.EXC_HOP_LIMIT, 0, now)
            return
        try:
            path = self.path(dst, now)
        except OSError as why:
            code = why.errno or 0
            counters.ip6.InNoRoutes += 1
            counters.reject.NoRoute += 1
            if code != REFUSALS[BLACKHOLE]:
                stack.icmp6.send_error(
                    frame, interface, icmpv6.DEST_UNREACH, UNREACHABLE6.get(code, icmpv6.NO_ROUTE), 0, now
                )
            return
        if path.interface is interface:
            stack.redirects.tell6(frame, interface, path, now)
        elif is_link_local(src):
            counters.ip6.InAddrErrors += 1
            counters.reject.NotForwarded += 1
            stack.icmp6.send_error(frame, interface, icmpv6.DEST_UNREACH, icmpv6.BEYOND_SCOPE, 0, now)
            return
        mtu = max(self._mtu(path, 1), icmpv6.MIN_MTU)
        if not self._fits(frame, mtu):
            counters.ip6.InTooBigErrors += 1
            counters.ip6.FragFails += 1
            counters.reject.TooBig += 1
            stack.icmp6.send_error(frame, interface, icmpv6.PACKET_TOO_BIG, 0, mtu, now)
            return
        packet = self._packet(frame, path)
        packet.data[path.l3 + 7] -= 1
        counters.ip6.OutForwDatagrams += 1
        counters.ip6.OutTransmits += 1
        counters.ip6.OutOctets += packet.length - path.l3
        path.transmit(packet, now)

    # Both.

    @staticmethod
    def _mtu(path: Path, learnt: int) -> int:
        """Of the next link; what ICMP taught our own connections about the path counts only when asked for."""
        if learnt:
            return path.mtu
        mtu: int = path.metrics.get("mtu", 0) or path.link_mtu
        return mtu

    def _fits(self, frame: Frame, mtu: int) -> bool:
        """Whether the packet, or each segment of a super-segment, fits."""
        pkt = self.stack.pkt
        if not frame.gso_size or pkt.proto != IPPROTO_TCP:
            return bool(pkt.l3_len <= mtu)
        headers = pkt.l4 - pkt.l3 + (frame.data[pkt.l4 + 12] >> 4) * 4
        return bool(headers + frame.gso_size <= mtu)

    def _packet(self, frame: Frame, path: Path) -> Frame:
        """A copy, behind the link header of the next hop."""
        pkt = self.stack.pkt
        link = path.template[: path.l3]
        data = bytearray(link)
        data += memoryview(frame.data)[pkt.l3 : pkt.l3 + pkt.l3_len]
        start = frame.csum_start + path.l3 - pkt.l3 if frame.csum_start else 0
        return Frame(data, (), len(data), path.l3 > 0, frame.gso_size, start, frame.csum_offset)


def copied_options(header: bytes) -> bytes:
    """The header of the fragments that follow the first: only the options with the copy bit."""
    kept = bytearray()
    at, end = 20, len(header)
    while at < end and header[at]:
        size = 1 if header[at] == 1 else header[at + 1]
        if header[at] & 0x80:
            kept += header[at : at + size]
        at += size
    kept += bytes(-len(kept) % 4)
    return bytes((header[0] & 0xF0 | (20 + len(kept)) >> 2,)) + header[1:20] + bytes(kept)
