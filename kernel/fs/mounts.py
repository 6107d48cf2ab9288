"""What is mounted where when a machine starts, and the filesystem types mount(2) knows."""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import S_IFDIR
from kernel.fs.devfs import make_devfs
from kernel.fs.procfs import ProcFs
from kernel.fs.tmpfs import tmpfs_from_options
from kernel.fs.vfs import FileSystem, Path, Vfs, error
from kernel.tty.pty import DevPts


def register_types(machine: Any, vfs: Vfs) -> None:
    """tmpfs and ramfs, proc, devtmpfs."""

    def tmpfs(source: bytes, options: bytes) -> FileSystem:
        return tmpfs_from_options(vfs.new_dev(), vfs.now, options, machine.frames // 2 or 1)

    def ramfs(source: bytes, options: bytes) -> FileSystem:
        fs = tmpfs_from_options(vfs.new_dev(), vfs.now, options)
        fs.name, fs.max_pages, fs.max_inodes = "ramfs", machine.frames, None
        return fs

    vfs.types["tmpfs"] = tmpfs
    vfs.types["ramfs"] = ramfs
    vfs.types["proc"] = lambda source, options: ProcFs(vfs, machine)


def mount_system(machine: Any, vfs: Vfs) -> None:
    """/dev, /proc and /tmp over the root filesystem, whose directories are made where they are missing."""
    register_types(machine, vfs)
    root = vfs.root
    if root is None:
        raise error(abi.ENOENT, "mount the root first")
    devfs = make_devfs(vfs, machine.rng.stream("random"))
    devpts = machine.devpts = DevPts(vfs, machine)
    vfs.types["devtmpfs"] = lambda source, options: devfs
    vfs.types["devpts"] = lambda source, options: devpts
    for name, mode, fs, kind in (
        (b"dev", 0o755, devfs, b"devtmpfs"),
        (b"proc", 0o555, ProcFs(vfs, machine), b"proc"),
        (b"tmp", 0o1777, None, b""),
    ):
        inode = root.inode.fs.lookup(root.inode, name)
        if inode is None:
            inode = root.inode.fs.make(root.inode, name, S_IFDIR | mode, 0, 0, 0, b"")
        dentry = root.dentry.children.get(name) or root.dentry.attach(name, inode)
        if fs is not None:
            mount = vfs.mount(fs, Path(root.mount, dentry), abi.MS_NOSUID, kind)
            if fs is devfs:
                pts = devfs.lookup(devfs.root, b"pts")
                assert pts is not None
                vfs.mount(devpts, Path(mount, mount.root.attach(b"pts", pts)), abi.MS_NOSUID, b"devpts")
