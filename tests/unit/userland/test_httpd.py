"""httpd against http.client and raw requests: RFC 9110 and 9112 as far as a file server needs them."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userland.httpd import parse_range
from userland.reactor import Reactor


@pytest.fixture
def web(serve: Callable[..., int], tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    (tmp_path / "hello.txt").write_text("hello, world\n")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "a b%.html").write_text("<p>")
    (tmp_path / "big.bin").write_bytes(os.urandom(1 << 20) * 3 + b"end")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "x&y.json").write_text("{}")
    (tmp_path / "indexed").mkdir()
    (tmp_path / "indexed" / "index.html").write_text("the index")
    os.mkfifo(tmp_path / "fifo")
    connection = http.client.HTTPConnection("127.0.0.1", serve("httpd", str(tmp_path)), timeout=120)
    yield connection
    connection.close()


def ask(
    web: http.client.HTTPConnection, method: str, path: str, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    web.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = web.getresponse()
    return answer, answer.read()


def raw(web: http.client.HTTPConnection, request: bytes) -> bytes:
    """The whole answer to bytes that a polite client would not send."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=120) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while block := sock.recv(65536):
            got += block
        return got


def test_files_have_types_and_dates_and_one_connection_serves_them_all(web: http.client.HTTPConnection) -> None:
    answer, body = ask(web, "GET", "/hello.txt")
    sock = web.sock
    assert (answer.status, body) == (200, b"hello, world\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    again, body = ask(web, "GET", "/hello.txt", If_Modified_Since=answer.headers["Last-Modified"])
    assert (again.status, body) == (304, b"")
    answer, body = ask(web, "GET", "/a%20b%25.html?query")
    assert (answer.status, body, answer.headers["Content-Type"]) == (200, b"<p>", "text/html; charset=utf-8")
    answer, body = ask(web, "GET", "/empty")
    assert (answer.status, body) == (200, b"")
    assert web.sock is sock, "keep-alive"


def test_head_is_get_without_the_body(web: http.client.HTTPConnection) -> None:
    for path in ("/hello.txt", "/plain/", "/bytes/1000000", "/missing", "/plain"):
        full, body = ask(web, "GET", path)
        head, nothing = ask(web, "HEAD", path)
        assert nothing == b"" and head.status == full.status
        assert head.headers["Content-Length"] == full.headers["Content-Length"] == str(len(body))


def test_directories(web: http.client.HTTPConnection) -> None:
    answer, body = ask(web, "GET", "/plain")
    assert (answer.status, answer.headers["Location"]) == (301, "/plain/")
    answer, body = ask(web, "GET", "/plain/")
    assert answer.status == 200 and b'<a href="x%26y.json">x&amp;y.json</a>' in body
    assert ask(web, "GET", "/indexed/")[1] == b"the index"
    assert b'<a href="plain/">' in ask(web, "GET", "/")[1]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/missing", 404), ("GET", "/hello.txt/", 404), ("GET", "/bytes/many", 400), ("GET", "/bytes/-1", 400),
        ("GET", "/bytes/99999999999999999999999", 400), ("DELETE", "/hello.txt", 405), ("POST", "/hello.txt", 405),
        ("GET", "/echo", 405), ("BREW", "/", 501), ("GET", "/%00", 400), ("GET", "/fifo", 403),
        ("GET", "/../../../../etc/passwd", 404), ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
    ],
)  # fmt: skip
def test_what_is_refused(web: http.client.HTTPConnection, method: str, path: str, status: int) -> None:
    answer, body = ask(web, method, path)
    assert answer.status == status and body.startswith(b"%d " % status)
    if status == 405:
        assert answer.headers["Allow"]
    assert ask(web, "GET", "/hello.txt")[0].status == 200, "the connection is still good"


@pytest.mark.parametrize(
    "request_bytes",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
     b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3\r\n\r\n", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200_000],
)  # fmt: skip
def test_broken_requests_get_an_answer_and_the_door(web: http.client.HTTPConnection, request_bytes: bytes) -> None:
    answer = raw(web, request_bytes)
    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5") and b"connection: close" in answer.lower()
    assert ask(web, "GET", "/hello.txt")[0].status == 200


def test_pipelined_requests_are_answered_in_order(web: http.client.HTTPConnection) -> None:
    one = b"GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = raw(web, b"".join(one % n for n in (1, 2, 3)))
    assert answer.count(b"HTTP/1.1 200 OK") == 3 and answer.endswith(b"\0\1\2")


def test_http_1_0_and_connection_close_end_the_connection(web: http.client.HTTPConnection) -> None:
    assert raw(web, b"GET /bytes/3 HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n\0\1\2")
    assert raw(web, b"GET /bytes/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\n\0\1\2")


