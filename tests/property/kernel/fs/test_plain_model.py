"""The VFS over tmpfs against a plain model: a tree of dictionaries, files as bytes, hard links as shared objects.

Calls and their errors are said again in a few lines each; after every step the whole tree is compared, with contents,
link counts and what tmpfs says it uses.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kernel import abi
from kernel.abi import EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, errno_name
from kernel.fs.tmpfs import Tmpfs
from tests.property.kernel.fs.plain import lone_machine, lone_task

NAMES = ("a", "b", "c")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
there = st.integers(0, 1 << 30)
"""One of the names that are there, mostly: see `PlainModel.old`."""
sizes = st.integers(0, 9000)


class Plain:
    """A file of the model."""

    def __init__(self) -> None:
        self.data = b""
        self.links = 1


Tree = dict[str, Any]


class Missing(Exception):
    def __init__(self, errno: int) -> None:
        super().__init__(errno_name(errno))
        self.errno = errno


class PlainModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        _, self.sys = lone_task(lone_machine())
        self.sys.mkdir("/m")
        self.root: Tree = {}

    # -- the model --

    def parent(self, path: tuple[str, ...]) -> Tree:
        here = self.root
        for name in path[:-1]:
            if name not in here:
                raise Missing(ENOENT)
            if isinstance(here[name], Plain):
                raise Missing(ENOTDIR)
            here = here[name]
        return here

    def find(self, path: tuple[str, ...]) -> Any:
        here = self.parent(path)
        if path[-1] not in here:
            raise Missing(ENOENT)
        return here[path[-1]]

    def file(self, path: tuple[str, ...]) -> Plain:
        found = self.find(path)
        if not isinstance(found, Plain):
            raise Missing(EISDIR)
        return found

    def old(self, number: int) -> tuple[str, ...]:
        """A name that is there, if there are any; now and then one that is not."""
        found: list[tuple[str, ...]] = []

        def look(tree: Tree, before: tuple[str, ...]) -> None:
            for name, node in tree.items():
                found.append((*before, name))
                if not isinstance(node, Plain):
                    look(node, (*before, name))

        look(self.root, ())
        found.append(("none",))
        return found[number % len(found)]

    def both(self, kernel: Any, model: Any) -> None:
        """The same result, or the same errno."""
        ours: Any
        theirs: Any
        try:
            ours = kernel()
        except OSError as error:
            ours = errno_name(error.errno or 0)
        try:
            theirs = model()
        except Missing as error:
            theirs = errno_name(error.errno)
        assert ours == theirs

    def name(self, path: tuple[str, ...]) -> str:
        return "/m/" + "/".join(path)

    # -- the calls --

    @rule(path=paths, offset=sizes, size=sizes)
    def write(self, path: tuple[str, ...], offset: int, size: int) -> None:
        """Created when it is not there; a gap reads as zeros."""

        def kernel() -> int:
            fd = self.sys.open(self.name(path), abi.O_CREAT | abi.O_WRONLY)
            done = self.sys.pwrite64(fd, b"x" * size, offset)
            self.sys.close(fd)
            return int(done)

        def model() -> int:
            here = self.parent(path)
            if not isinstance(here.get(path[-1], Plain()), Plain):
                raise Missing(EISDIR)
            file = here.setdefault(path[-1], Plain())
            if size:
                file.data = file.data.ljust(offset, b"\0")
                file.data = file.data[:offset] + b"x" * size + file.data[offset + size :]
            return size

        self.both(kernel, model)

    @rule(number=there, length=sizes)
    def truncate(self, number: int, length: int) -> None:
        path = self.old(number)

        def model() -> int:
            file = self.file(path)
            file.data = file.data[:length].ljust(length, b"\0")
            return 0

        self.both(lambda: self.sys.truncate(self.name(path), length), model)

    @rule(path=paths)
    def mkdir(self, path: tuple[str, ...]) -> None:
        def model() -> int:
            here = self.parent(path)
            if path[-1] in here:
                raise Missing(EEXIST)
            here[path[-1]] = {}
            return 0

        self.both(lambda: self.sys.mkdir(self.name(path)), model)

    @rule(number=there)
    def rmdir(self, number: int) -> None:
        path = self.old(number)

        def model() -> int:
            found = self.find(path)
            if isinstance(found, Plain):
                raise Missing(ENOTDIR)
            if found:
                raise Missing(ENOTEMPTY)
            del self.parent(path)[path[-1]]
            return 0

        self.both(lambda: self.sys.rmdir(self.name(path)), model)

    @rule(number=there)
    def unlink(self, number: int) -> None:
        path = self.old(number)

        def model() -> int:
            self.file(path).links -= 1
            del self.parent(path)[path[-1]]
            return 0

        self.both(lambda: self.sys.unlink(self.name(path)), model)

    @rule(number=there, other=there, new=st.one_of(paths, st.none()))
    def link(self, number: int, other: int, new: tuple[str, ...] | None) -> None:
        old = self.old(number)
        new = self.old(other) if new is None else new

        def model() -> int:
            found = self.find(old)
            here = self.parent(new)
            if new[-1] in here:
                raise Missing(EEXIST)
            if not isinstance(found, Plain):
                raise Missing(EPERM)
            here[new[-1]] = found
            found.links += 1
            return 0

        self.both(lambda: self.sys.link(self.name(old), self.name(new)), model)

    @rule(number=there, other=there, new=st.one_of(paths, st.none()))
    def rename(self, number: int, other: int, new: tuple[str, ...] | None) -> None:
        old = self.old(number)
        new = self.old(other) if new is None else new

        def model() -> int:
            source, target = self.parent(old), self.parent(new)
            if old[-1] not in source:
                raise Missing(ENOENT)
            moved, victim = source[old[-1]], target.get(new[-1])
            if new[: len(old)] == old and len(new) > len(old):
                raise Missing(EINVAL)
            if old[: len(new)] == new and len(old) > len(new):
                raise Missing(ENOTEMPTY)
            if moved is victim:
                return 0
            if victim is not None:
                if isinstance(moved, Plain) and not isinstance(victim, Plain):
                    raise Missing(EISDIR)
                if not isinstance(moved, Plain) and isinstance(victim, Plain):
                    raise Missing(ENOTDIR)
                if not isinstance(victim, Plain) and victim:
                    raise Missing(ENOTEMPTY)
                if isinstance(victim, Plain):
                    victim.links -= 1
            del source[old[-1]]
            target[new[-1]] = moved
            return 0

        self.both(lambda: self.sys.rename(self.name(old), self.name(new)), model)

    # -- what must hold --

    def seen(self, name: str) -> Any:
        """The tree as the kernel shows it."""
        found: Tree = {}
        fd = self.sys.open(name, abi.O_RDONLY | abi.O_DIRECTORY)
        while True:
            entries = self.sys.getdents64(fd)
            if not entries:
                break
            for entry, _, kind in entries:
                if entry in (".", ".."):
                    continue
                path = f"{name}/{entry}"
                if kind == abi.DT_DIR:
                    found[entry] = self.seen(path)
                    continue
                reader = self.sys.open(path, abi.O_RDONLY)
                stat = self.sys.fstat(reader)
                found[entry] = self.sys.read(reader, 1 << 20), stat.st_nlink, stat.st_size
                self.sys.close(reader)
        self.sys.close(fd)
        return found

    def expected(self, tree: Tree) -> Any:
        return {
            name: (node.data, node.links, len(node.data)) if isinstance(node, Plain) else self.expected(node)
            for name, node in tree.items()
        }

    @invariant()
    def the_trees_are_the_same(self) -> None:
        assert self.seen("/m") == self.expected(self.root)

    @invariant()
    def directories_count_their_subdirectories(self) -> None:
        def look(tree: Tree, name: str) -> None:
            below = [n for n, node in tree.items() if not isinstance(node, Plain)]
            assert self.sys.stat(name).st_nlink == 2 + len(below)
            for n in below:
                look(tree[n], f"{name}/{n}")

        look(self.root, "/m")


def run(phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink), examples: int = 40) -> None:
    run_state_machine_as_test(
        PlainModel, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None, phases=phases,
                                        suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
    )  # fmt: skip


def test_tmpfs_is_the_model() -> None:
    run()


def test_a_link_that_is_not_counted_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    link = Tmpfs.link

    def forgetful(self: Tmpfs, inode: Any, directory: Any, name: bytes) -> None:
        link(self, inode, directory, name)
        inode.nlink -= 1

    monkeypatch.setattr(Tmpfs, "link", forgetful)
    with pytest.raises(AssertionError):
        run((Phase.generate,), 400)
