"""Compile the hot modules with mypyc: `python -m tools.compile`, or `make fast`.

docs/explanation/compiled.md says what that is good for. The modules listed in `MODULES` are translated to C and built
into one shared library under build/fast (a folder for each Python), with a small module for each beside it, which
csrc/compiled.py has imported in place of the Python. The sources are not touched, and stay the truth: the manifest
holds what they were.

In front of mypyc stand changes to a copy of the text: a name of a module that is bound once, to an integer or a string,
becomes `Final`. mypyc then writes its value where it is used; else each use is a lookup in the module's dictionary. And
the gates of system calls are written out (tools/gates.py).
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
import re
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
from tools.gates import written_out
from tools.straight import STRAIGHT_H, copiers, go_straight, leaves, shape, unpackers

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
FLAGS = ("-O2", "-fPIC", "-fno-semantic-interposition", "-fwrapv", "-DNDEBUG", "-w")
COUNTING = ("-fprofile-generate", "-fprofile-update=single")
COUNTED = ("-fprofile-use", "-Wno-error=coverage-mismatch", "-fprofile-partial-training")
"""With the second the counts of a function that has changed since are passed over. Without the third, code that has no
counts is compiled to be small and put far away: also such that has lost them on the compiler's way, by jump threading.
"""
TOGETHER = ("-flto", "-fno-fat-lto-objects")
"""With a profile the linker has the compiler look at all files at once: who is called often, and from one place, is
written out there, and who call each other lie together.
"""
TRAINING_S = 300
"""It takes some seconds."""
PROFILE = "profile.json"
MOSTLY = 0.75
"""While so much of the C is what was counted, a profile is kept: so an edit is compiled in seconds."""
OPEN = ("Reno", "Cubic")
"""Classes that programs of others derive from."""

MODULES = modules()
MYPY = "[mypy]\npython_version = 3.11\nignore_missing_imports = True\n"
BESIDE = (
    "tools/compile.py", "tools/gates.py", "tools/straight.py", "tools/training.py", "csrc/build.py", "kernel/abi.py",
    "kernel/syscall/gate.py",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").glob("*.[ch]") if path.stem[0] != "_"),
)  # fmt: skip
"""What else the result depends on: how it is made, the leaves, and where Linux's constants come from."""
FLEETING = {
    "csrc.frame.Frame", "kernel.fs.file.File", "kernel.fs.poll.EpItem", "kernel.net.socket.SocketState",
    "kernel.syscall.buffers.BytesSink", "kernel.syscall.buffers.WholeSource", "netstack.timers.Timer",
    "netstack.tcp.listener.Request", "netstack.tcp.scoreboard.AckState", "netstack.tcp.scoreboard.Head",
    "netstack.tcp.scoreboard.Sent", "netstack.tcp.socket.TcpSocket",
}  # fmt: skip
"""Classes whose objects come and go with each packet, call or connection: the last that went is the next that comes."""
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
    """The text of a module with the integers and strings that it binds once written out as `Final`, with its classes of
    these names open to subclasses that are not compiled, and with slots declared. Line numbers stay.
    """
    tree = ast.parse(text)
    count = bindings(tree)
    lines = text.split("\n")
    imports = set()
    at = 0
    write_out(tree, values, lines)
    straight = {**dict.fromkeys(leaves(values), "int"), **dict.fromkeys(copiers(values), "bytes")}
    straight.update((name, shape(of)) for name, of in unpackers(values).items())
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            at = statement.lineno
        if isinstance(statement, ast.ClassDef):
            kind = f"{values.get('__name__')}.{statement.name}"
            words = ["allow_interpreted_subclasses=True"] * (statement.name in inherited)
            words += ["free_list_len=1"] * (kind in FLEETING)
            if words:
                first = min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
                lines[first - 2] = f"@_attr({', '.join(words)})"  # a line that was empty, or a comment
                imports.add("from mypy_extensions import mypyc_attr as _attr")
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
        if names[:1] and names[0] in straight and count[names[0]] == 1 and statement.value is not None:
            gives = f"_Final[_Callable[..., {straight[names[0]]}]]"
            lines[statement.lineno - 1] = f"{names[0]}: {gives} = {ast.unparse(statement.value)}"
            imports.update(["from typing import Final as _Final", "from collections.abc import Callable as _Callable"])
        if len(names) != len(parts) or any(count[name] != 1 for name in names):
            continue
        if any(type(values.get(name)) not in (int, bool, str) for name in names):
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
        texts[name] = prepared(written_out(texts[name]), values, open_classes)
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
    write(c / STRAIGHT_H, go_straight([module_name(name) for name in MODULES]))
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


Profiles = dict[Path, Path]
"""For each file of C the counts of a run."""


