"""Rules of path walk, permissions and names, one by one (the host comparison in tests/property covers combinations)."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import abi
from kernel.abi import O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_WRONLY
from kernel.task import Credentials
from tests.property.kernel.fs.plain import lone_machine, lone_task


def fails(name: str, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert abi.errno_name(caught.value.errno or 0) == name


def put(sys: Any, path: str, data: bytes = b"", mode: int = 0o644) -> None:
    fd = sys.open(path, O_CREAT | O_WRONLY, mode)
    sys.write(fd, data)
    sys.close(fd)


def get(sys: Any, path: str) -> bytes:
    fd = sys.open(path, O_RDONLY)
    data: bytes = sys.read(fd, 1 << 20)
    sys.close(fd)
    return data


def test_forty_links_are_followed_and_no_more() -> None:
    _, sys = lone_task()
    put(sys, "/f", b"end")
    sys.symlink("f", "/l1")
    for i in range(1, 45):
        sys.symlink(f"l{i}", f"/l{i + 1}")
    assert get(sys, "/l40") == b"end"
    fails("ELOOP", sys.open, "/l41", O_RDONLY)
    sys.symlink("me", "/me")
    fails("ELOOP", sys.stat, "/me")
    fails("ELOOP", sys.open, "/me", O_CREAT | O_WRONLY)
    assert sys.lstat("/me").st_size == 2


def test_links_and_exclusive_creation() -> None:
    _, sys = lone_task()
    sys.symlink("nowhere", "/l")
    fails("EEXIST", sys.open, "/l", O_CREAT | O_EXCL | O_RDWR)
    fails("ELOOP", sys.open, "/l", O_CREAT | O_NOFOLLOW | O_RDWR)
    put(sys, "/l", b"made")
    assert get(sys, "/nowhere") == b"made"
    fails("ENOTDIR", sys.open, "/l", abi.O_DIRECTORY | O_NOFOLLOW)
    path_fd = sys.open("/l", abi.O_PATH | O_NOFOLLOW)
    assert sys.readlinkat(path_fd, "") == b"nowhere"
    fails("EBADF", sys.read, path_fd, 1)


def test_lengths() -> None:
    _, sys = lone_task()
    put(sys, "/" + "n" * 255)
    fails("ENAMETOOLONG", put, sys, "/" + "n" * 256)
    fails("ENAMETOOLONG", sys.stat, "/" + "a/" * 2048)
    assert sys.stat("/" + "./" * 2047).st_mode & abi.S_IFDIR
    fails("ENOENT", sys.stat, "")


def test_dotdot_stops_at_the_root_of_the_caller() -> None:
    task, sys = lone_task()
    sys.mkdir("/jail")
    put(sys, "/secret", b"outside")
    put(sys, "/jail/secret", b"inside")
    assert sys.stat("/../../secret").st_size == 7
    sys.chdir("/jail")
    sys.chroot("/jail")
    assert get(sys, "/../secret") == get(sys, "../../secret") == b"inside"
    assert sys.getcwd() == "/"
    task.cred = Credentials(1000)
    fails("EPERM", sys.chroot, "/")


def test_mounts() -> None:
    _, sys = lone_task()
    sys.mkdir("/m")
    put(sys, "/m/below", b"hidden")
    sys.mount("none", "/m", "tmpfs", 0, "size=8k")
    fails("ENOENT", sys.stat, "/m/below")
    sys.mkdir("/m/d")
    assert sys.stat("/m/d/../..").st_ino == sys.stat("/").st_ino
    assert sys.stat("/m").st_dev != sys.stat("/").st_dev
    sys.chdir("/m/d")
    assert sys.getcwd() == "/m/d"
    fails("EBUSY", sys.umount2, "/m", 0)
    fails("EXDEV", sys.rename, "/m/d", "/d")
    put(sys, "/m/f")
    fails("EXDEV", sys.link, "/m/f", "/x")
    sys.unlink("/m/f")
    fails("EBUSY", sys.rmdir, "/m")
    fd = sys.open("/m/big", O_CREAT | O_RDWR)
    assert sys.write(fd, bytes(20000)) == 8192
    fails("ENOSPC", sys.write, fd, b"x")
    sys.close(fd)
    sys.unlink("/m/big")
    put(sys, "/m/again", bytes(8192))
    sys.chdir("/")
    sys.umount2("/m")
    assert get(sys, "/m/below") == b"hidden"
    fails("ENODEV", sys.mount, "none", "/m", "ext9")
    fails("EINVAL", sys.umount2, "/m")
    sys.mount("none", "/m", "tmpfs", abi.MS_RDONLY)
    for call, args in ((put, (sys, "/m/f")), (sys.mkdir, ("/m/d",)), (sys.unlink, ("/m/f",))):
        fails("EROFS", call, *args)


def test_permissions_on_the_way() -> None:
    machine = lone_machine()
    _, root = lone_task(machine)
    root.umask(0)
    root.mkdir("/closed", 0o700)
    put(root, "/closed/f", b"x", 0o666)
    root.mkdir("/open", 0o777)
    put(root, "/open/f", b"x", 0o640)
    _, user = lone_task(machine, 1000, 1000)
    fails("EACCES", user.stat, "/closed/f")
    fails("EACCES", user.open, "/open/f", O_RDONLY)
    fails("EACCES", user.mkdir, "/new")
    assert user.stat("/open/f").st_size == 1
    fails("EACCES", user.access, "/open/f", abi.R_OK)
    _, member = lone_task(machine, 1000, 1000, (0,))
    assert get(member, "/open/f") == b"x"
    fails("EACCES", member.open, "/open/f", O_WRONLY)
    put(root, "/open/none", b"", 0)
    assert get(root, "/open/none") == b"", "root reads everything"
    fails("EACCES", root.access, "/open/none", abi.X_OK)
    # A new file's mode does not bind the one who makes it.
    fd = user.open("/open/mine", O_CREAT | O_RDWR, 0o400)
    assert user.write(fd, b"still") == 5
    fails("EACCES", user.open, "/open/mine", O_WRONLY)


def test_the_owners_bits_bind_the_owner() -> None:
    machine = lone_machine()
    _, root = lone_task(machine)
    root.umask(0)
    put(root, "/f", b"x", 0o077)
    root.chown("/f", 1000, 1000)
    _, user = lone_task(machine, 1000, 1000)
    fails("EACCES", user.open, "/f", O_RDONLY)


def test_sticky_directory() -> None:
    machine = lone_machine()
    _, root = lone_task(machine)
    root.umask(0)
    root.mkdir("/t", 0o1777)
    _, a = lone_task(machine, 1, 1)
    _, b = lone_task(machine, 2, 2)
    put(a, "/t/a", b"", 0o666)
    fails("EPERM", b.unlink, "/t/a")
    fails("EPERM", b.rename, "/t/a", "/t/b")
    put(b, "/t/b")
    fails("EPERM", b.rename, "/t/b", "/t/a")
    a.unlink("/t/a")
    root.unlink("/t/b")


def test_setgid_directory_hands_on_its_group() -> None:
    machine = lone_machine()
    _, root = lone_task(machine)
    root.umask(0)
    root.mkdir("/g", 0o777)
    root.chown("/g", 0, 50)
    root.chmod("/g", 0o2777)
    _, user = lone_task(machine, 1000, 1000)
    user.mkdir("/g/d")
    put(user, "/g/f")
    assert user.stat("/g/d").st_gid == user.stat("/g/f").st_gid == 50
    assert user.stat("/g/d").st_mode & abi.S_ISGID and not user.stat("/g/f").st_mode & abi.S_ISGID


def test_who_may_change_attributes() -> None:
    machine = lone_machine()
    _, root = lone_task(machine)
    root.umask(0)
    put(root, "/f", b"x", 0o666)
    _, user = lone_task(machine, 1000, 1000, (7,))
    fails("EPERM", user.chmod, "/f", 0o777)
    fails("EPERM", user.chown, "/f", 1000, -1)
    fails("EPERM", user.utimensat, abi.AT_FDCWD, "/f", (1, 1))
    user.utimensat(abi.AT_FDCWD, "/f", None)
    root.chown("/f", 1000, 1000)
    user.chown("/f", -1, 7)
    fails("EPERM", user.chown, "/f", -1, 8)
    user.chmod("/f", 0o4777)
    user.write(user.open("/f", O_WRONLY), b"y")
    assert not user.stat("/f").st_mode & abi.S_ISUID, "a write by somebody without privilege clears set-uid"
    user.utimensat(abi.AT_FDCWD, "/f", (123, abi.UTIME_OMIT))
    assert user.stat("/f").st_atime_ns == 123


def test_umask() -> None:
    _, sys = lone_task()
    assert sys.umask(0o077) == 0o022
    put(sys, "/f", b"", 0o666)
    sys.mkdir("/d", 0o777)
    assert sys.stat("/f").st_mode & 0o777 == 0o600 and sys.stat("/d").st_mode & 0o777 == 0o700


def test_unlinked_while_open() -> None:
    task, sys = lone_task()
    fs = task.machine.vfs.root.mount.fs
    before = fs.pages
    fd = sys.open("/f", O_CREAT | O_RDWR)
    sys.write(fd, bytes(10 * 4096))
    sys.unlink("/f")
    assert sys.fstat(fd).st_nlink == 0 and fs.pages == before + 10
    assert sys.pread64(fd, 4, 4096) == bytes(4)
    sys.close(fd)
    assert fs.pages == before


def test_rename_flags() -> None:
    _, sys = lone_task()
    put(sys, "/a", b"A")
    sys.mkdir("/d")
    put(sys, "/d/x", b"X")
    at = abi.AT_FDCWD
    fails("EEXIST", sys.renameat2, at, "/a", at, "/d", abi.RENAME_NOREPLACE)
    fails("ENOENT", sys.renameat2, at, "/a", at, "/n", abi.RENAME_EXCHANGE)
    fails("EINVAL", sys.renameat2, at, "/a", at, "/d", abi.RENAME_EXCHANGE | abi.RENAME_NOREPLACE)
    fails("EINVAL", sys.renameat2, at, "/d", at, "/d/x", abi.RENAME_EXCHANGE)
    sys.renameat2(at, "/a", at, "/d", abi.RENAME_EXCHANGE)
    assert get(sys, "/d") == b"A" and get(sys, "/a/x") == b"X"
    assert sys.stat("/").st_nlink == 3
    fails("EINVAL", sys.rename, "/a", "/a/y")
    fails("ENOTDIR", sys.rename, "/a", "/d")
    fails("EISDIR", sys.rename, "/d", "/a")
    sys.mkdir("/e")
    fails("ENOTEMPTY", sys.rename, "/e", "/a")
    for path, name in (("/a/.", "EBUSY"), ("/a/..", "EBUSY"), ("/", "EBUSY")):
        fails(name, sys.rename, path, "/z")


def test_removed_directory() -> None:
    _, sys = lone_task()
    sys.mkdir("/d")
    sys.chdir("/d")
    fd = sys.open(".", O_RDONLY)
    sys.rmdir("/d")
    fails("ENOENT", sys.getcwd)
    fails("ENOENT", put, sys, "f")
    fails("ENOENT", sys.getdents64, fd)
    assert sys.stat("..").st_ino == sys.stat("/").st_ino
    assert sys.fstat(fd).st_nlink == 0


def test_getdents_while_the_directory_changes() -> None:
    """Every entry that stays appears once, whatever is made or removed between two calls."""
    _, sys = lone_task()
    sys.mkdir("/d")
    for i in range(300):
        put(sys, f"/d/{i:03}" + "x" * 200)
    fd = sys.open("/d", O_RDONLY)
    seen: list[str] = []
    rounds = 0
    while batch := sys.getdents64(fd):
        seen += [name[:3] for name, _, _ in batch]
        if rounds < 3:  # then it may come to an end
            for i in range(rounds * 3, rounds * 3 + 3):
                sys.unlink(f"/d/{i:03}" + "x" * 200)
            sys.rename(f"/d/{200 + rounds:03}" + "x" * 200, f"/d/{299:03}" + "x" * 200)
            put(sys, f"/d/new{rounds}")
        rounds += 1
    assert rounds > 2
    stayed = {f"{i:03}" for i in range(9, 200)}
    assert stayed <= set(seen) and len([n for n in seen if n in stayed]) == len(stayed)
    sys.lseek(fd, 0, 0)
    assert sys.getdents64(fd)[0][0] == "."


def test_sparse_files() -> None:
    _, sys = lone_task()
    fd = sys.open("/s", O_CREAT | O_RDWR)
    sys.pwrite64(fd, b"end", 1 << 40)
    assert sys.fstat(fd).st_size == (1 << 40) + 3 and sys.fstat(fd).st_blocks == 8
    assert sys.pread64(fd, 5, 1 << 39) == bytes(5)
    assert sys.lseek(fd, 0, abi.SEEK_DATA) == 1 << 40
    assert sys.lseek(fd, 5, abi.SEEK_HOLE) == 5
    assert sys.lseek(fd, 1 << 40, abi.SEEK_HOLE) == (1 << 40) + 3
    fails("ENXIO", sys.lseek, fd, (1 << 40) + 3, abi.SEEK_DATA)
    sys.ftruncate(fd, 10)
    sys.ftruncate(fd, 8192)
    assert sys.pread64(fd, 10000, 0) == bytes(8192) and sys.fstat(fd).st_blocks == 0
    fails("EINVAL", sys.lseek, fd, -1, 0)
    fails("EINVAL", sys.ftruncate, fd, -1)


def test_append_and_the_pwrite_quirk() -> None:
    _, sys = lone_task()
    one = sys.open("/log", O_CREAT | O_WRONLY | abi.O_APPEND)
    two = sys.open("/log", O_WRONLY | abi.O_APPEND)
    sys.write(one, b"a")
    sys.write(two, b"b")
    sys.lseek(one, 0, 0)
    sys.write(one, b"c")
    sys.pwrite64(one, b"d", 0)
    assert get(sys, "/log") == b"abcd"


def test_rlimit_fsize() -> None:
    task, sys = lone_task()
    task.group.rlimits[abi.RLIMIT_FSIZE] = (10, 10)
    fd = sys.open("/f", O_CREAT | O_RDWR)
    assert sys.write(fd, bytes(15)) == 10
    fails("EFBIG", sys.write, fd, b"x")
    fails("EFBIG", sys.ftruncate, fd, 11)
    assert task.signals == [abi.SIGXFSZ, abi.SIGXFSZ]


def test_tmpfile_can_be_given_a_name() -> None:
    _, sys = lone_task()
    fd = sys.open("/", abi.O_TMPFILE | O_RDWR, 0o600)
    sys.write(fd, b"kept")
    assert sys.fstat(fd).st_nlink == 0 and len(sys.getdents64(sys.open("/", 0))) == 2
    sys.linkat(fd, "", abi.AT_FDCWD, "/named", abi.AT_EMPTY_PATH)
    assert get(sys, "/named") == b"kept" and sys.fstat(fd).st_nlink == 1
    sys.unlink("/named")
    fails("ENOENT", sys.linkat, fd, "", abi.AT_FDCWD, "/again", abi.AT_EMPTY_PATH)
    fails("EINVAL", sys.open, "/", abi.O_TMPFILE | O_RDONLY)


def test_record_locks_and_flock() -> None:
    machine = lone_machine()
    one, a = lone_task(machine)
    _, b = lone_task(machine)
    fa = a.open("/f", O_CREAT | O_RDWR)
    fb = b.open("/f", O_RDWR)
    write, read = abi.F_WRLCK, abi.F_RDLCK
    a.fcntl(fa, abi.F_SETLK, (write, 0, 0, 10))
    fails("EAGAIN", b.fcntl, fb, abi.F_SETLK, (read, 0, 5, 1))
    b.fcntl(fb, abi.F_SETLK, (read, 0, 10, 5))
    assert b.fcntl(fb, abi.F_GETLK, (write, 0, 0, 0)) == (write, 0, 0, 10, 1)
    a.fcntl(fa, abi.F_SETLK, (abi.F_UNLCK, 0, 3, 2))
    b.fcntl(fb, abi.F_SETLK, (write, 0, 3, 2))
    other = a.open("/f", O_RDONLY)
    a.close(other)  # any close of the file drops the process's locks
    b.fcntl(fb, abi.F_SETLK, (write, 0, 0, 0))
    a.flock(fa, abi.LOCK_EX)
    fails("EAGAIN", b.flock, fb, abi.LOCK_SH | abi.LOCK_NB)
    copy = a.dup(fa)
    a.close(fa)
    fails("EAGAIN", b.flock, fb, abi.LOCK_SH | abi.LOCK_NB)
    a.close(copy)
    b.flock(fb, abi.LOCK_SH | abi.LOCK_NB)
    assert one.signals == []
