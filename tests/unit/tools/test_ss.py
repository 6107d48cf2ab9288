"""`ss -ti` of our own sockets, in the words of iproute2."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable

import pytest

from netstack.tcp.info import TcpInfo
from tests.unit.netstack.tcp.kit import Peer
from tools.why import details, ss

ORDER = """
    ts sack ecn ecnseen cubic reno wscale rto backoff rtt ato mss pmtu rcvmss advmss cwnd ssthresh bytes_sent
    bytes_retrans bytes_acked bytes_received segs_out segs_in data_segs_out data_segs_in send lastsnd lastrcv
    lastack pacing_rate delivery_rate delivered delivered_ce app_limited busy rwnd_limited sndbuf_limited unacked
    retrans lost sacked dsack_dups reordering reord_seen rcv_rtt rcv_space rcv_ssthresh notsent minrtt rcv_ooopack
    snd_wnd rcv_wnd
"""
WORDS = ORDER.split()  # of tcp_stats_print in iproute2, in its order


def words(line: str) -> list[str]:
    """The names on a details line, in order."""
    line = re.sub(r"\b(send|pacing_rate|delivery_rate) \S+", r"\1", line)
    return [re.split(r"[:]", word)[0] for word in line.split()]


def test_a_connection_in_recovery() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.send(bytes(20_000), peer.now)
    peer.wait(100)
    for n in range(2, 6):
        peer.send(f". 1:1(0) ack 1 win 512 <sack 1001:{n}001,nop,nop>")
    peer.wait(30)
    said = ss(peer.stack, peer.now).splitlines()
    assert said[0].split() == ["State", "Recv-Q", "Send-Q", "Local", "Address:Port", "Peer", "Address:Port"]
    assert said[1].split() == ["LISTEN", "0", "5", "10.0.0.1:80", "0.0.0.0:*"]
    assert said[2].split() == ["ESTAB", "0", "20000", "10.0.0.1:80", "10.0.0.2:40000"]
    line = said[3]
    assert line.startswith("\t sack reno wscale:7,8 rto:300 rtt:100/")
    for word in ("mss:1000 pmtu:1500", "cwnd:", "ssthresh:5", "bytes_retrans:1000", "retrans:1/1", "lost:1",
                 "sacked:4", "lastsnd:30", "minrtt:100", "snd_wnd:65536"):  # fmt: skip
        assert word in line, word
    order = [WORDS.index(word) for word in words(line)]
    assert order == sorted(order), line
    edges = [row.rindex(row.split()[3]) + len(row.split()[3]) for row in said[1:3]]
    assert edges[0] == edges[1], "columns"


def test_every_field_has_its_place_and_form() -> None:
    info = TcpInfo()
    from netstack.tcp.info import FIELDS

    for name, _ in FIELDS:
        setattr(info, name, 2_500_000)
    info.tcpi_options = 31
    info.tcpi_snd_wscale, info.tcpi_rcv_wscale, info.tcpi_delivery_rate_app_limited = 7, 8, 1
    info.tcpi_snd_ssthresh = 9
    info.tcpi_rwnd_limited = 1_250_000
    line = details(info, "cubic")
    assert words(line) == [word for word in WORDS if word != "reno"]
    assert "rtt:2500/2500" in line and "pacing_rate 20.0Mbps/20.0Mbps" in line and "rwnd_limited:1250ms(50.0%)" in line
    for name, _ in FIELDS:
        setattr(info, name, 0)
    info.tcpi_delivery_rate_app_limited = 0
    assert details(info, "reno") == "reno", "what is not known is left out"


def test_listeners_requests_and_time_wait() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.close(peer.now)
    peer.drain()
    peer.send("F. 1:1(0) ack 2 win 512")
    peer.rport = 40001
    peer.send("S 0:0(0) win 65535 <mss 1000>")
    rows = [row.split() for row in ss(peer.stack).splitlines()[1:] if not row.startswith("\t")]
    states = {row[0]: row[-1] for row in rows}
    assert states == {"LISTEN": "0.0.0.0:*", "SYN-RECV": "10.0.0.2:40001", "TIME-WAIT": "10.0.0.2:40000"}


@pytest.mark.interop
def test_the_real_ss_uses_the_same_words_in_the_same_order(need: Callable[..., None]) -> None:
    need("ss")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as here:
        here.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        there, _ = server.accept()
        with there:
            here.sendall(bytes(5000))
            there.recv(5000)
            where = shutil.which("ss") or "/usr/sbin/ss"
            command = [where, "-tin", "sport", "=", f":{here.getsockname()[1]}"]
            lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].split()[:5] == ss(Peer().stack).split()[:5]
    found = [word for word in words(lines[2]) if word in WORDS]
    assert len(found) > 15
    order = [WORDS.index(word) for word in found]
    assert order == sorted(order), lines[2]
    assert set(words(lines[2])) <= {*WORDS, "rehash", "fastopen", "qack", "bidir"}, lines[2]