def build(
    extensions: list[Any], source: Path, objects: Path, to: Path, counts: bool = False, profiles: Profiles | None = None
) -> tuple[dict[str, str], dict[Path, Path]]:
    """Compile and link: {module: file}, {file of C: object}. What was compiled before from the same is not compiled
    again. With `counts` the result counts which way it goes; `profiles` tells the compiler what was counted.
    """
    import mypyc.build

    from csrc.build import LEAVES

    runtime = Path(mypyc.build.__file__).parent / "lib-rt"
    config = sysconfig.get_config_vars()
    csrc = ROOT / "csrc"
    include = ["-I" + str(runtime), "-I" + sysconfig.get_paths()["include"], "-I" + str(csrc)]
    straight = source.parent / "c" / STRAIGHT_H
    together = list(TOGETHER) if profiles is not None else []
    # Of what these declare mypyc includes the code but, with several files, not the declarations.
    flags = [*FLAGS, *(COUNTING if counts else [])]
    for header in ("CPy.h", "bytes_extra_ops.h", "bytearray_extra_ops.h", str(straight)):
        flags += ["-include", header]
    suffix = config["EXT_SUFFIX"]
    compiler = c_compiler()
    objects.mkdir(parents=True, exist_ok=True)
    seen = hashlib.sha256()
    for extension in extensions:
        for header in sorted(extension.depends):
            seen.update((source / header).read_bytes())
    for path in (straight, *sorted(csrc.glob("*.h"))):
        seen.update(path.read_bytes())
    beside = [csrc / name for name in (*LEAVES, "tap.c", "direct.c")] if straight.stat().st_size else []

    def compiled_object(path: Path, more: list[str]) -> Path:
        leaf = path.parent == csrc and path.name != "direct.c"  # not counted: some run before the library is ready
        command = [*compiler, *([*FLAGS, "-O3"] if leaf else flags), *together, *more, *include]
        profile = profiles.get(path) if profiles is not None else None
        key = seen.copy()
        key.update(path.read_bytes())
        key.update("\0".join(command).encode())
        if profile is not None:
            key.update(profile.read_bytes())
            command += COUNTED
        made = objects / f"{key.hexdigest()[:32]}.o"
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=objects) as partial:
                into = Path(partial, made.name)
                if profile is not None:  # it is looked for beside the object
                    shutil.copy(profile, into.with_suffix(".gcda"))
                run([*command, "-c", str(path), "-o", str(into)])
                into.rename(made)
        made.touch()
        return made

    files: dict[str, str] = {}
    used: dict[Path, Path] = {}
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        jobs = []
        for extension in extensions:
            more = ["-I" + str(source / d) for d in extension.include_dirs]
            paths = [source / path for path in extension.sources]
            if extension.name.endswith("__mypyc"):
                paths += beside
            paths.sort(key=lambda path: -path.stat().st_size)
            jobs.append((extension, [(path, pool.submit(compiled_object, path, more)) for path in paths]))
        for extension, waiting in jobs:
            file = extension.name.replace(".", "/") + suffix
            made = {path: job.result() for path, job in waiting}
            used.update(made)
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared", *DIRECT]
            more = list(COUNTING) if counts else [*FLAGS, *COUNTED, *together, f"-flto={cores}"] if together else []
            run([*compiler, *shared, *more, *map(str, made.values()), "-o", str(to / file)])
            files[extension.name] = file
    kept = {*used.values()}
    for path in objects.iterdir():
        if path.is_dir():  # of a build that was cut short
            shutil.rmtree(path)
        elif path not in kept:
            path.unlink()
    return files, used


def c_compiler() -> list[str]:
    """The command, as make has it: CC, or what Python was compiled with."""
    return (os.environ.get("CC") or str(sysconfig.get_config_vars()["CC"])).split()


def run(command: list[str]) -> None:
    if subprocess.run(command).returncode:
        raise SystemExit(f"{command[0]} failed: {' '.join(command[-3:])}")


def up_to_date(directory: Path) -> bool:
    manifest, why = compiled.state(directory)
    return not why and sorted(manifest["sources"]) == sorted([*MODULES, *BESIDE])


