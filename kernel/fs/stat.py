"""What stat(2) and statx(2) tell of an inode, with the field names of struct stat."""

from __future__ import annotations

from kernel import abi
from kernel.fs.vfs import Inode


class Stat:
    """struct stat. Times are kept in ns; `st_mtime` and its kind are seconds, as Python's own results have them."""

    __slots__ = (
        "st_atime_ns", "st_birthtime_ns", "st_blksize", "st_blocks", "st_ctime_ns", "st_dev", "st_gid", "st_ino",
        "st_mode", "st_mtime_ns", "st_nlink", "st_rdev", "st_size", "st_uid",
    )  # fmt: skip

    def __init__(self, inode: Inode) -> None:
        fs = inode.fs
        self.st_dev = fs.dev
        self.st_ino = inode.ino
        self.st_mode = inode.mode
        self.st_nlink = inode.nlink
        self.st_uid = inode.uid
        self.st_gid = inode.gid
        self.st_rdev = inode.rdev
        self.st_size = inode.size
        self.st_blksize = fs.block_size
        self.st_blocks = fs.blocks(inode)
        self.st_atime_ns = inode.atime
        self.st_mtime_ns = inode.mtime
        self.st_ctime_ns = inode.ctime
        self.st_birthtime_ns = inode.btime

    @property
    def st_atime(self) -> float:
        return self.st_atime_ns / 1e9

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / 1e9

    @property
    def st_ctime(self) -> float:
        return self.st_ctime_ns / 1e9

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stat) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{{st_mode={mode_text(self.st_mode)}, st_size={self.st_size}, ...}}"


class Statx(Stat):
    """struct statx, under its own names (`stx_size` ...) and stat's."""

    __slots__ = ("stx_attributes", "stx_attributes_mask", "stx_mask", "stx_mnt_id")

    def __init__(self, inode: Inode, mount_id: int, mount_root: bool) -> None:
        super().__init__(inode)
        self.stx_mask = abi.STATX_BASIC_STATS | abi.STATX_BTIME | abi.STATX_MNT_ID
        self.stx_mnt_id = mount_id
        self.stx_attributes_mask = abi.STATX_ATTR_MOUNT_ROOT
        self.stx_attributes = abi.STATX_ATTR_MOUNT_ROOT if mount_root else 0

    def __getattr__(self, name: str) -> object:
        if name in ("stx_dev_major", "stx_rdev_major", "stx_dev_minor", "stx_rdev_minor"):
            dev = self.st_rdev if name.startswith("stx_r") else self.st_dev
            return dev >> 8 if name.endswith("major") else dev & 0xFF
        if name.startswith("stx_"):
            value: object = getattr(self, "st_" + {"btime_ns": "birthtime_ns"}.get(name[4:], name[4:]))
            return value
        raise AttributeError(name)


_KINDS = {
    abi.S_IFREG: "S_IFREG", abi.S_IFDIR: "S_IFDIR", abi.S_IFLNK: "S_IFLNK", abi.S_IFCHR: "S_IFCHR",
    abi.S_IFBLK: "S_IFBLK", abi.S_IFIFO: "S_IFIFO", abi.S_IFSOCK: "S_IFSOCK",
}  # fmt: skip


def mode_text(mode: int) -> str:
    """As strace writes it: `S_IFREG|0644`."""
    kind = _KINDS.get(mode & abi.S_IFMT)
    bits = f"{mode & 0o7777:#05o}".replace("0o", "0")
    return f"{kind}|{bits}" if kind else bits
