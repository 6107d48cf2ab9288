"""Descriptions on their way through Unix sockets (SCM_RIGHTS), and what becomes of those that nobody can receive.

A socket that is passed and closed lives in the queue of the socket it was sent to. Where such sockets hold each other
in a circle nobody will ever receive them: the reference counts do not go to 0. As Linux's garbage collector does, the
close of a Unix socket looks at the sockets in flight while there are any. A candidate has no holder but messages; one
that has a message outside of the candidates' own queues can be received, and so can what is in its queue. The rest is
dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class InFlight:
    """The Unix sockets that are in messages, and in how many."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}

    def sent(self, file: Any) -> None:
        """The description is in one message more."""
        if _socket(file) is not None:
            self.counts[file] = self.counts.get(file, 0) + 1

    def gone(self, file: Any) -> None:
        """One of its messages was received, or dropped."""
        count = self.counts.get(file, 0)
        if count > 1:
            self.counts[file] = count - 1
        elif count:
            del self.counts[file]

    def collect(self) -> None:
        """Drops what is in flight and can't be received any more."""
        inside: dict[Any, int] = {file: 0 for file, count in self.counts.items() if file.count == count}
        if not inside:
            return
        for file in inside:
            for passed in _passed(file):
                if passed in inside:
                    inside[passed] += 1
        reachable = [file for file, held in inside.items() if self.counts[file] > held]
        lost = dict.fromkeys(inside)
        while reachable:
            file = reachable.pop()
            if file in lost:
                del lost[file]
                reachable += [passed for passed in _passed(file) if passed in lost]
        for file in lost:
            sock = _socket(file)
            if sock is not None:
                sock.drop_messages()


def _socket(file: Any) -> Any:
    """The Unix socket behind a description, or None."""
    sock = getattr(file.private, "sock", None)
    return sock if getattr(sock, "drop_messages", None) is not None else None


def _passed(file: Any) -> Iterator[Any]:
    """The descriptions in the messages that wait for a socket, and for the connections it has not accepted."""
    sock = _socket(file)
    if sock is not None:
        for one in (sock, *sock.pending):
            for message in one.queue:
                yield from message[2].files if message[2] is not None else ()
