"""Files that are imported by --import: as what they are called, unless something else is called that."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tools
from terrella.testing.origins import load_file


@pytest.fixture
def own() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.path[:] = path


def file(where: Path, name: str) -> str:
    (where / name).write_text("import sys\nsys.ran = [*getattr(sys, 'ran', ()), __name__]\n")
    return str(where / name)


@pytest.mark.parametrize("name", ["time", "tools", "wave", "userland"])
def test_another_modules_name(name: str, tmp_path: Path, own: None) -> None:
    """Built in, loaded, of the standard library and not loaded, ours: each is still what it was."""
    with pytest.raises(ValueError, match=f"another module '{name}': give the file another name"):
        load_file(file(tmp_path, f"{name}.py"))
    assert sys.modules["time"] is time and sys.modules["tools"] is tools and not hasattr(sys, "ran")


def test_a_name_of_its_own(tmp_path: Path, own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, by whatever path; a folder of that name is in nobody's way."""
    monkeypatch.setattr(sys, "ran", [], raising=False)
    (tmp_path / "calm_one").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    path = file(tmp_path / "calm_one", "calm_one.py")
    (tmp_path / "link").symlink_to(tmp_path / "calm_one")
    for again in (path, str(tmp_path / "link" / "calm_one.py")):
        load_file(again)
    assert sys.ran == ["calm_one"]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="give the file another name"):
        load_file(file(tmp_path, "calm_one.py"))
