"""A record as a packetdrill script: the scenario's lines, and what came as what is expected.

So what Linux did can be kept, and run against this stack with `terrella packetdrill`. TS vals begin at 100, as scripts
write them; what a call gave takes the place of `= -99`; of TCP_INFO the fields that a line names are asserted.
"""

from __future__ import annotations

import re

from tools.packetdrill.differential.record import Came, Group

FIRST_TS = 100


def write(groups: list[Group], setup: list[str], comment: str, names: tuple[str, ...] = ("snd_cwnd",)) -> str:
    """The text. `names`: the fields of TCP_INFO that an empty `%{ }%` asserts."""
    lines = [f"// {comment}", "--tolerance_usecs=0", *(line for line in setup if not line.startswith("--tolerance"))]
    clock = 0
    stamps: list[int] = []
    for group in groups:
        result = next((came for came in group.came if came.kind == "call"), None)
        info = next((came for came in group.came if came.kind == "info"), None)
        line = echoed(called(group.line, result), stamps)
        if line.startswith("%{"):
            line = asserted(info, names)
        lines.append(f"{since(group.due, clock):>6} {line}")
        clock = group.due
        for came in group.came:
            if came.kind != "packet":
                continue
            stamps += came.stamps
            text = came.text
            for stamp in came.stamps:
                text = text.replace("TS val 0", f"TS val {FIRST_TS + stamp}", 1)
            text = re.sub(r"^tos (\d+) > ", r"> [tos \1] ", text)
            lines.append(f"{since(group.due + came.after_ns, clock):>6} {text}")
            clock = group.due + came.after_ns
    first = next(i for i, line in enumerate(lines) if line.lstrip().startswith("+"))
    lines[first] = lines[first].replace("+0 ", " 0 ", 1)
    return "\n".join(lines) + "\n"


def since(at: int, clock: int) -> str:
    seconds = f"{(at - clock) / 1e9:.6f}".rstrip("0").rstrip(".")
    return "+" + (seconds[1:] if seconds.startswith("0.") else seconds)


def called(line: str, came: Came | None) -> str:
    """The line with the result that came."""
    if came is None or "-99" not in line:
        return line
    value = came.text.partition(":")[2].strip()
    return line.replace("-99", value.strip("[]"), 1)


def echoed(line: str, stamps: list[int]) -> str:
    """TS ecr as a script writes it."""

    def value(match: re.Match[str]) -> str:
        which = int(match.group(1))
        if not stamps:
            return "ecr 0"
        return f"ecr {FIRST_TS + stamps[which - 1]}"

    return re.sub(r"ecr (\d+)", value, line) if line.startswith("<") else line


def asserted(info: Came | None, names: tuple[str, ...]) -> str:
    fields = dict(item.split("=") for item in info.text.split()) if info and "=" in info.text else {}
    claims = [f"assert tcpi_{name} == {fields[name]}, tcpi_{name}" for name in names if name in fields]
    return "%{ " + "; ".join(claims) + " }%"
