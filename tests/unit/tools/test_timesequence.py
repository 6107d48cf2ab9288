"""The time-sequence graph: what is read from a capture, what is drawn of it, and the command."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csrc.frame import Frame
from drivers.capture import Pcapng
from terrella import Lab
from tools.canvas import Line, Point, Svg
from tools.cli import main
from tools.errors import CommandError
from tools.pcapng import packets
from tools.timesequence import AGAIN, DATA, EDGE, LATE, SACKED, Axis, draw, flows, moment, states

SIZE = 300_000


def send(sys: Any) -> None:
    listener = sys.socket(2, 1)
    sys.bind(listener, ("10.0.0.1", 80))
    sys.listen(listener, 1)
    fd, _ = sys.accept4(listener)
    data = bytes(SIZE)
    while data:
        data = data[sys.write(fd, data) :]
    sys.close(fd)


def receive(sys: Any) -> None:
    fd = sys.socket(2, 1)
    sys.connect(fd, ("10.0.0.1", 80))
    while sys.read(fd, 65536):
        pass


class Run:
    """A transfer with losses: where its capture and its log are, and what the sender counted."""

    def __init__(self, where: Path, loss: str = "6%", why: bool = True) -> None:
        self.capture, self.log = str(where / "run.pcapng"), str(where / "run.jsonl")
        with Lab(seed=3) as lab:
            a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
            lab.link(a, b, rate="10Mbit", delay="10ms", loss=loss, queue=50)
            lab.capture(a, self.capture, why=why)
            if why:
                lab.why(a, self.log)
            a.spawn(send)
            lab.run(until="1ms")
            b.spawn(receive)
            lab.run()
            lab.run(until=lab.now + 5_000_000_000)  # the last ACK is still under way
            self.retransmitted = a.stack.counters.tcp.RetransSegs
            self.segments = a.stack.counters.tcpext.TCPOrigDataSent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


class Notes:
    """A canvas that takes notes."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str, str]] = []
        self.drawn: dict[str, list[Line]] = {}
        self.paths: list[tuple[str, Sequence[Point]]] = []
        self.rects: list[tuple[str, str]] = []

    def clip(self, x: float, y: float, width: float, height: float) -> None: ...

    def rect(self, x: float, y: float, width: float, height: float, color: str, title: str = "") -> None:
        self.rects.append((color, title))

    def lines(self, lines: Iterable[Line], color: str, width: float) -> None:
        self.drawn.setdefault(color, []).extend(lines)

    def path(self, points: Sequence[Point], color: str, width: float, dashed: bool = False) -> None:
        self.paths.append((color, points))

    def text(
        self, x: float, y: float, text: str, color: str = "#333333", size: float = 12, anchor: str = "start",
        bold: bool = False, title: str = "",
    ) -> None:  # fmt: skip
        self.texts.append((text, color, title))

    def save(self, path: str) -> None: ...


def test_the_flows_of_a_capture(run: Run) -> None:
    (flow,) = flows(run.capture)
    assert (flow.src, flow.dst.split(":")[0]) == ("10.0.0.1:80", "10.0.0.2")
    assert flow.retransmitted == run.retransmitted > 5
    assert sum(bool(s.end - s.seq - bool(s.flags & 3)) for s in flow.segments if not s.again) == run.segments
    first = flow.segments[0]
    assert (first.seq, first.end) == (0, 1), "the SYN-ACK"
    assert max(segment.end for segment in flow.segments) == SIZE + 2 == flow.answers[-1].ack
    assert all(a.ack <= b.ack for a, b in zip(flow.answers, flow.answers[1:], strict=False))
    assert any(a.sacks for a in flow.answers) and any(a.duplicate >= 3 for a in flow.answers)
    assert max(a.window for a in flow.answers) > 65535, "windows are scaled"
    for answer in flow.answers:
        assert all(answer.ack <= left < right <= flow.high or right <= answer.ack for left, right in answer.sacks)


