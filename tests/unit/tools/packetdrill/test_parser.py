"""The script language: each construct is read into what it says, and nonsense is refused with its line."""

from __future__ import annotations

import pytest

from tools.packetdrill.parser import parse
from tools.packetdrill.script import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    Array,
    Code,
    Command,
    Dots,
    Function,
    IcmpPacket,
    Number,
    Option,
    Or,
    ScriptError,
    Struct,
    SystemCall,
    TcpPacket,
    Text,
    TimeKind,
    UdpPacket,
    Word,
)


def one(text: str):
    return parse(text).events[0]


def packet(text: str) -> TcpPacket:
    action = one("0 " + text).action
    assert isinstance(action, TcpPacket)
    return action


def call(text: str) -> SystemCall:
    action = one("0 " + text).action
    assert isinstance(action, SystemCall)
    return action


@pytest.mark.parametrize(
    ("text", "kind", "start", "end"),
    [
        ("0", TimeKind.ABSOLUTE, 0, 0),
        ("1.25", TimeKind.ABSOLUTE, 1_250_000_000, 1_250_000_000),
        ("+.1", TimeKind.RELATIVE, 100_000_000, 100_000_000),
        ("+0.000001", TimeKind.RELATIVE, 1_000, 1_000),
        ("*", TimeKind.ANY, 0, 0),
        ("+.29~+.32", TimeKind.RELATIVE_RANGE, 290_000_000, 320_000_000),
        ("1~2", TimeKind.ABSOLUTE_RANGE, 1_000_000_000, 2_000_000_000),
    ],
)
def test_times(text, kind, start, end):
    when = one(f"{text} > . 1:1(0) ack 1").when
    assert (when.kind, when.start, when.end) == (kind, start, end)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("S", SYN), ("S.", SYN | ACK), (".", ACK), ("P.", PSH | ACK), ("FP.", FIN | PSH | ACK), ("R.", RST | ACK),
        ("R", RST), ("SEW", SYN | ECE | CWR), ("SE.", SYN | ECE | ACK), ("-", 0),
    ],
)  # fmt: skip
def test_flags(text, flags):
    assert packet(f"< {text} 0:0(0) ack 0 win 5").flags == flags


def test_a_packet_with_everything():
    got = packet("> P. 1:11(10) ack 7 win 500 urg 3 <nop,nop,TS val 100 ecr 200,nop,nop,sack 1:2 3:4>")
    assert (got.seq, got.length, got.ack, got.window, got.urgent) == (1, 10, 7, 500, 3)
    assert got.options == (
        Option("nop"), Option("nop"), Option("TS", (100, 200)), Option("nop"), Option("nop"),
        Option("sack", (1, 2, 3, 4)),
    )  # fmt: skip


def test_syn_options_and_unchecked_options():
    got = packet("< S 0:0(0) win 65535 <mss 1000,sackOK,nop,nop,nop,wscale 7>")
    assert [o.kind for o in got.options or ()] == ["mss", "sackOK", "nop", "nop", "nop", "wscale"]
    assert packet("> S 0:0(0) <...>").options is None
    assert packet("> . 1:1(0) ack 1").options == ()
    assert packet("< S 0:0(0) win 1 <FO 0123456789abcdef,eol>").options == (
        Option("FO", (), bytes.fromhex("0123456789abcdef")), Option("eol"),
    )  # fmt: skip


def test_ip_fields_and_ports():
    assert packet("> [ect0] . 1:1(0) ack 1").ip.ecn == "ect0"
    assert packet("< [ce] . 1:1(0) ack 1 win 1").ip.ecn == "ce"
    assert packet("> (tos 0x20) . 1:1(0) ack 1").ip.tos == 0x20
    assert packet("< [ttl 5] . 1:1(0) ack 1 win 1").ip.ttl == 5
    assert packet("< 5000 > 80 S 0:0(0) win 1").ports == (5000, 80)


def test_accecn_counter():
    got = packet("> .5 1:1(0) ack 1")
    assert (got.flags, got.ace) == (ACK, 5)


def test_other_protocols():
    udp = one("0 < udp (100)").action
    assert isinstance(udp, UdpPacket) and udp.length == 100 and udp.inbound
    icmp = one("0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]").action
    assert isinstance(icmp, IcmpPacket)
    assert (icmp.type, icmp.code, icmp.mtu, icmp.quoted) == ("unreachable", "frag_needed", 1200, ("tcp", 1, 1460))


