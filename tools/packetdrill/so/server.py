"""The machine at the other end of `shim.c`: answers requests over socket pairs, in virtual time.

One channel per thread of packetdrill. What its main thread asks for is done at once: a call that would block lasts for
as long as it takes in virtual time. What another thread asks for is a call that may block: its answer is held back
until the call has come back, and says when that was. Time passes only in `usleep` (the other thread's as well: it waits
there for the moment of its call), `netdev_receive` and calls of the main thread that wait; so a run is the same every
time, however fast the two processes are.

Addresses. packetdrill does not say what the local address is, and takes a random one where a script has no
`--local_ip`: what it first binds to, or sends a packet to, is the machine's, unless a flag has said what is.

Flags (packetdrill's `--so_flags`), comma-separated: `local=192.168.0.1`, `local6=...`, `mtu=1500`, `seed=N`,
`pcap=FILE`, `strict_segments=1` (super-segments as they are), `mss=N` (a longer inbound segment was joined by GRO), and
any setting, `net.ipv4.tcp_ecn=1`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import accumulate, pairwise
from typing import Any

from csrc import Frame
from drivers.capture import Pcapng
from drivers.clock import SECOND, VirtualTimeline
from kernel import abi
from kernel.machine import Machine
from kernel.sched.wait import WaitQueue
from netstack.route import MIN_MTU6
from netstack.settings import Settings
from tools.packetdrill import commands, wire
from tools.packetdrill.host import FREE, Call, Recorder, follow_route
from tools.packetdrill.shell import Shell

REQUEST = struct.Struct("=Iiq3qII")
ANSWER = struct.Struct("=qqiI")
FIRST_FD = 1000
PATIENCE = 86_400 * SECOND
"""How long a packet or a call of the main thread may take before it is given up."""

(
    SOCKET, BIND, LISTEN, ACCEPT, CONNECT, RECV, RECVMSG, SEND, SENDMSG, FCNTL, IOCTL, CLOSE, SHUTDOWN, GETSOCKOPT,
    SETSOCKOPT, POLL, NETDEV_SEND, NETDEV_RECEIVE, USLEEP, EPOLL_CREATE, EPOLL_CTL, EPOLL_WAIT, PIPE, SPLICE, SYSTEM,
    READ, WRITE, SENDFILE,
) = range(1, 29)  # fmt: skip

Reply = tuple[int, bytes]
NOBODYS = 1 << 20
"""A descriptor that the machine has not: one of the host's."""


def own(fd: int) -> int:
    """The machine's number of a descriptor."""
    return fd - FIRST_FD if fd >= FIRST_FD else NOBODYS if fd >= 0 else fd


class Ask:
    """One request."""

    __slots__ = ("a", "channel", "data", "fd", "now_us", "op", "room")

    def __init__(self, channel: int, op: int, fd: int, now_us: int, a: tuple[int, ...], data: bytes, room: int) -> None:
        self.channel = channel
        self.op = op
        self.fd = own(fd)
        self.now_us = now_us
        self.a = a
        self.data = data
        self.room = room


# Structures of the host's C library.


def sockaddr(addr: Any) -> bytes:
    """(host, port, ...) as struct sockaddr_in or sockaddr_in6."""
    if not addr:
        return b""
    if ":" in addr[0]:
        flow, scope = (addr[2], addr[3]) if len(addr) > 3 else (0, 0)
        host = socket.inet_pton(socket.AF_INET6, addr[0].partition("%")[0])
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", addr[1], flow) + host + struct.pack("=I", scope)
    packed = struct.pack("!H", addr[1]) + socket.inet_pton(socket.AF_INET, addr[0])
    return struct.pack("=H", socket.AF_INET) + packed + bytes(8)


def address(raw: bytes) -> Any:
    """A struct sockaddr as the Python ABI has it; None for AF_UNSPEC. EINVAL for one too short, EAFNOSUPPORT for one of
    another family."""
    if len(raw) < 2:
        raise OSError(errno.EINVAL, "an address is longer")
    family = int.from_bytes(raw[:2], "little")
    if family == socket.AF_INET and len(raw) >= 8:
        return socket.inet_ntop(family, raw[4:8]), int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET6 and len(raw) >= 24:
        flow = int.from_bytes(raw[4:8], "big")
        scope = int.from_bytes(raw[24:28].ljust(4, b"\0"), "little")
        return socket.inet_ntop(family, raw[8:24]), int.from_bytes(raw[2:4], "big"), flow, scope
    if family == socket.AF_UNSPEC:
        return None
    raise OSError(errno.EAFNOSUPPORT, f"address family {family}")


