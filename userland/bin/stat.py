"""stat [-Lt] [-c FORMAT] FILE...: what the kernel knows of files."""

from __future__ import annotations

from typing import Any

from userland import abi, modes
from userland.command import Names, Options, UsageError, command, wrong
from userland.lib import System, say
from userland.times import full

KINDS = {
    abi.S_IFREG: "regular file", abi.S_IFDIR: "directory", abi.S_IFLNK: "symbolic link", abi.S_IFIFO: "fifo",
    abi.S_IFSOCK: "socket", abi.S_IFCHR: "character special file", abi.S_IFBLK: "block special file",
}  # fmt: skip


def main(sys: System, argv: list[str]) -> int:
    return command(sys, argv, "Ltc:", work, {"dereference": "L", "terse": "t", "format": "c:"})


def kind(st: Any) -> str:
    if st.st_mode & abi.S_IFMT == abi.S_IFREG and not st.st_size:
        return "regular empty file"
    return KINDS.get(st.st_mode & abi.S_IFMT, "weird file")


def work(sys: System, name: str, options: Options, operands: list[str]) -> int:
    if not operands:
        raise UsageError("missing operand")
    names = Names(sys)
    status = 0
    for path in operands:
        try:
            st = sys.stat(path) if "L" in options else sys.lstat(path)
        except OSError as why:
            status = wrong(sys, name, f"cannot statx '{path}'", why)
            continue
        target = sys.readlink(path) if st.st_mode & abi.S_IFMT == abi.S_IFLNK else ""
        if "c" in options:
            say(sys, formatted(options["c"], path, st, names, target))
        else:
            say(sys, page(path, st, names, target))
    return status


def formatted(shape: str, path: str, st: Any, names: Names, target: str) -> str:
    values = {
        "a": f"{st.st_mode & 0o7777:o}", "A": modes.shown(st.st_mode), "b": st.st_blocks, "B": 512, "d": st.st_dev,
        "f": f"{st.st_mode:x}", "F": kind(st), "g": st.st_gid, "G": names.group(st.st_gid), "h": st.st_nlink,
        "i": st.st_ino, "n": path, "N": f"'{path}'" + (f" -> '{target}'" if target else ""), "o": st.st_blksize,
        "s": st.st_size, "u": st.st_uid, "U": names.user(st.st_uid), "x": full(st.st_atime_ns),
        "X": st.st_atime_ns // 10**9, "y": full(st.st_mtime_ns), "Y": st.st_mtime_ns // 10**9,
        "z": full(st.st_ctime_ns), "Z": st.st_ctime_ns // 10**9, "%": "%",
        "t": f"{st.st_rdev >> 8 & 0xFFF:x}", "T": f"{st.st_rdev & 0xFF | st.st_rdev >> 12 & ~0xFF:x}",
    }  # fmt: skip
    out, at = "", 0
    while at < len(shape):
        if shape[at] == "%" and at + 1 < len(shape):
            out += str(values.get(shape[at + 1], "?"))
            at += 2
        else:
            out += shape[at]
            at += 1
    return out


def page(path: str, st: Any, names: Names, target: str) -> str:
    shown = path + (f" -> {target}" if target else "")
    mode = f"({st.st_mode & 0o7777:04o}/{modes.shown(st.st_mode)})"
    device = f"{st.st_dev >> 8},{st.st_dev & 0xFF}"
    links = f"Links: {st.st_nlink:<5}"
    if st.st_mode & abi.S_IFMT in (abi.S_IFCHR, abi.S_IFBLK):
        links += f" Device type: {st.st_rdev >> 8 & 0xFFF},{st.st_rdev & 0xFF}"
    return (
        f"  File: {shown}\n"
        f"  Size: {st.st_size:<10}\tBlocks: {st.st_blocks:<10} IO Block: {st.st_blksize:<6} {kind(st)}\n"
        f"Device: {device}\tInode: {st.st_ino:<11} {links.rstrip()}\n"
        f"Access: {mode}  Uid: ({st.st_uid:>5}/{names.user(st.st_uid):>8})   "
        f"Gid: ({st.st_gid:>5}/{names.group(st.st_gid):>8})\n"
        f"Access: {full(st.st_atime_ns)}\nModify: {full(st.st_mtime_ns)}\nChange: {full(st.st_ctime_ns)}\n Birth: -"
    )
