"""HTTP/1.1 as the server speaks it: a connection as a flow, h11 for the protocol's state (RFC 9110, RFC 9112).

h11 parses heads, keeps the framing rules and says when a connection may be reused; bodies pass by reference
(`send_with_data_passthrough`), so a bulk response is cut from one precomputed block and never joined to anything.

A handler is a flow too: `handler(http, request)` reads the body with `http.body_chunk()` and answers with
`http.start` and `http.data`. What it leaves unread is drained before the next request, if it is short; else the
connection closes.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Generator
from typing import Any

import h11

from userland import abi
from userland.lib import System
from userland.reactor import IN, OUT, Flow, receive

_READ = 256 * 1024
_DRAIN = 1024 * 1024  # an unread request body up to this is swallowed to keep the connection
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

REASONS = {
    200: "OK", 206: "Partial Content", 301: "Moved Permanently", 304: "Not Modified",
    400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large",
    414: "URI Too Long", 416: "Range Not Satisfiable", 417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 505: "HTTP Version Not Supported",
}  # fmt: skip

Headers = list[tuple[str, str]]
Step = Generator[int, int, None]


def http_date(seconds: int) -> str:
    """IMF-fixdate (RFC 9110 section 5.6.7)."""
    t = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    day = f"{_WEEKDAYS[t.weekday()]}, {t.day:02} {_MONTHS[t.month - 1]} {t.year:04}"
    return f"{day} {t.hour:02}:{t.minute:02}:{t.second:02} GMT"


class Http:
    """One connection: what a handler works with."""

    __slots__ = ("_conn", "_out", "fd", "sys")

    def __init__(self, sys: System, fd: int) -> None:
        self.sys = sys
        self.fd = fd
        self._conn = h11.Connection(h11.SERVER)
        self._out: list[Any] = []  # what is to be sent, in order

    # -- what the peer sends --

    def _next_event(self) -> Generator[int, int, Any]:
        conn = self._conn
        while True:
            event = conn.next_event()
            if event is not h11.NEED_DATA:
                return event
            yield from self.invite()
            conn.receive_data((yield from receive(self.sys, self.fd, _READ)))

    def invite(self) -> Step:
        """Tells a client that waits for it to go on with the body (RFC 9110 section 10.1.1)."""
        if self._conn.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self._out.append(self._conn.send(go_on))
            yield from self.flush()

    def body_chunk(self) -> Generator[int, int, bytes]:
        """The next piece of the request's body; b"" at its end. A peer that goes away inside it is
        ConnectionResetError.
        """
        while True:
            event = yield from self._next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                return b""
            raise ConnectionResetError(abi.ECONNRESET, "the body ended early")

    @property
    def body_ended(self) -> bool:
        return self._conn.their_state is not h11.SEND_BODY

    @property
    def answering(self) -> bool:
        """The answer's head is on its way: no other can be sent."""
        return self._conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    # -- what we answer --

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """The head. Without `length` the body is chunked (or ends with the connection, for HTTP/1.0)."""
        now = self.sys.clock_gettime(abi.CLOCK_REALTIME) // 1_000_000_000
        fields = [("Server", "terrella"), ("Date", http_date(now)), *headers]
        if length is not None:
            fields.append(("Content-Length", str(length)))
        head = h11.Response(status_code=status, headers=fields, reason=REASONS.get(status, ""))
        self._out.append(self._conn.send(head))

    def data(self, block: Any) -> None:
        """Queues a piece of the body, by reference: do not change it. `flush` sends."""
        pieces = self._conn.send_with_data_passthrough(h11.Data(data=block))
        if pieces:
            self._out.extend(pieces)

    def end(self) -> Step:
        """The body is complete: everything queued is sent."""
        last = self._conn.send(h11.EndOfMessage())
        if last:
            self._out.append(last)
        yield from self.flush()

    @property
    def pending(self) -> bool:
        return bool(self._out)

    def push(self) -> bool:
        """Sends what can be sent without waiting; True when all went."""
        out, fd, sendto = self._out, self.fd, self.sys.sendto
        if len(out) > 1 and sum(map(len, out)) <= 16384:
            out[:] = [b"".join(out)]
        try:
            while out:
                piece = out[0]
                done = sendto(fd, piece, abi.MSG_NOSIGNAL if len(out) == 1 else abi.MSG_NOSIGNAL | abi.MSG_MORE)
                if done == len(piece):
                    del out[0]
                else:
                    out[0] = memoryview(piece)[done:]
        except BlockingIOError:
            return False
        return True

    def flush(self) -> Step:
        while not self.push():
            yield OUT

    def simple(self, status: int, headers: Headers, body: bytes, head_only: bool = False) -> Step:
        """A whole answer at once. To HEAD: the same head and no body."""
        self.start(status, headers, len(body))
        if body and not head_only:
            self.data(body)
        yield from self.end()

    def error(self, status: int, detail: str = "", headers: Headers | None = None, head_only: bool = False) -> Step:
        text = f"{status} {REASONS.get(status, '')}" + (f": {detail}" if detail else "") + "\n"
        fields = [("Content-Type", "text/plain; charset=utf-8"), *(headers or [])]
        yield from self.simple(status, fields, text.encode(), head_only)


Handler = Callable[[Http, Any], Step]


def connection(sys: System, fd: int, handler: Handler) -> Flow:
    """Serves requests until the peer closes, asks to close, or breaks the protocol."""
    http = Http(sys, fd)
    conn = http._conn
    sys.setsockopt(fd, abi.IPPROTO_TCP, abi.TCP_NODELAY, 1)
    while True:
        try:
            event = yield from http._next_event()
            if not isinstance(event, h11.Request):
                return  # ConnectionClosed
            yield from handler(http, event)
            drained = 0
            while not http.body_ended and drained <= _DRAIN:
                drained += len((yield from http.body_chunk()))
        except h11.RemoteProtocolError as why:
            if not http.answering:
                yield from http.error(why.error_status_hint, str(why), [("Connection", "close")])
                yield from linger(http)
            return
        if conn.our_state is h11.DONE and conn.their_state is h11.DONE:
            conn.start_next_cycle()
            continue
        yield from linger(http)
        return


def linger(http: Http) -> Step:
    """Closes so that the answer arrives: half-close, then swallow a little of what the peer was still sending.

    Closing with unread data sends a reset, which may overtake the answer (RFC 9112 section 9.6).
    """
    http.sys.shutdown(http.fd, abi.SHUT_WR)
    swallowed = 0
    while swallowed <= _DRAIN:
        block = yield from receive(http.sys, http.fd, _READ)
        if not block:
            return
        swallowed += len(block)


__all__ = ["IN", "OUT", "Handler", "Headers", "Http", "Step", "connection", "http_date", "linger"]
