"""Do arguments, results and attributes agree with their hints, where the compiled form would insist on it?

    TERRELLA_COMPILED=0 TERRELLA_HINTS=/tmp/lies PYTHONPATH=tests/hints python -m pytest -n 2 tests

The modules that tools/compile.py compiles are imported with a check after each assignment to an attribute and each
annotated one, at the begin of each function for its arguments, and around what it returns. What disagrees is written
to the file, once for each place and type, and nothing else changes. Only what mypyc checks is checked: builtin types,
tuples of a fixed length, None, and classes that are compiled. Buffers are not, as they are objects there.

An attribute's hint is what its class, or a base, says; or what `__init__` gives it: a constant, or an argument.
`loses`: a value that is an int, but whose class would be lost (a bool, an IntEnum), where that is seen by nobody.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import os
import sys
import types
import typing
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUILTINS = (int, bool, float, str, list, dict, set, frozenset, tuple, range)

Problem = str | None
Check = Callable[[Any], Problem]


def compiled_modules(root: Path = ROOT) -> dict[str, Path]:
    """{name: file} of what tools/compile.py compiles, read from its text: importing it would import rooms."""
    found: dict[str, Any] = {}
    for node in ast.parse((root / "tools/compile.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("WHOLE", "LEFT", "CHOSEN"):
                found[name] = ast.literal_eval(node.value)
    paths = {path.relative_to(root).as_posix() for room in found["WHOLE"] for path in (root / room).rglob("*.py")}
    names = sorted(paths - found["LEFT"] | set(found["CHOSEN"]))
    return {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): root / name
        for name in names if not name.endswith("__init__.py")
    }  # fmt: skip


# What a hint asks for.


def check_of(hint: Any, compiled: frozenset[str] | set[str]) -> Check | None:
    """What says why a value is not of the hint; None where everything is."""
    if hint is None or hint is type(None):
        return lambda value: None if value is None else "not None"
    origin = typing.get_origin(hint)
    args = typing.get_args(hint)
    if origin is typing.Union or origin is types.UnionType:
        return union([check_of(one, compiled) for one in args])
    if origin in (typing.ClassVar, typing.Final, typing.Annotated):
        return check_of(args[0], compiled)
    if origin is typing.Literal:
        return union([check_of(type(one), compiled) for one in args])
    if origin is tuple and args and args[-1] is not Ellipsis:
        return items([check_of(one, compiled) for one in args])
    if origin is list or (origin is tuple and args):
        return first(origin, check_of(args[0], compiled))
    if isinstance(hint, typing.TypeVar):
        return check_of(hint.__bound__, compiled) if hint.__bound__ is not None else None
    if hasattr(hint, "__supertype__"):
        return check_of(hint.__supertype__, compiled)
    cls = origin if origin is not None else hint
    if not isinstance(cls, type) or getattr(cls, "_is_protocol", False):
        return None
    if cls in BUILTINS:
        return builtin(cls)
    return instance(cls) if cls.__module__ in compiled else None


def builtin(cls: type) -> Check:
    def check(value: Any) -> Problem:
        found = type(value)
        if found is cls or (cls is float and found is int):
            return None
        if isinstance(value, cls):
            return f"loses {found.__name__}" if cls is int else None
        return f"{found.__name__} for {cls.__name__}"

    return check


def instance(cls: type) -> Check:
    return lambda value: None if isinstance(value, cls) else f"{type(value).__name__} for {cls.__name__}"


def union(checks: Sequence[Check | None]) -> Check | None:
    some = [one for one in checks if one is not None]
    if len(some) < len(checks):
        return None

    def check(value: Any) -> Problem:
        problems = [one(value) for one in some]
        return None if None in problems else "; ".join(str(one) for one in problems)

    return check


def items(checks: list[Check | None]) -> Check:
    def check(value: Any) -> Problem:
        if not isinstance(value, tuple) or len(value) != len(checks):
            return f"{type(value).__name__} for a tuple of {len(checks)}"
        for one, item in zip(checks, value):
            problem = one(item) if one is not None else None
            if problem:
                return f"in a tuple: {problem}"
        return None

    return check


def first(cls: type, inner: Check | None) -> Check:
    """A sequence and what it begins with."""

    def check(value: Any) -> Problem:
        if not isinstance(value, cls):
            return f"{type(value).__name__} for {cls.__name__}"
        problem = inner(value[0]) if inner is not None and value else None
        return f"in a {cls.__name__}: {problem}" if problem else None

    return check


# While the program runs.


class Watch:
    """What the instrumented modules call."""

    def __init__(self, file: str, modules: dict[str, Path]) -> None:
        self.file = os.path.abspath(file)
        self.modules = modules
        self.names = frozenset(modules)
        self.classes: dict[tuple[str, str], dict[str, str]] = {}
        """{(module, class): {attribute: hint}}"""
        self._attributes: dict[type, dict[str, Check | None]] = {}
        self._checks: dict[tuple[str, str], Check | None] = {}
        self._extra: dict[str, dict[str, Any]] = {}
        self._told: set[tuple[str, str, str]] = set()
        self.importing = 0

    def check(self, module: str, hint: str) -> Check | None:
        key = module, hint
        if key not in self._checks:
            self._checks[key] = check_of(self.resolved(module, hint), self.names)
        return self._checks[key]

    def resolved(self, module: str, hint: str) -> Any:
        scope = {**vars(builtins), **vars(typing), **self.extra(module), **vars(sys.modules[module])}
        try:
            return eval(hint, scope)
        except (NameError, TypeError, AttributeError):
            return Any

    def extra(self, module: str) -> dict[str, Any]:
        """What a module imports for the type checker only."""
        if module not in self._extra:
            found = self._extra[module] = {}
            for node in ast.walk(ast.parse(self.modules[module].read_text())):
                if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                    for one in node.body:
                        if isinstance(one, ast.ImportFrom) and one.module:
                            source = importlib.import_module(one.module)
                            for alias in one.names:
                                found[alias.asname or alias.name] = getattr(source, alias.name, Any)
        return self._extra[module]

    def tell(self, module: str, line: int, what: str, problem: str) -> None:
        key = f"{module}:{line}", what, problem
        if key not in self._told:
            self._told.add(key)
            with open(self.file, "a") as file:
                file.write(f"{module}:{line}: {what}: {problem}\n")

    def value(self, value: Any, module: str, hint: str, line: int, what: str) -> Any:
        check = self.check(module, hint) if not self.importing else None
        problem = check(value) if check is not None else None
        if problem:
            self.tell(module, line, what, problem)
        return value

    def arguments(self, values: tuple[Any, ...], module: str, line: int, told: tuple[tuple[str, str], ...]) -> None:
        for value, (name, hint) in zip(values, told):
            self.value(value, module, hint, line, name)

    def attribute(self, thing: Any, name: str, module: str, line: int) -> None:
        if self.importing:
            return
        cls = type(thing)
        known = self._attributes.get(cls)
        if known is None:
            known = self._attributes[cls] = {}
            for base in reversed(cls.__mro__):
                for attribute, hint in self.classes.get((base.__module__, base.__qualname__), {}).items():
                    known[attribute] = self.check(base.__module__, hint)
        check = known.get(name)
        if check is not None:
            problem = check(getattr(thing, name))
            if problem:
                self.tell(module, line, f"{cls.__name__}.{name}", problem)


# The modules, instrumented.


WATCH = "__hints__"


class Instrument(ast.NodeTransformer):
    def __init__(self, module: str, watch: Watch) -> None:
        self.module = module
        self.watch = watch
        self.path: list[str] = []
        self.returns: list[str] = []

    def call(self, method: str, *args: ast.expr) -> ast.Call:
        function = ast.Attribute(ast.Name(WATCH, ast.Load()), method, ast.Load())
        return ast.Call(function, list(args), [])

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.path.append(node.name)
        self.watch.classes[self.module, ".".join(self.path)] = attributes(node)
        self.generic_visit(node)
        self.path.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        generator = any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(node))
        self.returns.append(ast.unparse(node.returns) if node.returns is not None and not generator else "")
        self.path.extend((node.name, "<locals>"))
        self.generic_visit(node)
        del self.path[-2:]
        self.returns.pop()
        hinted = [one for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if one.annotation]
        if hinted:
            told = tuple((one.arg, ast.unparse(one.annotation)) for one in hinted if one.annotation is not None)
            values = ast.Tuple([ast.Name(one.arg, ast.Load()) for one in hinted], ast.Load())
            call = self.call(
                "arguments", values, ast.Constant(self.module), ast.Constant(node.lineno), ast.Constant(told)
            )
            doc = ast.get_docstring(node) is not None
            node.body.insert(1 if doc else 0, ast.Expr(call))
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if self.returns and self.returns[-1] and node.value is not None:
            node.value = self.call(
                "value", node.value, ast.Constant(self.module), ast.Constant(self.returns[-1]),
                ast.Constant(node.lineno), ast.Constant("returns"),
            )  # fmt: skip
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    def after(self, node: ast.stmt, targets: list[ast.expr]) -> Any:
        checks: list[ast.stmt] = []
        for target in targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            for part in parts:
                if isinstance(part, ast.Attribute) and simple(part.value):
                    thing = ast.parse(ast.unparse(part.value), mode="eval").body
                    call = self.call(
                        "attribute", thing, ast.Constant(part.attr), ast.Constant(self.module),
                        ast.Constant(node.lineno),
                    )  # fmt: skip
                    checks.append(ast.Expr(call))
        return [node, *checks] if checks and self.returns else node

    def visit_Assign(self, node: ast.Assign) -> Any:
        self.generic_visit(node)
        return self.after(node, node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        self.generic_visit(node)
        return self.after(node, [node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        self.generic_visit(node)
        if node.value is None:
            return node
        if isinstance(node.target, ast.Name) and self.returns:
            node.value = self.call(
                "value", node.value, ast.Constant(self.module), ast.Constant(ast.unparse(node.annotation)),
                ast.Constant(node.lineno), ast.Constant(node.target.id),
            )  # fmt: skip
        return self.after(node, [node.target])


def simple(node: ast.expr) -> bool:
    """Whether it may be read once more."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and simple(node.value))


