"""ICMP (RFC 792; RFC 1122 section 3.2.2, RFC 1812 section 4.3.2): echo, timestamp, and errors in both directions.

Errors out: never about an ICMP error, a packet to a group or broadcast address (in IP or on the link), a fragment
other than the first, or a source that is not one host. They quote as much as fits into 576 bytes, and those of the
types in `icmp_ratemask` are rate limited (icmp_limit.py).

Errors in: the quoted packet must be one that this host could have sent; then the transport protocol is given an
`IcmpError` and looks for the socket that sent it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from csrc import Frame, ffi, lib
from netstack import ipv4_options
from netstack.address import is_loopback, is_multicast
from netstack.ethernet import HOST
from netstack.route import find_path
from netstack.socket import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack

ECHOREPLY, DEST_UNREACH, SOURCE_QUENCH, REDIRECT, ECHO, TIME_EXCEEDED, PARAMETERPROB = 0, 3, 4, 5, 8, 11, 12
TIMESTAMP, TIMESTAMPREPLY, ADDRESS, ADDRESSREPLY = 13, 14, 17, 18
NET_UNREACH, HOST_UNREACH, PROT_UNREACH, PORT_UNREACH, FRAG_NEEDED = range(5)
EXC_TTL, EXC_FRAGTIME = 0, 1
NR_TYPES = 18
ERRORS = (DEST_UNREACH, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETERPROB)

# Destination unreachable by code: the errno, and whether it is fatal to a connected socket (Linux's icmp_err_convert).
UNREACHABLE = (
    (errno.ENETUNREACH, False), (errno.EHOSTUNREACH, False), (errno.ENOPROTOOPT, True), (errno.ECONNREFUSED, True),
    (errno.EMSGSIZE, False), (errno.EOPNOTSUPP, False), (errno.ENETUNREACH, True), (errno.EHOSTDOWN, True),
    (errno.ENONET, True), (errno.ENETUNREACH, True), (errno.EHOSTUNREACH, True), (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False), (errno.EHOSTUNREACH, True), (errno.EHOSTUNREACH, True), (errno.EHOSTUNREACH, True),
)  # fmt: skip

IN_COUNTERS = {
    0: "InEchoReps", 3: "InDestUnreachs", 4: "InSrcQuenchs", 5: "InRedirects", 8: "InEchos", 11: "InTimeExcds",
    12: "InParmProbs", 13: "InTimestamps", 14: "InTimestampReps", 17: "InAddrMasks", 18: "InAddrMaskReps",
}  # fmt: skip
OUT_COUNTERS = {
    0: "OutEchoReps", 3: "OutDestUnreachs", 4: "OutSrcQuenchs", 5: "OutRedirects", 8: "OutEchos", 11: "OutTimeExcds",
    12: "OutParmProbs", 13: "OutTimestamps", 14: "OutTimestampReps", 17: "OutAddrMasks", 18: "OutAddrMaskReps",
}  # fmt: skip

MS = 1_000_000
QUOTE_ROOM = 576 - 20 - 8


# ICMPv6 destination unreachable by code (Linux's icmpv6_err_convert; RFC 4443 section 3.1).
UNREACHABLE6 = (
    (errno.ENETUNREACH, False), (errno.EACCES, True), (errno.EHOSTUNREACH, False), (errno.EHOSTUNREACH, False),
    (errno.ECONNREFUSED, True), (errno.EACCES, True), (errno.EACCES, True),
)  # fmt: skip
DEST_UNREACH6, PACKET_TOO_BIG6, TIME_EXCEEDED6, PARAMETERPROB6 = 1, 2, 3, 4


class IcmpError:
    """An error about a packet of ours, as a transport protocol gets it. `key` is (local, remote) as in
    `trl_pkt.key`. `ttl`: in IPv4 that of the quoted packet, in IPv6 the hop limit of the error (what Linux holds
    against IP_MINTTL and IPV6_MINHOPCOUNT)."""

    __slots__ = (
        "code", "dst", "errno", "fatal", "key", "l4", "mtu", "proto", "sender", "src", "ttl", "type", "version",
    )  # fmt: skip

    def __init__(
        self, version: int, type: int, code: int, src: bytes, dst: bytes, proto: int, l4: bytes, mtu: int,
        sender: bytes, ttl: int = 255,
    ) -> None:  # fmt: skip
        self.version = version
        self.type = type
        self.code = code
        self.src = src  # of the quoted packet: our address
        self.dst = dst  # of the quoted packet: the peer
        self.proto = proto
        self.l4 = l4  # the quoted transport header: at least 8 bytes
        self.ttl = ttl
        self.mtu = mtu  # of a fragmentation-needed message, else 0
        self.sender = sender  # who says so
        self.key = src + dst + l4[0:4]
        self.errno, self.fatal = verdict_of(type, code) if version == 4 else verdict6_of(type, code)

    @property
    def frag_needed(self) -> bool:
        """The path takes no more than `mtu`: fragmentation needed, or IPv6's packet too big."""
        if self.version == 6:
            return self.type == PACKET_TOO_BIG6
        return self.type == DEST_UNREACH and self.code == FRAG_NEEDED

    @property
    def host_unreachable(self) -> bool:
        if self.version == 6:
            return self.type == DEST_UNREACH6 and self.code == 3
        return self.type == DEST_UNREACH and self.code == HOST_UNREACH