def compile_all(directory: Path, profile: bool = True, anew: bool = False) -> None:
    """With a profile, counted `anew` or kept from before. What is there stays in use until the new is complete, and
    also afterwards for who runs with it: libraries lie in folders of their own, and the last two are kept.
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
    profiles = profile_of(extensions, source, directory / "training", stats, anew) if profile else None
    fresh = directory / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    files, _ = build(extensions, source, directory / "o", fresh, profiles=profiles)
    digest = hashlib.sha256(b"".join((fresh / file).read_bytes() for file in files.values())).hexdigest()[:16]
    where = directory / f"lib-{digest}"
    if where.exists():
        shutil.rmtree(fresh)
    else:
        fresh.rename(where)
    before = compiled.state(directory)[0]
    record(directory, where, files, stats)
    last = before.get("modules", {}).get(before.get("library"), "").split("/")[0]
    (directory / compiled.TOLD).unlink(missing_ok=True)
    for old in directory.glob("lib-*"):
        if old.name not in (where.name, last):
            shutil.rmtree(old, ignore_errors=True)


def record(directory: Path, where: Path, files: dict[str, str], stats: dict[str, tuple[int, int, str]]) -> None:
    """The manifest: from now on `files`, which lie in `where`, are what is used."""
    library = next(name for name in files if name.endswith("__mypyc"))
    modules = {name.removesuffix(".__init__"): f"{where.name}/{file}" for name, file in files.items()}
    manifest = {
        "form": compiled.form(), "sources": stats, "modules": modules, "library": library,
        "files": {file: (directory / file).stat().st_size for file in modules.values()},
    }  # fmt: skip
    path = directory / compiled.MANIFEST
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(manifest, indent=1) + "\n")
    partial.rename(path)


# The profile.


def profile_of(
    extensions: list[Any], source: Path, directory: Path, stats: dict[str, tuple[int, int, str]], anew: bool
) -> Profiles | None:
    """What was counted: before, while most of the C is as it was then (a function that is not has no counts, and is
    compiled without), else now. None where that cannot be.
    """
    texts = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in c_files(extensions, source)}
    form = [compiled.form(), *c_compiler(), *FLAGS, compiled.digest(ROOT / "tools" / "training.py")]
    try:
        kept = json.loads((directory / PROFILE).read_text())
        same = sum(kept["texts"].get(str(path)) == text for path, text in texts.items())
        if not anew and kept["form"] == form and same >= MOSTLY * len(texts):
            found = {Path(path): directory / "counts" / name for path, name in kept["counts"].items()}
            return {path: counts for path, counts in found.items() if counts.exists()}
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        pass  # there is none
    objects = trained(extensions, source, directory, stats)
    if objects is None:
        return None
    found = {path: directory / "counts" / made.with_suffix(".gcda").name for path, made in objects.items()}
    found = {path: counts for path, counts in found.items() if counts.exists()}
    made = {
        "form": form, "texts": {str(path): text for path, text in texts.items()},
        "counts": {str(path): counts.name for path, counts in found.items()},
    }  # fmt: skip
    (directory / PROFILE).write_text(json.dumps(made))
    return found


def trained(
    extensions: list[Any], source: Path, directory: Path, stats: dict[str, tuple[int, int, str]]
) -> dict[Path, Path] | None:
    """Build what counts, and run tools/training.py with it: the objects of the files of C. None, and a line that says
    why, where the compiler does not do that, or the run fails.
    """
    counts = directory / "counts"
    try:
        if not is_gcc():
            raise SystemExit(f"{c_compiler()[0]} is not gcc")
        files, objects = build(extensions, source, directory / "o", directory / "lib", counts=True)
        record(directory, directory / "lib", files, stats)
        (directory / PROFILE).unlink(missing_ok=True)
        shutil.rmtree(counts, ignore_errors=True)
        counts.mkdir()
        environ = {
            **os.environ, "TERRELLA_COMPILED": "0", "PYTHONHASHSEED": "0",
            "GCOV_PREFIX": str(counts), "GCOV_PREFIX_STRIP": "99",
        }  # fmt: skip
        command = [sys.executable, "-m", "tools.training", str(directory)]
        done = subprocess.run(command, env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=TRAINING_S)
        if done.returncode:
            raise SystemExit(f"the training ended with status {done.returncode}")
    except (SystemExit, OSError, subprocess.TimeoutExpired) as why:
        print(f"compiling without a profile: {why}", file=sys.stderr, flush=True)
        return None
    return objects


def c_files(extensions: list[Any], source: Path) -> list[Path]:
    return [source / path for extension in extensions for path in extension.sources]


def is_gcc() -> bool:
    """Whether the compiler takes gcc's profiles, as gcc 10 has them (clang, which has others, calls itself gcc 4)."""
    said = subprocess.run([*c_compiler(), "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True).stdout
    version = re.search(r"__GNUC__ (\d+)", said)
    return version is not None and int(version[1]) >= 10 and "__clang__" not in said


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
    parser.add_argument("--force", action="store_true", help="compile also when nothing has changed, and train anew")
    parser.add_argument("--no-profile", action="store_true", help="without a training run: faster to build")
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
            compile_all(compiled.DIRECTORY, not args.no_profile, args.force)
            print(f"compiled in {(wall_ns() - start) / 1e9:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
