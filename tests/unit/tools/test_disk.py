"""`--disk IMAGE`: what is said of it, what is refused, and that what a program writes is in the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.disk.drive import HDD, SSD
from drivers.disk.image import ImageDisk
from terrella import Lab
from tools.cli import main
from tools.disk import DiskOption

PROGRAM = """
from userland.abi import *

def main(sys, argv):
    fd = sys.open("/dev/vda", O_RDWR)
    sys.pwrite64(fd, b"from inside", 512)
    sys.fsync(fd)
    print(sys.lseek(fd, 0, SEEK_END), sys.pread64(fd, 4, 0))
"""


def test_what_stands_behind_the_name() -> None:
    plain = DiskOption("a,b.img")
    assert (plain.path, plain.readonly, plain.scheduler, plain.depth) == ("a,b.img", False, "none", 32)
    assert plain.costs(real=False) is SSD and plain.costs(real=True) is None
    full = DiskOption("d=x,y.img,drive=hdd,scheduler=deadline,depth=4,ro")
    assert (full.path, full.readonly, full.scheduler, full.depth) == ("d=x,y.img", True, "deadline", 4)
    assert full.costs(real=True) is HDD
    assert DiskOption("x,drive=none").costs(real=False) is None
    for wrong in ("x,drive=tape", "x,scheduler=cfq", "x,depth=0", "x,depth=many"):
        with pytest.raises(ValueError, match="="):
            DiskOption(wrong)


def test_a_program_and_its_disk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image, program = tmp_path / "d.img", tmp_path / "p.py"
    image.write_bytes(b"host" + bytes(8188))
    program.write_text(PROGRAM)
    assert main(["run", "--disk", str(image), str(program)]) == 0
    assert capfd.readouterr().out == "8192 b'host'\n"
    assert image.read_bytes() == b"host" + bytes(508) + b"from inside" + bytes(8192 - 523)
    assert main(["sh", "--disk", str(image), "--disk", f"{program},ro", "-c", "true"]) == 2, "no whole sectors"
    other = tmp_path / "other"
    other.write_bytes(bytes(512))
    script = "dd if=/dev/vda of=/dev/vdb bs=512 skip=1 count=1 status=none; cat /proc/partitions"
    assert main(["sh", "--disk", str(image), "--disk", str(other), "-c", script]) == 0
    assert other.read_bytes()[:11] == b"from inside"
    assert "254       16          0 vdb" in capfd.readouterr().out


def test_what_is_no_disk_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "p.py"
    program.write_text(PROGRAM)
    (tmp_path / "odd").write_bytes(bytes(513))
    (tmp_path / "empty").touch()
    (tmp_path / "fine").write_bytes(bytes(512))
    for name, says in (
        ("odd", "no whole number of 512-byte sectors"), ("empty", "truncate -s 64M"),
        ("none", "No such file or directory. `truncate"), ("", "Is a directory"),
    ):  # fmt: skip
        for command in (["run"], ["sh", "-c", "true"], ["up"]):
            words = [command[0], "--disk", str(tmp_path / name), *command[1:], *([str(program)] * (command == ["run"]))]
            assert main(words) == 2
            assert says in capfd.readouterr().err
    with Holding(tmp_path / "fine"):
        assert main(["run", "--disk", str(tmp_path / "fine"), str(program)]) == 2
        assert "in use by another machine" in capfd.readouterr().err
    assert main(["run", "--on-linux", "--disk", str(tmp_path / "fine"), str(program)]) == 2


class Holding:
    """Another machine that has the image."""

    def __init__(self, path: Path) -> None:
        self.disk = ImageDisk(path)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.disk.close()


def test_errors_of_the_disk_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image, program = tmp_path / "d.img", tmp_path / "p.py"
    image.write_bytes(bytes(8192))
    program.write_text(
        f"def main(sys, argv):\n    import os\n    os.truncate({str(image)!r}, 4096)\n"
        "    fd = sys.open('/dev/vda', 0)\n    sys.pread64(fd, 1, 4096)\n"
    )
    assert main(["run", "--disk", str(image), str(program)]) == 1
    said = capfd.readouterr().err
    assert "I/O error, dev vda, sector 8 op 0x0:(READ)" in said and "Input/output error" in said


def test_hosts_of_a_lab(tmp_path: Path) -> None:
    image = tmp_path / "d.img"
    image.write_bytes(bytes(4096))

    def write(sys: object) -> None:
        fd = sys.open("/dev/vda", 2)  # type: ignore[attr-defined]
        sys.write(fd, b"lab")  # type: ignore[attr-defined]

    with Lab(seed=1) as lab:
        a = lab.host("a", "10.0.0.1/24", disk=image)
        process = a.spawn(write)
        lab.run()
        assert process.exit_code == 0, a.output
    assert image.read_bytes()[:3] == b"lab"
