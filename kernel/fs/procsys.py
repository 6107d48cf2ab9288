"""/proc/sys: what can be asked of the kernel as a whole, and some of it set. /proc/sys/net is the stack's settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kernel.abi import CAP_LAST_CAP, EINVAL, ENOENT, NGROUPS_MAX
from kernel.fs.procnode import RELEASE, VERSION, Node, directory, text
from kernel.fs.vfs import error
from netstack.tcp import congestion

Tree = dict[str, Any]
"""A name to its Node, or to the names below it."""


def names(machine: Any) -> dict[bytes, Node]:
    """What is in /proc/sys."""
    tree: Tree = {"kernel": _kernel(machine), "fs": _fs(), "vm": _vm(), "net": _net(machine)}
    return _nodes(tree)


def _nodes(tree: Tree) -> dict[bytes, Node]:
    return {
        name.encode(): node if isinstance(node, Node) else directory(partial(_nodes, node))
        for name, node in tree.items()
    }


def constant(value: object) -> Node:
    return text(lambda: f"{value}\n")


def _named(machine: Any, attribute: str) -> Node:
    def store(task: Any, data: bytes) -> None:
        setattr(machine, attribute, data.split(b"\n")[0][:64].decode("utf-8", "surrogateescape"))

    return text(lambda: f"{getattr(machine, attribute)}\n", 0o644, store=store)


def _kernel(machine: Any) -> Tree:
    def uuid() -> str:
        digits = "".join(f"{machine.rng.below(256):02x}" for _ in range(16))
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}\n"

    return {
        "hostname": _named(machine, "hostname"),
        "domainname": _named(machine, "domainname"),
        "ostype": constant("Linux"),
        "osrelease": constant(RELEASE),
        "version": constant(VERSION),
        "pid_max": constant(32768),
        "threads-max": constant(32768),
        "ngroups_max": constant(NGROUPS_MAX),
        "cap_last_cap": constant(CAP_LAST_CAP),
        "core_pattern": constant("core"),
        "core_uses_pid": constant(0),
        "random": {"entropy_avail": constant(256), "poolsize": constant(256), "uuid": text(uuid)},
    }


def _fs() -> Tree:
    return {
        "nr_open": constant(1048576),
        "file-max": constant((1 << 63) - 1),
        "pipe-max-size": constant(1048576),
        "pipe-user-pages-soft": constant(16384),
        "inotify": {
            "max_queued_events": constant(16384), "max_user_instances": constant(128),
            "max_user_watches": constant(8192),
        },
        "mqueue": {},
    }  # fmt: skip


def _vm() -> Tree:
    return {"overcommit_memory": constant(0), "max_map_count": constant(65530), "mmap_min_addr": constant(65536),
            "swappiness": constant(60)}  # fmt: skip


def _net(machine: Any) -> Tree:
    """The stack's sysctls, `net.ipv4.tcp_sack` as net/ipv4/tcp_sack."""
    settings = machine.stack.settings
    tree: Tree = {}
    for name in settings.as_dict():
        parts = name.split(".")
        if parts[0] != "net":
            continue
        here = tree
        for part in parts[1:-1]:
            here = here.setdefault(part, {})
        here[parts[-1]] = text(_shown(settings, name), 0o644, store=_setter(machine, name))
    return tree


def _shown(settings: Any, name: str) -> Callable[[], str]:
    def show() -> str:
        value = settings.get(name)
        return ("\t".join(map(str, value)) if isinstance(value, tuple) else str(value)) + "\n"

    return show


def _setter(machine: Any, name: str) -> Callable[[Any, bytes], None]:
    def store(task: Any, data: bytes) -> None:
        try:
            value = data.decode("ascii").strip()
            if congestion.lacking(name, value):
                raise error(ENOENT, name)  # tcp_set_default_congestion_control
            machine.stack.settings.set(name, value)
        except (UnicodeDecodeError, ValueError):
            raise error(EINVAL, name) from None
        machine.network.tuned()

    return store
