"""Reads a trace with Perfetto's own descriptions of its messages and counts what its trace processor would count.

The messages are parsed by the `perfetto` package's compiled protobufs: nothing of `tools/perfetto` takes part. The
rules are the trace processor's: names in `Judged.stats` that it has too (its stats.h) mean the same. Some are
stricter: it forgives a slice that nobody closes, a parent that is told later, or a thread on two CPUs at once.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

CLEARED, NEEDED = 1, 2
"""TracePacket.SequenceFlags."""
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
BOOTTIME = 6
INTERNED = {"name_iid": "event_names", "category_iids": "event_categories"}


class Slice:
    def __init__(self, track: int, name: str, begin: int) -> None:
        self.track = track
        self.name = name
        self.begin = begin
        self.end: int | None = None


class Judged:
    """What a trace says, and what is wrong with it."""

    def __init__(self, data: bytes) -> None:
        self.stats: Counter[str] = Counter()
        self.tracks: dict[int, Any] = {}
        """Descriptors by uuid."""
        self.slices: list[Slice] = []
        self.flows: list[tuple[int, Slice, Slice]] = []
        """Arrows: the flow, from, to."""
        self.open_flows: dict[int, Slice] = {}
        self.counters: dict[str, list[tuple[int, float]]] = {}
        self.running: list[tuple[int, int, int, int, str]] = []
        """(cpu, begin, end, tid, comm): what the rows of the CPUs show."""
        self._ended_flows: set[int] = set()
        self._stacks: dict[int, list[Slice]] = {}
        self._sequences: dict[int, dict[str, Any]] = {}
        self._ftrace: list[tuple[int, int, Any]] = []
        self.trace = Trace()
        self.trace.ParseFromString(data)
        self._unknown(self.trace)
        for packet in self.trace.packet:
            self._packet(packet)
        for stack in self._stacks.values():
            self.stats["incomplete_slice"] += len(stack)
        self._scheduling()
        self.stats = +self.stats

    def _unknown(self, message: Message) -> None:
        self.stats["unknown_fields"] += len(UnknownFieldSet(message))
        for field, value in message.ListFields():
            if field.message_type is not None:
                for one in value if isinstance(value, list) or hasattr(value, "append") else [value]:
                    self._unknown(one)

    def _packet(self, packet: Any) -> None:
        kind = packet.WhichOneof("data")
        if kind is None:
            self.stats["empty_packet"] += 1
            return
        sequence = self._sequences.setdefault(
            packet.trusted_packet_sequence_id, {"valid": False, "last": 0, "interned": {}}
        )
        if packet.sequence_flags & CLEARED:
            sequence["valid"] = True
            sequence["interned"] = {}
        if packet.sequence_flags & NEEDED and not sequence["valid"]:
            self.stats["tokenizer_skipped_packets"] += 1
            return
        for field, entries in packet.interned_data.ListFields():
            for entry in entries:
                sequence["interned"][field.name, entry.iid] = entry
        if packet.HasField("timestamp"):
            if packet.timestamp < sequence["last"]:
                self.stats["out_of_order"] += 1
            sequence["last"] = packet.timestamp
        if kind == "clock_snapshot":
            clocks = [one.clock_id for one in packet.clock_snapshot.clocks]
            if len(set(clocks)) < len(clocks):
                self.stats["invalid_clock_snapshots"] += 1
            sequence["clock"] = BOOTTIME in clocks
        elif kind == "track_descriptor":
            self._descriptor(packet.track_descriptor)
        elif kind == "track_event":
            if not packet.HasField("trusted_packet_sequence_id") or not packet.HasField("timestamp"):
                self.stats["track_event_tokenizer_errors"] += 1
            elif not any(one.get("clock") for one in self._sequences.values()):
                self.stats["clock_sync_failure"] += 1
            else:
                self._event(packet.track_event, packet.timestamp, sequence)
        elif kind == "ftrace_events":
            if not packet.ftrace_events.HasField("cpu"):
                self.stats["ftrace_bundle_tokenizer_errors"] += 1
            for event in packet.ftrace_events.event:
                if not event.HasField("timestamp") or event.WhichOneof("event") is None:
                    self.stats["ftrace_bundle_tokenizer_errors"] += 1
                self._ftrace.append((event.timestamp, packet.ftrace_events.cpu, event))

    # Tracks.

    def _descriptor(self, track: Any) -> None:
        if not track.HasField("uuid") or not track.uuid:
            self.stats["track_descriptor_missing_uuid"] += 1
            return
        if track.uuid in self.tracks and self.tracks[track.uuid] != track:
            self.stats["track_descriptor_conflicting_reservation"] += 1
        if track.parent_uuid and track.parent_uuid not in self.tracks:
            self.stats["parent_track_unknown"] += 1
        if track.HasField("thread") and not (track.thread.HasField("pid") and track.thread.HasField("tid")):
            self.stats["track_descriptor_thread_missing_pid_tid"] += 1
        if track.HasField("process") and not track.process.HasField("pid"):
            self.stats["track_descriptor_process_missing_pid"] += 1
        if track.HasField("thread"):
            parent = self.tracks.get(track.parent_uuid)
            if parent is None or parent.process.pid != track.thread.pid:
                self.stats["thread_without_its_process"] += 1
            if track.thread.tid == 0:
                self.stats["tid_0_is_swappers"] += 1
        if not (track.name or track.HasField("thread") or track.HasField("process")):
            self.stats["track_without_name"] += 1
        self.tracks[track.uuid] = track

    # Events.

    def _event(self, event: Any, now: int, sequence: dict[str, Any]) -> None:
        for field, interned in INTERNED.items():
            found = getattr(event, field)
            for iid in [found] if isinstance(found, int) else found:
                if iid and (interned, iid) not in sequence["interned"]:
                    self.stats["interned_data_unresolved"] += 1
        for note in event.debug_annotations:
            if not note.name and (("debug_annotation_names", note.name_iid) not in sequence["interned"]):
                self.stats["interned_data_unresolved"] += 1
        track = self.tracks.get(event.track_uuid)
        if track is None or event.type not in (BEGIN, END, INSTANT, COUNTER):
            self.stats["track_event_parser_errors"] += 1
            return
        if (event.type == COUNTER) != track.HasField("counter"):
            self.stats["track_event_tokenizer_errors"] += 1
        elif event.type == COUNTER:
            if not (event.HasField("counter_value") or event.HasField("double_counter_value")):
                self.stats["track_event_tokenizer_errors"] += 1
            self.counters.setdefault(track.name, []).append((now, event.counter_value or event.double_counter_value))
        else:
            self._slice(event, now)

    def _slice(self, event: Any, now: int) -> None:
        stack = self._stacks.setdefault(event.track_uuid, [])
        if event.type == END:
            if not stack:
                self.stats["end_without_begin"] += 1
                return
            slice = stack.pop()
            if now < slice.begin:
                self.stats["slice_negative_duration"] += 1
            if (event.name or slice.name) != slice.name:
                self.stats["misplaced_end_event"] += 1
            slice.end = now
        else:
            slice = Slice(event.track_uuid, event.name, now)
            self.slices.append(slice)
            if not event.name and not event.name_iid:
                self.stats["slice_without_name"] += 1
            if event.type == BEGIN:
                stack.append(slice)
                if len(stack) > 512:
                    self.stats["stack_depth"] += 1
            else:
                slice.end = now
        for flow in event.flow_ids:
            if flow in self._ended_flows:
                self.stats["flow_duplicate_id"] += 1
            before = self.open_flows.get(flow)
            if before is not None:
                self.flows.append((flow, before, slice))
            self.open_flows[flow] = slice
        for flow in event.terminating_flow_ids:
            before = self.open_flows.pop(flow, None)
            if before is None:
                self.stats["flow_end_without_start"] += 1
            else:
                self.flows.append((flow, before, slice))
            self._ended_flows.add(flow)

    # CPUs.

    def _scheduling(self) -> None:
        """Who runs where: who leaves is who was there, nobody is in two places, interrupts end before others begin."""
        known = {track.thread.tid for track in self.tracks.values() if track.HasField("thread")}
        last: dict[int, int] = {}
        for now, cpu, _ in self._ftrace:  # in each CPU's own order
            if now < last.get(cpu, 0):
                self.stats["ftrace_out_of_order"] += 1
            last[cpu] = now
        current: dict[int, tuple[int, int, str]] = {}
        inside: dict[int, list[tuple[str, int]]] = {}
        for now, cpu, event in sorted(self._ftrace, key=lambda one: one[0]):
            kind = event.WhichOneof("event")
            tid = current[cpu][0] if cpu in current else None
            if kind == "sched_switch":
                switch = event.sched_switch
                if tid is not None and switch.prev_pid != tid:
                    self.stats["mismatched_sched_switch_tids"] += 1
                if event.pid != switch.prev_pid:
                    self.stats["ftrace_event_of_another_thread"] += 1
                if switch.prev_state not in (0, 1, 2, 4, 8, 16, 32):
                    self.stats["task_state_invalid"] += 1
                for one in (switch.prev_pid, switch.next_pid):
                    if one and one not in known:
                        self.stats["thread_unknown"] += 1
                if cpu in current:
                    self.running.append((cpu, current[cpu][1], now, current[cpu][0], current[cpu][2]))
                if switch.next_pid and any(c != cpu and one[0] == switch.next_pid for c, one in current.items()):
                    self.stats["thread_on_two_cpus"] += 1
                current[cpu] = switch.next_pid, now, switch.next_comm
            elif kind in ("sched_waking", "sched_wakeup_new"):
                woken = getattr(event, kind)
                if woken.pid not in known or not woken.pid:
                    self.stats["thread_unknown"] += 1
                if event.pid and tid is not None and event.pid != tid:
                    self.stats["ftrace_event_of_another_thread"] += 1
            elif kind in ("irq_handler_entry", "softirq_entry"):
                what = ("softirq" if kind[0] == "s" else "irq", getattr(getattr(event, kind), "irq", 0))
                inside.setdefault(cpu, []).append(what)
            elif kind in ("irq_handler_exit", "softirq_exit"):
                what = ("softirq" if kind[0] == "s" else "irq", getattr(getattr(event, kind), "irq", 0))
                stack = inside.get(cpu, [])
                if not stack or stack.pop() != what:
                    self.stats["irq_unbalanced"] += 1
            else:
                self.stats["unexpected_ftrace_event"] += 1
        self.stats["irq_unbalanced"] += sum(map(len, inside.values()))
