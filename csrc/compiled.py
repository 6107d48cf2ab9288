"""The compiled rooms: `python -m tools.compile` turns the hot modules into machine code, and this finds them.

What is compiled is made from the Python beside it and is used only while it matches: when a source of the group has
changed since, or it cannot be loaded, all of it is left alone and the Python runs. Either gives the same answers. On a
terminal one line says so, the first time after it was built.

TERRELLA_COMPILED: auto, which is also what holds when it is not set, uses it where it matches; 0 never does; 1 insists
(ImportError says why it cannot be used).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from _cffi_backend import __version__ as cffi_version  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = ROOT / "build" / "fast" / str(sys.implementation.cache_tag)
MANIFEST = "manifest.json"
TOLD = "told"
"""In the directory: that it was said that what is there is not used."""
RENEW = "`make fast` compiles it again"


def form() -> str:
    """What this interpreter is and what compiled code depends on beyond the sources."""
    machine = getattr(sys.implementation, "_multiarch", sys.platform)
    return f"{sys.implementation.cache_tag}{sys.abiflags} {machine} {sys.version} cffi {cffi_version}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def changed(manifest: dict[str, Any], root: Path = ROOT) -> str:
    """Why what was compiled is not what would be compiled now; "" when it is. A source is read only when its time of
    modification is not as it was."""
    if manifest["form"] != form():
        return "the compiled form is for another Python"
    for name, (size, mtime_ns, sha) in manifest["sources"].items():
        path = root / name
        try:
            found = path.stat()
        except FileNotFoundError:
            return f"the compiled form is of a {name} that is gone"
        if found.st_size != size or (found.st_mtime_ns != mtime_ns and digest(path) != sha):
            return f"the compiled form is older than {name}"
    return ""


class Loader(ExtensionFileLoader):
    """Loads one module. Of a package, the modules that are not compiled lie where they always did."""

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        search = spec.submodule_search_locations if spec is not None else None
        super().exec_module(module)
        if search is not None:
            module.__path__ = search


class Finder:
    """Finds the modules of the manifest among the compiled ones; everything else is left to others."""

    def __init__(self, directory: Path, modules: dict[str, str], root: Path) -> None:
        self.directory = directory
        self.modules = modules
        self.root = root

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self.modules.get(name)
        if file is None:
            return None
        where = str(self.directory / file)
        search = None
        if Path(file).name.startswith("__init__."):
            search = [str(self.root.joinpath(*name.split(".")))]
        return spec_from_file_location(name, where, loader=Loader(name, where), submodule_search_locations=search)


def state(directory: Path = DIRECTORY, root: Path = ROOT) -> tuple[dict[str, Any], str]:
    """The manifest ({} when nothing is compiled), and why what it tells of cannot be used ("" when it can)."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        return manifest, changed(manifest, root)
    except FileNotFoundError:
        return {}, "nothing is compiled"
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return {}, f"the manifest of the compiled form cannot be read ({error!r})"


def load(directory: Path, manifest: dict[str, Any], root: Path) -> str:
    """Have the modules found, and load the library that they share; why it cannot be ("" when it can)."""
    for file, size in manifest.get("files", {}).items():
        try:
            found = (directory / file).stat().st_size
        except OSError as error:
            return f"of the compiled form {file} cannot be read ({error.strerror})"
        if found != size:
            return f"of the compiled form {file} is damaged"
    finder = Finder(directory, manifest["modules"], root)
    sys.meta_path.insert(0, finder)
    library = manifest.get("library")
    try:
        if library:
            import_module(library)
    except Exception as error:
        sys.meta_path.remove(finder)
        return f"the compiled form cannot be loaded ({error})"
    return ""


def watched() -> bool:
    """Whether somebody reads what is said."""
    return sys.stderr is not None and sys.stderr.isatty()


def tell(directory: Path, why: str) -> None:
    """Once for what was compiled, and never where that cannot be noted, or where nobody reads along."""
    told = directory / TOLD
    if told.exists() or not watched():
        return
    with contextlib.suppress(OSError):
        told.write_text(why)
        print(f"terrella: {why}; the Python is used, {RENEW}", file=sys.stderr)


def use(wanted: str, directory: Path = DIRECTORY, root: Path = ROOT) -> bool:
    """Have the compiled modules imported from now on, if any may be used. `wanted`: "0", "1" or "auto"."""
    if wanted == "0":
        return False
    manifest, why = state(directory, root)
    early = [name for name in manifest.get("modules", ()) if name in sys.modules]
    if early:
        why = f"{early[0]} was imported before its room"
    if not why:
        why = load(directory, manifest, root)
    if not why:
        return True
    if wanted == "1":
        raise ImportError(f"TERRELLA_COMPILED=1, but {why}: {RENEW}")
    if manifest:
        tell(directory, why)
    return False


in_use = use(os.environ.get("TERRELLA_COMPILED") or "auto")
"""Whether the compiled modules are used in this process."""
