"""Compile the hot modules with mypyc: `python -m tools.compile`, or `make fast`.

docs/explanation/compiled.md says what that is good for. The modules listed in `MODULES` are translated to C and built
into one shared library under build/fast (a folder for each Python), with a small module for each beside it, which
csrc/compiled.py has imported in place of the Python. The sources are not touched, and stay the truth: the manifest
holds what they were.

In front of mypyc stands one change to a copy of the text: a name of a module that is bound once, to an integer, becomes
`Final`. mypyc then writes its value where it is used; else each use is a lookup in the module's dictionary.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import fcntl
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from csrc import compiled
from drivers.clock import wall_ns

ROOT = compiled.ROOT
ROOMS = ("csrc", "drivers", "netstack", "kernel", "userland", "terrella")
GROUP = "terrella_fast"

WHOLE = ("netstack",)
"""Rooms that are compiled but for what `LEFT` names."""
LEFT = {
    "netstack/__init__.py", "netstack/tcp/__init__.py",  # nothing to run
    "netstack/settings.py", "netstack/tcp/info.py",  # attributes made from tables
    "netstack/tcp/why.py", "netstack/tcp/guard.py",  # not on the way of a segment
}  # fmt: skip
CHOSEN = (
    "csrc/frame.py", "drivers/capture.py", "drivers/clock.py", "drivers/net/direction.py",
    "drivers/net/tap.py", "drivers/net/wire.py",
    "kernel/fs/eventfd.py", "kernel/fs/fdtable.py", "kernel/fs/file.py", "kernel/fs/poll.py", "kernel/fs/user.py",
    "kernel/ipc/pipe.py", "kernel/net/netif.py", "kernel/net/overload.py", "kernel/net/socket.py",
    "kernel/sched/cpu.py", "kernel/sched/eevdf.py", "kernel/sched/fixed.py", "kernel/sched/loadavg.py",
    "kernel/sched/meter.py", "kernel/sched/policy.py", "kernel/sched/priority.py", "kernel/sched/rr.py",
    "kernel/sched/runqueue.py", "kernel/sched/scheduler.py", "kernel/sched/wait.py",
    "kernel/syscall/buffers.py", "kernel/syscall/file.py", "kernel/syscall/poll.py", "kernel/syscall/socket.py",
    "kernel/task.py",
)  # fmt: skip


def modules() -> list[str]:
    """The files of the group, relative to the checkout."""
    found = {path.relative_to(ROOT).as_posix() for room in WHOLE for path in (ROOT / room).rglob("*.py")}
    return sorted(found - LEFT | set(CHOSEN))


DIRECT = ("-Wl,-Bsymbolic-functions", "-Wl,-z,now")
"""For the linker: within the library, calls go to their functions and not through a table."""
OPEN = ("Reno", "Cubic")
"""Classes that programs of others derive from."""

MODULES = modules()
MYPY = "[mypy]\npython_version = 3.11\nignore_missing_imports = True\n"
BESIDE = ("tools/compile.py", "csrc/trl.h", "csrc/build.py", "kernel/abi.py")
"""What else the result depends on: this file, and where the leaves' and Linux's constants come from."""
NUMBERS = "kernel.abi"
"""The module whose integers are written out where they are used, though it is not compiled itself."""


# The copy.


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def bindings(tree: ast.Module) -> dict[str, int]:
    """How often each name of the module is bound, or may be: by a statement of the module, or `global`."""
    count: dict[str, int] = {}

    def add(name: str, times: int = 1) -> None:
        count[name] = count.get(name, 0) + times

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            add(node.name)
            return
        if isinstance(node, ast.Lambda):
            return
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            add(node.id)
        elif isinstance(node, ast.alias):
            add((node.asname or node.name).split(".")[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            for name in node.names:
                add(name, 2)
    return count


def declare(node: ast.ClassDef, values: dict[str, Any], lines: list[str]) -> None:
    """Slots that are computed hold integers: write them out as declarations. What is said for the type checker only,
    `__getattr__` that is, goes.
    """
    for statement in node.body:
        first, last = statement.lineno - 1, statement.end_lineno or statement.lineno
        if isinstance(statement, ast.If) and getattr(statement.test, "id", "") == "TYPE_CHECKING":
            lines[first:last] = [""] * (last - first)
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Name):
            continue
        if isinstance(statement.targets[0], ast.Name) and statement.targets[0].id == "__slots__":
            names = values[node.name].__slots__
            lines[first] = " " * statement.col_offset + "; ".join(f"{name}: int" for name in names)


def prepared(text: str, values: dict[str, Any], inherited: set[str]) -> str:
    """The text of a module with the integers that it binds once written out as `Final`, with its classes of these
    names open to subclasses that are not compiled, and with slots declared. Line numbers stay.
    """
    tree = ast.parse(text)
    count = bindings(tree)
    lines = text.split("\n")
    imports = set()
    at = 0
    write_out(tree, values, lines)
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            at = statement.lineno
        if isinstance(statement, ast.ClassDef) and statement.name in inherited:
            first = min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
            lines[first - 2] = "@_attr(allow_interpreted_subclasses=True)"  # a line that was empty, or a comment
            imports.add("from mypy_extensions import mypyc_attr as _attr")
        if isinstance(statement, ast.ClassDef):
            declare(statement, values, lines)
        if isinstance(statement, ast.ImportFrom) and statement.module == NUMBERS:
            numbers = [a.asname or a.name for a in statement.names if type(values[a.asname or a.name]) is int]
            numbers = [name for name in numbers if count[name] == 1]
            rest = [ast.unparse(a) for a in statement.names if (a.asname or a.name) not in numbers]
            written = "; ".join(
                [f"from {NUMBERS} import {', '.join(rest)}"] * bool(rest)
                + [f"{name}: _Final = {values[name]!r}" for name in numbers]
            )
            start, end = statement.lineno - 1, statement.end_lineno or statement.lineno
            lines[start:end] = [written] + [""] * (end - start - 1)
            imports.add("from typing import Final as _Final")
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        else:
            continue
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        names = [part.id for part in parts if isinstance(part, ast.Name)]
        if len(names) != len(parts) or any(count[name] != 1 for name in names):
            continue
        if any(type(values.get(name)) not in (int, bool) for name in names):
            continue
        start, end = statement.lineno - 1, statement.end_lineno or statement.lineno
        written = "; ".join(f"{name}: _Final = {values[name]!r}" for name in names)
        lines[start:end] = [written] + [""] * (end - start - 1)
        imports.add("from typing import Final as _Final")
    if imports and not at:
        raise ValueError("a module to be compiled begins with `from __future__ import annotations`")
    if imports:
        lines[at - 1] = "; ".join([lines[at - 1], *sorted(imports)])
    return "\n".join(lines)


def write_out(tree: ast.Module, values: dict[str, Any], lines: list[str]) -> None:
    """Integers of `NUMBERS` that are used as `abi.NAME`: their values in place of that."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        module = values.get(node.value.id)
        if getattr(module, "__name__", "") != NUMBERS or node.lineno != node.end_lineno:
            continue
        line, name = lines[node.lineno - 1], f"{node.value.id}.{node.attr}"
        value = getattr(module, node.attr)
        at = node.col_offset
        shown = f"({value})"
        if type(value) is int and line.isascii() and line[at : node.end_col_offset] == name and len(shown) <= len(name):
            # As wide as before, so that what follows on the line is found.
            lines[node.lineno - 1] = line[:at] + shown.ljust(len(name)) + line[node.end_col_offset :]


