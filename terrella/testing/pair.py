"""Two sockets, a link between them, and everything watched: the world in which a case runs.

`Pair` owns a virtual timeline, two stacks without a kernel (so that nothing takes time but the link), and the
two ways of a `Link`, with a router between where it has one. It makes socket calls in the name of side "a" (10.0.0.1
or fd00::1, port 4000) and side "b" (10.0.0.2 or fd00::2, port 80), carries packets to their fate, and tells every
oracle of

- each segment at the moment it leaves TCP, with the sender's state then (`sent`);
- each event of a side with the state before and after it: a segment's arrival, a timer, a call (`step`);
- what the router made of each packet (`passed`);
- each byte written and read (`wrote`, `got`), and the end (`ended`).

A pair carries one connection. Everything follows from the case: same case, same run, byte for byte.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from csrc.frame import Frame
from drivers.clock import VirtualTimeline
from drivers.net.direction import Direction, mark_congestion
from netstack.settings import Settings
from netstack.socket import SOL_SOCKET
from netstack.stack import Stack
from netstack.tcp.tcb import CLOSED, FIN_WAIT_2
from terrella.testing import forged, icmp, probe, wire
from terrella.testing.apps import Application, Runner, stream
from terrella.testing.links import (
    CORRUPT,
    DELAY,
    DELIVER,
    DROP,
    DUPLICATE,
    MARK,
    RENEGE,
    SHAVE,
    STALE,
    Fate,
    Link,
)
from terrella.testing.router import Between
from terrella.testing.side import AF_INET, AF_INET6, OTHER, PORTS, Side
from terrella.testing.strangers import KINDS as CALLS
from terrella.testing.strangers import Strangers
from terrella.testing.wire import Header, Segment

SOCK_STREAM, SOL_TCP = 1, 6
LINK_HEADER = 18
OLD_INCARNATION = 1 << 30  # timestamp ticks between an old duplicate and the living: twelve days
SECOND = 1_000_000_000
MOST_EVENTS = 250_000
"""More than any case of a megabyte needs: two ends that answer each other for ever are found out by it."""

OPTIONS: dict[str, tuple[int, int]] = {
    "TCP_NODELAY": (SOL_TCP, 1), "TCP_MAXSEG": (SOL_TCP, 2), "TCP_CORK": (SOL_TCP, 3), "TCP_QUICKACK": (SOL_TCP, 12),
    "TCP_CONGESTION": (SOL_TCP, 13), "TCP_NOTSENT_LOWAT": (SOL_TCP, 25), "TCP_WINDOW_CLAMP": (SOL_TCP, 10),
    "SO_SNDBUF": (SOL_SOCKET, 7), "SO_RCVBUF": (SOL_SOCKET, 8), "SO_RCVLOWAT": (SOL_SOCKET, 18),
    "SO_KEEPALIVE": (SOL_SOCKET, 9), "TCP_KEEPIDLE": (SOL_TCP, 4), "TCP_KEEPINTVL": (SOL_TCP, 5),
    "TCP_KEEPCNT": (SOL_TCP, 6), "SO_MAX_PACING_RATE": (SOL_SOCKET, 47), "SO_LINGER": (SOL_SOCKET, 13),
    "SO_OOBINLINE": (SOL_SOCKET, 10), "TCP_USER_TIMEOUT": (SOL_TCP, 18), "TCP_LINGER2": (SOL_TCP, 8),
}  # fmt: skip
"""The socket options a case may set by name. SO_LINGER's value is the time in seconds; -1 switches it off."""
MSG_OOB, MSG_PEEK = 1, 2


class Violation(AssertionError):
    """An oracle's rule was broken. `oracle` is its name; the message says the rule, the moment and the state. `at` is
    the place in the side's history of the packet that broke it, -1 when that is not known."""

    def __init__(self, oracle: str, side: str, message: str) -> None:
        super().__init__(message)
        self.oracle = oracle
        self.side = side
        self.at = -1


