"""TCP_SAVE_SYN and TCP_SAVED_SYN (tcp(7)): a listener keeps the headers of each SYN, whose options its user may look
at, once, on the connection that came of it.

With 1 they begin with IP's header, with 2 with the link's. Where a SYN was answered by a cookie nothing was kept. What
waits to be asked for is held by the engine, by the connection's key, until the connection is gone.
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
"""Its place among the socket's flags, which accepted sockets inherit."""
LINK = 2
ETHERNET = 14


def record(engine: Tcp, request: Request) -> None:
    """Of the SYN being received (Linux's tcp_reqsk_record_syn)."""
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
        assert found is not None  # it came as far as here
        at = found[1]
    headers = packet[: at + (packet[at + 12] >> 4) * 4]
    if mode == LINK and frame.ethernet:
        headers = data[:l3] + headers
    elif mode == LINK and request.path.local:  # on Linux lo has Ethernet's header, with no address in it
        headers = bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + headers
    request.saved = headers


def take(sock: TcpSocket, room: int | None) -> bytes:
    """getsockopt(TCP_SAVED_SYN): all of it or EINVAL; the next time nothing."""
    sock.check_open()
    c = sock.conn
    saved = sock.stack.tcp.saved
    kept = saved.get(c.key, b"") if c is not None else b""
    if room is not None and room < len(kept):
        raise error(errno.EINVAL, f"the SYN has {len(kept)} bytes")
    if c is not None:
        saved.pop(c.key, None)
    return kept
