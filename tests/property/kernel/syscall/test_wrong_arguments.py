"""No argument of any type or value breaks a file or socket call: it answers, or fails with an errno of Linux."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import abi
from kernel.syscall.table import BY_NAME, PYTHON
from tests.property.kernel.fs.plain import WouldSleep, lone_machine, lone_task

FAMILIES = ("file", "path", "pipe", "poll", "socket")
OURS = sorted(
    {name for name, call in PYTHON.items() if call.__module__ in {f"kernel.syscall.{f}" for f in FAMILIES}}
    | {name for name, call in BY_NAME.items() if call.handler.__module__ in {f"kernel.syscall.{f}" for f in FAMILIES}}
)
# Their raw forms take sinks, sources and message structures that only the two ABIs make.
RAW = {"recvmsg", "sendmsg", "accept"}

values = st.one_of(
    st.integers(-3, 12),
    st.sampled_from([1 << 31, 1 << 63, 1 << 64, -(1 << 40), abi.AT_FDCWD, abi.O_CREAT | abi.O_RDWR, 4096, 0o777]),
    st.sampled_from(["/", "/f", "/d", "/d/x", "f", "", "/none/x", "/l", "\udcff", "a\0b", b"/f", b"\xff", "n" * 300]),
    st.sampled_from([None, 1.5, True, b"", b"data", bytearray(b"xy"), (), [], [1, 2], [(0, 1)], ("127.0.0.1", 9), {}]),
    st.sampled_from([[b"a", b"b"], [10, 20], (0, 0, 0, 0), [(3, abi.POLLIN)], object()]),
)


@settings(deadline=None, max_examples=250, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(OURS), st.lists(values, max_size=5)), min_size=1, max_size=25))
def test_only_errnos_come_back(script: list[tuple[str, list[Any]]]) -> None:
    machine = lone_machine(max_pages=64)
    _, sys = lone_task(machine)
    sys.mkdir("/d")
    sys.symlink("/d", "/l")
    sys.open("/f", abi.O_CREAT | abi.O_RDWR)
    sys.pipe2(0)
    sys.socketpair(abi.AF_UNIX, abi.SOCK_STREAM)
    sys.epoll_create1(0)
    for name, args in script:
        try:
            getattr(sys, name)(*args)
        except OSError as failure:
            assert failure.errno in abi.ERRNO_NAMES, (name, args)
        except WouldSleep:
            pass
        except TypeError as failure:
            # The wrong number of arguments is a mistake in the program's text, as for any Python function.
            assert "argument" in str(failure), (name, args)