def test_what_is_drawn(run: Run) -> None:
    (flow,) = flows(run.capture)
    notes = Notes()
    draw(flow, notes, 1200, 760)
    assert sum(text == "R" for text, _, _ in notes.texts) == run.retransmitted
    titles = [title for text, _, title in notes.texts if text == "R"]
    assert any("fast retransmit" in title for title in titles) and all(titles)
    assert sum(text == "S" for text, _, _ in notes.texts) == sum(text == "F" for text, _, _ in notes.texts) == 1
    assert len(notes.drawn[AGAIN]) - 1 == run.retransmitted, "but for the legend"
    assert len(notes.drawn[DATA]) - 1 >= run.segments and len(notes.drawn[SACKED]) > 10
    for x1, y1, x2, y2 in (line for lines in notes.drawn.values() for line in lines):
        assert min(x1, x2, y1, y2) >= 0 and max(x1, x2) <= 1200 and max(y1, y2) <= 760


def test_a_part_of_it(run: Run) -> None:
    (flow,) = flows(run.capture)
    again = [s for s in flow.segments if s.again]
    at = again[0].time_ns - flow.start_ns
    notes = Notes()
    draw(flow, notes, 1200, 760, (), at - 1_000_000, at + 1_000_000)
    assert 1 <= sum(text == "R" for text, _, _ in notes.texts) < run.retransmitted


def test_the_log_adds_a_panel(run: Run) -> None:
    (flow,) = flows(run.capture)
    log = states(run.log, flow)
    by_time = {(s.time_ns, s.seq) for s in log if s.event == "send"}
    joined = [s for s in flow.segments if (s.time_ns, s.seq) in by_time]
    assert len(joined) > len(flow.segments) / 2, "lines and packets are joined by time and sequence number"
    plain, notes = Notes(), Notes()
    draw(flow, plain, 1200, 760)
    draw(flow, notes, 1200, 760, log)
    words = {text for text, _, _ in notes.texts} - {text for text, _, _ in plain.texts}
    assert {"cwnd", "ssthresh", "pipe", "Recovery"} <= words
    assert len(notes.paths) >= len(plain.paths) + 3


def test_a_log_that_goes_on(run: Run, tmp_path: Path) -> None:
    (flow,) = flows(run.capture)
    text = Path(run.log).read_text()
    cut = tmp_path / "cut.jsonl"
    cut.write_text(text[: len(text) // 2].rstrip("\n")[:-5])
    assert 0 < len(states(str(cut), flow)) < len(states(run.log, flow))
    cut.write_text(cut.read_text() + "\n")
    with pytest.raises(CommandError, match="not a line of a log"):
        states(str(cut), flow)


def test_without_losses_nothing_is_marked(tmp_path: Path) -> None:
    run = Run(tmp_path, loss="0%", why=False)
    (flow,) = flows(run.capture)
    notes = Notes()
    draw(flow, notes, 800, 600)
    assert not any(text in ("R", "3") for text, _, _ in notes.texts)
    assert not any(segment.comment for segment in flow.segments), "nobody asked why"


def test_a_capture_that_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "live.pcapng")
    seen = []
    with Lab(seed=3) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Mbit", delay="10ms", queue=50)
        capture = lab.capture(a, path)
        a.spawn(send)
        lab.run(until="1ms")
        b.spawn(receive)
        for until in ("100ms", "200ms", "1s"):
            lab.run(until=until)
            capture.flush()
            seen.append(flows(path)[0].bytes)
    assert 0 < seen[0] < seen[1] < seen[2] == SIZE


def test_captures_of_headers_only(run: Run, tmp_path: Path) -> None:
    """As `tcpdump -s 96` makes them."""
    short = tmp_path / "short.pcap"
    with open(short, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 96, 1))
        for packet in packets(run.capture):
            seconds, rest = divmod(packet.time_ns, 1_000_000_000)
            file.write(struct.pack("<IIII", seconds, rest, min(96, packet.length), packet.length) + packet.data[:96])
    (whole,), (cut,) = flows(run.capture), flows(str(short))
    assert [s[:5] for s in cut.segments] == [s[:5] for s in whole.segments] and cut.answers == whole.answers


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60), st.binary(min_size=1, max_size=4)), max_size=12))
def test_whatever_is_in_a_capture(run: Run, changes: list[tuple[int, int, bytes]]) -> None:
    """Damaged packets are left out or drawn as they are; they never end it."""
    found = [bytearray(packet.data) for packet in islice(packets(run.capture), 60)]
    file = io.BytesIO()
    with Pcapng(file) as capture:
        eth = capture.add_interface("eth0")
        for which, at, noise in changes:
            data = found[which % len(found)]
            data[at : at + len(noise)] = noise
        for at, data in enumerate(found):
            capture.packet(eth, "in", Frame.of(bytes(data)), at)
    for flow in flows(io.BytesIO(file.getvalue())):
        svg = Svg(600, 400)
        draw(flow, svg, 600, 400)
        ElementTree.fromstring(str(svg))


