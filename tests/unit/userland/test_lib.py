"""The comfort library, on a machine in virtual time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.machine import Machine
from userland import lib


def inside(function: Callable[[lib.System], Any]) -> Any:
    """What `function(sys)` gives as a process of a fresh machine."""
    results: list[Any] = []

    def main(sys: lib.System) -> None:
        results.append(function(sys))

    with Machine() as machine:
        machine.spawn(main)
        machine.run()
        assert results, bytes(machine.console.output).decode()  # type: ignore[attr-defined]
    return results[0]


class Trickle:
    """A `sys` whose reads and writes give and take little at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        self.data = data
        self.most = most
        self.written = b""

    def read(self, fd: int, n: int) -> bytes:
        block, self.data = self.data[: min(n, self.most)], self.data[min(n, self.most) :]
        return block

    def write(self, fd: int, data: Any) -> int:
        self.written += bytes(data[: self.most])
        return min(len(data), self.most)

    def sendto(self, fd: int, data: Any, flags: int) -> int:
        return self.write(fd, data)


@given(st.binary(max_size=200), st.integers(1, 7))
def test_everything_passes_however_little_each_call_does(data: bytes, most: int) -> None:
    sys = Trickle(data, most)
    assert lib.read_all(sys, 0) == data
    lib.write_all(sys, 1, data)
    assert sys.written == data
    lib.send_all(sys, 1, data)
    assert sys.written == data * 2


@given(st.lists(st.binary(max_size=20), max_size=8).map(b"\n".join), st.integers(1, 9))
def test_lines(text: bytes, most: int) -> None:
    assert list(lib.lines(Trickle(text, most), 0)) == re.findall(rb"[^\n]*\n|[^\n]+", text)


def test_files() -> None:
    def work(sys: lib.System) -> tuple[bytes, int]:
        lib.make_directories(sys, "/a/b/c")
        lib.make_directories(sys, "/a/b")
        lib.write_file(sys, "/a/b/c/f", b"long and old")
        lib.write_file(sys, "/a/b/c/f", b"new", 0o600)
        return lib.read_file(sys, "/a/b/c/f"), sys.stat("/a/b/c").st_mode & 0o777

    assert inside(work) == (b"new", 0o755)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1.2.3.4", (2, ("1.2.3.4", 80))), ("1.2.3.4:8080", (2, ("1.2.3.4", 8080))), ("::1", (10, ("::1", 80))),
        ("[fe80::1]:443", (10, ("fe80::1", 443))), ("[::]", (10, ("::", 80))),
    ],
)  # fmt: skip
def test_addresses(text: str, result: object) -> None:
    assert lib.parse_address(text, 80) == result


@pytest.mark.parametrize("text", ["localhost", "1.2.3", "1.2.3.400", "", "a.b.c.d"])
def test_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a numeric address"):
        lib.parse_address(text, 80)


def test_complaints_are_one_line_on_standard_error() -> None:
    sys = Trickle(b"", 1000)
    lib.complain(sys, "cat", OSError(2, "No such file or directory", "x"))
    lib.complain(sys, "cat", "odd")
    assert sys.written == b"cat: No such file or directory\ncat: odd\n"
