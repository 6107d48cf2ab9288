"""The log of why: what the connections of a machine did and for what reason, as JSON lines.

One line per event: an acknowledgment that was processed, a segment that was sent, a connection given up. Times are
nanoseconds since 1970, as in a capture of the same machine, so that lines and packets can be joined by them; sequence
numbers are relative to the connection's first, the window is in bytes, cwnd and the flight count segments. What each
field holds is said in docs/howto/why.md.

Events come while programs make calls: `write` raises no OSError, as what the host says of the file is none of those
calls' results. The log ends with the first one, and `close` raises it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netstack.stack import Stack

FLUSH = 1 << 16


class WhyLog:
    """Writes the events of stacks to a path, or to a text file object (which stays the caller's).

    Only connections that are made after `follow` are followed.
    """

    __slots__ = ("_failure", "_file", "_mine", "_parts", "_size", "epoch_ns", "events")

    def __init__(self, destination: str | os.PathLike[str] | IO[str], epoch_ns: int = 0) -> None:
        self._mine = isinstance(destination, str | os.PathLike)
        self._file: IO[str] | None
        if isinstance(destination, str | os.PathLike):
            self._file = open(destination, "w", encoding="utf-8")  # noqa: SIM115
        else:
            self._file = destination
        self.epoch_ns = epoch_ns
        self.events = 0
        self._parts: list[str] = []
        self._size = 0
        self._failure: OSError | None = None

    def follow(self, stack: Stack, host: str | None = None) -> None:
        """Log the stack's connections from now on; with `host`, every line names it."""
        from netstack.tcp.why import observe

        if host is None:
            observe(stack, self.write)
        else:
            observe(stack, lambda event: self.write({"host": host, **event}))

    def write(self, event: dict[str, Any]) -> None:
        if self._file is None:
            return
        line = json.dumps({**event, "time_ns": event["time_ns"] + self.epoch_ns}, ensure_ascii=False) + "\n"
        self._parts.append(line)
        self._size += len(line)
        self.events += 1
        if self._size >= FLUSH:
            try:
                self.flush()
            except OSError as why:
                self._failure = why
                with suppress(OSError):
                    self._end()

    def flush(self) -> None:
        """Hand everything so far to the operating system."""
        if self._file is not None and self._parts:
            self._file.write("".join(self._parts))
            self._file.flush()
            self._parts.clear()
            self._size = 0

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None and self._mine:
            file.close()

    def close(self) -> None:
        """Complete the file. Idempotent; later events are ignored. OSError when it is not complete."""
        try:
            self.flush()
        finally:
            self._end()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def __enter__(self) -> WhyLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