def verdict_of(type: int, code: int) -> tuple[int, bool]:
    """errno and fatality of an ICMPv4 error."""
    if type == DEST_UNREACH and code < len(UNREACHABLE):
        return UNREACHABLE[code]
    if type == PARAMETERPROB:
        return errno.EPROTO, True
    return errno.EHOSTUNREACH, False


def verdict6_of(type: int, code: int) -> tuple[int, bool]:
    """errno and fatality of an ICMPv6 error."""
    if type == DEST_UNREACH6:
        return UNREACHABLE6[code] if code < len(UNREACHABLE6) else (errno.EPROTO, True)
    if type == PACKET_TOO_BIG6:
        return errno.EMSGSIZE, False
    return (errno.EPROTO, True) if type == PARAMETERPROB6 else (errno.EHOSTUNREACH, False)


def hand_up(stack: Stack, error: IcmpError, now: int) -> None:
    """Give it to the sockets it concerns: every raw one of the protocol, and the one that sent the quoted packet."""
    taken = bool(stack.raw.count and stack.raw.icmp_error(error, now))
    counters: Any = stack.counters.icmp if error.version == 4 else stack.counters.icmp6
    if error.proto == IPPROTO_TCP:
        stack.tcp.icmp_error(error, now)
    elif error.proto == IPPROTO_UDP:
        if not stack.udp.icmp_error(error, now) and not taken:
            counters.InErrors += 1
            stack.counters.reject.IcmpNotMatched += 1
    elif not taken:
        stack.counters.reject.IcmpNotMatched += 1


