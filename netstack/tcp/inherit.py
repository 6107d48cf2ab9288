"""What is passed on when a connection begins (socket(7), tcp(7), as Linux does): a socket's options to its connection,
and a listener's to the sockets that it accepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.socket import IP_PMTUDISC_WANT, IPV6_TCLASS, SO_KEEPALIVE
from netstack.tcp import beside, congestion, pmtu, timeouts

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.socket import TcpSocket


def from_socket(sock: TcpSocket, c: Connection) -> None:
    """A connection begins with this socket's options."""
    c.nonagle = sock.nonagle
    c.user_mss = sock.user_mss
    c.rcvbuf, c.rcvbuf_locked = sock.rcvbuf, sock.rcvbuf_locked
    c.sndbuf, c.sndbuf_locked = sock.sndbuf, sock.sndbuf_locked
    c.rcvlowat = sock.rcvlowat
    timeouts.bounds(c, sock.flags)
    beside.begin(sock, c)
    c.user_timeout_ms = sock.user_timeout_ms
    c.linger2, c.syn_retries = sock.linger2, sock.syn_retries
    c.window_clamp = sock.window_clamp
    c.keepalive_on = bool(sock.flags.get(SO_KEEPALIVE))
    if not sock.quickack:
        c.ack_pingpong = c.settings.tcp_pingpong_thresh
    if sock.notsent_lowat:
        c.notsent_lowat = sock.notsent_lowat
    idle, interval, count = sock.keep
    c.keep_idle = idle or c.keep_idle
    c.keep_intvl = interval or c.keep_intvl
    c.keep_cnt = count or c.keep_cnt
    if sock.cc_name and sock.cc_name != c.cc.name:
        c.cc = congestion.create(sock.cc_name)
    path = c.path
    if sock.tos or sock.ttl >= 0 or sock.ip6_flags or path.locked or sock.ip_mtu_discover != IP_PMTUDISC_WANT:
        c.set_ip(*pmtu.ip_fields(sock, path))


def from_listener(sock: TcpSocket, listener: TcpSocket) -> None:
    """What an accepted socket inherits from its listener."""
    sock.nonagle, sock.user_mss = listener.nonagle, listener.user_mss
    sock.linger2, sock.user_timeout_ms = listener.linger2, listener.user_timeout_ms
    sock.notsent_lowat, sock.oob_inline = listener.notsent_lowat, listener.oob_inline
    sock.window_clamp, sock.cc_name, sock.keep = listener.window_clamp, listener.cc_name, listener.keep
    sock.rcvbuf, sock.rcvbuf_locked = listener.rcvbuf, listener.rcvbuf_locked
    sock.sndbuf, sock.sndbuf_locked = listener.sndbuf, listener.sndbuf_locked
    sock.rcvlowat, sock.linger = listener.rcvlowat, listener.linger
    sock.reuse_addr, sock.bound_device = listener.reuse_addr, listener.bound_device
    sock.ttl = listener.ttl
    sock.syn_retries, sock.mark = listener.syn_retries, listener.mark
    sock.rcvtimeo_ns, sock.sndtimeo_ns = listener.rcvtimeo_ns, listener.sndtimeo_ns
    sock.filter = listener.filter
    sock.ip_mtu_discover, sock.ip_minttl = listener.ip_mtu_discover, listener.ip_minttl
    sock.ip6_flags, sock.v6only = listener.ip6_flags, listener.v6only
    sock.flags, sock.ip_flags = listener.flags, listener.ip_flags
    c = sock.conn
    assert c is not None
    tos = c.tos_now & 0xFC  # the listener's at the handshake, or the SYN's (tcp_reflect_tos)
    if c.path.version == 4:
        sock.tos = tos
    else:
        sock.tos = listener.tos
        if tos != listener.ip6_flags.get(IPV6_TCLASS, 0):
            sock.ip6_flags = {**listener.ip6_flags, IPV6_TCLASS: tos}
