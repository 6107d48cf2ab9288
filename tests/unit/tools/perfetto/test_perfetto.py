"""`--perfetto`: what is in the file, read by another reader. Field numbers are perfetto_trace.proto's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from terrella import Lab
from tests.unit.tools.perfetto.reader import Fields, fields, trace
from tools.cli import main
from tools.perfetto import proto
from tools.perfetto.record import IDS, Recorder

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


def serve(sys: Any) -> None:
    listener = sys.socket(2, 1)
    sys.bind(listener, ("10.0.0.2", 80))
    sys.listen(listener, 5)
    fd, _ = sys.accept4(listener)
    request = sys.recvfrom(fd, 100)[0]
    sys.cpu(3_000_000)
    sys.write(fd, request.upper())
    sys.close(fd)


def ask(sys: Any, answers: list[bytes]) -> None:
    fd = sys.socket(2, 1)
    sys.connect(fd, ("10.0.0.2", 80))
    sys.sendto(fd, b"question")
    answers.append(sys.read(fd, 100))


def loop(sys: Any) -> None:
    while True:
        sys.cpu(1_000_000)


@pytest.fixture(scope="module")
def packets() -> list[Fields]:
    out = io.BytesIO()
    answers: list[bytes] = []
    with Lab(seed=3) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24", cpus=2)
        lab.link(a, b, rate="10Mbit", delay="1ms")
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
    return trace(out.getvalue())


def events(packets: list[Fields]) -> list[tuple[int, Fields]]:
    return [(p[8][0], fields(p[11][0])) for p in packets if 11 in p]


def tracks(packets: list[Fields]) -> dict[int, Fields]:
    return {d[1][0]: d for d in (fields(p[60][0]) for p in packets if 60 in p)}


def test_every_event_is_on_a_track_that_was_told_before(packets: list[Fields]) -> None:
    known: set[int] = set()
    for packet in packets:
        assert packet[10] == [1]
        if 60 in packet:
            descriptor = fields(packet[60][0])
            assert descriptor.get(5, [0])[0] in known | {0}
            known.add(descriptor[1][0])
        if 11 in packet:
            assert fields(packet[11][0])[11][0] in known


def test_slices_nest_and_time_does_not_go_back(packets: list[Fields]) -> None:
    depth: dict[int, int] = {}
    names = set()
    last = 0
    for now, event in events(packets):
        assert now >= last
        last = now
        track, kind = event[11][0], event[9][0]
        if kind == BEGIN:
            depth[track] = depth.get(track, 0) + 1
            names.add(event[23][0])
        elif kind == END:
            depth[track] -= 1
            assert depth[track] >= 0
    assert not any(depth.values())
    assert {b"accept4", b"recvfrom", b"connect", b"write"} <= names


def test_each_cpu_tells_who_runs_without_a_gap(packets: list[Fields]) -> None:
    running: dict[int, int] = {}
    seen = set()
    for packet in packets:
        for bundle in map(fields, packet.get(1, [])):
            cpu = bundle.get(1, [0])[0]
            for event in map(fields, bundle.get(2, [])):
                if 4 in event:
                    switch = fields(event[4][0])
                    assert running.get(cpu, switch[2][0]) == switch[2][0], "who leaves is who was there"
                    running[cpu] = switch[6][0]
                    seen.add((cpu, switch[5][0]))
    assert {cpu for cpu, _ in seen} == {0, 1, 2}
    assert {b"ask", b"serve", b"loop"} <= {comm for _, comm in seen}


def test_the_flow_of_a_request_goes_from_its_packet_to_the_answer(packets: list[Fields]) -> None:
    whose = {uuid: fields(d[4][0]) for uuid, d in tracks(packets).items() if 4 in d}
    steps: dict[int, list[tuple[str, int]]] = {}
    for _, event in events(packets):
        for flow in [*event.get(47, []), *event.get(48, [])]:
            steps.setdefault(flow, []).append((event[23][0].decode(), event[11][0]))
    request = next(path for path in steps.values() if "8 bytes" in path[0][0] and ":80 " in path[0][0])
    assert [name for name, _ in request[1:]] == ["data of a packet", "write"]
    assert {whose[track][5][0] for _, track in request[1:]} == {b"serve"}
    assert all(whose[track][2][0] > IDS for _, track in request[1:]), "threads of the second machine"


def test_counters(packets: list[Fields]) -> None:
    named = {uuid: d[2][0].decode() for uuid, d in tracks(packets).items() if 8 in d}
    most: dict[str, int] = {}
    for _, event in events(packets):
        if event[9][0] == COUNTER:
            name = named[event[11][0]]
            most[name] = max(most.get(name, 0), event[30][0])
    assert most["b cpu1 waiting tasks"] >= 1
    assert most["b eth0 rx_bytes"] > 100
    assert "eth0 frames to be sent" in most


def test_the_writers_integers() -> None:
    for value in (0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1):
        assert fields(proto.number(5, value)) == {5: [value]}
    assert fields(proto.number(5, -1)) == {5: [2**64 - 1]}
    assert fields(proto.fixed64(3, 7) + proto.text(2, "ü")) == {3: [7], 2: ["ü".encode()]}


def test_the_option_of_run(tmp_path: Path) -> None:
    program, file = tmp_path / "p.py", tmp_path / "t"
    program.write_text("def main(sys, argv):\n    sys.nanosleep(1000)\n    return 3\n")
    assert main(["run", "--perfetto", str(file), str(program)]) == 3
    first = file.read_bytes()
    assert any(23 in e and e[23][0] == b"nanosleep" for _, e in events(trace(first)))
    assert main(["run", "--perfetto", str(file), str(program)]) == 3
    assert file.read_bytes() == first, "the same run is the same file"
    assert main(["run", "--perfetto", "/nowhere/t", str(program)]) == 125
