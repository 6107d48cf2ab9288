"""The guard against the stack it stands in for: what it answers is what the stack would have sent under
tcp_syncookies=2, to the byte; what completes a handshake passes, what is known passes, and the rest keeps to its
allowance.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from csrc import Frame, ffi, lib
from netstack import Settings, Stack
from netstack.tcp.guard import ALLOWANCE, REJECTS, Guard

OURS, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:02"
NOW = 1_234_567_891_234
PASS, DROP = int(lib.TRL_GUARD_PASS), int(lib.TRL_GUARD_DROP)
PORT = 80


class Host:
    """A stack with a listener on port 80, and the guard of its link."""

    def __init__(self, **settings: Any) -> None:
        values: dict[str, Any] = {f"net.ipv4.{name}": value for name, value in settings.items()}
        self.stack = Stack(random.Random(3), Settings(**values))
        interface = self.stack.add_interface("eth0", OURS)
        for address in ("10.0.0.1/24", "fd00::1/64"):
            self.stack.add_address("eth0", address)
        table4, table6 = interface.neighbours, interface.neighbours6
        assert table4 is not None and table6 is not None
        mac = bytes.fromhex(THEIRS.replace(":", ""))
        table4.add_permanent(bytes([10, 0, 0, 2]), mac, 0)
        table6.add_permanent(bytes.fromhex("fd00" + "00" * 13 + "02"), mac, 0)
        self.sock = self.stack.socket(10, 1, 0)
        self.sock.bind(("::", PORT))
        self.sock.listen(8)
        list(self.stack.transmit(NOW))
        self.guard = Guard(self.stack, interface)
        self.reply = ffi.new("uint8_t[]", 128)
        self.guard.refresh(NOW)

    def ask(self, packet: Any) -> bytes | int:
        """The guard's verdict, or its answer."""
        image = bytes(packet)
        n = lib.trl_guard_check(self.guard.pointer, image, len(image), lib.TRL_PARSE_ETHERNET, self.reply, 128)
        return int(n) if n <= DROP else ffi.buffer(self.reply, n)[:]

    def give(self, packet: Any) -> list[bytes]:
        """What the stack sends in answer."""
        self.stack.receive("eth0", Frame.of(bytes(packet)), NOW)
        return [bytes(frame) for _, frame in self.stack.transmit(NOW)]


def to(version: int, src: str | None = None) -> Any:
    link = Ether(src=THEIRS, dst=OURS)
    if version == 4:
        return link / IP(src=src or "10.0.0.2", dst="10.0.0.1")
    return link / IPv6(src=src or "fd00::2", dst="fd00::1")


SETTINGS = st.fixed_dictionaries(
    {
        "tcp_timestamps": st.sampled_from([0, 1, 1, 2]),
        "tcp_window_scaling": st.sampled_from([0, 1, 1]),
        "tcp_sack": st.sampled_from([0, 1, 1]),
        "tcp_ecn": st.sampled_from([0, 1, 2]),
        "tcp_reflect_tos": st.sampled_from([0, 0, 1]),
        "tcp_syncookies": st.just(2),
    }
)


@st.composite
def syns(draw: st.DrawFn) -> tuple[int, Any]:
    options: list[Any] = []
    if draw(st.booleans()):
        options.append(("MSS", draw(st.sampled_from([0, 1, 535, 536, 1299, 1300, 1440, 1460, 9000, 65535]))))
    if draw(st.booleans()):
        options.append(("SAckOK", b""))
    if draw(st.booleans()):
        options.append(("Timestamp", (draw(st.integers(0, 2**32 - 1)), 0)))
    if draw(st.booleans()):
        options.append(("WScale", draw(st.integers(0, 20))))
    flags = draw(st.sampled_from(["S", "S", "SEC", "SE", "SP", "SU"]))
    seq, sport = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 65535))
    version = draw(st.sampled_from([4, 6]))
    ip = to(version)
    setattr(ip.payload, "tos" if version == 4 else "tc", draw(st.sampled_from([0, 0, 3, 0x28, 0x8A])))
    return version, ip / TCP(sport=sport, dport=PORT, flags=flags, seq=seq, options=options)


MARKS = st.fixed_dictionaries(
    {},
    optional={
        (0, 1): st.integers(0, 255),  # IP_TOS
        (0, 2): st.integers(1, 255),  # IP_TTL
        (41, 67): st.integers(0, 255),  # IPV6_TCLASS
        (41, 16): st.integers(0, 255),  # IPV6_UNICAST_HOPS
    },
)
"""(level, name): what the listener's packets say in their IP headers."""


@given(SETTINGS, syns(), st.sampled_from([0, 0, 500, 1000]), MARKS)
def test_the_answer_is_the_stacks(
    settings: dict[str, int], drawn: tuple[int, Any], user_mss: int, marks: dict[tuple[int, int], int]
) -> None:
    version, syn = drawn
    host = Host(**settings)
    for (level, name), value in marks.items():
        host.sock.setsockopt(level, name, value)
    host.guard.refresh(NOW)
    if user_mss:
        host.sock.setsockopt(6, 2, user_mss)
        host.guard.refresh(NOW)
    answer = host.ask(syn)
    assert isinstance(answer, bytes)
    assert [answer] == host.give(syn)

    # The ACK that returns the cookie passes, and makes a connection; with one bit flipped it is only as good as any.
    seen = Ether(answer)[TCP]
    stamp = dict(seen.options).get("Timestamp")
    options = [("Timestamp", (7, stamp[0]))] if stamp else []
    ack = to(version) / TCP(
        sport=syn[TCP].sport, dport=PORT, flags="A", seq=syn[TCP].seq + 1 & 0xFFFFFFFF,
        ack=seen.seq + 1 & 0xFFFFFFFF, options=options,
    )  # fmt: skip
    host.guard.pointer.allow = (0,) * 6
    assert host.ask(ack) == PASS
    wrong = ack.copy()
    wrong[TCP].ack ^= 1 << 20
    assert host.ask(wrong) == DROP
    host.guard.settle()
    host.give(ack)
    assert host.stack.counters.tcpext.SyncookiesRecv == 1
    data = to(version) / TCP(sport=syn[TCP].sport, dport=PORT, flags="PA", seq=1, ack=1) / b"x"
    assert host.ask(data) == DROP
    host.guard.refresh(NOW)
    assert host.ask(data) == PASS, "the connection is known now"


