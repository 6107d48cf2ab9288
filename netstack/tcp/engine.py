"""The TCP of one host: ports (RFC 6056), demultiplexing, segments that belong to no connection (RFC 9293 sections
3.10.7.1 and 3.5.2), and ICMP errors (RFC 9293 section 3.9.2.2, RFC 5927).

A segment finds its connection (or request, or TIME-WAIT block) by one dict lookup with `trl_pkt.key`, else a listener
by port and address; else it gets a RST. The engine is given only what it needs of the stack: `route`, `timers`,
`settings`, `counters`, `rng` and `send(path, frame, now)`.

What must not be guessed (initial sequence numbers, RFC 6528; timestamp offsets; SYN cookies) are keyed SipHash values,
whose key is drawn from `rng` at the beginning.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from csrc import Frame, lib
from netstack import control
from netstack.address import ANY4, ANY6
from netstack.tcp import delack, emit, pmtu, screen, timeouts
from netstack.tcp.connection import Connection
from netstack.tcp.listener import Listener, Request, ports
from netstack.tcp.ports import release, taken, waits_in_the_way
from netstack.tcp.segment import ACK, COPY_BELOW, FIN, OPT_MD5, OPT_TIMESTAMP, RST, SYN, Plain, Segment
from netstack.tcp.seq import MASK, unwrap
from netstack.tcp.tcb import SECOND, SYN_RECEIVED, SYN_SENT
from netstack.tcp.timewait import TimeWait
from netstack.tcp.tunables import Tunables

if TYPE_CHECKING:
    from netstack.counters import Counters
    from netstack.interface import Interface
    from netstack.route import Path
    from netstack.tcp.why import Observer
    from netstack.timers import Timers

_siphash: Final = lib.trl_siphash
_timestamp_offset: Final = lib.trl_timestamp_offset

PATHS_MAX = 1024
TS_BEGIN = 300_000  # ms: the timestamp clock of a host that has been up for a while, since an echo of 0 means "none"


class Tcp:
    """Everything TCP of one stack."""

    __slots__ = (
        "_challenge_count", "_challenge_second", "_paths", "_requests", "_requests_timer", "_route", "_seg",
        "_tw_queue", "_tw_timer", "arriving", "batch", "bound", "connection", "counters", "listeners", "log", "rng",
        "saved", "screens", "secret", "send", "settings", "straight", "table", "tcpext", "timers", "told", "tw_count",
        "tw_ports", "why",
    )  # fmt: skip

    def __init__(
        self,
        *,
        route: Callable[..., Any],
        timers: Timers,
        settings: Any,
        counters: Counters,
        rng: Any,
        send: Callable[[Any, Any, int], Any],
    ) -> None:
        self._route = route
        self._paths: dict[tuple[bytes, bytes | None], Path] = {}
        self.timers: Timers = timers
        self.settings = Tunables(settings)
        self.counters = counters.tcp
        self.tcpext = counters.tcpext
        self.rng = rng
        self.send = send
        self.straight: Callable[[Any, Any, int], Any] | None = None
        """What `send` is where it does no more than `path.output`: then that is called at once."""
        self.log: Callable[..., None] | None = None  # given to new connections: one call per ACK
        self.batch = False
        """Whether what comes now is one of several frames that are taken before anybody reads."""
        self.told: list[tuple[Connection, int]] | None = None
        """While those who were told of data have yet to run: what their answers will acknowledge, or else `settle`."""
        self.connection: type[Connection] = Connection  # what new ones are made of (`why` has them observed)
        self.why: Observer | None = None
        self.secret = b"".join(self.below(1 << 32).to_bytes(4, "big") for _ in range(4))
        self.table: dict[bytes, Any] = {}
        self.bound: dict[int, dict[Any, Any]] = {}  # sockets by local port (see `ports`)
        self.listeners: dict[int, list[Listener]] = {}
        self._seg = Segment()
        self.arriving: Frame | None = None  # the frame of the segment in `_seg`, where that is no connection's
        self.screens = False  # whether a socket ever asked for it (see `screen`)
        self.saved: dict[Connection, bytes] = {}  # the SYNs of TCP_SAVE_SYN
        self._tw_queue: OrderedDict[TimeWait, None] = OrderedDict()  # all wait equally long: by deadline
        self._tw_timer = timers.timer(self._expire_time_waits)
        settings.follow(self._setting_changed)
        self.tw_count = 0
        self.tw_ports: dict[int, TimeWait] = {}  # the newest of each local port; `older` leads to the rest
        self._requests: deque[tuple[int, Request]] = deque()
        self._requests_timer = timers.timer(self._expire_requests)
        self._challenge_second = -1
        self._challenge_count = 0

    def socket(self, stack: Any, family: int, proto: int) -> Any:
        from netstack.tcp.socket import TcpSocket

        return TcpSocket(stack, family, proto)

    def route(self, dst: bytes, src: bytes | None = None) -> Path:
        """The path between two addresses, shared by all their connections; OSError when there is none."""
        path = self._paths.get((dst, src))
        if path is not None and (path.mtu < path.link_mtu or path.locked):
            path.stack.routes.pmtu_of(dst, path.stack.now)  # may have expired: that changes the generation
        if path is None or path.generation != path.stack.routes.generation:
            if len(self._paths) >= PATHS_MAX:
                self._paths.clear()
            path = self._paths[dst, src] = self._route(dst, src)
        return path

    def below(self, n: int) -> int:
        part: float = self.rng.random()
        return int(part * n)

    # Input.

    def input(self, pkt: Any, frame: Frame, interface: Interface, now: int) -> None:
        """A segment whose headers and checksum are good."""
        seg = self._seg
        seg.load(pkt, frame, interface)
        self.arriving = frame
        self.counters.InSegs += 1
        found = self.table.get(seg.key)
        if seg.options & OPT_MD5:  # nobody has a key to verify it with: dropped, no answer (RFC 2385 section 2.0)
            if found is not None or self.find_listener(seg) is not None:
                self.tcpext.TCPMD5Unexpected += 1
        elif found is not None:
            found.segment_arrives(seg, now)
        else:
            self.listen_input(seg, now, None)

    def screened_input(self, pkt: Any, frame: Frame, interface: Interface, now: int) -> None:
        """`input` of what its socket may not want to see."""
        sock = None
        request = False
        if self.screens:
            seg = self._seg
            seg.load(pkt, frame, interface)
            found = self.table.get(seg.key)
            if found is None:
                listener = self.find_listener(seg)
                sock = listener.sock if listener is not None else None
            elif not isinstance(found, TimeWait):
                sock, request = screen.holder(found), isinstance(found, Request)
        if sock is None or screen.takes(sock, frame, interface, request):
            self.input(pkt, frame, interface, now)
        else:
            self.counters.InSegs += 1

    def plain_input(self, fields: Plain, frame: Frame, interface: Interface, now: int) -> None:
        """The same for a segment in the fields of `struct trl_plain`: loaded here, without a call for it."""
        seg = self._seg
        _, key, seg.seq, seg.ack, seg.tsval, seg.tsecr, length, what, where, ip, syn = fields
        seg.flags = what & 0xFFFF
        seg.options = what >> 16
        seg.window = where & 0xFFFF
        start = where >> 16
        seg.ttl = ip & 0xFF
        seg.tos = ip >> 8
        seg.mss = syn & 0xFFFF
        seg.wscale = syn >> 16
        seg.key = key
        seg.interface = interface
        seg.length = length
        if length:
            data = frame.data
            if length >= COPY_BELOW:
                seg.payload = memoryview(data)[start : start + length]
            elif isinstance(data, bytes):
                seg.payload = data[start : start + length]
            else:
                seg.payload = bytes(memoryview(data)[start : start + length])
            seg.gso_size = frame.gso_size
            seg.gso_segs = frame.gso_segs
        else:
            seg.payload = b""
            seg.gso_size = 0
            seg.gso_segs = 1
        self.counters.InSegs += 1
        found = self.table.get(key)
        if isinstance(found, Connection):
            found.segment_arrives(seg, now)
        else:
            self.arriving = frame
            if found is None:
                self.listen_input(seg, now, None)
            else:
                found.segment_arrives(seg, now)

    def arriving_ttl(self) -> int:
        """TTL or hop limit of the segment that is being received, or was last."""
        return self._seg.ttl

    def settle(self, now: int) -> None:
        """Those who were told of data have had their chance to answer: acknowledge what they did not (see `delack`)."""
        told, self.told = self.told, None
        if told:
            for c, copied in told:
                delack.let_go(c, copied, now)

    def listen_input(self, seg: Segment, now: int, isn: int | None) -> None:
        """No connection: a listener, or the state is CLOSED (RFC 9293 section 3.10.7.1)."""
        listener = self.find_listener(seg)
        if listener is not None:
            listener.segment_arrives(seg, now, isn)
        else:
            self.reset_for(seg, now)

    def find_listener(self, seg: Segment) -> Listener | None:
        """The listener bound to the segment's address, else to any (of several with SO_REUSEPORT, one by hash)."""
        key = seg.key
        n = len(key) - 4
        group = self.listeners.get(key[n] << 8 | key[n + 1])
        if not group:
            return None
        n >>= 1
        local = key[:n]
        best: list[Listener] = []
        score = -1
        for listener in group:
            address = listener.sock.local[0]
            device = listener.sock.bound_device
            if device is not None and device is not seg.interface:
                continue
            if address == local:
                here = 2
            elif address in (ANY4, ANY6) and (len(address) == n or (n == 4 and not listener.sock.v6only)):
                here = 1 if len(address) == n else 0
            else:
                continue
            if device is not None:
                here += 2
            if here > score:
                best, score = [listener], here
            elif here == score:
                best.append(listener)
        if not best:
            return None
        return best[0] if len(best) == 1 else best[self.keyed(b"port" + key) % len(best)]

    def unicast(self, seg: Segment) -> bool:
        """Both addresses are of one host each: else nothing is answered (RFC 9293 section 3.9.2.3)."""
        key = seg.key
        if len(key) == 12:
            return key[0] < 224 and key[4] < 224 and key[:4] != ANY4 and key[4:8] != ANY4
        return key[0] != 0xFF and key[16] != 0xFF

    def reset_for(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.1: a segment for no connection gets a RST (with its TOS, as in Linux); a RST gets
        nothing."""
        flags = seg.flags
        if flags & RST or not self.unicast(seg):
            return
        key = seg.key
        n = (len(key) - 4) // 2
        try:
            path = self.route(key[n : 2 * n], key[:n])
        except OSError:
            return
        lport, rport = ports(key)
        tos = seg.tos & 0xFC
        self.counters.OutRsts += 1
        if flags & ACK:
            self.reply(path, lport, rport, seg.ack, 0, RST, 0, now, tos=tos)
        else:
            end = seg.seq + seg.length + (flags & FIN) + (1 if flags & SYN else 0)
            self.reply(path, lport, rport, 0, end, RST | ACK, 0, now, tos=tos)

    def reply(
        self,
        path: Path,
        lport: int,
        rport: int,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        now: int,
        ts: tuple[int, int] | None = None,
        options: int = 0,
        mss: int = 0,
        wscale: int = 0,
        tos: int = 0,
        ttl: int = -1,
    ) -> None:
        """A segment without payload that no connection sends."""
        tsval = tsecr = 0
        if ts is not None:
            options |= OPT_TIMESTAMP
            tsval, tsecr = ts
        frame = emit.answer(
            path, lport << 16 | rport, seq, ack, flags, window, options, tsval, tsecr, mss | wscale << 16, tos
        )
        if ttl >= 0:
            emit.set_ttl(frame, path, ttl)
        self.counters.OutSegs += 1
        if self.send is self.straight:
            path.leave(frame, now)
        else:
            self.send(path, frame, now)

    # Connections.

    def forget(self, c: Connection) -> None:
        """The connection is gone: its key, and its port when nobody else holds it, are free."""
        table = self.table
        if table.get(c.key) is c:
            del table[c.key]
        if self.saved and c.orphan:
            self.saved.pop(c, None)
        sock = c.sock
        if sock is not None and (sock.closed or not sock.pinned):
            release(sock)  # a port that nobody asked for by name is no longer held, though the socket is

    def challenge_allowed(self, now: int) -> bool:
        """RFC 5961 section 7: tcp_challenge_ack_limit challenge ACKs per second for the whole host (Linux's default is
        no limit)."""
        limit = self.settings.tcp_challenge_ack_limit
        if limit >= 0x7FFFFFFF:
            return True
        second = now // SECOND
        if self._challenge_second != second:
            self._challenge_second = second
            # A random number about the limit, so that nobody can count what others were sent (CVE-2016-5696).
            self._challenge_count = (limit + 1) // 2 + self.below(limit or 1)
        if self._challenge_count <= 0:
            return False
        self._challenge_count -= 1
        return True

    def keyed(self, data: bytes) -> int:
        value: int = _siphash(self.secret, data, len(data))
        return value & MASK

    def isn(self, key: bytes, now: int) -> int:
        """RFC 6528 section 3: M + F(addresses, ports, secret). M counts 64 ns as in Linux (4 us in the RFC)."""
        return (self.keyed(b"isn" + key) + (now >> 6)) & MASK

    def ts_offset(self, key: bytes) -> int:
        """RFC 7323 section 5.4: where the timestamp clock of a connection starts. It depends on addresses and ports, as
        in Linux: so PAWS holds from one connection between two ports to the next, and the clock tells no others."""
        if self.settings.tcp_timestamps != 1:
            return TS_BEGIN
        offset: int = _timestamp_offset(self.secret, key, len(key))
        return offset

    # Ports (RFC 6056; bind(2), SO_REUSEADDR, SO_REUSEPORT as Linux).

    def port_conflict(self, sock: Any, address: bytes, port: int, listening: bool = False) -> bool:
        group = self.bound.get(port)
        if group is not None and taken(sock, address, group, listening):
            return True
        return any(waits_in_the_way(sock, address, tw) for tw in self.time_waits(port))

    def time_waits(self, port: int) -> list[TimeWait]:
        found: list[TimeWait] = []
        tw = self.tw_ports.get(port)
        while tw is not None:
            found.append(tw)
            tw = tw.older
        return found

    def pick_bind_port(self, sock: Any, address: bytes) -> int:
        """A free port for bind to port 0, or 0 when there is none."""
        low, high = self.settings.ip_local_port_range
        count = high - low + 1
        start = self.below(count)
        for step in range(count):
            port = low + (start + step) % count
            if port not in self.bound and not self.port_conflict(sock, address, port):
                return int(port)
        return 0

    def pick_connect_port(self, local: bytes, remote: bytes, rport: int, now: int) -> int:
        """RFC 6056 section 3.3.1 (algorithm 1): begin at a random port, and try one after the other. 0 when none is
        free. (Linux has algorithm 4.)"""
        low, high = self.settings.ip_local_port_range
        count = high - low + 1
        start = self.below(count)
        tail = rport.to_bytes(2, "big")
        for step in range(count):
            port = low + (start + step) % count
            if port in self.bound:
                continue
            entry = self.table.get(local + remote + port.to_bytes(2, "big") + tail)
            if entry is None or (entry.__class__ is TimeWait and entry.reusable_at(now)):
                return int(port)
        return 0

    # SYN-ACKs sent for the first time all wait equally long: one queue and one timer serve them.

    def queue_request(self, request: Request, at: int) -> bool:
        """False where the request needs a timer of its own: the setting has changed."""
        queue = self._requests
        if queue and at < queue[-1][0]:
            return False
        request.deadline_ns = at
        queue.append((at, request))
        if len(queue) == 1:
            self._requests_timer.arm(at)
        return True

    def request_over(self) -> None:
        """Some request waits no more."""
        queue = self._requests
        while queue and queue[0][1].deadline_ns != queue[0][0]:
            queue.popleft()
        if queue:
            self._requests_timer.arm(queue[0][0])
        else:
            self._requests_timer.disarm()

    def _expire_requests(self, now: int) -> None:
        queue = self._requests
        while queue and queue[0][0] <= now:
            at, request = queue.popleft()
            if request.deadline_ns == at:
                request.deadline_ns = 0
                request.on_timer(now)
        self.request_over()

    # TIME-WAIT.

    def start_time_wait(self, c: Connection, now: int) -> None:
        """Enter TIME-WAIT (RFC 9293 section 3.6.1) if there is room for one more (net.ipv4.tcp_max_tw_buckets)."""
        if self.tw_count >= self.settings.tcp_max_tw_buckets:
            self.tcpext.TCPTimeWaitOverflow += 1
            return
        tw = TimeWait(c, now)
        self.table[c.key] = tw
        self.tw_count += 1
        older = tw.older = self.tw_ports.get(tw.lport)
        if older is not None:
            older.newer = tw
        self.tw_ports[tw.lport] = tw
        tw.restart(now)

    def queue_time_wait(self, tw: TimeWait) -> None:
        queue = self._tw_queue
        queue[tw] = None
        queue.move_to_end(tw)
        if self._tw_timer.deadline is None:
            self._tw_timer.arm(tw.deadline_ns)

    def end_time_wait(self, tw: TimeWait) -> None:
        if self.table.get(tw.key) is tw:
            del self.table[tw.key]
            self._tw_queue.pop(tw, None)
            self.tw_count -= 1
            older, newer = tw.older, tw.newer
            if older is not None:
                older.newer = newer
            if newer is not None:
                newer.older = older
            elif older is not None:
                self.tw_ports[tw.lport] = older
            else:
                del self.tw_ports[tw.lport]
            tw.older = tw.newer = None

    def _expire_time_waits(self, now: int) -> None:
        """2 MSL are over (60 s, as Linux has it)."""
        queue = self._tw_queue
        while queue:
            tw = next(iter(queue))
            if tw.deadline_ns > now:
                self._tw_timer.arm(tw.deadline_ns)
                return
            self.tcpext.TW += 1
            self.end_time_wait(tw)

    def _setting_changed(self, attribute: str, value: Any) -> None:
        """Those that follow wait for longer or less: the blocks in the queue have a timer each from now on."""
        if attribute == "tcp_timewait_len_ms":
            for tw in self._tw_queue:
                self.timers.timer(partial(self._expire_time_wait, tw, tw.deadline_ns)).arm(tw.deadline_ns)
            self._tw_queue.clear()
            self._tw_timer.disarm()

    def _expire_time_wait(self, tw: TimeWait, deadline_ns: int, now: int) -> None:
        if self.table.get(tw.key) is tw and tw.deadline_ns == deadline_ns:
            self.tcpext.TW += 1
            self.end_time_wait(tw)

    # ICMP (RFC 9293 section 3.9.2.2; RFC 5927).

    def icmp_error(self, error: Any, now: int) -> None:
        """An ICMP error whose quoted packet carries our addresses and ports."""
        found = self.table.get(error.key)
        if found is None:
            return
        if found.__class__ is TimeWait:
            return  # nothing is out that it could be about
        if found.__class__ is Request:
            found.icmp(error, now)
            return
        c: Connection = found
        if self.screens:
            holder = screen.holder(c)
            if holder is not None and error.ttl < screen.least_ttl(holder, error.version):
                self.tcpext.TCPMinTTLDrop += 1
                return
        seq = unwrap(int.from_bytes(error.l4[4:8], "big"), c.snd_una)
        if not c.snd_una <= seq <= c.snd_nxt:
            # RFC 5927 section 4.1: it is about nothing that is in flight.
            self.tcpext.OutOfWindowIcmps += 1
            return
        if error.frag_needed or (error.version == 6 and error.type == 2):
            pmtu.too_big(c, error, now)
            return
        code = error.errno
        if not code:
            return
        timeouts.unreachable(c, error, seq, now)
        sock = c.sock
        wanted = sock is not None and control.wants_errors(sock, error.version)
        if c.state in (SYN_SENT, SYN_RECEIVED):
            if sock is not None and (wanted or error.version == 4):
                if not wanted:
                    sock.errors_wanted(True)  # Linux queues an error that ends an attempt over IPv4, asked or not
                control.queue_icmp(sock, error, 0, c.ports & 0xFFFF)
            c.fail(code, now)
        elif wanted and sock is not None:
            sock.so_error = code  # the next call fails, but nothing is queued: that is for what ends an attempt
            sock.wake()
        else:
            # RFC 9293 section 3.9.2.2: a soft error does not end a connection; it explains the end if that comes.
            c.soft_error = code

    def connections(self) -> list[Any]:
        """Everything in the table: connections, requests, TIME-WAIT blocks."""
        return list(self.table.values())
