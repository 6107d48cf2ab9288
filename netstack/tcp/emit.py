"""Segments leave (RFC 9293 section 3.1): the header is put in front of the text, and both are sent.

Every segment of a connection leaves through `emit` (or `burst`); `answer` makes those that belong to no connection.
Most are an acknowledgment, a SYN, a FIN or a little text, without SACK blocks, ECN or an urgent pointer: these are
written whole by one call of C (`small`). For the others the fields are set one by one, and the text is not copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from csrc import Frame, ffi, lib
from netstack.ipv4_header import checksum
from netstack.tcp import beside, window
from netstack.tcp.scoreboard import RETRANS_ANY, Sent, link_last
from netstack.tcp.segment import (
    ACK,
    CWR,
    ECE,
    OPT_MSS,
    OPT_SACK,
    OPT_SACK_PERMITTED,
    OPT_TIMESTAMP,
    OPT_WSCALE,
    RST,
    SYN,
    URG,
)  # fmt: skip
from netstack.tcp.seq import MASK
from netstack.tcp.tcb import MS, SYN_RECEIVED

if TYPE_CHECKING:
    from netstack.route import Path
    from netstack.tcp.connection import Connection

JOIN_BELOW = 256  # a payload of no more than this travels in the frame's linear part
SCRATCH = 512
ACK_SCHED = 1  # of ack_pending: `delack.SCHED`

_image: Final = bytearray(SCRATCH)
_scratch: Final = ffi.from_buffer("uint8_t[]", _image)
_written: Final = ffi.cast("char *", _scratch)
_copy: Final = ffi.unpack
_new: Final = ffi.new
_TCP_OUT: Final = ffi.typeof("struct trl_tcp_out *")
_tcp_emit: Final = lib.trl_tcp_emit
_emit_small: Final = lib.trl_tcp_emit_small
_complete: Final = lib.trl_checksum_complete


def small(c: Connection, seq: int, flags: int, options: int, text: bytes, size: int, now: int, syn: int = 0) -> bytes:
    """A whole segment of at most JOIN_BELOW bytes of text, without SACK blocks, ECN and urgent pointer. Of a SYN, `syn`
    is its MSS | window scale << 16."""
    path = c.path
    if path.generation != path.stack.routes.generation:
        c.reroute(now)
        path = c.path
    tsval = 0
    if c.ts_ok or options & OPT_TIMESTAMP:
        options |= OPT_TIMESTAMP
        tsval = (now // MS + c.ts_offset) & MASK
    if flags & SYN:
        field = c.rcv_wnd if c.rcv_wnd < 65535 else 65535
    else:
        field = window.select(c)
    ip_id = c.ip_id = (c.ip_id + 1) & 0xFFFF
    length: int = _emit_small(
        _scratch, SCRATCH, c.tmpl, c.tmpl_len, c.l3, c.ports, seq & MASK, c.rcv_nxt & MASK if flags & ACK else 0, field,
        flags, options, tsval, c.ts_recent, syn, ip_id | c.tos_now << 16, text, size,
    )  # fmt: skip
    if length < 0:
        raise ValueError(f"trl_tcp_emit_small refused a segment of {size} bytes")
    data: bytes = _copy(_written, length)
    if size:
        frame = Frame(data, (), length, c.l3 != 0, 0, c.l4, 16)
    else:  # so short that its checksum is complete
        frame = Frame(data, (), length, c.l3 != 0)
    c.segs_out += 1
    c.tcp_counters.OutSegs += 1
    if flags & ACK and (c.ack_pending or c.ack_quick or c.compressed_ack or c.comp_sack_ns):
        acknowledged(c)
    if c.send is not c.engine.straight:
        c.send(path, frame, now)
    elif c.tmpl is path.pinned:
        path.leave(frame, now)
    else:
        path.output(frame, now)
    return data


def emit(
    c: Connection,
    seq: int,
    flags: int,
    frags: tuple[Any, ...],
    length: int,
    now: int,
    gso: int = 0,
    options: int = 0,
    syn: int = 0,
) -> bytes:
    """Write the header of one (super-)segment and send it. What every segment carries is taken from the TCB. Returns
    the linear part of the frame."""
    if length and c.stamps is not None:
        beside.left(c, seq, frags, length, now)
    if not (gso or c.sacks or c.dsack is not None or c.ecn_ok or c.snd_up):
        if not length:
            return small(c, seq, flags, options, b"", 0, now, syn)
        if length <= JOIN_BELOW and len(frags) == 1:
            text: Any = frags[0]
            return small(c, seq, flags, options, text if isinstance(text, bytes) else bytes(text), length, now)
    return by_fields(c, seq, flags, frags, length, now, gso, options, syn)


def by_fields(
    c: Connection,
    seq: int,
    flags: int,
    frags: tuple[Any, ...],
    length: int,
    now: int,
    gso: int,
    options: int,
    syn: int = 0,
) -> bytes:
    """Any segment: its fields are set one by one. At most three SACK blocks go beside timestamps, else four (RFC 2018
    section 3); a D-SACK comes first (RFC 2883 section 4)."""
    path = c.path
    if path.generation != path.stack.routes.generation:
        c.reroute(now)
        path = c.path
    out = c.out
    if out is None:
        out = c.out = _new(_TCP_OUT)
        out.sport = c.ports >> 16
        out.dport = c.ports & 0xFFFF
        out.tos = c.tos_now & 0xFF
        out.dont_fragment = c.tos_now < 0x100  # else `pmtu.MAY_FRAGMENT`
    out.seq = seq & MASK
    out.ack = c.rcv_nxt & MASK if flags & ACK else 0
    out.window = window.select(c) if not flags & SYN else min(c.rcv_wnd, 65535)
    if c.ts_ok or options & OPT_TIMESTAMP:
        options |= OPT_TIMESTAMP
        out.tsval = (now // MS + c.ts_offset) & MASK
        out.tsecr = c.ts_recent
    if (c.sacks or c.dsack is not None) and not flags & SYN:
        blocks = c.sacks
        if c.dsack is not None:
            blocks = [c.dsack, *blocks]
            c.dsack = None
        blocks = blocks[: 3 if c.ts_ok else 4]
        options |= OPT_SACK
        out.nsack = len(blocks)
        edges = out.sack
        at = 0
        for left, right in blocks:
            edges[at] = left & MASK
            edges[at + 1] = right & MASK
            at += 2
    if c.ecn_ok:
        flags = ecn(c, seq, flags, length)
    if c.snd_up:
        flags = urgent_pointer(c, seq, flags)
    elif out.urgent:
        out.urgent = 0
    if options & OPT_MSS:
        out.mss = syn & 0xFFFF
        out.wscale = syn >> 16
    out.tcp_flags = flags
    out.tcp_options = options
    out.payload_len = length
    c.ip_id = out.ip_id = (c.ip_id + 1) & 0xFFFF
    header: int = _tcp_emit(_scratch, SCRATCH, c.tmpl, c.tmpl_len, c.l3, out)
    if header < 0:
        raise ValueError(f"trl_tcp_emit refused a segment of {length} bytes")
    if not length:
        _complete(_scratch, header, c.l4, 16)
    data: Any = _copy(_written, header)
    if length <= JOIN_BELOW and len(frags) == 1:  # so little that one piece is cheaper than two
        data += frags[0]
        frags = ()
    if length:
        frame = Frame(data, frags, header + length, c.l3 != 0, gso, c.l4, 16)
    else:
        frame = Frame(data, (), header, c.l3 != 0)
    counters = c.tcp_counters
    if gso:
        segs = (length + gso - 1) // gso
        c.segs_out += segs
        counters.OutSegs += segs
        c.ip_id = (c.ip_id + segs - 1) & 0xFFFF
    else:
        c.segs_out += 1
        counters.OutSegs += 1
    if flags & ACK and (c.ack_pending or c.ack_quick or c.compressed_ack or c.comp_sack_ns):
        acknowledged(c)
    c.send(path, frame, now)
    return data


def emit_syn(c: Connection, rec: Sent, now: int, again: bool = True) -> bool:
    """Put a SYN or SYN-ACK on the wire; `again` when it is a retransmission."""
    bits = OPT_MSS
    syn = c.advmss
    offered = c.settings
    crossed = c.state == SYN_RECEIVED  # a simultaneous open: the SYN-ACK offers what our SYN offered
    if c.wscale_ok or (crossed and offered.tcp_window_scaling):
        bits |= OPT_WSCALE
        syn |= (c.rcv_wscale if c.wscale_ok else c.offered_wscale) << 16
    if c.sack_ok or (crossed and offered.tcp_sack):
        bits |= OPT_SACK_PERMITTED
    if crossed and offered.tcp_timestamps and not c.ts_ok:
        bits |= OPT_TIMESTAMP
    flags = rec.flags
    if c.ecn_ok:
        if flags & ACK:
            flags |= ECE
        elif not again or not c.settings.tcp_ecn_fallback:  # else RFC 3168 section 6.1.1.1: try without ECN
            flags |= ECE | CWR
    if again or not rec.sends:
        rec.xmit_ns = now  # (a SYN that became a SYN-ACK is measured from when the SYN was sent)
    c.tx_order = rec.order = c.tx_order + 1
    rec.sends += 1
    link_last(c, rec)
    if again:
        c.tcp_counters.RetransSegs += 1
        c.counters.TCPSynRetrans += 1
        c.total_retrans += 1
        rec.marks |= RETRANS_ANY
        c.retrans_out = 1
        if not c.retrans_stamp_ns:
            c.retrans_stamp_ns = now or 1
    emit(c, c.iss, flags, (), 0, now, options=bits, syn=syn)
    return True


def answer(
    path: Path,
    ports: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: int,
    tsval: int,
    tsecr: int,
    syn: int,
    tos: int,
) -> Frame:
    """A segment without text that no connection sends: `ports` is local << 16 | remote, `syn` as for `small`."""
    template = path.pin()
    length: int = _emit_small(
        _scratch, SCRATCH, template, len(path.template), path.l3, ports, seq & MASK, ack & MASK, window, flags, options,
        tsval, tsecr, syn, tos << 16, b"", 0,
    )  # fmt: skip
    if length < 0:
        raise ValueError(f"trl_tcp_emit_small refused a segment with the options {options:#x}")
    return Frame(_copy(_written, length), (), length, path.l3 != 0)


def urgent_pointer(c: Connection, seq: int, flags: int) -> int:
    """RFC 9293 sections 3.8.5 and 3.10.2: segments before the end of urgent data carry URG and a pointer to that end,
    until it is acknowledged."""
    ahead = c.snd_up - seq
    if ahead <= 0 or flags & SYN or (ahead > 0xFFFF and seq + 0xFFFF <= c.snd_nxt):
        c.out.urgent = 0
        return flags
    c.out.urgent = min(ahead, 0xFFFF)
    return flags | URG


def set_ttl(frame: Frame, path: Path, ttl: int) -> None:
    """Another TTL or hop limit than the path's."""
    at = path.l3
    data = bytearray(frame.data)
    if path.version == 6:
        data[at + 7] = ttl
    else:
        data[at + 8] = ttl
        data[at + 10 : at + 12] = b"\0\0"
        data[at + 10 : at + 12] = checksum(data[at : at + 20]).to_bytes(2, "big")
    frame.data = data