def control(messages: Any) -> bytes:
    """Control messages as struct cmsghdr, one behind the other."""
    out = b""
    for level, kind, body in messages:
        whole = struct.pack("=Qii", 16 + len(body), level, kind) + bytes(body)
        out += whole + bytes(-len(whole) % 8)
    return out


def parse_control(raw: bytes) -> list[tuple[int, int, bytes]]:
    out = []
    at = 0
    while at + 16 <= len(raw):
        size, level, kind = struct.unpack_from("=Qii", raw, at)
        if size < 16:
            break
        out.append((level, kind, raw[at + 16 : at + size]))
        at += size + -size % 8
    return out


# The calls: (sys, request) -> (result, what goes back).


def do_socket(sys: Any, ask: Ask) -> Reply:
    return sys.socket(ask.a[0], ask.a[1], ask.a[2]) + FIRST_FD, b""


def do_bind(sys: Any, ask: Ask) -> Reply:
    sys.bind(ask.fd, address(ask.data))
    return 0, b""


def do_listen(sys: Any, ask: Ask) -> Reply:
    sys.listen(ask.fd, ask.a[0])
    return 0, b""


def do_accept(sys: Any, ask: Ask) -> Reply:
    fd, peer = sys.accept4(ask.fd, 0)
    return fd + FIRST_FD, sockaddr(peer)


def do_connect(sys: Any, ask: Ask) -> Reply:
    sys.connect(ask.fd, address(ask.data))
    return 0, b""


def do_read(sys: Any, ask: Ask) -> Reply:
    data = sys.read(ask.fd, ask.a[0])
    if data and ask.a[1]:
        raise OSError(errno.EFAULT, "a NULL buffer")
    return len(data), data


def do_recv(sys: Any, ask: Ask) -> Reply:
    data, peer = sys.recvfrom(ask.fd, ask.a[0], ask.a[1])
    if data and ask.a[2]:
        raise OSError(errno.EFAULT, "a NULL buffer")
    name = sockaddr(peer)
    return len(data), struct.pack("=I", len(name)) + name + data


def do_recvmsg(sys: Any, ask: Ask) -> Reply:
    data, messages, flags, peer = sys.recvmsg(ask.fd, ask.a[0], ask.a[2], ask.a[1])
    name, beside = sockaddr(peer), control(messages)[: ask.a[2]]
    return len(data), struct.pack("=III", len(name), len(beside), flags) + name + beside + data


def do_write(sys: Any, ask: Ask) -> Reply:
    return sys.write(ask.fd, None if ask.a[1] and ask.a[0] else ask.data), b""


def do_send(sys: Any, ask: Ask) -> Reply:
    named = int.from_bytes(ask.data[:4], "little")
    to = address(ask.data[4 : 4 + named]) if named else None
    data = None if ask.a[2] and ask.a[0] else ask.data[4 + named :]
    return sys.sendto(ask.fd, data, ask.a[1], to), b""


def do_sendmsg(sys: Any, ask: Ask) -> Reply:
    named, beside, pieces = struct.unpack_from("=III", ask.data)
    to = address(ask.data[12 : 12 + named]) if named else None
    messages = parse_control(ask.data[12 + named : 12 + named + beside])
    at = 12 + named + beside
    lengths = struct.unpack_from(f"={pieces}I", ask.data, at)
    data = ask.data[at + 4 * pieces :]
    ends = list(accumulate(lengths)) if pieces else [len(data)]
    return sys.sendmsg(ask.fd, [data[a:b] for a, b in pairwise([0, *ends])], messages, ask.a[0], to), b""


def do_fcntl(sys: Any, ask: Ask) -> Reply:
    if ask.a[0] in (abi.F_DUPFD, abi.F_DUPFD_CLOEXEC):
        return sys.fcntl(ask.fd, ask.a[0], max(ask.a[1] - FIRST_FD, 0)) + FIRST_FD, b""
    return sys.fcntl(ask.fd, ask.a[0], ask.a[1]), b""


def do_ioctl(sys: Any, ask: Ask) -> Reply:
    got = sys.ioctl(ask.fd, ask.a[0], ask.a[1])
    return 0, struct.pack("=i", got)[: ask.room] if ask.room else b""


def do_close(sys: Any, ask: Ask) -> Reply:
    sys.close(ask.fd)
    return 0, b""


def do_shutdown(sys: Any, ask: Ask) -> Reply:
    sys.shutdown(ask.fd, ask.a[0])
    return 0, b""


def do_getsockopt(sys: Any, ask: Ask) -> Reply:
    return 0, bytes(sys.getsockopt(ask.fd, ask.a[0], ask.a[1], ask.a[2]))[: ask.room]


