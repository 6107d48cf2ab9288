"""A lab says why: comments in its captures and lines of JSON, joined by time."""

from __future__ import annotations

import errno
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from terrella import Lab
from tools.pcapng import packets


def serve(sys: Any) -> None:
    listener = sys.socket(2, 1)
    sys.bind(listener, ("10.0.0.1", 80))
    sys.listen(listener, 1)
    fd, _ = sys.accept4(listener)
    data = bytes(100_000)
    while data:
        data = data[sys.write(fd, data) :]
    sys.close(fd)


def fetch(sys: Any) -> None:
    sys.nanosleep(1_000_000)
    fd = sys.socket(2, 1)
    sys.connect(fd, ("10.0.0.1", 80))
    while sys.read(fd, 65536):
        pass


def run(capture: Any, log: Any = None, why: bool = True) -> None:
    with Lab(seed=2) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Mbit", delay="10ms", loss="5%", queue=50)
        lab.capture(a, capture, why=why)
        if log is not None:
            lab.why(a, log)
        a.spawn(serve)
        b.spawn(fetch)
        lab.run()


def test_comments_and_lines_tell_the_same(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    run(str(tmp_path / "a.pcapng"), str(log))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["host"] for line in lines} == {"a"} and {line["event"] for line in lines} >= {"ack", "send"}
    assert all(one["time_ns"] <= other["time_ns"] for one, other in pairwise(lines))
    said = {(line["time_ns"], line["reason"]) for line in lines if line["event"] == "send"}
    read = list(packets(str(tmp_path / "a.pcapng")))
    comments = [(packet.time_ns, packet.comment) for packet in read if packet.comment]
    assert comments and all(comment in said for comment in comments)
    assert all(packet.outgoing for packet in read if packet.comment), "reasons are for what is sent"
    assert any("fast retransmit" in comment for _, comment in comments)


def test_every_retransmission_has_a_reason(tmp_path: Path) -> None:
    run(str(tmp_path / "a.pcapng"))
    high = 0
    again = 0
    for packet in packets(str(tmp_path / "a.pcapng")):
        data = packet.data
        if packet.outgoing and data[12:14] == b"\x08\x00" and data[23] == 6:
            payload = int.from_bytes(data[16:18], "big") - 20 - (data[46] >> 4) * 4
            seq = int.from_bytes(data[38:42], "big")
            if payload and seq < high:
                again += 1
                assert packet.comment, f"sent again, and no word why: {seq}"
            high = max(high, seq + payload)
    assert again > 3


def test_the_packets_are_the_same_with_and_without() -> None:
    told, untold, log = io.BytesIO(), io.BytesIO(), io.StringIO()
    run(told, log)
    run(untold, why=False)
    assert [(p.time_ns, p.data) for p in packets(io.BytesIO(told.getvalue()))] == [
        (p.time_ns, p.data) for p in packets(io.BytesIO(untold.getvalue()))
    ]
    assert not any(p.comment for p in packets(io.BytesIO(untold.getvalue())))
    assert log.getvalue().count("\n") > 100, "the file object stays the caller's"


def test_the_same_seed_gives_the_same_reasons() -> None:
    runs = []
    for _ in range(2):
        capture, log = io.BytesIO(), io.StringIO()
        run(capture, log)
        runs.append((capture.getvalue(), log.getvalue()))
    assert runs[0] == runs[1]


class Filling(io.StringIO):
    """A file on a disk that is full after so many writes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.refused = 0

    def write(self, text: str) -> int:
        if self.room <= 0:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1
        return super().write(text)


def test_programs_do_not_hear_of_a_disk_that_fills_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written while they make calls: what the host says of them comes when the lab is closed."""
    monkeypatch.setattr("terrella.why.FLUSH", 1000)
    ends = {}
    for room in (3, 1000):
        log = Filling(room)
        lab = Lab(seed=2)
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Mbit", delay="10ms", loss="5%", queue=50)
        other = lab.why(b, io.StringIO())
        lab.why(a, log)
        programs = a.spawn(serve), b.spawn(fetch)
        assert lab.run()
        ends[room] = lab.now, *(program.exit_code for program in programs), b.stack.counters.as_dict()
        if room == 3:
            assert log.refused == 1
            with pytest.raises(OSError, match="No space left"):
                lab.close()
        lab.close()
        lines = other.events
        other.write({"time_ns": 0})
        assert lines and other.events == lines, "the other log is closed all the same"
        assert log.refused <= 1
    assert ends[3] == ends[1000]
