"""The VFS and tmpfs against the host's own: any sequence of calls gives the same results and the same errno.

Both sides work deep below a directory of their own, so that `..` stays inside. Runs where the host is Linux with a
tmpfs to use and we are root (the same credentials as init inside).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kernel import abi
from kernel.fs.tmpfs import Tmpfs
from tests.property.kernel.fs.plain import lone_task

SHM = Path("/dev/shm")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not os.access(SHM, os.W_OK) or os.geteuid() != 0,
    reason="needs Linux, root and a tmpfs at /dev/shm",
)
DEEP = "/0/1/2/3/4/5"

names = st.sampled_from(["a", "b", "c", "d"])
parts = st.lists(st.sampled_from(["a", "b", "c", "d", "a", "b", ".", ".."]), min_size=0, max_size=2)
paths = st.builds(
    lambda head, rest, tail: "/".join([head, *rest]) + tail, names, parts, st.sampled_from(["", "", "", "/"])
)
odd_paths = st.one_of(paths, paths, paths, st.sampled_from(["", ".", "..", "n" * 255, "n" * 256, "a/" * 2100 + "a"]))
targets = st.one_of(paths, st.sampled_from(["a", "b", "../5/a", "..", ".", "loop", "a/", "b/."]))
flag_sets = st.builds(
    lambda access, rest: access | sum(set(rest)),
    st.sampled_from([abi.O_RDONLY, abi.O_WRONLY, abi.O_RDWR, abi.O_RDWR]),
    st.lists(
        st.sampled_from(
            [abi.O_CREAT, abi.O_CREAT, abi.O_EXCL, abi.O_TRUNC, abi.O_APPEND, abi.O_DIRECTORY, abi.O_NOFOLLOW]
        )
    ),
)
sizes = st.sampled_from([0, 1, 100, 4095, 4096, 4097, 8192, 20000])
offsets = st.sampled_from([0, 1, 4095, 4096, 5000, 12288, 70000, -1])


def outcome(call: Any, *args: Any, **kw: Any) -> Any:
    """The result, or the errno."""
    try:
        return call(*args, **kw)
    except OSError as failure:
        return f"errno {abi.errno_name(failure.errno or 0)}"


def facts(stat: Any) -> Any:
    if isinstance(stat, str):
        return stat
    return (
        oct(stat.st_mode),
        stat.st_nlink,
        stat.st_size,
        stat.st_blocks if stat.st_mode & 0o170000 == 0o100000 else 0,
    )


class Against(RuleBasedStateMachine):
    fds = Bundle("fds")

    def __init__(self) -> None:
        super().__init__()
        self.top = tempfile.mkdtemp(prefix="trl", dir=SHM)
        self.task, self.sys = lone_task()
        self.sys.umask(0o022)
        path = ""
        for name in DEEP[1:].split("/"):
            path += f"/{name}"
            os.mkdir(self.top + path, 0o755)
            self.sys.mkdir(path, 0o755)
        self.host = os.open(self.top + DEEP, os.O_RDONLY)
        self.ours = self.sys.open(DEEP, abi.O_RDONLY)
        self.open: list[tuple[int, int]] = []
        self.inos: dict[int, int] = {}

    def teardown(self) -> None:
        for _, theirs in self.open:
            os.close(theirs)
        os.close(self.host)
        shutil.rmtree(self.top, ignore_errors=True)

    def same(self, ours: Any, theirs: Any, what: Any) -> None:
        if ours is None or theirs is None or ours == 0:
            ours, theirs = ours or None, theirs or None
        assert ours == theirs, f"{what}: inside {ours!r}, on the host {theirs!r}"

    @rule(target=fds, path=odd_paths, flags=flag_sets, mode=st.sampled_from([0o666, 0o644, 0o4755, 0]))
    def open_file(self, path: str, flags: int, mode: int) -> Any:
        ours = outcome(self.sys.openat, self.ours, path, flags, mode)
        theirs = outcome(os.open, path, flags, mode, dir_fd=self.host)
        if isinstance(ours, int) and isinstance(theirs, int):
            self.open.append((ours, theirs))
            return ours, theirs
        self.same(ours, theirs, ("open", path, oct(flags)))
        return None

    @rule(pair=consumes(fds))
    def close_file(self, pair: Any) -> None:
        if pair:
            self.open.remove(pair)
            self.sys.close(pair[0])
            os.close(pair[1])

    @rule(pair=fds, size=sizes, byte=st.integers(1, 255))
    def write(self, pair: Any, size: int, byte: int) -> None:
        if pair and pair in self.open:
            data = bytes([byte]) * size
            self.same(outcome(self.sys.write, pair[0], data), outcome(os.write, pair[1], data), "write")

    @rule(pair=fds, size=sizes)
    def read(self, pair: Any, size: int) -> None:
        if pair and pair in self.open:
            self.same(outcome(self.sys.read, pair[0], size), outcome(os.read, pair[1], size), "read")

    @rule(pair=fds, size=sizes, offset=offsets)
    def pread(self, pair: Any, size: int, offset: int) -> None:
        if pair and pair in self.open:
            self.same(
                outcome(self.sys.pread64, pair[0], size, offset), outcome(os.pread, pair[1], size, offset), "pread"
            )

    @rule(pair=fds, size=sizes, offset=offsets)
    def pwrite(self, pair: Any, size: int, offset: int) -> None:
        if pair and pair in self.open:
            data = b"P" * size
            self.same(
                outcome(self.sys.pwrite64, pair[0], data, offset), outcome(os.pwrite, pair[1], data, offset), "pwrite"
            )

    @rule(pair=fds, offset=offsets, whence=st.integers(0, 5))
    def lseek(self, pair: Any, offset: int, whence: int) -> None:
        if pair and pair in self.open:
            kind = os.fstat(pair[1]).st_mode & 0o170000
            if kind == abi.S_IFDIR:  # a directory's offsets are the filesystem's own
                return
            self.same(
                outcome(self.sys.lseek, pair[0], offset, whence), outcome(os.lseek, pair[1], offset, whence), "lseek"
            )

    @rule(pair=fds, size=st.one_of(sizes, st.just(-1)))
    def ftruncate(self, pair: Any, size: int) -> None:
        if pair and pair in self.open:
            self.same(outcome(self.sys.ftruncate, pair[0], size), outcome(os.ftruncate, pair[1], size), "ftruncate")

    @rule(pair=fds)
    def fstat(self, pair: Any) -> None:
        if pair and pair in self.open:
            self.same(facts(outcome(self.sys.fstat, pair[0])), facts(outcome(os.fstat, pair[1])), "fstat")

    @rule(pair=fds)
    def flags(self, pair: Any) -> None:
        if pair and pair in self.open:
            self.same(self.sys.fcntl(pair[0], abi.F_GETFL), fcntl.fcntl(pair[1], abi.F_GETFL), "F_GETFL")

    @rule(path=odd_paths)
    def mkdir(self, path: str) -> None:
        self.same(
            outcome(self.sys.mkdirat, self.ours, path, 0o777), outcome(os.mkdir, path, 0o777, dir_fd=self.host), path
        )

    @rule(path=odd_paths)
    def rmdir(self, path: str) -> None:
        ours = outcome(self.sys.unlinkat, self.ours, path, abi.AT_REMOVEDIR)
        self.same(ours, outcome(os.rmdir, path, dir_fd=self.host), ("rmdir", path))

    @rule(path=odd_paths)
    def unlink(self, path: str) -> None:
        self.same(
            outcome(self.sys.unlinkat, self.ours, path, 0), outcome(os.unlink, path, dir_fd=self.host), ("unlink", path)
        )

    @rule(old=odd_paths, new=odd_paths)
    def rename(self, old: str, new: str) -> None:
        ours = outcome(self.sys.renameat2, self.ours, old, self.ours, new, 0)
        theirs = outcome(os.rename, old, new, src_dir_fd=self.host, dst_dir_fd=self.host)
        self.same(ours, theirs, ("rename", old, new))

    @rule(old=odd_paths, new=odd_paths, follow=st.booleans())
    def link(self, old: str, new: str, follow: bool) -> None:
        flags = abi.AT_SYMLINK_FOLLOW if follow else 0
        ours = outcome(self.sys.linkat, self.ours, old, self.ours, new, flags)
        theirs = outcome(os.link, old, new, src_dir_fd=self.host, dst_dir_fd=self.host, follow_symlinks=follow)
        self.same(ours, theirs, ("link", old, new, follow))

    @rule(to=targets, path=odd_paths)
    def symlink(self, to: str, path: str) -> None:
        ours = outcome(self.sys.symlinkat, to, self.ours, path)
        self.same(ours, outcome(os.symlink, to, path, dir_fd=self.host), ("symlink", to, path))

    @rule(path=odd_paths)
    def readlink(self, path: str) -> None:
        ours = outcome(self.sys.readlinkat, self.ours, path)
        theirs = outcome(os.readlink, path, dir_fd=self.host)
        if path:  # "" names the descriptor itself for readlinkat
            self.same(ours if isinstance(ours, str) else ours.decode(), theirs, ("readlink", path))

    @rule(path=odd_paths, follow=st.booleans())
    def stat(self, path: str, follow: bool) -> None:
        ours = outcome(self.sys.newfstatat, self.ours, path, 0 if follow else abi.AT_SYMLINK_NOFOLLOW)
        theirs = outcome(os.stat, path, dir_fd=self.host, follow_symlinks=follow)
        self.same(facts(ours), facts(theirs), ("stat", path, follow))

    @rule(path=odd_paths, mode=st.sampled_from([0o644, 0o600, 0o4711, 0o2755, 0o1777, 0o2644, 0]))
    def chmod(self, path: str, mode: int) -> None:
        ours = outcome(self.sys.fchmodat, self.ours, path, mode)
        self.same(ours, outcome(os.chmod, path, mode, dir_fd=self.host), ("chmod", path, oct(mode)))

    @rule(path=odd_paths)
    def listing(self, path: str) -> None:
        ours = outcome(self.sys.openat, self.ours, path, abi.O_RDONLY | abi.O_DIRECTORY)
        theirs = outcome(os.open, path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.host)
        if isinstance(ours, int) and isinstance(theirs, int):
            found: list[str] = []
            while more := self.sys.getdents64(ours):
                found += [name for name, _, _ in more]
            self.sys.close(ours)
            expected = os.listdir(theirs)
            os.close(theirs)
            assert sorted(found) == sorted([*expected, ".", ".."])
        else:
            self.same(ours, theirs, ("listing", path))

    @invariant()
    def space_is_accounted(self) -> None:
        fs = self.task.machine.vfs.root.mount.fs
        assert fs.pages >= 0 and fs.inodes >= 1


Against.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip
TestAgainstHost = Against.TestCase


def test_it_notices_a_wrong_link_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a tmpfs that forgets to count a subdirectory is found out."""
    make = Tmpfs.make

    def forgetful(self: Tmpfs, directory: Any, name: bytes, mode: int, *rest: Any) -> Any:
        inode = make(self, directory, name, mode, *rest)
        if inode.is_dir:
            directory.nlink -= 1
        return inode

    monkeypatch.setattr(Tmpfs, "make", forgetful)
    with pytest.raises(AssertionError, match="on the host"):
        run_state_machine_as_test(
            Against,
            settings=settings(
                max_examples=300, stateful_step_count=30, deadline=None, derandomize=True, database=None,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