def do_setsockopt(sys: Any, ask: Ask) -> Reply:
    sys.setsockopt(ask.fd, ask.a[0], ask.a[1], ask.data)
    return 0, b""


def do_poll(sys: Any, ask: Ask) -> Reply:
    asked = [struct.unpack_from("=ihh", ask.data, at) for at in range(0, len(ask.data), 8)]
    timeout = None if ask.a[0] < 0 else ask.a[0] * 1_000_000
    ready = dict(sys.ppoll([(own(fd), events & 0xFFFF) for fd, events, _ in asked], timeout))
    out = b"".join(struct.pack("=ihH", fd, events, ready.get(own(fd), 0)) for fd, events, _ in asked)
    return len([mask for mask in ready.values() if mask]), out


def do_epoll_create(sys: Any, ask: Ask) -> Reply:
    if ask.a[0] <= 0:
        raise OSError(errno.EINVAL, "size")
    return sys.epoll_create1(0) + FIRST_FD, b""


EVENT = struct.Struct("=IQ")  # packed, as x86-64 has it
EVENT_ALIGNED = struct.Struct("=IxxxxQ")


def event_layout(size: int) -> struct.Struct:
    return EVENT_ALIGNED if size and size % EVENT_ALIGNED.size == 0 and size % EVENT.size else EVENT


def do_epoll_ctl(sys: Any, ask: Ask) -> Reply:
    mask, cookie = event_layout(len(ask.data)).unpack(ask.data) if ask.data else (0, 0)
    sys.epoll_ctl(ask.fd, ask.a[0], own(ask.a[1]), mask, cookie)
    return 0, b""


