"""What `tools.compile` makes of a module before mypyc sees it."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tools import compile as fast

HEAD = '"""A chapter."""\n\nfrom __future__ import annotations\n\n'


def prepared(body: str, inherited: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    text = HEAD + body
    values: dict[str, object] = {}
    exec(compile(text, "x", "exec"), values)
    made = fast.prepared(text, values, set(inherited))
    assert made.count("\n") == text.count("\n"), "line numbers stay"
    ast.parse(made)
    return made


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("A = 1", "A: _Final = 1"),
        ("A: int = 1 << 4", "A: _Final = 16"),
        ("A, B = range(2)", "A: _Final = 0; B: _Final = 1"),
        ("A = len('xyz')", "A: _Final = 3"),
        ("A = True", "A: _Final = True"),
        ("A = 'te' 'xt'", "A: _Final = 'text'"),
        ("A, B = 1, 'text'", "A: _Final = 1; B: _Final = 'text'"),
    ],
)
def test_integers_and_strings_bound_once_are_final(line: str, becomes: str) -> None:
    assert prepared(line + "\n").split("\n")[4] == becomes


@pytest.mark.parametrize(
    "body",
    [
        "A = 1\nA = 2\n",
        "A = 1\nif A:\n    A = 2\n",
        "A = 1\ndef f():\n    global A\n    A = 2\n",
        "A = 1\nA += 1\n",
        "A = 1\nfor A in range(3):\n    pass\n",
        "A = 1\nfrom os import path as A\n",
        "A = 1\ndel A\n",
        "A = b'bytes'\n",
        "A = 1.5\n",
        "A = [1]\n",
        "A, B = 1, 1.5\n",
        "if True:\n    A = 1\n",
    ],
)
def test_everything_else_stays(body: str) -> None:
    assert prepared(body) == HEAD + body


def test_a_binding_over_several_lines() -> None:
    made = prepared("(\n    A,\n    B,\n) = range(5, 7)\nC = A\n")
    assert made.split("\n")[4:9] == ["A: _Final = 5; B: _Final = 6", "", "", "", "C: _Final = 5"]


def test_numbers_of_the_abi_are_written_out() -> None:
    made = prepared(
        "from kernel import abi\nfrom kernel.abi import (\n    EINVAL,\n    ERRNO_NAMES,\n    POLLIN as IN,\n)\n"
        "x = [abi.O_NONBLOCK | abi.AT_FDCWD, abi.ERRNO_NAMES]\n"
    ).split("\n")
    assert made[5] == "from kernel.abi import ERRNO_NAMES; EINVAL: _Final = 22; IN: _Final = 1"
    assert made[10].split() == ["x", "=", "[(2048)", "|", "(-100)", ",", "abi.ERRNO_NAMES]"]


def test_what_others_derive_from_is_open_to_them() -> None:
    made = prepared("class A:\n    pass\n\n\nclass B(A):\n    pass\n", {"B"})
    lines = made.split("\n")
    assert lines[lines.index("class B(A):") - 1] == "@_attr(allow_interpreted_subclasses=True)"
    assert made.count("@_attr") == 1


def test_computed_slots_are_declared_and_what_only_the_checker_sees_goes() -> None:
    made = prepared(
        "from typing import TYPE_CHECKING\n\n\nclass A:\n    names = ('x', 'y')\n    __slots__ = names\n\n"
        "    if TYPE_CHECKING:\n\n        def __getattr__(self, name: str) -> int: ...\n\n"
        "    def f(self) -> int:\n        return self.x\n"
    )
    assert "    x: int; y: int\n" in made and "__getattr__" not in made and "__slots__" not in made


def test_objects_that_come_and_go_are_kept_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "FLEETING", {"hot.A", "hot.B", "other.C"})
    made = fast.prepared(
        "from __future__ import annotations\n\n\nclass A:\n    pass\n\n\nclass B:\n    pass\n\n\nclass C:\n    pass\n",
        {"__name__": "hot"}, set(),
    )  # fmt: skip
    lines = made.split("\n")
    assert lines[lines.index("class A:") - 1] == "@_attr(free_list_len=1)"
    assert lines[lines.index("class B:") - 1] == "@_attr(free_list_len=1)"
    assert made.count("@_attr") == 2 and len(lines) == 14


@pytest.mark.parametrize("kind", sorted(fast.FLEETING))
def test_the_classes_of_the_lists_are_there(kind: str) -> None:
    module, _, name = kind.rpartition(".")
    path = module.replace(".", "/") + ".py"
    assert path in fast.MODULES
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_bases_of_bases_are_open_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "MODULES", ["hot.py"])
    monkeypatch.setattr(fast, "OPEN", ("C",))
    hot = "class A:\n    pass\nclass B(A):\n    pass\nclass C:\n    pass\nclass E:\n    pass\n"
    assert fast.inherited({"hot.py": hot, "cold.py": "class D(hot.B):\n    pass\n"}) == {"A", "B", "C"}


def test_every_module_of_the_list_is_there_and_can_be_prepared(tmp_path: Path) -> None:
    stats = fast.copy_sources(tmp_path)
    assert set(fast.MODULES) | set(fast.BESIDE) == set(stats)
    for name in fast.LEFT:
        assert (fast.ROOT / name).exists(), f"{name} is left out and does not exist"
    assert "CA_RECOVERY: _Final = 3" in (tmp_path / "netstack/tcp/tcb.py").read_text()


def test_what_is_missing_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O1")
    with pytest.raises(SystemExit, match="no-such-compiler is not there"):
        fast.compile_all(tmp_path)
    monkeypatch.setattr(fast.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(SystemExit, match=r"Python\.h is needed"):
        fast.compile_all(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_gcc_there_is_no_profile_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fast, "is_gcc", lambda: False)
    assert fast.trained([], tmp_path, tmp_path, {}) is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "without a profile" in said and "is not gcc" in said


def test_a_profile_is_kept_while_most_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Extension:
        sources = tuple(f"{i}.c" for i in range(8))

    trainings = []

    def trained(extensions: object, source: Path, directory: Path, stats: object) -> dict[Path, Path]:
        trainings.append(1)
        (directory / "counts").mkdir(exist_ok=True)
        for name in Extension.sources[1:]:  # of one there are no counts
            (directory / "counts" / name).with_suffix(".gcda").write_text("")
        return {source / name: Path(name).with_suffix(".o") for name in Extension.sources}

    monkeypatch.setattr(fast, "trained", trained)
    for name in Extension.sources:
        (tmp_path / name).write_text(name)

    def profiled(anew: bool = False) -> int:
        found = fast.profile_of([Extension], tmp_path, tmp_path, {}, anew)
        assert found is not None and sorted(path.name for path in found) == sorted(Extension.sources[1:])
        return len(trainings)

    assert profiled() == 1 and profiled() == 1
    assert profiled(anew=True) == 2
    for name in Extension.sources[:2]:
        (tmp_path / name).write_text("edited")
    assert profiled() == 2
    (tmp_path / Extension.sources[2]).write_text("edited")
    assert profiled() == 3, "more than a quarter"
    (tmp_path / fast.PROFILE).write_text("{")
    assert profiled() == 4


def test_a_checkout_that_is_read_only_is_said(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file, which nothing can lie below")
    with pytest.raises(SystemExit, match="Not a directory"), fast.alone(tmp_path / "build" / "fast"):
        pass


def test_one_build_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = []

    def second() -> None:
        with fast.alone(tmp_path):
            order.append("second")

    other = threading.Thread(target=second)
    with fast.alone(tmp_path):
        other.start()
        other.join(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_mypyc_takes_buffers_for_objects() -> None:
    """Or a hint of one kind of buffer would be an error where another comes."""
    script = (
        "from tools import compile as fast; fast.widen()\n"
        "from mypyc.irbuild import mapper; from mypyc.ir import rtypes\n"
        "assert mapper.bytes_rprimitive is mapper.bytearray_rprimitive is rtypes.object_rprimitive\n"
        "assert rtypes.bytes_rprimitive is not rtypes.object_rprimitive\n"
    )
    pytest.importorskip("mypyc")
    subprocess.run([sys.executable, "-c", script], check=True, cwd=fast.ROOT)


def test_a_wait_is_named_alike_in_both_forms() -> None:
    """/proc/PID/wchan goes by Python's frames, which compiled functions have none of."""
    from kernel.sched.wchan import PASSED_OVER

    compiled = [fast.module_name(name) for name in fast.MODULES if name.startswith("kernel/")]
    assert compiled and all(name.startswith(PASSED_OVER) for name in compiled)
