"""Compound commands: lists of && and ||, groups, if, loops, case, and defining functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from userland.sh import expand
from userland.sh.jobs import Job
from userland.sh.leaving import Break
from userland.sh.pattern import regex
from userland.sh.redirect import RedirectError, Redirections
from userland.sh.syntax import AndOr, Case, For, Function, Group, If, Loop

if TYPE_CHECKING:
    from userland.sh.shell import Shell


def and_or(shell: Shell, node: Any) -> int:
    commands = [("", node.first), *node.rest]
    status = 0
    for number, (op, command) in enumerate(commands):
        if (op == "&&" and status) or (op == "||" and not status):
            continue
        last = number == len(commands) - 1
        status = shell.run(command) if last else shell.test(command)
        shell.status = status
    return status


def group(shell: Shell, node: Any) -> int:
    if not node.subshell:
        return shell.run(node.body)
    job = Job(node.text, [])
    shell.fork(job, lambda child: child.run_last(node.body))
    return shell.checked(shell.jobs.foreground(job))


def if_(shell: Shell, node: Any) -> int:
    for condition, body in node.branches:
        if not shell.test(condition):
            return shell.run(body)
    return shell.run(node.otherwise) if node.otherwise is not None else 0


def loop(shell: Shell, node: Any) -> int:
    status = 0
    shell.loops += 1
    try:
        while bool(shell.test(node.condition)) == node.until:
            try:
                status = shell.run(node.body)
            except Break as leave:
                if leaves(shell, leave):
                    break
        return status
    except Break as leave:  # out of the condition
        leaves(shell, leave)
        return 0
    finally:
        shell.loops -= 1


def leaves(shell: Shell, leave: Break) -> bool:
    """Whether this loop ends; raises again for one further out."""
    if leave.levels > 1:
        leave.levels -= 1
        raise leave
    shell.status = 0
    return not leave.goes_on


def for_(shell: Shell, node: Any) -> int:
    values = list(shell.positional) if node.words is None else expand.fields(shell, node.words)
    status = 0
    shell.loops += 1
    try:
        for value in values:
            shell.set(node.name, value)
            try:
                status = shell.run(node.body)
            except Break as leave:
                status = 0
                if leaves(shell, leave):
                    break
    finally:
        shell.loops -= 1
    return status


def case(shell: Shell, node: Any) -> int:
    subject = expand.text(shell, node.word)
    for patterns, body in node.items:
        for each in patterns:
            if regex(expand.pieces(shell, each)).fullmatch(subject):
                return shell.run(body) if body is not None and body.items else 0
    return 0


def define(shell: Shell, node: Any) -> int:
    shell.functions[node.name] = node.body
    return 0


def compound(shell: Shell, node: Any) -> int:
    """A compound command, under its redirections."""
    work = _COMPOUND[type(node)]
    if not node.redirects:
        return work(shell, node)
    try:
        with Redirections(shell, node.redirects):
            return work(shell, node)
    except RedirectError as why:
        shell.complain(str(why))
        return shell.checked(2)


_COMPOUND: dict[type, Callable[[Shell, Any], int]] = {Group: group, If: if_, Loop: loop, For: for_, Case: case}
CONTROL: dict[type, Callable[[Shell, Any], int]] = {
    AndOr: and_or,
    Function: define,
    **dict.fromkeys(_COMPOUND, compound),
}
"""How each kind of command is carried out; the others are the shell's own."""
