"""Perfetto's trace format, as far as it is written here: protobuf messages by field number, from perfetto_trace.proto.

A trace is a sequence of TracePackets. CPUs and the states of threads are ftrace's sched events, so that the viewer
draws them as it does a Linux kernel's; system calls, packets and counters are TrackEvents on tracks of their own;
a flow is a number that the events along it share.

Protobuf: a field is a varint of (number << 3 | wire type) and then a varint (type 0), 8 bytes (1) or a length and so
many bytes (2). Negative integers are 64-bit varints.
"""

from __future__ import annotations

from collections.abc import Iterable

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
"""TrackEvent.Type."""
SEQUENCE = 1
BOOTTIME, REALTIME = 6, 1
"""Clocks: all timestamps are on the first, which is also the viewer's default."""


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """An integer, boolean or enum."""
    return varint(field << 3) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    return varint(field << 3 | 1) + value.to_bytes(8, "little")


def data(field: int, value: bytes) -> bytes:
    """Bytes, or a message."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    return data(field, value.encode("utf-8", "replace"))


# ---- packets ----


def packet(body: bytes, now: int | None = None) -> bytes:
    """Trace.packet, with TracePacket.timestamp and the one sequence there is."""
    stamp = b"" if now is None else number(8, now)
    return data(1, stamp + number(10, SEQUENCE) + body)


def clocks(now: int, epoch_ns: int) -> bytes:
    """A ClockSnapshot: what time of day the trace's time is."""
    pairs = ((BOOTTIME, now), (REALTIME, now + epoch_ns))
    return packet(data(6, b"".join(data(1, number(1, clock) + number(2, at)) for clock, at in pairs)), now)


def system(name: str, release: str) -> bytes:
    """SystemInfo.utsname: by the release the viewer knows how to read the states of tasks."""
    return packet(data(45, data(1, text(1, "Linux") + text(3, release) + text(4, "riscv64") + text(2, name))))


def process_track(uuid: int, pid: int, name: str, cmdline: Iterable[str] = ()) -> bytes:
    process = number(1, pid) + b"".join(text(2, word) for word in cmdline) + text(6, name)
    return packet(data(60, number(1, uuid) + data(3, process)))


def thread_track(uuid: int, parent: int, pid: int, tid: int, name: str) -> bytes:
    thread = number(1, pid) + number(2, tid) + text(5, name)
    return packet(data(60, number(1, uuid) + number(5, parent) + data(4, thread)))


def named_track(uuid: int, name: str, parent: int = 0) -> bytes:
    return packet(data(60, number(1, uuid) + (number(5, parent) if parent else b"") + text(2, name)))


def counter_track(uuid: int, name: str, unit: str, parent: int = 0) -> bytes:
    body = number(1, uuid) + (number(5, parent) if parent else b"") + text(2, name) + data(8, text(6, unit))
    return packet(data(60, body))


def event(
    kind: int, track: int, now: int, name: str = "", category: str = "", flows: Iterable[int] = (),
    ends: Iterable[int] = (), notes: Iterable[tuple[str, str | int]] = (),
) -> bytes:  # fmt: skip
    """A slice's begin or end, or an instant, with the flows that pass through it or `end` there."""
    body = number(9, kind) + number(11, track)
    if category:
        body += text(22, category)
    if name:
        body += text(23, name)
    for key, value in notes:
        body += data(4, text(10, key) + (number(4, value) if isinstance(value, int) else text(6, value)))
    for flow in flows:
        body += fixed64(47, flow)
    for flow in ends:
        body += fixed64(48, flow)
    return packet(data(11, body), now)


def count(track: int, now: int, value: int) -> bytes:
    """A counter has a new value."""
    return packet(data(11, number(9, COUNTER) + number(11, track) + number(30, value)), now)


# ---- ftrace ----


def ftrace(cpu: int, events: Iterable[bytes]) -> bytes:
    """Everything that one CPU has to tell of a stretch of time."""
    return packet(data(1, number(1, cpu) + b"".join(data(2, one) for one in events)))


def sched_switch(
    now: int, before: tuple[str, int, int], state: int, after: tuple[str, int, int]
) -> bytes:
    """`before` and `after`: (comm, tid, prio). `state`: why it left the CPU, as task states are numbered."""
    body = text(1, before[0]) + number(2, before[1]) + number(3, before[2]) + number(4, state)
    body += text(5, after[0]) + number(6, after[1]) + number(7, after[2])
    return number(1, now) + number(2, before[1]) + data(4, body)


def sched_waking(now: int, waker: int, task: tuple[str, int, int], cpu: int, new: bool) -> bytes:
    """A task becomes runnable; `waker` is the thread that made it so, 0 an interrupt."""
    body = text(1, task[0]) + number(2, task[1]) + number(3, task[2]) + number(4, 1) + number(5, cpu)
    return number(1, now) + number(2, waker) + data(114 if new else 20, body)


def softirq(now: int, tid: int, entry: bool, vector: int) -> bytes:
    return number(1, now) + number(2, tid) + data(24 if entry else 25, number(1, vector))


def irq_entry(now: int, tid: int, irq: int, name: str) -> bytes:
    return number(1, now) + number(2, tid) + data(36, number(1, irq) + text(2, name))


def irq_exit(now: int, tid: int, irq: int) -> bytes:
    return number(1, now) + number(2, tid) + data(37, number(1, irq) + number(2, 1))