@pytest.mark.parametrize("length", [0, 1, 255, 257, 1 << 20, (1 << 20) + 1, 20_000_003])
def test_bytes_n_is_the_pattern(web: http.client.HTTPConnection, length: int) -> None:
    answer, body = ask(web, "GET", f"/bytes/{length}")
    assert answer.status == 200 and len(body) == length
    assert hashlib.sha256(body).digest() == hashlib.sha256((bytes(range(256)) * (length // 256 + 1))[:length]).digest()


@pytest.mark.parametrize("chunked", [False, True])
def test_echo_returns_the_body_even_to_a_client_that_reads_last(web: http.client.HTTPConnection, chunked: bool) -> None:
    data = os.urandom(1 << 20) * 11
    pieces = (data[i : i + 100_000] for i in range(0, len(data), 100_000))
    web.request("POST", "/echo", body=pieces if chunked else data, encode_chunked=chunked,
                headers={"Transfer-Encoding": "chunked"} if chunked else {})  # fmt: skip
    answer = web.getresponse()
    assert answer.read() == data
    assert (answer.headers.get("Transfer-Encoding") == "chunked") == chunked
    assert ask(web, "GET", "/hello.txt")[0].status == 200


def test_echo_streams(web: http.client.HTTPConnection) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=120) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nfirst")
        got = b""
        while not got.endswith(b"first"):
            got += sock.recv(1000)
        sock.sendall(b"second")
        assert sock.recv(6, socket.MSG_WAITALL) == b"second"


def test_expect_100_continue(web: http.client.HTTPConnection) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=120) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        got = b""
        while b"100 Continue" not in got:
            got += sock.recv(1000)
        sock.sendall(b"ok")
        while not got.endswith(b"\r\n\r\nok"):
            got += sock.recv(1000)


def test_a_refused_body_is_drained_so_the_answer_arrives(web: http.client.HTTPConnection) -> None:
    web.request("POST", "/hello.txt", body=bytes(500_000))
    answer = web.getresponse()
    assert answer.status == 405
    answer.read()
    assert ask(web, "GET", "/hello.txt")[0].status == 200


def test_ranges(web: http.client.HTTPConnection) -> None:
    whole = ask(web, "GET", "/big.bin")[1]
    for text, first, last in (("0-0", 0, 0), ("5-", 5, len(whole) - 1), ("-3", len(whole) - 3, len(whole) - 1),
                              ("1000-2000000", 1000, 2_000_000)):  # fmt: skip
        answer, body = ask(web, "GET", "/big.bin", Range=f"bytes={text}")
        assert answer.status == 206 and body == whole[first : last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
    answer, _ = ask(web, "GET", "/big.bin", Range=f"bytes={len(whole)}-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    assert ask(web, "GET", "/big.bin", Range="bytes=0-1,5-6")[0].status == 200


@given(st.integers(0, 100), st.integers(0, 120) | st.none(), st.integers(0, 120) | st.none())
def test_a_range_is_inside_the_file_or_refused(size: int, first: int | None, last: int | None) -> None:
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        part = parse_range(text, size)
    except ValueError:
        assert size == 0 or (first is not None and first >= size) or (first is None and last == 0)
    else:
        if part is not None:
            assert 0 <= part[0] <= part[1] < size
            assert first is None or part[0] == first


def test_many_at_once(web: http.client.HTTPConnection) -> None:
    sums: list[str] = []

    def one() -> None:
        client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=300)
        client.request("GET", "/bytes/300000")
        sums.append(hashlib.sha256(client.getresponse().read()).hexdigest())
        client.close()

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sums) == 100 and len(set(sums)) == 1


class OutOfDescriptors:
    """A `sys` whose accept4 fails once with EMFILE, then has a connection."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def prlimit64(self, pid: int, which: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        return 1024, 1024

    def epoll_create1(self, flags: int) -> int:
        return 3

    def epoll_ctl(self, *args: object) -> None:
        self.calls.append(args)

    def accept4(self, fd: int, flags: int) -> tuple[int, object]:
        raise OSError(24, "Too many open files")

    def write(self, fd: int, data: bytes) -> int:
        self.calls.append(("write", fd))
        return len(data)

    def close(self, fd: int) -> None:
        pass


def test_accepting_rests_while_descriptors_are_out() -> None:
    sys = OutOfDescriptors()
    reactor = Reactor(sys, "test")
    reactor.listen(4, lambda sys, fd, peer: iter(()))  # type: ignore[arg-type,return-value]
    reactor._accept(1, reactor._entries[1])
    assert sys.calls[-1] == (3, 3, 4, 0, 1), "not asked for any event until a connection ends"
