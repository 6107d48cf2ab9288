"""`%{ ... }%`: Python of a script over TCP_INFO and SO_MEMINFO of the connection, run then and there. What it defines
lasts to the end of the script.
"""

from __future__ import annotations

import re
import sys
import textwrap
import traceback

from tools.packetdrill.host import Host
from tools.packetdrill.info import CODE_SYMBOLS, failed_at, meminfo, tcp_info
from tools.packetdrill.linuxhost import LinuxHost
from tools.packetdrill.script import Code, Event, ScriptError
from tools.packetdrill.signatures import near

SO_MEMINFO = 55
_FIELDS = re.compile(r"\b(?:tcpi|SK)_\w+")


class CodeBlocks:
    """The code of one script, and the names it has."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: dict[str, object] = {"print": say, "sys": sys, "traceback": traceback}

    def run(self, event: Event, code: Code, host: Host | LinuxHost, fd: int | None) -> None:
        """With TCP_INFO of that socket of the script. ScriptError says what is wrong."""
        names = self.names
        names.update(CODE_SYMBOLS)
        if fd is not None:
            names.update(tcp_info(host.tcp_info(fd)))
            if "SK_MEMINFO" in code.text:
                names.update(meminfo(host.option(fd, 1, SO_MEMINFO, 36)))
        text = "\n" * (event.line - 1) + textwrap.dedent(code.text) + "\n\n"  # its lines are those of the script
        try:
            exec(compile(text, self.path, "exec"), names)
        except Exception as error:
            raise self.fault(event, error, text) from None

    def fault(self, event: Event, error: Exception, text: str) -> ScriptError:
        """What went wrong in code, at its own line."""
        line, statement = failed_at(error, self.path, text)
        kind, actual = "syntax", ""
        if isinstance(error, AssertionError):
            kind, message = "mismatch", f"assertion failed: {str(error) or statement or event.source}"
            used = [name for name in dict.fromkeys(_FIELDS.findall(statement)) if name in self.names]
            actual = ", ".join(f"{name} = {self.names[name]}" for name in used)
        elif isinstance(error, NameError):
            kind, message = "unsupported", f"unsupported: code: {error}{near(error.name or '', self.names)}"
        else:
            said = error.msg if isinstance(error, SyntaxError) else error
            message = f"code: {type(error).__name__}: {said}"
        return ScriptError(self.path, line or event.line, message, kind, statement or event.source, actual)


def say(*values: object) -> None:
    """`print` of code blocks: standard output is the verdicts'."""
    print(*values, file=sys.stderr)
