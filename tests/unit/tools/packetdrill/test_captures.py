"""A failing script's capture says why the stack sent what it sent."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tools.packetdrill.captures import remark
from tools.packetdrill.runner import run_file, run_text
from tools.packetdrill.script import ScriptError
from tools.pcapng import packets

SCRIPT = """
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 257
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 1000) = 1000
+0 > P. 1:1001(1000) ack 1
+.3 > P. 1:1001(1000) ack 1
"""


def test_reasons_are_in_the_capture(tmp_path: Path) -> None:
    assert run_text(SCRIPT, "good.pkt", str(tmp_path)).passed, "asking why changes nothing"
    assert not list(tmp_path.iterdir())
    verdict = run_text(SCRIPT + "+0 > P. 1:1001(1000) ack 7\n", "bad.pkt", str(tmp_path))
    assert not verdict.passed and verdict.capture is not None
    comments = [packet.comment for packet in packets(verdict.capture) if packet.comment]
    assert comments[0] == "SYN-ACK: a SYN came to a listening socket"
    assert comments[1] == "TLP: no ACK for 300 ms → the last segment again"


@pytest.mark.parametrize(
    ("more", "at", "said"),
    [
        ("+.3 > P. 1:1001(1000) ack 7\n", 5, "line 12: ack: expected 7, got 1; expected +.3 > P. 1:1001(1000) ack 7"),
        ("+.1 > P. 1:1001(1000) ack 1\n", 5, "line 12: timing: no packet until"),
        ("+0 write(4, ..., 5) = 6\n", None, ""),
        ("+0 %{ assert tcpi_snd_cwnd == 1 }%\n", None, ""),
    ],
)
def test_the_packet_that_is_wrong_says_so(more: str, at: int | None, said: str, tmp_path: Path) -> None:
    verdict = run_text(SCRIPT + more, "x.pkt", str(tmp_path))
    assert verdict.capture is not None
    comments = enumerate(packet.comment for packet in packets(verdict.capture))
    found = {place: comment for place, comment in comments if comment.startswith("line ")}
    assert list(found) == ([] if at is None else [at])
    if at is not None:
        assert found[at].startswith(said) and found[at].partition("\n")[2], "and why the stack sent it"


@pytest.mark.parametrize(("late", "at"), [(False, 1), (True, 2)])
def test_which_packet_it_is_does_not_hang_on_the_words(late: bool, at: int) -> None:
    """The one claimed last, or the one that no event has claimed: whatever the message says."""
    for message in ("ack: expected 7, got 1", "timing: no packet until 1.000000 s; none came"):
        error = ScriptError("x.pkt", 3, message, expected="this", actual="that")
        error.late = late
        comments: dict[int, str] = {}
        remark(error, [(0, "out", b""), (0, "out", b""), (0, "out", b""), (0, "in", b"")], comments, unclaimed=1)
        assert comments == {at: f"line 3: {message}; expected this"}


SCRIPTS = [
    path for path in sorted((Path(__file__).resolve().parents[3] / "conformance").rglob("*.pkt"))
    if zlib.crc32(path.stem.encode()) % 4 == 0  # by its name: another script changes none of these
]  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_asking_why_changes_nothing(script: Path, tmp_path: Path) -> None:
    """About every fourth of our scripts, with the stack explaining itself: packet for packet what it does without."""
    told, untold = run_file(str(script), str(tmp_path)), run_file(str(script))
    assert told.passed == untold.passed, told.error
    assert told.history == untold.history
