"""`--disk IMAGE`: a disk in a file of the host for the machine of a command.

    --disk disk.img                                  raw sectors: what mkfs, e2fsck and mount -o loop read
    --disk disk.img,drive=hdd,scheduler=deadline,depth=4
    --disk disk.img,ro                               read-only

Several `--disk` are /dev/vda, /dev/vdb and so on. In virtual time a disk takes the time of an SSD unless told
otherwise; in real time it takes what the host takes, unless told.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from tools.errors import CommandError

if TYPE_CHECKING:
    from drivers.disk.drive import DriveCosts
    from drivers.disk.image import ImageDisk
    from kernel.machine import Machine

USAGE = 2
KEYS = ("drive", "scheduler", "depth")


class DiskOption:
    """One `--disk`, parsed: the image and what the machine is told about it."""

    __slots__ = ("depth", "drive", "path", "readonly", "scheduler")

    def __init__(self, text: str) -> None:
        """ValueError, with a message for who typed it."""
        self.path = text
        self.readonly = False
        self.drive: str | None = None
        self.scheduler = "none"
        self.depth = 32
        while "," in self.path:
            rest, _, word = self.path.rpartition(",")
            key, equals, value = word.partition("=")
            if word == "ro":
                self.readonly = True
            elif not equals or key not in KEYS:
                break  # part of the name
            else:
                self._set(key, value)
            self.path = rest

    def _set(self, key: str, value: str) -> None:
        from drivers.disk.drive import DRIVES
        from kernel.block.elevator import ELEVATORS

        if key == "depth":
            if not value.isdigit() or not int(value):
                raise ValueError(f"depth={value}: a number of requests, at least 1")
            self.depth = int(value)
            return
        known = [*DRIVES, "none"] if key == "drive" else list(ELEVATORS)
        if value not in known:
            raise ValueError(f"{key}={value}: there are {', '.join(known)}")
        if key == "drive":
            self.drive = value
        else:
            self.scheduler = value

    def costs(self, real: bool) -> DriveCosts | None:
        """How long the disk takes on such a machine."""
        from drivers.disk.drive import DRIVES, SSD

        if self.drive is None:
            return None if real else SSD
        return DRIVES.get(self.drive)


def disk_option(text: str) -> DiskOption:
    try:
        return DiskOption(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from why


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--disk", metavar="IMAGE", action="append", type=disk_option, default=[],
        help="a disk image, as /dev/vda; behind it ,ro ,drive=ssd|hdd|none ,scheduler=none|deadline ,depth=N",
    )  # fmt: skip


def open_disks(options: list[DiskOption]) -> list[ImageDisk]:
    """The images, locked for this machine. CommandError with exit status 2 when one is no disk."""
    from drivers.disk.image import ImageDisk

    opened: list[ImageDisk] = []
    try:
        for option in options:
            opened.append(ImageDisk(option.path, readonly=option.readonly))
    except OSError as why:
        for disk in opened:
            disk.close()
        raise CommandError(f"--disk {option.path}: {_explained(option, why)}", USAGE) from why
    return opened


def _explained(option: DiskOption, why: OSError) -> str:
    text = why.strerror or str(why)
    if isinstance(why, FileNotFoundError):
        return f"{text}. `truncate -s 64M {option.path}` makes an empty one"
    if isinstance(why, PermissionError) and os.access(option.path, os.R_OK):
        return f"{text}: read-only it is `--disk {option.path},ro`"
    return text


def attach_disks(machine: Machine, options: list[DiskOption], disks: list[ImageDisk]) -> None:
    """Plug them in, in order."""
    for option, disk in zip(options, disks):
        machine.attach_disk(disk, drive=option.costs(machine.real), scheduler=option.scheduler, depth=option.depth)


__all__ = ["DiskOption", "attach_disks", "configure", "open_disks"]
