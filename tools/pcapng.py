"""Captures, read: pcapng (draft-ietf-opsawg-pcapng) and the classic pcap, either byte order.

`packets(file)` gives every packet with its time, what it begins with, and its comment. A file that ends in the middle
of a block, as one that is still being written does, ends there; anything else that is wrong is a `CaptureError`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

SHB, IDB, PB, SPB, EPB = 0x0A0D0D0A, 1, 2, 3, 6
BYTE_ORDER = 0x1A2B3C4D
PCAP_MAGIC = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}  # nanoseconds per unit of the fraction
OPT_COMMENT, IF_TSRESOL, IF_TSOFFSET, EPB_FLAGS = 1, 9, 14, 2
SECOND = 1_000_000_000
MOST = 1 << 24  # bytes of a block
LINKTYPE_NULL, LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_SLL = 0, 1, 101, 113
RAW_TYPES = (LINKTYPE_RAW, 12, 14, 228, 229)

Source = str | os.PathLike[str] | IO[bytes]


class CaptureError(ValueError):
    """Not a capture, or a damaged one; the message says what is wrong."""


class Packet(NamedTuple):
    time_ns: int
    """Since 1970."""
    linktype: int
    data: bytes
    comment: str
    interface: int
    outgoing: bool | None
    """Direction at the interface, where the capture tells."""
    length: int
    """On the wire: `data` may be only its beginning."""


class _Interface(NamedTuple):
    linktype: int
    resolution: int  # units per second
    offset: int  # seconds


def packets(source: Source) -> Iterator[Packet]:
    """Every packet of a capture, in the file's order."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield from packets(file)
        return
    start = source.read(4)
    if len(start) < 4:
        raise CaptureError("not a capture: it is empty")
    if struct.unpack("<I", start)[0] == SHB:
        yield from _pcapng(source)
        return
    for order in "<>":
        unit = PCAP_MAGIC.get(struct.unpack(order + "I", start)[0])
        if unit is not None:
            yield from _pcap(source, order, unit)
            return
    raise CaptureError("not a capture: it begins neither as pcapng nor as pcap")


def _pcap(file: IO[bytes], order: str, unit: int) -> Iterator[Packet]:
    head = file.read(20)
    if len(head) < 20:
        raise CaptureError("not a capture: its header is cut short")
    linktype = struct.unpack_from(order + "I", head, 16)[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    while len(head := file.read(16)) == 16:
        seconds, fraction, size, length = record.unpack(head)
        if size > MOST:
            raise CaptureError(f"a packet of {size} bytes: the capture is damaged")
        data = file.read(size)
        if len(data) < size:
            return
        yield Packet(seconds * SECOND + fraction * unit, linktype, data, "", 0, None, length)


def _pcapng(file: IO[bytes]) -> Iterator[Packet]:
    order = "<"
    interfaces: list[_Interface] = []
    kind_bytes = struct.pack("<I", SHB)
    while len(kind_bytes) == 4:
        kind = struct.unpack(order + "I", kind_bytes)[0]
        size_bytes = file.read(4)
        if len(size_bytes) < 4:
            return
        if kind_bytes == b"\x0a\x0d\x0d\x0a":
            magic = file.read(4)
            if len(magic) < 4:
                return
            order = "<" if struct.unpack("<I", magic)[0] == BYTE_ORDER else ">"
            if struct.unpack(order + "I", magic)[0] != BYTE_ORDER:
                raise CaptureError("a section of neither byte order: the capture is damaged")
            interfaces = []
            kind, taken = SHB, 12
        else:
            taken = 8
        size = struct.unpack(order + "I", size_bytes)[0]
        if not taken + 4 <= size <= MOST or size % 4:
            raise CaptureError(f"a block of {size} bytes: the capture is damaged")
        rest = file.read(size - taken)
        if len(rest) < size - taken:
            return
        body = rest[:-4]
        if kind == IDB:
            interfaces.append(_interface(body, order))
        elif kind == EPB:
            yield _enhanced(body, order, interfaces)
        kind_bytes = file.read(4)


def _options(data: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(data):
        code, size = struct.unpack_from(order + "HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise CaptureError("an interface description that is too short: the capture is damaged")
    resolution, offset = 10**6, 0
    for code, value in _options(body, 8, order):
        if code == IF_TSRESOL and value:
            resolution = 2 ** (value[0] & 127) if value[0] & 128 else 10 ** value[0]
        elif code == IF_TSOFFSET and len(value) == 8:
            offset = struct.unpack(order + "q", value)[0]
    return _Interface(struct.unpack_from(order + "H", body)[0], resolution, offset)


def _enhanced(body: bytes, order: str, interfaces: list[_Interface]) -> Packet:
    if len(body) < 20:
        raise CaptureError("a packet block that is too short: the capture is damaged")
    number, high, low, size, length = struct.unpack_from(order + "IIIII", body)
    if number >= len(interfaces) or 20 + size > len(body):
        raise CaptureError("a packet of no interface, or beyond its block: the capture is damaged")
    interface = interfaces[number]
    stamp = (high << 32 | low) * SECOND // interface.resolution + interface.offset * SECOND
    comment, outgoing = "", None
    for code, value in _options(body, 20 + size + -size % 4, order):
        if code == OPT_COMMENT:
            comment = value.decode("utf-8", "replace")
        elif code == EPB_FLAGS and len(value) == 4:
            outgoing = {1: False, 2: True}.get(struct.unpack(order + "I", value)[0] & 3)
    return Packet(stamp, interface.linktype, body[20 : 20 + size], comment, number, outgoing, length)
