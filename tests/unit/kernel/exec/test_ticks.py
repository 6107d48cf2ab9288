"""Ticks: every loop, comprehension, lambda and function has one, and nothing else changes."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kernel.exec.ticks import compile_program, has_ticks, ticked


def counting() -> tuple[list[int], Callable[[], None]]:
    count = [0]

    def tick() -> None:
        count[0] += 1

    return count, tick


def helper(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total


def outer_global(n: int) -> int:
    return helper(n)


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def generator(n: int) -> Iterator[int]:
    i = 0
    while i < n:
        yield i
        i += 1


def documented(a: int, b: int = 2, *, c: int = 3) -> tuple[int, int, int]:
    """Kept."""
    return a, b, c


class Base:
    def who(self) -> str:
        return "base"


class Thing(Base):
    def who(self) -> str:
        return "thing of " + super().who()


@pytest.mark.parametrize(
    ("function", "args", "result", "ticks"),
    [
        (helper, (5,), 10, 6),
        (outer_global, (5,), 10, 7),
        (even, (4,), True, 5),
        (lambda n: [i for i in range(n) if i], (3,), [1, 2], 4),
        (lambda n: {i: [j + 0 for j in range(2)] for i in range(n)}, (2,), {0: [0, 1], 1: [0, 1]}, 7),
        (lambda: None, (), None, 1),
        (lambda: 0, (), 0, 1),
        (lambda n: list(generator(n)), (3,), [0, 1, 2], 5),
        (lambda n: sum(i for i in range(n)), (4,), 6, 5),
        (documented, (1,), (1, 2, 3), 1),
    ],
)
def test_how_often(function: Callable[..., Any], args: tuple[Any, ...], result: Any, ticks: int) -> None:
    count, tick = counting()
    assert ticked(function, tick)(*args) == result == function(*args)
    assert count[0] == ticks


def test_closures_are_shared_and_functions_in_them_tick() -> None:
    count, tick = counting()
    value = 1
    later = 0

    def inner() -> int:
        return value

    def change() -> int:
        nonlocal value, later
        value += 1
        later = inner()
        return later

    assert ticked(change, tick)() == 2
    assert value == later == 2
    assert count[0] == 2


def test_methods_partials_defaults_and_names() -> None:
    count, tick = counting()
    assert ticked(Thing().who, tick)() == "thing of base"
    assert ticked(functools.partial(documented, 5, c=9), tick)(b=7) == (5, 7, 9)
    assert count[0] == 2
    made = ticked(documented, tick)
    assert (made.__name__, made.__doc__, made.__module__) == ("documented", "Kept.", __name__)
    assert made.__qualname__ == documented.__qualname__
    assert has_ticks(made.__code__) and not has_ticks(documented.__code__)
    assert ticked(made, tick) is made


def test_two_lambdas_on_one_line_are_told_apart() -> None:
    _, tick = counting()
    both = (lambda x: x + 1, lambda x: x * 10)
    assert [ticked(f, tick)(4) for f in both] == [5, 40]


def test_what_has_no_source_runs_as_it_is() -> None:
    _, tick = counting()
    namespace: dict[str, Any] = {}
    exec("def f(): return 3", namespace)
    assert ticked(namespace["f"], tick) is namespace["f"]
    assert ticked(len, tick) is len


def test_lines_of_tracebacks_are_the_sources() -> None:
    _, tick = counting()

    def fails() -> None:
        for _ in range(2):
            raise KeyError("here")

    lines = []
    for function in (fails, ticked(fails, tick)):
        with pytest.raises(KeyError) as caught:
            function()
        frame = traceback.extract_tb(caught.value.__traceback__)[-1]
        lines.append((frame.filename, frame.lineno, frame.line))
    assert lines[0] == lines[1]
    assert lines[0][2] == 'raise KeyError("here")'


def test_a_tick_can_end_any_loop() -> None:
    class Enough(BaseException):
        pass

    for body in (
        "while True: pass",
        "while True:\n  try:\n   x = 1\n  except BaseException: pass",
        "for _ in iter(int, 1): continue",
        "[0 for _ in iter(int, 1)]",
        "list(0 for _ in iter(int, 1))",
        "f = lambda: f()\nf()",
        "{1 for _ in iter(int, 1)}",
    ):
        left = 100

        def tick() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Enough

        with pytest.raises(Enough):
            exec(compile_program(body, "program.py"), {"__tick__": tick})


def test_programs_keep_docstrings_and_futures() -> None:
    code = compile_program(
        '"""Doc."""\nfrom __future__ import annotations\ndef f(x: unknown):\n "d"\n return x\n', "p.py"
    )
    namespace: dict[str, Any] = {"__tick__": lambda: None}
    exec(code, namespace)
    assert namespace["__doc__"] == "Doc." and namespace["f"].__doc__ == "d" and namespace["f"](3) == 3
    with pytest.raises(SyntaxError) as wrong:
        compile_program("def f(:\n", "p.py")
    assert wrong.value.filename == "p.py"