def bases(node: ast.ClassDef) -> list[str]:
    return [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases]


def inherited(texts: dict[str, str]) -> set[str]:
    """Names of the classes that modules which are not compiled derive from, and of what these derive from."""
    classes = [
        (name in MODULES, node)
        for name, text in texts.items() for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)
    ]  # fmt: skip
    found = {base for within, node in classes if not within for base in bases(node)}
    found.update(OPEN)
    while True:
        more = {base for within, node in classes if within and node.name in found for base in bases(node)} - found
        if not more:
            return found
        found |= more


def copy_sources(to: Path) -> dict[str, tuple[int, int, str]]:
    """Every room, the modules to be compiled prepared for it. A file that would be the same is left alone. What the
    manifest says of the sources.
    """
    stats = {}
    texts = {}
    every = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    for path in [*every, *(ROOT / name for name in BESIDE)]:
        name = path.relative_to(ROOT).as_posix()
        found = path.stat()
        data = path.read_bytes()
        if name in MODULES or name in BESIDE:
            stats[name] = (found.st_size, found.st_mtime_ns, hashlib.sha256(data).hexdigest())
        if name not in BESIDE:
            texts[name] = data.decode()
    open_classes = inherited(texts)
    for name in MODULES:
        values = vars(importlib.import_module(module_name(name)))
        texts[name] = prepared(texts[name], values, open_classes)
    kept = {write(to / name, text) for name, text in texts.items()}
    for path in to.rglob("*.py"):
        if path not in kept:
            path.unlink()
    return stats