def test_each_kind_has_its_allowance() -> None:
    host = Host()
    kinds = {
        "GuardNeighbour": Ether(src=THEIRS, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.0.0.2", pdst="10.0.0.1"),
        "GuardTcp": to(4) / TCP(dport=81, flags="S"),
        "GuardUdp": to(6) / UDP(dport=7) / b"x",
        "GuardIcmp": to(4) / ICMP(),
        "GuardFragment": Ether(src=THEIRS, dst=OURS) / IP(src="10.0.0.2", dst="10.0.0.1", flags="MF") / b"12345678",
        "GuardOther": Ether(src=THEIRS, dst=OURS, type=0x88CC) / b"?",
    }
    assert tuple(kinds) == REJECTS
    for packet in kinds.values():
        assert [host.ask(packet) for _ in range(ALLOWANCE)] == [PASS] * ALLOWANCE
    for packet in kinds.values():
        assert host.ask(packet) == DROP
    assert host.guard.settle() == len(kinds)
    reject = host.stack.counters.reject
    assert [getattr(reject, name) for name in kinds] == [1] * len(kinds)
    host.guard.refresh(NOW)
    assert host.ask(kinds["GuardUdp"]) == PASS, "the next batch has its own"


def test_what_is_dropped_at_once() -> None:
    host = Host()
    ext = host.stack.counters.tcpext
    syn = TCP(sport=999, dport=PORT, flags="S")
    assert host.ask(to(4) / TCP(sport=5, dport=PORT, flags="R")) == DROP, "a RST for nobody"
    assert host.ask(to(4, "192.0.2.1") / syn) == DROP, "no route back"
    assert host.ask(to(4, "224.0.0.1") / syn) == PASS, "the stack has to say what it is"
    host.sock.listener.backlog = -1
    host.guard.refresh(NOW)
    assert host.ask(to(4) / syn) == DROP, "the accept queue is full"
    assert host.guard.settle() == 3
    assert (ext.ListenOverflows, ext.ListenDrops, host.stack.counters.tcp.InSegs) == (1, 2, 3)


def test_options_and_settings_hold_at_once() -> None:
    """Also those that are set after listen(): the next batch is answered by them."""
    host = Host()
    syn = to(4) / TCP(sport=999, dport=PORT, flags="S", options=[("MSS", 1460)])

    def answer() -> Any:
        host.guard.refresh(NOW)
        got = host.ask(syn)
        return Ether(got) if isinstance(got, bytes) else got

    assert answer()[IP].tos == 0
    host.sock.setsockopt(0, 1, 0x28)  # IP_TOS
    assert answer()[IP].tos == 0x28
    assert answer()[IP].ttl == 64
    host.stack.settings.ip_default_ttl = 50
    assert answer()[IP].ttl == 50
    host.sock.setsockopt(0, 2, 33)  # IP_TTL
    assert answer()[IP].ttl == 33
    host.sock.setsockopt(0, 2, -1)
    assert answer()[IP].ttl == 50
    host.sock.setsockopt(6, 2, 700)  # TCP_MAXSEG
    assert dict(answer()[TCP].options)["MSS"] == 700
    host.stack.settings.tcp_syncookies = 0
    assert answer() == PASS, "no cookies: the stack has the word"
    host.stack.settings.tcp_syncookies = 1
    assert answer() not in (PASS, DROP)
    host.sock.setsockopt(0, 21, 250)  # IP_MINTTL
    assert answer() == PASS, "the stack looks at the TTL"


def test_guard_and_stack_follow_the_default_ttl() -> None:
    """Also where the stack has the path at hand."""
    host = Host(tcp_syncookies=2)
    for port, ttl in enumerate((64, 50, 64), 1000):
        host.stack.settings.ip_default_ttl = ttl
        host.guard.refresh(NOW)
        syn = to(4) / TCP(sport=port, dport=PORT, flags="S", options=[("MSS", 1460)])
        got = host.ask(syn)
        assert isinstance(got, bytes)
        assert Ether(got)[IP].ttl == Ether(host.give(syn)[0])[IP].ttl == ttl
        assert host.stack.counters.ip.DefaultTTL == ttl


def test_flows_are_learnt_and_the_table_grows() -> None:
    host = Host()
    keys = [i.to_bytes(12, "big") for i in range(5000)]
    for i, key in enumerate(keys):
        host.stack.tcp.table[key] = object()
        if i % 700 == 0:
            host.guard.refresh(NOW)
    del host.stack.tcp.table[keys[-1]], host.stack.tcp.table[keys[4200]]
    host.guard.refresh(NOW)
    assert host.guard.pointer.known_n >= 4998
    assert host.guard.pointer.known_cap >= 2 * host.guard.pointer.known_n