def do_epoll_wait(sys: Any, ask: Ask) -> Reply:
    layout = event_layout(ask.room // ask.a[0])
    got = sys.epoll_pwait(ask.fd, ask.a[0], ask.a[1])
    return len(got), b"".join(layout.pack(mask, cookie) for cookie, mask in got)


def do_pipe(sys: Any, ask: Ask) -> Reply:
    ends = sys.pipe2(0)
    return 0, struct.pack("=ii", ends[0] + FIRST_FD, ends[1] + FIRST_FD)


def do_splice(sys: Any, ask: Ask) -> Reply:
    return sys.splice(ask.fd, None, own(ask.a[0]), None, ask.a[1], ask.a[2]), b""


def do_sendfile(sys: Any, ask: Ask) -> Reply:
    """What is to be sent of a file of the host."""
    source = sys.memfd_create("sendfile")
    try:
        sys.write(source, ask.data)
        sent = sys.sendfile(ask.fd, source, 0, len(ask.data))
    finally:
        sys.close(source)
    return sent[0] if isinstance(sent, tuple) else sent, b""


CALLS: dict[int, Callable[[Any, Ask], Reply]] = {
    SOCKET: do_socket, BIND: do_bind, LISTEN: do_listen, ACCEPT: do_accept, CONNECT: do_connect, READ: do_read,
    RECV: do_recv, RECVMSG: do_recvmsg, WRITE: do_write, SEND: do_send, SENDMSG: do_sendmsg, FCNTL: do_fcntl,
    IOCTL: do_ioctl, CLOSE: do_close, SHUTDOWN: do_shutdown, GETSOCKOPT: do_getsockopt, SETSOCKOPT: do_setsockopt,
    POLL: do_poll, EPOLL_CREATE: do_epoll_create, EPOLL_CTL: do_epoll_ctl, EPOLL_WAIT: do_epoll_wait, PIPE: do_pipe,
    SPLICE: do_splice, SENDFILE: do_sendfile,
}  # fmt: skip


class HostFiles(dict[str, int]):
    """What `dd` makes and `rm -f` removes: files of the host, where packetdrill opens them."""

    def __setitem__(self, path: str, size: int) -> None:
        with open(path, "wb") as file:
            file.write(bytes(size))

    def pop(self, path: str, *default: Any) -> Any:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return default[0] if default else None


OURS = re.compile(
    r"(?:^|[\n;&|])\s*(?:(?:sh|bash|\.|source)\s+)?(?:\S*/)?(?:sysctl|set_sysctls\.py|defaults\.sh|ip|tc|ethtool)\b"
)
"""A line that is meant for the machine: never one for the host, not even when it is not understood."""


class Bridge:
    """Machine and device, and the process that makes the calls."""

    def __init__(self, flags: str) -> None:
        words = dict(word.partition("=")[::2] for word in flags.split(",") if word)
        self.timeline = VirtualTimeline(seed=words.pop("seed", "0"))
        self.told = {4: "local" in words, 6: "local6" in words}
        local = words.pop("local", "192.168.0.1")
        local6 = words.pop("local6", "fd3d:0a0b:17d6::1")
        mtu = int(words.pop("mtu", "1500"))
        pcap = words.pop("pcap", "")
        self.whole = words.pop("strict_segments", "0") != "0"
        self.mss = int(words.pop("mss", "0"))
        settings = Settings()
        for name, value in words.items():
            settings.set(name, value)
        self.machine = Machine("packetdrill", self.timeline, settings=settings, costs=FREE)
        self.shell = Shell(self.machine, self.timeline)
        self.sent: deque[tuple[int, bytes]] = deque()
        self.capture = Pcapng(pcap, epoch_ns=self.timeline.epoch_ns) if pcap else None
        self.captured = self.capture.add_interface("tun0", ethernet=False) if self.capture else 0
        self.device = Recorder(mtu, self._sent, self.whole)
        self.machine.attach(self.device, f"{local}/16", name=self.device.name)
        if mtu >= MIN_MTU6:
            self.machine.stack.add_address(self.device.name, f"{local6}/64")
        self.route = commands.Route(files=HostFiles())
        follow_route(self.machine.stack, self.device.name, self.route, ("0.0.0.0/0", "::/0"), first=True)
        self.inbox: deque[Call] = deque()
        self.bell = WaitQueue()
        self.machine.spawn(self._process)
        self.timeline.run(0)

    @property
    def now_us(self) -> int:
        return (self.timeline.now + self.timeline.epoch_ns) // 1000

    def _capture(self, direction: str, now: int, image: bytes) -> None:
        if self.capture is not None:
            self.capture.packet(self.captured, direction, Frame.of(image, ethernet=False), now)

    def _sent(self, now: int, image: bytes, comment: str | None) -> None:
        del comment
        self.sent.append((now, image))
        self._capture("out", now, image)

    def _process(self, sys: Any) -> None:
        sys.rt_sigaction(abi.SIGPIPE, abi.SIG_IGN)
        while True:
            while not self.inbox:
                self.bell.sleep(sys._task)
            sys.clone(self._thread, self.inbox.popleft())

    def _thread(self, sys: Any, job: Call) -> None:
        job.work(sys)
        job.finished, job.finished_at = True, self.timeline.now

    def know(self, host: str) -> None:
        """packetdrill names an address of the machine: its own choice, if the flags said nothing. It has but one."""
        address: IPv4Address | IPv6Address = ip_address(host)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        nobodys = address.is_multicast or address.is_unspecified or address.is_loopback or host == "255.255.255.255"
        if nobodys or self.told[address.version]:
            return
        self.told[address.version] = True
        with contextlib.suppress(OSError):  # it has it; or the call or packet that names it comes to nothing
            prefix = 16 if address.version == 4 else 64
            self.machine.stack.add_address(self.device.name, f"{address}/{prefix}", dad=False)

    def inject(self, image: bytes) -> None:
        self._capture("in", self.timeline.now, image)
        if len(image) >= 20 and image[0] >> 4 == 4:
            self.know(socket.inet_ntop(socket.AF_INET, image[16:20]))
        elif len(image) >= 40 and image[0] >> 4 == 6:
            self.know(socket.inet_ntop(socket.AF_INET6, image[24:40]))
        live = wire.read(image, self.timeline.now) if self.mss else None
        self.device.inject(image, self.mss, len(live.payload) if live is not None else 0)

    # -- requests

    def advance(self, to_us: int) -> None:
        """To the moment at which the asker stands."""
        until = to_us * 1000 - self.timeline.epoch_ns
        if until >= self.timeline.now:
            self.timeline.run(until)

    def begin(self, ask: Ask) -> tuple[Call, list[tuple[int, int, bytes]]]:
        """Make a call, in a thread of the process. What it gives comes into the list: (result, errno, bytes)."""
        given: list[tuple[int, int, bytes]] = []
        if ask.op == BIND:
            with contextlib.suppress(OSError):  # bind() itself says what is wrong
                self.know(address(ask.data)[0])

        def work(sys: Any) -> None:
            try:
                result, data = CALLS[ask.op](sys, ask)
                given.append((result, 0, data))
            except OSError as trouble:
                given.append((-1, trouble.errno or errno.EIO, b""))

        job = Call(work, True)
        self.inbox.append(job)
        self.bell.wake()
        self.timeline.run(self.timeline.now)
        return job, given

    def wait(self, done: Callable[[], bool]) -> bool:
        """Let time pass until that is so; False when it does not come to be."""
        limit = self.timeline.now + PATIENCE
        while not done():
            due = self.timeline.peek()
            if due is None or due > limit:
                return False
            self.timeline.step()
        return True

    def answer(self, ask: Ask) -> tuple[int, int, bytes]:
        """What the main thread asked for: (result, errno, bytes)."""
        if ask.op == USLEEP:
            self.timeline.run(self.timeline.now + ask.a[0] * 1000)
            return 0, 0, b""
        if ask.op == NETDEV_SEND:
            self.inject(ask.data)
            self.timeline.run(self.timeline.now)
            return 0, 0, b""
        if ask.op == NETDEV_RECEIVE:
            if not self.sent and not self.wait(lambda: bool(self.sent)):
                return self.now_us, 0, b""
            now, image = self.sent.popleft()
            return (now + self.timeline.epoch_ns) // 1000, 0, image[: ask.room]
        if ask.op == SYSTEM:
            return self.command(ask.data.decode(errors="replace"))
        job, given = self.begin(ask)
        if not given and not self.wait(lambda: job.finished):
            return -1, errno.EDEADLK, b""
        return given[0]

    def command(self, line: str) -> tuple[int, int, bytes]:
        """A command line of the script: its exit status. ENOSYS: that is the host's."""
        asks = "/proc/" in line or line.lstrip().startswith("sleep ")  # of the machine: files are the host's
        try:
            inside = self.shell.run if asks else None
            commands.run(line, self.machine.stack.settings.set, self.route, inside=inside)
        except commands.CommandFailed as trouble:
            print(f"terrella: {trouble}", file=sys.stderr)
            return 1, 0, b""
        except (commands.UnsupportedCommand, KeyError, ValueError) as trouble:
            if not OURS.search(line):
                return -1, errno.ENOSYS, b""
            print(f"terrella: {line.strip()}: {trouble}", file=sys.stderr)
            return 1, 0, b""
        except OSError as trouble:  # of a file of the host
            print(f"terrella: {line.strip()}: {trouble}", file=sys.stderr)
            return 1, 0, b""
        follow_route(self.machine.stack, self.device.name, self.route, ("0.0.0.0/0", "::/0"))
        self.device.whole = self.whole and self.route.gso
        return 0, 0, b""

    def close(self) -> None:
        self.machine.close()
        if self.capture is not None:
            self.capture.close()


def receive(channel: socket.socket, size: int) -> bytes:
    """Exactly so much; b"" at the end."""
    out = b""
    while len(out) < size:
        chunk = channel.recv(size - len(out))
        if not chunk:
            return b""
        out += chunk
    return out


def serve(bridge: Bridge, channels: list[socket.socket]) -> None:
    """Until the first channel, which is the main thread's, is closed. Other threads' requests come first."""
    pending: list[tuple[socket.socket, Call, list[tuple[int, int, bytes]]]] = []
    poller = select.poll()
    for channel in channels:
        poller.register(channel, select.POLLIN)
    places = {channel.fileno(): place for place, channel in enumerate(channels)}

    def reply(channel: socket.socket, now_us: int, given: tuple[int, int, bytes]) -> None:
        result, code, data = given
        channel.sendall(ANSWER.pack(result, now_us, code, len(data)) + data)

    def finished() -> None:
        for entry in list(pending):
            channel, job, given = entry
            if job.finished:
                pending.remove(entry)
                reply(channel, (job.finished_at + bridge.timeline.epoch_ns) // 1000, given[0])

    while True:
        ready = [places[fd] for fd, _ in poller.poll()]
        for place in sorted(ready, reverse=True):
            channel = channels[place]
            head = receive(channel, REQUEST.size)
            if not head:
                if place == 0:
                    return
                poller.unregister(channel)
                continue
            op, fd, now_us, a0, a1, a2, size, room = REQUEST.unpack(head)
            ask = Ask(place, op, fd, now_us, (a0, a1, a2), receive(channel, size) if size else b"", room)
            bridge.advance(now_us)
            if place and op in CALLS:
                job, given = bridge.begin(ask)
                pending.append((channel, job, given))
            else:
                given_now = bridge.answer(ask)
                finished()  # before the main thread goes on
                reply(channel, bridge.now_us, given_now)
            finished()


def main(argv: list[str]) -> int:
    try:
        bridge = Bridge(argv[2] if len(argv) > 2 else "")
    except (KeyError, ValueError) as trouble:
        print(f"terrella: packetdrill interface: flags: {trouble}", file=sys.stderr)
        return 2
    try:
        serve(bridge, [socket.socket(fileno=int(word)) for word in argv[1].split(",")])
    finally:
        bridge.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
