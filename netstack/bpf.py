"""Classic BPF on a socket (SO_ATTACH_FILTER; Linux's Documentation/networking/filter.rst): which packets it is given,
and how much of each.

A program is a list of (code, jt, jf, k) over an accumulator, an index register and sixteen words of memory. `verified`
takes what Linux takes (bpf_check_classic): known codes, jumps that go forward and stay inside, no constant division by
zero, no word read that was not written on every way there, a return at the end. So `run` always ends: what is loaded
from beyond the packet, and a division by zero, end it with 0.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from netstack.ethernet import HEADER_LEN, HOST, MULTICAST
from netstack.options import failure

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.interface import Interface
    from netstack.stack import Stack

Program = tuple[tuple[int, int, int, int], ...]

INSTRUCTIONS_MOST, WORDS, UDP_HEADER = 4096, 16, 8
LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
WORD, HALF, BYTE = 0x00, 0x08, 0x10
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
X = 0x08
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = (n << 4 for n in range(11))
JA, JEQ, JGT, JGE, JSET = (n << 4 for n in range(5))
RET_K, RET_A, TAX, TXA = 0x06, 0x16, 0x07, 0x87
SIZES: Final = {WORD: 4, HALF: 2, BYTE: 1}
ALLOWED: Final = frozenset(
    [ALU | op | source for op in (ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR) for source in (0, X)]
    + [ALU | NEG, RET_K, RET_A, TAX, TXA, ST, STX, JMP | JA]
    + [LD | mode | size for mode in (ABS, IND) for size in SIZES]
    + [LD | LEN, LD | IMM, LD | MEM, LDX | LEN, LDX | IMM, LDX | MEM, LDX | MSH | BYTE]
    + [JMP | op | source for op in (JEQ, JGT, JGE, JSET) for source in (0, X)]
)
SKF_AD, SKF_NET, SKF_LL = 0xFFFFF000, 0xFFF00000, 0xFFE00000
(
    AD_PROTOCOL, AD_PKTTYPE, AD_IFINDEX, AD_NLATTR, AD_NLATTR_NEST, AD_MARK, AD_QUEUE, AD_HATYPE, AD_RXHASH, AD_CPU,
    AD_XOR_X, AD_VLAN_TAG, AD_VLAN_PRESENT, AD_PAY_OFFSET, AD_RANDOM, AD_VLAN_TPID,
) = range(0, 64, 4)  # fmt: skip
BITS = 0xFFFFFFFF


class View:
    """What a program sees of a packet: the bytes from `at` on; by the great negative offsets its headers, and what is
    known of it."""

    __slots__ = ("at", "hatype", "image", "index", "kind", "link", "network", "protocol")

    def __init__(
        self, image: bytes, at: int, network: int, link: int, protocol: int, kind: int, index: int, hatype: int
    ) -> None:
        self.image = image
        self.at = at
        self.network = network
        self.link = link  # -1: there is none
        self.protocol = protocol
        self.kind = kind
        self.index = index
        self.hatype = hatype


def parsed(code: bytes) -> Program:
    """struct sock_filter, one after the other. EINVAL when it is no program."""
    if not code or len(code) % 8 or len(code) > 8 * INSTRUCTIONS_MOST:
        raise failure(errno.EINVAL, f"a filter has 1 to {INSTRUCTIONS_MOST} instructions of 8 bytes")
    program = tuple(struct.iter_unpack("=HBBI", code))
    for pc, instruction in enumerate(program):
        _check(program, pc, *instruction)
    if program[-1][0] not in (RET_K, RET_A):
        raise failure(errno.EINVAL, "a filter ends with a return")
    _check_words(program)
    return program


def _check(program: Program, pc: int, code: int, jt: int, jf: int, k: int) -> None:
    """One instruction by itself."""
    bad = code not in ALLOWED
    room = len(program) - pc - 1
    if code in (ALU | DIV, ALU | MOD):
        bad = not k
    elif code in (ALU | LSH, ALU | RSH):
        bad = k >= 32
    elif code in (LD | MEM, LDX | MEM, ST, STX):
        bad = k >= WORDS
    elif code == JMP | JA:
        bad = k >= room
    elif code & 7 == JMP:
        bad = bad or jt >= room or jf >= room
    elif code & 0xE7 == LD | ABS and k >= SKF_AD:
        bad = bad or (k - SKF_AD) % 4 != 0 or k - SKF_AD > AD_VLAN_TPID
    if bad:
        raise failure(errno.EINVAL, f"instruction {pc} ({code:#x}, {jt}, {jf}, {k:#x}) is none")


def _check_words(program: Program) -> None:
    """No word of memory is read before it was written, whichever way leads there."""
    always = (1 << WORDS) - 1
    known = [always] * len(program)
    valid = 0
    for pc, (code, jt, jf, k) in enumerate(program):
        valid &= known[pc]
        if code in (ST, STX):
            valid |= 1 << k
        elif code in (LD | MEM, LDX | MEM):
            if not valid >> k & 1:
                raise failure(errno.EINVAL, f"instruction {pc} reads a word that was not written")
        elif code & 7 == JMP:
            for to in (k,) if code == JMP | JA else (jt, jf):
                known[pc + 1 + to] &= valid
            valid = always


def run(program: Program, view: View, stack: Stack) -> int:
    """How many of the packet's bytes the socket is given; 0: it is not given the packet."""
    a = x = pc = 0
    words = [0] * WORDS
    size = len(view.image) - view.at
    while True:
        code, jt, jf, k = program[pc]
        pc += 1
        kind = code & 7
        if kind in (LD, LDX):
            mode = code & 0xE0
            if mode == IMM:
                value = k
            elif mode == MEM:
                value = words[k]
            elif mode == LEN:
                value = size
            elif mode == ABS and k >= SKF_AD:
                value = _known(k - SKF_AD, view, stack, a, x)
            else:
                where = k + x & BITS if mode == IND else k
                value = _load(view, where, SIZES[code & 0x18])
                if value < 0:
                    return 0
                if mode == MSH:
                    value = (value & 0xF) << 2
            if kind == LD:
                a = value
            else:
                x = value
        elif kind == ALU:
            other = x if code & X else k
            op = code & 0xF0
            if op in (DIV, MOD) and not other:
                return 0
            a = _calculate(op, a, other) & BITS
        elif kind == JMP:
            other = x if code & X else k
            op = code & 0xF0
            if op == JA:
                pc += k
            elif op == JEQ:
                pc += jt if a == other else jf
            elif op == JGT:
                pc += jt if a > other else jf
            elif op == JGE:
                pc += jt if a >= other else jf
            else:
                pc += jt if a & other else jf
        elif kind == RET:
            return a if code == RET_A else k
        elif kind == MISC:
            if code == TAX:
                x = a
            else:
                a = x
        else:
            words[k] = a if kind == ST else x


