"""dd [OPERAND]...: copies blocks, with GNU's operands, its counts of records and its statistics.

With bs= each block is written as it was read; without, the bytes read are gathered into blocks of obs. Statistics go to
standard error; the time is that of CLOCK_MONOTONIC, which is virtual in a simulation.
"""

from __future__ import annotations

import re

from userland import abi
from userland.command import UsageError
from userland.lib import System, complain, say, write_all

SCALE = {"c": 1, "w": 2, "b": 512, "kB": 1000, "K": 1024, "KiB": 1024, "k": 1024}
for _power, _letter in enumerate("MGTPE", 2):
    SCALE[_letter] = SCALE[f"{_letter}iB"] = 1024**_power
    SCALE[f"{_letter}B"] = 1000**_power
FLAGS = {
    "append": abi.O_APPEND, "direct": abi.O_DIRECT, "directory": abi.O_DIRECTORY, "dsync": abi.O_DSYNC,
    "sync": abi.O_SYNC, "nonblock": abi.O_NONBLOCK, "noatime": abi.O_NOATIME, "nofollow": abi.O_NOFOLLOW,
    "noctty": abi.O_NOCTTY, "nocache": 0, "fullblock": 0, "count_bytes": 0, "skip_bytes": 0, "seek_bytes": 0,
}  # fmt: skip
CONVERSIONS = ("excl", "fdatasync", "fsync", "lcase", "nocreat", "noerror", "notrunc", "swab", "sync", "ucase")
LEVELS = ("none", "noxfer", "progress")


class Quit(Exception):
    """It can't go on; the message, without the name."""


def number(text: str) -> tuple[int, bool]:
    """(value, whether it counts bytes) of 10, 4k, 2x512, 100B."""
    in_bytes = False
    if text.endswith("B") and text[-2:-1].isdigit():
        text, in_bytes = text[:-1], True
    value = 1
    for factor in text.split("x"):
        match = re.fullmatch(r"(\d+)([a-zA-Z]*)", factor)
        if match is None or (match[2] and match[2] not in SCALE):
            raise Quit(f"invalid number: '{text}'")
        value *= int(match[1]) * SCALE.get(match[2], 1)
    return value, in_bytes


