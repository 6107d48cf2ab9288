"""Disks in a trace, by Perfetto's own messages: requests with their waiting and their service, counters, arrows."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

from drivers.clock import VirtualTimeline
from drivers.disk.drive import HDD
from drivers.disk.faulty import FaultyDisk
from drivers.disk.ram import RamDisk
from kernel.machine import Machine
from tests.unit.tools.perfetto.judge import Judged, Slice
from tools.perfetto.record import Recorder
from userland.abi import O_DIRECT, O_RDWR

BLOCK = 4096
PARTS = ("queued", "in service", "merged")


def readers(sys: Any, number: int) -> None:
    fd = sys.open("/dev/vda", O_RDWR | O_DIRECT)
    for i in range(4):
        sys.pread64(fd, BLOCK, (i * 37 + number * 11) % 200 * BLOCK)
        sys.pwrite64(fd, bytes(BLOCK), (number + i * 5) * BLOCK)


def writer(sys: Any) -> None:
    fd = sys.open("/dev/vda", O_RDWR)
    for i in range(40):
        sys.pwrite64(fd, b"x" * BLOCK, (i * 7 % 40) * 2 * BLOCK)
    sys.fsync(fd)
    sys.read(fd, 65536)
    try:
        sys.pread64(fd, 1, 250 * BLOCK)
    except OSError as why:
        assert why.errno == 5
    else:
        raise AssertionError("the sector can't be read")


def recorded() -> bytes:
    out = io.BytesIO()
    timeline = VirtualTimeline(5)
    disk = FaultyDisk(RamDisk(2048), timeline.stream("disk"))
    disk.fail(2001, 1)
    with Machine("m", timeline, cpus=2) as machine:
        machine.attach_disk(disk, drive=HDD, scheduler="deadline", depth=2)
        recorder = Recorder(out, timeline.epoch_ns)
        recorder.follow(machine)
        groups = [machine.spawn(readers, number) for number in range(5)] + [machine.spawn(writer)]
        assert machine.run()
        assert [group.exit_status for group in groups] == [0] * 6, bytes(machine.console.output)  # type: ignore[attr-defined]
        recorder.close()
        assert machine.disks["vda"].queue.stat.merges[1] > 0, "writes were merged"
    return out.getvalue()


@pytest.fixture(scope="module")
def trace() -> bytes:
    return recorded()


def requests(judged: Judged) -> list[Slice]:
    """The slices of whole requests."""
    rows = {uuid for uuid, track in judged.tracks.items() if track.name == "vda requests"}
    return [one for one in judged.slices if one.track in rows and one.name not in PARTS]


def paths(judged: Judged) -> list[list[Slice]]:
    found: dict[int, list[Slice]] = {}
    for flow, before, after in judged.flows:
        found.setdefault(flow, [before]).append(after)
    return list(found.values())


def test_nothing_is_wrong_with_it(trace: bytes) -> None:
    judged = Judged(trace)
    assert judged.stats == {}
    assert not judged.open_flows, "every arrow ends"


def test_waiting_and_service_are_told_apart_and_fill_the_request(trace: bytes) -> None:
    judged = Judged(trace)
    whole = requests(judged)
    assert {one.name for one in whole} == {"read", "write", "flush"}
    for one in whole:
        assert one.end is not None
        inner = [p for p in judged.slices if p.track == one.track and p.name in PARTS[:2]
                 and one.begin <= p.begin and p.end is not None and p.end <= one.end]  # fmt: skip
        assert [p.name for p in inner][:2] in (["queued", "in service"], ["queued"])
        assert inner[0].begin == one.begin and inner[-1].end == one.end
        if len(inner) == 2:
            assert inner[0].end == inner[1].begin
            assert inner[1].end is not None and inner[1].end > inner[1].begin, "a drive takes time"
    assert any(p.end is not None and p.end - p.begin > 1_000_000 for p in judged.slices if p.name == "queued")


def test_rows_hold_one_request_at_a_time(trace: bytes) -> None:
    judged = Judged(trace)
    busy: dict[int, int] = {}
    for one in sorted(requests(judged), key=lambda one: one.begin):
        assert one.end is not None and one.begin >= busy.get(one.track, 0)
        busy[one.track] = one.end
    assert 2 < len(busy) < 60
    parents = {judged.tracks[row].parent_uuid for row in busy}
    assert [judged.tracks[parent].name for parent in parents] == ["vda"]


def test_an_arrow_leads_from_who_asks_through_the_request_to_who_is_woken(trace: bytes) -> None:
    judged = Judged(trace)
    threads = {uuid: track.thread for uuid, track in judged.tracks.items() if track.HasField("thread")}
    direct = 0
    for path in paths(judged):
        asks, request, done, *woken = path
        asker = threads[asks.track]
        assert asks.name.startswith("asks vda to ") and judged.tracks[request.track].name == "vda requests"
        assert request.name in (asks.name.rpartition(" ")[2], "merged") and request.begin == asks.begin
        assert judged.tracks[done.track].name == "vda completes"
        assert done.name.partition(" ")[2] in ("done", "failed") and done.begin > request.begin
        if woken:
            assert woken[0].name == "woken by vda" and woken[0].begin == done.begin
            if asker.thread_name == "readers":
                assert threads[woken[0].track].tid == asker.tid
                direct += 1
    assert direct == 40, "each direct transfer is waited for by who asked"


def test_the_woken_task_runs_after_its_completion_and_not_before(trace: bytes) -> None:
    judged = Judged(trace)
    threads = {uuid: track.thread for uuid, track in judged.tracks.items() if track.HasField("thread")}
    for path in paths(judged):
        if len(path) == 4 and threads[path[0].track].thread_name == "readers":
            tid, begin, end = threads[path[3].track].tid, path[0].begin, path[3].begin
            ran = sum(
                min(until, end) - max(since, begin) for _, since, until, who, _ in judged.running
                if who == tid and since < end and until > begin
            )  # fmt: skip
            assert ran < 10_000, "it sleeps while the drive works"


def test_counters_of_the_queue(trace: bytes) -> None:
    judged = Judged(trace)
    queued, issued = judged.counters["vda requests queued"], judged.counters["vda requests in service"]
    assert max(value for _, value in queued) >= 3 and queued[-1][1] == 0
    assert max(value for _, value in issued) == 2 and issued[-1][1] == 0, "the drive is given two"
    failed = [one for one in judged.slices if one.name == "read failed"]
    assert failed, "an error shows"


def change(trace: bytes, do: Callable[[Any], None]) -> Judged:
    message = Trace()
    message.ParseFromString(trace)
    do(message)
    return Judged(message.SerializeToString())


def of(message: Any, name: str) -> list[Any]:
    return [p for p in message.packet if p.HasField("track_event") and p.track_event.name == name]


@pytest.mark.parametrize(
    ("stat", "do"),
    [
        ("end_without_begin", lambda t: of(t, "queued")[0].track_event.ClearField("type")),
        ("flow_end_without_start", lambda t: [p.track_event.ClearField("flow_ids") for p in t.packet
                                              if p.HasField("track_event")]),
        ("flow_duplicate_id", lambda t: of(t, "asks vda to read")[-1].track_event.flow_ids.append(
            of(t, "woken by vda")[0].track_event.terminating_flow_ids[0])),
        ("parent_track_unknown", lambda t: [setattr(p.track_descriptor, "parent_uuid", 99999) for p in t.packet
                                            if p.track_descriptor.name == "vda requests"]),
        ("slice_without_name", lambda t: of(t, "in service")[0].track_event.ClearField("name")),
        ("out_of_order", lambda t: setattr(of(t, "woken by vda")[-1], "timestamp", 1)),
    ],
)  # fmt: skip
def test_a_broken_trace_is_found(stat: str, do: Callable[[Any], None], trace: bytes) -> None:
    assert change(trace, do).stats[stat] >= 1


def test_the_same_run_is_the_same_trace(trace: bytes) -> None:
    assert recorded() == trace