def ecn(c: Connection, seq: int, flags: int, length: int) -> int:
    """RFC 3168 sections 6.1.2, 6.1.3 and 6.1.5: ECE until a CWR came; CWR once after a reduction, on new data; ECT only
    on new data."""
    tos = c.tos_now & ~3
    if length and seq >= c.snd_nxt and not flags & (SYN | RST):
        tos |= 2
        if c.ecn_queue_cwr:
            c.ecn_queue_cwr = False
            flags |= CWR
    if c.ecn_demand_cwr and flags & (SYN | ACK) == ACK:
        flags |= ECE  # (on a RST as well, as in Linux)
    if tos != c.tos_now:
        c.tos_now = tos
        c.out.tos = tos & 0xFF
    return flags


def acknowledged(c: Connection) -> None:
    """RCV.NXT was sent, alone or with data: no ACK is owed any more (see `delack`)."""
    if c.ack_quick:
        used = 1 if c.ack_pending & ACK_SCHED else 0
        if used >= c.ack_quick:
            c.ack_quick = 0
            c.ato_ns = c.settings.tcp_delack_min_ms * MS
        else:
            c.ack_quick -= used
    c.ack_pending = 0
    c.delack_ns = 0
    if c.compressed_ack or c.comp_sack_ns:
        c.counters.TCPAckCompressed += c.compressed_ack
        c.compressed_ack = 0
        c.comp_sack_ns = 0