def size(count: int, base: int) -> str:
    """1.5 kB: to the nearest, with one digit below 10."""
    if count < base:
        return f"{count} B"
    units = "kMGTPE" if base == 1000 else "KMGTPE"
    power = 1
    while count >= base ** (power + 1) and power < len(units):
        power += 1
    unit = base**power
    tenths = (count * 10 + unit // 2) // unit
    shown = f"{tenths // 10}.{tenths % 10}" if tenths < 100 else str((count + unit // 2) // unit)
    return f"{shown} {units[power - 1]}{'iB' if base == 1024 else 'B'}"


def rate(count: int, ns: int) -> str:
    """Bytes per second: up to four characters, at least kB."""
    if not ns:
        return "Infinity B/s"
    value, units = count * 1e9 / ns / 1000, "kMGTPE"
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    shown = f"{value:.1f}"
    return f"{shown if len(shown) <= 4 else format(value, '.0f')} {units[0]}B/s"


class Copy:
    """One run of dd."""

    def __init__(self, sys: System, operands: list[str]) -> None:
        self.sys = sys
        self.source, self.target = "", ""
        self.blocks: dict[str, int] = {}
        self.counts: dict[str, tuple[int, bool]] = {}
        self.conversions: dict[str, None] = {}
        self.flags: dict[str, dict[str, None]] = {"iflag": {}, "oflag": {}}
        self.level = ""
        self.read = [0, 0]
        self.written = [0, 0]
        self.bytes = 0
        for operand in operands:
            self._operand(operand)
        both = self.blocks.get("bs", 0)
        self.ibs = both or self.blocks.get("ibs", 512)
        self.obs = both or self.blocks.get("obs", 512)
        self.gathers = not both or any(word in self.conversions for word in ("lcase", "swab", "ucase"))
        self.odd = b""
        """The byte that swab has not found a partner for."""
        self.rest = bytearray()
        self.began = 0

    def _operand(self, operand: str) -> None:
        name, equals, value = operand.partition("=")
        name = {"iseek": "skip", "oseek": "seek"}.get(name, name)
        if not equals:
            raise UsageError(f"unrecognized operand '{operand}'")
        if name == "if":
            self.source = value
        elif name == "of":
            self.target = value
        elif name in ("bs", "ibs", "obs"):
            self.blocks[name] = number(value)[0]
            if not self.blocks[name]:
                raise Quit(f"invalid number: '{value}'")
        elif name in ("count", "skip", "seek"):
            self.counts[name] = number(value)
        elif name == "conv":
            self._words(value, CONVERSIONS, self.conversions, "invalid conversion")
        elif name in self.flags:
            self._words(value, FLAGS, self.flags[name], f"invalid {'in' if name == 'iflag' else 'out'}put flag")
        elif name == "status":
            if value not in LEVELS:
                raise UsageError(f"invalid status level: '{value}'")
            self.level = value
        else:
            raise UsageError(f"unrecognized operand '{operand}'")

    @staticmethod
    def _words(value: str, known: object, found: dict[str, None], wrong: str) -> None:
        for word in value.split(","):
            if word not in known:  # type: ignore[operator]
                raise UsageError(f"{wrong}: '{word}'")
            found[word] = None

    # ---- files ----

    def _amount(self, name: str, block: int) -> tuple[int, int]:
        """(whole blocks, bytes beyond them)."""
        value, in_bytes = self.counts.get(name, (0, False))
        side = "oflag" if name == "seek" else "iflag"
        if in_bytes or f"{name}_bytes" in self.flags[side]:
            return divmod(value, block)
        return value, 0

    def _bits(self, side: str) -> int:
        bits = 0
        for word in self.flags[side]:
            bits |= FLAGS[word]
        return bits

    def open_files(self) -> tuple[int, int]:
        sys = self.sys
        source, target = 0, 1
        if self.source:
            source = self._open(self.source, abi.O_RDONLY | self._bits("iflag"))
        seek, rest = self._amount("seek", self.obs)
        place = seek * self.obs + rest
        if self.target:
            keep = place or "notrunc" in self.conversions
            how = self._bits("oflag") | (0 if "nocreat" in self.conversions else abi.O_CREAT)
            how |= (abi.O_EXCL if "excl" in self.conversions else 0) | (0 if keep else abi.O_TRUNC)
            target = self._open(self.target, abi.O_WRONLY | how)
            if place and "notrunc" not in self.conversions:
                try:
                    sys.ftruncate(target, place)
                except OSError as why:
                    if sys.fstat(target).st_mode & abi.S_IFMT == abi.S_IFREG:
                        message = f"failed to truncate to {place} bytes in output file '{self.target}'"
                        raise Quit(f"{message}: {why.strerror}") from why
        return source, target

    def _open(self, path: str, how: int) -> int:
        try:
            fd: int = self.sys.open(path, how, 0o666)
        except OSError as why:
            raise Quit(f"failed to open '{path}': {why.strerror}") from why
        return fd

    def skip(self, source: int) -> None:
        blocks, rest = self._amount("skip", self.ibs)
        place = blocks * self.ibs + rest
        if not place:
            return
        sys, name = self.sys, self.source or "standard input"
        try:
            end = sys.lseek(source, 0, abi.SEEK_END)
            if sys.fstat(source).st_mode & abi.S_IFMT in (abi.S_IFREG, abi.S_IFBLK) and place > end:
                say(sys, f"dd: {name}: cannot skip to specified offset", fd=2)
                place = end
            sys.lseek(source, place, abi.SEEK_SET)
        except OSError as why:
            if why.errno != abi.ESPIPE:
                raise Quit(f"{name}: cannot skip: {why.strerror}") from why
            left = place
            while left:
                data = sys.read(source, min(left, self.ibs))
                if not data:
                    say(sys, f"dd: {name}: cannot skip to specified offset", fd=2)
                    return
                left -= len(data)

    def seek(self, target: int) -> None:
        blocks, rest = self._amount("seek", self.obs)
        if blocks or rest:
            try:
                self.sys.lseek(target, blocks * self.obs + rest, abi.SEEK_CUR)
            except OSError as why:
                raise Quit(f"{self.target or 'standard output'}: cannot seek: {why.strerror}") from why

    # ---- copying ----

    def run(self) -> int:
        sys = self.sys
        source, target = self.open_files()
        self.began = sys.clock_gettime(abi.CLOCK_MONOTONIC)
        status = 0
        try:
            self.skip(source)
            self.seek(target)
            status = self._copy(source, target)
            self.rest += self.odd
            if self.rest:
                self._write(target, bytes(self.rest))
            for name in ("fdatasync", "fsync"):
                if name in self.conversions:
                    self._sync(target, name)
        except Quit as why:
            complain(sys, "dd", why)
            status = 1
        self.report()
        return status

    def _sync(self, target: int, name: str) -> None:
        try:
            getattr(self.sys, name)(target)
        except OSError as why:
            raise Quit(f"{name} failed for '{self.target or 'standard output'}': {why.strerror}") from why

    def _copy(self, source: int, target: int) -> int:
        status = 0
        most, rest = self._amount("count", self.ibs) if "count" in self.counts else (-1, 0)
        while most < 0 or sum(self.read) < most + (rest > 0):
            want = rest if sum(self.read) == most else self.ibs
            try:
                data = self._take(source, want)
            except OSError as why:
                complain(self.sys, "dd", f"error reading '{self.source or 'standard input'}': {why.strerror}")
                status = 1
                if "noerror" not in self.conversions:
                    break
                self.report()
                self.sys.lseek(source, want, abi.SEEK_CUR)
                if "sync" not in self.conversions:
                    continue
                data = b"\0"
            if not data:
                break
            self.read[len(data) < self.ibs] += 1
            if len(data) < self.ibs and "sync" in self.conversions:
                data = data.ljust(self.ibs, b"\0")
            data = self._converted(data)
            if not self.gathers:
                self._write(target, data)
                continue
            self.rest += data
            while len(self.rest) >= self.obs:
                self._write(target, bytes(self.rest[: self.obs]))
                del self.rest[: self.obs]
        return status

    def _take(self, source: int, want: int) -> bytes:
        data: bytes = self.sys.read(source, want)
        if "fullblock" in self.flags["iflag"]:
            while data and len(data) < want:
                more = self.sys.read(source, want - len(data))
                if not more:
                    break
                data += more
        return data

    def _converted(self, data: bytes) -> bytes:
        if "ucase" in self.conversions:
            data = data.upper()
        if "lcase" in self.conversions:
            data = data.lower()
        if "swab" in self.conversions:
            data = self.odd + data
            even = len(data) & ~1
            swapped, self.odd = bytearray(even), data[even:]
            swapped[0::2], swapped[1::2] = data[1:even:2], data[0:even:2]
            data = bytes(swapped)
        return data

    def _write(self, target: int, data: bytes) -> None:
        sys = self.sys
        if len(data) < self.obs and "direct" in self.flags["oflag"]:  # the last, which is no whole block
            sys.fcntl(target, abi.F_SETFL, sys.fcntl(target, abi.F_GETFL) & ~abi.O_DIRECT)
            self.conversions["fsync"] = None
        done = 0
        try:
            while done < len(data):
                done += sys.write(target, data[done:] if done else data)
        except OSError as why:
            raise Quit(f"error writing '{self.target or 'standard output'}': {why.strerror}") from why
        finally:
            self.bytes += done
            if done == self.obs:
                self.written[0] += 1
            elif done:
                self.written[1] += 1

    def report(self) -> None:
        """What was copied, and how fast."""
        if self.level == "none":
            return
        lines = f"{self.read[0]}+{self.read[1]} records in\n{self.written[0]}+{self.written[1]} records out\n"
        if self.level != "noxfer":
            ns = self.sys.clock_gettime(abi.CLOCK_MONOTONIC) - self.began
            count = self.bytes
            word = "byte" if count == 1 else "bytes"
            scaled = f" ({size(count, 1000)}, {size(count, 1024)})" if count >= 1000 else ""
            lines += f"{count} {word}{scaled} copied, {ns / 1e9:g} s, {rate(count, ns)}\n"
        write_all(self.sys, 2, lines.encode())


def main(sys: System, argv: list[str]) -> int:
    try:
        return Copy(sys, argv[1:]).run()
    except (Quit, UsageError) as why:
        complain(sys, "dd", why)
        return 1
