"""The web server, port 80: files under /srv, `/bytes/N`, `POST /echo`.

    httpd [PORT] [ROOT]

`GET /bytes/N` streams N bytes, byte i being i mod 256. `POST /echo` returns the body as it comes; what the client
has not read yet is held, up to 32 MiB, then reading waits. Everything else is a file: GET and HEAD, with type,
Last-Modified, one byte range (RFC 9110 section 14), `index.html` or a listing for a directory.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote_to_bytes

from userland import abi
from userland.http import Headers, Http, Step, connection, http_date
from userland.lib import System, listen_on
from userland.reactor import IN, OUT, Flow, Reactor

BLOCK = 1024 * 1024
PATTERN = memoryview(bytes(range(256)) * (BLOCK // 256))
HELD = 32 * 1024 * 1024
TYPES = {
    "html": "text/html; charset=utf-8", "htm": "text/html; charset=utf-8", "txt": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "json": "application/json", "xml": "application/xml", "svg": "image/svg+xml", "png": "image/png",
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "ico": "image/x-icon", "pdf": "application/pdf",
    "wasm": "application/wasm",
    "gz": "application/gzip", "tar": "application/x-tar", "zip": "application/zip",
    "pcapng": "application/octet-stream",
}  # fmt: skip
_LARGEST = 1 << 60


class Httpd:
    """The handler of every connection; all it holds is where the files are."""

    __slots__ = ("root",)

    def __init__(self, root: str = "/srv") -> None:
        self.root = root.rstrip("/")

    def serve(self, sys: System, fd: int, peer: Any) -> Flow:
        return connection(sys, fd, self.handle)

    def handle(self, http: Http, request: Any) -> Step:
        method = request.method.decode("ascii")
        head_only = method == "HEAD"
        target, _, _ = request.target.partition(b"?")
        if target[:7].lower() == b"http://":  # absolute form (RFC 9112 section 3.2.2)
            target = b"/" + target[7:].partition(b"/")[2]
        raw = unquote_to_bytes(target)
        path = raw.decode("utf-8", "surrogateescape")
        if not path.startswith("/") or "\0" in path:
            return http.error(400, "the target is not a path", head_only=head_only)
        if path == "/echo":
            return echo(http, request) if method in ("POST", "PUT") else _not_allowed(http, "POST, PUT", head_only)
        if method not in ("GET", "HEAD"):
            if method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"):
                return _not_allowed(http, "GET, HEAD", head_only)
            return http.error(501, f"no method {method}")
        if path.startswith("/bytes/"):
            digits = path[7:]
            if not (digits.isascii() and digits.isdigit() and int(digits[:20]) <= _LARGEST and len(digits) <= 20):
                return http.error(400, "use /bytes/N with N up to 2^60", head_only=head_only)
            return stream_pattern(http, int(digits), head_only)
        return self.file(http, request, path, head_only)

    def file(self, http: Http, request: Any, path: str, head_only: bool) -> Step:
        parts: list[str] = []
        for part in path.split("/"):  # RFC 3986 section 5.2.4: nothing above the root
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        where = "/".join((self.root, *parts, *([""] if parts and path.endswith("/") else [])))
        shown = quote(path, errors="surrogateescape")
        sys = http.sys
        try:
            fd = sys.open(where, abi.O_RDONLY | abi.O_NONBLOCK | abi.O_CLOEXEC)
        except OSError as why:
            status = 403 if why.errno in (abi.EACCES, abi.EPERM) else 404
            return (yield from http.error(status, shown, head_only=head_only))
        try:
            st = sys.fstat(fd)
            kind = st.st_mode & abi.S_IFMT
            if kind == abi.S_IFDIR:
                if not path.endswith("/"):
                    return (yield from http.error(301, "", [("Location", shown + "/")], head_only))
                index = self._open_index(sys, where)
                if index is None:
                    return (yield from listing(http, fd, path, head_only))
                sys.close(fd)
                fd, where = index, "index.html"
                st = sys.fstat(fd)
                kind = st.st_mode & abi.S_IFMT
            if kind != abi.S_IFREG:
                return (yield from http.error(403, "not a regular file", head_only=head_only))
            yield from send_file(http, request, fd, st, where, head_only)
        finally:
            sys.close(fd)

    @staticmethod
    def _open_index(sys: System, where: str) -> int | None:
        try:
            return sys.open(where.rstrip("/") + "/index.html", abi.O_RDONLY | abi.O_NONBLOCK | abi.O_CLOEXEC)
        except OSError:
            return None


def _not_allowed(http: Http, allowed: str, head_only: bool) -> Step:
    return http.error(405, "", [("Allow", allowed)], head_only)


def stream_pattern(http: Http, length: int, head_only: bool = False) -> Step:
    """`length` bytes, cut from one block: no work per byte, and no copy on this side of the system call."""
    http.start(200, [("Content-Type", "application/octet-stream")], length)
    if not head_only:
        for _ in range(length // BLOCK):
            http.data(PATTERN)
            yield from http.flush()
        if length % BLOCK:
            http.data(PATTERN[: length % BLOCK])
    yield from http.end()


def echo(http: Http, request: Any) -> Step:
    """The body goes back while it comes, framed as it came; reading pauses while HELD bytes wait to be taken."""
    length = None
    kind = "application/octet-stream"
    for name, value in request.headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"content-type":
            kind = value.decode("latin-1")
    if length is None and not any(name == b"transfer-encoding" for name, _ in request.headers):
        length = 0
    yield from http.invite()
    http.start(200, [("Content-Type", kind)], length)
    body = http.body_chunk()
    held = 0
    while True:
        try:
            next(body)
        except StopIteration as ended:
            chunk = ended.value
            if not chunk:
                break
            http.data(chunk)
            held += len(chunk)
            body = http.body_chunk()
            if http.push():
                held = 0
            elif held >= HELD:
                yield from http.flush()
                held = 0
        else:  # nothing has come
            if http.push():
                held = 0
            yield IN | OUT if held else IN
    yield from http.end()


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """(first, last) of `bytes=a-b`; None when it is to be ignored (not this unit, several ranges, malformed).

    ValueError when it can't be satisfied (RFC 9110 section 14.1.1).
    """
    unit, _, ranges = text.partition("=")
    first, dash, last = ranges.strip().partition("-")
    numbers = [t for t in (first, last) if t]
    if unit.strip() != "bytes" or not dash or not numbers or not all(t.isascii() and t.isdigit() for t in numbers):
        return None
    if not first:
        if int(last) == 0 or size == 0:
            raise ValueError(text)
        return max(0, size - int(last)), size - 1
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise ValueError(text)
    return int(first), min(int(last), size - 1) if last else size - 1


def send_file(http: Http, request: Any, fd: int, st: Any, name: str, head_only: bool) -> Step:
    size = st.st_size
    modified = http_date(int(st.st_mtime))
    base, _, extension = name.rpartition("/")[2].rpartition(".")
    kind = TYPES.get(extension.lower(), "application/octet-stream") if base else "application/octet-stream"
    headers: Headers = [("Content-Type", kind), ("Last-Modified", modified), ("Accept-Ranges", "bytes")]
    given = {key: value.decode("latin-1") for key, value in request.headers}
    if given.get(b"if-modified-since") == modified:
        http.start(304, headers)
        return (yield from http.end())
    status, first, last = 200, 0, size - 1
    wanted = given.get(b"range")
    if wanted is not None and not head_only and given.get(b"if-range", modified) == modified:
        try:
            part = parse_range(wanted, size)
        except ValueError:
            return (yield from http.error(416, "", [("Content-Range", f"bytes */{size}")], head_only))
        if part is not None:
            status = 206
            first, last = part
            headers.append(("Content-Range", f"bytes {first}-{last}/{size}"))
    http.start(status, headers, last - first + 1)
    if not head_only:
        sys = http.sys
        while first <= last:
            block = sys.pread64(fd, min(BLOCK, last - first + 1), first)
            if not block:
                raise ConnectionAbortedError(abi.ECONNABORTED, "the file shrank while it was sent")
            first += len(block)
            http.data(block)
            if first <= last:
                yield from http.flush()
    yield from http.end()


def listing(http: Http, fd: int, path: str, head_only: bool) -> Step:
    names: list[str] = []
    while entries := http.sys.getdents64(fd):
        names += [n + ("/" if kind == abi.DT_DIR else "") for n, _, kind in entries if n not in (".", "..")]
    items = "".join(
        f'<li><a href="{quote(n, errors="surrogateescape")}">{_escape(n)}</a>\n' for n in sorted(names)
    )
    title = _escape(path)
    page = f"<!DOCTYPE html>\n<meta charset=utf-8>\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n{items}</ul>\n"
    yield from http.simple(200, [("Content-Type", TYPES["html"])], page.encode("utf-8", "replace"), head_only)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def main(sys: System, argv: list[str]) -> int:
    port = int(argv[1]) if len(argv) > 1 else 80
    root = argv[2] if len(argv) > 2 else "/srv"
    reactor = Reactor(sys, "httpd")
    reactor.listen(listen_on(sys, port, flags=abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC), Httpd(root).serve)
    reactor.run()
    return 0