def write(path: Path, text: str) -> Path:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


# mypyc and the C compiler.


def widen() -> None:
    """Have mypyc take every `bytes` and `bytearray` for an object, in signatures, attributes and variables alike.

    A memoryview is an object to it anyhow, and buffers come as any of the three: hinting one where another comes would
    be a TypeError on a path that is rarely gone. What is lost is mypyc's own indexing of bytes, which matters nowhere.
    """
    from mypyc.ir.rtypes import bytearray_rprimitive, bytes_rprimitive, object_rprimitive
    from mypyc.irbuild import mapper

    names = ("bytes_rprimitive", "bytearray_rprimitive")
    if [getattr(mapper, name, None) for name in names] != [bytes_rprimitive, bytearray_rprimitive]:
        raise SystemExit("this mypyc maps hints of buffers in another way: tools/compile.py, widen()")
    for name in names:
        setattr(mapper, name, object_rprimitive)


@contextlib.contextmanager
def inside(directory: Path) -> Iterator[None]:
    """mypyc wants to stand where the modules' names begin."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def translate(source: Path, c: Path) -> list[Any]:
    """The C of the modules; what is to be built from it, as setuptools' Extensions. SystemExit with mypyc's words."""
    from mypyc.build import mypycify

    widen()
    said = io.StringIO()
    try:
        with inside(source), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found: list[Any] = mypycify(
                ["--config-file", "mypy.ini", *MODULES],
                opt_level="2", debug_level="0", multi_file=True, target_dir=str(c), group_name=GROUP,
            )  # fmt: skip
    except SystemExit:
        words = [line for line in said.getvalue().splitlines() if ": warning:" not in line]
        raise SystemExit("\n".join(["mypyc cannot compile this:", *words])) from None
    return found


def build(extensions: list[Any], source: Path, objects: Path, to: Path) -> dict[str, str]:
    """Compile and link. What was compiled before from the same text is not compiled again. {module: file}"""
    import mypyc.build

    runtime = Path(mypyc.build.__file__).parent / "lib-rt"
    config = sysconfig.get_config_vars()
    include = ["-I" + str(runtime), "-I" + sysconfig.get_paths()["include"]]
    flags = [os.environ.get("FASTOPT", "-O2"), "-fPIC", "-fno-semantic-interposition", "-fwrapv", "-DNDEBUG", "-w"]
    # Of what these declare mypyc includes the code but, with several files, not the declarations.
    flags += ["-include", "CPy.h", "-include", "bytes_extra_ops.h", "-include", "bytearray_extra_ops.h"]
    suffix = config["EXT_SUFFIX"]
    compiler = c_compiler()
    objects.mkdir(parents=True, exist_ok=True)
    seen = hashlib.sha256()
    for extension in extensions:
        for header in sorted(extension.depends):
            seen.update((source / header).read_bytes())

    def compiled_object(path: Path, more: list[str]) -> Path:
        command = [*compiler, *flags, *more, *include, "-c", str(path), "-o"]
        key = seen.copy()
        key.update(path.read_bytes())
        key.update("\0".join(command).encode())
        made = objects / f"{key.hexdigest()[:32]}.o"
        if not made.exists():
            partial = made.with_suffix(".tmp")
            run([*command, str(partial)])
            partial.rename(made)
        made.touch()
        return made

    files: dict[str, str] = {}
    used: set[Path] = set()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = []
        for extension in extensions:
            more = ["-I" + str(source / d) for d in extension.include_dirs]
            paths = [source / path for path in extension.sources]
            paths.sort(key=lambda path: -path.stat().st_size)
            jobs.append((extension, [pool.submit(compiled_object, path, more) for path in paths]))
        for extension, waiting in jobs:
            file = extension.name.replace(".", "/") + suffix
            made = [job.result() for job in waiting]
            used.update(made)
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared", *DIRECT]
            run([*compiler, *shared, *map(str, made), "-o", str(to / file)])
            files[extension.name] = file
    for path in objects.iterdir():
        if path not in used:
            path.unlink()
    return files


def c_compiler() -> list[str]:
    """The command, as make has it: CC, or what Python was compiled with."""
    return (os.environ.get("CC") or str(sysconfig.get_config_vars()["CC"])).split()


def run(command: list[str]) -> None:
    if subprocess.run(command).returncode:
        raise SystemExit(f"{command[0]} failed: {' '.join(command[-3:])}")


def up_to_date(directory: Path) -> bool:
    manifest, why = compiled.state(directory)
    return not why and sorted(manifest["sources"]) == sorted([*MODULES, *BESIDE])


def compile_all(directory: Path) -> None:
    """What is there stays in use until the new is complete, and also afterwards for who runs with it: libraries lie in
    folders of their own, and the last two are kept.
    """
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        raise SystemExit("Python.h is needed to compile (Debian: python3-dev)")
    if shutil.which(c_compiler()[0]) is None:
        what = "a C compiler is needed (Debian: gcc libc6-dev), or its name in CC"
        raise SystemExit(f"{c_compiler()[0]} is not there: {what}")
    source = directory / "src"
    stats = copy_sources(source)
    write(source / "mypy.ini", MYPY)
    extensions = translate(source, directory / "c")
    fresh = directory / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    files = build(extensions, source, directory / "o", fresh)
    library = next(name for name in files if name.endswith("__mypyc"))
    digest = hashlib.sha256(b"".join((fresh / file).read_bytes() for file in files.values())).hexdigest()[:16]
    where = directory / f"lib-{digest}"
    if where.exists():
        shutil.rmtree(fresh)
    else:
        fresh.rename(where)
    modules = {name.removesuffix(".__init__"): f"{where.name}/{file}" for name, file in files.items()}
    manifest = {
        "form": compiled.form(), "sources": stats, "modules": modules, "library": library,
        "files": {file: (directory / file).stat().st_size for file in modules.values()},
    }  # fmt: skip
    record = directory / compiled.MANIFEST
    before = compiled.state(directory)[0].get("modules", {}).get(library, "").split("/")[0]
    partial = record.with_suffix(".tmp")
    partial.write_text(json.dumps(manifest, indent=1) + "\n")
    partial.rename(record)
    (directory / compiled.TOLD).unlink(missing_ok=True)
    for old in directory.glob("lib-*"):
        if old.name not in (where.name, before):
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """One build at a time; SystemExit where nothing can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise SystemExit(f"{error.filename}: {error.strerror}: what is compiled is kept there") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("another build is under way: waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    about = "Compile the hot modules with mypyc; they are used from then on, while their sources stay as they are."
    parser = argparse.ArgumentParser(prog="python -m tools.compile", description=about)
    parser.add_argument("--check", action="store_true", help="only see whether mypyc takes the modules")
    parser.add_argument("--force", action="store_true", help="compile also when nothing has changed")
    args = parser.parse_args()
    if os.environ.get("TERRELLA_COMPILED") != "0":  # the values of constants come from the Python
        environ = {**os.environ, "TERRELLA_COMPILED": "0"}
        os.execve(sys.executable, [sys.executable, "-m", "tools.compile", *sys.argv[1:]], environ)
    try:
        importlib.import_module("mypyc.build")
    except ImportError:
        print("mypyc is not installed: pip install -e '.[fast]', or `make fast`", file=sys.stderr)
        return 2
    if args.check:
        with tempfile.TemporaryDirectory(prefix="terrella-compile-") as directory:
            source = Path(directory) / "src"
            copy_sources(source)
            write(source / "mypy.ini", MYPY)
            translate(source, Path(directory) / "c")
        return 0
    if not args.force and up_to_date(compiled.DIRECTORY):
        return 0
    with alone(compiled.DIRECTORY):
        if args.force or not up_to_date(compiled.DIRECTORY):
            start = wall_ns()
            print(f"compiling {len(MODULES)} modules (some minutes)", file=sys.stderr, flush=True)
            compile_all(compiled.DIRECTORY)
            print(f"compiled in {(wall_ns() - start) / 1e9:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
