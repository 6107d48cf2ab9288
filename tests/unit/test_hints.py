"""The check of hints (tests/hints/check.py) sees what mypyc would refuse, and leaves the rest alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hints import check

MODULE = '''
from __future__ import annotations
from enum import IntEnum

class Colour(IntEnum):
    RED = 1

class Thing:
    size: int
    name: str | None

    def __init__(self, size: int, pair: tuple[int, str] = (1, "x"), data: bytes = b"") -> None:
        self.size = size
        self.name = None
        self.flag = False
        self.pair = pair

    def half(self) -> int:
        return self.size / 2 if self.size % 2 else self.size // 2

class Derived(Thing):
    pass

def double(thing: Thing) -> float:
    """Of a thing."""
    return thing.size * 2

def each(values: list[int]) -> None:
    first: int = values[0]
'''


@pytest.fixture
def hinted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Path]]:
    file = tmp_path / "hinted_module.py"
    file.write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    check.install(str(tmp_path / "lies"), {"hinted_module": file})
    yield importlib.import_module("hinted_module"), tmp_path / "lies"
    sys.meta_path[:] = before
    del sys.modules["hinted_module"]


TRUE = [
    "Thing(3)", "Thing(4).half()", "double(Derived(1))", "each([1, 2])", "Thing(1, (2, 'y'), memoryview(b''))",
    "setattr(Thing(1), 'name', 'x')", "double(thing=Thing(1))",
]  # fmt: skip


@pytest.mark.parametrize("call", TRUE)
def test_what_is_true_is_not_told(hinted: tuple[Any, Path], call: str) -> None:
    module, lies = hinted
    eval(call, vars(module))
    assert not lies.exists()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("Thing('3')", "size: str for int"),
        ("Thing(None)", "Thing.size: NoneType for int"),
        ("Derived(2.0)", "Derived.size: float for int"),
        ("Thing(3, [1, 'x'])", "pair: list for a tuple of 2"),
        ("Thing(3, (1, 2))", "pair: in a tuple: int for str"),
        ("Thing(3).half()", "returns: float for int"),
        ("double(7)", "thing: int for Thing"),
        ("each((1,))", "values: tuple for list"),
        ("each([None])", "first: NoneType for int"),
        ("Thing(Colour.RED)", "size: loses Colour"),
        ("Thing(True)", "size: loses bool"),
    ],
)
def test_what_is_not_is(hinted: tuple[Any, Path], call: str, told: str) -> None:
    module, lies = hinted
    try:
        eval(call, vars(module))
    except (TypeError, AttributeError):
        pass
    assert told in lies.read_text()


def test_the_modules_are_those_that_are_compiled() -> None:
    from tools.compile import MODULES, module_name

    found = check.compiled_modules()
    assert set(found) == {module_name(name) for name in MODULES if not name.endswith("__init__.py")}