def test_ipv6_and_bare_ip() -> None:
    """What `trl_parse` reads is drawn, whatever carries it."""

    def packet(forth: bool, seq: int, ack: int, flags: int, payload: bytes) -> bytes:
        here, there = bytes(15) + b"\1", bytes(15) + b"\2"
        ends = (here + there, 80, 4000) if forth else (there + here, 4000, 80)
        numbers = (seq & 0xFFFFFFFF, ack & 0xFFFFFFFF)
        tcp = struct.pack("!HHIIBBHHH", *ends[1:], *numbers, 0x50, flags, 1000, 0, 0) + payload
        return struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + ends[0] + tcp

    file = io.BytesIO()
    isn = 0xFFFFFF00  # it wraps
    with Pcapng(file) as capture:
        tun = capture.add_interface("tun0", ethernet=False)
        for at, image in enumerate((
            packet(True, isn, 0, 2, b""), packet(False, 7, isn + 1, 18, b""), packet(True, isn + 1, 8, 16, bytes(200)),
            packet(True, isn + 201, 8, 16, bytes(200)), packet(True, isn + 1, 8, 16, bytes(200)),
            packet(False, 8, isn + 401, 16, b""), packet(True, isn + 401, 8, 17, b""),
        )):  # fmt: skip
            capture.packet(tun, "in", Frame.of(image, ethernet=False), at * 1_000_000)
    (flow,) = flows(io.BytesIO(file.getvalue()))
    assert flow.src == "[::1]:80" and flow.dst == "[::2]:4000"
    assert [(s.seq, s.end, s.again) for s in flow.segments] == [
        (0, 1, False), (1, 201, False), (201, 401, False), (1, 201, True), (401, 402, False),
    ]  # fmt: skip
    assert [(a.ack, a.window) for a in flow.answers] == [(1, 1000), (401, 1000)]


def segment(seq: int, length: int, flags: int = 16, options: bytes = b"", back: bool = False) -> bytes:
    """A bare IPv4 packet from 10.0.0.1:80 to 10.0.0.2:4000, or back, when it acknowledges up to `seq`."""
    ends = [b"\x0a\0\0\1", b"\x0a\0\0\2"]
    ports, numbers = (80, 4000), (seq & 0xFFFFFFFF, 1)
    if back:
        ends, ports, numbers, length = ends[::-1], ports[::-1], numbers[::-1], 0
    offset = (20 + len(options)) // 4 << 4
    tcp = struct.pack(">HHIIBBHHH", *ports, *numbers, offset, flags, 500, 0, 0) + options + bytes(length)
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ends[0] + ends[1] + tcp


def captured(where: Path, *images: bytes) -> str:
    path = str(where / "made.pcapng")
    capture = Pcapng(path)
    interface = capture.add_interface("tun0", ethernet=False)
    for n, image in enumerate(images):
        capture.packet(interface, "in", Frame.of(image, ethernet=False), n * 1_000_000)
    capture.close()
    return path


START = 0xFFFFFF00  # so that sequence numbers wrap


@pytest.mark.parametrize(
    ("order", "marks"),
    [
        ([0, 1, 2, 3], ""), ([0, 2, 1, 3], "O"), ([0, 1, 1, 2, 3], "R"), ([0, 2, 3, 1, 1], "OR"), ([0, 3, 2, 1], "OO"),
        ([0, 2, 2, 1, 3, 0], "ROR"), ([3, 0], "R"),
    ],
)  # fmt: skip
def test_what_was_seen_before_and_what_only_comes_late(order: list[int], marks: str, tmp_path: Path) -> None:
    path = captured(tmp_path, *(segment(START + 100 * n, 100) for n in order))
    (flow,) = flows(path)
    said = "".join("R" if one.again else "O" if one.late else "" for one in flow.segments)
    assert said == marks and (flow.retransmitted, flow.late) == (marks.count("R"), marks.count("O"))
    notes = Notes()
    draw(flow, notes, 1200, 760)
    assert "".join(text for text, color, _ in notes.texts if text in "RO") == marks
    beside_the_legend = [len(notes.drawn[color]) > 1 for color in (AGAIN, LATE)]
    assert beside_the_legend == ["R" in marks, "O" in marks]


