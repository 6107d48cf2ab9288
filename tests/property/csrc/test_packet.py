"""packet.c against a parser written in Python from the RFCs, on packets that are valid, mutated, cut and padded."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from csrc import ffi, lib

BASE = settings.default.max_examples  # 100; fewer in a brief run
SILENT = 255  # as icmp_code: the sender is not told
OK, ETH_SHORT, L3_OTHER, IP_SHORT, IP_VERSION, IP_HEADER_LEN, IP_CHECKSUM, IP_OPTIONS, IP_FRAGMENT = range(9)
L4_OTHER, UDP_SHORT, UDP_CHECKSUM, TCP_SHORT, TCP_OFFSET, TCP_CHECKSUM = range(9, 15)
ETHERNET, L4_TRUSTED, L3_TRUSTED = 1, 2, 4
MSS, WSCALE, SACK_PERMITTED, TIMESTAMP, SACK, UNKNOWN, MALFORMED, MD5 = (1 << i for i in range(8))


# ---- the oracle ----


def exactly(data: bytes) -> Any:
    """A C array of just these bytes (`ffi.new` would add a NUL), so that the sanitizers see one byte too many."""
    array = ffi.new("uint8_t[]", len(data))
    ffi.buffer(array)[:] = data
    return array


def ones_sum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(p: dict[str, Any], length: int) -> bytes:
    return p["src"] + p["dst"] + struct.pack(">II", length, p["proto"])


class Verdict(Exception):
    """The rule that was broken ends the parse."""


def tlv4(options: bytes) -> int | None:
    """Where an IPv4 option list is wrong, from its start; None when it is right."""
    i = 0
    while i < len(options) and options[i]:
        if options[i] == 1:
            i += 1
            continue
        if i + 1 == len(options):
            return i
        if options[i + 1] < 2 or i + options[i + 1] > len(options):
            return i + 1
        i += options[i + 1]
    return None


def tlv6(options: bytes, hop: bool, start: int) -> tuple[int, int] | None:
    """(where, ICMPv6 code) of the first error of a hop-by-hop or destination options list that begins at `start`."""
    i = padding = count = 0
    while i < len(options):
        kind, rest = options[i], options[i + 1 :]
        if kind and (not rest or rest[0] > len(rest) - 1):
            return i, SILENT
        data = rest[1 : 1 + rest[0]] if kind else b""
        size = 2 + len(data) if kind else 1
        if kind < 2:
            padding += size
            if padding > 7 or any(data):
                return i, SILENT
        else:
            count, padding = count + 1, 0
            if count > 8 or (hop and kind == 5 and len(data) != 2):
                return i, SILENT
            if hop and kind == 0xC2:
                if len(data) != 4 or (start + i) % 4 != 2:
                    return i, SILENT
                return i + (0 if int.from_bytes(data, "big") > 65535 else 2), 0
            if kind >= 0x40:
                return i, 2
        i += size
    return None


def tcp_options(options: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"tcp_options": 0, "sack": []}
    while options and options[0] != 0:
        kind = options[0]
        if kind == 1:
            options = options[1:]
            continue
        if len(options) < 2 or options[1] < 2 or options[1] > len(options):
            found["tcp_options"] |= MALFORMED
            break
        value, options = options[2 : options[1]], options[options[1] :]
        if kind == 2 and len(value) == 2:
            found["tcp_options"] |= MSS
            found["mss"] = int.from_bytes(value, "big")
        elif kind == 3 and len(value) == 1:
            found["tcp_options"] |= WSCALE
            found["wscale"] = value[0]
        elif kind == 4 and not value:
            found["tcp_options"] |= SACK_PERMITTED
        elif kind == 5 and value and len(value) % 8 == 0:
            found["tcp_options"] |= SACK
            found["sack"] = list(struct.unpack(f">{len(value) // 4}I", value))
        elif kind == 8 and len(value) == 8:
            found["tcp_options"] |= TIMESTAMP
            found["tsval"], found["tsecr"] = struct.unpack(">II", value)
        else:
            found["tcp_options"] |= MALFORMED if kind in (2, 3, 4, 5, 8) else UNKNOWN
            if kind == 19 and len(value) == 16:
                found["tcp_options"] |= MD5
    found["nsack"] = len(found["sack"]) // 2
    return found


def parse_l4(p: dict[str, Any], buf: bytes, at: int, flags: int) -> None:
    message = buf[at : p["l3"] + p["l3_len"]]
    p |= {"l4": at, "payload": at, "payload_len": len(message)}
    if p["proto"] == 17:
        if len(message) < 8:
            raise Verdict(UDP_SHORT)
        p["sport"], p["dport"], length, checksum = struct.unpack(">HHHH", message[:8])
        p["key"] = p["dst"] + p["src"] + message[2:4] + message[:2]
        if not 8 <= length <= len(message):
            raise Verdict(UDP_SHORT)
        p |= {"payload": at + 8, "payload_len": length - 8}
        if not flags & L4_TRUSTED:
            if checksum == 0:
                if p["ip_version"] == 6:
                    raise Verdict(UDP_CHECKSUM)
            elif ones_sum(pseudo(p, length) + message[:length]) != 0xFFFF:
                raise Verdict(UDP_CHECKSUM)
    elif p["proto"] == 6:
        if len(message) < 20:
            raise Verdict(TCP_SHORT)
        p["sport"], p["dport"], p["seq"], p["ack"], word, p["window"], _, p["urgent"] = struct.unpack(
            ">HHIIHHHH", message[:20]
        )
        p["key"] = p["dst"] + p["src"] + message[2:4] + message[:2]
        p["tcp_flags"] = word & 0x1FF
        header = (word >> 12) * 4
        if not 20 <= header <= len(message):
            raise Verdict(TCP_OFFSET)
        p |= {"payload": at + header, "payload_len": len(message) - header}
        if not flags & L4_TRUSTED and ones_sum(pseudo(p, len(message)) + message) != 0xFFFF:
            raise Verdict(TCP_CHECKSUM)
        p |= tcp_options(message[20:header])
    else:
        raise Verdict(L4_OTHER)


def parse_ipv4(p: dict[str, Any], buf: bytes, flags: int) -> None:
    ip = buf[p["l3"] :]
    if len(ip) < 20:
        raise Verdict(IP_SHORT)
    ihl = (ip[0] & 15) * 4
    p["tos"], p["l3_len"], p["ip_id"], word, p["ttl"], p["proto"] = struct.unpack(">xBHHHBB", ip[:10])
    p |= {"src": ip[12:16], "dst": ip[16:20], "proto_at": p["l3"] + 9}
    p |= {"dont_fragment": word >> 14 & 1, "frag_more": word >> 13 & 1, "frag_offset": (word & 0x1FFF) * 8}
    if not 20 <= ihl <= len(ip):
        raise Verdict(IP_HEADER_LEN)
    if not flags & L3_TRUSTED and ones_sum(ip[:ihl]) != 0xFFFF:
        raise Verdict(IP_CHECKSUM)
    if p["l3_len"] > len(ip):
        raise Verdict(IP_SHORT)
    if p["l3_len"] < ihl:
        raise Verdict(IP_HEADER_LEN)
    at = p["l3"] + ihl
    p |= {"l4": at, "payload": at, "payload_len": p["l3_len"] - ihl, "ip_options": ihl - 20}
    wrong = tlv4(ip[20:ihl])
    if wrong is not None:
        p |= {"error_at": 20 + wrong, "icmp_code": 0}
        raise Verdict(IP_OPTIONS)
    if word & 0x3FFF:
        raise Verdict(IP_FRAGMENT)
    parse_l4(p, buf, at, flags)


def parse_ipv6(p: dict[str, Any], buf: bytes, flags: int) -> None:
    ip = buf[p["l3"] :]
    if len(ip) < 40:
        raise Verdict(IP_SHORT)
    p |= {
        "tos": (ip[0] << 8 | ip[1]) >> 4 & 0xFF,
        "l3_len": 40 + int.from_bytes(ip[4:6], "big"),
        "ttl": ip[7],
    }
    p |= {"src": ip[8:24], "dst": ip[24:40]}
    if p["l3_len"] > len(ip):
        raise Verdict(IP_SHORT)
    ip = ip[: p["l3_len"]]
    name_at, at, count, fragmented = 6, 40, 0, False

    def wrong(where: int, code: int) -> Verdict:
        p.update({"error_at": where, "icmp_code": code})
        return Verdict(IP_OPTIONS)

    while ip[name_at] in (0, 43, 44, 60):
        kind = ip[name_at]
        p |= {"proto": kind, "proto_at": p["l3"] + name_at}
        if kind == 0 and count:
            raise wrong(name_at, 1)
        if count == 8:
            raise wrong(name_at, 0)
        if kind == 44 and (len(ip) - at < 8 or fragmented):
            raise wrong(at, 0)
        if len(ip) - at < 8:
            raise wrong(4, SILENT)
        length = 8 if kind == 44 else (ip[at + 1] + 1) * 8
        if at + length > len(ip):
            raise wrong(at + 1, SILENT)
        if kind == 44:
            fragmented = True
            word, p["ip_id"] = struct.unpack(">HI", ip[at + 2 : at + 8])
            if word & 0xFFF9:
                p |= {
                    "frag_offset": word & 0xFFF8,
                    "frag_more": word & 1,
                    "proto": ip[at],
                    "ip_options": at + 8 - 40,
                }
                p |= {"l4": p["l3"] + at + 8, "payload": p["l3"] + at + 8, "payload_len": len(ip) - at - 8}
                raise Verdict(IP_FRAGMENT)
        if kind == 43 and ip[at + 2] in (3, 4):
            raise wrong(at + 2, SILENT)
        if kind == 43 and ip[at + 3]:
            raise wrong(at + 2, 0)
        if kind in (0, 60):
            error = tlv6(ip[at + 2 : at + length], kind == 0, at + 2)
            if error:
                raise wrong(at + 2 + error[0], error[1])
        name_at, at, count = at, at + length, count + 1
    p |= {"proto": ip[name_at], "proto_at": p["l3"] + name_at, "ip_options": at - 40}
    parse_l4(p, buf, p["l3"] + at, flags)


def oracle(buf: bytes, flags: int) -> dict[str, Any]:
    p: dict[str, Any] = {"verdict": OK, "l3": 0}
    try:
        if flags & ETHERNET:
            if len(buf) < 14:
                raise Verdict(ETH_SHORT)
            p |= {
                "dmac": buf[:6],
                "smac": buf[6:12],
                "ethertype": int.from_bytes(buf[12:14], "big"),
                "l3": 14,
            }
            if p["ethertype"] not in (0x0800, 0x86DD):
                raise Verdict(L3_OTHER)
        if len(buf) == p["l3"]:
            raise Verdict(IP_SHORT)
        version = buf[p["l3"]] >> 4
        ethertype = {4: 0x0800, 6: 0x86DD}.get(version)
        if ethertype is None or p.get("ethertype", ethertype) != ethertype:
            raise Verdict(IP_VERSION)
        p |= {"ip_version": version, "ethertype": ethertype}
        (parse_ipv4 if version == 4 else parse_ipv6)(p, buf, flags)
    except Verdict as verdict:
        p["verdict"] = verdict.args[0]
    return p


def check(buf: bytes, flags: int) -> int:
    pkt = ffi.new("struct trl_pkt *")
    want = oracle(buf, flags)
    assert lib.trl_parse(exactly(buf), len(buf), flags, pkt) == want["verdict"], want
    for name, value in want.items():
        got = getattr(pkt, name)
        if name == "key":
            assert pkt.key_len == len(value)
        if name == "sack":
            got = [got[i] for i in range(len(value))]
        elif isinstance(value, bytes):
            got = bytes(ffi.buffer(got, len(value)))
        assert got == value, name
    if "key" not in want:
        assert pkt.key_len == 0
    assert want["verdict"] != OK or pkt.payload + pkt.payload_len <= len(buf)
    return int(want["verdict"])


# ---- packets ----

BYTES16 = st.binary(min_size=16, max_size=16)
OPTION = st.one_of(
    st.just(b"\1"),
    st.just(b"\0"),
    st.binary(min_size=2, max_size=2).map(lambda b: b"\2\4" + b),
    st.integers(0, 255).map(lambda w: bytes([3, 3, w])),
    st.just(b"\4\2"),
    st.integers(1, 4)
    .flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n))
    .map(lambda b: bytes([5, 2 + len(b)]) + b),
    st.binary(min_size=8, max_size=8).map(lambda b: b"\x08\x0a" + b),
    st.sampled_from([4, 12, 20]).map(lambda n: bytes([5, 2 + n]) + bytes(n)),
    st.tuples(st.integers(2, 30), st.integers(0, 12), st.binary(max_size=10)).map(lambda t: bytes(t[:2]) + t[2]),
    st.binary(min_size=1, max_size=6),
)
TLV6 = st.one_of(
    st.just(b"\0"),
    st.binary(max_size=9).map(lambda b: bytes([1, len(b)]) + b),
    st.tuples(st.integers(0, 255), st.binary(max_size=5)).map(lambda t: bytes([t[0], len(t[1])]) + t[1]),
)


@st.composite
def extension(draw: st.DrawFn) -> tuple[int, bytes]:
    """(its number, the header without its first octet)."""
    kind = draw(st.sampled_from([0, 60, 60, 43, 44, 51]))
    if kind == 44:
        word = draw(st.sampled_from([0, 0, 0, 1, 8, 9, 6]) | st.integers(0, 0xFFFF))
        return 44, bytes([draw(st.integers(0, 255))]) + struct.pack(">HI", word, draw(st.integers(0, 2**32 - 1)))
    if kind == 51:
        words = draw(st.integers(1, 4))
        return 51, bytes([words]) + bytes((words + 2) * 4 - 2)
    if kind == 43:
        return 43, bytes([0, draw(st.integers(0, 4)), draw(st.sampled_from([0, 0, 0, 1]))]) + bytes(4)
    body = b"".join(draw(st.lists(TLV6, max_size=3)))
    body += bytes(-(len(body) + 2) % 8)
    return kind, bytes([(len(body) + 2) // 8 - 1]) + body


@st.composite
def packet(draw: st.DrawFn) -> bytes:
    """An Ethernet frame, right in every field unless a strategy above says otherwise."""
    version = draw(st.sampled_from([4, 6]))
    alen = 4 if version == 4 else 16
    src, dst = draw(BYTES16)[:alen], draw(BYTES16)[:alen]
    proto = draw(st.sampled_from([6, 6, 6, 17, 17, 1, 58, 59]))
    payload = draw(st.binary(max_size=40))
    ports = draw(st.binary(min_size=4, max_size=4))
    wrong = draw(st.sampled_from([0, 0, 0, 0, -1, 1, -4, -len(payload), -len(payload) - 1]))
    if proto == 6:
        options = b"".join(draw(st.lists(OPTION, max_size=5)))[:40]
        options += bytes(-len(options) % 4)
        words = (20 + len(options)) // 4
        if draw(st.integers(0, 9)) == 0:
            words = draw(st.integers(0, 15) | st.just(min(15, words + len(payload) // 4 + 1)))
        word = words << 12 | draw(st.integers(0, 0xFFF))
        message = ports + draw(st.binary(min_size=8, max_size=8)) + word.to_bytes(2, "big")
        message += draw(st.binary(min_size=2, max_size=2)) + b"\0\0" + draw(st.binary(min_size=2, max_size=2)) + options
        message, field = message + payload, 16
    elif proto == 17:
        message, field = ports + struct.pack(">HH", max(0, 8 + len(payload) + wrong), 0) + payload, 6
    else:
        message, field = payload, -1
    if field > 0:
        total = ones_sum(src + dst + struct.pack(">II", len(message), proto) + message)
        checksum = (0xFFFF ^ total) or (0xFFFF if proto == 17 else 0)
        if proto == 17:  # over as much as the length field says
            n = max(0, len(message) + wrong)
            checksum = (0xFFFF ^ ones_sum(src + dst + struct.pack(">II", n, proto) + message[:n])) or 0xFFFF
        if draw(st.integers(0, 4)) == 0:
            checksum = draw(st.sampled_from([0, 1, 0xFFFF]))
        message = message[:field] + checksum.to_bytes(2, "big") + message[field + 2 :]
    if draw(st.integers(0, 9)) == 0:
        message = message[: draw(st.integers(0, 24))]
    if version == 4:
        options = (b"".join(draw(st.lists(OPTION, max_size=2))) if draw(st.booleans()) else b"")[:40]
        options += bytes(-len(options) % 4)
        frag = draw(st.sampled_from([0, 0, 0, 0x4000, 0x4000, 0x2000, 0x8000]) | st.integers(0, 0xFFFF))
        short = draw(st.sampled_from([0] * 9 + [1, -1, -4, -len(message), -len(message) - 1, -len(message) - 4]))
        total = max(0, 20 + len(options) + len(message) + short)
        header = struct.pack(
            ">BBHHHBBH", 0x45 + len(options) // 4, draw(st.integers(0, 255)), total,
            draw(st.integers(0, 0xFFFF)), frag, draw(st.integers(0, 255)), proto, 0,
        ) + src + dst + options  # fmt: skip
        header = header[:10] + (0xFFFF ^ ones_sum(header)).to_bytes(2, "big") + header[12:]
        packet = header + message
    else:
        many = st.lists(st.just((60, b"\0\1\4\0\0\0\0")), min_size=7, max_size=9)
        chain = draw(st.lists(extension(), max_size=3) | st.lists(extension(), max_size=3) | many)
        names = [kind for kind, _ in chain] + [proto]
        body = b"".join(bytes([name]) + rest for name, (_, rest) in zip(names[1:], chain)) + message
        first = struct.pack(">IHBB", 6 << 28 | draw(st.integers(0, 2**28 - 1)), len(body), names[0], 64)
        packet = first + src + dst + body
    ethertype = 0x0800 if (version == 4) ^ (draw(st.integers(0, 19)) == 0) else 0x86DD
    return draw(st.binary(min_size=12, max_size=12)) + ethertype.to_bytes(2, "big") + packet


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Cut, padded, or with a few octets changed, mostly in the headers."""
    buf = bytearray(draw(packet()))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(12, 75) | st.integers(0, 200))
        if at < len(buf):
            buf[at] = draw(st.integers(0, 255) | st.sampled_from([0, 1, 2, 0x45, 0x46, 0x60, 0xFF]))
    cut = draw(st.just(len(buf)) | st.integers(0, len(buf)))
    return bytes(buf[:cut]) + draw(st.just(b"") | st.binary(max_size=30))