def test_system_calls():
    got = call("connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)")
    assert (got.name, got.args, got.result, got.errno) == (
        "connect", (Number(3), Dots(), Dots()), Number(-1), "EINPROGRESS",
    )  # fmt: skip
    assert call("fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)").note == "flags O_RDWR"
    assert call("fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0").args[2] == Or(Word("O_RDWR"), Word("O_NONBLOCK"))
    assert call('setsockopt(3, SOL_TCP, TCP_CONGESTION, "reno", 4) = 0').args[3] == Text(b"reno")
    linger = call("setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0").args[3]
    assert isinstance(linger, Struct) and linger.get("onoff") == Number(1)
    blocking = one("+.1...0.2 read(4, ..., 1000) = 1000").action
    assert isinstance(blocking, SystemCall) and blocking.end == 200_000_000


def test_structures():
    message = call("sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 4000}], msg_flags=0}, 0) = 4000").args[1]
    assert isinstance(message, Struct)
    iov = message.get("msg_iov")
    assert isinstance(iov, Array) and isinstance(iov.items[0], Struct) and iov.items[0].items == (Dots(), Number(4000))
    address = call(
        'bind(3, {sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("192.168.0.1")}, ...) = 0'
    ).args[1]
    assert isinstance(address, Struct) and address.get("sin_port") == Function("htons", (Number(8080),))
    poll = call("poll([{fd=3, events=POLLIN, revents=POLLIN|POLLHUP}], 1, 0) = 1").args[0]
    assert isinstance(poll, Array)


def test_setup_options_code_comments_and_cleanup():
    script = parse(
        "// a comment\n--tolerance_usecs=10000 --mss=1460\n/* another */\n"
        "`./defaults.sh\nsysctl -q net.ipv4.tcp_sack=0`\n"
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 %{\nassert tcpi_snd_cwnd == 10, tcpi_snd_cwnd\n}%\n"
        "+0 `ip route change dev tun0`\n+0 close(3) = 0 // bye\n`cleanup`\n"
    )
    assert script.options == {"tolerance_usecs": "10000", "mss": "1460"}
    assert script.setup == [(4, "./defaults.sh\nsysctl -q net.ipv4.tcp_sack=0")]
    assert isinstance(script.events[1].action, Code)
    assert isinstance(script.events[2].action, Command)
    assert [line for line, _ in script.cleanup] == [12]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("0 < S 0:1(0) win 1", 1, "not the start plus the length"),
        ("0 socket(...) = 3\n+0 < Q 0:0(0)", 2, "TCP flags"),
        ("0 < S 0:0(0) win 1 <mss>", 1, "mss"),
        ("0 < S 0:0(0) win 1 <...>", 1, "only for outbound"),
        ("* socket(...) = 3", 1, "only for outbound"),
        ("+.3~+.2 > . 1:1(0) ack 1", 1, "ends before"),
        ("", 1, "no events"),
        ("0 read(3, ..., 5)", 1, "'='"),
        ("0 > mpls (label 1) . 1:1(0) ack 1", 1, "not supported"),
    ],
)
def test_nonsense_is_refused_with_its_place(text, line, part):
    with pytest.raises(ScriptError) as caught:
        parse(text, "x.pkt")
    assert caught.value.line == line and part in caught.value.message and str(caught.value).startswith("x.pkt:")


def test_white_space_within_sequence_numbers():
    got = packet("> . 1 : 1001 (1000) ack 1 <sack 1 : 2 3:4>")
    assert (got.seq, got.length, got.options) == (1, 1000, (Option("sack", (1, 2, 3, 4)),))


def test_what_an_icmp_message_quotes_may_come_first():
    new = one("0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]").action
    assert one("0 < [1:1461(1460)] icmp unreachable frag_needed mtu 1200").action == new
    assert one("0 < [udp (10)] icmp unreachable port_unreachable").action.quoted == ("udp", 0, 10)
    with pytest.raises(ScriptError):
        parse("0 < [1:1461(1460)] . 1:1(0) ack 1 win 5")


def test_an_expression_reads_as_it_is_written():
    written = '{msg_iov(1)=[{..., 0}], msg_flags=A | B, x={scm_sec=0, scm_nsec=-1}}, "a\\n"..., htons(8), [b = 1]'
    call = parse(f"    0 f({written}) = 0\n", "x").events[0].action
    assert ", ".join(map(str, call.args)) == written