class Pair:
    """`oracles`: classes (see `terrella.testing.oracles`); each is told of everything and fails by `Violation`."""

    def __init__(
        self,
        link: Link | None = None,
        seed: int = 0,
        settings: dict[str, Any] | None = None,
        oracles: Iterable[Callable[[Pair], Any]] = (),
        each: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.link = link = link if link is not None else Link()
        self.seed = seed
        self.timeline = VirtualTimeline(seed)
        self.sides: dict[str, Side] = {}
        self.settings = dict(settings or {})
        self.fates: dict[str, Iterator[Fate]] = {}
        self.used: dict[str, int] = {"a": 0, "b": 0}
        self.cut_until = 0
        self._reneges: dict[str, list[bytes]] = {"a": [], "b": []}  # segments whose receiver forgets
        self.directions: dict[str, Direction] = {}
        self.events = 0
        self.cause = ""  # of the event under way, as oracles are told
        self.error: icmp.Error | None = None  # that the event under way brought
        self.forged = ""  # the kind of packet (see `forged`) that the event under way brought
        self.strangers: dict[str, Strangers] = {}  # by whom they call on
        self.asked = 0  # how many bytes the last read asked for
        self._caught: Violation | None = None  # by what is being sent: raised when the event is over
        self._culprit: Any = None  # the frame
        self.over = False  # time is up: who has not closed is made to
        self.numbered: set[str] = set()  # whose first numbers the case says
        for name in "ab":
            own = self.settings | (each or {}).get(name, {})
            stack = Stack(self.timeline.stream(f"{name}/stack"), Settings(**own))
            stack.add_interface("eth0", mtu=link.mtu, gso=True)
            side = self.sides[name] = Side(name, stack, own, link.version)
            stack.add_address("eth0", f"{side.address}/{24 if link.version == 4 else 64}")
            side.timer = self.timeline.timer(partial(self._deadline, side))
            stack.tcp.send = self._watch(side, stack.tcp.send)
            way = link.way(name)
            self.fates[name] = iter(way.fates)
            self.directions[name] = Direction(
                self.timeline, way.impairments(), self.timeline.stream(f"wire/{name}"),
                partial(self._arrived, OTHER[name]), link.mtu + LINK_HEADER,
            )  # fmt: skip
        self.between: Between | None = None
        if link.router is not None:
            self.between = Between(link.router, link, self.timeline, self._deliver, self._passed)
        if link.a_to_b.dicey or link.b_to_a.dicey:
            self.timeline.timer(self._calm).arm(link.until_ns)
        self.oracles = [oracle(self) for oracle in oracles]

    @property
    def now(self) -> int:
        return self.timeline.now

    def _calm(self, now: int) -> None:
        for name, direction in self.directions.items():
            direction.change(self.link.way(name).impairments(calm=True))

    # What the oracles are told.

    def _watch(self, side: Side, send: Callable[[Any, Any, int], Any]) -> Callable[[Any, Any, int], Any]:
        def watched(path: Any, frame: Any, now: int) -> Any:
            seg = wire.parse(bytes(frame), frame.gso_size, trusted=True)
            ours = seg is not None and seg.sport == side.port and seg.dport == PORTS[OTHER[side.name]]
            if ours and seg is not None and not side.flow.another(seg):
                state = side.state()
                if seg.flags & wire.RST and not self.over:
                    side.aborted = True
                try:
                    for oracle in self.oracles:
                        oracle.sent(side, seg, state)
                except Violation as why:
                    if self._caught is None:
                        self._caught, self._culprit = why, frame
                side.flow.leaves(seg)
            return send(path, frame, now)

        return watched

    def _step(
        self, side: Side, cause: str, seg: Segment | None, before: probe.State | None, act: Callable[[], Any]
    ) -> Any:
        """One event of a side, with what it sends, between two snapshots."""
        self.events += 1
        self.cause = cause
        side.woken = False
        if self.events > MOST_EVENTS:
            raise Violation("ItEnds", side.name, f"ItEnds: more than {MOST_EVENTS} events: the two never come to rest")
        result = act()
        self._flush(side)
        if self._caught is not None:
            raise self._caught
        after = side.state()
        for oracle in self.oracles:
            oracle.step(side, cause, seg, before, after)
        return result

    # The wire.

    def _flush(self, side: Side) -> None:
        now = self.now
        for _, frame in side.stack.transmit(now):
            if frame is self._culprit and self._caught is not None:
                self._caught.at = len(side.history)
            for image in frame.segments():
                if self.strangers and self._to_stranger(side, image):
                    continue
                side.history.append((now, "out", image))
                self._carry(side, bytes(image))
        self._rearm(side)

    def _to_stranger(self, side: Side, image: bytes) -> bool:
        known = self.strangers.get(side.name)
        who, seg = (known.of(image), wire.parse(image)) if known is not None else (None, None)
        if who is None or seg is None:
            return False
        who.hears(seg)
        side.history.append((self.now, "to others", image))
        for oracle in self.oracles:
            oracle.answered(side, who, seg)
        return True

    def _rearm(self, side: Side) -> None:
        deadline = side.stack.next_deadline()
        if deadline is None:
            side.timer.disarm()
        else:
            side.timer.arm(max(deadline, self.now))

    def _deadline(self, side: Side, now: int) -> None:
        self._step(side, "timer", None, side.state(), lambda: side.stack.on_deadline(now))

    def _carry(self, side: Side, image: bytes) -> None:
        fate = next(self.fates[side.name], None)
        if fate is None:
            fate = Fate()
        else:
            self.used[side.name] += 1
        kind, value = fate.kind, fate.value
        if kind == DROP or self.now < self.cut_until:
            return
        if kind == DELIVER:
            self._offer(side, image)
        elif kind == DELAY:
            self._later(side, image, value)
        elif kind == DUPLICATE:
            self._offer(side, image)
            self._later(side, image, value)
        elif kind == CORRUPT:
            damaged = bytearray(image)
            bit = value % (8 * len(damaged))
            damaged[bit >> 3] ^= 1 << (bit & 7)
            self._offer(side, bytes(damaged))
        elif kind == MARK:
            self._offer(side, mark_congestion(image, False) or image)
        elif kind == STALE:
            old = older(image)
            if old is not None:
                self._offer(side, old)
            self._offer(side, image)
        elif kind == RENEGE:
            self._offer(side, image, forget=True)
        elif kind == SHAVE:
            self._offer(side, wire.shaved(image, value))

    def _later(self, side: Side, image: bytes, delay_ns: int) -> None:
        self.timeline.timer(lambda now: self._offer(side, image)).arm(self.now + delay_ns)

    def _offer(self, side: Side, image: bytes, forget: bool = False) -> None:
        frame = Frame.of(image, ethernet=False)
        frame.timestamp_ns = self.now
        if forget:
            self._reneges[OTHER[side.name]].append(wire.above_ip(image))
        self.directions[side.name].transmit([frame], self.now)

    def _arrived(self, to: str, frames: list[Frame], now: int) -> None:
        for frame in frames:
            if self.between is None:
                self._arrives(self.sides[to], bytes(frame), now)
            else:
                self.between.carry(OTHER[to], bytes(frame), now)

    def _deliver(self, name: str, image: bytes, now: int) -> None:
        self._arrives(self.sides[name], image, now)

    def _passed(self, name: str, image: bytes, forwarded: list[bytes], errors: list[bytes]) -> None:
        for oracle in self.oracles:
            oracle.passed(self.sides[name], image, forwarded, errors)

    def _arrives(self, side: Side, image: bytes, now: int) -> None:
        seg = wire.parse(image)
        ours = seg is not None and seg.dport == side.port and seg.sport == PORTS[OTHER[side.name]]
        before = side.state()
        if ours and seg is not None:
            for oracle in self.oracles:
                oracle.arrives(side, seg, before)
            side.flow.arrives(seg)
            side.history.append((now, "in", image))
        cause = "arrival" if ours else "noise"
        self.error = None if ours else icmp.parse(image)
        if self.error is not None and self.error.key == side.key:
            cause = "icmp"
            side.hinted |= not self.error.too_big
            side.history.append((now, "in", image))

        def act() -> None:
            side.stack.receive("eth0", Frame.of(image, ethernet=False), now)

        self._step(side, cause, seg if ours else None, before, act)
        marked = self._reneges[side.name]
        if marked and (inner := wire.above_ip(image)) in marked:
            marked.remove(inner)
            if probe.renege(side.connection()):
                side.reneged += 1
        if side.runner is not None:
            side.runner.poke()

    def forge(self, name: str, kind: str, value: int = 0) -> int:
        """A packet that the peer did not send reaches this side at once (see `forged`). -EINVAL where the connection is
        not one that it could be about."""
        side = self.sides[name]
        before = side.state()
        waits = kind == "syn-again" and probe.time_wait(side.stack, side.key) is not None
        gone = side.key not in side.stack.tcp.table or (
            side.closed and before is not None and before.state == FIN_WAIT_2
        )
        if before is None or ((before.state not in forged.SYNCHRONIZED or gone) and not waits):
            return -errno.EINVAL
        other = OTHER[name]
        addresses = (self.sides[other].ip, side.ip)
        if kind == "syn-again":
            image = next((what for _, way, what in side.history if way == "in" and forged.opens(what)), None)
        else:
            echo = side.flow.stamp if before.ts_ok else None
            ports, scale = (PORTS[other], side.port), side.flow.wscale_in
            image = forged.image(kind, value, before, addresses, ports, echo, scale)
        if image is None:
            return -errno.EINVAL
        now = side.stack.now = self.now
        side.history.append((now, "in", image))
        self.forged = kind
        side.hinted |= kind == "icmp-port"
        self._step(
            side, "forged", None, before, lambda: side.stack.receive("eth0", Frame.of(image, ethernet=False), now)
        )
        return 0

    def stranger(self, name: str, number: int, kind: str) -> int:
        """A packet of another caller (see `strangers`) reaches this side at once. -EINVAL where nobody listens."""
        side = self.sides[name]
        if kind not in CALLS:
            raise ValueError(f"no stranger does {kind!r}: it is one of {', '.join(CALLS)}")
        if not side.listening:
            return -errno.EINVAL
        who = self.strangers.setdefault(name, Strangers()).called(number)
        image = who.image(kind, (self.sides[OTHER[name]].ip, side.ip), side.port)
        now = side.stack.now = self.now
        side.history.append((now, "of others", image))
        for oracle in self.oracles:
            oracle.calls(side, kind, who)
        frame = Frame.of(image, ethernet=False)
        self._step(side, "stranger", None, side.state(), lambda: side.stack.receive("eth0", frame, now))
        return 0

    def numbers(self, name: str, isn: int, stamp: int) -> int:
        """The sequence numbers of this side begin here, and its timestamps: so they wrap where it is said. -EINVAL when
        they have begun; -EOPNOTSUPP in the compiled form of the stack, which keeps its own."""
        tcp: Any = self.sides[name].stack.tcp
        if name in self.numbered or self.sides[name].flow.iss is not None:
            return -errno.EINVAL
        own = {"isn": lambda _, key, now: isn & wire.MASK, "ts_offset": lambda _, key: stamp & wire.MASK}
        try:
            tcp.__class__ = type("Numbered", (type(tcp),), {"__slots__": (), **own})
        except TypeError:
            return -errno.EOPNOTSUPP
        self.numbered.add(name)
        return 0

    # Calls. Each gives what the call gave, or minus the errno.

    def _call(
        self,
        name: str,
        text: str | Callable[[int], str],
        call: Callable[[int], Any],
        result: Callable[[Any], int] = lambda _: 0,
    ) -> int:
        side = self.sides[name]
        now = self.now
        side.stack.now = now
        entry = len(side.history)
        side.history.append((now, "call", ""))  # in front of what it sends

        def act() -> int:
            try:
                got = result(call(now))
            except OSError as why:
                got = -int(why.errno or 0)
            said = text if isinstance(text, str) else text(got)
            side.history[entry] = (now, "call", f"{said} = {_result(got)}")
            return got

        got: int = self._step(side, "call", None, side.state(), act)
        if got < 0 and got not in (-errno.EAGAIN, -errno.EINPROGRESS):
            side.error = side.error or -got
            c = probe.connection(side.sock)
            if c is not None and c.state == CLOSED:
                side.dead = True
        return got

    def socket(self, name: str) -> Any:
        side = self.sides[name]
        sock = side.stack.socket(AF_INET if side.version == 4 else AF_INET6, SOCK_STREAM)
        sock.bind((side.address, side.port))
        sock.on_ready = side.wake
        return sock

    def listen(self, name: str, backlog: int = 8) -> int:
        side = self.sides[name]
        if side.sock is not None or side.listening or side.closed:
            return -errno.EINVAL
        side.listener = self.socket(name)
        side.listening = True
        side.backlog = backlog
        side.history.append((self.now, "call", "socket(..., SOCK_STREAM, IPPROTO_TCP) = 3"))
        side.history.append((self.now, "call", "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0"))
        side.history.append((self.now, "call", "bind(3, ..., ...) = 0"))
        return self._call(name, f"listen(3, {backlog})", lambda now: side.listener.listen(backlog))

    def connect(self, name: str, options: Iterable[tuple[str, int | str]] = ()) -> int:
        side = self.sides[name]
        if side.sock is not None or side.listening or side.closed:
            return -errno.EINVAL
        side.sock = self.socket(name)
        side.connected = True
        side.history.append((self.now, "call", "socket(..., SOCK_STREAM, IPPROTO_TCP) = 4"))
        side.history.append((self.now, "call", "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0"))
        for option, value in options:
            self.setsockopt(name, option, value)
        there = (self.sides[OTHER[name]].address, PORTS[OTHER[name]])
        return self._call(name, "connect(4, ..., ...)", lambda now: side.sock.connect(there, now))

    def accept(self, name: str) -> int:
        """0, or -EAGAIN when no connection waits."""
        side = self.sides[name]
        if not side.listening:
            return -errno.EINVAL
        while True:
            try:
                sock, peer = side.listener.accept(self.now)
            except BlockingIOError:
                return -errno.EAGAIN
            if peer[1] != PORTS[OTHER[name]]:
                for oracle in self.oracles:
                    oracle.accepted(side, self.strangers[name].known[peer[1]])
            elif not side.connected:
                break
            sock.setsockopt(SOL_SOCKET, 13, struct.pack("=ii", 1, 0))  # SO_LINGER: a stranger is reset
            self._call(name, "close(5)", sock.close)
        side.sock = sock
        side.connected = True
        sock.on_ready = side.wake
        side.history.append((self.now, "call", "accept(3, ..., ...) = 4"))
        side.history.append((self.now, "call", "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0"))
        return 0

    def send(self, name: str, size: int) -> int:
        """The next `size` bytes of the side's stream (at most 65,521)."""
        side = self.sides[name]
        if side.sock is None:
            return -errno.ENOTCONN
        data = stream(name, side.written, size)

        def said(got: int) -> str:
            return f"write(4, ..., {got if got > 0 else size})"

        got = self._call(name, said, lambda now: side.sock.send(data, now), int)
        if got > 0:
            side.written += got
        return got

    def urgent(self, name: str, size: int) -> int:
        """As `send`, the last byte out of band; the peer has it in line (SO_OOBINLINE), so that it stays in the
        stream.
        """
        side, peer = self.sides[name], self.sides[OTHER[name]]
        if side.sock is None:
            return -errno.ENOTCONN
        if not peer.inline:
            if self.setsockopt(peer.name, "SO_OOBINLINE", 1) < 0:
                return -errno.ENOTCONN
            peer.inline = True
        data = stream(name, side.written, size)

        def said(got: int) -> str:
            return f"send(4, ..., {got if got > 0 else size}, MSG_OOB)"

        got = self._call(name, said, lambda now: side.sock.sendto(data, None, now, MSG_OOB), int)
        if got > 0:
            side.written += got
        return got

    def peek(self, name: str, size: int) -> int:
        """How many bytes can be read; they stay."""
        side = self.sides[name]
        if side.sock is None:
            return -errno.ENOTCONN
        data = b""

        def call(now: int) -> int:
            nonlocal data
            data = side.sock.recv(size, now, MSG_PEEK)
            return len(data)

        self.asked = size
        got = self._call(name, f"recv(4, ..., {size}, MSG_PEEK)", call, int)
        if data:
            for oracle in self.oracles:
                oracle.got(side, side.read, data)
        return got

    def recv(self, name: str, size: int) -> int:
        """How many bytes were read; 0 at the end of the stream, or for a size of 0."""
        side = self.sides[name]
        if side.sock is None:
            return -errno.ENOTCONN
        data = b""

        def call(now: int) -> int:
            nonlocal data
            data = side.sock.recv(size, now)
            return len(data)

        self.asked = size
        got = self._call(name, f"read(4, ..., {size})", call, int)
        if data:
            offset = side.read
            side.read += len(data)
            for oracle in self.oracles:
                oracle.got(side, offset, data)
        elif got == 0 and size > 0:
            side.eof = True
            for oracle in self.oracles:
                oracle.end_of_stream(side)
        return got

    def shutdown(self, name: str, how: int) -> int:
        side = self.sides[name]
        if side.sock is None:
            return -errno.ENOTCONN
        words = ("SHUT_RD", "SHUT_WR", "SHUT_RDWR")[how]
        opening = side.opening
        if how in (0, 2):
            side.shut_rd = True
        got = self._call(name, f"shutdown(4, {words})", lambda now: side.sock.shutdown(how, now))
        if got == 0 and how in (1, 2):
            side.shut_wr = True
            c = side.connection()
            if opening and c is not None and c.state == CLOSED:
                side.dead = True  # as Linux has it: the attempt is over
        return got

    def close(self, name: str) -> int:
        """Everything this side has open; it opens nothing any more."""
        side = self.sides[name]
        got = 0
        if side.sock is not None and not side.closed:
            if side.sock.linger[0] and side.sock.linger[1]:  # here close does not wait: nor should it in the script
                off = "setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=0, linger=0}, 8) = 0"
                side.history.append((self.now, "call", off))
            side.connection()
            got = self._call(name, "close(4)", side.sock.close)
        if side.listening:
            self._call(name, "close(3)", side.listener.close)
            side.listening = False
        side.closed = True
        return got

    def setsockopt(self, name: str, option: str, value: int | str) -> int:
        side = self.sides[name]
        sock = side.sock if side.sock is not None else side.listener
        if sock is None or side.closed:
            return -errno.EBADF
        level, number = OPTIONS[option]
        side.lingered |= option == "TCP_LINGER2"
        fd = 4 if side.sock is not None else 3
        if option == "SO_LINGER":
            onoff, seconds = int(int(value) >= 0), max(0, int(value))
            said, data = f"{{onoff={onoff}, linger={seconds}}}, 8", struct.pack("=ii", onoff, seconds)
        elif isinstance(value, str):
            said, data = f'"{value}", {len(value)}', value.encode()
        else:
            said, data = f"[{value}], 4", value.to_bytes(4, "little", signed=True)
        words = {SOL_TCP: "SOL_TCP", SOL_SOCKET: "SOL_SOCKET"}[level]
        text = f"setsockopt({fd}, {words}, {option}, {said})"
        return self._call(name, text, lambda now: sock.setsockopt(level, number, data))

    def attach(self, name: str, app: Application) -> None:
        """Let an application run this side from now on."""
        side = self.sides[name]
        for option, value in app.options:
            self.setsockopt(name, option, value)
        side.runner = Runner(self, side, app)

    # Faults and time.

    def fault(self, name: str, fates: Iterable[Fate]) -> None:
        """A new schedule for the packets this side sends from now on."""
        self.fates[name] = iter(tuple(fates))

    def cut(self, duration_ns: int) -> None:
        """Nothing passes in either direction for so long."""
        self.cut_until = max(self.cut_until, self.now + duration_ns)

    def run(self, duration_ns: int) -> None:
        """Let time pass."""
        self.timeline.run(self.now + duration_ns)
        for side in self.sides.values():
            side.stack.now = self.now

    def heal(self) -> None:
        """No more faults: what is left of the schedules and the dice."""
        self.fates = {"a": iter(()), "b": iter(())}
        self.cut_until = 0
        if self.between is not None:
            self.between.heal()
        self._calm(self.now)

    def _until_done(self, limit_ns: int) -> None:
        end = self.now + limit_ns
        while self.now < end and not all(s.runner is None or s.runner.done for s in self.sides.values()):
            if not self.timeline.step(end):
                break

    def finish(self, limit_ns: int = 7200 * SECOND) -> None:
        """Both sides say what they have left, end, read to the end, close. Schedules run out and the dice stop at the
        link's `until_ns`, so it has to end: two applications that will not read before they have written, and wait
        for each other with every buffer full, are made to read when the time is up."""
        for name in "ab":
            side = self.sides[name]
            if side.runner is None and (side.sock is not None or side.listening) and not side.closed:
                self.attach(name, Application())
        self._until_done(limit_ns)
        if all(side.runner is not None and side.runner.withholds for side in self.sides.values()):
            for side in self.sides.values():
                assert side.runner is not None
                side.runner.relent()
            self._until_done(limit_ns)
        self.over = True
        for name in "ab":
            side = self.sides[name]
            if side.runner is not None:
                side.runner.stop()
            if not side.closed:
                self.close(name)
        self.run(limit_ns)
        for oracle in self.oracles:
            oracle.ended()


def _result(got: int) -> str:
    return str(got) if got >= 0 else f"-1 {errno.errorcode.get(-got, 'EINVAL')}"


def older(image: bytes) -> bytes | None:
    """What an old duplicate from before the sequence numbers wrapped looks like: None for a segment without data or
    timestamps."""
    header = Header.of(image)
    if header is None or not header.payload or header.flags & wire.SYN:
        return None

    def back(kind: int, body: bytes) -> bytes:
        if kind != wire.TIMESTAMP or len(body) != 8:
            return body
        tsval = (int.from_bytes(body[:4], "big") - OLD_INCARNATION) & wire.MASK
        return tsval.to_bytes(4, "big") + body[4:]

    if not header.each_option(back):
        return None
    header.payload = bytes(byte ^ 0xFF for byte in header.payload)
    return header.image()
