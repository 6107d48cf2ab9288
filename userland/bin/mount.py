"""mount [-t TYPE] [-o OPTIONS] SOURCE TARGET; without operands: what is mounted."""

from __future__ import annotations

from userland import abi
from userland.command import Options, UsageError, command, wrong
from userland.lib import System, read_file, say

FLAGS = {
    "ro": abi.MS_RDONLY, "nosuid": abi.MS_NOSUID, "nodev": abi.MS_NODEV, "noexec": abi.MS_NOEXEC, "bind": abi.MS_BIND,
    "remount": abi.MS_REMOUNT, "move": abi.MS_MOVE, "noatime": abi.MS_NOATIME,
}  # fmt: skip
IGNORED = ("rw", "defaults", "suid", "dev", "exec", "relatime", "loop")


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "t:o:rwal", work, {"bind": "B", "types": "t:", "options": "o:"})


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        for line in read_file(sys, "/proc/mounts").decode().splitlines():
            device, place, kind, how = line.split()[:4]
            if "t" not in options or kind in options["t"].split(","):
                say(sys, f"{device} on {place} type {kind} ({how})")
        return 0
    if len(operands) != 2:
        raise UsageError("bad usage")
    flags, data = (abi.MS_RDONLY if "r" in options else 0) | (abi.MS_BIND if "B" in options else 0), []
    for text in options.all("o"):
        for word in text.split(","):
            if word in FLAGS:
                flags |= FLAGS[word]
            elif word not in IGNORED:
                data.append(word)
    source, target = operands
    try:
        sys.mount(source, target, options.get("t") or None, flags, ",".join(data))
    except OSError as why:
        return 32 * wrong(sys, name, target, why)
    return 0
