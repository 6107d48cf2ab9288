"""A failing script's capture: everything that crossed the device, with the reasons that the stack gave, and at the
packet that is not what the script says, what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from csrc import Frame
from drivers.capture import Pcapng
from tools.packetdrill.script import ScriptError

History = Sequence[tuple[int, str, bytes]]


def save(path: str, interface: str, history: History, comments: Mapping[int, str]) -> None:
    """Write the pcapng; `comments` by place in the history."""
    capture = Pcapng(path)
    number = capture.add_interface(interface, ethernet=False)
    for place, (now, direction, image) in enumerate(history):
        frame = Frame.of(image, ethernet=False)
        frame.comment = comments.get(place)
        capture.packet(number, direction, frame, now)
    capture.close()


def remark(error: ScriptError, history: History, comments: dict[int, str], unclaimed: int) -> None:
    """Say what is wrong at the packet that the script was held against: the one that was claimed last, of `unclaimed`
    that were not, or the next one, which came too late. It stands before the stack's own reason.
    """
    sent = [place for place, (_, direction, _) in enumerate(history) if direction == "out"]
    at = len(sent) - unclaimed - (0 if error.late else 1)
    if error.kind == "mismatch" and error.actual and 0 <= at < len(sent):
        said = [f"line {error.line}: {error.message}; expected {error.expected}", comments.get(sent[at], "")]
        comments[sent[at]] = "\n".join(filter(None, said))
