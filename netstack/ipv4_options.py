"""IPv4's options (RFC 791 section 3.1; RFC 1122 section 3.2.1.8): record route and time stamps are filled in as a
packet arrives, and go back in what answers it (RFC 1122 section 3.2.2.6), as Linux's ip_options_compile and
ip_options_echo do.

`read` judges what the parser, which looks at form alone, let pass, and writes this host's address and the time into the
header; whose address it is may change until the packet goes on (`forwarded`). `echo` makes the options of an answer, in
which the next place is this host's again (`Echo.fill`). Source routes are not followed, nor sent back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.address import is_multicast
from netstack.route import find_path

if TYPE_CHECKING:
    from netstack.stack import Stack

HEADER_LEN = 20
END, NOOP, RR, TS, LSRR, ROUTER_ALERT, SSRR = 0, 1, 7, 68, 131, 148, 137
TS_ONLY, TS_AND_ADDRESS, TS_PRESPECIFIED = 0, 1, 3
DAY_MS = 86_400_000


class Options:
    """Of the packet being received: where these options lie in its header (0: there is none), what was written into
    them, and where the first fault is (0: none)."""

    __slots__ = ("changed", "fault", "header", "rr", "rr_mine", "source_route", "ts", "ts_mine", "ts_timed")

    def __init__(self, header: bytearray) -> None:
        self.header = header
        self.fault = self.rr = self.ts = 0
        self.source_route = False  # one that may not pass
        self.changed = False
        self.rr_mine = self.ts_mine = self.ts_timed = False  # the last place is our address's, or our clock's


def time_of_day(stack: Stack) -> bytes:
    """Milliseconds since midnight UT."""
    moment: int = (stack.now + stack.realtime_offset()) // 1_000_000 % DAY_MS
    return moment.to_bytes(4, "big")


def address_for(stack: Stack, src: bytes, dst: bytes, now: int) -> bytes:
    """Ours, of a packet with these addresses (Linux's fib_compute_spec_dst)."""
    if dst in stack.local or dst[0] == 127:
        return dst
    try:
        return find_path(stack, src, None, None, now).src
    except OSError:
        return bytes(4)


def read(stack: Stack, header: bytearray, now: int) -> Options:
    """Go through the options of a packet that has arrived, and fill in what asks for it. Stops at the first fault."""
    found = Options(header)
    at, end = HEADER_LEN, len(header)
    while at < end and header[at] != END:
        kind = header[at]
        if kind == NOOP:
            at += 1
            continue
        size = header[at + 1] if at + 1 < end else 0
        if size < 2 or size > end - at:
            found.fault = at
        elif kind in (LSRR, SSRR):
            allowed = stack.settings.conf_accept_source_route and header[at + 2] > size
            found.source_route = found.source_route or not allowed
        elif kind == RR:
            found.fault = _record(stack, found, at, size, now)
        elif kind == TS:
            found.fault = _stamp(stack, found, at, size, now)
        elif kind == ROUTER_ALERT and size < 4:
            found.fault = at + 1
        if found.fault:
            return found
        at += size
    if any(header[at:end]):
        header[at:end] = bytes(end - at)
        found.changed = True
    return found


def _mine(stack: Stack, header: bytearray, now: int) -> bytes:
    return address_for(stack, bytes(header[12:16]), bytes(header[16:20]), now)


def _record(stack: Stack, found: Options, at: int, size: int, now: int) -> int:
    """Record route. The place of the fault, or 0."""
    header = found.header
    if found.rr or size < 3:
        return at + (0 if found.rr else 1)
    pointer = header[at + 2]
    if pointer < 4 or size >= pointer > size - 3:
        return at + 2
    found.rr = at
    if pointer <= size:
        header[at + pointer - 1 : at + pointer + 3] = _mine(stack, header, now)
        header[at + 2] = pointer + 4
        found.rr_mine = found.changed = True
    return 0


def _stamp(stack: Stack, found: Options, at: int, size: int, now: int) -> int:
    """Time stamps. The place of the fault, or 0."""
    header = found.header
    if found.ts or size < 4:
        return at + (0 if found.ts else 1)
    pointer, what = header[at + 2], header[at + 3] & 0xF
    if pointer < 5 or size >= pointer > size - 3:
        return at + 2
    if pointer > size:
        if what != TS_PRESPECIFIED:
            if header[at + 3] >> 4 == 15:
                return at + 3
            header[at + 3] += 0x10  # one more for whom there was no room
            found.changed = True
    elif what in (TS_AND_ADDRESS, TS_PRESPECIFIED):
        if pointer > size - 7:
            return at + 2
        place = at + pointer - 1
        mine = what == TS_AND_ADDRESS
        if mine:
            header[place : place + 4] = _mine(stack, header, now)
        if mine or not is_others(stack, bytes(header[place : place + 4])):
            header[place + 4 : place + 8] = time_of_day(stack)
            header[at + 2] = pointer + 8
            found.ts_mine, found.ts_timed, found.changed = mine, True, True
    elif what == TS_ONLY:
        header[at + pointer - 1 : at + pointer + 3] = time_of_day(stack)
        header[at + 2] = pointer + 4
        found.ts_timed = found.changed = True
    found.ts = at
    return 0


def is_others(stack: Stack, address: bytes) -> bool:
    """One host's, and not ours (Linux's RTN_UNICAST)."""
    ours = address in stack.local or address[0] in (0, 127)
    return not ours and not is_multicast(address) and not stack.is_broadcast(address)


def forwarded(found: Options, data: bytearray, l3: int, source: bytes) -> None:
    """A packet goes on (RFC 1812 section 5.3.13): in the places that were ours stands the address it leaves from."""
    if found.rr_mine:
        place = l3 + found.rr + data[l3 + found.rr + 2] - 5
        data[place : place + 4] = source
    if found.ts_mine:
        place = l3 + found.ts + data[l3 + found.ts + 2] - 9
        data[place : place + 4] = source


class Echo:
    """The options of an answer. `fill` gives them as they leave."""

    __slots__ = ("address_at", "data", "recorded_at", "timed_at")

    def __init__(self) -> None:
        self.data = bytearray()
        self.recorded_at = self.address_at = self.timed_at = -1

    def fill(self, stack: Stack, source: bytes) -> bytes:
        data = self.data
        for place in (self.recorded_at, self.address_at):
            if place >= 0:
                data[place : place + 4] = source
        if self.timed_at >= 0:
            data[self.timed_at : self.timed_at + 4] = time_of_day(stack)
        return bytes(data)


def echo(stack: Stack, found: Options) -> Echo | None:
    """What goes back. None: nothing may, as there is room for a part of an address, or for no time beside it."""
    answer = Echo()
    data, header = answer.data, found.header
    if found.rr:
        size, pointer = header[found.rr + 1], header[found.rr + 2]
        data += header[found.rr : found.rr + size]
        if found.rr_mine and pointer <= size:
            if pointer + 3 > size:
                return None
            answer.recorded_at = pointer - 1
            data[2] = pointer + 4
    if found.ts and not _echo_stamps(stack, found, answer):
        return None
    data += bytes(-len(data) % 4)
    return answer


def _echo_stamps(stack: Stack, found: Options, answer: Echo) -> bool:
    data, header = answer.data, found.header
    start = len(data)
    size, pointer = header[found.ts + 1], header[found.ts + 2]
    data += header[found.ts : found.ts + size]
    if pointer > size:
        return True
    if found.ts_mine:
        if pointer + 3 > size:
            return False
        answer.address_at = start + pointer - 1
        pointer += 4
    if found.ts_timed:
        if pointer + 3 > size:
            return False
        if data[start + 3] & 0xF != TS_PRESPECIFIED:
            answer.timed_at = start + pointer - 1
            pointer += 4
        elif pointer + 7 <= size and not is_others(stack, bytes(data[start + pointer - 1 : start + pointer + 3])):
            answer.timed_at = start + pointer + 3
            pointer += 8
    data[start + 2] = pointer
    return True


def without(options: Any) -> bytes:
    """As the fragments behind the first have them (section 3.1): what has no copy bit is a no-operation."""
    kept = bytearray(options)
    at = 0
    while at < len(kept) and kept[at] != END:
        size = 1 if kept[at] == NOOP else kept[at + 1]
        if not kept[at] & 0x80:
            kept[at : at + size] = bytes((NOOP,)) * size
        at += size
    return bytes(kept)
