"""The gate of a system call: what lies between a program and the handler.

It charges the trap, has a traced call recorded, makes Linux's errors of Python's, and settles what waits on the way
back to user mode: signals, a restart or EINTR, another task's turn. It is text, so that each call has one with its own
arguments and nothing is packed on the way: made into a function when the call is registered (kernel/syscall/table.py),
or compiled with the handler (tools/gates.py).
"""

from __future__ import annotations

_ENTRY = """\
def {name}({parameters}){result}:
    try:
        task.trap()
    except {foreign} as meant:
        return {name}(meant.args[0]{args})
    if task.traced:
        return task.machine.trace.system_call({call}, task, ({names}))
    try:
        result = {handler}(task{args})
    except OSError:
        if task.work:
            task.machine.signals.user_return(task)
        raise
    except {interrupted} as stop:
        result = {call}.interrupted(task, ({names}), stop)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise {call}.mistaken(({names}), error) from error
    if task.work:
        task.machine.signals.user_return(task)
    return result
"""


def gate(
    name: str, parameters: str, arguments: list[str], call: str = "__call", handler: str = "__handler",
    foreign: str = "Foreign", interrupted: str = "Interrupted", result: str = "",
) -> str:  # fmt: skip
    """The text of the entry `name(task, ...)`, with the names that it knows everything else by."""
    return _ENTRY.format(
        name=name, parameters=parameters, args="".join(f", {argument}" for argument in arguments),
        names="".join(f"{argument}, " for argument in arguments), call=call, handler=handler, foreign=foreign,
        interrupted=interrupted, result=result,
    )  # fmt: skip
