"""The near end of a flow: Linux, always. `client.py ADDRESS send|take|pull CONGESTION BYTES [TIMEOUT]` prints JSON.

`send` has the far end send; `take` sends to it; `pull` has it send without end and says how many bytes came in each
tenth of TIMEOUT. Seconds count from the moment the connection is open to the last
byte (of the data, or of what says that all has come).
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

from service import INFO, PORTS, REQUEST, VERDICT, pattern  # type: ignore[import-not-found]

NAMES = (
    "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_sent last_ack_sent last_recv last_ack pmtu"
    " rcv_ssthresh rtt rttvar ssthresh cwnd advmss reordering rcv_rtt rcv_space total_retrans"
)


def info_of(raw: bytes) -> dict[str, int]:
    """The fields of struct tcp_info that say how a flow went."""
    u32 = struct.unpack_from("=24I", raw, 8)
    found = dict(zip(NAMES.split(), u32, strict=True))
    found["bytes_acked"], found["bytes_received"] = struct.unpack_from("=2Q", raw, 120)
    found["segs_out"], found["segs_in"], _, found["min_rtt"] = struct.unpack_from("=4I", raw, 136)
    found["data_segs_in"], found["data_segs_out"] = struct.unpack_from("=2I", raw, 152)
    found["delivery_rate"], found["busy"], found["rwnd_limited"], found["sndbuf_limited"] = struct.unpack_from(
        "=4Q", raw, 160
    )
    found["delivered"], found["delivered_ce"] = struct.unpack_from("=2I", raw, 192)
    found["bytes_sent"], found["bytes_retrans"] = struct.unpack_from("=2Q", raw, 200)
    found["dsack_dups"], found["reord_seen"], found["rcv_ooopack"] = struct.unpack_from("=3I", raw, 216)
    found["total_rto"] = struct.unpack_from("=H", raw, 240)[0]
    return found


def pull(sock: socket.socket, congestion: str, seconds: float) -> list[int]:
    """Bytes that came in each tenth of the time."""
    sock.sendall(f"send {congestion} {1 << 30}".ljust(REQUEST).encode())
    begin = time.monotonic()
    came = [0] * 10
    while (part := int((time.monotonic() - begin) / seconds * 10)) < 10:
        came[part] += len(sock.recv(1 << 18))
    return came


def main() -> None:
    address, verb, congestion, asked = sys.argv[1:5]
    length = int(asked)
    data = pattern(length) if verb != "pull" else b""
    room = memoryview(bytearray(length) if verb == "send" else b"")
    for page in range(0, len(room), 4096):
        room[page] = 1  # it is there before the clock runs
    sock = socket.socket()
    sock.settimeout(float(sys.argv[5]) if len(sys.argv) > 5 else 120)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
    before = time.monotonic()
    sock.connect((address, PORTS[congestion]))
    begin = time.monotonic()
    if verb == "pull":
        json.dump(pull(sock, congestion, float(sys.argv[5])), sys.stdout)
        return
    sock.sendall(f"{verb} {congestion} {length}".ljust(REQUEST).encode())
    if verb == "send":
        at = 0
        while at < length:
            count = sock.recv_into(room[at:])
            if not count:
                raise SystemExit("the far end closed early")
            at += count
        took = time.monotonic() - begin
        intact = room.obj == data
    else:
        sock.sendall(data)
        verdict = bytearray()
        while len(verdict) < VERDICT:
            part = sock.recv(VERDICT - len(verdict))
            if not part:
                raise SystemExit("the far end closed early")
            verdict += part
        took = time.monotonic() - begin
        intact = int(verdict) == length
    near = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO)
    sock.sendall(b"?")
    far = bytearray()
    while len(far) < INFO:
        part = sock.recv(INFO)
        if not part:
            break
        far += part
    sock.close()
    json.dump({
        "intact": intact, "seconds": took, "connect": begin - before, "bytes": length,
        "near": info_of(near.ljust(INFO, b"\0")), "far": info_of(bytes(far).ljust(INFO, b"\0")),
    }, sys.stdout)  # fmt: skip


if __name__ == "__main__":
    main()
