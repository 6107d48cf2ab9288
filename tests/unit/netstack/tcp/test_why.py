"""Each segment says why it was sent: one timeline per reason, and nothing is different on the wire for it."""

from __future__ import annotations

from typing import Any

import pytest

from netstack.socket import SO_KEEPALIVE, SOL_SOCKET
from netstack.tcp.connection import Connection
from netstack.tcp.segment import flag_text
from netstack.tcp.sockopt import SOL_TCP, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL
from netstack.tcp.why import observe
from tests.unit.netstack.tcp.kit import Peer, Seen

MSS = 1000


class Told(Peer):
    """A peer that keeps the comments of what the stack sends, and the events."""

    def __init__(self, watched: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.said: list[tuple[str, str | None]] = []
        self.images: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        if watched:
            observe(self.stack, self.events.append)

    def drain(self) -> None:
        for _, frame in self.stack.transmit(self.now):
            for n, image in enumerate(frame.segments()):
                seen = Seen(image, self)
                self.queue.append((self.now, seen))
                self.images.append(image)
                what = f"{flag_text(seen.flags)} {seen.seq}({seen.length})"
                self.said.append((what, frame.comment if not n else None))

    def last(self) -> str:
        return self.said[-1][1] or ""

    def reasons(self, since: int = 0) -> list[str]:
        return [comment for _, comment in self.said[since:] if comment]


def lossy(told: Told, segments: int = 10) -> Any:
    """A connection with `segments` out, of which nothing has been heard yet."""
    sock = told.accept()
    sock.send(bytes(MSS * segments), told.now)
    told.drain()
    return sock


def test_fast_retransmit_and_limited_transmit() -> None:
    told = Told(net__ipv4__tcp_early_retrans=0)
    sock = lossy(told)
    sock.send(bytes(MSS * 20), told.now)
    told.wait(100)
    begin = len(told.said)
    for n in range(2, 7):
        told.send(f". 1:1(0) ack 1 win 512 <sack 1001:{n}001,nop,nop>")
        told.wait(1)
    said = told.said[begin:]
    assert said[0] == (". 10001(1000)", "limited transmit: 1st dupACK → new data, pipe 9 < cwnd 10")
    assert said[1] == (". 11001(1000)", "limited transmit: 2nd dupACK → new data, pipe 9 < cwnd 10")
    assert said[2] == (". 1(1000)", "3rd dupACK → fast retransmit, cwnd 10→9, ssthresh 5")
    assert said[3:] and all("Recovery" in (comment or "") for _, comment in said[3:])
    acks = [event for event in told.events if event["event"] == "ack"][-5:]
    assert [event["phase"] for event in acks] == ["Disorder", "Disorder", "Recovery", "Recovery", "Recovery"]
    assert acks[2]["reason"] == "Disorder→Recovery; 3rd dupACK"
    assert acks[4]["scoreboard"][:2] == [["R", 1, 1001], ["S", 1001, 6001]]
    assert acks[4]["sacked"] == 5 and acks[4]["ssthresh"] == 5 and acks[4]["snd_una"] == 1


def test_retransmission_timeout_and_its_undoing() -> None:
    told = Told(net__ipv4__tcp_early_retrans=0)
    lossy(told)
    told.wait(1000)
    assert told.reasons()[-2:] == [
        "RTO 300 ms expired → retransmit, cwnd 10→1, ssthresh 5",
        "RTO 600 ms expired (2nd in a row) → retransmit, cwnd 1→1, ssthresh 5",
    ]
    begin = len(told.said)
    told.send(". 1:1(0) ack 2001 win 512")  # more than was retransmitted
    told.wait(100)
    assert told.reasons(begin)[0].startswith("undo: F-RTO: the timeout was spurious, cwnd 1→12; RACK: ")


def test_going_on_after_a_timeout() -> None:
    told = Told(net__ipv4__tcp_early_retrans=0, net__ipv4__tcp_frto=0)
    lossy(told)
    told.wait(350)
    begin = len(told.said)
    told.send(". 1:1(0) ack 1001 win 512")
    assert told.reasons(begin)[0] == "lost before the timeout → retransmit, pipe 0 < cwnd 2"


def test_tail_loss_probe() -> None:
    told = Told()
    lossy(told, 2)
    told.wait(250)
    assert told.said[-1] == ("P. 1001(1000)", "TLP: no ACK for 202 ms → the last segment again")


def test_newreno_partial_ack() -> None:
    told = Told(net__ipv4__tcp_sack=0)
    lossy(told)
    told.wait(100)
    for _ in range(3):
        told.send(". 1:1(0) ack 1 win 512")
    assert told.last() == "3rd dupACK → fast retransmit, cwnd 10→7, ssthresh 5"
    for _ in range(6):
        told.send(". 1:1(0) ack 1 win 512")
    told.wait(50)
    begin = len(told.said)
    told.send(". 1:1(0) ack 2001 win 512")
    assert any(said.startswith("partial ACK → the next hole") for said in told.reasons(begin))


def test_zero_window_probes_and_its_opening() -> None:
    told = Told()
    sock = told.accept(win=8)  # 1024 bytes
    sock.send(bytes(3000), told.now)
    told.drain()
    told.send(". 1:1(0) ack 1025 win 0")
    told.wait(1000)
    assert told.reasons()[-2:] == [f"window probe {n}: the peer's window is 0" for n in (1, 2)]
    told.send(". 1:1(0) ack 1025 win 512")
    assert told.reasons()[-1] == "window opened, 0→65536 → new data"


def test_a_window_taken_back() -> None:
    told = Told(net__ipv4__tcp_early_retrans=0)
    lossy(told, 2)
    told.send(". 1:1(0) ack 1001 win 0")
    told.wait(500)
    assert told.last() == "the peer took its window back: probe with the first segment out"


def test_acknowledgments() -> None:
    told = Told()
    sock = told.accept()
    conn = sock.conn
    told.send("P. 1:1001(1000) ack 1 win 512")
    assert told.last() == "quick ACK: the connection begins"
    told.send("P. 1001:2001(1000) ack 1 win 512")
    assert told.last().startswith("quick ACK")
    conn.ack_quick = 0
    told.send(". 2001:3001(1000) ack 1 win 512")
    told.wait(300)
    conn.rcv_wnd = conn.rcv_ssthresh = conn.window_clamp = 20000  # it has grown
    begin = len(told.said)
    told.send(". 3001:4001(1000) ack 1 win 512")
    told.wait(200)
    assert told.reasons(begin) == ["delayed ACK timer"]
    begin = len(told.said)
    told.send(". 4001:5001(1000) ack 1 win 512")
    told.send(". 5001:6001(1000) ack 1 win 512")
    assert told.reasons(begin) == ["ACK: second full segment"], told.said
    begin = len(told.said)
    told.send(". 7001:8001(1000) ack 1 win 512")
    told.send(". 8001:9001(1000) ack 1 win 512")
    told.send(". 6001:7001(1000) ack 1 win 512")
    told.send(". 6001:7001(1000) ack 1 win 512")
    told.send(". 200000:200000(0) ack 1 win 512")
    assert told.reasons(begin) == [
        "1st dupACK: 1000 bytes are missing before what came", "2nd dupACK: 2000 bytes are missing before what came",
        "ACK at once: the gap is filled", "ACK at once: this came before (D-SACK)",
        "ACK: the segment lies outside of the window",
    ]  # fmt: skip
    begin = len(told.said)
    told.wait(1000)
    told.send("S 6001:6001(0) win 512")
    assert told.reasons(begin)[-1] == "challenge ACK (RFC 5961): a SYN came in a synchronized state"
    begin = len(told.said)
    told.send("F. 9001:9001(0) ack 1 win 512")
    told.wait(300)
    assert told.reasons(begin) in (["ACK of FIN"], ["delayed ACK timer"])


def test_window_update_of_a_reader() -> None:
    told = Told(net__ipv4__tcp_rmem=(4096, 65536, 65536))
    sock = told.accept()
    for n in range(25):
        told.send(f". {n * 1000 + 1}:{n * 1000 + 1001}(1000) ack 1 win 512")
    told.wait(500)
    begin = len(told.said)
    while True:
        try:
            sock.recv(1 << 20, told.now)
        except BlockingIOError:
            break
    told.drain()
    assert len(told.reasons(begin)) == 1
    assert told.last().startswith("window update: the application read, the edge moves by ")


def test_keepalive() -> None:
    told = Told()
    sock = told.accept()
    sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    for option, value in ((TCP_KEEPIDLE, 10), (TCP_KEEPINTVL, 5), (TCP_KEEPCNT, 2)):
        sock.setsockopt(SOL_TCP, option, value)
    told.wait(60_000)
    assert told.reasons()[-3:] == [
        "keepalive probe 1 of 2: nothing heard for 10 s", "keepalive probe 2 of 2: nothing heard for 15 s",
        "RST: keepalive probes were not answered",
    ]  # fmt: skip


@pytest.mark.parametrize("unread", [0, 100])
def test_endings(unread: int) -> None:
    told = Told()
    sock = told.accept()
    if unread:
        told.send(". 1:101(100) ack 1 win 512")
    sock.close(told.now)
    told.drain()
    assert told.last() == ("RST: closed with 100 bytes unread" if unread else "FIN: the application closed")


def test_handshakes_and_strangers() -> None:
    told = Told(net__ipv4__tcp_syn_linear_timeouts=0)
    told.accept()
    assert told.said[0] == ("S. 0(0)", "SYN-ACK: a SYN came to a listening socket")
    told.lport = 81
    told.send(". 1:1(0) ack 1 win 512")
    assert told.last().startswith("RST: no connection")
    told.connect()
    assert told.last() == "SYN: the application connects"
    told.wait(3500)
    assert told.reasons()[-2:] == [
        "SYN: RTO 1 s expired → again (1st retransmission)", "SYN: RTO 2 s expired → again (2nd retransmission)",
    ]  # fmt: skip
    told.send("S. 0:0(0) ack 1 win 65535 <mss 1000>")
    assert told.last() == "ACK of the SYN-ACK: established"


def test_idle_restart() -> None:
    told = Told(net__ipv4__tcp_early_retrans=0)
    sock = lossy(told)
    for n in range(1, 11):
        told.send(f". 1:1(0) ack {n * 1000 + 1} win 512")
    assert sock.conn.cwnd > 10
    told.wait(20_000)
    sock.send(bytes(100), told.now)
    told.drain()
    assert told.last() == "idle for 20 s → cwnd restarts at 10 (RFC 2861); new data"


def scenario(told: Told) -> None:
    sock = lossy(told)
    sock.send(bytes(MSS * 5), told.now)
    told.wait(100)
    for n in range(2, 6):
        told.send(f". 1:1(0) ack 1 win 512 <sack 1001:{n}001,nop,nop>")
    told.wait(2000)
    told.send("P. 1:1001(1000) ack 11001 win 512")
    told.wait(500)
    told.send(". 1001:1001(0) ack 15001 win 512")
    sock.close(told.now)
    told.drain()


def test_observing_changes_nothing_on_the_wire() -> None:
    watched, alone = Told(), Told(watched=False)
    scenario(watched)
    scenario(alone)
    assert watched.images == alone.images and len(alone.images) > 20
    assert not any(comment for _, comment in alone.said), "nobody asked"
    assert len(watched.reasons()) >= 8


def test_others_may_watch_too() -> None:
    """Whoever wraps `send` before or after, and whoever has a `log`, sees everything once."""
    told = Told(watched=False)
    engine = told.stack.tcp
    seen: list[tuple[str, Any]] = []

    def watch(name: str) -> None:
        inner = engine.send

        def send(path: Any, frame: Any, now: int) -> Any:
            seen.append((name, frame))
            return inner(path, frame, now)

        engine.send = send

    watch("before")
    observe(told.stack, told.events.append)
    watch("after")
    acks: list[int] = []
    engine.log = lambda c, ack, *rest: acks.append(ack)
    scenario(told)
    names = [name for name, _ in seen]
    assert names.count("before") == names.count("after") == sum(event["event"] == "send" for event in told.events)
    assert len(acks) >= 5 and told.reasons()[0].startswith("SYN-ACK") and "3rd dupACK" in " ".join(told.reasons())
    assert not any("TIME-WAIT" in said or "no connection" in said for said in told.reasons())


def test_who_does_not_ask_does_not_pay() -> None:
    alone = Told(watched=False)
    sock = alone.accept()
    assert type(sock.conn) is Connection and sock.conn.log is None
    assert alone.stack.tcp.why is None and alone.stack.tcp.send == alone.stack.send


def test_events_are_plain_and_complete() -> None:
    told = Told()
    scenario(told)
    assert {event["event"] for event in told.events} >= {"ack", "send"}
    sends = [event for event in told.events if event["event"] == "send"]
    assert sum(-(-event["length"] // MSS) or 1 for event in sends) == len(told.said), "one for each super-segment"
    for event in told.events:
        assert event["reason"] or event["event"] == "ack"
        assert all(type(value) in (int, str, list, type(None)) for value in event.values()), event
        assert event["connection"] == "10.0.0.1:80-10.0.0.2:40000"
