"""The gates that are compiled: the same as those that are made at import, for every call of the compiled modules."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kernel.sched.wait import Interrupted
from kernel.syscall import table
from kernel.task import Foreign
from tools import compile as fast
from tools.gates import written_out

MODULES = [name for name in fast.MODULES if name.startswith("kernel/syscall/")]
TEXT = '''
from __future__ import annotations

from typing import Any

from kernel.syscall.table import syscall
from tests.unit.tools.test_gates import asked


@syscall(
    9901, "gate_test", "fd", "int", restart="never"
)
def sys_gate_test(task: Any, fd: int, count: int = 7) -> int:
    return asked(task, fd, count)


def twice(task: Any) -> Any:
    return sys_gate_test.handler(task, 1, 2), sys_gate_test(task, 3)
'''


def asked(task: Any, fd: int, count: int) -> int:
    """What the handler of the text does."""
    task.log.append(("handler", fd, count))
    if task.fails:
        raise task.fails
    return fd + count


class Task:
    """As far as a gate looks at one."""

    def __init__(self, fails: BaseException | None = None, work: int = 0, traced: bool = False) -> None:
        self.log: list[Any] = []
        self.fails, self.work, self.traced = fails, work, traced
        self.machine = SimpleNamespace(
            signals=SimpleNamespace(
                user_return=lambda task: self.log.append("back"), deliver=lambda task: (True, False)
            ),
            trace=SimpleNamespace(system_call=lambda call, task, args: (call.name, args)),
        )

    def trap(self) -> None:
        self.log.append("trap")


@pytest.fixture(params=["interpreted", "compiled"])
def module(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The text as a module, with the gate that is made at import or with the one that is compiled."""
    text = TEXT if request.param == "interpreted" else written_out(TEXT)
    made = ModuleType("gate_test")
    sys.modules["gate_test"] = made
    try:
        exec(compile(text, "gate_test.py", "exec"), made.__dict__)
        yield made
    finally:
        del sys.modules["gate_test"], table.CALLS[9901], table.BY_NAME["gate_test"]


def test_a_call_passes_and_settles_what_waits(module: Any) -> None:
    task = Task()
    assert module.sys_gate_test(task, 4) == 11
    assert module.sys_gate_test(task, fd=4, count=5) == 9
    assert task.log == ["trap", ("handler", 4, 7), "trap", ("handler", 4, 5)]
    task = Task(work=1)
    assert module.twice(task) == (3, 10)
    assert task.log == [("handler", 1, 2), "trap", ("handler", 3, 7), "back"]


def test_a_traced_call_is_recorded_with_all_its_arguments(module: Any) -> None:
    assert module.sys_gate_test(Task(traced=True), 4) == ("gate_test", (4, 7))


@pytest.mark.parametrize(("work", "log"), [(0, []), (1, ["back"])])
def test_an_error_passes(module: Any, work: int, log: list[Any]) -> None:
    task = Task(OSError(5, "x"), work)
    with pytest.raises(OSError, match="x"):
        module.sys_gate_test(task, 4)
    assert task.log == ["trap", ("handler", 4, 7), *log]


def test_mistaken_arguments_are_errors(module: Any) -> None:
    with pytest.raises(OSError, match="gate_test: fd is None") as failed:
        module.sys_gate_test(Task(TypeError("unsupported")), None)
    assert failed.value.errno == 9
    with pytest.raises(TypeError, match="a bug"):
        module.sys_gate_test(Task(TypeError("a bug")), 4)


def test_an_interrupted_call_goes_by_its_rule(module: Any) -> None:
    with pytest.raises(InterruptedError):
        module.sys_gate_test(Task(Interrupted()), 4)


def test_a_call_for_another_task_is_made_for_the_one_that_runs(module: Any) -> None:
    meant, asks = Task(), Task()

    def foreign() -> None:
        raise Foreign(meant)

    asks.trap = foreign  # type: ignore[method-assign]
    assert module.sys_gate_test(asks, 4) == 11
    assert meant.log == ["trap", ("handler", 4, 7)] and not asks.log


def test_both_are_registered_alike(module: Any) -> None:
    call = table.CALLS[9901]
    assert (call.name, call.kinds, call.restart, call.returns) == ("gate_test", ("fd", "int"), "never", "int")
    assert [p.name for p in call.parameters] == ["fd", "count"] and call.parameters[1].default == 7


@pytest.mark.parametrize("name", MODULES)
def test_every_call_of_the_compiled_modules_has_its_gate(name: str) -> None:
    text = (fast.ROOT / name).read_text()
    made = written_out(text)
    before, after = ast.parse(text), ast.parse(made)
    calls = [n for n in before.body if isinstance(n, ast.FunctionDef) and n.name.startswith("sys_")]
    where = {n.name: n for n in after.body if isinstance(n, ast.FunctionDef)}
    assert bool(calls) == ("@syscall(" in text)
    for call in calls:
        handler, entry = where[f"_{call.name}"], where[call.name]
        assert handler.lineno == call.lineno, "line numbers stay"
        assert [a.arg for a in entry.args.args] == [a.arg for a in handler.args.args] == [a.arg for a in call.args.args]
        assert not handler.decorator_list and not entry.decorator_list
    assert ".handler" not in made and "@syscall" not in made


def test_only_plain_arguments_are_taken() -> None:
    with pytest.raises(ValueError, match="plain arguments"):
        written_out(TEXT.replace("count: int = 7", "*, count: int = 7"))
