"""The script language: each construct is read into what it says, and nonsense is refused with its line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.packetdrill.compare import difference
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
    assert packet("< S 0:0(0) win 1 <FO 0123456789abcdef,nop,eol>").options == (
        Option("FO", (), bytes.fromhex("0123456789abcdef")), Option("nop"), Option("eol"),
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
        ("0 close(3) = 0\n+0 < Q 0:0(0)", 2, "TCP flags"),
        ("0 < S 0:0(0) win 1 <mss>", 1, "mss"),
        ("0 < S 0:0(0) win 1 <...>", 1, "only for outbound"),
        ("* close(3) = 0", 1, "only for outbound"),
        ("+.3~+.2 > . 1:1(0) ack 1", 1, "ends before"),
        ("", 1, "no events"),
        ("0 < . 1:1(0) ack 1 // no window\n", 1, "needs a window: win N"),
        ("0 < . 1:1(0) ack 1 win 65536", 1, "0 to 65535, not 65536"),
        ("0 < . 1:1(0) ack 4294967296 win 1", 1, "0 to 4294967295"),
        ("0 < S 0:0(0) win 1 <mss 65536>", 1, "mss is 0 to 65535"),
        ("0 < S 0:0(0) win 1 <nop,wscale 256>", 1, "wscale is 0 to 255"),
        ("0 < S 0:0(0) win 1 <nop,wscale *>", 1, "only for outbound"),
        ("0 < S 0:0(0) win 1 <mss 1000,sackOK>", 1, "6 bytes; that is no multiple of 4"),
        ("0 < . 1:1(0) ack 1 win 1 <nop,nop,sack 1:2 3:4 5:6 7:8 9:10>", 1, "at most 40"),
        ("0 < . 1:1(0) ack 1 win 1 urg 65536", 1, "urgent pointer is 0 to 65535"),
        ("0 < 1 > 65536 S 0:0(0) win 1", 1, "a port is 0 to 65535"),
        ("0 < [tos 0x100] S 0:0(0) win 1", 1, "tos is 0 to 255"),
        ("0 < [ttl 256] S 0:0(0) win 1", 1, "ttl is 0 to 255"),
        ("0 < [ect01] S 0:0(0) win 1", 1, "only an outbound packet"),
        ("0 < . 4294967296:4294967296(0) ack 1 win 1", 1, "0 to 4294967295"),
        ("1 close(3) = 0\n\n.5 close(4) = 0", 3, "time goes back, from 1 to 0.5"),
        ("0 close(3) = 0\n+.2...0.1 read(4, ..., 1) = 1", 2, "to return before it is made"),
        ("0 close(3) = 0\n--mtu=1500", 2, "options stand before"),
        ("0 read(3, ...) = 5", 1, "takes 3 arguments (fd, buffer, count), not 2"),
        ("0 read(3, ..., 5, 0) = 5", 1, "not 4"),
        ("0 fcntl(3) = 5", 1, "takes 2 or 3 arguments"),
        ("0 poll([{fd=4, events=POLLIN}], 2, 0) = 0", 1, "says 2, and the list has 1 of pollfd"),
        ("0 writev(4, [{..., 10}, {..., 5}], 1) = 10", 1, "says 1, and the list has 2 of iovec"),
        (
            "0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 1}], msg_flags=0}, 0) = 1",
            1,
            "says 2, and the list has 1",
        ),
        ("0 read(3, ..., 5) = -1 EAGAN (Try again)", 1, "no error is called EAGAN (did you mean EAGAIN?)"),
        ('0 write(3, "a\\q", 2) = 2', 1, "\\q in a string"),
        ('0 write(3, "abc, 3) = 3', 1, "the string does not end"),
        ("0 close(3) = 0\n+0 %{ assert 1 == 1", 2, "the code does not end"),
        ("0 close(3) = 0\n+0 `ls", 2, "the command does not end"),
        ("0 close(3) = 0\n/* and so on", 2, "the comment does not end"),
        ("0 read(3, ..., 5)", 1, "'='"),
        ("0 > mpls (label 1) . 1:1(0) ack 1", 1, "not supported"),
    ],
)
def test_nonsense_is_refused_with_its_place(text, line, part):
    with pytest.raises(ScriptError) as caught:
        parse(text, "x.pkt")
    assert caught.value.line == line and part in caught.value.message and str(caught.value).startswith("x.pkt:")


def test_white_space_within_sequence_numbers():
    got = packet("> . 1 : 1001 (1000) ack 1 <nop,nop,sack 1 : 2 3:4>")
    assert (got.seq, got.length, got.options) == (1, 1000, (Option("nop"), Option("nop"), Option("sack", (1, 2, 3, 4))))


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


def test_what_packetdrill_checks_of_a_window_scale_may_be_left_open():
    options = packet("> S. 0:0(0) ack 1 <mss 1460,nop,wscale *>").options or ()
    assert options[-1] == Option("wscale") and difference_of_scale(options[-1]) is None
    assert difference_of_scale(Option("wscale", (6,))) is not None


def difference_of_scale(wanted):
    came = packet("> S. 0:0(0) ack 1 win 5 <nop,wscale 7>")
    return difference(replace(came, options=(Option("nop"), wanted)), came)


def test_an_echo_identifier_needs_no_code_before_it():
    got = one("0 < icmp echo_request id 77 [raw (64)]").action
    assert (got.code, got.mtu, got.ident, got.quoted) == (None, None, 77, ("raw", 0, 64))
    assert one("0 < icmp type_3 code_1 mtu 5").action.code == "code_1"


def test_symbols_are_commands_and_calls_too():
    """In packetdrill a symbol is replaced wherever a word stands."""
    script = parse(
        '--define=UP=`ip route change dev tun0` --define=WR=write --define=CC="reno"\nUP\n'
        "0 WR(3, ..., 5) = 5\n+0 UP\n+0 setsockopt(3, SOL_TCP, TCP_CONGESTION, CC, 4) = 0\nUP\n"
    )
    assert [text for _, text in script.setup] == [text for _, text in script.cleanup] == ["ip route change dev tun0"]
    first, second, third = (event.action for event in script.events)
    assert isinstance(first, SystemCall) and first.name == "write"
    assert second == Command("ip route change dev tun0")
    assert isinstance(third, SystemCall) and third.args[3] == Text(b"reno")


def test_escapes_in_strings_and_none_in_commands():
    assert call('write(3, "\\f\\v\\x41\\n\\"\\\\", 6) = 6').args[1] == Text(b'\f\vA\n"\\')
    assert one('0 `echo "a\\n" \\"`').action == Command('echo "a\\n" \\"')
