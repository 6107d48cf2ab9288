"""The loader of compiled modules: what it uses, and what it leaves alone."""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csrc import _leaves, compiled

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


@pytest.fixture
def room(tmp_path: Path) -> dict[str, Any]:
    """A checkout with one source, and the manifest of what was compiled from it."""
    source = tmp_path / "room" / "hot.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    found = source.stat()
    return {
        "root": tmp_path,
        "source": source,
        "manifest": {
            "form": compiled.form(),
            "sources": {"room/hot.py": [found.st_size, found.st_mtime_ns, compiled.digest(source)]},
            "modules": {},
        },
    }


def test_what_was_not_touched_is_used(room: dict[str, Any]) -> None:
    assert compiled.changed(room["manifest"], room["root"]) == ""


def test_a_touch_alone_does_no_harm(room: dict[str, Any]) -> None:
    os.utime(room["source"], ns=(1, 1))
    assert compiled.changed(room["manifest"], room["root"]) == ""


@pytest.mark.parametrize("text", ["x = 2\n", "x = 10\n"])
def test_an_edit_is_seen(room: dict[str, Any], text: str) -> None:
    room["source"].write_text(text)
    os.utime(room["source"], ns=(1, 1))
    assert "older than room/hot.py" in compiled.changed(room["manifest"], room["root"])


def test_a_source_that_is_gone_is_seen(room: dict[str, Any]) -> None:
    room["source"].unlink()
    assert "room/hot.py that is gone" in compiled.changed(room["manifest"], room["root"])


def test_another_python_is_seen(room: dict[str, Any]) -> None:
    assert "another Python" in compiled.changed({**room["manifest"], "form": "x"}, room["root"])


@pytest.fixture
def finders() -> Iterator[None]:
    before, modules = list(sys.meta_path), set(sys.modules)
    yield
    sys.meta_path[:] = before
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def manifest_at(directory: Path, room: dict[str, Any], **more: Any) -> None:
    (directory / compiled.MANIFEST).write_text(json.dumps({**room["manifest"], **more}))


def test_without_anything_compiled_the_python_runs(tmp_path: Path, finders: None) -> None:
    before = list(sys.meta_path)
    assert not compiled.use("auto", tmp_path) and sys.meta_path == before
    with pytest.raises(ImportError, match=r"nothing is compiled.*make fast"):
        compiled.use("1", tmp_path)


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> pytest.CaptureFixture[str]:
    monkeypatch.setattr(compiled, "watched", lambda: True)
    return capsys


def test_what_is_older_is_left_alone_and_said_once(
    room: dict[str, Any], finders: None, terminal: pytest.CaptureFixture[str]
) -> None:
    capsys = terminal
    manifest_at(room["root"], room)
    room["source"].write_text("x = 2\n")
    before = list(sys.meta_path)
    assert not compiled.use("auto", room["root"], room["root"]) and sys.meta_path == before
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "older than room/hot.py" in said and "make fast" in said
    for text in ("x = 2\n", "x = 3\n"):
        room["source"].write_text(text)
        assert not compiled.use("auto", room["root"], room["root"]) and capsys.readouterr().err == "", "said once"
    assert not compiled.use("0", room["root"], room["root"]) and capsys.readouterr().err == ""
    with pytest.raises(ImportError, match=r"older than room/hot\.py"):
        compiled.use("1", room["root"], room["root"])


def test_where_it_cannot_be_noted_or_nobody_reads_nothing_is_said(
    room: dict[str, Any], finders: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest_at(room["root"], room)
    room["source"].write_text("x = 2\n")
    assert not compiled.use("auto", room["root"], room["root"]) and capsys.readouterr().err == ""
    monkeypatch.setattr(compiled, "watched", lambda: True)
    monkeypatch.setattr(compiled, "TOLD", "nowhere/told")
    assert not compiled.use("auto", room["root"], room["root"]) and capsys.readouterr().err == ""


def test_a_module_that_is_there_already_keeps_all_of_it_out(
    room: dict[str, Any], finders: None, terminal: pytest.CaptureFixture[str]
) -> None:
    manifest_at(room["root"], room, modules={"csrc.frame": "frame.so"})
    assert not compiled.use("auto", room["root"], room["root"])
    assert "csrc.frame was imported before" in terminal.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '{"form": 1}', '{"form": FORM}', '{"form": FORM, "sources": [1]}', "\x00\udcff"],
)
def test_a_manifest_that_is_none_is_as_good_as_none(
    room: dict[str, Any], finders: None, terminal: pytest.CaptureFixture[str], text: str
) -> None:
    text = text.replace("FORM", json.dumps(compiled.form()))
    (room["root"] / compiled.MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    before = list(sys.meta_path)
    assert not compiled.use("auto", room["root"], room["root"]) and sys.meta_path == before
    with pytest.raises(ImportError, match="make fast"):
        compiled.use("1", room["root"], room["root"])


@pytest.mark.parametrize(
    ("files", "library", "why"),
    [
        ({"gone.so": 1}, None, r"gone\.so cannot be read"),
        ({"part.so": 9}, None, r"part\.so is damaged"),
        ({"part.so": 4}, "part", "cannot be loaded"),
        ({}, "not_there_at_all", "cannot be loaded"),
    ],
)
def test_a_library_that_does_not_load_is_left_alone(
    room: dict[str, Any], finders: None, terminal: pytest.CaptureFixture[str],
    files: dict[str, int], library: str | None, why: str,
) -> None:  # fmt: skip
    (room["root"] / "part.so").write_bytes(b"none")
    manifest_at(room["root"], room, modules={"part": "part.so"}, files=files, library=library)
    before = list(sys.meta_path)
    assert not compiled.use("auto", room["root"], room["root"]) and sys.meta_path == before
    assert re.search(why, terminal.readouterr().err)
    with pytest.raises(ImportError, match=why):
        compiled.use("1", room["root"], room["root"])


def test_the_compiled_module_comes_first(room: dict[str, Any], finders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a package whose `hot` is compiled (any extension will do), and whose `cold` is not."""
    root = room["root"]
    (root / "lukewarm").mkdir()
    (root / "lukewarm" / "__init__.py").write_text("")
    (root / "lukewarm" / "_leaves.py").write_text("raise RuntimeError('the Python was imported')\n")
    (root / "lukewarm" / "cold.py").write_text("from lukewarm import _leaves\n")
    file = f"_leaves{SUFFIX}"
    assert _leaves.__file__ is not None
    shutil.copy(_leaves.__file__, root / file)
    manifest_at(root, room, modules={"lukewarm._leaves": file})
    monkeypatch.syspath_prepend(str(root))
    assert compiled.use("auto", root, root)
    cold = importlib.import_module("lukewarm.cold")
    assert str(cold.__file__).endswith("cold.py")
    assert cold._leaves.__file__ == str(root / file)


def test_the_suite_runs_what_it_was_told_to() -> None:
    """The Python, unless told otherwise: nothing was imported before tests/conftest.py could say so."""
    assert compiled.in_use == (os.environ["TERRELLA_COMPILED"] == "1")