def attributes(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = ast.unparse(statement.annotation)
    for function in node.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        hints = {one.arg: ast.unparse(one.annotation) for one in function.args.args if one.annotation is not None}
        for one in ast.walk(function):
            if isinstance(one, ast.AnnAssign) and own(one.target):
                found.setdefault(one.target.attr, ast.unparse(one.annotation))  # type: ignore[union-attr]
            elif isinstance(one, ast.Assign) and function.name == "__init__":
                for target in filter(own, one.targets):
                    hint = inferred(one.value, hints)
                    if hint:
                        found.setdefault(target.attr, hint)  # type: ignore[attr-defined]
    return found


def own(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"


def inferred(value: ast.expr, hints: dict[str, str]) -> str:
    """What mypy takes an attribute for that is first given this."""
    if isinstance(value, ast.Constant) and type(value.value) in (int, bool, str, float):
        return type(value.value).__name__
    if isinstance(value, ast.Name):
        return hints.get(value.id, "")
    return ""


class Loader(SourceFileLoader):
    """A module with its checks; nothing is kept on disk."""

    watch: Watch

    def get_code(self, fullname: str) -> types.CodeType:
        tree = ast.parse(Path(self.path).read_text(), self.path)
        Instrument(fullname, self.watch).visit(tree)
        ast.fix_missing_locations(tree)
        code: types.CodeType = compile(tree, self.path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)[WATCH] = self.watch
        self.watch.importing += 1  # what a module's own statements build is not looked at: hints may not be there yet
        try:
            super().exec_module(module)
        finally:
            self.watch.importing -= 1


class Finder:
    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if sys.meta_path[0] is not self:  # pytest's own stands in front of others', and takes what is installed
            sys.meta_path.remove(self)  # type: ignore[arg-type]
            sys.meta_path.insert(0, self)  # type: ignore[arg-type]
        file = self.watch.modules.get(name)
        if file is None:
            return None
        loader = Loader(name, str(file))
        loader.watch = self.watch
        return spec_from_file_location(name, str(file), loader=loader)


def install(file: str, modules: dict[str, Path] | None = None) -> Watch:
    watch = Watch(file, compiled_modules() if modules is None else modules)
    sys.meta_path.insert(0, Finder(watch))  # type: ignore[arg-type]
    return watch
