"""TCP_SAVE_SYN and TCP_SAVED_SYN (Linux's <linux/tcp.h>): a listener keeps the headers of each SYN, and its user may
read them, once, from the connection that came of it.

With 1 they begin with the IP header, with 2 with that of the link. Nothing is kept of a SYN that was answered by a
cookie. The engine holds the headers until they are read, or the socket is closed or disconnected.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from netstack.ipv6_extension import upper_layer
from netstack.socket import error

if TYPE_CHECKING:
    from netstack.tcp.engine import Tcp
    from netstack.tcp.listener import Request
    from netstack.tcp.socket import TcpSocket

TCP_SAVE_SYN, TCP_SAVED_SYN = 27, 28
FLAG: Final = 6 << 16 | TCP_SAVE_SYN
"""Where the option is among the socket's flags, which accepted sockets inherit."""
LINK = 2
ETHERNET = 14


def record(engine: Tcp, request: Request) -> None:
    """Keep the headers of the SYN that is being received (Linux's tcp_reqsk_record_syn)."""
    frame = engine.arriving
    mode = request.listener.sock.flags.get(FLAG, 0)
    if not mode or frame is None:
        return
    data = bytes(frame.data)
    l3 = ETHERNET if frame.ethernet else 0
    packet = data[l3:]
    if packet[0] >> 4 == 4:
        at = (packet[0] & 0xF) * 4
    else:
        found = upper_layer(packet)
        assert found is not None  # the packet was parsed before
        at = found[1]
    headers = packet[: at + (packet[at + 12] >> 4) * 4]
    if mode == LINK and frame.ethernet:
        headers = data[:l3] + headers
    elif mode == LINK and request.path.local:  # in Linux lo has an Ethernet header without addresses
        headers = bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + headers
    request.saved = headers


def take(sock: TcpSocket, room: int | None) -> bytes:
    """getsockopt(TCP_SAVED_SYN): all of the headers or EINVAL; nothing the next time."""
    sock.check_open()
    c = sock.conn
    saved = sock.stack.tcp.saved
    kept = saved.get(c, b"") if c is not None else b""
    if room is not None and room < len(kept):
        raise error(errno.EINVAL, f"the SYN has {len(kept)} bytes")
    if c is not None:
        saved.pop(c, None)
    return kept