FLAGS = st.sampled_from([0, 0, L4_TRUSTED, L3_TRUSTED, L3_TRUSTED | L4_TRUSTED])


@settings(max_examples=6 * BASE)
@given(packet(), FLAGS)
def test_whole_packets(buf: bytes, flags: int) -> None:
    check(buf, flags | ETHERNET)
    check(buf[14:], flags)


@settings(max_examples=9 * BASE)
@given(damaged(), FLAGS)
def test_damaged_packets(buf: bytes, flags: int) -> None:
    check(buf, flags | ETHERNET)
    check(buf[14:], flags)


@given(st.binary(max_size=120), st.integers(0, 7))
@example(b"", 0)
@example(b"", ETHERNET)
@example(bytes(14), ETHERNET)
def test_noise(buf: bytes, flags: int) -> None:
    check(buf, flags)


@settings(max_examples=BASE * 20 // 100)
@given(packet())
def test_every_truncation(buf: bytes) -> None:
    for n in range(len(buf)):
        check(buf[:n], ETHERNET)
        check(buf[:n], ETHERNET | L3_TRUSTED | L4_TRUSTED)


@settings(max_examples=BASE * 40 // 100)
@given(packet(), st.binary(min_size=1, max_size=46))
def test_ethernet_padding_is_not_payload(buf: bytes, padding: bytes) -> None:
    verdict = oracle(buf, ETHERNET)["verdict"]
    assume(verdict not in (lib.TRL_ETH_SHORT, lib.TRL_IP_SHORT))  # there it would be the missing bytes, not padding
    assert check(buf + padding, ETHERNET) == verdict


def test_the_generator_reaches_every_verdict() -> None:
    """A negative control of the strategies: each verdict is met, so each branch above was compared."""
    met: set[int] = set()

    @settings(max_examples=1000, database=None, derandomize=True)
    @given(packet() | damaged())
    def run(buf: bytes) -> None:
        met.add(oracle(buf, ETHERNET)["verdict"])

    run()
    assert met == set(range(lib.TRL_VERDICTS))


# ---- build ----

EDGES = [65495, 65496, 65515, 65516, 65535, 65536, 2**32 - 1]  # payloads about what IP's length field can say


@st.composite
def outgoing(draw: st.DrawFn) -> dict[str, Any]:
    u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1)
    which = draw(st.integers(0, 31))
    return {
        "sport": draw(u16), "dport": draw(u16), "seq": draw(u32), "ack": draw(u32), "window": draw(u16),
        "tcp_flags": draw(st.integers(0, 0x1FF)), "urgent": draw(u16), "tcp_options": which, "mss": draw(u16),
        "wscale": draw(st.integers(0, 255)), "tsval": draw(u32), "tsecr": draw(u32), "ip_id": draw(u16),
        "sack": draw(st.lists(st.tuples(u32, u32), max_size=5)), "tos": draw(st.integers(0, 255)),
        "dont_fragment": draw(st.integers(0, 1)), "payload": draw(st.binary(max_size=50)),
    }  # fmt: skip


def options_oracle(f: dict[str, Any]) -> bytes:
    """In Linux's order: MSS, SACK permitted before the timestamp or padded, NOP WSCALE, NOP NOP SACK."""
    which, out = f["tcp_options"], b""
    if which & MSS:
        out += struct.pack(">BBH", 2, 4, f["mss"])
    if which & TIMESTAMP:
        out += b"\4\2" if which & SACK_PERMITTED else b"\1\1"
        out += struct.pack(">BBII", 8, 10, f["tsval"], f["tsecr"])
    elif which & SACK_PERMITTED:
        out += b"\1\1\4\2"
    if which & WSCALE:
        out += bytes([1, 3, 3, f["wscale"]])
    if which & SACK and f["sack"]:
        out += bytes([1, 1, 5, 2 + 8 * len(f["sack"])]) + b"".join(struct.pack(">II", *block) for block in f["sack"])
    return out


@st.composite
def template(draw: st.DrawFn) -> tuple[bytes, int]:
    ether = draw(st.booleans())
    version = draw(st.sampled_from([4, 6]))
    ip = bytearray(
        draw(st.binary(min_size=20, max_size=20)) if version == 4 else draw(st.binary(min_size=40, max_size=40))
    )
    ip[0] = 0x45 if version == 4 else 0x60 | ip[0] & 15
    mac = draw(st.binary(min_size=12, max_size=12)) + (b"\x08\x00" if version == 4 else b"\x86\xdd")
    return (mac if ether else b"") + bytes(ip), 14 if ether else 0


@given(outgoing(), template(), st.integers(0, 3))
def test_a_small_frame_is_its_header_and_its_payload(f: dict[str, Any], tmpl: tuple[bytes, int], missing: int) -> None:
    """trl_tcp_emit_small against what trl_tcp_emit makes of the same fields, and the payload behind it."""
    image, l3 = tmpl
    seg = ffi.new("struct trl_tcp_out *")
    f = {**f, "urgent": 0}
    for name in f.keys() - {"sack", "payload"}:
        setattr(seg, name, f[name])
    seg.tcp_options = f["tcp_options"] & ~SACK
    payload = f["payload"]
    seg.payload_len = len(payload)
    header = ffi.new("uint8_t[]", 128)
    want = lib.trl_tcp_emit(header, 128, exactly(image), len(image), l3, seg)
    assert want > 0
    if not payload:
        assert lib.trl_checksum_complete(header, want, len(image), 16) == 0
    size = want + len(payload)
    out = ffi.new("uint8_t[]", size)
    got = lib.trl_tcp_emit_small(
        out, size - missing, exactly(image), len(image), l3, f["sport"] << 16 | f["dport"], f["seq"], f["ack"],
        f["window"], f["tcp_flags"], f["tcp_options"], f["tsval"], f["tsecr"], f["mss"] | f["wscale"] << 16,
        f["ip_id"] | f["tos"] << 16 | (not f["dont_fragment"]) << 24, payload, len(payload),
    )  # fmt: skip
    if missing:
        assert got == -1
        return
    assert bytes(ffi.buffer(out, got)) == bytes(ffi.buffer(header, want)) + payload


@given(outgoing(), template(), st.integers(0, 4))
def test_what_is_emitted_parses_back(f: dict[str, Any], tmpl: tuple[bytes, int], missing: int) -> None:
    image, l3 = tmpl
    seg = ffi.new("struct trl_tcp_out *")
    for name in f.keys() - {"sack", "payload"}:
        setattr(seg, name, f[name])
    seg.nsack = len(f["sack"])
    for i, edge in enumerate([e for block in f["sack"][:4] for e in block]):
        seg.sack[i] = edge
    seg.payload_len = len(f["payload"])
    options = options_oracle(f)
    size = len(image) + 20 + len(options)
    out = ffi.new("uint8_t[]", size)
    got = lib.trl_tcp_emit(out, size - missing, exactly(image), len(image), l3, seg)
    if missing or len(options) > 40 or (f["tcp_options"] & SACK and len(f["sack"]) > 4):
        assert got == -1
        return
    assert got == size
    assert bytes(ffi.buffer(out, size))[len(image) + 20 :] == options
    frame = exactly(bytes(ffi.buffer(out, size)) + f["payload"])
    assert lib.trl_checksum_complete(frame, len(frame), len(image), 16) == 0
    p = oracle(bytes(ffi.buffer(frame)), ETHERNET if l3 else 0)
    assert p["verdict"] == OK
    for name in ("sport", "dport", "seq", "ack", "window", "tcp_flags", "urgent", "tos"):
        assert p[name] == f[name]
    assert p["payload_len"] == len(f["payload"])
    assert bytes(ffi.buffer(frame))[:l3] == image[:l3]
    if p["ip_version"] == 4:
        assert (p["ip_id"], p["dont_fragment"], p["ttl"]) == (f["ip_id"], f["dont_fragment"], image[l3 + 8])
        assert p["src"] + p["dst"] == image[l3 + 12 : l3 + 20]
    else:
        assert p["src"] + p["dst"] == image[l3 + 8 : l3 + 40]
        assert (
            bytes(ffi.buffer(frame))[l3 + 1 : l3 + 4]
            == bytes([image[l3 + 1] & 15 | (f["tos"] & 15) << 4]) + image[l3 + 2 : l3 + 4]
        )


@given(
    template(),
    st.binary(max_size=70),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 255),
    st.integers(0, 2),
)
def test_udp_and_bare_ip(tmpl: tuple[bytes, int], payload: bytes, ports: bytes, tos: int, missing: int) -> None:
    image, l3 = tmpl
    sport, dport = struct.unpack(">HH", ports)
    size = len(image) + 8
    out = ffi.new("uint8_t[]", size)
    got = lib.trl_udp_emit(out, size - missing, image, len(image), l3, sport, dport, tos, len(payload), 77, 1)
    assert got == (-1 if missing else size)
    if not missing:
        frame = exactly(bytes(ffi.buffer(out)) + payload)
        assert lib.trl_checksum_complete(frame, len(frame), len(image), 6) == 0
        p = oracle(bytes(ffi.buffer(frame)), ETHERNET if l3 else 0)
        assert (p["verdict"], p["sport"], p["dport"], p["tos"], p["payload_len"]) == (
            OK,
            sport,
            dport,
            tos,
            len(payload),
        )
    got = lib.trl_ip_emit(out, size - 8, image, len(image), l3, 1, tos, len(payload), 77, 0)
    assert got == len(image)
    p = oracle(bytes(ffi.buffer(out))[: len(image)] + payload, ETHERNET if l3 else 0)
    assert (p["verdict"], p["proto"], p["tos"], p["payload_len"]) == (L4_OTHER, 1, tos, len(payload))


