"""Makes scenarios: a connection's life with a peer who does everything a peer may do, and some of what it may not.

The script is written while it runs against this stack, since what a peer can sensibly acknowledge or ask for again
depends on what was sent. The peer keeps a list of what is on the wire, delivers it, loses it or delivers it late, and
acknowledges with SACK and D-SACK as RFC 2018 and 2883 have it; from time to time it says something that is stale, out
of window or wrong. Events keep away from the stack's timers: a host that is late must not decide what comes first.
"""

from __future__ import annotations

from typing import ClassVar

from drivers.clock import Stream, VirtualTimeline
from tools.packetdrill.differential.guard import MS, Guard
from tools.packetdrill.differential.record import Recorder, Scenario
from tools.packetdrill.host import Host
from tools.packetdrill.script import ACK, FIN, RST, SYN, TcpPacket

KINDS = ("sender", "receiver", "both", "closing", "hostile", "handshake", "options", "windows")


class Builder:
    """One scenario in the making."""

    def __init__(self, rng: Stream, kind: str) -> None:
        self.rng = rng
        self.kind = kind
        self.scenario = Scenario()
        self.sack = rng.random() < 0.75
        self.ts = rng.random() < 0.4
        self.wscale = rng.choice([None, 0, 2, 7, 7, 7])
        self.mss = rng.choice([1000, 1000, 1460, 536, 1440, 300])
        self.ecn = rng.random() < 0.15
        self.rtt = rng.choice([20, 50, 50, 100, 200]) * MS
        self.loss = rng.choice([0, 0, 0.05, 0.1, 0.3])
        self.win = rng.choice([65535, 65535, 30000, 5000])
        self.fd = 4
        self.peer_nxt = 1  # the next the peer sends
        self.peer_fin = False
        self.rcv_nxt = 1  # what the peer has of ours
        self.ooo: list[tuple[int, int]] = []  # newest first
        self.wire: list[tuple[int, int]] = []
        self.snd_max = 1
        self.stack_ack = 1
        self.stack_win = 0
        self.scale = 0
        self.gone = False
        self.written = 0
        # Room enough: how much memory a segment takes is each kernel's own.
        setup = ["--tolerance_usecs=0", '`sysctl -q net.ipv4.tcp_wmem="4096 262144 4194304"`']
        if self.ecn:
            setup.append("`sysctl -q net.ipv4.tcp_ecn=1`")
        for name, values in (
            ("tcp_sack", (0,)), ("tcp_timestamps", (0,)), ("tcp_window_scaling", (0,)), ("tcp_dsack", (0,)),
            ("tcp_early_retrans", (0,)), ("tcp_recovery", (0,)), ("tcp_slow_start_after_idle", (0,)),
            ("tcp_frto", (0,)), ("tcp_abort_on_overflow", (1,)), ("tcp_rfc1337", (1,)), ("tcp_reordering", (1, 5)),
            ("tcp_retries2", (3,)), ("tcp_thin_linear_timeouts", (1,)), ("tcp_limit_output_bytes", (4000,)),
            ("tcp_min_tso_segs", (1,)), ("tcp_autocorking", (0,)), ("tcp_fin_timeout", (1,)),
            ("tcp_syncookies", (2,)), ("tcp_shrink_window", (1,)), ("tcp_moderate_rcvbuf", (0,)),
        ):  # fmt: skip
            if rng.random() < 0.04:
                setup.append(f"`sysctl -q net.ipv4.{name}={rng.choice(values)}`")
        self.scenario.setup = setup
        self.recorder = Recorder(setup, Host)
        self.guard = Guard(self.recorder, self.saw)

    # -- steps

    def step(self, gap: int, line: str) -> None:
        """One line, `gap` after the one before, or a little later where a timer is about to end."""
        recorder = self.recorder
        gap = (self.guard.due(gap) - recorder.due + MS - 1) // MS * MS
        self.scenario.steps.append((gap, line))
        recorder.step(gap, line)
        self.guard.look()

    def saw(self, packet: TcpPacket) -> None:
        if packet.flags & RST:
            self.gone = True
            return
        if packet.flags & ACK and packet.ack < 1 << 31:
            self.stack_ack = max(self.stack_ack, packet.ack)
            self.stack_win = (packet.window or 0) << (0 if packet.flags & SYN else self.scale)
        if packet.flags & SYN:
            for option in packet.options or ():
                if option.kind == "wscale" and self.wscale is not None:
                    self.scale = option.values[0]
            return
        end = packet.seq + packet.length + (1 if packet.flags & FIN else 0)
        if end > packet.seq and end < 1 << 31:
            self.wire.append((packet.seq, end))
            self.snd_max = max(self.snd_max, end)

    def gap(self) -> int:
        return self.rng.choice([2, 5, 10, 10, 30, 60, 60, 120, 300]) * MS

    # -- what the peer says

    def options(self, sack: str = "", stale: int = 0) -> str:
        parts = []
        if self.ts and not (self.kind == "hostile" and self.rng.random() < 0.03):
            value = max(1, 1000 + self.recorder.due // MS - stale)
            parts.append(f"nop,nop,TS val {value} ecr 0")
        if sack:
            parts.append(f"nop,nop,sack {sack}")
        return f" <{','.join(parts)}>" if parts else ""

    def say(
        self, gap: int, flags: str, seq: int, length: int = 0, ack: int | None = None, sack: str = "", stale: int = 0,
        win: int | None = None, urg: int | None = None,
    ) -> None:  # fmt: skip
        """One inbound segment."""
        seq &= 0xFFFFFFFF
        text = f"< {flags} {seq}:{seq + length & 0xFFFFFFFF}({length})"
        if "." in flags:
            text += f" ack {(self.rcv_nxt if ack is None else ack) & 0xFFFFFFFF}"
        text += f" win {self.win if win is None else win}"
        if urg is not None:
            text += f" urg {urg}"
        self.step(gap, text + self.options(sack, stale))

    def blocks(self, dsack: tuple[int, int] | None = None) -> str:
        if not self.sack:
            return ""
        room = 3 if self.ts else 4
        listed = ([dsack] if dsack else []) + self.ooo
        return " ".join(f"{a}:{b}" for a, b in listed[:room])

    def deliver(self) -> tuple[bool, tuple[int, int] | None]:
        """The oldest segment on the wire reaches the peer. Whether it is worth an immediate ACK, and a D-SACK block."""
        start, end = self.wire.pop(0)
        if end <= self.rcv_nxt or any(a <= start and end <= b for a, b in self.ooo):
            return True, (start, end)
        if start > self.rcv_nxt:
            merged = (start, end)
            rest = []
            for a, b in self.ooo:
                if b < merged[0] or a > merged[1]:
                    rest.append((a, b))
                else:
                    merged = (min(a, merged[0]), max(b, merged[1]))
            self.ooo = [merged, *rest]
            return True, None
        self.rcv_nxt = end
        filled = bool(self.ooo)
        for a, b in sorted(self.ooo):
            if a <= self.rcv_nxt:
                self.rcv_nxt = max(self.rcv_nxt, b)
        self.ooo = [(a, b) for a, b in self.ooo if b > self.rcv_nxt]
        return filled, None

    def acknowledge(self, gap: int, dsack: tuple[int, int] | None = None) -> None:
        flags = "."
        if self.ecn and self.rng.random() < 0.1:
            flags = "E."
        self.say(gap, flags, self.peer_nxt + self.peer_fin, ack=self.rcv_nxt, sack=self.blocks(dsack))

    def round_trip(self) -> None:
        """What is on the wire arrives, as far as it does, and is acknowledged."""
        rng = self.rng
        wait = self.rtt
        every = rng.choice([1, 1, 2, 2, 4, 100])
        count = 0
        budget = rng.choice([2, 5, 20, 20])
        if rng.random() < 0.1 and len(self.wire) > 2:
            at = rng.below(len(self.wire))
            self.wire.insert(rng.below(len(self.wire)), self.wire.pop(at))
        while self.wire and budget:
            budget -= 1
            if rng.random() < self.loss:
                self.wire.pop(0)
                continue
            now, dsack = self.deliver()
            count += 1
            if now or count >= every or (not self.wire and rng.random() < 0.8):
                if rng.random() < 0.08:
                    continue  # this ACK is lost
                self.acknowledge(wait, dsack)
                wait = rng.choice([0, 0, 3, 6]) * MS  # not a millisecond: for so long segments may be put off
                count = 0

    def data(self) -> None:
        """The peer sends, in order or not."""
        rng = self.rng
        size = rng.choice([1, 10, 100, 500, self.mss, self.mss, self.mss])
        flags = rng.choice([".", "P."])
        base = self.peer_nxt
        choice = rng.random()
        if self.peer_fin:
            base, choice = self.peer_nxt, 0.8
        if choice < 0.55:
            for _ in range(rng.choice([1, 1, 2, 3, 6])):
                self.say(rng.choice([0, 2, 10, 50]) * MS, flags, self.peer_nxt, size)
                self.peer_nxt += size
        elif choice < 0.75:
            ahead = rng.choice([1, 2, 3])
            self.say(self.gap(), flags, base + ahead * size, size)
            if rng.random() < 0.7:
                for _ in range(ahead):
                    self.say(rng.choice([0, 3, 20]) * MS, flags, self.peer_nxt, size)
                    self.peer_nxt += size
                self.peer_nxt += size
        elif choice < 0.87:
            back = min(base - 1, rng.choice([1, size]), self.mss - 10)
            self.say(self.gap(), flags, base - back, back + (0 if self.peer_fin or rng.random() < 0.5 else 10))
            if not self.peer_fin and self.scenario.steps[-1][1].find(f":{base + 10}(") > 0:
                self.peer_nxt = base + 10
        else:
            self.say(self.gap(), flags, base, size, urg=rng.choice([1, size, size + 1, 0]))
            if not self.peer_fin:
                self.peer_nxt += size

    def hostile(self) -> None:
        """What an attacker, a broken or a forgetful peer sends."""
        rng = self.rng
        nxt, una, top = self.peer_nxt + self.peer_fin, self.rcv_nxt, self.snd_max
        edge = self.stack_ack + self.stack_win
        choice = rng.below(16)
        gap = self.gap()
        if choice == 0:
            self.say(gap, "R", rng.choice([nxt, nxt + 1, nxt - 1, edge - 1, edge, edge + 1]))
        elif choice == 1:
            self.say(gap, "R.", rng.choice([nxt, nxt + 100, edge + 100]), ack=rng.choice([una, top + 1]))
        elif choice == 2:
            self.say(gap, rng.choice(["S", "S.", "S"]), rng.choice([0, nxt, nxt + 10, edge + 10]))
        elif choice == 3:
            self.say(gap, ".", nxt, ack=rng.choice([top + 1, top + 70000]))
        elif choice == 4:
            self.say(gap, ".", nxt, ack=max(una - rng.choice([1, 1000, 100000]), -100000) & 0xFFFFFFFF)
        elif choice == 5:
            self.say(gap, rng.choice(["-", "P", "U", "FPU"]), nxt, rng.choice([0, 10]))
        elif choice == 6:
            self.say(gap, ".", rng.choice([edge - 1, edge, edge + 1, edge + 1000]), rng.choice([0, 1, 100]))
        elif choice == 7:
            self.say(gap, "F.", nxt + rng.choice([1, 500, self.stack_win]))
        elif choice == 8 and self.ts:
            flags = rng.choice([".", "P.", "F.", "R", "R.", "S"])
            self.say(gap, flags, nxt, rng.choice([0, 10]), stale=rng.choice([50, 5000]))
        elif choice == 9:
            for _ in range(rng.choice([1, 3, 4])):
                self.say(rng.choice([0, 3, 10]) * MS, ".", nxt, ack=una, sack=self.blocks())
        elif choice == 10 and self.sack:
            left = rng.choice([una - 1000, una, una + 1000, top, top + 1])
            right = left + rng.choice([1, 1000, 3000])
            self.say(gap, ".", nxt, ack=una, sack=f"{left & 0xFFFFFFFF}:{right & 0xFFFFFFFF}")
        elif choice == 11:
            self.say(gap, ".", max(1, nxt - rng.choice([1, 2, 1000])), rng.choice([0, 1]))
        elif choice == 12:
            self.say(gap, "SF", nxt)
        elif choice == 13:
            self.say(gap, rng.choice(["SR", "S.", "FR", "R."]), nxt)
        elif choice == 14:
            code = rng.choice([
                "host_unreachable", "port_unreachable", "net_unreachable", "frag_needed mtu 1000",
                "frag_needed mtu 600", "protocol_unreachable", "host_prohibited", "source_route_failed",
            ])  # fmt: skip
            seq = rng.choice([una, una, una, max(1, top - 1), top + 5])
            self.step(gap, f"< icmp unreachable {code} [{seq}:{seq + 100}(100)]")
        else:
            self.say(gap, ".", nxt, ack=una + rng.below(max(top + 1 - una, 1)))
            self.rcv_nxt = max(self.rcv_nxt, int(self.scenario.steps[-1][1].split("ack ")[1].split()[0]))

    # -- what the user does

    def write(self) -> None:
        rng = self.rng
        size = rng.choice([1, 10, 100, self.mss, 2 * self.mss, 3 * self.mss + 17, 10_000, 20_000, 50_000])
        choice = rng.random()
        if choice < 0.8:
            self.step(self.gap(), f"write({self.fd}, ..., {size}) = -99")
        else:
            flag = rng.choice(["MSG_MORE", "MSG_OOB", "MSG_EOR", "MSG_DONTWAIT", "MSG_NOSIGNAL", "MSG_MORE|MSG_EOR"])
            size = min(size, 3000)
            self.step(self.gap(), f"send({self.fd}, ..., {size}, {flag}) = -99")

    def read(self) -> None:
        rng = self.rng
        size = rng.choice([1, 100, 1000, 5000, 100_000])
        if rng.random() < 0.75:
            self.step(self.gap(), f"read({self.fd}, ..., {size}) = -99")
        else:
            flag = rng.choice(["MSG_PEEK", "MSG_TRUNC", "MSG_OOB", "MSG_DONTWAIT", "MSG_WAITALL", "MSG_PEEK|MSG_TRUNC"])
            self.step(self.gap(), f"recv({self.fd}, ..., {size}, {flag}) = -99")

    def set_option(self, fd: int, gap: int) -> None:
        rng = self.rng
        level, name, value = rng.choice([
            ("SOL_TCP", "TCP_NODELAY", [0, 1]), ("SOL_TCP", "TCP_CORK", [0, 1]), ("SOL_TCP", "TCP_QUICKACK", [0, 1, 2]),
            ("SOL_TCP", "TCP_MAXSEG", [500, 900, 20, 100000]), ("SOL_TCP", "TCP_WINDOW_CLAMP", [0, 5000, 30000, 10]),
            ("SOL_SOCKET", "SO_RCVBUF", [1000, 4000, 20000, 200000]), ("SOL_SOCKET", "SO_SNDBUF", [1000, 5000, 30000]),
            ("SOL_SOCKET", "SO_RCVLOWAT", [1, 1000, 5000]), ("SOL_TCP", "TCP_LINGER2", [-1, 0, 1, 100]),
            ("SOL_TCP", "TCP_USER_TIMEOUT", [0, 500, 1500]), ("SOL_TCP", "TCP_NOTSENT_LOWAT", [1, 3000]),
            ("SOL_SOCKET", "SO_KEEPALIVE", [0, 1]), ("SOL_TCP", "TCP_KEEPIDLE", [1, 2, 0]),
            ("SOL_TCP", "TCP_KEEPINTVL", [1, 2]), ("SOL_TCP", "TCP_KEEPCNT", [1, 2, 128]),
            ("SOL_SOCKET", "SO_OOBINLINE", [0, 1]), ("SOL_TCP", "TCP_THIN_LINEAR_TIMEOUTS", [1]),
            ("SOL_TCP", "TCP_DEFER_ACCEPT", [0, 1, 3]), ("SOL_TCP", "TCP_SYNCNT", [1, 3, 0]),
            ("SOL_SOCKET", "SO_PRIORITY", [3]), ("SOL_IP", "IP_TOS", [0x10, 0x28]),
        ])  # fmt: skip
        self.step(gap, f"setsockopt({fd}, {level}, {name}, [{rng.choice(value)}], 4) = -99")

    def ask(self) -> None:
        rng = self.rng
        fd = self.fd
        self.step(self.gap(), rng.choice([
            f"poll([{{fd={fd}, events=POLLIN|POLLOUT|POLLPRI|POLLRDHUP, revents=0x4000}}], 1, 0) = -99",
            f"getsockopt({fd}, SOL_SOCKET, SO_ERROR, [-99], [4]) = 0",
            f"ioctl({fd}, SIOCINQ, [-99]) = 0", f"ioctl({fd}, SIOCOUTQ, [-99]) = 0",
            f"ioctl({fd}, SIOCATMARK, [-99]) = 0", f"ioctl({fd}, SIOCOUTQNSD, [-99]) = 0",
            f"getsockopt({fd}, SOL_TCP, TCP_MAXSEG, [-99], [4]) = 0",
            f"getsockopt({fd}, SOL_SOCKET, SO_RCVBUF, [-99], [4]) = 0",
            f"getsockopt({fd}, SOL_SOCKET, SO_SNDBUF, [-99], [4]) = 0",
            "%{ }%", "%{ }%", "%{ }%", "%{ }%",
        ]))  # fmt: skip

    def shut(self) -> None:
        rng = self.rng
        choice = rng.random()
        if choice < 0.4:
            how = rng.choice(["SHUT_RD", "SHUT_WR", "SHUT_WR", "SHUT_RDWR"])
            self.step(self.gap(), f"shutdown({self.fd}, {how}) = -99")
        elif choice < 0.6:
            if rng.random() < 0.3:
                self.step(self.gap(), f"setsockopt({self.fd}, SOL_SOCKET, SO_LINGER, {{onoff=1, linger=0}}, 8) = -99")
            self.step(self.gap(), f"close({self.fd}) = -99")
            self.fd = 99
        elif not self.peer_fin:
            size = rng.choice([0, 0, 10, self.mss])
            self.say(self.gap(), rng.choice(["F.", "FP."]), self.peer_nxt, size)
            self.peer_nxt += size
            self.peer_fin = True
        else:
            self.say(self.gap(), "F.", self.peer_nxt)

    # -- the beginning

    def syn_options(self, answer: bool) -> str:
        parts = [f"mss {self.mss}"] if self.mss else []
        if self.ts:
            if self.sack:
                parts.append("sackOK")
            else:
                parts += ["nop", "nop"]
            parts.append(f"TS val 1000 ecr {0}")
        elif self.sack:
            parts += ["nop", "nop", "sackOK"]
        if self.wscale is not None:
            parts += ["nop", f"wscale {self.wscale}"]
        return f" <{','.join(parts)}>" if parts else ""

    def open(self) -> None:
        rng = self.rng
        self.step(0, "socket(..., SOCK_STREAM, IPPROTO_TCP) = 3")
        self.step(0, "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0")
        if rng.random() < 0.6:
            self.step(0, 'setsockopt(3, SOL_TCP, TCP_CONGESTION, "reno", 4) = 0')
        if self.kind == "options" or rng.random() < 0.15:
            for _ in range(rng.choice([1, 2, 3])):
                self.set_option(3, 0)
        ecn = rng.choice(["", "EW"]) if self.ecn else ""
        if rng.random() < 0.65:
            self.step(0, "bind(3, ..., ...) = 0")
            self.step(0, f"listen(3, {rng.choice([1, 1, 5, 0])}) = 0")
            syn = f"< S{ecn} 0:0(0) win {rng.choice([65535, 65535, 5000, 0])}{self.syn_options(False)}"
            self.step(10 * MS, syn)
            if self.kind == "handshake":
                self.odd_handshake(syn)
            if rng.random() < 0.1:
                self.step(self.gap() * 4, syn)
            length = rng.choice([0, 0, 0, 0, 10])
            flags = "P." if length else "."
            self.say(self.rtt, flags, 1, length)
            self.peer_nxt += length
            self.step(2 * MS, "accept(3, ..., ...) = 4")
            self.step(0, "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0")
            return
        self.fd = 3
        self.step(0, "connect(3, ..., ...) = -99")
        choice = rng.random()
        window = rng.choice([65535, 65535, 5000, 0])
        answer = rng.choice(["E", ""]) if self.ecn else ""
        if self.kind == "handshake":
            self.odd_handshake(f"< S{ecn} 0:0(0) win {window}{self.syn_options(False)}")
        if choice < 0.8:
            self.step(self.rtt, f"< S{answer}. 0:0(0) ack 1 win {window}{self.syn_options(True)}")
        else:
            if self.wscale is None:
                self.wscale = 7  # Linux scales its windows here even for a peer that cannot: RFC 7323 section 2.2
            # At once: what Linux takes for the round trip, from its SYN-ACK on, is then nearly what it is from the SYN.
            self.step(2 * MS, f"< S{ecn} 0:0(0) win {window}{self.syn_options(False)}")
            if rng.random() < 0.5:
                self.step(self.gap(), f"< S. 0:0(0) ack 1 win {window}{self.syn_options(True)}")
            else:
                self.say(self.gap(), ".", 1)

    def odd_handshake(self, syn: str) -> None:
        """What may come before a handshake is complete."""
        rng = self.rng
        for _ in range(rng.choice([1, 1, 2, 3])):
            seq = rng.choice([0, 1, 1, 2, 70000, 100])
            choice = rng.below(9)
            gap = rng.choice([5, 100, 400, 1500]) * MS
            if choice == 0:
                self.step(gap, syn)
            elif choice == 1:
                self.say(gap, "R", seq)
            elif choice == 2:
                self.say(gap, "R.", seq, ack=rng.choice([0, 1, 2, 100]))
            elif choice == 3:
                self.say(gap, ".", seq, rng.choice([0, 10]), ack=rng.choice([0, 1, 2, 100]))
            elif choice == 4:
                self.step(gap, f"< S. 0:0(0) ack {rng.choice([0, 2, 100])} win 1000{self.syn_options(True)}")
            elif choice == 5:
                self.say(gap, rng.choice(["F.", "F", "FP."]), 1, rng.choice([0, 10]), ack=1)
            elif choice == 6:
                self.say(gap, "-", 1, 5)
            elif choice == 7:
                code = rng.choice(["host_unreachable", "port_unreachable", "net_unreachable", "protocol_unreachable"])
                self.step(gap, f"< icmp unreachable {code} [{rng.choice([0, 0, 1])}:1(1)]")
            else:
                self.step(gap, rng.choice([
                    "accept(3, ..., ...) = 4", "getsockopt(3, SOL_SOCKET, SO_ERROR, [-99], [4]) = 0",
                    "write(3, ..., 10) = -99",
                    "poll([{fd=3, events=POLLIN|POLLOUT, revents=0x4000}], 1, 0) = -99", "shutdown(3, SHUT_WR) = -99",
                    "read(3, ..., 10) = -99", "%{ }%", "close(3) = -99", "connect(3, ..., ...) = -99",
                ]))  # fmt: skip

    # -- the whole

    ACTS = ("write", "round_trip", "data", "read", "ask", "hostile", "window", "wait", "shut", "option")
    WEIGHTS: ClassVar[dict[str, tuple[float, ...]]] = {
        "sender": (4, 6, 0.3, 0, 1, 0.3, 0.3, 0.5, 0.2, 0),
        "receiver": (0.5, 0.5, 6, 3, 1, 0.5, 0, 0.5, 0.2, 0),
        "both": (3, 3, 3, 2, 1, 0.3, 0.3, 0.5, 0.3, 0.3),
        "closing": (2, 2, 1, 1, 1, 1, 0, 0.7, 4, 0),
        "hostile": (2, 2, 2, 1, 1, 6, 0, 0.3, 0.5, 0),
        "handshake": (1, 1, 1, 1, 2, 1, 0, 0, 1, 0),
        "options": (3, 3, 2, 2, 2, 0, 0, 0.5, 0.5, 4),
        "windows": (3, 2, 1, 1, 1, 0, 4, 2, 0, 0),
    }
    """How often each kind of scenario does what."""

    def drawn(self) -> str:
        """What to do next, by the weights."""
        weights = self.WEIGHTS[self.kind]
        left = self.rng.random() * sum(weights)
        for name, weight in zip(self.ACTS, weights):
            left -= weight
            if left < 0:
                return name
        return self.ACTS[0]

    def act(self, what: str) -> None:
        rng = self.rng
        if what == "write":
            self.write()
        elif what == "round_trip":
            if self.wire:
                self.round_trip()
            else:
                self.write()
        elif what == "data":
            self.data()
        elif what == "read":
            self.read()
        elif what == "ask":
            self.ask()
        elif what == "hostile":
            self.hostile()
        elif what == "shut":
            self.shut()
        elif what == "option":
            self.set_option(self.fd, self.gap())
        elif what == "window":
            self.win = rng.choice([0, 0, 1, 10, 100, 500, 3000, 65535])
            self.acknowledge(self.gap())
        else:
            self.step(rng.choice([300, 700, 1500]) * MS, "%{ }%")

    def build(self, steps: int) -> Scenario:
        rng = self.rng
        try:
            self.open()
            while len(self.scenario.steps) < steps and not self.gone:
                self.act(self.drawn())
            for _ in range(2 if self.gone else 0):
                self.act(rng.choice(["ask", "read", "write", "data"]))
            self.step(120 * MS, "%{ }%")
            self.step(5 * MS, f"poll([{{fd={self.fd}, events=POLLIN|POLLOUT, revents=0x4000}}], 1, 0) = -99")
            self.step(5 * MS, f"getsockopt({self.fd}, SOL_SOCKET, SO_ERROR, [-99], [4]) = 0")
        finally:
            self.recorder.host.close()
        return self.scenario


def make(seed: int, kind: str | None = None, steps: int = 40) -> Scenario:
    """The scenario of a seed."""
    return Builder(VirtualTimeline(seed=seed).stream("scenario"), kind or KINDS[seed % len(KINDS)]).build(steps)
