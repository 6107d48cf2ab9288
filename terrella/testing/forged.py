"""Packets that nobody on the connection sent: what an attacker who is not on the path can put in (RFC 5961, RFC 5927).

Each is as good as it can be but for one thing: addresses, ports and timestamp are right. So whatever the receiver of it
does, it does for that one thing; and by the RFCs it changes nothing, and answers with an ACK or not at all.
"""

from __future__ import annotations

from terrella.testing import icmp
from terrella.testing.probe import State
from terrella.testing.wire import ACK, MASK, RST, SYN, Header, packet, timestamp_option

KINDS = (
    "rst", "rst-outside", "syn", "syn-again", "ack-old", "ack-ahead", "data", "outside", "stamp", "no-ack", "icmp-mtu",
    "icmp-port", "sack-ahead", "sack-behind", "sack-head",
)  # fmt: skip
"""What is wrong with each: `rst`, a RST in the window, and not at its left edge; `rst-outside`, not even in it; `syn`,
a SYN in the midst of a connection; `syn-again`, the peer's own, which comes once more, in TIME-WAIT as well;
`ack-old` and `ack-ahead`, data that acknowledges what is long past, or was never
sent; `data`, beyond the window, and `outside`, an ACK from there; `stamp`, the next data with an old timestamp (PAWS);
`no-ack`, without ACK; `icmp-mtu`, "fragmentation needed" about what is not in flight; `icmp-port`, "port unreachable"
about what is: to a connection that stands it is no more than a hint. `sack-ahead`, `sack-behind` and `sack-head`:
the last ACK again, with a SACK block that goes beyond what was sent, that begins below SND.UNA and ends above (and is
not the first, as a D-SACK would be), or that begins at SND.UNA."""

ANSWERED = frozenset({"rst", "syn", "syn-again", "ack-old", "ack-ahead", "data", "outside", "stamp"})
UNLIMITED = frozenset({"data", "stamp"})
"""Of these, the ones that are answered each time: Linux limits the others to one in tcp_invalid_ratelimit."""

SYNCHRONIZED = (1, 4, 5, 6, 8, 9, 11)
LITTLE = bytes(10)


def image(
    kind: str, value: int, state: State, addresses: tuple[bytes, bytes], ports: tuple[int, int], echo: int | None,
    scale: int = 0,
) -> bytes | None:  # fmt: skip
    """The packet, for a receiver in this state; (source, destination). `echo`: the timestamp that it echoes, None
    without timestamps. `scale` of the windows that it is offered. None where there is no such packet. ValueError for a
    kind that there is not."""
    if kind not in KINDS:
        raise ValueError(f"no forged packet is called {kind!r}: it is one of {', '.join(KINDS)}")
    version = 4 if len(addresses[0]) == 4 else 6
    left, right = state.rcv_nxt, max(state.right_edge, state.rcv_nxt)
    seq, ack, flags, text, stamp = left, state.snd_una, ACK, b"", state.ts_recent
    fits = right - left >= len(LITTLE) and state.state in (1, 4, 5)
    if kind == "rst":
        if right - left < 3:
            return None
        seq, flags = left + 1 + value % (right - left - 1), RST | ACK
        if any(seq == end for _, end in state.out_of_order):
            return None  # Linux believes that one as well: what came beyond a hole may have been the last
    elif kind == "rst-outside":
        seq, flags = (right + 1 + value if value & 1 else state.rcv_wup - 2 - value), RST | ACK
    elif kind == "syn":
        seq, flags, ack = left - 2 + value, SYN, 0
    elif kind == "ack-old":
        ack, text = state.snd_una - state.max_window - 1 - value, LITTLE if fits else b""
    elif kind == "ack-ahead":
        ack, text = state.snd_nxt + 1 + value, LITTLE if fits else b""
    elif kind == "data":
        seq, text = right + 1 + value, LITTLE
    elif kind == "outside":
        seq = right + 1 + value
    elif kind == "stamp":
        if echo is None or not fits or not state.ts_recent:
            return None
        stamp, text = state.ts_recent - 2 - value, LITTLE
    elif kind == "no-ack":
        flags, ack, text = 0, 0, LITTLE
    elif kind == "icmp-mtu":
        mtu = {4: 576, 16: 1280}[len(addresses[0])]
        off = (state.snd_una - 1 - value) if value & 1 else state.snd_nxt + 1 + value
        return icmp.quoting(icmp.TOO_BIG[version], mtu, off, addresses, ports)
    elif kind == "icmp-port":
        return icmp.quoting(icmp.PORT_UNREACHABLE[version], 0, state.snd_una, addresses, ports)
    options = timestamp_option(stamp, echo) if echo is not None else b""
    window = 1000
    if kind.startswith("sack"):
        blocks, window = sacks(kind, value, state), state.snd_wnd >> scale
        if not blocks or window << scale != state.snd_wnd or window > 0xFFFF:
            return None
        options += bytes((1, 1, 5, 2 + 4 * len(blocks))) + b"".join((edge & MASK).to_bytes(4, "big") for edge in blocks)
    return packet(addresses, ports, seq & MASK, ack & MASK, flags, window, options, text)


def sacks(kind: str, value: int, state: State) -> tuple[int, ...]:
    """The edges of blocks that cannot be, for who has two segments out at the least; none where any ACK would have him
    do something."""
    una, nxt, mss = state.snd_una, state.snd_nxt, state.mss
    if not state.sack_ok or state.phase > 1 or nxt - una < 2 * mss or state.probe_out or state.state not in (1, 8):
        return ()
    if kind == "sack-ahead":
        return una + mss, nxt + 1 + value
    if kind == "sack-head":
        return una, una + mss
    return nxt + 1, nxt + 2, una - 1 - value % 1000, una + mss


def opens(image: bytes) -> bool:
    """Whether it is a SYN, and not the answer to one."""
    header = Header.of(image)
    return header is not None and header.flags & (SYN | ACK) == SYN