@given(template(), st.integers(0, 80), st.integers(0, 60), st.integers(0, 70_000) | st.sampled_from(EDGES))
def test_bad_templates_are_refused(tmpl: tuple[bytes, int], length: int, l3: int, payload_len: int) -> None:
    check_template(tmpl[0][:length], l3, payload_len)
    check_template(*tmpl, payload_len)


def check_template(image: bytes, l3: int, payload_len: int) -> None:
    seg = ffi.new("struct trl_tcp_out *", {"payload_len": payload_len})
    out = ffi.new("uint8_t[]", 200)
    fits = False
    if l3 + 20 <= len(image):
        version = image[l3] >> 4
        fits = (image[l3] == 0x45 and len(image) - l3 == 20 and payload_len + 40 <= 65535) or (
            version == 6 and len(image) - l3 == 40 and payload_len + 20 <= 65535
        )
    got = lib.trl_tcp_emit(out, 200, exactly(image), len(image), l3, seg)
    assert got == (len(image) + 20 if fits else -1)


@given(outgoing())
def test_scapy_reads_the_same(f: dict[str, Any]) -> None:
    """A second opinion, so that the oracle and the C do not share one error."""
    from scapy.layers.inet import IP, TCP

    assume(len(options_oracle(f)) <= 40 and len(f["sack"]) <= 4)
    ip = bytes(IP(src="1.2.3.4", dst="5.6.7.8", ttl=9, proto=6))
    seg = ffi.new("struct trl_tcp_out *")
    for name in f.keys() - {"sack", "payload"}:
        setattr(seg, name, f[name])
    seg.payload_len, seg.nsack = len(f["payload"]), len(f["sack"])
    for i, edge in enumerate([e for block in f["sack"] for e in block]):
        seg.sack[i] = edge
    out = ffi.new("uint8_t[]", 100)
    n = lib.trl_tcp_emit(out, 100, ip, 20, 0, seg)
    frame = exactly(bytes(ffi.buffer(out, n)) + f["payload"])
    assert lib.trl_checksum_complete(frame, len(frame), 20, 16) == 0
    image = bytes(ffi.buffer(frame))
    seen = IP(image)
    assert (seen[TCP].seq, seen[TCP].ack, seen[TCP].sport, seen.tos) == (
        f["seq"],
        f["ack"],
        f["sport"],
        f["tos"],
    )
    sums = seen.chksum, seen[TCP].chksum
    del seen.chksum, seen[TCP].chksum
    again = IP(bytes(seen))
    assert (again.chksum, again[TCP].chksum) == sums
