"""Any call with any arguments gives a result or an error of Linux's, and the machine stays up."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.clock import VirtualTimeline
from kernel.machine import Machine
from kernel.strace import Strace
from kernel.syscall.table import BY_NAME, PYTHON
from kernel.task import Killed

MS = 1_000_000
ENDS = {"exit", "exit_group", "exit_thread", "spawn", "clone", "cpu", "fork", "pause"}
"""Left out: they end the fuzzer, or take a function."""
NAMES = sorted((PYTHON.keys() | BY_NAME.keys()) - ENDS)

values: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([-(1 << 63), -(1 << 31), 0x80000, 0o2000000, 4096]),
    st.none(),
    st.binary(max_size=20),
    st.sampled_from(["", "/", "/a", "/a/b", "a" * 300, "\0", "/dev/null", 3.5, [], {}, (1, 2), [(0, 1)], b"/a"]),
    st.sampled_from([("10.0.0.1", 80), ("127.0.0.1", 0), ("x", "y"), ("::1", 1, 0, 0)]),
)
calls = st.lists(st.tuples(st.sampled_from(NAMES), st.lists(values, max_size=5)), min_size=1, max_size=25)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls, st.booleans())
def test_any_call_with_any_arguments(script: list[tuple[str, list[Any]]], traced: bool) -> None:
    wrong: list[str] = []

    def fuzz(sys: Any) -> None:
        for name, args in script:
            sys.alarm(1)
            try:
                getattr(sys, name)(*args)
            except OSError as error:
                if error.errno is None:
                    wrong.append(f"{name}{args}: {error!r} has no errno")
            except TypeError as error:
                # Python's own: the wrong number of arguments. Anything else is a mistake of the kernel.
                if "argument" not in str(error) or "()" not in str(error):
                    wrong.append(f"{name}{args}: {error!r}")
            except Killed:
                raise
            except Exception as error:
                wrong.append(f"{name}{args}: {error!r}")

    def witness(sys: Any) -> int:
        for _ in range(5):
            sys.nanosleep(MS)
        return 7

    with Machine("m", VirtualTimeline(1)) as machine:
        if traced:
            machine.trace.append(Strace(lambda text: None))
        machine.spawn(fuzz)
        other = machine.spawn(witness)
        machine.run(3_600_000 * MS)
        assert not wrong
        # The fuzzer may have killed it: it runs as root. Otherwise it was not disturbed.
        assert other.exit_status is None or other.exit_status == 7 << 8 or other.exit_status & 0x7F