def _calculate(op: int, a: int, other: int) -> int:
    if op == ADD:
        return a + other
    if op == SUB:
        return a - other
    if op == MUL:
        return a * other
    if op == DIV:
        return a // other
    if op == MOD:
        return a % other
    if op == OR:
        return a | other
    if op == AND:
        return a & other
    if op == XOR:
        return a ^ other
    if op == LSH:
        return a << (other & 31)
    if op == RSH:
        return a >> (other & 31)
    return -a


def _load(view: View, where: int, size: int) -> int:
    """A number in network order; -1 beyond the packet."""
    if where < 1 << 31:
        start = view.at + where
    elif where >= SKF_NET:
        start = view.network + where - SKF_NET
    elif where >= SKF_LL and view.link >= 0:
        start = view.link + where - SKF_LL
    else:
        return -1
    if start < 0 or start + size > len(view.image):
        return -1
    return int.from_bytes(view.image[start : start + size], "big")


def _known(what: int, view: View, stack: Stack, a: int, x: int) -> int:
    """What is known of the packet beside its bytes. Of VLANs, queues, marks and hashes there are none here."""
    if what == AD_PROTOCOL:
        return view.protocol
    if what == AD_PKTTYPE:
        return view.kind
    if what == AD_IFINDEX:
        return view.index
    if what == AD_HATYPE:
        return view.hatype
    if what == AD_XOR_X:
        return a ^ x
    if what == AD_RANDOM:
        return stack.below(1 << 32)
    return 0


class Filter:
    """A program that a socket has, and its text."""

    __slots__ = ("code", "program")

    def __init__(self, code: bytes) -> None:
        self.program = parsed(code)
        self.code = code

    def of_packet(self, stack: Stack, frame: Frame, interface: Interface, at: int) -> int:
        """What it says of the packet being received, from there on."""
        pkt = stack.pkt
        end = pkt.l3 + pkt.l3_len
        protocol = 0x0800 if pkt.ip_version == 4 else 0x86DD
        hatype = 772 if interface.loopback else 1 if interface.ethernet else 0xFFFE
        kind = stack.kind if stack.kind <= MULTICAST else HOST
        image, network, link = bytes(frame.data[:end]), pkt.l3, 0 if pkt.l3 else -1
        if interface.loopback:  # as if there were Ethernet's header, as on Linux
            image, link = bytes(12) + protocol.to_bytes(2, "big") + image, 0
            at, network = at + HEADER_LEN, network + HEADER_LEN
        view = View(image, at, network, link, protocol, kind, interface.index, hatype)
        return run(self.program, view, stack)

    def of_datagram(self, stack: Stack, frame: Frame, interface: Interface, payload: bytes) -> bytes | None:
        """What it leaves of a datagram, of which it sees UDP's header too; None: nothing, which is counted."""
        pkt = stack.pkt
        keep = self.of_packet(stack, frame, interface, pkt.payload - UDP_HEADER)
        if keep:
            return payload[: max(keep - UDP_HEADER, 0)]
        if pkt.ip_version == 4:
            stack.counters.udp.InErrors += 1
        else:
            stack.counters.udp6.InErrors += 1
        stack.counters.reject.SocketFilter += 1
        return None
