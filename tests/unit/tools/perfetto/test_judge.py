"""`--perfetto`: the trace by Perfetto's own messages and its trace processor's rules; each rule with a broken trace."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

from terrella import Lab
from tests.unit.tools.perfetto.judge import Judged
from tests.unit.tools.perfetto.test_perfetto import ask, loop, serve
from tools.cli import main
from tools.perfetto.record import IDS, Recorder

PROGRAM = """
from userland.abi import *

def child(sys, n, lock):
    for _ in range(3):
        sys.read(lock, 1)
        sys.nanosleep(1_000_000 * n)
        sys.cpu(500_000)
    sys.write(1, b"done")
    return 0

def thread(sys):
    sys.cpu(2_000_000)

def main(sys, argv):
    r, w = sys.pipe2()
    old = sys.rt_sigaction(SIGUSR1, lambda sys, signum, info: sys.getpid())
    sys.clone(thread, flags=CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
    pids = [sys.spawn(child, i, r) for i in range(8)]
    fd = sys.open("/tmp/x", O_CREAT | O_RDWR, 0o644)
    for _ in range(24):
        sys.write(w, b"x")
        sys.sched_yield()
    sys.kill(sys.getpid(), SIGUSR1)
    sys.kill(pids[7], SIGSTOP)
    sys.nanosleep(3_000_000)
    sys.kill(pids[7], SIGCONT)
    sys.kill(pids[6], SIGKILL)
    for _ in pids:
        sys.wait4()
    a, b = sys.socket(AF_INET, SOCK_DGRAM), sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(b, ("127.0.0.1", 7))
    for i in range(3):
        sys.sendto(a, b"question", 0, ("127.0.0.1", 7))
        data, peer = sys.recvfrom(b, 100)
        sys.sendto(b, data, 0, peer)
        sys.recvfrom(a, 100)
    return 5
"""


@pytest.fixture(scope="module")
def lab_trace() -> bytes:
    out = io.BytesIO()
    answers: list[bytes] = []
    with Lab(seed=3) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24", cpus=2)
        lab.link(a, b, rate="10Mbit", delay="1ms", loss="1%")
        recorder = Recorder(out, lab.timeline.epoch_ns)
        recorder.follow(a.machine)
        recorder.follow(b.machine)
        b.spawn(serve)
        for _ in range(3):
            b.spawn(loop)
        lab.run(until="1ms")
        client = a.spawn(ask, answers)
        lab.run(until="60ms")
        assert client.exit_code == 0 and answers == [b"QUESTION"]
        recorder.close()
    return out.getvalue()


@pytest.fixture(scope="module")
def run_trace(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("judge")
    (directory / "p.py").write_text(PROGRAM)
    arguments = ["run", "--cpus", "3", "--perfetto", str(directory / "t"), str(directory / "p.py")]
    assert main(arguments) == 5
    return (directory / "t").read_bytes()


@pytest.mark.parametrize("which", ["lab_trace", "run_trace"])
def test_nothing_is_wrong_with_a_trace(which: str, request: pytest.FixtureRequest) -> None:
    judged = Judged(request.getfixturevalue(which))
    assert judged.stats == {}
    assert judged.slices and judged.tracks and judged.counters and judged.running
    assert all(one.end is not None for one in judged.slices)


def test_the_demos_trace(tmp_path: Path) -> None:
    assert main(["demo", "--out", str(tmp_path), "--perfetto", str(tmp_path / "t")]) == 0
    judged = Judged((tmp_path / "t").read_bytes())
    assert judged.stats == {} and judged.flows


def test_arrows_lead_from_the_requests_packet_to_the_call_that_answers(lab_trace: bytes) -> None:
    judged = Judged(lab_trace)
    paths: dict[int, list[Any]] = {}
    for flow, before, after in judged.flows:
        assert before.begin <= after.begin, "an arrow goes forward in time"
        paths.setdefault(flow, [before]).append(after)
    [request] = [path for path in paths.values() if "> 10.0.0.2:80 " in path[0].name]
    assert [one.name for one in request[1:]] == ["data of a packet", "write"]
    assert judged.tracks[request[0].track].name == "b eth0 receives"
    server = judged.tracks[request[2].track].thread
    assert server.thread_name == "serve" and server.tid > IDS
    # the CPU's row shows the server's work between the question and the answer
    ran = [(begin, end) for _, begin, end, tid, comm in judged.running if tid == server.tid and comm == "serve"]
    assert sum(min(end, request[2].begin) - max(begin, request[1].begin) for begin, end in ran if
               end > request[1].begin and begin < request[2].begin) >= 3_000_000  # fmt: skip


def test_queues_are_counters(lab_trace: bytes) -> None:
    judged = Judged(lab_trace)
    names = {"b cpu1 waiting tasks", "b cpu2 waiting tasks", "eth0 frames to be sent", "b eth0 rx_bytes"}
    assert names <= set(judged.counters)
    assert max(value for _, value in judged.counters["b cpu1 waiting tasks"]) >= 1
    for name, values in judged.counters.items():
        assert all(value >= 0 for _, value in values), name
        if name.endswith("_bytes"):
            assert [value for _, value in values] == sorted(value for _, value in values), name


# Each rule, broken.

Change = Callable[[Any], None]


def events(trace: Any, kind: int, which: Callable[[Any], bool] = lambda event: True) -> list[Any]:
    found = [p for p in trace.packet if p.HasField("track_event") and p.track_event.type == kind]
    return [p for p in found if which(p.track_event)]


def ftrace(trace: Any, kind: str) -> list[Any]:
    return [e for p in trace.packet for e in p.ftrace_events.event if e.WhichOneof("event") == kind]


def descriptors(trace: Any, kind: str) -> list[Any]:
    return [p.track_descriptor for p in trace.packet if p.track_descriptor.HasField(kind)]


def without(trace: Any, packets: list[Any]) -> None:
    kept = [p for p in trace.packet if not any(p is one for one in packets)]
    copies = [type(p).FromString(p.SerializeToString()) for p in kept]
    del trace.packet[:]
    trace.packet.extend(copies)


def unknown(trace: Any) -> None:
    trace.packet[0].MergeFromString(b"\xf8\xff\xff\x0f\x01")  # field 33554431


def swap_times(trace: Any) -> None:
    packets = events(trace, 1)
    packets[3].timestamp = packets[0].timestamp - 1


def two_cpus(trace: Any) -> None:
    switch = next(e for e in ftrace(trace, "sched_switch") if e.sched_switch.next_pid > IDS)
    bundle = next(p for p in trace.packet if p.HasField("ftrace_events") and p.ftrace_events.cpu != 1)
    copy = bundle.ftrace_events.event.add()
    copy.CopyFrom(switch)
    bundle.ftrace_events.cpu = 7
    del bundle.ftrace_events.event[:-1]


def overwrite(path: str, value: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        *way, last = path.split(".")
        for name in way:
            message = getattr(message, name)
        setattr(message, last, value)

    return change


def clear(path: str) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        *way, last = path.split(".")
        for name in way:
            message = getattr(message, name)
        message.ClearField(last)

    return change


def flows(event: Any) -> bool:
    return bool(event.terminating_flow_ids)


def reuse(trace: Any) -> None:
    ended = events(trace, 1, flows)[0].track_event.terminating_flow_ids[0]
    events(trace, 3)[-1].track_event.flow_ids.append(ended)


BROKEN: dict[str, Change] = {
    "unknown_fields": unknown,
    "empty_packet": lambda t: [p.ClearField("track_event") for p in events(t, 3)[:1]],
    "tokenizer_skipped_packets": lambda t: overwrite("sequence_flags", 2)(events(t, 3)[0]),
    "out_of_order": swap_times,
    "invalid_clock_snapshots": lambda t: overwrite("clock_id", 6)(t.packet[0].clock_snapshot.clocks[1]),
    "clock_sync_failure": lambda t: without(t, [t.packet[0]]),
    "track_descriptor_missing_uuid": lambda t: descriptors(t, "counter")[0].ClearField("uuid"),
    "track_descriptor_conflicting_reservation": lambda t: overwrite("uuid", descriptors(t, "process")[0].uuid)(
        descriptors(t, "process")[1]
    ),
    "parent_track_unknown": lambda t: overwrite("parent_uuid", 99999)(descriptors(t, "counter")[0]),
    "track_descriptor_thread_missing_pid_tid": lambda t: descriptors(t, "thread")[0].thread.ClearField("tid"),
    "track_descriptor_process_missing_pid": lambda t: descriptors(t, "process")[0].process.ClearField("pid"),
    "thread_without_its_process": lambda t: descriptors(t, "thread")[0].ClearField("parent_uuid"),
    "tid_0_is_swappers": lambda t: overwrite("thread.tid", 0)(descriptors(t, "thread")[0]),
    "track_without_name": lambda t: descriptors(t, "counter")[0].ClearField("name"),
    "interned_data_unresolved": lambda t: overwrite("track_event.name_iid", 5)(events(t, 1)[0]),
    "track_event_parser_errors": lambda t: overwrite("track_event.track_uuid", 99999)(events(t, 3)[0]),
    "track_event_tokenizer_errors": lambda t: clear("track_event.counter_value")(events(t, 4)[0]),
    "end_without_begin": lambda t: without(t, events(t, 1)[:1]),
    "incomplete_slice": lambda t: without(t, events(t, 2)[-1:]),
    "misplaced_end_event": lambda t: overwrite("track_event.name", "other")(events(t, 2)[0]),
    "slice_without_name": lambda t: clear("track_event.name")(events(t, 1)[0]),
    "slice_negative_duration": lambda t: overwrite("timestamp", 1)(events(t, 2)[-1]),
    "flow_end_without_start": lambda t: events(t, 1)[0].track_event.terminating_flow_ids.append(4711),
    "flow_duplicate_id": reuse,
    "ftrace_bundle_tokenizer_errors": lambda t: ftrace(t, "sched_switch")[0].ClearField("timestamp"),
    "ftrace_out_of_order": lambda t: overwrite("timestamp", 0)(ftrace(t, "sched_switch")[-1]),
    "mismatched_sched_switch_tids": lambda t: overwrite("sched_switch.prev_pid", 3)(ftrace(t, "sched_switch")[3]),
    "ftrace_event_of_another_thread": lambda t: overwrite("pid", 4711)(ftrace(t, "sched_switch")[3]),
    "task_state_invalid": lambda t: overwrite("sched_switch.prev_state", 3)(ftrace(t, "sched_switch")[0]),
    "thread_unknown": lambda t: overwrite("sched_waking.pid", 4711)(ftrace(t, "sched_waking")[0]),
    "thread_on_two_cpus": two_cpus,
    "irq_unbalanced": lambda t: overwrite("irq_handler_exit.irq", 9)(ftrace(t, "irq_handler_exit")[0]),
    "unexpected_ftrace_event": lambda t: ftrace(t, "sched_waking")[0].print.SetInParent(),
}  # fmt: skip


@pytest.mark.parametrize("stat", BROKEN)
def test_a_broken_trace_is_found(stat: str, lab_trace: bytes) -> None:
    trace = Trace()
    trace.ParseFromString(lab_trace)
    BROKEN[stat](trace)
    assert Judged(trace.SerializeToString()).stats[stat] >= 1


def test_a_cut_trace_is_no_trace(lab_trace: bytes) -> None:
    with pytest.raises(Exception, match="pars"):
        Judged(lab_trace[:-1])
