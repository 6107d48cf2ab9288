"""Ticks: how ordinary Python becomes something a scheduler can preempt and an accountant can charge.

An AST pass puts a call of `__tick__` first in each loop body, comprehension, lambda and function of a program. A tick
charges a fixed virtual time and, when the budget is used up, goes to the scheduler (`kernel/sched/meter.py`). File
names and line numbers stay, so tracebacks show the user's own source.

A program file is compiled whole, with `__tick__` among its globals. A function given to `spawn` is compiled again
from its source, as a nested function of a factory whose parameters are its free variables and `__tick__`; then the
new code gets the original's closure cells, so variables are still shared with the enclosing function. Functions that
it names (globals and cells) and that have source are treated likewise and put in place of their names. What has no
source (or is a method that is reached only through an object) runs without ticks: for that there is the watchdog.
"""

from __future__ import annotations
import __future__ as _future

import ast
import functools
import inspect
import linecache
import sysconfig
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

TICK = "__tick__"
FACTORY = "__ticked__"
FUTURES = functools.reduce(lambda mask, name: mask | getattr(_future, name).compiler_flag, _future.all_feature_names, 0)
OURS = ("kernel", "netstack", "drivers", "csrc", "terrella", "tools")
HOST_PATHS = tuple(sorted({sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib")}))


class _Inserter(ast.NodeTransformer):
    """Puts the ticks in."""

    def _call(self, at: ast.AST) -> ast.Call:
        node = ast.Call(ast.Name(TICK, ast.Load()), [], [])
        for part in (node, node.func):
            ast.copy_location(part, at)
            part.end_lineno, part.end_col_offset = part.lineno, part.col_offset
        return node

    def _statement(self, at: ast.AST) -> ast.stmt:
        return ast.copy_location(ast.Expr(self._call(at)), at)

    def _loop(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, self._statement(node))
        return node

    visit_For = visit_AsyncFor = visit_While = _loop

    def _function(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        first = node.body[0]
        documented = (
            isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        )
        node.body.insert(1 if documented else 0, self._statement(node))
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        node.body = ast.copy_location(ast.BoolOp(ast.Or(), [self._call(node.body), node.body]), node.body)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.ifs.insert(0, ast.copy_location(ast.UnaryOp(ast.Not(), self._call(node.target)), node.target))
        return node


def compile_program(source: str | bytes, filename: str) -> CodeType:
    """The code of a whole program file, with ticks. SyntaxError as from `compile`."""
    tree = ast.parse(source, filename)
    code: CodeType = compile(_Inserter().visit(tree), filename, "exec", dont_inherit=True)
    return code


@functools.lru_cache(maxsize=64)
def _parse(source: str, filename: str) -> ast.Module:
    return ast.parse(source, filename)


def _spots(code: CodeType) -> Iterator[tuple[int, int]]:
    for line, _, column, _ in code.co_positions():
        if line is not None and column is not None:
            yield line, column


def _find(tree: ast.Module, code: CodeType) -> ast.FunctionDef | ast.Lambda | None:
    """The node from which `code` was compiled."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if line == code.co_firstlineno:
                return node
        elif isinstance(node, ast.Lambda) and code.co_name == "<lambda>" and node.lineno == code.co_firstlineno:
            body = node.body
            first, last = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
            spots = [spot for spot in _spots(code) if spot != (node.lineno, 0)]
            if all(first <= spot < last for spot in spots):
                return node
    return None


def _globals_declared(node: ast.AST) -> set[str]:
    return {name for n in ast.walk(node) if isinstance(n, ast.Global | ast.Nonlocal) for name in n.names}


def _names(code: CodeType) -> set[str]:
    names = {*code.co_names}
    for const in code.co_consts:
        if isinstance(const, CodeType):
            names |= _names(const)
    return names


@functools.lru_cache(maxsize=1024)
def _compile(code: CodeType, source: str, filename: str, free: tuple[str, ...]) -> CodeType | None:
    """The code of the function again, with ticks and with `free` as free variables. None when it can't be found."""
    import copy

    node = _find(_parse(source, filename), code)
    if node is None:
        return None
    node = copy.deepcopy(node)
    if isinstance(node, ast.FunctionDef):
        node.decorator_list = []
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
    # Defaults were evaluated when the function was made; here they only have to keep their number.
    blank = ast.copy_location(ast.Constant(None), node)
    node.args.defaults = [blank for _ in node.args.defaults]
    node.args.kw_defaults = [None if d is None else blank for d in node.args.kw_defaults]
    node = _Inserter().visit(node)
    inner: ast.stmt = node if isinstance(node, ast.FunctionDef) else ast.copy_location(ast.Expr(node), node)
    arguments = ast.arguments([], [ast.arg(name) for name in (*free, TICK)], None, [], [], None, [])
    factory = ast.FunctionDef(FACTORY, arguments, [inner], [], None)
    module = ast.fix_missing_locations(ast.Module([factory], []))
    outer = compile(module, filename, "exec", flags=code.co_flags & FUTURES, dont_inherit=True)
    for const in outer.co_consts:
        if isinstance(const, CodeType) and const.co_name == FACTORY:
            for found in const.co_consts:
                if isinstance(found, CodeType):
                    return found.replace(co_qualname=code.co_qualname)
    return None


def ticked(function: Callable[..., Any], tick: Callable[[], None]) -> Callable[..., Any]:
    """The function with ticks in it, if it has source; else the function itself."""
    return _Recompiler(tick).convert(function)


def has_ticks(code: CodeType) -> bool:
    """Whether the code was compiled with ticks already."""
    return TICK in code.co_names or TICK in code.co_freevars


class _Recompiler:
    """One conversion: a function and what it names."""

    __slots__ = ("cell", "made")

    def __init__(self, tick: Callable[[], None]) -> None:
        self.cell = CellType(tick)
        self.made: dict[FunctionType, Any] = {}

    def convert(self, function: Any) -> Any:
        if isinstance(function, MethodType):
            return MethodType(self.convert(function.__func__), function.__self__)
        if isinstance(function, functools.partial):
            return functools.partial(self.convert(function.func), *function.args, **function.keywords)
        if not isinstance(function, FunctionType):
            return function
        if function in self.made:
            return self.made[function]
        self.made[function] = function
        if has_ticks(function.__code__) or not _of_the_user(function):
            return function
        code = function.__code__
        filename = code.co_filename
        try:
            lines, _ = inspect.findsource(code)
        except OSError:
            lines = linecache.getlines(filename)
        if not lines:
            return function
        return self._rebuild(function, code, "".join(lines), filename)

    def _rebuild(self, function: FunctionType, code: CodeType, source: str, filename: str) -> Any:
        cells = dict(zip(code.co_freevars, function.__closure__ or ()))
        tree = _find_or_none(source, filename, code)
        if tree is None:
            return function
        declared = _globals_declared(tree)
        # Globals that are functions of the user become free variables, so that the ticked ones can stand in for them.
        named = [
            name
            for name in sorted(_names(code))
            if name not in cells and name not in declared and isinstance(function.__globals__.get(name), FunctionType)
            and _of_the_user(function.__globals__[name])
        ]  # fmt: skip
        new_code = _compile(code, source, filename, (*code.co_freevars, *named))
        if new_code is None:
            return function
        own = {name: CellType() for name in named}
        for name in code.co_freevars:
            if name not in declared and name != "__class__" and isinstance(_content(cells[name]), FunctionType):
                own[name] = CellType()
        own[TICK] = self.cell
        closure = tuple(own.get(name) or cells[name] for name in new_code.co_freevars)
        made = FunctionType(new_code, function.__globals__, function.__name__, function.__defaults__, closure)
        made.__kwdefaults__ = function.__kwdefaults__
        made.__qualname__ = function.__qualname__
        made.__doc__ = function.__doc__
        made.__module__ = function.__module__
        made.__dict__.update(function.__dict__)
        self.made[function] = made
        for name, cell in own.items():
            if name != TICK:
                original = _content(cells[name]) if name in cells else function.__globals__[name]
                cell.cell_contents = self.convert(original)
        return made


def _find_or_none(source: str, filename: str, code: CodeType) -> ast.AST | None:
    try:
        return _find(_parse(source, filename), code)
    except SyntaxError:
        return None


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _of_the_user(function: FunctionType) -> bool:
    """Whether the function is part of a program, not of Python, of an installed package or of the kernel."""
    filename = function.__code__.co_filename
    if (function.__module__ or "").partition(".")[0] in OURS:
        return False
    return not filename.startswith("<") and not filename.startswith(HOST_PATHS)
