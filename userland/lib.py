"""Comfort over the bare ABI, as a C library gives it: whole writes, lines, files, sockets by address. No state,
no policy.

Every function takes the ABI object `sys` first, so the same code serves a machine inside and the host (`--on-linux`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from userland import abi

System = Any  # the ABI object: its calls are those of DESIGN, "The Python ABI"
Address = Any

BLOCK = 256 * 1024


# ---- answers ----


def outcome(call: Callable[..., Any], *args: Any, **words: Any) -> Any:
    """What the call gives, or the name of its errno: for programs that show how calls fail."""
    try:
        return call(*args, **words)
    except OSError as failure:
        return abi.errno_name(failure.errno or 0)


# ---- text ----


def write_all(sys: System, fd: int, data: bytes) -> None:
    """Writes every byte; a write may take fewer than it was given (write(2))."""
    done = sys.write(fd, data)
    if done < len(data):
        view = memoryview(data)
        while done < len(data):
            done += sys.write(fd, view[done:])


def say(sys: System, *words: object, end: str = "\n", fd: int = 1) -> None:
    """`print` for programs: one write, so that lines of several processes do not mix."""
    write_all(sys, fd, (" ".join(map(str, words)) + end).encode())


def complain(sys: System, name: str, why: object) -> None:
    """A message on standard error in the form every Unix tool uses: `name: why`. An OSError loses its number."""
    text = why.strerror if isinstance(why, OSError) and why.strerror else why
    say(sys, f"{name}: {text}", fd=2)


# ---- files ----


def read_blocks(sys: System, fd: int, size: int = BLOCK) -> Iterator[bytes]:
    """What is left in `fd`, block by block, until end of file."""
    while block := sys.read(fd, size):
        yield block


def read_all(sys: System, fd: int) -> bytes:
    return b"".join(read_blocks(sys, fd))


def lines(sys: System, fd: int) -> Iterator[bytes]:
    """Lines with their newline; the last one may lack it."""
    rest = b""
    for block in read_blocks(sys, fd, 65536):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def read_file(sys: System, path: str) -> bytes:
    fd = sys.open(path, abi.O_RDONLY)
    try:
        return read_all(sys, fd)
    finally:
        sys.close(fd)


def write_file(sys: System, path: str, data: bytes, mode: int = 0o644) -> None:
    """Makes or replaces a file."""
    fd = sys.open(path, abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC, mode)
    try:
        write_all(sys, fd, data)
    finally:
        sys.close(fd)


def make_directories(sys: System, path: str, mode: int = 0o755) -> None:
    """`mkdir -p`."""
    at = "/" if path.startswith("/") else ""
    for part in path.split("/"):
        if not part:
            continue
        at += part
        try:
            sys.mkdir(at, mode)
        except FileExistsError:
            pass
        at += "/"


# ---- sockets ----


def parse_address(text: str, port: int) -> tuple[int, Address]:
    """(domain, address) of `1.2.3.4`, `1.2.3.4:80`, `::1` or `[::1]:80`. Names are not resolved: there is no
    DNS here.
    """
    host = text
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = int(rest[1:]) if rest.startswith(":") else port
    elif text.count(":") == 1:
        host, _, rest = text.partition(":")
        port = int(rest)
    if ":" in host:
        return abi.AF_INET6, (host, port)
    parts = host.split(".")
    if len(parts) != 4 or not all(p.isdigit() and int(p) < 256 for p in parts):
        raise ValueError(f"{host!r} is not a numeric address (names are not resolved here)")
    return abi.AF_INET, (host, port)


def connect_to(sys: System, host: str, port: int) -> int:
    """A connected TCP socket."""
    domain, address = parse_address(host, port)
    fd: int = sys.socket(domain, abi.SOCK_STREAM, 0)
    try:
        sys.connect(fd, address)
    except BaseException:
        sys.close(fd)
        raise
    return fd


def listen_on(sys: System, port: int, host: str = "0.0.0.0", backlog: int = 4096, flags: int = 0) -> int:
    """A listening TCP socket with SO_REUSEADDR; `flags` may add SOCK_NONBLOCK and SOCK_CLOEXEC."""
    domain, address = parse_address(host, port)
    fd: int = sys.socket(domain, abi.SOCK_STREAM | flags, 0)
    try:
        sys.setsockopt(fd, abi.SOL_SOCKET, abi.SO_REUSEADDR, 1)
        sys.bind(fd, address)
        sys.listen(fd, backlog)
    except BaseException:
        sys.close(fd)
        raise
    return fd


def send_all(sys: System, fd: int, data: bytes) -> None:
    """Sends every byte; a reset peer gives EPIPE or ECONNRESET and no SIGPIPE."""
    done = sys.sendto(fd, data, abi.MSG_NOSIGNAL)
    if done < len(data):
        view = memoryview(data)
        while done < len(data):
            done += sys.sendto(fd, view[done:], abi.MSG_NOSIGNAL)
