"""`terrella demo`: a connection fights a bad link, in virtual time, and the terminal shows how. Needs no root.

`httpd` runs on one machine, `fetch` on the other, both ordinary programs. What is drawn is sampled from the sender's
control block at fixed virtual times, so the picture belongs to the seed like everything else here.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.errors import CommandError
from tools.output import check_writable, output
from tools.plot import Curve, draw
from tools.session import record

if TYPE_CHECKING:
    from rich.console import Console

RATE, DELAY, LOSS, QUEUE = "10Mbit", "20ms", "0.3%", 60
SIZE = 3_000_000
SAMPLE_NS = 2_000_000
LIMIT_NS = 120_000_000_000
FIRST_CALLS, LAST_CALLS = 9, 6
MSS = 1448  # of a 1500-byte link with timestamps


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="the course of events (default 7)")
    parser.add_argument("--perfetto", metavar="FILE", help="write a trace that ui.perfetto.dev opens")
    parser.add_argument("--out", default=".", metavar="DIR", help="where demo.pcapng goes (default: here)")


class Sampler:
    """Follows the sender: (seconds, segments) of cwnd and ssthresh, and when it retransmitted."""

    __slots__ = ("begin", "cwnd", "end", "marks", "ssthresh", "stack", "timeline", "timer", "total")

    def __init__(self, stack: Any, timeline: Any) -> None:
        self.stack = stack
        self.timeline = timeline
        self.cwnd: list[tuple[float, float]] = []
        self.ssthresh: list[tuple[float, float]] = []
        self.marks: list[float] = []
        self.total = 0
        self.begin = self.end = 0
        self.timer = timeline.timer(self._sample)
        self.timer.arm(timeline.now)

    def _sample(self, now: int) -> None:
        for one in list(self.stack.tcp.table.values()):
            if not getattr(one, "bytes_sent", 0):
                continue  # a request, a block in TIME-WAIT, or a connection that has not begun
            if not self.begin:
                self.begin = now
            self.end = now
            at = (now - self.begin) / 1e9
            self.cwnd.append((at, float(one.cwnd)))
            if one.ssthresh < 0x7FFFFFFF:
                self.ssthresh.append((at, float(one.ssthresh)))
            if one.total_retrans > self.total:
                self.total = one.total_retrans
                self.marks.append(at)
        self.timer.arm(now + SAMPLE_NS)

    def stop(self) -> None:
        self.timer.disarm()


class Calls:
    """strace's lines of one machine, as they are written."""

    __slots__ = ("lines", "rest")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rest = ""

    def write(self, text: str) -> int:
        *whole, self.rest = (self.rest + text).split("\n")
        self.lines += whole
        return len(text)


def run(args: argparse.Namespace) -> int:
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise CommandError(f"--out {args.out}: {why.strerror}") from why
    check_writable("--out", str(out / "demo.pcapng"))
    return Demo(args.seed, out / "demo.pcapng", args.perfetto).play(console())


