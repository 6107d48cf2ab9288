"""The gates of system calls in compiled modules, written out.

`@syscall(63, "read", ...)` gives back an entry that is made of text when the module is imported
(kernel/syscall/gate.py), so the interpreter runs it: it is handed objects, and finds what it calls by name. In the copy
that is compiled each decorated handler becomes two functions, the handler under a name with an underscore and its entry
under the handler's own, of the same text and with the same arguments; then a call goes from the adaptor through the
gate to the handler as C calls C.
"""

from __future__ import annotations

import ast
import re

from kernel.syscall.gate import gate

TABLE = "kernel.syscall.table"
IMPORTS = (
    "from kernel.sched.wait import Interrupted as _Interrupted",
    "from kernel.task import Foreign as _Foreign, Task as _Task",
    f"from {TABLE} import register as _register",
)


def written_out(text: str) -> str:
    """The text of a module with a gate for each of its system calls. Line numbers stay: what is new stands below."""
    tree = ast.parse(text)
    if not any(isinstance(node, ast.ImportFrom) and node.module == TABLE for node in tree.body):
        return text
    lines = text.split("\n")
    found: list[tuple[ast.FunctionDef, ast.Call]] = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or len(node.decorator_list) != 1:
            continue
        decorator = node.decorator_list[0]
        if not isinstance(decorator, ast.Call) or getattr(decorator.func, "id", "") != "syscall":
            continue
        found.append((node, decorator))
        lines[decorator.lineno - 1 : node.lineno - 1] = [""] * (node.lineno - decorator.lineno)
        lines[node.lineno - 1] = lines[node.lineno - 1].replace(f"def {node.name}(", f"def _{node.name}(", 1)
    names = {node.name for node, _ in found}

    def bare(use: re.Match[str]) -> str:
        return f"_{use[1]}" if use[1] in names else use[0]

    lines = [re.sub(r"\b(sys_\w+)\.handler\b", bare, line) for line in lines]
    if found:
        lines += IMPORTS
    for node, decorator in found:
        lines.append(entry(node, decorator))
    return "\n".join(lines)


def entry(node: ast.FunctionDef, decorator: ast.Call) -> str:
    """The entry of one handler, and its registration."""
    arguments = node.args
    taken = arguments.args[1:]
    if arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
        raise ValueError(f"{node.name}: a system call has plain arguments")
    defaults: list[ast.expr | None] = [None] * (len(taken) - len(arguments.defaults)) + [*arguments.defaults]
    parameters = ["task: _Task"]
    for argument, default in zip(taken, defaults):
        parameters.append(f"{argument.arg}: Any" + (f" = {ast.unparse(default)}" if default is not None else ""))
    number = getattr(node.returns, "id", "") == "int"
    source = gate(
        node.name, ", ".join(parameters), [argument.arg for argument in taken], f"_call_{node.name}", f"_{node.name}",
        "_Foreign", "_Interrupted", " -> int" if number else " -> Any",
    )  # fmt: skip
    words = [ast.unparse(argument) for argument in decorator.args]
    words += [f"{keyword.arg}={ast.unparse(keyword.value)}" for keyword in decorator.keywords]
    return f"{source}\n_call_{node.name} = _register(_{node.name}, {node.name}, {', '.join(words)})\n"
