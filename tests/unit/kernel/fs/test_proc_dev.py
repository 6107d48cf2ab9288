"""/proc and /dev as a process sees them."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import abi
from kernel.machine import Machine


def cat(sys: Any, path: str, n: int = 65536) -> bytes:
    fd = sys.open(path, abi.O_RDONLY)
    data: bytes = sys.read(fd, n)
    sys.close(fd)
    return data


def run(function: Any, seed: Any = None) -> Any:
    results: list[Any] = []
    with Machine() as machine:
        process = machine.spawn(lambda sys: results.append(function(sys)), name="prog")
        assert machine.run(until=10**12)
        assert process.exit_status == 0
    return results[0]


def fails(name: str, call: Any, *args: Any) -> None:
    with pytest.raises(OSError) as caught:
        call(*args)
    assert abi.errno_name(caught.value.errno or 0) == name


def test_proc_pid() -> None:
    def main(sys: Any) -> Any:
        pid = sys.getpid()
        status = dict(line.split(":\t", 1) for line in cat(sys, "/proc/self/status").decode().splitlines())
        stat = cat(sys, f"/proc/{pid}/stat").decode().split()
        names = [name for name, _, _ in sys.getdents64(sys.open("/proc", 0))]
        fails("ENOENT", sys.open, "/proc/4000/stat", 0)
        fails("ENOENT", sys.open, "/proc/new", abi.O_CREAT | abi.O_WRONLY)
        return pid, sys.readlink("/proc/self"), status, stat, names

    pid, link, status, stat, names = run(main)
    assert link == str(pid) and {"1", str(pid), "self", "mounts", "net"} <= set(names)
    assert (status["Name"], status["Pid"], status["PPid"]) == ("prog", str(pid), "1")
    assert stat[:4] == [str(pid), "(prog)", "R", "1"] and len(stat) == 52


def test_reopening_through_proc_makes_a_new_description() -> None:
    def main(sys: Any) -> Any:
        fd = sys.open("/tmp/x", abi.O_CREAT | abi.O_RDWR)
        sys.write(fd, b"abc")
        sys.unlink("/tmp/x")
        again = sys.open(f"/proc/self/fd/{fd}", abi.O_RDONLY)
        return sys.read(again, 10), sys.lseek(fd, 0, abi.SEEK_CUR), sys.readlink(f"/proc/self/fd/{fd}")

    assert run(main) == (b"abc", 3, "/tmp/x (deleted)")


def test_proc_has_the_systems_files() -> None:
    def main(sys: Any) -> Any:
        sys.mount("none", "/tmp", "tmpfs", abi.MS_NOEXEC, "size=1m")
        return {path: cat(sys, "/proc/" + path).decode() for path in (
            "mounts", "stat", "uptime", "loadavg", "meminfo", "version", "net/tcp", "net/udp", "net/dev", "net/route",
            "net/snmp", "net/netstat", "filesystems",
        )}  # fmt: skip

    files = run(main)
    assert "none /tmp tmpfs rw,noexec" in files["mounts"] and files["stat"].startswith("cpu ")
    assert len(files["uptime"].split()) == 2 and len(files["loadavg"].split()) == 5
    assert "    lo:" in files["net/dev"] and files["net/snmp"].startswith("Ip: Forwarding")
    assert files["net/tcp"].split()[:3] == ["sl", "local_address", "rem_address"]


def test_sockets_are_listed() -> None:
    def main(sys: Any) -> Any:
        listener = sys.socket(abi.AF_INET, abi.SOCK_STREAM)
        sys.bind(listener, ("127.0.0.1", 7))
        sys.listen(listener, 5)
        client = sys.socket(abi.AF_INET, abi.SOCK_STREAM)
        sys.connect(client, ("127.0.0.1", 7))
        server, (_, port) = sys.accept4(listener)
        sys.write(client, b"abc")
        sys.bind(sys.socket(abi.AF_INET, abi.SOCK_DGRAM), ("0.0.0.0", 53))
        waiting = sys.ioctl(server, abi.FIONREAD)
        return port, waiting, cat(sys, "/proc/net/tcp").decode(), cat(sys, "/proc/net/udp").decode()

    port, waiting, tcp, udp = run(main)
    rows = [line.split()[1:5] for line in tcp.splitlines()[1:]]
    here, there = "0100007F:0007", f"0100007F:{port:04X}"
    assert waiting == 3
    assert [here, "00000000:0000", "0A", "00000000:00000000"] in rows
    assert [here, there, "01", "00000000:00000003"] in rows and len(rows) == 3
    assert udp.splitlines()[1].split()[1:4] == ["00000000:0035", "00000000:0000", "07"]


def test_devices() -> None:
    def main(sys: Any) -> Any:
        null = sys.open("/dev/null", abi.O_RDWR)
        full = sys.open("/dev/full", abi.O_RDWR)
        assert sys.write(null, b"gone") == 4 and sys.read(null, 10) == b""
        fails("ENOSPC", sys.write, full, b"x")
        assert sys.read(full, 3) == cat(sys, "/dev/zero", 3) == bytes(3)
        assert sys.fstat(null).st_rdev == 0x103 and sys.stat("/dev/null").st_mode == abi.S_IFCHR | 0o666
        fails("ENXIO", mknod_and_open, sys)
        fails("ENOTTY", sys.ioctl, null, abi.TCGETS)
        return cat(sys, "/dev/urandom", 16), sys.getrandom(16)

    first, second = run(main)
    assert len(first) == len(second) == 16 and first != second
    assert run(main) == (first, second), "the same seed, the same bytes"


def mknod_and_open(sys: Any) -> int:
    sys.mknod("/tmp/nodev", abi.S_IFCHR | 0o600, 0x6363)
    fd: int = sys.open("/tmp/nodev", abi.O_RDONLY)
    return fd