def console() -> Console:
    """rich's view of standard output: colours only on a terminal, and not under NO_COLOR."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "100"))
    return Console(width=width, highlight=False)


class Demo:
    """The run and what is told about it."""

    __slots__ = ("calls", "capture", "digest", "perfetto", "sampler", "seed", "server", "virtual_ns", "wall_ns")

    def __init__(self, seed: int, capture: Path, perfetto: str | None = None) -> None:
        self.perfetto = perfetto
        self.seed = seed
        self.capture = capture
        self.calls = Calls()
        self.digest = ""

    def play(self, screen: Console) -> int:
        self.introduce(screen)
        self.simulate()
        self.show_calls(screen)
        self.show_window(screen)
        whole = self.summarize(screen)
        self.advise(screen)
        return 0 if whole else 1

    def simulate(self) -> None:
        """Boots both machines, moves the file, and keeps what is needed to tell of it."""
        from drivers.clock import RealTimeline
        from kernel.strace import Strace
        from terrella import Lab
        from userland import httpd
        from userland.fetch import main as fetch
        from userland.rootfs import furnish

        wall = RealTimeline()
        began = wall.now
        with ExitStack() as cleanup, Lab(seed=self.seed) as lab:
            server, client = lab.host("server", "10.0.0.1/24"), lab.host("client", "10.0.0.2/24")
            lab.link(server, client, rate=RATE, delay=DELAY, loss=LOSS, queue=QUEUE)
            file = cleanup.enter_context(output(str(self.capture), "wb", f"--out {self.capture}"))
            lab.capture(server, file, why=True)
            self.sampler = Sampler(server.stack, lab.timeline)
            if self.perfetto:
                record(self.perfetto, cleanup, server.machine, client.machine)
            server.spawn(serve, furnish, httpd.main)
            lab.run(until="10ms")
            client.machine.trace.append(Strace(self.calls.write, times=True))
            process = client.spawn(download, fetch, name="fetch")
            start = lab.now
            while process.status is None and lab.now < LIMIT_NS:
                lab.run(until=lab.now + 10_000_000)
            self.virtual_ns = self.sampler.end - start
            self.sampler.stop()
            self.digest = client.output.split(" ")[0]
            self.server = server.stack.counters.as_dict()
        self.wall_ns = wall.now - began
        wall.close()

    # -- what is told --

    def introduce(self, screen: Console) -> None:
        screen.print(f"[bold]terrella demo[/], seed {self.seed}: {SIZE:,} bytes from one simulated machine to another")
        link = f"{RATE[:-4]} Mbit/s, {DELAY} each way, {LOSS} lost"
        screen.print(f"  [green]httpd[/] 10.0.0.1  ◄── {link} ──►  [green]fetch[/] 10.0.0.2")

    def show_calls(self, screen: Console) -> None:
        screen.print("\n[bold]The client's system calls[/] (strace; times are virtual)")
        lines = self.calls.lines
        hidden = len(lines) - FIRST_CALLS - LAST_CALLS
        for line in lines[:FIRST_CALLS]:
            screen.print("  " + shorten(line, screen.width - 4), markup=False, no_wrap=True)
        if hidden > 0:
            screen.print(f"  ... {hidden} more ...", style="dim")
        for line in lines[max(FIRST_CALLS, len(lines) - LAST_CALLS) :]:
            screen.print("  " + shorten(line, screen.width - 4), markup=False, no_wrap=True)

    def show_window(self, screen: Console) -> None:
        sampler = self.sampler
        seconds = max((sampler.end - sampler.begin) / 1e9, 0.001)
        top = 15 * math.ceil(max((y for _, y in sampler.cwnd), default=1.0) / 15)  # thirds are whole numbers
        legend = "[cyan]cwnd[/] solid, [yellow]ssthresh[/] dotted, [red]R[/] a retransmission"
        screen.print(f"\n[bold]The sender, in segments:[/] {legend}")
        width = max(40, min(100, screen.width - 12))
        curves = [Curve(sampler.cwnd, "cyan"), Curve(sampler.ssthresh, "yellow", dotted=True)]
        for row in draw(curves, seconds, top, width, 12, sampler.marks):
            screen.print(row, no_wrap=True)

    def summarize(self, screen: Console) -> bool:
        import hashlib

        tcp = self.server["Tcp"]
        expected = hashlib.sha256(file_content()).hexdigest()
        whole = self.digest == expected
        sent, again = tcp["OutSegs"], tcp["RetransSegs"]
        goodput = SIZE * 8 / (self.virtual_ns / 1e9) / 1e6 if self.virtual_ns else 0.0
        screen.print("\n[bold]Summary[/]")
        for name, text in (
            ("file", f"{SIZE:,} bytes, " + ("every byte as sent (SHA-256)" if whole else "[red]NOT WHOLE[/]")),
            ("segments", f"{sent + again:,} sent by the server"),
            ("retransmissions", f"{again:,}"),
            ("goodput", f"{goodput:.2f} Mbit/s of {RATE[:-4]} (virtual)"),
            ("virtual time", f"{self.virtual_ns / 1e9:.3f} s"),
            ("wall time", f"{self.wall_ns / 1e9:.2f} s (measured, on this computer)"),
            ("capture", f"{self.capture}"),
        ):
            screen.print(f"  {name:<16} {text}")
        return whole

    def advise(self, screen: Console) -> None:
        screen.print("\n[bold]What to try next[/]")
        for command, why in (
            (f"terrella plot {self.capture} -o demo.svg", "or open it in Wireshark: packets say why they were sent"),
            (f"terrella demo --seed {self.seed + 1}", "other packets are lost; the same seed repeats this run exactly"),
            ("sudo .venv/bin/terrella up", "then, elsewhere: curl http://10.0.0.2/"),
        ):
            screen.print(f"  {command}\n      {why}", markup=False, highlight=False)


def file_content() -> bytes:
    """SIZE bytes of text, so that system calls that show some of it can be read."""
    lines = (b"line %6d of the file that httpd serves and fetch downloads\n" % n for n in range(SIZE // 60))
    return b"".join(lines)[:SIZE]


def shorten(line: str, width: int) -> str:
    """A line of strace that fits: the result is kept, the arguments are cut."""
    if len(line) <= width:
        return line
    call, equals, result = line.rpartition(" = ")
    tail = f"...){equals}{result}" if equals else "..."
    return call[: width - len(tail)] + tail


def serve(sys: Any, furnish: Any, httpd: Any) -> int:
    """The server's process: the machine's files, one of them of SIZE bytes, then httpd."""
    from userland.lib import write_file

    furnish(sys)
    write_file(sys, "/srv/file.txt", file_content())
    return int(httpd(sys, ["httpd"]) or 0)


def download(sys: Any, fetch: Any) -> int:
    """The client's process."""
    return int(fetch(sys, ["fetch", "-s", "-q", "http://10.0.0.1/file.txt"]))
