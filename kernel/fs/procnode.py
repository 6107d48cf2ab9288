"""What procfs is made of: a `Node` for each name in /proc."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernel.abi import S_IFDIR, S_IFLNK, S_IFREG
from kernel.fs.vfs import Path

HZ = 100  # ticks of /proc's CPU times
STATES = "RRRSTZX"
RELEASE, VERSION = "6.18.0", "#1 SMP"


def ticks(ns: int) -> int:
    return ns * HZ // 10**9


class Node:
    """What a name in /proc stands for: its mode and, by kind, its names, text, target or place.

    `find` answers for one name of a directory that has many; `store` takes what is written to a file.
    """

    __slots__ = ("children", "find", "gid", "jump", "mode", "store", "target", "text", "uid")

    def __init__(
        self,
        mode: int,
        text: Callable[[], str] | None = None,
        children: Callable[[], dict[bytes, Node]] | None = None,
        target: Callable[[], bytes] | None = None,
        jump: Callable[[], Path | None] | None = None,
        owner: tuple[int, int] = (0, 0),
        find: Callable[[bytes], Node | None] | None = None,
        store: Callable[[Any, bytes], None] | None = None,
    ) -> None:
        self.mode = mode
        self.text = text
        self.children = children
        self.target = target
        self.jump = jump
        self.uid, self.gid = owner
        self.find = find
        self.store = store


def text(
    make: Callable[[], str], mode: int = 0o444, owner: tuple[int, int] = (0, 0),
    store: Callable[[Any, bytes], None] | None = None,
) -> Node:  # fmt: skip
    return Node(S_IFREG | mode, text=make, owner=owner, store=store)


def directory(children: Callable[[], dict[bytes, Node]], mode: int = 0o555, owner: tuple[int, int] = (0, 0)) -> Node:
    return Node(S_IFDIR | mode, children=children, owner=owner)


def link(target: Callable[[], bytes], jump: Callable[[], Path | None] | None = None) -> Node:
    return Node(S_IFLNK | 0o777, target=target, jump=jump)
