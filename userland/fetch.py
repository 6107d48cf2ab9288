"""A download client: `fetch [-o FILE] [-q] [-s] URL...` gets `http://ADDRESS[:PORT]/PATH` over HTTP/1.1.

Bodies go to standard output, or with `-o` to a file. With `-s` only a line `SHA-256  BYTES  URL` is written.
Progress goes to standard error on a terminal, unless `-q`. Exit status: 0, 1 when a transfer failed, 22 when a
server answered 400 or above, 2 for wrong usage.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

import h11

from userland import abi
from userland.lib import System, complain, connect_to, say, send_all, write_all

_READ = 256 * 1024
USAGE = "usage: fetch [-o FILE] [-q] [-s] http://ADDRESS[:PORT]/PATH..."


class FetchError(Exception):
    """The transfer failed; the message says how."""


class Fetched:
    """What came of one transfer."""

    __slots__ = ("bytes", "digest", "status")

    def __init__(self, status: int) -> None:
        self.status = status
        self.bytes = 0
        self.digest = hashlib.sha256()


def fetch(sys: System, url: str, out: int | None = None, progress: bool = False) -> Fetched:
    """Gets `url`, writes its body to the descriptor `out`. `FetchError` or OSError when it can't be had whole."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise FetchError(f"{url}: only http://ADDRESS[:PORT]/PATH")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        fd = connect_to(sys, parts.hostname, parts.port or 80)
    except ValueError as why:
        raise FetchError(str(why)) from why
    try:
        return _transfer(sys, fd, parts.netloc, target, out, progress)
    except h11.RemoteProtocolError as why:
        raise FetchError(f"{url}: {why}") from why
    finally:
        sys.close(fd)


def _transfer(sys: System, fd: int, host: str, target: str, out: int | None, progress: bool) -> Fetched:
    conn = h11.Connection(h11.CLIENT)
    headers = [("Host", host), ("User-Agent", "terrella-fetch"), ("Accept", "*/*"), ("Connection", "close")]
    request = conn.send(h11.Request(method="GET", target=target, headers=headers))
    assert request is not None
    send_all(sys, fd, request + (conn.send(h11.EndOfMessage()) or b""))
    result = Fetched(0)
    total = "?"
    shown = 0
    while True:
        event: Any = conn.next_event()
        if event is h11.NEED_DATA:
            conn.receive_data(sys.read(fd, _READ))
        elif isinstance(event, h11.Response):
            result.status = event.status_code
            total = next((v.decode() for k, v in event.headers if k == b"content-length"), "?")
        elif isinstance(event, h11.Data):
            result.bytes += len(event.data)
            result.digest.update(event.data)
            if out is not None:
                write_all(sys, out, event.data)
            if progress and result.bytes - shown >= _READ:
                shown = result.bytes
                say(sys, f"\r{result.bytes} of {total} bytes", end="", fd=2)
        elif isinstance(event, h11.EndOfMessage):
            if progress:
                say(sys, f"\r{result.bytes} of {total} bytes", fd=2)
            return result
        elif isinstance(event, h11.ConnectionClosed):
            raise FetchError("the server closed the connection before it answered")


def main(sys: System, argv: list[str]) -> int:
    args = argv[1:]
    name = None
    quiet = sums = False
    while args and args[0].startswith("-") and args[0] != "-":
        option = args.pop(0)
        if option == "-q":
            quiet = True
        elif option == "-s":
            sums = True
        elif option == "-o" and args:
            name = args.pop(0)
        else:
            say(sys, USAGE, fd=2)
            return 2
    if not args:
        say(sys, USAGE, fd=2)
        return 2
    progress = not quiet and _is_terminal(sys, 2)
    status = 0
    for url in args:
        out: int | None = None if sums else 1
        try:
            if name is not None:
                out = sys.open(name, abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC, 0o644)
            got = fetch(sys, url, out, progress)
        except (OSError, FetchError) as why:
            complain(sys, "fetch", f"{url}: {why.strerror}" if isinstance(why, OSError) else why)
            status = 1
            continue
        finally:
            if name is not None and out not in (None, 1):
                sys.close(out)
        if sums:
            say(sys, f"{got.digest.hexdigest()}  {got.bytes}  {url}")
        if got.status >= 400:
            complain(sys, "fetch", f"{url}: the server answered {got.status}")
            status = status or 22
    return status


def _is_terminal(sys: System, fd: int) -> bool:
    try:
        sys.ioctl(fd, abi.TCGETS, bytes(36))
    except OSError:
        return False
    return True