class Icmp:
    """ICMPv4 of one stack."""

    __slots__ = ("stack",)

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    # Input.

    def input(self, frame: Frame, interface: Interface, now: int) -> None:
        """One ICMP message to this host."""
        stack = self.stack
        pkt = stack.pkt
        counters = stack.counters
        icmp = counters.icmp
        reject = counters.reject
        icmp.InMsgs += 1
        l3 = pkt.l3
        message = bytes(frame.data[pkt.payload : pkt.payload + pkt.payload_len])
        # On lo, and from a device that vouches, a checksum may not have been completed; ICMP's always is.
        if len(message) < 8:
            icmp.InErrors += 1
            reject.IcmpShort += 1
            return
        if lib.trl_checksum(ffi.from_buffer(message), len(message), 0) != 0:
            icmp.InCsumErrors += 1
            icmp.InErrors += 1
            reject.IcmpChecksum += 1
            return
        kind, code = message[0], message[1]
        name = f"InType{kind}"
        counters.icmpmsg[name] = counters.icmpmsg.get(name, 0) + 1
        if kind > NR_TYPES or kind not in IN_COUNTERS:
            if kind > NR_TYPES:
                icmp.InErrors += 1
            reject.IcmpTypeUnknown += 1
            return
        setattr(icmp, IN_COUNTERS[kind], getattr(icmp, IN_COUNTERS[kind]) + 1)
        src = bytes(frame.data[l3 + 12 : l3 + 16])
        dst = bytes(frame.data[l3 + 16 : l3 + 20])
        if stack.kind != HOST and (is_multicast(dst) or stack.is_broadcast(dst)):
            ignore = stack.settings.icmp_echo_ignore_broadcasts
            if (kind in (ECHO, TIMESTAMP) and ignore) or kind not in (ECHO, TIMESTAMP, ADDRESS, ADDRESSREPLY):
                icmp.InErrors += 1
                reject.IcmpBroadcast += 1
                return
        if kind == ECHO:
            if stack.settings.icmp_echo_ignore_all:
                reject.IcmpIgnored += 1
                return
            self._reply(ECHOREPLY, code, message[4:], src, dst, pkt.tos, now)  # Linux hands the code back too
        elif kind == TIMESTAMP:
            self._timestamp(message, src, dst, pkt.tos, now)
        elif kind in (DEST_UNREACH, TIME_EXCEEDED, PARAMETERPROB, REDIRECT):
            self._error_in(kind, code, message, src, now)
        elif kind == SOURCE_QUENCH:
            reject.IcmpIgnored += 1  # RFC 6633

    def _timestamp(self, message: bytes, src: bytes, dst: bytes, tos: int, now: int) -> None:
        """RFC 792: milliseconds since midnight UT, or any clock with the top bit set: ours is `now`."""
        if len(message) < 12:  # the time that comes back has to be there; Linux wants no more
            self.stack.counters.icmp.InErrors += 1
            self.stack.counters.reject.IcmpShort += 1
            return
        stamp = (0x80000000 | now // MS & 0x7FFFFFFF).to_bytes(4, "big")
        self._reply(TIMESTAMPREPLY, 0, message[4:12] + stamp + stamp, src, dst, tos, now)

    def _reply(self, kind: int, code: int, rest: bytes, to: bytes, mine: bytes, tos: int, now: int) -> None:
        """Answer from the address that was asked, unless that was a group (RFC 1122 section 3.2.2.6)."""
        stack = self.stack
        if is_multicast(to) or not any(to) or stack.is_broadcast(to):
            stack.counters.reject.IcmpIgnored += 1
            return
        source = mine if stack.is_local(mine) and not is_multicast(mine) else None
        found = stack.ipv4.options if stack.pkt.ip_options else None
        echoed = ipv4_options.echo(stack, found) if found is not None else None
        if found is None or echoed is not None:
            self.send(kind, code, rest, to, source, tos, now, echoed)

    def send(
        self, kind: int, code: int, rest: bytes, to: bytes, source: bytes | None, tos: int, now: int,
        echoed: ipv4_options.Echo | None = None,
    ) -> bool:  # fmt: skip
        """One message: type, code, checksum, and `rest` (from the fifth byte on); the options of what it answers."""
        stack = self.stack
        icmp = stack.counters.icmp
        try:
            path = find_path(stack, to, source, None, now)
            body = bytearray((kind, code, 0, 0)) + rest
            body[2:4] = lib.trl_checksum(ffi.from_buffer(body), len(body), 0).to_bytes(2, "big")
            options = echoed.fill(stack, path.src) if echoed is not None else b""
            stack.ipv4.send(path, IPPROTO_ICMP, body, now, tos=tos, options=options)
        except OSError:
            icmp.OutErrors += 1
            return False
        icmp.OutMsgs += 1
        name = OUT_COUNTERS.get(kind)
        if name is not None:
            setattr(icmp, name, getattr(icmp, name) + 1)
        stack.counters.icmpmsg[f"OutType{kind}"] = stack.counters.icmpmsg.get(f"OutType{kind}", 0) + 1
        return True

    def _error_in(self, kind: int, code: int, message: bytes, sender: bytes, now: int) -> None:
        stack = self.stack
        reject = stack.counters.reject
        quote = message[8:]
        header_len = (quote[0] & 0xF) * 4 if quote else 0
        if len(quote) < 20 or quote[0] >> 4 != 4 or header_len < 20 or len(quote) < header_len + 8:
            stack.counters.icmp.InErrors += 1
            reject.IcmpQuoteBad += 1
            return
        if (kind == DEST_UNREACH and code > 15) or (quote[6] & 0x1F or quote[7]):
            reject.IcmpQuoteBad += 1  # of a later fragment nothing can be matched
            return
        src, dst = quote[12:16], quote[16:20]
        if not stack.is_local(src):
            reject.IcmpNotMatched += 1
            return
        mtu = 0
        if kind == DEST_UNREACH and code == FRAG_NEEDED:
            mtu = int.from_bytes(message[6:8], "big")
            mode = stack.settings.ip_no_pmtu_disc
            if mode == 2 or (mode == 3 and quote[9] != IPPROTO_TCP):  # 3: only where it can be told from a forged one
                reject.IcmpIgnored += 1
                return
            if mode == 1:
                mtu = 0  # route/min_pmtu, whatever it says (ip-sysctl)
        error = IcmpError(4, kind, code, src, dst, quote[9], quote[header_len:], mtu, sender, quote[8])
        if kind == REDIRECT:
            stack.redirects.arrived(error, message[4:8], now)
        else:
            hand_up(stack, error, now)

    def link_failure(self, frame: Frame, now: int) -> None:
        """No neighbour answered for this frame: host unreachable, told by ourselves."""
        data = bytes(frame.data)
        l3 = 14 if frame.ethernet else 0
        if len(data) < l3 + 20 or data[l3] >> 4 != 4:
            return
        header_len = (data[l3] & 0xF) * 4
        l4 = data[l3 + header_len :] + b"".join(bytes(f[:8]) for f in frame.frags[:1])
        if (data[l3 + 6] & 0x1F or data[l3 + 7]) or len(l4) < 8:
            return
        src, dst = data[l3 + 12 : l3 + 16], data[l3 + 16 : l3 + 20]
        stack = self.stack
        if not stack.is_local(src):
            self._send_error(frame, stack.loopback, DEST_UNREACH, HOST_UNREACH, 0, now)  # we forward it
            return
        error = IcmpError(4, DEST_UNREACH, HOST_UNREACH, src, dst, data[l3 + 9], l4, 0, src, data[l3 + 8])
        if stack.raw.count:
            stack.raw.icmp_error(error, now)
        if error.proto == IPPROTO_TCP:
            # Our own finding, no router's opinion: it ends an attempt to connect, as on Linux.
            error.fatal = True
            stack.tcp.icmp_error(error, now)
        elif error.proto == IPPROTO_UDP:
            stack.udp.icmp_error(error, now)

    # Errors out.

    def send_error(self, frame: Frame, interface: Interface, kind: int, code: int, info: int, now: int) -> bool:
        """Tell the source of the packet just received. `info` is the second word. False: the rules or a limit forbid
        it."""
        stack = self.stack
        found = stack.ipv4.options if stack.pkt.ip_options else None
        return stack.kind == HOST and self._send_error(frame, interface, kind, code, info, now, found)

    def reassembly_timeout(self, frame: Frame, interface: Interface, now: int) -> None:
        self._send_error(frame, interface, TIME_EXCEEDED, EXC_FRAGTIME, 0, now)

    def _send_error(
        self, frame: Frame, interface: Interface, kind: int, code: int, info: int, now: int,
        found: ipv4_options.Options | None = None,
    ) -> bool:  # fmt: skip
        stack = self.stack
        l3 = 14 if frame.ethernet else 0
        packet = bytes(frame.data[l3 : l3 + 20 + 40 + QUOTE_ROOM])
        header_len = (packet[0] & 0xF) * 4
        total = int.from_bytes(packet[2:4], "big")
        src, dst = packet[12:16], packet[16:20]
        if (packet[6] & 0x1F) or packet[7]:
            return False
        if packet[9] == IPPROTO_ICMP and (
            len(packet) <= header_len or packet[header_len] in ERRORS or packet[header_len] > NR_TYPES
        ):
            return False
        if is_multicast(dst) or stack.is_broadcast(dst):
            return False
        if src[0] == 0 or is_multicast(src) or src == b"\xff" * 4 or stack.is_broadcast(src):
            return False
        if is_loopback(src) and not interface.loopback:
            return False
        if not self._allowed(kind, code, src, now):
            return False
        echoed = None
        if found is not None:
            echoed = ipv4_options.echo(stack, found)
            if echoed is None:
                return False
        quoted = packet[: min(total, QUOTE_ROOM - (len(echoed.data) if echoed is not None else 0))]
        source = dst if stack.is_local(dst) else None
        tos = packet[1] & 0x1E | 0xC0  # RFC 1812 section 4.3.2.5: precedence of internetwork control
        return self.send(kind, code, info.to_bytes(4, "big") + quoted, src, source, tos, now, echoed)

    def _allowed(self, kind: int, code: int, to: bytes, now: int) -> bool:
        """Whether the rate limits let this error go."""
        stack = self.stack
        settings = stack.settings
        if not settings.icmp_ratemask >> kind & 1 or (kind == DEST_UNREACH and code == FRAG_NEEDED):
            return True
        return stack.is_local(to) or stack.icmp_limit.allows(to, settings.icmp_ratelimit * MS, now)