SCALED = b"\3\3\7\0"


@pytest.mark.parametrize(
    ("there", "back", "window"),
    [(SCALED, SCALED, 500 << 7), (b"", SCALED, 500), (SCALED, b"", 500), (b"", None, 500), (None, SCALED, None),
     (SCALED, None, None), (None, None, None)],
)  # fmt: skip
def test_the_window_is_drawn_where_its_scale_is_known(
    there: bytes | None, back: bytes | None, window: int | None, tmp_path: Path
) -> None:
    """The windows are those that 10.0.0.2 offers, who opened the connection; a capture may begin after the SYNs."""
    images = [] if there is None else [segment(0, 0, 2, there, back=True)]
    images += [] if back is None else [segment(START - 1, 0, 18, back)]
    path = captured(tmp_path, *images, segment(START, 100), segment(START + 100, 0, back=True))
    (flow,) = flows(path)
    assert flow.scaled is (window is not None) and window in (None, flow.answers[-1].window)
    notes = Notes()
    draw(flow, notes, 1200, 760)
    assert any(color == EDGE for color, _ in notes.paths) is flow.scaled
    assert any("not captured" in text for text, _, _ in notes.texts) is not flow.scaled


def test_a_time_without_a_unit_is_in_seconds() -> None:
    assert (moment("1.2"), moment("1200ms"), moment(" 3 ")) == (1_200_000_000, 1_200_000_000, 3_000_000_000)


def test_round_values_on_the_axes() -> None:
    assert Axis(0, 10, 0, 100).ticks(5) == [0, 2, 4, 6, 8, 10]
    assert Axis(0.85, 1.06, 0, 100).ticks(4)[0] == 0.9
    assert Axis(3, 3, 0, 1)(3) == 0


def test_the_command(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.svg")
    assert main(["plot", run.capture, "--why", run.log, "-o", out]) == 0
    assert f"{run.retransmitted} sent again" in capsys.readouterr().out
    root = ElementTree.parse(out).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("width") == "1200"
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("fast retransmit, cwnd" in (title or "") for title in titles)
    assert main(["plot", run.capture, "--list"]) == 0
    assert "   1  10.0.0.1:80 → 10.0.0.2:" in capsys.readouterr().out
    assert main(["plot", run.capture, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["bytes"] > SIZE and row["retransmitted"] == run.retransmitted
    again = str(tmp_path / "y.svg")
    assert main(["plot", run.capture, "--why", run.log, "-o", again]) == 0
    assert Path(again).read_bytes() == Path(out).read_bytes()


def test_png_where_matplotlib_is(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    status = main(["plot", run.capture, "--why", run.log, "-o", str(out), "--size", "900x600"])
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert status == 1 and "matplotlib" in capsys.readouterr().err
    else:
        assert status == 0 and out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["/nowhere"], 1), (["CAPTURE", "--flow", "7"], 1), (["CAPTURE", "-o", "/nowhere/x.svg"], 1),
        (["CAPTURE", "--from", "soon"], 2), (["CAPTURE", "--size", "9"], 2), (["CAPTURE", "--why", "/nowhere"], 1),
        (["CAPTURE", "--why", "CAPTURE"], 1), (["LOG"], 1), (["CAPTURE", "--from", "1000s"], 1),
        (["CAPTURE", "-o", "x.gif"], 2), (["CAPTURE", "-o", "x"], 2), (["CAPTURE", "--from", "2s", "--to", "1s"], 2),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    run: Run, words: list[str], status: int, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    try:
        left = main(["plot", *({"CAPTURE": run.capture, "LOG": run.log}.get(word, word) for word in words)])
    except SystemExit as ended:
        left = ended.code  # type: ignore[assignment]
    assert left == status and capsys.readouterr().err


def test_svg_is_escaped(tmp_path: Path) -> None:
    svg = Svg(100, 50)
    svg.text(1, 2, "<&>", title='"quoted" & <more>')
    svg.clip(0, 0, 10, 10)
    svg.path([(0, 0), (1, 1)], "red", 1)
    found = ElementTree.fromstring(str(svg))
    assert [text.text for text in found.iter("{http://www.w3.org/2000/svg}text")] == ["<&>"]
