"""Reads protobuf by field number, independently of the writer: {field: [values]}; messages stay bytes until asked."""

from __future__ import annotations

from typing import Any

Fields = dict[int, list[Any]]


def fields(data: bytes) -> Fields:
    found: Fields = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = int.from_bytes(data[at : at + 8], "little"), at + 8
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {kind} at {at}")
        if at > len(data):
            raise ValueError("cut off")
        found.setdefault(tag >> 3, []).append(value)
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def trace(data: bytes) -> list[Fields]:
    """The TracePackets."""
    whole = fields(data)
    assert set(whole) == {1}
    return [fields(packet) for packet in whole[1]]
