"""The laws of the house that a program can check, over the text of every room.

Each rule also has to catch a planted offence, or it would prove nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BELOW = {
    "csrc": set(),
    "netstack": {"csrc"},
    "drivers": {"csrc"},
    "kernel": {"netstack", "drivers", "csrc"},
    "userland": {"kernel", "netstack", "drivers", "csrc"},
    "terrella": {"userland", "kernel", "netstack", "drivers", "csrc"},
    "tools": {"terrella", "userland", "kernel", "netstack", "drivers", "csrc"},
}
ROOMS = sorted(BELOW)
SCAPY = {"drivers/net/scapy_port.py", "drivers/net/scapy_socket.py"}
CLOCK = "drivers/clock.py"
MEASURES = "tools/bench/"  # a bench is a clock
LONGEST = 700

Rule = Callable[[str, ast.Module], Iterator[str]]


def imports(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node


def only_downwards(path: str, tree: ast.Module) -> Iterator[str]:
    """An arrow of the plan means "may import", also further down the line; there are no circles and no way up."""
    room = path.split("/")[0]
    for name, node in imports(tree):
        other = name.split(".")[0]
        if (other in BELOW and other != room and other not in BELOW[room]) or other == "tests":
            yield f"{path}:{node.lineno}: {room} may not import {name}"


def scapy_in_its_files(path: str, tree: ast.Module) -> Iterator[str]:
    """scapy is imported by its port and its socket only, and lazily: inside a function."""
    at_import = {node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    for name, node in imports(tree):
        if name.split(".")[0] == "scapy" and path not in SCAPY:
            yield f"{path}:{node.lineno}: imports {name}"
        elif name.split(".")[0] == "scapy" and node in at_import:
            yield f"{path}:{node.lineno}: imports {name} when it is itself imported"


def no_host_clock(path: str, tree: ast.Module) -> Iterator[str]:
    """Time is an argument and randomness is a stream: the host's are read in drivers/clock.py alone."""
    if path == CLOCK or path.startswith(MEASURES):
        return
    for name, node in imports(tree):
        if name.split(".")[0] in ("time", "random", "secrets", "uuid"):
            yield f"{path}:{node.lineno}: imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if (owner in ("datetime", "date") and node.attr in ("now", "utcnow", "today")) or (
                owner == "os" and node.attr in ("urandom", "times")
            ):
                yield f"{path}:{node.lineno}: {owner}.{node.attr}"


def no_swallowed_exception(path: str, tree: ast.Module) -> Iterator[str]:
    """`except Exception: pass` loses what went wrong."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.id if isinstance(node.type, ast.Name) else ""
            broad = node.type is None or caught in ("Exception", "BaseException")
            if broad and all(isinstance(statement, ast.Pass) for statement in node.body):
                yield f"{path}:{node.lineno}: an exception of any kind is swallowed"


def says_what_it_is(path: str, tree: ast.Module) -> Iterator[str]:
    """A file is a chapter and opens with what it is about."""
    if tree.body and not ast.get_docstring(tree):
        yield f"{path}: no docstring"


def hints_everywhere(path: str, tree: ast.Module) -> Iterator[str]:
    """Every function says what it takes and gives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None:
            yield f"{path}:{node.lineno}: {node.name}() does not say what it returns"


RULES: list[tuple[Rule, str, str]] = [  # the rule, and an offence it must catch: path, text
    (only_downwards, "netstack/x.py", "from kernel.task import Task\n"),
    (only_downwards, "drivers/x.py", "def f():\n    import netstack.tcp\n"),
    (only_downwards, "kernel/x.py", "import tools.cli\n"),
    (scapy_in_its_files, "netstack/x.py", "def f():\n    from scapy.all import IP\n"),
    (scapy_in_its_files, "drivers/net/scapy_port.py", "import scapy.all\n"),
    (no_host_clock, "kernel/x.py", "import time\n"),
    (no_host_clock, "netstack/x.py", "from random import random\n"),
    (no_host_clock, "userland/x.py", "import datetime\nx = datetime.datetime.now()\n"),
    (no_host_clock, "terrella/x.py", "import os\nx = os.urandom(4)\n"),
    (no_swallowed_exception, "kernel/x.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (says_what_it_is, "kernel/x.py", "x = 1\n"),
    (hints_everywhere, "kernel/x.py", "def f(x: int):\n    return x\n"),
]


def texts() -> list[tuple[str, str]]:
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "__pycache__" not in path.parts:
                found.append((path.relative_to(ROOT).as_posix(), path.read_text()))
    return found


@pytest.mark.parametrize("rule", list(dict.fromkeys(rule for rule, _, _ in RULES)), ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    offences = [offence for path, text in texts() for offence in rule(path, ast.parse(text, path))]
    assert not offences, "\n".join(["", rule.__doc__ or "", *offences])


@pytest.mark.parametrize(("rule", "path", "text"), RULES, ids=[f"{r.__name__}-{p}" for r, p, _ in RULES])
def test_the_rule_catches_an_offence(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, ast.parse(text)))


def too_long(lines: dict[str, int]) -> list[str]:
    return [f"{path}: {count} lines" for path, count in lines.items() if count >= LONGEST]


def test_no_file_asks_to_be_two() -> None:
    lines = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".c", ".h") and path.name not in ("_leaves.c", "_tap.c"):
                lines[path.relative_to(ROOT).as_posix()] = len(path.read_text().splitlines())
    assert lines and not too_long(lines)


def test_a_long_file_is_seen() -> None:
    assert too_long({"kernel/x.py": LONGEST, "kernel/y.py": 10}) == [f"kernel/x.py: {LONGEST} lines"]
