"""`terrella up`: a machine in real time on a TAP, which this host's kernel sees as the other end of a cable.

The TAP lives as long as the descriptor that made it, so nothing is left behind however the process ends. SIGINT
and SIGTERM stop the timeline; then processes are killed, what they have sent is delivered as far as peers take it (for
some seconds at most; a second signal ends that at once), the other connections are reset, devices closed, the capture
completed and the statistics written. SIGUSR1 has the TCP sockets shown on standard error, SIGUSR2 the statistics
written at once.
"""

from __future__ import annotations

import argparse
import errno
import gc
import ipaddress
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from tools import disk
from tools.errors import CommandError
from tools.output import check_writable, in_passing, output, say_failure, saying, write_whole

if TYPE_CHECKING:
    from drivers.clock import RealTimeline
    from drivers.net.device import NetDevice
    from kernel.machine import Machine
    from terrella.why import WhyLog

PORTS = (7, 9, 19, 80)
PROGRAM_NS = 1_000_000_000
"""A program has that long to come to its first wait; then the machine is ready, whatever it does."""
IMPAIRMENTS = {
    "rate": ("RATE", "bits per second each way, as 10Mbit"),
    "delay": ("TIME", "each way, as 30ms"),
    "jitter": ("TIME", "delay varies by this much, as 5ms"),
    "loss": ("SHARE", "of the frames, each way, as 3%%, or in bursts: 'gemodel 1%% 10%%'"),
    "reorder": ("SHARE", "of the frames overtake the others, as 1%%"),
    "duplicate": ("SHARE", "of the frames come twice, as 1%%"),
    "corrupt": ("SHARE", "of the frames have a bit flipped, as 0.1%%"),
    "queue": ("FRAMES", "that wait for the line at most, as 1000"),
    "ecn": ("FRAMES", "with so many waiting, ECN-capable packets are marked, as 20"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tap", default="tap0", metavar="NAME", help="the TAP to make (default tap0)")
    parser.add_argument("--ip", type=cidr, default="10.0.0.2/24", metavar="CIDR", help="the machine's address")
    parser.add_argument("--host-ip", type=cidr, default="10.0.0.1/24", metavar="CIDR", help="this host's address")
    parser.add_argument("--driver", choices=["native", "scapy"], default="native", help="who moves the frames")
    configure_machine(parser)
    disk.configure(parser)
    parser.add_argument("--pcap", metavar="FILE", help="capture to FILE (pcapng)")
    parser.add_argument("--why", metavar="FILE", help="log what TCP does and why (JSON lines; comments in --pcap)")
    parser.add_argument("--perfetto", metavar="FILE", help="write a trace that ui.perfetto.dev opens")
    parser.add_argument("--stats", metavar="FILE", help="at the end, and at SIGUSR2, write all counters to FILE (JSON)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the impairments and the stack's numbers")
    link = parser.add_argument_group("impairments between the TAP and the stack, in netem's words")
    for name, (metavar, line) in IMPAIRMENTS.items():
        link.add_argument(f"--{name}", metavar=metavar, type=word_of(name), help=line)


def configure_machine(parser: argparse._ActionsContainer) -> None:
    """What a machine on a TAP does besides."""
    parser.add_argument(
        "--program", nargs="+", metavar=("FILE", "ARG"), default=None,
        help="run this .py file of the host, with these arguments, instead of the services",
    )  # fmt: skip
    parser.add_argument(
        "--neighbour", type=neighbour, action="append", default=[], metavar="IP=MAC",
        help="a neighbour known from the start, as `ip neigh add ... nud permanent`; may be given again",
    )  # fmt: skip


def neighbour(text: str) -> tuple[bytes, bytes]:
    """("10.0.0.1=02:00:00:00:00:01") -> the packed address and the MAC."""
    address, _, mac = text.partition("=")
    try:
        packed, octets = ipaddress.ip_address(address).packed, bytes.fromhex(mac.replace(":", ""))
    except ValueError as why:
        raise argparse.ArgumentTypeError(f"{text!r}: {why}; write as 10.0.0.1=02:00:00:00:00:01") from why
    if len(octets) != 6:
        raise argparse.ArgumentTypeError(f"{text!r}: a MAC has six octets, as 10.0.0.1=02:00:00:00:00:01")
    return packed, octets


def cidr(text: str) -> str:
    if "/" not in text:
        raise argparse.ArgumentTypeError(f"{text!r}: write the prefix length too, as 10.0.0.2/24")
    try:
        ipaddress.ip_interface(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from why
    return text


def word_of(name: str) -> Callable[[str], str]:
    """Checks one of netem's words where it is given, so that a wrong one is a usage error."""

    def check(text: str) -> str:
        from drivers.net.impairments import Impairments

        try:
            Impairments(**{name: text})  # type: ignore[arg-type]
        except ValueError as why:
            raise argparse.ArgumentTypeError(str(why)) from why
        return text

    return check


def check_words(words: Mapping[str, object]) -> None:
    """What netem's words mean together."""
    if "reorder" in words and not words.keys() & {"delay", "jitter"}:
        raise CommandError("--reorder needs --delay: a frame overtakes the others by skipping their delay", 2)
    for name in ("queue", "ecn"):
        if name in words and "rate" not in words:
            raise CommandError(f"--{name} needs --rate: a line without one is never busy, and no frame waits", 2)


def run(args: argparse.Namespace) -> int:
    if not sys.platform.startswith("linux"):
        raise CommandError("a TAP needs Linux; `terrella demo` and `terrella run` do not")
    if ipaddress.ip_interface(args.ip).ip == ipaddress.ip_interface(args.host_ip).ip:
        raise CommandError(f"--ip {args.ip} is this host's own (--host-ip): the two ends need an address each", 2)
    return serve(args, lambda timeline: _open_device(args, timeline))


def serve(args: argparse.Namespace, open_device: Callable[[RealTimeline], NetDevice]) -> int:
    """The machine on that device, until a signal comes; the exit status."""
    from drivers.clock import RealTimeline
    from drivers.console import HostConsole
    from drivers.signals import heeded
    from kernel.machine import Machine
    from terrella.lab import rare_collections
    from tools.session import kernel_says

    source = _read(args.program)
    check_writable("--stats", args.stats)
    check_words({name: value for name in IMPAIRMENTS if (value := getattr(args, name)) is not None})
    stopped: list[int] = []
    with ExitStack() as cleanup:
        seed = args.seed if args.seed is not None else int.from_bytes(os.getrandom(8), "big")
        timeline = RealTimeline(seed)
        cleanup.callback(timeline.close)

        def on_signal(number: int, frame: object) -> None:
            stopped.append(number)
            timeline.post(lambda now: timeline.stop())

        for number in (signal.SIGINT, signal.SIGTERM):
            cleanup.callback(signal.signal, number, signal.signal(number, on_signal))
        cleanup.enter_context(heeded(timeline))
        capture = _open_capture(args.pcap, timeline, cleanup)
        log = _open_log(args.why, timeline, cleanup)
        disks = disk.open_disks(args.disk)
        device = open_device(timeline)
        cleanup.callback(device.close)
        machine = Machine("terrella", timeline, console=HostConsole(None, 2))
        cleanup.callback(_write_stats, args.stats, machine, device)
        cleanup.callback(machine.close)
        machine.on_log = kernel_says
        disk.attach_disks(machine, args.disk, disks)
        if log is not None:
            log.follow(machine.stack)
        before = signal.signal(signal.SIGUSR1, lambda number, frame: timeline.post(lambda now: _show(machine, now)))
        cleanup.callback(signal.signal, signal.SIGUSR1, before)
        stats_now = in_passing(partial(_write_stats, args.stats, machine, device))
        before = signal.signal(signal.SIGUSR2, lambda number, frame: timeline.post(stats_now))
        cleanup.callback(signal.signal, signal.SIGUSR2, before)
        _attach(machine, device, args, capture)
        _boot(machine, source, args.program)
        if args.perfetto:
            from tools.session import record

            record(args.perfetto, cleanup, machine)
        begin = timeline.now
        while not stopped and not _serving(machine) and timeline.step(block=False):
            if source is not None and timeline.now - begin > PROGRAM_NS:
                break  # else: a service that can't start has said so, and the others serve
        gc.collect()
        gc.freeze()  # what the start has made stays
        print(f"ready {args.ip.split('/')[0]} on {device.name}", flush=True)
        try:
            with rare_collections():
                while not stopped:
                    timeline.run()
                machine.shut_down(lambda: len(stopped) > 1)
        except OSError as why:
            if why.errno != errno.ENODEV:
                raise
            raise CommandError(f"the cable is cut: {why.strerror}") from why
    return 130 if stopped[0] == signal.SIGINT else 0


def _serving(machine: Machine) -> bool:
    """Every service has its listening socket: whoever connects now is served."""
    listeners = machine.stack.tcp.listeners
    return all(port in listeners for port in PORTS)


def _open_capture(path: str | None, timeline: RealTimeline, cleanup: ExitStack) -> Any:
    if path is None:
        return None
    from drivers.capture import Pcapng

    file = cleanup.enter_context(output(path, "wb", f"--pcap {path}"))
    capture = Pcapng(file, timeline.epoch_ns)
    say_failure(file, f"--pcap {path}")  # its head is written
    cleanup.callback(capture.close)
    return capture


def _open_log(path: str | None, timeline: RealTimeline, cleanup: ExitStack) -> WhyLog | None:
    if path is None:
        return None
    from terrella.why import WhyLog

    log = WhyLog(cleanup.enter_context(output(path, "w", f"--why {path}")), timeline.epoch_ns)
    cleanup.callback(log.close)
    return log


def _show(machine: Machine, now: int) -> None:
    """SIGUSR1: the TCP sockets, as `ss -ti` shows those of a kernel."""
    from tools.why import ss

    print(ss(machine.stack, now), file=sys.stderr, flush=True)


def _open_device(args: argparse.Namespace, timeline: RealTimeline) -> NetDevice:
    """The TAP, by either driver, with the impairments in front of it if any were asked for."""
    device: NetDevice
    try:
        if args.driver == "scapy":
            from drivers.net.scapy_port import ScapyPort

            device = ScapyPort(name=args.tap, host_ip=args.host_ip)
        else:
            from drivers.net.tap import TapDevice

            device = TapDevice(args.tap, host_ip=args.host_ip)
    except (OSError, ValueError) as why:
        raise CommandError(explain_tap(args.tap, why, "terrella up")) from why
    words = {name: getattr(args, name) for name in IMPAIRMENTS if getattr(args, name) is not None}
    if words:
        from drivers.net.impair import impair
        from drivers.net.impairments import Impairments

        device = impair(device, timeline, Impairments(**words))
    return device


def explain_tap(tap: str, why: Exception, command: str) -> str:
    """What opening a TAP failed of, and what to do about it."""
    number = why.errno if isinstance(why, OSError) else None
    text = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
    if number in (errno.EPERM, errno.EACCES):
        return f"{tap}: {text}. Making a TAP needs root (CAP_NET_ADMIN): try `sudo {command}`"
    if number == errno.ENOENT and "namespace" not in text:
        return f"{tap}: /dev/net/tun: {text}. Load the module: `modprobe tun`"
    if number == errno.EBUSY:
        return f"{tap}: {text}. Another process holds it: choose another name"
    if number == errno.EINVAL:
        return f"{tap}: {text}. Where there is an interface of that name that is no TAP: choose another name"
    return f"{tap}: {text}"


def _read(program: list[str] | None) -> str | None:
    if program is None:
        return None
    from tools.program import ProgramError, read_program

    try:
        return read_program(program[0])
    except ProgramError as why:
        raise CommandError(str(why)) from why


def _boot(machine: Machine, source: str | None, argv: list[str]) -> None:
    """Start the program, or init with its services."""
    if source is not None:
        machine.exec(source, argv[0], argv)
        return
    from userland.init import boot

    machine.boot_program(boot)


def _attach(machine: Machine, device: NetDevice, args: argparse.Namespace, capture: Any) -> None:
    try:
        machine.attach(device, args.ip, name=device.name)
    except OSError as why:
        raise CommandError(f"{args.ip}: {why.strerror}", 2) from why
    if capture is not None:
        machine.network.capture(device.name, capture)
    interface = machine.stack.interfaces[device.name]
    for address, mac in args.neighbour:
        table = interface.neighbours if len(address) == 4 else interface.neighbours6
        assert table is not None  # a TAP is Ethernet
        table.add_permanent(address, mac, machine.stack.now)


def _write_stats(path: str | None, machine: Machine, device: NetDevice) -> None:
    if path is None:
        return
    groups: dict[str, dict[str, int]] = dict(machine.stack.counters.as_dict())
    groups[device.name] = dict(device.counters)
    for disk_device in machine.disks.values():
        groups[disk_device.name] = disk_device.counters()
    from tools.live import live

    groups["Live"] = live(machine)
    saying(f"--stats {path}", lambda: write_whole(path, groups))
