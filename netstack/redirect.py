"""Redirects: a router says that another one, or the destination itself, is nearer (RFC 792; RFC 1122 section 3.2.2.2;
RFC 4861 section 8), and this host says so as a router (RFC 1812 section 5.2.7.2; RFC 4861 section 8.2).

As on Linux, a redirect is believed only if it comes from the gateway in use, names a host on the link, and quotes a
packet that one of our sockets sent (or an echo reply of ours). Over IPv4 the MAC of the new gateway has to be known
already; if it is not, it is asked for, and the next redirect counts. A router believes none.

What is learnt is an exception for one destination, which holds while the route that it is an exception to is in use:
over IPv4 for 300 s, over IPv6 until nothing has been sent to its gateway for a minute.

An IPv4 host is sent the first redirect at once, the next 40 ms later at the earliest, then 80 ms and so on, nine in
all, and then none until it has been silent for 20 s. Over IPv6 one a second is sent for each source and each
destination, after a burst of six.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack import icmp
from netstack.address import is_link_local, is_multicast
from netstack.icmpv6 import REDIRECT as REDIRECT6
from netstack.ipv4_options import is_others
from netstack.ipv6_extension import upper_layer
from netstack.neighbour import STALE
from netstack.route import Path, Redirect, find_path
from netstack.socket import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from netstack.tcp.connection import Connection
from netstack.tcp.seq import unwrap

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.interface import Interface
    from netstack.stack import Stack

MS, SECOND = 1_000_000, 1_000_000_000
LIFETIME_NS = 300 * SECOND  # net.ipv4.route.gc_timeout
UNUSED_NS, LOOK_NS = 60 * SECOND, 30 * SECOND  # net.ipv6.route.gc_timeout, gc_interval
SENT_MOST, LOAD_NS, SILENCE_NS = 9, 20 * MS, 20 * MS << 10
PEERS_MAX = 1024
SOURCE_LINK, TARGET_LINK, REDIRECTED = 1, 2, 4  # options of neighbour discovery
HOST = 1  # the code of a redirect for one host
MIN_MTU = 1280


class Redirects:
    """What one stack has learnt, and whom it has told."""

    __slots__ = ("_told", "stack", "timer")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.timer = stack.timers.timer(self._on_timer)
        self._told: dict[bytes, tuple[int, int]] = {}  # host -> (how many, the last one's time)

    # In.

    def arrived(self, error: icmp.IcmpError, gateway: bytes, now: int) -> None:
        """An ICMP redirect (Linux's __ip_do_redirect), about a packet that has our address as its source."""
        stack = self.stack
        reject = stack.counters.reject
        if not self._sent(error):
            reject.IcmpNotMatched += 1
            return
        path = self._current(error.dst, error.src, now)
        settings = stack.settings
        if (
            path is None
            or path.next_hop != error.sender
            or error.code & 7 > 3
            or gateway == error.sender
            or not settings.conf_accept_redirects
            or settings.ip_forward
            or not is_others(stack, gateway)
        ):
            reject.IcmpIgnored += 1
            return
        table = path.interface.neighbours
        entry = table.get(gateway, now) if table is not None else None
        if entry is not None and entry.usable:
            self._learn(error.dst, path, gateway, now + LIFETIME_NS)
        elif entry is not None:
            entry.ask(now)

    def arrived6(self, message: bytes, src: bytes, found: dict[int, bytes], interface: Interface, now: int) -> None:
        """A redirect of neighbour discovery whose form is good (Linux's ndisc_redirect_rcv and rt6_do_redirect)."""
        stack = self.stack
        reject = stack.counters.reject
        target, dst = message[8:24], message[24:40]
        mac = found.get(TARGET_LINK)
        near = target == dst
        if is_multicast(dst) or (not near and not is_link_local(target)) or (mac is not None and len(mac) != 6):
            stack.counters.icmp6.InErrors += 1
            reject.NdpBad += 1
            return
        quoted = found.get(REDIRECTED)
        if quoted is not None and not self._sent6(quoted[6:]):
            reject.IcmpNotMatched += 1
            return
        path = self._current(dst, None, now)
        settings = stack.settings
        table = interface.neighbours6
        if (
            path is None
            or path.interface is not interface
            or path.next_hop != src
            or not settings.conf6_accept_redirects
            or settings.conf6_forwarding
            or table is None
        ):
            reject.IcmpIgnored += 1
            return
        entry = table.get(target, now)
        if entry is None:
            return
        if mac is not None and not mac[0] & 1:
            entry.update(mac, STALE, True, now)
        entry.used = now
        self._learn(dst, path, target, -1)

    def _current(self, dst: bytes, src: bytes | None, now: int) -> Path | None:
        """How packets go there now, where that is by way of a gateway."""
        try:
            path = find_path(self.stack, dst, src, None, now)
        except OSError:
            return None
        if path.route is None or (path.route.gateway is None and dst not in self.stack.routes.redirects):
            return None
        return path

    def _sent(self, error: icmp.IcmpError) -> bool:
        """Whether the packet quoted is one that a socket of ours could have sent just now."""
        stack = self.stack
        if stack.raw.count and stack.raw.senders(error):
            return True
        if error.proto == IPPROTO_TCP:
            c = stack.tcp.table.get(error.key)
            if not isinstance(c, Connection):
                return False
            return bool(c.snd_una <= unwrap(int.from_bytes(error.l4[4:8], "big"), c.snd_una) <= c.snd_nxt)
        if error.proto == IPPROTO_UDP:
            return stack.udp.sender(error) is not None
        return error.proto == IPPROTO_ICMPV6 or (error.proto == IPPROTO_ICMP and error.l4[0] == icmp.ECHOREPLY)

    def _sent6(self, packet: bytes) -> bool:
        found = upper_layer(packet) if len(packet) >= 40 and packet[0] >> 4 == 6 else None
        if found is None or found[2] or len(packet) < found[1] + 8:
            return False
        proto, at, _ = found
        if packet[8:24] not in self.stack.local and proto != IPPROTO_ICMPV6:
            return False
        return self._sent(icmp.IcmpError(6, REDIRECT6, 0, packet[8:24], packet[24:40], proto, packet[at:], 0, b""))

    def _learn(self, dst: bytes, path: Path, gateway: bytes, expires: int) -> None:
        assert path.route is not None
        self.stack.routes.redirect(dst, Redirect(path.route, gateway, expires))
        at = expires if expires >= 0 else self.stack.now + LOOK_NS
        if self.timer.deadline is None or self.timer.deadline > at:
            self.timer.arm(at)

    def _on_timer(self, now: int) -> None:
        """Forget what is old, and look again when something may be."""
        routes = self.stack.routes
        following = -1
        for dst, found in list(routes.redirects.items()):
            if found.expires >= 0:
                gone, at = found.expires <= now, found.expires
            else:
                table = found.route.interface.neighbours6
                entry = table.lookup(found.gateway) if table is not None else None
                gone, at = entry is None or now - entry.used >= UNUSED_NS, now + LOOK_NS
            if gone:
                del routes.redirects[dst]
                routes.changed()
            elif following < 0 or at < following:
                following = at
        if following >= 0:
            self.timer.arm(following)

    # Out.

    def tell(self, frame: Frame, interface: Interface, path: Path, now: int) -> None:
        """A packet goes on by the link that it came from (Linux's ip_rt_send_redirect)."""
        stack = self.stack
        src = stack.src16[:4]
        back = stack.routes.lookup(src)
        if not stack.settings.conf_send_redirects or back is None or back.gateway or back.interface is not interface:
            return
        told = self._told
        count, last = told.pop(src, (0, 0))
        if count and now > last + SILENCE_NS:
            count = 0
        if len(told) >= PEERS_MAX:
            del told[next(iter(told))]
        if count >= SENT_MOST:
            told[src] = count, now  # as long as it goes on, nothing is sent
        elif not count or now > last + (LOAD_NS << count):
            told[src] = count + 1, now
            stack.icmp.send_error(frame, interface, icmp.REDIRECT, HOST, int.from_bytes(path.next_hop, "big"), now)
        else:
            told[src] = count, last

    def tell6(self, frame: Frame, interface: Interface, path: Path, now: int) -> None:
        """The same for IPv6 (Linux's ip6_forward and ndisc_send_redirect)."""
        stack = self.stack
        src, dst, target = stack.src16[:], stack.dst16[:], path.next_hop
        mine, table = interface.link_local, interface.neighbours6
        if not stack.icmp_limit.host_allows(dst, SECOND, now) or mine is None or table is None:
            return
        back = stack.routes.lookup(src, interface if is_link_local(src) else None)
        if (target != dst and not is_link_local(target)) or back is None or back.gateway is not None:
            return
        if not stack.icmp_limit.host_allows(src, SECOND, now):
            return
        body = bytearray((REDIRECT6, 0, 0, 0, 0, 0, 0, 0)) + target + dst
        entry = table.lookup(target)
        if entry is not None and entry.usable:
            body += bytes((TARGET_LINK, 1)) + entry.mac
        pkt = stack.pkt
        packet = bytes(frame.data[pkt.l3 : pkt.l3 + pkt.l3_len])
        size = min(MIN_MTU - 40 - len(body), len(packet) + 8) & ~7
        body += bytes((REDIRECTED, size >> 3)) + bytes(6) + packet[: size - 8]
        stack.ndp.send(interface, mine, src, body, now)
